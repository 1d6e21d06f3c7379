//! `cargo xtask bench storage`: the database beside IndexedDB, Dexie, SQLite and LokiJS in one page in headless Chromium.
//!
//! ```text
//! rows × databases, interleaved ─→ record (JSON) ─→ tables ─→ the terminal, docs/PERFORMANCE.md
//! ```
//!
//! Each database has a worker of its own. Every answer comes with a checksum of the records that were found; databases that differ fail.
//! A run of everything that is not a quick one becomes the record in the documentation.

mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::channel::{self, Channels};
use super::session::{Program, Session};
use super::statistics::median;
use super::{load, machine};
use crate::error::{Error, Result, at};
use crate::{browser, package, process};
use record::{Figures, Record, Size};

#[derive(Default)]
pub struct Options {
    /// Counted runs of each row.
    pub rounds: Option<usize>,
    /// Two rounds over the small size, for a first look.
    pub quick: bool,
    /// The databases that take part, and the rows between loading and reopening; all without any.
    pub peers: Vec<String>,
    pub rows: Vec<String>,
    /// The folder of an earlier build of the package, which takes part too.
    pub against: Option<PathBuf>,
    /// Measures what was built last.
    pub built: bool,
}

impl Options {
    fn is_partial(&self) -> bool {
        self.quick || self.built || self.against.is_some() || !self.peers.is_empty() || !self.rows.is_empty()
    }

    fn sides(&self) -> Vec<(&'static str, &'static str)> {
        let takes_part = |side: &str| match side {
            BEFORE => self.against.is_some(),
            _ => self.peers.is_empty() || self.peers.iter().any(|peer| peer == side),
        };
        DATABASES.into_iter().filter(|(side, _)| takes_part(side)).collect()
    }
}

/// The side that is over the origin's private file system, as SQLite is.
const OPFS: &str = "cu-opfs";

/// The side that is an earlier build.
const BEFORE: &str = "cu-before";

/// File of the side, and title. The first is compared with the others.
const DATABASES: [(&str, &str); 8] = [
    ("cu", "Cu"),
    (OPFS, "Cu, OPFS"),
    ("indexeddb", "raw IndexedDB"),
    ("dexie", "Dexie"),
    ("sqlite", "SQLite"),
    ("wa-sqlite", "wa-sqlite"),
    ("loki", "LokiJS"),
    (BEFORE, "Cu before"),
];

/// Those that the worker measures, in this order; writing rows last, so that all read what was loaded.
const ROWS: [&str; 10] =
    ["get", "equality", "range", "tenth", "page", "contains", "index", "overwrite", "single", "flight"];

const SMALL: usize = 10_000;
const LARGE: usize = 100_000;
const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 2;
/// The slowest need a minute for a load of the large size on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// The record of the documentation.
const RECORD: &str = "docs/performance/storage.json";

const BEGIN: &str = "<!-- begin of what `cargo xtask bench storage` writes -->\n";
const END: &str = "<!-- end of what `cargo xtask bench storage` writes -->";

pub fn run(root: &Path, options: &Options) -> Result<()> {
    if !options.built {
        package::build(root)?;
    }
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    let page = folder.join("storage");
    let mut bundle = process::node(&root.join("web"));
    bundle.arg("bench/bundle-storage.mjs").arg(&page);
    if let Some(before) = &options.against {
        bundle.arg(std::path::absolute(before).map_err(at(before))?);
    }
    process::run(&mut bundle)?;
    let channels = Arc::new(Channels::default());
    let address = channel::start(&channels, &page)?;
    let chromium = browser::chromium()?;
    let version = process::output(&chromium, &["--version"]);
    let session = Session::showing("storage.html", LIMIT, Program::Chromium(chromium), address, channels);
    let mut run = Run { session, sides: options.sides() };

    let rounds = options.rounds.unwrap_or(if options.quick { ROUNDS_QUICK } else { ROUNDS }).max(1);
    let mut record = Record {
        date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: machine(super::record::Machine { chromium: version, load: vec![load()], ..Default::default() }),
        versions: versions(&page)?,
        sizes: Vec::new(),
    };
    for records in if options.quick { vec![SMALL] } else { vec![SMALL, LARGE] } {
        let is_wanted = |row: &&&str| options.rows.is_empty() || options.rows.iter().any(|wanted| wanted == **row);
        let rows: Vec<&str> = ROWS.iter().filter(is_wanted).copied().collect();
        record.sizes.push(run.measure(records, rounds, &rows)?);
    }
    record.machine.load.push(load());
    println!("{}", record.sections());
    record.write(&folder.join("storage.json"))?;
    if options.is_partial() {
        return Ok(());
    }
    record.write(&root.join(RECORD))?;
    report(root)
}

