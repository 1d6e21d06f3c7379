//! Finite, non-negative floats as text in the four notations of C's `printf`: `%f`, `%e`, `%g`, `%a`.
//!
//! Every digit is exact and the last one is rounded half to even, for any precision. Numbers of everyday size take
//! a short path: the binary fraction times a power of ten fits 128 bits, so quotient and remainder are exact. The
//! rest goes through `core::fmt`, which is exact too and the same on every platform. Signs, padding, letter case
//! and the non-finite values are the caller's.

use super::number::{write_unsigned, write_zero_padded};
use std::io::Write;

/// Appends `%.{precision}f`. With `alternate` the point stays even when no digit follows.
pub fn write_fixed(value: f64, precision: usize, alternate: bool, out: &mut Vec<u8>) {
    if let Some((integer, fraction)) = fixed_parts(value, precision) {
        write_unsigned(integer, out);
        if precision > 0 {
            out.push(b'.');
            write_zero_padded(fraction, precision, out);
        }
    } else {
        // Writing to a vector cannot fail.
        _ = write!(out, "{value:.precision$}");
    }
    if precision == 0 && alternate {
        out.push(b'.');
    }
}

/// Appends `%.{precision}e`. With `alternate` the point stays even when no digit follows.
pub fn write_scientific(value: f64, precision: usize, alternate: bool, out: &mut Vec<u8>) {
    let exponent = write_digits(value, precision, out);
    if precision == 0 && alternate {
        out.push(b'.');
    }
    write_decimal_exponent(exponent, out);
}

/// Appends `%.{precision}g` (a precision of 0 counts as 1, at most 100). With `alternate` trailing zeros stay.
pub fn write_general(value: f64, precision: usize, alternate: bool, out: &mut Vec<u8>) {
    let precision = precision.clamp(1, SIGNIFICANT_MAX);
    if !alternate && write_general_short(value, precision, out) {
        return;
    }
    let start = out.len();
    let exponent = write_digits(value, precision - 1, out);
    let mut buffer = [b'0'; SIGNIFICANT_MAX];
    buffer[0] = out[start];
    if precision > 1 {
        buffer[1..precision].copy_from_slice(&out[start + 2..]);
    }
    out.truncate(start);
    let mut digits = &buffer[..precision];
    if !alternate {
        while let [rest @ .., b'0'] = digits
            && !rest.is_empty()
        {
            digits = rest;
        }
    }
    if exponent < -4 || exponent >= precision as i32 {
        out.push(digits[0]);
        if digits.len() > 1 || alternate {
            out.push(b'.');
        }
        out.extend_from_slice(&digits[1..]);
        write_decimal_exponent(exponent, out);
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-1 - exponent) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let before_point = exponent as usize + 1;
        let known = before_point.min(digits.len());
        out.extend_from_slice(&digits[..known]);
        out.resize(out.len() + before_point - known, b'0');
        if digits.len() > before_point || alternate {
            out.push(b'.');
        }
        out.extend_from_slice(&digits[known..]);
    }
}

/// Appends `%a` as glibc does: one leading digit, which is 0 for subnormals, and lower-case letters. `None` shows as
/// many digits as are needed.
pub fn write_hexadecimal(value: f64, precision: Option<usize>, alternate: bool, out: &mut Vec<u8>) {
    let bits = value.to_bits();
    let exponent_field = (bits >> 52 & 0x7ff) as i32;
    let mut significand = bits & ((1 << 52) - 1);
    if exponent_field > 0 {
        significand |= 1 << 52;
    }
    let exponent = match (exponent_field, significand) {
        (0, 0) => 0,
        (0, _) => -1022,
        _ => exponent_field - 1023,
    };
    let digits = match precision {
        None => 13 - (significand.trailing_zeros() as usize / 4).min(13),
        Some(wanted) if wanted < 13 => {
            let cut_bits = 4 * (13 - wanted) as u32;
            let kept = significand >> cut_bits;
            let cut = significand & ((1 << cut_bits) - 1);
            let half = 1 << (cut_bits - 1);
            let up = cut > half || cut == half && kept & 1 == 1;
            significand = (kept + u64::from(up)) << cut_bits;
            wanted
        }
        Some(wanted) => wanted,
    };
    out.extend_from_slice(b"0x");
    out.push(b'0' + (significand >> 52) as u8);
    if digits > 0 || alternate {
        out.push(b'.');
    }
    for place in 0..digits {
        let digit = if place < 13 { significand >> (48 - 4 * place) & 15 } else { 0 };
        out.push(HEX_DIGITS[digit as usize]);
    }
    out.push(b'p');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    write_unsigned(u64::from(exponent.unsigned_abs()), out);
}

