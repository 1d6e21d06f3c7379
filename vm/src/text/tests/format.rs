//! Cases whose expected values were read off PUC Lua 5.4.

use super::*;

enum Value {
    Integer(i64),
    Float(f64),
    Text(&'static str),
}
use Value::{Float, Integer, Text};

/// Formats one value by a format string that holds one directive; text around the directive is copied.
fn format_one(format: &str, value: &Value) -> Result<String, String> {
    let bytes = format.as_bytes();
    let start = format.find('%').expect("a directive");
    let shown = |error: FormatError<'_>| String::from_utf8_lossy(&error.message()).into_owned();
    let directive = Directive::parse(&bytes[start..]).map_err(shown)?;
    let spec = directive.spec().map_err(shown)?;
    let mut out = bytes[..start].to_vec();
    match value {
        Integer(value) if directive.conversion() == b'c' => spec.write_byte(*value as u8, &mut out),
        Integer(value) => spec.write_integer(*value, &mut out),
        Float(value) => spec.write_float(*value, &mut out),
        Text(value) => spec.write_string(value.as_bytes(), &mut out),
    }
    out.extend_from_slice(&bytes[start + directive.length()..]);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn values() {
    for (format, value, expected) in [
        ("%d", Integer(-12), "-12"),
        ("%5d|", Integer(12), "   12|"),
        ("%-5d|", Integer(12), "12   |"),
        ("%05d", Integer(-4), "-0004"),
        ("%+i", Integer(5), "+5"),
        ("% i", Integer(6), " 6"),
        ("%+ 05d", Integer(12), "+0012"),
        ("%.5i", Integer(-7), "-00007"),
        ("%8.5i", Integer(-9), "  -00009"),
        ("%08.5i", Integer(-10), "  -00010"),
        ("%.0d|", Integer(0), "|"),
        ("%+.0d|", Integer(0), "+|"),
        ("%5.0d|", Integer(0), "     |"),
        ("%-010d|", Integer(12), "12        |"),
        ("%d", Integer(i64::MIN), "-9223372036854775808"),
        ("%u", Integer(-1), "18446744073709551615"),
        ("%x", Integer(-1), "ffffffffffffffff"),
        ("%#X", Integer(255), "0XFF"),
        ("%#x", Integer(0), "0"),
        ("%#08x", Integer(12), "0x00000c"),
        ("%#.3x", Integer(5), "0x005"),
        ("%08.3x", Integer(5), "     005"),
        ("%.0x|", Integer(0), "|"),
        ("%o", Integer(8), "10"),
        ("%#o", Integer(8), "010"),
        ("%#o", Integer(0), "0"),
        ("%#.0o", Integer(0), "0"),
        ("%#5o", Integer(12), "  014"),
        ("%#.5o", Integer(8), "00010"),
        ("%5c", Integer(65), "    A"),
        ("%-5c|", Integer(65), "A    |"),
        ("%.3s|", Text("abcdef"), "abc|"),
        ("%-10.3s|", Text("abcdef"), "abc       |"),
        ("%.s|", Text("abc"), "|"),
        ("%f", Float(1.5), "1.500000"),
        ("%-+ #0f", Float(12.0), "+12.000000"),
        ("%#.0f", Float(1.0), "1."),
        ("%010.2f", Float(-2.71528), "-000002.72"),
        ("%e", Float(12345.678), "1.234568e+04"),
        ("%G", Float(1e-10), "1E-10"),
        ("%#g", Float(1.0), "1.00000"),
        ("%05f", Float(f64::INFINITY), "  inf"),
        ("%-8f|", Float(f64::NEG_INFINITY), "-inf    |"),
        ("%+f", Float(f64::INFINITY), "+inf"),
        ("%G", Float(f64::NEG_INFINITY), "-INF"),
        ("%5.1f", Float(f64::NAN), "  nan"),
        ("%a", Float(-0.0), "-0x0p+0"),
        ("%A", Float(255.5), "0X1.FFP+7"),
        ("%020a", Float(1.5), "0x0000000000001.8p+0"),
        ("%+a", Float(0.5), "+0x1p-1"),
    ] {
        assert_eq!(format_one(format, &value).as_deref(), Ok(expected), "{format}");
    }
    assert_eq!(format_one("%.99f", &Float(12.0)), Ok(format!("12.{}", "0".repeat(99))));
}

#[test]
fn errors() {
    let specification = |text| format!("invalid conversion specification: '{text}'");
    let conversion = |text| format!("invalid conversion '{text}' to 'format'");
    for (format, expected) in [
        ("%y", conversion("%y")),
        ("%", conversion("%")),
        ("%10", conversion("%10")),
        ("%5.", conversion("%5.")),
        ("%F", conversion("%F")),
        ("%1$d", conversion("%1$")),
        ("%\0d", conversion("%")),
        ("%123d", specification("%123d")),
        ("%.123d", specification("%.123d")),
        ("%5.5.5d", specification("%5.5.5d")),
        ("%.-5d", specification("%.-5d")),
        ("%#d", specification("%#d")),
        ("%0c", specification("%0c")),
        ("%5.1c", specification("%5.1c")),
        ("%+x", specification("%+x")),
        ("%05s", specification("%05s")),
        ("%.3p", specification("%.3p")),
        ("%000000000000000000000d", "invalid format (too long)".into()),
        ("%5q", "specifier '%q' cannot have modifiers".into()),
    ] {
        assert_eq!(format_one(format, &Integer(1)), Err(expected), "{format}");
    }
    assert_eq!(format_one("%00000000000000000000d", &Integer(1)).as_deref(), Ok("1"));
}

#[test]
fn quoting() {
    let mut out = Vec::new();
    write_quoted_string(b"a\nb\r\x001\0z\"\\\t\x7f\xc8\x01\r9", &mut out);
    assert_eq!(out, b"\"a\\\nb\\13\\0001\\0z\\\"\\\\\\9\\127\xc8\\1\\0139\"");
    for (value, expected) in [
        (f64::INFINITY, "1e9999"),
        (f64::NEG_INFINITY, "-1e9999"),
        (f64::NAN, "(0/0)"),
        (3.0, "0x1.8p+1"),
        (-0.0, "-0x0p+0"),
        (1e100, "0x1.249ad2594c37dp+332"),
    ] {
        let mut out = Vec::new();
        write_quoted_float(value, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
    let mut out = Vec::new();
    write_quoted_integer(i64::MIN, &mut out);
    write_quoted_integer(-5, &mut out);
    assert_eq!(out, b"0x8000000000000000-5");
}
