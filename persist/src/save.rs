//! From a graph of Lua values to a payload.
//!
//! The walk is breadth-first over an explicit list: every object gets its number when it is first met and is written when its turn
//! comes, so depth costs no stack and the same graph gives the same bytes. Nothing in the VM changes and no Lua code
//! runs. An open upvalue is saved with the value that its variable has now.
//!
//! A table's items `1..=#t` are its array part on the wire, holes included, so `#t` is the same after loading; all other pairs follow
//! in traversal order.

mod trail;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use cu_vm::bytecode::encoding::{FunctionTable, StringTable};
use cu_vm::home::FillError;
use cu_vm::image::{NoUserdata, UserdataCodec};
use cu_vm::{Closure, Context, Coroutine, Native, Table, Upvalue, Userdata, Value};

use crate::blob::MAGIC;
use crate::coroutine::{Head, put_frame};
use crate::envelope::{self, COROUTINES_VERSION, FORMAT_VERSION, HAS_COROUTINES, UNCOMPRESSED_MAX, USERDATA_VERSION};
use crate::error::{Error, Result};

use crate::identity::{ByAddress, address};
use crate::limits::Limits;
use crate::path::described;
use crate::stateful::{self, Summary};
use crate::wire::{self, Counts, NativeHead, TableHead, UserdataHead, Writer};
use trail::{Found, Object, Step};

/// How to save.
#[derive(Clone)]
pub struct Save {
    /// Leave out names of variables, line numbers and chunk names.
    pub strip_debug: bool,
    /// What may be written.
    pub limits: Limits,
    /// Bytes up to which a blob is not compressed. Larger ones are if that saves at least a tenth.
    pub uncompressed_max: usize,
    /// How the host's values in userdata are written, and read again.
    pub userdata: Rc<dyn UserdataCodec>,
}

impl fmt::Debug for Save {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Save { strip_debug, limits, uncompressed_max, userdata: _ } = self;
        let mut shown = formatter.debug_struct("Save");
        shown.field("strip_debug", strip_debug).field("limits", limits).field("uncompressed_max", uncompressed_max);
        shown.finish_non_exhaustive()
    }
}

impl Default for Save {
    fn default() -> Self {
        Save {
            strip_debug: false,
            limits: Limits::default(),
            uncompressed_max: UNCOMPRESSED_MAX,
            userdata: Rc::new(NoUserdata),
        }
    }
}

