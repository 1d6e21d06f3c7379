//! What the tests share: random workloads and the model they are checked against.

#![allow(dead_code)]

pub mod disk;
pub mod documents;
pub mod people;
pub mod slow;

use std::collections::BTreeMap;

use cu_storage::{Database, Document, Operation, Options, ScanOptions, block_on, decode_key, encode_key};
use proptest::prelude::*;

/// Collections by name; documents by encoded key, which has the order that scans have.
pub type Model = BTreeMap<String, BTreeMap<Vec<u8>, Document>>;

#[derive(Debug, Clone)]
pub enum Write {
    Set(u8, u16, u16),
    Delete(u8, u16),
    Increment(u8, u16, i64),
}

pub const COLLECTIONS: [&str; 3] = [
    "users",
    "orders",
    "a collection with a rather long name, over several tiny pages: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

pub fn name(collection: u8) -> &'static str {
    COLLECTIONS[usize::from(collection) % COLLECTIONS.len()]
}

/// Numbers for even, short strings for odd: keys of different lengths that fit the tiniest page.
pub fn key(number: u16) -> Document {
    if number.is_multiple_of(2) {
        Document::Integer(i64::from(number) - 100)
    } else {
        let text = format!("{:x}", u32::from(number).wrapping_mul(2_654_435_761));
        Document::text(&text[..usize::from(number) % (text.len() + 1)])
    }
}

pub fn value(seed: u16, length: u16) -> Document {
    let bytes = (0..length).map(|at| (seed.wrapping_mul(31).wrapping_add(at)) as u8);
    Document::map([("n", Document::Integer(seed.into())), ("bytes", Document::String(bytes.collect()))])
}

pub fn write() -> impl Strategy<Value = Write> {
    let keys = 0u16..120;
    let length = prop_oneof![4 => 0u16..20, 2 => 20u16..200, 1 => 200u16..3000];
    prop_oneof![
        5 => (any::<u8>(), keys.clone(), length).prop_map(|(c, k, l)| Write::Set(c, k, l)),
        4 => (any::<u8>(), keys.clone()).prop_map(|(c, k)| Write::Delete(c, k)),
        1 => (any::<u8>(), keys, -5i64..5).prop_map(|(c, k, n)| Write::Increment(c, k, n)),
    ]
}

impl Write {
    pub fn operation(&self) -> Operation {
        match *self {
            Write::Set(c, k, length) => Operation::set(name(c), key(k), &value(k, length)).unwrap(),
            Write::Delete(c, k) => Operation::delete(name(c), key(k)),
            Write::Increment(c, k, amount) => Operation::increment(name(c), key(k), Some("deep.count"), amount),
        }
    }

    pub fn apply(&self, model: &mut Model) {
        match *self {
            Write::Set(c, k, length) => {
                let documents = model.entry(name(c).to_owned()).or_default();
                documents.insert(encode_key(&key(k)).unwrap(), value(k, length));
            }
            Write::Delete(c, k) => {
                if let Some(documents) = model.get_mut(name(c)) {
                    documents.remove(&encode_key(&key(k)).unwrap());
                }
            }
            Write::Increment(c, k, amount) => {
                let documents = model.entry(name(c).to_owned()).or_default();
                let document = documents.entry(encode_key(&key(k)).unwrap()).or_insert_with(|| Document::Map(vec![]));
                let count = match document.get("deep").and_then(|deep| deep.get("count")) {
                    Some(Document::Integer(count)) => *count,
                    _ => 0,
                };
                let deep = Document::map([("count", Document::Integer(count + amount))]);
                let Document::Map(entries) = document else { unreachable!() };
                match entries.iter_mut().find(|(name, _)| *name == Document::text("deep")) {
                    Some(entry) => entry.1 = deep,
                    None => entries.push((Document::text("deep"), deep)),
                }
            }
        }
    }
}

/// Everything in the database.
pub fn contents(database: &Database) -> cu_storage::Result<Model> {
    let mut model = Model::new();
    for collection in block_on(database.collections())? {
        let rows = block_on(database.scan(&collection.name, &ScanOptions::default()))?;
        assert_eq!(rows.len() as u64, collection.count, "count of {}", collection.name);
        let documents = rows
            .into_iter()
            .map(|row| Ok((encode_key(&row.key)?, row.value.decode()?)))
            .collect::<cu_storage::Result<_>>()?;
        model.insert(collection.name, documents);
    }
    Ok(model)
}

pub fn assert_sound(database: &Database) {
    let report = block_on(database.check()).unwrap();
    assert_eq!(report.problems, [], "{report:?}");
}

pub fn assert_holds(database: &Database, model: &Model) {
    let mut found = contents(database).unwrap();
    let mut wanted = model.clone();
    found.retain(|_, documents| !documents.is_empty());
    wanted.retain(|_, documents| !documents.is_empty());
    assert_eq!(found, wanted);
    for (collection, documents) in model {
        for (key, document) in documents {
            let key = decode_key(key).unwrap();
            let found = block_on(database.get(collection, &key)).unwrap();
            assert_eq!(found.as_ref(), Some(document));
        }
    }
}

/// Pages and caches so small that everything rare is frequent.
pub fn tiny(page_size: usize) -> Options {
    Options {
        page_size,
        cache_bytes_max: page_size * 4,
        checkpoint_log_bytes: 2000,
        checkpoint_dirty_bytes: 8000,
        ..Options::default()
    }
}
