//! The verifier: what stands between bytes from anywhere and an interpreter that does not check its operands.
//!
//! For every function it proves, in time linear in its size:
//!
//! - Code is a sequence of known instructions; unused operands and inline caches are zero.
//! - Every register, also of a group, is below `register_count`; constants, upvalues and child functions exist, and
//!   constants are of the kind that the instruction wants.
//! - Jumps land on instructions, and control cannot run past the end.
//! - An open list (a call or `...` with all its values) is consumed by the very next instruction, and nothing else gets
//!   there: the consumer may rely on `top`.
//! - Loop instructions come in matching pairs.
//! - Variable arguments are used only in a function that prepares them, first thing.
//! - Line and variable tables are ordered and in range.
//!
//! What registers hold is *not* proved: the interpreter checks the type of every value it uses.
//!
//! # Why what is accepted is memory-safe
//!
//! The interpreter reads code, registers, constants and upvalues through raw pointers. That is sound if the following holds whenever an
//! instruction of the top frame begins, for a frame that runs closure *f*, made of prototype *p*:
//!
//! 1. `pc` is at an instruction of *p*'s code, all of whose words are in the code.
//! 2. The stack holds `base + register_count` slots or more, each with a valid value.
//! 3. *f* has as many upvalues as *p* describes, and each is closed or lies in a stack that is alive.
//! 4. If the instruction consumes an open list, `top` is at or above its first slot and within the stack.
//!
//! *It holds at the start of a call.* Code has at least one instruction (its last one ends it), so its first word is one (1). Entering grows the
//! stack to the callee's registers and more; slots are made as nil (2). A closure is made in two ways: by `Closure`, which takes exactly
//! what the child describes, registers below the parent's `register_count` (so 2 holds for them) or the parent's upvalues (3 for the
//! parent); or by the host, which fills them all (3). The first instruction consumes no list (4): a consumer needs an opener before it.
//! `VarArgPrep` is the first instruction of functions that have variable arguments and of no others, is no target of a jump, and moves
//! `base` once, growing the stack for it (2).
//!
//! *Each instruction keeps it.* (1) The next instruction begins where this one's words end: the walk over the code goes just so, and the last
//! instruction is one after which control never goes on. A jump goes to a place where the walk saw an instruction begin; `LoadFalseSkip` too.
//! (2) Only calls, returns and what they lead to change the stack's length, and never below what the top frame has; results of a call go to
//! the registers from `A` on, as many as the instruction says (they are in range) or, for an open list, with the stack grown for them. (3)
//! Nothing removes upvalues; they are closed before the stack slot they lie in goes to another frame. (4) An opener is followed by its consumer
//! at once and no jump goes there, so a consumer runs right after its opener, which has set `top` to the end of its values. They begin at
//! the opener's `A`, and that is not below the consumer's first slot. Hooks and collections in between keep `top`.
//!
//! *So each access is in bounds:*
//!
//! | access | because |
//! |--|--|
//! | first and trailing word | 1; a missing trailing word is refused |
//! | the opcode, by transmuting a byte | known opcodes only |
//! | registers `A`, `B`, `C` | operands below `register_count`, and 2 |
//! | groups of registers (calls, loops, lists, `Concat`, `SelfField`) | the last one of the group is below `register_count` |
//! | open lists | 4 |
//! | constants | in range; where the interpreter takes a short string for granted, the kind is checked here |
//! | upvalues | the operand is below their number, and 3 |
//! | child functions | in range |
//!
//! *What does not matter for memory:* which values registers hold, as each use looks at the tag; whether loops are what a compiler would
//! make of them, as a loop whose registers were changed ends; what inline caches say, as entries of tables are found by them only after
//! their key was compared (they are zero here, so that equal functions are equal bytes); line and variable tables, which
//! debuggers index with checks. Sizes that `NewTable` announces are bounded by the code, so they are no way to take memory for nothing.
//!
//! *Frames from an image* begin in the middle. `vm/src/image/frames.rs` takes them only where a running frame can stand, with 1 to 4, and
//! goes on from there as above.
//!
//! *Runs inside a run* (`vm/src/interpreter/nested.rs`): a native function may go on in a dispatch loop of its own. What is above it on the
//! thread's stack keeps no pointer into Lua's stack or code over that: after each slow operation `base` and the frame are loaded again. A
//! nested run comes back to it only if the frame at its floor is the one that it was begun for, in the same coroutine and with no
//! error thrown meanwhile; otherwise all of them are left, and the frames, which are complete at each instruction, are gone on with
//! from outside. No collection happens before all are left, so closures, code and constants that they refer to stay.
//!
//! *Functions compiled to WebAssembly* (`vm/translator`) make the same accesses as the interpreter, with the operands as numbers in the
//! code, so 1 to 4 and the table hold for them. Three things come on top:
//!
//! - *Where it goes on.* A compiled function is entered only at the place of an instruction of its own prototype, with its frame on top. It
//!   goes on after a call only if that left the frame on top at the next instruction; anything else returns to the driver. The base of its
//!   registers is loaded again after whatever may move the stack, and what was read from a register before is read again.
//! - *Registers whose type is not looked at.* That a register is an integer or a float is concluded from the code between two entries, and
//!   looked at where the function is entered (`Entry::guards`). Others can change a register only in two ways. Closures that capture it:
//!   such registers are never taken for anything. And `debug.setlocal`, however indirectly it was called: changes are counted, and after
//!   a call during which there was one all compiled functions are left.
//! - *Lifetimes.* A compiled function holds addresses of its prototype's code and constants. It is called only through a closure with that
//!   prototype, which a frame refers to, and is released with the prototype.
//!
//! In a checking build the interpreter asserts what the table says (`vm/src/interpreter/checks.rs`). Compiled functions that were changed at random
//! and accepted run under it in `tests/tests/verified_code.rs` and in the fuzz target `verifier`.

