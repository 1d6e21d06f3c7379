//! Arrays of a few plain values (nil, booleans, numbers, short strings), read from and written to the bytes of a document directly.
//!
//! Most calls between the page and Lua code pass no more than that. What is anything else, or not well formed, is none of these: it goes
//! through [`cu_storage::Document`], which also knows the errors. The encoding is the same (`cu_storage::document`).

use cu_vm::{Context, Value};

const NIL: u8 = 0x00;
const FALSE: u8 = 0x01;
const TRUE: u8 = 0x02;
const INTEGER: u8 = 0x03;
const FLOAT: u8 = 0x04;
const STRING: u8 = 0x05;
const ARRAY: u8 = 0x06;
/// The one NaN.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// Longer strings go the usual way, where the heap's limit is asked for.
pub const STRING_MAX: usize = 64;
/// Lengths up to this are one byte.
const SHORT_MAX: usize = 0x7f;
/// What precedes the elements of an array that is written: the tag, the length of what follows and the count.
const HEADER_BYTES: usize = 3;

/// Reads the elements of an array one by one.
pub struct Elements<'a> {
    bytes: &'a [u8],
    count: u64,
}

/// A plain value; a string as its bytes.
enum Scalar<'a, 'gc> {
    Value(Value<'gc>),
    String(&'a [u8]),
}

impl<'a> Elements<'a> {
    /// Nothing if the bytes are no array.
    pub fn new(bytes: &'a [u8]) -> Option<Elements<'a>> {
        let mut elements = Elements { bytes, count: 0 };
        if elements.byte()? != ARRAY || elements.varint()? != elements.bytes.len() as u64 {
            return None;
        }
        elements.count = elements.varint()?;
        // An element takes at least one byte.
        (elements.count <= elements.bytes.len() as u64).then_some(elements)
    }

    /// The bytes of the next element, if it is a string.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        if self.byte()? != STRING {
            return None;
        }
        self.string_bytes()
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether all that are left are plain.
    pub fn are_plain(&self) -> bool {
        let mut left = Elements { ..*self };
        (0..self.count).all(|_| left.scalar().is_some()) && left.bytes.is_empty()
    }

    /// The values of all that are left; `None` if one of them is not plain, or the heap has no room for a string.
    pub fn values<'gc>(mut self, context: Context<'gc>) -> Option<Vec<Value<'gc>>> {
        let mut values = Vec::with_capacity(self.count as usize);
        for _ in 0..self.count {
            values.push(match self.scalar()? {
                Scalar::Value(value) => value,
                Scalar::String(bytes) => Value::String(context.string_within(bytes).ok()?),
            });
        }
        self.bytes.is_empty().then_some(values)
    }

    #[inline(always)]
    fn scalar<'gc>(&mut self) -> Option<Scalar<'a, 'gc>> {
        Some(Scalar::Value(match self.byte()? {
            NIL => Value::Nil,
            FALSE => Value::Boolean(false),
            TRUE => Value::Boolean(true),
            INTEGER => {
                let zigzag = self.varint()?;
                Value::Integer((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            FLOAT => {
                let (bits, rest) = self.bytes.split_first_chunk()?;
                self.bytes = rest;
                let float = f64::from_le_bytes(*bits);
                if float.is_nan() && float.to_bits() != NAN_BITS {
                    return None;
                }
                Value::Float(float)
            }
            STRING => {
                let bytes = self.string_bytes()?;
                return (bytes.len() <= STRING_MAX).then_some(Scalar::String(bytes));
            }
            _ => return None,
        }))
    }

    fn string_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (string, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(string)
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // The shortest form is the only one.
                return (byte != 0 || shift == 0).then_some(value);
            }
        }
        None
    }
}

/// Writes an array of values to the beginning of `place`. Its length, or `None` if a value is not plain or there is no room.
pub fn write<'gc>(place: &mut [u8], values: impl ExactSizeIterator<Item = Value<'gc>>) -> Option<usize> {
    let count = values.len();
    let mut end = HEADER_BYTES;
    for value in values {
        end = write_value(place, end, value)?;
    }
    let length = end - (HEADER_BYTES - 1);
    if count > SHORT_MAX || length > SHORT_MAX {
        return None;
    }
    place.get_mut(..HEADER_BYTES)?.copy_from_slice(&[ARRAY, length as u8, count as u8]);
    Some(end)
}

