//! The database: what a program holds, and the calls that need no transaction of their own.

use std::ops::Bound;
use std::rc::Rc;

use crate::aggregate::Aggregate;
use crate::backend::Backend;
use crate::catalog::CollectionState;
use crate::check::{self, CheckReport};
use crate::commit;
use crate::control::Control;
use crate::cursor::{Direction, KeyRange};
use crate::document::{Document, Encoded};
use crate::engine::{ATTEMPTS_MAX, Engine, Options, View};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::gate::Gate;
use crate::index::{IndexDefinition, IndexState};
use crate::key::{decode_key, encode_key};
use crate::operation::{Operation, Outcome};
use crate::prepared::Prepared;
use crate::query::{self, Plan, Query, QueryResult, Row};
use crate::repair::{self, RepairReport};
use crate::request::Answer;
use crate::transaction::Transaction;

/// An open database. Clones are handles to the same one.
#[derive(Clone)]
pub struct Database {
    engine: Rc<Engine>,
}

/// A state of the database that stays the same while others write. Pages it can see are kept until it is dropped.
pub struct Snapshot {
    engine: Rc<Engine>,
    view: View,
}

/// What a Collection is called and holds.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Documents in it.
    pub count: u64,
    /// Its indexes.
    pub indexes: Vec<IndexInfo>,
    /// Its schema, if it has one.
    pub schema: Option<Document>,
}

/// An index and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexInfo {
    /// What it is made of.
    pub definition: IndexDefinition,
    /// Pairs of a value and a document.
    pub entries: u64,
    /// Different values; long ones that begin alike count as one.
    pub distinct: u64,
}

/// How a batch is run.
#[derive(Clone)]
pub struct BatchOptions {
    /// Whether one failing operation undoes all. Otherwise it gives [`Outcome::Failed`] and the others stand; such a batch
    /// is committed in pieces when it is large.
    pub atomic: bool,
    /// Whether the batch is run again when another connection has committed first; otherwise it fails with
    /// [`Error::Conflict`].
    pub retry: bool,
    /// Watches and ends the batch. Progress counts operations. One that is not atomic keeps what it has committed.
    pub control: Control,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions { atomic: true, retry: true, control: Control::default() }
    }
}

/// Which entries of a Collection a scan passes, and in what order.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// The lowest key.
    pub from: Bound<Document>,
    /// The highest key.
    pub to: Bound<Document>,
    /// Ascending or descending.
    pub direction: Direction,
    /// Most entries to return.
    pub limit: Option<usize>,
}

impl Default for ScanOptions {
    fn default() -> ScanOptions {
        ScanOptions { from: Bound::Unbounded, to: Bound::Unbounded, direction: Direction::Forward, limit: None }
    }
}

/// Figures of an open database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Size of a page in bytes.
    pub page_size: usize,
    /// Pages ever in use, free ones included.
    pub page_count: u32,
    /// Pages waiting to be used again.
    pub free_page_count: usize,
    /// Bytes of pages in memory.
    pub cached_bytes: usize,
    /// Bytes of pages that wait for a checkpoint.
    pub dirty_bytes: usize,
    /// Bytes of log since the last checkpoint. The building of an index counts as the bytes it takes to build it again.
    pub log_bytes: usize,
    /// Number of the last commit.
    pub sequence: u64,
    /// Number of the last checkpoint.
    pub checkpoint: u64,
    /// Why the last checkpoint failed. Commits are durable all the same.
    pub checkpoint_error: Option<Error>,
}

impl Database {
    /// Opens the database that the backend stores, or a new one in an empty store.
    pub async fn open(backend: impl Backend + 'static, options: Options) -> Result<Database> {
        Database::open_shared(Rc::new(backend), options).await
    }

    /// Opens a database over a backend chosen at run time.
    pub async fn open_shared(backend: Rc<dyn Backend>, options: Options) -> Result<Database> {
        let engine = Rc::new(Engine::open(backend, options).await?);
        let database = Database { engine };
        let view = database.engine.view().await?;
        let is_missing = view.catalog.collections().any(|state| state.indexes.iter().any(|index| !index.built));
        drop(view);
        if is_missing {
            database.retry(true, async |transaction| transaction.build_missing_indexes().await).await?;
        }
        Ok(database)
    }

    /// Makes a sound database of what can still be read in a damaged store. Nobody else may have it open. Needs a root record
    /// that can be read; everything after it may be damaged.
    pub async fn repair(backend: impl Backend + 'static, options: Options) -> Result<RepairReport> {
        repair::run(Rc::new(backend), options).await
    }

