//! Lua patterns over bytes (Lua manual §6.4.1): matching, iteration for `gmatch` and `gsub`, replacement strings.
//!
//! A pattern is interpreted as it stands, because its errors are only raised when matching reaches them. The matcher
//! backtracks; it recurses where C Lua does and no deeper than C Lua's limit of 200. Each comparison of a pattern
//! item with a position costs one unit of the caller's budget, so hostile patterns end when it is used up. Sets
//! are turned into 256-bit maps when first reached.
//!
//! Offsets are 0-based; strings and patterns are shorter than 2³¹ bytes. Nothing here calls back: the drivers of
//! `gmatch` and `gsub` ask for one match at a time and keep their state in a [`Cursor`] of plain integers.

mod attempt;

use arrayvec::ArrayVec;

use super::number::write_unsigned;
use super::search::find_byte;
use attempt::{Attempt, End, SetCache, Start};

/// The most captures a pattern can have.
pub const CAPTURES_MAX: usize = 32;

/// Why a match could not be decided, or its captures not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    EndsWithPercent,
    MissingBracket,
    MissingBalanceArguments,
    MissingFrontierSet,
    InvalidPatternCapture,
    /// The capture's number as written, from 0.
    InvalidCaptureIndex(u8),
    UnfinishedCapture,
    TooManyCaptures,
    TooComplex,
    InvalidReplacement,
    /// The replaced text would grow beyond the limit the caller gave.
    ResultTooLarge,
    /// The budget is used up; nothing is known about the match.
    Budget,
}

impl PatternError {
    /// The text of the Lua error. [`Budget`](Self::Budget) and [`ResultTooLarge`](Self::ResultTooLarge) are the
    /// caller's to report in its own way.
    pub fn message(&self) -> Vec<u8> {
        let text = match self {
            Self::EndsWithPercent => "malformed pattern (ends with '%')",
            Self::MissingBracket => "malformed pattern (missing ']')",
            Self::MissingBalanceArguments => "malformed pattern (missing arguments to '%b')",
            Self::MissingFrontierSet => "missing '[' after '%f' in pattern",
            Self::InvalidPatternCapture => "invalid pattern capture",
            Self::InvalidCaptureIndex(index) => {
                return format!("invalid capture index %{index}").into_bytes();
            }
            Self::UnfinishedCapture => "unfinished capture",
            Self::TooManyCaptures => "too many captures",
            Self::TooComplex => "pattern too complex",
            Self::InvalidReplacement => "invalid use of '%' in replacement string",
            Self::ResultTooLarge => "resulting string too large",
            Self::Budget => "pattern matching budget used up",
        };
        text.as_bytes().to_vec()
    }
}

/// The extent of a match: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub start: usize,
    pub end: usize,
}

/// What a capture captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    Range {
        start: usize,
        end: usize,
    },
    /// A 0-based offset; Lua shows it plus one.
    Position(usize),
}

/// The captures of the last match. Meant to be made once and used for many matches.
#[derive(Clone, Debug)]
pub struct Captures {
    /// Starts with lengths, or one of the two marks below.
    list: ArrayVec<(u32, u32), CAPTURES_MAX>,
}

const POSITION: u32 = u32::MAX;
const UNFINISHED: u32 = u32::MAX - 1;

impl Captures {
    pub fn new() -> Self {
        Self { list: ArrayVec::new() }
    }

    /// Number of captures the pattern has itself.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Number of values a match yields: its captures, or the whole match when there are none.
    pub fn value_count(&self) -> usize {
        self.list.len().max(1)
    }

    /// The capture numbered `index`, from 0; number 0 of a pattern without captures is the whole match.
    pub fn get(&self, index: usize, whole: Match) -> Result<Capture, PatternError> {
        let Some(&(start, length)) = self.list.get(index) else {
            return match index {
                0 => Ok(Capture::Range { start: whole.start, end: whole.end }),
                _ => Err(PatternError::InvalidCaptureIndex(index as u8 + 1)),
            };
        };
        let start = start as usize;
        match length {
            POSITION => Ok(Capture::Position(start)),
            UNFINISHED => Err(PatternError::UnfinishedCapture),
            length => Ok(Capture::Range { start, end: start + length as usize }),
        }
    }
}

impl Default for Captures {
    fn default() -> Self {
        Self::new()
    }
}

/// Where an iteration over all matches stands. Survives being stored and resumed with a new [`Matcher`] for the same
/// source and pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The next offset to try; beyond the source's length when the iteration is over.
    pub position: usize,
    /// End of the previous match, or [`Cursor::NO_MATCH`]: an empty match may not end there again.
    pub last_end: usize,
}

impl Cursor {
    pub const NO_MATCH: usize = usize::MAX;

    /// Starts an iteration at the offset `position`.
    pub fn new(position: usize) -> Self {
        Self { position, last_end: Self::NO_MATCH }
    }
}

/// Whether `pattern` holds a character with a special meaning; if not, [`find_plain`](super::search::find_plain)
/// gives the same answer.
pub fn has_specials(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'^' | b'$' | b'*' | b'+' | b'?' | b'.' | b'(' | b'[' | b'%' | b'-'))
}

