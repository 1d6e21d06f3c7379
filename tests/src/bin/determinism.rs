//! `determinism FILE [PROGRAMS]`: runs the fixtures that end without an error, and so many generated programs, and writes for each
//! what another platform has to come to: a line with its name, its fuel, the SHA-256 hashes of its output and of the VM's image afterwards, and
//! its source in hexadecimal digits.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use cu_persist::{Limits, save_image};
use cu_tests::{Differential, fixtures};
use cu_vm::image::NoUserdata;
use cu_vm::{Host, Options, Step, Vm};
use sha2::{Digest, Sha256};

const HEAP_LIMIT: usize = 64 << 20;
const FUEL: u64 = 200_000_000;

/// A host with nothing but output.
struct Output(Rc<RefCell<Vec<u8>>>);

impl Host for Output {
    fn write(&mut self, bytes: &[u8]) {
        self.0.borrow_mut().extend_from_slice(bytes);
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
        if let Some(Outcome { fuel, output, image }) = run(&source) {
            writeln!(out, "{name} {fuel} {} {} x{}", hash(&output), hash(&image), hexadecimal(&source))?;
        }
    }
    out.flush()
}

struct Outcome {
    fuel: u64,
    output: Vec<u8>,
    /// Of the VM after the run, when its results were taken.
    image: Vec<u8>,
}

/// What a program that ends well comes to.
fn run(source: &[u8]) -> Option<Outcome> {
    let output = Rc::new(RefCell::new(Vec::new()));
    let host = Box::new(Output(output.clone()));
    let mut vm = Vm::new(Options { heap_limit: HEAP_LIMIT, host, ..Options::default() });
    let function = vm.load(source, "@program").ok()?;
    vm.start(|context| (context.fetch(&function), Vec::new())).ok()?;
    vm.enter(|context| context.release(function));
    if vm.step(FUEL).ok()? != Step::Finished {
        return None;
    }
    let fuel = vm.fuel_used();
    // As a page lets go of the results.
    vm.abort();
    let image = save_image(&vm, &NoUserdata, b"", &Limits::default()).ok()?;
    Some(Outcome { fuel, output: output.take(), image })
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
