//! External tables: Collections of a database as Lua code sees them. Their data lies outside the Lua heap and outside its limit.
//!
//! ```lua
//! local users = ext.table("users")
//! users.alice = { name = "Alice", age = 30 }       -- a copy goes out
//! print(users.alice.name)                          -- a copy comes in
//! users.bob = nil                                  -- removes
//! for key, user in pairs(users) do end             -- in the order of keys; `next` too
//! users:index("age")
//! users:where("age", ">=", 25):sort("name"):limit(10):each(function(user, key) end)
//! ext.transaction(function() users.alice, users.carol = nil, { age = 1 } end)
//! ```
//!
//! Values are documents (see [`to_document`](crate::to_document)). What is read is a copy: changing it changes nothing that is stored. Keys are
//! booleans, numbers and strings, in the storage engine's order: false, true, numbers, strings. `#` is a border as the manual has it (§3.4.7): the
//! largest integer key, or 0. `get`, `set`, `index` and `where` are methods; as keys they go through `users:get(key)` and
//! `users:set(key, value)`.
//!
//! | query | |
//! |--|--|
//! | `users:where(field, operator, value)` | also of a query: both hold; two arguments mean `=`; none mean all |
//! | `:sort(field [, "asc" or "desc"])`, `:limit(n)`, `:offset(n)` | |
//! | `:each(f)` | calls `f(value, key)` for each row |
//! | `:all()` | an array of the values, and one of the keys |
//! | `:first()` | value and key, or nil |
//! | `:count()` | how many rows |
//!
//! Fields are paths (`address.city`), `$key` or `$value`; the operators are those of the storage engine.
//!
//! A change outside [`transaction`] is a transaction of its own. Nested transactions can fail alone. Code in a transaction cannot yield; one that the
//! host ends is rolled back by [`External::end_run`].
//!
//! An external table is a userdata whose name nothing can change: no metatable, upvalue or saved state makes it another's. Each use of it asks
//! [`ExternalOptions::access`]; names that begin with `_` are the host's and never allowed.
//!
//! Where the data is, is the business of a [`Tables`]. Each operation is a [`Request`] that gets an [`Answer`], so that a host whose store does not answer
//! at once has one place to wait at.

mod database;
mod query;
mod remote;
mod table;
mod transaction;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use cu_storage::{Document, IndexDefinition, Query};
use cu_vm::image::UserdataCodec;
use cu_vm::{
    Action, Call, Context, Error as LuaError, Native, NativeDefinition, Table, TableError, Userdata, Value, Vm,
};

use crate::codecs::Codecs;
use crate::error::{Error, Result};
use crate::path::push_key;
use crate::value::{FunctionPolicy, from_document, to_document};

pub use database::StoredTables;
pub use remote::{RemoteHost, RemoteRequest, RemoteTables};

/// Longest name of a table.
pub const NAME_BYTES_MAX: usize = 255;

/// What a script wants to do with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Look at it.
    Read,
    /// Change it, or its indexes.
    Write,
}

/// Says whether scripts of a VM may do that with the table of this name.
pub type AccessFilter = Box<dyn Fn(&str, Access) -> bool>;

/// What scripts may do.
#[derive(Default)]
pub struct ExternalOptions {
    /// Whether values may hold functions.
    pub functions: FunctionPolicy,
    /// Which tables scripts may use; all, without it.
    pub access: Option<AccessFilter>,
}

/// An operation on tables.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The value under a key.
    Get(String, Document),
    /// Stores a value; nil removes what is there.
    Set(String, Document, Document),
    /// The entry with the first key behind this one, or the very first.
    Next(String, Option<Document>),
    /// Rows.
    Query(Query),
    /// Makes an index.
    Index(String, IndexDefinition),
    /// Begins a transaction, inside the one that is open if there is one.
    Begin,
    /// Ends the innermost transaction, with its changes.
    Commit,
    /// Ends the innermost transaction, without its changes.
    RollBack,
}

/// What an operation came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// A value; `None` if there is none.
    Value(Option<Document>),
    /// Keys and values, how much the store had to look at for them, and the position for the next query of the same kind.
    Rows {
        /// Keys with their values.
        rows: Vec<(Document, Document)>,
        /// Entries and documents passed.
        examined: u64,
        /// [`cu_storage::QueryResult::cursor`].
        cursor: Option<Document>,
        /// How many rows there are, limit or not, if that was asked.
        matched: u64,
    },
}

