//! External tables in a database whose backend answers at once: a file, memory.

use std::cell::RefCell;
use std::ops::Bound;
use std::rc::Rc;

use cu_storage::{Database, Document, Query, Row, Savepoint, ScanOptions, Transaction, block_on};

use super::{Answer, Request, Tables};
use crate::error::{Error, Result};

/// The Collections of a database as external tables.
pub struct StoredTables {
    database: Rc<Database>,
    open: RefCell<Option<Open>>,
}

/// A transaction, and the beginnings of those inside it.
struct Open {
    transaction: Transaction,
    inner: Vec<Savepoint>,
}

impl StoredTables {
    /// All Collections of a database.
    pub fn new(database: Rc<Database>) -> StoredTables {
        StoredTables { database, open: RefCell::new(None) }
    }

    fn begin(&self) -> Result<Answer> {
        let mut open = self.open.borrow_mut();
        match &mut *open {
            Some(open) => open.inner.push(open.transaction.savepoint().map_err(storage)?),
            None => {
                let transaction = block_on(self.database.begin()).map_err(storage)?;
                *open = Some(Open { transaction, inner: Vec::new() });
            }
        }
        Ok(Answer::Done)
    }

    fn end(&self, keeps: bool) -> Result<Answer> {
        let mut place = self.open.borrow_mut();
        let Some(mut open) = place.take() else {
            return Err(Error::Storage { reason: "the transaction is over".into() });
        };
        match (open.inner.pop(), keeps) {
            (None, true) => block_on(open.transaction.commit()).map_err(storage)?,
            (None, false) => open.transaction.rollback(),
            (Some(savepoint), _) => {
                let ended =
                    if keeps { open.transaction.release(savepoint) } else { open.transaction.rollback_to(savepoint) };
                *place = Some(open);
                ended.map_err(storage)?;
            }
        }
        Ok(Answer::Done)
    }

    fn query(&self, query: &Query) -> Result<Answer> {
        let result = match &mut *self.open.borrow_mut() {
            Some(open) => block_on(open.transaction.query(query)),
            None => block_on(self.database.query(query)),
        };
        let result = result.map_err(|error| within(error, &query.collection))?;
        let examined = result.plan.rows_examined + result.plan.entries_examined;
        let matched = result.plan.rows_matched;
        Ok(Answer::Rows { rows: decode(result.rows)?, examined, cursor: result.cursor, matched })
    }

    fn next(&self, table: &str, key: Option<&Document>) -> Result<Answer> {
        if self.open.borrow().is_some() {
            let after = key.map(|key| Document::Array(vec![key.clone()]));
            return self.query(&Query { after, limit: Some(1), ..Query::new(table, Default::default()) });
        }
        let from = key.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        let options = ScanOptions { from, limit: Some(1), ..ScanOptions::default() };
        let rows = decode(block_on(self.database.scan(table, &options)).map_err(|error| within(error, table))?)?;
        Ok(Answer::Rows { rows, examined: 1, cursor: None, matched: 0 })
    }
}

impl Tables for StoredTables {
    fn answer(&self, request: &Request) -> Result<Option<Answer>> {
        self.answer_now(request).map(Some)
    }

    fn in_transaction(&self) -> bool {
        self.open.borrow().is_some()
    }

    fn roll_back_all(&self) {
        // Dropping a transaction undoes it.
        self.open.borrow_mut().take();
    }
}

impl StoredTables {
    /// Carries an operation out.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]; nothing is changed then.
    pub fn answer_now(&self, request: &Request) -> Result<Answer> {
        match request {
            Request::Get(table, key) => {
                let found = match &mut *self.open.borrow_mut() {
                    Some(open) => block_on(open.transaction.get(table, key)),
                    None => block_on(self.database.get(table, key)),
                };
                found.map(Answer::Value).map_err(|error| within(error, table))
            }
            Request::Set(table, key, value) => {
                let stored = match (&mut *self.open.borrow_mut(), value) {
                    (Some(open), Document::Nil) => block_on(open.transaction.delete(table, key)).map(drop),
                    (Some(open), value) => block_on(open.transaction.set(table, key, value)),
                    (None, Document::Nil) => block_on(self.database.delete(table, key)).map(drop),
                    (None, value) => block_on(self.database.set(table, key, value)),
                };
                stored.map(|()| Answer::Done).map_err(|error| within(error, table))
            }
            Request::Next(table, key) => self.next(table, key.as_ref()),
            Request::Query(query) => self.query(query),
            Request::Index(table, definition) => {
                let made = match &mut *self.open.borrow_mut() {
                    Some(open) => block_on(open.transaction.create_index(table, definition)),
                    None => block_on(self.database.create_index(table, definition)),
                };
                made.map(|_| Answer::Done).map_err(|error| within(error, table))
            }
            Request::Begin => self.begin(),
            Request::Commit => self.end(true),
            Request::RollBack => self.end(false),
        }
    }
}

fn decode(rows: Vec<Row>) -> Result<Vec<(Document, Document)>> {
    rows.into_iter().map(|row| Ok((row.key, row.value.decode().map_err(storage)?))).collect()
}

fn storage(error: cu_storage::Error) -> Error {
    Error::Storage { reason: error.to_string() }
}

fn within(error: cu_storage::Error, table: &str) -> Error {
    Error::Storage { reason: format!("{table}: {error}") }
}
