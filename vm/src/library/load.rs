//! Loading chunks (manual §6.1): `load`, and for hosts with files `loadfile` and `dofile`.

use super::Functions;
use super::io::{check_path, read_file, read_standard_input};
use crate::bytecode::chunk;
use crate::call::{Action, Call, STATE_FAILED, c_string, number_to_string};
use crate::chunk::{chunk_of_file, is_binary, read_chunk_within};
use crate::error::Error;
use crate::fuel;
use crate::heap::closure::Closure;
use crate::heap::coroutine::WANT_ALL;
use crate::heap::proto::Proto;
use crate::heap::table::Table;
use crate::heap::value::Value;

/// What needs a host with files.
pub(super) const FILES: Functions = &[("dofile", do_file), ("loadfile", load_file)];

// Slots of `load` while it reads, from the first scratch slot on.

/// The pieces, in a table.
const PIECES: usize = 0;
/// How many bytes they have.
const LENGTH: usize = 1;
/// How many bytes the chunk has, as far as its start tells: 0 if not yet.
const WANTED: usize = 2;
/// Calls of the reader and what they return.
const READER: usize = 3;

// States of `load`; 0 is the start.

/// The reader has returned.
const PIECE: u32 = 1;
/// The whole chunk is there; errors from here on are results.
const COMPLETE: u32 = 2;

/// `load(chunk, name, mode, env)`. A reader function is called until it gives nothing.
pub(super) fn load<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    call.reserve(base + READER + 1)?;
    match call.state() {
        0 => {
            call.opt_string(3)?;
            call.opt_string(2)?;
            if let Value::String(_) | Value::Integer(_) | Value::Float(_) = call.arg(1) {
                call.advance(COMPLETE);
                return load_whole(call);
            }
            let reader = call.check_function(1)?;
            let pieces = Value::Table(call.context().table());
            call.set_slot(base + PIECES, pieces);
            call.set_slot(base + LENGTH, Value::Integer(0));
            call.set_slot(base + WANTED, Value::Integer(0));
            call.call_unyieldable(base + READER, reader, &[], 1, PIECE)
        }
        PIECE => {
            if take_piece(call)? {
                let reader = call.arg(1);
                return call.call_unyieldable(base + READER, reader, &[], 1, PIECE);
            }
            call.advance(COMPLETE);
            load_whole(call)
        }
        STATE_FAILED => {
            let error = call.slot(0);
            if call.close_step(error)? {
                return Ok(Action::Entered);
            }
            call.return_values(&[Value::Nil, error])
        }
        _ => load_whole(call),
    }
}

/// Keeps the piece that the reader returned; false if it was the last one.
fn take_piece<'gc>(call: &mut Call<'_, 'gc>) -> Result<bool, Error<'gc>> {
    let base = call.scratch();
    let piece = match call.slot(base + READER) {
        Value::Nil => return Ok(false),
        Value::String(piece) if piece.is_empty() => return Ok(false),
        Value::String(piece) => piece,
        number @ (Value::Integer(_) | Value::Float(_)) => number_to_string(call.context(), number),
        _ => return Err(call.error("reader function must return a string")),
    };
    let pieces = pieces(call)?;
    let (length, mut wanted) = (integer_in(call, LENGTH)?, integer_in(call, WANTED)?);
    let length = length.saturating_add(piece.len() as i64);
    call.set_raw(pieces, Value::Integer(pieces.length() + 1), Value::String(piece))?;
    call.set_slot(base + LENGTH, Value::Integer(length));
    if wanted == 0 {
        // PUC Lua reads a binary chunk to its end, and one that is not allowed no further than its start.
        let start = join(call)?;
        wanted = if refusal(mode(call, 3)?, &start).is_some() {
            1
        } else if is_binary(&start) {
            chunk::length(&start).map_or(0, |length| length.max(1) as i64)
        } else {
            i64::MAX
        };
        call.set_slot(base + WANTED, Value::Integer(wanted));
    }
    Ok(wanted == 0 || length < wanted)
}

fn pieces<'gc>(call: &Call<'_, 'gc>) -> Result<Table<'gc>, Error<'gc>> {
    match call.slot(call.scratch() + PIECES) {
        Value::Table(pieces) => Ok(pieces),
        _ => Err(call.state_error()),
    }
}

fn integer_in<'gc>(call: &Call<'_, 'gc>, slot: usize) -> Result<i64, Error<'gc>> {
    match call.slot(call.scratch() + slot) {
        Value::Integer(integer) => Ok(integer),
        _ => Err(call.state_error()),
    }
}

/// The pieces so far in one.
fn join<'gc>(call: &Call<'_, 'gc>) -> Result<Vec<u8>, Error<'gc>> {
    let length = usize::try_from(integer_in(call, LENGTH)?).unwrap_or(usize::MAX);
    call.context().accounting().check(length)?;
    let mut chunk = Vec::with_capacity(length);
    for (_, piece) in pieces(call)?.each() {
        if let Value::String(piece) = piece {
            chunk.extend_from_slice(piece.as_bytes());
        }
    }
    Ok(chunk)
}

