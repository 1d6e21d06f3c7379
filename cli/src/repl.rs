//! Interactive mode: reads a chunk, runs it, prints what it returns, until the end of the input.
//!
//! A line is tried as an expression first, by a `return` before it (a leading `=` says the same), then as the start of a chunk,
//! which goes on for as many lines as it takes: the compiler says "near <eof>" of an unfinished one.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use cu_vm::{Handle, RunError, Value};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::arguments::version;
use crate::error::Error;
use crate::host::Output;
use crate::run::{INTERRUPTED, Runner, syntax_error};

const CHUNK_NAME: &str = "=stdin";
const PROMPT: &str = "> ";
const CONTINUATION_PROMPT: &str = ">> ";

/// Runs until the end of the input, or until the fuel of the process is used up.
pub fn run(runner: &mut Runner, output: &Output) -> Result<(), Error> {
    // A second handler cannot be set; without one Ctrl-C ends the process, as it does for scripts.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed));
    let mut editor = DefaultEditor::new()?;
    let history = history_file();
    if let Some(path) = &history {
        // There is none at the first start.
        let _ = editor.load_history(path);
    }
    output.write_line(version().as_bytes());
    let result = read_and_run(runner, output, &mut editor);
    if let Some(path) = &history {
        // History is a convenience; where it cannot be kept, the session is still a success.
        let _ = editor.save_history(path);
    }
    result
}

fn read_and_run(runner: &mut Runner, output: &Output, editor: &mut DefaultEditor) -> Result<(), Error> {
    loop {
        output.flush()?;
        let function = match read_chunk(runner, editor) {
            Ok(Some(function)) => function,
            Ok(None) => return Ok(()),
            Err(Error::Interrupted) => continue,
            Err(error @ Error::Terminal(_)) => return Err(error),
            Err(error) => {
                show_error(output, &error)?;
                continue;
            }
        };
        INTERRUPTED.store(false, Ordering::Relaxed);
        let result = runner.call(&function, |_| Vec::new());
        runner.enter(|context| context.release(function));
        match result.and_then(|()| print_results(runner)) {
            Ok(()) => {}
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => show_error(output, &error)?,
        }
    }
}

/// Reads lines until they are a chunk. None at the end of the input.
fn read_chunk(runner: &Runner, editor: &mut DefaultEditor) -> Result<Option<Handle>, Error> {
    let Some(mut text) = read_line(editor, PROMPT)? else {
        return Ok(None);
    };
    let expression = text.strip_prefix('=').unwrap_or(&text);
    if let Ok(function) = runner.load(format!("return {expression}").as_bytes(), CHUNK_NAME) {
        remember(editor, &text);
        return Ok(Some(function));
    }
    if text.starts_with('=') {
        text = format!("return {expression}");
    }
    loop {
        match runner.load(text.as_bytes(), CHUNK_NAME) {
            Ok(function) => {
                remember(editor, &text);
                return Ok(Some(function));
            }
            Err(RunError::Syntax { message, .. }) if message.ends_with("<eof>") => {
                match read_line(editor, CONTINUATION_PROMPT)? {
                    Some(line) => {
                        text.push('\n');
                        text.push_str(&line);
                    }
                    None => return Err(Error::Lua(message.into_bytes())),
                }
            }
            Err(error) => {
                remember(editor, &text);
                return Err(syntax_error(error));
            }
        }
    }
}

fn read_line(editor: &mut DefaultEditor, prompt: &str) -> Result<Option<String>, Error> {
    match editor.readline(prompt) {
        Ok(line) => Ok(Some(line)),
        Err(ReadlineError::Eof) => Ok(None),
        Err(ReadlineError::Interrupted) => Err(Error::Interrupted),
        Err(error) => Err(Error::Terminal(error)),
    }
}

fn remember(editor: &mut DefaultEditor, text: &str) {
    // A full history forgets its oldest entry; there is no failure to report.
    let _ = editor.add_history_entry(text);
}

/// Shows the results of a chunk by the global `print`, as `lua` does.
fn print_results(runner: &mut Runner) -> Result<(), Error> {
    let results = runner.results();
    if results.is_empty() {
        return Ok(());
    }
    let print = runner.enter(|context| {
        let print = context.globals().get(Value::String(context.string(b"print")));
        context.stash(print)
    });
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
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let folder = dirs::data_dir()?.join("cu");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
