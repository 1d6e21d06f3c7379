//! Byte strings of a function's parts. Most names and constants are a few bytes long; those need no allocation.

use std::fmt;
use std::ops::Deref;

/// As many bytes as fit beside a tag and a length where a boxed slice would be with a tag.
const INLINE_BYTES: usize = 3 * size_of::<usize>() - 2;

/// A byte string that does not change. A short one is in place.
#[derive(Clone)]
pub struct SmallBytes(Place);

#[derive(Clone)]
enum Place {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

const _: () = assert!(size_of::<SmallBytes>() == 3 * size_of::<usize>());

impl From<&[u8]> for SmallBytes {
    fn from(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        SmallBytes(match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                Place::Inline { length: text.len() as u8, bytes }
            }
            None => Place::Boxed(text.into()),
        })
    }
}

impl Default for SmallBytes {
    fn default() -> Self {
        SmallBytes(Place::Inline { length: 0, bytes: [0; INLINE_BYTES] })
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Place::Boxed(bytes) => bytes,
        }
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SmallBytes {}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::{INLINE_BYTES, SmallBytes};

    #[test]
    fn keeps_strings_of_any_length() {
        for length in [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 300] {
            let text: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let bytes = SmallBytes::from(&text[..]);
            assert_eq!(*bytes, text[..]);
            assert_eq!(bytes.clone(), bytes);
            let longer = [&text[..], b"\0"].concat();
            assert_ne!(bytes, SmallBytes::from(&longer[..]), "{length}");
        }
        assert_eq!(SmallBytes::default(), SmallBytes::from(&b""[..]));
        assert_eq!(format!("{:?}", SmallBytes::from(&b"a\n"[..])), "\"a\\n\"");
    }
}
