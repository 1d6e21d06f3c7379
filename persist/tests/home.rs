//! `_home` over a store in memory: sessions of Lua code, each in a VM of its own, that find what earlier ones left.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use cu_persist::{Changes, Error, Home, HomeOptions, Records, Result};
use cu_vm::{Options, Vm};

/// Records in memory, with a count of how many were read.
#[derive(Default)]
struct Store {
    records: RefCell<HashMap<u64, Vec<u8>>>,
    reads: Cell<usize>,
}

impl Records for Store {
    fn read(&self, number: u64) -> Result<Option<Vec<u8>>> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.records.borrow().get(&number).cloned())
    }
}

impl Store {
    fn write(&self, changes: &Changes) {
        self.records.borrow_mut().extend(changes.puts.iter().cloned());
    }
}

/// A VM with `_home`, and its store.
struct Session {
    vm: Vm,
    home: Home,
    store: Rc<Store>,
}

impl Session {
    fn open(store: &Rc<Store>) -> Session {
        Self::with_heap(store, 64 << 20)
    }

    fn with_heap(store: &Rc<Store>, heap_limit: usize) -> Session {
        let vm = Vm::new(Options { heap_limit, ..Options::default() });
        let home = Home::attach(&vm, store.clone(), HomeOptions::default()).expect("it can be read");
        Session { vm, home, store: store.clone() }
    }

    /// The first result as text, or the error's message.
    fn run(&mut self, source: &str) -> String {
        let source = format!("return tostring((function() {source} end)())");
        let chunk = self.vm.load(source.as_bytes(), "=session").expect("it compiles");
        let result = self.vm.run(&chunk, 100_000_000, |_, values| match values.first() {
            Some(cu_vm::Value::String(text)) => text.to_string_lossy().into_owned(),
            _ => String::new(),
        });
        self.vm.enter(|context| context.release(chunk));
        result.unwrap_or_else(|error| error.to_string())
    }

    /// Commits, and gives how many records were written.
    fn commit(&mut self) -> usize {
        let changes = self.home.changes(&self.vm).expect("it can be saved");
        self.store.write(&changes);
        self.home.confirm(&self.vm, &changes);
        changes.puts.len()
    }

    fn commit_error(&self) -> Error {
        self.home.changes(&self.vm).expect_err("it cannot be saved")
    }
}

/// Runs each source in a VM of its own, and checks what it gives.
#[track_caller]
fn check(sessions: &[(&str, &str)]) {
    let store = Rc::new(Store::default());
    for (source, expected) in sessions {
        let mut session = Session::open(&store);
        assert_eq!(session.run(source), *expected, "{source}");
        session.commit();
    }
    // In one VM with a commit and a collection after each, everything is the same.
    let mut session = Session::open(&Rc::new(Store::default()));
    for (source, expected) in sessions {
        assert_eq!(session.run(source), *expected, "in one VM: {source}");
        session.commit();
        session.vm.collect();
    }
}

#[test]
fn plain_tables() {
    check(&[
        ("_home.a = {1, 2.5, 'x', true, {k = 'v', [false] = 0, [7] = 1, [-1.5] = 2}}; return #_home.a", "5"),
        (
            "local t = _home.a; return t[1] .. t[2] .. t[3] .. tostring(t[4]) .. t[5].k .. t[5][false] .. t[5][7] .. t[5][-1.5]",
            "12.5xtruev012",
        ),
        ("_home.a[5].k = 'w'; _home.a[6] = _home; return #_home.a", "6"),
        ("return tostring(_home.a[6] == _home) .. _home.a[6].a[5].k .. tostring(Memory == _home)", "truewtrue"),
        ("_home.a = nil; return _home.a", "nil"),
        ("return next(_home)", "nil"),
        ("_home = {new = 1}; return _home.new", "1"),
        ("return _home.new", "1"),
    ]);
}

