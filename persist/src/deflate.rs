//! Compression to deflate (RFC 1951), made for speed: blobs and images are written often.
//!
//! One table remembers, for each hash of four bytes, where they stood last; a match is taken as it is found. A block's symbols are collected
//! and counted, then written with the shortest of the three kinds of block. What comes out depends on the input alone, the same on
//! every platform.

mod code;
#[cfg(test)]
mod tests;

use code::{Bits, Code, Header};

/// Symbols of a block: enough to be worth a code of their own.
const BLOCK_SYMBOLS: usize = 16 * 1024;

/// Bytes from one block to the next, so that a stored block can hold them.
const BLOCK_BYTES: usize = 0xffff;

const DISTANCE_MAX: usize = 32 * 1024;
const MATCH_MIN: usize = 4;
const MATCH_MAX: usize = 258;

/// How many bits of hash the table has for a long input. A short one takes fewer, which are cleared sooner.
const HASH_BITS_MAX: u32 = 15;
const HASH_BITS_MIN: u32 = 10;

/// Ends a block.
const END: usize = 256;
/// How many symbols there are for literals and lengths, and for distances. The last two of each are never used.
const LITERALS: usize = 288;
const DISTANCES: usize = 32;

/// What a match's length is written as, from 3 on: symbol above 256, in the next bytes the number of extra bits and their value.
const LENGTHS: [u32; 256] = lengths();
/// The symbol of a distance: of those up to 256 (less one), then of every 128th.
const DISTANCE_SYMBOLS: [u8; 512] = distance_symbols();

/// The lengths of the codes that need no header.
const FIXED_LITERALS: [u8; LITERALS] = fixed_literals();
const FIXED_DISTANCES: [u8; DISTANCES] = [5; DISTANCES];

const fn fixed_literals() -> [u8; LITERALS] {
    let mut lengths = [8; LITERALS];
    let mut symbol = 144;
    while symbol < 280 {
        lengths[symbol] = if symbol < END { 9 } else { 7 };
        symbol += 1;
    }
    lengths
}

const fn lengths() -> [u32; 256] {
    let mut table = [0; 256];
    let mut length = 0u32;
    while length < 256 {
        table[length as usize] = if length < 8 {
            length + 1
        } else if length == 255 {
            29
        } else {
            let extra = length.ilog2() - 2;
            let symbol = 4 * (extra + 1) + ((length >> extra) & 3) + 1;
            symbol | extra << 8 | (length & ((1 << extra) - 1)) << 16
        };
        length += 1;
    }
    table
}

/// For a distance less one.
const fn distance_symbol(distance: usize) -> u8 {
    if distance < 4 {
        return distance as u8;
    }
    let extra = distance.ilog2() - 1;
    (2 * extra as usize + (distance >> extra)) as u8
}

const fn distance_symbols() -> [u8; 512] {
    let mut table = [0; 512];
    let mut index = 0;
    while index < 256 {
        table[index] = distance_symbol(index);
        table[256 + index] = distance_symbol(index << 7);
        index += 1;
    }
    table
}

/// The symbol of a distance less one.
#[inline]
fn distance_code(distance: usize) -> u8 {
    let index = if distance < 256 { distance } else { 256 + (distance >> 7) };
    DISTANCE_SYMBOLS[index & 511]
}

/// Bytes in the format of deflate; `None` if that takes more than `length_max` bytes.
// Its tables would be on the stack at each level of a nested document whose functions are saved.
#[inline(never)]
pub(crate) fn deflate(input: &[u8], length_max: usize) -> Option<Vec<u8>> {
    let mut out = Bits::with_capacity(length_max.min(input.len() / 2) + 64);
    let mut matches = Matches::new(input);
    let mut block = Block::new(input.len());
    loop {
        let start = matches.position;
        matches.fill(&mut block);
        let is_last = matches.position == input.len();
        block.write(&input[start..matches.position], is_last, &mut out);
        if out.bytes.len() > length_max {
            return None;
        }
        if is_last {
            break;
        }
        block.clear();
    }
    out.align();
    (out.bytes.len() <= length_max).then_some(out.bytes)
}