mod rules;

use super::function::{FunctionParts, LineEntry, LocalVariable};
use super::instruction::Instruction;
use super::opcode::Opcode;
use rules::{Bounds, Rules, sequence};

/// How deeply functions nest, at most.
const NESTING_MAX: usize = 200;

const REGISTERS_MIN: usize = 2;
const UPVALUES_MAX: usize = 255;

/// The longest string that field instructions take as a key, in bytes.
pub const SHORT_STRING_BYTES_MAX: usize = 40;

/// Array items per word of code that a `NewTable` may ask room for; a `SetList` stores no more.
const ARRAY_ITEMS_PER_WORD: usize = 255;

/// A function, and all functions inside it, that the interpreter may run.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified(FunctionParts);

/// The rule that a function breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid bytecode in the function at line {line_defined}, instruction {pc}: {violation}")]
pub struct VerifyError {
    /// The line where the function is defined; 0 for a main function.
    pub line_defined: u32,
    /// The instruction's position; 0 for a rule about the function as a whole.
    pub pc: usize,
    pub violation: Violation,
}

/// A broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    #[error("functions nest too deeply")]
    NestingTooDeep,
    #[error("register count or parameter count out of range")]
    RegisterCount,
    #[error("upvalue description out of range")]
    UpvalueDescription,
    #[error("code too long")]
    CodeTooLong,
    #[error("unknown opcode")]
    UnknownOpcode,
    #[error("trailing word missing")]
    TrailingWordMissing,
    #[error("inline cache not empty")]
    CacheNotEmpty,
    #[error("unused operand not zero")]
    UnusedOperand,
    #[error("flag neither 0 nor 1")]
    Flag,
    #[error("register out of range")]
    Register,
    #[error("constant out of range")]
    Constant,
    #[error("constant of the wrong kind")]
    ConstantKind,
    #[error("upvalue out of range")]
    Upvalue,
    #[error("child function out of range")]
    Function,
    #[error("count out of range")]
    Count,
    #[error("jump target is not an instruction")]
    JumpTarget,
    #[error("jump past the start of an open list")]
    JumpToConsumer,
    #[error("open list without its other half")]
    OpenList,
    #[error("skip over something that is not one whole instruction")]
    Skip,
    #[error("loop instruction without its partner")]
    Loop,
    #[error("variable arguments not prepared or prepared wrongly")]
    VarArg,
    #[error("control runs past the end")]
    End,
    #[error("line table not in order")]
    Lines,
    #[error("variable table out of range or not in order")]
    Locals,
}

