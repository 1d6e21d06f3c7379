//! Reading the entries of an index for a query, some at a time.

use crate::catalog::CollectionState;
use crate::cursor::{Cursor, Direction, KeyRange};
use crate::engine::Engine;
use crate::entries::{Documents, IndexEntry, StemRange};
use crate::error::Result;

/// Entries of an index read in one step, at first and at most.
const ENTRIES_PER_STEP: (usize, usize) = (16, 512);

/// What is the same for all steps of a query.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub engine: &'a Engine,
    pub generation: u64,
    pub state: &'a CollectionState,
}

/// What an index's entry is to a query.
pub(crate) struct Found {
    pub run: Vec<u8>,
    /// Whether the stem was cut, so that only the document tells what it was.
    pub is_cut: bool,
    /// Whether the entry stands before others of its stem whatever its documents' keys are.
    pub is_listed: bool,
    pub documents: Documents<Vec<u8>>,
}

/// Documents of one group or several, on their way to be read.
#[derive(Default)]
pub(crate) struct Pending {
    pub keys: Vec<Vec<u8>>,
    pub has_cut: bool,
    pub has_listed: bool,
}

impl Pending {
    /// Whether its keys came in the order of the tree that they name.
    pub fn is_plain(&self) -> bool {
        !self.has_cut && !self.has_listed
    }
}

/// Reads the entries of ranges, some at a time.
pub(crate) struct EntryReader<'a> {
    source: Source<'a>,
    position: usize,
    ranges: std::vec::IntoIter<StemRange>,
    direction: Direction,
    current: Option<(StemRange, Cursor)>,
    count: usize,
}

impl<'a> EntryReader<'a> {
    pub fn new(source: Source<'a>, position: usize, ranges: &[StemRange], direction: Direction) -> EntryReader<'a> {
        let ranges = in_direction(ranges, direction).collect::<Vec<_>>().into_iter();
        EntryReader { source, position, ranges, direction, current: None, count: ENTRIES_PER_STEP.0 }
    }

    /// Passes entries of one document each in one leaf, before anything was read. Says how many.
    pub async fn pass_bare(&mut self, most: u64) -> Result<u64> {
        let Source { engine, generation, state } = self.source;
        let root = state.indexes[self.position].root;
        if self.current.is_none() {
            let Some(range) = self.ranges.next() else { return Ok(0) };
            self.current = Some((range, Cursor::new(root, KeyRange::ALL, self.direction)));
        }
        let Some((_, cursor)) = &mut self.current else { return Ok(0) };
        engine.run_over(generation, |pager| cursor.pass_bare(pager, most)).await
    }

    /// The next entries, at most this many, none at the end.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Found>> {
        let Source { engine, generation, state } = self.source;
        let index = &state.indexes[self.position];
        let page_size = engine.core.borrow().pager.page_size();
        let mut found = Vec::new();
        let count = self.count.min(most.max(1));
        self.count = (self.count * 2).min(ENTRIES_PER_STEP.1);
        loop {
            if self.current.is_none() {
                let Some(range) = self.ranges.next() else {
                    return Ok(found);
                };
                let cursor = Cursor::new(index.root, range.keys(page_size), self.direction);
                self.current = Some((range, cursor));
            }
            let Some((range, cursor)) = &mut self.current else { continue };
            let at_end = engine
                .run_over(generation, |pager| {
                    while found.len() < count {
                        let Some(entry) = cursor.next(pager)? else {
                            return Ok(true);
                        };
                        let is_listed = !entry.value.is_empty();
                        let entry = IndexEntry::read(&index.definition, page_size, &entry)?;
                        if entry.stem.is_none_or(|stem| range.contains(stem)) {
                            found.push(Found {
                                run: entry.run.to_vec(),
                                is_cut: entry.stem.is_none(),
                                is_listed,
                                documents: entry.documents.to_owned(),
                            });
                        }
                    }
                    Ok(false)
                })
                .await?;
            if !at_end {
                return Ok(found);
            }
            self.current = None;
        }
    }
}

pub(crate) fn in_direction(ranges: &[StemRange], direction: Direction) -> impl Iterator<Item = StemRange> {
    let mut ranges = ranges.to_vec();
    if direction == Direction::Backward {
        ranges.reverse();
    }
    ranges.into_iter()
}
