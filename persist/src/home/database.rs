//! `_home` in a Collection of a database, for hosts whose store answers at once. One commit is one transaction.

use std::collections::HashMap;
use std::rc::Rc;

use cu_storage::{Database, Document, ScanOptions, block_on};
use cu_vm::Vm;

use super::record::ROOT;
use super::{Changes, Home, HomeOptions, Records};
use crate::error::{CorruptKind, Error, Result};

/// The Collection that holds the records.
pub const HOME_COLLECTION: &str = "_home";

/// The kind of a document's blob that is a record of `_home`.
pub const HOME_BLOB: u8 = 2;

/// `_home` of a VM, kept in a database. The backend must be one whose futures are ready at once: a file, memory.
pub struct StoredHome {
    home: Home,
    database: Rc<Database>,
}

struct Reader(Rc<Database>);

impl Records for Reader {
    fn read(&self, number: u64) -> Result<Option<Vec<u8>>> {
        let document = block_on(self.0.get(HOME_COLLECTION, &key(number))).map_err(storage)?;
        document.map(record_of).transpose()
    }
}

impl StoredHome {
    /// Gives a VM what the database holds of `_home`; see [`Home::attach`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn attach(vm: &Vm, database: Rc<Database>, options: HomeOptions) -> Result<StoredHome> {
        let home = Home::attach(vm, Rc::new(Reader(database.clone())), options)?;
        Ok(StoredHome { home, database })
    }

    /// Stores what has changed, and gives how many records that took. Records that nothing refers to any more are removed when there
    /// may be many.
    ///
    /// # Errors
    ///
    /// Those of [`Home::changes`]; [`Error::Storage`]: nothing is stored, and another try may be made. [`Error::HomeConflict`].
    pub fn commit(&self, vm: &Vm) -> Result<usize> {
        let changes = self.home.changes(vm)?;
        self.write(&changes, &[])?;
        self.home.confirm(vm, &changes);
        if self.home.wants_sweep() {
            self.sweep(vm)?;
        }
        Ok(changes.puts.len())
    }

    /// See [`Home::close`].
    pub fn close(&self, vm: &Vm, is_closed: bool) {
        self.home.close(vm, is_closed);
    }

    /// In place of [`Self::commit`], after a run that may not change what is stored: undoes what it has changed.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] if there was something to undo; else as [`Self::roll_back`].
    pub fn refuse_changes(&self, vm: &Vm) -> Result<()> {
        self.home.close(vm, false);
        let changes = self.home.changes(vm)?;
        if changes.puts.is_empty() {
            self.home.confirm(vm, &changes);
            return Ok(());
        }
        self.home.roll_back(vm)?;
        Err(Error::Denied { table: HOME_COLLECTION.to_owned() })
    }

    /// See [`Home::roll_back`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn roll_back(&self, vm: &Vm) -> Result<()> {
        self.home.roll_back(vm)
    }

    /// Removes the records that nothing refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], [`Error::Corrupt`], [`Error::HomeConflict`].
    pub fn sweep(&self, vm: &Vm) -> Result<usize> {
        let rows = block_on(self.database.scan(HOME_COLLECTION, &ScanOptions::default())).map_err(storage)?;
        let mut stored = HashMap::new();
        for row in rows {
            if let Document::Integer(number) = row.key {
                stored.insert(number as u64, record_of(row.value.decode().map_err(storage)?)?);
            }
        }
        let (garbage, root) = self.home.garbage(vm, &stored)?;
        self.write(&root, &garbage)?;
        self.home.confirm_root(&root);
        Ok(garbage.len())
    }

    fn write(&self, changes: &Changes, garbage: &[u64]) -> Result<()> {
        if changes.puts.is_empty() {
            return Ok(());
        }
        let expected = self.home.stored_root();
        let written = block_on(self.database.transaction(async |transaction| {
            let root = transaction.get(HOME_COLLECTION, &key(ROOT)).await?;
            let found = root.map_or(Some(Vec::new()), |root| record_of(root).ok());
            if found.as_ref() != Some(&expected) {
                return Ok(false);
            }
            for (number, record) in &changes.puts {
                let document = Document::Blob { kind: HOME_BLOB, bytes: record.clone() };
                transaction.set(HOME_COLLECTION, &key(*number), &document).await?;
            }
            for number in garbage {
                transaction.delete(HOME_COLLECTION, &key(*number)).await?;
            }
            Ok(true)
        }));
        if written.map_err(storage)? { Ok(()) } else { Err(Error::HomeConflict) }
    }
}

fn key(number: u64) -> Document {
    Document::Integer(number as i64)
}

fn record_of(document: Document) -> Result<Vec<u8>> {
    match document {
        Document::Blob { kind: HOME_BLOB, bytes } => Ok(bytes),
        _ => Err(Error::corrupt(CorruptKind::BlobKind, 0)),
    }
}

fn storage(error: cu_storage::Error) -> Error {
    Error::Storage { reason: error.to_string() }
}
