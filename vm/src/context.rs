//! The heap's root, and the handle through which code reaches it.

use std::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::rc::Weak;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Mutation};

use crate::heap::accounting::{Accounting, FINALIZER_BYTES, OutOfMemory};
use crate::heap::chunk_name::ChunkNames;
use crate::heap::coroutine::Coroutine;
use crate::heap::native::Native;
use crate::heap::string::{Interned, LuaString, SHORT_STRING_MAX, long_string};
use crate::heap::table::{Table, TableError, Weakness};
use crate::heap::userdata::Userdata;
use crate::heap::value::Value;
use crate::home::HomeRecords;
use crate::host::Host;
use crate::library::{self, Stream};
use crate::metamethod::Metamethod;

/// Access to a heap for the time of one [`crate::Vm::enter`]; `Copy`.
#[derive(Clone, Copy)]
pub struct Context<'gc> {
    mutation: &'gc Mutation<'gc>,
    root: &'gc Root<'gc>,
}

/// Everything reachable, and the heap's own records.
pub(crate) struct Root<'gc> {
    pub accounting: Accounting,
    pub interned: Interned,
    pub names: OnceCell<[LuaString<'gc>; Metamethod::ALL.len()]>,
    pub registered: Cell<Option<Registered<'gc>>>,
    /// The metatables that all values of a basic type share (manual §2.4).
    pub type_metatables: [Cell<Option<Table<'gc>>>; BASIC_TYPES],
    pub next_serial: Cell<u32>,
    /// Values the host keeps alive, by number.
    pub handles: UnsafeCell<Vec<Value<'gc>>>,
    pub free_handles: RefCell<Vec<u32>>,
    /// Every table with weak references; untraced, purged in each cycle.
    pub weak_tables: UnsafeCell<Vec<Table<'gc>>>,
    /// Objects with a finalizer in the order they got it; untraced, dead ones move to `doomed`.
    pub finalizable: UnsafeCell<Vec<Value<'gc>>>,
    /// Dead objects whose finalizers have to run; the last one first.
    pub doomed: UnsafeCell<Vec<Value<'gc>>>,
    /// Whether finalizers are being run: they do not start others.
    pub finalizing: Cell<bool>,
    /// Whether the VM's end has begun: objects that get a finalizer from then on are never finalized.
    pub closing: Cell<bool>,
    pub host: RefCell<Box<dyn Host>>,
    /// The streams that are open, as far as they have not been dropped.
    pub streams: RefCell<Vec<Weak<RefCell<Option<Stream>>>>>,
    /// The state of `math.random`.
    pub random: Cell<[u64; 4]>,
    pub warnings_on: Cell<bool>,
    pub chunk_names: ChunkNames,
    /// What is known of `_home`, if the VM has one.
    pub home: UnsafeCell<Option<Box<HomeRecords<'gc>>>>,
    /// How often `debug.setlocal` has changed a variable, modulo 2^32. Compiled code that called something meanwhile, however
    /// indirectly, may have another idea of what the variable is.
    pub local_changes: Cell<u32>,
}

/// A type whose values have no metatables of their own.
#[derive(Clone, Copy)]
pub(crate) enum BasicType {
    Nil,
    Boolean,
    Number,
    String,
    Function,
    Thread,
    LightUserdata,
}

pub(crate) const BASIC_TYPES: usize = BasicType::LightUserdata as usize + 1;

impl BasicType {
    /// The type of a value that is neither a table nor a full userdata.
    fn of(value: Value<'_>) -> Option<BasicType> {
        Some(match value {
            Value::Nil => BasicType::Nil,
            Value::Boolean(_) => BasicType::Boolean,
            Value::Integer(_) | Value::Float(_) => BasicType::Number,
            Value::String(_) => BasicType::String,
            Value::Closure(_) | Value::Native(_) => BasicType::Function,
            Value::Coroutine(_) => BasicType::Thread,
            Value::LightUserdata(_) => BasicType::LightUserdata,
            Value::Table(_) | Value::Userdata(_) => return None,
        })
    }
}

/// What the functions of the `io` library share.
#[derive(Clone, Copy)]
pub(crate) struct SharedFiles<'gc> {
    /// The metatable of all files.
    pub metatable: Table<'gc>,
    /// The default input and output.
    pub input: Userdata<'gc>,
    pub output: Userdata<'gc>,
}

