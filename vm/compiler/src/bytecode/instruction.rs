//! One instruction word: packing and reading its operands.

use super::opcode::Opcode;

/// A 32-bit instruction word; see [`Opcode`] for the layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Instruction(pub u32);

impl Instruction {
    /// An instruction with three 8-bit operands.
    pub const fn abc(opcode: Opcode, a: u8, b: u8, c: u8) -> Self {
        Instruction(opcode as u32 | (a as u32) << 8 | (b as u32) << 16 | (c as u32) << 24)
    }

    /// An instruction with an 8-bit and an unsigned 16-bit operand.
    pub const fn abx(opcode: Opcode, a: u8, bx: u16) -> Self {
        Instruction(opcode as u32 | (a as u32) << 8 | (bx as u32) << 16)
    }

    /// An instruction with an 8-bit and a signed 16-bit operand.
    pub const fn asbx(opcode: Opcode, a: u8, sbx: i16) -> Self {
        Self::abx(opcode, a, sbx as u16)
    }

    /// The opcode's number; a byte of untrusted code need not name one.
    #[inline(always)]
    pub const fn opcode_byte(self) -> u8 {
        self.0 as u8
    }

    /// The opcode, or `None` in code that was not verified.
    pub const fn opcode(self) -> Option<Opcode> {
        Opcode::from_byte(self.opcode_byte())
    }

    #[inline(always)]
    pub const fn a(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }

    #[inline(always)]
    pub const fn b(self) -> usize {
        (self.0 >> 16 & 0xff) as usize
    }

    #[inline(always)]
    pub const fn c(self) -> usize {
        (self.0 >> 24) as usize
    }

    /// `B` as a signed number.
    #[inline(always)]
    pub const fn sb(self) -> i64 {
        (self.0 >> 16) as i8 as i64
    }

    /// `C` as a flag.
    #[inline(always)]
    pub const fn flag(self) -> bool {
        self.0 >> 24 != 0
    }

    #[inline(always)]
    pub const fn bx(self) -> usize {
        (self.0 >> 16) as usize
    }

    #[inline(always)]
    pub const fn sbx(self) -> i64 {
        (self.0 as i32 >> 16) as i64
    }
}
