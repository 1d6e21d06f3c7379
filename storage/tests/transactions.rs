//! Transactions: savepoints against a stack of models, commits that go out together, and what happens to them when one fails.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cu_storage::{
    BatchOptions, Cancel, Control, Database, Document, Error, Filter, MemoryBackend, Operation, Options, Savepoint,
    Transaction, WriteFault, block_on,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::people::indexes;
use support::slow::{self, Task, drive};
use support::{Model, Write, assert_holds, assert_sound, contents, tiny, value, write};

#[derive(Debug, Clone)]
enum Step {
    Write(Write),
    Savepoint,
    RollbackTo(usize),
    Release(usize),
    /// An operation that fails.
    Fail,
    CreateIndex(usize),
    Commit,
    Rollback,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => write().prop_map(Step::Write),
        3 => Just(Step::Savepoint),
        2 => any::<usize>().prop_map(Step::RollbackTo),
        1 => any::<usize>().prop_map(Step::Release),
        1 => Just(Step::Fail),
        1 => any::<usize>().prop_map(Step::CreateIndex),
        1 => Just(Step::Commit),
        1 => Just(Step::Rollback),
    ]
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(21),
        cases,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

/// A transaction with the models of its savepoints.
struct Open {
    transaction: Transaction,
    model: Model,
    saved: Vec<(Savepoint, Model)>,
}