/// The objects every VM has from its start.
#[derive(Clone, Copy)]
pub(crate) struct Registered<'gc> {
    pub globals: Table<'gc>,
    /// `package.loaded`: the libraries by name.
    pub loaded: Table<'gc>,
    /// The library functions and tables by their registered name, and their names by object: what saved state
    /// refers to instead of containing.
    pub permanents: Table<'gc>,
    pub permanent_names: Table<'gc>,
    /// What `debug.getregistry` gives, once it was asked for.
    pub registry: Option<Table<'gc>>,
    /// What the `io` library shares, if the host has files.
    pub files: Option<SharedFiles<'gc>>,
    /// The uncaught error of the last run: value, message and traceback.
    pub report: Option<Table<'gc>>,
    /// The coroutine that runs what the host starts.
    pub main: Coroutine<'gc>,
    /// The one whose code runs.
    pub current: Coroutine<'gc>,
}

// SAFETY: all strong references are traced; `weak_tables` and `finalizable` are left out on purpose (see `crate::heap`).
unsafe impl<'gc> Collect<'gc> for Root<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        for name in self.names.get().into_iter().flatten() {
            cc.trace(name);
        }
        for metatable in &self.type_metatables {
            cc.trace(&metatable.get());
        }
        if let Some(registered) = &self.registered.get() {
            cc.trace(&registered.globals);
            cc.trace(&registered.loaded);
            cc.trace(&registered.permanents);
            cc.trace(&registered.permanent_names);
            cc.trace(&registered.registry);
            cc.trace(&registered.report);
            if let Some(files) = &registered.files {
                cc.trace(&files.metatable);
                cc.trace(&files.input);
                cc.trace(&files.output);
            }
            cc.trace(&registered.main);
            cc.trace(&registered.current);
        }
        // SAFETY: no other reference exists during a collection.
        let (handles, doomed) = unsafe { (&*self.handles.get(), &*self.doomed.get()) };
        for value in handles.iter().chain(doomed) {
            cc.trace(value);
        }
        // SAFETY: likewise.
        if let Some(home) = unsafe { &*self.home.get() } {
            cc.trace(home);
        }
    }
}

impl<'gc> Root<'gc> {
    pub(crate) fn new(heap_limit: usize, seed: u64, host: Box<dyn Host>) -> Self {
        Root {
            accounting: Accounting::new(heap_limit),
            interned: Interned::new(seed),
            names: OnceCell::new(),
            registered: Cell::new(None),
            type_metatables: Default::default(),
            next_serial: Cell::new(1),
            handles: UnsafeCell::default(),
            free_handles: RefCell::default(),
            weak_tables: UnsafeCell::default(),
            finalizable: UnsafeCell::default(),
            doomed: UnsafeCell::default(),
            finalizing: Cell::new(false),
            closing: Cell::new(false),
            host: RefCell::new(host),
            streams: RefCell::default(),
            random: Cell::new([0; 4]),
            warnings_on: Cell::new(false),
            chunk_names: ChunkNames::default(),
            home: UnsafeCell::new(None),
            local_changes: Cell::new(0),
        }
    }
}

impl<'gc> Context<'gc> {
    pub(crate) fn new(mutation: &'gc Mutation<'gc>, root: &'gc Root<'gc>) -> Self {
        Context { mutation, root }
    }

    #[inline(always)]
    pub(crate) fn mutation(self) -> &'gc Mutation<'gc> {
        self.mutation
    }

    pub(crate) fn root(self) -> &'gc Root<'gc> {
        self.root
    }

