//! Basic functions (manual §6.1), except the protected calls and loading.

use super::{Functions, Special, collect_garbage, name_permanent, set_field};
use crate::call::{Action, Call, append_number, c_string, number_to_string};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::string::LuaString;
use crate::heap::table::serial_cell;
use crate::heap::userdata::Userdata;
use crate::heap::value::Value;
use crate::interpreter::Indexed;
use crate::metamethod::Metamethod;
use crate::text::number::parse_integer_base;

pub(super) const FUNCTIONS: Functions = &[
    ("assert", assert),
    ("collectgarbage", collect_garbage::collect_garbage),
    ("error", error),
    ("getmetatable", get_metatable),
    ("pairs", pairs),
    ("print", print),
    ("rawequal", raw_equal),
    ("rawget", raw_get),
    ("rawlen", raw_len),
    ("rawset", raw_set),
    ("select", select),
    ("setmetatable", set_metatable),
    ("tonumber", to_number),
    ("tostring", to_string),
    ("type", type_name),
    ("warn", warn),
];

/// `next` and `ipairs`, which the interpreter's loops know.
pub(super) const SPECIAL: &[Special] = &[(NEXT, Role::Next), (STEP, Role::SequenceStep), (IPAIRS, Role::Plain)];

const NEXT: NativeDefinition = NativeDefinition { name: "next", code: next };
const STEP: NativeDefinition = NativeDefinition { name: "ipairs.step", code: sequence_step };
const IPAIRS: NativeDefinition = NativeDefinition { name: "ipairs", code: ipairs };

pub(super) fn open(context: Context<'_>) {
    let globals = context.globals();
    let next = Native::with_role(context, NEXT, &[], Role::Next);
    set_field(context, globals, "next", Value::Native(next));
    name_permanent(context, "next", Value::Native(next));
    let step = Native::with_role(context, STEP, &[], Role::SequenceStep);
    let ipairs = Native::new(context, IPAIRS, &[Value::Native(step)]);
    set_field(context, globals, "ipairs", Value::Native(ipairs));
    name_permanent(context, "ipairs", Value::Native(ipairs));
    name_permanent(context, "ipairs.step", Value::Native(step));
}

/// Text that `print` collects before it hands it on.
const PRINTED_AT_ONCE: usize = 4096;

fn print<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    // State n: `__tostring` of argument n has returned.
    let mut text = Vec::new();
    let done = call.state() as usize;
    if done > 0 {
        let shown = shown(call)?;
        if done > 1 {
            text.push(b'\t');
        }
        text.extend_from_slice(shown.as_bytes());
    }
    for index in done + 1..=call.arg_count() {
        let value = call.arg(index);
        if text.len() >= PRINTED_AT_ONCE {
            call.charge(fuel::scanned(text.len()));
            call.context().root().host.borrow_mut().write(&text);
            text.clear();
        }
        let end = text.len();
        if index > 1 {
            text.push(b'\t');
        }
        if let Some(handler) = append_text(call.context(), value, &mut text) {
            let at = call.scratch();
            call.reserve(at + 2)?;
            // The tab is written when there is something behind it.
            call.context().root().host.borrow_mut().write(&text[..end]);
            return call.call_unyieldable(at, handler, &[value], 1, index as u32);
        }
    }
    text.push(b'\n');
    call.charge(fuel::STRING + fuel::scanned(text.len()));
    call.context().root().host.borrow_mut().write(&text);
    call.return_none()
}

/// What a `__tostring` metamethod, called at the first scratch slot, has returned.
fn shown<'gc>(call: &Call<'_, 'gc>) -> Result<LuaString<'gc>, Error<'gc>> {
    match call.slot(call.scratch()) {
        Value::String(text) => Ok(text),
        number @ (Value::Integer(_) | Value::Float(_)) => Ok(number_to_string(call.context(), number)),
        _ => Err(call.error("'__tostring' must return a string")),
    }
}

