//! Batches and queries from anybody, over a small database: results or errors, and a database that is sound.
//!
//! An input is a byte that says which of the two, and a request's encoding.
#![no_main]

use cu_fuzz::database;
use cu_storage::{
    BatchOptions, Error, Query, Using, block_on, encode_outcomes, encode_query_result, parse_batch, parse_query,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, request)) = input.split_first() else { return };
    let database = database().1;
    if kind % 2 == 0 {
        let Ok(query) = parse_query(request) else { return };
        let found = block_on(database.query(&query));
        let _ = block_on(database.explain(&query));
        let Ok(found) = found else { return };
        encode_query_result(&found, true).expect("rows can be encoded");
        let scanned = block_on(database.query(&Query { using: Using::Scan, ..query }));
        assert_eq!(scanned.map(|scanned| scanned.rows), Ok(found.rows), "a scan finds the same");
    } else {
        let Ok(operations) = parse_batch(request) else { return };
        let options = BatchOptions { atomic: kind % 4 == 1, ..BatchOptions::default() };
        if let Ok(outcomes) = block_on(database.batch(&operations, &options)) {
            encode_outcomes(&outcomes, &operations, Error::code).expect("outcomes can be encoded");
        }
        block_on(database.checkpoint()).expect("there is room");
        let report = block_on(database.check()).expect("it can be read");
        assert!(report.problems.is_empty(), "{report:?}");
    }
});
