//! From records to objects: ghosts are filled, and what cannot wait for a touch is read with what holds it.
//!
//! A table becomes a ghost where it is only referred to. Functions, variables, coroutines and the rest are made at once,
//! empty at first and filled from a list, so a chain of any length costs no stack. If one of them cannot be read, all that were
//! made with it are forgotten again.

use cu_vm::bytecode::chunk::undump;
use cu_vm::home::{FillError, Home, Source, Stored};
use cu_vm::image::{CoroutineFault, CoroutineParts};
use cu_vm::{Closure, Context, Coroutine, Proto, Table, TableError, Upvalue, Userdata, Value};
use xxhash_rust::xxh64::xxh64;

use super::Shared;
use super::record::{Datum, Kind, ROOT, ROOT_NUMBERS, RecordReader};
use crate::content::{put_items, put_pairs};
use crate::error::{CorruptKind, Error, Result};

/// Nominal bytes that a byte of a record takes at most, roughly: a small integer is two bytes and a value 16, and tables grow by doubling.
const HEAP_BYTES_PER_RECORD_BYTE: usize = 8;

impl Source for Shared {
    fn fill<'gc>(&self, context: Context<'gc>, table: Table<'gc>, number: u64) -> std::result::Result<(), FillError> {
        let mut loader = Loader::new(self, context).ok_or_else(|| FillError::Other("there is no _home".into()))?;
        loader.table(table, number).and_then(|()| loader.finish()).map_err(|error| {
            loader.give_up();
            match error {
                Error::Limit { what: "heap" } => FillError::OutOfMemory,
                error => FillError::Other(format!("_home, object {number}: {error}")),
            }
        })
    }
}

pub(super) struct Loader<'gc, 's> {
    shared: &'s Shared,
    context: Context<'gc>,
    home: Home<'gc>,
    /// What was made and has no content yet.
    waiting: Vec<(u64, Stored<'gc>)>,
    made: Vec<u64>,
    /// Of the record that the last object was made of.
    last_hash: u64,
}

impl<'gc, 's> Loader<'gc, 's> {
    pub(super) fn new(shared: &'s Shared, context: Context<'gc>) -> Option<Self> {
        let home = context.home()?;
        Some(Loader { shared, context, home, waiting: Vec::new(), made: Vec::new(), last_hash: 0 })
    }

    /// Fills what was made on the way.
    pub(super) fn finish(&mut self) -> Result<()> {
        while let Some((number, object)) = self.waiting.pop() {
            self.content(number, object)?;
        }
        self.shared.changeable.borrow_mut().append(&mut self.made);
        Ok(())
    }

    pub(super) fn give_up(&mut self) {
        self.made.drain(..).for_each(|number| self.home.forget(number));
    }

    /// The record with this number; its hash is noted.
    fn record(&self, number: u64) -> Result<Vec<u8>> {
        let bytes = self.shared.records.read(number)?;
        let bytes = bytes.ok_or_else(|| Error::corrupt(CorruptKind::Reference, 0))?;
        let room = self.context.check_heap(bytes.len().saturating_mul(HEAP_BYTES_PER_RECORD_BYTE));
        room.map_err(|_| Error::Limit { what: "heap" })?;
        Ok(bytes)
    }

    fn note(&self, number: u64, bytes: &[u8]) {
        self.home.set_hash(number, hash(bytes));
    }

    /// The value in a record of the root, and the numbers before it.
    pub(super) fn root(&mut self, bytes: &[u8]) -> Result<([u64; ROOT_NUMBERS], Value<'gc>)> {
        let mut reader = RecordReader::open_as(bytes, Kind::Root)?;
        match reader.byte()? {
            super::record::VERSION => {}
            found => return Err(Error::Version { found }),
        }
        let numbers = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let datum = reader.datum()?;
        reader.finish()?;
        self.value(datum, &reader).map(|value| (numbers, value))
    }

    pub(super) fn table(&mut self, table: Table<'gc>, number: u64) -> Result<()> {
        let bytes = self.record(number)?;
        let mut reader = RecordReader::open_as(&bytes, Kind::Table)?;
        let metatable = self.next(&mut reader)?;
        let count = reader.count()?;
        let items = self.values(&mut reader, count)?;
        let count = reader.count()?;
        let pairs = self.values(&mut reader, count * 2)?;
        reader.finish()?;
        put_items(self.context, table, &items).map_err(refusal)?;
        put_pairs(self.context, table, &pairs).map_err(refusal)?;
        if let Some(metatable) = as_metatable(metatable, &reader)? {
            self.context.set_metatable(table, Some(metatable));
        }
        self.note(number, &bytes);
        Ok(())
    }

