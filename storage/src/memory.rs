//! The memory backend: nothing survives the process. Clones are connections to the same store, as tabs are, and faults
//! can be injected into writes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::backend::{Backend, BackendFuture, Checkpoint, Stored};
use crate::error::{Error, Result};
use crate::page::PageId;

/// A store in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend {
    store: Rc<RefCell<Store>>,
}

/// What goes wrong at a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteFault {
    /// The write fails and stores nothing.
    Fail(Error),
    /// The write is stored, but its caller is told that the connection was lost.
    LoseAnswer,
}

#[derive(Debug, Default)]
struct Store {
    root: Option<Vec<u8>>,
    checkpoint: u64,
    sequence: u64,
    log: BTreeMap<u64, Vec<u8>>,
    pages: BTreeMap<PageId, Vec<u8>>,
    writes: u64,
    fault: Option<(u64, WriteFault)>,
    page_reads: u64,
}

impl MemoryBackend {
    /// A new, empty store.
    pub fn new() -> MemoryBackend {
        MemoryBackend::default()
    }

    /// A store with the same content that shares nothing with this one: what a crash at this moment would leave.
    pub fn copy(&self) -> MemoryBackend {
        let store = self.store.borrow();
        MemoryBackend {
            store: Rc::new(RefCell::new(Store {
                root: store.root.clone(),
                checkpoint: store.checkpoint,
                sequence: store.sequence,
                log: store.log.clone(),
                pages: store.pages.clone(),
                ..Store::default()
            })),
        }
    }

    /// Makes the write with this number go wrong; writes are counted from zero by [`MemoryBackend::writes`].
    pub fn fail_write(&self, number: u64, fault: WriteFault) {
        self.store.borrow_mut().fault = Some((number, fault));
    }

    /// How many writes (appends and checkpoints) were tried.
    pub fn writes(&self) -> u64 {
        self.store.borrow().writes
    }

    /// How many pages were read.
    pub fn page_reads(&self) -> u64 {
        self.store.borrow().page_reads
    }

    /// The numbers of the stored pages.
    pub fn page_numbers(&self) -> Vec<PageId> {
        self.store.borrow().pages.keys().copied().collect()
    }

    /// Changes the stored bytes of a page behind the engine's back.
    pub fn alter_page(&self, page: PageId, alter: impl FnOnce(&mut Vec<u8>)) {
        if let Some(bytes) = self.store.borrow_mut().pages.get_mut(&page) {
            alter(bytes);
        }
    }

    /// Changes the stored root record behind the engine's back.
    pub fn alter_root(&self, alter: impl FnOnce(&mut Vec<u8>)) {
        if let Some(root) = &mut self.store.borrow_mut().root {
            alter(root);
        }
    }

    /// Changes the stored log records behind the engine's back.
    pub fn alter_log(&self, mut alter: impl FnMut(&mut Vec<u8>)) {
        self.store.borrow_mut().log.values_mut().for_each(&mut alter);
    }

    /// Runs a write with the fault that waits for it, if any.
    fn write(&self, write: impl FnOnce(&mut Store) -> Result<()>) -> Result<()> {
        let mut store = self.store.borrow_mut();
        let number = store.writes;
        store.writes += 1;
        match store.fault.take_if(|(at, _)| *at == number) {
            None => write(&mut store),
            Some((_, WriteFault::Fail(error))) => Err(error),
            Some((_, WriteFault::LoseAnswer)) => {
                write(&mut store)?;
                Err(Error::ConnectionLost)
            }
        }
    }
}

impl Backend for MemoryBackend {
    fn load(&self, after: u64) -> BackendFuture<'_, Stored> {
        Box::pin(async move {
            let store = self.store.borrow();
            Ok(Stored {
                root: store.root.clone(),
                checkpoint: store.checkpoint,
                sequence: store.sequence,
                log: store
                    .log
                    .iter()
                    .filter(|(number, _)| **number > after)
                    .map(|(_, record)| record.clone())
                    .collect(),
            })
        })
    }

    fn read_pages(&self, checkpoint: u64, pages: Vec<PageId>) -> BackendFuture<'_, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            let mut store = self.store.borrow_mut();
            if store.checkpoint != checkpoint {
                return Err(Error::Conflict);
            }
            store.page_reads += pages.len() as u64;
            Ok(pages.iter().map(|page| store.pages.get(page).cloned()).collect())
        })
    }

    fn append(&self, expected_sequence: u64, record: Vec<u8>) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            self.write(|store| {
                if store.sequence != expected_sequence {
                    return Err(Error::Conflict);
                }
                store.sequence += 1;
                store.log.insert(store.sequence, record);
                Ok(())
            })
        })
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            self.write(|store| {
                if store.checkpoint != checkpoint.expected_checkpoint || store.sequence != checkpoint.expected_sequence
                {
                    return Err(Error::Conflict);
                }
                store.checkpoint += 1;
                store.root = Some(checkpoint.root);
                store.pages.extend(checkpoint.pages.iter().map(|(id, bytes)| (*id, bytes.to_vec())));
                store.log.clear();
                Ok(())
            })
        })
    }

    fn close(&self) -> BackendFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
