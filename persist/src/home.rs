//! `_home`: an ordinary Lua table, and all it reaches, that outlives the VM, saved object by object.
//!
//! Each table, function, variable, prototype, coroutine and long string has a number and a record of its own. A commit writes the records
//! of what has changed and of what is new; a table is read when something first touches it. So both cost in proportion to what a
//! program does, not to what is stored.
//!
//! ```
//! use std::collections::HashMap;
//! use std::cell::RefCell;
//! use std::rc::Rc;
//! use cu_persist::{Changes, Home, HomeOptions, Records};
//! use cu_vm::{Options, Vm};
//!
//! #[derive(Default)]
//! struct Memory(RefCell<HashMap<u64, Vec<u8>>>);
//! impl Records for Memory {
//!     fn read(&self, number: u64) -> cu_persist::Result<Option<Vec<u8>>> {
//!         Ok(self.0.borrow().get(&number).cloned())
//!     }
//! }
//!
//! let records = Rc::new(Memory::default());
//! for expected in 1..=3 {
//!     let mut vm = Vm::new(Options::default());
//!     let home = Home::attach(&vm, records.clone(), HomeOptions::default()).unwrap();
//!     let chunk = vm.load(b"_home.count = (_home.count or 0) + 1; return _home.count", "=count").unwrap();
//!     let count = vm.run(&chunk, 1000, |_, results| results[0].to_integer()).unwrap();
//!     assert_eq!(count, Some(expected));
//!     let changes = home.changes(&vm).unwrap();
//!     records.0.borrow_mut().extend(changes.puts.iter().cloned());
//!     home.confirm(&vm, &changes);
//! }
//! ```
//!
//! [`Home::changes`] gives what a commit has to write, all of it or nothing; [`Home::confirm`] is told when that is durable, before
//! any code runs again. [`Home::roll_back`] makes everything what is stored. Records that nothing refers to any more are found by a
//! sweep now and then ([`Home::garbage`]).
//!
//! # What is saved
//!
//! All that function blobs hold, and coroutines that are suspended or over. Not the order in which `next` would go on after a key that
//! was removed. A finalizer runs when its object is let go in memory, also one that is stored.

mod commit;
mod database;
mod load;
mod record;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use cu_vm::home::Stored;
use cu_vm::image::{NoUserdata, UserdataCodec};
use cu_vm::{Context, Value, Vm};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::save::{Save, unreadable, unsaveable_in_memory};
pub use database::{HOME_BLOB, HOME_COLLECTION, StoredHome};
use load::{Loader, hash};
use record::ROOT;

/// The names of the global variables that hold `_home`.
const NAMES: [&str; 2] = ["_home", "Memory"];

/// A sweep is due when this many records have been added since the last one, besides as many as it left.
const SWEEP_MIN: u64 = 1024;

/// Where records are read from.
pub trait Records {
    /// The record with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] when it cannot be read.
    fn read(&self, number: u64) -> Result<Option<Vec<u8>>>;
}

/// How `_home` is kept.
#[derive(Clone)]
pub struct HomeOptions {
    /// Leave out names of variables, line numbers and chunk names of functions.
    pub strip_debug: bool,
    /// What one commit may write.
    pub limits: Limits,
    /// How the host's values in userdata are written.
    pub userdata: Rc<dyn UserdataCodec>,
}

impl Default for HomeOptions {
    fn default() -> Self {
        HomeOptions { strip_debug: false, limits: Limits::default(), userdata: Rc::new(NoUserdata) }
    }
}

/// What a commit writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// New records, each with its number; one that is there already is replaced.
    pub puts: Vec<(u64, Vec<u8>)>,
}

struct Shared {
    records: Rc<dyn Records>,
    options: HomeOptions,
    /// The next object's number.
    next: Cell<u64>,
    /// Numbers of objects that change without being touched, or that are new.
    changeable: RefCell<Vec<u64>>,
    /// Numbers that the last walk gave.
    unstored: RefCell<Vec<u64>>,
    stored_root: RefCell<Vec<u8>>,
    /// How many records the last sweep left, and the next number then.
    swept: Cell<(u64, u64)>,
    /// How many commits there were.
    commits: Cell<u64>,
    /// Tables that were warned about.
    large: RefCell<HashSet<u64>>,
    /// Whether a roll-back has begun and not ended: what is in memory is then neither what a run left nor what is stored.
    is_rolling_back: Cell<bool>,
}

