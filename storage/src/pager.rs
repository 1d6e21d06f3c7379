//! The pages in memory: a cache with a byte budget, the allocator of page numbers, and copy on write.
//!
//! The pager does no I/O. A page that is not in memory is a [`Fault::Miss`]; the driver loads it with [`Pager::add`]
//! and runs the step again. A step therefore reads everything it needs before it changes anything.
//!
//! Copy on write: a transaction changes only pages it has allocated itself. `own` copies a page on its first change and
//! releases the old number, which becomes free once no snapshot older than the transaction's commit is alive. A page
//! that was never stored (dirty) stays in memory until a checkpoint or a spill; all others can be dropped at any time
//! between steps.
//!
//! Layers: what is not yet committed lies in layers, each with the numbers it took and released. A transaction begins with
//! one, a savepoint adds one, transactions whose commits are on their way to the backend leave theirs below. The top ones can
//! be dropped, the bottom ones committed. Only pages of the top layer are changed in place.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use crate::error::{Error, Fault, Result, Step};
use crate::page::{Page, PageBytes, PageId};

/// Pages asked for beyond the one that is missing, when a step knows what it will read next.
pub(crate) const READ_AHEAD: usize = 8;

pub(crate) struct Pager {
    page_size: usize,
    cache_bytes_max: usize,
    cache: HashMap<PageId, Entry, BuildHasherDefault<PageHasher>>,
    tick: u64,
    dirty_count: usize,
    /// The first number never given out.
    next: u32,
    /// The lowest number is taken first, which keeps the store compact.
    free: BTreeSet<PageId>,
    /// Numbers released by the commit that made this version, oldest first.
    pending: Vec<(u64, Vec<PageId>)>,
    /// Number of the top layer, never used before.
    epoch: u64,
    layers: Vec<Layer>,
}

/// Changes that may still be undone.
#[derive(Default)]
struct Layer {
    /// Numbers it took.
    allocated: Vec<PageId>,
    /// Numbers it took and has no use for.
    reusable: Vec<PageId>,
    /// Numbers it took over and uses no longer.
    released: Vec<PageId>,
}

struct Entry {
    page: Rc<Page>,
    dirty: bool,
    /// The transaction that allocated the page; zero for a page read from the backend.
    epoch: u64,
    used: u64,
}

