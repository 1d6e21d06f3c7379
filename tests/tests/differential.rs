//! Generated programs behave here as in the reference interpreter, and what compares them notices differences.
//!
//! `cargo xtask differential` compares more of them, and shows the programs that differ.

use cu_tests::{Behaviour, Differential, Progress};

/// Programs that are compared on every run of the tests: some seconds' worth.
const PROGRAMS: usize = 300;

#[test]
fn generated_programs_behave_as_in_the_reference_interpreter() {
    let report = Differential::new().compare(1, PROGRAMS, |progress| {
        if let Progress::Found(difference) = progress {
            let text = |behaviour: &Behaviour| {
                let error = behaviour.error.as_deref().unwrap_or_default();
                [&behaviour.output, error].map(|text| String::from_utf8_lossy(text).into_owned()).join("error: ")
            };
            println!("{}", String::from_utf8_lossy(&difference.program.source[difference.program.prelude..]));
            println!("seed {}, reference:\n{}", difference.program.seed, text(&difference.expected));
            println!("here:\n{}", text(&difference.actual));
        }
    });
    let seeds: Vec<u64> = report.differences.iter().map(|difference| difference.program.seed).collect();
    assert_eq!(seeds, [], "`cargo xtask differential --programs 1 --seed N` shows one of these");
    let known: usize = report.known.values().map(Vec::len).sum();
    assert_eq!(report.same + known, PROGRAMS, "seeds without an answer: {:?}", report.unanswered);
    assert!(known * 20 < PROGRAMS, "so many known differences hide others: {:?}", report.known);
}

/// The seed is all that decides about a program.
#[test]
fn programs_can_be_made_again() {
    let (first, second) = (Differential::new(), Differential::new());
    let mut sources = Vec::new();
    for seed in 0..200 {
        let program = first.program(seed);
        assert_eq!(program.source, second.program(seed).source);
        sources.push(program.source);
    }
    sources.sort();
    sources.dedup();
    assert!(sources.len() > 190, "only {} programs of 200 are different", sources.len());
}