    #[inline(always)]
    pub(crate) fn accounting(self) -> &'gc Accounting {
        &self.root.accounting
    }

    pub(crate) fn registered(self) -> Registered<'gc> {
        self.root.registered.get().expect("the registered objects are set when the VM is made")
    }

    pub(crate) fn update_registered(self, update: impl FnOnce(&mut Registered<'gc>)) {
        let mut registered = self.registered();
        update(&mut registered);
        self.root.registered.set(Some(registered));
    }

    pub(crate) fn metamethod_name(self, event: Metamethod) -> LuaString<'gc> {
        self.root.names.get().expect("the names are set when the VM is made")[event as usize]
    }

    /// The table of global variables.
    pub fn globals(self) -> Table<'gc> {
        self.registered().globals
    }

    /// The string with these bytes.
    #[inline]
    pub fn string(self, bytes: &[u8]) -> LuaString<'gc> {
        self.root.interned.string(self.mutation, &self.root.accounting, bytes)
    }

    /// As [`Self::string`], if the heap limit allows it.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`], before anything is allocated.
    pub fn string_within(self, bytes: &[u8]) -> Result<LuaString<'gc>, OutOfMemory> {
        self.accounting().check(bytes.len())?;
        Ok(self.string(bytes))
    }

    /// The string with these bytes, without a copy if it is long.
    pub fn string_from(self, bytes: Vec<u8>) -> LuaString<'gc> {
        if bytes.len() > SHORT_STRING_MAX {
            long_string(self.mutation, &self.root.accounting, bytes.into())
        } else {
            self.string(&bytes)
        }
    }

    /// A new empty table.
    pub fn table(self) -> Table<'gc> {
        Table::new(self, 0, 0)
    }

    /// The serial number of an object: what `tostring` shows. Given at first use.
    pub(crate) fn serial(self, cell: &Cell<u32>) -> u32 {
        if cell.get() == 0 {
            cell.set(self.new_serial());
        }
        cell.get()
    }

    fn new_serial(self) -> u32 {
        let serial = self.root.next_serial.get();
        self.root.next_serial.set(serial + 1);
        serial
    }

    /// The serial number of a string: what `%p` shows.
    pub(crate) fn string_serial(self, string: LuaString<'gc>) -> u32 {
        self.root.interned.serial(string, || self.new_serial())
    }

    /// Sets a table's metatable; a `__mode` or `__gc` in it takes effect from here on (manual §2.5.3, §2.5.4).
    pub fn set_metatable(self, table: Table<'gc>, metatable: Option<Table<'gc>>) {
        table.set_metatable_raw(metatable);
        let Some(metatable) = metatable else {
            return self.set_weakness(table, Weakness::default());
        };
        self.set_weakness(table, weakness(metatable.metamethod(self, Metamethod::Mode)));
        self.register_finalizer(Value::Table(table), metatable);
    }

    /// Sets a userdata's metatable; a `__gc` in it takes effect from here on.
    pub fn set_userdata_metatable(self, userdata: Userdata<'gc>, metatable: Option<Table<'gc>>) {
        userdata.set_metatable_raw(metatable);
        if let Some(metatable) = metatable {
            self.register_finalizer(Value::Userdata(userdata), metatable);
        }
    }

    fn set_weakness(self, table: Table<'gc>, weak: Weakness) {
        if weak != Weakness::default() && table.weakness() == Weakness::default() {
            // SAFETY: the only reference to the list.
            unsafe { (*self.root.weak_tables.get()).push(table) };
        }
        table.set_weakness(weak);
    }

    pub(crate) fn register_finalizer(self, object: Value<'gc>, metatable: Table<'gc>) {
        let Some(has_finalizer) = has_finalizer(object) else { return };
        if self.root.closing.get() {
            return;
        }
        if metatable.metamethod(self, Metamethod::Gc).is_nil() || has_finalizer.replace(true) {
            return;
        }
        self.accounting().charge(FINALIZER_BYTES);
        // SAFETY: the only reference to the list.
        unsafe { (*self.root.finalizable.get()).push(object) };
    }

    /// The metatable of any value; a ghost is filled first.
    pub fn metatable(self, value: Value<'gc>) -> Option<Table<'gc>> {
        if let Value::Table(table) = value
            && table.is_ghost()
        {
            self.fill_or_fail(table);
        }
        self.current_metatable(value)
    }

    #[inline]
    pub(crate) fn current_metatable(self, value: Value<'gc>) -> Option<Table<'gc>> {
        match value {
            Value::Table(table) => table.metatable(),
            Value::Userdata(userdata) => userdata.metatable(),
            _ => self.root.type_metatables[BasicType::of(value)? as usize].get(),
        }
    }

    /// Sets the metatable of any value; for one that is neither a table nor a userdata, that of all values of its type.
    pub fn set_any_metatable(self, value: Value<'gc>, metatable: Option<Table<'gc>>) {
        match (value, BasicType::of(value)) {
            (Value::Table(table), _) => {
                self.fill_or_fail(table);
                self.set_metatable(table, metatable);
            }
            (Value::Userdata(userdata), _) => self.set_userdata_metatable(userdata, metatable),
            (_, Some(basic_type)) => self.root.type_metatables[basic_type as usize].set(metatable),
            _ => unreachable!("every other type is a basic one"),
        }
    }

    /// The metamethod of any value; nil if it has none.
    #[inline]
    pub(crate) fn metamethod(self, value: Value<'gc>, event: Metamethod) -> Value<'gc> {
        let Some(metatable) = self.current_metatable(value) else { return Value::Nil };
        let found = metatable.metamethod(self, event);
        match (found, value) {
            (Value::Native(_), Value::Table(table)) if table.is_ghost() => self.metamethod_of_ghost(table, event),
            _ => found,
        }
    }

    #[cold]
    fn metamethod_of_ghost(self, table: Table<'gc>, event: Metamethod) -> Value<'gc> {
        if self.fill_or_fail(table) { self.metamethod(Value::Table(table), event) } else { Value::Nil }
    }

    /// Names an object that saved state refers to instead of containing it: a library function, the global table.
    pub fn add_permanent(self, name: &str, object: Value<'gc>) -> Result<(), TableError> {
        let registered = self.registered();
        let name = Value::String(self.string(name.as_bytes()));
        registered.permanents.set(self, name, object)?;
        registered.permanent_names.set(self, object, name)
    }

    /// The object with this permanent name; nil if there is none.
    pub fn permanent(self, name: &[u8]) -> Value<'gc> {
        self.registered().permanents.get_string(self.string(name))
    }

    /// The function of the host with this name, as a value that can be saved. Whether the host has it shows when it is called.
    pub fn host_function(self, name: &[u8]) -> Native<'gc> {
        library::host_function::make(self, name)
    }

    /// A native function of the library that carries values of its own, by its name: `string.gmatch.step`. Its code checks its values.
    pub fn native_with_values(self, name: &[u8], values: &[Value<'gc>]) -> Option<Native<'gc>> {
        let (definition, role) = library::find_carrier(name)?;
        Some(Native::with_role(self, definition, values, role))
    }

    /// Whether a function is one that [`Self::native_with_values`] makes.
    pub fn carries_values(self, native: Native<'gc>) -> bool {
        library::find_carrier(native.name().as_bytes()).is_some()
    }

    /// The name of a permanent object.
    pub fn permanent_name(self, object: Value<'gc>) -> Option<LuaString<'gc>> {
        object.object()?;
        match self.registered().permanent_names.get(object) {
            Value::String(name) => Some(name),
            _ => None,
        }
    }

    /// Gives the host a warning, if warnings are on (`warn`).
    pub fn warn(self, message: &[u8]) {
        if self.root.warnings_on.get() {
            self.root.host.borrow_mut().warn(message);
        }
    }

    /// Keeps a value alive and gives it a number to come back by.
    pub fn stash(self, value: Value<'gc>) -> Handle {
        // SAFETY: the only reference to the list.
        let handles = unsafe { &mut *self.root.handles.get() };
        match self.root.free_handles.borrow_mut().pop() {
            Some(free) => {
                handles[free as usize] = value;
                Handle(free)
            }
            None => {
                handles.push(value);
                Handle(handles.len() as u32 - 1)
            }
        }
    }

    /// The value behind a handle.
    pub fn fetch(self, handle: &Handle) -> Value<'gc> {
        // SAFETY: a copy; no other reference is alive.
        unsafe { (&*self.root.handles.get()).get(handle.0 as usize).copied().unwrap_or(Value::Nil) }
    }

    /// Lets go of a value; the handle is used up.
    pub fn release(self, handle: Handle) {
        // SAFETY: the only reference to the list.
        let handles = unsafe { &mut *self.root.handles.get() };
        if let Some(slot) = handles.get_mut(handle.0 as usize) {
            *slot = Value::Nil;
            self.root.free_handles.borrow_mut().push(handle.0);
        }
    }
}

/// Where an object that can have a finalizer notes that it is registered.
pub(crate) fn has_finalizer<'gc>(object: Value<'gc>) -> Option<&'gc Cell<bool>> {
    match object {
        Value::Table(table) => Some(table.has_finalizer()),
        Value::Userdata(userdata) => Some(userdata.has_finalizer()),
        _ => None,
    }
}

/// A value that the host keeps alive in a VM; made by [`Context::stash`].
#[derive(Debug, PartialEq, Eq)]
pub struct Handle(u32);

impl Handle {
    /// The handle with this number, once per VM that an image was made into.
    pub(crate) fn of_image(number: u32) -> Handle {
        Handle(number)
    }
}

fn weakness(mode: Value<'_>) -> Weakness {
    match mode {
        Value::String(mode) => {
            Weakness { keys: mode.as_bytes().contains(&b'k'), values: mode.as_bytes().contains(&b'v') }
        }
        _ => Weakness::default(),
    }
}
