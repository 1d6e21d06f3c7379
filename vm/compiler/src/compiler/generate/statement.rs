//! Statements, blocks and what leaving a block entails.

use super::descriptor::Kind;
use super::jump::JumpList;
use super::{Generated, Generator};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::compiler::ast::{Block, Clause, Expression, GotoId, LabelId, LocalId, Statement};

/// Where a jump statement goes.
#[derive(Clone, Copy)]
enum JumpTarget {
    /// The exit of the innermost loop.
    LoopExit,
    Label(LabelId),
}

impl Generator<'_> {
    /// Statements that stay in the current scope.
    pub(super) fn statements(&mut self, block: &Block) -> Generated<()> {
        for statement in &block.statements {
            self.statement(statement)?;
            self.free = self.active.len();
        }
        Ok(())
    }

    /// A block with a scope of its own.
    pub(super) fn block(&mut self, block: &Block) -> Generated<()> {
        let level = self.active.len();
        self.statements(block)?;
        self.leave_scope(level, block);
        Ok(())
    }

    /// Ends the scope of the locals from `level` on, at the end of `block`.
    pub(super) fn leave_scope(&mut self, level: usize, block: &Block) {
        if !block.ends_with_jump() {
            self.line = block.end_line;
            self.close_down_to(level);
        }
        self.deactivate(level);
    }

    #[inline(never)]
    fn statement(&mut self, statement: &Statement) -> Generated<()> {
        match statement {
            Statement::Call(call) => {
                let call = self.expression(call)?;
                self.set_results(&call, 0)
            }
            Statement::Local(declaration) => self.local_declaration(declaration),
            Statement::LocalFunction { local, function, end_line } => self.local_function(*local, *function, *end_line),
            Statement::Function { target, function, line, end_line } => {
                self.function_statement(target, *function, *line, *end_line)
            }
            Statement::Assign { targets, values } => self.assignment(targets, values),
            Statement::Do(block) => self.block(block),
            Statement::While(statement) => self.while_loop(statement),
            Statement::Repeat { block, condition } => self.repeat_loop(block, condition),
            Statement::If { clauses, otherwise } => self.if_statement(clauses, otherwise.as_ref()),
            Statement::NumericFor(statement) => self.numeric_for(statement),
            Statement::GenericFor(statement) => self.generic_for(statement),
            Statement::Goto { goto, line } => {
                self.line = *line;
                self.jump_statement(self.goto_target(*goto));
                Ok(())
            }
            Statement::Label { label, line } => {
                self.line = *line;
                self.place_label(*label);
                Ok(())
            }
            Statement::Break { line } => {
                self.line = *line;
                self.jump_statement(JumpTarget::LoopExit);
                Ok(())
            }
            Statement::Return { values, line } => self.return_statement(values, *line),
        }
    }

    #[inline(never)]
    fn if_statement(&mut self, clauses: &[Clause], otherwise: Option<&Block>) -> Generated<()> {
        let mut to_end = JumpList::EMPTY;
        for (index, clause) in clauses.iter().enumerate() {
            if let Some(target) = self.only_jump(&clause.block) {
                self.jump_if(&clause.condition, clause.then_line, target)?;
                continue;
            }
            let to_next = self.condition(&clause.condition, clause.then_line)?;
            self.block(&clause.block)?;
            let is_last = index + 1 == clauses.len() && otherwise.is_none();
            if !is_last && !clause.block.ends_with_jump() {
                let pc = self.emit_jump();
                self.add_jump(&mut to_end, pc);
            }
            self.patch_to_here(to_next);
        }
        if let Some(block) = otherwise {
            self.block(block)?;
        }
        self.patch_to_here(to_end);
        Ok(())
    }

    /// The jump that is all the block does, if it needs nothing but a jump.
    fn only_jump(&self, block: &Block) -> Option<JumpTarget> {
        let target = match block.statements.as_slice() {
            [Statement::Break { .. }] => JumpTarget::LoopExit,
            [Statement::Goto { goto, .. }] => self.goto_target(*goto),
            _ => return None,
        };
        self.close_before_jump(target).is_none().then_some(target)
    }

    /// Jumps to `target` if the condition holds.
    #[inline(never)]
    fn jump_if(&mut self, condition: &Expression, line: u32, target: JumpTarget) -> Generated<()> {
        let mut condition = self.expression(condition)?;
        self.line = line;
        self.discharge(&mut condition);
        if matches!(condition.kind, Kind::True | Kind::Integer(_) | Kind::Float(_) | Kind::Constant(_)) {
            // Whoever gets to the last operand finds it true.
            let pc = self.emit_jump();
            self.add_jump(&mut condition.true_list, pc);
            self.patch_to_here(condition.false_list);
        } else {
            self.go_if_false(&mut condition)?;
        }
        self.drop_values(condition.true_list);
        self.add_target_jumps(target, condition.true_list);
        self.free = self.active.len();
        Ok(())
    }

    /// Goes on if the condition holds; returns the jumps taken otherwise.
    pub(super) fn condition(&mut self, condition: &Expression, line: u32) -> Generated<JumpList> {
        let mut condition = self.expression(condition)?;
        self.line = line;
        if matches!(condition.kind, Kind::Nil | Kind::False) {
            let pc = self.emit_jump();
            self.add_jump(&mut condition.false_list, pc);
            self.patch_to_here(condition.true_list);
        } else {
            self.go_if_true(&mut condition)?;
        }
        self.free = self.active.len();
        Ok(condition.false_list)
    }

    fn goto_target(&self, goto: GotoId) -> JumpTarget {
        JumpTarget::Label(self.goto_labels[goto.0 as usize])
    }

    /// A jump out of scopes, closing them if it goes back.
    fn jump_statement(&mut self, target: JumpTarget) {
        if let Some(level) = self.close_before_jump(target) {
            self.emit(Self::abc(Opcode::Close, level, 0, 0));
        }
        let mut jumps = JumpList::EMPTY;
        let pc = self.emit_jump();
        self.add_jump(&mut jumps, pc);
        self.add_target_jumps(target, jumps);
    }

    /// From which register on a jump to `target` must close first, if it must: what a jump forward leaves is closed at its target, as
    /// in PUC Lua, which shows in the lines of what is called then.
    fn close_before_jump(&self, target: JumpTarget) -> Option<usize> {
        let JumpTarget::Label(label) = target else {
            return None;
        };
        let level = self.labels[label.0 as usize].active_locals;
        let goes_back = self.label_jumps[label.0 as usize].pc.is_some();
        (goes_back && level < self.active.len() && self.needs_close(level)).then_some(level)
    }

    /// Sends jumps to a target that may not be placed yet, which then closes what they leave.
    fn add_target_jumps(&mut self, target: JumpTarget, jumps: JumpList) {
        let mut jumps = jumps;
        match target {
            JumpTarget::LoopExit => {
                let Some((waiting, level)) = self.loops.last().map(|exit| (exit.jumps, exit.active_locals)) else {
                    return;
                };
                self.append_jumps(&mut jumps, waiting);
                let must_close = self.needs_close(level);
                if let Some(exit) = self.loops.last_mut() {
                    exit.jumps = jumps;
                    exit.must_close |= must_close;
                }
            }
            JumpTarget::Label(label) => {
                let label = label.0 as usize;
                if let Some(pc) = self.label_jumps[label].pc {
                    return self.patch_jumps(jumps, pc);
                }
                let waiting = self.label_jumps[label].waiting;
                self.append_jumps(&mut jumps, waiting);
                self.label_jumps[label].waiting = jumps;
                let left = self.active.get(self.labels[label].active_locals..).unwrap_or_default();
                let to_close: Vec<LocalId> = left.iter().copied().filter(|&id| self.closes(id)).collect();
                self.label_jumps[label].to_close.extend(to_close);
            }
        }
    }

    fn place_label(&mut self, label: LabelId) {
        let pc = self.mark_target();
        let placed = &mut self.label_jumps[label.0 as usize];
        placed.pc = Some(pc);
        let (waiting, to_close) = (placed.waiting, std::mem::take(&mut placed.to_close));
        self.patch_jumps(waiting, pc);
        if to_close.iter().any(|local| !self.active.contains(local)) {
            self.emit(Self::abc(Opcode::Close, self.labels[label.0 as usize].active_locals, 0, 0));
        }
    }

    #[inline(never)]
    fn return_statement(&mut self, values: &[Expression], line: u32) -> Generated<()> {
        self.line = line;
        let first = self.active.len();
        let close = usize::from(self.needs_close(0));
        let Some(mut last) = self.all_but_last(values)? else {
            self.emit_return(first, 1, close);
            return Ok(());
        };
        if last.is_multiple() {
            self.set_all_results(&mut last)?;
            match last.kind {
                Kind::Call(pc) if values.len() == 1 && !self.is_closing_later() => {
                    let call = self.instruction(pc);
                    self.code[pc] = Self::abc(Opcode::TailCall, call.a(), call.b(), close).0;
                }
                _ => self.emit_return(first, 0, close),
            }
        } else if values.len() == 1 {
            let register = self.put_in_any_register(&mut last)?;
            self.emit_return(register, 2, close);
        } else {
            self.put_in_next_register(&mut last)?;
            self.emit_return(first, values.len() + 1, close);
        }
        Ok(())
    }

    /// Whether a to-be-closed variable is in scope; a call in return position is then not the last act.
    fn is_closing_later(&self) -> bool {
        self.active.iter().any(|&id| self.local(id).to_be_closed)
    }

    fn emit_return(&mut self, first: usize, operand: usize, close: usize) {
        self.emit(match (operand, close) {
            (1, 0) => Self::abc(Opcode::Return0, 0, 0, 0),
            (2, 0) => Self::abc(Opcode::Return1, first, 0, 0),
            (1, _) => Instruction::abc(Opcode::Return, 0, 1, 1),
            _ => Self::abc(Opcode::Return, first, operand, close),
        });
    }

    /// The return at the end of every function.
    pub(super) fn final_return(&mut self) {
        let close = usize::from(self.needs_close(0));
        self.emit_return(self.active.len(), 1, close);
    }
}
