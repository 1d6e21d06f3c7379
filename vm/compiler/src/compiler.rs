//! The compiler: Lua source to [`FunctionParts`], free of the heap.
//!
//! The parser reads tokens, resolves every name and label as it goes (so that errors come in the order and with the
//! text of PUC Lua) and hands each finished function's tree to the generator, which allocates registers and emits
//! code. A function's tree is dropped as soon as its code exists; trees never nest deeper than the syntax limit, and
//! chains of operators, suffixes and statements are vectors, so nothing recurses per element.

mod ast;
mod chunk_name;
mod constant_folding;
mod generate;
mod lexer;
mod parser;
mod scope;
mod symbol;
mod token;

pub use chunk_name::display_chunk_name;

use crate::bytecode::function::FunctionParts;

/// A chunk that is not Lua. The text is PUC Lua's, position included: `input:3: unexpected symbol near 'x'`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", String::from_utf8_lossy(message))]
pub struct SyntaxError {
    /// The whole message; bytes, since it may quote the source.
    pub message: Vec<u8>,
    /// The line where the error was noticed.
    pub line: u32,
}

impl SyntaxError {
    /// Boxed, since the parser's frames hold many results while it recurses.
    fn new(chunk_name: &[u8], line: u32, message: &[u8]) -> Box<Self> {
        let mut text = display_chunk_name(chunk_name);
        text.extend_from_slice(format!(":{line}: ").as_bytes());
        text.extend_from_slice(message);
        Box::new(SyntaxError { message: text, line })
    }
}

/// Compiles a chunk to its main function: variable arguments and one upvalue, `_ENV` (manual §3.3.2).
///
/// `chunk_name` is as given to `load`: `@file`, `=name` or the source itself. Linear in the length of `source`.
pub fn compile(source: &[u8], chunk_name: &[u8]) -> Result<FunctionParts, SyntaxError> {
    parser::parse_chunk(source, chunk_name, usize::MAX).0.map_err(|error| *error)
}

/// A chunk takes more memory to compile than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// As [`compile`], for a chunk that nobody vouches for: takes no more than about `bytes_max` bytes on the way, with a margin for
/// what is taken where. The count is the same on every platform.
///
/// # Errors
///
/// [`TooLarge`], before the memory is taken.
pub fn compile_within(
    source: &[u8],
    chunk_name: &[u8],
    bytes_max: usize,
) -> Result<Result<FunctionParts, SyntaxError>, TooLarge> {
    let (result, is_too_large) = parser::parse_chunk(source, chunk_name, bytes_max);
    if is_too_large { Err(TooLarge) } else { Ok(result.map_err(|error| *error)) }
}

#[cfg(test)]
mod tests;
