//! The rules of the house style that a machine can check, over every Rust file of the repository.

use std::path::{Path, PathBuf};

use cu_tests::repository;

const LINES_MAX: usize = 800;

/// The dispatch loop is one function, as long as the instruction set.
const LONG: &str = "vm/src/interpreter/execute.rs";

#[test]
fn every_file_says_what_it_holds() {
    check(|_, text| (!text.starts_with("//! ")).then(|| "does not open with `//!`".to_owned()));
}

#[test]
fn no_file_is_too_long() {
    check(|path, text| {
        let lines = text.lines().count();
        (lines > LINES_MAX && path != Path::new(LONG)).then(|| format!("has {lines} lines, more than {LINES_MAX}"))
    });
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts each, so that this file does not contain them.
    let marks = [("TO", "DO"), ("FIX", "ME"), ("dbg", "!("), ("todo", "!("), ("unimplemented", "!(")];
    check(|_, text| {
        let mark = marks.iter().map(|(start, end)| format!("{start}{end}")).find(|mark| text.contains(mark))?;
        Some(format!("contains {mark}"))
    });
}

/// Fails with the list of files that `problem` finds something in.
fn check(problem: impl Fn(&Path, &str) -> Option<String>) {
    let root = repository();
    let mut files = Vec::new();
    for folder in ["vm", "storage", "persist", "web", "cli", "xtask", "tests"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() >= 50, "only {} files were found", files.len());
    let mut problems = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(&root).unwrap_or(&path);
        if let Some(problem) = problem(path, &text) {
            problems.push(format!("{} {problem}", path.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "node_modules" && name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