/// Saves values, which share what they share, as a sealed blob. Each comes with a name that paths in errors begin with.
///
/// # Errors
///
/// [`Error::NotPersistable`] with the path to what cannot be saved; [`Error::Limit`].
pub fn save_values<'gc>(context: Context<'gc>, values: &[(&str, Value<'gc>)], save: &Save) -> Result<Vec<u8>> {
    let (version, payload) = write(context, values, save, true)?;
    envelope::seal(MAGIC, version, &payload, &save.limits, save.uncompressed_max)
}

/// What cannot be saved among the things that a value leads to in memory, if there is anything. Tables of `_home` that were not
/// read are passed over.
pub(crate) fn unsaveable_in_memory<'gc>(context: Context<'gc>, root: (&str, Value<'gc>), save: &Save) -> Option<Error> {
    write(context, &[root], save, false).err()
}

/// The version and the payload.
fn write<'gc>(context: Context<'gc>, roots: &[(&str, Value<'gc>)], save: &Save, reads: bool) -> Result<(u8, Vec<u8>)> {
    let mut saver = Saver {
        context,
        save,
        reads,
        names: roots.iter().map(|root| root.0).collect(),
        known: ByAddress::default(),
        known_strings: ByAddress::default(),
        known_protos: ByAddress::default(),
        upvalue_numbers: ByAddress::default(),
        found: Vec::new(),
        counts: Counts { roots: roots.len() as u32, ..Counts::default() },
        strings: StringTable::default(),
        functions: FunctionTable::default(),
        permanents: Writer::default(),
        tables: Writer::default(),
        upvalues: Writer::default(),
        closures: Writer::default(),
        natives: Writer::default(),
        coroutines: Writer::default(),
        coroutine_count: 0,
        userdata: Writer::default(),
        userdata_count: 0,
        permanent_numbers: ByAddress::default(),
        items: Writer::default(),
        pairs: Writer::default(),
    };
    let mut root_values = Writer::default();
    for (index, (_, value)) in roots.iter().enumerate() {
        root_values.put(&saver.value(*value, Step::Root(index as u32))?);
    }
    let mut done = 0;
    while let Some(found) = saver.found.get(done) {
        let object = found.object;
        saver.object(object, done as u32)?;
        done += 1;
    }
    saver.finish(&root_values)
}

struct Saver<'gc, 'a> {
    context: Context<'gc>,
    save: &'a Save,
    /// Whether tables of `_home` are read to be saved.
    reads: bool,
    names: Vec<&'a str>,
    /// Objects that have a number already.
    known: ByAddress<wire::Value>,
    known_strings: ByAddress<u32>,
    known_protos: ByAddress<u32>,
    upvalue_numbers: ByAddress<u32>,
    permanent_numbers: ByAddress<u32>,
    /// Objects in the order they were met; the walk goes along this list.
    found: Vec<Found<'gc>>,
    counts: Counts,
    strings: StringTable,
    functions: FunctionTable,
    permanents: Writer,
    tables: Writer,
    upvalues: Writer,
    closures: Writer,
    natives: Writer,
    coroutines: Writer,
    coroutine_count: u32,
    userdata: Writer,
    userdata_count: u32,
    /// Scratch for one table.
    items: Writer,
    pairs: Writer,
}

impl<'gc> Saver<'gc, '_> {
    fn value(&mut self, value: Value<'gc>, step: Step) -> Result<wire::Value> {
        Ok(match value {
            Value::Nil => wire::Value::Nil,
            Value::Boolean(false) => wire::Value::False,
            Value::Boolean(true) => wire::Value::True,
            Value::Integer(integer) => wire::Value::Integer(integer),
            Value::Float(float) if float.is_nan() => wire::Value::Float(f64::from_bits(0x7ff8_0000_0000_0000)),
            Value::Float(float) => wire::Value::Float(float),
            Value::String(string) => {
                let strings = &mut self.strings;
                let number =
                    self.known_strings.entry(address(value)).or_insert_with(|| strings.number(string.as_bytes()));
                wire::Value::String(*number)
            }
            _ => match self.known.get(&address(value)) {
                Some(known) => *known,
                None => self.new_object(value, step)?,
            },
        })
    }

    /// Gives an object its number.
    fn new_object(&mut self, value: Value<'gc>, step: Step) -> Result<wire::Value> {
        let reference = if let Some(name) = self.context.permanent_name(value) {
            wire::Value::Permanent(self.permanent(Value::String(name)))
        } else {
            let counts = &mut self.counts;
            let (object, reference) = match value {
                Value::Table(table) => (Object::Table(table), wire::Value::Table(next(&mut counts.tables))),
                Value::Closure(closure) => (Object::Closure(closure), wire::Value::Closure(next(&mut counts.closures))),
                Value::Native(native) if is_saveable(self.context, native) => {
                    (Object::Native(native), wire::Value::Native(next(&mut counts.natives)))
                }
                Value::Coroutine(coroutine) if HAS_COROUTINES && coroutine.parts(self.context).is_some() => {
                    (Object::Coroutine(coroutine), wire::Value::Coroutine(next(&mut self.coroutine_count)))
                }
                Value::Userdata(userdata) if HAS_COROUTINES => {
                    (Object::Userdata(userdata), wire::Value::Userdata(next(&mut self.userdata_count)))
                }
                _ => return Err(self.not_persistable(value, step)),
            };
            self.push_found(object, step)?;
            reference
        };
        self.known.insert(address(value), reference);
        Ok(reference)
    }

    fn push_found(&mut self, object: Object<'gc>, step: Step) -> Result<()> {
        if self.found.len() >= self.save.limits.objects {
            return Err(Error::Limit { what: "object count" });
        }
        self.found.push(Found { object, step });
        Ok(())
    }

    /// The number of the permanent with this name, a string.
    fn permanent(&mut self, name: Value<'gc>) -> u32 {
        if let Some(number) = self.permanent_numbers.get(&address(name)) {
            return *number;
        }
        let Value::String(text) = name else { unreachable!("permanents are named by strings") };
        let number = next(&mut self.counts.permanents);
        self.permanent_numbers.insert(address(name), number);
        let string = self.strings.number(text.as_bytes());
        self.permanents.put(&string);
        number
    }

    /// Writes the object at place `place` of the walk.
    fn object(&mut self, object: Object<'gc>, place: u32) -> Result<()> {
        match object {
            Object::Table(table) => self.table(table, place),
            Object::Closure(closure) => self.closure(closure, place),
            Object::Upvalue(upvalue) => {
                let content = self.value(upvalue.get(), Step::UpvalueContent(place))?;
                self.upvalues.put(&content);
                Ok(())
            }
            Object::Native(native) => self.native(native, place),
            Object::Coroutine(coroutine) if HAS_COROUTINES => self.coroutine(coroutine, place),
            Object::Userdata(userdata) if HAS_COROUTINES => self.userdata(userdata, place),
            Object::Coroutine(_) | Object::Userdata(_) => Ok(()),
        }
    }

    fn table(&mut self, table: Table<'gc>, place: u32) -> Result<()> {
        if !self.reads && table.is_unread() {
            return Ok(());
        }
        self.context.fill(table).map_err(unreadable)?;
        let metatable = self.metatable(table.metatable(), place)?;
        self.items.clear();
        self.pairs.clear();
        let border = table.length();
        for index in 1..=border {
            let step = Step::Item(place, index as u32);
            let content = self.value(table.get_integer(index), step)?;
            self.items.put(&content);
        }
        let mut pairs = 0;
        let mut position = 0;
        let mut previous = Value::Nil;
        // A key from the table itself is always valid.
        while let Ok(Some((key, value))) = table.next(previous) {
            previous = key;
            if !matches!(key, Value::Integer(index) if 1 <= index && index <= border) {
                let key = self.value(key, Step::Key(place, position))?;
                let content = self.value(value, Step::Pair(place, position))?;
                self.pairs.put(&key);
                self.pairs.put(&content);
                pairs += 1;
            }
            position += 1;
        }
        let head = TableHead { metatable, items: border as u32, pairs };
        self.tables.put(&head);
        self.tables.append(self.items.as_bytes());
        self.tables.append(self.pairs.as_bytes());
        self.check_size()
    }

    fn metatable(&mut self, metatable: Option<Table<'gc>>, place: u32) -> Result<wire::Metatable> {
        let Some(metatable) = metatable else { return Ok(wire::Metatable::None) };
        Ok(match self.value(Value::Table(metatable), Step::Metatable(place))? {
            wire::Value::Table(number) => wire::Metatable::Table(number),
            wire::Value::Permanent(number) => wire::Metatable::Permanent(number),
            _ => unreachable!("a table is written as a table or as a permanent"),
        })
    }

    fn closure(&mut self, closure: Closure<'gc>, place: u32) -> Result<()> {
        let function = self.function(closure)?;
        self.closures.put(&function);
        for index in 0..closure.upvalue_count() {
            let number = self.upvalue(closure.upvalue(index), Step::Upvalue(place, index as u8))?;
            self.closures.put(&number);
        }
        self.check_size()
    }

    fn upvalue(&mut self, upvalue: Upvalue<'gc>, step: Step) -> Result<u32> {
        if let Some(number) = self.upvalue_numbers.get(&upvalue.address()) {
            return Ok(*number);
        }
        let number = next(&mut self.counts.upvalues);
        self.upvalue_numbers.insert(upvalue.address(), number);
        self.push_found(Object::Upvalue(upvalue), step)?;
        Ok(number)
    }

    fn coroutine(&mut self, coroutine: Coroutine<'gc>, place: u32) -> Result<()> {
        let Some(parts) = coroutine.parts(self.context) else {
            return Err(self.not_persistable(Value::Coroutine(coroutine), self.found[place as usize].step));
        };
        Head::of(&parts).put(&mut self.coroutines);
        for count in [parts.slots.len(), parts.frames.len(), parts.open.len(), parts.to_close.len()] {
            self.coroutines.varint(count as u64);
        }
        parts.frames.iter().for_each(|(_, frame)| put_frame(&mut self.coroutines, frame));
        for (upvalue, position) in &parts.open {
            let number = self.upvalue(*upvalue, Step::Open(place))?;
            self.coroutines.varint(number.into());
            self.coroutines.varint((*position).into());
        }
        parts.to_close.iter().for_each(|position| self.coroutines.varint((*position).into()));
        let values = parts.slots.iter().chain([&parts.failure, &parts.hook_function]);
        for (position, value) in values.enumerate() {
            let content = self.value(*value, Step::Slot(place, position as u32))?;
            self.coroutines.put(&content);
        }
        for (callee, _) in &parts.frames {
            let callee = self.value(*callee, Step::Callee(place))?;
            self.coroutines.put(&callee);
        }
        self.check_size()
    }

    fn function(&mut self, closure: Closure<'gc>) -> Result<u32> {
        let proto = closure.proto();
        if let Some(number) = self.known_protos.get(&proto.address()) {
            return Ok(*number);
        }
        let parts = proto.to_parts(self.save.strip_debug);
        let number = self.functions.number(&parts, &mut self.strings);
        self.known_protos.insert(proto.address(), number);
        Ok(number)
    }

    fn native(&mut self, native: Native<'gc>, place: u32) -> Result<()> {
        let name = self.context.string(native.name().as_bytes());
        let permanent = self.permanent(Value::String(name));
        let values = native.values();
        self.natives.put(&NativeHead { permanent, values: values.len() as u32 });
        for (index, value) in values.iter().enumerate() {
            let content = self.value(value.get(), Step::NativeValue(place, index as u32))?;
            self.natives.put(&content);
        }
        Ok(())
    }

    fn userdata(&mut self, userdata: Userdata<'gc>, place: u32) -> Result<()> {
        let Some((kind, bytes)) = self.save.userdata.save(userdata.data()) else {
            return Err(self.not_persistable(Value::Userdata(userdata), self.found[place as usize].step));
        };
        self.userdata.string(kind.as_bytes());
        self.userdata.string(&bytes);
        let metatable = self.metatable(userdata.metatable(), place)?;
        let values = userdata.user_values();
        self.userdata.put(&UserdataHead { metatable, values: values.len() as u32 });
        for (index, value) in values.iter().enumerate() {
            let content = self.value(value.get(), Step::UserValue(place, index as u32))?;
            self.userdata.put(&content);
        }
        self.check_size()
    }

    /// Stops before the output grows far beyond what sealing it would allow.
    fn check_size(&self) -> Result<()> {
        let written = self.tables.as_bytes().len()
            + self.closures.as_bytes().len()
            + self.coroutines.as_bytes().len()
            + self.userdata.as_bytes().len()
            + self.strings.out.as_bytes().len()
            + self.functions.out.as_bytes().len();
        if written > self.save.limits.payload_bytes { Err(Error::Limit { what: "payload size" }) } else { Ok(()) }
    }

    fn finish(self, root_values: &Writer) -> Result<(u8, Vec<u8>)> {
        let counts = Counts { strings: self.strings.len(), functions: self.functions.len(), ..self.counts };
        let mut out = Writer::default();
        out.put(&counts);
        let version = match (self.coroutine_count, self.userdata_count) {
            (0, 0) => FORMAT_VERSION,
            (_, 0) => COROUTINES_VERSION,
            _ => USERDATA_VERSION,
        };
        if version >= COROUTINES_VERSION {
            out.put(&self.coroutine_count);
        }
        if version >= USERDATA_VERSION {
            out.put(&self.userdata_count);
        }
        let sections = [
            &self.strings.out,
            &self.permanents,
            &self.functions.out,
            &self.tables,
            &self.upvalues,
            &self.closures,
            &self.natives,
            &self.coroutines,
            &self.userdata,
            root_values,
        ];
        for section in sections {
            out.append(section.as_bytes());
        }
        Ok((version, out.into_bytes()))
    }

    fn not_persistable(&self, value: Value<'gc>, step: Step) -> Error {
        Error::NotPersistable {
            path: trail::path(self.context, &self.names, &self.found, step),
            what: described(value),
        }
    }
}

/// Why a table of `_home` could not be read.
pub(crate) fn unreadable(error: FillError) -> Error {
    match error {
        FillError::OutOfMemory => Error::Limit { what: "heap" },
        FillError::Other(reason) => Error::Unreadable { reason },
    }
}

/// Whether a native function that is no permanent itself can be made again from the permanent of its name.
fn is_saveable<'gc>(context: Context<'gc>, native: Native<'gc>) -> bool {
    let name = native.name().as_bytes();
    let summary = |value: &Cell<Value<'gc>>| match value.get() {
        Value::String(string) => Summary::String(string.len()),
        Value::Integer(integer) => Summary::Integer(integer),
        _ => Summary::Other,
    };
    let values: Vec<Summary> = native.values().iter().map(summary).collect();
    (matches!(context.permanent(name), Value::Native(_)) && stateful::fits(name, &values))
        || (context.carries_values(native) && !stateful::knows(name))
}

fn next(count: &mut u32) -> u32 {
    let number = *count;
    *count += 1;
    number
}
