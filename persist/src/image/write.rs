//! From the description of a VM to a payload.

use cu_vm::Status;
use cu_vm::bytecode::encoding::{StringTable, write_function};
use cu_vm::image::{CoroutineImage, Datum, Image, TableImage, Tables};

use super::value;
use super::wire::{self, Counts};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::wire::Writer;

/// Tables as bytes.
pub(super) struct TableWriter {
    count: u32,
    out: Writer,
    limit: usize,
    is_over: bool,
}

impl TableWriter {
    /// For tables that take about `room` bytes.
    pub(super) fn new(room: usize, limits: &Limits) -> TableWriter {
        let limit = limits.payload_bytes;
        TableWriter { count: 0, out: Writer::with_capacity(room.min(limit)), limit, is_over: false }
    }
}

impl Tables for TableWriter {
    #[inline]
    fn table(&mut self, table: TableImage) {
        self.count += 1;
        if self.out.as_bytes().len() > self.limit {
            // Nothing comes of it, but the walk goes on.
            self.is_over = true;
            self.out.clear();
        }
        put_table(&table, &mut self.out);
    }

    #[inline]
    fn value(&mut self, value: Datum) {
        value::put(&mut self.out, value);
    }
}

fn put_table(table: &TableImage, out: &mut Writer) {
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
    let flags = flag(wire::TABLE_WEAK_KEYS, table.weak_keys)
        | flag(wire::TABLE_WEAK_VALUES, table.weak_values)
        | flag(wire::TABLE_SERIAL, table.serial != 0)
        | flag(wire::TABLE_METATABLE, table.metatable.is_some())
        | flag(wire::TABLE_BORDER, table.border != 0);
    let head = wire::TableHead {
        flags,
        items: table.array_length,
        items_room: table.array_capacity - table.array_length,
        entries: table.entries,
        entries_room: table.entries_capacity - table.entries,
    };
    head.put(out);
    if table.serial != 0 {
        out.put(&table.serial);
    }
    if let Some(metatable) = table.metatable {
        out.put(&metatable);
    }
    if table.border != 0 {
        out.put(&table.border);
    }
}

/// The payload of an image whose tables were written.
pub(super) fn payload(image: &Image<'_>, tables: &TableWriter, attachment: &[u8], limits: &Limits) -> Result<Vec<u8>> {
    if tables.is_over {
        return Err(Error::Limit { what: "payload size" });
    }
    let out = Writer::default();
    let mut encoder =
        Encoder { image, tables, texts: StringTable::default(), functions: Writer::default(), out, limits };
    encoder.functions()?;
    encoder.objects()?;
    encoder.coroutines()?;
    encoder.rest(attachment);
    encoder.finish()
}

struct Encoder<'i, 'a> {
    image: &'i Image<'a>,
    tables: &'i TableWriter,
    texts: StringTable,
    /// What follows the strings and texts, up to the tables.
    functions: Writer,
    /// What follows the tables.
    out: Writer,
    limits: &'i Limits,
}

impl Encoder<'_, '_> {
    /// The `count` values from `first` on.
    fn values(&mut self, first: u32, count: u32) {
        let first = first as usize;
        for datum in &self.image.values[first..first + count as usize] {
            value::put(&mut self.out, *datum);
        }
    }

    fn list(&mut self, data: &[Datum]) {
        for datum in data {
            value::put(&mut self.out, *datum);
        }
    }

    /// Stops before the output grows far beyond what sealing it would allow.
    fn check_size(&self) -> Result<()> {
        let is_too_long = self.out.as_bytes().len() > self.limits.payload_bytes;
        if is_too_long { Err(Error::Limit { what: "payload size" }) } else { Ok(()) }
    }

    fn functions(&mut self) -> Result<()> {
        for function in &self.image.functions {
            let texts = &mut self.texts;
            let name = texts.number(&function.parts.chunk_name);
            write_function(&function.parts, name, &function.children, &mut |text| texts.number(text), &mut self.out);
            self.out.put(&function.constants);
            self.values(function.values, function.constants);
            self.check_size()?;
        }
        self.functions = std::mem::take(&mut self.out);
        Ok(())
    }

