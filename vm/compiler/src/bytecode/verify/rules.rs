//! The rules about an instruction by itself.
//!
//! They are numbers in a table, so that looking at an instruction is arithmetic with few branches: which rules it has differs from one to the
//! next, and a processor that guesses wrong loses more time than most of them take.

use super::{ARRAY_ITEMS_PER_WORD, SHORT_STRING_BYTES_MAX, Violation};
use crate::bytecode::function::{Constant, FunctionParts};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::{Opcode, Operand, Trailing};

/// What a word behind an instruction may be below, beside what operands may: a child function's number, a count of array items.
const FUNCTIONS: u8 = Operand::COUNT as u8;
const ITEMS: u8 = FUNCTIONS + 1;
/// More limits than there are, so that any four bits name one.
const LIMITS: usize = 16;

/// What a constant is, in bits.
const SHORT_STRING: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 4;
/// Also one that does not exist.
const ANY: u8 = 128;

/// Instructions that have rules together with the next one, or with the one before.
pub(super) mod sequence {
    /// An open list begins if `C` is 0.
    pub const OPENS: u8 = 1;
    /// An open list ends if `B` is 0.
    pub const CONSUMES: u8 = 2;
    pub const LOOP_CALL: u8 = 4;
    pub const LOOP_END: u8 = 8;
    pub const SKIP: u8 = 16;
    /// Those that ask for something to come after.
    pub const OPENING: u8 = OPENS | LOOP_CALL | SKIP;
    /// Those that depend on operands.
    pub const LISTS: u8 = OPENS | CONSUMES;
}

/// The rules of an opcode.
#[repr(align(32))] // So that finding them takes a shift.
pub(super) struct Rules {
    pub opcode: Opcode,
    /// The limits of the operands and of the trailing word.
    a: u8,
    b: u8,
    c: u8,
    trailing: u8,
    pub words: u8,
    /// Bits of the operands: `B` has sixteen if `C` has none.
    b_bits: u16,
    c_bits: u8,
    extent: Extent,
    /// The bit at which the operand is that is a constant of one of the kinds.
    constant: u8,
    kinds: u8,
    /// Of [`sequence`].
    pub sequence: u8,
    /// Whether control may go elsewhere than to the next instruction.
    pub jumps: bool,
    /// Whether there are rules that few opcodes have.
    pub is_special: bool,
    /// Whether there are none but about its operands and its last word.
    pub is_plain: bool,
}

/// How far the registers go that an instruction uses from `A` on: at least `fixed` further, and as many more as one of the operands says, with
/// bits to leave it out and what is to be taken off it, or as `least`.
#[derive(Clone, Copy)]
struct Extent {
    /// Whether there is a group of registers.
    applies: bool,
    fixed: u8,
    b: (u8, u8),
    c: (u8, u8),
    least: u8,
}

impl Extent {
    const fn for_opcode(opcode: Opcode) -> Extent {
        use Opcode as O;
        const OUT: (u8, u8) = (0, 0);
        const fn less(count: u8) -> (u8, u8) {
            (0xff, count)
        }
        // An operand that is 0 means an open list, which begins at or above A.
        let (fixed, b, c, least) = match opcode {
            O::LoadNil | O::SetList => (0, less(0), OUT, 0),
            O::Concat | O::TailCall => (0, less(1), OUT, 0),
            O::Return => (0, less(2), OUT, 0),
            O::Call => (0, less(1), less(2), 0),
            O::VarArg => (0, OUT, less(2), 0),
            O::SelfField => (1, OUT, OUT, 0),
            O::ForPrep | O::ForLoop | O::TForPrep => (3, OUT, OUT, 0),
            O::TForLoop => (4, OUT, OUT, 0),
            // The call itself works on copies in the registers A+4 to A+6.
            O::TForCall => (3, OUT, less(0), 3),
            _ => return Extent { applies: false, fixed: 0, b: OUT, c: OUT, least: 0 },
        };
        Extent { applies: true, fixed, b, c, least }
    }

    #[inline]
    fn last(self, instruction: Instruction) -> u32 {
        let count = |operand: usize, (bits, less): (u8, u8)| (operand as u8 & bits).saturating_sub(less);
        let more = count(instruction.b(), self.b).max(count(instruction.c(), self.c)).max(self.least);
        instruction.a() as u32 + u32::from(self.fixed) + u32::from(more)
    }
}

/// The rules of all opcodes, by their numbers.
static RULES: [Rules; Opcode::ALL.len()] = {
    let mut table = [const { Rules::for_opcode(Opcode::ALL[0]) }; Opcode::ALL.len()];
    let mut number = 0;
    while number < table.len() {
        table[number] = Rules::for_opcode(Opcode::ALL[number]);
        number += 1;
    }
    table
};

