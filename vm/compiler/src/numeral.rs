//! Numerals: bytes to numbers (Lua manual §3.1, §3.4.3).
//!
//! Reading is correctly rounded in both bases: decimals by `core`'s parser, hexadecimal floats by exact integer
//! arithmetic with round-half-even. An integer numeral that does not fit becomes a float in base ten and wraps
//! modulo 2⁶⁴ in base sixteen.

/// A parsed numeral.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i64),
    Float(f64),
}

/// Converts a whole string to a number as arithmetic on strings and `tonumber(s)` do: surrounding white space and one
/// sign are allowed, anything else left over makes it `None`. Linear in the length.
pub fn parse_number(bytes: &[u8]) -> Option<Number> {
    let (negative, magnitude) = split_sign(trim_space(bytes));
    parse_magnitude(magnitude, negative)
}

/// Reads the numeral token at the start of `bytes`, which starts with a digit or with a point and a digit.
///
/// Returns the token's length and its value; the value is `None` for a malformed number, whose token is cut where
/// C Lua's lexer cuts it, so that an error message can quote it.
pub fn scan_numeral(bytes: &[u8]) -> (usize, Option<Number>) {
    let hexadecimal = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let exponent_mark = if hexadecimal { b'p' } else { b'e' };
    let mut length = if hexadecimal { 2 } else { 0 };
    while let Some(&byte) = bytes.get(length) {
        if byte | 0x20 == exponent_mark {
            length += 1;
            if matches!(bytes.get(length), Some(b'+' | b'-')) {
                length += 1;
            }
        } else if byte.is_ascii_hexdigit() || byte == b'.' {
            length += 1;
        } else {
            break;
        }
    }
    // A numeral touching a name is malformed; one letter of the name belongs to the token.
    if matches!(bytes.get(length), Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_') {
        length += 1;
    }
    (length, parse_magnitude(&bytes[..length], false))
}

/// Converts an integer numeral in `base` (2 to 36), as `tonumber(s, base)` does. Wraps on overflow.
pub fn parse_integer_base(bytes: &[u8], base: u32) -> Option<i64> {
    let (negative, digits) = split_sign(trim_space(bytes));
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &byte in digits {
        let digit = char::from(byte).to_digit(base)?;
        value = value.wrapping_mul(u64::from(base)).wrapping_add(u64::from(digit));
    }
    Some(apply_sign(value, negative))
}

/// White space as `isspace` of the "C" locale sees it.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn trim_space(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

fn split_sign(bytes: &[u8]) -> (bool, &[u8]) {
    match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    }
}

fn apply_sign(magnitude: u64, negative: bool) -> i64 {
    let value = magnitude as i64;
    if negative { value.wrapping_neg() } else { value }
}

fn parse_magnitude(text: &[u8], negative: bool) -> Option<Number> {
    match text {
        [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(digits, negative),
        _ => parse_decimal(text, negative),
    }
}

fn parse_decimal(text: &[u8], negative: bool) -> Option<Number> {
    let limit = i64::MAX as u64 + u64::from(negative);
    let mut value = 0u64;
    for (index, &byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 || index >= 19 {
            return parse_decimal_float(text, negative);
        }
        // Nineteen digits cannot overflow 64 unsigned bits.
        value = value * 10 + u64::from(digit);
    }
    if text.is_empty() {
        None
    } else if value > limit {
        parse_decimal_float(text, negative)
    } else {
        Some(Number::Integer(apply_sign(value, negative)))
    }
}

fn parse_decimal_float(text: &[u8], negative: bool) -> Option<Number> {
    // Leading zeros do not make an integer numeral a float.
    if let [b'0', rest @ ..] = text
        && rest.iter().all(u8::is_ascii_digit)
    {
        let zeros = rest.iter().take_while(|byte| **byte == b'0').count();
        return match &rest[zeros..] {
            [] => Some(Number::Integer(0)),
            digits => parse_decimal(digits, negative),
        };
    }
    // `core` would accept a second sign, "inf" and "nan"; none of them starts like this.
    if !matches!(text.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    let magnitude: f64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    Some(Number::Float(if negative { -magnitude } else { magnitude }))
}

fn parse_hexadecimal(digits: &[u8], negative: bool) -> Option<Number> {
    let mut value = 0u64;
    for &byte in digits {
        match hex_digit(byte) {
            Some(digit) => value = value << 4 | digit,
            None => return parse_hexadecimal_float(digits, negative),
        }
    }
    if digits.is_empty() {
        return None;
    }
    Some(Number::Integer(apply_sign(value, negative)))
}

fn parse_hexadecimal_float(text: &[u8], negative: bool) -> Option<Number> {
    let mut significand = 0u64;
    let mut inexact = false;
    let mut exponent = 0i64;
    let mut any_digit = false;
    let mut after_point = false;
    let mut position = 0;
    while let Some(&byte) = text.get(position) {
        if byte == b'.' && !after_point {
            after_point = true;
        } else if let Some(digit) = hex_digit(byte) {
            any_digit = true;
            if significand >> 60 == 0 {
                significand = significand << 4 | digit;
                exponent -= if after_point { 4 } else { 0 };
            } else {
                inexact |= digit != 0;
                exponent += if after_point { 0 } else { 4 };
            }
        } else {
            break;
        }
        position += 1;
    }
    if !any_digit {
        return None;
    }
    match &text[position..] {
        [] => {}
        [b'p' | b'P', power @ ..] => exponent += parse_power(power)?,
        _ => return None,
    }
    let magnitude = round_to_float(significand, inexact, exponent);
    Some(Number::Float(if negative { -magnitude } else { magnitude }))
}

/// A signed decimal exponent; beyond 2⁴⁰ the exact size no longer matters and is not kept.
fn parse_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut power = 0i64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        power = (power * 10 + i64::from(byte - b'0')).min(1 << 40);
    }
    Some(if negative { -power } else { power })
}

