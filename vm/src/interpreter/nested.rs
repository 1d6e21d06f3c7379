//! Runs inside a run: a native function that calls a Lua function goes on in a dispatch loop of its own until that returns.
//!
//! A nested run ends where it began, at its [`Floor`]. Whatever goes another way (errors that unwind further, another coroutine, hooks) leaves it, and the frames, which
//! are complete at any time, are gone on with from outside.

use super::execute::run_frames;
use super::{Flow, Machine, Stop};
use crate::fuel;
use crate::heap::coroutine::{Callee, Frame, State, WANT_HOOK};
use crate::heap::native::Native;

/// How [`run_frames`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// [`Machine::stop`] says why.
    Stopped,
    /// The top frame is that of the native function whose call was run, which has its results.
    Returned,
    /// What is to run now is for the caller's caller: another coroutine, a frame further down, or hooks watch.
    Left,
}

/// Where a nested run ends.
#[derive(Clone, Copy)]
pub(super) struct Floor<'gc> {
    /// The coroutine's state; null for a run that is not nested.
    pub(super) state: *const State<'gc>,
    /// How many frames there are then.
    pub(super) frames: usize,
    /// [`Machine::throws`] at the beginning: an error may have taken the function's frame away.
    throws: u32,
}

impl Floor<'_> {
    /// Not in another run.
    pub(super) const NONE: Self = Floor { state: std::ptr::null(), frames: 0, throws: 0 };
}

/// How many runs may be nested (see [`Machine::run_callee`]), in terms of [`Machine::nested`].
const NESTED_RUN: u32 = 3;
/// Up to here runs and compiled functions may be nested; they take space on the thread's stack.
pub(crate) const NESTED_MAX: u32 = 150;

impl<'gc> Machine<'gc> {
    /// Runs the native function of the top frame, and what it calls, as long as that comes back to it.
    pub(super) fn run_native_frame(&mut self, native: Native<'gc>) -> Flow {
        let (coroutine, frames) = (self.coroutine, self.state().frames.len());
        // A call that `pcall` protects may return through it without a look at its frame.
        let may_nest = native.role().is_plain();
        loop {
            let result = self.run_native(native);
            let flow = match result {
                Ok(flow) => flow,
                Err(error) => match self.throw(error) {
                    Flow::Stop => Flow::Stop,
                    _ => self.pause(),
                },
            };
            if flow == Flow::Stop || !may_nest || !self.coroutine.ptr_eq(coroutine) {
                return flow;
            }
            match self.run_callee(frames) {
                Outcome::Returned => {}
                Outcome::Left => return Flow::Enter,
                Outcome::Stopped => return Flow::Stop,
            }
        }
    }

    /// Runs the Lua function that the native function in frame number `frames` has just called, until that has the results. No state
    /// is in this function: at any instruction it can be left for its caller, who goes on with the frames as they are.
    #[inline]
    pub(crate) fn run_callee(&mut self, frames: usize) -> Outcome {
        if self.nested >= NESTED_MAX || self.state().frames.len() != frames + 1 || self.state().is_traced {
            return Outcome::Left;
        }
        let &Frame { callee: Callee::Lua(called), want, .. } = self.top_frame() else { return Outcome::Left };
        if want == WANT_HOOK {
            // When that has seen it return, the function is gone.
            return Outcome::Left;
        }
        let floor = Floor { state: self.current_state(), frames, throws: self.throws };
        #[cfg(all(target_arch = "wasm32", feature = "compile"))]
        if let Some(outcome) = self.run_compiled_callee(called, floor) {
            return outcome;
        }
        #[cfg(not(all(target_arch = "wasm32", feature = "compile")))]
        let _ = called;
        self.nested += NESTED_RUN;
        let outcome = run_frames(self, floor);
        self.nested -= NESTED_RUN;
        outcome
    }

    /// Whether the top frame is the one that a nested run was begun for.
    #[inline]
    pub(super) fn is_at(&self, floor: Floor<'gc>) -> bool {
        std::ptr::eq(self.current_state(), floor.state)
            && self.state().frames.len() == floor.frames
            && self.throws == floor.throws
            && !self.state().is_traced
    }

    /// After a native function, which may have called another one: native functions may do so for long without a Lua instruction
    /// in between.
    #[inline]
    pub(crate) fn pause(&mut self) -> Flow {
        if self.context.accounting().wants_cycle() {
            self.stop = Stop::Collect;
            return Flow::Stop;
        }
        self.fuel -= fuel::take_owed();
        if self.fuel < 0 {
            self.stop = Stop::OutOfFuel;
            return Flow::Stop;
        }
        Flow::Enter
    }
}
