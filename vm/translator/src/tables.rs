//! Tables, upvalues and constants.
//!
//! A field is found as the interpreter finds it: at the entry that the instruction's inline cache names, if the key stands there
//! and has a value. The cache is read at every access, as the VM updates it when it has looked a key up.

use cu_compiler::bytecode::opcode::Opcode;
use wasm_encoder::{BlockType, ValType};

use crate::Constant;
use crate::blocks::Located;
use crate::emit::{ADDRESS, ADDRESS_2, CLOSURE, Emitter, Import, Label, OUTCOME, SCRATCH};
use crate::kinds::Kind;
use crate::registers::{PAYLOAD, at, payload_of, tag_of};

/// Where an instruction finds its table.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Register(usize),
    Upvalue(usize),
}

/// What is stored.
#[derive(Debug, Clone, Copy)]
enum Stored {
    Register(usize),
    Constant(usize),
}

impl Emitter<'_> {
    pub(crate) fn load_constant(&mut self, register: usize, index: usize) {
        match self.source.constants.get(index).copied() {
            Some(Constant::Integer(integer)) => {
                self.sink().i64_const(integer);
                self.set_integer(register);
            }
            Some(Constant::Float(float)) => {
                self.sink().f64_const(float.into());
                self.set_float(register);
            }
            _ => {
                self.push_constant_address(index);
                self.sink().local_set(ADDRESS);
                self.load_from(register, ADDRESS, 0);
                self.has_copies(register);
            }
        }
    }

    fn push_constant_address(&mut self, index: usize) {
        let address = self.source.constants_address + index as u32 * 16;
        self.sink().i32_const(address as i32);
    }

    // Upvalues

    /// Pushes the address of the value of an upvalue.
    fn upvalue_location(&mut self, index: usize) {
        let layout = self.layout;
        self.sink().local_get(CLOSURE).i32_load(at(layout.closure_upvalues.into()));
        self.sink().i32_load(at(index as u64 * 4)).i32_load(at(layout.upvalue_location.into()));
    }

    pub(crate) fn get_upvalue(&mut self, register: usize, index: usize) {
        self.upvalue_location(index);
        self.sink().local_set(ADDRESS);
        self.load_from(register, ADDRESS, 0);
        self.has_copies(register);
    }

    pub(crate) fn set_upvalue(&mut self, index: usize, register: usize) {
        self.upvalue_location(index);
        self.sink().local_set(ADDRESS);
        self.store_to(register, ADDRESS, 0);
    }

    // Tables

    /// Pushes the address of the table that the instruction accesses; other values go on at label `slow`.
    fn push_table(&mut self, holder: Holder, slow: usize) {
        let (table, object) = (self.layout.tags.table, self.layout.object);
        match holder {
            Holder::Register(register) if self.copies[register].table => {
                let local = self.table_local(register);
                self.sink().local_get(local);
            }
            Holder::Register(register) => {
                self.tag(register);
                self.sink().i32_const(table).i32_ne();
                self.leave_to(slow);
                if self.copies[register].raw {
                    self.raw(register);
                    self.sink().i32_wrap_i64();
                } else {
                    self.base();
                    self.sink().i32_load(payload_of(register));
                }
                let local = self.table_local(register);
                self.sink().i32_const(object as i32).i32_add().local_tee(local);
            }
            Holder::Upvalue(index) => {
                self.upvalue_location(index);
                self.sink().local_tee(ADDRESS).i32_load(at(0)).i32_const(table).i32_ne();
                self.leave_to(slow);
                self.sink().local_get(ADDRESS).i32_load(at(PAYLOAD)).i32_const(object as i32).i32_add();
            }
        }
    }

    /// Goes to the end of the block that was opened at `depth` if the condition on the stack holds.
    pub(crate) fn leave_to(&mut self, depth: usize) {
        let label = self.label(depth);
        self.sink().br_if(label);
    }

    /// After an instruction that the VM did: has the table of `holder` in its local, as the other path has.
    fn take_table(&mut self, holder: Holder, located: Located) {
        let Holder::Register(register) = holder else { return };
        if self.copies[register].table || self.is_captured(register) || self.kind(register) != Kind::Unknown {
            return;
        }
        let (table, object) = (self.layout.tags.table, self.layout.object);
        let local = self.table_local(register);
        self.base();
        self.sink().i32_load(tag_of(register)).i32_const(table).i32_ne();
        self.if_();
        self.leave_at(located.next());
        self.end_if();
        self.base();
        self.sink().i32_load(payload_of(register)).i32_const(object as i32).i32_add().local_set(local);
    }

    /// Notes that the table of a holder is in its local.
    fn has_table(&mut self, holder: Holder) {
        if let Holder::Register(register) = holder
            && !self.is_captured(register)
            && self.kind(register) == Kind::Unknown
        {
            self.copies[register].table = true;
        }
    }

    /// Leaves the address of the entry that the inline cache names in `ADDRESS_2`; goes to `slow` if `key` is not there, or has
    /// no value. The table's address is on the stack.
    fn find_entry(&mut self, located: Located, key: u32, slow: usize) {
        let layout = *self.layout;
        let cache = self.source.code_address + located.pc as u32 * 4 + 4;
        self.sink().local_set(ADDRESS);
        self.sink().i32_const(cache as i32).i32_load(at(0)).local_tee(ADDRESS_2);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_entries_length.into())).i32_ge_u();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_entries.into()));
        self.sink().local_get(ADDRESS_2).i32_const(layout.entry_bytes as i32).i32_mul().i32_add().local_tee(ADDRESS_2);
        let (entry_key, entry_value) = (u64::from(layout.entry_key), u64::from(layout.entry_value));
        self.sink().i32_load(at(entry_key)).i32_const(layout.tags.string).i32_ne();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS_2).i32_load(at(entry_key + PAYLOAD)).i32_const(key as i32).i32_ne();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS_2).i32_load(at(entry_value)).i32_const(layout.tags.nil).i32_eq();
        self.leave_to(slow);
    }

    pub(crate) fn get_field(&mut self, located: Located) {
        let i = located.instruction;
        let (target, is_method) = (i.a(), located.opcode == Opcode::SelfField);
        let Some(Constant::ShortString(key)) = self.source.constants.get(i.c()).copied() else {
            self.step(located);
            return self.forget(target);
        };
        let holder = match located.opcode {
            Opcode::GetTabUp => Holder::Upvalue(i.b()),
            _ => Holder::Register(i.b()),
        };
        if let Holder::Register(register) = holder
            && self.kind(register) != Kind::Unknown
        {
            self.step(located);
            return self.forget(target);
        }
        if let Holder::Register(register) = holder
            && !self.copies[register].table
        {
            self.prepare(register);
        }
        let done = self.depth();
        self.block(Label::Other);
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        if is_method {
            self.store_object(i.a() + 1, i.b());
        }
        self.push_table(holder, slow);
        self.find_entry(located, key, slow);
        let entry_value = self.layout.entry_value.into();
        self.load_from(target, ADDRESS_2, entry_value);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end();
        let is_overwritten = matches!(holder, Holder::Register(register) if register == target);
        let taken = (!is_method && !is_overwritten).then_some(holder);
        if let Holder::Register(register) = holder {
            let other = self.depth();
            self.block(Label::Other);
            self.push_place(located);
            self.push_address(register);
            self.sink().call(Import::Field as u32);
            self.load_found(target, taken, located, other, done);
            self.end();
        }
        self.step(located);
        if let Some(holder) = taken {
            self.take_table(holder, located);
        }
        self.reload(target);
        self.paths -= 1;
        self.end();
        if !is_method {
            self.has_table(holder);
        }
        self.has_copies(target);
    }

    /// Takes the value whose address is on the stack, and goes to `done`; to `other` if the address is 0.
    fn load_found(&mut self, target: usize, holder: Option<Holder>, located: Located, other: usize, done: usize) {
        self.sink().local_tee(ADDRESS_2).i32_eqz();
        self.leave_to(other);
        self.load_from(target, ADDRESS_2, 0);
        if let Some(holder) = holder {
            self.take_table(holder, located);
        }
        let depth = self.label(done);
        self.sink().br(depth);
    }

    /// Copies the object of a method call to the register after the method's.
    fn store_object(&mut self, target: usize, object: usize) {
        if target == object {
            return;
        }
        self.base();
        self.tag(object);
        self.sink().i64_extend_i32_u().i64_store(tag_of(target));
        self.base();
        self.raw(object);
        self.sink().i64_store(payload_of(target));
    }

    pub(crate) fn set_field(&mut self, located: Located) {
        let i = located.instruction;
        let Some(Constant::ShortString(key)) = self.source.constants.get(i.b()).copied() else {
            return self.step(located);
        };
        let is_constant = matches!(located.opcode, Opcode::SetTabUpK | Opcode::SetFieldK);
        let stored = if is_constant { Stored::Constant(i.c()) } else { Stored::Register(i.c()) };
        let holder = match located.opcode {
            Opcode::SetTabUp | Opcode::SetTabUpK => Holder::Upvalue(i.a()),
            _ => Holder::Register(i.a()),
        };
        if !self.prepare_store(holder, stored) {
            return self.step(located);
        }
        let done = self.depth();
        self.block(Label::Other);
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.push_table(holder, slow);
        self.find_entry(located, key, slow);
        let entry_value = self.layout.entry_value.into();
        self.store_value(stored, ADDRESS_2, entry_value);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end();
        if let Holder::Register(register) = holder {
            let other = self.depth();
            self.block(Label::Other);
            self.push_place(located);
            self.push_address(register);
            match stored {
                Stored::Register(register) => self.push_address(register),
                Stored::Constant(index) => self.push_constant_address(index),
            }
            self.sink().call(Import::Assign as u32).i32_eqz();
            self.leave_to(other);
            self.take_table(holder, located);
            let depth = self.label(done);
            self.sink().br(depth);
            self.end();
        }
        self.step(located);
        self.take_table(holder, located);
        self.paths -= 1;
        self.end();
        self.has_table(holder);
    }

    /// Reads what a store needs on all its paths; false if it cannot be to a table.
    fn prepare_store(&mut self, holder: Holder, stored: Stored) -> bool {
        if let Stored::Register(register) = stored {
            self.prepare(register);
        }
        let Holder::Register(register) = holder else { return true };
        if self.kind(register) != Kind::Unknown {
            return false;
        }
        if !self.copies[register].table {
            self.prepare(register);
        }
        true
    }

    fn store_value(&mut self, stored: Stored, address: u32, offset: u64) {
        match stored {
            Stored::Register(register) => self.store_to(register, address, offset),
            Stored::Constant(index) => {
                for word in [0, PAYLOAD] {
                    self.sink().local_get(address);
                    self.push_constant_address(index);
                    self.sink().i64_load(at(word)).i64_store(at(offset + word));
                }
            }
        }
    }

    /// Leaves the address of item `key` of the table on the stack in `ADDRESS_2`; goes to `slow` if it is not in the array part.
    fn find_item(&mut self, key: Item, slow: usize) {
        let layout = *self.layout;
        self.sink().local_set(ADDRESS);
        match key {
            Item::Register(register) => self.raw(register),
            Item::Integer(integer) => {
                self.sink().i64_const(integer);
            }
        }
        self.sink().i64_const(1).i64_sub().local_tee(SCRATCH);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_array_length.into())).i64_extend_i32_u().i64_ge_u();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_array.into()));
        self.sink().local_get(SCRATCH).i32_wrap_i64().i32_const(4).i32_shl().i32_add().local_set(ADDRESS_2);
    }

    /// Goes to `slow` if the register that is the key is no integer.
    fn check_key(&mut self, key: Item, slow: usize) {
        if let Item::Register(register) = key
            && self.kind(register) != Kind::Integer
        {
            let integer = self.layout.tags.integer;
            self.tag(register);
            self.sink().i32_const(integer).i32_ne();
            self.leave_to(slow);
        }
    }

    pub(crate) fn get_item(&mut self, located: Located) {
        let i = located.instruction;
        let (target, object) = (i.a(), i.b());
        let key = match located.opcode {
            Opcode::GetTable => Item::Register(i.c()),
            _ => Item::Integer(i.c() as i64),
        };
        let is_float = matches!(key, Item::Register(register) if self.kind(register) == Kind::Float);
        if is_float || self.kind(object) != Kind::Unknown {
            self.step(located);
            return self.forget(target);
        }
        if let Item::Register(register) = key {
            self.prepare(register);
        }
        let holder = Holder::Register(object);
        if !self.copies[object].table {
            self.prepare(object);
        }
        let done = self.depth();
        self.block(Label::Other);
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.check_key(key, slow);
        self.push_table(holder, slow);
        self.find_item(key, slow);
        let nil = self.layout.tags.nil;
        self.sink().local_get(ADDRESS_2).i32_load(at(0)).i32_const(nil).i32_eq();
        self.leave_to(slow);
        self.load_from(target, ADDRESS_2, 0);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end();
        let taken = (target != object).then_some(holder);
        if let Item::Register(register) = key {
            let other = self.depth();
            self.block(Label::Other);
            self.push_address(object);
            self.push_address(register);
            self.sink().call(Import::Item as u32);
            self.load_found(target, taken, located, other, done);
            self.end();
        }
        self.step(located);
        if let Some(holder) = taken {
            self.take_table(holder, located);
        }
        self.reload(target);
        self.paths -= 1;
        self.end();
        self.has_table(holder);
        self.has_copies(target);
    }

    pub(crate) fn set_item(&mut self, located: Located) {
        let i = located.instruction;
        let key = match located.opcode {
            Opcode::SetTable | Opcode::SetTableK => Item::Register(i.b()),
            _ => Item::Integer(i.b() as i64),
        };
        let stored = match located.opcode {
            Opcode::SetTable | Opcode::SetInteger => Stored::Register(i.c()),
            _ => Stored::Constant(i.c()),
        };
        let holder = Holder::Register(i.a());
        let is_float = matches!(key, Item::Register(register) if self.kind(register) == Kind::Float);
        if is_float || !self.prepare_store(holder, stored) {
            return self.step(located);
        }
        if let Item::Register(register) = key {
            self.prepare(register);
        }
        let done = self.depth();
        self.block(Label::Other);
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.check_key(key, slow);
        self.push_table(holder, slow);
        let layout = *self.layout;
        self.sink().local_tee(ADDRESS).i32_load(at(layout.table_metatable.into()));
        self.leave_to(slow);
        let append = self.depth();
        self.block(Label::Other);
        self.sink().local_get(ADDRESS);
        self.find_item(key, append);
        self.store_value(stored, ADDRESS_2, 0);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end();
        if matches!(key, Item::Register(_)) {
            self.append(stored, slow);
            let depth = self.label(done);
            self.sink().br(depth);
        }
        self.end();
        self.step(located);
        self.take_table(holder, located);
        self.paths -= 1;
        self.end();
        self.has_table(holder);
    }

    /// Appends to the array part of the table in `ADDRESS`, if the position in `SCRATCH` is its end, there is room and nothing has to
    /// move.
    fn append(&mut self, stored: Stored, slow: usize) {
        let layout = *self.layout;
        let nil = layout.tags.nil;
        match stored {
            Stored::Register(register) if self.kind(register) == Kind::Unknown => {
                self.tag(register);
                self.sink().i32_const(nil).i32_eq();
                self.leave_to(slow);
            }
            Stored::Constant(index) if self.source.constants.get(index) == Some(&Constant::Nil) => {
                let depth = self.label(slow);
                self.sink().br(depth);
            }
            _ => {}
        }
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_array_length.into())).local_tee(OUTCOME);
        self.sink().i64_extend_i32_u().local_get(SCRATCH).i64_ne();
        self.leave_to(slow);
        self.sink().local_get(OUTCOME).local_get(ADDRESS).i32_load(at(layout.table_array_capacity.into())).i32_ge_u();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_integer_keys.into()));
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_array.into()));
        self.sink().local_get(OUTCOME).i32_const(4).i32_shl().i32_add().local_set(ADDRESS_2);
        // Not after a nil at the end.
        self.sink().local_get(OUTCOME).if_(BlockType::Result(ValType::I32));
        self.sink().local_get(ADDRESS_2).i32_const(16).i32_sub().i32_load(at(0)).i32_const(nil).i32_eq();
        self.sink().else_().i32_const(0).end();
        self.leave_to(slow);
        self.store_value(stored, ADDRESS_2, 0);
        self.sink().local_get(ADDRESS).local_get(OUTCOME).i32_const(1).i32_add();
        self.sink().i32_store(at(layout.table_array_length.into()));
    }

    /// `#`: the length of the array part of a table without a metatable, if nothing says that a border is elsewhere.
    pub(crate) fn length(&mut self, located: Located) {
        let i = located.instruction;
        let (target, object) = (i.a(), i.b());
        if self.kind(object) != Kind::Unknown {
            self.step(located);
            return self.forget(target);
        }
        let layout = *self.layout;
        if !self.copies[object].table {
            self.prepare(object);
        }
        let done = self.depth();
        self.block(Label::Other);
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.push_table(Holder::Register(object), slow);
        self.sink().local_tee(ADDRESS).i32_load(at(layout.table_metatable.into()));
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_integer_keys.into()));
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_array_length.into())).local_tee(ADDRESS_2).i32_eqz();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS).i32_load(at(layout.table_array.into()));
        self.sink().local_get(ADDRESS_2).i32_const(1).i32_sub().i32_const(4).i32_shl().i32_add().i32_load(at(0));
        self.sink().i32_const(layout.tags.nil).i32_eq();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS_2).i64_extend_i32_u();
        self.store_integer(target);
        let depth = self.label(done);
        self.sink().br(depth);
        self.end();
        self.step(located);
        self.paths -= 1;
        self.end();
        self.forget(target);
    }
}

/// A key of the array part.
#[derive(Debug, Clone, Copy)]
enum Item {
    Register(usize),
    Integer(i64),
}
