//! The sandbox profile: global variables for code that nobody vouches for, beside other such code in the same VM.
//!
//! ```text
//!   globals of a sandbox   { print, pcall, …, load*, _G, string, math, … }   its own table, which it may change
//!   string, math, …        { }  --metatable-->  { __index = content, __newindex = refuse, … }   shared
//! ```
//!
//! A shared library is an *empty* table with a metatable that is out of reach, as a ghost of `_home` is: reading a field finds it in the
//! content by `__index`, every store comes to the slow path and there to `__newindex`. So ordinary tables pay nothing. What stores without
//! a look at metatables asks [`Context::is_read_only`]: `rawset`, and the instruction that fills new tables, which a binary chunk
//! could use on any table. Whoever traverses one with `pairs` gets an iterator that keeps the content to itself.
//!
//! Deliberately absent: what reaches beyond the sandbox (`io`, `package`, `require`, `debug` but `traceback`, `os` but the time), what
//! changes the VM for all (`collectgarbage`, `warn`, `math.randomseed`), binary chunks, and finalizers, which would run in the middle of
//! others' code at their expense. The heap, the fuel of a run and the random numbers remain common.

use super::{
    Functions, Special, base, coroutine, load, math, name_permanent, os, set_field, string, table as table_library,
    utf8,
};
use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::heap::accounting::OutOfMemory;
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

const REFUSE: NativeDefinition = NativeDefinition { name: "shared.refuse", code: refuse };
const PAIRS: NativeDefinition = NativeDefinition { name: "shared.pairs", code: pairs };
const NEXT: NativeDefinition = NativeDefinition { name: "shared.next", code: next };
const GET_METATABLE: NativeDefinition = NativeDefinition { name: "sandbox.getmetatable", code: get_metatable };
const SET_METATABLE: NativeDefinition = NativeDefinition { name: "sandbox.setmetatable", code: set_metatable };

pub(super) const SPECIAL: &[Special] = &[
    (REFUSE, Role::Plain),
    (PAIRS, Role::Plain),
    (NEXT, Role::Plain),
    (GET_METATABLE, Role::Plain),
    (SET_METATABLE, Role::Plain),
];

/// The libraries; fields that are no plain functions are added by [`content`].
const LIBRARIES: &[(&str, Functions)] = &[
    ("shared.coroutine", coroutine::FUNCTIONS),
    ("shared.table", table_library::FUNCTIONS),
    ("shared.string", string::FUNCTIONS),
    ("shared.math", math::FUNCTIONS),
    ("shared.utf8", utf8::FUNCTIONS),
    ("shared.os", os::FUNCTIONS),
    ("shared.debug", &[]),
];

/// What scripts in a sandbox do not get, or get in another form. `vm/tests/sandbox.rs` holds the list of what they get.
const WITHHELD: &[&str] = &[
    "collectgarbage",
    "getmetatable",
    "setmetatable",
    "warn",
    "string.dump",
    "math.randomseed",
    "os.getenv",
    "os.setlocale",
];

/// Iterators and steps, which only saved state names.
const STEPS: &[&str] = &["ipairs.step", "string.gmatch.step", "utf8.codes.step", "utf8.codes.lax_step"];

/// Nominal bytes that the shared libraries, and those that one sandbox takes at most.
const SHARED_BYTES: usize = 24 << 10;
const SANDBOX_BYTES: usize = 8 << 10;

impl<'gc> Context<'gc> {
    /// The global variables of the sandbox with this name; new ones if there is none yet. A name stands for the same table in an image, and
    /// saved functions refer to it.
    ///
    /// # Errors
    ///
    /// If there is no room for new ones.
    pub fn sandbox(self, name: &str) -> Result<Table<'gc>, OutOfMemory> {
        let name = format!("sandbox.{name}");
        match self.permanent(name.as_bytes()) {
            Value::Table(globals) => Ok(globals),
            _ => make(self, self.registered().permanents, &name),
        }
    }

    /// Whether a table is a shared library, which nothing may change.
    #[inline]
    pub(crate) fn is_read_only(self, table: Table<'gc>) -> bool {
        match table.metatable() {
            Some(metatable) if table.shape() == (0, 0) => {
                let handler = metatable.get_string(self.metamethod_name(Metamethod::NewIndex));
                matches!(handler, Value::Native(native) if native.name() == REFUSE.name)
            }
            _ => false,
        }
    }
}

/// Makes the global variables of a sandbox those of the VM. What the profile does not have cannot be named by saved functions either.
pub(super) fn take_over(context: Context<'_>) {
    let library = context.registered().permanents;
    let (permanents, permanent_names) = (context.table(), context.table());
    context.update_registered(|registered| {
        (registered.permanents, registered.permanent_names) = (permanents, permanent_names);
    });
    let globals = make(context, library, "_G").expect("the standard library fits into any heap");
    for step in STEPS {
        name_permanent(context, step, library.get_string(context.string(step.as_bytes())));
    }
    context.update_registered(|registered| registered.globals = globals);
    set_field(context, context.registered().loaded, "_G", Value::Table(globals));
}

