//! What `cu` takes from its command line and its environment before and beside the script: modules, initial code, paths, Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn cu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("the folder takes files");
    }
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(env!("CARGO_BIN_EXE_cu"), "cu")
}

/// Checks standard output and the first line of standard error, which says whether the run fails.
fn check(output: &Output, stdout: &str, error: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().next().unwrap_or_default(), error);
    assert_eq!(text(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(i32::from(!error.is_empty())));
}

const MODULES: &[(&str, &str)] = &[
    ("a.lua", "print('a', ...) return { name = 'a' }"),
    ("b-v2.lua", "return 'b'"),
    ("fails.lua", "error('no', 0)"),
    ("show.lua", "print(a and a.name, b, m and m.name, str and str.upper('x'))"),
];

#[test]
fn modules() {
    let folder = folder(MODULES);
    for (arguments, stdout, error) in [
        (&["-l", "a", "show.lua"][..], "a\ta\t./a.lua\na\tnil\tnil\tnil\n", ""),
        (&["-lb-v2", "show.lua"], "nil\tb\tnil\tnil\n", ""),
        (&["-lm=a", "-l", "str=string", "show.lua"], "a\ta\t./a.lua\nnil\tnil\ta\tX\n", ""),
        (&["-e", "print(a)", "-l", "a", "-e", "print(a.name)"], "nil\na\ta\t./a.lua\na\n", ""),
        (&["-l", "fails", "-e", "print('not reached')"], "", "cu: no"),
        (&["-l", "nowhere"], "", "cu: module 'nowhere' not found:"),
        (&["-e", "require = nil", "-l", "a"], "", "cu: attempt to call a nil value"),
    ] {
        check(&cu(folder.path()).args(arguments).output().expect("cu starts"), stdout, error);
    }
}

#[test]
fn sandbox() {
    let show = "print(io, require, debug.getinfo, os.execute, string.dump, collectgarbage, os.time and arg[1])";
    let folder = folder(&[("show.lua", show), ("change.lua", "string.rep = print")]);
    let run = |arguments: &[&str]| cu(folder.path()).arg("--sandbox").args(arguments).output().expect("cu starts");
    check(&run(&["show.lua", "x"]), "nil\tnil\tnil\tnil\tnil\tnil\tx\n", "");
    check(&run(&["change.lua"]), "", "cu: change.lua:1: attempt to change field 'rep' of a read-only table");
    check(&run(&["-l", "show"]), "", "cu: attempt to call a nil value");
}

#[test]
fn initial_code() {
    let folder = folder(&[("init.lua", "print('file', ...) x = (x or 0) + 1")]);
    let show = ["-e", "print(x, arg[1], arg[2])"];
    for (variables, options, stdout, error) in [
        (&[("LUA_INIT", "x = 1")][..], &[][..], "1\t-e\tprint(x, arg[1], arg[2])\n", ""),
        (&[("LUA_INIT", "x = 1"), ("LUA_INIT_5_4", "x = 2")], &[], "2\t-e\tprint(x, arg[1], arg[2])\n", ""),
        (&[("LUA_INIT", "@init.lua")], &[], "file\n1\t-e\tprint(x, arg[1], arg[2])\n", ""),
        (&[("LUA_INIT", "error('no')")], &["-E"], "nil\t-e\tprint(x, arg[1], arg[2])\n", ""),
        (&[("LUA_INIT", "error('no')")], &["--deterministic"], "nil\t-e\tprint(x, arg[1], arg[2])\n", ""),
        (&[("LUA_INIT", "error('no')")], &[], "", "cu: LUA_INIT:1: no"),
        (&[("LUA_INIT_5_4", "x =")], &[], "", "cu: LUA_INIT_5_4:1: unexpected symbol near <eof>"),
        (&[("LUA_INIT", "@none.lua")], &[], "", "cu: cannot open none.lua: No such file or directory"),
    ] {
        let output = cu(folder.path()).envs(variables.iter().copied()).args(options).args(show).output();
        let stdout = if options.is_empty() {
            stdout.to_owned()
        } else {
            stdout.replace("-e\tprint(x, arg[1], arg[2])", &format!("{}\t-e", options[0]))
        };
        check(&output.expect("cu starts"), &stdout, error);
    }
}

