//! `table.sort`: the quicksort of PUC Lua 5.4, decision by decision, so that comparators are called with the same arguments in the
//! same order and items that compare equal end up in the same places.
//!
//! Two forms of the same algorithm. `plain_sort` sorts plain numbers or strings in one go. The other, here, is a state machine whose
//! every read, store and comparison may call Lua code: what it works on stays in the table, where it stands in [`Sorter`],
//! which is kept in slots during calls.
//!
//! One round on `low..=high` orders the first, middle and last item, takes the middle one as pivot and moves it to
//! `high - 1`, exchanges items between from both sides, and puts the pivot back where they meet. The smaller part is sorted
//! first, the larger one waits in a slot; so there are never more than 31 waiting.

use super::plain_sort::sort_plain;
use crate::call::{Action, Call};
use crate::error::Error;
use crate::fuel;
use crate::heap::value::Value;
use crate::library::steps::{Step, plain_table, step};
use crate::metamethod::Metamethod::{Index, Len, NewIndex};

/// Up to this many items the pivot is always the middle one.
const MIDDLE_PIVOT_MAX: u32 = 100;
/// Scratch slots: where the sorter stands (three), values being compared and exchanged, waiting parts, calls.
const SLOT_PLACES: usize = 0;
const SLOT_LEFT: usize = 3;
const SLOT_RIGHT: usize = 4;
const SLOT_PIVOT: usize = 5;
const SLOT_WAITING: usize = 6;
const WAITING_MAX: usize = 31;
const SLOT_CALL: usize = SLOT_WAITING + WAITING_MAX;

const START: u32 = 0;
const MEASURED: u32 = 1;
/// Takes up a part, or ends.
const ROUND: u32 = 2;
const ENDS_READ_LOW: u32 = 3;
const ENDS_READ: u32 = 4;
const ENDS_COMPARED: u32 = 5;
const ENDS_STORED: u32 = 6;
const MIDDLE: u32 = 7;
const LOW_READ_MIDDLE: u32 = 8;
const LOW_READ: u32 = 9;
const LOW_COMPARED: u32 = 10;
const LOW_STORED: u32 = 11;
const HIGH_READ: u32 = 12;
const HIGH_COMPARED: u32 = 13;
const HIGH_STORED: u32 = 14;
const PIVOT: u32 = 15;
const PIVOT_READ: u32 = 16;
const PIVOT_NEIGHBOUR_READ: u32 = 17;
const PIVOT_STORED: u32 = 18;
const PARTITION: u32 = 19;
const UPWARDS: u32 = 20;
const UPWARDS_READ: u32 = 21;
const UPWARDS_COMPARED: u32 = 22;
const DOWNWARDS: u32 = 23;
const DOWNWARDS_READ: u32 = 24;
const DOWNWARDS_COMPARED: u32 = 25;
const EXCHANGE_STORED: u32 = 26;
const PIVOT_BACK_STORED: u32 = 27;
const ROUND_END: u32 = 28;

/// Where a sort stands. Positions are below 2^31.
#[derive(Clone, Copy)]
struct Sorter {
    low: u32,
    high: u32,
    /// The middle, later where the search from below stands.
    left: u32,
    /// Where the search from above stands; the item before the first may be reached with an invalid order.
    right: u32,
    waiting: u32,
    /// 0 until a round split badly; then the pivot is chosen by it.
    random: u32,
}

impl Sorter {
    fn new(high: u32) -> Self {
        Sorter { low: 1, high, left: 0, right: 0, waiting: 0, random: 0 }
    }

    fn load(call: &Call<'_, '_>, base: usize) -> Self {
        let pair = |slot: usize| match call.slot(base + SLOT_PLACES + slot) {
            Value::Integer(pair) => unpack_pair(pair),
            _ => (0, 0),
        };
        let ((low, high), (left, right), (waiting, random)) = (pair(0), pair(1), pair(2));
        Sorter { low, high, left, right, waiting, random }
    }

    /// Whether this can be where a sort stands that goes on in `state`; what was saved elsewhere may be anything.
    fn fits(&self, state: u32) -> bool {
        const POSITION_MAX: u32 = i32::MAX as u32;
        let in_part = state == ROUND || self.low < self.high;
        in_part && self.low <= POSITION_MAX && self.high <= POSITION_MAX && self.waiting as usize <= WAITING_MAX
    }

    /// Saves what changes within a round.
    #[inline]
    fn save_places(&self, call: &mut Call<'_, '_>, base: usize) {
        call.set_slot(base + SLOT_PLACES + 1, pack_pair(self.left, self.right));
    }