/// New global variables, known by a permanent name; `library` has the functions by theirs.
fn make<'gc>(context: Context<'gc>, library: Table<'gc>, name: &str) -> Result<Table<'gc>, OutOfMemory> {
    let has_libraries = !context.permanent(LIBRARIES[0].0.as_bytes()).is_nil();
    context.accounting().check(if has_libraries { SANDBOX_BYTES } else { SANDBOX_BYTES + SHARED_BYTES })?;
    let globals = Table::new(context, 0, 48);
    let copy = |name: &str| copy(context, library, globals, name);
    base::FUNCTIONS.iter().map(|(name, _)| *name).filter(|name| !WITHHELD.contains(name)).for_each(copy);
    ["next", "ipairs", "pcall", "xpcall"].into_iter().for_each(copy);
    for definition in [GET_METATABLE, SET_METATABLE] {
        set_field(context, globals, last(definition.name), Value::Native(Native::new(context, definition, &[])));
    }
    let definition = NativeDefinition { name: "load", code: load::load };
    let load = Native::with_role(context, definition, &[Value::Table(globals)], Role::Loading);
    set_field(context, globals, "load", Value::Native(load));
    set_field(context, globals, "_G", Value::Table(globals));
    set_field(context, globals, "_VERSION", Value::String(context.string(b"Lua 5.4")));
    for (shared, functions) in LIBRARIES {
        let table = match context.permanent(shared.as_bytes()) {
            Value::Nil => Value::Table(share(context, library, shared, functions)),
            known => known,
        };
        set_field(context, globals, last(shared), table);
    }
    name_permanent(context, name, Value::Table(globals));
    name_permanent(context, &format!("{name}.load"), Value::Native(load));
    Ok(globals)
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Copies a function of the library, by its registered name, if this VM has it.
fn copy<'gc>(context: Context<'gc>, library: Table<'gc>, table: Table<'gc>, name: &str) {
    let function = library.get_string(context.string(name.as_bytes()));
    if !function.is_nil() {
        set_field(context, table, last(name), function);
        name_permanent(context, name, function);
    }
}

/// A table that shows the fields of a library and takes none.
fn share<'gc>(context: Context<'gc>, library: Table<'gc>, name: &str, functions: Functions) -> Table<'gc> {
    let content = Value::Table(content(context, library, last(name), functions));
    let metatable = context.table();
    set_field(context, metatable, "__index", content);
    for (event, definition) in [("__newindex", REFUSE), ("__pairs", PAIRS)] {
        set_field(context, metatable, event, Value::Native(Native::new(context, definition, &[content])));
    }
    set_field(context, metatable, "__metatable", Value::Boolean(false));
    let shared = context.table();
    context.set_metatable(shared, Some(metatable));
    name_permanent(context, name, Value::Table(shared));
    shared
}

fn content<'gc>(context: Context<'gc>, library: Table<'gc>, name: &str, functions: Functions) -> Table<'gc> {
    let content = Table::new(context, 0, functions.len());
    let copy = |name: &str| copy(context, library, content, name);
    functions.iter().map(|(name, _)| *name).filter(|name| !WITHHELD.contains(name)).for_each(copy);
    match name {
        "math" => math::set_constants(context, content),
        "utf8" => {
            utf8::set_pattern(context, content);
            copy("utf8.codes");
        }
        "debug" => copy("debug.traceback"),
        _ => {}
    }
    content
}

fn refuse<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    Err(match call.arg(2) {
        Value::String(key) => {
            call.error([b"attempt to change field '", key.as_bytes(), b"' of a read-only table"].concat())
        }
        _ => call.error("attempt to change a read-only table"),
    })
}

fn pairs<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let step = Native::new(call.context(), NEXT, &[call.upvalue(0)]);
    call.return_values(&[Value::Native(step), call.arg(1), Value::Nil])
}

/// `next`, in the content that is this function's own value.
fn next<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let Value::Table(content) = call.upvalue(0) else { return Err(call.state_error()) };
    match content.next(call.arg(2)) {
        Ok(Some((key, value))) => call.return_values(&[key, value]),
        Ok(None) => call.return_value(Value::Nil),
        Err(_) => Err(call.error("invalid key to 'next'")),
    }
}

/// `getmetatable` of tables; the metatables of other values are common to all.
fn get_metatable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    match call.check_any(1)? {
        Value::Table(_) => base::get_metatable(call),
        value => {
            let has_one = call.context().metatable(value).is_some();
            call.return_value(if has_one { Value::Boolean(false) } else { Value::Nil })
        }
    }
}

fn set_metatable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if let Value::Table(metatable) = call.arg(2)
        && !metatable.metamethod(call.context(), Metamethod::Gc).is_nil()
    {
        return Err(call.arg_error(2, "'__gc' is not allowed in a sandbox"));
    }
    base::set_metatable(call)
}
