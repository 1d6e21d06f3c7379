//! A run that is stopped, collected or short of memory does what an undisturbed one does, or fails cleanly.
//!
//! The oracle is the same program run without disturbance, so these tests hold even where a fixture is not met. Programs that
//! take too many steps under a condition are left out of it; every test asserts how many remain.

use std::sync::OnceLock;

use cu_tests::{Conditions, Fixture, HEAP_LIMIT, Outcome, check_all, fixtures, run};
use cu_vm::{Options, RunError, Vm};

/// All fixtures that end, each with what it does undisturbed.
fn undisturbed() -> &'static [(Fixture, Outcome)] {
    static UNDISTURBED: OnceLock<Vec<(Fixture, Outcome)>> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let with_outcome = |fixture: Fixture| {
            let outcome = run(&fixture.source, &fixture.chunk_name(), Conditions::default());
            outcome.ok().map(|outcome| (fixture, outcome))
        };
        fixtures().into_iter().filter_map(with_outcome).collect()
    })
}

/// Runs all fixtures that end within `steps_max` slices, and expects what `conditions` must not change.
fn check_disturbed(slice: u64, collect: bool, steps_max: u64, count_min: usize) {
    let is_short = |outcome: &Outcome| outcome.fuel / slice < steps_max / 2;
    let short: Vec<_> = undisturbed().iter().filter(|(_, outcome)| is_short(outcome)).collect();
    assert!(short.len() >= count_min, "only {} fixtures are short enough", short.len());
    let conditions = Conditions { slice, collect, steps_max, ..Conditions::default() };
    let check = |(fixture, expected): &&(Fixture, Outcome)| {
        let outcome = run(&fixture.source, &fixture.chunk_name(), conditions)?;
        outcome.expect(&expected.output, expected.error.as_deref())?;
        // Collections change when finalizers run, and so where their fuel counts.
        if collect || outcome.fuel == expected.fuel {
            Ok(())
        } else {
            Err(format!("{} fuel instead of {}", outcome.fuel, expected.fuel))
        }
    };
    check_all(&short, |item| &item.0, check);
}

#[test]
fn slices_of_1() {
    check_disturbed(1, false, 200_000, 380);
}

#[test]
fn slices_of_7() {
    check_disturbed(7, false, 200_000, 380);
}

#[test]
fn slices_of_101() {
    check_disturbed(101, false, 200_000, 380);
}

#[test]
fn collections_between_slices_of_1() {
    check_disturbed(1, true, 12_000, 350);
}

#[test]
fn collections_between_slices_of_7() {
    check_disturbed(7, true, 5_000, 350);
}

#[test]
fn collections_between_slices_of_101() {
    check_disturbed(101, true, 5_000, 350);
}

/// What lets a program see that memory ran out, and so do something else than fail.
const OBSERVERS: &[&str] = &["pcall", "coroutine", "load", "close>", "__close", "__gc", "collectgarbage", "__mode"];

#[test]
fn too_little_memory_is_an_error_at_any_limit() {
    let programs: Vec<_> = undisturbed().iter().filter(|(fixture, _)| !fixture.mentions(OBSERVERS)).collect();
    assert!(programs.len() >= 150, "only {} fixtures do not handle errors", programs.len());
    check_all(
        &programs,
        |item| &item.0,
        |(fixture, expected)| {
            let mut limit = 1024;
            while limit < HEAP_LIMIT {
                let conditions = Conditions { heap_limit: limit, ..Conditions::default() };
                let outcome = run(&fixture.source, &fixture.chunk_name(), conditions)
                    .map_err(|problem| format!("limit {limit}: {problem}"))?;
                if outcome.output == expected.output && outcome.error == expected.error {
                    return Ok(());
                }
                if outcome.error.as_deref() != Some(b"not enough memory")
                    || !expected.output.starts_with(&outcome.output)
                {
                    let difference = outcome.expect(&expected.output, expected.error.as_deref());
                    return Err(format!("limit {limit}: {}", difference.expect_err("the outcomes differ")));
                }
                limit += limit / 5;
            }
            Err("not enough memory at any limit".to_owned())
        },
    );
}

#[test]
fn a_vm_goes_on_after_running_out_of_memory() {
    let mut vm = Vm::new(Options::default());
    let run = |vm: &mut Vm, source: &str| {
        let function = vm.load(source.as_bytes(), "=test").expect("a correct program");
        let result = vm.run(&function, 100_000_000, |_, values| values.first().and_then(|value| value.to_integer()));
        vm.enter(|context| context.release(function));
        result
    };
    for _ in 0..20 {
        let error = run(&mut vm, "local t = {} for i = 1, 1e9 do t[i] = {} end").expect_err("the heap is limited");
        let RunError::Lua { message, .. } = &error else { panic!("{error:?}") };
        assert_eq!(message, "not enough memory");
        let result = run(&mut vm, "local t = {} for i = 1, 1000 do t[i] = i end return #t");
        assert_eq!(result, Ok(Some(1000)));
    }
    let caught = "local ok, e = pcall(function() local s = 'x' while true do s = s .. s end end)
        return not ok and e == 'not enough memory' and 1 or 0";
    assert_eq!(run(&mut vm, caught), Ok(Some(1)));
}

/// A call that could not be entered must not look like one that returned nothing.
#[test]
fn too_little_memory_inside_protected_calls_and_coroutines() {
    // Many registers: entering the function, not the native below it, is what makes a stack grow.
    let locals: Vec<String> = (0..150).map(|number| format!("l{number}")).collect();
    let function = format!("local function f(n) local {} if n == 0 then return 42 end", locals.join(","));
    let programs = [
        format!("{function} local ok, v = pcall(f, n - 1) if not ok then error(v, 0) end return v end print(f(60))"),
        format!(
            "{function} local ok, v = coroutine.resume(coroutine.create(f), n - 1) \
             if not ok then error(v, 0) end return v end print(f(30))"
        ),
    ];
    for program in programs {
        let mut limit = 16 * 1024;
        loop {
            let conditions = Conditions { heap_limit: limit, ..Conditions::default() };
            let outcome = run(program.as_bytes(), "@program.lua", conditions).expect("it ends");
            if outcome.error.is_none() {
                assert_eq!(outcome.output, b"42\n", "limit {limit}");
                break;
            }
            assert_eq!(outcome.error.as_deref(), Some(&b"not enough memory"[..]), "limit {limit}");
            limit += 512;
        }
    }
}
