//! Table manipulation (manual §6.6); sorting is in `sort` and `plain_sort`.
//!
//! On a table whose access calls no metamethod the functions work at once, long ones in pieces so that the driver can stop
//! in between. On anything else they are state machines of single steps, see `steps`.

mod plain_sort;
mod sort;

use super::Functions;
use super::steps::{plain_table, step};
use super::string::LENGTH_MAX;
use crate::call::{Action, Call, append_number};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::string::SHORT_STRING_MAX;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::metamethod::Metamethod::{Index, Len, NewIndex};

pub(super) const FUNCTIONS: Functions = &[
    ("table.concat", concat),
    ("table.insert", insert),
    ("table.move", move_),
    ("table.pack", pack),
    ("table.remove", remove),
    ("table.sort", sort::sort),
    ("table.unpack", unpack),
];

/// How many items are moved before the driver may stop.
const PIECE: i64 = 1 << 16;

fn integer_in(call: &Call<'_, '_>, slot: usize) -> i64 {
    match call.slot(slot) {
        Value::Integer(integer) => integer,
        _ => 0,
    }
}

/// States of the functions here.
const START: u32 = 0;
const MEASURED: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 3;
const WRITTEN: u32 = 4;
const LAST: u32 = 5;
const DONE: u32 = 6;

/// Scratch slots: the length, then the position; the position being filled; what goes there.
fn insert<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if let (Value::Table(table), 2, None) = (call.arg(1), call.arg_count(), table_metatable(call.arg(1))) {
        let value = call.arg(2);
        let key = table.length() + 1;
        table.set_integer(call.context(), key, value).map_err(|error| call.table_error(error))?;
        return call.return_none();
    }
    let base = call.scratch();
    let object = call.arg(1);
    let mut state = call.state();
    loop {
        state = match state {
            START => {
                call.check_table_like(1, &[Index, NewIndex, Len])?;
                call.reserve(base + 4)?;
                step!(call.measure(base, object, MEASURED));
                MEASURED
            }
            MEASURED => {
                let end = call.length_in(base)?.wrapping_add(1);
                let position = match call.arg_count() {
                    2 => end,
                    3 => call.check_integer(2)?,
                    _ => return Err(call.error("wrong number of arguments to 'insert'")),
                };
                if call.arg_count() == 3 && (position as u64).wrapping_sub(1) >= end as u64 {
                    return Err(call.arg_error(2, "position out of bounds"));
                }
                if let Some(table) = plain_table(call, object) {
                    let value = call.arg(call.arg_count());
                    insert_plain(call, table, position, end, value)?;
                    return call.return_none();
                }
                call.set_slot(base, Value::Integer(position));
                call.set_slot(base + 1, Value::Integer(end));
                READ
            }
            READ => {
                let (position, at) = (integer_in(call, base), integer_in(call, base + 1));
                if at <= position {
                    LAST
                } else {
                    step!(call.read(base + 2, object, Value::Integer(at - 1), WRITE));
                    WRITE
                }
            }
            WRITE => {
                call.charge(fuel::items(1));
                let (at, value) = (call.slot(base + 1), call.slot(base + 2));
                step!(call.assign(base + 3, object, at, value, WRITTEN));
                WRITTEN
            }
            WRITTEN => {
                let at = integer_in(call, base + 1);
                call.set_slot(base + 1, Value::Integer(at.wrapping_sub(1)));
                if at % PIECE == 0 {
                    return call.again(READ);
                }
                READ
            }
            LAST => {
                let (position, value) = (call.slot(base), call.arg(call.arg_count()));
                step!(call.assign(base + 3, object, position, value, DONE));
                DONE
            }
            _ => return call.return_none(),
        }
    }
}

fn table_metatable<'gc>(value: Value<'gc>) -> Option<Table<'gc>> {
    match value {
        Value::Table(table) => table.metatable(),
        _ => None,
    }
}

