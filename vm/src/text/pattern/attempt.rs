//! The matcher at one offset of the source.
//!
//! What an attempt comes to is one word, and what it needs all the time is in its own fields: in WebAssembly a larger result goes by way of
//! memory.

use arrayvec::ArrayVec;

use super::super::byte_map::{ByteMap, build_map, class, class_map, map_contains};
use super::super::search::find_byte;
use super::{Captures, POSITION, PatternError, UNFINISHED};

/// C Lua's MAXCCALLS for patterns; which patterns are "too complex" depends on it.
const DEPTH_MAX: u32 = 200;

/// What every match starts with, found out when first needed. Attempts elsewhere are skipped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Unknown,
    Anywhere,
    Byte(u8),
    OneOf(ByteMap),
}

/// Where a match ends, or something in the pattern; [`End::NONE`] if there is none, [`End::FAILED`] if that cannot be said, for the reason in
/// [`Attempt::error`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct End(u32);

impl End {
    const NONE: End = End(u32::MAX);
    pub(super) const FAILED: End = End(u32::MAX - 1);

    fn at(position: usize) -> End {
        End(position as u32)
    }

    #[inline(always)]
    pub(super) fn position(self) -> Option<usize> {
        (self.0 < Self::FAILED.0).then_some(self.0 as usize)
    }
}

/// One way to match a single byte.
#[derive(Clone, Copy)]
enum Single {
    Any,
    Byte(u8),
    /// A class, by its number.
    Class(u8),
    /// A set, by its place in the cache.
    Set(u8),
    /// A mistake in the pattern, or no budget to read it.
    Failed,
}

/// A single-byte item, and where it ends in the pattern.
#[derive(Clone, Copy)]
struct Item {
    single: Single,
    after: u32,
}

/// What has to stand where the rest of a pattern begins.
#[derive(Clone, Copy)]
struct Wanted {
    byte: u8,
    /// The steps that a try at another byte takes.
    steps: usize,
}

/// An attempt to match at one offset of the source.
pub(super) struct Attempt<'a, 'm> {
    source: &'a [u8],
    pattern: &'a [u8],
    depth_left: u32,
    captures: &'m mut Captures,
    sets: &'m mut SetCache,
    /// What is left of the budget.
    pub(super) budget: u64,
    pub(super) error: PatternError,
}

impl<'a, 'm> Attempt<'a, 'm> {
    pub(super) fn new(
        source: &'a [u8],
        pattern: &'a [u8],
        captures: &'m mut Captures,
        sets: &'m mut SetCache,
        budget: u64,
    ) -> Self {
        Attempt { source, pattern, depth_left: DEPTH_MAX, captures, sets, budget, error: PatternError::Budget }
    }

    /// Matches at `position`.
    #[inline]
    pub(super) fn begin(&mut self, position: usize) -> End {
        if !self.charge(1) {
            return End::FAILED;
        }
        self.captures.list.clear();
        self.depth_left = DEPTH_MAX;
        self.run(position, 0)
    }

    /// What every match starts with, judged by the first item. Errors of the pattern are left for matching to notice.
    pub(super) fn start(&mut self) -> Result<Start, PatternError> {
        // One capture cannot fail; a longer row of them may be too many, which must be noticed at any offset.
        let item = usize::from(self.pattern.first() == Some(&b'('));
        match self.pattern.get(item..) {
            None | Some([b'(' | b')' | b'$', ..] | []) => return Ok(Start::Anywhere),
            Some([b'%', b'b' | b'f' | b'0'..=b'9', ..]) => return Ok(Start::Anywhere),
            _ => {}
        }
        let Item { single, after } = self.single(item);
        if matches!(self.pattern.get(after as usize), Some(b'*' | b'?' | b'-')) {
            return Ok(Start::Anywhere);
        }
        Ok(match single {
            Single::Any => Start::Anywhere,
            Single::Byte(byte) => Start::Byte(byte),
            Single::Class(_) | Single::Set(_) => Start::OneOf(*self.map(single)),
            Single::Failed if self.error == PatternError::Budget => return Err(PatternError::Budget),
            Single::Failed => Start::Anywhere,
        })
    }

    /// How far behind `position` the next match can start at the earliest; `None` if there is none.
    #[inline]
    pub(super) fn skip(&mut self, start: &Start, position: usize) -> Result<Option<usize>, PatternError> {
        let rest = &self.source[position..];
        let skipped = match start {
            Start::Unknown | Start::Anywhere => return Ok(Some(0)),
            Start::Byte(byte) => find_byte(rest, *byte),
            Start::OneOf(map) => rest.iter().position(|&byte| map_contains(map, byte)),
        };
        if self.charge(skipped.unwrap_or(rest.len()) / 4) { Ok(skipped) } else { Err(PatternError::Budget) }
    }

