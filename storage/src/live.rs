//! Live queries: a query whose rows are kept, and what each commit changes about them.
//!
//! A query that only filters is kept up from the records of the backend's log, which say what every commit has written, our own
//! and those of other connections: the changed documents are evaluated, no page is read. Any other query (sorted, limited,
//! with a position or aggregates) is run again after a commit that touched its Collection, and compared; so is every query when
//! the records are not to be had, because another connection's checkpoint took them away or too many have gathered.
//!
//! Of the rows only keys and hashes are kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use xxhash_rust::xxh64::xxh64;

use crate::database::Database;
use crate::document::{Document, Encoded};
use crate::engine::{ATTEMPTS_MAX, View};
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::key::{decode_key, encode_key};
use crate::place::projected;
use crate::query::{self, Query, Row};
use crate::record::{Change, LogReader};

/// Bytes of records that wait for a live query before it is run again instead.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// What has changed about a query's rows. The first one has all rows as added.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveChange {
    /// Rows that are new.
    pub added: Vec<Row>,
    /// Rows whose documents are others now.
    pub changed: Vec<Row>,
    /// Keys of rows that are gone.
    pub removed: Vec<Document>,
    /// The keys of all rows in order, when the query asks for more than a filter.
    pub order: Option<Vec<Document>>,
}

/// A live query. Dropping it ends it.
pub struct Live {
    database: Database,
    query: Query,
    inbox: Rc<RefCell<Inbox>>,
    /// The Collection's number, when there is one.
    collection: Option<u32>,
    /// Hashes of the documents by their keys, for groups by their groups.
    rows: BTreeMap<Vec<u8>, u64>,
    /// The rows' keys in order as they were reported last; nothing before the first report.
    order: Option<Vec<Vec<u8>>>,
    /// Whether changed documents are all that has to be looked at.
    only_filters: bool,
}

/// What has happened since a live query was last brought up to date.
struct Inbox {
    records: Vec<Rc<[u8]>>,
    bytes: usize,
    /// The records are not all that has happened.
    lost: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// Ends a live query from elsewhere, also while somebody waits for its next change.
#[derive(Clone)]
pub struct LiveEnd(Weak<RefCell<Inbox>>);

/// The live queries of an engine.
#[derive(Default)]
pub(crate) struct Feed(RefCell<Vec<Weak<RefCell<Inbox>>>>);

impl Feed {
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Tells of a record that has been committed.
    pub fn record(&self, record: &[u8]) {
        let mut shared: Option<Rc<[u8]>> = None;
        self.tell(|inbox| {
            if !inbox.lost {
                inbox.records.push(shared.get_or_insert_with(|| record.into()).clone());
                inbox.bytes += record.len();
            }
            if inbox.bytes > PENDING_BYTES_MAX {
                inbox.lose();
            }
        });
    }

    /// Tells that anything may have happened.
    pub fn lose(&self) {
        self.tell(Inbox::lose);
    }

    /// Ends all live queries.
    pub fn close(&self) {
        self.tell(|inbox| inbox.closed = true);
    }

