//! `cu db`: what each command prints and leaves in the file.

use std::path::Path;
use std::process::{Command, Output};

fn cu(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
    command.current_dir(folder).args(["db", "a.cudb"]).args(arguments).output().expect("cu runs")
}

/// Runs a command that must succeed, and gives what it printed.
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = cu(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that must fail, and gives its message.
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = cu(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn documents_go_in_and_come_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    assert!(fails(folder, &["info"]).contains("there is no database 'a.cudb'"));
    for (key, document) in [
        ("alice", r#"{"name":"Alice","age":30}"#),
        ("bob", r#"{"name":"Bob","age":25}"#),
        ("7", r#"{"name":"Seven","tags":[1.0,null]}"#),
    ] {
        assert_eq!(done(folder, &["set", "users", key, document]), "");
    }
    assert_eq!(done(folder, &["get", "users", "7"]), "{\"name\":\"Seven\",\"tags\":[1.0,null]}\n");
    assert_eq!(done(folder, &["get", "users", "alice"]), "{\"name\":\"Alice\",\"age\":30}\n");
    assert!(fails(folder, &["get", "users", "carol"]).contains("there is no carol in 'users'"));
    assert_eq!(done(folder, &["get", "users"]).lines().count(), 3);
    assert_eq!(done(folder, &["index", "users", "age", "--sparse"]), "");
    assert_eq!(done(folder, &["index", "users"]), "  age: btree (age) sparse, 2 entries, 2 different\n");
    let query = r#"{"field":"age","operator":">","value":26}"#;
    let rows = done(folder, &["query", "users", query, "--explain"]);
    assert!(rows.starts_with("{\"key\":\"alice\",\"value\":{\"name\":\"Alice\",\"age\":30}}\n{\"plan\":"), "{rows}");
    assert!(fails(folder, &["query", "users", r#"{"field":"a","operator":"like"}"#]).contains("operator 'like'"));
    assert!(done(folder, &["info"]).contains("users: 3 documents"));
    assert!(done(folder, &["check"]).starts_with("3 documents"));
    assert_eq!(done(folder, &["index", "users", "age", "--drop"]), "");
    assert_eq!(done(folder, &["index", "users"]), "");
    assert_eq!(done(folder, &["delete", "users", "bob"]), "");
    assert!(fails(folder, &["delete", "users", "bob"]).contains("there is no bob"));
    assert!(done(folder, &["check", "--repair"]).contains("2 documents kept, 0 lost"));
}

#[test]
fn changes_are_listed_from_a_number_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    done(folder, &["set", "users", "1", "10"]);
    assert!(fails(folder, &["changes"]).contains("are not logged"));
    done(folder, &["changes", "--on", "--values"]);
    done(folder, &["set", "users", "1", "11"]);
    done(folder, &["delete", "users", "1"]);
    let changed = "{\"number\":1,\"collection\":\"users\",\"kind\":\"changed\",\"key\":1,\"value\":11}\n";
    let removed = "{\"number\":2,\"collection\":\"users\",\"kind\":\"removed\",\"key\":1}\n";
    assert_eq!(done(folder, &["changes"]), [changed, removed].concat());
    assert_eq!(done(folder, &["changes", "1"]), removed);
    done(folder, &["changes", "--off"]);
    assert!(fails(folder, &["changes"]).contains("are not logged"));
}

#[test]
fn an_export_makes_the_same_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    std::fs::create_dir(&first).expect("a folder");
    std::fs::create_dir(&second).expect("a folder");
    for number in ["1", "2", "30"] {
        done(&first, &["set", "n", number, &format!("{{\"n\":{number}}}")]);
    }
    done(&first, &["index", "n", "n", "--unique"]);
    for flags in [&[][..], &["--binary"]] {
        let file = first.join("export");
        let arguments = [&["export", "export"], flags].concat();
        assert_eq!(done(&first, &arguments), "");
        assert_eq!(done(&second, &["import", file.to_str().expect("text")]), "3 documents\n");
        assert_eq!(done(&second, &["export"]), done(&first, &["export"]));
        let bytes = std::fs::read(&file).expect("an export");
        std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("a file");
        assert!(fails(&second, &["import", file.to_str().expect("text")]).contains("invalid "));
    }
    assert!(fails(&second, &["set", "n", "4", "{\"n\":1}"]).contains("index 'n' allows each value once"));
}

#[test]
fn wrong_calls_show_the_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["explode"][..], &["set", "a"], &["get"], &["check", "--fast"], &["bench", "many"]] {
        done(folder.path(), &["set", "a", "1", "1"]);
        assert!(fails(folder.path(), arguments).contains("usage: cu db FILE command"), "{arguments:?}");
    }
}

#[test]
fn the_bench_prints_its_rows_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = done(folder.path(), &["bench", "2000"]);
    assert_eq!(printed.lines().count(), 8, "{printed}");
    assert!(!done(folder.path(), &["info"]).contains("documents"));
}

#[test]
fn the_audit_log_tells_of_runs_and_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let run = |who: &str, code: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cu"));
        command.current_dir(folder).args(["--db", "a.cudb", "--deterministic", "--audit", who, "-e", code]);
        command.output().expect("cu runs").status.code()
    };
    assert_eq!(run("alice", "_home.n = 1"), Some(0));
    let head = done(folder, &["audit", "verify"]);
    assert!(head.starts_with("1:") && head.trim_end().len() == 66, "{head}");
    assert_eq!(run("bob", "error('no', 0)"), Some(1));
    assert_eq!(run("carol", "os.exit(3)"), Some(3));
    let record = |number, who, result| {
        format!(
            "{{\"number\":{number},\"who\":\"{who}\",\"operation\":\"run\",\"target\":\"command line\",\"when\":0,\"result\":\"{result}\"}}\n"
        )
    };
    let listed = record(1, "alice", "ok") + &record(2, "bob", "no") + &record(3, "carol", "exit 3");
    assert_eq!(done(folder, &["audit", "list"]), listed);
    assert!(done(folder, &["audit", "verify", head.trim_end()]).starts_with("3:"));
    let forged = r#"{"who":"mallory","operation":"run","target":"command line","when":0,"result":"no","hash":"00"}"#;
    done(folder, &["set", "_audit", "2", forged]);
    assert!(fails(folder, &["audit", "verify"]).contains("audit log: record 2 does not follow from the one before"));
    done(folder, &["delete", "_audit", "2"]);
    assert!(fails(folder, &["audit", "verify"]).contains("audit log: record 2 is missing"));
    assert!(fails(folder, &["audit", "verify", "x"]).contains("'x' is no head"));
}
