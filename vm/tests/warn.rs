//! Warnings as a host gets them: from `warn`, which can turn them on and off, and from finalizers that fail.

use std::cell::RefCell;
use std::rc::Rc;

use cu_vm::{Host, Options, Vm};

struct Listener(Rc<RefCell<Vec<String>>>);

impl Host for Listener {
    fn write(&mut self, _bytes: &[u8]) {}

    fn warn(&mut self, message: &[u8]) {
        self.0.borrow_mut().push(String::from_utf8_lossy(message).into_owned());
    }
}

/// Runs a program; the warnings that its host got.
fn warnings_of(source: &str) -> Vec<String> {
    let warnings = Rc::default();
    let host = Box::new(Listener(Rc::clone(&warnings)));
    let mut vm = Vm::new(Options { host, ..Options::default() });
    let chunk = vm.load(source.as_bytes(), "=test").expect("the chunk compiles");
    vm.run(&chunk, 1_000_000, |_, _| ()).unwrap_or_else(|error| panic!("{source}: {error}"));
    warnings.take()
}

#[test]
fn warnings_are_off_until_they_are_turned_on() {
    assert_eq!(warnings_of("warn('unseen')"), [""; 0]);
    assert_eq!(warnings_of("warn('unseen') warn('@on') warn('seen') warn('@off') warn('unseen')"), ["seen"]);
}

#[test]
fn pieces_are_one_message() {
    assert_eq!(warnings_of("warn('@on') warn('a', 'b', 1, 2.5, '', 'c')"), ["ab12.5c"]);
    assert_eq!(warnings_of("warn('@on') warn('') warn('x\\0y', 'z\\0')"), ["", "xz"]);
}

#[test]
fn control_messages_are_one_piece() {
    assert_eq!(warnings_of("warn('@on') warn('@unknown') warn('@') warn(' @off') warn('seen')"), [" @off", "seen"]);
    assert_eq!(warnings_of("warn('@on') warn('@off', '') warn('@', 'off') warn('', '@off')"), ["@off", "@off", "@off"]);
    assert_eq!(warnings_of("warn('@', 'on') warn('@on', '') warn('unseen')"), [""; 0]);
    assert_eq!(warnings_of("warn('@on\\0') warn('seen') warn('@off\\0x') warn('unseen')"), ["seen"]);
}

#[test]
fn arguments_are_checked_before_anything_is_shown() {
    let source = "warn('@on')
        local function check(message, ...) local ok, e = pcall(warn, ...) assert(not ok and e == message, e) end
        check(\"bad argument #1 to 'warn' (string expected, got no value)\")
        check(\"bad argument #1 to 'warn' (string expected, got nil)\", nil)
        check(\"bad argument #3 to 'warn' (string expected, got table)\", 'a', 'b', {})";
    assert_eq!(warnings_of(source), [""; 0]);
}

#[test]
fn finalizers_that_fail() {
    let source = "warn('@on')
        do local t = setmetatable({}, { __gc = function() error('message', 0) end }) end collectgarbage()
        do local t = setmetatable({}, { __gc = function() error({}) end }) end collectgarbage()
        warn('@off') do local t = setmetatable({}, { __gc = function() error('unseen') end }) end collectgarbage()";
    assert_eq!(warnings_of(source), ["error in __gc (message)", "error in __gc (error object is not a string)"]);
}
