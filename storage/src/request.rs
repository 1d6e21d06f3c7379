//! Batches and answers as documents, so that a host language passes bytes in and gets bytes out.
//!
//! A batch is an array of maps `{type, table, key, value, field, amount, …}` with `type` one of `set`, `get`, `delete`,
//! `update`, `increment`, `query`, the last one with what `query_document.rs` reads beside it.
//!
//! Results are an array in the order of the operations: `set` gives true, `get` and `update` the document or nil,
//! `delete` whether it was there, `increment` the new number, `query` an array of `{key, value}` maps, or with
//! `explain` a map `{rows, cursor, plan}`. A failed operation of a batch that is not atomic gives `{error: {code, message}}`.

use std::rc::Rc;

use crate::document::{
    Document, DocumentRef, Encoded, Shallow, container_length, encode_array, encode_map, map_body, open_array,
    open_map, varint_length, write_name,
};
use crate::error::{Error, Result};
use crate::live::LiveChange;
use crate::operation::{Operation, Outcome};
use crate::query::{Plan, QueryResult, Row};
use crate::query_document::query_of;

/// Reads a batch from its encoding.
pub fn parse_batch(bytes: &[u8]) -> Result<Vec<Operation>> {
    // One complete check up front; everything below reads from it piece by piece.
    let batch = DocumentRef::checked(bytes)?;
    let Shallow::Array(mut elements) = batch.shallow()? else {
        return Err(Error::invalid("operations", "must be an array"));
    };
    let mut operations = Vec::with_capacity(elements.count.min(4096));
    while let Some(element) = elements.element()? {
        let position = operations.len();
        let operation = parse_operation(element).map_err(|error| Error::Batch { position, source: Box::new(error) })?;
        operations.push(operation);
    }
    Ok(operations)
}

/// The encoding of a batch's results. `code_of` names the error of an operation that failed for itself.
pub fn encode_outcomes(
    outcomes: &[Outcome],
    operations: &[Operation],
    code_of: fn(&Error) -> &'static str,
) -> Result<Vec<u8>> {
    let mut results = Vec::with_capacity(outcomes.len());
    for (position, outcome) in outcomes.iter().enumerate() {
        results.push(match outcome {
            Outcome::Done => Encoded::try_from(&Document::Boolean(true))?,
            Outcome::Value(Some(value)) => value.clone(),
            Outcome::Value(None) => Encoded::try_from(&Document::Nil)?,
            Outcome::Deleted(deleted) => Encoded::try_from(&Document::Boolean(*deleted))?,
            Outcome::Number(number) => Encoded::try_from(number)?,
            Outcome::Rows(result) => {
                let explain = matches!(operations.get(position), Some(Operation::Query(query)) if query.explain);
                Encoded::trusted(encode_query_result(result, explain)?)
            }
            Outcome::Failed(error) => Encoded::try_from(&Document::map([(
                "error",
                Document::map([
                    ("code", Document::text(code_of(error))),
                    ("message", Document::text(&error.to_string())),
                ]),
            )]))?,
        });
    }
    Ok(encode_array(results.into_iter()))
}

/// The encoding of a query's rows, or of `{rows, cursor, plan}`.
pub fn encode_query_result(result: &QueryResult, explain: bool) -> Result<Vec<u8>> {
    let rows = encode_rows(&result.rows)?;
    if !explain {
        return Ok(rows);
    }
    let plan = plan_document(&result.plan).encode()?;
    let cursor = result.cursor.as_ref().unwrap_or(&Document::Nil).encode()?;
    Ok(encode_map(&[(b"rows", &rows), (b"cursor", &cursor), (b"plan", &plan)]))
}

/// The encoding of a query's answer, `{rows, cursor, examined, matched}`: entries and documents looked at, and rows that there are
/// without the limit.
pub fn encode_answer(result: &QueryResult) -> Result<Vec<u8>> {
    answer_of(result, result.plan.rows_examined + result.plan.entries_examined)
}

/// A query's result, which may be shared with the cache of results.
#[derive(Debug, Clone)]
pub struct Answer {
    result: Rc<QueryResult>,
    /// Entries and documents that were looked at for it now.
    examined: u64,
}

impl Answer {
    pub(crate) fn new(result: Rc<QueryResult>, is_cached: bool) -> Answer {
        let examined = if is_cached { 0 } else { result.plan.rows_examined + result.plan.entries_examined };
        Answer { result, examined }
    }

    /// The rows in order.
    pub fn rows(&self) -> &[Row] {
        &self.result.rows
    }

    /// The position of the last row, as [`QueryResult`] has it.
    pub fn cursor(&self) -> Option<&Document> {
        self.result.cursor.as_ref()
    }

    /// Its encoding, as [`encode_answer`] makes it.
    pub fn encode(&self) -> Result<Vec<u8>> {
        answer_of(&self.result, self.examined)
    }
}

fn answer_of(result: &QueryResult, examined: u64) -> Result<Vec<u8>> {
    let rows = encode_rows(&result.rows)?;
    let cursor = result.cursor.as_ref().unwrap_or(&Document::Nil).encode()?;
    let count = |count: u64| Document::Integer(count.cast_signed()).encode();
    let (examined, matched) = (count(examined)?, count(result.plan.rows_matched)?);
    Ok(encode_map(&[(b"rows", &rows), (b"cursor", &cursor), (b"examined", &examined), (b"matched", &matched)]))
}

/// The encoding of what a live query reports, a map `{added, changed, removed, order}`; nil for nothing.
pub fn encode_live_change(change: Option<&LiveChange>) -> Result<Vec<u8>> {
    let Some(change) = change else { return Document::Nil.encode() };
    let (added, changed) = (encode_rows(&change.added)?, encode_rows(&change.changed)?);
    let removed = Document::Array(change.removed.clone()).encode()?;
    let order = change.order.clone().map_or(Document::Nil, Document::Array).encode()?;
    Ok(encode_map(&[(b"added", &added), (b"changed", &changed), (b"removed", &removed), (b"order", &order)]))
}

