//! Documents and their encoding, version 1. One value is a tag byte and a payload:
//!
//! | tag | value | payload |
//! |--|--|--|
//! | 0x00 | nil | |
//! | 0x01, 0x02 | false, true | |
//! | 0x03 | integer | zigzag LEB128 varint |
//! | 0x04 | float | 8 bytes little endian, NaN canonical |
//! | 0x05 | string | varint length, bytes |
//! | 0x06 | array | varint byte length of what follows, varint count, elements |
//! | 0x07 | map | varint byte length of what follows, varint count, keys and values in turn |
//! | 0x08 | blob | kind byte, varint length, bytes |
//!
//! Varints are minimal, map keys are unique scalars, nesting is at most [`DEPTH_MAX`]. The byte length in front of
//! arrays and maps lets a reader skip them, so one field is read without decoding the rest ([`DocumentRef::field`]).

use xxhash_rust::xxh64::Xxh64;

use crate::error::{Error, Result};
use crate::reader::{Keys, Reader, check_key, too_deep};

pub(crate) mod tag {
    pub const NIL: u8 = 0x00;
    pub const FALSE: u8 = 0x01;
    pub const TRUE: u8 = 0x02;
    pub const INTEGER: u8 = 0x03;
    pub const FLOAT: u8 = 0x04;
    pub const STRING: u8 = 0x05;
    pub const ARRAY: u8 = 0x06;
    pub const MAP: u8 = 0x07;
    pub const BLOB: u8 = 0x08;
}

/// Levels of arrays and maps inside each other.
pub const DEPTH_MAX: usize = 200;

/// The one NaN that is ever stored.
pub(crate) const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// A value as the database stores it.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Document {
    /// No value.
    #[default]
    Nil,
    /// `true` or `false`.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A double. Every NaN is stored as the same one.
    Float(f64),
    /// Bytes, not necessarily UTF-8.
    String(Vec<u8>),
    /// A sequence.
    Array(Vec<Document>),
    /// Entries in insertion order; keys are booleans, numbers (not NaN) or strings.
    Map(Vec<(Document, Document)>),
    /// Opaque bytes with a kind; kind 1 is a function blob.
    Blob {
        /// What the bytes are.
        kind: u8,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// A document in its encoding, known to be well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded(Vec<u8>);

/// A borrowed, encoded document that is read field by field.
#[derive(Debug, Clone, Copy)]
pub struct DocumentRef<'a> {
    bytes: &'a [u8],
}

/// A document's outermost value, borrowed where it has bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shallow<'a> {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(&'a [u8]),
    Array(Elements<'a>),
    Map(Elements<'a>),
    Blob { kind: u8, bytes: &'a [u8] },
}

/// The not yet read elements of an array, or keys and values of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) count: usize,
}

impl Document {
    /// A string document of this text.
    pub fn text(text: &str) -> Document {
        Document::String(text.as_bytes().to_vec())
    }

    /// A map with string keys, in the order given.
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Document)>) -> Document {
        Document::Map(entries.into_iter().map(|(name, value)| (Document::text(name), value)).collect())
    }

    /// The value under a string key of a map; `None` for anything else.
    pub fn get(&self, name: &str) -> Option<&Document> {
        let Document::Map(entries) = self else {
            return None;
        };
        entries
            .iter()
            .find(|(key, _)| matches!(key, Document::String(bytes) if bytes == name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Adds some of it to a hash: equal documents add the same.
    pub(crate) fn digest(&self, hash: &mut Xxh64) {
        match self {
            Document::Integer(value) => hash.update(&value.to_le_bytes()),
            // Zero equals minus zero.
            Document::Float(value) => hash.update(&(value + 0.0).to_le_bytes()),
            Document::String(bytes) => hash.update(bytes),
            Document::Array(elements) => elements.iter().for_each(|element| element.digest(hash)),
            _ => {}
        }
    }

    /// The text of a string document that is valid UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Document::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Encodes the document. Fails on too deep nesting and on keys that are no scalars or not unique.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.encode_into(&mut out)?;
        Ok(out)
    }

    /// Encodes the document behind what `out` already holds.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<()> {
        encode_value(self, out, 0)
    }

    /// Decodes one document that takes up all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Document> {
        let mut reader = Reader { bytes };
        let document = reader.document(0)?;
        reader.finish()?;
        Ok(document)
    }
}

