//! Suffixes: fields, indices, calls and method calls, and how many results a call yields.

use super::descriptor::{Descriptor, Kind};
use super::{Generated, Generator};
use crate::bytecode::opcode::Opcode;
use crate::compiler::ast::{Arguments, Expression, Suffix, Suffixed};
use crate::compiler::symbol::Symbol;

impl Generator<'_> {
    #[inline(never)]
    pub(super) fn suffixed(&mut self, suffixed: &Suffixed) -> Generated<Descriptor> {
        let mut descriptor = self.expression(&suffixed.primary)?;
        for suffix in &suffixed.suffixes {
            self.suffix(&mut descriptor, suffix)?;
        }
        Ok(descriptor)
    }

    #[inline(never)]
    fn suffix(&mut self, descriptor: &mut Descriptor, suffix: &Suffix) -> Generated<()> {
        match suffix {
            Suffix::Field { name, line } => {
                self.put_in_any_register_or_upvalue(descriptor)?;
                self.line = *line;
                let mut key = Descriptor::new(Kind::Constant(self.string_constant(*name)));
                self.index(descriptor, &mut key)
            }
            Suffix::Index { key, line } => {
                self.put_in_any_register_or_upvalue(descriptor)?;
                let mut key = self.expression(key)?;
                self.make_value(&mut key)?;
                self.line = *line;
                self.index(descriptor, &mut key)
            }
            Suffix::Call(arguments) => {
                let base = self.put_in_next_register(descriptor)?;
                self.call(descriptor, base, base + 1, arguments)
            }
            Suffix::Method { name, name_line, arguments } => {
                self.line = *name_line;
                let base = self.method(descriptor, *name)?;
                self.call(descriptor, base, base + 1, arguments)
            }
        }
    }

    /// Puts the method and the object into the next two registers; returns the first.
    #[inline(never)]
    fn method(&mut self, object: &mut Descriptor, name: Symbol) -> Generated<usize> {
        let register = self.put_in_any_register(object)?;
        self.free_descriptor(object);
        let base = self.reserve(2)?;
        let key = self.string_constant(name);
        if self.is_field_key(key) {
            self.emit_with_word(Self::abc(Opcode::SelfField, base, register, key), 0);
        } else {
            self.emit(Self::abc(Opcode::Move, base + 1, register, 0));
            self.load_constant(base, key);
            self.emit(Self::abc(Opcode::GetTable, base, base + 1, base));
        }
        Ok(base)
    }

    /// Calls the function in `base` with what is in the registers from `first_argument` on and `arguments`.
    #[inline(never)]
    fn call(
        &mut self,
        descriptor: &mut Descriptor,
        base: usize,
        first_argument: usize,
        arguments: &Arguments,
    ) -> Generated<()> {
        let last = self.all_but_last(&arguments.values)?;
        self.line = arguments.end_line;
        let mut is_open = false;
        if let Some(mut last) = last {
            is_open = last.is_multiple();
            if is_open {
                self.set_all_results(&mut last)?;
            } else {
                self.put_in_next_register(&mut last)?;
            }
        }
        let count = if is_open { 0 } else { self.free - first_argument + 1 };
        let pc = self.emit(Self::abc(Opcode::Call, base, count, 2));
        self.fix_line(arguments.call_line);
        *descriptor = Descriptor::new(Kind::Call(pc));
        self.free = base + 1;
        Ok(())
    }

    /// Puts all values but the last into the next registers; returns the last.
    #[inline(never)]
    pub(super) fn all_but_last(&mut self, values: &[Expression]) -> Generated<Option<Descriptor>> {
        let Some((last, others)) = values.split_last() else {
            return Ok(None);
        };
        for value in others {
            let mut value = self.expression(value)?;
            self.put_in_next_register(&mut value)?;
        }
        self.expression(last).map(Some)
    }

    /// Adjusts an open call or `...` to one value.
    pub(super) fn set_one_result(&mut self, descriptor: &mut Descriptor) {
        match descriptor.kind {
            Kind::Call(pc) => descriptor.kind = Kind::Register(self.instruction(pc).a()),
            Kind::VarArg(pc) => {
                self.set_c(pc, 2);
                descriptor.kind = Kind::Relocatable(pc);
            }
            _ => {}
        }
    }

    /// Makes a call or `...` yield `count` values in the next registers.
    pub(super) fn set_results(&mut self, descriptor: &Descriptor, count: usize) -> Generated<()> {
        self.set_result_operand(descriptor, count + 1)
    }

    /// Makes a call or `...` yield all its values.
    pub(super) fn set_all_results(&mut self, descriptor: &mut Descriptor) -> Generated<()> {
        self.set_result_operand(descriptor, 0)
    }

    fn set_result_operand(&mut self, descriptor: &Descriptor, operand: usize) -> Generated<()> {
        match descriptor.kind {
            Kind::Call(pc) => self.set_c(pc, operand),
            Kind::VarArg(pc) => {
                self.set_c(pc, operand);
                let register = self.reserve(1)?;
                self.set_a(pc, register);
            }
            _ => {}
        }
        Ok(())
    }
}
