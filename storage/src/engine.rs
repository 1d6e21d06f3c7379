//! The engine: state shared by all handles of one open database, and the driver that runs steps over pages.
//!
//! A step runs synchronously on the core. When it misses pages, the driver reads them from the backend (the only place
//! where a read waits) and runs the step again. No borrow of the core lives across an await.
//!
//! What is in memory is the root record's state plus all log records up to `sequence`. `version` counts the states this
//! process has seen; a view holds one, and the pages it can see are not reused before it is dropped. `generation`
//! changes when everything was read anew because another connection had replaced stored pages; views of an older
//! generation fail with [`Error::Conflict`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::apply::{Means, apply, weight};
use crate::backend::{Backend, Checkpoint, Stored};
use crate::btree;
use crate::cache::ResultCache;
use crate::catalog::Catalog;
use crate::commit::{self, CommitQueue};
use crate::control::Control;
use crate::cursor::{Cursor, Direction, Entry, KeyRange};
use crate::error::{Error, Fault, Result, Step};
use crate::gate::{Gate, Turn};
use crate::live::Feed;
use crate::page::{self, PAGE_SIZE_MAX, PAGE_SIZE_MIN, Page, PageBytes, PageId, PageKind};
use crate::pager::Pager;
use crate::record::{LogReader, RootRecord};
use crate::schema::{Matcher, default_matcher};

/// Sizes that a host can choose. All are bytes.
#[derive(Clone)]
pub struct Options {
    /// Size of a page of a new database, 128 to 32,768; an existing one keeps its own. The longest key takes a quarter
    /// of it.
    pub page_size: usize,
    /// Pages kept in memory. Stored ones take what those that wait for a checkpoint leave of it, and an eighth at least.
    pub cache_bytes_max: usize,
    /// A commit that brings the log to this size is followed by a checkpoint.
    pub checkpoint_log_bytes: usize,
    /// A commit that brings the pages waiting for a checkpoint to this size is followed by one.
    pub checkpoint_dirty_bytes: usize,
    /// Most bytes of log of one transaction: its changes and its record lie in memory until it is stored. An operation that would bring it
    /// over them fails.
    pub transaction_bytes_max: usize,
    /// Rows of earlier queries kept for the case that the same query comes again; 0 keeps none.
    pub result_cache_bytes: usize,
    /// Matches the patterns of schemas; the default is the crate `regex-lite` on native targets and nothing in a page.
    pub matcher: Matcher,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("page_size", &self.page_size).finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            page_size: 8192,
            cache_bytes_max: 4 << 20,
            checkpoint_log_bytes: 1 << 20,
            checkpoint_dirty_bytes: 1 << 20,
            transaction_bytes_max: 512 << 20,
            result_cache_bytes: 128 << 10,
            matcher: default_matcher(),
        }
    }
}

impl Options {
    /// Sizes that keep pages within about so many bytes, those that wait for a checkpoint within half of them.
    /// What a commit changes, and its record, come on top. With little room, a new database has small pages: less comes along with each
    /// entry that changes; keys are shorter then, too.
    pub fn within(cache_bytes: usize) -> Options {
        Options {
            page_size: if cache_bytes < 1 << 20 { 2048 } else { 8192 },
            cache_bytes_max: cache_bytes,
            checkpoint_log_bytes: (cache_bytes / 4).clamp(64 << 10, 4 << 20),
            checkpoint_dirty_bytes: cache_bytes / 2,
            result_cache_bytes: (cache_bytes / 64).min(128 << 10),
            ..Options::default()
        }
    }
}

/// Entries that a scan passes before other work may trim the cache.
const SCAN_ENTRIES_PER_STEP: usize = 256;

/// How often work is run again because another connection was faster. Each time that one got on, so this ends only under
/// a backend that reports conflicts without a reason.
pub(crate) const ATTEMPTS_MAX: usize = 1000;

