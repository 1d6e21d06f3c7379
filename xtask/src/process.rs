//! Running other programs: each command is printed before it runs, and a failing one is an error naming it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Cargo as it was called, with the toolchain that this process was started under.
pub fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

pub fn node(folder: &Path) -> Command {
    let mut command = Command::new("node");
    command.current_dir(folder);
    command
}

pub fn npm(folder: &Path) -> Command {
    let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    command.current_dir(folder);
    command
}

/// Runs a command with this process's input and output.
pub fn run(command: &mut Command) -> Result<()> {
    let text = text(command);
    eprintln!("> {text}");
    let status = command.status().map_err(|source| Error::Start { command: text.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: text, status }) }
}

/// What a command prints, which is shown when it has ended; its errors go to those of this process.
pub fn captured(command: &mut Command) -> Result<String> {
    let text = text(command);
    eprintln!("> {text}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| Error::Start { command: text.clone(), source })?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    eprint!("{printed}");
    if output.status.success() { Ok(printed) } else { Err(Error::Failed { command: text, status: output.status }) }
}

/// What a command prints, or `None` when it is missing or fails. For looking at the machine; prints nothing.
pub fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn text(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}
