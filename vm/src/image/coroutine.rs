//! One coroutine as data, apart from an image of the whole VM: what function blobs and `_home` save of it.
//!
//! What images keep and this does not: values in free slots and the room of the stack for more, which only collections would notice.

use super::frames::{self, Placed, Starts, instruction_starts};
use super::rebuild::{check_state, placed_frame};
use super::{FrameImage, HookImage};
use crate::context::Context;
use crate::heap::accounting::OutOfMemory;
use crate::heap::coroutine::{
    Callee, Coroutine, FLAG_HANDLER, FLAG_NATIVE_CALL, FLAG_UNYIELDABLE, INITIAL_SLOTS, STACK_SLOTS_MAX,
    STACK_SLOTS_RESERVE, State, Status, WANT_HOOK,
};
use crate::heap::hook::Hook;
use crate::heap::upvalue::Upvalue;
use crate::heap::value::Value;
use crate::interpreter::NATIVE_CALLS_HANDLING_MAX;

/// A coroutine that does not run.
pub struct CoroutineParts<'gc> {
    pub status: Status,
    pub stack_length: u32,
    /// The slots in use.
    pub slots: Vec<Value<'gc>>,
    /// The error that ended it.
    pub failure: Value<'gc>,
    pub transfer: u32,
    pub native_calls_below: u32,
    pub hook: HookImage,
    pub hook_function: Value<'gc>,
    /// Each with the function it runs; the number in its `callee` means nothing.
    pub frames: Vec<(Value<'gc>, FrameImage)>,
    /// Open upvalues and their positions, in order of position.
    pub open: Vec<(Upvalue<'gc>, u32)>,
    /// Positions of variables to be closed, in order.
    pub to_close: Vec<u32>,
}

/// Why no coroutine can be made of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoroutineFault {
    OutOfMemory,
    /// There can be no such coroutine, with what is wrong.
    Damaged(&'static str),
}

impl From<OutOfMemory> for CoroutineFault {
    fn from(_: OutOfMemory) -> Self {
        CoroutineFault::OutOfMemory
    }
}

const DAMAGED: CoroutineFault = CoroutineFault::Damaged("content");

impl<'gc> Coroutine<'gc> {
    /// A finished coroutine, to be given parts.
    pub fn empty(context: Context<'gc>) -> Self {
        let coroutine = Coroutine::new(context);
        // SAFETY: nothing else refers to the state of a new coroutine.
        unsafe { (*coroutine.state_ptr()).status = Status::Dead };
        coroutine
    }

    /// The parts; `None` while it runs or waits for another one, and of the main coroutine.
    pub fn parts(self, context: Context<'gc>) -> Option<CoroutineParts<'gc>> {
        if self.ptr_eq(context.registered().main) {
            return None;
        }
        // SAFETY: the state is only read, and nothing below changes it.
        let state = unsafe { &*self.state_ptr() };
        if matches!(state.status, Status::Running | Status::Normal) || state.resumer.is_some() {
            return None;
        }
        let live = &state.stack[..state.live_top()];
        let used = live.iter().rposition(|slot| !slot.is_nil()).map_or(0, |last| last + 1);
        let Hook { function, mask, count, count_left, traced_pc, suspensions } = state.hook;
        Some(CoroutineParts {
            status: state.status,
            stack_length: state.stack.len() as u32,
            slots: live[..used].to_vec(),
            failure: state.failure,
            transfer: state.transfer,
            native_calls_below: state.native_calls_below,
            hook: HookImage { mask, count, count_left, traced_pc, suspensions },
            hook_function: function,
            frames: state.frames.iter().map(|frame| super::describe::frame_parts(frame, state.stack.len())).collect(),
            open: state.open.iter().map(|upvalue| (*upvalue, upvalue.position())).collect(),
            to_close: state.to_close.clone(),
        })
    }

    /// Makes the coroutine what the parts say; upvalues that were open in it are closed. After an error it is a finished one.
    ///
    /// # Errors
    ///
    /// For parts that no coroutine has, and when they do not fit into the heap.
    pub fn restore(self, context: Context<'gc>, parts: &CoroutineParts<'gc>) -> Result<(), CoroutineFault> {
        self.close_upvalues(0);
        let length = parts.stack_length as usize;
        let is_right = (INITIAL_SLOTS..=STACK_SLOTS_MAX + STACK_SLOTS_RESERVE).contains(&length)
            && parts.slots.len() <= length
            && parts.transfer as usize <= length
            && parts.native_calls_below <= NATIVE_CALLS_HANDLING_MAX
            && matches!(parts.status, Status::Suspended | Status::Dead | Status::Failed);
        if !is_right {
            return Err(CoroutineFault::Damaged("room"));
        }
        let placed = place_frames(parts).ok_or(CoroutineFault::Damaged("frame"))?;
        self.resize(context, length, placed.len())?;
        let filled = self.fill_state(parts, &placed).ok_or(DAMAGED).and_then(|()| {
            // SAFETY: nothing else refers to the state here.
            let state = unsafe { &mut *self.state_ptr() };
            check_state(state, false).and_then(|()| frames::check(state, &placed)).map_err(CoroutineFault::Damaged)
        });
        if filled.is_err() {
            self.close_upvalues(0);
            // SAFETY: as above.
            let state = unsafe { &mut *self.state_ptr() };
            state.frames.clear();
            state.stack.fill(Value::Nil);
            state.status = Status::Dead;
        }
        filled
    }

    fn fill_state(self, parts: &CoroutineParts<'gc>, placed: &[Placed<'gc>]) -> Option<()> {
        // SAFETY: nothing else refers to the state here.
        let state: &mut State<'gc> = unsafe { &mut *self.state_ptr() };
        state.stack[..parts.slots.len()].copy_from_slice(&parts.slots);
        state.failure = parts.failure;
        let HookImage { mask, count, count_left, traced_pc, suspensions } = parts.hook;
        state.hook = Hook { function: parts.hook_function, mask, count, count_left, traced_pc, suspensions };
        state.is_traced = state.hook.is_active();
        state.status = parts.status;
        state.transfer = parts.transfer;
        state.native_calls_below = parts.native_calls_below;
        state.to_close.clone_from(&parts.to_close);
        for placed in placed {
            state.push_counted(placed.frame);
        }
        let mut next = 0;
        for (upvalue, position) in &parts.open {
            if upvalue.open_at().is_some() || *position < next || *position >= parts.stack_length {
                return None;
            }
            next = *position + 1;
            upvalue.reopen(self, *position, &raw mut state.stack[*position as usize]);
            state.open.push(*upvalue);
        }
        Some(())
    }

    /// Empties the state and gives it this room.
    fn resize(self, context: Context<'gc>, slots: usize, frames: usize) -> Result<(), OutOfMemory> {
        let bytes = Self::nominal_bytes_for(slots as u32, frames as u32) as usize;
        context.accounting().check(bytes)?;
        // SAFETY: nothing else refers to the state here.
        let state = unsafe { &mut *self.state_ptr() };
        let before = Self::nominal_bytes_for(state.stack.len() as u32, state.frames.capacity() as u32) as usize;
        *state = State::with_room(slots, frames);
        context.accounting().charge(bytes);
        context.accounting().release(before);
        Ok(())
    }
}

impl<'gc> State<'gc> {
    /// Pushes a frame that comes from data, and counts what its flags say.
    pub(super) fn push_counted(&mut self, frame: crate::heap::coroutine::Frame<'gc>) {
        self.frames.push(frame);
        self.unyieldable += u32::from(frame.flags & FLAG_UNYIELDABLE != 0);
        self.unyieldable += u32::from(frame.want == WANT_HOOK);
        self.handlers += u32::from(frame.flags & FLAG_HANDLER != 0);
        self.native_calls += u32::from(frame.flags & FLAG_NATIVE_CALL != 0);
    }
}

fn place_frames<'gc>(parts: &CoroutineParts<'gc>) -> Option<Vec<Placed<'gc>>> {
    let place = |(callee, frame): &(Value<'gc>, FrameImage)| {
        let (callee, starts): (Callee<'gc>, Option<Starts>) = match *callee {
            Value::Native(native) => (Callee::Native(native), None),
            Value::Closure(closure) => (Callee::Lua(closure), Some(instruction_starts(closure.proto()))),
            _ => return None,
        };
        placed_frame(callee, starts, frame)
    };
    parts.frames.iter().map(place).collect()
}