/// Writes a value at `start`; where it ends.
fn write_value(place: &mut [u8], start: usize, value: Value<'_>) -> Option<usize> {
    let rest = place.get_mut(start..)?;
    let (tag, rest) = rest.split_first_mut()?;
    let (kind, length) = match value {
        Value::Nil => (NIL, 0),
        Value::Boolean(false) => (FALSE, 0),
        Value::Boolean(true) => (TRUE, 0),
        Value::Integer(integer) => (INTEGER, write_varint(rest, ((integer << 1) ^ (integer >> 63)) as u64)?),
        Value::Float(float) => {
            let bits = if float.is_nan() { NAN_BITS } else { float.to_bits() };
            rest.first_chunk_mut::<8>()?.copy_from_slice(&bits.to_le_bytes());
            (FLOAT, 8)
        }
        Value::String(string) => {
            let bytes = string.as_bytes();
            if bytes.len() > STRING_MAX {
                return None;
            }
            let (length, rest) = rest.split_first_mut()?;
            *length = bytes.len() as u8;
            rest.get_mut(..bytes.len())?.copy_from_slice(bytes);
            (STRING, 1 + bytes.len())
        }
        _ => return None,
    };
    *tag = kind;
    Some(start + 1 + length)
}

fn write_varint(place: &mut [u8], mut value: u64) -> Option<usize> {
    let mut at = 0;
    while value >= 0x80 {
        *place.get_mut(at)? = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    *place.get_mut(at)? = value as u8;
    Some(at + 1)
}

#[cfg(test)]
mod tests {
    use cu_storage::Document;
    use cu_vm::{Options, Vm};

    use super::*;

    fn plain() -> Vec<Document> {
        let integers = [0, 1, -1, 63, -64, 64, 300, -300, i64::MAX, i64::MIN, 1 << 53].map(Document::Integer);
        let floats = [0.0, -0.0, 1.5, f64::INFINITY, f64::NAN, 5e-324].map(Document::Float);
        let strings = ["", "a", "schön", &"x".repeat(STRING_MAX)].map(Document::text);
        let others = [Document::Nil, Document::Boolean(false), Document::Boolean(true)];
        integers.into_iter().chain(floats).chain(strings).chain(others).collect()
    }

    fn with_context(test: impl for<'gc> FnOnce(Context<'gc>)) {
        Vm::new(Options::default()).enter(test);
    }

    /// Reads the array that a document is, and writes it again.
    fn there_and_back(context: Context<'_>, bytes: &[u8], place: &mut [u8]) -> Option<usize> {
        write(place, Elements::new(bytes)?.values(context)?.into_iter())
    }

    #[test]
    fn plain_values_are_those_of_documents() {
        with_context(|context| {
            let values = plain();
            for one in &values {
                for other in &values {
                    let bytes = Document::Array(vec![one.clone(), other.clone()]).encode().expect("encodes");
                    let mut place = [0; 256];
                    let written = there_and_back(context, &bytes, &mut place);
                    match written {
                        Some(length) => assert_eq!(place[..length], bytes, "{one:?} {other:?}"),
                        None => assert!(bytes.len() > SHORT_MAX, "{one:?} {other:?}"),
                    }
                }
            }
        });
    }

    #[test]
    fn a_name_comes_before_its_arguments() {
        with_context(|context| {
            let bytes = Document::Array(vec![Document::text("name"), Document::Integer(7)]).encode().expect("encodes");
            let mut elements = Elements::new(&bytes).expect("an array");
            assert_eq!(elements.string(), Some(&b"name"[..]));
            assert!(matches!(elements.values(context).as_deref(), Some([Value::Integer(7)])));
        });
    }

    #[test]
    fn anything_else_goes_the_usual_way() {
        with_context(|context| {
            let long = Document::text(&"x".repeat(STRING_MAX + 1));
            for other in [
                long,
                Document::Array(Vec::new()),
                Document::Map(Vec::new()),
                Document::Blob { kind: 1, bytes: Vec::new() },
            ] {
                let bytes = Document::Array(vec![other]).encode().expect("encodes");
                assert_eq!(there_and_back(context, &bytes, &mut [0; 256]), None);
            }
            let table = Value::Table(context.table());
            assert_eq!(write(&mut [0; 64], [table].into_iter()), None);
        });
    }

    #[test]
    fn damaged_bytes_are_no_values() {
        with_context(|context| {
            let bytes = Document::Array(plain().into_iter().take(12).collect()).encode().expect("encodes");
            for length in 0..bytes.len() {
                assert_eq!(there_and_back(context, &bytes[..length], &mut [0; 256]), None, "cut to {length}");
            }
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 1 << bit;
                    let mut place = [0; 256];
                    if let Some(length) = there_and_back(context, &damaged, &mut place) {
                        assert_eq!(place[..length], damaged, "what is read is what the bytes say");
                        assert!(Document::decode(&damaged).is_ok());
                    }
                }
            }
        });
    }

    #[test]
    fn nothing_is_written_beyond_the_place() {
        let values = || [Value::Integer(300), Value::Float(0.5), Value::Boolean(true)].into_iter();
        let mut place = [0; 64];
        let length = write(&mut place, values()).expect("there is room");
        for room in 0..length {
            assert_eq!(write(&mut place[..room], values()), None);
        }
    }
}
