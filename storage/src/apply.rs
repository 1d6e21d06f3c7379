//! Carrying changes out: on the documents of a Collection and, together with them, on its indexes. Transactions and the replay
//! of the log come through here, so both do the same.
//!
//! A change is several steps over pages. Whatever can be refused (a duplicate under a unique index) is refused before the
//! first of them; the flag `broken` is set from there to the last. A change that ends in between, by an error of the
//! backend or because its future is dropped, leaves the flag set, and the transaction can only be rolled back.

use std::rc::Rc;

use crate::btree;
use crate::build_index::create_index;
use crate::catalog::Catalog;
use crate::control::Control;
use crate::cursor::{Cursor, Direction};
use crate::document::{Document, DocumentRef};
use crate::engine::Engine;
use crate::entries::{self, IndexEntry};
use crate::error::{Error, Result};
use crate::index::{IndexDefinition, IndexKind, IndexState};
use crate::page::PageId;
use crate::record::Change;
use crate::schema::Schema;

/// What a change may need besides the database.
pub(crate) struct Means<'a> {
    pub engine: &'a Engine,
    /// Of the state that the changes go on top of.
    pub generation: u64,
    pub catalog: &'a mut Catalog,
    /// Set while a change is half done.
    pub broken: &'a mut bool,
    pub control: &'a Control,
}

/// What carrying a change out again would cost beyond the bytes it takes in the log, in bytes of log.
pub(crate) fn weight(catalog: &Catalog, change: &Change<'_>) -> usize {
    match change {
        Change::CreateIndex { collection, .. } => {
            let count = catalog.state(*collection).map_or(0, |state| state.count);
            usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(BUILD_BYTES_PER_DOCUMENT).min(WEIGHT_MAX)
        }
        _ => 0,
    }
}

/// Building an index takes as long for a document as writing one of so many bytes.
const BUILD_BYTES_PER_DOCUMENT: usize = 32;
/// Far above any limit for a log.
const WEIGHT_MAX: usize = 1 << 28;

/// Carries a change out. Says whether it changed anything.
pub(crate) async fn apply(means: &mut Means<'_>, change: &Change<'_>) -> Result<bool> {
    match change {
        Change::CreateCollection { collection, name } => {
            means.catalog.create(*collection, name)?;
            Ok(true)
        }
        Change::Put { collection, key, value } => {
            let page_size = means.engine.core.borrow().pager.page_size();
            btree::check_entry(page_size, key, value)?;
            write(means, *collection, key, Some(value)).await
        }
        Change::Delete { collection, key } => write(means, *collection, key, None).await,
        Change::CreateIndex { collection, definition } => create_index(means, *collection, definition).await,
        Change::DropIndex { collection, name } => drop_index(means, *collection, name).await,
        Change::SetSchema { collection, schema } => {
            let schema = match Document::decode(schema)? {
                Document::Nil => None,
                source => Some(Rc::new(Schema::new(source)?)),
            };
            means.catalog.state_mut(*collection)?.schema = schema;
            Ok(true)
        }
        Change::DropCollection { collection } => drop_collection(means, *collection).await,
    }
}

/// Entries of one index that go and come.
struct Difference {
    position: usize,
    removed: Vec<Vec<u8>>,
    added: Vec<Vec<u8>>,
}

/// Puts a document, or removes it.
async fn write(means: &mut Means<'_>, collection: u32, key: &[u8], value: Option<&[u8]>) -> Result<bool> {
    let Means { engine, generation, .. } = *means;
    let state = means.catalog.state(collection)?;
    if state.indexes.iter().any(|index| index.built) {
        let Some(differences) = differences(means, collection, key, value).await? else {
            return Ok(false);
        };
        *means.broken = true;
        for difference in differences {
            change_index(means, collection, key, difference).await?;
        }
    }
    *means.broken = true;
    let state = means.catalog.state_mut(collection)?;
    let changed = match value {
        Some(value) => {
            let (root, new) = engine.run_over(generation, |pager| btree::insert(pager, state.root, key, value)).await?;
            state.root = root;
            state.count += u64::from(new);
            true
        }
        None => {
            let root = engine.run_over(generation, |pager| btree::remove(pager, state.root, key)).await?;
            if let Some(root) = root {
                state.root = root;
                state.count = state.count.saturating_sub(1);
            }
            root.is_some()
        }
    };
    *means.broken = false;
    Ok(changed)
}

