//! What `cu` does with a command line: output, error text and exit code, as `lua` 5.4 has them where it has them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// What `cu -v` prints, and more after it.
macro_rules! concat_banner {
    ($more:literal) => {
        concat!("Cu ", env!("CARGO_PKG_VERSION"), "  Lua 5.4, a language by Lua.org, PUC-Rio\n", $more)
    };
}

/// One run of `cu`, in a folder with the files that [`folder`] makes.
struct Case {
    arguments: &'static [&'static str],
    stdin: &'static str,
    stdout: &'static str,
    stderr: &'static str,
    code: i32,
}

/// A run that succeeds without a word on stderr.
const fn prints(arguments: &'static [&'static str], stdin: &'static str, stdout: &'static str) -> Case {
    Case { arguments, stdin, stdout, stderr: "", code: 0 }
}

/// A run that fails.
const fn fails(arguments: &'static [&'static str], stdout: &'static str, stderr: &'static str) -> Case {
    Case { arguments, stdin: "", stdout, stderr, code: 1 }
}

const BANNER: &str = concat_banner!("");

const FILES: &[(&str, &str)] = &[
    ("arguments.lua", "print(...) for i = -4, 3 do print(i, arg[i]) end"),
    ("shebang.lua", "#!/usr/bin/env cu\nerror('second line')"),
    ("mark.lua", "\u{feff}# comment\nprint('after the mark')"),
    ("syntax.lua", "local x = 1\nx = = 2\n"),
    ("runtime.lua", "local function f()\n  local t\n  print('before')\n  t.x = 1\nend\nf()\n"),
    ("finalizer.lua", "t = setmetatable({}, { __gc = function() print('finalized') end }) print('end')"),
    ("failing_finalizer.lua", "t = setmetatable({}, { __gc = function() print('finalized') end }) error('stop', 0)"),
    (
        "random.lua",
        "print(math.random(1000000), math.random(1000000), tostring({}), os.getenv('PATH'), pcall(os.time))",
    ),
    ("-", "print('a file named -')"),
];

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (name, content) in FILES {
        fs::write(folder.path().join(name), content).expect("the folder takes files");
    }
    folder
}

