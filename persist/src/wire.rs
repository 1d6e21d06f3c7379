//! The payload's parts as explicit structs, encoded by postcard; format version 1.
//!
//! ```text
//!   Counts
//!   strings     each: length, bytes
//!   permanents  each: name (string number)
//!   functions   each: FunctionHead, code words (4 bytes each, little endian), Constant…, UpvalueDescription…,
//!               child function numbers, Line…, Local…; children come before their parents
//!   tables      each: TableHead, items 1 to the border (nil = hole), keys and values in turn
//!   upvalues    each: Value
//!   closures    each: function number, one upvalue number for each upvalue of the function
//!   natives     each: NativeHead, Value…
//!   roots       each: Value
//! ```
//!
//! Objects of each kind are numbered from zero in the order in which a breadth-first walk from the roots meets them, so
//! equal graphs give equal bytes. References go by number, in any direction.

use postcard::Serializer;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// How many of each follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub strings: u32,
    pub permanents: u32,
    pub functions: u32,
    pub tables: u32,
    pub upvalues: u32,
    pub closures: u32,
    pub natives: u32,
    pub roots: u32,
}

/// A Lua value; objects by number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Nil,
    False,
    True,
    Integer(i64),
    Float(f64),
    String(u32),
    Table(u32),
    Closure(u32),
    Native(u32),
    Permanent(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Metatable {
    None,
    Table(u32),
    Permanent(u32),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct TableHead {
    pub metatable: Metatable,
    /// The table's border: how many items there are, nil for holes; the last one is not nil.
    pub items: u32,
    pub pairs: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NativeHead {
    /// The permanent whose code it runs.
    pub permanent: u32,
    pub values: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct FunctionHead {
    /// String number.
    pub chunk_name: u32,
    pub line_defined: u32,
    pub last_line_defined: u32,
    pub parameter_count: u8,
    pub is_vararg: bool,
    pub register_count: u8,
    pub code_words: u32,
    pub constants: u32,
    pub upvalues: u32,
    pub children: u32,
    pub lines: u32,
    pub locals: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Constant {
    Nil,
    False,
    True,
    Integer(i64),
    Float(f64),
    String(u32),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct UpvalueDescription {
    pub in_stack: bool,
    pub index: u8,
    /// String number.
    pub name: u32,
}

/// The distance to the line entry before; for the first one from instruction 0 and the line of the definition.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Line {
    pub instructions: u32,
    pub lines: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Local {
    /// String number.
    pub name: u32,
    pub register: u8,
    pub start: u32,
    /// How many instructions it is visible for.
    pub length: u32,
}

/// A byte string as postcard writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Growing output; writing to it cannot fail.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn put(&mut self, part: &impl Serialize) {
        let mut serializer = Serializer { output: Sink(&mut self.bytes) };
        part.serialize(&mut serializer).expect("parts have known lengths and the sink takes everything");
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

struct Sink<'a>(&'a mut Vec<u8>);

impl Flavor for Sink<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
