//! Errors on their way to a protected call, and to-be-closed variables on every way out of a block.
//!
//! A protected function (`pcall`, `xpcall`) is a native frame. Throwing drops the frames above it, puts the error in its slot
//! 0 and enters it with [`STATE_FAILED`]; it then closes variables one by one, each `__close` call an ordinary call, and
//! an error in one of them comes back here and replaces the error.

use super::calls::{NATIVE_CALLS_HANDLING_MAX, NATIVE_CALLS_MAX};
use super::{Flow, Machine, Stop};
use crate::call::{Action, Call, STATE_FAILED};
use crate::error::Error;
use crate::fuel;
use crate::heap::coroutine::{Callee, FLAG_HANDLER, FLAG_NATIVE_CALL, FLAG_UNYIELDABLE, Status, WANT_HOOK};
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::value::Value;
use crate::library::HOST;
use crate::metamethod::Metamethod;

/// Calls a message handler above the failed function, then unwinds with what it returned.
pub(super) const HANDLER: NativeDefinition = NativeDefinition { name: "(message handler)", code: run_handler };

fn run_handler<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == 0 {
        let (handler, error) = (call.arg(1), call.arg(2));
        let _ = call.call_unyieldable(3, handler, &[error], 1, 1)?;
        // Not as an `Action::Call`: this frame itself counts as the native call.
        call.machine.top_frame_mut().state = 1;
        let function = call.machine.top_frame().function as usize;
        call.machine.call(function + 3, 1, 1)?;
        return Ok(Action::Entered);
    }
    let value = call.slot(3);
    call.machine.unwinding = true;
    Err(Error::Thrown(value))
}

impl<'gc> Machine<'gc> {
    /// Deals with an error: enters a message handler or a protected function, or ends the coroutine.
    #[cold]
    #[inline(never)]
    pub(crate) fn throw(&mut self, error: Error<'gc>) -> Flow {
        self.fuel -= fuel::THROW;
        self.throws = self.throws.wrapping_add(1);
        let value = match error {
            Error::Thrown(value) => value,
            Error::OutOfMemory if !self.memory_retry => {
                self.memory_retry = true;
                self.rewind();
                self.stop = Stop::Collect;
                return Flow::Stop;
            }
            Error::OutOfMemory => {
                self.memory_retry = false;
                // No message handler: it would need memory too.
                self.unwinding = true;
                Value::String(self.context.string(b"not enough memory"))
            }
        };
        let handled = std::mem::take(&mut self.unwinding);
        let Some(index) = self.protecting_frame() else {
            return self.fail_coroutine(value);
        };
        if !handled && let Some(handler) = self.message_handler(index) {
            return self.enter_handler(handler, value, index);
        }
        self.unwind_to(index, value);
        Flow::Enter
    }

