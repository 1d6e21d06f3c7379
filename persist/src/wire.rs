//! The payload's parts as explicit structs, encoded by postcard; format versions 1 to 3. Version 2 has coroutines, version 3 userdata too.
//!
//! ```text
//!   Counts
//!   version 2: number of coroutines
//!   version 3: number of userdata
//!   strings     each: length, bytes
//!   permanents  each: name (string number)
//!   functions   each as in binary chunks (`cu_vm::bytecode::wire`); children come before their parents
//!   tables      each: TableHead, items 1 to the border (nil = hole), keys and values in turn
//!   upvalues    each: Value
//!   closures    each: function number, one upvalue number for each upvalue of the function
//!   natives     each: NativeHead, Value…
//!   version 2: coroutines, each: what is numbers (`coroutine::Head`, counts, frames, open upvalues, variables to be closed), slots,
//!               error, function of the hook, functions of the frames: Value…
//!   version 3: userdata, each: what kind of host's value it is and its bytes, as its codec gave them; UserdataHead, Value…
//!   roots       each: Value
//! ```
//!
//! Objects of each kind are numbered from zero in the order in which a breadth-first walk from the roots meets them, so
//! equal graphs give equal bytes. References go by number, in any direction.

pub(crate) use cu_vm::bytecode::wire::Writer;
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
    /// In blobs only.
    Permanent(u32),
    /// In images, and in blobs of version 3.
    Userdata(u32),
    /// In images, and in blobs of version 2.
    Coroutine(u32),
    /// In images only.
    LightUserdata(u64),
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

/// What a userdata has besides the host's value.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct UserdataHead {
    pub metatable: Metatable,
    pub values: u32,
}
