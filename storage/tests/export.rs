//! Exports come back as what they were, damaged ones are errors, and a repair keeps what can be read.

mod support;

use std::collections::BTreeMap;

use cu_storage::{
    BatchOptions, Control, Database, Document, Encoded, ExportFormat, MemoryBackend, Operation, Options, PageId,
    block_on, from_json, to_json,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::people::{Change, change, field_value, indexes};
use support::{Model, assert_sound, contents, tiny};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(41),
        cases,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    }
}

fn filled(changes: &[Change], store: &MemoryBackend, page_size: usize) -> Database {
    let database = block_on(Database::open(store.clone(), tiny(page_size))).unwrap();
    for (position, definition) in indexes().iter().enumerate() {
        let name = ["people", "others"][position % 2];
        block_on(database.create_index(name, definition)).unwrap();
    }
    for (position, change) in changes.iter().enumerate() {
        let operation = change.operation(["people", "others"][position % 2]);
        // A change may be refused for what it finds.
        let _ = block_on(database.batch(&[operation], &BatchOptions::default()));
    }
    let schema = Document::map([("type", "object".into())]);
    block_on(database.set_schema("people", &schema)).unwrap();
    database
}

fn export(database: &Database, format: ExportFormat) -> Vec<u8> {
    let mut out = Vec::new();
    let write = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok(())
    };
    block_on(database.export(format, &Control::default(), write)).unwrap();
    out
}

fn import(bytes: &[u8], piece: usize) -> cu_storage::Result<Database> {
    let database = block_on(Database::open(MemoryBackend::new(), tiny(256))).unwrap();
    let mut import = database.import();
    block_on(async {
        for piece in bytes.chunks(piece) {
            import.feed(piece).await?;
        }
        import.finish().await
    })?;
    Ok(database)
}

/// Text, because NaN is not equal to itself.
fn text(database: &Database) -> String {
    let collections: Vec<String> = block_on(database.collections())
        .unwrap()
        .into_iter()
        .map(|one| format!("{} {} {:?} {:?}", one.name, one.count, one.indexes, one.schema))
        .collect();
    format!("{collections:?} {:?}", contents(database).unwrap())
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn an_import_makes_what_was_exported(
        changes in proptest::collection::vec(change(), 0..60),
        piece in 1usize..700,
    ) {
        let database = filled(&changes, &MemoryBackend::new(), 256);
        for format in [ExportFormat::JsonLines, ExportFormat::Binary] {
            let bytes = export(&database, format);
            let imported = import(&bytes, piece).unwrap();
            prop_assert_eq!(text(&imported), text(&database));
            assert_sound(&imported);
            // Over itself it changes nothing.
            prop_assert_eq!(export(&imported, format), bytes);
        }
    }

    #[test]
    fn damaged_exports_are_errors(
        changes in proptest::collection::vec(change(), 1..20),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let database = filled(&changes, &MemoryBackend::new(), 512);
        for format in [ExportFormat::JsonLines, ExportFormat::Binary] {
            let bytes = export(&database, format);
            // The last byte of a text is the end of its line, which need not be there.
            prop_assert!(import(&bytes[..cut.index(bytes.len() - 1)], 99).is_err());
            let mut bytes = bytes;
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let imported = import(&bytes, 99);
            prop_assert!(format == ExportFormat::JsonLines || imported.is_err(), "{}", at);
        }
    }

    #[test]
    fn json_comes_back(value in field_value(), more in field_value(), name in "[$a-c]{0,3}") {
        let value = value.unwrap_or_default();
        let document = Document::Map(vec![
            (Document::text(&name), value.clone()),
            (Document::text("x"), more.unwrap_or_default()),
        ]);
        let bytes = Document::String(vec![0xFF, 0x00]);
        for document in [document, value.clone(), Document::Map(vec![(1.into(), value), (true.into(), bytes)])] {
            let json = to_json(&document);
            let back = from_json(&json).unwrap();
            // By encoding: text would take a float for an integer.
            prop_assert_eq!(back.encode().unwrap(), document.encode().unwrap(), "{}", json);
        }
    }

    #[test]
    fn json_of_anybody_never_panics(text in "[\\[\\]{}\",:$a-z0-9.eE+-]{0,40}") {
        if let Ok(document) = from_json(&text) {
            let _ = Encoded::try_from(&document);
        }
    }
}

