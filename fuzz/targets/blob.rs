//! Function blobs from anybody: loading gives an error or functions that can be called and saved again.
#![no_main]

use cu_fuzz::{limits, run_on, sealed, vm};
use cu_persist::{Save, load_functions, save_functions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let mut vm = vm();
    let Ok(functions) = load_functions(&mut vm, &sealed(*b"\x1bCuF", payload), &limits()) else { return };
    for function in &functions {
        if vm.start(|context| (context.fetch(function), Vec::new())).is_ok() {
            run_on(&mut vm);
        }
    }
    let named: Vec<_> = functions.iter().map(|function| ("f", function)).collect();
    if let Ok(bytes) = save_functions(&vm, &named, &Save { limits: limits(), ..Save::default() }) {
        assert!(load_functions(&mut vm, &bytes, &limits()).is_ok(), "what was saved can be loaded");
    }
});
