//! `bench persist`: what saving and restoring takes, natively, in Node beside `v8.serialize`, and in Chromium, against the goals, in one run.
//!
//! The programs that measure print one figure a line; [`GOALS`] says what is made of them. Each ratio is of figures from one process.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::record::Machine;
use super::report::table;
use crate::error::{Error, Result, at};
use crate::{browser, package, process};

const BEGIN: &str = "<!-- begin of what `cargo xtask bench persist` writes -->\n";
const END: &str = "<!-- end of what `cargo xtask bench persist` writes -->";

const RECORD: &str = "docs/performance/persist.json";

#[derive(Serialize, Deserialize, Debug, Default)]
pub struct PersistRecord {
    /// When it began, RFC 3339.
    pub date: String,
    pub machine: Machine,
    pub figures: Vec<Figure>,
}

/// What one line says.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Figure {
    /// `native`, `node` or `chromium`.
    pub place: String,
    pub name: String,
    pub value: f64,
    pub unit: String,
}

/// What a goal is about, and between what the figure has to be.
struct Goal {
    what: &'static str,
    place: &'static str,
    figure: &'static str,
    least: f64,
    most: f64,
}

const fn most(what: &'static str, place: &'static str, figure: &'static str, most: f64) -> Goal {
    Goal { what, place, figure, least: 0.0, most }
}

/// In the order of the project's list.
const GOALS: [Goal; 19] = [
    most("function of 2.6 KB bytecode saved", "native", "small function: save", 50.0),
    most("… restored", "native", "small function: restore", 50.0),
    most("function of 8.5 KB bytecode saved", "native", "function of 10 KB: save", 50.0),
    most("… restored", "native", "function of 10 KB: restore", 50.0),
    most("… saved in Chromium", "chromium", "typical function: save", 150.0),
    most("… restored in Chromium", "chromium", "typical function: restore", 150.0),
    most("… compiled, run and durable", "chromium", "typical function: compiled, run and durable in IndexedDB", 3.0),
    Goal {
        what: "functions of 1 MB bytecode work",
        place: "native",
        figure: "large function: bytecode",
        least: 1.0,
        most: f64::INFINITY,
    },
    most("… saved", "native", "large function: save", f64::INFINITY),
    most("… restored", "native", "large function: restore", f64::INFINITY),
    Goal {
        what: "compression of the small function",
        place: "native",
        figure: "small function: payload to blob",
        least: 2.0,
        most: f64::INFINITY,
    },
    Goal {
        what: "… of the larger one",
        place: "native",
        figure: "function of 10 KB: payload to blob",
        least: 2.0,
        most: f64::INFINITY,
    },
    most("image of 100,000 tables written, of v8.serialize", "node", "100,000 tables: written, of v8", 2.0),
    most("… read, of v8.deserialize", "node", "100,000 tables: read, of v8", 2.0),
    most("… bytes, of V8's", "node", "100,000 tables: bytes, of v8", 0.5),
    most("commit of 1 change in 100,000 objects, of a full one", "native", "_home: one change, of a full commit", 1.0),
    Goal { what: "heap of images", place: "chromium", figure: "heap for images", least: 480.0, most: f64::INFINITY },
    most("… snapshot", "chromium", "image: snapshot", 5.0),
    most("… restore", "chromium", "image: restore", 5.0),
];

pub fn run(root: &Path) -> Result<()> {
    package::build(root)?;
    let node = || {
        let mut node = process::node(&root.join("web"));
        node.arg("bench/persist.mjs");
        node
    };
    let mut record = PersistRecord {
        date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: super::machine(Machine { load: vec![super::load()], ..Machine::default() }),
        ..PersistRecord::default()
    };
    record.machine.node = process::output("node", &["--version"]);
    record.machine.chromium = process::output(browser::chromium()?, &["--version"]);
    let mut native = process::cargo(root);
    native.args(["run", "--release", "-q", "-p", "cu-tests", "--bin", "persist"]);
    record.figures.extend(figures(&mut native)?);
    record.figures.extend(figures(&mut node())?);
    record.figures.extend(figures(&mut browser::prepare(root, node())?)?);
    record.machine.load.push(super::load());
    println!("{}", sections(&record)?);
    let path = root.join(RECORD);
    let json = serde_json::to_string_pretty(&record).map_err(|error| Error::Bench(error.to_string()))?;
    std::fs::write(&path, json + "\n").map_err(at(&path))?;
    report(root)
}

