//! Running compiled functions: how they are entered, and what they ask of the VM.
//!
//! A compiled function works on the frame at the top, as the dispatch loop does, and calls other compiled functions by calls of its
//! own. That the Rust stack (in wasm, the engine's) then holds a part of what runs is only a way to go on faster: whenever
//! anything else has to happen, all of them return, and what they were doing is in the frames. So a run can be stopped, saved and
//! resumed as if nothing had been compiled.

use std::cell::Cell;
use std::mem::{offset_of, transmute};
use std::ptr;

use cu_translator::{IMPORTS, outcome};

use super::instruction::library_step;
use super::nested::{Floor, NESTED_MAX};
use super::{Flow, Machine, Outcome, Stop};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::compiled::{Code, has_kind};
use crate::fuel::{self, Fuel};
use crate::heap::closure::Closure;
use crate::heap::coroutine::{Callee, FLAG_NATIVE_CALL, FLAG_TAIL_CALL, Frame, WANT_ALL, WANT_FINISH};
use crate::heap::native::{Native, Role};
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

/// What a compiled function calls: the machine and the address of an instruction, to an outcome.
pub(crate) type Imported = extern "C" fn(*mut Machine<'static>, *const Cell<u32>) -> i32;

/// The numbers of the functions, in the order of [`IMPORTS`].
pub(crate) fn imported() -> [usize; IMPORTS.len()] {
    let number = |function: Imported| function as usize;
    [
        number(step),
        number(exit),
        number(call),
        number(leave),
        number(stop_for_fuel),
        field as *const () as usize,
        item as *const () as usize,
        assign as *const () as usize,
        iterate as *const () as usize,
    ]
}

/// Where the current coroutine's state is in the machine, in bytes.
pub(crate) const STATE_OFFSET: usize = offset_of!(Machine<'static>, state);

/// Likewise how many compiled functions run.
pub(crate) const NESTED_OFFSET: usize = offset_of!(Machine<'static>, nested);

/// A compiled function; see the crate `cu_translator`.
type Run = extern "C" fn(*mut Machine<'static>, u32, u32, u32) -> i32;

/// The length of an instruction, by its first byte.
const WORDS: [u8; 256] = {
    let mut words = [1; 256];
    let mut opcode = 0;
    while opcode < Opcode::ALL.len() {
        words[opcode] = Opcode::ALL[opcode].words() as u8;
        opcode += 1;
    }
    words
};

extern "C" fn step(machine: *mut Machine<'static>, pc: *const Cell<u32>) -> i32 {
    // SAFETY: compiled code passes on the machine that it was entered with, which nothing else uses meanwhile.
    unsafe { &mut *machine }.step_at(pc)
}

extern "C" fn exit(machine: *mut Machine<'static>, pc: *const Cell<u32>) -> i32 {
    // SAFETY: as above.
    match unsafe { &mut *machine }.step_at(pc) {
        outcome::STOP => outcome::STOP,
        _ => outcome::FRAME,
    }
}

extern "C" fn call(machine: *mut Machine<'static>, pc: *const Cell<u32>) -> i32 {
    // SAFETY: as above.
    unsafe { &mut *machine }.call_at(pc)
}

extern "C" fn leave(machine: *mut Machine<'static>, pc: *const Cell<u32>) -> i32 {
    // SAFETY: as above.
    unsafe { &mut *machine }.leave_at(pc)
}

extern "C" fn stop_for_fuel(machine: *mut Machine<'static>, pc: *const Cell<u32>) -> i32 {
    // SAFETY: as above.
    let machine = unsafe { &mut *machine };
    machine.top_frame_mut().pc = pc;
    machine.stop = Stop::OutOfFuel;
    outcome::STOP
}

/// Where a field of an object is that is not where its inline cache says; null if only the whole instruction can tell.
extern "C" fn field(
    machine: *mut Machine<'static>,
    pc: *const Cell<u32>,
    object: *const Value<'static>,
) -> *const Value<'static> {
    // SAFETY: as above; `object` is a register.
    unsafe { (*machine).field_at(pc, *object) }
}

/// Where an item is, by any key that the dispatch loop looks up in place; null if it is not there.
extern "C" fn item(object: *const Value<'static>, key: *const Value<'static>) -> *const Value<'static> {
    // SAFETY: both are registers.
    let found = match unsafe { (&*object, &*key) } {
        (Value::Table(table), Value::Integer(key)) => table.item(*key),
        (Value::Table(table), Value::String(key)) => table.field(*key),
        _ => None,
    };
    match found {
        Some(value) if !value.is_nil() => value,
        _ => ptr::null(),
    }
}

/// Writes a field of an object that is not where its inline cache says; 0 if only the whole instruction can do it.
extern "C" fn assign(
    machine: *mut Machine<'static>,
    pc: *const Cell<u32>,
    object: *const Value<'static>,
    value: *const Value<'static>,
) -> i32 {
    // SAFETY: as in `field`; `value` is a register or a constant.
    unsafe { (*machine).assign_at(pc, *object, &*value) }.into()
}

/// A step of a generic loop over what `next` or `ipairs` gives; 0 if it is another loop.
extern "C" fn iterate(machine: *mut Machine<'static>, pc: *const Cell<u32>, first: *mut Value<'static>) -> i32 {
    // SAFETY: as in `field`; the registers of a generic loop follow one another.
    unsafe {
        let count = Instruction((*pc).get()).c();
        let Some(pair) = library_step(*first, *first.add(1), *first.add(2)) else { return 0 };
        (*machine).fuel -= 1 + fuel::take_owed();
        let (key, value) = pair.unwrap_or((Value::Nil, Value::Nil));
        *first.add(4) = key;
        if count >= 2 {
            *first.add(5) = value;
            for extra in 2..count {
                *first.add(4 + extra) = Value::Nil;
            }
        }
    }
    1
}

impl<'gc> Machine<'gc> {
    fn field_at(&mut self, pc: *const Cell<u32>, object: Value<'gc>) -> *const Value<'gc> {
        // SAFETY: `pc` is at a field instruction of verified code.
        let (instruction, after) = unsafe { (Instruction((*pc).get()), pc.add(1)) };
        self.top_frame_mut().pc = after;
        let fuel = self.fuel;
        let found = self.find_field(object, self.constant_name(instruction.c()));
        if self.stays_in_place(fuel) { found.unwrap_or(ptr::null()) } else { ptr::null() }
    }

    fn assign_at(&mut self, pc: *const Cell<u32>, object: Value<'gc>, value: &Value<'gc>) -> bool {
        // SAFETY: as in `field_at`.
        let (instruction, after) = unsafe { (Instruction((*pc).get()), pc.add(1)) };
        self.top_frame_mut().pc = after;
        let Value::Table(table) = object else { return false };
        let fuel = self.fuel;
        // Whether it is done or not, doing it again comes to the same.
        let is_done = self.assign_in_place(table, self.constant_name(instruction.b()), value);
        self.stays_in_place(fuel) && is_done
    }

    /// After a part of an instruction: pays for it. False if the driver has something to do now; then the whole instruction is run, and
    /// pays itself.
    #[inline(always)]
    fn stays_in_place(&mut self, fuel: Fuel) -> bool {
        self.memory_retry = false;
        self.fuel -= fuel::take_owed();
        let stays = self.fuel >= 0 && !self.context.accounting().wants_cycle();
        if !stays {
            self.fuel = fuel;
        }
        stays
    }

    /// Runs the top frame, one of `closure`, by compiled code; nothing if there is none that is of use.
    pub(super) fn run_compiled(&mut self, closure: Closure<'gc>) -> Option<Flow> {
        let compilation = &closure.proto().0.as_ref().compiled;
        loop {
            let code = compilation.code()?;
            let frame = *self.top_frame();
            let start = closure.proto().0.code.as_ptr();
            // SAFETY: a frame's `pc` is in its function's code.
            let pc = unsafe { frame.pc.offset_from(start) } as usize;
            let outcome = match code.entry(pc) {
                Some(entry) if self.has_kinds(frame.base as usize, &entry.guards) => {
                    self.enter(code, closure, frame.base, entry.number)
                }
                entry => {
                    if entry.is_some() {
                        compilation.note_failure();
                    }
                    self.step_at(frame.pc)
                }
            };
            match outcome {
                outcome::STOP => return Some(Flow::Stop),
                outcome::CONTINUE | outcome::TAKEN if self.runs(closure, frame.function) => {}
                _ => return Some(Flow::Enter),
            }
        }
    }

    /// Whether the top frame is still the one that `closure` runs in.
    fn runs(&self, closure: Closure<'gc>, function: u32) -> bool {
        let Some(frame) = self.state().frames.last() else { return false };
        frame.function == function && matches!(frame.callee, Callee::Lua(running) if running.ptr_eq(closure))
    }

    fn has_kinds(&self, base: usize, guards: &[(u8, cu_translator::Kind)]) -> bool {
        guards.iter().all(|(register, kind)| has_kind(self.slot(base + *register as usize), *kind))
    }

    fn enter(&mut self, code: &Code, closure: Closure<'gc>, base: u32, entry: u32) -> i32 {
        // SAFETY: the host has put a function of this type there, which lives until the prototype is freed.
        let run = unsafe { transmute::<usize, Run>(code.run) };
        self.nested += 1;
        let outcome = run((&raw mut *self).cast(), base * 16, closure.address(), entry);
        self.nested -= 1;
        outcome
    }

    /// Runs the instruction at `pc` of the top frame.
    fn step_at(&mut self, pc: *const Cell<u32>) -> i32 {
        // SAFETY: `pc` is at an instruction of verified code.
        let (instruction, after) = unsafe { (Instruction((*pc).get()), pc.add(1)) };
        self.top_frame_mut().pc = after;
        let frames = self.state().frames.len();
        let changes = self.context.root().local_changes.get();
        let result = match instruction.opcode() {
            Some(
                opcode @ (Opcode::SelfField
                | Opcode::GetField
                | Opcode::GetTabUp
                | Opcode::GetTable
                | Opcode::GetInteger),
            ) => self.read_instruction(instruction, opcode),
            Some(
                opcode @ (Opcode::SetField
                | Opcode::SetFieldK
                | Opcode::SetTable
                | Opcode::SetTableK
                | Opcode::SetInteger
                | Opcode::SetIntegerK),
            ) => self.write_instruction(instruction, opcode),
            Some(opcode @ (Opcode::NewTable | Opcode::Concat | Opcode::SetList | Opcode::Closure)) => {
                self.make_instruction(instruction, opcode)
            }
            Some(Opcode::Lt) => self.order(Metamethod::Lt, instruction),
            Some(Opcode::Le) => self.order(Metamethod::Le, instruction),
            Some(Opcode::Close) if self.close_at_once(self.position(instruction.a()) as u32) => Ok(Flow::Continue),
            _ => self.run_instruction(instruction),
        };
        match self.settle(result) {
            Flow::Continue => self.after_native(instruction, pc, changes),
            Flow::Enter if self.state().frames.len() == frames + 1 => self.finish_by_call(instruction, pc),
            Flow::Enter => outcome::FRAME,
            Flow::Stop => outcome::STOP,
        }
    }

    /// Runs the metamethod that an instruction has called, if it is compiled, and so finishes the instruction.
    fn finish_by_call(&mut self, instruction: Instruction, pc: *const Cell<u32>) -> i32 {
        let frame = *self.top_frame();
        let Callee::Lua(called) = frame.callee else { return outcome::FRAME };
        let Some(code) = called.proto().0.as_ref().compiled.code() else { return self.enter_interpreted(called) };
        if frame.want != WANT_FINISH || self.nested >= NESTED_MAX || self.context.accounting().wants_cycle() {
            return outcome::FRAME;
        }
        match self.enter(code, called, frame.base, 0) {
            outcome::CONTINUE if self.context.accounting().wants_cycle() => outcome::FRAME,
            outcome::CONTINUE => self.position_after(instruction, pc),
            other => other,
        }
    }

    /// After an instruction that is over.
    fn after(&mut self, instruction: Instruction, pc: *const Cell<u32>) -> i32 {
        if self.safe_point(instruction) == Flow::Stop {
            return outcome::STOP;
        }
        if self.state().is_traced {
            return outcome::FRAME;
        }
        self.position_after(instruction, pc)
    }

    /// Whether the top frame goes on after the instruction at `pc`, or elsewhere.
    fn position_after(&self, instruction: Instruction, pc: *const Cell<u32>) -> i32 {
        let words = WORDS[instruction.opcode_byte() as usize];
        // SAFETY: the words belong to the code.
        if self.top_frame().pc == unsafe { pc.add(words as usize) } { outcome::CONTINUE } else { outcome::TAKEN }
    }

    /// A call: of a compiled function at once, of a native function too; others are for the driver.
    fn call_at(&mut self, pc: *const Cell<u32>) -> i32 {
        // SAFETY: as in `step_at`.
        let (instruction, after) = unsafe { (Instruction((*pc).get()), pc.add(1)) };
        let frame = self.top_frame_mut();
        frame.pc = after;
        let position = frame.base as usize + instruction.a();
        let want = instruction.c() as i32 - 1;
        let (function, args) = self.call_operands(instruction);
        match self.slot(position) {
            Value::Closure(called) if self.try_enter_lua(called, function, args, want).is_some() => {
                return self.enter_called(called, function + 1);
            }
            Value::Native(native) if native.role() == Role::ProtectedCall => {
                if let Some((_, inner)) = self.try_enter_protected(native, function, args, want) {
                    return self.enter_called(inner, function + 2);
                }
                return self.call_native_at(native, function, args, instruction, pc);
            }
            Value::Native(native) => return self.call_native_at(native, function, args, instruction, pc),
            _ => {}
        }
        let result = self.call(function, args, want);
        match self.settle(result) {
            Flow::Stop => outcome::STOP,
            _ => outcome::FRAME,
        }
    }

    fn call_native_at(
        &mut self,
        native: Native<'gc>,
        function: usize,
        args: usize,
        instruction: Instruction,
        pc: *const Cell<u32>,
    ) -> i32 {
        let changes = self.context.root().local_changes.get();
        let result = self.call_native(native, function, args, instruction.c() as i32 - 1);
        match self.settle(result) {
            Flow::Continue => self.after_native(instruction, pc, changes),
            Flow::Enter => outcome::FRAME,
            Flow::Stop => outcome::STOP,
        }
    }

    /// After an instruction that is over, and may have called native functions, which may have changed variables of the frame. `changes`
    /// tells of the time before.
    fn after_native(&mut self, instruction: Instruction, pc: *const Cell<u32>, changes: u32) -> i32 {
        match self.after(instruction, pc) {
            outcome::CONTINUE | outcome::TAKEN if self.context.root().local_changes.get() != changes => outcome::FRAME,
            other => other,
        }
    }

    /// Goes on in the function whose frame was just pushed.
    #[inline]
    fn enter_called(&mut self, called: Closure<'gc>, base: usize) -> i32 {
        if self.fuel < 0 {
            self.stop = Stop::OutOfFuel;
            return outcome::STOP;
        }
        if self.nested >= NESTED_MAX {
            return outcome::FRAME;
        }
        match called.proto().0.as_ref().compiled.code() {
            Some(code) => self.enter(code, called, base as u32, 0),
            None => self.enter_interpreted(called),
        }
    }

    /// Leaves the function that a compiled one has called to the driver, after it was compiled if that is worth it now.
    #[inline(never)]
    fn enter_interpreted(&mut self, called: Closure<'gc>) -> i32 {
        if called.proto().0.as_ref().compiled.note_call() {
            self.stop = Stop::Look;
            return outcome::STOP;
        }
        outcome::FRAME
    }

    /// A return. `CONTINUE` if it is to the Lua function that called.
    fn leave_at(&mut self, pc: *const Cell<u32>) -> i32 {
        // SAFETY: as in `step_at`.
        let (instruction, after) = unsafe { (Instruction((*pc).get()), pc.add(1)) };
        let frame = *self.top_frame();
        let is_lua_caller = self.lua_caller().is_some();
        let first = frame.base as usize + instruction.a();
        let count = match instruction.opcode() {
            Some(Opcode::Return1) => 1,
            Some(Opcode::Return0) => 0,
            Some(Opcode::Return) if instruction.b() > 0 => instruction.b() - 1,
            _ => return self.leave_with(instruction, after, frame.want, is_lua_caller),
        };
        let is_simple = instruction.opcode() != Some(Opcode::Return);
        if is_lua_caller
            && frame.want >= WANT_ALL
            && (is_simple || !instruction.flag() || self.close_at_once(frame.base))
        {
            return self.leave_to_lua(frame, first, count, is_simple);
        }
        if !is_simple {
            return self.leave_with(instruction, after, frame.want, is_lua_caller);
        }
        let value = (count == 1).then(|| self.slot(first));
        if self.leave_protected(value).is_some() {
            return outcome::CONTINUE;
        }
        if frame.want == 1 && !is_lua_caller && self.leave_to_native(frame, value) {
            return outcome::CONTINUE;
        }
        self.leave_with(instruction, after, frame.want, is_lua_caller)
    }

    /// Returns to the Lua function that called, which takes a list of values; `is_simple` for the instructions that return at most one.
    fn leave_to_lua(&mut self, frame: Frame<'gc>, first: usize, count: usize, is_simple: bool) -> i32 {
        debug_assert!(frame.flags & FLAG_NATIVE_CALL == 0);
        let (function, wanted) = (frame.function as usize, usize::try_from(frame.want).unwrap_or(count));
        let state = self.state_mut();
        let results = &mut state.stack[function..first + count.max(1)];
        let copied = count.min(wanted);
        results.copy_within(first - function..first - function + copied, 0);
        state.frames.pop();
        if is_simple && frame.want == count as i32 {
            return outcome::CONTINUE;
        }
        for slot in copied..wanted {
            state.stack[function + slot] = Value::Nil;
        }
        if frame.want == WANT_ALL {
            self.top_frame_mut().top = (function + count) as u32;
        }
        // As when the dispatch loop loads the caller's frame.
        self.fuel -= fuel::take_owed();
        if self.context.accounting().wants_cycle() { outcome::FRAME } else { outcome::CONTINUE }
    }

    /// Closes what is at or above slot `from`, if that are only variables that closures have captured.
    #[inline]
    fn close_at_once(&mut self, from: u32) -> bool {
        let is_done = self.state().to_close.last().is_none_or(|position| *position < from);
        if is_done {
            self.coroutine.close_upvalues(from);
        }
        is_done
    }

    /// Returns one value to the native function that called; false if there is none.
    fn leave_to_native(&mut self, frame: Frame<'gc>, value: Option<Value<'gc>>) -> bool {
        let state = self.state_mut();
        let [.., caller, _] = &mut state.frames[..] else { return false };
        let function = frame.function as usize;
        caller.results = 1;
        caller.top = caller.top.max(frame.function + 1);
        state.stack[function] = value.unwrap_or(Value::Nil);
        self.pop_frame();
        true
    }

    /// Runs `called`, whose frame was just pushed above `floor`, if it is compiled; `None` if that is not all that there is to run.
    pub(super) fn run_compiled_callee(&mut self, called: Closure<'gc>, floor: Floor<'gc>) -> Option<Outcome> {
        let code = called.proto().0.as_ref().compiled.code()?;
        let frame = *self.top_frame();
        // The native function may have called a Lua function that has been running for long.
        if frame.pc != called.proto().0.code.as_ptr() {
            return None;
        }
        match self.enter(code, called, frame.base, 0) {
            outcome::STOP => Some(Outcome::Stopped),
            outcome::CONTINUE if self.is_at(floor) => {
                self.fuel -= fuel::take_owed();
                Some(Outcome::Returned)
            }
            _ => None,
        }
    }

    fn leave_with(&mut self, instruction: Instruction, after: *const Cell<u32>, want: i32, is_lua_caller: bool) -> i32 {
        self.top_frame_mut().pc = after;
        let frames = self.state().frames.len();
        let result = self.run_instruction(instruction);
        if let Ok(Flow::Enter) = result
            && (want >= WANT_ALL || want == WANT_FINISH)
            && is_lua_caller
            && self.state().frames.len() == frames - 1
            // What a native function has made in a tail call may be a reason to collect, which comes before anything else.
            && !self.context.accounting().wants_cycle()
        {
            self.fuel -= fuel::take_owed();
            return outcome::CONTINUE;
        }
        match self.settle(result) {
            Flow::Stop => outcome::STOP,
            _ if instruction.opcode() == Some(Opcode::TailCall) => self.enter_tail_called(frames),
            _ => outcome::FRAME,
        }
    }

    /// Goes on in the function that has taken the place of its caller in one of `frames` frames.
    fn enter_tail_called(&mut self, frames: usize) -> i32 {
        let frame = *self.top_frame();
        match frame.callee {
            Callee::Lua(called)
                if self.state().frames.len() == frames
                    && frame.flags & FLAG_TAIL_CALL != 0
                    && !self.context.accounting().wants_cycle() =>
            {
                self.enter_called(called, frame.base as usize)
            }
            _ => outcome::FRAME,
        }
    }
}