/// Where the tables are.
pub trait Tables {
    /// Carries an operation out. `None` if that takes a while: the run stops with [`cu_vm::Step::Waiting`], and when it goes on, the same
    /// request comes again until there is an answer.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`]; nothing is changed then.
    fn answer(&self, request: &Request) -> Result<Option<Answer>>;

    /// Whether a transaction is open.
    fn in_transaction(&self) -> bool;

    /// Undoes what transactions have done that are still open.
    fn roll_back_all(&self);
}

/// The external tables of a VM.
#[derive(Clone)]
pub struct External(Rc<Shared>);

struct Shared {
    tables: Box<dyn Tables>,
    options: ExternalOptions,
    wait: Wait,
}

/// A call that has to wait is entered again from its start. What it was answered before, if it had to wait for that, is told to it again.
#[derive(Default)]
struct Wait {
    /// Whether the call that runs has had to wait, and has to now.
    waited: Cell<bool>,
    waits: Cell<bool>,
    answers: RefCell<Vec<Answer>>,
    /// How many answers it has had since it was entered.
    told: Cell<usize>,
}

/// What the userdata of an external table holds.
struct ExternalTable {
    external: External,
    name: String,
}

/// What the first value of `ext`'s functions holds.
struct Source(External);

/// The kinds of userdata in saved state: a table, with its name as bytes; what `ext` is made for; a step of a query.
const KINDS: [&str; 3] = ["ext.table", "ext", "ext.query"];

const METATABLE: &str = "ext.table metatable";
const SOURCE: &str = "ext source";

const TABLE: NativeDefinition = NativeDefinition { name: "ext.table", code: table::table };

impl External {
    /// Tables that no VM has yet.
    pub fn new(tables: impl Tables + 'static, options: ExternalOptions) -> External {
        External(Rc::new_cyclic(|shared: &Weak<Shared>| {
            let mut options = options;
            if let FunctionPolicy::Allow(save) = &mut options.functions {
                // Functions in documents may refer to these tables.
                let own = Rc::new(Functions { shared: shared.clone() });
                save.userdata = Rc::new(Codecs::default().and(own).and(save.userdata.clone()));
            }
            Shared { tables: Box::new(tables), options, wait: Wait::default() }
        }))
    }

    /// Gives a VM the global table `ext`. One that comes from an image has it already, if it was loaded with [`Self::natives`] and
    /// [`Self::codec`].
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if it does not fit into the heap.
    pub fn open(&self, vm: &Vm) -> Result<()> {
        vm.enter(|context| self.install(context)).or(Err(Error::Limit { what: "heap" }))
    }

    /// The native functions that an image may name.
    pub fn natives() -> Vec<NativeDefinition> {
        [&[TABLE, transaction::TRANSACTION], table::METHODS, query::METHODS].concat()
    }

    /// Writes and reads what belongs to external tables among the userdata of saved state. Nothing is written while a transaction is
    /// open, as one cannot be gone on with elsewhere.
    pub fn codec(&self) -> Rc<dyn UserdataCodec> {
        Rc::new(self.clone())
    }

    /// To be called when a run is over, however it ended: undoes a transaction that it left open.
    pub fn end_run(&self) {
        self.0.wait.forget();
        self.0.tables.roll_back_all();
    }

    fn install(&self, context: Context<'_>) -> std::result::Result<(), TableError> {
        let source = Value::Userdata(Userdata::new(context, Box::new(Source(self.clone()))));
        context.add_permanent(SOURCE, source)?;
        let metatable = context.table();
        context.add_permanent(METATABLE, Value::Table(metatable))?;
        for &definition in table::METHODS {
            add(context, metatable, definition, &[])?;
        }
        let name = Value::String(context.string(b"external table"));
        for field in ["__name", "__metatable"] {
            metatable.set(context, Value::String(context.string(field.as_bytes())), name)?;
        }
        query::install(context)?;
        let ext = context.table();
        context.add_permanent("ext", Value::Table(ext))?;
        add(context, ext, TABLE, &[source])?;
        add(context, ext, transaction::TRANSACTION, &[source])?;
        context.globals().set(context, Value::String(context.string(b"ext")), Value::Table(ext))
    }