pub(crate) struct Engine {
    pub backend: Rc<dyn Backend>,
    pub options: Options,
    pub core: RefCell<Core>,
    pub writer: Rc<Gate>,
    pub results: RefCell<ResultCache>,
    pub commits: CommitQueue,
    pub feed: Feed,
    /// The newest version of data that the program knows, if it has said so.
    pub version: Cell<Option<u64>>,
}

pub(crate) struct Core {
    pub pager: Pager,
    pub catalog: Rc<Catalog>,
    pub sequence: u64,
    pub checkpoint: u64,
    pub log_bytes: usize,
    /// The last checkpoint's failure; commits are durable without it.
    pub checkpoint_error: Option<Error>,
    pub closed: bool,
    /// The backend may have commits that are not in memory.
    pub stale: bool,
    /// In a repair: damage that was passed over. Otherwise damage ends the loading.
    problems: Option<Vec<Error>>,
    version: u64,
    generation: u64,
    loading: bool,
    /// A checkpoint of this connection is on its way to the backend.
    checkpointing: bool,
    catalog_root: PageId,
    /// Pages that hold the stored free list.
    free_chain: Vec<PageId>,
    views: Rc<RefCell<BTreeMap<u64, usize>>>,
}

/// A state of the database that stays readable while others write.
pub(crate) struct View {
    pub catalog: Rc<Catalog>,
    pub generation: u64,
    version: u64,
    views: Rc<RefCell<BTreeMap<u64, usize>>>,
}

impl Drop for View {
    fn drop(&mut self) {
        let mut views = self.views.borrow_mut();
        if let Some(count) = views.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                views.remove(&self.version);
            }
        }
    }
}

impl Engine {
    pub async fn open(backend: Rc<dyn Backend>, options: Options) -> Result<Engine> {
        let engine = Engine::new(backend, options)?;
        engine.reload().await?;
        Ok(engine)
    }

    /// Opens as much as can be read, for a repair.
    pub async fn open_damaged(backend: Rc<dyn Backend>, options: Options) -> Result<Engine> {
        let engine = Engine::new(backend, options)?;
        engine.core.borrow_mut().problems = Some(Vec::new());
        engine.reload().await?;
        Ok(engine)
    }

