//! The native half of `cargo xtask bench persist`: what saving and restoring takes, one figure a line.
//!
//! Times are medians of many repetitions in this process, which allocates as `cu` does; those of typical functions are the least of five such
//! medians, with the other work between them. A *typical* function has upvalues that are tables and other functions, and debug
//! information; one is small, one has nearly the 10 KB of bytecode up to which the goals hold.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cu_persist::{HomeOptions, Limits, Save, StoredHome, load_function, load_image, save_function, save_image};
use cu_storage::{Database, MemoryBackend, Options, block_on};
use cu_vm::image::{HostParts, NoUserdata};
use cu_vm::{Handle, Value, Vm};

#[global_allocator]
static ALLOCATOR: cu_allocator::SizeClassAllocator = cu_allocator::SizeClassAllocator;

const FUEL: u64 = 1 << 40;

fn main() {
    let mut functions = [Typical::new(12, "small function"), Typical::new(40, "function of 10 KB")];
    for other in [large_function, small_heap, graph, home] {
        functions.iter_mut().for_each(Typical::measure);
        other();
    }
    functions.iter_mut().for_each(Typical::measure);
    functions.iter().for_each(Typical::show);
}

fn vm(heap_limit: usize) -> Vm {
    Vm::new(cu_vm::Options { heap_limit, ..cu_vm::Options::default() })
}

