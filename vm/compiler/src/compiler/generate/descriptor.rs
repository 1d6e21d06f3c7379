//! Where an expression's value is, before code for it is complete.

use super::jump::JumpList;

/// An expression under generation. Control may also leave it early through the jumps in its lists: to where the
/// whole is true, or to where it is false.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    pub kind: Kind,
    pub true_list: JumpList,
    pub false_list: JumpList,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Nil,
    False,
    True,
    Integer(i64),
    Float(f64),
    /// `K[n]`
    Constant(usize),
    /// A value in a register that is fixed: a temporary, or a local that has been read.
    Register(usize),
    Local(usize),
    Upvalue(usize),
    /// `R[table][R[key]]`
    Indexed {
        table: usize,
        key: usize,
    },
    /// `R[table][key]`
    IndexedInteger {
        table: usize,
        key: usize,
    },
    /// `R[table][K[key]]`
    IndexedField {
        table: usize,
        key: usize,
    },
    /// `U[upvalue][K[key]]`
    IndexedUpvalue {
        upvalue: usize,
        key: usize,
    },
    /// The instruction at this position, whose `A` is still to be chosen.
    Relocatable(usize),
    /// A `Call` at this position.
    Call(usize),
    /// A `VarArg` at this position.
    VarArg(usize),
    /// A conditional jump at this position, taken when the expression is true.
    Jump(usize),
}

impl Descriptor {
    pub(super) fn new(kind: Kind) -> Self {
        Descriptor { kind, true_list: JumpList::EMPTY, false_list: JumpList::EMPTY }
    }

    pub(super) fn has_jumps(&self) -> bool {
        !self.true_list.is_empty() || !self.false_list.is_empty()
    }

    /// Whether it may yield any number of values.
    pub(super) fn is_multiple(&self) -> bool {
        matches!(self.kind, Kind::Call(_) | Kind::VarArg(_))
    }

    /// Its value as a small unsigned operand.
    pub(super) fn as_unsigned_immediate(&self) -> Option<usize> {
        match self.kind {
            Kind::Integer(value @ 0..=255) if !self.has_jumps() => Some(value as usize),
            _ => None,
        }
    }

    /// Its value as a small signed operand.
    pub(super) fn as_signed_immediate(&self) -> Option<i8> {
        match self.kind {
            Kind::Integer(value @ -128..=127) if !self.has_jumps() => Some(value as i8),
            _ => None,
        }
    }

    pub(super) fn is_numeral(&self) -> bool {
        matches!(self.kind, Kind::Integer(_) | Kind::Float(_)) && !self.has_jumps()
    }
}
