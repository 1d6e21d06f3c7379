//! The conversions of `string.format` (Lua manual §6.4): reading a directive and writing one value by it.
//!
//! Reading is in two steps because C Lua looks at the argument in between: [`Directive::parse`] cuts the directive
//! out of the format string, [`Directive::spec`] checks its flags, width and precision for its conversion. Which
//! argument a conversion takes, and its conversion to a number or string, is the caller's.

use super::float::{self, HEX_DIGITS};
use super::number::{nan_text, write_integer, write_unsigned, write_zero_padded};

/// What is wrong with a directive. Borrows the directive from the format string to quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError<'a> {
    /// No such conversion.
    InvalidConversion(&'a [u8]),
    /// Flags, width or precision that this conversion does not take.
    InvalidSpecification(&'a [u8]),
    TooLong,
    /// "%q" with flags, width or precision.
    ModifiedQuote,
}

impl FormatError<'_> {
    /// The text of the Lua error.
    pub fn message(&self) -> Vec<u8> {
        match self {
            Self::InvalidConversion(directive) => {
                [b"invalid conversion '", until_zero(directive), b"' to 'format'"].concat()
            }
            Self::InvalidSpecification(directive) => {
                [b"invalid conversion specification: '", until_zero(directive), b"'"].concat()
            }
            Self::TooLong => b"invalid format (too long)".to_vec(),
            Self::ModifiedQuote => b"specifier '%q' cannot have modifiers".to_vec(),
        }
    }
}

/// C Lua quotes directives as C strings.
fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A directive of a format string, from its "%" to its conversion character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directive<'a> {
    text: &'a [u8],
}

impl<'a> Directive<'a> {
    /// Reads the directive at the start of `format`, which starts with "%" and does not start with "%%".
    pub fn parse(format: &'a [u8]) -> Result<Self, FormatError<'a>> {
        let modifiers =
            format.iter().skip(1).take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b' ' | b'#'));
        let span = modifiers.count();
        if span > MODIFIERS_MAX {
            return Err(FormatError::TooLong);
        }
        let text = &format[..format.len().min(span + 2)];
        let directive = Self { text };
        let known = text.len() == span + 2 && flags_allowed(directive.conversion()).is_some();
        if known { Ok(directive) } else { Err(FormatError::InvalidConversion(text)) }
    }

    /// The conversion character: one of `a A c d e E f g G i o p q s u x X`.
    pub fn conversion(&self) -> u8 {
        self.text.last().copied().unwrap_or(0)
    }

    /// Length of the directive in bytes.
    pub fn length(&self) -> usize {
        self.text.len()
    }

    /// Whether it has no flags, width or precision.
    pub fn is_plain(&self) -> bool {
        self.text.len() == 2
    }

    /// Whether it has a precision.
    pub fn has_precision(&self) -> bool {
        self.text.contains(&b'.')
    }

    /// Reads flags, width and precision, refusing what the conversion does not take.
    pub fn spec(&self) -> Result<Spec, FormatError<'a>> {
        let conversion = self.conversion();
        let mut spec = Spec { conversion, ..Spec::default() };
        if self.is_plain() {
            return Ok(spec);
        }
        if conversion == b'q' {
            return Err(FormatError::ModifiedQuote);
        }
        let allowed = flags_allowed(conversion).unwrap_or_default();
        let mut rest = &self.text[1..];
        while let [flag, tail @ ..] = rest
            && allowed.contains(flag)
        {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                _ => spec.zero = true,
            }
            rest = tail;
        }
        if rest.first() != Some(&b'0') {
            (spec.width, rest) = two_digits(rest);
            if let [b'.', tail @ ..] = rest
                && !matches!(conversion, b'c' | b'p')
            {
                let (precision, tail) = two_digits(tail);
                (spec.precision, rest) = (Some(precision), tail);
            }
        }
        if rest.len() == 1 { Ok(spec) } else { Err(FormatError::InvalidSpecification(self.text)) }
    }
}

