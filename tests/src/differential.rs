//! Generated programs, run here and by the reference interpreter.
//!
//! A seed decides everything: the program, whether it is broken on purpose, and the slices in which it is run here.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fixture::repository;
use crate::grammar::Grammar;
use crate::known::known_difference;
use crate::mutation::broken;
use crate::outcome::{Conditions, HEAP_LIMIT, compile_error, run};
use crate::random::Random;
use crate::reference::{Behaviour, Mode, Reference};
use crate::shrink::shrink;

/// Programs per process of the reference interpreter.
const BATCH: usize = 100;

/// Candidates without end after which a program is not made smaller.
const ENDLESS_MAX: usize = 10;

/// A generated program and what is done with it.
#[derive(Debug, Clone)]
pub struct Program {
    pub seed: u64,
    pub mode: Mode,
    pub source: Vec<u8>,
    /// How many bytes of it are the same in every program.
    pub prelude: usize,
    pub conditions: Conditions,
}

/// A program that behaves differently here, made as small as possible.
#[derive(Debug, Clone)]
pub struct Difference {
    pub program: Program,
    pub expected: Behaviour,
    pub actual: Behaviour,
}

/// What a number of programs came to.
#[derive(Debug, Default)]
pub struct Report {
    pub same: usize,
    /// Each known difference with the seeds of the programs that show it.
    pub known: BTreeMap<&'static str, Vec<u64>>,
    /// Seeds of programs for which the reference interpreter gave no answer.
    pub unanswered: Vec<u64>,
    pub differences: Vec<Difference>,
}

/// What a comparison tells while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many programs are done.
    Done(usize),
    Found(&'a Difference),
}

/// Compares programs with the seeds from `seed` on.
pub struct Differential {
    grammar: Grammar,
    reference: Reference,
}

impl Differential {
    pub fn new() -> Differential {
        let grammar = Grammar::read(&repository().join("fixtures/grammar"));
        Differential { grammar, reference: Reference::of_environment() }
    }

    /// The program of a seed. One in five is broken, to compare what the compilers say.
    pub fn program(&self, seed: u64) -> Program {
        let mut random = Random::new(seed);
        let is_broken = random.chance(20);
        let mut source = self.grammar.expand("program", &mut random).into_bytes();
        let mut prelude = self.grammar.expand("prelude", &mut random).len();
        if is_broken {
            source = broken(&source[prelude..], &mut random);
            prelude = 0;
        }
        let mode = if is_broken { Mode::Load } else { Mode::Run };
        let mut conditions = Conditions {
            heap_limit: HEAP_LIMIT,
            slice: 3_000_000,
            collect: false,
            steps_max: 1,
            ..Conditions::default()
        };
        if random.chance(30) {
            conditions.slice = 1 + random.below(200) as u64;
            conditions.steps_max = 3_000_000 / conditions.slice;
        }
        Program { seed, mode, source, prelude, conditions }
    }

