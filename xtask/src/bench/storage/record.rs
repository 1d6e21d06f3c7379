//! What was measured of databases, as it is stored and shown; and the goals it is held against.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::record::Machine;
use super::super::report::table;
use super::{DATABASES, OPFS, median};
use crate::error::{Error, Result, at};

#[derive(Serialize, Deserialize, Debug)]
pub struct Record {
    /// When it began, RFC 3339.
    pub date: String,
    pub machine: Machine,
    /// Of the packages, by side.
    pub versions: BTreeMap<String, String>,
    pub sizes: Vec<Size>,
}

#[derive(Serialize, Deserialize, Debug, Default)]
pub struct Size {
    pub records: usize,
    pub rounds: usize,
    /// Milliseconds by row and side: of a load all of it, else of one call.
    pub rows: BTreeMap<String, Figures>,
    /// Wasm memory of Cu with its VM, after all rows but reopening.
    pub wasm_bytes: u64,
}

pub type Figures = BTreeMap<String, Vec<f64>>;

/// One line of the tables: the row, its title, and the most that our time may be of another's, by its side.
struct Line {
    row: &'static str,
    title: &'static str,
    goals: &'static [(Against, f64)],
}

#[derive(Clone, Copy)]
enum Against {
    IndexedDb,
    Dexie,
    /// The faster of both builds.
    Sqlite,
}

const LINES: [Line; 13] = {
    use Against::{Dexie, IndexedDb, Sqlite};
    [
        Line { row: "load", title: "load, batches of 1,000", goals: &[(Dexie, 0.25), (Sqlite, 0.5)] },
        Line { row: "overwrite", title: "overwrite 1,000 random records", goals: &[(Dexie, 0.25), (Sqlite, 0.5)] },
        Line { row: "single", title: "one-record transaction, alone", goals: &[(IndexedDb, 1.0)] },
        Line { row: "flight", title: "… 32 in flight", goals: &[(IndexedDb, 0.2)] },
        Line { row: "get", title: "get by key", goals: &[(Sqlite, 0.5)] },
        Line { row: "equality", title: "indexed equality, 10 rows", goals: &[(Sqlite, 0.5)] },
        Line { row: "range", title: "range, limit 10", goals: &[(Sqlite, 0.5)] },
        Line { row: "tenth", title: "range, 10 % of the records", goals: &[(Sqlite, 0.3)] },
        Line { row: "page", title: "sorted by index, deep offset", goals: &[(Sqlite, 0.5)] },
        Line { row: "contains", title: "full scan, contains", goals: &[(Sqlite, 1.5)] },
        Line { row: "index", title: "create an index", goals: &[(Sqlite, 0.5)] },
        Line { row: "reopen", title: "reopen after a close", goals: &[(Sqlite, 0.8)] },
        Line { row: "reopen killed", title: "reopen after a kill", goals: &[(Sqlite, 1.2)] },
    ]
};

impl Record {
    pub fn read(path: &Path) -> Result<Record> {
        let text = std::fs::read(path).map_err(at(path))?;
        serde_json::from_slice(&text).map_err(|error| Error::Bench(format!("{}: {error}", path.display())))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Bench(error.to_string()))?;
        std::fs::write(path, text + "\n").map_err(at(path))
    }

    /// The tables in Markdown.
    pub fn sections(&self) -> String {
        let versions: Vec<String> = self.versions.iter().map(|(side, version)| format!("{side} {version}")).collect();
        let machine = &self.machine;
        let mut text = format!(
            "Measured {}: {}, {} cores, {}, {}; load {}. Versions: {}.\n",
            self.date,
            machine.processor,
            machine.cores,
            machine.system,
            machine.chromium.as_deref().unwrap_or("Chromium"),
            machine.load.join(" to "),
            versions.join(", "),
        );
        for size in &self.sizes {
            text += &format!("\n### {} records, milliseconds (medians of {})\n\n", size.records, size.rounds);
            text += &size.table();
            text += &format!("\nWasm memory of Cu, VM and database: {} KiB.\n", size.wasm_bytes >> 10);
        }
        text
    }
}

impl Size {
    fn table(&self) -> String {
        let mut head = vec!["row"];
        let took_part = |side: &str| self.rows.values().any(|figures| figures.contains_key(side));
        let databases: Vec<(&str, &str)> = DATABASES.into_iter().filter(|(side, _)| took_part(side)).collect();
        head.extend(databases.iter().map(|(_, title)| *title));
        head.push("goals: × of the other's time");
        let rows = LINES.iter().map(|line| {
            let mut cells = vec![line.title.to_owned()];
            cells.extend(databases.iter().map(|(side, _)| self.median(line.row, side).map_or("–".into(), figure)));
            let goals = line.goals.iter().map(|(against, most)| self.goal(line.row, *against, *most));
            cells.push(goals.collect::<Vec<_>>().join("; "));
            cells
        });
        table(&head, rows.collect())
    }

    fn median(&self, row: &str, side: &str) -> Option<f64> {
        median(self.rows.get(row)?.get(side)?)
    }

    /// The ratio beside what it should be.
    fn goal(&self, row: &str, against: Against, most: f64) -> String {
        let other = |side| self.median(row, side);
        let (name, time) = match against {
            Against::IndexedDb => ("IndexedDB", other("indexeddb")),
            Against::Dexie => ("Dexie", other("dexie")),
            Against::Sqlite => {
                let times = [other("sqlite"), other("wa-sqlite")];
                ("SQLite", times.into_iter().flatten().min_by(f64::total_cmp))
            }
        };
        let verdict = |ratio: f64| if ratio <= most { "met" } else { "missed" };
        let (Some(ours), Some(time)) = (other("cu"), time) else { return format!("{name} –") };
        let ratio = ours / time;
        let mut text = format!("{name} {ratio:.2} (≤ {most}, {})", verdict(ratio));
        // SQLite's files are where ours are then.
        if let (Against::Sqlite, Some(ours)) = (against, other(OPFS)) {
            text += &format!(", OPFS {:.2} ({})", ours / time, verdict(ours / time));
        }
        text
    }
}

/// Three figures that matter.
fn figure(ms: f64) -> String {
    match ms {
        100.0.. => format!("{ms:.0}"),
        1.0.. => format!("{ms:.2}"),
        _ => format!("{ms:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_take_medians_and_the_faster_sqlite() {
        let figures = |list: &[(&str, f64)]| {
            list.iter().map(|(side, ms)| ((*side).to_owned(), vec![*ms, 1000.0, 0.0])).collect::<Figures>()
        };
        let rows = [("get".to_owned(), figures(&[("cu", 1.0), ("sqlite", 4.0), ("wa-sqlite", 1.5)]))].into();
        let size = Size { records: 1, rounds: 3, rows, wasm_bytes: 0 };
        assert_eq!(size.goal("get", Against::Sqlite, 0.5), "SQLite 0.67 (≤ 0.5, missed)");
        assert_eq!(size.goal("get", Against::Sqlite, 0.7), "SQLite 0.67 (≤ 0.7, met)");
        assert_eq!(size.goal("load", Against::Dexie, 0.7), "Dexie –");
    }
}
