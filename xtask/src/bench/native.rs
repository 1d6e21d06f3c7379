//! Peers that are programs for this machine: where each comes from, and one run of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::peer::{self, Peer};
use super::session::{LIMIT, first_line};
use crate::error::{Error, Result};
use crate::{debian, process};

/// A peer's program.
pub struct Program {
    path: PathBuf,
    arguments: &'static [&'static str],
    pub version: Option<String>,
}

/// Builds or finds a peer's program, and installs it first where that is possible. The error says why it cannot be had.
pub fn prepare(root: &Path, peer: &Peer) -> Result<Program> {
    match peer.name {
        peer::CU_NATIVE => {
            process::run(process::cargo(root).args(["build", "--release", "-p", "cu-cli"]))?;
            let target =
                std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
            let version = process::output("git", &["-C", &root.to_string_lossy(), "describe", "--always", "--dirty"]);
            Ok(Program { path: executable(&target.join("release"), "cu"), arguments: &[], version })
        }
        peer::LUA => installed("lua5.4", &[], "-v"),
        peer::LUAJIT => installed("luajit", &["-joff"], "-v"),
        name => crate_runner(root, name),
    }
}

fn installed(name: &'static str, arguments: &'static [&'static str], version: &str) -> Result<Program> {
    let path = debian::program(&[name], name).ok_or_else(|| {
        Error::Missing(format!(
            "{name} is not there; on Debian the package `{name}` has it, or leave it out with --peers"
        ))
    })?;
    // The version is what stands before the copyright.
    let version = process::output(&path, &[version]);
    let version = version
        .map(|text| text.split("  ").next().and_then(|text| text.split(" -- ").next()).unwrap_or(&text).to_owned());
    Ok(Program { path, arguments, version })
}

/// Builds a peer that is a crate, in a workspace of its own.
fn crate_runner(root: &Path, name: &str) -> Result<Program> {
    let target = root.join("target/bench/peers");
    let mut build = process::cargo(&root.join("xtask/peers"));
    build.args(["build", "--release", "--quiet", "--locked", "--bin", name]).env("CARGO_TARGET_DIR", &target);
    process::run(&mut build)?;
    let lock = std::fs::read_to_string(root.join("xtask/peers/Cargo.lock")).unwrap_or_default();
    Ok(Program {
        path: executable(&target.join("release"), name),
        arguments: &[],
        version: locked_version(&lock, name),
    })
}

fn locked_version(lock: &str, name: &str) -> Option<String> {
    let (_, entry) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(entry.split('"').next()?.to_owned())
}

fn executable(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

impl Program {
    /// Milliseconds and output of one run, start and end of the process included; or why it fails.
    pub fn run(&self, source: &Path) -> std::result::Result<(f64, String), String> {
        let mut command = Command::new(&self.path);
        // By its bare name, so that messages do not tell where this machine has its files.
        if let Some(folder) = source.parent() {
            command.current_dir(folder);
        }
        command.args(self.arguments).arg(source.file_name().unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("LC_ALL", "C").env_remove("LUA_INIT").env_remove("LUA_INIT_5_4");
        let started = Instant::now();
        let child = command.spawn().map_err(|error| error.to_string())?;
        let number = child.id();
        // A watchdog ends a run at its limit; it waits on a channel, so the clock above is stopped at the process's end.
        let (finished, watched) = std::sync::mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let ended = watched.recv_timeout(LIMIT) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if !ended {
                kill(number);
            }
            ended
        });
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        drop(finished);
        if !watchdog.join().unwrap_or(true) {
            return Err(format!("no result within {} s", LIMIT.as_secs()));
        }
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr).replace(&format!("{}: ", self.path.display()), "");
            return Err(first_line(&complaint));
        }
        Ok((ms, String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}

fn kill(process: u32) {
    #[cfg(unix)]
    if let Some(process) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw) {
        // It may just have ended by itself.
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
    #[cfg(not(unix))]
    let _ = process;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_the_lock_file() {
        let lock = "[[package]]\nname = \"piccolo-util\"\nversion = \"9\"\n\n[[package]]\nname = \"piccolo\"\nversion = \"0.3.3\"\n";
        assert_eq!(locked_version(lock, "piccolo").as_deref(), Some("0.3.3"));
        assert_eq!(locked_version(lock, "other"), None);
    }
}
