//! What a VM knows of `_home`: which of its objects are stored under which numbers, which tables may have changed, and how a ghost is
//! filled.
//!
//! Stored tables are *ghosts* between runs: their content is set aside, in memory or not at all (see `heap/table/ghost.rs`). The first touch
//! fills a ghost and puts it on the list of touched tables. So a commit looks at the tables on that list and at nothing else, and
//! stores into tables need no mark. Objects of other kinds that can change are few and looked at each time.
//!
//! How an object is written, where it is stored, and what a commit is, is not known here; [`Source`] reads.
//!
//! Numbers do not keep objects alive. The touched tables are kept: a change must not get lost because its table was let go.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Finalization, Gc};

use crate::call::{Action, Call};
use crate::context::Context;
use crate::error::Error;
use crate::heap::accounting::OutOfMemory;
use crate::heap::native::{Native, NativeDefinition};
use crate::heap::proto::Proto;
use crate::heap::table::{Table, Weakness};
use crate::heap::upvalue::Upvalue;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

/// Where the content of ghosts comes from.
pub trait Source {
    /// Puts into an empty table what is stored under `number`.
    ///
    /// # Errors
    ///
    /// When it does not fit into the heap, or cannot be read.
    fn fill<'gc>(&self, context: Context<'gc>, table: Table<'gc>, number: u64) -> Result<(), FillError>;
}

/// Why a ghost could not be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FillError {
    OutOfMemory,
    Other(String),
}

impl From<OutOfMemory> for FillError {
    fn from(_: OutOfMemory) -> Self {
        FillError::OutOfMemory
    }
}

/// An object with a number of its own.
#[derive(Clone, Copy)]
pub enum Stored<'gc> {
    /// A table, function, userdata, coroutine or long string.
    Value(Value<'gc>),
    Upvalue(Upvalue<'gc>),
    Proto(Proto<'gc>),
}

impl<'gc> Stored<'gc> {
    fn gc(self) -> Option<Gc<'gc, ()>> {
        match self {
            Stored::Value(Value::String(string)) => Some(string.gc()),
            Stored::Value(value) => value.object(),
            Stored::Upvalue(upvalue) => Some(upvalue.gc()),
            Stored::Proto(proto) => Some(proto.gc()),
        }
    }

    fn address(self) -> u64 {
        self.gc().map_or(0, |object| Gc::as_ptr(object) as usize as u64)
    }
}

#[derive(Clone, Copy)]
struct Entry<'gc> {
    object: Stored<'gc>,
    /// Of the stored record; 0 until there is one.
    hash: u64,
}

type ByNumber<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// Hashes numbers that nobody chose.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte) ^ self.0));
    }

    fn write_u64(&mut self, number: u64) {
        let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) struct HomeRecords<'gc> {
    source: Rc<dyn Source>,
    /// The metatable of ghosts.
    mark: Table<'gc>,
    /// Untraced; dead objects are removed in each cycle.
    entries: ByNumber<Entry<'gc>>,
    /// Likewise, by address.
    numbers: ByNumber<u64>,
    touched: Vec<Table<'gc>>,
    /// Why a ghost could not be filled where no error could be raised.
    failure: Option<String>,
    /// No ghost may be filled: the code that runs must not see what is stored.
    is_closed: bool,
}

// SAFETY: all strong references are traced; `entries` and `numbers` are purged in each cycle.
unsafe impl<'gc> Collect<'gc> for HomeRecords<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        cc.trace(&self.mark);
        for table in &self.touched {
            cc.trace(table);
        }
    }
}

impl<'gc> HomeRecords<'gc> {
    pub(crate) fn purge(&mut self, fc: &Finalization<'gc>) {
        let is_alive = |object: Stored<'gc>| object.gc().is_some_and(|object| !Gc::is_dead(fc, object));
        let numbers = &mut self.numbers;
        self.entries.retain(|_, entry| {
            let keeps = is_alive(entry.object);
            if !keeps {
                numbers.remove(&entry.object.address());
            }
            keeps
        });
    }
}

/// The handler of every event in the mark. It is called only if a ghost could not be filled.
const GHOST: NativeDefinition = NativeDefinition { name: "(ghost)", code: refuse };