impl Rules {
    /// Those of the opcode with this number, if there is one.
    #[inline]
    pub fn of_number(number: u8) -> Option<&'static Rules> {
        RULES.get(usize::from(number))
    }

    const fn for_opcode(opcode: Opcode) -> Rules {
        use Opcode as O;
        let layout = opcode.layout();
        let trailing = match (layout.trailing, opcode) {
            (Trailing::Cache, _) => Operand::None as u8,
            (_, O::LoadConstantWide) => Operand::Constant as u8,
            (_, O::Closure) => FUNCTIONS,
            (_, O::NewTable) => ITEMS,
            _ => Operand::Unsigned as u8,
        };
        let (constant, kinds) = match opcode {
            O::GetTabUp | O::GetField | O::SelfField => (24, SHORT_STRING),
            O::SetTabUp | O::SetTabUpK | O::SetField | O::SetFieldK => (16, SHORT_STRING),
            O::AddK | O::SubK | O::MulK | O::DivK | O::ModK | O::PowK | O::IDivK => (24, INTEGER | FLOAT),
            O::BAndK | O::BOrK | O::BXorK => (24, INTEGER),
            _ => (24, ANY),
        };
        let sequence = match opcode {
            O::Call => sequence::OPENS | sequence::CONSUMES,
            O::VarArg => sequence::OPENS,
            O::TailCall | O::Return | O::SetList => sequence::CONSUMES,
            O::TForCall => sequence::LOOP_CALL,
            O::TForLoop => sequence::LOOP_END,
            O::LoadFalseSkip => sequence::SKIP,
            _ => 0,
        };
        let extent = Extent::for_opcode(opcode);
        let jumps = matches!(layout.trailing, Trailing::Jump) || matches!(opcode, O::LoadFalseSkip);
        let is_special = matches!(opcode, O::Concat | O::TForCall | O::VarArg | O::VarArgPrep);
        Rules {
            opcode,
            a: layout.a as u8,
            b: layout.b as u8,
            c: layout.c as u8,
            trailing,
            words: opcode.words() as u8,
            b_bits: if layout.wide { 0xffff } else { 0xff },
            c_bits: if layout.wide { 0 } else { 0xff },
            extent,
            constant,
            kinds,
            sequence,
            jumps,
            is_special,
            is_plain: !extent.applies && sequence == 0 && !jumps && !is_special,
        }
    }

    #[inline]
    fn operands(&self, instruction: Instruction) -> [u32; 3] {
        let b = instruction.bx() as u32 & u32::from(self.b_bits);
        let c = instruction.c() as u32 & u32::from(self.c_bits);
        [instruction.a() as u32, b, c]
    }
}

/// What a function's instructions are compared with.
pub(super) struct Bounds {
    /// By the numbers of [`Operand`], then [`FUNCTIONS`] and [`ITEMS`].
    limits: [u64; LIMITS],
    kinds: [u8; 256],
}

impl Bounds {
    pub fn new(parts: &FunctionParts) -> Bounds {
        let mut limits = [u64::MAX; LIMITS];
        limits[Operand::None as usize] = 1;
        limits[Operand::Flag as usize] = 2;
        for register in [Operand::Read, Operand::Write, Operand::Group] {
            limits[register as usize] = parts.register_count.into();
        }
        limits[Operand::Constant as usize] = parts.constants.len() as u64;
        limits[Operand::Upvalue as usize] = parts.upvalues.len() as u64;
        limits[usize::from(FUNCTIONS)] = parts.functions.len() as u64;
        limits[usize::from(ITEMS)] = parts.code.len() as u64 * ARRAY_ITEMS_PER_WORD as u64 + 1;
        let mut kinds = [ANY; 256];
        for (kind, constant) in kinds.iter_mut().zip(&parts.constants) {
            *kind |= match constant {
                Constant::String(text) if text.len() <= SHORT_STRING_BYTES_MAX => SHORT_STRING,
                Constant::Integer(_) => INTEGER,
                Constant::Float(_) => FLOAT,
                _ => 0,
            };
        }
        Bounds { limits, kinds }
    }

    #[inline]
    fn allows(&self, limit: u8, value: u32) -> bool {
        u64::from(value) < self.limits[usize::from(limit) % LIMITS]
    }

    /// Whether the registers exist that an instruction uses from `A` on.
    #[inline]
    pub fn extent_fits(&self, rules: &Rules, instruction: Instruction) -> bool {
        !rules.extent.applies || self.allows(Operand::Read as u8, rules.extent.last(instruction))
    }

    #[inline]
    fn kind_fits(&self, rules: &Rules, instruction: Instruction) -> bool {
        let number = (instruction.0 >> (rules.constant & 31)) as u8;
        self.kinds[usize::from(number)] & rules.kinds != 0
    }

    /// Whether an instruction keeps to the rules about its operands and its last word, which is `trailing`.
    #[inline]
    pub fn fits(&self, rules: &Rules, instruction: Instruction, trailing: u32) -> bool {
        let [a, b, c] = rules.operands(instruction);
        self.allows(rules.a, a)
            & self.allows(rules.b, b)
            & self.allows(rules.c, c)
            & self.kind_fits(rules, instruction)
            & self.allows(rules.trailing, trailing)
    }

    /// The first rule that an instruction breaks which does not fit, or whose last word is missing.
    #[cold]
    pub fn violation(&self, rules: &Rules, instruction: Instruction, trailing: Option<u32>) -> Violation {
        let layout = rules.opcode.layout();
        let operands = [layout.a, layout.b, layout.c].into_iter().zip(rules.operands(instruction));
        for (operand, value) in operands {
            if !self.allows(operand as u8, value) {
                return match operand {
                    Operand::None => Violation::UnusedOperand,
                    Operand::Constant => Violation::Constant,
                    Operand::Upvalue => Violation::Upvalue,
                    Operand::Flag => Violation::Flag,
                    Operand::Read | Operand::Write | Operand::Group | Operand::Unsigned | Operand::Signed => {
                        Violation::Register
                    }
                };
            }
        }
        if !self.kind_fits(rules, instruction) {
            return Violation::ConstantKind;
        }
        debug_assert!(trailing.is_none_or(|word| !self.allows(rules.trailing, word)), "it breaks no rule");
        match rules.opcode {
            _ if trailing.is_none() => Violation::TrailingWordMissing,
            Opcode::LoadConstantWide => Violation::Constant,
            Opcode::Closure => Violation::Function,
            Opcode::NewTable => Violation::Count,
            _ => Violation::CacheNotEmpty,
        }
    }
}
