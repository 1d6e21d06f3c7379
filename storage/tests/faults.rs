//! Faults: a write that fails or whose answer is lost, for every write of a workload; damaged pages and records; a full
//! disk; other connections to the same store.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use cu_storage::{BatchOptions, Database, Document, Error, MemoryBackend, Operation, Options, WriteFault, block_on};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use support::slow::{self, Task, drive};
use support::{Model, Write, assert_holds, assert_sound, contents, tiny, write};

fn workload() -> Vec<Vec<Write>> {
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let batches = proptest::collection::vec(proptest::collection::vec(write(), 1..15), 60);
    batches.new_tree(&mut runner).unwrap().current()
}

fn run_batch(database: &Database, writes: &[Write]) -> cu_storage::Result<()> {
    let batch: Vec<Operation> = writes.iter().map(Write::operation).collect();
    block_on(database.batch(&batch, &BatchOptions::default())).map(drop)
}

/// Every write of the workload goes wrong once. What the caller was promised is there afterwards, in the database that
/// goes on and in one that opens what a crash would leave; a batch is visible as a whole or not at all.
fn every_write_goes_wrong_once(fault: &WriteFault) {
    let workload = workload();
    let options = tiny(256);
    let counted = MemoryBackend::new();
    let database = block_on(Database::open(counted.clone(), options.clone())).unwrap();
    for writes in &workload {
        run_batch(&database, writes).unwrap();
    }
    let writes_in_all = counted.writes();
    assert!(writes_in_all > workload.len() as u64, "checkpoints happen");

    for number in 0..writes_in_all {
        let store = MemoryBackend::new();
        store.fail_write(number, fault.clone());
        let database = block_on(Database::open(store.clone(), options.clone())).unwrap();
        let mut model = Model::new();
        for writes in &workload {
            let before = model.clone();
            writes.iter().for_each(|write| write.apply(&mut model));
            if let Err(error) = run_batch(&database, writes) {
                let crashed = block_on(Database::open(store.copy(), options.clone())).unwrap();
                let stored = contents(&crashed).unwrap();
                match fault {
                    WriteFault::Fail(expected) => {
                        assert_eq!(error, *expected);
                        assert_eq!(stored, before, "write {number}");
                        run_batch(&database, writes).unwrap();
                    }
                    _ => {
                        assert_eq!(error, Error::ConnectionLost);
                        assert_eq!(stored, model, "write {number}");
                    }
                }
            }
        }
        assert_holds(&database, &model);
        assert_sound(&database);
        let reopened = block_on(Database::open(store.copy(), options.clone())).unwrap();
        assert_holds(&reopened, &model);
        assert_sound(&reopened);
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

#[test]
fn a_crash_after_any_commit_loses_nothing() {
    let store = MemoryBackend::new();
    let options = tiny(128);
    let database = block_on(Database::open(store.clone(), options.clone())).unwrap();
    let mut model = Model::new();
    for writes in workload() {
        run_batch(&database, &writes).unwrap();
        writes.iter().for_each(|write| write.apply(&mut model));
        let crashed = block_on(Database::open(store.copy(), options.clone())).unwrap();
        assert_holds(&crashed, &model);
        assert_sound(&crashed);
    }
}

#[test]
fn a_full_disk_leaves_the_database_usable() {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), Options::default())).unwrap();
    block_on(database.set("a", &1.into(), &"kept".into())).unwrap();
    store.fail_write(store.writes(), WriteFault::Fail(Error::Quota));
    let error = block_on(database.set("a", &1.into(), &"lost".into())).unwrap_err();
    assert_eq!(error.code(), "quota");
    let get = || block_on(database.get("a", &1.into())).unwrap();
    assert_eq!(get(), Some("kept".into()));
    block_on(database.set("a", &1.into(), &"new".into())).unwrap();
    assert_eq!(get(), Some("new".into()));
    store.fail_write(store.writes(), WriteFault::Fail(Error::Quota));
    assert_eq!(block_on(database.checkpoint()), Err(Error::Quota));
    assert_eq!(database.statistics().checkpoint_error, Some(Error::Quota));
    block_on(database.checkpoint()).unwrap();
    assert_eq!(database.statistics().checkpoint_error, None);
    assert_sound(&database);
}

