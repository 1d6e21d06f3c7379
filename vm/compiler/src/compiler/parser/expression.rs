//! Expressions (manual §3.4) by operator precedence.

use super::{Parsed, Parser, Prefix};
use crate::compiler::ast::{
    Arguments, BinaryOperator, Expression, ExpressionKind, Literal, Operation, Operations, Suffix, Suffixed, Table,
    TableItem, Unary, UnaryOperator,
};
use crate::compiler::constant_folding::{fold_binary, fold_unary};
use crate::compiler::token::Token;

/// The priority of unary operators.
const UNARY_PRIORITY: u8 = 12;

/// An operand and the operators applied to it so far.
struct Chain {
    first: Expression,
    rest: Vec<Operation>,
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parsed<Expression> {
        self.expression_above(0)
    }

    /// One or more expressions separated by commas.
    pub(super) fn expression_list(&mut self) -> Parsed<Vec<Expression>> {
        let mut list = vec![self.expression()?];
        while self.accept(Token::Character(b','))? {
            list.push(self.expression()?);
        }
        Ok(list)
    }

    /// An expression of operators that bind tighter than `limit`.
    fn expression_above(&mut self, limit: u8) -> Parsed<Expression> {
        self.enter_level()?;
        let first = match unary_operator(self.token) {
            Some(operator) => self.unary_expression(operator)?,
            None => self.simple_expression()?,
        };
        let mut chain = Chain { first, rest: Vec::new() };
        while let Some((operator, left, right)) = binary_operator(self.token)
            && left > limit
        {
            let line = self.lexer.line();
            self.advance()?;
            let operand = self.expression_above(right)?;
            chain.apply(operator, line, operand);
        }
        self.leave_level();
        Ok(chain.into_expression())
    }

    #[inline(never)]
    fn unary_expression(&mut self, operator: UnaryOperator) -> Parsed<Expression> {
        let line = self.lexer.line();
        self.advance()?;
        let operand = self.expression_above(UNARY_PRIORITY)?;
        let operand_line = operand.line;
        if let Some(value) = operand.as_literal().and_then(|literal| fold_unary(operator, literal)) {
            return Ok(Expression::literal(value, operand_line));
        }
        let unary = Unary { operator, line, operand };
        Ok(Expression { kind: ExpressionKind::Unary(Box::new(unary)), line: operand_line })
    }

    #[inline(never)]
    fn simple_expression(&mut self) -> Parsed<Expression> {
        let line = self.lexer.line();
        let kind = match self.token {
            Token::Integer(value) => ExpressionKind::Literal(Literal::Integer(value)),
            Token::Float(value) => ExpressionKind::Literal(Literal::Float(value)),
            Token::String(value) => ExpressionKind::Literal(Literal::String(value)),
            Token::Nil => ExpressionKind::Literal(Literal::Nil),
            Token::True => ExpressionKind::Literal(Literal::True),
            Token::False => ExpressionKind::Literal(Literal::False),
            Token::Dots => {
                if !self.scope().is_vararg {
                    return Err(self.error_near(b"cannot use '...' outside a vararg function"));
                }
                ExpressionKind::VarArg
            }
            Token::Character(b'{') => return self.table(),
            Token::Function => {
                self.advance()?;
                let function = self.function_body(false, line)?;
                return Ok(Expression { kind: ExpressionKind::Function(function), line: self.last_line });
            }
            _ => return Ok(self.suffixed_expression()?.expression),
        };
        self.advance()?;
        Ok(Expression { kind, line })
    }

    /// A name or parenthesised expression and what follows it: fields, indices, calls.
    #[inline(never)]
    pub(super) fn suffixed_expression(&mut self) -> Parsed<Prefix> {
        let prefix = self.primary_expression()?;
        let mut suffixes = Vec::new();
        loop {
            match self.token {
                Token::Character(b'.') => suffixes.push(self.field_suffix()?),
                Token::Character(b'[') => {
                    let key = self.bracketed_key()?;
                    suffixes.push(Suffix::Index { key, line: self.last_line });
                }
                Token::Character(b':') => {
                    self.advance()?;
                    let name_line = self.lexer.line();
                    let name = self.expect_name()?;
                    let arguments = self.call_arguments()?;
                    suffixes.push(Suffix::Method { name, name_line, arguments });
                }
                Token::Character(b'(' | b'{') | Token::String(_) => {
                    suffixes.push(Suffix::Call(self.call_arguments()?));
                }
                _ => break,
            }
        }
        if suffixes.is_empty() {
            return Ok(prefix);
        }
        let kind = ExpressionKind::Suffixed(Box::new(Suffixed { primary: prefix.expression, suffixes }));
        Ok(Prefix { expression: Expression { kind, line: self.last_line }, constant_name: None })
    }

    #[inline(never)]
    fn primary_expression(&mut self) -> Parsed<Prefix> {
        let line = self.lexer.line();
        match self.token {
            Token::Name(name) => {
                self.advance()?;
                self.resolve_name(name, line)
            }
            Token::Character(b'(') => {
                self.advance()?;
                let inner = self.expression()?;
                self.expect_match(Token::Character(b')'), Token::Character(b'('), line)?;
                let line = self.last_line;
                let expression = match inner.as_literal() {
                    Some(literal) => Expression::literal(literal, line),
                    None => Expression { kind: ExpressionKind::Parenthesized(Box::new(inner)), line },
                };
                Ok(Prefix { expression, constant_name: None })
            }
            _ => Err(self.error_near(b"unexpected symbol")),
        }
    }

    /// `.name`
    pub(super) fn field_suffix(&mut self) -> Parsed<Suffix> {
        self.advance()?;
        let name = self.expect_name()?;
        Ok(Suffix::Field { name, line: self.last_line })
    }

