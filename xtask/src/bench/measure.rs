//! The rounds: in each one every peer has its turn, and who begins changes, so that a slow spell of the machine meets all alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::native;
use super::peer::{Peer, Place};
use super::record::{PageFigures, ProgramFigures, Timing};
use super::session::Session;
use crate::error::{Error, Result, at};

/// A page is warm when it has run a program this often and for this long: V8 compiles what is hot in the background.
const WARM_UP_RUNS: usize = 2;
const WARM_UP_MS: f64 = 1000.0;

/// A run this long is slow, and its peer has fewer rounds, and one cold run.
const SLOW_MS: f64 = 2000.0;
const SLOW_ROUNDS: usize = 2;

/// What crosses between JavaScript and Lua, as the sides call it.
const CROSSINGS: [&str; 7] =
    ["callLua", "callLuaAwaited", "callHost", "tableIn", "tableInCopied", "tableOut", "tableOutCopied"];
const CROSSING_SIDES: [&str; 4] = ["cu", "wasmoon", "luau-web", "fengari"];
const START_SIDES: [&str; 6] = ["cu", "cu-database", "wasmoon", "luau-web", "fengari", "empty"];

/// A program with what PUC Lua printed for it.
pub struct Program {
    pub name: String,
    pub path: PathBuf,
    pub source: String,
    pub expected: String,
}

/// A peer that is ready.
pub struct Ready {
    pub peer: &'static Peer,
    /// For a native one.
    pub program: Option<native::Program>,
}

/// Where peers run.
pub struct Places {
    pub page: Option<Session>,
    pub node: Option<Session>,
}

/// The milliseconds of a run, or why it fails.
type Outcome = std::result::Result<f64, String>;

#[derive(Clone, Copy)]
pub struct Rounds {
    pub warm: usize,
    pub cold: usize,
}

/// The programs of a folder, sorted; all of them, or those that are named.
pub fn programs(folder: &Path, names: &[String]) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "lua") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if names.is_empty() || names.contains(&name) {
            let output = path.with_extension("out");
            let source = std::fs::read_to_string(&path).map_err(at(&path))?;
            let expected = std::fs::read_to_string(&output).map_err(at(&output))?;
            programs.push(Program { name, path, source, expected });
        }
    }
    programs.sort_by(|left, right| left.name.cmp(&right.name));
    match names.iter().find(|name| programs.iter().all(|program| program.name != **name)) {
        Some(unknown) => Err(Error::Usage(format!("no program '{unknown}' in {}", folder.display()))),
        None => Ok(programs),
    }
}

impl Places {
    fn session(&mut self, place: Place) -> Option<&mut Session> {
        match place {
            Place::Page => self.page.as_mut(),
            Place::Node => self.node.as_mut(),
            Place::Native => None,
        }
    }

    fn fresh(&mut self, place: Place) -> Result<()> {
        self.session(place).map_or(Ok(()), Session::fresh)
    }

    fn ask(&mut self, place: Place, command: Value) -> std::result::Result<Value, String> {
        self.session(place).ok_or("there is no such place")?.ask(command)
    }

    /// One run whose output is as it must be.
    fn run(&mut self, ready: &Ready, program: &Program) -> Outcome {
        let (ms, output) = match &ready.program {
            Some(native) => native.run(&program.path)?,
            None => {
                let command = json!({ "do": "run", "peer": ready.peer.side, "source": program.source });
                let result = self.ask(ready.peer.place, command)?;
                let ms = result["ms"].as_f64().ok_or("no time came back")?;
                (ms, result["output"].as_str().unwrap_or_default().to_owned())
            }
        };
        check_output(&output, &program.expected).map(|()| ms)
    }
}

/// Whether a program has printed what it must, and otherwise what instead.
pub fn check_output(output: &str, expected: &str) -> std::result::Result<(), String> {
    // Line ends are the platform's own.
    let output = output.replace("\r\n", "\n");
    if output == expected {
        return Ok(());
    }
    let shown = |text: &str| if text.trim().is_empty() { "nothing".to_owned() } else { text.trim().to_owned() };
    Err(super::session::first_line(&format!("prints {} instead of {}", shown(&output), shown(expected))))
}