    fn objects(&mut self) -> Result<()> {
        let image = self.image;
        for upvalue in &image.upvalues {
            self.out.put(&wire::UpvalueHead { serial: upvalue.serial, is_closed: upvalue.value.is_some() });
            upvalue.value.into_iter().for_each(|datum| value::put(&mut self.out, datum));
        }
        for closure in &image.closures {
            self.out.put(&closure.serial);
            self.out.put(&closure.function);
            closure.upvalues.iter().for_each(|upvalue| self.out.put(upvalue));
        }
        for native in &image.natives {
            let name = self.texts.number(native.name.as_bytes());
            self.out.put(&wire::NativeHead { serial: native.serial, name, values: native.count });
            self.values(native.values, native.count);
        }
        for userdata in &image.userdata {
            let kind = self.texts.number(userdata.kind.as_bytes());
            let (serial, metatable) = (userdata.serial, userdata.metatable);
            self.out.put(&wire::UserdataHead { serial, metatable, kind, values: userdata.count });
            self.out.string(&userdata.bytes);
            self.values(userdata.values, userdata.count);
        }
        self.check_size()
    }

    fn coroutines(&mut self) -> Result<()> {
        for coroutine in &self.image.coroutines {
            self.coroutine(coroutine);
            self.check_size()?;
        }
        Ok(())
    }

    fn coroutine(&mut self, coroutine: &CoroutineImage) {
        self.out.put(&wire::CoroutineHead {
            serial: coroutine.serial,
            status: match coroutine.status {
                Status::Suspended => wire::Status::Suspended,
                Status::Running => wire::Status::Running,
                Status::Normal => wire::Status::Normal,
                Status::Dead => wire::Status::Dead,
                Status::Failed => wire::Status::Failed,
            },
            resumer: coroutine.resumer,
            stack_length: coroutine.stack_length,
            slots: coroutine.slots,
            transfer: coroutine.transfer,
            native_calls_below: coroutine.native_calls_below,
            hook: wire::Hook {
                mask: coroutine.hook.mask,
                count: coroutine.hook.count,
                count_left: coroutine.hook.count_left,
                traced_pc: coroutine.hook.traced_pc,
                suspensions: coroutine.hook.suspensions,
            },
            frames: coroutine.frames.len() as u32,
            frames_capacity: coroutine.frames_capacity,
            open: coroutine.open.len() as u32,
            to_close: coroutine.to_close.len() as u32,
        });
        self.values(coroutine.values, coroutine.slots + 2);
        for frame in &coroutine.frames {
            self.out.put(&wire::Frame {
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
        for (upvalue, position) in &coroutine.open {
            self.out.put(&wire::Open { upvalue: *upvalue, position: *position });
        }
        coroutine.to_close.iter().for_each(|position| self.out.put(position));
    }

    fn rest(&mut self, attachment: &[u8]) {
        let Image { roots, heap, run, .. } = self.image;
        self.out.put(&wire::Roots {
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
            handles: roots.handles.len() as u32,
            free_handles: roots.free_handles.len() as u32,
            finalizable: roots.finalizable.len() as u32,
            doomed: roots.doomed.len() as u32,
        });
        self.list(&roots.handles);
        roots.free_handles.iter().for_each(|free| self.out.put(free));
        self.list(&roots.finalizable);
        self.list(&roots.doomed);
        self.out.put(&wire::Heap {
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
        });
        self.out.put(&wire::Run {
            running: run.running,
            memory_retry: run.memory_retry,
            interruption: run.interruption.clone(),
            fuel_used: run.fuel_used,
            results: run.results,
            cycles: run.cycles,
        });
        self.out.string(attachment);
    }

    /// Puts the counts, strings and texts in front.
    fn finish(self) -> Result<Vec<u8>> {
        let image = self.image;
        let strings: usize = image.strings.iter().chain(&image.idle_strings).map(|bytes| bytes.len() + 2).sum();
        let parts = [&self.texts.out, &self.functions, &self.tables.out, &self.out].map(Writer::as_bytes);
        let room = strings + parts.iter().map(|part| part.len()).sum::<usize>() + 128;
        let mut out = Writer::with_capacity(room);
        out.put(&Counts {
            strings: image.strings.len() as u32,
            idle_strings: image.idle_strings.len() as u32,
            string_serials: image.string_serials.len() as u32,
            texts: self.texts.len(),
            functions: image.functions.len() as u32,
            tables: self.tables.count,
            upvalues: image.upvalues.len() as u32,
            closures: image.closures.len() as u32,
            natives: image.natives.len() as u32,
            userdata: image.userdata.len() as u32,
            coroutines: image.coroutines.len() as u32,
        });
        for bytes in image.strings.iter().chain(&image.idle_strings) {
            out.string(bytes);
        }
        for (string, serial) in &image.string_serials {
            out.put(&wire::StringSerial { string: *string, serial: *serial });
        }
        parts.iter().for_each(|part| out.append(part));
        if out.as_bytes().len() > self.limits.payload_bytes {
            return Err(Error::Limit { what: "payload size" });
        }
        Ok(out.into_bytes())
    }
}
