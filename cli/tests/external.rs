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