impl Verified {
    pub fn parts(&self) -> &FunctionParts {
        &self.0
    }

    pub fn into_parts(self) -> FunctionParts {
        self.0
    }
}

/// Checks a function and all functions inside it. The upvalue descriptions of the outermost function are not looked at: it
/// has no enclosing function that they could refer to.
pub fn verify(parts: FunctionParts) -> Result<Verified, VerifyError> {
    match verify_tree(&parts) {
        Ok(()) => Ok(Verified(parts)),
        Err(error) => {
            drop_without_recursion(parts);
            Err(error)
        }
    }
}

fn verify_tree(root: &FunctionParts) -> Result<(), VerifyError> {
    let mut waiting: Vec<(&FunctionParts, Option<&FunctionParts>, usize)> = vec![(root, None, 1)];
    while let Some((parts, parent, depth)) = waiting.pop() {
        let place = |(pc, violation)| VerifyError { line_defined: parts.line_defined, pc, violation };
        if depth > NESTING_MAX {
            return Err(place((0, Violation::NestingTooDeep)));
        }
        verify_header(parts, parent).map_err(|violation| place((0, violation)))?;
        Checker::new(parts).check().map_err(place)?;
        verify_lines(&parts.lines, parts.code.len()).map_err(|violation| place((0, violation)))?;
        verify_locals(&parts.locals, parts).map_err(|violation| place((0, violation)))?;
        waiting.extend(parts.functions.iter().map(|child| (child, Some(parts), depth + 1)));
    }
    Ok(())
}

/// Rejected parts may nest too deeply to be dropped as they are.
fn drop_without_recursion(parts: FunctionParts) {
    let mut waiting = vec![parts];
    while let Some(mut parts) = waiting.pop() {
        waiting.append(&mut parts.functions);
    }
}

fn verify_header(parts: &FunctionParts, parent: Option<&FunctionParts>) -> Result<(), Violation> {
    let registers = usize::from(parts.register_count);
    if registers < REGISTERS_MIN || usize::from(parts.parameter_count) > registers {
        return Err(Violation::RegisterCount);
    }
    if parts.upvalues.len() > UPVALUES_MAX {
        return Err(Violation::UpvalueDescription);
    }
    if let Some(parent) = parent {
        for upvalue in &parts.upvalues {
            let limit = if upvalue.in_stack { usize::from(parent.register_count) } else { parent.upvalues.len() };
            if usize::from(upvalue.index) >= limit {
                return Err(Violation::UpvalueDescription);
            }
        }
    }
    if parts.code.len() > i32::MAX as usize {
        return Err(Violation::CodeTooLong);
    }
    Ok(())
}

fn verify_lines(lines: &[LineEntry], code_length: usize) -> Result<(), Violation> {
    let in_order = lines.windows(2).all(|pair| pair[0].pc < pair[1].pc);
    let in_range = lines.last().is_none_or(|last| (last.pc as usize) < code_length);
    if in_order && in_range { Ok(()) } else { Err(Violation::Lines) }
}

fn verify_locals(locals: &[LocalVariable], parts: &FunctionParts) -> Result<(), Violation> {
    let in_order = locals.windows(2).all(|pair| pair[0].start_pc <= pair[1].start_pc);
    let in_range = locals.iter().all(|local| {
        local.register < parts.register_count
            && local.start_pc <= local.end_pc
            && local.end_pc as usize <= parts.code.len()
    });
    if in_order && in_range { Ok(()) } else { Err(Violation::Locals) }
}

