//! Bytecode from anybody: the verifier refuses it, or the interpreter survives it.
//!
//! An input is the part of a binary chunk after its checksum: the number of upvalues, then the body.
#![no_main]

use cu_fuzz::{run_on, vm};
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh64::xxh64;

fuzz_target!(|input: &[u8]| {
    let Some((upvalues, body)) = input.split_first() else { return };
    let mut chunk = b"\x1bLua\x54\0\x19\x93\r\n\x1a\n\x04\x08\x08".to_vec();
    chunk.extend_from_slice(&0x5678u64.to_le_bytes());
    chunk.extend_from_slice(&370.5f64.to_le_bytes());
    chunk.push(*upvalues);
    chunk.extend_from_slice(b"Cu\x01");
    chunk.extend_from_slice(&(body.len() as u32).to_le_bytes());
    chunk.extend_from_slice(&xxh64(input, 0).to_le_bytes());
    chunk.extend_from_slice(body);
    let mut vm = vm();
    let Ok(function) = vm.load(&chunk, "=fuzz") else { return };
    if vm.start(|context| (context.fetch(&function), Vec::new())).is_ok() {
        run_on(&mut vm);
    }
});
