//! One pass over a payload: where its parts are, that all references lead somewhere, what building takes; and the verification of its code.

use cu_vm::bytecode::encoding::{FunctionEntry, FunctionReader};
use cu_vm::bytecode::verify::{Verified, verify};

use crate::coroutine::{Head, take_frame};
use crate::envelope::HAS_COROUTINES;
use crate::error::{CorruptKind, Error, Result};
use crate::limits::Limits;
use crate::reader::Reader;
use crate::wire::{self, Counts, NativeHead, TableHead, UserdataHead};

/// Where things are in a checked payload, and what building them takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub strings: Vec<std::ops::Range<usize>>,
    /// The permanents' names, as string numbers.
    pub permanents: Vec<u32>,
    /// Whether a permanent serves as a metatable or as a native's code; what it is shows when a VM is there.
    pub permanent_uses: Vec<PermanentUse>,
    pub tables: usize,
    pub upvalues: usize,
    pub closures: usize,
    pub natives: usize,
    pub coroutines: usize,
    pub coroutine_count: u32,
    pub userdata: usize,
    pub userdata_count: u32,
    pub roots: usize,
    pub heap_bytes: usize,
}

/// What a permanent has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PermanentUse {
    pub is_metatable: bool,
    pub is_code: bool,
}

const FUNCTION_SIZE: Error = Error::Limit { what: "function size" };

/// The counts, which the bytes that follow can hold.
pub(super) fn read_counts(reader: &mut Reader<'_>, limits: &Limits) -> Result<Counts> {
    let counts: Counts = reader.take()?;
    let Counts { strings, permanents, functions, tables, upvalues, closures, natives, roots } = counts;
    // The fewest bytes that one of each takes, in this order.
    let each = [
        (strings, 1),
        (permanents, 1),
        (functions, 12),
        (tables, 3),
        (upvalues, 1),
        (closures, 1),
        (natives, 2),
        (roots, 1),
    ];
    let mut total = 0usize;
    for (count, bytes) in each {
        total = total.saturating_add(reader.check_count(count, bytes)?);
    }
    if total > limits.objects {
        return Err(Error::Limit { what: "object count" });
    }
    Ok(counts)
}

/// How many slots, frames, open upvalues and variables to be closed a coroutine has.
pub(crate) fn coroutine_counts(reader: &mut Reader<'_>) -> Result<[u32; 4]> {
    let mut counts = [0; 4];
    for (count, bytes) in counts.iter_mut().zip([1, 10, 2, 1]) {
        *count = reader.small()?;
        reader.check_count(*count, bytes)?;
    }
    Ok(counts)
}

/// The kind of a userdata, its bytes, and what else comes before its values.
pub(crate) fn take_userdata<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a [u8], UserdataHead)> {
    Ok((reader.take()?, reader.take()?, reader.take()?))
}

/// Nominal sizes of objects, rounded up.
mod nominal {
    pub const COROUTINE: usize = 128;
    pub const STRING: usize = 56;
    pub const UPVALUE: usize = 72;
    pub const CLOSURE: usize = 40;
    pub const NATIVE: usize = 72;
    pub const USERDATA: usize = 520;

    /// Parts of a table grow to powers of two; a key has its place in the index besides its entry.
    pub fn table(items: usize, pairs: usize) -> usize {
        let capacity = |count: usize| {
            if count == 0 { 0 } else { count.next_power_of_two().max(4) }
        };
        let entries = if pairs == 0 { 0 } else { capacity(pairs + 1) };
        128 + capacity(items) * 16 + entries * 40
    }
}

