//! Source packages of Python's registry that carry test suites of others beside their own code. pip gets them and checks their hash, so a
//! changed one is refused; what is unpacked stays under `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, at};
use crate::process;

pub struct SourcePackage {
    pub name: &'static str,
    pub version: &'static str,
    pub sha256: &'static str,
}

impl SourcePackage {
    /// The path of a file or folder in the package, which is fetched into `cache` if need be.
    pub fn path(&self, cache: &Path, inner: &str) -> Result<PathBuf> {
        let SourcePackage { name, version, sha256 } = self;
        let wanted = cache.join(format!("{name}-{version}")).join(inner);
        if wanted.exists() {
            return Ok(wanted);
        }
        fs::create_dir_all(cache).map_err(at(cache))?;
        let python = python()?;
        let requirements = cache.join("requirements.txt");
        fs::write(&requirements, format!("{name}=={version} --hash=sha256:{sha256}\n")).map_err(at(&requirements))?;
        let mut download = Command::new(python);
        download.args(["-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--quiet"]);
        process::run(download.arg("--dest").arg(cache).arg("--requirement").arg(&requirements))?;
        let archive = cache.join(format!("{name}-{version}.tar.gz"));
        process::run(Command::new(python).args(["-m", "tarfile", "--extract"]).arg(&archive).arg(cache))?;
        if wanted.exists() { Ok(wanted) } else { Err(Error::Missing(format!("{} has no {inner}", archive.display()))) }
    }
}

fn python() -> Result<&'static str> {
    let works = |name: &&str| process::output(name, &["-m", "pip", "--version"]).is_some();
    ["python3", "python"].into_iter().find(works).ok_or_else(|| {
        Error::Missing(
            "test suites of others are fetched with pip; install Python 3 with pip and run the command again".into(),
        )
    })
}