/// Page numbers are dense, so spreading them over the upper bits is all a table needs.
#[derive(Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Pager {
    pub fn new(page_size: usize, cache_bytes_max: usize) -> Pager {
        Pager {
            page_size,
            cache_bytes_max,
            cache: HashMap::default(),
            tick: 0,
            dirty_count: 0,
            next: 1,
            free: BTreeSet::new(),
            pending: Vec::new(),
            epoch: 1,
            layers: Vec::new(),
        }
    }

    /// Forgets all pages and starts from a stored state.
    pub fn reset(&mut self, next: u32) {
        let (page_size, cache_bytes_max, epoch) = (self.page_size, self.cache_bytes_max, self.epoch);
        *self = Pager::new(page_size, cache_bytes_max);
        self.next = next;
        self.epoch = epoch + 1;
    }

    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// The first page number never given out.
    pub fn next_number(&self) -> u32 {
        self.next
    }

    pub fn cached_bytes(&self) -> usize {
        self.cache.len() * self.page_size
    }

    pub fn dirty_bytes(&self) -> usize {
        self.dirty_count * self.page_size
    }

    pub fn free_count(&self) -> usize {
        self.free.len() + self.pending.iter().map(|(_, ids)| ids.len()).sum::<usize>()
    }

    /// The page of this number.
    pub fn page(&mut self, id: PageId) -> Step<Rc<Page>> {
        if id.is_none() || id.0 >= self.next {
            return Err(Error::corrupt(id).into());
        }
        self.tick += 1;
        match self.cache.get_mut(&id) {
            Some(entry) => {
                entry.used = self.tick;
                Ok(entry.page.clone())
            }
            None => Err(Fault::Miss(vec![id])),
        }
    }

    /// Whether reading this page ahead can be of use.
    pub fn can_read_ahead(&self, id: PageId) -> bool {
        id.0 < self.next && !self.cache.contains_key(&id) && !self.free.contains(&id)
    }

    /// Puts a page read from the backend into the cache.
    pub fn add(&mut self, id: PageId, bytes: Option<Vec<u8>>) -> Result<()> {
        if self.cache.contains_key(&id) {
            return Ok(());
        }
        let bytes = bytes.ok_or_else(|| Error::corrupt(id))?;
        let page = Rc::new(Page::open(id, self.page_size, bytes)?);
        self.tick += 1;
        self.cache.insert(id, Entry { page, dirty: false, epoch: 0, used: self.tick });
        Ok(())
    }

    /// Gives a new page of the open transaction its number.
    pub fn allocate(&mut self, page: Page) -> PageId {
        self.insert_owned(Rc::new(page))
    }

    fn insert_owned(&mut self, page: Rc<Page>) -> PageId {
        let cache = &self.cache;
        let reusable = self.layers.last_mut().and_then(|layer| layer.reusable.pop_if(|id| !cache.contains_key(id)));
        let id = match reusable {
            Some(id) => id,
            None => {
                let id = self.allocate_number();
                if let Some(layer) = self.layers.last_mut() {
                    layer.allocated.push(id);
                }
                id
            }
        };
        self.tick += 1;
        let entry = Entry { page, dirty: true, epoch: self.epoch, used: self.tick };
        self.insert_entry(id, entry);
        id
    }

    fn insert_entry(&mut self, id: PageId, entry: Entry) {
        self.dirty_count += usize::from(entry.dirty);
        if let Some(old) = self.cache.insert(id, entry) {
            self.dirty_count -= usize::from(old.dirty);
        }
    }

    fn forget(&mut self, id: PageId) {
        if let Some(old) = self.cache.remove(&id) {
            self.dirty_count -= usize::from(old.dirty);
        }
    }

    /// Takes a free page number, for a page that does not go through the cache.
    ///
    /// A free page is never in the cache; where a damaged free list says otherwise, the number is left alone, so that
    /// within a step a new page never takes the place of one that was read.
    pub fn allocate_number(&mut self) -> PageId {
        while let Some(id) = self.free.pop_first() {
            if !self.cache.contains_key(&id) {
                return id;
            }
        }
        let id = PageId(self.next);
        self.next = self.next.checked_add(1).expect("a database has fewer than 2^32 pages");
        id
    }

    /// Makes a page changeable: the number of the page itself when the transaction allocated it, else of a copy.
    pub fn own(&mut self, id: PageId) -> PageId {
        let entry = self.cache.get(&id).expect("a step reads a page before it changes it");
        if entry.epoch == self.epoch {
            return id;
        }
        let page = entry.page.clone();
        self.release(id);
        self.insert_owned(page)
    }

    /// The content of a page that the open transaction owns.
    pub fn page_mut(&mut self, id: PageId) -> &mut Page {
        let entry = self.cache.get_mut(&id).expect("a step reads a page before it changes it");
        assert_eq!(entry.epoch, self.epoch, "a transaction changes only pages it owns");
        Rc::make_mut(&mut entry.page)
    }

    /// The top layer's tree uses the page no longer.
    pub fn release(&mut self, id: PageId) {
        let is_own = self.cache.get(&id).is_some_and(|entry| entry.epoch == self.epoch);
        if is_own {
            self.forget(id);
        }
        if let Some(layer) = self.layers.last_mut() {
            if is_own { layer.reusable.push(id) } else { layer.released.push(id) }
        }
    }

    /// Layers that are not yet committed.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Puts a layer on top.
    pub fn push_layer(&mut self) {
        self.epoch += 1;
        self.layers.push(Layer::default());
    }

    /// Makes the layers above this many one with the one below them.
    pub fn merge_layers(&mut self, count: usize) {
        while self.layers.len() > count.max(1) {
            let Some(top) = self.layers.pop() else { return };
            if let Some(below) = self.layers.last_mut() {
                below.allocated.extend(top.allocated);
                below.reusable.extend(top.reusable);
                below.released.extend(top.released);
            }
        }
    }

    /// Drops the layers above this many, with their pages.
    pub fn drop_layers(&mut self, count: usize) {
        while self.layers.len() > count {
            self.epoch += 1;
            let Some(top) = self.layers.pop() else { return };
            for id in top.allocated {
                self.forget(id);
                self.free.insert(id);
            }
        }
    }

    /// Commits the bottom layers. What they released is used by versions before `version` only.
    pub fn commit_layers(&mut self, count: usize, version: u64) {
        let mut released = Vec::new();
        for layer in self.layers.drain(..count).collect::<Vec<_>>() {
            self.add_free(layer.reusable);
            released.extend(layer.released);
        }
        if !released.is_empty() {
            self.pending.push((version, released));
        }
        if self.layers.is_empty() {
            self.epoch += 1;
        }
    }

    /// Frees what no living snapshot can see; `oldest` is the oldest version that one holds.
    pub fn reclaim(&mut self, oldest: u64) {
        let ready = self.pending.iter().take_while(|(version, _)| *version <= oldest).count();
        for (_, ids) in self.pending.drain(..ready).collect::<Vec<_>>() {
            for id in ids {
                self.forget(id);
                self.free.insert(id);
            }
        }
    }

    /// Adds numbers to the free list.
    pub fn add_free(&mut self, ids: impl IntoIterator<Item = PageId>) {
        for id in ids {
            self.forget(id);
            self.free.insert(id);
        }
    }

    /// Uses no number again that was free.
    pub fn forget_free(&mut self) {
        self.free.clear();
        self.pending.clear();
    }

    /// Makes every number free that is not used.
    pub fn free_all_but(&mut self, used: &BTreeSet<PageId>) {
        self.pending.clear();
        let unused = (1..self.next).map(PageId).filter(|id| !used.contains(id)).collect::<Vec<_>>();
        self.add_free(unused);
    }

    /// Every number that is free once all snapshots are gone.
    pub fn free_numbers(&self) -> Vec<PageId> {
        let pending = self.pending.iter().flat_map(|(_, ids)| ids);
        let mut numbers: Vec<PageId> = self.free.iter().chain(pending).copied().collect();
        cu_sort::sort(&mut numbers);
        numbers
    }

    /// The sealed pages a checkpoint has to write, in order of number.
    pub fn dirty_pages(&mut self) -> Vec<(PageId, PageBytes)> {
        let mut pending: Vec<PageId> = self.pending.iter().flat_map(|(_, ids)| ids).copied().collect();
        cu_sort::sort(&mut pending);
        let mut pages: Vec<(PageId, PageBytes)> = self
            .cache
            .iter_mut()
            .filter(|(id, entry)| entry.dirty && pending.binary_search(id).is_err())
            .map(|(id, entry)| {
                Rc::make_mut(&mut entry.page).seal(*id);
                (*id, PageBytes(entry.page.clone()))
            })
            .collect();
        cu_sort::sort_by(&mut pages, |left, right| left.0.cmp(&right.0));
        pages
    }

    /// These pages are stored now.
    pub fn mark_clean(&mut self, ids: impl IntoIterator<Item = PageId>) {
        for id in ids {
            if let Some(entry) = self.cache.get_mut(&id)
                && entry.dirty
            {
                entry.dirty = false;
                self.dirty_count -= 1;
            }
        }
    }

    /// Drops the least recently used stored pages when all pages together are over the budget. Called between steps.
    pub fn trim(&mut self) {
        let clean_count = self.cache.len() - self.dirty_count;
        // Pages that wait for a checkpoint cannot go. However many they are, reading needs some room.
        let room = self.cache_bytes_max.saturating_sub(self.dirty_bytes()).max(self.cache_bytes_max / 8);
        if clean_count * self.page_size <= room {
            return;
        }
        let mut clean: Vec<(u64, PageId)> =
            self.cache.iter().filter(|(_, entry)| !entry.dirty).map(|(id, entry)| (entry.used, *id)).collect();
        // Down to three quarters, so that the sorting is paid for by many later loads.
        let target = room / 4 * 3 / self.page_size;
        let excess = clean_count.saturating_sub(target);
        cu_sort::sort(&mut clean);
        for (_, id) in clean.into_iter().take(excess) {
            self.forget(id);
        }
    }
}
