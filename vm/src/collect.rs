//! One collection cycle: mark, weak references and finalizers, sweep (manual §2.5).
//!
//! The cycle is atomic and runs between two slices of Lua code. After marking, in this order: values reachable only through
//! ephemeron keys are marked; dead weak values are cleared; dead objects with finalizers are revived and queued; what they
//! reach is marked, ephemerons again; dead weak keys and the rest of the weak values are cleared; dead interned
//! strings and dead objects of `_home` are forgotten. Strings and other values are never removed from weak tables.

use gc_arena::{Arena, Finalization, Gc, Rootable};

use crate::context::{Root, has_finalizer};
use crate::heap::accounting::take_freed;
use crate::heap::table::Table;
use crate::heap::value::Value;

pub(crate) type Heap = Arena<Rootable![Root<'_>]>;

/// Visits to entries of ephemeron tables that any cycle may make, and how many for each entry: see [`converge_ephemerons`].
const EPHEMERON_VISITS_MIN: usize = 1 << 17;
const EPHEMERON_PASSES: usize = 32;

/// Runs a full cycle; how often it visited entries of ephemeron tables again.
pub(crate) fn collect(arena: &mut Heap) -> usize {
    take_freed();
    let mut visits = converge_ephemerons(arena);
    finalization(arena, |fc, root| {
        clear_weak_values(fc, root);
        revive_finalizable(fc, root);
    });
    visits += converge_ephemerons(arena);
    // Weak tables that only revived objects refer to are among the living now.
    finalization(arena, |fc, root| {
        purge_dead_tables(fc, root);
        clear_weak_values(fc, root);
        clear_weak_keys(fc, root);
    });

    // Strings that weak tables keep were marked just now.
    finalization(arena, |fc, root| {
        root.interned.purge(fc);
        // SAFETY: the only reference to it.
        if let Some(home) = unsafe { &mut *root.home.get() } {
            home.purge(fc);
        }
    });
    arena.finish_cycle();
    let freed = take_freed();
    arena.mutate(|_, root| {
        root.accounting.finish_cycle(freed);
        root.chunk_names.purge();
    });
    visits
}

/// Marks what is left to mark, then calls `visit` on the fully marked heap.
fn finalization<T>(arena: &mut Heap, visit: impl for<'gc> FnOnce(&Finalization<'gc>, &'gc Root<'gc>) -> T) -> T {
    let marked = arena.finish_marking().expect("no cycle is ever left in its sweep");
    marked.finalize(|fc, root| visit(fc, root))
}

/// An object that nothing strong refers to. Strings count as values, not as objects.
fn is_dead<'gc>(fc: &Finalization<'gc>, value: Value<'gc>) -> bool {
    value.object().is_some_and(|object| Gc::is_dead(fc, object))
}

/// Keeps a string alive that only weak tables refer to.
fn keep_string<'gc>(fc: &Finalization<'gc>, value: Value<'gc>) {
    if let Value::String(string) = value {
        Gc::resurrect(fc, string.gc());
    }
}

fn weak_tables<'gc>(root: &'gc Root<'gc>) -> &'gc mut Vec<Table<'gc>> {
    // SAFETY: the only reference to the list; collection does not overlap with anything else.
    unsafe { &mut *root.weak_tables.get() }
}

/// Marks values of ephemeron tables whose keys are alive, until that changes nothing; answers the visits to entries after the first
/// pass.
///
/// A chain of ephemerons may need a pass for each of its links, in time that grows with the square of their number. After so many
/// visits as a heap in good order never needs, the values that are left are kept as if the tables were not weak: garbage for
/// this cycle, and no time for a hostile one.
fn converge_ephemerons(arena: &mut Heap) -> usize {
    let mut pass = Pass { entries: 0, is_last: false, is_reversed: false };
    let mut visits = 0;
    loop {
        let changed = finalization(arena, |fc, root| pass.run(fc, weak_tables(root)));
        if !changed {
            return visits;
        }
        pass.is_reversed = !pass.is_reversed;
        visits += pass.entries;
        pass.is_last = visits > EPHEMERON_VISITS_MIN.max(EPHEMERON_PASSES * pass.entries);
    }
}

/// A pass over the ephemeron tables.
struct Pass {
    /// How many entries there were in the last one.
    entries: usize,
    /// Whether every value is kept.
    is_last: bool,
    is_reversed: bool,
}

impl Pass {
    /// Marks what has become reachable; whether there was anything.
    fn run<'gc>(&mut self, fc: &Finalization<'gc>, tables: &[Table<'gc>]) -> bool {
        self.entries = 0;
        let mut changed = false;
        let mut visit = |table: &Table<'gc>| {
            let weak = table.weakness();
            if Gc::is_dead(fc, table.gc()) || !weak.keys || weak.values {
                return;
            }
            self.entries += table.shape().1 + 1;
            table.retain(|key, value| {
                if self.is_last || !is_dead(fc, key) {
                    keep_string(fc, value);
                    if is_dead(fc, value) {
                        Gc::resurrect(fc, value.object().expect("only objects are dead"));
                        changed = true;
                    }
                }
                true
            });
        };
        // A chain that runs against the order of one pass is followed by the next.
        if self.is_reversed {
            tables.iter().rev().for_each(&mut visit)
        } else {
            tables.iter().for_each(&mut visit)
        }
        changed
    }
}

fn purge_dead_tables<'gc>(fc: &Finalization<'gc>, root: &'gc Root<'gc>) {
    weak_tables(root).retain(|table| {
        let weak = table.weakness();
        !Gc::is_dead(fc, table.gc()) && (weak.keys || weak.values)
    });
}

fn clear_weak_values<'gc>(fc: &Finalization<'gc>, root: &'gc Root<'gc>) {
    for table in weak_tables(root).iter().filter(|table| table.weakness().values && !Gc::is_dead(fc, table.gc())) {
        table.retain(|_, value| {
            keep_string(fc, value);
            !is_dead(fc, value)
        });
    }
}

fn clear_weak_keys<'gc>(fc: &Finalization<'gc>, root: &'gc Root<'gc>) {
    for table in weak_tables(root).iter().filter(|table| !Gc::is_dead(fc, table.gc())) {
        if table.weakness().keys {
            table.retain(|key, _| {
                keep_string(fc, key);
                !is_dead(fc, key)
            });
        }
        // Keys of removed pairs are not traced in a weak table.
        table.bury_keys(|key| match key {
            Value::String(string) => Gc::is_dead(fc, string.gc()),
            _ => is_dead(fc, key),
        });
    }
}

/// Moves dead objects with finalizers to the queue, the last registered one first, and keeps them alive.
fn revive_finalizable<'gc>(fc: &Finalization<'gc>, root: &'gc Root<'gc>) {
    // SAFETY: the only references to the lists.
    let (finalizable, doomed) = unsafe { (&mut *root.finalizable.get(), &mut *root.doomed.get()) };
    let mut dead = Vec::new();
    finalizable.retain(|object| {
        let is_dead = is_dead(fc, *object);
        if is_dead {
            dead.push(*object);
        }
        !is_dead
    });
    for object in &dead {
        Gc::resurrect(fc, object.object().expect("only objects have finalizers"));
        if let Some(has_finalizer) = has_finalizer(*object) {
            has_finalizer.set(false);
        }
    }
    // The queue is taken from its end: what died in this cycle comes after what was waiting, newest first.
    doomed.splice(0..0, dead);
}
