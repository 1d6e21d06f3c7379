//! `io` and `os` on the system: standard streams, files, processes, the end of the program.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs code with `cu` in `folder`.
fn run(folder: &Path, options: &[&str], code: &str, stdin: impl Into<Stdio>, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cu"))
        .args(options)
        .args(["-e", code])
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cu starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read leaves a broken pipe behind.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().expect("cu ends")
}

/// Checks what code prints and its exit code.
fn check(code: &str, input: &str, stdout: &str, exit_code: i32) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let output = run(folder.path(), &[], code, Stdio::piped(), input.as_bytes());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "stderr of {code}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{code}");
    assert_eq!(output.status.code(), Some(exit_code), "{code}");
}

#[test]
fn standard_input() {
    check("print(io.read('n', 'l', 'L', 'a', 'l'))", "1 a\nb\nc", "1\t a\tb\n\tc\tnil\n", 0);
    check("for line in io.lines() do io.write(#line, ' ') end", "a\nbc\n\nd", "1 2 0 1 ", 0);
    check(
        "print(io.stdin:seek()) print(io.stdin:write('x'))",
        "",
        "nil\tIllegal seek\t29\nnil\tBad file descriptor\t9\n",
        0,
    );
}

#[test]
fn positions_in_a_redirected_stream() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("input");
    fs::write(&path, "first\nsecond\nthird\n").expect("the folder takes files");
    let code = "print(io.read(), io.stdin:seek(), io.read(3)) print(io.stdin:seek('set', 1), io.read())
        print(io.stdin:seek('end', -6), io.read('a')) print(io.stdin:seek('cur', -99))";
    let input = fs::File::open(path).expect("it was made just now");
    let output = run(folder.path(), &[], code, input, b"");
    let expected = "first\t6\tsec\n1\tirst\n13\tthird\n\nnil\tInvalid argument\t22\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn files() {
    let code = "local f = assert(io.open('file', 'w')) print(f:write('one\\n', 2, '\\n') == f, f:seek(), f:close())
        for line in io.lines('file') do print(line) end
        print(os.rename('file', 'other'), io.open('file')) print(os.remove('other'), os.remove('other'))
        print(io.open('.', 'w')) print(io.open('.'):read()) print(io.open('no/file', 'w')) print(pcall(io.lines, 'nothing'))
        local name = os.tmpname() print(name:match('lua_%w+$') ~= nil, io.open(name):read('a'), os.remove(name))
        local t = io.tmpfile() print(t:write('x') == t, t:seek('set'), t:read('a'))";
    let expected = "true\t6\ttrue\none\n2\ntrue\tnil\tfile: No such file or directory\t2\n\
        true\tnil\tother: No such file or directory\t2\nnil\t.: Is a directory\t21\nnil\tIs a directory\t21\n\
        nil\tno/file: No such file or directory\t2\nfalse\tcannot open file 'nothing' (No such file or directory)\n\
        true\t\ttrue\ntrue\t0\tx\n";
    check(code, "", expected, 0);
}

#[test]
fn processes() {
    let code =
        "print(os.execute()) print(os.execute('exit 3')) print(os.execute('true')) print(os.execute('kill -s KILL $$'))
        local p = io.popen('echo out; cat; exit 2') print(p:read('l', 'l', 'l')) print(p:seek()) print(p:close())
        io.write('before ') local p = io.popen('cat', 'w') p:write('written ') print(p:close())
        io.popen('kill -s HUP $$'):close() print(io.popen('true', 'r'):close())";
    let expected = "true\nnil\texit\t3\ntrue\texit\t0\nnil\tsignal\t9\nout\tinput\tnil\nnil\tIllegal seek\t29\nnil\texit\t2\n\
        before written true\texit\t0\ntrue\texit\t0\n";
    check(code, "input", expected, 0);
}

#[test]
fn buffers() {
    // The process writes to the same pipe by itself.
    check("io.write('a') io.flush() os.execute('printf b') print('c')", "", "abc\n", 0);
    check(
        "io.stdout:setvbuf('no') io.write('a') os.execute('printf b') print('c') os.execute('printf d')",
        "",
        "abc\nd",
        0,
    );
    check("io.stdout:setvbuf('line') print('a') os.execute('printf b') io.write('c')", "", "a\nbc", 0);
    check("io.write('a') os.execute('printf b')", "", "ba", 0);
}

