//! Power cuts under the file backend: a simulated disk that keeps only what was flushed, and of the rest any part, torn and in any
//! order. After each cut the file opens, holds the last commit that was acknowledged, or the one under way, as a whole, and is
//! sound.
//!
//! `CU_CUT_POINTS` sets how many cuts are tried; the longer command is
//! `CU_CUT_POINTS=100000 cargo test --release -p cu-storage --test crash`.

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use cu_storage::{BatchOptions, Database, FileBackend, IndexDefinition, IndexKind, Operation, block_on};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use support::{Model, Write, assert_sound, contents, tiny, write};

#[derive(Debug, Clone)]
enum DiskOperation {
    Write(u64, Vec<u8>),
    SetLength(u64),
    Flush,
}

/// A disk that notes what is done to it.
#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    done: Vec<DiskOperation>,
}

#[derive(Debug, Clone, Default)]
struct SharedDisk(Arc<Mutex<Disk>>);

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}

impl redb::StorageBackend for SharedDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let disk = self.0.lock().unwrap();
        let end = offset as usize + out.len();
        let found = disk.bytes.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        disk.bytes.resize(length as usize, 0);
        disk.done.push(DiskOperation::SetLength(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.lock().unwrap().done.push(DiskOperation::Flush);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut disk = self.0.lock().unwrap();
        put(&mut disk.bytes, offset, data);
        disk.done.push(DiskOperation::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// A generator without state outside, so that every cut can be made again from its number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

/// Bytes that a disk writes as a whole.
const SECTOR: usize = 512;

/// Carries out what was not flushed: some of it, shuffled and torn at sectors.
fn lose_some(bytes: &mut Vec<u8>, pending: &[DiskOperation], dice: &mut Dice) {
    let mut order: Vec<&DiskOperation> = pending.iter().collect();
    if dice.roll(2) == 0 {
        for at in (1..order.len()).rev() {
            order.swap(at, dice.roll(at + 1));
        }
    }
    for operation in order {
        match operation {
            DiskOperation::SetLength(length) if dice.roll(2) == 0 => bytes.resize(*length as usize, 0),
            DiskOperation::Write(offset, data) => match dice.roll(3) {
                0 => {}
                1 => put(bytes, *offset, data),
                _ => {
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        if dice.roll(2) == 0 {
                            put(bytes, offset + (number * SECTOR) as u64, sector);
                        }
                    }
                }
            },
            _ => {}
        }
    }
}

/// The disk's operations, and after how many of them each commit was acknowledged, with the model as it was then.
fn workload() -> (Vec<DiskOperation>, Vec<(usize, Model)>) {
    let config = ProptestConfig { rng_seed: RngSeed::Fixed(51), ..ProptestConfig::default() };
    let batches = proptest::collection::vec(proptest::collection::vec(write(), 1..12), 60);
    let batches = batches.new_tree(&mut TestRunner::new(config)).unwrap().current();
    let disk = SharedDisk::default();
    let done = || disk.0.lock().unwrap().done.len();
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
    let done = disk.0.lock().unwrap().done.clone();
    (done, acknowledged)
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
        let mut dice = Dice(number as u64);
        let flushed = done[..cut].iter().rposition(|one| matches!(one, DiskOperation::Flush)).map_or(0, |at| at + 1);
        let mut bytes = Vec::new();
        for operation in &done[..flushed] {
            match operation {
                DiskOperation::Write(offset, data) => put(&mut bytes, *offset, data),
                DiskOperation::SetLength(length) => bytes.resize(*length as usize, 0),
                DiskOperation::Flush => {}
            }
        }
        lose_some(&mut bytes, &done[flushed..cut], &mut dice);
        let disk = SharedDisk(Arc::new(Mutex::new(Disk { bytes, done: Vec::new() })));
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
