//! Modules (manual §6.3): `require` and the table `package`.
//!
//! Modules in Lua come from the host's files; a host without files has the preloaded ones only, and none has modules in C:
//! their searchers are as in a build of PUC Lua without dynamic libraries.

use super::io::is_readable;
use super::load::load_path;
use super::steps::step;
use super::{Functions, fill, name_permanent, set_field};
use crate::call::{Action, Call, append_number, c_string};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::native::{Native, NativeCode, NativeDefinition};
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::text::search::find_plain;

pub(super) const FUNCTIONS: Functions = &[("package.loadlib", load_library)];

/// What needs a host with files.
pub(super) const FILES: Functions = &[("package.searchpath", search_path)];

/// The searchers, of which only the first needs no files, each with a table of its own; and `require`.
pub(super) const SEARCHER_FUNCTIONS: Functions = &[
    ("package.searchers.preload", search_preloaded),
    ("package.searchers.lua", search_lua),
    ("package.searchers.c", search_c),
    ("package.searchers.croot", search_c_root),
];
pub(super) const REQUIRE: Functions = &[("require", require)];

/// Separators of directories and of a path's templates, the mark for the name, and two that only other systems use.
const CONFIGURATION: &[u8] = b"/\n;\n?\n!\n-\n";

const PATH: &str = "/usr/local/share/lua/5.4/?.lua;/usr/local/share/lua/5.4/?/init.lua;\
    /usr/local/lib/lua/5.4/?.lua;/usr/local/lib/lua/5.4/?/init.lua;./?.lua;./?/init.lua";
const C_PATH: &str = "/usr/local/lib/lua/5.4/?.so;/usr/local/lib/lua/5.4/loadall.so;./?.so";

const NO_LIBRARIES: &str = "dynamic libraries not enabled; check your Lua installation";

/// The function `require` and the table `package`; `has_files` says whether modules can come from files.
pub(super) fn open<'gc>(context: Context<'gc>, package: Table<'gc>, has_files: bool) {
    let table = |name: &str, table: Table<'gc>| {
        set_field(context, package, name, Value::Table(table));
        name_permanent(context, &format!("package.{name}"), Value::Table(table));
    };
    fill(context, package, FUNCTIONS);
    let preload = context.table();
    table("loaded", context.registered().loaded);
    table("preload", preload);
    let searchers = context.table();
    table("searchers", searchers);
    let searcher = |(name, code): (&'static str, NativeCode), own: Table<'gc>| {
        let native = Value::Native(Native::new(context, NativeDefinition { name, code }, &[Value::Table(own)]));
        let index = Value::Integer(searchers.length() + 1);
        searchers.set(context, index, native).expect("the standard library fits into any heap");
        name_permanent(context, name, native);
    };
    searcher(SEARCHER_FUNCTIONS[0], preload);
    if has_files {
        fill(context, package, FILES);
        SEARCHER_FUNCTIONS[1..].iter().for_each(|found| searcher(*found, package));
    }
    let text = |name: &str, text: &[u8]| set_field(context, package, name, Value::String(context.string(text)));
    text("config", CONFIGURATION);
    text("path", &path_from_environment(context, "LUA_PATH", PATH));
    text("cpath", &path_from_environment(context, "LUA_CPATH", C_PATH));
    let (name, code) = REQUIRE[0];
    let definition = NativeDefinition { name, code };
    let require = Value::Native(Native::new(context, definition, &[Value::Table(package)]));
    set_field(context, context.globals(), "require", require);
    name_permanent(context, "require", require);
}

/// A path as the environment has it; `;;` in it stands for the default.
fn path_from_environment(context: Context<'_>, variable: &str, default: &str) -> Vec<u8> {
    let mut host = context.root().host.borrow_mut();
    let path = host
        .path_variable(format!("{variable}_5_4").as_bytes())
        .or_else(|| host.path_variable(variable.as_bytes()))
        .unwrap_or_else(|| default.into());
    let Some(mark) = path.windows(2).position(|pair| pair == b";;") else {
        return path;
    };
    let (before, after) = (&path[..mark], &path[mark + 2..]);
    let parts = [before, default.as_bytes(), after];
    let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(&b';')
}

// Slots of `require`, from the first scratch slot on.

const SEARCHERS: usize = 0;
/// What the searchers had to say.
const MESSAGE: usize = 1;
/// The number of the searcher that is asked.
const INDEX: usize = 2;
/// Where a searcher is called, and where its loader is kept.
const LOADER: usize = 3;
/// What the searcher has given to its loader.
const DATA: usize = 4;
/// Where the loader is called, and where the module is kept.
const MODULE: usize = 5;
/// Where values are read to, and where metamethods are called: above everything that has to stay.
const VALUE: usize = 6;

// States of `require`; 0 is the start.

const LOOKED_UP: u32 = 1;
const SEARCHERS_READ: u32 = 2;
const SEARCH: u32 = 3;
const SEARCHED: u32 = 4;
const LOADED: u32 = 5;
const KEPT: u32 = 6;
const READ_BACK: u32 = 7;
const MARKED: u32 = 8;

