//! Reading encoded documents: every length is checked against the bytes that are there, and a whole document can be checked without
//! being decoded.

use crate::document::{DEPTH_MAX, Document, Elements, NAN_BITS, Shallow, tag};
use crate::error::{Error, Result};

/// Reads encodings from the front of `bytes`. Everything it returns has been checked against the bytes that are there.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn finish(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(malformed()) }
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.bytes.split_first().ok_or_else(malformed)?;
        self.bytes = rest;
        Ok(first)
    }

    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| malformed())?;
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or_else(malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64> {
        match *self.bytes {
            [byte @ ..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(byte.into())
            }
            [low, high @ 1..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(malformed());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let minimal = byte != 0 || shift == 0;
                return if minimal { Ok(value) } else { Err(malformed()) };
            }
        }
        Err(malformed())
    }

    pub(crate) fn length_and_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.varint()?;
        self.take(length)
    }

    fn elements(&mut self) -> Result<Elements<'a>> {
        let mut body = Reader { bytes: self.length_and_bytes()? };
        let count = body.varint()?;
        // An element takes at least one byte, which bounds the count by what is there.
        if count > body.bytes.len() as u64 {
            return Err(malformed());
        }
        Ok(Elements { bytes: body.bytes, count: count as usize })
    }

    /// Reads one value; arrays and maps are skipped and returned unread.
    pub(crate) fn shallow(&mut self) -> Result<Shallow<'a>> {
        Ok(match self.byte()? {
            tag::NIL => Shallow::Nil,
            tag::FALSE => Shallow::Boolean(false),
            tag::TRUE => Shallow::Boolean(true),
            tag::INTEGER => {
                let zigzag = self.varint()?;
                Shallow::Integer((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            tag::FLOAT => {
                let bytes = self.take(8)?.try_into().map_err(|_| malformed())?;
                let value = f64::from_bits(u64::from_le_bytes(bytes));
                if value.is_nan() && value.to_bits() != NAN_BITS {
                    return Err(malformed());
                }
                Shallow::Float(value)
            }
            tag::STRING => Shallow::String(self.length_and_bytes()?),
            tag::ARRAY => Shallow::Array(self.elements()?),
            tag::MAP => Shallow::Map(self.elements()?),
            tag::BLOB => {
                let kind = self.byte()?;
                Shallow::Blob { kind, bytes: self.length_and_bytes()? }
            }
            _ => return Err(malformed()),
        })
    }

    pub(crate) fn document(&mut self, depth: usize) -> Result<Document> {
        Ok(match self.shallow()? {
            Shallow::Nil => Document::Nil,
            Shallow::Boolean(value) => Document::Boolean(value),
            Shallow::Integer(value) => Document::Integer(value),
            Shallow::Float(value) => Document::Float(value),
            Shallow::String(bytes) => Document::String(bytes.to_vec()),
            Shallow::Blob { kind, bytes } => Document::Blob { kind, bytes: bytes.to_vec() },
            Shallow::Array(elements) => {
                let mut inner = enter(elements, depth)?;
                let mut array = Vec::new();
                for _ in 0..elements.count {
                    array.push(inner.document(depth + 1)?);
                }
                inner.finish()?;
                Document::Array(array)
            }
            Shallow::Map(entries) => {
                let mut inner = enter(entries, depth)?;
                let mut map = Vec::new();
                let mut keys = Keys::default();
                for _ in 0..entries.count {
                    let before = inner.bytes;
                    let key = inner.document(depth + 1)?;
                    let encoded = &before[..before.len() - inner.bytes.len()];
                    check_key(encoded)?;
                    keys.add(encoded)?;
                    map.push((key, inner.document(depth + 1)?));
                }
                keys.finish()?;
                inner.finish()?;
                Document::Map(map)
            }
        })
    }

    /// Passes one value without looking inside.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.byte()? {
            tag::NIL | tag::FALSE | tag::TRUE => {}
            tag::INTEGER => {
                self.varint()?;
            }
            tag::FLOAT => {
                self.take(8)?;
            }
            tag::STRING | tag::ARRAY | tag::MAP => {
                self.length_and_bytes()?;
            }
            tag::BLOB => {
                self.byte()?;
                self.length_and_bytes()?;
            }
            _ => return Err(malformed()),
        }
        Ok(())
    }

    /// The bytes of a value that is a string, nothing of another one.
    pub(crate) fn name(&mut self) -> Result<Option<&'a [u8]>> {
        if self.bytes.first() == Some(&tag::STRING) {
            self.byte()?;
            return self.length_and_bytes().map(Some);
        }
        self.skip().map(|()| None)
    }

    /// Checks one value completely.
    pub(crate) fn validate(&mut self, depth: usize) -> Result<()> {
        // Most values need no second look.
        if let Some(&(tag::STRING | tag::INTEGER)) = self.bytes.first() {
            return self.skip();
        }
        match self.shallow()? {
            Shallow::Array(elements) => {
                let mut inner = enter(elements, depth)?;
                for _ in 0..elements.count {
                    inner.validate(depth + 1)?;
                }
                inner.finish()
            }
            Shallow::Map(entries) => {
                let mut inner = enter(entries, depth)?;
                let mut keys = Keys::default();
                for _ in 0..entries.count {
                    keys.add(inner.key()?)?;
                    inner.validate(depth + 1)?;
                }
                keys.finish()?;
                inner.finish()
            }
            _ => Ok(()),
        }
    }

    /// The encoding of a map's key.
    fn key(&mut self) -> Result<&'a [u8]> {
        let before = self.bytes;
        self.shallow()?;
        let encoded = &before[..before.len() - self.bytes.len()];
        check_key(encoded)?;
        Ok(encoded)
    }
}

