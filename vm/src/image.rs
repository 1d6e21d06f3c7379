//! Images: a whole VM as plain data, and a VM from plain data.
//!
//! [`Vm::describe`] lists every object of the heap with all that the program could ever notice, and [`Vm::rebuild`] makes a VM of
//! such a list that goes on as if nothing had happened: the same results, order of traversal, fuel, collections and numbers shown
//! for objects. How the list is written as bytes is not known here.
//!
//! # What belongs to it
//!
//! Objects are found breadth-first from the roots and numbered by kind in that order, so the same heap gives the same list.
//! Everything that code could still come by is an object of the image: what weak tables hold, what waits for its finalizer,
//! keys of removed pairs (a traversal may stand on them), values in stack slots that are free but were not overwritten, and short
//! strings that nothing refers to (they are interned, so making them again costs nothing). Other garbage is left out, but its size is not:
//! it counts as used until the next collection, which so comes when it would have come. A collection before keeps images small.
//!
//! Native functions are written by name. Their code comes from the library, or from the host's [`HostParts`].
//!
//! # Trust
//!
//! [`Vm::rebuild`] takes anything and gives a VM that is sound, or an error. Numbers are checked before use and sizes before
//! allocation, code is verified, and every frame must stand at an instruction where a frame can be left or stopped
//! (see `frames`). Native functions check their slots themselves.

mod bounds;
mod coroutine;
mod describe;
mod frames;
pub mod path;
mod rebuild;
pub mod sizes;

use std::any::Any;

pub use coroutine::{CoroutineFault, CoroutineParts};

use crate::bytecode::function::FunctionParts;
use crate::bytecode::verify::VerifyError;
use crate::context::{Context, Handle};
use crate::heap::coroutine::Status;
use crate::heap::native::NativeDefinition;
use crate::vm::{Options, Vm};

/// A value; objects by number within their kind. Floats are equal when their bits are.
#[derive(Debug, Clone, Copy)]
pub enum Datum {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    LightUserdata(u64),
    String(u32),
    Table(u32),
    Closure(u32),
    Native(u32),
    Userdata(u32),
    Coroutine(u32),
}

impl PartialEq for Datum {
    fn eq(&self, other: &Datum) -> bool {
        let bits = |datum: &Datum| match *datum {
            Datum::Nil => 0,
            Datum::Boolean(boolean) => u64::from(boolean),
            Datum::Integer(integer) => integer as u64,
            Datum::Float(float) => float.to_bits(),
            Datum::LightUserdata(number) => number,
            Datum::String(number)
            | Datum::Table(number)
            | Datum::Closure(number)
            | Datum::Native(number)
            | Datum::Userdata(number)
            | Datum::Coroutine(number) => u64::from(number),
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && bits(self) == bits(other)
    }
}

/// A whole VM.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image<'a> {
    pub strings: Vec<&'a [u8]>,
    /// Short strings that exist but that no object refers to, in byte order.
    pub idle_strings: Vec<&'a [u8]>,
    /// Serial numbers of strings, by number; idle strings follow the others. 0 says that the hash of a long string is known, so that it
    /// is not paid for once more.
    pub string_serials: Vec<(u32, u32)>,
    /// The values in objects; each object says where its own start.
    pub values: Vec<Datum>,
    /// Prototypes, inner ones directly before the one that holds them.
    pub functions: Vec<FunctionImage>,
    pub tables: Vec<TableImage>,
    pub upvalues: Vec<UpvalueImage>,
    pub closures: Vec<ClosureImage>,
    pub natives: Vec<NativeImage<'a>>,
    pub userdata: Vec<UserdataImage>,
    pub coroutines: Vec<CoroutineImage>,
    pub roots: RootsImage,
    pub heap: HeapImage,
    pub run: RunImage,
}

/// A table exactly as it is stored. Values: the array part, then key and value of each entry; nil as value marks a removed key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableImage {
    pub serial: u32,
    pub metatable: Option<u32>,
    pub weak_keys: bool,
    pub weak_values: bool,
    /// Where the border was found last.
    pub border: u32,
    pub array_length: u32,
    pub array_capacity: u32,
    pub entries: u32,
    pub entries_capacity: u32,
    pub values: u32,
}

