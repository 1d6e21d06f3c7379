//! Functions that go from blob to blob, one step a process.
//!
//!     blob define SOURCE BLOB    saves the function that a file of Lua code gives
//!     blob call BLOB NEXT        calls a saved function, prints the text it returns, and saves it as it is then

use std::error::Error;
use std::path::Path;

use cu_persist::{Functions, Limits, Save, compile_function};
use cu_vm::{Options, Value, Vm};

const FUEL: u64 = 1 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["define", source, blob] => define(source.as_ref(), blob.as_ref()),
        ["call", blob, next] => call(blob.as_ref(), next.as_ref()),
        _ => Err("usage: blob define SOURCE BLOB | blob call BLOB NEXT".into()),
    }
}

fn define(source: &Path, blob: &Path) -> Result<(), Box<dyn Error>> {
    let mut vm = Vm::new(Options::default());
    let definition = compile_function(&vm, &std::fs::read(source)?, "=t.f")?;
    let function =
        vm.run(&definition, FUEL, |context, results| context.stash(results.first().copied().unwrap_or(Value::Nil)))?;
    let mut functions = Functions::new();
    functions.adopt(&vm, "t", "f", function)?;
    save(&vm, &functions, blob)
}

fn call(blob: &Path, next: &Path) -> Result<(), Box<dyn Error>> {
    let mut vm = Vm::new(Options::default());
    let mut functions = Functions::new();
    functions.load(&mut vm, "t", "f", &std::fs::read(blob)?, &Limits::default())?;
    let function = functions.get("t", "f").ok_or("the function is gone")?;
    let printed = vm.run(function, FUEL, |_, results| match results.first() {
        Some(Value::String(text)) => text.to_string_lossy().into_owned(),
        other => format!("no text but {}", other.map_or("nothing", |value| value.type_name())),
    })?;
    println!("{printed}");
    save(&vm, &functions, next)
}

fn save(vm: &Vm, functions: &Functions, blob: &Path) -> Result<(), Box<dyn Error>> {
    Ok(std::fs::write(blob, functions.save(vm, "t", "f", &Save::default())?)?)
}
