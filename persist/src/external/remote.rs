//! External tables of a host that takes requests as bytes and may answer later.
//!
//! ```text
//!   Lua ─ External ─ Request ─> RemoteTables ─ bytes ─> the host ─> its database
//!                               RemoteTables <─ bytes ─ at once, or by `answer_with`
//! ```
//!
//! What goes out has the form that `cu_storage` reads (batches, queries, definitions of indexes), so a host only hands it on. How deep
//! transactions are nested is counted here: what a run leaves open is undone, whatever became of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cu_storage::{Document, Filter, Query, encode_query};

use super::{Answer, Request, Tables};
use crate::error::{Error, Result};

/// What a host is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RemoteRequest {
    /// The value under a key, which the bytes are; nil if there is none.
    Get = 0,
    /// A batch. The answer is not looked at.
    Batch = 1,
    /// A query. The answer is that of [`cu_storage::encode_answer`].
    Query = 2,
    /// A definition of an index.
    Index = 3,
    /// Begins a transaction, inside the one that is open if there is one.
    Begin = 4,
    /// Ends the innermost transaction, with its changes.
    Commit = 5,
    /// Ends the innermost transaction, without its changes.
    RollBack = 6,
    /// Ends all transactions without their changes, also one whose beginning has no answer yet. It is not waited for.
    RollBackAll = 7,
}

/// The host's side.
pub trait RemoteHost {
    /// Carries a request about a table out. `None` if that takes a while: [`RemoteTables::answer_with`] brings the answer.
    ///
    /// # Errors
    ///
    /// Why it cannot, for Lua code.
    fn ask(&self, request: RemoteRequest, table: &str, bytes: &[u8]) -> std::result::Result<Option<Vec<u8>>, String>;
}

/// Tables of such a host.
pub struct RemoteTables<H> {
    host: H,
    /// Transactions that are open.
    open: Cell<usize>,
    waits: Cell<bool>,
    came: RefCell<Option<std::result::Result<Vec<u8>, String>>>,
}

impl<H: RemoteHost> RemoteTables<H> {
    /// Tables that nothing is open of.
    pub fn new(host: H) -> Rc<RemoteTables<H>> {
        Rc::new(RemoteTables { host, open: Cell::new(0), waits: Cell::new(false), came: RefCell::default() })
    }

    /// The host.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Whether a run waits for [`Self::answer_with`].
    pub fn waits(&self) -> bool {
        self.waits.get()
    }

    /// What the request came to that the run waits for.
    pub fn answer_with(&self, answer: std::result::Result<Vec<u8>, String>) {
        if self.waits.take() {
            *self.came.borrow_mut() = Some(answer);
        }
    }

    fn ask(&self, request: &Request) -> std::result::Result<Option<Vec<u8>>, String> {
        let encoded = |document: &Document| document.encode().map_err(text);
        let (kind, table, bytes) = match request {
            Request::Get(table, key) => (RemoteRequest::Get, table.as_str(), encoded(key)?),
            Request::Set(table, key, value) => {
                (RemoteRequest::Batch, table.as_str(), encoded(&batch(table, key, value))?)
            }
            Request::Next(table, key) => {
                let after = key.clone().map(|key| Document::Array(vec![key]));
                let query = Query { after, limit: Some(1), ..Query::new(table, Filter::default()) };
                (RemoteRequest::Query, table.as_str(), encode_query(&query).map_err(text)?)
            }
            Request::Query(query) => {
                (RemoteRequest::Query, query.collection.as_str(), encode_query(query).map_err(text)?)
            }
            Request::Index(table, definition) => {
                (RemoteRequest::Index, table.as_str(), encoded(&definition.to_document())?)
            }
            Request::Begin => (RemoteRequest::Begin, "", Vec::new()),
            Request::Commit | Request::RollBack if self.open.get() == 0 => {
                return Err("the transaction is over".into());
            }
            Request::Commit => (RemoteRequest::Commit, "", Vec::new()),
            Request::RollBack => (RemoteRequest::RollBack, "", Vec::new()),
        };
        self.host.ask(kind, table, &bytes)
    }

    /// What the host answers means, and for how many transactions are open.
    fn understand(&self, request: &Request, answer: std::result::Result<Vec<u8>, String>) -> Result<Answer> {
        let open = self.open.get();
        match request {
            Request::Begin if answer.is_ok() => self.open.set(open + 1),
            // One that could not be ended is over too.
            Request::Commit | Request::RollBack => self.open.set(open.saturating_sub(1)),
            _ => {}
        }
        let bytes = answer.map_err(|reason| Error::Storage { reason: table_of(request) + &reason })?;
        let read = || Document::decode(&bytes).map_err(|error| Error::Storage { reason: error.to_string() });
        Ok(match request {
            Request::Get(..) => Answer::Value(Some(read()?).filter(|value| *value != Document::Nil)),
            Request::Next(..) | Request::Query(_) => rows(read()?),
            _ => Answer::Done,
        })
    }
}

impl<H: RemoteHost> Tables for Rc<RemoteTables<H>> {
    fn answer(&self, request: &Request) -> Result<Option<Answer>> {
        let came = self.came.take();
        let answer = match came.map_or_else(|| self.ask(request), |came| came.map(Some)) {
            Ok(None) => {
                self.waits.set(true);
                return Ok(None);
            }
            Ok(Some(bytes)) => Ok(bytes),
            Err(reason) => Err(reason),
        };
        self.understand(request, answer).map(Some)
    }

    fn in_transaction(&self) -> bool {
        self.open.get() > 0
    }

    fn roll_back_all(&self) {
        // What has come and was not looked at may be the beginning of one.
        let came = self.came.take().is_some();
        let waits = self.waits.take();
        if self.open.take() > 0 || came || waits {
            // Nobody is left to be told.
            let _ = self.host.ask(RemoteRequest::RollBackAll, "", &[]);
        }
    }
}

fn text(error: cu_storage::Error) -> String {
    error.to_string()
}

/// How errors about a table begin.
fn table_of(request: &Request) -> String {
    match request {
        Request::Get(table, _) | Request::Set(table, ..) | Request::Next(table, _) | Request::Index(table, _) => {
            format!("{table}: ")
        }
        Request::Query(query) => format!("{}: ", query.collection),
        Request::Begin | Request::Commit | Request::RollBack => String::new(),
    }
}

fn batch(table: &str, key: &Document, value: &Document) -> Document {
    let kind = if *value == Document::Nil { "delete" } else { "set" };
    let operation = [
        ("type", Document::text(kind)),
        ("table", Document::text(table)),
        ("key", key.clone()),
        ("value", value.clone()),
    ];
    Document::Array(vec![Document::map(operation)])
}

fn rows(answer: Document) -> Answer {
    let count = |name: &str| match answer.get(name) {
        Some(Document::Integer(count)) => count.cast_unsigned(),
        _ => 0,
    };
    let (examined, matched) = (count("examined"), count("matched"));
    let (mut rows, mut cursor) = (Vec::new(), None);
    if let Document::Map(entries) = answer {
        for (name, value) in entries {
            match (name.as_text(), value) {
                (Some("rows"), Document::Array(found)) => rows = found.into_iter().filter_map(row).collect(),
                (Some("cursor"), position) if position != Document::Nil => cursor = Some(position),
                _ => {}
            }
        }
    }
    Answer::Rows { rows, examined, cursor, matched }
}

/// Key and value of a row, in that order.
fn row(row: Document) -> Option<(Document, Document)> {
    let Document::Map(entries) = row else { return None };
    let mut parts = entries.into_iter().map(|(_, part)| part);
    Some((parts.next()?, parts.next()?))
}
