//! Records: one stored object each. The first byte says what it is.
//!
//! ```text
//!   root       0: format version 1, next number, records at the last sweep, next number then, commits so far, value of _home
//!   table      1: metatable (nil or a table), items 1 to the border (nil = hole), pairs; each with its count
//!   closure    2: prototype, upvalues
//!   upvalue    3: value
//!   prototype  4: a binary chunk
//!   native     5: name, values
//!   userdata   6: kind, bytes, metatable, user values
//!   coroutine  7: Head, values of the slots, error, function of the hook, frames, open upvalues, variables to be closed
//!   string     8: bytes
//! ```
//!
//! Numbers are varints. A value is a tag and what belongs to it; objects go by number, natives and tables of the library by name,
//! strings up to [`INLINE_BYTES_MAX`] are written where they are used.

use cu_vm::image::FrameImage;

use crate::coroutine::{Head, take_frame};
use crate::error::{CorruptKind, Error, Result};
use crate::reader::Reader;
use crate::wire::Writer;

/// The version of the format of records.
pub(super) const VERSION: u8 = 1;

/// Longer strings have a record of their own.
pub(super) const INLINE_BYTES_MAX: usize = 120;

/// How many numbers a root record has before its value.
pub(super) const ROOT_NUMBERS: usize = 4;

/// The number of the root's record.
pub(super) const ROOT: u64 = 0;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Root,
    Table,
    Closure,
    Upvalue,
    Proto,
    Native,
    Userdata,
    Coroutine,
    String,
}

const KINDS: [Kind; 9] = [
    Kind::Root,
    Kind::Table,
    Kind::Closure,
    Kind::Upvalue,
    Kind::Proto,
    Kind::Native,
    Kind::Userdata,
    Kind::Coroutine,
    Kind::String,
];

/// A value in a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Datum<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(&'a [u8]),
    Permanent(&'a [u8]),
    Object(Kind, u64),
}

const FIRST_OBJECT: u8 = 7;

pub(super) fn put(out: &mut Writer, datum: Datum<'_>) {
    match datum {
        Datum::Nil => out.push(0),
        Datum::Boolean(boolean) => out.push(1 + u8::from(boolean)),
        Datum::Integer(integer) => {
            out.push(3);
            out.varint(((integer << 1) ^ (integer >> 63)) as u64);
        }
        Datum::Float(float) => {
            out.push(4);
            out.append(&float.to_le_bytes());
        }
        Datum::Text(text) => put_bytes(out, 5, text),
        Datum::Permanent(name) => put_bytes(out, 6, name),
        Datum::Object(kind, number) => {
            out.push(FIRST_OBJECT + kind as u8);
            out.varint(number);
        }
    }
}

fn put_bytes(out: &mut Writer, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_text(out, bytes);
}

pub(super) fn put_text(out: &mut Writer, bytes: &[u8]) {
    out.varint(bytes.len() as u64);
    out.append(bytes);
}

