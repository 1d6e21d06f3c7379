//! Lua's arithmetic on integers and floats, free of the heap (manual §3.4.1–§3.4.3).
//!
//! Everything here gives the same bits on every platform: transcendental functions come from `libm`.

use std::cmp::Ordering;

/// `float` as an integer if it has an exact integer representation.
#[inline(always)]
pub fn float_to_integer(float: f64) -> Option<i64> {
    // 2^63 as a float; -2^63 itself fits.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&float) {
        let integer = float as i64;
        if integer as f64 == float {
            return Some(integer);
        }
    }
    None
}

/// Floor division; `None` for a zero divisor.
#[inline(always)]
pub fn integer_floor_divide(a: i64, b: i64) -> Option<i64> {
    match b {
        0 => None,
        -1 => Some(a.wrapping_neg()),
        _ => {
            let (quotient, remainder) = divide(a, b);
            Some(if remainder != 0 && (remainder ^ b) < 0 { quotient - 1 } else { quotient })
        }
    }
}

/// The remainder of floor division; it has the divisor's sign. `None` for a zero divisor.
#[inline(always)]
pub fn integer_modulo(a: i64, b: i64) -> Option<i64> {
    match b {
        0 => None,
        -1 => Some(0),
        _ => {
            let (_, remainder) = divide(a, b);
            Some(if remainder != 0 && (remainder ^ b) < 0 { remainder + b } else { remainder })
        }
    }
}

/// Quotient and remainder, `b` neither 0 nor -1; by 32-bit division when both fit, which is several times faster.
#[inline(always)]
fn divide(a: i64, b: i64) -> (i64, i64) {
    if (a | b) as u64 >> 32 == 0 {
        let (a, b) = (a as u32, b as u32);
        (i64::from(a / b), i64::from(a % b))
    } else {
        (a.wrapping_div(b), a.wrapping_rem(b))
    }
}

/// Float modulo: `a - floor(a / b) * b`, computed so that it does not overflow.
#[inline(always)]
pub fn float_modulo(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }
}

#[inline(always)]
pub fn float_floor_divide(a: f64, b: f64) -> f64 {
    (a / b).floor()
}

/// Exponentiation, always in floats.
pub fn power(a: f64, b: f64) -> f64 {
    if b == 2.0 { a * a } else { libm::pow(a, b) }
}

/// Shift left by `count`, right when it is negative; vacated bits are zero.
#[inline(always)]
pub fn shift_left(value: i64, count: i64) -> i64 {
    match count {
        0..=63 => ((value as u64) << count) as i64,
        -63..=-1 => ((value as u64) >> -count) as i64,
        _ => 0,
    }
}

/// Shift right by `count`, left when it is negative.
#[inline(always)]
pub fn shift_right(value: i64, count: i64) -> i64 {
    match count {
        0..=63 => ((value as u64) >> count) as i64,
        -63..=-1 => ((value as u64) << -count) as i64,
        _ => 0,
    }
}

/// The exact order of an integer and a float; `None` when the float is NaN.
pub fn compare_integer_float(integer: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    // In range: the truncated part fits, and a fraction decides a tie.
    let truncated = float as i64;
    let fraction = float - truncated as f64;
    Some(integer.cmp(&truncated).then_with(|| 0.0f64.partial_cmp(&fraction).expect("a fraction is not NaN")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_rounds_towards_minus_infinity() {
        for a in [-7i64, -1, 0, 1, 7, i64::MIN, i64::MAX, 1 << 40] {
            for b in [-3i64, -1, 1, 2, 3, i64::MIN, i64::MAX, 1 << 35] {
                let (quotient, modulo) = (integer_floor_divide(a, b).unwrap(), integer_modulo(a, b).unwrap());
                assert_eq!(quotient.wrapping_mul(b).wrapping_add(modulo), a, "{a} {b}");
                assert!(modulo == 0 || (modulo < 0) == (b < 0), "{a} {b}");
            }
        }
        assert_eq!(integer_floor_divide(1, 0), None);
        assert_eq!(float_modulo(5.3, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(float_modulo(-5.5, 2.0), 0.5);
    }

    #[test]
    fn integers_and_floats_compare_exactly() {
        let cases = [
            (i64::MAX, 9_223_372_036_854_775_808.0, Some(Ordering::Less)),
            (i64::MIN, -9_223_372_036_854_775_808.0, Some(Ordering::Equal)),
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Some(Ordering::Greater)),
            (1, 1.5, Some(Ordering::Less)),
            (-1, -1.5, Some(Ordering::Greater)),
            (0, f64::NAN, None),
            (0, f64::NEG_INFINITY, Some(Ordering::Greater)),
        ];
        for (integer, float, order) in cases {
            assert_eq!(compare_integer_float(integer, float), order, "{integer} {float}");
        }
    }
}
