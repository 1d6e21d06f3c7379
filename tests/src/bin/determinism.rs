//! `determinism FILE [PROGRAMS]`: runs the fixtures and so many generated programs, and writes for each what another platform has to come to: a
//! line with its name, its fuel, the SHA-256 hashes of its output, of its error, and of the VM's image afterwards, and its source in hexadecimal
//! digits. A hash is `-` where there is no error, or where the VM holds what cannot be saved.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use cu_persist::{Limits, save_image};
use cu_tests::{Differential, fixtures};
use cu_vm::image::NoUserdata;
use cu_vm::{Files, Host, MemoryFiles, Options, RunError, Step, Vm};
use sha2::{Digest, Sha256};

const HEAP_LIMIT: usize = 64 << 20;
const FUEL: u64 = 200_000_000;

/// Seconds since 1970 at which the clock stands, here and in `web/bench/determinism.mjs`.
const NOW: i64 = 1_600_000_000;

/// A host as a page with files in memory and a clock that stands still.
struct Page {
    output: Rc<RefCell<Vec<u8>>>,
    files: MemoryFiles,
}

impl Host for Page {
    fn write(&mut self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    fn time(&mut self) -> Option<i64> {
        Some(NOW)
    }

    fn clock(&mut self) -> Option<f64> {
        Some(0.0)
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        Some(&mut self.files)
    }
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or_else(|| std::io::Error::other("usage: determinism FILE [PROGRAMS]"))?;
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let differential = Differential::new();
    let fixtures = fixtures().into_iter().map(|fixture| (format!("{}/{}", fixture.area, fixture.name), fixture.source));
    let generated = (1..=count).map(|seed| (format!("seed-{seed}"), differential.program(seed).source));
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for (name, source) in fixtures.chain(generated) {
        let Outcome { fuel, output, error, image } =
            run(&source).ok_or_else(|| std::io::Error::other(format!("{name} does not end")))?;
        let [error, image] = [error, image].map(|bytes| bytes.map_or("-".into(), |bytes| hash(&bytes)));
        writeln!(out, "{name} {fuel} {} {error} {image} x{}", hash(&output), hexadecimal(&source))?;
    }
    out.flush()
}

struct Outcome {
    fuel: u64,
    output: Vec<u8>,
    /// Its message, and the traceback that belongs to it.
    error: Option<Vec<u8>>,
    /// Of the VM after the run, when its results were taken.
    image: Option<Vec<u8>>,
}

/// What a program comes to that ends, or that does not compile.
fn run(source: &[u8]) -> Option<Outcome> {
    let output = Rc::new(RefCell::new(Vec::new()));
    let host = Box::new(Page { output: output.clone(), files: MemoryFiles::new().with_output(output.clone()) });
    let mut vm = Vm::new(Options { heap_limit: HEAP_LIMIT, host, ..Options::default() });
    let error = match vm.load(source, "@program") {
        Err(error) => Some(error),
        Ok(function) => {
            vm.start(|context| (context.fetch(&function), Vec::new())).ok()?;
            vm.enter(|context| context.release(function));
            match vm.step(FUEL).ok()? {
                Step::Finished => None,
                Step::Failed => Some(vm.take_error()),
                Step::OutOfFuel | Step::Waiting | Step::Exited { .. } => return None,
            }
        }
    };
    let error = error.map(|error| match error {
        RunError::Lua { message, traceback, .. } => format!("{message}\n{traceback}").into_bytes(),
        other => format!("{other}\n").into_bytes(),
    });
    let fuel = vm.fuel_used();
    // As a page lets go of the results.
    vm.abort();
    let image = save_image(&vm, &NoUserdata, b"", &Limits::default()).ok();
    Some(Outcome { fuel, output: output.take(), error, image })
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
