//! Host values in userdata, and external tables, in functions that are saved: by the codec that the host registers, or refused by their path.

mod harness;

use std::rc::Rc;

use cu_persist::{Codecs, Error, External, ExternalOptions, FunctionPolicy, Limits, Save, StoredTables};
use cu_persist::{load_functions, load_functions_with, save_functions};
use cu_storage::{Database, MemoryBackend, Options as StorageOptions, block_on};
use cu_vm::{Context, Handle, Userdata, Value, Vm};
use harness::*;
use xxhash_rust::xxh64::xxh64;

/// A value that code cannot look into.
struct Number(u32);

fn codecs() -> Codecs {
    Codecs::default().with::<Number>(
        "number",
        |number| (number.0 != 13).then(|| number.0.to_le_bytes().to_vec()),
        |bytes| bytes.try_into().ok().map(|bytes| Number(u32::from_le_bytes(bytes))),
    )
}

fn saving() -> Save {
    Save { userdata: Rc::new(codecs()), ..Save::default() }
}

fn set<'gc>(context: Context<'gc>, name: &str, value: Value<'gc>) {
    context.globals().set(context, Value::String(context.string(name.as_bytes())), value).expect("it fits");
}

/// A VM with numbers in the globals `one` and `two`, which have a value of their own.
fn vm_with_numbers() -> Vm {
    let vm = vm();
    vm.enter(|context| {
        for (name, number) in [("one", 1001), ("two", 1002), ("bad", 13)] {
            set(context, name, Value::Userdata(Userdata::with_user_values(context, Box::new(Number(number)), 1)));
        }
    });
    vm
}

/// What a function returns, numbers by what is in them.
fn returned(vm: &mut Vm, function: &Handle) -> Vec<String> {
    let shown = |value: &Value<'_>| match value {
        Value::Userdata(userdata) => match userdata.downcast::<Number>() {
            Some(number) => format!("number {}", number.0),
            None => "userdata".to_owned(),
        },
        other => show(*other),
    };
    vm.run(function, FUEL, |_, results| results.iter().map(shown).collect()).expect("it runs")
}

const SOURCE: &str = "
    local class = { __index = { kind = 'class' }, __name = 'number' }
    local one, two, shared = one, two, { n = 0 }
    debug.setmetatable(one, class)
    debug.setuservalue(one, two)
    debug.setuservalue(two, { back = one, shared = shared })
    local set = { [one] = 'first' }
    local function get()
      shared.n = shared.n + 1
      local inner = debug.getuservalue(two)
      return one, two, one.kind, set[one], debug.getuservalue(one) == two, inner.back == one, inner.shared.n
    end
    return get, function() return one, shared.n end";

#[test]
fn a_registered_type_is_saved_and_restored() {
    let mut vm = vm_with_numbers();
    let functions = run(&mut vm, SOURCE);
    returned(&mut vm, &functions[0]);
    let bytes = save_with(&vm, &functions, &saving()).expect("there is a codec");
    assert_eq!(bytes[4], 3, "format version");
    let expected = ["number 1001", "number 1002", "\"class\"", "\"first\"", "true", "true", "2"];
    assert_eq!(returned(&mut vm, &functions[0]), expected);

    let mut vm = harness::vm();
    let functions = load_functions_with(&mut vm, &bytes, &Limits::default(), &codecs()).expect("there is a codec");
    let again = save_with(&vm, &functions, &saving()).expect("there is a codec");
    assert_eq!(again, bytes, "saving, loading and saving again");
    assert_eq!(returned(&mut vm, &functions[0]), expected);
    assert_eq!(returned(&mut vm, &functions[1]), ["number 1001", "2"]);
}

#[test]
fn a_finalizer_of_a_restored_one_runs() {
    let mut vm = vm_with_numbers();
    let functions = run(
        &mut vm,
        "local one = one; debug.setmetatable(one, { __gc = function() _G.done = true end }) return function() return one end",
    );
    let bytes = save_with(&vm, &functions, &saving()).expect("there is a codec");
    let mut vm = harness::vm();
    let functions = load_functions_with(&mut vm, &bytes, &Limits::default(), &codecs()).expect("there is a codec");
    vm.enter(|context| functions.into_iter().for_each(|function| context.release(function)));
    vm.collect();
    let done = run(&mut vm, "collectgarbage() return function() return done end");
    assert_eq!(call(&mut vm, &done[0]), "true");
}

#[test]
fn errors_name_the_path_or_the_kind() {
    let mut vm = vm_with_numbers();
    let source =
        "local box, bad = { list = { 1, one } }, bad return function() return box end, function() return bad end";
    let functions = run(&mut vm, source);
    let refusal = |save: &Save, index: usize| {
        save_functions(&vm, &[("function 'f'", &functions[index])], save).expect_err("it cannot be saved").to_string()
    };
    assert_eq!(refusal(&Save::default(), 0), "function 'f'.upvalue 'box'.list[2]: cannot save a userdata");
    // A codec may refuse single values.
    assert_eq!(refusal(&saving(), 1), "function 'f'.upvalue 'bad': cannot save a userdata");
    vm.enter(|context| {
        let Value::Userdata(two) = context.globals().get_string(context.string(b"two")) else { panic!("it is there") };
        two.user_values()[0].set(context.globals().get_string(context.string(b"bad")));
    });
    let functions = run(&mut vm, "local two = two return function() return two end");
    let error = save_functions(&vm, &[("f", &functions[0])], &saving()).expect_err("the value in it cannot be saved");
    assert_eq!(error.to_string(), "f.upvalue 'two'[1]: cannot save a userdata");

    let functions = run(&mut vm, "local one = one return function() return one end");
    let bytes = save_with(&vm, &functions, &saving()).expect("there is a codec");
    let mut vm = harness::vm();
    let error = load_functions(&mut vm, &bytes, &Limits::default()).expect_err("there is no codec");
    assert_eq!(error, Error::UnknownUserdata { kind: "number".to_owned() });
}

