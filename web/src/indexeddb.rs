//! The IndexedDB backend: where a browser keeps a database's pages and log.
//!
//! A database `name` is the IndexedDB database `cu:name`, version 1, with three object stores, all with keys out of line:
//!
//! | store | key | value |
//! |--|--|--|
//! | `meta` | `root` | root record, `Uint8Array` |
//! | `meta` | `checkpoint`, `sequence` | the counters, numbers |
//! | `log` | sequence number | log record, `Uint8Array` |
//! | `pages` | page number | page, `Uint8Array` |
//!
//! Each call of [`Backend`] is one transaction. All its requests are made at once, in one turn, because a transaction
//! without requests commits by itself; the counters are read first, and when they turn out not to be as expected, the
//! transaction is aborted, which undoes the writes requested behind them. A writing call
//! resolves on the transaction's `complete` and never earlier.
//!
//! A connection can be lost at any time: another tab wants a newer version or to delete the database (the connection is
//! given up at once, so that nobody waits for this one), the user clears the site's data, Safari ends its storage process.
//! The next call opens a new one. A transaction that was under way is run again if it only reads; of a write nobody
//! knows whether it was stored, so it fails with `ConnectionLost`, and the engine finds out by reading the log.

mod connection;
mod transaction;

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use cu_storage::{Backend, BackendFuture, Checkpoint, PageId, Stored};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbKeyRange, IdbObjectStore, IdbRequest};

use connection::Connection;
pub use transaction::backend_error;
use transaction::{Mode, Transaction};

use crate::error::Result;

const META: &str = "meta";
const LOG: &str = "log";
const PAGES: &str = "pages";

const ROOT: &str = "root";
const CHECKPOINT: &str = "checkpoint";
const SEQUENCE: &str = "sequence";

/// What a resolved commit has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    Strict,
    /// A killed process.
    Relaxed,
}

/// A connection to one IndexedDB database, opened anew when it is lost.
pub struct IndexedDb {
    name: String,
    durability: Durability,
    connection: RefCell<State>,
}

enum State {
    Open(Rc<Connection>),
    Closed,
}

impl IndexedDb {
    /// Opens the stores of the database `name`, or makes them.
    pub async fn open(name: &str, durability: Durability) -> Result<IndexedDb> {
        let name = format!("cu:{name}");
        let connection = Rc::new(Connection::open(&name).await?);
        Ok(IndexedDb { name, durability, connection: RefCell::new(State::Open(connection)) })
    }

    /// Whether the connection has ended without having been closed, and no new one was opened.
    pub fn is_lost(&self) -> bool {
        matches!(&*self.connection.borrow(), State::Open(connection) if connection.is_lost())
    }

    fn connection(&self) -> cu_storage::Result<Rc<Connection>> {
        match &*self.connection.borrow() {
            State::Open(connection) => Ok(connection.clone()),
            State::Closed => Err(cu_storage::Error::Closed),
        }
    }

    /// Begins a transaction, over a new connection if the present one is lost.
    async fn begin(&self, stores: &[&str], mode: Mode) -> cu_storage::Result<Transaction> {
        let connection = self.connection()?;
        if !connection.is_lost() {
            match Transaction::begin(&connection, stores, mode) {
                Err(cu_storage::Error::ConnectionLost) => connection.give_up(),
                result => return result,
            }
        }
        let connection = Rc::new(Connection::open(&self.name).await.map_err(storage_error)?);
        // Closed meanwhile? Then the new connection is given up again by dropping it.
        self.connection()?;
        *self.connection.borrow_mut() = State::Open(connection.clone());
        Transaction::begin(&connection, stores, mode)
    }

    /// Runs a transaction that only reads, twice if the connection is lost under it.
    async fn read<T>(
        &self,
        stores: &[&str],
        read: impl AsyncFn(Transaction) -> cu_storage::Result<T>,
    ) -> cu_storage::Result<T> {
        match self.try_read(stores, &read).await {
            Err(cu_storage::Error::ConnectionLost) => self.try_read(stores, &read).await,
            result => result,
        }
    }

    async fn try_read<T>(
        &self,
        stores: &[&str],
        read: &impl AsyncFn(Transaction) -> cu_storage::Result<T>,
    ) -> cu_storage::Result<T> {
        let transaction = self.begin(stores, Mode::Read).await?;
        self.watch(read(transaction).await)
    }

