//! `string.format`.
//!
//! Everything is written in one go unless a `__tostring` metamethod has to be called; the text so far then waits in a slot.

use crate::call::{Action, Call, append_number};
use crate::error::Error;
use crate::fuel;
use crate::heap::string::LuaString;
use crate::heap::value::Value;
use crate::library::base::{append_identity, append_text};
use crate::metamethod::Metamethod;
use crate::text::format::{
    Directive, FormatError, Spec, write_quoted_float, write_quoted_integer, write_quoted_string,
};
use crate::text::search::find_byte;

/// Slots from the first scratch slot on: the text so far, the directive's offset, its argument, the call.
const SLOT_TEXT: usize = 0;
const SLOT_POSITION: usize = 1;
const SLOT_ARGUMENT: usize = 2;
const SLOT_CALL: usize = 3;

/// The longest text that a directive gives, and a float's; strings without a width or precision left out.
const DIRECTIVE_BYTES_MAX: usize = 128;
const FLOAT_BYTES_MAX: usize = 512;

/// A string with modifiers but without precision is not padded from this length on.
const UNPADDED_LENGTH: usize = 100;

fn format_error<'gc>(call: &Call<'_, 'gc>, error: FormatError<'_>) -> Error<'gc> {
    call.error(error.message())
}

/// State 1: the `__tostring` of the argument in `SLOT_ARGUMENT` has returned.
pub(super) fn format<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let format = call.check_string(1)?.as_bytes();
    let base = call.scratch();
    call.charge(fuel::STRING + fuel::scanned(format.len()));
    let mut out = Vec::new();
    call.grow(&mut out, format.len() + DIRECTIVE_BYTES_MAX)?;
    let (mut position, mut argument) = (0, 1);
    if call.state() == 1 {
        let (Value::String(text), Value::Integer(directive), Value::Integer(index)) =
            (call.slot(base + SLOT_TEXT), call.slot(base + SLOT_POSITION), call.slot(base + SLOT_ARGUMENT))
        else {
            return Err(call.state_error());
        };
        (position, argument) = (directive as usize, index as usize);
        append(call, text.as_bytes(), &mut out)?;
        let rest = format.get(position..).filter(|rest| rest.starts_with(b"%")).ok_or_else(|| call.state_error())?;
        let directive = Directive::parse(rest).map_err(|error| format_error(call, error))?;
        let mut converted = Vec::new();
        let result = match call.slot(base + SLOT_CALL) {
            Value::String(string) => string.as_bytes(),
            number @ (Value::Integer(_) | Value::Float(_)) => {
                append_number(number, &mut converted);
                &converted
            }
            _ => return Err(call.error("'__tostring' must return a string")),
        };
        write_text(call, &directive, argument, result, &mut out)?;
        position += directive.length();
    }
    while let Some(offset) = find_byte(&format[position..], b'%') {
        append(call, &format[position..position + offset], &mut out)?;
        position += offset;
        if format.get(position + 1) == Some(&b'%') {
            out.push(b'%');
            position += 2;
            continue;
        }
        argument += 1;
        call.charge(fuel::DIRECTIVE);
        call.grow(&mut out, DIRECTIVE_BYTES_MAX)?;
        if argument > call.arg_count() {
            return Err(call.arg_error(argument, "no value"));
        }
        let directive = Directive::parse(&format[position..]).map_err(|error| format_error(call, error))?;
        if let Some(handler) = write_argument(call, &directive, argument, &mut out)? {
            let value = call.arg(argument);
            call.reserve(base + SLOT_CALL + 2)?;
            let text = call.string(&out)?;
            call.set_slot(base + SLOT_TEXT, text);
            call.set_slot(base + SLOT_POSITION, Value::Integer(position as i64));
            call.set_slot(base + SLOT_ARGUMENT, Value::Integer(argument as i64));
            return call.call_unyieldable(base + SLOT_CALL, handler, &[value], 1, 1);
        }
        position += directive.length();
    }
    append(call, &format[position..], &mut out)?;
    let result = call.new_string(out)?;
    call.return_value(result)
}

/// Appends text after asking the limits.
fn append<'gc>(call: &mut Call<'_, 'gc>, text: &[u8], out: &mut Vec<u8>) -> Result<(), Error<'gc>> {
    call.grow(out, text.len())?;
    if text.len() >= 64 {
        call.charge(fuel::copied(text.len()));
    }
    out.extend_from_slice(text);
    Ok(())
}

fn spec<'gc>(call: &Call<'_, 'gc>, directive: &Directive<'_>) -> Result<Spec, Error<'gc>> {
    directive.spec().map_err(|error| format_error(call, error))
}

