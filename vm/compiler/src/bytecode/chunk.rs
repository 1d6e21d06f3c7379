//! Binary chunks: what `string.dump` writes and `load` reads.
//!
//! A chunk begins as one of PUC Lua 5.4 does, down to the number of upvalues of its function; what follows is our own, and a
//! chunk of PUC Lua is refused there.
//!
//! ```text
//!   header        31 bytes, those of PUC Lua 5.4 on a 64-bit little-endian machine
//!   upvalues      1 byte
//!   mark          "Cu", format version 1
//!   length        4 bytes: of the body
//!   checksum      8 bytes: xxh64 over the upvalue count and the body
//!   body          BodyHead; strings, each: length, bytes; functions as in `wire`, children before their parents
//! ```
//!
//! Numbers are little endian. The last function is the chunk's. The checksum finds damage; code from somebody who can
//! compute it is held off by the verifier. Reading takes memory in proportion to the bytes that are there.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::encoding::{FunctionList, FunctionReader, StringTable};
use super::function::FunctionParts;
use super::verify::{Verified, verify};
use super::wire::{Fault, Reader, WireError, Writer};

/// The first byte of every binary chunk.
pub const SIGNATURE: u8 = 0x1b;

/// The header in parts, each with what PUC Lua says of a chunk where it differs.
const HEADER: [(&[u8], &str); 9] = [
    (b"\x1bLua", "not a binary chunk"),
    (b"\x54", "version mismatch"),
    (b"\0", "format mismatch"),
    (b"\x19\x93\r\n\x1a\n", "corrupted chunk"),
    (b"\x04", "Instruction size mismatch"),
    (b"\x08", "lua_Integer size mismatch"),
    (b"\x08", "lua_Number size mismatch"),
    (&0x5678u64.to_le_bytes(), "integer format mismatch"),
    (&370.5f64.to_le_bytes(), "float format mismatch"),
];

/// What tells our chunks from PUC Lua's, format version included.
const MARK: &[u8] = b"Cu\x01";

/// A chunk that is honest never describes more than this many bytes per byte of its own.
const EXPANSION_MAX: u64 = 64;

/// A binary chunk that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad binary format ({reason})")]
pub struct ChunkError {
    pub reason: &'static str,
}

const TRUNCATED: ChunkError = ChunkError { reason: "truncated chunk" };
const CORRUPTED: ChunkError = ChunkError { reason: "corrupted chunk" };

impl From<WireError> for ChunkError {
    fn from(error: WireError) -> Self {
        match error.fault {
            Fault::Truncated | Fault::Count => TRUNCATED,
            _ => CORRUPTED,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct BodyHead {
    strings: u32,
    functions: u32,
}

/// A function as a binary chunk. Linear in its size.
pub fn dump(parts: &FunctionParts) -> Vec<u8> {
    let mut strings = StringTable::default();
    let mut functions = FunctionList::default();
    let chunk_name = strings.number(&parts.chunk_name);
    functions.add(parts, chunk_name, &mut strings);
    let mut body = Writer::default();
    body.put(&BodyHead { strings: strings.len(), functions: functions.count });
    body.append(strings.out.as_bytes());
    body.append(functions.out.as_bytes());
    seal(parts.upvalues.len() as u8, body.as_bytes())
}

/// A chunk with this body.
fn seal(upvalues: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a function takes less than 4 GiB");
    let mut chunk: Vec<u8> = HEADER.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
    chunk.push(upvalues);
    chunk.extend_from_slice(MARK);
    chunk.extend_from_slice(&length.to_le_bytes());
    chunk.extend_from_slice(&checksum(upvalues, body).to_le_bytes());
    chunk.extend_from_slice(body);
    chunk
}

fn checksum(upvalues: u8, body: &[u8]) -> u64 {
    let mut hasher = Xxh64::new(0);
    hasher.update(&[upvalues]);
    hasher.update(body);
    hasher.digest()
}

/// What a chunk's head says, and the bytes behind it.
struct Opened<'a> {
    upvalues: u8,
    length: usize,
    checksum: u64,
    rest: &'a [u8],
}

fn open(chunk: &[u8]) -> Result<Opened<'_>, ChunkError> {
    let mut rest = chunk;
    for (expected, reason) in HEADER {
        if take(&mut rest, expected.len())? != expected {
            return Err(ChunkError { reason });
        }
    }
    let upvalues = take(&mut rest, 1)?[0];
    // A short chunk of PUC Lua is a foreign one too.
    let mark = &rest[..rest.len().min(MARK.len())];
    if !MARK.starts_with(mark) {
        return Err(ChunkError { reason: "compiled by another implementation or version" });
    }
    take(&mut rest, MARK.len())?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let length = number(take(&mut rest, 4)?) as usize;
    let checksum = number(take(&mut rest, 8)?);
    Ok(Opened { upvalues, length, checksum, rest })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], ChunkError> {
    let (taken, behind) = rest.split_at_checked(count).ok_or(TRUNCATED)?;
    *rest = behind;
    Ok(taken)
}

/// How many bytes of a chunk [`undump`] has to see, once these first bytes of it tell; none if they show that it is refused.
pub fn length(start: &[u8]) -> Option<usize> {
    match open(start) {
        Ok(opened) => Some(start.len() - opened.rest.len() + opened.length),
        Err(TRUNCATED) => None,
        Err(_) => Some(0),
    }
}

/// The function of a binary chunk; bytes behind its end are not looked at.
///
/// # Errors
///
/// For anything that [`dump`] did not write, with PUC Lua's reason where it has one.
pub fn undump(chunk: &[u8]) -> Result<Verified, ChunkError> {
    let Opened { upvalues, length, checksum: expected, rest } = open(chunk)?;
    let body = rest.get(..length).ok_or(TRUNCATED)?;
    if checksum(upvalues, body) != expected {
        return Err(CORRUPTED);
    }
    let parts = read_body(body)?;
    if parts.upvalues.len() != usize::from(upvalues) {
        return Err(CORRUPTED);
    }
    verify(parts).map_err(|_| ChunkError { reason: "invalid code" })
}

fn read_body(body: &[u8]) -> Result<FunctionParts, ChunkError> {
    let mut reader = Reader::at(body, 0);
    let head: BodyHead = reader.take()?;
    let mut strings: Vec<&[u8]> = Vec::with_capacity(reader.check_count(head.strings, 1)?);
    for _ in 0..head.strings {
        strings.push(reader.take()?);
    }
    reader.check_count(head.functions, 12)?;
    let bytes_max = EXPANSION_MAX * body.len() as u64;
    let mut functions = FunctionReader::new(body, &strings, bytes_max);
    for _ in 0..head.functions {
        let end = functions.read(reader.offset())?.ok_or(CORRUPTED)?;
        reader = Reader::at(body, end);
    }
    reader.finish()?;
    let main = functions.entries().last().ok_or(CORRUPTED)?;
    if main.expanded_bytes > bytes_max {
        return Err(CORRUPTED);
    }
    functions.trees(&[head.functions - 1]).pop().ok_or(CORRUPTED)
}

#[cfg(test)]
mod tests;
