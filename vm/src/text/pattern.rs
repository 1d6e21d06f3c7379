//! Lua patterns over bytes (Lua manual §6.4.1): matching, iteration for `gmatch` and `gsub`, replacement strings.
//!
//! A pattern is interpreted as it stands, because its errors are only raised when matching reaches them. The matcher
//! backtracks; it recurses where C Lua does and no deeper than C Lua's limit of 200. Each comparison of a pattern
//! item with a position costs one unit of the caller's budget, so hostile patterns end when it is used up. Sets
//! are turned into 256-bit maps when first reached.
//!
//! Offsets are 0-based; strings and patterns are shorter than 2³¹ bytes. Nothing here calls back: the drivers of
//! `gmatch` and `gsub` ask for one match at a time and keep their state in a [`Cursor`] of plain integers.

use super::byte_map::{ByteMap, build_map, class_map, map_contains};
use super::number::write_unsigned;
use super::search::find_byte;

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
    level: usize,
    starts: [u32; CAPTURES_MAX],
    /// Lengths, or one of the two marks below.
    lengths: [u32; CAPTURES_MAX],
}

const POSITION: u32 = u32::MAX;
const UNFINISHED: u32 = u32::MAX - 1;

impl Captures {
    pub const fn new() -> Self {
        Self { level: 0, starts: [0; CAPTURES_MAX], lengths: [0; CAPTURES_MAX] }
    }

    /// Number of captures the pattern has itself.
    pub fn len(&self) -> usize {
        self.level
    }

    /// Number of values a match yields: its captures, or the whole match when there are none.
    pub fn value_count(&self) -> usize {
        self.level.max(1)
    }

