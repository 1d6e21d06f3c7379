//! Reading by formats (manual §6.8, `file:read`).
//!
//! A function that reads several values keeps each in a slot of its own and notes how far it is in its state, and a value is taken
//! from the stream only when there is memory for it: tried again after a collection, it goes on where it was.

use super::handle::FileHandle;
use super::stream::Stream;
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel;
use crate::heap::accounting::OutOfMemory;
use crate::heap::value::Value;
use crate::host::files::FileError;
use crate::text::number::{Number, parse_number};

/// What ended reading.
enum Failure<'gc> {
    File(FileError),
    Lua(Error<'gc>),
}

impl From<FileError> for Failure<'_> {
    fn from(error: FileError) -> Self {
        Failure::File(error)
    }
}

impl<'gc> From<Error<'gc>> for Failure<'gc> {
    fn from(error: Error<'gc>) -> Self {
        Failure::Lua(error)
    }
}

impl From<OutOfMemory> for Failure<'_> {
    fn from(_: OutOfMemory) -> Self {
        Failure::Lua(Error::OutOfMemory)
    }
}

/// A value that was read, or none if there was none.
type Piece<'gc> = Result<Option<Value<'gc>>, Failure<'gc>>;

/// What reading came to.
pub(super) enum Outcome {
    /// So many values are in the slots from [`Call::scratch`] on. The last one is nil if it could not be read.
    Values(usize),
    Failed(FileError),
}

/// Where the formats of a call are.
#[derive(Clone, Copy)]
pub(super) enum Formats {
    /// In the arguments from this one on.
    Arguments(usize),
    /// In the function's own values from this one on.
    Upvalues(usize),
}

impl Formats {
    fn count(self, call: &Call<'_, '_>) -> usize {
        match self {
            Formats::Arguments(first) => (call.arg_count() + 1).saturating_sub(first),
            Formats::Upvalues(first) => call.upvalue_count().saturating_sub(first),
        }
    }

    fn get<'gc>(self, call: &Call<'_, 'gc>, index: usize) -> Value<'gc> {
        match self {
            Formats::Arguments(first) => call.arg(first + index),
            Formats::Upvalues(first) => call.upvalue(first + index),
        }
    }

    /// The number of a format in error messages; an iterator's come after its first argument.
    fn number(self, index: usize) -> usize {
        match self {
            Formats::Arguments(first) => first + index,
            Formats::Upvalues(_) => 2 + index,
        }
    }
}

/// Reads a value for each format, up to the first that fails; a line if there is none. The state of the call counts the
/// values that were read.
pub(super) fn read<'gc>(
    call: &mut Call<'_, 'gc>,
    handle: &FileHandle,
    formats: Formats,
) -> Result<Outcome, Error<'gc>> {
    let mut borrowed = handle.stream.borrow_mut();
    let Some(stream) = borrowed.as_mut() else { return Ok(Outcome::Failed(FileError::bad_descriptor())) };
    let count = formats.count(call);
    let base = call.scratch();
    let mut done = call.state() as usize;
    if done == 0 {
        stream.try_again();
    }
    call.reserve(base + count.max(1))?;
    while done < count.max(1) {
        let piece = if count == 0 { read_line(call, stream, false) } else { read_format(call, stream, formats, done) };
        let value = match piece {
            Ok(value) => value,
            Err(Failure::File(error)) => return Ok(Outcome::Failed(error)),
            Err(Failure::Lua(error)) => return Err(error),
        };
        call.set_slot(base + done, value.unwrap_or(Value::Nil));
        done += 1;
        if value.is_none() {
            break;
        }
        call.advance(done as u32);
    }
    Ok(Outcome::Values(done))
}

/// As [`read`], with the values or the failure as the function's results.
pub(super) fn read_and_return<'gc>(
    call: &mut Call<'_, 'gc>,
    handle: &FileHandle,
    formats: Formats,
) -> Result<Action, Error<'gc>> {
    match read(call, handle, formats)? {
        Outcome::Values(count) => Ok(Action::Return { first: call.scratch() as u32, count: count as u32 }),
        Outcome::Failed(error) => super::handle::return_failure(call, &error, None),
    }
}

fn read_format<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream, formats: Formats, index: usize) -> Piece<'gc> {
    let number = formats.number(index);
    let format = match formats.get(call, index) {
        Value::String(format) => format,
        value @ (Value::Integer(_) | Value::Float(_)) => {
            let Some(count) = value.to_integer() else {
                return Err(call.arg_error(number, "number has no integer representation").into());
            };
            return read_bytes(call, stream, count);
        }
        other => {
            let message = [b"string expected, got ", &call.machine.type_name_of(other)[..]].concat();
            return Err(call.machine.arg_error(number, &message).into());
        }
    };
    let letters = format.as_bytes();
    match letters.strip_prefix(b"*").unwrap_or(letters).first() {
        Some(b'n') => read_number(call, stream),
        Some(b'l') => read_line(call, stream, false),
        Some(b'L') => read_line(call, stream, true),
        Some(b'a') => read_all(call, stream),
        _ => Err(call.arg_error(number, "invalid format").into()),
    }
}

