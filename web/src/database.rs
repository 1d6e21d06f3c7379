//! One open database for TypeScript: requests come in as documents, run on `cu_storage`, and go out as documents.
//!
//! A request may be dropped at no point once it was handed over: each runs to its end on its own, whatever becomes of
//! the promise.

use std::rc::Rc;

use cu_storage::{
    Backend, BatchOptions, Direction, Document, IndexKind, MemoryBackend, Operation, Outcome,
    Query, encode_outcomes, encode_query_result, parse_batch, parse_query,
};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Result;
use crate::indexeddb::{Durability, IndexedDb};
use crate::options::Options;

/// One open database. Calls may overlap.
#[wasm_bindgen]
pub struct Database {
    database: cu_storage::Database,
}

#[wasm_bindgen]
impl Database {
    /// Opens a database. `options` is a map: `storage` (`indexeddb` or `memory`), `durability` (`strict` or `relaxed`).
    pub async fn open(name: String, options: Vec<u8>) -> Result<Database> {
        let options = Options::decode(&options)?;
        let durability = match options.choice("durability", &["strict", "relaxed"])? {
            "relaxed" => Durability::Relaxed,
            _ => Durability::Strict,
        };
        let backend: Rc<dyn Backend> = match options.choice("storage", &["indexeddb", "memory"])? {
            "memory" => Rc::new(MemoryBackend::new()),
            _ => Rc::new(IndexedDb::open(&name, durability).await?),
        };
        let database = cu_storage::Database::open_shared(backend, cu_storage::Options::default());
        Ok(Database {
            database: database.await?,
        })
    }

    /// Runs operations as one atomic transaction. Resolves to an array of results when it is durable.
    pub async fn batch(&self, operations: Vec<u8>) -> Result<Vec<u8>> {
        let database = self.database.clone();
        let operations = read_batch(&operations)?;
        let mut outcomes = database
            .batch(&operations, &BatchOptions::default())
            .await?;
        for (operation, outcome) in operations.iter().zip(&mut outcomes) {
            if let Operation::Update { .. } = operation {
                *outcome = Outcome::Done;
            }
        }
        Ok(encode_outcomes(&outcomes, &operations)?)
    }

    /// Runs a query. Resolves to a map `{rows, plan}`; with `explain` no row is looked at.
    pub async fn query(&self, query: Vec<u8>) -> Result<Vec<u8>> {
        let database = self.database.clone();
        let query = read_query(&query)?;
        Ok(encode_query_result(&database.query(&query).await?, true)?)
    }

    /// Defines an index, in place of one on the same field.
    #[wasm_bindgen(js_name = createIndex)]
    pub async fn create_index(&self, table: String, field: String, kind: String) -> Result<()> {
        let database = self.database.clone();
        database
            .create_index(&table, &field, IndexKind::from_name(&kind)?)
            .await?;
        Ok(())
    }

    /// Forgets an index. Resolves to whether there was one.
    #[wasm_bindgen(js_name = dropIndex)]
    pub async fn drop_index(&self, table: String, field: String) -> Result<bool> {
        let database = self.database.clone();
        Ok(database.drop_index(&table, &field).await?)
    }

    /// An array of maps `{name, count}`, ordered by name.
    pub async fn collections(&self) -> Result<Vec<u8>> {
        let database = self.database.clone();
        let collections = database.collections().await?;
        let entries = collections.into_iter().map(|collection| {
            let count = i64::try_from(collection.count).unwrap_or(i64::MAX);
            Document::map([
                ("name", Document::text(&collection.name)),
                ("count", Document::Integer(count)),
            ])
        });
        Ok(Document::Array(entries.collect()).encode()?)
    }

    /// Closes the database; later calls reject with `closed`.
    pub async fn close(&self) -> Result<()> {
        let database = self.database.clone();
        Ok(database.close().await?)
    }
}

/// Reads a batch. TypeScript calls an increment's amount `by`.
fn read_batch(bytes: &[u8]) -> Result<Vec<Operation>> {
    let mut operations = parse_batch(bytes)?;
    if operations
        .iter()
        .any(|operation| matches!(operation, Operation::Increment { .. }))
    {
        let Document::Array(requests) = Document::decode(bytes)? else {
            return Ok(operations);
        };
        for (operation, request) in operations.iter_mut().zip(&requests) {
            if let (Operation::Increment { amount, .. }, Some(by)) = (operation, request.get("by"))
            {
                *amount = by.clone();
            }
        }
    }
    Ok(operations)
}

/// Reads a query. TypeScript writes the order of sorting as `descending`; and to explain is not to read.
fn read_query(bytes: &[u8]) -> Result<Query> {
    let mut query = parse_query(bytes)?;
    if let Some(Document::Array(sort)) = Document::decode(bytes)?.get("sort") {
        for (sort, request) in query.sort.iter_mut().zip(sort) {
            if request.get("descending") == Some(&Document::Boolean(true)) {
                sort.direction = Direction::Backward;
            }
        }
    }
    if query.explain {
        query.offset = 0;
        query.limit = Some(0);
    }
    Ok(query)
}
