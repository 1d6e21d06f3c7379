//! Mathematics (manual §6.7). Transcendental functions come from `libm`, so that results are the same everywhere.
//!
//! Random numbers are xoshiro256**, drawn and projected as in PUC Lua 5.4; its state is part of the heap's root.

use super::steps::step;
use super::{Functions, set_field};
use crate::arithmetic::float_to_integer;
use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::heap::table::Table;
use crate::heap::value::Value;

pub(super) const FUNCTIONS: Functions = &[
    ("math.abs", abs),
    ("math.acos", acos),
    ("math.asin", asin),
    ("math.atan", atan),
    ("math.ceil", ceil),
    ("math.cos", cos),
    ("math.deg", deg),
    ("math.exp", exp),
    ("math.floor", floor),
    ("math.fmod", fmod),
    ("math.log", log),
    ("math.max", max),
    ("math.min", min),
    ("math.modf", modf),
    ("math.rad", rad),
    ("math.random", random),
    ("math.randomseed", random_seed),
    ("math.sin", sin),
    ("math.sqrt", sqrt),
    ("math.tan", tan),
    ("math.tointeger", to_integer),
    ("math.type", type_),
    ("math.ult", ult),
];

pub(super) fn open<'gc>(context: Context<'gc>, library: Table<'gc>, seed: u64) {
    set_constants(context, library);
    context.root().random.set(seeded(seed, 0));
}

pub(super) fn set_constants<'gc>(context: Context<'gc>, library: Table<'gc>) {
    set_field(context, library, "pi", Value::Float(std::f64::consts::PI));
    set_field(context, library, "huge", Value::Float(f64::INFINITY));
    set_field(context, library, "maxinteger", Value::Integer(i64::MAX));
    set_field(context, library, "mininteger", Value::Integer(i64::MIN));
}

/// Returns a function of the first argument, a float.
fn on_float<'gc>(call: &mut Call<'_, 'gc>, function: impl Fn(f64) -> f64) -> Result<Action, Error<'gc>> {
    let argument = call.check_float(1)?;
    call.return_value(Value::Float(function(argument)))
}

fn acos<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, libm::acos)
}

fn asin<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, libm::asin)
}

fn cos<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, libm::cos)
}

fn sin<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, libm::sin)
}

fn tan<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, libm::tan)
}

fn exp<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, libm::exp)
}

fn sqrt<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    // IEEE 754 defines the square root to the last bit.
    on_float(call, f64::sqrt)
}

fn deg<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, |radians| radians * (180.0 / std::f64::consts::PI))
}

fn rad<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    on_float(call, |degrees| degrees * (std::f64::consts::PI / 180.0))
}

fn atan<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let y = call.check_float(1)?;
    let x = if call.arg(2).is_nil() { 1.0 } else { call.check_float(2)? };
    call.return_value(Value::Float(libm::atan2(y, x)))
}

fn log<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let argument = call.check_float(1)?;
    let result = if call.arg(2).is_nil() {
        libm::log(argument)
    } else {
        match call.check_float(2)? {
            2.0 => libm::log2(argument),
            10.0 => libm::log10(argument),
            base => libm::log(argument) / libm::log(base),
        }
    };
    call.return_value(Value::Float(result))
}

fn abs<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let result = match call.check_number(1)? {
        Value::Integer(integer) if matches!(call.arg(1), Value::Integer(_)) => Value::Integer(integer.wrapping_abs()),
        number => Value::Float(number.to_float().unwrap_or(f64::NAN).abs()),
    };
    call.return_value(result)
}

/// A float without fraction as an integer if it fits.
pub(super) fn integral<'gc>(float: f64) -> Value<'gc> {
    float_to_integer(float).map_or(Value::Float(float), Value::Integer)
}

fn floor<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let result = match call.arg(1) {
        integer @ Value::Integer(_) => integer,
        _ => integral(call.check_float(1)?.floor()),
    };
    call.return_value(result)
}

fn ceil<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let result = match call.arg(1) {
        integer @ Value::Integer(_) => integer,
        _ => integral(call.check_float(1)?.ceil()),
    };
    call.return_value(result)
}

fn fmod<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let result = match (call.arg(1), call.arg(2)) {
        (Value::Integer(_), Value::Integer(0)) => return Err(call.arg_error(2, "zero")),
        (Value::Integer(a), Value::Integer(b)) => Value::Integer(a.wrapping_rem(b)),
        _ => {
            // In the order in which compiled C evaluates them, which tells which of two wrong ones is named.
            let divisor = call.check_float(2)?;
            Value::Float(call.check_float(1)? % divisor)
        }
    };
    call.return_value(result)
}

fn modf<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if let integer @ Value::Integer(_) = call.arg(1) {
        return call.return_values(&[integer, Value::Float(0.0)]);
    }
    let float = call.check_float(1)?;
    let whole = float.trunc();
    // An infinity has no fraction.
    let fraction = if whole == float { 0.0 } else { float - whole };
    let whole = float_to_integer(whole).map_or(Value::Float(whole), Value::Integer);
    call.return_values(&[whole, Value::Float(fraction)])
}

