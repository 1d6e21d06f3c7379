//! Documents as cells: a form that a host reads faster than their encoding, made for JavaScript, where each byte that is looked at
//! and each call of a text decoder costs.
//!
//! What a value is, is one byte; a number, or the length of a text, is a double; the texts of many documents lie behind each other,
//! to be decoded at once and cut by their lengths in UTF-16. A map whose keys are all texts has a *shape*, the list of its keys,
//! which a reader asks for once. Whatever fits into none of this lies in its encoding behind the others of its sort. [`CellParts`]
//! has the form.

use std::rc::Rc;

use crate::document::{Document, DocumentRef, Encoded, encode_array, tag};
use crate::error::Result;
use crate::key::lead;
use crate::query::Row;
use crate::reader::{Reader, malformed};

/// See [`CellParts::kinds`].
mod kind {
    pub const NIL: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const NUMBER: u8 = 3;
    pub const TEXT: u8 = 4;
    pub const ENCODED: u8 = 5;
    /// A map of the first shape; those of the others follow.
    pub const SHAPES: u8 = 16;
}

/// Shapes that are known at a time; maps of any other are encoded. As many as kinds are left.
const SHAPES_MAX: usize = (u8::MAX - kind::SHAPES) as usize + 1;
/// Bytes of a shape's keys: longer ones are rather data.
const SHAPE_BYTES_MAX: usize = 4096;
/// A block has as many bytes of texts, or one document more. A text that is kept by the host may keep all of its block.
const BLOCK_BYTES: usize = 32 * 1024;
/// Largest integer that JavaScript has as a number without doubt.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Documents as cells, and the shapes that they have.
#[derive(Debug, Default)]
pub struct Cells {
    kinds: Vec<u8>,
    numbers: Vec<f64>,
    texts: Vec<u8>,
    encoded: Vec<u8>,
    blocks: Vec<u32>,
    /// Where the last block's documents and texts begin.
    block: (u32, usize),
    count: u32,
    shapes: Vec<Shape>,
    /// The shape of the document before.
    last: usize,
    /// Counts the times that the shapes were forgotten.
    epoch: u32,
}

#[derive(Debug)]
struct Shape {
    keys: Rc<[Key]>,
}

/// A key of a shape.
#[derive(Debug)]
struct Key {
    encoded: Box<[u8]>,
    /// Its first eight bytes, and which of their bits are there.
    lead: u64,
    mask: u64,
}

/// The parts of [`Cells`], each in the order of the documents and, within one, of its values.
#[derive(Debug)]
pub struct CellParts<'a> {
    /// What each value is: 0 nil, 1 false, 2 true, 3 a number, 4 a text, 5 an encoded document. From 16 on, a map of the shape with that
    /// number less 16, whose values follow in the order of its keys. Where keys of rows are wanted, a row's is before its document.
    pub kinds: &'a [u8],
    /// For each number its value, for each text its length in UTF-16 units, for each encoded document its length in bytes.
    pub numbers: &'a [f64],
    /// All texts, UTF-8.
    pub texts: &'a [u8],
    /// All encoded documents.
    pub encoded: &'a [u8],
    /// For each block of documents their count, and the bytes of their texts.
    pub blocks: &'a [u32],
    /// Shapes keep their numbers while this stays.
    pub epoch: u32,
}

impl Cells {
    /// Puts rows in place of what is there, with their keys or without.
    pub fn set_rows(&mut self, rows: &[Row], with_keys: bool) -> Result<()> {
        self.clear();
        for row in rows {
            if self.texts.len() - self.block.1 >= BLOCK_BYTES {
                self.end_block();
            }
            if with_keys {
                self.add_key(&row.key)?;
            }
            self.add_document(row.value.as_ref())?;
        }
        self.end_block();
        Ok(())
    }

    /// Puts one document in place of what is there.
    pub fn set_document(&mut self, document: DocumentRef<'_>) -> Result<()> {
        self.clear();
        self.add_document(document)?;
        self.end_block();
        Ok(())
    }

    /// Gives the memory of the documents back; the shapes stay.
    pub fn release(&mut self) {
        *self = Cells { shapes: std::mem::take(&mut self.shapes), epoch: self.epoch, ..Cells::default() };
    }

