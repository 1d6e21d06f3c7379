//! Finalizers: `__gc` metamethods run between instructions of whatever code is running (manual §2.5.3).

use super::{Machine, NATIVE_SLOTS};
use crate::call::{Action, Call, STATE_FAILED};
use crate::error::Error;
use crate::heap::accounting::FINALIZER_BYTES;
use crate::heap::coroutine::{Callee, Status, WANT_ALL};
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

/// Takes queued objects one by one and calls their finalizers; an error is a warning.
pub(super) const FINALIZERS: NativeDefinition = NativeDefinition { name: "(finalizers)", code: run_finalizers };

impl Native<'_> {
    /// Whether what it calls are finalizers.
    pub(crate) fn runs_finalizers(self) -> bool {
        self.name() == FINALIZERS.name
    }
}

fn run_finalizers<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == 0 && call.context().root().finalizing.replace(true) {
        return call.return_none();
    }
    if call.state() == 0 {
        call.machine.suspend_hooks();
    }
    if call.state() == STATE_FAILED {
        let error = call.slot(0);
        if call.close_step(error)? {
            return Ok(Action::Entered);
        }
        call.machine.warn_of_finalizer(error);
    }
    let context = call.context();
    // SAFETY: the only reference to the list; it is not held across a call.
    let doomed = || unsafe { &mut *context.root().doomed.get() };
    while let Some(object) = doomed().pop() {
        context.accounting().release(FINALIZER_BYTES);
        let finalizer = context.metamethod(object, Metamethod::Gc);
        if matches!(finalizer, Value::Closure(_) | Value::Native(_)) {
            let called = call.call_unyieldable(1, finalizer, &[object], 0, 1);
            let is_first = call.state() == 0;
            if called.is_err() && (is_first || !call.machine.memory_retry) {
                // There is no room for the call. It is made again after a collection or, when the first one fails, later.
                context.accounting().charge(FINALIZER_BYTES);
                doomed().push(object);
                if is_first {
                    context.root().finalizing.set(false);
                    call.machine.resume_hooks();
                }
            }
            return called;
        }
    }
    context.root().finalizing.set(false);
    call.machine.resume_hooks();
    call.return_none()
}

impl<'gc> Machine<'gc> {
    /// Enters the queue's runner if objects wait and the running function is at a boundary: a Lua function between two instructions, or,
    /// with `before_native`, a native function that has not begun. Whether it did. Elsewhere, it is tried again after the next collection, which
    /// is due at once; and after any one if the stacks have no room.
    pub(crate) fn start_finalizers(&mut self, before_native: bool) -> bool {
        // SAFETY: a look at the length.
        let waiting = unsafe { !(*self.context.root().doomed.get()).is_empty() };
        let at_boundary = match self.state().frames.last() {
            Some(frame) => match frame.callee {
                Callee::Lua(_) => true,
                Callee::Native(_) => before_native && frame.state == 0 && !frame.is_hooked() && !self.state().is_traced,
            },
            None => false,
        };
        if !waiting || self.context.root().finalizing.get() {
            return false;
        }
        if !at_boundary {
            // Not at the next stop for whatever reason: where slices end would decide when finalizers run.
            self.context.accounting().ask_for_cycle();
            return false;
        }
        // Nothing may be allocated in vain: a run that only went from one collection to the next would not get anywhere.
        let at = self.state().live_top();
        let has_room = self.ensure_stack(at + 1 + NATIVE_SLOTS).is_ok()
            && (self.state().frames.len() < self.state().frames.capacity() || self.grow_frames().is_ok());
        if !has_room {
            return false;
        }
        let finalizers = self.finalizers();
        self.set_slot(at, finalizers);
        self.call(at, 0, 0).is_ok()
    }

    /// A function that finalizes all that is queued.
    pub(crate) fn finalizers(&self) -> Value<'gc> {
        Value::Native(Native::with_role(self.context, FINALIZERS, &[], Role::Protected))
    }

    fn warn_of_finalizer(&mut self, error: Value<'gc>) {
        let mut message = b"error in __gc (".to_vec();
        match error {
            Value::String(text) => message.extend_from_slice(text.as_bytes()),
            _ => message.extend_from_slice(b"error object is not a string"),
        }
        message.push(b')');
        if self.context.root().warnings_on.get() {
            self.context.root().host.borrow_mut().warn(&message);
        }
    }
}

/// The end of a VM: closes what is pending in the main coroutine, queues every object with a finalizer, as if all had died, and
/// runs the queue.
pub(super) const CLOSE: NativeDefinition = NativeDefinition { name: "(close)", code: run_close };

/// The state of [`CLOSE`] after the finalizers.
const FINALIZED: u32 = 2;

fn run_close<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == FINALIZED {
        return call.return_value(Value::Boolean(true));
    }
    // Slot 0 holds the error of the last `__close` that failed; nobody is told of it.
    let error = call.slot(0);
    if call.close_step(error)? {
        return Ok(Action::Entered);
    }
    let root = call.context().root();
    root.closing.set(true);
    // SAFETY: the only references to the lists.
    unsafe {
        let all = std::mem::take(&mut *root.finalizable.get());
        (*root.doomed.get()).splice(0..0, all);
    }
    let finalizers = call.machine.finalizers();
    call.call(1, finalizers, &[], 0, FINALIZED)
}

impl<'gc> Machine<'gc> {
    /// Makes the end of the VM the only call of the current coroutine, whose variables to close stay on its stack.
    pub(crate) fn enter_close(&mut self) -> Result<(), Error<'gc>> {
        let live = self.state().live_top() as u32;
        self.drop_frames(0);
        let state = self.state_mut();
        state.status = Status::Running;
        state.transfer = 0;
        state.resumer = None;
        let native = Native::with_role(self.context, CLOSE, &[], Role::Protected);
        self.set_slot(0, Value::Native(native));
        self.enter_native(native, 0, 0, WANT_ALL)?;
        self.set_slot(0, Value::Nil);
        // Not 0: errors in `__close` come back to it.
        let frame = self.top_frame_mut();
        frame.state = 1;
        frame.top = frame.top.max(live);
        Ok(())
    }
}
