//! From a description to a VM.
//!
//! First every object is made empty, then filled, so references in any direction need no care. No collection and no Lua code
//! can come between, and the heap is told of metatables, weakness and finalizers as they were found, not as they would be now.

mod content;
mod roots;

use std::cell::OnceCell;

use gc_arena::Arena;

use super::bounds::{steps_max, take_steps};
use super::describe::FILE_KIND;
use super::frames::{Placed, Starts};
use super::{CoroutineImage, Damage, Datum, FrameImage, HostParts, Image, ImageError, TableImage, UserdataImage};
use crate::bytecode::function::{Constant, FunctionParts};
use crate::bytecode::verify::{SHORT_STRING_BYTES_MAX, verify};
use crate::context::{Context, Handle, Root};
use crate::fuel;
use crate::heap::closure::Closure;
use crate::heap::coroutine::{
    Callee, Coroutine, Frame, INITIAL_SLOTS, STACK_SLOTS_MAX, STACK_SLOTS_RESERVE, State, Status,
};
use crate::heap::native::{Native, NativeDefinition, Role};
use crate::heap::proto::{Proto, nominal_bytes, take_caches};
use crate::heap::string::LuaString;
use crate::heap::table::Table;
use crate::heap::upvalue::Upvalue;
use crate::heap::userdata::Userdata;
use crate::heap::value::Value;
use crate::interpreter::NATIVE_CALLS_HANDLING_MAX;
use crate::library::{self, FileHandle};
use crate::metamethod::Metamethod;
use crate::vm::{Options, Vm};

/// The highest serial number of an image.
const SERIAL_MAX: u32 = i32::MAX as u32;

pub(super) fn rebuild(
    options: Options,
    image: &Image<'_>,
    parts: &HostParts<'_>,
) -> Result<(Vm, Vec<Handle>), ImageError> {
    let Options { heap_limit, seed, host, has_debug, sandboxed: _ } = options;
    let limit = heap_limit.min(usize::try_from(image.heap.limit).unwrap_or(usize::MAX));
    let arena = Arena::new(|_| Root::new(limit, seed, host));
    let handles = arena.mutate(|mutation, root| {
        let context = Context::new(mutation, root);
        let names = std::array::from_fn(|index| context.string(Metamethod::ALL[index].name().as_bytes()));
        assert!(root.names.set(names).is_ok(), "the names are set once");
        Builder::new(context, image).build(parts, has_debug)
    })?;
    Ok((Vm::of_image(arena, image.run.clone()), handles))
}

struct Builder<'gc, 'a> {
    context: Context<'gc>,
    image: &'a Image<'a>,
    /// The most that may be charged.
    bytes_max: usize,
    strings: Vec<LuaString<'gc>>,
    protos: Vec<Option<Proto<'gc>>>,
    tables: Vec<Table<'gc>>,
    upvalues: Vec<Upvalue<'gc>>,
    closures: Vec<Closure<'gc>>,
    natives: Vec<Native<'gc>>,
    userdata: Vec<Userdata<'gc>>,
    coroutines: Vec<Coroutine<'gc>>,
    starts: Vec<Option<Starts>>,
    /// See [`classes`].
    classes: OnceCell<Vec<u32>>,
}

fn damaged<T>(kind: &'static str, number: usize, problem: &'static str) -> Result<T, ImageError> {
    Err(ImageError::Damaged { part: Damage { kind, number, problem } })
}

pub(super) fn or_damaged<T>(
    found: Option<T>,
    kind: &'static str,
    number: usize,
    problem: &'static str,
) -> Result<T, ImageError> {
    match found {
        Some(found) => Ok(found),
        None => damaged(kind, number, problem),
    }
}

impl<'gc, 'a> Builder<'gc, 'a> {
    fn new(context: Context<'gc>, image: &'a Image<'a>) -> Self {
        let limit = context.accounting().limit();
        Builder {
            context,
            image,
            // Between two safe points a heap may be over its limit.
            bytes_max: limit.saturating_add(limit / 4),
            strings: Vec::new(),
            protos: Vec::new(),
            tables: Vec::new(),
            upvalues: Vec::new(),
            closures: Vec::new(),
            natives: Vec::new(),
            userdata: Vec::new(),
            coroutines: Vec::new(),
            starts: vec![None; image.functions.len()],
            classes: OnceCell::new(),
        }
    }

