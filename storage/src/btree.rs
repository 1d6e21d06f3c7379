//! The copy-on-write B+tree: look-up, insertion and removal. A tree is the number of its root page, zero when it is
//! empty; a change gives the new root.
//!
//! Every function first reads all pages it needs, which is where it can stop with a miss, and only then changes
//! anything. So a step that stopped is simply run again.
//!
//! Shape: all leaves at one depth; no node is empty; a branch's first key is empty and each other key is a lower bound
//! of its child and above everything in the child before (as short as that allows). A node under a quarter full is
//! merged with a neighbour or takes cells from it. Values that do not fit a quarter of a page go to a chain of overflow
//! pages.

use std::ops::Deref;
use std::rc::Rc;

use crate::error::{Error, Fault, Result, Step};
use crate::page::{self, Cell, LeafValue, Page, PageId, PageKind};
use crate::pager::{Pager, READ_AHEAD};

/// More levels than any tree has: with two children each, it would have 2^48 leaves.
pub(crate) const DEPTH_MAX: usize = 48;

/// The bytes of a value, shared with the page that holds them.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Inline(Rc<Page>, usize, usize),
    Owned(Vec<u8>),
}

impl Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Value::Inline(page, start, length) => page.slice(*start, *length),
            Value::Owned(bytes) => bytes,
        }
    }
}

/// Checks that key and value can be stored in pages of this size.
pub(crate) fn check_entry(page_size: usize, key: &[u8], value: &[u8]) -> Result<()> {
    let longest = page::key_length_max(page_size);
    if key.len() > longest {
        return Err(Error::invalid("key", format!("longer than {longest} encoded bytes")));
    }
    if value.len() > page::VALUE_LENGTH_MAX {
        return Err(Error::invalid("value", "longer than 2 GiB"));
    }
    Ok(())
}

/// The value under a key.
pub(crate) fn get(pager: &mut Pager, root: PageId, key: &[u8]) -> Step<Option<Value>> {
    if root.is_none() {
        return Ok(None);
    }
    let mut id = root;
    for _ in 0..DEPTH_MAX {
        let page = node(pager, id)?;
        if page.is(PageKind::Branch) {
            id = page.child(page.search_child(key));
        } else {
            return match page.search(key) {
                Ok(index) => load_value(pager, &page, index).map(Some),
                Err(_) => Ok(None),
            };
        }
    }
    Err(Error::corrupt(id).into())
}

/// About which part of a tree's entries is below a key, from the position of the key in each page on the way to it.
pub(crate) fn fraction_below(pager: &mut Pager, root: PageId, key: &[u8]) -> Step<f64> {
    let (mut below, mut width) = (0.0, 1.0);
    if root.is_none() {
        return Ok(below);
    }
    let mut id = root;
    for _ in 0..DEPTH_MAX {
        let page = node(pager, id)?;
        let count = page.count() as f64;
        if page.is(PageKind::Leaf) {
            let index = page.search(key).unwrap_or_else(|index| index);
            return Ok(below + width * index as f64 / count);
        }
        let index = page.search_child(key);
        below += width * index as f64 / count;
        width /= count;
        id = page.child(index);
    }
    Err(Error::corrupt(id).into())
}

/// Puts a value under a key. Returns the new root and whether the key was new.
pub(crate) fn insert(pager: &mut Pager, root: PageId, key: &[u8], value: &[u8]) -> Step<(PageId, bool)> {
    if root.is_none() {
        let mut page = Page::new(pager.page_size(), PageKind::Leaf);
        let fits = page.insert(0, &store_value(pager, key, value));
        assert!(fits, "a cell is at most a quarter of a page");
        return Ok((pager.allocate(page), true));
    }
    let path = descend(pager, root, key)?;
    insert_at(pager, root, path, key, value)
}

