//! What a table is made of: the array part, the entries in order of insertion, and the index over them.

use super::serial_cell;
use crate::context::Context;
use crate::fuel;
use crate::heap::accounting::{Accounting, OutOfMemory};
use crate::heap::string::LuaString;
use crate::heap::value::Value;

const VALUE_BYTES: usize = 16;
const ENTRY_BYTES: usize = 32;
/// Up to this many entries a linear search is used instead of an index.
const UNINDEXED_MAX: usize = 8;
/// How far from its place a key is looked for in the fast paths of the dispatch loop.
const NEAR_PROBES: usize = 16;
/// Growing by more than this asks the heap limit first.
const LARGE_BYTES: usize = 4096;

pub(super) struct Parts<'gc> {
    pub(super) array: Vec<Value<'gc>>,
    pub(super) entries: Vec<Entry<'gc>>,
    pub(super) index: Box<[u32]>,
    /// How many entries ever got an integer key; 0 spares the search for keys to move to the array part.
    pub(super) integer_keys: u32,
}

/// A key and its value; a nil value marks a removed key.
#[derive(Clone, Copy)]
pub(super) struct Entry<'gc> {
    pub(super) key: Value<'gc>,
    pub(super) value: Value<'gc>,
}

impl<'gc> Parts<'gc> {
    pub(super) fn nominal_bytes(&self) -> usize {
        self.array.capacity() * VALUE_BYTES + self.entries.capacity() * ENTRY_BYTES + self.index.len() * 4
    }

    /// Whether the array part grows by this key. Not over a nil at its end: that would make `#` find borders that PUC Lua does
    /// not find.
    #[inline]
    pub(super) fn is_next(&self, key: i64) -> bool {
        key as u64 == self.array.len() as u64 + 1 && !self.ends_in_nil()
    }

    #[inline(always)]
    pub(super) fn ends_in_nil(&self) -> bool {
        matches!(self.array.last(), Some(Value::Nil))
    }

    pub(super) fn reserve_array(&mut self, accounting: &Accounting, capacity: usize) -> Result<(), OutOfMemory> {
        let added = (capacity - self.array.capacity()) * VALUE_BYTES;
        if added > LARGE_BYTES {
            // While the items are copied, the old array is there, too.
            accounting.check(capacity * VALUE_BYTES)?;
        }
        self.array.reserve_exact(capacity - self.array.len());
        accounting.charge(added);
        Ok(())
    }

