//! The operating system library (manual §6.9): time, dates and environment for every host, files and processes where the host
//! has them.
//!
//! Time, its zone and environment come from the host; the locale is C.

use super::Functions;
use super::io::{check_path, return_failure, return_process_end, return_result, with_files};
use super::steps::step;
use crate::call::{Action, Call, c_string};
use crate::error::Error;
use crate::fuel;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::host::TimeZone;
use crate::host::files::FileError;
use crate::text::date::{
    DATE_UNREPRESENTABLE, Date, Fields, TIME_UNREPRESENTABLE, field_in_range, to_epoch, write_date,
};

pub(super) const FUNCTIONS: Functions = &[
    ("os.clock", clock),
    ("os.date", date),
    ("os.difftime", difference),
    ("os.getenv", get_environment),
    ("os.setlocale", set_locale),
    ("os.time", time),
];

/// What needs a host with files.
pub(super) const FILES: Functions =
    &[("os.execute", execute), ("os.remove", remove), ("os.rename", rename), ("os.tmpname", temporary_name)];

/// What needs a host that can end the program.
pub(super) const EXIT: Functions = &[("os.exit", exit)];

const NOT_AVAILABLE: &str = "time is not available here";

fn clock<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let seconds = call.context().root().host.borrow_mut().clock();
    let seconds = seconds.ok_or_else(|| call.error(NOT_AVAILABLE))?;
    call.return_value(Value::Float(seconds))
}

fn get_environment<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = c_string(call.check_string(1)?.as_bytes());
    let value = call.context().root().host.borrow_mut().environment(name);
    let value = match value {
        Some(value) => call.string(&value)?,
        None => Value::Nil,
    };
    call.return_value(value)
}

fn difference<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (later, earlier) = (call.check_integer(1)?, call.check_integer(2)?);
    call.return_value(Value::Float(later as f64 - earlier as f64))
}

/// The C locale is all there is: `nil`, "" and its names answer "C".
fn set_locale<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let locale = call.opt_string(1)?;
    call.check_option(2, Some("all"), &["all", "collate", "ctype", "monetary", "numeric", "time"])?;
    let known = locale.is_none_or(|locale| matches!(c_string(locale.as_bytes()), b"" | b"C" | b"POSIX"));
    let result = if known { call.string(b"C")? } else { Value::Nil };
    call.return_value(result)
}

fn exit<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    // An image may come from a host that can.
    if !call.context().root().host.borrow_mut().can_exit() {
        return Err(call.error("'exit' not supported"));
    }
    let code = match call.arg(1) {
        Value::Boolean(success) => i32::from(!success),
        // C's `exit` takes an `int`: the rest is cut off.
        _ => call.opt_integer(1, 0)? as i32,
    };
    Ok(Action::Exit { code, close: call.arg(2).is_truthy() })
}

/// Runs a command, or asks whether there is a shell to do so.
fn execute<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let Some(command) = call.opt_string(1)? else {
        let has_shell = with_files(call.context(), |files| Ok(files.has_shell())).unwrap_or(false);
        return call.return_value(Value::Boolean(has_shell));
    };
    let command = c_string(command.as_bytes());
    let end = with_files(call.context(), |files| {
        files.run_command(command).unwrap_or_else(|| Err(FileError::not_supported()))
    });
    match end {
        Ok(end) => return_process_end(call, end),
        Err(error) => return_failure(call, &error, None),
    }
}

fn remove<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let path = check_path(call, 1)?;
    let result = with_files(call.context(), |files| files.remove(path));
    return_result(call, result, Some(path))
}

fn rename<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (from, to) = (check_path(call, 1)?, check_path(call, 2)?);
    let result = with_files(call.context(), |files| files.rename(from, to));
    return_result(call, result, None)
}

fn temporary_name<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = with_files(call.context(), |files| files.temporary_name());
    let name = name.map_err(|_| call.error("unable to generate a unique filename"))?;
    let name = call.string(&name)?;
    call.return_value(name)
}

fn now<'gc>(call: &Call<'_, 'gc>) -> Result<i64, Error<'gc>> {
    let now = call.context().root().host.borrow_mut().time();
    now.ok_or_else(|| call.error(NOT_AVAILABLE))
}

fn zone_at(call: &Call<'_, '_>, seconds: i64) -> TimeZone {
    call.context().root().host.borrow_mut().time_zone(seconds)
}

/// The fields that `os.time` reads: name, what a missing one stands for, and what C counts from.
const FIELDS: [(&str, Option<i64>, i64); 6] = [
    ("year", None, 1900),
    ("month", None, 1),
    ("day", None, 0),
    ("hour", Some(12), 0),
    ("min", Some(0), 0),
    ("sec", Some(0), 0),
];

