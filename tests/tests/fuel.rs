//! Prices: work that grows with its input costs more fuel, in proportion. What a unit is worth in time is measured by
//! `cargo xtask bench fuel`; this needs no clock.

use cu_tests::{Conditions, probes, repository, run};

/// Inputs, and how much dearer the larger has to be at least.
const SMALL: usize = 2_000;
const LARGE: usize = 16_000;
const FACTOR_MIN: u64 = 5;

/// What a program uses.
fn fuel(program: &str) -> u64 {
    let outcome = run(program.as_bytes(), "=growth", Conditions::default()).expect("it ends");
    assert_eq!(outcome.error.as_deref().map(String::from_utf8_lossy), None, "{program}");
    outcome.fuel
}

#[test]
fn work_costs_in_proportion_to_its_input() {
    let text = std::fs::read_to_string(repository().join("fixtures/fuel/growth.txt")).expect("a readable file");
    let mut problems = Vec::new();
    let cases: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(" | ").unwrap_or_else(|| panic!("no work in '{line}'")))
        .collect();
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    for (prepare, work) in cases {
        // The collector is kept out, except where it is the work.
        let program =
            |size, work| format!("collectgarbage('stop') N = {size} {prepare}; {work}", prepare = prepare.trim());
        let price = |size| fuel(&program(size, work)) - fuel(&program(size, ""));
        let (small, large) = (price(SMALL), price(LARGE));
        if large < FACTOR_MIN * small || large < (LARGE as u64) / 64 {
            problems.push(format!("{small} and {large} fuel: {prepare} | {work}"));
        }
    }
    assert!(problems.is_empty(), "too cheap for a larger input:\n{}", problems.join("\n"));
}

/// The probes stay what they are meant to be: code that goes on for ever.
#[test]
fn probes_run() {
    let probes = probes();
    assert!(probes.len() >= 240, "only {} probes", probes.len());
    for probe in probes {
        let measured = probe.measure_once().unwrap_or_else(|problem| panic!("probe '{}': {problem}", probe.name));
        assert!(measured.fuel > 0, "probe '{}' is free", probe.name);
    }
}
