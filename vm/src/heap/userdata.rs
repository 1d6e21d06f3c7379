//! Userdata: a value of the host with a metatable.

use std::any::Any;
use std::cell::Cell;
use std::fmt;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, note_freed};
use super::table::Table;
use crate::context::Context;

/// A host's value.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Userdata<'gc>(Gc<'gc, UserdataObject<'gc>>);

struct UserdataObject<'gc> {
    data: Box<dyn Any>,
    metatable: Cell<Option<Table<'gc>>>,
    serial: Cell<u32>,
}

const OBJECT_BYTES: usize = HEADER_BYTES + 16;

// SAFETY: `data` is 'static, so the metatable is the only `Gc` pointer.
unsafe impl<'gc> Collect<'gc> for UserdataObject<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        cc.trace(&self.metatable.get());
    }
}

impl Drop for UserdataObject<'_> {
    fn drop(&mut self) {
        note_freed(OBJECT_BYTES);
    }
}

impl<'gc> Userdata<'gc> {
    pub fn new(context: Context<'gc>, data: Box<dyn Any>) -> Self {
        context.accounting().charge(OBJECT_BYTES);
        let object = UserdataObject { data, metatable: Cell::new(None), serial: Cell::new(0) };
        Userdata(Gc::new(context.mutation(), object))
    }

    /// The host's value, if it is a `T`.
    pub fn downcast<T: 'static>(self) -> Option<&'gc T> {
        self.0.as_ref().data.downcast_ref()
    }

    pub fn metatable(self) -> Option<Table<'gc>> {
        self.0.metatable.get()
    }

    pub(crate) fn serial(self) -> &'gc Cell<u32> {
        &self.0.as_ref().serial
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }
}

impl fmt::Debug for Userdata<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Userdata")
    }
}