    fn new(backend: Rc<dyn Backend>, options: Options) -> Result<Engine> {
        if !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&options.page_size) {
            return Err(Error::invalid("pageSize", "must be 128 to 32768 bytes"));
        }
        let core = Core {
            pager: Pager::new(options.page_size, options.cache_bytes_max),
            catalog: Rc::default(),
            sequence: 0,
            checkpoint: 0,
            log_bytes: 0,
            checkpoint_error: None,
            closed: false,
            stale: false,
            problems: None,
            version: 0,
            generation: 0,
            loading: false,
            checkpointing: false,
            catalog_root: PageId::NONE,
            free_chain: Vec::new(),
            views: Rc::default(),
        };
        let results = RefCell::new(ResultCache::new(options.result_cache_bytes));
        let engine = Engine {
            backend,
            options,
            core: RefCell::new(core),
            writer: Rc::default(),
            results,
            commits: CommitQueue::default(),
            feed: Feed::default(),
            version: Cell::new(None),
        };
        Ok(engine)
    }

    /// The present state.
    pub async fn view(&self) -> Result<View> {
        let (loading, stale) = {
            let core = self.core.borrow();
            (core.loading, core.stale)
        };
        if loading {
            let turn = Gate::enter(&self.writer).await;
            self.finish_loading(&turn).await?;
        } else if stale && let Some(turn) = Gate::try_enter(&self.writer) {
            // Somebody who writes takes the others' commits in; nobody waits for that to read.
            self.catch_up(&turn).await?;
        }
        let core = self.core.borrow();
        core.check_open()?;
        *core.views.borrow_mut().entry(core.version).or_insert(0) += 1;
        Ok(View {
            catalog: core.catalog.clone(),
            generation: core.generation,
            version: core.version,
            views: core.views.clone(),
        })
    }

    /// Reads everything anew when that was begun and not completed.
    pub async fn finish_loading(&self, _turn: &Turn) -> Result<()> {
        let loading = {
            let mut core = self.core.borrow_mut();
            core.check_open()?;
            // Whoever has the turn knows that no checkpoint is under way; an abandoned one leaves this set.
            core.checkpointing = false;
            // Nor is a transaction or a replay, so other layers than those of finished transactions are abandoned.
            core.pager.drop_layers(self.commits.layers());
            core.loading
        };
        if loading {
            commit::drain(self).await;
            self.reload().await?;
        }
        Ok(())
    }

    /// Runs a step until it has all its pages.
    pub async fn run<T>(&self, mut step: impl FnMut(&mut Core) -> Step<T>) -> Result<T> {
        loop {
            let (ids, checkpoint, generation) = {
                let mut core = self.core.borrow_mut();
                core.check_open()?;
                match step(&mut core) {
                    Ok(value) => {
                        core.pager.trim();
                        return Ok(value);
                    }
                    Err(Fault::Failed(error)) => return Err(error),
                    Err(Fault::Miss(ids)) => (ids, core.checkpoint, core.generation),
                }
            };
            let pages = match self.backend.read_pages(checkpoint, ids.clone()).await {
                Ok(pages) => pages,
                Err(error) => {
                    self.wait_for_own_checkpoint(error, checkpoint).await?;
                    continue;
                }
            };
            let mut core = self.core.borrow_mut();
            if core.generation != generation || core.checkpoint != checkpoint {
                // The numbers may mean other pages now; the step finds out what it needs.
                continue;
            }
            for (position, (id, bytes)) in ids.into_iter().zip(pages).enumerate() {
                let added = core.pager.add(id, bytes);
                // Only the first page is needed; the others are read ahead.
                if position == 0 {
                    added?;
                }
            }
        }
    }

    /// A read that met a checkpoint of this very connection is no conflict: once that is over, the read can be made again.
    async fn wait_for_own_checkpoint(&self, error: Error, checkpoint: u64) -> Result<()> {
        if error != Error::Conflict {
            return Err(error);
        }
        let (under_way, over) = {
            let core = self.core.borrow();
            (core.checkpointing, core.checkpoint != checkpoint)
        };
        if under_way {
            let _turn = Gate::enter(&self.writer).await;
            self.core.borrow_mut().checkpointing = false;
            Ok(())
        } else if over {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Runs a step over a state of a generation.
    pub async fn run_over<T>(&self, generation: u64, mut step: impl FnMut(&mut Pager) -> Step<T>) -> Result<T> {
        self.run(|core| {
            core.check(generation)?;
            step(&mut core.pager)
        })
        .await
    }

    /// Passes a tree's entries in order until `visit` returns `false`.
    pub async fn scan(
        &self,
        generation: u64,
        root: PageId,
        range: KeyRange,
        direction: Direction,
        mut visit: impl FnMut(&Entry) -> Result<bool>,
    ) -> Result<()> {
        let mut cursor = Cursor::new(root, range, direction);
        loop {
            // Counted over misses, after which a step is run again: otherwise a step over small pages would go to the end of the tree.
            let mut passed = 0;
            let more = self
                .run_over(generation, |pager| {
                    while passed < SCAN_ENTRIES_PER_STEP {
                        match cursor.next(pager)? {
                            Some(entry) if visit(&entry)? => passed += 1,
                            _ => return Ok(false),
                        }
                    }
                    Ok(true)
                })
                .await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Runs a read over the present state, and again when another connection has replaced what it was reading.
    pub async fn read<T>(&self, operation: impl AsyncFn(&View) -> Result<T>) -> Result<T> {
        let mut attempts = 0;
        loop {
            let view = self.view().await?;
            attempts += 1;
            match operation(&view).await {
                Err(Error::Conflict) if attempts < ATTEMPTS_MAX => {
                    drop(view);
                    let turn = Gate::enter(&self.writer).await;
                    self.catch_up(&turn).await?;
                }
                result => return result,
            }
        }
    }

    /// Takes in what other connections have committed.
    pub async fn catch_up(&self, turn: &Turn) -> Result<()> {
        commit::drain(self).await;
        self.finish_loading(turn).await?;
        let (sequence, checkpoint) = {
            let core = self.core.borrow();
            core.check_open()?;
            (core.sequence, core.checkpoint)
        };
        let stored = self.backend.load(sequence).await?;
        let follows = stored.checkpoint == checkpoint && stored.sequence >= sequence;
        let replayed = if follows && !stored.log.is_empty() { self.replay(&stored).await } else { Ok(()) };
        match replayed {
            Ok(()) if follows => {}
            // Another connection has written a checkpoint, before or while the log was replayed.
            Ok(()) | Err(Error::Conflict) => self.reload().await?,
            Err(error) => return Err(error),
        }
        self.core.borrow_mut().stale = false;
        Ok(())
    }

    /// Starts from what is stored.
    async fn reload(&self) -> Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let stored = self.backend.load(0).await?;
            match self.start_from(&stored).await {
                // Another connection wrote a checkpoint between reading the root and reading pages.
                Err(Error::Conflict) if attempts < ATTEMPTS_MAX => {}
                result => return result,
            }
        }
    }

    async fn start_from(&self, stored: &Stored) -> Result<()> {
        let root = match &stored.root {
            Some(root) => RootRecord::decode(root)?,
            None => RootRecord {
                page_size: self.options.page_size,
                sequence: 0,
                next: 1,
                free_list: PageId::NONE,
                catalog: PageId::NONE,
            },
        };
        {
            let mut core = self.core.borrow_mut();
            core.loading = true;
            core.generation += 1;
            core.checkpoint = stored.checkpoint;
            core.sequence = root.sequence;
            core.catalog_root = root.catalog;
            core.log_bytes = 0;
            core.views = Rc::default();
            if core.pager.page_size() == root.page_size {
                core.pager.reset(root.next);
            } else {
                core.pager = Pager::new(root.page_size, self.options.cache_bytes_max);
                core.pager.reset(root.next);
            }
        }
        // A failure leaves `loading` set, so that the next use tries again instead of seeing half a state.
        self.load_state(&root, stored).await?;
        self.core.borrow_mut().loading = false;
        self.feed.lose();
        Ok(())
    }

    async fn load_state(&self, root: &RootRecord, stored: &Stored) -> Result<()> {
        let loaded = self.load_free_list(root).await;
        self.pass_over(loaded)?;
        let mut catalog = Catalog::default();
        let mut cursor = Cursor::new(root.catalog, KeyRange::ALL, Direction::Forward);
        loop {
            let entry = self.run(|core| cursor.next(&mut core.pager)).await;
            let Some(entry) = self.pass_over(entry)?.flatten() else { break };
            let loaded = catalog.load_entry(entry.key(), &entry.value);
            self.pass_over(loaded)?;
        }
        {
            let mut core = self.core.borrow_mut();
            core.catalog = Rc::new(catalog);
            core.version += 1;
        }
        let replayed = self.replay(stored).await;
        if self.pass_over(replayed)?.is_none() {
            // The repaired state takes the place of the damaged records.
            self.core.borrow_mut().sequence = stored.sequence;
        }
        Ok(())
    }

    /// What was loaded; in a repair nothing in place of damage.
    fn pass_over<T>(&self, loaded: Result<T>) -> Result<Option<T>> {
        let error = match loaded {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(error) => error,
        };
        match (&mut self.core.borrow_mut().problems, &error) {
            (Some(problems), Error::Corrupt { .. } | Error::CorruptRecord(_) | Error::InvalidInput { .. }) => {
                problems.push(error);
                Ok(None)
            }
            _ => Err(error),
        }
    }

    async fn load_free_list(&self, root: &RootRecord) -> Result<()> {
        let mut chain = BTreeSet::new();
        let mut id = root.free_list;
        while !id.is_none() {
            let page = self.run(|core| core.pager.page(id)).await?;
            let mut numbers = page.page_numbers().ok_or(Error::corrupt(id))?;
            if chain.contains(&id) || numbers.any(|n| n.is_none() || n.0 >= root.next) {
                return Err(Error::corrupt(id));
            }
            let mut core = self.core.borrow_mut();
            core.pager.add_free(page.page_numbers().into_iter().flatten());
            chain.insert(id);
            id = page.link();
        }
        self.core.borrow_mut().free_chain = chain.into_iter().collect();
        Ok(())
    }

    /// Carries out log records that follow the state in memory.
    async fn replay(&self, stored: &Stored) -> Result<()> {
        let (mut catalog, mut sequence, generation) = {
            let mut core = self.core.borrow_mut();
            core.pager.drop_layers(0);
            core.pager.push_layer();
            ((*core.catalog).clone(), core.sequence, core.generation)
        };
        let mut bytes: usize = stored.log.iter().map(Vec::len).sum();
        let result = async {
            for record in &stored.log {
                let mut log = LogReader::new(record)?;
                sequence += 1;
                if log.sequence != sequence {
                    return Err(Error::CorruptRecord("log record out of sequence"));
                }
                while let Some(change) = log.next()? {
                    let control = &Control::default();
                    let mut means =
                        Means { engine: self, generation, catalog: &mut catalog, broken: &mut false, control };
                    apply(&mut means, &change).await?;
                    bytes += weight(&catalog, &change);
                }
            }
            if sequence == stored.sequence { Ok(()) } else { Err(Error::CorruptRecord("log record missing")) }
        }
        .await;
        let mut core = self.core.borrow_mut();
        match result {
            Ok(()) => {
                core.commit(1, Rc::new(catalog), sequence, bytes);
                drop(core);
                stored.log.iter().for_each(|record| self.feed.record(record));
                Ok(())
            }
            Err(error) => {
                core.pager.drop_layers(0);
                Err(error)
            }
        }
    }

    /// Whether log or waiting pages have reached the size for a checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        let core = self.core.borrow();
        core.log_bytes >= self.options.checkpoint_log_bytes
            || (core.pager.dirty_bytes() >= self.options.checkpoint_dirty_bytes && core.log_bytes > 0)
    }

    /// Whether the checkpoint that commits leave to each other has not been written for long.
    pub fn checkpoint_overdue(&self) -> bool {
        let core = self.core.borrow();
        core.log_bytes >= self.options.checkpoint_log_bytes.saturating_mul(2)
    }

    /// Writes what waits in memory to pages and empties the log.
    pub async fn checkpoint(&self, _turn: &Turn) -> Result<()> {
        commit::drain(self).await;
        if self.core.borrow().log_bytes == 0 {
            return Ok(());
        }
        let result = self.write_checkpoint().await;
        self.core.borrow_mut().checkpoint_error = result.clone().err();
        result
    }

    /// Writes a checkpoint whether or not one seems to be needed.
    pub async fn force_checkpoint(&self, _turn: &Turn) -> Result<()> {
        self.write_checkpoint().await
    }

    async fn write_checkpoint(&self) -> Result<()> {
        self.store_catalog().await?;
        let (checkpoint, chain) = self.core.borrow_mut().prepare_checkpoint();
        let written: Vec<PageId> = checkpoint.pages.iter().map(|(id, _)| *id).collect();
        self.core.borrow_mut().checkpointing = true;
        let result = self.backend.checkpoint(checkpoint).await;
        let mut core = self.core.borrow_mut();
        core.checkpointing = false;
        // Whether stored or not, these numbers are free for the next checkpoint's free list.
        core.free_chain = chain;
        result?;
        core.checkpoint += 1;
        core.log_bytes = 0;
        core.pager.mark_clean(written);
        core.pager.trim();
        Ok(())
    }

    /// Brings the catalog's tree up to date.
    async fn store_catalog(&self) -> Result<()> {
        let (mut catalog, mut root) = {
            let mut core = self.core.borrow_mut();
            core.check_open()?;
            core.pager.drop_layers(0);
            core.pager.push_layer();
            ((*core.catalog).clone(), core.catalog_root)
        };
        let dropped = catalog.dropped_ids();
        let changed = catalog.changed_ids();
        // A number that is used again is removed first and stored after.
        for (position, id) in dropped.iter().chain(&changed).copied().enumerate() {
            let stored = if position < dropped.len() {
                self.run(|core| catalog.remove_entry(&mut core.pager, root, id)).await
            } else {
                self.run(|core| catalog.store_entry(&mut core.pager, root, id)).await
            };
            match stored {
                Ok(new_root) => root = new_root,
                Err(error) => {
                    self.core.borrow_mut().pager.drop_layers(0);
                    return Err(error);
                }
            }
        }
        let mut core = self.core.borrow_mut();
        core.catalog_root = root;
        let sequence = core.sequence;
        core.commit(1, Rc::new(catalog), sequence, 0);
        Ok(())
    }

    /// The value under a key of a tree.
    pub async fn get(&self, generation: u64, root: PageId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.run_over(generation, |pager| Ok(btree::get(pager, root, key)?.map(|value| value.to_vec()))).await
    }
}

