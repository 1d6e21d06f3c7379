//! When collections find objects dead, which no program can show that also has to pass with collections at other moments.

use cu_vm::{Options, Vm};

fn check(source: &str) {
    let mut vm = Vm::new(Options { heap_limit: 1 << 20, ..Options::default() });
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    assert_eq!(vm.run(&chunk, 100_000_000, |_, _| ()), Ok(()), "{source}");
}

/// What a finished call leaves in registers keeps nothing alive: the loop ends only when the object is found dead.
#[test]
fn left_in_registers() {
    for make in [
        "held = {}",
        "held = {{}}",
        "held = function() return held end",
        "local i; held = function() return i end",
        "count = count + 1; held = count .. 'th round, long enough to be a string of its own'",
        "count = count + 1; held = tostring(count) .. tostring(count)",
        "held = {function() return held end}",
        "held = table.pack(1, 2, 3)",
    ] {
        for object in ["%", "{%}", "select(1, %)", "(function(...) return {...} end)(%)"] {
            let object = object.replace('%', "setmetatable({}, {__gc = function() dead = true end})");
            check(&format!(
                "local kept, held, dead, count = {{1}}, nil, false, 0
                held = {object}
                repeat {make} until dead
                assert(kept[1] == 1)"
            ));
        }
    }
}

/// The values of an open list are alive until they are taken.
#[test]
fn open_lists() {
    check(
        "local function values(n) local t = {} for i = 1, n do t[i] = {i} end return table.unpack(t) end
        for round = 1, 200 do
          local taken = {select('#', values(90)), values(100)}
          assert(taken[1] == 90)
          for i = 1, 100 do assert(taken[i + 1][1] == i) end
        end",
    );
}

/// Native functions that call natives reach no Lua instruction in between, and errors leave none behind; what they leave is
/// collected all the same.
#[test]
fn natives_called_by_natives() {
    for work in [
        "pcall(string.rep, 'x', 1000)",
        "pcall(table.pack, 1, 2, 3)",
        "pcall(error, {})",
        "xpcall(error, table.pack, 1)",
    ] {
        let source = format!("for _ = 1, 20000 do {work} end");
        let mut vm = Vm::new(Options { heap_limit: 64 << 20, ..Options::default() });
        let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
        assert_eq!(vm.run(&chunk, 100_000_000, |_, _| ()), Ok(()), "{source}");
        let peak = vm.heap_bytes().peak;
        assert!(peak < 1 << 20, "{source}: {peak} bytes at the peak");
    }
}
