//! `cu snapshot`, `cu resume`, `cu image`: what a stopped and a resumed run print is together what an undisturbed one prints.

use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = "\
local t = {}
local next_square = coroutine.wrap(function() for i = 1, math.huge do t[#t + 1] = i; coroutine.yield(i * i) end end)
local sum = 0
for i = 1, 2000 do
  sum = sum + next_square()
  if i % 100 == 0 then print(i, sum) end
end
io.write('done ', tostring(t), ' ', tostring(arg[1]), '\\n')
setmetatable({}, { __gc = function() print('bye') end })
if arg[2] then error(arg[2]) end
os.exit(7, true)
";

fn cu(folder: &Path, arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_cu")).args(arguments).current_dir(folder).output();
    command.expect("cu runs")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("squares.lua"), PROGRAM).expect("a writable folder");
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Stops a run after each of these, one image after the other, and resumes the last one.
fn stopped(folder: &Path, arguments: &[&str], stops: &[&str]) -> (String, Output) {
    let mut printed = String::new();
    for (number, after) in stops.iter().enumerate() {
        let file = format!("{number}.image");
        let before = format!("{}.image", number.wrapping_sub(1));
        let run = match number {
            0 => [&["snapshot", "--after", after, "-o", &file], arguments].concat(),
            _ => vec!["resume", &before, "--after", after, "-o", &file],
        };
        let output = cu(folder, &run);
        assert_eq!(text(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
        printed += &text(&output.stdout);
    }
    let last = format!("{}.image", stops.len() - 1);
    let output = cu(folder, &["resume", &last]);
    printed += &text(&output.stdout);
    (printed, output)
}

#[test]
fn a_resumed_run_prints_the_rest_and_ends_as_the_whole() {
    let folder = folder();
    for arguments in [
        &["squares.lua"][..],
        &["--deterministic", "squares.lua", "x", "an error"],
        &["-W", "-e", "x = 1", "squares.lua"],
    ] {
        let whole = cu(folder.path(), arguments);
        for stops in [&["1"][..], &["777"], &["20011"], &["5003", "5003", "10007"]] {
            let (printed, last) = stopped(folder.path(), arguments, stops);
            // Without files in the host there is no `io`, which is an error of the program.
            assert_eq!(printed, text(&whole.stdout), "{arguments:?} {stops:?}");
            assert_eq!(text(&last.stderr), text(&whole.stderr), "{arguments:?} {stops:?}");
            assert_eq!(last.status.code(), whole.status.code(), "{arguments:?} {stops:?}");
        }
    }
}

#[test]
fn a_run_that_ends_before_the_stop_leaves_no_image() {
    let folder = folder();
    std::fs::write(folder.path().join("short.lua"), "print('short')").unwrap();
    let output = cu(folder.path(), &["snapshot", "short.lua", "--after", "1000000", "-o", "x.image"]);
    assert_eq!(text(&output.stdout), "short\n");
    assert!(text(&output.stderr).contains("x.image was not written"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path().join("x.image").exists());
}

#[test]
fn what_cannot_be_saved_is_named() {
    let folder = folder();
    let program = "handlers = { {}, { log = function() return file end } } file = io.open('x', 'w') while true do end";
    std::fs::write(folder.path().join("open.lua"), program).unwrap();
    let output = cu(folder.path(), &["snapshot", "open.lua", "--after", "1000", "-o", "x.image"]);
    let message = text(&output.stderr);
    assert!(message.ends_with("cu: image: _G.file: cannot save an open file\n"), "{message}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_image_is_shown() {
    let folder = folder();
    cu(folder.path(), &["snapshot", "squares.lua", "--after", "10000", "-o", "x.image"]);
    let output = cu(folder.path(), &["image", "x.image"]);
    let shown = text(&output.stdout);
    for line in ["stopped in a run", "native functions", "squares.lua:2 ", "squares.lua (main)", ", main"] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

/// Wrong files and wrong command lines: status 1 and a message that says what to do.
#[test]
fn mistakes_are_told() {
    let folder = folder();
    cu(folder.path(), &["snapshot", "squares.lua", "--after", "10000", "-o", "x.image"]);
    let image = std::fs::read(folder.path().join("x.image")).expect("it was written");
    let mut newer = image.clone();
    newer[4] = 9;
    let files: [(&str, &[u8]); 6] = [
        ("text.image", b"no image"),
        ("empty.image", b""),
        ("half.image", &image[..image.len() / 2]),
        ("function.image", b"\x1bCuF and so on"),
        ("chunk.image", b"\x1bLua and so on"),
        ("newer.image", &newer),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a writable folder");
    }
    let check = |arguments: &[&str], message: &str| {
        let output = cu(folder.path(), arguments);
        let shown = text(&output.stderr);
        assert!(shown.contains(message), "{arguments:?}: {shown}");
        assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("", Some(1)), "{arguments:?}");
    };
    for command in ["image", "resume"] {
        for (file, message) in [
            ("text.image", "cu: text.image is not an image\n"),
            ("empty.image", "cu: cannot load empty.image: the file is damaged or cut short"),
            ("half.image", "cu: cannot load half.image: the file is damaged or cut short"),
            ("function.image", "cu: function.image is not an image, but a saved function\n"),
            ("chunk.image", "cu: chunk.image is not an image, but a binary chunk\n"),
            ("newer.image", "cu: cannot load newer.image: format version 9 is not supported\n"),
            ("none.image", "cu: cannot open none.image: No such file or directory\n"),
            (".", "cu: cannot open .: Is a directory\n"),
            ("--what", "unrecognized option '--what'\n"),
        ] {
            check(&[command, file], message);
        }
        check(&[command], &format!("'{command}' needs one image"));
        check(&[command, "x.image", "x.image"], &format!("'{command}' needs one image"));
        let help = cu(folder.path(), &[command, "--help"]);
        assert!(text(&help.stdout).contains("cu resume FILE") && help.status.success());
    }
    check(&["snapshot", "squares.lua"], "'snapshot' needs '--after' and '-o'");
    check(&["snapshot", "squares.lua", "-o", "y.image"], "'--after' and '-o' go together");
    check(&["snapshot", "squares.lua", "-o", "y.image", "--after", "soon"], "--after: 'soon' is not a number of units");
    check(&["snapshot", "none.lua", "-o", "y.image", "--after", "1"], "cannot open none.lua");
    check(&["snapshot", "squares.lua", "-o", "no/y.image", "--after", "1"], "cannot write no/y.image");
    check(&["snapshot", "--atomic", "squares.lua", "-o", "y.image", "--after", "1"], "belong to whole runs");
    assert!(!folder.path().join("y.image").exists());
}

/// A script from standard input, stopped before its first instruction, and an image that replaces the one it came from.
#[test]
fn standard_input_is_a_script() {
    let folder = folder();
    for arguments in
        [&["snapshot", "--after", "0", "-o", "x.image"][..], &["snapshot", "-", "--after", "0", "-o", "x.image"]]
    {
        let program = std::fs::File::open(folder.path().join("squares.lua")).expect("it is there");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
        let output = command.args(arguments).current_dir(folder.path()).stdin(program).output().expect("cu runs");
        assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
        assert!(output.status.success());
        let on = cu(folder.path(), &["resume", "x.image", "--after", "20000", "-o", "x.image"]);
        let rest = cu(folder.path(), &["resume", "x.image"]);
        let whole = cu(folder.path(), &["squares.lua"]);
        assert_eq!(text(&on.stdout) + &text(&rest.stdout), text(&whole.stdout));
        assert_eq!(rest.status.code(), whole.status.code());
        assert!(!folder.path().join("x.image.part").exists());
    }
}

/// A stopped run holds external tables by name: the resumed one has those of the database that it is given.
#[test]
fn external_tables_are_found_again() {
    let folder = folder();
    let program = "local users = ext.table('users')
        users.alice = {age = 30}
        local old = users:where('age', '>=', 25)
        for i = 1, 2000 do users[i] = {age = i % 50} end
        print(users.alice.age, old:count(), users == ext.table('users'), _home)";
    std::fs::write(folder.path().join("users.lua"), program).expect("a writable folder");
    let stop = ["snapshot", "--db", "a.cudb", "users.lua", "--after", "40000", "-o", "x.image"];
    let stopped = cu(folder.path(), &stop);
    assert_eq!((text(&stopped.stdout), text(&stopped.stderr)), (String::new(), String::new()));
    let output = cu(folder.path(), &["resume", "x.image", "--db", "a.cudb"]);
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("30\t1001\ttrue\tnil\n", ""));
    let without = cu(folder.path(), &["resume", "x.image"]);
    assert!(text(&without.stderr).contains("which '--db' has to name"), "{}", text(&without.stderr));
    assert_eq!(without.status.code(), Some(1));
    let withheld = cu(folder.path(), &["resume", "x.image", "--db", "a.cudb", "--read", "users"]);
    assert!(text(&withheld.stderr).contains("external table 'users' may not be changed here"));
    let database = cu(folder.path(), &["image", "a.cudb"]);
    assert!(text(&database.stderr).contains("a.cudb is not an image, but a database"), "{}", text(&database.stderr));
}
