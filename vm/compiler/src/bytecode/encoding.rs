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

/// What a function takes at least, in bytes.
const FUNCTION_BYTES: u64 = 192;

/// Where different byte strings stand in what was written, and their numbers.
struct Places {
    table: HashTable<(Range<usize>, u32)>,
    state: RandomState,
}

impl Places {
    /// None, with room for so many.
    fn with_capacity(count: usize) -> Places {
        Places { table: HashTable::with_capacity(count), state: RandomState::default() }
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        self.state.hash_one(bytes)
    }

    fn find(&self, hash: u64, bytes: &[u8], out: &Writer) -> Option<u32> {
        let is_same = |(place, _): &(Range<usize>, u32)| out.as_bytes()[place.clone()] == *bytes;
        self.table.find(hash, is_same).map(|(_, number)| *number)
    }

    /// Notes what stands at a place, has this hash, and was not found.
    fn insert(&mut self, hash: u64, place: Range<usize>, number: u32, out: &Writer) {
        let again = |(place, _): &(Range<usize>, u32)| self.state.hash_one(&out.as_bytes()[place.clone()]);
        self.table.insert_unique(hash, (place, number), again);
    }
}

/// Byte strings, each written once.
pub struct StringTable {
    places: Places,
    count: u32,
    pub out: Writer,
}

impl Default for StringTable {
    /// None, with room for those of a function.
    fn default() -> Self {
        StringTable { places: Places::with_capacity(96), count: 0, out: Writer::default() }
    }
}

