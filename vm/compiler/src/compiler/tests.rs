//! Tests of the compiler: messages, code of key idioms, all fixtures.

use std::path::{Path, PathBuf};

use super::lexer::Lexer;
use super::token::Token;
use super::{compile, display_chunk_name};
use crate::bytecode::disassemble::disassemble;
use crate::bytecode::function::Constant;
use crate::bytecode::verify::verify;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lua").join(folder);
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("the entry is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lua") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn tokens() {
    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        let mut lexer = Lexer::new(source.as_bytes(), b"=x");
        let mut found = Vec::new();
        loop {
            found.push(match lexer.next_token().expect("the source is well formed") {
                Token::EndOfSource => break,
                Token::Name(name) => format!("name {}", String::from_utf8_lossy(lexer.symbols().text(name))),
                Token::String(text) => format!("string {:?}", String::from_utf8_lossy(lexer.symbols().text(text))),
                Token::Integer(value) => format!("integer {value}"),
                Token::Float(value) => format!("float {value:?}"),
                token => token.description(),
            });
        }
        assert_eq!(found, expected);
    }
    check("and andy _a1", &["'and'", "name andy", "name _a1"]);
    check(
        "3 0x10 3.5 .5 1e2 0x.8p1",
        &["integer 3", "integer 16", "float 3.5", "float 0.5", "float 100.0", "float 1.0"],
    );
    check("9223372036854775807 9223372036854775808", &["integer 9223372036854775807", "float 9.223372036854776e18"]);
    check("== = ~= ~ << < .. ... . ::", &["'=='", "'='", "'~='", "'~'", "'<<'", "'<'", "'..'", "'...'", "'.'", "'::'"]);
    check(r#" "a\n\x41\65\u{42}\z   c" "#, &["string \"a\\nAABc\""]);
    check("'\\\r\n'", &["string \"\\n\""]);
    check("[[\na]b]] [==[]]]==]", &["string \"a]b\"", "string \"]]\""]);
    check("--[[ x\n]] a -- b\nc --[==", &["name a", "name c"]);
}

#[test]
fn messages() {
    #[track_caller]
    fn check(source: &str, expected: &str) {
        let error = compile(source.as_bytes(), b"=x").expect_err("the source is wrong");
        assert_eq!(String::from_utf8_lossy(&error.message), expected);
    }
    check("x = }", "x:1: unexpected symbol near '}'");
    check("x = \u{1}", "x:1: unexpected symbol near '<\\1>'");
    check("for i = 1 do end", "x:1: ',' expected near 'do'");
    check("if a then\n\n", "x:3: 'end' expected (to close 'if' at line 1) near <eof>");
    check("x = 'a\\qb'", "x:1: invalid escape sequence near ''a\\q'");
    check("x = 'a\\1234' y", "x:1: syntax error near <eof>");
    check("x = [[\n", "x:2: unfinished long string (starting at line 1) near <eof>");
    check("x = .0x1g", "x:1: malformed number near '.0x1g'");
    check("'a\\0b' x", "x:1: unexpected symbol near ''a'");
    check("x = 08x", "x:1: malformed number near '08x'");
    check("(a) = 1", "x:1: syntax error near '='");
    check("goto\na", "x:2: no visible label 'a' for <goto> at line 2");
    check("do goto a end; local x; ::a:: x = 1", "x:1: <goto a> at line 1 jumps into the scope of local 'x'");
    check("local x <const> = 1; function f() x = 2 end", "x:1: attempt to assign to const variable 'x'");
    check("local x <const> = f(); x = 2", "x:1: attempt to assign to const variable 'x'");
    check("f(\n1", "x:2: ')' expected (to close '(' at line 1) near <eof>");
    // The line is the parenthesis's, not that of the function's name.
    check("f\n(1", "x:2: ')' expected near <eof>");
    check(&format!("x = {}1{}", "(".repeat(196), ")".repeat(196)), "C stack overflow");
    let names: Vec<_> = (0..201).map(|number| format!("a{number}")).collect();
    let locals = format!("\nfunction f() local {} end", names.join(","));
    check(&locals, "x:2: too many local variables (limit is 200) in function at line 2 near 'end'");
    let call = format!("f({})", vec!["a"; 260].join(","));
    check(&call, "x:1: function or expression needs too many registers near <eof>");
}

#[test]
fn messages_of_the_fixtures() {
    for path in fixtures("syntax_errors") {
        let Ok(expected) = std::fs::read_to_string(path.with_extension("err")) else {
            continue;
        };
        let source = std::fs::read(&path).expect("the file is readable");
        let name = path.file_name().expect("a file").to_string_lossy();
        let error = compile(&source, format!("@{name}").as_bytes()).expect_err("the source is wrong");
        let message = String::from_utf8_lossy(&error.message).into_owned();
        assert!(expected.contains(&message), "{name}: {message:?} instead of {expected:?}");
    }
}

#[test]
fn fixtures_compile_and_verify() {
    let mut count = 0;
    for path in fixtures("") {
        if path.components().any(|part| part.as_os_str() == "syntax_errors") {
            continue;
        }
        let source = std::fs::read(&path).expect("the file is readable");
        // The host skips a first line that starts with `#`.
        let source = match source.first() {
            Some(b'#') => source.iter().position(|&byte| byte == b'\n').map_or(&[][..], |end| &source[end..]),
            _ => &source[..],
        };
        // Some fixtures are about an error in the chunk itself; those have the message on record.
        let expects_error = path.with_extension("err").exists();
        match compile(source, b"=fixture") {
            Ok(parts) => {
                verify(parts).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                count += 1;
            }
            Err(error) => assert!(expects_error, "{}: {error}", path.display()),
        }
    }
    assert!(count > 0);
}

