//! The names of chunks, which all functions of a chunk share.
//!
//! The name of a chunk that was loaded from a string is the whole text, so long names are accounted, once for all functions that
//! have them: equal long names of a heap are one object, also after it was saved. Short ones are not looked up and cost nothing.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use hashbrown::HashTable;

use super::accounting::{Accounting, note_freed};
use super::string::hash_bytes;
use crate::fuel;

/// Longer names are accounted.
const FREE_BYTES: usize = 64;
/// What a long name takes beside its bytes, with its place in the table.
const OVERHEAD_BYTES: usize = 80;

/// A name.
pub(crate) struct ChunkName {
    text: Rc<[u8]>,
    hash: u64,
}

impl ChunkName {
    pub(crate) fn text(&self) -> &Rc<[u8]> {
        &self.text
    }
}

/// What a name of this length takes, in nominal bytes.
pub(crate) fn nominal_bytes(length: usize) -> usize {
    if length > FREE_BYTES { length + OVERHEAD_BYTES } else { 0 }
}

impl Drop for ChunkName {
    fn drop(&mut self) {
        note_freed(nominal_bytes(self.text.len()));
    }
}

/// The long names of a heap.
#[derive(Default)]
pub(crate) struct ChunkNames(RefCell<HashTable<Weak<ChunkName>>>);

impl ChunkNames {
    /// The name with this text.
    pub(crate) fn name(&self, accounting: &Accounting, text: &Rc<[u8]>) -> Rc<ChunkName> {
        if text.len() <= FREE_BYTES {
            return Rc::new(ChunkName { text: text.clone(), hash: 0 });
        }
        let hash = u64::from(hash_bytes(text, 0));
        let mut names = self.0.borrow_mut();
        // All that have the hash are looked at: which come first is not the same on all platforms.
        let (mut compared, mut known) = (0, None);
        names.find(hash, |name| {
            let name = name.upgrade().filter(|name| name.hash == hash);
            compared += usize::from(name.is_some());
            known = known.take().or(name.filter(|name| name.text == *text));
            false
        });
        fuel::owe_probes(compared);
        if let Some(name) = known {
            return name;
        }
        accounting.charge(nominal_bytes(text.len()));
        let name = Rc::new(ChunkName { text: text.clone(), hash });
        names.insert_unique(hash, Rc::downgrade(&name), |name| name.upgrade().map_or(0, |name| name.hash));
        name
    }

    /// Forgets the names that no function has any more, after a cycle.
    pub(crate) fn purge(&self) {
        self.0.borrow_mut().retain(|name| name.strong_count() > 0);
    }
}
