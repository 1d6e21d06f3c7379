//! Library functions that mostly look at their arguments and have a result at once: they are called without a frame of their own.
//!
//! Each is a short cut through the function of the same name, for arguments of the usual types and one result. Whatever else there may be (other
//! types, conversions, metamethods, errors, more results) is left to that function, which is then called as always. Both cost the same fuel, so that
//! nobody can tell which of them ran.

use super::base::append_text;
use super::math::integral;
use super::string::{end_position, start_position};
use crate::context::Context;
use crate::fuel;
use crate::heap::native::Role;
use crate::heap::value::Value;
use crate::interpreter::Machine;
use crate::metamethod::Metamethod;

/// One of these functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Assert,
    GetMetatable,
    RawEqual,
    RawGet,
    RawLength,
    Select,
    SetMetatable,
    ToString,
    Type,
    StringByte,
    StringCharacter,
    StringLength,
    StringPart,
    TableInsert,
    Absolute,
    Ceiling,
    Floor,
    Maximum,
    Minimum,
    SquareRoot,
}

/// Their names.
const NAMED: &[(&str, Leaf)] = &[
    ("assert", Leaf::Assert),
    ("getmetatable", Leaf::GetMetatable),
    ("rawequal", Leaf::RawEqual),
    ("rawget", Leaf::RawGet),
    ("rawlen", Leaf::RawLength),
    ("select", Leaf::Select),
    ("setmetatable", Leaf::SetMetatable),
    ("tostring", Leaf::ToString),
    ("type", Leaf::Type),
    ("string.byte", Leaf::StringByte),
    ("string.char", Leaf::StringCharacter),
    ("string.len", Leaf::StringLength),
    ("string.sub", Leaf::StringPart),
    ("table.insert", Leaf::TableInsert),
    ("math.abs", Leaf::Absolute),
    ("math.ceil", Leaf::Ceiling),
    ("math.floor", Leaf::Floor),
    ("math.max", Leaf::Maximum),
    ("math.min", Leaf::Minimum),
    ("math.sqrt", Leaf::SquareRoot),
];

/// The role of the library function with this name, which is none of the special ones.
pub(super) fn role_of(name: &str) -> Role {
    let found = NAMED.iter().find(|(known, _)| *known == name);
    found.map_or(Role::Plain, |(_, leaf)| Role::Leaf(*leaf))
}

