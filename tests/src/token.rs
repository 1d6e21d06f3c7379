//! Lua's tokens as pieces of text: enough to break programs and to shrink them, not to compile them.

use std::ops::Range;

/// The places of a text's tokens and line ends, in order. What is not a token counts byte by byte.
pub fn tokens(text: &[u8]) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = token_length(&text[at..]);
        let is_blank = text[at..at + length].iter().all(|byte| *byte == b' ' || *byte == b'\t');
        if !is_blank {
            tokens.push(at..at + length);
        }
        at += length;
    }
    tokens
}

fn token_length(text: &[u8]) -> usize {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let first = text[0];
    if let Some(level) = long_bracket(text) {
        return long_length(text, level);
    }
    if text.starts_with(b"--") {
        return match long_bracket(&text[2..]) {
            Some(level) => 2 + long_length(&text[2..], level),
            None => text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len()),
        };
    }
    if first == b'"' || first == b'\'' {
        return quoted_length(text);
    }
    if first.is_ascii_digit() || first == b'.' && text.get(1).is_some_and(u8::is_ascii_digit) {
        let exponents: &[u8] = if text.starts_with(b"0x") || text.starts_with(b"0X") { b"pP" } else { b"eE" };
        let mut length = 1;
        while let Some(byte) = text.get(length) {
            let is_sign = (*byte == b'+' || *byte == b'-') && exponents.contains(&text[length - 1]);
            if !(is_word(byte) || *byte == b'.' || is_sign) {
                break;
            }
            length += 1;
        }
        return length;
    }
    if is_word(&first) {
        return text.iter().take_while(|byte| is_word(byte)).count();
    }
    let operators: [&[u8]; 10] = [b"...", b"..", b"::", b"<<", b">>", b"//", b"==", b"~=", b"<=", b">="];
    operators.into_iter().find(|operator| text.starts_with(operator)).map_or(1, <[u8]>::len)
}

/// The number of `=` in an opening long bracket.
fn long_bracket(text: &[u8]) -> Option<usize> {
    let level = text.strip_prefix(b"[")?.iter().take_while(|byte| **byte == b'=').count();
    (text.get(1 + level) == Some(&b'[')).then_some(level)
}

fn long_length(text: &[u8], level: usize) -> usize {
    let close = format!("]{}]", "=".repeat(level));
    let end = text.windows(close.len()).position(|window| window == close.as_bytes());
    end.map_or(text.len(), |end| end + close.len())
}

fn quoted_length(text: &[u8]) -> usize {
    let mut length = 1;
    while let Some(byte) = text.get(length) {
        match byte {
            b'\\' => length += 2,
            b'\n' => return length,
            byte if *byte == text[0] => return length + 1,
            _ => length += 1,
        }
    }
    text.len()
}
