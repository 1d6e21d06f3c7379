//! The hostile corpus natively: every case ends as stated, within its fuel and its heap, and the VM is usable afterwards.
//!
//! Memory is what the allocator was asked for on the case's thread, not what the VM says. It may not pass the heap limit by more than
//! a quarter, the VM itself included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cu_tests::{End, HostileCase, hostile_cases, run_within};
use cu_vm::{Host, MemoryFiles, Options, Vm};

/// The system's allocator, counting for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static IN_USE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(added: usize, removed: usize) {
    // A thread that ends has no counters any more.
    let _ = IN_USE.try_with(|in_use| {
        let now = (in_use.get() + added).saturating_sub(removed);
        in_use.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: everything is the system allocator's; only sizes are noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both exist while the content is copied; a block that shrinks stays where it is.
        if size > layout.size() {
            count(size, 0);
            count(0, layout.size());
        } else {
            count(0, layout.size() - size);
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// A host whose output goes nowhere.
struct Silent(MemoryFiles);

impl Host for Silent {
    fn write(&mut self, _: &[u8]) {}

    fn files(&mut self) -> Option<&mut dyn cu_vm::Files> {
        Some(&mut self.0)
    }
}

fn vm(heap_limit: usize) -> Vm {
    Vm::new(Options { heap_limit, host: Box::new(Silent(MemoryFiles::new())), ..Options::default() })
}

fn check(case: &HostileCase) -> Result<(), String> {
    let before = IN_USE.get();
    PEAK.set(before);
    let mut vm = vm(case.heap_limit);
    let end = run_within(&mut vm, &case.source, case.fuel)?;
    let is_met = match (&case.end, &end) {
        (End::Error(wanted), End::Error(message)) => message.ends_with(wanted.as_str()),
        (wanted, end) => wanted == end,
    };
    if !is_met {
        return Err(format!("{end:?} instead of {:?}, {} fuel used", case.end, vm.fuel_used()));
    }
    let peak = PEAK.get() - before;
    let peak_max = case.heap_limit + case.heap_limit / 5;
    if peak > peak_max {
        return Err(format!("{peak} bytes at the peak, more than {peak_max}; {} nominal", vm.heap_bytes().peak));
    }
    match run_within(&mut vm, "local t = {} for i = 1, 100 do t[i] = {i} end return #t", 1 << 20) {
        Ok(End::Finishes) => Ok(()),
        other => Err(format!("afterwards: {other:?}")),
    }
}

#[test]
fn every_case_ends_as_stated_within_its_limits() {
    let cases = hostile_cases();
    assert!(cases.len() >= 900, "only {} cases", cases.len());
    let slowest = Mutex::new((Duration::ZERO, String::new()));
    let problems = check_all(&cases, |case| {
        let start = Instant::now();
        let result = check(case);
        let took = (start.elapsed(), format!("{}/{}", case.class, case.name));
        let mut slowest = slowest.lock().expect("no check panics while it holds the time");
        *slowest = took.max(std::mem::take(&mut *slowest));
        result
    });
    assert!(problems.is_empty(), "{} of {} cases:\n{}", problems.len(), cases.len(), problems.join("\n"));
    let (time, name) = slowest.into_inner().expect("all checks have ended");
    // `cargo xtask bench hostile` reads this line.
    println!("hostile: {} cases, the slowest {} ms: {name}", cases.len(), time.as_millis());
}

/// Whatever the code does with errors, coroutines, finalizers and hooks: at no amount of fuel does it outlive its end.
#[test]
fn nothing_outlives_its_fuel() {
    let mut cases: Vec<HostileCase> = hostile_cases().into_iter().filter(|case| case.class == "escapes").collect();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for fuel in [1, 100, 1_000, 3_000, 10_000, 33_000, 100_000] {
        cases.iter_mut().for_each(|case| case.fuel = fuel);
        let problems = check_all(&cases, check);
        assert!(problems.is_empty(), "with {fuel} fuel:\n{}", problems.join("\n"));
    }
}

/// The problems that `check` finds, on all processors.
fn check_all(cases: &[HostileCase], check: impl Fn(&HostileCase) -> Result<(), String> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    let only = std::env::var("CU_HOSTILE").unwrap_or_default();
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !format!("{}/{}", case.class, case.name).contains(&only) {
                continue;
            }
            let result = catch_unwind(AssertUnwindSafe(|| check(case))).unwrap_or_else(|_| Err("a panic".to_owned()));
            if let Err(problem) = result {
                let text = format!("{}/{}: {problem}", case.class, case.name);
                problems.lock().expect("no check panics while it holds the list").push(text);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut problems = problems.into_inner().expect("all workers have ended");
    problems.sort();
    problems
}
