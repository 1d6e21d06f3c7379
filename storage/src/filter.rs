//! Filters: conditions on fields, combined with and, or, not; evaluated on encoded documents.
//!
//! A field is a path (`address.city`), `$key` for the key, or `$value` for the whole document. A missing field reads as
//! nil, except to `exists`. Ordering operators hold only between values of one kind, so `age >= 25` passes no strings;
//! `=` and `in` compare numbers by value. `!=` and `not in` are the exact opposites of `=` and `in`.

use std::cmp::Ordering;

use xxhash_rust::xxh64::Xxh64;

use crate::document::{Document, DocumentRef, Shallow};
use crate::error::{Error, Result};
use crate::key::{compare, compare_floats, compare_integer_float, decode_key, rank};

/// Levels of and, or, not inside each other.
const DEPTH_MAX: usize = 100;

/// Which documents pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of these hold. Of none, everything passes.
    And(Vec<Filter>),
    /// One of these holds.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// A condition on one field.
    Field {
        /// Path of the field, `$key` or `$value`.
        field: String,
        /// What must hold between the field and the value.
        operator: Operator,
        /// The value; an array for `between`, `in` and `not in`; for `exists`, whether it should (nil counts as true).
        value: Document,
    },
}

impl Default for Filter {
    fn default() -> Filter {
        Filter::And(Vec::new())
    }
}

/// What a condition asks of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Not below the first and not above the second element of the value.
    Between,
    /// Equal to one element of the value.
    In,
    NotIn,
    /// A string that has the value inside, or an array that has it as an element.
    Contains,
    StartsWith,
    EndsWith,
    Exists,
}

const OPERATORS: [(&str, Operator); 16] = [
    ("=", Operator::Equal),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("~=", Operator::NotEqual),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("between", Operator::Between),
    ("in", Operator::In),
    ("not in", Operator::NotIn),
    ("notIn", Operator::NotIn),
    ("contains", Operator::Contains),
    ("startsWith", Operator::StartsWith),
    ("endsWith", Operator::EndsWith),
    ("exists", Operator::Exists),
];

impl Operator {
    /// The operator of this name, as requests write it.
    pub fn from_name(name: &str) -> Result<Operator> {
        OPERATORS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, operator)| *operator)
            .ok_or_else(|| Error::UnknownOperator(name.to_owned()))
    }

    /// The name that requests write for it.
    pub fn name(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }
}

impl Filter {
    /// A condition on one field.
    pub fn field(field: &str, operator: Operator, value: impl Into<Document>) -> Filter {
        Filter::Field { field: field.to_owned(), operator, value: value.into() }
    }

