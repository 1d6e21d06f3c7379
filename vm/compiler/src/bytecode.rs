//! Bytecode: the instruction set, a function's parts, the verifier and the disassembler.

pub mod disassemble;
pub mod function;
pub mod instruction;
pub mod opcode;
pub mod verify;
