//! `debug.debug`: reads commands from standard input and runs them, until a line `cont` or the end of the input.
//!
//! The work is done by calls of `io` and `load`; an error in a command comes back here. In a host without files there is no
//! input, so it ends at once.

use crate::call::{Action, Call, STATE_FAILED};
use crate::error::Error;
use crate::heap::native::NativeDefinition;
use crate::heap::value::Value;
use crate::library::base::append_text;

pub(in crate::library) const DEFINITION: NativeDefinition = NativeDefinition { name: "debug.debug", code: run };

/// The prompt is to be shown, as at the start. Errors do not come back to a function in state 0.
const PROMPT: u32 = 1;
/// A line is to be read.
const READ: u32 = 2;
/// The line is in slot 1.
const LOAD: u32 = 3;
/// A function is in slot 1, or nil and a message.
const CALL: u32 = 4;
/// An error's text, which `__tostring` gave, is in slot 1.
const SHOW: u32 = 5;

fn run<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    match call.state() {
        0 | PROMPT => write(call, b"lua_debug> ", READ),
        READ => {
            let read = call.context().permanent(b"io.file.read");
            let line = Value::String(call.context().string(b"L"));
            let input = call.context().permanent(b"io.stdin");
            call.call(1, read, &[input, line], 1, LOAD)
        }
        LOAD => match call.slot(1) {
            Value::String(line) if line.as_bytes() != b"cont\n" => {
                let load = call.context().permanent(b"load");
                let name = Value::String(call.context().string(b"=(debug command)"));
                call.call(1, load, &[Value::String(line), name], 2, CALL)
            }
            _ => call.return_none(),
        },
        CALL => match (call.slot(1), call.slot(2)) {
            (Value::Nil, message) => show(call, message),
            (function, _) => call.call(1, function, &[], 0, PROMPT),
        },
        STATE_FAILED => {
            let error = call.slot(0);
            if call.close_step(error)? {
                return Ok(Action::Entered);
            }
            show(call, error)
        }
        _ => {
            let text = call.slot(1);
            show(call, text)
        }
    }
}

/// Shows an error as a line.
fn show<'gc>(call: &mut Call<'_, 'gc>, error: Value<'gc>) -> Result<Action, Error<'gc>> {
    let mut text = Vec::new();
    match append_text(call.context(), error, &mut text) {
        Some(handler) if call.state() != SHOW => call.call(1, handler, &[error], 1, SHOW),
        _ => {
            text.push(b'\n');
            write(call, &text, PROMPT)
        }
    }
}

/// Writes to the standard error stream, if there is one.
fn write<'gc>(call: &mut Call<'_, 'gc>, text: &[u8], state: u32) -> Result<Action, Error<'gc>> {
    let write = call.context().permanent(b"io.file.write");
    if write.is_nil() {
        return call.return_none();
    }
    let output = call.context().permanent(b"io.stderr");
    let text = call.string(text)?;
    call.call(1, write, &[output, text], 0, state)
}