#[test]
fn long_chains_do_not_recurse() {
    let count = 100_000;
    let chains = [
        format!("x = a{}", " + a".repeat(count)),
        format!("x = a{}", " and a or b".repeat(count)),
        format!("x = a{}", ".b".repeat(count)),
        format!("a{}", ":b()".repeat(count)),
        format!("if a then x = 1 {} end", "elseif a then x = 1 ".repeat(count)),
        format!("while a do {} end", "if a then break end ".repeat(count)),
        format!("x = {{{}}}", "a,".repeat(count)),
    ];
    let work = move || {
        for chain in chains {
            let parts = compile(chain.as_bytes(), b"=x").expect("the chain is well formed");
            verify(parts).expect("the code is valid");
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread starts");
    thread.join().expect("the stack suffices");
}

#[test]
fn chunk_names() {
    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&display_chunk_name(name.as_bytes())), expected);
    }
    check("=stdin", "stdin");
    check("@a/b.lua", "a/b.lua");
    check("print(1)", "[string \"print(1)\"]");
    check("a\nb", "[string \"a...\"]");
    check("", "[string \"\"]");
    check(&"x".repeat(44), &format!("[string \"{}\"]", "x".repeat(44)));
    check(&"x".repeat(45), &format!("[string \"{}...\"]", "x".repeat(45)));
    check(&format!("={}", "x".repeat(70)), &"x".repeat(59));
    check(&format!("@{}", "x".repeat(59)), &"x".repeat(59));
    check(&format!("@{}", "x".repeat(60)), &format!("...{}", "x".repeat(56)));
}

#[test]
fn code_of_idioms() {
    /// Compares the disassembly, without its header, positions and the prologue of the main function.
    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        let parts = compile(source.as_bytes(), b"=x").expect("the source is well formed");
        verify(parts.clone()).expect("the code is valid");
        let text = disassemble(&parts);
        let lines: Vec<String> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with("function"))
            .map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest))
            .map(|line| line.split(" ;").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines, expected, "\n{text}");
    }
    check("local a; a = a + 1; a = a - 300", &["LoadNil R0 0", "AddI R0 R0 1", "SubK R0 R0 K0", "Return0"]);
    check(
        "local a, b; if a < b and not (a == 1 or b) then a = b end",
        &["LoadNil R0 1", "Lt R0 R1 0 -> 9", "EqI R0 1 1 -> 9", "Test R1 1 -> 9", "Move R0 R1", "Return0"],
    );
    check("local a, b; local c = a and b", &["LoadNil R0 1", "TestSet R2 R0 0 -> 5", "Move R2 R1", "Return0"]);
    check(
        "local i; while i < 10 do i = i + 1 end",
        &["LoadNil R0 0", "Jump -> 5", "AddI R0 R0 1", "LtI R0 10 1 -> 4", "Return0"],
    );
    check(
        "local a, t; a, t[a], t = 1, 2",
        &[
            "LoadNil R0 1",
            "Move R2 R1",
            "LoadInteger R3 1",
            "LoadInteger R4 2",
            "LoadNil R5 0",
            "Move R1 R5",
            "SetTable R2 R0 R4",
            "Move R0 R3",
            "Return0",
        ],
    );
    check("return f(...)", &["GetTabUp R0 U0 K0", "VarArg R1 0", "TailCall R0 0 0", "Return0"]);
    check("local t; t:m(1)", &["LoadNil R0 0", "SelfField R1 R0 K0", "LoadInteger R3 1", "Call R1 3 1", "Return0"]);
    check(
        "local a; a = 1 .. a .. 'x' .. a",
        &[
            "LoadNil R0 0",
            "LoadInteger R1 1",
            "Move R2 R0",
            "LoadConstant R3 K0",
            "Move R4 R0",
            "Concat R1 4",
            "Move R0 R1",
            "Return0",
        ],
    );
    check("local x <const> = 2^3; local y = -x * 2", &["LoadFloat R0 -16", "Return0"]);
    check(
        "for i = 1, 3 do local x; f = function() return x end end",
        &[
            "LoadInteger R0 1",
            "LoadInteger R1 3",
            "LoadInteger R2 1",
            "ForPrep R0 -> 14",
            "LoadNil R4 0",
            "Closure R5 1 0",
            "SetTabUp U0 K0 R5",
            "Close R3",
            "ForLoop R0 -> 6",
            "Return0",
        ],
    );
}

#[test]
fn constants_fold_as_in_c_lua() {
    #[track_caller]
    fn check(expression: &str, expected: Option<Constant>) {
        let source = format!("t.x = {expression}");
        let parts = compile(source.as_bytes(), b"=x").expect("the source is well formed");
        let value = parts.constants.get(2).cloned();
        let is_constant = disassemble(&parts).contains("SetFieldK");
        assert_eq!(value.filter(|_| is_constant), expected, "{expression}");
    }
    check("1 + 2", Some(Constant::Integer(3)));
    check("7 // 2.0", Some(Constant::Float(3.0)));
    check("1 // 0", None);
    check("1 / 0", None);
    check("0.0 * -1", None);
    check("0.0 / 0.0", None);
    check("3 | 4.0", Some(Constant::Integer(7)));
    check("3 | 4.5", None);
    check("1 << 63 >> 63", Some(Constant::Integer(1)));
    check("not nil", Some(Constant::Boolean(true)));
    check("false or 'a'", Some(Constant::String(b"a"[..].into())));
    check("1 and nil", Some(Constant::Nil));
    check("1 < 2", None);
    check("'a' .. 'b'", None);
}
