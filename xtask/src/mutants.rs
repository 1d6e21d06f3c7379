//! `mutants`: changes verifier, limits, fuel and codecs in one place at a time, and lists the changes that no test notices.
//!
//! A build for each change takes days. So a copy of the repository is made in which all changes of a group of files stand side by side, each
//! behind a switch ([`switches`]); it is built once, and for each change the tests run with its switch on until one fails. Changes that do not
//! compile are left out, by what the compiler says of them. Tests may take a multiple of the processor time that they take without a change.
//!
//! Changes that make no difference are listed with their reasons in `docs/MUTATION.md`, which this reads: the score is without them.

mod switches;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use switches::Change;

use crate::error::{Error, Result, at};
use crate::process;

/// Files of a package, and the tests that have to notice a change in them, those that are quick first.
struct Group {
    package: &'static str,
    files: &'static [&'static str],
    /// A package, the name of its test, or nothing for those next to the code, and what the names of the tests that run contain.
    tests: &'static [(&'static str, &'static str, &'static str)],
}

const GROUPS: [Group; 4] = [
    Group {
        package: "cu-compiler",
        files: &["vm/compiler/src/bytecode/verify.rs", "vm/compiler/src/bytecode/verify/rules.rs"],
        tests: &[("cu-compiler", "", "bytecode::")],
    },
    Group {
        package: "cu-compiler",
        files: &[
            "vm/compiler/src/bytecode/encoding.rs",
            "vm/compiler/src/bytecode/chunk.rs",
            "vm/compiler/src/bytecode/wire.rs",
        ],
        tests: &[("cu-compiler", "", "bytecode::"), ("cu-vm", "chunks", "")],
    },
    Group {
        package: "cu-persist",
        files: &["persist/src/envelope.rs", "persist/src/reader.rs", "persist/src/limits.rs", "persist/src/value.rs"],
        tests: &[
            ("cu-persist", "", ""),
            ("cu-persist", "value", ""),
            ("cu-persist", "golden", ""),
            ("cu-persist", "hostile", ""),
        ],
    },
    Group {
        package: "cu-vm",
        files: &["vm/src/fuel.rs", "vm/src/heap/accounting.rs"],
        tests: &[
            ("cu-vm", "", "fuel::"),
            ("cu-vm", "", "accounting::"),
            ("cu-vm", "collection", ""),
            ("cu-vm", "image", ""),
            ("cu-tests", "fuel", ""),
            ("cu-tests", "stops", ""),
        ],
    },
];

/// Functions that are needed while compiling.
const CONSTANT: &[&str] = &["covers", "for_opcode", "less"];
/// What the copy needs not.
const LEFT_OUT: &[&str] = &["target", "node_modules", "dist", ".git"];
const EQUIVALENT: &str = "docs/MUTATION.md";
/// Tests may take so many times the processor time that they take unchanged, and this many seconds more.
const TIME_FACTOR: u64 = 5;
const SECONDS_MORE: u64 = 5;
/// For what waits without using the processor.
const WAITING_MAX: Duration = Duration::from_secs(300);
const SCORE_GOAL: f64 = 90.0;

/// A change, and where.
struct Mutant {
    file: &'static str,
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A test failed.
    Failed,
    /// The tests took too long.
    Stopped,
    Missed,
}

/// What cargo says while it builds; the other messages have neither.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<DiagnosticSpan>,
}

#[derive(Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    byte_start: usize,
    is_primary: bool,
}

/// Tries the changes in the files whose path contains one of `names`, or in all. `shard` is a part of them, as `1/8`.
pub fn run(root: &Path, names: &[String], shard: Option<&str>) -> Result<()> {
    let shard = shard.map_or(Ok((1, 1)), part)?;
    let tree = root.join("target/mutants/tree");
    let is_chosen = |file: &str| names.is_empty() || names.iter().any(|name| file.contains(name.as_str()));
    let all: Vec<&str> = GROUPS.iter().flat_map(|group| group.files).copied().collect();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|file| !file.contains(name.as_str()))) {
        return Err(Error::Usage(format!("'{unknown}' is in no path of {}", all.join(", "))));
    }
    let switched: Vec<&str> = all.into_iter().filter(|file| is_chosen(file)).collect();
    copy(root, &tree, &switched)?;
    let path = root.join(EQUIVALENT);
    let equivalent = std::fs::read_to_string(&path).map_err(at(&path))?;
    let mut table = Table::default();
    for group in &GROUPS {
        let files: Vec<&str> = group.files.iter().copied().filter(|file| is_chosen(file)).collect();
        if !files.is_empty() {
            // The switches of other groups have the same numbers.
            for file in switched.iter().filter(|file| !files.contains(file)) {
                let path = root.join(file);
                write_if_new(&tree.join(file), &std::fs::read(&path).map_err(at(&path))?)?;
            }
            try_group(root, &tree, group, &files, shard, &equivalent, &mut table)?;
        }
    }
    table.end()
}

