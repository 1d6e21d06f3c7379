//! Cells: what is laid out is read back by a reader that goes by the stated form alone.

mod support;

use cu_storage::{Cells, Document, Encoded, Row};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::documents::{document, scalar};

/// Reads cells as `web/ts/cells.ts` does. Numbers have lost whether they were integers.
struct Reader<'a> {
    cells: &'a Cells,
    kind: usize,
    number: usize,
    encoded: usize,
    /// The texts of the block, in UTF-16, and where the next one begins.
    texts: Vec<u16>,
    unit: usize,
}

impl Reader<'_> {
    fn rows(cells: &Cells, with_keys: bool) -> Vec<(Option<Document>, Document)> {
        let parts = cells.parts();
        let mut reader = Reader { cells, kind: 0, number: 0, encoded: 0, texts: Vec::new(), unit: 0 };
        let mut rows = Vec::new();
        let mut texts = 0;
        for block in parts.blocks.chunks(2) {
            let end = texts + block[1] as usize;
            reader.texts = std::str::from_utf8(&parts.texts[texts..end]).unwrap().encode_utf16().collect();
            (texts, reader.unit) = (end, 0);
            for _ in 0..block[0] {
                let key = with_keys.then(|| reader.value());
                rows.push((key, reader.value()));
            }
            assert_eq!(reader.unit, reader.texts.len(), "texts of a block are of its documents");
        }
        let ends = (reader.kind, reader.number, reader.encoded, texts);
        assert_eq!(ends, (parts.kinds.len(), parts.numbers.len(), parts.encoded.len(), parts.texts.len()));
        rows
    }

    fn value(&mut self) -> Document {
        let parts = self.cells.parts();
        let kind = parts.kinds[self.kind];
        self.kind += 1;
        if kind >= 16 {
            let Document::Array(keys) = Document::decode(&self.cells.shape(usize::from(kind) - 16)).unwrap() else {
                panic!("a shape is an array")
            };
            return Document::Map(keys.into_iter().map(|key| (key, self.value())).collect());
        }
        let mut number = || {
            self.number += 1;
            parts.numbers[self.number - 1]
        };
        match kind {
            0 => Document::Nil,
            1 => Document::Boolean(false),
            2 => Document::Boolean(true),
            3 => Document::Float(number()),
            4 => {
                let start = self.unit;
                let length = number() as usize;
                self.unit = start + length;
                Document::text(&String::from_utf16(&self.texts[start..self.unit]).unwrap())
            }
            5 => {
                let start = self.encoded;
                let length = number() as usize;
                self.encoded = start + length;
                Document::decode(&parts.encoded[start..self.encoded]).unwrap()
            }
            _ => panic!("kind {kind}"),
        }
    }
}

/// A document as it is after its numbers have been doubles, and only where they are cells.
fn as_read(document: &Document, is_cell: bool) -> Document {
    match document {
        Document::Integer(value) if is_cell && value.unsigned_abs() < 1 << 53 => Document::Float(*value as f64),
        Document::Map(entries) if is_cell && has_shape(entries) => Document::Map(
            entries.iter().map(|(key, value)| (key.clone(), as_read(value, !is_container(value)))).collect(),
        ),
        other => other.clone(),
    }
}

fn is_container(document: &Document) -> bool {
    matches!(document, Document::Map(_) | Document::Array(_))
}

fn has_shape(entries: &[(Document, Document)]) -> bool {
    entries.iter().all(|(key, _)| key.as_text().is_some_and(|name| name != "__proto__"))
}

fn row(key: Document, value: &Document) -> Row {
    Row { key, value: Encoded::try_from(value).unwrap() }
}

/// NaN equals itself here.
fn same(left: &Document, right: &Document) -> bool {
    left.encode().unwrap() == right.encode().unwrap()
}

fn check(cells: &mut Cells, rows: &[(Document, Document)]) {
    let laid: Vec<Row> = rows.iter().map(|(key, value)| row(key.clone(), value)).collect();
    for with_keys in [false, true] {
        cells.set_rows(&laid, with_keys).unwrap();
        let read = Reader::rows(cells, with_keys);
        assert_eq!(read.len(), rows.len());
        for ((key, value), (key_read, value_read)) in rows.iter().zip(&read) {
            let expected = as_read(value, true);
            assert!(same(value_read, &expected), "{value:?} was read as {value_read:?}");
            if let Some(key_read) = key_read {
                let expected = match key {
                    // A float key is encoded, as few are.
                    Document::Float(_) => key.clone(),
                    key => as_read(key, true),
                };
                assert!(same(key_read, &expected), "{key:?} was read as {key_read:?}");
            }
        }
    }
}

