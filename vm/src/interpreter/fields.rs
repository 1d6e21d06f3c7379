//! The instructions that read and write fields and items, each as a function call: the usual case first, then what metatables
//! make of it.

use super::{Flow, Machine};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::error::Error;
use crate::heap::value::Value;

impl<'gc> Machine<'gc> {
    /// An instruction that reads a field or an item, of the top frame, whose `pc` is after the instruction's first word.
    #[inline(never)]
    pub(super) fn read_instruction(&mut self, i: Instruction, opcode: Opcode) -> Result<Flow, Error<'gc>> {
        match opcode {
            Opcode::GetTable => self.read_item(i, self.register(i.c())),
            Opcode::GetInteger => self.read_item(i, Value::Integer(i.c() as i64)),
            Opcode::GetTabUp => self.read_field(i, self.running_closure().upvalue(i.b()).get()),
            _ => {
                let object = self.register(i.b());
                if opcode == Opcode::SelfField {
                    self.set_register(i.a() + 1, object);
                }
                self.read_field(i, object)
            }
        }
    }

    /// Likewise one that writes.
    #[inline(never)]
    pub(super) fn write_instruction(&mut self, i: Instruction, opcode: Opcode) -> Result<Flow, Error<'gc>> {
        let is_constant =
            matches!(opcode, Opcode::SetTabUpK | Opcode::SetFieldK | Opcode::SetTableK | Opcode::SetIntegerK);
        let value = if is_constant { self.constant(i.c()) } else { self.register(i.c()) };
        match opcode {
            Opcode::SetTabUp | Opcode::SetTabUpK => {
                self.write_field(i, self.running_closure().upvalue(i.a()).get(), value)
            }
            Opcode::SetField | Opcode::SetFieldK => self.write_field(i, self.register(i.a()), value),
            Opcode::SetTable | Opcode::SetTableK => {
                self.write_item(self.register(i.a()), self.register(i.b()), value, true)
            }
            _ => self.write_item(self.register(i.a()), Value::Integer(i.b() as i64), value, false),
        }
    }

    fn read_item(&mut self, i: Instruction, key: Value<'gc>) -> Result<Flow, Error<'gc>> {
        let object = self.register(i.b());
        let found = match (&object, key) {
            (Value::Table(table), Value::Integer(index)) => table.item(index).copied(),
            (Value::Table(table), Value::String(key)) => table.field(key).copied(),
            _ => None,
        };
        match found {
            Some(value) if !value.is_nil() => self.put(i, value),
            _ => self.index_into(self.position(i.a()), object, key),
        }
    }

    #[inline(always)]
    fn read_field(&mut self, i: Instruction, object: Value<'gc>) -> Result<Flow, Error<'gc>> {
        let key = self.constant_name(i.c());
        if let Value::Table(table) = object
            && let Some(value) = table.get_cached(key, self.word())
        {
            self.set_register(i.a(), *value);
            return self.after_word(Ok(Flow::Continue));
        }
        let flow = self.index_field(self.position(i.a()), object, key);
        self.after_word(flow)
    }

    #[inline(always)]
    fn write_field(&mut self, i: Instruction, object: Value<'gc>, value: Value<'gc>) -> Result<Flow, Error<'gc>> {
        let key = self.constant_name(i.b());
        if let Value::Table(table) = object
            && table.replace_cached(key, self.word(), &value)
        {
            return self.after_word(Ok(Flow::Continue));
        }
        let flow = self.assign_field(object, key, value);
        self.after_word(flow)
    }

    #[inline(always)]
    fn write_item(
        &mut self,
        object: Value<'gc>,
        key: Value<'gc>,
        value: Value<'gc>,
        appends: bool,
    ) -> Result<Flow, Error<'gc>> {
        if let (Value::Table(table), Value::Integer(index)) = (object, key)
            && table.metatable().is_none()
            && (table.replace_integer(index, value) || (appends && table.push_within(index, value)))
        {
            return Ok(Flow::Continue);
        }
        self.assign_from(object, key, value)
    }
}
