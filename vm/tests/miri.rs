//! Programs short enough to run in Miri (`cargo xtask miri`) that between them go through the unsafe code of heap and interpreter: stacks that
//! grow and shrink, upvalues that are closed, coroutines, metamethods, errors, collections in between.

use cu_vm::{Options, Step, Value, Vm};

/// Runs a chunk in small slices with a collection after each, and compares the strings it returns.
#[track_caller]
fn check(source: &str, expected: &[&str]) {
    let mut vm = Vm::new(Options { heap_limit: 4 << 20, ..Options::default() });
    let chunk = vm.load(source.as_bytes(), "=miri").unwrap_or_else(|error| panic!("{error} in {source}"));
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("it starts");
    let finished = loop {
        match vm.step(400).expect("it runs") {
            Step::OutOfFuel => vm.collect(),
            step => break step,
        };
    };
    assert_eq!(finished, Step::Finished, "{source}");
    let found: Vec<String> = vm.take_results(|_, values| {
        let text = |value: &Value<'_>| match value {
            Value::String(text) => text.to_string_lossy().into_owned(),
            Value::Integer(integer) => integer.to_string(),
            other => format!("{other:?}"),
        };
        values.iter().map(text).collect()
    });
    assert_eq!(found, expected, "{source}");
    vm.collect();
}

#[test]
fn tables_and_strings() {
    check(
        "local t = {} for i = 1, 40 do t[i] = i t['k' .. i] = {i} end
         for i = 1, 40, 2 do t[i] = nil t['k' .. i] = nil end
         local count, sum = 0, 0
         for key, value in pairs(t) do count = count + 1 if type(value) == 'number' then sum = sum + value end end
         table.sort(t, function(a, b) return (a or 0) < (b or 0) end)
         return count, sum, #table.concat({'a', ('x'):rep(100), 'b'}), ('%d %s'):format(5, 'x')",
        &["40", "420", "102", "5 x"],
    );
}

#[test]
fn closures_and_upvalues() {
    check(
        "local list = {}
         for i = 1, 5 do local n = i list[i] = function(d) n = n + d return n end end
         local function deep(n) if n == 0 then return 0 end local x = n return deep(n - 1) + x end
         local function vararg(...) local a, b = ... return select('#', ...), a, b, ... end
         return list[1](10) + list[1](1), list[5](0), deep(60), (select('#', vararg(1, 2, 3)))",
        &["23", "5", "1830", "6"],
    );
}

#[test]
fn coroutines_and_errors() {
    check(
        "local function generate(n) for i = 1, n do coroutine.yield(i) end error({code = n}) end
         local co, sum = coroutine.create(generate), 0
         local ok, value = coroutine.resume(co, 4)
         while ok and value do sum = sum + value ok, value = coroutine.resume(co) end
         local closed = ''
         do
           local a <close> = setmetatable({}, {__close = function() closed = closed .. 'a' end})
           pcall(function() local b <close> = setmetatable({}, {__close = function() closed = closed .. 'b' end}) error('x') end)
         end
         local _, message = pcall(function() local t = nil return t.x end)
         return sum, value.code, closed, message",
        &["10", "4", "ba", "miri:10: attempt to index a nil value (local 't')"],
    );
}

#[test]
fn metamethods_and_weak_tables() {
    check(
        "local class = {} class.__index = class
         function class.__add(a, b) return setmetatable({n = a.n + b.n}, class) end
         function class.__lt(a, b) return a.n < b.n end
         function class.__concat(a, b) return 'c' end
         function class:get() return self.n end
         local a, b = setmetatable({n = 1}, class), setmetatable({n = 2}, class)
         local weak = setmetatable({}, {__mode = 'v'})
         weak[1], weak[2] = a, {}
         local finalized = 0
         for _ = 1, 3 do setmetatable({}, {__gc = function() finalized = finalized + 1 end}) end
         collectgarbage() collectgarbage()
         return (a + b):get(), tostring(a < b), a .. 'x', weak[1]:get(), tostring(weak[2]), finalized",
        &["3", "true", "c", "1", "nil", "3"],
    );
}

#[test]
fn callbacks_of_the_library() {
    check(
        "local parts = {}
         local text = ('hello world'):gsub('o', function(c) parts[#parts + 1] = c return c:upper() end)
         for word in ('one two'):gmatch('%a+') do parts[#parts + 1] = word end
         local loaded = load('local a = ... return a * 2')
         local dumped = load(string.dump(function(x) return x + 1 end), 'd', 'b')
         debug.sethook(function() parts.hook = true end, 'l')
         local hooked = 1
         debug.sethook()
         return text, table.concat(parts, ','), loaded(21), dumped(1), tostring(parts.hook), (table.unpack({7, 8}))",
        &["hellO wOrld", "o,o,one,two", "42", "2", "true", "7"],
    );
}