    /// Waits for the writer's turn and begins a transaction.
    pub async fn begin(&self) -> Result<Transaction> {
        Transaction::begin(self.engine.clone(), &Control::default()).await
    }

    /// The present state, to be read while others write.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot { engine: self.engine.clone(), view: self.engine.view().await? })
    }

    /// Runs operations in one transaction; the results are in the order of the operations. An error is [`Error::Batch`]
    /// when an operation failed, with nothing stored.
    pub async fn batch(&self, operations: &[Operation], options: &BatchOptions) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        let log_bytes_max = if options.atomic { usize::MAX } else { self.engine.options.checkpoint_log_bytes };
        // At least one turn, so that an empty batch asks the database too.
        loop {
            let start = outcomes.len();
            let piece = self.retry_with(options.retry, &options.control, async |transaction| {
                run_piece(transaction, operations, start, log_bytes_max, options).await
            });
            outcomes.append(&mut piece.await?);
            if outcomes.len() == operations.len() {
                return Ok(outcomes);
            }
        }
    }

    /// Runs work in a transaction and commits it, again from the start while other connections are faster.
    pub async fn transaction<T>(&self, work: impl AsyncFn(&mut Transaction) -> Result<T>) -> Result<T> {
        self.transaction_with(&Control::default(), work).await
    }

    /// The same, ended by `control`, which is asked before each operation.
    pub async fn transaction_with<T>(
        &self,
        control: &Control,
        work: impl AsyncFn(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        self.retry_with(true, control, work).await
    }

    async fn retry<T>(&self, retry: bool, work: impl AsyncFn(&mut Transaction) -> Result<T>) -> Result<T> {
        self.retry_with(retry, &Control::default(), work).await
    }

    /// Runs work in a transaction and commits it, again from the start while other connections are faster.
    async fn retry_with<T>(
        &self,
        retry: bool,
        control: &Control,
        work: impl AsyncFn(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut transaction = Transaction::begin(self.engine.clone(), control).await?;
            let result = match work(&mut transaction).await {
                Ok(value) => transaction.commit().await.map(|()| value),
                Err(error) => {
                    drop(transaction);
                    if error == Error::Conflict {
                        let turn = Gate::enter(&self.engine.writer).await;
                        self.engine.catch_up(&turn).await?;
                    }
                    Err(error)
                }
            };
            match result {
                Err(Error::Conflict) if retry && attempts < ATTEMPTS_MAX => {}
                result => return result,
            }
        }
    }

    /// The document under a key.
    pub async fn get(&self, collection: &str, key: &Document) -> Result<Option<Document>> {
        match self.get_encoded(collection, key).await? {
            Some(value) => Ok(Some(value.decode()?)),
            None => Ok(None),
        }
    }

    /// The document under a key, in its encoding.
    pub async fn get_encoded(&self, collection: &str, key: &Document) -> Result<Option<Encoded>> {
        let key = encode_key(key)?;
        self.engine.read(async |view| get_over(&self.engine, view, collection, &key).await).await
    }

    /// Stores a document under a key, creating the Collection when there is none of that name.
    pub async fn set(&self, collection: &str, key: &Document, value: &Document) -> Result<()> {
        self.retry(true, async |transaction| transaction.set(collection, key, value).await).await
    }

    /// Removes a key; says whether it was there.
    pub async fn delete(&self, collection: &str, key: &Document) -> Result<bool> {
        self.retry(true, async |transaction| transaction.delete(collection, key).await).await
    }

    /// The entries of a Collection in key order.
    pub async fn scan(&self, collection: &str, options: &ScanOptions) -> Result<Vec<Row>> {
        self.engine.read(async |view| scan_over(&self.engine, view, collection, options).await).await
    }

    /// Runs a query.
    pub async fn query(&self, query: &Query) -> Result<QueryResult> {
        let (result, cached) = self.shared_result(query).await?;
        let mut result = Rc::unwrap_or_clone(result);
        if cached {
            result.plan = Plan { cached: true, entries_examined: 0, rows_examined: 0, ..result.plan };
        }
        Ok(result)
    }

    /// Runs a query. Its result is not copied where the cache has it too.
    pub async fn answer(&self, query: &Query) -> Result<Answer> {
        let (result, is_cached) = self.shared_result(query).await?;
        Ok(Answer::new(result, is_cached))
    }

    /// The result of a query, and whether it was kept from an earlier time.
    async fn shared_result(&self, query: &Query) -> Result<(Rc<QueryResult>, bool)> {
        let results = &self.engine.results;
        self.engine
            .read(async |view| {
                let state = view.catalog.find(&query.collection).map(|state| &**state);
                let known = state.and_then(|state| results.borrow_mut().get(query, view.generation, state));
                if let Some(known) = known {
                    return Ok((known, true));
                }
                let result = Rc::new(query::run(&self.engine, view.generation, state, query).await?);
                if let Some(state) = state {
                    results.borrow_mut().put(query, view.generation, state, &result);
                }
                Ok((result, false))
            })
            .await
    }

    /// How a query would be answered, without looking at documents.
    pub async fn explain(&self, query: &Query) -> Result<Plan> {
        self.engine
            .read(async |view| {
                let state = view.catalog.find(&query.collection).map(|state| &**state);
                query::explain(&self.engine, view.generation, state, query).await
            })
            .await
    }

    /// How many documents pass a filter.
    pub async fn count(&self, collection: &str, filter: Filter) -> Result<u64> {
        let query = Query { aggregates: vec![Aggregate::count("count")], ..Query::new(collection, filter) };
        Ok(self.query(&query).await?.plan.rows_matched)
    }

    /// Prepares a query that is run many times, with [`parameter`](crate::parameter)s for values that change.
    pub fn prepare(&self, query: Query) -> Result<Prepared> {
        Prepared::new(self.clone(), query)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// All Collections in order of name.
    pub async fn collections(&self) -> Result<Vec<CollectionInfo>> {
        let view = self.engine.view().await?;
        Ok(collections_of(&view))
    }

    /// Builds an index over what is there and keeps it from then on, in place of one of the same name, creating the
    /// Collection when there is none. Says whether anything changed. Fails with [`Error::Duplicate`] when documents agree
    /// under a unique index.
    pub async fn create_index(&self, collection: &str, definition: &IndexDefinition) -> Result<bool> {
        self.create_index_with(collection, definition, &Control::default()).await
    }

    /// The same, watched and ended by `control`. Progress counts documents.
    pub async fn create_index_with(
        &self,
        collection: &str,
        definition: &IndexDefinition,
        control: &Control,
    ) -> Result<bool> {
        self.retry_with(true, control, async |transaction| transaction.create_index(collection, definition).await).await
    }

    /// Removes an index by name; says whether there was one.
    pub async fn drop_index(&self, collection: &str, name: &str) -> Result<bool> {
        self.retry(true, async |transaction| transaction.drop_index(collection, name).await).await
    }

    /// Gives a Collection a schema; see [`Transaction::set_schema`].
    pub async fn set_schema(&self, collection: &str, schema: &Document) -> Result<()> {
        self.retry(true, async |transaction| transaction.set_schema(collection, schema).await).await
    }

    /// Removes a Collection with its documents, indexes and schema; says whether there was one.
    pub async fn drop_collection(&self, collection: &str) -> Result<bool> {
        self.retry(true, async |transaction| transaction.drop_collection(collection).await).await
    }

    /// Takes in what other connections to the same store have committed.
    pub async fn refresh(&self) -> Result<()> {
        let turn = Gate::enter(&self.engine.writer).await;
        self.engine.catch_up(&turn).await
    }

    /// Writes changes that are only in the log to their pages, which keeps the next opening short. Commits do it by
    /// themselves when the log has grown; a host calls it when idle.
    pub async fn checkpoint(&self) -> Result<()> {
        let turn = Gate::enter(&self.engine.writer).await;
        self.engine.finish_loading(&turn).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.engine.checkpoint(&turn).await {
                // Another connection has committed or written one; take that in and try again.
                Err(Error::Conflict) if attempts < ATTEMPTS_MAX => self.engine.catch_up(&turn).await?,
                result => return result,
            }
        }
    }

    /// Reads every page and checks that trees and page numbers are sound. Writers wait meanwhile.
    pub async fn check(&self) -> Result<CheckReport> {
        let turn = Gate::enter(&self.engine.writer).await;
        commit::drain(&self.engine).await;
        self.engine.finish_loading(&turn).await?;
        check::run(&self.engine, &turn).await
    }

    /// Figures of this handle's state.
    pub fn statistics(&self) -> Statistics {
        let core = self.engine.core.borrow();
        Statistics {
            page_size: core.pager.page_size(),
            page_count: core.pager.next_number() - 1,
            free_page_count: core.pager.free_count(),
            cached_bytes: core.pager.cached_bytes(),
            dirty_bytes: core.pager.dirty_bytes(),
            log_bytes: core.log_bytes,
            sequence: core.sequence,
            checkpoint: core.checkpoint,
            checkpoint_error: core.checkpoint_error.clone(),
        }
    }

    /// Writes a checkpoint, if one can be written, and closes the database for all handles.
    pub async fn close(&self) -> Result<()> {
        let turn = Gate::enter(&self.engine.writer).await;
        if self.engine.core.borrow().closed {
            return Ok(());
        }
        // Everything committed is in the log already, so a failure costs only time at the next opening.
        let _ = self.engine.checkpoint(&turn).await;
        self.engine.core.borrow_mut().closed = true;
        self.engine.feed.close();
        self.engine.backend.close().await
    }
}

