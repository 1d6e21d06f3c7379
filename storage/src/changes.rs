//! The change log: which documents each transaction has added, changed or removed, in order, for whoever follows the database
//! from outside (synchronisation, audit). Off unless switched on, for the whole database.
//!
//! It is a Collection of its own, written in the same transaction as the changes, so that it is as durable and atomic as they
//! are. Under the key 0 is its head; under number · 2²⁴ + position is one change. Transactions are numbered from 1 in the
//! order of their commits, which go out together at times and so share one record of the backend's log: the numbers are
//! the change log's own. A change that was undone by a savepoint leaves a gap in the positions.
//!
//! When it is longer than its policy allows, whole transactions are removed from its start, never the newest one.

use std::ops::Bound;

use crate::catalog::CollectionState;
use crate::cursor::{Direction, Entry, KeyRange};
use crate::database::Database;
use crate::document::{Document, DocumentRef, Encoded};
use crate::engine::View;
use crate::error::{Error, Result};
use crate::key::{decode_key, encode_key};
use crate::record::Change;
use crate::transaction::Transaction;

/// The Collection that holds the log. Nothing else can write to it.
pub(crate) const CHANGES: &str = "$changes";

/// Entries that are read at a time to be removed.
const ENTRIES_PER_STEP: usize = 256;

/// Changes under one number. A transaction with more goes on under the next one.
const POSITIONS: u64 = 1 << 24;

/// How much the change log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangePolicy {
    /// Changes kept at most.
    pub count_max: u64,
    /// Bytes of keys and entries kept at most.
    pub bytes_max: u64,
    /// Whether the new documents are kept too.
    pub values: bool,
}

impl Default for ChangePolicy {
    fn default() -> ChangePolicy {
        ChangePolicy { count_max: 100_000, bytes_max: 16 << 20, values: false }
    }
}

/// What a transaction did to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// There was none under the key.
    Added,
    /// It took the place of another, or the same again.
    Changed,
    /// It is gone.
    Removed,
    /// The whole Collection is gone; the key is nil.
    Dropped,
}

const KINDS: [(&str, ChangeKind); 4] = [
    ("added", ChangeKind::Added),
    ("changed", ChangeKind::Changed),
    ("removed", ChangeKind::Removed),
    ("dropped", ChangeKind::Dropped),
];

impl ChangeKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].0
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedChange {
    /// The number of the transaction.
    pub number: u64,
    /// The Collection's name.
    pub collection: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The document's key.
    pub key: Document,
    /// The new document, when the policy keeps it.
    pub value: Option<Encoded>,
}

/// What is under the key 0.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// `None` when the log is off.
    policy: Option<ChangePolicy>,
    /// The number of the oldest transaction that is kept.
    first: u64,
    /// The number of the next transaction.
    next: u64,
    bytes: u64,
}

/// What a transaction has written to the log so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    head: Head,
    position: u64,
}

impl Head {
    fn decode(bytes: &[u8]) -> Result<Head> {
        let document = Document::decode(bytes)?;
        let Document::Array(parts) = &document else { return Err(damaged()) };
        let numbers: Vec<u64> = parts.iter().map(number_of).collect::<Result<_>>()?;
        match numbers[..] {
            [on, count_max, bytes_max, values, first, next, bytes] => Ok(Head {
                policy: (on == 1).then_some(ChangePolicy { count_max, bytes_max, values: values == 1 }),
                first,
                next,
                bytes,
            }),
            _ => Err(damaged()),
        }
    }

    fn encode(&self) -> Result<Encoded> {
        let ChangePolicy { count_max, bytes_max, values } = self.policy.unwrap_or_default();
        let on = self.policy.is_some().into();
        let numbers = [on, count_max, bytes_max, values.into(), self.first, self.next, self.bytes];
        Encoded::try_from(&Document::Array(numbers.into_iter().map(integer).collect()))
    }
}