    /// Saves what changes between rounds.
    fn save_part(&self, call: &mut Call<'_, '_>, base: usize) {
        call.set_slot(base + SLOT_PLACES, pack_pair(self.low, self.high));
        call.set_slot(base + SLOT_PLACES + 2, pack_pair(self.waiting, self.random));
    }

    /// The position of the pivot.
    fn middle(&self) -> u32 {
        choose_pivot(self.low, self.high, self.random)
    }

    /// Goes on with the smaller of the parts that the pivot at `left` leaves; the larger one waits. A part of fewer than two
    /// items is finished at once.
    /// A pivot outside the part is an order that is none.
    fn split<'gc>(&mut self, call: &mut Call<'_, 'gc>, base: usize) -> Result<(), Error<'gc>> {
        let (low, high, pivot) = (self.low, self.high, self.left);
        if !(low..=high).contains(&pivot) || pivot == 0 || self.waiting as usize >= WAITING_MAX {
            return Err(invalid_order(call));
        }
        let lower = (low, pivot - 1);
        let upper = (pivot + 1, high);
        let (smaller, larger) = if pivot - low < high - pivot { (lower, upper) } else { (upper, lower) };
        let smaller_size = (pivot - low).min(high - pivot);
        if (larger.1 - larger.0) / 128 > smaller_size {
            self.random = next_random(self.random);
        }
        if smaller.0 < smaller.1 {
            call.set_slot(base + SLOT_WAITING + self.waiting as usize, pack_pair(larger.0, larger.1));
            self.waiting += 1;
            (self.low, self.high) = smaller;
        } else {
            (self.low, self.high) = larger;
        }
        Ok(())
    }

    /// Takes up a part that waits if the current one is finished; false at the end.
    fn next_part(&mut self, call: &Call<'_, '_>, base: usize) -> bool {
        while self.low >= self.high {
            if self.waiting == 0 {
                return false;
            }
            self.waiting -= 1;
            if let Value::Integer(pair) = call.slot(base + SLOT_WAITING + self.waiting as usize) {
                (self.low, self.high) = unpack_pair(pair);
            }
        }
        true
    }
}

fn pack_pair<'gc>(first: u32, second: u32) -> Value<'gc> {
    Value::Integer((u64::from(first) << 32 | u64::from(second)) as i64)
}

fn unpack_pair(pair: i64) -> (u32, u32) {
    ((pair as u64 >> 32) as u32, pair as u32)
}

pub(super) fn choose_pivot(low: u32, high: u32, random: u32) -> u32 {
    if (high - low) < MIDDLE_PIVOT_MAX || random == 0 {
        return low + (high - low) / 2;
    }
    // Somewhere in the two middle quarters.
    let quarter = (high - low) / 4;
    random % (quarter * 2) + low + quarter
}

/// PUC Lua asks clock and address here; any numbers will do that break the pattern of the items.
pub(super) fn next_random(random: u32) -> u32 {
    (random ^ 0x9e37_79b9).wrapping_mul(1_664_525).wrapping_add(1_013_904_223).max(1)
}

pub(super) fn sort<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    let base = call.scratch();
    let state = call.state();
    if state > MEASURED {
        call.reserve(base + SLOT_CALL + 3)?;
        return run(call, base, state);
    }
    let object = call.arg(1);
    if state == START {
        call.check_table_like(1, &[Index, NewIndex, Len])?;
        call.reserve(base + SLOT_CALL + 3)?;
        step!(call.measure(base, object, MEASURED));
    }
    let length = call.length_in(base)?;
    if length < 2 {
        return call.return_none();
    }
    if length >= i64::from(i32::MAX) {
        return Err(call.arg_error(1, "array too big"));
    }
    if call.arg(2).is_nil() {
        if let Some(table) = plain_table(call, object)
            && let Some(result) = sort_plain(call, table, length as usize)
        {
            result?;
            return call.return_none();
        }
    } else {
        call.check_function(2)?;
    }
    let sorter = Sorter::new(length as u32);
    sorter.save_places(call, base);
    sorter.save_part(call, base);
    run(call, base, ROUND)
}

pub(super) fn invalid_order<'gc>(call: &Call<'_, 'gc>) -> Error<'gc> {
    call.error("invalid order function for sorting")
}

