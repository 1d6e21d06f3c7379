//! Probes of the price of work: small pieces of Lua code, each of which does one kind of thing over and over.
//!
//! `fixtures/fuel/*.txt` holds them: a line `== name`, then what prepares globals, then (after `-- run`) local variables, then
//! (after `-- loop`) what is repeated. Each is run in a VM of its own; what it takes is time for a unit of fuel.

use std::time::{Duration, Instant};

use cu_vm::{Host, MemoryFiles, Options, Step, Vm};

use crate::fixture::repository;

/// One piece of work.
pub struct Probe {
    pub name: String,
    prepare: String,
    program: String,
}

/// Fuel for each step of a measurement: small, so that work without a price cannot take long.
const SLICE: u64 = 2_000;
const FUEL_MAX: u64 = 2_000_000;
const TIME_MAX: Duration = Duration::from_millis(20);
const HEAP_LIMIT: usize = 64 << 20;

/// All probes, in the order of the files.
///
/// # Panics
///
/// A file has another form.
pub fn probes() -> Vec<Probe> {
    let folder = repository().join("fixtures/fuel");
    let mut probes = Vec::new();
    for file in ["opcodes.txt", "strings.txt", "libraries.txt"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        probes.extend(text.split("\n== ").map(|text| parse(text.strip_prefix("== ").unwrap_or(text))));
    }
    probes
}

fn parse(text: &str) -> Probe {
    let (name, code) = text.split_once('\n').unwrap_or((text, ""));
    let (start, repeated) = code.split_once("-- loop").unwrap_or_else(|| panic!("probe '{name}' has no loop"));
    let (prepare, locals) = start.split_once("-- run\n").unwrap_or((start, ""));
    Probe {
        name: name.to_owned(),
        prepare: prepare.to_owned(),
        program: format!("{locals} while true do {repeated}\nend"),
    }
}

/// What a run of a probe came to.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub fuel: u64,
    pub time: Duration,
}

impl Measured {
    pub fn nanoseconds_per_fuel(self) -> f64 {
        self.time.as_nanos() as f64 / self.fuel.max(1) as f64
    }
}

impl Probe {
    /// Runs the probe until it has used enough fuel or time.
    ///
    /// # Errors
    ///
    /// The code fails or ends.
    pub fn measure(&self) -> Result<Measured, String> {
        self.run(|measured| measured.time >= TIME_MAX || measured.fuel >= FUEL_MAX)
    }

    /// Runs the probe for one slice.
    ///
    /// # Errors
    ///
    /// As [`Self::measure`].
    pub fn measure_once(&self) -> Result<Measured, String> {
        self.run(|_| true)
    }

    fn run(&self, is_enough: impl Fn(Measured) -> bool) -> Result<Measured, String> {
        let host = Box::new(Silent { files: MemoryFiles::new() });
        let mut vm = Vm::new(Options { heap_limit: HEAP_LIMIT, host, ..Options::default() });
        let prepare = vm.load(self.prepare.as_bytes(), "=prepare").map_err(|error| error.to_string())?;
        vm.run(&prepare, u64::MAX, |_, _| ()).map_err(|error| error.to_string())?;
        vm.collect();
        let program = vm.load(self.program.as_bytes(), "=probe").map_err(|error| error.to_string())?;
        vm.start(|context| (context.fetch(&program), Vec::new())).map_err(|error| error.to_string())?;
        let start = Instant::now();
        loop {
            match vm.step(SLICE).map_err(|error| error.to_string())? {
                Step::OutOfFuel => {}
                Step::Failed => return Err(vm.take_error().to_string()),
                other => return Err(format!("{other:?}")),
            }
            let measured = Measured { fuel: vm.fuel_used(), time: start.elapsed() };
            if is_enough(measured) {
                return Ok(measured);
            }
        }
    }
}

/// A host that drops what is written.
struct Silent {
    files: MemoryFiles,
}

impl Host for Silent {
    fn write(&mut self, _: &[u8]) {}

    fn files(&mut self) -> Option<&mut dyn cu_vm::Files> {
        Some(&mut self.files)
    }

    fn time(&mut self) -> Option<i64> {
        Some(1_700_000_000)
    }

    fn clock(&mut self) -> Option<f64> {
        Some(1.0)
    }
}
