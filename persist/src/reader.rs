//! Reading a payload's parts: every read is bounds-checked, every count is checked against the bytes that are left before anything
//! is allocated for it, and errors know the offset.

use serde::Deserialize;

use crate::error::{CorruptKind, Error, Result};

/// A position in a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at `offset`, which must not lie behind the end.
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Self {
        Reader { bytes, offset: offset.min(bytes.len()) }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    pub(crate) fn corrupt(&self, kind: CorruptKind) -> Error {
        Error::corrupt(kind, self.offset)
    }

    /// The next part.
    pub(crate) fn take<T: Deserialize<'a>>(&mut self) -> Result<T> {
        let (part, rest) = postcard::take_from_bytes(self.rest()).map_err(|error| {
            self.corrupt(match error {
                postcard::Error::DeserializeUnexpectedEnd => CorruptKind::Truncated,
                _ => CorruptKind::Malformed,
            })
        })?;
        self.offset = self.bytes.len() - rest.len();
        Ok(part)
    }

    /// The next `length` bytes.
    pub(crate) fn take_bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.rest().split_at_checked(length) {
            Some((taken, _)) => {
                self.offset += length;
                Ok(taken)
            }
            None => Err(self.corrupt(CorruptKind::Truncated)),
        }
    }

    /// Checks that `count` parts of at least `bytes_each` bytes can follow.
    pub(crate) fn check_count(&self, count: u32, bytes_each: usize) -> Result<usize> {
        let count = count as usize;
        match count.checked_mul(bytes_each) {
            Some(bytes) if bytes <= self.rest().len() => Ok(count),
            _ => Err(self.corrupt(CorruptKind::Count)),
        }
    }

    /// The next number, which must be below `limit`.
    pub(crate) fn take_number(&mut self, limit: u32) -> Result<u32> {
        let number: u32 = self.take()?;
        self.check_number(number, limit)
    }

    pub(crate) fn check_number(&self, number: u32, limit: u32) -> Result<u32> {
        if number < limit { Ok(number) } else { Err(self.corrupt(CorruptKind::Reference)) }
    }

    pub(crate) fn finish(&self) -> Result<()> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.corrupt(CorruptKind::TrailingBytes)) }
    }
}
