//! Single steps of library functions that may have to call Lua code: reading, assigning, measuring and comparing any object.
//!
//! A library function that respects metamethods is a small state machine. Each step names the slot its value goes to and the
//! state in which the function goes on. The common case is done at once: the step answers `None`, and the function goes on
//! to that state by itself. If a metamethod has to be called, the step answers the action that calls it, and the function is
//! entered again in that state with the value in the same slot. Either way the code after the step is the same:
//!
//! ```text
//!   READ => { step!(call.read(value_slot, object, key, GOT)); state = GOT }
//!   GOT  => { let value = call.slot(value_slot); … }
//! ```
//!
//! Whatever a step calls may not yield, as under a C function (manual §4.5).

use super::string::LENGTH_MAX;
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel;
use crate::heap::coroutine::STACK_SLOTS_MAX;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::interpreter::{Assigned, Indexed};
use crate::metamethod::Metamethod;

/// Leaves the function if a step has to call something.
macro_rules! step {
    ($step:expr) => {
        if let Some(action) = $step? {
            return Ok(action);
        }
    };
}
pub(super) use step;

/// What a step came to: an action to return, or nothing when it is done.
pub(super) type Step<'gc> = Result<Option<Action>, Error<'gc>>;

/// The table if plain access is all there is to it: it has no metamethod that indexing, assigning or measuring would call.
#[inline]
pub(super) fn plain_table<'gc>(call: &Call<'_, 'gc>, value: Value<'gc>) -> Option<Table<'gc>> {
    let Value::Table(table) = value else {
        return None;
    };
    let Some(metatable) = table.metatable() else {
        return Some(table);
    };
    let context = call.context();
    [Metamethod::Index, Metamethod::NewIndex, Metamethod::Len]
        .iter()
        .all(|event| metatable.metamethod(context, *event).is_nil())
        .then_some(table)
}

impl<'gc> Call<'_, 'gc> {
    /// `object[key]` into slot `at`.
    pub(super) fn read(&mut self, at: usize, object: Value<'gc>, key: Value<'gc>, next: u32) -> Step<'gc> {
        match self.machine.index(object, key)? {
            Indexed::Value(value) => {
                self.set_slot(at, value);
                Ok(None)
            }
            Indexed::Call(handler, object) => self.call_unyieldable(at, handler, &[object, key], 1, next).map(Some),
        }
    }

    /// `object[key] = value`; a handler's call uses the slots from `at` on.
    pub(super) fn assign(
        &mut self,
        at: usize,
        object: Value<'gc>,
        key: Value<'gc>,
        value: Value<'gc>,
        next: u32,
    ) -> Step<'gc> {
        match self.machine.assign(object, key, value)? {
            Assigned::Done => Ok(None),
            Assigned::Call(handler, object) => {
                self.call_unyieldable(at, handler, &[object, key, value], 0, next).map(Some)
            }
        }
    }

    /// `#object` into slot `at`; [`Self::length_in`] reads it.
    pub(super) fn measure(&mut self, at: usize, object: Value<'gc>, next: u32) -> Step<'gc> {
        let handler = match object {
            Value::String(string) => {
                self.set_slot(at, Value::Integer(string.len() as i64));
                return Ok(None);
            }
            _ => self.context().metamethod(object, Metamethod::Len),
        };
        match (handler, object) {
            (Value::Nil, Value::Table(table)) => {
                self.set_slot(at, Value::Integer(table.length()));
                Ok(None)
            }
            (Value::Nil, _) => Err(self.machine.operation_error("get length of", object)),
            _ => self.call_unyieldable(at, handler, &[object, object], 1, next).map(Some),
        }
    }

    /// The length that [`Self::measure`] left in slot `at`.
    pub(super) fn length_in(&self, at: usize) -> Result<i64, Error<'gc>> {
        match self.slot(at) {
            Value::Integer(length) => Ok(length),
            value => value.to_integer().ok_or_else(|| self.error("object length is not an integer")),
        }
    }

    /// `left < right` into slot `at`, as a truthy or falsy value.
    pub(super) fn less(&mut self, at: usize, left: Value<'gc>, right: Value<'gc>, next: u32) -> Step<'gc> {
        match self.machine.compare(Metamethod::Lt, left, right)? {
            Ok(less) => {
                self.set_slot(at, Value::Boolean(less));
                Ok(None)
            }
            Err(handler) => self.call_unyieldable(at, handler, &[left, right], 1, next).map(Some),
        }
    }

    /// Argument `index`, a table or an object that has the metamethods of all `events` (PUC's `checktab`).
    pub(super) fn check_table_like(&self, index: usize, events: &[Metamethod]) -> Result<Value<'gc>, Error<'gc>> {
        let value = self.arg(index);
        if let Value::Table(_) = value {
            return Ok(value);
        }
        let has = |event: &Metamethod| !self.context().metamethod(value, *event).is_nil();
        if events.iter().all(has) { Ok(value) } else { Err(self.type_error(index, "table")) }
    }

    /// From here on the function, if it has to be tried again for lack of memory, goes on in `state`.
    pub(super) fn advance(&mut self, state: u32) {
        self.machine.top_frame_mut().state = state;
    }

    /// Enters the function again in `state`, after the driver had a chance to stop for lack of fuel: for long work in pieces.
    pub(super) fn again(&mut self, state: u32) -> Result<Action, Error<'gc>> {
        self.advance(state);
        Ok(Action::Entered)
    }

    /// Whether the stack can ever hold slots up to `end`.
    pub(super) fn fits_stack(&self, end: usize) -> bool {
        let function = self.machine.top_frame().function as usize;
        end <= STACK_SLOTS_MAX.saturating_sub(function)
    }

    /// Makes room in a text under construction, of which the heap knows nothing yet. The limit is asked for the new buffer and the
    /// old one, as both are there while the text is copied.
    pub(super) fn grow(&self, text: &mut Vec<u8>, additional: usize) -> Result<(), Error<'gc>> {
        let length = text.len().saturating_add(additional);
        if length <= text.capacity() {
            return Ok(());
        }
        if length > LENGTH_MAX {
            return Err(self.error("resulting string too large"));
        }
        let accounting = self.context().accounting();
        let doubled = (2 * text.capacity()).clamp(length, LENGTH_MAX);
        let capacity = if accounting.check(text.capacity() + doubled).is_ok() { doubled } else { length };
        accounting.check(text.capacity() + capacity)?;
        text.reserve_exact(capacity - text.len());
        Ok(())
    }

    /// A string of `bytes`, which are copied; its cost is charged, and the heap limit asked for a long one.
    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8]) -> Result<Value<'gc>, Error<'gc>> {
        self.charge(fuel::STRING);
        if bytes.len() >= 64 {
            self.charge(fuel::copied(bytes.len()));
            self.context().accounting().check(bytes.len())?;
        }
        Ok(Value::String(self.context().string(bytes)))
    }
}
