//! The debug library as a host gives or withholds it, hooks in runs that stop anywhere, and what scripts may not change.

use cu_vm::{Files, Host, MemoryFiles, Options, RunError, SharedBytes, Step, Vm};

/// A host with standard streams in memory.
struct Machine {
    files: MemoryFiles,
    output: SharedBytes,
}

impl Host for Machine {
    fn write(&mut self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        Some(&mut self.files)
    }
}

fn vm(files: &MemoryFiles) -> Vm {
    let host = Machine { output: files.output(), files: files.clone() };
    Vm::new(Options { heap_limit: 1 << 20, host: Box::new(host), ..Options::default() })
}

/// Runs a chunk in slices of `fuel` to its end; what it has printed.
fn output_in_slices(source: &str, fuel: u64) -> String {
    let files = MemoryFiles::new();
    let mut vm = vm(&files);
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing else runs");
    loop {
        match vm.step(fuel).expect("it was started") {
            Step::OutOfFuel => {}
            step => {
                assert_eq!(step, Step::Finished, "{}", vm.take_error());
                return String::from_utf8(files.output().take()).expect("text");
            }
        }
    }
}

fn check(source: &str, output: &str) {
    for fuel in [1, 3, u64::MAX] {
        assert_eq!(output_in_slices(source, fuel), output, "in slices of {fuel}");
    }
}

#[test]
fn a_host_may_withhold_the_library() {
    let mut vm = Vm::new(Options { has_debug: false, ..Options::default() });
    let chunk = vm.load(b"assert(debug == nil and string)", "=test").expect("it compiles");
    assert_eq!(vm.run(&chunk, 1000, |_, _| ()), Ok(()));
}

#[test]
fn hooks_go_on_wherever_a_run_stops() {
    let source = "local log = {}
        local function add(a, ...) local s = a for i = 1, select('#', ...) do s = s + (select(i, ...)) end return s, a end
        debug.sethook(function(event, line) log[#log + 1] = event:sub(1, 1) .. (line or '') end, 'crl', 5)
        local x, y = add(1, 2, 3)
        local z = pcall(add, 4)
        debug.sethook()
        print(x, y, z, #log, table.concat(log, ' '))";
    let whole = output_in_slices(source, u64::MAX);
    assert!(whole.starts_with("6\t1\ttrue\t"), "{whole}");
    check(source, &whole);
}

#[test]
fn a_count_hook_ends_a_loop() {
    let source = "debug.sethook(function() debug.sethook() error('too long', 0) end, '', 1000)
        print(pcall(function() while true do end end))
        print(debug.gethook())";
    check(source, "false\ttoo long\nnil\n");
}

#[test]
fn a_hook_without_end_runs_out_of_fuel() {
    let mut vm = vm(&MemoryFiles::new());
    let source = b"debug.sethook(function() while true do end end, 'l')\nlocal x = 1";
    let chunk = vm.load(source, "=test").expect("it compiles");
    assert_eq!(vm.run(&chunk, 100_000, |_, _| ()), Err(RunError::OutOfFuel));
    let chunk = vm.load(b"print 'the hook is still there'", "=test").expect("it compiles");
    assert_eq!(vm.run(&chunk, 100_000, |_, _| ()), Err(RunError::OutOfFuel));
}

#[test]
fn what_native_functions_hold_stays_as_it_is() {
    let source = "local find = string.gmatch('abc', '.')
        print(debug.getupvalue(find, 1) == '', debug.setupvalue(find, 1, nil), find())
        local wrapped = coroutine.wrap(function() return 'resumed' end)
        print(select('#', debug.setupvalue(wrapped, 1, 5)), wrapped())
        table.sort({ 3, 2, 1 }, function(a, b)
            for slot = 1, 20 do assert(debug.setlocal(2, slot, 'changed') == nil) end
            return a < b
        end)";
    check(source, "true\tnil\ta\n0\tresumed\n");
}

#[test]
fn commands_come_from_standard_input() {
    let files = MemoryFiles::new();
    files.push_input(b"x = 1 print(x)\nerror 'wrong'\nx x\nerror(setmetatable({}, {__tostring = function() return 'shown' end}))\ncont\nprint 'not read'\n");
    let mut vm = vm(&files);
    let chunk = vm.load(b"debug.debug() print 'goes on' debug.debug() print(x)", "=test").expect("it compiles");
    assert_eq!(vm.run(&chunk, u64::MAX, |_, _| ()), Ok(()));
    let output = String::from_utf8(files.output().take()).expect("text");
    assert_eq!(output, "1\ngoes on\nnot read\n1\n");
    let prompts = String::from_utf8(files.errors().take()).expect("text");
    let expected = "lua_debug> lua_debug> (debug command):1: wrong
lua_debug> (debug command):1: syntax error near 'x'
lua_debug> shown
lua_debug> lua_debug> lua_debug> ";
    assert_eq!(prompts, expected);
}
