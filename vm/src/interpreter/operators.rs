//! Operators beyond the dispatch loop's fast paths: mixed numbers, numeric strings, metamethods, errors.

use std::cmp::Ordering;

use super::{Flow, Machine};
use crate::arithmetic::{
    compare_integer_float, float_floor_divide, float_modulo, float_to_integer, integer_floor_divide, integer_modulo,
    power, shift_left, shift_right,
};
use crate::call::append_number;
use crate::error::Error;
use crate::fuel;
use crate::heap::coroutine::WANT_FINISH;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;
use crate::text::bytes;

/// A binary or unary arithmetic or bitwise operator; for a unary one both operands are the same.
pub(crate) type Operator = Metamethod;

fn is_bitwise(operator: Operator) -> bool {
    matches!(operator, Operator::BAnd | Operator::BOr | Operator::BXor | Operator::Shl | Operator::Shr | Operator::BNot)
}

/// Why numbers cannot be combined.
enum Refusal {
    DivideByZero,
    ModuloByZero,
    NoInteger,
}

/// The operator on two numbers.
fn on_numbers<'gc>(operator: Operator, left: Value<'gc>, right: Value<'gc>) -> Result<Value<'gc>, Refusal> {
    if is_bitwise(operator) {
        let (Some(a), Some(b)) = (as_integer(left), as_integer(right)) else {
            return Err(Refusal::NoInteger);
        };
        return Ok(Value::Integer(match operator {
            Operator::BAnd => a & b,
            Operator::BOr => a | b,
            Operator::BXor => a ^ b,
            Operator::Shl => shift_left(a, b),
            Operator::Shr => shift_right(a, b),
            _ => !a,
        }));
    }
    if let (Value::Integer(a), Value::Integer(b)) = (left, right) {
        match operator {
            Operator::Add => return Ok(Value::Integer(a.wrapping_add(b))),
            Operator::Sub => return Ok(Value::Integer(a.wrapping_sub(b))),
            Operator::Mul => return Ok(Value::Integer(a.wrapping_mul(b))),
            Operator::Unm => return Ok(Value::Integer(a.wrapping_neg())),
            Operator::IDiv => {
                return integer_floor_divide(a, b).map(Value::Integer).ok_or(Refusal::DivideByZero);
            }
            Operator::Mod => {
                return integer_modulo(a, b).map(Value::Integer).ok_or(Refusal::ModuloByZero);
            }
            _ => {}
        }
    }
    let (a, b) = (left.to_float().unwrap_or(f64::NAN), right.to_float().unwrap_or(f64::NAN));
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::Mod => float_modulo(a, b),
        Operator::Pow => power(a, b),
        Operator::IDiv => float_floor_divide(a, b),
        _ => -a,
    }))
}

fn as_integer(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(integer),
        Value::Float(float) => float_to_integer(float),
        _ => None,
    }
}

fn is_number(value: Value<'_>) -> bool {
    matches!(value, Value::Integer(_) | Value::Float(_))
}

