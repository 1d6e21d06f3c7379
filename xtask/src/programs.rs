//! Programs that nobody here wrote, run unchanged by `cu` and by the reference interpreter.
//!
//! They are Debian's packages of Lua modules, downloaded and unpacked under `target/`, never committed. Some come with examples; for the
//! others `fixtures/programs` has programs that use them. A program passes when both interpreters print the same and end in the
//! same way.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result, at};
use crate::{debian, process, reference};

const PACKAGES: [&str; 17] = [
    "lua-ansicolors",
    "lua-argparse",
    "lua-basexx",
    "lua-binaryheap",
    "lua-busted",
    "lua-check",
    "lua-cliargs",
    "lua-dkjson",
    "lua-fifo",
    "lua-inifile",
    "lua-inspect",
    "lua-luassert",
    "lua-markdown",
    "lua-mediator",
    "lua-penlight",
    "lua-say",
    "lua-unit",
];

/// Packages that Debian has from version 13 on, and its name.
const NEWER_PACKAGES: [&str; 1] = ["fennel"];
const NEWER_RELEASE: &str = "trixie";

/// The packages' own programs, examples and tests: the folder below `usr` and the words of the command line.
const EXAMPLES: [(&str, &[&str]); 22] = [
    ("bin", &["fennel", "--version"]),
    ("bin", &["fennel", "--help"]),
    ("bin", &["fennel", "--eval", "(each [i v (ipairs [:a :b])] (print i v))"]),
    ("share/doc/lua-cliargs/examples", &["00_general.lua", "out", "in"]),
    ("share/doc/lua-cliargs/examples", &["00_general.lua", "--help"]),
    ("share/doc/lua-cliargs/examples", &["00_general.lua", "-o"]),
    ("share/doc/lua-cliargs/examples", &["01_multiple_options.lua", "-i", "a", "-i", "b"]),
    ("share/doc/lua-cliargs/examples", &["02_parse_callbacks.lua", "--help"]),
    ("share/doc/lua-cliargs/examples", &["03_config_file.lua"]),
    ("share/doc/lua-cliargs/examples", &["04_commands--git.lua", "--help"]),
    ("share/doc/lua-cliargs", &["examples/04_commands--git.lua", "log"]),
    ("share/doc/lua-cliargs", &["examples/04_commands--git.lua", "unknown"]),
    ("share/doc/lua-dkjson/examples", &["jsontest.lua"]),
    ("share/doc/lua-unit/doc", &["my_test_suite.lua"]),
    ("share/doc/lua-unit/examples", &["check_lua_calc_error.lua"]),
    ("share/doc/lua-unit/examples", &["compat_luaunit_v2x.lua"]),
    ("share/doc/lua-unit/examples", &["example_with_luaunit.lua"]),
    ("share/doc/lua-unit/examples", &["legacy_example_with_luaunit.lua"]),
    ("share/doc/lua-unit/examples", &["some_lists_comparisons.lua"]),
    ("share/doc/lua-unit/examples", &["test_luaunit.lua"]),
    ("share/doc/lua-unit/examples", &["test_with_err_fail_pass.lua"]),
    ("share/doc/lua-unit/examples", &["test_with_xml.lua", "--output", "tap"]),
];