/// A violation at a position.
type Located = (usize, Violation);

/// What begins at a word of code, if anything.
mod place {
    pub const INSTRUCTION: u8 = 1;
    /// An instruction that ends an open list.
    pub const CONSUMER: u8 = 2;
}

/// The check of one function's code.
struct Checker<'p> {
    parts: &'p FunctionParts,
    bounds: Bounds,
    /// Of each word, a [`place`] or 0.
    places: Vec<u8>,
    /// Where instructions are from which control may go elsewhere than to the next one.
    jumps: Vec<u32>,
}

impl<'p> Checker<'p> {
    fn new(parts: &'p FunctionParts) -> Self {
        Checker { parts, bounds: Bounds::new(parts), places: vec![0; parts.code.len()], jumps: Vec::new() }
    }

    // By itself, for its loop to have all registers.
    #[inline(never)]
    fn check(mut self) -> Result<(), Located> {
        let code = &self.parts.code[..];
        let mut pc = 0;
        let mut last = 0;
        // The instruction before, if something is to come after it.
        let mut opened = (0, Instruction(0));
        while let Some(&word) = code.get(pc) {
            let instruction = Instruction(word);
            let at = |violation| (pc, violation);
            let rules = Rules::of_number(instruction.opcode_byte()).ok_or(at(Violation::UnknownOpcode))?;
            let end = pc + usize::from(rules.words);
            // The instruction itself if it has no other word, about which there is no rule then.
            let Some(&trailing) = code.get(end - 1) else {
                return Err(at(self.bounds.violation(rules, instruction, None)));
            };
            if !self.bounds.fits(rules, instruction, trailing) {
                return Err(at(self.bounds.violation(rules, instruction, Some(trailing))));
            }
            self.places[pc] = place::INSTRUCTION;
            if !rules.is_plain || opened.0 != 0 {
                if !self.bounds.extent_fits(rules, instruction) {
                    return Err(at(Violation::Register));
                }
                if rules.is_special {
                    self.check_special(pc, rules.opcode, instruction).map_err(at)?;
                }
                if opened.0 | rules.sequence != 0 {
                    let sequence = check_sequence(opened, rules, instruction).map_err(at)?;
                    if sequence & sequence::CONSUMES != 0 {
                        self.places[pc] = place::CONSUMER;
                    }
                    opened = (sequence & sequence::OPENING, instruction);
                }
                if rules.jumps {
                    self.jumps.push(pc as u32);
                }
            }
            (last, pc) = (pc, end);
        }
        match self.opcode_at(last) {
            Some(Opcode::Return | Opcode::Return0 | Opcode::Return1 | Opcode::TailCall | Opcode::Jump) => {}
            _ => return Err((pc.saturating_sub(1), Violation::End)),
        }
        self.check_preparation().map_err(|violation| (0, violation))?;
        self.check_targets()
    }

    fn opcode_at(&self, pc: usize) -> Option<Opcode> {
        Instruction(*self.parts.code.get(pc)?).opcode()
    }

    /// Where the jump at `pc`, whose trailing word exists, goes.
    fn jump_target(&self, pc: usize) -> Option<usize> {
        let offset = *self.parts.code.get(pc + 1)? as i32;
        usize::try_from(pc as i64 + 2 + i64::from(offset)).ok()
    }

    /// A function prepares its variable arguments, if it has them, first thing.
    fn check_preparation(&self) -> Result<(), Violation> {
        let is_prepared = self.opcode_at(0) == Some(Opcode::VarArgPrep);
        if is_prepared == self.parts.is_vararg { Ok(()) } else { Err(Violation::VarArg) }
    }