/// Appends what `tostring` gives for a value, or answers the `__tostring` metamethod that has to be called for it.
pub(crate) fn append_text<'gc>(context: Context<'gc>, value: Value<'gc>, text: &mut Vec<u8>) -> Option<Value<'gc>> {
    match context.metamethod(value, Metamethod::ToString) {
        Value::Nil => {}
        handler => return Some(handler),
    }
    match value {
        Value::String(string) => text.extend_from_slice(string.as_bytes()),
        Value::Integer(_) | Value::Float(_) => append_number(value, text),
        Value::Nil => text.extend_from_slice(b"nil"),
        Value::Boolean(true) => text.extend_from_slice(b"true"),
        Value::Boolean(false) => text.extend_from_slice(b"false"),
        _ => {
            match context.metamethod(value, Metamethod::Name) {
                Value::String(name) => text.extend_from_slice(c_string(name.as_bytes())),
                _ => text.extend_from_slice(value.type_name().as_bytes()),
            }
            text.extend_from_slice(b": ");
            append_identity(context, value, text);
        }
    }
    None
}

/// Appends what `%p` shows: a number given at first use, never an address, so that it is the same everywhere.
pub(crate) fn append_identity<'gc>(context: Context<'gc>, value: Value<'gc>, text: &mut Vec<u8>) {
    let number = match value {
        Value::LightUserdata(number) => number,
        Value::String(string) => u64::from(context.string_serial(string)),
        _ => serial_cell(value).map_or(0, |cell| u64::from(context.serial(cell))),
    };
    text.extend_from_slice(format!("0x{number:014x}").as_bytes());
}

fn to_string<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == 1 {
        let shown = shown(call)?;
        return call.return_value(Value::String(shown));
    }
    let value = call.check_any(1)?;
    let mut text = Vec::new();
    match append_text(call.context(), value, &mut text) {
        None if matches!(value, Value::String(_)) => call.return_value(value),
        Some(handler) => call.call_unyieldable(call.scratch(), handler, &[value], 1, 1),
        None => {
            call.charge(fuel::STRING);
            let string = call.context().string_from(text);
            call.return_value(Value::String(string))
        }
    }
}

fn to_number<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.arg(2).is_nil() {
        let value = call.check_any(1)?;
        return call.return_value(value.to_number().unwrap_or(Value::Nil));
    }
    let base = call.check_integer(2)?;
    let Value::String(text) = call.arg(1) else {
        return Err(call.type_error(1, "string"));
    };
    if !(2..=36).contains(&base) {
        return Err(call.arg_error(2, "base out of range"));
    }
    call.charge(fuel::digits(text.len()));
    let number = parse_integer_base(text.as_bytes(), base as u32);
    call.return_value(number.map_or(Value::Nil, Value::Integer))
}

fn type_name<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = call.check_any(1)?.type_name();
    let name = call.context().string(name.as_bytes());
    call.return_value(Value::String(name))
}

fn assert<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.check_any(1)?.is_truthy() {
        return call.return_args_from(1);
    }
    Err(match call.arg(2) {
        Value::String(message) => call.error(message.as_bytes()),
        value if call.arg_count() >= 2 => Error::Thrown(value),
        _ => call.error("assertion failed!"),
    })
}

fn error<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let level = call.opt_integer(2, 1)?;
    match call.arg(1) {
        Value::String(message) if level > 0 => Err(call.machine.error_at_level(level as usize, message.as_bytes())),
        value => Err(Error::Thrown(value)),
    }
}

fn select<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let count = call.arg_count() as i64 - 1;
    // PUC Lua looks at the first byte only.
    if let Value::String(text) = call.arg(1)
        && text.as_bytes().first() == Some(&b'#')
    {
        return call.return_value(Value::Integer(count));
    }
    let index = call.check_integer(1)?;
    let first = if index < 0 { count + index + 1 } else { index.min(count + 1) };
    if first < 1 {
        return Err(call.arg_error(1, "index out of range"));
    }
    call.return_args_from(first as usize + 1)
}

pub(super) fn get_metatable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let value = call.check_any(1)?;
    let context = call.context();
    let result = match context.metatable(value) {
        None => Value::Nil,
        Some(metatable) => match metatable.metamethod(context, Metamethod::Metatable) {
            Value::Nil => Value::Table(metatable),
            shown => shown,
        },
    };
    call.return_value(result)
}

pub(super) fn set_metatable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let table = call.check_table(1)?;
    let metatable = match call.arg(2) {
        Value::Nil if call.arg_count() >= 2 => None,
        Value::Table(metatable) => Some(metatable),
        _ => return Err(call.type_error(2, "nil or table")),
    };
    let context = call.context();
    if !context.metamethod(Value::Table(table), Metamethod::Metatable).is_nil() {
        return Err(call.error("cannot change a protected metatable"));
    }
    context.set_metatable(table, metatable);
    call.return_value(Value::Table(table))
}