/// `significand × 2^exponent`, rounded half to even. `inexact` says that a little more was cut off below; it is only
/// true when the top four bits of `significand` are not all zero.
fn round_to_float(significand: u64, inexact: bool, exponent: i64) -> f64 {
    if significand == 0 {
        return 0.0;
    }
    let normalized = significand << significand.leading_zeros();
    // The value is normalized × 2^(scale - 63) with normalized in [2⁶³, 2⁶⁴).
    let scale = exponent - i64::from(significand.leading_zeros()) + 63;
    if scale > 1023 {
        return f64::INFINITY;
    }
    let lost_to_subnormal = (-1022 - scale).max(0);
    if lost_to_subnormal > 53 {
        return 0.0;
    }
    let shift = 11 + lost_to_subnormal as u32;
    let kept = normalized.checked_shr(shift).unwrap_or(0);
    let cut = normalized << (64 - shift);
    let half = 1 << 63;
    let up = cut > half || cut == half && (inexact || kept & 1 == 1);
    let rounded = kept + u64::from(up);
    // The carry out of the significand lands in the exponent field, where it belongs.
    let exponent_field = if scale < -1022 { 0 } else { (scale + 1022) as u64 };
    f64::from_bits((exponent_field << 52) + rounded)
}

fn hex_digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Number>) {
        assert_eq!(parse_number(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            (" \t\n\u{b}\u{c}\r-12 \r", -12),
            ("+7", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("0000000000000000000000000000012", 12),
            ("00000000000000000000000000", 0),
            ("0x10", 16),
            ("-0XfF", -255),
            ("0xffffffffffffffff", -1),
            ("0x123456789abcdef01", 0x2345_6789_abcd_ef01),
        ] {
            check(text, Some(Number::Integer(value)));
        }
    }

    #[test]
    fn floats() {
        for (text, value) in [
            ("1e1", 10.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1E-2", -0.01),
            ("9223372036854775808", 9223372036854775808.0),
            ("-9223372036854775809", -9223372036854775808.0),
            ("1e999999999999999999999", f64::INFINITY),
            ("1e-999999999999999999999", 0.0),
            ("0x.8", 0.5),
            ("0xA.", 10.0),
            ("0x1p4", 16.0),
            ("-0x1.8P-1", -0.75),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x1p-99999999999999999999", 0.0),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.00000000000018p0", 1.0000000000000004),
            ("0x1.000000000000080000000000000001p0", 1.0000000000000002),
            ("0x1.fffffffffffff8p1023", f64::INFINITY),
            ("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE),
        ] {
            check(text, Some(Number::Float(value)));
        }
        let Some(Number::Float(zero)) = parse_number(b"-0x0p1") else { panic!("not a float") };
        assert!(zero.is_sign_negative());
    }

    #[test]
    fn rejected() {
        for text in [
            "", " ", "-", "- 1", "+-1", "--1", "0x", "0x.", "0xg", "0x1p", "0x1p+", "0x.p1", "1e", "1e+", ".", ".e1",
            "inf", "nan", "-inf", "infinity", "1f", "1 2", "0x1 p1", "1..2", "1e1.5", "e1", "1_0", "1\0", "0x-1", "é",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn numeral_tokens() {
        for (text, length, value) in [
            ("12+3", 2, Some(Number::Integer(12))),
            ("3..4", 4, None),
            ("0xA)", 3, Some(Number::Integer(10))),
            ("1e+5-2", 4, Some(Number::Float(1e5))),
            ("0x1p-1]", 6, Some(Number::Float(0.5))),
            ("3x4", 2, None),
            ("0xep1 ", 5, Some(Number::Float(28.0))),
            (".5.", 3, None),
            ("08 ", 2, Some(Number::Integer(8))),
        ] {
            assert_eq!(scan_numeral(text.as_bytes()), (length, value), "{text:?}");
        }
    }

    #[test]
    fn bases() {
        for (text, base, value) in [
            (" -zZ ", 36, Some(-1295)),
            ("1010", 2, Some(10)),
            ("12", 2, None),
            ("", 10, None),
            ("-", 10, None),
            ("7fffffffffffffff", 16, Some(i64::MAX)),
            ("ffffffffffffffff", 16, Some(-1)),
            ("1.0", 10, None),
            ("1 1", 10, None),
        ] {
            assert_eq!(parse_integer_base(text.as_bytes(), base), value, "{text:?}");
        }
    }
}