impl Core {
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn catalog_root(&self) -> PageId {
        self.catalog_root
    }

    /// Pages that hold the stored free list.
    pub fn free_chain(&self) -> &[PageId] {
        &self.free_chain
    }

    /// Whether states of this generation can be read and built upon.
    pub fn check(&self, generation: u64) -> Result<()> {
        self.check_open()?;
        if self.generation == generation { Ok(()) } else { Err(Error::Conflict) }
    }

    pub fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// The damage that was passed over.
    pub fn take_problems(&mut self) -> Vec<Error> {
        self.problems.take().unwrap_or_default()
    }

    /// Takes over a repaired catalog, to be stored in a new tree.
    pub fn rebuild_catalog(&mut self, mut catalog: Catalog) {
        catalog.change_all();
        self.catalog_root = PageId::NONE;
        self.free_chain.clear();
        let sequence = self.sequence;
        self.commit(1, Rc::new(catalog), sequence, 0);
    }

    /// Views of the states so far are worth nothing any more.
    pub fn begin_generation(&mut self) {
        self.generation += 1;
    }

    /// The state of the transactions in the bottom layers becomes the present one.
    pub fn commit(&mut self, layers: usize, catalog: Rc<Catalog>, sequence: u64, log_bytes: usize) {
        self.version += 1;
        self.catalog = catalog;
        self.sequence = sequence;
        self.log_bytes += log_bytes;
        self.pager.commit_layers(layers, self.version);
        self.reclaim();
    }

