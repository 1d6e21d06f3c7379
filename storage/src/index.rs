//! Secondary indexes: their definitions, and the stems under which a document stands in an index.
//!
//! A stem is what an index orders by, as bytes: in a `btree` index the encodings of the fields one after the other, in a
//! `hash` index eight bytes of hash over them. A missing field counts as nil. An index of several entries per document
//! (`multi`) puts one byte in front: 0 before the elements of an array, 1 before anything else, because `contains`
//! asks elements whether they are equal and strings whether they have a part.
//!
//! How stems become keys of a tree is in `entries.rs`.

use xxhash_rust::xxh64::xxh64;

use crate::document::{Document, DocumentRef, Shallow};
use crate::error::{Error, Result};
use crate::filter::field_of;
use crate::key::write_ordered_field;
use crate::page::PageId;

/// How an index finds its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// Ordered: equality, ranges, prefixes, sorting.
    Btree,
    /// Equality only, with eight bytes per key however long the fields are.
    Hash,
}

/// What an index is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    /// Its name, one index of a Collection each.
    pub name: String,
    /// Paths of the indexed fields, the first one counting most.
    pub fields: Vec<String>,
    /// How it finds its entries.
    pub kind: IndexKind,
    /// Whether two documents may not agree in all fields. A missing field agrees with nil.
    pub unique: bool,
    /// Whether an array is indexed by its elements instead of as a whole. For one field only.
    pub multi: bool,
    /// Whether documents are left out in which every indexed field is missing or nil.
    pub sparse: bool,
}

/// An index as the catalog knows it.
#[derive(Debug, Clone)]
pub(crate) struct IndexState {
    pub definition: IndexDefinition,
    pub root: PageId,
    /// Pairs of a stem and a document.
    pub entries: u64,
    /// Different stems, as far as a page can tell them apart.
    pub distinct: u64,
    /// Whether the tree is there. Databases of format 1 have definitions without trees.
    pub built: bool,
}

/// Most fields of one index.
const FIELDS_MAX: usize = 16;
const NAME_LENGTH_MAX: usize = 1024;

/// What stands before the stem of an array's element in an index that is `multi`.
pub(crate) const ELEMENT: u8 = 0;
/// What stands there before anything that is not an array.
pub(crate) const WHOLE: u8 = 1;

