//! Images from anybody: an error, or a VM that goes on and can be saved again.
#![no_main]

use cu_fuzz::{limits, options, run_on, sealed};
use cu_persist::{load_image, save_image};
use cu_vm::image::{HostParts, NoUserdata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let image = sealed(*b"\x1bCuI", payload);
    let Ok(mut loaded) = load_image(&image, options(), &HostParts::NONE, &limits()) else { return };
    if let Ok(again) = save_image(&loaded.vm, &NoUserdata, &loaded.attachment, &limits()) {
        assert!(load_image(&again, options(), &HostParts::NONE, &limits()).is_ok(), "what was saved can be loaded");
    }
    run_on(&mut loaded.vm);
});