fn require<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = c_string(call.check_string(1)?.as_bytes());
    let base = call.scratch();
    let key = Value::String(call.context().string(name));
    let loaded = Value::Table(call.context().registered().loaded);
    let mut state = call.state();
    call.reserve(base + VALUE + 4)?;
    loop {
        call.advance(state);
        match state {
            0 => {
                state = LOOKED_UP;
                step!(call.read(base + VALUE, loaded, key, state));
            }
            LOOKED_UP => {
                let module = call.slot(base + VALUE);
                if module.is_truthy() {
                    return call.return_value(module);
                }
                let (package, field) = (call.upvalue(0), Value::String(call.context().string(b"searchers")));
                state = SEARCHERS_READ;
                step!(call.read(base + SEARCHERS, package, field, state));
            }
            SEARCHERS_READ => {
                let Value::Table(_) = call.slot(base + SEARCHERS) else {
                    return Err(call.error("'package.searchers' must be a table"));
                };
                let empty = call.string(b"")?;
                call.set_slot(base + MESSAGE, empty);
                call.set_slot(base + INDEX, Value::Integer(1));
                state = SEARCH;
            }
            SEARCH => return ask_searcher(call, name, key),
            SEARCHED => {
                if let Value::Closure(_) | Value::Native(_) = call.slot(base + LOADER) {
                    let (loader, data) = (call.slot(base + LOADER), call.slot(base + DATA));
                    return call.call_unyieldable(base + MODULE, loader, &[key, data], 1, LOADED);
                }
                next_searcher(call)?;
                state = SEARCH;
            }
            LOADED => {
                let module = call.slot(base + MODULE);
                state = KEPT;
                if !module.is_nil() {
                    step!(call.assign(base + VALUE, loaded, key, module, state));
                }
            }
            KEPT => {
                state = READ_BACK;
                step!(call.read(base + VALUE, loaded, key, state));
            }
            READ_BACK => {
                state = MARKED;
                if call.slot(base + VALUE).is_nil() {
                    // It returned nothing and kept nothing.
                    let mark = Value::Boolean(true);
                    call.set_slot(base + MODULE, mark);
                    step!(call.assign(base + VALUE, loaded, key, mark, state));
                } else {
                    let module = call.slot(base + VALUE);
                    call.set_slot(base + MODULE, module);
                }
            }
            _ => {
                let (module, data) = (call.slot(base + MODULE), call.slot(base + DATA));
                return call.return_values(&[module, data]);
            }
        }
    }
}

/// Calls the next searcher; without one, the module is not found.
fn ask_searcher<'gc>(call: &mut Call<'_, 'gc>, name: &[u8], key: Value<'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    let (Value::Table(searchers), index) = (call.slot(base + SEARCHERS), call.slot(base + INDEX)) else {
        return Err(call.state_error());
    };
    call.machine.fill(searchers)?;
    match searchers.get(index) {
        Value::Nil => {
            let mut message = [b"module '", name, b"' not found:"].concat();
            append_string(call.slot(base + MESSAGE), &mut message);
            Err(call.error(message))
        }
        searcher => call.call_unyieldable(base + LOADER, searcher, &[key], 2, SEARCHED),
    }
}

/// Adds what a searcher said, if it said something, to the message.
fn next_searcher<'gc>(call: &mut Call<'_, 'gc>) -> Result<(), Error<'gc>> {
    let base = call.scratch();
    if let said @ (Value::String(_) | Value::Integer(_) | Value::Float(_)) = call.slot(base + LOADER) {
        let mut message = Vec::new();
        append_string(call.slot(base + MESSAGE), &mut message);
        message.extend_from_slice(b"\n\t");
        append_string(said, &mut message);
        let message = call.string(&message)?;
        call.set_slot(base + MESSAGE, message);
    }
    let Value::Integer(index) = call.slot(base + INDEX) else { return Err(call.state_error()) };
    call.set_slot(base + INDEX, Value::Integer(index.wrapping_add(1)));
    Ok(())
}

fn append_string(value: Value<'_>, text: &mut Vec<u8>) {
    match value {
        Value::String(string) => text.extend_from_slice(string.as_bytes()),
        number => append_number(number, text),
    }
}

fn search_preloaded<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = c_string(call.check_string(1)?.as_bytes());
    let at = call.scratch();
    call.reserve(at + 1)?;
    if call.state() == 0 {
        let (preload, key) = (call.upvalue(0), Value::String(call.context().string(name)));
        step!(call.read(at, preload, key, 1));
    }
    match call.slot(at) {
        Value::Nil => {
            let message = call.string(&[b"no field package.preload['", name, b"']"].concat())?;
            call.return_value(message)
        }
        loader => {
            let data = call.string(b":preload:")?;
            call.return_values(&[loader, data])
        }
    }
}

/// What a search of files came to.
type Found = Result<Vec<u8>, Vec<u8>>;