    /// `[key]`
    #[inline(never)]
    fn bracketed_key(&mut self) -> Parsed<Expression> {
        self.advance()?;
        let key = self.expression()?;
        self.expect(Token::Character(b']'))?;
        Ok(key)
    }

    /// The arguments of a call. The call, and an unclosed parenthesis, belong to the line where they begin.
    #[inline(never)]
    fn call_arguments(&mut self) -> Parsed<Arguments> {
        let call_line = self.lexer.line();
        let values = match self.token {
            Token::Character(b'(') => {
                self.advance()?;
                let values = if self.token == Token::Character(b')') { Vec::new() } else { self.expression_list()? };
                self.expect_match(Token::Character(b')'), Token::Character(b'('), call_line)?;
                values
            }
            Token::Character(b'{') => vec![self.table()?],
            Token::String(text) => {
                self.advance()?;
                vec![Expression::literal(Literal::String(text), self.last_line)]
            }
            _ => return Err(self.error_near(b"function arguments expected")),
        };
        Ok(Arguments { values, call_line, end_line: self.last_line })
    }

    #[inline(never)]
    fn table(&mut self) -> Parsed<Expression> {
        let line = self.lexer.line();
        self.expect(Token::Character(b'{'))?;
        let mut items = Vec::new();
        while self.token != Token::Character(b'}') {
            items.push(self.table_item()?);
            if !self.accept(Token::Character(b','))? && !self.accept(Token::Character(b';'))? {
                break;
            }
        }
        self.expect_match(Token::Character(b'}'), Token::Character(b'{'), line)?;
        Ok(Expression { kind: ExpressionKind::Table(Box::new(Table { items })), line: self.last_line })
    }

    #[inline(never)]
    fn table_item(&mut self) -> Parsed<TableItem> {
        let token = self.token;
        match token {
            Token::Name(name) if self.peek()? == Token::Character(b'=') => {
                self.advance()?;
                self.expect(Token::Character(b'='))?;
                let line = self.last_line;
                Ok(TableItem::Named { name, line, value: self.expression()? })
            }
            Token::Character(b'[') => {
                let key = self.bracketed_key()?;
                self.expect(Token::Character(b'='))?;
                let line = self.last_line;
                Ok(TableItem::Keyed { key, line, value: self.expression()? })
            }
            _ => Ok(TableItem::Positional(self.expression()?)),
        }
    }
}

impl Chain {
    /// Applies an operator to all that came before it, at compile time if possible.
    fn apply(&mut self, operator: BinaryOperator, line: u32, right: Expression) {
        if self.rest.is_empty()
            && let Some(left) = self.first.as_literal()
        {
            match operator {
                BinaryOperator::And if left.is_truthy() => return self.first = single_value(right),
                BinaryOperator::Or if !left.is_truthy() => return self.first = single_value(right),
                _ => {}
            }
            if let Some(literal) = right.as_literal()
                && let Some(value) = fold_binary(operator, left, literal)
            {
                return self.first = Expression::literal(value, right.line);
            }
        }
        self.rest.push(Operation { operator, line, right });
    }

    fn into_expression(self) -> Expression {
        match self.rest.last() {
            None => self.first,
            Some(last) => {
                let line = last.right.line;
                let operations = Operations { first: self.first, rest: self.rest };
                Expression { kind: ExpressionKind::Operations(Box::new(operations)), line }
            }
        }
    }
}

/// The expression adjusted to one value, as the operand of an operator is.
fn single_value(expression: Expression) -> Expression {
    if !expression.has_multiple_results() {
        return expression;
    }
    let line = expression.line;
    Expression { kind: ExpressionKind::Parenthesized(Box::new(expression)), line }
}

fn unary_operator(token: Token) -> Option<UnaryOperator> {
    match token {
        Token::Not => Some(UnaryOperator::Not),
        Token::Character(b'-') => Some(UnaryOperator::Negate),
        Token::Character(b'~') => Some(UnaryOperator::BitwiseNot),
        Token::Character(b'#') => Some(UnaryOperator::Length),
        _ => None,
    }
}

/// A binary operator with its left and right priority; right below left associates to the right (manual §3.4.8).
fn binary_operator(token: Token) -> Option<(BinaryOperator, u8, u8)> {
    use BinaryOperator as B;
    Some(match token {
        Token::Or => (B::Or, 1, 1),
        Token::And => (B::And, 2, 2),
        Token::Equal => (B::Equal, 3, 3),
        Token::NotEqual => (B::NotEqual, 3, 3),
        Token::LessEqual => (B::LessEqual, 3, 3),
        Token::GreaterEqual => (B::GreaterEqual, 3, 3),
        Token::Character(b'<') => (B::Less, 3, 3),
        Token::Character(b'>') => (B::Greater, 3, 3),
        Token::Character(b'|') => (B::BitwiseOr, 4, 4),
        Token::Character(b'~') => (B::BitwiseXor, 5, 5),
        Token::Character(b'&') => (B::BitwiseAnd, 6, 6),
        Token::ShiftLeft => (B::ShiftLeft, 7, 7),
        Token::ShiftRight => (B::ShiftRight, 7, 7),
        Token::Concat => (B::Concat, 9, 8),
        Token::Character(b'+') => (B::Add, 10, 10),
        Token::Character(b'-') => (B::Subtract, 10, 10),
        Token::Character(b'*') => (B::Multiply, 11, 11),
        Token::Character(b'/') => (B::Divide, 11, 11),
        Token::FloorDivide => (B::FloorDivide, 11, 11),
        Token::Character(b'%') => (B::Modulo, 11, 11),
        Token::Character(b'^') => (B::Power, 14, 13),
        _ => return None,
    })
}
