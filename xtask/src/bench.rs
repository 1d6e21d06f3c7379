//! `cargo xtask bench`: the VM's speed, start, memory, size and crossings beside those of its peers.
//!
//! ```text
//! programs × peers ─measure→ record (JSON) ─report→ tables ─→ the terminal, docs/PERFORMANCE.md
//!                                          ─chart→  docs/performance/vm.svg
//! ```
//!
//! A run over all programs and peers is a *full* one, unless it is a quick one, and becomes the record in the documentation; any other leaves its record
//! in `target/bench` only.

mod channel;
mod chart;
mod goals;
pub mod hostile;
pub mod limits;
mod measure;
mod native;
mod peer;
pub mod persist;
mod record;
mod report;
mod session;
mod statistics;
pub mod storage;

use std::path::Path;
use std::sync::Arc;

use channel::Channels;
use measure::{Places, Ready, Rounds};
use peer::{Peer, Place};
use record::{Machine, PeerState, Record};
use session::{Program, Session};

use crate::error::{Error, Result, at};
use crate::{browser, package, process};

/// What the command line says.
#[derive(Default)]
pub struct Options {
    /// Peers by name; the usual ones if empty.
    pub peers: Vec<String>,
    /// Programs by name; all if empty.
    pub programs: Vec<String>,
    /// Counted runs in the warm state, and twice as many as cold ones.
    pub rounds: Option<usize>,
    /// Few rounds, for a first look.
    pub quick: bool,
}

const ROUNDS: Rounds = Rounds { warm: 5, cold: 3 };
const QUICK: Rounds = Rounds { warm: 2, cold: 1 };
/// Of starts and crossings.
const ROUNDS_PAGE: usize = 5;

const BEGIN: &str = "<!-- begin of what `cargo xtask bench vm` writes -->\n";
const END: &str = "<!-- end of what `cargo xtask bench vm` writes -->";

pub fn vm(root: &Path, options: &Options) -> Result<()> {
    let peers = peer::chosen(&options.peers)?;
    let programs = measure::programs(&root.join("fixtures/bench"), &options.programs)?;
    let mut rounds = if options.quick { QUICK } else { ROUNDS };
    if let Some(warm) = options.rounds {
        rounds = Rounds { warm: warm.max(1), cold: warm.div_ceil(2).max(1) };
    }
    let full = options.peers.is_empty() && options.programs.is_empty() && !options.quick;

    let mut record = Record {
        date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        full,
        rounds_warm: rounds.warm,
        rounds_cold: rounds.cold,
        ..Record::default()
    };
    let folder = root.join("target/bench");
    let has = |place| peers.iter().any(|peer| peer.place == place);
    let manifest = if has(Place::Page) || has(Place::Node) { bundle(root, &folder)? } else { Manifest::default() };
    let (ready, states) = prepare(root, &peers, &manifest, !options.peers.is_empty())?;
    record.peers = states;
    let mut places = open(root, &folder, &ready, &mut record)?;

    record.machine = Machine { load: vec![load()], ..machine(record.machine) };
    for (number, program) in programs.iter().enumerate() {
        eprintln!("{} ({} of {})", program.name, number + 1, programs.len());
        record.programs.push(measure::program(&mut places, &ready, program, rounds)?);
    }
    if places.page.is_some() {
        eprintln!("starts and crossings");
        let rounds = if options.quick { QUICK.warm } else { ROUNDS_PAGE };
        record.page = measure::page(&mut places, &ready, rounds)?;
        record.page.sizes = manifest.sizes;
    }
    record.machine.load.push(load());
    keep(root, &folder, &record)
}

/// Makes tables and chart of the documentation anew from its record.
pub fn report(root: &Path) -> Result<()> {
    let record = Record::read(&root.join("docs/performance/vm.json"))?;
    document(root, &record)?;
    persist::report(root)?;
    storage::report(root)
}

/// What the bundler says of the packages.
#[derive(Default, serde::Deserialize)]
struct Manifest {
    versions: std::collections::BTreeMap<String, String>,
    sizes: std::collections::BTreeMap<String, record::Size>,
}

fn bundle(root: &Path, folder: &Path) -> Result<Manifest> {
    package::build(root)?;
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let page = folder.join("page");
    process::run(process::node(&root.join("web")).arg("bench/bundle.mjs").arg(&page))?;
    let path = page.join("manifest.json");
    let text = std::fs::read(&path).map_err(at(&path))?;
    serde_json::from_slice(&text).map_err(|error| Error::Bench(format!("{}: {error}", path.display())))
}

