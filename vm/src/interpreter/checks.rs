//! What the interpreter's unchecked accesses rest on, as conditions that a checking build asserts: where a register, an instruction and
//! its trailing word must lie. The verifier's documentation tells why they do.

use std::cell::Cell;

use super::Machine;
use crate::bytecode::instruction::Instruction;
use crate::heap::closure::Closure;
use crate::heap::coroutine::Callee;
use crate::heap::proto::Proto;
use crate::heap::value::Value;

impl<'gc> Machine<'gc> {
    /// Whether a register of the frame that runs `closure` with its register 0 at `base` is one of the function's, and lies in the stack.
    pub(super) fn is_register(&self, closure: Closure<'gc>, base: *const Value<'gc>, register: usize) -> bool {
        let stack = &self.state().stack;
        let start = stack.as_ptr().addr();
        let first = base.addr().wrapping_sub(start) / size_of::<Value<'_>>();
        register < usize::from(closure.proto().0.register_count)
            && base.addr() > start
            && first.saturating_add(register) < stack.len()
            && self.top_frame().base as usize == first
    }

    /// Whether the top frame's saved `pc` is at the trailing word of an instruction.
    pub(super) fn is_at_trailing_word(&self) -> bool {
        let frame = self.top_frame();
        let Callee::Lua(closure) = frame.callee else { return false };
        let proto = closure.proto();
        let instruction = frame.pc.wrapping_sub(1);
        proto.holds_instruction(instruction) && proto.words_at(instruction) == Some(2)
    }
}

impl Proto<'_> {
    /// Whether an instruction with all its words is there. That it begins there, the verifier knows.
    pub(super) fn holds_instruction(self, pc: *const Cell<u32>) -> bool {
        let Some(words) = self.words_at(pc) else { return false };
        self.position(pc).is_some_and(|position| position + words <= self.0.code.len())
    }

    fn words_at(self, pc: *const Cell<u32>) -> Option<usize> {
        let word = self.0.code.get(self.position(pc)?)?;
        Some(Instruction(word.get()).opcode()?.words())
    }

    fn position(self, pc: *const Cell<u32>) -> Option<usize> {
        let bytes = pc.addr().checked_sub(self.0.code.as_ptr().addr())?;
        bytes.is_multiple_of(size_of::<u32>()).then_some(bytes / size_of::<u32>())
    }
}
