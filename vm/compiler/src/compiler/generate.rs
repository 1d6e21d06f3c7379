//! One function's tree to instructions, constants and debug information.
//!
//! A local lives in the register that equals its position among the active locals; temporaries stack above them, and
//! `free` is the first unused register. An expression is first a [`Descriptor`], which says where its value can be had
//! from; the context then decides whether it needs a register, a constant or a jump, so that values are
//! computed where they are wanted.
//!
//! Functions that nesting goes through are kept out of line (`inline(never)`): inlined, one of them would hold the
//! locals of all, and frames add up on a small stack. With 197 levels the compiler stays below 96 KiB in wasm.

mod assignment;
mod call;
mod descriptor;
mod expression;
mod jump;
mod looping;
mod operator;
mod statement;

use std::collections::HashMap;
use std::rc::Rc;

use super::ast::{FunctionBody, Label, LabelId, Local, LocalId, UpvalueSource};
use super::symbol::{Symbol, Symbols};
use crate::bytecode::function::{Constant, FunctionParts, LineEntry, LocalVariable, UpvalueDescription};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::{Opcode, Operand, Trailing};
use crate::bytecode::verify::SHORT_STRING_BYTES_MAX;
use jump::JumpList;

/// Registers of a function, at most; 255 marks "no register" while jumps are being built.
const REGISTERS_MAX: usize = 254;

/// The function needs more registers than there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooManyRegisters {
    pub line: u32,
}

type Generated<T> = Result<T, TooManyRegisters>;

/// Generates the code of a function. The `index` of an upvalue that captures a local of the enclosing function is
/// left 0: that function fills it in.
pub(super) fn generate(
    body: FunctionBody,
    symbols: &Symbols,
    chunk_name: &Rc<[u8]>,
) -> Result<FunctionParts, TooManyRegisters> {
    let (functions, captured_locals) =
        body.functions.into_iter().map(|child| (child.parts, child.captured_locals)).unzip();
    let label_count = body.labels.len();
    let mut generator = Generator {
        symbols,
        locals: body.locals,
        labels: body.labels,
        goto_labels: body.goto_labels,
        functions,
        captured_locals,
        code: Vec::new(),
        word_lines: Vec::new(),
        line: body.line_defined,
        last_instruction: None,
        last_target: 0,
        constants: Vec::new(),
        constant_numbers: HashMap::new(),
        active: Vec::new(),
        free: 0,
        register_count: 2,
        debug_locals: Vec::new(),
        debug_active: Vec::new(),
        label_jumps: vec![PlacedLabel::default(); label_count],
        loops: Vec::new(),
    };
    generator.reserve(body.parameter_count as usize)?;
    generator.activate(LocalId(0), body.parameter_count as usize);
    if body.is_vararg {
        generator.emit(Instruction::abc(Opcode::VarArgPrep, body.parameter_count, 0, 0));
    }
    generator.statements(&body.block)?;
    generator.line = body.end_line;
    generator.final_return();
    generator.deactivate(0);
    generator.finish_code();

    let lines = compress_lines(&generator.word_lines);
    Ok(FunctionParts {
        chunk_name: Rc::clone(chunk_name),
        line_defined: body.line_defined,
        last_line_defined: body.last_line_defined,
        parameter_count: body.parameter_count,
        is_vararg: body.is_vararg,
        register_count: generator.register_count as u8,
        code: generator.code,
        constants: generator.constants,
        upvalues: body
            .upvalues
            .iter()
            .map(|upvalue| {
                let (in_stack, index) = match upvalue.source {
                    UpvalueSource::Local(_) => (true, 0),
                    UpvalueSource::Upvalue(index) => (false, index),
                };
                UpvalueDescription { in_stack, index, name: symbols.text(upvalue.name).into() }
            })
            .collect(),
        functions: generator.functions,
        lines,
        locals: generator.debug_locals,
    })
}

