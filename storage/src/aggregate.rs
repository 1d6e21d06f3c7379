//! Aggregates: what a group of rows comes to.
//!
//! `count` counts rows, or with a field those where it is not nil. `min` and `max` take the order of documents and leave nil
//! out. `sum` and `avg` take numbers and leave all else out; whole numbers are added exactly, floats in key order with
//! compensation (Neumaier 1974), so a result does not depend on the way by which the rows were found. An empty group
//! has the sum 0 and no minimum, maximum or average (nil).

use std::collections::BTreeMap;

use crate::document::{Document, DocumentRef, Encoded};
use crate::error::{Error, Result};
use crate::filter::value_of;
use crate::key::{compare, write_ordered};
use crate::query::{Query, Row};

/// One figure of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Its name in the group's document.
    pub name: String,
    /// What is computed.
    pub function: Function,
    /// Of which field; only `count` can do without.
    pub field: Option<String>,
}

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Function {
    Count,
    Min,
    Max,
    Sum,
    Average,
}

const FUNCTIONS: [(&str, Function); 5] = [
    ("count", Function::Count),
    ("min", Function::Min),
    ("max", Function::Max),
    ("sum", Function::Sum),
    ("avg", Function::Average),
];

impl Function {
    /// The function of this name, as requests write it.
    pub fn from_name(name: &str) -> Result<Function> {
        let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
        known.map(|(_, function)| *function).ok_or_else(|| Error::invalid("function", format!("there is no '{name}'")))
    }

    /// The name that requests write for it.
    pub fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }
}

impl Aggregate {
    /// How many rows.
    pub fn count(name: &str) -> Aggregate {
        Aggregate { name: name.to_owned(), function: Function::Count, field: None }
    }

    /// A function of a field.
    pub fn of(name: &str, function: Function, field: &str) -> Aggregate {
        Aggregate { name: name.to_owned(), function, field: Some(field.to_owned()) }
    }

    pub(crate) fn counts_rows(&self) -> bool {
        self.function == Function::Count && self.field.is_none()
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.field.is_none() && self.function != Function::Count {
            return Err(Error::invalid("aggregates", "only count can do without a field"));
        }
        Ok(())
    }
}

/// The groups of a query under computation.
pub(crate) struct Groups<'a> {
    query: &'a Query,
    /// By the order of what they are grouped by.
    groups: BTreeMap<Vec<u8>, Group>,
}

struct Group {
    values: Vec<Document>,
    figures: Vec<Figure>,
}

impl<'a> Groups<'a> {
    pub fn new(query: &'a Query) -> Groups<'a> {
        let mut groups = BTreeMap::new();
        if query.group_by.is_empty() {
            let figures = vec![Figure::default(); query.aggregates.len()];
            groups.insert(Vec::new(), Group { values: Vec::new(), figures });
        }
        Groups { query, groups }
    }

    /// Counts rows of which nothing else is asked.
    pub fn add_count(&mut self, count: u64) {
        for group in self.groups.values_mut() {
            group.figures.iter_mut().for_each(|figure| figure.count += count);
        }
    }

    pub fn add(&mut self, key: &[u8], document: &[u8]) -> Result<()> {
        let mut place = Vec::new();
        let mut values = Vec::with_capacity(self.query.group_by.len());
        for field in &self.query.group_by {
            let value = value_of(key, DocumentRef::new(document), field)?;
            write_ordered(&value, &mut place)?;
            values.push(value);
        }
        let count = self.query.aggregates.len();
        let group =
            self.groups.entry(place).or_insert_with(|| Group { values, figures: vec![Figure::default(); count] });
        for (aggregate, figure) in self.query.aggregates.iter().zip(&mut group.figures) {
            match &aggregate.field {
                None => figure.count += 1,
                Some(field) => {
                    let value = value_of(key, DocumentRef::new(document), field)?;
                    if value != Document::Nil {
                        figure.add(aggregate.function, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// The groups as rows, in order.
    pub fn into_rows(self) -> Result<Vec<Row>> {
        let query = self.query;
        let mut rows = Vec::with_capacity(self.groups.len());
        for group in self.groups.into_values() {
            let grouped = query.group_by.iter().map(String::as_str).zip(group.values.iter().cloned());
            let figures = query.aggregates.iter().zip(group.figures);
            let figures = figures.map(|(one, figure)| (one.name.as_str(), figure.result(one.function)));
            // A name that occurs twice counts once, the first time.
            let mut entries: Vec<(&str, Document)> = Vec::new();
            for (name, value) in grouped.chain(figures) {
                if !entries.iter().any(|(known, _)| *known == name) {
                    entries.push((name, value));
                }
            }
            let value = Encoded::try_from(&Document::map(entries))?;
            let mut values = group.values;
            let key = match values.len() {
                0 => Document::Nil,
                1 => values.remove(0),
                _ => Document::Array(values),
            };
            rows.push(Row { key, value });
        }
        Ok(rows)
    }
}

#[derive(Clone, Default)]
struct Figure {
    count: u64,
    extreme: Option<Document>,
    whole: i128,
    has_floats: bool,
    sum: f64,
    lost: f64,
}

impl Figure {
    fn add(&mut self, function: Function, value: Document) {
        match function {
            Function::Count => self.count += 1,
            Function::Min | Function::Max => {
                let is_better = self.extreme.as_ref().is_none_or(|extreme| {
                    let order = compare(&value, extreme);
                    if function == Function::Min { order.is_lt() } else { order.is_gt() }
                });
                if is_better {
                    self.extreme = Some(value);
                }
            }
            Function::Sum | Function::Average => match value {
                Document::Integer(value) => {
                    self.count += 1;
                    self.whole += i128::from(value);
                }
                Document::Float(value) => {
                    self.count += 1;
                    self.has_floats = true;
                    let sum = self.sum + value;
                    let rest =
                        if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
                    // An infinite sum has lost nothing that could be counted.
                    if rest.is_finite() {
                        self.lost += rest;
                    }
                    self.sum = sum;
                }
                _ => {}
            },
        }
    }

    fn result(self, function: Function) -> Document {
        let sum = self.whole as f64 + self.sum + self.lost;
        match function {
            Function::Count => Document::Integer(i64::try_from(self.count).unwrap_or(i64::MAX)),
            Function::Min | Function::Max => self.extreme.unwrap_or_default(),
            Function::Sum => match i64::try_from(self.whole) {
                Ok(whole) if !self.has_floats => Document::Integer(whole),
                _ => Document::Float(sum),
            },
            Function::Average if self.count == 0 => Document::Nil,
            Function::Average => Document::Float(sum / self.count as f64),
        }
    }
}