fn part(text: &str) -> Result<(usize, usize)> {
    let numbers = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    let is_valid = |&(part, of): &(usize, usize)| 1 <= part && part <= of;
    numbers.filter(is_valid).ok_or_else(|| Error::Usage(format!("--shard {text}: a part such as 1/8 is needed")))
}

fn try_group(
    root: &Path,
    tree: &Path,
    group: &Group,
    files: &[&'static str],
    shard: (usize, usize),
    equivalent: &str,
    table: &mut Table,
) -> Result<()> {
    let (mutants, programs) = build(root, tree, group, files)?;
    let mut seconds = Vec::new();
    for program in &programs {
        let started = Instant::now();
        // Its wall-clock time is no less than its processor time of one thread; tests run in two at most.
        if fate(program, usize::MAX, 3600)? != Fate::Failed {
            seconds.push(started.elapsed().as_secs() * TIME_FACTOR + SECONDS_MORE);
        } else {
            return Err(Error::Bench(format!("{} fails without a change", program.path.display())));
        }
    }
    eprintln!("{}: {} changes, {} test programs", group.package, mutants.len(), programs.len());
    for (number, mutant) in &mutants {
        if number % shard.1 != shard.0 - 1 {
            continue;
        }
        let mut fates = programs.iter().zip(&seconds).map(|(program, seconds)| fate(program, *number, *seconds));
        let fate = fates.find(|fate| !matches!(fate, Ok(Fate::Missed))).unwrap_or(Ok(Fate::Missed))?;
        let is_equivalent = equivalent.contains(&mutant.row());
        table.add(mutant, fate, is_equivalent);
    }
    Ok(())
}

impl Mutant {
    /// How it stands in the list of those that make no difference.
    fn row(&self) -> String {
        format!("| {} | `{}` | `{}` |", self.file, self.change.function, self.change.what)
    }
}

/// A test program, the folder it runs in, and which of its tests run.
struct Program {
    path: PathBuf,
    folder: PathBuf,
    filter: &'static str,
}

/// Writes the files with their changes and builds the tests; the changes that compile, by number.
fn build(
    root: &Path,
    tree: &Path,
    group: &Group,
    files: &[&'static str],
) -> Result<(BTreeMap<usize, Mutant>, Vec<Program>)> {
    let mut left_out = BTreeSet::new();
    loop {
        let mut mutants = BTreeMap::new();
        let mut texts = BTreeMap::new();
        let mut first = 0;
        for &file in files {
            let path = root.join(file);
            let source = std::fs::read_to_string(&path).map_err(at(&path))?;
            let switched = switches::switch(&source, first, CONSTANT, &|number| left_out.contains(&number))
                .map_err(|error| Error::Bench(format!("{file}: {error}")))?;
            write_if_new(&tree.join(file), switched.text.as_bytes())?;
            texts.insert(file, switched.text);
            let count = switched.changes.len();
            let changes = (first..).zip(switched.changes);
            mutants.extend(changes.map(|(number, change)| (number, Mutant { file, change })));
            first += count;
        }
        mutants.retain(|number, _| !left_out.contains(number));
        let before = left_out.len();
        match compile(root, tree, group, &texts, &mut left_out)? {
            Some(programs) => return Ok((mutants, programs)),
            None if left_out.len() == before => {
                return Err(Error::Bench(format!("{} does not build with its changes", group.package)));
            }
            None => eprintln!("{}: {} changes do not compile", group.package, left_out.len()),
        }
    }
}

/// Builds the test programs, or notes in `left_out` which changes do not compile.
fn compile(
    root: &Path,
    tree: &Path,
    group: &Group,
    texts: &BTreeMap<&str, String>,
    left_out: &mut BTreeSet<usize>,
) -> Result<Option<Vec<Program>>> {
    let mut programs = Vec::new();
    for (package, test, filter) in group.tests {
        let mut cargo = process::cargo(tree);
        cargo.args(["test", "--no-run", "--message-format=json", "-p", package]);
        match *test {
            "" => cargo.arg("--lib"),
            test => cargo.args(["--test", test]),
        };
        // A folder of its own: cargo would take these programs for the repository's.
        cargo
            .env("CARGO_TARGET_DIR", root.join("target/mutants/build"))
            .env_remove("CARGO_MANIFEST_DIR")
            .stderr(Stdio::null());
        let output = cargo.output().map_err(|source| Error::Start { command: "cargo test".into(), source })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
        let messages: Vec<Message> = messages.collect();
        if !output.status.success() {
            for diagnostic in messages.iter().filter_map(|message| message.message.as_ref()) {
                note(diagnostic, texts, left_out);
            }
            return Ok(None);
        }
        let wanted = if test.is_empty() { package.replace('-', "_") } else { (*test).to_owned() };
        let is_wanted = |message: &&Message| message.target.as_ref().is_some_and(|target| target.name == wanted);
        let path = messages.iter().filter(is_wanted).find_map(|message| message.executable.clone());
        let path = path.ok_or_else(|| Error::Bench(format!("{package}: no test program '{wanted}'")))?;
        programs.push(Program { path, folder: tree.join(folder(package)), filter });
    }
    Ok(Some(programs))
}

fn note(diagnostic: &Diagnostic, texts: &BTreeMap<&str, String>, left_out: &mut BTreeSet<usize>) {
    if diagnostic.level != "error" {
        return;
    }
    let before = left_out.len();
    for span in diagnostic.spans.iter().filter(|span| span.is_primary) {
        let text = texts.iter().find(|(file, _)| span.file_name.ends_with(*file)).map(|(_, text)| text);
        left_out.extend(text.and_then(|text| switches::change_at(text, span.byte_start)));
    }
    if left_out.len() == before && !diagnostic.spans.is_empty() {
        eprintln!("{}", diagnostic.rendered.as_deref().unwrap_or_default());
    }
}

fn folder(package: &str) -> &'static str {
    match package {
        "cu-compiler" => "vm/compiler",
        "cu-vm" => "vm",
        "cu-persist" => "persist",
        _ => "tests",
    }
}

/// Runs a test program with a change on, for so many seconds of processor time at most.
fn fate(program: &Program, number: usize, seconds: u64) -> Result<Fate> {
    let mut command = Command::new("sh");
    // Memory is bounded too: a change may ask for any amount.
    command.args(["-c", "ulimit -t \"$0\"; ulimit -v 8000000; exec \"$@\""]).arg(seconds.to_string());
    command
        .arg(&program.path)
        .args(["--quiet", program.filter])
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder);
    command.env("CU_MUTANT", u32::try_from(number).unwrap_or(u32::MAX).to_string()).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let failed = |source| Error::Start { command: program.path.display().to_string(), source };
    let mut child = command.spawn().map_err(failed)?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if started.elapsed() > WAITING_MAX {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Ok(Fate::Stopped);
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ok(match status.code() {
        Some(0) => Fate::Missed,
        Some(_) => Fate::Failed,
        None if was_stopped(status) => Fate::Stopped,
        None => Fate::Failed,
    })
}

/// Whether a process ended because its processor time was used up.
#[cfg(unix)]
fn was_stopped(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    // What `setrlimit` sends at the soft and at the hard limit, which the shell sets both.
    matches!(status.signal(), Some(signal) if signal == rustix::process::Signal::XCPU.as_raw() || signal == rustix::process::Signal::KILL.as_raw())
}

#[cfg(not(unix))]
fn was_stopped(_: std::process::ExitStatus) -> bool {
    false
}

/// Brings the copy of the repository up to date, without the files that get switches. What has not changed is not written, so that it is not
/// built again.
fn copy(from: &Path, to: &Path, switched: &[&str]) -> Result<()> {
    std::fs::create_dir_all(to).map_err(at(to))?;
    for entry in std::fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            copy(&path, &to.join(name), switched)?;
        } else if kind.is_file() && !switched.iter().any(|file| path.ends_with(file)) {
            write_if_new(&to.join(name), &std::fs::read(&path).map_err(at(&path))?)?;
        }
    }
    Ok(())
}

