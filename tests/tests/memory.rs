//! Memory runs out everywhere: programs are run at every heap limit at which they behave differently, and after each run the heap is
//! sound: what it counts is the sum of what is in it. The next run has what dead objects took, also those that wait for finalizers.

use std::collections::HashSet;

use cu_tests::{End, run_within};
use cu_vm::image::{Image, NoUserdata, sizes};
use cu_vm::{Options, RunError, Step, Value, Vm};

/// Pieces of code that allocate in all ways there are; each gives true.
const PROGRAMS: &[(&str, &str)] = &[
    ("tables", "local t = {} for i = 1, 100 do t[i] = {i, x = i} t['k' .. i] = i end return #t == 100"),
    (
        "items and holes",
        "local t = {} for i = 1, 300 do t[i * 3] = i end for i = 1, 300 do t[i] = i end return #t >= 300",
    ),
    ("texts", "local s = 'x' for i = 1, 10 do s = s .. s end return #(s .. s:upper() .. s:rep(3, ',')) == 5122"),
    (
        "patterns",
        "local s = ('ab '):rep(200) return s:gsub('%w+', '%0%0'):gsub('a', {a = 'cc'}):gsub('c', function(c) return c end) ~= s",
    ),
    (
        "formats",
        "return #('%s %q %99.20f %-50s'):rep(3):format('a', 'b', 1, 'c', 'd', 'e', 2, 'f', 'g', 'h', 3, 'i') > 100",
    ),
    (
        "packing",
        "return select('#', ('s4zi8'):rep(9):unpack((('s4zi8'):rep(9):pack('a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1, 'a', 'b', 1)))) == 28",
    ),
    (
        "closures",
        "local f for i = 1, 100 do local g = f f = function() return g, i end end return select(2, f()) == 100",
    ),
    (
        "calls",
        "local function f(n, ...) if n == 0 then return select('#', ...) end return f(n - 1, n, ...) + 0 end return f(60) == 60",
    ),
    (
        "coroutines",
        "local n = 0 for i = 1, 20 do local c = coroutine.wrap(function(...) coroutine.yield(...) return 1 end) n = n + c(i) + c() end return n == 230",
    ),
    (
        "chunks",
        "local function load(...) local f, m = _G.load(...) if not f then error(m, 0) end return f end return load('local a, b = ... local function f(x) return {x, a, b} end return f')(1, 2)(3)[1] == 3 and load(string.dump(load('return 1')))() == 1",
    ),
    (
        "sorting",
        "local t = {} for i = 1, 100 do t[i] = i * 7919 % 100 end table.sort(t) table.sort(t, function(a, b) return a > b end) return table.concat(t, ','):sub(1, 2) == '99'",
    ),
    ("unpacking", "local t = table.pack(table.unpack({}, 1, 200)) return select('#', table.unpack(t, 1, t.n)) == 200"),
    (
        "metatables",
        "local m = {__index = function(t, k) return k .. k end, __concat = function(a, b) return 'c' end} local t = setmetatable({}, m) return t.abc .. t == 'c'",
    ),
    (
        "closing",
        "local n = 0 local function f() local a <close> = setmetatable({}, {__close = function() n = n + 1 end}) return {} end for i = 1, 20 do f() end return n == 20",
    ),
    (
        "finalizers in a recursion",
        "local m = {__gc = function(o) o.more = {o} end} local function f(n) for i = 1, 3 do local o = setmetatable({}, m) o.me = o end return n == 0 or f(n - 1) and true end return f(100)",
    ),
    ("finalizers", "for i = 1, 30 do setmetatable({}, {__gc = function() end}) end collectgarbage() return true"),
    (
        "weak tables",
        "local w = setmetatable({}, {__mode = 'k'}) for i = 1, 40 do w[{}] = {i} end collectgarbage() return next(w) == nil",
    ),
    (
        "errors",
        "for i = 1, 20 do pcall(error, {i}) pcall(function() local x = nil; return x.y end) xpcall(error, debug.traceback, 'x') end return true",
    ),
];

/// How far the limit rises from one run to the next: less than any object takes.
const STEP: usize = 40;

/// What is in the heap, in nominal bytes.
fn sum(image: &Image<'_>) -> u64 {
    let strings = image.strings.iter().chain(&image.idle_strings).map(|string| sizes::string_bytes(string.len()));
    let names: HashSet<&[u8]> = image.functions.iter().map(|function| &*function.parts.chunk_name).collect();
    let lists = image.roots.finalizable.len() + image.roots.doomed.len();
    strings.sum::<u64>()
        + names.into_iter().map(|name| sizes::chunk_name_bytes(name.len())).sum::<u64>()
        + lists as u64 * sizes::finalizer_bytes()
        + image.functions.iter().map(|function| function.nominal_bytes()).sum::<u64>()
        + image.tables.iter().map(|table| table.nominal_bytes()).sum::<u64>()
        + image.closures.iter().map(|closure| closure.nominal_bytes()).sum::<u64>()
        + image.natives.iter().map(|native| native.nominal_bytes()).sum::<u64>()
        + image.userdata.iter().map(|userdata| userdata.nominal_bytes()).sum::<u64>()
        + image.coroutines.iter().map(|coroutine| coroutine.nominal_bytes()).sum::<u64>()
        + image.upvalues.len() as u64 * sizes::upvalue_bytes()
}

/// Walks the heap, which is collected first, and compares.
fn check_heap(vm: &mut Vm) -> Result<(), String> {
    vm.collect();
    let used = vm.heap_bytes().used as u64;
    let sum = vm.describe(&NoUserdata, |image| image.map(|image| sum(&image))).map_err(|error| error.to_string())?;
    if sum == used { Ok(()) } else { Err(format!("{used} bytes are counted, {sum} are there")) }
}

