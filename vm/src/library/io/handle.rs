//! File handles: the userdata that scripts hold, and the functions on one of them (manual §6.8, `file:…`).

use std::cell::RefCell;
use std::rc::Rc;

use super::read::{Formats, read_and_return};
use super::stream::Stream;
use super::{Functions, lines};
use crate::call::{Action, Call, c_string};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::userdata::Userdata;
use crate::heap::value::Value;
use crate::host::files::{Buffering, File, FileError, ProcessEnd, StandardStream, Whence};
use crate::library::base::append_identity;
use crate::text::number::{write_float_as_c, write_integer};

/// The methods, in `__index`.
pub(in crate::library) const METHODS: Functions = &[
    ("io.file.close", close),
    ("io.file.flush", flush),
    ("io.file.lines", file_lines),
    ("io.file.read", read),
    ("io.file.seek", seek),
    ("io.file.setvbuf", set_buffering),
    ("io.file.write", write),
];

/// The metamethods.
pub(in crate::library) const METAMETHODS: Functions =
    &[("io.file.__gc", finalize), ("io.file.__close", finalize), ("io.file.__tostring", to_string)];

/// What a file handle's userdata holds. There is no stream in a closed one.
pub(crate) struct FileHandle {
    pub stream: Rc<RefCell<Option<Stream>>>,
    /// Which of the standard streams it is; those stay open.
    standard: Option<StandardStream>,
}

impl Drop for FileHandle {
    /// What was written is not lost when the program ends without finalizers.
    fn drop(&mut self) {
        if let Ok(mut stream) = self.stream.try_borrow_mut()
            && let Some(stream) = stream.as_mut()
        {
            // There is nobody left to be told.
            let _ = stream.flush();
        }
    }
}

impl FileHandle {
    fn new(context: Context<'_>, stream: Option<Stream>, standard: Option<StandardStream>) -> FileHandle {
        let is_open = stream.is_some();
        let stream = Rc::new(RefCell::new(stream));
        if is_open {
            let mut streams = context.root().streams.borrow_mut();
            if streams.len() == streams.capacity() {
                streams.retain(|stream| stream.strong_count() > 0);
            }
            streams.push(Rc::downgrade(&stream));
        }
        FileHandle { stream, standard }
    }

    /// What an image keeps of it: nothing of a closed one; of a standard stream its kind and what is in its buffers. Other files are the
    /// system's.
    pub(crate) fn image(&self) -> Option<Vec<u8>> {
        match (&*self.stream.borrow(), self.standard) {
            (None, _) => Some(Vec::new()),
            (Some(stream), Some(standard)) => {
                let mut bytes = vec![standard as u8];
                stream.append_image(&mut bytes);
                Some(bytes)
            }
            (Some(_), None) => None,
        }
    }

    /// The file of an image, with the host's stream of that kind. A host without files has none: reading finds the end, and
    /// writing fails.
    pub(crate) fn restore(context: Context<'_>, bytes: &[u8]) -> Option<FileHandle> {
        let Some((kind, rest)) = bytes.split_first() else {
            return Some(FileHandle::new(context, None, None));
        };
        let kinds = [StandardStream::Input, StandardStream::Output, StandardStream::Error];
        let standard = *kinds.get(usize::from(*kind))?;
        let mut stream = match context.root().host.borrow_mut().files() {
            Some(files) => Stream::standard(standard, files.standard(standard)),
            None => Stream::standard(standard, Box::new(NoFile)),
        };
        stream.restore(rest).then(|| FileHandle::new(context, Some(stream), Some(standard)))
    }

    fn is_standard(&self) -> bool {
        self.standard.is_some()
    }

    fn is_closed(&self) -> bool {
        self.stream.borrow().is_none()
    }
}

/// A standard stream of a host that has none.
struct NoFile;

impl File for NoFile {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, FileError> {
        Ok(0)
    }

    fn write(&mut self, _: &[u8]) -> Result<(), FileError> {
        Err(FileError::not_supported())
    }

    fn seek(&mut self, _: Whence, _: i64) -> Result<u64, FileError> {
        Err(FileError::not_supported())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

/// A file handle for a stream. The metatable is set by the caller, which has it.
pub(super) fn new_handle<'gc>(
    context: Context<'gc>,
    stream: Stream,
    standard: Option<StandardStream>,
) -> Userdata<'gc> {
    Userdata::new(context, Box::new(FileHandle::new(context, Some(stream), standard)))
}

/// Whether a value is a file handle, and whether that is closed.
pub(super) fn status(value: Value<'_>) -> Option<&'static str> {
    let Value::Userdata(userdata) = value else { return None };
    let handle = userdata.downcast::<FileHandle>()?;
    Some(if handle.is_closed() { "closed file" } else { "file" })
}

/// The file handle in argument `index`, open or not.
pub(super) fn check_handle<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<&'gc FileHandle, Error<'gc>> {
    match call.arg(index) {
        Value::Userdata(userdata) => userdata.downcast().ok_or_else(|| call.type_error(index, "FILE*")),
        _ => Err(call.type_error(index, "FILE*")),
    }
}

/// The open file handle in argument `index`.
pub(super) fn check_open<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<&'gc FileHandle, Error<'gc>> {
    let handle = check_handle(call, index)?;
    if handle.is_closed() { Err(call.error("attempt to use a closed file")) } else { Ok(handle) }
}

/// What a failed operation on a file returns: nil, the reason with the path before it, and the code.
pub(in crate::library) fn return_failure<'gc>(
    call: &mut Call<'_, 'gc>,
    error: &FileError,
    path: Option<&[u8]>,
) -> Result<Action, Error<'gc>> {
    let message = match path {
        Some(path) => [path, b": ", error.reason.as_bytes()].concat(),
        None => error.reason.clone().into_bytes(),
    };
    let message = Value::String(call.context().string(&message));
    call.return_values(&[Value::Nil, message, Value::Integer(i64::from(error.code))])
}

