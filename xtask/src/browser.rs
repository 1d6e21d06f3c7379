//! Tests in Chromium: finding it, or installing it, and running what drives it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::{debian, package, process, server};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs a command that drives the browser. It finds the built playground at CU_ADDRESS, on the server that `serve` uses, and the
/// browser at CU_CHROMIUM.
pub fn run(root: &Path, command: &mut Command) -> Result<()> {
    process::run(serve_to(root, command)?)
}

/// Gives a command what [`run`] says; the server lasts as long as this process.
pub fn prepare(root: &Path, mut command: Command) -> Result<Command> {
    serve_to(root, &mut command)?;
    Ok(command)
}

fn serve_to<'c>(root: &Path, command: &'c mut Command) -> Result<&'c mut Command> {
    let chromium = chromium()?;
    let listener = server::bind(0)?;
    let address = server::address(&listener)?;
    let folder = package::playground(root);
    // Ends with this process.
    std::thread::spawn(move || server::serve(&listener, &folder));
    Ok(command.env("CU_CHROMIUM", chromium).env("CU_ADDRESS", address))
}

/// The path of a Chromium or Chrome that tests can drive.
pub fn chromium() -> Result<PathBuf> {
    debian::program(&NAMES, "chromium").ok_or_else(|| {
        Error::Missing(
            "the browser tests need Chromium; install it (Debian: `apt-get install chromium`, elsewhere Chrome or \
             Chromium as `chromium` or `google-chrome` on the PATH) and run the command again"
                .into(),
        )
    })
}
