//! Crashes during commits of `_home`: each write of a workload fails once, or its answer is lost. What a crash at that moment would
//! leave holds the state of the last commit or of the one under way, as a whole.
//!
//! The programs in `fixtures/crash` make a state of which a mixture of two shows. `CU_CUT_POINTS` sets how many power cuts are tried.

use std::rc::Rc;

use cu_persist::{HomeOptions, StoredHome};
use cu_storage::{Backend, Database, Error, FileBackend, MemoryBackend, Options, WriteFault, block_on};
use cu_vm::{RunError, Vm};
use disk::SharedDisk;

// Some of it is for the engine's own tests.
#[allow(dead_code)]
#[path = "../../storage/tests/support/disk.rs"]
mod disk;

const ROUND: &str = include_str!("../../fixtures/crash/round.lua");

/// The number of rounds that all parts agree on; -1 if they do not.
const CHECK: &str = include_str!("../../fixtures/crash/check.lua");

fn options() -> Options {
    // Checkpoints every few commits.
    Options { page_size: 512, checkpoint_log_bytes: 3000, ..Options::default() }
}

struct Session {
    vm: Vm,
    home: StoredHome,
}

impl Session {
    fn open(store: &MemoryBackend) -> Session {
        Session::over(store.clone())
    }

    fn over(backend: impl Backend + 'static) -> Session {
        let database = Rc::new(block_on(Database::open(backend, options())).expect("it opens"));
        let vm = Vm::new(cu_vm::Options::default());
        let home = StoredHome::attach(&vm, database, HomeOptions::default()).expect("it can be read");
        Session { vm, home }
    }

    fn run(&mut self, source: &str) -> Result<i64, RunError> {
        let chunk = self.vm.load(source.as_bytes(), "=round").expect("it compiles");
        let first = |values: &[cu_vm::Value<'_>]| values.first().and_then(|value| value.to_integer()).unwrap_or(0);
        let result = self.vm.run(&chunk, 1 << 40, |_, values| first(values));
        self.vm.enter(|context| context.release(chunk));
        result
    }
}

const ROUNDS: i64 = 20;

fn rounds_stored(store: &MemoryBackend) -> i64 {
    Session::open(&store.copy()).run(CHECK).expect("it runs")
}

fn every_write_goes_wrong_once(fault: &WriteFault) {
    let counted = MemoryBackend::new();
    let mut session = Session::open(&counted);
    for _ in 0..ROUNDS {
        session.run(ROUND).unwrap();
        session.home.commit(&session.vm).unwrap();
    }
    assert_eq!(rounds_stored(&counted), ROUNDS);
    let writes = counted.writes();
    assert!(writes > ROUNDS as u64 + 5, "there are checkpoints: {writes} writes");

    for number in 0..writes {
        let store = MemoryBackend::new();
        store.fail_write(number, fault.clone());
        let mut session = Session::open(&store);
        let mut round = 0;
        while round < ROUNDS {
            session.run(ROUND).unwrap();
            round += 1;
            let committed = session.home.commit(&session.vm);
            let stored = rounds_stored(&store);
            match (&committed, fault) {
                (Ok(_), _) => assert_eq!(stored, round, "write {number}"),
                // The next commit stores what this one did not.
                (Err(_), WriteFault::Fail(_)) => assert_eq!(stored, round - 1, "write {number}"),
                // Stored as a whole; the process that goes on has to look.
                (Err(_), _) => {
                    assert_eq!(stored, round, "write {number}");
                    session = Session::open(&store);
                }
            }
        }
        session.home.commit(&session.vm).unwrap();
        assert_eq!(rounds_stored(&store), ROUNDS, "write {number}");
    }
}

#[test]
fn every_write_fails_once() {
    every_write_goes_wrong_once(&WriteFault::Fail(Error::Quota));
}

#[test]
fn every_answer_is_lost_once() {
    every_write_goes_wrong_once(&WriteFault::LoseAnswer);
}

/// Power cuts under the file backend, at every write of a workload and at the moment each commit resolves: the last acknowledged state, or
/// the one under way.
#[test]
fn a_power_cut_at_any_write_leaves_a_whole_state() {
    let cuts: usize = std::env::var("CU_CUT_POINTS").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let disk = SharedDisk::default();
    let mut session = Session::over(FileBackend::over(disk.clone()).expect("it opens"));
    let mut acknowledged = vec![disk.done().len()];
    for _ in 0..ROUNDS {
        session.run(ROUND).expect("it runs");
        session.home.commit(&session.vm).expect("it is stored");
        acknowledged.push(disk.done().len());
    }
    let done = disk.done();
    let places = done.len() - acknowledged[0];
    assert!(places > 200, "{places}");
    let check = |cut: usize, number: usize| {
        let disk = SharedDisk::after_power_cut(&done[..cut], number as u64);
        let stored = Session::over(FileBackend::over(disk).expect("it opens")).run(CHECK).expect("it runs");
        let last = acknowledged.iter().rposition(|at| *at <= cut).unwrap_or(0) as i64;
        assert!(stored == last || stored == last + 1, "cut {number} at {cut}: {stored} after commit {last}");
        stored == last + 1
    };
    for (round, at) in acknowledged.iter().enumerate() {
        assert!(!check(*at, round), "what is acknowledged is there, and nothing else");
    }
    let mut ahead = 0;
    for number in 0..cuts {
        // Every place in turn, then again with other losses.
        ahead +=
            usize::from(check(acknowledged[0] + (number * places.div_ceil(cuts.min(places))) % places + 1, number));
    }
    assert!(ahead > 0, "some cuts come after a commit is on the disk and before it is acknowledged");
}

/// Two processes that hold the same state: the second one to commit is refused, and nothing of it is stored.
#[test]
fn a_commit_over_another_one_is_refused() {
    let store = MemoryBackend::new();
    let mut first = Session::open(&store);
    first.run(ROUND).unwrap();
    first.home.commit(&first.vm).unwrap();
    let mut second = Session::open(&store);
    first.run(ROUND).unwrap();
    second.run("_home.parts[3].round = 77").unwrap();
    first.home.commit(&first.vm).unwrap();
    let error = second.home.commit(&second.vm).unwrap_err();
    assert_eq!(error.code(), "conflict");
    assert_eq!(rounds_stored(&store), 2);
}

#[test]
fn garbage_goes() {
    let store = MemoryBackend::new();
    let mut session = Session::open(&store);
    for _ in 0..200 {
        session.run(ROUND).unwrap();
        session.run("_home.queue = {} for i = 1, 20 do _home.queue[i] = {i} end").unwrap();
        session.home.commit(&session.vm).unwrap();
    }
    session.vm.collect();
    let removed = session.home.sweep(&session.vm).unwrap();
    assert!(removed < 3000, "commits have swept before: {removed}");
    assert_eq!(session.home.sweep(&session.vm).unwrap(), 0);
    assert_eq!(rounds_stored(&store), 200);
}
