//! Prefix codes: how many bits each symbol gets, what they are, and how a block says so.

use super::{DISTANCES, LITERALS};

/// Bits, the lowest of each byte first.
pub(super) struct Bits {
    pub bytes: Vec<u8>,
    waiting: u64,
    count: u32,
}

impl Bits {
    /// No bits, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Bits {
        Bits { bytes: Vec::with_capacity(bytes), waiting: 0, count: 0 }
    }

    /// Appends the lowest `count` bits of a number that has no others; at most 32.
    #[inline]
    pub fn put(&mut self, bits: u32, count: u32) {
        self.waiting |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.waiting as u32).to_le_bytes());
            self.waiting >>= 32;
            self.count -= 32;
        }
    }

    /// Begins a run of so many bits, whose place is made at once.
    pub fn run(&mut self, bits: u64) -> Run<'_> {
        let place = self.bytes.len();
        self.bytes.resize(place + (u64::from(self.count) + bits) as usize / 32 * 4, 0);
        let Bits { bytes, waiting, count } = self;
        Run {
            waiting: *waiting,
            count: *count,
            places: bytes[place..].as_chunks_mut().0.iter_mut(),
            rest: (waiting, count),
        }
    }

    /// Goes on to the next byte.
    pub fn align(&mut self) {
        while self.count > 0 {
            self.bytes.push(self.waiting as u8);
            self.waiting >>= 8;
            self.count = self.count.saturating_sub(8);
        }
    }
}

/// Many bits that are written one after the other, as many as were said.
pub(super) struct Run<'a> {
    waiting: u64,
    count: u32,
    places: std::slice::IterMut<'a, [u8; 4]>,
    /// Where the bits go that are left at the end.
    rest: (&'a mut u64, &'a mut u32),
}

impl Run<'_> {
    /// As [`Bits::put`].
    #[inline]
    pub fn put(&mut self, bits: u32, count: u32) {
        self.waiting |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            *self.places.next().expect("the run has a place for all its bits") = (self.waiting as u32).to_le_bytes();
            self.waiting >>= 32;
            self.count -= 32;
        }
    }

    pub fn end(self) {
        let (waiting, count) = self.rest;
        (*waiting, *count) = (self.waiting, self.count);
    }
}

/// The order in which the lengths of the code for code lengths are written.
const LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A prefix code of up to `N` symbols.
pub(super) struct Code<const N: usize> {
    /// Each symbol's bits as they are written, above them their number.
    bits: [u32; N],
    /// The numbers of bits; 0 for a symbol without any.
    pub lengths: [u8; N],
}

impl<const N: usize> Code<N> {
    /// The code for symbols that come so often, with no more than `length_max` bits.
    pub fn of_counts(counts: &[u32; N], length_max: usize) -> Code<N> {
        let mut used = [0u64; N];
        let mut count = 0;
        for (symbol, times) in counts.iter().enumerate().filter(|(_, times)| **times > 0) {
            used[count] = u64::from(*times) << 16 | symbol as u64;
            count += 1;
        }
        let used = &mut used[..count];
        sort(used);
        let mut lengths = [0; N];
        match used {
            [] => {}
            [only] => lengths[(*only & 0xffff) as usize] = 1,
            used => {
                let mut numbers = numbers_of_lengths(used, length_max);
                let mut length = length_max;
                for symbol in used.iter() {
                    while numbers[length] == 0 {
                        length -= 1;
                    }
                    numbers[length] -= 1;
                    lengths[(*symbol & 0xffff) as usize] = length as u8;
                }
            }
        }
        Code::of_lengths(lengths)
    }

    /// The canonical code with these lengths.
    pub fn of_lengths(lengths: [u8; N]) -> Code<N> {
        let mut numbers = [0u16; 16];
        lengths.iter().filter(|length| **length > 0).for_each(|length| numbers[usize::from(*length & 15)] += 1);
        let mut next = [0u16; 16];
        for length in 1..16 {
            next[length] = (next[length - 1] + numbers[length - 1]) << 1;
        }
        let mut bits = [0; N];
        for (bits, &length) in bits.iter_mut().zip(&lengths).filter(|(_, length)| **length > 0) {
            let next = &mut next[usize::from(length & 15)];
            *bits = u32::from(next.reverse_bits() >> (16 - length)) | u32::from(length) << 16;
            *next = next.wrapping_add(1);
        }
        Code { bits, lengths }
    }

    /// A symbol's bits, and their number.
    #[inline]
    pub fn of(&self, symbol: u32) -> (u32, u32) {
        let bits = self.bits[symbol as usize];
        (bits & 0xffff, bits >> 16)
    }
}

/// Byte by byte, the lowest one of the counts first.
fn sort(used: &mut [u64]) {
    let mut sorted = [0; LITERALS];
    let sorted = &mut sorted[..used.len()];
    let bits = used.iter().fold(0, |all, number| all | number);
    for bit in (16..48).step_by(8).take_while(|bit| bits >> bit > 0) {
        place_by(bit, used, sorted);
        used.copy_from_slice(sorted);
    }
}

/// Places numbers in the order of the byte at this bit; equal ones stay in their order.
fn place_by(bit: u32, numbers: &[u64], sorted: &mut [u64]) {
    let byte = |number: u64| (number >> bit & 0xff) as usize;
    let mut places = [0u16; 256];
    for number in numbers {
        places[byte(*number)] += 1;
    }
    let mut before = 0;
    for place in &mut places {
        before += std::mem::replace(place, before);
    }
    for number in numbers {
        let place = &mut places[byte(*number)];
        sorted[usize::from(*place)] = *number;
        *place += 1;
    }
}

