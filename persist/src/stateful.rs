//! Native functions that carry values of their own: which ones may be saved, and what their values must look like.
//!
//! Their code relies on these values, so what comes from bytes is checked against this list and anything else is refused. A native
//! function without values is saved by its name alone and needs no entry.

use cu_vm::Value;

/// The kinds of a native function's own values; a value fits if it is of the kind at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Integer,
}

const STATEFUL: &[(&str, &[Kind])] = &[];

/// The kinds of values that the native function with this name carries.
pub(crate) fn kinds(name: &[u8]) -> Option<&'static [Kind]> {
    STATEFUL
        .iter()
        .find(|(known, _)| known.as_bytes() == name)
        .map(|(_, kinds)| *kinds)
}

/// Whether values are what the native function with this name carries.
pub(crate) fn fits(name: &[u8], values: &[Value<'_>]) -> bool {
    kinds(name).is_some_and(|kinds| {
        kinds.len() == values.len()
            && kinds.iter().zip(values).all(|(kind, value)| match kind {
                Kind::String => matches!(value, Value::String(_)),
                Kind::Integer => matches!(value, Value::Integer(_)),
            })
    })
}