/// Moves the items `position..end` up by one and puts `value` before them. Only the first store, behind the end, can fail.
fn insert_plain<'gc>(
    call: &mut Call<'_, 'gc>,
    table: Table<'gc>,
    position: i64,
    end: i64,
    value: Value<'gc>,
) -> Result<(), Error<'gc>> {
    call.charge(fuel::items((end - position).max(0) as usize));
    let context = call.context();
    for at in (position + 1..=end).rev() {
        let moved = table.get_integer(at - 1);
        table.set_integer(context, at, moved).map_err(|error| call.table_error(error))?;
    }
    table.set_integer(context, position, value).map_err(|error| call.table_error(error))
}

/// Scratch slots: the length; the position being filled; the removed item; what goes there.
fn remove<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    let object = call.arg(1);
    let mut state = call.state();
    loop {
        state = match state {
            START => {
                call.check_table_like(1, &[Index, NewIndex, Len])?;
                call.reserve(base + 5)?;
                step!(call.measure(base, object, MEASURED));
                MEASURED
            }
            MEASURED => {
                let size = call.length_in(base)?;
                let position = call.opt_integer(2, size)?;
                if position != size && (position as u64).wrapping_sub(1) > size as u64 {
                    return Err(call.arg_error(2, "position out of bounds"));
                }
                if let Some(table) = plain_table(call, object) {
                    let removed = remove_plain(call, table, position, size)?;
                    return call.return_value(removed);
                }
                call.set_slot(base, Value::Integer(size));
                call.set_slot(base + 1, Value::Integer(position));
                step!(call.read(base + 2, object, Value::Integer(position), READ));
                READ
            }
            READ => {
                let (size, at) = (integer_in(call, base), integer_in(call, base + 1));
                if at >= size {
                    LAST
                } else {
                    step!(call.read(base + 3, object, Value::Integer(at + 1), WRITE));
                    WRITE
                }
            }
            WRITE => {
                call.charge(fuel::items(1));
                let (at, value) = (call.slot(base + 1), call.slot(base + 3));
                step!(call.assign(base + 4, object, at, value, WRITTEN));
                WRITTEN
            }
            WRITTEN => {
                let at = integer_in(call, base + 1);
                call.set_slot(base + 1, Value::Integer(at.wrapping_add(1)));
                if at % PIECE == 0 {
                    return call.again(READ);
                }
                READ
            }
            LAST => {
                let position = call.slot(base + 1);
                step!(call.assign(base + 4, object, position, Value::Nil, DONE));
                DONE
            }
            _ => {
                let removed = call.slot(base + 2);
                return call.return_value(removed);
            }
        }
    }
}

fn remove_plain<'gc>(
    call: &mut Call<'_, 'gc>,
    table: Table<'gc>,
    position: i64,
    size: i64,
) -> Result<Value<'gc>, Error<'gc>> {
    let context = call.context();
    let removed = table.get_integer(position);
    let mut at = position;
    if position < size {
        call.charge(fuel::items((size - position) as usize));
        while at < size {
            let moved = table.get_integer(at + 1);
            table.set_integer(context, at, moved).map_err(|error| call.table_error(error))?;
            at += 1;
        }
    }
    table.set_integer(context, at, Value::Nil).map_err(|error| call.table_error(error))?;
    Ok(removed)
}

