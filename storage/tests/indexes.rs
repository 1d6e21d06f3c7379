//! Indexes against the documents: after random changes each index has exactly the entries that the documents give, and a unique
//! one refuses exactly what a comparison of all documents refuses.

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use cu_storage::{
    Backend, BatchOptions, Cancel, Control, Database, Document, Error, IndexDefinition, IndexKind, MemoryBackend,
    Operation, Options, PageId, block_on, compare,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::people::{Change, change, indexes, unique_indexes};
use support::{assert_sound, key, tiny};

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Change>),
    FailingBatch(Vec<Change>),
    Create(usize),
    Drop(usize),
    Checkpoint,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || proptest::collection::vec(change(), 1..20);
    prop_oneof![
        8 => changes().prop_map(Step::Batch),
        1 => changes().prop_map(Step::FailingBatch),
        3 => any::<usize>().prop_map(Step::Create),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ]
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(11),
        cases,
        max_shrink_iters: 1000,
        ..ProptestConfig::default()
    }
}

fn batch(database: &Database, changes: &[Change]) -> cu_storage::Result<()> {
    let operations: Vec<Operation> = changes.iter().map(|change| change.operation("people")).collect();
    block_on(database.batch(&operations, &BatchOptions::default())).map(drop)
}

proptest! {
    #![proptest_config(config(250))]

    #[test]
    fn indexes_have_what_the_documents_say(
        steps in proptest::collection::vec(step(), 1..30),
        page_size in prop_oneof![Just(128), Just(200), Just(512)],
    ) {
        let store = MemoryBackend::new();
        let definitions = indexes();
        let open = || block_on(Database::open(store.clone(), tiny(page_size))).unwrap();
        let mut database = open();
        for step in steps {
            match step {
                Step::Batch(changes) => batch(&database, &changes).unwrap(),
                Step::FailingBatch(changes) => {
                    let mut operations: Vec<Operation> =
                        changes.iter().map(|change| change.operation("people")).collect();
                    operations.push(Operation::update("people", 1, Document::Nil));
                    let result = block_on(database.batch(&operations, &BatchOptions::default()));
                    prop_assert!(result.is_err());
                }
                Step::Create(choice) => {
                    let definition = &definitions[choice % definitions.len()];
                    block_on(database.create_index("people", definition)).unwrap();
                }
                Step::Drop(choice) => {
                    let definition = &definitions[choice % definitions.len()];
                    block_on(database.drop_index("people", &definition.name)).unwrap();
                }
                Step::Checkpoint => block_on(database.checkpoint()).unwrap(),
                Step::Reopen => database = open(),
            }
            assert_sound(&database);
        }
    }

    #[test]
    fn unique_indexes_refuse_what_a_comparison_refuses(
        changes in proptest::collection::vec(change(), 1..40),
        choice in any::<usize>(),
        page_size in prop_oneof![Just(128), Just(512)],
    ) {
        let definitions = unique_indexes();
        let definition = &definitions[choice % definitions.len()];
        let database = block_on(Database::open(MemoryBackend::new(), tiny(page_size))).unwrap();
        block_on(database.create_index("people", definition)).unwrap();
        let plain = block_on(Database::open(MemoryBackend::new(), tiny(page_size))).unwrap();
        for change in &changes {
            // What the change would make of the documents, from a database without the index.
            let before = documents(&plain);
            batch(&plain, std::slice::from_ref(change)).unwrap();
            let allowed = all_differ(definition, &documents(&plain));
            let result = batch(&database, std::slice::from_ref(change));
            if allowed {
                prop_assert_eq!(result, Ok(()));
            } else {
                let code = result.map_err(|error| error.code());
                prop_assert_eq!(code, Err("duplicate"));
                restore(&plain, &before);
            }
            assert_sound(&database);
            // Text, because NaN is not equal to itself.
            prop_assert_eq!(format!("{:?}", documents(&database)), format!("{:?}", documents(&plain)));
        }
        // Building it over the same documents comes to the same.
        prop_assert!(block_on(plain.create_index("people", definition)).unwrap());
        assert_sound(&plain);
    }

    #[test]
    fn building_a_unique_index_refuses_what_a_comparison_refuses(
        changes in proptest::collection::vec(change(), 1..12),
        choice in any::<usize>(),
    ) {
        let definitions = unique_indexes();
        let definition = &definitions[choice % definitions.len()];
        let database = block_on(Database::open(MemoryBackend::new(), tiny(128))).unwrap();
        batch(&database, &changes).unwrap();
        let allowed = all_differ(definition, &documents(&database));
        let result = block_on(database.create_index("people", definition));
        prop_assert_eq!(result.is_ok(), allowed, "{:?}", result);
        assert_sound(&database);
    }
}

