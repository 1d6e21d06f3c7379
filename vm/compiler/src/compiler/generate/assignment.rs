//! Assignments and declarations (manual §3.3.3, §3.3.7).
//!
//! All expressions are evaluated before anything is stored; the last target is stored to first.

use super::descriptor::{Descriptor, Kind};
use super::{Generated, Generator};
use crate::bytecode::opcode::Opcode;
use crate::compiler::ast::{Expression, LocalDeclaration, LocalId};

impl Generator<'_> {
    #[inline(never)]
    pub(super) fn local_declaration(&mut self, declaration: &LocalDeclaration) -> Generated<()> {
        self.line = declaration.line;
        let level = self.active.len();
        let last = self.all_but_last(&declaration.values)?;
        self.adjust_values(declaration.count, declaration.values.len(), last)?;
        self.activate(declaration.first, declaration.count);
        for register in level..self.active.len() {
            if self.local(self.active[register]).to_be_closed {
                self.emit(Self::abc(Opcode::ToBeClosed, register, 0, 0));
            }
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn local_function(&mut self, local: LocalId, function: u32, end_line: u32) -> Generated<()> {
        self.activate(local, 1);
        self.line = end_line;
        // The first unused register is the variable's.
        self.closure(function)?;
        // The variable has its value, for debug information, only from here on.
        if let Some(&index) = self.debug_active.last() {
            self.debug_locals[index].start_pc = self.code.len() as u32;
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn function_statement(
        &mut self,
        target: &Expression,
        function: u32,
        line: u32,
        end_line: u32,
    ) -> Generated<()> {
        let target = self.expression(target)?;
        self.line = end_line;
        let mut closure = self.closure(function)?;
        self.store(&target, &mut closure)?;
        self.fix_line(line);
        Ok(())
    }

    #[inline(never)]
    pub(super) fn assignment(&mut self, targets: &[Expression], values: &[Expression]) -> Generated<()> {
        let mut descriptors: Vec<Descriptor> = Vec::with_capacity(targets.len());
        for target in targets {
            let descriptor = self.expression(target)?;
            if !descriptors.is_empty() {
                self.keep_from_conflict(&mut descriptors, &descriptor)?;
            }
            descriptors.push(descriptor);
        }
        let last_value = self.all_but_last(values)?;
        if targets.len() == values.len() {
            if let (Some(mut value), Some(target)) = (last_value, descriptors.pop()) {
                self.set_one_result(&mut value);
                self.store(&target, &mut value)?;
            }
        } else {
            self.adjust_values(targets.len(), values.len(), last_value)?;
        }
        for target in descriptors.iter().rev() {
            let mut value = Descriptor::new(Kind::Register(self.free - 1));
            self.store(target, &mut value)?;
        }
        Ok(())
    }

    /// Brings the number of values in the next registers from `present` (of which `last` is not in its
    /// register yet) to `wanted`.
    #[inline(never)]
    pub(super) fn adjust_values(&mut self, wanted: usize, present: usize, last: Option<Descriptor>) -> Generated<()> {
        let missing = wanted.saturating_sub(present);
        match last {
            Some(last) if last.is_multiple() => {
                let results = (wanted + 1).saturating_sub(present);
                self.set_results(&last, results)?; // One of them has its register already.
            }
            last => {
                if let Some(mut last) = last {
                    self.put_in_next_register(&mut last)?;
                }
                if missing > 0 {
                    self.load_nil(self.free, missing);
                }
            }
        }
        self.reserve(missing)?;
        self.free -= present.saturating_sub(wanted);
        Ok(())
    }

    /// A target assigned to later (stored to earlier) may be a variable that an earlier target reads: that one then reads a copy.
    fn keep_from_conflict(&mut self, targets: &mut [Descriptor], assigned: &Descriptor) -> Generated<()> {
        let copy = self.free;
        let mut conflicts = false;
        for target in targets {
            match (&mut target.kind, assigned.kind) {
                (&mut Kind::IndexedUpvalue { upvalue, key }, Kind::Upvalue(assigned)) if upvalue == assigned => {
                    target.kind = Kind::IndexedField { table: copy, key };
                    conflicts = true;
                }
                (Kind::IndexedField { table, .. } | Kind::IndexedInteger { table, .. }, Kind::Local(assigned))
                    if *table == assigned =>
                {
                    *table = copy;
                    conflicts = true;
                }
                (Kind::Indexed { table, key }, Kind::Local(assigned)) => {
                    for operand in [table, key] {
                        if *operand == assigned {
                            *operand = copy;
                            conflicts = true;
                        }
                    }
                }
                _ => {}
            }
        }
        if conflicts {
            let instruction = match assigned.kind {
                Kind::Upvalue(upvalue) => Self::abc(Opcode::GetUpvalue, copy, upvalue, 0),
                Kind::Local(register) => Self::abc(Opcode::Move, copy, register, 0),
                _ => unreachable!("only variables conflict"),
            };
            self.emit(instruction);
            self.reserve(1)?;
        }
        Ok(())
    }

    /// Stores a value to a variable or element.
    pub(super) fn store(&mut self, target: &Descriptor, value: &mut Descriptor) -> Generated<()> {
        match target.kind {
            Kind::Local(register) => {
                self.free_descriptor(value);
                self.put_in_register(value, register);
                return Ok(());
            }
            Kind::Upvalue(upvalue) => {
                let register = self.put_in_any_register(value)?;
                self.emit(Self::abc(Opcode::SetUpvalue, register, upvalue, 0));
            }
            Kind::IndexedUpvalue { upvalue, key } => {
                let (is_constant, value) = self.constant_or_register(value)?;
                let opcode = if is_constant { Opcode::SetTabUpK } else { Opcode::SetTabUp };
                self.emit_with_word(Self::abc(opcode, upvalue, key, value), 0);
            }
            Kind::IndexedField { table, key } => {
                let (is_constant, value) = self.constant_or_register(value)?;
                let opcode = if is_constant { Opcode::SetFieldK } else { Opcode::SetField };
                self.emit_with_word(Self::abc(opcode, table, key, value), 0);
            }
            Kind::IndexedInteger { table, key } => {
                let (is_constant, value) = self.constant_or_register(value)?;
                let opcode = if is_constant { Opcode::SetIntegerK } else { Opcode::SetInteger };
                self.emit(Self::abc(opcode, table, key, value));
            }
            Kind::Indexed { table, key } => {
                let (is_constant, value) = self.constant_or_register(value)?;
                let opcode = if is_constant { Opcode::SetTableK } else { Opcode::SetTable };
                self.emit(Self::abc(opcode, table, key, value));
            }
            _ => unreachable!("the parser admits only variables and elements as targets"),
        }
        self.free_descriptor(value);
        Ok(())
    }

    /// The value as an operand: whether it is a constant, and its number or register.
    fn constant_or_register(&mut self, value: &mut Descriptor) -> Generated<(bool, usize)> {
        if let Some(number) = self.take_as_constant(value) {
            return Ok((true, number));
        }
        Ok((false, self.put_in_any_register(value)?))
    }
}
