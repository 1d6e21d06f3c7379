//! Functions with patterns (manual §6.4.1): `find`, `match`, `gmatch`, `gsub`.
//!
//! The matcher works on a budget. When it is used up, the function is entered again with twice as much, after the driver had
//! a chance to stop: a hostile pattern costs fuel like a loop, and the fuel a program uses does not depend on how its
//! run is sliced.

use super::pieces::Pieces;
use super::start_position;
use crate::call::{Action, Call, append_number};
use crate::error::Error;
use crate::fuel;
use crate::heap::native::{Native, NativeDefinition};
use crate::heap::string::LuaString;
use crate::heap::value::Value;
use crate::interpreter::Indexed;
use crate::text::pattern::{
    CAPTURES_MAX, Capture, Captures, Cursor, Match, Matcher, PatternError, expand_replacement, has_specials,
};
use crate::text::search::find_plain;

/// Steps of the matcher before the driver may stop for the first time.
const FIRST_BUDGET: u64 = 1 << 18;
/// The longest text of a number.
const NUMBER_BYTES_MAX: usize = 32;
/// Doubling the budget more often than this would overflow.
const LEVEL_MAX: u32 = 44;

/// A budget of matcher steps, from which fuel is charged.
struct Budget {
    whole: u64,
    left: u64,
    /// The fuel charged so far.
    charged: u64,
}

impl Budget {
    /// The budget after it was used up `level` times.
    fn new(level: u32) -> Self {
        let whole = FIRST_BUDGET << level.min(LEVEL_MAX);
        Budget { whole, left: whole, charged: 0 }
    }

    /// Charges for the steps since the last time.
    fn charge(&mut self, call: &mut Call<'_, '_>) {
        let due = fuel::pattern_steps(self.whole - self.left);
        call.charge(usize::try_from(due - self.charged).unwrap_or(usize::MAX));
        self.charged = due;
    }
}

fn pattern_error<'gc>(call: &Call<'_, 'gc>, error: PatternError) -> Error<'gc> {
    call.error(error.message())
}

/// A capture as a Lua value.
fn capture_value<'gc>(
    call: &mut Call<'_, 'gc>,
    source: LuaString<'gc>,
    captures: &Captures,
    index: usize,
    whole: Match,
) -> Result<Value<'gc>, Error<'gc>> {
    match captures.get(index, whole) {
        Ok(Capture::Range { start, end }) if end - start == source.len() => Ok(Value::String(source)),
        Ok(Capture::Range { start, end }) => call.string(&source.as_bytes()[start..end]),
        Ok(Capture::Position(position)) => Ok(Value::Integer(position as i64 + 1)),
        Err(error) => Err(pattern_error(call, error)),
    }
}

/// Returns the captures of a match, behind its extent if `with_extent`.
fn return_match<'gc>(
    call: &mut Call<'_, 'gc>,
    source: LuaString<'gc>,
    captures: &Captures,
    found: Match,
    with_extent: bool,
) -> Result<Action, Error<'gc>> {
    // Not into slot 0 on: the arguments have to stay until nothing can fail any more.
    let first = call.scratch();
    let (extent, count) = if with_extent { (2, captures.len()) } else { (0, captures.value_count()) };
    call.reserve(first + extent + count)?;
    if with_extent {
        call.set_slot(first, Value::Integer(found.start as i64 + 1));
        call.set_slot(first + 1, Value::Integer(found.end as i64));
    }
    for index in 0..count {
        let value = capture_value(call, source, captures, index, found)?;
        call.set_slot(first + extent + index, value);
    }
    Ok(Action::Return { first: first as u32, count: (extent + count) as u32 })
}

pub(super) fn find<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    find_or_match(call, true)
}

pub(super) fn match_<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    find_or_match(call, false)
}

