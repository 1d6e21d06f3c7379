//! From a checked blob to objects in a VM.
//!
//! First every object but strings is made empty, then filled, so references in any direction and cycles need no special care. Metatables come
//! last, when their `__mode` and `__gc` are there to be seen. Permanents are resolved before anything is made.

use std::any::Any;
use std::cell::Cell;

use cu_vm::bytecode::verify::Verified;
use cu_vm::image::{CoroutineFault, CoroutineParts, NoUserdata, UserdataCodec};
use cu_vm::{Closure, Context, Coroutine, Native, Proto, Table, TableError, Upvalue, Userdata, Value};

use crate::blob::{Blob, coroutine_counts, take_userdata};
use crate::content::{put_items, put_pairs};
use crate::coroutine::{Head, take_frame};
use crate::envelope::HAS_COROUTINES;
use crate::error::{CorruptKind, Error, Result};
use crate::reader::Reader;
use crate::stateful::{self, Summary};
use crate::wire::{self, NativeHead, TableHead};

impl Blob {
    /// Makes the blob's values. No Lua code runs.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPermanent`] before anything is made; [`Error::Limit`] if the heap is full.
    pub fn build<'gc>(self, context: Context<'gc>) -> Result<Vec<Value<'gc>>> {
        self.build_with(context, &NoUserdata)
    }

    /// Likewise, with the host's values in userdata.
    ///
    /// # Errors
    ///
    /// Besides, [`Error::UnknownUserdata`] before anything is made.
    pub fn build_with<'gc>(mut self, context: Context<'gc>, codec: &dyn UserdataCodec) -> Result<Vec<Value<'gc>>> {
        let host_values = if HAS_COROUTINES { self.host_values(codec)? } else { Vec::new() };
        let permanents = self.resolve_permanents(context)?;
        let functions = std::mem::take(&mut self.functions);
        let mut builder = Builder {
            blob: &self,
            context,
            permanents,
            strings: vec![Cell::new(None); self.layout.strings.len()],
            tables: Vec::with_capacity(self.counts.tables as usize),
            upvalues: Vec::with_capacity(self.counts.upvalues as usize),
            closures: Vec::with_capacity(self.counts.closures as usize),
            natives: Vec::with_capacity(self.counts.natives as usize),
            coroutines: Vec::new(),
            userdata: Vec::new(),
            metatables: Vec::new(),
            userdata_metatables: Vec::new(),
        };
        builder.make_objects(functions)?;
        builder.make_userdata(host_values);
        builder.fill()?;
        let mut reader = Reader::at(&self.payload, self.layout.roots);
        let roots = (0..self.counts.roots).map(|_| builder.value(&mut reader)).collect();
        for (table, metatable) in &builder.metatables {
            context.set_metatable(*table, Some(*metatable));
        }
        for (userdata, metatable) in &builder.userdata_metatables {
            context.set_userdata_metatable(*userdata, Some(*metatable));
        }
        roots
    }

    fn string(&self, number: u32) -> &[u8] {
        self.layout.strings.get(number as usize).and_then(|range| self.payload.get(range.clone())).unwrap_or_default()
    }

    /// The host's values, each with the number of values that belong to it.
    fn host_values(&self, codec: &dyn UserdataCodec) -> Result<Vec<(Box<dyn Any>, usize)>> {
        let mut reader = Reader::at(&self.payload, self.layout.userdata);
        let mut made = Vec::with_capacity(self.layout.userdata_count as usize);
        for _ in 0..self.layout.userdata_count {
            let (kind, bytes, head) = take_userdata(&mut reader)?;
            let data = codec.load(kind, bytes).ok_or_else(|| Error::UnknownUserdata { kind: kind.to_owned() })?;
            made.push((data, head.values as usize));
            for _ in 0..head.values {
                reader.take::<wire::Value>()?;
            }
        }
        Ok(made)
    }

    fn resolve_permanents<'gc>(&self, context: Context<'gc>) -> Result<Vec<Value<'gc>>> {
        let resolve = |(number, name): (usize, &u32)| {
            let name = self.string(*name);
            let uses = self.layout.permanent_uses[number];
            let permanent = match context.permanent(name) {
                Value::Nil if uses.is_code => context.native_with_values(name, &[]).map_or(Value::Nil, Value::Native),
                permanent => permanent,
            };
            let place = format!("permanent {number}");
            let is_wrong = (uses.is_metatable && !matches!(permanent, Value::Table(_)))
                || (uses.is_code && !matches!(permanent, Value::Native(_)));
            if permanent.is_nil() {
                Err(Error::UnknownPermanent { name: String::from_utf8_lossy(name).into_owned(), path: place })
            } else if is_wrong {
                Err(Error::Corrupt { kind: CorruptKind::Kind, offset: self.layout.tables, path: place })
            } else {
                Ok(permanent)
            }
        };
        let permanents: Result<Vec<Value<'gc>>> = self.layout.permanents.iter().enumerate().map(resolve).collect();
        let permanents = permanents?;
        self.check_natives(context)?;
        Ok(permanents)
    }

    /// Native code relies on the values it was made with: they must be what its list entry says.
    fn check_natives(&self, context: Context<'_>) -> Result<()> {
        let mut reader = Reader::at(&self.payload, self.layout.natives);
        for number in 0..self.counts.natives {
            let head: NativeHead = reader.take()?;
            let name = self.layout.permanents.get(head.permanent as usize).map_or(&[][..], |name| self.string(*name));
            let offset = reader.offset();
            let mut values = Vec::new();
            for _ in 0..head.values {
                values.push(match reader.take()? {
                    wire::Value::String(string) => Summary::String(self.string(string).len()),
                    wire::Value::Integer(integer) => Summary::Integer(integer),
                    _ => Summary::Other,
                });
            }
            let checks_itself = !stateful::knows(name) && context.native_with_values(name, &[]).is_some();
            if !checks_itself && !stateful::fits(name, &values) {
                return Err(Error::Corrupt { kind: CorruptKind::Kind, offset, path: format!("native {number}") });
            }
        }
        Ok(())
    }
}