    fn build(mut self, parts: &HostParts<'_>, has_debug: bool) -> Result<Vec<Handle>, ImageError> {
        self.check_serials()?;
        self.make_strings()?;
        self.make_functions()?;
        self.make_tables()?;
        self.make_closures()?;
        self.make_natives(parts.natives, has_debug)?;
        self.make_userdata(parts)?;
        self.make_coroutines()?;
        for number in 0..self.tables.len() {
            self.fill_table(number)?;
        }
        self.fill_others()?;
        for number in 0..self.coroutines.len() {
            self.fill_coroutine(number)?;
        }
        self.set_roots()?;
        self.check_current()?;
        self.set_heap()
    }

    /// Asks for room before it is taken.
    fn reserve(&self, bytes: u64) -> Result<(), ImageError> {
        let left = self.bytes_max.saturating_sub(self.context.accounting().used());
        if bytes <= left as u64 { Ok(()) } else { Err(ImageError::HeapLimit) }
    }

    // Objects without content

    /// Numbers shown for objects differ; they are hashed too.
    fn check_serials(&self) -> Result<(), ImageError> {
        let image = self.image;
        let mut serials: Vec<u32> = image.tables.iter().map(|table| table.serial).collect();
        serials.extend(image.closures.iter().map(|closure| closure.serial));
        serials.extend(image.upvalues.iter().map(|upvalue| upvalue.serial));
        serials.extend(image.string_serials.iter().map(|string| string.1));
        serials.extend(image.natives.iter().map(|native| native.serial));
        serials.extend(image.userdata.iter().map(|userdata| userdata.serial));
        serials.extend(image.coroutines.iter().map(|coroutine| coroutine.serial));
        serials.retain(|serial| *serial != 0);
        cu_sort::sort(&mut serials);
        let next = image.heap.next_serial;
        let are_right = (1..=SERIAL_MAX).contains(&next) && serials.last().is_none_or(|last| *last < next);
        if are_right && serials.windows(2).all(|pair| pair[0] < pair[1]) {
            Ok(())
        } else {
            damaged("heap", 0, "serial numbers")
        }
    }

    fn make_strings(&mut self) -> Result<(), ImageError> {
        for bytes in self.image.strings.iter().chain(&self.image.idle_strings) {
            self.reserve(LuaString::nominal_bytes_for(bytes.len()) as u64)?;
            self.strings.push(self.context.string(bytes));
        }
        for (number, serial) in &self.image.string_serials {
            let string = self.strings.get(*number as usize).copied();
            let string = or_damaged(string, "string", *number as usize, "serial number")?;
            if *serial == 0 && !string.is_short() {
                string.hash();
            } else if *serial == 0 || self.context.root().interned.serial(string, || *serial) != *serial {
                return damaged("string", *number as usize, "serial number");
            }
        }
        self.strings.truncate(self.image.strings.len());
        Ok(())
    }

    /// Puts prototypes together, verifies each outermost one with all inside it, and makes them.
    fn make_functions(&mut self) -> Result<(), ImageError> {
        let image = self.image;
        self.protos = vec![None; image.functions.len()];
        let mut trees: Vec<Option<FunctionParts>> = Vec::with_capacity(image.functions.len());
        let mut caches = Vec::with_capacity(image.functions.len());
        let mut depths: Vec<usize> = Vec::with_capacity(image.functions.len());
        for (number, function) in image.functions.iter().enumerate() {
            let mut parts = function.parts.clone();
            caches.push(take_caches(&mut parts.code));
            for index in 0..function.constants {
                parts.constants.push(self.constant(number, function.values.checked_add(index))?);
            }
            let mut depth = 1;
            for child in &function.children {
                let child = *child as usize;
                let tree = trees.get_mut(child).and_then(Option::take);
                parts.functions.push(or_damaged(tree, "function", number, "inner function")?);
                depth = depth.max(depths[child] + 1);
            }
            // The bound keeps what walks trees by recursion, such as dropping them, from going deep.
            if depth > NESTING_MAX {
                return damaged("function", number, "nesting");
            }
            depths.push(depth);
            trees.push(Some(parts));
        }
        let mut steps = steps_max(image.functions.len());
        // What hashing strings has owed is no look-up.
        fuel::take_owed();
        for (number, tree) in trees.into_iter().enumerate() {
            let Some(tree) = tree else { continue };
            let verified = verify(tree).map_err(|source| ImageError::Verify { function: number, source })?;
            self.reserve(tree_bytes(verified.parts()))?;
            let mut constants = Vec::new();
            self.collect_constants(number, &mut constants);
            let mut constants = constants.into_iter();
            let constant = &mut |_: Constant| constants.next().unwrap_or(Value::Nil);
            let proto = Proto::with_constants(self.context, verified, constant);
            take_steps(&mut steps, "function", number)?;
            self.number_protos(number, proto, &caches);
        }
        Ok(())
    }

