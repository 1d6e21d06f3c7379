//! From a heap to its description.
//!
//! The walk is breadth-first over an explicit list: an object gets its number when it is first met and its description when its turn
//! comes, so those of one kind stand in the order of their numbers. Nothing is allocated on the Lua heap.

mod coroutine;
mod numbers;
mod steps;

pub(super) use coroutine::frame_parts;

use super::{
    ClosureImage, Datum, FunctionImage, HeapImage, Image, ImageError, NativeImage, RootsImage, RunImage, TableImage,
    Tables, UpvalueImage, UserdataCodec, UserdataImage,
};
use crate::context::Context;
use crate::heap::closure::Closure;
use crate::heap::coroutine::Coroutine;
use crate::heap::native::Native;
use crate::heap::proto::Proto;
use crate::heap::string::{Interned, LuaString};
use crate::heap::table::Table;
use crate::heap::upvalue::Upvalue;
use crate::heap::userdata::Userdata;
use crate::heap::value::Value;
use crate::library::{self, FileHandle};
use numbers::Numbers;
use steps::{Part, Step};

/// The kind of a userdata that is a file.
pub(super) const FILE_KIND: &str = "io.file";

/// The canonical NaN: other bits of one are nowhere to be seen.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

/// Tables and their values as lists.
#[derive(Default)]
pub(super) struct TableList {
    tables: Vec<TableImage>,
    values: Vec<Datum>,
}

impl Tables for TableList {
    fn table(&mut self, table: TableImage) {
        self.tables.push(TableImage { values: self.values.len() as u32, ..table });
    }

    fn value(&mut self, value: Datum) {
        self.values.push(value);
    }
}

impl TableList {
    /// Adds the tables to an image without any.
    pub(super) fn into_image(mut self, mut image: Image<'_>) -> Image<'_> {
        let before = image.values.len() as u32;
        self.tables.iter_mut().for_each(|table| table.values += before);
        image.values.append(&mut self.values);
        Image { tables: self.tables, ..image }
    }
}

pub(super) fn describe<'gc, S: Tables>(
    context: Context<'gc>,
    codec: &dyn UserdataCodec,
    tables: S,
    run: RunImage,
) -> Result<(Image<'gc>, S), ImageError> {
    // What a heap full of small tables has; room that is not used costs nothing.
    let used = context.accounting().used();
    let mut walk = Walk {
        context,
        codec,
        interned: &context.root().interned,
        numbers: Numbers::with_capacity(used / 128),
        found: Vec::with_capacity(used / 256),
        done: 0,
        protos: Vec::new(),
        host_natives: host_natives(context),
        image: Image { run, ..Image::default() },
        tables,
        counts: [0; KINDS],
    };
    walk.roots(context)?;
    walk.objects()?;
    // Last, so that paths tell how the program comes to an object where it can.
    walk.finalizers(context)?;
    walk.objects()?;
    walk.functions();
    walk.idle_strings(context);
    walk.image.heap = heap_image(context);
    Ok((walk.image, walk.tables))
}

fn heap_image(context: Context<'_>) -> HeapImage {
    let root = context.root();
    HeapImage {
        next_serial: root.next_serial.get(),
        finalizing: root.finalizing.get(),
        warnings_on: root.warnings_on.get(),
        random: root.random.get(),
        ..root.accounting.image()
    }
}

