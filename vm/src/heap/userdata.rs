//! Userdata: a value of the host with a metatable and, for some, Lua values that belong to it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, covers, note_freed};
use super::table::Table;
use super::value::Value;
use crate::context::Context;

/// A host's value.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Userdata<'gc>(Gc<'gc, UserdataObject<'gc>>);

struct UserdataObject<'gc> {
    data: Box<dyn Any>,
    metatable: Cell<Option<Table<'gc>>>,
    user_values: Box<[Cell<Value<'gc>>]>,
    serial: Cell<u32>,
    /// Whether the heap knows that it has a `__gc` metamethod.
    has_finalizer: Cell<bool>,
}

/// What the host's value takes is not known: about as much as a file with its buffers.
const DATA_BYTES: usize = 448;

const fn nominal_bytes(user_values: usize) -> usize {
    HEADER_BYTES + 56 + DATA_BYTES + user_values * 16
}

const _: () = assert!(covers::<UserdataObject<'static>>(nominal_bytes(0)));

// SAFETY: `data` is 'static, so the metatable and the user values hold the only `Gc` pointers.
unsafe impl<'gc> Collect<'gc> for UserdataObject<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        cc.trace(&self.metatable.get());
        for value in &self.user_values {
            cc.trace(&value.get());
        }
    }
}

impl Drop for UserdataObject<'_> {
    fn drop(&mut self) {
        note_freed(nominal_bytes(self.user_values.len()));
    }
}

impl<'gc> Userdata<'gc> {
    /// Nominal bytes of one with so many values; `u64`, as the number may be anything.
    pub(crate) fn nominal_bytes_for(count: u32) -> u64 {
        nominal_bytes(0) as u64 + u64::from(count) * 16
    }

    pub fn new(context: Context<'gc>, data: Box<dyn Any>) -> Self {
        Self::with_user_values(context, data, 0)
    }

    /// A userdata with `count` user values, nil at first (`debug.setuservalue`).
    pub fn with_user_values(context: Context<'gc>, data: Box<dyn Any>, count: usize) -> Self {
        context.accounting().charge(nominal_bytes(count));
        let object = UserdataObject {
            data,
            metatable: Cell::new(None),
            user_values: vec![Cell::new(Value::Nil); count].into(),
            serial: Cell::new(0),
            has_finalizer: Cell::new(false),
        };
        Userdata(Gc::new(context.mutation(), object))
    }

    /// The host's value, if it is a `T`.
    pub fn downcast<T: 'static>(self) -> Option<&'gc T> {
        self.0.as_ref().data.downcast_ref()
    }

    /// The host's value, whatever it is.
    pub fn data(self) -> &'gc dyn Any {
        &*self.0.as_ref().data
    }

    pub fn metatable(self) -> Option<Table<'gc>> {
        self.0.metatable.get()
    }

    /// Without a look at `__gc`; [`Context::set_userdata_metatable`] is the whole of it.
    pub(crate) fn set_metatable_raw(self, metatable: Option<Table<'gc>>) {
        self.0.metatable.set(metatable);
    }

    /// The user values, to read and to set.
    pub fn user_values(self) -> &'gc [Cell<Value<'gc>>] {
        &self.0.as_ref().user_values
    }

    pub(crate) fn has_finalizer(self) -> &'gc Cell<bool> {
        &self.0.as_ref().has_finalizer
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
