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
    std::fs::write(folder.path().join("no.image"), "no image").unwrap();
    for file in ["no.image", "none.image"] {
        let output = cu(folder.path(), &["image", file]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!output.stderr.is_empty());
    }
}
