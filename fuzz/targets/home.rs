//! Records of `_home` from anybody: tables that cannot be read are errors, the rest can be used and stored again.
//!
//! An input is a list of records from number 0 on, each behind its length in two bytes.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cu_fuzz::{run_on, vm};
use cu_persist::{Home, HomeOptions, Records, Result};
use libfuzzer_sys::fuzz_target;

struct Store(RefCell<HashMap<u64, Vec<u8>>>);

impl Records for Store {
    fn read(&self, number: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().get(&number).cloned())
    }
}

const WALK: &[u8] = b"local seen = {}
local function walk(value)
  if type(value) == 'table' and not seen[value] then
    seen[value] = true
    for key, content in next, value do walk(key) walk(content) end
    walk(getmetatable(value))
  elseif type(value) == 'function' then pcall(value)
  elseif type(value) == 'thread' then coroutine.resume(value) end
end
walk(_home) _home.x = {}";

fuzz_target!(|input: &[u8]| {
    let mut records = HashMap::new();
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        records.insert(records.len() as u64, behind[..length].to_vec());
        rest = &behind[length..];
    }
    let mut vm = vm();
    let store = Rc::new(Store(RefCell::new(records)));
    let Ok(home) = Home::attach(&vm, store.clone(), HomeOptions::default()) else { return };
    let Ok(walk) = vm.load(WALK, "=walk") else { return };
    if vm.start(|context| (context.fetch(&walk), Vec::new())).is_ok() {
        run_on(&mut vm);
    }
    if let Ok(changes) = home.changes(&vm) {
        store.0.borrow_mut().extend(changes.puts.iter().cloned());
        home.confirm(&vm, &changes);
    }
    let _ = home.roll_back(&vm);
    vm.collect();
});
