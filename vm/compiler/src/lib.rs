//! Lua 5.4 source to verified bytecode, free of the heap.
//!
//! [`compile`] turns source text into [`bytecode::function::FunctionParts`], plain data; [`bytecode::verify::verify`] is the only
//! way from there (and from bytes that were saved) to code that the interpreter in `cu-vm` will run. It is a crate of
//! its own so that the page's build can make it small while the interpreter is made fast.
//!
//! ```
//! use cu_compiler::bytecode::verify::verify;
//!
//! let parts = cu_compiler::compile(b"return 6 * 7", b"=answer").unwrap();
//! assert!(verify(parts).is_ok());
//! let error = cu_compiler::compile(b"return +", b"=answer").unwrap_err();
//! assert_eq!(error.message, b"answer:1: unexpected symbol near '+'");
//! ```

#![forbid(unsafe_code)]

pub mod arithmetic;
pub mod bytecode;
mod compiler;
pub mod numeral;

pub use compiler::{SyntaxError, TooLarge, compile, compile_within, display_chunk_name};