/// One program on all peers.
pub fn program(places: &mut Places, peers: &[Ready], program: &Program, rounds: Rounds) -> Result<ProgramFigures> {
    let mut figures = ProgramFigures { name: program.name.clone(), ..ProgramFigures::default() };
    for (name, outcomes) in warm(places, peers, program, rounds.warm)? {
        figures.warm.insert(name.into(), timing(outcomes));
    }
    cold(places, peers, program, rounds.cold, &mut figures)?;
    Ok(figures)
}

type Outcomes = BTreeMap<&'static str, std::result::Result<Vec<f64>, String>>;

fn warm(places: &mut Places, peers: &[Ready], program: &Program, rounds: usize) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    let mut slow = Vec::new();
    // One that has to be ended takes the page with it, and the others have to warm up again.
    'again: loop {
        places.fresh(Place::Page)?;
        places.fresh(Place::Node)?;
        slow.clear();
        for ready in peers {
            let name = ready.peer.name;
            if matches!(outcomes.get(name), Some(Err(_))) {
                continue;
            }
            match warm_up(places, ready, program) {
                Ok(ms) => {
                    slow.extend((ms > SLOW_MS).then_some(name));
                    outcomes.insert(name, Ok(Vec::new()));
                }
                Err(reason) => {
                    outcomes.insert(name, Err(reason));
                    if places.session(ready.peer.place).is_some_and(|session| !session.is_open()) {
                        continue 'again;
                    }
                }
            }
        }
        break;
    }
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let ready = &peers[(turn + round) % peers.len()];
            let name = ready.peer.name;
            if round >= SLOW_ROUNDS && slow.contains(&name) {
                continue;
            }
            if let Some(entry @ Ok(_)) = outcomes.get_mut(name) {
                match (places.run(ready, program), entry) {
                    (Ok(ms), Ok(times)) => times.push(ms),
                    (Err(reason), entry) => *entry = Err(reason),
                    (Ok(_), Err(_)) => {}
                }
            }
        }
    }
    Ok(outcomes)
}

/// Gives the time of the last run.
fn warm_up(places: &mut Places, ready: &Ready, program: &Program) -> Outcome {
    let mut total = 0.0;
    for run in 1.. {
        let ms = places.run(ready, program)?;
        total += ms;
        if ready.program.is_some() || ms > SLOW_MS || (run >= WARM_UP_RUNS && total >= WARM_UP_MS) {
            return Ok(ms);
        }
    }
    unreachable!("the loop above has no end of its own")
}

/// First runs, each in a fresh page or process.
fn cold(
    places: &mut Places,
    peers: &[Ready],
    program: &Program,
    rounds: usize,
    figures: &mut ProgramFigures,
) -> Result<()> {
    let mut outcomes = Outcomes::new();
    let peers: Vec<&Ready> = peers.iter().filter(|ready| ready.program.is_none()).collect();
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let ready = peers[(turn + round) % peers.len()];
            let (name, place) = (ready.peer.name, ready.peer.place);
            let failed = |timing: Option<&Timing>| matches!(timing, Some(Timing::Fails { .. }));
            // A first run takes no less than a warm one.
            let is_slow = figures.warm.get(name).and_then(Timing::median).is_some_and(|ms| ms > SLOW_MS);
            if round > 0 && is_slow {
                continue;
            }
            if failed(figures.warm.get(name)) || matches!(outcomes.get(name), Some(Err(_))) {
                continue;
            }
            places.fresh(place)?;
            let opened = places.ask(place, json!({ "do": "open", "peer": ready.peer.side }));
            let outcome = opened.and_then(|_| places.run(ready, program));
            let times = outcomes.entry(name).or_insert(Ok(Vec::new()));
            match (outcome, &mut *times) {
                (Ok(ms), Ok(times)) => times.push(ms),
                (Err(reason), _) => *times = Err(reason),
                (Ok(_), Err(_)) => {}
            }
            let memory = places.ask(place, json!({ "do": "memory" })).ok();
            if let Some(bytes) = memory.and_then(|memory| memory["bytes"].as_u64()).filter(|bytes| *bytes > 0) {
                figures.wasm_bytes.insert(name.into(), bytes);
            }
        }
    }
    figures.cold.extend(outcomes.into_iter().map(|(name, outcome)| (name.to_owned(), timing(outcome))));
    Ok(())
}

