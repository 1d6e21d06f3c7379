//! The debug library (manual §6.10): looking into running functions and changing what they hold.
//!
//! What belongs to native functions can be read but not changed: their slots and values are the state of Rust code.

mod command;
mod hook;
mod info;

pub(super) use command::DEFINITION as COMMAND;

use super::{Functions, name_permanent, set_field};
use crate::call::{Action, Call, c_string};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::closure::Closure;
use crate::heap::coroutine::Coroutine;
use crate::heap::native::{Native, Role};
use crate::heap::table::Table;
use crate::heap::upvalue::Upvalue;
use crate::heap::value::Value;
use crate::interpreter::Activation;

pub(super) const FUNCTIONS: Functions = &[
    ("debug.gethook", hook::get_hook),
    ("debug.getinfo", info::get_info),
    ("debug.getlocal", get_local),
    ("debug.getmetatable", get_metatable),
    ("debug.getregistry", get_registry),
    ("debug.getupvalue", get_upvalue),
    ("debug.getuservalue", get_user_value),
    ("debug.setcstacklimit", set_c_stack_limit),
    ("debug.sethook", hook::set_hook),
    ("debug.setlocal", set_local),
    ("debug.setmetatable", set_metatable),
    ("debug.setupvalue", set_upvalue),
    ("debug.setuservalue", set_user_value),
    ("debug.traceback", traceback),
    ("debug.upvalueid", upvalue_id),
    ("debug.upvaluejoin", join_upvalues),
];

/// `debug.debug`, which errors come back to.
pub(super) fn open<'gc>(context: Context<'gc>, library: Table<'gc>) {
    let command = Value::Native(Native::with_role(context, command::DEFINITION, &[], Role::Protected));
    set_field(context, library, "debug", command);
    name_permanent(context, command::DEFINITION.name, command);
}

/// The coroutine in the first argument, or the running one; and how many arguments that takes.
fn target<'gc>(call: &Call<'_, 'gc>) -> (Coroutine<'gc>, usize) {
    match call.arg(1) {
        Value::Coroutine(coroutine) => (coroutine, 1),
        _ => (call.machine.coroutine, 0),
    }
}

/// The name, if there is one, as the only result.
fn return_name<'gc>(call: &mut Call<'_, 'gc>, name: Option<&[u8]>) -> Result<Action, Error<'gc>> {
    let name = name.map_or(Value::Nil, |name| Value::String(call.context().string(name)));
    call.return_value(name)
}

/// The running function whose level is argument `index`.
fn check_level<'gc>(
    call: &Call<'_, 'gc>,
    coroutine: Coroutine<'gc>,
    index: usize,
) -> Result<Activation<'gc>, Error<'gc>> {
    let level = call.check_integer(index)?;
    let activation = usize::try_from(level).ok().and_then(|level| Activation::at_level(coroutine, level));
    activation.ok_or_else(|| call.arg_error(index, "level out of range"))
}

fn get_local<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (coroutine, taken) = target(call);
    let number = call.check_integer(taken + 2)? as i32;
    if let function @ (Value::Closure(_) | Value::Native(_)) = call.arg(taken + 1) {
        return match function {
            // The parameters of a function that need not be running.
            Value::Closure(closure) if number > 0 => {
                return_name(call, closure.proto().numbered_local(number as usize - 1, 0))
            }
            _ => call.return_value(Value::Nil),
        };
    }
    let activation = check_level(call, coroutine, taken + 1)?;
    match activation.local(number) {
        Some((name, position)) => {
            let name = Value::String(call.context().string(name));
            call.return_values(&[name, activation.slot(position)])
        }
        None => call.return_value(Value::Nil),
    }
}

fn set_local<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (coroutine, taken) = target(call);
    let level = call.check_integer(taken + 1);
    let number = level.and_then(|_| call.check_integer(taken + 2))? as i32;
    let activation = check_level(call, coroutine, taken + 1)?;
    let value = call.check_any(taken + 3)?;
    let local = activation.frame().callee.proto().and_then(|_| activation.local(number));
    if let Some((_, position)) = local {
        activation.set_slot(position, value);
        let changes = &call.context().root().local_changes;
        changes.set(changes.get().wrapping_add(1));
    }
    return_name(call, local.map(|(name, _)| name))
}

fn get_metatable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let value = call.check_any(1)?;
    let metatable = call.context().metatable(value);
    call.return_value(metatable.map_or(Value::Nil, Value::Table))
}

fn set_metatable<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let metatable = match call.arg(2) {
        Value::Nil if call.arg_count() >= 2 => None,
        Value::Table(metatable) => Some(metatable),
        _ => return Err(call.type_error(2, "nil or table")),
    };
    let value = call.arg(1);
    call.context().set_any_metatable(value, metatable);
    call.return_value(value)
}

fn get_registry<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let registry = registry(call)?;
    call.return_value(Value::Table(registry))
}

/// What PUC Lua's C code shares, as far as there is such a thing here. The VM itself does not look into it.
fn registry<'gc>(call: &Call<'_, 'gc>) -> Result<Table<'gc>, Error<'gc>> {
    let context = call.context();
    let registered = context.registered();
    if let Some(registry) = registered.registry {
        return Ok(registry);
    }
    let registry = context.table();
    call.set_raw(registry, Value::Integer(1), Value::Coroutine(registered.main))?;
    call.set_raw(registry, Value::Integer(2), Value::Table(registered.globals))?;
    let loaded = Value::String(context.string(b"_LOADED"));
    call.set_raw(registry, loaded, Value::Table(registered.loaded))?;
    if let Some(files) = registered.files {
        let name = Value::String(context.string(b"FILE*"));
        call.set_raw(registry, name, Value::Table(files.metatable))?;
    }
    context.update_registered(|registered| registered.registry = Some(registry));
    Ok(registry)
}