#[test]
fn json_that_nests_too_deep_is_an_error() {
    let deep = "[".repeat(100_000);
    assert!(from_json(&deep).is_err());
    let nested = |levels: usize| (0..levels).fold(Document::Nil, |inner, _| Document::Array(vec![inner]));
    let deepest = nested(cu_storage::DEPTH_MAX);
    assert_eq!(from_json(&to_json(&deepest)), Ok(deepest));
}

fn damage(store: &MemoryBackend, page: PageId, seed: usize) -> MemoryBackend {
    let copy = store.copy();
    copy.alter_page(page, |bytes| {
        let at = seed % bytes.len();
        bytes[at] ^= 0x55;
    });
    copy
}

/// Every page is damaged in turn; the repaired database is sound, has only documents that were there, and all of them when
/// the page was none of their own tree's.
#[test]
fn a_repair_keeps_what_can_be_read() {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), tiny(256))).unwrap();
    for name in ["people", "others"] {
        let rows: Vec<Operation> = (0..80i64)
            .map(|n| {
                let document =
                    Document::map([("a", (n % 9).into()), ("text", Document::text(&"x".repeat(n as usize * 7 % 400)))]);
                Operation::set(name, n, &document).unwrap()
            })
            .collect();
        block_on(database.batch(&rows, &BatchOptions::default())).unwrap();
    }
    block_on(database.create_index("people", &indexes()[0])).unwrap();
    block_on(database.create_index("people", &indexes()[3])).unwrap();
    block_on(database.close()).unwrap();
    let whole: Model = contents(&block_on(Database::open(store.copy(), tiny(256))).unwrap()).unwrap();
    let (mut lossless, mut lossy) = (0, 0);
    for (seed, page) in store.page_numbers().into_iter().enumerate() {
        let damaged = damage(&store, page, seed * 31);
        let report = block_on(Database::repair(damaged.clone(), Options::default())).unwrap();
        let repaired = block_on(Database::open(damaged, Options::default())).unwrap();
        assert_sound(&repaired);
        let found: Model = contents(&repaired).unwrap();
        let mut count = 0;
        for (collection, documents) in &found {
            let known: &BTreeMap<_, _> = &whole[collection];
            assert!(documents.iter().all(|(key, document)| known.get(key) == Some(document)));
            count += documents.len() as u64;
        }
        assert_eq!(count, report.documents);
        let lost = 160 - count;
        // A damaged catalog takes its Collections with it; otherwise the count says what is lost.
        assert!(report.documents_lost == lost || found.len() < 2, "{report:?}");
        if lost == 0 {
            lossless += 1;
            assert_eq!(found, whole);
            let people = block_on(repaired.collections()).unwrap().remove(1);
            assert_eq!((people.name.as_str(), people.indexes.len()), ("people", 2));
        } else {
            lossy += 1;
            assert!(!report.problems.is_empty());
            let collections = block_on(repaired.collections()).unwrap();
            assert!(collections.iter().any(|collection| collection.count == 80) || found.len() < 2);
        }
    }
    assert!(lossless > 10 && lossy > 10, "{lossless} {lossy}");
}

#[test]
fn a_repair_keeps_what_the_log_says_before_its_damage() {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), Options::default())).unwrap();
    block_on(database.set("a", &1.into(), &"one".into())).unwrap();
    block_on(database.checkpoint()).unwrap();
    block_on(database.set("a", &2.into(), &"two".into())).unwrap();
    let broken = store.copy();
    broken.alter_log(|record| record[5] ^= 1);
    assert!(block_on(Database::open(broken.clone(), Options::default())).is_err());
    let report = block_on(Database::repair(broken.clone(), Options::default())).unwrap();
    assert_eq!((report.documents, report.problems.len()), (1, 1));
    let repaired = block_on(Database::open(broken, Options::default())).unwrap();
    assert_eq!(block_on(repaired.get("a", &1.into())), Ok(Some("one".into())));
    block_on(repaired.set("a", &3.into(), &"three".into())).unwrap();
    assert_sound(&repaired);
}
