//! One page: a fixed number of bytes with a checksum, holding a tree node, a piece of a large value or a piece of the
//! free list.
//!
//! ```text
//! 0   u64  checksum: XXH64 of all that follows, seeded with the page number
//! 8   u8   kind
//! 10  u16  count: cells of a node, data bytes of an overflow page, page numbers of a free-list page
//! 12  u16  start of the cell area         } in an overflow page one u32: bytes of the value from this page on, which
//! 14  u16  dead bytes inside the cell area } falls from page to page, so that a chain cannot be a circle
//! 16  u32  next page of a chain, 0 at its end
//! 20  u16  offset of each cell, in key order …           … cells, growing down from the end of the page
//! ```
//!
//! A cell is a `u16` key length, a `u32` word, the key, and the payload. In a branch the word is the child page and
//! there is no payload; the first key is empty and stands for everything below the second. In a leaf the word is the
//! value's length and the payload the value, or with the top bit set the number of its first overflow page. Numbers are
//! little endian.
//!
//! Invariant: a `Page` was made here or has passed [`Page::open`], which checks every offset and the key order. The
//! accessors rest on that. A [`PageBytes`] hands out nothing but its bytes.

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use xxhash_rust::xxh64::xxh64;

use crate::error::{Error, Result};
use crate::key::lead;

/// Number of a page. Zero is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(pub u32);

impl PageId {
    pub(crate) const NONE: PageId = PageId(0);

    pub(crate) fn is_none(self) -> bool {
        self == PageId::NONE
    }
}

/// Smallest and largest size of a page in bytes.
pub(crate) const PAGE_SIZE_MIN: usize = 128;
pub(crate) const PAGE_SIZE_MAX: usize = 32768;

const HEADER: usize = 20;
const CELL_HEADER: usize = 6;
const SLOT: usize = 2;
const OVERFLOW: u32 = 1 << 31;

/// Longest value in bytes.
pub(crate) const VALUE_LENGTH_MAX: usize = (OVERFLOW - 1) as usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageKind {
    Leaf = 1,
    Branch = 2,
    Overflow = 3,
    FreeList = 4,
}

#[derive(Debug, Clone)]
pub(crate) struct Page {
    bytes: Vec<u8>,
}

/// The bytes of a page on their way to the store, shared with the cache.
#[derive(Debug, Clone)]
pub struct PageBytes(pub(crate) Rc<Page>);

impl Deref for PageBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl From<Vec<u8>> for PageBytes {
    /// Bytes that were stored before.
    fn from(bytes: Vec<u8>) -> PageBytes {
        PageBytes(Rc::new(Page { bytes }))
    }
}

/// A leaf's value: in the page or in a chain of overflow pages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeafValue {
    /// Offset in the page and length.
    Inline(usize, usize),
    /// First page and length.
    Overflow(PageId, usize),
}

/// A cell outside a page, on its way from one to another.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub key: Vec<u8>,
    pub word: u32,
    pub payload: Vec<u8>,
}

impl Cell {
    pub fn branch(key: Vec<u8>, child: PageId) -> Cell {
        Cell { key, word: child.0, payload: Vec::new() }
    }

    pub fn inline(key: &[u8], value: &[u8]) -> Cell {
        Cell { key: key.to_vec(), word: value.len() as u32, payload: value.to_vec() }
    }

    pub fn overflow(key: &[u8], length: usize, first: PageId) -> Cell {
        Cell { key: key.to_vec(), word: length as u32 | OVERFLOW, payload: first.0.to_le_bytes().to_vec() }
    }

    /// Bytes it takes in a page, its slot included.
    pub fn size(&self) -> usize {
        SLOT + CELL_HEADER + self.key.len() + self.payload.len()
    }
}

/// Bytes that cells and slots share in a page.
pub(crate) fn capacity(page_size: usize) -> usize {
    page_size - HEADER
}

/// Largest cell with its slot: four fit, so that both halves of a split page have room for one more.
pub(crate) fn cell_size_max(page_size: usize) -> usize {
    capacity(page_size) / 4
}

