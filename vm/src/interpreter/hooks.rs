//! Debug hooks (manual §6.10, `debug.sethook`): when they are called and how what they interrupt goes on.
//!
//! While a coroutine is *traced*, its dispatch loop asks [`Machine::trace`] before each instruction, and calls and returns take
//! their slow paths. A hook is an ordinary frame with [`WANT_HOOK`] above the frame it interrupts, whose flags say what comes
//! next: a mark for each event that is over, so that the instruction that is then run again does not cause it
//! anew. The hook's own code is not traced and cannot yield.

use super::{Flow, Machine};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::error::Error;
use crate::heap::coroutine::{
    Callee, Coroutine, FLAG_COUNT_DONE, FLAG_IN_CALL_HOOK, FLAG_IN_HOOK, FLAG_IN_RETURN_HOOK, FLAG_LINE_DONE,
    FLAG_STARTED, FLAG_TAIL_CALL, Frame, WANT_HOOK,
};
use crate::heap::hook::{HOOK_CALL, HOOK_COUNT, HOOK_LINE, HOOK_RETURN, Hook};
use crate::heap::proto::Proto;
use crate::heap::value::Value;
use crate::library::HOST;

/// All marks of a frame whose function a hook interrupts.
const FLAGS_HOOKED: u32 = FLAG_IN_HOOK | FLAG_IN_CALL_HOOK | FLAG_IN_RETURN_HOOK;

impl<'gc> Coroutine<'gc> {
    pub(crate) fn hook(self) -> Hook<'gc> {
        // SAFETY: a copy.
        unsafe { (*self.state_ptr()).hook }
    }

    /// Sets or takes away the hook. Functions that run already have had their call event.
    pub(crate) fn set_hook(self, function: Value<'gc>, mask: u8, count: i32) {
        // SAFETY: the only reference to the state; the frame stack does not move.
        let state = unsafe { &mut *self.state_ptr() };
        state.hook = Hook { function, mask, count, count_left: count, ..state.hook };
        state.is_traced = state.hook.is_active();
        for frame in &mut state.frames {
            frame.flags |= FLAG_STARTED;
            if !frame.is_hooked() {
                frame.flags &= !(FLAG_COUNT_DONE | FLAG_LINE_DONE);
            }
        }
    }
}

impl<'gc> Frame<'gc> {
    /// The index of the code word before `pc`: the current instruction's, or its trailing word.
    fn traced_pc(&self) -> Option<u32> {
        let code = self.callee.proto()?.0.as_ref().code.as_ptr();
        Some(((self.pc as usize).wrapping_sub(code as usize) / 4).saturating_sub(1) as u32)
    }

    /// Whether a hook interrupts the frame.
    pub(crate) fn is_hooked(&self) -> bool {
        self.flags & FLAGS_HOOKED != 0
    }

    /// Whether a script's hooks hear of the frame's call and return: not of the VM's own functions.
    fn causes_events(&self) -> bool {
        !matches!(self.callee, Callee::Native(native) if native.is_hidden() || native.name() == HOST.name)
    }

    /// In a return hook, the first result's number among the locals and the number of results; likewise of parameters in a call
    /// hook; in 16 bits each (manual §4.7, `ftransfer` and `ntransfer`).
    pub(crate) fn transfer(&self) -> (u16, u16) {
        let (first, count) = if self.flags & FLAG_IN_RETURN_HOOK != 0 {
            (self.state.wrapping_sub(self.base).wrapping_add(1), self.results)
        } else if self.flags & FLAG_IN_CALL_HOOK != 0 {
            (1, self.callee.proto().map_or(self.extra, |proto| proto.parameters().1.into()))
        } else {
            return (0, 0);
        };
        if count == 0 { (0, 0) } else { (first as u16, count as u16) }
    }
}

impl<'gc> Machine<'gc> {
    /// Keeps the current coroutine from being traced until [`Self::resume_hooks`].
    pub(super) fn suspend_hooks(&mut self) {
        let state = self.state_mut();
        state.hook.suspensions += 1;
        state.is_traced = false;
    }

    pub(super) fn resume_hooks(&mut self) {
        let state = self.state_mut();
        state.hook.suspensions -= 1;
        state.is_traced = state.hook.is_active();
    }

    /// What is due before the instruction whose first word was just passed: where to go on if it is not the instruction itself.
    #[cold]
    #[inline(never)]
    pub(super) fn trace(&mut self) -> Option<Flow> {
        match self.before_instruction() {
            Ok(flow) => flow,
            Err(error) => Some(self.throw(error)),
        }
    }

