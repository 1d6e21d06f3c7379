//! Repair: makes a sound database of what can still be read.
//!
//! A damaged database is opened as far as that goes: without a free list that cannot be read, without entries of the catalog
//! that cannot, without the log from the first damaged record on. Then the trees of each damaged Collection are built anew
//! from the documents that can be reached, indexes from the documents, and every page that no tree uses is free. All of it is
//! stored in one checkpoint; until then the store is as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::apply::{Means, apply};
use crate::backend::Backend;
use crate::btree;
use crate::bulk::Builder;
use crate::catalog::Catalog;
use crate::control::Control;
use crate::document::Encoded;
use crate::engine::{Engine, Options};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::index::IndexState;
use crate::page::{PageId, PageKind};
use crate::record::Change;

/// What a repair found and kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Documents in the repaired database.
    pub documents: u64,
    /// Documents that were counted and are lost.
    pub documents_lost: u64,
    /// What was damaged.
    pub problems: Vec<Error>,
}

pub(crate) async fn run(backend: Rc<dyn Backend>, options: Options) -> Result<RepairReport> {
    let engine = Engine::open_damaged(backend, options).await?;
    let turn = Gate::enter(&engine.writer).await;
    let mut report = RepairReport { problems: engine.core.borrow_mut().take_problems(), ..RepairReport::default() };
    let (mut catalog, generation) = {
        let mut core = engine.core.borrow_mut();
        // Numbers of lost pages may be anywhere, so nothing that exists is used again before all is known.
        core.pager.forget_free();
        core.pager.push_layer();
        ((*core.catalog).clone(), core.generation())
    };
    let ids: Vec<u32> = catalog.collections().map(|state| state.id).collect();
    for id in ids {
        repair_collection(&engine, generation, &mut catalog, id, &mut report).await?;
    }
    engine.core.borrow_mut().rebuild_catalog(catalog);
    let used = used_pages(&engine).await?;
    engine.core.borrow_mut().pager.free_all_but(&used);
    engine.force_checkpoint(&turn).await?;
    engine.backend.close().await?;
    Ok(report)
}

async fn repair_collection(
    engine: &Engine,
    generation: u64,
    catalog: &mut Catalog,
    id: u32,
    report: &mut RepairReport,
) -> Result<()> {
    let state = catalog.state(id)?.clone();
    let entries = salvage_tree(engine, state.root, report).await?;
    let count = entries.len() as u64;
    report.documents += count;
    report.documents_lost += state.count.saturating_sub(count);
    {
        let mut core = engine.core.borrow_mut();
        let mut builder = Builder::default();
        for (key, value) in &entries {
            builder.push(&mut core.pager, key, value);
        }
        let root = builder.finish(&mut core.pager);
        let state = catalog.state_mut(id)?;
        state.root = root;
        state.count = count;
        let definitions: Vec<_> = state.indexes.iter().map(|index| index.definition.clone()).collect();
        state.indexes = definitions.into_iter().map(IndexState::new).collect();
    }
    for index in &state.indexes {
        let definition = index.definition.clone();
        let control = &Control::default();
        let mut means = Means { engine, generation, catalog, broken: &mut false, control };
        apply(&mut means, &Change::CreateIndex { collection: id, definition }).await?;
    }
    Ok(())
}

/// Every entry of a tree that can be reached and is whole.
async fn salvage_tree(engine: &Engine, root: PageId, report: &mut RepairReport) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut entries = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        if id.is_none() || !seen.insert(id) {
            continue;
        }
        let page = match engine.run(|core| btree::node(&mut core.pager, id)).await {
            Ok(page) => page,
            Err(error) => {
                note(error, report)?;
                continue;
            }
        };
        for index in 0..page.count() {
            if page.is(PageKind::Branch) {
                pending.push(page.child(index));
                continue;
            }
            let value = engine.run(|core| Ok(btree::load_value(&mut core.pager, &page, index)?.to_vec())).await;
            match value.and_then(|value| Ok(Encoded::from_bytes(value)?.into_bytes())) {
                Ok(value) => {
                    let key = page.key(index).to_vec();
                    if crate::key::decode_key(&key).is_ok() {
                        entries.insert(key, value);
                    }
                }
                Err(error) => note(error, report)?,
            }
        }
    }
    Ok(entries)
}

/// Damage goes into the report; anything else ends the repair.
fn note(error: Error, report: &mut RepairReport) -> Result<()> {
    match error {
        Error::Corrupt { .. } | Error::CorruptRecord(_) | Error::InvalidInput { .. } => {
            report.problems.push(error);
            Ok(())
        }
        other => Err(other),
    }
}

/// Every page that a tree of the repaired database uses.
async fn used_pages(engine: &Engine) -> Result<BTreeSet<PageId>> {
    let catalog = engine.core.borrow().catalog.clone();
    let mut pending: Vec<PageId> = Vec::new();
    for state in catalog.collections() {
        pending.push(state.root);
        pending.extend(state.indexes.iter().map(|index| index.root));
    }
    let mut used = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if id.is_none() || !used.insert(id) {
            continue;
        }
        let (mut children, overflow) = engine.run(|core| btree::pages_below(&mut core.pager, id)).await?;
        pending.append(&mut children);
        used.extend(overflow);
    }
    Ok(used)
}
