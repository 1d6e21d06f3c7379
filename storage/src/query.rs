//! Queries: which documents of a Collection, in what order, how many.
//!
//! The order of evaluation is filter, sort, offset, limit, projection. Without `sort`, rows come in key order; with it,
//! ties do. Every query is answered by a scan for now, and its [`Plan`] says so.

use std::cmp::Ordering;

use crate::catalog::CollectionState;
use crate::cursor::{Direction, Entry, KeyRange};
use crate::document::{Document, DocumentRef, Encoded, encode_map};
use crate::engine::Engine;
use crate::error::Result;
use crate::filter::{Filter, field_of};
use crate::key::{compare, decode_key};

/// A query over one Collection.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Name of the Collection; one that does not exist has no rows.
    pub collection: String,
    /// Which rows; all of them when the filter is the default.
    pub filter: Filter,
    /// Fields to order by, the first one counting most.
    pub sort: Vec<Sort>,
    /// Rows to leave out at the start.
    pub offset: u64,
    /// Most rows to return.
    pub limit: Option<u64>,
    /// Fields to keep of each document that is a map; all without it.
    pub fields: Option<Vec<String>>,
    /// Whether a request wants the plan beside the rows.
    pub explain: bool,
}

/// One field to order by. Documents of different kinds compare as keys do; a missing field counts as nil.
#[derive(Debug, Clone)]
pub struct Sort {
    /// Path of the field, or `$key`.
    pub field: String,
    /// Ascending or descending.
    pub direction: Direction,
}

/// A document with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The key.
    pub key: Document,
    /// The document.
    pub value: Encoded,
}

/// How a query was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `scan`: every document of the Collection was looked at, or as many as it took to fill the limit.
    pub access: &'static str,
    /// The index used.
    pub index: Option<String>,
    /// Indexes that are defined on a field of the query and were not used.
    pub unused_indexes: Vec<String>,
    /// Whether rows had to be sorted.
    pub sorted: bool,
    /// Documents looked at.
    pub rows_examined: u64,
    /// Documents that passed the filter.
    pub rows_matched: u64,
    /// Documents returned.
    pub rows_returned: u64,
}

/// Rows and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResult {
    /// The rows in order.
    pub rows: Vec<Row>,
    /// How they were found.
    pub plan: Plan,
}

/// A row on its way to the result.
struct Candidate {
    sort_keys: Vec<Document>,
    key: Vec<u8>,
    value: Vec<u8>,
}

pub(crate) async fn run(
    engine: &Engine,
    generation: u64,
    state: Option<&CollectionState>,
    query: &Query,
) -> Result<QueryResult> {
    query.filter.check()?;
    let mut plan = Plan::scan(state, query);
    let mut candidates = Vec::new();
    if let Some(state) = state {
        // With an offset and limit no more rows than their sum can matter.
        let wanted = query.limit.map_or(u64::MAX, |limit| limit.saturating_add(query.offset));
        let visit = |entry: &Entry| {
            if wanted == 0 {
                return Ok(false);
            }
            plan.rows_examined += 1;
            if query.filter.matches(entry.key(), &entry.value)? {
                plan.rows_matched += 1;
                candidates.push(Candidate::new(entry, &query.sort)?);
            }
            if query.sort.is_empty() {
                return Ok((candidates.len() as u64) < wanted);
            }
            if candidates.len() as u64 / 2 > wanted.saturating_add(64) {
                sort(&mut candidates, &query.sort);
                candidates.truncate(wanted as usize);
            }
            Ok(true)
        };
        engine.scan(generation, state.root, KeyRange::ALL, Direction::Forward, visit).await?;
    }
    sort(&mut candidates, &query.sort);
    let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limit = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let rows = candidates
        .into_iter()
        .skip(offset)
        .take(limit)
        .map(|candidate| candidate.into_row(query.fields.as_deref()))
        .collect::<Result<Vec<Row>>>()?;
    plan.rows_returned = rows.len() as u64;
    Ok(QueryResult { rows, plan })
}

fn sort(candidates: &mut [Candidate], order: &[Sort]) {
    if order.is_empty() {
        return;
    }
    candidates.sort_by(|left, right| {
        order
            .iter()
            .zip(left.sort_keys.iter().zip(&right.sort_keys))
            .map(|(sort, (left, right))| match sort.direction {
                Direction::Forward => compare(left, right),
                Direction::Backward => compare(right, left),
            })
            .find(|ordering| *ordering != Ordering::Equal)
            .unwrap_or_else(|| left.key.cmp(&right.key))
    });
}

impl Candidate {
    fn new(entry: &Entry, order: &[Sort]) -> Result<Candidate> {
        let sort_keys = order
            .iter()
            .map(|sort| match sort.field.as_str() {
                "$key" => decode_key(entry.key()),
                field => match field_of(DocumentRef::new(&entry.value), field)? {
                    Some(value) => value.decode(),
                    None => Ok(Document::Nil),
                },
            })
            .collect::<Result<Vec<Document>>>()?;
        Ok(Candidate { sort_keys, key: entry.key().to_vec(), value: entry.value.to_vec() })
    }

    fn into_row(self, fields: Option<&[String]>) -> Result<Row> {
        let value = match fields {
            Some(fields) => project(DocumentRef::new(&self.value), fields)?,
            None => self.value,
        };
        Ok(Row { key: decode_key(&self.key)?, value: Encoded::trusted(value) })
    }
}

/// A map of the fields asked for that are there, each under its path. Other documents stay whole.
fn project(document: DocumentRef<'_>, fields: &[String]) -> Result<Vec<u8>> {
    if !document.is_map()? {
        return Ok(document.as_bytes().to_vec());
    }
    let mut kept: Vec<(&[u8], &[u8])> = Vec::new();
    for field in fields {
        let name = field.as_bytes();
        if let Some(value) = document.field(field)?
            && !kept.iter().any(|(kept, _)| *kept == name)
        {
            kept.push((name, value.as_bytes()));
        }
    }
    Ok(encode_map(&kept))
}

impl Plan {
    fn scan(state: Option<&CollectionState>, query: &Query) -> Plan {
        let mut fields = query.filter.fields();
        fields.extend(query.sort.iter().map(|sort| sort.field.as_str()));
        let unused_indexes = state
            .into_iter()
            .flat_map(|state| &state.indexes)
            .map(|index| &index.definition)
            .filter(|index| index.fields.iter().any(|field| fields.contains(&field.as_str())))
            .map(|index| index.name.clone())
            .collect();
        Plan {
            access: "scan",
            index: None,
            unused_indexes,
            sorted: !query.sort.is_empty(),
            rows_examined: 0,
            rows_matched: 0,
            rows_returned: 0,
        }
    }
}
