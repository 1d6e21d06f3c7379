//! The way from a saved value to something it reaches, as text: `function 'on_click'.upvalue 'handlers'.menu[3]`.

use cu_vm::{Table, Value};

/// Strings longer than this are cut in a path.
const KEY_BYTES_MAX: usize = 40;

/// Appends the step to the value under `key`.
pub(crate) fn push_key(path: &mut String, key: Value<'_>) {
    match key {
        Value::String(name) if is_identifier(name.as_bytes()) => {
            path.push('.');
            path.push_str(&name.to_string_lossy());
        }
        Value::String(text) => {
            let bytes = text.as_bytes();
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(KEY_BYTES_MAX)]);
            let dots = if bytes.len() > KEY_BYTES_MAX { "..." } else { "" };
            path.push_str(&format!("[{shown:?}{dots}]"));
        }
        Value::Integer(integer) => path.push_str(&format!("[{integer}]")),
        Value::Float(float) => path.push_str(&format!("[{float:?}]")),
        Value::Boolean(boolean) => path.push_str(&format!("[{boolean}]")),
        _ => path.push_str(&format!("[{}]", described(key))),
    }
}

/// Appends the step to pair `position` of a table, or to its key.
pub(crate) fn push_pair(path: &mut String, table: Table<'_>, position: usize, is_key: bool) {
    let key = table.pairs().get(position).map_or(Value::Nil, |pair| pair.0);
    if is_key { path.push_str(".key") } else { push_key(path, key) }
}

/// Appends the step to an upvalue, counted from 0.
pub(crate) fn push_upvalue(path: &mut String, name: &[u8], index: usize) {
    if name.is_empty() {
        path.push_str(&format!(".upvalue {}", index + 1));
    } else {
        path.push_str(&format!(".upvalue '{}'", String::from_utf8_lossy(name)));
    }
}

/// What kind of value it is, with an article.
pub(crate) fn described(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Native(native) => format!("a native function '{}'", native.name()),
        Value::Coroutine(_) => "a coroutine".into(),
        Value::Integer(_) => "an integer".into(),
        Value::Userdata(_) | Value::LightUserdata(_) => "a userdata".into(),
        _ => format!("a {}", value.type_name()),
    }
}

fn is_identifier(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.len() <= KEY_BYTES_MAX
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
