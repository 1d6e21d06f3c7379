//! The catalog: which Collections there are, where their trees are, and what indexes they define. It is in memory as a
//! whole; a checkpoint writes the changed entries to the catalog's own tree, under the Collection's number.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::btree;
use crate::document::{Document, Encoded};
use crate::error::{Error, Result, Step};
use crate::page::PageId;
use crate::pager::Pager;
use crate::record::Change;

/// How an index finds its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// Ordered: equality, ranges, prefixes, sorting.
    Btree,
    /// Equality only.
    Hash,
}

/// A stored wish for an index. Queries are answered by scan for now, and their plan says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    /// Path of the indexed field.
    pub field: String,
    /// How it finds its entries.
    pub kind: IndexKind,
}

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

    pub(crate) fn number(self) -> u8 {
        match self {
            IndexKind::Btree => 1,
            IndexKind::Hash => 2,
        }
    }

    fn from_number(number: u8) -> Option<IndexKind> {
        match number {
            1 => Some(IndexKind::Btree),
            2 => Some(IndexKind::Hash),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct CollectionState {
    pub id: u32,
    pub name: String,
    pub root: PageId,
    pub count: u64,
    pub indexes: Vec<IndexDefinition>,
    /// Not yet as the catalog's tree has it.
    pub changed: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    by_id: BTreeMap<u32, Rc<CollectionState>>,
    by_name: BTreeMap<String, u32>,
}

impl Catalog {
    pub fn find(&self, name: &str) -> Option<&Rc<CollectionState>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    pub fn collections(&self) -> impl Iterator<Item = &Rc<CollectionState>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// The number of the next new Collection.
    pub fn next_id(&self) -> u32 {
        self.by_id.keys().next_back().map_or(1, |id| id + 1)
    }

    fn add(&mut self, state: CollectionState) {
        self.by_name.insert(state.name.clone(), state.id);
        self.by_id.insert(state.id, Rc::new(state));
    }

    fn state_mut(&mut self, id: u32) -> Result<&mut CollectionState> {
        let state = self.by_id.get_mut(&id).ok_or(Error::CorruptRecord("unknown collection number"))?;
        let state = Rc::make_mut(state);
        state.changed = true;
        Ok(state)
    }

    /// Carries a change out. Says whether a deleted entry was there.
    pub fn apply(&mut self, pager: &mut Pager, change: &Change<'_>) -> Step<bool> {
        match *change {
            Change::CreateCollection { collection, name } => {
                if self.by_id.contains_key(&collection) || self.by_name.contains_key(name) {
                    return Err(Error::CorruptRecord("collection created twice").into());
                }
                self.add(CollectionState {
                    id: collection,
                    name: name.to_owned(),
                    root: PageId::NONE,
                    count: 0,
                    indexes: Vec::new(),
                    changed: true,
                });
                Ok(true)
            }
            Change::Put { collection, key, value } => {
                btree::check_entry(pager.page_size(), key, value)?;
                let state = self.state_mut(collection)?;
                let (root, new) = btree::insert(pager, state.root, key, value)?;
                state.root = root;
                state.count += u64::from(new);
                Ok(true)
            }
            Change::Delete { collection, key } => {
                let state = self.state_mut(collection)?;
                let Some(root) = btree::remove(pager, state.root, key)? else {
                    return Ok(false);
                };
                state.root = root;
                state.count = state.count.saturating_sub(1);
                Ok(true)
            }
            Change::CreateIndex { collection, field, kind } => {
                let kind = IndexKind::from_number(kind).ok_or(Error::CorruptRecord("unknown index kind"))?;
                let state = self.state_mut(collection)?;
                state.indexes.retain(|index| index.field != field);
                state.indexes.push(IndexDefinition { field: field.to_owned(), kind });
                Ok(true)
            }
            Change::DropIndex { collection, field } => {
                let state = self.state_mut(collection)?;
                let before = state.indexes.len();
                state.indexes.retain(|index| index.field != field);
                Ok(state.indexes.len() < before)
            }
        }
    }

    /// Numbers of the Collections whose entries a checkpoint has to write.
    pub fn changed_ids(&self) -> Vec<u32> {
        self.by_id.values().filter(|state| state.changed).map(|state| state.id).collect()
    }

    /// Writes one entry to the catalog's tree. Returns the tree's new root.
    pub fn store_entry(&mut self, pager: &mut Pager, root: PageId, id: u32) -> Step<PageId> {
        let state = self.state_mut(id)?;
        let entry = state.encode()?;
        let (root, _) = btree::insert(pager, root, &id.to_be_bytes(), entry.as_bytes())?;
        state.changed = false;
        Ok(root)
    }

    /// Takes over an entry of the catalog's tree.
    pub fn load_entry(&mut self, key: &[u8], entry: &[u8]) -> Result<()> {
        let state = CollectionState::decode(key, entry).ok_or(Error::CorruptRecord("catalog entry"))?;
        self.add(state);
        Ok(())
    }
}

impl CollectionState {
    fn encode(&self) -> Result<Encoded> {
        let indexes = self
            .indexes
            .iter()
            .map(|index| {
                Document::Array(vec![Document::text(&index.field), Document::Integer(index.kind.number().into())])
            })
            .collect();
        Encoded::try_from(&Document::map([
            ("name", Document::text(&self.name)),
            ("root", Document::Integer(self.root.0.into())),
            ("count", Document::Integer(self.count as i64)),
            ("indexes", Document::Array(indexes)),
        ]))
    }

    fn decode(key: &[u8], entry: &[u8]) -> Option<CollectionState> {
        let entry = Document::decode(entry).ok()?;
        let integer = |name: &str| match entry.get(name) {
            Some(Document::Integer(value)) => u64::try_from(*value).ok(),
            _ => None,
        };
        let mut indexes = Vec::new();
        if let Some(Document::Array(stored)) = entry.get("indexes") {
            for index in stored {
                let Document::Array(parts) = index else {
                    return None;
                };
                let [field, Document::Integer(kind)] = parts.as_slice() else {
                    return None;
                };
                indexes.push(IndexDefinition {
                    field: field.as_text()?.to_owned(),
                    kind: IndexKind::from_number(u8::try_from(*kind).ok()?)?,
                });
            }
        }
        Some(CollectionState {
            id: u32::from_be_bytes(key.try_into().ok()?),
            name: entry.get("name")?.as_text()?.to_owned(),
            root: PageId(u32::try_from(integer("root")?).ok()?),
            count: integer("count")?,
            indexes,
            changed: false,
        })
    }
}
