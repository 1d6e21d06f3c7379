//! The official test suite of Lua 5.4, file by file: natively with the program `cu`, or in a page.
//!
//! Every file runs as it stands, by itself and in a process of its own, in a copy of the suite's folder, because some write files; so
//! does `all.lua`, which runs them one after another in one state. Tests that need the internal hooks of PUC Lua's own debug build (the
//! global `T`) leave themselves out, as in any other build. Two things are added, here and for the program it is compared with:
//!
//! - `main.lua` has `-l` load a module that is a library in C. None can be loaded here, so there is one in Lua with the same content.
//! - `big.lua` yields, so it runs in a coroutine, as `all.lua` has it.
//!
//! `main.lua` has a race of its own (see [`lost_race`]). A run that loses it is done again, and the result says so.
//!
//! What a page leaves out is in `web/test/browser/conformance.mjs`, which runs the files there.

mod program;
mod stops;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Result, at};
use crate::{browser, package, process};
use program::{Cost, End, Outcome};

/// What the command line says.
#[derive(Default)]
pub struct Options {
    /// Files to run; all if empty.
    pub files: Vec<String>,
    /// Whether they run in a page.
    pub browser: bool,
    /// Whether each file is stopped, saved and gone on with in another process.
    pub stops: bool,
    /// Whether the other process is one of Node, by turns.
    pub crossing: bool,
    /// Whether `heavy.lua` runs too, which takes many minutes and all the memory it gets.
    pub heavy: bool,
    /// A program to compare time and memory with.
    pub against: Option<PathBuf>,
}

const ALL: &str = "all.lua";
const HEAVY: &str = "heavy.lua";
/// Runs of a file that loses its own race each time; on a machine with four busy programs per processor, one run in six wins it.
const RUNS_MAX: usize = 100;
const LIMIT: Duration = Duration::from_secs(15 * 60);
const LIMIT_HEAVY: Duration = Duration::from_secs(4 * 60 * 60);

/// The name under which `main.lua` asks for a library in C, and what is there instead.
const MODULE: (&str, &str) = ("lib2-v2.lua", "return { id = function(...) return true, ... end }\n");

const IN_COROUTINE: &str =
    "local f = coroutine.wrap(assert(loadfile('big.lua'))) assert(f() == 'b') assert(f() == 'a')";

/// A file's time and memory, ours and the other program's.
struct Comparison {
    ours: Cost,
    theirs: Cost,
}

pub fn run(root: &Path, options: &Options) -> Result<()> {
    let suite = suite::folder(root)?;
    let files = chosen(&suite, options)?;
    if options.browser {
        package::build(root)?;
        in_page(root, &suite, &files)
    } else {
        natively(root, options, &suite, &files)
    }
}

/// Runs all files in a page of the package as it was built.
pub fn run_in_page(root: &Path) -> Result<()> {
    let suite = suite::folder(root)?;
    in_page(root, &suite, &chosen(&suite, &Options::default())?)
}

/// Stops some short files and goes on with them in Node, with the package as it was built.
pub fn run_quick_crossing(root: &Path) -> Result<()> {
    stops::run_crossing(root, &native_program(root)?, &suite::folder(root)?, &stops::quick())
}

fn in_page(root: &Path, suite: &Path, files: &[String]) -> Result<()> {
    let mut script = process::node(&root.join("web"));
    script.arg("test/browser/conformance.mjs").env("CU_SUITE", suite).env("CU_FILES", files.join(" "));
    browser::run(root, &mut script)
}

