//! Export and import: everything in a database as a stream of bytes, and back. Two forms, one content.
//!
//! JSON Lines, for people and other programs; each line is one object (documents as `json.rs` writes them):
//!
//! ```text
//! {"cu":"export","version":1}
//! {"collection":"users","indexes":[{"name":…,"fields":[…],"kind":…}],"schema":…}
//! {"key":"alice","value":{"name":"Alice"}}           documents of the collection named last
//! {"documents":1}                                    how many there were in all; the last line
//! ```
//!
//! Binary, smaller and faster: `CuEX`, a version byte, then frames. A frame is a tag byte, a varint length, so many bytes, and
//! u64 XXH64 of them, little endian. Tag 1 is a collection (an encoded document with the fields above), tag 2 documents
//! (encoded key and document in turn, each with a varint length in front), tag 3 the end (a varint, how many documents).
//!
//! An importer takes either, in pieces of any size. Documents go in piece by piece over what is there; indexes are built when
//! their Collection is complete. A stream without its end is an error; what came before it is in the database.

use xxhash_rust::xxh64::xxh64;

use crate::catalog::CollectionState;
use crate::control::Control;
use crate::cursor::{Direction, Entry, KeyRange};
use crate::database::Database;
use crate::document::{Document, Encoded, write_bytes, write_varint};
use crate::error::{Error, Result};
use crate::index::IndexDefinition;
use crate::json::{from_json, to_json};
use crate::key::{decode_key, encode_key};
use crate::reader::Reader;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    JsonLines,
    /// Frames with checksums.
    Binary,
}

const MAGIC: &[u8; 4] = b"CuEX";
const VERSION: u8 = 1;

const COLLECTION: u8 = 1;
const DOCUMENTS: u8 = 2;
const END: u8 = 3;

/// Bytes that are gathered before they are written or stored.
const PIECE_BYTES: usize = 256 << 10;

/// Longest frame or line that an importer takes.
const PIECE_BYTES_MAX: usize = 1 << 31;

impl Database {
    /// Writes everything, as it is at this moment, to `write`. Returns how many documents there were. Progress counts
    /// documents.
    pub async fn export(
        &self,
        format: ExportFormat,
        control: &Control,
        mut write: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let view = self.engine().view().await?;
        let total: u64 = view.catalog.user_collections().map(|state| state.count).sum();
        match format {
            ExportFormat::JsonLines => write(b"{\"cu\":\"export\",\"version\":1}\n")?,
            ExportFormat::Binary => write(&[MAGIC.as_slice(), &[VERSION]].concat())?,
        }
        let mut done = 0;
        for state in view.catalog.user_collections() {
            let head = describe(state);
            match format {
                ExportFormat::JsonLines => write((to_json(&head) + "\n").as_bytes())?,
                ExportFormat::Binary => write(&frame(COLLECTION, &head.encode()?))?,
            }
            let mut piece = Vec::new();
            let visit = |entry: &Entry| {
                done += 1;
                match format {
                    ExportFormat::JsonLines => {
                        let row = [("key", decode_key(entry.key())?), ("value", Document::decode(&entry.value)?)];
                        piece.extend_from_slice(to_json(&Document::map(row)).as_bytes());
                        piece.push(b'\n');
                    }
                    ExportFormat::Binary => {
                        write_bytes(&mut piece, entry.key());
                        write_bytes(&mut piece, &entry.value);
                    }
                }
                if piece.len() >= PIECE_BYTES {
                    write_piece(format, &mut piece, &mut write)?;
                    control.report(done, total)?;
                }
                Ok(true)
            };
            self.engine().scan(view.generation, state.root, KeyRange::ALL, Direction::Forward, visit).await?;
            write_piece(format, &mut piece, &mut write)?;
        }
        match format {
            ExportFormat::JsonLines => write(format!("{{\"documents\":{done}}}\n").as_bytes())?,
            ExportFormat::Binary => {
                let mut count = Vec::new();
                write_varint(&mut count, done);
                write(&frame(END, &count))?;
            }
        }
        control.report(done, total)?;
        Ok(done)
    }

