//! Interactive mode: reads a chunk, runs it, prints what it returns, until the end of the input.
//!
//! A line is tried as an expression first, by a `return` before it (a leading `=` says the same), then as the start of a chunk,
//! which goes on for as many lines as it takes: the compiler says "near <eof>" of an unfinished one. On a terminal the lines
//! are edited and remembered; from anything else they are read as they are and shown on
//! standard output, after the same prompts.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use cu_vm::{Handle, RunError};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::error::{Error, system_reason};
use crate::host::Output;
use crate::run::{Runner, syntax_error};

const CHUNK_NAME: &str = "=stdin";

/// A global variable that has the text shown before a line, and the text without it.
struct Prompt {
    variable: &'static [u8],
    default: &'static str,
}

const FIRST: Prompt = Prompt { variable: b"_PROMPT", default: "> " };
const CONTINUATION: Prompt = Prompt { variable: b"_PROMPT2", default: ">> " };

/// Where lines come from.
enum Lines {
    Terminal { editor: Box<DefaultEditor>, history: Option<PathBuf> },
    Stream,
}

/// Runs until the end of the input, or until the fuel of the process is used up.
pub fn run(runner: &mut Runner, output: &Output) -> Result<(), Error> {
    let mut lines = Lines::open()?;
    let result = read_and_run(runner, output, &mut lines);
    lines.close();
    if result.is_ok() {
        output.write_line(b"");
    }
    result
}

fn read_and_run(runner: &mut Runner, output: &Output, lines: &mut Lines) -> Result<(), Error> {
    loop {
        let function = match read_chunk(runner, output, lines) {
            Ok(Some(function)) => function,
            Ok(None) => return Ok(()),
            Err(Error::Interrupted) => continue,
            Err(error @ (Error::Terminal(_) | Error::File { .. })) => return Err(error),
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => {
                show_error(output, &error)?;
                continue;
            }
        };
        let result = runner.call(&function, |_| Vec::new());
        runner.enter(|context| context.release(function));
        // Without `--atomic`, what a line that failed has done to `_home` is stored with the next one that ends well.
        let result = result.and_then(|()| print_results(runner));
        match runner.end_run(result) {
            Ok(()) => {}
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => show_error(output, &error)?,
        }
    }
}

/// Reads lines until they are a chunk. None at the end of the input.
fn read_chunk(runner: &mut Runner, output: &Output, lines: &mut Lines) -> Result<Option<Handle>, Error> {
    let Some(mut text) = lines.read(runner, output, &FIRST)? else {
        return Ok(None);
    };
    if let Some(expression) = text.strip_prefix(b"=") {
        text = [b"return ", expression].concat();
    }
    if let Ok(function) = runner.load(&[b"return ", &text[..], b";"].concat(), CHUNK_NAME) {
        lines.remember(&text);
        return Ok(Some(function));
    }
    loop {
        match runner.load(&text, CHUNK_NAME) {
            Ok(function) => {
                lines.remember(&text);
                return Ok(Some(function));
            }
            Err(RunError::Syntax { message, .. }) if message.ends_with("<eof>") => {
                match lines.read(runner, output, &CONTINUATION)? {
                    Some(line) => {
                        text.push(b'\n');
                        text.extend(line);
                    }
                    None => return Err(Error::Lua(message.into_bytes())),
                }
            }
            Err(error) => {
                lines.remember(&text);
                return Err(syntax_error(error));
            }
        }
    }
}

impl Lines {
    fn open() -> Result<Lines, Error> {
        if !std::io::stdin().is_terminal() {
            return Ok(Lines::Stream);
        }
        let mut editor = Box::new(DefaultEditor::new()?);
        let history = history_file();
        if let Some(path) = &history {
            // There is none at the first start.
            let _ = editor.load_history(path);
        }
        Ok(Lines::Terminal { editor, history })
    }

    /// Shows the prompt and reads a line, without its end.
    fn read(&mut self, runner: &mut Runner, output: &Output, prompt: &Prompt) -> Result<Option<Vec<u8>>, Error> {
        let variable = runner.global(prompt.variable);
        let prompt = runner.text(variable)?.unwrap_or_else(|| prompt.default.into());
        match self {
            Lines::Terminal { editor, .. } => {
                output.flush()?;
                match editor.readline(&*String::from_utf8_lossy(&prompt)) {
                    Ok(line) => Ok(Some(line.into_bytes())),
                    Err(ReadlineError::Eof) => Ok(None),
                    Err(ReadlineError::Interrupted) => Err(Error::Interrupted),
                    Err(error) => Err(Error::Terminal(error)),
                }
            }
            Lines::Stream => {
                output.write(&prompt);
                output.flush()?;
                let line = read_line()?;
                // As the line editor that `lua` is built with.
                line.iter().for_each(|line| output.write_line(line));
                Ok(line)
            }
        }
    }

    fn remember(&mut self, text: &[u8]) {
        if let (Lines::Terminal { editor, .. }, Ok(text)) = (self, std::str::from_utf8(text)) {
            // A full history forgets its oldest entry; there is no failure to report.
            let _ = editor.add_history_entry(text);
        }
    }

    fn close(self) {
        if let Lines::Terminal { mut editor, history: Some(path) } = self {
            // History is a convenience; where it cannot be kept, the session is still a success.
            let _ = editor.save_history(&path);
        }
    }
}

/// A line of standard input, whose buffer Lua code reads from too.
fn read_line() -> Result<Option<Vec<u8>>, Error> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line).map_err(|error| Error::File {
        action: "read",
        path: "stdin".into(),
        reason: system_reason(&error),
    })?;
    let has_ended = line.is_empty();
    line.pop_if(|last| *last == b'\n');
    Ok((!has_ended).then_some(line))
}

/// Shows the results of a chunk by the global `print`, as `lua` does.
fn print_results(runner: &mut Runner) -> Result<(), Error> {
    let results = runner.results();
    if results.is_empty() {
        return Ok(());
    }
    let print = runner.global(b"print");
    let printed = runner.call(&print, |context| results.iter().map(|result| context.fetch(result)).collect());
    runner.enter(|context| {
        for handle in results.into_iter().chain([print]) {
            context.release(handle);
        }
    });
    printed.map_err(|error| match error {
        Error::Lua(text) => {
            let message = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            Error::Lua([b"error calling 'print' (", message, b")"].concat())
        }
        other => other,
    })
}

/// Errors of a session have no program name before them.
fn show_error(output: &Output, error: &Error) -> Result<(), Error> {
    output.flush()?;
    let _ = std::io::stderr().write_all(&[&error.text(), &b"\n"[..]].concat());
    Ok(())
}

/// `cu/history` in the user's data folder, which is made if need be.
fn history_file() -> Option<PathBuf> {
    let folder = dirs::data_dir()?.join("cu");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