/// `_home` of one VM. Dropping it leaves the VM able to read, not to commit.
pub struct Home {
    shared: Rc<Shared>,
}

impl Home {
    /// Whether code of the VM is kept from what is stored: touching it is an error then. Tables that were touched since the last commit or
    /// roll-back are in memory already, and not kept from it.
    pub fn close(&self, vm: &Vm, is_closed: bool) {
        vm.enter(|context| {
            if let Some(home) = context.home() {
                home.close(is_closed);
            }
        });
    }

    /// Gives a VM the table `_home`, also as `Memory` if there is no such variable: what the records hold, or an empty one.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::Version`], [`Error::Storage`]; [`Error::Limit`] if the heap is full.
    pub fn attach(vm: &Vm, records: Rc<dyn Records>, options: HomeOptions) -> Result<Home> {
        let root = records.read(ROOT)?.unwrap_or_default();
        let shared = Rc::new(Shared {
            records,
            options,
            next: Cell::new(1),
            changeable: RefCell::default(),
            unstored: RefCell::default(),
            stored_root: RefCell::new(root),
            swept: Cell::new((0, 1)),
            commits: Cell::new(0),
            large: RefCell::default(),
            is_rolling_back: Cell::new(false),
        });
        vm.enter(|context| {
            context.attach_home(shared.clone());
            let root = shared.read_root(context)?.unwrap_or_else(|| Value::Table(context.table()));
            let [name, alias] = NAMES.map(|name| Value::String(context.string(name.as_bytes())));
            let globals = context.globals();
            let set = |name| globals.set(context, name, root).map_err(|_| Error::Limit { what: "heap" });
            set(name)?;
            if globals.get(alias).is_nil() { set(alias) } else { Ok(()) }
        })?;
        Ok(Home { shared })
    }

    /// What has changed since the last commit. Nothing in the VM does, and no Lua code runs.
    ///
    /// # Errors
    ///
    /// [`Error::NotPersistable`] with the path, [`Error::Limit`]; [`Error::Unreadable`] if a table could not be read during the run, or a
    /// roll-back has failed and none has been done since.
    pub fn changes(&self, vm: &Vm) -> Result<Changes> {
        vm.enter(|context| {
            let Some(home) = context.home() else { return Ok(Changes { puts: Vec::new() }) };
            if let Some(reason) = home.take_failure() {
                return Err(Error::Unreadable { reason });
            }
            if self.shared.is_rolling_back.get() {
                return Err(Error::Unreadable { reason: "a roll-back has not come to its end".to_owned() });
            }
            let root = context.globals().get_string(context.string(NAMES[0].as_bytes()));
            if !matches!(root, Value::Table(_)) {
                let what = crate::path::described(root);
                return Err(Error::NotPersistable { path: NAMES[0].to_owned(), what });
            }
            let HomeOptions { limits, userdata, .. } = self.shared.options.clone();
            let save = Save { limits, userdata, ..Save::default() };
            let walked = commit::changes(&self.shared, context, home, root);
            commit::located(walked, || unsaveable_in_memory(context, (NAMES[0], root), &save))
        })
    }

    /// Takes note that changes are stored.
    pub fn confirm(&self, vm: &Vm, changes: &Changes) {
        vm.enter(|context| {
            let Some(home) = context.home() else { return };
            for (number, record) in &changes.puts {
                if *number == ROOT {
                    self.shared.stored_root.replace(record.clone());
                } else {
                    home.set_hash(*number, hash(record));
                }
            }
            self.shared.unstored.take();
            home.set_aside();
            // Prototypes and strings were on the list until they were stored.
            let changes = |object| !matches!(object, Stored::Proto(_) | Stored::Value(Value::String(_)));
            self.shared.changeable.borrow_mut().retain(|number| home.object(*number).is_some_and(changes));
        });
    }

    /// The root record as it is stored, empty before the first commit. Whoever writes checks that nobody else has written in between.
    pub fn stored_root(&self) -> Vec<u8> {
        self.shared.stored_root.borrow().clone()
    }

    /// Takes note that the root record of [`Self::garbage`] is stored.
    pub fn confirm_root(&self, changes: &Changes) {
        for (_, record) in changes.puts.iter().filter(|(number, _)| *number == ROOT) {
            self.shared.stored_root.replace(record.clone());
        }
    }

