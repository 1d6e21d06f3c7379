//! The check of a whole database: every page readable, every tree in shape and order, every page number accounted for
//! exactly once, every index with exactly the entries that the documents give.

use std::collections::BTreeSet;

use crate::btree::{self, DEPTH_MAX};
use crate::catalog::CollectionState;
use crate::cursor::{Direction, Entry, KeyRange};
use crate::document::DocumentRef;
use crate::engine::Engine;
use crate::entries::{self, Gathered, IndexEntry};
use crate::error::{Error, Result};
use crate::gate::Turn;
use crate::page::{PageId, PageKind};

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Documents seen.
    pub documents: u64,
    /// Pages in use.
    pub pages_used: usize,
    /// Pages on the free list.
    pub pages_free: usize,
    /// What is wrong; empty for a sound database.
    pub problems: Vec<Error>,
}

/// A node still to be checked, with the bounds its parents give its keys.
struct Pending {
    id: PageId,
    depth: usize,
    low: Vec<u8>,
    high: Option<Vec<u8>>,
}

pub(crate) async fn run(engine: &Engine, _turn: &Turn) -> Result<CheckReport> {
    let (catalog, catalog_root, chain, free, next) = {
        let core = engine.core.borrow();
        (
            core.catalog.clone(),
            core.catalog_root(),
            core.free_chain().to_vec(),
            core.pager.free_numbers(),
            core.pager.next_number(),
        )
    };
    let mut report = CheckReport::default();
    let mut seen = BTreeSet::new();
    check_tree(engine, catalog_root, &mut seen, &mut report).await?;
    for state in catalog.collections() {
        let count = check_tree(engine, state.root, &mut seen, &mut report).await?;
        report.documents += count;
        if count != state.count && report.problems.is_empty() {
            let problem = Error::CorruptRecord("a collection's count is wrong");
            report.problems.push(problem);
        }
        for index in &state.indexes {
            check_tree(engine, index.root, &mut seen, &mut report).await?;
        }
        if report.problems.is_empty() {
            let result = check_indexes(engine, state).await;
            result.or_else(|error| keep_problem(error, &mut report))?;
        }
    }
    for id in chain {
        note_page(id, &mut seen, &mut report);
    }
    report.pages_used = seen.len();
    report.pages_free = free.len();
    for id in free {
        note_page(id, &mut seen, &mut report);
    }
    // A damaged branch hides what is below it, so lost pages mean something only when nothing else is wrong.
    if report.problems.is_empty() && seen.len() + 1 != next as usize {
        let problem = Error::CorruptRecord("pages are neither used nor free");
        report.problems.push(problem);
    }
    Ok(report)
}

fn note_page(id: PageId, seen: &mut BTreeSet<PageId>, report: &mut CheckReport) -> bool {
    let first = seen.insert(id);
    if !first {
        report.problems.push(Error::corrupt(id));
    }
    first
}

/// Checks one tree and returns how many entries it has.
async fn check_tree(
    engine: &Engine,
    root: PageId,
    seen: &mut BTreeSet<PageId>,
    report: &mut CheckReport,
) -> Result<u64> {
    let mut count = 0;
    let mut leaf_depth = None;
    let mut pending = Vec::new();
    if !root.is_none() {
        pending.push(Pending { id: root, depth: 0, low: Vec::new(), high: None });
    }
    while let Some(here) = pending.pop() {
        if !note_page(here.id, seen, report) {
            continue;
        }
        let page = match engine.run(|core| btree::node(&mut core.pager, here.id)).await {
            Ok(page) => page,
            Err(error) => {
                keep_problem(error, report)?;
                continue;
            }
        };
        let is_leaf = page.is(PageKind::Leaf);
        let first = usize::from(!is_leaf);
        let in_bounds = (first..page.count()).all(|index| {
            let key = page.key(index);
            key >= here.low.as_slice() && here.high.as_deref().is_none_or(|high| key < high)
        });
        let depth_fits = !is_leaf || *leaf_depth.get_or_insert(here.depth) == here.depth;
        if !in_bounds || !depth_fits || here.depth > DEPTH_MAX {
            report.problems.push(Error::corrupt(here.id));
            continue;
        }
        for index in 0..page.count() {
            if is_leaf {
                count += 1;
                let chain = engine.run(|core| btree::overflow_pages(&mut core.pager, &page, index)).await;
                match chain {
                    Ok(ids) => ids.into_iter().for_each(|id| {
                        note_page(id, seen, report);
                    }),
                    Err(error) => keep_problem(error, report)?,
                }
            } else {
                pending.push(Pending {
                    id: page.child(index),
                    depth: here.depth + 1,
                    low: if index == 0 { here.low.clone() } else { page.key(index).to_vec() },
                    high: if index + 1 < page.count() { Some(page.key(index + 1).to_vec()) } else { here.high.clone() },
                });
            }
        }
    }
    Ok(count)
}

/// Compares each index with what the documents say should be in it. Needs readable trees.
async fn check_indexes(engine: &Engine, state: &CollectionState) -> Result<()> {
    let (generation, page_size) = {
        let core = engine.core.borrow();
        (core.generation(), core.pager.page_size())
    };
    for index in state.indexes.iter().filter(|index| index.built) {
        let definition = &index.definition;
        let mut gathered = Gathered::new(page_size);
        let visit = |entry: &Entry| {
            let stems = definition.stems(DocumentRef::new(&entry.value))?;
            stems.iter().for_each(|stem| gathered.push(stem, entry.key()));
            Ok(true)
        };
        engine.scan(generation, state.root, KeyRange::ALL, Direction::Forward, visit).await?;
        gathered.sort();
        let mut at = 0;
        let mut distinct = 0;
        let mut last_run: Option<Vec<u8>> = None;
        let mut is_equal = true;
        let visit = |entry: &Entry| {
            is_equal = false;
            at = gathered.each(at, 1, |_, key, value| {
                is_equal = key == entry.key() && entries::same_documents(value, &entry.value);
            });
            let run = IndexEntry::read(definition, page_size, entry)?.run;
            if last_run.as_deref() != Some(run) {
                distinct += 1;
                last_run = Some(run.to_vec());
            }
            Ok(is_equal)
        };
        engine.scan(generation, index.root, KeyRange::ALL, Direction::Forward, visit).await?;
        if !is_equal || at < gathered.count() || gathered.count() as u64 != index.entries || distinct != index.distinct
        {
            return Err(Error::CorruptRecord("an index does not have what the documents say"));
        }
    }
    Ok(())
}

/// Damage goes into the report; anything else ends the check.
fn keep_problem(error: Error, report: &mut CheckReport) -> Result<()> {
    match error {
        Error::Corrupt { .. } | Error::CorruptRecord(_) => {
            report.problems.push(error);
            Ok(())
        }
        other => Err(other),
    }
}
