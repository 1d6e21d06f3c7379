//! Finding Chromium, and installing it where the system's package manager may be used without asking.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const PACKAGE: [&str; 4] = ["install", "-y", "--no-install-recommends", "chromium"];

/// The path of a Chromium or Chrome that tests can drive.
pub fn chromium() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    // Ubuntu's package of that name only starts snap, which containers lack: there a person has to choose.
    if Path::new("/etc/debian_version").exists() && !is_ubuntu() {
        install();
    }
    find().ok_or_else(|| {
        Error::Missing(
            "the browser tests need Chromium; install it (Debian: `apt-get install chromium`, elsewhere Chrome or \
             Chromium as `chromium` or `google-chrome` on the PATH) and run the command again"
                .into(),
        )
    })
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn install() {
    let Some(prefix) = root_prefix() else { return };
    // A package list may be old or empty; a failing update still leaves the install to be tried.
    for arguments in [&["update"][..], &PACKAGE] {
        let mut words = prefix.iter().chain(&["apt-get"]).chain(arguments);
        let Some(program) = words.next() else { return };
        let mut command = Command::new(program);
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        if let Err(error) = process::run(&mut command) {
            eprintln!("{error}");
        }
    }
}

/// The words that make a command run as root without a question, or `None`.
fn root_prefix() -> Option<&'static [&'static str]> {
    if process::output("id", &["-u"])? == "0" {
        return Some(&[]);
    }
    process::output("sudo", &["-n", "true"]).map(|_| &["sudo", "-n"][..])
}

fn is_ubuntu() -> bool {
    std::fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=ubuntu"))
}
