//! Binary chunks come back as they were; anything else is refused, by the checksum or by what stands behind it.

use std::rc::Rc;

use super::{BodyHead, CORRUPTED, HEADER, MARK, TRUNCATED, dump, length, open, seal, undump};
use crate::bytecode::encoding::{FunctionTable, StringTable};
use crate::bytecode::function::{Constant, FunctionParts};
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

/// The body of a chunk in which equal functions are one entry, as in blobs, and the bytes that they expand to.
fn shared(main: &FunctionParts) -> (Vec<u8>, u64) {
    let mut strings = StringTable::default();
    let mut functions = FunctionTable::default();
    functions.number(main, &mut strings);
    let mut body = Writer::default();
    body.put(&BodyHead { strings: strings.len(), functions: functions.len() });
    body.append(strings.out.as_bytes());
    body.append(functions.out.as_bytes());
    (body.as_bytes().to_vec(), expanded_bytes(main))
}

/// What a function takes with all functions inside it, by the same sizes as the reader's.
fn expanded_bytes(parts: &FunctionParts) -> u64 {
    let constants = parts.constants.iter().map(|constant| match constant {
        Constant::String(text) => 72 + text.len(),
        _ => 24,
    });
    let upvalues = parts.upvalues.iter().map(|upvalue| 24 + upvalue.name.len());
    let locals = parts.locals.iter().map(|local| 32 + local.name.len());
    let own = 192 + 4 * parts.code.len() + 8 * parts.lines.len();
    let own = own + constants.chain(upvalues).chain(locals).sum::<usize>();
    own as u64 + parts.functions.iter().map(expanded_bytes).sum::<u64>()
}

#[test]
fn short_chunks_of_huge_functions_are_refused() {
    let mut tree = compiled("");
    for _ in 0..12 {
        tree = FunctionParts { functions: vec![tree.clone(), tree], ..compiled("") };
    }
    let (body, _) = shared(&tree);
    assert!(body.len() < 1000);
    assert_eq!(undump(&seal(1, &body)).map(drop), Err(CORRUPTED));
}

/// A longer constant makes the body and what it expands to longer, a longer name of the chunk only the body.
#[test]
fn functions_may_take_sixty_four_times_their_chunk() {
    let with = |constant: usize, name: usize| {
        let name: Rc<[u8]> = vec![b'n'; name].into();
        let leaf = FunctionParts { chunk_name: name.clone(), ..compiled("return") };
        let constants = vec![Constant::String(vec![b'c'; constant][..].into())];
        let functions = vec![leaf; 200];
        shared(&FunctionParts { chunk_name: name, constants, functions, ..compiled("return") })
    };
    // Lengths of two bytes each, whose own lengths do not change.
    let (body, expanded) = with(200, 200);
    let constant = 200 + (64 - expanded % 64) as usize;
    let (_, expanded) = with(constant, 200);
    let (shorter, _) = with(constant, 200);
    let name = 200 + (expanded / 64) as usize - shorter.len();
    assert!(body.len() < shorter.len() && name < 10_000);
    for (name, is_refused) in [(name - 1, true), (name, false), (name + 1, false)] {
        let (body, expanded) = with(constant, name);
        assert_eq!(expanded > 64 * body.len() as u64, is_refused);
        let read = undump(&seal(1, &body));
        assert_eq!(read.is_err(), is_refused, "{read:?}");
    }
    assert_eq!(with(constant, name).0.len() as u64 * 64, expanded);
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
