//! The file backend: one redb file; atomicity and durability are redb's. Native only.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use crate::backend::{Backend, BackendFuture, Checkpoint, Stored};
use crate::error::{Error, Result};
use crate::page::PageId;

const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const ROOT: TableDefinition<(), &[u8]> = TableDefinition::new("root");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const PAGES: TableDefinition<u32, &[u8]> = TableDefinition::new("pages");

const CHECKPOINT: &str = "checkpoint";
const SEQUENCE: &str = "sequence";

/// A store in a file. One process opens it at a time.
pub struct FileBackend {
    database: redb::Database,
}

impl FileBackend {
    /// Opens the file, or creates it.
    pub fn open(path: impl AsRef<Path>) -> Result<FileBackend> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(redb::DatabaseError::from).map_err(failure)?;
        FileBackend::over(redb::backends::FileBackend::new(file).map_err(failure)?)
    }

    /// Opens a store over redb's own interface to a disk, for instance a simulated one.
    pub fn over(disk: impl redb::StorageBackend) -> Result<FileBackend> {
        // redb's own cache would hold the same pages as the engine's.
        let builder = redb::Builder::new().set_cache_size(1 << 20).create_with_backend(Lengthened(disk));
        FileBackend::prepare(builder.map_err(failure)?)
    }

    fn prepare(database: redb::Database) -> Result<FileBackend> {
        let write = database.begin_write().map_err(failure)?;
        write.open_table(COUNTERS).map_err(failure)?;
        write.open_table(ROOT).map_err(failure)?;
        write.open_table(LOG).map_err(failure)?;
        write.open_table(PAGES).map_err(failure)?;
        write.commit().map_err(failure)?;
        Ok(FileBackend { database })
    }

    fn load_now(&self, after: u64) -> Result<Stored> {
        let read = self.database.begin_read().map_err(failure)?;
        let counters = read.open_table(COUNTERS).map_err(failure)?;
        let root = read.open_table(ROOT).map_err(failure)?;
        let log = read.open_table(LOG).map_err(failure)?;
        let mut records = Vec::new();
        for record in log.range(after.saturating_add(1)..).map_err(failure)? {
            records.push(record.map_err(failure)?.1.value().to_vec());
        }
        Ok(Stored {
            root: root.get(()).map_err(failure)?.map(|root| root.value().to_vec()),
            checkpoint: counter(&counters, CHECKPOINT)?,
            sequence: counter(&counters, SEQUENCE)?,
            log: records,
        })
    }

    fn read_now(&self, checkpoint: u64, pages: &[PageId]) -> Result<Vec<Option<Vec<u8>>>> {
        let read = self.database.begin_read().map_err(failure)?;
        let counters = read.open_table(COUNTERS).map_err(failure)?;
        if counter(&counters, CHECKPOINT)? != checkpoint {
            return Err(Error::Conflict);
        }
        let table = read.open_table(PAGES).map_err(failure)?;
        pages
            .iter()
            .map(|page| {
                let bytes = table.get(page.0).map_err(failure)?;
                Ok(bytes.map(|bytes| bytes.value().to_vec()))
            })
            .collect()
    }

    fn append_now(&self, expected_sequence: u64, record: &[u8]) -> Result<()> {
        let write = self.database.begin_write().map_err(failure)?;
        {
            let mut counters = write.open_table(COUNTERS).map_err(failure)?;
            if counter(&counters, SEQUENCE)? != expected_sequence {
                return Err(Error::Conflict);
            }
            let sequence = expected_sequence + 1;
            counters.insert(SEQUENCE, sequence).map_err(failure)?;
            let mut log = write.open_table(LOG).map_err(failure)?;
            log.insert(sequence, record).map_err(failure)?;
        }
        write.commit().map_err(failure)
    }

    fn checkpoint_now(&self, checkpoint: &Checkpoint) -> Result<()> {
        let write = self.database.begin_write().map_err(failure)?;
        {
            let mut counters = write.open_table(COUNTERS).map_err(failure)?;
            if counter(&counters, SEQUENCE)? != checkpoint.expected_sequence
                || counter(&counters, CHECKPOINT)? != checkpoint.expected_checkpoint
            {
                return Err(Error::Conflict);
            }
            counters.insert(CHECKPOINT, checkpoint.expected_checkpoint + 1).map_err(failure)?;
            let mut root = write.open_table(ROOT).map_err(failure)?;
            root.insert((), checkpoint.root.as_slice()).map_err(failure)?;
            let mut pages = write.open_table(PAGES).map_err(failure)?;
            for (id, bytes) in &checkpoint.pages {
                pages.insert(id.0, &**bytes).map_err(failure)?;
            }
            let mut log = write.open_table(LOG).map_err(failure)?;
            log.retain(|_, _| false).map_err(failure)?;
        }
        write.commit().map_err(failure)
    }
}

/// A disk whose length is durable before redb counts on it.
///
/// redb writes a header that tells of a longer file before it flushes, and does not open a file that is shorter than its header says. A power
/// cut may leave the header without the length.
#[derive(Debug)]
struct Lengthened<D>(D);

impl<D: redb::StorageBackend> redb::StorageBackend for Lengthened<D> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let is_longer = length > self.0.len()?;
        self.0.set_len(length)?;
        if is_longer { self.0.sync_data() } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

fn counter(table: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64> {
    Ok(table.get(name).map_err(failure)?.map_or(0, |value| value.value()))
}

/// Says what a failure of redb means to the caller.
fn failure(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Error::Quota,
        redb::Error::Corrupted(_) => Error::CorruptRecord("file"),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Error::Backend("the file is no database".to_owned())
        }
        other => Error::Backend(other.to_string()),
    }
}

impl Backend for FileBackend {
    fn load(&self, after: u64) -> BackendFuture<'_, Stored> {
        Box::pin(async move { self.load_now(after) })
    }

    fn read_pages(&self, checkpoint: u64, pages: Vec<PageId>) -> BackendFuture<'_, Vec<Option<Vec<u8>>>> {
        Box::pin(async move { self.read_now(checkpoint, &pages) })
    }

    fn append(&self, expected_sequence: u64, record: Vec<u8>) -> BackendFuture<'_, ()> {
        Box::pin(async move { self.append_now(expected_sequence, &record) })
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> BackendFuture<'_, ()> {
        Box::pin(async move { self.checkpoint_now(&checkpoint) })
    }

    fn close(&self) -> BackendFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
