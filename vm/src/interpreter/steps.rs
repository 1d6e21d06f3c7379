//! What the dispatch loop does out of line: the parts of instructions that are not their usual case, and what follows an instruction.

use super::calls::CALL_HANDLERS_MAX;
use super::{Flow, Machine, Stop};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::error::Error;
use crate::fuel;
use crate::heap::coroutine::{Callee, FLAG_NATIVE_CALL, FLAG_TAIL_CALL, WANT_FINISH, WANT_REPEAT, WANT_RETURN};
use crate::heap::string::LuaString;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

impl<'gc> Machine<'gc> {
    /// What follows an `instruction` that is over: a collection or the end of the fuel.
    #[inline(always)]
    pub(super) fn safe_point(&mut self, instruction: Instruction) -> Flow {
        self.memory_retry = false;
        if self.context.accounting().wants_cycle() {
            self.clear_dead_registers(instruction);
            self.stop = Stop::Collect;
            return Flow::Stop;
        }
        self.fuel -= fuel::take_owed();
        if self.fuel < 0 {
            self.stop = Stop::OutOfFuel;
            return Flow::Stop;
        }
        Flow::Continue
    }

    /// Turns an error into what it leads to.
    #[inline(always)]
    pub(super) fn settle(&mut self, result: Result<Flow, Error<'gc>>) -> Flow {
        match result {
            Ok(flow) => flow,
            Err(error) => self.throw(error),
        }
    }

    /// As [`Self::settle`], and goes on after the instruction's trailing word.
    #[inline(always)]
    pub(super) fn settle_and_skip(&mut self, result: Result<Flow, Error<'gc>>) -> Flow {
        let flow = self.settle(result);
        if flow == Flow::Continue {
            let frame = self.top_frame_mut();
            // SAFETY: the trailing word belongs to the code.
            frame.pc = unsafe { frame.pc.add(1) };
        }
        flow
    }

    /// Goes on at the target of the current instruction's jump, or after it. A jump back costs its distance.
    pub(super) fn branch(&mut self, taken: bool) -> Flow {
        let frame = self.top_frame_mut();
        // SAFETY: a saved `pc` points at the jump offset; a verified jump lands on an instruction.
        let offset = unsafe {
            let offset = if taken { (*frame.pc).get() as i32 } else { 0 };
            frame.pc = frame.pc.offset(offset as isize + 1);
            offset
        };
        self.fuel += i64::from(offset.min(0));
        Flow::Continue
    }

    /// As [`Value::raw_equals`], paying for long strings.
    #[inline(always)]
    pub(super) fn raw_equals(&mut self, left: Value<'gc>, right: Value<'gc>) -> bool {
        match (left, right) {
            (Value::String(a), Value::String(b)) => a.ptr_eq(b) || (!a.is_short() && self.equal_long(a, b)),
            _ => left.raw_equals(right),
        }
    }

    #[cold]
    #[inline(never)]
    fn equal_long(&mut self, left: LuaString<'gc>, right: LuaString<'gc>) -> bool {
        let equal = left.equals_long(right);
        self.fuel -= fuel::take_owed();
        equal
    }

