//! The way from a saved value to something it reaches, as text: `function 'on_click'.upvalue 'handlers'.menu[3]`.

pub(crate) use cu_vm::image::path::{described, push_key, push_upvalue};
use cu_vm::{Table, Value};

/// Appends the step to pair `position` of a table, or to its key.
pub(crate) fn push_pair(path: &mut String, table: Table<'_>, position: usize, is_key: bool) {
    let key = table.pairs().get(position).map_or(Value::Nil, |pair| pair.0);
    if is_key { path.push_str(".key") } else { push_key(path, key) }
}
