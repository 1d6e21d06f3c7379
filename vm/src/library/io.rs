//! The input and output library (manual §6.8), on the files that the host gives.
//!
//! A file handle is a userdata with a stream, whose buffers are this library's; the host moves blocks. Standard output is the
//! exception: `print` writes there too, so its buffer is the host's. In a host without files the whole library is absent.

mod handle;
mod lines;
mod read;
mod stream;

use super::{Functions, fill, name_permanent, set_field};
use crate::call::{Action, Call, c_string};
use crate::context::{Context, SharedFiles};
use crate::error::Error;
use crate::fuel;
use crate::heap::table::Table;
use crate::heap::userdata::Userdata;
use crate::heap::value::Value;
use crate::host::files::{File, FileError, Files, OpenMode, StandardStream};

pub(crate) use handle::FileHandle;
pub(super) use handle::{METAMETHODS, METHODS};
use handle::{check_open, close_handle, new_handle, with_stream, write_arguments};
pub(super) use handle::{check_path, return_failure, return_process_end, return_result};
pub(super) use lines::STEP as LINES_STEP;
use read::{Formats, read_and_return};
pub(crate) use stream::Stream;

pub(super) const FUNCTIONS: Functions = &[
    ("io.close", close),
    ("io.flush", flush),
    ("io.input", input),
    ("io.lines", lines::io_lines),
    ("io.open", open_file),
    ("io.output", output),
    ("io.popen", open_process),
    ("io.read", read),
    ("io.tmpfile", open_temporary),
    ("io.type", file_type),
    ("io.write", write),
];

/// Makes the metatable of files and the standard streams.
pub(super) fn open<'gc>(context: Context<'gc>, library: Table<'gc>) {
    let methods = Table::new(context, 0, METHODS.len());
    fill(context, methods, METHODS);
    let metatable = Table::new(context, 0, METAMETHODS.len() + 2);
    fill(context, metatable, METAMETHODS);
    set_field(context, metatable, "__index", Value::Table(methods));
    set_field(context, metatable, "__name", Value::String(context.string(b"FILE*")));
    name_permanent(context, "io.file", Value::Table(metatable));
    name_permanent(context, "io.file.__index", Value::Table(methods));
    let standard = |name: &str, kind: StandardStream| {
        let stream = {
            let mut host = context.root().host.borrow_mut();
            host.files().expect("the library is opened only for a host with files").standard(kind)
        };
        let file = new_handle(context, Stream::standard(kind, stream), Some(kind));
        context.set_userdata_metatable(file, Some(metatable));
        set_field(context, library, name, Value::Userdata(file));
        name_permanent(context, &format!("io.{name}"), Value::Userdata(file));
        file
    };
    let input = standard("stdin", StandardStream::Input);
    let output = standard("stdout", StandardStream::Output);
    standard("stderr", StandardStream::Error);
    context.update_registered(|registered| registered.files = Some(SharedFiles { metatable, input, output }));
}

fn shared<'gc>(call: &Call<'_, 'gc>) -> SharedFiles<'gc> {
    call.context().registered().files.expect("set when the library was opened")
}

/// Asks the host's file system; one that the host has taken away since cannot do anything.
pub(super) fn with_files<T>(
    context: Context<'_>,
    work: impl FnOnce(&mut dyn Files) -> Result<T, FileError>,
) -> Result<T, FileError> {
    match context.root().host.borrow_mut().files() {
        Some(files) => work(files),
        None => Err(FileError::not_supported()),
    }
}

/// A file handle for a file just opened.
fn make_file<'gc>(call: &Call<'_, 'gc>, file: Box<dyn File>, mode: OpenMode) -> Value<'gc> {
    let userdata = new_handle(call.context(), Stream::new(file, mode.reads(), mode.writes()), None);
    call.context().set_userdata_metatable(userdata, Some(shared(call).metatable));
    Value::Userdata(userdata)
}

