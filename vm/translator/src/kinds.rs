//! What registers hold: whether a register can only be an integer, or only a float, at the start of each block.
//!
//! A forward analysis over the blocks. It takes into account what compiled code itself does: where an operand is neither of what the
//! code goes on with, the code leaves, and is entered again only where the guards hold. So `x + 0.5` is a float, whatever metamethods
//! there are. Registers that closures capture are not followed, as other code may change them.

use cu_compiler::bytecode::opcode::Opcode;

use crate::blocks::{Blocks, Located};
use crate::{Constant, Source};

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No path to here was seen yet.
    Unseen,
    Integer,
    Float,
    /// Anything.
    Unknown,
}

impl Kind {
    fn join(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Unseen, kind) | (kind, Kind::Unseen) => kind,
            (left, right) if left == right => left,
            _ => Kind::Unknown,
        }
    }
}

/// The kinds of all registers at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registers {
    kinds: Vec<Kind>,
}

impl Registers {
    fn all(kind: Kind, source: &Source<'_>) -> Registers {
        Registers { kinds: vec![kind; source.register_count as usize] }
    }

    pub(crate) fn kind(&self, register: usize) -> Kind {
        match self.kinds[register] {
            Kind::Unseen => Kind::Unknown,
            kind => kind,
        }
    }

    pub(crate) fn set(&mut self, source: &Source<'_>, register: usize, kind: Kind) {
        let captured = source.captured.contains(&(register as u8));
        self.kinds[register] = if captured { Kind::Unknown } else { kind };
    }

    pub(crate) fn forget_from(&mut self, register: usize) {
        let register = register.min(self.kinds.len());
        self.kinds[register..].fill(Kind::Unknown);
    }

    /// Takes in what is known on another path; whether that changed anything.
    fn join(&mut self, other: &Registers) -> bool {
        let mut changed = false;
        for (kind, other) in self.kinds.iter_mut().zip(&other.kinds) {
            let joined = kind.join(*other);
            changed |= joined != *kind;
            *kind = joined;
        }
        changed
    }

    /// What is known after an instruction.
    pub(crate) fn after(&mut self, source: &Source<'_>, located: Located) {
        let i = located.instruction;
        let constant = |index: usize| match source.constants.get(index) {
            Some(Constant::Integer(_)) => Kind::Integer,
            Some(Constant::Float(_)) => Kind::Float,
            _ => Kind::Unknown,
        };
        let register = |index: usize| self.kind(index);
        let result = match located.opcode {
            Opcode::Move => register(i.b()),
            Opcode::LoadInteger => Kind::Integer,
            Opcode::LoadFloat => Kind::Float,
            Opcode::LoadConstant => constant(i.bx()),
            Opcode::LoadConstantWide => constant(located.word as usize),
            Opcode::Add | Opcode::Sub | Opcode::Mul | Opcode::Mod | Opcode::IDiv => {
                arithmetic(register(i.b()), register(i.c()))
            }
            Opcode::AddI | Opcode::SubI => arithmetic(register(i.b()), Kind::Integer),
            Opcode::AddK | Opcode::SubK | Opcode::MulK | Opcode::ModK | Opcode::IDivK => {
                arithmetic(register(i.b()), constant(i.c()))
            }
            Opcode::Div | Opcode::DivK | Opcode::Pow | Opcode::PowK => Kind::Float,
            Opcode::BAnd
            | Opcode::BOr
            | Opcode::BXor
            | Opcode::BAndK
            | Opcode::BOrK
            | Opcode::BXorK
            | Opcode::Shl
            | Opcode::Shr
            | Opcode::ShlI
            | Opcode::ShrI
            | Opcode::BNot
            | Opcode::Len => Kind::Integer,
            Opcode::Neg => register(i.b()),
            Opcode::ForPrep => {
                let kind = loop_kind(register(i.a()), register(i.a() + 2));
                for counter in 0..4 {
                    self.set(source, i.a() + counter, kind);
                }
                return;
            }
            Opcode::ForLoop => {
                self.set(source, i.a() + 3, self.kind(i.a()));
                return;
            }
            Opcode::TestSet => register(i.a()).join(register(i.b())),
            Opcode::LoadNil => {
                for register in i.a()..=i.a() + i.b() {
                    self.set(source, register, Kind::Unknown);
                }
                return;
            }
            Opcode::LoadFalse
            | Opcode::LoadFalseSkip
            | Opcode::LoadTrue
            | Opcode::GetUpvalue
            | Opcode::GetTabUp
            | Opcode::GetTable
            | Opcode::GetInteger
            | Opcode::GetField
            | Opcode::Not => Kind::Unknown,
            // Calls and what is made at the top of the registers: those above may be cleared.
            Opcode::SelfField | Opcode::NewTable | Opcode::Concat | Opcode::Call | Opcode::VarArg => {
                self.forget_from(i.a());
                return;
            }
            Opcode::Closure => {
                if i.b() == 1 {
                    self.forget_from(i.a());
                } else {
                    self.set(source, i.a(), Kind::Unknown);
                }
                return;
            }
            Opcode::TForCall | Opcode::TForPrep => {
                self.forget_from(i.a() + if located.opcode == Opcode::TForCall { 4 } else { 0 });
                return;
            }
            Opcode::TForLoop => {
                self.set(source, i.a() + 2, Kind::Unknown);
                return;
            }
            Opcode::VarArgPrep => {
                self.forget_from(0);
                return;
            }
            _ => return,
        };
        self.set(source, i.a(), result);
    }
}

