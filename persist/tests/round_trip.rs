//! A function that was saved and loaded elsewhere goes on as the one that stayed.

mod harness;

use cu_persist::{Blob, Error, Functions, Limits, Save, compile_function, load_function, save_function};
use cu_vm::{Native, NativeDefinition, Value};
use harness::*;

/// Chunks that return functions. Each is called three times before it is saved.
const PROGRAMS: &[(&str, &str)] = &[
    ("no upvalues", "return function() return 1 + 1, 'text', nil, true, 1.5, 2^53, -0.0, 1/0 end"),
    ("counter", "local n = 0; return function() n = n + 1; return n end"),
    (
        "shared upvalue",
        "local n = 0
         return function() n = n + 1; return n end, function() n = n * 10; return n end, function() return n end",
    ),
    (
        "recursive local",
        "local n = 5
         local function factorial(k) if k <= 1 then return 1 end return k * factorial(k - 1) end
         return function() n = n + 1; return factorial(n) end",
    ),
    (
        "mutually recursive",
        "local even, odd
         function even(n) if n == 0 then return true end return odd(n - 1) end
         function odd(n) if n == 0 then return false end return even(n - 1) end
         local n = 7
         return function() n = n + 1; return even(n), odd(n) end",
    ),
    (
        "object with metatable and cycle",
        "local Class = {}; Class.__index = Class
         function Class.add(self, n) self.total = self.total + n; return self end
         Class.__add = function(a, b) return a.total + b end
         Class.__call = function(self, n) return self.total * n end
         local object = setmetatable({ total = 1 }, Class)
         object.self = object; object.class = Class; Class.instance = object
         return function()
           object:add(3)
           return object.total, object + 5, object(2), object.self == object, getmetatable(object) == Class,
             object.class.instance.self.self == object
         end",
    ),
    (
        "varargs",
        "local kept = (function(...) return { n = select('#', ...), ... } end)(1, nil, 'three')
         local function pass(...) return select('#', ...), ... end
         return function() return pass(kept[1], kept[2], kept[3], kept.n) end",
    ),
    (
        "natives",
        "local show, choose, step, protected = tostring, select, next, pcall
         local list = { 'a', 'b', x = 1 }
         return function()
           local keys = ''
           for i, v in ipairs(list) do keys = keys .. i .. v end
           for k in step, list do keys = keys .. show(k) end
           return keys, choose(2, 'p', 'q'), protected(error, 'thrown')
         end",
    ),
    (
        "library natives",
        "local format, concat, floor = string.format, table.concat, math.floor
         local parts = {}
         return function()
           parts[#parts + 1] = format('%d:%s', floor(3.7) + #parts, 'x')
           return concat(parts, ','), ('method'):upper(), string.format == format
         end",
    ),
    (
        "iterator functions",
        "local iterate, list, start = ipairs({ 10, 20, 30 })
         local i, v = start
         return function() i, v = iterate(list, i or 0); return i, v end",
    ),
    ("library functions", "local t, m = table, math; return function() return t == table, m == math end"),
    ("globals", "return function() count = (count or 0) + 1; return count, _G == _ENV, _G.count end"),
    (
        "private environment",
        "local _ENV = { total = 0 }; return function() total = total + 1; return total, print end",
    ),
    (
        "keys of all kinds",
        "local key = {}
         local t = { [1.5] = 'float', [2^53] = 'big', [true] = 'yes', [false] = 'no', [-1] = 'minus', [key] = 'table' }
         t[print] = 'native'; t[math.mininteger or -9223372036854775807 - 1] = 'least'; t[0] = 'zero'; t[''] = 'empty'
         local f = function() end; t[f] = 'closure'
         return function()
           local keys = ''
           for k, v in next, t do keys = keys .. v .. ',' end
           return keys, t[key], t[f], t[print], t[1.5], #t
         end",
    ),
    (
        "order of traversal",
        "local t = { a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7 }
         t.b = nil; t[3] = 3; t[2] = 2; t.h = 8; t[4] = 4; t[5] = 5; t.i = 9; t[9] = 9; t.j = 1; t[7] = 1
         return function()
           local keys = ''
           for k in next, t do keys = keys .. tostring(k) .. ' ' end
           return keys, #t
         end",
    ),
    (
        "holes",
        "local t = { 1, nil, 3, nil, 5 }
         local u = { nil, nil, 3 }
         local v = { 1, 2, 3, 4, 5, 6, 7, 8 }; v[8] = nil; v[3] = nil
         return function() return #t, #u, #v, t[3], t[5], u[3], v[7], v[3] end",
    ),
    (
        "closures in tables",
        "local handlers, log = {}, {}
         for i = 1, 3 do handlers['on' .. i] = function(x) i = i + x; log[#log + 1] = i; return i end end
         handlers.list = { handlers.on1, handlers.on2 }
         return function() return handlers.on1(1), handlers.on2(10), handlers.list[1](1), #log, handlers.list[2] == handlers.on2 end",
    ),
    (
        "identity",
        "local shared = { 1 }
         local a, b = { shared }, { shared }
         return function() a[1][1] = a[1][1] + 1; return b[1][1], a[1] == b[1], a ~= b end",
    ),
    (
        "many upvalues",
        "local a, b, c, d, e, f, g, h, i, j = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
         return function() a, j = j, a; return a + b + c + d + e + f + g + h + i + j, a, j end",
    ),
    (
        "nested functions",
        "local function make(n) return function() return function() n = n + 1; return n end end end
         local inner = make(1)
         return inner(), function() return inner()() end",
    ),
    (
        "code",
        "local n = 0
         return function()
           n = n + 1
           local sum, t = 0, { n, n + 1, x = n }
           for i = 1, 10 do if i % 2 == 0 then goto next end sum = sum + i; ::next:: end
           for i = 10, 1, -3 do sum = sum + i end
           for i = 1.0, 2.0, 0.5 do sum = sum + i end
           while sum > 40 do sum = sum - 7 end
           repeat sum = sum + 1 until sum > 45
           do local closed <close> = setmetatable({}, { __close = function() n = n + 100 end }) end
           return sum, t.x, #t, ('x' .. n .. 1.5), n // 2, n % 3, n ~ 5, n << 3, not n, -n, 7 // 2.0, n == 1 or 'other'
         end",
    ),
    ("an error with its position", "local t = nil\nreturn function()\n  return t.field\nend"),
    ("an error with a traceback", "local function f(x) error('bad ' .. x) end\nreturn function() f(1) end"),
    (
        "long strings",
        "local long = 'abcdefghijklmnopqrstuvwxyz'; long = long .. long .. long
         local t = { [long] = long }
         return function() return t[long] == long, long end",
    ),
    ("binary strings", "local s = '\\0\\255\\xe4\\n'; return function() return #s, s == '\\0\\255\\xe4\\n' end"),
    ("numbers", "local i, f, n = 9223372036854775807, 0.1, 0/0; return function() return i, f, n ~= n, -i - 1, 1e308 end"),
];

#[test]
fn loaded_functions_go_on_as_the_saved_ones() {
    for (name, source) in PROGRAMS {
        let mut stayed = vm();
        let functions = run(&mut stayed, source);
        transcript(&mut stayed, &functions);
        let bytes = save(&stayed, &functions).unwrap_or_else(|error| panic!("{name}: {error}"));

        let mut elsewhere = vm();
        // Globals are not part of a function; here is the only one that a program sets.
        run(&mut elsewhere, "count = 3");
        let used = elsewhere.heap_bytes().used;
        let estimate = Blob::read(&bytes, &Limits::default()).unwrap().heap_bytes();
        let loaded = load(&mut elsewhere, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let taken = elsewhere.heap_bytes().used - used;
        assert!(taken <= estimate, "{name}: {taken} bytes taken, {estimate} expected");
        elsewhere.collect();
        assert_eq!(transcript(&mut elsewhere, &loaded), transcript(&mut stayed, &functions), "{name}");
    }
}

#[test]
fn saving_again_gives_the_same_bytes() {
    for (name, source) in PROGRAMS {
        for strip_debug in [false, true] {
            let options = Save { strip_debug, ..Save::default() };
            let mut first = vm();
            let functions = run(&mut first, source);
            transcript(&mut first, &functions);
            let bytes = save_with(&first, &functions, &options).unwrap();
            assert_eq!(save_with(&first, &functions, &options).unwrap(), bytes, "{name}: saved twice");

            let mut second = vm();
            let loaded = load(&mut second, &bytes).unwrap();
            assert_eq!(save_with(&second, &loaded, &options).unwrap(), bytes, "{name}: saved, loaded, saved");

            let mut third = vm();
            let functions = run(&mut third, source);
            transcript(&mut third, &functions);
            assert_eq!(save_with(&third, &functions, &options).unwrap(), bytes, "{name}: the same program again");
        }
    }
}

/// Errors of stripped functions have no position, everything else is the same.
#[test]
fn stripped_functions_run_alike() {
    for (name, source) in PROGRAMS.iter().filter(|(name, _)| !name.contains("error")) {
        let mut stayed = vm();
        let functions = run(&mut stayed, source);
        let full = save(&stayed, &functions).unwrap();
        let stripped = save_with(&stayed, &functions, &Save { strip_debug: true, ..Save::default() }).unwrap();
        assert!(stripped.len() < full.len(), "{name}");
        let mut elsewhere = vm();
        let loaded = load(&mut elsewhere, &stripped).unwrap();
        assert_eq!(transcript(&mut elsewhere, &loaded), transcript(&mut stayed, &functions), "{name}");
    }
}

/// Tables of random shape and history: same keys, same order, same border, same bytes.
#[test]
fn random_tables_keep_their_order() {
    let mut random = Random(1);
    let mut regular = 0;
    for round in 0..300 {
        let mut body = String::from("local t = {");
        for _ in 0..random.below(6) {
            body.push_str(["1,", "nil,", "x = 1,", "y = 2,", "z = 3,", "w = 4,"][random.below(6)]);
        }
        body.push_str("}\n");
        for step in 0..random.below(40) {
            let key = match random.below(4) {
                0 => format!("'k{}'", random.below(12)),
                1 => format!("{}.5", random.below(3)),
                _ => (random.below(20) as i64 - 2).to_string(),
            };
            let value = if random.below(4) == 0 { "nil".into() } else { step.to_string() };
            body.push_str(&format!("t[{key}] = {value}\n"));
        }
        body.push_str(
            "return function()
               local keys, after_items, is_regular = '', false, true
               for k, v in next, t do
                 keys = keys .. tostring(k) .. '=' .. tostring(v) .. ' '
                 local is_item = type(k) == 'number' and k % 1 == 0 and 1 <= k and k <= #t
                 if is_item and after_items then is_regular = false end
                 after_items = after_items or not is_item
               end
               return keys, #t, is_regular
             end",
        );
        let mut stayed = vm();
        let functions = run(&mut stayed, &body);
        let bytes = save(&stayed, &functions).unwrap();
        let mut elsewhere = vm();
        let loaded = load(&mut elsewhere, &bytes).unwrap();
        let there = call(&mut elsewhere, &loaded[0]);
        let here = call(&mut stayed, &functions[0]);
        // A table that grew may keep the key at its border in the hash part; after loading it is in the array part.
        if here.ends_with("true") {
            regular += 1;
            assert_eq!(there, here, "round {round}: {body}");
        }
        let again = save(&elsewhere, &loaded).unwrap();
        assert_eq!(again, bytes, "round {round}: {body}");
    }
    assert!(regular > 280, "{regular}");
}

/// The walk, the bytes and the objects made of them need no stack in proportion to depth.
#[test]
fn a_deep_list_needs_no_stack() {
    const DEPTH: usize = 1_000_000;
    let work = || {
        let mut first = vm_with_heap(1 << 30);
        let functions = run(
            &mut first,
            &format!(
                "local list; for i = 1, {DEPTH} do list = {{ next = list, value = i }} end
                 return function() local n, node = 0, list; while node do n = n + 1; node = node.next end return n end"
            ),
        );
        let bytes = save(&first, &functions).unwrap();
        drop(first);
        let mut second = vm_with_heap(1 << 30);
        let loaded = load(&mut second, &bytes).unwrap();
        assert_eq!(second.run(&loaded[0], 1 << 40, |_, results| results[0].to_integer()), Ok(Some(DEPTH as i64)));
        assert_eq!(save(&second, &loaded).unwrap(), bytes);
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn weak_tables_stay_weak() {
    let mut first = vm();
    let functions = run(
        &mut first,
        "local weak, strong = setmetatable({}, { __mode = 'k' }), {}
         weak[{}] = 1; weak[strong] = 2
         return function() local n = 0; for _ in next, weak do n = n + 1 end return n, weak[strong] end",
    );
    let bytes = save(&first, &functions).unwrap();
    let mut second = vm();
    let loaded = load(&mut second, &bytes).unwrap();
    assert_eq!(call(&mut second, &loaded[0]), "2 2");
    second.collect();
    assert_eq!(call(&mut second, &loaded[0]), "1 2");
}

/// A variable that still lives on a stack is saved with its value; functions that share it go on sharing it.
#[test]
fn open_upvalues_are_saved_by_value() {
    let mut first = vm();
    let chunk = first
        .load(
            b"local n = 1
              f, g = function() n = n + 1; return n end, function() return n end
              f()
              while true do end",
            "=open",
        )
        .unwrap();
    first.start(|context| (context.fetch(&chunk), Vec::new())).unwrap();
    first.step(1000).unwrap();
    let functions = first.enter(|context| {
        ["f", "g"].map(|name| context.stash(context.globals().get_string(context.string(name.as_bytes()))))
    });
    let bytes = save(&first, &functions).unwrap();
    let mut second = vm();
    let loaded = load(&mut second, &bytes).unwrap();
    assert_eq!(transcript(&mut second, &loaded)[..2], ["3", "3"]);
}

/// Each function is called in the VM that made it and, from a blob saved after some calls, in another one: they go on alike.
#[test]
fn coroutines_inside_functions() {
    let cases = [
        "local co = coroutine.wrap(function() local n = 0 while true do n = n + 1 coroutine.yield(n) end end) return co",
        "local n = 0
         local co = coroutine.create(function(a)
           local guard <close> = setmetatable({}, {__close = function() n = n + 100 end})
           for i, v in ipairs({'x', 'y'}) do n = n + 1; a = select(2, pcall(coroutine.yield, a .. i .. v .. n)) end
           return 'end' .. n
         end)
         return function() return n, coroutine.resume(co, 'b') end, function() n = n + 10 return n end",
        "local inner = coroutine.wrap(function() for c in ('one two three'):gmatch('%a+') do coroutine.yield(c) end end)
         local outer = coroutine.wrap(function(...) for k, v in pairs({a = 1, b = 2}) do coroutine.yield(k, v, inner(), ...) end end)
         return function() return outer('arg') end",
        "local co = coroutine.create(function() error('bad') end) return function() return coroutine.resume(co), coroutine.status(co) end",
        "local co = coroutine.wrap(function() for _, code in utf8.codes('aé') do coroutine.yield(code) end end) return co",
    ];
    for source in cases {
        for calls in 0..4 {
            for strip_debug in [false, true] {
                let mut first = vm();
                let functions = run(&mut first, source);
                for _ in 0..calls {
                    functions.iter().for_each(|function| drop(call(&mut first, function)));
                }
                let options = Save { strip_debug, ..Save::default() };
                let bytes = save_with(&first, &functions, &options).unwrap();
                assert_eq!(bytes[4], 2, "the version that has coroutines");
                let mut second = vm();
                let loaded = load(&mut second, &bytes).unwrap();
                assert_eq!(save_with(&second, &loaded, &options).unwrap(), bytes, "{source}");
                second.collect();
                if !strip_debug {
                    assert_eq!(transcript(&mut second, &loaded), transcript(&mut first, &functions), "{source}");
                } else {
                    assert_eq!(transcript(&mut second, &loaded).len(), transcript(&mut first, &functions).len());
                }
            }
        }
    }
}

#[test]
fn errors_name_the_path() {
    let cases = [
        ("local co = coroutine.running(); return function() return co end", "f.upvalue 'co': cannot save a coroutine"),
        (
            "local handlers = { menu = { 1, 2, (coroutine.running()) } }; return function() return handlers end",
            "f.upvalue 'handlers'.menu[3]: cannot save a coroutine",
        ),
        (
            "local t = setmetatable({}, { __index = { ['not a name'] = coroutine.running() } })
             return function() return t end",
            "f.upvalue 't'.metatable.__index[\"not a name\"]: cannot save a coroutine",
        ),
        (
            "local t = { [coroutine.running()] = 1 }; return function() return t end",
            "f.upvalue 't'.key: cannot save a coroutine",
        ),
        (
            "local co = coroutine.running(); local function inner() return co end
             return function() return inner end",
            "f.upvalue 'inner'.upvalue 'co': cannot save a coroutine",
        ),
    ];
    for (source, message) in cases {
        let mut vm = vm();
        let functions = run(&mut vm, source);
        let error = save(&vm, &functions).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), ("notPersistable", message));
    }
}

fn host_function(vm: &cu_vm::Vm, name: &'static str) {
    vm.enter(|context| {
        let definition = NativeDefinition { name, code: |call| call.return_value(Value::Integer(42)) };
        let native = Value::Native(Native::new(context, definition, &[]));
        let key = Value::String(context.string(b"fetch"));
        context.globals().set(context, key, native).unwrap();
        if name == "app.fetch" {
            context.add_permanent(name, native).unwrap();
        }
    });
}

#[test]
fn host_functions_are_found_again_by_name() {
    let source = "local get = fetch; return function() return get() end";
    let mut first = vm();
    host_function(&first, "unregistered");
    let functions = run(&mut first, source);
    assert_eq!(
        save(&first, &functions).unwrap_err().to_string(),
        "f.upvalue 'get': cannot save a host function 'unregistered'"
    );

    let mut first = vm();
    host_function(&first, "app.fetch");
    let functions = run(&mut first, source);
    let bytes = save(&first, &functions).unwrap();
    let mut second = vm();
    let error = load(&mut second, &bytes).unwrap_err();
    assert_eq!(error.code(), "unknownPermanent");
    assert_eq!(error.to_string(), "unknown permanent 'app.fetch' in permanent 0");
    host_function(&second, "app.fetch");
    let loaded = load(&mut second, &bytes).unwrap();
    assert_eq!(call(&mut second, &loaded[0]), "42");
}

/// The iterator of `string.gmatch` goes on where it was. Its position is part of what is checked on loading.
#[test]
fn a_native_with_state_keeps_it() {
    let register = |vm: &mut cu_vm::Vm| {
        let template = run(vm, "return string.gmatch('', '')");
        vm.enter(|context| context.add_permanent("string.gmatch.step", context.fetch(&template[0])).unwrap());
    };
    let mut first = vm();
    register(&mut first);
    let functions = run(
        &mut first,
        "local words = string.gmatch('one two three four five', '%a+')
         words()
         return function() return words() end, words",
    );
    let bytes = save(&first, &functions).unwrap();
    let mut second = vm();
    register(&mut second);
    let loaded = load(&mut second, &bytes).unwrap();
    assert_eq!(save(&second, &loaded).unwrap(), bytes);
    let expected = ["\"two\"", "\"three\"", "\"four\"", "\"five\"", "", ""];
    assert_eq!(transcript(&mut second, &loaded), expected);
    assert_eq!(transcript(&mut first, &functions), expected);
}

#[test]
fn only_functions_are_saved_as_functions() {
    let mut vm = vm();
    let values = run(&mut vm, "return { 1 }, function() end, function() end");
    assert_eq!(save_function(&vm, &values[0], &Save::default()).unwrap_err().code(), "notAFunction");
    let two = save(&vm, &values[1..]).unwrap();
    assert_eq!(load_function(&mut vm, &two, &Limits::default()).unwrap_err().code(), "notAFunction");
}

/// Saving leaves the VM as it is: not even `tostring` shows a difference.
#[test]
fn saving_changes_nothing() {
    let source = "local t = { {}, {}, print }; local f = function() return t end
                  return function() return f, t end, function() return tostring({}) end";
    let mut plain = vm();
    let functions = run(&mut plain, source);
    let expected = call(&mut plain, &functions[1]);
    let mut saved = vm();
    let functions = run(&mut saved, source);
    let used = saved.heap_bytes().used;
    save(&saved, &functions).unwrap();
    assert_eq!(saved.heap_bytes().used, used);
    assert_eq!(call(&mut saved, &functions[1]), expected);
}

#[test]
fn a_blob_that_does_not_fit_into_the_heap_is_refused() {
    let mut first = vm();
    let functions =
        run(&mut first, "local t = {}; for i = 1, 100000 do t[i] = { i } end return function() return t end");
    let bytes = save(&first, &functions).unwrap();
    let mut small = vm_with_heap(1 << 20);
    let used = small.heap_bytes().used;
    assert_eq!(load(&mut small, &bytes), Err(Error::Limit { what: "heap" }));
    assert!(small.heap_bytes().used <= used);
    let limits = Limits { objects: 1000, ..Limits::default() };
    assert_eq!(
        save_with(&first, &functions, &Save { limits, ..Save::default() }),
        Err(Error::Limit { what: "object count" })
    );
}

#[test]
fn a_registry_defines_saves_loads_and_forgets() {
    let mut first = vm();
    let mut functions = Functions::new();
    let definitions: [(&str, &[u8]); 4] = [
        ("expression", b"  function(x) return 'expression' end -- done"),
        ("call", b"(function() local n = 0; return function() n = n + 1; return n end end)()"),
        ("chunk", b"local text = 'chunk'\nreturn function() return text end"),
        ("native", b"select"),
    ];
    for (name, source) in definitions {
        let definition = compile_function(&first, source, "=definition").unwrap();
        first.run(&definition, FUEL, |_, _| ()).unwrap();
        functions.adopt_result(&first, "app", name).unwrap();
    }
    assert_eq!(call(&mut first, functions.get("app", "expression").unwrap()), "\"expression\"");
    assert_eq!(call(&mut first, functions.get("app", "chunk").unwrap()), "\"chunk\"");
    assert_eq!(call(&mut first, functions.get("app", "call").unwrap()), "1");
    let bytes = functions.save(&first, "app", "call", &Save::default()).unwrap();

    let mut second = vm();
    let mut elsewhere = Functions::new();
    elsewhere.load(&mut second, "app", "call", &bytes, &Limits::default()).unwrap();
    assert_eq!(call(&mut second, elsewhere.get("app", "call").unwrap()), "2");
    assert_eq!(elsewhere.names().collect::<Vec<_>>(), [("app", "call")]);
    assert!(elsewhere.forget(&second, "app", "call"));
    assert!(!elsewhere.forget(&second, "app", "call"));
    assert_eq!(elsewhere.save(&second, "app", "call", &Save::default()).unwrap_err().code(), "unknownFunction");

    let definition = compile_function(&second, b"{}", "=definition").unwrap();
    second.run(&definition, FUEL, |_, _| ()).unwrap();
    let error = elsewhere.adopt_result(&second, "app", "table").unwrap_err();
    assert_eq!(error.to_string(), "a function is expected, not a table");
}

#[test]
fn syntax_errors_of_definitions_are_those_of_what_was_meant() {
    let vm = vm();
    let message = |source: &[u8]| compile_function(&vm, source, "=f").unwrap_err().to_string();
    assert_eq!(message(b"function(x)\n return x +* 2 end"), "f:2: unexpected symbol near '*'");
    assert_eq!(message(b"local x = = 1\nreturn x"), "f:1: unexpected symbol near '='");
}
