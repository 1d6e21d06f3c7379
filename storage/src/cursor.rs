//! Cursors: walking a tree's entries in key order, both ways, within bounds.
//!
//! A cursor stands on an entry, or before the first. `next` moves only when it has everything it returns; when it stops
//! with a miss, the cursor is where it was and the call is made again. The tree below must stay unchanged meanwhile,
//! which a snapshot grants.

use std::ops::Bound;
use std::rc::Rc;

use crate::btree::{self, DEPTH_MAX, Value};
use crate::error::{Error, Fault, Step};
use crate::page::{Page, PageId, PageKind};
use crate::pager::{Pager, READ_AHEAD};

/// Direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Ascending keys.
    #[default]
    Forward,
    /// Descending keys.
    Backward,
}

impl Direction {
    fn next_index(self, page: &Page, index: usize) -> Option<usize> {
        match self {
            Direction::Forward => Some(index + 1).filter(|next| *next < page.count()),
            Direction::Backward => index.checked_sub(1),
        }
    }
}

/// Bounds of a scan, on encoded keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub from: Bound<Vec<u8>>,
    pub to: Bound<Vec<u8>>,
}

impl KeyRange {
    pub const ALL: KeyRange = KeyRange { from: Bound::Unbounded, to: Bound::Unbounded };

    fn is_beyond(&self, key: &[u8], direction: Direction) -> bool {
        match direction {
            Direction::Forward => match &self.to {
                Bound::Unbounded => false,
                Bound::Included(to) => key > to.as_slice(),
                Bound::Excluded(to) => key >= to.as_slice(),
            },
            Direction::Backward => match &self.from {
                Bound::Unbounded => false,
                Bound::Included(from) => key < from.as_slice(),
                Bound::Excluded(from) => key <= from.as_slice(),
            },
        }
    }
}

pub(crate) struct Cursor {
    root: PageId,
    range: KeyRange,
    direction: Direction,
    position: Position,
}

/// Pages from root to leaf, each with the position taken.
type Stack = Vec<(Rc<Page>, usize)>;

enum Position {
    Start,
    At(Stack),
    End,
}

/// An entry that a cursor passed.
pub(crate) struct Entry {
    page: Rc<Page>,
    index: usize,
    pub value: Value,
}

impl Entry {
    pub fn key(&self) -> &[u8] {
        self.page.key(self.index)
    }
}

impl Cursor {
    pub fn new(root: PageId, range: KeyRange, direction: Direction) -> Cursor {
        Cursor { root, range, direction, position: Position::Start }
    }

    /// The next entry, or `None` at the end of the range.
    pub fn next(&mut self, pager: &mut Pager) -> Step<Option<Entry>> {
        if let Position::At(stack) = &mut self.position
            && let Some((page, index)) = stack.last_mut()
            && let Some(next) = self.direction.next_index(page, *index)
            && !self.range.is_beyond(page.key(next), self.direction)
        {
            let value = btree::load_value(pager, page, next)?;
            *index = next;
            return Ok(Some(Entry { page: page.clone(), index: next, value }));
        }
        self.next_leaf(pager)
    }

    /// Passes entries whose values have no bytes, as many as are next in one leaf and `most` at most; none at the end and before another
    /// entry. Only for a cursor that goes forward to the end of its tree.
    pub fn pass_bare(&mut self, pager: &mut Pager, most: u64) -> Step<u64> {
        let stack = match &self.position {
            Position::Start => self.first(pager)?,
            Position::At(stack) => self.advance(pager, stack.clone())?,
            Position::End => None,
        };
        let Some(mut stack) = stack else {
            return Ok(0);
        };
        let mut passed = 0;
        if let Some((page, index)) = stack.last_mut() {
            let end = page.count();
            while passed < most && *index < end && page.is_bare(*index) {
                passed += 1;
                *index += 1;
            }
            // It stands on the last one that it passed.
            *index = index.saturating_sub(1);
        }
        if passed > 0 {
            self.position = Position::At(stack);
        }
        Ok(passed)
    }

