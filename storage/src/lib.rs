//! Cu's storage engine: documents in named, ordered Collections, changed by atomic batches, read by key, by range and
//! by query.
//!
//! It does no I/O of its own. A [`Backend`] keeps the bytes: [`MemoryBackend`], on native targets `FileBackend`, or one
//! the host brings (IndexedDB in a browser). All calls are `async`, because a browser's store is; over the two backends
//! here every future is ready at once, and [`block_on`] runs it.
//!
//! ```
//! use cu_storage::{block_on, BatchOptions, Database, Document, Filter, MemoryBackend, Operation, Operator, Options, Query};
//!
//! # fn main() -> cu_storage::Result<()> {
//! let database = block_on(Database::open(MemoryBackend::new(), Options::default()))?;
//!
//! // A batch is stored as a whole or not at all.
//! let alice = Document::map([("name", "Alice".into()), ("age", 30.into())]);
//! let bob = Document::map([("name", "Bob".into()), ("age", 25.into())]);
//! let batch = [
//!     Operation::set("users", "user1", &alice)?,
//!     Operation::set("users", "user2", &bob)?,
//!     Operation::increment("users", "user2", Some("age"), 1),
//! ];
//! block_on(database.batch(&batch, &BatchOptions::default()))?;
//!
//! let query = Query {
//!     collection: "users".to_owned(),
//!     filter: Filter::field("age", Operator::GreaterOrEqual, 26),
//!     limit: Some(10),
//!     ..Query::default()
//! };
//! let found = block_on(database.query(&query))?;
//! assert_eq!(found.rows.len(), 2);
//! assert_eq!(found.rows[1].value.decode()?.get("age"), Some(&Document::Integer(26)));
//! # Ok(())
//! # }
//! ```
//!
//! A Collection can have indexes ([`IndexDefinition`]), which queries use by themselves, and a schema
//! ([`Database::set_schema`]): a subset of JSON Schema 2020-12 with the keywords `type`, `enum`, `const`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`, `minLength`, `maxLength`, `pattern`, `items`, `prefixItems`,
//! `minItems`, `maxItems`, `uniqueItems`, `properties`, `required`, `additionalProperties`, `minProperties`,
//! `maxProperties`, `allOf`, `anyOf`, `oneOf`, `not`, `if`, `then`, `else`; any other is refused.
//!
//! A commit appends one record to the backend's log; pages follow at checkpoints. See [`Backend`] for what a store has
//! to promise.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aggregate;
mod apply;
mod backend;
mod btree;
mod build_index;
mod bulk;
mod cache;
mod catalog;
mod cells;
mod changes;
mod check;
mod commit;
mod control;
mod cursor;
mod database;
mod document;
mod engine;
mod entries;
mod entry_reader;
mod error;
mod execute;
mod explain;
mod export;
#[cfg(not(target_arch = "wasm32"))]
mod file;
mod filter;
mod gate;
mod index;
mod json;
mod key;
mod live;
mod memory;
mod migrate;
mod operation;
mod page;
mod pager;
mod place;
mod plan;
mod prepared;
mod query;
mod query_document;
mod reader;
mod record;
mod repair;
mod request;
mod restrict;
mod schema;
mod transaction;

pub use aggregate::{Aggregate, Function};
pub use backend::{Backend, BackendFuture, Checkpoint, Stored, block_on};
pub use cells::{CellParts, Cells};
pub use changes::{ChangeKind, ChangePolicy, LoggedChange};
pub use check::CheckReport;
pub use control::{Cancel, Clock, Control, Pause, Progress};
pub use cursor::Direction;
pub use database::{BatchOptions, CollectionInfo, Database, IndexInfo, ScanOptions, Snapshot, Statistics};
pub use document::{DEPTH_MAX, Document, DocumentRef, Encoded};
pub use engine::Options;
pub use error::{Error, Result};
pub use export::{ExportFormat, Importer};
#[cfg(not(target_arch = "wasm32"))]
pub use file::FileBackend;
pub use filter::{Filter, Operator};
pub use index::{IndexDefinition, IndexKind};
pub use json::{from_json, to_json};
pub use key::{compare, decode_key, encode_key};
pub use live::{Live, LiveChange, LiveEnd};
pub use memory::{MemoryBackend, WriteFault};
pub use operation::{Operation, Outcome};
pub use page::{PageBytes, PageId};
pub use prepared::{Prepared, parameter};
pub use query::{Plan, Query, QueryResult, Row, Sort, Using};
pub use query_document::{encode_query, parse_query};
pub use record::FORMAT_VERSION;
pub use repair::RepairReport;
pub use request::{Answer, encode_answer, encode_live_change, encode_outcomes, encode_query_result, parse_batch};
pub use schema::Matcher;
pub use transaction::{Savepoint, Transaction};
