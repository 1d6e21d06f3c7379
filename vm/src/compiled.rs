//! Functions as WebAssembly: which are compiled, and what is known of compiled ones.
//!
//! Only a VM that is itself WebAssembly can do this, and only with a [`CodeHost`], which makes functions of modules. Which
//! functions run often is seen by looking, every so much fuel, at what is running. Compiled code changes neither results nor
//! fuel, nor what an image holds: a function is compiled again after an image is loaded, when it runs often there.

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::offset_of;

use cu_translator::{Constant, FrameLayout, IMPORTS, Kind, Layout, Source, Tags, translate};
use gc_arena::Arena;

use crate::chunk::read_chunk;
use crate::collect::Heap;
use crate::context::{Context, Root};
use crate::fuel;
use crate::heap::accounting::{note_freed, take_freed};
use crate::heap::closure::Closure;
use crate::heap::coroutine::{Callee, Frame, State};
use crate::heap::native::Native;
use crate::heap::proto::Proto;
use crate::heap::table::{self, Table};
use crate::heap::upvalue::Upvalue;
use crate::heap::value::Value;
use crate::host::SilentHost;
use crate::interpreter::{EXTRA_SLOTS, Machine, NESTED_MAX, SPECIAL, compiled as entrances};

/// After this many entries with unexpected values a function is interpreted again.
const FAILURES_MAX: u32 = 100;
/// How often the time between two looks may double, while all that runs is compiled.
const PATIENCE_MAX: u32 = 6;
/// How many callers of the running function count as running, too.
const CALLERS_SEEN: usize = 3;
/// A function that compiled code has called so often is compiled, whether it was seen running or not.
const CALLS_MIN: u32 = 500;
/// More samples than any [`Eagerness`] asks for.
const SAMPLES_ENOUGH: u32 = 1 << 31;
/// The most functions that are compiled at a time: each is a module.
const FUNCTIONS_MAX: u32 = 100;

/// Makes functions of WebAssembly modules.
pub trait CodeHost {
    /// Instantiates a module and gives its function's number in the table through which Rust calls functions. The module imports
    /// the VM's memory and functions ([`IMPORTS`]), whose numbers in that table are in `imports`. `None` if that is
    /// not possible.
    fn install(&mut self, module: &[u8], imports: [usize; IMPORTS.len()]) -> Option<usize>;

    /// The function with this number will not be called again.
    fn release(&mut self, function: usize);
}

/// When functions are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eagerness {
    /// How much fuel passes between two looks at what is running; more, while all of it is compiled.
    pub fuel_between_samples: u32,
    /// How often a function must have been seen.
    pub samples: u32,
}

impl Default for Eagerness {
    fn default() -> Self {
        Eagerness { fuel_between_samples: 20_000, samples: 3 }
    }
}

/// What there is of a function's compiled code.
#[derive(Default)]
pub(crate) struct Compilation {
    samples: Cell<u32>,
    /// How often compiled code has called it while it was interpreted.
    calls: Cell<u32>,
    /// The compiled function's number in the table; 0 if there is none, or it is not used.
    run: Cell<u32>,
    code: OnceCell<Option<Box<Code>>>,
}

pub(crate) struct Code {
    /// The function's number in the table.
    pub run: usize,
    /// By instruction, which entry is there, counted from 1.
    entry_at: Box<[u16]>,
    entries: Box<[cu_translator::Entry]>,
    failures: Cell<u32>,
}

impl Compilation {
    #[inline(always)]
    pub(crate) fn is_ready(&self) -> bool {
        self.run.get() != 0
    }

    pub(crate) fn code(&self) -> Option<&Code> {
        if self.is_ready() { self.code.get()?.as_deref() } else { None }
    }

    /// Compiled code calls the function, which is interpreted. Whether it is to be compiled now: functions that are short are
    /// called often, but are seldom those that a look sees.
    pub(crate) fn note_call(&self) -> bool {
        let calls = self.calls.get().saturating_add(1);
        self.calls.set(calls);
        let is_often = calls == CALLS_MIN && self.code.get().is_none();
        if is_often {
            self.samples.set(SAMPLES_ENOUGH);
        }
        is_often
    }

    /// Where the compiled function's number is, in bytes.
    pub(crate) const RUN_OFFSET: usize = offset_of!(Compilation, run);

    /// An entry was tried with values that it is not for.
    pub(crate) fn note_failure(&self) {
        if let Some(Some(code)) = self.code.get() {
            code.failures.set(code.failures.get() + 1);
            if code.failures.get() > FAILURES_MAX {
                self.run.set(0);
            }
        }
    }
}

impl Code {
    /// The entry at an instruction.
    pub(crate) fn entry(&self, pc: usize) -> Option<&cu_translator::Entry> {
        let number = *self.entry_at.get(pc)?;
        self.entries.get((number as usize).checked_sub(1)?)
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        RELEASED.with_borrow_mut(|released| released.push(self.run));
    }
}

