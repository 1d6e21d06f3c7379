//! The two records outside pages: the root record, which a checkpoint writes, and the log record, which a commit appends.
//!
//! Root record: `CuDB`, u32 format version, u32 page size, u64 sequence, u32 first unused page number, u32 first
//! free-list page, u32 root of the catalog, u64 XXH64 of all before; little endian.
//!
//! Log record: u8 format version, varint sequence, the changes, u64 XXH64 of all before. A change is a tag byte and its
//! fields (numbers as varints, bytes with their length in front). Changes say what was stored, not how it was computed,
//! so that replaying them needs nothing else.

use xxhash_rust::xxh64::xxh64;

use crate::document::{Document, write_bytes, write_varint};
use crate::error::{Error, Result};
use crate::index::{IndexDefinition, IndexKind};
use crate::page::{PAGE_SIZE_MAX, PAGE_SIZE_MIN, PageId};
use crate::reader::Reader;

/// The version this code writes, and the newest it reads.
///
/// Version 1 had definitions of indexes without their trees; such indexes are built when the database is opened.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: &[u8; 4] = b"CuDB";
const ROOT_LENGTH: usize = 40;

/// Most pages a database opens with; far below the point where page numbers run out.
const PAGES_MAX: u32 = 1 << 31;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootRecord {
    pub page_size: usize,
    pub sequence: u64,
    pub next: u32,
    pub free_list: PageId,
    pub catalog: PageId,
}

impl RootRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.page_size as u32).to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.free_list.0.to_le_bytes());
        out.extend_from_slice(&self.catalog.0.to_le_bytes());
        seal(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<RootRecord> {
        if bytes.len() < 8 || &bytes[..4] != MAGIC {
            return Err(Error::CorruptRecord("root record"));
        }
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        check_version(word(4))?;
        if bytes.len() != ROOT_LENGTH || unseal(bytes).is_none() {
            return Err(Error::CorruptRecord("root record"));
        }
        let page_size = word(8) as usize;
        let next = word(20);
        if !(PAGE_SIZE_MIN..=PAGE_SIZE_MAX).contains(&page_size) || !(1..=PAGES_MAX).contains(&next) {
            return Err(Error::CorruptRecord("root record"));
        }
        Ok(RootRecord {
            page_size,
            sequence: u64::from(word(12)) | u64::from(word(16)) << 32,
            next,
            free_list: PageId(word(24)),
            catalog: PageId(word(28)),
        })
    }
}

fn check_version(found: u32) -> Result<()> {
    if found > FORMAT_VERSION {
        return Err(Error::NewerVersion { found, supported: FORMAT_VERSION });
    }
    Ok(())
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let checksum = xxh64(&out, 0);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
    (checksum == xxh64(content, 0).to_le_bytes()).then_some(content)
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    CreateCollection {
        collection: u32,
        name: &'a str,
    },
    Put {
        collection: u32,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        collection: u32,
        key: &'a [u8],
    },
    /// Builds the index over what is there; one of the same name goes.
    CreateIndex {
        collection: u32,
        definition: IndexDefinition,
    },
    DropIndex {
        collection: u32,
        name: &'a str,
    },
    /// The schema's encoding; nil takes the schema away.
    SetSchema {
        collection: u32,
        schema: &'a [u8],
    },
    /// Removes a Collection with all that is in it.
    DropCollection {
        collection: u32,
    },
}

impl Change<'_> {
    /// The number of the Collection that it is about.
    pub fn collection(&self) -> u32 {
        match *self {
            Change::CreateCollection { collection, .. }
            | Change::Put { collection, .. }
            | Change::Delete { collection, .. }
            | Change::CreateIndex { collection, .. }
            | Change::DropIndex { collection, .. }
            | Change::SetSchema { collection, .. }
            | Change::DropCollection { collection } => collection,
        }
    }

    /// About how many bytes it takes in the log; what is always short counts as nothing.
    pub fn bytes(&self) -> usize {
        match self {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Delete { key, .. } => key.len(),
            Change::SetSchema { schema, .. } => schema.len(),
            _ => 0,
        }
    }
}

/// Collects the changes of a transaction.
#[derive(Debug, Default)]
pub(crate) struct LogWriter {
    /// Behind room for the record's head, once there are any: the record is made in place.
    changes: Vec<u8>,
    /// What carrying them out again costs beyond their bytes, in bytes.
    weight: usize,
}

/// A version, and a number as varint.
const HEAD_ROOM: usize = 11;

