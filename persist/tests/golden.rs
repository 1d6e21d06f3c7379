//! Blobs of every released format version load, and the functions in them do what they did when they were saved.
//!
//! `fixtures/blobs/v<n>/NAME.lua` returns functions; `NAME.blob` is what saving them gave, after three rounds of calls; `NAME.expected` is what
//! the next three rounds of calls returned. With `CU_WRITE_FIXTURES=1` the test writes what is missing; what is there is never
//! overwritten, because released blobs have to load as they are.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::*;

fn sources(version: u8) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/blobs/v{version}"));
    let entries = fs::read_dir(folder).expect("the fixtures are there");
    let mut sources: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "lua"))
        .collect();
    sources.sort();
    sources
}

fn write_missing(source: &Path) {
    let blob = source.with_extension("blob");
    if blob.exists() {
        return;
    }
    let text = fs::read_to_string(source).unwrap();
    let mut vm = vm();
    let functions = run(&mut vm, &text);
    transcript(&mut vm, &functions);
    fs::write(&blob, save(&vm, &functions).unwrap()).unwrap();
    let lines = transcript(&mut vm, &functions).join("\n");
    fs::write(source.with_extension("expected"), lines + "\n").unwrap();
}

#[test]
fn blobs_of_version_1_load_and_run() {
    load_and_run(1, 4);
}

#[test]
fn blobs_of_version_2_load_and_run() {
    load_and_run(2, 1);
}

fn load_and_run(version: u8, count_min: usize) {
    let sources = sources(version);
    assert!(sources.len() >= count_min, "{sources:?}");
    for source in sources {
        if std::env::var_os("CU_WRITE_FIXTURES").is_some() {
            write_missing(&source);
        }
        let blob =
            fs::read(source.with_extension("blob")).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let expected = fs::read_to_string(source.with_extension("expected")).unwrap();
        assert_eq!(blob[4], version, "format version");
        let mut vm = vm();
        let functions = load(&mut vm, &blob).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let lines = transcript(&mut vm, &functions).join("\n");
        assert_eq!(lines + "\n", expected, "{}", source.display());
    }
}