fn natively(root: &Path, options: &Options, suite: &Path, files: &[String]) -> Result<()> {
    let cu = native_program(root)?;
    if options.crossing {
        package::build(root)?;
        return stops::run_crossing(root, &cu, suite, files);
    }
    if options.stops {
        return stops::run(root, &cu, suite, files);
    }
    let work = suite::cache(root).join("work");
    let mut failed = 0;
    let mut comparisons = Vec::new();
    for file in files {
        let (ours, runs) = run_file(&cu, suite, &work, file)?;
        let problem = problem(file, &ours);
        let theirs = options.against.as_ref().map(|program| run_file(program, suite, &work, file)).transpose()?;
        let figures = match (theirs, &problem) {
            (Some((theirs, _)), None) if problem_free(&theirs) => {
                let comparison = Comparison { ours: ours.cost, theirs: theirs.cost };
                let text = comparison.to_string();
                comparisons.push(comparison);
                text
            }
            (Some(_), None) => "  (fails in the other program)".to_owned(),
            _ => format!("  ({:.1} s)", ours.cost.seconds),
        };
        match problem {
            None => println!("PASS {file}{figures}{}", repeated(runs)),
            Some(problem) => {
                failed += 1;
                println!("FAIL {problem}");
                keep_output(&suite::cache(root), file, &ours)?;
            }
        }
    }
    if options.against.is_some() {
        println!("{}", summary(&comparisons));
    }
    println!("{} passed, {failed} failed", files.len() - failed);
    if failed == 0 { Ok(()) } else { Err(Error::Conformance { failed, output: suite::cache(root) }) }
}