    fn before_instruction(&mut self) -> Result<Option<Flow>, Error<'gc>> {
        let frame = *self.top_frame();
        let (Some(proto), Some(pc)) = (frame.callee.proto(), frame.traced_pc()) else {
            unreachable!("only Lua functions have instructions");
        };
        let instruction = Instruction(proto.0.code[pc as usize].get());
        // Only in an image can a function that has not begun be elsewhere than at its first instruction.
        if frame.flags & FLAG_STARTED == 0
            && pc == 0
            && let Some(flow) = self.begin_function(proto, instruction)?
        {
            return Ok(Some(flow));
        }
        if self.count_event(&frame)? || self.line_event(&frame, proto, pc)? {
            return Ok(Some(Flow::Enter));
        }
        self.top_frame_mut().flags &= !(FLAG_COUNT_DONE | FLAG_LINE_DONE);
        if let Some(Opcode::TForPrep | Opcode::TForCall) = instruction.opcode() {
            // The instruction that follows in a generic loop is part of this one for hooks, as in PUC Lua.
            self.go_on_untraced();
        }
        self.call_or_return(&frame, instruction)
    }

    /// The call event of a Lua function, after its variable arguments were put in place.
    fn begin_function(&mut self, proto: Proto<'gc>, first: Instruction) -> Result<Option<Flow>, Error<'gc>> {
        let (is_vararg, _) = proto.parameters();
        self.state_mut().hook.traced_pc = u32::from(is_vararg);
        if is_vararg {
            self.prepare_varargs(first.a())?;
            self.top_frame_mut().flags |= FLAG_STARTED;
        }
        if self.state().hook.mask & HOOK_CALL != 0 {
            if is_vararg {
                // The next instruction is the one that the hook interrupts.
                let frame = self.top_frame_mut();
                // SAFETY: verified code does not end with its first instruction, which has no trailing word.
                frame.pc = unsafe { frame.pc.add(1) };
            }
            let is_tail_call = self.top_frame().flags & FLAG_TAIL_CALL != 0;
            let event = if is_tail_call { "tail call" } else { "call" };
            self.call_hook(event, None, 0, FLAG_STARTED | FLAG_IN_CALL_HOOK)?;
            return Ok(Some(Flow::Enter));
        }
        self.top_frame_mut().flags |= FLAG_STARTED;
        Ok(is_vararg.then_some(Flow::Continue))
    }

    fn count_event(&mut self, frame: &Frame<'gc>) -> Result<bool, Error<'gc>> {
        let hook = &mut self.state_mut().hook;
        if hook.mask & HOOK_COUNT == 0 || frame.flags & (FLAG_COUNT_DONE | FLAG_LINE_DONE) != 0 {
            return Ok(false);
        }
        if hook.count_left > 1 {
            hook.count_left -= 1;
            return Ok(false);
        }
        self.call_hook("count", None, 0, FLAG_COUNT_DONE | FLAG_IN_HOOK)?;
        let hook = &mut self.state_mut().hook;
        hook.count_left = hook.count;
        Ok(true)
    }

    /// A line is new after a jump back, too.
    fn line_event(&mut self, frame: &Frame<'gc>, proto: Proto<'gc>, pc: u32) -> Result<bool, Error<'gc>> {
        let hook = self.state().hook;
        if hook.mask & HOOK_LINE == 0 || frame.flags & FLAG_LINE_DONE != 0 {
            return Ok(false);
        }
        // The last one may be of another function that an error has ended.
        let last = if hook.traced_pc < proto.0.code.len() as u32 { hook.traced_pc } else { 0 };
        let line = proto.line_at(pc as usize);
        let is_new = pc <= last || line != proto.line_at(last as usize);
        if is_new {
            self.call_hook("line", (line != 0).then_some(line), 0, FLAG_LINE_DONE | FLAG_IN_HOOK)?;
        } else {
            self.state_mut().hook.traced_pc = pc;
        }
        Ok(is_new)
    }

    /// The slow way through an instruction that would call or return past the hooks.
    fn call_or_return(&mut self, frame: &Frame<'gc>, instruction: Instruction) -> Result<Option<Flow>, Error<'gc>> {
        let (function, want) = (frame.function as usize, frame.want);
        let first = frame.base as usize + instruction.a();
        let flow = match instruction.opcode() {
            Some(Opcode::Call) => {
                let args = match instruction.b() {
                    0 => frame.top as usize - first - 1,
                    count => count - 1,
                };
                self.call(first, args, instruction.c() as i32 - 1)?
            }
            Some(Opcode::TForCall) => {
                self.state_mut().stack.copy_within(first..first + 3, first + 4);
                self.call(first + 4, 2, instruction.c() as i32)?
            }
            Some(Opcode::Return0) => self.leave(function, 0, 0, want)?,
            Some(Opcode::Return1) => self.leave(function, first, 1, want)?,
            _ => return Ok(None),
        };
        Ok(Some(flow))
    }

    /// The call event of the native function whose frame was just pushed.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_native(&mut self) -> Result<(), Error<'gc>> {
        if self.state().hook.mask & HOOK_CALL == 0 || !self.top_frame().causes_events() {
            return Ok(());
        }
        self.call_hook("call", None, 0, FLAG_IN_CALL_HOOK)
    }

    /// As [`Self::leave`], after the return event.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_traced(
        &mut self,
        function: usize,
        first: usize,
        count: usize,
        want: i32,
    ) -> Result<Flow, Error<'gc>> {
        let frame = *self.top_frame();
        if self.state().hook.mask & HOOK_RETURN == 0 || !frame.causes_events() {
            return self.leave_after_hook(function, first, count, want);
        }
        let mut first = first;
        if let Callee::Native(_) = frame.callee {
            // What a native function did must not be done again for lack of memory.
            self.memory_retry = true;
            if count > 0 && first < frame.base as usize {
                // The results are to be had as locals, so they may not be where the function itself was.
                let free = frame.top as usize;
                self.ensure_stack(free + count)?;
                self.state_mut().stack.copy_within(first..first + count, free);
                first = free;
            }
        }
        self.call_hook("return", None, first + count, FLAG_IN_RETURN_HOOK)?;
        let interrupted = self.interrupted_frame();
        (interrupted.state, interrupted.results) = (first as u32, count as u32);
        Ok(Flow::Enter)
    }

    /// Lets the top frame go on in the middle of an instruction, whose events are over.
    #[cold]
    pub(super) fn go_on_untraced(&mut self) {
        self.top_frame_mut().flags |= FLAG_COUNT_DONE | FLAG_LINE_DONE;
    }

    fn leave_after_hook(&mut self, function: usize, first: usize, count: usize, want: i32) -> Result<Flow, Error<'gc>> {
        self.pop_frame();
        let Some(caller) = self.state().frames.last() else {
            return Ok(self.finish_coroutine(first, count));
        };
        if let Some(pc) = caller.traced_pc() {
            self.state_mut().hook.traced_pc = pc;
        }
        self.place_results(function, first, count, want)
    }

    /// Calls the hook above everything that the top frame uses, and above slot `end`; marks the frame it interrupts.
    fn call_hook(&mut self, event: &'static str, line: Option<u32>, end: usize, marks: u32) -> Result<(), Error<'gc>> {
        let at = self.state().live_top().max(end);
        self.ensure_stack(at + 3)?;
        let event = Value::String(self.context.string(event.as_bytes()));
        self.set_slot(at, self.state().hook.function);
        self.set_slot(at + 1, event);
        self.set_slot(at + 2, line.map_or(Value::Nil, |line| Value::Integer(line.into())));
        self.suspend_hooks();
        if let Err(error) = self.call(at, 2, WANT_HOOK) {
            self.resume_hooks();
            return Err(error);
        }
        self.state_mut().unyieldable += 1;
        self.interrupted_frame().flags |= marks;
        Ok(())
    }

    /// The frame below the hook that was just called.
    fn interrupted_frame(&mut self) -> &mut Frame<'gc> {
        let frames = &mut self.state_mut().frames;
        let index = frames.len() - 2;
        &mut frames[index]
    }

    /// Goes on with what the hook interrupted, whose frame is on top again.
    #[cold]
    pub(super) fn end_hook(&mut self) -> Result<Flow, Error<'gc>> {
        self.state_mut().unyieldable -= 1;
        self.resume_hooks();
        let is_traced = self.state().is_traced;
        let frame = *self.top_frame();
        let top = self.top_frame_mut();
        top.flags &= !FLAGS_HOOKED;
        if !is_traced {
            // Nobody will look at the marks of this instruction.
            top.flags &= !(FLAG_COUNT_DONE | FLAG_LINE_DONE);
        }
        if frame.flags & FLAG_IN_RETURN_HOOK != 0 {
            let (first, count) = (frame.state as usize, frame.results as usize);
            // As in `run_native`.
            if first + count > self.state().stack.len() {
                return Err(self.runtime_error(b"saved call is damaged"));
            }
            return self.leave_after_hook(frame.function as usize, first, count, frame.want);
        }
        if let Some(pc) = frame.traced_pc() {
            // SAFETY: a hook interrupts a Lua function after the first word of an instruction.
            top.pc = unsafe { top.pc.sub(1) };
            // The hook's return counts as a jump back: a line event that is due after a call or count event comes now.
            self.state_mut().hook.traced_pc = pc;
        }
        Ok(Flow::Enter)
    }
}