/// `table.move(from, first, last, target [, to])`. Scratch slot 0: how many items are done; slot 1: what was read.
fn move_<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (first, last, target) = (call.check_integer(2)?, call.check_integer(3)?, call.check_integer(4)?);
    let to_argument = if call.arg(5).is_nil() { 1 } else { 5 };
    let (from, to) = (call.arg(1), call.arg(to_argument));
    let base = call.scratch();
    let mut state = call.state();
    if state == START {
        call.check_table_like(1, &[Index])?;
        call.check_table_like(to_argument, &[NewIndex])?;
        if last < first {
            return call.return_value(to);
        }
        if !(first > 0 || last < i64::MAX + first) {
            return Err(call.arg_error(3, "too many elements to move"));
        }
        if target > i64::MAX - (last - first + 1) + 1 {
            return Err(call.arg_error(4, "destination wrap around"));
        }
        call.reserve(base + 3)?;
        call.set_slot(base, Value::Integer(0));
        state = READ;
    }
    // The arguments were checked at the start; wrapping, because a saved frame may have any.
    let count = last.wrapping_sub(first).wrapping_add(1);
    let same = to_argument == 1 || from.raw_equals(to);
    let forward = target > last || target <= first || !same;
    let place = |done: i64| if forward { done } else { count - 1 - done };
    let source = |done: i64| first.wrapping_add(place(done));
    let destination = |done: i64| target.wrapping_add(place(done));
    let tables = plain_table(call, from).zip(plain_table(call, to));
    loop {
        let done = integer_in(call, base).max(0);
        if done >= count {
            return call.return_value(to);
        }
        state = match (state, tables) {
            (READ, Some((from, to))) => {
                let piece = (count - done).min(PIECE);
                call.charge(fuel::items(piece as usize));
                for done in done..done + piece {
                    let value = from.get_integer(source(done));
                    to.set_integer(call.context(), destination(done), value)
                        .map_err(|error| call.table_error(error))?;
                }
                call.set_slot(base, Value::Integer(done + piece));
                if done + piece < count {
                    return call.again(READ);
                }
                READ
            }
            (READ, None) => {
                step!(call.read(base + 1, from, Value::Integer(source(done)), WRITE));
                WRITE
            }
            (WRITE, _) => {
                let value = call.slot(base + 1);
                call.charge(fuel::items(1));
                step!(call.assign(base + 2, to, Value::Integer(destination(done)), value, WRITTEN));
                WRITTEN
            }
            _ => {
                call.set_slot(base, Value::Integer(done + 1));
                if done % PIECE == PIECE - 1 {
                    return call.again(READ);
                }
                READ
            }
        }
    }
}

/// Scratch slots of `concat`: the length, then the last position; the next position; what was read; a table of the items of an
/// object that is not plain.
fn concat<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    let object = call.arg(1);
    let mut state = call.state();
    loop {
        state = match state {
            START => {
                call.check_table_like(1, &[Index, Len])?;
                call.reserve(base + 5)?;
                step!(call.measure(base, object, MEASURED));
                MEASURED
            }
            MEASURED => {
                let length = call.length_in(base)?;
                call.opt_string(2)?;
                let first = call.opt_integer(3, 1)?;
                let last = call.opt_integer(4, length)?;
                if let Some(table) = plain_table(call, object) {
                    return concat_plain(call, table, first, last);
                }
                let items = Value::Table(call.context().table());
                call.set_slot(base + 3, items);
                call.set_slot(base, Value::Integer(last));
                call.set_slot(base + 1, Value::Integer(first));
                READ
            }
            READ => {
                let (last, at) = (integer_in(call, base), integer_in(call, base + 1));
                if at > last {
                    LAST
                } else {
                    step!(call.read(base + 4, object, Value::Integer(at), WRITTEN));
                    WRITTEN
                }
            }
            WRITTEN => {
                let (last, at, value) = (integer_in(call, base), integer_in(call, base + 1), call.slot(base + 4));
                if piece_length(value).is_none() {
                    return Err(piece_error(call, value, at));
                }
                let Value::Table(items) = call.slot(base + 3) else { return Err(call.state_error()) };
                let first = call.opt_integer(3, 1)?;
                call.charge(fuel::items(1));
                call.set_raw(items, Value::Integer(at.wrapping_sub(first).wrapping_add(1)), value)?;
                if at == last {
                    LAST
                } else {
                    call.set_slot(base + 1, Value::Integer(at + 1));
                    READ
                }
            }
            _ => {
                let Value::Table(items) = call.slot(base + 3) else { return Err(call.state_error()) };
                let count = items.length();
                return concat_plain(call, items, 1, count);
            }
        }
    }
}

/// How long an item's text is at most; `None` if it has none.
fn piece_length(value: Value<'_>) -> Option<usize> {
    match value {
        Value::String(string) => Some(string.len()),
        Value::Integer(_) | Value::Float(_) => Some(24),
        _ => None,
    }
}

