//! The test suites. Each prints the counts of its own runner (cargo test, node:test) as its last lines;
//! all asked for are run, and the command fails when one of them has.

use std::path::Path;

use crate::error::{Error, Result};
use crate::setup::{self, WASM_TARGET};
use crate::{browser, conformance, package, process, reference};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Formatting, lints and tests of the Rust workspace, and the official test suites of JSON Schema and Lua.
    Native,
    /// The TypeScript API and all Lua fixtures, through the built package under Node; some official test files that go over to Node and back.
    Web,
    /// The built package and the playground in Chromium, the API also in Firefox and WebKitGTK, and the official test suite of Lua in a page
    /// of Chromium.
    Browsers,
}

impl Suite {
    pub const ALL: [Suite; 3] = [Suite::Native, Suite::Web, Suite::Browsers];

    pub fn from_name(name: &str) -> Result<Suite> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or_else(|| Error::Usage(format!("no test suite '{name}'; there are native, web and browsers")))
    }

    fn name(self) -> &'static str {
        match self {
            Suite::Native => "native",
            Suite::Web => "web",
            Suite::Browsers => "browsers",
        }
    }

    fn run(self, root: &Path) -> Result<()> {
        match self {
            Suite::Native => native(root),
            Suite::Web => web_tests(root),
            Suite::Browsers => browser_tests(root),
        }
    }
}

pub fn run(root: &Path, suites: &[Suite]) -> Result<()> {
    let mut failures = Vec::new();
    let needs_package = suites.iter().any(|suite| *suite != Suite::Native);
    let built = if needs_package { package::build(root) } else { Ok(()) };
    let runnable = |suite: &&Suite| built.is_ok() || **suite == Suite::Native;
    for suite in suites.iter().filter(runnable) {
        eprintln!("\n== suite {} ==", suite.name());
        if let Err(error) = suite.run(root) {
            failures.push((suite.name(), error));
        }
    }
    if let Err(error) = built {
        failures.push(("web and browsers not run, the build", error));
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::Suites(failures)) }
}

fn native(root: &Path) -> Result<()> {
    const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];
    setup::wasm_target(root)?;
    process::run(process::cargo(root).args(["fmt", "--all", "--check"]))?;
    let mut lints = process::cargo(root);
    process::run(lints.args(["clippy", "--workspace", "--all-targets"]).args(DENY_WARNINGS))?;
    let mut wasm_lints = process::cargo(root);
    wasm_lints.args(["clippy", "-p", "cu-web", "--target", WASM_TARGET]);
    process::run(wasm_lints.args(DENY_WARNINGS))?;
    // A workspace of its own, which nothing else compiles.
    let fuzz = ["check", "--manifest-path", "fuzz/Cargo.toml", "--lib", "--examples", "--no-default-features"];
    process::run(process::cargo(root).args(fuzz).env("CARGO_TARGET_DIR", root.join("target")))?;
    process::run(process::cargo(root).args(["test", "--workspace"]).env("LUA", reference::interpreter()?))?;
    reference::schemas(root)?;
    conformance::run(root, &conformance::Options::default())
}

fn web_tests(root: &Path) -> Result<()> {
    let mut npm = process::npm(&root.join("web"));
    process::run(npm.args(["run", "--silent", "test:web"]))?;
    conformance::run_quick_crossing(root)
}

fn browser_tests(root: &Path) -> Result<()> {
    let mut npm = process::npm(&root.join("web"));
    browser::run(root, browser::others(npm.args(["run", "--silent", "test:browsers"])))?;
    conformance::run_in_page(root)
}