/// The names of native functions that the host gave the VM as permanents.
fn host_natives(context: Context<'_>) -> Vec<&'static str> {
    let name = |(_, value): (Value<'_>, Value<'_>)| match value {
        Value::Native(native) if library::find(native.name()).is_none() => Some(native.name()),
        _ => None,
    };
    context.registered().permanents.entries().filter_map(name).collect()
}

/// An object that has a number.
#[derive(Clone, Copy)]
enum Object<'gc> {
    Table(Table<'gc>),
    Upvalue(Upvalue<'gc>),
    Closure(Closure<'gc>),
    Native(Native<'gc>),
    Userdata(Userdata<'gc>),
    Coroutine(Coroutine<'gc>),
}

const KINDS: usize = 6;

/// An object and the last step on the way to it.
struct Found<'gc> {
    object: Object<'gc>,
    step: Step,
}

struct Walk<'gc, 'c, S> {
    context: Context<'gc>,
    codec: &'c dyn UserdataCodec,
    interned: &'gc Interned,
    numbers: Numbers,
    found: Vec<Found<'gc>>,
    /// How many of those found have been described.
    done: usize,
    /// Prototypes in the order they were met, each with whether it is inside another one of them.
    protos: Vec<(Proto<'gc>, bool)>,
    host_natives: Vec<&'static str>,
    /// Without the tables.
    image: Image<'gc>,
    tables: S,
    /// Objects met so far, by kind.
    counts: [u32; KINDS],
}

impl<'gc, S: Tables> Walk<'gc, '_, S> {
    fn roots(&mut self, context: Context<'gc>) -> Result<(), ImageError> {
        let registered = context.registered();
        let root = context.root();
        let at = |name| Step { from: 0, part: Part::Root(name) };
        let mut roots = RootsImage {
            globals: self.table(registered.globals, at("_G")),
            loaded: self.table(registered.loaded, at("package.loaded")),
            permanents: self.table(registered.permanents, at("permanents")),
            permanent_names: self.table(registered.permanent_names, at("permanent names")),
            registry: registered.registry.map(|table| self.table(table, at("debug.getregistry()"))),
            report: registered.report.map(|table| self.table(table, at("error report"))),
            main: self.coroutine_number(registered.main, at("main")),
            current: self.coroutine_number(registered.current, at("current")),
            ..RootsImage::default()
        };
        for (number, metatable) in roots.type_metatables.iter_mut().zip(&root.type_metatables) {
            *number = metatable.get().map(|table| self.table(table, at("metatable of a type")));
        }
        if let Some(files) = registered.files {
            let metatable = self.table(files.metatable, at("file metatable"));
            let input = self.userdata_number(files.input, at("default input"));
            roots.files = Some([metatable, input, self.userdata_number(files.output, at("default output"))]);
        }
        // SAFETY: the list is only read, and nothing below changes it.
        roots.handles = self.list(unsafe { &*root.handles.get() }, "host value")?;
        roots.free_handles = root.free_handles.borrow().clone();
        self.image.roots = roots;
        Ok(())
    }

    fn finalizers(&mut self, context: Context<'gc>) -> Result<(), ImageError> {
        let root = context.root();
        // SAFETY: as for the handles.
        let (finalizable, doomed) = unsafe { (&*root.finalizable.get(), &*root.doomed.get()) };
        self.image.roots.finalizable = self.list(finalizable, "object with a finalizer")?;
        self.image.roots.doomed = self.list(doomed, "object to be finalized")?;
        Ok(())
    }

    /// Describes what was found and all that it leads to.
    fn objects(&mut self) -> Result<(), ImageError> {
        while let Some(found) = self.found.get(self.done) {
            let object = found.object;
            self.object(object, self.done as u32)?;
            self.done += 1;
        }
        Ok(())
    }

    fn list(&mut self, values: &[Value<'gc>], name: &'static str) -> Result<Vec<Datum>, ImageError> {
        let step = |index: usize| Step { from: 0, part: Part::Numbered(name, index as u32 + 1) };
        values.iter().enumerate().map(|(index, value)| self.value(*value, step(index))).collect()
    }

    // Numbers

    fn number(&mut self, address: usize, kind: usize, object: Object<'gc>, step: Step) -> u32 {
        match self.numbers.get_or_insert(address, self.counts[kind]) {
            Ok(known) => known,
            Err(new) => {
                self.counts[kind] += 1;
                self.found.push(Found { object, step });
                new
            }
        }
    }

    fn table(&mut self, table: Table<'gc>, step: Step) -> u32 {
        self.number(gc_arena::Gc::as_ptr(table.gc()) as usize, 0, Object::Table(table), step)
    }

    fn upvalue_number(&mut self, upvalue: Upvalue<'gc>, step: Step) -> u32 {
        self.number(upvalue.address(), 1, Object::Upvalue(upvalue), step)
    }

    fn userdata_number(&mut self, userdata: Userdata<'gc>, step: Step) -> u32 {
        self.number(gc_arena::Gc::as_ptr(userdata.gc()) as usize, 4, Object::Userdata(userdata), step)
    }

    fn coroutine_number(&mut self, coroutine: Coroutine<'gc>, step: Step) -> u32 {
        self.number(gc_arena::Gc::as_ptr(coroutine.gc()) as usize, 5, Object::Coroutine(coroutine), step)
    }

    fn string(&mut self, string: LuaString<'gc>) -> u32 {
        let next = self.image.strings.len() as u32;
        match self.numbers.get_or_insert(gc_arena::Gc::as_ptr(string.gc()) as usize, next) {
            Ok(known) => known,
            Err(new) => {
                self.image.strings.push(string.as_bytes());
                if let Some(serial) = self.interned.known_serial(string) {
                    self.image.string_serials.push((new, serial));
                }
                if !string.is_short() && string.has_hash() {
                    self.image.string_serials.push((new, 0));
                }
                new
            }
        }
    }

    fn value(&mut self, value: Value<'gc>, step: Step) -> Result<Datum, ImageError> {
        Ok(match value {
            Value::Nil => Datum::Nil,
            Value::Boolean(boolean) => Datum::Boolean(boolean),
            Value::Integer(integer) => Datum::Integer(integer),
            Value::Float(float) => Datum::Float(if float.is_nan() { NAN } else { float }),
            Value::LightUserdata(number) => Datum::LightUserdata(number),
            Value::String(string) => Datum::String(self.string(string)),
            Value::Table(table) => Datum::Table(self.table(table, step)),
            Value::Closure(closure) => {
                let address = gc_arena::Gc::as_ptr(closure.gc()) as usize;
                Datum::Closure(self.number(address, 2, Object::Closure(closure), step))
            }
            Value::Native(native) => Datum::Native(self.native_number(native, step)?),
            Value::Userdata(userdata) => Datum::Userdata(self.userdata_number(userdata, step)),
            Value::Coroutine(coroutine) => Datum::Coroutine(self.coroutine_number(coroutine, step)),
        })
    }

    fn native_number(&mut self, native: Native<'gc>, step: Step) -> Result<u32, ImageError> {
        if library::find(native.name()).is_none() && !self.host_natives.contains(&native.name()) {
            return Err(self.unsaveable(Value::Native(native), step));
        }
        Ok(self.number(gc_arena::Gc::as_ptr(native.gc()) as usize, 3, Object::Native(native), step))
    }

    /// Most values are data and tables, for which nothing can fail.
    #[inline]
    fn datum(&mut self, value: Value<'gc>, from: u32, part: Part) -> Result<Datum, ImageError> {
        Ok(match value {
            Value::Nil => Datum::Nil,
            Value::Boolean(boolean) => Datum::Boolean(boolean),
            Value::Integer(integer) => Datum::Integer(integer),
            Value::String(string) => Datum::String(self.string(string)),
            Value::Table(table) => Datum::Table(self.table(table, Step { from, part })),
            value => self.value(value, Step { from, part })?,
        })
    }

    fn push(&mut self, value: Value<'gc>, from: u32, part: Part) -> Result<(), ImageError> {
        let datum = self.datum(value, from, part)?;
        self.image.values.push(datum);
        Ok(())
    }

    // Descriptions; `from` is the object's place in the walk

    fn object(&mut self, object: Object<'gc>, from: u32) -> Result<(), ImageError> {
        match object {
            Object::Table(table) => self.describe_table(table, from),
            Object::Upvalue(upvalue) => self.describe_upvalue(upvalue, from),
            Object::Closure(closure) => {
                self.describe_closure(closure, from);
                Ok(())
            }
            Object::Native(native) => self.describe_native(native, from),
            Object::Userdata(userdata) => self.describe_userdata(userdata, from),
            Object::Coroutine(coroutine) => self.describe_coroutine(coroutine, from),
        }
    }

    fn describe_table(&mut self, table: Table<'gc>, from: u32) -> Result<(), ImageError> {
        if self.context.fill(table).is_err() {
            let what = "a table of _home that cannot be read".to_owned();
            return Err(ImageError::Unsaveable { path: self.path(self.found[from as usize].step), what });
        }
        let metatable = table.metatable().map(|metatable| self.table(metatable, Step { from, part: Part::Metatable }));
        let (array_capacity, entries_capacity) = table.room();
        let weak = table.weakness();
        self.tables.table(TableImage {
            serial: table.serial().get(),
            metatable,
            weak_keys: weak.keys,
            weak_values: weak.values,
            border: table.last_border(),
            array_length: table.array().len() as u32,
            array_capacity: array_capacity as u32,
            entries: table.entries().len() as u32,
            entries_capacity: entries_capacity as u32,
            values: 0,
        });
        for (index, item) in table.array().iter().enumerate() {
            let datum = self.datum(*item, from, Part::Item(index as u32 + 1))?;
            self.tables.value(datum);
        }
        for (entry, (key, value)) in table.entries().enumerate() {
            for (value, part) in [(key, Part::Key(entry as u32)), (value, Part::Entry(entry as u32))] {
                let datum = self.datum(value, from, part)?;
                self.tables.value(datum);
            }
        }
        Ok(())
    }

    fn describe_upvalue(&mut self, upvalue: Upvalue<'gc>, from: u32) -> Result<(), ImageError> {
        let step = Step { from, part: Part::Other("") };
        let value = match upvalue.open_at() {
            Some((owner, _)) => {
                self.coroutine_number(owner, step);
                None
            }
            None => Some(self.value(upvalue.get(), step)?),
        };
        self.image.upvalues.push(UpvalueImage { serial: upvalue.serial().get(), value });
        Ok(())
    }

    fn describe_closure(&mut self, closure: Closure<'gc>, from: u32) {
        let function = self.proto_place(closure.proto());
        let step = |index| Step { from, part: Part::Upvalue(index) };
        let upvalues = (0..closure.upvalue_count())
            .map(|index| self.upvalue_number(closure.upvalue(index), step(index as u32)))
            .collect();
        self.image.closures.push(ClosureImage { serial: closure.serial().get(), function, upvalues });
    }

    /// Where a prototype stands among those met; the ones inside it are met with it.
    fn proto_place(&mut self, proto: Proto<'gc>) -> u32 {
        let mut unvisited = self.protos.len();
        let place = match self.numbers.get_or_insert(proto.address(), unvisited as u32) {
            Ok(known) => return known,
            Err(new) => new,
        };
        self.protos.push((proto, false));
        while let Some((proto, _)) = self.protos.get(unvisited).copied() {
            unvisited += 1;
            for child in &proto.0.as_ref().children {
                match self.numbers.get_or_insert(child.address(), self.protos.len() as u32) {
                    Ok(known) => self.protos[known as usize].1 = true,
                    Err(_) => self.protos.push((*child, true)),
                }
            }
        }
        place
    }

    fn describe_native(&mut self, native: Native<'gc>, from: u32) -> Result<(), ImageError> {
        let values = self.image.values.len() as u32;
        for (index, value) in native.values().iter().enumerate() {
            self.push(value.get(), from, Part::Value(index as u32 + 1))?;
        }
        let count = native.values().len() as u32;
        self.image.natives.push(NativeImage { serial: native.serial().get(), name: native.name(), count, values });
        Ok(())
    }

    fn describe_userdata(&mut self, userdata: Userdata<'gc>, from: u32) -> Result<(), ImageError> {
        let Some((kind, bytes)) = saved_data(self.codec, userdata) else {
            let step = self.found[from as usize].step;
            return Err(self.unsaveable(Value::Userdata(userdata), step));
        };
        let values = self.image.values.len() as u32;
        let metatable =
            userdata.metatable().map(|metatable| self.table(metatable, Step { from, part: Part::Metatable }));
        for (index, value) in userdata.user_values().iter().enumerate() {
            self.push(value.get(), from, Part::Value(index as u32 + 1))?;
        }
        let (serial, count) = (userdata.serial().get(), userdata.user_values().len() as u32);
        self.image.userdata.push(UserdataImage { serial, metatable, kind, bytes, count, values });
        Ok(())
    }

    /// Lists the prototypes, inner ones first, and turns the closures' places into numbers.
    fn functions(&mut self) {
        let mut numbers = vec![0; self.protos.len()];
        for place in 0..self.protos.len() {
            if !self.protos[place].1 {
                self.function(place as u32, &mut numbers);
            }
        }
        for closure in &mut self.image.closures {
            closure.function = numbers[closure.function as usize];
        }
    }

    /// Recursion is bounded by the verifier's nesting limit.
    fn function(&mut self, place: u32, numbers: &mut [u32]) -> u32 {
        let proto = self.protos[place as usize].0;
        let object = proto.0.as_ref();
        let mut children = Vec::with_capacity(object.children.len());
        for child in &object.children {
            let place = self.proto_place(*child);
            children.push(self.function(place, numbers));
        }
        let values = self.image.values.len() as u32;
        for constant in &object.constants {
            let datum = match *constant {
                Value::String(string) => Datum::String(self.string(string)),
                Value::Boolean(boolean) => Datum::Boolean(boolean),
                Value::Integer(integer) => Datum::Integer(integer),
                Value::Float(float) => Datum::Float(float),
                _ => Datum::Nil,
            };
            self.image.values.push(datum);
        }
        let constants = object.constants.len() as u32;
        let number = self.image.functions.len() as u32;
        self.image.functions.push(FunctionImage { parts: proto.own_parts(), constants, values, children });
        numbers[place as usize] = number;
        number
    }

    fn idle_strings(&mut self, context: Context<'gc>) {
        let numbers = &mut self.numbers;
        let mut idle = Vec::new();
        context.root().interned.for_each(context.mutation(), |string| {
            if numbers.get_or_insert(gc_arena::Gc::as_ptr(string.gc()) as usize, 0).is_err() {
                idle.push(string);
            }
        });
        cu_sort::sort_by(&mut idle, |left, right| left.as_bytes().cmp(right.as_bytes()));
        for string in idle {
            if let Some(serial) = self.interned.known_serial(string) {
                let number = self.image.strings.len() + self.image.idle_strings.len();
                self.image.string_serials.push((number as u32, serial));
            }
            self.image.idle_strings.push(string.as_bytes());
        }
    }
}

/// The kind and bytes of the host's value in a userdata.
fn saved_data(codec: &dyn UserdataCodec, userdata: Userdata<'_>) -> Option<(String, Vec<u8>)> {
    match userdata.downcast::<FileHandle>() {
        Some(file) => file.image().map(|bytes| (FILE_KIND.to_owned(), bytes)),
        None => codec.save(userdata.data()),
    }
}
