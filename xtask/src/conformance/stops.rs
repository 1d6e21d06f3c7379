//! Resume anywhere, for the official suite: each file is stopped after so much fuel, saved, and gone on with in another process, several times,
//! and has to end as it does undisturbed. What a file prints is compared where two undisturbed runs print the same.
//!
//! With Node in between, the process it goes on in is by turns one of Node and a native one.
//!
//! A file that has one open, or uses the clock, while it is stopped cannot be saved; it is counted, not run.

use std::path::Path;

use super::program::{End, Outcome};
use super::{ALL, HEAVY, run_with, suite};
use crate::error::{Error, Result};
use crate::process;

/// Fuel from one stop to the next; primes, so that stops are nowhere in particular.
const DISTANCES: [u64; 6] = [1009, 10_007, 100_003, 1_000_003, 5_000_011, 20_000_003];

/// What `cu` says when there is nothing left to be saved, and when something cannot be.
const ENDED: &str = "ended before the stop";
const UNSAVEABLE: &str = "cannot save";

/// Files that are left out, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    (ALL, "it runs the others, those left out among them"),
    (HEAVY, "it needs all the memory there is"),
    ("files.lua", "it is about files and processes of the machine"),
    ("main.lua", "it runs programs from a shell"),
    ("big.lua", "it yields, and runs in a coroutine of the command line's"),
];

/// Short files that go on in Node as a test of the package, all of them together in a few seconds.
const QUICK: [&str; 7] = ["closure.lua", "events.lua", "goto.lua", "locals.lua", "pm.lua", "tpack.lua", "vararg.lua"];

enum Ending {
    Same { stops: usize },
    Unsaveable(String),
    Differs(String),
}

pub fn run(root: &Path, cu: &Path, suite: &Path, files: &[String]) -> Result<()> {
    let work = suite::cache(root).join("work");
    let image = suite::cache(root).join("stopped.image").display().to_string();
    let (mut same, mut stops_in_all, mut unsaveable, mut failed) = (0, 0, 0, 0);
    for file in stoppable(files) {
        let run = |arguments: &[&str]| run_with(cu, suite, &work, file, arguments);
        match stopped(&run, &image)? {
            Ending::Same { stops } => {
                same += 1;
                stops_in_all += stops;
                println!("PASS {file}  ({stops} stops)");
            }
            Ending::Unsaveable(what) => {
                unsaveable += 1;
                println!("NONE {file}: {what}");
            }
            Ending::Differs(problem) => {
                failed += 1;
                println!("FAIL {file}: {problem}");
            }
        }
    }
    println!("{same} files went on after {stops_in_all} stops, {unsaveable} cannot be saved, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(Error::Conformance { failed, output: suite::cache(root) }) }
}

/// Likewise, with Node in turn with the native program; `web/test/crossing.mjs` does it.
pub fn run_crossing(root: &Path, cu: &Path, suite: &Path, files: &[String]) -> Result<()> {
    let work = suite::cache(root).join("work");
    suite::copy(suite, &work)?;
    let distances = DISTANCES.map(|distance| distance.to_string()).join(",");
    let mut script = process::node(&root.join("web"));
    script.args(["test/crossing.mjs", "--suite", "--distances", &distances, "--cu"]).arg(cu);
    process::run(script.args(stoppable(files).map(|file| work.join(file))))
}

/// The files that do so in each test of the package.
pub fn quick() -> Vec<String> {
    QUICK.map(str::to_owned).to_vec()
}

/// The files that can be stopped; says which cannot.
fn stoppable(files: &[String]) -> impl Iterator<Item = &String> {
    let reason = |file: &String| LEFT_OUT.iter().find(|(left_out, _)| left_out == file);
    for (file, reason) in files.iter().filter_map(reason) {
        println!("LEFT OUT {file}: {reason}");
    }
    files.iter().filter(move |file| reason(file).is_none())
}

fn stopped(run: &dyn Fn(&[&str]) -> Result<Outcome>, image: &str) -> Result<Ending> {
    let (whole, again) = (run(&[])?, run(&[])?);
    let mut printed = Vec::new();
    for (stops, distance) in DISTANCES.iter().map(u64::to_string).enumerate() {
        let command = if stops == 0 { "snapshot" } else { "resume" };
        let on: &[&str] = if stops == 0 { &[] } else { &[image] };
        let outcome = run(&[&[command, "--after", &distance, "-o", image], on].concat())?;
        printed.extend_from_slice(&outcome.stdout);
        let errors = String::from_utf8_lossy(&outcome.stderr);
        if errors.contains(ENDED) {
            return Ok(compared(&whole, &again, &printed, stops));
        }
        if let Some(line) = errors.lines().find(|line| line.contains(UNSAVEABLE)) {
            return Ok(Ending::Unsaveable(line.to_owned()));
        }
        if !succeeded(&outcome) {
            return Ok(Ending::Differs(format!(
                "after {stops} stops: {}",
                errors.lines().next().unwrap_or("no message")
            )));
        }
    }
    let last = run(&["resume", image])?;
    printed.extend_from_slice(&last.stdout);
    if succeeded(&last) != succeeded(&whole) {
        return Ok(Ending::Differs(
            String::from_utf8_lossy(&last.stderr).lines().next().unwrap_or("no message").to_owned(),
        ));
    }
    Ok(compared(&whole, &again, &printed, DISTANCES.len()))
}

fn compared(whole: &Outcome, again: &Outcome, printed: &[u8], stops: usize) -> Ending {
    if whole.stdout == again.stdout && whole.stdout != printed {
        Ending::Differs(format!("it prints something else after {stops} stops"))
    } else {
        Ending::Same { stops }
    }
}

fn succeeded(outcome: &Outcome) -> bool {
    matches!(outcome.end, End::Exit(status) if status.success())
}
