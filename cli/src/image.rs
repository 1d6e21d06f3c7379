//! `cu snapshot`, `cu resume` and `cu image`: saving a run in the middle, going on with it elsewhere, looking at what was saved.
//!
//! What a script prints up to the stop and what the resumed run prints are together what an undisturbed run prints, and the resumed run
//! ends with its exit code. With `--db` both have the tables of a database in `ext`, by name; `_home` belongs to whole runs and is in neither.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cu_persist::{CorruptKind, External, ImageFile, Limits, save_image};
use cu_vm::image::sizes::{string_bytes, upvalue_bytes};
use cu_vm::image::{CoroutineImage, FunctionImage, HostParts, Image, NoUserdata};
use cu_vm::{Host, Options};

use crate::arguments::{Arguments, HEAP_LIMIT, Program, Tables, names, unrecognized};
use crate::database;
use crate::error::{Error, system_reason};
use crate::host::{Deterministic, Output, Terminal};
use crate::run::{Runner, external_tables, source_of_file, source_of_stdin};

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

/// How a saved run is gone on with.
pub struct Resume {
    file: PathBuf,
    fuel: Option<u64>,
    stop: Option<Stop>,
    database: Option<PathBuf>,
    tables: Option<Tables>,
}

/// A command about images.
pub enum Command {
    Snapshot { arguments: Box<Arguments>, stop: Stop },
    Resume(Resume),
    Show { file: PathBuf },
    Help,
}

impl Command {
    /// The command, if the command line has one; its first argument is the program's own name.
    pub fn parse(command_line: &[OsString]) -> Option<Result<Command, Error>> {
        let (program, rest) = command_line.split_first()?;
        let (name, rest) = rest.split_first()?;
        let is_known = matches!(name.to_str()?, "snapshot" | "resume" | "image");
        if is_known && rest.first().is_some_and(|word| word == "--help") {
            return Some(Ok(Command::Help));
        }
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
            Command::Resume(command) => command.run(output),
            Command::Show { file } => show(&file, output),
            Command::Help => {
                output.write(crate::usage().as_bytes());
                Ok(())
            }
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
    let has_script = arguments.program != Program::None || !std::io::stdin().is_terminal();
    if !has_script || arguments.interactive {
        return Err(usage("'snapshot' needs a script"));
    }
    if arguments.audit.is_some() || arguments.atomic {
        return Err(usage("'--audit' and '--atomic' belong to whole runs"));
    }
    Ok(Command::Snapshot { arguments, stop })
}

fn parse_resume(rest: &[OsString]) -> Result<Command, Error> {
    let (values, others) = split_options(rest, &["--after", "-o", "--fuel", "--db", "--read", "--write"])?;
    let stop = stop(values[0], values[1])?;
    let fuel = values[2].map(|fuel| number(fuel, "--fuel")).transpose()?;
    let names = |value: Option<&OsString>| value.map(|value| names(value.as_encoded_bytes()));
    let tables = match (names(values[4]), names(values[5])) {
        (None, None) => None,
        (read, write) => Some(Tables { read: read.unwrap_or_default(), write: write.unwrap_or_default() }),
    };
    let file = one_image("resume", &others)?;
    Ok(Command::Resume(Resume { file, fuel, stop, database: values[3].map(Into::into), tables }))
}

fn parse_show(rest: &[OsString]) -> Result<Command, Error> {
    Ok(Command::Show { file: one_image("image", &rest.iter().collect::<Vec<_>>())? })
}

/// The image that a command is given, and nothing else.
fn one_image(command: &str, words: &[&OsString]) -> Result<PathBuf, Error> {
    let mut words = words.iter();
    let is_option = |word: &&&OsString| word.as_encoded_bytes().starts_with(b"-");
    match (words.clone().find(is_option), words.next(), words.next()) {
        (Some(option), ..) => Err(unrecognized(option.as_encoded_bytes())),
        (None, Some(file), None) => Ok(file.into()),
        _ => Err(usage(format!("'{command}' needs one image"))),
    }
}

fn snapshot(arguments: &Arguments, stop: &Stop, output: &Output) -> Result<(), Error> {
    let (source, chunk_name) = match &arguments.program {
        Program::File(path) => source_of_file(path)?,
        _ => (source_of_stdin()?, "=stdin".to_owned()),
    };
    let database = arguments.database.as_deref().map(database::open).transpose()?.map(Rc::new);
    let mut runner = Runner::new(arguments, output.clone());
    if let Some(database) = &database {
        runner.use_tables(external_tables(database.clone(), arguments.tables.clone()), true)?;
    }
    crate::run_tasks(arguments, &mut runner)?;
    runner.start_script(&source, &chunk_name)?;
    let attachment = if arguments.deterministic { DETERMINISTIC } else { b"" };
    let saved = stop_and_save(runner, stop, attachment, output);
    database.map_or(Ok(()), |database| database::close(&database)).and(saved)
}

impl Resume {
    fn run(&self, output: &Output) -> Result<(), Error> {
        let image = open(&self.file)?;
        let is_deterministic = image.content().map_err(|error| self.failure(&error))?.1 == DETERMINISTIC;
        let host: Box<dyn Host> = if is_deterministic {
            Box::new(Deterministic::new(output.clone()))
        } else {
            Box::new(Terminal::new(output.clone(), false))
        };
        let database = self.database.as_deref().map(database::open).transpose()?.map(Rc::new);
        let external = database.clone().map(|database| external_tables(database, self.tables.clone()));
        let codec = external.as_ref().map(External::codec);
        let natives = if external.is_some() { External::natives() } else { Vec::new() };
        let parts = HostParts { natives: &natives, userdata: codec.as_deref().unwrap_or(&NoUserdata) };
        let options = Options { heap_limit: HEAP_LIMIT, host, ..Options::default() };
        let loaded = image.load(options, &parts).map_err(|error| self.failure(&error))?;
        drop(image);
        let mut runner = Runner::of_vm(loaded.vm, output.clone(), self.fuel);
        if let Some(external) = external {
            runner.use_tables(external, false)?;
        }
        if !runner.vm().is_running() {
            let reason = "it was saved between two runs, so there is nothing to go on with".to_owned();
            return Err(Error::Load { path: self.file.clone(), reason });
        }
        let ended = match &self.stop {
            Some(stop) => stop_and_save(runner, stop, &loaded.attachment, output),
            None => {
                let result = runner.resume();
                let result = runner.end_run(result);
                crate::end(runner, result, output)
            }
        };
        database.map_or(Ok(()), |database| database::close(&database)).and(ended)
    }