pub(super) const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `%.99g` needs 99 significant digits, `%.99e` one more, which does not pass through the buffer.
const SIGNIFICANT_MAX: usize = 100;

/// Appends `d.ddd` with `precision` digits after the point and returns the decimal exponent.
fn write_digits(value: f64, precision: usize, out: &mut Vec<u8>) -> i32 {
    // Writing to a vector cannot fail.
    _ = write!(out, "{value:.precision$e}");
    // The text ends in "e" and a decimal exponent of one to four characters.
    let mut exponent = 0;
    let mut weight = 1;
    while let Some(byte) = out.pop() {
        match byte {
            b'e' => break,
            b'-' => exponent = -exponent,
            digit => {
                exponent += i32::from(digit - b'0') * weight;
                weight *= 10;
            }
        }
    }
    exponent
}

fn write_decimal_exponent(exponent: i32, out: &mut Vec<u8>) {
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    let magnitude = u64::from(exponent.unsigned_abs());
    if magnitude < 10 {
        out.push(b'0');
    }
    write_unsigned(magnitude, out);
}

/// `%.{precision}g` for values that print in positional notation with few digits; false when it does not apply.
fn write_general_short(value: f64, precision: usize, out: &mut Vec<u8>) -> bool {
    if precision > 15 || value >= 1e15 {
        return false;
    }
    let decimals = if value >= 1.0 {
        let integer_digits = (value as u64).ilog10() as usize + 1;
        if integer_digits >= precision {
            return false;
        }
        precision - integer_digits
    } else if value >= 0.1 {
        precision
    } else if value >= 0.01 {
        precision + 1
    } else if value >= 0.001 {
        precision + 2
    } else if value >= 0.0001 {
        precision + 3
    } else if value == 0.0 {
        out.push(b'0');
        return true;
    } else {
        return false;
    };
    // A carry into the next power of ten only turns digits into zeros, which are cut anyway.
    let Some((integer, mut fraction)) = fixed_parts(value, decimals) else {
        return false;
    };
    write_unsigned(integer, out);
    if fraction != 0 {
        let mut width = decimals;
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        write_zero_padded(fraction, width, out);
    }
    true
}