/// Where four bytes stood last.
struct Matches<'a> {
    input: &'a [u8],
    position: usize,
    /// Positions by hash, modulo 65,536.
    table: Vec<u16>,
    shift: u32,
}

impl<'a> Matches<'a> {
    fn new(input: &'a [u8]) -> Self {
        // About half as many places as bytes: most positions are inside matches.
        let bits = (usize::BITS - input.len().leading_zeros()).saturating_sub(1).clamp(HASH_BITS_MIN, HASH_BITS_MAX);
        Matches { input, position: 0, table: vec![0; 1 << bits], shift: 32 - bits }
    }

    /// Collects a block's symbols from here on.
    #[inline(never)]
    fn fill(&mut self, block: &mut Block) {
        let (input, shift, table) = (self.input, self.shift, &mut self.table[..]);
        // Notes that these four bytes stand here, and gives what was noted before.
        let mut note = |four: u32, position: usize| {
            let slot = &mut table[(four.wrapping_mul(0x9e37_79b1) >> shift) as usize];
            std::mem::replace(slot, position as u16)
        };
        let end = input.len().min(self.position + BLOCK_BYTES);
        let mut position = self.position;
        let mut room = BLOCK_SYMBOLS - block.symbols.len();
        while position < end && room > 0 {
            room -= 1;
            let Some(ahead) = eight(input, position) else {
                // Nearly at the end of the input.
                block.literal(input[position]);
                position += 1;
                continue;
            };
            // Nothing noted, or noted long ago, is a place like any other: what stands there is compared.
            let distance = usize::from((position as u16).wrapping_sub(note(ahead as u32, position)));
            let before = position.wrapping_sub(distance);
            let length = match eight(input, before) {
                Some(behind) if behind as u32 == ahead as u32 && distance.wrapping_sub(1) < DISTANCE_MAX => {
                    let length_max = (end - position).min(MATCH_MAX);
                    match behind ^ ahead {
                        0 => common(&input[before..], &input[position..position + length_max]),
                        difference => (difference.trailing_zeros() as usize / 8).min(length_max),
                    }
                }
                _ => 0,
            };
            if length < MATCH_MIN {
                block.literal(ahead as u8);
                position += 1;
                continue;
            }
            block.found(length, distance);
            position += length;
            // What begins just before the end of a match is likely to come again.
            if let Some(bytes) = eight(input, position - 2) {
                note(bytes as u32, position - 2);
            }
        }
        self.position = position;
    }
}

/// The eight bytes at this position, if there are so many.
#[inline]
fn eight(input: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*input.get(position..)?.first_chunk::<8>()?))
}