/// A blob of version 3 around this payload.
fn seal(payload: &[u8]) -> Vec<u8> {
    let mut out = b"\x1bCuF\x03\x00".to_vec();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    let checksum = xxh64(&out, 0);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Every byte of a blob with userdata changed, and truncated at every length: an error or a VM that goes on.
#[test]
fn damaged_blobs_are_refused_or_sound() {
    let mut vm = vm_with_numbers();
    let functions = run(&mut vm, SOURCE);
    let bytes = save_with(&vm, &functions, &Save { strip_debug: true, ..saving() }).expect("there is a codec");
    assert_eq!((bytes[4], bytes[5]), (3, 0), "small enough not to be deflated");
    let payload = &bytes[10..bytes.len() - 8];
    assert_eq!(seal(payload), bytes);
    let limits = Limits { payload_bytes: 1 << 20, objects: 10_000, function_bytes: 1 << 20 };
    let (mut refused, mut loaded) = (0, 0);
    let mut attempt = |payload: &[u8]| {
        let mut vm = vm_with_heap(1 << 20);
        match load_functions_with(&mut vm, &seal(payload), &limits, &codecs()) {
            Err(error) => refused += usize::from(!error.to_string().is_empty()),
            Ok(functions) => {
                loaded += 1;
                for function in &functions {
                    let _ = vm.run(function, 20_000, |_, _| ());
                }
                vm.collect();
            }
        }
        let alive = run(&mut vm, "return function() return 6 * 7 end");
        assert_eq!(call(&mut vm, &alive[0]), "42");
    };
    for position in 0..payload.len() {
        for change in [1, 2, 0x10, 0x80, 0xff] {
            let mut changed = payload.to_vec();
            changed[position] ^= change;
            attempt(&changed);
        }
        attempt(&payload[..position]);
    }
    assert!(refused > 1000 && loaded > 100, "{refused} refused, {loaded} loaded");
}

/// External tables over a store, in a VM of their own.
fn with_tables(store: &MemoryBackend) -> (Vm, External) {
    with_tables_of(&open(store))
}

fn open(store: &MemoryBackend) -> Rc<Database> {
    Rc::new(block_on(Database::open(store.clone(), StorageOptions::default())).expect("it opens"))
}

fn with_tables_of(database: &Rc<Database>) -> (Vm, External) {
    let functions = FunctionPolicy::Allow(Save { userdata: Rc::new(codecs()), ..Save::default() });
    let options = ExternalOptions { functions, ..ExternalOptions::default() };
    let external = External::new(StoredTables::new(database.clone()), options);
    let vm = vm_with_numbers();
    external.open(&vm).expect("it fits");
    (vm, external)
}

/// What a function holds of external tables goes by name: the tables of the VM that loads it.
#[test]
fn functions_refer_to_external_tables_by_name() {
    let store = MemoryBackend::new();
    let (mut vm, external) = with_tables(&store);
    let source = "local users = ext.table('users') users.a = { n = 5 }
        local many, ext = users:where('n', '>', 3):limit(9), ext
        return function() return users.a.n, many:count(), users == ext.table('users') end";
    let functions = run(&mut vm, source);
    let without = save(&vm, &functions).expect_err("the codec of external tables is needed");
    assert_eq!(without.to_string(), "f.upvalue 'users': cannot save a userdata");
    let save = Save { userdata: external.codec(), ..Save::default() };
    let bytes = save_with(&vm, &functions, &save).expect("there is a codec");

    let (mut vm, external) = with_tables(&store);
    run(&mut vm, "ext.table('users').b = { n = 7 }");
    let functions = load_functions_with(&mut vm, &bytes, &Limits::default(), &*external.codec()).expect("it loads");
    assert_eq!(call(&mut vm, &functions[0]), "5 2 true");

    let mut without_tables = harness::vm();
    let error = load_functions(&mut without_tables, &bytes, &Limits::default()).expect_err("there are no tables");
    assert_eq!(error.to_string(), "unknown userdata 'ext.table'");
}

/// Functions inside documents know the tables that the documents are in, and the host's own types besides.
#[test]
fn functions_in_documents_refer_to_external_tables() {
    let store = MemoryBackend::new();
    let (mut vm, _) = with_tables(&store);
    run(
        &mut vm,
        "local t, one = ext.table('t'), one t.n = 5
         t.f = function() t.n = t.n + 1 return t.n, one end",
    );
    drop(vm);
    let database = open(&store);
    let (mut vm, external) = with_tables_of(&database);
    let functions = run(&mut vm, "return ext.table('t').f");
    assert_eq!(returned(&mut vm, &functions[0]), ["6", "number 1001"]);
    assert!(external.codec().save(&Number(1)).is_none(), "the codec of the tables alone");
    drop((vm, functions, external));
    assert_eq!(Rc::strong_count(&database), 1, "no circle keeps the tables in memory");
}
