//! Lua tables: an array part and a hash part that keeps insertion order.
//!
//! ```text
//!   array    [ v1 | v2 | v3 | … ]                 keys 1..=len
//!   entries  [ (k, v) | (k, v) | (k, nil) | … ]   in order of insertion; nil = removed, the key stays
//!   index    [ 0 | 3 | 0 | 1 | … ]                open addressing: entry number + 1 and bits of the hash; absent up to 8 entries
//! ```
//!
//! Iteration is the array part, then the entries, so it never depends on hashes or addresses. Removing a key only clears
//! its value: traversal may go on over it, and setting it again reuses its place. When the entries are full,
//! removed ones are dropped, integer keys that would fill the array part at least half move there, and the capacity is doubled
//! if that was not enough.
//!
//! Inline caches hold an entry's number; a look-up checks the key that stands there, so a stale number is only a miss.
//!
//! Mutation goes through `UnsafeCell`: no reference into a table outlives the method that took it, and no method calls back.

mod content;
mod ghost;
mod parts;

use std::cell::{Cell, UnsafeCell};
use std::fmt;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, OutOfMemory, covers, note_freed};
use super::string::LuaString;
use super::value::Value;
use crate::arithmetic::float_to_integer;
use crate::context::Context;
use crate::fuel;
use crate::metamethod::Metamethod;
use ghost::Ghost;
use parts::{Parts, hash_if_known, hash_of};

/// A table.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Table<'gc>(Gc<'gc, TableObject<'gc>>);

/// Why a table cannot take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableError {
    NilIndex,
    NanIndex,
    OutOfMemory,
}

impl From<OutOfMemory> for TableError {
    fn from(_: OutOfMemory) -> Self {
        TableError::OutOfMemory
    }
}

/// A key given to [`Table::next`] that the table does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidKey;

pub(crate) struct TableObject<'gc> {
    parts: UnsafeCell<Parts<'gc>>,
    metatable: Cell<Option<Table<'gc>>>,
    /// Bit n: this table, used as a metatable, has no metamethod n.
    absent: Cell<u32>,
    /// The number that `tostring` shows and that hashing uses; 0 until it is needed.
    serial: Cell<u32>,
    weak: Cell<Weakness>,
    /// Whether the table is in the list of objects with a finalizer.
    finalizer: Cell<bool>,
    /// Where the last step of a traversal was, to find the next one without a look-up.
    last_visited: Cell<u32>,
    /// A recent border of the array part.
    border: Cell<u32>,
    /// Where `__index` was, when this table served as a metatable.
    index_position: Cell<u32>,
    /// What was set aside of a table that is a ghost.
    ghost: UnsafeCell<Option<Box<Ghost<'gc>>>>,
}

/// Which references of a table do not keep their objects alive (manual §2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weakness {
    pub keys: bool,
    pub values: bool,
}

const OBJECT_BYTES: usize = HEADER_BYTES + 112;
const _: () = assert!(covers::<TableObject<'static>>(OBJECT_BYTES));

// SAFETY: everything reachable is traced, except what the table's weakness leaves to `crate::collect`, which clears those
// references before the sweep.
unsafe impl<'gc> Collect<'gc> for TableObject<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        // SAFETY: collection never runs while a method of the table does.
        let parts = unsafe { &*self.parts.get() };
        cc.trace(&self.metatable.get());
        // SAFETY: as above.
        if let Some(ghost) = unsafe { &*self.ghost.get() } {
            cc.trace(ghost);
        }
        let weak = self.weak.get();
        if !weak.values {
            for value in &parts.array {
                cc.trace(value);
            }
        }
        for entry in &parts.entries {
            if !weak.keys {
                cc.trace(&entry.key);
            }
            let ephemeron = weak.keys && entry.key.object().is_some();
            if !weak.values && !ephemeron {
                cc.trace(&entry.value);
            }
        }
    }
}