impl StringTable {
    pub fn number(&mut self, bytes: &[u8]) -> u32 {
        let hash = self.places.hash(bytes);
        if let Some(number) = self.places.find(hash, bytes, &self.out) {
            return number;
        }
        let number = self.add(bytes);
        let end = self.out.as_bytes().len();
        self.places.insert(hash, end - bytes.len()..end, number, &self.out);
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
pub struct FunctionTable {
    places: Places,
    count: u32,
    pub out: Writer,
}

impl Default for FunctionTable {
    fn default() -> Self {
        FunctionTable { places: Places::with_capacity(0), count: 0, out: Writer::default() }
    }
}

impl FunctionTable {
    /// Writes a function after its children, and returns its number. Recursion is bounded by the verifier's nesting limit.
    pub fn number(&mut self, parts: &FunctionParts, strings: &mut StringTable) -> u32 {
        let children: Vec<u32> = parts.functions.iter().map(|child| self.number(child, strings)).collect();
        let chunk_name = strings.number(&parts.chunk_name);
        let start = self.out.as_bytes().len();
        write_function(parts, chunk_name, &children, &mut |text| strings.number(text), &mut self.out);
        let place = start..self.out.as_bytes().len();
        let bytes = &self.out.as_bytes()[place.clone()];
        let hash = self.places.hash(bytes);
        if let Some(number) = self.places.find(hash, bytes, &self.out) {
            self.out.truncate(start);
            return number;
        }
        self.places.insert(hash, place, self.count, &self.out);
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

/// A function of a payload that was read.
pub struct FunctionEntry {
    /// Without the functions inside it and without its chunk's name.
    parts: FunctionParts,
    children: Vec<u32>,
    /// How many functions and roots it is still needed for.
    uses: u32,
    pub upvalues: u32,
    /// Levels of functions, itself included.
    depth: u32,
    chunk_name: u32,
    /// Bytes that it takes.
    pub own_bytes: u64,
    /// Likewise with all functions inside it.
    pub expanded_bytes: u64,
}

/// The functions of a payload, read one after the other, those inside a function before it.
pub struct FunctionReader<'a> {
    payload: &'a [u8],
    strings: &'a [&'a [u8]],
    entries: Vec<FunctionEntry>,
    bytes_left: u64,
    /// Numbers of functions inside others: in a tree, each of them is a function of its own.
    children_left: u64,
}

impl<'a> FunctionReader<'a> {
    /// `strings` are those that functions refer to. The functions, each by itself, may take `bytes_max` bytes together.
    pub fn new(payload: &'a [u8], strings: &'a [&'a [u8]], bytes_max: u64) -> FunctionReader<'a> {
        let children_left = bytes_max / FUNCTION_BYTES;
        FunctionReader { payload, strings, entries: Vec::new(), bytes_left: bytes_max, children_left }
    }

    /// Those that were read.
    pub fn entries(&self) -> &[FunctionEntry] {
        &self.entries
    }

    /// Reads the function at `offset`. The offset behind it; none if there are no bytes left for it.
    pub fn read(&mut self, offset: usize) -> Result<Option<usize>, WireError> {
        let reader = &mut Reader::at(self.payload, offset);
        let head: FunctionHead = reader.take()?;
        self.string(reader, head.chunk_name)?;
        let mut building = Building::new(&head, self.bytes_left);
        building.take_code(reader, &head)?;
        for _ in 0..head.constants {
            building.take_constant(reader, self)?;
        }
        for _ in 0..head.upvalues {
            building.take_upvalue(reader, self)?;
        }
        let Some(children_left) = self.children_left.checked_sub(head.children.into()) else { return Ok(None) };
        self.children_left = children_left;
        let mut entry = self.take_children(reader, &head)?;
        building.take_lines(reader, &head)?;
        for _ in 0..head.locals {
            building.take_local(reader, self)?;
        }
        entry.own_bytes = building.bytes;
        entry.expanded_bytes = entry.expanded_bytes.saturating_add(building.bytes);
        let Some(left) = self.bytes_left.checked_sub(building.bytes) else { return Ok(None) };
        self.bytes_left = left;
        entry.parts = building.parts;
        self.entries.push(entry);
        Ok(Some(reader.offset()))
    }

    fn string(&self, reader: &Reader<'_>, number: u32) -> Result<&'a [u8], WireError> {
        self.strings.get(number as usize).copied().ok_or_else(|| reader.fail(Fault::Reference))
    }

    /// The numbers of the functions inside one. Only those before it are known, which keeps the list free of cycles.
    fn take_children(&mut self, reader: &mut Reader<'_>, head: &FunctionHead) -> Result<FunctionEntry, WireError> {
        let mut entry = FunctionEntry {
            parts: FunctionParts::default(),
            children: Vec::with_capacity(reader.check_count(head.children, 1)?),
            uses: 0,
            upvalues: head.upvalues,
            depth: 1,
            chunk_name: head.chunk_name,
            own_bytes: 0,
            expanded_bytes: 0,
        };
        for _ in 0..head.children {
            let number: u32 = reader.take()?;
            let child = self.entries.get_mut(number as usize).filter(|child| child.chunk_name == head.chunk_name);
            let child = child.ok_or_else(|| reader.fail(Fault::Reference))?;
            child.uses += 1;
            entry.depth = entry.depth.max(child.depth + 1);
            entry.expanded_bytes = entry.expanded_bytes.saturating_add(child.expanded_bytes);
            entry.children.push(number);
        }
        if entry.depth > NESTING_MAX { Err(reader.fail(Fault::Count)) } else { Ok(entry) }
    }

    /// The function that was read last, without those inside it, whose numbers come with it, and without its chunk's name, whose number
    /// does. What is left of it here counts for functions around it.
    pub fn take_last(&mut self) -> Option<(FunctionParts, Vec<u32>, u32)> {
        let entry = self.entries.last_mut()?;
        Some((std::mem::take(&mut entry.parts), std::mem::take(&mut entry.children), entry.chunk_name))
    }

    /// These functions, each with all functions inside it. Recursion is bounded by [`NESTING_MAX`], size by what the caller allows for `expanded_bytes`.
    pub fn trees(mut self, numbers: &[u32]) -> Vec<FunctionParts> {
        for number in numbers {
            self.entries[*number as usize].uses += 1;
        }
        let tree = |number: &u32| {
            let name = self.strings.get(self.entries[*number as usize].chunk_name as usize);
            expand(&mut self.entries, *number, true, &Rc::from(name.copied().unwrap_or_default()))
        };
        numbers.iter().map(tree).collect()
    }
}

/// A tree's functions share their chunk's name. One is moved there if this is its last use: of a function that stays here, what is inside it stays.
fn expand(entries: &mut [FunctionEntry], number: u32, is_use: bool, chunk_name: &Rc<[u8]>) -> FunctionParts {
    let entry = &mut entries[number as usize];
    entry.uses -= u32::from(is_use);
    let is_last = is_use && entry.uses == 0;
    let (mut parts, children) = if is_last {
        (std::mem::take(&mut entry.parts), std::mem::take(&mut entry.children))
    } else {
        (entry.parts.clone(), entry.children.clone())
    };
    parts.chunk_name = chunk_name.clone();
    parts.functions = children.iter().map(|child| expand(entries, *child, is_last, chunk_name)).collect();
    parts
}

/// A function while it is read. What it takes is counted to its end; what is over the bytes that it may take is not built.
struct Building {
    parts: FunctionParts,
    bytes: u64,
    bytes_max: u64,
}

impl Building {
    fn new(head: &FunctionHead, bytes_max: u64) -> Building {
        let parts = FunctionParts {
            line_defined: head.line_defined,
            last_line_defined: head.last_line_defined,
            parameter_count: head.parameter_count,
            is_vararg: head.is_vararg,
            register_count: head.register_count,
            ..FunctionParts::default()
        };
        Building { parts, bytes: FUNCTION_BYTES, bytes_max }
    }

    /// Whether it may take so many more bytes.
    fn may_take(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes <= self.bytes_max
    }

    /// The code, and room for what comes after it.
    fn take_code(&mut self, reader: &mut Reader<'_>, head: &FunctionHead) -> Result<(), WireError> {
        let code_bytes = reader.check_count(head.code_words, 4)? * 4;
        let code = reader.take_bytes(code_bytes)?;
        let least = [(head.constants, 1), (head.upvalues, 3), (head.lines, 2), (head.locals, 4)];
        let mut counts = [0; 4];
        for (place, (count, bytes)) in counts.iter_mut().zip(least) {
            *place = reader.check_count(count, bytes)?;
        }
        if head.upvalues > UPVALUES_MAX {
            return Err(reader.fail(Fault::Count));
        }
        let [constants, upvalues, lines, locals] = counts;
        // In wasm, such a sum could be over what addresses hold.
        let each = [(code_bytes, 1), (constants, 24), (upvalues, 24), (lines, 8), (locals, 32)];
        if self.may_take(each.iter().map(|(count, bytes)| *count as u64 * bytes).sum()) {
            let (words, _) = code.as_chunks::<4>();
            self.parts.code = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
            self.parts.constants.reserve_exact(constants);
            self.parts.upvalues.reserve_exact(upvalues);
            self.parts.lines.reserve_exact(lines);
            self.parts.locals.reserve_exact(locals);
        }
        Ok(())
    }

    fn take_constant(&mut self, reader: &mut Reader<'_>, source: &FunctionReader<'_>) -> Result<(), WireError> {
        let (text, constant) = match reader.take()? {
            wire::Constant::Nil => (None, Constant::Nil),
            wire::Constant::False => (None, Constant::Boolean(false)),
            wire::Constant::True => (None, Constant::Boolean(true)),
            wire::Constant::Integer(integer) => (None, Constant::Integer(integer)),
            // The one NaN there is; no program can have written another.
            wire::Constant::Float(float) if float.is_nan() => (None, Constant::Float(f64::NAN)),
            wire::Constant::Float(float) => (None, Constant::Float(float)),
            wire::Constant::String(number) => (Some(source.string(reader, number)?), Constant::Nil),
        };
        if self.may_take(text.map_or(0, |text| 48 + text.len() as u64)) {
            self.parts.constants.push(text.map_or(constant, |text| Constant::String(text.into())));
        }
        Ok(())
    }

    fn take_upvalue(&mut self, reader: &mut Reader<'_>, source: &FunctionReader<'_>) -> Result<(), WireError> {
        let wire::UpvalueDescription { in_stack, index, name } = reader.take()?;
        let name = source.string(reader, name)?;
        if self.may_take(name.len() as u64) {
            self.parts.upvalues.push(UpvalueDescription { in_stack, index, name: name.into() });
        }
        Ok(())
    }

    fn take_lines(&mut self, reader: &mut Reader<'_>, head: &FunctionHead) -> Result<(), WireError> {
        let is_built = self.may_take(0);
        let mut previous = LineEntry { pc: 0, line: head.line_defined };
        for _ in 0..head.lines {
            let step = wire::Line::take(reader)?;
            let malformed = || reader.fail(Fault::Malformed);
            let line = i64::from(previous.line).checked_add(step.lines).and_then(|line| u32::try_from(line).ok());
            let pc = previous.pc.checked_add(step.instructions).ok_or_else(malformed)?;
            previous = LineEntry { pc, line: line.ok_or_else(malformed)? };
            if is_built {
                self.parts.lines.push(previous);
            }
        }
        Ok(())
    }

    fn take_local(&mut self, reader: &mut Reader<'_>, source: &FunctionReader<'_>) -> Result<(), WireError> {
        let wire::Local { name, register, start: start_pc, length } = wire::Local::take(reader)?;
        let end_pc = start_pc.checked_add(length).ok_or_else(|| reader.fail(Fault::Malformed))?;
        let name = source.string(reader, name)?;
        if self.may_take(name.len() as u64) {
            self.parts.locals.push(LocalVariable { name: name.into(), register, start_pc, end_pc });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
