//! Lua values as documents, and back.
//!
//! | Lua | document |
//! |--|--|
//! | nil, boolean, integer, float, string | the same; every NaN is one NaN |
//! | table with keys 1 to n and no others, n > 0 | array |
//! | any other table, the empty one too | map in traversal order; keys are booleans, numbers or strings |
//! | function | blob of kind 1, when the host allows it |
//!
//! Documents are trees: a table that is reached twice is an error, as is one that contains itself. Metatables are not part of a document,
//! and no metamethod is called. Functions in one document are saved one by one and share nothing after loading.
//!
//! Back, nil in an array leaves a hole and a map entry with nil is left out.

use cu_storage::{DEPTH_MAX, Document};
use cu_vm::{Context, Table, TableError, Value};

use crate::blob::{Blob, check_function};
use crate::error::{CorruptKind, Error, Result};
use crate::identity::{ByAddress, address};
use crate::path::{described, push_key};
use crate::save::{Save, save_values, unreadable};

/// The kind of a document's blob that is a function blob.
pub const FUNCTION_BLOB: u8 = 1;

/// Whether documents may hold functions.
#[derive(Debug, Clone, Default)]
pub enum FunctionPolicy {
    /// A function is an error.
    #[default]
    Refuse,
    /// Functions are saved, and loaded, with these options.
    Allow(Save),
}

/// Makes a document of a value. Paths in errors begin with `name`.
///
/// # Errors
///
/// [`Error::NotPersistable`] and [`Error::FunctionRefused`] with the path; [`Error::Limit`] for tables nested too deeply.
pub fn to_document<'gc>(
    context: Context<'gc>,
    name: &str,
    value: Value<'gc>,
    functions: &FunctionPolicy,
) -> Result<Document> {
    let mut encoder = Encoder { context, functions, name, keys: Vec::new(), tables: ByAddress::default() };
    encoder.document(value)
}

/// Makes a value of a document.
///
/// # Errors
///
/// [`Error::Corrupt`] for map keys that are no scalars and for damaged blobs; [`Error::FunctionRefused`]; [`Error::Limit`] if
/// it does not fit into the heap or nests too deeply; what [`Blob::build`] gives.
pub fn from_document<'gc>(
    context: Context<'gc>,
    document: &Document,
    functions: &FunctionPolicy,
) -> Result<Value<'gc>> {
    Decoder { context, functions }.value(document, 0)
}

struct Encoder<'gc, 'a> {
    context: Context<'gc>,
    functions: &'a FunctionPolicy,
    name: &'a str,
    /// The way to the value at hand.
    keys: Vec<Value<'gc>>,
    /// Tables met so far; true while the walk is inside.
    tables: ByAddress<bool>,
}

impl<'gc> Encoder<'gc, '_> {
    fn path(&self) -> String {
        let mut path = self.name.to_owned();
        self.keys.iter().for_each(|key| push_key(&mut path, *key));
        path
    }

    fn refuse(&self, what: impl Into<String>) -> Error {
        Error::NotPersistable { path: self.path(), what: what.into() }
    }

    /// Recursion is bounded by [`DEPTH_MAX`].
    fn document(&mut self, value: Value<'gc>) -> Result<Document> {
        Ok(match value {
            Value::Nil => Document::Nil,
            Value::Boolean(boolean) => Document::Boolean(boolean),
            Value::Integer(integer) => Document::Integer(integer),
            Value::Float(float) => Document::Float(float),
            Value::String(string) => Document::String(string.as_bytes().to_vec()),
            Value::Table(table) => self.container(table)?,
            Value::Closure(_) | Value::Native(_) => self.function(value)?,
            _ => return Err(self.refuse(described(value))),
        })
    }

    fn function(&self, value: Value<'gc>) -> Result<Document> {
        let path = self.path();
        match self.functions {
            FunctionPolicy::Refuse => Err(Error::FunctionRefused { path }),
            FunctionPolicy::Allow(save) => {
                let bytes = save_values(self.context, &[(&path, value)], save)?;
                Ok(Document::Blob { kind: FUNCTION_BLOB, bytes })
            }
        }
    }

    fn container(&mut self, table: Table<'gc>) -> Result<Document> {
        if self.keys.len() >= DEPTH_MAX {
            return Err(Error::Limit { what: "document depth" });
        }
        self.context.fill(table).map_err(unreadable)?;
        let place = address(Value::Table(table));
        match self.tables.insert(place, true) {
            None => {}
            Some(true) => return Err(self.refuse("a table that contains itself")),
            Some(false) => return Err(self.refuse("a table that is reached twice")),
        }
        let document = match sequence_length(table) {
            0 => self.map(table)?,
            length => self.array(table, length)?,
        };
        self.tables.insert(place, false);
        Ok(document)
    }

    fn array(&mut self, table: Table<'gc>, length: i64) -> Result<Document> {
        let mut elements = Vec::with_capacity(length as usize);
        for index in 1..=length {
            elements.push(self.step_into(Value::Integer(index), table.get_integer(index))?);
        }
        Ok(Document::Array(elements))
    }

    fn map(&mut self, table: Table<'gc>) -> Result<Document> {
        let mut entries = Vec::new();
        let mut previous = Value::Nil;
        // A key from the table itself is always valid.
        while let Ok(Some((key, value))) = table.next(previous) {
            previous = key;
            let key_document = match key {
                Value::Boolean(boolean) => Document::Boolean(boolean),
                Value::Integer(integer) => Document::Integer(integer),
                Value::Float(float) => Document::Float(float),
                Value::String(string) => Document::String(string.as_bytes().to_vec()),
                _ => return Err(self.refuse(format!("{} as a key", described(key)))),
            };
            entries.push((key_document, self.step_into(key, value)?));
        }
        Ok(Document::Map(entries))
    }

    fn step_into(&mut self, key: Value<'gc>, value: Value<'gc>) -> Result<Document> {
        self.keys.push(key);
        let document = self.document(value)?;
        self.keys.pop();
        Ok(document)
    }
}

