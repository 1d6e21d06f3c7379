//! `require`, `loadfile` and `dofile` on files in memory, and what is left of them in a host without files.

use cu_vm::{Files, Host, MemoryFiles, Options, SharedBytes, SilentHost, Step, Vm, chunk_of_file};

/// A host with files in memory and an environment.
struct Machine {
    files: MemoryFiles,
    output: SharedBytes,
    environment: &'static [(&'static str, &'static str)],
    ignores_paths: bool,
}

impl Host for Machine {
    fn write(&mut self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        Some(&mut self.files)
    }

    fn environment(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let found = self.environment.iter().find(|(known, _)| known.as_bytes() == name)?;
        Some(found.1.into())
    }

    fn path_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        if self.ignores_paths { None } else { self.environment(name) }
    }
}

fn machine(files: &MemoryFiles) -> Machine {
    Machine { files: files.clone(), output: files.output(), environment: &[], ignores_paths: false }
}

fn vm(host: Machine) -> Vm {
    Vm::new(Options { heap_limit: 4 << 20, host: Box::new(host), ..Options::default() })
}

/// Runs a chunk that has to succeed, in slices of `fuel` with a collection after each; what it has printed.
fn output_in_slices(host: Machine, source: &str, fuel: u64) -> String {
    let output = host.output.clone();
    let mut vm = vm(host);
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing else runs");
    let step = loop {
        match vm.step(fuel).expect("it was started") {
            Step::OutOfFuel => vm.collect(),
            ended => break ended,
        }
    };
    assert_eq!(step, Step::Finished, "{source}: {}", vm.take_error());
    String::from_utf8(output.take()).expect("text")
}

fn output_of(host: Machine, source: &str) -> String {
    output_in_slices(host, source, u64::MAX)
}

fn files(files: &[(&str, &[u8])]) -> MemoryFiles {
    let memory = MemoryFiles::new();
    for (path, content) in files {
        memory.insert(path.as_bytes(), content).expect("there is space");
    }
    memory
}

#[test]
fn modules_come_from_files() {
    let files = files(&[
        ("a.lua", b"print('loading', ...) local n = 0 for i = 1, 20 do n = n + i end return { name = ..., n = n }"),
        ("dir/b.lua", b"#!/usr/bin/env lua\nlocal a = require 'a' print('b', a.name, a.n)"),
        ("dir/init.lua", b"\xef\xbb\xbfpackage.loaded[...] = 'kept'"),
        ("broken.lua", b"#first line\nx = = 1"),
    ]);
    let source = "local function show(module, data) print(type(module) == 'table' and module.name or module, data) end
        show(require 'dir.b') show(require 'a') show(require 'dir') show(require 'dir')
        print(package.searchpath('dir.b', package.path), package.searchpath('dir-b', './?.lua', '-'))
        print(pcall(require, 'broken'))
        print(select(2, pcall(require, 'nowhere.at.all')))";
    let expected = "loading\ta\t./a.lua\nb\ta\t210\ntrue\t./dir/b.lua\na\tnil\nkept\t./dir/init.lua\nkept\tnil\n\
        ./dir/b.lua\t./dir/b.lua\nfalse\terror loading module 'broken' from file './broken.lua':\n\
        \t./broken.lua:2: unexpected symbol near '='\nmodule 'nowhere.at.all' not found:\n\
        \tno field package.preload['nowhere.at.all']\n\tno file '/usr/local/share/lua/5.4/nowhere/at/all.lua'\n\
        \tno file '/usr/local/share/lua/5.4/nowhere/at/all/init.lua'\n\tno file '/usr/local/lib/lua/5.4/nowhere/at/all.lua'\n\
        \tno file '/usr/local/lib/lua/5.4/nowhere/at/all/init.lua'\n\tno file './nowhere/at/all.lua'\n\
        \tno file './nowhere/at/all/init.lua'\n\tno file '/usr/local/lib/lua/5.4/nowhere/at/all.so'\n\
        \tno file '/usr/local/lib/lua/5.4/loadall.so'\n\tno file './nowhere/at/all.so'\n\
        \tno file '/usr/local/lib/lua/5.4/nowhere.so'\n\tno file '/usr/local/lib/lua/5.4/loadall.so'\n\tno file './nowhere.so'\n";
    for fuel in [u64::MAX, 50, 1] {
        assert_eq!(output_in_slices(machine(&files), source, fuel), expected, "in slices of {fuel}");
    }
}

