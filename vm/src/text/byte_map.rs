//! Sets of bytes in patterns: the classes ("%a") and the sets in brackets ("[%w_]"), each a map of 256 bits.
//!
//! Classes are those of the "C" locale. "%g" is every printing byte but the space; "%z", no longer in the manual,
//! is byte 0.

use super::pattern::PatternError;

/// Which bytes belong to a set, one bit each.
pub(in crate::text) type ByteMap = [u64; 4];

pub(super) fn map_contains(map: &ByteMap, byte: u8) -> bool {
    map[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
}

/// Reads the set at `item`, which holds "["; returns its map and where it ends.
pub(super) fn build_map(pattern: &[u8], item: usize) -> Result<(ByteMap, usize), PatternError> {
    let complement = pattern.get(item + 1) == Some(&b'^');
    let first = item + 1 + usize::from(complement);
    let end = set_end(pattern, first)?;
    let mut map = [0; 4];
    let mut members = &pattern[first..end];
    loop {
        members = match members {
            [b'%', letter, rest @ ..] => {
                match class(*letter) {
                    Some(number) => add_map(&mut map, class_map(number)),
                    None => add_byte(&mut map, *letter),
                }
                rest
            }
            // Here "%" has no special meaning: C Lua reads it as the range's last byte.
            [low, b'-', high, rest @ ..] => {
                add_range(&mut map, *low, *high);
                rest
            }
            [byte, rest @ ..] => {
                add_byte(&mut map, *byte);
                rest
            }
            [] => break,
        };
    }
    if complement {
        map = map.map(|word| !word);
    }
    Ok((map, end + 1))
}

/// Where the "]" stands that closes the set whose members start at `first`. A "]" in first place is a member.
fn set_end(pattern: &[u8], first: usize) -> Result<usize, PatternError> {
    let mut position = first;
    loop {
        match pattern.get(position) {
            Some(b']') if position > first => return Ok(position),
            Some(b'%') => position += 2,
            Some(_) => position += 1,
            None => return Err(PatternError::MissingBracket),
        }
    }
}

fn add_byte(map: &mut ByteMap, byte: u8) {
    map[usize::from(byte >> 6)] |= 1 << (byte & 63);
}

const fn add_range(map: &mut ByteMap, first: u8, last: u8) {
    let mut word = 0;
    while word < 4 {
        let base = word as i32 * 64;
        let low = if first as i32 > base { first as i32 - base } else { 0 };
        let high = if (last as i32) < base + 63 { last as i32 - base } else { 63 };
        if low <= high {
            map[word] |= u64::MAX >> (63 - (high - low)) << low;
        }
        word += 1;
    }
}

const fn add_map(map: &mut ByteMap, other: &ByteMap) {
    let mut word = 0;
    while word < 4 {
        map[word] |= other[word];
        word += 1;
    }
}

/// The number of the class written "%letter", if `letter` names one.
#[inline]
pub(super) fn class(letter: u8) -> Option<u8> {
    let number = CLASS_OF_LETTER[usize::from(letter)];
    (number != NO_CLASS).then_some(number)
}

/// The bytes of a class.
#[inline]
pub(super) fn class_map(number: u8) -> &'static ByteMap {
    &CLASS_MAPS[usize::from(number)]
}

/// The classes' letters and ranges of bytes in the "C" locale. The letter in upper case names the complement.
const CLASSES: [(u8, &[(u8, u8)]); 11] = [
    (b'a', &[(b'A', b'Z'), (b'a', b'z')]),
    (b'c', &[(0, 31), (127, 127)]),
    (b'd', &[(b'0', b'9')]),
    (b'g', &[(b'!', b'~')]),
    (b'l', &[(b'a', b'z')]),
    (b'p', &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')]),
    (b's', &[(b' ', b' '), (b'\t', b'\r')]),
    (b'u', &[(b'A', b'Z')]),
    (b'w', &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')]),
    (b'x', &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')]),
    (b'z', &[(0, 0)]),
];

const NO_CLASS: u8 = u8::MAX;

/// Index into [`CLASS_MAPS`].
static CLASS_OF_LETTER: [u8; 256] = {
    let mut table = [NO_CLASS; 256];
    let mut index = 0;
    while index < CLASSES.len() {
        let letter = CLASSES[index].0;
        table[letter as usize] = 2 * index as u8;
        table[letter.to_ascii_uppercase() as usize] = 2 * index as u8 + 1;
        index += 1;
    }
    table
};

/// Each class, followed by its complement.
static CLASS_MAPS: [ByteMap; 2 * CLASSES.len()] = {
    let mut maps = [[0; 4]; 2 * CLASSES.len()];
    let mut index = 0;
    while index < CLASSES.len() {
        let mut range = 0;
        while range < CLASSES[index].1.len() {
            let (first, last) = CLASSES[index].1[range];
            add_range(&mut maps[2 * index], first, last);
            range += 1;
        }
        let mut word = 0;
        while word < 4 {
            maps[2 * index + 1][word] = !maps[2 * index][word];
            word += 1;
        }
        index += 1;
    }
    maps
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_match_the_c_locale() {
        type Property = fn(&u8) -> bool;
        let expected: [(u8, Property); 11] = [
            (b'a', u8::is_ascii_alphabetic),
            (b'c', u8::is_ascii_control),
            (b'd', u8::is_ascii_digit),
            (b'g', u8::is_ascii_graphic),
            (b'l', u8::is_ascii_lowercase),
            (b'p', u8::is_ascii_punctuation),
            (b's', |byte| matches!(byte, b' ' | 9..=13)),
            (b'u', u8::is_ascii_uppercase),
            (b'w', u8::is_ascii_alphanumeric),
            (b'x', u8::is_ascii_hexdigit),
            (b'z', |byte| *byte == 0),
        ];
        for (letter, property) in expected {
            for byte in 0..=255 {
                let contains = |letter| class(letter).is_some_and(|number| map_contains(class_map(number), byte));
                assert_eq!(contains(letter), property(&byte), "%{} {byte}", char::from(letter));
                assert_eq!(contains(letter.to_ascii_uppercase()), !property(&byte));
            }
        }
        assert!(class(b'b').is_none() && class(b'.').is_none() && class(255).is_none());
    }
}
