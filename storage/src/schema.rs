//! Schemas: a subset of JSON Schema 2020-12, checked on every write to a Collection.
//!
//! Known keywords: `type`, `enum`, `const`; `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`;
//! `minLength`, `maxLength`, `pattern`; `items`, `prefixItems`, `minItems`, `maxItems`, `uniqueItems`; `properties`,
//! `required`, `additionalProperties`, `minProperties`, `maxProperties`; `allOf`, `anyOf`, `oneOf`, `not`, `if`, `then`, `else`.
//! `$schema`, `$comment`, `title`, `description`, `default` and `examples` say nothing about validity. Any other keyword is
//! refused when the schema is set, so that nothing is believed to be checked that is not.
//!
//! Documents are taken as JSON: nil is `null`, a map with string keys an object, a float without a fraction is an integer
//! too. Lengths count characters; of bytes that are no UTF-8 each invalid sequence counts as one. Blobs have no type.

use std::rc::Rc;

use crate::document::Document;
use crate::error::{Error, Result};
use crate::key::compare;

/// Levels of schemas inside each other.
const DEPTH_MAX: usize = 60;

/// Whether a text matches a pattern; an error when the pattern is none. Patterns are the host's: a browser has its own.
pub type Matcher = Rc<dyn Fn(&str, &str) -> std::result::Result<bool, String>>;

