//! Jumps whose targets are not known yet.
//!
//! Such jumps form lists: the trailing word of each holds the position of the next. A `TestSet` in a list delivers the
//! value it tested; it becomes a plain `Test` where the value is not wanted.

use super::Generator;
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;

/// A list of jumps to one target, by the position of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JumpList(u32);

impl Default for JumpList {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The register of a `TestSet` that has none yet.
pub(super) const NO_REGISTER: usize = 255;

impl JumpList {
    pub(super) const EMPTY: JumpList = JumpList(u32::MAX);

    pub(super) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    fn first(self) -> Option<usize> {
        (!self.is_empty()).then_some(self.0 as usize)
    }
}

impl Generator<'_> {
    /// An unconditional jump.
    pub(super) fn emit_jump(&mut self) -> usize {
        self.emit_with_word(Self::abc(Opcode::Jump, 0, 0, 0), JumpList::EMPTY.0)
    }

    /// A jump taken when the comparison or test yields `condition`.
    pub(super) fn emit_conditional_jump(&mut self, opcode: Opcode, a: usize, b: usize, condition: bool) -> usize {
        self.emit_with_word(Self::abc(opcode, a, b, condition as usize), JumpList::EMPTY.0)
    }

    /// The next position, as a target of jumps.
    pub(super) fn mark_target(&mut self) -> usize {
        self.last_target = self.code.len();
        self.last_target
    }

    /// Where a finished jump goes.
    pub(super) fn jump_target(&self, pc: usize) -> usize {
        (pc as i64 + 2 + i64::from(self.code[pc + 1] as i32)) as usize
    }

    pub(super) fn set_jump(&mut self, pc: usize, target: usize) {
        self.code[pc + 1] = (target as i64 - (pc as i64 + 2)) as i32 as u32;
    }

    /// Adds one jump, which is in no list yet.
    pub(super) fn add_jump(&mut self, list: &mut JumpList, pc: usize) {
        self.code[pc + 1] = list.0;
        *list = JumpList(pc as u32);
    }

    /// Appends `other` to `list`; linear in the length of `list`.
    pub(super) fn append_jumps(&mut self, list: &mut JumpList, other: JumpList) {
        let Some(mut last) = list.first() else {
            *list = other;
            return;
        };
        while let Some(next) = self.next_jump(last) {
            last = next;
        }
        self.code[last + 1] = other.0;
    }

    fn next_jump(&self, pc: usize) -> Option<usize> {
        JumpList(self.code[pc + 1]).first()
    }

    /// Makes the jumps go to `target`.
    pub(super) fn patch_jumps(&mut self, list: JumpList, target: usize) {
        self.patch_with_values(list, target, NO_REGISTER, target);
    }

    /// Makes the jumps go to the next position.
    pub(super) fn patch_to_here(&mut self, list: JumpList) {
        if !list.is_empty() {
            let here = self.mark_target();
            self.patch_jumps(list, here);
        }
    }

    /// Makes jumps that deliver a value put it into `register` and go to `value_target`, the others go to `default_target`.
    pub(super) fn patch_with_values(
        &mut self,
        list: JumpList,
        value_target: usize,
        register: usize,
        default_target: usize,
    ) {
        let mut current = list.first();
        while let Some(pc) = current {
            current = self.next_jump(pc);
            let target = if self.deliver_value(pc, register) { value_target } else { default_target };
            self.set_jump(pc, target);
        }
    }

    /// Whether some jump of the list does not deliver a value.
    pub(super) fn needs_value(&self, list: JumpList) -> bool {
        let mut current = list.first();
        while let Some(pc) = current {
            if self.opcode_at(pc) != Opcode::TestSet {
                return true;
            }
            current = self.next_jump(pc);
        }
        false
    }

    /// Makes no jump of the list deliver a value.
    pub(super) fn drop_values(&mut self, list: JumpList) {
        let mut current = list.first();
        while let Some(pc) = current {
            self.deliver_value(pc, NO_REGISTER);
            current = self.next_jump(pc);
        }
    }

    /// Chooses the register that a `TestSet` writes; false if the jump at `pc` delivers no value.
    fn deliver_value(&mut self, pc: usize, register: usize) -> bool {
        if self.opcode_at(pc) != Opcode::TestSet {
            return false;
        }
        let test = self.instruction(pc);
        if register != NO_REGISTER && register != test.b() {
            self.set_a(pc, register);
        } else {
            self.code[pc] = Instruction::abc(Opcode::Test, test.b() as u8, 0, test.c() as u8).0;
        }
        true
    }

    /// Inverts the condition of a comparison or test.
    pub(super) fn negate_condition(&mut self, pc: usize) {
        self.code[pc] ^= 1 << 24;
    }
}
