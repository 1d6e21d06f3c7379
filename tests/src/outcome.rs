//! Running a program under given conditions, and comparing what came out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cu_vm::{Files, Host, MemoryFiles, Options, RunError, Step, Value, Vm};

/// The heap limit of ordinary runs, in nominal bytes.
pub const HEAP_LIMIT: usize = 64 << 20;

/// How a program is run.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    pub heap_limit: usize,
    /// Fuel per step.
    pub slice: u64,
    /// Whether a full collection comes before every step.
    pub collect: bool,
    /// More steps than this are a failure.
    pub steps_max: u64,
    /// Replaces the VM between two steps.
    pub replace: Option<Replace>,
    /// After so many steps the run goes on undisturbed.
    pub disturbed_steps: u64,
    /// A chunk that is run before the program, in the same VM.
    pub prelude: &'static str,
}

/// Makes a VM that is to go on in the place of the given one.
pub type Replace = fn(&Vm, Options) -> Result<Vm, String>;

impl Default for Conditions {
    /// Uninterrupted, with more fuel than any fixture takes.
    fn default() -> Self {
        Conditions {
            heap_limit: HEAP_LIMIT,
            slice: 100_000_000,
            collect: false,
            steps_max: 1,
            replace: None,
            disturbed_steps: u64::MAX,
            prelude: "",
        }
    }
}

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub output: Vec<u8>,
    /// The message of the error that ended it.
    pub error: Option<Vec<u8>>,
    /// For the whole run, the finalizers at its end left out.
    pub fuel: u64,
}

impl Outcome {
    /// Compares output and error.
    pub fn expect(&self, output: &[u8], error: Option<&[u8]>) -> Result<(), String> {
        if self.output != output {
            return Err(format!("output {}", first_difference(output, &self.output)) + &self.error_note(error));
        }
        if self.error.as_deref() != error {
            let shown = |error: Option<&[u8]>| {
                error.map_or("no error".to_owned(), |text| String::from_utf8_lossy(text).into_owned())
            };
            return Err(format!("error\n- {}\n+ {}", shown(error), shown(self.error.as_deref())));
        }
        Ok(())
    }

    /// An unexpected error, which usually explains missing output.
    fn error_note(&self, expected: Option<&[u8]>) -> String {
        match &self.error {
            Some(error) if expected != Some(error) => {
                format!("\nerror: {}", String::from_utf8_lossy(error))
            }
            _ => String::new(),
        }
    }
}

/// The first line that differs, as recorded (`-`) and as it came (`+`).
fn first_difference(expected: &[u8], actual: &[u8]) -> String {
    let lines = |text: &[u8]| -> Vec<String> {
        text.split(|&byte| byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    let (expected, actual) = (lines(expected), lines(actual));
    let shared = expected.iter().zip(&actual).take_while(|(expected, actual)| expected == actual).count();
    let shown = |lines: &[String]| match lines.get(shared) {
        Some(line) => line.chars().take(200).collect(),
        None => "(end)".to_owned(),
    };
    format!("line {}\n- {}\n+ {}", shared + 1, shown(&expected), shown(&actual))
}

/// Runs a program in a VM of its own, then ends the VM as `lua` does, with the finalizers of all that is left.
///
/// # Errors
///
/// The run took more steps than allowed.
pub fn run(source: &[u8], chunk_name: &str, conditions: Conditions) -> Result<Outcome, String> {
    let output = Rc::new(RefCell::new(Vec::new()));
    let files = MemoryFiles::new().with_output(output.clone());
    let host = Collector { output: output.clone(), files, clock: Rc::default() };
    let options =
        || Options { heap_limit: conditions.heap_limit, seed: 42, host: Box::new(host.clone()), ..Options::default() };
    let mut vm = Vm::new(options());
    if !conditions.prelude.is_empty() {
        let prelude = vm.load(conditions.prelude.as_bytes(), "=prelude").map_err(|error| error.to_string())?;
        vm.run(&prelude, u64::MAX, |_, _| ()).map_err(|error| error.to_string())?;
    }
    let (error, fuel) = match vm.load(source, chunk_name) {
        Ok(function) => {
            vm.start(|context| (context.fetch(&function), Vec::new())).map_err(|error| error.to_string())?;
            let step = finish(&mut vm, conditions, &options)?;
            let fuel = vm.fuel_used();
            let error = match step {
                Step::Failed => Some(error_of(&vm)),
                Step::Exited { code, .. } => Some(RunError::Exited { code }.to_string().into_bytes()),
                _ => None,
            };
            (error, fuel)
        }
        Err(error) => (Some(error.to_string().into_bytes()), 0),
    };
    vm.start_close().map_err(|error| error.to_string())?;
    if finish(&mut vm, conditions, &options)? == Step::Failed {
        return Err(format!("the end of the VM failed: {}", vm.take_error()));
    }
    let output = output.take();
    Ok(Outcome { output, error, fuel })
}

/// What the compiler says against a program.
pub(crate) fn compile_error(source: &[u8]) -> Option<Vec<u8>> {
    let vm = Vm::new(Options { heap_limit: HEAP_LIMIT, ..Options::default() });
    vm.load(source, "@p").err().map(|error| error.to_string().into_bytes())
}

fn finish(vm: &mut Vm, conditions: Conditions, options: &dyn Fn() -> Options) -> Result<Step, String> {
    for number in 0..conditions.steps_max {
        let is_disturbed = number < conditions.disturbed_steps;
        if conditions.collect {
            vm.collect();
        }
        let slice = if is_disturbed { conditions.slice } else { Conditions::default().slice };
        let step = vm.step(slice).map_err(|error| error.to_string())?;
        if let Some(replace) = conditions.replace.filter(|_| is_disturbed) {
            *vm = replace(vm, options())?;
        }
        if step != Step::OutOfFuel {
            return Ok(step);
        }
    }
    Err(format!("not at its end after {} steps of {} fuel", conditions.steps_max, conditions.slice))
}

/// The message of the error that ended a run, byte for byte if the error is a string.
fn error_of(vm: &Vm) -> Vec<u8> {
    let text = vm.take_error_value(|_, value| match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    });
    text.unwrap_or_else(|| match vm.take_error() {
        RunError::Lua { message, .. } => message.into_bytes(),
        other => other.to_string().into_bytes(),
    })
}

/// A host that keeps the output, has files in memory and a clock, which advances by a millisecond each time it is read.
#[derive(Clone)]
struct Collector {
    output: Rc<RefCell<Vec<u8>>>,
    files: MemoryFiles,
    clock: Rc<Cell<f64>>,
}

impl Host for Collector {
    fn write(&mut self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        Some(&mut self.files)
    }

    fn time(&mut self) -> Option<i64> {
        Some(1_700_000_000)
    }

    fn clock(&mut self) -> Option<f64> {
        self.clock.set(self.clock.get() + 0.001);
        Some(self.clock.get())
    }
}
