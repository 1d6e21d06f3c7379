//! Source text from anybody: the compiler refuses it, or what it makes passes the verifier and runs within fuel and heap.
#![no_main]

use cu_fuzz::{run_on, vm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &[u8]| {
    let mut vm = vm();
    let Ok(function) = vm.load(source, "=fuzz") else { return };
    if vm.start(|context| (context.fetch(&function), Vec::new())).is_ok() {
        run_on(&mut vm);
    }
});
