//! Finalizers: `__gc` metamethods run between instructions of whatever code is running (manual §2.5.3).

use super::Machine;
use crate::call::{Action, Call, STATE_FAILED};
use crate::error::Error;
use crate::heap::coroutine::Callee;
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

/// Takes queued objects one by one and calls their finalizers; an error is a warning.
const FINALIZERS: NativeDefinition = NativeDefinition { name: "(finalizers)", code: run_finalizers };

fn run_finalizers<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == 0 && call.context().root().finalizing.replace(true) {
        return call.return_none();
    }
    if call.state() == STATE_FAILED {
        let error = call.slot(0);
        if call.close_step(error)? {
            return Ok(Action::Entered);
        }
        call.machine.warn_of_finalizer(error);
    }
    let context = call.context();
    // SAFETY: the only reference to the list.
    while let Some(object) = unsafe { (*context.root().doomed.get()).pop() } {
        let finalizer = context.metamethod(object, Metamethod::Gc);
        if matches!(finalizer, Value::Closure(_) | Value::Native(_)) {
            return call.call_unyieldable(1, finalizer, &[object], 0, 1);
        }
    }
    context.root().finalizing.set(false);
    call.return_none()
}

impl<'gc> Machine<'gc> {
    /// Enters the queue's runner if objects wait and the running function is at an instruction boundary.
    pub(crate) fn start_finalizers(&mut self) -> Result<(), Error<'gc>> {
        // SAFETY: a look at the length.
        let waiting = unsafe { !(*self.context.root().doomed.get()).is_empty() };
        let at_boundary = matches!(self.state().frames.last(), Some(frame) if matches!(frame.callee, Callee::Lua(_)));
        if !waiting || !at_boundary || self.context.root().finalizing.get() {
            return Ok(());
        }
        let at = self.state().live_top();
        self.ensure_stack(at + 1)?;
        let finalizers = self.finalizers();
        self.set_slot(at, finalizers);
        self.call(at, 0, 0).map(|_| ())
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

/// Queues every object with a finalizer, as if all had died, and runs the queue: the end of a VM.
pub(crate) const FINALIZE_ALL: NativeDefinition = NativeDefinition { name: "(close)", code: run_finalize_all };

fn run_finalize_all<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == 0 {
        let root = call.context().root();
        // SAFETY: the only references to the lists.
        unsafe {
            let all = std::mem::take(&mut *root.finalizable.get());
            (*root.doomed.get()).splice(0..0, all);
        }
    }
    let finalizers = call.machine.finalizers();
    if call.state() == 0 { call.call(1, finalizers, &[], 0, 1) } else { call.return_none() }
}
