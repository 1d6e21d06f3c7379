//! Coroutines: a value stack and a frame stack, as data.
//!
//! ```text
//!   stack   … [ callee | arg 1 | arg 2 | registers … ] [ callee | args … ] …
//!               ▲ function  ▲ base                       ▲ the next frame's function, in the caller's registers
//! ```
//!
//! Every running call, of a Lua or a native function, is one [`Frame`]. Nothing of a suspended coroutine lives on the Rust
//! stack, so it can be stopped, saved and resumed anywhere.
//!
//! Invariants: every slot of the stack holds a valid value; slots above [`State::live_top`] may be stale within
//! one `mutate` call and are cleared by each collection; `open` is sorted by position; `to_close` likewise.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ptr;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, OutOfMemory, covers, note_freed};
use super::closure::Closure;
use super::hook::Hook;
use super::native::Native;
use super::upvalue::Upvalue;
use super::value::Value;
use crate::context::Context;

/// The most slots a stack may have (PUC's LUAI_MAXSTACK).
pub(crate) const STACK_SLOTS_MAX: usize = 1_000_000;
/// Extra room above the limit for reporting an overflow.
pub(crate) const STACK_SLOTS_RESERVE: usize = 1_000;
/// More than any frame has room for above the frame that it called.
const FRAME_SLOTS_MAX: usize = 300;
pub(crate) const INITIAL_SLOTS: usize = 64;
/// Room is given back when there is so many times as much as is kept.
const SHRUNK_BELOW: usize = 3;
const FRAMES_KEPT: usize = 64;

/// A coroutine.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Coroutine<'gc>(Gc<'gc, CoroutineObject<'gc>>);

struct CoroutineObject<'gc> {
    state: UnsafeCell<State<'gc>>,
    serial: Cell<u32>,
}

/// What a coroutine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not started, or inside `yield`.
    Suspended,
    Running,
    /// It resumed another coroutine.
    Normal,
    /// Finished.
    Dead,
    /// Stopped by an error, which is at the bottom of the stack.
    Failed,
}

pub(crate) struct State<'gc> {
    /// Allocated slots; `len` is their number.
    pub stack: Vec<Value<'gc>>,
    pub frames: Vec<Frame<'gc>>,
    /// Open upvalues in order of their position.
    pub open: Vec<Upvalue<'gc>>,
    /// Positions of to-be-closed variables in order.
    pub to_close: Vec<u32>,
    pub status: Status,
    /// The error that ended a failed coroutine.
    pub failure: Value<'gc>,
    /// Who waits for this coroutine to yield or end.
    pub resumer: Option<Coroutine<'gc>>,
    /// Values at the top of a suspended coroutine: arguments of the start or results of the last yield.
    pub transfer: u32,
    /// How many protected calls and callbacks may not be yielded across at this point.
    pub unyieldable: u32,
    /// Message handlers that are running, one inside the other.
    pub handlers: u32,
    /// Running calls that native code made, each a frame with [`FLAG_NATIVE_CALL`].
    pub native_calls: u32,
    /// How many there were in the coroutines below when this one was resumed.
    pub native_calls_below: u32,
    /// Whether instructions, calls and returns are looked at for the hook: whether it is active.
    pub is_traced: bool,
    pub hook: Hook<'gc>,
}

/// The function of a frame.
///
/// Laid out as said, because compiled code makes frames, too.
#[derive(Clone, Copy)]
#[repr(C, u32)]
pub(crate) enum Callee<'gc> {
    Lua(Closure<'gc>),
    Native(Native<'gc>),
}

/// One running call.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'gc> {
    pub callee: Callee<'gc>,
    /// Lua: the next word of code; while a slow operation runs, the word after the current instruction's first.
    pub pc: *const Cell<u32>,
    /// The slot of the callee; results go there.
    pub function: u32,
    /// The first register or argument.
    pub base: u32,
    /// The end of an open list, or of a native function's values.
    pub top: u32,
    /// How many results the caller wants, or one of the `WANT_` values.
    pub want: i32,
    /// Native: where to go on. Lua: operands left in an interrupted concatenation. In a return hook: the slot of the first
    /// result.
    pub state: u32,
    /// Lua: variable arguments below `base`. Native: number of arguments.
    pub extra: u32,
    /// Native: how many results the last call it made gave. In a return hook: how many results there are.
    pub results: u32,
    /// Bits of `FLAG_`.
    pub flags: u32,
}