/// n if the table has the keys 1 to n and no others; otherwise 0.
fn sequence_length(table: Table<'_>) -> i64 {
    let length = table.length();
    let mut count = 0;
    let mut previous = Value::Nil;
    while let Ok(Some((key, _))) = table.next(previous) {
        match key {
            Value::Integer(index) if 1 <= index && index <= length => count += 1,
            _ => return 0,
        }
        previous = key;
    }
    if count == length { length } else { 0 }
}

struct Decoder<'gc, 'a> {
    context: Context<'gc>,
    functions: &'a FunctionPolicy,
}

impl<'gc> Decoder<'gc, '_> {
    fn value(&self, document: &Document, depth: usize) -> Result<Value<'gc>> {
        let context = self.context;
        Ok(match document {
            Document::Nil => Value::Nil,
            Document::Boolean(boolean) => Value::Boolean(*boolean),
            Document::Integer(integer) => Value::Integer(*integer),
            Document::Float(float) => Value::Float(*float),
            Document::String(bytes) => {
                let string = context.string_within(bytes).or(Err(Error::Limit { what: "heap" }))?;
                Value::String(string)
            }
            Document::Array(_) | Document::Map(_) if depth >= DEPTH_MAX => {
                return Err(Error::Limit { what: "document depth" });
            }
            Document::Array(elements) => self.array(elements, depth)?,
            Document::Map(entries) => self.map(entries, depth)?,
            Document::Blob { kind: FUNCTION_BLOB, bytes } => self.function(bytes)?,
            Document::Blob { .. } => return Err(Error::corrupt(CorruptKind::BlobKind, 0)),
        })
    }

    fn array(&self, elements: &[Document], depth: usize) -> Result<Value<'gc>> {
        let table = self.context.table();
        for (index, element) in (1..).zip(elements) {
            let value = self.value(element, depth + 1)?;
            table.set_integer(self.context, index, value).map_err(refusal)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&self, entries: &[(Document, Document)], depth: usize) -> Result<Value<'gc>> {
        let table = self.context.table();
        for (key, value) in entries {
            let key = match key {
                Document::Boolean(_) | Document::Integer(_) | Document::Float(_) | Document::String(_) => {
                    self.value(key, depth)?
                }
                _ => return Err(Error::corrupt(CorruptKind::Kind, 0)),
            };
            let value = self.value(value, depth + 1)?;
            table.set(self.context, key, value).map_err(refusal)?;
        }
        Ok(Value::Table(table))
    }

    fn function(&self, bytes: &[u8]) -> Result<Value<'gc>> {
        let FunctionPolicy::Allow(save) = self.functions else {
            return Err(Error::FunctionRefused { path: "function blob".into() });
        };
        let values = Blob::read(bytes, &save.limits)?.build_with(self.context, &*save.userdata)?;
        match values[..] {
            [function] => check_function(function).map(|()| function),
            _ => Err(Error::NotAFunction { found: format!("{} values", values.len()) }),
        }
    }
}

fn refusal(error: TableError) -> Error {
    match error {
        TableError::OutOfMemory => Error::Limit { what: "heap" },
        TableError::NilIndex | TableError::NanIndex => Error::corrupt(CorruptKind::Kind, 0),
    }
}
