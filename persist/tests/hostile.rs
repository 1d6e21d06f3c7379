//! Damaged and malicious blobs: an error, or functions that can be called; never a panic, and the VM goes on working.

mod harness;

use cu_persist::{CorruptKind, Error, Limits, Save, load_functions};
use cu_vm::Vm;
use harness::*;
use xxhash_rust::xxh64::xxh64;

const HEADER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 8;
const CALL_FUEL: u64 = 20_000;

/// A small program that uses every kind of object.
const SOURCE: &str = "
    local Class = { scale = 2.5, name = 'class' }; Class.__index = Class
    local n, list = 0, { 1, 2, nil, 4, x = true, [7] = tostring, [1.5] = 'half' }
    local object = setmetatable({ list = list }, Class); list.object = object
    local function helper(k) n = n + k; for i, v in ipairs(list) do n = n + v end return n end
    return function(...) object.total = (object.total or 0) + helper(3); return object.total * object.scale, ... end,
      function() return helper end";

/// The blob of [`SOURCE`], not deflated.
fn sample() -> Vec<u8> {
    let mut vm = vm();
    let functions = run(&mut vm, SOURCE);
    transcript(&mut vm, &functions);
    let bytes = save_with(&vm, &functions, &Save { strip_debug: true, ..Save::default() }).unwrap();
    assert_eq!(bytes[5], 0, "the sample is small enough not to be deflated");
    bytes
}

fn payload(blob: &[u8]) -> &[u8] {
    &blob[HEADER_BYTES..blob.len() - CHECKSUM_BYTES]
}

/// A blob with a valid envelope around this payload.
fn seal(payload: &[u8]) -> Vec<u8> {
    let mut out = b"\x1bCuF\x01\x00".to_vec();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    let checksum = xxh64(&out, 0);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// What became of blobs.
#[derive(Default, Debug)]
struct Outcomes {
    refused: usize,
    loaded: usize,
}

/// Loads a blob and, if that works, calls what it holds.
fn attempt(vm: &mut Vm, blob: &[u8], outcomes: &mut Outcomes) {
    let limits = Limits { payload_bytes: 1 << 20, objects: 10_000, function_bytes: 1 << 20 };
    match load_functions(vm, blob, &limits) {
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            outcomes.refused += 1;
        }
        Ok(functions) => {
            outcomes.loaded += 1;
            for function in functions {
                let _ = vm.run(&function, CALL_FUEL, |_, _| ());
                vm.enter(|context| context.release(function));
            }
        }
    }
}

/// A VM that is replaced from time to time, as what was loaded may have changed its globals.
struct Target {
    vm: Vm,
    uses: usize,
}

impl Target {
    fn new() -> Self {
        Target { vm: vm_with_heap(4 << 20), uses: 0 }
    }

    fn attempt(&mut self, blob: &[u8], outcomes: &mut Outcomes) {
        self.uses += 1;
        if self.uses.is_multiple_of(64) {
            self.vm.collect();
        }
        if self.uses.is_multiple_of(1024) {
            *self = Target::new();
        }
        attempt(&mut self.vm, blob, outcomes);
    }

    fn check_alive(&mut self) {
        let chunk = self.vm.load(b"return 6 * 7", "=alive").unwrap();
        let answer = self.vm.run(&chunk, FUEL, |_, results| results[0].to_integer());
        assert_eq!(answer, Ok(Some(42)));
    }
}

#[test]
fn every_flipped_byte_is_noticed_by_the_checksum() {
    let blob = sample();
    let mut outcomes = Outcomes::default();
    let mut target = Target::new();
    for position in 0..blob.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = blob.clone();
            damaged[position] ^= flip;
            target.attempt(&damaged, &mut outcomes);
        }
    }
    assert_eq!(outcomes.loaded, 0);
    target.check_alive();
}

/// With the checksum made right again, validation and verifier are on their own.
#[test]
fn every_byte_of_the_payload_to_several_values() {
    let blob = sample();
    let body = payload(&blob);
    let mut outcomes = Outcomes::default();
    let mut target = Target::new();
    for position in 0..body.len() {
        let original = body[position];
        for value in [
            0,
            1,
            2,
            3,
            5,
            9,
            0x7f,
            0x80,
            0xff,
            original ^ 1,
            original ^ 0x10,
            original.wrapping_add(1),
            original.wrapping_sub(1),
        ] {
            let mut damaged = body.to_vec();
            damaged[position] = value;
            target.attempt(&seal(&damaged), &mut outcomes);
        }
    }
    assert!(outcomes.refused > 1000 && outcomes.loaded > 1000, "{outcomes:?}");
    target.check_alive();
}