/// A schema, ready to check documents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schema {
    source: Document,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// `true` and `false` as schemas.
    Always(bool),
    Types(Vec<Type>),
    Enum(Vec<Document>),
    Minimum(Document),
    Maximum(Document),
    Above(Document),
    Below(Document),
    MultipleOf(Document),
    Length(u64, u64),
    Pattern(String),
    Items {
        prefix: Vec<Schema>,
        rest: Option<Box<Schema>>,
    },
    ItemCount(u64, u64),
    UniqueItems,
    Properties {
        known: Vec<(String, Schema)>,
        others: Option<Box<Schema>>,
    },
    Required(Vec<String>),
    PropertyCount(u64, u64),
    All(Vec<Schema>),
    Any(Vec<Schema>),
    One(Vec<Schema>),
    Not(Box<Schema>),
    If {
        condition: Box<Schema>,
        then: Option<Box<Schema>>,
        otherwise: Option<Box<Schema>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

const TYPES: [(&str, Type); 7] = [
    ("null", Type::Null),
    ("boolean", Type::Boolean),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("string", Type::String),
    ("array", Type::Array),
    ("object", Type::Object),
];

/// Where and why a document is not valid.
struct Violation {
    path: String,
    reason: String,
}

impl Schema {
    /// Reads a schema.
    pub fn new(source: Document) -> Result<Schema> {
        let rules = read(&source, "schema", 0)?;
        Ok(Schema { source, rules })
    }

    /// What it was read from.
    pub fn source(&self) -> &Document {
        &self.source
    }

    /// Fails with [`Error::Schema`] when the document is not valid.
    pub fn check(&self, document: &Document, matcher: &Matcher) -> Result<()> {
        self.validate(document, "", matcher).map_err(|Violation { path, reason }| Error::Schema {
            path: if path.is_empty() { "$value".into() } else { path },
            reason,
        })
    }

    fn is_valid(&self, document: &Document, matcher: &Matcher) -> bool {
        self.validate(document, "", matcher).is_ok()
    }

    fn validate(&self, document: &Document, path: &str, matcher: &Matcher) -> std::result::Result<(), Violation> {
        self.rules.iter().try_for_each(|rule| rule.validate(document, path, matcher))
    }
}

fn refuse(path: &str, reason: impl Into<String>) -> std::result::Result<(), Violation> {
    Err(Violation { path: path.to_owned(), reason: reason.into() })
}

fn within(count: usize, (low, high): (u64, u64)) -> bool {
    (low..=high).contains(&(count as u64))
}

impl Rule {
    fn validate(&self, document: &Document, path: &str, matcher: &Matcher) -> std::result::Result<(), Violation> {
        let is_number = matches!(document, Document::Integer(_) | Document::Float(_));
        match self {
            Rule::Always(true) => Ok(()),
            Rule::Always(false) => refuse(path, "is not allowed"),
            Rule::Types(types) if types.iter().any(|one| has_type(document, *one)) => Ok(()),
            Rule::Types(types) => {
                let names: Vec<&str> =
                    TYPES.iter().filter(|(_, one)| types.contains(one)).map(|(name, _)| *name).collect();
                refuse(path, format!("must be of type {}", names.join(" or ")))
            }
            Rule::Enum(values) if values.iter().any(|value| same(value, document)) => Ok(()),
            Rule::Enum(_) => refuse(path, "is not one of the allowed values"),
            Rule::Minimum(_) | Rule::Maximum(_) | Rule::Above(_) | Rule::Below(_) | Rule::MultipleOf(_)
                if !is_number =>
            {
                Ok(())
            }
            Rule::Minimum(bound) if compare(document, bound).is_lt() => {
                refuse(path, format!("must be at least {}", show(bound)))
            }
            Rule::Maximum(bound) if compare(document, bound).is_gt() => {
                refuse(path, format!("must be at most {}", show(bound)))
            }
            Rule::Above(bound) if compare(document, bound).is_le() => {
                refuse(path, format!("must be more than {}", show(bound)))
            }
            Rule::Below(bound) if compare(document, bound).is_ge() => {
                refuse(path, format!("must be less than {}", show(bound)))
            }
            Rule::MultipleOf(step) if !is_multiple(document, step) => {
                refuse(path, format!("must be a multiple of {}", show(step)))
            }
            Rule::Minimum(_) | Rule::Maximum(_) | Rule::Above(_) | Rule::Below(_) | Rule::MultipleOf(_) => Ok(()),
            Rule::Length(low, high) => match document {
                Document::String(bytes) if !within(String::from_utf8_lossy(bytes).chars().count(), (*low, *high)) => {
                    refuse(path, "has the wrong length")
                }
                _ => Ok(()),
            },
            Rule::Pattern(pattern) => match document {
                Document::String(bytes) => match matcher(pattern, &String::from_utf8_lossy(bytes)) {
                    Ok(true) => Ok(()),
                    Ok(false) => refuse(path, format!("does not match {pattern}")),
                    Err(reason) => refuse(path, reason),
                },
                _ => Ok(()),
            },
            Rule::Items { .. } | Rule::ItemCount(..) | Rule::UniqueItems => {
                self.validate_array(document, path, matcher)
            }
            Rule::Properties { .. } | Rule::Required(_) | Rule::PropertyCount(..) => {
                self.validate_object(document, path, matcher)
            }
            _ => self.validate_combination(document, path, matcher),
        }
    }

    fn validate_array(&self, document: &Document, path: &str, matcher: &Matcher) -> std::result::Result<(), Violation> {
        let Document::Array(items) = document else {
            return Ok(());
        };
        match self {
            Rule::Items { prefix, rest } => items.iter().enumerate().try_for_each(|(position, item)| {
                match prefix.get(position).or(rest.as_deref()) {
                    Some(schema) => schema.validate(item, &format!("{path}[{position}]"), matcher),
                    None => Ok(()),
                }
            }),
            Rule::ItemCount(low, high) if !within(items.len(), (*low, *high)) => {
                refuse(path, "has the wrong number of elements")
            }
            Rule::UniqueItems => {
                let twice = (1..items.len()).find(|at| items[..*at].iter().any(|item| same(item, &items[*at])));
                twice.map_or(Ok(()), |at| refuse(&format!("{path}[{at}]"), "is there twice"))
            }
            _ => Ok(()),
        }
    }

    fn validate_object(
        &self,
        document: &Document,
        path: &str,
        matcher: &Matcher,
    ) -> std::result::Result<(), Violation> {
        let Document::Map(entries) = document else {
            return Ok(());
        };
        if !has_type(document, Type::Object) {
            return Ok(());
        }
        let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match self {
            Rule::Properties { known, others } => entries.iter().try_for_each(|(key, value)| {
                let name = if let Document::String(name) = key { String::from_utf8_lossy(name) } else { "".into() };
                let schema = known.iter().find(|(known, _)| *known == name).map(|(_, schema)| schema);
                match schema.or(others.as_deref()) {
                    Some(schema) => schema.validate(value, &inner(&name), matcher),
                    None => Ok(()),
                }
            }),
            Rule::Required(names) => match names.iter().find(|name| document.get(name).is_none()) {
                Some(missing) => refuse(&inner(missing), "is missing"),
                None => Ok(()),
            },
            Rule::PropertyCount(low, high) if !within(entries.len(), (*low, *high)) => {
                refuse(path, "has the wrong number of fields")
            }
            _ => Ok(()),
        }
    }

    fn validate_combination(
        &self,
        document: &Document,
        path: &str,
        matcher: &Matcher,
    ) -> std::result::Result<(), Violation> {
        let count = |schemas: &[Schema]| schemas.iter().filter(|schema| schema.is_valid(document, matcher)).count();
        match self {
            Rule::All(schemas) => schemas.iter().try_for_each(|schema| schema.validate(document, path, matcher)),
            Rule::Any(schemas) if count(schemas) == 0 => refuse(path, "fits none of the alternatives"),
            Rule::One(schemas) if count(schemas) != 1 => refuse(path, "does not fit exactly one of the alternatives"),
            Rule::Not(schema) if schema.is_valid(document, matcher) => refuse(path, "is what it must not be"),
            Rule::If { condition, then, otherwise } => {
                let next = if condition.is_valid(document, matcher) { then } else { otherwise };
                next.as_ref().map_or(Ok(()), |schema| schema.validate(document, path, matcher))
            }
            _ => Ok(()),
        }
    }
}

fn has_type(document: &Document, one: Type) -> bool {
    match (document, one) {
        (Document::Nil, Type::Null)
        | (Document::Boolean(_), Type::Boolean)
        | (Document::Integer(_), Type::Integer | Type::Number)
        | (Document::Float(_), Type::Number)
        | (Document::String(_), Type::String)
        | (Document::Array(_), Type::Array) => true,
        (Document::Float(value), Type::Integer) => value.is_finite() && value.fract() == 0.0,
        (Document::Map(entries), Type::Object) => entries.iter().all(|(key, _)| matches!(key, Document::String(_))),
        _ => false,
    }
}

/// Equality as JSON has it: numbers by value, objects in any order.
fn same(left: &Document, right: &Document) -> bool {
    match (left, right) {
        (Document::Array(a), Document::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Document::Map(a), Document::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.iter().any(|(other, found)| same(key, other) && same(value, found)))
        }
        _ => compare(left, right).is_eq(),
    }
}

