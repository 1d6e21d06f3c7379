//! Lua strings: immutable byte strings.
//!
//! Short strings (at most 40 bytes) are interned, so two equal ones are one object and compare by address; their
//! bytes follow the header in the same allocation, which comes in five size classes. Long strings own a buffer and are hashed
//! on demand. The table of interned strings holds untraced pointers and is purged in each cycle before the sweep.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use gc_arena::{Collect, Finalization, Gc, Mutation};
use hashbrown::HashTable;

use super::accounting::{Accounting, HEADER_BYTES, note_freed};
use crate::fuel;
use crate::text::bytes;

/// The longest interned string, in bytes.
pub const SHORT_STRING_MAX: usize = 40;

/// A Lua string.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct LuaString<'gc>(Gc<'gc, Header>);

/// What both kinds start with; `len` tells which kind it is.
#[repr(C)]
pub(crate) struct Header {
    /// Short: the hash. Long: the hash once it is known, 0 before.
    hash: Cell<u32>,
    len: u32,
}

#[repr(C)]
struct Short<const N: usize> {
    header: Header,
    bytes: [u8; N],
}

#[repr(C)]
struct Long {
    header: Header,
    bytes: Box<[u8]>,
}

// SAFETY: none of these hold a `Gc` pointer.
unsafe impl<'gc> Collect<'gc> for Header {
    const NEEDS_TRACE: bool = false;
}
// SAFETY: as above.
unsafe impl<'gc, const N: usize> Collect<'gc> for Short<N> {
    const NEEDS_TRACE: bool = false;
}
// SAFETY: as above.
unsafe impl<'gc> Collect<'gc> for Long {
    const NEEDS_TRACE: bool = false;
}

impl<const N: usize> Drop for Short<N> {
    fn drop(&mut self) {
        note_freed(short_bytes(N));
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        note_freed(long_bytes(self.bytes.len()));
    }
}

/// A short string's share of the table of interned strings, which may be half empty.
const INTERNED_BYTES: usize = 24;

const fn short_bytes(class: usize) -> usize {
    HEADER_BYTES + 8 + class + INTERNED_BYTES
}

const fn long_bytes(len: usize) -> usize {
    HEADER_BYTES + 24 + len
}

impl<'gc> LuaString<'gc> {
    /// The string's bytes.
    #[inline(always)]
    pub fn as_bytes(self) -> &'gc [u8] {
        let header = self.0.as_ref();
        let len = header.len as usize;
        let start = Gc::as_ptr(self.0);
        if len <= SHORT_STRING_MAX {
            // SAFETY: a string this short was allocated as `Short<N>` with N >= len, whose bytes follow the header;
            // the pointer comes from that whole allocation and lives as long as 'gc.
            unsafe { std::slice::from_raw_parts(start.cast::<u8>().add(size_of::<Header>()), len) }
        } else {
            // SAFETY: a longer string was allocated as `Long`.
            unsafe { &(*start.cast::<Long>()).bytes }
        }
    }

    #[inline(always)]
    pub fn len(self) -> usize {
        self.0.len as usize
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether the string is interned: equal strings are then the same object.
    #[inline(always)]
    pub fn is_short(self) -> bool {
        self.0.len as usize <= SHORT_STRING_MAX
    }

    /// The hash; for a long string computed at the first call, in time proportional to its length.
    #[inline]
    pub(crate) fn hash(self) -> u32 {
        let hash = self.0.hash.get();
        if hash != 0 || self.is_short() {
            return hash;
        }
        fuel::owe(fuel::copied(self.len()));
        let hash = hash_bytes(self.as_bytes(), 0).max(1);
        self.0.hash.set(hash);
        hash
    }

    /// Whether the hash of a long string was computed.
    pub(crate) fn has_hash(self) -> bool {
        self.0.hash.get() != 0
    }

    /// Whether both are the same object.
    #[inline(always)]
    pub fn ptr_eq(self, other: LuaString<'gc>) -> bool {
        Gc::ptr_eq(self.0, other.0)
    }

    /// Whether a long string has the bytes of another object; comparing them is owed.
    #[inline(never)]
    pub(crate) fn equals_long(self, other: LuaString<'gc>) -> bool {
        if self.0.len != other.0.len {
            return false;
        }
        fuel::owe(fuel::compared(self.len()));
        bytes::equal(self.as_bytes(), other.as_bytes())
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }

    /// The nominal size of a string with this length.
    pub(crate) fn nominal_bytes_for(length: usize) -> usize {
        if length <= SHORT_STRING_MAX { short_bytes(length.max(1).next_multiple_of(8)) } else { long_bytes(length) }
    }

    /// The text, with invalid UTF-8 replaced.
    pub fn to_string_lossy(self) -> std::borrow::Cow<'gc, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl PartialEq for LuaString<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Gc::ptr_eq(self.0, other.0) || (!self.is_short() && self.equals_long(*other))
    }
}

