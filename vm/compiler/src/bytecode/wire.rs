//! The parts of a saved function as explicit structs, encoded by postcard; the same in binary chunks and in blobs.
//!
//! ```text
//!   FunctionHead, code words (4 bytes each, little endian), Constant…, UpvalueDescription…, child function numbers, Line…, Local…
//! ```
//!
//! Strings and child functions go by number. Reading is bounds-checked, and every count is checked against the bytes that are
//! left before anything is allocated for it.

use postcard::Serializer;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FunctionHead {
    /// String number; that of the enclosing function.
    pub chunk_name: u32,
    pub line_defined: u32,
    pub last_line_defined: u32,
    pub parameter_count: u8,
    pub is_vararg: bool,
    pub register_count: u8,
    pub code_words: u32,
    pub constants: u32,
    pub upvalues: u32,
    pub children: u32,
    pub lines: u32,
    pub locals: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Constant {
    Nil,
    False,
    True,
    Integer(i64),
    Float(f64),
    String(u32),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct UpvalueDescription {
    pub in_stack: bool,
    pub index: u8,
    /// String number.
    pub name: u32,
}

/// The distance to the line entry before; for the first one from instruction 0 and the line of the definition.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Line {
    pub instructions: u32,
    pub lines: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Local {
    /// String number.
    pub name: u32,
    pub register: u8,
    pub start: u32,
    /// How many instructions it is visible for.
    pub length: u32,
}

// Lines and locals are the most numerous parts, so they are written and read by hand, as postcard does it.

impl Line {
    pub fn put(self, out: &mut Writer) {
        out.varint(self.instructions.into());
        out.varint(((self.lines << 1) ^ (self.lines >> 63)) as u64);
    }

    pub fn take(reader: &mut Reader<'_>) -> Result<Line, WireError> {
        let instructions = reader.short()?;
        let lines = reader.varint()?;
        Ok(Line { instructions, lines: (lines >> 1) as i64 ^ -((lines & 1) as i64) })
    }
}

impl Local {
    pub fn put(self, out: &mut Writer) {
        out.varint(self.name.into());
        out.push(self.register);
        out.varint(self.start.into());
        out.varint(self.length.into());
    }

    pub fn take(reader: &mut Reader<'_>) -> Result<Local, WireError> {
        Ok(Local { name: reader.short()?, register: reader.byte()?, start: reader.short()?, length: reader.short()? })
    }
}

/// Growing output; writing to it cannot fail.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// One with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    pub fn put(&mut self, part: &impl Serialize) {
        let mut serializer = Serializer { output: Sink(&mut self.bytes) };
        part.serialize(&mut serializer).expect("parts have known lengths and the sink takes everything");
    }

    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A number in groups of seven bits, the lowest first, as postcard writes it.
    #[inline]
    pub fn varint(&mut self, number: u64) {
        let mut number = number;
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A byte string: its length and its bytes, as postcard writes it.
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.append(bytes);
    }

    /// Numbers of four bytes each, the lowest byte first.
    pub fn words(&mut self, words: &[u32]) {
        let start = self.bytes.len();
        self.bytes.resize(start + 4 * words.len(), 0);
        let (places, _) = self.bytes[start..].as_chunks_mut::<4>();
        places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Takes back what was written behind the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Makes room for so many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

struct Sink<'a>(&'a mut Vec<u8>);

impl Flavor for Sink<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Bytes that are not what they should be, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct WireError {
    pub fault: Fault,
    pub offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("truncated")]
    Truncated,
    #[error("bytes after the end")]
    TrailingBytes,
    /// A value is not encoded as it must be.
    #[error("malformed value")]
    Malformed,
    /// A count says more than the bytes that are left can hold.
    #[error("count out of range")]
    Count,
    /// A reference to something that is not there.
    #[error("reference out of range")]
    Reference,
}

