//! From blocks to the body of a wasm function: the frame of blocks, loops and jumps, and the instructions in it.
//!
//! Every loop of the code is a wasm `loop`; every block that something jumps forward to ends a wasm `block` that was opened at the
//! start of the region (the function or the innermost loop) around it. An entry inside a region is reached by a table at its start.

use cu_compiler::bytecode::opcode::Opcode;
use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

use crate::blocks::{Blocks, Located};
use crate::kinds::{self, Kind, Registers};
use crate::registers::{Copies, Locals, at};
use crate::{IMPORTS, Layout, Source, outcome};

// The parameters, and locals that every function has.
pub(crate) const MACHINE: u32 = 0;
pub(crate) const BASE_BYTES: u32 = 1;
pub(crate) const CLOSURE: u32 = 2;
const ENTRY: u32 = 3;
const BASE: u32 = 4;
pub(crate) const OUTCOME: u32 = 5;
/// Locals that no instruction keeps.
pub(crate) const SCRATCH: u32 = 6;
pub(crate) const SCRATCH_2: u32 = 7;
pub(crate) const ADDRESS: u32 = 8;
pub(crate) const ADDRESS_2: u32 = 9;
pub(crate) const RUN: u32 = 10;
pub(crate) const STATE: u32 = 11;
pub(crate) const COUNT: u32 = 12;
pub(crate) const NESTED: u32 = 13;
pub(crate) const FRAME: u32 = 14;
const FIXED_LOCALS: [ValType; 11] = [
    ValType::I32,
    ValType::I32,
    ValType::I64,
    ValType::I64,
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::I32,
    ValType::I32,
];
const PARAMETERS: u32 = 4;

/// A function of the VM.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Import {
    /// Runs the instruction whole.
    Step,
    /// Likewise, and leaves compiled code.
    Exit,
    Call,
    Leave,
    /// The fuel is used up.
    Fuel,
    // These do a part of an instruction.
    Field,
    Item,
    Assign,
    Iterate,
}

/// What a wasm label stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// The start of the loop that begins with this block.
    Loop(usize),
    /// The place before this block.
    Before(usize),
    Other,
}

pub(crate) struct Emitter<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) layout: &'a Layout,
    blocks: &'a Blocks,
    body: Vec<u8>,
    labels: Vec<Label>,
    locals: Vec<ValType>,
    /// What registers hold here.
    pub(crate) registers: Registers,
    pub(crate) copies: Vec<Copies>,
    pub(crate) locals_of: Vec<Locals>,
    /// How many choices between paths are open around here.
    pub(crate) paths: u32,
}

pub(crate) fn function(source: &Source<'_>, layout: &Layout, blocks: &Blocks, kinds: &[Registers]) -> Function {
    let registers = source.register_count as usize;
    let mut emitter = Emitter {
        source,
        layout,
        blocks,
        body: Vec::new(),
        labels: Vec::new(),
        locals: FIXED_LOCALS.to_vec(),
        registers: kinds[0].clone(),
        copies: vec![Copies::default(); registers],
        locals_of: vec![Locals::default(); registers],
        paths: 0,
    };
    emitter.load_base();
    emitter.region(0, blocks.count() - 1, None, kinds);
    emitter.sink().unreachable().end();
    let mut function = Function::new_with_locals_types(emitter.locals);
    function.raw(emitter.body);
    function
}