    /// The rules that few opcodes have.
    #[inline(never)]
    fn check_special(&self, pc: usize, opcode: Opcode, instruction: Instruction) -> Result<(), Violation> {
        let (fits, violation) = match opcode {
            Opcode::Concat => (instruction.b() >= 2, Violation::Count),
            Opcode::TForCall => (instruction.c() >= 1, Violation::Count),
            Opcode::VarArgPrep => {
                (pc == 0 && instruction.a() == usize::from(self.parts.parameter_count), Violation::VarArg)
            }
            _ => (self.parts.is_vararg, Violation::VarArg),
        };
        if fits { Ok(()) } else { Err(violation) }
    }

    /// Targets are instructions, not consumers of open lists; loop instructions jump to their partners.
    fn check_targets(&self) -> Result<(), Located> {
        for &pc in &self.jumps {
            let pc = pc as usize;
            let at = |violation| (pc, violation);
            let opcode = self.opcode_at(pc).ok_or(at(Violation::UnknownOpcode))?;
            let is_skip = opcode == Opcode::LoadFalseSkip;
            let target = if is_skip { Some(pc + 2) } else { self.jump_target(pc) };
            let place = target.and_then(|target| self.places.get(target)).copied().unwrap_or(0);
            let (Some(target), true) = (target, place != 0) else {
                return Err(at(if is_skip { Violation::Skip } else { Violation::JumpTarget }));
            };
            if place == place::CONSUMER {
                return Err(at(Violation::JumpToConsumer));
            }
            if target == 0 && self.parts.is_vararg {
                return Err(at(Violation::VarArg)); // The arguments are prepared once.
            }
            let is_paired = match opcode {
                Opcode::ForPrep => {
                    self.is_partner(pc, target.wrapping_sub(2), Opcode::ForLoop)
                        && self.jump_target(target.wrapping_sub(2)) == Some(pc + 2)
                }
                Opcode::ForLoop => self.is_partner(pc, target.wrapping_sub(2), Opcode::ForPrep),
                Opcode::TForPrep => self.is_partner(pc, target, Opcode::TForCall),
                Opcode::TForLoop => self.is_partner(pc, target.wrapping_sub(2), Opcode::TForPrep),
                _ => true,
            };
            if !is_paired {
                return Err(at(Violation::Loop));
            }
        }
        Ok(())
    }

    /// Whether an instruction `opcode` begins at `partner` and has the same `A` as the one at `pc`.
    fn is_partner(&self, pc: usize, partner: usize, opcode: Opcode) -> bool {
        self.places.get(partner).is_some_and(|place| *place != 0)
            && self.opcode_at(partner) == Some(opcode)
            && Instruction(self.parts.code[partner]).a() == Instruction(self.parts.code[pc]).a()
    }
}

/// The rules about two instructions in a row, of which there may be some about one of the two. What there is about the second one.
// Kept out of the loop over the code, which it would leave without registers.
#[inline(never)]
fn check_sequence(
    (opened, previous): (u8, Instruction),
    rules: &Rules,
    instruction: Instruction,
) -> Result<u8, Violation> {
    let opens = if instruction.c() == 0 { sequence::OPENS } else { 0 };
    let consumes = if instruction.b() == 0 { sequence::CONSUMES } else { 0 };
    let sequence = rules.sequence & (opens | consumes | !sequence::LISTS);
    match (opened & sequence::OPENS != 0, sequence & sequence::CONSUMES != 0) {
        (false, false) => {}
        (true, true) => {
            // The values in between, if any, are in registers that the consumer reads too.
            let first = instruction.a() + usize::from(rules.opcode != Opcode::Return);
            if previous.a() < first {
                return Err(Violation::OpenList);
            }
        }
        _ => return Err(Violation::OpenList),
    }
    match (opened & sequence::LOOP_CALL != 0, sequence & sequence::LOOP_END != 0) {
        (false, false) => {}
        (true, true) if previous.a() == instruction.a() => {}
        _ => return Err(Violation::Loop),
    }
    if opened & sequence::SKIP != 0 && rules.words != 1 {
        return Err(Violation::Skip);
    }
    Ok(sequence)
}

#[cfg(test)]
mod tests;
