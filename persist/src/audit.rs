//! The audit log: who has done what to a database, when, and how it ended. Records are only ever appended, and each holds a hash over itself and the
//! hash of the one before, so that whoever changes, removes or reorders one has to change all that follow.
//!
//! It is the Collection `_audit`. Under the key 0 is its head, `[count, hash]`; under 1, 2, … are the records:
//!
//! ```text
//! { who, operation, target, when, result, hash }
//! hash = SHA-256 of the encoded array [hash before, number, who, operation, target, when, result], in hexadecimal digits
//! ```
//!
//! `when` is milliseconds since 1970 by the host's clock; `target` any document that says what it was done to; `result` is `ok` or why not. The
//! record before the first has the hash "". `web/ts/audit.ts` writes and checks the same.
//!
//! There is no secret in it: someone who can write the whole database can also write a whole new log. That shows to those who have noted
//! an earlier head somewhere else and compare.

use std::rc::Rc;

use cu_storage::{Database, Document, ScanOptions, block_on};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The Collection that holds the log.
pub const AUDIT_COLLECTION: &str = "_audit";

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// Counted from 1.
    pub number: u64,
    /// On whose behalf.
    pub who: String,
    /// What was done.
    pub operation: String,
    /// To what.
    pub target: Document,
    /// Milliseconds since 1970.
    pub when: i64,
    /// `ok`, or why not.
    pub result: String,
    /// Over this record and the one before.
    pub hash: String,
}

/// A log that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// How many records there are.
    pub count: u64,
    /// The last one's hash; "" if there is none.
    pub hash: String,
}

/// Where a log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit log: record {number} {problem}")]
pub struct AuditFault {
    /// The first record that is not as it was written, 0 for the head.
    pub number: u64,
    /// In what way.
    pub problem: &'static str,
}

/// The log of a database whose futures are ready at once.
pub struct AuditLog {
    database: Rc<Database>,
}

impl AuditLog {
    /// The log of this database; it begins with the first record.
    pub fn new(database: Rc<Database>) -> AuditLog {
        AuditLog { database }
    }

    /// Appends a record, in a transaction of its own. Gives its number.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`], also if there is no good head to go on from.
    pub fn append(&self, who: &str, operation: &str, target: &Document, when: i64, result: &str) -> Result<u64> {
        let appended = block_on(self.database.transaction(async |transaction| {
            let head = match transaction.get(AUDIT_COLLECTION, &key(0)).await? {
                None => AuditHead { count: 0, hash: String::new() },
                Some(head) => match read_head(&head) {
                    Some(head) => head,
                    None => return Ok(None),
                },
            };
            let mut record = AuditRecord {
                number: head.count + 1,
                who: who.to_owned(),
                operation: operation.to_owned(),
                target: target.clone(),
                when,
                result: result.to_owned(),
                hash: String::new(),
            };
            record.hash = record.hash_after(&head.hash)?;
            transaction.set(AUDIT_COLLECTION, &key(record.number), &record.document()).await?;
            let head = Document::Array(vec![Document::Integer(record.number as i64), Document::text(&record.hash)]);
            transaction.set(AUDIT_COLLECTION, &key(0), &head).await?;
            Ok(Some(record.number))
        }));
        let refused = || Error::Storage { reason: "the audit log has no head to go on from".into() };
        appended.map_err(storage)?.ok_or_else(refused)
    }

    /// All records that can be read, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`].
    pub fn list(&self) -> Result<Vec<AuditRecord>> {
        let rows = self.rows()?;
        Ok(rows.iter().filter_map(|(key, bytes)| read_record(key, bytes)).collect())
    }

    /// Checks the whole log. `noted` is a head from earlier, which must be on the way.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]. What does not hold is the inner result.
    pub fn verify(&self, noted: Option<&AuditHead>) -> Result<std::result::Result<AuditHead, AuditFault>> {
        Ok(verify_rows(&self.rows()?, noted))
    }

    fn rows(&self) -> Result<Vec<(Document, Vec<u8>)>> {
        let rows = block_on(self.database.scan(AUDIT_COLLECTION, &ScanOptions::default())).map_err(storage)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value.into_bytes())).collect())
    }
}

