//! Fixtures as data, and the check of many of them at once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cu_vm::chunk_of_file;

/// A program and what the reference interpreter recorded for it.
pub struct Fixture {
    pub area: String,
    /// Without `.lua`.
    pub name: String,
    pub source: Vec<u8>,
    pub output: Vec<u8>,
    /// The message of the error that the program ends in.
    pub error: Option<Vec<u8>>,
}

impl Fixture {
    /// The chunk name under which the recording was made.
    pub fn chunk_name(&self) -> String {
        format!("@{}.lua", self.name)
    }

    /// Whether the source has one of these texts somewhere.
    pub fn mentions(&self, texts: &[&str]) -> bool {
        let source = String::from_utf8_lossy(&self.source);
        texts.iter().any(|text| source.contains(text))
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate is a folder of the repository").to_owned()
}

/// All fixtures, sorted by area and name.
pub fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for area in sorted_entries(&repository().join("fixtures/lua")) {
        for program in sorted_entries(&area) {
            if program.extension().is_some_and(|extension| extension == "lua") {
                fixtures.push(read(&area, &program));
            }
        }
    }
    assert!(fixtures.len() >= 300, "only {} fixtures were found", fixtures.len());
    fixtures
}

fn read(area: &Path, program: &Path) -> Fixture {
    let text = |path: &Path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let content = |path: &Path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let error = program.with_extension("err");
    Fixture {
        area: text(area),
        name: text(program),
        source: chunk_of_file(&content(program)).to_vec(),
        output: content(&program.with_extension("out")),
        error: error.exists().then(|| without_line_end(content(&error))),
    }
}

fn without_line_end(mut text: Vec<u8>) -> Vec<u8> {
    assert_eq!(text.pop(), Some(b'\n'), "a recorded message ends with a line end");
    text
}

fn sorted_entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths
}

/// Checks every item, each of which belongs to a fixture, on all processors, and panics with a list of those whose check fails
/// or panics.
pub fn check_all<T: Sync>(
    items: &[T],
    fixture: impl Fn(&T) -> &Fixture + Sync,
    check: impl Fn(&T) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result =
                catch_unwind(AssertUnwindSafe(|| check(item))).unwrap_or_else(|panic| Err(panic_text(&*panic)));
            if let Err(problem) = result {
                let name = format!("{}/{}", fixture(item).area, fixture(item).name);
                failures.lock().expect("no check panics while it holds the list").push((name, problem));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("all workers have ended");
    failures.sort();
    if failures.is_empty() {
        return;
    }
    let list: Vec<String> =
        failures.iter().map(|(name, problem)| format!("{name}: {}", problem.replace('\n', "\n    "))).collect();
    panic!("{} of {} fixtures fail:\n{}", failures.len(), items.len(), list.join("\n"));
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("not with a text"))
}