fn to_integer<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let result = call.check_any(1)?.to_integer().map_or(Value::Nil, Value::Integer);
    call.return_value(result)
}

fn type_<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name: &[u8] = match call.check_any(1)? {
        Value::Integer(_) => b"integer",
        Value::Float(_) => b"float",
        _ => return call.return_value(Value::Nil),
    };
    let name = call.string(name)?;
    call.return_value(name)
}

fn ult<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let less = (call.check_integer(1)? as u64) < call.check_integer(2)? as u64;
    call.return_value(Value::Boolean(less))
}

fn max<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    extreme(call, |best, candidate| (best, candidate))
}

fn min<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    extreme(call, |best, candidate| (candidate, best))
}

/// Returns the argument that no other replaces; a candidate replaces the best so far if the first of the pair that `order` makes
/// is less than the second. State n: the comparison of argument n has returned. Arguments before n may be overwritten:
/// the best so far is in slot 1.
fn extreme<'gc>(
    call: &mut Call<'_, 'gc>,
    order: impl Fn(Value<'gc>, Value<'gc>) -> (Value<'gc>, Value<'gc>),
) -> Result<Action, Error<'gc>> {
    let mut best = call.arg(1);
    if call.arg_count() == 0 {
        return Err(call.arg_error(1, "value expected"));
    }
    let at = call.scratch();
    let mut index = call.state() as usize;
    if index == 0 {
        index = 2;
        // Numbers of one kind need no metamethods.
        while index <= call.arg_count() {
            let candidate = call.arg(index);
            let replaces = match order(best, candidate) {
                (Value::Integer(left), Value::Integer(right)) => left < right,
                (Value::Float(left), Value::Float(right)) => left < right,
                _ => break,
            };
            if replaces {
                best = candidate;
            }
            index += 1;
        }
        if index > call.arg_count() {
            return call.return_value(best);
        }
        call.set_slot(1, best);
        call.reserve(at + 1)?;
    } else {
        if call.slot(at).is_truthy() {
            best = call.arg(index);
            call.set_slot(1, best);
        }
        index += 1;
    }
    while index <= call.arg_count() {
        let candidate = call.arg(index);
        let (left, right) = order(best, candidate);
        step!(call.less(at, left, right, index as u32));
        if call.slot(at).is_truthy() {
            best = candidate;
            call.set_slot(1, best);
        }
        index += 1;
    }
    call.return_value(best)
}

/// The next number and state of xoshiro256**.
fn next_random(state: [u64; 4]) -> (u64, [u64; 4]) {
    let [s0, s1, s2, s3] = state;
    let number = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
    let s2 = s2 ^ s0;
    let s3 = s3 ^ s1;
    (number, [s0 ^ s3, s1 ^ s2, s2 ^ (s1 << 17), s3.rotate_left(45)])
}

/// The state for a seed of two numbers.
fn seeded(first: u64, second: u64) -> [u64; 4] {
    let mut state = [first, 0xff, second, 0];
    for _ in 0..16 {
        state = next_random(state).1;
    }
    state
}

/// Draws a number.
fn draw(context: Context<'_>) -> u64 {
    let (number, state) = next_random(context.root().random.get());
    context.root().random.set(state);
    number
}

fn random<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let context = call.context();
    let (low, high) = match call.arg_count() {
        0 => {
            // The top 53 bits, over 2^53.
            let float = (draw(context) >> 11) as f64 * (0.5 / (1u64 << 52) as f64);
            return call.return_value(Value::Float(float));
        }
        1 => match call.check_integer(1)? {
            0 => {
                let integer = draw(context) as i64;
                return call.return_value(Value::Integer(integer));
            }
            high => (1, high),
        },
        2 => (call.check_integer(1)?, call.check_integer(2)?),
        _ => return Err(call.error("wrong number of arguments")),
    };
    if low > high {
        return Err(call.arg_error(1, "interval is empty"));
    }
    let offset = project(context, (high as u64).wrapping_sub(low as u64));
    call.return_value(Value::Integer((low as u64).wrapping_add(offset) as i64))
}

/// A random number from 0 to `most`: draws until one, cut to as many bits as `most` has, is in range.
fn project(context: Context<'_>, most: u64) -> u64 {
    let mask = u64::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
    loop {
        let number = draw(context) & mask;
        if number <= most {
            return number;
        }
    }
}

fn random_seed<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let context = call.context();
    let (first, second) = if call.arg_count() == 0 {
        // Randomness comes from the host, once: this goes on from there.
        (draw(context) as i64, draw(context) as i64)
    } else {
        (call.check_integer(1)?, call.opt_integer(2, 0)?)
    };
    context.root().random.set(seeded(first as u64, second as u64));
    call.return_values(&[Value::Integer(first), Value::Integer(second)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_the_reference() {
        // `math.randomseed(42); print(math.random(0), math.random(0))` in PUC Lua 5.4.
        let (first, state) = next_random(seeded(42, 0));
        let (second, _) = next_random(state);
        assert_eq!([first as i64, second as i64], REFERENCE);
    }

    const REFERENCE: [i64; 2] = [-1276290044721465627, 8333941968102511665];
}