/// Longest key, such that it fits beside the number of an overflow page.
pub(crate) fn key_length_max(page_size: usize) -> usize {
    cell_size_max(page_size) - SLOT - CELL_HEADER - 4
}

/// Whether key and value go into one cell.
pub(crate) fn fits_inline(page_size: usize, key: &[u8], value: &[u8]) -> bool {
    SLOT + CELL_HEADER + key.len() + value.len() <= cell_size_max(page_size)
}

impl Page {
    pub fn new(page_size: usize, kind: PageKind) -> Page {
        let mut page = Page { bytes: vec![0; page_size] };
        page.bytes[8] = kind as u8;
        page.set_u16(12, page_size);
        page
    }

    /// Takes over stored bytes after checking checksum and structure.
    pub fn open(id: PageId, page_size: usize, bytes: Vec<u8>) -> Result<Page> {
        let page = Page { bytes };
        if page.bytes.len() != page_size
            || page.bytes[..8] != page.checksum(id).to_le_bytes()
            || !page.structure_holds()
        {
            return Err(Error::corrupt(id));
        }
        Ok(page)
    }

    /// Makes the bytes what is stored under this number.
    pub fn seal(&mut self, id: PageId) {
        let checksum = self.checksum(id);
        self.bytes[..8].copy_from_slice(&checksum.to_le_bytes());
    }

    fn checksum(&self, id: PageId) -> u64 {
        xxh64(&self.bytes[8..], u64::from(id.0))
    }

    fn structure_holds(&self) -> bool {
        let size = self.bytes.len();
        let count = self.count();
        match self.try_kind() {
            None => false,
            Some(PageKind::Overflow) => count > 0 && count <= capacity(size),
            Some(PageKind::FreeList) => count * 4 <= capacity(size),
            Some(kind) => self.node_holds(kind, size, count),
        }
    }

    fn node_holds(&self, kind: PageKind, size: usize, count: usize) -> bool {
        let start = self.cell_start();
        if count == 0 || start > size || HEADER + SLOT * count > start {
            return false;
        }
        let mut live = 0;
        for index in 0..count {
            let offset = self.u16(HEADER + SLOT * index);
            if offset < start || offset + CELL_HEADER > size {
                return false;
            }
            let word = self.u32(offset + 2);
            let cell = self.cell_length(offset);
            if offset + cell > size {
                return false;
            }
            live += cell;
            if SLOT + cell > cell_size_max(size) {
                return false;
            }
            let sound = match kind {
                PageKind::Branch => word != 0 && (index > 0 || self.key(0).is_empty()),
                _ => !matches!(self.leaf_value(index), LeafValue::Overflow(PageId(0), _)),
            };
            if !sound || (index > 0 && self.key(index - 1) >= self.key(index)) {
                return false;
            }
        }
        start + self.dead() + live == size
    }

    fn u16(&self, offset: usize) -> usize {
        let mut half = [0; 2];
        half.copy_from_slice(&self.bytes[offset..offset + 2]);
        usize::from(u16::from_le_bytes(half))
    }

    fn set_u16(&mut self, offset: usize, value: usize) {
        self.bytes[offset..offset + 2].copy_from_slice(&(value as u16).to_le_bytes());
    }

