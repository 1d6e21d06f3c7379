//! The database of `--db`.

use std::path::Path;

use cu_storage::{Database, FileBackend, Options, block_on};

use crate::error::Error;

/// Opens the database in a file, or creates it.
pub fn open(path: &Path) -> Result<Database, Error> {
    FileBackend::open(path)
        .and_then(|backend| block_on(Database::open(backend, Options::default())))
        .map_err(|source| Error::Database { path: path.to_owned(), source })
}

/// Closes a database after everything was stored.
pub fn close(database: &Database) -> Result<(), Error> {
    block_on(database.close()).map_err(|error| Error::Command(format!("cannot close the database: {error}")))
}