fn documents(database: &Database) -> BTreeMap<Vec<u8>, Document> {
    let mut contents = support::contents(database).unwrap();
    contents.remove("people").unwrap_or_default()
}

fn restore(database: &Database, before: &BTreeMap<Vec<u8>, Document>) {
    for key in documents(database).keys().filter(|key| !before.contains_key(*key)) {
        block_on(database.delete("people", &cu_storage::decode_key(key).unwrap())).unwrap();
    }
    for (key, document) in before {
        block_on(database.set("people", &cu_storage::decode_key(key).unwrap(), document)).unwrap();
    }
}

/// Whether no two documents agree in what a unique index looks at, found without any index.
fn all_differ(definition: &IndexDefinition, documents: &BTreeMap<Vec<u8>, Document>) -> bool {
    let mut seen: Vec<Vec<Document>> = Vec::new();
    for document in documents.values() {
        let encoded = document.encode().unwrap();
        let fields: Vec<Document> = definition
            .fields
            .iter()
            .map(|field| cu_storage::DocumentRef::new(&encoded).field(field).unwrap())
            .map(|field| field.map_or(Document::Nil, |field| field.decode().unwrap()))
            .collect();
        let mut values = match &fields[0] {
            // A single element never agrees with something that is not in an array.
            Document::Array(elements) if definition.multi => {
                elements.iter().map(|element| vec!["element".into(), element.clone()]).collect()
            }
            _ => vec![fields.clone()],
        };
        if definition.sparse && !definition.multi || !matches!(fields[0], Document::Array(_)) {
            values.retain(|_| !definition.sparse || fields.iter().any(|field| *field != Document::Nil));
        }
        let same = |left: &Vec<Document>, right: &Vec<Document>| {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| compare(a, b).is_eq())
        };
        let mut own: Vec<Vec<Document>> = Vec::new();
        for value in values {
            if !own.iter().any(|other| same(other, &value)) {
                own.push(value);
            }
        }
        if own.iter().any(|value| seen.iter().any(|other| same(other, value))) {
            return false;
        }
        seen.append(&mut own);
    }
    true
}

#[test]
fn progress_is_told_and_cancelling_leaves_no_index() {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let rows: Vec<Operation> =
        (0..5000i64).map(|n| Operation::set("n", n, &Document::map([("a", (n % 7).into())])).unwrap()).collect();
    block_on(database.batch(&rows, &BatchOptions::default())).unwrap();
    let definition = IndexDefinition::new(&["a"], IndexKind::Btree);
    for stop_at in [1, 512, 2000, 5000] {
        let cancel = Cancel::default();
        let seen = Rc::new(Cell::new(0));
        let (stop, last) = (cancel.clone(), seen.clone());
        let control = Control::default().cancel(&cancel).on_progress(move |progress| {
            assert_eq!(progress.total, 5000);
            assert!(progress.done > last.get());
            last.set(progress.done);
            if progress.done >= stop_at {
                stop.cancel();
            }
        });
        let result = block_on(database.create_index_with("n", &definition, &control));
        assert_eq!(result, Err(Error::Cancelled));
        assert!(seen.get() >= stop_at);
        assert_eq!(block_on(database.collections()).unwrap()[0].indexes, []);
        assert_sound(&database);
    }
    let clock = Rc::new(Cell::new(0));
    let ticking = clock.clone();
    let control = Control::default().time_limit(
        Rc::new(move || {
            ticking.set(ticking.get() + 1);
            ticking.get()
        }),
        5,
    );
    let result = block_on(database.create_index_with("n", &definition, &control));
    assert_eq!(result, Err(Error::TimedOut));
    assert!(block_on(database.create_index("n", &definition)).unwrap());
    let index = &block_on(database.collections()).unwrap()[0].indexes[0];
    assert_eq!((index.entries, index.distinct), (5000, 7));
    assert_sound(&database);
}

#[test]
fn definitions_that_make_no_sense_are_refused() {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let bad = [
        IndexDefinition::new(&[], IndexKind::Btree).named("x"),
        IndexDefinition::new(&[""], IndexKind::Btree),
        IndexDefinition::new(&["a"], IndexKind::Btree).named(""),
        IndexDefinition::new(&["a", "b"], IndexKind::Btree).multi(),
        IndexDefinition::new(&["$key"], IndexKind::Btree),
        IndexDefinition::new(&["a"; 17], IndexKind::Hash).named("x"),
    ];
    for definition in bad {
        let result = block_on(database.create_index("t", &definition));
        assert!(matches!(result, Err(Error::InvalidInput { .. })), "{definition:?}");
    }
}