fn run(vm: &mut Vm, source: &str) -> Handle {
    let chunk = vm.load(source.as_bytes(), "@bench.lua").expect("it compiles");
    let first = |values: &[Value<'_>]| values.first().is_some_and(|value| !value.is_nil());
    let handle = vm.run(&chunk, FUEL, |context, values| {
        let value = if first(values) { values[0] } else { Value::Nil };
        context.stash(value)
    });
    vm.enter(|context| context.release(chunk));
    handle.expect("it runs")
}

/// The median time of `repetitions` calls.
fn median<T>(repetitions: usize, work: impl FnMut() -> T) -> Duration {
    middle(times_of(repetitions, work).collect())
}

fn times_of<T>(repetitions: usize, mut work: impl FnMut() -> T) -> impl Iterator<Item = Duration> {
    (0..repetitions).map(move |_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed()
    })
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn show(name: &str, value: String, goal: &str) {
    println!("native    {name:<58} {value:>14}  {goal}");
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A class-like function of about `parts` methods with what it reaches.
fn typical(parts: usize) -> String {
    let mut source = String::from(
        "local handlers, log, count = {}, {level = 'info', lines = {}}, 0\n\
         local function note(text) count = count + 1; log.lines[#log.lines + 1] = text; return count end\n\
         local function main(event, a, b)\n",
    );
    for part in 0..parts {
        source.push_str(&format!(
            "  if event == 'event{part}' then\n    local total = (a or 0) * {part} + (b or 1)\n    for i = 1, total do\n\
             \x20     if i % {} == 0 then note('step ' .. i .. ' of event{part}') else handlers[i] = {{i, total, name = 'n' .. i}} end\n\
             \x20   end\n    return total, #log.lines\n  end\n",
            part + 2
        ));
    }
    source.push_str("  return nil\nend\nhandlers.main = main\nreturn main");
    source
}

/// A typical function, and what saving and restoring it took.
struct Typical {
    name: &'static str,
    vm: Vm,
    function: Handle,
    bytes: Vec<u8>,
    save: Duration,
    restore: Duration,
}

impl Typical {
    fn new(parts: usize, name: &'static str) -> Typical {
        let mut vm = vm(64 << 20);
        let function = run(&mut vm, &typical(parts));
        let bytes = save_function(&vm, &function, &Save::default()).expect("it can be saved");
        let code = bytecode(&vm, &function);
        show(&format!("{name}: bytecode"), format!("{code} B"), "<= 10 KB");
        show(&format!("{name}: blob"), format!("{} B", bytes.len()), "");
        let ratio = payload_length(&bytes) as f64 / bytes.len() as f64;
        show(&format!("{name}: payload to blob"), format!("{ratio:.2} : 1"), "2:1 to 5:1");
        Typical { name, vm, function, bytes, save: Duration::MAX, restore: Duration::MAX }
    }

    /// Once more; of several rounds, the one counts that was least disturbed.
    fn measure(&mut self) {
        let Typical { vm, function, bytes, .. } = self;
        self.save = self.save.min(median(2001, || save_function(vm, function, &Save::default())));
        let mut times = Vec::new();
        for _ in 0..21 {
            times.extend(times_of(101, || {
                let function = load_function(vm, bytes, &Limits::default()).expect("it can be loaded");
                vm.enter(|context| context.release(function));
            }));
            // As it would be between two runs; nothing else here gives the collector a turn.
            vm.collect();
        }
        self.restore = self.restore.min(middle(times));
    }

    fn show(&self) {
        show(&format!("{}: save", self.name), micros(self.save), "<= 50 us");
        show(&format!("{}: restore", self.name), micros(self.restore), "<= 50 us");
    }
}

/// Bytes of the function's code, as a binary chunk without debug information.
fn bytecode(vm: &Vm, function: &Handle) -> usize {
    vm.enter(|context| match context.fetch(function) {
        Value::Closure(closure) => cu_vm::bytecode::chunk::dump(&closure.proto().to_parts(true)).len(),
        _ => 0,
    })
}

/// The length before compression, from the envelope.
fn payload_length(blob: &[u8]) -> usize {
    u32::from_le_bytes([blob[6], blob[7], blob[8], blob[9]]) as usize
}

fn large_function() {
    let mut vm = vm(256 << 20);
    // Differs from line to line, as code does.
    let mut source = String::from("local t = ...\nreturn function(x)\n");
    for block in 0..220 {
        source.push_str("  do\n");
        for line in 0..150 {
            source.push_str(&format!("    t.f{line} = (x + {}) * t.g{block} - {line}\n", block * 31 + line));
        }
        source.push_str("  end\n");
    }
    source.push_str("  return x\nend");
    let function = run(&mut vm, &source);
    let bytes = save_function(&vm, &function, &Save::default()).expect("it can be saved");
    show("large function: bytecode", format!("{:.2} MB", bytecode(&vm, &function) as f64 / 1e6), ">= 1 MB works");
    show("large function: blob", format!("{:.2} MB", bytes.len() as f64 / 1e6), "");
    show("large function: save", millis(median(9, || save_function(&vm, &function, &Save::default()))), "");
    let time = median(9, || {
        let function = load_function(&mut vm, &bytes, &Limits::default()).expect("it can be loaded");
        vm.enter(|context| context.release(function));
        vm.collect();
    });
    show("large function: restore", millis(time), "");
}

fn small_heap() {
    let mut vm = vm(1 << 20);
    run(
        &mut vm,
        "data = {} local i = 0 while collectgarbage('count') < 500 do i = i + 1 data[i] = {i, 'name' .. i, x = i / 3} end",
    );
    vm.collect();
    let used = vm.heap_bytes().used / 1024;
    let limits = Limits::default();
    let bytes = save_image(&vm, &NoUserdata, b"", &limits).expect("it can be saved");
    show("heap for images", format!("{used} KiB"), "about 512 KiB");
    show("image: size", format!("{} B", bytes.len()), "");
    show("image: snapshot", millis(median(101, || save_image(&vm, &NoUserdata, b"", &limits))), "");
    let load =
        || load_image(&bytes, cu_vm::Options { heap_limit: 1 << 20, ..Default::default() }, &HostParts::NONE, &limits);
    show("image: restore", millis(median(101, load)), "");
}

const GRAPH: &str =
    "local t = {} for i = 1, 100000 do t[i] = {id = i, name = 'name' .. i, score = i / 3, tags = i % 10} end";

fn graph() {
    let mut vm = vm(1 << 30);
    run(&mut vm, &format!("{GRAPH} data = t"));
    vm.collect();
    let limits = Limits::default();
    let bytes = save_image(&vm, &NoUserdata, b"", &limits).expect("it can be saved");
    show("100,000 tables: image", format!("{:.2} MB", bytes.len() as f64 / 1e6), "");
    show("100,000 tables: image written", millis(median(9, || save_image(&vm, &NoUserdata, b"", &limits))), "");
    let load =
        || load_image(&bytes, cu_vm::Options { heap_limit: 1 << 30, ..Default::default() }, &HostParts::NONE, &limits);
    show("100,000 tables: image read", millis(median(9, load)), "");
}

/// 100,000 objects in tables of a hundred, so that no table is large.
const HOME: &str =
    "for i = 1, 1000 do local row = {} _home[i] = row for j = 1, 99 do row[j] = {id = j, name = 'n' .. j} end end";

fn home() {
    let mut full = Vec::new();
    let mut incremental = Vec::new();
    let mut written = (0, 0);
    for _ in 0..3 {
        let database = Rc::new(block_on(Database::open(MemoryBackend::new(), Options::default())).expect("it opens"));
        let mut vm = vm(1 << 30);
        let home = StoredHome::attach(&vm, database, HomeOptions::default()).expect("it is empty");
        run(&mut vm, HOME);
        let start = Instant::now();
        written.0 = home.commit(&vm).expect("it is stored");
        full.push(start.elapsed());
        for round in 0..21 {
            run(&mut vm, &format!("_home[{}][50].name = 'changed {round}'", round * 40 + 1));
            let start = Instant::now();
            written.1 = home.commit(&vm).expect("it is stored");
            incremental.push(start.elapsed());
        }
    }
    full.sort_unstable();
    incremental.sort_unstable();
    let (full, incremental) = (full[full.len() / 2], incremental[incremental.len() / 2]);
    show("_home: full commit of 100,001 objects", millis(full), "");
    show("_home: records written by it", written.0.to_string(), "");
    show("_home: commit after changing one of them", micros(incremental), "");
    show("_home: records written by it", written.1.to_string(), "");
    let percent = incremental.as_secs_f64() / full.as_secs_f64() * 100.0;
    show("_home: one change, of a full commit", format!("{percent:.3} %"), "<= 1 %");
}