    /// The documents.
    pub fn parts(&self) -> CellParts<'_> {
        let Cells { kinds, numbers, texts, encoded, blocks, epoch, .. } = self;
        CellParts { kinds, numbers, texts, encoded, blocks, epoch: *epoch }
    }

    /// The keys of a shape, an encoded array; an empty one for a number that is none's.
    pub fn shape(&self, number: usize) -> Vec<u8> {
        let keys = self.shapes.get(number).map_or(&[][..], |shape| &shape.keys);
        encode_array(keys.iter().map(|key| Encoded::trusted(key.encoded.to_vec())))
    }

    fn clear(&mut self) {
        // What has new shapes all the time does not keep others from having theirs.
        if self.shapes.len() == SHAPES_MAX {
            self.shapes.clear();
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.kinds.clear();
        self.numbers.clear();
        self.texts.clear();
        self.encoded.clear();
        self.blocks.clear();
        (self.block, self.count) = ((0, 0), 0);
    }

    fn end_block(&mut self) {
        let (documents, texts) = self.block;
        self.blocks.extend([self.count - documents, (self.texts.len() - texts) as u32]);
        self.block = (self.count, self.texts.len());
    }

    fn add_key(&mut self, key: &Document) -> Result<()> {
        match key {
            Document::Integer(value) if value.unsigned_abs() <= INTEGER_MAX => self.add_number(*value as f64),
            Document::String(bytes) if self.add_text(bytes) => {}
            _ => self.add_encoded(&key.encode()?),
        }
        Ok(())
    }

    fn add_document(&mut self, document: DocumentRef<'_>) -> Result<()> {
        self.count += 1;
        let mut reader = Reader { bytes: document.as_bytes() };
        if reader.bytes.first() != Some(&tag::MAP) {
            return self.add_value(&mut reader);
        }
        reader.byte()?;
        let mut body = Reader { bytes: reader.length_and_bytes()? };
        let count = body.varint()? as usize;
        // Mostly it has the shape of the one before.
        if self.add_map(self.last, body.bytes, count)? {
            return Ok(());
        }
        match self.shape_of(body.bytes, count)? {
            Some(shape) if self.add_map(shape, body.bytes, count)? => self.last = shape,
            _ => self.add_encoded(document.as_bytes()),
        }
        Ok(())
    }

    /// Adds a map with these entries, if it has this shape.
    fn add_map(&mut self, shape: usize, entries: &[u8], count: usize) -> Result<bool> {
        let Some(shape_keys) = self.shapes.get(shape).filter(|shape| shape.keys.len() == count) else {
            return Ok(false);
        };
        let shape_keys = shape_keys.keys.clone();
        let before = (self.kinds.len(), self.numbers.len(), self.texts.len(), self.encoded.len());
        self.kinds.push(kind::SHAPES + shape as u8);
        let mut reader = Reader { bytes: entries };
        for key in shape_keys.iter() {
            let Some(rest) = key.behind(reader.bytes) else {
                self.kinds.truncate(before.0);
                self.numbers.truncate(before.1);
                self.texts.truncate(before.2);
                self.encoded.truncate(before.3);
                return Ok(false);
            };
            reader.bytes = rest;
            self.add_value(&mut reader)?;
        }
        Ok(true)
    }

    /// The number of a map's shape, if it has one.
    fn shape_of(&mut self, entries: &[u8], count: usize) -> Result<Option<usize>> {
        let known = self.shapes.iter().position(|shape| shape.is_of(entries, count));
        if known.is_some() || self.shapes.len() == SHAPES_MAX {
            return Ok(known);
        }
        let Some(shape) = Shape::of(entries, count)? else { return Ok(None) };
        self.shapes.push(shape);
        Ok(Some(self.shapes.len() - 1))
    }

    fn add_value(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let before = reader.bytes;
        let plain = match *before {
            [tag::INTEGER, ..] => {
                reader.bytes = &before[1..];
                let zigzag = reader.varint()?;
                if zigzag > 2 * INTEGER_MAX {
                    self.add_encoded(&before[..before.len() - reader.bytes.len()]);
                } else {
                    self.add_number(((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)) as f64);
                }
                return Ok(());
            }
            [tag::STRING, ..] => {
                reader.bytes = &before[1..];
                let bytes = reader.length_and_bytes()?;
                if !self.add_text(bytes) {
                    self.add_encoded(&before[..before.len() - reader.bytes.len()]);
                }
                return Ok(());
            }
            [tag::FLOAT, ref rest @ ..] => {
                let (bytes, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
                reader.bytes = rest;
                self.add_number(f64::from_le_bytes(*bytes));
                return Ok(());
            }
            [tag::NIL, ..] => kind::NIL,
            [tag::FALSE, ..] => kind::FALSE,
            [tag::TRUE, ..] => kind::TRUE,
            _ => {
                reader.skip()?;
                self.add_encoded(&before[..before.len() - reader.bytes.len()]);
                return Ok(());
            }
        };
        reader.bytes = &before[1..];
        self.kinds.push(plain);
        Ok(())
    }

    fn add_number(&mut self, value: f64) {
        self.kinds.push(kind::NUMBER);
        self.numbers.push(value);
    }

    /// Whether the bytes are a text.
    fn add_text(&mut self, bytes: &[u8]) -> bool {
        let units = if is_ascii(bytes) {
            bytes.len()
        } else {
            let Ok(text) = std::str::from_utf8(bytes) else { return false };
            text.chars().map(char::len_utf16).sum()
        };
        self.kinds.push(kind::TEXT);
        self.numbers.push(units as f64);
        self.texts.extend_from_slice(bytes);
        true
    }

    fn add_encoded(&mut self, bytes: &[u8]) {
        self.kinds.push(kind::ENCODED);
        self.numbers.push(bytes.len() as f64);
        self.encoded.extend_from_slice(bytes);
    }
}

impl Shape {
    /// The shape of a map with these entries, if its keys are all texts, and not too long.
    fn of(entries: &[u8], count: usize) -> Result<Option<Shape>> {
        let mut reader = Reader { bytes: entries };
        let mut keys = Vec::new();
        let mut bytes = 0;
        for _ in 0..count {
            let before = reader.bytes;
            // A host's object has its prototype under that name.
            let name = reader.name()?.filter(|name| *name != b"__proto__" && std::str::from_utf8(name).is_ok());
            let key = &before[..before.len() - reader.bytes.len()];
            bytes += key.len();
            if name.is_none() || bytes > SHAPE_BYTES_MAX {
                return Ok(None);
            }
            keys.push(Key::of(key));
            reader.skip()?;
        }
        Ok(Some(Shape { keys: keys.into() }))
    }

    /// Whether a map with these entries has it.
    fn is_of(&self, entries: &[u8], count: usize) -> bool {
        let mut reader = Reader { bytes: entries };
        count == self.keys.len()
            && self.keys.iter().all(|key| {
                key.behind(reader.bytes).is_some_and(|rest| {
                    reader.bytes = rest;
                    reader.skip().is_ok()
                })
            })
    }
}

impl Key {
    fn of(encoded: &[u8]) -> Key {
        let mask = if encoded.len() < 8 { (1 << (8 * encoded.len())) - 1 } else { u64::MAX };
        Key { encoded: encoded.into(), lead: lead(encoded), mask }
    }

    /// What follows the key where the bytes begin with it. In wasm, the standard library compares byte by byte.
    fn behind<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let Some(word) = bytes.first_chunk() else { return bytes.strip_prefix(&*self.encoded) };
        if (u64::from_le_bytes(*word) ^ self.lead) & self.mask != 0 {
            return None;
        }
        let (start, rest) = bytes.split_at_checked(self.encoded.len())?;
        (self.encoded.len() <= 8 || start[8..] == self.encoded[8..]).then_some(rest)
    }
}

/// Whether all bytes are ASCII, by eight at a time: the standard library goes byte by byte through short texts.
fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut all = rest.iter().fold(0, |all, byte| all | u64::from(*byte));
    for word in words {
        all |= u64::from_le_bytes(*word);
    }
    all & 0x8080_8080_8080_8080 == 0
}