/// Opens a file for a function that throws if it cannot be opened.
fn open_named<'gc>(call: &mut Call<'_, 'gc>, path: &[u8], mode: OpenMode) -> Result<Value<'gc>, Error<'gc>> {
    call.charge(fuel::OPEN);
    match with_files(call.context(), |files| files.open(path, mode)) {
        Ok(file) => Ok(make_file(call, file, mode)),
        Err(error) => Err(call.error([b"cannot open file '", path, b"' (", error.reason.as_bytes(), b")"].concat())),
    }
}

/// What a file holds, or what could not be done with it.
pub(super) type Content = Result<Vec<u8>, (&'static str, FileError)>;

/// Reads a whole file.
pub(super) fn read_file<'gc>(call: &mut Call<'_, 'gc>, path: &[u8]) -> Result<Content, Error<'gc>> {
    call.charge(fuel::OPEN);
    match with_files(call.context(), |files| files.open(path, OpenMode::Read)) {
        Ok(file) => read_rest(call, &mut Stream::new(file, true, false)),
        Err(error) => Ok(Err(("open", error))),
    }
}

/// Reads what is left of standard input.
pub(super) fn read_standard_input<'gc>(call: &mut Call<'_, 'gc>) -> Result<Content, Error<'gc>> {
    let Value::Userdata(input) = call.context().permanent(b"io.stdin") else {
        return Ok(Err(("read", FileError::not_supported())));
    };
    match default_handle(input).stream.borrow_mut().as_mut() {
        Some(stream) => {
            stream.try_again();
            read_rest(call, stream)
        }
        None => Ok(Err(("read", FileError::bad_descriptor()))),
    }
}

/// Takes the bytes from the stream only when there is memory for them.
fn read_rest<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream) -> Result<Content, Error<'gc>> {
    loop {
        let before = stream.unread().len();
        let more = stream.fill(before);
        let held = stream.unread().len();
        call.charge(fuel::copied(held - before));
        call.context().accounting().check(held)?;
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(stream.take(held))),
            Err(error) => return Ok(Err(("read", error))),
        }
    }
}

/// Whether a file can be opened for reading.
pub(super) fn is_readable(call: &mut Call<'_, '_>, path: &[u8]) -> bool {
    call.charge(fuel::OPEN);
    with_files(call.context(), |files| files.open(path, OpenMode::Read)).is_ok()
}

/// The handle, or the failure.
fn return_file<'gc>(
    call: &mut Call<'_, 'gc>,
    file: Result<Box<dyn File>, FileError>,
    mode: OpenMode,
    path: Option<&[u8]>,
) -> Result<Action, Error<'gc>> {
    match file {
        Ok(file) => {
            let file = make_file(call, file, mode);
            call.return_value(file)
        }
        Err(error) => return_failure(call, &error, path),
    }
}

fn open_file<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let path = check_path(call, 1)?;
    let mode = call.opt_string(2)?.map_or(&b"r"[..], |mode| c_string(mode.as_bytes()));
    let mode = open_mode(mode).ok_or_else(|| call.arg_error(2, "invalid mode"))?;
    call.charge(fuel::OPEN);
    let file = with_files(call.context(), |files| files.open(path, mode));
    return_file(call, file, mode, Some(path))
}

/// `r`, `w` or `a`, a `+` perhaps, and any number of `b`.
fn open_mode(mode: &[u8]) -> Option<OpenMode> {
    let (letter, rest) = mode.split_first()?;
    let (updates, rest) = match rest {
        [b'+', rest @ ..] => (true, rest),
        _ => (false, rest),
    };
    if rest.iter().any(|letter| *letter != b'b') {
        return None;
    }
    Some(match (letter, updates) {
        (b'r', false) => OpenMode::Read,
        (b'r', true) => OpenMode::ReadUpdate,
        (b'w', false) => OpenMode::Write,
        (b'w', true) => OpenMode::WriteUpdate,
        (b'a', false) => OpenMode::Append,
        (b'a', true) => OpenMode::AppendUpdate,
        _ => return None,
    })
}