/// Starts and crossings. The sides are those of peers that take part.
pub fn page(places: &mut Places, peers: &[Ready], rounds: usize) -> Result<PageFigures> {
    let mut figures = PageFigures::default();
    let takes_part = |side: &str| {
        let side = side.split('-').next().unwrap_or_default();
        side == "empty"
            || peers.iter().any(|ready| ready.peer.place == Place::Page && ready.peer.side.starts_with(side))
    };
    let sides: Vec<&str> = START_SIDES.into_iter().filter(|side| takes_part(side)).collect();
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let side = sides[(turn + round) % sides.len()];
            places.fresh(Place::Page)?;
            // The page is there, and has had its own first turn, before the clock starts.
            let result = places.ask(Place::Page, json!({ "do": "memory" }));
            let result = result.and_then(|_| places.ask(Place::Page, json!({ "do": "start", "peer": side })));
            let Ok(result) = result else { continue };
            figures.start.entry(side.into()).or_default().extend(result["ms"].as_f64().map(rounded));
            figures.start_bytes.insert(side.into(), result["bytes"].as_u64().unwrap_or(0));
        }
    }
    let sides: Vec<&str> = CROSSING_SIDES.into_iter().filter(|side| takes_part(side)).collect();
    places.fresh(Place::Page)?;
    for name in CROSSINGS {
        let mut outcomes = Outcomes::new();
        // The first round is for warming up.
        for round in 0..=rounds {
            for turn in 0..sides.len() {
                let side = sides[(turn + round) % sides.len()];
                let result = places.ask(Place::Page, json!({ "do": "crossing", "peer": side, "name": name }));
                let times = outcomes.entry(side).or_insert(Ok(Vec::new()));
                match (result, &mut *times) {
                    (Ok(result), Ok(times)) if round > 0 => times.extend(result["us"].as_f64()),
                    (Err(reason), _) => *times = Err(reason),
                    (Ok(_), _) => {}
                }
            }
        }
        let known =
            outcomes.into_iter().filter(|(_, outcome)| outcome.as_ref().map_or(true, |times| !times.is_empty()));
        let timings = known.map(|(side, outcome)| (side.to_owned(), timing(outcome))).collect();
        figures.crossings.insert(name.into(), timings);
    }
    Ok(figures)
}

fn timing(outcome: std::result::Result<Vec<f64>, String>) -> Timing {
    match outcome {
        Ok(times) => Timing::Runs(times.into_iter().map(rounded).collect()),
        Err(fails) => Timing::Fails { fails },
    }
}

/// More digits than the clocks give say nothing.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_must_be_equal() {
        assert_eq!(check_output("fib 5\n", "fib 5\n"), Ok(()));
        assert_eq!(check_output("fib 5\r\n", "fib 5\n"), Ok(()));
        assert_eq!(check_output("fib 6\n", "fib 5\n"), Err("prints fib 6 instead of fib 5".into()));
        assert_eq!(check_output("", "fib 5\n"), Err("prints nothing instead of fib 5".into()));
        assert!(check_output("fib 5", "fib 5\n").is_err());
    }

    #[test]
    fn every_program_has_its_output() {
        let folder = crate::root().join("fixtures/bench");
        let all = programs(&folder, &[]).expect("the programs are there");
        assert!(all.iter().all(|program| program.expected.starts_with(&program.name)));
        let one = programs(&folder, &["fib".into()]).expect("there is such a program");
        assert_eq!(one.len(), 1);
        let error = programs(&folder, &["fob".into()]).err().expect("there is no such program").to_string();
        assert!(error.contains("no program 'fob'"), "{error}");
    }
}
