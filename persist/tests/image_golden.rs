//! Images of every released format version load and go on as they did when they were saved.
//!
//! `fixtures/images/v1/NAME.lua` says in its first line after how much fuel it was stopped; `NAME.image` is the VM at that point, and
//! `NAME.expected` what it printed from there on, with the error that ended it, if one did. `page.image` was saved in wasm. With
//! `CU_WRITE_FIXTURES=1` the test writes what is missing; what is there is never overwritten, because released images have
//! to load as they are.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cu_persist::{Limits, load_image, save_image};
use cu_vm::image::{HostParts, NoUserdata};
use cu_vm::{Host, Options, Step, Vm};

const HEAP_LIMIT: usize = 1 << 20;
const FUEL: u64 = 1 << 40;

fn files(extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/images/v1");
    let entries = fs::read_dir(folder).expect("the fixtures are there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Host for Output {
    fn write(&mut self, bytes: &[u8]) {
        self.0.borrow_mut().extend_from_slice(bytes);
    }
}

fn options(output: &Output) -> Options {
    Options { heap_limit: HEAP_LIMIT, seed: 1, host: Box::new(output.clone()), ..Options::default() }
}

/// Runs to the end: what is printed, and the error.
fn finish(vm: &mut Vm, output: &Output) -> String {
    output.0.borrow_mut().clear();
    let step = vm.step(FUEL).expect("the run goes on");
    let mut text = String::from_utf8(output.0.take()).expect("text");
    if step == Step::Failed {
        text += &format!("{}\n", vm.take_error());
    }
    text
}

/// Runs a program to its stop.
fn stopped(source: &Path, output: &Output) -> Vm {
    let text = fs::read_to_string(source).unwrap();
    let first = text.lines().next().and_then(|line| line.strip_prefix("-- stop after "));
    let fuel = first.and_then(|line| line.split(':').next()?.parse().ok()).expect("a first line with the stop");
    let name = source.file_name().unwrap().to_string_lossy();
    let mut vm = Vm::new(options(output));
    let chunk = vm.load(text.as_bytes(), &format!("@{name}")).unwrap_or_else(|error| panic!("{error}"));
    vm.start(|context| (context.fetch(&chunk), Vec::new())).unwrap();
    vm.enter(|context| context.release(chunk));
    assert_eq!(vm.step(fuel), Ok(Step::OutOfFuel), "{name}");
    vm
}

fn write_missing(source: &Path) {
    let image = source.with_extension("image");
    if image.exists() {
        return;
    }
    let output = Output::default();
    let mut vm = stopped(source, &output);
    fs::write(&image, save_image(&vm, &NoUserdata, b"", &Limits::default()).unwrap()).unwrap();
    fs::write(source.with_extension("expected"), finish(&mut vm, &output)).unwrap();
}

#[test]
fn images_of_version_1_go_on() {
    if std::env::var_os("CU_WRITE_FIXTURES").is_some() {
        files("lua").iter().for_each(|source| write_missing(source));
    }
    let images = files("image");
    assert!(images.len() >= 5, "{images:?}");
    for image in images {
        let bytes = fs::read(&image).unwrap();
        assert_eq!(bytes[4], 1, "format version");
        let expected = fs::read_to_string(image.with_extension("expected")).unwrap();
        let output = Output::default();
        let loaded = load_image(&bytes, options(&output), &HostParts::NONE, &Limits::default());
        let mut vm = loaded.unwrap_or_else(|error| panic!("{}: {error}", image.display())).vm;
        assert_eq!(finish(&mut vm, &output), expected, "{}", image.display());
    }
}