    /// An import into this database, to be fed.
    pub fn import(&self) -> Importer {
        Importer {
            database: self.clone(),
            format: None,
            buffer: Vec::new(),
            collection: None,
            documents: Vec::new(),
            document_bytes: 0,
            count: 0,
            is_complete: false,
        }
    }
}

fn describe(state: &CollectionState) -> Document {
    let indexes = state.indexes.iter().map(|index| index.definition.to_document()).collect();
    let mut head = vec![("collection", Document::text(&state.name)), ("indexes", Document::Array(indexes))];
    if let Some(schema) = &state.schema {
        head.push(("schema", schema.source().clone()));
    }
    Document::map(head)
}

fn frame(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    write_bytes(&mut out, content);
    out.extend_from_slice(&xxh64(content, u64::from(tag)).to_le_bytes());
    out
}

fn write_piece(format: ExportFormat, piece: &mut Vec<u8>, write: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    match format {
        _ if piece.is_empty() => {}
        ExportFormat::JsonLines => write(piece)?,
        ExportFormat::Binary => write(&frame(DOCUMENTS, piece))?,
    }
    piece.clear();
    Ok(())
}

/// An import under way.
pub struct Importer {
    database: Database,
    /// Known from the first bytes.
    format: Option<ExportFormat>,
    /// What has come and is not yet a whole line or frame.
    buffer: Vec<u8>,
    collection: Option<Head>,
    documents: Vec<(Document, Encoded)>,
    document_bytes: usize,
    count: u64,
    is_complete: bool,
}

struct Head {
    name: String,
    indexes: Vec<IndexDefinition>,
}

fn damaged(reason: &str) -> Error {
    Error::invalid("import", reason)
}

