//! `determinism FILE [PROGRAMS]`: runs the fixtures that end without an error, and so many generated programs, and writes for each
//! what another platform has to come to: a line with its name, its fuel, its output and its source, the last two as hexadecimal
//! digits.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use cu_tests::{Differential, fixtures};
use cu_vm::{Host, Options, Step, Vm};

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
        if let Some((fuel, output)) = run(&source) {
            writeln!(out, "{name} {fuel} {} {}", hexadecimal(&output), hexadecimal(&source))?;
        }
    }
    out.flush()
}

/// The fuel and the output of a program that ends well.
fn run(source: &[u8]) -> Option<(u64, Vec<u8>)> {
    let output = Rc::new(RefCell::new(Vec::new()));
    let host = Box::new(Output(output.clone()));
    let mut vm = Vm::new(Options { heap_limit: HEAP_LIMIT, host, ..Options::default() });
    let function = vm.load(source, "@program").ok()?;
    vm.start(|context| (context.fetch(&function), Vec::new())).ok()?;
    (vm.step(FUEL).ok()? == Step::Finished).then(|| (vm.fuel_used(), output.take()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::from("x");
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
