//! Upvalues: variables that closures share.
//!
//! An upvalue is *open* while its variable lives in a register of a coroutine, and *closed* when it holds the value itself.
//! Either way `location` points to the value, so access never branches. A coroutine whose stack moves
//! corrects the locations of its open upvalues; an open upvalue keeps its coroutine alive.

use std::cell::{Cell, UnsafeCell};
use std::ptr;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, covers, note_freed};
use super::coroutine::Coroutine;
use super::value::Value;
use crate::context::Context;

/// A variable captured by closures.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Upvalue<'gc>(Gc<'gc, UpvalueObject<'gc>>);

struct UpvalueObject<'gc> {
    location: Cell<*mut Value<'gc>>,
    closed: UnsafeCell<Value<'gc>>,
    /// The coroutine whose register it is; `None` when closed.
    owner: Cell<Option<Coroutine<'gc>>>,
    /// The register's position in the owner's stack.
    position: Cell<u32>,
    serial: Cell<u32>,
}

/// With the reference in the list of a coroutine's open upvalues.
const OBJECT_BYTES: usize = HEADER_BYTES + 40 + 16;
const _: () = assert!(covers::<UpvalueObject<'static>>(OBJECT_BYTES));

// SAFETY: a closed upvalue traces its value, an open one the coroutine that holds it.
unsafe impl<'gc> Collect<'gc> for UpvalueObject<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        match self.owner.get() {
            Some(owner) => cc.trace(&owner),
            // SAFETY: nothing mutates during a collection.
            None => cc.trace(unsafe { &*self.closed.get() }),
        }
    }
}

impl Drop for UpvalueObject<'_> {
    fn drop(&mut self) {
        note_freed(OBJECT_BYTES);
    }
}

impl<'gc> Upvalue<'gc> {
    pub(crate) const NOMINAL_BYTES: usize = OBJECT_BYTES;

    /// A closed upvalue with this value.
    pub fn new(context: Context<'gc>, value: Value<'gc>) -> Self {
        let upvalue = Self::allocate(context, ptr::null_mut(), None, 0);
        upvalue.close_with(value);
        upvalue
    }

    /// An upvalue for the register at `position` of `owner`, which is at `location` now.
    pub(crate) fn open(context: Context<'gc>, owner: Coroutine<'gc>, position: u32, location: *mut Value<'gc>) -> Self {
        Self::allocate(context, location, Some(owner), position)
    }

    fn allocate(
        context: Context<'gc>,
        location: *mut Value<'gc>,
        owner: Option<Coroutine<'gc>>,
        position: u32,
    ) -> Self {
        context.accounting().charge(OBJECT_BYTES);
        Upvalue(Gc::new(
            context.mutation(),
            UpvalueObject {
                location: Cell::new(location),
                closed: UnsafeCell::new(Value::Nil),
                owner: Cell::new(owner),
                position: Cell::new(position),
                serial: Cell::new(0),
            },
        ))
    }

    #[inline(always)]
    pub fn get(self) -> Value<'gc> {
        // SAFETY: `location` points to `closed` or to a register of the owner, which this upvalue keeps alive and
        // which corrects `location` when its stack moves.
        unsafe { *self.0.location.get() }
    }

    /// Where the value is; valid until the owner's stack moves or the upvalue is closed.
    #[inline(always)]
    pub(crate) fn location(self) -> *const Value<'gc> {
        self.0.location.get()
    }

    #[inline(always)]
    pub fn set(self, value: Value<'gc>) {
        // SAFETY: as in `get`; collection is atomic, so no barrier is needed (see `crate::heap`).
        unsafe { *self.0.location.get() = value };
    }

    /// The owner and the register's position while the upvalue is open.
    pub fn open_at(self) -> Option<(Coroutine<'gc>, u32)> {
        self.0.owner.get().map(|owner| (owner, self.0.position.get()))
    }

    /// The offset of its location from the address that a closure holds, in bytes.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub(crate) fn location_offset(self) -> u32 {
        // SAFETY: a `Gc` is an address.
        let address = unsafe { std::mem::transmute_copy::<Self, u32>(&self) };
        (Gc::as_ptr(self.0) as u32).wrapping_sub(address) + std::mem::offset_of!(UpvalueObject<'gc>, location) as u32
    }

    pub(crate) fn position(self) -> u32 {
        self.0.position.get()
    }

    pub(crate) fn set_location(self, location: *mut Value<'gc>) {
        self.0.location.set(location);
    }

    /// Makes a closed upvalue the variable at `position` of `owner`'s stack, which is at `location` now.
    pub(crate) fn reopen(self, owner: Coroutine<'gc>, position: u32, location: *mut Value<'gc>) {
        self.0.owner.set(Some(owner));
        self.0.position.set(position);
        self.0.location.set(location);
    }

    /// Makes the upvalue hold its current value itself.
    pub(crate) fn close(self) {
        self.close_with(self.get());
    }

    fn close_with(self, value: Value<'gc>) {
        let object = self.0.as_ref();
        // SAFETY: no reference to `closed` is alive.
        unsafe { *object.closed.get() = value };
        object.location.set(object.closed.get());
        object.owner.set(None);
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }

    pub(crate) fn serial(self) -> &'gc Cell<u32> {
        &self.0.as_ref().serial
    }

    pub fn ptr_eq(self, other: Upvalue<'gc>) -> bool {
        Gc::ptr_eq(self.0, other.0)
    }

    /// The object's address, to tell upvalues apart while none can be freed.
    pub fn address(self) -> usize {
        Gc::as_ptr(self.0) as usize
    }
}
