//! Ghosts: tables of `_home` whose content is set aside until something touches them.
//!
//! To the fast paths a ghost is an empty table with a metatable, so none of them finds anything and each slow path comes to the
//! metatable, [the mark](crate::home), which has a handler for every event. Whoever is about to call that handler fills
//! the ghost instead and starts over. What looks past metatables (`next`, `rawget` and so on) asks [`Table::is_ghost`] itself.
//! So tables that are no ghosts pay nothing.

use super::parts::Parts;
use super::{Table, TableObject};
use crate::heap::accounting::Accounting;

use gc_arena::Collect;
use gc_arena::collect::Trace;

/// What a ghost stands for; without content, it has to be read.
pub(super) struct Ghost<'gc>(Option<Content<'gc>>);

struct Content<'gc> {
    parts: Parts<'gc>,
    metatable: Option<Table<'gc>>,
}

impl<'gc> Ghost<'gc> {
    pub(super) fn nominal_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |content| content.parts.nominal_bytes())
    }
}

// SAFETY: everything is traced; weak tables are never made ghosts.
unsafe impl<'gc> Collect<'gc> for Ghost<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        let Some(Content { parts, metatable }) = &self.0 else { return };
        cc.trace(metatable);
        for value in &parts.array {
            cc.trace(value);
        }
        for entry in &parts.entries {
            cc.trace(&entry.key);
            cc.trace(&entry.value);
        }
    }
}

impl<'gc> TableObject<'gc> {
    /// Parts in which every look-up fails.
    fn no_parts(integer_keys: u32) -> Parts<'gc> {
        Parts { array: Vec::new(), entries: Vec::new(), index: Box::default(), integer_keys }
    }
}

impl<'gc> Table<'gc> {
    /// Whether the content is set aside.
    #[inline]
    pub fn is_ghost(self) -> bool {
        // SAFETY: no reference to the field outlives the methods of this file.
        unsafe { (*self.0.as_ref().ghost.get()).is_some() }
    }

    /// Whether it is a ghost whose content is not in memory.
    pub fn is_unread(self) -> bool {
        // SAFETY: as in `is_ghost`.
        unsafe { (*self.0.as_ref().ghost.get()).as_ref().is_some_and(|ghost| ghost.0.is_none()) }
    }

    /// Sets the content aside, to be found again as it is.
    pub(crate) fn set_aside(self, mark: Table<'gc>) {
        // A key of 1 is not the next item of a table that may have integer keys.
        let parts = std::mem::replace(self.parts_mut(), TableObject::no_parts(u32::MAX));
        let content = Content { parts, metatable: self.metatable() };
        self.become_ghost(mark, Some(content));
    }

    /// Forgets the content, which is to be read when something touches the table.
    pub(crate) fn forget_content(self, accounting: &Accounting, mark: Table<'gc>) {
        let bytes = std::mem::replace(self.parts_mut(), TableObject::no_parts(u32::MAX)).nominal_bytes();
        accounting.release(bytes);
        self.become_ghost(mark, None);
    }

    fn become_ghost(self, mark: Table<'gc>, content: Option<Content<'gc>>) {
        debug_assert!(!self.is_ghost(), "a ghost does not become one again");
        self.set_metatable_raw(Some(mark));
        self.0.absent.set(0);
        // SAFETY: as in `is_ghost`.
        unsafe { *self.0.as_ref().ghost.get() = Some(Box::new(Ghost(content))) };
    }

    /// Makes a ghost an ordinary table: with its content, or empty and without a metatable if that has to be read. Whether
    /// there was content.
    pub(crate) fn end_ghost(self) -> bool {
        // SAFETY: as in `is_ghost`.
        let ghost = unsafe { (*self.0.as_ref().ghost.get()).take() };
        let content = ghost.and_then(|ghost| ghost.0);
        let has_content = content.is_some();
        let (parts, metatable) = match content {
            Some(content) => (content.parts, content.metatable),
            None => (TableObject::no_parts(0), None),
        };
        *self.parts_mut() = parts;
        self.set_metatable_raw(metatable);
        self.0.absent.set(0);
        has_content
    }
}