impl<'gc> Frame<'gc> {
    /// The frame of a call with `args` arguments behind the callee in slot `function`, about to start.
    #[inline(always)]
    pub(crate) fn new(callee: Callee<'gc>, function: usize, args: usize, want: i32) -> Self {
        let pc = match callee {
            Callee::Lua(closure) => closure.proto().0.as_ref().code.as_ptr(),
            Callee::Native(_) => ptr::null(),
        };
        let base = function as u32 + 1;
        let args = args as u32;
        Frame {
            callee,
            pc,
            function: function as u32,
            base,
            top: base + args,
            want,
            state: 0,
            extra: args,
            results: 0,
            flags: 0,
        }
    }
}

/// The caller takes all results and notes their end in `top`.
pub(crate) const WANT_ALL: i32 = -1;
/// The caller's interrupted instruction takes one result.
pub(crate) const WANT_FINISH: i32 = -2;
/// The caller's instruction, which closes variables one by one, is run again.
pub(crate) const WANT_REPEAT: i32 = -3;
/// The caller's instruction is a tail call of a native function: the caller returns the results.
pub(crate) const WANT_RETURN: i32 = -4;
/// The frame is a debug hook's; the function it interrupts goes on.
pub(crate) const WANT_HOOK: i32 = -5;
/// The frame was entered by a tail call; tracebacks say so.
pub(crate) const FLAG_TAIL_CALL: u32 = 1;
/// `coroutine.yield` is refused above this frame.
pub(crate) const FLAG_UNYIELDABLE: u32 = 2;
/// The frame calls a message handler.
pub(crate) const FLAG_HANDLER: u32 = 4;
/// The call was made by a native function or for a metamethod; such calls are nested to a limit.
pub(crate) const FLAG_NATIVE_CALL: u32 = 8;
/// The call event of the Lua function is over, or it was called before there was a hook.
pub(crate) const FLAG_STARTED: u32 = 1 << 4;
/// The count event of the current instruction is over.
pub(crate) const FLAG_COUNT_DONE: u32 = 1 << 5;
/// The line event of the current instruction is over.
pub(crate) const FLAG_LINE_DONE: u32 = 1 << 6;
/// A hook was called for an instruction of the frame.
pub(crate) const FLAG_IN_HOOK: u32 = 1 << 7;
/// A hook was called for the frame's call.
pub(crate) const FLAG_IN_CALL_HOOK: u32 = 1 << 8;
/// A hook was called for the frame's return.
pub(crate) const FLAG_IN_RETURN_HOOK: u32 = 1 << 9;

const OBJECT_BYTES: usize = HEADER_BYTES + 224;
pub(crate) const FRAME_BYTES: usize = 56;
const _: () = assert!(covers::<CoroutineObject<'static>>(OBJECT_BYTES));
const _: () = assert!(size_of::<Frame<'static>>() <= FRAME_BYTES);

// SAFETY: everything on the stack up to the live top, and every frame's callee, is traced; the rest is cleared.
unsafe impl<'gc> Collect<'gc> for CoroutineObject<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        // SAFETY: collection never runs while the interpreter does; see the module.
        let state = unsafe { &mut *self.state.get() };
        let live = state.live_top();
        for value in &state.stack[..live] {
            cc.trace(value);
        }
        state.stack[live..].fill(Value::Nil);
        for frame in &state.frames {
            match frame.callee {
                Callee::Lua(closure) => cc.trace(&closure),
                Callee::Native(native) => cc.trace(&native),
            }
        }
        for upvalue in &state.open {
            cc.trace(upvalue);
        }
        cc.trace(&state.failure);
        cc.trace(&state.hook.function);
        cc.trace(&state.resumer);
    }
}