/// Makes the tables of the documentation anew from its record.
pub fn report(root: &Path) -> Result<()> {
    let record = Record::read(&root.join(RECORD))?;
    let path = root.join("docs/PERFORMANCE.md");
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let text = with_sections(&text, &record)
        .ok_or_else(|| Error::Bench(format!("{} has lost the marks around the tables of storage", path.display())))?;
    std::fs::write(&path, text).map_err(at(&path))
}

fn versions(page: &Path) -> Result<std::collections::BTreeMap<String, String>> {
    let path = page.join("versions.json");
    let text = std::fs::read(&path).map_err(at(&path))?;
    serde_json::from_slice(&text).map_err(|error| Error::Bench(format!("{}: {error}", path.display())))
}

/// The page, and the databases that take part.
struct Run {
    session: Session,
    sides: Vec<(&'static str, &'static str)>,
}

impl Run {
    /// These rows over databases with so many records.
    fn measure(&mut self, records: usize, rounds: usize, rows: &[&str]) -> Result<Size> {
        let mut size = Size { records, rounds, ..Size::default() };
        // Loads take long: a large one has one round. The databases of the last round are the ones that the other rows use.
        let loads = if records > SMALL { 1 } else { rounds };
        for round in 0..loads {
            let command = json!({ "do": "load", "name": format!("bench-{records}-{round}"), "size": records });
            self.interleave(&mut size, "load", round, &command)?;
        }
        for row in rows {
            eprintln!("{records} records: {row}");
            for round in 0..rounds {
                self.interleave(&mut size, row, round, &json!({ "do": "row", "row": row, "round": round }))?;
            }
        }
        let memory = self.ask("cu", &json!({ "do": "memory" })).map_err(Error::Bench)?;
        size.wasm_bytes = memory.get("bytes").and_then(Value::as_u64).unwrap_or_default();
        let open = json!({ "do": "reopen", "name": format!("bench-{records}-{}", loads - 1), "size": records });
        for (row, closes) in [("reopen", true), ("reopen killed", false)] {
            eprintln!("{records} records: {row}");
            for round in 0..rounds {
                self.end_workers(closes)?;
                self.interleave(&mut size, row, round, &open)?;
            }
        }
        // Nothing of this size stays open.
        self.end_workers(true)?;
        Ok(size)
    }

    fn end_workers(&mut self, closes: bool) -> Result<()> {
        for (side, _) in self.sides.clone() {
            if closes {
                self.ask(side, &json!({ "do": "close" })).map_err(Error::Bench)?;
            }
            self.ask(side, &json!({ "do": "end worker" })).map_err(Error::Bench)?;
        }
        Ok(())
    }

    /// One round of a row: each database once; who begins changes from round to round. All must have found the same.
    fn interleave(&mut self, size: &mut Size, row: &str, round: usize, command: &Value) -> Result<()> {
        let mut found: Option<(Value, &str)> = None;
        for turn in 0..self.sides.len() {
            let (side, title) = self.sides[(turn + round) % self.sides.len()];
            let result = self.ask(side, command).map_err(|error| Error::Bench(format!("{title}, {row}: {error}")))?;
            let (Some(ms), Some(check)) = (result.get("ms").and_then(Value::as_f64), result.get("check")) else {
                return Err(Error::Bench(format!("{title}, {row}: no figure")));
            };
            match &found {
                Some((expected, other)) if expected != check => {
                    return Err(Error::Bench(format!("{row}: {title} and {other} have found different records")));
                }
                _ => found = Some((check.clone(), title)),
            }
            let figures: &mut Figures = size.rows.entry(row.to_owned()).or_default();
            figures.entry(side.to_owned()).or_default().push(ms);
        }
        Ok(())
    }

    fn ask(&mut self, side: &str, command: &Value) -> std::result::Result<Value, String> {
        let mut command = command.clone();
        command["side"] = json!(side);
        self.session.ask(command)
    }
}

/// The document with the tables of a record between its marks.
fn with_sections(document: &str, record: &Record) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", record.sections()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_shows_its_record() {
        let record = Record::read(&crate::root().join(RECORD)).expect("the record can be read");
        let text = std::fs::read_to_string(crate::root().join("docs/PERFORMANCE.md")).expect("it is there");
        assert_eq!(with_sections(&text, &record), Some(text), "run `cargo xtask bench report`");
    }
}