    /// Matches `source[position..]` with `pattern[item..]`.
    fn run(&mut self, position: usize, item: usize) -> End {
        if self.depth_left == 0 {
            return self.fail(PatternError::TooComplex);
        }
        self.depth_left -= 1;
        let end = self.run_items(position, item);
        self.depth_left += 1;
        end
    }

    fn run_items(&mut self, mut position: usize, mut item: usize) -> End {
        while let Some(&byte) = self.pattern.get(item) {
            if !self.charge(1) {
                return End::FAILED;
            }
            match byte {
                b'(' if self.pattern.get(item + 1) == Some(&b')') => {
                    return self.open_capture(position, item + 2, POSITION);
                }
                b'(' => return self.open_capture(position, item + 1, UNFINISHED),
                b')' => return self.close_capture(position, item + 1),
                b'$' if item + 1 == self.pattern.len() => {
                    return if position == self.source.len() { End::at(position) } else { End::NONE };
                }
                b'%' => match self.pattern.get(item + 1) {
                    Some(b'b') => {
                        let end = self.balance(position, item + 2);
                        let Some(next) = end.position() else { return end };
                        (position, item) = (next, item + 4);
                        continue;
                    }
                    Some(b'f') => {
                        let end = self.frontier(position, item + 2);
                        let Some(next) = end.position() else { return end };
                        item = next;
                        continue;
                    }
                    Some(digit @ b'0'..=b'9') => {
                        let end = self.back_reference(position, *digit);
                        let Some(next) = end.position() else { return end };
                        (position, item) = (next, item + 2);
                        continue;
                    }
                    _ => {}
                },
                _ => {}
            }
            let Item { single, after } = self.single(item);
            if matches!(single, Single::Failed) {
                return End::FAILED;
            }
            let after = after as usize;
            let suffix = self.pattern.get(after).copied();
            if !self.matches_at(single, position) {
                match suffix {
                    Some(b'*' | b'?' | b'-') => item = after + 1,
                    _ => return End::NONE,
                }
                continue;
            }
            match suffix {
                Some(b'?') => {
                    let end = self.run(position + 1, after + 1);
                    if end != End::NONE {
                        return end;
                    }
                    item = after + 1;
                }
                Some(b'+') => return self.expand_longest(single, position, 1, after + 1),
                Some(b'*') => return self.expand_longest(single, position, 0, after + 1),
                Some(b'-') => return self.expand_shortest(single, position, after + 1),
                _ => (position, item) = (position + 1, after),
            }
        }
        End::at(position)
    }

    /// Takes as many bytes as match, then gives back one at a time, keeping at least `least`.
    fn expand_longest(&mut self, single: Single, position: usize, least: usize, rest: usize) -> End {
        let available = &self.source[position..];
        let run_length = match single {
            Single::Any => available.len(),
            Single::Byte(wanted) => available.iter().take_while(|&&byte| byte == wanted).count(),
            _ => {
                let map = self.map(single);
                available.iter().take_while(|&&byte| map_contains(map, byte)).count()
            }
        };
        if !self.charge(run_length) {
            return End::FAILED;
        }
        if rest == self.pattern.len() && self.depth_left > 0 {
            return End::at(position + run_length);
        }
        let wanted = self.wanted(rest);
        // Among the bytes taken there are only such as match.
        let lowest = match wanted {
            Some(wanted) if !self.matches(single, wanted.byte) => run_length,
            _ => least,
        };
        let mut taken = run_length;
        loop {
            if let Some(wanted) = wanted {
                let found = (lowest..=taken).rev().find(|&taken| available.get(taken) == Some(&wanted.byte));
                let given_back = (taken - found.unwrap_or(least)) as u64;
                let last = if found.is_none() { wanted.steps as u64 } else { 0 };
                // In 64 bits: a text may have more than a third of all addresses of a page's module.
                if !self.charge_long(given_back * (wanted.steps as u64 + 1) + last) {
                    return End::FAILED;
                }
                let Some(found) = found else { return End::NONE };
                taken = found;
            }
            let end = self.run(position + taken, rest);
            if end != End::NONE {
                return end;
            }
            if taken <= least {
                return End::NONE;
            }
            taken -= 1;
            if !self.charge(1) {
                return End::FAILED;
            }
        }
    }

