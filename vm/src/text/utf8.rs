//! UTF-8 as the `utf8` library sees it: code points up to 2³¹−1 in up to six bytes, as in the original UTF-8.
//!
//! Strict decoding refuses surrogates and everything above 10FFFF; lax decoding does not. Overlong forms and stray
//! continuation bytes are refused by both.

/// The largest code point that can be encoded.
pub const CODE_POINT_MAX: u32 = 0x7fff_ffff;

/// Appends the encoding of `code`, which is at most [`CODE_POINT_MAX`]; higher bits are ignored.
pub fn encode(code: u32, out: &mut Vec<u8>) {
    let code = code & CODE_POINT_MAX;
    let continuation = |shift: u32| 0x80 | (code >> shift & 0x3f) as u8;
    match code {
        0..0x80 => out.push(code as u8),
        0x80..0x800 => out.extend_from_slice(&[0xc0 | (code >> 6) as u8, continuation(0)]),
        0x800..0x1_0000 => out.extend_from_slice(&[0xe0 | (code >> 12) as u8, continuation(6), continuation(0)]),
        0x1_0000..0x20_0000 => {
            out.extend_from_slice(&[0xf0 | (code >> 18) as u8, continuation(12), continuation(6), continuation(0)]);
        }
        0x20_0000..0x400_0000 => {
            out.push(0xf8 | (code >> 24) as u8);
            out.extend_from_slice(&[continuation(18), continuation(12), continuation(6), continuation(0)]);
        }
        _ => {
            out.extend_from_slice(&[0xfc | (code >> 30) as u8, continuation(24), continuation(18)]);
            out.extend_from_slice(&[continuation(12), continuation(6), continuation(0)]);
        }
    }
}

/// Decodes the sequence at the start of `bytes`; returns the code point and the sequence's length.
pub fn decode(bytes: &[u8], lax: bool) -> Option<(u32, usize)> {
    let &lead = bytes.first()?;
    let (length, lead_bits, least) = match lead {
        0..0x80 => return Some((u32::from(lead), 1)),
        0x80..0xc0 => return None,
        0xc0..0xe0 => (2, lead & 0x1f, 0x80),
        0xe0..0xf0 => (3, lead & 0x0f, 0x800),
        0xf0..0xf8 => (4, lead & 0x07, 0x1_0000),
        0xf8..0xfc => (5, lead & 0x03, 0x20_0000),
        0xfc..0xfe => (6, lead & 0x01, 0x400_0000),
        _ => return None,
    };
    let mut code = u32::from(lead_bits);
    for &byte in bytes.get(1..length)? {
        if !is_continuation(byte) {
            return None;
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    let allowed = lax || code <= 0x10_ffff && !(0xd800..0xe000).contains(&code);
    (code >= least && allowed).then_some((code, length))
}

/// Whether `byte` is a continuation byte.
pub fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Number of code points that start in `bytes[from..end]`; a sequence may reach beyond `end`. `Err` holds the offset
/// of the first invalid byte.
pub fn count(bytes: &[u8], from: usize, end: usize, lax: bool) -> Result<usize, usize> {
    let mut position = from;
    let mut points = 0;
    while position < end {
        let sequence = bytes.get(position..).unwrap_or_default();
        let (_, length) = decode(sequence, lax).ok_or(position)?;
        position += length;
        points += 1;
    }
    Ok(points)
}

/// Why [`offset`] has no answer other than nil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartsInsideSequence;

/// Offset of the `n`-th code point counted from offset `from` (at most `bytes.len()`): the `utf8.offset` function with
/// offsets instead of positions. `Ok(None)` when there is no such code point.
pub fn offset(bytes: &[u8], n: i64, from: usize) -> Result<Option<usize>, StartsInsideSequence> {
    let continues = |position: usize| bytes.get(position).is_some_and(|&byte| is_continuation(byte));
    let mut position = from;
    if n == 0 {
        while position > 0 && continues(position) {
            position -= 1;
        }
        return Ok(Some(position));
    }
    if continues(position) {
        return Err(StartsInsideSequence);
    }
    let mut left = n;
    if n < 0 {
        while left < 0 && position > 0 {
            position -= 1;
            while position > 0 && continues(position) {
                position -= 1;
            }
            left += 1;
        }
    } else {
        left -= 1;
        while left > 0 && position < bytes.len() {
            position += 1;
            while continues(position) {
                position += 1;
            }
            left -= 1;
        }
    }
    Ok((left == 0).then_some(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_at_every_boundary() {
        for code in [
            0,
            0x7f,
            0x80,
            0x7ff,
            0x800,
            0xd7ff,
            0xd800,
            0xdfff,
            0xe000,
            0xffff,
            0x1_0000,
            0x10_ffff,
            0x11_0000,
            0x1f_ffff,
            0x20_0000,
            0x3ff_ffff,
            0x400_0000,
            CODE_POINT_MAX,
        ] {
            let mut out = Vec::new();
            encode(code, &mut out);
            assert_eq!(decode(&out, true), Some((code, out.len())), "{code:x}");
            assert_eq!(decode(&out, false).map(|(code, _)| code), char::from_u32(code).map(u32::from), "{code:x}");
            assert_eq!(decode(&out[..out.len() - 1], true), None, "{code:x} cut");
        }
    }

    #[test]
    fn invalid_sequences() {
        for bytes in [
            &b"\x80"[..],
            b"\xbf",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xfe\x80",
            b"\xff",
            b"\xc3a",
            b"",
        ] {
            assert_eq!(decode(bytes, true), None, "{bytes:?}");
        }
    }

    #[test]
    fn counting() {
        let text = "aé€😀".as_bytes();
        assert_eq!(count(text, 0, text.len(), false), Ok(4));
        assert_eq!(count(text, 0, 2, false), Ok(2));
        assert_eq!(count(b"ab\xffc", 0, 4, false), Err(2));
    }

    #[test]
    fn offsets() {
        let text = "aé€".as_bytes();
        for (n, from, expected) in [
            (1, 0, Ok(Some(0))),
            (2, 0, Ok(Some(1))),
            (3, 0, Ok(Some(3))),
            (4, 0, Ok(Some(6))),
            (5, 0, Ok(None)),
            (-1, 6, Ok(Some(3))),
            (-3, 6, Ok(Some(0))),
            (-4, 6, Ok(None)),
            (0, 5, Ok(Some(3))),
            (1, 2, Err(StartsInsideSequence)),
            (i64::MIN, 6, Ok(None)),
            (i64::MAX, 0, Ok(None)),
        ] {
            assert_eq!(offset(text, n, from), expected, "{n} {from}");
        }
    }
}