impl AuditRecord {
    fn hash_after(&self, before: &str) -> cu_storage::Result<String> {
        let hashed = Document::Array(vec![
            Document::text(before),
            Document::Integer(self.number as i64),
            Document::text(&self.who),
            Document::text(&self.operation),
            self.target.clone(),
            Document::Integer(self.when),
            Document::text(&self.result),
        ]);
        let digest = Sha256::digest(hashed.encode()?);
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn document(&self) -> Document {
        Document::map([
            ("who", Document::text(&self.who)),
            ("operation", Document::text(&self.operation)),
            ("target", self.target.clone()),
            ("when", Document::Integer(self.when)),
            ("result", Document::text(&self.result)),
            ("hash", Document::text(&self.hash)),
        ])
    }
}

/// Checks rows in the order of their keys: all that the Collection holds, as bytes.
fn verify_rows(rows: &[(Document, Vec<u8>)], noted: Option<&AuditHead>) -> std::result::Result<AuditHead, AuditFault> {
    let fault = |number, problem| Err(AuditFault { number, problem });
    let mut rows = rows.iter().peekable();
    let head = match rows.next_if(|(key, _)| *key == Document::Integer(0)) {
        None if rows.peek().is_none() => AuditHead { count: 0, hash: String::new() },
        None => return fault(0, "is missing"),
        Some((_, bytes)) => match Document::decode(bytes).ok().and_then(|head| read_head(&head)) {
            Some(head) if encode_head(&head) == *bytes => head,
            _ => return fault(0, "is malformed"),
        },
    };
    let mut at = AuditHead { count: 0, hash: String::new() };
    let mut passed = noted.is_none_or(|noted| *noted == at);
    for (key, bytes) in rows {
        let number = at.count + 1;
        let Some(record) = read_record(key, bytes) else {
            let is_own = *key == Document::Integer(number as i64);
            return fault(number, if is_own { "is malformed" } else { "is missing" });
        };
        if record.number != number {
            return fault(number, "is missing");
        }
        let is_exact = record.document().encode().is_ok_and(|encoded| encoded == *bytes);
        if !is_exact || record.hash_after(&at.hash).ok().as_ref() != Some(&record.hash) {
            return fault(number, "does not follow from the one before");
        }
        at = AuditHead { count: number, hash: record.hash };
        passed |= noted.is_some_and(|noted| *noted == at);
    }
    match (at == head, noted) {
        (true, Some(noted)) if !passed => fault(noted.count, "is not the one that was noted"),
        (true, _) => Ok(at),
        (false, _) if at.hash == head.hash => fault(0, "does not count the records"),
        (false, _) if at.count < head.count => fault(at.count + 1, "is missing"),
        (false, _) if at.count > head.count => fault(head.count + 1, "is not counted by the head"),
        (false, _) => fault(0, "does not follow from the last one"),
    }
}

fn read_head(document: &Document) -> Option<AuditHead> {
    let Document::Array(parts) = document else { return None };
    match &parts[..] {
        [Document::Integer(count), hash] => {
            Some(AuditHead { count: u64::try_from(*count).ok()?, hash: hash.as_text()?.to_owned() })
        }
        _ => None,
    }
}

fn encode_head(head: &AuditHead) -> Vec<u8> {
    let parts = vec![Document::Integer(head.count as i64), Document::text(&head.hash)];
    Document::Array(parts).encode().unwrap_or_default()
}

fn read_record(key: &Document, bytes: &[u8]) -> Option<AuditRecord> {
    let document = Document::decode(bytes).ok()?;
    let text = |name: &str| Some(document.get(name)?.as_text()?.to_owned());
    let (Document::Integer(number @ 1..), Document::Integer(when)) = (key, document.get("when")?) else { return None };
    Some(AuditRecord {
        number: *number as u64,
        who: text("who")?,
        operation: text("operation")?,
        target: document.get("target")?.clone(),
        when: *when,
        result: text("result")?,
        hash: text("hash")?,
    })
}

fn key(number: u64) -> Document {
    Document::Integer(number as i64)
}

fn storage(error: cu_storage::Error) -> Error {
    Error::Storage { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cu_storage::{MemoryBackend, Options};

    fn log() -> AuditLog {
        let database = block_on(Database::open(MemoryBackend::new(), Options::default())).expect("it opens");
        let log = AuditLog::new(Rc::new(database));
        for (number, result) in [(1, "ok"), (2, "denied"), (3, "ok"), (4, "ok")] {
            let target = Document::Array(vec![Document::text("users"), Document::Integer(number)]);
            let appended = log.append("alice", "set", &target, 1_700_000_000_000 + number, result);
            assert_eq!(appended, Ok(number as u64));
        }
        log
    }

    fn faulty(rows: &[(Document, Vec<u8>)]) -> AuditFault {
        verify_rows(rows, None).expect_err("the log does not hold")
    }

    #[test]
    fn a_log_as_it_was_written_holds() {
        let log = log();
        let head = log.verify(None).expect("it can be read").expect("it holds");
        assert_eq!(head.count, 4);
        assert_eq!(log.verify(Some(&head)), Ok(Ok(head.clone())));
        let records = log.list().expect("it can be read");
        assert_eq!(records.iter().map(|record| record.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(records[1].result, "denied");
        log.append("bob", "run", &Document::Nil, 0, "ok").expect("there is room");
        assert_eq!(log.verify(Some(&head)).expect("it can be read").expect("it holds").count, 5);
        let other = AuditHead { hash: "0".repeat(64), ..head };
        let fault = log.verify(Some(&other)).expect("it can be read").expect_err("that was never its head");
        assert_eq!(fault.to_string(), "audit log: record 4 is not the one that was noted");
    }

    /// `web/test/audit.test.mjs` has the same.
    #[test]
    fn hashes_are_those_of_the_page() {
        let target = Document::Array(vec![Document::text("users"), Document::Integer(1)]);
        let (who, operation, result) = ("alice".to_owned(), "set".to_owned(), "ok".to_owned());
        let record = AuditRecord { number: 1, who, operation, target, when: 5, result, hash: String::new() };
        assert_eq!(
            record.hash_after("").as_deref(),
            Ok("8751767ada2bfd621405d9b7eeee0746164aed40cbc846a5cacc75cf090b82fa")
        );
    }

    /// The bytes of each record and of the head, each of them changed in each bit.
    #[test]
    fn no_byte_can_be_changed() {
        let rows = log().rows().expect("it can be read");
        assert!(verify_rows(&rows, None).is_ok());
        for place in 0..rows.len() {
            for byte in 0..rows[place].1.len() {
                for bit in 0..8 {
                    let mut changed = rows.clone();
                    changed[place].1[byte] ^= 1 << bit;
                    assert_eq!(faulty(&changed).number, place as u64, "byte {byte}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn no_record_can_be_removed_added_or_moved() {
        let rows = log().rows().expect("it can be read");
        for place in 1..rows.len() {
            let mut removed = rows.clone();
            removed.remove(place);
            assert_eq!(faulty(&removed), AuditFault { number: place as u64, problem: "is missing" });
            // The others move up.
            for (number, (key, _)) in removed.iter_mut().enumerate() {
                *key = Document::Integer(number as i64);
            }
            assert_eq!(faulty(&removed).number, place as u64);
            for other in 1..place {
                let mut swapped = rows.clone();
                let first = swapped[other].1.clone();
                swapped[other].1 = std::mem::replace(&mut swapped[place].1, first);
                assert_eq!(faulty(&swapped).number, other as u64);
            }
            assert_eq!(faulty(&rows[..place]).number, place as u64, "cut off");
            assert_eq!(faulty(&rows[place..]).number, 0, "without its start");
            let mut added = rows.clone();
            added.push((Document::Integer(5), rows[place].1.clone()));
            assert_eq!(faulty(&added).number, 5);
        }
        let mut other = rows.clone();
        other.push((Document::text("x"), rows[1].1.clone()));
        assert_eq!(faulty(&other).number, 5);
    }

    /// A record whose own hash was made to fit shows at the next one, the last one at the head.
    #[test]
    fn a_record_that_was_hashed_anew_does_not_fit() {
        let rows = log().rows().expect("it can be read");
        let mut before = String::new();
        for place in 1..rows.len() {
            let mut record = read_record(&rows[place].0, &rows[place].1).expect("a record");
            let hash = record.hash.clone();
            record.who = "mallory".into();
            record.hash = record.hash_after(&before).expect("it can be hashed");
            let mut changed = rows.clone();
            changed[place].1 = record.document().encode().expect("it can be encoded");
            assert_eq!(faulty(&changed).number, if place + 1 < rows.len() { place as u64 + 1 } else { 0 });
            before = hash;
        }
    }
}