#[test]
fn paths() {
    let folder = folder(&[]);
    for (variables, option, stdout) in [
        (&[("LUA_PATH", "x;;y"), ("LUA_CPATH", "z")][..], "-W", "true\tz\tx;;y\n"),
        (&[("LUA_PATH_5_4", "w"), ("LUA_PATH", "x")], "-W", "false\tdefault\tx\n"),
        (&[("LUA_PATH", "x"), ("LUA_CPATH", "z")], "-E", "true\tdefault\tx\n"),
    ] {
        let code = "print(package.path:find('./?.lua', 1, true) ~= nil, package.cpath:find('loadall') and 'default' or package.cpath, \
            os.getenv('LUA_PATH'))";
        let output = cu(folder.path()).envs(variables.iter().copied()).args([option, "-e", code]).output();
        check(&output.expect("cu starts"), stdout, "");
    }
}

#[test]
fn arguments_may_be_changed() {
    let folder = folder(&[("script.lua", "print(...)")]);
    for (code, stdout, error) in [
        ("arg[1] = 100", "100\tb\n", ""),
        ("arg = {'x', 'y', 'z'}", "x\ty\tz\n", ""),
        ("arg = 1", "", "cu: 'arg' is not a table"),
    ] {
        let output = cu(folder.path()).args(["-e", code, "script.lua", "a", "b"]).output();
        check(&output.expect("cu starts"), stdout, error);
    }
}

#[test]
fn an_exit_in_a_finalizer_runs_the_others() {
    let folder = folder(&[(
        "script.lua",
        "setmetatable({}, { __gc = function() print(1) end })
        setmetatable({}, { __gc = function()
            print(2)
            setmetatable({}, { __gc = function() print('not reached') end })
            print(collectgarbage())
            os.exit(true, true)
        end })",
    )]);
    let output = cu(folder.path()).arg("script.lua").output().expect("cu starts");
    check(&output, "2\nnil\n1\n", "");
}

/// Sends Ctrl-C's signal.
#[cfg(unix)]
fn interrupt(process: &std::process::Child) {
    let id = process.id().to_string();
    let status = Command::new("kill").args(["-INT", &id]).status().expect("there is a command to send signals");
    assert!(status.success());
}

/// Runs code, interrupts it each time it prints a line, and gives what it printed and how it ended.
#[cfg(unix)]
fn interrupted(code: &str) -> (Vec<String>, String, std::process::ExitStatus) {
    let folder = folder(&[]);
    let mut child =
        cu(folder.path()).args(["-e", code]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cu starts");
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut lines = Vec::new();
    for line in stdout.lines() {
        let line = line.expect("cu prints text");
        if line.starts_with("interrupt") {
            interrupt(&child);
        }
        lines.push(line);
    }
    let output = child.wait_with_output().expect("cu ends");
    (lines, text(&output.stderr), output.status)
}

#[cfg(unix)]
#[test]
fn control_c_is_an_error() {
    let (lines, stderr, status) = interrupted("print(pcall(function() print('interrupt') while true do end end))");
    assert_eq!(lines, ["interrupt", "false\tinterrupted!"]);
    assert_eq!((stderr.as_str(), status.code()), ("", Some(0)));
    let (_, stderr, status) = interrupted("print('interrupt') while true do end");
    assert_eq!(stderr, "cu: interrupted!\nstack traceback:\n\t(command line):1: in main chunk\n\t[C]: in ?\n");
    assert_eq!(status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn the_second_control_c_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let code = "pcall(function() print('interrupt') while true do end end) print('interrupt again') while true do end";
    let (lines, _, status) = interrupted(code);
    assert_eq!(lines, ["interrupt", "interrupt again"]);
    assert_eq!(status.signal(), Some(2));
}