/// The state is how often the budget was used up.
fn find_or_match<'gc>(call: &mut Call<'_, 'gc>, find: bool) -> Result<Action, Error<'gc>> {
    let source = call.check_string(1)?;
    let pattern = call.check_string(2)?.as_bytes();
    let text = source.as_bytes();
    let init = start_position(call.opt_integer(3, 1)?, text.len()) - 1;
    if init > text.len() {
        return call.return_value(Value::Nil);
    }
    call.charge(fuel::scanned(pattern.len()));
    if find && (call.arg(4).is_truthy() || !has_specials(pattern)) {
        call.charge(fuel::sought(text.len() - init));
        return match find_plain(&text[init..], pattern) {
            None => call.return_value(Value::Nil),
            Some(offset) => {
                let start = (init + offset) as i64;
                call.return_values(&[Value::Integer(start + 1), Value::Integer(start + pattern.len() as i64)])
            }
        };
    }
    let mut budget = Budget::new(call.state());
    let mut captures = Captures::new();
    let found = Matcher::new(text, pattern).find_at(init, &mut captures, &mut budget.left);
    budget.charge(call);
    match found {
        Ok(Some(found)) => return_match(call, source, &captures, found, find),
        Ok(None) => call.return_value(Value::Nil),
        Err(PatternError::Budget) => call.again(call.state() + 1),
        Err(error) => Err(pattern_error(call, error)),
    }
}

/// What `gmatch` returns. Its values: source, pattern, and where its cursor stands.
pub(in crate::library) const GMATCH_STEP: NativeDefinition =
    NativeDefinition { name: "string.gmatch.step", code: gmatch_step };

pub(super) fn gmatch<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let source = call.check_string(1)?;
    let pattern = call.check_string(2)?;
    let init = start_position(call.opt_integer(3, 1)?, source.len()) - 1;
    let [position, last_end] = cursor_values(Cursor::new(init));
    let values = [Value::String(source), Value::String(pattern), position, last_end];
    let native = Native::new(call.context(), GMATCH_STEP, &values);
    call.return_value(Value::Native(native))
}

/// A cursor as two integers; -1 stands for no match yet.
fn cursor_values<'gc>(cursor: Cursor) -> [Value<'gc>; 2] {
    let last_end = if cursor.last_end == Cursor::NO_MATCH { -1 } else { cursor.last_end as i64 };
    [Value::Integer(cursor.position as i64), Value::Integer(last_end)]
}

fn cursor_of(position: Value<'_>, last_end: Value<'_>) -> Cursor {
    let (Value::Integer(position), Value::Integer(last_end)) = (position, last_end) else {
        return Cursor { position: usize::MAX, last_end: Cursor::NO_MATCH };
    };
    let last_end = usize::try_from(last_end).unwrap_or(Cursor::NO_MATCH);
    Cursor { position: usize::try_from(position).unwrap_or(usize::MAX), last_end }
}

/// One step of `gmatch`. The state is how often the budget was used up.
fn gmatch_step<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (Value::String(source), Value::String(pattern)) = (call.upvalue(0), call.upvalue(1)) else {
        return call.return_value(Value::Nil);
    };
    let mut cursor = cursor_of(call.upvalue(2), call.upvalue(3));
    let mut budget = Budget::new(call.state());
    let mut captures = Captures::new();
    let found = Matcher::unanchored(source.as_bytes(), pattern.as_bytes()).next_match(
        &mut cursor,
        &mut captures,
        &mut budget.left,
    );
    budget.charge(call);
    let result = match found {
        Ok(Some(found)) => return_match(call, source, &captures, found, false),
        Ok(None) => call.return_none(),
        Err(PatternError::Budget) => return call.again(call.state() + 1),
        Err(error) => return Err(pattern_error(call, error)),
    };
    // A match whose captures are in error counts as found; one that there was no room for is looked for again.
    if !matches!(result, Err(Error::OutOfMemory)) {
        let [position, last_end] = cursor_values(cursor);
        call.set_upvalue(2, position);
        call.set_upvalue(3, last_end);
    }
    result
}

/// The states of `gsub`: the start, the return of a callback, and from `GSUB_LEVEL` on how often the budget was used up
/// without finding the next match.
const GSUB_START: u32 = 0;
const GSUB_RESULT: u32 = 1;
const GSUB_LEVEL: u32 = 2;

/// Slots of `gsub` from the first scratch slot on, in use once it has been suspended.
const SLOT_POSITION: usize = 0;
const SLOT_LAST_END: usize = 1;
const SLOT_COUNT: usize = 2;
const SLOT_KEPT: usize = 3;
const SLOT_MATCH_START: usize = 4;
const SLOT_PIECES: usize = 5;
const SLOT_CALL: usize = 6;