fn integer(number: u64) -> Document {
    Document::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn number_of(document: &Document) -> Result<u64> {
    match document {
        Document::Integer(number) => u64::try_from(*number).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

fn damaged() -> Error {
    Error::CorruptRecord("change log")
}

fn head_key() -> Result<Vec<u8>> {
    encode_key(&Document::Integer(0))
}

fn entry_key(number: u64, position: u64) -> Result<Vec<u8>> {
    encode_key(&integer(number.saturating_mul(POSITIONS).saturating_add(position)))
}

/// The entries from a transaction on.
fn entries_from(number: u64) -> Result<KeyRange> {
    Ok(KeyRange { from: Bound::Included(entry_key(number, 0)?), to: Bound::Unbounded })
}

fn transaction_of(key: &[u8]) -> Result<u64> {
    Ok(number_of(&decode_key(key)?)? / POSITIONS)
}

fn read_entry(entry: &Entry) -> Result<LoggedChange> {
    let document = DocumentRef::new(&entry.value);
    let field = |name: &str| match document.field(name)? {
        Some(field) => field.decode(),
        None => Ok(Document::Nil),
    };
    let kind = usize::try_from(number_of(&field("kind")?)?).ok().and_then(|kind| KINDS.get(kind));
    Ok(LoggedChange {
        number: transaction_of(entry.key())?,
        collection: field("table")?.as_text().ok_or_else(damaged)?.to_owned(),
        kind: kind.ok_or_else(damaged)?.1,
        key: field("key")?,
        value: document.field("value")?.map(DocumentRef::to_encoded).transpose()?,
    })
}

impl Database {
    /// Switches the change log on, with a policy that takes effect with the next commit, or off, which forgets what it holds.
    /// Numbers go on where they were when it is switched on again.
    pub async fn set_change_log(&self, policy: Option<ChangePolicy>) -> Result<()> {
        self.transaction(async |transaction| transaction.set_change_log(policy).await).await
    }

    /// The changes of the transactions after the one with this number, in order: whole transactions until there are at least
    /// `count_min` changes. Fails with [`Error::Trimmed`] when some of them are no longer kept, and with
    /// [`Error::InvalidInput`] when the log is off.
    pub async fn changes_since(&self, number: u64, count_min: usize) -> Result<Vec<LoggedChange>> {
        self.engine()
            .read(async |view: &View| {
                let off = || Error::invalid("changes", "are not logged");
                let state = view.catalog.find(CHANGES).ok_or_else(off)?;
                let head = self.engine().get(view.generation, state.root, &head_key()?).await?;
                let head = Head::decode(&head.ok_or_else(damaged)?)?;
                head.policy.ok_or_else(off)?;
                if number.saturating_add(1) < head.first {
                    return Err(Error::Trimmed { first: head.first });
                }
                let mut changes: Vec<LoggedChange> = Vec::new();
                let range = entries_from(number.saturating_add(1))?;
                let visit = |entry: &Entry| {
                    let change = read_entry(entry)?;
                    let is_next = changes.last().is_some_and(|last| last.number != change.number);
                    if is_next && changes.len() >= count_min {
                        return Ok(false);
                    }
                    changes.push(change);
                    Ok(true)
                };
                self.engine().scan(view.generation, state.root, range, Direction::Forward, visit).await?;
                Ok(changes)
            })
            .await
    }
}

impl Transaction {
    /// See [`Database::set_change_log`].
    pub async fn set_change_log(&mut self, policy: Option<ChangePolicy>) -> Result<()> {
        self.check_whole()?;
        let head = match self.catalog().find(CHANGES) {
            Some(state) => self.read_head(&state.clone()).await?,
            None if policy.is_none() => return Ok(()),
            None => {
                let change = Change::CreateCollection { collection: self.catalog().next_id(), name: CHANGES };
                self.carry_out(&change).await?;
                Head { policy, first: 1, next: 1, bytes: 0 }
            }
        };
        self.noted = None;
        let mut head = Head { policy, ..head };
        if policy.is_none() {
            let nothing = Some(ChangePolicy { count_max: 0, bytes_max: 0, values: false });
            self.trim(&mut Head { policy: nothing, ..head }, u64::MAX).await?;
            head = Head { first: head.next, bytes: 0, ..head };
        }
        self.store_head(&head).await
    }

    async fn read_head(&mut self, state: &CollectionState) -> Result<Head> {
        let head = self.read_tree(state.root, &head_key()?).await?;
        Head::decode(&head.ok_or_else(damaged)?)
    }

    async fn store_head(&mut self, head: &Head) -> Result<()> {
        self.note_put(&head_key()?, head.encode()?.as_bytes()).await
    }

    async fn note_put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let collection = self.catalog().find(CHANGES).ok_or_else(damaged)?.id;
        self.carry_out(&Change::Put { collection, key, value }).await.map(drop)
    }

    /// Puts a change that was carried out into the log, if it is on. `count` is how many documents there were before.
    pub(crate) async fn note(&mut self, change: &Change<'_>, name: &str, count: u64) -> Result<()> {
        let Some(log) = self.catalog().find(CHANGES).cloned() else { return Ok(()) };
        let is_added = |state: &CollectionState| state.count > count;
        let state = self.catalog().state(change.collection()).ok();
        let (kind, key, value) = match change {
            Change::Put { key, value, .. } if state.is_some_and(|state| is_added(state)) => {
                (ChangeKind::Added, *key, Some(*value))
            }
            Change::Put { key, value, .. } => (ChangeKind::Changed, *key, Some(*value)),
            Change::Delete { key, .. } => (ChangeKind::Removed, *key, None),
            Change::DropCollection { .. } => (ChangeKind::Dropped, [].as_slice(), None),
            _ => return Ok(()),
        };
        let mut noted = match self.noted {
            Some(noted) => noted,
            None => Noted { head: self.read_head(&log).await?, position: 0 },
        };
        self.noted = Some(noted);
        let Some(policy) = noted.head.policy else { return Ok(()) };
        let mut fields = vec![("table", Document::text(name)), ("kind", Document::Integer(kind as i64))];
        if kind != ChangeKind::Dropped {
            fields.push(("key", decode_key(key)?));
        }
        if let Some(value) = value.filter(|_| policy.values) {
            fields.push(("value", Document::decode(value)?));
        }
        let value = Document::map(fields).encode()?;
        if noted.position == POSITIONS {
            noted.head.next += 1;
            noted.position = 0;
        }
        let key = entry_key(noted.head.next, noted.position)?;
        self.note_put(&key, &value).await?;
        noted.position += 1;
        noted.head.bytes += (key.len() + value.len()) as u64;
        self.noted = Some(noted);
        Ok(())
    }

    /// Brings the log's head up to date and cuts its start off, before a commit.
    pub(crate) async fn finish_changes(&mut self) -> Result<()> {
        let Some(Noted { mut head, position: 1.. }) = self.noted.take() else { return Ok(()) };
        let own = head.next;
        head.next += 1;
        self.trim(&mut head, own).await?;
        self.store_head(&head).await
    }

    /// Removes whole transactions from the start until the rest is short enough, none from `end` on.
    async fn trim(&mut self, head: &mut Head, end: u64) -> Result<()> {
        let Some(policy) = head.policy else { return Ok(()) };
        let fits = |count: u64, bytes: u64| count <= policy.count_max && bytes <= policy.bytes_max;
        let mut state = self.catalog().find(CHANGES).ok_or_else(damaged)?.clone();
        // One is the head.
        let mut count = state.count.saturating_sub(1);
        if fits(count, head.bytes) {
            return Ok(());
        }
        loop {
            state = self.catalog().state(state.id)?.clone();
            let mut oldest: Vec<(Vec<u8>, usize)> = Vec::new();
            let visit = |entry: &Entry| {
                oldest.push((entry.key().to_vec(), entry.key().len() + entry.value.len()));
                Ok(oldest.len() < ENTRIES_PER_STEP)
            };
            self.scan_tree(state.root, entries_from(1)?, visit).await?;
            if oldest.is_empty() {
                return Ok(());
            }
            for (key, bytes) in oldest {
                let number = transaction_of(&key)?;
                if number != head.first && (number >= end || fits(count, head.bytes)) {
                    head.first = number;
                    return Ok(());
                }
                if number >= end {
                    return Ok(());
                }
                head.first = number;
                self.carry_out(&Change::Delete { collection: state.id, key: &key }).await?;
                count = count.saturating_sub(1);
                head.bytes = head.bytes.saturating_sub(bytes as u64);
            }
        }
    }
}