impl Eq for LuaString<'_> {}

impl fmt::Debug for LuaString<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_string_lossy())
    }
}

/// The interned short strings of a heap.
pub(crate) struct Interned {
    /// Invariant: every pointer is to a live short string; `purge` runs before dead ones are swept.
    table: UnsafeCell<HashTable<*const Header>>,
    /// Strings whose hash [`CROWD`] others had, by [`strong_hash`]: who knows the seed can make any number of them, and no look-up may
    /// go through them one by one. The same invariant holds.
    crowded: UnsafeCell<HashTable<*const Header>>,
    /// The serial numbers of strings that were shown by `%p`, which are too few to have a place for one in every string. The
    /// same invariant holds.
    serials: UnsafeCell<HashTable<(*const Header, u32)>>,
    seed: u64,
}

/// How many strings with one hash the table holds before others go elsewhere.
const CROWD: usize = 16;

impl Interned {
    pub(crate) fn new(seed: u64) -> Self {
        Interned { table: UnsafeCell::default(), crowded: UnsafeCell::default(), serials: UnsafeCell::default(), seed }
    }

    /// The string with these bytes: the interned one, or a new one.
    pub(crate) fn string<'gc>(&self, mc: &Mutation<'gc>, accounting: &Accounting, bytes: &[u8]) -> LuaString<'gc> {
        if bytes.len() > SHORT_STRING_MAX {
            return long_string(mc, accounting, bytes.into());
        }
        let hash = hash_bytes(bytes, self.seed);
        // SAFETY: the only reference to the table; nothing called below reaches it again.
        let table = unsafe { &mut *self.table.get() };
        let mut crowd = 0;
        let equals = |candidate: &*const Header| {
            // SAFETY: by the table's invariant the pointer is to a live short string.
            unsafe {
                (**candidate).hash.get() == hash && {
                    crowd += 1;
                    bytes::equal(interned_bytes(*candidate), bytes)
                }
            }
        };
        if let Some(found) = table.find(u64::from(hash), equals) {
            // SAFETY: a live string of this arena, see the invariant.
            return LuaString(unsafe { Gc::from_ptr(*found) });
        }
        if let Some(found) = self.find_crowded(bytes) {
            return found;
        }
        let string = match bytes.len() {
            0..=8 => short_string::<8>(mc, accounting, bytes, hash),
            9..=16 => short_string::<16>(mc, accounting, bytes, hash),
            17..=24 => short_string::<24>(mc, accounting, bytes, hash),
            25..=32 => short_string::<32>(mc, accounting, bytes, hash),
            _ => short_string::<40>(mc, accounting, bytes, hash),
        };
        if crowd >= CROWD {
            self.insert_crowded(string);
            return string;
        }
        // SAFETY: as in `equals`.
        let hasher = |entry: &*const Header| u64::from(unsafe { (**entry).hash.get() });
        table.insert_unique(u64::from(hash), Gc::as_ptr(string.0), hasher);
        string
    }

    #[inline(always)]
    fn find_crowded<'gc>(&self, bytes: &[u8]) -> Option<LuaString<'gc>> {
        // SAFETY: the only reference to the table, whose pointers are to live short strings of this arena.
        unsafe {
            let crowded = &*self.crowded.get();
            if crowded.is_empty() {
                return None;
            }
            let found =
                crowded.find(strong_hash(bytes, self.seed), |entry| bytes::equal(interned_bytes(*entry), bytes));
            found.map(|found| LuaString(Gc::from_ptr(*found)))
        }
    }

    #[cold]
    #[inline(never)]
    fn insert_crowded(&self, string: LuaString<'_>) {
        // SAFETY: as in `find_crowded`.
        unsafe {
            let hasher = |entry: &*const Header| strong_hash(interned_bytes(*entry), self.seed);
            let entry = Gc::as_ptr(string.0);
            (*self.crowded.get()).insert_unique(hasher(&entry), entry, hasher);
        }
    }

    /// The serial number of a string, which is `new` if it had none.
    pub(crate) fn serial(&self, string: LuaString<'_>, new: impl FnOnce() -> u32) -> u32 {
        // SAFETY: the only reference to the table; nothing called below reaches it again.
        let serials = unsafe { &mut *self.serials.get() };
        let pointer = Gc::as_ptr(string.0);
        let entry = serials.entry(serial_hash(pointer), |entry| entry.0 == pointer, |entry| serial_hash(entry.0));
        entry.or_insert_with(|| (pointer, new())).get().1
    }

    /// The serial number of a string that has one.
    pub(crate) fn known_serial(&self, string: LuaString<'_>) -> Option<u32> {
        // SAFETY: as in `serial`.
        let serials = unsafe { &*self.serials.get() };
        let pointer = Gc::as_ptr(string.0);
        serials.find(serial_hash(pointer), |entry| entry.0 == pointer).map(|entry| entry.1)
    }

    /// Calls `visit` with every interned string, in no particular order.
    pub(crate) fn for_each<'gc>(&self, _: &Mutation<'gc>, mut visit: impl FnMut(LuaString<'gc>)) {
        // SAFETY: `visit` cannot reach the table; the pointers are to live strings of this arena, see the invariant.
        unsafe {
            let entries = (*self.table.get()).iter().chain((*self.crowded.get()).iter());
            entries.for_each(|entry| visit(LuaString(Gc::from_ptr(*entry))));
        }
    }

    /// Forgets the strings that this cycle is about to free.
    pub(crate) fn purge<'gc>(&self, fc: &Finalization<'gc>) {
        // SAFETY: the only references to the tables; the pointers are live until the sweep that follows.
        unsafe {
            let is_alive = |pointer: *const Header| !Gc::is_dead(fc, Gc::<'gc, Header>::from_ptr(pointer));
            (*self.table.get()).retain(|entry| is_alive(*entry));
            (*self.crowded.get()).retain(|entry| is_alive(*entry));
            (*self.serials.get()).retain(|entry| is_alive(entry.0));
        }
    }
}