/// A record as it is read.
pub(super) struct RecordReader<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> RecordReader<'a> {
    /// The kind of a record, and what follows it.
    pub(super) fn open(bytes: &'a [u8]) -> Result<(Kind, RecordReader<'a>)> {
        let mut reader = Reader::at(bytes, 0);
        let tag = reader.byte()?;
        let kind = KINDS.get(usize::from(tag)).copied().ok_or_else(|| reader.corrupt(CorruptKind::Malformed))?;
        Ok((kind, RecordReader { bytes, reader }))
    }

    /// Likewise for a record that has to be of this kind.
    pub(super) fn open_as(bytes: &'a [u8], kind: Kind) -> Result<RecordReader<'a>> {
        match Self::open(bytes)? {
            (found, reader) if found == kind => Ok(reader),
            (_, reader) => Err(reader.corrupt(CorruptKind::Kind)),
        }
    }

    pub(super) fn corrupt(&self, kind: CorruptKind) -> Error {
        self.reader.corrupt(kind)
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        self.reader.varint()
    }

    /// How many parts of at least one byte follow.
    pub(super) fn count(&mut self) -> Result<usize> {
        let count = self.reader.small()?;
        self.reader.check_count(count, 1)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.reader.byte()
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8]> {
        let length = self.count()?;
        let start = self.reader.offset();
        self.reader = Reader::at(self.bytes, start + length);
        Ok(&self.bytes[start..start + length])
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let start = self.reader.offset();
        self.reader = Reader::at(self.bytes, self.bytes.len());
        &self.bytes[start..]
    }

    pub(super) fn datum(&mut self) -> Result<Datum<'a>> {
        Ok(match self.reader.byte()? {
            0 => Datum::Nil,
            1 => Datum::Boolean(false),
            2 => Datum::Boolean(true),
            3 => {
                let number = self.number()?;
                Datum::Integer((number >> 1) as i64 ^ -((number & 1) as i64))
            }
            4 => match f64::from_le_bytes(self.reader.bytes::<8>()?) {
                float if float.is_nan() => Datum::Float(f64::NAN),
                float => Datum::Float(float),
            },
            5 => Datum::Text(self.text()?),
            6 => Datum::Permanent(self.text()?),
            tag => match KINDS.get(usize::from(tag - FIRST_OBJECT)) {
                Some(
                    kind @ (Kind::Table
                    | Kind::Closure
                    | Kind::Native
                    | Kind::Userdata
                    | Kind::Coroutine
                    | Kind::String),
                ) => Datum::Object(*kind, self.number()?),
                _ => return Err(self.corrupt(CorruptKind::Malformed)),
            },
        })
    }

    pub(super) fn finish(&self) -> Result<()> {
        self.reader.finish()
    }

    /// The fixed part of a coroutine.
    pub(super) fn head(&mut self) -> Result<Head> {
        Head::take(&mut self.reader)
    }

    pub(super) fn frame(&mut self) -> Result<FrameImage> {
        take_frame(&mut self.reader)
    }
}

/// The numbers of the objects that a record refers to.
pub(super) fn references(bytes: &[u8], found: &mut Vec<u64>) -> Result<()> {
    let (kind, mut reader) = RecordReader::open(bytes)?;
    let mut data = |reader: &mut RecordReader<'_>, count: usize| -> Result<()> {
        for _ in 0..count {
            if let Datum::Object(_, number) = reader.datum()? {
                found.push(number);
            }
        }
        Ok(())
    };
    match kind {
        Kind::Root => {
            reader.byte()?;
            for _ in 0..ROOT_NUMBERS {
                reader.number()?;
            }
            data(&mut reader, 1)?;
        }
        Kind::Table => {
            data(&mut reader, 1)?;
            let items = reader.count()?;
            data(&mut reader, items)?;
            let pairs = reader.count()?;
            data(&mut reader, pairs)?;
            data(&mut reader, pairs)?;
        }
        Kind::Closure => {
            found.push(reader.number()?);
            for _ in 0..reader.count()? {
                found.push(reader.number()?);
            }
        }
        Kind::Upvalue => data(&mut reader, 1)?,
        Kind::Proto | Kind::String => {
            reader.rest();
        }
        Kind::Native => {
            reader.text()?;
            let count = reader.count()?;
            data(&mut reader, count)?;
        }
        Kind::Userdata => {
            reader.text()?;
            reader.text()?;
            data(&mut reader, 1)?;
            let count = reader.count()?;
            data(&mut reader, count)?;
        }
        Kind::Coroutine => {
            reader.head()?;
            let slots = reader.count()?;
            data(&mut reader, slots + 2)?;
            for _ in 0..reader.count()? {
                data(&mut reader, 1)?;
                reader.frame()?;
            }
            for _ in 0..reader.count()? {
                found.push(reader.number()?);
                reader.number()?;
            }
            for _ in 0..reader.count()? {
                reader.number()?;
            }
        }
    }
    reader.finish()
}