    /// Frees what no view can see.
    pub fn reclaim(&mut self) {
        let oldest = self.views.borrow().keys().next().copied();
        self.pager.reclaim(oldest.unwrap_or(self.version));
    }

    /// Everything a checkpoint writes, and the pages that hold its free list.
    fn prepare_checkpoint(&mut self) -> (Checkpoint, Vec<PageId>) {
        self.reclaim();
        let old_chain = std::mem::take(&mut self.free_chain);
        self.pager.add_free(old_chain);
        let page_size = self.pager.page_size();
        let numbers_per_page = page::capacity(page_size) / 4;
        let chain_length = self.pager.free_count().div_ceil(numbers_per_page);
        let chain: Vec<PageId> = (0..chain_length).map(|_| self.pager.allocate_number()).collect();
        let numbers = self.pager.free_numbers();
        let mut pages = self.pager.dirty_pages();
        let mut pieces = numbers.chunks(numbers_per_page);
        for (position, id) in chain.iter().enumerate() {
            let mut page = Page::new(page_size, PageKind::FreeList);
            page.set_page_numbers(pieces.next().unwrap_or(&[]));
            page.set_link(chain.get(position + 1).copied().unwrap_or(PageId::NONE));
            page.seal(*id);
            pages.push((*id, PageBytes(Rc::new(page))));
        }
        let root = RootRecord {
            page_size,
            sequence: self.sequence,
            next: self.pager.next_number(),
            free_list: chain.first().copied().unwrap_or(PageId::NONE),
            catalog: self.catalog_root,
        };
        let checkpoint = Checkpoint {
            expected_checkpoint: self.checkpoint,
            expected_sequence: self.sequence,
            root: root.encode(),
            pages,
        };
        (checkpoint, chain)
    }
}
