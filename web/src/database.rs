//! One open database for TypeScript: requests come in as documents, run on `cu_storage`, and go out as documents.
//!
//! Other tabs may have the same database open. What changes something is checked against their commits when it commits
//! itself. What only reads asks the store first whether anybody has committed, so that a call sees everything that
//! was durable anywhere when it was made; unless TypeScript knows that nobody can have (`web/ts/presence.ts`).

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use cu_storage::{
    Answer, Backend, BatchOptions, Cancel, Control, Document, Encoded, IndexDefinition, MemoryBackend, Operation,
    Outcome, Plan, Progress, QueryResult, encode_outcomes, encode_query_result, parse_batch, parse_query,
};
use js_sys::{Array, Function, Promise, Reflect, RegExp, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::cells::Answers;
use crate::error::{Result, storage_code};
use crate::host_store::{HostStore, Store};
use crate::indexeddb::{Durability, IndexedDb};
use crate::live::LiveQuery;
use crate::memory::wasm_bytes;
use crate::options::Options;
use crate::transaction::Transaction;

/// One open database. Calls may overlap.
#[wasm_bindgen]
pub struct Database {
    handle: Handle,
    answers: Answers,
}

/// How `get` and `query` answer when they do at once: encoded, as cells, or as cells with the keys of rows.
const ENCODED: u32 = 0;
const CELLS_WITH_KEYS: u32 = 2;

/// What was read.
enum Reply {
    Value(Option<Encoded>),
    Answer(Answer),
    Plan(Plan),
}

#[derive(Clone)]
struct Handle {
    database: cu_storage::Database,
    /// The store, when others can write to it too.
    shared: Option<Rc<Shared>>,
}

struct Shared {
    store: Rc<IndexedDb>,
    /// Whether no other connection can have committed anything that is not in memory.
    is_alone: Function,
}

#[wasm_bindgen]
impl Database {
    /// Opens a database. `options` is a map: `storage` (`indexeddb` or `memory`), `durability` (`strict` or `relaxed`), `cacheBytes`.
    /// `is_alone` tells whether a read that begins now need not look for what others have committed.
    pub async fn open(
        name: String,
        options: Vec<u8>,
        #[wasm_bindgen(unchecked_param_type = "() => boolean")] is_alone: Function,
    ) -> Result<Database> {
        let options = Options::decode(&options)?;
        let durability = match options.choice("durability", &["strict", "relaxed"])? {
            "relaxed" => Durability::Relaxed,
            _ => Durability::Strict,
        };
        let shared = match options.choice("storage", &["indexeddb", "memory"])? {
            "indexeddb" => {
                let store = Rc::new(IndexedDb::open(&name, durability).await?);
                Some(Rc::new(Shared { store, is_alone }))
            }
            _ => None,
        };
        let backend: Rc<dyn Backend> = match &shared {
            Some(shared) => shared.store.clone(),
            None => Rc::new(MemoryBackend::new()),
        };
        let database = cu_storage::Database::open_shared(backend, engine_options(&options)?).await?;
        Ok(Database { handle: Handle { database, shared }, answers: Answers::default() })
    }

    /// Opens a database over a store of the host's, which nobody else writes to. `options` is a map with `cacheBytes`.
    #[wasm_bindgen(js_name = openStore)]
    pub async fn open_store(store: Store, options: Vec<u8>) -> Result<Database> {
        let options = engine_options(&Options::decode(&options)?)?;
        let database = cu_storage::Database::open_shared(Rc::new(HostStore(store)), options).await?;
        Ok(Database { handle: Handle { database, shared: None }, answers: Answers::default() })
    }

    /// Runs operations as one atomic transaction, or each for itself. Resolves to an array of results when it is durable.
    pub async fn batch(&self, operations: Vec<u8>, atomic: bool) -> Result<Vec<u8>> {
        let operations = parsed(operations)?;
        if operations.iter().all(only_reads) {
            self.handle.refresh().await?;
        }
        let outcomes =
            self.handle.database.batch(&operations, &BatchOptions { atomic, ..BatchOptions::default() }).await?;
        answer(outcomes, &operations)
    }

    /// Begins a transaction that stays open between calls.
    pub async fn begin(&self) -> Result<Transaction> {
        self.handle.refresh().await?;
        Ok(Transaction::new(self.handle.database.begin().await?))
    }

    /// A value, nil when there is none. Gives it at once when it can; then as cells, and their count, if these are asked for.
    #[wasm_bindgen(unchecked_return_type = "number | Uint8Array | Promise<Uint8Array>")]
    pub fn get(&self, table: String, key: &[u8], form: u32) -> Result<JsValue> {
        let key = Document::decode(key)?;
        let handle = self.handle.clone();
        self.in_form(form, async move {
            handle.refresh().await?;
            Ok(Reply::Value(handle.database.get_encoded(&table, &key).await?))
        })
    }

    /// Runs a query. Gives a map `{rows, cursor}`, at once when it can, then as cells, and their count, if these are asked for; with `explain`
    /// no row is looked at, and there is a `plan` too.
    #[wasm_bindgen(unchecked_return_type = "number | Uint8Array | Promise<Uint8Array>")]
    pub fn query(&self, query: &[u8], form: u32) -> Result<JsValue> {
        let query = parse_query(query)?;
        let handle = self.handle.clone();
        self.in_form(form, async move {
            handle.refresh().await?;
            if query.explain {
                let plan = handle.database.explain(&query).await?;
                return Ok(Reply::Plan(plan));
            }
            Ok(Reply::Answer(handle.database.answer(&query).await?))
        })
    }

    /// The address of what tells where cells lie.
    #[wasm_bindgen(js_name = cellsPlace)]
    pub fn cells_place(&self) -> u32 {
        self.answers.place()
    }

    /// The keys of a shape, an array.
    #[wasm_bindgen(js_name = cellsShape)]
    pub fn cells_shape(&self, number: usize) -> Vec<u8> {
        self.answers.shape(number)
    }

    /// The cursor of the query whose rows lie there as cells. It is given once.
    #[wasm_bindgen(js_name = cellsCursor)]
    pub fn cells_cursor(&self) -> Result<Vec<u8>> {
        self.answers.cursor()
    }

    /// Gives the memory of the cells back.
    #[wasm_bindgen(js_name = releaseCells)]
    pub fn release_cells(&self) {
        self.answers.release();
    }

    /// This module's memory.
    #[wasm_bindgen(unchecked_return_type = "WebAssembly.Memory")]
    pub fn memory(&self) -> JsValue {
        wasm_bindgen::memory()
    }

    /// Begins to watch a query.
    pub fn subscribe(&self, query: Vec<u8>) -> Result<LiveQuery> {
        Ok(LiveQuery::new(self.handle.database.subscribe(parse_query(&query)?)?))
    }

    /// Takes in what other tabs have committed, which live queries report then.
    #[wasm_bindgen(js_name = refresh)]
    pub async fn take_in(&self) -> Result<()> {
        if self.handle.shared.is_some() {
            self.handle.database.refresh().await?;
        }
        Ok(())
    }

    /// Builds an index, in place of one of the same name. `definition` is a map `{name, fields, kind, unique, multi, sparse}`. Now and then `report` is
    /// told how many documents of how many were looked at; the work goes on when the promise resolves that it gives, if it gives any, and ends where
    /// it rejects or `report` throws.
    #[wasm_bindgen(js_name = createIndex)]
    pub async fn create_index(
        &self,
        table: String,
        definition: Vec<u8>,
        #[wasm_bindgen(unchecked_param_type = "(done: number, total: number) => Promise<unknown> | undefined")]
        report: Function,
    ) -> Result<()> {
        let definition = IndexDefinition::from_document(&Document::decode(&definition)?)?;
        self.handle.refresh().await?;
        self.handle.database.create_index_with(&table, &definition, &watched(report)).await?;
        Ok(())
    }

    /// Removes an index. Resolves to whether there was one.
    #[wasm_bindgen(js_name = dropIndex)]
    pub async fn drop_index(&self, table: String, name: String) -> Result<bool> {
        self.handle.refresh().await?;
        Ok(self.handle.database.drop_index(&table, &name).await?)
    }

    /// Gives a table a schema; nil takes it away.
    #[wasm_bindgen(js_name = setSchema)]
    pub async fn set_schema(&self, table: String, schema: Vec<u8>) -> Result<()> {
        self.handle.refresh().await?;
        Ok(self.handle.database.set_schema(&table, &Document::decode(&schema)?).await?)
    }

    /// Says up to which version the page knows data, and gives the version that the data has. Rejects with `newerVersion` when that is higher; then, and
    /// when another tab brings it there later, nothing can be written.
    #[wasm_bindgen(js_name = knowVersion)]
    pub async fn know_version(&self, version: u32) -> Result<u32> {
        Ok(self.handle.database.know_version(version.into()).await? as u32)
    }

    /// An array of maps `{name, count}`, ordered by name.
    pub async fn collections(&self) -> Result<Vec<u8>> {
        self.handle.refresh().await?;
        let collections = self.handle.database.collections().await?;
        let entries = collections.into_iter().map(|collection| {
            let count = i64::try_from(collection.count).unwrap_or(i64::MAX);
            Document::map([("name", Document::text(&collection.name)), ("count", Document::Integer(count))])
        });
        Ok(Document::Array(entries.collect()).encode()?)
    }

    /// Bytes of log that opening the database would have to read.
    #[wasm_bindgen(js_name = logBytes)]
    pub fn log_bytes(&self) -> usize {
        self.handle.database.statistics().log_bytes
    }

    /// Writes what is only in the log to its pages.
    pub async fn checkpoint(&self) -> Result<()> {
        Ok(self.handle.database.checkpoint().await?)
    }

    /// Bytes of this module's memory.
    #[wasm_bindgen(js_name = wasmBytes)]
    pub fn memory_bytes(&self) -> u32 {
        wasm_bytes()
    }

    /// Closes the database; later calls reject with `closed`.
    pub async fn close(&self) -> Result<()> {
        Ok(self.handle.database.close().await?)
    }
}

impl Database {
    fn in_form(&self, form: u32, work: impl Future<Output = Result<Reply>> + 'static) -> Result<JsValue> {
        let answers = &self.answers;
        let at_once = |reply| {
            let count = match reply {
                Reply::Value(Some(value)) if form != ENCODED => answers.put(&value)?,
                Reply::Answer(answer) if form != ENCODED => {
                    answers.put_rows(answer.rows(), form == CELLS_WITH_KEYS, answer.cursor())?
                }
                other => return Ok(byte_array(&other.encode()?)),
            };
            Ok(count.into())
        };
        settled(work, at_once, |reply| Ok(byte_array(&reply.encode()?)))
    }
}

impl Reply {
    fn encode(self) -> Result<Vec<u8>> {
        Ok(match self {
            Reply::Value(value) => value.map_or_else(|| Document::Nil.encode(), |value| Ok(value.into_bytes()))?,
            Reply::Answer(answer) => answer.encode()?,
            Reply::Plan(plan) => encode_query_result(&QueryResult { plan, ..QueryResult::default() }, true)?,
        })
    }
}

fn engine_options(options: &Options) -> Result<cu_storage::Options> {
    let sizes = match options.size("cacheBytes")? {
        Some(bytes) => cu_storage::Options::within(bytes),
        None => cu_storage::Options::within(CACHE_BYTES),
    };
    Ok(cu_storage::Options { matcher: Rc::new(matches), ..sizes })
}

/// Pages in memory, unless the page says otherwise: what about 150,000 records of 300 bytes with two indexes take. One that is missing
/// costs a transaction of IndexedDB.
const CACHE_BYTES: usize = 64 << 20;

impl Handle {
    /// Takes in what other tabs have committed, if they can have. A store whose connection was lost may have been deleted.
    async fn refresh(&self) -> Result<()> {
        if let Some(shared) = &self.shared
            && (shared.store.is_lost() || !shared.is_alone())
        {
            self.database.refresh().await?;
        }
        Ok(())
    }
}

/// Work that `report` is told of, and that goes on when it says so.
fn watched(report: Function) -> Control {
    let cancel = Cancel::default();
    let progress = Rc::new(Cell::new(Progress { done: 0, total: 0 }));
    let seen = progress.clone();
    let control = Control::default().cancel(&cancel).on_progress(move |progress| seen.set(progress));
    control.pause(Rc::new(move || {
        let Progress { done, total } = progress.get();
        let answer = report.call2(&JsValue::UNDEFINED, &(done as f64).into(), &(total as f64).into());
        let cancel = cancel.clone();
        Box::pin(async move {
            let went_on = match answer.map(JsCast::dyn_into::<Promise>) {
                Ok(Ok(promise)) => JsFuture::from(promise).await.is_ok(),
                other => other.is_ok(),
            };
            if !went_on {
                cancel.cancel();
            }
        })
    }))
}

/// Results of operations for TypeScript, where an update gives true.
pub fn answer(mut outcomes: Vec<Outcome>, operations: &[Operation]) -> Result<Vec<u8>> {
    for (operation, outcome) in operations.iter().zip(&mut outcomes) {
        if let (Operation::Update { .. }, Outcome::Value(_)) = (operation, &outcome) {
            *outcome = Outcome::Done;
        }
    }
    Ok(encode_outcomes(&outcomes, operations, storage_code)?)
}

impl Shared {
    fn is_alone(&self) -> bool {
        self.is_alone.call0(&JsValue::UNDEFINED).is_ok_and(|alone| alone.is_truthy())
    }
}

/// What work gives when it need not wait, which is so when all pages are in memory; else a promise of it.
pub fn at_once(work: impl Future<Output = Result<Vec<u8>>> + 'static) -> Result<JsValue> {
    let given = |bytes: Vec<u8>| Ok(byte_array(&bytes));
    settled(work, given, given)
}

/// What `at_once` makes of it when the work need not wait; else a promise of what `later` makes.
fn settled<T: 'static>(
    work: impl Future<Output = Result<T>> + 'static,
    at_once: impl FnOnce(T) -> Result<JsValue>,
    later: fn(T) -> Result<JsValue>,
) -> Result<JsValue> {
    let mut work = Box::pin(work);
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => at_once(result?),
        Poll::Pending => Ok(future_to_promise(async move { Ok(work.await.and_then(later)?) }).into()),
    }
}

fn byte_array(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// The operations of a batch, whose encoding is not kept: both together would lie in memory until it is durable.
pub fn parsed(operations: Vec<u8>) -> Result<Vec<Operation>> {
    Ok(parse_batch(&operations)?)
}

/// Whether an operation cannot change anything, so that its batch commits nothing.
fn only_reads(operation: &Operation) -> bool {
    matches!(operation, Operation::Get { .. } | Operation::Query(_))
}

/// Whether a text matches a pattern of a schema, by the page's own regular expressions.
fn matches(pattern: &str, text: &str) -> std::result::Result<bool, String> {
    // A pattern that is none throws, which `RegExp::new` has no way to tell.
    let regular_expression = || {
        let constructor = Reflect::get(&js_sys::global(), &"RegExp".into())?.unchecked_into::<Function>();
        Reflect::construct(&constructor, &Array::of2(&pattern.into(), &"u".into()))
    };
    match regular_expression() {
        Ok(found) => Ok(found.unchecked_into::<RegExp>().test(text)),
        Err(_) => Err(format!("cannot be checked: {pattern} is no pattern")),
    }
}