/// Writes argument `index` by a directive, or answers the `__tostring` metamethod that has to be called first.
fn write_argument<'gc>(
    call: &mut Call<'_, 'gc>,
    directive: &Directive<'_>,
    index: usize,
    out: &mut Vec<u8>,
) -> Result<Option<Value<'gc>>, Error<'gc>> {
    let value = call.arg(index);
    match directive.conversion() {
        b'd' | b'i' | b'u' | b'o' | b'x' | b'X' => {
            let integer = call.check_integer(index)?;
            spec(call, directive)?.write_integer(integer, out);
        }
        b'c' => {
            let spec = spec(call, directive)?;
            spec.write_byte(call.check_integer(index)? as u8, out);
        }
        b'a' | b'A' => {
            let spec = spec(call, directive)?;
            write_float(call, spec, index, out)?;
        }
        b'e' | b'E' | b'f' | b'g' | b'G' => {
            call.check_float(index)?;
            let spec = spec(call, directive)?;
            write_float(call, spec, index, out)?;
        }
        b'p' => {
            let spec = spec(call, directive)?;
            let mut text = Vec::new();
            match value {
                Value::Nil | Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => {
                    text.extend_from_slice(b"(null)");
                }
                _ => append_identity(call.context(), value, &mut text),
            }
            spec.write_pointer(&text, out);
        }
        b'q' => return write_quoted(call, directive, index, out),
        _ => match value {
            Value::String(string) if call.context().metamethod(value, Metamethod::ToString).is_nil() => {
                write_text(call, directive, index, string.as_bytes(), out)?;
            }
            _ if directive.is_plain() => return Ok(append_text(call.context(), value, out)),
            _ => {
                let mut text = Vec::new();
                if let Some(handler) = append_text(call.context(), value, &mut text) {
                    return Ok(Some(handler));
                }
                write_text(call, directive, index, &text, out)?;
            }
        },
    }
    Ok(None)
}

/// Writes a float. Exact decimals are worked out digit by digit.
fn write_float<'gc>(call: &mut Call<'_, 'gc>, spec: Spec, index: usize, out: &mut Vec<u8>) -> Result<(), Error<'gc>> {
    call.grow(out, FLOAT_BYTES_MAX)?;
    let before = out.len();
    spec.write_float(call.check_float(index)?, out);
    call.charge(fuel::FLOAT_TEXT + (out.len() - before) * fuel::FLOAT_BYTE);
    Ok(())
}

/// Writes the text of argument `index` by `%s`.
fn write_text<'gc>(
    call: &mut Call<'_, 'gc>,
    directive: &Directive<'_>,
    index: usize,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error<'gc>> {
    if directive.is_plain() {
        return append(call, text, out);
    }
    call.charge(fuel::copied(text.len()));
    if text.contains(&0) {
        return Err(call.arg_error(index, "string contains zeros"));
    }
    let spec = spec(call, directive)?;
    if !directive.has_precision() && text.len() >= UNPADDED_LENGTH {
        return append(call, text, out);
    }
    spec.write_string(text, out);
    Ok(())
}

/// Writes a value as a literal that reads back as the same value (`%q`). Even nil may have a `__tostring`.
fn write_quoted<'gc>(
    call: &mut Call<'_, 'gc>,
    directive: &Directive<'_>,
    index: usize,
    out: &mut Vec<u8>,
) -> Result<Option<Value<'gc>>, Error<'gc>> {
    spec(call, directive)?;
    match call.arg(index) {
        Value::String(string) => {
            prepare_quoted(call, string, out)?;
            write_quoted_string(string.as_bytes(), out);
        }
        Value::Integer(integer) => write_quoted_integer(integer, out),
        Value::Float(float) => write_quoted_float(float, out),
        value @ (Value::Nil | Value::Boolean(_)) => return Ok(append_text(call.context(), value, out)),
        _ => return Err(call.arg_error(index, "value has no literal form")),
    }
    Ok(None)
}

/// Makes room for a quoted string; a byte that has to be escaped takes up to four.
fn prepare_quoted<'gc>(call: &mut Call<'_, 'gc>, string: LuaString<'gc>, out: &mut Vec<u8>) -> Result<(), Error<'gc>> {
    call.charge(fuel::scanned(string.len()));
    let escaped = string.as_bytes().iter().filter(|byte| byte.is_ascii_control() || matches!(byte, b'"' | b'\\'));
    call.grow(out, string.len() + 3 * escaped.count() + 2)
}
