//! Chunks as they come from outside: text is compiled, binary chunks are read, and both are verified.

use cu_compiler::{SyntaxError, TooLarge, compile, compile_within};

use crate::bytecode::chunk::{SIGNATURE, undump};
use crate::bytecode::verify::{Verified, verify};

/// Whether a chunk is binary.
pub(crate) fn is_binary(chunk: &[u8]) -> bool {
    chunk.first() == Some(&SIGNATURE)
}

/// The main function of a chunk, which takes time and memory in proportion to its length.
pub(crate) fn read_chunk(chunk: &[u8], name: &[u8]) -> Result<Verified, SyntaxError> {
    if !is_binary(chunk) {
        return Ok(verify(compile(chunk, name)?).expect("the verifier accepts what the compiler emits"));
    }
    read_binary(chunk, name)
}

/// How much longer a binary chunk's function may be than the chunk while it is checked.
const BINARY_GROWTH: usize = 16;

/// As [`read_chunk`], for a chunk that nobody vouches for: takes about `bytes_max` bytes on the way at most.
pub(crate) fn read_chunk_within(
    chunk: &[u8],
    name: &[u8],
    bytes_max: usize,
) -> Result<Result<Verified, SyntaxError>, TooLarge> {
    if !is_binary(chunk) {
        // Names and texts are copied once.
        let bytes_max = bytes_max.checked_sub(chunk.len()).ok_or(TooLarge)?;
        let verified = |parts| verify(parts).expect("the verifier accepts what the compiler emits");
        return Ok(compile_within(chunk, name, bytes_max)?.map(verified));
    }
    if chunk.len().saturating_mul(BINARY_GROWTH) > bytes_max {
        return Err(TooLarge);
    }
    Ok(read_binary(chunk, name))
}

fn read_binary(chunk: &[u8], name: &[u8]) -> Result<Verified, SyntaxError> {
    undump(chunk).map_err(|error| {
        let shown = match name {
            [b'@' | b'=', shown @ ..] => shown,
            [SIGNATURE, ..] => b"binary string",
            shown => shown,
        };
        SyntaxError { message: [shown, format!(": {error}").as_bytes()].concat(), line: 0 }
    })
}

/// The chunk that a file holds: what comes after a UTF-8 byte order mark and a first line that starts with `#` (manual §6.1,
/// `loadfile`). That line's end stays before text, so that line numbers are right.
pub fn chunk_of_file(file: &[u8]) -> &[u8] {
    let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    if text.first() != Some(&b'#') {
        return text;
    }
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    match &text[end..] {
        [b'\n', chunk @ ..] if is_binary(chunk) => chunk,
        chunk => chunk,
    }
}