fn load_whole<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let name = call.opt_string(2)?.map(|name| c_string(name.as_bytes()));
    let environment = match call.upvalue(0) {
        _ if call.arg_count() >= 4 => Some(call.arg(4)),
        // The globals of a sandbox, whose `load` this is.
        globals @ Value::Table(_) => Some(globals),
        _ => None,
    };
    let mode = mode(call, 3)?;
    let loaded = if let Value::Table(_) | Value::Closure(_) | Value::Native(_) = call.arg(1) {
        let chunk = join(call)?;
        load_chunk(call, &chunk, name.unwrap_or(b"=(load)"), mode, environment)?
    } else {
        let chunk = call.check_string(1)?.as_bytes();
        load_chunk(call, chunk, name.unwrap_or(c_string(chunk)), mode, environment)?
    };
    return_loaded(call, loaded)
}

/// The kinds of chunks that an argument allows.
fn mode<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<&'gc [u8], Error<'gc>> {
    let mode = call.opt_string(index)?.map_or(&b"bt"[..], |mode| c_string(mode.as_bytes()));
    // In a sandbox, text is all there is.
    Ok(match call.upvalue(0) {
        Value::Table(_) if mode.contains(&b't') => b"t",
        Value::Table(_) => b"",
        _ => mode,
    })
}

/// A function, or the message of why there is none.
pub(super) type Loaded<'gc> = Result<Value<'gc>, Vec<u8>>;

/// Why a chunk's kind is not allowed.
fn refusal(mode: &[u8], chunk: &[u8]) -> Option<Vec<u8>> {
    let (kind, letter) = if is_binary(chunk) { ("binary", b'b') } else { ("text", b't') };
    if mode.contains(&letter) {
        return None;
    }
    Some([b"attempt to load a ", kind.as_bytes(), b" chunk (mode is '", mode, b"')"].concat())
}

/// Makes a function of a chunk. Its first upvalue holds `environment`, or the global table.
pub(super) fn load_chunk<'gc>(
    call: &mut Call<'_, 'gc>,
    chunk: &[u8],
    name: &[u8],
    mode: &[u8],
    environment: Option<Value<'gc>>,
) -> Result<Loaded<'gc>, Error<'gc>> {
    if let Some(message) = refusal(mode, chunk) {
        return Ok(Err(message));
    }
    let context = call.context();
    let read = read_chunk_within(chunk, name, context.accounting().room());
    call.charge(fuel::compiled(chunk.len()));
    let function = match read.or(Err(Error::OutOfMemory))? {
        Ok(function) => function,
        Err(error) => return Ok(Err(error.message)),
    };
    let proto = Proto::new(context, function);
    let environment = environment.unwrap_or(Value::Table(context.globals()));
    Ok(Ok(Value::Closure(Closure::of_chunk(context, proto, environment))))
}

fn return_loaded<'gc>(call: &mut Call<'_, 'gc>, loaded: Loaded<'gc>) -> Result<Action, Error<'gc>> {
    match loaded {
        Ok(function) => call.return_value(function),
        Err(message) => {
            let message = Value::String(call.context().string_from(message));
            call.return_values(&[Value::Nil, message])
        }
    }
}

/// Makes a function of the chunk in a file, or in standard input if there is no path.
pub(super) fn load_path<'gc>(
    call: &mut Call<'_, 'gc>,
    path: Option<&[u8]>,
    mode: &[u8],
    environment: Option<Value<'gc>>,
) -> Result<Loaded<'gc>, Error<'gc>> {
    let (file, name) = match path {
        Some(path) => (read_file(call, path)?, [b"@", path].concat()),
        None => (read_standard_input(call)?, b"=stdin".to_vec()),
    };
    match file {
        Ok(file) => load_chunk(call, chunk_of_file(&file), &name, mode, environment),
        Err((action, error)) => {
            let message = [b"cannot ", action.as_bytes(), b" ", &name[1..], b": ", error.reason.as_bytes()].concat();
            Ok(Err(message))
        }
    }
}

fn opt_path<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<Option<&'gc [u8]>, Error<'gc>> {
    if call.arg(index).is_nil() { Ok(None) } else { check_path(call, index).map(Some) }
}

fn load_file<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let path = opt_path(call, 1)?;
    let mode = mode(call, 2)?;
    let environment = (call.arg_count() >= 3).then(|| call.arg(3));
    let loaded = load_path(call, path, mode, environment)?;
    return_loaded(call, loaded)
}

fn do_file<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let at = call.scratch();
    if call.state() == 1 {
        return Ok(Action::Return { first: at as u32, count: call.results() as u32 });
    }
    let path = opt_path(call, 1)?;
    match load_path(call, path, b"bt", None)? {
        Ok(function) => call.call(at, function, &[], WANT_ALL, 1),
        Err(message) => Err(Error::Thrown(Value::String(call.context().string_from(message)))),
    }
}
