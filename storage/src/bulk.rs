//! Building a tree from entries that come in order: pages are filled one after the other and never looked at again.
//!
//! Each level holds back up to two pages of cells, so that the last two can share evenly. Pages are left an eighth free:
//! full ones would all be split by the first insertions that follow.

use crate::btree;
use crate::page::{self, Cell, PageId, PageKind};
use crate::pager::Pager;

/// A tree under construction. Keys must be pushed in ascending order, each once.
#[derive(Default)]
pub(crate) struct Builder {
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    cells: Vec<Cell>,
    bytes: usize,
    pages: u64,
    /// Of a leaf level: the last key of the page before, which bounds the separator from below.
    last_key: Vec<u8>,
}

impl Builder {
    pub fn push(&mut self, pager: &mut Pager, key: &[u8], value: &[u8]) {
        let cell = btree::store_value(pager, key, value);
        self.add(pager, 0, cell);
    }

    fn add(&mut self, pager: &mut Pager, level: usize, cell: Cell) {
        if level == self.levels.len() {
            self.levels.push(Level::default());
        }
        let here = &mut self.levels[level];
        here.bytes += cell.size();
        here.cells.push(cell);
        let limit = fill(pager);
        if here.bytes > 2 * limit {
            let mut taken = 0;
            let count = here.cells.iter().take_while(|cell| {
                taken += cell.size();
                taken <= limit
            });
            let count = count.count();
            self.close_page(pager, level, count);
        }
    }

    /// Makes a page of the first cells of a level.
    fn close_page(&mut self, pager: &mut Pager, level: usize, count: usize) {
        let here = &mut self.levels[level];
        let rest = here.cells.split_off(count);
        let mut cells = std::mem::replace(&mut here.cells, rest);
        here.bytes -= cells.iter().map(Cell::size).sum::<usize>();
        let kind = if level == 0 { PageKind::Leaf } else { PageKind::Branch };
        let first = here.pages == 0;
        here.pages += 1;
        let separator = match (first, kind) {
            (true, PageKind::Leaf) => Vec::new(),
            _ => btree::cut_key(kind, &here.last_key, &mut cells[0].key),
        };
        if kind == PageKind::Leaf {
            here.last_key.clone_from(&cells[cells.len() - 1].key);
        }
        let page = btree::build(pager.page_size(), kind, &cells);
        let id = pager.allocate(page);
        self.add(pager, level + 1, Cell::branch(separator, id));
    }

    /// The root of the finished tree.
    pub fn finish(mut self, pager: &mut Pager) -> PageId {
        let capacity = page::capacity(pager.page_size());
        let mut level = 0;
        while level < self.levels.len() {
            let here = &self.levels[level];
            if level > 0 && here.pages == 0 && here.cells.len() == 1 {
                return PageId(here.cells[0].word);
            }
            if here.bytes > capacity {
                let middle = btree::middle(&here.cells);
                self.close_page(pager, level, middle);
            }
            let count = self.levels[level].cells.len();
            self.close_page(pager, level, count);
            level += 1;
        }
        PageId::NONE
    }
}

/// Bytes that a page is filled to.
fn fill(pager: &Pager) -> usize {
    let capacity = page::capacity(pager.page_size());
    capacity - capacity / 8
}