/// A ghost shows in no function of the library, whichever touches it first.
#[test]
fn ghosts_cannot_be_told_from_tables() {
    let uses = [
        ("return t.x", "1"),
        ("return t['y'] .. t[1] .. t[3]", "2ac"),
        ("local n = 0; for k, v in pairs(t) do n = n + 1 end; return n", "6"),
        ("local n = 0; for k, v in next, t do n = n + 1 end; return n", "6"),
        ("local n = ''; for i, v in ipairs(t) do n = n .. v end; return n", "abc"),
        ("return #t", "3"),
        ("return (next(t))", "1"),
        ("return (next(t, 'x'))", "y"),
        ("return rawget(t, 'x') .. rawlen(t)", "13"),
        ("rawset(t, 'x', 5) return t.x .. t.y", "52"),
        ("t.x = 7 return t.x .. t.y", "72"),
        ("t[4] = 'd' return #t .. t[4]", "4d"),
        ("t[1] = 'z' return #t .. t[1]", "3z"),
        ("table.insert(t, 'd') return #t .. t[4]", "4d"),
        ("table.insert(t, 1, 'd') return #t .. t[4]", "4c"),
        ("return table.remove(t) .. #t", "c2"),
        ("return table.concat(t)", "abc"),
        ("return table.concat({table.unpack(t)})", "abc"),
        ("table.sort(t, function(a, b) return a > b end) return table.concat(t)", "cba"),
        ("table.sort(t) return table.concat(t)", "abc"),
        ("return table.concat(table.move(t, 1, 3, 2))", "aabc"),
        ("return tostring(getmetatable(t))", "nil"),
        ("return tostring(t):match('^table: ') and 'table'", "table"),
        ("return type(t)", "table"),
        ("setmetatable(t, {__index = function(_, k) return k .. '!' end}) return t.x .. t.z", "1z!"),
        ("return t == _home.same and t == _home.t", "true"),
        ("return _home.same.x .. t.y", "12"),
        ("return (pcall(function() return t + 1 end))", "false"),
        ("return select(2, pcall(function() return t() end)):match('table value')", "table value"),
        ("return select(2, pcall(function() return t .. 'x' end)):match('table value')", "table value"),
        ("return select(2, pcall(function() return t < t end))", "session:1: attempt to compare two table values"),
        ("return (string.gsub('x y', '%w', t))", "1 2"),
        ("return debug.getmetatable(t)", "nil"),
        ("return load('return x', 'c', 't', t)()", "1"),
        ("return t.inner.deep.deeper", "here"),
        ("return tostring(t.absent)", "nil"),
        (
            "local s = {} for k in pairs(t) do s[#s + 1] = tostring(k) t[k] = nil end return table.concat(s) .. tostring(next(t))",
            "123xyinnernil",
        ),
        (
            "local u = setmetatable({}, {__index = t, __newindex = t}) u.w = 3 return u.x .. t.w .. tostring(rawget(u, 'w'))",
            "13nil",
        ),
        ("local u = setmetatable({}, t) t.__index = function() return 'meta' end return u.x", "meta"),
        ("local function f(...) return select('#', ...) end return f(table.unpack(t, 1, 3))", "3"),
        ("return #table.pack(t)", "1"),
        ("return string.format('%d', #t)", "3"),
        ("local k = {} k[t] = 5 return k[_home.t]", "5"),
    ];
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    session.run("_home.t = {'a', 'b', 'c', x = 1, y = 2, inner = {deep = {deeper = 'here'}}}; _home.same = _home.t");
    session.commit();
    let saved = store.records.borrow().clone();
    for (source, expected) in uses {
        let source = format!("local t = _home.t; {source}");
        // Read from the store, then set aside in memory, then again after a commit of what the first run did.
        *store.records.borrow_mut() = saved.clone();
        assert_eq!(Session::open(&store).run(&source), expected, "from the store: {source}");
        let mut session = Session::open(&store);
        session.run("local function all(t, seen) if seen[t] then return end seen[t] = 1 for _, v in pairs(t) do if type(v) == 'table' then all(v, seen) end end end all(_home, {})");
        session.commit();
        assert_eq!(session.run(&source), expected, "set aside: {source}");
        session.commit();
        let plain = source.replace("_home", "plain");
        let make = "plain = {} plain.t = {'a', 'b', 'c', x = 1, y = 2, inner = {deep = {deeper = 'here'}}}; plain.same = plain.t;";
        assert_eq!(Session::open(&Rc::default()).run(&format!("{make} {plain}")), expected, "a plain table: {source}");
    }
}