impl Drop for TableObject<'_> {
    fn drop(&mut self) {
        let set_aside = self.ghost.get_mut().as_ref().map_or(0, |ghost| ghost.nominal_bytes());
        note_freed(OBJECT_BYTES + self.parts.get_mut().nominal_bytes() + set_aside);
    }
}

impl<'gc> Table<'gc> {
    /// An empty table with room for `array` items and `fields` keys.
    pub(crate) fn new(context: Context<'gc>, array: usize, fields: usize) -> Self {
        let mut parts = Parts { array: Vec::new(), entries: Vec::new(), index: Box::default(), integer_keys: 0 };
        if array > 0 {
            parts.array.reserve_exact(array);
        }
        if fields > 0 {
            parts.reserve_entries(fields);
        }
        context.accounting().charge(OBJECT_BYTES + parts.nominal_bytes());
        Table(Gc::new(
            context.mutation(),
            TableObject {
                parts: UnsafeCell::new(parts),
                metatable: Cell::new(None),
                absent: Cell::new(0),
                serial: Cell::new(0),
                weak: Cell::new(Weakness::default()),
                finalizer: Cell::new(false),
                last_visited: Cell::new(0),
                border: Cell::new(0),
                index_position: Cell::new(0),
                ghost: UnsafeCell::new(None),
            },
        ))
    }

