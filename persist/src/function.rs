//! Function trees as a flat list in which equal functions are one entry, and back.
//!
//! A child always has a smaller number than its parent, so the list has no cycles. Because entries are shared, a short list can
//! describe a huge tree; how large each tree is gets computed before any is built ([`FunctionEntry::expanded_bytes`]).

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use cu_vm::bytecode::function::{Constant, FunctionParts, LineEntry, LocalVariable, UpvalueDescription};

use crate::error::{CorruptKind, Error, Result};
use crate::reader::Reader;
use crate::wire::{self, FunctionHead, Writer};

/// How deeply functions nest, at most; the verifier's limit too.
const NESTING_MAX: u32 = 200;
const UPVALUES_MAX: u32 = 255;

/// Byte strings, each written once.
#[derive(Default)]
pub(crate) struct StringTable {
    numbers: HashMap<Box<[u8]>, u32>,
    pub out: Writer,
}

impl StringTable {
    pub(crate) fn number(&mut self, bytes: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(bytes) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(bytes.into(), number);
        self.out.put(&wire::Bytes(bytes));
        number
    }

    pub(crate) fn len(&self) -> u32 {
        self.numbers.len() as u32
    }
}

/// Functions, each written once.
#[derive(Default)]
pub(crate) struct FunctionTable {
    numbers: HashMap<Box<[u8]>, u32>,
    pub out: Writer,
}

impl FunctionTable {
    /// Writes a function after its children, and returns its number. Recursion is bounded by the verifier's nesting limit.
    pub(crate) fn number(&mut self, parts: &FunctionParts, strings: &mut StringTable) -> u32 {
        let children: Vec<u32> = parts.functions.iter().map(|child| self.number(child, strings)).collect();
        let mut entry = Writer::default();
        write_function(parts, &children, strings, &mut entry);
        if let Some(number) = self.numbers.get(entry.as_bytes()) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.out.append(entry.as_bytes());
        self.numbers.insert(entry.into_bytes().into(), number);
        number
    }

    pub(crate) fn len(&self) -> u32 {
        self.numbers.len() as u32
    }
}

fn write_function(parts: &FunctionParts, children: &[u32], strings: &mut StringTable, out: &mut Writer) {
    out.put(&FunctionHead {
        chunk_name: strings.number(&parts.chunk_name),
        line_defined: parts.line_defined,
        last_line_defined: parts.last_line_defined,
        parameter_count: parts.parameter_count,
        is_vararg: parts.is_vararg,
        register_count: parts.register_count,
        code_words: parts.code.len() as u32,
        constants: parts.constants.len() as u32,
        upvalues: parts.upvalues.len() as u32,
        children: children.len() as u32,
        lines: parts.lines.len() as u32,
        locals: parts.locals.len() as u32,
    });
    for word in &parts.code {
        out.append(&word.to_le_bytes());
    }
    for constant in &parts.constants {
        out.put(&match constant {
            Constant::Nil => wire::Constant::Nil,
            Constant::Boolean(false) => wire::Constant::False,
            Constant::Boolean(true) => wire::Constant::True,
            Constant::Integer(integer) => wire::Constant::Integer(*integer),
            Constant::Float(float) => wire::Constant::Float(*float),
            Constant::String(bytes) => wire::Constant::String(strings.number(bytes)),
        });
    }
    for upvalue in &parts.upvalues {
        let name = strings.number(&upvalue.name);
        out.put(&wire::UpvalueDescription { in_stack: upvalue.in_stack, index: upvalue.index, name });
    }
    for child in children {
        out.put(child);
    }
    let mut previous = LineEntry { pc: 0, line: parts.line_defined };
    for entry in &parts.lines {
        let lines = i64::from(entry.line) - i64::from(previous.line);
        out.put(&wire::Line { instructions: entry.pc.wrapping_sub(previous.pc), lines });
        previous = *entry;
    }
    for local in &parts.locals {
        let name = strings.number(&local.name);
        let length = local.end_pc.wrapping_sub(local.start_pc);
        out.put(&wire::Local { name, register: local.register, start: local.start_pc, length });
    }
}

/// What is known of a function in a payload that was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionEntry {
    /// Where it begins in the payload.
    offset: usize,
    pub upvalues: u32,
    /// Levels of functions, itself included.
    depth: u32,
    /// Bytes that it takes with all functions inside it.
    pub expanded_bytes: u64,
}