impl Leaf {
    /// The only result with these arguments; nothing was done if there is none. `want` results are wanted, or all for -1; a function without
    /// results gives nil if just the number that it is filled up to is known.
    #[inline]
    pub(crate) fn run<'gc>(self, machine: &mut Machine<'gc>, args: &[Value<'gc>], want: i32) -> Option<Value<'gc>> {
        let context = machine.context;
        Some(match (self, args) {
            (Leaf::StringByte, [Value::String(text)]) => Value::Integer((*text.as_bytes().first()?).into()),
            (Leaf::StringByte, [Value::String(text), Value::Integer(position)]) => {
                let index = usize::try_from(*position).ok()?.checked_sub(1)?;
                Value::Integer((*text.as_bytes().get(index)?).into())
            }
            (Leaf::StringPart, [Value::String(source), Value::Integer(start), rest @ ..]) => {
                let end = match rest {
                    [] => -1,
                    [Value::Integer(end), ..] => *end,
                    _ => return None,
                };
                let text = source.as_bytes();
                let (start, end) = (start_position(*start, text.len()), end_position(end, text.len()));
                if start == 1 && end == text.len() {
                    return Some(Value::String(*source));
                }
                string(machine, if start > end { &[] } else { &text[start - 1..end] })?
            }
            (Leaf::StringLength, [Value::String(text), ..]) => Value::Integer(text.len() as i64),
            (Leaf::StringCharacter, [Value::Integer(code)]) => string(machine, &[u8::try_from(*code).ok()?])?,
            (Leaf::Type, [value, ..]) => Value::String(context.string(value.type_name().as_bytes())),
            (Leaf::Select, [Value::Integer(index), rest @ ..]) if want == 1 => selected(*index, rest)?,
            (Leaf::Select, [Value::String(text), rest @ ..]) if text.as_bytes().first() == Some(&b'#') => {
                Value::Integer(rest.len() as i64)
            }
            (Leaf::SetMetatable, [Value::Table(table), Value::Table(metatable), ..]) => {
                if !context.metamethod(args[0], Metamethod::Metatable).is_nil() {
                    return None;
                }
                context.set_metatable(*table, Some(*metatable));
                args[0]
            }
            (Leaf::GetMetatable, [value @ Value::Table(_), ..]) => match context.metatable(*value) {
                None => Value::Nil,
                Some(metatable) => match metatable.metamethod(context, Metamethod::Metatable) {
                    Value::Nil => Value::Table(metatable),
                    shown => shown,
                },
            },
            (Leaf::RawGet, [Value::Table(table), key, ..]) if !table.is_ghost() => table.get(*key),
            (Leaf::RawEqual, [left, right, ..]) => Value::Boolean(left.raw_equals(*right)),
            (Leaf::RawLength, [Value::Table(table), ..]) if !table.is_ghost() => Value::Integer(table.length()),
            (Leaf::ToString, [value @ (Value::String(_) | Value::Integer(_)), ..]) => text_of(machine, *value)?,
            (Leaf::Assert, [value, rest @ ..]) if value.is_truthy() && (want >= 0 || rest.is_empty()) => {
                if want > 1 && !rest.is_empty() {
                    return None;
                }
                *value
            }
            (Leaf::TableInsert, [Value::Table(table), value]) if want >= 0 && table.metatable().is_none() => {
                let key = table.length() + 1;
                table.set_integer(context, key, *value).ok()?;
                Value::Nil
            }
            (Leaf::Floor | Leaf::Ceiling, [integer @ Value::Integer(_), ..]) => *integer,
            (Leaf::Floor, [Value::Float(float), ..]) => integral(float.floor()),
            (Leaf::Ceiling, [Value::Float(float), ..]) => integral(float.ceil()),
            (Leaf::Absolute, [Value::Integer(integer), ..]) => Value::Integer(integer.wrapping_abs()),
            (Leaf::Absolute, [Value::Float(float), ..]) => Value::Float(float.abs()),
            (Leaf::SquareRoot, [Value::Integer(integer), ..]) => Value::Float((*integer as f64).sqrt()),
            (Leaf::SquareRoot, [Value::Float(float), ..]) => Value::Float(float.sqrt()),
            // The first of two equal ones, and of two of which one is not a number.
            (Leaf::Maximum, [Value::Integer(left), Value::Integer(right)]) => Value::Integer(*left.max(right)),
            (Leaf::Minimum, [Value::Integer(left), Value::Integer(right)]) => Value::Integer(*left.min(right)),
            (Leaf::Maximum, [Value::Float(left), Value::Float(right)]) => {
                Value::Float(if left < right { *right } else { *left })
            }
            (Leaf::Minimum, [Value::Float(left), Value::Float(right)]) => {
                Value::Float(if right < left { *right } else { *left })
            }
            _ => return None,
        })
    }
}

/// As `Call::string`.
fn string<'gc>(machine: &mut Machine<'gc>, bytes: &[u8]) -> Option<Value<'gc>> {
    let mut cost = fuel::STRING;
    if bytes.len() >= 64 {
        machine.context.accounting().check(bytes.len()).ok()?;
        cost += fuel::copied(bytes.len());
    }
    machine.fuel -= cost as i64;
    Some(Value::String(machine.context.string(bytes)))
}

/// What `select` gives first.
fn selected<'gc>(index: i64, rest: &[Value<'gc>]) -> Option<Value<'gc>> {
    let count = rest.len() as i64;
    let first = if index < 0 { count + index + 1 } else { index };
    match first {
        ..1 => None,
        _ => Some(rest.get(usize::try_from(first - 1).ok()?).copied().unwrap_or(Value::Nil)),
    }
}

/// What `tostring` gives.
fn text_of<'gc>(machine: &mut Machine<'gc>, value: Value<'gc>) -> Option<Value<'gc>> {
    let context: Context<'gc> = machine.context;
    if !context.metamethod(value, Metamethod::ToString).is_nil() {
        return None;
    }
    if let Value::String(_) = value {
        return Some(value);
    }
    let mut text = Vec::new();
    let _ = append_text(context, value, &mut text);
    machine.fuel -= fuel::STRING as i64;
    Some(Value::String(context.string_from(text)))
}