#[test]
fn truncated_at_every_length() {
    let blob = sample();
    let mut target = Target::new();
    let mut outcomes = Outcomes::default();
    for length in 0..blob.len() {
        target.attempt(&blob[..length], &mut outcomes);
    }
    for length in 0..payload(&blob).len() {
        target.attempt(&seal(&payload(&blob)[..length]), &mut outcomes);
    }
    assert_eq!(outcomes.loaded, 0);
    target.check_alive();
}

#[test]
fn random_splices() {
    let blob = sample();
    let body = payload(&blob);
    let mut outcomes = Outcomes::default();
    let mut target = Target::new();
    let mut random = Random(7);
    for _ in 0..20_000 {
        let mut damaged = body.to_vec();
        for _ in 0..1 + random.below(3) {
            let (from, to) = (random.below(body.len()), random.below(damaged.len()));
            let length = (1 + random.below(16)).min(body.len() - from);
            let replaced = random.below(17).min(damaged.len() - to);
            // Mostly without a change of length, which would move everything behind it.
            let replaced = if random.below(4) == 0 { replaced } else { length.min(damaged.len() - to) };
            damaged.splice(to..to + replaced, body[from..from + length].iter().copied());
            if damaged.is_empty() {
                damaged.push(0);
            }
        }
        target.attempt(&seal(&damaged), &mut outcomes);
    }
    assert!(outcomes.loaded > 100, "{outcomes:?}");
    target.check_alive();
}

/// Each varint that starts anywhere, replaced by the largest one.
#[test]
fn lengths_blown_up() {
    let blob = sample();
    let body = payload(&blob);
    let mut outcomes = Outcomes::default();
    let mut target = Target::new();
    for position in 0..body.len() {
        for huge in [&b"\xff\xff\xff\xff\x0f"[..], b"\xff\xff\xff\x7f", b"\xff\x7f", b"\x80\x80\x80\x80\x10"] {
            let mut damaged = body[..position].to_vec();
            damaged.extend_from_slice(huge);
            damaged.extend_from_slice(&body[position + 1..]);
            target.attempt(&seal(&damaged), &mut outcomes);
        }
    }
    assert!(outcomes.refused > 1000, "{outcomes:?}");
    target.check_alive();
}

fn varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A payload with these counts in front: strings, permanents, functions, tables, upvalues, closures, natives, roots.
fn with_counts(counts: [u32; 8], rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    counts.into_iter().for_each(|count| varint(&mut out, count));
    out.extend_from_slice(rest);
    out
}

#[test]
fn counts_that_the_bytes_cannot_hold() {
    for position in 0..8 {
        let mut counts = [0; 8];
        counts[position] = u32::MAX;
        let error = load(&mut vm(), &seal(&with_counts(counts, &[0; 100]))).unwrap_err();
        assert!(matches!(error, Error::Corrupt { kind: CorruptKind::Count, .. }), "{error}");
    }
}

/// Functions that share children describe a tree of 2^100 functions.
#[test]
fn a_function_bomb_is_refused() {
    let mut rest = vec![0]; // The empty string.
    for number in 0..100u32 {
        // chunk name, lines, parameters, vararg, registers, code, constants, upvalues, children, lines, locals
        rest.extend_from_slice(&[0, 0, 0, 0, 0, 2, 0, 0, 0, if number == 0 { 0 } else { 2 }, 0, 0]);
        if number > 0 {
            varint(&mut rest, number - 1);
            varint(&mut rest, number - 1);
        }
    }
    rest.push(99); // The closure's function.
    rest.extend_from_slice(&[7, 0]); // The root: closure 0.
    let error = load(&mut vm(), &seal(&with_counts([1, 0, 100, 0, 0, 1, 0, 1], &rest))).unwrap_err();
    assert_eq!(error, Error::Limit { what: "function size" });
}

