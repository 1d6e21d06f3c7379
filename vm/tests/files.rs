//! The `io` and `os` libraries on files in memory, and the end of a run by `os.exit`, as a host sees them.

use std::cell::RefCell;
use std::rc::Rc;

use cu_vm::{Files, Host, MemoryFiles, Options, RunError, SharedBytes, SilentHost, Step, Vm};

/// A host with files in memory, whose `print` writes to their standard output.
struct Machine {
    files: MemoryFiles,
    output: SharedBytes,
}

impl Host for Machine {
    fn write(&mut self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        Some(&mut self.files)
    }
}

fn vm(files: &MemoryFiles) -> Vm {
    let host = Machine { output: files.output(), files: files.clone() };
    Vm::new(Options { heap_limit: 1 << 20, host: Box::new(host), ..Options::default() })
}

/// Starts a chunk and runs it to its end.
fn run(vm: &mut Vm, source: &str) -> Step {
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("nothing else runs");
    vm.step(u64::MAX).expect("it was started")
}

/// Runs a chunk that has to succeed; what it has printed.
fn output_of(files: &MemoryFiles, source: &str) -> String {
    let mut vm = vm(files);
    let step = run(&mut vm, source);
    assert_eq!(step, Step::Finished, "{source}: {}", vm.take_error());
    String::from_utf8(files.output().take()).expect("text")
}

#[test]
fn what_a_program_writes_is_there_afterwards() {
    let files = MemoryFiles::new();
    files.insert(b"in/put.txt", b"one\ntwo\n").expect("there is space");
    let source = "for line in io.lines('in/put.txt') do print(line) end
        io.open('in/../out.txt', 'w'):write('closed'):close()
        forgotten = io.open('/./forgotten.txt', 'w') forgotten:write('not closed')";
    assert_eq!(output_of(&files, source), "one\ntwo\n");
    assert_eq!(files.get(b"out.txt"), Some(b"closed".to_vec()));
    assert_eq!(files.get(b"/forgotten.txt"), Some(b"not closed".to_vec()), "written when the VM is dropped");
    assert_eq!(files.paths(), [&b"forgotten.txt"[..], b"in/put.txt", b"out.txt"]);
}

#[test]
fn standard_streams() {
    let files = MemoryFiles::new();
    files.push_input(b"7 first line\nsecond\n");
    let source = "print(io.read('n', 'l')) io.write('a', 1, '\\n') print(io.read('a', 'l')) io.stderr:write('oops')
        print(io.read(0), io.stdin:seek())";
    assert_eq!(output_of(&files, source), "7\t first line\na1\nsecond\n\tnil\nnil\tnil\tIllegal seek\t29\n");
    assert_eq!(files.errors().take(), b"oops");
}

#[test]
fn output_can_be_shared() {
    let output = Rc::new(RefCell::new(b"> ".to_vec()));
    let files = MemoryFiles::new().with_output(output.clone());
    assert_eq!(run(&mut vm(&files), "io.write('a') print('b') io.stdout:write('c')"), Step::Finished);
    assert_eq!(output.take(), b"> ab\nc");
}

#[test]
fn directories() {
    let files = MemoryFiles::new();
    files.insert(b"folder/file", b"x").expect("there is space");
    assert_eq!(files.insert(b"folder/file/below", b"").map_err(|error| error.code), Err(20));
    assert_eq!(files.insert(b"folder", b"").map_err(|error| error.code), Err(21));
    let source = "local function code(_, _, code) return code or 'done' end
        print(code(io.open('folder')), code(io.open('no/file', 'w')), code(io.open('folder/file/x', 'w')), code(io.open('/')))
        print(code(os.remove('folder')), code(os.remove('/')), code(os.remove('nowhere')))
        print(code(os.rename('folder', 'folder/inside')), code(os.rename('folder', 'folder/file')))
        print(code(os.rename('folder/file', 'folder')), code(os.rename('folder', 'moved')))
        print(io.open('moved/file'):read('a'), code(io.open('folder/file')))
        print(code(os.rename('moved/file', 'file')), code(os.remove('moved')), code(os.rename('file', 'file')))
        print(io.open('file'):read())";
    assert_eq!(output_of(&files, source), "21\t2\t20\t21\n39\t39\t2\n22\t22\n21\tdone\nx\t2\ndone\tdone\tdone\nx\n");
}

#[test]
fn space_is_limited_and_comes_back() {
    let files = MemoryFiles::with_limit(10_000);
    let source = "local file = io.open('large', 'w')
        print(file:write(('x'):rep(9000)) == file, file:flush(), file:seek('end'))
        file:write(('y'):rep(5000)) print(file:flush())
        print(file:seek('set', 1 << 30)) file:write('z') print(file:flush())
        print(select(3, io.open(('name'):rep(1000), 'w')))
        print(os.remove('large'), file:close(), io.open('other', 'w'):write(('x'):rep(9000)):flush())";
    let no_space = "nil\tNo space left on device\t28\n";
    let expected = format!("true\ttrue\t9000\n{no_space}1073741824\n{no_space}28\ntrue\ttrue\ttrue\n");
    assert_eq!(output_of(&files, source), expected);
}