fn is_multiple(value: &Document, step: &Document) -> bool {
    let float = |value: &Document| match value {
        Document::Integer(value) => *value as f64,
        Document::Float(value) => *value,
        _ => f64::NAN,
    };
    match (value, step) {
        (Document::Integer(value), Document::Integer(step)) => value.checked_rem(*step).unwrap_or(0) == 0,
        _ => {
            let quotient = float(value) / float(step);
            quotient.is_finite() && quotient.fract() == 0.0
        }
    }
}

fn show(number: &Document) -> String {
    match number {
        Document::Integer(value) => value.to_string(),
        Document::Float(value) => value.to_string(),
        _ => String::new(),
    }
}

fn bad(path: &str, reason: &str) -> Error {
    Error::invalid(path, reason)
}

fn read(source: &Document, path: &str, depth: usize) -> Result<Vec<Rule>> {
    if depth > DEPTH_MAX {
        return Err(bad(path, "nested too deep"));
    }
    if let Document::Boolean(always) = source {
        return Ok(vec![Rule::Always(*always)]);
    }
    let Document::Map(keywords) = source else {
        return Err(bad(path, "a schema is a map or a boolean"));
    };
    let mut rules = Vec::new();
    for (keyword, value) in keywords {
        let keyword = keyword.as_text().ok_or_else(|| bad(path, "keywords are texts"))?;
        let here = format!("{path}.{keyword}");
        if let Some(rule) = read_keyword(source, keyword, value, &here, depth + 1)? {
            rules.push(rule);
        }
    }
    Ok(rules)
}

fn schema_of(value: &Document, path: &str, depth: usize) -> Result<Schema> {
    Ok(Schema { source: Document::Nil, rules: read(value, path, depth)? })
}

fn schemas_of(value: &Document, path: &str, depth: usize) -> Result<Vec<Schema>> {
    match value {
        Document::Array(schemas) if !schemas.is_empty() => {
            schemas.iter().map(|schema| schema_of(schema, path, depth)).collect()
        }
        _ => Err(bad(path, "must be an array of schemas that is not empty")),
    }
}

fn number_of(value: &Document, path: &str) -> Result<Document> {
    match value {
        Document::Integer(_) => Ok(value.clone()),
        Document::Float(number) if number.is_finite() => Ok(value.clone()),
        _ => Err(bad(path, "must be a number")),
    }
}

fn count_of(value: &Document, path: &str) -> Result<u64> {
    match value {
        Document::Integer(count) if *count >= 0 => Ok(*count as u64),
        // The conversion ends at the largest count there is.
        Document::Float(count) if *count >= 0.0 && count.fract() == 0.0 => Ok(*count as u64),
        _ => Err(bad(path, "must be a whole number from 0")),
    }
}

fn names_of(value: &Document, path: &str) -> Result<Vec<String>> {
    let texts = || bad(path, "must be an array of texts");
    let Document::Array(names) = value else {
        return Err(texts());
    };
    names.iter().map(|name| name.as_text().map(str::to_owned).ok_or_else(texts)).collect()
}

fn types_of(value: &Document, path: &str) -> Result<Vec<Type>> {
    let names = match value {
        Document::String(_) => names_of(&Document::Array(vec![value.clone()]), path)?,
        _ => names_of(value, path)?,
    };
    let one = |name: &String| {
        let found = TYPES.iter().find(|(known, _)| known == name).map(|(_, one)| *one);
        found.ok_or_else(|| bad(path, "is no type of JSON"))
    };
    names.iter().map(one).collect()
}

