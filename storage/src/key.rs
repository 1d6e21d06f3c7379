//! The order of documents, stated once, and the encoding of keys whose byte order is that order.
//!
//! nil < false < true < numbers < strings < arrays (< maps < blobs, which can be sorted but are no keys). Integers and
//! floats share one exact numeric order in which NaN comes first; equal numbers (`1` and `1.0`, `0.0` and `-0.0`) are
//! the same key. Strings compare by bytes, arrays element by element, a prefix before what it begins.
//!
//! Encoding: a tag per kind, then
//! - number: 8 bytes big endian, the order-preserving bits of the greatest double not above the number; 2 bytes, what is left
//!   (only integers beyond 2^53 leave something, less than 1024). NaN is all zeros.
//! - string: its bytes with 0x00 written as 0x00 0xFF, then 0x00.
//! - array: its elements, then 0x00, which is below every tag.
//!
//! Indexes hold any document, so for them ([`write_ordered`]) two kinds are added: a map is its keys and values in turn, then
//! 0x00; a blob its kind byte, then its bytes as a string has them.

use std::cmp::Ordering;

use crate::document::{DEPTH_MAX, Document, DocumentRef, Shallow};
use crate::error::{Error, Result};

mod tag {
    pub const END: u8 = 0x00;
    pub const NIL: u8 = 0x10;
    pub const FALSE: u8 = 0x18;
    pub const TRUE: u8 = 0x19;
    pub const NUMBER: u8 = 0x20;
    pub const STRING: u8 = 0x30;
    pub const ARRAY: u8 = 0x40;
    pub const MAP: u8 = 0x50;
    pub const BLOB: u8 = 0x60;
}

const SIGN: u64 = 1 << 63;
const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

/// The first eight bytes as a word, the first one lowest; where there are fewer, zeros.
pub(crate) fn lead(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(8);
    word[..length].copy_from_slice(&bytes[..length]);
    u64::from_le_bytes(word)
}

/// Encodes a key. Maps and blobs are no keys.
pub fn encode_key(key: &Document) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(12);
    write_key(key, &mut out, 0, false)?;
    Ok(out)
}

/// Appends the encoding of any document, in the order of [`compare`].
pub(crate) fn write_ordered(document: &Document, out: &mut Vec<u8>) -> Result<()> {
    write_key(document, out, 0, true)
}

/// Appends the encoding of a stored field, nil when it is missing.
pub(crate) fn write_ordered_field(field: Option<DocumentRef<'_>>, out: &mut Vec<u8>) -> Result<()> {
    let Some(field) = field else {
        return write_ordered(&Document::Nil, out);
    };
    match field.shallow()? {
        Shallow::Integer(value) => write_ordered(&Document::Integer(value), out),
        Shallow::Float(value) => write_ordered(&Document::Float(value), out),
        Shallow::String(bytes) => {
            write_string_prefix(bytes, out);
            out.push(tag::END);
            Ok(())
        }
        _ => write_ordered(&field.decode()?, out),
    }
}

/// Appends what the encodings of all strings with this prefix begin with.
pub(crate) fn write_string_prefix(prefix: &[u8], out: &mut Vec<u8>) {
    out.push(tag::STRING);
    write_escaped(prefix, out);
}

/// First byte of the encodings of the document's kind, and the first byte above them.
pub(crate) fn kind_bytes(document: &Document) -> (u8, u8) {
    match document {
        Document::Nil => (tag::NIL, tag::NIL + 1),
        Document::Boolean(_) => (tag::FALSE, tag::TRUE + 1),
        Document::Integer(_) | Document::Float(_) => (tag::NUMBER, tag::NUMBER + 1),
        Document::String(_) => (tag::STRING, tag::STRING + 1),
        Document::Array(_) => (tag::ARRAY, tag::ARRAY + 1),
        Document::Map(_) => (tag::MAP, tag::MAP + 1),
        Document::Blob { .. } => (tag::BLOB, tag::BLOB + 1),
    }
}

