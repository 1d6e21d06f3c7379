//! Building an index over the documents that are there: their stems are gathered in one piece of memory, sorted, and become a tree from
//! left to right.

use std::ops::Bound;

use crate::apply::{Means, tree_pages};
use crate::bulk::Builder;
use crate::cursor::{Direction, KeyRange};
use crate::document::DocumentRef;
use crate::entries::Gathered;
use crate::error::{Error, Result};
use crate::index::{IndexDefinition, IndexKind, IndexState};

/// Entries that go into a new tree before others have their turn.
const BUILD_ENTRIES_PER_STEP: usize = 512;

/// Builds an index over what is there, in place of one of the same name.
pub(crate) async fn create_index(means: &mut Means<'_>, collection: u32, definition: &IndexDefinition) -> Result<bool> {
    let Means { engine, generation, .. } = *means;
    let gathered = gather(means, collection, definition).await?;
    let mut built = IndexState { entries: gathered.count() as u64, built: true, ..IndexState::new(definition.clone()) };
    let state = means.catalog.state(collection)?;
    let old = match state.index(&definition.name) {
        Some(position) => Some((position, tree_pages(engine, generation, state.indexes[position].root).await?)),
        None => None,
    };
    *means.broken = true;
    let mut builder = Builder::default();
    let mut last_run: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < gathered.count() {
        means.control.rest().await?;
        let mut core = engine.core.borrow_mut();
        core.check(generation)?;
        at = gathered.each(at, BUILD_ENTRIES_PER_STEP, |run, key, value| {
            if last_run.as_deref() != Some(run) {
                built.distinct += 1;
                let last = last_run.get_or_insert_default();
                last.clear();
                last.extend_from_slice(run);
            }
            builder.push(&mut core.pager, key, value);
        });
    }
    let mut core = engine.core.borrow_mut();
    core.check(generation)?;
    built.root = builder.finish(&mut core.pager);
    let state = means.catalog.state_mut(collection)?;
    state.shape += 1;
    match old {
        Some((position, pages)) => {
            pages.into_iter().for_each(|id| core.pager.release(id));
            state.indexes[position] = built;
        }
        None => state.indexes.push(built),
    }
    *means.broken = false;
    Ok(true)
}

/// All entries of a new index, in order. Refuses duplicates.
async fn gather(means: &Means<'_>, collection: u32, definition: &IndexDefinition) -> Result<Gathered> {
    let state = means.catalog.state(collection)?;
    // A hash does not tell whether two documents agree, nor does what was cut.
    let whole = definition.unique.then(|| IndexDefinition { kind: IndexKind::Btree, ..definition.clone() });
    let mut stems: Vec<Vec<u8>> = Vec::new();
    let mut gathered = Gathered::new(means.engine.core.borrow().pager.page_size());
    let mut stem = Vec::new();
    let mut done = 0;
    let mut from = Bound::Unbounded;
    // Some at a time, so that others can have their turn between.
    loop {
        let mut last = None;
        let visit = |entry: &crate::cursor::Entry| {
            let document = DocumentRef::new(&entry.value);
            if let Some(whole) = &whole {
                stems.append(&mut whole.stems(document)?);
            }
            definition.each_stem(document, &mut stem, |stem| gathered.push(stem, entry.key()))?;
            done += 1;
            let is_full = done % BUILD_ENTRIES_PER_STEP as u64 == 0;
            if is_full {
                last = Some(entry.key().to_vec());
            }
            Ok(!is_full)
        };
        let range = KeyRange { from, ..KeyRange::ALL };
        means.engine.scan(means.generation, state.root, range, Direction::Forward, visit).await?;
        let Some(last) = last else { break };
        from = Bound::Excluded(last);
        means.control.report(done, state.count)?;
        means.control.rest().await?;
    }
    means.control.report(state.count, state.count)?;
    cu_sort::sort(&mut stems);
    if stems.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::Duplicate { index: definition.name.clone() });
    }
    gathered.sort();
    Ok(gathered)
}