/// The state of one function's generation.
struct Generator<'a> {
    symbols: &'a Symbols,
    /// Indexed by [`LocalId`].
    locals: Vec<Local>,
    /// Indexed by [`LabelId`].
    labels: Vec<Label>,
    goto_labels: Vec<LabelId>,
    functions: Vec<FunctionParts>,
    /// For each child the locals of this function that its upvalues capture.
    captured_locals: Vec<Vec<Option<LocalId>>>,
    code: Vec<u32>,
    /// The line of each word of `code`.
    word_lines: Vec<u32>,
    /// The line of the token that a one-pass compiler would have read last.
    line: u32,
    /// Where the last instruction begins.
    last_instruction: Option<usize>,
    /// The last position that some jump may go to; instructions across it must not be merged.
    last_target: usize,
    constants: Vec<Constant>,
    constant_numbers: HashMap<ConstantKey, u32>,
    /// The locals in scope; a local's position is its register.
    active: Vec<LocalId>,
    free: usize,
    register_count: usize,
    debug_locals: Vec<LocalVariable>,
    /// For each active local its place in `debug_locals`.
    debug_active: Vec<usize>,
    /// Indexed by [`LabelId`].
    label_jumps: Vec<PlacedLabel>,
    loops: Vec<LoopExit>,
}

/// A constant by identity: floats by their bits.
#[derive(PartialEq, Eq, Hash)]
enum ConstantKey {
    Nil,
    False,
    True,
    Integer(i64),
    Float(u64),
    String(Symbol),
}

/// Where a label is and which jumps still wait for it.
#[derive(Clone, Default)]
struct PlacedLabel {
    pc: Option<usize>,
    waiting: JumpList,
    /// Locals in scope at those jumps that have to be closed unless they are still in scope at the label.
    to_close: Vec<LocalId>,
}

/// A loop that `break` may leave.
struct LoopExit {
    jumps: JumpList,
    /// The locals that stay active at the exit.
    active_locals: usize,
    /// Whether the exit has to close something above the loop for a `break`.
    must_close: bool,
}