fn check_program(source: &str) -> Result<usize, String> {
    let base = Vm::new(Options::default()).heap_bytes().used;
    let mut runs = 0;
    let mut limit = base;
    loop {
        let mut vm = Vm::new(Options { heap_limit: limit, ..Options::default() });
        let end = run_within(&mut vm, &format!("assert((function() {source} end)())"), 1 << 24)?;
        vm.set_heap_limit(base + (1 << 20));
        check_heap(&mut vm).map_err(|problem| format!("limit {limit}: {problem}"))?;
        let after = run_within(&mut vm, "local t = {} for i = 1, 100 do t[i] = {i} end return #t", 1 << 20)?;
        if after != End::Finishes {
            return Err(format!("limit {limit}: afterwards {after:?}"));
        }
        check_heap(&mut vm).map_err(|problem| format!("limit {limit}, afterwards: {problem}"))?;
        runs += 1;
        match end {
            End::Finishes => return Ok(runs),
            End::OutOfMemory => limit += STEP,
            other => return Err(format!("limit {limit}: {other:?}")),
        }
        if limit > base + (1 << 20) {
            return Err("not enough memory at any limit".to_owned());
        }
    }
}

#[test]
fn memory_runs_out_at_every_limit() {
    let mut runs = 0;
    for (name, source) in PROGRAMS {
        runs += check_program(source).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
    assert!(runs >= 2_000, "only {runs} runs");
}

/// Pieces of code that run out of memory. Nothing of what they make can be reached afterwards.
const BOMBS: &[(&str, &str)] = &[
    (
        "kept until the error",
        "local m, t = {__gc = function(o) o.self = nil end}, {} for i = 1, math.huge do local o = setmetatable({}, m) o.self = o t[i] = o end",
    ),
    (
        "a chain",
        "local last while true do local o o = setmetatable({last = last}, {__gc = function() o.me = o end}) last = o end",
    ),
    (
        "with much behind them",
        "local m, t = {__gc = function() end}, {} for i = 1, math.huge do t[i] = setmetatable({data = ('x'):rep(500) .. i, all = t}, m) end",
    ),
    (
        "finalizers that allocate",
        "local t = {} local m = {__gc = function(o) o.more = {{}, {}, o} end} for i = 1, math.huge do local o = setmetatable({t}, m) o.self = o t[i] = o end",
    ),
    (
        "finalizers that fail",
        "local t = {} local m = {__gc = function(o) error(o) end} for i = 1, math.huge do local o = setmetatable({t}, m) o.self = o t[i] = o end",
    ),
    (
        "in coroutines",
        "local t = {} local m = {__gc = function(o) coroutine.close(o.co) end} for i = 1, math.huge do local o = setmetatable({}, m) o.co = coroutine.create(function() coroutine.yield(o) end) coroutine.resume(o.co) t[i] = o end",
    ),
    (
        "a native function's memory",
        "local o = setmetatable({}, {__gc = function() end}) o.self = o o.data = ('x'):rep(20000) o = nil return ('y'):rep(1 << 30)",
    ),
];

/// What has to succeed afterwards, in the same heap: in Lua code, and in one native call that asks for much at once.
const AFTERWARDS: &[&str] = &[
    "local t = {} for i = 1, 100 do t[i] = {i} end return #t",
    "return #('x'):rep(8000)",
    "return load('return 1')()",
];

const LIMITS: usize = 120;
const FUEL: u64 = 1 << 26;

fn check_afterwards(bomb: &str, afterwards: &str, limit: usize) -> Result<(), String> {
    let mut vm = Vm::new(Options { heap_limit: limit, ..Options::default() });
    for round in 0..3 {
        let end = run_within(&mut vm, bomb, FUEL)?;
        if end != End::OutOfMemory {
            return Err(format!("limit {limit}, round {round}: {end:?}"));
        }
        let end = run_within(&mut vm, afterwards, FUEL)?;
        if end != End::Finishes {
            let used = vm.heap_bytes().used;
            return Err(format!("limit {limit}, round {round}, afterwards: {end:?}, {used} bytes in use"));
        }
    }
    check_heap(&mut vm)
}

#[test]
fn the_next_run_has_what_dead_objects_took() {
    let base = Vm::new(Options::default()).heap_bytes().used;
    for (name, bomb) in BOMBS {
        for afterwards in AFTERWARDS {
            for step in 0..LIMITS {
                let limit = base + 40_000 + step * 3 * STEP;
                check_afterwards(bomb, afterwards, limit)
                    .unwrap_or_else(|problem| panic!("{name}, {afterwards}: {problem}"));
            }
        }
    }
}

/// A call that the heap has no room for is refused, and the VM is as before.
#[test]
fn arguments_that_do_not_fit_leave_nothing_running() {
    let mut vm = Vm::new(Options::default());
    let function = vm.load(b"return select('#', ...)", "=arguments").expect("a correct program");
    let count = |vm: &mut Vm, arguments: usize| {
        vm.start(|context| (context.fetch(&function), vec![Value::Nil; arguments]))?;
        assert_eq!(vm.step(1 << 20), Ok(Step::Finished));
        Ok(vm.take_results(|_, values| values[0].to_integer()))
    };
    assert_eq!(count(&mut vm, 60_000), Err(RunError::Usage("the arguments do not fit into the heap")));
    assert!(!vm.is_running());
    assert_eq!(count(&mut vm, 6_000), Ok(Some(6_000)));
}
