//! Function trees as a flat list of functions, and back.
//!
//! A child always has a smaller number than its parent, so the list has no cycles. Because an entry may be referred to more than
//! once (in a blob equal functions are one entry), a short list can describe a huge tree; how large each tree is gets computed
//! before any is built ([`FunctionEntry::expanded_bytes`]).

use std::hash::BuildHasher;
use std::ops::Range;
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::function::{Constant, FunctionParts, LineEntry, LocalVariable, UpvalueDescription};
use super::verify::SHORT_STRING_BYTES_MAX;
use super::wire::{self, Fault, FunctionHead, Reader, WireError, Writer};

/// How deeply functions nest, at most; the verifier's limit too.
const NESTING_MAX: u32 = 200;
const UPVALUES_MAX: u32 = 255;

/// Where different byte strings stand in what was written, and their numbers.
#[derive(Default)]
struct Places {
    table: HashTable<(Range<usize>, u32)>,
    state: RandomState,
}

impl Places {
    fn find(&self, bytes: &[u8], out: &Writer) -> Option<u32> {
        let is_same = |(place, _): &(Range<usize>, u32)| out.as_bytes()[place.clone()] == *bytes;
        self.table.find(self.state.hash_one(bytes), is_same).map(|(_, number)| *number)
    }

    /// Notes what stands at a place and was not found.
    fn insert(&mut self, place: Range<usize>, number: u32, out: &Writer) {
        let hash = |place: &Range<usize>| self.state.hash_one(&out.as_bytes()[place.clone()]);
        self.table.insert_unique(hash(&place), (place, number), |(place, _)| hash(place));
    }
}

/// Byte strings, each written once.
#[derive(Default)]
pub struct StringTable {
    places: Places,
    count: u32,
    pub out: Writer,
}

impl StringTable {
    pub fn number(&mut self, bytes: &[u8]) -> u32 {
        if let Some(number) = self.places.find(bytes, &self.out) {
            return number;
        }
        let number = self.add(bytes);
        let end = self.out.as_bytes().len();
        self.places.insert(end - bytes.len()..end, number, &self.out);
        number
    }

    /// As [`Self::number`], but only a short string is shared, so that whoever reads the table never has to copy a long one
    /// more often than it is written.
    fn number_sharing_short(&mut self, bytes: &[u8]) -> u32 {
        if bytes.len() <= SHORT_STRING_BYTES_MAX { self.number(bytes) } else { self.add(bytes) }
    }