impl Importer {
    /// Takes the next bytes.
    pub async fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.format.is_none() {
            if self.buffer.len() < MAGIC.len() + 1 {
                return Ok(());
            }
            self.format = Some(if self.buffer.starts_with(MAGIC) {
                let found = self.buffer[MAGIC.len()];
                if found != VERSION {
                    return Err(Error::NewerVersion { found: found.into(), supported: VERSION.into() });
                }
                self.buffer.drain(..=MAGIC.len());
                ExportFormat::Binary
            } else {
                ExportFormat::JsonLines
            });
        }
        // Bytes are taken from the front once for each call, not once for each line.
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.as_slice();
        loop {
            let taken = match self.format {
                Some(ExportFormat::Binary) => self.take_frame(&mut rest).await?,
                _ => self.take_line(&mut rest).await?,
            };
            if !taken {
                break;
            }
        }
        if rest.len() > PIECE_BYTES_MAX {
            return Err(damaged("a piece is too long"));
        }
        self.buffer = rest.to_vec();
        Ok(())
    }

    /// Stores what is left and tells how many documents came.
    pub async fn finish(mut self) -> Result<u64> {
        if self.format == Some(ExportFormat::JsonLines) && !self.buffer.is_empty() {
            self.feed(b"\n").await?;
        }
        if !self.buffer.is_empty() || !self.is_complete {
            return Err(damaged("the stream ends too early"));
        }
        Ok(self.count)
    }

    async fn take_line(&mut self, rest: &mut &[u8]) -> Result<bool> {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(false);
        };
        let (line, after) = rest.split_at(end);
        *rest = &after[1..];
        let line = std::str::from_utf8(line).map_err(|_| damaged("a line is no UTF-8"))?.trim();
        if line.is_empty() {
            return Ok(true);
        }
        let line = from_json(line)?;
        match (line.get("key"), line.get("value"), line.get("collection"), line.get("documents"), line.get("cu")) {
            (Some(key), Some(value), ..) => self.add(key.clone(), Encoded::try_from(value)?).await?,
            (_, _, Some(_), ..) => self.begin(&line).await?,
            (_, _, _, Some(Document::Integer(count)), _) => self.end(u64::try_from(*count).ok()).await?,
            (_, _, _, _, Some(_)) => match line.get("version") {
                Some(Document::Integer(found)) if *found > i64::from(VERSION) => {
                    let found = u32::try_from(*found).unwrap_or(u32::MAX);
                    return Err(Error::NewerVersion { found, supported: VERSION.into() });
                }
                _ => {}
            },
            _ => return Err(damaged("a line is neither a collection nor a document")),
        }
        Ok(true)
    }

    async fn take_frame(&mut self, rest: &mut &[u8]) -> Result<bool> {
        let mut reader = Reader { bytes: rest };
        let (Ok(tag), Ok(length)) = (reader.byte(), reader.varint()) else {
            return if rest.len() > 11 { Err(damaged("a frame has no length")) } else { Ok(false) };
        };
        if length > PIECE_BYTES_MAX as u64 {
            return Err(damaged("a frame is too long"));
        }
        let (Ok(content), Ok(checksum)) = (reader.take(length), reader.take(8)) else {
            return Ok(false);
        };
        if xxh64(content, u64::from(tag)).to_le_bytes() != *checksum {
            return Err(damaged("a frame's checksum is wrong"));
        }
        *rest = reader.bytes;
        let mut reader = Reader { bytes: content };
        match tag {
            COLLECTION => self.begin(&Document::decode(content)?).await?,
            DOCUMENTS => {
                while !reader.bytes.is_empty() {
                    let key = decode_key(reader.length_and_bytes()?)?;
                    let value = Encoded::from_bytes(reader.length_and_bytes()?.to_vec())?;
                    self.add(key, value).await?;
                }
            }
            END => self.end(Some(reader.varint()?)).await?,
            _ => return Err(damaged("a frame of unknown kind")),
        }
        Ok(true)
    }

    /// Begins a Collection: its schema first, so that documents are checked.
    async fn begin(&mut self, head: &Document) -> Result<()> {
        self.complete().await?;
        let name =
            head.get("collection").and_then(Document::as_text).ok_or_else(|| damaged("a collection has no name"))?;
        let indexes = match head.get("indexes") {
            Some(Document::Array(indexes)) => {
                indexes.iter().map(IndexDefinition::from_document).collect::<Result<Vec<_>>>()?
            }
            _ => Vec::new(),
        };
        self.database.set_schema(name, head.get("schema").unwrap_or(&Document::Nil)).await?;
        self.collection = Some(Head { name: name.to_owned(), indexes });
        Ok(())
    }

    async fn add(&mut self, key: Document, value: Encoded) -> Result<()> {
        if self.is_complete || self.collection.is_none() {
            return Err(damaged("a document outside a collection"));
        }
        self.document_bytes += value.as_bytes().len() + 32;
        self.documents.push((key, value));
        if self.document_bytes >= PIECE_BYTES { self.store().await } else { Ok(()) }
    }

    async fn store(&mut self) -> Result<()> {
        let Some(head) = &self.collection else {
            return Ok(());
        };
        let documents = std::mem::take(&mut self.documents);
        self.document_bytes = 0;
        self.count += documents.len() as u64;
        self.database
            .transaction(async |transaction| {
                for (key, value) in &documents {
                    transaction.set_encoded(&head.name, &encode_key(key)?, value).await?;
                }
                Ok(())
            })
            .await
    }

    /// Ends the Collection under way.
    async fn complete(&mut self) -> Result<()> {
        self.store().await?;
        if let Some(head) = self.collection.take() {
            for index in &head.indexes {
                self.database.create_index(&head.name, index).await?;
            }
        }
        Ok(())
    }

    async fn end(&mut self, count: Option<u64>) -> Result<()> {
        self.complete().await?;
        if count != Some(self.count) {
            return Err(damaged("documents are missing"));
        }
        self.is_complete = true;
        Ok(())
    }
}
