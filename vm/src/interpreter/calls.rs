//! Entering and leaving functions.

use super::{Flow, Machine, Stop};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::{Opcode, Trailing};
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel::{self, HAS_LIMITS};
use crate::heap::closure::Closure;
use crate::heap::coroutine::{
    Callee, FLAG_NATIVE_CALL, FLAG_UNYIELDABLE, FRAME_BYTES, Frame, WANT_ALL, WANT_FINISH, WANT_REPEAT, WANT_RETURN,
};
use crate::heap::native::{Native, Role};
use crate::heap::value::Value;
use crate::library::Leaf;
use crate::metamethod::Metamethod;

/// Slots every function finds above its arguments or registers: an instruction's metamethod call fits there.
pub(crate) const EXTRA_SLOTS: usize = 8;
/// Slots every native function finds above its arguments.
pub(crate) const NATIVE_SLOTS: usize = 20;
/// How deep calls made by native code may be nested (PUC: LUAI_MAXCCALLS; there they take space on the C stack).
pub(crate) const NATIVE_CALLS_MAX: u32 = 200;
/// Room for so many frames is taken without asking the heap limit, which the next safe point does.
const FRAMES_UNCHECKED: usize = 64;
/// How many `__call` metamethods may lead to one another in one call.
pub(super) const CALL_HANDLERS_MAX: usize = 200;
/// How deep while the overflow is being handled.
pub(crate) const NATIVE_CALLS_HANDLING_MAX: u32 = NATIVE_CALLS_MAX / 10 * 11;

/// Pushes a frame when there is room, which the caller has checked; where it is.
#[inline(always)]
fn push_within<'gc>(frames: &mut Vec<Frame<'gc>>, frame: Frame<'gc>) -> *mut Frame<'gc> {
    let count = frames.len();
    debug_assert!(count < frames.capacity());
    // SAFETY: there is room for one more, written before it is counted.
    unsafe {
        let place = frames.as_mut_ptr().add(count);
        place.write(frame);
        frames.set_len(count + 1);
        place
    }
}

