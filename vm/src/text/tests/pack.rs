//! Cases whose expected values were read off PUC Lua 5.4.

use super::*;

/// The size, or the message of the error.
fn size(format: &[u8]) -> Result<usize, String> {
    packed_size(format).map_err(|error| String::from_utf8_lossy(&error.message()).into_owned())
}

#[test]
fn sizes() {
    for (format, expected) in [
        ("i16", 16),
        ("!16", 0),
        ("c5", 5),
        ("Xi", 0),
        ("Xx", 0),
        ("Xs4", 0),
        ("!4Xi8", 0),
        ("c2147483600 c47", 0x7fff_ffff),
        ("!i8 b", 9),
        ("b!i8", 16),
        ("!2bi8", 10),
        ("b!4i8", 12),
        ("!bXd", 8),
        ("!bi12", 20),
        ("bi3", 4),
        ("!4 i4 i", 8),
        ("!bj!4d", 24),
        ("bBhHlLjJTfdn", 66),
        ("i\0y", 4),
    ] {
        assert_eq!(size(format.as_bytes()), Ok(expected), "{format:?}");
    }
}

#[test]
fn format_errors() {
    for (format, expected) in [
        ("y", "invalid format option 'y'"),
        ("i17", "integral size (17) out of limits [1,16]"),
        ("I0", "integral size (0) out of limits [1,16]"),
        ("!0", "integral size (0) out of limits [1,16]"),
        ("i2147483648", "integral size (214748364) out of limits [1,16]"),
        ("!3i4", "format asks for alignment not power of 2"),
        ("!bXi3", "format asks for alignment not power of 2"),
        ("c", "missing size for format option 'c'"),
        ("c2147483647", "invalid format option '7'"),
        ("c2147483600c48", "format result too large"),
        ("X", "invalid next option for option 'X'"),
        ("Xz", "invalid next option for option 'X'"),
        ("X ", "invalid next option for option 'X'"),
        ("Xc1", "invalid next option for option 'X'"),
        ("bX!8d", "invalid next option for option 'X'"),
        ("Xy", "invalid format option 'y'"),
        ("s", "variable-length format"),
        ("z", "variable-length format"),
    ] {
        assert_eq!(size(format.as_bytes()), Err(expected.into()), "{format:?}");
    }
}

fn item(format: &str) -> Item {
    Items::new(format.as_bytes()).next_item(0).ok().flatten().filter(|item| item.kind.takes_value()).unwrap_or_else(
        || {
            let mut items = Items::new(format.as_bytes());
            items.next_item(0).expect("a setting");
            items.next_item(0).expect("an item").expect("an item")
        },
    )
}

#[test]
fn integers() {
    for (format, value, expected) in [
        ("i1", 127, Ok(&b"\x7f"[..])),
        ("i1", 128, Err(PackError::IntegerOverflow)),
        ("i1", -129, Err(PackError::IntegerOverflow)),
        ("I1", 256, Err(PackError::UnsignedOverflow)),
        ("I1", -1, Err(PackError::UnsignedOverflow)),
        ("i7", 1 << 60, Err(PackError::IntegerOverflow)),
        (">i3", -2, Ok(b"\xff\xff\xfe")),
        ("<i3", 0x010203, Ok(b"\x03\x02\x01")),
        ("I8", -1, Ok(&[0xff; 8])),
        ("i16", -2, Ok(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        (">I16", -2, Ok(b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xfe")),
    ] {
        let mut out = Vec::new();
        let item = item(format);
        let written = write_integer(&item, value, &mut out).map(|()| &out[..]);
        assert_eq!(written, expected, "{format} {value}");
        if written.is_ok() {
            assert_eq!(read_integer(&item, &out), Ok(value));
        }
    }
    for (format, data, expected) in [
        ("i9", &b"\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], Err(PackError::IntegerDoesNotFit(9))),
        ("I9", b"\xff\xff\xff\xff\xff\xff\xff\xff\x00", Ok(-1)),
        ("I9", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", Err(PackError::IntegerDoesNotFit(9))),
        ("i9", b"\0\0\0\0\0\0\0\x80\0", Err(PackError::IntegerDoesNotFit(9))),
        ("I9", b"\0\0\0\0\0\0\0\x80\0", Ok(i64::MIN)),
    ] {
        assert_eq!(read_integer(&item(format), data), expected, "{format} {data:?}");
    }
}

#[test]
fn floats() {
    for (format, value, expected) in [
        (">f", 1.5, &b"\x3f\xc0\0\0"[..]),
        ("f", 1e300, b"\0\0\x80\x7f"),
        ("<d", -2.0, b"\0\0\0\0\0\0\0\xc0"),
        (">n", -f64::NAN, b"\x7f\xf8\0\0\0\0\0\0"),
        ("f", f64::NAN, b"\0\0\xc0\x7f"),
    ] {
        let mut out = Vec::new();
        let item = item(format);
        write_float(&item, value, &mut out);
        assert_eq!(out, expected, "{format} {value}");
        let back = read_float(&item, &out);
        assert!(back == value || back.is_nan() && value.is_nan() || value == 1e300 && back.is_infinite());
    }
}

#[test]
fn strings() {
    for (format, value, expected) in [
        ("c5", &b"ab"[..], Ok(&b"ab\0\0\0"[..])),
        ("c1", b"ab", Err(PackError::StringTooLong)),
        ("z", b"ab", Ok(b"ab\0")),
        ("z", b"a\0b", Err(PackError::ContainsZeros)),
        ("s1", b"abc", Ok(b"\x03abc")),
        (">s2", b"abc", Ok(b"\0\x03abc")),
        ("s1", &[0; 256], Err(PackError::LengthDoesNotFit)),
    ] {
        let mut out = Vec::new();
        let written = write_string(&item(format), value, &mut out).map(|()| &out[..]);
        assert_eq!(written, expected, "{format} {value:?}");
    }
    for (format, data, expected) in [
        ("c2", &b"abc"[..], Ok((&b"ab"[..], 2))),
        ("c5", b"abc", Err(PackError::DataTooShort)),
        ("z", b"ab\0c", Ok((b"ab", 3))),
        ("z", b"abc", Err(PackError::UnfinishedString)),
        ("s1", b"\x02abc", Ok((b"ab", 3))),
        ("s1", b"\x05abc", Err(PackError::DataTooShort)),
        ("s", b"\xff\xff\xff\xff\xff\xff\xff\xffabc", Err(PackError::DataTooShort)),
        ("s", b"abc", Err(PackError::DataTooShort)),
    ] {
        assert_eq!(read_string(&item(format), data, 0), expected, "{format} {data:?}");
    }
}

#[test]
fn a_reader_can_be_stored() {
    let format = b"!4 >b i4 x z";
    let (mut items, mut offset, mut seen) = (Items::new(format), 0, Vec::new());
    while let Ok(Some(item)) = items.next_item(offset) {
        offset += item.space();
        seen.push((item.kind, item.padding, item.little_endian));
        items = Items::resume(format, items.state);
    }
    seen.retain(|(kind, ..)| *kind != Kind::Nothing);
    assert_eq!(
        seen,
        [(Kind::Signed, 0, false), (Kind::Signed, 3, false), (Kind::Padding, 0, false), (Kind::ZeroEnded, 0, false)]
    );
}