    fn failure(&self, error: &cu_persist::Error) -> Error {
        load_failure(&self.file, self.database.is_some(), error)
    }
}

/// Reads an image and checks its envelope.
fn open(file: &Path) -> Result<ImageFile, Error> {
    let bytes = std::fs::read(file).map_err(|error| file_error("open", file, &error))?;
    ImageFile::open(&bytes, &LIMITS).map_err(|error| match error {
        cu_persist::Error::Corrupt { kind: CorruptKind::Magic, .. } => {
            Error::NotAnImage { path: file.to_owned(), what: other_kind(&bytes) }
        }
        error => load_failure(file, true, &error),
    })
}

/// What else a file is that people may take for an image.
fn other_kind(bytes: &[u8]) -> &'static str {
    let kinds: [(&[u8], &str); 3] = [
        (b"\x1bCuF", ", but a saved function"),
        (b"\x1bLua", ", but a binary chunk"),
        (b"redb", ", but a database (see 'cu db')"),
    ];
    kinds.iter().find(|(start, _)| bytes.starts_with(start)).map_or("", |(_, what)| what)
}

fn load_failure(file: &Path, has_database: bool, error: &cu_persist::Error) -> Error {
    let reason = match error {
        cu_persist::Error::Corrupt { .. } => format!("the file is damaged or cut short: {error}"),
        cu_persist::Error::UnknownPermanent { name, .. } if name.starts_with("ext") && !has_database => {
            "it uses the tables of a database, which '--db' has to name".to_owned()
        }
        error => error.to_string(),
    };
    Error::Load { path: file.to_owned(), reason }
}

/// Runs up to the stop and saves the VM. A run that ends before is an error, after it has ended as it does.
fn stop_and_save(mut runner: Runner, stop: &Stop, attachment: &[u8], output: &Output) -> Result<(), Error> {
    let ended = match runner.go_on(stop.after) {
        Ok(false) => {
            let bytes = save_image(runner.vm(), &*runner.codec(), attachment, &LIMITS)?;
            output.flush()?;
            return write_whole(&stop.file, &bytes).map_err(|error| file_error("write", &stop.file, &error));
        }
        Ok(true) => Ok(()),
        Err(error) => Err(error),
    };
    let ended = runner.end_run(ended);
    crate::end(runner, ended, output)?;
    Err(Error::NoImage { path: stop.file.clone() })
}

/// Writes a file so that an older one of the name is there until the new one is complete.
fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let is_other = std::fs::metadata(file).is_ok_and(|found| !found.is_file());
    if is_other {
        return std::fs::write(file, bytes);
    }
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(&part, file)
}

fn file_error(action: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::File { action, path: path.to_owned(), reason: system_reason(error) }
}

fn show(file: &Path, output: &Output) -> Result<(), Error> {
    let opened = open(file)?;
    let (image, _) = opened.content().map_err(|error| load_failure(file, true, &error))?;
    let length = std::fs::metadata(file).map_err(|error| file_error("open", file, &error))?.len();
    let mut lines = Vec::new();
    let state = if image.run.running { "stopped in a run" } else { "between runs" };
    lines.push(format!("image, format version {}, {} bytes, {state}", cu_persist::FORMAT_VERSION, length));
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
