//! Documents as JSON, without loss. What JSON has no form for is written as an object with one field that begins with `$`:
//!
//! | value | JSON |
//! |--|--|
//! | string that is no UTF-8 | `{"$hex": "00ff"}` |
//! | NaN, infinities | `{"$float": "nan"}`, `"inf"`, `"-inf"` |
//! | map with other keys than texts, or with a text that begins with `$` | `{"$map": [[key, value], …]}` |
//! | blob | `{"$blob": [kind, "00ff"]}` |
//!
//! Whole numbers without fraction or exponent are integers, all others floats. Map entries keep their order.

use serde_json::{Map, Number, Value};

use crate::document::{DEPTH_MAX, Document};
use crate::error::{Error, Result};

/// The document as JSON on one line.
pub fn to_json(document: &Document) -> String {
    value_of(document).to_string()
}

/// Reads what [`to_json`] writes, and any other JSON.
pub fn from_json(text: &str) -> Result<Document> {
    // The parser recurses as deep as the text nests, so that is bounded first.
    if depth_of(text.as_bytes()) > 2 * DEPTH_MAX + 2 {
        return Err(Error::invalid("json", "nested too deep"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    let value: Value = serde::Deserialize::deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    document_of(value, 0)
}

fn malformed(error: serde_json::Error) -> Error {
    Error::invalid("json", error.to_string())
}

fn depth_of(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut in_text = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_text => drop(bytes.next()),
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn tagged(tag: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(tag.to_owned(), value)]))
}

fn value_of(document: &Document) -> Value {
    match document {
        Document::Nil => Value::Null,
        Document::Boolean(value) => Value::Bool(*value),
        Document::Integer(value) => Value::Number((*value).into()),
        Document::Float(value) => match Number::from_f64(*value) {
            Some(number) => Value::Number(number),
            None if value.is_nan() => tagged("$float", "nan".into()),
            None => tagged("$float", if *value > 0.0 { "inf" } else { "-inf" }.into()),
        },
        Document::String(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => tagged("$hex", hex(bytes)),
        },
        Document::Array(elements) => elements.iter().map(value_of).collect(),
        Document::Map(entries) => {
            let names: Option<Vec<&str>> =
                entries.iter().map(|(key, _)| key.as_text().filter(|name| !name.starts_with('$'))).collect();
            match names {
                Some(names) => {
                    let values = entries.iter().map(|(_, value)| value_of(value));
                    Value::Object(names.into_iter().map(str::to_owned).zip(values).collect())
                }
                None => {
                    let pairs = entries.iter().map(|(key, value)| Value::Array(vec![value_of(key), value_of(value)]));
                    tagged("$map", pairs.collect())
                }
            }
        }
        Document::Blob { kind, bytes } => tagged("$blob", Value::Array(vec![(*kind).into(), hex(bytes)])),
    }
}

fn document_of(value: Value, depth: usize) -> Result<Document> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid("json", "nested too deep"));
    }
    Ok(match value {
        Value::Null => Document::Nil,
        Value::Bool(value) => Document::Boolean(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Document::Integer(value),
            (None, Some(value)) => Document::Float(value),
            _ => return Err(Error::invalid("json", "a number is out of range")),
        },
        Value::String(text) => Document::String(text.into_bytes()),
        Value::Array(elements) => {
            Document::Array(elements.into_iter().map(|element| document_of(element, depth + 1)).collect::<Result<_>>()?)
        }
        Value::Object(mut entries) => {
            if entries.len() == 1
                && let Some(name) = entries.keys().next().filter(|name| name.starts_with('$')).cloned()
                && let Some(value) = entries.remove(&name)
            {
                return tagged_document(&name, value, depth);
            }
            let entry =
                |(name, value)| Ok((Document::String(String::into_bytes(name)), document_of(value, depth + 1)?));
            Document::Map(entries.into_iter().map(entry).collect::<Result<_>>()?)
        }
    })
}

fn tagged_document(tag: &str, value: Value, depth: usize) -> Result<Document> {
    let bad = || Error::invalid("json", format!("malformed {tag}"));
    match (tag, value) {
        ("$hex", Value::String(text)) => Ok(Document::String(unhex(&text).ok_or_else(bad)?)),
        ("$float", Value::String(text)) => match text.as_str() {
            "nan" => Ok(Document::Float(f64::NAN)),
            "inf" => Ok(Document::Float(f64::INFINITY)),
            "-inf" => Ok(Document::Float(f64::NEG_INFINITY)),
            _ => Err(bad()),
        },
        ("$map", Value::Array(pairs)) => {
            let pair = |pair: Value| match pair {
                Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                    Ok([key, value]) => Ok((document_of(key, depth + 1)?, document_of(value, depth + 1)?)),
                    Err(_) => Err(bad()),
                },
                _ => Err(bad()),
            };
            Ok(Document::Map(pairs.into_iter().map(pair).collect::<Result<_>>()?))
        }
        ("$blob", Value::Array(parts)) => match parts.as_slice() {
            [kind, Value::String(text)] => {
                let kind = kind.as_u64().and_then(|kind| u8::try_from(kind).ok()).ok_or_else(bad)?;
                Ok(Document::Blob { kind, bytes: unhex(text).ok_or_else(bad)? })
            }
            _ => Err(bad()),
        },
        // An object of somebody else's.
        (_, value) => Ok(Document::Map(vec![(Document::text(tag), document_of(value, depth + 1)?)])),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().map(|digit| char::from(digit).to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((high * 16 + low) as u8),
        _ => None,
    });
    pairs.collect()
}
