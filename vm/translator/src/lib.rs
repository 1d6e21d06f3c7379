//! Verified bytecode to WebAssembly: a function that runs often becomes a module of its own.
//!
//! ```text
//!   code words ─blocks→ blocks, loops, entries ─kinds→ what registers hold ─emit→ a module with one function
//! ```
//!
//! # What compiled code is
//!
//! A compiled function does the usual case of each instruction, on the same registers in the same memory as the interpreter, and
//! charges the same fuel. Everything else it leaves to the VM's functions, which it imports. There is no state but that of the
//! interpreter: a compiled function can return to its driver at any instruction, and whoever goes on from there (the
//! interpreter, another compiled function, a VM restored from an image) finds all in its place.
//!
//! ```text
//!   run(machine, base, closure, entry) -> outcome
//!     machine  address of the interpreter's state
//!     base     position of register 0 from the bottom of the stack, in bytes
//!     closure  address of the running closure
//!     entry    where to start: 0 is the first instruction, others as `Translation::entries` numbers them
//! ```
//!
//! # What it relies on
//!
//! The code is verified, so operands are in range and loops are well formed. Types are checked where they are used, but for registers
//! that can only hold integers or only floats ([`kinds`]); whoever starts a function at an entry checks these
//! ([`Entry::guards`]).

mod blocks;
mod calls;
mod emit;
mod kinds;
mod module;
mod numbers;
mod registers;
mod tables;

pub use kinds::Kind;

/// The most words of code that are translated: beyond it, compiling takes too long at once.
const WORDS_MAX: usize = 6_000;

/// A function to be translated.
pub struct Source<'a> {
    pub code: &'a [u32],
    /// Where the code lies in memory.
    pub code_address: u32,
    pub constants: &'a [Constant],
    /// Where the constants lie in memory.
    pub constants_address: u32,
    pub is_vararg: bool,
    pub register_count: u8,
    /// Registers that closures made by the function capture: other code may change them during a call.
    pub captured: &'a [u8],
}

/// What is known of a constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constant {
    Nil,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// A short string, which is equal to another only if it is the same object: its address.
    ShortString(u32),
    LongString,
}

/// Where things are in the VM's memory: offsets in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    pub tags: Tags,
    /// From the address of a table in a value to the table.
    pub object: u32,
    pub machine_fuel: u32,
    pub machine_state: u32,
    /// How many compiled functions run one inside the other, of at most `nested_max`.
    pub machine_nested: u32,
    pub nested_max: u32,
    pub state_stack: u32,
    pub state_stack_length: u32,
    pub state_frames: u32,
    pub state_frames_length: u32,
    pub state_frames_capacity: u32,
    pub frame: FrameLayout,
    /// How many slots above a function's registers a call needs.
    pub extra_slots: u32,
    /// What a power costs.
    pub power_fuel: u32,
    /// What setting so many registers to nil costs.
    pub fuel_of_values: Option<fn(usize) -> usize>,
    pub table_array: u32,
    pub table_array_length: u32,
    pub table_array_capacity: u32,
    pub table_entries: u32,
    pub table_entries_length: u32,
    pub table_integer_keys: u32,
    pub table_metatable: u32,
    pub entry_bytes: u32,
    pub entry_key: u32,
    pub entry_value: u32,
    /// From the address of a closure in a value to the closure.
    pub closure: u32,
    /// From the address of a prototype in a closure to the prototype.
    pub proto: u32,
    pub closure_proto: u32,
    pub closure_upvalues: u32,
    pub proto_run: u32,
    pub proto_code: u32,
    /// What entering the function costs.
    pub proto_entry_fuel: u32,
    pub proto_parameter_count: u32,
    pub proto_register_count: u32,
    /// From the address in a closure's list of upvalues.
    pub upvalue_location: u32,
}

/// The numbers of the types in a value's first word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tags {
    pub nil: i32,
    pub boolean: i32,
    pub integer: i32,
    pub float: i32,
    pub string: i32,
    pub table: i32,
    pub closure: i32,
    pub native: i32,
}

/// Where things are in a frame. Its callee is a word that is 0 for Lua functions, and an address.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameLayout {
    pub bytes: u32,
    pub callee: u32,
    pub pc: u32,
    pub function: u32,
    pub base: u32,
    pub top: u32,
    pub want: u32,
    pub state: u32,
    pub extra: u32,
    pub results: u32,
    pub flags: u32,
}

/// What a compiled function, or one of the VM's functions that it calls, came to.
pub mod outcome {
    /// The instruction is over; of a function: it has returned to the Lua function that called it.
    pub const CONTINUE: i32 = 0;
    /// The VM stops.
    pub const STOP: i32 = 2;
    /// The top frame, perhaps another one, is to be gone on with by the driver.
    pub const FRAME: i32 = 3;
    /// The instruction is over, and jumped.
    pub const TAKEN: i32 = 4;
}

/// The functions that a module imports, in order, from module `"vm"`. The first five take the machine and the address of an instruction and
/// give an outcome. The others do a part of an instruction, or nothing, which 0 tells:
///
/// ```text
///   field   (machine, instruction, address of the object) -> address of the value
///   item    (address of the object, address of the key) -> address of the value
///   assign  (machine, instruction, address of the object, address of the value) -> 1
///   iterate (machine, instruction, address of the iterator) -> 1
/// ```
pub const IMPORTS: [&str; 9] = ["step", "exit", "call", "leave", "fuel", "field", "item", "assign", "iterate"];

/// The name of the memory that a module imports, and of the function that it exports.
pub const MEMORY: &str = "memory";
/// The name of the table of functions, which compiled functions call one another through.
pub const TABLE: &str = "functions";
pub const EXPORT: &str = "run";

/// A translated function.
#[derive(Debug)]
pub struct Translation {
    pub module: Vec<u8>,
    pub entries: Vec<Entry>,
}

/// A place where a compiled function can be entered.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The instruction.
    pub pc: u32,
    /// The number to enter with.
    pub number: u32,
    /// Registers that must hold these kinds of numbers.
    pub guards: Vec<(u8, Kind)>,
}

/// Translates a function; `None` if it is too long, or its loops would take too much time to look at.
pub fn translate(source: &Source<'_>, layout: &Layout) -> Option<Translation> {
    if source.code.len() > WORDS_MAX || source.code.is_empty() {
        return None;
    }
    let blocks = blocks::Blocks::of(source)?;
    let kinds = kinds::at_block_starts(source, &blocks)?;
    let entries = blocks.entries(source, &kinds);
    let function = emit::function(source, layout, &blocks, &kinds);
    Some(Translation { module: module::around(&function), entries })
}