/// One pass over a payload.
pub(super) struct Scan<'a> {
    payload: &'a [u8],
    counts: Counts,
    limits: &'a Limits,
    pub layout: Layout,
    /// Functions that closures are made of.
    called: Vec<bool>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(payload: &'a [u8], counts: Counts, limits: &'a Limits) -> Self {
        Scan { payload, counts, limits, layout: Layout::default(), called: vec![false; counts.functions as usize] }
    }

    pub(super) fn run(mut self, reader: &mut Reader<'a>) -> Result<(Layout, Vec<Option<Verified>>)> {
        let strings = self.scan_strings(reader)?;
        self.scan_permanents(reader)?;
        let mut functions = FunctionReader::new(self.payload, &strings, self.limits.function_bytes as u64);
        for number in 0..self.counts.functions {
            let read = functions.read(reader.offset());
            let end = read.map_err(|error| Error::from(error).within(|| format!("function {number}")))?;
            *reader = Reader::at(self.payload, end.ok_or(FUNCTION_SIZE)?);
        }
        self.layout.tables = reader.offset();
        for number in 0..self.counts.tables {
            self.scan_table(reader).map_err(|error| error.within(|| format!("table {number}")))?;
        }
        self.layout.upvalues = reader.offset();
        for number in 0..self.counts.upvalues {
            self.scan_value(reader).map_err(|error| error.within(|| format!("upvalue {number}")))?;
        }
        self.layout.heap_bytes += self.counts.upvalues as usize * nominal::UPVALUE;
        self.layout.closures = reader.offset();
        for number in 0..self.counts.closures {
            self.scan_closure(reader, functions.entries())
                .map_err(|error| error.within(|| format!("closure {number}")))?;
        }
        self.layout.natives = reader.offset();
        for number in 0..self.counts.natives {
            self.scan_native(reader).map_err(|error| error.within(|| format!("native {number}")))?;
        }
        self.layout.coroutines = reader.offset();
        // Without coroutines the count is 0; said again for the compiler to leave the code out.
        let coroutine_count = if HAS_COROUTINES { self.layout.coroutine_count } else { 0 };
        for number in 0..coroutine_count {
            self.scan_coroutine(reader).map_err(|error| error.within(|| format!("coroutine {number}")))?;
        }
        self.layout.userdata = reader.offset();
        let userdata_count = if HAS_COROUTINES { self.layout.userdata_count } else { 0 };
        for number in 0..userdata_count {
            self.scan_userdata(reader).map_err(|error| error.within(|| format!("userdata {number}")))?;
        }
        self.layout.roots = reader.offset();
        for number in 0..self.counts.roots {
            self.scan_value(reader).map_err(|error| error.within(|| format!("root {number}")))?;
        }
        reader.finish()?;
        let functions = self.verify_functions(functions)?;
        Ok((self.layout, functions))
    }

    fn scan_strings(&mut self, reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>> {
        let mut strings = Vec::with_capacity(self.counts.strings as usize);
        for number in 0..self.counts.strings {
            let bytes: &[u8] = reader.take().map_err(|error| error.within(|| format!("string {number}")))?;
            strings.push(bytes);
            self.layout.strings.push(reader.offset() - bytes.len()..reader.offset());
            self.layout.heap_bytes += nominal::STRING + bytes.len();
        }
        Ok(strings)
    }

    fn scan_permanents(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        for number in 0..self.counts.permanents {
            let name = reader
                .take_number(self.counts.strings)
                .map_err(|error| error.within(|| format!("permanent {number}")))?;
            self.layout.permanents.push(name);
        }
        self.layout.permanent_uses = vec![PermanentUse::default(); self.layout.permanents.len()];
        Ok(())
    }

    fn scan_value(&mut self, reader: &mut Reader<'a>) -> Result<wire::Value> {
        let value: wire::Value = reader.take()?;
        let reference = match value {
            wire::Value::String(number) => (number, self.counts.strings),
            wire::Value::Table(number) => (number, self.counts.tables),
            wire::Value::Closure(number) => (number, self.counts.closures),
            wire::Value::Native(number) => (number, self.counts.natives),
            wire::Value::Permanent(number) => (number, self.counts.permanents),
            wire::Value::Coroutine(number) => (number, self.layout.coroutine_count),
            wire::Value::Userdata(number) => (number, self.layout.userdata_count),
            wire::Value::LightUserdata(_) => {
                return Err(reader.corrupt(CorruptKind::Kind));
            }
            _ => return Ok(value),
        };
        reader.check_number(reference.0, reference.1)?;
        Ok(value)
    }

    fn scan_table(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        let head: TableHead = reader.take()?;
        self.check_metatable(head.metatable, reader)?;
        reader.check_count(head.items, 1)?;
        let mut last = wire::Value::True;
        for _ in 0..head.items {
            last = self.scan_value(reader)?;
        }
        if last == wire::Value::Nil {
            return Err(reader.corrupt(CorruptKind::Kind));
        }
        reader.check_count(head.pairs, 2)?;
        for _ in 0..head.pairs {
            let key = self.scan_value(reader)?;
            let value = self.scan_value(reader)?;
            let is_key = match key {
                wire::Value::Nil => false,
                wire::Value::Float(float) => !float.is_nan(),
                _ => true,
            };
            if !is_key || value == wire::Value::Nil {
                return Err(reader.corrupt(CorruptKind::Kind));
            }
        }
        let bytes = nominal::table(head.items as usize, head.pairs as usize);
        self.layout.heap_bytes = self.layout.heap_bytes.saturating_add(bytes);
        Ok(())
    }

    fn check_metatable(&mut self, metatable: wire::Metatable, reader: &Reader<'a>) -> Result<()> {
        match metatable {
            wire::Metatable::None => {}
            wire::Metatable::Table(number) => {
                reader.check_number(number, self.counts.tables)?;
            }
            wire::Metatable::Permanent(number) => {
                reader.check_number(number, self.counts.permanents)?;
                self.layout.permanent_uses[number as usize].is_metatable = true;
            }
        }
        Ok(())
    }

    fn scan_closure(&mut self, reader: &mut Reader<'a>, functions: &[FunctionEntry]) -> Result<()> {
        let function = reader.take_number(self.counts.functions)? as usize;
        self.called[function] = true;
        let upvalues = functions[function].upvalues;
        for _ in 0..upvalues {
            reader.take_number(self.counts.upvalues)?;
        }
        self.layout.heap_bytes += nominal::CLOSURE + upvalues as usize * 8;
        Ok(())
    }

    fn scan_native(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        let head: NativeHead = reader.take()?;
        reader.check_number(head.permanent, self.counts.permanents)?;
        self.layout.permanent_uses[head.permanent as usize].is_code = true;
        reader.check_count(head.values, 1)?;
        for _ in 0..head.values {
            self.scan_value(reader)?;
        }
        self.layout.heap_bytes += nominal::NATIVE + head.values as usize * 16;
        Ok(())
    }

    fn scan_coroutine(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        let head = Head::take(reader)?;
        let [slots, frames, open, to_close] = coroutine_counts(reader)?;
        for _ in 0..frames {
            take_frame(reader)?;
        }
        for _ in 0..open {
            let upvalue = reader.small()?;
            reader.check_number(upvalue, self.counts.upvalues)?;
            reader.varint()?;
        }
        for _ in 0..to_close {
            reader.varint()?;
        }
        for _ in 0..slots as u64 + 2 + frames as u64 {
            self.scan_value(reader)?;
        }
        let bytes = nominal::COROUTINE + head.stack_length as usize * 16 + frames as usize * 48;
        self.layout.heap_bytes = self.layout.heap_bytes.saturating_add(bytes);
        Ok(())
    }

    fn scan_userdata(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        let (_, bytes, head) = take_userdata(reader)?;
        self.check_metatable(head.metatable, reader)?;
        reader.check_count(head.values, 1)?;
        for _ in 0..head.values {
            self.scan_value(reader)?;
        }
        self.layout.heap_bytes += nominal::USERDATA + bytes.len() + head.values as usize * 16;
        Ok(())
    }

    /// Builds and verifies the functions that closures are made of.
    fn verify_functions(&mut self, source: FunctionReader<'_>) -> Result<Vec<Option<Verified>>> {
        let count = source.entries().len() as u32;
        let called: Vec<u32> = (0..count).filter(|number| self.called[*number as usize]).collect();
        let bytes = |number: &u32| source.entries()[*number as usize].expanded_bytes;
        let bytes = called.iter().map(bytes).fold(0, u64::saturating_add);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= self.limits.function_bytes => {
                self.layout.heap_bytes = self.layout.heap_bytes.saturating_add(bytes);
            }
            _ => return Err(FUNCTION_SIZE),
        }
        let mut functions: Vec<Option<Verified>> = Vec::new();
        functions.resize_with(count as usize, || None);
        for (number, parts) in called.iter().zip(source.trees(&called)) {
            let function = *number as usize;
            functions[function] = Some(verify(parts).map_err(|source| Error::Verify { function, source })?);
        }
        Ok(functions)
    }
}