    async fn write(
        &self,
        stores: &[&str],
        write: impl AsyncFnOnce(Transaction) -> cu_storage::Result<()>,
    ) -> cu_storage::Result<()> {
        let transaction = self.begin(stores, Mode::Write(self.durability)).await?;
        self.watch(write(transaction).await)
    }

    /// Notes that the connection is lost when a result says so.
    fn watch<T>(&self, result: cu_storage::Result<T>) -> cu_storage::Result<T> {
        if let (Err(cu_storage::Error::ConnectionLost), State::Open(connection)) = (&result, &*self.connection.borrow())
        {
            connection.give_up();
        }
        result
    }
}

impl Backend for IndexedDb {
    fn load(&self, after: u64) -> BackendFuture<'_, Stored> {
        Box::pin(self.read(&[META, LOG], async move |transaction| {
            let requests = transaction.request(|transaction| {
                let (meta, log) = (transaction.store(META)?, transaction.store(LOG)?);
                let tail = IdbKeyRange::lower_bound_with_open(&number(after), true)?;
                Ok((get(&meta, ROOT)?, Counters::request(&meta)?, log.get_all_with_key(&tail)?))
            });
            let (root, counters, log) = transaction.answered(requests, |(_, _, log)| log).await?;
            let counters = counters.read()?;
            let root = root.result().map_err(transaction::backend_error)?;
            let log = Array::from(&log.result().map_err(transaction::backend_error)?);
            Ok(Stored {
                root: if root.is_undefined() { None } else { Some(bytes_of(&root, "root record")?) },
                checkpoint: counters.checkpoint,
                sequence: counters.sequence,
                log: log.iter().map(|record| bytes_of(&record, "log record")).collect::<cu_storage::Result<_>>()?,
            })
        }))
    }

    fn read_pages(&self, checkpoint: u64, pages: Vec<PageId>) -> BackendFuture<'_, Vec<Option<Vec<u8>>>> {
        Box::pin(self.read(&[META, PAGES], async move |transaction| {
            let requests = transaction.request(|transaction| {
                let (meta, stored) = (transaction.store(META)?, transaction.store(PAGES)?);
                let counter = get(&meta, CHECKPOINT)?;
                let pages: std::result::Result<Vec<IdbRequest>, JsValue> =
                    pages.iter().map(|page| stored.get(&page_key(*page))).collect();
                Ok((counter, pages?))
            });
            let (counter, pages) = transaction.answered(requests, last_of).await?;
            if count_of(&counter)? != checkpoint {
                return Err(cu_storage::Error::Conflict);
            }
            pages
                .iter()
                .map(|request| {
                    let page = request.result().map_err(transaction::backend_error)?;
                    // Anything but bytes fails the page's checksum, as damaged bytes would.
                    let bytes = || bytes_of(&page, "page").unwrap_or_default();
                    Ok((!page.is_undefined()).then(bytes))
                })
                .collect()
        }))
    }

    fn gather(&self) -> BackendFuture<'_, ()> {
        let mut gone_behind = false;
        Box::pin(poll_fn(move |context| {
            if std::mem::replace(&mut gone_behind, true) {
                return Poll::Ready(Ok(()));
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    fn append(&self, expected_sequence: u64, record: Vec<u8>) -> BackendFuture<'_, ()> {
        Box::pin(self.write(&[META, LOG], async move |transaction| {
            let sequence = number(expected_sequence + 1);
            let requests = transaction.request(|transaction| {
                let (meta, log) = (transaction.store(META)?, transaction.store(LOG)?);
                // Each request takes its time; the other counter is not needed.
                let counters = CounterRequests { checkpoint: None, sequence: get(&meta, SEQUENCE)? };
                log.put_with_key(&Uint8Array::from(&record[..]), &sequence)?;
                meta.put_with_key(&sequence, &JsValue::from_str(SEQUENCE))?;
                Ok(counters)
            });
            drop(record);
            let as_expected = |counters: Counters| counters.sequence == expected_sequence;
            commit_if(transaction, requests, as_expected).await
        }))
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> BackendFuture<'_, ()> {
        Box::pin(self.write(&[META, LOG, PAGES], async move |transaction| {
            let Checkpoint { expected_checkpoint, expected_sequence, root, pages } = checkpoint;
            let requests = transaction.request(|transaction| {
                let (meta, log) = (transaction.store(META)?, transaction.store(LOG)?);
                let stored = transaction.store(PAGES)?;
                let counters = Counters::request(&meta)?;
                for (page, bytes) in &pages {
                    stored.put_with_key(&Uint8Array::from(&bytes[..]), &page_key(*page))?;
                }
                meta.put_with_key(&Uint8Array::from(&root[..]), &JsValue::from_str(ROOT))?;
                meta.put_with_key(&number(expected_checkpoint + 1), &JsValue::from_str(CHECKPOINT))?;
                log.clear()?;
                Ok(counters)
            });
            drop(pages);
            let as_expected = |counters: Counters| {
                counters.checkpoint == expected_checkpoint && counters.sequence == expected_sequence
            };
            commit_if(transaction, requests, as_expected).await
        }))
    }

    fn close(&self) -> BackendFuture<'_, ()> {
        Box::pin(async {
            // Dropping the connection closes it once its transactions are over.
            *self.connection.borrow_mut() = State::Closed;
            Ok(())
        })
    }
}

fn last_of((counter, pages): &(IdbRequest, Vec<IdbRequest>)) -> &IdbRequest {
    pages.last().unwrap_or(counter)
}

/// Waits until a writing transaction is complete, or aborts it with `Conflict` when the counters are not as expected.
async fn commit_if(
    transaction: Transaction,
    requests: transaction::Requested<CounterRequests>,
    as_expected: impl FnOnce(Counters) -> bool,
) -> cu_storage::Result<()> {
    if let Ok(counters) = &requests
        && counters.settled().await
        && !as_expected(counters.read()?)
    {
        return transaction.abort(cu_storage::Error::Conflict).await;
    }
    transaction.complete(requests).await?;
    Ok(())
}

struct Counters {
    checkpoint: u64,
    sequence: u64,
}

/// The requests for both counters, or for the second alone.
struct CounterRequests {
    checkpoint: Option<IdbRequest>,
    sequence: IdbRequest,
}

impl Counters {
    fn request(meta: &IdbObjectStore) -> std::result::Result<CounterRequests, JsValue> {
        Ok(CounterRequests { checkpoint: Some(get(meta, CHECKPOINT)?), sequence: get(meta, SEQUENCE)? })
    }
}

impl CounterRequests {
    /// Waits for both; whether they were answered. If not, the transaction has the reason.
    async fn settled(&self) -> bool {
        // Requests of one transaction are answered in order.
        transaction::answered(&self.sequence).await
    }

    fn read(&self) -> cu_storage::Result<Counters> {
        let checkpoint = self.checkpoint.as_ref().map_or(Ok(0), count_of)?;
        Ok(Counters { checkpoint, sequence: count_of(&self.sequence)? })
    }
}

fn get(store: &IdbObjectStore, key: &str) -> std::result::Result<IdbRequest, JsValue> {
    store.get(&JsValue::from_str(key))
}

/// A counter as a key or value. Exact up to 2^53, which no count of commits reaches.
fn number(count: u64) -> JsValue {
    JsValue::from_f64(count as f64)
}

fn page_key(page: PageId) -> JsValue {
    JsValue::from_f64(f64::from(page.0))
}

/// A counter that was asked for; 0 in a new store.
fn count_of(request: &IdbRequest) -> cu_storage::Result<u64> {
    let value = request.result().map_err(transaction::backend_error)?;
    if value.is_undefined() {
        return Ok(0);
    }
    match value.as_f64() {
        Some(count) if count >= 0.0 && count.fract() == 0.0 => Ok(count as u64),
        _ => Err(cu_storage::Error::CorruptRecord("counter")),
    }
}

pub fn bytes_of(value: &JsValue, what: &'static str) -> cu_storage::Result<Vec<u8>> {
    match value.dyn_ref::<Uint8Array>() {
        Some(bytes) => Ok(bytes.to_vec()),
        None => Err(cu_storage::Error::CorruptRecord(what)),
    }
}

/// An error of opening again, in the terms of the engine. What keeps this from opening may pass, so it is no more than a lost
/// connection.
fn storage_error(error: crate::error::Error) -> cu_storage::Error {
    match error {
        crate::error::Error::Storage(error) => error,
        _ => cu_storage::Error::ConnectionLost,
    }
}
