//! Transactions: one writer, its own writes visible to itself alone until `commit` has stored them.

use std::ops::Bound;
use std::rc::Rc;

use crate::apply::{Means, apply, weight};
use crate::catalog::{Catalog, CollectionState};
use crate::changes::{CHANGES, Noted};
use crate::commit;
use crate::control::Control;
use crate::cursor::{Direction, Entry, KeyRange};
use crate::database::encode_bound;
use crate::document::{Document, Encoded};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::gate::{Gate, Turn};
use crate::index::IndexDefinition;
use crate::key::encode_key;
use crate::migrate::is_own;
use crate::operation::{self, Operation, Outcome};
use crate::page::PageId;
use crate::query::{Query, QueryResult};
use crate::record::{Change, LogWriter};
use crate::schema::Schema;

/// A writing transaction. Others cannot write until it is committed, rolled back or dropped; dropping rolls back.
///
/// An operation that fails leaves nothing behind, and the transaction can go on, unless it was interrupted by the backend.
pub struct Transaction {
    engine: Rc<Engine>,
    /// Given up when the transaction is done, before it is durable.
    turn: Option<Turn>,
    /// The state the transaction sees: what was committed before, with its own changes.
    catalog: Catalog,
    log: LogWriter,
    /// Of the state it began with. No view is held: while it has the turn, nobody frees pages of that state.
    generation: u64,
    /// States to go back to. Each has a layer of pages above it.
    savepoints: Vec<Saved>,
    savepoints_made: u64,
    finished: bool,
    /// Set while a change is half done; when it stays set, the changes so far are no whole.
    broken: bool,
    control: Control,
    /// What it has written to the change log.
    pub(crate) noted: Option<Noted>,
    /// Whether the data is known to be none too new to be written.
    pub(crate) version_checked: bool,
}

/// A state of a transaction that it can go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint(u64);

struct Saved {
    number: u64,
    catalog: Catalog,
    log_bytes: usize,
    noted: Option<Noted>,
}

impl Transaction {
    pub(crate) async fn begin(engine: Rc<Engine>, control: &Control) -> Result<Transaction> {
        let turn = Gate::enter(&engine.writer).await;
        engine.finish_loading(&turn).await?;
        let stale = engine.core.borrow().stale;
        if stale {
            engine.catch_up(&turn).await?;
        }
        if engine.checkpoint_overdue() {
            // Nothing depends on it; a failure is kept in the statistics.
            let _ = engine.checkpoint(&turn).await;
        }
        let (catalog, generation) = {
            let mut core = engine.core.borrow_mut();
            core.check_open()?;
            core.reclaim();
            core.pager.push_layer();
            let head = engine.commits.head().unwrap_or_else(|| core.catalog.clone());
            ((*head).clone(), core.generation())
        };
        Ok(Transaction {
            catalog,
            engine,
            turn: Some(turn),
            log: LogWriter::default(),
            generation,
            savepoints: Vec::new(),
            savepoints_made: 0,
            finished: false,
            broken: false,
            control: control.clone(),
            noted: None,
            version_checked: false,
        })
    }

    /// Makes all changes durable and visible. Commits of one connection that wait for the backend together go out together.
    ///
    /// Fails with [`Error::Conflict`] when another connection has committed meanwhile, or when a commit just before this one
    /// failed; nothing is stored then, and a new transaction sees the other's changes. A caller that stops waiting leaves
    /// it open whether the changes become durable; they do as a whole or not at all.
    pub async fn commit(mut self) -> Result<()> {
        self.check_whole()?;
        if self.log.is_empty() {
            return Ok(());
        }
        self.finish_changes().await?;
        {
            let mut core = self.engine.core.borrow_mut();
            core.check(self.generation)?;
            let below = core.pager.layer_count() - self.layers();
            core.pager.merge_layers(below + 1);
        }
        let catalog = Rc::new(std::mem::take(&mut self.catalog));
        let ticket = self.engine.commits.push(std::mem::take(&mut self.log), catalog);
        self.finished = true;
        self.turn = None;
        let result = commit::wait(&self.engine, ticket).await;
        let stale = self.engine.core.borrow().stale;
        if (stale || self.engine.checkpoint_due())
            && let Some(turn) = Gate::try_enter(&self.engine.writer)
        {
            if stale {
                let caught_up = self.engine.catch_up(&turn).await;
                if result == Err(Error::Conflict) {
                    caught_up?;
                }
            } else {
                // The commit is durable already; a failure here is kept in the statistics and tried again.
                let _ = self.engine.checkpoint(&turn).await;
            }
        }
        result
    }