#[test]
fn there_are_no_modules_in_c() {
    let files = files(&[("c.so", b""), ("root.so", b"")]);
    let source =
        "package.path = '' print(select(2, pcall(require, 'c'))) print(select(2, pcall(require, 'root.below')))
        print(package.loadlib('./c.so', 'luaopen_c')) print(package.loadlib('./c.so', '*'))";
    let refusal = "dynamic libraries not enabled; check your Lua installation";
    let expected = format!(
        "error loading module 'c' from file './c.so':\n\t{refusal}\n\
         error loading module 'root.below' from file './root.so':\n\t{refusal}\n\
         nil\t{refusal}\tabsent\nnil\t{refusal}\tabsent\n"
    );
    assert_eq!(output_of(machine(&files), source), expected);
}

#[test]
fn the_environment_says_where_modules_are() {
    const PATH: &str = "/usr/local/share/lua/5.4/?.lua;/usr/local/share/lua/5.4/?/init.lua;\
        /usr/local/lib/lua/5.4/?.lua;/usr/local/lib/lua/5.4/?/init.lua;./?.lua;./?/init.lua";
    const C_PATH: &str = "/usr/local/lib/lua/5.4/?.so;/usr/local/lib/lua/5.4/loadall.so;./?.so";
    let check = |environment: &'static [(&'static str, &'static str)], path: &str, c_path: &str| {
        let host = Machine { environment, ..machine(&MemoryFiles::new()) };
        assert_eq!(output_of(host, "print(package.path) print(package.cpath)"), format!("{path}\n{c_path}\n"));
    };
    check(&[], PATH, C_PATH);
    check(&[("LUA_PATH", "x/?.lua"), ("LUA_CPATH", "")], "x/?.lua", "");
    check(&[("LUA_PATH", "x"), ("LUA_PATH_5_4", "y")], "y", C_PATH);
    check(&[("LUA_PATH", ";;"), ("LUA_CPATH_5_4", "a;;b;;c")], PATH, &format!("a;{C_PATH};b;;c"));
    check(&[("LUA_PATH", "x;;"), ("LUA_CPATH", ";;y")], &format!("x;{PATH}"), &format!("{C_PATH};y"));
    let environment = &[("LUA_PATH", "x"), ("LUA_CPATH", "y")];
    let host = Machine { environment, ignores_paths: true, ..machine(&MemoryFiles::new()) };
    assert_eq!(output_of(host, "print(package.path, os.getenv('LUA_PATH'))"), format!("{PATH}\tx\n"));
}

