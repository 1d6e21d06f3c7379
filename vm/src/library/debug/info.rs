//! `debug.getinfo`.

use super::target;
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel;
use crate::heap::proto::Proto;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::interpreter::Activation;
use cu_compiler::display_chunk_name;

/// The table under construction.
struct Info<'a, 'c, 'gc> {
    call: &'a Call<'c, 'gc>,
    table: Table<'gc>,
}

impl<'gc> Info<'_, '_, 'gc> {
    fn set(&self, field: &str, value: Value<'gc>) -> Result<(), Error<'gc>> {
        let field = Value::String(self.call.context().string(field.as_bytes()));
        self.call.set_raw(self.table, field, value)
    }

    fn set_integer(&self, field: &str, value: impl Into<i64>) -> Result<(), Error<'gc>> {
        self.set(field, Value::Integer(value.into()))
    }

    fn set_string(&self, field: &str, value: &[u8]) -> Result<(), Error<'gc>> {
        self.set(field, Value::String(self.call.context().string(value)))
    }
}

pub(super) fn get_info<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let (coroutine, taken) = target(call);
    let options = call.opt_string(taken + 2)?.map_or(&b"flnSrtu"[..], |options| options.as_bytes());
    if options.first() == Some(&b'>') {
        return Err(call.arg_error(taken + 2, "invalid option '>'"));
    }
    let (function, activation) = match call.arg(taken + 1) {
        function @ (Value::Closure(_) | Value::Native(_)) => (function, None),
        _ => {
            let level = call.check_integer(taken + 1)? as i32;
            let found = usize::try_from(level).ok().and_then(|level| Activation::at_level(coroutine, level));
            let Some(activation) = found else {
                return call.return_value(Value::Nil);
            };
            (activation.frame().callee.value(), Some(activation))
        }
    };
    let options = crate::call::c_string(options);
    if !options.iter().all(|option| b"SlnrutLf".contains(option)) {
        return Err(call.arg_error(taken + 2, "invalid option"));
    }
    call.charge(fuel::ERROR_TEXT);
    let info = Info { call, table: call.context().table() };
    for option in [b'S', b'l', b'u', b'n', b'r', b't', b'L', b'f'] {
        if options.contains(&option) {
            describe(&info, option, function, activation)?;
        }
    }
    let table = info.table;
    call.return_value(Value::Table(table))
}

/// Sets what one option asks for.
fn describe<'gc>(
    info: &Info<'_, '_, 'gc>,
    option: u8,
    function: Value<'gc>,
    activation: Option<Activation<'gc>>,
) -> Result<(), Error<'gc>> {
    let proto = match function {
        Value::Closure(closure) => Some(closure.proto()),
        _ => None,
    };
    match option {
        b'S' => describe_source(info, proto),
        b'l' => {
            let line = activation.and_then(|activation| activation.frame().current_line());
            info.set_integer("currentline", line.map_or(-1, i64::from))
        }
        b'u' => {
            let (is_vararg, parameters) = proto.map_or((true, 0), Proto::parameters);
            let upvalues = match function {
                Value::Closure(closure) => closure.upvalue_count(),
                Value::Native(native) => native.values().len(),
                _ => 0,
            };
            info.set_integer("nups", upvalues as i64)?;
            info.set_integer("nparams", parameters)?;
            info.set("isvararg", Value::Boolean(is_vararg))
        }
        b'n' => {
            let (kind, name) = activation.and_then(Activation::name).unzip();
            if let Some(name) = name {
                info.set_string("name", name)?;
            }
            info.set_string("namewhat", kind.unwrap_or_default().as_bytes())
        }
        b'r' => {
            let (first, count) = activation.map_or((0, 0), |activation| activation.frame().transfer());
            info.set_integer("ftransfer", first)?;
            info.set_integer("ntransfer", count)
        }
        b't' => info.set("istailcall", Value::Boolean(activation.is_some_and(Activation::is_tail_call))),
        b'L' => match proto {
            Some(proto) => active_lines(info, proto),
            None => Ok(()),
        },
        _ => info.set("func", function),
    }
}

fn describe_source<'gc>(info: &Info<'_, '_, 'gc>, proto: Option<Proto<'gc>>) -> Result<(), Error<'gc>> {
    let source: &[u8] = proto.map_or(b"=[C]", |proto| proto.chunk_name());
    info.set_string("source", source)?;
    info.set_string("short_src", &display_chunk_name(source))?;
    let lines = proto.map(Proto::line_range);
    info.set_integer("linedefined", lines.map_or(-1, |(first, _)| i64::from(first)))?;
    info.set_integer("lastlinedefined", lines.map_or(-1, |(_, last)| i64::from(last)))?;
    let what: &[u8] = match lines {
        None => b"C",
        Some((0, _)) => b"main",
        Some(_) => b"Lua",
    };
    info.set_string("what", what)
}

/// The lines that have code, as keys.
fn active_lines<'gc>(info: &Info<'_, '_, 'gc>, proto: Proto<'gc>) -> Result<(), Error<'gc>> {
    let lines = info.call.context().table();
    for line in proto.active_lines() {
        fuel::owe(fuel::items(2));
        info.call.set_raw(lines, Value::Integer(line.into()), Value::Boolean(true))?;
    }
    info.set("activelines", Value::Table(lines))
}