#[test]
fn more_than_the_heap_holds_is_an_error_and_can_be_read_in_pieces() {
    let files = MemoryFiles::new();
    files.insert(b"large", &b"0123456789abcde\n".repeat(1 << 17)).expect("there is space");
    let source = "local file = io.open('large')
        print(pcall(file.read, file, 'a')) print(file:seek(), file:read('l')) print(pcall(file.read, file, 1 << 21))
        file:seek('set') local count = 0 for line in file:lines() do count = count + #line end print(count)
        print(file:seek(), file:read('a', 'a', 1))";
    let expected =
        "false\tnot enough memory\n0\t0123456789abcde\nfalse\tnot enough memory\n1966080\n2097152\t\t\tnil\n";
    assert_eq!(output_of(&files, source), expected);
}

#[test]
fn files_are_closed_by_collections() {
    let files = MemoryFiles::new();
    let source = "for i = 1, 100 do io.open('file' .. i, 'w'):write(i) end collectgarbage() collectgarbage()
        for i = 1, 100 do assert(io.open('file' .. i):read('n') == i) end print('all')";
    assert_eq!(output_of(&files, source), "all\n");
}

#[test]
fn processes_are_not_supported() {
    let source = "print(os.execute()) print(os.execute('true')) print(pcall(io.popen, 'true'))";
    let expected = "false\nnil\tFunction not implemented\t38\nfalse\t'popen' not supported\n";
    assert_eq!(output_of(&MemoryFiles::new(), source), expected);
}

#[test]
fn a_host_without_files_has_no_functions_for_them() {
    let mut vm = Vm::new(Options { host: Box::new(SilentHost), ..Options::default() });
    let source =
        "for _, name in ipairs { 'exit', 'execute', 'remove', 'rename', 'tmpname' } do assert(not os[name], name) end
        assert(not io and os.time and os.setlocale() == 'C')";
    assert_eq!(run(&mut vm, source), Step::Finished, "{}", vm.take_error());
}

#[test]
fn exit_ends_a_run_from_anywhere() {
    for (call, code, close) in [
        ("os.exit()", 0, false),
        ("os.exit(true)", 0, false),
        ("os.exit(false, false)", 1, false),
        ("os.exit(7, true)", 7, true),
        ("os.exit(1 << 40 | 3)", 3, false),
        ("pcall(pcall, os.exit, 3)", 3, false),
        ("coroutine.wrap(function() os.exit(4) end)()", 4, false),
        ("string.gsub('x', '.', function() os.exit(5) end)", 5, false),
        ("setmetatable({}, { __gc = function() os.exit(6) end }) collectgarbage()", 6, false),
        ("do local t <close> = setmetatable({}, { __close = function() os.exit(8) end }) end", 8, false),
    ] {
        let files = MemoryFiles::new();
        let mut vm = vm(&files);
        let step = run(&mut vm, &format!("print('before') {call} print('after')"));
        assert_eq!(step, Step::Exited { code, close }, "{call}");
        assert_eq!(vm.step(1), Err(RunError::Usage("nothing is running")));
        assert_eq!(files.output().take(), b"before\n", "{call}");
        assert_eq!(run(&mut vm, "print('again')"), Step::Finished, "the VM stays usable after {call}");
    }
    let mut vm = vm(&MemoryFiles::new());
    let chunk = vm.load(b"os.exit(2)", "=test").expect("the chunk compiles");
    assert_eq!(vm.run(&chunk, 1000, |_, _| ()), Err(RunError::Exited { code: 2 }));
}

#[test]
fn a_vm_closed_after_exit_closes_variables_then_finalizes() {
    let files = MemoryFiles::new();
    let mut vm = vm(&files);
    let source = "local function closing(name, fails)
            local function close(_, e) print('close ' .. name, e) if fails then error(name, 0) end end
            return setmetatable({}, { __close = close })
        end
        local a <close> = closing('a')
        local b <close> = closing('b', true)
        kept = setmetatable({}, { __gc = function() print('finalize') end })
        local file <close> = io.open('file', 'w') file:write('text')
        pcall(function() local c <close> = closing('c', true) os.exit(3, true) end)";
    assert_eq!(run(&mut vm, source), Step::Exited { code: 3, close: true });
    assert_eq!(files.get(b"file"), Some(Vec::new()));
    vm.collect();
    vm.start_close().expect("nothing else runs");
    assert_eq!(vm.step(u64::MAX), Ok(Step::Finished));
    assert_eq!(String::from_utf8_lossy(&files.output().take()), "close c\tnil\nclose b\tc\nclose a\tb\nfinalize\n");
    assert_eq!(files.get(b"file"), Some(b"text".to_vec()));
}

#[test]
fn the_end_of_a_vm_in_slices_of_1() {
    let files = MemoryFiles::new();
    let mut vm = vm(&files);
    let source = "local a <close> = setmetatable({}, { __close = function() for _ = 1, 9 do io.write('a') end end })
        kept = setmetatable({}, { __gc = function() for _ = 1, 9 do io.write('g') end end })
        os.exit(true, true)";
    assert_eq!(run(&mut vm, source), Step::Exited { code: 0, close: true });
    vm.start_close().expect("nothing else runs");
    let mut steps = 1;
    while vm.step(1) == Ok(Step::OutOfFuel) {
        steps += 1;
        vm.collect();
    }
    assert!(steps > 10, "{steps} steps");
    assert_eq!(files.output().take(), b"aaaaaaaaaggggggggg");
}