#[test]
fn loadfile_and_dofile() {
    let files = files(&[
        ("sum.lua", b"#!/bin/lua\nlocal a, b = ... return (a or 1) + (b or 2), x"),
        ("mark.lua", b"\xef\xbb\xbf# comment\nreturn 'marked'"),
        ("comment.lua", b"# only this"),
        ("empty.lua", b""),
        ("yield.lua", b"return coroutine.yield('yielded')"),
        ("fail.lua", b"\n\nerror('failed')"),
        ("part.lua", b"\xef\xbbreturn 1"),
    ]);
    let source = "print(loadfile('sum.lua')(10, 20)) print(loadfile('sum.lua', 't', { x = 'own' })())
        print(loadfile('sum.lua', 'b')) print(loadfile('missing.lua')) print(pcall(loadfile, 'sum.lua', {}))
        print(dofile('sum.lua')) print(dofile('mark.lua')) print(dofile('comment.lua')) print(dofile('empty.lua'))
        print(pcall(dofile, 'missing.lua')) print(pcall(dofile, 'fail.lua')) print(pcall(dofile, 'part.lua'))
        local co = coroutine.wrap(dofile) print(co('yield.lua')) print(co('resumed'))
        local function write(name, start, f) io.open(name, 'wb'):write(start, string.dump(f)):close() end
        write('plain', '', function(...) return 'binary', ... end) write('marked', '\\xef\\xbb\\xbf#!lua\\n', function() return 'behind a comment' end)
        print(loadfile('plain', 'b')(1)) print(dofile('marked')) print(loadfile('plain', 't'))
        io.open('plain', 'r+'):write('\\27Luz'):close() print(loadfile('plain'))";
    let expected = "30\tnil\n3\town\nnil\tattempt to load a text chunk (mode is 'b')\n\
        nil\tcannot open missing.lua: No such file or directory\n\
        false\tbad argument #2 to 'loadfile' (string expected, got table)\n3\tnil\nmarked\n\n\n\
        false\tcannot open missing.lua: No such file or directory\nfalse\tfail.lua:3: failed\n\
        false\tpart.lua:1: unexpected symbol near '<\\239>'\nyielded\nresumed\nbinary\t1\nbehind a comment\n\
        nil\tattempt to load a binary chunk (mode is 't')\nnil\tplain: bad binary format (not a binary chunk)\n";
    assert_eq!(output_of(machine(&files), source), expected);
}

#[test]
fn standard_input_is_shared_with_io() {
    let memory = MemoryFiles::new();
    memory.push_input(b"first line\n#ignored\nreturn 'read', ...");
    // Only the start of the stream can be a comment.
    let source = "print(io.read()) io.read() print(loadfile()(1)) print(loadfile()()) print(dofile())";
    assert_eq!(output_of(machine(&memory), source), "first line\nread\t1\n\n\n");
    memory.push_input(b"x = = 1");
    assert_eq!(output_of(machine(&memory), "print(loadfile())"), "nil\tstdin:1: unexpected symbol near '='\n");
}

#[test]
fn a_file_larger_than_the_heap_is_an_error() {
    let files = files(&[("large.lua", &b"x = 1\n".repeat(1 << 20)), ("small.lua", b"return 'small'")]);
    let source = "print(pcall(loadfile, 'large.lua')) print(pcall(require, 'large')) print(dofile('small.lua'))";
    assert_eq!(output_of(machine(&files), source), "false\tnot enough memory\nfalse\tnot enough memory\nsmall\n");
}

#[test]
fn without_files_there_are_preloaded_modules_only() {
    let mut vm = Vm::new(Options { host: Box::new(SilentHost), ..Options::default() });
    let source = "assert(not loadfile and not dofile and not package.searchpath and #package.searchers == 1)
        assert(type(package.path) == 'string' and type(package.cpath) == 'string' and #package.config == 10)
        package.preload.m = function(...) return { ... } end
        local m, data = require 'm'
        assert(m[1] == 'm' and m[2] == ':preload:' and data == ':preload:' and require 'm' == m)
        for name, library in pairs(package.loaded) do assert(require(name) == library and (name == 'm' or _G[name] == library)) end
        return select(2, pcall(require, 'x'))";
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    let message = vm.run(&chunk, 100_000, |_, values| format!("{:?}", values[0]));
    let message = message.unwrap_or_else(|error| panic!("{error}"));
    assert!(message.contains("module 'x' not found:\\n\\tno field package.preload['x']\""), "{message}");
}

#[test]
fn the_chunk_in_a_file() {
    for (file, chunk) in [
        ("return 1", "return 1"),
        ("# comment\nreturn 1", "\nreturn 1"),
        ("#", ""),
        ("\u{feff}return", "return"),
        ("\u{feff}#!lua\n#x", "\n#x"),
        ("#!lua\n\u{1b}Lua", "\u{1b}Lua"),
        ("\n#x", "\n#x"),
    ] {
        assert_eq!(chunk_of_file(file.as_bytes()), chunk.as_bytes(), "{file:?}");
    }
}