/// An array of maps `{key, value}`, in a buffer that is as large as it needs: rows are most of what crosses.
fn encode_rows(rows: &[Row]) -> Result<Vec<u8>> {
    let mut keys = Vec::with_capacity(rows.len());
    let mut body = varint_length(rows.len());
    for row in rows {
        let key = row.key.encode()?;
        body += container_length(row_body(key.len(), row));
        keys.push(key);
    }
    let mut out = Vec::with_capacity(container_length(body));
    open_array(&mut out, rows.len(), body);
    for (row, key) in rows.iter().zip(&keys) {
        open_map(&mut out, 2, row_body(key.len(), row));
        write_name(&mut out, b"key");
        out.extend_from_slice(key);
        write_name(&mut out, b"value");
        out.extend_from_slice(row.value.as_bytes());
    }
    Ok(out)
}

/// Bytes of the entries of one row.
fn row_body(key: usize, row: &Row) -> usize {
    map_body([(b"key".len(), key), (b"value".len(), row.value.as_bytes().len())].into_iter())
}

fn plan_document(plan: &Plan) -> Document {
    let number = |value: u64| Document::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    let names = |names: &[String]| Document::Array(names.iter().map(|name| Document::text(name)).collect());
    Document::map([
        ("access", Document::text(plan.access)),
        ("fullScan", Document::Boolean(plan.access == "scan")),
        ("index", plan.index.as_deref().map_or(Document::Nil, Document::text)),
        ("indexes", names(&plan.indexes)),
        ("unusedIndexes", names(&plan.unused_indexes)),
        ("sorted", Document::Boolean(plan.sorted)),
        ("indexOnly", Document::Boolean(plan.index_only)),
        ("cached", Document::Boolean(plan.cached)),
        ("rowsEstimated", number(plan.rows_estimated)),
        ("entriesExamined", number(plan.entries_examined)),
        ("rowsExamined", number(plan.rows_examined)),
        ("rowsMatched", number(plan.rows_matched)),
        ("rowsReturned", number(plan.rows_returned)),
    ])
}

fn parse_operation(element: DocumentRef<'_>) -> Result<Operation> {
    let Shallow::Map(mut entries) = element.shallow()? else {
        return Err(Error::invalid("operation", "must be a map"));
    };
    let mut fields = Fields::default();
    while let Some((name, value)) = entries.entry()? {
        let Shallow::String(name) = name.shallow()? else {
            continue;
        };
        match name {
            b"type" => fields.kind = Some(value),
            b"table" => fields.table = Some(value),
            b"key" => fields.key = Some(value),
            b"value" => fields.value = Some(value),
            b"field" => fields.field = Some(value),
            b"amount" => fields.amount = Some(value),
            _ => {}
        }
    }
    let kind = match fields.kind.map(DocumentRef::shallow).transpose()? {
        Some(Shallow::String(kind)) => kind,
        _ => return Err(Error::invalid("type", "must be a string")),
    };
    Ok(match kind {
        b"set" => Operation::Set {
            collection: fields.table()?,
            key: fields.key()?,
            value: match fields.value {
                // The whole batch was checked.
                Some(value) => Encoded::trusted(value.as_bytes().to_vec()),
                None => return Err(Error::invalid("value", "is missing")),
            },
        },
        b"get" => Operation::Get { collection: fields.table()?, key: fields.key()? },
        b"delete" => Operation::Delete { collection: fields.table()?, key: fields.key()? },
        b"update" => Operation::Update {
            collection: fields.table()?,
            key: fields.key()?,
            value: match fields.value {
                Some(value) => value.decode()?,
                None => return Err(Error::invalid("value", "is missing")),
            },
        },
        b"increment" => Operation::Increment {
            collection: fields.table()?,
            key: fields.key()?,
            field: fields.field()?,
            amount: match fields.amount.or(fields.value) {
                Some(amount) => amount.decode()?,
                None => Document::Integer(1),
            },
        },
        b"query" => Operation::Query(query_of(element)?),
        other => return Err(Error::UnknownOperation(String::from_utf8_lossy(other).into_owned())),
    })
}

/// The fields of an operation, unread.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<DocumentRef<'a>>,
    table: Option<DocumentRef<'a>>,
    key: Option<DocumentRef<'a>>,
    value: Option<DocumentRef<'a>>,
    field: Option<DocumentRef<'a>>,
    amount: Option<DocumentRef<'a>>,
}

impl Fields<'_> {
    fn table(&self) -> Result<String> {
        text_of("table", self.table.map_or(Ok(Shallow::Nil), DocumentRef::shallow)?)
    }

    fn key(&self) -> Result<Document> {
        match self.key {
            Some(key) => key.decode(),
            None => Err(Error::invalid("key", "is missing")),
        }
    }

    fn field(&self) -> Result<Option<String>> {
        match self.field.map(DocumentRef::shallow).transpose()? {
            None | Some(Shallow::Nil) => Ok(None),
            Some(field) => text_of("field", field).map(Some),
        }
    }
}

/// A text that is not empty.
#[inline(never)]
pub(crate) fn text_of(argument: &str, value: Shallow<'_>) -> Result<String> {
    match text(value) {
        Some("") => Err(Error::invalid(argument, "must not be empty")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::invalid(argument, "must be a string of text")),
    }
}

pub(crate) fn text(value: Shallow<'_>) -> Option<&str> {
    if let Shallow::String(bytes) = value { std::str::from_utf8(bytes).ok() } else { None }
}