    /// Gives other global variables, those of a sandbox, a table `ext` of their own.
    ///
    /// # Errors
    ///
    /// If it does not fit into the heap.
    pub fn share<'gc>(context: Context<'gc>, globals: Table<'gc>) -> std::result::Result<(), TableError> {
        let ext = context.table();
        for definition in [TABLE, transaction::TRANSACTION] {
            let name = definition.name.rsplit('.').next().unwrap_or_default();
            let function = context.permanent(definition.name.as_bytes());
            ext.set(context, Value::String(context.string(name.as_bytes())), function)?;
        }
        globals.set(context, Value::String(context.string(b"ext")), Value::Table(ext))
    }

    /// Whether scripts may do that; the error says which table they may not use.
    fn check(&self, name: &str, access: Access) -> std::result::Result<(), String> {
        let allows = |access| self.0.options.access.as_ref().is_none_or(|filter| filter(name, access));
        if !name.starts_with('_') && allows(access) {
            return Ok(());
        }
        let what = match access {
            Access::Write if allows(Access::Read) => "may not be changed",
            _ => "may not be used",
        };
        Err(format!("external table '{name}' {what} here"))
    }

    fn table<'gc>(&self, context: Context<'gc>, name: String) -> Value<'gc> {
        let userdata = Userdata::new(context, Box::new(ExternalTable { external: self.clone(), name }));
        if let Value::Table(metatable) = context.permanent(METATABLE.as_bytes()) {
            context.set_userdata_metatable(userdata, Some(metatable));
        }
        Value::Userdata(userdata)
    }

    /// Carries a request out, and charges for it. If the answer takes a while, the error ends the call, which [`enter`] turns into waiting.
    fn ask<'gc>(&self, call: &mut Call<'_, 'gc>, request: &Request) -> std::result::Result<Answer, LuaError<'gc>> {
        let wait = &self.0.wait;
        let told = wait.told.replace(wait.told.get() + 1);
        if let Some(answer) = wait.answers.borrow().get(told) {
            return Ok(answer.clone());
        }
        let Some(answer) = self.0.tables.answer(request).map_err(|error| call.error(error.to_string()))? else {
            wait.waited.set(true);
            wait.waits.set(true);
            return Err(LuaError::Thrown(Value::Nil));
        };
        if wait.waited.get() {
            wait.answers.borrow_mut().push(answer.clone());
        }
        let sent = match request {
            Request::Set(_, _, value) => weight(value),
            _ => 0,
        };
        let (entries, bytes) = match &answer {
            Answer::Done => (0, 0),
            Answer::Value(value) => (0, value.as_ref().map_or(0, weight)),
            Answer::Rows { rows, examined, .. } => (*examined, rows.iter().map(|(_, value)| weight(value)).sum()),
        };
        call.charge(cu_vm::external_price(entries.saturating_add(1), bytes.saturating_add(sent)));
        Ok(answer)
    }

    /// A value as a document. Paths in errors begin with `name`.
    fn document<'gc>(
        &self,
        call: &Call<'_, 'gc>,
        name: &str,
        value: Value<'gc>,
    ) -> std::result::Result<Document, LuaError<'gc>> {
        to_document(call.context(), name, value, &self.0.options.functions)
            .map_err(|error| lua_error(call, name, &error))
    }

    /// A document as a value.
    fn value<'gc>(
        &self,
        call: &Call<'_, 'gc>,
        name: &str,
        document: &Document,
    ) -> std::result::Result<Value<'gc>, LuaError<'gc>> {
        from_document(call.context(), document, &self.0.options.functions)
            .map_err(|error| lua_error(call, name, &error))
    }
}

impl Wait {
    fn forget(&self) {
        self.waited.set(false);
        self.answers.borrow_mut().clear();
    }
}

type Code = for<'a, 'b, 'gc> fn(&'a mut Call<'b, 'gc>) -> std::result::Result<Action, LuaError<'gc>>;

