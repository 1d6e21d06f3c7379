//! Quoted strings and their escapes.

use super::Lexer;
use crate::compiler::SyntaxError;
use crate::compiler::token::Token;

impl Lexer<'_> {
    /// Reads a string that opens with `quote` at the current position.
    pub(super) fn read_string(&mut self, quote: u8) -> Result<Token, Box<SyntaxError>> {
        self.text.clear();
        self.text.push(quote);
        self.position += 1;
        loop {
            match self.peek() {
                None => return Err(self.error_near(b"unfinished string", Token::EndOfSource)),
                Some(b'\n' | b'\r') => return Err(self.error_near_text(b"unfinished string")),
                Some(b'\\') => self.read_escape()?,
                Some(byte) => {
                    self.text.push(byte);
                    self.position += 1;
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        let contents = &self.text[1..self.text.len() - 1];
        Ok(Token::String(self.symbols.intern(contents)))
    }

    fn read_escape(&mut self) -> Result<(), Box<SyntaxError>> {
        let start = self.position;
        self.position += 1;
        let byte = match self.peek() {
            None => return Ok(()), // Reported as an unfinished string by the caller.
            Some(b'a') => 0x07,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0b,
            Some(byte @ (b'\\' | b'"' | b'\'')) => byte,
            Some(b'\n' | b'\r') => {
                self.skip_newline();
                self.text.push(b'\n');
                return Ok(());
            }
            Some(b'x') => return self.read_hexadecimal_escape(start),
            Some(b'u') => return self.read_unicode_escape(start),
            Some(b'z') => {
                self.position += 1;
                self.skip_whitespace();
                return Ok(());
            }
            Some(b'0'..=b'9') => return self.read_decimal_escape(start),
            Some(_) => return Err(self.escape_error(start, b"invalid escape sequence")),
        };
        self.text.push(byte);
        self.position += 1;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' | b'\r' => self.skip_newline(),
                b' ' | b'\t' | 0x0b | 0x0c => self.position += 1,
                _ => break,
            }
        }
    }

    fn read_hexadecimal_escape(&mut self, start: usize) -> Result<(), Box<SyntaxError>> {
        let high = self.read_hexadecimal_digit(start)?;
        let low = self.read_hexadecimal_digit(start)?;
        self.position += 1;
        self.text.push((high << 4 | low) as u8);
        Ok(())
    }

    /// Steps to the next byte, which must be a hexadecimal digit, and returns its value.
    fn read_hexadecimal_digit(&mut self, start: usize) -> Result<u32, Box<SyntaxError>> {
        self.position += 1;
        self.hexadecimal_digit().ok_or_else(|| self.escape_error(start, b"hexadecimal digit expected"))
    }

    fn hexadecimal_digit(&self) -> Option<u32> {
        self.peek().and_then(|byte| (byte as char).to_digit(16))
    }

    fn read_decimal_escape(&mut self, start: usize) -> Result<(), Box<SyntaxError>> {
        let mut value = 0;
        for _ in 0..3 {
            let Some(digit @ b'0'..=b'9') = self.peek() else {
                break;
            };
            value = value * 10 + u32::from(digit - b'0');
            self.position += 1;
        }
        let byte = u8::try_from(value).map_err(|_| self.escape_error(start, b"decimal escape too large"))?;
        self.text.push(byte);
        Ok(())
    }

    /// `\u{XXX}`: any code up to 2^31, in the original UTF-8 of up to six bytes.
    fn read_unicode_escape(&mut self, start: usize) -> Result<(), Box<SyntaxError>> {
        self.position += 1;
        if self.peek() != Some(b'{') {
            return Err(self.escape_error(start, b"missing '{'"));
        }
        let mut code = self.read_hexadecimal_digit(start)?;
        self.position += 1;
        while let Some(digit) = self.hexadecimal_digit() {
            if code > 0x7fff_ffff >> 4 {
                return Err(self.escape_error(start, b"UTF-8 value too large"));
            }
            code = code << 4 | digit;
            self.position += 1;
        }
        if self.peek() != Some(b'}') {
            return Err(self.escape_error(start, b"missing '}'"));
        }
        self.position += 1;
        push_utf8(&mut self.text, code);
        Ok(())
    }

    /// An error in the escape that began at `start`; quotes it up to and including the current byte.
    fn escape_error(&mut self, start: usize, message: &[u8]) -> Box<SyntaxError> {
        let end = self.source.len().min(self.position + 1);
        self.text.extend_from_slice(&self.source[start..end]);
        self.error_near_text(message)
    }
}

/// Appends `code` (below 2^31) as UTF-8 without the limits of Unicode.
fn push_utf8(text: &mut Vec<u8>, code: u32) {
    if code < 0x80 {
        text.push(code as u8);
        return;
    }
    // Continuation bytes carry six bits each; the first byte of n carries 7 - n.
    let mut continuation = 1;
    while code >> (6 * continuation) >= 1 << (6 - continuation) {
        continuation += 1;
    }
    let first_mark = !0u8 << (7 - continuation);
    text.push(first_mark | (code >> (6 * continuation)) as u8);
    for index in (0..continuation).rev() {
        text.push(0x80 | (code >> (6 * index) & 0x3f) as u8);
    }
}
