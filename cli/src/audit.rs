//! The audit log of a database: what `cu db FILE audit` shows, and the record that `cu --audit` makes of a run.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use cu_persist::{AuditHead, AuditLog};
use cu_storage::{Database, Document, to_json};

use crate::arguments::{Arguments, Program};
use crate::error::Error;
use crate::host::Output;

/// Shows all records, one a line.
pub fn list(database: &Database, output: &Output) -> Result<(), Error> {
    for record in log(database).list().map_err(Error::Home)? {
        let shown = Document::map([
            ("number", Document::Integer(record.number as i64)),
            ("who", Document::text(&record.who)),
            ("operation", Document::text(&record.operation)),
            ("target", record.target),
            ("when", Document::Integer(record.when)),
            ("result", Document::text(&record.result)),
        ]);
        output.write_line(to_json(&shown).as_bytes());
    }
    Ok(())
}

/// Checks the log, and that it goes on from a head that was noted earlier (`4:9f86…`). Shows the head, to be noted.
pub fn verify(database: &Database, noted: Option<&str>, output: &Output) -> Result<(), Error> {
    let head_of = |text: &str| {
        let (count, hash) = text.split_once(':')?;
        Some(AuditHead { count: count.parse().ok()?, hash: hash.to_owned() })
    };
    let noted = match noted {
        None => None,
        Some(text) => Some(head_of(text).ok_or_else(|| Error::Command(format!("'{text}' is no head, NUMBER:HASH")))?),
    };
    let checked = log(database).verify(noted.as_ref()).map_err(Error::Home)?;
    let head = checked.map_err(|fault| Error::Command(fault.to_string()))?;
    output.write_line(format!("{}:{}", head.count, head.hash).as_bytes());
    Ok(())
}

/// Appends a record of a run, if the command line asks for one: by whom, of which script, and how it ended.
pub fn record(arguments: &Arguments, database: &Database, result: Result<(), Error>) -> Result<(), Error> {
    let Some(who) = &arguments.audit else { return result };
    let target = match &arguments.program {
        Program::File(path) => path.to_string_lossy().into_owned(),
        Program::Stdin => "stdin".to_owned(),
        Program::None => "command line".to_owned(),
    };
    let ended = match &result {
        Ok(()) | Err(Error::Exit { code: 0, .. }) => "ok".to_owned(),
        Err(Error::Exit { code, .. }) => format!("exit {code}"),
        Err(error) => String::from_utf8_lossy(&error.text()).lines().next().unwrap_or_default().to_owned(),
    };
    let when = if arguments.deterministic { 0 } else { milliseconds() };
    let appended = log(database).append(who, "run", &Document::text(&target), when, &ended);
    result.and(appended.map(|_| ()).map_err(Error::Home))
}

fn log(database: &Database) -> AuditLog {
    AuditLog::new(Rc::new(database.clone()))
}

fn milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
