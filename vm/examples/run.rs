//! Runs a Lua file and reports the fuel it used.

use cu_vm::{Host, Options, Step, Vm};
use std::io::Write;

struct Terminal;
impl Host for Terminal {
    fn write(&mut self, bytes: &[u8]) {
        let _ = std::io::stdout().lock().write_all(bytes);
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("a file");
    let source = std::fs::read(&path).expect("readable");
    let name = format!("@{path}");
    let mut vm = Vm::new(Options { heap_limit: 1 << 30, seed: 1, host: Box::new(Terminal), ..Options::default() });
    let function = match vm.load(&source, &name) {
        Ok(function) => function,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    vm.start(|context| (context.fetch(&function), vec![])).unwrap();
    match vm.step(u64::MAX).unwrap() {
        Step::Finished => {}
        other => {
            eprintln!("{other:?} {}", vm.take_error());
            std::process::exit(1);
        }
    }
}