/// Runs a native function that may have to wait for answers.
fn enter<'gc>(call: &mut Call<'_, 'gc>, code: Code) -> std::result::Result<Action, LuaError<'gc>> {
    let Some(external) = source(call).or_else(|| query::source(call.arg(1))) else { return code(call) };
    let wait = &external.0.wait;
    wait.told.set(0);
    let result = code(call);
    if wait.waits.take() {
        return Ok(Action::Wait { state: call.state() });
    }
    wait.forget();
    result
}

/// The definition of a native function that may have to wait.
macro_rules! waiting {
    ($name:literal, $code:path) => {{
        fn code<'gc>(call: &mut cu_vm::Call<'_, 'gc>) -> std::result::Result<cu_vm::Action, cu_vm::Error<'gc>> {
            $crate::external::enter(call, $code)
        }
        cu_vm::NativeDefinition { name: $name, code }
    }};
}
use waiting;

impl UserdataCodec for External {
    fn save(&self, data: &dyn Any) -> Option<(String, Vec<u8>)> {
        let (kind, bytes) = if let Some(table) = data.downcast_ref::<ExternalTable>() {
            (KINDS[0], table.name.clone().into_bytes())
        } else if data.is::<Source>() && !self.0.tables.in_transaction() {
            (KINDS[1], Vec::new())
        } else if data.is::<query::Step>() {
            (KINDS[2], Vec::new())
        } else {
            return None;
        };
        Some((kind.to_owned(), bytes))
    }

    fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn Any>> {
        let name = String::from_utf8(bytes.to_vec()).ok()?;
        match KINDS.iter().position(|known| *known == kind)? {
            0 if (1..=NAME_BYTES_MAX).contains(&name.len()) => {
                Some(Box::new(ExternalTable { external: self.clone(), name }))
            }
            1 if name.is_empty() => Some(Box::new(Source(self.clone()))),
            2 if name.is_empty() => Some(Box::new(query::Step)),
            _ => None,
        }
    }
}

/// The codec of functions in documents, which belong to what they are in.
struct Functions {
    shared: Weak<Shared>,
}

impl UserdataCodec for Functions {
    fn save(&self, data: &dyn Any) -> Option<(String, Vec<u8>)> {
        External(self.shared.upgrade()?).save(data)
    }

    fn load(&self, kind: &str, bytes: &[u8]) -> Option<Box<dyn Any>> {
        External(self.shared.upgrade()?).load(kind, bytes)
    }
}

/// Puts a native function into a table under the last part of its name, and makes it a permanent.
fn add<'gc>(
    context: Context<'gc>,
    table: Table<'gc>,
    definition: NativeDefinition,
    values: &[Value<'gc>],
) -> std::result::Result<(), TableError> {
    let native = Value::Native(Native::new(context, definition, values));
    let field = definition.name.rsplit('.').next().unwrap_or_default();
    context.add_permanent(definition.name, native)?;
    table.set(context, Value::String(context.string(field.as_bytes())), native)
}

/// The tables that a function of `ext` was made for.
fn source(call: &Call<'_, '_>) -> Option<External> {
    match call.upvalue(0) {
        Value::Userdata(userdata) => userdata.downcast::<Source>().map(|source| source.0.clone()),
        _ => None,
    }
}

fn lua_error<'gc>(call: &Call<'_, 'gc>, name: &str, error: &Error) -> LuaError<'gc> {
    match error {
        Error::Limit { what: "heap" } => LuaError::OutOfMemory,
        Error::NotPersistable { .. } | Error::FunctionRefused { .. } => call.error(error.to_string()),
        _ => call.error(format!("{name}: {error}")),
    }
}

/// How errors call an entry: `users.alice`.
fn entry_name(table: &str, key: Value<'_>) -> String {
    let mut path = table.to_owned();
    push_key(&mut path, key);
    path
}

/// About how many bytes a document takes.
fn weight(document: &Document) -> usize {
    match document {
        Document::Nil | Document::Boolean(_) | Document::Integer(_) | Document::Float(_) => 8,
        Document::String(bytes) | Document::Blob { bytes, .. } => 8 + bytes.len(),
        Document::Array(elements) => elements.iter().map(weight).sum::<usize>() + 8,
        Document::Map(entries) => entries.iter().map(|(key, value)| weight(key) + weight(value)).sum::<usize>() + 8,
    }
}