    fn add(&mut self, bytes: &[u8]) -> u32 {
        self.out.string(bytes);
        self.count += 1;
        self.count - 1
    }

    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Functions, each written once.
#[derive(Default)]
pub struct FunctionTable {
    places: Places,
    count: u32,
    pub out: Writer,
}

impl FunctionTable {
    /// Writes a function after its children, and returns its number. Recursion is bounded by the verifier's nesting limit.
    pub fn number(&mut self, parts: &FunctionParts, strings: &mut StringTable) -> u32 {
        let children: Vec<u32> = parts.functions.iter().map(|child| self.number(child, strings)).collect();
        let chunk_name = strings.number(&parts.chunk_name);
        let start = self.out.as_bytes().len();
        write_function(parts, chunk_name, &children, &mut |text| strings.number(text), &mut self.out);
        let place = start..self.out.as_bytes().len();
        if let Some(number) = self.places.find(&self.out.as_bytes()[place.clone()], &self.out) {
            self.out.truncate(start);
            return number;
        }
        self.places.insert(place, self.count, &self.out);
        self.count += 1;
        self.count - 1
    }

    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Functions, each written as often as it occurs, so that what is read takes memory in proportion to its bytes.
#[derive(Default)]
pub struct FunctionList {
    pub count: u32,
    pub out: Writer,
}

impl FunctionList {
    /// Writes a function after its children, and returns its number. Recursion is bounded by the verifier's nesting limit.
    pub fn add(&mut self, parts: &FunctionParts, chunk_name: u32, strings: &mut StringTable) -> u32 {
        let children: Vec<u32> = parts.functions.iter().map(|child| self.add(child, chunk_name, strings)).collect();
        let mut number = |text: &[u8]| strings.number_sharing_short(text);
        write_function(parts, chunk_name, &children, &mut number, &mut self.out);
        self.count += 1;
        self.count - 1
    }
}

/// Writes one function without those inside it, which `children` numbers. `number` gives the number of a string.
pub fn write_function(
    parts: &FunctionParts,
    chunk_name: u32,
    children: &[u32],
    number: &mut dyn FnMut(&[u8]) -> u32,
    out: &mut Writer,
) {
    // About what it takes, so that it is copied seldom.
    out.reserve(8 * parts.code.len());
    out.put(&FunctionHead {
        chunk_name,
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
    out.words(&parts.code);
    for constant in &parts.constants {
        out.put(&match constant {
            Constant::Nil => wire::Constant::Nil,
            Constant::Boolean(false) => wire::Constant::False,
            Constant::Boolean(true) => wire::Constant::True,
            Constant::Integer(integer) => wire::Constant::Integer(*integer),
            Constant::Float(float) => wire::Constant::Float(*float),
            Constant::String(bytes) => wire::Constant::String(number(bytes)),
        });
    }
    for upvalue in &parts.upvalues {
        let name = number(&upvalue.name);
        out.put(&wire::UpvalueDescription { in_stack: upvalue.in_stack, index: upvalue.index, name });
    }
    for child in children {
        out.put(child);
    }
    let mut previous = LineEntry { pc: 0, line: parts.line_defined };
    for entry in &parts.lines {
        let lines = i64::from(entry.line) - i64::from(previous.line);
        wire::Line { instructions: entry.pc.wrapping_sub(previous.pc), lines }.put(out);
        previous = *entry;
    }
    for local in &parts.locals {
        let name = number(&local.name);
        let length = local.end_pc.wrapping_sub(local.start_pc);
        wire::Local { name, register: local.register, start: local.start_pc, length }.put(out);
    }
}

/// What is known of a function in a payload that was checked.
#[derive(Debug, Clone, Copy)]
pub struct FunctionEntry {
    /// Where it begins in the payload.
    offset: usize,
    pub upvalues: u32,
    /// Levels of functions, itself included.
    depth: u32,
    chunk_name: u32,
    /// Bytes that it takes.
    pub own_bytes: u64,
    /// Likewise with all functions inside it.
    pub expanded_bytes: u64,
}

/// A part of a function, in the order of the wire form.
enum Part<'a> {
    Code(&'a [u8]),
    /// How many constants, upvalues, lines and locals follow; there are bytes for them.
    Counts([usize; 4]),
    /// A constant other than a string.
    Constant(Constant),
    /// A string constant.
    Text(&'a [u8]),
    Upvalue(wire::UpvalueDescription, &'a [u8]),
    Child(u32, &'a FunctionEntry),
    Line(LineEntry),
    Local(u8, Range<u32>, &'a [u8]),
}

/// The checked parts of a payload that functions refer to.
#[derive(Clone, Copy)]
pub struct FunctionSource<'a> {
    pub payload: &'a [u8],
    pub strings: &'a [&'a [u8]],
    pub functions: &'a [FunctionEntry],
}

impl<'a> FunctionSource<'a> {
    fn string(&self, reader: &Reader<'_>, number: u32) -> Result<&'a [u8], WireError> {
        self.strings.get(number as usize).copied().ok_or_else(|| reader.fail(Fault::Reference))
    }

    /// Checks the function at `offset`; `self` holds the ones before it. Gives the offset behind it too.
    pub fn scan(&self, offset: usize) -> Result<(FunctionEntry, usize), WireError> {
        let reader = &mut Reader::at(self.payload, offset);
        let mut own_bytes = 192u64;
        let mut inner_bytes = 0u64;
        let mut depth = 1;
        let mut child_name = None;
        let mut is_one_chunk = true;
        let head = self.read(reader, |part| {
            let more = match part {
                Part::Code(code) => code.len() as u64,
                Part::Counts(_) => 0,
                Part::Text(text) => 72 + text.len() as u64,
                Part::Constant(_) => 24,
                Part::Upvalue(_, name) => 24 + name.len() as u64,
                Part::Child(_, child) => {
                    depth = depth.max(child.depth + 1);
                    is_one_chunk &= *child_name.get_or_insert(child.chunk_name) == child.chunk_name;
                    inner_bytes = inner_bytes.saturating_add(child.expanded_bytes);
                    0
                }
                Part::Line(_) => 8,
                Part::Local(_, _, name) => 32 + name.len() as u64,
            };
            own_bytes += more;
        })?;
        if depth > NESTING_MAX {
            return Err(reader.fail(Fault::Count));
        }
        if !is_one_chunk || child_name.is_some_and(|name| name != head.chunk_name) {
            return Err(reader.fail(Fault::Reference));
        }
        let (upvalues, chunk_name) = (head.upvalues, head.chunk_name);
        let expanded_bytes = own_bytes.saturating_add(inner_bytes);
        let entry = FunctionEntry { offset, upvalues, depth, chunk_name, own_bytes, expanded_bytes };
        Ok((entry, reader.offset()))
    }

    /// Calls `visit` with every part of the function at `reader`, in order.
    fn read(&self, reader: &mut Reader<'a>, mut visit: impl FnMut(Part<'a>)) -> Result<FunctionHead, WireError> {
        let head: FunctionHead = reader.take()?;
        self.string(reader, head.chunk_name)?;
        let code_bytes = reader.check_count(head.code_words, 4)? * 4;
        visit(Part::Code(reader.take_bytes(code_bytes)?));
        let least = [(head.constants, 1), (head.upvalues, 3), (head.lines, 2), (head.locals, 4)];
        let mut counts = [0; 4];
        for (place, (count, bytes)) in counts.iter_mut().zip(least) {
            *place = reader.check_count(count, bytes)?;
        }
        visit(Part::Counts(counts));
        for _ in 0..head.constants {
            visit(match reader.take()? {
                wire::Constant::Nil => Part::Constant(Constant::Nil),
                wire::Constant::False => Part::Constant(Constant::Boolean(false)),
                wire::Constant::True => Part::Constant(Constant::Boolean(true)),
                wire::Constant::Integer(integer) => Part::Constant(Constant::Integer(integer)),
                // The one NaN there is; no program can have written another.
                wire::Constant::Float(float) if float.is_nan() => Part::Constant(Constant::Float(f64::NAN)),
                wire::Constant::Float(float) => Part::Constant(Constant::Float(float)),
                wire::Constant::String(number) => Part::Text(self.string(reader, number)?),
            });
        }
        if head.upvalues > UPVALUES_MAX {
            return Err(reader.fail(Fault::Count));
        }
        for _ in 0..head.upvalues {
            let upvalue: wire::UpvalueDescription = reader.take()?;
            visit(Part::Upvalue(upvalue, self.string(reader, upvalue.name)?));
        }
        reader.check_count(head.children, 1)?;
        for _ in 0..head.children {
            let number: u32 = reader.take()?;
            // While functions are scanned only the ones before are known, which keeps the list free of cycles.
            let child = self.functions.get(number as usize).ok_or_else(|| reader.fail(Fault::Reference))?;
            visit(Part::Child(number, child));
        }
        let mut previous = LineEntry { pc: 0, line: head.line_defined };
        for _ in 0..head.lines {
            let step = wire::Line::take(reader)?;
            let malformed = || reader.fail(Fault::Malformed);
            let line = i64::from(previous.line).checked_add(step.lines).and_then(|line| u32::try_from(line).ok());
            let pc = previous.pc.checked_add(step.instructions).ok_or_else(malformed)?;
            previous = LineEntry { pc, line: line.ok_or_else(malformed)? };
            visit(Part::Line(previous));
        }
        for _ in 0..head.locals {
            let local = wire::Local::take(reader)?;
            let end_pc = local.start.checked_add(local.length).ok_or_else(|| reader.fail(Fault::Malformed))?;
            let name = self.string(reader, local.name)?;
            visit(Part::Local(local.register, local.start..end_pc, name));
        }
        Ok(head)
    }

    /// Function `number` without those inside it, whose numbers come with it, and without its chunk's name, whose number does.
    pub fn own_parts(&self, number: u32) -> Result<(FunctionParts, Vec<u32>, u32), WireError> {
        let no_function = WireError { fault: Fault::Reference, offset: 0 };
        let entry = self.functions.get(number as usize).ok_or(no_function)?;
        let mut children = Vec::new();
        let parts = self.parts(entry, &mut |number, _| children.push(number))?;
        Ok((parts, children, entry.chunk_name))
    }

    /// The whole tree of function `number`. Recursion is bounded by [`NESTING_MAX`], size by what the caller allows for
    /// `expanded_bytes`.
    pub fn expand(&self, number: u32) -> Result<FunctionParts, WireError> {
        let no_function = WireError { fault: Fault::Reference, offset: 0 };
        let entry = self.functions.get(number as usize).ok_or(no_function)?;
        let name = self.strings.get(entry.chunk_name as usize).copied().unwrap_or_default();
        self.expand_entry(entry, &Rc::from(name))
    }

    /// All functions of a tree share their chunk's name.
    fn expand_entry(&self, entry: &FunctionEntry, chunk_name: &Rc<[u8]>) -> Result<FunctionParts, WireError> {
        let mut children = Vec::new();
        let mut parts = self.parts(entry, &mut |_, child| children.push(*child))?;
        parts.chunk_name = chunk_name.clone();
        for child in &children {
            parts.functions.push(self.expand_entry(child, chunk_name)?);
        }
        Ok(parts)
    }

    /// A function without its chunk's name and the functions inside it, of which `child` is told.
    fn parts(
        &self,
        entry: &FunctionEntry,
        child: &mut dyn FnMut(u32, &FunctionEntry),
    ) -> Result<FunctionParts, WireError> {
        let mut parts = FunctionParts::default();
        let head = self.read(&mut Reader::at(self.payload, entry.offset), |part| match part {
            Part::Code(bytes) => {
                let (words, _) = bytes.as_chunks::<4>();
                parts.code = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
            }
            // All of them are there: the function was scanned before.
            Part::Counts([constants, upvalues, lines, locals]) => {
                parts.constants.reserve_exact(constants);
                parts.upvalues.reserve_exact(upvalues);
                parts.lines.reserve_exact(lines);
                parts.locals.reserve_exact(locals);
            }
            Part::Text(bytes) => parts.constants.push(Constant::String(bytes.into())),
            Part::Constant(constant) => parts.constants.push(constant),
            Part::Upvalue(upvalue, name) => parts.upvalues.push(UpvalueDescription {
                in_stack: upvalue.in_stack,
                index: upvalue.index,
                name: name.into(),
            }),
            Part::Child(number, entry) => child(number, entry),
            Part::Line(entry) => parts.lines.push(entry),
            Part::Local(register, range, name) => parts.locals.push(LocalVariable {
                name: name.into(),
                register,
                start_pc: range.start,
                end_pc: range.end,
            }),
        })?;
        parts.line_defined = head.line_defined;
        parts.last_line_defined = head.last_line_defined;
        parts.parameter_count = head.parameter_count;
        parts.is_vararg = head.is_vararg;
        parts.register_count = head.register_count;
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