    /// Takes as few bytes as let the rest of the pattern match.
    fn expand_shortest(&mut self, single: Single, mut position: usize, rest: usize) -> End {
        // The rest of the pattern may replace a cached set; this one is wanted after each try.
        let map = match single {
            Single::Set(_) | Single::Class(_) => *self.map(single),
            _ => [u64::MAX; 4],
        };
        let wanted = self.wanted(rest);
        loop {
            let next = self.source.get(position).copied();
            match wanted {
                Some(wanted) if next != Some(wanted.byte) => {
                    if !self.charge(wanted.steps) {
                        return End::FAILED;
                    }
                }
                _ => {
                    let end = self.run(position, rest);
                    if end != End::NONE {
                        return end;
                    }
                }
            }
            if !self.charge(1) {
                return End::FAILED;
            }
            let matching = match (next, single) {
                (None, _) => false,
                (Some(byte), Single::Byte(only)) => byte == only,
                (Some(byte), _) => map_contains(&map, byte),
            };
            if !matching {
                return End::NONE;
            }
            position += 1;
        }
    }

    /// What the rest of the pattern wants to begin with, if that is a byte as it stands, perhaps behind the end of a capture. Then a try at
    /// another byte comes to nothing, in so many steps.
    fn wanted(&self, rest: usize) -> Option<Wanted> {
        let (item, steps) = match self.pattern.get(rest)? {
            b')' if self.open_capture_number().is_some() => (rest + 1, 2),
            _ => (rest, 1),
        };
        if (self.depth_left as usize) < steps {
            return None;
        }
        let (byte, after) = match self.pattern.get(item..)? {
            [b'%', letter, ..] if !letter.is_ascii_alphanumeric() => (*letter, item + 2),
            [b'(' | b')' | b'%' | b'.' | b'[', ..] | [b'$'] | [] => return None,
            [byte, ..] => (*byte, item + 1),
        };
        let may_be_left_out = matches!(self.pattern.get(after), Some(b'*' | b'?' | b'-'));
        (!may_be_left_out).then_some(Wanted { byte, steps })
    }

    /// Matches "(", after which the pattern goes on at `rest`.
    fn open_capture(&mut self, position: usize, rest: usize, mark: u32) -> End {
        if self.captures.list.try_push((position as u32, mark)).is_err() {
            return self.fail(PatternError::TooManyCaptures);
        }
        let end = self.run(position, rest);
        if end == End::NONE {
            self.captures.list.pop();
        }
        end
    }

    /// Matches ")", after which the pattern goes on at `rest`.
    fn close_capture(&mut self, position: usize, rest: usize) -> End {
        let Some(index) = self.open_capture_number() else {
            return self.fail(PatternError::InvalidPatternCapture);
        };
        let (start, length) = &mut self.captures.list[index];
        *length = position as u32 - *start;
        let end = self.run(position, rest);
        if end == End::NONE {
            self.captures.list[index].1 = UNFINISHED;
        }
        end
    }

    /// The capture that the next ")" ends.
    #[inline]
    fn open_capture_number(&self) -> Option<usize> {
        self.captures.list.iter().rposition(|capture| capture.1 == UNFINISHED)
    }

    /// "%1": returns where the repeated text ends. A position capture never repeats.
    fn back_reference(&mut self, position: usize, digit: u8) -> End {
        let number = digit - b'0';
        let capture = self.captures.list.get(usize::from(number).wrapping_sub(1)).copied();
        let Some((start, length)) = capture.filter(|capture| capture.1 != UNFINISHED) else {
            return self.fail(PatternError::InvalidCaptureIndex(number));
        };
        let (start, length) = (start as usize, length as usize);
        if length > self.source.len() - position {
            return End::NONE;
        }
        if !self.charge(length / 8) {
            return End::FAILED;
        }
        let end = position + length;
        if self.source[start..start + length] == self.source[position..end] { End::at(end) } else { End::NONE }
    }

    /// "%bxy", whose two bytes stand at `arguments`: returns where the balanced text ends.
    fn balance(&mut self, position: usize, arguments: usize) -> End {
        let Some(&[open, close]) = self.pattern.get(arguments..arguments + 2) else {
            return self.fail(PatternError::MissingBalanceArguments);
        };
        if self.source.get(position) != Some(&open) {
            return End::NONE;
        }
        let mut nesting = 1usize;
        for (offset, &byte) in self.source[position + 1..].iter().enumerate() {
            if byte == close {
                nesting -= 1;
                if nesting == 0 {
                    return if self.charge(offset) { End::at(position + offset + 2) } else { End::FAILED };
                }
            } else if byte == open {
                nesting += 1;
            }
        }
        if self.charge(self.source.len() - position) { End::NONE } else { End::FAILED }
    }