fn filled_store(options: &Options) -> MemoryBackend {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), options.clone())).unwrap();
    for writes in workload().iter().take(30) {
        run_batch(&database, writes).unwrap();
    }
    block_on(database.close()).unwrap();
    store
}

#[test]
fn a_damaged_page_is_reported_by_number() {
    let options = tiny(256);
    let store = filled_store(&options);
    let mut reported = 0;
    for page in store.page_numbers() {
        for at in (0..256).step_by(13) {
            let copy = store.copy();
            copy.alter_page(page, |bytes| bytes[at] ^= 0x41);
            match block_on(Database::open(copy.clone(), options.clone())) {
                Err(error) => assert_eq!(error, Error::Corrupt { page: page.0 }),
                Ok(database) => {
                    // A page that is free may hold anything.
                    let report = block_on(database.check()).unwrap();
                    let problems = report.problems;
                    assert!(problems.iter().all(|p| *p == Error::Corrupt { page: page.0 }));
                    reported += problems.len();
                    match contents(&database) {
                        Ok(_) => assert_eq!(problems, []),
                        Err(error) => assert_eq!(error, Error::Corrupt { page: page.0 }),
                    }
                }
            }
        }
        let copy = store.copy();
        copy.alter_page(page, |bytes| bytes.truncate(100));
        if let Ok(database) = block_on(Database::open(copy, options.clone())) {
            let _ = contents(&database);
        }
    }
    assert!(reported > 100);
}