fn run(folder: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cu"))
        .args(arguments)
        .current_dir(folder)
        .envs([("LUA_INIT", ""), ("LUA_INIT_5_4", "")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cu starts");
    // A run that reads no input may have ended already.
    let _ = child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("cu ends");
    Output { stdout: with_short_name(&output.stdout), stderr: with_short_name(&output.stderr), ..output }
}

/// Output in which the program is `cu`, not what this test starts it as.
fn with_short_name(output: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(output).replace(env!("CARGO_BIN_EXE_cu"), "cu").into_bytes()
}

fn check(cases: &[Case]) {
    let folder = folder();
    for case in cases {
        let output = run(folder.path(), case.arguments, case.stdin);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let ran = format!("{:?} with input {:?}", case.arguments, case.stdin);
        assert_eq!(stdout, case.stdout, "stdout of {ran}; stderr: {stderr}");
        assert_eq!(stderr, case.stderr, "stderr of {ran}");
        assert_eq!(output.status.code(), Some(case.code), "exit code of {ran}");
    }
}

#[test]
fn code_and_scripts() {
    check(&[
        prints(&["-e", "x = 1", "-e", "print(x)"], "", "1\n"),
        prints(&["-e", "print(collectgarbage('incremental'))"], "", "generational\n"),
        prints(&["--deterministic", "-e", "print(collectgarbage('incremental'))"], "", "incremental\n"),
        prints(&["-eprint(2)"], "", "2\n"),
        prints(&[], "print('from stdin')", "from stdin\n"),
        prints(&["-", "a", "b"], "print(arg[0], ...)", "-\ta\tb\n"),
        prints(&["--", "-", "a"], "", "a file named -\n"),
        prints(&["-e", "x = 'first'", "-"], "print(x)", "first\n"),
        prints(&["mark.lua"], "", "after the mark\n"),
        prints(
            &["-e", "x = 1", "arguments.lua", "p", "-v"],
            "",
            "p\t-v\n-4\tnil\n-3\tcu\n-2\t-e\n-1\tx = 1\n0\targuments.lua\n1\tp\n2\t-v\n3\tnil\n",
        ),
        prints(&["-e", "print(#arg, arg[0], arg[1])"], "", "2\tcu\t-e\n"),
        prints(&["-v"], "", BANNER),
        prints(&["-v", "-e", "print('after')"], "", concat_banner!("after\n")),
        prints(&["finalizer.lua"], "", "end\nfinalized\n"),
    ]);
}

#[test]
fn errors_of_lua_code() {
    check(&[
        fails(&["syntax.lua"], "", "cu: syntax.lua:2: unexpected symbol near '='\n"),
        fails(
            &["runtime.lua"],
            "before\n",
            "cu: runtime.lua:4: attempt to index a nil value (local 't')\n\
             stack traceback:\n\
             \truntime.lua:4: in local 'f'\n\
             \truntime.lua:6: in main chunk\n\
             \t[C]: in ?\n",
        ),
        fails(
            &["shebang.lua"],
            "",
            "cu: shebang.lua:2: second line\n\
             stack traceback:\n\
             \t[C]: in function 'error'\n\
             \tshebang.lua:2: in main chunk\n\
             \t[C]: in ?\n",
        ),
        fails(
            &["-e", "error({})"],
            "",
            "cu: (error object is a table value)\n\
             stack traceback:\n\
             \t[C]: in function 'error'\n\
             \t(command line):1: in main chunk\n\
             \t[C]: in ?\n",
        ),
        fails(
            &["-e", "error(setmetatable({}, { __tostring = function() return 'my error' end }))"],
            "",
            "cu: my error\n",
        ),
        fails(
            &["failing_finalizer.lua"],
            "finalized\n",
            "cu: stop\n\
             stack traceback:\n\
             \t[C]: in function 'error'\n\
             \tfailing_finalizer.lua:1: in main chunk\n\
             \t[C]: in ?\n",
        ),
        fails(&["-e", "x =", "-e", "print('not reached')"], "", "cu: (command line):1: unexpected symbol near <eof>\n"),
        fails(&["missing.lua"], "", "cu: cannot open missing.lua: No such file or directory\n"),
    ]);
}

#[test]
fn warnings() {
    let stderr = "Lua warning: one two\n";
    check(&[
        Case { stderr, ..prints(&["-W", "-e", "warn('one ', 'two')"], "", "") },
        prints(&["-e", "warn('one ', 'two')"], "", ""),
    ]);
}

#[test]
fn wrong_command_lines() {
    let folder = folder();
    for (arguments, first_line, has_usage) in [
        (&["-x"][..], "cu: unrecognized option '-x'", true),
        (&["--what", "arguments.lua"], "cu: unrecognized option '--what'", true),
        (&["-e"], "cu: '-e' needs argument", true),
        (&["-e", "-v"], "cu: '-e' needs argument", true),
        (&["-l"], "cu: '-l' needs argument", true),
        (&["-h"], "cu: unrecognized option '-h'", true),
        (&["---"], "cu: unrecognized option '---'", true),
        (&["-vv"], "cu: unrecognized option '-vv'", true),
        (&["-Ex"], "cu: unrecognized option '-Ex'", true),
        (&["--help=x"], "cu: unrecognized option '--help=x'", true),
        (&["--heap"], "cu: '--heap' needs argument", true),
        (&["--heap", "many"], "cu: --heap: 'many' is not a size (bytes, or with K, M or G)", false),
        (&["--fuel", "-1"], "cu: --fuel: '-1' is not a number of units", false),
    ] {
        let output = run(folder.path(), arguments, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.lines().next(), Some(first_line), "{arguments:?}");
        assert_eq!(stderr.contains("\nusage: cu [options] [script [args]]\n"), has_usage, "{arguments:?}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn limits() {
    check(&[
        fails(
            &["--fuel", "10000", "-e", "print('start') while true do end"],
            "start\n",
            "cu: out of fuel (limit 10000)\n",
        ),
        fails(
            &["--fuel", "10000", "-e", "pcall(function() while true do end end) print('caught')"],
            "",
            "cu: out of fuel (limit 10000)\n",
        ),
        // The limit is for all chunks together.
        fails(
            &["--fuel", "10000", "-e", "for i = 1, 6000 do end", "-e", "for i = 1, 6000 do end"],
            "",
            "cu: out of fuel (limit 10000)\n",
        ),
        prints(&["--fuel", "10000", "-e", "print('enough')"], "", "enough\n"),
        fails(&["--heap", "256K", "-e", "local t = {} for i = 1, 1e9 do t[i] = {} end"], "", "cu: not enough memory\n"),
        prints(
            &["--heap", "1M", "-e", "print(pcall(function() local s = 'x' while true do s = s .. s end end))"],
            "",
            "false\tnot enough memory\n",
        ),
        prints(&["--heap", "64M", "-e", "local t = {} for i = 1, 1e5 do t[i] = {} end print(#t)"], "", "100000\n"),
        fails(&["--heap", "0", "-e", "local t = {} for i = 1, 1e6 do t[i] = i end"], "", "cu: not enough memory\n"),
    ]);
}

#[test]
fn deterministic_runs_are_equal() {
    let folder = folder();
    let deterministic = || run(folder.path(), &["--deterministic", "random.lua"], "");
    let (first, second) = (deterministic(), deterministic());
    assert_eq!(first, second);
    let stdout = String::from_utf8_lossy(&first.stdout);
    let fields: Vec<&str> = stdout.trim_end().split('\t').collect();
    assert_eq!(fields[3..5], ["nil", "false"], "no environment and no time in {stdout:?}");
    let other = run(folder.path(), &["random.lua"], "");
    assert_ne!(first.stdout, other.stdout, "an ordinary run has a seed of its own");
}

#[test]
fn databases() {
    let folder = folder();
    let path = folder.path().join("data.cu");
    for _ in 0..2 {
        let output = run(folder.path(), &["--db", "data.cu", "-e", "print('open')"], "");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.stdout, b"open\n");
        assert!(path.exists());
    }
    let output = run(folder.path(), &["--db", "runtime.lua", "-e", "print('not reached')"], "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "cu: cannot open database 'runtime.lua': storage backend: the file is no database\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

#[test]
fn interactive_mode() {
    let folder = folder();
    for (lines, stdout, stderr) in [
        ("1 + 1\n", "> 1 + 1\n2\n> \n", ""),
        ("= 5, nil", "> = 5, nil\n5\tnil\n> \n", ""),
        ("x = 7\nx\n", "> x = 7\n> x\n7\n> \n", ""),
        ("for i = 1, 2 do\nprint(i)\nend\n", "> for i = 1, 2 do\n>> print(i)\n>> end\n1\n2\n> \n", ""),
        ("return\n\n-- nothing\n", "> return\n> \n> -- nothing\n> \n", ""),
        ("x = = 1\nprint('on')\n", "> x = = 1\n> print('on')\non\n> \n", "stdin:1: unexpected symbol near '='\n"),
        (
            "local t = nil; t.x = 1\n",
            "> local t = nil; t.x = 1\n> \n",
            "stdin:1: attempt to index a nil value (local 't')\n\
             stack traceback:\n\tstdin:1: in main chunk\n\t[C]: in ?\n",
        ),
        ("print = nil\n1\n", "> print = nil\n> 1\n> \n", "error calling 'print' (attempt to call a nil value)\n"),
        ("if\n", "> if\n>> > \n", "stdin:1: unexpected symbol near <eof>\n"),
        ("_PROMPT, _PROMPT2 = '? ', 3\nx =\n5\n", "> _PROMPT, _PROMPT2 = '? ', 3\n? x =\n35\n? \n", ""),
        ("io.read(3), io.read()\nabcd\n", "> io.read(3), io.read()\nabc\td\n> \n", ""),
    ] {
        let output = run(folder.path(), &["-i"], lines);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{BANNER}{stdout}"), "{lines:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{lines:?}");
        assert_eq!(output.status.code(), Some(0), "{lines:?}");
    }
    let output = run(folder.path(), &["--fuel", "1000", "-i"], "while true do end\nprint('not reached')\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "cu: out of fuel (limit 1000)\n");
    assert_eq!(output.status.code(), Some(1));
}
