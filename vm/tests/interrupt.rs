//! A host interrupts a run: the error comes in Lua code, which may catch it, and native functions finish their work before.

use cu_vm::{Options, RunError, Step, Vm};

/// Runs code in slices of `fuel` and interrupts it after the first.
fn interrupted(source: &str, fuel: u64) -> Result<(), RunError> {
    let mut vm = Vm::new(Options { heap_limit: 1 << 20, ..Options::default() });
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing runs yet");
    assert_eq!(vm.step(fuel), Ok(Step::OutOfFuel), "{source}");
    vm.interrupt("interrupted!");
    loop {
        match vm.step(fuel).expect("the run is in progress") {
            Step::OutOfFuel | Step::Waiting => {}
            Step::Finished => return Ok(()),
            Step::Failed => return Err(vm.take_error()),
            Step::Exited { code, .. } => panic!("exit with {code}"),
        }
    }
}

fn check(source: &str, message: &str, traceback: &str) {
    let expected = RunError::Lua {
        message: message.to_owned(),
        traceback: traceback.to_owned(),
        position: message.strip_prefix("test:").map(|_| ("test".to_owned(), 2)),
    };
    assert_eq!(interrupted(source, 1000), Err(expected), "{source}");
}

#[test]
fn the_error_is_in_the_running_function() {
    check("while true do end", "interrupted!", "stack traceback:\n\ttest:1: in main chunk\n\t[C]: in ?");
    check(
        "local function f()\nwhile true do end end f()",
        "test:2: interrupted!",
        "stack traceback:\n\ttest:2: in local 'f'\n\ttest:2: in main chunk\n\t[C]: in ?",
    );
}

#[test]
fn code_can_catch_it() {
    let source = "local ok, message = pcall(function() while true do end end)
        assert(not ok and message == 'interrupted!')
        for i = 1, 1e5 do end";
    assert_eq!(interrupted(source, 1000), Ok(()));
    let source = "local ok, message = coroutine.resume(coroutine.create(function() while true do end end))
        assert(not ok and message == 'interrupted!')";
    assert_eq!(interrupted(source, 1000), Ok(()));
}

#[test]
fn native_functions_finish_first() {
    let source = "local from, to = {}, setmetatable({}, {__newindex = rawset})
        for i = 1, 500 do from[i] = i end
        pcall(function()
            table.move(from, 1, 500, 1, to)
            while true do end
        end)
        assert(#to == 500)";
    let outcomes: Vec<_> = (100..6000).step_by(100).map(|fuel| interrupted(source, fuel)).collect();
    // Interrupted before the function, and in the loop after it; never in between.
    let is_before =
        |outcome: &Result<(), RunError>| outcome.as_ref().is_err_and(|error| error.to_string() == "interrupted!");
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || is_before(outcome)), "{outcomes:?}");
    assert!(outcomes.iter().any(Result::is_ok) && outcomes.iter().any(is_before), "{outcomes:?}");
}

#[test]
fn an_interruption_belongs_to_one_run() {
    let mut vm = Vm::new(Options::default());
    let chunk = vm.load(b"while true do end", "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing runs yet");
    vm.interrupt("interrupted!");
    vm.abort();
    let chunk = vm.load(b"for i = 1, 1000 do end", "=test").expect("the chunk compiles");
    assert_eq!(vm.run(&chunk, 1_000_000, |_, _| ()), Ok(()));
}