fn raw_equal<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let equal = call.check_any(1)?.raw_equals(call.check_any(2)?);
    call.return_value(Value::Boolean(equal))
}

fn raw_get<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let table = call.check_table(1)?;
    call.machine.fill(table)?;
    let value = table.get(call.check_any(2)?);
    call.return_value(value)
}

fn raw_set<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let table = call.check_table(1)?;
    let (key, value) = (call.check_any(2)?, call.check_any(3)?);
    call.machine.fill(table)?;
    if call.context().is_read_only(table) {
        return Err(call.error("attempt to change a read-only table"));
    }
    call.set_raw(table, key, value)?;
    call.return_value(Value::Table(table))
}

fn raw_len<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let length = match call.arg(1) {
        Value::Table(table) => {
            call.machine.fill(table)?;
            table.length()
        }
        Value::String(string) => string.len() as i64,
        _ => return Err(call.type_error(1, "table or string")),
    };
    call.return_value(Value::Integer(length))
}

fn next<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if let Value::Userdata(userdata) = call.arg(1) {
        return next_of_host(call, userdata);
    }
    let table = call.check_table(1)?;
    call.machine.fill(table)?;
    match table.next(call.arg(2)) {
        Ok(Some((key, value))) => call.return_values(&[key, value]),
        Ok(None) => call.return_value(Value::Nil),
        Err(_) => Err(call.machine.runtime_error(b"invalid key to 'next'")),
    }
}

/// What a host keeps outside the heap can be traversed: the field `__next` of its metatable is called in place of `next`.
#[cold]
fn next_of_host<'gc>(call: &mut Call<'_, 'gc>, userdata: Userdata<'gc>) -> Result<Action, Error<'gc>> {
    let at = call.scratch();
    if call.state() == 1 {
        return Ok(Action::Return { first: at as u32, count: call.results() as u32 });
    }
    let field = call.context().string(b"__next");
    match userdata.metatable().map_or(Value::Nil, |metatable| metatable.get_string(field)) {
        Value::Nil => Err(call.type_error(1, "table")),
        handler => call.call_unyieldable(at, handler, &[call.arg(1), call.arg(2)], -1, 1),
    }
}

fn pairs<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let at = call.scratch();
    if call.state() == 1 {
        return Ok(Action::Return { first: at as u32, count: 3 });
    }
    let value = call.check_any(1)?;
    match call.context().metamethod(value, Metamethod::Pairs) {
        Value::Nil => {
            let next = call.context().permanent(b"next");
            call.return_values(&[next, value, Value::Nil])
        }
        handler => call.call(at, handler, &[value], 3, 1),
    }
}

fn ipairs<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let value = call.check_any(1)?;
    let step = call.upvalue(0);
    call.return_values(&[step, value, Value::Integer(0)])
}

/// One step of `ipairs`: respects `__index`.
fn sequence_step<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let index = Value::Integer(call.check_integer(2)?.wrapping_add(1));
    let value = if call.state() == 1 {
        call.slot(call.scratch())
    } else {
        match call.machine.index(call.arg(1), index)? {
            Indexed::Value(value) => value,
            Indexed::Call(handler, object) => {
                return call.call_unyieldable(call.scratch(), handler, &[object, index], 1, 1);
            }
        }
    };
    if value.is_nil() { call.return_value(Value::Nil) } else { call.return_values(&[index, value]) }
}

fn warn<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let mut message = Vec::new();
    call.check_string(1)?;
    let strings = (1..=call.arg_count()).map(|index| Ok(call.check_string(index)?.len()));
    let length = strings.sum::<Result<usize, Error<'gc>>>()?;
    call.context().accounting().check(length)?;
    message.reserve_exact(length);
    for index in 1..=call.arg_count() {
        message.extend_from_slice(c_string(call.check_string(index)?.as_bytes()));
    }
    call.charge(fuel::copied(message.len()));
    let root = call.context().root();
    match (&message[..], call.arg_count()) {
        (b"@on", 1) => root.warnings_on.set(true),
        (b"@off", 1) => root.warnings_on.set(false),
        (control, 1) if control.first() == Some(&b'@') => {}
        _ if root.warnings_on.get() => root.host.borrow_mut().warn(&message),
        _ => {}
    }
    call.return_none()
}