/// A position in encoded bytes; errors know its offset.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at `offset`, which must not lie behind the end.
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Reader { bytes, offset: offset.min(bytes.len()) }
    }

    pub fn offset(&self) -> usize {
        self.offset
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    pub fn fail(&self, fault: Fault) -> WireError {
        WireError { fault, offset: self.offset }
    }

    /// The next part.
    pub fn take<T: Deserialize<'a>>(&mut self) -> Result<T, WireError> {
        let (part, rest) = postcard::take_from_bytes(self.rest()).map_err(|error| {
            self.fail(match error {
                postcard::Error::DeserializeUnexpectedEnd => Fault::Truncated,
                _ => Fault::Malformed,
            })
        })?;
        self.offset = self.bytes.len() - rest.len();
        Ok(part)
    }

    pub fn byte(&mut self) -> Result<u8, WireError> {
        let byte = *self.bytes.get(self.offset).ok_or_else(|| self.fail(Fault::Truncated))?;
        self.offset += 1;
        Ok(byte)
    }

    /// What [`Writer::varint`] wrote.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.offset) {
            Some(&byte) if byte < 0x80 => {
                self.offset += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.fail(Fault::Malformed))
    }

    /// A varint of 32 bits.
    pub fn short(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.varint()?).map_err(|_| self.fail(Fault::Malformed))
    }

    /// The next `length` bytes.
    pub fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, _) = self.rest().split_at_checked(length).ok_or_else(|| self.fail(Fault::Truncated))?;
        self.offset += length;
        Ok(taken)
    }

    /// Checks that `count` parts of at least `bytes_each` bytes can follow.
    pub fn check_count(&self, count: u32, bytes_each: usize) -> Result<usize, WireError> {
        let count = count as usize;
        match count.checked_mul(bytes_each) {
            Some(bytes) if bytes <= self.rest().len() => Ok(count),
            _ => Err(self.fail(Fault::Count)),
        }
    }

    /// Checks that there is something with this number among `limit` of its kind.
    pub fn check_number(&self, number: u32, limit: u32) -> Result<u32, WireError> {
        if number < limit { Ok(number) } else { Err(self.fail(Fault::Reference)) }
    }

    pub fn finish(&self) -> Result<(), WireError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.fail(Fault::TrailingBytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_is_as_postcard_writes_it() {
        for shift in 0..32 {
            for number in [1u32 << shift, (1 << shift) - 1, !0 << shift] {
                let lines = [i64::from(number), -i64::from(number), i64::from(number) << 31];
                for line in lines.map(|lines| Line { instructions: number, lines }) {
                    let (mut by_hand, mut by_postcard) = (Writer::default(), Writer::default());
                    line.put(&mut by_hand);
                    by_postcard.put(&line);
                    assert_eq!(by_hand.as_bytes(), by_postcard.as_bytes(), "{line:?}");
                    let read = Line::take(&mut Reader::at(by_hand.as_bytes(), 0)).expect("it was written");
                    assert_eq!((read.instructions, read.lines), (line.instructions, line.lines));
                }
                let local = Local { name: number, register: shift as u8, start: number / 3, length: number / 7 };
                let (mut by_hand, mut by_postcard) = (Writer::default(), Writer::default());
                local.put(&mut by_hand);
                by_postcard.put(&local);
                assert_eq!(by_hand.as_bytes(), by_postcard.as_bytes(), "{local:?}");
                let read = Local::take(&mut Reader::at(by_hand.as_bytes(), 0)).expect("it was written");
                assert_eq!((read.name, read.register), (local.name, local.register));
                assert_eq!((read.start, read.length), (local.start, local.length));
                for end in 0..by_hand.as_bytes().len() {
                    assert!(Local::take(&mut Reader::at(&by_hand.as_bytes()[..end], 0)).is_err());
                }
            }
        }
        for length in [0, 1, 127, 128, 20_000] {
            let text = "a".repeat(length);
            let (mut by_hand, mut by_postcard) = (Writer::default(), Writer::default());
            by_hand.string(text.as_bytes());
            by_postcard.put(&text);
            assert_eq!(by_hand.as_bytes(), by_postcard.as_bytes());
        }
        let too_large = [0xff, 0xff, 0xff, 0xff, 0x1f, 0];
        assert!(Line::take(&mut Reader::at(&too_large, 0)).is_err());
    }

    #[test]
    fn varints_end_with_64_bits() {
        for bytes in [&[0x80; 9][..], &[0xff; 9], &[]] {
            for last in [0, 1, 2, 0x7f] {
                let bytes = [bytes, &[last]].concat();
                let (mut by_hand, mut by_postcard) = (Reader::at(&bytes, 0), Reader::at(&bytes, 0));
                let number = by_hand.varint().map_err(|error| error.fault);
                assert_eq!(number, by_postcard.take::<u64>().map_err(|error| error.fault), "{bytes:?}");
            }
        }
    }

    #[test]
    fn counts_numbers_and_ends_are_checked() {
        let reader = Reader::at(&[0; 13], 1);
        assert_eq!(reader.check_count(3, 4), Ok(3));
        assert_eq!(reader.check_count(4, 4).map_err(|error| error.fault), Err(Fault::Count));
        assert_eq!(reader.check_count(u32::MAX, 1 << 40).map_err(|error| error.fault), Err(Fault::Count));
        let refused = Err(WireError { fault: Fault::Reference, offset: 1 });
        assert_eq!([2, 3, 4].map(|number| reader.check_number(number, 3)), [Ok(2), refused, refused]);
        assert_eq!(reader.finish().map_err(|error| error.fault), Err(Fault::TrailingBytes));
        assert_eq!(Reader::at(&[0; 13], 13).finish(), Ok(()));
    }

    #[test]
    fn a_writer_takes_back_what_it_wrote() {
        let mut out = Writer::default();
        out.append(b"abc");
        out.truncate(2);
        assert_eq!(out.as_bytes(), b"ab");
        out.clear();
        out.append(b"d");
        assert_eq!(out.into_bytes(), b"d");
    }
}
