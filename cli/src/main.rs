//! `cu`: runs Lua 5.4 programs, and reads and runs them line by line, as `lua` does.
//!
//! What `lua` prints, this prints: results, errors with the name it was started by and their traceback on the standard error
//! stream, exit code 1 after an error. Its own options limit a run ([`arguments::OPTIONS`]).

#![forbid(unsafe_code)]

mod arguments;
mod audit;
mod database;
mod database_command;
mod error;
mod files;
mod host;
mod image;
mod interrupt;
mod repl;
mod run;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::rc::Rc;

use arguments::{Arguments, OPTIONS, Program, Task};
use error::Error;
use host::Output;
use run::{Runner, source_of_file, source_of_stdin};

#[global_allocator]
static ALLOCATOR: cu_allocator::SizeClassAllocator = cu_allocator::SizeClassAllocator;

fn main() -> ExitCode {
    let output = Output::new();
    let command_line: Vec<OsString> = std::env::args_os().collect();
    let result = match (command_line.get(1), image::Command::parse(&command_line)) {
        (Some(word), _) if word == "db" => database_command::run(&command_line[2..], &output),
        (_, Some(command)) => command.and_then(|command| command.run(&output)),
        (_, None) => Arguments::parse(command_line.into_iter()).and_then(|arguments| run(&arguments, &output)),
    };
    let result = match result {
        Ok(()) => output.flush(),
        // `os.exit` gives what was printed to the system too.
        Err(exit @ Error::Exit { .. }) => output.flush().and(Err(exit)),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&output, &error);
            error.exit_code()
        }
    }
}

fn run(arguments: &Arguments, output: &Output) -> Result<(), Error> {
    if arguments.help {
        output.write(usage().as_bytes());
        return Ok(());
    }
    let database = arguments.database.as_deref().map(database::open).transpose()?.map(Rc::new);
    let mut runner = Runner::new(arguments, output.clone());
    if let Some(database) = &database {
        runner.keep_in(database.clone())?;
    }
    let result = run_chunks(arguments, &mut runner, output);
    let result = runner.end_run(result);
    let result = match &database {
        Some(database) => audit::record(arguments, database, result),
        None => result,
    };
    let result = end(runner, result, output);
    match database {
        Some(database) => result.and(database::close(&database)),
        None => result,
    }
}

/// Ends the VM after a run: its error is shown, finalizers run.
fn end(mut runner: Runner, result: Result<(), Error>, output: &Output) -> Result<(), Error> {
    if let Err(error) = &result
        && error.ends_the_run()
    {
        if let Error::Exit { close: true, .. } = error {
            close(&mut runner)?;
        }
        return result;
    }
    // The message comes before what finalizers print, as from `lua`.
    let failed = result.is_err();
    if let Err(error) = result {
        report(output, &error);
    }
    close(&mut runner)?;
    if failed { Err(Error::Reported) } else { Ok(()) }
}

/// Runs the finalizers of everything. One that calls `os.exit` says how the process ends, and whether the others still run.
fn close(runner: &mut Runner) -> Result<(), Error> {
    let mut result = Ok(());
    loop {
        match runner.close() {
            Err(exit @ Error::Exit { close: true, .. }) => result = Err(exit),
            Ok(()) => return result,
            error => return error,
        }
    }
}

fn run_chunks(arguments: &Arguments, runner: &mut Runner, output: &Output) -> Result<(), Error> {
    if arguments.version {
        output.write_line(arguments::version().as_bytes());
    }
    run_tasks(arguments, runner)?;
    let has_code = arguments.tasks.iter().any(|task| matches!(task, Task::Execute(_)));
    match &arguments.program {
        Program::File(path) => {
            let (source, chunk_name) = source_of_file(path)?;
            runner.run_script(&source, &chunk_name)?;
        }
        Program::Stdin => runner.run_script(&source_of_stdin()?, "=stdin")?,
        Program::None if has_code || arguments.version => {}
        Program::None if std::io::stdin().is_terminal() => {
            output.write_line(arguments::version().as_bytes());
            return repl::run(runner, output);
        }
        Program::None => runner.run(&source_of_stdin()?, "=stdin")?,
    }
    if arguments.interactive { repl::run(runner, output) } else { Ok(()) }
}

/// What comes before the script.
fn run_tasks(arguments: &Arguments, runner: &mut Runner) -> Result<(), Error> {
    if !arguments.ignores_environment && !arguments.deterministic {
        run_initialization(runner)?;
    }
    for task in &arguments.tasks {
        match task {
            Task::Execute(code) => runner.run(code, "=(command line)")?,
            Task::Require { global, module } => runner.require(global, module)?,
            Task::WarningsOn => runner.warnings_on()?,
        }
    }
    Ok(())
}

/// Runs what the environment variable for this version of Lua, or the one for all, has: a chunk, or `@` and the name of a file.
fn run_initialization(runner: &mut Runner) -> Result<(), Error> {
    let value = |name| Some((name, std::env::var_os(name)?.into_encoded_bytes()));
    let Some((name, value)) = value("LUA_INIT_5_4").or_else(|| value("LUA_INIT")) else {
        return Ok(());
    };
    match value.strip_prefix(b"@") {
        Some(path) => {
            let (source, chunk_name) = source_of_file(&files::path(path))?;
            runner.run(&source, &chunk_name)
        }
        None => runner.run(&value, &format!("={name}")),
    }
}

/// Writes an error to the standard error stream, after all output so far.
fn report(output: &Output, error: &Error) {
    if error.is_silent() {
        return;
    }
    // The stream that failed gets no more, and there is nobody to tell when stderr fails.
    let _ = output.flush();
    let mut text = format!("{}: ", program_name()).into_bytes();
    text.extend_from_slice(&error.text());
    text.push(b'\n');
    if matches!(error, Error::Usage(_)) {
        text.extend_from_slice(usage().as_bytes());
    }
    let _ = std::io::stderr().write_all(&text);
}

fn usage() -> String {
    format!("usage: {} [options] [script [args]]\n{OPTIONS}", program_name())
}

/// What the program was started as.
fn program_name() -> String {
    let name = std::env::args_os().next().filter(|name| !name.is_empty());
    name.map_or_else(|| "cu".to_owned(), |name| name.to_string_lossy().into_owned())
}