impl<'gc> Machine<'gc> {
    /// Pushes a frame for the value in slot `function` with the `args` values after it. Never runs anything itself.
    pub(crate) fn call(&mut self, function: usize, args: usize, want: i32) -> Result<Flow, Error<'gc>> {
        let mut args = args;
        let mut handlers = 0;
        loop {
            match self.slot(function) {
                Value::Closure(closure) => {
                    self.enter_lua(closure, function, args, want)?;
                    return Ok(Flow::Enter);
                }
                Value::Native(native) => {
                    self.enter_native(native, function, args, want)?;
                    if self.state().is_traced {
                        self.begin_native()?;
                    }
                    return Ok(Flow::Enter);
                }
                _ => {
                    handlers += 1;
                    if handlers > CALL_HANDLERS_MAX {
                        return Err(self.runtime_error(b"stack overflow"));
                    }
                    self.insert_call_handler(function, args)?;
                    args += 1;
                    // The arguments have moved, so the call cannot be made again from its start.
                    self.memory_retry = true;
                }
            }
        }
    }

    /// As [`Self::call`] for native code: one level deeper.
    pub(crate) fn call_from_native(&mut self, function: usize, args: usize, want: i32) -> Result<Flow, Error<'gc>> {
        self.fuel -= fuel::CALLBACK;
        let depth = self.native_depth() + 1;
        if HAS_LIMITS && depth == NATIVE_CALLS_MAX {
            return Err(self.runtime_error(b"C stack overflow"));
        }
        if HAS_LIMITS && depth >= NATIVE_CALLS_HANDLING_MAX {
            return Err(self.handling_error());
        }
        // A hook may be above what was called.
        let index = self.state().frames.len();
        let flow = self.call(function, args, want)?;
        let state = self.state_mut();
        state.frames[index].flags |= FLAG_NATIVE_CALL;
        state.native_calls += 1;
        Ok(flow)
    }

    /// Has the native function of the top frame call `called` in slot `function`, and refuses yields meanwhile, if neither stack has to
    /// grow and the slots are reserved; otherwise nothing is done.
    #[inline]
    pub(crate) fn try_call_back(
        &mut self,
        called: Closure<'gc>,
        function: usize,
        args: &[Value<'gc>],
        want: i32,
        state: u32,
    ) -> bool {
        if self.native_depth() + 1 >= NATIVE_CALLS_MAX || function + args.len() >= self.top_frame().top as usize {
            return false;
        }
        self.set_slot(function, Value::Closure(called));
        for (index, arg) in args.iter().enumerate() {
            self.set_slot(function + 1 + index, *arg);
        }
        let Some(frame) = self.try_enter_lua(called, function, args.len(), want) else { return false };
        // SAFETY: the frame just pushed.
        unsafe { (*frame).flags = FLAG_NATIVE_CALL };
        self.fuel -= fuel::CALLBACK;
        let coroutine = self.state_mut();
        coroutine.native_calls += 1;
        let below = coroutine.frames.len() - 2;
        let caller = &mut coroutine.frames[below];
        caller.state = state;
        if caller.flags & FLAG_UNYIELDABLE == 0 {
            caller.flags |= FLAG_UNYIELDABLE;
            coroutine.unyieldable += 1;
        }
        true
    }

    /// How deep calls made by native code are nested here.
    pub(crate) fn native_depth(&self) -> u32 {
        let state = self.state();
        state.native_calls_below + state.native_calls
    }

    #[inline(always)]
    pub(crate) fn pop_frame(&mut self) {
        let state = self.state_mut();
        if let Some(frame) = state.frames.pop()
            && frame.flags & FLAG_NATIVE_CALL != 0
        {
            state.native_calls -= 1;
        }
    }

    /// Puts the `__call` metamethod of the value in slot `function` before it (manual §2.4).
    #[cold]
    pub(crate) fn insert_call_handler(&mut self, function: usize, args: usize) -> Result<(), Error<'gc>> {
        let value = self.slot(function);
        let handler = self.context.metamethod(value, Metamethod::Call);
        if handler.is_nil() {
            return Err(self.call_error(function, value));
        }
        self.fuel -= fuel::CHAIN_STEP + fuel::values(args) as i64;
        self.ensure_stack(function + args + 2)?;
        for position in (function..=function + args).rev() {
            let value = self.slot(position);
            self.set_slot(position + 1, value);
        }
        self.set_slot(function, handler);
        Ok(())
    }

    #[inline]
    pub(crate) fn enter_lua(
        &mut self,
        closure: Closure<'gc>,
        function: usize,
        args: usize,
        want: i32,
    ) -> Result<(), Error<'gc>> {
        let proto = closure.proto().0;
        let parameters = proto.parameter_count as usize;
        let base = function + 1;
        self.ensure_stack(base + args.max(parameters) + proto.register_count as usize + EXTRA_SLOTS)?;
        for position in base + args..base + parameters {
            self.set_slot(position, Value::Nil);
        }
        self.fuel -= i64::from(proto.entry_fuel);
        self.push_frame(Frame::new(Callee::Lua(closure), function, args, want))
    }

    /// As [`Self::enter_lua`] when neither stack has to grow: the new frame, or `None`.
    #[inline(always)]
    pub(crate) fn try_enter_lua(
        &mut self,
        closure: Closure<'gc>,
        function: usize,
        args: usize,
        want: i32,
    ) -> Option<*mut Frame<'gc>> {
        let proto = closure.proto().0.as_ref();
        let parameters = proto.parameter_count as usize;
        let base = function + 1;
        let state = self.state_mut();
        let end = base + args.max(parameters) + proto.register_count as usize + EXTRA_SLOTS;
        if end > state.stack.len() || state.frames.len() == state.frames.capacity() {
            return None;
        }
        for position in base + args..base + parameters {
            state.stack[position] = Value::Nil;
        }
        let frame = push_within(&mut state.frames, Frame::new(Callee::Lua(closure), function, args, want));
        self.fuel -= i64::from(proto.entry_fuel);
        Some(frame)
    }

    /// Enters `pcall` and the Lua function it is to call in one step, when nothing has to grow: the function's frame. `pcall`
    /// itself is left as if it had asked for the call.
    #[inline]
    pub(crate) fn try_enter_protected(
        &mut self,
        native: Native<'gc>,
        function: usize,
        args: usize,
        want: i32,
    ) -> Option<(*mut Frame<'gc>, Closure<'gc>)> {
        let state = self.state_mut();
        if args == 0
            || state.frames.len() + 2 > state.frames.capacity()
            || (HAS_LIMITS && state.native_calls_below + state.native_calls + 1 >= NATIVE_CALLS_MAX)
        {
            return None;
        }
        let Value::Closure(called) = state.stack[function + 1] else { return None };
        push_within(&mut state.frames, Frame { state: 1, ..Frame::new(Callee::Native(native), function, args, want) });
        match self.try_enter_lua(called, function + 1, args - 1, WANT_ALL) {
            Some(frame) => {
                self.fuel -= fuel::CALL;
                self.state_mut().native_calls += 1;
                // SAFETY: the frame just pushed.
                unsafe { (*frame).flags = FLAG_NATIVE_CALL };
                Some((frame, called))
            }
            None => {
                self.state_mut().frames.pop();
                None
            }
        }
    }

    /// Returns at most one value through `pcall` to the Lua function that called it, if that is where the top frame returns to.
    #[inline(always)]
    pub(crate) fn leave_protected(&mut self, value: Option<Value<'gc>>) -> Option<Closure<'gc>> {
        let state = self.state_mut();
        let [.., caller, protected, top] = &state.frames[..] else { return None };
        let (WANT_ALL, Callee::Lua(caller), Callee::Native(native)) = (top.want, caller.callee, protected.callee)
        else {
            return None;
        };
        if native.role() != Role::ProtectedCall || protected.state != 1 || protected.want < 0 {
            return None;
        }
        let (function, want) = (protected.function as usize, protected.want as usize);
        let results = &mut state.stack[function..function + want.max(2)];
        results[0] = Value::Boolean(true);
        results[1] = value.unwrap_or(Value::Nil);
        results[2..].fill(Value::Nil);
        debug_assert!(top.flags & FLAG_NATIVE_CALL != 0);
        state.native_calls -= 1;
        if protected.flags & FLAG_NATIVE_CALL != 0 {
            state.native_calls -= 1;
        }
        let count = state.frames.len();
        state.frames.truncate(count - 2);
        Some(caller)
    }

    /// The closure of the frame below the top one, if it is a Lua function's.
    #[inline(always)]
    pub(crate) fn lua_caller(&self) -> Option<Closure<'gc>> {
        let frames = &self.state().frames;
        match frames.get(frames.len().wrapping_sub(2))?.callee {
            Callee::Lua(closure) => Some(closure),
            Callee::Native(_) => None,
        }
    }

    #[inline]
    pub(crate) fn enter_native(
        &mut self,
        native: Native<'gc>,
        function: usize,
        args: usize,
        want: i32,
    ) -> Result<(), Error<'gc>> {
        let top = function + 1 + args;
        self.ensure_stack(top + NATIVE_SLOTS)?;
        self.fuel -= fuel::CALL;
        self.push_frame(Frame::new(Callee::Native(native), function, args, want))
    }

    #[inline(always)]
    fn push_frame(&mut self, frame: Frame<'gc>) -> Result<(), Error<'gc>> {
        if self.state().frames.len() == self.state().frames.capacity() {
            self.grow_frames()?;
        }
        self.state_mut().frames.push(frame);
        Ok(())
    }

    /// Makes room for at least one more frame.
    #[cold]
    #[inline(never)]
    pub(super) fn grow_frames(&mut self) -> Result<(), Error<'gc>> {
        let before = self.state().frames.capacity();
        let capacity = (before * 2).max(4);
        // While the frames are copied, the old ones are there, too.
        if capacity > FRAMES_UNCHECKED {
            self.context.accounting().check(capacity * FRAME_BYTES)?;
        }
        let frames = &mut self.state_mut().frames;
        frames.reserve_exact(capacity - frames.len());
        let added = (frames.capacity() - before) * FRAME_BYTES;
        self.context.accounting().charge(added);
        Ok(())
    }

    /// Calls a native function for an instruction of the top frame, which goes on at once if the function needs nothing called.
    #[inline]
    pub(crate) fn call_native(
        &mut self,
        native: Native<'gc>,
        function: usize,
        args: usize,
        want: i32,
    ) -> Result<Flow, Error<'gc>> {
        if let Role::Leaf(leaf) = native.role()
            && let Some(value) = self.run_leaf(leaf, function, args, want)
        {
            self.set_slot(function, value);
            if want == 1 {
                return Ok(Flow::Continue);
            }
            return self.take_results(function, function, 1, want);
        }
        self.enter_native(native, function, args, want)?;
        let mut call = Call::new(self, native, function, args, 0);
        let (first, count) = match (native.code())(&mut call)? {
            Action::Return { first, count } => (function + first as usize, count as usize),
            other => return self.act(other, function),
        };
        self.state_mut().frames.pop();
        if want == 1 {
            let value = if count == 0 { Value::Nil } else { self.slot(first) };
            self.set_slot(function, value);
            return Ok(Flow::Continue);
        }
        self.take_results(function, first, count, want)
    }

    /// Hands the results of a native function that an instruction of the top frame has called to that.
    fn take_results(&mut self, function: usize, first: usize, count: usize, want: i32) -> Result<Flow, Error<'gc>> {
        match self.place_results(function, first, count, want)? {
            Flow::Enter if want >= WANT_ALL => Ok(Flow::Continue),
            other => Ok(other),
        }
    }

    /// The result of a call of a [`Leaf`] function; `None` if it needs a frame, or the stacks have to grow for one.
    #[inline]
    fn run_leaf(&mut self, leaf: Leaf, function: usize, args: usize, want: i32) -> Option<Value<'gc>> {
        let state = self.state();
        let end = function + 1 + args;
        if end + NATIVE_SLOTS > state.stack.len() || state.frames.len() == state.frames.capacity() {
            return None;
        }
        let args: *const [Value<'gc>] = &raw const state.stack[function + 1..end];
        // SAFETY: such a function does not touch the stack.
        let value = leaf.run(self, unsafe { &*args }, want)?;
        self.fuel -= fuel::CALL;
        Some(value)
    }

    /// Runs the native function of the top frame from its current state.
    pub(crate) fn run_native(&mut self, native: Native<'gc>) -> Result<Flow, Error<'gc>> {
        let frame = *self.top_frame();
        self.allow_yields();
        let function = frame.function as usize;
        let mut call = Call::new(self, native, function, frame.extra as usize, frame.state);
        match (native.code())(&mut call)? {
            Action::Return { first, count } => {
                let first = function + first as usize;
                // A frame from an image may name results that it has no slots for.
                if first + count as usize > self.state().stack.len() {
                    return Err(self.runtime_error(b"saved call is damaged"));
                }
                match self.leave(function, first, count as usize, frame.want)? {
                    Flow::Stop => Ok(Flow::Stop),
                    _ => Ok(self.pause()),
                }
            }
            other => self.act(other, function),
        }
    }

    /// Does what a native function asks for. It has its next state already, so running out of memory here is not tried again: the
    /// function would take the call for done.
    #[inline(never)]
    pub(crate) fn act(&mut self, action: Action, function: usize) -> Result<Flow, Error<'gc>> {
        if let Action::Left { stops } = action {
            return Ok(if stops { Flow::Stop } else { Flow::Enter });
        }
        let retry = std::mem::replace(&mut self.memory_retry, true);
        let flow = self.perform(action, function)?;
        self.memory_retry = retry;
        Ok(if flow == Flow::Stop { flow } else { self.pause() })
    }

    fn perform(&mut self, action: Action, function: usize) -> Result<Flow, Error<'gc>> {
        match action {
            Action::Return { .. } | Action::Left { .. } => unreachable!("handled by the caller"),
            Action::Entered => Ok(Flow::Enter),
            Action::Call { at, count, want, state } => {
                let at = function + at as usize;
                let frame = self.top_frame_mut();
                frame.state = state;
                frame.top = frame.top.max((at + 1 + count as usize) as u32);
                self.call_from_native(at, count as usize, want)
            }
            Action::Resume { at, count, state } => {
                self.top_frame_mut().state = state;
                self.resume(function + at as usize, count as usize)
            }
            Action::Yield { first, count } => self.yield_values(function + first as usize, count as usize),
            Action::Close { at, state } => {
                self.top_frame_mut().state = state;
                self.close_coroutine(function + at as usize)
            }
            Action::Collect { state } => {
                self.top_frame_mut().state = state;
                self.stop = Stop::Collect;
                Ok(Flow::Stop)
            }
            Action::Wait { state } => {
                self.top_frame_mut().state = state;
                self.stop = Stop::Waiting;
                Ok(Flow::Stop)
            }
            Action::Exit { code, close } => {
                self.stop = Stop::Exit { code, close };
                Ok(Flow::Stop)
            }
        }
    }

    /// Pops the top frame and hands the `count` values from slot `first` on to the caller, in the slots from `function` on.
    #[inline]
    pub(crate) fn leave(&mut self, function: usize, first: usize, count: usize, want: i32) -> Result<Flow, Error<'gc>> {
        if self.state().is_traced {
            return self.leave_traced(function, first, count, want);
        }
        self.pop_frame();
        if self.state().frames.is_empty() {
            return Ok(self.finish_coroutine(first, count));
        }
        self.place_results(function, first, count, want)
    }

    #[inline]
    pub(super) fn place_results(
        &mut self,
        function: usize,
        first: usize,
        count: usize,
        want: i32,
    ) -> Result<Flow, Error<'gc>> {
        if want < WANT_ALL {
            return self.go_on_after(first, count, want);
        }
        let copied = if want == WANT_ALL { count } else { count.min(want as usize) };
        if first != function && copied > 0 {
            self.state_mut().stack.copy_within(first..first + copied, function);
        }
        let given = if want == WANT_ALL {
            count
        } else {
            for position in function + copied..function + want as usize {
                self.set_slot(position, Value::Nil);
            }
            want as usize
        };
        let caller = self.top_frame_mut();
        let end = (function + given) as u32;
        match caller.callee {
            Callee::Lua(_) => {
                if want == WANT_ALL {
                    caller.top = end;
                }
            }
            Callee::Native(_) => {
                caller.results = given as u32;
                caller.top = caller.top.max(end);
            }
        }
        Ok(Flow::Enter)
    }

    /// Goes on in a top frame that does not just take results.
    #[inline(never)]
    fn go_on_after(&mut self, first: usize, count: usize, want: i32) -> Result<Flow, Error<'gc>> {
        match want {
            WANT_FINISH => {
                let value = if count == 0 { Value::Nil } else { self.slot(first) };
                self.finish_instruction(value)
            }
            WANT_REPEAT => {
                let caller = self.top_frame_mut();
                // SAFETY: a saved `pc` is past the instruction's first word.
                caller.pc = unsafe { caller.pc.sub(1) };
                if self.state().is_traced {
                    self.go_on_untraced();
                }
                Ok(Flow::Enter)
            }
            WANT_RETURN => {
                let caller = *self.top_frame();
                self.leave(caller.function as usize, first, count, caller.want)
            }
            _ => self.end_hook(),
        }
    }

    /// Completes the instruction of the top frame that was interrupted by a metamethod's call, with its result.
    #[inline(never)]
    fn finish_instruction(&mut self, value: Value<'gc>) -> Result<Flow, Error<'gc>> {
        let frame = *self.top_frame();
        let base = frame.base as usize;
        // SAFETY: a saved `pc` of verified code points after the instruction's first word; a trailing word follows it.
        let (instruction, trailing) = unsafe { (Instruction((*frame.pc.sub(1)).get()), *frame.pc.cast::<u32>()) };
        let opcode = instruction.opcode().expect("verified code holds opcodes only");
        let mut next = opcode.words() - 1;
        match opcode {
            Opcode::Eq
            | Opcode::Lt
            | Opcode::Le
            | Opcode::LtI
            | Opcode::LeI
            | Opcode::GtI
            | Opcode::GeI
            | Opcode::EqI => {
                if value.is_truthy() == instruction.flag() {
                    // A jump is relative to the word after the offset.
                    let target = frame.pc.wrapping_offset(1 + trailing as i32 as isize);
                    self.top_frame_mut().pc = target;
                    return Ok(Flow::Enter);
                }
            }
            Opcode::Concat => {
                let left = frame.state as usize;
                self.set_slot(base + instruction.a() + left - 1, value);
                self.top_frame_mut().state = 0;
                // The operands have changed, so the instruction cannot be run again from its start.
                let retry = std::mem::replace(&mut self.memory_retry, true);
                let flow = self.concatenate(base + instruction.a(), left)?;
                self.memory_retry = retry;
                return match flow {
                    Flow::Continue => Ok(Flow::Enter),
                    other => Ok(other),
                };
            }
            Opcode::SetTabUp
            | Opcode::SetTabUpK
            | Opcode::SetTable
            | Opcode::SetTableK
            | Opcode::SetInteger
            | Opcode::SetIntegerK
            | Opcode::SetField
            | Opcode::SetFieldK => {}
            _ => self.set_slot(base + instruction.a(), value),
        }
        if opcode.layout().trailing == Trailing::None {
            next = 0;
        }
        // SAFETY: the trailing word belongs to the code.
        self.top_frame_mut().pc = unsafe { frame.pc.add(next) };
        Ok(Flow::Enter)
    }

    /// Calls `handler` with `args` above the top frame's registers; its result completes the current instruction.
    pub(crate) fn call_metamethod(
        &mut self,
        handler: Value<'gc>,
        args: &[Value<'gc>],
        want: i32,
    ) -> Result<Flow, Error<'gc>> {
        let at = self.free_slot();
        self.ensure_stack(at + 1 + args.len())?;
        self.set_slot(at, handler);
        for (index, arg) in args.iter().enumerate() {
            self.set_slot(at + 1 + index, *arg);
        }
        self.call_from_native(at, args.len(), want)
    }

    /// Moves the fixed parameters of a vararg function above its extra arguments.
    #[inline(never)]
    pub(crate) fn prepare_varargs(&mut self, parameters: usize) -> Result<(), Error<'gc>> {
        let frame = *self.top_frame();
        let Callee::Lua(closure) = frame.callee else { unreachable!("only Lua functions have code") };
        let args = frame.extra as usize;
        let extra = args.saturating_sub(parameters);
        if extra > 0 {
            let old = frame.base as usize;
            let base = old + args;
            self.ensure_stack(base + closure.proto().0.register_count as usize + EXTRA_SLOTS)?;
            for parameter in 0..parameters {
                let value = self.slot(old + parameter);
                self.set_slot(base + parameter, value);
                self.set_slot(old + parameter, Value::Nil);
            }
            self.top_frame_mut().base = base as u32;
        }
        self.top_frame_mut().extra = extra as u32;
        Ok(())
    }

    /// Copies variable arguments to the slots from `target` on: `want` of them, or all.
    #[inline(never)]
    pub(crate) fn copy_varargs(&mut self, target: usize, want: i32) -> Result<(), Error<'gc>> {
        let frame = *self.top_frame();
        let extra = frame.extra as usize;
        let wanted = if want < 0 { extra } else { want as usize };
        self.ensure_stack(target + wanted + EXTRA_SLOTS)?;
        let source = frame.base as usize - extra;
        for index in 0..wanted {
            let value = if index < extra { self.slot(source + index) } else { Value::Nil };
            self.set_slot(target + index, value);
        }
        self.fuel -= fuel::items(wanted) as i64;
        if want < 0 {
            self.top_frame_mut().top = (target + wanted) as u32;
        }
        Ok(())
    }
}