    fn values(&mut self, reader: &mut RecordReader<'_>, count: usize) -> Result<Vec<Value<'gc>>> {
        (0..count).map(|_| self.next(reader)).collect()
    }

    fn next(&mut self, reader: &mut RecordReader<'_>) -> Result<Value<'gc>> {
        let datum = reader.datum()?;
        self.value(datum, reader)
    }

    fn value(&mut self, datum: Datum<'_>, reader: &RecordReader<'_>) -> Result<Value<'gc>> {
        Ok(match datum {
            Datum::Nil => Value::Nil,
            Datum::Boolean(boolean) => Value::Boolean(boolean),
            Datum::Integer(integer) => Value::Integer(integer),
            Datum::Float(float) => Value::Float(float),
            Datum::Text(text) => Value::String(self.context.string(text)),
            Datum::Permanent(name) => match self.context.permanent(name) {
                Value::Nil => return Err(self.unknown(name)),
                value => value,
            },
            Datum::Object(kind, number) => match (self.object(kind, number)?, kind) {
                (Stored::Value(value @ Value::Table(_)), Kind::Table)
                | (Stored::Value(value @ Value::Closure(_)), Kind::Closure)
                | (Stored::Value(value @ Value::Native(_)), Kind::Native)
                | (Stored::Value(value @ Value::Userdata(_)), Kind::Userdata)
                | (Stored::Value(value @ Value::Coroutine(_)), Kind::Coroutine)
                | (Stored::Value(value @ Value::String(_)), Kind::String) => value,
                _ => return Err(reader.corrupt(CorruptKind::Kind)),
            },
        })
    }

    fn unknown(&self, name: &[u8]) -> Error {
        Error::UnknownPermanent { name: String::from_utf8_lossy(name).into_owned(), path: String::new() }
    }

    /// The object with this number, made if it is not in memory.
    fn object(&mut self, kind: Kind, number: u64) -> Result<Stored<'gc>> {
        if let Some(known) = self.home.object(number) {
            return Ok(known);
        }
        if number == ROOT {
            return Err(Error::corrupt(CorruptKind::Reference, 0));
        }
        let context = self.context;
        let object = match kind {
            Kind::Table => return Ok(Stored::Value(Value::Table(self.home.ghost(number)))),
            Kind::Upvalue => Stored::Upvalue(Upvalue::new(context, Value::Nil)),
            Kind::Coroutine => Stored::Value(Value::Coroutine(Coroutine::empty(context))),
            Kind::Closure => self.closure(number)?,
            Kind::Proto | Kind::String | Kind::Native | Kind::Userdata | Kind::Root => self.shell(kind, number)?,
        };
        self.home.register(object, number);
        self.made.push(number);
        match kind {
            Kind::Closure | Kind::Proto | Kind::String => self.home.set_hash(number, self.last_hash),
            _ => self.waiting.push((number, object)),
        }
        Ok(object)
    }

    /// A function with its variables, which are empty at first.
    fn closure(&mut self, number: u64) -> Result<Stored<'gc>> {
        let bytes = self.record(number)?;
        let mut reader = RecordReader::open_as(&bytes, Kind::Closure)?;
        let proto = reader.number()?;
        let Stored::Proto(proto) = self.object(Kind::Proto, proto)? else {
            return Err(reader.corrupt(CorruptKind::Kind));
        };
        let count = reader.count()?;
        let mut upvalues = Vec::with_capacity(count);
        for _ in 0..count {
            let upvalue = reader.number()?;
            let Stored::Upvalue(upvalue) = self.object(Kind::Upvalue, upvalue)? else {
                return Err(reader.corrupt(CorruptKind::Kind));
            };
            upvalues.push(upvalue);
        }
        reader.finish()?;
        if count != proto.upvalue_descriptions().len() {
            return Err(reader.corrupt(CorruptKind::Count));
        }
        self.last_hash = hash(&bytes);
        Ok(Stored::Value(Value::Closure(Closure::new(self.context, proto, &upvalues))))
    }