    /// A constant as the verifier wants to see it: of a string it looks at no more than whether it is short.
    fn constant(&self, function: usize, place: Option<u32>) -> Result<Constant, ImageError> {
        let datum = place.and_then(|place| self.image.values.get(place as usize)).copied();
        let constant = match datum {
            Some(Datum::Nil) => Some(Constant::Nil),
            Some(Datum::Boolean(boolean)) => Some(Constant::Boolean(boolean)),
            Some(Datum::Integer(integer)) => Some(Constant::Integer(integer)),
            Some(Datum::Float(float)) => Some(Constant::Float(float)),
            Some(Datum::String(number)) => self.strings.get(number as usize).map(|string| {
                let bytes = string.as_bytes();
                Constant::String(bytes[..bytes.len().min(SHORT_STRING_BYTES_MAX + 1)].into())
            }),
            _ => None,
        };
        or_damaged(constant, "function", function, "constant")
    }

    /// The constants of a function, then those of the functions inside it.
    fn collect_constants(&self, number: usize, constants: &mut Vec<Value<'gc>>) {
        let function = &self.image.functions[number];
        let first = function.values as usize;
        let data = &self.image.values[first..first + function.constants as usize];
        constants.extend(data.iter().map(|datum| self.value(*datum).unwrap_or(Value::Nil)));
        for child in &function.children {
            self.collect_constants(*child as usize, constants);
        }
    }

    fn number_protos(&mut self, number: usize, proto: Proto<'gc>, caches: &[Vec<(u32, u32)>]) {
        proto.restore_caches(&caches[number]);
        self.protos[number] = Some(proto);
        for (child, proto) in self.image.functions[number].children.iter().zip(&proto.0.as_ref().children) {
            self.number_protos(*child as usize, *proto, caches);
        }
    }

    fn make_tables(&mut self) -> Result<(), ImageError> {
        for (number, table) in self.image.tables.iter().enumerate() {
            let TableImage { array_length, array_capacity, entries, entries_capacity, .. } = *table;
            if array_length > array_capacity || entries > entries_capacity {
                return damaged("table", number, "room");
            }
            self.reserve(table.nominal_bytes())?;
            let made = Table::new(self.context, array_capacity as usize, entries_capacity as usize);
            made.serial().set(table.serial);
            self.tables.push(made);
        }
        Ok(())
    }

    fn make_closures(&mut self) -> Result<(), ImageError> {
        for upvalue in &self.image.upvalues {
            self.reserve(Upvalue::NOMINAL_BYTES as u64)?;
            let made = Upvalue::new(self.context, Value::Nil);
            made.serial().set(upvalue.serial);
            self.upvalues.push(made);
        }
        for (number, closure) in self.image.closures.iter().enumerate() {
            let proto = self.protos.get(closure.function as usize).copied().flatten();
            let proto = or_damaged(proto, "closure", number, "function")?;
            let upvalues: Option<Vec<Upvalue<'gc>>> =
                closure.upvalues.iter().map(|upvalue| self.upvalues.get(*upvalue as usize).copied()).collect();
            let upvalues = upvalues.filter(|upvalues| upvalues.len() == proto.upvalue_descriptions().len());
            let upvalues = or_damaged(upvalues, "closure", number, "upvalues")?;
            self.reserve(closure.nominal_bytes())?;
            let made = Closure::new(self.context, proto, &upvalues);
            made.serial().set(closure.serial);
            self.closures.push(made);
        }
        Ok(())
    }

