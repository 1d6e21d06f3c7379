//! Expressions: from descriptors to registers, constants and conditions.

use super::descriptor::{Descriptor, Kind};
use super::jump::{JumpList, NO_REGISTER};
use super::{ConstantKey, Generated, Generator};
use crate::bytecode::function::Constant;
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::compiler::ast::{Expression, ExpressionKind, Literal, Table, TableItem, Variable};
use crate::compiler::symbol::Symbol;

/// Items of a table constructor that wait in registers before they are stored together.
const ITEMS_PER_SET_LIST: usize = 50;

impl Generator<'_> {
    /// Generates an expression as far as its use does not matter.
    pub(super) fn expression(&mut self, expression: &Expression) -> Generated<Descriptor> {
        let descriptor = match &expression.kind {
            ExpressionKind::Literal(literal) => self.literal(*literal),
            ExpressionKind::VarArg => {
                self.line = expression.line;
                let pc = self.emit(Self::abc(Opcode::VarArg, 0, 0, 1));
                Descriptor::new(Kind::VarArg(pc))
            }
            ExpressionKind::Variable(variable) => self.variable(*variable),
            ExpressionKind::Global { environment, name } => {
                self.line = expression.line;
                self.global(*environment, *name)?
            }
            ExpressionKind::Suffixed(suffixed) => self.suffixed(suffixed)?,
            ExpressionKind::Unary(unary) => self.unary(unary)?,
            ExpressionKind::Operations(operations) => self.operations(operations)?,
            ExpressionKind::Parenthesized(inner) => {
                let mut descriptor = self.expression(inner)?;
                self.line = expression.line;
                self.discharge(&mut descriptor);
                descriptor
            }
            ExpressionKind::Table(table) => self.table(table, expression.line)?,
            ExpressionKind::Function(function) => {
                self.line = expression.line;
                self.closure(*function)?
            }
        };
        self.line = expression.line;
        Ok(descriptor)
    }

    fn literal(&mut self, literal: Literal) -> Descriptor {
        Descriptor::new(match literal {
            Literal::Nil => Kind::Nil,
            Literal::False => Kind::False,
            Literal::True => Kind::True,
            Literal::Integer(value) => Kind::Integer(value),
            Literal::Float(value) => Kind::Float(value),
            Literal::String(symbol) => Kind::Constant(self.string_constant(symbol)),
        })
    }

    fn variable(&self, variable: Variable) -> Descriptor {
        Descriptor::new(match variable {
            Variable::Local(local) => Kind::Local(self.register_of(local)),
            Variable::Upvalue(number) => Kind::Upvalue(number as usize),
        })
    }

    fn global(&mut self, environment: Variable, name: Symbol) -> Generated<Descriptor> {
        let mut table = self.variable(environment);
        let mut key = self.literal(Literal::String(name));
        self.index(&mut table, &mut key)?;
        Ok(table)
    }

    /// A closure is made in the first unused register: a collection there knows that nothing above it is in use.
    pub(super) fn closure(&mut self, function: u32) -> Generated<Descriptor> {
        self.resolve_captures(function as usize);
        let register = self.reserve(1)?;
        self.emit_with_word(Self::abc(Opcode::Closure, register, 1, 0), function);
        Ok(Descriptor::new(Kind::Register(register)))
    }

    /// Makes `table` the element of `table` at `key`.
    pub(super) fn index(&mut self, table: &mut Descriptor, key: &mut Descriptor) -> Generated<()> {
        let field = match key.kind {
            Kind::Constant(number) if !key.has_jumps() && self.is_field_key(number) => Some(number),
            _ => None,
        };
        if let Kind::Upvalue(upvalue) = table.kind {
            if let Some(key) = field {
                table.kind = Kind::IndexedUpvalue { upvalue, key };
                return Ok(());
            }
            self.put_in_any_register(table)?;
        }
        let register = match table.kind {
            Kind::Local(register) | Kind::Register(register) => register,
            _ => unreachable!("an indexed value is in a register"),
        };
        table.kind = if let Some(key) = field {
            Kind::IndexedField { table: register, key }
        } else if let Some(key) = key.as_unsigned_immediate() {
            Kind::IndexedInteger { table: register, key }
        } else {
            let key = self.put_in_any_register(key)?;
            Kind::Indexed { table: register, key }
        };
        Ok(())
    }

    #[inline(never)]
    fn table(&mut self, table: &Table, end_line: u32) -> Generated<Descriptor> {
        let pc = self.emit_with_word(Instruction::abx(Opcode::NewTable, 0, 0), 0);
        let register = self.reserve(1)?;
        self.set_a(pc, register);
        let (mut stored, mut waiting, mut fields) = (0, 0, 0);
        let mut pending: Option<Descriptor> = None;
        for item in &table.items {
            if let Some(mut value) = pending.take() {
                self.put_in_next_register(&mut value)?;
                if waiting == ITEMS_PER_SET_LIST {
                    self.set_list(register, stored, Some(waiting));
                    stored += waiting;
                    waiting = 0;
                }
            }
            let free = self.free;
            let (key, line, value) = match item {
                TableItem::Positional(value) => {
                    pending = Some(self.expression(value)?);
                    waiting += 1;
                    continue;
                }
                TableItem::Named { name, line, value } => (self.literal(Literal::String(*name)), *line, value),
                TableItem::Keyed { key, line, value } => {
                    let mut key = self.expression(key)?;
                    self.make_value(&mut key)?;
                    (key, *line, value)
                }
            };
            fields += 1;
            self.table_field(register, key, line, value)?;
            self.free = free;
        }
        self.line = end_line;
        if let Some(mut value) = pending {
            if value.is_multiple() {
                // The room that is announced counts them as one.
                self.set_all_results(&mut value)?;
                self.set_list(register, stored, None);
            } else {
                self.put_in_next_register(&mut value)?;
                self.set_list(register, stored, Some(waiting));
            }
        } else if waiting > 0 {
            self.set_list(register, stored, Some(waiting));
        }
        let size = Instruction::abx(Opcode::NewTable, register as u8, fields.min(usize::from(u16::MAX)) as u16);
        self.code[pc] = size.0;
        self.code[pc + 1] = (stored + waiting) as u32;
        Ok(Descriptor::new(Kind::Register(register)))
    }

    #[inline(never)]
    fn table_field(&mut self, register: usize, mut key: Descriptor, line: u32, value: &Expression) -> Generated<()> {
        self.line = line;
        let mut field = Descriptor::new(Kind::Register(register));
        self.index(&mut field, &mut key)?;
        let mut value = self.expression(value)?;
        self.store(&field, &mut value)
    }

    /// Stores `count` items (or all up to the open end) above `table` after the first `stored`.
    fn set_list(&mut self, table: usize, stored: usize, count: Option<usize>) {
        self.emit_with_word(Self::abc(Opcode::SetList, table, count.unwrap_or(0), 0), stored as u32);
        self.free = table + 1;
    }

    /// Turns variables and elements into values: afterwards a constant, a register, a jump or relocatable.
    pub(super) fn discharge(&mut self, descriptor: &mut Descriptor) {
        let instruction = match descriptor.kind {
            Kind::Local(register) => {
                descriptor.kind = Kind::Register(register);
                return;
            }
            Kind::Call(_) | Kind::VarArg(_) => return self.set_one_result(descriptor),
            Kind::Upvalue(upvalue) => Self::abc(Opcode::GetUpvalue, 0, upvalue, 0),
            Kind::IndexedUpvalue { upvalue, key } => {
                let pc = self.emit_with_word(Self::abc(Opcode::GetTabUp, 0, upvalue, key), 0);
                descriptor.kind = Kind::Relocatable(pc);
                return;
            }
            Kind::IndexedField { table, key } => {
                self.free_register(table);
                let pc = self.emit_with_word(Self::abc(Opcode::GetField, 0, table, key), 0);
                descriptor.kind = Kind::Relocatable(pc);
                return;
            }
            Kind::IndexedInteger { table, key } => {
                self.free_register(table);
                Self::abc(Opcode::GetInteger, 0, table, key)
            }
            Kind::Indexed { table, key } => {
                self.free_registers(table, key);
                Self::abc(Opcode::GetTable, 0, table, key)
            }
            _ => return,
        };
        descriptor.kind = Kind::Relocatable(self.emit(instruction));
    }

    /// Computes the value (without its jumps) into `register`.
    fn discharge_to_register(&mut self, descriptor: &mut Descriptor, register: usize) {
        self.discharge(descriptor);
        match descriptor.kind {
            Kind::Nil => self.load_nil(register, 1),
            Kind::False => {
                self.emit(Self::abc(Opcode::LoadFalse, register, 0, 0));
            }
            Kind::True => {
                self.emit(Self::abc(Opcode::LoadTrue, register, 0, 0));
            }
            Kind::Integer(value) => self.load_integer(register, value),
            Kind::Float(value) => self.load_float(register, value),
            Kind::Constant(number) => self.load_constant(register, number),
            Kind::Relocatable(pc) => self.set_a(pc, register),
            Kind::Register(source) => {
                if source != register {
                    self.emit(Self::abc(Opcode::Move, register, source, 0));
                }
            }
            _ => {
                debug_assert!(matches!(descriptor.kind, Kind::Jump(_)));
                return; // The value is in the jump alone.
            }
        }
        descriptor.kind = Kind::Register(register);
    }

    /// Sets `count` registers to nil, joining a `LoadNil` just before.
    pub(super) fn load_nil(&mut self, register: usize, count: usize) {
        let last = register + count - 1;
        if let Some(pc) = self.mergeable_instruction()
            && self.opcode_at(pc) == Opcode::LoadNil
        {
            let previous = self.instruction(pc);
            let (previous_first, previous_last) = (previous.a(), previous.a() + previous.b());
            if previous_first <= register && register <= previous_last + 1 {
                self.set_b(pc, last.max(previous_last) - previous_first);
                return;
            }
        }
        self.emit(Self::abc(Opcode::LoadNil, register, count - 1, 0));
    }

    fn load_integer(&mut self, register: usize, value: i64) {
        match i16::try_from(value) {
            Ok(value) => {
                self.emit(Instruction::asbx(Opcode::LoadInteger, register as u8, value));
            }
            Err(_) => {
                let number = self.integer_constant(value);
                self.load_constant(register, number);
            }
        }
    }

    fn load_float(&mut self, register: usize, value: f64) {
        let small = value as i16;
        if f64::from(small).to_bits() == value.to_bits() {
            self.emit(Instruction::asbx(Opcode::LoadFloat, register as u8, small));
        } else {
            let number = self.float_constant(value);
            self.load_constant(register, number);
        }
    }

    pub(super) fn load_constant(&mut self, register: usize, number: usize) {
        match u16::try_from(number) {
            Ok(number) => self.emit(Instruction::abx(Opcode::LoadConstant, register as u8, number)),
            Err(_) => self.emit_with_word(Self::abc(Opcode::LoadConstantWide, register, 0, 0), number as u32),
        };
    }

    /// Computes the value into `register`, its jumps included.
    #[inline(never)]
    pub(super) fn put_in_register(&mut self, descriptor: &mut Descriptor, register: usize) {
        self.discharge_to_register(descriptor, register);
        if let Kind::Jump(pc) = descriptor.kind {
            self.add_jump(&mut descriptor.true_list, pc);
        }
        if descriptor.has_jumps() {
            let (mut load_false, mut load_true) = (0, 0);
            if self.needs_value(descriptor.true_list) || self.needs_value(descriptor.false_list) {
                let mut over = JumpList::EMPTY;
                if !matches!(descriptor.kind, Kind::Jump(_)) {
                    let pc = self.emit_jump();
                    self.add_jump(&mut over, pc);
                }
                load_false = self.mark_target();
                self.emit(Self::abc(Opcode::LoadFalseSkip, register, 0, 0));
                load_true = self.mark_target();
                self.emit(Self::abc(Opcode::LoadTrue, register, 0, 0));
                self.patch_to_here(over);
            }
            let end = self.mark_target();
            self.patch_with_values(descriptor.false_list, end, register, load_false);
            self.patch_with_values(descriptor.true_list, end, register, load_true);
        }
        *descriptor = Descriptor::new(Kind::Register(register));
    }

    /// Computes the value into the next free register; returns it.
    #[inline(never)]
    pub(super) fn put_in_next_register(&mut self, descriptor: &mut Descriptor) -> Generated<usize> {
        self.discharge(descriptor);
        self.free_descriptor(descriptor);
        let register = self.reserve(1)?;
        self.put_in_register(descriptor, register);
        Ok(register)
    }

    /// Makes sure the value is in some register; returns it.
    #[inline(never)]
    pub(super) fn put_in_any_register(&mut self, descriptor: &mut Descriptor) -> Generated<usize> {
        self.discharge(descriptor);
        if let Kind::Register(register) = descriptor.kind {
            if !descriptor.has_jumps() {
                return Ok(register);
            }
            if register >= self.active.len() {
                self.put_in_register(descriptor, register);
                return Ok(register);
            }
        }
        self.put_in_next_register(descriptor)
    }

    /// As [`Self::put_in_any_register`], but an upvalue may stay one.
    pub(super) fn put_in_any_register_or_upvalue(&mut self, descriptor: &mut Descriptor) -> Generated<()> {
        if !matches!(descriptor.kind, Kind::Upvalue(_)) || descriptor.has_jumps() {
            self.put_in_any_register(descriptor)?;
        }
        Ok(())
    }

    /// Makes sure the value does not depend on jumps.
    pub(super) fn make_value(&mut self, descriptor: &mut Descriptor) -> Generated<()> {
        if descriptor.has_jumps() || matches!(descriptor.kind, Kind::Jump(_)) {
            self.put_in_any_register(descriptor)?;
        } else {
            self.discharge(descriptor);
        }
        Ok(())
    }

    /// The number of the constant that the value is, if an 8-bit operand can hold it.
    pub(super) fn take_as_constant(&mut self, descriptor: &mut Descriptor) -> Option<usize> {
        if descriptor.has_jumps() {
            return None;
        }
        let number = match descriptor.kind {
            Kind::Nil => self.add_constant(ConstantKey::Nil, Constant::Nil),
            Kind::False => self.add_constant(ConstantKey::False, Constant::Boolean(false)),
            Kind::True => self.add_constant(ConstantKey::True, Constant::Boolean(true)),
            Kind::Integer(value) => self.integer_constant(value),
            Kind::Float(value) => self.float_constant(value),
            Kind::Constant(number) => number,
            _ => return None,
        };
        if number > usize::from(u8::MAX) {
            return None;
        }
        descriptor.kind = Kind::Constant(number);
        Some(number)
    }

    pub(super) fn free_descriptor(&mut self, descriptor: &Descriptor) {
        if let Kind::Register(register) = descriptor.kind {
            self.free_register(register);
        }
    }

    pub(super) fn free_descriptors(&mut self, first: &Descriptor, second: &Descriptor) {
        match (first.kind, second.kind) {
            (Kind::Register(first), Kind::Register(second)) => self.free_registers(first, second),
            _ => {
                self.free_descriptor(first);
                self.free_descriptor(second);
            }
        }
    }

    /// Goes on if the value is true; its false list then holds the jumps taken otherwise.
    pub(super) fn go_if_true(&mut self, descriptor: &mut Descriptor) -> Generated<()> {
        self.discharge(descriptor);
        let jump = match descriptor.kind {
            Kind::Jump(pc) => {
                self.negate_condition(pc);
                Some(pc)
            }
            Kind::True | Kind::Integer(_) | Kind::Float(_) | Kind::Constant(_) => None,
            _ => Some(self.jump_on(descriptor, false)?),
        };
        if let Some(pc) = jump {
            self.add_jump(&mut descriptor.false_list, pc);
        }
        self.patch_to_here(descriptor.true_list);
        descriptor.true_list = JumpList::EMPTY;
        Ok(())
    }

    /// Goes on if the value is false; its true list then holds the jumps taken otherwise.
    pub(super) fn go_if_false(&mut self, descriptor: &mut Descriptor) -> Generated<()> {
        self.discharge(descriptor);
        let jump = match descriptor.kind {
            Kind::Jump(pc) => Some(pc),
            Kind::Nil | Kind::False => None,
            _ => Some(self.jump_on(descriptor, true)?),
        };
        if let Some(pc) = jump {
            self.add_jump(&mut descriptor.true_list, pc);
        }
        self.patch_to_here(descriptor.false_list);
        descriptor.false_list = JumpList::EMPTY;
        Ok(())
    }

    /// A jump taken when the value's truth is `condition`.
    fn jump_on(&mut self, descriptor: &mut Descriptor, condition: bool) -> Generated<usize> {
        if let Kind::Relocatable(pc) = descriptor.kind
            && self.opcode_at(pc) == Opcode::Not
        {
            let operand = self.instruction(pc).b();
            self.code.truncate(pc);
            self.word_lines.truncate(pc);
            self.last_instruction = None;
            return Ok(self.emit_conditional_jump(Opcode::Test, operand, 0, !condition));
        }
        let register = self.discharge_to_any_register(descriptor)?;
        self.free_descriptor(descriptor);
        Ok(self.emit_conditional_jump(Opcode::TestSet, NO_REGISTER, register, condition))
    }

    /// Computes the value without its jumps into some register.
    pub(super) fn discharge_to_any_register(&mut self, descriptor: &mut Descriptor) -> Generated<usize> {
        if let Kind::Register(register) = descriptor.kind {
            return Ok(register);
        }
        let register = self.reserve(1)?;
        self.discharge_to_register(descriptor, register);
        Ok(register)
    }
}