impl<'gc> Machine<'gc> {
    /// An arithmetic or bitwise instruction whose operands are not the usual ones.
    #[inline(never)]
    pub(crate) fn arithmetic(
        &mut self,
        operator: Operator,
        target: usize,
        left: Value<'gc>,
        right: Value<'gc>,
    ) -> Result<Flow, Error<'gc>> {
        self.fuel -= fuel::SLOW_PATH;
        match self.arithmetic_value(operator, left, right)? {
            Some(value) => {
                self.set_slot(target, value);
                Ok(Flow::Continue)
            }
            None => {
                let handler = self.binary_handler(operator, left, right);
                self.call_metamethod(handler, &[left, right], WANT_FINISH)
            }
        }
    }

    /// The operator's value, or `None` if a metamethod has to be called.
    pub(crate) fn arithmetic_value(
        &mut self,
        operator: Operator,
        left: Value<'gc>,
        right: Value<'gc>,
    ) -> Result<Option<Value<'gc>>, Error<'gc>> {
        if !is_number(left) || !is_number(right) {
            // Strings are converted by the string library's metamethods (manual §3.4.3).
            return if self.binary_handler(operator, left, right).is_nil() {
                Err(self.operand_error(operator, left, right))
            } else {
                Ok(None)
            };
        }
        match on_numbers(operator, left, right) {
            Ok(value) => Ok(Some(value)),
            Err(Refusal::DivideByZero) => Err(self.runtime_error(b"attempt to divide by zero")),
            Err(Refusal::ModuloByZero) => Err(self.runtime_error(b"attempt to perform 'n%0'")),
            Err(Refusal::NoInteger) if self.binary_handler(operator, left, right).is_nil() => {
                Err(self.no_integer_error(left, right))
            }
            Err(Refusal::NoInteger) => Ok(None),
        }
    }

    fn binary_handler(&mut self, operator: Operator, left: Value<'gc>, right: Value<'gc>) -> Value<'gc> {
        match self.context.metamethod(left, operator) {
            Value::Nil => self.context.metamethod(right, operator),
            handler => handler,
        }
    }

    fn operand_error(&mut self, operator: Operator, left: Value<'gc>, right: Value<'gc>) -> Error<'gc> {
        // The first operand is to blame unless it is a number.
        let culprit = if is_number(left) { right } else { left };
        if is_bitwise(operator) {
            return self.operation_error("perform bitwise operation on", culprit);
        }
        self.operation_error("perform arithmetic on", culprit)
    }

    /// `left == right` when it is neither raw equality nor plainly false: the handler to call, if there is one.
    pub(crate) fn equality_handler(&mut self, left: Value<'gc>, right: Value<'gc>) -> Option<Value<'gc>> {
        let comparable =
            matches!((left, right), (Value::Table(_), Value::Table(_)) | (Value::Userdata(_), Value::Userdata(_)));
        if !comparable {
            return None;
        }
        match self.binary_handler(Metamethod::Eq, left, right) {
            Value::Nil => None,
            handler => Some(handler),
        }
    }

    /// `left < right` or `left <= right` (for `Lt` or `Le`): the answer, or the handler to call.
    pub(crate) fn compare(
        &mut self,
        operator: Metamethod,
        left: Value<'gc>,
        right: Value<'gc>,
    ) -> Result<Result<bool, Value<'gc>>, Error<'gc>> {
        let order = match (left, right) {
            (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(&b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(&b),
            (Value::Integer(a), Value::Float(b)) => compare_integer_float(a, b),
            (Value::Float(a), Value::Integer(b)) => compare_integer_float(b, a).map(Ordering::reverse),
            (Value::String(a), Value::String(b)) => {
                self.fuel -= fuel::compared(a.len().min(b.len())) as i64;
                Some(bytes::compare(a.as_bytes(), b.as_bytes()))
            }
            _ => {
                return match self.binary_handler(operator, left, right) {
                    Value::Nil => Err(self.comparison_error(left, right)),
                    handler => Ok(Err(handler)),
                };
            }
        };
        Ok(Ok(match operator {
            Metamethod::Lt => order == Some(Ordering::Less),
            _ => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }))
    }

    /// `#value` into slot `target`.
    #[inline(never)]
    pub(crate) fn length(&mut self, target: usize, value: Value<'gc>) -> Result<Flow, Error<'gc>> {
        let handler = match value {
            Value::String(string) => {
                self.set_slot(target, Value::Integer(string.len() as i64));
                return Ok(Flow::Continue);
            }
            _ => self.context.metamethod(value, Metamethod::Len),
        };
        match (handler, value) {
            (Value::Nil, Value::Table(table)) => {
                self.set_slot(target, Value::Integer(table.length()));
                Ok(Flow::Continue)
            }
            (Value::Nil, _) => Err(self.operation_error("get length of", value)),
            _ => self.call_metamethod(handler, &[value, value], WANT_FINISH),
        }
    }

    /// Concatenates the `count` values from slot `first` on, right to left, into slot `first`.
    #[inline(never)]
    pub(crate) fn concatenate(&mut self, first: usize, count: usize) -> Result<Flow, Error<'gc>> {
        let mut count = count;
        while count > 1 {
            let (left, right) = (self.slot(first + count - 2), self.slot(first + count - 1));
            if !is_concatenable(left) || !is_concatenable(right) {
                let handler = self.binary_handler(Metamethod::Concat, left, right);
                if handler.is_nil() {
                    let culprit = first + count - if is_concatenable(left) { 1 } else { 2 };
                    return Err(self.slot_error("concatenate", culprit));
                }
                self.top_frame_mut().state = count as u32 - 1;
                return self.call_metamethod(handler, &[left, right], WANT_FINISH);
            }
            // As many operands at once as are strings or numbers.
            let mut start = count - 2;
            while start > 0 && is_concatenable(self.slot(first + start - 1)) {
                start -= 1;
            }
            let joined = self.join(first + start, count - start)?;
            self.set_slot(first + start, joined);
            count = start + 1;
            // With operands joined, the instruction cannot be run again from its start.
            self.memory_retry |= count > 1;
        }
        Ok(Flow::Continue)
    }

    fn join(&mut self, first: usize, count: usize) -> Result<Value<'gc>, Error<'gc>> {
        let mut length = 0usize;
        for position in first..first + count {
            length += match self.slot(position) {
                Value::String(string) => string.len(),
                _ => 24,
            };
        }
        if length >= i32::MAX as usize {
            return Err(self.runtime_error(b"string length overflow"));
        }
        if let [Value::String(left), Value::String(right)] = self.state().stack[first..first + count] {
            if left.is_empty() {
                return Ok(Value::String(right));
            }
            if right.is_empty() {
                return Ok(Value::String(left));
            }
        }
        let mut short = [0u8; crate::heap::string::SHORT_STRING_MAX];
        if length <= short.len()
            && let Some(filled) = self.join_strings(first, count, &mut short)
        {
            return Ok(Value::String(self.context.string(&short[..filled])));
        }
        self.context.accounting().check(length)?;
        self.fuel -= (fuel::copied(length) + fuel::values(count)) as i64;
        let mut text = Vec::with_capacity(length);
        for position in first..first + count {
            match self.slot(position) {
                Value::String(string) => text.extend_from_slice(string.as_bytes()),
                number => append_number(number, &mut text),
            }
        }
        Ok(Value::String(self.context.string_from(text)))
    }

    /// Joins operands that are all strings in a buffer on the Rust stack.
    fn join_strings(&self, first: usize, count: usize, buffer: &mut [u8]) -> Option<usize> {
        let mut filled = 0;
        for position in first..first + count {
            let Value::String(string) = self.slot(position) else {
                return None;
            };
            buffer[filled..filled + string.len()].copy_from_slice(string.as_bytes());
            filled += string.len();
        }
        Some(filled)
    }
}

fn is_concatenable(value: Value<'_>) -> bool {
    matches!(value, Value::String(_) | Value::Integer(_) | Value::Float(_))
}
