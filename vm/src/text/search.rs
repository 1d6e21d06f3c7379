//! Substring search over bytes, the plain half of `string.find`.
//!
//! Candidates are found eight positions at a time by comparing the needle's first and last byte; a needle crafted
//! to defeat that makes the search change to Knuth–Morris–Pratt, so the worst case stays linear.

/// Offset of the first occurrence of `needle` in `haystack`; an empty needle is found at 0. Linear time; a needle
/// that defeats the short path costs four bytes of scratch memory per needle byte.
pub fn find_plain(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (&[first, ..], &[.., last]) = (needle, needle) else {
        return Some(0);
    };
    let reach = needle.len() - 1;
    // Work wasted on candidates that turn out false, in bytes compared.
    let mut patience = haystack.len().saturating_mul(4).saturating_add(64);
    let mut from = 0;
    loop {
        let starts = haystack.get(from..haystack.len().checked_sub(reach)?)?;
        let ends = haystack.get(from + reach..)?;
        from += find_pair(starts, first, ends, last)?;
        let candidate = &haystack[from..from + needle.len()];
        if candidate == needle {
            return Some(from);
        }
        let agreeing = candidate.iter().zip(needle).take_while(|(left, right)| left == right).count();
        match patience.checked_sub(agreeing) {
            Some(left) => patience = left,
            None => return find_by_borders(&haystack[from..], needle).map(|offset| from + offset),
        }
        from += 1;
    }
}

/// Offset of the first `byte` in `haystack`.
pub fn find_byte(haystack: &[u8], byte: u8) -> Option<usize> {
    let wanted = repeat(byte);
    let mut words = haystack.chunks_exact(8);
    let mut offset = 0;
    for word in words.by_ref() {
        let zeros = zero_bytes(load(word) ^ wanted);
        if zeros != 0 {
            return Some(offset + zeros.trailing_zeros() as usize / 8);
        }
        offset += 8;
    }
    words.remainder().iter().position(|&other| other == byte).map(|position| offset + position)
}

/// First index at which `left` holds `left_byte` and `right` holds `right_byte`; the slices are equally long.
fn find_pair(left: &[u8], left_byte: u8, right: &[u8], right_byte: u8) -> Option<usize> {
    let (left_wanted, right_wanted) = (repeat(left_byte), repeat(right_byte));
    let mut left_words = left.chunks_exact(8);
    let mut right_words = right.chunks_exact(8);
    let mut offset = 0;
    for (left_word, right_word) in left_words.by_ref().zip(right_words.by_ref()) {
        let zeros = zero_bytes(load(left_word) ^ left_wanted | load(right_word) ^ right_wanted);
        if zeros != 0 {
            return Some(offset + zeros.trailing_zeros() as usize / 8);
        }
        offset += 8;
    }
    let mut rest = left_words.remainder().iter().zip(right_words.remainder());
    rest.position(|(&left, &right)| left == left_byte && right == right_byte).map(|position| offset + position)
}

fn repeat(byte: u8) -> u64 {
    u64::from(byte) * LOW_BITS
}

fn load(word: &[u8]) -> u64 {
    word.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// Marks zero bytes by their high bit. The lowest mark is exact; marks above it may be false.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & (LOW_BITS << 7)
}

/// Knuth–Morris–Pratt: never looks at a byte of the haystack twice.
fn find_by_borders(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut borders = vec![0u32; needle.len()];
    let mut length = 0;
    for index in 1..needle.len() {
        while length > 0 && needle[index] != needle[length] {
            length = borders[length - 1] as usize;
        }
        length += usize::from(needle[index] == needle[length]);
        borders[index] = length as u32;
    }
    let mut matched = 0;
    for (index, &byte) in haystack.iter().enumerate() {
        while matched > 0 && byte != needle[matched] {
            matched = borders[matched - 1] as usize;
        }
        matched += usize::from(byte == needle[matched]);
        if matched == needle.len() {
            return Some(index + 1 - needle.len());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(haystack: &[u8], needle: &[u8]) -> Option<usize> {
        (0..=haystack.len()).find(|&start| haystack[start..].starts_with(needle))
    }

    #[test]
    fn agrees_with_naive_search() {
        let mut state = 7u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 16) % below
        };
        let rounds = if cfg!(miri) { 500 } else { 20_000 };
        for _ in 0..rounds {
            let haystack: Vec<u8> = (0..random(60)).map(|_| b'a' + random(2) as u8).collect();
            let needle: Vec<u8> = (0..random(7)).map(|_| b'a' + random(2) as u8).collect();
            assert_eq!(find_plain(&haystack, &needle), naive(&haystack, &needle), "{haystack:?} {needle:?}");
            if !needle.is_empty() {
                assert_eq!(find_by_borders(&haystack, &needle), naive(&haystack, &needle));
                assert_eq!(find_byte(&haystack, needle[0]), haystack.iter().position(|&byte| byte == needle[0]));
            }
        }
    }

    #[test]
    fn hostile_needle_is_linear() {
        let size = if cfg!(miri) { 1 << 12 } else { 1 << 20 };
        let haystack = vec![b'a'; size];
        let mut needle = vec![b'a'; size / 4];
        needle[size / 4 - 2] = b'b';
        assert_eq!(find_plain(&haystack, &needle), None);
    }
}