/// Pages whose checksum is right but whose content is hostile.
#[test]
fn hostile_pages_never_panic() {
    let options = tiny(128);
    let store = filled_store(&options);
    let config = ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        cases: 300,
        ..ProptestConfig::default()
    };
    let pages = store.page_numbers();
    let change = (any::<prop::sample::Index>(), 8usize..128, any::<u8>());
    let strategy = proptest::collection::vec(change, 1..4);
    TestRunner::new(config)
        .run(&strategy, |changes| {
            let copy = store.copy();
            for (page, at, byte) in changes {
                let page = pages[page.index(pages.len())];
                copy.alter_page(page, |bytes| {
                    bytes[at] = byte;
                    let checksum = xxhash_rust::xxh64::xxh64(&bytes[8..], u64::from(page.0));
                    bytes[..8].copy_from_slice(&checksum.to_le_bytes());
                });
            }
            if let Ok(database) = block_on(Database::open(copy, options.clone())) {
                let _ = block_on(database.check());
                for collection in block_on(database.collections()).unwrap() {
                    let _ = block_on(database.scan(&collection.name, &Default::default()));
                    let backward =
                        cu_storage::ScanOptions { direction: cu_storage::Direction::Backward, ..Default::default() };
                    let _ = block_on(database.scan(&collection.name, &backward));
                    for number in 0..120 {
                        let _ = block_on(database.delete(&collection.name, &support::key(number)));
                        let value = support::value(number, number * 7);
                        let _ = block_on(database.set(&collection.name, &support::key(number), &value));
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn damaged_records_are_errors() {
    let options = Options::default();
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), options.clone())).unwrap();
    block_on(database.set("a", &1.into(), &"one".into())).unwrap();
    block_on(database.checkpoint()).unwrap();
    block_on(database.set("a", &2.into(), &"two".into())).unwrap();
    let open = |store: &MemoryBackend| {
        block_on(Database::open(store.clone(), options.clone())).map(drop).map_err(|error| error.code())
    };
    assert_eq!(open(&store.copy()), Ok(()));
    for at in 0..40 {
        let copy = store.copy();
        copy.alter_root(|root| root[at] ^= 1);
        assert!(matches!(open(&copy), Err("corrupt" | "newerVersion")));
        let copy = store.copy();
        copy.alter_log(|record| {
            let at = at % record.len();
            record[at] ^= 1;
        });
        assert!(matches!(open(&copy), Err("corrupt" | "newerVersion")));
    }
    let copy = store.copy();
    copy.alter_root(|root| root[4] = 9);
    assert_eq!(open(&copy), Err("newerVersion"));
}

/// Two connections that write in turn, neither told about the other.
#[test]
fn connections_see_each_other_and_lose_nothing() {
    for page_size in [128, 512] {
        let options = tiny(page_size);
        let store = MemoryBackend::new();
        let open = || block_on(Database::open(store.clone(), options.clone())).unwrap();
        let connections = [open(), open(), open()];
        let mut model = Model::new();
        for (position, writes) in workload().iter().enumerate() {
            let database = &connections[position * 7 % 3];
            run_batch(database, writes).unwrap();
            writes.iter().for_each(|write| write.apply(&mut model));
            if position % 10 == 9 {
                for database in &connections {
                    block_on(database.refresh()).unwrap();
                    assert_holds(database, &model);
                    assert_sound(database);
                }
            }
        }
        assert_holds(&open(), &model);
    }
}

#[test]
fn a_conflict_can_be_reported_instead() {
    let store = MemoryBackend::new();
    let open = || block_on(Database::open(store.clone(), Options::default())).unwrap();
    let (first, second) = (open(), open());
    block_on(first.set("a", &1.into(), &1.into())).unwrap();
    let options = BatchOptions { retry: false, ..BatchOptions::default() };
    let batch = [Operation::increment("a", 1, None, 1)];
    assert_eq!(block_on(second.batch(&batch, &options)).unwrap_err(), Error::Conflict);
    block_on(second.batch(&batch, &options)).unwrap();
    assert_eq!(block_on(second.get("a", &1.into())).unwrap(), Some(2.into()));
}

/// Four tasks over two connections increment and read at once; with `stop_after`, one more is cancelled at that moment.
fn increments_at_once(stop_after: Option<u32>) {
    let store = MemoryBackend::new();
    let polls = Rc::new(Cell::new(stop_after.unwrap_or(1)));
    let open = || slow::open(&store, &polls, &tiny(128));
    let connections = [open(), open()];
    let mut tasks: Vec<Task> = Vec::new();
    for task in 0..4 {
        let database = connections[task % 2].clone();
        tasks.push(Box::pin(async move {
            for round in 0..20i64 {
                let batch = [
                    Operation::increment("counters", 0, None, 1),
                    Operation::set("log", task as i64 * 100 + round, &support::value(round as u16, 90)).unwrap(),
                ];
                database.batch(&batch, &BatchOptions::default()).await.unwrap();
                let rows = database.scan("log", &Default::default()).await.unwrap();
                assert!(rows.len() as i64 > round);
            }
        }));
    }
    if stop_after.is_some() {
        let database = connections[0].clone();
        tasks.push(Box::pin(async move {
            loop {
                let batch = [Operation::set("other", 1, &support::value(1, 500)).unwrap()];
                database.batch(&batch, &BatchOptions::default()).await.unwrap();
                database.checkpoint().await.unwrap();
            }
        }));
    }
    drive(tasks, stop_after);
    let database = block_on(Database::open(store.copy(), tiny(128))).unwrap();
    let total = block_on(database.get("counters", &0.into())).unwrap();
    assert_eq!(total, Some(Document::Integer(80)));
    let log = block_on(database.scan("log", &Default::default())).unwrap();
    assert_eq!(log.len(), 80);
    let report = block_on(database.check()).unwrap();
    // A checkpoint that is cancelled may forget free pages, never more than that.
    let lost = [Error::CorruptRecord("pages are neither used nor free")];
    assert!(report.problems.is_empty() || (stop_after.is_some() && report.problems == lost));
}

#[test]
fn tasks_and_connections_write_at_once() {
    increments_at_once(None);
}

#[test]
fn a_cancelled_task_disturbs_nobody() {
    for stop_after in 1..120 {
        increments_at_once(Some(stop_after));
    }
}
