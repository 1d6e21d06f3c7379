//! Reading a payload's parts, with this crate's errors.

use cu_vm::bytecode::wire;
use serde::Deserialize;

use crate::error::{CorruptKind, Error, Result};

/// A position in a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(wire::Reader<'a>);

impl<'a> Reader<'a> {
    /// A reader at `offset`, which must not lie behind the end.
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Self {
        Reader(wire::Reader::at(bytes, offset))
    }

    pub(crate) fn offset(&self) -> usize {
        self.0.offset()
    }

    pub(crate) fn corrupt(&self, kind: CorruptKind) -> Error {
        Error::corrupt(kind, self.offset())
    }

    /// The next part.
    pub(crate) fn take<T: Deserialize<'a>>(&mut self) -> Result<T> {
        Ok(self.0.take()?)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.0.byte()?)
    }

    pub(crate) fn varint(&mut self) -> Result<u64> {
        Ok(self.0.varint()?)
    }

    /// A varint that fits the type.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T> {
        let number = self.varint()?;
        T::try_from(number).map_err(|_| self.corrupt(CorruptKind::Malformed))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.0.take_bytes(N)?;
        bytes.try_into().map_err(|_| self.corrupt(CorruptKind::Truncated))
    }

    /// Checks that `count` parts of at least `bytes_each` bytes can follow.
    pub(crate) fn check_count(&self, count: u32, bytes_each: usize) -> Result<usize> {
        Ok(self.0.check_count(count, bytes_each)?)
    }

    /// The next number, which must be below `limit`.
    pub(crate) fn take_number(&mut self, limit: u32) -> Result<u32> {
        let number = self.take()?;
        self.check_number(number, limit)
    }

    pub(crate) fn check_number(&self, number: u32, limit: u32) -> Result<u32> {
        Ok(self.0.check_number(number, limit)?)
    }

    pub(crate) fn finish(&self) -> Result<()> {
        Ok(self.0.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_at_the_end_is_an_error() {
        let mut reader = Reader::at(&[1, 2], 0);
        assert_eq!(reader.byte(), Ok(1));
        assert!(matches!(reader.finish(), Err(Error::Corrupt { offset: 1, .. })));
        assert_eq!(reader.byte(), Ok(2));
        assert_eq!(reader.finish(), Ok(()));
    }
}
