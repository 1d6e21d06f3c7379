//! Reading and writing registers in compiled code.
//!
//! Registers live in memory and are written there at once. What was read or written last is also kept in wasm locals, to be read
//! again without a load: an integer or the bits of any value (`raw`), a float, the type (`tag`), a table's address. These copies
//! are good until the register is written, or where paths join. Captured registers have none.

use wasm_encoder::{MemArg, MemArgTarget, ValType};

use crate::emit::{Emitter, SCRATCH};
use crate::kinds::Kind;

/// What of a register is in locals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Copies {
    pub raw: bool,
    pub tag: bool,
    pub float: bool,
    pub table: bool,
}

/// The locals of a register, made when they are needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Locals {
    raw: Option<u32>,
    tag: Option<u32>,
    float: Option<u32>,
    table: Option<u32>,
}

const VALUE_BYTES: u64 = 16;
/// Where the second word of a value is.
pub(crate) const PAYLOAD: u64 = 8;

pub(crate) fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 2, target: MemArgTarget::Memory(0), ordering: None }
}

/// Where a register's tag is, from the frame's base.
pub(crate) fn tag_of(register: usize) -> MemArg {
    at(register as u64 * VALUE_BYTES)
}

pub(crate) fn payload_of(register: usize) -> MemArg {
    at(register as u64 * VALUE_BYTES + PAYLOAD)
}