    /// Checks values against their operators.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_level(0)
    }

    fn check_level(&self, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid("where", "nested too deep"));
        }
        match self {
            Filter::And(filters) | Filter::Or(filters) => {
                filters.iter().try_for_each(|filter| filter.check_level(depth + 1))
            }
            Filter::Not(filter) => filter.check_level(depth + 1),
            Filter::Field { operator, value, .. } => check_value(*operator, value),
        }
    }

    /// Adds what it says to a hash: equal filters add the same.
    pub(crate) fn digest(&self, hash: &mut Xxh64) {
        match self {
            Filter::And(filters) | Filter::Or(filters) => filters.iter().for_each(|filter| filter.digest(hash)),
            Filter::Not(filter) => filter.digest(hash),
            Filter::Field { field, operator, value } => {
                hash.update(field.as_bytes());
                hash.update(&[*operator as u8]);
                value.digest(hash);
            }
        }
    }

    /// The fields it looks at.
    pub(crate) fn fields(&self) -> Vec<&str> {
        match self {
            Filter::And(filters) | Filter::Or(filters) => filters.iter().flat_map(Filter::fields).collect(),
            Filter::Not(filter) => filter.fields(),
            Filter::Field { field, .. } => vec![field],
        }
    }

    /// Whether an entry passes.
    pub(crate) fn matches(&self, key: &[u8], document: &[u8]) -> Result<bool> {
        match self {
            Filter::And(filters) => {
                for filter in filters {
                    if !filter.matches(key, document)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Or(filters) => {
                for filter in filters {
                    if filter.matches(key, document)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::Not(filter) => Ok(!filter.matches(key, document)?),
            Filter::Field { field, operator, value } => {
                if field == "$key" {
                    let key = decode_key(key)?.encode()?;
                    return holds(*operator, Some(DocumentRef::new(&key)), value);
                }
                let found = field_of(DocumentRef::new(document), field)?;
                holds(*operator, found, value)
            }
        }
    }
}

/// The field of a document, or all of it for `$value`.
pub(crate) fn field_of<'a>(document: DocumentRef<'a>, field: &str) -> Result<Option<DocumentRef<'a>>> {
    if field == "$value" { Ok(Some(document)) } else { document.field(field) }
}

/// What a field reads as: the key for `$key`, nil when it is missing.
pub(crate) fn value_of(key: &[u8], document: DocumentRef<'_>, field: &str) -> Result<Document> {
    if field == "$key" {
        return decode_key(key);
    }
    field_of(document, field)?.map_or(Ok(Document::Nil), DocumentRef::decode)
}

fn check_value(operator: Operator, value: &Document) -> Result<()> {
    let reason = match (operator, value) {
        (Operator::Between, Document::Array(bounds)) if bounds.len() == 2 => return Ok(()),
        (Operator::Between, _) => "between takes an array of two values",
        (Operator::In | Operator::NotIn, Document::Array(_)) => return Ok(()),
        (Operator::In | Operator::NotIn, _) => "in and not in take an array",
        (Operator::StartsWith | Operator::EndsWith, Document::String(_)) => return Ok(()),
        (Operator::StartsWith | Operator::EndsWith, _) => "startsWith and endsWith take a string",
        (Operator::Exists, Document::Boolean(_) | Document::Nil) => return Ok(()),
        (Operator::Exists, _) => "exists takes true or false",
        _ => return Ok(()),
    };
    Err(Error::invalid("value", reason))
}

fn holds(operator: Operator, found: Option<DocumentRef<'_>>, value: &Document) -> Result<bool> {
    const NIL: DocumentRef<'_> = DocumentRef::NIL;
    let field = found.unwrap_or(NIL);
    let elements = || match value {
        Document::Array(elements) => elements.as_slice(),
        _ => &[],
    };
    let ordered =
        |bound: &Document, accept: fn(Ordering) -> bool| Ok::<bool, Error>(order(field, bound)?.is_some_and(accept));
    match operator {
        Operator::Equal => equal(field, value),
        Operator::NotEqual => Ok(!equal(field, value)?),
        Operator::Less => ordered(value, Ordering::is_lt),
        Operator::LessOrEqual => ordered(value, Ordering::is_le),
        Operator::Greater => ordered(value, Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(value, Ordering::is_ge),
        Operator::Between => match elements() {
            [low, high] => Ok(ordered(low, Ordering::is_ge)? && ordered(high, Ordering::is_le)?),
            _ => Ok(false),
        },
        Operator::In => is_among(field, elements()),
        Operator::NotIn => Ok(!is_among(field, elements())?),
        Operator::Contains => contains(field, value),
        Operator::StartsWith => Ok(text_pair(field, value)?.is_some_and(|(text, part)| text.starts_with(part))),
        Operator::EndsWith => Ok(text_pair(field, value)?.is_some_and(|(text, part)| text.ends_with(part))),
        Operator::Exists => Ok(found.is_some() != (*value == Document::Boolean(false))),
    }
}

fn equal(field: DocumentRef<'_>, value: &Document) -> Result<bool> {
    Ok(order(field, value)?.is_some_and(Ordering::is_eq))
}

fn is_among(field: DocumentRef<'_>, values: &[Document]) -> Result<bool> {
    for value in values {
        if equal(field, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The order of a field and a value of the same kind. NaN has no order.
fn order(field: DocumentRef<'_>, value: &Document) -> Result<Option<Ordering>> {
    Ok(match (field.shallow()?, value) {
        (Shallow::Nil, Document::Nil) => Some(Ordering::Equal),
        (Shallow::Boolean(a), Document::Boolean(b)) => Some(a.cmp(b)),
        (Shallow::Integer(a), Document::Integer(b)) => Some(a.cmp(b)),
        (Shallow::Float(a), Document::Float(_) | Document::Integer(_)) if a.is_nan() => None,
        (Shallow::Float(_) | Shallow::Integer(_), Document::Float(b)) if b.is_nan() => None,
        (Shallow::Integer(a), Document::Float(b)) => Some(compare_integer_float(a, *b)),
        (Shallow::Float(a), Document::Integer(b)) => Some(compare_integer_float(*b, a).reverse()),
        (Shallow::Float(a), Document::Float(b)) => Some(compare_floats(a, *b)),
        (Shallow::String(a), Document::String(b)) => Some(a.cmp(b.as_slice())),
        (Shallow::Array(_) | Shallow::Map(_) | Shallow::Blob { .. }, _) => {
            let field = field.decode()?;
            (rank(&field) == rank(value)).then(|| compare(&field, value))
        }
        _ => None,
    })
}

/// Whether bytes occur in others. Looks for the first one and compares from there.
fn is_inside(part: &[u8], mut text: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else {
        return true;
    };
    while let Some(at) = text.iter().position(|byte| byte == first) {
        text = &text[at + 1..];
        if text.starts_with(rest) {
            return true;
        }
    }
    false
}

fn contains(field: DocumentRef<'_>, value: &Document) -> Result<bool> {
    match (field.shallow()?, value) {
        (Shallow::String(text), Document::String(part)) => Ok(is_inside(part, text)),
        (Shallow::Array(mut elements), value) => {
            while let Some(element) = elements.element()? {
                if equal(element, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn text_pair<'a>(field: DocumentRef<'a>, value: &'a Document) -> Result<Option<(&'a [u8], &'a [u8])>> {
    Ok(match (field.shallow()?, value) {
        (Shallow::String(text), Document::String(part)) => Some((text, part)),
        _ => None,
    })
}
