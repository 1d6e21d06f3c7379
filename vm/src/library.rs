//! The standard library (manual §6).
//!
//! Each library is a table of natives, each native a plain function on a [`Call`](crate::call::Call). The names given here are how saved
//! state refers to them.

mod base;
mod collect_garbage;
mod coroutine;
mod debug;
pub(crate) mod host_function;
mod io;
mod leaf;
mod load;
mod math;
mod os;
mod package;
mod protected;
mod sandbox;
mod steps;
mod string;
mod table;
mod utf8;

use crate::context::Context;
use crate::heap::native::{Native, NativeCode, NativeDefinition, Role};
use crate::heap::table::Table;
use crate::heap::value::Value;

pub(crate) use io::{FileHandle, Stream};
pub(crate) use leaf::Leaf;
pub(crate) use protected::{HOST, error_report, host_call, read_report};

/// Native functions of one library, each with its full registered name.
type Functions = &'static [(&'static str, NativeCode)];

/// A native function with what the interpreter knows about it.
type Special = (NativeDefinition, Role);

/// Functions with values of their own.
const SPECIAL: &[Special] = &[
    (coroutine::WRAPPED, Role::Plain),
    (string::GMATCH_STEP, Role::Plain),
    (host_function::HOST_FUNCTION, Role::Plain),
    (utf8::CODES, Role::Plain),
    (utf8::STEPS[0], Role::Plain),
    (utf8::STEPS[1], Role::Plain),
    (io::LINES_STEP, Role::Plain),
    (debug::COMMAND, Role::Protected),
];

/// All lists of plain functions.
const LISTS: &[Functions] = &[
    base::FUNCTIONS,
    coroutine::FUNCTIONS,
    table::FUNCTIONS,
    string::FUNCTIONS,
    string::METAMETHODS,
    math::FUNCTIONS,
    utf8::FUNCTIONS,
    os::FUNCTIONS,
    os::EXIT,
    os::FILES,
    io::FUNCTIONS,
    io::METHODS,
    io::METAMETHODS,
    load::FILES,
    debug::FUNCTIONS,
    package::FUNCTIONS,
    package::FILES,
    package::SEARCHER_FUNCTIONS,
    package::REQUIRE,
];

/// The native function with this name: of the library, whatever the host has, or one of the VM's own that only frames
/// refer to.
pub(crate) fn find(name: &str) -> Option<Special> {
    let special = [base::SPECIAL, protected::SPECIAL, SPECIAL, sandbox::SPECIAL, crate::interpreter::SPECIAL];
    if let Some(found) = special.into_iter().flatten().find(|(definition, _)| definition.name == name) {
        return Some(*found);
    }
    let listed = LISTS.iter().copied().flatten().find(|(listed, _)| *listed == name);
    listed.map(|&(name, code)| (NativeDefinition { name, code }, leaf::role_of(name)))
}

/// Of the functions with values of their own, the one with this name that scripts come by in calling others.
pub(crate) fn find_carrier(name: &[u8]) -> Option<Special> {
    [SPECIAL, sandbox::SPECIAL]
        .into_iter()
        .flatten()
        .find(|(definition, role)| *role == Role::Plain && definition.name.as_bytes() == name)
        .copied()
}

/// Puts the standard library into the global table, or what the sandbox profile has of it.
pub(crate) fn open(context: Context<'_>, seed: u64, has_debug: bool, sandboxed: bool) {
    let globals = context.globals();
    set_field(context, globals, "_G", Value::Table(globals));
    set_field(context, globals, "_VERSION", Value::String(context.string(b"Lua 5.4")));
    set_field(context, context.registered().loaded, "_G", Value::Table(globals));
    name_permanent(context, "_G", Value::Table(globals));
    fill(context, globals, base::FUNCTIONS);
    base::open(context);
    protected::open(context);
    library(context, "coroutine", coroutine::FUNCTIONS);
    library(context, "table", table::FUNCTIONS);
    let string = library(context, "string", string::FUNCTIONS);
    string::open(context, string);
    let math = library(context, "math", math::FUNCTIONS);
    math::open(context, math, seed);
    let utf8 = library(context, "utf8", utf8::FUNCTIONS);
    utf8::open(context, utf8);
    if has_debug {
        let debug = library(context, "debug", debug::FUNCTIONS);
        debug::open(context, debug);
    }
    let os = library(context, "os", os::FUNCTIONS);
    if context.root().host.borrow_mut().can_exit() {
        fill(context, os, os::EXIT);
    }
    let has_files = context.root().host.borrow_mut().files().is_some();
    let package = library(context, "package", &[]);
    package::open(context, package, has_files);
    if has_files {
        fill(context, globals, load::FILES);
        fill(context, os, os::FILES);
        let io = library(context, "io", io::FUNCTIONS);
        io::open(context, io);
    }
    if sandboxed {
        sandbox::take_over(context);
    }
}

fn library<'gc>(context: Context<'gc>, name: &str, functions: Functions) -> Table<'gc> {
    let table = Table::new(context, 0, functions.len());
    fill(context, table, functions);
    set_field(context, context.globals(), name, Value::Table(table));
    set_field(context, context.registered().loaded, name, Value::Table(table));
    name_permanent(context, name, Value::Table(table));
    table
}

fn fill<'gc>(context: Context<'gc>, table: Table<'gc>, functions: Functions) {
    for &(name, code) in functions {
        let native = Native::with_role(context, NativeDefinition { name, code }, &[], leaf::role_of(name));
        let field = name.rsplit('.').next().unwrap_or(name);
        set_field(context, table, field, Value::Native(native));
        name_permanent(context, name, Value::Native(native));
    }
}

fn name_permanent<'gc>(context: Context<'gc>, name: &str, object: Value<'gc>) {
    context.add_permanent(name, object).expect("the standard library fits into any heap");
}

pub(crate) fn set_field<'gc>(context: Context<'gc>, table: Table<'gc>, name: &str, value: Value<'gc>) {
    table
        .set(context, Value::String(context.string(name.as_bytes())), value)
        .expect("the standard library fits into any heap");
}
