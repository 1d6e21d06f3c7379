//! The tree of one function's body: names and labels resolved, constants folded, nested functions already compiled.
//!
//! Chains that a program may make arbitrarily long (statements, operators of one precedence level or falling, suffixes,
//! `elseif` clauses) are vectors; only what the syntax limit bounds is nested.

use super::symbol::Symbol;
use crate::bytecode::function::FunctionParts;

/// A local variable of the function, numbered in order of declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalId(pub u32);

/// A label of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LabelId(pub u32);

/// A `goto` statement of the function; its label may come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GotoId(pub u32);

/// A function with everything the generator needs to know about it.
pub(super) struct FunctionBody {
    pub line_defined: u32,
    pub last_line_defined: u32,
    pub parameter_count: u8,
    pub is_vararg: bool,
    /// Indexed by [`LocalId`]; the parameters come first.
    pub locals: Vec<Local>,
    pub upvalues: Vec<Upvalue>,
    /// Indexed by [`LabelId`].
    pub labels: Vec<Label>,
    /// The label of each `goto`, indexed by [`GotoId`].
    pub goto_labels: Vec<LabelId>,
    pub functions: Vec<ChildFunction>,
    pub block: Block,
    /// The line of the last token.
    pub end_line: u32,
}

/// A local variable that lives in a register.
pub(super) struct Local {
    pub name: Symbol,
    /// Some closure refers to it.
    pub captured: bool,
    pub to_be_closed: bool,
}

/// An upvalue and where the enclosing function finds it.
#[derive(Clone, Copy)]
pub(super) struct Upvalue {
    pub name: Symbol,
    pub source: UpvalueSource,
}

#[derive(Clone, Copy)]
pub(super) enum UpvalueSource {
    Local(LocalId),
    Upvalue(u8),
}

/// A label, once placed.
pub(super) struct Label {
    /// How many locals in registers are in scope there.
    pub active_locals: usize,
}

/// A function defined inside this one.
pub(super) struct ChildFunction {
    /// Complete but for the registers of the locals it captures.
    pub parts: FunctionParts,
    /// For each upvalue the local it captures, if it captures one directly.
    pub captured_locals: Vec<Option<LocalId>>,
}

#[derive(Default)]
pub(super) struct Block {
    pub statements: Vec<Statement>,
    /// The line of the last token before the word that ends the block.
    pub end_line: u32,
}

pub(super) enum Statement {
    Call(Expression),
    Local(LocalDeclaration),
    LocalFunction {
        local: LocalId,
        function: u32,
        end_line: u32,
    },
    /// `function a.b.c() end`: assigns to `target`, on the line of the definition.
    Function {
        target: Box<Expression>,
        function: u32,
        line: u32,
        end_line: u32,
    },
    Assign {
        targets: Vec<Expression>,
        values: Vec<Expression>,
    },
    Do(Block),
    While(Box<While>),
    Repeat {
        block: Block,
        condition: Box<Expression>,
    },
    If {
        clauses: Vec<Clause>,
        otherwise: Option<Block>,
    },
    NumericFor(Box<NumericFor>),
    GenericFor(Box<GenericFor>),
    Goto {
        goto: GotoId,
        line: u32,
    },
    Label {
        label: LabelId,
        /// The line of the last token before what follows.
        line: u32,
    },
    Break {
        line: u32,
    },
    Return {
        values: Vec<Expression>,
        line: u32,
    },
}

/// `local a, b <close> = …`
pub(super) struct LocalDeclaration {
    /// The first of the variables; the others follow it.
    pub first: LocalId,
    pub count: usize,
    pub values: Vec<Expression>,
    /// The line of the last name or attribute.
    pub line: u32,
}

pub(super) struct While {
    pub condition: Expression,
    pub do_line: u32,
    pub block: Block,
    pub end_line: u32,
}

/// `if` or `elseif`.
pub(super) struct Clause {
    pub condition: Expression,
    pub then_line: u32,
    pub block: Block,
}

pub(super) struct NumericFor {
    pub start: Expression,
    pub limit: Expression,
    pub step: Option<Expression>,
    /// The first of the three hidden variables; the visible one follows them.
    pub state: LocalId,
    pub block: Block,
    pub line: u32,
    pub do_line: u32,
    pub end_line: u32,
}

