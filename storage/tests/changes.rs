//! The change log: carried out in order, what it says gives the database; it is as atomic as the changes it tells of, and what
//! was cut off is reported as cut off.

mod support;

use std::collections::BTreeMap;

use cu_storage::{
    BatchOptions, ChangeKind, ChangePolicy, Database, Document, Error, ExportFormat, LoggedChange, MemoryBackend,
    Operation, WriteFault, block_on, encode_key,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{Model, Write, assert_holds, assert_sound, contents, name, tiny, write};

const KEEP: ChangePolicy = ChangePolicy { count_max: u64::MAX >> 1, bytes_max: u64::MAX >> 1, values: true };

fn opened(store: &MemoryBackend, page_size: usize) -> Database {
    block_on(Database::open(store.clone(), tiny(page_size))).unwrap()
}

/// Carries changes out, checking that each is what it says.
fn replay(model: &mut Model, changes: &[LoggedChange]) {
    for change in changes {
        let documents = model.entry(change.collection.clone()).or_default();
        let key = encode_key(&change.key).unwrap_or_default();
        let value = || change.value.as_ref().unwrap().decode().unwrap();
        match change.kind {
            ChangeKind::Added => assert_eq!(documents.insert(key, value()), None),
            ChangeKind::Changed => assert!(documents.insert(key, value()).is_some()),
            ChangeKind::Removed => assert!(documents.remove(&key).is_some()),
            ChangeKind::Dropped => drop(model.remove(&change.collection)),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Write>),
    FailingBatch(Vec<Write>),
    /// What comes after the savepoint is undone.
    Savepoint(Vec<Write>, Vec<Write>, Vec<Write>),
    Drop(u8),
    LostWrite(Vec<Write>),
    Reopen,
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    let writes = || proptest::collection::vec(write(), 0..10);
    prop_oneof![
        6 => writes().prop_map(Step::Batch),
        2 => writes().prop_map(Step::FailingBatch),
        3 => (writes(), writes(), writes()).prop_map(|(a, b, c)| Step::Savepoint(a, b, c)),
        1 => any::<u8>().prop_map(Step::Drop),
        1 => writes().prop_map(Step::LostWrite),
        1 => Just(Step::Reopen),
        1 => Just(Step::Checkpoint),
    ]
}

fn operations(writes: &[Write]) -> Vec<Operation> {
    writes.iter().map(Write::operation).collect()
}

async fn savepoint(database: &Database, [before, undone, after]: [&[Write]; 3]) -> cu_storage::Result<()> {
    let mut transaction = database.begin().await?;
    for operation in operations(before) {
        transaction.run(&operation).await?;
    }
    let savepoint = transaction.savepoint()?;
    for operation in operations(undone) {
        transaction.run(&operation).await?;
    }
    transaction.rollback_to(savepoint)?;
    for operation in operations(after) {
        transaction.run(&operation).await?;
    }
    transaction.commit().await
}

fn run(steps: &[Step], page_size: usize, policy: ChangePolicy) {
    let store = MemoryBackend::new();
    let mut database = opened(&store, page_size);
    block_on(database.set_change_log(Some(policy))).unwrap();
    // What a follower has seen, and up to which transaction.
    let (mut follower, mut number) = (Model::new(), 0);
    for step in steps {
        match step {
            Step::Batch(writes) => {
                block_on(database.batch(&operations(writes), &BatchOptions::default())).unwrap();
            }
            Step::FailingBatch(writes) => {
                let mut batch = operations(writes);
                batch.push(Operation::update("users", 1, Document::Nil));
                block_on(database.batch(&batch, &BatchOptions::default())).unwrap_err();
            }
            Step::Savepoint(before, undone, after) => {
                block_on(savepoint(&database, [before, undone, after])).unwrap();
            }
            Step::Drop(collection) => {
                block_on(database.drop_collection(name(*collection))).unwrap();
            }
            Step::LostWrite(writes) => {
                store.fail_write(store.writes(), WriteFault::Fail(Error::Quota));
                let _ = block_on(database.batch(&operations(writes), &BatchOptions::default()));
                // A batch that changed nothing has left the fault to the next one.
                store.fail_write(u64::MAX, WriteFault::LoseAnswer);
            }
            Step::Reopen => database = opened(&store, page_size),
            Step::Checkpoint => drop(block_on(database.checkpoint())),
        }
        match block_on(database.changes_since(number, usize::MAX)) {
            Ok(changes) => {
                replay(&mut follower, &changes);
                let numbers: Vec<u64> = changes.iter().map(|change| change.number).collect();
                assert!(numbers.is_sorted() && numbers.first().is_none_or(|first| *first == number + 1));
                number = numbers.last().copied().unwrap_or(number);
            }
            Err(Error::Trimmed { first }) => {
                assert!(first > number + 1);
                follower = contents(&database).unwrap();
                number = first - 1;
                let kept = block_on(database.changes_since(number, usize::MAX)).unwrap();
                number = kept.last().map_or(number, |last| last.number);
            }
            Err(error) => panic!("{error}"),
        }
        assert_holds(&database, &follower);
        assert_sound(&database);
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(6),
        cases,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn who_follows_the_log_has_the_database(
        steps in proptest::collection::vec(step(), 1..30),
        page_size in prop_oneof![Just(128), Just(512)],
    ) {
        run(&steps, page_size, KEEP);
    }

    #[test]
    fn who_follows_a_short_log_is_told_when_it_is_cut(
        steps in proptest::collection::vec(step(), 1..30),
        count_max in 0u64..12,
        bytes_max in 100u64..2000,
    ) {
        run(&steps, 200, ChangePolicy { count_max, bytes_max, values: true });
    }
}

fn batch(database: &Database, keys: impl IntoIterator<Item = i64>) {
    let sets = keys.into_iter().map(|key| Operation::set("users", key, &key.into()).unwrap());
    block_on(database.batch(&sets.collect::<Vec<_>>(), &BatchOptions::default())).unwrap();
}

#[test]
fn the_log_keeps_whole_transactions_within_its_policy() {
    let database = opened(&MemoryBackend::new(), 512);
    block_on(database.set_change_log(Some(ChangePolicy { count_max: 10, ..KEEP }))).unwrap();
    for start in 0..10 {
        batch(&database, start * 4..start * 4 + 4);
    }
    // Two of four are what ten have room for.
    assert_eq!(block_on(database.changes_since(7, usize::MAX)), Err(Error::Trimmed { first: 9 }));
    let kept = block_on(database.changes_since(8, usize::MAX)).unwrap();
    let mut sizes = BTreeMap::new();
    kept.iter().for_each(|change| *sizes.entry(change.number).or_insert(0) += 1);
    assert_eq!(sizes, BTreeMap::from([(9, 4), (10, 4)]));
    assert_eq!(block_on(database.changes_since(8, 1)).unwrap().len(), 4);
    // One that is larger than all the room is kept alone.
    batch(&database, 0..1000);
    assert_eq!(block_on(database.changes_since(10, usize::MAX)).unwrap().len(), 1000);
    assert_eq!(block_on(database.changes_since(9, 1)), Err(Error::Trimmed { first: 11 }));
    batch(&database, 0..1);
    assert_eq!(block_on(database.changes_since(11, 1)).unwrap().len(), 1);
    assert_eq!(block_on(database.changes_since(10, 1)), Err(Error::Trimmed { first: 12 }));
    assert_sound(&database);
}

#[test]
fn nothing_is_logged_before_the_log_is_on_or_after_it_is_off() {
    let store = MemoryBackend::new();
    let database = opened(&store, 512);
    batch(&database, 0..4);
    assert!(matches!(block_on(database.changes_since(0, 1)), Err(Error::InvalidInput { .. })));
    block_on(database.set_change_log(Some(ChangePolicy { values: false, ..KEEP }))).unwrap();
    batch(&database, 3..5);
    let changes = block_on(database.changes_since(0, 1)).unwrap();
    let kinds: Vec<ChangeKind> = changes.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Changed, ChangeKind::Added]);
    assert!(changes.iter().all(|change| change.value.is_none()));
    block_on(database.set_change_log(None)).unwrap();
    batch(&database, 0..4);
    assert!(matches!(block_on(database.changes_since(0, 1)), Err(Error::InvalidInput { .. })));
    block_on(database.set_change_log(Some(KEEP))).unwrap();
    batch(&database, 0..1);
    assert_eq!(block_on(database.changes_since(0, 1)), Err(Error::Trimmed { first: 2 }));
    assert_eq!(block_on(database.changes_since(1, 1)).unwrap()[0].number, 2);
}

#[test]
fn the_log_is_no_collection_of_the_users() {
    let database = opened(&MemoryBackend::new(), 512);
    let change_log = |result: cu_storage::Result<()>| match result {
        Err(Error::InvalidInput { reason, .. }) => assert_eq!(reason, "is the database's own"),
        other => panic!("{other:?}"),
    };
    change_log(block_on(database.set("$changes", &1.into(), &1.into())));
    block_on(database.set_change_log(Some(KEEP))).unwrap();
    batch(&database, 0..1);
    change_log(block_on(database.set("$changes", &1.into(), &1.into())));
    change_log(block_on(database.delete("$changes", &0.into())).map(drop));
    change_log(block_on(database.drop_collection("$changes")).map(drop));
    change_log(block_on(database.set_schema("$changes", &Document::Nil)));
    assert_eq!(block_on(database.collections()).unwrap().len(), 1);
    let mut exported = Vec::new();
    let write = |bytes: &[u8]| {
        exported.extend_from_slice(bytes);
        Ok(())
    };
    assert_eq!(block_on(database.export(ExportFormat::JsonLines, &Default::default(), write)), Ok(1));
    assert!(!String::from_utf8(exported).unwrap().contains("$changes"));
}
