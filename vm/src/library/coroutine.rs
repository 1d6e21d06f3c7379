//! Coroutines (manual §6.2).

use super::Functions;
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel;
use crate::heap::coroutine::{Coroutine, Status};
use crate::heap::native::{Native, NativeDefinition};
use crate::heap::value::Value;

pub(super) const FUNCTIONS: Functions = &[
    ("coroutine.create", create),
    ("coroutine.resume", resume),
    ("coroutine.yield", yield_values),
    ("coroutine.wrap", wrap),
    ("coroutine.status", status),
    ("coroutine.isyieldable", is_yieldable),
    ("coroutine.running", running),
    ("coroutine.close", close),
];

fn create<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let function = call.check_function(1)?;
    call.charge(fuel::COROUTINE);
    let coroutine = new_coroutine(call, function);
    call.return_value(Value::Coroutine(coroutine))
}

/// A coroutine that will run `function`. It has the events of the running one's hook, though not the hook's function.
fn new_coroutine<'gc>(call: &Call<'_, 'gc>, function: Value<'gc>) -> Coroutine<'gc> {
    let coroutine = Coroutine::with_function(call.context(), function);
    let hook = call.machine.coroutine.hook();
    coroutine.set_hook(Value::Nil, hook.mask, hook.count);
    coroutine
}

/// Why a coroutine cannot be resumed.
fn refusal(coroutine: Coroutine<'_>) -> Option<&'static str> {
    match coroutine.status() {
        Status::Suspended => None,
        Status::Running | Status::Normal => Some("cannot resume non-suspended coroutine"),
        Status::Dead | Status::Failed => Some("cannot resume dead coroutine"),
    }
}

fn resume<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    match call.state() {
        0 => {
            let coroutine = call.check_coroutine(1)?;
            if let Some(refusal) = refusal(coroutine) {
                let message = Value::String(call.context().string(refusal.as_bytes()));
                return call.return_values(&[Value::Boolean(false), message]);
            }
            Ok(Action::Resume { at: 1, count: call.arg_count() as u32 - 1, state: 1 })
        }
        state => {
            call.set_slot(0, Value::Boolean(state == 1));
            Ok(Action::Return { first: 0, count: 1 + call.results() as u32 })
        }
    }
}

fn yield_values<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    Ok(Action::Yield { first: 1, count: call.arg_count() as u32 })
}

fn wrap<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let function = call.check_function(1)?;
    call.charge(fuel::COROUTINE);
    let coroutine = new_coroutine(call, function);
    let native = Native::new(call.context(), WRAPPED, &[Value::Coroutine(coroutine)]);
    call.return_value(Value::Native(native))
}

/// What `coroutine.wrap` returns, with the coroutine as its value.
pub(super) const WRAPPED: NativeDefinition = NativeDefinition { name: "coroutine.wrap.resume", code: resume_wrapped };

/// Errors propagate, with a position added to text (as PUC's `auxwrap` does).
fn resume_wrapped<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let Value::Coroutine(coroutine) = call.upvalue(0) else { return Err(call.state_error()) };
    let count = call.arg_count();
    match call.state() {
        0 => {
            if let Some(refusal) = refusal(coroutine) {
                return Err(call.error(refusal));
            }
            // The coroutine goes before its arguments, into the function's own slot.
            call.set_slot(0, Value::Coroutine(coroutine));
            Ok(Action::Resume { at: 0, count: count as u32, state: 1 })
        }
        1 => Ok(Action::Return { first: 1, count: call.results() as u32 }),
        2 => {
            // Failed: close its variables, which may replace the error.
            let error = call.slot(1);
            if coroutine.status() == Status::Failed {
                call.set_slot(0, Value::Coroutine(coroutine));
                return Ok(Action::Close { at: 0, state: 3 });
            }
            Err(propagated(call, error))
        }
        _ => {
            // Slots 1 and 2: false and the error.
            let error = call.slot(2);
            Err(propagated(call, error))
        }
    }
}

fn propagated<'gc>(call: &Call<'_, 'gc>, error: Value<'gc>) -> Error<'gc> {
    match error {
        // Of the error of a full heap, which has no position, PUC Lua makes an exception.
        Value::String(text) if text.as_bytes() != b"not enough memory" => call.error(text.as_bytes()),
        _ => Error::Thrown(error),
    }
}

fn status<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let coroutine = call.check_coroutine(1)?;
    let name = status_name(coroutine);
    let name = call.context().string(name.as_bytes());
    call.return_value(Value::String(name))
}

fn status_name(coroutine: Coroutine<'_>) -> &'static str {
    match coroutine.status() {
        Status::Suspended => "suspended",
        Status::Running => "running",
        Status::Normal => "normal",
        Status::Dead | Status::Failed => "dead",
    }
}

fn is_yieldable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let yieldable = match call.arg(1) {
        Value::Coroutine(other) if !other.ptr_eq(call.machine.coroutine) => {
            other.status() != Status::Dead && !other.ptr_eq(call.context().registered().main)
        }
        _ => call.machine.is_yieldable(),
    };
    call.return_value(Value::Boolean(yieldable))
}

fn running<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let current = call.machine.coroutine;
    let is_main = current.ptr_eq(call.context().registered().main);
    call.return_values(&[Value::Coroutine(current), Value::Boolean(is_main)])
}

fn close<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let coroutine = match call.state() {
        0 => call.check_coroutine(1)?,
        // Slots 1 and on: what the closer returned.
        1 if call.slot(1).is_truthy() => return call.return_value(Value::Boolean(true)),
        _ => {
            let error = call.slot(2);
            return call.return_values(&[Value::Boolean(false), error]);
        }
    };
    match coroutine.status() {
        Status::Suspended | Status::Failed => {
            call.set_slot(0, Value::Coroutine(coroutine));
            Ok(Action::Close { at: 0, state: 1 })
        }
        Status::Dead => call.return_value(Value::Boolean(true)),
        status => {
            let name = if status == Status::Normal { "normal" } else { "running" };
            Err(call.error(format!("cannot close a {name} coroutine")))
        }
    }
}
