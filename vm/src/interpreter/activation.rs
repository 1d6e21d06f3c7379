//! Running functions as error messages, tracebacks and the `debug` library see them.
//!
//! Level 0 is the running function, level 1 the one that called it, and so on down the frames of one coroutine. The VM's own
//! native functions (a message handler's call, the queue of finalizers) are no levels, as in PUC Lua, where C code without a
//! frame does their work.

use super::Machine;
use super::describe::{Name, call_name};
use crate::fuel;
use crate::heap::coroutine::{Callee, Coroutine, FLAG_TAIL_CALL, Frame};
use crate::heap::proto::Proto;
use crate::heap::value::Value;

/// A frame of a coroutine.
#[derive(Clone, Copy)]
pub(crate) struct Activation<'gc> {
    coroutine: Coroutine<'gc>,
    index: usize,
}

impl<'gc> Callee<'gc> {
    pub(crate) fn value(self) -> Value<'gc> {
        match self {
            Callee::Lua(closure) => Value::Closure(closure),
            Callee::Native(native) => Value::Native(native),
        }
    }

    pub(crate) fn proto(self) -> Option<Proto<'gc>> {
        match self {
            Callee::Lua(closure) => Some(closure.proto()),
            Callee::Native(_) => None,
        }
    }

    fn is_hidden(self) -> bool {
        matches!(self, Callee::Native(native) if native.is_hidden())
    }
}

/// The levels of a coroutine, from level 0 on.
pub(crate) fn levels<'gc>(coroutine: Coroutine<'gc>) -> impl Iterator<Item = Activation<'gc>> {
    // SAFETY: a copy of the number of frames.
    let count = unsafe { (*coroutine.state_ptr()).frames.len() };
    let activations = (0..count).rev().map(move |index| Activation { coroutine, index });
    activations.filter(|activation| !activation.frame().callee.is_hidden())
}

impl<'gc> Activation<'gc> {
    pub(crate) fn at_level(coroutine: Coroutine<'gc>, level: usize) -> Option<Self> {
        let found = levels(coroutine).nth(level);
        // SAFETY: a copy of the number of frames.
        let frames = unsafe { (*coroutine.state_ptr()).frames.len() };
        fuel::owe(fuel::searched(level.min(frames)));
        found
    }

    pub(crate) fn frame(self) -> Frame<'gc> {
        self.frame_at(self.index).expect("made for a frame that is there")
    }

    fn frame_at(self, index: usize) -> Option<Frame<'gc>> {
        // SAFETY: a copy; no reference into the state is held.
        let frames = unsafe { &(*self.coroutine.state_ptr()).frames };
        frames.get(index).copied()
    }

    pub(crate) fn is_tail_call(self) -> bool {
        self.frame().flags & FLAG_TAIL_CALL != 0
    }

    /// What the function was called by its caller; unknown after a tail call.
    pub(crate) fn name(self) -> Option<Name<'gc>> {
        if self.is_tail_call() {
            return None;
        }
        let caller = self.frame_at(self.index.checked_sub(1)?)?;
        match caller.callee {
            Callee::Native(native) if native.runs_finalizers() => Some(("metamethod", b"__gc")),
            // A message handler stands on the function that failed.
            Callee::Native(native) if native.is_hidden() => call_name(&self.frame_at(self.index.checked_sub(2)?)?),
            _ => call_name(&caller),
        }
    }

    /// The name and the slot of local variable `number`: from 1 on parameters, variables and temporary values, from -1 down
    /// variable arguments.
    pub(crate) fn local(self, number: i32) -> Option<(&'gc [u8], usize)> {
        let frame = self.frame();
        let base = frame.base as usize;
        let proto = frame.callee.proto();
        if number < 0
            && let Some(proto) = proto
        {
            let argument = number.unsigned_abs();
            // A function that has not begun has all its arguments above its base.
            let is_prepared = frame.extra < frame.base - frame.function;
            let is_there = proto.0.is_vararg && argument <= frame.extra && is_prepared;
            return is_there.then(|| (&b"(vararg)"[..], base - (frame.extra - argument + 1) as usize));
        }
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let name = proto.zip(frame.current_pc()).and_then(|(proto, pc)| proto.numbered_local(index, pc));
        if let Some(name) = name {
            return Some((name, base + index));
        }
        let kind: &[u8] = if proto.is_some() { b"(temporary)" } else { b"(C temporary)" };
        (base + index < self.end()).then_some((kind, base + index))
    }

    /// The end of the function's slots: where what it called begins.
    fn end(self) -> usize {
        match self.frame_at(self.index + 1) {
            Some(next) => next.function as usize,
            None => {
                // SAFETY: a number is read.
                unsafe { (*self.coroutine.state_ptr()).live_top() }
            }
        }
    }

    pub(crate) fn slot(self, position: usize) -> Value<'gc> {
        // SAFETY: a copy of a slot.
        let stack = unsafe { &(*self.coroutine.state_ptr()).stack };
        stack[position]
    }

    pub(crate) fn set_slot(self, position: usize, value: Value<'gc>) {
        // SAFETY: no other reference into the state is held; the stack does not move.
        let stack = unsafe { &mut (*self.coroutine.state_ptr()).stack };
        stack[position] = value;
    }
}

impl<'gc> Machine<'gc> {
    /// The running function at `level` of the current coroutine.
    pub(crate) fn activation(&self, level: usize) -> Option<Activation<'gc>> {
        Activation::at_level(self.coroutine, level)
    }
}