/// C Lua's buffer for a directive has room for 20 flags, digits and points.
const MODIFIERS_MAX: usize = 20;

/// The flags a conversion takes; `None` if it does not exist.
fn flags_allowed(conversion: u8) -> Option<&'static [u8]> {
    match conversion {
        b'a' | b'A' | b'e' | b'E' | b'f' | b'g' | b'G' => Some(b"-+ #0"),
        b'd' | b'i' => Some(b"-+ 0"),
        b'o' | b'x' | b'X' => Some(b"-#0"),
        b'u' => Some(b"-0"),
        b'c' | b'p' | b's' => Some(b"-"),
        b'q' => Some(b""),
        _ => None,
    }
}

fn two_digits(bytes: &[u8]) -> (usize, &[u8]) {
    let count = bytes.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
    let value = bytes[..count].iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
    (value, &bytes[count..])
}

/// How to write one value: a checked directive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// One of the characters that [`Directive::conversion`] lists.
    pub conversion: u8,
    /// "-": pad on the right.
    pub left: bool,
    /// "+": a sign even for positive numbers.
    pub plus: bool,
    /// " ": a space where a positive number has no sign.
    pub space: bool,
    /// "#": a prefix for "%x" and "%o", a point and trailing zeros for floats.
    pub alternate: bool,
    /// "0": pad with zeros behind sign and prefix.
    pub zero: bool,
    /// At most 99.
    pub width: usize,
    /// At most 99.
    pub precision: Option<usize>,
}

impl Spec {
    /// Writes by `%d`, `%i`, `%u`, `%o`, `%x` or `%X`; all but the first two show negative numbers modulo 2⁶⁴.
    pub fn write_integer(&self, value: i64, out: &mut Vec<u8>) {
        let signed = matches!(self.conversion, b'd' | b'i');
        if signed && self.width == 0 && self.precision.is_none() && !self.plus && !self.space {
            write_integer(value, out);
            return;
        }
        let start = out.len();
        let magnitude = if signed { value.unsigned_abs() } else { value as u64 };
        if signed {
            self.write_sign(value < 0, out);
        } else if self.alternate && magnitude != 0 && self.conversion != b'o' {
            out.extend_from_slice(b"0x");
        }
        let digits_start = out.len();
        match self.conversion {
            b'd' | b'i' | b'u' => write_unsigned(magnitude, out),
            b'o' => write_power_of_two_base(magnitude, 3, out),
            _ => write_power_of_two_base(magnitude, 4, out),
        }
        if magnitude == 0 && self.precision == Some(0) {
            out.truncate(digits_start);
        }
        let digits = out.len() - digits_start;
        let mut least = self.precision.unwrap_or(0);
        if self.alternate && self.conversion == b'o' && out.get(digits_start) != Some(&b'0') {
            least = least.max(digits + 1);
        }
        insert(digits_start, least.saturating_sub(digits), b'0', out);
        self.pad(start, digits_start, self.precision.is_none(), out);
        self.fix_case(start, out);
    }

    /// Writes by `%a`, `%A`, `%e`, `%E`, `%f`, `%g` or `%G`.
    pub fn write_float(&self, value: f64, out: &mut Vec<u8>) {
        let start = out.len();
        self.write_sign(value.is_sign_negative() && !value.is_nan(), out);
        let mut digits_start = out.len();
        let magnitude = value.abs();
        let precision = self.precision.unwrap_or(6);
        match self.conversion | 0x20 {
            _ if value.is_nan() => out.extend_from_slice(nan_text()),
            _ if value.is_infinite() => out.extend_from_slice(b"inf"),
            b'f' => float::write_fixed(magnitude, precision, self.alternate, out),
            b'e' => float::write_scientific(magnitude, precision, self.alternate, out),
            b'g' => float::write_general(magnitude, precision, self.alternate, out),
            _ => {
                float::write_hexadecimal(magnitude, self.precision, self.alternate, out);
                digits_start += 2;
            }
        }
        self.pad(start, digits_start, value.is_finite(), out);
        self.fix_case(start, out);
    }