/// A prototype. Values: its constants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FunctionImage {
    /// Without constants and inner functions; inline caches as they are.
    pub parts: FunctionParts,
    pub constants: u32,
    pub values: u32,
    /// The prototypes inside, which come before in the list. Each is inside one other at most.
    pub children: Vec<u32>,
}

/// A variable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpvalueImage {
    pub serial: u32,
    /// `None` if it is open: its value is in a stack, and exactly one coroutine lists it.
    pub value: Option<Datum>,
}

/// A Lua function.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClosureImage {
    pub serial: u32,
    pub function: u32,
    pub upvalues: Vec<u32>,
}

/// A native function. Values: its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NativeImage<'a> {
    pub serial: u32,
    pub name: &'a str,
    pub count: u32,
    pub values: u32,
}

/// A userdata. Values: its user values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserdataImage {
    pub serial: u32,
    pub metatable: Option<u32>,
    /// What the host's value is, by a name that its codec knows.
    pub kind: String,
    pub bytes: Vec<u8>,
    pub count: u32,
    pub values: u32,
}

/// A coroutine. Values: the used slots of its stack, then the error that ended it, then the function of its hook.
#[derive(Debug, Clone, PartialEq)]
pub struct CoroutineImage {
    pub serial: u32,
    pub status: Status,
    pub resumer: Option<u32>,
    /// How many slots the stack has; those behind the used ones are nil.
    pub stack_length: u32,
    pub slots: u32,
    pub values: u32,
    pub transfer: u32,
    pub native_calls_below: u32,
    pub hook: HookImage,
    pub frames: Vec<FrameImage>,
    pub frames_capacity: u32,
    /// Open upvalues and their positions, in order of position.
    pub open: Vec<(u32, u32)>,
    /// Positions of variables to be closed, in order.
    pub to_close: Vec<u32>,
}

/// A debug hook without its function; see `heap/hook.rs` for the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HookImage {
    pub mask: u8,
    pub count: i32,
    pub count_left: i32,
    pub traced_pc: u32,
    pub suspensions: u32,
}

/// A running call; see `heap/coroutine.rs` for the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameImage {
    /// The number of a native function, otherwise of a closure.
    pub is_native: bool,
    pub callee: u32,
    /// Lua: the word of code where it goes on.
    pub pc: u32,
    pub function: u32,
    pub base: u32,
    pub top: u32,
    pub want: i32,
    pub state: u32,
    pub extra: u32,
    pub results: u32,
    pub flags: u32,
}

/// Where everything hangs. Numbers of tables, coroutines and userdata where only those fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RootsImage {
    pub globals: u32,
    pub loaded: u32,
    pub permanents: u32,
    pub permanent_names: u32,
    /// The metatables that all values of a type share, in the order of `BasicType`.
    pub type_metatables: [Option<u32>; 7],
    /// What `debug.getregistry` gives.
    pub registry: Option<u32>,
    /// Of the `io` library: the metatable of files, default input and output.
    pub files: Option<[u32; 3]>,
    pub report: Option<u32>,
    pub main: u32,
    pub current: u32,
    /// What the host keeps alive, by number.
    pub handles: Vec<Datum>,
    pub free_handles: Vec<u32>,
    /// Objects with a finalizer, in the order they got it.
    pub finalizable: Vec<Datum>,
    /// Dead objects that wait for their finalizers; the last one is next.
    pub doomed: Vec<Datum>,
}

/// Counters of the heap, in nominal bytes, and what else the whole heap has once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeapImage {
    pub used: u64,
    pub peak: u64,
    pub limit: u64,
    pub trigger: u64,
    /// In units of four percent, as is the step multiplier.
    pub pause: u8,
    pub step_multiplier: u8,
    /// Work that steps have done towards the next cycle.
    pub stepped: u64,
    pub generational: bool,
    pub collecting: bool,
    pub next_serial: u32,
    pub finalizing: bool,
    pub warnings_on: bool,
    pub random: [u64; 4],
}

/// How far the run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunImage {
    pub running: bool,
    pub memory_retry: bool,
    /// What the run is to be interrupted with.
    pub interruption: Option<String>,
    pub fuel_used: u64,
    pub results: u32,
    pub cycles: u64,
}

