//! `cu snapshot`, `cu resume` and `cu image`: saving a run in the middle, going on with it elsewhere, looking at what was saved.
//!
//! What a script prints up to the stop and what the resumed run prints are together what an undisturbed run prints, and the resumed run
//! ends with its exit code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cu_persist::{ImageFile, Limits, save_image};
use cu_vm::image::sizes::{string_bytes, upvalue_bytes};
use cu_vm::image::{CoroutineImage, FunctionImage, HostParts, Image, NoUserdata};
use cu_vm::{Host, Options};

use crate::arguments::{Arguments, HEAP_LIMIT, Program};
use crate::error::{Error, system_reason};
use crate::host::{Deterministic, Output, Terminal};
use crate::run::{Runner, source_of_file, source_of_stdin};

/// A desktop's limits: an image may be as large as a heap.
const LIMITS: Limits = Limits { payload_bytes: 1 << 31, objects: 1 << 28, function_bytes: 1 << 30 };

/// Saved with an image: whether the host told nothing of the outside.
const DETERMINISTIC: &[u8] = b"deterministic";

/// How many of the largest objects are shown.
const LARGEST_SHOWN: usize = 10;

/// Where a run stops and what it is saved to.
pub struct Stop {
    after: u64,
    file: PathBuf,
}

/// A command about images.
pub enum Command {
    Snapshot { arguments: Box<Arguments>, stop: Stop },
    Resume { file: PathBuf, fuel: Option<u64>, stop: Option<Stop> },
    Show { file: PathBuf },
}

impl Command {
    /// The command, if the command line has one; its first argument is the program's own name.
    pub fn parse(command_line: &[OsString]) -> Option<Result<Command, Error>> {
        let (program, rest) = command_line.split_first()?;
        let (name, rest) = rest.split_first()?;
        match name.to_str()? {
            "snapshot" => Some(parse_snapshot(program, rest)),
            "resume" => Some(parse_resume(rest)),
            "image" => Some(parse_show(rest)),
            _ => None,
        }
    }

    pub fn run(self, output: &Output) -> Result<(), Error> {
        match self {
            Command::Snapshot { arguments, stop } => snapshot(&arguments, &stop, output),
            Command::Resume { file, fuel, stop } => resume(&file, fuel, stop.as_ref(), output),
            Command::Show { file } => show(&file, output),
        }
    }
}

fn usage(problem: impl ToString) -> Error {
    Error::Usage(problem.to_string())
}

fn number(text: &OsString, option: &'static str) -> Result<u64, Error> {
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    let problem = || format!("'{}' is not a number of units", text.to_string_lossy());
    parsed.ok_or_else(|| Error::OptionValue { option, problem: problem() })
}

/// The values of some options, which may stand anywhere, and all other words.
fn split_options<'a>(
    rest: &'a [OsString],
    options: &[&str],
) -> Result<(Vec<Option<&'a OsString>>, Vec<&'a OsString>), Error> {
    let mut values = vec![None; options.len()];
    let mut others = Vec::new();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match options.iter().position(|option| word == option) {
            Some(index) => {
                let value = rest.next();
                values[index] = Some(value.ok_or_else(|| usage(format!("'{}' needs argument", options[index])))?);
            }
            None => others.push(word),
        }
    }
    Ok((values, others))
}

fn stop(after: Option<&OsString>, file: Option<&OsString>) -> Result<Option<Stop>, Error> {
    match (after, file) {
        (Some(after), Some(file)) => Ok(Some(Stop { after: number(after, "--after")?, file: file.into() })),
        (None, None) => Ok(None),
        _ => Err(usage("'--after' and '-o' go together")),
    }
}

fn parse_snapshot(program: &OsString, rest: &[OsString]) -> Result<Command, Error> {
    let (values, others) = split_options(rest, &["--after", "-o"])?;
    let stop = stop(values[0], values[1])?.ok_or_else(|| usage("'snapshot' needs '--after' and '-o'"))?;
    let plain = std::iter::once(program).chain(others).cloned();
    let arguments = Box::new(Arguments::parse(plain)?);
    if arguments.program == Program::None || arguments.interactive {
        return Err(usage("'snapshot' needs a script"));
    }
    Ok(Command::Snapshot { arguments, stop })
}

