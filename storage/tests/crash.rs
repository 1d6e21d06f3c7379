//! Power cuts under the file backend: a simulated disk that keeps only what was flushed, and of the rest any part, torn and in any
//! order. After each cut the file opens, holds the last commit that was acknowledged, or the one under way, as a whole, and is
//! sound.
//!
//! `CU_CUT_POINTS` sets how many cuts are tried; the longer command is
//! `CU_CUT_POINTS=100000 cargo test --release -p cu-storage --test crash`.

mod support;

use cu_storage::{BatchOptions, Database, FileBackend, IndexDefinition, IndexKind, Operation, block_on};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use support::disk::{DiskOperation, SharedDisk};
use support::{Model, Write, assert_sound, contents, tiny, write};

/// The disk's operations, and after how many of them each commit was acknowledged, with the model as it was then.
fn workload() -> (Vec<DiskOperation>, Vec<(usize, Model)>) {
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(51), ..ProptestConfig::default() };
    let batches = proptest::collection::vec(proptest::collection::vec(write(), 1..12), 60);
    let batches = batches.new_tree(&mut TestRunner::new(config)).unwrap().current();
    let disk = SharedDisk::default();
    let done = || disk.done().len();
    let database = block_on(Database::open(FileBackend::over(disk.clone()).unwrap(), tiny(512))).unwrap();
    let mut model = Model::new();
    let mut acknowledged = vec![(done(), model.clone())];
    for (position, writes) in batches.iter().enumerate() {
        let batch: Vec<Operation> = writes.iter().map(Write::operation).collect();
        block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
        writes.iter().for_each(|write| write.apply(&mut model));
        acknowledged.push((done(), model.clone()));
        if position == 10 {
            block_on(database.create_index("users", &IndexDefinition::new(&["n"], IndexKind::Btree))).unwrap();
            acknowledged.push((done(), model.clone()));
        }
    }
    (disk.done(), acknowledged)
}

fn without_empty(mut model: Model) -> Model {
    model.retain(|_, documents| !documents.is_empty());
    model
}

#[test]
fn a_power_cut_at_any_write_loses_no_acknowledged_commit() {
    let cuts: usize = std::env::var("CU_CUT_POINTS").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let (done, acknowledged) = workload();
    let first = acknowledged[0].0;
    let places = done.len() - first;
    assert!(places > 200, "{places}");
    for number in 0..cuts {
        // Every place in turn, then again with other losses.
        let cut = first + (number * places.div_ceil(cuts.min(places))) % places + 1;
        let disk = SharedDisk::after_power_cut(&done[..cut], number as u64);
        let backend = FileBackend::over(disk).unwrap_or_else(|error| panic!("cut {number} at {cut}: {error}"));
        let database = block_on(Database::open(backend, tiny(512))).unwrap();
        assert_sound(&database);
        let found = without_empty(contents(&database).unwrap());
        let last = acknowledged.iter().rposition(|(at, _)| *at <= cut).unwrap();
        let allowed = &acknowledged[last..(last + 2).min(acknowledged.len())];
        let is_allowed = allowed.iter().any(|(_, model)| without_empty(model.clone()) == found);
        assert!(is_allowed, "cut {number} at {cut}: neither commit {last} nor the next");
    }
}
