//! `cu`: runs Lua 5.4 programs, and reads and runs them line by line, as `lua` does.
//!
//! What `lua` prints, this prints, with `cu` for the program's name: results, errors with their traceback on the
//! standard error stream, exit code 1 after an error. Its own options limit a run ([`arguments::USAGE`]).

#![forbid(unsafe_code)]

mod arguments;
mod database;
mod error;
mod files;
mod host;
mod repl;
mod run;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use arguments::{Arguments, Program, USAGE};
use error::Error;
use host::Output;
use run::{Runner, source_of_file, source_of_stdin};

#[global_allocator]
static ALLOCATOR: cu_allocator::SizeClassAllocator = cu_allocator::SizeClassAllocator;

fn main() -> ExitCode {
    let output = Output::new();
    let result = Arguments::parse(std::env::args_os()).and_then(|arguments| run(&arguments, &output));
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
        output.write(USAGE.as_bytes());
        return Ok(());
    }
    // Kept open to the end of the run.
    let _database = arguments.database.as_deref().map(database::open).transpose()?;
    let mut runner = Runner::new(arguments, output.clone());
    let result = run_chunks(arguments, &mut runner, output);
    if let Err(error) = &result
        && error.ends_the_run()
    {
        if let Error::Exit { close: true, .. } = error {
            runner.close()?;
        }
        return result;
    }
    // The message comes before what finalizers print, as from `lua`.
    let failed = result.is_err();
    if let Err(error) = result {
        report(output, &error);
    }
    runner.close()?;
    if failed { Err(Error::Reported) } else { Ok(()) }
}

fn run_chunks(arguments: &Arguments, runner: &mut Runner, output: &Output) -> Result<(), Error> {
    if arguments.version {
        output.write_line(arguments::version().as_bytes());
    }
    if arguments.warnings {
        runner.run(b"warn('@on')", "=(command line)", &[])?;
    }
    for code in &arguments.code {
        runner.run(code, "=(command line)", &[])?;
    }
    match &arguments.program {
        Program::File(path) => {
            let (source, chunk_name) = source_of_file(path)?;
            runner.run(&source, &chunk_name, &arguments.script_arguments)?;
        }
        Program::Stdin => runner.run(&source_of_stdin()?, "=stdin", &arguments.script_arguments)?,
        Program::None if arguments.interactive || !arguments.code.is_empty() || arguments.version => {}
        Program::None if std::io::stdin().is_terminal() => return repl::run(runner, output),
        Program::None => runner.run(&source_of_stdin()?, "=stdin", &[])?,
    }
    if arguments.interactive { repl::run(runner, output) } else { Ok(()) }
}

/// Writes an error to the standard error stream, after all output so far.
fn report(output: &Output, error: &Error) {
    if error.is_silent() {
        return;
    }
    // The stream that failed gets no more, and there is nobody to tell when stderr fails.
    let _ = output.flush();
    let mut text = b"cu: ".to_vec();
    text.extend_from_slice(&error.text());
    text.push(b'\n');
    if matches!(error, Error::Usage(_)) {
        text.extend_from_slice(USAGE.as_bytes());
    }
    let _ = std::io::stderr().write_all(&text);
}