    /// Compares `count` programs, on all processors; `progress` is told how many are done and what differs.
    pub fn compare(&self, seed: u64, count: usize, progress: impl Fn(Progress) + Sync) -> Report {
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let report = Mutex::new(Report::default());
        let work = || {
            loop {
                let start = next.fetch_add(BATCH, Ordering::Relaxed);
                if start >= count {
                    break;
                }
                let seeds = start..count.min(start + BATCH);
                let programs: Vec<Program> = seeds.map(|index| self.program(seed.wrapping_add(index as u64))).collect();
                self.batch(&programs, &report, &progress);
                let programs_done = done.fetch_add(programs.len(), Ordering::Relaxed);
                progress(Progress::Done(programs_done + programs.len()));
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(work);
            }
        });
        let mut report = report.into_inner().expect("all workers have ended");
        report.differences.sort_by_key(|difference| difference.program.seed);
        report.unanswered.sort_unstable();
        report
    }

    fn batch(&self, programs: &[Program], report: &Mutex<Report>, progress: &impl Fn(Progress)) {
        for (program, expected) in programs.iter().zip(answers(&self.reference, programs)) {
            let found = expected.as_ref().map(|expected| verdict(&self.reference, program, expected));
            let difference = match (&found, expected) {
                (Some(Verdict::Different(actual)), Some(expected)) => {
                    let difference = self.shrunk(program.clone(), expected, actual.clone());
                    progress(Progress::Found(&difference));
                    Some(difference)
                }
                _ => None,
            };
            let mut report = report.lock().expect("no worker panics while it holds the report");
            match found {
                None => report.unanswered.push(program.seed),
                Some(Verdict::Same) => report.same += 1,
                Some(Verdict::Known(reason)) => report.known.entry(reason).or_default().push(program.seed),
                Some(Verdict::Different(_)) => report.differences.extend(difference),
            }
        }
    }

    /// A smaller program that still differs, and ends in the same way: otherwise it would soon show something else.
    fn shrunk(&self, program: Program, expected: Behaviour, actual: Behaviour) -> Difference {
        // A candidate may run for ever; it is not worth waiting for.
        let reference = self.reference.with_time_max(Duration::from_millis(500));
        let has_error = |behaviour: &Behaviour| behaviour.error.is_some();
        let ends = (has_error(&expected), has_error(&actual));
        let mut smallest = Difference { program: program.clone(), expected, actual };
        let (prelude, rest) = program.source.split_at(program.prelude);
        let mut endless = 0;
        shrink(rest, |candidates| {
            if endless > ENDLESS_MAX {
                return None;
            }
            let with_source = |rest: &Vec<u8>| Program { source: [prelude, rest].concat(), ..program.clone() };
            let programs: Vec<Program> = candidates.iter().map(with_source).collect();
            let expected = answers(&reference, &programs);
            for (index, (candidate, expected)) in programs.into_iter().zip(expected).enumerate() {
                let Some(expected) = expected else {
                    endless += 1;
                    continue;
                };
                if let Verdict::Different(actual) = verdict(&reference, &candidate, &expected)
                    && ends == (has_error(&expected), has_error(&actual))
                {
                    smallest = Difference { program: candidate, expected, actual };
                    return Some(index);
                }
            }
            None
        });
        smallest
    }
}

impl Default for Differential {
    fn default() -> Self {
        Differential::new()
    }
}

fn answers(reference: &Reference, programs: &[Program]) -> Vec<Option<Behaviour>> {
    let inputs: Vec<(Mode, &[u8])> = programs.iter().map(|program| (program.mode, program.source.as_slice())).collect();
    reference.run(&inputs)
}

enum Verdict {
    Same,
    Known(&'static str),
    Different(Behaviour),
}

fn verdict(reference: &Reference, program: &Program, expected: &Behaviour) -> Verdict {
    let actual = behaviour(program);
    let (plain_expected, plain_actual) = (plain(expected), plain(&actual));
    if plain_expected == plain_actual {
        return Verdict::Same;
    }
    let again = |mode: Mode| {
        if program.mode == Mode::Load {
            return None;
        }
        let answer = reference.run(&[(mode, &program.source)]).into_iter().flatten().next();
        answer.as_ref().map(plain)
    };
    match known_difference(&program.source, &plain_expected, &plain_actual, again) {
        Some(reason) => Verdict::Known(reason),
        None => Verdict::Different(actual),
    }
}

/// What a program does here. A panic and a run without end count as errors, which no program of the reference ends in.
fn behaviour(program: &Program) -> Behaviour {
    let source = &program.source;
    let result = catch_unwind(AssertUnwindSafe(|| match program.mode {
        Mode::Load => Behaviour { output: Vec::new(), error: compile_error(source) },
        Mode::Run | Mode::WithoutLtForLe | Mode::Probe => match run(source, "@p", program.conditions) {
            Ok(outcome) => Behaviour { output: outcome.output, error: outcome.error },
            Err(problem) => Behaviour { output: Vec::new(), error: Some(problem.into_bytes()) },
        },
    }));
    result.unwrap_or_else(|_| Behaviour { output: Vec::new(), error: Some(b"panicked".to_vec()) })
}

/// Without what differs on purpose wherever it appears: addresses and the sign of NaN. Error messages come here as UTF-8 text.
fn plain(behaviour: &Behaviour) -> Behaviour {
    let text = |error: &Vec<u8>| plain_text(String::from_utf8_lossy(error).as_bytes());
    Behaviour { output: plain_text(&behaviour.output), error: behaviour.error.as_ref().map(text) }
}

fn plain_text(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if [b"-nan", b"-NAN", b"+nan", b"+NAN"].iter().any(|nan| rest.starts_with(*nan)) {
            // A field of some width has a space less before it.
            if plain.ends_with(b" ") {
                plain.push(b' ');
            }
            rest = after;
        } else if rest.starts_with(b": 0x") {
            let digits = rest[4..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            plain.extend_from_slice(b": 0x");
            rest = &rest[4 + digits..];
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    plain
}
