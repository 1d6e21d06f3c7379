//! `_home` in a page. The storage engine is another module and answers later, so all records are handed over before the first run; a
//! commit gives the new ones to TypeScript, which stores them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cu_persist::{Changes, HOME_BLOB, Home, HomeOptions, Records};
use cu_storage::Document;
use cu_vm::{Value, Vm};

use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::tables::Tables;

#[wasm_bindgen]
impl Instance {
    /// Gives the state its `_home`. `records` is an array: number and record in turn.
    #[wasm_bindgen(js_name = attachHome)]
    pub fn attach_home(&mut self, records: &[u8]) -> Result<()> {
        self.home = Some(PageHome::attach(&self.vm, records, &self.tables)?);
        Ok(())
    }

    /// What is to be stored of `_home`, an array likewise, with nil for a record to be deleted; nothing may run until that is done.
    #[wasm_bindgen(js_name = homeChanges)]
    pub fn home_changes(&mut self) -> Result<Vec<u8>> {
        self.home.as_mut().map_or(Ok(Vec::new()), |home| home.changes(&self.vm))
    }

    /// That is stored. Gives what else is to be stored, likewise.
    #[wasm_bindgen(js_name = confirmHome)]
    pub fn confirm_home(&mut self) -> Result<Vec<u8>> {
        self.home.as_mut().map_or(Ok(Vec::new()), |home| home.confirm(&self.vm))
    }

    /// Whether Lua code is kept from what is stored. Everything has to be stored before.
    #[wasm_bindgen(js_name = closeHome)]
    pub fn close_home(&self, is_closed: bool) {
        if let Some(home) = &self.home {
            home.home.close(&self.vm, is_closed);
        }
    }

    /// Makes `_home` a global variable of a sandbox too.
    #[wasm_bindgen(js_name = shareHome)]
    pub fn share_home(&mut self, sandbox: &str) -> Result<()> {
        self.with_memory(|context| {
            let name = Value::String(context.string(b"_home"));
            let globals = context.sandbox(sandbox).map_err(|_| Error::OutOfMemory)?;
            globals.set(context, name, context.globals().get(name)).map_err(|_| Error::OutOfMemory)
        })
    }

    /// Makes `_home` what is stored. What a run has filled the heap with is dropped first where there is no memory for that.
    #[wasm_bindgen(js_name = rollBackHome)]
    pub fn roll_back_home(&mut self) -> Result<()> {
        let Some(home) = &self.home else { return Ok(()) };
        home.roll_back(&self.vm).or_else(|_| {
            self.vm.collect();
            home.roll_back(&self.vm)
        })
    }
}

/// `_home` of one state, with all its records.
pub struct PageHome {
    home: Home,
    records: Rc<InMemory>,
    /// What was given to be stored.
    pending: Changes,
    garbage: Vec<u64>,
}

#[derive(Default)]
struct InMemory(RefCell<HashMap<u64, Vec<u8>>>);

impl Records for InMemory {
    fn read(&self, number: u64) -> cu_persist::Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().get(&number).cloned())
    }
}

impl PageHome {
    /// `records` is an array: number and record in turn.
    pub fn attach(vm: &Vm, records: &[u8], tables: &Tables) -> Result<PageHome> {
        let Document::Array(parts) = Document::decode(records)? else {
            return Err(Error::invalid("records", "must be an array"));
        };
        let stored = Rc::new(InMemory::default());
        let mut parts = parts.into_iter();
        while let (Some(number), Some(record)) = (parts.next(), parts.next()) {
            if let (Document::Integer(number), Document::Blob { kind: HOME_BLOB, bytes }) = (number, record) {
                stored.0.borrow_mut().insert(number as u64, bytes);
            }
        }
        let home =
            Home::attach(vm, stored.clone(), HomeOptions { userdata: tables.codec(), ..HomeOptions::default() })?;
        Ok(PageHome { home, records: stored, pending: Changes { puts: Vec::new() }, garbage: Vec::new() })
    }

    /// What is to be stored, an array: number and record in turn, nil for a record that is to be deleted.
    pub fn changes(&mut self, vm: &Vm) -> Result<Vec<u8>> {
        self.pending = self.home.changes(vm).map_err(Error::Image)?;
        self.encode_pending()
    }

    fn encode_pending(&self) -> Result<Vec<u8>> {
        let number = |number: &u64| Document::Integer(*number as i64);
        let puts = self.pending.puts.iter();
        let puts =
            puts.flat_map(|(at, record)| [number(at), Document::Blob { kind: HOME_BLOB, bytes: record.clone() }]);
        let deletes = self.garbage.iter().flat_map(|at| [number(at), Document::Nil]);
        Ok(Document::Array(puts.chain(deletes).collect()).encode()?)
    }

    /// They are stored. Gives what else there is to be stored then, if it is time to remove what nothing refers to.
    pub fn confirm(&mut self, vm: &Vm) -> Result<Vec<u8>> {
        let mut records = self.records.0.borrow_mut();
        self.garbage.drain(..).for_each(|number| drop(records.remove(&number)));
        records.extend(self.pending.puts.iter().cloned());
        drop(records);
        self.home.confirm(vm, &self.pending);
        self.pending.puts.clear();
        if self.home.wants_sweep() {
            (self.garbage, self.pending) = self.home.garbage(vm, &self.records.0.borrow())?;
        }
        self.encode_pending()
    }

    pub fn roll_back(&self, vm: &Vm) -> Result<()> {
        Ok(self.home.roll_back(vm)?)
    }
}