/// A substitution under way.
struct Substitution<'gc> {
    source: LuaString<'gc>,
    replacement: Value<'gc>,
    cursor: Cursor,
    /// Matches so far.
    count: i64,
    /// The source up to here is in the result.
    kept: usize,
    /// Whether anything was replaced; if not, the result is the source itself.
    pieces: Option<Pieces<'gc>>,
    /// What follows the pieces.
    text: Vec<u8>,
}

pub(super) fn gsub<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let source = call.check_string(1)?;
    let pattern = call.check_string(2)?.as_bytes();
    let count_max = call.opt_integer(4, i64::MAX)?;
    let replacement = match call.arg(3) {
        Value::Integer(_) | Value::Float(_) => Value::String(call.check_string(3)?),
        value @ (Value::String(_) | Value::Table(_) | Value::Closure(_) | Value::Native(_)) => value,
        _ => return Err(call.type_error(3, "string/function/table")),
    };
    let mut work = Substitution::load(call, source, replacement);
    let state = call.state();
    if state == GSUB_RESULT {
        let base = call.scratch();
        let start = match call.slot(base + SLOT_MATCH_START) {
            Value::Integer(start) => start as usize,
            _ => work.kept,
        };
        let found = Match { start, end: work.cursor.last_end };
        let result = call.slot(base + SLOT_CALL);
        work.replace(call, found, result)?;
    }
    let level = state.saturating_sub(GSUB_LEVEL);
    let mut budget = Budget::new(level);
    let mut captures = Captures::new();
    let mut matcher = Matcher::new(source.as_bytes(), pattern);
    let position_before = work.cursor.position;
    while work.count < count_max {
        let cursor = work.cursor;
        let found = matcher.next_match(&mut work.cursor, &mut captures, &mut budget.left);
        budget.charge(call);
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(PatternError::Budget) => {
                let level = if cursor.position == position_before { level + 1 } else { 0 };
                work.suspend(call, 0)?;
                return call.again(GSUB_LEVEL + level);
            }
            Err(error) => return Err(pattern_error(call, error)),
        };
        work.count += 1;
        match work.replacement {
            Value::String(replacement) => work.expand(call, replacement.as_bytes(), &captures, found)?,
            Value::Table(_) => {
                let key = capture_value(call, source, &captures, 0, found)?;
                match call.machine.index(work.replacement, key)? {
                    Indexed::Value(value) => work.replace(call, found, value)?,
                    Indexed::Call(handler, object) => {
                        return work.call_back(call, found, handler, &[object, key]);
                    }
                }
            }
            function => {
                let mut values = [Value::Nil; CAPTURES_MAX];
                let values = &mut values[..captures.value_count()];
                for (index, value) in values.iter_mut().enumerate() {
                    *value = capture_value(call, source, &captures, index, found)?;
                }
                return work.call_back(call, found, function, values);
            }
        }
    }
    work.finish(call)
}

impl<'gc> Substitution<'gc> {
    /// The substitution as it was suspended, or a new one in the first state.
    fn load(call: &Call<'_, 'gc>, source: LuaString<'gc>, replacement: Value<'gc>) -> Self {
        let (mut cursor, mut count, mut kept, mut pieces) = (Cursor::new(0), 0, 0, None);
        if call.state() != GSUB_START {
            let base = call.scratch();
            let integer = |slot| match call.slot(base + slot) {
                Value::Integer(integer) => integer,
                _ => 0,
            };
            cursor = cursor_of(call.slot(base + SLOT_POSITION), call.slot(base + SLOT_LAST_END));
            (count, kept) = (integer(SLOT_COUNT), usize::try_from(integer(SLOT_KEPT)).unwrap_or(0));
            pieces = Pieces::from_value(call.slot(base + SLOT_PIECES));
        }
        Substitution { source, replacement, cursor, count, kept, pieces, text: Vec::new() }
    }