/// Fills the stream with another block, which is paid for. What is held may not be more than there is memory for.
fn fill<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream, want: usize) -> Result<bool, Failure<'gc>> {
    let before = stream.unread().len();
    call.context().accounting().check(before)?;
    let more = stream.fill(want)?;
    call.charge(fuel::FILL + fuel::copied(stream.unread().len() - before));
    Ok(more)
}

/// Takes `count` bytes, of which the last `dropped` are left out.
fn take<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream, count: usize, dropped: usize) -> Piece<'gc> {
    let length = count - dropped;
    call.context().accounting().check(length)?;
    call.charge(fuel::copied(length));
    let string = if dropped == 0 && count > SHORT_LINE_MAX {
        call.context().string_from(stream.take(count))
    } else {
        let string = call.context().string(&stream.unread()[..length]);
        stream.skip(count);
        string
    };
    Ok(Some(Value::String(string)))
}

/// Up to here a copy is made where the bytes lie.
const SHORT_LINE_MAX: usize = 4096;

fn read_line<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream, keep_end: bool) -> Piece<'gc> {
    let mut searched = 0;
    loop {
        let unread = stream.unread();
        if let Some(found) = unread[searched..].iter().position(|byte| *byte == b'\n') {
            return take(call, stream, searched + found + 1, usize::from(!keep_end));
        }
        searched = unread.len();
        if !fill(call, stream, 1)? {
            return if searched == 0 { Ok(None) } else { take(call, stream, searched, 0) };
        }
    }
}

fn read_all<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream) -> Piece<'gc> {
    while fill(call, stream, 1)? {}
    take(call, stream, stream.unread().len(), 0)
}

/// Up to `count` bytes; for 0, an empty string unless the file is at its end.
fn read_bytes<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream, count: i64) -> Piece<'gc> {
    let count = usize::try_from(count).map_err(|_| call.error("not enough memory"))?;
    if count == 0 {
        let more = !stream.unread().is_empty() || fill(call, stream, 1)?;
        return if more { take(call, stream, 0, 0) } else { Ok(None) };
    }
    while stream.unread().len() < count && fill(call, stream, count - stream.unread().len())? {}
    match stream.unread().len().min(count) {
        0 => Ok(None),
        held => take(call, stream, held, 0),
    }
}

/// The longest numeral that is read (PUC: L_MAXLENNUM).
const NUMERAL_LENGTH_MAX: usize = 200;

/// The start of what may be a numeral. Bytes are passed over as they are recognized, the one after them never.
struct Numeral<'s> {
    stream: &'s mut Stream,
    text: Vec<u8>,
    too_long: bool,
}

impl Numeral<'_> {
    /// Adds the next byte, if it is one of those and there is room.
    fn accept(&mut self, is_wanted: impl Fn(u8) -> bool) -> Result<bool, FileError> {
        match self.stream.peek()? {
            Some(byte) if is_wanted(byte) => {
                if self.text.len() >= NUMERAL_LENGTH_MAX {
                    self.too_long = true;
                    return Ok(false);
                }
                self.text.push(byte);
                self.stream.skip(1);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Adds digits and answers how many.
    fn digits(&mut self, is_digit: fn(&u8) -> bool) -> Result<usize, FileError> {
        let mut count = 0;
        while self.accept(|byte| is_digit(&byte))? {
            count += 1;
        }
        Ok(count)
    }
}

fn read_number<'gc>(call: &mut Call<'_, 'gc>, stream: &mut Stream) -> Piece<'gc> {
    while let Some(b' ' | b'\t'..=b'\r') = stream.peek()? {
        call.charge(1);
        stream.skip(1);
    }
    call.charge(fuel::FILL);
    let mut numeral = Numeral { stream, text: Vec::new(), too_long: false };
    let is_sign = |byte| matches!(byte, b'+' | b'-');
    numeral.accept(is_sign)?;
    let mut digits = 0;
    let mut is_digit: fn(&u8) -> bool = u8::is_ascii_digit;
    let mut is_exponent_mark: fn(u8) -> bool = |byte| matches!(byte, b'e' | b'E');
    if numeral.accept(|byte| byte == b'0')? {
        if numeral.accept(|byte| matches!(byte, b'x' | b'X'))? {
            is_digit = u8::is_ascii_hexdigit;
            is_exponent_mark = |byte| matches!(byte, b'p' | b'P');
        } else {
            digits = 1;
        }
    }
    digits += numeral.digits(is_digit)?;
    if numeral.accept(|byte| byte == b'.')? {
        digits += numeral.digits(is_digit)?;
    }
    if digits > 0 && numeral.accept(is_exponent_mark)? {
        numeral.accept(is_sign)?;
        numeral.digits(u8::is_ascii_digit)?;
    }
    if numeral.too_long {
        return Ok(None);
    }
    Ok(parse_number(&numeral.text).map(|number| match number {
        Number::Integer(integer) => Value::Integer(integer),
        Number::Float(float) => Value::Float(float),
    }))
}