fn open_process<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let command = check_path(call, 1)?;
    let mode = match call.opt_string(2)?.map_or(&b"r"[..], |mode| c_string(mode.as_bytes())) {
        b"r" => OpenMode::Read,
        b"w" => OpenMode::Write,
        _ => return Err(call.arg_error(2, "invalid mode")),
    };
    call.charge(fuel::OPEN);
    flush_all(call.context());
    let started = match call.context().root().host.borrow_mut().files() {
        Some(files) => files.start_process(command, mode),
        None => None,
    };
    match started {
        Some(file) => return_file(call, file, mode, Some(command)),
        None => Err(call.error("'popen' not supported")),
    }
}

/// Gives the system what was written to any file, before a process may read it.
fn flush_all(context: Context<'_>) {
    for stream in context.root().streams.borrow().iter().filter_map(std::rc::Weak::upgrade) {
        if let Some(stream) = stream.borrow_mut().as_mut() {
            // C does not tell of a failure here either.
            let _ = stream.flush_written();
        }
    }
}

fn open_temporary<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    call.charge(fuel::OPEN);
    let file = with_files(call.context(), |files| files.open_temporary());
    return_file(call, file, OpenMode::WriteUpdate, None)
}

fn close<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = if call.arg_count() == 0 {
        let output = default_handle(shared(call).output);
        if output.stream.borrow().is_none() {
            return Err(call.error("attempt to use a closed file"));
        }
        output
    } else {
        check_open(call, 1)?
    };
    close_handle(call, handle)
}

fn default_handle<'gc>(file: Userdata<'gc>) -> &'gc FileHandle {
    file.downcast().expect("the default files are files")
}

/// The default input or output, which must be open.
fn open_default<'gc>(call: &Call<'_, 'gc>, file: Userdata<'gc>, name: &str) -> Result<&'gc FileHandle, Error<'gc>> {
    let handle = default_handle(file);
    if handle.stream.borrow().is_none() {
        return Err(call.error(format!("default {name} file is closed")));
    }
    Ok(handle)
}

fn input<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if let Some(file) = chosen_default(call, OpenMode::Read)? {
        call.context().update_registered(|registered| {
            if let Some(files) = &mut registered.files {
                files.input = file;
            }
        });
    }
    let input = Value::Userdata(shared(call).input);
    call.return_value(input)
}

fn output<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if let Some(file) = chosen_default(call, OpenMode::Write)? {
        call.context().update_registered(|registered| {
            if let Some(files) = &mut registered.files {
                files.output = file;
            }
        });
    }
    let output = Value::Userdata(shared(call).output);
    call.return_value(output)
}

/// The file that argument 1 makes a default one: a handle, or the name of a file to open.
fn chosen_default<'gc>(call: &mut Call<'_, 'gc>, mode: OpenMode) -> Result<Option<Userdata<'gc>>, Error<'gc>> {
    let file = match call.arg(1) {
        Value::Nil => return Ok(None),
        Value::String(_) | Value::Integer(_) | Value::Float(_) => {
            let path = check_path(call, 1)?;
            open_named(call, path, mode)?
        }
        other => {
            check_open(call, 1)?;
            other
        }
    };
    match file {
        Value::Userdata(file) => Ok(Some(file)),
        _ => Ok(None),
    }
}

fn read<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = open_default(call, shared(call).input, "input")?;
    read_and_return(call, handle, Formats::Arguments(1))
}

fn write<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let output = shared(call).output;
    let handle = open_default(call, output, "output")?;
    write_arguments(call, Value::Userdata(output), handle, 1)
}

fn flush<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = open_default(call, shared(call).output, "output")?;
    let result = with_stream(handle, Stream::flush);
    return_result(call, result, None)
}

fn file_type<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let value = call.check_any(1)?;
    let status = handle::status(value).map_or(Value::Nil, |text| Value::String(call.context().string(text.as_bytes())));
    call.return_value(status)
}
