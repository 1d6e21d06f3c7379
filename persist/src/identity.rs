//! Telling heap objects apart by address while a walk over them lasts. Nothing can be freed or moved meanwhile.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use cu_vm::Value;
use gc_arena::collect::{Collect, Trace};
use gc_arena::{Gc, GcWeak};

/// Numbers by object address.
pub(crate) type ByAddress<T> = HashMap<usize, T, BuildHasherDefault<AddressHasher>>;

/// The address of the object behind a value; 0 if there is none.
pub(crate) fn address(value: Value<'_>) -> usize {
    let mut found = Found(0);
    value.trace(&mut found);
    found.0
}

/// Takes note of the one pointer that a value holds.
struct Found(usize);

impl<'gc> Trace<'gc> for Found {
    fn trace_gc(&mut self, object: Gc<'gc, ()>) {
        self.0 = Gc::as_ptr(object) as usize;
    }

    fn trace_gc_weak(&mut self, _: GcWeak<'gc, ()>) {}
}

/// Spreads the bits of an address.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(usize::from(byte) ^ self.0 as usize);
        }
    }

    fn write_usize(&mut self, address: usize) {
        let product = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
