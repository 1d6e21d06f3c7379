//! The envelope around a payload, version 1. Integers are little endian.
//!
//! ```text
//!   0  4  magic: ESC "CuF" for a function blob, ESC "CuI" for an image
//!   4  1  format version: 1, or 2 for a function blob with coroutines
//!   5  1  flags: bit 0 = the payload is deflated; the others are zero
//!   6  4  length of the payload before compression
//!  10  n  payload
//!   …  8  xxHash64 of everything before it
//! ```
//!
//! Inflating stops at the declared length, which is checked against the limit first, so a small blob cannot take much memory.

use std::cell::RefCell;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use xxhash_rust::xxh64::xxh64;

use crate::deflate::deflate;
use crate::error::{CorruptKind, Error, Result};
use crate::limits::Limits;

/// The version of the format that this crate writes.
pub const FORMAT_VERSION: u8 = 1;

/// The version of a function blob that holds coroutines; others are written as version 1, which older programs read.
pub(crate) const COROUTINES_VERSION: u8 = 2;

/// The version of one that holds userdata.
pub(crate) const USERDATA_VERSION: u8 = 3;

/// The highest version of a function blob that this build reads.
pub(crate) const BLOB_VERSION_MAX: u8 = if HAS_COROUTINES { USERDATA_VERSION } else { FORMAT_VERSION };

/// Whether function blobs may hold coroutines and userdata.
pub(crate) const HAS_COROUTINES: bool = cfg!(feature = "coroutines");

const FLAG_DEFLATED: u8 = 1;
const HEADER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 8;

/// Payloads up to this size are not deflated unless the caller says so.
pub(crate) const UNCOMPRESSED_MAX: usize = 1024;

/// How many bytes one byte of deflate may stand for, at most.
const INFLATION_MAX: usize = 1032;

