//! A function's parts as plain data, before they are verified: what the compiler emits and what a decoder reads.
//!
//! Nothing here lives on the Lua heap. [`super::verify`] turns a `FunctionParts` into a `Verified` one, and only
//! that can become a `Proto` that the interpreter runs.

use std::rc::Rc;

use super::small_bytes::SmallBytes;

/// A compiled function: code, constants, upvalue descriptions, nested functions and debug information.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FunctionParts {
    /// The chunk's name as given to `load` (`@file`, `=name` or source text); shared by all nested functions.
    pub chunk_name: Rc<[u8]>,
    /// The first line of the definition; 0 for the main function of a chunk.
    pub line_defined: u32,
    /// The last line of the definition; 0 for the main function.
    pub last_line_defined: u32,
    /// Fixed parameters; they are the first registers.
    pub parameter_count: u8,
    pub is_vararg: bool,
    /// Registers the function uses; at least 2, at most 255.
    pub register_count: u8,
    /// Instructions and their trailing words; see [`super::opcode`].
    pub code: Vec<u32>,
    pub constants: Vec<Constant>,
    pub upvalues: Vec<UpvalueDescription>,
    /// Functions defined directly inside this one.
    pub functions: Vec<FunctionParts>,
    /// Which line each instruction belongs to, in order of `pc`: an entry holds until the next one.
    pub lines: Vec<LineEntry>,
    /// Local variables in order of their start; empty when debug information is stripped.
    pub locals: Vec<LocalVariable>,
}

/// A constant of a function. Floats compare by their bits.
#[derive(Debug, Clone)]
pub enum Constant {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(SmallBytes),
}

/// Where a closure finds an upvalue when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpvalueDescription {
    /// True: register `index` of the enclosing function; false: its upvalue `index`.
    pub in_stack: bool,
    pub index: u8,
    /// The variable's name; empty when stripped.
    pub name: SmallBytes,
}

/// From instruction `pc` on, code belongs to `line`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineEntry {
    pub pc: u32,
    pub line: u32,
}

/// A local variable and the range of instructions where it is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalVariable {
    pub name: SmallBytes,
    pub register: u8,
    /// The first instruction at which it is active.
    pub start_pc: u32,
    /// The first instruction at which it is no longer active.
    pub end_pc: u32,
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Constant::Nil, Constant::Nil) => true,
            (Constant::Boolean(a), Constant::Boolean(b)) => a == b,
            (Constant::Integer(a), Constant::Integer(b)) => a == b,
            (Constant::Float(a), Constant::Float(b)) => a.to_bits() == b.to_bits(),
            (Constant::String(a), Constant::String(b)) => a == b,
            _ => false,
        }
    }
}

impl FunctionParts {
    /// The line of the instruction at `pc`; 0 when there is no line information.
    pub fn line_at(&self, pc: usize) -> u32 {
        line_at(&self.lines, pc)
    }
}

/// The line that `lines` gives for `pc`; 0 when it says nothing. O(log n).
pub fn line_at(lines: &[LineEntry], pc: usize) -> u32 {
    match lines.partition_point(|entry| entry.pc as usize <= pc) {
        0 => 0,
        after => lines[after - 1].line,
    }
}
