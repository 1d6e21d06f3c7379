//! Sandboxes in what is saved: images hold them, saved functions refer to them by name and to nothing outside the profile.

mod harness;

use cu_persist::{Error, Limits, load_image, save_image};
use cu_vm::image::{HostParts, NoUserdata};
use cu_vm::{Handle, Options, RunError, Vm};
use harness::{FUEL, call, load, save};

fn vm(sandboxed: bool) -> Vm {
    Vm::new(Options { heap_limit: 64 << 20, sandboxed, ..Options::default() })
}

fn run(vm: &mut Vm, sandbox: &str, source: &str) -> Result<Vec<Handle>, RunError> {
    let chunk = vm.load_in(sandbox, source.as_bytes(), "=test")?;
    vm.run(&chunk, FUEL, |context, results| results.iter().map(|value| context.stash(*value)).collect())
}

#[test]
fn an_image_holds_sandboxes() {
    for sandboxed in [false, true] {
        let mut vm = vm(sandboxed);
        run(&mut vm, "a", "x = 1; next_field = pairs(string)").expect("it runs");
        run(&mut vm, "b", "x = 2").expect("it runs");
        let bytes = save_image(&vm, &NoUserdata, b"", &Limits::default()).expect("it can be saved");
        let options = Options { heap_limit: 64 << 20, ..Options::default() };
        let mut vm = load_image(&bytes, options, &HostParts::NONE, &Limits::default()).expect("it can be loaded").vm;
        assert!(save_image(&vm, &NoUserdata, b"", &Limits::default()).expect("it can be saved") == bytes);
        run(&mut vm, "a", "assert(x == 1 and load('return x')() == 1 and type(next_field(string)) == 'string')")
            .expect("a");
        run(&mut vm, "b", "assert(x == 2 and load('return x')() == 2 and not next_field)").expect("b");
        for source in
            ["string.rep = 1", "rawset(string, 'rep', 1)", "setmetatable(string, nil)", "getmetatable('').x = 1"]
        {
            run(&mut vm, "b", source).expect_err(source);
        }
        run(&mut vm, "a", "assert(('x'):rep(2) == 'xx')").expect("the library is as it was");
    }
}

const COUNTER: &str = "n = 40
local rep, s, each, get = string.rep, string, load, getmetatable
return function() n = n + 1; return n, s.rep('x', 2), each('return n')(), get('') end";

#[test]
fn saved_functions_find_their_sandbox_again() {
    let mut from = vm(false);
    let functions = run(&mut from, "guest", COUNTER).expect("it runs");
    assert_eq!(call(&mut from, &functions[0]), "41 \"xx\" 41 false");
    let bytes = save(&from, &functions).expect("it can be saved");
    let mut to = vm(false);
    assert!(matches!(load(&mut to, &bytes), Err(Error::UnknownPermanent { .. })), "there is no sandbox 'guest'");
    run(&mut to, "guest", "n = 0").expect("it runs");
    let loaded = load(&mut to, &bytes).expect("now there is");
    assert_eq!(call(&mut to, &loaded[0]), "1 \"xx\" 1 false");
    run(&mut to, "guest", "assert(n == 1)").expect("its variable is the sandbox's");
}

#[test]
fn a_sandboxed_vm_saves_and_loads_its_own_functions() {
    let mut from = vm(true);
    let chunk = from.load(COUNTER.as_bytes(), "=test").expect("it compiles");
    let functions: Vec<Handle> = from
        .run(&chunk, FUEL, |context, results| results.iter().map(|value| context.stash(*value)).collect())
        .expect("it runs");
    let bytes = save(&from, &functions).expect("it can be saved");
    let mut to = vm(true);
    let chunk = to.load(b"n = 7", "=test").expect("it compiles");
    to.run(&chunk, FUEL, |_, _| ()).expect("it runs");
    let loaded = load(&mut to, &bytes).expect("it can be loaded");
    assert_eq!(call(&mut to, &loaded[0]), "8 \"xx\" 8 false");
}

/// What the profile withholds cannot come in by name.
#[test]
fn a_sandboxed_vm_refuses_functions_of_the_whole_library() {
    let names = [
        "collectgarbage",
        "warn",
        "load",
        "getmetatable",
        "setmetatable",
        "require",
        "string.dump",
        "math.randomseed",
        "os.getenv",
        "debug.getregistry",
        "debug.setmetatable",
        "debug.sethook",
        "debug.getupvalue",
        "package.loaded",
        "package",
        "string",
        "debug",
    ];
    for name in names {
        let mut from = harness::vm();
        let functions = harness::run(&mut from, &format!("local f = {name}; return function() return f end"));
        let bytes = save(&from, &functions).expect("it can be saved");
        match load(&mut vm(true), &bytes) {
            Err(Error::UnknownPermanent { name: unknown, .. }) => assert_eq!(unknown, name),
            other => panic!("{name}: {:?}", other.map(|_| ())),
        }
    }
}
