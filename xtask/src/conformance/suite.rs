//! Where the suite comes from: the source package of lupa, a binding of Lua for Python, has it beside the interpreter's sources.
//! pip gets the package and checks its hash; what is unpacked stays under `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, at};
use crate::process;

/// What pip is asked for. The hash is of the package, so a changed one is refused.
const REQUIREMENT: &str = "lupa==2.8 --hash=sha256:d8022641b9ec8ecf2c5ecbe9f47e5a70e0b87c4b5ae921b92cb02a638e0acd08\n";
const PACKAGE: &str = "lupa-2.8";
const TESTS: &str = "third-party/lua54/testes";

/// Where all that this command makes is.
pub fn cache(root: &Path) -> PathBuf {
    root.join("target/conformance")
}

/// The folder of the suite, which is fetched if need be.
pub fn folder(root: &Path) -> Result<PathBuf> {
    let cache = cache(root);
    let tests = cache.join(PACKAGE).join(TESTS);
    if tests.join("all.lua").is_file() {
        return Ok(tests);
    }
    fs::create_dir_all(&cache).map_err(at(&cache))?;
    let python = python()?;
    let requirements = cache.join("requirements.txt");
    fs::write(&requirements, REQUIREMENT).map_err(at(&requirements))?;
    let mut download = Command::new(python);
    download.args(["-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--quiet"]);
    process::run(download.arg("--dest").arg(&cache).arg("--requirement").arg(&requirements))?;
    let archive = cache.join(format!("{PACKAGE}.tar.gz"));
    process::run(Command::new(python).args(["-m", "tarfile", "--extract"]).args([&archive, &cache]))?;
    if tests.join("all.lua").is_file() {
        Ok(tests)
    } else {
        Err(Error::Missing(format!("{} has no folder {TESTS}", archive.display())))
    }
}

fn python() -> Result<&'static str> {
    let works = |name: &&str| process::output(name, &["-m", "pip", "--version"]).is_some();
    ["python3", "python"].into_iter().find(works).ok_or_else(|| {
        Error::Missing(
            "the official test suite is fetched with pip; install Python 3 with pip and run the command again".into(),
        )
    })
}

/// The names of the suite's programs, sorted.
pub fn files(suite: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(suite).map_err(at(suite))? {
        let name = entry.map_err(at(suite))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".lua") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Makes `to` a fresh copy of a folder.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).map_err(at(to))?;
    }
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(at(&target))?;
        }
    }
    Ok(())
}
