//! `fuzz`: runs the targets of `fuzz/` for a given time, one after the other, and says how many executions that were.
//!
//! The targets are libFuzzer programs. libFuzzer is built by the crate `libfuzzer-sys`, which needs a C++ compiler; the marks of coverage that it
//! follows are made by an LLVM pass that the stable compiler has too. So neither a nightly compiler nor `cargo fuzz` is needed.
//! There are no sanitizers that way; unsafe code is watched by debug assertions, which are on, and by Miri (`cargo xtask miri`).
//!
//! What a target finds stays in `target/fuzz/findings`, the inputs that reached new code in `target/fuzz/corpus`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::process;

pub struct Options {
    /// All if there are none.
    pub targets: Vec<String>,
    /// For all targets together.
    pub seconds: u64,
}

pub const SECONDS: u64 = 120;

/// A target's name, and folders of the repository whose files are seeds besides `fuzz/seeds/NAME`.
const TARGETS: &[(&str, &[&str])] = &[
    ("source", &["fixtures/lua", "fixtures/hostile"]),
    ("verifier", &[]),
    ("blob", &[]),
    ("image", &[]),
    ("home", &[]),
    ("page", &[]),
    ("query", &[]),
    ("value", &[]),
];

/// Largest input in bytes.
const INPUT_BYTES_MAX: u64 = 20_000;

/// What libFuzzer follows; the flags that `cargo fuzz` gives, without a sanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

struct Outcome {
    executions: u64,
    seconds: u64,
    covered: u64,
    failed: bool,
}

pub fn run(root: &Path, options: &Options) -> Result<()> {
    let chosen: Vec<_> = match options.targets.as_slice() {
        [] => TARGETS.iter().collect(),
        names => names.iter().map(|name| find(name)).collect::<Result<_>>()?,
    };
    let programs = build(root)?;
    let seconds = (options.seconds / chosen.len() as u64).max(1);
    let mut failed = Vec::new();
    let mut executions = 0;
    println!("{:<10} {:>12} {:>8} {:>8} {:>9}", "target", "executions", "seconds", "per s", "coverage");
    for (name, folders) in chosen {
        let outcome = fuzz(root, &programs, name, folders, seconds)?;
        let rate = outcome.executions / outcome.seconds.max(1);
        let mark = if outcome.failed { "  FOUND SOMETHING" } else { "" };
        println!("{name:<10} {:>12} {:>8} {rate:>8} {:>9}{mark}", outcome.executions, outcome.seconds, outcome.covered);
        executions += outcome.executions;
        if outcome.failed {
            failed.push(*name);
        }
    }
    println!("{executions} executions in all");
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(format!("{} failed; inputs and logs are in target/fuzz/findings", failed.join(", "))))
}

fn find(name: &str) -> Result<&'static (&'static str, &'static [&'static str])> {
    let names = || TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let unknown = || Error::Usage(format!("no fuzz target '{name}'; there are {}", names()));
    TARGETS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)
}

/// Builds all targets; gives the folder of the programs.
fn build(root: &Path) -> Result<PathBuf> {
    let version = process::output("rustc", &["-vV"]).unwrap_or_default();
    // With the target named, the flags are not for build scripts.
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("x86_64-unknown-linux-gnu");
    let target = root.join("target/fuzz/build");
    let mut cargo = process::cargo(&root.join("fuzz"));
    cargo
        .args(["build", "--release", "--bins", "--target", host])
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", FLAGS);
    process::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

fn fuzz(root: &Path, programs: &Path, name: &str, folders: &[&str], seconds: u64) -> Result<Outcome> {
    let file = |source| Error::Start { command: format!("fuzz target {name}"), source };
    let corpus = root.join("target/fuzz/corpus").join(name);
    let findings = root.join("target/fuzz/findings");
    std::fs::create_dir_all(&corpus).map_err(file)?;
    std::fs::create_dir_all(&findings).map_err(file)?;
    let log = findings.join(format!("{name}.log"));
    let seeds = [format!("fuzz/seeds/{name}")];
    let seeds = seeds.iter().map(String::as_str).chain(folders.iter().copied());
    let mut command = Command::new(programs.join(name));
    command.arg(&corpus).args(seeds.map(|folder| root.join(folder)).filter(|folder| folder.is_dir())).args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-artifact_prefix={}/{name}-", findings.display()),
        "-timeout=20".into(),
        "-rss_limit_mb=2048".into(),
        "-print_final_stats=1".into(),
        "-verbosity=1".into(),
    ]);
    command.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(std::fs::File::create(&log).map_err(file)?);
    let started = std::time::Instant::now();
    let status = command.status().map_err(file)?;
    let text = std::fs::read(&log).map_err(file)?;
    let text = String::from_utf8_lossy(&text);
    Ok(Outcome {
        executions: number_after(&text, "stat::number_of_executed_units:").unwrap_or(0),
        seconds: started.elapsed().as_secs(),
        covered: number_after(&text, " cov: ").unwrap_or(0),
        failed: !status.success(),
    })
}

/// The number behind the last place where `label` stands.
fn number_after(text: &str, label: &str) -> Option<u64> {
    text.rsplit_once(label)?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_from_the_end() {
        let log = "#2 INITED cov: 10 ft: 11\n#8 DONE cov: 42 ft: 50\nstat::number_of_executed_units: 800\n";
        assert_eq!(number_after(log, " cov: "), Some(42));
        assert_eq!(number_after(log, "stat::number_of_executed_units:"), Some(800));
        assert_eq!(number_after(log, "stat::slowest"), None);
    }

    #[test]
    fn targets_are_those_of_the_manifest() {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        let bins = manifest.matches("[[bin]]").count();
        assert_eq!(bins, TARGETS.len());
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
        assert!(find("nothing").is_err());
    }
}
