//! Killing `cu --db` while it commits `_home`, and right after a commit: what is left is the last acknowledged state or the one under way.
//!
//! `CU_KILL_ROUNDS` sets how many processes are killed (`cargo xtask kills`). When a kill comes is up to the machine; what is checked holds at
//! any moment.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Commits of a process before the one that is killed.
const BEFORE: u64 = 2;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/crash").join(name)
}

fn cu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
    command.current_dir(folder).args(["-E", "--db", "a.cudb"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The round that the stored state is of; the run fails on purpose, so that it stores nothing.
fn stored(folder: &Path) -> i64 {
    let code = format!("print(dofile({:?})) error('looked')", fixture("check.lua"));
    let output = cu(folder).args(["-e", &code]).output().expect("cu runs");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(errors.contains("looked"), "{errors}");
    printed.trim().parse().unwrap_or_else(|_| panic!("{printed:?}: no number of a round"))
}

/// A session in which each line is a run that is followed by a commit. A run says that it is over on standard error, before the commit;
/// the next prompt comes after it.
fn session(folder: &Path) -> Child {
    let mut process = cu(folder).arg("-i").spawn().expect("cu runs");
    let line = format!("print('done', dofile({:?})) io.stderr:write('over\\n')\n", fixture("round.lua"));
    // It may be killed while it is written to.
    let _ = process.stdin.take().expect("it is piped").write_all(line.repeat(BEFORE as usize + 1).as_bytes());
    process
}

/// Kills a session while its last commit is under way, `delay` turns after it is known to have begun.
fn killed_during(folder: &Path, delay: u64) {
    let mut process = session(folder);
    let errors = BufReader::new(process.stderr.take().expect("it is piped"));
    let over = errors.lines().map_while(Result::ok).filter(|line| line.contains("over")).take(BEFORE as usize + 1);
    assert_eq!(over.count() as u64, BEFORE + 1);
    (0..delay).for_each(|_| std::hint::spin_loop());
    process.kill().expect("it is ours");
    process.wait().expect("it ends");
}

/// Kills a session as soon as a commit has been acknowledged: the round it was.
fn killed_after(folder: &Path) -> i64 {
    let mut process = session(folder);
    let mut output = BufReader::new(process.stdout.take().expect("it is piped")).bytes();
    let mut shown = Vec::new();
    let acknowledged = loop {
        shown.push(output.next().expect("the session goes on").expect("it can be read"));
        if let Some(round) = acknowledged(&String::from_utf8_lossy(&shown)) {
            break round;
        }
    };
    process.kill().expect("it is ours");
    process.wait().expect("it ends");
    acknowledged
}

/// The number of the last round that is to be acknowledged, if the prompt behind it has come.
fn acknowledged(shown: &str) -> Option<i64> {
    let (round, rest) = shown.split("done\t").nth(BEFORE as usize)?.split_once('\n')?;
    if rest.contains("> ") { round.parse().ok() } else { None }
}

fn rounds() -> u64 {
    std::env::var("CU_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(6)
}

#[test]
fn a_process_killed_during_commits_leaves_a_whole_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut last, mut kept) = (0, 0);
    for round in 0..rounds() {
        // Up to some milliseconds, spread over the rounds.
        killed_during(folder.path(), round * 7919 % 97 * 20_000);
        let stored = stored(folder.path());
        let acknowledged = last + BEFORE as i64;
        assert!(stored == acknowledged || stored == acknowledged + 1, "kill {round}: {stored} after {acknowledged}");
        kept += stored - acknowledged;
        last = stored;
    }
    println!("cu killed during commits of _home: {} rounds, nothing lost or torn; {kept} were stored", rounds());
}

#[test]
fn a_process_killed_after_a_commit_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut last, mut kept) = (0, 0);
    for round in 0..rounds() {
        let acknowledged = killed_after(folder.path());
        assert_eq!(acknowledged, last + BEFORE as i64, "kill {round}");
        let stored = stored(folder.path());
        assert!(stored == acknowledged || stored == acknowledged + 1, "kill {round}: {stored} after {acknowledged}");
        kept += stored - acknowledged;
        last = stored;
    }
    println!("cu killed after commits of _home: {} rounds, nothing lost or torn; {kept} were stored besides", rounds());
}