/// True, or the failure.
pub(in crate::library) fn return_result<'gc>(
    call: &mut Call<'_, 'gc>,
    result: Result<(), FileError>,
    path: Option<&[u8]>,
) -> Result<Action, Error<'gc>> {
    match result {
        Ok(()) => call.return_value(Value::Boolean(true)),
        Err(error) => return_failure(call, &error, path),
    }
}

/// How a process ended: true or nil, "exit" or "signal", and the code.
pub(in crate::library) fn return_process_end<'gc>(
    call: &mut Call<'_, 'gc>,
    end: ProcessEnd,
) -> Result<Action, Error<'gc>> {
    let (what, code) = match end {
        ProcessEnd::Exit(code) => ("exit", code),
        ProcessEnd::Signal(signal) => ("signal", signal),
    };
    let success = if end == ProcessEnd::Exit(0) { Value::Boolean(true) } else { Value::Nil };
    let what = Value::String(call.context().string(what.as_bytes()));
    call.return_values(&[success, what, Value::Integer(i64::from(code))])
}

/// Closes a handle that is open.
pub(super) fn close_handle<'gc>(call: &mut Call<'_, 'gc>, handle: &FileHandle) -> Result<Action, Error<'gc>> {
    if handle.is_standard() {
        let message = Value::String(call.context().string(b"cannot close standard file"));
        return call.return_values(&[Value::Nil, message]);
    }
    match handle.stream.take().map(Stream::close) {
        Some(Ok(Some(end))) => return_process_end(call, end),
        Some(Err(error)) => return_failure(call, &error, None),
        Some(Ok(None)) | None => call.return_value(Value::Boolean(true)),
    }
}

/// Does something with the stream of a handle that is open.
pub(super) fn with_stream<T>(
    handle: &FileHandle,
    work: impl FnOnce(&mut Stream) -> Result<T, FileError>,
) -> Result<T, FileError> {
    handle.stream.borrow_mut().as_mut().map_or_else(|| Err(FileError::bad_descriptor()), work)
}

fn close<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_open(call, 1)?;
    close_handle(call, handle)
}

/// `__gc` and `__close`.
fn finalize<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_handle(call, 1)?;
    if !handle.is_standard()
        && let Some(stream) = handle.stream.take()
    {
        // There is nobody to be told.
        let _ = stream.close();
    }
    call.return_none()
}

fn to_string<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_handle(call, 1)?;
    let mut text = b"file (".to_vec();
    if handle.is_closed() {
        text.extend_from_slice(b"closed");
    } else {
        append_identity(call.context(), call.arg(1), &mut text);
    }
    text.push(b')');
    let text = call.string(&text)?;
    call.return_value(text)
}

fn flush<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_open(call, 1)?;
    let result = with_stream(handle, Stream::flush);
    return_result(call, result, None)
}

fn file_lines<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    check_open(call, 1)?;
    let file = call.arg(1);
    let iterator = lines::iterator(call, file, false)?;
    call.return_value(iterator)
}

fn read<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_open(call, 1)?;
    read_and_return(call, handle, Formats::Arguments(2))
}

fn write<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_open(call, 1)?;
    let file = call.arg(1);
    write_arguments(call, file, handle, 2)
}

/// Writes the arguments from `first` on and returns the file.
pub(super) fn write_arguments<'gc>(
    call: &mut Call<'_, 'gc>,
    file: Value<'gc>,
    handle: &FileHandle,
    first: usize,
) -> Result<Action, Error<'gc>> {
    let mut result = Ok(());
    let mut number = Vec::new();
    for index in first..=call.arg_count() {
        number.clear();
        let bytes = match call.arg(index) {
            Value::Integer(integer) => {
                write_integer(integer, &mut number);
                &number[..]
            }
            Value::Float(float) => {
                write_float_as_c(float, &mut number);
                &number[..]
            }
            _ => call.check_string(index)?.as_bytes(),
        };
        call.charge(fuel::STRING + fuel::copied(bytes.len()));
        // After a failure arguments are only checked.
        if result.is_ok() {
            result = with_stream(handle, |stream| stream.write(bytes));
        }
    }
    match result {
        Ok(()) => call.return_value(file),
        Err(error) => return_failure(call, &error, None),
    }
}

fn seek<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_open(call, 1)?;
    let whence = match call.check_option(2, Some("cur"), &["set", "cur", "end"])? {
        0 => Whence::Start,
        1 => Whence::Current,
        _ => Whence::End,
    };
    let offset = call.opt_integer(3, 0)?;
    match with_stream(handle, |stream| stream.seek(whence, offset)) {
        Ok(position) => call.return_value(Value::Integer(i64::try_from(position).unwrap_or(i64::MAX))),
        Err(error) => return_failure(call, &error, None),
    }
}

/// The size that a script asks for is a hint, and not taken.
fn set_buffering<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let handle = check_open(call, 1)?;
    let buffering = match call.check_option(2, None, &["no", "full", "line"])? {
        0 => Buffering::No,
        1 => Buffering::Full,
        _ => Buffering::Line,
    };
    call.opt_integer(3, 0)?;
    let result = with_stream(handle, |stream| stream.set_buffering(buffering));
    return_result(call, result, None)
}

/// A path as C sees it.
pub(in crate::library) fn check_path<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<&'gc [u8], Error<'gc>> {
    call.check_string(index).map(|path| c_string(path.as_bytes()))
}
