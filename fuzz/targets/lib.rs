//! What the fuzz targets share: limits that keep one execution short, and envelopes whose checksum is right.
//!
//! An input is a payload. Each target puts it into an envelope itself, so that mutations reach the reader instead of failing at the
//! checksum.

use cu_persist::Limits;
use cu_vm::{Options, Vm};
use xxhash_rust::xxh64::xxh64;

/// Bytes of heap that a VM under test may take.
pub const HEAP_LIMIT: usize = 4 << 20;

/// Fuel for what was loaded.
pub const FUEL: u64 = 20_000;

/// Limits of loading.
pub fn limits() -> Limits {
    Limits { payload_bytes: 1 << 20, objects: 100_000, function_bytes: 1 << 20 }
}

/// A VM under test.
pub fn vm() -> Vm {
    Vm::new(options())
}

/// What such a VM is made with.
pub fn options() -> Options {
    Options { heap_limit: HEAP_LIMIT, ..Options::default() }
}

/// A payload in an envelope, not deflated.
pub fn sealed(magic: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&[cu_persist::FORMAT_VERSION, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&xxh64(&out, 0).to_le_bytes());
    out
}

/// Runs what is under way, with a collection now and then.
pub fn run_on(vm: &mut Vm) {
    for _ in 0..4 {
        if !vm.is_running() || vm.step(FUEL / 4).is_err() {
            break;
        }
        vm.collect();
    }
    vm.abort();
    vm.collect();
}
