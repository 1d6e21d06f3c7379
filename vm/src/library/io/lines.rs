//! `lines`: iterators over what a file holds.

use super::handle::{check_open, check_path, close_handle};
use super::read::{Formats, Outcome, read};
use super::{FileHandle, open_named, shared};
use crate::call::{Action, Call};
use crate::error::Error;
use crate::heap::native::{Native, NativeDefinition};
use crate::heap::value::Value;
use crate::host::files::OpenMode;

/// The most formats an iterator takes.
const FORMATS_MAX: usize = 250;

/// Its own values: the file, whether it closes the file at the end, and the formats.
pub(in crate::library) const STEP: NativeDefinition = NativeDefinition { name: "io.lines.step", code: step };
const FIRST_FORMAT: usize = 2;

/// An iterator over `file` by the formats from argument 2 on.
pub(super) fn iterator<'gc>(call: &Call<'_, 'gc>, file: Value<'gc>, closes: bool) -> Result<Value<'gc>, Error<'gc>> {
    let formats = call.arg_count().saturating_sub(1);
    if formats > FORMATS_MAX {
        return Err(call.arg_error(FORMATS_MAX + 2, "too many arguments"));
    }
    let own = [file, Value::Boolean(closes)].into_iter().chain((2..=formats + 1).map(|index| call.arg(index)));
    Ok(Value::Native(Native::new(call.context(), STEP, &own.collect::<Vec<_>>())))
}

/// `io.lines(path, ...)`: iterator, two nils, and the file as the loop's variable to close; without a path the iterator only.
pub(super) fn io_lines<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.arg(1).is_nil() {
        let input = Value::Userdata(shared(call).input);
        // In place of the argument, for its checks and their messages.
        call.reserve(2)?;
        call.set_slot(1, input);
        if call.arg_count() > 0 {
            check_open(call, 1)?;
        } else if super::handle::status(input) != Some("file") {
            return Err(call.error("attempt to use a closed file"));
        }
        let iterator = iterator(call, input, false)?;
        return call.return_value(iterator);
    }
    let path = check_path(call, 1)?;
    let file = open_named(call, path, OpenMode::Read)?;
    let iterator = iterator(call, file, true)?;
    call.return_values(&[iterator, Value::Nil, Value::Nil, file])
}

fn step<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let Value::Userdata(file) = call.upvalue(0) else { return Err(call.state_error()) };
    let handle: &FileHandle = file.downcast().ok_or_else(|| call.state_error())?;
    if handle.stream.borrow().is_none() {
        return Err(call.error("file is already closed"));
    }
    let count = match read(call, handle, Formats::Upvalues(FIRST_FORMAT))? {
        Outcome::Values(count) => count,
        Outcome::Failed(error) => return Err(call.error(&error.reason)),
    };
    let first = call.scratch();
    if !call.slot(first).is_nil() {
        return Ok(Action::Return { first: first as u32, count: count as u32 });
    }
    if call.upvalue(1).is_truthy() {
        // Only its failure would be told, and reading has come to its end.
        let _ = close_handle(call, handle)?;
    }
    call.return_none()
}
