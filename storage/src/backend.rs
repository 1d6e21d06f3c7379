//! What the engine needs from the place where bytes are kept.
//!
//! A backend stores four things: one root record, two counters (`checkpoint`, `sequence`), log records by sequence
//! number, and pages by page number. Every call is one atomic transaction of the store: after a crash either all of it
//! is visible or none. Several connections (tabs) may share a store; the counters are how they notice each other, so
//! they are compared inside the transaction.

use std::future::Future;
use std::pin::Pin;

use crate::error::Result;
use crate::page::{PageBytes, PageId};

/// The future a backend returns. It need not be `Send`: the engine is single-threaded.
pub type BackendFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// A consistent view of what is stored, besides the pages.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// The root record of the last checkpoint; `None` in a new store.
    pub root: Option<Vec<u8>>,
    /// Number of the last checkpoint, 0 in a new store.
    pub checkpoint: u64,
    /// Number of the last commit, 0 in a new store.
    pub sequence: u64,
    /// The log records asked for, in order of sequence number; the last one has number `sequence`.
    pub log: Vec<Vec<u8>>,
}

/// What a checkpoint stores at once.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The counter as it must be in the store; it becomes one more.
    pub expected_checkpoint: u64,
    /// The counter as it must be in the store; it stays. All log records are removed.
    pub expected_sequence: u64,
    /// The new root record.
    pub root: Vec<u8>,
    /// Pages to put in place of what was stored under their numbers.
    pub pages: Vec<(PageId, PageBytes)>,
}

/// A store for one database.
pub trait Backend {
    /// Reads root record, counters, and the log records with numbers above `after`.
    fn load(&self, after: u64) -> BackendFuture<'_, Stored>;

    /// Reads pages, in the order asked for, `None` for a page that is not stored. Fails with [`Error::Conflict`] when the
    /// stored checkpoint counter is not `checkpoint`: another connection has replaced pages.
    ///
    /// [`Error::Conflict`]: crate::Error::Conflict
    fn read_pages(&self, checkpoint: u64, pages: Vec<PageId>) -> BackendFuture<'_, Vec<Option<Vec<u8>>>>;

    /// Lets other work that is ready go first: what it commits goes out together with what waits. Ready at once where nothing overlaps.
    fn gather(&self) -> BackendFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Stores one log record under `expected_sequence + 1`, which becomes the stored sequence. Fails with
    /// [`Error::Conflict`] and stores nothing when the stored sequence is not `expected_sequence`, and with
    /// [`Error::Quota`] when there is no room. Ready only when the record is durable.
    ///
    /// [`Error::Conflict`]: crate::Error::Conflict
    /// [`Error::Quota`]: crate::Error::Quota
    fn append(&self, expected_sequence: u64, record: Vec<u8>) -> BackendFuture<'_, ()>;

    /// Stores pages and root record and removes the log. Fails with [`Error::Conflict`] and stores nothing when a
    /// counter is not as expected.
    ///
    /// [`Error::Conflict`]: crate::Error::Conflict
    fn checkpoint(&self, checkpoint: Checkpoint) -> BackendFuture<'_, ()>;

    /// Gives the connection up. Calls after it may fail with [`Error::Closed`].
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    fn close(&self) -> BackendFuture<'_, ()>;
}

/// Runs a future that is ready at once, as everything over the memory and file backends is.
///
/// # Panics
///
/// When the future has to wait, which means that it depends on an asynchronous backend or on a transaction that is
/// still open.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => {
            panic!("block_on serves backends whose futures are ready at once, with no open transaction in the way")
        }
    }
}
