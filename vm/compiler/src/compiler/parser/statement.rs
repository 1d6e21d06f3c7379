//! Statements (manual §3.3).

use super::{Parsed, Parser, Prefix};
use crate::compiler::SyntaxError;
use crate::compiler::ast::{
    Block, Clause, Expression, ExpressionKind, GenericFor, GotoId, LabelId, LocalDeclaration, NumericFor, Statement,
    Suffixed, While,
};
use crate::compiler::scope::Attribute;
use crate::compiler::symbol::Symbol;
use crate::compiler::token::Token;

impl Parser<'_> {
    /// Statements up to the end of the block.
    pub(super) fn statement_list(&mut self) -> Parsed<Block> {
        let mut block = Block::default();
        while !self.token.ends_block(true) {
            let is_return = self.token == Token::Return;
            self.statement(&mut block)?;
            if is_return {
                break; // A return is the last statement.
            }
        }
        block.end_line = self.last_line;
        Ok(block)
    }

    /// Statements in a scope of their own.
    fn block(&mut self) -> Parsed<Block> {
        self.scope().enter_block(false);
        let block = self.statement_list()?;
        self.scope().leave_block();
        Ok(block)
    }

    /// Parses one statement and appends what it generates.
    fn statement(&mut self, block: &mut Block) -> Parsed<()> {
        let line = self.lexer.line();
        self.enter_level()?;
        let statement = match self.token {
            Token::Character(b';') => {
                self.advance()?;
                None
            }
            Token::DoubleColon => Some(self.label_statement(line, block)?),
            Token::If => Some(self.if_statement(line)?),
            Token::While => Some(self.while_statement(line)?),
            Token::Do => {
                self.advance()?;
                let inner = self.block()?;
                self.expect_match(Token::End, Token::Do, line)?;
                Some(Statement::Do(inner))
            }
            Token::For => Some(self.for_statement(line)?),
            Token::Repeat => Some(self.repeat_statement(line)?),
            Token::Function => Some(self.function_statement(line)?),
            Token::Local => self.local_or_function_statement()?,
            Token::Return => Some(self.return_statement(line)?),
            Token::Break => Some(self.break_statement(line)?),
            Token::Goto => Some(self.goto_statement()?),
            _ => Some(self.expression_statement()?),
        };
        block.statements.extend(statement);
        self.leave_level();
        Ok(())
    }

    #[inline(never)]
    fn label_statement(&mut self, line: u32, block: &mut Block) -> Parsed<Statement> {
        self.advance()?;
        let name = self.expect_name()?;
        self.expect(Token::DoubleColon)?;
        // Statements without effect do not keep a label from being the last of its block.
        while matches!(self.token, Token::Character(b';') | Token::DoubleColon) {
            self.statement(block)?;
        }
        if let Some(line) = self.scope().label_line(name) {
            return Err(self.repeated_label_error(name, line));
        }
        let is_last = self.token.ends_block(false);
        let label = self.place_label(name, line, is_last)?;
        Ok(Statement::Label { label, line: self.last_line })
    }

    fn place_label(&mut self, name: Symbol, line: u32, is_last: bool) -> Parsed<LabelId> {
        self.scope().add_label(name, line, is_last).map_err(|jump| {
            let symbols = self.lexer.symbols();
            let place = format!("> at line {} jumps into the scope of local '", jump.line);
            let (label, variable) = (symbols.text(name), symbols.text(jump.variable));
            self.lexer.error(&[b"<goto ", label, place.as_bytes(), variable, b"'"].concat())
        })
    }

    fn repeated_label_error(&self, name: Symbol, line: u32) -> Box<SyntaxError> {
        let place = format!("' already defined on line {line}");
        self.lexer.error(&[b"label '", self.lexer.symbols().text(name), place.as_bytes()].concat())
    }

    #[inline(never)]
    fn goto_statement(&mut self) -> Parsed<Statement> {
        self.advance()?;
        let line = self.lexer.line(); // C Lua reports the label's line.
        let name = self.expect_name()?;
        let goto = self.scope().add_goto(name, line);
        Ok(Statement::Goto { goto: GotoId(goto as u32), line })
    }

    fn break_statement(&mut self, line: u32) -> Parsed<Statement> {
        self.advance()?;
        if !self.scope().is_in_loop() {
            self.scope().add_stray_break(line);
        }
        Ok(Statement::Break { line })
    }

    #[inline(never)]
    fn if_statement(&mut self, line: u32) -> Parsed<Statement> {
        let mut clauses = vec![self.clause()?];
        while self.token == Token::ElseIf {
            clauses.push(self.clause()?);
        }
        let otherwise = if self.accept(Token::Else)? { Some(self.block()?) } else { None };
        self.expect_match(Token::End, Token::If, line)?;
        Ok(Statement::If { clauses, otherwise })
    }

    /// `if condition then block` or the same with `elseif`.
    #[inline(never)]
    fn clause(&mut self) -> Parsed<Clause> {
        self.advance()?;
        let condition = self.expression()?;
        self.expect(Token::Then)?;
        let then_line = self.last_line;
        Ok(Clause { condition, then_line, block: self.block()? })
    }

    #[inline(never)]
    fn while_statement(&mut self, line: u32) -> Parsed<Statement> {
        self.advance()?;
        let condition = self.expression()?;
        self.scope().enter_block(true);
        self.expect(Token::Do)?;
        let do_line = self.last_line;
        let block = self.block()?;
        self.expect_match(Token::End, Token::While, line)?;
        self.scope().leave_block();
        Ok(Statement::While(Box::new(While { condition, do_line, block, end_line: self.last_line })))
    }

    #[inline(never)]
    fn repeat_statement(&mut self, line: u32) -> Parsed<Statement> {
        self.advance()?;
        self.scope().enter_block(true);
        self.scope().enter_block(false);
        let block = self.statement_list()?;
        self.expect_match(Token::Until, Token::Repeat, line)?;
        // The condition sees the block's locals.
        let condition = Box::new(self.expression()?);
        self.scope().leave_block();
        self.scope().leave_block();
        Ok(Statement::Repeat { block, condition })
    }

    fn for_statement(&mut self, line: u32) -> Parsed<Statement> {
        self.scope().enter_block(true);
        self.advance()?;
        let name = self.expect_name()?;
        let statement = match self.token {
            Token::Character(b'=') => self.numeric_for(name, line)?,
            Token::Character(b',') | Token::In => self.generic_for(name)?,
            _ => return Err(self.error_near(b"'=' or 'in' expected")),
        };
        self.expect_match(Token::End, Token::For, line)?;
        self.scope().leave_block();
        Ok(statement)
    }

    #[inline(never)]
    fn numeric_for(&mut self, name: Symbol, line: u32) -> Parsed<Statement> {
        self.declare_hidden(3, Attribute::Regular)?;
        self.declare(name, Attribute::Regular)?;
        self.advance()?;
        let start = self.expression()?;
        self.expect(Token::Character(b','))?;
        let limit = self.expression()?;
        let step = if self.accept(Token::Character(b','))? { Some(self.expression()?) } else { None };
        let state = self.scope().activate(3);
        self.expect(Token::Do)?;
        let do_line = self.last_line;
        let block = self.for_block(1)?;
        let end_line = self.lexer.line();
        let numeric_for = NumericFor { start, limit, step, state, block, line, do_line, end_line };
        Ok(Statement::NumericFor(Box::new(numeric_for)))
    }

    #[inline(never)]
    fn generic_for(&mut self, name: Symbol) -> Parsed<Statement> {
        self.declare_hidden(3, Attribute::Regular)?;
        self.declare_hidden(1, Attribute::Close)?;
        self.declare(name, Attribute::Regular)?;
        let mut variable_count = 1;
        while self.accept(Token::Character(b','))? {
            let name = self.expect_name()?;
            self.declare(name, Attribute::Regular)?;
            variable_count += 1;
        }
        self.expect(Token::In)?;
        // Where PUC Lua says that the iterator is called: the first token after `in`.
        let line = self.lexer.line();
        let values = self.expression_list()?;
        let state = self.scope().activate(4);
        self.expect(Token::Do)?;
        let do_line = self.last_line;
        let block = self.for_block(variable_count)?;
        let end_line = self.lexer.line();
        let generic_for = GenericFor { values, state, variable_count, block, line, do_line, end_line };
        Ok(Statement::GenericFor(Box::new(generic_for)))
    }

    /// A loop's body, whose first `variable_count` locals are declared already.
    fn for_block(&mut self, variable_count: usize) -> Parsed<Block> {
        self.scope().enter_block(false);
        self.scope().activate(variable_count);
        let block = self.block()?;
        self.scope().leave_block();
        Ok(block)
    }

    #[inline(never)]
    fn function_statement(&mut self, line: u32) -> Parsed<Statement> {
        self.advance()?;
        let name_line = self.lexer.line();
        let name = self.expect_name()?;
        let mut target = self.resolve_name(name, name_line)?;
        let mut suffixes = Vec::new();
        while self.token == Token::Character(b'.') {
            suffixes.push(self.field_suffix()?);
        }
        let is_method = self.token == Token::Character(b':');
        if is_method {
            suffixes.push(self.field_suffix()?);
        }
        if !suffixes.is_empty() {
            let kind = ExpressionKind::Suffixed(Box::new(Suffixed { primary: target.expression, suffixes }));
            target = Prefix { expression: Expression { kind, line: self.last_line }, constant_name: None };
        }
        let function = self.function_body(is_method, line)?;
        self.check_not_constant(&target)?;
        Ok(Statement::Function { target: Box::new(target.expression), function, line, end_line: self.last_line })
    }

    #[inline(never)]
    fn local_or_function_statement(&mut self) -> Parsed<Option<Statement>> {
        self.advance()?;
        if self.accept(Token::Function)? {
            let name = self.expect_name()?;
            self.declare(name, Attribute::Regular)?;
            let local = self.scope().activate(1); // The function sees its own name.
            let line = self.lexer.line();
            let function = self.function_body(false, line)?;
            return Ok(Some(Statement::LocalFunction { local, function, end_line: self.last_line }));
        }
        self.local_statement()
    }

    #[inline(never)]
    fn local_statement(&mut self) -> Parsed<Option<Statement>> {
        let mut count = 0;
        let mut has_close = false;
        loop {
            let name = self.expect_name()?;
            self.declare(name, Attribute::Regular)?;
            let attribute = self.attribute()?;
            if attribute == Attribute::Close {
                if has_close {
                    return Err(self.lexer.error(b"multiple to-be-closed variables in local list"));
                }
                has_close = true;
            }
            self.scope().set_last_attribute(attribute);
            count += 1;
            if !self.accept(Token::Character(b','))? {
                break;
            }
        }
        let line = self.last_line;
        let mut values = if self.accept(Token::Character(b'='))? { self.expression_list()? } else { Vec::new() };
        let constant = match values.last().and_then(Expression::as_literal) {
            Some(literal) if values.len() == count && self.scope().last_attribute() == Attribute::Constant => {
                Some(literal)
            }
            _ => None,
        };
        let first = match constant {
            Some(literal) => {
                values.pop();
                count -= 1;
                self.scope().activate_with_constant(count, literal)
            }
            None => self.scope().activate(count),
        };
        Ok((count > 0).then_some(Statement::Local(LocalDeclaration { first, count, values, line })))
    }

    fn attribute(&mut self) -> Parsed<Attribute> {
        if !self.accept(Token::Character(b'<'))? {
            return Ok(Attribute::Regular);
        }
        let name = self.expect_name()?;
        self.expect(Token::Character(b'>'))?;
        match self.lexer.symbols().text(name) {
            b"const" => Ok(Attribute::Constant),
            b"close" => Ok(Attribute::Close),
            unknown => Err(self.lexer.error(&[b"unknown attribute '", unknown, b"'"].concat())),
        }
    }

    #[inline(never)]
    fn return_statement(&mut self, line: u32) -> Parsed<Statement> {
        self.advance()?;
        let has_values = !self.token.ends_block(true) && self.token != Token::Character(b';');
        let values = if has_values { self.expression_list()? } else { Vec::new() };
        self.accept(Token::Character(b';'))?;
        Ok(Statement::Return { values, line })
    }

    /// A call or an assignment.
    #[inline(never)]
    fn expression_statement(&mut self) -> Parsed<Statement> {
        let first = self.suffixed_expression()?;
        if !matches!(self.token, Token::Character(b'=' | b',')) {
            if !first.expression.is_call() {
                return Err(self.error_near(b"syntax error"));
            }
            return Ok(Statement::Call(first.expression));
        }
        let mut targets = Vec::new();
        self.add_target(&mut targets, first)?;
        let outer_levels = self.levels;
        while self.accept(Token::Character(b','))? {
            let target = self.suffixed_expression()?;
            self.enter_level()?; // C Lua recurses here.
            self.add_target(&mut targets, target)?;
        }
        self.expect(Token::Character(b'='))?;
        let values = self.expression_list()?;
        self.levels = outer_levels;
        Ok(Statement::Assign { targets, values })
    }

    #[inline(never)]
    fn add_target(&mut self, targets: &mut Vec<Expression>, target: Prefix) -> Parsed<()> {
        if target.constant_name.is_none() && !target.expression.is_assignable() {
            return Err(self.error_near(b"syntax error"));
        }
        self.check_not_constant(&target)?;
        targets.push(target.expression);
        Ok(())
    }
}