    /// An object whose record says what it is before its content.
    fn shell(&mut self, kind: Kind, number: u64) -> Result<Stored<'gc>> {
        let context = self.context;
        let bytes = self.record(number)?;
        let mut reader = RecordReader::open_as(&bytes, kind)?;
        self.last_hash = hash(&bytes);
        Ok(match kind {
            Kind::Proto => {
                let verified = undump(reader.rest()).map_err(|_| reader.corrupt(CorruptKind::Malformed))?;
                Stored::Proto(Proto::new(context, verified))
            }
            Kind::String => Stored::Value(Value::String(context.string(reader.rest()))),
            Kind::Native => {
                let name = reader.text()?;
                let values = vec![Value::Nil; reader.count()?];
                let native = context.native_with_values(name, &values).ok_or_else(|| self.unknown(name))?;
                Stored::Value(Value::Native(native))
            }
            Kind::Userdata => {
                let kind = String::from_utf8_lossy(reader.text()?).into_owned();
                let data = self.shared.options.userdata.load(&kind, reader.text()?);
                let data = data.ok_or(Error::UnknownUserdata { kind })?;
                reader.datum()?;
                let count = reader.count()?;
                Stored::Value(Value::Userdata(Userdata::with_user_values(context, data, count)))
            }
            _ => return Err(reader.corrupt(CorruptKind::Kind)),
        })
    }

    /// Fills an object that was made empty, or goes back to what is stored of one.
    pub(super) fn content(&mut self, number: u64, object: Stored<'gc>) -> Result<()> {
        let bytes = self.record(number)?;
        let (kind, mut reader) = RecordReader::open(&bytes)?;
        match (kind, object) {
            (Kind::Upvalue, Stored::Upvalue(upvalue)) => {
                let value = self.next(&mut reader)?;
                upvalue.set(value);
            }
            (Kind::Native, Stored::Value(Value::Native(native))) => {
                reader.text()?;
                let count = reader.count()?;
                let values = self.values(&mut reader, count)?;
                native.values().iter().zip(values).for_each(|(cell, value)| cell.set(value));
            }
            (Kind::Userdata, Stored::Value(Value::Userdata(userdata))) => {
                reader.text()?;
                reader.text()?;
                let metatable = self.next(&mut reader)?;
                let count = reader.count()?;
                let values = self.values(&mut reader, count)?;
                userdata.user_values().iter().zip(values).for_each(|(cell, value)| cell.set(value));
                let metatable = as_metatable(metatable, &reader)?;
                self.context.set_userdata_metatable(userdata, metatable);
            }
            (Kind::Coroutine, Stored::Value(Value::Coroutine(coroutine))) => self.coroutine(coroutine, &mut reader)?,
            (Kind::Closure, Stored::Value(Value::Closure(closure))) => {
                reader.number()?;
                for index in 0..reader.count()?.min(closure.upvalue_count()) {
                    let upvalue = reader.number()?;
                    if let Stored::Upvalue(upvalue) = self.object(Kind::Upvalue, upvalue)? {
                        closure.set_upvalue(index, upvalue);
                    }
                }
            }
            (Kind::Proto, Stored::Proto(_)) | (Kind::String, Stored::Value(Value::String(_))) => {}
            _ => return Err(reader.corrupt(CorruptKind::Kind)),
        }
        self.note(number, &bytes);
        Ok(())
    }

    fn coroutine(&mut self, coroutine: Coroutine<'gc>, reader: &mut RecordReader<'_>) -> Result<()> {
        let head = reader.head()?;
        let count = reader.count()?;
        let slots = self.values(reader, count)?;
        let (failure, hook_function) = (self.next(reader)?, self.next(reader)?);
        let mut frames = Vec::new();
        for _ in 0..reader.count()? {
            let callee = self.next(reader)?;
            frames.push((callee, reader.frame()?));
        }
        let mut open = Vec::new();
        for _ in 0..reader.count()? {
            let upvalue = reader.number()?;
            let Stored::Upvalue(upvalue) = self.object(Kind::Upvalue, upvalue)? else {
                return Err(reader.corrupt(CorruptKind::Kind));
            };
            let position = reader.number()?;
            let position = u32::try_from(position).map_err(|_| reader.corrupt(CorruptKind::Malformed))?;
            open.push((upvalue, position));
        }
        let mut to_close = Vec::new();
        for _ in 0..reader.count()? {
            let position = reader.number()?;
            to_close.push(u32::try_from(position).map_err(|_| reader.corrupt(CorruptKind::Malformed))?);
        }
        reader.finish()?;
        let parts = CoroutineParts {
            status: head.status,
            stack_length: head.stack_length,
            slots,
            failure,
            transfer: head.transfer,
            native_calls_below: head.native_calls_below,
            hook: head.hook,
            hook_function,
            frames,
            open,
            to_close,
        };
        coroutine.restore(self.context, &parts).map_err(|fault| match fault {
            CoroutineFault::OutOfMemory => Error::Limit { what: "heap" },
            CoroutineFault::Damaged(_) => reader.corrupt(CorruptKind::Inconsistent),
        })
    }
}

/// The hash of a record; never 0.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0).max(1)
}

fn as_metatable<'gc>(value: Value<'gc>, reader: &RecordReader<'_>) -> Result<Option<Table<'gc>>> {
    match value {
        Value::Nil => Ok(None),
        Value::Table(metatable) => Ok(Some(metatable)),
        _ => Err(reader.corrupt(CorruptKind::Kind)),
    }
}

fn refusal(error: TableError) -> Error {
    match error {
        TableError::OutOfMemory => Error::Limit { what: "heap" },
        TableError::NilIndex | TableError::NanIndex => Error::corrupt(CorruptKind::Kind, 0),
    }
}
