//! Source bytes to tokens (manual §3.1), with the errors and quoted texts of C Lua's scanner.
//!
//! `text` is the quoted part of a message about the token last read: for a string its contents after escapes, with
//! the opening quote; for an error inside an escape also the raw escape so far.

mod string_literal;

use super::SyntaxError;
use super::symbol::{Symbol, Symbols};
use super::token::Token;
use crate::numeral::{Number, parse_number};

/// Reads the tokens of one chunk.
pub(super) struct Lexer<'s> {
    source: &'s [u8],
    chunk_name: &'s [u8],
    /// The next byte to read.
    position: usize,
    /// The line of the next byte to read, from 1.
    line: u32,
    /// The text of the last name, number or string, as messages quote it.
    text: Vec<u8>,
    symbols: Symbols,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s [u8], chunk_name: &'s [u8]) -> Self {
        Lexer { source, chunk_name, position: 0, line: 1, text: Vec::new(), symbols: Symbols::default() }
    }

    pub(super) fn line(&self) -> u32 {
        self.line
    }

    pub(super) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub(super) fn intern(&mut self, text: &[u8]) -> Symbol {
        self.symbols.intern(text)
    }

    /// An error at the current line, without a quoted token.
    pub(super) fn error(&self, message: &[u8]) -> Box<SyntaxError> {
        SyntaxError::new(self.chunk_name, self.line, message)
    }

    /// An error at the current line that quotes `token`, the last one read.
    pub(super) fn error_near(&self, message: &[u8], token: Token) -> Box<SyntaxError> {
        self.error(&[message, &self.near(token)[..]].concat())
    }

    /// An error that quotes the text gathered so far.
    fn error_near_text(&self, message: &[u8]) -> Box<SyntaxError> {
        self.error(&[message, &self.near_text()[..]].concat())
    }

    /// How a message ends that quotes `token`, the last one read: ` near 'x'`. PUC Lua has no words for a zero byte.
    pub(super) fn near(&self, token: Token) -> Vec<u8> {
        match token {
            Token::Character(0) => Vec::new(),
            _ if token.has_text() => self.near_text(),
            _ => format!(" near {}", token.description()).into_bytes(),
        }
    }

    /// As [`Self::near`] for the text gathered so far, up to a zero byte as in C.
    fn near_text(&self) -> Vec<u8> {
        let shown = self.text.split(|&byte| byte == 0).next().unwrap_or_default();
        [b" near '", shown, b"'"].concat()
    }

    /// The next token.
    pub(super) fn next_token(&mut self) -> Result<Token, Box<SyntaxError>> {
        loop {
            let Some(byte) = self.peek() else {
                return Ok(Token::EndOfSource);
            };
            match byte {
                b'\n' | b'\r' => self.skip_newline(),
                b' ' | b'\t' | 0x0b | 0x0c => self.position += 1,
                b'-' if self.peek_at(1) == Some(b'-') => self.skip_comment()?,
                b'[' => return self.read_bracket(),
                b'"' | b'\'' => return self.read_string(byte),
                b'0'..=b'9' => return self.read_number(),
                b'.' if self.peek_at(1).is_some_and(|next| next.is_ascii_digit()) => {
                    return self.read_number();
                }
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => return Ok(self.read_name()),
                _ => return Ok(self.read_operator(byte)),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.position).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<u8> {
        self.source.get(self.position + offset).copied()
    }

    /// Skips one line break: `\n`, `\r`, `\r\n` or `\n\r`.
    fn skip_newline(&mut self) {
        let first = self.peek();
        self.position += 1;
        if let Some(second @ (b'\n' | b'\r')) = self.peek()
            && Some(second) != first
        {
            self.position += 1;
        }
        self.line += 1;
    }

    fn skip_comment(&mut self) -> Result<(), Box<SyntaxError>> {
        self.position += 2;
        if self.peek() == Some(b'[')
            && let Some(level) = self.long_bracket_level()
        {
            return self.read_long_text(level, "comment");
        }
        while !matches!(self.peek(), None | Some(b'\n' | b'\r')) {
            self.position += 1;
        }
        Ok(())
    }

    /// The number of `=` if a long bracket opens at the current `[`.
    fn long_bracket_level(&self) -> Option<usize> {
        let rest = &self.source[self.position + 1..];
        let level = rest.iter().take_while(|&&byte| byte == b'=').count();
        (rest.get(level) == Some(&b'[')).then_some(level)
    }

    /// A long string or a lone `[`.
    fn read_bracket(&mut self) -> Result<Token, Box<SyntaxError>> {
        if let Some(level) = self.long_bracket_level() {
            self.read_long_text(level, "string")?;
            let delimiter = level + 2;
            let contents = &self.text[delimiter..self.text.len() - delimiter];
            return Ok(Token::String(self.symbols.intern(contents)));
        }
        if self.peek_at(1) != Some(b'=') {
            self.position += 1;
            return Ok(Token::Character(b'['));
        }
        self.text.clear();
        self.text.push(b'[');
        self.position += 1;
        while self.peek() == Some(b'=') {
            self.text.push(b'=');
            self.position += 1;
        }
        Err(self.error_near_text(b"invalid long string delimiter"))
    }

    /// Reads `[==[ … ]==]` into `text`, delimiters included and without a leading line break.
    fn read_long_text(&mut self, level: usize, what: &str) -> Result<(), Box<SyntaxError>> {
        let first_line = self.line;
        let opening = level + 2;
        self.text.clear();
        self.text.extend_from_slice(&self.source[self.position..self.position + opening]);
        self.position += opening;
        if let Some(b'\n' | b'\r') = self.peek() {
            self.skip_newline();
        }
        loop {
            match self.peek() {
                None => {
                    let message = format!("unfinished long {what} (starting at line {first_line})");
                    return Err(self.error_near(message.as_bytes(), Token::EndOfSource));
                }
                Some(b']') => {
                    let equals = self.source[self.position + 1..].iter().take_while(|&&byte| byte == b'=').count();
                    let closes = equals == level && self.peek_at(1 + equals) == Some(b']');
                    let taken = if closes { level + 2 } else { 1 + equals };
                    self.text.extend_from_slice(&self.source[self.position..self.position + taken]);
                    self.position += taken;
                    if closes {
                        return Ok(());
                    }
                }
                Some(b'\n' | b'\r') => {
                    self.text.push(b'\n');
                    self.skip_newline();
                }
                Some(byte) => {
                    self.text.push(byte);
                    self.position += 1;
                }
            }
        }
    }

    fn read_name(&mut self) -> Token {
        let rest = &self.source[self.position..];
        let length = rest.iter().take_while(|&&byte| byte == b'_' || byte.is_ascii_alphanumeric()).count();
        let name = &rest[..length];
        self.position += length;
        Token::keyword(name).unwrap_or_else(|| {
            self.text.clear();
            self.text.extend_from_slice(name);
            Token::Name(self.symbols.intern(name))
        })
    }

    /// Reads everything that looks like a numeral, then parses it.
    fn read_number(&mut self) -> Result<Token, Box<SyntaxError>> {
        let start = self.position;
        if self.peek() == Some(b'.') {
            self.position += 1;
        }
        let hexadecimal = self.peek() == Some(b'0') && matches!(self.peek_at(1), Some(b'x' | b'X'));
        self.position += if hexadecimal { 2 } else { 1 };
        loop {
            match self.peek() {
                Some(b'p' | b'P') if hexadecimal => self.skip_exponent_mark(),
                Some(b'e' | b'E') if !hexadecimal => self.skip_exponent_mark(),
                Some(byte) if byte == b'.' || byte.is_ascii_hexdigit() => self.position += 1,
                _ => break,
            }
        }
        if self.peek().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic()) {
            self.position += 1; // A numeral touching a letter is malformed.
        }
        let numeral = &self.source[start..self.position];
        self.text.clear();
        self.text.extend_from_slice(numeral);
        match parse_number(numeral) {
            Some(Number::Integer(integer)) => Ok(Token::Integer(integer)),
            Some(Number::Float(float)) => Ok(Token::Float(float)),
            None => Err(self.error_near_text(b"malformed number")),
        }
    }

    fn skip_exponent_mark(&mut self) {
        self.position += 1;
        if let Some(b'+' | b'-') = self.peek() {
            self.position += 1;
        }
    }

    fn read_operator(&mut self, byte: u8) -> Token {
        let (token, length) = match (byte, self.peek_at(1)) {
            (b'=', Some(b'=')) => (Token::Equal, 2),
            (b'<', Some(b'=')) => (Token::LessEqual, 2),
            (b'<', Some(b'<')) => (Token::ShiftLeft, 2),
            (b'>', Some(b'=')) => (Token::GreaterEqual, 2),
            (b'>', Some(b'>')) => (Token::ShiftRight, 2),
            (b'/', Some(b'/')) => (Token::FloorDivide, 2),
            (b'~', Some(b'=')) => (Token::NotEqual, 2),
            (b':', Some(b':')) => (Token::DoubleColon, 2),
            (b'.', Some(b'.')) if self.peek_at(2) == Some(b'.') => (Token::Dots, 3),
            (b'.', Some(b'.')) => (Token::Concat, 2),
            _ => (Token::Character(byte), 1),
        };
        self.position += length;
        token
    }
}