/// Wraps a payload; deflates it if it is over `uncompressed_max` bytes and that saves at least a tenth.
pub(crate) fn seal(
    magic: [u8; 4],
    version: u8,
    payload: &[u8],
    limits: &Limits,
    uncompressed_max: usize,
) -> Result<Vec<u8>> {
    let length = match u32::try_from(payload.len()) {
        Ok(length) if payload.len() <= limits.payload_bytes => length,
        _ => {
            return Err(Error::Limit { what: "payload size" });
        }
    };
    let deflated = if payload.len() > uncompressed_max { deflate(payload, payload.len() / 10 * 9) } else { None };
    let (flags, body) = match &deflated {
        Some(deflated) => (FLAG_DEFLATED, &deflated[..]),
        None => (0, payload),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len() + CHECKSUM_BYTES);
    out.extend_from_slice(&magic);
    out.extend_from_slice(&[version, flags]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
    let checksum = xxh64(&out, 0);
    out.extend_from_slice(&checksum.to_le_bytes());
    Ok(out)
}

/// Bytes in the format of deflate (RFC 1951).
pub fn compress_bytes(bytes: &[u8]) -> Vec<u8> {
    deflate(bytes, usize::MAX).expect("no limit")
}

/// What [`compress_bytes`] was given; `None` when the bytes are damaged or there is more than `length_max`.
pub fn decompress_bytes(bytes: &[u8], length_max: usize) -> Option<Vec<u8>> {
    decompress_to_vec_with_limit(bytes, length_max).ok()
}

/// Checks an envelope, whose version may be up to `version_max`, and returns its version and payload.
pub(crate) fn open(magic: [u8; 4], version_max: u8, bytes: &[u8], limits: &Limits) -> Result<(u8, Vec<u8>)> {
    let corrupt = |kind, offset| Err(Error::corrupt(kind, offset));
    if !bytes.starts_with(&magic) {
        return corrupt(if magic.starts_with(bytes) { CorruptKind::Truncated } else { CorruptKind::Magic }, 0);
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return corrupt(CorruptKind::Truncated, bytes.len());
    };
    let [_, _, _, _, version, flags, length @ ..] = *header;
    if version == 0 || version > version_max {
        return Err(Error::Version { found: version });
    }
    let Some((body, checksum)) = rest.split_last_chunk::<CHECKSUM_BYTES>() else {
        return corrupt(CorruptKind::Truncated, bytes.len());
    };
    let covered = HEADER_BYTES + body.len();
    if xxh64(&bytes[..covered], 0) != u64::from_le_bytes(*checksum) {
        return corrupt(CorruptKind::Checksum, covered);
    }
    if flags & !FLAG_DEFLATED != 0 {
        return corrupt(CorruptKind::Flags, 5);
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > limits.payload_bytes {
        return Err(Error::Limit { what: "payload size" });
    }
    if flags & FLAG_DEFLATED == 0 {
        return if body.len() == length { Ok((version, body.to_vec())) } else { corrupt(CorruptKind::Truncated, 6) };
    }
    match inflate(body, length) {
        Some(payload) => Ok((version, payload)),
        None => corrupt(CorruptKind::Compression, HEADER_BYTES),
    }
}

/// Exactly `length` bytes. Nothing is allocated for more than the input can stand for.
#[inline(never)]
fn inflate(input: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > input.len().saturating_mul(INFLATION_MAX) {
        return None;
    }
    let mut out = vec![0; length];
    let (status, _, written) = DECOMPRESSOR.with_borrow_mut(|state| {
        state.init();
        decompress(state, input, &mut out, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF)
    });
    (status == TINFLStatus::Done && written == length).then_some(out)
}

thread_local! {
    /// Clearing the tables of a new one takes a while; what was inflated before makes no difference.
    static DECOMPRESSOR: RefCell<Box<DecompressorOxide>> = RefCell::default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::MAGIC;

    /// Bytes that have so many random bits each.
    fn noise(count: usize, bits: u32) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> (64 - bits)) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn bytes_of_any_kind_are_compressed_and_come_back() {
        let noise: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for bytes in [&b""[..], b"a", &[7; 300_000], &noise] {
            let compressed = compress_bytes(bytes);
            assert!(compressed.len() <= bytes.len() + bytes.len() / 1000 + 16);
            assert_eq!(decompress_bytes(&compressed, bytes.len()).as_deref(), Some(bytes));
            if !bytes.is_empty() {
                assert_eq!(decompress_bytes(&compressed, bytes.len() - 1), None);
                assert_eq!(decompress_bytes(&compressed[..compressed.len() - 1], bytes.len()), None);
            }
        }
    }

    #[test]
    fn payloads_are_deflated_over_the_size_that_is_asked_for() {
        let payload = [7; 500];
        let lengths = [0, 499, 500, usize::MAX].map(|max| {
            let sealed = seal(MAGIC, 1, &payload, &Limits::default(), max).unwrap();
            assert_eq!(open(MAGIC, 1, &sealed, &Limits::default()).unwrap().1, payload);
            sealed.len()
        });
        assert!(lengths[0] < 100 && lengths[1] < 100 && lengths[2] > 500 && lengths[3] > 500, "{lengths:?}");
    }

    #[test]
    fn short_payloads_stay_as_they_are() {
        let sealed = seal(MAGIC, 1, b"payload", &Limits::default(), UNCOMPRESSED_MAX).unwrap();
        assert_eq!(sealed.len(), HEADER_BYTES + 7 + CHECKSUM_BYTES);
        assert_eq!(open(MAGIC, 1, &sealed, &Limits::default()).unwrap().1, b"payload");
    }

    #[test]
    fn long_payloads_are_deflated_when_that_pays() {
        let repetitive = vec![7; 100_000];
        let sealed = seal(MAGIC, 1, &repetitive, &Limits::default(), UNCOMPRESSED_MAX).unwrap();
        assert!(sealed.len() < 1_000);
        assert_eq!(open(MAGIC, 1, &sealed, &Limits::default()).unwrap().1, repetitive);
        let noise = noise(5_000, 8);
        assert_eq!(
            seal(MAGIC, 1, &noise, &Limits::default(), UNCOMPRESSED_MAX).unwrap().len(),
            HEADER_BYTES + 5_000 + CHECKSUM_BYTES
        );
    }

    /// A stream that inflates to more than it declares stops at the declared length.
    #[test]
    fn a_bomb_is_refused() {
        let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 64 << 20], 6);
        assert!(bomb.len() < 70_000);
        for (declared, limit) in [(100u32, 1 << 20), (1 << 20, 1 << 20), (64 << 20, 1 << 20)] {
            let mut out = MAGIC.to_vec();
            out.extend_from_slice(&[FORMAT_VERSION, FLAG_DEFLATED]);
            out.extend_from_slice(&declared.to_le_bytes());
            out.extend_from_slice(&bomb);
            out.extend_from_slice(&xxh64(&out, 0).to_le_bytes());
            let limits = Limits { payload_bytes: limit, ..Limits::default() };
            let error = open(MAGIC, 1, &out, &limits).unwrap_err();
            assert_eq!(error.code(), if declared as usize > limit { "limit" } else { "corrupt" });
        }
    }

    #[test]
    fn no_room_is_made_for_more_than_a_stream_can_stand_for() {
        let compressed = compress_bytes(&[7; 100_000]);
        assert_eq!(inflate(&compressed, 100_000), Some(vec![7; 100_000]));
        assert_eq!(inflate(&compressed, usize::MAX), None);
    }

    #[test]
    fn versions_and_flags_of_the_future_are_refused() {
        let mut sealed = seal(MAGIC, 1, b"payload", &Limits::default(), UNCOMPRESSED_MAX).unwrap();
        sealed[4] = 2;
        assert_eq!(open(MAGIC, 1, &sealed, &Limits::default()), Err(Error::Version { found: 2 }));
        sealed[4] = 1;
        sealed[5] = 2;
        let covered = sealed.len() - CHECKSUM_BYTES;
        let checksum = xxh64(&sealed[..covered], 0).to_le_bytes();
        sealed[covered..].copy_from_slice(&checksum);
        assert!(matches!(
            open(MAGIC, 1, &sealed, &Limits::default()),
            Err(Error::Corrupt { kind: CorruptKind::Flags, .. })
        ));
    }

    #[test]
    fn a_payload_may_have_as_many_bytes_as_the_limit_says() {
        let with = |payload_bytes| {
            let limits = Limits { payload_bytes, ..Limits::default() };
            seal(MAGIC, 1, &[7; 300], &limits, UNCOMPRESSED_MAX).map(|sealed| open(MAGIC, 1, &sealed, &limits))
        };
        assert_eq!(with(300), Ok(Ok((1, vec![7; 300]))));
        assert_eq!(with(299), Err(Error::Limit { what: "payload size" }));
        let sealed = seal(MAGIC, 1, &[7; 300], &Limits::default(), 0).unwrap();
        let limits = Limits { payload_bytes: 299, ..Limits::default() };
        assert_eq!(open(MAGIC, 1, &sealed, &limits), Err(Error::Limit { what: "payload size" }));
    }

    /// Half of each byte is noise, so deflate takes a little over half of them.
    #[test]
    fn a_payload_is_deflated_when_a_tenth_is_saved() {
        let noise = noise(5_000, 4);
        let sealed = seal(MAGIC, 1, &noise, &Limits::default(), UNCOMPRESSED_MAX).unwrap();
        assert!(sealed.len() < 4_500, "{}", sealed.len());
        assert_eq!(open(MAGIC, 1, &sealed, &Limits::default()).unwrap().1, noise);
    }

    #[test]
    fn the_beginning_of_an_envelope_is_a_short_one() {
        let sealed = seal(MAGIC, 1, b"payload", &Limits::default(), UNCOMPRESSED_MAX).unwrap();
        for end in 0..sealed.len() {
            let Err(Error::Corrupt { kind, .. }) = open(MAGIC, 1, &sealed[..end], &Limits::default()) else {
                panic!("{end} bytes are no envelope");
            };
            let expected =
                if end < HEADER_BYTES + CHECKSUM_BYTES { CorruptKind::Truncated } else { CorruptKind::Checksum };
            assert_eq!(kind, expected, "{end}");
        }
        for bytes in [&b"x"[..], b"\x1bCuX", b"\x1bCx", b"\x1bCuXrest"] {
            let is_foreign = |kind| matches!(kind, Err(Error::Corrupt { kind: CorruptKind::Magic, offset: 0, .. }));
            assert!(is_foreign(open(MAGIC, 1, bytes, &Limits::default())), "{bytes:?}");
        }
    }
}