/// [`insert`] where the way to the key is known, which no change of the tree has made old.
pub(crate) fn insert_at(pager: &mut Pager, root: PageId, path: Path, key: &[u8], value: &[u8]) -> Step<(PageId, bool)> {
    let old_chain = path.overflow_chain(pager)?;

    // Nothing stops from here on.
    for id in old_chain {
        pager.release(id);
    }
    let is_inline = page::fits_inline(pager.page_size(), key, value);
    let cell = (!is_inline).then(|| store_value(pager, key, value));
    let leaf = pager.own(path.leaf);
    let page = pager.page_mut(leaf);
    let is_replaced = path.slot.is_ok_and(|index| cell.is_none() && page.replace_inline(index, value));
    let index = match path.slot {
        Ok(index) => {
            if !is_replaced {
                page.remove(index);
            }
            index
        }
        Err(index) => index,
    };
    let mut split = match cell {
        None if is_replaced || page.insert_inline(index, key, value) => None,
        None => place(pager, leaf, index, Cell::inline(key, value)),
        Some(cell) => place(pager, leaf, index, cell),
    };
    let mut old = path.leaf;
    let mut child = leaf;
    for (id, index) in path.branches.into_iter().rev() {
        if child == old && split.is_none() {
            return Ok((root, path.slot.is_err()));
        }
        let branch = pager.own(id);
        pager.page_mut(branch).set_child(index, child);
        split = split.and_then(|cell| place(pager, branch, index + 1, cell));
        old = id;
        child = branch;
    }
    if let Some(right) = split {
        let left = Cell::branch(Vec::new(), child);
        child = pager.allocate(build(pager.page_size(), PageKind::Branch, &[left, right]));
    }
    Ok((child, path.slot.is_err()))
}

/// Removes a key. Returns the new root, or `None` when the key is not there.
pub(crate) fn remove(pager: &mut Pager, root: PageId, key: &[u8]) -> Step<Option<PageId>> {
    if root.is_none() {
        return Ok(None);
    }
    let path = descend(pager, root, key)?;
    let Ok(slot) = path.slot else {
        return Ok(None);
    };
    let old_chain = path.overflow_chain(pager)?;
    let fixes = plan_fixes(pager, &path, slot)?;

    // Nothing stops from here on.
    for id in old_chain {
        pager.release(id);
    }
    let mut child = pager.own(path.leaf);
    let mut old = path.leaf;
    pager.page_mut(child).remove(slot);
    let mut fixes = fixes.into_iter();
    for (id, index) in path.branches.into_iter().rev() {
        let fix = fixes.next();
        if fix.is_none() && child == old {
            return Ok(Some(root));
        }
        let branch = pager.own(id);
        pager.page_mut(branch).set_child(index, child);
        match fix {
            Some(Fix::Drop) => drop_child(pager, branch, index),
            Some(Fix::Merge(left)) => merge(pager, branch, left),
            Some(Fix::Share(left)) => share(pager, branch, left),
            None => {}
        }
        old = id;
        child = branch;
    }
    Ok(Some(collapse_root(pager, child)))
}

/// The pages from the root to the leaf that covers a key.
pub(crate) struct Path {
    /// Branches with the position of the child taken.
    branches: Vec<(PageId, usize)>,
    leaf: PageId,
    /// Where the key is in the leaf, or would go.
    slot: std::result::Result<usize, usize>,
}

impl Path {
    /// Whether the key is in the tree.
    pub fn is_found(&self) -> bool {
        self.slot.is_ok()
    }

    /// Whether the key before or the one behind the place of a key that is not in the tree passes a test; `None` where the leaf does
    /// not have both.
    pub fn any_beside(&self, pager: &mut Pager, test: impl Fn(&[u8]) -> bool) -> Step<Option<bool>> {
        let page = node(pager, self.leaf)?;
        Ok(match self.slot {
            Err(index) if index > 0 && index < page.count() => Some(test(page.key(index - 1)) || test(page.key(index))),
            _ => None,
        })
    }

    /// The overflow pages of the value under the key.
    fn overflow_chain(&self, pager: &mut Pager) -> Step<Vec<PageId>> {
        let Ok(index) = self.slot else {
            return Ok(Vec::new());
        };
        let page = node(pager, self.leaf)?;
        overflow_pages(pager, &page, index)
    }
}

/// What a removal does to the parent of a node that became too small.
enum Fix {
    /// The node is empty and goes.
    Drop,
    /// The children at this position and the next become one.
    Merge(usize),
    /// The children at this position and the next share their cells evenly.
    Share(usize),
}

