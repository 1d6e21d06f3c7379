//! The way from a saved value to something it reaches, as text: `function 'on_click'.upvalue 'handlers'.menu[3]`.

pub(crate) use cu_vm::image::path::{described, push_key, push_upvalue};
use cu_vm::{Context, Coroutine, Table, Value};

/// Appends the step to pair `position` of a table, or to its key.
pub(crate) fn push_pair(path: &mut String, table: Table<'_>, position: usize, is_key: bool) {
    let key = table.pairs().get(position).map_or(Value::Nil, |pair| pair.0);
    if is_key { path.push_str(".key") } else { push_key(path, key) }
}

/// Appends the step to a slot of a coroutine's stack: by the local variable's name, if there is one.
pub(crate) fn push_slot<'gc>(path: &mut String, context: Context<'gc>, coroutine: Coroutine<'gc>, position: u32) {
    let parts = coroutine.parts(context);
    let frame = parts.as_ref().and_then(|parts| parts.frames.iter().rfind(|(_, frame)| frame.base <= position));
    let name = frame.and_then(|(callee, frame)| match callee {
        Value::Closure(closure) => closure.proto().local_name((position - frame.base) as usize, frame.pc as usize),
        _ => None,
    });
    match name {
        Some(name) => path.push_str(&format!(".local '{}'", String::from_utf8_lossy(name))),
        None => path.push_str(&format!(".slot {position}")),
    }
}