const POWERS_OF_TEN: [u64; 19] = {
    let mut powers = [1; 19];
    let mut index = 1;
    while index < 19 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// `value × 10^decimals` rounded half to even, split into integer part and `decimals` digits. `None` when a part does
/// not fit 64 bits.
fn fixed_parts(value: f64, decimals: usize) -> Option<(u64, u64)> {
    let power = *POWERS_OF_TEN.get(decimals)?;
    let bits = value.to_bits();
    let exponent_field = (bits >> 52) as i32;
    if exponent_field == 0 {
        return Some((0, 0));
    }
    let significand = bits & ((1 << 52) - 1) | 1 << 52;
    // The value is significand × 2^-shift.
    let shift = 1075 - exponent_field;
    if shift <= 0 {
        return (shift >= -10).then(|| (significand << -shift, 0));
    }
    if shift >= 120 {
        // Below 2^53 × 10^18 × 2^-120, which is less than one half.
        return Some((0, 0));
    }
    let (integer, fraction) =
        if shift < 64 { (significand >> shift, significand & ((1 << shift) - 1)) } else { (0, significand) };
    let scaled = u128::from(fraction) * u128::from(power);
    let quotient = (scaled >> shift) as u64;
    let remainder = scaled & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    // With no decimals the quotient is 0 and the integer part decides what is even.
    let odd = if decimals == 0 { integer & 1 == 1 } else { quotient & 1 == 1 };
    let rounded = quotient + u64::from(remainder > half || remainder == half && odd);
    Some(if rounded == power { (integer + 1, 0) } else { (integer, rounded) })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Writer = fn(f64, usize, bool, &mut Vec<u8>);

    #[track_caller]
    fn check(writer: Writer, value: f64, precision: usize, alternate: bool, expected: &str) {
        let mut out = Vec::new();
        writer(value, precision, alternate, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{value} {precision}");
    }

    #[test]
    fn fixed() {
        for (value, precision, alternate, expected) in [
            (0.5, 0, false, "0"),
            (1.5, 0, false, "2"),
            (2.5, 0, true, "2."),
            (0.125, 2, false, "0.12"),
            (0.375, 2, false, "0.38"),
            (9.995, 2, false, "9.99"),
            (9.999, 2, false, "10.00"),
            (1e22, 1, false, "10000000000000000000000.0"),
            (1e-310, 3, false, "0.000"),
            (0.1, 20, false, "0.10000000000000000555"),
            (5.0, 3, false, "5.000"),
        ] {
            check(write_fixed, value, precision, alternate, expected);
        }
    }

    #[test]
    fn scientific_and_general() {
        check(write_scientific, 0.0, 2, false, "0.00e+00");
        check(write_scientific, 2.5, 0, false, "2e+00");
        check(write_scientific, 3.5, 0, true, "4.e+00");
        check(write_scientific, 1e-300, 1, false, "1.0e-300");
        for (value, precision, alternate, expected) in [
            (100000.0, 6, false, "100000"),
            (1e6, 6, false, "1e+06"),
            (999999.5, 6, false, "1e+06"),
            (0.0001, 6, false, "0.0001"),
            (0.00001, 6, false, "1e-05"),
            (1.0, 6, true, "1.00000"),
            (0.0, 6, true, "0.00000"),
            (123.0, 0, true, "1.e+02"),
            (0.00012, 3, true, "0.000120"),
            (1e20, 30, false, "100000000000000000000"),
        ] {
            check(write_general, value, precision, alternate, expected);
        }
    }

    #[test]
    fn short_path_agrees_with_core() {
        let mut state = 1u64;
        let rounds = if cfg!(miri) { 100 } else { 20_000 };
        for _ in 0..rounds {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from_bits((state >> 12) | 1 << 52).abs() % 1e6 + (state >> 40) as f64 / 1024.0;
            let precision = (state % 19) as usize;
            let mut out = Vec::new();
            write_fixed(value, precision, false, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("{value:.precision$}"));
        }
    }

    #[test]
    fn hexadecimal() {
        for (value, precision, alternate, expected) in [
            (1.0, None, false, "0x1p+0"),
            (0.0, None, false, "0x0p+0"),
            (255.5, None, false, "0x1.ffp+7"),
            (5e-324, None, false, "0x0.0000000000001p-1022"),
            (5e-324, Some(0), false, "0x0p-1022"),
            (1.5, Some(0), false, "0x2p+0"),
            (2.5, Some(0), false, "0x1p+1"),
            (1.96875, Some(1), false, "0x2.0p+0"),
            (0.1, Some(3), false, "0x1.99ap-4"),
            (0.1, Some(16), false, "0x1.999999999999a000p-4"),
            (1.0, Some(0), true, "0x1.p+0"),
        ] {
            let mut out = Vec::new();
            write_hexadecimal(value, precision, alternate, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
