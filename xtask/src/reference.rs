//! The reference interpreter, and what is compared with it or with a model: generated programs.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::source_package::SourcePackage;
use crate::{browser, debian};
use crate::{package, process};

/// The validator of this name for Python, which has the official JSON Schema test suite in a folder of its source package.
const SCHEMA_PACKAGE: SourcePackage = SourcePackage {
    name: "jsonschema",
    version: "4.26.0",
    sha256: "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326",
};
const SCHEMA_TESTS: &str = "json/tests/draft2020-12";

/// The path of PUC Lua 5.4: what the environment names in `LUA`, or else `lua5.4`.
pub fn interpreter() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("LUA") {
        return Ok(named.into());
    }
    debian::program(&["lua5.4"], "lua5.4").ok_or_else(|| {
        Error::Missing(
            "the native tests compare with PUC Lua; install it (Debian: `apt-get install lua5.4`), or name an interpreter \
             of version 5.4 in the environment variable LUA, and run the command again"
                .into(),
        )
    })
}

/// Compares output, fuel and final images of the fixtures and of so many generated programs natively, in Node and in browsers.
pub fn determinism(root: &Path, generated: u64) -> Result<()> {
    package::build(root)?;
    let programs = root.join("target/determinism.txt");
    let mut native = process::cargo(root);
    native.args(["run", "--quiet", "--release", "-p", "cu-tests", "--bin", "determinism"]).arg(&programs);
    native.arg(generated.to_string());
    process::run(&mut native)?;
    let mut node = process::node(&root.join("web"));
    node.arg("bench/determinism.mjs").arg(&programs).env("CU_CHROMIUM", browser::chromium()?);
    process::run(browser::others(&mut node))
}

/// Runs the storage engine's model test, `times` as long as in the test command.
pub fn model(root: &Path, times: u64, seed: u64) -> Result<()> {
    let mut command = process::cargo(root);
    command.args(["test", "--release", "-p", "cu-storage", "--test", "model", "--", "--nocapture"]);
    process::run(command.env("CU_MODEL_TIMES", times.to_string()).env("CU_MODEL_SEED", seed.to_string()))
}

/// Cuts the power under the file backend so often, and prints how often.
pub fn crash(root: &Path, cuts: u64, seed: u64) -> Result<()> {
    let mut command = process::cargo(root);
    command.args(["test", "--release", "-p", "cu-storage", "--test", "crash", "--", "--nocapture"]);
    process::run(command.env("CU_CUT_POINTS", cuts.to_string()).env("CU_CRASH_SEED", seed.to_string()))
}

/// Runs the official JSON Schema test suite, its part about the keywords that are known.
pub fn schemas(root: &Path) -> Result<()> {
    let suite = SCHEMA_PACKAGE.path(&root.join("target/schemas"), SCHEMA_TESTS)?;
    let mut command = process::cargo(root);
    process::run(command.args(["run", "--quiet", "-p", "cu-storage", "--example", "schemas", "--"]).arg(suite))
}

/// Compares generated programs, those with the seeds from `seed` on.
pub fn differential(root: &Path, programs: u64, seed: u64) -> Result<()> {
    let interpreter = interpreter()?;
    let mut command = process::cargo(root);
    command.args(["run", "--quiet", "-p", "cu-tests", "--bin", "differential", "--"]);
    command.args(["--programs", &programs.to_string(), "--seed", &seed.to_string()]);
    process::run(command.env("LUA", interpreter))
}
