//! The database against a `BTreeMap`: random transactions with tiny pages and a tiny cache, over every backend, with
//! reopening, checkpoints and snapshots in between. After each step the database is checked as a whole.

mod support;

use std::ops::Bound;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use cu_storage::{
    Backend, BatchOptions, Database, Direction, Document, Error, FileBackend, MemoryBackend, Operation, Options,
    ScanOptions, Snapshot, block_on, encode_key,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::{Model, Write, assert_holds, assert_sound, key, name, tiny, write};

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Write>),
    /// A batch whose last operation fails.
    FailingBatch(Vec<Write>),
    Rollback(Vec<Write>),
    Checkpoint,
    Reopen,
    CloseAndReopen,
    TakeSnapshot,
    DropSnapshot,
    Scan(u8, u16, u16, bool, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let writes = || proptest::collection::vec(write(), 1..12);
    prop_oneof![
        10 => writes().prop_map(Step::Batch),
        1 => proptest::collection::vec(write(), 30..120).prop_map(Step::Batch),
        2 => writes().prop_map(Step::FailingBatch),
        2 => writes().prop_map(Step::Rollback),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Reopen),
        1 => Just(Step::CloseAndReopen),
        1 => Just(Step::TakeSnapshot),
        1 => Just(Step::DropSnapshot),
        3 => (any::<u8>(), 0u16..130, 0u16..130, any::<bool>(), any::<bool>())
            .prop_map(|(c, from, to, included, forward)| Step::Scan(c, from, to, included, forward)),
    ]
}

/// Counts the writes of all cases, and tells them now and then, for who looks.
fn count(writes: usize) {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let before = WRITES.fetch_add(writes as u64, Ordering::Relaxed);
    let after = before + writes as u64;
    if before / 100_000 != after / 100_000 {
        println!("{after} writes");
    }
}

fn run(steps: &[Step], options: &Options, mut connect: impl FnMut() -> Rc<dyn Backend>) {
    let mut model = Model::new();
    let mut database = Some(block_on(Database::open_shared(connect(), options.clone())).unwrap());
    let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
    for step in steps {
        let open = database.as_ref().unwrap();
        match step {
            Step::Batch(writes) => {
                let batch: Vec<Operation> = writes.iter().map(Write::operation).collect();
                block_on(open.batch(&batch, &BatchOptions::default())).unwrap();
                writes.iter().for_each(|write| write.apply(&mut model));
                count(writes.len());
            }
            Step::FailingBatch(writes) => {
                let mut batch: Vec<Operation> = writes.iter().map(Write::operation).collect();
                batch.push(Operation::update("users", 1, Document::Nil));
                let error = block_on(open.batch(&batch, &BatchOptions::default())).unwrap_err();
                assert!(matches!(error, Error::Batch { position, .. } if position == writes.len()));
                count(writes.len());
            }
            Step::Rollback(writes) => block_on(async {
                let mut transaction = open.begin().await.unwrap();
                for write in writes {
                    transaction.run(&write.operation()).await.unwrap();
                }
                transaction.rollback();
                count(writes.len());
            }),
            Step::Checkpoint => block_on(open.checkpoint()).unwrap(),
            Step::Reopen | Step::CloseAndReopen => {
                if matches!(step, Step::CloseAndReopen) {
                    block_on(open.close()).unwrap();
                }
                snapshots.clear();
                drop(database.take());
                database = Some(block_on(Database::open_shared(connect(), options.clone())).unwrap());
            }
            Step::TakeSnapshot => {
                snapshots.push((block_on(open.snapshot()).unwrap(), model.clone()));
            }
            Step::DropSnapshot => drop(snapshots.pop()),
            Step::Scan(c, from, to, included, forward) => {
                check_scan(open, &model, name(*c), (*from, *to), *included, *forward);
            }
        }
        let open = database.as_ref().unwrap();
        assert_holds(open, &model);
        assert_sound(open);
        for (snapshot, model) in &snapshots {
            assert_snapshot(snapshot, model);
        }
    }
}

fn check_scan(
    database: &Database,
    model: &Model,
    collection: &str,
    (from, to): (u16, u16),
    included: bool,
    forward: bool,
) {
    let bound = |number| {
        if included { Bound::Included(key(number)) } else { Bound::Excluded(key(number)) }
    };
    let options = ScanOptions {
        from: bound(from),
        to: bound(to),
        direction: if forward { Direction::Forward } else { Direction::Backward },
        limit: None,
    };
    let found: Vec<Vec<u8>> = block_on(database.scan(collection, &options))
        .unwrap()
        .into_iter()
        .map(|row| encode_key(&row.key).unwrap())
        .collect();
    let (low, high) = (encode_key(&key(from)).unwrap(), encode_key(&key(to)).unwrap());
    let mut wanted: Vec<Vec<u8>> = model
        .get(collection)
        .into_iter()
        .flat_map(|documents| documents.keys())
        .filter(|key| if included { **key >= low && **key <= high } else { **key > low && **key < high })
        .cloned()
        .collect();
    if !forward {
        wanted.reverse();
    }
    assert_eq!(found, wanted);
}

fn assert_snapshot(snapshot: &Snapshot, model: &Model) {
    for (collection, documents) in model {
        let rows = block_on(snapshot.scan(collection, &ScanOptions::default())).unwrap();
        let found: Vec<Document> = rows.iter().map(|row| row.value.decode().unwrap()).collect();
        assert!(found.iter().eq(documents.values()));
    }
}

/// `cargo xtask model` multiplies the cases by `CU_MODEL_TIMES` and names another seed in `CU_MODEL_SEED`.
fn config(cases: u32) -> ProptestConfig {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(number("CU_MODEL_SEED").map_or(2, u64::from)),
        cases: cases * number("CU_MODEL_TIMES").unwrap_or(1),
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn memory_holds_what_the_model_holds(
        steps in proptest::collection::vec(step(), 1..60),
        page_size in prop_oneof![Just(128), Just(200), Just(512)],
    ) {
        let store = MemoryBackend::new();
        run(&steps, &tiny(page_size), || Rc::new(store.clone()));
    }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn file_holds_what_the_model_holds(
        steps in proptest::collection::vec(step(), 1..40),
        page_size in prop_oneof![Just(128), Just(512)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.cudb");
        run(&steps, &tiny(page_size), || Rc::new(FileBackend::open(&path).unwrap()));
    }
}

#[test]
fn sequential_and_random_loads_with_default_pages() {
    let store = MemoryBackend::new();
    let options = Options { checkpoint_log_bytes: 100_000, cache_bytes_max: 100_000, ..Options::default() };
    let database = block_on(Database::open(store.clone(), options.clone())).unwrap();
    let mut model = Model::new();
    for order in [1u32, 7919] {
        for chunk in 0..10 {
            let writes: Vec<Write> = (0..500u32)
                .map(|n| ((chunk * 500 + n) * order % 5000) as u16)
                .map(|n| Write::Set(order as u8, n, n % 300))
                .collect();
            let batch: Vec<Operation> = writes.iter().map(Write::operation).collect();
            block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
            writes.iter().for_each(|write| write.apply(&mut model));
        }
    }
    assert_holds(&database, &model);
    assert_sound(&database);
    drop(database);
    let database = block_on(Database::open(store, options)).unwrap();
    assert_holds(&database, &model);
    assert_sound(&database);
}