/// Databases of earlier formats, as text: see `fixtures/README.md`.
#[test]
fn databases_of_earlier_formats_load() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/databases/v1");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let store = store_of(&std::fs::read_to_string(&path).unwrap());
        let with_log = path.ends_with("checkpoint_and_log.txt");
        for _ in 0..2 {
            let database = block_on(Database::open(store.clone(), Options::default())).unwrap();
            assert_sound(&database);
            let collections = block_on(database.collections()).unwrap();
            let users = collections.iter().find(|collection| collection.name == "users").unwrap();
            let names: Vec<&str> = users.indexes.iter().map(|index| index.definition.name.as_str()).collect();
            assert_eq!(names, if with_log { vec!["n", "name"] } else { vec!["n"] });
            assert!(users.indexes.iter().all(|index| index.entries == users.count));
            assert_eq!(users.count, 30);
            let large = block_on(database.get("large", &"text".into())).unwrap();
            assert_eq!(large, Some(Document::String(vec![b'x'; 3000])));
            block_on(database.checkpoint()).unwrap();
        }
        files += 1;
    }
    assert_eq!(files, 2);
}

fn store_of(text: &str) -> MemoryBackend {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let store = MemoryBackend::new();
    let mut checkpoint =
        cu_storage::Checkpoint { expected_checkpoint: 0, expected_sequence: 0, root: Vec::new(), pages: Vec::new() };
    let mut sequence = 0;
    let mut log = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "root" => checkpoint.root = bytes(words[1]),
            "sequence" => sequence = words[1].parse().unwrap(),
            "page" => checkpoint.pages.push((PageId(words[1].parse().unwrap()), bytes(words[2]).into())),
            "log" => log.push(bytes(words[1])),
            _ => {}
        }
    }
    // Commits before the checkpoint, whose records are gone.
    for number in 0..sequence {
        block_on(store.append(number, Vec::new())).unwrap();
    }
    checkpoint.expected_sequence = sequence;
    block_on(store.checkpoint(checkpoint)).unwrap();
    for (number, record) in log.into_iter().enumerate() {
        block_on(store.append(sequence + number as u64, record)).unwrap();
    }
    store
}

#[test]
fn an_index_is_followed_by_other_connections() {
    let store = MemoryBackend::new();
    let open = || block_on(Database::open(store.clone(), tiny(128))).unwrap();
    let (first, second) = (open(), open());
    let definition = IndexDefinition::new(&["a"], IndexKind::Btree);
    for round in 0..30u16 {
        let database = if round % 2 == 0 { &first } else { &second };
        match round {
            4 => drop(block_on(database.create_index("people", &definition)).unwrap()),
            20 => drop(block_on(database.drop_index("people", "a")).unwrap()),
            _ => {
                let document = Document::map([("a", Document::Integer((round % 4).into()))]);
                block_on(database.set("people", &key(round), &document)).unwrap();
            }
        }
        block_on(first.refresh()).unwrap();
        block_on(second.refresh()).unwrap();
        assert_sound(&first);
        assert_sound(&second);
    }
}

/// Documents are looked at 512 at a time; between, others have their turn.
#[test]
fn an_index_is_whole_however_many_parts_it_is_built_in() {
    for count in [0i64, 1, 511, 512, 513, 1024, 1500] {
        let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
        let rows: Vec<Operation> =
            (0..count).map(|n| Operation::set("n", n, &Document::map([("a", (n % 7).into())])).unwrap()).collect();
        block_on(database.batch(&rows, &BatchOptions::default())).unwrap();
        let pauses = Rc::new(Cell::new(0));
        let counted = pauses.clone();
        let control = Control::default().pause(Rc::new(move || {
            counted.set(counted.get() + 1);
            Box::pin(async {})
        }));
        let definition = IndexDefinition::new(&["a"], IndexKind::Btree);
        block_on(database.create_index_with("n", &definition, &control)).unwrap();
        assert!(pauses.get() >= count / 512, "{count}: {}", pauses.get());
        let index = &block_on(database.collections()).unwrap()[0].indexes[0];
        assert_eq!((index.entries, index.distinct), (count as u64, count.min(7) as u64));
        assert_sound(&database);
    }
}