    /// Adds the source up to the match to the result.
    fn keep_until(&mut self, call: &Call<'_, 'gc>, position: usize) -> Result<(), Error<'gc>> {
        // Only in a damaged image is the match elsewhere.
        let skipped = self.source.as_bytes().get(self.kept..position).ok_or_else(|| call.state_error())?;
        call.grow(&mut self.text, skipped.len())?;
        self.text.extend_from_slice(skipped);
        self.kept = position;
        Ok(())
    }

    /// Adds a replacement string with its captures put in.
    fn expand(
        &mut self,
        call: &mut Call<'_, 'gc>,
        replacement: &[u8],
        captures: &Captures,
        found: Match,
    ) -> Result<(), Error<'gc>> {
        self.keep_until(call, found.start)?;
        let before = self.text.len();
        let source = self.source.as_bytes();
        let mut additional = replacement.len().max(64);
        loop {
            call.grow(&mut self.text, additional)?;
            let length_max = self.text.capacity();
            match expand_replacement(replacement, source, found, captures, length_max, &mut self.text) {
                Ok(()) => break,
                // Only trying tells how long it gets.
                Err(PatternError::ResultTooLarge) => {
                    self.text.truncate(before);
                    additional = additional.saturating_mul(2);
                }
                Err(error) => return Err(pattern_error(call, error)),
            }
        }
        call.charge(fuel::REPLACEMENT + fuel::scanned(replacement.len()) + fuel::copied(self.text.len() - before));
        self.kept = found.end;
        Ok(())
    }

    /// Replaces a match by what a callback or table gave for it; false and nil keep it.
    fn replace(&mut self, call: &mut Call<'_, 'gc>, found: Match, value: Value<'gc>) -> Result<(), Error<'gc>> {
        call.charge(fuel::REPLACEMENT);
        match value {
            Value::Nil | Value::Boolean(false) => return Ok(()),
            Value::String(string) => {
                self.keep_until(call, found.start)?;
                call.grow(&mut self.text, string.len())?;
                call.charge(fuel::STRING + fuel::copied(string.len()));
                self.text.extend_from_slice(string.as_bytes());
            }
            Value::Integer(_) | Value::Float(_) => {
                self.keep_until(call, found.start)?;
                call.grow(&mut self.text, NUMBER_BYTES_MAX)?;
                append_number(value, &mut self.text);
            }
            _ => {
                return Err(call.error(format!("invalid replacement value (a {})", value.type_name())));
            }
        }
        self.kept = found.end;
        Ok(())
    }

    /// Puts everything into slots.
    fn suspend(&mut self, call: &mut Call<'_, 'gc>, match_start: usize) -> Result<(), Error<'gc>> {
        let base = call.scratch();
        call.reserve(base + SLOT_CALL + 1)?;
        if !self.text.is_empty() {
            let pieces = match self.pieces {
                Some(pieces) => pieces,
                None => Pieces::new(call)?,
            };
            pieces.push(call, &self.text)?;
            self.pieces = Some(pieces);
        }
        let [position, last_end] = cursor_values(self.cursor);
        call.set_slot(base + SLOT_POSITION, position);
        call.set_slot(base + SLOT_LAST_END, last_end);
        call.set_slot(base + SLOT_COUNT, Value::Integer(self.count));
        call.set_slot(base + SLOT_KEPT, Value::Integer(self.kept as i64));
        call.set_slot(base + SLOT_MATCH_START, Value::Integer(match_start as i64));
        call.set_slot(base + SLOT_PIECES, self.pieces.map_or(Value::Nil, Pieces::value));
        Ok(())
    }

    /// Suspends the substitution and calls `function` for a replacement.
    fn call_back(
        mut self,
        call: &mut Call<'_, 'gc>,
        found: Match,
        function: Value<'gc>,
        args: &[Value<'gc>],
    ) -> Result<Action, Error<'gc>> {
        let at = call.scratch() + SLOT_CALL;
        // All room first: once suspended, nothing may fail and be tried again.
        call.reserve(at + 1 + args.len())?;
        self.suspend(call, found.start)?;
        call.call_unyieldable(at, function, args, 1, GSUB_RESULT)
    }

    /// Returns the result and the number of matches.
    fn finish(mut self, call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
        let count = Value::Integer(self.count);
        if self.pieces.is_none() && self.kept == 0 && self.text.is_empty() {
            let source = Value::String(self.source);
            return call.return_values(&[source, count]);
        }
        self.keep_until(call, self.source.len())?;
        call.charge(fuel::STRING + fuel::copied(self.text.len()));
        let result = match self.pieces {
            None => call.new_string(self.text)?,
            Some(pieces) => {
                let mut whole = Vec::new();
                pieces.append_to(call, &mut whole)?;
                call.grow(&mut whole, self.text.len())?;
                whole.extend_from_slice(&self.text);
                call.new_string(whole)?
            }
        };
        call.return_values(&[result, count])
    }
}