thread_local! {
    /// Functions whose prototypes were freed since a host last heard of it. Wasm modules have one thread.
    static RELEASED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The compiler of a VM.
pub(crate) struct Compiler {
    host: Box<dyn CodeHost>,
    eagerness: Eagerness,
    /// Looked at when the first function is compiled: a page's first result does not wait for it.
    layout: OnceCell<Layout>,
    functions: u32,
    /// How many looks in a row found nothing new, up to [`PATIENCE_MAX`].
    patience: u32,
    /// Where the sequence of distances between looks is.
    dither: u32,
    /// The fuel until the next look, over as many slices of a run as it takes.
    until_sample: i64,
}

impl Compiler {
    pub(crate) fn new(host: Box<dyn CodeHost>, eagerness: Eagerness) -> Self {
        let layout = OnceCell::new();
        let mut compiler = Compiler { host, eagerness, layout, functions: 0, patience: 0, dither: 1, until_sample: 0 };
        compiler.until_sample = compiler.distance();
        compiler
    }

    /// The fuel until the next look.
    pub(crate) fn fuel_to_sample(&self) -> i64 {
        self.until_sample
    }

    /// Notes that so much fuel was used, and tells whether it is time to look.
    pub(crate) fn has_used(&mut self, fuel: i64) -> bool {
        self.until_sample -= fuel;
        let is_time = self.until_sample < 0;
        if is_time {
            self.until_sample = self.distance();
        }
        is_time
    }

    /// From one look to the next: between half and three halves of what was asked for, so that a loop is not always seen at
    /// the same place.
    fn distance(&mut self) -> i64 {
        self.dither = self.dither.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let between = i64::from(self.eagerness.fuel_between_samples.max(1)) << self.patience;
        between / 2 + ((between * i64::from(self.dither >> 16)) >> 16)
    }

    /// Looks at what is running, and compiles what was seen often.
    pub(crate) fn sample(&mut self, context: Context<'_>) {
        RELEASED.with_borrow_mut(|released| {
            for function in released.drain(..) {
                self.functions = self.functions.saturating_sub(1);
                self.host.release(function);
            }
        });
        let current = context.registered().current;
        // SAFETY: a copy of the frames' functions; nothing runs meanwhile.
        let frames = unsafe { &(*current.state_ptr()).frames };
        let running: Vec<Proto<'_>> = frames
            .iter()
            .rev()
            .filter_map(|frame| match frame.callee {
                Callee::Lua(closure) => Some(closure.proto()),
                Callee::Native(_) => None,
            })
            .take(1 + CALLERS_SEEN)
            .collect();
        let is_new = running.iter().any(|proto| proto.0.compiled.code.get().is_none());
        self.patience = if is_new { 0 } else { (self.patience + 1).min(PATIENCE_MAX) };
        for proto in running {
            let compilation = &proto.0.as_ref().compiled;
            let samples = compilation.samples.get().saturating_add(1);
            compilation.samples.set(samples);
            if samples >= self.eagerness.samples && compilation.code.get().is_none() && self.functions < FUNCTIONS_MAX {
                let code = self.compile(proto);
                compilation.run.set(code.as_ref().map_or(0, |code| code.run as u32));
                self.functions += u32::from(code.is_some());
                let _ = compilation.code.set(code.map(Box::new));
            }
        }
    }

    fn compile(&mut self, proto: Proto<'_>) -> Option<Code> {
        let object = proto.0.as_ref();
        let code: Vec<u32> = object.code.iter().map(Cell::get).collect();
        let constants: Vec<Constant> = object.constants.iter().map(|constant| describe(*constant)).collect();
        let upvalues = object.children.iter().flat_map(|child| child.upvalue_descriptions());
        let captured: Vec<u8> = upvalues.filter(|upvalue| upvalue.in_stack).map(|upvalue| upvalue.index).collect();
        let source = Source {
            code: &code,
            code_address: object.code.as_ptr() as u32,
            constants: &constants,
            constants_address: object.constants.as_ptr() as u32,
            is_vararg: object.is_vararg,
            register_count: object.register_count,
            captured: &captured,
        };
        let translation = translate(&source, self.layout.get_or_init(measured_layout))?;
        let run = self.host.install(&translation.module, entrances::imported())?;
        let mut entry_at = vec![0; code.len()];
        for (index, entry) in translation.entries.iter().enumerate() {
            entry_at[entry.pc as usize] = u16::try_from(index + 1).ok()?;
        }
        let entries = translation.entries.into();
        Some(Code { run, entry_at: entry_at.into(), entries, failures: Cell::new(0) })
    }
}

fn describe(constant: Value<'_>) -> Constant {
    match constant {
        Value::Boolean(boolean) => Constant::Boolean(boolean),
        Value::Integer(integer) => Constant::Integer(integer),
        Value::Float(float) => Constant::Float(float),
        Value::String(string) if string.is_short() => Constant::ShortString(address_in(constant)),
        Value::String(_) => Constant::LongString,
        _ => Constant::Nil,
    }
}

/// Whether a register of an entry holds what compiled code takes for granted.
pub(crate) fn has_kind(value: Value<'_>, kind: Kind) -> bool {
    match kind {
        Kind::Integer => matches!(value, Value::Integer(_)),
        Kind::Float => matches!(value, Value::Float(_)),
        _ => true,
    }
}

/// The address in the value of a string or a table.
pub(crate) fn address_in(value: Value<'_>) -> u32 {
    debug_assert!(matches!(value, Value::String(_) | Value::Table(_) | Value::Closure(_)));
    // SAFETY: the second eight bytes of such a value begin with its address.
    unsafe { (&raw const value).cast::<u32>().add(2).read() }
}

fn tag(value: Value<'_>) -> i32 {
    // SAFETY: a value begins with its tag.
    unsafe { (&raw const value).cast::<i32>().read() }
}

/// Where a `Vec` keeps what: offsets in bytes. The standard library does not say, so one is looked at.
pub(crate) struct VecWords {
    pub pointer: usize,
    pub length: usize,
    pub capacity: usize,
}

impl VecWords {
    pub(crate) fn of<T: Clone>(item: T) -> VecWords {
        let mut list = Vec::with_capacity(7);
        list.resize(3, item);
        // SAFETY: a `Vec` is three words: pointer, capacity, length, in some order.
        let words = unsafe { std::mem::transmute_copy::<Vec<T>, [usize; 3]>(&list) };
        let find = |number: usize| words.iter().position(|word| *word == number).expect("a word of the list") * 4;
        VecWords { pointer: find(list.as_ptr() as usize), length: find(3), capacity: find(list.capacity()) }
    }
}

/// Where compiled code finds what, as seen in a heap of its own: objects of every kind are made to look at them.
fn measured_layout() -> Layout {
    let freed_elsewhere = take_freed();
    let arena: Heap = Arena::new(|_| Root::new(usize::MAX, 0, Box::new(SilentHost)));
    let layout = arena.mutate(|mutation, root| layout(Context::new(mutation, root)));
    drop(arena);
    take_freed();
    note_freed(freed_elsewhere);
    // Nor does the running program pay for it.
    fuel::take_owed();
    layout
}

fn layout(context: Context<'_>) -> Layout {
    let string = Value::String(context.string(b""));
    let upvalue = Upvalue::new(context, Value::Nil);
    let native = Value::Native(Native::new(context, SPECIAL[0].0, &[]));
    let proto = Proto::new(context, read_chunk(b"", b"=").expect("an empty chunk is valid"));
    let closure = Closure::of_chunk(context, proto, Value::Nil);
    let (stack, frames) = (VecWords::of(Value::Nil), VecWords::of(Frame::new(Callee::Lua(closure), 0, 0, 0)));
    let mut layout = Layout {
        tags: Tags {
            nil: tag(Value::Nil),
            boolean: tag(Value::Boolean(false)),
            integer: tag(Value::Integer(0)),
            float: tag(Value::Float(0.0)),
            string: tag(string),
            table: tag(Value::Table(Table::new(context, 0, 0))),
            closure: tag(Value::Closure(closure)),
            native: tag(native),
        },
        machine_fuel: offset_of!(Machine<'_>, fuel) as u32,
        machine_state: entrances::STATE_OFFSET as u32,
        machine_nested: entrances::NESTED_OFFSET as u32,
        nested_max: NESTED_MAX,
        state_stack: (offset_of!(State<'_>, stack) + stack.pointer) as u32,
        state_stack_length: (offset_of!(State<'_>, stack) + stack.length) as u32,
        state_frames: (offset_of!(State<'_>, frames) + frames.pointer) as u32,
        state_frames_length: (offset_of!(State<'_>, frames) + frames.length) as u32,
        state_frames_capacity: (offset_of!(State<'_>, frames) + frames.capacity) as u32,
        frame: FrameLayout {
            bytes: size_of::<Frame<'_>>() as u32,
            callee: offset_of!(Frame<'_>, callee) as u32,
            pc: offset_of!(Frame<'_>, pc) as u32,
            function: offset_of!(Frame<'_>, function) as u32,
            base: offset_of!(Frame<'_>, base) as u32,
            top: offset_of!(Frame<'_>, top) as u32,
            want: offset_of!(Frame<'_>, want) as u32,
            state: offset_of!(Frame<'_>, state) as u32,
            extra: offset_of!(Frame<'_>, extra) as u32,
            results: offset_of!(Frame<'_>, results) as u32,
            flags: offset_of!(Frame<'_>, flags) as u32,
        },
        extra_slots: EXTRA_SLOTS as u32,
        power_fuel: fuel::POWER as u32,
        fuel_of_values: Some(fuel::values),
        closure: closure.address().wrapping_sub(address_in(Value::Closure(closure))),
        closure_proto: Closure::proto_offset(),
        closure_upvalues: Closure::upvalues_offset(),
        upvalue_location: upvalue.location_offset(),
        ..Layout::default()
    };
    table::describe_layout(context, &mut layout);
    proto.describe_layout(&mut layout);
    layout
}
