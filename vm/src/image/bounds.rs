//! What keeps the time to load an image in proportion to its size, whatever keys and strings an attacker has chosen for it.

use super::ImageError;
use super::rebuild::or_damaged;
use crate::fuel;

/// Steps of looking for keys, per entry and altogether, before a table's keys are taken for an attack by equal hashes. The same goes for
/// the names of chunks. With it, loading takes time in proportion to the image.
const STEPS_PER_ENTRY: u64 = 64;
const STEPS_MIN: u64 = 1 << 16;

/// For each string the number of one that is equal to it, the same for all that are.
pub(super) fn classes(strings: &[&[u8]]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..strings.len() as u32).collect();
    let bytes = |number: u32| strings[number as usize];
    cu_sort::sort_by(&mut order, |one, other| {
        let (one, other) = (bytes(*one), bytes(*other));
        one.len().cmp(&other.len()).then_with(|| one.cmp(other))
    });
    let mut classes = vec![0; strings.len()];
    let mut first = 0;
    for number in order {
        if bytes(number) != bytes(first) {
            first = number;
        }
        classes[number as usize] = first;
    }
    classes
}

/// How much looking up so many strings, functions or entries among each other may take.
pub(super) fn steps_max(entries: usize) -> u64 {
    STEPS_MIN + entries as u64 * STEPS_PER_ENTRY
}

/// Counts what a look-up has owed.
pub(super) fn take_steps(steps: &mut u64, kind: &'static str, number: usize) -> Result<(), ImageError> {
    let owed = fuel::take_owed().unsigned_abs();
    *steps = or_damaged(steps.checked_sub(owed), kind, number, "hash")?;
    Ok(())
}
