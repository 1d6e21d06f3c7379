//! Native functions that carry values of their own: which ones may be saved, and what their values must look like.
//!
//! What comes from bytes is checked against this list. Functions of the library that are not in it and carry values check them themselves
//! at each call; others are refused. A native
//! function without values is saved by its name alone and needs no entry.

/// What one of a native function's own values has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    /// -1, or a position in the first value, a string, up to one behind its end.
    Position,
}

const STATEFUL: &[(&str, &[Kind])] =
    &[("string.gmatch.step", &[Kind::String, Kind::String, Kind::Position, Kind::Position])];

/// As much of a value as the check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Summary {
    /// A string of this length.
    String(usize),
    Integer(i64),
    Other,
}

/// Whether a function is in the list.
pub(crate) fn knows(name: &[u8]) -> bool {
    STATEFUL.iter().any(|(known, _)| known.as_bytes() == name)
}

/// Whether values are what the native function with this name carries.
pub(crate) fn fits(name: &[u8], values: &[Summary]) -> bool {
    let Some((_, kinds)) = STATEFUL.iter().find(|(known, _)| known.as_bytes() == name) else {
        return false;
    };
    let position_max = match values.first() {
        Some(Summary::String(length)) => *length as i64 + 1,
        _ => -1,
    };
    kinds.len() == values.len()
        && kinds.iter().zip(values).all(|(kind, value)| match (kind, value) {
            (Kind::String, Summary::String(_)) => true,
            (Kind::Position, Summary::Integer(position)) => (-1..=position_max).contains(position),
            _ => false,
        })
}
