//! Comparing bytes. In WebAssembly what Rust calls for this goes byte by byte; here it is eight at a time. Natively the C library does better.

use std::cmp::Ordering;

const IN_WORDS: bool = cfg!(target_arch = "wasm32");

/// Whether both are the same bytes.
#[inline(always)]
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    if IN_WORDS { equal_in_words(left, right) } else { left == right }
}

/// The order of two texts, by unsigned bytes.
#[inline(always)]
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    if IN_WORDS { compare_in_words(left, right) } else { left.cmp(right) }
}

#[inline]
fn equal_in_words(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (mut left, mut right) = (left.chunks_exact(8), right.chunks_exact(8));
    left.by_ref().zip(right.by_ref()).all(|(left, right)| big_endian(left) == big_endian(right))
        && left.remainder().iter().zip(right.remainder()).all(|(left, right)| left == right)
}

#[inline]
fn compare_in_words(left: &[u8], right: &[u8]) -> Ordering {
    let words = left.chunks_exact(8).zip(right.chunks_exact(8));
    let mut common = 0;
    for (left_word, right_word) in words {
        let [left_word, right_word] = [left_word, right_word].map(big_endian);
        if left_word != right_word {
            return left_word.cmp(&right_word);
        }
        common += 8;
    }
    for (left, right) in left[common..].iter().zip(&right[common..]) {
        if left != right {
            return left.cmp(right);
        }
    }
    left.len().cmp(&right.len())
}

/// A word that is less than another if its bytes are.
fn big_endian(word: &[u8]) -> u64 {
    word.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_slices() {
        let mut state = 7u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 16) % below
        };
        let rounds = if cfg!(miri) { 500 } else { 50_000 };
        for _ in 0..rounds {
            let left: Vec<u8> = (0..random(30)).map(|_| random(3) as u8 * 100).collect();
            let mut right = left.clone();
            right.truncate(random(40) as usize);
            for _ in 0..random(3) {
                match random(2) {
                    0 => right.push(random(256) as u8),
                    _ => right.iter_mut().rev().take(1).for_each(|byte| *byte = 200),
                }
            }
            assert_eq!(compare_in_words(&left, &right), left.cmp(&right), "{left:?} {right:?}");
            assert_eq!(equal_in_words(&left, &right), left == right, "{left:?} {right:?}");
        }
    }
}