#[test]
fn exit_codes() {
    for (call, code) in [
        ("os.exit()", 0),
        ("os.exit(true)", 0),
        ("os.exit(false)", 1),
        ("os.exit(20, true)", 20),
        ("os.exit(-1)", 255),
        ("os.exit(256 + 7)", 7),
        ("pcall(os.exit, 4)", 4),
        ("coroutine.wrap(os.exit)(5)", 5),
    ] {
        check(&format!("io.write('printed ') {call} print('more')"), "", "printed ", code);
    }
}

#[test]
fn exit_may_close_first() {
    let code = "setmetatable({}, { __gc = function() print('finalized') end })
        local t <close> = setmetatable({}, { __close = function() print('closed') end })
        file = io.open('file', 'w') file:write('text')";
    check(&format!("{code} os.exit(3)"), "", "", 3);
    check(&format!("{code} os.exit(3, true)"), "", "closed\nfinalized\n", 3);
    // As C's `exit` does, an exit without that writes out files.
    let folder = tempfile::tempdir().expect("a folder for the test");
    run(folder.path(), &[], &format!("{code} os.exit(3)"), Stdio::null(), b"");
    assert_eq!(fs::read(folder.path().join("file")).ok(), Some(b"text".to_vec()));
}

#[test]
fn local_time() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let code = "print(os.date('%H:%M %z %Z', 1690000000), os.date('!%H:%M %z %Z', 1690000000), os.date('*t', 1690000000).isdst)
        print(os.time { year = 2023, month = 7, day = 22, hour = 0 }, os.time { year = 2023, month = 1, day = 1, hour = 0 })";
    let output = Command::new(env!("CARGO_BIN_EXE_cu"))
        .args(["-e", code])
        .current_dir(folder.path())
        .env("TZ", "EST5EDT,M3.2.0,M11.1.0")
        .output()
        .expect("cu starts");
    let expected = "00:26 -0400 EDT\t04:26 +0000 GMT\ttrue\n1689998400\t1672549200\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn a_deterministic_run_has_no_files() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let code = "print(io, os.remove, os.execute, os.tmpname) os.exit(6)";
    let output = run(folder.path(), &["--deterministic"], code, Stdio::null(), b"");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "nil\tnil\tnil\tnil\n");
    assert_eq!(output.status.code(), Some(6));
}

#[test]
fn binary_chunks_are_programs() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let code = "local chunk = string.dump(function(...) print('binary', ...) end)
        local function write(name, ...) assert(io.open(name, 'wb')):write(...):close() end
        write('plain', chunk) write('commented', '#!/usr/bin/env cu\\n', chunk) write('cut', chunk:sub(1, -2))";
    let output = run(folder.path(), &[], code, Stdio::null(), b"");
    assert_eq!(output.status.code(), Some(0));
    for (name, stdout, stderr) in [
        ("plain", "binary\tx\n", ""),
        ("commented", "binary\tx\n", ""),
        ("cut", "", concat!(env!("CARGO_BIN_EXE_cu"), ": cut: bad binary format (truncated chunk)\n")),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_cu"))
            .args([name, "x"])
            .current_dir(folder.path())
            .output()
            .expect("cu starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{name}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{name}");
    }
}

#[test]
fn modules_are_found_by_the_environment() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    fs::write(folder.path().join("module.x"), "print('loading', ...) return 'module'").expect("the folder takes files");
    for (variable, path) in [("LUA_PATH", "./?.x"), ("LUA_PATH_5_4", ";;./?.x")] {
        let output = Command::new(env!("CARGO_BIN_EXE_cu"))
            .args(["-e", "print(require 'module')"])
            .current_dir(folder.path())
            .env_remove("LUA_PATH_5_4")
            .env(variable, path)
            .output()
            .expect("cu starts");
        let expected = "loading\tmodule\t./module.x\nmodule\t./module.x\n";
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{variable}");
    }
}