/// A leaf or branch.
pub(crate) fn node(pager: &mut Pager, id: PageId) -> Step<Rc<Page>> {
    let page = pager.page(id)?;
    if page.is(PageKind::Leaf) || page.is(PageKind::Branch) { Ok(page) } else { Err(Error::corrupt(id).into()) }
}

pub(crate) fn descend(pager: &mut Pager, root: PageId, key: &[u8]) -> Step<Path> {
    let mut branches = Vec::new();
    let mut id = root;
    loop {
        let page = node(pager, id)?;
        if page.is(PageKind::Leaf) {
            return Ok(Path { branches, leaf: id, slot: page.search(key) });
        }
        if branches.len() == DEPTH_MAX {
            return Err(Error::corrupt(id).into());
        }
        let index = page.search_child(key);
        branches.push((id, index));
        id = page.child(index);
    }
}

/// The value of a leaf's cell.
pub(crate) fn load_value(pager: &mut Pager, page: &Rc<Page>, index: usize) -> Step<Value> {
    match page.leaf_value(index) {
        LeafValue::Inline(start, length) => Ok(Value::Inline(page.clone(), start, length)),
        LeafValue::Overflow(first, length) => {
            let mut bytes = Vec::new();
            walk_chain(pager, first, length, |_, data| {
                bytes.extend_from_slice(data);
            })?;
            Ok(Value::Owned(bytes))
        }
    }
}

/// The overflow pages of a leaf's value.
pub(crate) fn overflow_pages(pager: &mut Pager, page: &Page, index: usize) -> Step<Vec<PageId>> {
    let mut ids = Vec::new();
    if let LeafValue::Overflow(first, length) = page.leaf_value(index) {
        walk_chain(pager, first, length, |id, _| ids.push(id))?;
    }
    Ok(ids)
}

/// Visits the overflow pages of a value. A chain that does not have exactly the value's length is corrupt.
fn walk_chain(pager: &mut Pager, first: PageId, length: usize, mut visit: impl FnMut(PageId, &[u8])) -> Step<()> {
    let mut id = first;
    let mut left = length;
    while left > 0 {
        let page = pager.page(id).map_err(|fault| ahead_in_chain(pager, fault, left))?;
        let data = page.data().ok_or(Error::corrupt(id))?;
        if page.bytes_left() != left || data.len() > left {
            return Err(Error::corrupt(id).into());
        }
        visit(id, data);
        left -= data.len();
        id = page.link();
    }
    if id.is_none() { Ok(()) } else { Err(Error::corrupt(id).into()) }
}

/// The pages of a node that are below it: children and the overflow pages of values.
pub(crate) fn pages_below(pager: &mut Pager, id: PageId) -> Step<(Vec<PageId>, Vec<PageId>)> {
    let page = node(pager, id)?;
    if page.is(PageKind::Branch) {
        return Ok(((0..page.count()).map(|index| page.child(index)).collect(), Vec::new()));
    }
    let mut overflow = Vec::new();
    for index in 0..page.count() {
        overflow.append(&mut overflow_pages(pager, &page, index)?);
    }
    Ok((Vec::new(), overflow))
}

/// A chain is mostly written to consecutive numbers, so a miss asks for those too.
fn ahead_in_chain(pager: &Pager, fault: Fault, bytes_left: usize) -> Fault {
    let Fault::Miss(mut ids) = fault else {
        return fault;
    };
    let more = (bytes_left / page::capacity(pager.page_size())).min(READ_AHEAD) as u32;
    let first = ids[0].0;
    ids.extend(
        (1..=more).map(|distance| PageId(first.saturating_add(distance))).filter(|id| pager.can_read_ahead(*id)),
    );
    Fault::Miss(ids)
}

/// Makes the cell of an entry, writing overflow pages when the value is large.
pub(crate) fn store_value(pager: &mut Pager, key: &[u8], value: &[u8]) -> Cell {
    let page_size = pager.page_size();
    if page::fits_inline(page_size, key, value) {
        return Cell::inline(key, value);
    }
    // Numbers first, in ascending order: from front to back they then mostly follow each other in the store.
    let pieces: Vec<&[u8]> = value.chunks(page::capacity(page_size)).collect();
    let mut left = value.len();
    let ids: Vec<PageId> = pieces
        .iter()
        .map(|piece| {
            let mut page = Page::new(page_size, PageKind::Overflow);
            page.set_data(piece, left);
            left -= piece.len();
            pager.allocate(page)
        })
        .collect();
    for pair in ids.windows(2) {
        pager.page_mut(pair[0]).set_link(pair[1]);
    }
    Cell::overflow(key, value.len(), ids[0])
}

