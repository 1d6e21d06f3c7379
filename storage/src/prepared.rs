//! Prepared queries: checked once, planned again only when it pays, with places for values to fill in.

use std::cell::RefCell;

use crate::database::Database;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::plan::Choice;
use crate::query::{self, Query, QueryResult};

/// Kind of the blob that stands for a value to fill in.
const PARAMETER: u8 = 0xFF;

/// Stands for a value that is filled in when a prepared query is run; counted from zero.
pub fn parameter(number: u8) -> Document {
    Document::Blob { kind: PARAMETER, bytes: vec![number] }
}

/// A query to be run many times.
pub struct Prepared {
    database: Database,
    query: Query,
    parameters: usize,
    plan: RefCell<Option<Planned>>,
}

struct Planned {
    query: Query,
    generation: u64,
    /// Of the Collection: which it is, which indexes it had, how many documents.
    collection: (u32, u64, u64),
    choice: Choice,
}

impl Prepared {
    pub(crate) fn new(database: Database, query: Query) -> Result<Prepared> {
        let mut parameters = 0;
        count_parameters(&query.filter, &mut parameters);
        // With values missing, the filter cannot be checked yet.
        if parameters == 0 {
            query.check()?;
        }
        Ok(Prepared { database, query, parameters, plan: RefCell::default() })
    }

    /// Runs the query with these values in the places of its parameters.
    pub async fn run(&self, values: &[Document]) -> Result<QueryResult> {
        if values.len() != self.parameters {
            return Err(Error::invalid("values", format!("the query takes {}", self.parameters)));
        }
        let query = match self.parameters {
            0 => self.query.clone(),
            _ => Query { filter: bind(&self.query.filter, values), ..self.query.clone() },
        };
        query.check()?;
        let engine = self.database.engine();
        engine
            .read(async |view| {
                let Some(state) = view.catalog.find(&query.collection) else {
                    return query::run_planned(engine, view.generation, None, &query).await;
                };
                let known = self.plan.borrow().as_ref().and_then(|planned| {
                    let (id, shape, count) = planned.collection;
                    // Twice or half as many documents may make another way cheaper.
                    let is_alike = count / 2 <= state.count && state.count <= count * 2;
                    let is_same = planned.generation == view.generation && (id, shape) == (state.id, state.shape);
                    (is_alike && is_same && planned.query == query).then(|| planned.choice.clone())
                });
                let choice = match known {
                    Some(choice) => choice,
                    None => query::plan(engine, view.generation, state, &query).await?,
                };
                let result = query::run_planned(engine, view.generation, Some((state, &choice)), &query).await;
                *self.plan.borrow_mut() = Some(Planned {
                    query: query.clone(),
                    generation: view.generation,
                    collection: (state.id, state.shape, state.count),
                    choice,
                });
                result
            })
            .await
    }
}

fn number_of(value: &Document) -> Option<usize> {
    match value {
        Document::Blob { kind: PARAMETER, bytes } if bytes.len() == 1 => Some(usize::from(bytes[0])),
        _ => None,
    }
}

fn count_parameters(filter: &Filter, count: &mut usize) {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => filters.iter().for_each(|filter| count_parameters(filter, count)),
        Filter::Not(filter) => count_parameters(filter, count),
        Filter::Field { value, .. } => {
            let elements = if let Document::Array(elements) = value { elements.as_slice() } else { &[] };
            for value in elements.iter().chain([value]) {
                if let Some(number) = number_of(value) {
                    *count = (*count).max(number + 1);
                }
            }
        }
    }
}

fn bind(filter: &Filter, values: &[Document]) -> Filter {
    let all = |filters: &[Filter]| filters.iter().map(|filter| bind(filter, values)).collect();
    match filter {
        Filter::And(filters) => Filter::And(all(filters)),
        Filter::Or(filters) => Filter::Or(all(filters)),
        Filter::Not(filter) => Filter::Not(Box::new(bind(filter, values))),
        Filter::Field { field, operator, value } => {
            let bound = |value: &Document| match number_of(value).and_then(|number| values.get(number)) {
                Some(bound) => bound.clone(),
                None => value.clone(),
            };
            let value = match value {
                Document::Array(elements) => Document::Array(elements.iter().map(bound).collect()),
                value => bound(value),
            };
            Filter::Field { field: field.clone(), operator: *operator, value }
        }
    }
}
