//! Resume anywhere: a run that is stopped, saved and gone on with in a fresh VM does what an undisturbed one does, with the same
//! fuel; and saving, loading and saving again gives the same bytes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cu_persist::{Limits, load_image, save_image};
use cu_tests::{Conditions, Fixture, Outcome, check_all, fixtures, run};
use cu_vm::image::{HostParts, NoUserdata};
use cu_vm::{Options, Vm};

/// Goes on in a VM loaded from the image of another, and checks that its image is the same.
fn reloaded(vm: &Vm, options: Options) -> Result<Vm, String> {
    let limits = Limits::default();
    let image = save_image(vm, &NoUserdata, b"attached", &limits).map_err(|error| error.to_string())?;
    let loaded = load_image(&image, options, &HostParts::NONE, &limits).map_err(|error| error.to_string())?;
    let again = save_image(&loaded.vm, &NoUserdata, &loaded.attachment, &limits).map_err(|error| error.to_string())?;
    if again == image { Ok(loaded.vm) } else { Err("the image of the loaded VM differs".to_owned()) }
}

/// With `CU_RESUME_ALL` set, so many times as many stops are made.
const ALL: u64 = 40;

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
    let steps = if std::env::var_os("CU_RESUME_ALL").is_some() { steps * ALL } else { steps };
    let conditions = Conditions {
        slice,
        steps_max: steps + 1,
        replace: Some(reloaded),
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
    check(1, 4);
}

#[test]
fn after_slices_of_13() {
    check(13, 5);
}

#[test]
fn after_slices_of_101() {
    check(101, 6);
}

#[test]
fn after_slices_of_1009() {
    check(1009, 6);
}

#[test]
fn after_slices_of_10007() {
    check(10_007, 6);
}