    /// The capture numbered `index`, from 0; number 0 of a pattern without captures is the whole match.
    pub fn get(&self, index: usize, whole: Match) -> Result<Capture, PatternError> {
        if index >= self.level {
            return match index {
                0 => Ok(Capture::Range { start: whole.start, end: whole.end }),
                _ => Err(PatternError::InvalidCaptureIndex(index as u8 + 1)),
            };
        }
        let start = self.starts[index] as usize;
        match self.lengths[index] {
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
        let mut start = init;
        let mut attempt = Attempt {
            source: self.source,
            pattern: self.pattern,
            depth_left: DEPTH_MAX,
            captures,
            sets: &mut self.sets,
            budget,
        };
        if self.start == Start::Unknown {
            self.start = if self.anchored { Start::Anywhere } else { attempt.start()? };
        }
        while start <= self.source.len() {
            if let Some(offset) = attempt.skip(&self.start, start)? {
                start += offset;
            } else {
                break;
            }
            attempt.charge(1)?;
            attempt.captures.level = 0;
            attempt.depth_left = DEPTH_MAX;
            if let Some(end) = attempt.run(start, 0)?
                && end != forbidden_end
            {
                return Ok(Some(Match { start, end }));
            }
            if self.anchored {
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

/// C Lua's MAXCCALLS for patterns; which patterns are "too complex" depends on it.
const DEPTH_MAX: u32 = 200;

/// What every match starts with, found out when first needed. Attempts elsewhere are skipped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Unknown,
    Anywhere,
    Byte(u8),
    OneOf(ByteMap),
}

/// One way to match a single byte.
#[derive(Clone, Copy)]
enum Single {
    Any,
    Byte(u8),
    Class(&'static ByteMap),
    /// A set, by its place in the cache.
    Set(usize),
}

/// An attempt to match at one offset of the source.
struct Attempt<'a, 'm> {
    source: &'a [u8],
    pattern: &'a [u8],
    depth_left: u32,
    captures: &'m mut Captures,
    sets: &'m mut SetCache,
    budget: &'m mut u64,
}

/// The end of the match, if there is one.
type Outcome = Result<Option<usize>, PatternError>;

impl Attempt<'_, '_> {
    /// What every match starts with, judged by the first item. Errors of the pattern are left for matching to notice.
    fn start(&mut self) -> Result<Start, PatternError> {
        // One capture cannot fail; a longer row of them may be too many, which must be noticed at any offset.
        let item = usize::from(self.pattern.first() == Some(&b'('));
        match self.pattern.get(item..) {
            None | Some([b'(' | b')' | b'$', ..] | []) => return Ok(Start::Anywhere),
            Some([b'%', b'b' | b'f' | b'0'..=b'9', ..]) => return Ok(Start::Anywhere),
            _ => {}
        }
        let (single, after) = match self.single(item) {
            Ok(decoded) => decoded,
            Err(PatternError::Budget) => return Err(PatternError::Budget),
            Err(_) => return Ok(Start::Anywhere),
        };
        if matches!(self.pattern.get(after), Some(b'*' | b'?' | b'-')) {
            return Ok(Start::Anywhere);
        }
        Ok(match single {
            Single::Any => Start::Anywhere,
            Single::Byte(byte) => Start::Byte(byte),
            Single::Class(map) => Start::OneOf(*map),
            Single::Set(slot) => Start::OneOf(*self.sets.map(slot)),
        })
    }

    /// How far behind `position` the next match can start at the earliest; `None` if there is none.
    #[inline]
    fn skip(&mut self, start: &Start, position: usize) -> Result<Option<usize>, PatternError> {
        let rest = &self.source[position..];
        let skipped = match start {
            Start::Unknown | Start::Anywhere => return Ok(Some(0)),
            Start::Byte(byte) => find_byte(rest, *byte),
            Start::OneOf(map) => rest.iter().position(|&byte| map_contains(map, byte)),
        };
        self.charge(skipped.unwrap_or(rest.len()) / 4)?;
        Ok(skipped)
    }

    /// Matches `source[position..]` with `pattern[item..]`.
    fn run(&mut self, position: usize, item: usize) -> Outcome {
        if self.depth_left == 0 {
            return Err(PatternError::TooComplex);
        }
        self.depth_left -= 1;
        let outcome = self.run_items(position, item);
        self.depth_left += 1;
        outcome
    }

    fn run_items(&mut self, mut position: usize, mut item: usize) -> Outcome {
        while let Some(&byte) = self.pattern.get(item) {
            self.charge(1)?;
            match byte {
                b'(' if self.pattern.get(item + 1) == Some(&b')') => {
                    return self.open_capture(position, item + 2, POSITION);
                }
                b'(' => return self.open_capture(position, item + 1, UNFINISHED),
                b')' => return self.close_capture(position, item + 1),
                b'$' if item + 1 == self.pattern.len() => {
                    return Ok((position == self.source.len()).then_some(position));
                }
                b'%' => match self.pattern.get(item + 1) {
                    Some(b'b') => match self.balance(position, item + 2)? {
                        Some(end) => {
                            (position, item) = (end, item + 4);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    Some(b'f') => match self.frontier(position, item + 2)? {
                        Some(next_item) => {
                            item = next_item;
                            continue;
                        }
                        None => return Ok(None),
                    },
                    Some(digit @ b'0'..=b'9') => match self.back_reference(position, *digit)? {
                        Some(end) => {
                            (position, item) = (end, item + 2);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    _ => {}
                },
                _ => {}
            }
            let (single, after) = self.single(item)?;
            let suffix = self.pattern.get(after).copied();
            if !self.matches_at(single, position) {
                match suffix {
                    Some(b'*' | b'?' | b'-') => item = after + 1,
                    _ => return Ok(None),
                }
                continue;
            }
            match suffix {
                Some(b'?') => {
                    if let Some(end) = self.run(position + 1, after + 1)? {
                        return Ok(Some(end));
                    }
                    item = after + 1;
                }
                Some(b'+') => return self.expand_longest(single, position, 1, after + 1),
                Some(b'*') => return self.expand_longest(single, position, 0, after + 1),
                Some(b'-') => return self.expand_shortest(single, position, after + 1),
                _ => (position, item) = (position + 1, after),
            }
        }
        Ok(Some(position))
    }

    /// Takes as many bytes as match, then gives back one at a time, keeping at least `least`.
    fn expand_longest(&mut self, single: Single, position: usize, least: usize, rest: usize) -> Outcome {
        let available = &self.source[position..];
        let run_length = match single {
            Single::Any => available.len(),
            Single::Byte(wanted) => available.iter().take_while(|&&byte| byte == wanted).count(),
            Single::Class(map) => available.iter().take_while(|&&byte| map_contains(map, byte)).count(),
            Single::Set(slot) => {
                let map = self.sets.map(slot);
                available.iter().take_while(|&&byte| map_contains(map, byte)).count()
            }
        };
        self.charge(run_length)?;
        if rest == self.pattern.len() && self.depth_left > 0 {
            return Ok(Some(position + run_length));
        }
        let mut taken = run_length;
        loop {
            if let Some(end) = self.run(position + taken, rest)? {
                return Ok(Some(end));
            }
            if taken <= least {
                return Ok(None);
            }
            taken -= 1;
            self.charge(1)?;
        }
    }

    /// Takes as few bytes as let the rest of the pattern match.
    fn expand_shortest(&mut self, single: Single, mut position: usize, rest: usize) -> Outcome {
        // The rest of the pattern may replace a cached set; this one is wanted after each try.
        let map = match single {
            Single::Set(slot) => *self.sets.map(slot),
            _ => [0; 4],
        };
        loop {
            if let Some(end) = self.run(position, rest)? {
                return Ok(Some(end));
            }
            self.charge(1)?;
            let matching = match (self.source.get(position), single) {
                (None, _) => false,
                (Some(_), Single::Any) => true,
                (Some(&byte), Single::Byte(wanted)) => byte == wanted,
                (Some(&byte), Single::Class(map)) => map_contains(map, byte),
                (Some(&byte), Single::Set(_)) => map_contains(&map, byte),
            };
            if !matching {
                return Ok(None);
            }
            position += 1;
        }
    }

    /// Matches "(", after which the pattern goes on at `rest`.
    fn open_capture(&mut self, position: usize, rest: usize, mark: u32) -> Outcome {
        let level = self.captures.level;
        if level >= CAPTURES_MAX {
            return Err(PatternError::TooManyCaptures);
        }
        self.captures.starts[level] = position as u32;
        self.captures.lengths[level] = mark;
        self.captures.level = level + 1;
        let outcome = self.run(position, rest)?;
        if outcome.is_none() {
            self.captures.level -= 1;
        }
        Ok(outcome)
    }

    /// Matches ")", after which the pattern goes on at `rest`.
    fn close_capture(&mut self, position: usize, rest: usize) -> Outcome {
        let open = self.captures.lengths[..self.captures.level].iter().rposition(|&length| length == UNFINISHED);
        let index = open.ok_or(PatternError::InvalidPatternCapture)?;
        self.captures.lengths[index] = position as u32 - self.captures.starts[index];
        let outcome = self.run(position, rest)?;
        if outcome.is_none() {
            self.captures.lengths[index] = UNFINISHED;
        }
        Ok(outcome)
    }

    /// "%1": returns where the repeated text ends. A position capture never repeats.
    fn back_reference(&mut self, position: usize, digit: u8) -> Outcome {
        let number = digit - b'0';
        let index = usize::from(number).wrapping_sub(1);
        if index >= self.captures.level || self.captures.lengths[index] == UNFINISHED {
            return Err(PatternError::InvalidCaptureIndex(number));
        }
        let length = self.captures.lengths[index] as usize;
        if length > self.source.len() - position {
            return Ok(None);
        }
        self.charge(length / 8)?;
        let start = self.captures.starts[index] as usize;
        let end = position + length;
        Ok((self.source[start..start + length] == self.source[position..end]).then_some(end))
    }

    /// "%bxy", whose two bytes stand at `arguments`: returns where the balanced text ends.
    fn balance(&mut self, position: usize, arguments: usize) -> Outcome {
        let Some(&[open, close]) = self.pattern.get(arguments..arguments + 2) else {
            return Err(PatternError::MissingBalanceArguments);
        };
        if self.source.get(position) != Some(&open) {
            return Ok(None);
        }
        let mut nesting = 1usize;
        for (offset, &byte) in self.source[position + 1..].iter().enumerate() {
            if byte == close {
                nesting -= 1;
                if nesting == 0 {
                    self.charge(offset)?;
                    return Ok(Some(position + offset + 2));
                }
            } else if byte == open {
                nesting += 1;
            }
        }
        self.charge(self.source.len() - position)?;
        Ok(None)
    }

    /// "%f[set]", whose set stands at `item`: returns the item behind it when a transition into the set happens here.
    /// Both ends of the source count as byte 0.
    fn frontier(&mut self, position: usize, item: usize) -> Outcome {
        if self.pattern.get(item) != Some(&b'[') {
            return Err(PatternError::MissingFrontierSet);
        }
        let (slot, after) = self.set(item)?;
        let map = self.sets.map(slot);
        let previous = if position == 0 { 0 } else { self.source[position - 1] };
        let next = self.source.get(position).copied().unwrap_or(0);
        Ok((!map_contains(map, previous) && map_contains(map, next)).then_some(after))
    }

    fn matches_at(&self, single: Single, position: usize) -> bool {
        let Some(&byte) = self.source.get(position) else {
            return false;
        };
        match single {
            Single::Any => true,
            Single::Byte(wanted) => byte == wanted,
            Single::Class(map) => map_contains(map, byte),
            Single::Set(slot) => map_contains(self.sets.map(slot), byte),
        }
    }

    /// Decodes the single-byte item at `item`, which is in range; returns what it matches and where it ends.
    fn single(&mut self, item: usize) -> Result<(Single, usize), PatternError> {
        match self.pattern[item] {
            b'.' => Ok((Single::Any, item + 1)),
            b'%' => match self.pattern.get(item + 1) {
                None => Err(PatternError::EndsWithPercent),
                Some(&letter) => Ok((class_map(letter).map_or(Single::Byte(letter), Single::Class), item + 2)),
            },
            b'[' => self.set(item).map(|(slot, after)| (Single::Set(slot), after)),
            byte => Ok((Single::Byte(byte), item + 1)),
        }
    }

    /// Finds the map of the set that starts at `item`, building it if need be; returns its slot and where it ends.
    fn set(&mut self, item: usize) -> Result<(usize, usize), PatternError> {
        if let Some(found) = self.sets.lookup(item) {
            return Ok(found);
        }
        let (map, after) = match build_map(self.pattern, item) {
            Ok(built) => built,
            Err(error) => {
                self.charge(self.pattern.len() - item)?;
                return Err(error);
            }
        };
        self.charge(after - item)?;
        Ok((self.sets.insert(item, after, map), after))
    }

    #[inline]
    fn charge(&mut self, steps: usize) -> Result<(), PatternError> {
        match self.budget.checked_sub(steps as u64) {
            Some(left) => {
                *self.budget = left;
                Ok(())
            }
            None => {
                *self.budget = 0;
                Err(PatternError::Budget)
            }
        }
    }
}

/// The maps of the sets used last. Patterns rarely have more sets than this; others are built again.
struct SetCache {
    used: usize,
    oldest: usize,
    /// Where each cached set starts and ends in the pattern.
    extents: [(u32, u32); SETS_CACHED],
    maps: [ByteMap; SETS_CACHED],
}

const SETS_CACHED: usize = 4;

impl SetCache {
    fn new() -> Self {
        Self { used: 0, oldest: 0, extents: [(0, 0); SETS_CACHED], maps: [[0; 4]; SETS_CACHED] }
    }

    fn lookup(&self, item: usize) -> Option<(usize, usize)> {
        let slot = self.extents[..self.used].iter().position(|extent| extent.0 == item as u32)?;
        Some((slot, self.extents[slot].1 as usize))
    }

    fn insert(&mut self, item: usize, after: usize, map: ByteMap) -> usize {
        let slot = if self.used < SETS_CACHED {
            self.used += 1;
            self.used - 1
        } else {
            self.oldest = (self.oldest + 1) % SETS_CACHED;
            self.oldest
        };
        self.extents[slot] = (item as u32, after as u32);
        self.maps[slot] = map;
        slot
    }

    fn map(&self, slot: usize) -> &ByteMap {
        &self.maps[slot]
    }
}

#[cfg(test)]
#[path = "tests/pattern.rs"]
mod tests;
