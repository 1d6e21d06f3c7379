//! Bytecode: the instruction set, a function's parts, the verifier, the disassembler, and functions as bytes.

pub mod chunk;
pub mod disassemble;
pub mod encoding;
pub mod function;
pub mod instruction;
pub mod opcode;
pub mod small_bytes;
pub mod verify;
pub mod wire;