/// Makes the table of the documentation from the record.
pub fn report(root: &Path) -> Result<()> {
    let path = root.join(RECORD);
    let text = std::fs::read(&path).map_err(at(&path))?;
    let record: PersistRecord = serde_json::from_slice(&text).map_err(|error| Error::Bench(error.to_string()))?;
    let path = root.join("docs/PERFORMANCE.md");
    let document = std::fs::read_to_string(&path).map_err(at(&path))?;
    let document = super::between(&document, BEGIN, END, &sections(&record)?)
        .ok_or_else(|| Error::Bench(format!("{} has lost the marks around the table", path.display())))?;
    std::fs::write(&path, document).map_err(at(&path))
}

/// Runs a program that prints figures, which are shown when it has ended.
fn figures(command: &mut Command) -> Result<Vec<Figure>> {
    Ok(process::captured(command)?.lines().filter_map(figure).collect())
}

/// `place`, name, value and unit, with two blanks or more between the name and the value.
fn figure(line: &str) -> Option<Figure> {
    let (place, rest) = line.split_once(' ')?;
    let (name, rest) = rest.trim_start().split_once("  ")?;
    let mut words = rest.split_whitespace();
    let value = words.next()?.parse().ok()?;
    Some(Figure { place: place.into(), name: name.into(), value, unit: words.next().unwrap_or_default().into() })
}

/// The table of goals, and where it was measured.
fn sections(record: &PersistRecord) -> Result<String> {
    let machine = &record.machine;
    let mut rows = Vec::new();
    for goal in &GOALS {
        let found = record.figures.iter().find(|figure| figure.place == goal.place && figure.name == goal.figure);
        let found = found.ok_or_else(|| Error::Bench(format!("no figure '{}' {}", goal.figure, goal.place)))?;
        rows.push(row(goal, found));
    }
    Ok(format!(
        "Measured {} on {} with {} cores, {}; mean load {}.\n{}, Node ({}).\n\n{}",
        record.date.split('T').next().unwrap_or_default(),
        machine.processor,
        machine.cores,
        machine.system,
        machine.load.join(" at the beginning, ") + " at the end",
        machine.chromium.as_deref().unwrap_or("no Chromium"),
        machine.node.as_deref().unwrap_or("none"),
        table(&["", "where", "goal", "measured", "of the goal", "met"], rows)
    ))
}

fn row(goal: &Goal, found: &Figure) -> Vec<String> {
    let unit = match found.unit.as_str() {
        "us" => " µs",
        "x" => " ×",
        ":" => " : 1",
        other => &format!(" {other}"),
    };
    let bound = |value: f64| format!("{value}{unit}");
    let is_met = (goal.least..=goal.most).contains(&found.value);
    let (text, ratio, met) = match (goal.least > 0.0, goal.most.is_finite()) {
        (false, false) => ("–".into(), "–".into(), "–"),
        (true, false) => (format!("≥ {}", bound(goal.least)), format!("{:.2}", found.value / goal.least), "yes"),
        (false, true) => (format!("≤ {}", bound(goal.most)), format!("{:.2}", found.value / goal.most), "yes"),
        (true, true) => (format!("{} to {}", goal.least, bound(goal.most)), "–".into(), "yes"),
    };
    let met = if is_met { met } else { "no" };
    vec![goal.what.into(), goal.place.into(), text, bound(found.value), ratio, met.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_figures() {
        let line = "native    _home: one change, of a full commit                              0.010 %  <= 1 %";
        let expected = Figure {
            place: "native".into(),
            name: "_home: one change, of a full commit".into(),
            value: 0.01,
            unit: "%".into(),
        };
        assert_eq!(figure(line), Some(expected));
        assert_eq!(figure("a word"), None);
    }

    #[test]
    fn goals_are_compared() {
        let figure = |value| Figure { place: String::new(), name: String::new(), value, unit: "us".into() };
        let check = |goal: &Goal, value, expected: [&str; 3]| assert_eq!(row(goal, &figure(value))[3..], expected);
        let at_most = most("", "", "", 50.0);
        check(&at_most, 25.0, ["25 µs", "0.50", "yes"]);
        check(&at_most, 75.0, ["75 µs", "1.50", "no"]);
        check(&Goal { least: 2.0, most: 5.0, ..at_most }, 1.0, ["1 µs", "–", "no"]);
    }

    #[test]
    fn the_documentation_shows_its_record() {
        let documents = crate::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(documents.join(name)).expect("it is there");
        let record: PersistRecord = serde_json::from_str(&read("performance/persist.json")).expect("a record");
        let text = read("PERFORMANCE.md");
        let sections = sections(&record).expect("every figure is there");
        assert_eq!(super::super::between(&text, BEGIN, END, &sections), Some(text));
    }
}
