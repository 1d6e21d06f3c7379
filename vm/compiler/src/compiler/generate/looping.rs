//! Loops (manual §3.3.4, §3.3.5).
//!
//! A `while` loop tests at its bottom, so that an iteration costs one jump: control enters by jumping to the test. What line
//! hooks see is the order of a test at the top and a jump back from the last line of the body.

use super::descriptor::{Descriptor, Kind};
use super::jump::JumpList;
use super::{Generated, Generator, LoopExit};
use crate::bytecode::opcode::Opcode;
use crate::compiler::ast::{Block, Expression, GenericFor, Literal, LocalId, NumericFor, While};

impl Generator<'_> {
    #[inline(never)]
    pub(super) fn while_loop(&mut self, statement: &While) -> Generated<()> {
        self.line = statement.do_line;
        let runs_forever = statement.condition.as_literal().is_some_and(Literal::is_truthy);
        let entry = if runs_forever { None } else { Some(self.emit_jump()) };
        let body = self.mark_target();
        self.enter_loop();
        self.block(&statement.block)?;
        match entry {
            None => {
                let mut again = JumpList::EMPTY;
                let pc = self.emit_jump();
                self.add_jump(&mut again, pc);
                self.patch_jumps(again, body);
            }
            Some(entry) => self.while_test(statement, entry, body)?,
        }
        self.line = statement.end_line;
        self.leave_loop();
        Ok(())
    }

    /// The test after the body of a `while` loop, which the jump at `entry` goes to.
    fn while_test(&mut self, statement: &While, entry: usize, body: usize) -> Generated<()> {
        if self.word_lines.last() != Some(&self.line) && !statement.block.ends_with_jump() {
            // The last line of the body has no instruction. A jump to the next one stands for the jump back on it.
            let pc = self.emit_jump();
            self.set_jump(pc, pc + 2);
        }
        let test = self.mark_target();
        self.set_jump(entry, test);
        let mut condition = self.expression(&statement.condition)?;
        self.line = statement.do_line;
        self.go_if_false(&mut condition)?;
        self.patch_jumps(condition.true_list, body);
        self.free = self.active.len();
        // Control comes to the first line of the test at once.
        if let Some(&line) = self.word_lines.get(test) {
            self.word_lines[entry..entry + 2].fill(line);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn repeat_loop(&mut self, block: &Block, condition: &Expression) -> Generated<()> {
        let start = self.mark_target();
        let level = self.active.len();
        self.enter_loop();
        self.statements(block)?;
        let mut again = self.condition(condition, condition.line)?;
        if self.needs_close(level) {
            self.close_down_to(level);
            let mut out = JumpList::EMPTY;
            let pc = self.emit_jump();
            self.add_jump(&mut out, pc);
            self.patch_to_here(again);
            self.close_down_to(level);
            again = JumpList::EMPTY;
            let pc = self.emit_jump();
            self.add_jump(&mut again, pc);
            self.patch_to_here(out);
        }
        self.patch_jumps(again, start);
        self.deactivate(level);
        self.leave_loop();
        Ok(())
    }

    #[inline(never)]
    pub(super) fn numeric_for(&mut self, statement: &NumericFor) -> Generated<()> {
        let base = self.free;
        for value in [&statement.start, &statement.limit] {
            let mut value = self.expression(value)?;
            self.put_in_next_register(&mut value)?;
        }
        let mut step = match &statement.step {
            Some(step) => self.expression(step)?,
            None => Descriptor::new(Kind::Integer(1)),
        };
        self.put_in_next_register(&mut step)?;
        self.activate(statement.state, 3);
        self.enter_loop();
        self.line = statement.do_line;
        let prepare = self.emit_with_word(Self::abc(Opcode::ForPrep, base, 0, 0), 0);
        self.for_body(&statement.block, statement.state.0 + 3, 1)?;
        self.line = statement.line;
        let step = self.emit_with_word(Self::abc(Opcode::ForLoop, base, 0, 0), 0);
        self.set_jump(step, prepare + 2);
        let end = self.mark_target();
        self.set_jump(prepare, end);
        self.line = statement.end_line;
        self.leave_loop();
        self.deactivate(base);
        Ok(())
    }

    #[inline(never)]
    pub(super) fn generic_for(&mut self, statement: &GenericFor) -> Generated<()> {
        let base = self.free;
        let last = self.all_but_last(&statement.values)?;
        self.adjust_values(4, statement.values.len(), last)?;
        self.activate(statement.state, 4);
        self.check_registers(3)?; // The call works on copies of function, state and control.
        self.enter_loop();
        self.line = statement.do_line;
        let prepare = self.emit_with_word(Self::abc(Opcode::TForPrep, base, 0, 0), 0);
        self.for_body(&statement.block, statement.state.0 + 4, statement.variable_count)?;
        let call_target = self.mark_target();
        self.set_jump(prepare, call_target);
        self.line = statement.line;
        self.emit(Self::abc(Opcode::TForCall, base, 0, statement.variable_count));
        let step = self.emit_with_word(Self::abc(Opcode::TForLoop, base, 0, 0), 0);
        self.set_jump(step, prepare + 2);
        self.line = statement.end_line;
        // Closes what a `break` leaves too.
        if let Some(exit) = self.loops.pop() {
            self.patch_to_here(exit.jumps);
        }
        self.emit(Self::abc(Opcode::Close, base, 0, 0));
        self.deactivate(base);
        Ok(())
    }

    /// The body of a `for` loop with its `count` visible variables.
    fn for_body(&mut self, block: &Block, first: u32, count: usize) -> Generated<()> {
        let level = self.active.len();
        self.mark_target();
        self.reserve(count)?;
        self.activate(LocalId(first), count);
        self.statements(block)?;
        self.leave_scope(level, block);
        Ok(())
    }

    fn enter_loop(&mut self) {
        self.loops.push(LoopExit { jumps: JumpList::EMPTY, active_locals: self.active.len(), must_close: false });
    }

    /// Makes the loop's breaks go to the next position, and closes there what they left.
    fn leave_loop(&mut self) {
        if let Some(exit) = self.loops.pop() {
            self.patch_to_here(exit.jumps);
            if exit.must_close {
                self.emit(Self::abc(Opcode::Close, exit.active_locals, 0, 0));
            }
        }
    }
}
