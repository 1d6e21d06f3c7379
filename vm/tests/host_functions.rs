//! Functions of the host: called, answered at once or later, wherever Lua code stands.

use std::cell::RefCell;
use std::rc::Rc;

use cu_vm::{Answer, Context, Host, Options, RunError, Step, Value, Vm};

/// What was asked of the host: names with the first argument.
type Asked = Rc<RefCell<Vec<String>>>;

/// `now(...)` gives its arguments back, `refuse(x)` throws x, `later(x)` has no answer yet.
struct Functions(Asked);

impl Host for Functions {
    fn write(&mut self, _bytes: &[u8]) {}

    fn call<'gc>(&mut self, _context: Context<'gc>, name: &[u8], args: &[Value<'gc>]) -> Answer<'gc> {
        let name = String::from_utf8_lossy(name).into_owned();
        self.0.borrow_mut().push(format!("{name} {}", args.len()));
        match name.as_str() {
            "now" => Answer::Return(args.to_vec()),
            "refuse" => Answer::Throw(args.first().copied().unwrap_or(Value::Nil)),
            "later" => Answer::Wait,
            _ => Answer::Unknown,
        }
    }
}

fn new_vm() -> (Vm, Asked) {
    let asked = Asked::default();
    let vm = Vm::new(Options { host: Box::new(Functions(asked.clone())), ..Options::default() });
    vm.enter(|context| {
        for name in ["now", "later", "refuse", "missing"] {
            let function = Value::Native(context.host_function(name.as_bytes()));
            let name = Value::String(context.string(name.as_bytes()));
            context.globals().set(context, name, function).expect("there is room");
        }
    });
    (vm, asked)
}

/// Runs `source`, answering each `later` with 10, 20, 30 and so on, a negative one with an error. The results as text, and how
/// many calls waited.
fn run(source: &str, fuel: u64, sign: i64) -> (Result<String, String>, i64) {
    let (mut vm, _) = new_vm();
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing runs yet");
    let mut waited = 0;
    loop {
        match vm.step(fuel).expect("a run is under way") {
            Step::OutOfFuel => {}
            Step::Waiting => {
                waited += 1;
                let number = 10 * waited;
                let answered = vm.answer(|_| -> Result<_, RunError> {
                    let answer = Value::Integer(number);
                    Ok(if sign < 0 { Err(answer) } else { Ok(vec![answer]) })
                });
                answered.expect("the call waits");
                let again = vm.answer(|_| -> Result<_, RunError> { Ok(Ok(Vec::new())) });
                assert!(again.is_err(), "a call is answered once");
            }
            Step::Finished => {
                let text = vm.take_results(|_, values| {
                    let texts = values.iter().map(|value| match value {
                        Value::String(text) => text.to_string_lossy().into_owned(),
                        Value::Integer(number) => number.to_string(),
                        Value::Boolean(boolean) => boolean.to_string(),
                        Value::Nil => "nil".to_owned(),
                        other => other.type_name().to_owned(),
                    });
                    texts.collect::<Vec<_>>().join(" ")
                });
                return (Ok(text), waited);
            }
            Step::Failed => return (Err(vm.take_error().to_string()), waited),
            Step::Exited { .. } => panic!("nothing exits"),
        }
    }
}

#[test]
fn answers_at_once() {
    let (result, waited) = run("return now(1, nil, 'x'), now(), (now(5))", 1000, 1);
    assert_eq!((result.as_deref(), waited), (Ok("1 nil 5"), 0));
    let (result, _) = run("return select('#', now()), now(1, nil, 'x')", 1000, 1);
    assert_eq!(result.as_deref(), Ok("0 1 nil x"));
    let (result, _) = run("return pcall(refuse, 'no')", 1000, 1);
    assert_eq!(result.as_deref(), Ok("false no"));
    let (result, _) = run("refuse('uncaught')", 1000, 1);
    assert_eq!(result, Err("uncaught".to_owned()));
    let (result, _) = run("local x = missing(1)", 1000, 1);
    assert_eq!(result, Err("test:1: the host has no function 'missing'".to_owned()));
}

/// Programs that call `later` from everywhere, and what they give.
const WAITING: &[(&str, &str)] = &[
    ("return later(1)", "10"),
    ("local a = later() local b = later() return a + b", "30"),
    ("return pcall(later)", "true 10"),
    ("return select(2, pcall(function() return later() + 1 end))", "11"),
    ("local o = setmetatable({}, {__index = later}) return o.x", "10"),
    ("local o = setmetatable({}, {__index = function(_, k) return later() + k end}) return o[5]", "15"),
    ("local o = setmetatable({}, {__add = function() return later() end}) return o + o", "10"),
    ("local o = setmetatable({}, {__lt = function() return later() > 5 end}) return o < o", "true"),
    ("local o = setmetatable({}, {__concat = function() return later() end}) return 'a' .. o", "10"),
    ("local o = setmetatable({}, {__call = later}) return o()", "10"),
    ("local t = {3, 1, 2} table.sort(t, function(a, b) later() return a < b end) return table.concat(t, ',')", "1,2,3"),
    ("return (('abc'):gsub('.', function(c) return c .. later() end))", "a10b20c30"),
    (
        "local s = 0 for x in function(_, c) c = (c or 0) + 1 if c < 4 then return c end end do s = s + x * later() end return s",
        "140",
    ),
    (
        "local n = 0 for v in function() local x = later() if x < 40 then return x end end do n = n + v end return n",
        "60",
    ),
    ("local c = coroutine.wrap(function() coroutine.yield(later()) return later() end) return c() + c()", "30"),
    ("local c = coroutine.wrap(later) return c()", "10"),
    ("local r do local x <close> = setmetatable({}, {__close = function() r = later() end}) end return r", "10"),
    ("local r setmetatable({}, {__gc = function() r = later() end}) collectgarbage() return r", "10"),
    ("local f = load(function() local n = later() return n == 10 and 'return 7' or nil end) return f()", "7"),
    ("return select('#', later(), later())", "2"),
    ("local t = setmetatable({}, {__tostring = function() return 'n' .. later() end}) return tostring(t)", "n10"),
    ("return xpcall(function() error('x', 0) end, function(e) return e .. later() end)", "false x10"),
    ("local function deep(n) if n == 0 then return later() end return 1 + deep(n - 1) end return deep(50)", "60"),
];

#[test]
fn waits_anywhere() {
    for (program, expected) in WAITING {
        for fuel in [7, 1_000_000] {
            let (result, waited) = run(program, fuel, 1);
            assert_eq!(result.as_deref(), Ok(*expected), "{program}");
            assert!(waited > 0, "{program}");
        }
    }
}

#[test]
fn errors_come_from_where_the_call_is() {
    for program in ["return later()", "local c = coroutine.wrap(later) return c()"] {
        let (result, _) = run(program, 1000, -1);
        assert!(result.is_err(), "{program}");
    }
    let (result, _) = run("return pcall(function() return later() end)", 1000, -1);
    assert_eq!(result.as_deref(), Ok("false 10"));
    let (result, _) = run("local ok, e = pcall(later) local ok2, e2 = pcall(later) return e + e2", 1000, -1);
    assert_eq!(result.as_deref(), Ok("30"));
}

#[test]
fn a_call_without_an_answer_is_made_again() {
    let (mut vm, asked) = new_vm();
    let chunk = vm.load(b"return later('a', 'b')", "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing runs yet");
    assert_eq!(vm.step(1000), Ok(Step::Waiting));
    assert_eq!(vm.step(1000), Ok(Step::Waiting));
    assert_eq!(*asked.borrow(), ["later 2", "later 2"]);
    vm.abort();
    let answered = vm.answer(|_| -> Result<_, RunError> { Ok(Ok(Vec::new())) });
    assert!(answered.is_err(), "nothing waits");
}

/// What the host did is not done again, also where its answer does not fit into the heap.
#[test]
fn is_called_once_near_the_heap_limit() {
    for limit in (60_000..90_000).step_by(500) {
        let (mut vm, asked) = new_vm();
        let source = b"local kept = {} for i = 1, 50 do kept[i] = string.rep('x', 40 + i) now(kept[i]) end";
        let chunk = vm.load(source, "=test").expect("the chunk compiles");
        vm.set_heap_limit(limit);
        vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing runs yet");
        let mut step = vm.step(1000);
        while step == Ok(Step::OutOfFuel) {
            step = vm.step(1000);
        }
        let calls = asked.borrow().len();
        match step {
            Ok(Step::Finished) => assert_eq!(calls, 50),
            Ok(Step::Failed) => assert!(calls <= 50),
            other => panic!("{other:?}"),
        }
    }
}