/// Runs all programs and prints for each whether it passes.
pub fn run(root: &Path) -> Result<()> {
    let reference = reference::interpreter()?;
    let modules = unpacked(&root.join("target/programs"))?;
    process::run(process::cargo(root).args(["build", "--quiet", "-p", "cu-cli"]))?;
    let cu = root.join("target/debug").join(format!("cu{}", std::env::consts::EXE_SUFFIX));
    let (mut passed, mut failed) = (0, 0);
    for (folder, words) in programs(root, &modules)? {
        let expected = outcome(&reference, &folder, &words, &modules)?;
        let actual = outcome(&cu, &folder, &words, &modules)?;
        let name = words.join(" ");
        if expected == actual {
            passed += 1;
            println!("PASS {name}");
        } else {
            failed += 1;
            println!("FAIL {name}\n{}", first_difference(&expected, &actual));
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(Error::Programs(failed)) }
}

/// Downloads and unpacks the packages that are not there yet; the folder they are in.
fn unpacked(folder: &Path) -> Result<PathBuf> {
    let modules = folder.join("root");
    let is_missing = |name: &&str| !modules.join("usr/share/doc").join(name).exists();
    let missing: Vec<&str> = PACKAGES.into_iter().filter(is_missing).collect();
    let missing_newer: Vec<&str> = NEWER_PACKAGES.into_iter().filter(is_missing).collect();
    if missing.is_empty() && missing_newer.is_empty() {
        return Ok(modules);
    }
    if !debian::is_debian() {
        return Err(Error::Missing("the programs are Debian's packages; run this command on Debian or Ubuntu".into()));
    }
    for package in missing {
        unpack(package, folder, &modules, &[])?;
    }
    if !missing_newer.is_empty() {
        let options = debian::options_for_release(NEWER_RELEASE, &folder.join(NEWER_RELEASE))?;
        for package in missing_newer {
            unpack(package, folder, &modules, &options)?;
        }
    }
    Ok(modules)
}

/// Downloads a package with apt and these options of it, and unpacks it.
fn unpack(package: &str, folder: &Path, modules: &Path, options: &[String]) -> Result<()> {
    let archives = folder.join(package);
    std::fs::create_dir_all(&archives).map_err(at(&archives))?;
    process::run(Command::new("apt-get").args(options).args(["download", package]).current_dir(&archives))?;
    for entry in std::fs::read_dir(&archives).map_err(at(&archives))? {
        let archive = entry.map_err(at(&archives))?.path();
        process::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(modules))?;
    }
    Ok(())
}

/// Each program as a folder to run it in and the words of its command line.
fn programs(root: &Path, modules: &Path) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let folder = root.join("fixtures/programs");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(at(&folder))? {
        names.push(entry.map_err(at(&folder))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut programs: Vec<_> = names.into_iter().map(|name| (folder.clone(), vec![name])).collect();
    for (example, words) in EXAMPLES {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        programs.push((modules.join("usr").join(example), words));
    }
    Ok(programs)
}

/// What a program wrote and how it ended, the interpreter's own name left out.
fn outcome(interpreter: &Path, folder: &Path, words: &[String], modules: &Path) -> Result<String> {
    // Modules for older versions of Lua come last: some of them run on 5.4 as they are.
    let templates = ["5.4", "5.3", "5.2", "5.1"].map(|version| {
        let share = modules.join("usr/share/lua").join(version);
        format!("{0}/?.lua;{0}/?/init.lua", share.display())
    });
    let mut command = Command::new(interpreter);
    command.args(words).current_dir(folder).env("LUA_PATH", templates.join(";"));
    command.env_remove("LUA_INIT").env_remove("LUA_INIT_5_4").env_remove("LUA_PATH_5_4");
    command.env("LC_ALL", "C").env("TZ", "UTC");
    let output = command.output().map_err(|source| Error::Start { command: words.join(" "), source })?;
    let (printed, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let name = interpreter.file_stem().unwrap_or_default().to_string_lossy();
    let complaint = complaint.replace(&format!("{}: ", interpreter.display()), "").replace(&format!("{name}: "), "");
    let text = format!("{printed}{complaint}{}", output.status);
    Ok(text.split_inclusive('\n').filter(|line| !line.contains("Started on ")).map(steady).collect())
}

/// A line without what another run of the same program would show otherwise: addresses, and the time that a test runner measures.
fn steady(line: &str) -> String {
    let line = match line.split_once(" tests in ") {
        Some((start, _)) => format!("{start} tests\n"),
        None => line.to_owned(),
    };
    let mut parts = line.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| format!("0x{}", part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit())));
    first + &rest.collect::<String>()
}

/// The first line that differs, as the reference has it (`-`) and as it came (`+`).
fn first_difference(expected: &str, actual: &str) -> String {
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    loop {
        let (wanted, found) = (expected.next(), actual.next());
        if wanted != found || wanted.is_none() {
            return format!("- {}\n+ {}", wanted.unwrap_or("(end)"), found.unwrap_or("(end)"));
        }
    }
}
