//! Lua 5.4 that can stop anywhere: interpreter, heap and standard library over the verified bytecode of `cu-compiler`.
//!
//! A [`Vm`] compiles chunks, runs them in slices of fuel and collects garbage between the slices. Output and time go through a
//! [`Host`]. Inside [`Vm::enter`] a [`Context`] gives access to values; whatever has to outlive that is a [`Handle`].
//!
//! ```
//! use cu_vm::{Options, Value, Vm};
//!
//! let mut vm = Vm::new(Options::default());
//! let chunk = vm.load(b"local a, b = ... return (a or 6) * (b or 7)", "=answer").unwrap();
//! let answer = vm.run(&chunk, 1_000_000, |_, values| match values {
//!     [Value::Integer(answer)] => *answer,
//!     _ => 0,
//! });
//! assert_eq!(answer, Ok(42));
//!
//! let chunk = vm.load(b"while true do end", "=loop").unwrap();
//! assert_eq!(vm.run(&chunk, 1_000_000, |_, _| ()), Err(cu_vm::RunError::OutOfFuel));
//! ```

mod call;
mod chunk;
mod collect;
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
mod compiled;
mod context;
mod error;
mod fuel;
mod heap;
pub mod home;
mod host;
pub mod image;
mod interpreter;
mod library;
mod metamethod;
mod text;
mod vm;

pub use call::{Action, Call};
pub use chunk::chunk_of_file;
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
pub use compiled::{CodeHost, Eagerness};
pub use context::{Context, Handle};
use cu_compiler::arithmetic;
pub use cu_compiler::{SyntaxError, bytecode, compile};
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
pub use cu_translator::{EXPORT as CODE_EXPORT, IMPORTS as CODE_IMPORTS, MEMORY as CODE_MEMORY, TABLE as CODE_TABLE};
pub use error::{Error, RunError};
pub use fuel::{FUEL_VERSION, external_price, pay_for_bytes};
pub use heap::accounting::OutOfMemory;
pub use heap::closure::Closure;
pub use heap::coroutine::{Coroutine, Status};
pub use heap::native::{Native, NativeCode, NativeDefinition};
pub use heap::proto::Proto;
pub use heap::string::LuaString;
pub use heap::table::{InvalidKey, Table, TableError};
pub use heap::upvalue::Upvalue;
pub use heap::userdata::Userdata;
pub use heap::value::Value;
pub use host::files::{Buffering, File, FileError, Files, OpenMode, ProcessEnd, StandardStream, Whence};
pub use host::memory_files::{MemoryFiles, SharedBytes};
pub use host::{Answer, Host, SilentHost, TimeZone};
pub use vm::{DEFAULT_HEAP_LIMIT, HeapBytes, Options, Step, Vm};