impl Emitter<'_> {
    pub(crate) fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.body)
    }

    /// Pushes the address of register 0.
    pub(crate) fn base(&mut self) {
        self.sink().local_get(BASE);
    }

    pub(crate) fn local(&mut self, kind: ValType) -> u32 {
        self.locals.push(kind);
        PARAMETERS + self.locals.len() as u32 - 1
    }

    // Labels

    pub(crate) fn block(&mut self, label: Label) {
        self.sink().block(BlockType::Empty);
        self.labels.push(label);
    }

    pub(crate) fn if_(&mut self) {
        self.sink().if_(BlockType::Empty);
        self.labels.push(Label::Other);
        self.paths += 1;
    }

    pub(crate) fn else_(&mut self) {
        self.sink().else_();
    }

    pub(crate) fn end_if(&mut self) {
        self.paths -= 1;
        self.end();
    }

    pub(crate) fn end(&mut self) {
        self.labels.pop();
        self.sink().end();
    }

    /// How many labels are open: to count from.
    pub(crate) fn depth(&self) -> usize {
        self.labels.len()
    }

    /// The relative depth of the label that was opened when `depth` were.
    pub(crate) fn label(&self, depth: usize) -> u32 {
        (self.labels.len() - 1 - depth) as u32
    }

    fn find(&self, label: Label) -> Option<u32> {
        self.labels.iter().rev().position(|open| *open == label).map(|depth| depth as u32)
    }

    // Regions

    /// The blocks from `first` to `last`: a loop that begins with block `head`, or the function.
    fn region(&mut self, first: usize, last: usize, head: Option<usize>, kinds: &[Registers]) {
        if head.is_some() {
            self.sink().loop_(BlockType::Empty);
            self.labels.push(Label::Loop(first));
        }
        let mut items = Vec::new();
        let mut block = first;
        while block <= last {
            let end = self.blocks.loop_at(block, head.filter(|head| *head == block)).unwrap_or(block);
            items.push((block, end));
            block = end + 1;
        }
        for (block, _) in items.iter().skip(1).rev() {
            self.block(Label::Before(*block));
        }
        self.dispatch(&items, head.is_some());
        for (block, end) in items {
            if block != first {
                self.end();
            }
            if end > block || self.blocks.loop_at(block, head.filter(|head| *head == block)).is_some() {
                self.region(block, end, Some(block), kinds);
            } else {
                self.basic_block(block, kinds);
            }
        }
        if head.is_some() {
            self.end();
        }
    }

    /// At the start of a region: goes to the entry that was asked for, if it is inside.
    fn dispatch(&mut self, items: &[(usize, usize)], is_loop: bool) {
        // Items are in the order of blocks; what is not in the region is not asked for here.
        let item_of = |block: usize| match items.partition_point(|(first, _)| *first <= block).checked_sub(1) {
            Some(item) if block <= items[item].1 => item,
            _ => 0,
        };
        let entries = self.blocks.entry_blocks().into_iter().map(item_of);
        let targets: Vec<usize> = std::iter::once(0).chain(entries).collect();
        if targets.iter().all(|item| *item == 0) {
            return;
        }
        let before: Vec<Option<u32>> = items.iter().map(|(block, _)| self.find(Label::Before(*block))).collect();
        if is_loop {
            // Most often the loop just goes on.
            self.sink().local_get(ENTRY).if_(BlockType::Empty);
            self.labels.push(Label::Other);
        }
        self.block(Label::Other);
        let shift = if is_loop { 2 } else { 1 };
        let depth = |item: usize| if item == 0 { 0 } else { before[item].map_or(0, |depth| depth + shift) };
        let depths: Vec<u32> = targets.iter().map(|item| depth(*item)).collect();
        self.sink().local_get(ENTRY).br_table(depths, 0);
        self.end();
        if is_loop {
            self.end();
        }
    }

    fn basic_block(&mut self, block: usize, kinds: &[Registers]) {
        if self.blocks.is_joined(block) {
            self.forget_all();
        }
        if self.blocks.entry(block) != 0 {
            self.sink().i32_const(0).local_set(ENTRY);
        }
        self.registers = kinds[block].clone();
        let range = self.blocks.range(block);
        let mut pc = range.start;
        while pc < range.end {
            let located = Located::at(self.source.code, pc);
            self.instruction(located);
            for register in kinds::written(located, self.copies.len()) {
                if !self.keeps_copies(located, register) {
                    self.forget(register);
                }
            }
            self.registers.after(self.source, located);
            pc = located.next();
        }
    }

    /// Goes to the block at `target`.
    pub(crate) fn jump(&mut self, target: usize) {
        let block = self.blocks.at(target);
        if let Some(depth) = self.find(Label::Loop(block)).or_else(|| self.find(Label::Before(block))) {
            self.sink().br(depth);
            return;
        }
        // It is inside a loop that starts further on or around here.
        let entry = self.blocks.entry(block);
        self.sink().i32_const(entry as i32).local_set(ENTRY);
        let start = (0..=block).rev().find_map(|first| {
            let last = self.blocks.loop_at(first, None)?;
            if last < block {
                return None;
            }
            self.find(Label::Loop(first)).or_else(|| self.find(Label::Before(first)))
        });
        self.sink().br(start.expect("a block is in the function or in a loop that can be reached"));
    }

    /// Goes to the instruction's target; a jump back costs its distance.
    pub(crate) fn take_jump(&mut self, located: Located) {
        let Some(target) = located.target() else { return };
        if target <= located.pc {
            let fuel = at(self.layout.machine_fuel.into());
            self.sink().local_get(MACHINE).local_get(MACHINE).i64_load(fuel);
            self.sink().i64_const((located.word as i32).into()).i64_add().local_tee(SCRATCH).i64_store(fuel);
            self.sink().local_get(SCRATCH).i64_const(0).i64_lt_s().if_(BlockType::Empty);
            self.labels.push(Label::Other);
            self.call(Import::Fuel, target);
            self.sink().return_();
            self.end();
        }
        self.jump(target);
    }

    /// Takes the instruction's jump if the condition on the stack holds.
    pub(crate) fn jump_if(&mut self, located: Located) {
        self.if_();
        self.take_jump(located);
        self.end_if();
    }

    // What the VM does

    /// Calls a function of the VM for the instruction at `pc`; pushes its outcome.
    pub(crate) fn call(&mut self, import: Import, pc: usize) {
        debug_assert!((import as usize) < IMPORTS.len());
        let address = self.source.code_address + pc as u32 * 4;
        self.sink().local_get(MACHINE).i32_const(address as i32).call(import as u32);
    }

    /// Pushes the machine and the address of the instruction.
    pub(crate) fn push_place(&mut self, located: Located) {
        let address = self.source.code_address + located.pc as u32 * 4;
        self.sink().local_get(MACHINE).i32_const(address as i32);
    }

    /// Pushes the address of a register.
    pub(crate) fn push_address(&mut self, register: usize) {
        self.base();
        self.sink().i32_const(register as i32 * 16).i32_add();
    }

    /// Leaves the instruction to the VM and goes on after it; returns if it is not over.
    pub(crate) fn step(&mut self, located: Located) {
        self.call(Import::Step, located.pc);
        self.sink().local_tee(OUTCOME).if_(BlockType::Empty).local_get(OUTCOME).return_().end();
        // The stack may have moved: for variable arguments, or for a metamethod.
        self.load_base();
    }

    /// Likewise for an instruction that may jump: it has paid for it.
    pub(crate) fn step_branch(&mut self, located: Located) {
        self.call(Import::Step, located.pc);
        self.sink().local_set(OUTCOME);
        self.load_base();
        self.sink().local_get(OUTCOME);
        self.if_();
        self.sink().local_get(OUTCOME).i32_const(outcome::TAKEN).i32_eq();
        self.if_();
        if let Some(target) = located.target() {
            self.jump(target);
        }
        self.end_if();
        self.sink().local_get(OUTCOME).return_();
        self.end_if();
    }

    /// Leaves the instruction to the VM, and compiled code with it.
    pub(crate) fn exit(&mut self, located: Located) {
        self.call(Import::Exit, located.pc);
        self.sink().return_();
    }

    /// Returns to the driver, which goes on at `pc`: nothing was done there.
    pub(crate) fn leave_at(&mut self, pc: usize) {
        self.call(Import::Fuel, pc);
        self.sink().drop().i32_const(outcome::FRAME).return_();
    }

    /// Pays for what an instruction does, whatever is left.
    pub(crate) fn charge(&mut self, cost: i64) {
        if cost != 0 {
            let fuel = at(self.layout.machine_fuel.into());
            self.sink().local_get(MACHINE).local_get(MACHINE).i64_load(fuel).i64_const(cost).i64_sub().i64_store(fuel);
        }
    }

    pub(crate) fn load_base(&mut self) {
        let (state, stack) = (self.layout.machine_state, self.layout.state_stack);
        self.sink().local_get(MACHINE).i32_load(at(state.into())).i32_load(at(stack.into()));
        self.sink().local_get(BASE_BYTES).i32_add().local_set(BASE);
    }

    fn instruction(&mut self, located: Located) {
        let i = located.instruction;
        match located.opcode {
            Opcode::Jump => self.take_jump(located),
            Opcode::Move => self.move_register(i.a(), i.b()),
            Opcode::LoadInteger => {
                self.sink().i64_const(i.sbx());
                self.set_integer(i.a());
            }
            Opcode::LoadFloat => {
                self.sink().f64_const((i.sbx() as f64).into());
                self.set_float(i.a());
            }
            Opcode::LoadConstant => self.load_constant(i.a(), i.bx()),
            Opcode::LoadConstantWide => self.load_constant(i.a(), located.word as usize),
            Opcode::LoadNil => {
                let cost = self.layout.fuel_of_values.map_or(0, |cost| cost(i.b()));
                self.charge(cost as i64);
                for register in i.a()..=i.a() + i.b() {
                    self.store_tag(register, self.layout.tags.nil);
                }
            }
            Opcode::LoadFalse => self.load_boolean(i.a(), false),
            Opcode::LoadTrue => self.load_boolean(i.a(), true),
            Opcode::LoadFalseSkip => {
                self.load_boolean(i.a(), false);
                self.jump(located.pc + 2);
            }
            Opcode::GetUpvalue => self.get_upvalue(i.a(), i.b()),
            Opcode::SetUpvalue => self.set_upvalue(i.b(), i.a()),
            Opcode::GetTabUp | Opcode::GetField | Opcode::SelfField => self.get_field(located),
            Opcode::SetTabUp | Opcode::SetTabUpK | Opcode::SetField | Opcode::SetFieldK => self.set_field(located),
            Opcode::GetTable | Opcode::GetInteger => self.get_item(located),
            Opcode::SetTable | Opcode::SetTableK | Opcode::SetInteger | Opcode::SetIntegerK => self.set_item(located),
            Opcode::Len => self.length(located),
            Opcode::Not => {
                self.truth(i.b());
                self.sink().i32_eqz().i64_extend_i32_u().local_set(SCRATCH);
                self.base();
                self.sink().local_get(SCRATCH).i64_store(crate::registers::payload_of(i.a()));
                self.store_tag(i.a(), self.layout.tags.boolean);
            }
            Opcode::Test => {
                self.truth(i.a());
                self.negate_unless(i.flag());
                self.jump_if(located);
            }
            Opcode::TestSet => {
                self.prepare(i.b());
                self.truth(i.b());
                self.negate_unless(i.flag());
                self.if_();
                self.move_register(i.a(), i.b());
                self.take_jump(located);
                self.end_if();
                self.forget(i.a());
            }
            Opcode::ForLoop => self.for_loop(located),
            Opcode::ForPrep => self.for_prep(located),
            Opcode::TForLoop => {
                let nil = self.layout.tags.nil;
                self.prepare(i.a() + 4);
                self.tag(i.a() + 4);
                self.sink().i32_const(nil).i32_ne();
                self.if_();
                self.move_register(i.a() + 2, i.a() + 4);
                self.take_jump(located);
                self.end_if();
            }
            Opcode::Call => self.call_instruction(located),
            Opcode::Return | Opcode::Return0 | Opcode::Return1 | Opcode::TailCall => self.return_instruction(located),
            Opcode::VarArgPrep => self.prepare_varargs(located),
            Opcode::TForPrep => {
                self.step_branch(located);
                // A jump to the next instruction does not look like one.
                if let Some(target) = located.target() {
                    self.jump(target);
                }
            }
            Opcode::NewTable
            | Opcode::Concat
            | Opcode::Close
            | Opcode::ToBeClosed
            | Opcode::SetList
            | Opcode::Closure
            | Opcode::VarArg => self.step(located),
            Opcode::TForCall => self.iterator_call(located),
            _ => self.number_instruction(located),
        }
    }

    /// Whether the emission of an instruction left good copies of a register that it wrote.
    fn keeps_copies(&self, located: Located, register: usize) -> bool {
        match located.opcode {
            Opcode::TForPrep
            | Opcode::NewTable
            | Opcode::Concat
            | Opcode::TForCall
            | Opcode::Closure
            | Opcode::VarArg
            | Opcode::VarArgPrep
            | Opcode::Call
            | Opcode::LoadNil
            | Opcode::LoadFalse
            | Opcode::LoadTrue
            | Opcode::LoadFalseSkip
            | Opcode::Not
            | Opcode::ForPrep
            | Opcode::ForLoop
            | Opcode::TForLoop
            | Opcode::TestSet => false,
            Opcode::SelfField => register == located.instruction.a(),
            _ => true,
        }
    }

    /// Turns the condition on the stack around if the instruction jumps when it does not hold.
    pub(crate) fn negate_unless(&mut self, flag: bool) {
        if !flag {
            self.sink().i32_eqz();
        }
    }

    fn move_register(&mut self, target: usize, from: usize) {
        match self.kind(from) {
            Kind::Integer => {
                self.raw(from);
                self.set_integer(target);
            }
            Kind::Float => {
                self.float(from);
                self.set_float(target);
            }
            _ => {
                self.copy_register(target, from);
                self.forget(target);
            }
        }
    }

    /// Copies a value in memory.
    pub(crate) fn copy_register(&mut self, target: usize, from: usize) {
        self.tag(from);
        self.sink().i64_extend_i32_u().local_set(SCRATCH);
        self.bits(from);
        self.sink().local_set(SCRATCH_2);
        self.base();
        self.sink().local_get(SCRATCH).i64_store(crate::registers::tag_of(target));
        self.base();
        self.sink().local_get(SCRATCH_2).i64_store(crate::registers::payload_of(target));
    }

    fn load_boolean(&mut self, register: usize, value: bool) {
        self.base();
        self.sink().i64_const(value.into()).i64_store(crate::registers::payload_of(register));
        self.store_tag(register, self.layout.tags.boolean);
    }
}