impl Emitter<'_> {
    pub(crate) fn kind(&self, register: usize) -> Kind {
        self.registers.kind(register)
    }

    pub(crate) fn is_captured(&self, register: usize) -> bool {
        self.source.captured.contains(&(register as u8))
    }

    /// Whether what is read now can be read again from a local: not if other code may change it, nor on one of several paths.
    fn keeps(&self, register: usize) -> bool {
        self.paths == 0 && !self.is_captured(register)
    }

    /// Forgets the copies of a register.
    pub(crate) fn forget(&mut self, register: usize) {
        self.copies[register] = Copies::default();
    }

    pub(crate) fn forget_all(&mut self) {
        self.copies.fill(Copies::default());
    }

    /// Pushes an integer, or the bits of any value.
    pub(crate) fn raw(&mut self, register: usize) {
        let local = self.raw_local(register);
        if self.copies[register].raw {
            self.sink().local_get(local);
            return;
        }
        self.base();
        self.sink().i64_load(payload_of(register)).local_tee(local);
        self.copies[register].raw = self.keeps(register);
    }

    /// Pushes the float of a register that holds one.
    pub(crate) fn float(&mut self, register: usize) {
        let local = self.float_local(register);
        if self.copies[register].float {
            self.sink().local_get(local);
            return;
        }
        if self.copies[register].raw {
            self.raw(register);
            self.sink().f64_reinterpret_i64();
        } else {
            self.base();
            self.sink().f64_load(payload_of(register));
        }
        self.sink().local_tee(local);
        self.copies[register].float = self.keeps(register);
    }

    /// Pushes the type of a register.
    pub(crate) fn tag(&mut self, register: usize) {
        let tags = self.layout.tags;
        match self.kind(register) {
            Kind::Integer => {
                self.sink().i32_const(tags.integer);
                return;
            }
            Kind::Float => {
                self.sink().i32_const(tags.float);
                return;
            }
            _ => {}
        }
        let local = self.tag_local(register);
        if self.copies[register].tag {
            self.sink().local_get(local);
            return;
        }
        self.base();
        self.sink().i32_load(tag_of(register)).local_tee(local);
        self.copies[register].tag = self.keeps(register);
    }

    /// Reads type and bits into locals, so that paths that divide now can all use them.
    pub(crate) fn prepare(&mut self, register: usize) {
        if self.kind(register) == Kind::Unknown {
            self.tag(register);
            self.sink().drop();
        }
        if !self.copies[register].float {
            self.raw(register);
            self.sink().drop();
        }
    }

    /// Stores the integer on the stack.
    pub(crate) fn set_integer(&mut self, register: usize) {
        self.store_integer(register);
        self.copies[register] = Copies { raw: !self.is_captured(register), ..Copies::default() };
    }

    /// Likewise on one of several paths.
    pub(crate) fn store_integer(&mut self, register: usize) {
        let local = self.raw_local(register);
        self.sink().local_set(local);
        self.base();
        self.sink().local_get(local).i64_store(payload_of(register));
        if self.kind(register) != Kind::Integer {
            self.store_tag(register, self.layout.tags.integer);
        }
    }

    /// Stores the float on the stack.
    pub(crate) fn set_float(&mut self, register: usize) {
        self.store_float(register);
        self.copies[register] = Copies { float: !self.is_captured(register), ..Copies::default() };
    }

    pub(crate) fn store_float(&mut self, register: usize) {
        let local = self.float_local(register);
        self.sink().local_set(local);
        self.base();
        self.sink().local_get(local).f64_store(payload_of(register));
        if self.kind(register) != Kind::Float {
            self.store_tag(register, self.layout.tags.float);
        }
    }

    pub(crate) fn store_tag(&mut self, register: usize, tag: i32) {
        self.base();
        self.sink().i64_const(tag.into()).i64_store(tag_of(register));
    }

    /// Copies the value at `offset` from the address in `address` to a register; the copies hold it then.
    pub(crate) fn load_from(&mut self, register: usize, address: u32, offset: u64) {
        let (raw, tag) = (self.raw_local(register), self.tag_local(register));
        self.base();
        self.sink().local_get(address).i64_load(at(offset)).local_tee(SCRATCH);
        self.sink().i64_store(tag_of(register));
        self.sink().local_get(SCRATCH).i32_wrap_i64().local_set(tag);
        self.base();
        self.sink().local_get(address).i64_load(at(offset + PAYLOAD)).local_tee(raw);
        self.sink().i64_store(payload_of(register));
    }

    /// Has the copies hold what another path has stored.
    pub(crate) fn reload(&mut self, register: usize) {
        let (raw, tag) = (self.raw_local(register), self.tag_local(register));
        self.base();
        self.sink().i32_load(tag_of(register)).local_set(tag);
        self.base();
        self.sink().i64_load(payload_of(register)).local_set(raw);
    }

    /// Notes that type and bits of a register are in its locals.
    pub(crate) fn has_copies(&mut self, register: usize) {
        let kept = !self.is_captured(register);
        self.copies[register] = Copies { raw: kept, tag: kept, ..Copies::default() };
    }

    /// Copies a register's value to `offset` from the address in `address`.
    pub(crate) fn store_to(&mut self, register: usize, address: u32, offset: u64) {
        self.sink().local_get(address);
        self.tag(register);
        self.sink().i64_extend_i32_u().i64_store(at(offset));
        self.sink().local_get(address);
        if self.copies[register].float {
            self.float(register);
            self.sink().f64_store(at(offset + PAYLOAD));
        } else {
            self.raw(register);
            self.sink().i64_store(at(offset + PAYLOAD));
        }
    }

    fn raw_local(&mut self, register: usize) -> u32 {
        match self.locals_of[register].raw {
            Some(local) => local,
            None => {
                let local = self.local(ValType::I64);
                self.locals_of[register].raw = Some(local);
                local
            }
        }
    }

    fn float_local(&mut self, register: usize) -> u32 {
        match self.locals_of[register].float {
            Some(local) => local,
            None => {
                let local = self.local(ValType::F64);
                self.locals_of[register].float = Some(local);
                local
            }
        }
    }

    fn tag_local(&mut self, register: usize) -> u32 {
        match self.locals_of[register].tag {
            Some(local) => local,
            None => {
                let local = self.local(ValType::I32);
                self.locals_of[register].tag = Some(local);
                local
            }
        }
    }

    pub(crate) fn table_local(&mut self, register: usize) -> u32 {
        match self.locals_of[register].table {
            Some(local) => local,
            None => {
                let local = self.local(ValType::I32);
                self.locals_of[register].table = Some(local);
                local
            }
        }
    }
}