/// A source and a pattern to match it with. Cheap to make: the pattern is not looked at before matching.
pub struct Matcher<'a> {
    source: &'a [u8],
    pattern: &'a [u8],
    anchored: bool,
    start: Start,
    sets: SetCache,
}

impl<'a> Matcher<'a> {
    /// For `find`, `match` and `gsub`, where a leading "^" anchors the pattern.
    pub fn new(source: &'a [u8], pattern: &'a [u8]) -> Self {
        match pattern {
            [b'^', rest @ ..] => Self { anchored: true, ..Self::unanchored(source, rest) },
            _ => Self::unanchored(source, pattern),
        }
    }

    /// For `gmatch`, where a leading "^" is an ordinary character.
    pub fn unanchored(source: &'a [u8], pattern: &'a [u8]) -> Self {
        Self { source, pattern, anchored: false, start: Start::Unknown, sets: SetCache::new() }
    }

    /// The first match that starts at or after `init`, which is at most the source's length.
    pub fn find_at(
        &mut self,
        init: usize,
        captures: &mut Captures,
        budget: &mut u64,
    ) -> Result<Option<Match>, PatternError> {
        self.search(init, Cursor::NO_MATCH, captures, budget)
    }

    /// The next match of an iteration with the rules of `gmatch` and `gsub`: matches do not overlap, and an empty
    /// match directly behind the previous one does not count. An anchored pattern is tried once.
    pub fn next_match(
        &mut self,
        cursor: &mut Cursor,
        captures: &mut Captures,
        budget: &mut u64,
    ) -> Result<Option<Match>, PatternError> {
        if cursor.position > self.source.len() {
            return Ok(None);
        }
        let found = self.search(cursor.position, cursor.last_end, captures, budget)?;
        cursor.position = match found {
            Some(found) if !self.anchored => found.end,
            _ => self.source.len() + 1,
        };
        if let Some(found) = found {
            cursor.last_end = found.end;
        }
        Ok(found)
    }

    fn search(
        &mut self,
        init: usize,
        forbidden_end: usize,
        captures: &mut Captures,
        budget: &mut u64,
    ) -> Result<Option<Match>, PatternError> {
        let mut attempt = Attempt::new(self.source, self.pattern, captures, &mut self.sets, *budget);
        let found =
            Self::attempts(&mut attempt, &mut self.start, self.anchored, init, forbidden_end, self.source.len());
        *budget = attempt.budget;
        found
    }

    /// Attempts at `init` and behind it, until one succeeds.
    fn attempts(
        attempt: &mut Attempt<'_, '_>,
        starts_with: &mut Start,
        anchored: bool,
        init: usize,
        forbidden_end: usize,
        length: usize,
    ) -> Result<Option<Match>, PatternError> {
        if *starts_with == Start::Unknown {
            *starts_with = if anchored { Start::Anywhere } else { attempt.start()? };
        }
        let mut start = init;
        while start <= length {
            let Some(offset) = attempt.skip(starts_with, start)? else { break };
            start += offset;
            let end = attempt.begin(start);
            match end.position() {
                Some(end) if end != forbidden_end => return Ok(Some(Match { start, end })),
                None if end == End::FAILED => return Err(attempt.error),
                _ => {}
            }
            if anchored {
                break;
            }
            start += 1;
        }
        Ok(None)
    }
}

/// Appends `replacement` with "%0" to "%9" replaced by captures and "%%" by a per cent sign, as `gsub` does. Fails with
/// [`PatternError::ResultTooLarge`] rather than let `out` grow beyond `length_max` bytes.
pub fn expand_replacement(
    replacement: &[u8],
    source: &[u8],
    whole: Match,
    captures: &Captures,
    length_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), PatternError> {
    let mut rest = replacement;
    while let Some(offset) = find_byte(rest, b'%') {
        append(&rest[..offset], length_max, out)?;
        match rest.get(offset + 1) {
            Some(b'%') => append(b"%", length_max, out)?,
            Some(b'0') => append(slice(source, whole.start, whole.end), length_max, out)?,
            Some(&digit @ b'1'..=b'9') => match captures.get(usize::from(digit - b'1'), whole)? {
                Capture::Range { start, end } => append(slice(source, start, end), length_max, out)?,
                Capture::Position(position) => {
                    let mut digits = Vec::new();
                    write_unsigned(position as u64 + 1, &mut digits);
                    append(&digits, length_max, out)?;
                }
            },
            _ => return Err(PatternError::InvalidReplacement),
        }
        rest = &rest[offset + 2..];
    }
    append(rest, length_max, out)
}

fn append(bytes: &[u8], length_max: usize, out: &mut Vec<u8>) -> Result<(), PatternError> {
    if bytes.len() > length_max.saturating_sub(out.len()) {
        return Err(PatternError::ResultTooLarge);
    }
    out.extend_from_slice(bytes);
    Ok(())
}

fn slice(source: &[u8], start: usize, end: usize) -> &[u8] {
    source.get(start..end).unwrap_or_default()
}

#[cfg(test)]
#[path = "tests/pattern.rs"]
mod tests;