/// A part of a function, in the order of the wire form.
enum Part<'a> {
    Code(&'a [u8]),
    /// A constant other than a string.
    Constant(Constant),
    /// A string constant.
    Text(&'a [u8]),
    Upvalue(wire::UpvalueDescription, &'a [u8]),
    Child(&'a FunctionEntry),
    Line(LineEntry),
    Local(u8, Range<u32>, &'a [u8]),
}

/// The checked parts of a payload that functions refer to.
#[derive(Clone, Copy)]
pub(crate) struct FunctionSource<'a> {
    pub payload: &'a [u8],
    pub strings: &'a [&'a [u8]],
    pub functions: &'a [FunctionEntry],
}

impl<'a> FunctionSource<'a> {
    fn string(&self, reader: &Reader<'_>, number: u32) -> Result<&'a [u8]> {
        self.strings.get(number as usize).copied().ok_or_else(|| reader.corrupt(CorruptKind::Reference))
    }

    /// Checks the function at `offset`; `self` holds the ones before it. Gives the offset behind it too.
    pub(crate) fn scan(&self, offset: usize) -> Result<(FunctionEntry, usize)> {
        let mut entry = FunctionEntry { offset, upvalues: 0, depth: 1, expanded_bytes: 0 };
        let reader = &mut Reader::at(self.payload, offset);
        let mut own_bytes = 128u64;
        let head = self.read(reader, |part| match part {
            Part::Code(bytes) => own_bytes += bytes.len() as u64,
            Part::Text(bytes) => own_bytes += 72 + bytes.len() as u64,
            Part::Constant(_) => own_bytes += 24,
            Part::Upvalue(_, name) => own_bytes += 24 + name.len() as u64,
            Part::Child(child) => {
                own_bytes = own_bytes.saturating_add(child.expanded_bytes);
                entry.depth = entry.depth.max(child.depth + 1);
            }
            Part::Line(_) => own_bytes += 8,
            Part::Local(_, _, name) => own_bytes += 32 + name.len() as u64,
        })?;
        if entry.depth > NESTING_MAX {
            return Err(reader.corrupt(CorruptKind::Count));
        }
        entry.upvalues = head.upvalues;
        entry.expanded_bytes = own_bytes;
        Ok((entry, reader.offset()))
    }

    /// Calls `visit` with every part of the function at `reader`, in order.
    fn read(&self, reader: &mut Reader<'a>, mut visit: impl FnMut(Part<'a>)) -> Result<FunctionHead> {
        let head: FunctionHead = reader.take()?;
        self.string(reader, head.chunk_name)?;
        let code_bytes = reader.check_count(head.code_words, 4)? * 4;
        visit(Part::Code(reader.take_bytes(code_bytes)?));
        reader.check_count(head.constants, 1)?;
        for _ in 0..head.constants {
            visit(match reader.take()? {
                wire::Constant::Nil => Part::Constant(Constant::Nil),
                wire::Constant::False => Part::Constant(Constant::Boolean(false)),
                wire::Constant::True => Part::Constant(Constant::Boolean(true)),
                wire::Constant::Integer(integer) => Part::Constant(Constant::Integer(integer)),
                wire::Constant::Float(float) => Part::Constant(Constant::Float(float)),
                wire::Constant::String(number) => Part::Text(self.string(reader, number)?),
            });
        }
        if head.upvalues > UPVALUES_MAX {
            return Err(reader.corrupt(CorruptKind::Count));
        }
        for _ in 0..head.upvalues {
            let upvalue: wire::UpvalueDescription = reader.take()?;
            visit(Part::Upvalue(upvalue, self.string(reader, upvalue.name)?));
        }
        reader.check_count(head.children, 1)?;
        for _ in 0..head.children {
            let number: u32 = reader.take()?;
            // While functions are scanned only the ones before are known, which keeps the list free of cycles.
            let child = self.functions.get(number as usize).ok_or_else(|| reader.corrupt(CorruptKind::Reference))?;
            visit(Part::Child(child));
        }
        reader.check_count(head.lines, 2)?;
        let mut previous = LineEntry { pc: 0, line: head.line_defined };
        for _ in 0..head.lines {
            let step: wire::Line = reader.take()?;
            let malformed = || reader.corrupt(CorruptKind::Malformed);
            let line = i64::from(previous.line).checked_add(step.lines).and_then(|line| u32::try_from(line).ok());
            let pc = previous.pc.checked_add(step.instructions).ok_or_else(malformed)?;
            previous = LineEntry { pc, line: line.ok_or_else(malformed)? };
            visit(Part::Line(previous));
        }
        reader.check_count(head.locals, 4)?;
        for _ in 0..head.locals {
            let local: wire::Local = reader.take()?;
            let end_pc = local.start.checked_add(local.length).ok_or_else(|| reader.corrupt(CorruptKind::Malformed))?;
            let name = self.string(reader, local.name)?;
            visit(Part::Local(local.register, local.start..end_pc, name));
        }
        Ok(head)
    }

    /// The whole tree of function `number`. Recursion is bounded by [`NESTING_MAX`], size by what the caller allows for
    /// `expanded_bytes`.
    pub(crate) fn expand(&self, number: u32) -> Result<FunctionParts> {
        let no_function = || Error::corrupt(CorruptKind::Reference, 0);
        let entry = self.functions.get(number as usize).ok_or_else(no_function)?;
        self.expand_entry(entry, None)
    }

    /// Nested functions have their chunk's name from outside if it is the same.
    fn expand_entry(&self, entry: &FunctionEntry, outer_name: Option<&Rc<[u8]>>) -> Result<FunctionParts> {
        let mut parts = FunctionParts::default();
        let mut children = Vec::new();
        let head = self.read(&mut Reader::at(self.payload, entry.offset), |part| match part {
            Part::Code(bytes) => {
                let (words, _) = bytes.as_chunks::<4>();
                parts.code = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
            }
            Part::Text(bytes) => parts.constants.push(Constant::String(bytes.into())),
            Part::Constant(constant) => parts.constants.push(constant),
            Part::Upvalue(upvalue, name) => parts.upvalues.push(UpvalueDescription {
                in_stack: upvalue.in_stack,
                index: upvalue.index,
                name: name.into(),
            }),
            Part::Child(child) => children.push(*child),
            Part::Line(entry) => parts.lines.push(entry),
            Part::Local(register, range, name) => parts.locals.push(LocalVariable {
                name: name.into(),
                register,
                start_pc: range.start,
                end_pc: range.end,
            }),
        })?;
        let name = self.strings.get(head.chunk_name as usize).copied().unwrap_or_default();
        parts.chunk_name = match outer_name {
            Some(outer) if **outer == *name => outer.clone(),
            _ => Rc::from(name),
        };
        parts.line_defined = head.line_defined;
        parts.last_line_defined = head.last_line_defined;
        parts.parameter_count = head.parameter_count;
        parts.is_vararg = head.is_vararg;
        parts.register_count = head.register_count;
        for child in &children {
            let child = self.expand_entry(child, Some(&parts.chunk_name))?;
            parts.functions.push(child);
        }
        Ok(parts)
    }
}
