//! The catalog: which Collections there are, where their trees are, and what indexes they have. It is in memory as a
//! whole; a checkpoint writes the changed entries to the catalog's own tree, under the Collection's number.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::btree;
use crate::document::{Document, Encoded};
use crate::error::{Error, Result, Step};
use crate::index::{IndexDefinition, IndexKind, IndexState};
use crate::migrate::is_own;
use crate::page::PageId;
use crate::pager::Pager;
use crate::schema::Schema;

#[derive(Debug, Clone)]
pub(crate) struct CollectionState {
    pub id: u32,
    pub name: String,
    pub root: PageId,
    pub count: u64,
    pub indexes: Vec<IndexState>,
    pub schema: Option<Rc<Schema>>,
    /// Counts the changes since this process has read the Collection.
    pub version: u64,
    /// Counts the changes to its indexes.
    pub shape: u64,
    /// Not yet as the catalog's tree has it.
    pub changed: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    by_id: BTreeMap<u32, Rc<CollectionState>>,
    by_name: BTreeMap<String, u32>,
    /// Numbers of Collections that are gone and whose entries a checkpoint has to remove.
    dropped: Vec<u32>,
    /// The version that a new Collection begins with: above all that one of the same number has had.
    version: u64,
}

impl Catalog {
    pub fn find(&self, name: &str) -> Option<&Rc<CollectionState>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// Those that are the user's.
    pub fn user_collections(&self) -> impl Iterator<Item = &Rc<CollectionState>> {
        self.collections().filter(|state| !is_own(&state.name))
    }

    pub fn collections(&self) -> impl Iterator<Item = &Rc<CollectionState>> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// The number of the next new Collection.
    pub fn next_id(&self) -> u32 {
        self.by_id.keys().next_back().map_or(1, |id| id + 1)
    }

    /// Adds an empty Collection.
    pub fn create(&mut self, id: u32, name: &str) -> Result<()> {
        if self.by_name.contains_key(name) || self.by_id.contains_key(&id) {
            return Err(Error::CorruptRecord("a collection is created twice"));
        }
        self.add(CollectionState {
            id,
            name: name.to_owned(),
            root: PageId::NONE,
            count: 0,
            indexes: Vec::new(),
            schema: None,
            version: self.version,
            shape: 0,
            changed: true,
        });
        Ok(())
    }

    /// Makes the next checkpoint write every entry, into a new tree.
    pub fn change_all(&mut self) {
        self.dropped.clear();
        for state in self.by_id.values_mut() {
            Rc::make_mut(state).changed = true;
        }
    }

    /// Forgets a Collection.
    pub fn remove(&mut self, id: u32) {
        if let Some(state) = self.by_id.remove(&id) {
            self.by_name.remove(&state.name);
            self.version = self.version.max(state.version + 1);
            self.dropped.push(id);
        }
    }

    fn add(&mut self, state: CollectionState) {
        self.by_name.insert(state.name.clone(), state.id);
        self.by_id.insert(state.id, Rc::new(state));
    }

    pub fn state(&self, id: u32) -> Result<&Rc<CollectionState>> {
        self.by_id.get(&id).ok_or(Error::CorruptRecord("unknown collection number"))
    }

    pub fn state_mut(&mut self, id: u32) -> Result<&mut CollectionState> {
        let state = self.by_id.get_mut(&id).ok_or(Error::CorruptRecord("unknown collection number"))?;
        let state = Rc::make_mut(state);
        state.changed = true;
        state.version += 1;
        Ok(state)
    }

    /// Numbers of the Collections whose entries a checkpoint has to write.
    pub fn changed_ids(&self) -> Vec<u32> {
        self.by_id.values().filter(|state| state.changed).map(|state| state.id).collect()
    }

    /// Numbers of the Collections whose entries a checkpoint has to remove.
    pub fn dropped_ids(&self) -> Vec<u32> {
        self.dropped.clone()
    }

