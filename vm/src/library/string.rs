//! Strings (manual §6.4), except patterns (`find`), `format` and the binary formats (`pack`).
//!
//! Short results are interned straight from a buffer on the Rust stack. Lengths stay below 2^31.

mod arithmetic;
mod find;
mod format;
mod pack;
mod pieces;

pub(super) use arithmetic::METAMETHODS;
pub(super) use find::GMATCH_STEP;

use super::{Functions, fill, name_permanent, set_field};
use crate::bytecode::chunk;
use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::native::Native;
use crate::heap::string::SHORT_STRING_MAX;
use crate::heap::table::Table;
use crate::heap::value::Value;

pub(super) const FUNCTIONS: Functions = &[
    ("string.byte", byte),
    ("string.char", char),
    ("string.dump", dump),
    ("string.find", find::find),
    ("string.format", format::format),
    ("string.gmatch", find::gmatch),
    ("string.gsub", find::gsub),
    ("string.len", len),
    ("string.lower", lower),
    ("string.match", find::match_),
    ("string.pack", pack::pack),
    ("string.packsize", pack::pack_size),
    ("string.rep", rep),
    ("string.reverse", reverse),
    ("string.sub", sub),
    ("string.unpack", pack::unpack),
    ("string.upper", upper),
];

/// Longer strings are refused.
pub(super) const LENGTH_MAX: usize = i32::MAX as usize;

/// Gives strings their metatable, through which `s:upper()` works.
pub(super) fn open<'gc>(context: Context<'gc>, library: Table<'gc>) {
    let metatable = Table::new(context, 0, 1 + METAMETHODS.len());
    set_field(context, metatable, "__index", Value::Table(library));
    fill(context, metatable, METAMETHODS);
    context.set_any_metatable(Value::String(context.string(b"")), Some(metatable));
    // The iterator of `gmatch`, so that saved state can refer to its code.
    name_permanent(context, GMATCH_STEP.name, Value::Native(Native::new(context, GMATCH_STEP, &[])));
}

/// A start position as an offset from 1 up; `length + 2` stands for all positions beyond the one behind the end.
pub(super) fn start_position(position: i64, length: usize) -> usize {
    let length = length as i64;
    let start = match position {
        1.. => position.min(length + 2),
        _ if position < -length || position == 0 => 1,
        _ => length + position + 1,
    };
    start as usize
}

/// An end position as an offset from 0 to `length`.
pub(super) fn end_position(position: i64, length: usize) -> usize {
    let length = length as i64;
    let end = match position {
        0.. => position.min(length),
        _ if position < -length => 0,
        _ => length + position + 1,
    };
    end as usize
}

fn len<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let length = call.check_string(1)?.len();
    call.return_value(Value::Integer(length as i64))
}

fn byte<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let text = call.check_string(1)?.as_bytes();
    let position = call.opt_integer(2, 1)?;
    let start = start_position(position, text.len());
    let end = end_position(call.opt_integer(3, position)?, text.len());
    if start > end {
        return call.return_none();
    }
    let bytes = &text[start - 1..end];
    if let [byte] = bytes {
        return call.return_value(Value::Integer(i64::from(*byte)));
    }
    if !call.fits_stack(bytes.len()) {
        return Err(call.error("stack overflow (string slice too long)"));
    }
    call.charge(fuel::values(bytes.len()));
    call.reserve(bytes.len())?;
    for (slot, byte) in bytes.iter().enumerate() {
        call.set_slot(slot, Value::Integer(i64::from(*byte)));
    }
    Ok(Action::Return { first: 0, count: bytes.len() as u32 })
}

/// `string.dump(function, strip)`
fn dump<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let Value::Closure(function) = call.check_function(1)? else {
        return Err(call.error("unable to dump given function"));
    };
    let size = function.proto().nominal_bytes();
    // The function as data, and as bytes in a buffer that grows.
    call.context().accounting().check(size * 3)?;
    call.charge(fuel::scanned(size));
    let parts = function.proto().to_parts(call.arg(2).is_truthy());
    let chunk = call.new_string(chunk::dump(&parts))?;
    call.return_value(chunk)
}

fn char<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let count = call.arg_count();
    let mut short = [0; SHORT_STRING_MAX];
    let mut long = Vec::new();
    let bytes = if count <= short.len() {
        &mut short[..count]
    } else {
        call.charge(fuel::values(count));
        long.resize(count, 0);
        &mut long[..]
    };
    for (index, byte) in bytes.iter_mut().enumerate() {
        let code = call.check_integer(index + 1)?;
        *byte = u8::try_from(code).map_err(|_| call.arg_error(index + 1, "value out of range"))?;
    }
    let string = call.string(bytes)?;
    call.return_value(string)
}

fn sub<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let source = call.check_string(1)?;
    let text = source.as_bytes();
    let start = start_position(call.check_integer(2)?, text.len());
    let end = end_position(call.opt_integer(3, -1)?, text.len());
    if start == 1 && end == text.len() {
        return call.return_value(Value::String(source));
    }
    let part = if start > end { &[] } else { &text[start - 1..end] };
    let string = call.string(part)?;
    call.return_value(string)
}

/// Returns the first argument with its bytes changed in place.
fn changed<'gc>(call: &mut Call<'_, 'gc>, change: impl Fn(&mut [u8])) -> Result<Action, Error<'gc>> {
    let source = call.check_string(1)?.as_bytes();
    if source.len() <= SHORT_STRING_MAX {
        let mut short = [0; SHORT_STRING_MAX];
        let text = &mut short[..source.len()];
        text.copy_from_slice(source);
        change(text);
        let string = call.string(text)?;
        return call.return_value(string);
    }
    call.context().accounting().check(source.len())?;
    call.charge(fuel::scanned(source.len()));
    let mut text = source.to_vec();
    change(&mut text);
    let string = call.new_string(text)?;
    call.return_value(string)
}

fn lower<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    changed(call, |text| text.make_ascii_lowercase())
}

fn upper<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    changed(call, |text| text.make_ascii_uppercase())
}

fn reverse<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    changed(call, |text| text.reverse())
}

fn rep<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let source = call.check_string(1)?;
    let count = call.check_integer(2)?;
    let separator = call.opt_string(3)?.map_or(&b""[..], |separator| separator.as_bytes());
    let unit = source.len() + separator.len();
    if count <= 0 || unit == 0 {
        let empty = call.string(b"")?;
        return call.return_value(empty);
    }
    if unit as u64 > LENGTH_MAX as u64 / count as u64 {
        return Err(call.error("resulting string too large"));
    }
    if count == 1 {
        return call.return_value(Value::String(source));
    }
    // Less than `LENGTH_MAX` units, so the count fits.
    let total = unit * count as usize - separator.len();
    call.context().accounting().check(total)?;
    call.charge(fuel::STRING + fuel::copied(total) + fuel::values(count as usize));
    let source = source.as_bytes();
    let text = if separator.is_empty() {
        source.repeat(count as usize)
    } else {
        let mut text = [source, separator].concat().repeat(count as usize);
        text.truncate(total);
        text
    };
    let string = call.new_string(text)?;
    call.return_value(string)
}
