//! `load`: compiling at run time.

use crate::call::{Action, Call, STATE_FAILED, number_to_string};
use crate::error::{Error, RunError};
use crate::heap::closure::Closure;
use crate::heap::proto::Proto;
use crate::heap::upvalue::Upvalue;
use crate::heap::value::Value;
use crate::vm::compile_chunk;

/// `load(chunk, name, mode, env)`. A reader function is called until it gives nothing; its pieces wait in a table in the first
/// scratch slot.
pub(super) fn load<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let pieces_slot = call.scratch();
    match (call.state(), call.arg(1)) {
        (STATE_FAILED, _) => {
            // The reader failed.
            let error = call.slot(0);
            if call.close_step(error)? {
                return Ok(Action::Entered);
            }
            call.return_values(&[Value::Nil, error])
        }
        (0, Value::String(_) | Value::Integer(_) | Value::Float(_)) => {
            let text = call.check_string(1)?;
            let name = call.opt_string(2)?.unwrap_or(text);
            compile(call, text.as_bytes(), name.as_bytes())
        }
        (0, _) => {
            let reader = call.check_function(1)?;
            let pieces = call.context().table();
            call.reserve(pieces_slot + 1)?;
            call.set_slot(pieces_slot, Value::Table(pieces));
            call.call_unyieldable(pieces_slot + 1, reader, &[], 1, 1)
        }
        (_, reader) => {
            let Value::Table(pieces) = call.slot(pieces_slot) else { return Err(call.state_error()) };
            let piece = match call.slot(pieces_slot + 1) {
                number @ (Value::Integer(_) | Value::Float(_)) => {
                    Value::String(number_to_string(call.context(), number))
                }
                piece => piece,
            };
            match piece {
                Value::String(piece) if !piece.is_empty() => {
                    call.set_raw(pieces, Value::Integer(pieces.length() + 1), Value::String(piece))?;
                    call.call_unyieldable(pieces_slot + 1, reader, &[], 1, 1)
                }
                Value::Nil | Value::String(_) => {
                    let mut source = Vec::new();
                    for (_, piece) in pieces.pairs() {
                        if let Value::String(piece) = piece {
                            source.extend_from_slice(piece.as_bytes());
                        }
                    }
                    let name = call.opt_string(2)?;
                    compile(call, &source, name.map_or(&b"=(load)"[..], |name| name.as_bytes()))
                }
                _ => refuse(call, "reader function must return a string"),
            }
        }
    }
}

fn refuse<'gc>(call: &mut Call<'_, 'gc>, message: &str) -> Result<Action, Error<'gc>> {
    let message = Value::String(call.context().string(message.as_bytes()));
    call.return_values(&[Value::Nil, message])
}

fn compile<'gc>(call: &mut Call<'_, 'gc>, source: &[u8], name: &[u8]) -> Result<Action, Error<'gc>> {
    let mode = call.opt_string(3)?.map_or(&b"bt"[..], |mode| mode.as_bytes());
    let is_binary = source.first() == Some(&0x1b);
    let (kind, letter) = if is_binary { ("binary", b'b') } else { ("text", b't') };
    if !mode.contains(&letter) {
        let message = format!("attempt to load a {kind} chunk (mode is '{}')", String::from_utf8_lossy(mode));
        return refuse(call, &message);
    }
    if is_binary {
        return refuse(call, "binary string: bad binary format (truncated chunk)");
    }
    // Compiling takes time and memory in proportion to the source.
    call.charge(source.len());
    call.context().accounting().check(source.len() * 4)?;
    let function = match compile_chunk(source, name) {
        Ok(function) => function,
        Err(RunError::Syntax { message, .. }) => return refuse(call, &message),
        Err(_) => return refuse(call, "cannot compile the chunk"),
    };
    let context = call.context();
    let environment = if call.arg_count() >= 4 { call.arg(4) } else { Value::Table(context.globals()) };
    let proto = Proto::new(context, function);
    let closure = Closure::new(context, proto, &[Upvalue::new(context, environment)]);
    call.return_value(Value::Closure(closure))
}
