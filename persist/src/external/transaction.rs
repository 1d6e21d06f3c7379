//! `ext.transaction(f, ...)`: all that `f` does with external tables is kept, or, if it fails, nothing of it.

use cu_vm::{Action, Call, Error as LuaError, NativeDefinition, Value};

use super::{Request, source, waiting};

pub(super) const TRANSACTION: NativeDefinition = waiting!("ext.transaction", transaction);

const ENDED: u32 = 1;

/// Gives the results of `f`. The body runs under the library's `pcall`, whatever scripts have made of that name, and cannot yield:
/// a coroutine that is never resumed would keep the transaction open.
fn transaction<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, LuaError<'gc>> {
    let Some(external) = source(call) else { return Err(call.error("saved call is damaged")) };
    let at = call.scratch();
    if call.state() != ENDED {
        let function = call.check_function(1)?;
        let mut body = vec![function];
        body.extend((2..=call.arg_count()).map(|index| call.arg(index)));
        call.reserve(at + 1 + body.len())?;
        external.ask(call, &Request::Begin)?;
        let protected = call.context().permanent(b"pcall");
        return call.call_unyieldable(at, protected, &body, -1, ENDED);
    }
    if call.slot(at).is_truthy() {
        external.ask(call, &Request::Commit)?;
        return Ok(Action::Return { first: at as u32 + 1, count: (call.results() as u32).saturating_sub(1) });
    }
    let error = if call.results() > 1 { call.slot(at + 1) } else { Value::Nil };
    external.ask(call, &Request::RollBack)?;
    Err(LuaError::Thrown(error))
}
