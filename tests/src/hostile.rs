//! The hostile corpus: code that tries to get out of its limits, and how each piece has to end.
//!
//! A file `fixtures/hostile/<class>.lua` holds many cases. Each starts with a line `--@ name; key: value; …`:
//!
//! ```text
//! --@ repetition; end: not enough memory; heap: 256K; each X: "a" | ("b"):rep(100)
//! local s = ($X):rep(1e8)
//! ```
//!
//! The keys: `end` (`finishes`, `out of fuel`, `not enough memory`, or `error: ` and how the message ends), `heap` and `fuel` (with
//! K and M for 1024 and 1024²), and `each NAME`, which makes a case of every value between bars, put in place of `$NAME`.

use cu_vm::{RunError, Step, Vm};

use crate::fixture::repository;

/// How a case has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Finishes,
    OutOfFuel,
    OutOfMemory,
    /// The message ends with this.
    Error(String),
}

/// A piece of hostile code.
#[derive(Debug, Clone)]
pub struct HostileCase {
    /// Of the file.
    pub class: String,
    pub name: String,
    pub source: String,
    pub end: End,
    /// In nominal bytes.
    pub heap_limit: usize,
    pub fuel: u64,
}

const HEAP_LIMIT: usize = 1 << 20;
const FUEL: u64 = 2 << 20;

/// All cases, in the order of the files' names.
///
/// # Panics
///
/// A file has another form.
pub fn hostile_cases() -> Vec<HostileCase> {
    let folder = repository().join("fixtures/hostile");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "lua"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let class = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut blocks = text.split("--@ ");
        blocks.next();
        for block in blocks {
            cases.extend(
                parse(&class, block).unwrap_or_else(|problem| panic!("{}: {problem}: {block}", path.display())),
            );
        }
    }
    cases
}

fn parse(class: &str, block: &str) -> Result<Vec<HostileCase>, String> {
    let (head, source) = block.split_once('\n').ok_or("no code")?;
    let mut words = head.split("; ");
    let name = words.next().unwrap_or_default().to_owned();
    let mut case = HostileCase {
        class: class.to_owned(),
        name,
        source: source.to_owned(),
        end: End::Finishes,
        heap_limit: HEAP_LIMIT,
        fuel: FUEL,
    };
    let mut each = None;
    for word in words {
        match word.split_once(": ").ok_or("a key has no value")? {
            ("end", "finishes") => {}
            ("end", "out of fuel") => case.end = End::OutOfFuel,
            ("end", "not enough memory") => case.end = End::OutOfMemory,
            ("end", text) => {
                case.end = End::Error(text.strip_prefix("error: ").ok_or("an end that is none")?.to_owned());
            }
            ("heap", size) => case.heap_limit = number(size).ok_or("heap is no number")?,
            ("fuel", amount) => case.fuel = number(amount).ok_or("fuel is no number")? as u64,
            (key, values) => each = Some((key.strip_prefix("each ").ok_or("an unknown key")?, values)),
        }
    }
    let Some((variable, values)) = each else {
        return Ok(vec![case]);
    };
    let variants = values.split(" | ").map(|value| HostileCase {
        name: format!("{} ({value})", case.name),
        source: case.source.replace(&format!("${variable}"), value),
        ..case.clone()
    });
    Ok(variants.collect())
}

fn number(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// One operation may take more than what is left: so much, and a single pattern match as much as it has taken already.
const OVERRUN_MAX: u64 = 1 << 20;
const SLICE: u64 = 50_000;

/// Runs a chunk for `fuel` units altogether.
///
/// # Errors
///
/// The run went too far over its fuel, or was none.
pub fn run_within(vm: &mut Vm, source: &str, fuel: u64) -> Result<End, String> {
    let function = match vm.load(source.as_bytes(), "=hostile") {
        Ok(function) => function,
        Err(error) => return Ok(End::Error(error.to_string())),
    };
    vm.start(|context| (context.fetch(&function), Vec::new())).map_err(|error| error.to_string())?;
    vm.enter(|context| context.release(function));
    loop {
        let left = fuel.saturating_sub(vm.fuel_used());
        if left == 0 {
            let used = vm.fuel_used();
            vm.abort();
            return if used <= 2 * fuel + OVERRUN_MAX { Ok(End::OutOfFuel) } else { Err(format!("{used} fuel used")) };
        }
        match vm.step(left.min(SLICE)).map_err(|error| error.to_string())? {
            Step::OutOfFuel | Step::Waiting => {}
            Step::Finished | Step::Exited { .. } => return Ok(End::Finishes),
            Step::Failed => {
                return Ok(match vm.take_error() {
                    RunError::Lua { message, .. } if message == "not enough memory" => End::OutOfMemory,
                    error => End::Error(error.to_string()),
                });
            }
        }
    }
}