/// What a VM has from its host and an image can only name.
pub struct HostParts<'a> {
    /// Native functions besides the library's, by name.
    pub natives: &'a [NativeDefinition],
    pub userdata: &'a dyn UserdataCodec,
}

impl HostParts<'_> {
    /// A host without native functions and userdata of its own.
    pub const NONE: HostParts<'static> = HostParts { natives: &[], userdata: &NoUserdata };
}

/// How the host's values in userdata become bytes.
pub trait UserdataCodec {
    /// A name for the kind of value and its bytes; `None` if it cannot be saved.
    fn save(&self, data: &dyn Any) -> Option<(String, Vec<u8>)>;

    /// The value again; `None` for an unknown kind and for bytes that are none of it.
    fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn Any>>;
}

/// The codec of a host that saves no userdata.
pub struct NoUserdata;

impl UserdataCodec for NoUserdata {
    fn save(&self, _: &dyn Any) -> Option<(String, Vec<u8>)> {
        None
    }

    fn load(&self, _: &str, _: &[u8]) -> Option<Box<dyn Any>> {
        None
    }
}

/// What takes the tables of a heap as a walk finds them, each with its values; they are most of an image.
pub trait Tables {
    /// The next table, whose `values` are not set.
    fn table(&mut self, table: TableImage);

    /// The next value of that table, in the order that [`TableImage`] tells.
    fn value(&mut self, value: Datum);
}

/// Why there is no image, or no VM from one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Something that the program can reach, or that waits for its finalizer, cannot be saved.
    #[error("{path}: cannot save {what}")]
    Unsaveable {
        /// Where it is: `_G.handlers[3].upvalue 'file'`.
        path: String,
        /// What it is: `a userdata`, `a host function 'fetch'`.
        what: String,
    },
    /// The image needs a native function that neither the library nor the host has.
    #[error("unknown native function '{name}'")]
    UnknownNative { name: String },
    /// The image holds a userdata that the host's codec does not know.
    #[error("unknown userdata '{kind}'")]
    UnknownUserdata { kind: String },
    /// It does not fit into the heap.
    #[error("the heap limit is too low for the image")]
    HeapLimit,
    /// Code that the verifier rejects.
    #[error("function {function}: {source}")]
    Verify { function: usize, source: VerifyError },
    /// The image describes no VM that could have been.
    #[error("damaged image: {part}")]
    Damaged {
        /// What kind of thing is wrong, and with some its number.
        part: Damage,
    },
}

/// The part of an image that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {number}: {problem}")]
pub struct Damage {
    pub kind: &'static str,
    pub number: usize,
    pub problem: &'static str,
}

impl Vm {
    /// Describes the whole VM to `work`. Nothing in it changes and no Lua code runs. Time is proportional to the heap.
    ///
    /// # Errors
    ///
    /// `work` is given [`ImageError::Unsaveable`] for host values without a codec, files that are open, and native functions that are
    /// no permanents.
    pub fn describe<T>(
        &self,
        userdata: &dyn UserdataCodec,
        work: impl for<'a> FnOnce(Result<Image<'a>, ImageError>) -> T,
    ) -> T {
        self.describe_beside(userdata, describe::TableList::default(), |described| {
            work(described.map(|(image, tables)| tables.into_image(image)))
        })
    }

    /// As [`Self::describe`]; the tables and their values are not in the image, but go to `tables` as they are found.
    pub fn describe_beside<S: Tables, T>(
        &self,
        userdata: &dyn UserdataCodec,
        tables: S,
        work: impl for<'a> FnOnce(Result<(Image<'a>, S), ImageError>) -> T,
    ) -> T {
        let run = self.run_image();
        self.enter(|context: Context<'_>| work(describe::describe(context, userdata, tables, run)))
    }

    /// Makes a VM of an image: with its host, seed for hashing and at most its heap limit from `options`, and a handle for everything that the
    /// host of the described VM kept alive, in the order of its handles.
    ///
    /// # Errors
    ///
    /// Every kind but [`ImageError::Unsaveable`].
    pub fn rebuild(
        options: Options,
        image: &Image<'_>,
        parts: &HostParts<'_>,
    ) -> Result<(Vm, Vec<Handle>), ImageError> {
        rebuild::rebuild(options, image, parts)
    }
}