impl Drop for CoroutineObject<'_> {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        note_freed(OBJECT_BYTES + state.stack.len() * 16 + state.frames.capacity() * FRAME_BYTES);
    }
}

impl<'gc> State<'gc> {
    pub(crate) fn with_room(slots: usize, frames: usize) -> Self {
        State {
            stack: vec![Value::Nil; slots],
            frames: Vec::with_capacity(frames),
            open: Vec::new(),
            to_close: Vec::new(),
            status: Status::Suspended,
            failure: Value::Nil,
            resumer: None,
            transfer: 0,
            unyieldable: 0,
            handlers: 0,
            native_calls: 0,
            native_calls_below: 0,
            is_traced: false,
            hook: Hook::NONE,
        }
    }

    /// The end of the slots in use.
    pub(crate) fn live_top(&self) -> usize {
        let top = match self.frames.last() {
            Some(frame) => match frame.callee {
                Callee::Lua(closure) => {
                    let registers = closure.proto().0.register_count as usize;
                    (frame.base as usize + registers).max(frame.top as usize)
                }
                Callee::Native(_) => frame.top as usize,
            },
            None => 0,
        };
        (top + self.transfer as usize).min(self.stack.len())
    }
}

impl<'gc> Coroutine<'gc> {
    /// A suspended coroutine with an empty stack.
    pub(crate) fn new(context: Context<'gc>) -> Self {
        Self::with_room(context, INITIAL_SLOTS, 0)
    }

    /// Nominal bytes of a coroutine with this room; `u64`, as the numbers may be anything.
    pub(crate) fn nominal_bytes_for(slots: u32, frames: u32) -> u64 {
        OBJECT_BYTES as u64 + u64::from(slots) * 16 + u64::from(frames) * FRAME_BYTES as u64
    }

    /// Likewise with this many slots and room for this many frames.
    pub(crate) fn with_room(context: Context<'gc>, slots: usize, frames: usize) -> Self {
        context.accounting().charge(OBJECT_BYTES + slots * 16 + frames * FRAME_BYTES);
        let state = State::with_room(slots, frames);
        let object = CoroutineObject { state: UnsafeCell::new(state), serial: Cell::new(0) };
        Coroutine(Gc::new(context.mutation(), object))
    }

    /// A coroutine that will run `function` at its first resume.
    pub(crate) fn with_function(context: Context<'gc>, function: Value<'gc>) -> Self {
        let coroutine = Self::new(context);
        // SAFETY: the coroutine is new, nothing else refers to its state.
        let state = unsafe { &mut *coroutine.state_ptr() };
        state.stack[0] = function;
        state.transfer = 1;
        coroutine
    }