impl Encoded {
    /// Takes bytes over after checking them completely.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Encoded> {
        DocumentRef::checked(&bytes)?;
        Ok(Encoded(bytes))
    }

    /// Takes over bytes that this crate wrote or has checked.
    pub(crate) fn trusted(bytes: Vec<u8>) -> Encoded {
        Encoded(bytes)
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoding, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A reader of the document.
    pub fn as_ref(&self) -> DocumentRef<'_> {
        DocumentRef { bytes: &self.0 }
    }

    /// Decodes the document.
    pub fn decode(&self) -> Result<Document> {
        Document::decode(&self.0)
    }
}

impl TryFrom<&Document> for Encoded {
    type Error = Error;
    fn try_from(document: &Document) -> Result<Encoded> {
        document.encode().map(Encoded)
    }
}

impl<'a> DocumentRef<'a> {
    pub(crate) const NIL: DocumentRef<'static> = DocumentRef { bytes: &[tag::NIL] };

    /// A reader over an encoded document. Damaged bytes show as errors when they are read.
    pub fn new(bytes: &'a [u8]) -> DocumentRef<'a> {
        DocumentRef { bytes }
    }

    /// A reader over bytes that were checked completely.
    pub(crate) fn checked(bytes: &'a [u8]) -> Result<DocumentRef<'a>> {
        let mut reader = Reader { bytes };
        reader.validate(0)?;
        reader.finish()?;
        Ok(DocumentRef { bytes })
    }

    /// The encoding.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The field under a path such as `address.city`, which enters maps by their string keys. A key that equals the whole
    /// rest of the path wins over entering a map. `None` when there is no such field.
    pub fn field(self, path: &str) -> Result<Option<DocumentRef<'a>>> {
        let mut here = self;
        let mut rest = path.as_bytes();
        loop {
            let Shallow::Map(entries) = here.shallow()? else {
                return Ok(None);
            };
            let dot = rest.iter().position(|byte| *byte == b'.');
            let first = &rest[..dot.unwrap_or(rest.len())];
            let mut inner = None;
            let mut reader = Reader { bytes: entries.bytes };
            for _ in 0..entries.count {
                let name = reader.name()?;
                let value = reader.bytes;
                reader.skip()?;
                let Some(name) = name.filter(|name| name.len() == rest.len() || name.len() == first.len()) else {
                    continue;
                };
                let value = DocumentRef { bytes: &value[..value.len() - reader.bytes.len()] };
                if name == rest {
                    return Ok(Some(value));
                }
                if name == first {
                    inner = Some(value);
                }
            }
            let (Some(value), Some(dot)) = (inner, dot) else {
                return Ok(None);
            };
            here = value;
            rest = &rest[dot + 1..];
        }
    }

    /// Decodes the document.
    pub fn decode(self) -> Result<Document> {
        Document::decode(self.bytes)
    }

    pub(crate) fn is_nil(self) -> bool {
        self.bytes == [tag::NIL]
    }

    pub(crate) fn is_map(self) -> Result<bool> {
        Ok(matches!(self.shallow()?, Shallow::Map(_)))
    }

    /// A copy whose encoding has been checked completely.
    pub(crate) fn to_encoded(self) -> Result<Encoded> {
        Encoded::from_bytes(self.bytes.to_vec())
    }

    pub(crate) fn shallow(self) -> Result<Shallow<'a>> {
        Reader { bytes: self.bytes }.shallow()
    }
}

impl<'a> Elements<'a> {
    /// The next element of an array.
    pub(crate) fn element(&mut self) -> Result<Option<DocumentRef<'a>>> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        self.take().map(Some)
    }

    /// The next key and value of a map.
    pub(crate) fn entry(&mut self) -> Result<Option<(DocumentRef<'a>, DocumentRef<'a>)>> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        Ok(Some((self.take()?, self.take()?)))
    }

    fn take(&mut self) -> Result<DocumentRef<'a>> {
        let mut reader = Reader { bytes: self.bytes };
        reader.skip()?;
        let length = self.bytes.len() - reader.bytes.len();
        let (bytes, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(DocumentRef { bytes })
    }
}

