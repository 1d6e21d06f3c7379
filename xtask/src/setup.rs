//! What the other commands need on the machine: Node, npm packages, Rust's wasm target.
//! Installs what belongs to this checkout or to rustup, and says what to install otherwise.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result, at};
use crate::process;

pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
const NODE_MAJOR_MIN: u32 = 20;

/// Checks Node and npm, and brings `web/node_modules` to what the lock file says.
pub fn npm_packages(web: &Path) -> Result<()> {
    check_node()?;
    let lock_path = web.join("package-lock.json");
    let lock = fs::read(&lock_path).map_err(at(&lock_path))?;
    // A copy of the lock file that was installed. Comparing contents is right after any checkout, times are not.
    let installed_path = web.join("node_modules/.installed-lock.json");
    if fs::read(&installed_path).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    process::run(process::npm(web).arg("ci"))?;
    fs::write(&installed_path, lock).map_err(at(&installed_path))
}

/// Installs the target when `rust-toolchain.toml` has not made rustup do so already.
pub fn wasm_target(root: &Path) -> Result<()> {
    let folder = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .current_dir(root)
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    if folder.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", WASM_TARGET]).current_dir(root);
    process::run(&mut rustup).map_err(|error| {
        Error::Missing(format!(
            "Rust's target {WASM_TARGET} is missing ({error}); install it with `rustup target add {WASM_TARGET}`"
        ))
    })
}

fn check_node() -> Result<()> {
    let version = process::output("node", &["--version"]).ok_or_else(|| {
        Error::Missing(format!(
            "Node is missing; install Node {NODE_MAJOR_MIN} or newer with npm (nodejs.org or your system's packages)"
        ))
    })?;
    if node_major(&version).is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(Error::Missing(format!("Node {version} is too old; install Node {NODE_MAJOR_MIN} or newer")));
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    process::output(npm, &["--version"]).ok_or_else(|| {
        Error::Missing("npm is missing; it comes with Node from nodejs.org, or as the package `npm`".into())
    })?;
    Ok(())
}

fn node_major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions() {
        assert_eq!(node_major("v20.20.2"), Some(20));
        assert_eq!(node_major("v9"), Some(9));
        assert_eq!(node_major("nonsense"), None);
    }
}
