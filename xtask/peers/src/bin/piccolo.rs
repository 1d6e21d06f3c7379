//! `piccolo FILE`: runs a Lua program with the crate piccolo.
//!
//! It has no `string.format`, with which nearly all programs print their result, so there is one here that knows the directives
//! of those lines: `%d`, `%s`, `%x`, `%.Nf`.

use std::error::Error;
use std::fs::File;

use piccolo::{Callback, CallbackReturn, Closure, Context, Executor, IntoValue, Lua, Table, Value, io};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: piccolo FILE")?;
    let source = io::buffered_read(File::open(&path)?)?;
    let mut lua = Lua::full();
    let executor = lua.try_enter(|context| {
        add_format(context)?;
        let closure = Closure::load(context, Some(path.as_str()), source)?;
        Ok(context.stash(Executor::start(context, closure.into(), ())))
    })?;
    lua.execute::<()>(&executor)?;
    Ok(())
}

fn add_format<'gc>(context: Context<'gc>) -> Result<(), piccolo::Error<'gc>> {
    let Value::Table(library) = context.get_global("string") else {
        let library = Table::new(&context);
        context.set_global("string", library)?;
        return add_format(context);
    };
    let format = Callback::from_fn(&context, |context, _, mut stack| {
        let values: Vec<Value> = stack.drain(..).collect();
        let text = format(&values).map_err(|message| message.into_value(context))?;
        stack.replace(context, text);
        Ok(CallbackReturn::Return)
    });
    library.set(context, "format", format)?;
    Ok(())
}

fn format(values: &[Value]) -> Result<String, &'static str> {
    let mut values = values.iter();
    let Some(Value::String(format)) = values.next() else { return Err("string.format needs a string") };
    let format = String::from_utf8_lossy(format.as_bytes()).into_owned();
    let mut text = String::new();
    let mut rest = format.as_str();
    while let Some((before, directive)) = rest.split_once('%') {
        text.push_str(before);
        let end = directive.find(|letter: char| letter.is_ascii_alphabetic()).ok_or("a directive without a letter")?;
        let value = values.next().ok_or("a value is missing")?;
        let places = directive[..end].strip_prefix('.').and_then(|digits| digits.parse::<usize>().ok());
        text.push_str(&match (&directive[end..=end], places) {
            ("d", None) => value.to_integer().ok_or("not an integer")?.to_string(),
            ("x", None) => format!("{:x}", value.to_integer().ok_or("not an integer")?),
            ("s", None) => shown(*value),
            ("f", Some(places)) => format!("{:.places$}", value.to_number().ok_or("not a number")?),
            _ => return Err("a directive that is not known here"),
        });
        rest = &directive[end + 1..];
    }
    Ok(text + rest)
}

fn shown(value: Value) -> String {
    let mut bytes = Vec::new();
    // Writing into memory does not fail.
    let _ = value.display(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