/// Runs the operations of a batch from a position on, until the transaction is large. Gives their outcomes.
async fn run_piece(
    transaction: &mut Transaction,
    operations: &[Operation],
    start: usize,
    log_bytes_max: usize,
    options: &BatchOptions,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (position, operation) in operations.iter().enumerate().skip(start) {
        outcomes.push(match transaction.run(operation).await {
            Ok(outcome) => outcome,
            Err(error) if !options.atomic && error.is_of_operation() => Outcome::Failed(error),
            Err(error) if error.is_of_operation() => {
                return Err(Error::Batch { position, source: Box::new(error) });
            }
            Err(error) => return Err(error),
        });
        options.control.report(position as u64 + 1, operations.len() as u64)?;
        if transaction.log_bytes() >= log_bytes_max {
            break;
        }
    }
    Ok(outcomes)
}

impl Snapshot {
    /// The document under a key. Fails with [`Error::Conflict`] when another connection has replaced the pages meanwhile.
    pub async fn get(&self, collection: &str, key: &Document) -> Result<Option<Document>> {
        let key = encode_key(key)?;
        match get_over(&self.engine, &self.view, collection, &key).await? {
            Some(value) => Ok(Some(value.decode()?)),
            None => Ok(None),
        }
    }

    /// The entries of a Collection in key order.
    pub async fn scan(&self, collection: &str, options: &ScanOptions) -> Result<Vec<Row>> {
        scan_over(&self.engine, &self.view, collection, options).await
    }

