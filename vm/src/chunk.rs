//! Chunks as they come from outside: text is compiled, binary chunks are read, and both are verified.

use cu_compiler::{SyntaxError, compile};

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
