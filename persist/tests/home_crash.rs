//! Crashes during commits of `_home`: each write of a workload fails once, or its answer is lost. What a crash at that moment would
//! leave holds the state of the last commit or of the one under way, as a whole.
//!
//! The state is a ring of tables that the program moves along, counters in variables, a coroutine and a list that grows and shrinks;
//! its sum is the same number in each of its parts, so a mixture of two states shows.

use std::rc::Rc;

use cu_persist::{HomeOptions, StoredHome};
use cu_storage::{Database, Error, MemoryBackend, Options, WriteFault, block_on};
use cu_vm::{RunError, Vm};

const ROUND: &str = r#"
if not _home.parts then
  local n = 0
  _home.count = function() n = n + 1 return n end
  _home.co = coroutine.wrap(function() local i = 0 while true do i = i + 1 coroutine.yield(i) end end)
  _home.parts = {}
  for i = 1, 5 do _home.parts[i] = {round = 0, list = {}} end
  _home.class = {__index = {}}
end
local round = _home.count()
_home.co()
_home.round = round
for i, part in ipairs(_home.parts) do
  part.round = round
  part.list = {table.unpack(part.list, #part.list > 3 and 2 or 1)}
  part.list[#part.list + 1] = setmetatable({round = round, text = string.rep('x', 50 * i)}, _home.class)
end
_home.parts[round % 5 + 1], _home.parts[1] = _home.parts[1], _home.parts[round % 5 + 1]
"#;

/// The number of rounds that all parts agree on; -1 if they do not.
const CHECK: &str = r#"
if not _home.parts then return 0 end
local round = _home.round
local same = _home.count() - 1 == round and _home.co() - 1 == round and #_home.parts == 5
for i, part in ipairs(_home.parts) do
  same = same and part.round == round and part.list[#part.list].round == round and #part.list <= 4
  same = same and getmetatable(part.list[1]) == _home.class
end
return same and round or -1
"#;

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
        let database = Rc::new(block_on(Database::open(store.clone(), options())).expect("it opens"));
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
