//! From a payload to the description of a VM. Only what the wire form says is checked here: that everything is there and that nothing takes more
//! memory than the bytes and the limits account for. Whether it describes a VM is for `cu_vm` to say.

use std::rc::Rc;

use cu_vm::Status;
use cu_vm::bytecode::encoding::FunctionReader;
use cu_vm::image::{
    ClosureImage, CoroutineImage, Datum, FrameImage, FunctionImage, HeapImage, HookImage, Image, NativeImage,
    RootsImage, RunImage, TableImage, UpvalueImage, UserdataImage,
};

use super::value;
use super::wire::{self, Counts};
use crate::error::{CorruptKind, Error, Result};
use crate::limits::Limits;
use crate::reader::Reader;

/// The description, and the host's attachment.
pub(super) fn content<'a>(payload: &'a [u8], limits: &Limits) -> Result<(Image<'a>, &'a [u8])> {
    let mut reader = Reader::at(payload, 0);
    let counts = read_counts(&mut reader, limits)?;
    let mut decoder = Decoder {
        reader,
        payload,
        counts,
        values_max: limits.objects,
        function_bytes_max: limits.function_bytes as u64,
        texts: Vec::new(),
        image: Image::default(),
    };
    decoder.strings()?;
    decoder.functions()?;
    decoder.tables()?;
    decoder.closures()?;
    decoder.natives()?;
    decoder.userdata()?;
    for number in 0..counts.coroutines {
        decoder.coroutine().map_err(|error| error.within(|| format!("coroutine {number}")))?;
    }
    decoder.rest()
}

fn read_counts(reader: &mut Reader<'_>, limits: &Limits) -> Result<Counts> {
    let counts: Counts = reader.take()?;
    // The fewest bytes that one of each takes.
    let each = [
        (counts.strings, 1),
        (counts.idle_strings, 1),
        (counts.string_serials, 2),
        (counts.texts, 1),
        (counts.functions, 13),
        (counts.tables, 5),
        (counts.upvalues, 2),
        (counts.closures, 2),
        (counts.natives, 3),
        (counts.userdata, 5),
        (counts.coroutines, 18),
    ];
    let mut total = 0usize;
    for (count, bytes) in each {
        total = total.saturating_add(reader.check_count(count, bytes)?);
    }
    if total > limits.objects { Err(Error::Limit { what: "object count" }) } else { Ok(counts) }
}

struct Decoder<'a> {
    reader: Reader<'a>,
    payload: &'a [u8],
    counts: Counts,
    values_max: usize,
    function_bytes_max: u64,
    texts: Vec<&'a [u8]>,
    image: Image<'a>,
}

impl<'a> Decoder<'a> {
    /// Reads `count` values and says where they begin.
    fn values(&mut self, count: u32) -> Result<u32> {
        let first = self.image.values.len();
        let count = self.reader.check_count(count, 1)?;
        if first + count > self.values_max {
            return Err(Error::Limit { what: "object count" });
        }
        self.image.values.reserve(count);
        for _ in 0..count {
            let datum = value::take(&mut self.reader)?;
            self.image.values.push(datum);
        }
        Ok(first as u32)
    }

    fn list(&mut self, count: u32) -> Result<Vec<Datum>> {
        let count = self.reader.check_count(count, 1)?;
        (0..count).map(|_| value::take(&mut self.reader)).collect()
    }

    fn numbers(&mut self, count: u32) -> Result<Vec<u32>> {
        let count = self.reader.check_count(count, 1)?;
        (0..count).map(|_| self.reader.take()).collect()
    }

