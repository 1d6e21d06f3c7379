//! What is compressed comes back, by another program's decompression; tables are those of the RFC.

use miniz_oxide::inflate::decompress_to_vec;

use super::code::Code;
use super::*;

/// A pseudo-random sequence (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

#[track_caller]
fn check(input: &[u8]) -> usize {
    let out = deflate(input, usize::MAX).expect("no limit");
    assert!(decompress_to_vec(&out).is_ok_and(|back| back == input), "{} bytes come back", input.len());
    assert_eq!(deflate(input, out.len()).as_ref(), Some(&out));
    assert_eq!(deflate(input, out.len() - 1), None);
    out.len()
}

#[test]
fn what_is_compressed_comes_back() {
    let mut random = Random(1);
    for length in (0..300).chain([1000, 4095, 65_534, 65_535, 65_536, 65_537, 200_000]) {
        let noise: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let size = check(&noise);
        assert!(size <= length + length / 1000 + 16, "{size} bytes for {length} of noise");
        check(&vec![7; length]);
        // Letters of which some come far more often than others, and pieces that come again.
        let letters: Vec<u8> = (0..length).map(|_| random.below(256).trailing_zeros() as u8).collect();
        check(&letters);
        let mut text = letters[..length.min(40)].to_vec();
        while text.len() < length {
            let start = random.below(text.len());
            let end = text.len().min(start + 1 + random.below(400));
            text.extend_from_within(start..end);
            text.push(random.below(256) as u8);
        }
        check(&text);
    }
}

/// What is noted of a position has no more than sixteen bits.
#[test]
fn matches_reach_as_far_as_the_format_lets_them_wherever_they_are() {
    let mut random = Random(3);
    let noise: Vec<u8> = (0..150_000).map(|_| random.below(256) as u8).collect();
    for start in [0, 1, 30_000, 65_535, 65_536, 65_537, 100_000] {
        for (distance, is_near) in [(300, true), (DISTANCE_MAX, true), (DISTANCE_MAX + 1, false), (65_536, false)] {
            let start = start.max(distance);
            let mut input = noise[..start].to_vec();
            let alone = check(&input);
            let before = start - distance;
            input.extend_from_within(before..before + 300);
            let more = check(&input) - alone;
            assert_eq!(more < 150, is_near, "{more} bytes for 300 at {start} as {distance} before");
        }
    }
}

/// Counts like Fibonacci's numbers make the deepest trees: their codes would have over 15 bits.
#[test]
fn long_codes_are_cut() {
    let mut bytes = Vec::new();
    let (mut count, mut next) = (1usize, 1);
    for symbol in 0..23u8 {
        bytes.extend((0..count).map(|_| symbol));
        (count, next) = (next, count + next);
    }
    // So that no four bytes come again.
    let mut random = Random(2);
    for place in (1..bytes.len()).rev() {
        bytes.swap(place, random.below(place + 1));
    }
    check(&bytes[..BLOCK_SYMBOLS]);
    check(&bytes);
    let mut counts = [0; LITERALS];
    let (mut count, mut next) = (1, 1);
    for symbol in &mut counts[..30] {
        *symbol = count;
        (count, next) = (next, count + next);
    }
    for length_max in [5, 7, 15] {
        let code = Code::of_counts(&counts, length_max);
        assert!(code.lengths.iter().all(|length| usize::from(*length) <= length_max));
        let room: f64 = code.lengths[..30].iter().map(|length| 0.5f64.powi(i32::from(*length))).sum();
        assert!(room <= 1.0 && code.lengths[..30].iter().all(|length| *length > 0), "{length_max}: {room}");
    }
}

/// The tables of RFC 1951, §3.2.5.
#[test]
fn symbols_are_those_of_the_format() {
    let mut bases = Vec::new();
    for distance in 0..DISTANCE_MAX {
        let symbol = usize::from(distance_code(distance));
        let extra = (symbol / 2).saturating_sub(1);
        if symbol == bases.len() {
            bases.push(distance + 1);
        }
        assert_eq!(bases[symbol] + (distance & ((1 << extra) - 1)), distance + 1);
    }
    let expected = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12289, 16385, 24577,
    ];
    assert_eq!(bases, expected);
    let bases = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
        258,
    ];
    for (length, packed) in (3..).zip(LENGTHS) {
        let [symbol, extra, value, _] = packed.to_le_bytes();
        let most: usize = if symbol == 29 { 0 } else { (usize::from(symbol).saturating_sub(5)) / 4 };
        assert_eq!(usize::from(extra), most, "{length}");
        assert_eq!(bases[usize::from(symbol) - 1] + usize::from(value), length);
    }
}
