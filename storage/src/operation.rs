//! The operations of a batch, and what each gives.
//!
//! Every operation checks its arguments and computes what it stores before it changes anything, so one that fails
//! leaves the transaction as it was.

use crate::document::{Document, Encoded};
use crate::error::{Error, Result};
use crate::key::encode_key;
use crate::query::{Query, QueryResult};
use crate::transaction::Transaction;

/// One operation of a batch.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Stores a document. Gives [`Outcome::Done`].
    Set {
        /// Name of the Collection, created when there is none.
        collection: String,
        /// The key.
        key: Document,
        /// The document.
        value: Encoded,
    },
    /// Reads a document. Gives [`Outcome::Value`].
    Get {
        /// Name of the Collection.
        collection: String,
        /// The key.
        key: Document,
    },
    /// Removes a document. Gives [`Outcome::Deleted`].
    Delete {
        /// Name of the Collection.
        collection: String,
        /// The key.
        key: Document,
    },
    /// Replaces the fields of a stored map by those given and keeps its others. With no stored document, the given one is
    /// stored. Gives [`Outcome::Value`] with the new document.
    Update {
        /// Name of the Collection.
        collection: String,
        /// The key.
        key: Document,
        /// A map.
        value: Document,
    },
    /// Adds to a number. Gives [`Outcome::Number`].
    Increment {
        /// Name of the Collection.
        collection: String,
        /// The key.
        key: Document,
        /// The field of a stored map, by its whole name or a path of fields; without one, the document itself is the number.
        /// What is missing starts from 0.
        field: Option<String>,
        /// What is added.
        amount: Document,
    },
    /// Runs a query, over what the operations before it have changed. Gives [`Outcome::Rows`].
    Query(Query),
}

/// What an operation gives.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A document was stored.
    Done,
    /// A document, `None` when there is none.
    Value(Option<Encoded>),
    /// Whether there was something to delete.
    Deleted(bool),
    /// The new value of an incremented number.
    Number(Document),
    /// The rows of a query.
    Rows(QueryResult),
    /// Why the operation failed, in a batch that is not atomic.
    Failed(Error),
}

impl Operation {
    /// Stores a document.
    pub fn set(collection: &str, key: impl Into<Document>, value: &Document) -> Result<Operation> {
        Ok(Operation::Set { collection: collection.to_owned(), key: key.into(), value: Encoded::try_from(value)? })
    }

    /// Reads a document.
    pub fn get(collection: &str, key: impl Into<Document>) -> Operation {
        Operation::Get { collection: collection.to_owned(), key: key.into() }
    }

    /// Removes a document.
    pub fn delete(collection: &str, key: impl Into<Document>) -> Operation {
        Operation::Delete { collection: collection.to_owned(), key: key.into() }
    }

    /// Merges fields into a document.
    pub fn update(collection: &str, key: impl Into<Document>, value: Document) -> Operation {
        Operation::Update { collection: collection.to_owned(), key: key.into(), value }
    }

    /// Adds to a number.
    pub fn increment(
        collection: &str,
        key: impl Into<Document>,
        field: Option<&str>,
        amount: impl Into<Document>,
    ) -> Operation {
        Operation::Increment {
            collection: collection.to_owned(),
            key: key.into(),
            field: field.map(str::to_owned),
            amount: amount.into(),
        }
    }
}

pub(crate) async fn run(transaction: &mut Transaction, operation: &Operation) -> Result<Outcome> {
    match operation {
        Operation::Set { collection, key, value } => {
            let key = encode_key(key)?;
            transaction.set_encoded(collection, &key, value).await?;
            Ok(Outcome::Done)
        }
        Operation::Get { collection, key } => {
            let key = encode_key(key)?;
            let value = transaction.get_encoded(collection, &key).await?;
            Ok(Outcome::Value(value))
        }
        Operation::Delete { collection, key } => {
            let key = encode_key(key)?;
            let deleted = transaction.delete_encoded(collection, &key).await?;
            Ok(Outcome::Deleted(deleted))
        }
        Operation::Update { collection, key, value } => {
            let key = encode_key(key)?;
            let stored = transaction.get_encoded(collection, &key).await?;
            let merged = Encoded::try_from(&merge(stored, value)?)?;
            transaction.set_encoded(collection, &key, &merged).await?;
            Ok(Outcome::Value(Some(merged)))
        }
        Operation::Increment { collection, key, field, amount } => {
            let key = encode_key(key)?;
            let stored = transaction.get_encoded(collection, &key).await?;
            let mut document = match stored {
                Some(stored) => stored.decode()?,
                None => Document::Nil,
            };
            let number = increment(&mut document, field.as_deref(), amount)?;
            let value = Encoded::try_from(&document)?;
            transaction.set_encoded(collection, &key, &value).await?;
            Ok(Outcome::Number(number))
        }
        Operation::Query(query) => Ok(Outcome::Rows(transaction.query(query).await?)),
    }
}

fn merge(stored: Option<Encoded>, fields: &Document) -> Result<Document> {
    let Document::Map(fields) = fields else {
        return Err(Error::invalid("value", "an update takes a map of fields"));
    };
    let mut entries = match stored.map(|stored| stored.decode()).transpose()? {
        None => Vec::new(),
        Some(Document::Map(entries)) => entries,
        Some(_) => {
            return Err(Error::invalid("key", "the stored document is not a map"));
        }
    };
    for (name, value) in fields {
        let place = entries.iter().position(|(stored, _)| stored == name);
        match place {
            Some(place) => entries[place].1 = value.clone(),
            None => entries.push((name.clone(), value.clone())),
        }
    }
    Ok(Document::Map(entries))
}

/// Adds to the number at a field and returns the sum.
fn increment(document: &mut Document, field: Option<&str>, amount: &Document) -> Result<Document> {
    let mut place = document;
    let mut rest = field;
    while let Some(path) = rest {
        if matches!(place, Document::Nil) {
            *place = Document::Map(Vec::new());
        }
        let Document::Map(entries) = place else {
            return Err(Error::invalid("field", format!("'{path}' is not a field of a map")));
        };
        let find = |name: &str| {
            entries.iter().position(|(key, _)| matches!(key, Document::String(key) if key == name.as_bytes()))
        };
        let (name, inner, found) = match (find(path), path.split_once('.')) {
            (None, Some((name, inner))) => (name, Some(inner), find(name)),
            (found, _) => (path, None, found),
        };
        let index = found.unwrap_or_else(|| {
            entries.push((Document::text(name), Document::Nil));
            entries.len() - 1
        });
        place = &mut entries[index].1;
        rest = inner;
    }
    *place = add(place, amount)?;
    Ok(place.clone())
}

fn add(number: &Document, amount: &Document) -> Result<Document> {
    use Document::{Float, Integer};
    Ok(match (number, amount) {
        (Document::Nil, Integer(_) | Float(_)) => amount.clone(),
        (Integer(a), Integer(b)) => {
            Integer(a.checked_add(*b).ok_or_else(|| Error::invalid("amount", "the sum exceeds 64 bits"))?)
        }
        (Integer(a), Float(b)) => Float(*a as f64 + b),
        (Float(a), Integer(b)) => Float(a + *b as f64),
        (Float(a), Float(b)) => Float(a + b),
        (_, Integer(_) | Float(_)) => {
            return Err(Error::invalid("field", "the stored value is not a number"));
        }
        _ => return Err(Error::invalid("amount", "must be a number")),
    })
}