/// What a write does to the indexes, or `None` when there is nothing to delete. Refuses duplicates.
async fn differences(
    means: &Means<'_>,
    collection: u32,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Option<Vec<Difference>>> {
    let state = means.catalog.state(collection)?;
    let old = means.engine.run_over(means.generation, |pager| btree::get(pager, state.root, key)).await?;
    if value.is_none() && old.is_none() {
        return Ok(None);
    }
    let mut all = Vec::with_capacity(state.indexes.len());
    for (position, index) in state.indexes.iter().enumerate().filter(|(_, index)| index.built) {
        let stems = |document: Option<&[u8]>| match document {
            Some(document) => index.definition.stems(DocumentRef::new(document)),
            None => Ok(Vec::new()),
        };
        let mut removed = stems(old.as_deref())?;
        let mut added = stems(value)?;
        if removed == added {
            continue;
        }
        let kept: Vec<Vec<u8>> = removed.iter().filter(|stem| added.binary_search(stem).is_ok()).cloned().collect();
        removed.retain(|stem| kept.binary_search(stem).is_err());
        added.retain(|stem| kept.binary_search(stem).is_err());
        if index.definition.unique
            && let Some(value) = value
        {
            for stem in &added {
                check_unique(means, state.root, index, stem, key, value).await?;
            }
        }
        all.push(Difference { position, removed, added });
    }
    Ok(Some(all))
}

/// Fails when another document than the one under `key` agrees with `value` in the index's fields.
async fn check_unique(
    means: &Means<'_>,
    data: PageId,
    index: &IndexState,
    stem: &[u8],
    key: &[u8],
    value: &[u8],
) -> Result<()> {
    let Means { engine, generation, .. } = *means;
    let definition = &index.definition;
    let duplicate = || Error::Duplicate { index: definition.name.clone() };
    let page_size = engine.core.borrow().pager.page_size();
    // Documents that agree for certain end the search; of others only the documents themselves tell.
    let (certain, others) = engine
        .run_over(generation, |pager| {
            let mut cursor = Cursor::new(index.root, entries::run_range(page_size, stem), Direction::Forward);
            let mut others = Vec::new();
            while let Some(entry) = cursor.next(pager)? {
                let entry = IndexEntry::read(definition, page_size, &entry)?;
                if entry.stem.is_some_and(|other| other != stem) {
                    continue;
                }
                let is_certain = entry.stem.is_some() && definition.kind == IndexKind::Btree;
                for document in entry.documents.as_slice().iter().filter(|document| **document != key) {
                    if is_certain {
                        return Ok((true, Vec::new()));
                    }
                    others.push(document.to_vec());
                }
            }
            Ok((false, others))
        })
        .await?;
    if certain {
        return Err(duplicate());
    }
    if others.is_empty() {
        return Ok(());
    }
    let whole = IndexDefinition { kind: IndexKind::Btree, ..definition.clone() };
    let mine = whole.stems(DocumentRef::new(value))?;
    for other in others {
        let document = engine.run_over(generation, |pager| btree::get(pager, data, &other)).await?;
        let document = document.ok_or(Error::CorruptRecord("an index names a document that is not there"))?;
        let theirs = whole.stems(DocumentRef::new(&document))?;
        if mine.iter().any(|stem| theirs.binary_search(stem).is_ok()) {
            return Err(duplicate());
        }
    }
    Ok(())
}

async fn change_index(means: &mut Means<'_>, collection: u32, key: &[u8], difference: Difference) -> Result<()> {
    let Means { engine, generation, .. } = *means;
    let index = &mut means.catalog.state_mut(collection)?.indexes[difference.position];
    for stem in &difference.removed {
        let root = engine.run_over(generation, |pager| entries::remove(pager, index.root, stem, key)).await?;
        index.root = root.ok_or(Error::CorruptRecord("an index lacks a document"))?;
        index.entries = index.entries.saturating_sub(1);
        let is_empty = engine.run_over(generation, |pager| entries::is_run_empty(pager, index.root, stem)).await?;
        index.distinct = index.distinct.saturating_sub(is_empty.into());
    }
    for stem in &difference.added {
        let changed = engine.run_over(generation, |pager| entries::add(pager, index.root, stem, key)).await?;
        let changed = changed.ok_or(Error::CorruptRecord("an index has a document twice"))?;
        index.root = changed.root;
        index.entries += 1;
        index.distinct += u64::from(changed.run_edge);
    }
    Ok(())
}

async fn drop_index(means: &mut Means<'_>, collection: u32, name: &str) -> Result<bool> {
    let state = means.catalog.state(collection)?;
    let Some(position) = state.index(name) else {
        return Ok(false);
    };
    let pages = tree_pages(means.engine, means.generation, state.indexes[position].root).await?;
    let mut core = means.engine.core.borrow_mut();
    core.check(means.generation)?;
    pages.into_iter().for_each(|id| core.pager.release(id));
    let state = means.catalog.state_mut(collection)?;
    state.shape += 1;
    state.indexes.remove(position);
    Ok(true)
}

async fn drop_collection(means: &mut Means<'_>, collection: u32) -> Result<bool> {
    let state = means.catalog.state(collection)?.clone();
    let mut pages = tree_pages(means.engine, means.generation, state.root).await?;
    for index in &state.indexes {
        pages.append(&mut tree_pages(means.engine, means.generation, index.root).await?);
    }
    let mut core = means.engine.core.borrow_mut();
    core.check(means.generation)?;
    pages.into_iter().for_each(|id| core.pager.release(id));
    means.catalog.remove(collection);
    Ok(true)
}

/// Every page of a tree.
pub(crate) async fn tree_pages(engine: &Engine, generation: u64, root: PageId) -> Result<Vec<PageId>> {
    let mut pages = Vec::new();
    let mut pending = Vec::new();
    if !root.is_none() {
        pending.push(root);
    }
    let limit = engine.core.borrow().pager.next_number() as usize;
    while let Some(id) = pending.pop() {
        let (mut children, mut overflow) = engine.run_over(generation, |pager| btree::pages_below(pager, id)).await?;
        pages.push(id);
        pages.append(&mut overflow);
        pending.append(&mut children);
        // More pages than there are means that some are in the tree twice.
        if pages.len() > limit {
            return Err(Error::corrupt(id));
        }
    }
    Ok(pages)
}