    /// Of the library all functions are there, whatever the host has; they say themselves what they cannot do. Only the debug
    /// library is a matter of trust.
    fn make_natives(&mut self, host: &[NativeDefinition], has_debug: bool) -> Result<(), ImageError> {
        for native in &self.image.natives {
            let of_host = || host.iter().find(|known| known.name == native.name).map(|known| (*known, Role::Plain));
            let is_allowed = has_debug || !native.name.starts_with("debug.");
            let found = library::find(native.name).filter(|_| is_allowed).or_else(of_host);
            let (definition, role) = found.ok_or_else(|| ImageError::UnknownNative { name: native.name.to_owned() })?;
            self.reserve(native.nominal_bytes())?;
            let values = vec![Value::Nil; native.count as usize];
            let made = Native::with_role(self.context, definition, &values, role);
            made.serial().set(native.serial);
            self.natives.push(made);
        }
        Ok(())
    }

    fn make_userdata(&mut self, parts: &HostParts<'_>) -> Result<(), ImageError> {
        for userdata in &self.image.userdata {
            let UserdataImage { kind, bytes, count, .. } = userdata;
            let data = if kind == FILE_KIND {
                FileHandle::restore(self.context, bytes).map(|file| Box::new(file) as Box<dyn std::any::Any>)
            } else {
                parts.userdata.load(kind, bytes)
            };
            let data = data.ok_or_else(|| ImageError::UnknownUserdata { kind: kind.clone() })?;
            self.reserve(userdata.nominal_bytes())?;
            let made = Userdata::with_user_values(self.context, data, *count as usize);
            made.serial().set(userdata.serial);
            self.userdata.push(made);
        }
        Ok(())
    }

    fn make_coroutines(&mut self) -> Result<(), ImageError> {
        for (number, coroutine) in self.image.coroutines.iter().enumerate() {
            let CoroutineImage { stack_length, slots, frames, frames_capacity, transfer, native_calls_below, .. } =
                coroutine;
            let length = *stack_length as usize;
            let is_right = (INITIAL_SLOTS..=STACK_SLOTS_MAX + STACK_SLOTS_RESERVE).contains(&length)
                && slots <= stack_length
                && transfer <= stack_length
                && *native_calls_below <= NATIVE_CALLS_HANDLING_MAX
                && frames.len() <= *frames_capacity as usize;
            if !is_right {
                return damaged("coroutine", number, "room");
            }
            self.reserve(coroutine.nominal_bytes())?;
            let made = Coroutine::with_room(self.context, length, *frames_capacity as usize);
            made.serial().set(coroutine.serial);
            self.coroutines.push(made);
        }
        Ok(())
    }
}

/// A frame of this callee; `None` if it stands outside the code.
pub(super) fn placed_frame<'gc>(
    callee: Callee<'gc>,
    starts: Option<Starts>,
    frame: &FrameImage,
) -> Option<Placed<'gc>> {
    let pc = frame.pc as usize;
    let start = Frame::new(callee, 0, 0, 0).pc;
    let in_code = starts.as_ref().is_none_or(|starts| pc <= starts.len());
    let placed = Frame {
        callee,
        // Checked to lie in the code, or one word behind it.
        pc: if in_code { start.wrapping_add(pc) } else { return None },
        function: frame.function,
        base: frame.base,
        top: frame.top,
        want: frame.want,
        state: frame.state,
        extra: frame.extra,
        results: frame.results,
        flags: frame.flags,
    };
    Some(Placed { frame: placed, pc, starts })
}

/// How deeply functions nest, at most; the verifier's limit too.
const NESTING_MAX: usize = 200;

fn tree_bytes(parts: &FunctionParts) -> u64 {
    nominal_bytes(parts) as u64 + parts.functions.iter().map(tree_bytes).sum::<u64>()
}

/// What a coroutine's status promises, apart from its frames.
pub(super) fn check_state(state: &State<'_>, is_main: bool) -> Result<(), &'static str> {
    let in_order = state.to_close.windows(2).all(|pair| pair[0] < pair[1]);
    if !in_order || state.to_close.last().is_some_and(|last| *last as usize >= state.stack.len()) {
        return Err("variables to be closed");
    }
    let top = state.frames.last().map(|frame| frame.callee);
    match (state.status, top) {
        // The main one is given its function by the host, a new one has it.
        (Status::Suspended, None) => match state.stack[0] {
            Value::Closure(_) | Value::Native(_) => Ok(()),
            _ if is_main => Ok(()),
            _ => Err("function to run"),
        },
        (Status::Suspended | Status::Normal, Some(Callee::Native(_))) => Ok(()),
        (Status::Running, Some(_)) | (Status::Failed, _) | (Status::Dead, None) => Ok(()),
        _ => Err("status"),
    }
}