pub(super) struct GenericFor {
    pub values: Vec<Expression>,
    /// The first of the four hidden variables; the visible ones follow them.
    pub state: LocalId,
    pub variable_count: usize,
    pub block: Block,
    pub line: u32,
    pub do_line: u32,
    pub end_line: u32,
}

/// An expression and the line of its last token.
pub(super) struct Expression {
    pub kind: ExpressionKind,
    pub line: u32,
}

pub(super) enum ExpressionKind {
    Literal(Literal),
    VarArg,
    Variable(Variable),
    /// `_ENV.name`.
    Global {
        environment: Variable,
        name: Symbol,
    },
    Suffixed(Box<Suffixed>),
    Unary(Box<Unary>),
    Operations(Box<Operations>),
    /// Adjusts multiple results to one.
    Parenthesized(Box<Expression>),
    Table(Box<Table>),
    /// An index into [`FunctionBody::functions`].
    Function(u32),
}

/// A value known at compile time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Literal {
    Nil,
    False,
    True,
    Integer(i64),
    Float(f64),
    String(Symbol),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Local(LocalId),
    Upvalue(u8),
}

/// `primary.field[key](arguments):method(arguments)…`
pub(super) struct Suffixed {
    pub primary: Expression,
    pub suffixes: Vec<Suffix>,
}

pub(super) enum Suffix {
    Field { name: Symbol, line: u32 },
    Index { key: Expression, line: u32 },
    Call(Arguments),
    Method { name: Symbol, name_line: u32, arguments: Arguments },
}

pub(super) struct Arguments {
    pub values: Vec<Expression>,
    /// The line that errors in the call are reported on.
    pub call_line: u32,
    /// The line of the last token.
    pub end_line: u32,
}

pub(super) struct Unary {
    pub operator: UnaryOperator,
    pub line: u32,
    pub operand: Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnaryOperator {
    Negate,
    BitwiseNot,
    Not,
    Length,
}

/// Operators applied from left to right: `((first op right) op right) …`.
pub(super) struct Operations {
    pub first: Expression,
    pub rest: Vec<Operation>,
}

pub(super) struct Operation {
    pub operator: BinaryOperator,
    pub line: u32,
    pub right: Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BinaryOperator {
    Add,
    Subtract,
    Multiply,
    Modulo,
    Power,
    Divide,
    FloorDivide,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    ShiftLeft,
    ShiftRight,
    Concat,
    Equal,
    Less,
    LessEqual,
    NotEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
}

pub(super) struct Table {
    pub items: Vec<TableItem>,
}

pub(super) enum TableItem {
    Positional(Expression),
    /// `name = value`
    Named {
        name: Symbol,
        line: u32,
        value: Expression,
    },
    /// `[key] = value`
    Keyed {
        key: Expression,
        line: u32,
        value: Expression,
    },
}

impl Expression {
    pub(super) fn literal(literal: Literal, line: u32) -> Self {
        Expression { kind: ExpressionKind::Literal(literal), line }
    }

    pub(super) fn as_literal(&self) -> Option<Literal> {
        match self.kind {
            ExpressionKind::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    pub(super) fn is_call(&self) -> bool {
        match &self.kind {
            ExpressionKind::Suffixed(suffixed) => {
                matches!(suffixed.suffixes.last(), Some(Suffix::Call(_) | Suffix::Method { .. }))
            }
            _ => false,
        }
    }

    /// Whether it can yield any number of values.
    pub(super) fn has_multiple_results(&self) -> bool {
        matches!(self.kind, ExpressionKind::VarArg) || self.is_call()
    }

    /// Whether a value can be assigned to it.
    pub(super) fn is_assignable(&self) -> bool {
        match &self.kind {
            ExpressionKind::Variable(_) | ExpressionKind::Global { .. } => true,
            ExpressionKind::Suffixed(_) => !self.is_call(),
            _ => false,
        }
    }
}

impl Literal {
    pub(super) fn is_truthy(self) -> bool {
        !matches!(self, Literal::Nil | Literal::False)
    }
}

impl Block {
    /// Whether control never reaches the block's end.
    pub(super) fn ends_with_jump(&self) -> bool {
        matches!(
            self.statements.last(),
            Some(Statement::Return { .. } | Statement::Break { .. } | Statement::Goto { .. })
        )
    }
}