    fn text(&self, number: u32) -> Result<&'a str> {
        let bytes = self.texts.get(number as usize).ok_or_else(|| self.reader.corrupt(CorruptKind::Reference))?;
        std::str::from_utf8(bytes).map_err(|_| self.reader.corrupt(CorruptKind::Malformed))
    }

    fn strings(&mut self) -> Result<()> {
        for _ in 0..self.counts.strings {
            self.image.strings.push(self.reader.take()?);
        }
        for _ in 0..self.counts.idle_strings {
            self.image.idle_strings.push(self.reader.take()?);
        }
        for _ in 0..self.counts.string_serials {
            let wire::StringSerial { string, serial } = self.reader.take()?;
            self.image.string_serials.push((string, serial));
        }
        for _ in 0..self.counts.texts {
            self.texts.push(self.reader.take()?);
        }
        Ok(())
    }

    fn functions(&mut self) -> Result<()> {
        let texts = std::mem::take(&mut self.texts);
        let mut functions = FunctionReader::new(self.payload, &texts, self.function_bytes_max);
        let mut names: Vec<Option<Rc<[u8]>>> = vec![None; texts.len()];
        for number in 0..self.counts.functions {
            let within = |error: Error| error.within(|| format!("function {number}"));
            let end = functions.read(self.reader.offset()).map_err(|error| within(error.into()))?;
            self.reader = Reader::at(self.payload, end.ok_or(Error::Limit { what: "function size" })?);
            let constants = self.reader.take().map_err(within)?;
            let values = self.values(constants).map_err(within)?;
            let Some((mut parts, children, name)) = functions.take_last() else { continue };
            let text = texts.get(name as usize).copied().unwrap_or_default();
            if let Some(shared) = names.get_mut(name as usize) {
                parts.chunk_name = shared.get_or_insert_with(|| Rc::from(text)).clone();
            }
            self.image.functions.push(FunctionImage { parts, constants, values, children });
        }
        drop(functions);
        self.texts = texts;
        Ok(())
    }

    fn tables(&mut self) -> Result<()> {
        self.image.tables.reserve(self.counts.tables as usize);
        for number in 0..self.counts.tables {
            let table = self.table().map_err(|error| error.within(|| format!("table {number}")))?;
            self.image.tables.push(table);
        }
        Ok(())
    }

    fn table(&mut self) -> Result<TableImage> {
        let wire::TableHead { flags, items, items_room, entries, entries_room } = self.reader.take()?;
        let known = wire::TABLE_WEAK_KEYS
            | wire::TABLE_WEAK_VALUES
            | wire::TABLE_SERIAL
            | wire::TABLE_METATABLE
            | wire::TABLE_BORDER;
        let has = |flag: u8| flags & flag != 0;
        let out_of_range = || self.reader.corrupt(CorruptKind::Count);
        let array_capacity = items.checked_add(items_room).ok_or_else(out_of_range)?;
        let entries_capacity = entries.checked_add(entries_room).ok_or_else(out_of_range)?;
        let count = entries.checked_mul(2).and_then(|entries| entries.checked_add(items)).ok_or_else(out_of_range)?;
        if flags & !known != 0 {
            return Err(self.reader.corrupt(CorruptKind::Flags));
        }
        let serial = if has(wire::TABLE_SERIAL) { self.reader.take()? } else { 0 };
        let metatable = if has(wire::TABLE_METATABLE) { Some(self.reader.take()?) } else { None };
        let border = if has(wire::TABLE_BORDER) { self.reader.take()? } else { 0 };
        Ok(TableImage {
            serial,
            metatable,
            weak_keys: has(wire::TABLE_WEAK_KEYS),
            weak_values: has(wire::TABLE_WEAK_VALUES),
            border,
            array_length: items,
            array_capacity,
            entries,
            entries_capacity,
            values: self.values(count)?,
        })
    }

    fn closures(&mut self) -> Result<()> {
        for _ in 0..self.counts.upvalues {
            let wire::UpvalueHead { serial, is_closed } = self.reader.take()?;
            let value = if is_closed { Some(value::take(&mut self.reader)?) } else { None };
            self.image.upvalues.push(UpvalueImage { serial, value });
        }
        for _ in 0..self.counts.closures {
            let serial = self.reader.take()?;
            let function = self.reader.take_number(self.counts.functions)?;
            let upvalues = self.image.functions[function as usize].parts.upvalues.len() as u32;
            let upvalues = self.numbers(upvalues)?;
            self.image.closures.push(ClosureImage { serial, function, upvalues });
        }
        Ok(())
    }

    fn natives(&mut self) -> Result<()> {
        for _ in 0..self.counts.natives {
            let wire::NativeHead { serial, name, values: count } = self.reader.take()?;
            let name = self.text(name)?;
            let values = self.values(count)?;
            self.image.natives.push(NativeImage { serial, name, count, values });
        }
        Ok(())
    }

    fn userdata(&mut self) -> Result<()> {
        for _ in 0..self.counts.userdata {
            let wire::UserdataHead { serial, metatable, kind, values: count } = self.reader.take()?;
            let kind = self.text(kind)?.to_owned();
            let bytes: &[u8] = self.reader.take()?;
            let bytes = bytes.to_vec();
            let values = self.values(count)?;
            self.image.userdata.push(UserdataImage { serial, metatable, kind, bytes, count, values });
        }
        Ok(())
    }

    fn coroutine(&mut self) -> Result<()> {
        let head: wire::CoroutineHead = self.reader.take()?;
        let slots = head.slots.checked_add(2).ok_or_else(|| self.reader.corrupt(CorruptKind::Count))?;
        let values = self.values(slots)?;
        let mut frames = Vec::with_capacity(self.reader.check_count(head.frames, 11)?);
        for _ in 0..head.frames {
            let frame: wire::Frame = self.reader.take()?;
            frames.push(FrameImage {
                is_native: frame.is_native,
                callee: frame.callee,
                pc: frame.pc,
                function: frame.function,
                base: frame.base,
                top: frame.top,
                want: frame.want,
                state: frame.state,
                extra: frame.extra,
                results: frame.results,
                flags: frame.flags,
            });
        }
        let mut open = Vec::with_capacity(self.reader.check_count(head.open, 2)?);
        for _ in 0..head.open {
            let wire::Open { upvalue, position } = self.reader.take()?;
            open.push((upvalue, position));
        }
        let to_close = self.numbers(head.to_close)?;
        self.image.coroutines.push(CoroutineImage {
            serial: head.serial,
            status: match head.status {
                wire::Status::Suspended => Status::Suspended,
                wire::Status::Running => Status::Running,
                wire::Status::Normal => Status::Normal,
                wire::Status::Dead => Status::Dead,
                wire::Status::Failed => Status::Failed,
            },
            resumer: head.resumer,
            stack_length: head.stack_length,
            slots: head.slots,
            values,
            transfer: head.transfer,
            native_calls_below: head.native_calls_below,
            hook: HookImage {
                mask: head.hook.mask,
                count: head.hook.count,
                count_left: head.hook.count_left,
                traced_pc: head.hook.traced_pc,
                suspensions: head.hook.suspensions,
            },
            frames,
            frames_capacity: head.frames_capacity,
            open,
            to_close,
        });
        Ok(())
    }

    fn rest(mut self) -> Result<(Image<'a>, &'a [u8])> {
        let roots: wire::Roots = self.reader.take()?;
        self.image.roots = RootsImage {
            globals: roots.globals,
            loaded: roots.loaded,
            permanents: roots.permanents,
            permanent_names: roots.permanent_names,
            type_metatables: roots.type_metatables,
            registry: roots.registry,
            files: roots.files,
            report: roots.report,
            main: roots.main,
            current: roots.current,
            handles: self.list(roots.handles)?,
            free_handles: self.numbers(roots.free_handles)?,
            finalizable: self.list(roots.finalizable)?,
            doomed: self.list(roots.doomed)?,
        };
        let heap: wire::Heap = self.reader.take()?;
        self.image.heap = HeapImage {
            used: heap.used,
            peak: heap.peak,
            limit: heap.limit,
            trigger: heap.trigger,
            pause: heap.pause,
            step_multiplier: heap.step_multiplier,
            stepped: heap.stepped,
            generational: heap.generational,
            collecting: heap.collecting,
            next_serial: heap.next_serial,
            finalizing: heap.finalizing,
            warnings_on: heap.warnings_on,
            random: heap.random,
        };
        let run: wire::Run = self.reader.take()?;
        self.image.run = RunImage {
            running: run.running,
            memory_retry: run.memory_retry,
            interruption: run.interruption,
            fuel_used: run.fuel_used,
            results: run.results,
            cycles: run.cycles,
        };
        let attachment = self.reader.take()?;
        self.reader.finish()?;
        Ok((self.image, attachment))
    }
}