struct Builder<'gc, 'a> {
    blob: &'a Blob,
    context: Context<'gc>,
    permanents: Vec<Value<'gc>>,
    /// Those that were values until now; many are only in functions, which make their own.
    strings: Vec<Cell<Option<Value<'gc>>>>,
    tables: Vec<Table<'gc>>,
    upvalues: Vec<Upvalue<'gc>>,
    closures: Vec<Closure<'gc>>,
    natives: Vec<Native<'gc>>,
    coroutines: Vec<Coroutine<'gc>>,
    userdata: Vec<Userdata<'gc>>,
    metatables: Vec<(Table<'gc>, Table<'gc>)>,
    userdata_metatables: Vec<(Userdata<'gc>, Table<'gc>)>,
}

impl<'gc, 'a> Builder<'gc, 'a> {
    fn reader(&self, offset: usize) -> Reader<'a> {
        Reader::at(&self.blob.payload, offset)
    }

    /// Makes all objects, without what is in them.
    fn make_objects(&mut self, functions: Vec<Option<Verified>>) -> Result<()> {
        let Blob { counts, layout, .. } = self.blob;
        let context = self.context;
        self.tables.extend((0..counts.tables).map(|_| context.table()));
        self.upvalues.extend((0..counts.upvalues).map(|_| Upvalue::new(context, Value::Nil)));
        let proto = |function: Option<Verified>| function.map(|function| Proto::new(context, function));
        let protos: Vec<Option<Proto<'gc>>> = functions.into_iter().map(proto).collect();
        let mut reader = self.reader(layout.closures);
        for _ in 0..counts.closures {
            let number: u32 = reader.take()?;
            let proto = protos.get(number as usize).copied().flatten();
            let proto = proto.ok_or_else(|| reader.corrupt(CorruptKind::Reference))?;
            let mut upvalues = Vec::new();
            for _ in proto.upvalue_descriptions() {
                upvalues.push(pick(&self.upvalues, reader.take()?, &reader)?);
            }
            self.closures.push(Closure::new(context, proto, &upvalues));
        }
        let coroutine_count = if HAS_COROUTINES { layout.coroutine_count } else { 0 };
        self.coroutines.extend((0..coroutine_count).map(|_| Coroutine::empty(context)));
        let mut reader = self.reader(layout.natives);
        for _ in 0..counts.natives {
            let head: NativeHead = reader.take()?;
            let Value::Native(code) = pick(&self.permanents, head.permanent, &reader)? else {
                return Err(reader.corrupt(CorruptKind::Kind));
            };
            for _ in 0..head.values {
                reader.take::<wire::Value>()?;
            }
            self.natives.push(code.with_values(context, &vec![Value::Nil; head.values as usize]));
        }
        Ok(())
    }

    fn make_userdata(&mut self, host_values: Vec<(Box<dyn Any>, usize)>) {
        let context = self.context;
        let made = host_values.into_iter().map(|(data, count)| Userdata::with_user_values(context, data, count));
        self.userdata.extend(made);
    }

    fn fill(&mut self) -> Result<()> {
        let Blob { layout, .. } = self.blob;
        let mut reader = self.reader(layout.tables);
        for number in 0..self.tables.len() {
            self.fill_table(self.tables[number], &mut reader)?;
        }
        let mut reader = self.reader(layout.upvalues);
        for upvalue in &self.upvalues {
            upvalue.set(self.value(&mut reader)?);
        }
        let mut reader = self.reader(layout.natives);
        for native in &self.natives {
            reader.take::<NativeHead>()?;
            for value in native.values() {
                value.set(self.value(&mut reader)?);
            }
        }
        if !HAS_COROUTINES {
            return Ok(());
        }
        let mut reader = self.reader(layout.coroutines);
        self.coroutines.iter().try_for_each(|coroutine| self.fill_coroutine(*coroutine, &mut reader))?;
        let mut reader = self.reader(layout.userdata);
        for userdata in self.userdata.clone() {
            let (_, _, head) = take_userdata(&mut reader)?;
            let metatable = self.metatable(head.metatable, &reader)?;
            self.userdata_metatables.extend(metatable.map(|metatable| (userdata, metatable)));
            for value in userdata.user_values() {
                value.set(self.value(&mut reader)?);
            }
        }
        Ok(())
    }

    fn metatable(&self, metatable: wire::Metatable, reader: &Reader<'a>) -> Result<Option<Table<'gc>>> {
        Ok(match metatable {
            wire::Metatable::None => None,
            wire::Metatable::Table(number) => Some(pick(&self.tables, number, reader)?),
            wire::Metatable::Permanent(number) => match pick(&self.permanents, number, reader)? {
                Value::Table(metatable) => Some(metatable),
                _ => return Err(reader.corrupt(CorruptKind::Kind)),
            },
        })
    }

    fn fill_coroutine(&self, coroutine: Coroutine<'gc>, reader: &mut Reader<'a>) -> Result<()> {
        let head = Head::take(reader)?;
        let [slots, frames, open, to_close] = coroutine_counts(reader)?;
        let frames = (0..frames).map(|_| take_frame(reader)).collect::<Result<Vec<_>>>()?;
        let mut variables = Vec::new();
        for _ in 0..open {
            let upvalue = reader.small()?;
            variables.push((pick(&self.upvalues, upvalue, reader)?, reader.small()?));
        }
        let to_close = (0..to_close).map(|_| reader.small()).collect::<Result<Vec<_>>>()?;
        let slots = (0..slots).map(|_| self.value(reader)).collect::<Result<Vec<_>>>()?;
        let (failure, hook_function) = (self.value(reader)?, self.value(reader)?);
        let placed = frames.into_iter().map(|frame| Ok((self.value(reader)?, frame)));
        let parts = CoroutineParts {
            status: head.status,
            stack_length: head.stack_length,
            slots,
            failure,
            transfer: head.transfer,
            native_calls_below: head.native_calls_below,
            hook: head.hook,
            hook_function,
            frames: placed.collect::<Result<Vec<_>>>()?,
            open: variables,
            to_close,
        };
        coroutine.restore(self.context, &parts).map_err(|fault| match fault {
            CoroutineFault::OutOfMemory => Error::Limit { what: "heap" },
            CoroutineFault::Damaged(_) => reader.corrupt(CorruptKind::Inconsistent),
        })
    }

    fn fill_table(&mut self, table: Table<'gc>, reader: &mut Reader<'a>) -> Result<()> {
        let head: TableHead = reader.take()?;
        let metatable = self.metatable(head.metatable, reader)?;
        self.metatables.extend(metatable.map(|metatable| (table, metatable)));
        let mut values = |count: u32| (0..count).map(|_| self.value(reader)).collect::<Result<Vec<_>>>();
        let items = values(head.items)?;
        put_items(self.context, table, &items).map_err(refusal)?;
        let pairs = values(head.pairs * 2)?;
        put_pairs(self.context, table, &pairs).map_err(refusal)
    }

    fn value(&self, reader: &mut Reader<'a>) -> Result<Value<'gc>> {
        Ok(match reader.take()? {
            wire::Value::Nil => Value::Nil,
            wire::Value::False => Value::Boolean(false),
            wire::Value::True => Value::Boolean(true),
            wire::Value::Integer(integer) => Value::Integer(integer),
            wire::Value::Float(float) if float.is_nan() => Value::Float(f64::NAN),
            wire::Value::Float(float) => Value::Float(float),
            wire::Value::String(number) => self.string(number, reader)?,
            wire::Value::Table(number) => Value::Table(pick(&self.tables, number, reader)?),
            wire::Value::Closure(number) => Value::Closure(pick(&self.closures, number, reader)?),
            wire::Value::Native(number) => Value::Native(pick(&self.natives, number, reader)?),
            wire::Value::Permanent(number) => pick(&self.permanents, number, reader)?,
            wire::Value::Coroutine(number) => Value::Coroutine(pick(&self.coroutines, number, reader)?),
            wire::Value::Userdata(number) => Value::Userdata(pick(&self.userdata, number, reader)?),
            wire::Value::LightUserdata(_) => return Err(reader.corrupt(CorruptKind::Kind)),
        })
    }

    fn string(&self, number: u32, reader: &Reader<'a>) -> Result<Value<'gc>> {
        let place = self.strings.get(number as usize).ok_or_else(|| reader.corrupt(CorruptKind::Reference))?;
        let string = place.get().unwrap_or_else(|| Value::String(self.context.string(self.blob.string(number))));
        place.set(Some(string));
        Ok(string)
    }
}

fn pick<T: Copy>(objects: &[T], number: u32, reader: &Reader<'_>) -> Result<T> {
    objects.get(number as usize).copied().ok_or_else(|| reader.corrupt(CorruptKind::Reference))
}

/// Keys were checked, so the heap's limit is what a table may still refuse for.
fn refusal(error: TableError) -> Error {
    match error {
        TableError::OutOfMemory => Error::Limit { what: "heap" },
        TableError::NilIndex | TableError::NanIndex => Error::corrupt(CorruptKind::Kind, 0),
    }
}