fn refuse<'gc>(call: &mut Call<'_, 'gc>) -> Result<Action, Error<'gc>> {
    Err(call.error("a table of _home cannot be read"))
}

impl<'gc> Context<'gc> {
    /// Makes `source` where ghosts of this VM come from. What was known of another one is forgotten; it must have left no ghosts.
    pub fn attach_home(self, source: Rc<dyn Source>) {
        let mark = self.table();
        let refuse = Value::Native(Native::new(self, GHOST, &[]));
        for event in Metamethod::ALL {
            mark.set(self, Value::String(self.metamethod_name(*event)), refuse).expect("string keys fit");
        }
        let records = HomeRecords {
            source,
            mark,
            entries: HashMap::default(),
            numbers: HashMap::default(),
            touched: Vec::new(),
            failure: None,
            is_closed: false,
        };
        // SAFETY: the only reference to it.
        unsafe { *self.root().home.get() = Some(Box::new(records)) };
    }

    /// The records; `None` in a VM without `_home`.
    pub fn home(self) -> Option<Home<'gc>> {
        // SAFETY: a look at whether it is there.
        unsafe { (*self.root().home.get()).is_some() }.then_some(Home { context: self })
    }

    /// Fills a table if it is a ghost.
    ///
    /// # Errors
    ///
    /// When it does not fit into the heap, or cannot be read; it stays a ghost then.
    pub fn fill(self, table: Table<'gc>) -> Result<(), FillError> {
        if !table.is_ghost() {
            return Ok(());
        }
        self.fill_ghost(table)
    }

    #[cold]
    fn fill_ghost(self, table: Table<'gc>) -> Result<(), FillError> {
        let Some(home) = self.home() else {
            return Err(FillError::Other("there is no _home".into()));
        };
        if home.is_closed() {
            return Err(FillError::Other("permission denied: table '_home'".into()));
        }
        home.with(|records| records.touched.push(table));
        if table.end_ghost() {
            return Ok(());
        }
        let number = home.number(Stored::Value(Value::Table(table)));
        let source = home.with(|records| records.source.clone());
        let filled = match number {
            Some(number) => source.fill(self, table, number),
            None => Err(FillError::Other("a table of _home has no number".into())),
        };
        if filled.is_err() {
            home.with(|records| {
                table.forget_content(self.accounting(), records.mark);
                records.touched.retain(|touched| !touched.ptr_eq(table));
            });
        }
        filled
    }

    /// As [`Self::fill`] where no error can be raised: whether the table can be used. The failure is kept for the next commit, which is
    /// then refused.
    pub(crate) fn fill_or_fail(self, table: Table<'gc>) -> bool {
        match self.fill(table) {
            Ok(()) => true,
            Err(error) => {
                let message = match error {
                    FillError::OutOfMemory => "not enough memory".to_owned(),
                    FillError::Other(message) => message,
                };
                if let Some(home) = self.home().filter(|home| !home.is_closed()) {
                    home.with(|records| records.failure.get_or_insert(message).truncate(1000));
                }
                false
            }
        }
    }

    /// Whether so many more nominal bytes fit under the heap limit.
    ///
    /// # Errors
    ///
    /// If not.
    pub fn check_heap(self, bytes: usize) -> Result<(), OutOfMemory> {
        self.accounting().check(bytes)
    }
}

/// The records of a VM's `_home`.
#[derive(Clone, Copy)]
pub struct Home<'gc> {
    context: Context<'gc>,
}

impl<'gc> Home<'gc> {
    fn with<T>(self, work: impl FnOnce(&mut HomeRecords<'gc>) -> T) -> T {
        // SAFETY: `work` calls nothing that comes here, so it is the only reference.
        let records = unsafe { &mut *self.context.root().home.get() };
        work(records.as_mut().expect("there are records while there is a Home"))
    }

    fn is_closed(self) -> bool {
        self.with(|records| records.is_closed)
    }

    /// Whether code is kept from what is stored, but for tables that were touched since they were last set aside.
    pub fn close(self, is_closed: bool) {
        self.with(|records| records.is_closed = is_closed);
    }

    /// The number of an object.
    pub fn number(self, object: Stored<'gc>) -> Option<u64> {
        self.with(|records| records.numbers.get(&object.address()).copied())
    }

    /// The object with a number, if it is in memory.
    pub fn object(self, number: u64) -> Option<Stored<'gc>> {
        self.with(|records| records.entries.get(&number).map(|entry| entry.object))
    }