fn parse_resume(rest: &[OsString]) -> Result<Command, Error> {
    let (values, others) = split_options(rest, &["--after", "-o", "--fuel"])?;
    let stop = stop(values[0], values[1])?;
    let fuel = values[2].map(|fuel| number(fuel, "--fuel")).transpose()?;
    match others[..] {
        [file] => Ok(Command::Resume { file: file.into(), fuel, stop }),
        _ => Err(usage("'resume' needs one image")),
    }
}

fn parse_show(rest: &[OsString]) -> Result<Command, Error> {
    match rest {
        [file] => Ok(Command::Show { file: file.into() }),
        _ => Err(usage("'image' needs one image")),
    }
}

fn snapshot(arguments: &Arguments, stop: &Stop, output: &Output) -> Result<(), Error> {
    let (source, chunk_name) = match &arguments.program {
        Program::File(path) => source_of_file(path)?,
        _ => (source_of_stdin()?, "=stdin".to_owned()),
    };
    let mut runner = Runner::new(arguments, output.clone());
    crate::run_tasks(arguments, &mut runner)?;
    runner.start_script(&source, &chunk_name)?;
    let attachment = if arguments.deterministic { DETERMINISTIC } else { b"" };
    stop_and_save(runner, stop, attachment, output)
}

fn resume(file: &Path, fuel: Option<u64>, stop: Option<&Stop>, output: &Output) -> Result<(), Error> {
    let bytes = std::fs::read(file).map_err(|error| file_error("open", file, &error))?;
    let image = ImageFile::open(&bytes, &LIMITS)?;
    let is_deterministic = image.content()?.1 == DETERMINISTIC;
    let host: Box<dyn Host> = if is_deterministic {
        Box::new(Deterministic::new(output.clone()))
    } else {
        Box::new(Terminal::new(output.clone(), false))
    };
    let loaded = image.load(Options { heap_limit: HEAP_LIMIT, host, ..Options::default() }, &HostParts::NONE)?;
    drop(image);
    let mut runner = Runner::of_vm(loaded.vm, output.clone(), fuel);
    if let Some(stop) = stop {
        return stop_and_save(runner, stop, &loaded.attachment, output);
    }
    let result = if runner.vm().is_running() { runner.resume() } else { Ok(()) };
    crate::end(runner, result, output)
}

/// Runs up to the stop and saves the VM. A run that ends before is an error, after it has ended as it does.
fn stop_and_save(mut runner: Runner, stop: &Stop, attachment: &[u8], output: &Output) -> Result<(), Error> {
    let ended = match runner.go_on(stop.after) {
        Ok(false) => {
            let bytes = save_image(runner.vm(), &NoUserdata, attachment, &LIMITS)?;
            output.flush()?;
            return std::fs::write(&stop.file, bytes).map_err(|error| file_error("write", &stop.file, &error));
        }
        Ok(true) => Ok(()),
        Err(error) => Err(error),
    };
    crate::end(runner, ended, output)?;
    Err(Error::NoImage { path: stop.file.clone() })
}

fn file_error(action: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), reason: system_reason(error) }
}

fn show(file: &Path, output: &Output) -> Result<(), Error> {
    let bytes = std::fs::read(file).map_err(|error| file_error("open", file, &error))?;
    let opened = ImageFile::open(&bytes, &LIMITS)?;
    let (image, _) = opened.content()?;
    let mut lines = Vec::new();
    let state = if image.run.running { "stopped in a run" } else { "between runs" };
    lines.push(format!("image, format version {}, {} bytes, {state}", cu_persist::FORMAT_VERSION, bytes.len()));
    lines.push(format!(
        "heap: {} bytes used of {}, {} at the peak; {} units of fuel used",
        image.heap.used, image.heap.limit, image.heap.peak, image.run.fuel_used
    ));
    lines.push(String::new());
    show_kinds(&image, &mut lines);
    show_largest(&image, &mut lines);
    show_functions(&image, &mut lines);
    show_coroutines(&image, &mut lines);
    lines.iter().for_each(|line| output.write_line(line.as_bytes()));
    Ok(())
}

