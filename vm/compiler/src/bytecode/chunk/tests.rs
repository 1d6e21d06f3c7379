//! Binary chunks come back as they were; anything else is refused, by the checksum or by what stands behind it.

use super::{BodyHead, CORRUPTED, HEADER, MARK, TRUNCATED, dump, length, open, seal, undump};
use crate::bytecode::encoding::{FunctionTable, StringTable};
use crate::bytecode::function::FunctionParts;
use crate::bytecode::wire::Writer;
use crate::compiler::compile;

const SOURCES: [&str; 6] = [
    "",
    "return ...",
    "local a <const>, b <close> = 1, nil; return a + 0.5, -0.0, 1 // 0, 'text', nil, true, [[a long string of more than forty bytes]]",
    "local function f(x) return function(y) return function(z) return x + y + z end end end; return f(1)(2)(3)",
    "for i = 1, 10 do for k, v in pairs(t) do t[k] = { i, v; n = #t } end end goto done; x() ::done::",
    "function t.a.b:c(...) local s <close> = f(); return self:m(...), select('#', ...) end",
];

fn compiled(source: &str) -> FunctionParts {
    compile(source.as_bytes(), b"=source").expect("a correct program")
}

#[test]
fn what_was_dumped_comes_back() {
    for source in SOURCES {
        let parts = compiled(source);
        let chunk = dump(&parts);
        let back = undump(&chunk).expect("a chunk").into_parts();
        assert_eq!(back, parts, "{source}");
        assert_eq!(dump(&back), chunk, "{source}");
    }
}

#[test]
fn a_function_with_many_long_strings_and_a_long_name() {
    let text = "x".repeat(5000);
    let source = format!("local s = '{text}'; return {}", "function() return s, '".to_owned() + &text + "' end");
    let source = format!("return {{ {} }}", format!("function() {source} end,").repeat(40));
    let parts = compile(source.as_bytes(), source.as_bytes()).expect("a correct program");
    let chunk = dump(&parts);
    assert_eq!(undump(&chunk).map(|function| function.into_parts()), Ok(parts));
    assert!(chunk.len() < source.len() * 3);
}

#[test]
fn every_start_is_truncated() {
    for source in SOURCES {
        let chunk = dump(&compiled(source));
        for end in 0..chunk.len() {
            assert_eq!(undump(&chunk[..end]).map(drop), Err(TRUNCATED), "{end} bytes of {source}");
            assert!(length(&chunk[..end]).is_none_or(|length| length == chunk.len()));
        }
        assert_eq!(length(&chunk), Some(chunk.len()));
        assert!(undump(&[&chunk[..], b"more"].concat()).is_ok());
    }
}

/// Whoever cut it off has made a checksum for what is left.
#[test]
fn every_start_of_a_body_is_truncated() {
    for source in SOURCES {
        let chunk = dump(&compiled(source));
        let opened = open(&chunk).expect("a chunk");
        for end in 0..opened.rest.len() {
            let cut = seal(opened.upvalues, &opened.rest[..end]);
            assert_eq!(undump(&cut).map(drop), Err(TRUNCATED), "{end} bytes of {source}");
        }
    }
}

#[test]
fn every_changed_bit_is_refused() {
    for source in SOURCES {
        let mut chunk = dump(&compiled(source));
        for bit in 0..chunk.len() * 8 {
            chunk[bit / 8] ^= 1 << (bit % 8);
            assert!(undump(&chunk).is_err(), "bit {bit} of {source}");
            chunk[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_wrong_header_is_told_as_in_c() {
    let chunk = dump(&compiled(""));
    let mut offset = 0;
    for (bytes, reason) in HEADER {
        for index in 0..bytes.len() {
            let mut wrong = chunk.clone();
            wrong[offset + index] ^= 1;
            assert_eq!(undump(&wrong).expect_err("a wrong header").reason, reason);
            assert_eq!(length(&wrong[..offset + bytes.len()]), Some(0));
        }
        offset += bytes.len();
    }
    let mut foreign = chunk;
    foreign[offset + 1..][..MARK.len()].copy_from_slice(b"\x80\x80\x80");
    assert_eq!(
        undump(&foreign).expect_err("foreign").to_string(),
        "bad binary format (compiled by another implementation or version)"
    );
}

#[test]
fn short_chunks_of_huge_functions_are_refused() {
    // Equal functions as one entry, as in blobs.
    let mut tree = compiled("");
    for _ in 0..12 {
        tree = FunctionParts { functions: vec![tree.clone(), tree], ..compiled("") };
    }
    let mut strings = StringTable::default();
    let mut functions = FunctionTable::default();
    functions.number(&tree, &mut strings);
    let mut body = Writer::default();
    body.put(&BodyHead { strings: strings.len(), functions: functions.len() });
    body.append(strings.out.as_bytes());
    body.append(functions.out.as_bytes());
    assert!(body.as_bytes().len() < 1000);
    assert_eq!(undump(&seal(1, body.as_bytes())).map(drop), Err(CORRUPTED));
}

/// A generator of numbers for tests: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn damaged_bodies_with_the_right_checksum_are_read_safely() {
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut random = Random(seed);
    let mut accepted = 0;
    for round in 0..20_000 {
        let chunk = dump(&compiled(SOURCES[round % SOURCES.len()]));
        let opened = open(&chunk).expect("a chunk");
        let mut body = opened.rest.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(body.len());
            match random.below(4) {
                0 => body[at] ^= 1 << random.below(8),
                1 => body[at] = random.below(256) as u8,
                2 => body.truncate(at + 1),
                _ => body.insert(at, random.below(256) as u8),
            }
        }
        if let Ok(function) = undump(&seal(opened.upvalues, &body)) {
            accepted += 1;
            let parts = function.into_parts();
            assert!(undump(&dump(&parts)).is_ok(), "round {round} of seed {seed}");
        }
    }
    assert!((100..19_000).contains(&accepted), "{accepted} were accepted");
}
