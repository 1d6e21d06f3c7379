//! Lua 5.4: compiler, verified bytecode, interpreter, heap and standard library.

mod call;
mod collect;
mod context;
mod error;
mod heap;
mod host;
mod interpreter;
mod library;
mod metamethod;
mod text;
mod vm;

pub use call::{Action, Call};
pub use context::{Context, Handle};
use cu_compiler::arithmetic;
pub use cu_compiler::{SyntaxError, bytecode, compile};
pub use error::{Error, RunError};
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
pub use host::{Host, SilentHost};
pub use vm::{DEFAULT_HEAP_LIMIT, HeapBytes, Options, Step, Vm};