    #[inline(always)]
    fn parts(self) -> &'gc Parts<'gc> {
        // SAFETY: see the module: no `&mut` is alive while a method reads.
        unsafe { &*self.0.as_ref().parts.get() }
    }

    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn parts_mut(&self) -> &mut Parts<'gc> {
        // SAFETY: see the module: callers hold no other reference into the parts.
        unsafe { &mut *self.0.as_ref().parts.get() }
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }

    /// Whether both are the same table.
    #[inline]
    pub fn ptr_eq(self, other: Table<'gc>) -> bool {
        Gc::ptr_eq(self.0, other.0)
    }

    pub(crate) fn serial(self) -> &'gc Cell<u32> {
        &self.0.as_ref().serial
    }

    #[inline(always)]
    pub fn metatable(self) -> Option<Table<'gc>> {
        self.0.metatable.get()
    }

    /// Sets the metatable; see [`Context::set_metatable`] for weak and finalized tables.
    pub(crate) fn set_metatable_raw(self, metatable: Option<Table<'gc>>) {
        self.0.metatable.set(metatable);
    }

    pub(crate) fn has_finalizer(self) -> &'gc Cell<bool> {
        &self.0.as_ref().finalizer
    }

    pub(crate) fn weakness(self) -> Weakness {
        self.0.weak.get()
    }

    pub(crate) fn set_weakness(self, weak: Weakness) {
        self.0.weak.set(weak);
    }

    /// The metamethod in this metatable; absence is remembered until a key is added.
    #[inline]
    pub(crate) fn metamethod(self, context: Context<'gc>, event: Metamethod) -> Value<'gc> {
        let bit = 1 << event as u32;
        if self.0.absent.get() & bit != 0 {
            return Value::Nil;
        }
        let value = self.get_string(context.metamethod_name(event));
        if value.is_nil() { self.missing_metamethod(context, event) } else { value }
    }

    /// A metamethod that was not found: nil, unless this metatable has to be filled first.
    #[cold]
    fn missing_metamethod(self, context: Context<'gc>, event: Metamethod) -> Value<'gc> {
        if self.is_ghost() && context.fill_or_fail(self) {
            return self.metamethod(context, event);
        }
        self.0.absent.set(self.0.absent.get() | 1 << event as u32);
        Value::Nil
    }

    // Reading

    /// `table[key]` without metamethods. O(1).
    #[inline]
    pub fn get(self, key: Value<'gc>) -> Value<'gc> {
        match key {
            Value::Integer(integer) => self.get_integer(integer),
            Value::String(string) => self.get_string(string),
            Value::Nil => Value::Nil,
            Value::Float(float) => match float_to_integer(float) {
                Some(integer) => self.get_integer(integer),
                None => self.parts().find_value(key),
            },
            _ => self.parts().find_value(key),
        }
    }

    #[inline(always)]
    pub fn get_integer(self, key: i64) -> Value<'gc> {
        let parts = self.parts();
        let position = (key as u64).wrapping_sub(1);
        if position < parts.array.len() as u64 {
            // SAFETY: just checked.
            return unsafe { *parts.array.get_unchecked(position as usize) };
        }
        if parts.integer_keys == 0 { Value::Nil } else { parts.find_value(Value::Integer(key)) }
    }

    #[inline]
    pub fn get_string(self, key: LuaString<'gc>) -> Value<'gc> {
        let parts = self.parts();
        match parts.find_string(key) {
            Some(number) => parts.entries[number].value,
            None => Value::Nil,
        }
    }

    /// Where the item with this key is, without copying it; for the dispatch loop. It may be there even if this says `None`.
    #[inline(always)]
    pub(crate) fn item(&self, key: i64) -> Option<&Value<'gc>> {
        let parts = self.parts();
        let position = (key as u64).wrapping_sub(1);
        if position < parts.array.len() as u64 {
            // SAFETY: just checked.
            return Some(unsafe { parts.array.get_unchecked(position as usize) });
        }
        if parts.integer_keys == 0 { None } else { self.hashed_item(key) }
    }

    #[inline(never)]
    fn hashed_item(&self, key: i64) -> Option<&Value<'gc>> {
        let parts = self.parts();
        let key = Value::Integer(key);
        let number = parts.find_near(hash_if_known(key)?, |entry| entry.key.raw_equals(key))?;
        Some(&parts.entries[number].value)
    }

    /// Likewise for a short string key.
    #[inline(never)]
    pub(crate) fn field(&self, key: LuaString<'gc>) -> Option<&Value<'gc>> {
        let parts = self.parts();
        if !key.is_short() {
            return None;
        }
        let matches = |entry: &parts::Entry<'gc>| matches!(entry.key, Value::String(found) if found.ptr_eq(key));
        let number = parts.find_near(key.hash(), matches)?;
        Some(&parts.entries[number].value)
    }

    /// The value at entry `hint` if `key` stands there and has a value.
    #[inline(always)]
    pub(crate) fn get_cached(&self, key: LuaString<'gc>, hint: u32) -> Option<&Value<'gc>> {
        let entry = self.parts().entries.get(hint as usize)?;
        match &entry.key {
            Value::String(found) if found.ptr_eq(key) && !entry.value.is_nil() => Some(&entry.value),
            _ => None,
        }
    }

    /// This metatable's `__index`, found by where it was last time.
    #[inline]
    pub(crate) fn index_handler(self, context: Context<'gc>) -> Value<'gc> {
        let name = context.metamethod_name(Metamethod::Index);
        let hint = &self.0.as_ref().index_position;
        match self.get_cached(name, hint.get()) {
            Some(value) => *value,
            // It is known that there is none.
            None if self.0.absent.get() & 1 << Metamethod::Index as u32 != 0 => Value::Nil,
            None => {
                if let Some(position) = self.position(name) {
                    hint.set(position);
                }
                self.metamethod(context, Metamethod::Index)
            }
        }
    }

    /// The entry where the short string `key` stands, for an inline cache.
    pub(crate) fn position(self, key: LuaString<'gc>) -> Option<u32> {
        self.parts().find_string(key).map(|number| number as u32)
    }

    /// Whether all the table can have at integer keys is in its array part, which ends in a value: then that is as long as the table.
    #[inline(always)]
    pub(crate) fn is_sequence(&self) -> bool {
        let parts = self.parts();
        parts.integer_keys == 0 && !parts.ends_in_nil()
    }

    /// A border (manual §3.4.7): n with `t[n] ~= nil and t[n+1] == nil`, or 0. O(1) for sequences built in order, O(log n)
    /// otherwise.
    pub fn length(self) -> i64 {
        let parts = self.parts();
        let array = &parts.array;
        if let Some(Value::Nil) = array.last() {
            return self.border_in_array() as i64;
        }
        let length = array.len() as i64;
        let is_filled = |key: i64| !parts.find_value(Value::Integer(key)).is_nil();
        if parts.integer_keys == 0 || !is_filled(length + 1) { length } else { border_beyond(length + 1, is_filled) }
    }

    /// A border in an array part that ends in nil: near the last one if there was one, before a single nil at the end, else by
    /// bisection. So a constructor with nils in it has the length that PUC Lua finds.
    fn border_in_array(self) -> usize {
        let array = &self.parts().array;
        let filled = |count: usize| count == 0 || !array[count - 1].is_nil();
        let is_border = |count: usize| count < array.len() && filled(count) && array[count].is_nil();
        let last = self.0.border.get() as usize;
        let near = if last == 0 { [array.len() - 1; 3] } else { [last, last - 1, last + 1] };
        for candidate in near {
            if is_border(candidate) {
                self.0.border.set(candidate as u32);
                return candidate;
            }
        }
        let (mut low, mut high) = (0, array.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if filled(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.0.border.set(low as u32);
        low
    }

    /// The pair after `key` in traversal order, or the first one for nil; `Ok(None)` at the end.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if the table never held `key`, and for a ghost.
    pub fn next(self, key: Value<'gc>) -> Result<Option<(Value<'gc>, Value<'gc>)>, InvalidKey> {
        let parts = self.parts();
        let start = match key {
            Value::Nil => 0,
            Value::Integer(integer) if integer >= 1 && integer as u64 <= parts.array.len() as u64 => integer as usize,
            // No key of a table is such a float: it became an integer when it was assigned.
            Value::Float(float) if float_to_integer(float).is_some() => return Err(InvalidKey),
            _ => {
                let last = self.0.last_visited.get() as usize;
                let number = match parts.entries.get(last) {
                    Some(entry) if entry.key.raw_equals(key) => last,
                    _ => parts.find(key).ok_or(InvalidKey)?,
                };
                parts.array.len() + number + 1
            }
        };
        match self.visit_from(start) {
            None if self.is_ghost() => Err(InvalidKey),
            pair => Ok(pair),
        }
    }

    /// The first pair at or after position `start` of the traversal.
    fn visit_from(self, start: usize) -> Option<(Value<'gc>, Value<'gc>)> {
        let parts = self.parts();
        let array = &parts.array;
        for (position, value) in array.iter().enumerate().skip(start) {
            if !value.is_nil() {
                fuel::owe_probes(position - start);
                return Some((Value::Integer(position as i64 + 1), *value));
            }
        }
        let first = start.saturating_sub(array.len());
        for (number, entry) in parts.entries.iter().enumerate().skip(first) {
            if !entry.value.is_nil() {
                fuel::owe_probes(array.len() + number - start);
                self.0.last_visited.set(number as u32);
                return Some((entry.key, entry.value));
            }
        }
        fuel::owe_probes((array.len() + parts.entries.len()).saturating_sub(start));
        None
    }

    /// The pairs in traversal order, one after the other. The table must not be changed meanwhile.
    pub(crate) fn each(self) -> impl Iterator<Item = (Value<'gc>, Value<'gc>)> {
        let mut key = Value::Nil;
        std::iter::from_fn(move || {
            let pair = self.next(key).ok().flatten()?;
            key = pair.0;
            Some(pair)
        })
    }

    /// All pairs in traversal order. The table must not be changed meanwhile.
    pub fn pairs(self) -> Vec<(Value<'gc>, Value<'gc>)> {
        let mut pairs = Vec::new();
        let mut key = Value::Nil;
        while let Ok(Some(pair)) = self.next(key) {
            key = pair.0;
            pairs.push(pair);
        }
        pairs
    }

    /// The pairs that traversal meets after the items `1..=border`, and pairs of these that are not in the array part.
    pub fn pairs_after_items(self, border: i64) -> impl Iterator<Item = (Value<'gc>, Value<'gc>)> {
        let parts = self.parts();
        let items = parts.array.iter().enumerate().skip(usize::try_from(border).unwrap_or(0));
        let items = items.map(|(position, value)| (Value::Integer(position as i64 + 1), *value));
        items.chain(parts.entries.iter().map(|entry| (entry.key, entry.value))).filter(|pair| !pair.1.is_nil())
    }

    /// How many values the array part holds room for and how many entries there are, removed ones included.
    #[inline(always)]
    pub(crate) fn shape(self) -> (usize, usize) {
        (self.parts().array.len(), self.parts().entries.len())
    }

    // Writing

    /// `table[key] = value` without metamethods. Amortized O(1).
    ///
    /// # Errors
    ///
    /// A nil or NaN key; a growth that the heap limit does not allow.
    #[inline]
    pub fn set(self, context: Context<'gc>, key: Value<'gc>, value: Value<'gc>) -> Result<(), TableError> {
        match key {
            Value::Integer(integer) => self.set_integer(context, integer, value),
            Value::Nil => Err(TableError::NilIndex),
            Value::Float(float) => match float_to_integer(float) {
                Some(integer) => self.set_integer(context, integer, value),
                None if float.is_nan() => Err(TableError::NanIndex),
                None => self.set_hashed(context, key, value),
            },
            _ => self.set_hashed(context, key, value),
        }
    }

    #[inline]
    pub fn set_integer(self, context: Context<'gc>, key: i64, value: Value<'gc>) -> Result<(), TableError> {
        if self.replace_integer(key, value) {
            return Ok(());
        }
        if self.parts().is_next(key) && !value.is_nil() {
            return self.push(context, key, value);
        }
        self.set_hashed(context, Value::Integer(key), value)
    }

    /// Stores item `key` of a table constructor: the array part grows even over nil, as its size was announced.
    pub(crate) fn append_or_set(self, context: Context<'gc>, key: i64, value: Value<'gc>) -> Result<(), OutOfMemory> {
        if self.replace_integer(key, value) {
            return Ok(());
        }
        if key as u64 == self.parts().array.len() as u64 + 1 {
            return self.push(context, key, value).or(Err(OutOfMemory));
        }
        self.set_hashed(context, Value::Integer(key), value).or(Err(OutOfMemory))
    }

    /// Appends the items of a table constructor to the `start` ones before, if the array part has just these, and the room, and nothing
    /// has to move.
    #[inline]
    pub(crate) fn append_items(self, start: usize, items: &[Value<'gc>]) -> bool {
        let parts = self.parts_mut();
        if parts.array.len() != start || parts.integer_keys > 0 || items.len() > parts.array.capacity() - start {
            return false;
        }
        parts.array.extend_from_slice(items);
        true
    }

    /// Stores into the array part if `key` lies in it.
    #[inline(always)]
    pub(crate) fn replace_integer(self, key: i64, value: Value<'gc>) -> bool {
        let parts = self.parts_mut();
        let position = (key as u64).wrapping_sub(1);
        if position < parts.array.len() as u64 {
            // SAFETY: just checked.
            unsafe { *parts.array.get_unchecked_mut(position as usize) = value };
            true
        } else {
            false
        }
    }

    /// Stores at entry `hint` if `key` stands there and has a value already.
    #[inline(always)]
    pub(crate) fn replace_cached(&self, key: LuaString<'gc>, hint: u32, value: &Value<'gc>) -> bool {
        match self.parts_mut().entries.get_mut(hint as usize) {
            Some(entry) => match &entry.key {
                Value::String(found) if found.ptr_eq(key) && !entry.value.is_nil() => {
                    entry.value = *value;
                    true
                }
                _ => false,
            },
            None => false,
        }
    }

    /// Adds the short string `key` as entry `hint`, if that is the next one, there is room and no index, and nothing else has to be done.
    #[inline(always)]
    pub(crate) fn append_cached(&self, key: LuaString<'gc>, hint: u32, value: &Value<'gc>) -> bool {
        let parts = self.parts_mut();
        let count = parts.entries.len();
        let is_there = |entry: &parts::Entry<'gc>| matches!(entry.key, Value::String(found) if found.ptr_eq(key));
        if hint as usize != count
            || count == parts.entries.capacity()
            || !parts.index.is_empty()
            || value.is_nil()
            || !key.is_short()
            || self.0.metatable.get().is_some()
            || parts.entries.iter().any(is_there)
        {
            return false;
        }
        self.0.absent.set(0);
        // SAFETY: there is room for one more, written before it is counted.
        unsafe {
            parts.entries.as_mut_ptr().add(count).write(parts::Entry { key: Value::String(key), value: *value });
            parts.entries.set_len(count + 1);
        }
        true
    }

    /// Appends to the array part if `key` is next, there is room and nothing has to move.
    #[inline(always)]
    pub(crate) fn push_within(&self, key: i64, value: Value<'gc>) -> bool {
        let parts = self.parts_mut();
        let length = parts.array.len();
        if key as u64 != length as u64 + 1
            || length == parts.array.capacity()
            || parts.integer_keys > 0
            || value.is_nil()
            || parts.ends_in_nil()
        {
            return false;
        }
        // SAFETY: there is room for one more, written before it is counted.
        unsafe {
            parts.array.as_mut_ptr().add(length).write(value);
            parts.array.set_len(length + 1);
        }
        true
    }

    /// Appends to the array part and moves the keys that follow out of the hash part.
    fn push(self, context: Context<'gc>, key: i64, value: Value<'gc>) -> Result<(), TableError> {
        let accounting = context.accounting();
        let parts = self.parts_mut();
        if parts.array.len() == parts.array.capacity() {
            parts.reserve_array(accounting, (parts.array.len() * 2).max(4))?;
        }
        parts.array.push(value);
        if parts.integer_keys > 0 {
            parts.clear_entry(Value::Integer(key));
            let mut next = key + 1;
            while let Some(number) = parts.find(Value::Integer(next)) {
                let moved = parts.entries[number].value;
                if moved.is_nil() {
                    break;
                }
                if parts.array.len() == parts.array.capacity() {
                    let goal = parts.array.len() * 2;
                    parts.reserve_array(accounting, goal)?;
                }
                parts.entries[number].value = Value::Nil;
                parts.array.push(moved);
                next += 1;
            }
        }
        Ok(())
    }

    fn set_hashed(self, context: Context<'gc>, key: Value<'gc>, value: Value<'gc>) -> Result<(), TableError> {
        let parts = self.parts_mut();
        self.0.absent.set(0);
        if let Some(number) = parts.find(key) {
            parts.entries[number].value = value;
            return Ok(());
        }
        if value.is_nil() {
            return Ok(());
        }
        if parts.entries.len() == parts.entries.capacity() {
            let before = parts.nominal_bytes();
            parts.grow(context.accounting(), key)?;
            context.accounting().charge(parts.nominal_bytes());
            context.accounting().release(before);
            if let Value::Integer(integer) = key {
                // Growing may have made the array part reach the key.
                if self.replace_integer(integer, value) {
                    return Ok(());
                }
                if self.parts().is_next(integer) {
                    return self.push(context, integer, value);
                }
            }
        }
        let hash = hash_of(context, key);
        self.parts_mut().insert(key, value, hash);
        Ok(())
    }

    /// Makes room for `additional` more items in the array part.
    pub(crate) fn reserve_array(self, context: Context<'gc>, additional: usize) -> Result<(), OutOfMemory> {
        let parts = self.parts_mut();
        let goal = parts.array.len() + additional;
        if goal > parts.array.capacity() {
            parts.reserve_array(context.accounting(), goal)?;
        }
        Ok(())
    }

    // Weak references; called inside a collection cycle only.

    /// Calls `visit` with every key and value in order, and clears a pair when it returns false. Values in the array part come
    /// with a nil key.
    pub(crate) fn retain(self, mut visit: impl FnMut(Value<'gc>, Value<'gc>) -> bool) {
        let parts = self.parts_mut();
        for value in &mut parts.array {
            if !value.is_nil() && !visit(Value::Nil, *value) {
                *value = Value::Nil;
            }
        }
        for entry in &mut parts.entries {
            if !entry.value.is_nil() && !visit(entry.key, entry.value) {
                entry.value = Value::Nil;
            }
        }
    }

    /// Replaces removed keys for which `dead` holds by a key that equals nothing, before their objects are freed.
    pub(crate) fn bury_keys(self, dead: impl Fn(Value<'gc>) -> bool) {
        for entry in &mut self.parts_mut().entries {
            if entry.value.is_nil() && dead(entry.key) {
                entry.key = Value::Float(f64::NAN);
            }
        }
    }
}

/// A border at or after `filled`, where there is a value: by steps that double, then by bisection (as in PUC Lua).
fn border_beyond(filled: i64, is_filled: impl Fn(i64) -> bool) -> i64 {
    fuel::owe(fuel::BORDER);
    let (mut low, mut high) = (filled, filled.saturating_mul(2));
    while is_filled(high) {
        if high == i64::MAX {
            return high;
        }
        low = high;
        high = high.saturating_mul(2);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_filled(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Where a table's parts are, for compiled code: offsets in bytes from the table.
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
pub(crate) fn describe_layout(context: Context<'_>, layout: &mut cu_translator::Layout) {
    use std::mem::offset_of;

    use crate::compiled::{VecWords, address_in};

    let parts = offset_of!(TableObject<'_>, parts);
    let table = Table::new(context, 0, 0);
    layout.object = (Gc::as_ptr(table.0) as u32).wrapping_sub(address_in(Value::Table(table)));
    let array = VecWords::of(Value::Nil);
    layout.table_array = (parts + offset_of!(Parts<'_>, array) + array.pointer) as u32;
    layout.table_array_length = (parts + offset_of!(Parts<'_>, array) + array.length) as u32;
    layout.table_array_capacity = (parts + offset_of!(Parts<'_>, array) + array.capacity) as u32;
    let entries = VecWords::of(parts::Entry { key: Value::Nil, value: Value::Nil });
    layout.table_entries = (parts + offset_of!(Parts<'_>, entries) + entries.pointer) as u32;
    layout.table_entries_length = (parts + offset_of!(Parts<'_>, entries) + entries.length) as u32;
    layout.table_integer_keys = (parts + offset_of!(Parts<'_>, integer_keys)) as u32;
    layout.table_metatable = offset_of!(TableObject<'_>, metatable) as u32;
    layout.entry_bytes = size_of::<parts::Entry<'_>>() as u32;
    layout.entry_key = offset_of!(parts::Entry<'_>, key) as u32;
    layout.entry_value = offset_of!(parts::Entry<'_>, value) as u32;
}

/// Where an object keeps its serial number.
pub(crate) fn serial_cell<'gc>(value: Value<'gc>) -> Option<&'gc Cell<u32>> {
    match value {
        Value::Table(table) => Some(table.serial()),
        Value::Closure(closure) => Some(closure.serial()),
        Value::Native(native) => Some(native.serial()),
        Value::Userdata(userdata) => Some(userdata.serial()),
        Value::Coroutine(coroutine) => Some(coroutine.serial()),
        _ => None,
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (array, entries) = self.shape();
        write!(formatter, "Table({array} items, {entries} entries)")
    }
}
