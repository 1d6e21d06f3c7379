//! From objects to records: what a commit writes.
//!
//! The walk starts at the root, the tables that were touched and the objects that change without being touched, and goes on to what has no
//! number yet. A record is written if it is not what is stored, by its hash.

use cu_vm::bytecode::chunk::dump;
use cu_vm::home::{Home, Stored};
use cu_vm::{Context, Coroutine, Table, Userdata, Value};

use super::load::hash;
use super::record::{Datum, INLINE_BYTES_MAX, Kind, ROOT, VERSION, put, put_text};
use super::{Changes, Shared};
use crate::coroutine::{Head, put_frame};
use crate::error::{Error, Result};
use crate::path::described;
use crate::wire::Writer;

/// Tables with more entries are warned about.
const LARGE_TABLE: usize = 4096;

/// Something that cannot be saved: what it is, and where it was met as far as the walk knows.
pub(super) enum Refusal {
    Unsaveable { what: String, number: u64 },
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Other(error)
    }
}

type Walked<T> = std::result::Result<T, Refusal>;

pub(super) struct Walk<'gc, 's> {
    shared: &'s Shared,
    context: Context<'gc>,
    home: Home<'gc>,
    /// Objects to be written, each with its number.
    queue: Vec<(u64, Stored<'gc>)>,
    out: Writer,
}

/// All that has to be written; objects met for the first time have numbers afterwards, also after an error.
pub(super) fn changes<'gc>(
    shared: &Shared,
    context: Context<'gc>,
    home: Home<'gc>,
    root: Value<'gc>,
) -> Walked<Changes> {
    // What an earlier walk met and nobody stored may be referred to no more: it is met again, or not.
    home.retain_touched(|number| home.hash(number) != 0);
    for number in shared.unstored.take() {
        if home.hash(number) == 0 {
            home.forget(number);
        }
    }
    let mut walk = Walk { shared, context, home, queue: Vec::new(), out: Writer::default() };
    let mut root_value = Writer::default();
    put(&mut root_value, walk.datum(root, ROOT)?);
    walk.start();
    let mut puts = Vec::new();
    let mut done = 0;
    let mut bytes = 0;
    while let Some((number, object)) = walk.queue.get(done).copied() {
        done += 1;
        walk.out.clear();
        walk.record(number, object)?;
        let record = walk.out.as_bytes();
        let is_new = home.hash(number);
        if hash(record) != is_new {
            bytes += record.len();
            if bytes > shared.options.limits.payload_bytes {
                return Err(Error::Limit { what: "payload size" }.into());
            }
            puts.push((number, record.to_vec()));
        }
    }
    // Every commit changes the root record, so that one by somebody else shows. Without changes it is as it was stored.
    if !puts.is_empty() || *shared.stored_root.borrow() != shared.root_record(root_value.as_bytes()) {
        let before = shared.commits.get();
        shared.commits.set(before + 1);
        puts.push((ROOT, shared.root_record(root_value.as_bytes())));
    }
    Ok(Changes { puts })
}

impl Shared {
    pub(super) fn root_record(&self, value: &[u8]) -> Vec<u8> {
        let mut out = Writer::default();
        out.push(Kind::Root as u8);
        out.push(VERSION);
        let (live, swept) = self.swept.get();
        for number in [self.next.get(), live, swept, self.commits.get()] {
            out.varint(number);
        }
        out.append(value);
        out.into_bytes()
    }
}

