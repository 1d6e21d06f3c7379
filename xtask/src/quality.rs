//! What looks at the tests and at unsafe code, with tools that are installed when they are missing: `coverage` (cargo-llvm-cov) and `miri`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::error::{Error, Result, at};
use crate::process;

/// What is counted, and the sources that belong to it.
const COUNTED: [(&str, &[&str]); 3] =
    [("vm", &["vm/src", "vm/compiler/src"]), ("persist", &["persist/src"]), ("storage", &["storage/src"])];

/// Whose tests run for it.
const TESTED: [&str; 6] = ["cu-vm", "cu-compiler", "cu-persist", "cu-storage", "cu-cli", "cu-tests"];

/// The share of lines, in percent, that tests should run.
const COVERAGE_GOAL: f64 = 95.0;

#[derive(Deserialize)]
struct Report {
    data: Vec<ReportData>,
}

#[derive(Deserialize)]
struct ReportData {
    files: Vec<ReportFile>,
}

#[derive(Deserialize)]
struct ReportFile {
    filename: String,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

#[derive(Deserialize, Debug, Default, Clone, Copy, PartialEq)]
struct Lines {
    count: u64,
    covered: u64,
}

impl Lines {
    fn percent(self) -> f64 {
        if self.count == 0 { 100.0 } else { self.covered as f64 / self.count as f64 * 100.0 }
    }
}

/// Runs the native tests and prints which share of the lines they ran.
pub fn coverage(root: &Path) -> Result<()> {
    component(root, "llvm-tools", None)?;
    tool("cargo-llvm-cov")?;
    let path = root.join("target/coverage.json");
    let mut cargo = process::cargo(root);
    cargo.args(["llvm-cov", "--json", "--summary-only", "--output-path"]).arg(&path);
    cargo.args(TESTED.iter().flat_map(|package| ["-p", package]));
    process::run(&mut cargo)?;
    let text = std::fs::read(&path).map_err(at(&path))?;
    let report: Report = serde_json::from_slice(&text).map_err(|error| Error::Bench(error.to_string()))?;
    let files = report.data.into_iter().flat_map(|data| data.files);
    let files = files.map(|file| (file.filename, file.summary.lines));
    print!("{}", coverage_table(root, files));
    Ok(())
}

fn coverage_table(root: &Path, files: impl Iterator<Item = (String, Lines)>) -> String {
    let mut sums: BTreeMap<usize, Lines> = BTreeMap::new();
    let mut worst = Vec::new();
    for (name, lines) in files {
        let Ok(name) = Path::new(&name).strip_prefix(root) else { continue };
        let owner = COUNTED.iter().position(|(_, folders)| folders.iter().any(|folder| name.starts_with(folder)));
        let Some(owner) = owner else { continue };
        let sum = sums.entry(owner).or_default();
        (sum.count, sum.covered) = (sum.count + lines.count, sum.covered + lines.covered);
        if lines.percent() < COVERAGE_GOAL {
            worst.push((lines.count - lines.covered, name.display().to_string(), lines));
        }
    }
    let mut text = format!("{:<10} {:>8} {:>8} {:>8}  goal {COVERAGE_GOAL} %\n", "", "lines", "run", "%");
    for (owner, lines) in sums {
        text += &format!("{:<10} {:>8} {:>8} {:>8.2}\n", COUNTED[owner].0, lines.count, lines.covered, lines.percent());
    }
    worst.sort_by_key(|(missing, name, _)| (Reverse(*missing), name.clone()));
    text += "\nfiles below the goal, those with most lines that were not run first:\n";
    for (missing, name, lines) in worst.iter().take(25) {
        text += &format!("{missing:>6} of {:>5}  {name}\n", lines.count);
    }
    text
}

/// Runs the tests of the VM and its allocator in Miri, which sees undefined behaviour: those beside the code, with less work each, and
/// programs that are short enough. It takes a quarter of an hour or so; `names` choose among them.
pub fn miri(root: &Path, names: &[String]) -> Result<()> {
    component(root, "miri", Some("nightly"))?;
    component(root, "rust-src", Some("nightly"))?;
    let runs: [(&str, &[&str]); 2] = [
        // Chunks are kept for good.
        ("-Zmiri-ignore-leaks", &["-p", "cu-allocator", "--test", "model"]),
        ("-Zmiri-disable-isolation", &["-p", "cu-vm", "--lib", "--test", "miri"]),
    ];
    for (flags, tests) in runs {
        let mut miri = Command::new("cargo");
        // The toolchain of the environment would be taken instead of the one named.
        miri.current_dir(root).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env("MIRIFLAGS", flags);
        miri.args(["+nightly", "miri", "test"]).args(tests).arg("--").args(names);
        process::run(&mut miri)?;
    }
    Ok(())
}

/// Installs a component of a toolchain if it is not there.
fn component(root: &Path, name: &str, toolchain: Option<&str>) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.current_dir(root).args(["component", "add", name]);
    if let Some(toolchain) = toolchain {
        rustup.args(["--toolchain", toolchain]);
    }
    process::run(&mut rustup)
}

/// Installs a command of cargo's if it is not there.
fn tool(name: &str) -> Result<()> {
    if process::output(name, &["--version"]).is_some()
        || process::output("cargo", &[&name["cargo-".len()..], "--version"]).is_some()
    {
        return Ok(());
    }
    process::run(Command::new("cargo").args(["install", "--locked", name]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_by_folder() {
        let files = [
            ("/r/vm/src/a.rs", Lines { count: 100, covered: 90 }),
            ("/r/vm/compiler/src/b.rs", Lines { count: 100, covered: 100 }),
            ("/r/storage/src/c.rs", Lines { count: 10, covered: 5 }),
            ("/r/cli/src/d.rs", Lines { count: 10, covered: 0 }),
            ("/elsewhere/vm/src/a.rs", Lines { count: 10, covered: 0 }),
        ];
        let files = files.map(|(name, lines)| (name.to_owned(), lines));
        let table = coverage_table(Path::new("/r"), files.into_iter());
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["vm", "200", "190", "95.00"]);
        assert_eq!(rows[2], ["storage", "10", "5", "50.00"]);
        assert_eq!(rows[5], ["10", "of", "100", "vm/src/a.rs"]);
        assert_eq!(rows[6], ["5", "of", "10", "storage/src/c.rs"]);
        assert_eq!(rows.len(), 7);
    }
}
