//! `collectgarbage` (manual §6.1).
//!
//! A collection is one atomic cycle, so a step cannot do a part of one. Steps are counted instead, and the one with which they amount to the
//! size of the heap runs the cycle. The generational mode is remembered; a step in it is a cycle.

use crate::call::{Action, Call};
use crate::error::Error;
use crate::heap::accounting::Parameter;
use crate::heap::value::Value;

const OPTIONS: [&str; 10] = [
    "collect",
    "step",
    "count",
    "stop",
    "restart",
    "isrunning",
    "setpause",
    "setstepmul",
    "incremental",
    "generational",
];

/// The cycle is over; what it queued is to be finalized.
const COLLECTED: u32 = 1;
const FINALIZED: u32 = 2;

pub(super) fn collect_garbage<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let accounting = call.context().accounting();
    let option = OPTIONS[call.check_option(1, Some("collect"), &OPTIONS)?];
    match call.state() {
        COLLECTED => {
            let finalizers = call.machine.finalizers();
            return call.call(call.scratch(), finalizers, &[], 0, FINALIZED);
        }
        FINALIZED => {
            // A young collection ends no cycle.
            let result = match option {
                "step" => Value::Boolean(!accounting.is_generational()),
                _ => Value::Integer(0),
            };
            return call.return_value(result);
        }
        _ => {}
    }
    let number = match option {
        "step" | "setpause" | "setstepmul" => call.opt_integer(2, 0)?,
        _ => 0,
    };
    // A finalizer has no say in the collection that it is part of.
    if call.context().root().finalizing.get() {
        return call.return_value(Value::Nil);
    }
    let result = match option {
        "collect" => return Ok(Action::Collect { state: COLLECTED }),
        "step" if accounting.step(u64::try_from(number).unwrap_or(0)) => {
            return Ok(Action::Collect { state: COLLECTED });
        }
        "step" => Value::Boolean(false),
        "count" => Value::Float(accounting.used() as f64 / 1024.0),
        "stop" | "restart" => {
            accounting.set_running(option == "restart");
            Value::Integer(0)
        }
        "isrunning" => Value::Boolean(accounting.running()),
        "setpause" => percent(accounting.set_pause(Parameter::from_percent(number))),
        "setstepmul" => percent(accounting.set_step_multiplier(Parameter::from_percent(number))),
        _ => {
            set_parameters(call, option)?;
            let before = accounting.set_generational(option == "generational");
            let name = if before { &b"generational"[..] } else { b"incremental" };
            Value::String(call.context().string(name))
        }
    };
    call.return_value(result)
}

/// The numbers after a mode: pause, step multiplier and step size for the incremental one, of which 0 changes nothing. The sizes of
/// generations and of steps are checked and have no meaning here.
fn set_parameters<'gc>(call: &Call<'_, 'gc>, mode: &str) -> Result<(), Error<'gc>> {
    let (first, second) = (call.opt_integer(2, 0)?, call.opt_integer(3, 0)?);
    if mode == "generational" {
        return Ok(());
    }
    call.opt_integer(4, 0)?;
    let accounting = call.context().accounting();
    if first != 0 {
        accounting.set_pause(Parameter::from_percent(first));
    }
    if second != 0 {
        accounting.set_step_multiplier(Parameter::from_percent(second));
    }
    Ok(())
}

fn percent<'gc>(parameter: Parameter) -> Value<'gc> {
    Value::Integer(parameter.percent() as i64)
}
