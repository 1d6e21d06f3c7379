//! The way from something saved to something that cannot be, as text: `_G.handlers[3].upvalue 'file'`.

use crate::heap::proto::Proto;
use crate::heap::value::Value;
use crate::library;
use crate::text::number::write_float;

/// Strings longer than this are cut in a path.
const KEY_BYTES_MAX: usize = 40;

/// Appends the step to the value under `key`.
pub fn push_key(path: &mut String, key: Value<'_>) {
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
        Value::Float(float) => {
            let mut text = Vec::new();
            write_float(float, &mut text);
            path.push_str(&format!("[{}]", String::from_utf8_lossy(&text)));
        }
        Value::Boolean(boolean) => path.push_str(&format!("[{boolean}]")),
        _ => path.push_str(&format!("[{}]", described(key))),
    }
}

/// Appends the step to an upvalue, counted from 0.
pub fn push_upvalue(path: &mut String, proto: Proto<'_>, index: usize) {
    let name = proto.upvalue_descriptions().get(index).map_or(&b""[..], |description| &description.name);
    if name.is_empty() {
        path.push_str(&format!(".upvalue {}", index + 1));
    } else {
        path.push_str(&format!(".upvalue '{}'", String::from_utf8_lossy(name)));
    }
}

/// What kind of value it is, with an article.
pub fn described(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Native(native) if library::find(native.name()).is_some() => {
            format!("a native function '{}'", native.name())
        }
        Value::Native(native) => format!("a host function '{}'", native.name()),
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