    /// "%f[set]", whose set stands at `item`: returns the item behind it when a transition into the set happens here.
    /// Both ends of the source count as byte 0.
    fn frontier(&mut self, position: usize, item: usize) -> End {
        if self.pattern.get(item) != Some(&b'[') {
            return self.fail(PatternError::MissingFrontierSet);
        }
        let Item { single, after } = self.set(item);
        if matches!(single, Single::Failed) {
            return End::FAILED;
        }
        let map = self.map(single);
        let previous = if position == 0 { 0 } else { self.source[position - 1] };
        let next = self.source.get(position).copied().unwrap_or(0);
        let is_here = !map_contains(map, previous) && map_contains(map, next);
        if is_here { End(after) } else { End::NONE }
    }

    #[inline]
    fn matches_at(&self, single: Single, position: usize) -> bool {
        self.source.get(position).is_some_and(|&byte| self.matches(single, byte))
    }

    #[inline]
    fn matches(&self, single: Single, byte: u8) -> bool {
        match single {
            Single::Any => true,
            Single::Byte(wanted) => byte == wanted,
            _ => map_contains(self.map(single), byte),
        }
    }

    /// The map of a class or a set.
    #[inline]
    fn map(&self, single: Single) -> &ByteMap {
        match single {
            Single::Class(number) => class_map(number),
            Single::Set(slot) => &self.sets.0[usize::from(slot)].map,
            _ => &[0; 4],
        }
    }

    /// Decodes the single-byte item at `item`, which is in range.
    #[inline]
    fn single(&mut self, item: usize) -> Item {
        let item_of = |single, bytes| Item { single, after: (item + bytes) as u32 };
        match self.pattern[item] {
            b'.' => item_of(Single::Any, 1),
            b'%' => match self.pattern.get(item + 1) {
                None => self.failed_item(PatternError::EndsWithPercent),
                Some(&letter) => item_of(class(letter).map_or(Single::Byte(letter), Single::Class), 2),
            },
            b'[' => self.set(item),
            byte => item_of(Single::Byte(byte), 1),
        }
    }

    /// Finds the map of the set that starts at `item`, building it if need be.
    fn set(&mut self, item: usize) -> Item {
        if let Some(slot) = self.sets.0.iter().position(|set| set.item == item as u32) {
            return Item { single: Single::Set(slot as u8), after: self.sets.0[slot].after };
        }
        let built = build_map(self.pattern, item);
        let end = built.map_or(self.pattern.len(), |(_, after)| after);
        if !self.charge(end - item) {
            return Item { single: Single::Failed, after: 0 };
        }
        match built {
            Ok((map, after)) => {
                let slot = self.sets.insert(Set { item: item as u32, after: after as u32, map });
                Item { single: Single::Set(slot), after: after as u32 }
            }
            Err(error) => self.failed_item(error),
        }
    }

    #[inline]
    #[must_use]
    fn charge(&mut self, steps: usize) -> bool {
        self.charge_long(steps as u64)
    }

    #[inline]
    #[must_use]
    fn charge_long(&mut self, steps: u64) -> bool {
        match self.budget.checked_sub(steps) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => {
                self.budget = 0;
                self.error = PatternError::Budget;
                false
            }
        }
    }

    #[cold]
    fn fail(&mut self, error: PatternError) -> End {
        self.error = error;
        End::FAILED
    }

    #[cold]
    fn failed_item(&mut self, error: PatternError) -> Item {
        self.error = error;
        Item { single: Single::Failed, after: 0 }
    }
}

/// A set and where it stands in the pattern.
struct Set {
    item: u32,
    after: u32,
    map: ByteMap,
}

/// The sets used last. Patterns rarely have more than this; others are built again.
pub(super) struct SetCache(ArrayVec<Set, SETS_CACHED>, usize);

const SETS_CACHED: usize = 4;

impl SetCache {
    pub(super) fn new() -> Self {
        SetCache(ArrayVec::new(), 0)
    }

    fn insert(&mut self, set: Set) -> u8 {
        let SetCache(sets, oldest) = self;
        let Err(full) = sets.try_push(set) else { return sets.len() as u8 - 1 };
        *oldest = (*oldest + 1) % SETS_CACHED;
        sets[*oldest] = full.element();
        *oldest as u8
    }
}