    /// Gives an object a number.
    pub fn register(self, object: Stored<'gc>, number: u64) {
        self.with(|records| {
            records.entries.insert(number, Entry { object, hash: 0 });
            records.numbers.insert(object.address(), number);
        });
    }

    /// Takes an object's number back.
    pub fn forget(self, number: u64) {
        self.with(|records| {
            if let Some(entry) = records.entries.remove(&number) {
                records.numbers.remove(&entry.object.address());
            }
        });
    }

    /// The hash noted for a number; 0 if there is none.
    pub fn hash(self, number: u64) -> u64 {
        self.with(|records| records.entries.get(&number).map_or(0, |entry| entry.hash))
    }

    /// Notes what the stored record of a number hashes to.
    pub fn set_hash(self, number: u64, hash: u64) {
        self.with(|records| {
            if let Some(entry) = records.entries.get_mut(&number) {
                entry.hash = hash;
            }
        });
    }

    /// All numbers in use, in order.
    pub fn numbers(self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.with(|records| records.entries.keys().copied().collect());
        cu_sort::sort(&mut numbers);
        numbers
    }

    /// A table that is read when something touches it.
    pub fn ghost(self, number: u64) -> Table<'gc> {
        let table = self.context.table();
        self.with(|records| table.forget_content(self.context.accounting(), records.mark));
        self.register(Stored::Value(Value::Table(table)), number);
        table
    }

    /// The tables that were touched since they were set aside, in order, and those that are new.
    pub fn touched(self) -> Vec<Table<'gc>> {
        self.with(|records| records.touched.clone())
    }

    /// Adds a new table to those that were touched.
    pub fn touch(self, table: Table<'gc>) {
        self.with(|records| records.touched.push(table));
    }

    /// Takes tables off the list of touched ones, by number.
    pub fn retain_touched(self, keeps: impl Fn(u64) -> bool) {
        let touched = self.with(|records| std::mem::take(&mut records.touched));
        let number = |table: &Table<'gc>| self.number(Stored::Value(Value::Table(*table)));
        let kept = touched.into_iter().filter(|table| number(table).is_some_and(&keeps)).collect();
        self.with(|records| records.touched = kept);
    }

    /// Sets all touched tables aside. The library's own tables and weak ones stay as they are, and on the list; they have to be looked
    /// at each time.
    pub fn set_aside(self) {
        let fixed = self.context.registered();
        self.with(|records| {
            let mark = records.mark;
            records.touched.retain(|table| {
                let is_fixed = table.ptr_eq(fixed.globals) || table.ptr_eq(fixed.loaded);
                if is_fixed || table.weakness() != Weakness::default() {
                    return true;
                }
                if !table.is_ghost() {
                    table.set_aside(mark);
                }
                false
            });
        });
    }

    /// Forgets the content of all touched tables that `is_stored` chooses by number, and reads it again. Takes all tables off the
    /// list but weak ones.
    pub fn read_again(self, is_stored: impl Fn(u64) -> bool) -> Result<(), FillError> {
        let touched = self.with(|records| std::mem::take(&mut records.touched));
        let mut again = Vec::new();
        for table in touched {
            let number = self.number(Stored::Value(Value::Table(table)));
            if number.is_some_and(&is_stored) && !table.is_ghost() {
                self.context.set_metatable(table, None);
                self.with(|records| table.forget_content(self.context.accounting(), records.mark));
                again.push(table);
            }
        }
        // At once, so that what only these tables refer to is not taken for dead.
        again.into_iter().try_for_each(|table| self.context.fill(table))
    }

    /// Why a table could not be read in the middle of something that could not fail. Asking forgets it.
    pub fn take_failure(self) -> Option<String> {
        self.with(|records| records.failure.take())
    }
}
