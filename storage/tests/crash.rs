//! Power cuts under the file backend: a simulated disk that keeps only what was flushed, and of the rest any part, torn and in any
//! order. After each cut the file opens, holds the last commit that was acknowledged, or the one under way, as a whole, and is
//! sound. So it is when the power is cut a second time, while what the first cut has left is opened and written to.
//!
//! `cargo xtask crash` sets in `CU_CUT_POINTS` how many first cuts are tried, and another seed in `CU_CRASH_SEED`.

mod support;

use cu_storage::{BatchOptions, Database, FileBackend, IndexDefinition, IndexKind, Operation, block_on};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use support::disk::{Cuts, DiskOperation, SharedDisk};
use support::{Model, Write, assert_sound, contents, tiny, write};

/// How often each place of a workload is cut, each time with other losses.
const LOSSES: usize = 8;
/// One first cut of so many is followed by a second one.
const AGAIN: usize = 4;

/// The disk's operations, and after how many of them each commit was acknowledged, with the model as it was then.
struct Workload {
    done: Vec<DiskOperation>,
    acknowledged: Vec<(usize, Model)>,
}

impl Workload {
    fn new(seed: u64) -> Workload {
        let config = ProptestConfig { rng_seed: RngSeed::Fixed(seed), ..ProptestConfig::default() };
        let batches = proptest::collection::vec(proptest::collection::vec(write(), 1..12), 60);
        let batches = batches.new_tree(&mut TestRunner::new(config)).unwrap().current();
        let disk = SharedDisk::default();
        let done = || disk.done().len();
        let database = open(&disk).unwrap();
        let mut model = Model::new();
        let mut acknowledged = vec![(done(), model.clone())];
        for (position, writes) in batches.iter().enumerate() {
            run_batch(&database, writes);
            writes.iter().for_each(|write| write.apply(&mut model));
            acknowledged.push((done(), without_empty(model.clone())));
            if position == 10 {
                block_on(database.create_index("users", &IndexDefinition::new(&["n"], IndexKind::Btree))).unwrap();
                acknowledged.push((done(), without_empty(model.clone())));
            }
        }
        Workload { done: disk.done(), acknowledged }
    }

    /// What may be there after a cut: the last acknowledged commit, or the one after it.
    fn allowed(&self, at: usize) -> Vec<&Model> {
        let last = self.acknowledged.iter().rposition(|(done, _)| *done <= at).unwrap();
        self.acknowledged[last..].iter().take(2).map(|(_, model)| model).collect()
    }
}

fn open(disk: &SharedDisk) -> cu_storage::Result<Database> {
    block_on(Database::open(FileBackend::over(disk.clone())?, tiny(512)))
}

fn run_batch(database: &Database, writes: &[Write]) {
    let batch: Vec<Operation> = writes.iter().map(Write::operation).collect();
    block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
}

fn without_empty(mut model: Model) -> Model {
    model.retain(|_, documents| !documents.is_empty());
    model
}

/// Opens what a cut has left, which must be sound and one of the allowed states: the database and that state.
fn recovered(disk: &SharedDisk, allowed: &[&Model], what: &str) -> (Database, Model) {
    let database = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_sound(&database);
    let found = without_empty(contents(&database).unwrap());
    assert!(allowed.contains(&&found), "{what}: neither the last commit nor the next");
    (database, found)
}

/// A second cut: somewhere in what the opening after the first one did, or in a commit that followed.
fn cut_again(before: Vec<u8>, disk: &SharedDisk, database: &Database, found: &Model, number: u64, what: &str) {
    let opened = disk.done().len();
    let writes = [Write::Set(0, 7, 300), Write::Delete(0, 8), Write::Increment(1, 9, 1)];
    run_batch(database, &writes);
    let mut next = found.clone();
    writes.iter().for_each(|write| write.apply(&mut next));
    let next = without_empty(next);
    let done = disk.done();
    // Half of them as early as that.
    let end = if number.is_multiple_of(2) { opened } else { done.len() };
    let at = 1 + (number as usize / 2).wrapping_mul(7919) % end.max(1);
    let cut = Cuts::new(before, &done).after(at.min(done.len()), number);
    let allowed: &[&Model] = if at <= opened {
        &[found]
    } else if at < done.len() {
        &[found, &next]
    } else {
        &[&next]
    };
    recovered(&cut, allowed, &format!("{what}, then at {at} of {}", done.len()));
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_power_cut_at_any_write_loses_no_acknowledged_commit() {
    let wanted = setting("CU_CUT_POINTS", 400) as usize;
    let mut seed = setting("CU_CRASH_SEED", 51);
    let (mut tried, mut again, mut writes) = (0, 0, 0);
    while tried < wanted {
        let workload = Workload::new(seed);
        let first = workload.acknowledged[0].0;
        let places = workload.done.len() - first;
        assert!(places > 200, "{places}");
        let cuts = (wanted - tried).min(places * LOSSES);
        let mut disks = Cuts::new(Vec::new(), &workload.done);
        for number in 0..cuts {
            let at = first + 1 + number * places / cuts;
            let what = format!("seed {seed}, cut {number} at {at}");
            let disk = disks.after(at, number as u64);
            let before = number.is_multiple_of(AGAIN).then(|| disk.bytes());
            let (database, found) = recovered(&disk, &workload.allowed(at), &what);
            if let Some(before) = before {
                cut_again(before, &disk, &database, &found, number as u64 / AGAIN as u64, &what);
                again += 1;
            }
        }
        (tried, writes, seed) = (tried + cuts, writes + places, seed + 1);
        if wanted >= 10_000 {
            println!("{tried} cuts");
        }
    }
    println!(
        "power cuts: {tried} at {writes} operations of a disk, {again} of them followed by a second one; nothing lost or torn"
    );
}

/// A file that grew and has its old length after the cut, with all that was written inside that: one of many thousands of cuts found that it did
/// not open.
#[test]
fn a_power_cut_that_loses_the_length_of_the_file_loses_no_commit() {
    let workload = Workload::new(58);
    let first = workload.acknowledged[0].0;
    let mut disks = Cuts::new(Vec::new(), &workload.done);
    for at in first + 1..=workload.done.len() {
        recovered(&disks.after_losing_lengths(at), &workload.allowed(at), &format!("cut at {at}"));
    }
}

/// The file itself, copied as soon as a commit is acknowledged and opened elsewhere.
#[test]
fn a_copy_of_the_file_made_after_a_commit_has_it() {
    const TRIES: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("app.cudb"), folder.path().join("copy.cudb"));
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(52), ..ProptestConfig::default() };
    let batches = proptest::collection::vec(proptest::collection::vec(write(), 1..40), TRIES);
    let batches = batches.new_tree(&mut TestRunner::new(config)).unwrap().current();
    let database = block_on(Database::open(FileBackend::open(&path).unwrap(), tiny(512))).unwrap();
    let mut model = Model::new();
    for writes in &batches {
        run_batch(&database, writes);
        std::fs::copy(&path, &copy).unwrap();
        writes.iter().for_each(|write| write.apply(&mut model));
        let copied = block_on(Database::open(FileBackend::open(&copy).unwrap(), tiny(512))).unwrap();
        assert_sound(&copied);
        assert_eq!(without_empty(contents(&copied).unwrap()), without_empty(model.clone()));
    }
}
