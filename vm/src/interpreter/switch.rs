//! Coroutines: resume, yield, end, close. Switching only changes which coroutine is current.

use super::calls::NATIVE_CALLS_MAX;
use super::{Flow, Machine, Stop};
use crate::call::{Action, Call, STATE_FAILED};
use crate::error::Error;
use crate::fuel::HAS_LIMITS;
use crate::heap::coroutine::{Coroutine, FLAG_UNYIELDABLE, STACK_SLOTS_MAX, Status, WANT_ALL};
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::value::Value;

/// The bottom frame of a coroutine that is being closed: closes its pending variables.
pub(super) const CLOSER: NativeDefinition = NativeDefinition { name: "(closer)", code: run_closer };

fn run_closer<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    // Slot 0 holds the error, if there is one: of the coroutine, or of the last `__close` that failed.
    let error = call.slot(0);
    if call.state() == STATE_FAILED {
        call.machine.top_frame_mut().flags |= FAILED_CLOSER;
    }
    call.machine.refuse_yields();
    if call.close_step(error)? {
        return Ok(Action::Entered);
    }
    let failed = call.machine.top_frame().flags & FAILED_CLOSER != 0;
    call.reserve(3)?;
    call.set_slot(1, Value::Boolean(!failed));
    call.set_slot(2, error);
    Ok(Action::Return { first: 1, count: 2 })
}

/// More values than this ask the heap limit for the copy that goes from one coroutine to the other.
const COPIED_FREELY: usize = 256;

pub(crate) const FAILED_CLOSER: u32 = 1 << 16;