#[test]
fn metatables_and_classes() {
    check(&[
        (
            "local Account = {} Account.__index = Account
             Account.__add = function(a, b) return a.n + b.n end
             Account.__eq = function(a, b) return a.n == b.n end
             Account.__lt = function(a, b) return a.n < b.n end
             Account.__le = function(a, b) return a.n <= b.n end
             Account.__len = function(a) return a.n end
             Account.__call = function(a, x) return a.n + x end
             Account.__concat = function(a, b) return 'cat' end
             Account.__tostring = function(a) return 'Account ' .. a.n end
             Account.__unm = function(a) return -a.n end
             Account.__close = function() closed = true end
             Account.__pairs = function(a) return function(_, k) if not k then return 1, a.n end end, a end
             Account.__name = 'Account'
             function Account.new(n) return setmetatable({n = n}, Account) end
             function Account:add(n) self.n = self.n + n return self.n end
             _home.Account = Account; _home.a = Account.new(5); _home.b = Account.new(6) return 1",
            "1",
        ),
        ("return _home.a:add(1)", "6"),
        ("return _home.a + _home.b", "12"),
        ("return _home.a == _home.b", "true"),
        ("return _home.a < _home.b", "false"),
        ("return _home.a <= _home.b", "true"),
        ("return #_home.a", "6"),
        ("return _home.a(2)", "8"),
        ("return _home.a .. _home.b", "cat"),
        ("return tostring(_home.a)", "Account 6"),
        ("return -_home.b", "-6"),
        ("do local x <close> = _home.a end return closed", "true"),
        ("for k, v in pairs(_home.b) do return v end", "6"),
        ("return getmetatable(_home.a) == _home.Account", "true"),
        ("return _home.Account.new(3):add(4)", "7"),
        ("setmetatable(_home.a, nil) return tostring(_home.a.add)", "nil"),
        ("return tostring(_home.a.add) .. _home.a.n", "nil6"),
        ("_home.p = setmetatable({}, {__metatable = 'locked'}) return 1", "1"),
        ("return getmetatable(_home.p)", "locked"),
        ("return select(2, pcall(setmetatable, _home.p, {}))", "cannot change a protected metatable"),
    ]);
}

#[test]
fn functions_share_their_variables() {
    check(&[
        (
            "local n = 0
             _home.up = function() n = n + 1 return n end
             _home.down = function() n = n - 1 return n end
             local function even(k) if k == 0 then return true end return _home.odd(k - 1) end
             _home.even = even
             _home.odd = function(k) if k == 0 then return false end return even(k - 1) end
             _home.fact = (function() local function f(k) return k < 2 and 1 or k * f(k - 1) end return f end)()
             return _home.up() + _home.up()",
            "3",
        ),
        ("return _home.up()", "3"),
        ("return _home.down()", "2"),
        ("return _home.up() .. _home.down() .. tostring(_home.even(10)) .. _home.fact(5)", "32true120"),
        ("local f = _home.up; _home.up = nil; f(); return _home.down()", "2"),
        ("return _home.down()", "1"),
        ("_home.g = string.format; _home.G = _G; _home.m = math; return 1", "1"),
        (
            "return tostring(_home.g == string.format) .. tostring(_home.G == _G) .. tostring(_home.m == math)",
            "truetruetrue",
        ),
        ("_home.long = string.rep('long', 1000); _home.long2 = _home.long; return #_home.long", "4000"),
        ("return tostring(_home.long == string.rep('long', 1000)) .. #_home.long2", "true4000"),
        ("_home.it = string.gmatch('one two three', '%a+') return _home.it()", "one"),
        ("return _home.it()", "two"),
        ("return _home.it()", "three"),
    ]);
}

#[test]
fn coroutines_go_on() {
    check(&[
        (
            "local n = 10
             _home.co = coroutine.create(function(a, ...)
               local t <close> = setmetatable({}, {__close = function() _home.closed = true end})
               for i, v in ipairs({'x', 'y', 'z'}) do
                 n = n + 1
                 local ok, got = pcall(function(...) return coroutine.yield(a .. i .. v .. n, ...) end, ...)
                 a = got
               end
               return 'end'
             end)
             _home.n = function() n = n + 100 return n end
             return select(2, coroutine.resume(_home.co, 'a'))",
            "a1x11",
        ),
        ("return select(2, coroutine.resume(_home.co, 'b'))", "b2y12"),
        ("return _home.n()", "112"),
        ("return select(2, coroutine.resume(_home.co, 'c'))", "c3z113"),
        ("return select(2, coroutine.resume(_home.co, 'd')) .. tostring(_home.closed)", "endtrue"),
        (
            "return coroutine.status(_home.co) .. select(2, coroutine.resume(_home.co))",
            "deadcannot resume dead coroutine",
        ),
        (
            "_home.wrap = coroutine.wrap(function() for k, v in pairs({a = 1, b = 2}) do coroutine.yield(k .. v) end end) return _home.wrap()",
            "a1",
        ),
        ("return _home.wrap()", "b2"),
        (
            "local co; co = coroutine.create(function() error({code = 5}) end) coroutine.resume(co) _home.failed = co return coroutine.status(co)",
            "dead",
        ),
        ("return coroutine.status(_home.failed) .. tostring(coroutine.close(_home.failed))", "deadfalse"),
    ]);
}