#[test]
fn random_rows_are_read_back() {
    let config = ProptestConfig {
        cases: 500,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let texts = prop_oneof!["\\PC{0,12}", "[a-z]{0,60}", Just("\u{feff}\u{10348}é".to_owned())]
        .prop_map(|text: String| Document::text(&text));
    let value = prop_oneof![document(), texts.clone(), scalar()];
    let names = prop_oneof![
        Just("id"),
        Just("name"),
        Just("a much longer name of a field"),
        Just("__proto__"),
        Just("é"),
        Just("")
    ];
    let record = proptest::collection::btree_map(names, value.clone(), 0..6).prop_map(Document::map);
    let rows = proptest::collection::vec((prop_oneof![scalar(), texts], prop_oneof![record, value]), 0..30);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&rows, |rows| {
            check(&mut Cells::default(), &rows);
            Ok(())
        })
        .unwrap();
}

#[test]
fn integers_are_numbers_up_to_the_last_one_that_is_exact() {
    let mut cells = Cells::default();
    for (value, is_number) in [((1 << 53) - 1, true), (1 << 53, false), (-(1 << 53) + 1, true), (-(1 << 53), false)] {
        check(&mut cells, &[(Document::Integer(value), Document::Integer(value))]);
        assert_eq!(cells.parts().encoded.is_empty(), is_number, "{value}");
    }
}

#[test]
fn maps_with_long_keys_have_no_shape() {
    let mut cells = Cells::default();
    for (length, has_shape) in [(4000, true), (5000, false)] {
        let record = Document::map([("k".repeat(length).as_str(), Document::Nil)]);
        cells.set_rows(&[row(Document::Nil, &record)], false).unwrap();
        assert_eq!(cells.parts().encoded.is_empty(), has_shape, "{length}");
        assert_eq!(Reader::rows(&cells, false)[0].1, record);
    }
}

#[test]
fn more_shapes_than_there_are_numbers_for_are_forgotten_between_answers() {
    let mut cells = Cells::default();
    let record = |number: usize| Document::map([(format!("field {number}").as_str(), Document::Integer(5))]);
    let keyed = |numbers: std::ops::Range<usize>| {
        numbers.map(|number| (Document::Integer(number as i64), record(number))).collect::<Vec<_>>()
    };
    check(&mut cells, &keyed(0..239));
    let epoch = cells.parts().epoch;
    let laid: Vec<Row> = keyed(0..300).into_iter().map(|(key, value)| row(key, &value)).collect();
    cells.set_rows(&laid, false).unwrap();
    assert_eq!(cells.parts().epoch, epoch, "shapes keep their numbers while there are some left");
    // Those without a number are encoded, so their numbers stay integers.
    let read = Reader::rows(&cells, false);
    assert!(
        read[..240]
            .iter()
            .all(|(_, value)| matches!(value, Document::Map(entries) if entries[0].1 == Document::Float(5.0)))
    );
    assert!(read[240..].iter().enumerate().all(|(at, (_, value))| *value == record(240 + at)));
    cells.set_rows(&laid[290..], false).unwrap();
    assert_eq!(cells.parts().epoch, epoch + 1);
    assert_eq!(cells.parts().encoded.len(), 0, "the new ones have shapes now");
    assert_eq!(Reader::rows(&cells, false).len(), 10);
}

#[test]
fn texts_lie_in_blocks() {
    let mut cells = Cells::default();
    let rows: Vec<_> = (0..3000)
        .map(|number| (Document::text(&format!("key {number}")), Document::text(&"é".repeat(number % 50))))
        .collect();
    check(&mut cells, &rows);
    let parts = cells.parts();
    let blocks: Vec<_> = parts.blocks.chunks(2).collect();
    assert!(blocks.len() > 4);
    assert!(blocks.iter().all(|block| block[1] < 32 * 1024 + 100));
    assert_eq!(blocks.iter().map(|block| block[0]).sum::<u32>(), 3000);
    cells.release();
    assert_eq!(cells.parts().texts.len(), 0);
    cells.set_rows(&[], true).unwrap();
    assert!(Reader::rows(&cells, true).is_empty());
}