/// Reads item `position` into a slot.
#[inline]
fn read<'gc>(call: &mut Call<'_, 'gc>, sorter: &Sorter, slot: usize, position: u32, next: u32) -> Step<'gc> {
    let (base, object) = (call.scratch(), call.arg(1));
    let key = i64::from(position);
    if let Value::Table(table) = object {
        let value = table.get_integer(key);
        if !value.is_nil() || table.metatable().is_none() {
            call.set_slot(base + slot, value);
            return Ok(None);
        }
    }
    sorter.save_places(call, base);
    // The result of a handler comes to the slot of its call; see `received`.
    let step = call.read(base + SLOT_CALL, object, Value::Integer(key), next + RECEIVE * slot as u32)?;
    if step.is_none() {
        let value = call.slot(base + SLOT_CALL);
        call.set_slot(base + slot, value);
    }
    Ok(step)
}

/// A state that is entered after a read says, in multiples of this, which slot the value goes to.
const RECEIVE: u32 = 1 << 8;

/// Stores a slot's value as item `position`.
#[inline]
fn store<'gc>(call: &mut Call<'_, 'gc>, sorter: &Sorter, position: u32, slot: usize, next: u32) -> Step<'gc> {
    let (base, object) = (call.scratch(), call.arg(1));
    let value = call.slot(base + slot);
    let key = i64::from(position);
    if let Value::Table(table) = object
        && table.metatable().is_none()
        && table.replace_integer(key, value)
    {
        return Ok(None);
    }
    sorter.save_places(call, base);
    call.assign(base + SLOT_CALL, object, Value::Integer(key), value, next)
}

/// Compares the values of two slots, by the comparator if there is one; the answer is in the slot of calls.
#[inline]
fn less<'gc>(call: &mut Call<'_, 'gc>, sorter: &mut Sorter, left: usize, right: usize, next: u32) -> Step<'gc> {
    let base = call.scratch();
    let (left, right) = (call.slot(base + left), call.slot(base + right));
    call.charge(fuel::items(1));
    sorter.save_places(call, base);
    match call.arg(2) {
        Value::Nil => call.less(base + SLOT_CALL, left, right, next),
        comparator => {
            let changes = call.context().root().local_changes.get();
            let step = call.call_now(base + SLOT_CALL, comparator, &[left, right], 1, next)?;
            // A debugger may have changed what is in the slots.
            if step.is_none() && call.context().root().local_changes.get() != changes {
                *sorter = Sorter::load(call, base);
                if !sorter.fits(next) {
                    return Err(call.state_error());
                }
            }
            Ok(step)
        }
    }
}

/// Fuel after which the driver may stop a sort that calls nothing. Where it can stop may not depend on how much is left.
const PIECE_FUEL: i64 = 1 << 14;