/// How many bytes both begin with; `ahead` ends first or at the same place.
#[inline]
fn common(behind: &[u8], ahead: &[u8]) -> usize {
    let behind = &behind[..ahead.len()];
    let (behind_words, _) = behind.as_chunks::<8>();
    let (ahead_words, _) = ahead.as_chunks::<8>();
    let mut length = 0;
    for (one, other) in behind_words.iter().zip(ahead_words) {
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return length + difference.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + behind[length..].iter().zip(&ahead[length..]).take_while(|(one, other)| one == other).count()
}

/// The symbols of a block, and how often each comes.
struct Block {
    /// A literal, or [`MATCH`], the distance's symbol in five bits, the length in eight and the distance in fifteen.
    symbols: Vec<u32>,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
}

const MATCH: u32 = 1 << 31;

impl Block {
    fn new(bytes: usize) -> Block {
        let symbols = Vec::with_capacity(bytes.min(BLOCK_SYMBOLS));
        Block { symbols, literals: [0; LITERALS], distances: [0; DISTANCES] }
    }

    fn clear(&mut self) {
        self.symbols.clear();
        self.literals = [0; LITERALS];
        self.distances = [0; DISTANCES];
    }

    #[inline]
    fn literal(&mut self, byte: u8) {
        self.symbols.push(u32::from(byte));
        self.literals[usize::from(byte)] += 1;
    }

    #[inline]
    fn found(&mut self, length: usize, distance: usize) {
        let (length, distance) = (length - 3, distance - 1);
        let code = distance_code(distance);
        self.symbols.push(MATCH | u32::from(code) << 24 | (length as u32) << 16 | distance as u32);
        self.literals[END + (LENGTHS[length & 255] & 0xff) as usize] += 1;
        self.distances[usize::from(code)] += 1;
    }

    /// Writes the block, which stands for these bytes, in the shortest way.
    fn write(&mut self, bytes: &[u8], is_last: bool, out: &mut Bits) {
        self.literals[END] = 1;
        let literals = Code::of_counts(&self.literals, 15);
        let distances = Code::of_counts(&self.distances, 15);
        let header = Header::new(&literals, &distances);
        let dynamic = header.bits + self.bits(&literals.lengths, &distances.lengths);
        let fixed = self.bits(&FIXED_LITERALS, &FIXED_DISTANCES);
        let stored = 40 + bytes.len() as u64 * 8;
        out.put(u32::from(is_last), 1);
        if stored < dynamic.min(fixed) {
            out.put(0, 2);
            out.align();
            let length = bytes.len() as u16;
            out.bytes.extend_from_slice(&length.to_le_bytes());
            out.bytes.extend_from_slice(&(!length).to_le_bytes());
            out.bytes.extend_from_slice(bytes);
        } else if fixed < dynamic {
            out.put(1, 2);
            self.put_symbols(&Code::of_lengths(FIXED_LITERALS), &Code::of_lengths(FIXED_DISTANCES), fixed, out);
        } else {
            out.put(2, 2);
            header.put(out);
            self.put_symbols(&literals, &distances, dynamic - header.bits, out);
        }
    }

    /// How many bits the symbols take in codes with these lengths.
    fn bits(&self, literals: &[u8], distances: &[u8]) -> u64 {
        let sum = |counts: &[u32], lengths: &[u8]| -> u64 {
            counts.iter().zip(lengths).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum()
        };
        sum(&self.literals, literals) + sum(&self.distances, distances) + self.extra_bits()
    }

    fn extra_bits(&self) -> u64 {
        let lengths = (8..28usize).map(|symbol| u64::from(self.literals[END + 1 + symbol]) * (symbol as u64 / 4 - 1));
        let distances = (4..DISTANCES).map(|symbol| u64::from(self.distances[symbol]) * (symbol as u64 / 2 - 1));
        lengths.sum::<u64>() + distances.sum::<u64>()
    }

    /// Writes the symbols in these codes, in which they take so many bits.
    fn put_symbols(&self, literals: &Code<LITERALS>, distances: &Code<DISTANCES>, bits: u64, out: &mut Bits) {
        let mut run = out.run(bits);
        for &symbol in &self.symbols {
            if symbol & MATCH == 0 {
                let (bits, count) = literals.of(symbol & 0xff);
                run.put(bits, count);
                continue;
            }
            // Each symbol with its extra bits.
            let length = LENGTHS[(symbol >> 16 & 255) as usize];
            let (bits, count) = literals.of(END as u32 + (length & 0x1f));
            run.put(bits | length >> 16 << count, count + (length >> 8 & 0xff));
            let code = symbol >> 24 & 0x1f;
            let (bits, count) = distances.of(code);
            let extra = (code / 2).saturating_sub(1);
            run.put(bits | (symbol & 0x7fff & ((1 << extra) - 1)) << count, count + extra);
        }
        let (bits, count) = literals.of(END as u32);
        run.put(bits, count);
        run.end();
    }
}
