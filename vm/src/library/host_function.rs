//! Functions of the host: natives that ask it by name. When it has no answer yet, the run stops, and the call is in its frame
//! as any other that is under way: it can be saved there. A call that was waiting when its VM was saved is made again.

use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::fuel;
use crate::heap::native::{Native, NativeDefinition};
use crate::heap::value::Value;
use crate::host::Answer;

pub(super) const HOST_FUNCTION: NativeDefinition = NativeDefinition { name: "host.function", code: call_host };

/// The host was asked, and will answer.
pub(crate) const WAITING: u32 = 1;
/// The results are in the slots behind the arguments.
pub(crate) const ANSWERED: u32 = 2;
/// The error is there.
pub(crate) const FAILED: u32 = 3;

/// A function of the host by its name.
pub(crate) fn make<'gc>(context: Context<'gc>, name: &[u8]) -> Native<'gc> {
    Native::new(context, HOST_FUNCTION, &[Value::String(context.string(name))])
}

/// Whether a native function is one of the host.
pub(crate) fn is_host_function(native: Native<'_>) -> bool {
    native.name() == HOST_FUNCTION.name
}

fn call_host<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let place = call.scratch();
    match call.state() {
        0 | WAITING => ask(call),
        ANSWERED => {
            // The slots are reserved anew, as in an image they may be missing.
            let count = call.results();
            call.reserve(place + count)?;
            Ok(Action::Return { first: place as u32, count: count as u32 })
        }
        FAILED => {
            call.reserve(place + 1)?;
            Err(Error::Thrown(call.slot(place)))
        }
        _ => Err(call.state_error()),
    }
}

fn ask<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let Value::String(name) = call.upvalue(0) else { return Err(call.state_error()) };
    call.charge(fuel::items(call.arg_count()));
    let args: Vec<Value<'gc>> = (1..=call.arg_count()).map(|index| call.arg(index)).collect();
    // What the host does must not be done again, whatever runs out of memory after it.
    call.machine.memory_retry = true;
    let context = call.context();
    let answer = context.root().host.borrow_mut().call(context, name.as_bytes(), &args);
    match answer {
        Answer::Return(values) => call.return_values(&values),
        Answer::Throw(error) => Err(Error::Thrown(error)),
        Answer::Wait => Ok(Action::Wait { state: WAITING }),
        Answer::Unknown => {
            let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
            Err(call.error(format!("the host has no function '{name}'")))
        }
    }
}