    /// Drops all changes.
    pub fn rollback(self) {}

    /// Bytes of log so far.
    pub(crate) fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// Layers of pages that are this transaction's.
    fn layers(&self) -> usize {
        1 + self.savepoints.len()
    }

    fn undo(&mut self) {
        if !self.finished {
            self.finished = true;
            let mut core = self.engine.core.borrow_mut();
            // Otherwise its layers are gone already.
            if core.generation() == self.generation {
                let below = core.pager.layer_count() - self.layers();
                core.pager.drop_layers(below);
            }
        }
    }

    /// Marks the present state, to go back to it.
    pub fn savepoint(&mut self) -> Result<Savepoint> {
        self.check_whole()?;
        self.engine.core.borrow_mut().check(self.generation)?;
        self.savepoints_made += 1;
        self.savepoints.push(Saved {
            number: self.savepoints_made,
            catalog: self.catalog.clone(),
            log_bytes: self.log.bytes(),
            noted: self.noted,
        });
        self.engine.core.borrow_mut().pager.push_layer();
        Ok(Savepoint(self.savepoints_made))
    }

    /// Undoes what was done since a savepoint, which is used up by it, as are later ones. Also mends a transaction that
    /// was interrupted since.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        let position = self.position_of(savepoint)?;
        let mut core = self.engine.core.borrow_mut();
        core.check(self.generation)?;
        let count = core.pager.layer_count() - (self.savepoints.len() - position);
        core.pager.drop_layers(count);
        drop(core);
        if let Some(saved) = self.savepoints.drain(position..).next() {
            self.catalog = saved.catalog;
            self.log.truncate(saved.log_bytes);
            self.noted = saved.noted;
        }
        self.broken = false;
        Ok(())
    }

    /// Gives a savepoint and all later ones up; their changes stay.
    pub fn release(&mut self, savepoint: Savepoint) -> Result<()> {
        let position = self.position_of(savepoint)?;
        let mut core = self.engine.core.borrow_mut();
        core.check(self.generation)?;
        let count = core.pager.layer_count() - (self.savepoints.len() - position);
        core.pager.merge_layers(count);
        drop(core);
        self.savepoints.truncate(position);
        Ok(())
    }

    fn position_of(&self, savepoint: Savepoint) -> Result<usize> {
        let found = self.savepoints.iter().position(|saved| saved.number == savepoint.0);
        found.ok_or_else(|| Error::invalid("savepoint", "is used up"))
    }

    /// Runs one operation. In its error nothing is wrapped; a batch adds the position.
    pub async fn run(&mut self, operation: &Operation) -> Result<Outcome> {
        operation::run(self, operation).await
    }

    /// The document under a key.
    pub async fn get(&mut self, collection: &str, key: &Document) -> Result<Option<Document>> {
        let key = encode_key(key)?;
        match self.get_encoded(collection, &key).await? {
            Some(value) => Ok(Some(value.decode()?)),
            None => Ok(None),
        }
    }

    /// Stores a document under a key, creating the Collection when there is none of that name.
    pub async fn set(&mut self, collection: &str, key: &Document, value: &Document) -> Result<()> {
        let value = Encoded::try_from(value)?;
        self.set_encoded(collection, &encode_key(key)?, &value).await
    }

    /// Removes a key; says whether it was there.
    pub async fn delete(&mut self, collection: &str, key: &Document) -> Result<bool> {
        self.delete_encoded(collection, &encode_key(key)?).await
    }

    /// Runs a query over the state with this transaction's changes.
    pub async fn query(&mut self, query: &Query) -> Result<QueryResult> {
        let state = self.catalog.find(&query.collection).cloned();
        crate::query::run(&self.engine, self.generation, state.as_deref(), query).await
    }

    pub(crate) async fn get_encoded(&mut self, collection: &str, key: &[u8]) -> Result<Option<Encoded>> {
        let Some(state) = self.catalog.find(collection) else {
            return Ok(None);
        };
        let value = self.engine.get(self.generation, state.root, key).await?;
        Ok(value.map(Encoded::trusted))
    }

    pub(crate) async fn set_encoded(&mut self, collection: &str, key: &[u8], value: &Encoded) -> Result<()> {
        let page_size = self.engine.core.borrow().pager.page_size();
        crate::btree::check_entry(page_size, key, value.as_bytes())?;
        let collection = {
            let state = self.collection(collection).await?;
            if let Some(schema) = &state.schema {
                schema.check(&value.decode()?, &self.engine.options.matcher)?;
            }
            state.id
        };
        self.apply(&Change::Put { collection, key, value: value.as_bytes() }).await?;
        Ok(())
    }

    pub(crate) async fn delete_encoded(&mut self, collection: &str, key: &[u8]) -> Result<bool> {
        let Some(state) = self.catalog.find(collection) else {
            return Ok(false);
        };
        let collection = state.id;
        self.apply(&Change::Delete { collection, key }).await
    }

    /// Builds an index over what is there, in place of one of the same name, creating the Collection when there is none.
    /// Says whether anything changed. Fails with [`Error::Duplicate`] when documents agree under a unique index.
    pub async fn create_index(&mut self, collection: &str, definition: &IndexDefinition) -> Result<bool> {
        definition.check()?;
        let state = self.collection(collection).await?;
        if state.indexes.iter().any(|index| index.built && index.definition == *definition) {
            return Ok(false);
        }
        let collection = state.id;
        self.apply(&Change::CreateIndex { collection, definition: definition.clone() }).await
    }

    /// Gives a Collection a schema, in place of the one it has, creating the Collection when there is none; nil takes it
    /// away. See the crate's documentation for the keywords. Fails with [`Error::Schema`] when a stored document is not valid.
    pub async fn set_schema(&mut self, collection: &str, schema: &Document) -> Result<()> {
        let state = self.collection(collection).await?;
        if *schema != Document::Nil {
            let schema = Schema::new(schema.clone())?;
            let matcher = &self.engine.options.matcher;
            let mut invalid = None;
            let visit = |entry: &Entry| {
                let document = Document::decode(&entry.value)?;
                invalid = schema.check(&document, matcher).err();
                Ok(invalid.is_none())
            };
            self.engine.scan(self.generation, state.root, KeyRange::ALL, Direction::Forward, visit).await?;
            if let Some(invalid) = invalid {
                return Err(invalid);
            }
        }
        self.apply(&Change::SetSchema { collection: state.id, schema: &schema.encode()? }).await.map(drop)
    }

    /// Removes a Collection with its documents, indexes and schema; says whether there was one.
    pub async fn drop_collection(&mut self, collection: &str) -> Result<bool> {
        let Some(state) = self.catalog.find(collection) else {
            return Ok(false);
        };
        let collection = state.id;
        self.apply(&Change::DropCollection { collection }).await
    }

    /// Removes all documents between two keys; says how many.
    pub async fn delete_range(&mut self, collection: &str, from: Bound<Document>, to: Bound<Document>) -> Result<u64> {
        let Some(state) = self.catalog.find(collection).cloned() else {
            return Ok(0);
        };
        let range = KeyRange { from: encode_bound(&from)?, to: encode_bound(&to)? };
        let mut count = 0;
        loop {
            // Some at a time, so that the keys of a large range do not lie in memory together.
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let visit = |entry: &Entry| {
                keys.push(entry.key().to_vec());
                Ok(keys.len() < KEYS_PER_STEP)
            };
            let root = self.catalog.state(state.id)?.root;
            self.engine.scan(self.generation, root, range.clone(), Direction::Forward, visit).await?;
            for key in &keys {
                self.apply(&Change::Delete { collection: state.id, key }).await?;
            }
            count += keys.len() as u64;
            if keys.len() < KEYS_PER_STEP {
                return Ok(count);
            }
        }
    }

    /// Removes an index by name; says whether there was one.
    pub async fn drop_index(&mut self, collection: &str, name: &str) -> Result<bool> {
        let Some(state) = self.catalog.find(collection) else {
            return Ok(false);
        };
        let collection = state.id;
        self.apply(&Change::DropIndex { collection, name }).await
    }

    /// Builds the indexes that a database of an older format only names.
    pub(crate) async fn build_missing_indexes(&mut self) -> Result<()> {
        let missing: Vec<(u32, IndexDefinition)> = self
            .catalog
            .collections()
            .flat_map(|state| state.indexes.iter().map(|index| (state.id, index)))
            .filter(|(_, index)| !index.built)
            .map(|(collection, index)| (collection, index.definition.clone()))
            .collect();
        for (collection, definition) in missing {
            self.apply(&Change::CreateIndex { collection, definition }).await?;
        }
        Ok(())
    }

    /// The Collection of this name, created when there is none.
    async fn collection(&mut self, name: &str) -> Result<Rc<CollectionState>> {
        check_name("table", name)?;
        if is_own(name) {
            return Err(own_collection());
        }
        if self.catalog.find(name).is_none() {
            let collection = self.catalog.next_id();
            self.apply(&Change::CreateCollection { collection, name }).await?;
        }
        self.catalog.find(name).cloned().ok_or(Error::CorruptRecord("collection"))
    }

    /// Carries a change out and notes it in the change log, when that is on.
    async fn apply(&mut self, change: &Change<'_>) -> Result<bool> {
        self.check_whole()?;
        // Held no longer than needed: a state that somebody else holds is copied when it changes.
        let mut noted = None;
        if let Ok(state) = self.catalog.state(change.collection()) {
            if is_own(&state.name) {
                return Err(own_collection());
            }
            if self.catalog.find(CHANGES).is_some() {
                noted = Some((state.name.clone(), state.count));
            }
        }
        let changed = self.carry_out(change).await?;
        if changed && let Some((name, count)) = noted {
            // The change without its note is half done.
            self.broken = true;
            self.note(change, &name, count).await?;
            self.broken = false;
        }
        Ok(changed)
    }

    /// The newest version of data that the program knows, if it has said so.
    pub(crate) fn known_version(&self) -> Option<u64> {
        self.engine.version.get()
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The value under a key of a tree.
    pub(crate) async fn read_tree(&self, root: PageId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.engine.get(self.generation, root, key).await
    }

    /// Passes a tree's entries in order until `visit` returns `false`.
    pub(crate) async fn scan_tree(
        &self,
        root: PageId,
        range: KeyRange,
        visit: impl FnMut(&Entry) -> Result<bool>,
    ) -> Result<()> {
        self.engine.scan(self.generation, root, range, Direction::Forward, visit).await
    }

    /// Carries a change out and notes it for the backend's log, when it changes anything.
    pub(crate) async fn carry_out(&mut self, change: &Change<'_>) -> Result<bool> {
        self.check_version().await?;
        self.check_size(change)?;
        let mut means = Means {
            engine: &self.engine,
            generation: self.generation,
            catalog: &mut self.catalog,
            broken: &mut self.broken,
            control: &self.control,
        };
        let changed = apply(&mut means, change).await?;
        if changed {
            self.log.push(change);
            self.log.add_weight(weight(&self.catalog, change));
        }
        Ok(changed)
    }

    fn check_size(&self, change: &Change<'_>) -> Result<()> {
        let longest = self.engine.options.transaction_bytes_max;
        if self.log.bytes().saturating_add(change.bytes()) > longest {
            return Err(Error::invalid(
                "transaction",
                format!("has more changes than fit into {longest} bytes; store them in several transactions"),
            ));
        }
        Ok(())
    }

    pub(crate) fn check_whole(&self) -> Result<()> {
        self.control.check()?;
        if self.broken { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.undo();
    }
}

fn own_collection() -> Error {
    Error::invalid("table", "is the database's own")
}

/// Keys that a removal of many reads ahead.
const KEYS_PER_STEP: usize = 1000;

const NAME_LENGTH_MAX: usize = 1024;

fn check_name(argument: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_LENGTH_MAX {
        return Err(Error::invalid(argument, format!("must have 1 to {NAME_LENGTH_MAX} bytes")));
    }
    Ok(())
}
