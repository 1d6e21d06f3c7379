//! An index's tree: how stems and the keys of documents become keys of the tree, and ranges of stems.
//!
//! A page takes keys up to a quarter of its size, while a stem and a document's key can be longer together. So an entry has one
//! of two forms:
//!
//! - alone: the tree's key is the stem followed by the document's key, the value is empty;
//! - listed: the tree's key is the stem, cut to a fixed length, 0x01, and two bytes of hash over the whole stem and the
//!   document's key; the value is the keys of all documents that came to the same place, each with its length in front.
//!
//! Stems that agree as far as a page can tell are a *run*: the order inside a run is not the order of the stems, so whoever
//! wants order sorts each run. Between runs the order is right: no encoding of a field begins with that of another
//! one, except that a string's may go on with 0xFF, which is above every byte that can follow a stem here.

use std::ops::Bound;

use xxhash_rust::xxh64::Xxh64;

use crate::btree;
use crate::cursor::{Cursor, Direction, Entry, KeyRange};
use crate::document::write_bytes;
use crate::error::{Error, Step};
use crate::index::IndexDefinition;
use crate::key::lead;
use crate::page::{self, PageId};
use crate::pager::Pager;
use crate::reader::Reader;

const LISTED: u8 = 1;
const LISTED_TAIL: usize = 3;

/// Stems from `low` on and below `high`; no `high` is no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StemRange {
    pub low: Vec<u8>,
    pub high: Option<Vec<u8>>,
}

impl StemRange {
    pub const ALL: StemRange = StemRange { low: Vec::new(), high: None };

    /// The stems that begin with these fields.
    pub fn equal(fields: Vec<u8>) -> StemRange {
        let high = above(&fields);
        StemRange { low: fields, high: Some(high) }
    }

    pub fn contains(&self, stem: &[u8]) -> bool {
        stem >= self.low.as_slice() && self.high.as_deref().is_none_or(|high| stem < high)
    }

    /// What is in both.
    pub fn and(&self, other: &StemRange) -> StemRange {
        let high = match (&self.high, &other.high) {
            (Some(left), Some(right)) => Some(left.min(right).clone()),
            (left, right) => left.clone().or_else(|| right.clone()),
        };
        StemRange { low: self.low.clone().max(other.low.clone()), high }
    }

    /// The range behind these first bytes.
    pub fn behind(&self, prefix: &[u8]) -> StemRange {
        let low = [prefix, &self.low].concat();
        let high = match &self.high {
            Some(high) => Some([prefix, high].concat()),
            None => after_prefix(prefix),
        };
        StemRange { low, high }
    }

    pub fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| *high <= self.low)
    }

    /// The keys of the tree under which all entries of the range are, and few others.
    pub fn keys(&self, page_size: usize) -> KeyRange {
        let longest = stem_length_max(page_size);
        let from = if self.low.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Included(self.low[..self.low.len().min(longest)].to_vec())
        };
        let to = match &self.high {
            None => Bound::Unbounded,
            Some(high) if high.len() <= longest => Bound::Excluded(high.clone()),
            Some(high) => after_prefix(&high[..longest]).map_or(Bound::Unbounded, Bound::Excluded),
        };
        KeyRange { from, to }
    }
}

/// What is above every stem that goes on behind these whole fields, and below every other one above them.
pub(crate) fn above(fields: &[u8]) -> Vec<u8> {
    [fields, &[0xFF]].concat()
}

/// The first bytes above all that have this prefix; `None` when nothing is.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

/// Bytes of a stem that a tree's key has room for.
pub(crate) fn stem_length_max(page_size: usize) -> usize {
    page::key_length_max(page_size) - LISTED_TAIL
}

/// What stems have in common that a tree cannot tell apart.
fn run_of(page_size: usize, stem: &[u8]) -> &[u8] {
    &stem[..stem.len().min(stem_length_max(page_size))]
}

/// The range of one stem's run.
pub(crate) fn run_range(page_size: usize, stem: &[u8]) -> KeyRange {
    StemRange::equal(stem.to_vec()).keys(page_size)
}

/// Where an entry is in the tree.
fn place_of(page_size: usize, stem: &[u8], document: &[u8]) -> (Vec<u8>, bool) {
    if stem.len() + document.len() <= page::key_length_max(page_size) {
        return ([stem, document].concat(), false);
    }
    let mut hash = Xxh64::new(0);
    hash.update(stem);
    hash.update(document);
    let hash = hash.digest().to_be_bytes();
    ([run_of(page_size, stem), &[LISTED, hash[0], hash[1]]].concat(), true)
}