    /// The state; only the interpreter and the library functions for coroutines dereference it, never two at a time.
    #[inline(always)]
    pub(crate) fn state_ptr(self) -> *mut State<'gc> {
        self.0.as_ref().state.get()
    }

    pub fn status(self) -> Status {
        // SAFETY: a copy of one field; no `&mut` to it is held across calls.
        unsafe { (*self.state_ptr()).status }
    }

    /// Makes the stack hold at least `slots` slots; open upvalues follow it.
    pub(crate) fn grow_stack(self, context: Context<'gc>, slots: usize) -> Result<(), OutOfMemory> {
        // SAFETY: the interpreter reloads its pointers after each call that may come here.
        let state = unsafe { &mut *self.state_ptr() };
        let old = state.stack.len();
        // The reserve is only for reporting an overflow, so growth by doubling stops before it.
        let size = if slots > STACK_SLOTS_MAX {
            STACK_SLOTS_MAX + STACK_SLOTS_RESERVE
        } else {
            (old * 2).clamp(slots, STACK_SLOTS_MAX)
        };
        // While the values are copied, the old stack is there, too.
        context.accounting().check(size * 16)?;
        context.accounting().charge((size - old) * 16);
        state.stack.reserve_exact(size - old);
        state.stack.resize(size, Value::Nil);
        let start = state.stack.as_mut_ptr();
        for upvalue in &state.open {
            // SAFETY: an open upvalue's position lies in the stack.
            upvalue.set_location(unsafe { start.add(upvalue.position() as usize) });
        }
        Ok(())
    }

    /// Gives back most of the room that a deep recursion has left, between two slices; answers who waits for the coroutine.
    pub(crate) fn shrink(self, context: Context<'gc>) -> Option<Coroutine<'gc>> {
        // SAFETY: between two slices nothing refers to the state.
        let state = unsafe { &mut *self.state_ptr() };
        let (slots, frames) = (state.stack.len(), state.frames.capacity());
        let wanted = 2 * (state.live_top() + FRAME_SLOTS_MAX);
        if slots > SHRUNK_BELOW * wanted {
            state.stack.truncate(wanted);
            state.stack.shrink_to_fit();
            let start = state.stack.as_mut_ptr();
            for upvalue in &state.open {
                // SAFETY: an open upvalue's position lies in the stack, below its live top.
                upvalue.set_location(unsafe { start.add(upvalue.position() as usize) });
            }
            context.accounting().release((slots - state.stack.len()) * 16);
        }
        if frames > SHRUNK_BELOW * (2 * state.frames.len() + FRAMES_KEPT) {
            state.frames.shrink_to(2 * state.frames.len() + FRAMES_KEPT);
            context.accounting().release((frames - state.frames.capacity()) * FRAME_BYTES);
        }
        state.resumer
    }

    /// Gives the reserve back after an overflow was reported.
    pub(crate) fn release_reserve(self, context: Context<'gc>) {
        // SAFETY: as in `grow_stack`; shortening does not move the stack.
        let state = unsafe { &mut *self.state_ptr() };
        if state.stack.len() > STACK_SLOTS_MAX && state.live_top() + FRAME_SLOTS_MAX < STACK_SLOTS_MAX {
            context.accounting().release((state.stack.len() - STACK_SLOTS_MAX) * 16);
            state.stack.truncate(STACK_SLOTS_MAX);
        }
    }

    /// The open upvalue of the register at `position`, a new one if there is none.
    pub(crate) fn find_upvalue(self, context: Context<'gc>, position: u32) -> Upvalue<'gc> {
        // SAFETY: as in `grow_stack`.
        let state = unsafe { &mut *self.state_ptr() };
        let place = match state.open.binary_search_by_key(&position, |upvalue| upvalue.position()) {
            Ok(found) => return state.open[found],
            Err(place) => place,
        };
        // SAFETY: the position is a register, so it lies in the stack.
        let location = unsafe { state.stack.as_mut_ptr().add(position as usize) };
        let upvalue = Upvalue::open(context, self, position, location);
        state.open.insert(place, upvalue);
        upvalue
    }

    /// Closes the open upvalues at or above `position`.
    #[inline]
    pub(crate) fn close_upvalues(self, position: u32) {
        // SAFETY: as in `grow_stack`.
        let open = unsafe { &mut (*self.state_ptr()).open };
        while let Some(upvalue) = open.last()
            && upvalue.position() >= position
        {
            upvalue.close();
            open.pop();
        }
    }

    pub(crate) fn serial(self) -> &'gc Cell<u32> {
        &self.0.as_ref().serial
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }

    pub fn ptr_eq(self, other: Coroutine<'gc>) -> bool {
        ptr::eq(self.state_ptr(), other.state_ptr())
    }
}

impl fmt::Debug for Coroutine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Coroutine({:?})", self.status())
    }
}