impl LogWriter {
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    pub fn bytes(&self) -> usize {
        self.changes.len().saturating_sub(HEAD_ROOM)
    }

    /// What carrying them out again costs, in bytes.
    pub fn weight(&self) -> usize {
        self.weight + self.bytes()
    }

    pub fn add_weight(&mut self, weight: usize) {
        self.weight += weight;
    }

    /// Forgets the changes behind the first so many bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.changes.truncate(HEAD_ROOM + bytes);
    }

    /// Puts another transaction's changes behind these.
    pub fn append(&mut self, other: LogWriter) {
        self.weight += other.weight;
        if self.changes.is_empty() {
            self.changes = other.changes;
        } else {
            self.changes.extend_from_slice(other.changes.get(HEAD_ROOM..).unwrap_or_default());
        }
    }

    pub fn push(&mut self, change: &Change<'_>) {
        let out = &mut self.changes;
        if out.is_empty() {
            out.resize(HEAD_ROOM, 0);
        }
        let mut head = |tag: u8, collection: u32| {
            out.push(tag);
            write_varint(out, u64::from(collection));
        };
        match change {
            &Change::CreateCollection { collection, name } => {
                head(1, collection);
                write_bytes(out, name.as_bytes());
            }
            &Change::Put { collection, key, value } => {
                head(2, collection);
                write_bytes(out, key);
                write_bytes(out, value);
            }
            &Change::Delete { collection, key } => {
                head(3, collection);
                write_bytes(out, key);
            }
            Change::CreateIndex { collection, definition } => {
                head(6, *collection);
                // Names and flags encode without fail.
                let encoded = definition.to_document().encode().unwrap_or_default();
                write_bytes(out, &encoded);
            }
            &Change::DropIndex { collection, name } => {
                head(5, collection);
                write_bytes(out, name.as_bytes());
            }
            &Change::SetSchema { collection, schema } => {
                head(7, collection);
                write_bytes(out, schema);
            }
            &Change::DropCollection { collection } => head(8, collection),
        }
    }

    /// The record to append.
    pub fn finish(self, sequence: u64) -> Vec<u8> {
        let mut head = vec![FORMAT_VERSION as u8];
        write_varint(&mut head, sequence);
        let mut out = self.changes;
        out.splice(..HEAD_ROOM.min(out.len()), head);
        seal(out)
    }
}

/// Reads the changes of a log record in turn.
pub(crate) struct LogReader<'a> {
    pub sequence: u64,
    changes: Reader<'a>,
}

impl<'a> LogReader<'a> {
    pub fn new(record: &'a [u8]) -> Result<LogReader<'a>> {
        check_version(u32::from(*record.first().ok_or_else(damaged)?))?;
        let mut changes = Reader { bytes: &unseal(record).ok_or_else(damaged)?[1..] };
        let sequence = changes.varint().map_err(|_| damaged())?;
        Ok(LogReader { sequence, changes })
    }

    pub fn next(&mut self) -> Result<Option<Change<'a>>> {
        if self.changes.bytes.is_empty() {
            return Ok(None);
        }
        self.change().map(Some).map_err(|_| damaged())
    }

    fn change(&mut self) -> Result<Change<'a>> {
        let reader = &mut self.changes;
        let tag = reader.byte()?;
        let collection = u32::try_from(reader.varint()?).map_err(|_| damaged())?;
        Ok(match tag {
            1 => Change::CreateCollection { collection, name: text(reader)? },
            2 => Change::Put { collection, key: reader.length_and_bytes()?, value: reader.length_and_bytes()? },
            3 => Change::Delete { collection, key: reader.length_and_bytes()? },
            // Of version 1.
            4 => {
                let kind = IndexKind::from_number(reader.byte()?).ok_or_else(damaged)?;
                Change::CreateIndex { collection, definition: IndexDefinition::new(&[text(reader)?], kind) }
            }
            5 => Change::DropIndex { collection, name: text(reader)? },
            6 => {
                let definition = Document::decode(reader.length_and_bytes()?)?;
                Change::CreateIndex { collection, definition: IndexDefinition::from_document(&definition)? }
            }
            7 => Change::SetSchema { collection, schema: reader.length_and_bytes()? },
            8 => Change::DropCollection { collection },
            _ => return Err(damaged()),
        })
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str> {
    std::str::from_utf8(reader.length_and_bytes()?).map_err(|_| damaged())
}

fn damaged() -> Error {
    Error::CorruptRecord("log record")
}
