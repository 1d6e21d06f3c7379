//! Prices: work that grows with its input costs more fuel, in proportion. What a unit is worth in time is measured by
//! `cargo xtask bench fuel`; this needs no clock.

use cu_tests::{Conditions, probes, repository, run};
use cu_vm::FUEL_VERSION;

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

/// What is prepared, and the work.
fn cases(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(" | ").unwrap_or_else(|| panic!("no work in '{line}'"))).collect()
}

/// What the work of a case costs.
fn price((prepare, work): (&str, &str), size: usize) -> u64 {
    // The collector is kept out, except where it is the work.
    let program = |work| format!("collectgarbage('stop') N = {size} {prepare}; {work}", prepare = prepare.trim());
    fuel(&program(work)) - fuel(&program(""))
}

/// What programs use is part of their result: other amounts need another version, with which they are recorded anew, by this test with
/// `CU_RECORD` set.
#[test]
fn equal_versions_have_equal_prices() {
    let folder = repository().join("fixtures/fuel");
    let text = std::fs::read_to_string(folder.join("growth.txt")).expect("a readable file");
    let mut prices = format!("version {FUEL_VERSION}\n");
    for case in cases(&text) {
        prices += &format!("{} | {} | {}\n", price(case, SMALL), case.0, case.1);
    }
    let path = folder.join("prices.txt");
    if std::env::var_os("CU_RECORD").is_some() {
        std::fs::write(&path, &prices).expect("a file that can be written");
    }
    let recorded = std::fs::read_to_string(&path).expect("a readable file");
    let differ = recorded.lines().zip(prices.lines()).filter(|(before, now)| before != now);
    let differ: Vec<String> = differ.map(|(before, now)| format!("{before}\n  now {now}")).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert_eq!(recorded.lines().count(), prices.lines().count());
}

#[test]
fn work_costs_in_proportion_to_its_input() {
    let text = std::fs::read_to_string(repository().join("fixtures/fuel/growth.txt")).expect("a readable file");
    let mut problems = Vec::new();
    let cases = cases(&text);
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    for (prepare, work) in cases {
        let (small, large) = (price((prepare, work), SMALL), price((prepare, work), LARGE));
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
