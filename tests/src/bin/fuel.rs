//! `fuel [ROUNDS]`: measures what a unit of fuel stands for in time, over all probes, and prints them from the dearest to the
//! cheapest. The rounds are interleaved; of each probe the fastest counts, as noise only adds.

use std::process::ExitCode;

use cu_tests::probes;

/// How far the dearest probe may be from the one in the middle.
const RATIO_MAX: f64 = 10.0;

fn main() -> ExitCode {
    let rounds: u32 = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let probes = probes();
    let mut best = vec![f64::INFINITY; probes.len()];
    for _ in 0..rounds {
        for (probe, best) in probes.iter().zip(&mut best) {
            match probe.measure() {
                Ok(measured) => *best = best.min(measured.nanoseconds_per_fuel()),
                Err(problem) => {
                    eprintln!("error: probe '{}': {problem}", probe.name);
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    let mut sorted: Vec<(f64, &str)> = best.into_iter().zip(probes.iter().map(|probe| probe.name.as_str())).collect();
    sorted.sort_by(|left, right| right.0.total_cmp(&left.0));
    let median = sorted[sorted.len() / 2].0;
    for (nanoseconds, name) in &sorted {
        println!("{:8.2} ns {:7.2} × the median  {name}", nanoseconds, nanoseconds / median);
    }
    let ratio = sorted[0].0 / median;
    println!("{} probes; median {median:.2} ns a unit of fuel; the dearest is {ratio:.1} × that", sorted.len());
    if ratio <= RATIO_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