/// Bytes of the encoded document at the front, a key or what [`write_ordered`] wrote. `None` when there is none.
pub(crate) fn ordered_length(bytes: &[u8]) -> Option<usize> {
    let mut open = 0usize;
    let mut at = 0;
    loop {
        let tag = *bytes.get(at)?;
        at += 1;
        match tag {
            tag::END => open = open.checked_sub(1)?,
            tag::NIL | tag::FALSE | tag::TRUE => {}
            tag::NUMBER => at += 10,
            tag::STRING => at = end_of_string(bytes, at)?,
            tag::BLOB => at = end_of_string(bytes, at + 1)?,
            tag::ARRAY | tag::MAP => open += 1,
            _ => return None,
        }
        if open == 0 {
            return (at <= bytes.len()).then_some(at);
        }
    }
}

fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte == 0 {
            if bytes.get(at) != Some(&0xFF) {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// Decodes a key; a float with an integer value comes back as that integer.
pub fn decode_key(bytes: &[u8]) -> Result<Document> {
    let mut rest = bytes;
    let key = read_key(&mut rest, 0)?;
    if rest.is_empty() { Ok(key) } else { Err(malformed()) }
}

/// The total order over all documents.
pub fn compare(left: &Document, right: &Document) -> Ordering {
    use Document::*;
    match (left, right) {
        (Boolean(a), Boolean(b)) => a.cmp(b),
        (Integer(a), Integer(b)) => a.cmp(b),
        (Float(a), Float(b)) => compare_floats(*a, *b),
        (Integer(a), Float(b)) => compare_integer_float(*a, *b),
        (Float(a), Integer(b)) => compare_integer_float(*b, *a).reverse(),
        (String(a), String(b)) => a.cmp(b),
        (Array(a), Array(b)) => compare_sequences(a.iter(), b.iter()),
        (Map(a), Map(b)) => compare_sequences(
            a.iter().flat_map(|(key, value)| [key, value]),
            b.iter().flat_map(|(key, value)| [key, value]),
        ),
        (Blob { kind: a, bytes: x }, Blob { kind: b, bytes: y }) => (a, x).cmp(&(b, y)),
        _ => rank(left).cmp(&rank(right)),
    }
}

/// Position of the kind in the order. Numbers share one.
pub(crate) fn rank(document: &Document) -> u8 {
    match document {
        Document::Nil => 0,
        Document::Boolean(_) => 1,
        Document::Integer(_) | Document::Float(_) => 2,
        Document::String(_) => 3,
        Document::Array(_) => 4,
        Document::Map(_) => 5,
        Document::Blob { .. } => 6,
    }
}

fn compare_sequences<'a>(
    mut left: impl Iterator<Item = &'a Document>,
    mut right: impl Iterator<Item = &'a Document>,
) -> Ordering {
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match compare(a, b) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

pub(crate) fn compare_floats(left: f64, right: f64) -> Ordering {
    // `None` only with a NaN, which is below every number.
    left.partial_cmp(&right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

pub(crate) fn compare_integer_float(integer: i64, float: f64) -> Ordering {
    if float.is_nan() || float < -TWO_POW_63 {
        return Ordering::Greater;
    }
    if float >= TWO_POW_63 {
        return Ordering::Less;
    }
    let floor = float.floor();
    // The range was checked above, so the conversion is exact.
    integer.cmp(&(floor as i64)).then_with(|| floor.partial_cmp(&float).unwrap_or(Ordering::Equal))
}

fn write_key(key: &Document, out: &mut Vec<u8>, depth: usize, any: bool) -> Result<()> {
    match key {
        Document::Nil => out.push(tag::NIL),
        Document::Boolean(false) => out.push(tag::FALSE),
        Document::Boolean(true) => out.push(tag::TRUE),
        Document::Integer(value) => {
            let (base, rest) = split_integer(*value);
            write_number(out, base, rest);
        }
        Document::Float(value) => write_number(out, *value, 0),
        Document::String(bytes) => {
            out.push(tag::STRING);
            write_escaped(bytes, out);
            out.push(tag::END);
        }
        Document::Array(elements) => {
            out.push(tag::ARRAY);
            write_sequence(elements.iter(), out, depth, any)?;
        }
        Document::Map(entries) if any => {
            out.push(tag::MAP);
            write_sequence(entries.iter().flat_map(|(key, value)| [key, value]), out, depth, any)?;
        }
        Document::Blob { kind, bytes } if any => {
            out.extend_from_slice(&[tag::BLOB, *kind]);
            write_escaped(bytes, out);
            out.push(tag::END);
        }
        Document::Map(_) => return Err(Error::invalid("key", "a map cannot be a key")),
        Document::Blob { .. } => return Err(Error::invalid("key", "a blob cannot be a key")),
    }
    Ok(())
}

fn write_sequence<'a>(
    elements: impl Iterator<Item = &'a Document>,
    out: &mut Vec<u8>,
    depth: usize,
    any: bool,
) -> Result<()> {
    if depth >= DEPTH_MAX {
        return Err(Error::invalid("key", "nested too deep"));
    }
    for element in elements {
        write_key(element, out, depth + 1, any)?;
    }
    out.push(tag::END);
    Ok(())
}

fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
}

/// The greatest double not above the integer, and the distance to it.
fn split_integer(value: i64) -> (f64, u16) {
    let mut base = value as f64;
    if base >= TWO_POW_63 || base as i64 > value {
        base = base.next_down();
    }
    (base, (value - base as i64) as u16)
}

fn write_number(out: &mut Vec<u8>, base: f64, rest: u16) {
    out.push(tag::NUMBER);
    let ordered = if base.is_nan() {
        0
    } else {
        // Adding zero turns -0.0 into 0.0.
        let bits = (base + 0.0).to_bits();
        if bits & SIGN == 0 { bits | SIGN } else { !bits }
    };
    out.extend_from_slice(&ordered.to_be_bytes());
    out.extend_from_slice(&rest.to_be_bytes());
}

fn read_key(rest: &mut &[u8], depth: usize) -> Result<Document> {
    Ok(match take_byte(rest)? {
        tag::NIL => Document::Nil,
        tag::FALSE => Document::Boolean(false),
        tag::TRUE => Document::Boolean(true),
        tag::NUMBER => read_number(rest)?,
        tag::STRING => {
            let mut bytes = Vec::new();
            loop {
                match take_byte(rest)? {
                    0 if rest.first() == Some(&0xFF) => {
                        *rest = &rest[1..];
                        bytes.push(0);
                    }
                    0 => break Document::String(bytes),
                    byte => bytes.push(byte),
                }
            }
        }
        tag::ARRAY => {
            if depth >= DEPTH_MAX {
                return Err(malformed());
            }
            let mut elements = Vec::new();
            while rest.first() != Some(&tag::END) {
                elements.push(read_key(rest, depth + 1)?);
            }
            *rest = &rest[1..];
            Document::Array(elements)
        }
        _ => return Err(malformed()),
    })
}

fn read_number(rest: &mut &[u8]) -> Result<Document> {
    let (number, after) = rest.split_at_checked(10).ok_or_else(malformed)?;
    *rest = after;
    let mut ordered = [0; 8];
    ordered.copy_from_slice(&number[..8]);
    let ordered = u64::from_be_bytes(ordered);
    let left = i64::from(u16::from_be_bytes([number[8], number[9]]));
    if ordered == 0 {
        return Ok(Document::Float(f64::NAN));
    }
    let base = f64::from_bits(if ordered & SIGN == 0 { !ordered } else { ordered & !SIGN });
    if base.floor() == base && (-TWO_POW_63..TWO_POW_63).contains(&base) {
        let integer = (base as i64).checked_add(left).ok_or_else(malformed)?;
        return Ok(Document::Integer(integer));
    }
    if left == 0 && !base.is_nan() { Ok(Document::Float(base)) } else { Err(malformed()) }
}

fn take_byte(rest: &mut &[u8]) -> Result<u8> {
    let (&first, after) = rest.split_first().ok_or_else(malformed)?;
    *rest = after;
    Ok(first)
}

fn malformed() -> Error {
    Error::CorruptRecord("malformed key")
}