/// Whether a tree's key is in the run of a stem.
fn is_in_run(page_size: usize, stem: &[u8], key: &[u8]) -> bool {
    let run = run_of(page_size, stem);
    // A string that goes on is another stem.
    key.starts_with(run) && (stem.len() >= stem_length_max(page_size) || key.get(run.len()) != Some(&0xFF))
}

/// Whether the tree has an entry in the run of this stem.
fn has_run(pager: &mut Pager, root: PageId, stem: &[u8]) -> Step<bool> {
    let range = run_range(pager.page_size(), stem);
    Ok(Cursor::new(root, range, Direction::Forward).next(pager)?.is_some())
}

/// What a change did to a tree.
pub(crate) struct Changed {
    pub root: PageId,
    /// Whether the run was empty before, or is now.
    pub run_edge: bool,
}

/// Puts an entry into the tree, or does nothing when it is there.
pub(crate) fn add(pager: &mut Pager, root: PageId, stem: &[u8], document: &[u8]) -> Step<Option<Changed>> {
    let page_size = pager.page_size();
    let (key, listed) = place_of(page_size, stem, document);
    if !listed && !root.is_none() {
        let path = btree::descend(pager, root, &key)?;
        if path.is_found() {
            return Ok(None);
        }
        // Keys of a run stand side by side, so mostly the leaf tells.
        let has_run = match path.any_beside(pager, |key| is_in_run(page_size, stem, key))? {
            Some(has_run) => has_run,
            None => has_run(pager, root, stem)?,
        };
        let (root, _) = btree::insert_at(pager, root, path, &key, &[])?;
        return Ok(Some(Changed { root, run_edge: !has_run }));
    }
    let run_edge = !has_run(pager, root, stem)?;
    let stored = if run_edge { None } else { btree::get(pager, root, &key)? };
    let mut value = Vec::new();
    if listed {
        if let Some(stored) = &stored {
            if documents_of(stored)?.contains(&document) {
                return Ok(None);
            }
            value.extend_from_slice(stored);
        }
        write_bytes(&mut value, document);
    } else if stored.is_some() {
        return Ok(None);
    }
    drop(stored);
    let (root, _) = btree::insert(pager, root, &key, &value)?;
    Ok(Some(Changed { root, run_edge }))
}

/// Takes an entry out of the tree, in two steps that may each miss: the second tells whether the run is empty now.
pub(crate) fn remove(pager: &mut Pager, root: PageId, stem: &[u8], document: &[u8]) -> Step<Option<PageId>> {
    let (key, listed) = place_of(pager.page_size(), stem, document);
    if listed {
        let Some(stored) = btree::get(pager, root, &key)? else {
            return Ok(None);
        };
        let documents = documents_of(&stored)?;
        let mut value = Vec::with_capacity(stored.len());
        for kept in documents.iter().filter(|kept| **kept != document) {
            write_bytes(&mut value, kept);
        }
        if value.len() == stored.len() {
            return Ok(None);
        }
        if !value.is_empty() {
            drop(stored);
            return Ok(Some(btree::insert(pager, root, &key, &value)?.0));
        }
    }
    btree::remove(pager, root, &key)
}

/// Whether nothing is left in the run of this stem.
pub(crate) fn is_run_empty(pager: &mut Pager, root: PageId, stem: &[u8]) -> Step<bool> {
    Ok(!has_run(pager, root, stem)?)
}

/// The document keys of a listed entry.
fn documents_of(value: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut reader = Reader { bytes: value };
    let mut documents = Vec::new();
    while !reader.bytes.is_empty() {
        documents.push(reader.length_and_bytes().map_err(|_| damaged())?);
    }
    Ok(documents)
}

