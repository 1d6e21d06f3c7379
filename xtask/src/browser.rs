//! Tests in browsers: finding them, or installing them, and running what drives them. Chromium is needed; Firefox and WebKitGTK are used when
//! they can be had, and what is left out without them says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::{debian, package, process, server};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Tells a command of the other browsers that are there: CU_FIREFOX, CU_WEBKIT, and CU_XVFB, the screen that WebKit's browser needs.
pub fn others(command: &mut Command) -> &mut Command {
    let found = [
        ("CU_FIREFOX", debian::program(&["firefox-esr", "firefox"], "firefox-esr")),
        ("CU_WEBKIT", debian::file(webkit, "libwebkit2gtk-4.1-0")),
        ("CU_XVFB", debian::program(&["Xvfb"], "xvfb")),
    ];
    for (variable, path) in found {
        if let Some(path) = path {
            command.env(variable, path);
        }
    }
    command
}

/// WebKitGTK's own small browser, which lies in a folder of the library.
fn webkit() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/libexec"].map(PathBuf::from);
    let children =
        |folder: &PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let architectures: Vec<PathBuf> =
        folders.iter().filter(|folder| folder.ends_with("lib")).flat_map(children).collect();
    let candidates = folders.iter().chain(&architectures).flat_map(|folder| {
        ["webkitgtk-6.0", "webkit2gtk-4.1", "webkit2gtk-4.0"].map(|version| folder.join(version).join("MiniBrowser"))
    });
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// Runs a command that drives the browser. It finds the built playground at CU_ADDRESS, on the server that `serve` uses, and the
/// browser at CU_CHROMIUM.
pub fn run(root: &Path, command: &mut Command) -> Result<()> {
    process::run(serve_to(root, command)?)
}

/// Simulated use of the package, from a seed that is new unless it is given. A day of it, 43,200 actions, takes about five minutes.
pub fn simulate(root: &Path, seconds: u64, seed: Option<u64>) -> Result<()> {
    const ACTIONS_PER_SECOND: u64 = 43_200 / 300;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut node = process::node(&root.join("web"));
    node.arg("test/browser/simulate.mjs").env("CU_SIMULATE_SEED", seed.unwrap_or(now).to_string());
    node.env("CU_SIMULATE_ACTIONS", seconds.saturating_mul(ACTIONS_PER_SECOND).to_string());
    run(root, &mut node)
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
