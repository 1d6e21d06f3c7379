//! `pcall`, `xpcall`, and the protected call under which a host runs everything.

use super::load::load;
use super::{Special, name_permanent, set_field};
use crate::call::{Action, Call, STATE_FAILED, append_number};
use crate::context::Context;
use crate::error::{Error, RunError};
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

/// The functions that errors come back to, and what a run of the host stands on.
pub(super) const SPECIAL: &[Special] = &[
    (NativeDefinition { name: "pcall", code: pcall }, Role::ProtectedCall),
    (NativeDefinition { name: "xpcall", code: xpcall }, Role::Handled),
    (NativeDefinition { name: "load", code: load }, Role::Loading),
    (HOST, Role::Handled),
    (REPORT, Role::Plain),
];
/// How many of them scripts have.
const PUBLIC: usize = 3;

/// The function at the bottom of every run: an `xpcall` by another name, which tracebacks show as the host.
pub(crate) const HOST: NativeDefinition = NativeDefinition { name: "host", code: xpcall };
const REPORT: NativeDefinition = NativeDefinition { name: "report", code: report };

pub(super) fn open(context: Context<'_>) {
    for &(definition, role) in &SPECIAL[..PUBLIC] {
        let name = definition.name;
        let native = Native::with_role(context, definition, &[], role);
        set_field(context, context.globals(), name, Value::Native(native));
        name_permanent(context, name, Value::Native(native));
    }
}

/// What is left to do when the called function failed: close its variables, then return false and the error.
fn fail<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let error = call.slot(0);
    if call.close_step(error)? {
        return Ok(Action::Entered);
    }
    call.return_values(&[Value::Boolean(false), error])
}

/// `pcall(f, ...)`: the results of `f` stay where they are, behind `true`.
fn pcall<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    match call.state() {
        0 => {
            call.check_any(1)?;
            call.call_args_from(1, 1)
        }
        STATE_FAILED => fail(call),
        _ => {
            call.set_slot(0, Value::Boolean(true));
            Ok(Action::Return { first: 0, count: 1 + call.results() as u32 })
        }
    }
}

/// `xpcall(f, handler, ...)`: function and handler change places, so that the function comes before its arguments.
fn xpcall<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    match call.state() {
        0 => {
            call.check_function(2)?;
            let (function, handler) = (call.arg(1), call.arg(2));
            call.set_slot(1, handler);
            call.set_slot(2, function);
            call.call_args_from(2, 1)
        }
        STATE_FAILED => fail(call),
        _ => {
            call.set_slot(1, Value::Boolean(true));
            Ok(Action::Return { first: 1, count: 1 + call.results() as u32 })
        }
    }
}

pub(crate) fn host_call<'gc>(context: Context<'gc>) -> Value<'gc> {
    Value::Native(Native::with_role(context, HOST, &[], Role::Handled))
}

/// The message handler of a run: keeps the error value, its message and the traceback for the host, and turns the error
/// into its message.
pub(crate) fn error_report<'gc>(context: Context<'gc>) -> Value<'gc> {
    Value::Native(Native::new(context, REPORT, &[]))
}

fn report<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let context = call.context();
    let error = call.arg(1);
    let no_message = || format!("(error object is a {} value)", error.type_name()).into_bytes();
    let message = match (call.state(), error) {
        (1, _) => match call.slot(2) {
            Value::String(message) => message.as_bytes().to_vec(),
            _ => no_message(),
        },
        (_, Value::String(message)) => message.as_bytes().to_vec(),
        (_, Value::Integer(_) | Value::Float(_)) => {
            let mut text = Vec::new();
            append_number(error, &mut text);
            text
        }
        _ => match context.metamethod(error, Metamethod::ToString) {
            Value::Nil => no_message(),
            handler => return call.call(2, handler, &[error], 1, 1),
        },
    };
    // Level 0 is this function.
    let traceback = call.machine.traceback(call.machine.coroutine, None, 1);
    let table = context.table();
    let message = Value::String(context.string_from(message));
    let values = [error, message, Value::String(context.string_from(traceback))];
    for (index, value) in values.into_iter().enumerate() {
        call.set_raw(table, Value::Integer(index as i64 + 1), value)?;
    }
    context.update_registered(|registered| registered.report = Some(table));
    call.return_value(message)
}

/// Reads what the report handler kept.
pub(crate) fn read_report(report: Table<'_>) -> RunError {
    let text = |index| match report.get_integer(index) {
        Value::String(text) => text.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let message = text(2);
    let position = leading_position(&message);
    RunError::Lua { message, traceback: text(3), position }
}

/// The `chunk:line:` that a message starts with.
fn leading_position(message: &str) -> Option<(String, u32)> {
    let mut start = 0;
    while let Some(colon) = message[start..].find(':') {
        let colon = start + colon;
        let digits = message[colon + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = colon + 1 + digits;
        if digits > 0 && message[end..].starts_with(": ") {
            return message[colon + 1..end].parse().ok().map(|line| (message[..colon].to_owned(), line));
        }
        start = colon + 1;
    }
    None
}