fn piece_error<'gc>(call: &Call<'_, 'gc>, value: Value<'gc>, at: i64) -> Error<'gc> {
    call.error(format!("invalid value ({}) at index {at} in table for 'concat'", value.type_name()))
}

/// Returns the items `first..=last` with the separator, argument 2, between them.
fn concat_plain<'gc>(call: &mut Call<'_, 'gc>, table: Table<'gc>, first: i64, last: i64) -> Result<Action, Error<'gc>> {
    let separator = call.opt_string(2)?.map_or(&b""[..], |separator| separator.as_bytes());
    if first > last {
        let empty = call.string(b"")?;
        return call.return_value(empty);
    }
    let mut total = 0usize;
    for at in first..=last {
        let value = table.get_integer(at);
        let Some(length) = piece_length(value) else {
            call.charge(fuel::values(at.abs_diff(first) as usize));
            return Err(piece_error(call, value, at));
        };
        total = total.saturating_add(length + separator.len());
    }
    total -= separator.len();
    if total > LENGTH_MAX {
        return Err(call.error("resulting string too large"));
    }
    let checked = if total > SHORT_STRING_MAX { call.context().accounting().check(total) } else { Ok(()) };
    call.charge(fuel::STRING + fuel::items((last - first) as usize));
    checked?;
    call.charge(fuel::copied(total));
    let mut text = Vec::with_capacity(total);
    for at in first..=last {
        match table.get_integer(at) {
            Value::String(string) => text.extend_from_slice(string.as_bytes()),
            number => append_number(number, &mut text),
        }
        if at < last {
            text.extend_from_slice(separator);
        }
    }
    let string = call.new_string(text)?;
    call.return_value(string)
}

fn pack<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let context: Context<'gc> = call.context();
    let count = call.arg_count();
    call.charge(fuel::items(count));
    context.accounting().check(count * 16)?;
    let table = Table::new(context, count, 1);
    for index in 1..=count {
        table.append_or_set(context, index as i64, call.arg(index))?;
    }
    call.set_raw(table, Value::String(context.string(b"n")), Value::Integer(count as i64))?;
    call.return_value(Value::Table(table))
}

/// Scratch slot 0: the last position; the values follow. State `READ + n`: n values have been read.
fn unpack<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    let object = call.arg(1);
    let first = call.opt_integer(2, 1)?;
    let mut state = call.state();
    if state == START {
        call.reserve(base + 1)?;
        if call.arg(3).is_nil() {
            step!(call.measure(base, object, MEASURED));
        } else {
            let last = call.check_integer(3)?;
            call.set_slot(base, Value::Integer(last));
        }
        state = MEASURED;
    }
    if state == MEASURED {
        let last = call.length_in(base)?;
        if first > last {
            return call.return_none();
        }
        let count = (last as u64).wrapping_sub(first as u64);
        if count >= LENGTH_MAX as u64 || !call.fits_stack(base + 3 + count as usize) {
            return Err(call.error("too many results to unpack"));
        }
        let count = count as usize + 1;
        call.charge(fuel::items(count));
        call.reserve(base + 1 + count)?;
        call.set_slot(base, Value::Integer(last));
        if let Some(table) = plain_table(call, object) {
            for index in 0..count {
                call.set_slot(index, table.get_integer(first.wrapping_add(index as i64)));
            }
            return Ok(Action::Return { first: 0, count: count as u32 });
        }
        state = READ;
    }
    let last = integer_in(call, base);
    let count = (last.wrapping_sub(first) as u64).saturating_add(1);
    if count > LENGTH_MAX as u64 || !call.fits_stack(base + 2 + count as usize) {
        return Err(call.state_error());
    }
    let count = count as usize;
    call.reserve(base + 1 + count)?;
    while ((state - READ) as usize) < count {
        let index = (state - READ) as usize;
        state += 1;
        step!(call.read(base + 1 + index, object, Value::Integer(first.wrapping_add(index as i64)), state));
    }
    Ok(Action::Return { first: base as u32 + 1, count: count as u32 })
}
