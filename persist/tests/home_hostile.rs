//! Damaged and malicious records of `_home`: an error, or a VM that goes on within its heap; never a panic. And the deepest list.

mod harness;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cu_persist::{Changes, Home, HomeOptions, Records, Result};
use cu_vm::{Options, Vm};
use harness::Random;

type Contents = HashMap<u64, Vec<u8>>;

#[derive(Default)]
struct Store(RefCell<Contents>);

impl Records for Store {
    fn read(&self, number: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().get(&number).cloned())
    }
}

impl Store {
    fn write(&self, changes: &Changes) {
        self.0.borrow_mut().extend(changes.puts.iter().cloned());
    }
}

fn vm(heap_limit: usize) -> Vm {
    Vm::new(Options { heap_limit, ..Options::default() })
}

fn run(vm: &mut Vm, source: &str, fuel: u64) -> Option<i64> {
    let chunk = vm.load(source.as_bytes(), "=home").expect("it compiles");
    vm.run(&chunk, fuel, |_, values| values.first().and_then(|value| value.to_integer())).ok().flatten()
}

fn commit(home: &Home, vm: &Vm, store: &Store) {
    let changes = home.changes(vm).expect("it can be saved");
    store.write(&changes);
    home.confirm(vm, &changes);
}

/// The records of a state with every kind of object.
fn sample() -> Contents {
    let store = Rc::new(Store::default());
    let mut vm = vm(4 << 20);
    let home = Home::attach(&vm, store.clone(), HomeOptions::default()).expect("it is empty");
    let source = "local n = 0
        _home.f = function() n = n + 1 return n end
        _home.list = setmetatable({1, nil, 3, x = 'y', [2.5] = true}, {__index = {z = string.rep('z', 200)}})
        _home.co = coroutine.wrap(function() for k, v in pairs({1, 2}) do pcall(coroutine.yield, k, n) end end)
        _home.co() _home.it = ('a b'):gmatch('%a') _home.it()
        _home.weak = setmetatable({[_home.list] = 1}, {__mode = 'k'})";
    run(&mut vm, source, 1 << 30);
    commit(&home, &vm, &store);
    store.0.borrow().clone()
}

/// Reads all of `_home`, calls what can be called, and changes it.
const WALK: &str = "local seen = {}
    local function walk(value)
      if type(value) == 'table' and not seen[value] then
        seen[value] = true
        for k, v in next, value do walk(k) walk(v) end
        walk(getmetatable(value))
      elseif type(value) == 'function' then pcall(value) end
    end
    for k, v in pairs(_home) do pcall(walk, v) end
    _home.new = {} return 1";

#[derive(Default, Debug)]
struct Outcomes {
    refused: usize,
    stopped: usize,
    walked: usize,
}

fn attempt(records: Contents, outcomes: &mut Outcomes) {
    let store = Rc::new(Store(RefCell::new(records)));
    let mut vm = vm(4 << 20);
    let Ok(home) = Home::attach(&vm, store.clone(), HomeOptions::default()) else {
        outcomes.refused += 1;
        return;
    };
    match run(&mut vm, WALK, 200_000) {
        Some(_) => outcomes.walked += 1,
        None => outcomes.stopped += 1,
    }
    vm.collect();
    if let Ok(changes) = home.changes(&vm) {
        store.write(&changes);
        home.confirm(&vm, &changes);
    }
    let _ = home.garbage(&vm, &store.0.borrow().clone());
    let _ = home.roll_back(&vm);
    vm.collect();
    assert!(vm.heap_bytes().peak <= 4 << 20);
    assert_eq!(run(&mut vm, "return 42", 1000), Some(42));
}

fn numbers(records: &Contents) -> Vec<u64> {
    let mut numbers: Vec<u64> = records.keys().copied().collect();
    numbers.sort_unstable();
    numbers
}

/// Pieces of records inside others, at random.
#[test]
fn random_splices() {
    let records = sample();
    let numbers = numbers(&records);
    let (mut random, mut outcomes) = (Random(11), Outcomes::default());
    for _ in 0..1500 {
        let mut changed = records.clone();
        for _ in 0..=random.below(2) {
            let from = &records[&numbers[random.below(numbers.len())]];
            let start = random.below(from.len());
            let piece = from[start..start + random.below(from.len() - start) + 1].to_vec();
            let to = changed.get_mut(&numbers[random.below(numbers.len())]).expect("it is there");
            let at = random.below(to.len() + 1);
            let end = at + random.below(to.len() - at + 1);
            to.splice(at..end, piece);
        }
        attempt(changed, &mut outcomes);
    }
    assert!(outcomes.refused > 20 && outcomes.stopped > 200 && outcomes.walked > 200, "{outcomes:?}");
}

/// Each byte replaced by a number that has no place in memory, as a length or a count would have it.
#[test]
fn lengths_blown_up() {
    let records = sample();
    let mut outcomes = Outcomes::default();
    for number in numbers(&records) {
        for position in 0..records[&number].len() {
            for large in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 9], &[0x80, 0x80, 0x40]] {
                let mut changed = records.clone();
                changed.get_mut(&number).expect("it is there").splice(position..=position, large.iter().copied());
                attempt(changed, &mut outcomes);
            }
        }
    }
    assert!(outcomes.refused > 10 && outcomes.stopped + outcomes.walked > 500, "{outcomes:?}");
}

/// Records that are missing, and each in another's place.
#[test]
fn records_in_the_wrong_place() {
    let records = sample();
    let mut outcomes = Outcomes::default();
    for one in numbers(&records) {
        let mut changed = records.clone();
        changed.remove(&one);
        attempt(changed, &mut outcomes);
        for other in numbers(&records) {
            let mut changed = records.clone();
            changed.insert(one, records[&other].clone());
            attempt(changed, &mut outcomes);
        }
    }
    assert!(outcomes.refused > 10 && outcomes.walked > 100, "{outcomes:?}");
}

/// A list a million tables deep costs no stack to save, read, sweep and roll back.
#[test]
fn a_deep_list_in_a_small_stack() {
    let work = || {
        let store = Rc::new(Store::default());
        let mut first = vm(1 << 30);
        let home = Home::attach(&first, store.clone(), HomeOptions::default()).expect("it is empty");
        run(&mut first, "local list for i = 1, 1000000 do list = { list } end _home.list = list", 1 << 40);
        commit(&home, &first, &store);
        run(&mut first, "local list = _home.list for i = 1, 10 do list = list[1] end list[1] = nil", 1 << 40);
        home.roll_back(&first).expect("it can be read");
        drop((first, home));
        let mut second = vm(1 << 30);
        let home = Home::attach(&second, store.clone(), HomeOptions::default()).expect("it can be read");
        let source = "local n, list = 0, _home.list while list do list = list[1]; n = n + 1 end return n";
        assert_eq!(run(&mut second, source, 1 << 40), Some(1_000_000));
        let (garbage, _) = home.garbage(&second, &store.0.borrow()).expect("it can be read");
        assert_eq!(garbage.len(), 0);
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).expect("a thread").join().expect("no overflow");
}