/// Gets every peer ready. One that was asked for by name and cannot be had is an error; one of the usual ones is left out.
fn prepare(
    root: &Path,
    peers: &[&'static Peer],
    manifest: &Manifest,
    are_named: bool,
) -> Result<(Vec<Ready>, Vec<PeerState>)> {
    let commit = process::output("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty"]);
    let (mut ready, mut states) = (Vec::new(), Vec::new());
    for peer in peers {
        let mut state = PeerState { name: peer.name.into(), ..PeerState::default() };
        if peer.place == Place::Native {
            match native::prepare(root, peer) {
                Ok(program) => {
                    state.version = program.version.clone();
                    ready.push(Ready { peer, program: Some(program) });
                }
                Err(error) if are_named => return Err(error),
                Err(error) => {
                    eprintln!("{} does not take part: {error}", peer.title);
                    state.missing = Some(session::first_line(&error.to_string()));
                }
            }
        } else {
            let package = if peer.side == "fengari" { "fengari-web" } else { peer.side };
            state.version = manifest.versions.get(package).cloned().or_else(|| commit.clone());
            ready.push(Ready { peer, program: None });
        }
        states.push(state);
    }
    if ready.is_empty() {
        return Err(Error::Missing("none of the peers can be had".into()));
    }
    Ok((ready, states))
}

fn open(root: &Path, folder: &Path, ready: &[Ready], record: &mut Record) -> Result<Places> {
    let has = |place| ready.iter().any(|ready| ready.peer.place == place);
    let channels = Arc::new(Channels::default());
    let page_folder = folder.join("page");
    let address = channel::start(&channels, &page_folder)?;
    let mut places = Places { page: None, node: None };
    if has(Place::Page) {
        let chromium = browser::chromium()?;
        record.machine.chromium = process::output(&chromium, &["--version"]);
        places.page = Some(Session::new(Program::Chromium(chromium), address.clone(), channels.clone()));
    }
    if has(Place::Node) {
        record.machine.node = process::output("node", &["--version"]);
        places.node = Some(Session::new(Program::Node(root.join(page_folder)), address, channels));
    }
    Ok(places)
}

fn machine(known: Machine) -> Machine {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        processor: processor.map_or("an unknown processor", |(_, name)| name).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        system: process::output("uname", &["-sm"]).unwrap_or_else(|| std::env::consts::OS.to_owned()),
        ..known
    }
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}

/// Prints the tables and writes the record: a full one into the documentation.
fn keep(root: &Path, folder: &Path, record: &Record) -> Result<()> {
    println!("{}", report::sections(record));
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    record.write(&folder.join("vm.json"))?;
    eprintln!("the record is in target/bench/vm.json");
    if !record.full {
        return Ok(());
    }
    let documents = root.join("docs/performance");
    std::fs::create_dir_all(&documents).map_err(at(&documents))?;
    record.write(&documents.join("vm.json"))?;
    document(root, record)
}

fn document(root: &Path, record: &Record) -> Result<()> {
    if let Some(svg) = chart::svg(record) {
        let path = root.join("docs/performance/vm.svg");
        std::fs::write(&path, svg).map_err(at(&path))?;
    }
    let path = root.join("docs/PERFORMANCE.md");
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let text = with_sections(&text, record)
        .ok_or_else(|| Error::Bench(format!("{} has lost the marks around the tables", path.display())))?;
    std::fs::write(&path, text).map_err(at(&path))
}

/// The document with the tables of a record between its marks.
fn with_sections(document: &str, record: &Record) -> Option<String> {
    between(document, BEGIN, END, &report::sections(record))
}

/// The document with a text between two marks.
fn between(document: &str, begin: &str, end: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_shows_its_record() {
        let documents = crate::root().join("docs");
        let record = Record::read(&documents.join("performance/vm.json")).expect("the record can be read");
        assert!(record.full);
        let read = |name: &str| std::fs::read_to_string(documents.join(name)).expect("it is there");
        let text = read("PERFORMANCE.md");
        assert_eq!(with_sections(&text, &record), Some(text), "run `cargo xtask bench report`");
        assert_eq!(chart::svg(&record), Some(read("performance/vm.svg")), "run `cargo xtask bench report`");
    }

    #[test]
    fn tables_go_between_the_marks() {
        let document = format!("# A\n{BEGIN}from before\n{END}\n# B\n");
        let record = record::tests::example();
        let text = with_sections(&document, &record).expect("there are marks");
        assert!(text.starts_with("# A\n") && text.ends_with("\n# B\n") && !text.contains("from before"), "{text}");
        assert_eq!(with_sections(&text, &record), Some(text.clone()));
        assert_eq!(with_sections("no marks", &record), None);
    }
}