/// Appends a LEB128 varint.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn encode_value(document: &Document, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    match document {
        Document::Nil => out.push(tag::NIL),
        Document::Boolean(false) => out.push(tag::FALSE),
        Document::Boolean(true) => out.push(tag::TRUE),
        Document::Integer(value) => {
            out.push(tag::INTEGER);
            write_varint(out, ((value << 1) ^ (value >> 63)) as u64);
        }
        Document::Float(value) => {
            out.push(tag::FLOAT);
            let bits = if value.is_nan() { NAN_BITS } else { value.to_bits() };
            out.extend_from_slice(&bits.to_le_bytes());
        }
        Document::String(bytes) => {
            out.push(tag::STRING);
            write_bytes(out, bytes);
        }
        Document::Array(elements) => {
            out.push(tag::ARRAY);
            let start = open_container(out, elements.len(), depth)?;
            for element in elements {
                encode_value(element, out, depth + 1)?;
            }
            close_container(out, start);
        }
        Document::Map(entries) => {
            out.push(tag::MAP);
            let start = open_container(out, entries.len(), depth)?;
            let mut key_ranges = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key_start = out.len();
                encode_value(key, out, depth + 1)?;
                check_key(&out[key_start..])?;
                key_ranges.push(key_start..out.len());
                encode_value(value, out, depth + 1)?;
            }
            let mut keys = Keys::default();
            for range in key_ranges {
                keys.add(&out[range])?;
            }
            keys.finish()?;
            close_container(out, start);
        }
        Document::Blob { kind, bytes } => {
            out.push(tag::BLOB);
            out.push(*kind);
            write_bytes(out, bytes);
        }
    }
    Ok(())
}

pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn open_container(out: &mut Vec<u8>, count: usize, depth: usize) -> Result<usize> {
    if depth >= DEPTH_MAX {
        return Err(too_deep());
    }
    let start = out.len();
    write_varint(out, count as u64);
    Ok(start)
}

/// Puts the byte length in front of what was written since `start`.
fn close_container(out: &mut Vec<u8>, start: usize) {
    let mut length = Vec::with_capacity(5);
    write_varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
}

/// Wraps already encoded elements into an array.
pub(crate) fn encode_array(elements: impl ExactSizeIterator<Item = Encoded>) -> Vec<u8> {
    let mut out = vec![tag::ARRAY];
    write_varint(&mut out, elements.len() as u64);
    for element in elements {
        out.extend_from_slice(element.as_bytes());
    }
    close_container(&mut out, 1);
    out
}

/// Wraps already encoded values into a map with string keys, which must be unique.
pub(crate) fn encode_map(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    write_map(&mut out, entries);
    out
}

/// The same, behind what `out` already holds.
pub(crate) fn write_map(out: &mut Vec<u8>, entries: &[(&[u8], &[u8])]) {
    open_map(out, entries.len(), map_body(entries.iter().map(|(name, value)| (name.len(), value.len()))));
    for (name, value) in entries {
        write_name(out, name);
        out.extend_from_slice(value);
    }
}

/// Bytes that the entries of a map take, by the lengths of names and encoded values.
pub(crate) fn map_body(entries: impl ExactSizeIterator<Item = (usize, usize)>) -> usize {
    let count = varint_length(entries.len());
    count + entries.map(|(name, value)| 1 + varint_length(name) + name + value).sum::<usize>()
}

/// Bytes of an array or map whose count and elements take so many.
pub(crate) fn container_length(body: usize) -> usize {
    1 + varint_length(body) + body
}

/// Begins a map with so many entries, which take `body` bytes together with their count.
pub(crate) fn open_map(out: &mut Vec<u8>, count: usize, body: usize) {
    out.push(tag::MAP);
    write_varint(out, body as u64);
    write_varint(out, count as u64);
}

/// Likewise an array.
pub(crate) fn open_array(out: &mut Vec<u8>, count: usize, body: usize) {
    out.push(tag::ARRAY);
    write_varint(out, body as u64);
    write_varint(out, count as u64);
}

/// Appends the name of a map's entry, behind which its value comes.
pub(crate) fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(tag::STRING);
    write_bytes(out, name);
}

pub(crate) fn varint_length(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

impl From<bool> for Document {
    fn from(value: bool) -> Document {
        Document::Boolean(value)
    }
}

impl From<i64> for Document {
    fn from(value: i64) -> Document {
        Document::Integer(value)
    }
}

impl From<f64> for Document {
    fn from(value: f64) -> Document {
        Document::Float(value)
    }
}

impl From<&str> for Document {
    fn from(value: &str) -> Document {
        Document::text(value)
    }
}

impl From<Vec<Document>> for Document {
    fn from(value: Vec<Document>) -> Document {
        Document::Array(value)
    }
}
