//! What work costs: the one table of prices.
//!
//! A unit of fuel stands for about the time of one instruction. Code pays where it can repeat: a jump back costs the words it goes
//! back over, a call a part of the words of the function called, so that code without loops is paid for when it is entered.
//! Everything that takes longer than an instruction pays by itself, in proportion to the bytes, items or steps it touches.
//! `cargo xtask bench fuel` measures what a unit is worth in all kinds of work.
//!
//! Most work is charged where it is asked for, by [`Call::charge`](crate::Call::charge) or on `Machine::fuel`. Work deep inside
//! the heap, which knows of no run, is *owed*: [`owe`] notes it for the thread and the interpreter takes it
//! ([`take_owed`]) after each operation out of line, before it looks whether fuel is left. So a run never stops with a debt, and
//! what it uses does not depend on how it is sliced. Fast paths in the dispatch loop never owe anything.
//!
//! What programs use is part of their result. A change of a price is a change of [`FUEL_VERSION`].

use std::cell::Cell;

/// The fuel that is left.
#[cfg(not(cu_unlimited))]
pub(crate) type Fuel = i64;

#[cfg(cu_unlimited)]
mod unlimited;
#[cfg(cu_unlimited)]
pub(crate) use unlimited::Fuel;

/// Whether there are limits. Without them, which is for measuring alone, nothing asks for fuel, heap or depth.
pub(crate) const HAS_LIMITS: bool = !cfg!(cu_unlimited);

/// How much less there is of `after` than of `before`.
pub(crate) fn used(before: Fuel, after: Fuel) -> i64 {
    #[cfg(not(cu_unlimited))]
    return before.saturating_sub(after);
    #[cfg(cu_unlimited)]
    return {
        let _ = (before, after);
        0
    };
}

/// The version of the prices. Equal programs use equal fuel under equal versions.
pub const FUEL_VERSION: u32 = 4;

/// Entering a function of any kind.
pub(crate) const CALL: i64 = 2;
/// Words of code for a unit, when a Lua function is entered.
const CODE_WORDS: usize = 4;
/// A call that native code or an operator makes, on top of the call itself.
pub(crate) const CALLBACK: i64 = 4;
/// An object allocated by an instruction.
pub(crate) const ALLOCATION: i64 = 4;
/// An operation that leaves the dispatch loop's fast path: a metamethod or a look-up that the inline cache did not have.
pub(crate) const SLOW_PATH: i64 = 2;
/// A step in a chain of `__index`, `__newindex` or `__call`.
pub(crate) const CHAIN_STEP: i64 = 2;
/// A power.
pub(crate) const POWER: i64 = 6;
/// The remainder of floats, which takes the longer the further they are apart.
pub(crate) const FLOAT_MODULO: i64 = 3;
/// Finding out who deals with an error, and going there.
pub(crate) const THROW: i64 = 16;
/// An error's text with the names of what caused it.
pub(crate) const ERROR_TEXT: usize = 24;
/// A search for the end of a table's items outside the array part.
pub(crate) const BORDER: usize = 8;
/// An upvalue captured by a new closure.
pub(crate) const UPVALUE: i64 = 2;
/// A new coroutine with its stack.
pub(crate) const COROUTINE: usize = 32;
/// A string made by a library function, whatever its length.
pub(crate) const STRING: usize = 2;
/// A match replaced by `string.gsub`, whatever the lengths.
pub(crate) const REPLACEMENT: usize = 2;
/// An integer's text.
pub(crate) const INTEGER_TEXT: usize = 4;
/// A float's text, in the shortest form.
pub(crate) const FLOAT_TEXT: usize = 20;
/// A directive of `string.format`, and each byte of a float's text with a given precision.
pub(crate) const DIRECTIVE: usize = 6;
pub(crate) const FLOAT_BYTE: usize = 4;
/// Compiling any chunk.
pub(crate) const CHUNK: usize = 100;
/// A byte of source text, or of a binary chunk.
pub(crate) const SOURCE_BYTE: usize = 4;
/// Opening a file or starting a program, whatever becomes of it.
pub(crate) const OPEN: usize = 100;
/// Taking apart or putting together a date.
pub(crate) const DATE: usize = 24;
/// Reading from a file beyond its buffer, whatever comes.
pub(crate) const FILL: usize = 16;
/// An operation of a store outside the heap, and each entry that it has passed: a look-up in a tree of pages.
const EXTERNAL_ENTRY: usize = 200;
/// Nominal bytes of heap for a unit, when a collection goes over it.
const COLLECTED_BYTES: usize = 32;
/// Steps of the pattern matcher for a unit.
const PATTERN_STEPS: u64 = 4;
/// A step of a look-up beyond this many is owed.
const PROBES_FREE: usize = 16;

