//! The metamethods of strings: arithmetic on numerals (manual §3.4.3).

use crate::call::{Action, Call};
use crate::error::Error;
use crate::heap::value::Value;
use crate::library::Functions;
use crate::metamethod::Metamethod;

pub(in crate::library) const METAMETHODS: Functions = &[
    ("string.__add", |call| arithmetic(call, Metamethod::Add)),
    ("string.__sub", |call| arithmetic(call, Metamethod::Sub)),
    ("string.__mul", |call| arithmetic(call, Metamethod::Mul)),
    ("string.__mod", |call| arithmetic(call, Metamethod::Mod)),
    ("string.__pow", |call| arithmetic(call, Metamethod::Pow)),
    ("string.__div", |call| arithmetic(call, Metamethod::Div)),
    ("string.__idiv", |call| arithmetic(call, Metamethod::IDiv)),
    ("string.__unm", |call| arithmetic(call, Metamethod::Unm)),
];

/// The operator on two numbers or numerals, or else what the second operand's metamethod makes of them.
#[inline(never)]
fn arithmetic<'gc>(call: &mut Call<'_, 'gc>, operator: Metamethod) -> Result<Action, Error<'gc>> {
    let at = call.scratch();
    if call.state() == 1 {
        let value = call.slot(at);
        return call.return_value(value);
    }
    let left = call.arg(1);
    // Called with one operand, PUC Lua takes it twice.
    let right = if call.arg_count() == 1 { left } else { call.arg(2) };
    if let (Some(a), Some(b)) = (left.to_number(), right.to_number())
        && let Some(value) = call.machine.arithmetic_value(operator, a, b)?
    {
        return call.return_value(value);
    }
    match (right, call.context().metamethod(right, operator)) {
        (Value::String(_), _) | (_, Value::Nil) => {
            let (left, right) = (left.type_name(), right.type_name());
            let operation = &operator.name()[2..];
            Err(call.error(format!("attempt to {operation} a '{left}' with a '{right}'")))
        }
        (_, handler) => call.call_unyieldable(at, handler, &[left, right], 1, 1),
    }
}
