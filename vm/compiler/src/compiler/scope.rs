//! Which variables and labels a function under compilation can see (manual §3.5, §3.3.4).
//!
//! `variables` holds the declared variables of all open blocks, innermost last; only the first `active_count` are in
//! scope yet. A `<const>` variable whose value is known holds no register: uses of it become the value.

use std::collections::HashMap;

use super::ast::{ChildFunction, Label, LabelId, Literal, Local, LocalId, Upvalue};
use super::symbol::Symbol;

/// The state of one function while its source is read.
pub(super) struct FunctionScope {
    pub(super) line_defined: u32,
    pub(super) is_vararg: bool,
    pub(super) locals: Vec<Local>,
    pub(super) upvalues: Vec<UpvalueEntry>,
    pub(super) functions: Vec<ChildFunction>,
    pub(super) labels: Vec<Label>,
    /// The label of each `goto` seen so far, once it is known.
    pub(super) goto_labels: Vec<Option<LabelId>>,
    variables: Vec<VariableEntry>,
    active_count: usize,
    upvalue_numbers: HashMap<Symbol, u8>,
    blocks: Vec<BlockScope>,
    visible_labels: HashMap<Symbol, VisibleLabel>,
    /// Visible labels in order of appearance.
    label_names: Vec<Symbol>,
    pending_gotos: Vec<PendingGoto>,
}

/// A declared variable.
struct VariableEntry {
    name: Symbol,
    attribute: Attribute,
    binding: Binding,
}

/// What a variable's name stands for.
#[derive(Clone, Copy)]
pub(super) enum Binding {
    /// Not in scope yet.
    Undecided,
    Local(LocalId),
    Constant(Literal),
}

/// A variable's attribute (manual §3.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    Regular,
    Constant,
    Close,
}

/// An upvalue and whether it may be assigned to.
pub(super) struct UpvalueEntry {
    pub(super) upvalue: Upvalue,
    pub(super) read_only: bool,
}

struct BlockScope {
    is_loop: bool,
    active_at_start: usize,
    labels_at_start: usize,
    gotos_at_start: usize,
}

#[derive(Clone, Copy)]
struct VisibleLabel {
    id: LabelId,
    line: u32,
}

/// A `goto` whose label has not been seen, or a `break` outside a loop.
#[derive(Clone, Copy)]
pub(super) struct PendingGoto {
    /// `None` for a `break`.
    pub(super) name: Option<Symbol>,
    pub(super) line: u32,
    goto: usize,
    /// How many variables were active there; lowered as blocks end.
    active_count: usize,
}

/// A jump that would enter the scope of a local.
pub(super) struct JumpIntoScope {
    pub(super) line: u32,
    pub(super) variable: Symbol,
}

impl FunctionScope {
    pub(super) fn new(line_defined: u32) -> Self {
        FunctionScope {
            line_defined,
            is_vararg: false,
            locals: Vec::new(),
            upvalues: Vec::new(),
            functions: Vec::new(),
            labels: Vec::new(),
            goto_labels: Vec::new(),
            variables: Vec::new(),
            active_count: 0,
            upvalue_numbers: HashMap::new(),
            blocks: vec![BlockScope { is_loop: false, active_at_start: 0, labels_at_start: 0, gotos_at_start: 0 }],
            visible_labels: HashMap::new(),
            label_names: Vec::new(),
            pending_gotos: Vec::new(),
        }
    }

    /// Declares a variable that [`Self::activate`] brings into scope. The caller keeps the limit on their number.
    pub(super) fn declare(&mut self, name: Symbol, attribute: Attribute) {
        self.variables.push(VariableEntry { name, attribute, binding: Binding::Undecided });
    }

    /// Declared variables, in scope or not.
    pub(super) fn variable_count(&self) -> usize {
        self.variables.len()
    }

    /// Brings the next `count` declared variables into scope and gives each a local; returns the first.
    pub(super) fn activate(&mut self, count: usize) -> LocalId {
        let first = LocalId(self.locals.len() as u32);
        let end = self.variables.len().min(self.active_count + count);
        for variable in &mut self.variables[self.active_count..end] {
            variable.binding = Binding::Local(LocalId(self.locals.len() as u32));
            let to_be_closed = variable.attribute == Attribute::Close;
            self.locals.push(Local { name: variable.name, captured: false, to_be_closed });
        }
        self.active_count = end;
        first
    }

    /// As [`Self::activate`] for `count` variables, and one more becomes a compile-time constant.
    pub(super) fn activate_with_constant(&mut self, count: usize, value: Literal) -> LocalId {
        let first = self.activate(count);
        if let Some(constant) = self.variables.get_mut(self.active_count) {
            constant.binding = Binding::Constant(value);
            self.active_count += 1;
        }
        first
    }

