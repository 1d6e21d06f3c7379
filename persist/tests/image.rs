//! Images at every kind of rest: before a run, after it, after its error or exit; and what the host adds to them.

mod harness;

use std::any::Any;

use cu_persist::{Error, Limits, Loaded, load_image, save_image};
use cu_vm::image::{HostParts, NoUserdata, UserdataCodec};
use cu_vm::{
    Action, Call, Handle, Host, MemoryFiles, Native, NativeDefinition, Options, RunError, Step, Userdata, Value, Vm,
};
use harness::{call, run};

fn image(vm: &Vm) -> Vec<u8> {
    save_image(vm, &NoUserdata, b"attached", &Limits::default()).unwrap()
}

fn load(bytes: &[u8]) -> Loaded {
    load_image(bytes, Options { heap_limit: 64 << 20, ..Options::default() }, &HostParts::NONE, &Limits::default())
        .unwrap()
}

/// The VM loaded from another one's image, which is the same again.
fn reloaded(vm: &Vm) -> Vm {
    let bytes = image(vm);
    let loaded = load(&bytes);
    assert_eq!(loaded.attachment, b"attached");
    assert!(image(&loaded.vm) == bytes);
    loaded.vm
}

fn start(vm: &mut Vm, source: &str) -> Handle {
    let chunk = vm.load(source.as_bytes(), "=test").unwrap();
    vm.start(|context| (context.fetch(&chunk), vec![Value::Integer(20), Value::Integer(22)])).unwrap();
    chunk
}

#[test]
fn a_fresh_vm_and_a_run_not_yet_begun() {
    let mut vm = reloaded(&harness::vm());
    start(&mut vm, "local a, b = ... return a + b");
    let mut vm = reloaded(&vm);
    assert!(vm.is_running());
    assert_eq!(vm.step(1000), Ok(Step::Finished));
    let mut vm = reloaded(&vm);
    assert_eq!(vm.take_results(|_, results| results[0].to_integer()), Some(42));
    let functions = run(&mut vm, "x = (x or 0) + 1; return function() return x end");
    assert_eq!(call(&mut reloaded(&vm), &functions[0]), "1");
}

#[test]
fn a_failed_run_keeps_its_error() {
    let mut vm = harness::vm();
    start(&mut vm, "error({ code = 7 })");
    assert_eq!(vm.step(1000), Ok(Step::Failed));
    let loaded = reloaded(&vm);
    assert_eq!(loaded.take_error(), vm.take_error());
    let code = |vm: &Vm| {
        vm.take_error_value(|context, value| match value {
            Value::Table(table) => table.get_string(context.string(b"code")).to_integer(),
            _ => None,
        })
    };
    assert_eq!((code(&loaded), code(&vm)), (Some(7), Some(7)));
}

struct Exiting;

impl Host for Exiting {
    fn write(&mut self, _: &[u8]) {}

    fn can_exit(&mut self) -> bool {
        true
    }
}

#[test]
fn after_an_exit_what_is_pending_can_still_be_closed() {
    let options = || Options { host: Box::new(Exiting), ..Options::default() };
    let mut vm = Vm::new(options());
    start(
        &mut vm,
        "local c <close> = setmetatable({}, { __close = function() closed = true end })
         coroutine.wrap(function() os.exit(3, true) end)()",
    );
    assert_eq!(vm.step(1000), Ok(Step::Exited { code: 3, close: true }));
    let bytes = image(&vm);
    let mut vm = load_image(&bytes, options(), &HostParts::NONE, &Limits::default()).unwrap().vm;
    vm.start_close().unwrap();
    assert_eq!(vm.step(1000), Ok(Step::Finished));
    let closed = vm.enter(|context| context.globals().get_string(context.string(b"closed")).is_truthy());
    assert!(closed);
    // In a host that cannot exit, the function is there and says so.
    let mut vm = load(&bytes).vm;
    vm.abort();
    let chunk = vm.load(b"return pcall(os.exit, 1)", "=test").unwrap();
    let message = vm.run(&chunk, 1000, |_, results| harness::show(results[1])).unwrap();
    assert_eq!(message, "\"'exit' not supported\"");
}

#[test]
fn an_interruption_waits_for_the_resumed_run() {
    let mut vm = harness::vm();
    start(&mut vm, "while true do end");
    assert_eq!(vm.step(100), Ok(Step::OutOfFuel));
    vm.interrupt("enough");
    let mut vm = reloaded(&vm);
    assert_eq!(vm.step(1000), Ok(Step::Failed));
    let RunError::Lua { message, .. } = vm.take_error() else { panic!("an error of the run") };
    assert!(message.ends_with("enough"), "{message}");
}

#[test]
fn handles_come_back_in_order() {
    let mut vm = harness::vm();
    let mut functions =
        run(&mut vm, "return function() return 1 end, function() return 2 end, function() return 3 end");
    let second = functions.remove(1);
    vm.enter(|context| context.release(second));
    let Loaded { mut vm, handles, .. } = load(&image(&vm));
    // The first one is the chunk that `run` loaded.
    let shown: Vec<String> = handles.iter().skip(1).map(|handle| call(&mut vm, handle)).collect();
    assert_eq!(shown, ["1", "3"]);
}

