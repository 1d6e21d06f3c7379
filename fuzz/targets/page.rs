//! Pages and log records from anybody: what cannot be read is an error; what can is read, changed and checked without harm.
//!
//! An input is a store as `cu_fuzz::store_of` reads it, without its checksums.
#![no_main]

use cu_fuzz::{store_of, tiny};
use cu_storage::{Database, Document, Query, ScanOptions, block_on};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(store) = store_of(input) else { return };
    let Ok(database) = block_on(Database::open(store.copy(), tiny())) else { return };
    let collections = block_on(database.collections()).unwrap_or_default();
    for collection in &collections {
        let _ = block_on(database.scan(&collection.name, &ScanOptions::default()));
        let _ = block_on(database.get(&collection.name, &Document::Integer(7)));
        for index in &collection.indexes {
            for field in &index.definition.fields {
                let query = Query::new(&collection.name, Default::default()).order_by(field, Default::default());
                let _ = block_on(database.query(&query));
            }
        }
        for key in 0..4 {
            let _ = block_on(database.set(&collection.name, &Document::Integer(key), &"x".repeat(40).as_str().into()));
            let _ = block_on(database.delete(&collection.name, &Document::Integer(2 * key)));
        }
    }
    let _ = block_on(database.check());
    let _ = block_on(database.checkpoint());
    let _ = block_on(Database::repair(store, tiny()));
});
