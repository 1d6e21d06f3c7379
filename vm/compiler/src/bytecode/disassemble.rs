//! Bytecode as text, for tests and for people: one line per instruction, from the opcodes' layouts.
//!
//! Works on unverified code too: what is no instruction is shown as a word.

use std::fmt::{self, Write};

use super::function::{Constant, FunctionParts};
use super::instruction::Instruction;
use super::opcode::{Layout, Opcode, Operand, Trailing};

/// The code of a function and, after it, of the functions inside it.
///
/// ```text
/// function at line 1: 1 parameter, 2 registers, 0 upvalues
///    0 [2] AddI         R1 R0 1
///    1 [2] Return1      R1
/// ```
pub fn disassemble(parts: &FunctionParts) -> String {
    let mut text = String::new();
    // A stack in place of recursion: untrusted parts may nest deeply.
    let mut waiting = vec![parts];
    while let Some(function) = waiting.pop() {
        write_function(&mut text, function).expect("writing to a string succeeds");
        waiting.extend(function.functions.iter().rev());
    }
    text
}

fn write_function(text: &mut String, function: &FunctionParts) -> fmt::Result {
    match function.line_defined {
        0 => write!(text, "main function")?,
        line => write!(text, "function at line {line}")?,
    }
    let vararg = if function.is_vararg { "+" } else { "" };
    let (parameters, registers) = (function.parameter_count, function.register_count);
    writeln!(text, ": {parameters}{vararg} parameters, {registers} registers, {} upvalues", function.upvalues.len())?;
    let mut pc = 0;
    while let Some(&word) = function.code.get(pc) {
        write!(text, "{pc:4} [{}] ", function.line_at(pc))?;
        let instruction = Instruction(word);
        match instruction.opcode() {
            Some(opcode) => {
                write_instruction(text, function, pc, opcode)?;
                pc += opcode.words();
            }
            None => {
                writeln!(text, "word {word:#010x}")?;
                pc += 1;
            }
        }
    }
    Ok(())
}

fn write_instruction(text: &mut String, function: &FunctionParts, pc: usize, opcode: Opcode) -> fmt::Result {
    let instruction = Instruction(function.code[pc]);
    let layout = opcode.layout();
    let mut line = format!("{:<13}", opcode.name());
    let operands = if layout.wide {
        [(layout.a, instruction.a()), (layout.b, instruction.bx()), (Operand::None, 0)]
    } else {
        [(layout.a, instruction.a()), (layout.b, instruction.b()), (layout.c, instruction.c())]
    };
    let mut notes = Vec::new();
    for (operand, value) in operands {
        match operand {
            Operand::None => {}
            Operand::Read | Operand::Write | Operand::Group => write!(line, " R{value}")?,
            Operand::Constant => {
                write!(line, " K{value}")?;
                notes.extend(function.constants.get(value).map(constant_text));
            }
            Operand::Upvalue => {
                write!(line, " U{value}")?;
                notes.extend(function.upvalues.get(value).map(|upvalue| lossy(&upvalue.name)));
            }
            Operand::Unsigned | Operand::Flag => write!(line, " {value}")?,
            Operand::Signed => write!(line, " {}", signed(layout, value))?,
        }
    }
    let word = function.code.get(pc + 1).copied().unwrap_or_default();
    match layout.trailing {
        Trailing::None | Trailing::Cache => {}
        Trailing::Jump => write!(line, " -> {}", pc as i64 + 2 + i64::from(word as i32))?,
        Trailing::Argument => write!(line, " {word}")?,
    }
    if !notes.is_empty() {
        write!(line, " ; {}", notes.join(" "))?;
    }
    writeln!(text, "{line}")
}

fn signed(layout: Layout, value: usize) -> i64 {
    if layout.wide { i64::from(value as u16 as i16) } else { i64::from(value as u8 as i8) }
}

fn constant_text(constant: &Constant) -> String {
    match constant {
        Constant::Nil => "nil".into(),
        Constant::Boolean(value) => value.to_string(),
        Constant::Integer(value) => value.to_string(),
        Constant::Float(value) => format!("{value:?}"),
        Constant::String(text) => format!("{:?}", lossy(text)),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
