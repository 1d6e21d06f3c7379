//! How much of the heap the objects of an image take, in nominal bytes.

use super::{ClosureImage, CoroutineImage, FunctionImage, NativeImage, TableImage, UserdataImage};
use crate::heap::accounting::FINALIZER_BYTES;
use crate::heap::chunk_name;
use crate::heap::closure::Closure;
use crate::heap::coroutine::Coroutine;
use crate::heap::native::Native;
use crate::heap::proto::nominal_bytes;
use crate::heap::string::LuaString;
use crate::heap::table::Table;
use crate::heap::upvalue::Upvalue;
use crate::heap::userdata::Userdata;

/// A string of this length.
pub fn string_bytes(length: usize) -> u64 {
    LuaString::nominal_bytes_for(length) as u64
}

/// What a chunk's name of this length takes, once for all functions that have it.
pub fn chunk_name_bytes(length: usize) -> u64 {
    chunk_name::nominal_bytes(length) as u64
}

/// The place of an object in the list of those with a finalizer.
pub fn finalizer_bytes() -> u64 {
    FINALIZER_BYTES as u64
}

/// A variable.
pub fn upvalue_bytes() -> u64 {
    Upvalue::NOMINAL_BYTES as u64
}

impl TableImage {
    pub fn nominal_bytes(&self) -> u64 {
        Table::nominal_bytes_for(self.array_capacity, self.entries_capacity)
    }
}

impl FunctionImage {
    /// Without the functions inside it.
    pub fn nominal_bytes(&self) -> u64 {
        nominal_bytes(&self.parts) as u64 + u64::from(self.constants) * 16 + self.children.len() as u64 * 8
    }
}

impl ClosureImage {
    pub fn nominal_bytes(&self) -> u64 {
        Closure::nominal_bytes_for(self.upvalues.len()) as u64
    }
}

impl NativeImage<'_> {
    pub fn nominal_bytes(&self) -> u64 {
        Native::nominal_bytes_for(self.count)
    }
}

impl UserdataImage {
    pub fn nominal_bytes(&self) -> u64 {
        Userdata::nominal_bytes_for(self.count)
    }
}

impl CoroutineImage {
    pub fn nominal_bytes(&self) -> u64 {
        Coroutine::nominal_bytes_for(self.stack_length, self.frames_capacity)
    }
}
