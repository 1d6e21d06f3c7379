//! Where the suite comes from: the source package of lupa, a binding of Lua for Python, has it beside the interpreter's sources.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Result, at};
use crate::source_package::SourcePackage;

const PACKAGE: SourcePackage = SourcePackage {
    name: "lupa",
    version: "2.8",
    sha256: "d8022641b9ec8ecf2c5ecbe9f47e5a70e0b87c4b5ae921b92cb02a638e0acd08",
};
const TESTS: &str = "third-party/lua54/testes";

/// Where all that this command makes is.
pub fn cache(root: &Path) -> PathBuf {
    root.join("target/conformance")
}

/// The folder of the suite, which is fetched if need be.
pub fn folder(root: &Path) -> Result<PathBuf> {
    PACKAGE.path(&cache(root), TESTS)
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