    pub(super) fn set_last_attribute(&mut self, attribute: Attribute) {
        if let Some(variable) = self.variables.last_mut() {
            variable.attribute = attribute;
        }
    }

    /// The attribute of the variable declared last.
    pub(super) fn last_attribute(&self) -> Attribute {
        self.variables.last().map_or(Attribute::Regular, |variable| variable.attribute)
    }

    /// What `name` stands for among the active variables, and whether it may not be assigned to.
    pub(super) fn find_variable(&self, name: Symbol) -> Option<(Binding, bool)> {
        let active = &self.variables[..self.active_count];
        let variable = active.iter().rev().find(|variable| variable.name == name)?;
        Some((variable.binding, variable.attribute != Attribute::Regular))
    }

    pub(super) fn find_upvalue(&self, name: Symbol) -> Option<u8> {
        self.upvalue_numbers.get(&name).copied()
    }

    /// Adds an upvalue. The caller keeps the limit on their number.
    pub(super) fn add_upvalue(&mut self, upvalue: Upvalue, read_only: bool) -> u8 {
        let number = self.upvalues.len() as u8;
        self.upvalues.push(UpvalueEntry { upvalue, read_only });
        self.upvalue_numbers.insert(upvalue.name, number);
        number
    }

    pub(super) fn enter_block(&mut self, is_loop: bool) {
        self.blocks.push(BlockScope {
            is_loop,
            active_at_start: self.active_count,
            labels_at_start: self.label_names.len(),
            gotos_at_start: self.pending_gotos.len(),
        });
    }

    pub(super) fn leave_block(&mut self) {
        let Some(block) = self.blocks.pop() else {
            return;
        };
        self.active_count = block.active_at_start;
        self.variables.truncate(block.active_at_start);
        for name in self.label_names.drain(block.labels_at_start..) {
            self.visible_labels.remove(&name);
        }
        for goto in &mut self.pending_gotos[block.gotos_at_start..] {
            goto.active_count = goto.active_count.min(block.active_at_start);
        }
    }

    pub(super) fn is_in_loop(&self) -> bool {
        self.blocks.iter().any(|block| block.is_loop)
    }

    /// The line of the visible label `name`.
    pub(super) fn label_line(&self, name: Symbol) -> Option<u32> {
        self.visible_labels.get(&name).map(|label| label.line)
    }

    /// Adds a `goto`; returns its number. It stays pending unless its label is visible already.
    pub(super) fn add_goto(&mut self, name: Symbol, line: u32) -> usize {
        let goto = self.goto_labels.len();
        let label = self.visible_labels.get(&name).map(|label| label.id);
        self.goto_labels.push(label);
        if label.is_none() {
            self.pending_gotos.push(PendingGoto { name: Some(name), line, goto, active_count: self.active_count });
        }
        goto
    }

    /// Notes a `break` that no loop encloses.
    pub(super) fn add_stray_break(&mut self, line: u32) {
        self.pending_gotos.push(PendingGoto { name: None, line, goto: 0, active_count: self.active_count });
    }

    /// Places a label and resolves the jumps that wait for it. A label at the end of its block
    /// counts as outside the scope of the block's locals.
    pub(super) fn add_label(&mut self, name: Symbol, line: u32, is_last: bool) -> Result<LabelId, JumpIntoScope> {
        let id = LabelId(self.labels.len() as u32);
        let (block_start, gotos_at_start) =
            self.blocks.last().map_or((0, 0), |block| (block.active_at_start, block.gotos_at_start));
        let active_count = if is_last { block_start } else { self.active_count };
        let in_registers = |variable: &&VariableEntry| matches!(variable.binding, Binding::Local(_));
        let active_locals = self.variables[..active_count].iter().filter(in_registers).count();
        self.labels.push(Label { active_locals });
        self.visible_labels.insert(name, VisibleLabel { id, line });
        self.label_names.push(name);

        let is_waiting = |goto: &PendingGoto| goto.name == Some(name);
        for goto in self.pending_gotos[gotos_at_start..].iter().filter(|goto| is_waiting(goto)) {
            if goto.active_count < active_count {
                return Err(JumpIntoScope { line: goto.line, variable: self.variables[goto.active_count].name });
            }
            self.goto_labels[goto.goto] = Some(id);
        }
        let mut index = 0;
        self.pending_gotos.retain(|goto| {
            index += 1;
            index <= gotos_at_start || !is_waiting(goto)
        });
        Ok(id)
    }

    /// The first jump without a target, once the function has ended.
    pub(super) fn unresolved_goto(&self) -> Option<PendingGoto> {
        self.pending_gotos.first().copied()
    }
}
