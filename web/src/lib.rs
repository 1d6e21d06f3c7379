//! Cu for the browser: what the wasm module offers to the TypeScript package around it.
//!
//! Two classes: [`Instance`], one Lua state, and [`Database`], one database over IndexedDB or in memory. They know nothing
//! of each other; the TypeScript side moves function blobs between them. So each has a wasm module of its own, `cu.wasm`
//! and `cu-storage.wasm`, this crate with only the feature `vm` or `storage`. `cu-home.wasm` is `cu.wasm` with `_home`. `web/ts/engine.ts` describes this surface, and
//! the build checks the generated declarations against it.
//!
//! Values cross as encoded documents, one byte string each way. Failing calls throw JavaScript `Error` objects with
//! a `code` ([`Error`]). A panic is a trap: the TypeScript side sees it and gives the whole module instance up.
//!
//! ```js
//! const instance = new Instance(encode({ heapLimit: 524288, seed: 1 }));
//! instance.start(utf8('return 1 + 1'), '=example', encode([]));
//! while (instance.step(100000) === 1); // 1: out of fuel
//! decode(instance.takeValues()); // [2]
//! ```

#![forbid(unsafe_code)]

#[cfg(feature = "vm")]
mod call;
#[cfg(feature = "storage")]
mod cells;
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
mod code;
#[cfg(feature = "vm")]
mod compress;
#[cfg(feature = "storage")]
mod database;
mod error;
#[cfg(feature = "vm")]
mod exchange;
#[cfg(feature = "vm")]
mod files;
#[cfg(feature = "vm")]
mod functions;
#[cfg(feature = "home")]
mod home;
#[cfg(feature = "vm")]
mod host;
#[cfg(feature = "storage")]
mod host_store;
#[cfg(feature = "storage")]
mod indexeddb;
#[cfg(feature = "vm")]
mod instance;
#[cfg(feature = "storage")]
mod live;
mod memory;
mod options;
#[cfg(feature = "vm")]
mod plain;
#[cfg(feature = "vm")]
mod saved_functions;
#[cfg(all(feature = "vm", not(feature = "tables")))]
#[path = "no_tables.rs"]
mod tables;
#[cfg(feature = "tables")]
mod tables;
#[cfg(feature = "storage")]
mod transaction;

#[cfg(feature = "storage")]
pub use database::Database;
pub use error::{Error, Result};
#[cfg(feature = "vm")]
pub use instance::Instance;
#[cfg(feature = "storage")]
pub use live::LiveQuery;
#[cfg(feature = "storage")]
pub use transaction::Transaction;

#[global_allocator]
static ALLOCATOR: cu_allocator::SizeClassAllocator = cu_allocator::SizeClassAllocator;
