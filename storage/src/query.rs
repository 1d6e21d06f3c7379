//! Queries: which documents of a Collection, in what order, how many, and what they come to.
//!
//! The order of evaluation is filter, sort, position (`after`), offset, limit, projection. Without `sort`, rows come in key
//! order; with it, rows that agree in all sort fields do. With aggregates, rows are the groups: filter, group, sort, offset,
//! limit, projection; without `sort` groups come in the order of what they are grouped by.
//!
//! How the rows are found is the planner's choice and never changes what they are.

use xxhash_rust::xxh64::Xxh64;

use crate::aggregate::Aggregate;
use crate::catalog::CollectionState;
use crate::cursor::Direction;
use crate::document::{Document, Encoded};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::execute::Execution;
use crate::explain::describe;
use crate::filter::Filter;
use crate::plan::{Choice, Planner};

/// A query over one Collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Name of the Collection; one that does not exist has no rows.
    pub collection: String,
    /// Which rows; all of them when the filter is the default.
    pub filter: Filter,
    /// Fields to order by, the first one counting most.
    pub sort: Vec<Sort>,
    /// Only rows behind this position, which [`QueryResult::cursor`] gave for the same filter and sort. Not with aggregates.
    pub after: Option<Document>,
    /// Rows to leave out at the start.
    pub offset: u64,
    /// Most rows to return.
    pub limit: Option<u64>,
    /// Fields to keep of each document that is a map; all without it.
    pub fields: Option<Vec<String>>,
    /// Fields whose values make a group; without any, all rows are one group.
    pub group_by: Vec<String>,
    /// What to compute of each group. With aggregates or groups, each row is a group: its key is the value grouped by (an
    /// array of several; nil for the one group of all), its document a map of these and the aggregates.
    pub aggregates: Vec<Aggregate>,
    /// Whether a request wants the plan beside the rows.
    pub explain: bool,
    /// Overrides the planner's choice.
    pub using: Using,
}

/// One field to order by. Documents of different kinds compare as keys do; a missing field counts as nil.
#[derive(Debug, Clone, PartialEq)]
pub struct Sort {
    /// Path of the field, `$key` or `$value`.
    pub field: String,
    /// Ascending or descending.
    pub direction: Direction,
}

/// By which way a query is to be answered. The rows are the same by every way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Using {
    /// The one that the planner finds cheapest.
    #[default]
    Cheapest,
    /// The documents themselves.
    Scan,
    /// This index. An error when it cannot answer the query.
    Index(String),
    /// Any index. An error when none can answer the query.
    AnyIndex,
    /// Several indexes together where that is possible, else any.
    Intersection,
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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// `scan`: the documents in order of keys; `range`: those between keys; `index`; `union` and `intersection` of several
    /// ways; `none`: there is no such Collection.
    pub access: &'static str,
    /// The index used, the first one when there are several.
    pub index: Option<String>,
    /// All indexes used.
    pub indexes: Vec<String>,
    /// Indexes that are defined on a field of the query and were not used.
    pub unused_indexes: Vec<String>,
    /// Whether rows had to be sorted.
    pub sorted: bool,
    /// Whether the index alone answered, without looking at documents.
    pub index_only: bool,
    /// Whether the rows come from the result cache; then nothing was looked at.
    pub cached: bool,
    /// Rows that the planner expected to match.
    pub rows_estimated: u64,
    /// Entries of indexes passed.
    pub entries_examined: u64,
    /// Documents looked at.
    pub rows_examined: u64,
    /// Documents that passed the filter.
    pub rows_matched: u64,
    /// Rows returned.
    pub rows_returned: u64,
}

/// Rows and how they were found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueryResult {
    /// The rows in order.
    pub rows: Vec<Row>,
    /// The position of the last row, for `after` of the next query, when the limit was reached.
    pub cursor: Option<Document>,
    /// How they were found.
    pub plan: Plan,
}

impl Query {
    /// All documents of a Collection that pass a filter.
    pub fn new(collection: &str, filter: Filter) -> Query {
        Query { collection: collection.to_owned(), filter, ..Query::default() }
    }

    /// The same in this order, behind fields named before.
    pub fn order_by(mut self, field: &str, direction: Direction) -> Query {
        self.sort.push(Sort { field: field.to_owned(), direction });
        self
    }

    /// Whether its rows are groups.
    pub(crate) fn is_aggregate(&self) -> bool {
        !self.aggregates.is_empty() || !self.group_by.is_empty()
    }

    /// Whether it asks for nothing but how many rows there are.
    pub(crate) fn is_plain_count(&self) -> bool {
        self.group_by.is_empty() && !self.aggregates.is_empty() && self.aggregates.iter().all(Aggregate::counts_rows)
    }

    /// A number that equal queries share and others hardly do.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = Xxh64::new(0);
        hash.update(self.collection.as_bytes());
        self.filter.digest(&mut hash);
        hash.update(&self.offset.to_le_bytes());
        hash.update(&self.limit.unwrap_or(u64::MAX).to_le_bytes());
        for sort in &self.sort {
            hash.update(sort.field.as_bytes());
        }
        hash.digest()
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.filter.check()?;
        for aggregate in &self.aggregates {
            aggregate.check()?;
        }
        if let Some(after) = &self.after {
            let parts = if let Document::Array(parts) = after { parts.len() } else { 0 };
            if parts != self.sort.len() + 1 {
                return Err(Error::invalid("after", "is no position of this query"));
            }
            if self.is_aggregate() {
                return Err(Error::invalid("after", "groups have no positions"));
            }
        }
        Ok(())
    }
}

/// Plans a query.
pub(crate) async fn plan(engine: &Engine, generation: u64, state: &CollectionState, query: &Query) -> Result<Choice> {
    Planner { engine, generation, state, query }.choose().await
}

/// How a query would be answered. Pages are read for it, documents are not.
pub(crate) async fn explain(
    engine: &Engine,
    generation: u64,
    state: Option<&CollectionState>,
    query: &Query,
) -> Result<Plan> {
    query.check()?;
    match state {
        Some(state) => Ok(describe(state, &plan(engine, generation, state, query).await?, query)),
        None => Ok(Plan { access: "none", ..Plan::default() }),
    }
}

/// Checks, plans and runs a query.
pub(crate) async fn run(
    engine: &Engine,
    generation: u64,
    state: Option<&CollectionState>,
    query: &Query,
) -> Result<QueryResult> {
    query.check()?;
    let choice = match state {
        Some(state) => Some(plan(engine, generation, state, query).await?),
        None => None,
    };
    run_planned(engine, generation, state.zip(choice.as_ref()), query).await
}

/// Runs a query by a way chosen before.
pub(crate) async fn run_planned(
    engine: &Engine,
    generation: u64,
    choice: Option<(&CollectionState, &Choice)>,
    query: &Query,
) -> Result<QueryResult> {
    let mut execution = Execution::new(query)?;
    let mut plan = Plan { access: "none", ..Plan::default() };
    if let Some((state, choice)) = choice {
        plan = execution.run(engine, generation, state, choice).await?;
    }
    execution.finish(plan)
}