impl Generator<'_> {
    /// Appends an instruction without a trailing word; returns its position.
    fn emit(&mut self, instruction: Instruction) -> usize {
        let pc = self.code.len();
        self.code.push(instruction.0);
        self.word_lines.push(self.line);
        self.last_instruction = Some(pc);
        pc
    }

    /// Appends an instruction and its trailing word.
    fn emit_with_word(&mut self, instruction: Instruction, word: u32) -> usize {
        let pc = self.emit(instruction);
        self.code.push(word);
        self.word_lines.push(self.line);
        pc
    }

    /// Moves the last instruction to another line.
    fn fix_line(&mut self, line: u32) {
        if let Some(pc) = self.last_instruction {
            self.word_lines[pc..].fill(line);
        }
    }

    fn instruction(&self, pc: usize) -> Instruction {
        Instruction(self.code[pc])
    }

    fn opcode_at(&self, pc: usize) -> Opcode {
        self.instruction(pc).opcode().expect("the generator emits only opcodes")
    }

    /// The last instruction, if no jump can go to the position after it.
    fn mergeable_instruction(&self) -> Option<usize> {
        self.last_instruction.filter(|_| self.last_target < self.code.len())
    }

    fn set_a(&mut self, pc: usize, a: usize) {
        self.code[pc] = self.code[pc] & !0xff00 | (a as u32) << 8;
    }

    fn set_b(&mut self, pc: usize, b: usize) {
        self.code[pc] = self.code[pc] & !0xff_0000 | (b as u32) << 16;
    }

    fn set_c(&mut self, pc: usize, c: usize) {
        self.code[pc] = self.code[pc] & !0xff00_0000 | (c as u32) << 24;
    }

    fn abc(opcode: Opcode, a: usize, b: usize, c: usize) -> Instruction {
        Instruction::abc(opcode, a as u8, b as u8, c as u8)
    }

    /// Makes sure that `count` registers above the free one exist.
    fn check_registers(&mut self, count: usize) -> Generated<()> {
        let needed = self.free + count;
        if needed > REGISTERS_MAX {
            return Err(TooManyRegisters { line: self.line });
        }
        self.register_count = self.register_count.max(needed);
        Ok(())
    }

    /// Takes `count` registers; returns the first.
    fn reserve(&mut self, count: usize) -> Generated<usize> {
        self.check_registers(count)?;
        let first = self.free;
        self.free += count;
        Ok(first)
    }

    /// Gives back a register unless it is a local's.
    fn free_register(&mut self, register: usize) {
        if register >= self.active.len() {
            self.free -= 1;
            debug_assert_eq!(register, self.free, "temporaries are freed in reverse order");
        }
    }

    /// Gives back the registers of two values in the right order.
    fn free_registers(&mut self, first: usize, second: usize) {
        self.free_register(first.max(second));
        self.free_register(first.min(second));
    }

    fn add_constant(&mut self, key: ConstantKey, constant: Constant) -> usize {
        let next = self.constants.len() as u32;
        let number = *self.constant_numbers.entry(key).or_insert(next);
        if number == next {
            self.constants.push(constant);
        }
        number as usize
    }

    fn integer_constant(&mut self, value: i64) -> usize {
        self.add_constant(ConstantKey::Integer(value), Constant::Integer(value))
    }

    fn float_constant(&mut self, value: f64) -> usize {
        self.add_constant(ConstantKey::Float(value.to_bits()), Constant::Float(value))
    }

    fn string_constant(&mut self, symbol: Symbol) -> usize {
        match self.constant_numbers.get(&ConstantKey::String(symbol)) {
            Some(&number) => number as usize,
            None => self.add_constant(ConstantKey::String(symbol), Constant::String(self.symbols.text(symbol).into())),
        }
    }

    /// Whether constant `number` can be the key of a field instruction.
    fn is_field_key(&self, number: usize) -> bool {
        number <= u8::MAX as usize
            && matches!(&self.constants[number], Constant::String(text) if text.len() <= SHORT_STRING_BYTES_MAX)
    }

    /// Brings `count` locals into scope in the registers after the active ones.
    fn activate(&mut self, first: LocalId, count: usize) {
        for id in first.0..first.0 + count as u32 {
            self.debug_active.push(self.debug_locals.len());
            self.debug_locals.push(LocalVariable {
                name: self.symbols.text(self.locals[id as usize].name).into(),
                register: self.active.len() as u8,
                start_pc: self.code.len() as u32,
                end_pc: 0,
            });
            self.active.push(LocalId(id));
        }
    }

    /// Ends the scope of all locals but the first `count`.
    fn deactivate(&mut self, count: usize) {
        for index in self.debug_active.drain(count..) {
            self.debug_locals[index].end_pc = self.code.len() as u32;
        }
        self.active.truncate(count);
        self.free = count;
    }

    fn local(&self, id: LocalId) -> &Local {
        &self.locals[id.0 as usize]
    }

    fn register_of(&self, id: LocalId) -> usize {
        self.active.iter().rposition(|&active| active == id).expect("the parser resolves only active locals")
    }

    /// Whether leaving the scope of the locals from `level` on must close something.
    fn needs_close(&self, level: usize) -> bool {
        self.active[level..].iter().any(|&id| self.closes(id))
    }

    /// Whether leaving the scope of a local must close it.
    fn closes(&self, id: LocalId) -> bool {
        self.local(id).captured || self.local(id).to_be_closed
    }

    /// Closes the locals from `level` on if need be.
    fn close_down_to(&mut self, level: usize) {
        if self.needs_close(level) {
            self.emit(Self::abc(Opcode::Close, level, 0, 0));
        }
    }

    /// Tells a child which registers hold the locals it captures.
    fn resolve_captures(&mut self, function: usize) {
        let captured = std::mem::take(&mut self.captured_locals[function]);
        for (index, local) in captured.into_iter().enumerate() {
            if let Some(local) = local {
                self.functions[function].upvalues[index].index = self.register_of(local) as u8;
            }
        }
    }

    /// Makes jumps to unconditional jumps go to the final target. Loop instructions keep theirs: they come in pairs.
    fn finish_code(&mut self) {
        let mut pc = 0;
        while pc < self.code.len() {
            let opcode = self.opcode_at(pc);
            let layout = opcode.layout();
            if layout.trailing == Trailing::Jump && layout.a != Operand::Group {
                let target = self.final_target(pc);
                self.set_jump(pc, target);
            }
            pc += opcode.words();
        }
    }

    /// Where the jump at `pc` ends up. Bounded, since jumps may form a circle.
    fn final_target(&self, pc: usize) -> usize {
        const HOPS_MAX: usize = 100;
        let mut target = self.jump_target(pc);
        for _ in 0..HOPS_MAX {
            if target >= self.code.len() || self.opcode_at(target) != Opcode::Jump {
                break;
            }
            target = self.jump_target(target);
        }
        target
    }
}

/// One entry wherever the line changes.
fn compress_lines(word_lines: &[u32]) -> Vec<LineEntry> {
    let mut lines: Vec<LineEntry> = Vec::new();
    for (pc, &line) in word_lines.iter().enumerate() {
        if lines.last().is_none_or(|last| last.line != line) {
            lines.push(LineEntry { pc: pc as u32, line });
        }
    }
    lines
}