impl<'gc> Walk<'gc, '_> {
    fn start(&mut self) {
        // Those met just now are in the queue already.
        let queued: Vec<u64> = self.queue.iter().map(|(number, _)| *number).collect();
        for table in self.home.touched() {
            let object = Stored::Value(Value::Table(table));
            if let Some(number) = self.home.number(object).filter(|number| !queued.contains(number)) {
                self.queue.push((number, object));
            }
        }
        let home = self.home;
        let mut changeable = self.shared.changeable.borrow_mut();
        changeable.retain(|number| home.object(*number).is_some());
        let objects = changeable.iter().filter(|number| !queued.contains(number));
        self.queue.extend(objects.filter_map(|number| Some((*number, home.object(*number)?))));
    }

    /// The number of an object; a new one is written when its turn comes.
    fn number(&mut self, object: Stored<'gc>) -> u64 {
        if let Some(number) = self.home.number(object) {
            return number;
        }
        let number = self.shared.next.get();
        self.shared.next.set(number + 1);
        self.home.register(object, number);
        self.shared.unstored.borrow_mut().push(number);
        match object {
            Stored::Value(Value::Table(table)) => self.home.touch(table),
            _ => self.shared.changeable.borrow_mut().push(number),
        }
        self.queue.push((number, object));
        number
    }

    fn put(&mut self, value: Value<'gc>, from: u64) -> Walked<()> {
        let datum = self.datum(value, from)?;
        put(&mut self.out, datum);
        Ok(())
    }

    fn datum(&mut self, value: Value<'gc>, from: u64) -> Walked<Datum<'gc>> {
        let object = |walk: &mut Self, kind| Datum::Object(kind, walk.number(Stored::Value(value)));
        let kind = match value {
            Value::Nil => return Ok(Datum::Nil),
            Value::Boolean(boolean) => return Ok(Datum::Boolean(boolean)),
            Value::Integer(integer) => return Ok(Datum::Integer(integer)),
            Value::Float(float) => return Ok(Datum::Float(if float.is_nan() { f64::NAN } else { float })),
            Value::String(string) if string.len() <= INLINE_BYTES_MAX => return Ok(Datum::Text(string.as_bytes())),
            Value::String(_) => return Ok(object(self, Kind::String)),
            Value::Table(_) => Kind::Table,
            Value::Closure(_) => Kind::Closure,
            Value::Native(_) => Kind::Native,
            Value::Userdata(_) => Kind::Userdata,
            Value::Coroutine(_) => Kind::Coroutine,
            Value::LightUserdata(_) => return Err(self.refuse(value, from)),
        };
        if let Some(name) = self.context.permanent_name(value) {
            return Ok(Datum::Permanent(name.as_bytes()));
        }
        let is_right = match value {
            Value::Native(native) => self.context.carries_values(native),
            Value::Userdata(userdata) => self.shared.options.userdata.save(userdata.data()).is_some(),
            Value::Coroutine(coroutine) => coroutine.parts(self.context).is_some(),
            _ => true,
        };
        if is_right { Ok(object(self, kind)) } else { Err(self.refuse(value, from)) }
    }

    fn refuse(&self, value: Value<'gc>, from: u64) -> Refusal {
        Refusal::Unsaveable { what: described(value), number: from }
    }

    /// Writes the record of an object.
    fn record(&mut self, number: u64, object: Stored<'gc>) -> Walked<()> {
        match object {
            Stored::Value(Value::Table(table)) => return self.table(number, table),
            Stored::Value(Value::Closure(closure)) => {
                self.out.push(Kind::Closure as u8);
                let proto = self.number(Stored::Proto(closure.proto()));
                self.out.varint(proto);
                self.out.varint(closure.upvalue_count() as u64);
                for index in 0..closure.upvalue_count() {
                    let upvalue = self.number(Stored::Upvalue(closure.upvalue(index)));
                    self.out.varint(upvalue);
                }
            }
            Stored::Upvalue(upvalue) => {
                self.out.push(Kind::Upvalue as u8);
                self.put(upvalue.get(), number)?;
            }
            Stored::Proto(proto) => {
                self.out.push(Kind::Proto as u8);
                self.out.append(&dump(&proto.to_parts(self.shared.options.strip_debug)));
            }
            Stored::Value(Value::Native(native)) => {
                self.out.push(Kind::Native as u8);
                put_text(&mut self.out, native.name().as_bytes());
                self.out.varint(native.values().len() as u64);
                for value in native.values() {
                    self.put(value.get(), number)?;
                }
            }
            Stored::Value(Value::Userdata(userdata)) => self.userdata(number, userdata)?,
            Stored::Value(Value::Coroutine(coroutine)) => self.coroutine(number, coroutine)?,
            Stored::Value(Value::String(string)) => {
                self.out.push(Kind::String as u8);
                self.out.append(string.as_bytes());
            }
            Stored::Value(_) => {}
        }
        Ok(())
    }

    fn table(&mut self, number: u64, table: Table<'gc>) -> Walked<()> {
        self.out.push(Kind::Table as u8);
        self.put(table.metatable().map_or(Value::Nil, Value::Table), number)?;
        let border = table.length();
        self.out.varint(border as u64);
        for index in 1..=border {
            self.put(table.get_integer(index), number)?;
        }
        let is_item = |key: Value<'gc>| matches!(key, Value::Integer(index) if 1 <= index && index <= border);
        let pairs: Vec<(Value<'gc>, Value<'gc>)> =
            table.pairs_after_items(border).filter(|pair| !is_item(pair.0)).collect();
        self.out.varint(pairs.len() as u64);
        let count = border as usize + pairs.len();
        if count > LARGE_TABLE && self.shared.large.borrow_mut().insert(number) {
            let message =
                format!("a table of _home has {count} entries; each commit that finds it changed writes all of them");
            self.context.warn(message.as_bytes());
        }
        for (key, value) in pairs {
            self.put(key, number)?;
            self.put(value, number)?;
        }
        Ok(())
    }

    fn userdata(&mut self, number: u64, userdata: Userdata<'gc>) -> Walked<()> {
        let Some((kind, bytes)) = self.shared.options.userdata.save(userdata.data()) else {
            return Err(self.refuse(Value::Userdata(userdata), number));
        };
        self.out.push(Kind::Userdata as u8);
        put_text(&mut self.out, kind.as_bytes());
        put_text(&mut self.out, &bytes);
        self.put(userdata.metatable().map_or(Value::Nil, Value::Table), number)?;
        self.out.varint(userdata.user_values().len() as u64);
        for value in userdata.user_values() {
            self.put(value.get(), number)?;
        }
        Ok(())
    }

    fn coroutine(&mut self, number: u64, coroutine: Coroutine<'gc>) -> Walked<()> {
        let Some(parts) = coroutine.parts(self.context) else {
            return Err(self.refuse(Value::Coroutine(coroutine), number));
        };
        self.out.push(Kind::Coroutine as u8);
        Head::of(&parts).put(&mut self.out);
        self.out.varint(parts.slots.len() as u64);
        for slot in parts.slots.iter().chain([&parts.failure, &parts.hook_function]) {
            self.put(*slot, number)?;
        }
        self.out.varint(parts.frames.len() as u64);
        for (callee, frame) in &parts.frames {
            self.put(*callee, number)?;
            put_frame(&mut self.out, frame);
        }
        self.out.varint(parts.open.len() as u64);
        for (upvalue, position) in &parts.open {
            let upvalue = self.number(Stored::Upvalue(*upvalue));
            self.out.varint(upvalue);
            self.out.varint(u64::from(*position));
        }
        self.out.varint(parts.to_close.len() as u64);
        parts.to_close.iter().for_each(|position| self.out.varint(u64::from(*position)));
        Ok(())
    }
}

/// The result of a walk with refusals told by their path.
pub(super) fn located<T>(walked: Walked<T>, path: impl FnOnce() -> Option<Error>) -> Result<T> {
    walked.map_err(|refusal| match refusal {
        Refusal::Other(error) => error,
        Refusal::Unsaveable { what, number } => path().unwrap_or_else(|| Error::NotPersistable {
            path: format!("_home, object {number}, which it does not refer to any more"),
            what,
        }),
    })
}
