//! Damaged and malicious images: an error, or a sound VM that can be run, collected and saved; never a panic.
//!
//! The images are of programs stopped in the middle of everything at once. `CU_HOSTILE_ALL` tries every value at every byte.

mod harness;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cu_persist::{Error, ImageFile, Limits, load_image, save_image};
use cu_vm::image::{HostParts, NoUserdata};
use cu_vm::{Options, Step, Value, Vm};
use harness::Random;
use xxhash_rust::xxh64::xxh64;

const HEADER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 8;

/// Programs that stop inside many native functions; each takes the fuel it is stopped after.
const PROGRAMS: &[(&str, u64)] = &[
    (
        "local log = {}
         local closer = setmetatable({}, { __close = function() log[#log + 1] = 'closed' end })
         local weak = setmetatable({ {}, 'kept' }, { __mode = 'v' })
         local dead = setmetatable({}, { __gc = function() log[#log + 1] = 'dead' end })
         dead = nil
         local n = 0
         local co = coroutine.wrap(function(...)
           local first <close> = closer
           local list = { 5, 3, 8, 1, 9, 2, 7, 4, 6 }
           table.sort(list, function(a, b)
             n = n + 1
             string.gsub('one two', '%w+', function(word)
               local ok = pcall(function() for i, c in ipairs(list) do n = n + i end; error(word) end)
               while n > 400 do n = n + 1 end
               return ok and word or nil
             end)
             return a < b
           end)
           coroutine.yield(...)
         end)
         co(1, 2, 3)",
        3000,
    ),
    (
        "local T = setmetatable({}, { __index = function(t, k) return function() return k end end,
           __tostring = function(t) for i = 1, 1e9 do local x = i .. '' end end,
           __concat = function(a, b) return string.format('%5d %s', 7, T) .. 'x' end })
         _G.T = T
         local iterator = string.gmatch('a b c', '%a')
         local suspended = coroutine.create(function() local x = 1; local f = function() x = x + 1 return x end
           while true do coroutine.yield(f()) end end)
         coroutine.resume(suspended); coroutine.resume(suspended)
         for letter in iterator do
           local t = { letter, k = suspended, [1.5] = iterator }
           t.k = nil
           local s = 'a' .. 'b' .. T .. 'c'
         end",
        2000,
    ),
    (
        "local reader = 0
         local m = setmetatable({}, { __index = function(t, k) if k > 5 then error('far') end return k end,
           __len = function() return 6 end, __newindex = function(t, k, v) rawset(t, k, v) end,
           __lt = function(a, b) while true do end end })
         local function go(...)
           print(xpcall(function(...) return select('#', ...), table.unpack(m, 1, 5) end, debug and print or print, ...))
           print(pcall(table.concat, m, ',', 1, 6))
           return load(function() reader = reader + 1; return reader < 4 and 'return ' .. reader .. ' ' or nil end)
         end
         local ok, e = pcall(go, 1, nil, 3)
         collectgarbage()
         return math.max(1, m, m)",
        2500,
    ),
    (
        "local events, depth = {}, 0
         local function hook(event, line)
           events[#events + 1] = event
           local i, name = 1, debug.getlocal(2, 1)
           while name and i < 5 do i = i + 1; name = debug.getlocal(2, i) end
           if #events > 40 then for j = 1, 1e9 do depth = depth + 1 end end
         end
         local function add(...) local sum = 0 for _, v in ipairs({ ... }) do sum = sum + v end return sum, ... end
         local co = coroutine.create(function(...) debug.sethook(hook, 'clr', 3) return add(...) end)
         debug.sethook(hook, 'clr', 5)
         local text = string.gsub('abc', '.', function(c) return select('#', add(1, 2, 3)) .. c end)
         coroutine.resume(co, 4, 5, 6)
         return tostring(setmetatable({}, { __tostring = function() return add(7) .. text end }))",
        4000,
    ),
];

fn vm() -> Vm {
    Vm::new(options())
}

fn options() -> Options {
    Options { heap_limit: 1 << 20, ..Options::default() }
}

fn limits() -> Limits {
    Limits { payload_bytes: 1 << 20, objects: 100_000, function_bytes: 1 << 20 }
}

/// The payload of a program's image.
fn sample(program: &(&str, u64)) -> Vec<u8> {
    let mut vm = vm();
    let chunk = vm.load(program.0.as_bytes(), "=test").unwrap();
    vm.start(|context| (context.fetch(&chunk), Vec::new())).unwrap();
    vm.enter(|context| context.release(chunk));
    assert_eq!(vm.step(program.1), Ok(Step::OutOfFuel), "{}", program.0);
    let image = save_image(&vm, &NoUserdata, b"", &limits()).unwrap();
    let length = u32::from_le_bytes(image[6..10].try_into().unwrap()) as usize;
    let body = &image[HEADER_BYTES..image.len() - CHECKSUM_BYTES];
    let payload = if image[5] == 0 {
        body.to_vec()
    } else {
        miniz_oxide::inflate::decompress_to_vec_with_limit(body, length).unwrap()
    };
    assert_eq!(payload.len(), length);
    payload
}

/// An image with a valid envelope around this payload.
fn seal(payload: &[u8]) -> Vec<u8> {
    let mut out = b"\x1bCuI\x01\x00".to_vec();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    let checksum = xxh64(&out, 0);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

#[derive(Default, Debug)]
struct Outcomes {
    refused: usize,
    loaded: usize,
}

impl Outcomes {
    /// Loads an image and, if that works, uses the VM. `what` tells which one it is, in case of a panic.
    fn attempt(&mut self, image: &[u8], what: impl FnOnce() -> String) {
        match catch_unwind(AssertUnwindSafe(|| attempt(image))) {
            Ok(true) => self.loaded += 1,
            Ok(false) => self.refused += 1,
            Err(_) => panic!("{}", what()),
        }
    }
}

fn attempt(image: &[u8]) -> bool {
    let mut vm = match load_image(image, options(), &HostParts::NONE, &limits()) {
        Ok(loaded) => loaded.vm,
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().is_empty());
            return false;
        }
    };
    if vm.is_running() {
        for slice in [10, 500, 3000] {
            if vm.step(slice) != Ok(Step::OutOfFuel) {
                break;
            }
        }
    }
    vm.collect();
    save_image(&vm, &NoUserdata, b"", &Limits::default()).unwrap();
    if vm.is_running() {
        let _ = vm.step(1000);
    }
    vm.abort();
    // What the image did to the library is its own business, so only the language itself is asked.
    let chunk = vm.load(b"local n = 0; for i = 1, 10 do n = n + i end; return n", "=alive").unwrap();
    let answer = vm.run(&chunk, 1000, |_, results| matches!(results, [Value::Integer(55)]));
    assert!(answer != Ok(false));
    true
}

fn is_thorough() -> bool {
    std::env::var_os("CU_HOSTILE_ALL").is_some()
}

#[test]
fn every_flipped_byte_is_noticed_by_the_checksum() {
    let image = seal(&sample(&PROGRAMS[0]));
    for position in (0..image.len()).step_by(if is_thorough() { 1 } else { 7 }) {
        let mut damaged = image.clone();
        damaged[position] ^= 0x10;
        assert!(load_image(&damaged, options(), &HostParts::NONE, &limits()).is_err(), "byte {position}");
    }
}

/// With the checksum made right again, validation is on its own.
#[test]
fn bytes_of_the_payload_to_several_values() {
    for (number, program) in PROGRAMS.iter().enumerate() {
        let payload = sample(program);
        let mut outcomes = Outcomes::default();
        let mut random = Random(number as u64 + 1);
        for position in (0..payload.len()).step_by(if is_thorough() { 1 } else { 3 }) {
            let original = payload[position];
            let all = [
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
            ];
            let one = [all[random.below(all.len())]];
            for value in if is_thorough() { &all[..] } else { &one[..] } {
                let mut damaged = payload.clone();
                damaged[position] = *value;
                outcomes.attempt(&seal(&damaged), || format!("program {number}, byte {position} = {value}"));
            }
        }
        assert!(outcomes.refused > 300 && outcomes.loaded > 300, "{outcomes:?}");
    }
}

#[test]
fn truncated_at_every_length() {
    let payload = sample(&PROGRAMS[0]);
    for length in (0..payload.len()).step_by(if is_thorough() { 1 } else { 5 }) {
        let result = load_image(&seal(&payload[..length]), options(), &HostParts::NONE, &limits());
        assert!(result.is_err(), "length {length}");
    }
}

#[test]
fn random_splices() {
    let mut random = Random(11);
    let samples: Vec<Vec<u8>> = PROGRAMS.iter().map(sample).collect();
    let mut outcomes = Outcomes::default();
    for round in 0..if is_thorough() { 400_000 } else { 4000 } {
        let source = &samples[random.below(samples.len())];
        let mut damaged = samples[random.below(samples.len())].clone();
        for _ in 0..1 + random.below(4) {
            let (from, to) = (random.below(source.len()), random.below(damaged.len()));
            let length = (1 + random.below(12)).min(source.len() - from).min(damaged.len() - to);
            damaged[to..to + length].copy_from_slice(&source[from..from + length]);
        }
        outcomes.attempt(&seal(&damaged), || format!("round {round}"));
    }
    assert!(outcomes.loaded > 100 && outcomes.refused > 100, "{outcomes:?}");
}

/// Varints replaced by the largest ones, anywhere.
#[test]
fn lengths_blown_up() {
    let payload = sample(&PROGRAMS[1]);
    let mut random = Random(5);
    let mut outcomes = Outcomes::default();
    for position in (0..payload.len()).step_by(if is_thorough() { 1 } else { 3 }) {
        let all = [&b"\xff\xff\xff\xff\x0f"[..], b"\xff\xff\xff\x7f", b"\xff\x7f", b"\x80\x80\x80\x80\x10"];
        let one = [all[random.below(all.len())]];
        for huge in if is_thorough() { &all[..] } else { &one[..] } {
            let damaged = [&payload[..position], huge, &payload[position + 1..]].concat();
            outcomes.attempt(&seal(&damaged), || format!("byte {position}, {huge:?}"));
        }
    }
    assert!(outcomes.refused > 300, "{outcomes:?}");
}

/// An image of a large heap is refused where the heap is smaller, before it is made.
#[test]
fn a_heap_that_does_not_fit_is_refused() {
    let mut vm = Vm::new(Options { heap_limit: 64 << 20, ..Options::default() });
    let chunk = vm.load(b"t = {} for i = 1, 100000 do t[i] = { i } end", "=large").unwrap();
    vm.run(&chunk, 1 << 40, |_, _| ()).unwrap();
    let image = save_image(&vm, &NoUserdata, b"", &Limits::default()).unwrap();
    let result = load_image(&image, options(), &HostParts::NONE, &Limits::default());
    assert_eq!(result.err(), Some(Error::Limit { what: "heap" }));
    let result = ImageFile::open(&image, &limits());
    assert_eq!(result.err(), Some(Error::Limit { what: "payload size" }));

    // Written up to the limit of its payload, and not a byte further, wherever the limit is met.
    let length = u32::from_le_bytes(image[6..10].try_into().unwrap()) as usize;
    let save = |payload_bytes| save_image(&vm, &NoUserdata, b"", &Limits { payload_bytes, ..Limits::default() });
    assert_eq!(save(length).as_ref(), Ok(&image));
    for limit in [length - 1, length * 3 / 4, length / 2, 1000, 0] {
        assert_eq!(save(limit).err(), Some(Error::Limit { what: "payload size" }), "{limit}");
    }
}

/// A small file that says it is large, and is as large as it says: neither takes more memory than the limit.
#[test]
fn a_bomb_is_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 16 << 20], 6);
    assert!(bomb.len() < (16 << 20) / 1000, "{} bytes", bomb.len());
    for declared in [100, 1 << 20, 16 << 20, u32::MAX] {
        let mut image = b"\x1bCuI\x01\x01".to_vec();
        image.extend_from_slice(&declared.to_le_bytes());
        image.extend_from_slice(&bomb);
        let checksum = xxh64(&image, 0);
        image.extend_from_slice(&checksum.to_le_bytes());
        let error = ImageFile::open(&image, &limits()).err().expect("it is refused");
        let code = if declared as usize > limits().payload_bytes { "limit" } else { "corrupt" };
        assert_eq!(error.code(), code, "{declared}");
    }
}

/// A list a million tables deep costs no stack to save, check and load.
#[test]
fn a_deep_list_in_a_small_stack() {
    let work = || {
        let options = || Options { heap_limit: 1 << 30, ..Options::default() };
        let mut vm = Vm::new(options());
        let chunk = vm.load(b"list = nil for i = 1, 1000000 do list = { list } end", "=deep").unwrap();
        vm.run(&chunk, 1 << 40, |_, _| ()).unwrap();
        let image = save_image(&vm, &NoUserdata, b"", &Limits::default()).unwrap();
        drop(vm);
        let mut vm = load_image(&image, options(), &HostParts::NONE, &Limits::default()).unwrap().vm;
        let chunk = vm.load(b"local n = 0 while list do list = list[1]; n = n + 1 end return n", "=count").unwrap();
        let depth = vm.run(&chunk, 1 << 40, |_, results| results[0].to_integer());
        assert_eq!(depth, Ok(Some(1_000_000)));
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap().join().unwrap();
}
