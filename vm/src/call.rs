//! The window through which a native function sees its call: arguments in, results out, both in place on the Lua stack.
//!
//! Slot 0 is where the function itself was and where its results go; arguments are slots 1 to `arg_count`; slots
//! after them are scratch space. A native function does not call Lua itself: it returns [`Action::Call`] and is entered
//! again, with the state it named, when the call is over ([`Call::call_now`] is a quicker way to the same). What it needs to
//! remember meanwhile it keeps in its slots, so a run can be stopped and saved in the middle of `table.sort`.
//!
//! A call that is entered again may come from an image, whose bytes nobody vouches for. Its state and slots may then be
//! anything; all that holds is that some twenty slots follow the arguments. So a function checks what it finds there, and
//! reserves further slots at every entry, not only at the first.

use std::cell::Cell;

use crate::context::Context;
use crate::error::Error;
use crate::fuel::{self, Fuel};
use crate::heap::coroutine::{Coroutine, WANT_ALL};
use crate::heap::native::Native;
use crate::heap::string::LuaString;
use crate::heap::table::{Table, TableError};
use crate::heap::value::Value;
use crate::interpreter::{Flow, Machine, Outcome};
use crate::metamethod::Metamethod;
use crate::text::number::{write_float, write_integer};

/// What a native function wants done when it returns.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub enum Action {
    /// End with the `count` values from slot `first` on.
    Return { first: u32, count: u32 },
    /// Call the function in slot `at` with the `count` values after it; enter again with `state`. Results start at `at`;
    /// `want` of them, or all for -1.
    Call { at: u32, count: u32, want: i32, state: u32 },
    /// Run the coroutine in slot `at` with the `count` values after it; enter again with `state` when it yielded or
    /// ended, with `state + 1` when it failed; its values start at slot 1.
    Resume { at: u32, count: u32, state: u32 },
    /// Give the `count` values from slot `first` on to whoever resumed this coroutine. The values of the next resume
    /// become the results.
    Yield { first: u32, count: u32 },
    /// Close the suspended or failed coroutine in slot `at`; enter again with `state`, or `state + 1` and the error in slot 1.
    Close { at: u32, state: u32 },
    /// What was called goes on without this function ([`Call::call_now`]), or the run stops.
    Left { stops: bool },
    /// A frame was pushed already; enter again, in the same state, when it is done.
    Entered,
    /// Stop the run until the host has answered; enter again with `state`, or another one that the answer names.
    Wait { state: u32 },
    /// Run a full collection, then enter again with `state`.
    Collect { state: u32 },
    /// End the whole run (`os.exit`); `close` asks the host to close the VM properly before it ends itself.
    Exit { code: i32, close: bool },
}

/// The state in which a protected function is entered when a call it made failed; the error is in slot 0.
pub(crate) const STATE_FAILED: u32 = u32::MAX;

/// One call of a native function.
pub struct Call<'a, 'gc> {
    pub(crate) machine: &'a mut Machine<'gc>,
    native: Native<'gc>,
    function: usize,
    args: usize,
    state: u32,
    fuel_before: Fuel,
}

impl<'a, 'gc> Call<'a, 'gc> {
    #[inline]
    pub(crate) fn new(
        machine: &'a mut Machine<'gc>,
        native: Native<'gc>,
        function: usize,
        args: usize,
        state: u32,
    ) -> Self {
        let fuel_before = machine.fuel;
        Call { machine, native, function, args, state, fuel_before }
    }