fn write_if_new(path: &Path, text: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::write(path, text).map_err(at(path))
}

/// What became of the changes.
#[derive(Default)]
struct Table {
    files: BTreeMap<&'static str, Counts>,
}

#[derive(Default)]
struct Counts {
    failed: usize,
    stopped: usize,
    equivalent: usize,
    missed: usize,
}

impl Counts {
    fn score(&self) -> f64 {
        let noticed = (self.failed + self.stopped) as f64;
        let all = noticed + self.missed as f64;
        if all == 0.0 { 100.0 } else { noticed / all * 100.0 }
    }
}

impl Table {
    fn add(&mut self, mutant: &Mutant, fate: Fate, is_equivalent: bool) {
        let counts = self.files.entry(mutant.file).or_default();
        match fate {
            Fate::Failed => counts.failed += 1,
            Fate::Stopped => counts.stopped += 1,
            Fate::Missed if is_equivalent => counts.equivalent += 1,
            Fate::Missed => {
                counts.missed += 1;
                println!("missed, line {}: {}", mutant.change.line, mutant.row());
            }
        }
    }

    fn end(&self) -> Result<()> {
        println!("{:<40} {:>8} {:>8} {:>8} {:>8} {:>8}", "file", "failed", "stopped", "missed", "listed", "score %");
        let mut sum = Counts::default();
        for (file, counts) in &self.files {
            row(file, counts);
            sum.failed += counts.failed;
            sum.stopped += counts.stopped;
            sum.missed += counts.missed;
            sum.equivalent += counts.equivalent;
        }
        row("all", &sum);
        if sum.score() < SCORE_GOAL {
            return Err(Error::Bench(format!("the score is {:.1} %, less than {SCORE_GOAL} %", sum.score())));
        }
        Ok(())
    }
}

fn row(name: &str, counts: &Counts) {
    let Counts { failed, stopped, missed, equivalent } = counts;
    println!("{name:<40} {failed:>8} {stopped:>8} {missed:>8} {equivalent:>8} {:>8.1}", counts.score());
}
