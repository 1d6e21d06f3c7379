//! Blobs of every released format version load, and the functions in them do what they did when they were saved.
//!
//! `fixtures/blobs/v<n>/NAME.lua` returns functions; `NAME.blob` is what saving them gave, after three rounds of calls; `NAME.expected` is what
//! the next three rounds of calls returned. With `CU_WRITE_FIXTURES=1` the test writes what is missing; what is there is never
//! overwritten, because released blobs have to load as they are.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cu_persist::{Codecs, Limits, Save, load_functions_with};
use cu_vm::{Action, Call, Native, NativeDefinition, Userdata, Value, Vm};
use harness::*;

fn sources(version: u8) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/blobs/v{version}"));
    let entries = fs::read_dir(folder).expect("the fixtures are there");
    let mut sources: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lua"))
        .collect();
    sources.sort();
    sources
}

/// A VM in which `number(n)` gives a userdata that answers with n when it is asked as `value(userdata)`.
fn vm_with_numbers() -> Vm {
    fn number<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, cu_vm::Error<'gc>> {
        let number = call.check_integer(1)?;
        let userdata = Userdata::with_user_values(call.context(), Box::new(number), 1);
        call.return_value(Value::Userdata(userdata))
    }
    fn value<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, cu_vm::Error<'gc>> {
        let number = match call.arg(1) {
            Value::Userdata(userdata) => userdata.downcast::<i64>().copied(),
            _ => None,
        };
        call.return_value(number.map_or(Value::Nil, Value::Integer))
    }
    let vm = vm();
    vm.enter(|context| {
        let definitions =
            [NativeDefinition { name: "number", code: number }, NativeDefinition { name: "value", code: value }];
        for definition in definitions {
            let native = Value::Native(Native::new(context, definition, &[]));
            context.add_permanent(definition.name, native).expect("it fits");
            let name = Value::String(context.string(definition.name.as_bytes()));
            context.globals().set(context, name, native).expect("it fits");
        }
    });
    vm
}

/// Saves integers.
fn codecs() -> Codecs {
    let integer = |bytes: &[u8]| bytes.try_into().ok().map(i64::from_le_bytes);
    Codecs::default().with::<i64>("integer", |integer| Some(integer.to_le_bytes().to_vec()), integer)
}

fn write_missing(source: &Path) {
    let blob = source.with_extension("blob");
    if blob.exists() {
        return;
    }
    let text = fs::read_to_string(source).unwrap();
    let mut vm = vm_with_numbers();
    let functions = run(&mut vm, &text);
    transcript(&mut vm, &functions);
    let save = Save { userdata: Rc::new(codecs()), ..Save::default() };
    fs::write(&blob, save_with(&vm, &functions, &save).unwrap()).unwrap();
    let lines = transcript(&mut vm, &functions).join("\n");
    fs::write(source.with_extension("expected"), lines + "\n").unwrap();
}

#[test]
fn blobs_of_version_1_load_and_run() {
    load_and_run(1, 4);
}

#[test]
fn blobs_of_version_2_load_and_run() {
    load_and_run(2, 1);
}

#[test]
fn blobs_of_version_3_load_and_run() {
    load_and_run(3, 1);
}

fn load_and_run(version: u8, count_min: usize) {
    let sources = sources(version);
    assert!(sources.len() >= count_min, "{sources:?}");
    for source in sources {
        if std::env::var_os("CU_WRITE_FIXTURES").is_some() {
            write_missing(&source);
        }
        let blob =
            fs::read(source.with_extension("blob")).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let expected = fs::read_to_string(source.with_extension("expected")).unwrap();
        assert_eq!(blob[4], version, "format version");
        let mut vm = vm_with_numbers();
        let loaded = load_functions_with(&mut vm, &blob, &Limits::default(), &codecs());
        let functions = loaded.unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let lines = transcript(&mut vm, &functions).join("\n");
        assert_eq!(lines + "\n", expected, "{}", source.display());
    }
}
