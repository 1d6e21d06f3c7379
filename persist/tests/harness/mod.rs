//! Running Lua code in a VM of its own, and looking at what comes out.
#![allow(dead_code)]

use cu_persist::{Limits, Result, Save, load_functions, save_functions};
use cu_vm::{Handle, Options, RunError, Value, Vm};

pub const FUEL: u64 = 1 << 40;

pub fn vm() -> Vm {
    vm_with_heap(64 << 20)
}

pub fn vm_with_heap(heap_limit: usize) -> Vm {
    Vm::new(Options { heap_limit, ..Options::default() })
}

/// Runs a chunk and keeps what it returns.
pub fn run(vm: &mut Vm, source: &str) -> Vec<Handle> {
    let chunk = vm.load(source.as_bytes(), "=test").unwrap_or_else(|error| panic!("{error} in {source}"));
    let results = vm.run(&chunk, FUEL, |context, results| results.iter().map(|value| context.stash(*value)).collect());
    results.unwrap_or_else(|error| panic!("{error} in {source}"))
}

/// Calls a function and shows what it returns, or its error.
pub fn call(vm: &mut Vm, function: &Handle) -> String {
    match vm.run(function, FUEL, |_, results| results.iter().map(|value| show(*value)).collect::<Vec<_>>().join(" ")) {
        Ok(shown) => shown,
        Err(RunError::Lua { message, .. }) => format!("error: {message}"),
        Err(error) => format!("error: {error}"),
    }
}

pub fn show(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => format!("{float:?}"),
        Value::String(text) => format!("{:?}", text.to_string_lossy()),
        other => other.type_name().into(),
    }
}

pub fn save(vm: &Vm, functions: &[Handle]) -> Result<Vec<u8>> {
    save_with(vm, functions, &Save::default())
}

pub fn save_with(vm: &Vm, functions: &[Handle], save: &Save) -> Result<Vec<u8>> {
    let named: Vec<(&str, &Handle)> = functions.iter().map(|function| ("f", function)).collect();
    save_functions(vm, &named, save)
}

pub fn load(vm: &mut Vm, bytes: &[u8]) -> Result<Vec<Handle>> {
    load_functions(vm, bytes, &Limits::default())
}

/// Calls each function in turn, three rounds.
pub fn transcript(vm: &mut Vm, functions: &[Handle]) -> Vec<String> {
    (0..3).flat_map(|_| functions).map(|function| call(vm, function)).collect()
}

/// A pseudo-random sequence (SplitMix64), the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
