//! `differential [--programs N] [--seed S]`: compares generated programs with the reference interpreter, and prints those that differ.

use std::io::Write;
use std::process::ExitCode;

use cu_tests::{Behaviour, Difference, Differential, Progress};

fn main() -> ExitCode {
    let (seed, count, print) = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("error: {problem}\nusage: differential [--programs N] [--seed S] [--print]");
            return ExitCode::FAILURE;
        }
    };
    let differential = Differential::new();
    if print {
        println!("{}", String::from_utf8_lossy(&differential.program(seed).source));
        return ExitCode::SUCCESS;
    }
    // A panic in the VM is a difference like any other and is told with its program.
    std::panic::set_hook(Box::new(|_| {}));
    let report = differential.compare(seed, count, |progress| match progress {
        Progress::Found(difference) => print_difference(difference),
        Progress::Done(done) if done % 1000 == 0 => eprintln!("{done} of {count}"),
        Progress::Done(_) => {}
    });
    for (reason, seeds) in &report.known {
        let examples: Vec<String> = seeds.iter().take(3).map(u64::to_string).collect();
        println!("{} programs differ as known, such as {}: {reason}", seeds.len(), examples.join(", "));
    }
    if !report.unanswered.is_empty() {
        println!("the reference interpreter does not answer for the seeds {:?}", report.unanswered);
    }
    let known: usize = report.known.values().map(Vec::len).sum();
    let different = report.differences.len();
    println!(
        "{count} programs from seed {seed} on: {} same, {known} differ as known, {different} different",
        report.same
    );
    if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first seed, the number of programs, and whether to print the first program only.
fn arguments() -> Result<(u64, usize, bool), String> {
    let (mut seed, mut count, mut print) = (1, 10_000, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|number| number.parse::<u64>().ok());
            number.ok_or_else(|| format!("{word} needs a number"))
        };
        match word.as_str() {
            "--seed" => seed = number()?,
            "--programs" => count = number()? as usize,
            "--print" => print = true,
            _ => return Err(format!("no argument '{word}'")),
        }
    }
    Ok((seed, count, print))
}

fn print_difference(difference: &Difference) {
    // Another worker may print at the same time; one difference is one piece.
    let mut text = Vec::new();
    let _ = write_difference(&mut text, difference);
    let _ = std::io::stdout().lock().write_all(&text);
}

fn write_difference(to: &mut impl Write, difference: &Difference) -> std::io::Result<()> {
    let Difference { program, expected, actual } = difference;
    writeln!(to, "==== seed {} ({:?}, slices of {}) ====", program.seed, program.mode, program.conditions.slice)?;
    writeln!(to, "{}", String::from_utf8_lossy(&program.source[program.prelude..]).trim())?;
    for (name, behaviour) in [("reference", expected), ("here", actual)] {
        let Behaviour { output, error } = behaviour;
        writeln!(to, "---- {name} ----")?;
        write!(to, "{}", String::from_utf8_lossy(output))?;
        if let Some(error) = error {
            writeln!(to, "error: {}", String::from_utf8_lossy(error))?;
        }
    }
    Ok(())
}