/// The field behind them, which may be missing.
const IS_DAYLIGHT_SAVING: &str = "isdst";
const FIELDS_READ: usize = FIELDS.len() + 1;

/// State n: field n has been read into scratch slot n - 1; after the last one, the normalized fields are written back.
fn time<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    let mut state = call.state() as usize;
    if state == 0 {
        if call.arg(1).is_nil() {
            let now = now(call)?;
            return call.return_value(Value::Integer(now));
        }
        call.check_table(1)?;
        call.charge(fuel::DATE);
        call.reserve(base + FIELDS_READ + 1)?;
    }
    let object = call.arg(1);
    while state < FIELDS_READ {
        if state > 0 {
            read_field(call, state - 1)?;
        }
        let name = FIELDS.get(state).map_or(IS_DAYLIGHT_SAVING, |field| field.0);
        let key = Value::String(call.context().string(name.as_bytes()));
        step!(call.read(base + state, object, key, state as u32 + 1));
        state += 1;
    }
    let mut values = [0; FIELDS.len()];
    for (index, value) in values.iter_mut().enumerate() {
        *value = read_field(call, index)?;
    }
    let [year, month, day, hour, minute, second] = values;
    let is_daylight_saving = match call.slot(base + FIELDS.len()) {
        Value::Nil => None,
        value => Some(value.is_truthy()),
    };
    let fields = Fields { year, month, day, hour, minute, second };
    let seconds = to_epoch(&fields, is_daylight_saving, |moment| zone_at(call, moment));
    let seconds = seconds.ok_or_else(|| call.error(TIME_UNREPRESENTABLE))?;
    let zone = zone_at(call, seconds);
    let date = Date::in_zone(seconds, &zone).ok_or_else(|| call.error(TIME_UNREPRESENTABLE))?;
    for (name, value) in date_fields(&date, &zone).into_iter().skip(state - FIELDS_READ) {
        let key = Value::String(call.context().string(name.as_bytes()));
        state += 1;
        step!(call.assign(base + FIELDS_READ, object, key, value, state as u32));
    }
    call.return_value(Value::Integer(seconds))
}

/// Field `index`, which has been read into its slot.
fn read_field<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<i64, Error<'gc>> {
    let (name, default, base) = FIELDS[index];
    let value = call.slot(call.scratch() + index);
    match (value.to_integer(), default) {
        (Some(integer), _) if field_in_range(integer, base) => Ok(integer),
        (Some(_), _) => Err(call.error(format!("field '{name}' is out-of-bound"))),
        (None, _) if !value.is_nil() => Err(call.error(format!("field '{name}' is not an integer"))),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(call.error(format!("field '{name}' missing in date table"))),
    }
}

/// The fields of a date table in the order in which they are set.
fn date_fields<'gc>(date: &Date, zone: &TimeZone) -> [(&'static str, Value<'gc>); 9] {
    [
        ("year", Value::Integer(date.year)),
        ("month", Value::Integer(date.month)),
        ("day", Value::Integer(date.day)),
        ("hour", Value::Integer(date.hour)),
        ("min", Value::Integer(date.minute)),
        ("sec", Value::Integer(date.second)),
        ("yday", Value::Integer(date.yearday)),
        ("wday", Value::Integer(date.weekday)),
        (IS_DAYLIGHT_SAVING, Value::Boolean(zone.is_daylight_saving)),
    ]
}

fn date<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let format = call.opt_string(1)?.map_or(&b"%c"[..], |format| format.as_bytes());
    let seconds = if call.arg(2).is_nil() { now(call)? } else { call.check_integer(2)? };
    let (format, zone) = match format {
        [b'!', rest @ ..] => (rest, TimeZone { name: "GMT".to_owned(), ..TimeZone::utc() }),
        _ => (format, zone_at(call, seconds)),
    };
    let date = Date::in_zone(seconds, &zone).ok_or_else(|| call.error(DATE_UNREPRESENTABLE))?;
    if c_string(format) == b"*t" {
        let table = Table::new(call.context(), 0, 9);
        for (name, value) in date_fields(&date, &zone) {
            let key = Value::String(call.context().string(name.as_bytes()));
            call.set_raw(table, key, value)?;
        }
        return call.return_value(Value::Table(table));
    }
    call.charge(fuel::DATE + format.len() * fuel::DIRECTIVE);
    // No conversion writes more than some 40 bytes.
    call.context().accounting().check(format.len() * 20)?;
    let mut text = Vec::new();
    if let Err(error) = write_date(&date, format, &zone.name, &mut text) {
        return Err(call.machine.arg_error(1, &error.message()));
    }
    let text = call.new_string(text)?;
    call.return_value(text)
}