#[test]
fn weak_tables_and_finalizers() {
    check(&[
        ("_home.w = setmetatable({}, {__mode = 'k'}) _home.key = {} _home.w[_home.key] = 'v' return 1", "1"),
        ("collectgarbage() return _home.w[_home.key]", "v"),
        ("_home.w[{}] = 1 collectgarbage() local n = 0 for _ in pairs(_home.w) do n = n + 1 end return n", "1"),
        ("_home.key = nil _home.w.x = 'y' return 1", "1"),
        ("local w = _home.w next(w) collectgarbage() local n = 0 for _ in pairs(w) do n = n + 1 end return n", "1"),
    ]);
}

#[test]
fn a_commit_writes_what_changed() {
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    session.run("for i = 1, 1000 do _home[i] = {i, name = 'n' .. i} end");
    assert_eq!(session.commit(), 1002);
    assert_eq!(session.commit(), 0);
    session.run("_home[77].name = 'changed'");
    assert_eq!(session.commit(), 2);
    session.run("return _home[5].name .. #_home");
    assert_eq!(session.commit(), 0);
    session.run("_home[77].name = 'changed'");
    assert_eq!(session.commit(), 0);

    let mut session = Session::open(&store);
    store.reads.set(0);
    assert_eq!(session.run("return _home[77].name"), "changed");
    // The root table and the one that was asked for.
    assert_eq!(store.reads.get(), 2);
    session.run("_home[78].name = {}");
    assert_eq!(session.commit(), 3);
}

#[test]
fn a_failed_run_can_be_rolled_back() {
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    session.run(
        "local n = 0; _home.t = {1, 2, k = {deep = 1}}; _home.f = function() n = n + 1 return n end; held = _home.t
         _home.co = coroutine.wrap(function() local i = 0 while true do i = i + 1 coroutine.yield(i) end end)
         _home.w = setmetatable({a = {}}, {__mode = 'v'})
         return _home.f() + _home.co()",
    );
    session.commit();
    let before = store.records.borrow().clone();
    assert_eq!(session.run("_home.t[1] = 'bad' _home.t.k.deep = 'bad' _home.new = {} _home.t[4] = 4 _home.f() _home.co() _home.w.x = 1 setmetatable(_home.t, {}) error('failed', 0)"), "failed");
    session.home.roll_back(&session.vm).unwrap();
    assert_eq!(session.run("return held[1] .. #held .. held.k.deep .. tostring(_home.new) .. tostring(_home.w.x) .. tostring(getmetatable(held))"), "121nilnilnil");
    assert_eq!(session.run("return tostring(held == _home.t)"), "true");
    assert_eq!(session.commit(), 0);
    assert_eq!(*store.records.borrow(), before);
    assert_eq!(session.run("return _home.f() .. _home.co()"), "22");
    assert_eq!(session.commit(), 3);
    session.run("_home = 5");
    assert_eq!(session.commit_error().to_string(), "_home: cannot save an integer");
    session.home.roll_back(&session.vm).unwrap();
    assert_eq!(session.run("return _home.f() .. held[1]"), "31");
    session.commit();
}

/// A run filled the heap, and the roll-back after it had no memory for what it reads again: it forgot which closures and coroutines were
/// stored, so that what later runs changed of them was lost.
#[test]
fn a_roll_back_without_memory_is_finished_by_the_next() {
    let store = Rc::new(Store::default());
    let mut session = Session::with_heap(&store, 1 << 20);
    session.run(
        "local n = 0 _home.f = function() n = n + 1 return n end
         _home.co = coroutine.wrap(function() local i = 0 while true do i = i + 1 coroutine.yield(i) end end) _home.co() _home.t = {}",
    );
    session.commit();
    let full =
        session.run("_home.f() _home.co() _home.t.x = 'bad' local last while true do last = {last} keep = last end");
    assert!(full.contains("not enough memory"), "{full}");
    assert!(session.home.roll_back(&session.vm).is_err());
    // What is half rolled back is not stored.
    assert!(matches!(session.commit_error(), Error::Unreadable { .. }));
    assert_eq!(session.run("keep = nil return keep"), "nil");
    session.vm.collect();
    session.home.roll_back(&session.vm).unwrap();
    assert_eq!(session.run("return _home.f() .. _home.co() .. tostring(_home.t.x)"), "12nil");
    session.commit();
    assert_eq!(Session::open(&store).run("return _home.f() .. _home.co()"), "23");
}

