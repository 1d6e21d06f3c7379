//! A table's content as it is stored, for images: order, removed keys and room included.

use super::parts::{Entry, Parts, entry_number, has_tag};
use super::{Table, Weakness};
use crate::arithmetic::float_to_integer;
use crate::context::Context;
use crate::heap::table::serial_cell;
use crate::heap::value::Value;

impl<'gc> Table<'gc> {
    pub(crate) fn array(self) -> &'gc [Value<'gc>] {
        &self.parts().array
    }

    /// Keys and values in order of insertion; nil for a removed key.
    pub(crate) fn entries(self) -> impl ExactSizeIterator<Item = (Value<'gc>, Value<'gc>)> {
        self.parts().entries.iter().map(|entry| (entry.key, entry.value))
    }

    /// How many items and entries there is room for.
    pub(crate) fn room(self) -> (usize, usize) {
        (self.parts().array.capacity(), self.parts().entries.capacity())
    }

    /// Where the border was found last; among several borders it decides which one is found next.
    pub(crate) fn last_border(self) -> u32 {
        self.0.border.get()
    }

    /// Nominal bytes of a table with this room; `u64`, as the numbers may be anything.
    pub(crate) fn nominal_bytes_for(array: u32, entries: u32) -> u64 {
        let entries = u64::from(entries);
        super::OBJECT_BYTES as u64 + u64::from(array) * 16 + entries * 32 + super::parts::index_length(entries) * 4
    }

    /// Fills the array part of a table just made.
    pub(crate) fn restore_array(self, items: impl Iterator<Item = Value<'gc>>, last_border: u32) {
        let parts = self.parts_mut();
        let room = parts.array.capacity();
        parts.array.extend(items.take(room));
        self.0.border.set(last_border);
    }

    /// Appends an entry to a table whose array part is complete. False if no table can have it there. `has_key` tells whether the entry
    /// of this number has the key, in a time that does not depend on the key's length. `steps` is counted down by the work of looking
    /// for the key; at 0 too many keys have one hash.
    pub(crate) fn restore_entry(
        self,
        key: Value<'gc>,
        value: Value<'gc>,
        has_key: impl Fn(usize) -> bool,
        steps: &mut u64,
    ) -> bool {
        let parts = self.parts_mut();
        if parts.entries.len() == parts.entries.capacity() {
            return false;
        }
        let fits = match key {
            Value::Nil => false,
            // What is left of a removed key that was collected.
            Value::Float(float) if float.is_nan() => {
                parts.entries.push(Entry { key, value: Value::Nil });
                return value.is_nil();
            }
            Value::Float(float) => float_to_integer(float).is_none(),
            Value::Integer(integer) => value.is_nil() || !(1..=parts.array.len() as u64).contains(&(integer as u64)),
            _ => serial_cell(key).is_none_or(|serial| serial.get() != 0),
        };
        fits && parts.restore(key, value, has_key, steps)
    }

    /// Sets how its references count, and notes it in the heap's list if some are weak.
    pub(crate) fn restore_weakness(self, context: Context<'gc>, weak: Weakness) {
        self.set_weakness(weak);
        if weak != Weakness::default() {
            // SAFETY: the only reference to the list.
            unsafe { (*context.root().weak_tables.get()).push(self) };
        }
    }
}

impl<'gc> Parts<'gc> {
    /// Appends a key that must not be there yet, counting each step.
    fn restore(
        &mut self,
        key: Value<'gc>,
        value: Value<'gc>,
        has_key: impl Fn(usize) -> bool,
        steps: &mut u64,
    ) -> bool {
        if self.index.is_empty() {
            if (0..self.entries.len()).any(has_key) {
                return false;
            }
            self.insert(key, value, 0);
            return true;
        }
        let Some(hash) = super::parts::hash_if_known(key) else { return false };
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        while self.index[slot] != 0 {
            let place = self.index[slot];
            if *steps == 0 || (has_tag(place, hash, mask) && has_key(entry_number(place, mask))) {
                return false;
            }
            *steps -= 1;
            slot = (slot + 1) & mask;
        }
        self.insert(key, value, hash);
        true
    }
}