impl<'gc> Machine<'gc> {
    /// Runs the coroutine in slot `at` with the `count` values after it. The top frame is the native function that waits.
    pub(crate) fn resume(&mut self, at: usize, count: usize) -> Result<Flow, Error<'gc>> {
        let Value::Coroutine(target) = self.slot(at) else { unreachable!("checked by the library function") };
        if HAS_LIMITS && self.native_depth() + 1 >= NATIVE_CALLS_MAX {
            return Ok(self.refuse_resume(b"C stack overflow"));
        }
        // SAFETY: a number is read.
        if unsafe { (*target.state_ptr()).live_top() } + count > STACK_SLOTS_MAX {
            return Ok(self.refuse_resume(b"too many arguments to resume"));
        }
        if count > COPIED_FREELY {
            self.context.accounting().check(count * 32)?;
        }
        let values: Vec<Value<'gc>> = self.state().stack[at + 1..at + 1 + count].to_vec();
        self.switch_to(target);
        self.state_mut().native_calls_below += 1;
        let bottom = if self.state().frames.is_empty() { 1 } else { self.state().live_top() };
        self.ensure_stack(bottom + count)?;
        self.state_mut().transfer = 0;
        for (index, value) in values.iter().enumerate() {
            self.set_slot(bottom + index, *value);
        }
        match self.state_mut().frames.last().copied() {
            // Not started: the function is in slot 0.
            None => self.call(0, count, WANT_ALL),
            // Inside `yield`, whose results these are.
            Some(frame) => self.leave(frame.function as usize, bottom, count, frame.want),
        }
    }

    fn refuse_resume(&mut self, message: &[u8]) -> Flow {
        let error = Value::String(self.context.string(message));
        let frame = self.top_frame_mut();
        frame.state += 1;
        frame.results = 1;
        frame.top = frame.top.max(frame.base + 1);
        let base = frame.base as usize;
        self.set_slot(base, error);
        Flow::Enter
    }

    fn switch_to(&mut self, target: Coroutine<'gc>) {
        let (resumer, depth) = (self.coroutine, self.native_depth());
        self.state_mut().status = Status::Normal;
        self.set_current(target);
        let state = self.state_mut();
        state.native_calls_below = depth;
        state.status = Status::Running;
        state.resumer = Some(resumer);
    }

    /// Hands `count` values from slot `first` on of the current coroutine to the one that resumed it, and goes back there.
    fn hand_over(&mut self, resumer: Coroutine<'gc>, first: usize, count: usize) -> Result<Flow, Error<'gc>> {
        if count > COPIED_FREELY {
            self.context.accounting().check(count * 32)?;
        }
        let values: Vec<Value<'gc>> = self.state().stack[first..first + count].to_vec();
        self.set_current(resumer);
        self.state_mut().status = Status::Running;
        let base = self.top_frame().base as usize;
        if base + count + 1 > STACK_SLOTS_MAX {
            return Ok(self.refuse_resume(b"too many results to resume"));
        }
        self.ensure_stack(base + count + 1)?;
        for (index, value) in values.iter().enumerate() {
            self.set_slot(base + index, *value);
        }
        let frame = self.top_frame_mut();
        frame.results = count as u32;
        frame.top = frame.top.max((base + count) as u32);
        Ok(Flow::Enter)
    }

    /// `coroutine.yield`: the top frame is its native frame, which stays until the next resume.
    pub(crate) fn yield_values(&mut self, first: usize, count: usize) -> Result<Flow, Error<'gc>> {
        let Some(resumer) = self.state().resumer else {
            return Err(self.runtime_error(b"attempt to yield from outside a coroutine"));
        };
        if self.state().unyieldable > 0 {
            return Err(self.runtime_error(b"attempt to yield across a C-call boundary"));
        }
        let yielding = self.coroutine;
        let state = self.state_mut();
        state.status = Status::Suspended;
        state.resumer = None;
        let flow = self.hand_over(resumer, first, count)?;
        // SAFETY: no other reference to the state; `yield` has nothing left of what it gave away.
        let frames = unsafe { &mut (*yielding.state_ptr()).frames };
        if let Some(frame) = frames.last_mut() {
            frame.top = frame.base;
        }
        Ok(flow)
    }

    /// The last frame of the current coroutine returned `count` values from slot `first` on.
    pub(crate) fn finish_coroutine(&mut self, first: usize, count: usize) -> Flow {
        let state = self.state_mut();
        state.status = Status::Dead;
        match state.resumer.take() {
            None => {
                state.stack.copy_within(first..first + count, 0);
                state.transfer = count as u32;
                self.stop = Stop::Finished(count);
                Flow::Stop
            }
            Some(resumer) => match self.hand_over(resumer, first, count) {
                Ok(flow) => flow,
                Err(error) => {
                    // The coroutine is over; there is nothing to run again.
                    self.memory_retry = true;
                    self.throw(error)
                }
            },
        }
    }

    /// Closes the suspended or failed coroutine in slot `at`: its frames are dropped and its pending variables closed, by
    /// code that runs in it.
    pub(crate) fn close_coroutine(&mut self, at: usize) -> Result<Flow, Error<'gc>> {
        let Value::Coroutine(target) = self.slot(at) else { unreachable!("checked by the library function") };
        let failed = target.status() == Status::Failed;
        self.switch_to(target);
        let error = if failed { self.state().failure } else { Value::Nil };
        let live = self.state().live_top() as u32;
        self.drop_frames(0);
        let native = Native::with_role(self.context, CLOSER, &[], Role::Protected);
        self.state_mut().transfer = 0;
        self.set_slot(0, Value::Native(native));
        self.enter_native(native, 0, 0, WANT_ALL)?;
        self.set_slot(0, error);
        // Not 0: errors in its own work come back to it. The variables to close are still on the stack.
        let frame = self.top_frame_mut();
        frame.state = 1;
        frame.top = frame.top.max(live);
        if failed {
            self.top_frame_mut().flags |= FAILED_CLOSER;
        }
        Ok(Flow::Enter)
    }

    /// Until the top frame is done, `coroutine.yield` is refused in what it calls.
    pub(crate) fn refuse_yields(&mut self) {
        let frame = self.top_frame_mut();
        if frame.flags & FLAG_UNYIELDABLE == 0 {
            frame.flags |= FLAG_UNYIELDABLE;
            self.state_mut().unyieldable += 1;
        }
    }

    /// Takes that back, when the call is over.
    #[inline(always)]
    pub(crate) fn allow_yields(&mut self) {
        let frame = self.top_frame_mut();
        if frame.flags & FLAG_UNYIELDABLE != 0 {
            frame.flags &= !FLAG_UNYIELDABLE;
            self.state_mut().unyieldable -= 1;
        }
    }

    /// Whether `coroutine.yield` would work here.
    pub(crate) fn is_yieldable(&self) -> bool {
        self.state().resumer.is_some() && self.state().unyieldable == 0
    }
}
