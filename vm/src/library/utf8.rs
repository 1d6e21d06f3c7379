//! UTF-8 support (manual §6.5).

use super::string::{LENGTH_MAX, end_position};
use super::{Functions, set_field};
use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::native::{Native, NativeDefinition};
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::text::utf8::{CODE_POINT_MAX, count, decode, encode, is_continuation, offset};

pub(super) const FUNCTIONS: Functions =
    &[("utf8.char", char), ("utf8.codepoint", code_point), ("utf8.len", len), ("utf8.offset", offset_)];

/// The iterators that `utf8.codes` returns, for strict and lax decoding.
pub(super) const STEPS: [NativeDefinition; 2] = [
    NativeDefinition { name: "utf8.codes.step", code: step_strict },
    NativeDefinition { name: "utf8.codes.lax_step", code: step_lax },
];

pub(super) const CODES: NativeDefinition = NativeDefinition { name: "utf8.codes", code: codes };

pub(super) fn open<'gc>(context: Context<'gc>, library: Table<'gc>) {
    set_pattern(context, library);
    let steps = STEPS.map(|step| {
        let step = Value::Native(Native::new(context, step, &[]));
        if let Value::Native(native) = step {
            super::name_permanent(context, native.name(), step);
        }
        step
    });
    let codes = Native::new(context, CODES, &steps);
    set_field(context, library, "codes", Value::Native(codes));
    super::name_permanent(context, "utf8.codes", Value::Native(codes));
}

pub(super) fn set_pattern<'gc>(context: Context<'gc>, library: Table<'gc>) {
    let pattern = context.string(b"[\0-\x7F\xC2-\xFD][\x80-\xBF]*");
    set_field(context, library, "charpattern", Value::String(pattern));
}

/// A position as an offset from 1 up, 0 or less if it lies before the start.
fn absolute(position: i64, length: usize) -> i64 {
    let length = length as i64;
    match position {
        0.. => position,
        _ if position < -length => 0,
        _ => length + position + 1,
    }
}

fn char<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    call.charge(fuel::STRING + fuel::scanned(call.arg_count()));
    let mut text = Vec::new();
    for index in 1..=call.arg_count() {
        let code = call.check_integer(index)?;
        match u32::try_from(code) {
            Ok(code) if code <= CODE_POINT_MAX => encode(code, &mut text),
            _ => return Err(call.arg_error(index, "value out of range")),
        }
    }
    let string = call.new_string(text)?;
    call.return_value(string)
}

fn code_point<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let text = call.check_string(1)?.as_bytes();
    let start = absolute(call.opt_integer(2, 1)?, text.len());
    let end = absolute(call.opt_integer(3, start)?, text.len());
    let lax = call.arg(4).is_truthy();
    if start < 1 {
        return Err(call.arg_error(2, "out of bounds"));
    }
    if end > text.len() as i64 {
        return Err(call.arg_error(3, "out of bounds"));
    }
    if start > end {
        return call.return_none();
    }
    let (mut position, end) = (start as usize - 1, end as usize);
    if end - position > LENGTH_MAX || !call.fits_stack(end - position) {
        return Err(call.error("stack overflow (string slice too long)"));
    }
    call.charge(fuel::scanned(end - position));
    // Nothing after this can fail and be tried again, so the arguments may go.
    call.reserve(end - position)?;
    let mut points = 0;
    while position < end {
        let Some((code, length)) = decode(&text[position..], lax) else {
            return Err(call.error("invalid UTF-8 code"));
        };
        call.set_slot(points, Value::Integer(i64::from(code)));
        points += 1;
        position += length;
    }
    Ok(Action::Return { first: 0, count: points as u32 })
}

fn len<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let text = call.check_string(1)?.as_bytes();
    let length = text.len() as i64;
    let start = absolute(call.opt_integer(2, 1)?, text.len());
    let end = absolute(call.opt_integer(3, -1)?, text.len());
    let lax = call.arg(4).is_truthy();
    if start < 1 || start > length + 1 {
        return Err(call.arg_error(2, "initial position out of bounds"));
    }
    if end > length {
        return Err(call.arg_error(3, "final position out of bounds"));
    }
    let (start, end) = (start as usize - 1, end_position(end, text.len()));
    call.charge(fuel::scanned(end.saturating_sub(start)));
    match count(text, start, end, lax) {
        Ok(points) => call.return_value(Value::Integer(points as i64)),
        Err(invalid) => call.return_values(&[Value::Nil, Value::Integer(invalid as i64 + 1)]),
    }
}

fn offset_<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let text = call.check_string(1)?.as_bytes();
    let n = call.check_integer(2)?;
    let length = text.len() as i64;
    let default = if n >= 0 { 1 } else { length + 1 };
    let from = absolute(call.opt_integer(3, default)?, text.len());
    if from < 1 || from > length + 1 {
        return Err(call.arg_error(3, "position out of bounds"));
    }
    let from = from as usize - 1;
    let found = offset(text, n, from);
    let end = if n > 0 { text.len() } else { 0 };
    let walked = found.as_ref().ok().copied().flatten().unwrap_or(end).abs_diff(from);
    call.charge(fuel::scanned(walked));
    match found {
        Ok(found) => call.return_value(found.map_or(Value::Nil, |found| Value::Integer(found as i64 + 1))),
        Err(_) => Err(call.error("initial position is a continuation byte")),
    }
}

fn codes<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let text = call.check_string(1)?;
    if text.as_bytes().first().is_some_and(|byte| is_continuation(*byte)) {
        return Err(call.arg_error(1, "invalid UTF-8 code"));
    }
    let step = call.upvalue(usize::from(call.arg(2).is_truthy()));
    call.return_values(&[step, Value::String(text), Value::Integer(0)])
}

fn step_strict<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    step(call, false)
}

fn step_lax<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    step(call, true)
}

/// Position and code point of the character after the one at the position given.
fn step<'gc>(call: &mut Call<'_, 'gc>, lax: bool) -> Result<Action, Error<'gc>> {
    let text = call.check_string(1)?.as_bytes();
    let previous = call.arg(2).to_integer().unwrap_or(0);
    let mut position = usize::try_from(previous).unwrap_or(0);
    let continues = |position: usize| text.get(position).is_some_and(|byte| is_continuation(*byte));
    if previous > 0 {
        while continues(position) {
            position += 1;
        }
        call.charge(fuel::scanned(position - previous as usize));
    }
    if position >= text.len() {
        return call.return_none();
    }
    match decode(&text[position..], lax) {
        Some((code, length)) if !continues(position + length) => {
            call.return_values(&[Value::Integer(position as i64 + 1), Value::Integer(i64::from(code))])
        }
        _ => Err(call.error("invalid UTF-8 code")),
    }
}
