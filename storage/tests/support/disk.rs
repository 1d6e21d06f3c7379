//! A simulated disk under the file backend, of which a power cut leaves what was flushed, and of the rest any part, torn and in any order.

use std::io;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub enum DiskOperation {
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
pub struct SharedDisk(Arc<Mutex<Disk>>);

impl SharedDisk {
    /// All that was done to it.
    pub fn done(&self) -> Vec<DiskOperation> {
        self.0.lock().unwrap().done.clone()
    }

    /// What is on it, as it is seen without a power cut.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// The disk that a power cut leaves after these operations; the number decides what is lost.
    pub fn after_power_cut(done: &[DiskOperation], number: u64) -> SharedDisk {
        Cuts::new(Vec::new(), done).after(done.len(), number)
    }
}

/// The disks that power cuts at later and later operations leave.
pub struct Cuts<'a> {
    done: &'a [DiskOperation],
    /// What is there for certain: the operations before a flush.
    bytes: Vec<u8>,
    flushed: usize,
}

impl<'a> Cuts<'a> {
    /// Cuts of operations on a disk with these bytes.
    pub fn new(bytes: Vec<u8>, done: &'a [DiskOperation]) -> Cuts<'a> {
        Cuts { done, bytes, flushed: 0 }
    }

    /// The disk after so many operations, not fewer than the last time; the number decides what is lost.
    pub fn after(&mut self, count: usize, number: u64) -> SharedDisk {
        self.cut(count, |bytes, pending| lose_some(bytes, pending, &mut Dice(number)))
    }

    /// Likewise, when the lengths that were set are all that is lost, and the writes that would need them.
    pub fn after_losing_lengths(&mut self, count: usize) -> SharedDisk {
        self.cut(count, |bytes, pending| {
            for operation in pending {
                if let DiskOperation::Write(offset, data) = operation
                    && *offset as usize + data.len() <= bytes.len()
                {
                    put(bytes, *offset, data);
                }
            }
        })
    }

    fn cut(&mut self, count: usize, lose: impl FnOnce(&mut Vec<u8>, &[DiskOperation])) -> SharedDisk {
        let flush = self.done[..count].iter().rposition(|one| matches!(one, DiskOperation::Flush));
        let flushed = flush.map_or(0, |at| at + 1);
        assert!(flushed >= self.flushed, "cuts come in order");
        for operation in &self.done[self.flushed..flushed] {
            match operation {
                DiskOperation::Write(offset, data) => put(&mut self.bytes, *offset, data),
                DiskOperation::SetLength(length) => self.bytes.resize(*length as usize, 0),
                DiskOperation::Flush => {}
            }
        }
        self.flushed = flushed;
        let mut bytes = self.bytes.clone();
        lose(&mut bytes, &self.done[flushed..count]);
        SharedDisk(Arc::new(Mutex::new(Disk { bytes, done: Vec::new() })))
    }
}

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