/// Runs the state machine from `state` on.
fn run<'gc>(call: &mut Call<'_, 'gc>, base: usize, state: u32) -> Result<Action, Error<'gc>> {
    let mut sorter = Sorter::load(call, base);
    let mut state = state;
    if state >= RECEIVE {
        let value = call.slot(base + SLOT_CALL);
        call.set_slot(base + ((state / RECEIVE) as usize).min(SLOT_PIVOT), value);
        state %= RECEIVE;
    }
    if !sorter.fits(state) {
        return Err(call.state_error());
    }
    loop {
        if matches!(state, ROUND | UPWARDS | DOWNWARDS) && call.fuel_used() > PIECE_FUEL {
            sorter.save_places(call, base);
            return call.again(state);
        }
        let s = &mut sorter;
        let answer = |call: &Call<'_, 'gc>| call.slot(base + SLOT_CALL).is_truthy();
        state = match state {
            ROUND => {
                if !s.next_part(call, base) {
                    return call.return_none();
                }
                s.save_part(call, base);
                step!(read(call, s, SLOT_LEFT, s.low, ENDS_READ_LOW));
                ENDS_READ_LOW
            }
            // The last item before the first one?
            ENDS_READ_LOW => {
                step!(read(call, s, SLOT_RIGHT, s.high, ENDS_READ));
                ENDS_READ
            }
            ENDS_READ => {
                step!(less(call, s, SLOT_RIGHT, SLOT_LEFT, ENDS_COMPARED));
                ENDS_COMPARED
            }
            ENDS_COMPARED if answer(call) => {
                step!(store(call, s, s.low, SLOT_RIGHT, ENDS_STORED));
                ENDS_STORED
            }
            ENDS_STORED => {
                step!(store(call, s, s.high, SLOT_LEFT, MIDDLE));
                MIDDLE
            }
            ENDS_COMPARED | MIDDLE => {
                if s.high - s.low == 1 {
                    s.low = s.high;
                    ROUND
                } else {
                    s.left = s.middle();
                    step!(read(call, s, SLOT_PIVOT, s.left, LOW_READ_MIDDLE));
                    LOW_READ_MIDDLE
                }
            }
            // The middle item before the first one, or the last before the middle one?
            LOW_READ_MIDDLE => {
                step!(read(call, s, SLOT_LEFT, s.low, LOW_READ));
                LOW_READ
            }
            LOW_READ => {
                step!(less(call, s, SLOT_PIVOT, SLOT_LEFT, LOW_COMPARED));
                LOW_COMPARED
            }
            LOW_COMPARED if answer(call) => {
                step!(store(call, s, s.left, SLOT_LEFT, LOW_STORED));
                LOW_STORED
            }
            LOW_STORED => {
                step!(store(call, s, s.low, SLOT_PIVOT, PIVOT));
                PIVOT
            }
            LOW_COMPARED => {
                step!(read(call, s, SLOT_RIGHT, s.high, HIGH_READ));
                HIGH_READ
            }
            HIGH_READ => {
                step!(less(call, s, SLOT_RIGHT, SLOT_PIVOT, HIGH_COMPARED));
                HIGH_COMPARED
            }
            HIGH_COMPARED if answer(call) => {
                step!(store(call, s, s.left, SLOT_RIGHT, HIGH_STORED));
                HIGH_STORED
            }
            HIGH_STORED => {
                step!(store(call, s, s.high, SLOT_PIVOT, PIVOT));
                PIVOT
            }
            HIGH_COMPARED | PIVOT => {
                if s.high - s.low == 2 {
                    s.low = s.high;
                    ROUND
                } else {
                    step!(read(call, s, SLOT_PIVOT, s.left, PIVOT_READ));
                    PIVOT_READ
                }
            }
            // Exchange the pivot with the item before the last.
            PIVOT_READ => {
                step!(read(call, s, SLOT_RIGHT, s.high - 1, PIVOT_NEIGHBOUR_READ));
                PIVOT_NEIGHBOUR_READ
            }
            PIVOT_NEIGHBOUR_READ => {
                step!(store(call, s, s.left, SLOT_RIGHT, PIVOT_STORED));
                PIVOT_STORED
            }
            PIVOT_STORED => {
                step!(store(call, s, s.high - 1, SLOT_PIVOT, PARTITION));
                PARTITION
            }
            PARTITION => {
                (s.left, s.right) = (s.low, s.high - 1);
                UPWARDS
            }
            // From below, an item that is not less than the pivot.
            UPWARDS => {
                s.left = s.left.wrapping_add(1);
                step!(read(call, s, SLOT_LEFT, s.left, UPWARDS_READ));
                UPWARDS_READ
            }
            UPWARDS_READ => {
                step!(less(call, s, SLOT_LEFT, SLOT_PIVOT, UPWARDS_COMPARED));
                UPWARDS_COMPARED
            }
            UPWARDS_COMPARED => match answer(call) {
                true if s.left == s.high - 1 => return Err(invalid_order(call)),
                true => UPWARDS,
                false => DOWNWARDS,
            },
            // From above, an item that the pivot is not less than.
            DOWNWARDS => {
                s.right = s.right.checked_sub(1).ok_or_else(|| invalid_order(call))?;
                step!(read(call, s, SLOT_RIGHT, s.right, DOWNWARDS_READ));
                DOWNWARDS_READ
            }
            DOWNWARDS_READ => {
                step!(less(call, s, SLOT_PIVOT, SLOT_RIGHT, DOWNWARDS_COMPARED));
                DOWNWARDS_COMPARED
            }
            DOWNWARDS_COMPARED => match answer(call) {
                true if s.right < s.left => return Err(invalid_order(call)),
                true => DOWNWARDS,
                // They met: the pivot goes between.
                false if s.right < s.left => {
                    step!(store(call, s, s.high - 1, SLOT_LEFT, PIVOT_BACK_STORED));
                    PIVOT_BACK_STORED
                }
                false => {
                    step!(store(call, s, s.left, SLOT_RIGHT, EXCHANGE_STORED));
                    EXCHANGE_STORED
                }
            },
            EXCHANGE_STORED => {
                step!(store(call, s, s.right, SLOT_LEFT, UPWARDS));
                UPWARDS
            }
            PIVOT_BACK_STORED => {
                step!(store(call, s, s.left, SLOT_PIVOT, ROUND_END));
                ROUND_END
            }
            _ => {
                s.split(call, base)?;
                ROUND
            }
        };
    }
}
