//! `debug.sethook` and `debug.gethook`.

use super::{registry, target};
use crate::call::{Action, Call, c_string};
use crate::error::Error;
use crate::heap::coroutine::Coroutine;
use crate::heap::hook::{HOOK_CALL, HOOK_COUNT, HOOK_LINE, HOOK_RETURN};
use crate::heap::value::Value;

/// The letters of a mask.
const LETTERS: [(u8, u8); 3] = [(b'c', HOOK_CALL), (b'r', HOOK_RETURN), (b'l', HOOK_LINE)];

/// State 1: the hook is set. Entered again, the function returns the long way, on which a new hook sees it.
pub(super) fn set_hook<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    if call.state() == 1 {
        return call.return_none();
    }
    let (coroutine, taken) = target(call);
    let function = call.arg(taken + 1);
    let (mut mask, mut count) = (0, 0);
    if !function.is_nil() {
        let letters = c_string(call.check_string(taken + 2)?.as_bytes());
        call.check_function(taken + 1)?;
        count = call.opt_integer(taken + 3, 0)? as i32;
        mask = LETTERS.iter().filter(|(letter, _)| letters.contains(letter)).map(|(_, bit)| bit).sum();
        if count > 0 {
            mask |= HOOK_COUNT;
        }
    }
    list_hook(call, coroutine, function)?;
    coroutine.set_hook(function, mask, count);
    call.again(1)
}

/// Notes the function in the registry, where PUC Lua keeps it. The coroutine's own record is what counts here.
fn list_hook<'gc>(call: &Call<'_, 'gc>, coroutine: Coroutine<'gc>, function: Value<'gc>) -> Result<(), Error<'gc>> {
    let context = call.context();
    let registry = registry(call)?;
    let name = Value::String(context.string(b"_HOOKKEY"));
    let hooks = match registry.get(name) {
        Value::Table(hooks) => hooks,
        _ => {
            let hooks = context.table();
            let mode = Value::String(context.string(b"__mode"));
            call.set_raw(hooks, mode, Value::String(context.string(b"k")))?;
            context.set_metatable(hooks, Some(hooks));
            call.set_raw(registry, name, Value::Table(hooks))?;
            hooks
        }
    };
    call.set_raw(hooks, Value::Coroutine(coroutine), function)
}

pub(super) fn get_hook<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (coroutine, _) = target(call);
    let hook = coroutine.hook();
    if hook.mask == 0 {
        return call.return_value(Value::Nil);
    }
    let letters = LETTERS.iter().filter(|(_, bit)| hook.mask & bit != 0);
    let mask: Vec<u8> = letters.map(|(letter, _)| *letter).collect();
    let mask = Value::String(call.context().string(&mask));
    call.return_values(&[hook.function, mask, Value::Integer(hook.count.into())])
}
