//! Random documents with the fields that indexes and queries are tried on: every kind of value, missing ones, long strings
//! that begin alike, arrays, nested maps.

use cu_storage::{Document, IndexDefinition, IndexKind, Operation};
use proptest::prelude::*;

/// One field's value, from a small set so that values meet.
pub fn field_value() -> impl Strategy<Value = Option<Document>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Document::Nil)),
        1 => any::<bool>().prop_map(|value| Some(value.into())),
        6 => (-3i64..4).prop_map(|value| Some(value.into())),
        2 => (-3i64..4).prop_map(|value| Some((value as f64 / 2.0).into())),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)].prop_map(|value| Some(value.into())),
        4 => text().prop_map(Some),
        2 => proptest::collection::vec(scalar(), 0..4).prop_map(|value| Some(value.into())),
        1 => (0i64..2).prop_map(|value| Some(Document::map([("x", value.into())]))),
        1 => (0u8..2, 0u8..2).prop_map(|(kind, byte)| Some(Document::Blob { kind, bytes: vec![byte, 0] })),
    ]
}

pub fn scalar() -> impl Strategy<Value = Document> {
    prop_oneof![(-3i64..4).prop_map(Document::Integer), text(), Just(Document::Nil), Just(f64::NAN.into())]
}

/// Strings of which some are longer than a tiny page's keys and begin alike.
fn text() -> impl Strategy<Value = Document> {
    prop_oneof![
        3 => prop_oneof![Just(""), Just("a"), Just("ab"), Just("abc"), Just("b"), Just("a\0"), Just("a\0b")]
            .prop_map(Document::text),
        1 => (0u8..6, 0usize..3).prop_map(|(tail, more)| {
            Document::text(&format!("a long string that begins like others{}{tail}", "-".repeat(more * 30)))
        }),
    ]
}

#[derive(Debug, Clone)]
pub struct Person {
    pub a: Option<Document>,
    pub b: Option<Document>,
    pub city: Option<Document>,
    pub tags: Option<Document>,
}

impl Person {
    pub fn document(&self) -> Document {
        let mut entries = Vec::new();
        for (name, value) in [("a", &self.a), ("b", &self.b), ("tags", &self.tags)] {
            if let Some(value) = value {
                entries.push((name, value.clone()));
            }
        }
        if let Some(city) = &self.city {
            entries.push(("address", Document::map([("city", city.clone())])));
        }
        Document::map(entries)
    }
}

pub fn person() -> impl Strategy<Value = Person> {
    let tags = prop_oneof![
        3 => proptest::collection::vec(scalar(), 0..5).prop_map(|tags| Some(Document::from(tags))),
        1 => field_value(),
    ];
    (field_value(), field_value(), field_value(), tags).prop_map(|(a, b, city, tags)| Person { a, b, city, tags })
}

#[derive(Debug, Clone)]
pub enum Change {
    Set(u16, Person),
    Update(u16, Option<Document>),
    Delete(u16),
}

impl Change {
    pub fn operation(&self, collection: &str) -> Operation {
        match self {
            Change::Set(key, person) => Operation::set(collection, super::key(*key), &person.document()).unwrap(),
            Change::Update(key, a) => {
                let fields = Document::map([("a", a.clone().unwrap_or_default())]);
                Operation::update(collection, super::key(*key), fields)
            }
            Change::Delete(key) => Operation::delete(collection, super::key(*key)),
        }
    }
}

pub fn change() -> impl Strategy<Value = Change> {
    let keys = 0u16..60;
    prop_oneof![
        5 => (keys.clone(), person()).prop_map(|(key, person)| Change::Set(key, person)),
        2 => (keys.clone(), field_value()).prop_map(|(key, a)| Change::Update(key, a)),
        2 => keys.prop_map(Change::Delete),
    ]
}

/// Indexes of every make.
pub fn indexes() -> Vec<IndexDefinition> {
    use IndexKind::{Btree, Hash};
    let define = |fields: &[&str], kind| IndexDefinition::new(fields, kind);
    vec![
        define(&["a"], Btree),
        define(&["a"], Hash).named("a hash"),
        define(&["a"], Btree).named("a sparse").sparse(),
        define(&["a", "b"], Btree),
        define(&["b", "address.city"], Btree),
        define(&["b", "a"], Hash).named("b,a hash"),
        define(&["address.city"], Btree),
        define(&["address.city"], Hash).named("city hash").sparse(),
        define(&["tags"], Btree).named("tags multi").multi(),
        define(&["tags"], Hash).named("tags hash").multi(),
        define(&["tags"], Btree).named("tags sparse").multi().sparse(),
        define(&["tags"], Btree),
        define(&["$value"], Btree),
    ]
}

/// Indexes that refuse.
pub fn unique_indexes() -> Vec<IndexDefinition> {
    use IndexKind::{Btree, Hash};
    let define = |fields: &[&str], kind| IndexDefinition::new(fields, kind).unique();
    vec![
        define(&["a"], Btree).sparse(),
        define(&["b"], Btree),
        define(&["b"], Hash).named("b hash"),
        define(&["a", "b"], Btree),
        define(&["tags"], Btree).named("tags multi").multi().sparse(),
        define(&["tags"], Hash).named("tags hash").multi().sparse(),
        define(&["address.city"], Hash).sparse(),
    ]
}
