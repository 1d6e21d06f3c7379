//! Arithmetic, comparisons, conditions and numeric loops.
//!
//! Where it is known what the operands are, an instruction is what a processor does with them. Else both integers are tried, then both
//! floats; what is left goes to the VM.

use cu_compiler::bytecode::opcode::Opcode;
use wasm_encoder::{BlockType, ValType};

use crate::Constant;
use crate::blocks::Located;
use crate::emit::{Emitter, Label, OUTCOME, SCRATCH, SCRATCH_2};
use crate::kinds::{Kind, arithmetic, loop_kind};
use crate::registers::tag_of;

/// Whole numbers up to here are floats without loss.
const EXACT_MAX: u64 = 1 << 53;

/// An operand of an instruction on numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operand {
    Register(usize),
    Integer(i64),
    Float(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Sub,
    /// With a small integer; for floats it is the addition of its negative, as in the interpreter.
    SubImmediate,
    Mul,
    Div,
    Mod,
    Pow,
    FloorDiv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bitwise {
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Emitter<'_> {
    pub(crate) fn number_instruction(&mut self, located: Located) {
        let i = located.instruction;
        let (b, c) = (Operand::Register(i.b()), Operand::Register(i.c()));
        let immediate = Operand::Integer(i.c() as i64);
        match located.opcode {
            Opcode::Add => self.arithmetic(located, Operator::Add, b, c),
            Opcode::Sub => self.arithmetic(located, Operator::Sub, b, c),
            Opcode::Mul => self.arithmetic(located, Operator::Mul, b, c),
            Opcode::Div => self.arithmetic(located, Operator::Div, b, c),
            Opcode::Mod => self.arithmetic(located, Operator::Mod, b, c),
            Opcode::Pow => self.arithmetic(located, Operator::Pow, b, c),
            Opcode::IDiv => self.arithmetic(located, Operator::FloorDiv, b, c),
            Opcode::AddI => self.arithmetic(located, Operator::Add, b, immediate),
            Opcode::SubI => self.arithmetic(located, Operator::SubImmediate, b, immediate),
            Opcode::AddK => self.arithmetic_constant(located, Operator::Add),
            Opcode::SubK => self.arithmetic_constant(located, Operator::Sub),
            Opcode::MulK => self.arithmetic_constant(located, Operator::Mul),
            Opcode::DivK => self.arithmetic_constant(located, Operator::Div),
            Opcode::ModK => self.arithmetic_constant(located, Operator::Mod),
            Opcode::PowK => self.arithmetic_constant(located, Operator::Pow),
            Opcode::IDivK => self.arithmetic_constant(located, Operator::FloorDiv),
            Opcode::BAnd => self.bitwise(located, Bitwise::And, c),
            Opcode::BOr => self.bitwise(located, Bitwise::Or, c),
            Opcode::BXor => self.bitwise(located, Bitwise::Xor, c),
            Opcode::Shl => self.bitwise(located, Bitwise::ShiftLeft, c),
            Opcode::Shr => self.bitwise(located, Bitwise::ShiftRight, c),
            Opcode::ShlI => self.bitwise(located, Bitwise::ShiftLeft, immediate),
            Opcode::ShrI => self.bitwise(located, Bitwise::ShiftRight, immediate),
            Opcode::BAndK | Opcode::BOrK | Opcode::BXorK => {
                let operator = match located.opcode {
                    Opcode::BAndK => Bitwise::And,
                    Opcode::BOrK => Bitwise::Or,
                    _ => Bitwise::Xor,
                };
                match self.source.constants.get(i.c()) {
                    Some(Constant::Integer(constant)) => {
                        self.bitwise(located, operator, Operand::Integer(*constant));
                    }
                    _ => self.step_into(located),
                }
            }
            Opcode::BNot => self.bitwise(located, Bitwise::Xor, Operand::Integer(-1)),
            Opcode::Neg => self.negate(located),
            Opcode::Lt => self.order(located, Order::Less, Operand::Register(i.a()), b),
            Opcode::Le => self.order(located, Order::LessEqual, Operand::Register(i.a()), b),
            Opcode::LtI => self.order_immediate(located, Order::Less),
            Opcode::LeI => self.order_immediate(located, Order::LessEqual),
            Opcode::GtI => self.order_immediate(located, Order::Greater),
            Opcode::GeI => self.order_immediate(located, Order::GreaterEqual),
            Opcode::Eq => self.equal(located),
            Opcode::EqK => self.equal_constant(located),
            Opcode::EqI => self.equal_number(located, Operand::Integer(i.sb())),
            _ => unreachable!("other instructions are emitted elsewhere"),
        }
    }

    /// The instruction whole, and its result out of memory.
    fn step_into(&mut self, located: Located) {
        self.step(located);
        self.forget(located.instruction.a());
    }

    // Operands

    fn operand_kind(&self, operand: Operand) -> Kind {
        match operand {
            Operand::Register(register) => self.kind(register),
            Operand::Integer(_) => Kind::Integer,
            Operand::Float(_) => Kind::Float,
        }
    }

    fn push_integer(&mut self, operand: Operand) {
        match operand {
            Operand::Register(register) => self.raw(register),
            Operand::Integer(integer) => {
                self.sink().i64_const(integer);
            }
            Operand::Float(_) => unreachable!("only what may be an integer is taken for one"),
        }
    }

    /// Pushes an operand that is an integer or, where that is not known, a float, as a float.
    fn push_float(&mut self, operand: Operand) {
        match operand {
            Operand::Register(register) => {
                if self.kind(register) == Kind::Integer {
                    self.raw(register);
                    self.sink().f64_convert_i64_s();
                } else {
                    self.float(register);
                }
            }
            Operand::Integer(integer) => {
                self.sink().f64_const((integer as f64).into());
            }
            Operand::Float(float) => {
                self.sink().f64_const(float.into());
            }
        }
    }

    fn prepare_operands(&mut self, operands: [Operand; 2]) {
        for operand in operands {
            if let Operand::Register(register) = operand {
                self.prepare(register);
            }
        }
    }

    /// Pushes whether those of the operands whose kind is not known have this tag; none are known to have another.
    fn push_have_tag(&mut self, operands: [Operand; 2], tag: i32) {
        let mut pushed = None;
        for operand in operands {
            if let Operand::Register(register) = operand
                && self.kind(register) == Kind::Unknown
                && pushed != Some(register)
            {
                self.tag(register);
                self.sink().i32_const(tag).i32_eq();
                if pushed.is_some() {
                    self.sink().i32_and();
                }
                pushed = Some(register);
            }
        }
    }

    // Arithmetic

    fn arithmetic_constant(&mut self, located: Located, operator: Operator) {
        let i = located.instruction;
        let right = match self.source.constants.get(i.c()) {
            Some(Constant::Integer(integer)) => Operand::Integer(*integer),
            Some(Constant::Float(float)) => Operand::Float(*float),
            _ => return self.step_into(located),
        };
        self.arithmetic(located, operator, Operand::Register(i.b()), right);
    }

    fn arithmetic(&mut self, located: Located, operator: Operator, left: Operand, right: Operand) {
        let target = located.instruction.a();
        let kinds = (self.operand_kind(left), self.operand_kind(right));
        let in_floats = matches!(operator, Operator::Div | Operator::Pow);
        let kind = if in_floats { Kind::Float } else { arithmetic(kinds.0, kinds.1) };
        match kind {
            Kind::Integer => {
                self.integer_operation(located, operator, left, right);
                self.set_integer(target);
            }
            Kind::Float => self.float_arithmetic(located, operator, left, right),
            _ => self.unknown_arithmetic(located, operator, left, right),
        }
    }

    /// The result is a float, whatever numbers the operands are.
    fn float_arithmetic(&mut self, located: Located, operator: Operator, left: Operand, right: Operand) {
        let target = located.instruction.a();
        if !has_float_operation(operator, right) {
            return self.step_into(located);
        }
        let operands = [left, right].map(|operand| self.as_float(located, operand));
        if operator == Operator::Pow {
            self.charge(self.layout.power_fuel.into());
        }
        self.push_converted(operands[0]);
        if operator == Operator::Pow {
            self.push_converted(operands[0]);
        } else {
            self.push_converted(operands[1]);
        }
        self.float_operation(operator);
        self.set_float(target);
    }

    /// An operand as a float: in a local of its own if it has to be converted by its type, when other types leave.
    fn as_float(&mut self, located: Located, operand: Operand) -> Result<Operand, u32> {
        let Operand::Register(register) = operand else { return Ok(operand) };
        if self.kind(register) != Kind::Unknown {
            return Ok(operand);
        }
        self.prepare(register);
        let converted = self.local(ValType::F64);
        let tags = self.layout.tags;
        self.tag(register);
        self.sink().i32_const(tags.float).i32_eq();
        self.if_();
        self.raw(register);
        self.sink().f64_reinterpret_i64().local_set(converted);
        self.else_();
        self.tag(register);
        self.sink().i32_const(tags.integer).i32_ne();
        self.if_();
        self.exit(located);
        self.end_if();
        self.raw(register);
        self.sink().f64_convert_i64_s().local_set(converted);
        self.end_if();
        Err(converted)
    }

    fn push_converted(&mut self, operand: Result<Operand, u32>) {
        match operand {
            Ok(operand) => self.push_float(operand),
            Err(local) => {
                self.sink().local_get(local);
            }
        }
    }

    fn unknown_arithmetic(&mut self, located: Located, operator: Operator, left: Operand, right: Operand) {
        let target = located.instruction.a();
        let tags = self.layout.tags;
        let operands = [left, right];
        self.prepare_operands(operands);
        let done = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.push_have_tag(operands, tags.integer);
        self.if_();
        self.integer_operation(located, operator, left, right);
        self.store_integer(target);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end_if();
        if has_float_operation(operator, right) {
            self.push_have_tag(operands, tags.float);
            self.if_();
            self.push_float(left);
            self.push_float(right);
            self.float_operation(operator);
            self.store_float(target);
            let depth = self.label(done);
            self.sink().br(depth);
            self.end_if();
        }
        self.step(located);
        self.paths -= 1;
        self.end();
        self.forget(target);
    }

    /// Pushes the result of an operation on integers.
    fn integer_operation(&mut self, located: Located, operator: Operator, left: Operand, right: Operand) {
        if matches!(operator, Operator::Mod | Operator::FloorDiv) {
            return self.integer_division(located, operator, left, right);
        }
        self.push_integer(left);
        self.push_integer(right);
        match operator {
            Operator::Add => self.sink().i64_add(),
            Operator::Sub | Operator::SubImmediate => self.sink().i64_sub(),
            _ => self.sink().i64_mul(),
        };
    }

    /// Floor division or its remainder; a divisor of 0 or -1 leaves. By 32-bit division where that will do.
    fn integer_division(&mut self, located: Located, operator: Operator, left: Operand, right: Operand) {
        let is_plain = matches!(right, Operand::Integer(divisor) if divisor != 0 && divisor != -1);
        self.push_integer(left);
        self.sink().local_set(SCRATCH);
        self.push_integer(right);
        self.sink().local_set(SCRATCH_2);
        if !is_plain {
            self.sink().local_get(SCRATCH_2).i64_const(1).i64_add().i64_const(2).i64_lt_u();
            self.if_();
            self.exit(located);
            self.end_if();
        }
        let is_modulo = operator == Operator::Mod;
        let result = self.local(ValType::I64);
        self.sink().local_get(SCRATCH).local_get(SCRATCH_2).i64_or().i64_const(32).i64_shr_u().i64_eqz();
        self.sink().if_(BlockType::Result(ValType::I64));
        self.sink().local_get(SCRATCH).i32_wrap_i64().local_get(SCRATCH_2).i32_wrap_i64();
        if is_modulo {
            self.sink().i32_rem_u();
        } else {
            self.sink().i32_div_u();
        }
        self.sink().i64_extend_i32_u().else_();
        self.sink().local_get(SCRATCH).local_get(SCRATCH_2).i64_rem_s().local_set(result);
        // The remainder is to have the divisor's sign; then the quotient is one less.
        if is_modulo {
            self.sink().local_get(result).local_get(SCRATCH_2).i64_add().local_get(result);
        } else {
            self.sink().local_get(SCRATCH).local_get(SCRATCH_2).i64_div_s().local_tee(SCRATCH);
            self.sink().i64_const(1).i64_sub().local_get(SCRATCH);
        }
        self.sink().local_get(result).i64_const(0).i64_ne();
        self.sink().local_get(result).local_get(SCRATCH_2).i64_xor().i64_const(0).i64_lt_s().i32_and();
        self.sink().select().end();
    }

    fn float_operation(&mut self, operator: Operator) {
        match operator {
            Operator::Add => self.sink().f64_add(),
            Operator::Sub => self.sink().f64_sub(),
            // The operand is a constant other than NaN.
            Operator::SubImmediate => self.sink().f64_neg().f64_const(0.0.into()).f64_add().f64_add(),
            Operator::Div => self.sink().f64_div(),
            Operator::FloorDiv => self.sink().f64_div().f64_floor(),
            // A power that is compiled is a square.
            _ => self.sink().f64_mul(),
        };
    }

    fn negate(&mut self, located: Located) {
        let (target, operand) = (located.instruction.a(), located.instruction.b());
        match self.kind(operand) {
            Kind::Integer => {
                self.sink().i64_const(0);
                self.raw(operand);
                self.sink().i64_sub();
                self.set_integer(target);
            }
            Kind::Float => {
                self.float(operand);
                self.sink().f64_neg();
                self.set_float(target);
            }
            _ => {
                let tags = self.layout.tags;
                self.prepare(operand);
                self.tag(operand);
                self.sink().i32_const(tags.integer).i32_eq();
                self.if_();
                self.sink().i64_const(0);
                self.raw(operand);
                self.sink().i64_sub();
                self.store_integer(target);
                self.else_();
                self.tag(operand);
                self.sink().i32_const(tags.float).i32_ne();
                self.if_();
                self.exit(located);
                self.end_if();
                self.raw(operand);
                self.sink().f64_reinterpret_i64().f64_neg();
                self.store_float(target);
                self.end_if();
                self.forget(target);
            }
        }
    }

    fn bitwise(&mut self, located: Located, operator: Bitwise, right: Operand) {
        let target = located.instruction.a();
        let left = Operand::Register(located.instruction.b());
        let operands = [left, right];
        let is_shift = matches!(operator, Bitwise::ShiftLeft | Bitwise::ShiftRight);
        let is_far = matches!(right, Operand::Integer(count) if is_shift && count > 63);
        let kinds = operands.map(|operand| self.operand_kind(operand));
        if is_far || kinds.contains(&Kind::Float) {
            return self.step_into(located);
        }
        self.prepare_operands(operands);
        let checks_count = is_shift && matches!(right, Operand::Register(_));
        if kinds == [Kind::Integer; 2] && !checks_count {
            self.bitwise_operation(operator, left, right);
            return self.set_integer(target);
        }
        if kinds == [Kind::Integer; 2] {
            self.sink().i32_const(1);
        } else {
            self.push_have_tag(operands, self.layout.tags.integer);
        }
        if checks_count {
            self.push_integer(right);
            self.sink().i64_const(64).i64_lt_u().i32_and();
        }
        self.if_();
        self.bitwise_operation(operator, left, right);
        self.store_integer(target);
        self.else_();
        self.step(located);
        self.end_if();
        self.forget(target);
    }

    fn bitwise_operation(&mut self, operator: Bitwise, left: Operand, right: Operand) {
        self.push_integer(left);
        self.push_integer(right);
        match operator {
            Bitwise::And => self.sink().i64_and(),
            Bitwise::Or => self.sink().i64_or(),
            Bitwise::Xor => self.sink().i64_xor(),
            Bitwise::ShiftLeft => self.sink().i64_shl(),
            Bitwise::ShiftRight => self.sink().i64_shr_u(),
        };
    }

    // Comparisons and conditions

    fn order_immediate(&mut self, located: Located, order: Order) {
        let i = located.instruction;
        self.order(located, order, Operand::Register(i.a()), Operand::Integer(i.sb()));
    }

    fn order(&mut self, located: Located, order: Order, left: Operand, right: Operand) {
        let operands = [left, right];
        let flag = located.instruction.flag();
        match operands.map(|operand| self.operand_kind(operand)) {
            [Kind::Integer, Kind::Integer] => {
                self.integer_order(order, left, right);
                self.negate_unless(flag);
                return self.jump_if(located);
            }
            [Kind::Float, Kind::Float] => {
                self.float_order(order, left, right);
                self.negate_unless(flag);
                return self.jump_if(located);
            }
            [Kind::Float, Kind::Integer] if matches!(right, Operand::Integer(_)) => {
                self.float_order(order, left, right);
                self.negate_unless(flag);
                return self.jump_if(located);
            }
            [Kind::Float, Kind::Integer] | [Kind::Integer, Kind::Float] => return self.step_branch(located),
            _ => {}
        }
        let tags = self.layout.tags;
        self.prepare_operands(operands);
        let kinds = operands.map(|operand| self.operand_kind(operand));
        let is_immediate = matches!(right, Operand::Integer(_));
        let done = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        if !kinds.contains(&Kind::Float) {
            self.push_have_tag(operands, tags.integer);
            self.if_();
            self.integer_order(order, left, right);
            self.negate_unless(flag);
            self.jump_if(located);
            let depth = self.label(done);
            self.sink().br(depth);
            self.end_if();
        }
        if !kinds.contains(&Kind::Integer) || is_immediate {
            self.push_have_tag(operands, tags.float);
            self.if_();
            self.float_order(order, left, right);
            self.negate_unless(flag);
            self.jump_if(located);
            let depth = self.label(done);
            self.sink().br(depth);
            self.end_if();
        }
        self.step_branch(located);
        self.paths -= 1;
        self.end();
    }

    fn integer_order(&mut self, order: Order, left: Operand, right: Operand) {
        self.push_integer(left);
        self.push_integer(right);
        match order {
            Order::Less => self.sink().i64_lt_s(),
            Order::LessEqual => self.sink().i64_le_s(),
            Order::Greater => self.sink().i64_gt_s(),
            Order::GreaterEqual => self.sink().i64_ge_s(),
        };
    }

    fn float_order(&mut self, order: Order, left: Operand, right: Operand) {
        self.push_float(left);
        self.push_float(right);
        match order {
            Order::Less => self.sink().f64_lt(),
            Order::LessEqual => self.sink().f64_le(),
            Order::Greater => self.sink().f64_gt(),
            Order::GreaterEqual => self.sink().f64_ge(),
        };
    }

    fn equal(&mut self, located: Located) {
        let i = located.instruction;
        let (left, right) = (Operand::Register(i.a()), Operand::Register(i.b()));
        let operands = [left, right];
        match operands.map(|operand| self.operand_kind(operand)) {
            [Kind::Integer, Kind::Integer] => {
                self.push_integer(left);
                self.push_integer(right);
                self.sink().i64_eq();
                self.negate_unless(i.flag());
                return self.jump_if(located);
            }
            [Kind::Float, Kind::Float] => {
                self.push_float(left);
                self.push_float(right);
                self.sink().f64_eq();
                self.negate_unless(i.flag());
                return self.jump_if(located);
            }
            _ => {}
        }
        let tags = self.layout.tags;
        self.prepare(i.a());
        self.prepare(i.b());
        let done = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.tag(i.a());
        self.tag(i.b());
        self.sink().i32_eq();
        self.if_();
        self.tag(i.a());
        self.sink().i32_const(tags.integer).i32_eq();
        self.if_();
        self.bits(i.a());
        self.bits(i.b());
        self.sink().i64_eq();
        self.negate_unless(i.flag());
        self.jump_if(located);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end_if();
        // The same string, table or closure is equal to itself. Their values are an address; the other half of the word is anything.
        self.tag(i.a());
        self.sink().i32_const(tags.string).i32_sub().i32_const(tags.closure - tags.string).i32_le_u();
        self.bits(i.a());
        self.sink().i32_wrap_i64();
        self.bits(i.b());
        self.sink().i32_wrap_i64().i32_eq().i32_and();
        self.if_();
        if i.flag() {
            self.take_jump(located);
        } else {
            let depth = self.label(done);
            self.sink().br(depth);
        }
        self.end_if();
        self.end_if();
        self.step_branch(located);
        self.paths -= 1;
        self.end();
    }

    /// Pushes the bits of a value, also of a known float.
    pub(crate) fn bits(&mut self, register: usize) {
        if self.copies[register].float && !self.copies[register].raw {
            self.float(register);
            self.sink().i64_reinterpret_f64();
        } else {
            self.raw(register);
        }
    }

    fn equal_constant(&mut self, located: Located) {
        let i = located.instruction;
        let tags = self.layout.tags;
        match self.source.constants.get(i.b()).copied() {
            Some(Constant::Nil) => {
                self.tag(i.a());
                self.sink().i32_const(tags.nil).i32_eq();
                self.negate_unless(i.flag());
                self.jump_if(located);
            }
            Some(Constant::Boolean(boolean)) => {
                self.tag(i.a());
                self.sink().i32_const(tags.boolean).i32_eq();
                self.bits(i.a());
                self.sink().i32_wrap_i64().i32_const(1).i32_and().i32_const(boolean.into()).i32_eq().i32_and();
                self.negate_unless(i.flag());
                self.jump_if(located);
            }
            Some(Constant::ShortString(address)) => {
                self.tag(i.a());
                self.sink().i32_const(tags.string).i32_eq();
                self.bits(i.a());
                self.sink().i32_wrap_i64().i32_const(address as i32).i32_eq().i32_and();
                self.negate_unless(i.flag());
                self.jump_if(located);
            }
            Some(Constant::Integer(integer)) if integer.unsigned_abs() <= EXACT_MAX => {
                self.equal_number(located, Operand::Integer(integer));
            }
            _ => self.step_branch(located),
        }
    }

    /// Equality with a number that is both an integer and a float.
    fn equal_number(&mut self, located: Located, number: Operand) {
        let i = located.instruction;
        let tags = self.layout.tags;
        let register = Operand::Register(i.a());
        match self.kind(i.a()) {
            Kind::Integer => {
                self.push_integer(register);
                self.push_integer(number);
                self.sink().i64_eq();
            }
            Kind::Float => {
                self.push_float(register);
                self.push_float(number);
                self.sink().f64_eq();
            }
            _ => {
                self.prepare(i.a());
                self.tag(i.a());
                self.sink().i32_const(tags.integer).i32_eq();
                self.raw(i.a());
                self.push_integer(number);
                self.sink().i64_eq().i32_and();
                self.tag(i.a());
                self.sink().i32_const(tags.float).i32_eq();
                self.raw(i.a());
                self.sink().f64_reinterpret_i64();
                self.push_float(number);
                self.sink().f64_eq().i32_and().i32_or();
            }
        }
        self.negate_unless(i.flag());
        self.jump_if(located);
    }

    /// Pushes whether a register is neither nil nor false.
    pub(crate) fn truth(&mut self, register: usize) {
        if self.kind(register) != Kind::Unknown {
            self.sink().i32_const(1);
            return;
        }
        let boolean = self.layout.tags.boolean;
        self.prepare(register);
        self.tag(register);
        self.sink().i32_const(boolean).i32_gt_s();
        // Nil has tag 0, booleans have tag 1 and their value in the lowest bit.
        self.tag(register);
        self.raw(register);
        self.sink().i32_wrap_i64().i32_and().i32_or();
    }

    // Numeric loops

    pub(crate) fn for_prep(&mut self, located: Located) {
        let a = located.instruction.a();
        let (start, step) = (self.kind(a), self.kind(a + 2));
        self.step_branch(located);
        let is_certain = (start, step) == (Kind::Integer, Kind::Integer) || loop_kind(start, step) == Kind::Float;
        if is_certain {
            return;
        }
        // A loop over floats that does not look like one is not for compiled code.
        let integer = self.layout.tags.integer;
        self.base();
        self.sink().i32_load(tag_of(a)).i32_const(integer).i32_ne();
        self.if_();
        self.leave_at(located.next());
        self.end_if();
    }

    pub(crate) fn for_loop(&mut self, located: Located) {
        let a = located.instruction.a();
        match (self.kind(a), self.kind(a + 1), self.kind(a + 2)) {
            (Kind::Integer, Kind::Integer, Kind::Integer) => {
                self.prepare(a);
                self.prepare(a + 1);
                self.prepare(a + 2);
                self.raw(a + 1);
                self.sink().i64_const(0).i64_ne();
                self.if_();
                self.raw(a + 1);
                self.sink().i64_const(1).i64_sub();
                self.store_integer(a + 1);
                self.raw(a);
                self.raw(a + 2);
                self.sink().i64_add().local_tee(SCRATCH);
                self.store_integer(a);
                self.sink().local_get(SCRATCH);
                self.store_integer(a + 3);
                self.take_jump(located);
                self.end_if();
            }
            (Kind::Float, Kind::Float, Kind::Float) => {
                let index = self.local(ValType::F64);
                self.float(a);
                self.float(a + 2);
                self.sink().f64_add().local_set(index);
                self.float(a + 2);
                self.sink().f64_const(0.0.into()).f64_gt().local_set(OUTCOME);
                self.sink().local_get(index);
                self.float(a + 1);
                self.sink().f64_le();
                self.float(a + 1);
                self.sink().local_get(index).f64_le().local_get(OUTCOME).select();
                self.if_();
                self.sink().local_get(index);
                self.store_float(a);
                self.sink().local_get(index);
                self.store_float(a + 3);
                self.take_jump(located);
                self.end_if();
            }
            _ => self.step_branch(located),
        }
    }
}

/// Whether an operation on floats is compiled; others are left to the VM, which has the same for every platform.
fn has_float_operation(operator: Operator, right: Operand) -> bool {
    match operator {
        Operator::Mod => false,
        Operator::Pow => matches!(right, Operand::Float(exponent) if exponent == 2.0) || right == Operand::Integer(2),
        _ => true,
    }
}
