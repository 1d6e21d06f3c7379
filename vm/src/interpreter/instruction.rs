//! One instruction as a function call: the whole of what it does, the usual case and all others.
//!
//! The dispatch loop does the usual cases of most instructions in place and leaves the rest to named functions. This is the other
//! way to the same results, for code that does not run in that loop: compiled functions, which do the usual cases on
//! their own. Both ways charge the same fuel and stop at the same points; the tests run all fixtures on both.

use super::{Flow, Machine, Stop};
use crate::arithmetic::{
    float_floor_divide, float_modulo, integer_floor_divide, integer_modulo, power, shift_left, shift_right,
};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::error::Error;
use crate::fuel;
use crate::heap::closure::Closure;
use crate::heap::coroutine::{Callee, WANT_FINISH};
use crate::heap::native::Role;
use crate::heap::string::LuaString;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

impl<'gc> Machine<'gc> {
    /// Runs `instruction` of the top frame, whose `pc` is after the instruction's first word.
    #[inline(never)]
    pub(super) fn run_instruction(&mut self, instruction: Instruction) -> Result<Flow, Error<'gc>> {
        let i = instruction;
        let Some(opcode) = i.opcode() else { return Ok(Flow::Continue) };
        match opcode {
            Opcode::Move => self.put(i, self.register(i.b())),
            Opcode::LoadInteger => self.put(i, Value::Integer(i.sbx())),
            Opcode::LoadFloat => self.put(i, Value::Float(i.sbx() as f64)),
            Opcode::LoadConstant => self.put(i, self.constant(i.bx())),
            Opcode::LoadConstantWide => {
                let index = self.take_word() as usize;
                self.put(i, self.constant(index))
            }
            Opcode::LoadNil => {
                self.fuel -= fuel::values(i.b()) as i64;
                for register in i.a()..=i.a() + i.b() {
                    self.set_register(register, Value::Nil);
                }
                Ok(Flow::Continue)
            }
            Opcode::LoadFalse => self.put(i, Value::Boolean(false)),
            Opcode::LoadFalseSkip => {
                let frame = self.top_frame_mut();
                // SAFETY: an instruction of one word follows, and is not the last.
                frame.pc = unsafe { frame.pc.add(1) };
                self.put(i, Value::Boolean(false))
            }
            Opcode::LoadTrue => self.put(i, Value::Boolean(true)),
            Opcode::GetUpvalue => self.put(i, self.running_closure().upvalue(i.b()).get()),
            Opcode::SetUpvalue => {
                self.running_closure().upvalue(i.b()).set(self.register(i.a()));
                Ok(Flow::Continue)
            }

            Opcode::GetTabUp | Opcode::GetField | Opcode::SelfField | Opcode::GetTable | Opcode::GetInteger => {
                self.read_instruction(i, opcode)
            }
            Opcode::SetTabUp
            | Opcode::SetTabUpK
            | Opcode::SetField
            | Opcode::SetFieldK
            | Opcode::SetTable
            | Opcode::SetTableK
            | Opcode::SetInteger
            | Opcode::SetIntegerK => self.write_instruction(i, opcode),
            Opcode::Add => self.binary(i, Metamethod::Add, self.register(i.c())),
            Opcode::Sub => self.binary(i, Metamethod::Sub, self.register(i.c())),
            Opcode::Mul => self.binary(i, Metamethod::Mul, self.register(i.c())),
            Opcode::Div => self.binary(i, Metamethod::Div, self.register(i.c())),
            Opcode::Mod => self.binary(i, Metamethod::Mod, self.register(i.c())),
            Opcode::Pow => self.binary(i, Metamethod::Pow, self.register(i.c())),
            Opcode::IDiv => self.binary(i, Metamethod::IDiv, self.register(i.c())),
            Opcode::BAnd => self.binary(i, Metamethod::BAnd, self.register(i.c())),
            Opcode::BOr => self.binary(i, Metamethod::BOr, self.register(i.c())),
            Opcode::BXor => self.binary(i, Metamethod::BXor, self.register(i.c())),
            Opcode::Shl => self.binary(i, Metamethod::Shl, self.register(i.c())),
            Opcode::Shr => self.binary(i, Metamethod::Shr, self.register(i.c())),
            Opcode::AddI => self.binary(i, Metamethod::Add, Value::Integer(i.c() as i64)),
            Opcode::SubI => match self.register(i.b()) {
                // As an addition, which gives `-0.0 - 0` the sign that it has in PUC Lua.
                Value::Float(left) => self.put(i, Value::Float(left + (0.0 - i.c() as f64))),
                _ => self.binary(i, Metamethod::Sub, Value::Integer(i.c() as i64)),
            },
            Opcode::ShlI => self.binary(i, Metamethod::Shl, Value::Integer(i.c() as i64)),
            Opcode::ShrI => self.binary(i, Metamethod::Shr, Value::Integer(i.c() as i64)),
            Opcode::AddK => self.binary(i, Metamethod::Add, self.constant(i.c())),
            Opcode::SubK => self.binary(i, Metamethod::Sub, self.constant(i.c())),
            Opcode::MulK => self.binary(i, Metamethod::Mul, self.constant(i.c())),
            Opcode::DivK => self.binary(i, Metamethod::Div, self.constant(i.c())),
            Opcode::ModK => self.binary(i, Metamethod::Mod, self.constant(i.c())),
            Opcode::PowK => self.binary(i, Metamethod::Pow, self.constant(i.c())),
            Opcode::IDivK => self.binary(i, Metamethod::IDiv, self.constant(i.c())),
            Opcode::BAndK => self.binary(i, Metamethod::BAnd, self.constant(i.c())),
            Opcode::BOrK => self.binary(i, Metamethod::BOr, self.constant(i.c())),
            Opcode::BXorK => self.binary(i, Metamethod::BXor, self.constant(i.c())),
            Opcode::Neg => self.binary(i, Metamethod::Unm, self.register(i.b())),
            Opcode::BNot => self.binary(i, Metamethod::BNot, self.register(i.b())),
            Opcode::Not => self.put(i, Value::Boolean(!self.register(i.b()).is_truthy())),
            Opcode::Len => match self.register(i.b()) {
                Value::Table(table) if table.metatable().is_none() && table.is_sequence() => {
                    self.put(i, Value::Integer(table.shape().0 as i64))
                }
                value => self.length(self.position(i.a()), value),
            },
            Opcode::Close => self.close_block(self.position(i.a())),
            Opcode::ToBeClosed => self.mark_to_be_closed(self.position(i.a())).map(|()| Flow::Continue),
            Opcode::Jump => Ok(self.branch(true)),
            Opcode::Test => Ok(self.branch(self.register(i.a()).is_truthy() == i.flag())),
            Opcode::TestSet => {
                let value = self.register(i.b());
                let taken = value.is_truthy() == i.flag();
                if taken {
                    self.set_register(i.a(), value);
                }
                Ok(self.branch(taken))
            }
            Opcode::Eq => {
                let (left, right) = (self.register(i.a()), self.register(i.b()));
                let equal = self.raw_equals(left, right);
                if !equal && let Some(handler) = self.equality_handler(left, right) {
                    return self.call_metamethod(handler, &[left, right], WANT_FINISH);
                }
                Ok(self.branch(equal == i.flag()))
            }
            Opcode::EqK => {
                let equal = self.raw_equals(self.register(i.a()), self.constant(i.b()));
                Ok(self.branch(equal == i.flag()))
            }
            Opcode::EqI => Ok(self.branch(self.register(i.a()).raw_equals(Value::Integer(i.sb())) == i.flag())),
            Opcode::Lt => self.order(Metamethod::Lt, i),
            Opcode::Le => self.order(Metamethod::Le, i),
            Opcode::LtI => self.order_immediate(Metamethod::Lt, i, false),
            Opcode::LeI => self.order_immediate(Metamethod::Le, i, false),
            Opcode::GtI => self.order_immediate(Metamethod::Lt, i, true),
            Opcode::GeI => self.order_immediate(Metamethod::Le, i, true),

            Opcode::Call => self.call_for(i),
            Opcode::TailCall => {
                let (function, args) = self.call_operands(i);
                if i.flag() {
                    let base = self.top_frame().base;
                    self.coroutine.close_upvalues(base);
                }
                self.tail_call(function, args)
            }
            Opcode::Return => {
                let (first, count) = self.values_from(i.a(), i.b());
                if i.flag() {
                    return self.close_and_leave(first, count);
                }
                self.leave_top_frame(first, count)
            }
            Opcode::Return0 => self.leave_top_frame(0, 0),
            Opcode::Return1 => self.leave_top_frame(self.position(i.a()), 1),
            Opcode::ForPrep => self.start_loop(i.a()),
            Opcode::ForLoop => Ok(self.step_loop(i.a())),
            Opcode::TForPrep => self.enter_generic_loop(self.position(i.a() + 3)),
            Opcode::TForCall => self.step_generic_loop(i),
            Opcode::TForLoop => {
                let control = self.register(i.a() + 4);
                if !control.is_nil() {
                    self.set_register(i.a() + 2, control);
                }
                Ok(self.branch(!control.is_nil()))
            }
            Opcode::NewTable | Opcode::Concat | Opcode::SetList | Opcode::Closure => self.make_instruction(i, opcode),
            Opcode::VarArg => self.copy_varargs(self.position(i.a()), i.c() as i32 - 1).map(|()| Flow::Continue),
            Opcode::VarArgPrep => self.prepare_varargs(i.a()).map(|()| Flow::Continue),
        }
    }

    /// An instruction that makes a table, a string or a function, or fills a new table.
    #[inline(never)]
    pub(super) fn make_instruction(&mut self, i: Instruction, opcode: Opcode) -> Result<Flow, Error<'gc>> {
        let flow = match opcode {
            Opcode::NewTable => {
                let items = self.word() as usize;
                self.fuel -= fuel::ALLOCATION;
                if (i.bx() | items) == 0 {
                    self.put(i, Value::Table(Table::new(self.context, 0, 0)))
                } else {
                    self.new_table(self.position(i.a()), items, i.bx())
                }
            }
            Opcode::SetList => {
                let first = self.position(i.a() + 1);
                let count = if i.b() == 0 { self.top_frame().top as usize - first } else { i.b() };
                let start = self.word() as usize;
                self.set_list(self.register(i.a()), first, count, start).map(|()| Flow::Continue)
            }
            Opcode::Closure => {
                self.fuel -= fuel::ALLOCATION;
                let child = self.word() as usize;
                self.make_closure(self.running_closure(), child, self.position(i.a()));
                Ok(Flow::Continue)
            }
            _ => {
                self.fuel -= fuel::ALLOCATION;
                return self.concatenate(self.position(i.a()), i.b());
            }
        };
        self.after_word(flow)
    }

    /// A call of a Lua function enters it; one of a native function is made.
    pub(super) fn call_for(&mut self, i: Instruction) -> Result<Flow, Error<'gc>> {
        let (function, args) = self.call_operands(i);
        let want = i.c() as i32 - 1;
        match self.register(i.a()) {
            Value::Native(native) => {
                if native.role() == Role::ProtectedCall
                    && self.try_enter_protected(native, function, args, want).is_some()
                {
                    return Ok(self.entered());
                }
                self.call_native(native, function, args, want)
            }
            _ => self.call(function, args, want),
        }
    }

    /// What follows a call that was entered in place.
    fn entered(&mut self) -> Flow {
        if self.fuel < 0 {
            self.stop = Stop::OutOfFuel;
            return Flow::Stop;
        }
        Flow::Enter
    }

    /// The slot of the function that a call instruction calls, and how many arguments it passes.
    pub(super) fn call_operands(&self, i: Instruction) -> (usize, usize) {
        let (first, count) = self.values_from(i.a() + 1, i.b());
        (first - 1, count)
    }

    /// The slots of a list of values from `register` on, with `count` one too high, or 0 for a list to the top.
    fn values_from(&self, register: usize, count: usize) -> (usize, usize) {
        let first = self.position(register);
        (first, if count == 0 { self.top_frame().top as usize - first } else { count - 1 })
    }

    fn leave_top_frame(&mut self, first: usize, count: usize) -> Result<Flow, Error<'gc>> {
        let (function, want) = (self.top_frame().function, self.top_frame().want);
        self.leave(function as usize, first, count, want)
    }

    #[inline(never)]
    fn binary(&mut self, i: Instruction, event: Metamethod, right: Value<'gc>) -> Result<Flow, Error<'gc>> {
        let left = self.register(i.b());
        if let Metamethod::Pow = event {
            self.fuel -= fuel::POWER;
        }
        match self.on_usual_operands(event, left, right) {
            Some(value) => self.put(i, value),
            None => self.arithmetic(event, self.position(i.a()), left, right),
        }
    }

    /// What the dispatch loop does in place: two integers, or numbers of which one is a float.
    fn on_usual_operands(&mut self, event: Metamethod, left: Value<'gc>, right: Value<'gc>) -> Option<Value<'gc>> {
        let (x, y) = match (left, right) {
            (Value::Integer(x), Value::Integer(y)) => {
                return Some(Value::Integer(match event {
                    Metamethod::Add => x.wrapping_add(y),
                    Metamethod::Sub => x.wrapping_sub(y),
                    Metamethod::Mul => x.wrapping_mul(y),
                    Metamethod::Unm => x.wrapping_neg(),
                    Metamethod::BNot => !x,
                    Metamethod::BAnd => x & y,
                    Metamethod::BOr => x | y,
                    Metamethod::BXor => x ^ y,
                    Metamethod::Shl => shift_left(x, y),
                    Metamethod::Shr => shift_right(x, y),
                    Metamethod::Mod => return integer_modulo(x, y).map(Value::Integer),
                    Metamethod::IDiv => return integer_floor_divide(x, y).map(Value::Integer),
                    Metamethod::Div => return Some(Value::Float(x as f64 / y as f64)),
                    _ => return Some(Value::Float(power(x as f64, y as f64))),
                }));
            }
            (Value::Float(x), Value::Float(y)) => (x, y),
            (Value::Integer(x), Value::Float(y)) => (x as f64, y),
            (Value::Float(x), Value::Integer(y)) => (x, y as f64),
            _ => return None,
        };
        Some(Value::Float(match event {
            Metamethod::Add => x + y,
            Metamethod::Sub => x - y,
            Metamethod::Mul => x * y,
            Metamethod::Div => x / y,
            Metamethod::Unm => -x,
            Metamethod::Pow => power(x, y),
            Metamethod::IDiv => float_floor_divide(x, y),
            Metamethod::Mod => {
                self.fuel -= fuel::FLOAT_MODULO;
                float_modulo(x, y)
            }
            _ => return None,
        }))
    }

    /// Whether one register is before another.
    pub(super) fn order(&mut self, event: Metamethod, i: Instruction) -> Result<Flow, Error<'gc>> {
        self.order_values(event, self.register(i.a()), self.register(i.b()), i)
    }

    fn order_values(
        &mut self,
        event: Metamethod,
        left: Value<'gc>,
        right: Value<'gc>,
        i: Instruction,
    ) -> Result<Flow, Error<'gc>> {
        let holds = match (left, right, event) {
            (Value::Integer(x), Value::Integer(y), Metamethod::Lt) => x < y,
            (Value::Integer(x), Value::Integer(y), _) => x <= y,
            (Value::Float(x), Value::Float(y), Metamethod::Lt) => x < y,
            (Value::Float(x), Value::Float(y), _) => x <= y,
            _ => return self.compare_and_branch(event, left, right, i.flag()),
        };
        Ok(self.branch(holds == i.flag()))
    }

    /// Register `A` and the small integer `B`, or the other way round.
    fn order_immediate(&mut self, event: Metamethod, i: Instruction, swapped: bool) -> Result<Flow, Error<'gc>> {
        let number = match self.register(i.a()) {
            Value::Float(_) => Value::Float(i.sb() as f64),
            _ => Value::Integer(i.sb()),
        };
        match self.register(i.a()) {
            left @ (Value::Integer(_) | Value::Float(_)) if swapped => self.order_values(event, number, left, i),
            left @ (Value::Integer(_) | Value::Float(_)) => self.order_values(event, left, number, i),
            left if swapped => self.compare_and_branch(event, number, left, i.flag()),
            left => self.compare_and_branch(event, left, number, i.flag()),
        }
    }

    /// Prepares a numeric loop whose counters start in `register`.
    fn start_loop(&mut self, register: usize) -> Result<Flow, Error<'gc>> {
        let counters = (self.register(register), self.register(register + 1), self.register(register + 2));
        let (Value::Integer(start), Value::Integer(limit), Value::Integer(step)) = counters else {
            return self.enter_loop(self.position(register));
        };
        if step <= 0 {
            return self.enter_loop(self.position(register));
        }
        if start > limit {
            return Ok(self.branch(true));
        }
        let rounds = (limit as u64).wrapping_sub(start as u64) / step as u64;
        self.set_register(register + 1, Value::Integer(rounds as i64));
        self.set_register(register + 3, Value::Integer(start));
        Ok(self.branch(false))
    }

    /// The step of a numeric loop whose counters start in `register`.
    fn step_loop(&mut self, register: usize) -> Flow {
        let counters = (self.register(register), self.register(register + 1), self.register(register + 2));
        let next = match counters {
            (Value::Integer(index), Value::Integer(rounds), Value::Integer(step)) if rounds as u64 > 0 => {
                self.set_register(register + 1, Value::Integer(rounds.wrapping_sub(1)));
                Some(Value::Integer(index.wrapping_add(step)))
            }
            (Value::Float(index), Value::Float(limit), Value::Float(step)) => {
                let index = index + step;
                let goes_on = if step > 0.0 { index <= limit } else { limit <= index };
                goes_on.then_some(Value::Float(index))
            }
            _ => None,
        };
        if let Some(index) = next {
            self.set_register(register, index);
            self.set_register(register + 3, index);
        }
        self.branch(next.is_some())
    }

    /// The call of a generic loop's iterator; the library's own are stepped without one.
    fn step_generic_loop(&mut self, i: Instruction) -> Result<Flow, Error<'gc>> {
        let (iterator, state, control) = (self.register(i.a()), self.register(i.a() + 1), self.register(i.a() + 2));
        if let Some(pair) = library_step(iterator, state, control) {
            self.fuel -= 1 + fuel::take_owed();
            let (key, value) = pair.unwrap_or((Value::Nil, Value::Nil));
            self.set_register(i.a() + 4, key);
            if i.c() >= 2 {
                self.set_register(i.a() + 5, value);
                for extra in 2..i.c() {
                    self.set_register(i.a() + 4 + extra, Value::Nil);
                }
            }
            return Ok(Flow::Continue);
        }
        for (offset, value) in [iterator, state, control].into_iter().enumerate() {
            self.set_register(i.a() + 4 + offset, value);
        }
        self.call_iterator(self.position(i.a() + 4), i.c() as i32)
    }

    /// The closure of the top frame, a Lua function's.
    #[inline(always)]
    pub(super) fn running_closure(&self) -> Closure<'gc> {
        match self.top_frame().callee {
            Callee::Lua(closure) => closure,
            Callee::Native(_) => unreachable!("native functions have no instructions"),
        }
    }

    #[inline(always)]
    pub(super) fn position(&self, register: usize) -> usize {
        self.top_frame().base as usize + register
    }

    #[inline(always)]
    pub(super) fn register(&self, register: usize) -> Value<'gc> {
        self.slot(self.position(register))
    }

    #[inline(always)]
    pub(super) fn set_register(&mut self, register: usize, value: Value<'gc>) {
        self.set_slot(self.position(register), value);
    }

    /// Gives register `A` its value.
    #[inline(always)]
    pub(super) fn put(&mut self, i: Instruction, value: Value<'gc>) -> Result<Flow, Error<'gc>> {
        self.set_register(i.a(), value);
        Ok(Flow::Continue)
    }

    #[inline(always)]
    pub(super) fn constant(&self, index: usize) -> Value<'gc> {
        self.running_closure().proto().0.constants[index]
    }

    #[inline(always)]
    pub(super) fn constant_name(&self, index: usize) -> LuaString<'gc> {
        match self.constant(index) {
            Value::String(name) => name,
            _ => unreachable!("a verified field instruction has a string"),
        }
    }

    /// The word after the instruction.
    #[inline(always)]
    pub(super) fn word(&self) -> u32 {
        debug_assert!(self.is_at_trailing_word());
        // SAFETY: called for verified instructions with a trailing word, while `pc` is at it.
        unsafe { (*self.top_frame().pc).get() }
    }

    #[inline(always)]
    fn take_word(&mut self) -> u32 {
        let word = self.word();
        let frame = self.top_frame_mut();
        // SAFETY: the word belongs to the code.
        frame.pc = unsafe { frame.pc.add(1) };
        word
    }

    /// Goes on after the trailing word, if the instruction is over.
    #[inline(always)]
    pub(super) fn after_word(&mut self, result: Result<Flow, Error<'gc>>) -> Result<Flow, Error<'gc>> {
        if let Ok(Flow::Continue) = result {
            self.take_word();
        }
        result
    }
}

/// A step of `next` or of the iterator of `ipairs`: the pair, or nothing at the end. `None` if it has to be called.
#[inline(always)]
pub(super) fn library_step<'gc>(
    iterator: Value<'gc>,
    state: Value<'gc>,
    control: Value<'gc>,
) -> Option<Option<(Value<'gc>, Value<'gc>)>> {
    let (Value::Native(native), Value::Table(table)) = (iterator, state) else { return None };
    match native.role() {
        Role::Next => table.next(control).ok(),
        Role::SequenceStep if table.metatable().is_none() => {
            let Value::Integer(index) = control else { return None };
            let index = index.wrapping_add(1);
            Some(match table.get_integer(index) {
                Value::Nil => None,
                value => Some((Value::Integer(index), value)),
            })
        }
        _ => None,
    }
}
