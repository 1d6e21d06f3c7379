//! Numbers to their default text (Lua manual §3.4.3). Reading them is the compiler's, see [`cu_compiler::numeral`].

pub use cu_compiler::numeral::{Number, parse_integer_base, parse_number};

use super::float;

/// Appends the decimal digits of `value`.
pub fn write_integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(value.unsigned_abs(), out);
}

/// Appends the decimal digits of `value`.
pub fn write_unsigned(value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0; DECIMAL_DIGITS_MAX];
    let first = digits_before_end(value, &mut buffer);
    out.extend_from_slice(&buffer[first..]);
}

/// Appends `value` as `tostring` shows it: `%.14g`, plus ".0" when that would read back as an integer.
pub fn write_float(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        write_non_finite(value, out);
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let magnitude = value.abs();
    // %.14g changes to the exponent form at 1e14.
    if magnitude < 1e14 {
        let integral = magnitude as u64;
        if integral as f64 == magnitude {
            write_unsigned(integral, out);
            out.extend_from_slice(b".0");
            return;
        }
    }
    let start = out.len();
    float::write_general(magnitude, 14, false, out);
    if out[start..].iter().all(u8::is_ascii_digit) {
        out.extend_from_slice(b".0");
    }
}

/// Appends `value` as C's `%.14g` shows it.
pub fn write_float_as_c(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        write_non_finite(value, out);
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    float::write_general(value.abs(), 14, false, out);
}

/// Appends "inf", "-inf" or what stands for a NaN.
pub fn write_non_finite(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(nan_text());
    } else {
        out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
}

/// How every NaN is shown. C Lua on x86-64 Linux shows the sign bit ("-nan" for `0/0`); here NaN is canonical and
/// its sign cannot be observed, so there is one text.
pub fn nan_text() -> &'static [u8] {
    b"nan"
}

const DECIMAL_DIGITS_MAX: usize = 20;

const DIGIT_PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut index = 0;
    while index < 100 {
        pairs[2 * index] = b'0' + (index / 10) as u8;
        pairs[2 * index + 1] = b'0' + (index % 10) as u8;
        index += 1;
    }
    pairs
};

/// Writes the decimal digits of `value` at the end of `buffer`; returns where they start.
fn digits_before_end(mut value: u64, buffer: &mut [u8; DECIMAL_DIGITS_MAX]) -> usize {
    let mut first = DECIMAL_DIGITS_MAX;
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        first -= 2;
        buffer[first..first + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        first -= 2;
        buffer[first..first + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    } else {
        first -= 1;
        buffer[first] = b'0' + value as u8;
    }
    first
}

/// Appends `value`, which has at most `width` digits, with leading zeros up to `width` (at most 20).
pub fn write_zero_padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; DECIMAL_DIGITS_MAX];
    let first = digits_before_end(value, &mut buffer);
    out.extend_from_slice(&buffer[first.min(DECIMAL_DIGITS_MAX - width.min(DECIMAL_DIGITS_MAX))..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_text() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-99999999999999.0, "-99999999999999.0"),
            (1e14, "1e+14"),
            (1e15, "1e+15"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.33333333333333"),
            (2.71528182845904, "2.715281828459"),
            (1e100, "1e+100"),
            (-1e-5, "-1e-05"),
            (0.0001, "0.0001"),
            (99999999999999.9, "1e+14"),
            (9999999999999.96, "10000000000000.0"),
            (0.99999999999999999, "1.0"),
            (123456.789e3, "123456789.0"),
            (2f64.powi(53), "9.007199254741e+15"),
            (5e-324, "4.9406564584125e-324"),
            (f64::MAX, "1.7976931348623e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            let mut out = Vec::new();
            write_float(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn integer_text() {
        for value in [0, 9, 10, 99, 100, 101, -1, 12345, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), value.to_string());
        }
    }
}
