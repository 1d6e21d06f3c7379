//! Debian's packages, where the system's package manager may be used without asking.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, at};
use crate::process;

/// Packages that on Ubuntu only start snap, which containers lack; there a person has to choose.
const SNAPS: [&str; 2] = ["chromium", "firefox-esr"];

/// The path of a program, installed by its package first if it is missing and may be installed.
pub fn program(names: &[&str], package: &str) -> Option<PathBuf> {
    file(|| find(names), package)
}

/// Likewise of a file that is not on the PATH.
pub fn file(find: impl Fn() -> Option<PathBuf>, package: &str) -> Option<PathBuf> {
    find().or_else(|| {
        if is_debian() && !(SNAPS.contains(&package) && is_ubuntu()) {
            install(package);
        }
        find()
    })
}

pub fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// The options that make apt take packages of another release, from the archive that this machine's own come from. What apt keeps for it
/// is in `folder`; the system's lists stay as they are.
pub fn options_for_release(release: &str, folder: &Path) -> Result<Vec<String>> {
    let archive = process::output(
        "apt-get",
        &["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main", "Origin: Debian"],
    );
    let Some(archive) = archive.as_deref().and_then(|lines| lines.lines().next()) else {
        return Err(Error::Missing(
            "apt has no lists of Debian's packages; run `apt-get update` and the command again".into(),
        ));
    };
    for part in ["lists/partial", "cache/archives/partial"] {
        let part = folder.join(part);
        std::fs::create_dir_all(&part).map_err(at(&part))?;
    }
    let sources = folder.join("sources.list");
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    std::fs::write(&sources, format!("deb [signed-by={key}] {archive} {release} main\n")).map_err(at(&sources))?;
    let option = |name: &str, value: &Path| ["-o".to_owned(), format!("{name}={}", value.display())];
    let options = [
        option("Dir::Etc::SourceList", &sources),
        option("Dir::Etc::SourceParts", Path::new("-")),
        option("Dir::State::Lists", &folder.join("lists")),
        option("Dir::Cache", &folder.join("cache")),
    ]
    .concat();
    process::run(Command::new("apt-get").args(&options).arg("update"))?;
    Ok(options)
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn install(package: &str) {
    let Some(prefix) = root_prefix() else { return };
    // A package list may be old or empty; a failing update still leaves the install to be tried.
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", package]] {
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