/// Whether two lists have the same documents, in any order.
pub(crate) fn same_documents(left: &[u8], right: &[u8]) -> bool {
    let sorted = |value| {
        documents_of(value).map(|mut documents: Vec<&[u8]>| {
            cu_sort::sort(&mut documents);
            documents.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
    };
    matches!((sorted(left), sorted(right)), (Ok(left), Ok(right)) if left == right)
}

fn damaged() -> Error {
    Error::CorruptRecord("index entry")
}

/// The keys of an entry's documents.
pub(crate) enum Documents<K> {
    One(K),
    Listed(Vec<K>),
}

impl<K> Documents<K> {
    pub fn as_slice(&self) -> &[K] {
        match self {
            Documents::One(key) => std::slice::from_ref(key),
            Documents::Listed(keys) => keys,
        }
    }

    /// Puts them behind others.
    pub fn append_to(self, keys: &mut Vec<K>) {
        match self {
            Documents::One(key) => keys.push(key),
            Documents::Listed(mut listed) => keys.append(&mut listed),
        }
    }
}

impl Documents<&[u8]> {
    pub fn to_owned(&self) -> Documents<Vec<u8>> {
        match self {
            Documents::One(key) => Documents::One(key.to_vec()),
            Documents::Listed(keys) => Documents::Listed(keys.iter().map(|key| key.to_vec()).collect()),
        }
    }
}

/// An entry of the tree, taken apart.
pub(crate) struct IndexEntry<'a> {
    /// What its run has in common.
    pub run: &'a [u8],
    /// The whole stem; `None` when it was cut.
    pub stem: Option<&'a [u8]>,
    /// The documents, one unless listed.
    pub documents: Documents<&'a [u8]>,
}

impl<'a> IndexEntry<'a> {
    pub fn read(definition: &IndexDefinition, page_size: usize, entry: &'a Entry) -> Result<IndexEntry<'a>, Error> {
        IndexEntry::of(definition, page_size, entry.key(), &entry.value)
    }

    pub fn of(
        definition: &IndexDefinition,
        page_size: usize,
        key: &'a [u8],
        value: &'a [u8],
    ) -> Result<IndexEntry<'a>, Error> {
        if value.is_empty() {
            let length = definition.stem_length(key).ok_or_else(damaged)?;
            let (stem, document) = key.split_at(length);
            return Ok(IndexEntry {
                run: run_of(page_size, stem),
                stem: Some(stem),
                documents: Documents::One(document),
            });
        }
        let length = key.len().checked_sub(LISTED_TAIL).ok_or_else(damaged)?;
        let run = &key[..length];
        let stem = (length < stem_length_max(page_size)).then_some(run);
        Ok(IndexEntry { run, stem, documents: Documents::Listed(documents_of(value)?) })
    }
}

/// All entries of an index that is being built, in one piece of memory: sorting moves places only.
pub(crate) struct Gathered {
    page_size: usize,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where an entry lies in the bytes: the tree's key, of which the first part is its run, then the document if it is listed.
#[derive(Clone, Copy)]
struct Place {
    /// The key's first bytes as a number, which is mostly enough to compare.
    first: u64,
    start: usize,
    run: u32,
    key: u32,
    document: u32,
}

impl Gathered {
    pub fn new(page_size: usize) -> Gathered {
        Gathered { page_size, bytes: Vec::new(), places: Vec::new() }
    }

    /// Pairs so far.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Adds a stem of a document.
    pub fn push(&mut self, stem: &[u8], document: &[u8]) {
        let start = self.bytes.len();
        let run = run_of(self.page_size, stem).len() as u32;
        let length = stem.len() + document.len();
        let is_alone = length <= page::key_length_max(self.page_size);
        let (key, listed) = if is_alone {
            self.bytes.extend_from_slice(stem);
            (length, 0)
        } else {
            let (key, _) = place_of(self.page_size, stem, document);
            self.bytes.extend_from_slice(&key);
            (key.len(), document.len())
        };
        self.bytes.extend_from_slice(document);
        let first = lead(&self.bytes[start..start + key]).swap_bytes();
        self.places.push(Place { first, start, run, key: key as u32, document: listed as u32 });
    }

    /// Puts the entries in order. Documents of one list keep theirs.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |place: &Place| &bytes[place.start..place.start + place.key as usize];
        self.places.sort_by(|left, right| left.first.cmp(&right.first).then_with(|| key(left).cmp(key(right))));
    }

    /// Hands some entries to `take`, from a place on: each entry's run, key and value. Gives the place behind them.
    pub fn each(&self, from: usize, count: usize, mut take: impl FnMut(&[u8], &[u8], &[u8])) -> usize {
        let mut at = from;
        let mut value = Vec::new();
        let end = self.places.len();
        while at < end && at - from < count {
            let (run, key, document) = self.parts(at);
            at += 1;
            if document.is_empty() {
                take(run, key, &[]);
                continue;
            }
            value.clear();
            write_bytes(&mut value, document);
            while at < end && self.parts(at).1 == key {
                write_bytes(&mut value, self.parts(at).2);
                at += 1;
            }
            take(run, key, &value);
        }
        at
    }

    fn parts(&self, at: usize) -> (&[u8], &[u8], &[u8]) {
        let Place { start, run, key, document, .. } = self.places[at];
        let (key, rest) = self.bytes[start..].split_at(key as usize);
        (&key[..run as usize], key, &rest[..document as usize])
    }
}