    /// The message handler for an error that comes back to frame `index`. `load` has none of its own: what its reader throws goes
    /// through the handler of the code around it, if that is Lua's.
    fn message_handler(&self, index: usize) -> Option<Value<'gc>> {
        let protecting = self.state().frames[..=index].iter().rev().filter_map(|frame| match frame.callee {
            Callee::Native(native) if native.role().is_protected() => Some((frame, native)),
            _ => None,
        });
        let mut from_load = false;
        for (frame, native) in protecting {
            match native.role() {
                // The frames in between are looked at, too.
                Role::Loading => {
                    from_load = true;
                    fuel::owe(fuel::searched(index));
                }
                Role::Handled if from_load && native.name() == HOST.name => return None,
                Role::Handled if matches!(frame.state, 1 | STATE_FAILED) => {
                    return Some(self.slot(frame.function as usize + 1));
                }
                _ => return None,
            }
        }
        None
    }

    /// The innermost frame that errors come back to. A protected function's own complaint about its arguments (state 0, nothing
    /// above it) is not for itself, nor is an error in a hook for its call or return.
    fn protecting_frame(&self) -> Option<usize> {
        let frames = &self.state().frames;
        (0..frames.len()).rev().find(|&index| match frames[index].callee {
            Callee::Native(native) => {
                native.role().is_protected() && frames[index].state != 0 && !frames[index].is_hooked()
            }
            Callee::Lua(_) => false,
        })
    }

    /// Puts a call of the message handler on top of everything, so that it sees the stack of the error.
    fn enter_handler(&mut self, handler: Value<'gc>, error: Value<'gc>, protected: usize) -> Flow {
        let at = self.state().live_top();
        let depth = self.native_depth() + 1;
        if depth >= NATIVE_CALLS_HANDLING_MAX {
            let error = self.handling_error();
            return self.throw(error);
        }
        self.state_mut().handlers += 1;
        let native = Native::new(self.context, HANDLER, &[]);
        let entered = self.ensure_stack(at + 3).and_then(|()| {
            self.set_slot(at, Value::Native(native));
            self.set_slot(at + 1, handler);
            self.set_slot(at + 2, error);
            self.enter_native(native, at, 2, 0)
        });
        match entered {
            Ok(()) => {
                self.top_frame_mut().flags |= FLAG_HANDLER | FLAG_NATIVE_CALL;
                self.state_mut().native_calls += 1;
                if depth == NATIVE_CALLS_MAX {
                    return self.throw(self.runtime_error(b"C stack overflow"));
                }
            }
            Err(error) => {
                self.state_mut().handlers -= 1;
                let replaced = match error {
                    Error::OutOfMemory => "not enough memory",
                    Error::Thrown(_) => "error in error handling",
                };
                let replaced = Value::String(self.context.string(replaced.as_bytes()));
                self.unwind_to(protected, replaced);
            }
        }
        Flow::Enter
    }

    /// The error in place of one that came while an overflow was being handled; no handler sees it.
    #[cold]
    pub(crate) fn handling_error(&mut self) -> Error<'gc> {
        self.unwinding = true;
        Error::Thrown(Value::String(self.context.string(b"error in error handling")))
    }

    /// Drops the frames above frame `index` and enters it again in the failed state.
    fn unwind_to(&mut self, index: usize, error: Value<'gc>) {
        let live = self.state().live_top() as u32;
        self.drop_frames(index + 1);
        let frame = self.top_frame_mut();
        let was_unyieldable = frame.flags & FLAG_UNYIELDABLE != 0;
        frame.flags &= !FLAG_UNYIELDABLE;
        frame.state = STATE_FAILED;
        frame.results = 0;
        let (function, base) = (frame.function as usize, frame.base);
        if was_unyieldable {
            self.state_mut().unyieldable -= 1;
        }
        self.set_slot(function, error);
        if self.state().to_close.last().is_some_and(|position| *position >= base) {
            // The variables to close, and the upvalues above them, are still on the stack.
            self.top_frame_mut().top = live;
        } else {
            self.coroutine.close_upvalues(base);
            self.coroutine.release_reserve(self.context);
        }
    }

    /// Removes the frames from `index` on and what they counted.
    pub(crate) fn drop_frames(&mut self, index: usize) {
        let state = self.state_mut();
        for frame in &state.frames[index..] {
            state.unyieldable -= u32::from(frame.flags & FLAG_UNYIELDABLE != 0);
            state.handlers -= u32::from(frame.flags & FLAG_HANDLER != 0);
            state.native_calls -= u32::from(frame.flags & FLAG_NATIVE_CALL != 0);
            if frame.want == WANT_HOOK {
                state.unyieldable -= 1;
                state.hook.suspensions -= 1;
            }
        }
        state.is_traced = state.hook.is_active();
        state.frames.truncate(index);
    }

    /// Throws what the host interrupts the run with, before the next instruction of the Lua function at the top. As from a hook in
    /// PUC Lua, the message has the caller's position.
    pub(crate) fn throw_interruption(&mut self, message: &str) -> Flow {
        let error = self.error_at_level(1, message.as_bytes());
        let frame = self.top_frame_mut();
        // SAFETY: between instructions `pc` is at one, as the verifier has control never run past the end. It is not run, but past its
        // first word is where a frame has its current instruction.
        frame.pc = unsafe { frame.pc.add(1) };
        self.throw(error)
    }

    /// Makes the top frame repeat what it was doing.
    fn rewind(&mut self) {
        let frame = self.top_frame_mut();
        if let Callee::Lua(_) = frame.callee {
            // SAFETY: a saved `pc` is past the current instruction's first word.
            frame.pc = unsafe { frame.pc.sub(1) };
        }
    }

    /// Ends the current coroutine with an error that nothing caught; its frames stay for a traceback.
    fn fail_coroutine(&mut self, error: Value<'gc>) -> Flow {
        self.state_mut().status = Status::Failed;
        self.state_mut().failure = error;
        match self.state_mut().resumer.take() {
            None => {
                self.stop = Stop::Failed;
                Flow::Stop
            }
            Some(resumer) => {
                self.set_current(resumer);
                self.state_mut().status = Status::Running;
                let frame = self.top_frame_mut();
                frame.state += 1;
                frame.results = 1;
                frame.top = frame.top.max(frame.base + 1);
                let base = frame.base as usize;
                self.set_slot(base, error);
                Flow::Enter
            }
        }
    }

    /// Marks the variable in slot `position` to be closed (manual §3.3.8).
    pub(crate) fn mark_to_be_closed(&mut self, position: usize) -> Result<(), Error<'gc>> {
        let value = self.slot(position);
        if !value.is_truthy() {
            return Ok(());
        }
        if self.context.metamethod(value, Metamethod::Close).is_nil() {
            let frame = self.top_frame();
            let register = position - frame.base as usize;
            let name = match frame.callee {
                Callee::Lua(closure) => closure.proto().local_name(register, frame.current_pc().unwrap_or(0) + 1),
                Callee::Native(_) => None,
            };
            let mut message = b"variable '".to_vec();
            message.extend_from_slice(name.unwrap_or(b"(temporary)"));
            message.extend_from_slice(b"' got a non-closable value");
            return Err(self.runtime_error(&message));
        }
        self.state_mut().to_close.push(position as u32);
        Ok(())
    }

    /// One step of closing everything at or above slot `from`: calls the last pending `__close` with its frame at slot `at` or above and answers true, or
    /// closes the upvalues when none is left and answers false.
    pub(crate) fn close_step(
        &mut self,
        from: u32,
        error: Value<'gc>,
        at: Option<usize>,
        want: i32,
    ) -> Result<bool, Error<'gc>> {
        let Some(&position) = self.state().to_close.last() else {
            self.coroutine.close_upvalues(from);
            return Ok(false);
        };
        if position < from {
            self.coroutine.close_upvalues(from);
            return Ok(false);
        }
        self.state_mut().to_close.pop();
        self.coroutine.close_upvalues(position);
        let value = self.slot(position as usize);
        let handler = self.context.metamethod(value, Metamethod::Close);
        let at = at.unwrap_or(position as usize + 1);
        self.ensure_stack(at + 4)?;
        self.set_slot(at, handler);
        self.set_slot(at + 1, value);
        self.set_slot(at + 2, error);
        self.call_from_native(at, 2, want)?;
        Ok(true)
    }
}

impl<'gc> Call<'_, 'gc> {
    /// One step of closing the variables of what this function called; true when a `__close` was called and the
    /// function will be entered again.
    pub(crate) fn close_step(&mut self, error: Value<'gc>) -> Result<bool, Error<'gc>> {
        let base = self.machine.top_frame().base;
        if let Some(&position) = self.machine.state().to_close.last()
            && position >= base
        {
            // The closed variable and its handler's call lie above this function's values.
            let frame = self.machine.top_frame_mut();
            frame.top = frame.top.max(position + 4);
        }
        self.machine.close_step(base, error, None, 0)
    }
}