/// Bytes copied.
pub(crate) const fn copied(bytes: usize) -> usize {
    bytes / 16
}

/// Bytes looked at or changed one by one.
pub(crate) const fn scanned(bytes: usize) -> usize {
    bytes / 4
}

/// Bytes compared with others.
pub(crate) const fn compared(bytes: usize) -> usize {
    bytes / 64
}

/// Digits turned into a number.
pub(crate) const fn digits(bytes: usize) -> usize {
    if bytes < 16 { 2 } else { bytes / 2 }
}

/// Values copied between registers, or passed over.
pub(crate) const fn values(count: usize) -> usize {
    count / 4
}

/// Items of tables moved.
pub(crate) const fn items(count: usize) -> usize {
    count + count / 2
}

/// Bytes in which a text is looked for.
pub(crate) const fn sought(bytes: usize) -> usize {
    bytes / 2
}

/// Steps over code, debug information or frames for a message or a debugger.
pub(crate) const fn searched(steps: usize) -> usize {
    steps / 2
}

/// Compiling source text or checking a binary chunk.
pub(crate) const fn compiled(bytes: usize) -> usize {
    CHUNK + bytes.saturating_mul(SOURCE_BYTE)
}

/// Steps of the pattern matcher.
pub(crate) const fn pattern_steps(steps: u64) -> u64 {
    steps / PATTERN_STEPS
}

/// A collection over a heap of so many nominal bytes, with visits to entries of weak tables beyond the first.
pub(crate) const fn collection(bytes: usize, visits: usize) -> usize {
    bytes / COLLECTED_BYTES + visits
}

/// What a host charges for an operation of a store outside the heap, by the entries it passed and the bytes that became Lua values or came
/// from them.
pub fn external_price(entries: u64, bytes: usize) -> usize {
    usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(EXTERNAL_ENTRY).saturating_add(scanned(bytes))
}

/// What entering a Lua function costs.
pub(crate) fn entry(code_words: usize, parameters: u8) -> u32 {
    let weight = (code_words + usize::from(parameters)) / CODE_WORDS;
    u32::try_from(weight).unwrap_or(u32::MAX).saturating_add(CALL as u32)
}

thread_local! {
    static OWED: Cell<u64> = const { Cell::new(0) };
}

/// Notes work that the current operation will pay for.
#[cold]
#[inline(never)]
pub(crate) fn owe(units: usize) {
    if !HAS_LIMITS {
        return;
    }
    OWED.with(|owed| owed.set(owed.get().saturating_add(units as u64)));
}

/// Has the running code pay for so many bytes that its host copies or converts on its behalf.
pub fn pay_for_bytes(bytes: usize) {
    owe(copied(bytes));
}

/// Notes a look-up of so many steps.
#[inline(always)]
pub(crate) fn owe_probes(steps: usize) {
    if HAS_LIMITS && steps > PROBES_FREE {
        owe(steps);
    }
}

/// What is owed, which the caller charges.
#[inline(always)]
pub(crate) fn take_owed() -> i64 {
    if !HAS_LIMITS {
        return 0;
    }
    OWED.with(|owed| {
        let units = owed.get();
        if units == 0 {
            return 0;
        }
        owed.set(0);
        i64::try_from(units).unwrap_or(i64::MAX / 4)
    })
}

#[cfg(test)]
#[cfg(not(cu_unlimited))]
mod tests;