    fn tell(&self, mut tell: impl FnMut(&mut Inbox)) {
        self.0.borrow_mut().retain(|inbox| {
            let Some(inbox) = inbox.upgrade() else { return false };
            tell(&mut inbox.borrow_mut());
            let waker = inbox.borrow_mut().waker.take();
            waker.into_iter().for_each(Waker::wake);
            true
        });
    }
}

impl Inbox {
    fn lose(&mut self) {
        self.records.clear();
        self.bytes = 0;
        self.lost = true;
    }
}

impl LiveEnd {
    /// Makes [`Live::next`] give nothing from now on.
    pub fn end(&self) {
        if let Some(inbox) = self.0.upgrade() {
            let waker = {
                let mut inbox = inbox.borrow_mut();
                inbox.closed = true;
                inbox.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Database {
    /// Begins to watch a query's rows. Commits of other connections are seen when this one takes them in, by
    /// [`Database::refresh`] or because it writes.
    pub fn subscribe(&self, query: Query) -> Result<Live> {
        query.check()?;
        let inbox = Inbox { records: Vec::new(), bytes: 0, lost: true, closed: false, waker: None };
        let inbox = Rc::new(RefCell::new(inbox));
        self.engine().feed.0.borrow_mut().push(Rc::downgrade(&inbox));
        let is_whole = query.limit.is_none() && query.offset == 0 && query.after.is_none();
        let only_filters = is_whole && query.sort.is_empty() && !query.is_aggregate();
        Ok(Live {
            database: self.clone(),
            query,
            inbox,
            collection: None,
            rows: BTreeMap::new(),
            order: None,
            only_filters,
        })
    }
}

impl Live {
    /// Ends it from elsewhere.
    pub fn end(&self) -> LiveEnd {
        LiveEnd(Rc::downgrade(&self.inbox))
    }

    /// Waits until something may have changed, and says what has; nothing when the query was ended. The first call gives all
    /// rows at once. After an error the next call starts over.
    pub async fn next(&mut self) -> Result<Option<LiveChange>> {
        loop {
            let is_first = self.collection.is_none() && self.rows.is_empty() && self.inbox.borrow().lost;
            let is_open = poll_fn(|context| {
                let mut inbox = self.inbox.borrow_mut();
                if inbox.closed || inbox.lost || !inbox.records.is_empty() {
                    return Poll::Ready(!inbox.closed);
                }
                inbox.waker = Some(context.waker().clone());
                Poll::Pending
            });
            if !is_open.await {
                return Ok(None);
            }
            let change = self.update().await.inspect_err(|_| self.inbox.borrow_mut().lose())?;
            if is_first || change != LiveChange::default() {
                return Ok(Some(change));
            }
        }
    }

    /// What has changed since the last call, without waiting for anything to change.
    pub async fn update(&mut self) -> Result<LiveChange> {
        let (records, lost) = {
            let mut inbox = self.inbox.borrow_mut();
            inbox.bytes = 0;
            (std::mem::take(&mut inbox.records), inbox.lost)
        };
        if lost {
            return self.run_again().await;
        }
        let mut touched = false;
        let mut changes = BTreeMap::new();
        for record in &records {
            touched |= self.take_record(record, &mut changes)?;
        }
        match touched {
            false => Ok(LiveChange::default()),
            true if self.only_filters => self.compare(changes),
            true => self.run_again().await,
        }
    }

    /// Notes what a record does to the rows: the new document, or nothing. Whether it touched the Collection.
    fn take_record(&mut self, record: &[u8], changes: &mut BTreeMap<Vec<u8>, Option<Encoded>>) -> Result<bool> {
        let mut log = LogReader::new(record)?;
        let mut touched = false;
        while let Some(change) = log.next()? {
            match change {
                Change::CreateCollection { collection, name } if name == self.query.collection => {
                    self.collection = Some(collection);
                }
                _ if self.collection != Some(change.collection()) => continue,
                Change::Put { key, value, .. } if self.only_filters => {
                    let value = match self.query.filter.matches(key, value)? {
                        true => Some(projected(&self.query, Encoded::trusted(value.to_vec()))?),
                        false => None,
                    };
                    changes.insert(key.to_vec(), value);
                }
                Change::Delete { key, .. } if self.only_filters => drop(changes.insert(key.to_vec(), None)),
                Change::DropCollection { .. } => {
                    self.collection = None;
                    changes.values_mut().for_each(|value| *value = None);
                    changes.extend(self.rows.keys().map(|key| (key.clone(), None)));
                }
                _ => {}
            }
            touched = true;
        }
        Ok(touched)
    }

    /// Takes new documents over, and says what that changes.
    fn compare(&mut self, changes: BTreeMap<Vec<u8>, Option<Encoded>>) -> Result<LiveChange> {
        let mut change = LiveChange::default();
        for (key, value) in changes {
            let Some(value) = value else {
                if self.rows.remove(&key).is_some() {
                    change.removed.push(decode_key(&key)?);
                }
                continue;
            };
            let hash = xxh64(value.as_bytes(), 0);
            let row = || Ok::<Row, Error>(Row { key: decode_key(&key)?, value });
            match self.rows.get(&key) {
                Some(old) if *old == hash => continue,
                Some(_) => change.changed.push(row()?),
                None => change.added.push(row()?),
            }
            self.rows.insert(key, hash);
        }
        Ok(change)
    }

    /// Runs the query over the present state and compares its rows with those that there were.
    async fn run_again(&mut self) -> Result<LiveChange> {
        let rows = self.present_rows().await?;
        let mut old = std::mem::take(&mut self.rows);
        let mut order = Vec::with_capacity(rows.len());
        let mut change = LiveChange::default();
        for row in rows {
            let key = self.encode(&row.key)?;
            let hash = xxh64(row.value.as_bytes(), 0);
            order.push(key.clone());
            self.rows.insert(key.clone(), hash);
            match old.remove(&key) {
                Some(known) if known == hash => {}
                Some(_) => change.changed.push(row),
                None => change.added.push(row),
            }
        }
        change.removed = old.keys().map(|key| self.decode(key)).collect::<Result<_>>()?;
        if !self.only_filters {
            let moved = self.order.as_ref() != Some(&order);
            if moved || change != LiveChange::default() {
                change.order = Some(order.iter().map(|key| self.decode(key)).collect::<Result<_>>()?);
            }
            self.order = Some(order);
        }
        Ok(change)
    }

    /// A row's key in bytes. Groups are of values that need not be keys.
    fn encode(&self, key: &Document) -> Result<Vec<u8>> {
        if self.only_filters { encode_key(key) } else { key.encode() }
    }

    fn decode(&self, key: &[u8]) -> Result<Document> {
        if self.only_filters { decode_key(key) } else { Document::decode(key) }
    }

    async fn present_rows(&mut self) -> Result<Vec<Row>> {
        let engine = self.database.engine();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let view: View = engine.view().await?;
            {
                // What comes from here on is not in the view.
                let mut inbox = self.inbox.borrow_mut();
                inbox.records.clear();
                inbox.bytes = 0;
                inbox.lost = false;
            }
            let state = view.catalog.find(&self.query.collection).map(|state| &**state);
            self.collection = state.map(|state| state.id);
            match query::run(engine, view.generation, state, &self.query).await {
                Err(Error::Conflict) if attempts < ATTEMPTS_MAX => {
                    drop(view);
                    let turn = Gate::enter(&engine.writer).await;
                    engine.catch_up(&turn).await?;
                }
                result => return Ok(result?.rows),
            }
        }
    }
}