    #[inline(always)]
    pub fn context(&self) -> Context<'gc> {
        self.machine.context
    }

    /// 0 at the start of the call, then what the last [`Action::Call`] named.
    #[inline(always)]
    pub fn state(&self) -> u32 {
        self.state
    }

    #[inline(always)]
    pub fn arg_count(&self) -> usize {
        self.args
    }

    /// Argument `index`, counted from 1; nil if there are fewer.
    #[inline(always)]
    pub fn arg(&self, index: usize) -> Value<'gc> {
        if index <= self.args { self.machine.slot(self.function + index) } else { Value::Nil }
    }

    /// A value the function was made with, counted from 0; nil if there are fewer. In a function from an image it may be any value.
    pub fn upvalue(&self, index: usize) -> Value<'gc> {
        self.native.values().get(index).map_or(Value::Nil, Cell::get)
    }

    /// How many values the function was made with.
    pub fn upvalue_count(&self) -> usize {
        self.native.values().len()
    }

    /// Replaces such a value, if it is there.
    pub fn set_upvalue(&self, index: usize, value: Value<'gc>) {
        if let Some(cell) = self.native.values().get(index) {
            cell.set(value);
        }
    }

    /// The value in a slot that [`Self::reserve`] or a call has made.
    #[inline(always)]
    pub fn slot(&self, index: usize) -> Value<'gc> {
        self.machine.slot(self.function + index)
    }

    #[inline(always)]
    pub fn set_slot(&mut self, index: usize, value: Value<'gc>) {
        self.machine.set_slot(self.function + index, value);
    }

    /// The first slot after the arguments.
    pub fn scratch(&self) -> usize {
        self.args + 1
    }

    /// How many values the last call or resume gave.
    pub fn results(&self) -> usize {
        self.machine.top_frame().results as usize
    }

    /// Makes slots up to (not including) `end` usable; new ones are nil. They stay until the function returns.
    #[inline(never)]
    pub fn reserve(&mut self, end: usize) -> Result<(), Error<'gc>> {
        let end = self.function + end;
        self.machine.ensure_stack(end)?;
        let top = self.machine.top_frame().top as usize;
        for slot in top..end {
            self.machine.set_slot(slot, Value::Nil);
        }
        if end > top {
            self.machine.top_frame_mut().top = end as u32;
        }
        Ok(())
    }

    /// Charges `amount` units of fuel before work is done.
    #[inline]
    pub fn charge(&mut self, amount: usize) {
        self.machine.fuel = self.machine.fuel.saturating_sub_unsigned(amount as u64);
    }

    /// Adds a nil to the arguments, for complaints about a missing one to see.
    pub(crate) fn append_nil(&mut self) -> Result<(), Error<'gc>> {
        self.reserve(self.args + 2)?;
        self.args += 1;
        self.set_slot(self.args, Value::Nil);
        Ok(())
    }

    // Results

    #[inline(always)]
    pub fn return_none(&mut self) -> Result<Action, Error<'gc>> {
        Ok(Action::Return { first: 0, count: 0 })
    }

    #[inline(always)]
    pub fn return_value(&mut self, value: Value<'gc>) -> Result<Action, Error<'gc>> {
        self.set_slot(0, value);
        Ok(Action::Return { first: 0, count: 1 })
    }

    #[inline(never)]
    pub fn return_values(&mut self, values: &[Value<'gc>]) -> Result<Action, Error<'gc>> {
        self.reserve(values.len())?;
        for (slot, value) in values.iter().enumerate() {
            self.set_slot(slot, *value);
        }
        Ok(Action::Return { first: 0, count: values.len() as u32 })
    }

    /// Returns the arguments from `index` on.
    #[inline(never)]
    pub fn return_args_from(&self, index: usize) -> Result<Action, Error<'gc>> {
        let count = (self.args + 1).saturating_sub(index);
        Ok(Action::Return { first: index as u32, count: count as u32 })
    }

    // Calls

    /// Puts `function` and `args` into the slots from `at` on and calls it.
    #[inline(never)]
    pub fn call(
        &mut self,
        at: usize,
        function: Value<'gc>,
        args: &[Value<'gc>],
        want: i32,
        state: u32,
    ) -> Result<Action, Error<'gc>> {
        self.reserve(at + 1 + args.len())?;
        self.set_slot(at, function);
        for (index, arg) in args.iter().enumerate() {
            self.set_slot(at + 1 + index, *arg);
        }
        Ok(Action::Call { at: at as u32, count: args.len() as u32, want, state })
    }

    /// As [`Self::call`], and `coroutine.yield` is refused until the call is over, as for a C function that is not a continuation.
    #[inline(never)]
    pub fn call_unyieldable(
        &mut self,
        at: usize,
        function: Value<'gc>,
        args: &[Value<'gc>],
        want: i32,
        state: u32,
    ) -> Result<Action, Error<'gc>> {
        self.machine.refuse_yields();
        self.call(at, function, args, want, state)
    }

    /// As [`Self::call_unyieldable`], but the call is run here, if that is possible: then there is no action, the result is in slot
    /// `at`, and all is as if the function had been entered again in `state`. So whatever it needs is in slots before, and is taken
    /// from there afterwards.
    #[inline]
    pub(crate) fn call_now(
        &mut self,
        at: usize,
        function: Value<'gc>,
        args: &[Value<'gc>],
        want: i32,
        state: u32,
    ) -> Result<Option<Action>, Error<'gc>> {
        let frames = self.machine.state().frames.len();
        let flow = match function {
            Value::Closure(called) if self.machine.try_call_back(called, self.function + at, args, want, state) => {
                self.machine.pause()
            }
            _ => {
                let action = self.call_unyieldable(at, function, args, want, state)?;
                self.machine.act(action, self.function)?
            }
        };
        let outcome = match flow {
            Flow::Stop => Outcome::Stopped,
            _ => self.machine.run_callee(frames),
        };
        match outcome {
            Outcome::Returned => {
                self.machine.allow_yields();
                self.state = state;
                self.fuel_before = self.machine.fuel;
                Ok(None)
            }
            Outcome::Left => Ok(Some(Action::Left { stops: false })),
            Outcome::Stopped => Ok(Some(Action::Left { stops: true })),
        }
    }

    /// The fuel used since the function was entered, or entered again.
    pub(crate) fn fuel_used(&self) -> i64 {
        fuel::used(self.fuel_before, self.machine.fuel)
    }

    /// Calls the function in slot `at` with all that follows it up to the last argument.
    pub(crate) fn call_args_from(&mut self, at: usize, state: u32) -> Result<Action, Error<'gc>> {
        Ok(Action::Call { at: at as u32, count: (self.args - at) as u32, want: WANT_ALL, state })
    }

    // Arguments with their checks (the messages of PUC's auxiliary library)

    /// Argument `index`, which must be there, nil included.
    #[inline(never)]
    pub fn check_any(&self, index: usize) -> Result<Value<'gc>, Error<'gc>> {
        if index > self.args {
            return Err(self.arg_error(index, "value expected"));
        }
        Ok(self.arg(index))
    }

    #[inline]
    pub fn check_integer(&self, index: usize) -> Result<i64, Error<'gc>> {
        match self.arg(index) {
            Value::Integer(integer) => Ok(integer),
            value => value.to_integer().ok_or_else(|| self.integer_error(index)),
        }
    }

    #[cold]
    #[inline(never)]
    fn integer_error(&self, index: usize) -> Error<'gc> {
        if self.arg(index).to_number().is_some() {
            self.arg_error(index, "number has no integer representation")
        } else {
            self.type_error(index, "number")
        }
    }

    #[inline(never)]
    pub fn opt_integer(&self, index: usize, default: i64) -> Result<i64, Error<'gc>> {
        if self.arg(index).is_nil() { Ok(default) } else { self.check_integer(index) }
    }

    #[inline(never)]
    pub fn check_float(&self, index: usize) -> Result<f64, Error<'gc>> {
        self.arg(index).to_float().ok_or_else(|| self.type_error(index, "number"))
    }

    /// Argument `index` as an integer or float value.
    #[inline(never)]
    pub fn check_number(&self, index: usize) -> Result<Value<'gc>, Error<'gc>> {
        self.arg(index).to_number().ok_or_else(|| self.type_error(index, "number"))
    }

    /// A string argument; a number is converted.
    #[inline(never)]
    pub fn check_string(&self, index: usize) -> Result<LuaString<'gc>, Error<'gc>> {
        match self.arg(index) {
            Value::String(string) => Ok(string),
            value @ (Value::Integer(_) | Value::Float(_)) => Ok(number_to_string(self.context(), value)),
            _ => Err(self.type_error(index, "string")),
        }
    }

    #[inline(never)]
    pub fn opt_string(&self, index: usize) -> Result<Option<LuaString<'gc>>, Error<'gc>> {
        if self.arg(index).is_nil() { Ok(None) } else { self.check_string(index).map(Some) }
    }

    #[inline(never)]
    pub fn check_table(&self, index: usize) -> Result<Table<'gc>, Error<'gc>> {
        match self.arg(index) {
            Value::Table(table) => Ok(table),
            _ => Err(self.type_error(index, "table")),
        }
    }

    #[inline(never)]
    pub fn check_function(&self, index: usize) -> Result<Value<'gc>, Error<'gc>> {
        match self.arg(index) {
            function @ (Value::Closure(_) | Value::Native(_)) => Ok(function),
            _ => Err(self.type_error(index, "function")),
        }
    }

    pub fn check_coroutine(&self, index: usize) -> Result<Coroutine<'gc>, Error<'gc>> {
        match self.arg(index) {
            Value::Coroutine(coroutine) => Ok(coroutine),
            _ => Err(self.type_error(index, "thread")),
        }
    }

    /// A string argument that is one of `options`: which of them. `default` stands for a missing one.
    #[inline(never)]
    pub fn check_option(
        &self,
        index: usize,
        default: Option<&'static str>,
        options: &[&'static str],
    ) -> Result<usize, Error<'gc>> {
        let name = match (self.arg(index), default) {
            (Value::Nil, Some(default)) => default.as_bytes(),
            _ => self.check_string(index)?.as_bytes(),
        };
        // PUC compares C strings.
        let name = c_string(name);
        options.iter().position(|option| option.as_bytes() == name).ok_or_else(|| {
            let message = [b"invalid option '", name, b"'"].concat();
            self.machine.arg_error(index, &message)
        })
    }

    // Errors

    /// "bad argument #i to 'f' (message)", with the position of the caller.
    #[cold]
    #[inline(never)]
    pub fn arg_error(&self, index: usize, message: &str) -> Error<'gc> {
        self.machine.arg_error(index, message.as_bytes())
    }

    /// "T expected, got U".
    #[cold]
    #[inline(never)]
    pub fn type_error(&self, index: usize, expected: &str) -> Error<'gc> {
        let value = self.arg(index);
        let actual = match (self.context().metamethod(value, Metamethod::Name), value) {
            _ if index > self.args => b"no value",
            (Value::String(name), _) => c_string(name.as_bytes()),
            (_, Value::LightUserdata(_)) => b"light userdata",
            _ => value.type_name().as_bytes(),
        };
        let mut message = format!("{expected} expected, got ").into_bytes();
        message.extend_from_slice(actual);
        self.machine.arg_error(index, &message)
    }

    /// An error with this message and the position of the caller.
    #[cold]
    #[inline(never)]
    pub fn error(&self, message: impl AsRef<[u8]>) -> Error<'gc> {
        self.machine.error_at_level(1, message.as_ref())
    }

    /// The call was entered again with a state or slots that its own code never leaves: it comes from a damaged image.
    #[cold]
    #[inline(never)]
    pub(crate) fn state_error(&self) -> Error<'gc> {
        self.error("saved call is damaged")
    }

    /// A table's refusal as an error.
    #[cold]
    #[inline(never)]
    pub fn table_error(&self, error: TableError) -> Error<'gc> {
        match error {
            TableError::OutOfMemory => Error::OutOfMemory,
            other => self.machine.runtime_error(<&'static str>::from(other).as_bytes()),
        }
    }

    /// `table[key] = value` without metamethods.
    #[inline(never)]
    pub fn set_raw(&self, table: Table<'gc>, key: Value<'gc>, value: Value<'gc>) -> Result<(), Error<'gc>> {
        table.set(self.context(), key, value).map_err(|error| self.table_error(error))
    }

    /// A new string of `bytes`, if the heap limit allows it.
    #[inline(never)]
    pub fn new_string(&self, bytes: Vec<u8>) -> Result<Value<'gc>, Error<'gc>> {
        self.context().accounting().check(bytes.len())?;
        Ok(Value::String(self.context().string_from(bytes)))
    }
}

/// The part of a string that C sees: up to the first zero byte.
pub(crate) fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or(text)
}

/// A number as a string, as `tostring` writes it.
pub(crate) fn number_to_string<'gc>(context: Context<'gc>, number: Value<'gc>) -> LuaString<'gc> {
    let mut text = Vec::new();
    append_number(number, &mut text);
    context.string(&text)
}

/// Appends a number's text; anything else appends nothing.
pub(crate) fn append_number(number: Value<'_>, text: &mut Vec<u8>) {
    match number {
        Value::Integer(integer) => {
            fuel::owe(fuel::INTEGER_TEXT);
            write_integer(integer, text);
        }
        Value::Float(float) => {
            fuel::owe(fuel::FLOAT_TEXT);
            write_float(float, text);
        }
        _ => {}
    }
}