/// Inserts a cell into an owned node. A full node is split; the result is then the cell of the new right neighbour for
/// the parent.
fn place(pager: &mut Pager, id: PageId, index: usize, cell: Cell) -> Option<Cell> {
    let page = pager.page_mut(id);
    if page.insert(index, &cell) {
        return None;
    }
    let kind = kind_of(page);
    let page_size = page.size();
    // Appending at the end leaves the full page as it is, which keeps sequential loads dense.
    if index == page.count() {
        let mut right = vec![cell];
        let separator = cut_key(kind, page.key(index - 1), &mut right[0].key);
        let right = pager.allocate(build(page_size, kind, &right));
        return Some(Cell::branch(separator, right));
    }
    let mut cells: Vec<Cell> = (0..page.count()).map(|index| page.cell(index)).collect();
    cells.insert(index, cell);
    let middle = middle(&cells);
    let (right, separator) = split_off(kind, &mut cells, middle);
    *pager.page_mut(id) = build(page_size, kind, &cells);
    let right = pager.allocate(build(page_size, kind, &right));
    Some(Cell::branch(separator, right))
}

fn kind_of(page: &Page) -> PageKind {
    if page.is(PageKind::Leaf) { PageKind::Leaf } else { PageKind::Branch }
}

/// Where to cut cells so that both parts take about the same bytes, none being empty.
pub(crate) fn middle(cells: &[Cell]) -> usize {
    let total: usize = cells.iter().map(Cell::size).sum();
    let mut left = 0;
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 && left + cell.size() / 2 >= total / 2 {
            return index;
        }
        left += cell.size();
    }
    cells.len() - 1
}

/// Cuts cells in two. Returns the right part and the key between them.
fn split_off(kind: PageKind, cells: &mut Vec<Cell>, middle: usize) -> (Vec<Cell>, Vec<u8>) {
    let mut right = cells.split_off(middle);
    let last = &cells[cells.len() - 1].key;
    let separator = cut_key(kind, last, &mut right[0].key);
    (right, separator)
}

/// The key that goes up between two nodes. A branch gives its right part's first key away; for leaves it is as much of the
/// right part's first key as tells it from the last one on the left.
pub(crate) fn cut_key(kind: PageKind, last: &[u8], first: &mut Vec<u8>) -> Vec<u8> {
    if kind == PageKind::Branch {
        return std::mem::take(first);
    }
    let common = last.iter().zip(first.iter()).take_while(|(a, b)| a == b);
    let length = common.count() + 1;
    first[..length].to_vec()
}

pub(crate) fn build(page_size: usize, kind: PageKind, cells: &[Cell]) -> Page {
    let mut page = Page::new(page_size, kind);
    for (index, cell) in cells.iter().enumerate() {
        let fits = page.insert(index, cell);
        assert!(fits, "cells are cut so that each part fits a page");
    }
    page
}

/// Decides from the leaf upwards what the removal of a leaf's cell leads to, reading the neighbours that takes.
fn plan_fixes(pager: &mut Pager, path: &Path, slot: usize) -> Step<Vec<Fix>> {
    let capacity = page::capacity(pager.page_size());
    let leaf = node(pager, path.leaf)?;
    let mut used = leaf.used() - leaf.cell_size(slot);
    let mut kind = PageKind::Leaf;
    let mut fixes = Vec::new();
    let mut here = path.leaf;
    for &(id, index) in path.branches.iter().rev() {
        let parent = node(pager, id)?;
        let count = parent.count();
        if used == 0 {
            fixes.push(Fix::Drop);
            used = parent.used() - parent.cell_size(index);
            if index == 0 && count > 1 {
                used -= parent.key(1).len();
            }
        } else if used >= capacity / 4 || count == 1 {
            break;
        } else {
            let left = index.saturating_sub(1);
            let sibling_id = parent.child(if index > 0 { left } else { 1 });
            let sibling = node(pager, sibling_id)?;
            let on_path = path.branches.iter().any(|(id, _)| *id == sibling_id);
            if !sibling.is(kind) || sibling_id == here || on_path {
                return Err(Error::corrupt(id).into());
            }
            let key_down = if kind == PageKind::Branch { parent.key(left + 1).len() } else { 0 };
            if used + sibling.used() + key_down > capacity {
                fixes.push(Fix::Share(left));
                break;
            }
            fixes.push(Fix::Merge(left));
            used = parent.used() - parent.cell_size(left + 1);
        }
        kind = PageKind::Branch;
        here = id;
    }
    Ok(fixes)
}