    /// Removes one entry from the catalog's tree. Returns the tree's new root.
    pub fn remove_entry(&mut self, pager: &mut Pager, root: PageId, id: u32) -> Step<PageId> {
        let removed = btree::remove(pager, root, &id.to_be_bytes())?;
        self.dropped.retain(|dropped| *dropped != id);
        // A Collection that came and went between two checkpoints has no entry.
        Ok(removed.unwrap_or(root))
    }

    /// Writes one entry to the catalog's tree. Returns the tree's new root.
    pub fn store_entry(&mut self, pager: &mut Pager, root: PageId, id: u32) -> Step<PageId> {
        let entry = self.state(id)?.encode()?;
        let (root, _) = btree::insert(pager, root, &id.to_be_bytes(), entry.as_bytes())?;
        if let Some(state) = self.by_id.get_mut(&id) {
            Rc::make_mut(state).changed = false;
        }
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
    pub fn index(&self, name: &str) -> Option<usize> {
        self.indexes.iter().position(|index| index.definition.name == name)
    }

    fn encode(&self) -> Result<Encoded> {
        let indexes = self.indexes.iter().map(encode_index).collect();
        let mut entries = vec![
            ("name", Document::text(&self.name)),
            ("root", Document::Integer(self.root.0.into())),
            ("count", Document::Integer(self.count as i64)),
            ("indexes", Document::Array(indexes)),
        ];
        if let Some(schema) = &self.schema {
            entries.push(("schema", schema.source().clone()));
        }
        Encoded::try_from(&Document::map(entries))
    }

    fn decode(key: &[u8], entry: &[u8]) -> Option<CollectionState> {
        let entry = Document::decode(entry).ok()?;
        let mut indexes = Vec::new();
        if let Some(Document::Array(stored)) = entry.get("indexes") {
            for index in stored {
                indexes.push(decode_index(index)?);
            }
        }
        let schema = match entry.get("schema") {
            Some(schema) => Some(Rc::new(Schema::new(schema.clone()).ok()?)),
            None => None,
        };
        Some(CollectionState {
            id: u32::from_be_bytes(key.try_into().ok()?),
            name: entry.get("name")?.as_text()?.to_owned(),
            root: page_of(&entry)?,
            count: number_of(&entry, "count")?,
            indexes,
            schema,
            version: 0,
            shape: 0,
            changed: false,
        })
    }
}

fn encode_index(index: &IndexState) -> Document {
    let mut document = index.definition.to_document();
    if let Document::Map(entries) = &mut document {
        let numbers = [
            ("root", i64::from(index.root.0)),
            ("entries", index.entries as i64),
            ("distinct", index.distinct as i64),
            ("built", index.built.into()),
        ];
        entries.extend(numbers.map(|(name, number)| (Document::text(name), Document::Integer(number))));
    }
    document
}

fn decode_index(index: &Document) -> Option<IndexState> {
    // Version 1 has a field and a kind, and no tree.
    if let Document::Array(parts) = index {
        let [field, Document::Integer(kind)] = parts.as_slice() else {
            return None;
        };
        let kind = IndexKind::from_number(u8::try_from(*kind).ok()?)?;
        return Some(IndexState::new(IndexDefinition::new(&[field.as_text()?], kind)));
    }
    Some(IndexState {
        definition: IndexDefinition::from_document(index).ok()?,
        root: page_of(index)?,
        entries: number_of(index, "entries")?,
        distinct: number_of(index, "distinct")?,
        built: number_of(index, "built")? == 1,
    })
}

fn number_of(entry: &Document, name: &str) -> Option<u64> {
    match entry.get(name) {
        Some(Document::Integer(value)) => u64::try_from(*value).ok(),
        _ => None,
    }
}

fn page_of(entry: &Document) -> Option<PageId> {
    Some(PageId(u32::try_from(number_of(entry, "root")?).ok()?))
}
