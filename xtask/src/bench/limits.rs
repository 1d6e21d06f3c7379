//! `cargo xtask bench limits`: what fuel, the heap limit and the depth limits cost, against a build of the same program without them
//! (`--cfg cu_unlimited`: see `vm/src/fuel.rs`).
//!
//! Instructions are counted by callgrind, once for each program, as they are the same every time. Processor time is measured by the program itself, both
//! builds in turn, and the median of the rounds' ratios counts: what other processes do then meets both alike.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::measure::{self, Program};
use super::statistics::{geometric_mean, median};
use crate::error::{Error, Result};
use crate::process;

const ROUNDS: usize = 5;
/// How much of the geometric mean the limits may cost.
const COST_MAX: f64 = 1.05;

/// Runs the file that it is given, and says how long that took the processor.
const TIMED: &str =
    "local clock, run = os.clock, dofile; local start = clock(); run(FILE); io.stderr:write(clock() - start)";

/// What a program takes with limits, as a multiple of what it takes without.
struct Cost {
    instructions: Option<f64>,
    time: f64,
}

pub fn run(root: &Path, programs: &[String], rounds: Option<usize>) -> Result<()> {
    let programs = measure::programs(&root.join("fixtures/bench"), programs)?;
    let builds = [build(root, false)?, build(root, true)?];
    let has_callgrind = process::output("valgrind", &["--version"]).is_some();
    if !has_callgrind {
        eprintln!("valgrind is not there; instructions are not counted");
    }
    println!("{:16} {:>12} {:>12}", "program", "instructions", "time");
    let mut costs = Vec::new();
    for program in &programs {
        let cost = measure(&builds, program, rounds.unwrap_or(ROUNDS), has_callgrind)?;
        println!("{:16} {:>12} {:>12}", program.name, shown(cost.instructions), shown(Some(cost.time)));
        costs.push(cost);
    }
    let instructions = geometric_mean(&costs.iter().filter_map(|cost| cost.instructions).collect::<Vec<_>>());
    let time = geometric_mean(&costs.iter().map(|cost| cost.time).collect::<Vec<_>>());
    println!("{:16} {:>12} {:>12}", "geometric mean", shown(instructions), shown(time));
    match instructions.or(time) {
        Some(cost) if cost > COST_MAX => {
            Err(Error::Bench(format!("the limits cost {cost:.3} ×, more than {COST_MAX:.2} ×")))
        }
        _ => Ok(()),
    }
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3} ×"))
}

/// Builds `cu`, and gives where it is.
fn build(root: &Path, unlimited: bool) -> Result<PathBuf> {
    let mut build = process::cargo(root);
    build.args(["build", "--release", "-p", "cu-cli"]);
    let target = root.join(if unlimited { "target/bench/limits" } else { "target" });
    build.arg("--target-dir").arg(&target);
    if unlimited {
        build.env("RUSTFLAGS", "--cfg cu_unlimited");
    }
    process::run(&mut build)?;
    Ok(target.join("release").join(format!("cu{}", std::env::consts::EXE_SUFFIX)))
}

fn measure(builds: &[PathBuf; 2], program: &Program, rounds: usize, has_callgrind: bool) -> Result<Cost> {
    let ratio = |[limited, unlimited]: [f64; 2]| limited / unlimited;
    let instructions = match has_callgrind {
        true => Some(ratio([count(&builds[0], program)?, count(&builds[1], program)?])),
        false => None,
    };
    let mut ratios = Vec::new();
    for round in 0..rounds.max(1) {
        // Each build is first as often as the other.
        let [first, second] = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut times = [0.0; 2];
        times[first] = time(&builds[first], program)?;
        times[second] = time(&builds[second], program)?;
        ratios.push(ratio(times));
    }
    Ok(Cost { instructions, time: median(&ratios).unwrap_or(f64::NAN) })
}

/// Seconds of processor time that a program takes.
fn time(cu: &Path, program: &Program) -> Result<f64> {
    let code = TIMED.replace("FILE", &format!("{:?}", format!("{}.lua", program.name)));
    let (output, text) = output(Command::new(cu).args(["-E", "-e", &code]), program)?;
    check(program, &output)?;
    text.trim().parse().map_err(|_| Error::Bench(format!("{}: no time, but {text}", program.name)))
}

/// Instructions that a program takes, the process's start and end included.
fn count(cu: &Path, program: &Program) -> Result<f64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(cu).args(["-E", "--deterministic"]);
    let (output, text) = output(command.arg(format!("{}.lua", program.name)), program)?;
    check(program, &output)?;
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    let number = collected.and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| Error::Bench(format!("{}: callgrind has counted nothing", program.name)))
}

/// What a command prints, and what it says on the other stream.
fn output(command: &mut Command, program: &Program) -> Result<(String, String)> {
    if let Some(folder) = program.path.parent() {
        command.current_dir(folder);
    }
    let name = || format!("{:?}", command.get_program());
    let started = name();
    let output = command.stdin(Stdio::null()).output().map_err(|source| Error::Start { command: started, source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(Error::Bench(format!("{}: {}", program.name, text(&output.stderr))));
    }
    Ok((text(&output.stdout), text(&output.stderr)))
}

fn check(program: &Program, output: &str) -> Result<()> {
    if output == program.expected {
        return Ok(());
    }
    Err(Error::Bench(format!("{}: the output is not the expected one", program.name)))
}