fn show_kinds(image: &Image<'_>, lines: &mut Vec<String>) {
    let strings = |strings: &[&[u8]]| strings.iter().map(|string| string_bytes(string.len())).sum();
    let kinds: [(&str, usize, u64); 9] = [
        ("strings", image.strings.len(), strings(&image.strings)),
        ("idle strings", image.idle_strings.len(), strings(&image.idle_strings)),
        ("tables", image.tables.len(), image.tables.iter().map(|table| table.nominal_bytes()).sum()),
        ("prototypes", image.functions.len(), image.functions.iter().map(FunctionImage::nominal_bytes).sum()),
        ("closures", image.closures.len(), image.closures.iter().map(|closure| closure.nominal_bytes()).sum()),
        ("upvalues", image.upvalues.len(), image.upvalues.len() as u64 * upvalue_bytes()),
        ("native functions", image.natives.len(), image.natives.iter().map(|native| native.nominal_bytes()).sum()),
        ("userdata", image.userdata.len(), image.userdata.iter().map(|userdata| userdata.nominal_bytes()).sum()),
        ("coroutines", image.coroutines.len(), image.coroutines.iter().map(CoroutineImage::nominal_bytes).sum()),
    ];
    lines.push(format!("{:<18} {:>8} {:>12}", "kind", "count", "bytes"));
    lines.extend(kinds.iter().map(|(name, count, bytes)| format!("{name:<18} {count:>8} {bytes:>12}")));
}

fn show_largest(image: &Image<'_>, lines: &mut Vec<String>) {
    let mut objects: Vec<(u64, String)> = Vec::new();
    for (number, table) in image.tables.iter().enumerate() {
        let text = format!("table {number}: {} items, {} fields", table.array_length, table.entries);
        objects.push((table.nominal_bytes(), text));
    }
    for string in image.strings.iter().filter(|string| string.len() > 40) {
        let start = String::from_utf8_lossy(&string[..40]);
        objects.push((string_bytes(string.len()), format!("string {start:?}...")));
    }
    for (number, coroutine) in image.coroutines.iter().enumerate() {
        let text = format!("coroutine {number}: {} slots, {} calls", coroutine.stack_length, coroutine.frames.len());
        objects.push((coroutine.nominal_bytes(), text));
    }
    for function in &image.functions {
        objects.push((function.nominal_bytes(), format!("prototype {}", position(function))));
    }
    // The order among equals is that of the image.
    objects.sort_by_key(|object| std::cmp::Reverse(object.0));
    lines.push(String::new());
    lines.push("largest".to_owned());
    let shown = objects.iter().take(LARGEST_SHOWN);
    lines.extend(shown.map(|(bytes, text)| format!("{bytes:>12}  {text}")));
}

fn show_functions(image: &Image<'_>, lines: &mut Vec<String>) {
    let mut closures = vec![0usize; image.functions.len()];
    for closure in &image.closures {
        if let Some(count) = closures.get_mut(closure.function as usize) {
            *count += 1;
        }
    }
    lines.push(String::new());
    lines.push(format!("{:<40} {:>8} {:>12}", "functions", "closures", "bytes"));
    for (function, closures) in image.functions.iter().zip(closures) {
        lines.push(format!("{:<40} {closures:>8} {:>12}", position(function), function.nominal_bytes()));
    }
}

fn show_coroutines(image: &Image<'_>, lines: &mut Vec<String>) {
    for (number, coroutine) in image.coroutines.iter().enumerate() {
        let main = if number == image.roots.main as usize { ", main" } else { "" };
        lines.push(String::new());
        lines.push(format!("coroutine {number}: {:?}{main}", coroutine.status).to_lowercase());
        for frame in coroutine.frames.iter().rev() {
            let callee = frame.callee as usize;
            let text = if frame.is_native {
                image.natives.get(callee).map(|native| native.name.to_owned())
            } else {
                let closure = image.closures.get(callee);
                let function = closure.and_then(|closure| image.functions.get(closure.function as usize));
                function.map(|function| current_position(function, frame.pc as usize))
            };
            lines.push(format!("  {}", text.unwrap_or_else(|| "?".to_owned())));
        }
    }
}

/// Where a function is defined.
fn position(function: &FunctionImage) -> String {
    match function.parts.line_defined {
        0 => format!("{} (main)", chunk(function)),
        line => format!("{}:{line}", chunk(function)),
    }
}

fn current_position(function: &FunctionImage, pc: usize) -> String {
    format!("{}:{}", chunk(function), function.parts.line_at(pc.saturating_sub(1)))
}

/// A chunk's name as people know it: a file's path, or the first line of a text.
fn chunk(function: &FunctionImage) -> String {
    let name = String::from_utf8_lossy(&function.parts.chunk_name);
    match name.strip_prefix(['@', '=']) {
        Some(name) => name.to_owned(),
        None => format!("[string {:?}]", name.lines().next().unwrap_or_default()),
    }
}