    fn next_leaf(&mut self, pager: &mut Pager) -> Step<Option<Entry>> {
        let stack = match &self.position {
            Position::Start => self.first(pager)?,
            Position::At(stack) => self.advance(pager, stack.clone())?,
            Position::End => None,
        };
        let Some(stack) = stack else {
            self.position = Position::End;
            return Ok(None);
        };
        let (page, index) = &stack[stack.len() - 1];
        if self.range.is_beyond(page.key(*index), self.direction) {
            self.position = Position::End;
            return Ok(None);
        }
        let entry = Entry { value: btree::load_value(pager, page, *index)?, page: page.clone(), index: *index };
        self.position = Position::At(stack);
        Ok(Some(entry))
    }

    fn first(&self, pager: &mut Pager) -> Step<Option<Stack>> {
        if self.root.is_none() {
            return Ok(None);
        }
        let bound = match self.direction {
            Direction::Forward => &self.range.from,
            Direction::Backward => &self.range.to,
        };
        let mut stack = Stack::new();
        let mut id = self.root;
        loop {
            if stack.len() > DEPTH_MAX {
                return Err(Error::corrupt(id).into());
            }
            let page = btree::node(pager, id)?;
            if page.is(PageKind::Branch) {
                let index = match (bound, self.direction) {
                    (Bound::Included(key) | Bound::Excluded(key), _) => page.search_child(key),
                    (Bound::Unbounded, Direction::Forward) => 0,
                    (Bound::Unbounded, Direction::Backward) => page.count() - 1,
                };
                id = page.child(index);
                stack.push((page, index));
                continue;
            }
            let count = page.count();
            // The position of the first entry in the range, or `None` when it is in the next leaf.
            let index = match (bound, self.direction) {
                (Bound::Unbounded, Direction::Forward) => Some(0),
                (Bound::Unbounded, Direction::Backward) => Some(count - 1),
                (Bound::Included(key), Direction::Forward) => Some(page.search(key).unwrap_or_else(|index| index)),
                (Bound::Excluded(key), Direction::Forward) => {
                    Some(page.search(key).map_or_else(|index| index, |index| index + 1))
                }
                (Bound::Included(key), Direction::Backward) => match page.search(key) {
                    Ok(index) => Some(index),
                    Err(index) => index.checked_sub(1),
                },
                (Bound::Excluded(key), Direction::Backward) => {
                    page.search(key).unwrap_or_else(|index| index).checked_sub(1)
                }
            };
            return match index {
                Some(index) if index < count => {
                    stack.push((page, index));
                    Ok(Some(stack))
                }
                _ => {
                    let edge = match self.direction {
                        Direction::Forward => count - 1,
                        Direction::Backward => 0,
                    };
                    stack.push((page, edge));
                    self.advance(pager, stack)
                }
            };
        }
    }

    /// The position after this one.
    fn advance(&self, pager: &mut Pager, mut stack: Stack) -> Step<Option<Stack>> {
        let depth = stack.len();
        loop {
            let Some((page, index)) = stack.last_mut() else {
                return Ok(None);
            };
            match self.direction.next_index(page, *index) {
                Some(next) => {
                    *index = next;
                    break;
                }
                None => {
                    stack.pop();
                }
            }
        }
        while stack.len() < depth {
            let (page, index) = &stack[stack.len() - 1];
            let child =
                btree::node(pager, page.child(*index)).map_err(|fault| self.ahead(pager, fault, page, *index))?;
            let index = match self.direction {
                Direction::Forward => 0,
                Direction::Backward => child.count() - 1,
            };
            // All leaves are at one depth; anything else is damage.
            if child.is(PageKind::Leaf) != (stack.len() + 1 == depth) {
                let (page, index) = &stack[stack.len() - 1];
                return Err(Error::corrupt(page.child(*index)).into());
            }
            stack.push((child, index));
        }
        Ok(Some(stack))
    }

    /// A scan that misses one child asks for the following ones too.
    fn ahead(&self, pager: &Pager, fault: Fault, parent: &Page, index: usize) -> Fault {
        let Fault::Miss(mut ids) = fault else {
            return fault;
        };
        for distance in 1..=READ_AHEAD {
            let next = match self.direction {
                Direction::Forward => Some(index + distance).filter(|next| *next < parent.count()),
                Direction::Backward => index.checked_sub(distance),
            };
            let Some(next) = next else { break };
            let id = parent.child(next);
            if pager.can_read_ahead(id) {
                ids.push(id);
            }
        }
        Fault::Miss(ids)
    }
}