/// One long string, named by many constants.
#[test]
fn a_string_bomb_is_refused() {
    let mut rest = Vec::new();
    varint(&mut rest, 500_000);
    rest.extend_from_slice(&vec![b'x'; 500_000]);
    rest.extend_from_slice(&[0, 0, 0, 0, 0, 2, 0]);
    varint(&mut rest, 200_000);
    rest.extend_from_slice(&[0, 0, 0, 0]);
    for _ in 0..200_000 {
        rest.extend_from_slice(&[5, 0]); // A constant: string 0.
    }
    rest.extend_from_slice(&[0, 7, 0]);
    let error = load(&mut vm(), &seal(&with_counts([1, 0, 1, 0, 0, 1, 0, 1], &rest))).unwrap_err();
    assert_eq!(error, Error::Limit { what: "function size" });
}

/// A function that is deeper than the verifier allows costs no stack before it is refused.
#[test]
fn functions_nested_too_deeply_are_refused() {
    let mut rest = vec![0];
    for number in 0..5000u32 {
        rest.extend_from_slice(&[0, 0, 0, 0, 0, 2, 0, 0, 0, u8::from(number > 0), 0, 0]);
        if number > 0 {
            varint(&mut rest, number - 1);
        }
    }
    varint(&mut rest, 4999);
    rest.extend_from_slice(&[7, 0]);
    let error = load(&mut vm(), &seal(&with_counts([1, 0, 5000, 0, 0, 1, 0, 1], &rest))).unwrap_err();
    assert!(matches!(error, Error::Corrupt { kind: CorruptKind::Count, .. }), "{error}");
}

/// Permanents where something else is needed, and natives with values their code does not expect.
#[test]
fn permanents_in_the_wrong_place_are_refused() {
    let name = b"\x05print";
    let metatable = [&name[..], &[0], &[2, 0, 0, 0], &[6, 0]].concat();
    let code = [&name[..], &[0], &[0, 1, 0], &[8, 0]].concat();
    for (counts, rest) in [([1, 1, 0, 1, 0, 0, 0, 1], metatable), ([1, 1, 0, 0, 0, 0, 1, 1], code)] {
        let error = load(&mut vm(), &seal(&with_counts(counts, &rest))).unwrap_err();
        assert!(matches!(error, Error::Corrupt { kind: CorruptKind::Kind, .. }), "{error}");
    }
}

#[test]
fn other_data_is_refused() {
    let mut vm = vm();
    for (bytes, code) in [
        (&b""[..], "corrupt"),
        (b"\x1bLua", "corrupt"),
        (b"\x1bCu", "corrupt"),
        (b"hello world, hello world", "corrupt"),
    ] {
        assert_eq!(load(&mut vm, bytes).unwrap_err().code(), code);
    }
    let mut future = sample();
    future[4] = 4;
    assert_eq!(load(&mut vm, &future), Err(Error::Version { found: 4 }));
}

/// Likewise for a blob of version 2: a coroutine that waits inside protected calls, loops and scopes.
#[test]
fn every_byte_of_a_coroutine_changed() {
    let mut vm = vm();
    let functions = run(
        &mut vm,
        "local n = 0
         local co = coroutine.wrap(function(...)
           local guard <close> = setmetatable({}, {__close = function() n = n + 1 end})
           for i, v in ipairs({...}) do pcall(function(...) for c in ('abc'):gmatch('.') do coroutine.yield(c, n, ...) end end, v) end
         end)
         co('x', 'y')
         return function() return co() end",
    );
    let bytes = save_with(&vm, &functions, &Save { strip_debug: true, ..Save::default() }).unwrap();
    assert_eq!((bytes[4], bytes[5]), (2, 0), "small enough not to be deflated");
    let original = payload(&bytes).to_vec();
    let seal = |payload: &[u8]| {
        let mut out = b"\x1bCuF\x02\x00".to_vec();
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(payload);
        let checksum = xxh64(&out, 0);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    };
    let mut outcomes = Outcomes::default();
    let mut target = Target::new();
    target.attempt(&seal(&original), &mut outcomes);
    assert_eq!(outcomes.loaded, 1);
    for position in 0..original.len() {
        for change in [1, 2, 0x10, 0x80, 0xff] {
            let mut payload = original.clone();
            payload[position] ^= change;
            target.attempt(&seal(&payload), &mut outcomes);
        }
    }
    for end in 0..original.len() {
        target.attempt(&seal(&original[..end]), &mut outcomes);
    }
    target.check_alive();
    assert!(outcomes.refused > 1000 && outcomes.loaded > 100, "{outcomes:?}");
}