impl IndexKind {
    /// The name in requests: `btree` or `hash`.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Btree => "btree",
            IndexKind::Hash => "hash",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Result<IndexKind> {
        match name {
            "btree" => Ok(IndexKind::Btree),
            "hash" => Ok(IndexKind::Hash),
            _ => Err(Error::invalid("kind", format!("no index kind '{name}'"))),
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<IndexKind> {
        match number {
            1 => Some(IndexKind::Btree),
            2 => Some(IndexKind::Hash),
            _ => None,
        }
    }
}

impl IndexDefinition {
    /// An index over fields, named by them: `city`, or `city,age` for two.
    pub fn new(fields: &[&str], kind: IndexKind) -> IndexDefinition {
        IndexDefinition {
            name: fields.join(","),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            kind,
            unique: false,
            multi: false,
            sparse: false,
        }
    }

    /// The same with another name.
    pub fn named(self, name: &str) -> IndexDefinition {
        IndexDefinition { name: name.to_owned(), ..self }
    }

    /// The same, refusing a second document with the same fields.
    pub fn unique(self) -> IndexDefinition {
        IndexDefinition { unique: true, ..self }
    }

    /// The same, with an entry for each element of an array.
    pub fn multi(self) -> IndexDefinition {
        IndexDefinition { multi: true, ..self }
    }

    /// The same, without documents that lack the fields.
    pub fn sparse(self) -> IndexDefinition {
        IndexDefinition { sparse: true, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let named = |text: &str| (1..=NAME_LENGTH_MAX).contains(&text.len());
        let reason = if !named(&self.name) || !self.fields.iter().all(|field| named(field)) {
            format!("names must have 1 to {NAME_LENGTH_MAX} bytes")
        } else if !(1..=FIELDS_MAX).contains(&self.fields.len()) {
            format!("must have 1 to {FIELDS_MAX} fields")
        } else if (1..self.fields.len()).any(|at| self.fields[..at].contains(&self.fields[at])) {
            "names a field twice".to_owned()
        } else if self.multi && self.fields.len() > 1 {
            "an index over the elements of arrays has one field".to_owned()
        } else if self.fields.iter().any(|field| field == "$key") {
            "the key needs no index".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::invalid("index", reason))
    }

    /// Hands the stems of a document on, ascending and each once; one that is alone is made in `room`.
    pub(crate) fn each_stem(
        &self,
        document: DocumentRef<'_>,
        room: &mut Vec<u8>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<()> {
        if self.multi {
            self.stems(document)?.iter().for_each(|stem| take(stem));
            return Ok(());
        }
        room.clear();
        if self.write_whole(document, room)? {
            take(room);
        }
        Ok(())
    }

    /// Appends the stem of all fields; says whether the index has it.
    fn write_whole(&self, document: DocumentRef<'_>, out: &mut Vec<u8>) -> Result<bool> {
        let mut empty = true;
        let start = out.len();
        for name in &self.fields {
            let field = field_of(document, name)?;
            empty = empty && is_nil(field)?;
            write_ordered_field(field, out)?;
        }
        self.finish_stem(out, start);
        Ok(!(self.sparse && empty))
    }

    /// The stems of a document, ascending and each once.
    pub(crate) fn stems(&self, document: DocumentRef<'_>) -> Result<Vec<Vec<u8>>> {
        let mut stems = Vec::with_capacity(1);
        if self.multi {
            let field = field_of(document, &self.fields[0])?;
            if let Some(Shallow::Array(mut elements)) = field.map(DocumentRef::shallow).transpose()? {
                while let Some(element) = elements.element()? {
                    stems.push(self.stem(Some(ELEMENT), |out| write_ordered_field(Some(element), out))?);
                }
                cu_sort::sort(&mut stems);
                stems.dedup();
            } else if !(self.sparse && is_nil(field)?) {
                stems.push(self.stem(Some(WHOLE), |out| write_ordered_field(field, out))?);
            }
            return Ok(stems);
        }
        let mut stem = Vec::with_capacity(24);
        if self.write_whole(document, &mut stem)? {
            stems.push(stem);
        }
        Ok(stems)
    }

    /// Makes a stem of what `write` appends.
    pub(crate) fn stem(&self, lead: Option<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
        let mut stem = Vec::with_capacity(24);
        stem.extend(lead);
        let start = stem.len();
        write(&mut stem)?;
        self.finish_stem(&mut stem, start);
        Ok(stem)
    }

    /// Puts a hash in place of what was written since `start`, if it is an index of hashes.
    fn finish_stem(&self, stem: &mut Vec<u8>, start: usize) {
        if self.kind == IndexKind::Hash {
            let hash = xxh64(&stem[start..], 0);
            stem.truncate(start);
            stem.extend_from_slice(&hash.to_be_bytes());
        }
    }

    /// Bytes of the stem that a tree's key begins with.
    pub(crate) fn stem_length(&self, key: &[u8]) -> Option<usize> {
        let mut length = usize::from(self.multi);
        match self.kind {
            IndexKind::Hash => length += 8,
            IndexKind::Btree => {
                for _ in &self.fields {
                    length += crate::key::ordered_length(key.get(length..)?)?;
                }
            }
        }
        (length <= key.len()).then_some(length)
    }

    /// The definition as a document.
    pub fn to_document(&self) -> Document {
        let fields = self.fields.iter().map(|field| Document::text(field)).collect();
        let mut entries = vec![
            ("name", Document::text(&self.name)),
            ("fields", Document::Array(fields)),
            ("kind", Document::text(self.kind.name())),
        ];
        for (name, set) in [("unique", self.unique), ("multi", self.multi), ("sparse", self.sparse)] {
            if set {
                entries.push((name, Document::Boolean(true)));
            }
        }
        Document::map(entries)
    }

    /// Reads a definition from a map `{name, fields, kind, unique, multi, sparse}`. Without a name the fields make one; `field`
    /// may stand for one field; the kind is `btree` unless it says otherwise.
    pub fn from_document(document: &Document) -> Result<IndexDefinition> {
        let text = |name: &str, value: &Document| {
            value.as_text().map(str::to_owned).ok_or_else(|| Error::invalid(name, "must be a string of text"))
        };
        let fields = match (document.get("fields"), document.get("field")) {
            (Some(Document::Array(fields)), _) => {
                fields.iter().map(|field| text("fields", field)).collect::<Result<Vec<String>>>()?
            }
            (None | Some(Document::Nil), Some(field)) => vec![text("field", field)?],
            _ => return Err(Error::invalid("fields", "must be an array of strings")),
        };
        let flag = |name: &str| match document.get(name) {
            None | Some(Document::Nil | Document::Boolean(false)) => Ok(false),
            Some(Document::Boolean(true)) => Ok(true),
            Some(_) => Err(Error::invalid(name, "must be true or false")),
        };
        let definition = IndexDefinition {
            name: match document.get("name") {
                None | Some(Document::Nil) => fields.join(","),
                Some(name) => text("name", name)?,
            },
            kind: match document.get("kind") {
                None | Some(Document::Nil) => IndexKind::Btree,
                Some(kind) => IndexKind::from_name(&text("kind", kind)?)?,
            },
            unique: flag("unique")?,
            multi: flag("multi")?,
            sparse: flag("sparse")?,
            fields,
        };
        definition.check()?;
        Ok(definition)
    }
}

impl IndexState {
    pub fn new(definition: IndexDefinition) -> IndexState {
        IndexState { definition, root: PageId::NONE, entries: 0, distinct: 0, built: false }
    }
}

fn is_nil(field: Option<DocumentRef<'_>>) -> Result<bool> {
    Ok(match field {
        None => true,
        Some(field) => matches!(field.shallow()?, Shallow::Nil),
    })
}