    /// Runs a query.
    pub async fn query(&self, query: &Query) -> Result<QueryResult> {
        let state = self.view.catalog.find(&query.collection).map(|state| &**state);
        query::run(&self.engine, self.view.generation, state, query).await
    }

    /// All Collections in order of name.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        collections_of(&self.view)
    }
}

async fn get_over(engine: &Engine, view: &View, collection: &str, key: &[u8]) -> Result<Option<Encoded>> {
    let Some(state) = view.catalog.find(collection) else {
        return Ok(None);
    };
    let value = engine.get(view.generation, state.root, key).await?;
    Ok(value.map(Encoded::trusted))
}

async fn scan_over(engine: &Engine, view: &View, collection: &str, options: &ScanOptions) -> Result<Vec<Row>> {
    let range = KeyRange { from: encode_bound(&options.from)?, to: encode_bound(&options.to)? };
    let mut rows = Vec::new();
    let limit = options.limit.unwrap_or(usize::MAX);
    let Some(state) = view.catalog.find(collection).filter(|_| limit > 0) else {
        return Ok(rows);
    };
    engine
        .scan(view.generation, state.root, range, options.direction, |entry| {
            rows.push(Row { key: decode_key(entry.key())?, value: Encoded::trusted(entry.value.to_vec()) });
            Ok(rows.len() < limit)
        })
        .await?;
    Ok(rows)
}

pub(crate) fn encode_bound(bound: &Bound<Document>) -> Result<Bound<Vec<u8>>> {
    Ok(match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => Bound::Included(encode_key(key)?),
        Bound::Excluded(key) => Bound::Excluded(encode_key(key)?),
    })
}

fn indexes_of(state: &CollectionState) -> Vec<IndexInfo> {
    let info = |index: &IndexState| IndexInfo {
        definition: index.definition.clone(),
        entries: index.entries,
        distinct: index.distinct,
    };
    state.indexes.iter().map(info).collect()
}

fn collections_of(view: &View) -> Vec<CollectionInfo> {
    view.catalog
        .user_collections()
        .map(|state| CollectionInfo {
            name: state.name.clone(),
            count: state.count,
            indexes: indexes_of(state),
            schema: state.schema.as_ref().map(|schema| schema.source().clone()),
        })
        .collect()
}