    fn u32(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[offset..offset + 4]);
        u32::from_le_bytes(word)
    }

    fn set_u32(&mut self, offset: usize, value: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn try_kind(&self) -> Option<PageKind> {
        match self.bytes[8] {
            1 => Some(PageKind::Leaf),
            2 => Some(PageKind::Branch),
            3 => Some(PageKind::Overflow),
            4 => Some(PageKind::FreeList),
            _ => None,
        }
    }

    pub fn is(&self, kind: PageKind) -> bool {
        self.bytes[8] == kind as u8
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn count(&self) -> usize {
        self.u16(10)
    }

    fn cell_start(&self) -> usize {
        self.u16(12)
    }

    fn dead(&self) -> usize {
        self.u16(14)
    }

    /// The next page of a chain.
    pub fn link(&self) -> PageId {
        PageId(self.u32(16))
    }

    pub fn set_link(&mut self, next: PageId) {
        self.set_u32(16, next.0);
    }

    fn offset(&self, index: usize) -> usize {
        self.u16(HEADER + SLOT * index)
    }

    fn cell_length(&self, offset: usize) -> usize {
        let word = self.u32(offset + 2);
        let payload = if self.is(PageKind::Branch) {
            0
        } else if word & OVERFLOW != 0 {
            4
        } else {
            word as usize
        };
        CELL_HEADER + self.u16(offset) + payload
    }

    pub fn key(&self, index: usize) -> &[u8] {
        let offset = self.offset(index);
        let start = offset + CELL_HEADER;
        &self.bytes[start..start + self.u16(offset)]
    }

    /// The child of a branch.
    pub fn child(&self, index: usize) -> PageId {
        PageId(self.u32(self.offset(index) + 2))
    }

    pub fn set_child(&mut self, index: usize, child: PageId) {
        let offset = self.offset(index);
        self.set_u32(offset + 2, child.0);
    }

    pub fn leaf_value(&self, index: usize) -> LeafValue {
        let offset = self.offset(index);
        let start = offset + CELL_HEADER + self.u16(offset);
        let word = self.u32(offset + 2);
        if word & OVERFLOW != 0 {
            LeafValue::Overflow(PageId(self.u32(start)), (word & !OVERFLOW) as usize)
        } else {
            LeafValue::Inline(start, word as usize)
        }
    }

    /// Whether a leaf's value has no bytes.
    pub fn is_bare(&self, index: usize) -> bool {
        self.u32(self.offset(index) + 2) == 0
    }

    pub fn slice(&self, start: usize, length: usize) -> &[u8] {
        &self.bytes[start..start + length]
    }

    pub fn cell(&self, index: usize) -> Cell {
        let offset = self.offset(index);
        let key_end = offset + CELL_HEADER + self.u16(offset);
        Cell {
            key: self.bytes[offset + CELL_HEADER..key_end].to_vec(),
            word: self.u32(offset + 2),
            payload: self.bytes[key_end..offset + self.cell_length(offset)].to_vec(),
        }
    }

    /// Bytes the cell takes, its slot included.
    pub fn cell_size(&self, index: usize) -> usize {
        SLOT + self.cell_length(self.offset(index))
    }

    /// Bytes that cells and slots take.
    pub fn used(&self) -> usize {
        SLOT * self.count() + self.size() - self.cell_start() - self.dead()
    }

    pub fn free(&self) -> usize {
        capacity(self.size()) - self.used()
    }

    /// Position of the key in a leaf, or where it would go.
    pub fn search(&self, key: &[u8]) -> std::result::Result<usize, usize> {
        let wanted = lead(key);
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            let lead = self.key_lead(middle);
            // Most keys differ in their first eight bytes, and the first byte that differs tells the order.
            let order = if lead == wanted {
                self.key(middle).cmp(key)
            } else {
                let byte = (lead ^ wanted).trailing_zeros() & 56;
                ((lead >> byte) as u8).cmp(&((wanted >> byte) as u8))
            };
            match order {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// What [`lead`] gives for a cell's key.
    fn key_lead(&self, index: usize) -> u64 {
        let offset = self.offset(index);
        let Some(cell) = self.bytes.get(offset..).and_then(|cell| cell.first_chunk::<{ CELL_HEADER + 8 }>()) else {
            return lead(self.key(index));
        };
        let [a, b, _, _, _, _, bytes @ ..] = *cell;
        // What follows a shorter key is its payload, or another cell.
        match u16::from_le_bytes([a, b]) {
            length @ 0..8 => u64::from_le_bytes(bytes) & ((1 << (8 * length)) - 1),
            _ => u64::from_le_bytes(bytes),
        }
    }

    /// Position of the child of a branch that covers the key.
    pub fn search_child(&self, key: &[u8]) -> usize {
        match self.search(key) {
            Ok(index) => index,
            Err(index) => index.saturating_sub(1),
        }
    }

    /// Inserts a cell at a position, or returns `false` when there is no room for it.
    pub fn insert(&mut self, index: usize, cell: &Cell) -> bool {
        self.insert_parts(index, &cell.key, cell.word, &cell.payload)
    }

    /// Likewise a leaf's entry whose value goes into the page.
    pub fn insert_inline(&mut self, index: usize, key: &[u8], value: &[u8]) -> bool {
        self.insert_parts(index, key, value.len() as u32, value)
    }

    fn insert_parts(&mut self, index: usize, key: &[u8], word: u32, payload: &[u8]) -> bool {
        let length = CELL_HEADER + key.len() + payload.len();
        if self.free() < SLOT + length {
            return false;
        }
        let count = self.count();
        let slots_end = HEADER + SLOT * (count + 1);
        if self.cell_start() < slots_end + length {
            self.compact();
        }
        let offset = self.cell_start() - length;
        self.set_u16(12, offset);
        self.set_u16(offset, key.len());
        self.set_u32(offset + 2, word);
        let key_end = offset + CELL_HEADER + key.len();
        self.bytes[offset + CELL_HEADER..key_end].copy_from_slice(key);
        self.bytes[key_end..key_end + payload.len()].copy_from_slice(payload);
        let slot = HEADER + SLOT * index;
        self.bytes.copy_within(slot..HEADER + SLOT * count, slot + SLOT);
        self.set_u16(slot, offset);
        self.set_u16(10, count + 1);
        true
    }

    /// Puts another value in place of one in the page that takes as many bytes or more, or returns `false`.
    pub fn replace_inline(&mut self, index: usize, value: &[u8]) -> bool {
        let LeafValue::Inline(start, length) = self.leaf_value(index) else {
            return false;
        };
        if value.len() > length {
            return false;
        }
        self.bytes[start..start + value.len()].copy_from_slice(value);
        let offset = self.offset(index);
        self.set_u32(offset + 2, value.len() as u32);
        self.set_u16(14, self.dead() + length - value.len());
        true
    }

    pub fn remove(&mut self, index: usize) {
        let count = self.count();
        let dead = self.dead() + self.cell_length(self.offset(index));
        self.set_u16(14, dead);
        let slot = HEADER + SLOT * index;
        self.bytes.copy_within(slot + SLOT..HEADER + SLOT * count, slot);
        self.set_u16(10, count - 1);
    }

    /// Moves the live cells together at the end of the page.
    fn compact(&mut self) {
        let old = self.clone();
        let mut start = self.size();
        for index in 0..self.count() {
            let offset = old.offset(index);
            let length = old.cell_length(offset);
            start -= length;
            self.bytes[start..start + length].copy_from_slice(old.slice(offset, length));
            self.set_u16(HEADER + SLOT * index, start);
        }
        self.set_u16(12, start);
        self.set_u16(14, 0);
    }

    /// The data of an overflow page, `None` for any other page.
    pub fn data(&self) -> Option<&[u8]> {
        self.is(PageKind::Overflow).then(|| &self.bytes[HEADER..HEADER + self.count()])
    }

    /// Bytes of the value from this overflow page on.
    pub fn bytes_left(&self) -> usize {
        self.u32(12) as usize
    }

    pub fn set_data(&mut self, data: &[u8], bytes_left: usize) {
        self.set_u16(10, data.len());
        self.set_u32(12, bytes_left as u32);
        self.bytes[HEADER..HEADER + data.len()].copy_from_slice(data);
    }

    /// The page numbers of a free-list page, `None` for any other page.
    pub fn page_numbers(&self) -> Option<impl Iterator<Item = PageId> + '_> {
        self.is(PageKind::FreeList).then(|| (0..self.count()).map(|index| PageId(self.u32(HEADER + 4 * index))))
    }

    pub fn set_page_numbers(&mut self, numbers: &[PageId]) {
        self.set_u16(10, numbers.len());
        for (index, number) in numbers.iter().enumerate() {
            self.set_u32(HEADER + 4 * index, number.0);
        }
    }
}
