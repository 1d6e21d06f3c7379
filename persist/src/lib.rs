//! What joins the Lua VM and the storage engine: functions and whole VMs saved as bytes, and Lua values as documents.
//!
//! A *function blob* holds one closure, or several saved together, with everything they reach: prototypes, upvalues, tables with
//! their metatables, other closures. Library functions and the global table are *permanents*: written by name,
//! found again by name in the VM that loads them.
//!
//! ```
//! use cu_persist::{Limits, Save, load_function, save_function};
//! use cu_vm::{Options, Value, Vm};
//!
//! let mut vm = Vm::new(Options::default());
//! let chunk = vm.load(b"local n = 0; return function() n = n + 1; return n end", "=counter").unwrap();
//! let counter = vm.run(&chunk, 1000, |context, results| context.stash(results[0])).unwrap();
//! vm.run(&counter, 1000, |_, _| ()).unwrap();
//! let bytes = save_function(&vm, &counter, &Save::default()).unwrap();
//!
//! // Elsewhere, later:
//! let mut vm = Vm::new(Options::default());
//! let counter = load_function(&mut vm, &bytes, &Limits::default()).unwrap();
//! let count = vm.run(&counter, 1000, |_, results| results[0].to_integer()).unwrap();
//! assert_eq!(count, Some(2));
//! ```
//!
//! An *image* ([`save_image`]) holds a whole VM in the middle of a run, coroutines with their frames, upvalues that are open and all; the VM loaded
//! from it goes on as if nothing had happened.
//!
//! *External tables* ([`External`]) are Collections as Lua code sees them, with queries and transactions.
//!
//! Loading trusts nothing: bytes are bounds-checked and validated as a whole, code goes through the verifier, and only
//! then is anything made in the VM.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(target_arch = "wasm32"))]
mod audit;
mod blob;
mod build;
mod codecs;
mod content;
mod coroutine;
mod deflate;
mod envelope;
mod error;
mod external;
mod home;
mod identity;
mod image;
mod limits;
mod path;
mod reader;
mod registry;
mod save;
mod stateful;
mod value;
mod wire;

#[cfg(not(target_arch = "wasm32"))]
pub use audit::{AUDIT_COLLECTION, AuditFault, AuditHead, AuditLog, AuditRecord};
pub use blob::{Blob, load_function, load_functions, load_functions_with, save_function, save_functions};
pub use codecs::Codecs;
pub use envelope::{FORMAT_VERSION, compress_bytes, decompress_bytes};
pub use error::{CorruptKind, Error, Result};
pub use external::{
    Access, AccessFilter, Answer, External, ExternalOptions, NAME_BYTES_MAX, RemoteHost, RemoteRequest, RemoteTables,
    Request, StoredTables, Tables,
};
pub use home::{Changes, HOME_BLOB, HOME_COLLECTION, Home, HomeOptions, Records, StoredHome};
pub use image::{ImageFile, Loaded, load_image, save_image};
pub use limits::Limits;
pub use registry::{Functions, compile_function};
pub use save::{Save, save_values};
pub use value::{FUNCTION_BLOB, FunctionPolicy, from_document, to_document};