/// Keys of one map, which must be unique. Few are compared with each other as they come, more are sorted at the end.
#[derive(Default)]
pub(crate) struct Keys<'a> {
    few: [&'a [u8]; KEYS_COMPARED],
    count: usize,
    more: Vec<&'a [u8]>,
}

const KEYS_COMPARED: usize = 16;

impl<'a> Keys<'a> {
    pub fn add(&mut self, key: &'a [u8]) -> Result<()> {
        if self.count == KEYS_COMPARED {
            self.more.push(key);
            return Ok(());
        }
        // Keys of one length mostly differ in their last byte already.
        let is_same = |other: &&[u8]| other.len() == key.len() && other.last() == key.last() && *other == key;
        if self.few[..self.count].iter().any(is_same) {
            return Err(twice());
        }
        self.few[self.count] = key;
        self.count += 1;
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        if self.more.is_empty() {
            return Ok(());
        }
        self.more.extend_from_slice(&self.few);
        cu_sort::sort(&mut self.more);
        if self.more.windows(2).any(|pair| pair[0] == pair[1]) { Err(twice()) } else { Ok(()) }
    }
}

fn enter(elements: Elements<'_>, depth: usize) -> Result<Reader<'_>> {
    if depth >= DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(Reader { bytes: elements.bytes })
}

/// Refuses an encoding that no key of a map has.
pub(crate) fn check_key(encoded: &[u8]) -> Result<()> {
    match encoded.first() {
        Some(&tag::FLOAT) if encoded[1..] == NAN_BITS.to_le_bytes() => {
            Err(Error::invalid("document", "NaN as a map key"))
        }
        Some(&(tag::FALSE | tag::TRUE | tag::INTEGER | tag::FLOAT | tag::STRING)) => Ok(()),
        _ => Err(Error::invalid("document", "a map key must be a boolean, number or string")),
    }
}

fn twice() -> Error {
    Error::invalid("document", "a map key occurs twice")
}

pub(crate) fn malformed() -> Error {
    Error::invalid("document", "malformed encoding")
}

pub(crate) fn too_deep() -> Error {
    Error::invalid("document", "nested too deep")
}
