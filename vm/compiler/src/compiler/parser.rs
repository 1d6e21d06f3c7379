//! Tokens to trees, one function at a time (manual §3.3, §3.4, §9).
//!
//! `functions` is the stack of functions being read, innermost last. Names, labels and constants are resolved on the way;
//! when a function's `end` is read its tree goes to the generator. Recursion is bounded by [`SYNTAX_LEVELS_MAX`],
//! and what it goes through is kept out of line, as in the generator.

mod expression;
mod statement;

use super::SyntaxError;
use super::ast::{Block, ChildFunction, Expression, ExpressionKind, FunctionBody, LocalId, Suffix, Suffixed};
use super::ast::{Upvalue, UpvalueSource, Variable};
use super::generate::generate;
use super::lexer::Lexer;
use super::scope::{Attribute, Binding, FunctionScope};
use super::symbol::Symbol;
use super::token::Token;
use crate::bytecode::function::FunctionParts;

/// How deeply statements, expressions and functions nest; what C Lua's 200 C levels leave to a chunk that
/// a running script loads.
const SYNTAX_LEVELS_MAX: u32 = 197;

/// Local variables of one function in scope at a time, compile-time constants included.
const LOCALS_MAX: usize = 200;

const UPVALUES_MAX: usize = 255;

/// What a token takes at most in the tree of its function, with the room that vectors have to spare, and in the finished code.
const TREE_BYTES: usize = 112;
const CODE_BYTES: usize = 48;

/// Parses and generates a whole chunk within `room` bytes; the second answer is whether they were too few.
pub(super) fn parse_chunk(
    source: &[u8],
    chunk_name: &[u8],
    room: usize,
) -> (Result<FunctionParts, Box<SyntaxError>>, bool) {
    let mut lexer = Lexer::new(source, chunk_name);
    let environment_name = lexer.intern(b"_ENV");
    let mut parser = Parser {
        shared_chunk_name: chunk_name.into(),
        lexer,
        token: Token::EndOfSource,
        lookahead: None,
        last_line: 1,
        levels: 0,
        functions: Vec::new(),
        environment_name,
        room,
        is_too_large: false,
    };
    let result = parser.main_function();
    (result, parser.is_too_large)
}

struct Parser<'s> {
    lexer: Lexer<'s>,
    shared_chunk_name: std::rc::Rc<[u8]>,
    /// The current token.
    token: Token,
    /// The token after it, if it has been read.
    lookahead: Option<Token>,
    /// The line of the last token consumed.
    last_line: u32,
    levels: u32,
    functions: Vec<FunctionScope>,
    environment_name: Symbol,
    /// Bytes that may still be taken.
    room: usize,
    is_too_large: bool,
}

/// An expression that suffixes may follow.
struct Prefix {
    expression: Expression,
    /// The variable's name when the expression is a compile-time constant variable.
    constant_name: Option<Symbol>,
}

/// What a name was found to be.
enum Resolved {
    Variable(Variable),
    Constant(Expression),
}

type Parsed<T> = Result<T, Box<SyntaxError>>;