/// Removes an empty child from an owned branch.
fn drop_child(pager: &mut Pager, branch: PageId, index: usize) {
    let page = pager.page_mut(branch);
    let child = page.child(index);
    page.remove(index);
    if index == 0 && page.count() > 0 {
        let first = Cell::branch(Vec::new(), page.child(0));
        page.remove(0);
        let fits = page.insert(0, &first);
        assert!(fits, "an empty key fits where a key was");
    }
    pager.release(child);
}

/// The cells of two neighbours in order, as one node would hold them.
fn cells_of_pair(pager: &mut Pager, branch: PageId, left: usize) -> (PageKind, Vec<Cell>) {
    let (left_id, right_id, separator) = {
        let page = pager.page_mut(branch);
        (page.child(left), page.child(left + 1), page.key(left + 1).to_vec())
    };
    // The plan has read both; owning them is the way to their content that cannot miss.
    let left_id = pager.own(left_id);
    let right_id = pager.own(right_id);
    let page = pager.page_mut(branch);
    page.set_child(left, left_id);
    page.set_child(left + 1, right_id);
    let page = pager.page_mut(left_id);
    let kind = kind_of(page);
    let mut cells: Vec<Cell> = (0..page.count()).map(|index| page.cell(index)).collect();
    let first_right = cells.len();
    let page = pager.page_mut(right_id);
    cells.extend((0..page.count()).map(|index| page.cell(index)));
    if kind == PageKind::Branch {
        cells[first_right].key = separator;
    }
    (kind, cells)
}

fn merge(pager: &mut Pager, branch: PageId, left: usize) {
    let (kind, cells) = cells_of_pair(pager, branch, left);
    let page = pager.page_mut(branch);
    let left_id = page.child(left);
    let right_id = page.child(left + 1);
    page.remove(left + 1);
    pager.release(right_id);
    *pager.page_mut(left_id) = build(pager.page_size(), kind, &cells);
}

fn share(pager: &mut Pager, branch: PageId, left: usize) {
    let (kind, mut cells) = cells_of_pair(pager, branch, left);
    let middle = middle(&cells);
    let (right_cells, separator) = split_off(kind, &mut cells, middle);
    let page = pager.page_mut(branch);
    let left_id = page.child(left);
    let right_id = page.child(left + 1);
    // The new key may be longer than the old one and not fit; then the two stay as they are.
    let new_cell = Cell::branch(separator, right_id);
    if page.free() + page.cell_size(left + 1) < new_cell.size() {
        return;
    }
    page.remove(left + 1);
    let fits = page.insert(left + 1, &new_cell);
    assert!(fits, "the room was checked");
    let page_size = pager.page_size();
    *pager.page_mut(left_id) = build(page_size, kind, &cells);
    *pager.page_mut(right_id) = build(page_size, kind, &right_cells);
}

/// Takes away an owned root that is empty or has only one child.
fn collapse_root(pager: &mut Pager, root: PageId) -> PageId {
    let mut root = root;
    loop {
        // A root that is not in memory was not changed, so it needs no care now.
        let Ok(page) = node(pager, root) else {
            return root;
        };
        let only = match (page.count(), page.is(PageKind::Branch)) {
            (0, _) => PageId::NONE,
            (1, true) => page.child(0),
            _ => return root,
        };
        drop(page);
        pager.release(root);
        root = only;
        if root.is_none() {
            return root;
        }
    }
}