fn read_keyword(schema: &Document, keyword: &str, value: &Document, path: &str, depth: usize) -> Result<Option<Rule>> {
    let boxed = |value: &Document| schema_of(value, path, depth).map(Box::new);
    let part = |name: &str| schema.get(name).map(boxed).transpose();
    Ok(Some(match keyword {
        "type" => Rule::Types(types_of(value, path)?),
        "const" => Rule::Enum(vec![value.clone()]),
        "enum" => match value {
            Document::Array(values) => Rule::Enum(values.clone()),
            _ => return Err(bad(path, "must be an array")),
        },
        "minimum" => Rule::Minimum(number_of(value, path)?),
        "maximum" => Rule::Maximum(number_of(value, path)?),
        "exclusiveMinimum" => Rule::Above(number_of(value, path)?),
        "exclusiveMaximum" => Rule::Below(number_of(value, path)?),
        "multipleOf" => match number_of(value, path)? {
            step if compare(&step, &Document::Integer(0)).is_gt() => Rule::MultipleOf(step),
            _ => return Err(bad(path, "must be above 0")),
        },
        "minLength" => Rule::Length(count_of(value, path)?, u64::MAX),
        "maxLength" => Rule::Length(0, count_of(value, path)?),
        "pattern" => match value.as_text() {
            Some(pattern) => Rule::Pattern(pattern.to_owned()),
            None => return Err(bad(path, "must be a text")),
        },
        "items" | "prefixItems" => {
            // Both make one rule, read with the one that is always first to need it.
            if keyword == "items" && schema.get("prefixItems").is_some() {
                return Ok(None);
            }
            let prefix = schema.get("prefixItems").map(|value| schemas_of(value, path, depth)).transpose()?;
            Rule::Items { prefix: prefix.unwrap_or_default(), rest: part("items")? }
        }
        "minItems" => Rule::ItemCount(count_of(value, path)?, u64::MAX),
        "maxItems" => Rule::ItemCount(0, count_of(value, path)?),
        "uniqueItems" => match value {
            Document::Boolean(true) => Rule::UniqueItems,
            Document::Boolean(false) => return Ok(None),
            _ => return Err(bad(path, "must be true or false")),
        },
        "properties" | "additionalProperties" => {
            if keyword == "additionalProperties" && schema.get("properties").is_some() {
                return Ok(None);
            }
            let known = match schema.get("properties") {
                None => Vec::new(),
                Some(Document::Map(entries)) => {
                    let entry = |(name, value): &(Document, Document)| {
                        let name = name.as_text().ok_or_else(|| bad(path, "names are texts"))?;
                        Ok((name.to_owned(), schema_of(value, &format!("{path}.{name}"), depth)?))
                    };
                    entries.iter().map(entry).collect::<Result<_>>()?
                }
                Some(_) => return Err(bad(path, "must be a map of schemas")),
            };
            Rule::Properties { known, others: part("additionalProperties")? }
        }
        "required" => Rule::Required(names_of(value, path)?),
        "minProperties" => Rule::PropertyCount(count_of(value, path)?, u64::MAX),
        "maxProperties" => Rule::PropertyCount(0, count_of(value, path)?),
        "allOf" => Rule::All(schemas_of(value, path, depth)?),
        "anyOf" => Rule::Any(schemas_of(value, path, depth)?),
        "oneOf" => Rule::One(schemas_of(value, path, depth)?),
        "not" => Rule::Not(boxed(value)?),
        "if" => Rule::If { condition: boxed(value)?, then: part("then")?, otherwise: part("else")? },
        "then" | "else" => {
            boxed(value)?;
            return Ok(None);
        }
        "$schema" | "$comment" | "title" | "description" | "default" | "examples" => return Ok(None),
        _ => return Err(bad(path, "is no keyword of the subset that is checked")),
    }))
}

/// The host's own patterns.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn default_matcher() -> Matcher {
    let known: std::cell::RefCell<std::collections::HashMap<String, regex_lite::Regex>> = Default::default();
    Rc::new(move |pattern, text| {
        let mut known = known.borrow_mut();
        if let Some(known) = known.get(pattern) {
            return Ok(known.is_match(text));
        }
        let regex = regex_lite::Regex::new(pattern).map_err(|error| error.to_string())?;
        let is_match = regex.is_match(text);
        known.insert(pattern.to_owned(), regex);
        Ok(is_match)
    })
}

/// A page brings its own.
#[cfg(target_arch = "wasm32")]
pub(crate) fn default_matcher() -> Matcher {
    Rc::new(|_, _| Err("the host has no patterns".to_owned()))
}