    /// Makes `_home` and all it reaches what the last commit stored, in place. Objects that were never stored are left as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`], [`Error::Corrupt`], [`Error::Storage`] for what cannot be read again. It can be called again then, after a full
    /// collection if the heap was full; until it has succeeded nothing can be committed.
    pub fn roll_back(&self, vm: &Vm) -> Result<()> {
        let shared = &self.shared;
        shared.is_rolling_back.set(true);
        let done = vm.enter(|context| {
            let Some(home) = context.home() else { return Ok(()) };
            home.take_failure();
            home.read_again(|number| home.hash(number) != 0).map_err(unreadable)?;
            let changeable = shared.changeable.take();
            let stored: Vec<u64> = changeable.into_iter().filter(|number| home.hash(*number) != 0).collect();
            for number in shared.unstored.take() {
                if home.hash(number) == 0 {
                    home.forget(number);
                }
            }
            // At once: what fails from here on must not lose them.
            shared.changeable.borrow_mut().extend(&stored);
            let Some(mut loader) = Loader::new(shared, context) else { return Ok(()) };
            let mut objects = stored.iter().filter_map(|number| Some((*number, home.object(*number)?)));
            let read = objects.try_for_each(|(number, object)| loader.content(number, object));
            let finished = read.and_then(|()| loader.finish());
            if finished.is_err() {
                loader.give_up();
            }
            finished?;
            let root = shared.read_root(context)?.unwrap_or_else(|| Value::Table(context.table()));
            let name = Value::String(context.string(NAMES[0].as_bytes()));
            context.globals().set(context, name, root).map_err(|_| Error::Limit { what: "heap" })
        });
        shared.is_rolling_back.set(done.is_err());
        done
    }

    /// Whether so many records were added since the last sweep that another one is worth its time.
    pub fn wants_sweep(&self) -> bool {
        let (live, next) = self.shared.swept.get();
        self.shared.next.get() - next > live + SWEEP_MIN
    }

    /// The numbers of stored records that nothing refers to, given all that are stored, after a commit. They are to be deleted together with
    /// writing the new root record, which comes too.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn garbage(&self, vm: &Vm, stored: &HashMap<u64, Vec<u8>>) -> Result<(Vec<u64>, Changes)> {
        // What is in memory may be referred to again.
        let mut waiting = vm.enter(|context| context.home().map_or(Vec::new(), cu_vm::home::Home::numbers));
        waiting.push(ROOT);
        let mut found: HashSet<u64> = waiting.iter().copied().collect();
        let mut references = Vec::new();
        while let Some(number) = waiting.pop() {
            let Some(record) = stored.get(&number) else { continue };
            record::references(record, &mut references)?;
            waiting.extend(references.drain(..).filter(|number| found.insert(*number)));
        }
        let mut garbage: Vec<u64> = stored.keys().copied().filter(|number| !found.contains(number)).collect();
        garbage.sort_unstable();
        self.shared.swept.set(((stored.len() - garbage.len()) as u64, self.shared.next.get()));
        let mut root = record::RecordReader::open_as(&self.shared.stored_root.borrow(), record::Kind::Root).and_then(
            |mut reader| {
                reader.byte()?;
                for _ in 0..record::ROOT_NUMBERS {
                    reader.number()?;
                }
                Ok(reader.rest().to_vec())
            },
        )?;
        root = self.shared.root_record(&root);
        Ok((garbage, Changes { puts: vec![(ROOT, root)] }))
    }
}

impl Shared {
    /// The value of `_home` that is stored.
    fn read_root<'gc>(&self, context: Context<'gc>) -> Result<Option<Value<'gc>>> {
        let bytes = self.stored_root.borrow().clone();
        let Some(mut loader) = Loader::new(self, context).filter(|_| !bytes.is_empty()) else { return Ok(None) };
        let read = loader.root(&bytes).and_then(|read| loader.finish().map(|()| read));
        if read.is_err() {
            loader.give_up();
        }
        let ([next, live, swept, commits], root) = read?;
        self.commits.set(commits);
        self.next.set(next.max(self.next.get()));
        self.swept.set((live, swept.min(next)));
        Ok(Some(root))
    }
}
