//! `cu --db FILE`: the table `_home` outlives the process.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn cu(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
    command.current_dir(folder).args(["--db", "a.cudb"]).args(arguments).output().expect("cu runs")
}

/// Runs code that must succeed, and gives what it printed.
#[track_caller]
fn done(folder: &Path, code: &str) -> String {
    let output = cu(folder, &["-e", code]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{code}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs code that must fail, and gives its message.
#[track_caller]
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = cu(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn state_outlives_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let count = "_home.next = _home.next or (function() local n = 0 return function() n = n + 1 return n end end)() print(_home.next())";
    for expected in 1..=3 {
        assert_eq!(done(folder, count), format!("{expected}\n"));
    }
    done(
        folder,
        "_home.co = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i * i) end end) print(_home.co())",
    );
    assert_eq!(done(folder, "print(Memory.co(), Memory.co())"), "4\t9\n");
    assert_eq!(done(folder, "print(_home.co()) os.exit(0, true)"), "16\n");
    assert_eq!(done(folder, "print(_home.co())"), "25\n");
}

#[test]
fn a_failed_run_stores_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    done(folder, "_home.x = 1");
    assert!(fails(folder, &["-e", "_home.x = 2 error('no')"]).contains("no"));
    assert_eq!(cu(folder, &["-e", "_home.x = 3 os.exit(4)"]).status.code(), Some(4));
    assert_eq!(done(folder, "print(_home.x)"), "1\n");
    let error = fails(folder, &["-e", "_home.x = 2; _home.files = {io.tmpfile()}"]);
    assert!(error.contains("_home.files[1]: cannot save a userdata"), "{error}");
    assert_eq!(done(folder, "print(_home.x, _home.files)"), "1\tnil\n");
}

/// In interactive mode each line is a run; with `--atomic` one that fails leaves no trace.
#[test]
fn each_line_is_a_run() {
    let lines = "_home.x = 1\n_home.x = 2 error('no', 0)\n=_home.x\n_home.y = 1\n";
    for (option, x) in [(None, "2"), (Some("--atomic"), "1")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
        command.current_dir(folder.path()).args(["--db", "a.cudb", "-E", "-i"]).args(option);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("cu runs");
        process.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("it reads");
        let output = process.wait_with_output().expect("it ends");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains(&format!("\n{x}\n")), "{option:?}: {shown}");
        assert_eq!(done(folder.path(), "print(_home.x, _home.y)"), format!("{x}\t1\n"));
    }
}