    /// A comparison that is not of two integers or two floats.
    #[inline(never)]
    pub(super) fn compare_and_branch(
        &mut self,
        operator: Metamethod,
        left: Value<'gc>,
        right: Value<'gc>,
        flag: bool,
    ) -> Result<Flow, Error<'gc>> {
        self.fuel -= fuel::SLOW_PATH;
        match self.compare(operator, left, right)? {
            Ok(holds) => Ok(self.branch(holds == flag)),
            Err(handler) => self.call_metamethod(handler, &[left, right], WANT_FINISH),
        }
    }

    /// Closes what is at or above slot `from`; the instruction is repeated until nothing is left.
    #[inline(never)]
    pub(super) fn close_block(&mut self, from: usize) -> Result<Flow, Error<'gc>> {
        let at = self.free_slot();
        let called = self.close_step(from as u32, Value::Nil, Some(at), WANT_REPEAT)?;
        Ok(if called { Flow::Enter } else { Flow::Continue })
    }

    /// Likewise for everything of the top frame, which then returns `count` values from slot `first` on.
    #[inline(never)]
    pub(super) fn close_and_leave(&mut self, first: usize, count: usize) -> Result<Flow, Error<'gc>> {
        let at = self.free_slot().max(first + count);
        let (base, function, want) = (self.top_frame().base, self.top_frame().function, self.top_frame().want);
        if self.close_step(base, Value::Nil, Some(at), WANT_REPEAT)? {
            return Ok(Flow::Enter);
        }
        self.leave(function as usize, first, count, want)
    }

    /// Prepares the numeric loop whose counters start at slot `first`.
    #[inline(never)]
    pub(super) fn enter_loop(&mut self, first: usize) -> Result<Flow, Error<'gc>> {
        let runs = self.prepare_loop(first)?;
        Ok(self.branch(!runs))
    }

    /// Marks the closing value of a generic loop and goes to its first step.
    #[inline(never)]
    pub(super) fn enter_generic_loop(&mut self, closing: usize) -> Result<Flow, Error<'gc>> {
        self.mark_to_be_closed(closing)?;
        Ok(self.branch(true))
    }

    /// Calls the iterator in slot `function` with the loop's state and control value, which follow it.
    #[inline(never)]
    pub(super) fn call_iterator(&mut self, function: usize, want: i32) -> Result<Flow, Error<'gc>> {
        match self.slot(function) {
            Value::Native(native) if !self.state().is_traced => self.call_native(native, function, 2, want),
            _ => self.call(function, 2, want),
        }
    }

    /// Replaces the top frame by a call of the value in slot `function`.
    #[inline]
    pub(super) fn tail_call(&mut self, function: usize, args: usize) -> Result<Flow, Error<'gc>> {
        let mut args = args;
        let mut handlers = 0;
        while !matches!(self.slot(function), Value::Closure(_) | Value::Native(_)) {
            handlers += 1;
            if handlers > CALL_HANDLERS_MAX {
                return Err(self.runtime_error(b"stack overflow"));
            }
            self.insert_call_handler(function, args)?;
            args += 1;
        }
        let frame = *self.top_frame();
        let closure = match self.slot(function) {
            Value::Closure(closure) => closure,
            // A native function runs on top of the caller, so that errors have a position.
            Value::Native(_) if self.state().is_traced => return self.call(function, args, WANT_RETURN),
            Value::Native(native) => return self.call_native(native, function, args, WANT_RETURN),
            _ => unreachable!("checked above"),
        };
        let target = frame.function as usize;
        self.state_mut().stack.copy_within(function..=function + args, target);
        self.state_mut().frames.pop();
        self.enter_lua(closure, target, args, frame.want)?;
        self.top_frame_mut().flags |= FLAG_TAIL_CALL | frame.flags & FLAG_NATIVE_CALL;
        if self.fuel < 0 {
            self.stop = Stop::OutOfFuel;
            return Ok(Flow::Stop);
        }
        Ok(Flow::Enter)
    }

    /// Forgets what is left in registers above those in use after `instruction`, before a collection would take it for alive. The
    /// compiler calls functions, makes objects and concatenates in the first unused registers; of other instructions nothing
    /// is known, and nothing cleared.
    #[cold]
    #[inline(never)]
    pub(super) fn clear_dead_registers(&mut self, instruction: Instruction) {
        let used = match instruction.opcode() {
            // The values of an open list end at the frame's top.
            Some(Opcode::Call | Opcode::VarArg) if instruction.c() == 0 => return,
            Some(Opcode::Call) => Some(instruction.a() + instruction.c() - 1),
            Some(Opcode::NewTable | Opcode::Concat) => Some(instruction.a() + 1),
            Some(Opcode::Closure) if instruction.b() == 1 => Some(instruction.a() + 1),
            _ => None,
        };
        let frame = self.top_frame_mut();
        let Callee::Lua(closure) = frame.callee else { return };
        // No list is open.
        frame.top = frame.base;
        let base = frame.base as usize;
        if let Some(used) = used {
            let registers = closure.proto().0.register_count as usize;
            self.state_mut().stack[base + used..base + registers].fill(Value::Nil);
        }
    }

    /// A table with announced sizes. They come from bytecode, so the room made in advance is bounded.
    #[inline(never)]
    pub(super) fn new_table(&mut self, target: usize, items: usize, fields: usize) -> Result<Flow, Error<'gc>> {
        let (items, fields) = (items.min(1 << 16), fields.min(1 << 12));
        self.fuel -= (fuel::copied(items) + fuel::values(fields)) as i64;
        self.context.accounting().check(items * 16 + fields * 40)?;
        let table = Table::new(self.context, items, fields);
        self.set_slot(target, Value::Table(table));
        Ok(Flow::Continue)
    }
}