/// How many symbols have a code of each length, by Huffman's method, for symbols in the order of how often they come (the upper bits); none
/// longer than `length_max`.
fn numbers_of_lengths(used: &[u64], length_max: usize) -> [u32; 33] {
    // Nodes: the symbols, then their parents in the order in which they are made, which is that of their weights.
    let count = used.len();
    let mut weights = [0u64; 2 * LITERALS];
    let mut parents = [0u16; 2 * LITERALS];
    for (weight, symbol) in weights.iter_mut().zip(used) {
        *weight = symbol >> 16;
    }
    let (mut leaf, mut inner) = (0, count);
    for node in count..2 * count - 1 {
        let mut lightest = || {
            let place =
                if leaf < count && (inner == node || weights[leaf] <= weights[inner]) { &mut leaf } else { &mut inner };
            *place += 1;
            *place - 1
        };
        let (one, other) = (lightest(), lightest());
        weights[node] = weights[one] + weights[other];
        parents[one] = node as u16;
        parents[other] = node as u16;
    }
    // Depths, from the root down; kept where the weights were.
    let mut numbers = [0u32; 33];
    weights[2 * count - 2] = 0;
    for node in (0..2 * count - 2).rev() {
        weights[node] = weights[usize::from(parents[node])] + 1;
        if node < count {
            numbers[(weights[node] as usize).min(length_max)] += 1;
        }
    }
    // Codes that were cut leave too little room: a shorter one becomes two longer ones until all fit.
    let mut room: u32 = (1..=length_max).map(|length| numbers[length] << (length_max - length)).sum();
    while room > 1 << length_max {
        numbers[length_max] -= 1;
        let length = (1..length_max).rev().find(|length| numbers[*length] > 0).unwrap_or(1);
        numbers[length] -= 1;
        numbers[length + 1] += 2;
        room -= 1;
    }
    numbers
}

/// The lengths of a block's codes, as they are written in front of it.
pub(super) struct Header {
    literals: usize,
    distances: usize,
    /// Symbol and value of its extra bits.
    symbols: Vec<(u8, u8)>,
    /// Of nineteen symbols; with room for more it is of a type that there is anyway.
    code: Code<DISTANCES>,
    /// How many lengths of the code are written.
    lengths: usize,
    /// How many bits it takes.
    pub bits: u64,
}

impl Header {
    pub fn new(literals: &Code<LITERALS>, distances: &Code<DISTANCES>) -> Header {
        let used = |lengths: &[u8], least: usize| {
            lengths.iter().rposition(|length| *length > 0).map_or(least, |last| (last + 1).max(least))
        };
        let (literal_count, distance_count) = (used(&literals.lengths, 257), used(&distances.lengths, 1));
        let mut all = [0u8; LITERALS + DISTANCES];
        all[..literal_count].copy_from_slice(&literals.lengths[..literal_count]);
        all[literal_count..literal_count + distance_count].copy_from_slice(&distances.lengths[..distance_count]);
        let mut symbols = Vec::with_capacity(LITERALS + DISTANCES);
        let mut rest = &all[..literal_count + distance_count];
        while let Some((&length, _)) = rest.split_first() {
            let run = rest.iter().take_while(|other| **other == length).count();
            let taken = match (length, run) {
                (0, 11..) => {
                    symbols.push((18, (run.min(138) - 11) as u8));
                    run.min(138)
                }
                (0, 3..) => {
                    symbols.push((17, (run - 3) as u8));
                    run
                }
                // The length itself, then how often it comes again.
                (_, 4..) => {
                    symbols.push((length, 0));
                    symbols.push((16, ((run - 1).min(6) - 3) as u8));
                    (run - 1).min(6) + 1
                }
                _ => {
                    symbols.push((length, 0));
                    1
                }
            };
            rest = &rest[taken..];
        }
        let mut counts = [0; DISTANCES];
        symbols.iter().for_each(|(symbol, _)| counts[usize::from(*symbol)] += 1);
        let code = Code::of_counts(&counts, 7);
        let lengths =
            LENGTH_ORDER.iter().rposition(|symbol| code.lengths[*symbol] > 0).map_or(4, |last| (last + 1).max(4));
        let of_symbol =
            |(count, symbol): (&u32, u8)| count * (u32::from(code.lengths[usize::from(symbol)]) + Self::extra(symbol));
        let bits = 14 + 3 * lengths as u64 + u64::from(counts.iter().zip(0..).map(of_symbol).sum::<u32>());
        Header { literals: literal_count, distances: distance_count, symbols, code, lengths, bits }
    }

    fn extra(symbol: u8) -> u32 {
        match symbol {
            16 => 2,
            17 => 3,
            18 => 7,
            _ => 0,
        }
    }

    pub fn put(&self, out: &mut Bits) {
        let mut run = out.run(self.bits);
        run.put((self.literals - 257) as u32, 5);
        run.put((self.distances - 1) as u32, 5);
        run.put((self.lengths - 4) as u32, 4);
        LENGTH_ORDER[..self.lengths].iter().for_each(|symbol| run.put(u32::from(self.code.lengths[*symbol]), 3));
        for &(symbol, value) in &self.symbols {
            let (bits, count) = self.code.of(symbol.into());
            run.put(bits | u32::from(value) << count, count + Self::extra(symbol));
        }
        run.end();
    }
}