/// Searches a path for the file of a module, in two states: the field of `package` that holds the path is read, perhaps by a
/// metamethod, into the first scratch slot, then the files are tried. Without a file, what the searcher is to do.
fn find_file<'gc>(
    call: &mut Call<'_, 'gc>,
    name: &[u8],
    field: &'static str,
) -> Result<Result<Vec<u8>, Action>, Error<'gc>> {
    let at = call.scratch();
    call.reserve(at + 1)?;
    if call.state() == 0 {
        let (package, key) = (call.upvalue(0), Value::String(call.context().string(field.as_bytes())));
        if let Some(action) = call.read(at, package, key, 1)? {
            return Ok(Err(action));
        }
    }
    let mut path = Vec::new();
    match call.slot(at) {
        value @ (Value::String(_) | Value::Integer(_) | Value::Float(_)) => append_string(value, &mut path),
        _ => return Err(call.error([b"'package.", field.as_bytes(), b"' must be a string"].concat())),
    }
    Ok(match search(call, name, c_string(&path), b".", b"/")? {
        Ok(file) => Ok(file),
        Err(message) => Err(return_string(call, message)?),
    })
}

fn search_lua<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = c_string(call.check_string(1)?.as_bytes());
    let file = match find_file(call, name, "path")? {
        Ok(file) => file,
        Err(action) => return Ok(action),
    };
    match load_path(call, Some(&file), b"bt", None)? {
        Ok(loader) => {
            let file = call.string(&file)?;
            call.return_values(&[loader, file])
        }
        Err(message) => Err(loading_error(call, name, &file, &message)),
    }
}

fn search_c<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = c_string(call.check_string(1)?.as_bytes());
    refuse_library(call, name, name)
}

/// Searches for the library of a submodule's root.
fn search_c_root<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = c_string(call.check_string(1)?.as_bytes());
    match name.iter().position(|byte| *byte == b'.') {
        Some(dot) => refuse_library(call, name, &name[..dot]),
        None => call.return_none(),
    }
}

/// A library with the name `root` would hold the module, but libraries cannot be loaded.
fn refuse_library<'gc>(call: &mut Call<'_, 'gc>, name: &[u8], root: &[u8]) -> Result<Action, Error<'gc>> {
    match find_file(call, root, "cpath")? {
        Ok(file) => Err(loading_error(call, name, &file, NO_LIBRARIES.as_bytes())),
        Err(action) => Ok(action),
    }
}

fn return_string<'gc>(call: &mut Call<'_, 'gc>, text: Vec<u8>) -> Result<Action, Error<'gc>> {
    let text = call.new_string(text)?;
    call.return_value(text)
}

fn loading_error<'gc>(call: &Call<'_, 'gc>, name: &[u8], file: &[u8], message: &[u8]) -> Error<'gc> {
    call.error([b"error loading module '", name, b"' from file '", file, b"':\n\t", message].concat())
}

fn search_path<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    // In C the arguments of a call are usually looked at from the last one on.
    let replacement = call.opt_string(4)?.map_or(&b"/"[..], |text| c_string(text.as_bytes()));
    let separator = call.opt_string(3)?.map_or(&b"."[..], |text| c_string(text.as_bytes()));
    let path = c_string(call.check_string(2)?.as_bytes());
    let name = c_string(call.check_string(1)?.as_bytes());
    match search(call, name, path, separator, replacement)? {
        Ok(file) => return_string(call, file),
        Err(message) => {
            let message = call.new_string(message)?;
            call.return_values(&[Value::Nil, message])
        }
    }
}

/// The first file that can be opened, or a message that lists all that were tried.
fn search<'gc>(
    call: &mut Call<'_, 'gc>,
    name: &[u8],
    path: &[u8],
    separator: &[u8],
    replacement: &[u8],
) -> Result<Found, Error<'gc>> {
    let name = replaced(call, name, separator, replacement)?;
    let files = replaced(call, path, b"?", &name)?;
    for file in files.split(|byte| *byte == b';') {
        if is_readable(call, file) {
            return Ok(Ok(file.to_vec()));
        }
    }
    let listed = replaced(call, &files, b";", b"'\n\tno file '")?;
    call.context().accounting().check(2 * listed.len())?;
    Ok(Err([b"no file '", &listed[..], b"'"].concat()))
}

/// `text` with every `from` replaced by `to`; as it is if `from` is empty.
fn replaced<'gc>(call: &mut Call<'_, 'gc>, text: &[u8], from: &[u8], to: &[u8]) -> Result<Vec<u8>, Error<'gc>> {
    let mut result = Vec::new();
    let mut rest = text;
    call.charge(fuel::scanned(text.len()));
    while let Some(at) = find(rest, from) {
        call.charge(fuel::copied(to.len()));
        call.grow(&mut result, at + to.len())?;
        result.extend_from_slice(&rest[..at]);
        result.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    call.grow(&mut result, rest.len())?;
    result.extend_from_slice(rest);
    Ok(result)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() { None } else { find_plain(text, wanted) }
}

fn load_library<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    call.check_string(1)?;
    call.check_string(2)?;
    let message = call.string(NO_LIBRARIES.as_bytes())?;
    let place = call.string(b"absent")?;
    call.return_values(&[Value::Nil, message, place])
}
