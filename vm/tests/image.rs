//! Images made by an attacker load in a time that goes with their size, or not at all; what a look-up has paid for is paid for in the
//! image, too.

use cu_vm::image::{HostParts, Image, ImageError, NoUserdata};
use cu_vm::{Options, Vm};

const FUEL: u64 = 10_000_000_000;

/// `source` run in a new VM, whose image `change` may alter before a VM is made of it.
fn reload(source: &str, change: impl for<'a> FnOnce(&mut Image<'a>)) -> Result<Vm, ImageError> {
    let options = || Options { heap_limit: 64 << 20, ..Options::default() };
    let mut vm = Vm::new(options());
    let chunk = vm.load(source.as_bytes(), "=image").expect("a correct program");
    vm.run(&chunk, FUEL, |_, _| ()).expect("a correct program");
    vm.describe(&NoUserdata, |image| {
        let mut image = image.expect("all of it can be saved");
        change(&mut image);
        Vm::rebuild(options(), &image, &HostParts::NONE).map(|(vm, _)| vm)
    })
}

fn check(vm: &mut Vm, expression: &str) {
    let chunk = vm.load(format!("return {expression}").as_bytes(), "=check").expect("a correct program");
    let is_true = vm.run(&chunk, FUEL, |_, values| values[0].is_truthy()).expect("a correct program");
    assert!(is_true, "{expression}");
}

/// The part of an image that was found wrong.
fn damage(result: Result<Vm, ImageError>) -> (&'static str, &'static str) {
    match result {
        Err(ImageError::Damaged { part }) => (part.kind, part.problem),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it loads"),
    }
}

/// One step of the hash of strings, to find strings that have one hash.
fn fold(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// A string of this length with the same hash as all others of the length, with seed 0.
fn colliding(number: u64, length: usize) -> Vec<u8> {
    let words = [number, fold(length as u64, number) ^ 12345];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(length, b'x');
    bytes
}

/// With all of them in one place, each would have been compared with all before it.
#[test]
fn strings_of_one_hash() {
    let strings: Vec<Vec<u8>> = (0..100_000).map(|number| colliding(number, 24)).collect();
    let strings: &'static [Vec<u8>] = strings.leak();
    let vm = reload("", |image| image.idle_strings.extend(strings.iter().map(Vec::as_slice)));
    let again = vm.expect("a correct image").describe(&NoUserdata, |image| {
        let image = image.expect("all of it can be saved");
        strings.iter().filter(|string| image.idle_strings.binary_search(&string.as_slice()).is_ok()).count()
    });
    assert_eq!(again, strings.len());
}

#[test]
fn chunk_names_of_one_hash() {
    for (count, loads) in [(100, true), (3_000, false)] {
        let source = format!("functions = {{}} for i = 1, {count} do functions[i] = load('return ' .. i) end");
        let result = reload(&source, |image| {
            for (number, function) in image.functions.iter_mut().enumerate() {
                function.parts.chunk_name = colliding(number as u64, 72).into();
            }
        });
        if loads {
            check(&mut result.expect("a few are no attack"), "functions[7]() == 7");
        } else {
            assert_eq!(damage(result), ("function", "hash"));
        }
    }
}

/// In many tables, the same keys that are long and differ in their last byte: comparing them again and again would take minutes.
const LONG_KEYS: &str = "local keys = {}
    for i = 1, COUNT do keys[i] = ('x'):rep(100000) .. string.char(i) end
    tables = {}
    for n = 1, 500 do local t = {} tables[n] = t for i = 1, COUNT do t[keys[i]] = i end end
    key = keys[COUNT]";

#[test]
fn long_keys_are_not_compared_at_each_step() {
    for count in [8, 20] {
        let vm = reload(&LONG_KEYS.replace("COUNT", &count.to_string()), |_| ());
        check(
            &mut vm.expect("a correct image"),
            &format!("tables[500][key] == {count} and next(tables[1], key) == nil"),
        );
    }
}

#[test]
fn equal_long_keys_are_found() {
    for count in [8, 20] {
        let source = LONG_KEYS.replace("COUNT", &count.to_string()).replace("500", "3");
        let result = reload(&source, |image| {
            let long: Vec<usize> = (0..image.strings.len()).filter(|n| image.strings[*n].len() > 100_000).collect();
            image.strings[long[3]] = image.strings[long[6]];
        });
        assert_eq!(damage(result), ("table", "content"));
    }
}

/// A long string is hashed at its first use as a key, which pays for it.
#[test]
fn a_hash_is_paid_for_once() {
    let source = "key, other = ('x'):rep(1000000), ('y'):rep(1000000)
        numbers = {} for i = 1, 20 do numbers['n' .. i] = i end
        found = numbers[key]";
    let fuel = |vm: &mut Vm, expression: &str| {
        check(vm, expression);
        vm.fuel_used()
    };
    let expressions = ["numbers[key] == nil", "numbers[other] == nil"];
    let saved = || reload(source, |_| ()).expect("a correct image");
    let mut vm = Vm::new(Options { heap_limit: 64 << 20, ..Options::default() });
    let chunk = vm.load(source.as_bytes(), "=image").expect("a correct program");
    vm.run(&chunk, FUEL, |_, _| ()).expect("a correct program");
    for expression in expressions {
        assert_eq!(fuel(&mut saved(), expression), fuel(&mut vm, expression), "{expression}");
    }
}