#[test]
fn the_lower_heap_limit_holds() {
    let vm = Vm::new(Options { heap_limit: 1 << 20, ..Options::default() });
    let limit = |heap_limit| {
        let options = Options { heap_limit, ..Options::default() };
        let loaded = load_image(&image(&vm), options, &HostParts::NONE, &Limits::default());
        loaded.map(|loaded| loaded.vm.heap_bytes().limit).map_err(|error| error.code())
    };
    assert_eq!((limit(1 << 30), limit(1 << 19), limit(1 << 10)), (Ok(1 << 20), Ok(1 << 19), Err("limit")));
}

#[test]
fn the_debug_library_is_the_hosts_choice() {
    let options = Options { has_debug: false, ..Options::default() };
    let result = load_image(&image(&harness::vm()), options, &HostParts::NONE, &Limits::default());
    assert!(matches!(result.err(), Some(Error::UnknownPermanent { name, .. }) if name.starts_with("debug.")));
}

fn twice<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, cu_vm::Error<'gc>> {
    let number = call.check_integer(1)?;
    call.return_value(Value::Integer(number * 2))
}

const TWICE: NativeDefinition = NativeDefinition { name: "host.twice", code: twice };

/// Saves numbers.
struct Numbers;

impl UserdataCodec for Numbers {
    fn save(&self, data: &dyn Any) -> Option<(String, Vec<u8>)> {
        data.downcast_ref::<u32>().map(|number| ("number".to_owned(), number.to_le_bytes().to_vec()))
    }

    fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn Any>> {
        let bytes: [u8; 4] = bytes.try_into().ok()?;
        (kind == "number").then(|| Box::new(u32::from_le_bytes(bytes)) as Box<dyn Any>)
    }
}

#[test]
fn functions_and_values_of_the_host() {
    let vm = harness::vm();
    let set = |vm: &Vm, name: &[u8], value: for<'gc> fn(cu_vm::Context<'gc>) -> Value<'gc>| {
        vm.enter(|context| {
            let name = Value::String(context.string(name));
            context.globals().set(context, name, value(context)).unwrap();
        });
    };
    set(&vm, b"twice", |context| Value::Native(Native::new(context, TWICE, &[])));
    let refused = save_image(&vm, &NoUserdata, b"", &Limits::default()).unwrap_err();
    assert_eq!(refused.to_string(), "_G.twice: cannot save a host function 'host.twice'");
    vm.enter(|context| {
        let twice = context.globals().get_string(context.string(b"twice"));
        context.add_permanent(TWICE.name, twice).unwrap();
    });
    set(&vm, b"list", |context| {
        let list = context.table();
        let number = Value::Userdata(Userdata::new(context, Box::new(99u32)));
        list.set_integer(context, 1, number).unwrap();
        Value::Table(list)
    });
    let refused = save_image(&vm, &NoUserdata, b"", &Limits::default()).unwrap_err();
    assert_eq!(refused.to_string(), "_G.list[1]: cannot save a userdata");

    let bytes = save_image(&vm, &Numbers, b"", &Limits::default()).unwrap();
    let load = |parts: &HostParts<'_>| {
        load_image(&bytes, Options { heap_limit: 64 << 20, ..Options::default() }, parts, &Limits::default())
    };
    assert_eq!(load(&HostParts::NONE).err().map(|error| error.code()), Some("unknownPermanent"));
    let without_codec = HostParts { natives: &[TWICE], userdata: &NoUserdata };
    assert_eq!(load(&without_codec).err().map(|error| error.code()), Some("unknownUserdata"));
    let mut vm = load(&HostParts { natives: &[TWICE], userdata: &Numbers }).unwrap().vm;
    let functions = run(&mut vm, "return function() return twice(21) end");
    assert_eq!(call(&mut vm, &functions[0]), "42");
    let number = vm.enter(|context| match context.globals().get_string(context.string(b"list")) {
        Value::Table(list) => match list.get_integer(1) {
            Value::Userdata(number) => number.downcast::<u32>().copied(),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(number, Some(99));
}

struct WithFiles(MemoryFiles);

impl Host for WithFiles {
    fn write(&mut self, _: &[u8]) {}

    fn files(&mut self) -> Option<&mut dyn cu_vm::Files> {
        Some(&mut self.0)
    }
}

#[test]
fn standard_streams_go_on_and_closed_files_stay_closed() {
    let files = MemoryFiles::new();
    files.push_input(b"first\nsecond\nthird\n");
    let options = |files: &MemoryFiles| Options { host: Box::new(WithFiles(files.clone())), ..Options::default() };
    let mut vm = Vm::new(options(&files));
    run(&mut vm, "line = io.read() file = io.open('x', 'w') file:close() lines = io.lines()");
    let bytes = image(&vm);
    // What was read ahead comes from the image: the new standard input is empty.
    let mut vm = load_image(&bytes, options(&MemoryFiles::new()), &HostParts::NONE, &Limits::default()).unwrap().vm;
    let functions = run(&mut vm, "return function() return line, lines(), io.read(), io.read(), io.type(file) end");
    assert_eq!(call(&mut vm, &functions[0]), "\"first\" \"second\" \"third\" nil \"closed file\"");
    // Without files the library is still there, and can do nothing.
    let mut vm = load(&bytes).vm;
    let functions = run(&mut vm, "return function() return io.open('x'), io.write('x') end");
    assert_eq!(call(&mut vm, &functions[0]), "nil nil \"Function not implemented\" 38");
}