/// The program `cu`, which is built if need be.
fn native_program(root: &Path) -> Result<PathBuf> {
    process::run(process::cargo(root).args(["build", "--release", "-p", "cu-cli"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    Ok(target.join("release").join(format!("cu{}", std::env::consts::EXE_SUFFIX)))
}

/// The files to run, in order; `all.lua` last.
fn chosen(suite: &Path, options: &Options) -> Result<Vec<String>> {
    let mut files = suite::files(suite)?;
    if let Some(unknown) = options.files.iter().find(|file| !files.contains(file)) {
        return Err(Error::Usage(format!("the suite has no file '{unknown}'")));
    }
    if !options.files.is_empty() {
        return Ok(options.files.clone());
    }
    files.retain(|file| file != ALL && (file != HEAVY || options.heavy));
    files.push(ALL.to_owned());
    Ok(files)
}

/// Runs a file, again as long as it loses its own race; also tells how often it ran.
fn run_file(program: &Path, suite: &Path, work: &Path, file: &str) -> Result<(Outcome, usize)> {
    let mut runs = 1;
    loop {
        let outcome = run_once(program, suite, work, file)?;
        if problem_free(&outcome) || !lost_race(&outcome.stdout) || runs == RUNS_MAX {
            return Ok((outcome, runs));
        }
        runs += 1;
    }
}

/// Whether `main.lua` (by itself or within `all.lua`) took a background program's output for its process number. It starts one twice
/// with `program & echo $!`, reads the number first, and the program prints 12 or 15. Nothing makes the shell's `echo` come
/// first: on a machine with more to do than processors the program often does, whichever Lua it is. The number read is
/// printed.
fn lost_race(stdout: &[u8]) -> bool {
    let output = String::from_utf8_lossy(stdout);
    ["12", "15"].iter().any(|printed| output.contains(&format!("running in background, pid {printed})")))
}

fn repeated(runs: usize) -> String {
    match runs {
        1 => String::new(),
        runs => format!("  (run {runs}: in those before it, main.lua lost its race with its background programs)"),
    }
}

fn run_once(program: &Path, suite: &Path, work: &Path, file: &str) -> Result<Outcome> {
    run_with(program, suite, work, file, &[])
}

/// Likewise with something in front of the file, which a `resume` leaves out.
fn run_with(program: &Path, suite: &Path, work: &Path, file: &str, before: &[&str]) -> Result<Outcome> {
    suite::copy(suite, work)?;
    let module = work.join(MODULE.0);
    std::fs::write(&module, MODULE.1).map_err(at(&module))?;
    let mut command = Command::new(program);
    command.args(before);
    match file {
        _ if before.first() == Some(&"resume") => &mut command,
        "big.lua" if before.is_empty() => command.args(["-e", IN_COROUTINE]),
        file => command.arg(file),
    };
    command.current_dir(work).env("LC_ALL", "C");
    for variable in ["LUA_INIT", "LUA_INIT_5_4", "LUA_PATH", "LUA_PATH_5_4", "LUA_CPATH", "LUA_CPATH_5_4"] {
        command.env_remove(variable);
    }
    program::run(&mut command, if file == HEAVY { LIMIT_HEAVY } else { LIMIT })
}

fn problem_free(outcome: &Outcome) -> bool {
    matches!(outcome.end, End::Exit(status) if status.success())
}

/// The line that says why a file fails: the error message, which names file and line, if there is one.
fn problem(file: &str, outcome: &Outcome) -> Option<String> {
    if problem_free(outcome) {
        return None;
    }
    let errors = String::from_utf8_lossy(&outcome.stderr);
    let lines = || errors.lines().map(str::trim).filter(|line| !line.is_empty());
    // A message stands before its traceback, and after whatever the test wrote.
    let traceback = lines().position(|line| line == "stack traceback:");
    let message = match traceback {
        Some(position) if position > 0 => lines().nth(position - 1),
        _ => lines().next_back(),
    };
    // Without the name of the program.
    let message = message.map(|line| line.split_once(": ").map_or(line, |(_, message)| message));
    Some(match (outcome.end, message) {
        (End::TimeLimit(limit), _) => format!("{file}: not at its end after {} s", limit.as_secs()),
        (End::Exit(status), None) => format!("{file}: {status}"),
        (End::Exit(_), Some(message)) if message.starts_with(&format!("{file}:")) => message.to_owned(),
        (End::Exit(_), Some(message)) => format!("{file}: {message}"),
    })
}

/// Writes what a failing file wrote where a person finds it.
fn keep_output(cache: &Path, file: &str, outcome: &Outcome) -> Result<()> {
    for (kind, bytes) in [("out", &outcome.stdout), ("err", &outcome.stderr)] {
        let path = cache.join(file).with_extension(kind);
        std::fs::write(&path, bytes).map_err(at(&path))?;
    }
    Ok(())
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Comparison { ours, theirs } = self;
        write!(formatter, "  {:.2} s against {:.2} s (x {:.2})", ours.seconds, theirs.seconds, self.time_ratio())?;
        match self.memory_ratio() {
            Some(ratio) => write!(formatter, ", {} against {} MiB (x {ratio:.2})", mebibytes(ours), mebibytes(theirs)),
            None => Ok(()),
        }
    }
}

impl Comparison {
    fn time_ratio(&self) -> f64 {
        self.ours.seconds / self.theirs.seconds.max(1e-6)
    }

    fn memory_ratio(&self) -> Option<f64> {
        Some(self.ours.peak_bytes? as f64 / self.theirs.peak_bytes?.max(1) as f64)
    }
}

fn mebibytes(cost: &Cost) -> u64 {
    cost.peak_bytes.unwrap_or(0).div_ceil(1 << 20)
}

fn summary(comparisons: &[Comparison]) -> String {
    let total = |cost: fn(&Comparison) -> f64| comparisons.iter().map(cost).sum::<f64>();
    let (ours, theirs) = (total(|c| c.ours.seconds), total(|c| c.theirs.seconds));
    let times = comparisons.iter().map(Comparison::time_ratio).collect();
    let memory: Vec<f64> = comparisons.iter().filter_map(Comparison::memory_ratio).collect();
    let largest = memory.iter().copied().fold(0.0, f64::max);
    format!(
        "time: {ours:.2} s against {theirs:.2} s (x {:.2}), median x {:.2}; memory: median x {:.2}, at most x {largest:.2}",
        ours / theirs.max(1e-6),
        median(times),
        median(memory),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_race_is_run_again() {
        let output = |number: &str| {
            format!(
                "testing Ctrl C\n(if test fails now, it may leave a Lua script running in background, pid {number})\n"
            )
        };
        assert!(lost_race(output("12").as_bytes()));
        assert!(lost_race([output("4711"), output("15")].concat().as_bytes()));
        assert!(!lost_race([output("4711"), output("1215")].concat().as_bytes()));
        assert!(!lost_race(b"12\n15\n"));
    }
}
