//! `cu --db FILE`: external tables outlive the process, and are the same Collections that `cu db` shows.

use std::path::Path;
use std::process::{Command, Output};

fn cu(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
    command.current_dir(folder).args(arguments).output().expect("cu runs")
}

#[track_caller]
fn check(folder: &Path, arguments: &[&str], code: i32, printed: &str) {
    let output = cu(folder, arguments);
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{arguments:?}");
}

#[test]
fn tables_outlive_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let run =
        |code: &str, status, printed: &str| check(folder.path(), &["--db", "a.cudb", "-e", code], status, printed);
    run("local t = ext.table('users') t.a = {n = 1, f = function() return 'called' end} t[1] = 'one'", 0, "");
    run("for key, value in pairs(ext.table('users')) do print(key, type(value)) end", 0, "1\tstring\na\ttable\n");
    run("print(ext.table('users').a.f(), ext.table('users'):where('n', 1):count())", 0, "called\t1\n");
    check(folder.path(), &["db", "a.cudb", "get", "users", "1"], 0, "\"one\"\n");

    // What a failed run has stored outside a transaction stays.
    run("ext.table('users').b = 2 ext.transaction(function() ext.table('users').c = 3 error('no') end)", 1, "");
    run("print(ext.table('users').b, ext.table('users').c)", 0, "2\tnil\n");
    // A run that ends in a transaction leaves nothing of it, well or not.
    run("ext.transaction(function() ext.table('users').d = 4 os.exit(0, true) end)", 0, "");
    run("ext.transaction(function() ext.table('users').d = 4 os.exit(3) end)", 3, "");
    run("print(ext.table('users').d)", 0, "nil\n");
    run("_home.users = ext.table('users') function _home.count() return _home.users:where():count() end", 0, "");
    run("print(_home.count(), _home.users.b)", 0, "3\t2\n");
}

#[test]
fn without_a_database_there_is_no_ext() {
    let folder = tempfile::tempdir().expect("a folder");
    check(folder.path(), &["-e", "print(ext)"], 0, "nil\n");
}

#[test]
fn tables_can_be_withheld() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str], code: &str| {
        let output = cu(folder.path(), &[&["--db", "a.cudb"], arguments, &["-e", code]].concat());
        let text = if output.status.success() { output.stdout } else { output.stderr };
        String::from_utf8_lossy(&text)
            .lines()
            .next()
            .unwrap_or_default()
            .replace(concat!(env!("CARGO_BIN_EXE_cu"), ": "), "")
    };
    assert_eq!(run(&[], "_home.n = 1 ext.table('users').a = 1 ext.table('orders').b = 2 print(_home.n)"), "1");
    // Read, and not change.
    let read = ["--read", "users,_home"];
    assert_eq!(run(&read, "print(_home.n, ext.table('users').a)"), "1\t1");
    assert_eq!(
        run(&read, "ext.table('users').a = 2"),
        "(command line):1: external table 'users' may not be changed here"
    );
    assert_eq!(
        run(&read, "print(ext.table('orders').b)"),
        "(command line):1: external table 'orders' may not be used here"
    );
    assert_eq!(run(&read, "_home.n = 2 print(_home.n)"), "permission denied: table '_home' may not be changed");
    assert_eq!(run(&read, "_home = {}"), "permission denied: table '_home' may not be changed");
    // Neither; and more than that for one.
    for code in
        ["print(_home.n)", "_home.n = 2", "for k in pairs(_home) do end", "rawset(_home, 'n', 2)", "_home.m = {}"]
    {
        let refused = run(&["--write=orders"], code);
        assert!(refused.ends_with("permission denied: table '_home'"), "{code}: {refused}");
    }
    assert_eq!(run(&["--write=orders", "--read=users"], "ext.table('orders').b = 3 print(ext.table('users').a)"), "1");
    assert_eq!(run(&[], "print(_home.n, _home.m, ext.table('users').a, ext.table('orders').b)"), "1\tnil\t1\t3");
}
