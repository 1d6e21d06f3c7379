//! The Lua heap: values, strings, tables, functions, coroutines, and the accounting of what they take.
//!
//! Objects are gc-arena allocations. Collection is an *atomic* cycle (mark, finalize, sweep) that the driver runs between two
//! `mutate` calls; nothing is ever half marked while Lua code runs. That is why stores need no write barrier,
//! and why the lists of weak tables, finalizable objects and interned strings may hold untraced pointers: they are
//! purged inside the cycle, before anything is freed. [`crate::vm`] is the only caller of the collector and
//! keeps this invariant.
//!
//! Every object is charged its *nominal* size, the bytes it takes on a 64-bit machine, so limits trip at the same point on every
//! platform, and no platform's allocator before them.

pub mod accounting;
pub(crate) mod chunk_name;
pub mod closure;
pub mod coroutine;
pub(crate) mod hook;
pub mod native;
pub mod proto;
pub mod string;
pub mod table;
pub mod upvalue;
pub mod userdata;
pub mod value;