/// An upvalue of a function: its name and, if the function is a Lua function, where it is.
enum FoundUpvalue<'gc> {
    Lua(Closure<'gc>, usize),
    Native(Native<'gc>, usize),
}

impl<'gc> FoundUpvalue<'gc> {
    /// Upvalue number `number` of a function; `None` if there are not that many.
    fn find(function: Value<'gc>, number: i64) -> Option<Self> {
        let index = usize::try_from(number as i32).ok()?.checked_sub(1)?;
        match function {
            Value::Closure(closure) => (index < closure.upvalue_count()).then_some(FoundUpvalue::Lua(closure, index)),
            Value::Native(native) => (index < native.values().len()).then_some(FoundUpvalue::Native(native, index)),
            _ => None,
        }
    }

    fn name(&self) -> &'gc [u8] {
        match *self {
            FoundUpvalue::Native(..) => b"",
            FoundUpvalue::Lua(closure, index) => match &*closure.proto().upvalue_descriptions()[index].name {
                b"" => b"(no name)",
                name => name,
            },
        }
    }
}

fn get_upvalue<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let number = call.check_integer(2)?;
    let Some(found) = FoundUpvalue::find(call.check_function(1)?, number) else {
        return call.return_none();
    };
    let value = match found {
        FoundUpvalue::Lua(closure, index) => closure.upvalue(index).get(),
        FoundUpvalue::Native(native, index) => native.values()[index].get(),
    };
    let name = Value::String(call.context().string(found.name()));
    call.return_values(&[name, value])
}

fn set_upvalue<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let value = call.check_any(3)?;
    let number = call.check_integer(2)?;
    match FoundUpvalue::find(call.check_function(1)?, number) {
        Some(found @ FoundUpvalue::Lua(closure, index)) => {
            closure.upvalue(index).set(value);
            return_name(call, Some(found.name()))
        }
        _ => call.return_none(),
    }
}

/// A number that tells an upvalue from all others, at its first use made from a serial number.
fn upvalue_id<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let number = call.check_integer(2)?;
    let found = FoundUpvalue::find(call.check_function(1)?, number);
    let context = call.context();
    call.return_value(match found {
        Some(FoundUpvalue::Lua(closure, index)) => {
            Value::LightUserdata(context.serial(closure.upvalue(index).serial()).into())
        }
        // The values of a native function follow its own number, above all numbers of upvalues.
        Some(FoundUpvalue::Native(native, index)) => {
            Value::LightUserdata(u64::from(context.serial(native.serial())) << 32 | index as u64)
        }
        None => Value::Nil,
    })
}

fn join_upvalues<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let find = |call: &Call<'_, 'gc>, function: usize| {
        let number = call.check_integer(function + 1)?;
        let found = FoundUpvalue::find(call.check_function(function)?, number);
        found.ok_or_else(|| call.arg_error(function + 1, "invalid upvalue index"))
    };
    let (first, second) = (find(call, 1)?, find(call, 3)?);
    let FoundUpvalue::Lua(closure, index) = first else {
        return Err(call.arg_error(1, "Lua function expected"));
    };
    let FoundUpvalue::Lua(other, other_index) = second else {
        return Err(call.arg_error(3, "Lua function expected"));
    };
    let shared: Upvalue<'gc> = other.upvalue(other_index);
    closure.set_upvalue(index, shared);
    call.return_none()
}

fn get_user_value<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let number = call.opt_integer(2, 1)?;
    let Value::Userdata(userdata) = call.arg(1) else {
        return call.return_value(Value::Nil);
    };
    match usize::try_from(number - 1).ok().and_then(|index| userdata.user_values().get(index)) {
        Some(value) => call.return_values(&[value.get(), Value::Boolean(true)]),
        None => call.return_value(Value::Nil),
    }
}

fn set_user_value<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let number = call.opt_integer(3, 1)?;
    let Value::Userdata(userdata) = call.arg(1) else {
        return Err(call.type_error(1, "userdata"));
    };
    let value = call.check_any(2)?;
    match usize::try_from(number - 1).ok().and_then(|index| userdata.user_values().get(index)) {
        Some(place) => {
            place.set(value);
            call.return_value(Value::Userdata(userdata))
        }
        None => call.return_value(Value::Nil),
    }
}

/// Kept for old programs: the limit is fixed (manual §8.2 of 5.4.3).
fn set_c_stack_limit<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    const LIMIT: i64 = 200;
    call.check_integer(1)?;
    call.return_value(Value::Integer(LIMIT))
}

fn traceback<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (coroutine, taken) = target(call);
    let message = match call.arg(taken + 1) {
        Value::Nil => None,
        Value::String(_) | Value::Integer(_) | Value::Float(_) => Some(call.check_string(taken + 1)?),
        other => return call.return_value(other),
    };
    let default = if coroutine.ptr_eq(call.machine.coroutine) { 1 } else { 0 };
    let level = call.opt_integer(taken + 2, default)? as i32;
    let message = message.map(|message| c_string(message.as_bytes()));
    call.context().accounting().check(2 * message.map_or(0, <[u8]>::len))?;
    let text = match usize::try_from(level) {
        Ok(level) => call.machine.traceback(coroutine, message, level),
        Err(_) => call.machine.traceback(coroutine, message, usize::MAX),
    };
    call.charge(fuel::scanned(text.len()));
    let text = call.new_string(text)?;
    call.return_value(text)
}