#[test]
fn errors_name_the_path() {
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    session.vm.enter(|context| {
        let definition = cu_vm::NativeDefinition { name: "fetch", code: |call| call.return_none() };
        let fetch = cu_vm::Value::Native(cu_vm::Native::new(context, definition, &[]));
        context.globals().set(context, cu_vm::Value::String(context.string(b"fetch")), fetch).unwrap();
    });
    session.run("_home.handlers = {1, 2, 3}");
    session.commit();
    session.run("local fmt = fetch; _home.handlers[3] = function() return fmt end");
    assert_eq!(
        session.commit_error().to_string(),
        "_home.handlers[3].upvalue 'fmt': cannot save a host function 'fetch'"
    );
    // What could not be saved is still there, and is saved when it can be.
    session.run("debug.setupvalue(_home.handlers[3], 1, 'text')");
    assert!(session.commit() >= 4);
    assert_eq!(Session::open(&store).run("return _home.handlers[3]()"), "text");
    session.run("_home.x = {1, {co = coroutine.running()}}");
    assert_eq!(session.commit_error().to_string(), "_home.x[2].co: cannot save a coroutine");
    // Once it is gone, nothing is in the way.
    session.run("_home.x = {1, 2}");
    session.commit();
    session.run(
        "local function f() coroutine.yield() end local main = coroutine.running()
        _home.y = coroutine.create(function() local mine = main; f(mine) end) coroutine.resume(_home.y)",
    );
    assert_eq!(session.commit_error().to_string(), "_home.y.local 'mine': cannot save a coroutine");
}

#[test]
fn a_small_heap_reads_what_it_needs() {
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    session.run("for i = 1, 2000 do _home[i] = {text = string.rep('x', 100) .. i} end");
    session.commit();
    let mut session = Session::with_heap(&store, 512 << 10);
    assert_eq!(session.run("return #_home[1999].text .. _home[2000].text:sub(-4)"), "1042000");
    assert_eq!(
        session.run("local ok, e = pcall(function() local n = 0 for i, v in ipairs(_home) do n = n + #v.text end return n end) return tostring(ok) .. tostring(e)"),
        "falsenot enough memory"
    );
    assert_eq!(session.run("return _home[1].text:sub(-1)"), "1");
}

#[test]
fn garbage_is_found() {
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    for round in 0..30 {
        session.run(&format!("_home.queue = {{}} for i = 1, 100 do _home.queue[i] = {{i, {round}}} end"));
        session.commit();
        session.vm.collect();
        if session.home.wants_sweep() {
            let stored = store.records.borrow().clone();
            let (garbage, root) = session.home.garbage(&session.vm, &stored).unwrap();
            assert!(!garbage.is_empty());
            garbage.iter().for_each(|number| {
                store.records.borrow_mut().remove(number);
            });
            store.write(&root);
            session.home.confirm(&session.vm, &root);
        }
    }
    assert!(store.records.borrow().len() < 1600, "{}", store.records.borrow().len());
    assert_eq!(Session::open(&store).run("return #_home.queue .. _home.queue[100][2]"), "10029");
}

