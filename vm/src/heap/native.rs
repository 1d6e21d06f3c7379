//! Native functions: Rust code with a registered name and, for some, values of its own.

use std::cell::Cell;
use std::fmt;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, covers, note_freed};
use super::value::Value;
use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::library::Leaf;

/// The code of a native function. It is entered again with another [`Call::state`] after each call it asked for.
pub type NativeCode = for<'gc> fn(&mut Call<'_, 'gc>) -> Result<Action, Error<'gc>>;

/// A native function's name and code. The name (`string.format`) is how saved state refers to it; one in parentheses hides the
/// function from tracebacks.
#[derive(Debug, Clone, Copy)]
pub struct NativeDefinition {
    pub name: &'static str,
    pub code: NativeCode,
}

/// A native function.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Native<'gc>(Gc<'gc, NativeObject<'gc>>);

pub(crate) struct NativeObject<'gc> {
    pub definition: NativeDefinition,
    pub role: Role,
    pub values: Box<[Cell<Value<'gc>>]>,
    serial: Cell<u32>,
}

/// What the interpreter knows about a native function beyond its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    /// Likewise; usual calls of it are made without a frame.
    Leaf(Leaf),
    /// `next`: generic loops step over the table themselves.
    Next,
    /// The iterator of `ipairs`: likewise.
    SequenceStep,
    /// Errors in what it calls come back to it instead of unwinding further.
    Protected,
    /// Likewise, after the message handler of the code around it has seen them (`load`).
    Loading,
    /// Likewise; it is `pcall`, which the interpreter enters and leaves by itself where it can.
    ProtectedCall,
    /// Likewise, after the message handler in its slot 1 has seen them (`xpcall`).
    Handled,
}

impl Role {
    /// Whether the function does nothing that the interpreter takes part in.
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Role::Plain | Role::Leaf(_))
    }

    /// Whether errors come back to such a function.
    pub(crate) fn is_protected(self) -> bool {
        matches!(self, Role::Protected | Role::Loading | Role::ProtectedCall | Role::Handled)
    }
}

const fn nominal_bytes(count: usize) -> usize {
    HEADER_BYTES + 56 + count * 16
}

const _: () = assert!(covers::<NativeObject<'static>>(nominal_bytes(0)));

// SAFETY: the values are all that a native function holds on the heap.
unsafe impl<'gc> Collect<'gc> for NativeObject<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        for value in &self.values {
            cc.trace(&value.get());
        }
    }
}

impl Drop for NativeObject<'_> {
    fn drop(&mut self) {
        note_freed(nominal_bytes(self.values.len()));
    }
}

impl<'gc> Native<'gc> {
    /// Nominal bytes of one with so many values; `u64`, as the number may be anything.
    pub(crate) fn nominal_bytes_for(count: u32) -> u64 {
        nominal_bytes(0) as u64 + u64::from(count) * 16
    }

    /// A native function with values of its own, which its code reaches by [`Call::upvalue`].
    pub fn new(context: Context<'gc>, definition: NativeDefinition, values: &[Value<'gc>]) -> Self {
        Self::with_role(context, definition, values, Role::Plain)
    }

    pub(crate) fn with_role(
        context: Context<'gc>,
        definition: NativeDefinition,
        values: &[Value<'gc>],
        role: Role,
    ) -> Self {
        context.accounting().charge(nominal_bytes(values.len()));
        let values = values.iter().map(|value| Cell::new(*value)).collect();
        let object = NativeObject { definition, role, values, serial: Cell::new(0) };
        Native(Gc::new(context.mutation(), object))
    }

    /// The same function with other values of its own.
    pub fn with_values(self, context: Context<'gc>, values: &[Value<'gc>]) -> Self {
        Self::with_role(context, self.0.definition, values, self.0.role)
    }

    /// The registered name.
    pub fn name(self) -> &'static str {
        self.0.definition.name
    }

    /// Whether it is the VM's own, which no script sees running. Their names are in parentheses.
    pub(crate) fn is_hidden(self) -> bool {
        self.name().starts_with('(')
    }

    #[inline(always)]
    pub(crate) fn code(self) -> NativeCode {
        self.0.definition.code
    }

    #[inline(always)]
    pub(crate) fn role(self) -> Role {
        self.0.role
    }

    /// The function's own values.
    pub fn values(self) -> &'gc [Cell<Value<'gc>>] {
        &self.0.as_ref().values
    }

    pub(crate) fn serial(self) -> &'gc Cell<u32> {
        &self.0.as_ref().serial
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }
}

impl fmt::Debug for Native<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Native({})", self.name())
    }
}
