//! `string.pack`, `string.packsize`, `string.unpack`.

use super::start_position;
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel;
use crate::heap::value::Value;
use crate::text::pack::{
    Blame, Item, Items, Kind, PackError, packed_size, read_fixed, read_float, read_integer, read_string, write_float,
    write_integer, write_padding, write_string,
};

/// The Lua error for what is wrong with a format or value; `value` is the argument to blame for a bad value.
fn pack_error<'gc>(call: &Call<'_, 'gc>, error: PackError, value: usize) -> Error<'gc> {
    let message = error.message();
    match error.blame() {
        Blame::Nobody => call.error(message),
        Blame::Format => call.machine.arg_error(1, &message),
        Blame::Data => call.machine.arg_error(2, &message),
        Blame::Value => call.machine.arg_error(value, &message),
    }
}

pub(super) fn pack_size<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let format = call.check_string(1)?.as_bytes();
    call.charge(format.len() * fuel::DIRECTIVE);
    let size = packed_size(format).map_err(|error| pack_error(call, error, 1))?;
    call.return_value(Value::Integer(size as i64))
}

pub(super) fn pack<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let format = call.check_string(1)?.as_bytes();
    call.charge(format.len() * fuel::DIRECTIVE);
    // PUC Lua keeps its buffer behind a nil.
    call.append_nil()?;
    let mut items = Items::new(format);
    let mut out = Vec::new();
    let mut argument = 1;
    while let Some(item) = items.next_item(out.len()).map_err(|error| pack_error(call, error, argument))? {
        argument += usize::from(item.kind.takes_value());
        write_item(call, &item, argument, &mut out)?;
    }
    let packed = call.new_string(out)?;
    call.return_value(packed)
}

fn write_item<'gc>(
    call: &mut Call<'_, 'gc>,
    item: &Item,
    argument: usize,
    out: &mut Vec<u8>,
) -> Result<(), Error<'gc>> {
    make_room(call, item.space(), out)?;
    match item.kind {
        Kind::Padding | Kind::Nothing => {
            write_padding(item, out);
            Ok(())
        }
        Kind::Signed | Kind::Unsigned => {
            let value = call.check_integer(argument)?;
            write_padding(item, out);
            write_integer(item, value, out).map_err(|error| pack_error(call, error, argument))
        }
        Kind::Single | Kind::Double => {
            let value = call.check_float(argument)?;
            write_padding(item, out);
            write_float(item, value, out);
            Ok(())
        }
        Kind::Chars | Kind::Counted | Kind::ZeroEnded => {
            let value = call.check_string(argument)?.as_bytes();
            make_room(call, item.space() + value.len() + 1, out)?;
            write_padding(item, out);
            write_string(item, value, out).map_err(|error| pack_error(call, error, argument))
        }
    }
}

/// Asks the limits for `additional` more bytes and charges for them.
fn make_room<'gc>(call: &mut Call<'_, 'gc>, additional: usize, out: &mut Vec<u8>) -> Result<(), Error<'gc>> {
    call.grow(out, additional)?;
    if additional >= 64 {
        call.charge(fuel::copied(additional));
    }
    Ok(())
}

pub(super) fn unpack<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let format = call.check_string(1)?.as_bytes();
    let data = call.check_string(2)?.as_bytes();
    let mut position = start_position(call.opt_integer(3, 1)?, data.len()) - 1;
    if position > data.len() {
        return Err(call.arg_error(3, "initial position out of string"));
    }
    call.charge(format.len() * fuel::DIRECTIVE);
    let mut items = Items::new(format);
    // Not into slot 0 on: the arguments have to stay until nothing can fail any more.
    let first = call.scratch();
    let mut count = 0;
    while let Some(item) = items.next_item(position).map_err(|error| pack_error(call, error, 2))? {
        let (value, next) = read_item(call, &item, data, position)?;
        position = next;
        if !item.kind.takes_value() {
            continue;
        }
        if !call.fits_stack(first + count + 2) {
            return Err(call.error("stack overflow (too many results)"));
        }
        call.reserve(first + count + 2)?;
        call.set_slot(first + count, value);
        count += 1;
    }
    call.reserve(first + count + 1)?;
    call.set_slot(first + count, Value::Integer(position as i64 + 1));
    Ok(Action::Return { first: first as u32, count: count as u32 + 1 })
}

/// The value of an item and where the next one starts.
fn read_item<'gc>(
    call: &mut Call<'_, 'gc>,
    item: &Item,
    data: &[u8],
    position: usize,
) -> Result<(Value<'gc>, usize), Error<'gc>> {
    let fixed = read_fixed(item, data, position).map_err(|error| pack_error(call, error, 2))?;
    let next = position + item.space();
    Ok(match item.kind {
        Kind::Padding | Kind::Nothing => (Value::Nil, next),
        Kind::Signed | Kind::Unsigned => {
            let integer = read_integer(item, fixed).map_err(|error| pack_error(call, error, 2))?;
            (Value::Integer(integer), next)
        }
        Kind::Single | Kind::Double => (Value::Float(read_float(item, fixed)), next),
        Kind::Chars | Kind::Counted | Kind::ZeroEnded => {
            let (text, next) = match read_string(item, data, position) {
                Ok(found) => found,
                Err(error) => {
                    // An end was looked for in all the rest.
                    call.charge(fuel::scanned(data.len().saturating_sub(position)));
                    return Err(pack_error(call, error, 2));
                }
            };
            (call.string(text)?, next)
        }
    })
}
