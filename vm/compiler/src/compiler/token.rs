//! Tokens, and how messages show them (manual §3.1).

use super::symbol::Symbol;

/// A token. The lexer keeps the source text of names, strings and numbers for messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token {
    And,
    Break,
    Do,
    Else,
    ElseIf,
    End,
    False,
    For,
    Function,
    Goto,
    If,
    In,
    Local,
    Nil,
    Not,
    Or,
    Repeat,
    Return,
    Then,
    True,
    Until,
    While,
    FloorDivide,
    Concat,
    Dots,
    Equal,
    GreaterEqual,
    LessEqual,
    NotEqual,
    ShiftLeft,
    ShiftRight,
    DoubleColon,
    EndOfSource,
    /// A one-character token, or a byte that no token starts with.
    Character(u8),
    Name(Symbol),
    String(Symbol),
    Integer(i64),
    Float(f64),
}

/// The reserved words.
const KEYWORDS: [(&[u8], Token); 22] = [
    (b"and", Token::And),
    (b"break", Token::Break),
    (b"do", Token::Do),
    (b"else", Token::Else),
    (b"elseif", Token::ElseIf),
    (b"end", Token::End),
    (b"false", Token::False),
    (b"for", Token::For),
    (b"function", Token::Function),
    (b"goto", Token::Goto),
    (b"if", Token::If),
    (b"in", Token::In),
    (b"local", Token::Local),
    (b"nil", Token::Nil),
    (b"not", Token::Not),
    (b"or", Token::Or),
    (b"repeat", Token::Repeat),
    (b"return", Token::Return),
    (b"then", Token::Then),
    (b"true", Token::True),
    (b"until", Token::Until),
    (b"while", Token::While),
];

/// The longest reserved word, in bytes.
const KEYWORD_BYTES_MAX: usize = 8;

impl Token {
    /// The reserved word spelled `name`, if there is one.
    pub(super) fn keyword(name: &[u8]) -> Option<Token> {
        if name.len() > KEYWORD_BYTES_MAX {
            return None;
        }
        KEYWORDS.iter().find(|(word, _)| *word == name).map(|&(_, token)| token)
    }

    /// The token's kind as messages show it: `'end'`, `'+'`, `<name>`, `<eof>`.
    pub(super) fn description(self) -> String {
        let symbol = match self {
            Token::EndOfSource => return "<eof>".into(),
            Token::Name(_) => return "<name>".into(),
            Token::String(_) => return "<string>".into(),
            Token::Integer(_) => return "<integer>".into(),
            Token::Float(_) => return "<number>".into(),
            Token::Character(byte) if byte == b' ' || byte.is_ascii_graphic() => {
                return format!("'{}'", byte as char);
            }
            Token::Character(byte) => return format!("'<\\{byte}>'"),
            Token::FloorDivide => "//",
            Token::Concat => "..",
            Token::Dots => "...",
            Token::Equal => "==",
            Token::GreaterEqual => ">=",
            Token::LessEqual => "<=",
            Token::NotEqual => "~=",
            Token::ShiftLeft => "<<",
            Token::ShiftRight => ">>",
            Token::DoubleColon => "::",
            word => return format!("'{}'", word.keyword_text()),
        };
        format!("'{symbol}'")
    }

    fn keyword_text(self) -> &'static str {
        let word = KEYWORDS.iter().find(|&&(_, token)| token == self).map_or(&b""[..], |&(word, _)| word);
        std::str::from_utf8(word).unwrap_or_default()
    }

    /// Whether messages quote the token's source text.
    pub(super) fn has_text(self) -> bool {
        matches!(self, Token::Name(_) | Token::String(_) | Token::Integer(_) | Token::Float(_))
    }

    /// Whether a statement list ends here; `until` ends one only inside its own loop.
    pub(super) fn ends_block(self, until_too: bool) -> bool {
        match self {
            Token::Else | Token::ElseIf | Token::End | Token::EndOfSource => true,
            Token::Until => until_too,
            _ => false,
        }
    }
}
