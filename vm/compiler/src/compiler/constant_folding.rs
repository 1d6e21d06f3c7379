//! Operators applied to constants at compile time, under the same conditions as in C Lua.
//!
//! Nothing folds that could raise an error, and no arithmetic whose result is NaN or a float zero (constants do not
//! tell the zeros apart). Comparisons and concatenations are left to run time.

use super::ast::{BinaryOperator, Literal, UnaryOperator};
use crate::arithmetic;

/// The value of `operator operand`, if it is known.
pub(super) fn fold_unary(operator: UnaryOperator, operand: Literal) -> Option<Literal> {
    match (operator, operand) {
        (UnaryOperator::Not, operand) => Some(if operand.is_truthy() { Literal::False } else { Literal::True }),
        (UnaryOperator::Negate, Literal::Integer(value)) => Some(Literal::Integer(value.wrapping_neg())),
        (UnaryOperator::Negate, Literal::Float(value)) => foldable_float(-value),
        (UnaryOperator::BitwiseNot, operand) => Some(Literal::Integer(!integer_value(operand)?)),
        _ => None,
    }
}

/// The value of `left operator right` for an arithmetic or bitwise operator, if it is known.
pub(super) fn fold_binary(operator: BinaryOperator, left: Literal, right: Literal) -> Option<Literal> {
    use BinaryOperator as B;
    match operator {
        B::BitwiseAnd | B::BitwiseOr | B::BitwiseXor | B::ShiftLeft | B::ShiftRight => {
            let (a, b) = (integer_value(left)?, integer_value(right)?);
            Some(Literal::Integer(match operator {
                B::BitwiseAnd => a & b,
                B::BitwiseOr => a | b,
                B::BitwiseXor => a ^ b,
                B::ShiftLeft => arithmetic::shift_left(a, b),
                _ => arithmetic::shift_right(a, b),
            }))
        }
        B::Add | B::Subtract | B::Multiply | B::Modulo | B::FloorDivide => match (left, right) {
            (Literal::Integer(a), Literal::Integer(b)) => fold_integers(operator, a, b).map(Literal::Integer),
            _ => fold_floats(operator, float_value(left)?, float_value(right)?),
        },
        B::Divide | B::Power => fold_floats(operator, float_value(left)?, float_value(right)?),
        _ => None,
    }
}

fn fold_integers(operator: BinaryOperator, a: i64, b: i64) -> Option<i64> {
    match operator {
        BinaryOperator::Add => Some(a.wrapping_add(b)),
        BinaryOperator::Subtract => Some(a.wrapping_sub(b)),
        BinaryOperator::Multiply => Some(a.wrapping_mul(b)),
        BinaryOperator::Modulo => arithmetic::integer_modulo(a, b),
        BinaryOperator::FloorDivide => arithmetic::integer_floor_divide(a, b),
        _ => None,
    }
}

fn fold_floats(operator: BinaryOperator, a: f64, b: f64) -> Option<Literal> {
    let divides = matches!(operator, BinaryOperator::Divide | BinaryOperator::Modulo | BinaryOperator::FloorDivide);
    if divides && b == 0.0 {
        return None;
    }
    foldable_float(match operator {
        BinaryOperator::Add => a + b,
        BinaryOperator::Subtract => a - b,
        BinaryOperator::Multiply => a * b,
        BinaryOperator::Divide => a / b,
        BinaryOperator::Modulo => arithmetic::float_modulo(a, b),
        BinaryOperator::FloorDivide => arithmetic::float_floor_divide(a, b),
        BinaryOperator::Power => arithmetic::power(a, b),
        _ => return None,
    })
}

fn foldable_float(value: f64) -> Option<Literal> {
    (!value.is_nan() && value != 0.0).then_some(Literal::Float(value))
}

fn float_value(literal: Literal) -> Option<f64> {
    match literal {
        Literal::Integer(value) => Some(value as f64),
        Literal::Float(value) => Some(value),
        _ => None,
    }
}

fn integer_value(literal: Literal) -> Option<i64> {
    match literal {
        Literal::Integer(value) => Some(value),
        Literal::Float(value) => arithmetic::float_to_integer(value),
        _ => None,
    }
}
