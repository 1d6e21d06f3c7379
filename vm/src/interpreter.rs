//! The interpreter: runs the frames of coroutines until it finishes or has to stop.
//!
//! `execute` is the dispatch loop, `instruction` (with `fields`) the same one instruction at a time. Everything slow is a named function elsewhere: `access` (indexing), `operators`
//! (arithmetic, comparison, concatenation), `calls` (entering and leaving functions), `unwind` (errors and to-be-closed
//! variables), `switch` (coroutines), `hooks` (debug hooks), `activation` (running functions as a debugger sees them), `describe`
//! (names in error messages), `traceback`.
//!
//! A call pushes a frame and returns to the loop with [`Flow::Enter`]. Where a loop is nested below a native function for speed
//! ([`Machine::run_callee`]), it holds no state and can be left at any instruction.

mod access;
mod activation;
mod calls;
mod checks;
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
pub(crate) mod compiled;
mod describe;
mod execute;
mod fields;
pub(crate) mod finalize;
mod hooks;
mod instruction;
mod loops;
mod nested;
mod operators;
mod steps;
mod switch;
mod traceback;
mod unwind;

use crate::context::Context;
use crate::error::Error;
use crate::fuel::Fuel;
use crate::heap::coroutine::{Callee, Coroutine, Frame, STACK_SLOTS_MAX, STACK_SLOTS_RESERVE, State};
use crate::heap::native::{NativeDefinition, Role};
use crate::heap::value::Value;

pub(crate) use access::{Assigned, Indexed};
pub(crate) use activation::Activation;
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
pub(crate) use calls::EXTRA_SLOTS;
pub(crate) use calls::{NATIVE_CALLS_HANDLING_MAX, NATIVE_SLOTS};
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
pub(crate) use nested::NESTED_MAX;
pub(crate) use nested::Outcome;
pub(crate) use switch::FAILED_CLOSER;

/// The native functions that only frames refer to.
pub(crate) const SPECIAL: &[(NativeDefinition, Role)] = &[
    (unwind::HANDLER, Role::Plain),
    (finalize::FINALIZERS, Role::Protected),
    (finalize::CLOSE, Role::Protected),
    (switch::CLOSER, Role::Protected),
];

/// What the dispatch loop does after a slow operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Goes on in the same frame; the stack may have moved.
    Continue,
    /// Loads the top frame, which may be another one.
    Enter,
    /// Leaves the loop; [`Machine::stop`] says why.
    Stop,
}

/// A native function reserves the slots that it uses, and some call is always running: there is no way here. One function for all
/// the places that check it, without their positions, keeps those checks small.
#[cold]
#[inline(never)]
fn outside_of_stack() -> ! {
    panic!("slots and frames that are used are there")
}

/// Why the dispatch loop was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The main coroutine returned; this many values are at the bottom of its stack.
    Finished(usize),
    /// An error left the main coroutine; its value is at the bottom of the stack.
    Failed,
    OutOfFuel,
    /// The function of the top frame is to be compiled.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    Look,
    /// A collection is due (`full`: whatever the heap holds).
    Collect,
    /// A function of the host was called, which has no answer yet.
    Waiting,
    /// `os.exit` was called; the frames stay as they are.
    Exit {
        code: i32,
        close: bool,
    },
}

/// The running interpreter: the current coroutine and the fuel left.
pub(crate) struct Machine<'gc> {
    pub context: Context<'gc>,
    pub coroutine: Coroutine<'gc>,
    /// `coroutine`'s state.
    state: *mut State<'gc>,
    /// What may still be used before the loop stops.
    pub fuel: Fuel,
    pub stop: Stop,
    /// An allocation failed and is being tried again after a collection.
    pub memory_retry: bool,
    /// The error being thrown has been through its message handler.
    unwinding: bool,
    /// How many errors were thrown, modulo 2^32.
    throws: u32,
    /// How many compiled functions and nested runs there are one inside the other.
    nested: u32,
}

impl<'gc> Machine<'gc> {
    pub(crate) fn new(context: Context<'gc>, coroutine: Coroutine<'gc>, fuel: i64) -> Self {
        let state = coroutine.state_ptr();
        Machine {
            context,
            coroutine,
            state,
            fuel: Fuel::from(fuel),
            stop: Stop::Finished(0),
            memory_retry: false,
            unwinding: false,
            throws: 0,
            nested: 0,
        }
    }

    /// Makes `coroutine` the current one.
    pub(crate) fn set_current(&mut self, coroutine: Coroutine<'gc>) {
        self.coroutine = coroutine;
        self.state = coroutine.state_ptr();
        self.context.update_registered(|registered| registered.current = coroutine);
    }

    /// Which coroutine is the current one, by the address of its state.
    #[inline(always)]
    fn current_state(&self) -> *const State<'gc> {
        self.state
    }

    #[inline(always)]
    pub(crate) fn state(&self) -> &State<'gc> {
        // SAFETY: the current coroutine is alive; references from here do not outlive the statement they are used in.
        unsafe { &*self.state }
    }

    #[inline(always)]
    pub(crate) fn state_mut(&mut self) -> &mut State<'gc> {
        // SAFETY: as in `state`.
        unsafe { &mut *self.state }
    }

    /// The stack slot at `position`.
    #[inline(always)]
    pub(crate) fn slot(&self, position: usize) -> Value<'gc> {
        match self.state().stack.get(position) {
            Some(value) => *value,
            None => outside_of_stack(),
        }
    }

    #[inline(always)]
    pub(crate) fn set_slot(&mut self, position: usize, value: Value<'gc>) {
        match self.state_mut().stack.get_mut(position) {
            Some(slot) => *slot = value,
            None => outside_of_stack(),
        }
    }

    #[inline(always)]
    pub(crate) fn top_frame(&self) -> &Frame<'gc> {
        self.state().frames.last().unwrap_or_else(|| outside_of_stack())
    }

    #[inline(always)]
    pub(crate) fn top_frame_mut(&mut self) -> &mut Frame<'gc> {
        self.state_mut().frames.last_mut().unwrap_or_else(|| outside_of_stack())
    }

    /// Makes the stack hold `slots` slots.
    #[inline(always)]
    pub(crate) fn ensure_stack(&mut self, slots: usize) -> Result<(), Error<'gc>> {
        if slots <= self.state().stack.len() { Ok(()) } else { self.grow_stack(slots) }
    }

    #[cold]
    #[inline(never)]
    fn grow_stack(&mut self, slots: usize) -> Result<(), Error<'gc>> {
        // While an overflow is handled, a reserve may be used.
        let handling = self.state().handlers > 0;
        if slots > STACK_SLOTS_MAX && !handling {
            return Err(self.runtime_error(b"stack overflow"));
        }
        if slots > STACK_SLOTS_MAX + STACK_SLOTS_RESERVE {
            return Err(self.handling_error());
        }
        let coroutine = self.coroutine;
        Ok(coroutine.grow_stack(self.context, slots)?)
    }

    /// The first slot above the top frame's registers or values: where a call from an instruction can be put.
    pub(crate) fn free_slot(&self) -> usize {
        let frame = self.top_frame();
        match frame.callee {
            Callee::Lua(closure) => frame.base as usize + closure.proto().0.register_count as usize,
            Callee::Native(_) => frame.top as usize,
        }
    }

    /// Runs until there is a reason to stop.
    pub(crate) fn run(&mut self) -> Stop {
        execute::run(self);
        self.stop
    }
}