async fn run(database: &Database, steps: &[Step]) {
    let mut committed = Model::new();
    let mut open: Option<Open> = None;
    for step in steps {
        if open.is_none() {
            let transaction = database.begin().await.unwrap();
            open = Some(Open { transaction, model: committed.clone(), saved: Vec::new() });
        }
        let here = open.as_mut().unwrap();
        match step {
            Step::Write(write) => {
                here.transaction.run(&write.operation()).await.unwrap();
                write.apply(&mut here.model);
            }
            Step::Savepoint => {
                let savepoint = here.transaction.savepoint().unwrap();
                here.saved.push((savepoint, here.model.clone()));
            }
            Step::RollbackTo(choice) if !here.saved.is_empty() => {
                let position = choice % here.saved.len();
                let (savepoint, model) = here.saved.drain(position..).next().unwrap();
                here.transaction.rollback_to(savepoint).unwrap();
                assert!(here.transaction.rollback_to(savepoint).is_err());
                here.model = model;
            }
            Step::Release(choice) if !here.saved.is_empty() => {
                let position = choice % here.saved.len();
                let (savepoint, _) = here.saved.drain(position..).next().unwrap();
                here.transaction.release(savepoint).unwrap();
            }
            Step::Fail => {
                let bad = Operation::update("users", 1, Document::Nil);
                assert!(here.transaction.run(&bad).await.is_err());
            }
            Step::CreateIndex(choice) => {
                let definition = &indexes()[choice % 4];
                here.transaction.create_index("users", definition).await.unwrap();
            }
            Step::Commit => {
                let done = open.take().unwrap();
                done.transaction.commit().await.unwrap();
                committed = done.model;
            }
            Step::Rollback => drop(open.take()),
            Step::RollbackTo(_) | Step::Release(_) => {}
        }
        match &mut open {
            None => {
                assert_holds(database, &committed);
                assert_sound(database);
            }
            Some(here) => {
                // It reads its own writes; nobody else does.
                assert_eq!(contents(database).unwrap().get("users").cloned().unwrap_or_default(), {
                    committed.get("users").cloned().unwrap_or_default()
                });
                for (key, document) in here.model.get("users").into_iter().flatten() {
                    let key = cu_storage::decode_key(key).unwrap();
                    let found = here.transaction.get("users", &key).await.unwrap();
                    assert_eq!(found.as_ref(), Some(document));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn savepoints_go_back_to_their_states(
        steps in proptest::collection::vec(step(), 1..60),
        page_size in prop_oneof![Just(128), Just(512)],
    ) {
        let store = MemoryBackend::new();
        let database = block_on(Database::open(store.clone(), tiny(page_size))).unwrap();
        block_on(run(&database, &steps));
        assert_sound(&database);
        let reopened = block_on(Database::open(store, tiny(page_size))).unwrap();
        prop_assert_eq!(contents(&database).unwrap(), contents(&reopened).unwrap());
        assert_sound(&reopened);
    }
}

fn increments(database: &Database, tasks: usize, rounds: usize, failed: &Rc<RefCell<Vec<Error>>>) -> Vec<Task> {
    (0..tasks)
        .map(|task| {
            let database = database.clone();
            let failed = failed.clone();
            let work: Task = Box::pin(async move {
                for round in 0..rounds {
                    let batch = [
                        Operation::increment("counters", 0, None, 1),
                        Operation::set("log", (task * 1000 + round) as i64, &support::value(round as u16, 90)).unwrap(),
                    ];
                    if let Err(error) = database.batch(&batch, &BatchOptions::default()).await {
                        failed.borrow_mut().push(error);
                        continue;
                    }
                    // Its own commit is visible once it is durable.
                    let key = ((task * 1000 + round) as i64).into();
                    assert!(database.get("log", &key).await.unwrap().is_some());
                }
            });
            work
        })
        .collect()
}

#[test]
fn commits_that_wait_go_out_together() {
    let store = MemoryBackend::new();
    let polls = Rc::new(Cell::new(7));
    let options = Options { page_size: 512, ..Options::default() };
    let database = slow::open(&store, &polls, &options);
    let before = store.writes();
    let failed = Rc::default();
    drive(increments(&database, 32, 5, &failed), None);
    assert!(failed.borrow().is_empty());
    let writes = store.writes() - before;
    assert!(writes <= 60, "160 commits took {writes} writes");
    let reopened = block_on(Database::open(store.copy(), options)).unwrap();
    assert_eq!(block_on(reopened.get("counters", &0.into())).unwrap(), Some(160.into()));
    assert_sound(&reopened);
}

/// One write fails; whoever's it was hears of it, everybody else is run again, and nothing is counted twice.
#[test]
fn a_failed_write_fails_its_own_commits_only() {
    for number in 0..25 {
        for fault in [Error::Quota, Error::ConnectionLost] {
            let store = MemoryBackend::new();
            let polls = Rc::new(Cell::new(number as u32));
            let database = slow::open(&store, &polls, &tiny(256));
            store.fail_write(number, WriteFault::Fail(fault.clone()));
            let failed: Rc<RefCell<Vec<Error>>> = Rc::default();
            drive(increments(&database, 8, 4, &failed), None);
            let failed = failed.borrow();
            assert!(failed.iter().all(|error| *error == fault), "{failed:?}");
            let copy = store.copy();
            let reopened = block_on(Database::open(copy, tiny(256))).unwrap();
            let count = 32 - failed.len() as i64;
            assert_eq!(block_on(reopened.get("counters", &0.into())).unwrap(), Some(count.into()), "write {number}");
            assert_sound(&reopened);
        }
    }
}

/// Readers never see a commit before it is durable: what they see is in a copy of the store made at that moment.
#[test]
fn nothing_is_seen_before_it_is_durable() {
    let store = MemoryBackend::new();
    let polls = Rc::new(Cell::new(3));
    let options = tiny(256);
    let database = slow::open(&store, &polls, &options);
    let failed = Rc::default();
    let mut tasks = increments(&database, 6, 10, &failed);
    let reader = database.clone();
    let stored = store.clone();
    tasks.push(Box::pin(async move {
        let mut last = 0;
        for _ in 0..40 {
            let seen = reader.get("counters", &0.into()).await.unwrap();
            let Document::Integer(seen) = seen.unwrap_or(0.into()) else { panic!("a counter is a number") };
            assert!(seen >= last);
            last = seen;
            let crashed = block_on(Database::open(stored.copy(), tiny(256))).unwrap();
            let found = block_on(crashed.get("counters", &0.into())).unwrap();
            let Document::Integer(found) = found.unwrap_or(0.into()) else { panic!("a counter is a number") };
            assert!(found >= seen);
        }
    }));
    drive(tasks, None);
    assert!(failed.borrow().is_empty());
}

#[test]
fn work_is_run_again_after_a_conflict() {
    let store = MemoryBackend::new();
    let open = || block_on(Database::open(store.clone(), Options::default())).unwrap();
    let (first, second) = (open(), open());
    let runs = Cell::new(0);
    let sum = block_on(first.transaction(async |transaction| {
        runs.set(runs.get() + 1);
        if runs.get() < 4 {
            second.set("a", &runs.get().into(), &10.into()).await?;
        }
        let mut sum = 0;
        for key in 1..4 {
            if let Some(Document::Integer(value)) = transaction.get("a", &key.into()).await? {
                sum += value;
            }
        }
        transaction.set("sum", &0.into(), &sum.into()).await?;
        Ok(sum)
    }));
    assert_eq!((sum, runs.get()), (Ok(30), 4));
    block_on(second.refresh()).unwrap();
    assert_eq!(block_on(second.get("sum", &0.into())).unwrap(), Some(30.into()));
}

#[test]
fn a_batch_tells_its_progress_and_can_be_ended() {
    let batch: Vec<Operation> = (0..1000i64).map(|n| Operation::set("a", n, &n.into()).unwrap()).collect();
    for atomic in [true, false] {
        let store = MemoryBackend::new();
        let options = Options { checkpoint_log_bytes: 2000, ..tiny(256) };
        let database = block_on(Database::open(store, options)).unwrap();
        let cancel = Cancel::default();
        let stop = cancel.clone();
        let control = Control::default().cancel(&cancel).on_progress(move |progress| {
            assert_eq!(progress.total, 1000);
            if progress.done >= 500 {
                stop.cancel();
            }
        });
        let options = BatchOptions { atomic, control, ..BatchOptions::default() };
        assert_eq!(block_on(database.batch(&batch, &options)).unwrap_err(), Error::Cancelled);
        let stored = block_on(database.scan("a", &Default::default())).unwrap().len();
        // Without atomicity, what was committed piece by piece stays.
        assert_eq!(stored == 0, atomic, "{stored}");
        assert!(stored < 600);
        assert_sound(&database);

        let time = Rc::new(Cell::new(0));
        let ticking = time.clone();
        let clock = Rc::new(move || {
            ticking.set(ticking.get() + 1);
            ticking.get()
        });
        let options =
            BatchOptions { atomic, control: Control::default().time_limit(clock, 700), ..BatchOptions::default() };
        assert_eq!(block_on(database.batch(&batch, &options)).unwrap_err(), Error::TimedOut);
        let all = BatchOptions { atomic, ..BatchOptions::default() };
        assert_eq!(block_on(database.batch(&batch, &all)).unwrap().len(), 1000);
        assert_sound(&database);
    }
}

/// A change set that does not fit is refused by name and place, and leaves nothing; what comes in several transactions is stored.
#[test]
fn a_transaction_that_is_too_large_is_refused() {
    let options = Options { transaction_bytes_max: 10_000, ..tiny(512) };
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), options)).unwrap();
    let batch: Vec<Operation> = (0..100).map(|n| Operation::set("a", n, &value(n as u16, 300)).unwrap()).collect();
    let error = block_on(database.batch(&batch, &BatchOptions::default())).unwrap_err();
    let Error::Batch { position, source } = &error else { panic!("{error}") };
    assert!((25..34).contains(position), "{error}");
    assert_eq!(source.code(), "invalidInput");
    assert!(error.to_string().contains("more changes than fit into 10000 bytes"), "{error}");
    assert_eq!(block_on(database.collections()).unwrap(), []);
    assert_sound(&database);
    // In one that is open, what was done before stays, and can be stored.
    block_on(database.transaction(async |transaction| {
        let mut done = 0;
        for operation in &batch {
            if transaction.run(operation).await.is_err() {
                break;
            }
            done += 1;
        }
        assert_eq!(done, *position);
        Ok(())
    }))
    .unwrap();
    for piece in batch[*position..].chunks(20) {
        block_on(database.batch(piece, &BatchOptions::default())).unwrap();
    }
    let each = BatchOptions { atomic: false, ..BatchOptions::default() };
    assert_eq!(block_on(database.batch(&batch, &each)).unwrap().len(), 100);
    assert_eq!(block_on(database.count("a", Filter::default())).unwrap(), 100);
    assert_sound(&database);
}
