//! Migrations: all steps or none, each once, and hands off newer data.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cu_storage::{Control, Database, Document, Error, MemoryBackend, Progress, Transaction, WriteFault, block_on};
use support::{assert_sound, contents, tiny};

fn opened(store: &MemoryBackend) -> Database {
    block_on(Database::open(store.clone(), tiny(512))).unwrap()
}

/// Each step multiplies by ten and adds its number, so that order and repetition show.
async fn step(transaction: &mut Transaction, number: u64) -> cu_storage::Result<()> {
    let old = match transaction.get("data", &1.into()).await? {
        Some(Document::Integer(old)) => old,
        _ => 0,
    };
    let new = old * 10 + i64::try_from(number).unwrap();
    transaction.set("data", &1.into(), &new.into()).await
}

fn migrate(database: &Database, version: u64) -> cu_storage::Result<u64> {
    block_on(database.migrate(version, &Control::default(), step))
}

fn data(database: &Database) -> Option<Document> {
    block_on(database.get("data", &1.into())).unwrap()
}

#[test]
fn steps_run_once_in_order_with_progress() {
    let store = MemoryBackend::new();
    let database = opened(&store);
    assert_eq!(block_on(database.data_version()), Ok(0));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let control = Control::default().on_progress({
        let seen = seen.clone();
        move |progress| seen.borrow_mut().push(progress)
    });
    assert_eq!(block_on(database.migrate(3, &control, step)), Ok(0));
    let total = 3;
    assert_eq!(*seen.borrow(), [1, 2, 3].map(|done| Progress { done, total }));
    assert_eq!(data(&database), Some(123.into()));
    assert_eq!(migrate(&database, 3), Ok(3));
    drop(database);
    let database = opened(&store);
    assert_eq!(migrate(&database, 5), Ok(3));
    assert_eq!(data(&database), Some(12345.into()));
    assert_eq!(contents(&database).unwrap().len(), 1);
    assert_sound(&database);
}

#[test]
fn a_failing_step_leaves_the_old_version() {
    let store = MemoryBackend::new();
    let database = opened(&store);
    migrate(&database, 1).unwrap();
    let failing = async |transaction: &mut Transaction, number: u64| {
        step(transaction, number).await?;
        transaction.drop_collection("data").await?;
        if number == 3 { Err(Error::Cancelled) } else { Ok(()) }
    };
    assert_eq!(block_on(database.migrate(4, &Control::default(), failing)), Err(Error::Cancelled));
    // Nor does a write that fails.
    store.fail_write(store.writes(), WriteFault::Fail(Error::Quota));
    assert_eq!(migrate(&database, 4), Err(Error::Quota));
    for database in [database, opened(&store)] {
        assert_eq!(block_on(database.data_version()), Ok(1));
        assert_eq!(data(&database), Some(1.into()));
        assert_sound(&database);
    }
}

#[test]
fn newer_data_can_only_be_read() {
    let store = MemoryBackend::new();
    let (old, new) = (opened(&store), opened(&store));
    migrate(&old, 1).unwrap();
    migrate(&new, 2).unwrap();
    let newer = Error::NewerData { found: 2, supported: 1 };
    assert_eq!(newer.code(), "newerVersion");
    // One that was open before, and one that comes later.
    let late = opened(&store);
    assert_eq!(migrate(&late, 1), Err(newer.clone()));
    for database in [&old, &late] {
        block_on(database.refresh()).unwrap();
        assert_eq!(block_on(database.set("data", &1.into(), &0.into())), Err(newer.clone()));
        assert_eq!(block_on(database.delete("data", &1.into())), Err(newer.clone()));
        assert_eq!(block_on(database.drop_collection("data")), Err(newer.clone()));
        assert_eq!(data(database), Some(12.into()));
    }
    block_on(new.set("data", &1.into(), &0.into())).unwrap();
}

#[test]
fn of_two_that_migrate_one_does_it() {
    let store = MemoryBackend::new();
    let (first, second) = (opened(&store), opened(&store));
    let runs = Cell::new(0);
    let slow = async |transaction: &mut Transaction, number: u64| {
        runs.set(runs.get() + 1);
        step(transaction, number).await?;
        if runs.get() == 1 {
            migrate(&second, 2)?;
        }
        Ok(())
    };
    assert_eq!(block_on(first.migrate(3, &Control::default(), slow)), Ok(2));
    assert_eq!(data(&first), Some(123.into()));
    assert_eq!(block_on(second.data_version()), Ok(2));
    block_on(second.refresh()).unwrap();
    assert_eq!(block_on(second.data_version()), Ok(3));
}
