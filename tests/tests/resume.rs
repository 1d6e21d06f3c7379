//! Resume anywhere: a run that is stopped, described and gone on with in a fresh VM does what an undisturbed one does, with the
//! same fuel.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cu_tests::{Conditions, Fixture, Outcome, check_all, fixtures, run};
use cu_vm::image::{HostParts, NoUserdata};
use cu_vm::{Options, Vm};

/// Goes on in a VM made of the description of another, and checks that its description is the same.
fn rebuilt(vm: &Vm, options: Options) -> Result<Vm, String> {
    vm.describe(&NoUserdata, |image| {
        let image = image.map_err(|error| error.to_string())?;
        let (copy, _) = Vm::rebuild(options, &image, &HostParts::NONE).map_err(|error| error.to_string())?;
        copy.describe(&NoUserdata, |again| {
            let again = again.map_err(|error| error.to_string())?;
            if again == image { Ok(()) } else { Err(difference(&image, &again)) }
        })?;
        Ok(copy)
    })
}

/// The first lines that differ, with what stands before them.
fn difference(first: &impl std::fmt::Debug, second: &impl std::fmt::Debug) -> String {
    let (first, second) = (format!("{first:#?}"), format!("{second:#?}"));
    let differs = first.lines().zip(second.lines()).position(|(first, second)| first != second).unwrap_or(0);
    let shown = |text: &str| text.lines().skip(differs.saturating_sub(12)).take(16).collect::<Vec<_>>().join("\n");
    format!("the description differs\n{}\n---\n{}", shown(&first), shown(&second))
}

/// Runs all fixtures with the VM replaced after each of the first `steps` slices. Those that have files open, which no image can
/// hold, are left out.
fn check(slice: u64, steps: u64) {
    static UNDISTURBED: OnceLock<Vec<(Fixture, Outcome)>> = OnceLock::new();
    let fixtures = UNDISTURBED.get_or_init(|| {
        let with_outcome = |fixture: Fixture| {
            let outcome = run(&fixture.source, &fixture.chunk_name(), Conditions::default()).ok()?;
            Some((fixture, outcome))
        };
        fixtures().into_iter().filter_map(with_outcome).collect()
    });
    let conditions = Conditions {
        slice,
        steps_max: steps + 1,
        replace: Some(rebuilt),
        disturbed_steps: steps,
        ..Conditions::default()
    };
    let with_files = AtomicUsize::new(0);
    check_all(
        fixtures,
        |item| &item.0,
        |(fixture, expected)| {
            let outcome = match run(&fixture.source, &fixture.chunk_name(), conditions) {
                Err(problem) if fixture.mentions(&["io."]) && problem.ends_with("cannot save an open file") => {
                    with_files.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                outcome => outcome?,
            };
            outcome.expect(&expected.output, expected.error.as_deref())?;
            if outcome.fuel == expected.fuel {
                Ok(())
            } else {
                Err(format!("{} fuel instead of {}", outcome.fuel, expected.fuel))
            }
        },
    );
    assert!(fixtures.len() - with_files.into_inner() >= 380);
}

#[test]
fn after_each_of_the_first_instructions() {
    check(1, 12);
}

#[test]
fn after_slices_of_13() {
    check(13, 12);
}

#[test]
fn after_slices_of_101() {
    check(101, 20);
}

#[test]
fn after_slices_of_1009() {
    check(1009, 12);
}

#[test]
fn after_slices_of_10007() {
    check(10_007, 12);
}