    /// Writes by `%c`.
    pub fn write_byte(&self, value: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(value);
        self.pad(start, start, false, out);
    }

    /// Writes by `%s`, cut to the precision. (C Lua refuses zeros in the string when the directive has modifiers, and
    /// without a precision adds strings of 100 bytes and more as they are, not even checking the directive.)
    pub fn write_string(&self, value: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let length = self.precision.unwrap_or(value.len()).min(value.len());
        out.extend_from_slice(&value[..length]);
        self.pad(start, start, false, out);
    }

    /// Writes by `%p` the text that stands for the identity of a value, or for its absence.
    pub fn write_pointer(&self, text: &[u8], out: &mut Vec<u8>) {
        self.write_string(text, out);
    }

    fn write_sign(&self, negative: bool, out: &mut Vec<u8>) {
        if negative {
            out.push(b'-');
        } else if self.plus {
            out.push(b'+');
        } else if self.space {
            out.push(b' ');
        }
    }

    /// Pads what was written since `start` to the width. Zeros, if allowed, go where the digits start.
    fn pad(&self, start: usize, digits_start: usize, zeros_allowed: bool, out: &mut Vec<u8>) {
        let missing = self.width.saturating_sub(out.len() - start);
        if missing == 0 {
            return;
        }
        if self.left {
            out.resize(out.len() + missing, b' ');
        } else if self.zero && zeros_allowed {
            insert(digits_start, missing, b'0', out);
        } else {
            insert(start, missing, b' ', out);
        }
    }

    fn fix_case(&self, start: usize, out: &mut [u8]) {
        if self.conversion.is_ascii_uppercase() {
            out[start..].make_ascii_uppercase();
        }
    }
}

/// Inserts `count` copies of `byte` at `position`.
fn insert(position: usize, count: usize, byte: u8, out: &mut Vec<u8>) {
    if count > 0 {
        let end = out.len();
        out.resize(end + count, byte);
        out.copy_within(position..end, position + count);
        out[position..position + count].fill(byte);
    }
}

/// Appends the digits of `value` in base 8 (`bits` 3) or 16 (`bits` 4).
fn write_power_of_two_base(value: u64, bits: u32, out: &mut Vec<u8>) {
    let mut left = (u64::BITS - value.leading_zeros()).div_ceil(bits).max(1);
    while left > 0 {
        left -= 1;
        let digit = (value >> (left * bits)) & ((1 << bits) - 1);
        out.push(HEX_DIGITS[digit as usize]);
    }
}

/// Appends `value` as a string literal that reads back as the same bytes, as `%q` does.
pub fn write_quoted_string(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() + 2);
    out.push(b'"');
    for (index, &byte) in value.iter().enumerate() {
        match byte {
            b'"' | b'\\' | b'\n' => out.extend_from_slice(&[b'\\', byte]),
            _ if byte.is_ascii_control() => {
                out.push(b'\\');
                let digit_follows = value.get(index + 1).is_some_and(u8::is_ascii_digit);
                write_zero_padded(u64::from(byte), if digit_follows { 3 } else { 1 }, out);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends `value` as a numeral that reads back as the same integer, as `%q` does.
pub fn write_quoted_integer(value: i64, out: &mut Vec<u8>) {
    if value == i64::MIN {
        // Its decimal numeral would read as a float.
        out.extend_from_slice(b"0x8000000000000000");
    } else {
        write_integer(value, out);
    }
}

/// Appends `value` as an expression that reads back as the same float, as `%q` does.
pub fn write_quoted_float(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"(0/0)");
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        out.extend_from_slice(b"1e9999");
    } else {
        float::write_hexadecimal(value.abs(), None, false, out);
    }
}

#[cfg(test)]
#[path = "tests/format.rs"]
mod tests;