impl Parser<'_> {
    fn main_function(&mut self) -> Parsed<FunctionParts> {
        let mut main = FunctionScope::new(0);
        main.is_vararg = true;
        // The host puts the environment where the main closure finds its upvalue.
        main.add_upvalue(Upvalue { name: self.environment_name, source: UpvalueSource::Local(LocalId(0)) }, false);
        self.functions.push(main);
        self.advance()?;
        let block = self.statement_list()?;
        if self.token != Token::EndOfSource {
            return Err(self.expected(Token::EndOfSource));
        }
        let (parts, _) = self.finish_function(block, 0, 0)?;
        Ok(parts)
    }

    /// Parses a function from its parameters to `end`; returns its number within the enclosing function.
    #[inline(never)]
    fn function_body(&mut self, is_method: bool, line: u32) -> Parsed<u32> {
        self.open_function(line);
        let room_before = self.room;
        self.expect(Token::Character(b'('))?;
        if is_method {
            let name = self.lexer.intern(b"self");
            self.declare(name, Attribute::Regular)?;
        }
        self.parameters()?;
        let declared = self.scope().variable_count();
        self.scope().activate(declared);
        self.expect(Token::Character(b')'))?;
        let block = self.statement_list()?;
        let last_line_defined = self.lexer.line();
        self.expect_match(Token::End, Token::Function, line)?;
        let number = self.close_function(block, declared as u8, last_line_defined)?;
        // The tree has gone, the code stays.
        let taken = room_before.saturating_sub(self.room);
        self.room = room_before - taken / TREE_BYTES * CODE_BYTES;
        Ok(number)
    }

    /// A function of its own, so that the scope's room on the stack is not part of a recursing frame.
    #[inline(never)]
    fn open_function(&mut self, line: u32) {
        self.functions.push(FunctionScope::new(line));
    }

    /// Generates the innermost function and adds it to the enclosing one; returns its number there.
    #[inline(never)]
    fn close_function(&mut self, block: Block, parameter_count: u8, last_line_defined: u32) -> Parsed<u32> {
        let (parts, captured_locals) = self.finish_function(block, parameter_count, last_line_defined)?;
        let functions = &mut self.scope().functions;
        functions.push(ChildFunction { parts, captured_locals });
        Ok(functions.len() as u32 - 1)
    }

    fn parameters(&mut self) -> Parsed<()> {
        if self.token == Token::Character(b')') {
            return Ok(());
        }
        loop {
            match self.token {
                Token::Name(name) => {
                    self.advance()?;
                    self.declare(name, Attribute::Regular)?;
                }
                Token::Dots => {
                    self.advance()?;
                    self.scope().is_vararg = true;
                    return Ok(());
                }
                _ => return Err(self.error_near(b"<name> or '...' expected")),
            }
            if !self.accept(Token::Character(b','))? {
                return Ok(());
            }
        }
    }

    /// Generates the innermost function and drops its tree. Also returns which locals of the enclosing
    /// function its upvalues capture.
    #[inline(never)]
    fn finish_function(
        &mut self,
        block: Block,
        parameter_count: u8,
        last_line_defined: u32,
    ) -> Parsed<(FunctionParts, Vec<Option<LocalId>>)> {
        if let Some(goto) = self.scope().unresolved_goto() {
            return Err(self.unresolved_goto_error(goto.name, goto.line));
        }
        let Some(scope) = self.functions.pop() else { unreachable!("a function is being parsed") };
        let captured_locals = scope
            .upvalues
            .iter()
            .map(|entry| match entry.upvalue.source {
                UpvalueSource::Local(local) => Some(local),
                UpvalueSource::Upvalue(_) => None,
            })
            .collect();
        let body = FunctionBody {
            line_defined: scope.line_defined,
            last_line_defined,
            parameter_count,
            is_vararg: scope.is_vararg,
            locals: scope.locals,
            upvalues: scope.upvalues.iter().map(|entry| entry.upvalue).collect(),
            labels: scope.labels,
            goto_labels: scope.goto_labels.into_iter().flatten().collect(),
            functions: scope.functions,
            block,
            end_line: self.last_line,
        };
        let parts = generate(body, self.lexer.symbols(), &self.shared_chunk_name).map_err(|error| {
            let message = b"function or expression needs too many registers";
            let message = [message, &self.lexer.near(self.token)[..]].concat();
            SyntaxError::new(&self.shared_chunk_name, error.line, &message)
        })?;
        Ok((parts, captured_locals))
    }

    fn unresolved_goto_error(&self, name: Option<Symbol>, line: u32) -> Box<SyntaxError> {
        match name {
            None => self.lexer.error(format!("break outside loop at line {line}").as_bytes()),
            Some(name) => {
                let name = self.lexer.symbols().text(name);
                let place = format!("' for <goto> at line {line}");
                self.lexer.error(&[b"no visible label '", name, place.as_bytes()].concat())
            }
        }
    }

    /// The innermost function.
    fn scope(&mut self) -> &mut FunctionScope {
        self.functions.last_mut().expect("a function is being parsed")
    }

    fn declare(&mut self, name: Symbol, attribute: Attribute) -> Parsed<()> {
        if self.scope().variable_count() >= LOCALS_MAX {
            let function = self.functions.len() - 1;
            return Err(self.limit_error("local variables", LOCALS_MAX, function));
        }
        self.scope().declare(name, attribute);
        Ok(())
    }

    /// Declares the variables of a `for` loop that have no name in the program.
    fn declare_hidden(&mut self, count: usize, attribute: Attribute) -> Parsed<()> {
        let name = self.lexer.intern(b"(for state)");
        (0..count).try_for_each(|_| self.declare(name, attribute))
    }

    fn limit_error(&self, what: &str, limit: usize, function: usize) -> Box<SyntaxError> {
        let place = match self.functions[function].line_defined {
            0 => "main function".to_string(),
            line => format!("function at line {line}"),
        };
        self.error_near(format!("too many {what} (limit is {limit}) in {place}").as_bytes())
    }

    /// The variable or global that `name` stands for at this place.
    fn resolve_name(&mut self, name: Symbol, line: u32) -> Parsed<Prefix> {
        let resolved = match self.resolve_variable(name)? {
            Some(resolved) => resolved,
            None => return self.resolve_global(name, line),
        };
        Ok(match resolved {
            Resolved::Variable(variable) => Prefix {
                expression: Expression { kind: ExpressionKind::Variable(variable), line },
                constant_name: None,
            },
            Resolved::Constant(value) => Prefix { expression: Expression { line, ..value }, constant_name: Some(name) },
        })
    }

    fn resolve_global(&mut self, name: Symbol, line: u32) -> Parsed<Prefix> {
        let expression = match self.resolve_variable(self.environment_name)? {
            Some(Resolved::Variable(environment)) => {
                Expression { kind: ExpressionKind::Global { environment, name }, line }
            }
            Some(Resolved::Constant(primary)) => {
                let suffixed = Suffixed { primary, suffixes: vec![Suffix::Field { name, line }] };
                Expression { kind: ExpressionKind::Suffixed(Box::new(suffixed)), line }
            }
            None => unreachable!("the main function has an upvalue _ENV"),
        };
        Ok(Prefix { expression, constant_name: None })
    }

    /// Finds `name` in this or an enclosing function, adding upvalues on the way in; `None` for a global.
    fn resolve_variable(&mut self, name: Symbol) -> Parsed<Option<Resolved>> {
        let innermost = self.functions.len() - 1;
        for level in (0..=innermost).rev() {
            let scope = &mut self.functions[level];
            let (variable, read_only) = if let Some((binding, read_only)) = scope.find_variable(name) {
                match binding {
                    Binding::Constant(literal) => {
                        return Ok(Some(Resolved::Constant(Expression::literal(literal, 0))));
                    }
                    Binding::Local(local) => {
                        scope.locals[local.0 as usize].captured |= level < innermost;
                        (Variable::Local(local), read_only)
                    }
                    Binding::Undecided => unreachable!("active variables are bound"),
                }
            } else if let Some(upvalue) = scope.find_upvalue(name) {
                (Variable::Upvalue(upvalue), scope.upvalues[upvalue as usize].read_only)
            } else {
                continue;
            };
            return self.capture(name, variable, read_only, level).map(|found| Some(Resolved::Variable(found)));
        }
        Ok(None)
    }

    /// Makes `variable` of the function at `level` an upvalue of every function inside it.
    fn capture(&mut self, name: Symbol, variable: Variable, read_only: bool, level: usize) -> Parsed<Variable> {
        let mut variable = variable;
        for inner in level + 1..self.functions.len() {
            if self.functions[inner].upvalues.len() >= UPVALUES_MAX {
                return Err(self.limit_error("upvalues", UPVALUES_MAX, inner));
            }
            let source = match variable {
                Variable::Local(local) => UpvalueSource::Local(local),
                Variable::Upvalue(number) => UpvalueSource::Upvalue(number),
            };
            let number = self.functions[inner].add_upvalue(Upvalue { name, source }, read_only);
            variable = Variable::Upvalue(number);
        }
        Ok(variable)
    }

    /// Fails if `target` is a variable that may not be assigned to.
    fn check_not_constant(&mut self, target: &Prefix) -> Parsed<()> {
        let constant_name = match (target.constant_name, &target.expression.kind) {
            (Some(name), _) => Some(name),
            (None, ExpressionKind::Variable(Variable::Local(local))) => {
                let name = self.scope().locals[local.0 as usize].name;
                self.scope().find_variable(name).and_then(|(_, read_only)| read_only.then_some(name))
            }
            (None, ExpressionKind::Variable(Variable::Upvalue(number))) => {
                let entry = &self.scope().upvalues[*number as usize];
                entry.read_only.then_some(entry.upvalue.name)
            }
            _ => None,
        };
        let Some(name) = constant_name else {
            return Ok(());
        };
        let name = self.lexer.symbols().text(name);
        Err(self.lexer.error(&[b"attempt to assign to const variable '", name, b"'"].concat()))
    }

    /// Consumes the current token.
    fn advance(&mut self) -> Parsed<()> {
        self.last_line = self.lexer.line();
        match self.room.checked_sub(TREE_BYTES) {
            Some(room) => self.room = room,
            None => {
                self.is_too_large = true;
                return Err(Box::new(SyntaxError { message: Vec::new(), line: self.last_line }));
            }
        }
        self.token = match self.lookahead.take() {
            Some(token) => token,
            None => self.lexer.next_token()?,
        };
        Ok(())
    }

    /// The token after the current one.
    fn peek(&mut self) -> Parsed<Token> {
        let token = self.lexer.next_token()?;
        self.lookahead = Some(token);
        Ok(token)
    }

    /// Consumes the current token if it is `token`.
    fn accept(&mut self, token: Token) -> Parsed<bool> {
        let found = self.token == token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, token: Token) -> Parsed<()> {
        if !self.accept(token)? {
            return Err(self.expected(token));
        }
        Ok(())
    }

    /// Expects the token that closes what `opening` began on `line`.
    fn expect_match(&mut self, closing: Token, opening: Token, line: u32) -> Parsed<()> {
        if self.token == closing {
            return self.advance();
        }
        if line == self.lexer.line() {
            return Err(self.expected(closing));
        }
        let (closing, opening) = (closing.description(), opening.description());
        Err(self.error_near(format!("{closing} expected (to close {opening} at line {line})").as_bytes()))
    }

    fn expect_name(&mut self) -> Parsed<Symbol> {
        let Token::Name(name) = self.token else {
            return Err(self.error_near(b"<name> expected"));
        };
        self.advance()?;
        Ok(name)
    }

    fn expected(&self, token: Token) -> Box<SyntaxError> {
        self.error_near(format!("{} expected", token.description()).as_bytes())
    }

    fn error_near(&self, message: &[u8]) -> Box<SyntaxError> {
        self.lexer.error_near(message, self.token)
    }

    fn enter_level(&mut self) -> Parsed<()> {
        self.levels += 1;
        if self.levels > SYNTAX_LEVELS_MAX {
            // C Lua raises this one without a position.
            let message = b"C stack overflow".to_vec();
            return Err(Box::new(SyntaxError { message, line: self.lexer.line() }));
        }
        Ok(())
    }

    fn leave_level(&mut self) {
        self.levels -= 1;
    }
}