/// The kind of a sum: compiled code leaves where an operand is no number.
pub(crate) fn arithmetic(left: Kind, right: Kind) -> Kind {
    match (left, right) {
        (Kind::Integer, Kind::Integer) => Kind::Integer,
        (Kind::Float, _) | (_, Kind::Float) => Kind::Float,
        _ => Kind::Unknown,
    }
}

/// What the counters of a loop are: integers if nothing else is known, as compiled code leaves at other loops.
pub(crate) fn loop_kind(start: Kind, step: Kind) -> Kind {
    match (start, step) {
        (Kind::Float, _) | (_, Kind::Float) => Kind::Float,
        _ => Kind::Integer,
    }
}

/// How often a block is looked at, on average and at most.
const VISITS_MAX: usize = 32;

/// What is known at the start of each block; `None` if it does not show soon.
pub(crate) fn at_block_starts(source: &Source<'_>, blocks: &Blocks) -> Option<Vec<Registers>> {
    let mut starts = vec![Registers::all(Kind::Unseen, source); blocks.count() + 1];
    starts[0] = Registers::all(Kind::Unknown, source);
    let mut waiting = vec![0];
    let mut seen = vec![false; blocks.count() + 1];
    seen[0] = true;
    let mut visits = VISITS_MAX * blocks.count();
    while let Some(block) = waiting.pop() {
        visits = visits.checked_sub(1)?;
        let mut registers = starts[block].clone();
        let mut pc = blocks.range(block).start;
        let end = blocks.range(block).end;
        let mut last = None;
        let mut before = registers.clone();
        while pc < end {
            let located = Located::at(source.code, pc);
            before.clone_from(&registers);
            registers.after(source, located);
            pc = located.next();
            last = Some(located);
        }
        let Some(last) = last else { continue };
        // A loop that does not run, or has ended, leaves its registers as they were.
        let (at_target, at_next) = match last.opcode {
            Opcode::ForPrep => (&before, &registers),
            Opcode::ForLoop => (&registers, &before),
            _ => (&registers, &registers),
        };
        let target = last.target().map(|target| (target, at_target));
        let next = last.falls_through().then_some((last.next(), at_next));
        for (successor, registers) in target.into_iter().chain(next) {
            if successor >= source.code.len() {
                continue;
            }
            let successor = blocks.at(successor);
            let changed = starts[successor].join(registers);
            if changed || !std::mem::replace(&mut seen[successor], true) {
                waiting.push(successor);
            }
        }
    }
    Some(starts)
}

/// The registers that an instruction may write.
pub(crate) fn written(located: Located, count: usize) -> std::ops::Range<usize> {
    let i = located.instruction;
    let (first, end) = match located.opcode {
        Opcode::LoadNil => (i.a(), i.a() + i.b() + 1),
        Opcode::SelfField | Opcode::NewTable | Opcode::Concat | Opcode::Call | Opcode::VarArg => (i.a(), count),
        Opcode::Closure if i.b() == 1 => (i.a(), count),
        Opcode::TForCall => (i.a() + 4, count),
        Opcode::TForPrep => (i.a(), count),
        Opcode::TForLoop => (i.a() + 2, i.a() + 3),
        Opcode::ForPrep | Opcode::ForLoop => (i.a(), i.a() + 4),
        Opcode::VarArgPrep => (0, count),
        Opcode::SetUpvalue
        | Opcode::SetTabUp
        | Opcode::SetTabUpK
        | Opcode::SetTable
        | Opcode::SetTableK
        | Opcode::SetInteger
        | Opcode::SetIntegerK
        | Opcode::SetField
        | Opcode::SetFieldK
        | Opcode::Close
        | Opcode::ToBeClosed
        | Opcode::Jump
        | Opcode::Test
        | Opcode::Eq
        | Opcode::Lt
        | Opcode::Le
        | Opcode::EqK
        | Opcode::EqI
        | Opcode::LtI
        | Opcode::LeI
        | Opcode::GtI
        | Opcode::GeI
        | Opcode::TailCall
        | Opcode::Return
        | Opcode::Return0
        | Opcode::Return1
        | Opcode::SetList => (0, 0),
        _ => (i.a(), i.a() + 1),
    };
    first.min(count)..end.min(count)
}
