//! A program does the same while a debug hook looks at every instruction, call and return of it.
//!
//! The oracle is the fixture's recorded output. The hook makes garbage and calls functions itself.

use cu_tests::{Conditions, Fixture, check_all, fixtures, run};

/// Programs that take more fuel without a hook are left out.
const FUEL_MAX: u64 = 200_000;

/// Programs that look at hooks themselves are left out, too.
fn check_hooked(slice: u64, collect: bool, prelude: &'static str) {
    let is_short = |fixture: &Fixture| {
        let outcome = run(&fixture.source, &fixture.chunk_name(), Conditions::default());
        outcome.is_ok_and(|outcome| outcome.fuel < FUEL_MAX)
    };
    let mut programs = fixtures();
    programs.retain(|fixture| !fixture.mentions(&["hook"]) && is_short(fixture));
    assert!(programs.len() >= 400, "only {} fixtures are short enough", programs.len());
    let conditions = Conditions { slice, collect, steps_max: 100_000, prelude, ..Conditions::default() };
    let check = |fixture: &Fixture| {
        let outcome = run(&fixture.source, &fixture.chunk_name(), conditions)?;
        outcome.expect(&fixture.output, fixture.error.as_deref())
    };
    check_all(&programs, |fixture| fixture, check);
}

#[test]
fn every_event() {
    let prelude = "local function work(...) return { ... }, 'x' .. select('#', ...) end
        debug.sethook(function(event, line) local made, text = work(event, line) return #made .. text end, 'crl', 1)";
    check_hooked(100_000_000, false, prelude);
}

#[test]
fn calls_and_returns() {
    check_hooked(100_000_000, false, "debug.sethook(function(...) return select('#', ...) end, 'cr')");
}

#[test]
fn every_third_instruction_between_collections() {
    check_hooked(10_007, true, "debug.sethook(type, '', 3)");
}