    #[inline]
    pub(super) fn find_value(&self, key: Value<'gc>) -> Value<'gc> {
        match self.find(key) {
            Some(number) => self.entries[number].value,
            None => Value::Nil,
        }
    }

    /// The entry with this key. Objects without a serial number are in no table.
    pub(super) fn find(&self, key: Value<'gc>) -> Option<usize> {
        if let Value::String(string) = key {
            return self.find_string(string);
        }
        if self.index.is_empty() {
            return self.entries.iter().position(|entry| entry.key.raw_equals(key));
        }
        let hash = hash_if_known(key)?;
        self.probe(hash, |entry| entry.key.raw_equals(key))
    }

    #[inline]
    pub(super) fn find_string(&self, key: LuaString<'gc>) -> Option<usize> {
        if !key.is_short() {
            let matches = |entry: &Entry<'gc>| matches!(entry.key, Value::String(found) if found == key);
            if self.index.is_empty() {
                return self.entries.iter().position(matches);
            }
            return self.probe(key.hash(), matches);
        }
        let matches = |entry: &Entry<'gc>| matches!(entry.key, Value::String(found) if found.ptr_eq(key));
        if self.index.is_empty() {
            return self.entries.iter().position(matches);
        }
        self.probe(key.hash(), matches)
    }

    #[inline(always)]
    fn probe(&self, hash: u32, matches: impl Fn(&Entry<'gc>) -> bool) -> Option<usize> {
        let mask = self.index.len() - 1;
        let first = hash as usize & mask;
        let mut slot = first;
        let found = loop {
            let place = self.index[slot];
            if place == 0 {
                break None;
            }
            if has_tag(place, hash, mask) {
                let number = entry_number(place, mask);
                if matches(&self.entries[number]) {
                    break Some(number);
                }
            }
            slot = (slot + 1) & mask;
        };
        fuel::owe_probes(slot.wrapping_sub(first) & mask);
        found
    }

    /// As [`Self::find`] for an integer or a short string, when there is an index and the key stands near where it belongs. Never
    /// owes anything.
    #[inline(always)]
    pub(super) fn find_near(&self, hash: u32, matches: impl Fn(&Entry<'gc>) -> bool) -> Option<usize> {
        if self.index.is_empty() {
            return self.entries.iter().position(matches);
        }
        let mask = self.index.len() - 1;
        let first = hash as usize & mask;
        for step in 0..NEAR_PROBES {
            let place = self.index[(first + step) & mask];
            if place == 0 {
                return None;
            }
            if has_tag(place, hash, mask) {
                let number = entry_number(place, mask);
                if matches(&self.entries[number]) {
                    return Some(number);
                }
            }
        }
        None
    }

    /// Adds a key that is not there; there is room.
    pub(super) fn insert(&mut self, key: Value<'gc>, value: Value<'gc>, hash: u32) {
        debug_assert!(self.entries.len() < self.entries.capacity());
        self.entries.push(Entry { key, value });
        self.integer_keys += u32::from(matches!(key, Value::Integer(_)));
        self.link(hash, self.entries.len() as u32);
    }

    /// Puts entry number `number - 1` into the index.
    fn link(&mut self, hash: u32, number: u32) {
        if self.index.is_empty() {
            return;
        }
        let mask = self.index.len() - 1;
        let first = hash as usize & mask;
        let mut slot = first;
        while self.index[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        debug_assert!(number as usize <= mask, "an index is longer than there are entries");
        self.index[slot] = hash & !(mask as u32) | number;
        fuel::owe_probes(slot.wrapping_sub(first) & mask);
    }

    pub(super) fn clear_entry(&mut self, key: Value<'gc>) {
        if let Some(number) = self.find(key) {
            self.entries[number].value = Value::Nil;
        }
    }

    /// Makes room for one more entry: moves integer keys to the array part, drops removed keys, doubles if still needed.
    pub(super) fn grow(&mut self, accounting: &Accounting, new_key: Value<'gc>) -> Result<(), OutOfMemory> {
        // What does not double the capacity may come again soon, with a large array part to look through.
        fuel::owe(fuel::values(self.entries.len() + self.index.len()));
        if self.integer_keys > 0 || matches!(new_key, Value::Integer(_)) {
            fuel::owe(fuel::values(self.array.len()));
            let goal = self.array_goal(new_key);
            if goal > self.array.len() {
                if (goal - self.array.len()) * VALUE_BYTES > LARGE_BYTES {
                    accounting.check(goal * VALUE_BYTES)?;
                }
                self.move_to_array(goal);
            }
        }
        let live = self.entries.iter().filter(|entry| !entry.value.is_nil()).count();
        let capacity = if live + live / 4 < self.entries.capacity() {
            self.entries.capacity()
        } else {
            (self.entries.capacity() * 2).max(4)
        };
        // The old entries stay until the new ones are there, also when there are not more of them.
        let copied = capacity * ENTRY_BYTES + index_length(capacity as u64) as usize * 4;
        if copied > LARGE_BYTES {
            accounting.check(copied)?;
        }
        self.reindex(capacity);
        Ok(())
    }

    /// The largest n, a power of two, such that more than half of the keys 1..=n would be in use.
    fn array_goal(&self, new_key: Value<'gc>) -> usize {
        // counts[b]: keys k with 2^(b-1) < k <= 2^b.
        let mut counts = [0usize; 32];
        let mut count = |key: i64| {
            if (1..=1 << 31).contains(&key) {
                counts[(64 - (key as u64 - 1).leading_zeros()) as usize] += 1;
            }
        };
        for (position, value) in self.array.iter().enumerate() {
            if !value.is_nil() {
                count(position as i64 + 1);
            }
        }
        for entry in &self.entries {
            if let (Value::Integer(key), false) = (entry.key, entry.value.is_nil()) {
                count(key);
            }
        }
        if let Value::Integer(key) = new_key {
            count(key);
        }
        let (mut total, mut goal) = (0, 0);
        for (bits, in_range) in counts.iter().enumerate() {
            total += in_range;
            if total > (1usize << bits) / 2 {
                goal = 1 << bits;
            }
        }
        goal
    }

    fn move_to_array(&mut self, length: usize) {
        self.array.reserve_exact(length - self.array.len());
        self.array.resize(length, Value::Nil);
        for entry in &mut self.entries {
            if let (Value::Integer(key), false) = (entry.key, entry.value.is_nil())
                && key >= 1
                && key as u64 <= length as u64
            {
                self.array[key as usize - 1] = entry.value;
                entry.value = Value::Nil;
            }
        }
    }

    /// Makes room for so many entries; there are none yet.
    pub(super) fn reserve_entries(&mut self, capacity: usize) {
        debug_assert!(self.entries.is_empty());
        self.entries.reserve_exact(capacity);
        if capacity > UNINDEXED_MAX {
            self.index = vec![0; index_length(capacity as u64) as usize].into();
        }
    }

    /// Rebuilds entries and index with this capacity, without removed keys.
    pub(super) fn reindex(&mut self, capacity: usize) {
        let mut entries = Vec::new();
        entries.reserve_exact(capacity);
        entries.extend(self.entries.iter().filter(|entry| !entry.value.is_nil()));
        self.entries = entries;
        self.integer_keys = self.entries.iter().filter(|entry| matches!(entry.key, Value::Integer(_))).count() as u32;
        self.index = vec![0; index_length(capacity as u64) as usize].into();
        if !self.index.is_empty() {
            for number in 0..self.entries.len() {
                let hash = hash_if_known(self.entries[number].key).expect("a stored key has its hash");
                self.link(hash, number as u32 + 1);
            }
        }
    }
}

/// Whether the entry at a place of the index has a key with this hash, as far as the place tells: it has those bits of the hash
/// that do not say where in the index it is. So hardly any entry is looked at in vain.
#[inline(always)]
pub(super) fn has_tag(place: u32, hash: u32, mask: usize) -> bool {
    (place ^ hash) & !(mask as u32) == 0
}

/// The number of the entry at a place of the index.
#[inline(always)]
pub(super) fn entry_number(place: u32, mask: usize) -> usize {
    (place as usize & mask) - 1
}

/// How long the index over so many entries is: there is always more than one free place.
pub(super) fn index_length(capacity: u64) -> u64 {
    if capacity > UNINDEXED_MAX as u64 { (capacity + capacity / 2).next_power_of_two() } else { 0 }
}

/// The hash of a key that is to be stored; gives an object its serial number.
pub(super) fn hash_of<'gc>(context: Context<'gc>, key: Value<'gc>) -> u32 {
    if let Some(serial) = serial_cell(key) {
        context.serial(serial);
    }
    hash_if_known(key).expect("an object with a serial number has a hash")
}

/// The hash of a key; `None` for an object that has no serial number yet.
pub(super) fn hash_if_known(key: Value<'_>) -> Option<u32> {
    let mix = |bits: u64| {
        let product = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (product >> 32) as u32
    };
    Some(match key {
        Value::String(string) => string.hash(),
        Value::Integer(integer) => mix(integer as u64),
        Value::Float(float) => mix(float.to_bits()),
        Value::Boolean(boolean) => mix(u64::from(boolean) + 1),
        Value::LightUserdata(number) => mix(number),
        Value::Nil => 0,
        _ => match serial_cell(key)?.get() {
            0 => return None,
            serial => mix(u64::from(serial) << 1),
        },
    })
}