fn serial_hash(pointer: *const Header) -> u64 {
    (pointer as usize as u64 >> 3).wrapping_mul(HASH_MULTIPLIER)
}

/// A long string that takes over `bytes`; they must be longer than [`SHORT_STRING_MAX`].
pub(crate) fn long_string<'gc>(mc: &Mutation<'gc>, accounting: &Accounting, bytes: Box<[u8]>) -> LuaString<'gc> {
    debug_assert!(bytes.len() > SHORT_STRING_MAX);
    accounting.charge(long_bytes(bytes.len()));
    let header = Header { hash: Cell::new(0), len: bytes.len() as u32 };
    let gc = Gc::new(mc, Long { header, bytes });
    // SAFETY: `Long` starts with a `Header` (repr(C)).
    LuaString(unsafe { Gc::cast(gc) })
}

fn short_string<'gc, const N: usize>(
    mc: &Mutation<'gc>,
    accounting: &Accounting,
    bytes: &[u8],
    hash: u32,
) -> LuaString<'gc> {
    accounting.charge(short_bytes(N));
    let mut buffer = [0; N];
    buffer[..bytes.len()].copy_from_slice(bytes);
    let header = Header { hash: Cell::new(hash), len: bytes.len() as u32 };
    let gc = Gc::new(mc, Short { header, bytes: buffer });
    // SAFETY: `Short` starts with a `Header` (repr(C)).
    LuaString(unsafe { Gc::cast(gc) })
}

/// The bytes of a short string.
///
/// # Safety
///
/// The string is alive as long as they are used.
#[inline(always)]
unsafe fn interned_bytes<'a>(string: *const Header) -> &'a [u8] {
    // SAFETY: the bytes follow the header.
    unsafe {
        let start = string.cast::<u8>().add(size_of::<Header>());
        std::slice::from_raw_parts(start, (*string).len as usize)
    }
}

/// SipHash, for which nobody can make many strings with one hash.
fn strong_hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(bytes);
    hasher.finish()
}

const HASH_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiply-and-fold over eight bytes at a time. Its value is never visible to Lua code; the seed comes from the host.
#[inline(always)]
pub(super) fn hash_bytes(bytes: &[u8], seed: u64) -> u32 {
    let fold = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(HASH_MULTIPLIER);
        mixed ^ (mixed >> 32)
    };
    let mut hash = seed ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        hash = fold(hash, u64::from_le_bytes(chunk.try_into().expect("chunks of 8 bytes")));
    }
    let mut tail = 0u64;
    for &byte in chunks.remainder() {
        tail = tail << 8 | u64::from(byte);
    }
    hash = fold(hash, tail);
    (hash ^ (hash >> 29)) as u32
}