/// Each byte of each record changed, and each record cut: what can be read is used, and nothing panics.
#[test]
fn damaged_records_are_errors() {
    let store = Rc::new(Store::default());
    let mut session = Session::open(&store);
    session.run(
        "local n = 0
         _home.f = function() n = n + 1 return n end
         _home.list = setmetatable({1, nil, 3, x = 'y', [2.5] = true}, {__index = {z = string.rep('z', 200)}})
         _home.co = coroutine.wrap(function() for k, v in pairs({1, 2}) do pcall(coroutine.yield, k, n) end end)
         _home.co() _home.it = ('a b'):gmatch('%a') _home.it()",
    );
    session.commit();
    let records = store.records.borrow().clone();
    let walk = "local seen, parts = {}, 0
        local function walk(value)
          if type(value) == 'table' and not seen[value] then
            seen[value] = true
            for k, v in next, value do walk(k) walk(v) end
            walk(getmetatable(value))
          elseif type(value) == 'function' then pcall(value) end
          parts = parts + 1
        end
        for k, v in pairs(_home) do pcall(walk, v) end
        _home.new = {} return parts";
    let mut outcomes = [0; 3];
    let mut attempt = |changed: (u64, Vec<u8>)| {
        *store.records.borrow_mut() = records.clone();
        store.records.borrow_mut().insert(changed.0, changed.1);
        let mut vm = Vm::new(Options { heap_limit: 4 << 20, ..Options::default() });
        let Ok(home) = Home::attach(&vm, store.clone(), HomeOptions::default()) else {
            outcomes[0] += 1;
            return;
        };
        let chunk = vm.load(walk.as_bytes(), "=walk").expect("it compiles");
        let ran = vm.run(&chunk, 200_000, |_, _| ()).is_ok();
        outcomes[if ran { 1 } else { 2 }] += 1;
        vm.collect();
        if let Ok(changes) = home.changes(&vm) {
            store.write(&changes);
            home.confirm(&vm, &changes);
        }
        let _ = home.roll_back(&vm);
        vm.collect();
    };
    let mut numbers: Vec<u64> = records.keys().copied().collect();
    numbers.sort_unstable();
    for number in numbers {
        let record = &records[&number];
        for position in 0..record.len() {
            for change in [1, 0x7f] {
                let mut changed = record.clone();
                changed[position] ^= change;
                attempt((number, changed));
            }
            attempt((number, record[..position].to_vec()));
        }
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 500 && outcomes[2] > 10, "{outcomes:?}");
}

/// Host values in userdata are saved by the codec that the host registers, and refused by their path without one.
#[test]
fn userdata_with_a_codec() {
    struct Codec;
    impl cu_vm::image::UserdataCodec for Codec {
        fn save(&self, data: &dyn std::any::Any) -> Option<(String, Vec<u8>)> {
            data.downcast_ref::<u32>().map(|number| ("number".to_owned(), number.to_le_bytes().to_vec()))
        }

        fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn std::any::Any>> {
            let bytes = bytes.try_into().ok().filter(|_| kind == "number")?;
            Some(Box::new(u32::from_le_bytes(bytes)))
        }
    }
    let with_codec = || HomeOptions { userdata: Rc::new(Codec), ..HomeOptions::default() };
    let store = Rc::new(Store::default());
    let put = |vm: &Vm| {
        vm.enter(|context| {
            let userdata = cu_vm::Userdata::with_user_values(context, Box::new(77u32), 1);
            let value = cu_vm::Value::Userdata(userdata);
            context.globals().set(context, cu_vm::Value::String(context.string(b"made")), value).unwrap();
        });
    };
    let plain = Vm::new(Options::default());
    let mut session = Session {
        home: Home::attach(&plain, store.clone(), HomeOptions::default()).unwrap(),
        vm: plain,
        store: store.clone(),
    };
    put(&session.vm);
    session.run("_home.box = {made}");
    assert_eq!(session.commit_error().to_string(), "_home.box[1]: cannot save a userdata");

    let vm = Vm::new(Options::default());
    let mut session =
        Session { home: Home::attach(&vm, store.clone(), with_codec()).unwrap(), vm, store: store.clone() };
    put(&session.vm);
    session.run("_home.box = {made}; debug.setmetatable(made, {__index = {x = 5}}) debug.setuservalue(made, 'mine')");
    session.commit();

    let vm = Vm::new(Options::default());
    let mut session =
        Session { home: Home::attach(&vm, store.clone(), with_codec()).unwrap(), vm, store: store.clone() };
    assert_eq!(
        session.run("return _home.box[1].x .. debug.getuservalue(_home.box[1]) .. type(_home.box[1])"),
        "5mineuserdata"
    );
    let number = session.vm.enter(|context| {
        let home = context.globals().get_string(context.string(b"_home"));
        let cu_vm::Value::Table(home) = home else { return None };
        let cu_vm::Value::Table(list) = home.get_string(context.string(b"box")) else { return None };
        match list.get_integer(1) {
            cu_vm::Value::Userdata(userdata) => userdata.downcast::<u32>().copied(),
            _ => None,
        }
    });
    assert_eq!(number, Some(77));
    let error = Session::open(&store).run("return _home.box[1]");
    assert!(error.contains("unknown userdata 'number'"), "{error}");
}
