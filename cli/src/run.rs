//! One VM and the runs of a `cu` process in it: loading chunks, stepping them within the fuel limit, errors as text.

use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use cu_persist::{
    Access, AccessFilter, External, ExternalOptions, FunctionPolicy, HOME_COLLECTION, HomeOptions, Save, StoredHome,
    StoredTables,
};
use cu_storage::Database;
use cu_vm::image::{NoUserdata, UserdataCodec};
use cu_vm::{Context, Handle, Host, Options, RunError, Step, Table, Value, Vm, chunk_of_file};

use crate::arguments::{Arguments, Tables};
use crate::error::{Error, system_reason};
use crate::host::{Deterministic, Output, Terminal};
use crate::interrupt::Interrupts;

/// Fuel per step: some milliseconds, after which output is checked and Ctrl-C seen.
const SLICE: u64 = 5_000_000;

pub struct Runner {
    vm: Vm,
    output: Output,
    interrupts: Interrupts,
    /// The library's `tostring` and `warn`, whatever becomes of the global variables.
    to_string: Handle,
    warn: Handle,
    fuel_limit: Option<u64>,
    /// What is left of the limit, or of all the fuel there can be.
    fuel_left: u64,
    /// Keeps `_home` in the database of `--db`.
    home: Option<StoredHome>,
    /// The tables of that database, as `ext` has them.
    external: Option<External>,
    /// Which tables of the database scripts may use.
    tables: Option<Tables>,
    /// Whether a failed run leaves `_home` as it was.
    atomic: bool,
}

impl Runner {
    /// A VM as the command line wants it, with the table `arg`.
    pub fn new(arguments: &Arguments, output: Output) -> Runner {
        let host: Box<dyn Host> = if arguments.deterministic {
            Box::new(Deterministic::new(output.clone()))
        } else {
            Box::new(Terminal::new(output.clone(), arguments.ignores_environment))
        };
        let seed = if arguments.deterministic { 0 } else { random_seed() };
        let (heap_limit, sandboxed) = (arguments.heap_limit, arguments.sandboxed);
        let vm = Vm::new(Options { heap_limit, seed, host, sandboxed, ..Options::default() });
        // As `lua` does; a deterministic run is as in a page.
        vm.set_generational(!arguments.deterministic);
        let (to_string, warn) = vm.enter(|context| {
            let table = argument_table(context, arguments);
            set(context, context.globals(), string(context, b"arg"), Value::Table(table));
            let library = |name: &[u8]| context.stash(context.globals().get(string(context, name)));
            (library(b"tostring"), library(b"warn"))
        });
        let fuel_left = arguments.fuel.unwrap_or(u64::MAX);
        let interrupts = Interrupts::install();
        Runner {
            vm,
            output,
            interrupts,
            to_string,
            warn,
            fuel_limit: arguments.fuel,
            fuel_left,
            home: None,
            external: None,
            tables: arguments.tables.clone(),
            atomic: arguments.atomic,
        }
    }

    /// A VM that came from an image, in the middle of a run.
    pub fn of_vm(vm: Vm, output: Output, fuel_limit: Option<u64>) -> Runner {
        let library = |name: &[u8]| vm.enter(|context| context.stash(context.permanent(name)));
        let (to_string, warn) = (library(b"tostring"), library(b"warn"));
        let (interrupts, fuel_left) = (Interrupts::install(), fuel_limit.unwrap_or(u64::MAX));
        Runner {
            vm,
            output,
            interrupts,
            to_string,
            warn,
            fuel_limit,
            fuel_left,
            home: None,
            external: None,
            tables: None,
            atomic: false,
        }
    }

    /// Gives the VM the tables of a database in `ext`; one that comes from an image has it already.
    pub fn use_tables(&mut self, external: External, is_new: bool) -> Result<(), Error> {
        if is_new {
            external.open(&self.vm).map_err(Error::Home)?;
        }
        self.external = Some(external);
        Ok(())
    }

    /// How the host's values in userdata are saved: those that belong to the tables in `ext`.
    pub fn codec(&self) -> Rc<dyn UserdataCodec> {
        self.external.as_ref().map_or_else(|| Rc::new(NoUserdata) as Rc<dyn UserdataCodec>, External::codec)
    }

    /// Gives the VM what the database holds: its tables in `ext`, and the table `_home`.
    pub fn keep_in(&mut self, database: Rc<Database>) -> Result<(), Error> {
        let tables = self.tables.clone();
        let external = external_tables(database.clone(), tables.clone());
        let options = HomeOptions { userdata: external.codec(), ..HomeOptions::default() };
        self.use_tables(external, true)?;
        let home = StoredHome::attach(&self.vm, database, options).map_err(Error::Home)?;
        if tables.is_some_and(|tables| !tables.may_read(HOME_COLLECTION)) {
            // What is in memory is to be read by nobody either.
            home.commit(&self.vm).map_err(Error::Home)?;
            home.close(&self.vm, true);
        }
        self.home = Some(home);
        Ok(())
    }

    /// After a run: a transaction that it left open is undone, and what has changed in `_home` is stored if the run ended well, by its own `os.exit` too, or undone if that was asked
    /// for.
    pub fn end_run(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Some(external) = &self.external {
            external.end_run();
        }
        let Some(home) = &self.home else { return result };
        if let Some(tables) = self.tables.as_ref().filter(|tables| !tables.may_change(HOME_COLLECTION)) {
            let refused = home.refuse_changes(&self.vm).map_err(Error::Home);
            home.close(&self.vm, !tables.may_read(HOME_COLLECTION));
            return result.and(refused);
        }
        match result {
            Ok(()) | Err(Error::Exit { code: 0, .. }) => {
                let committed = home.commit(&self.vm);
                if committed.is_err() && self.atomic {
                    roll_back(home, &mut self.vm)?;
                }
                committed.map_err(Error::Home).and(result)
            }
            Err(_) if self.atomic => roll_back(home, &mut self.vm).and(result),
            Err(_) => result,
        }
    }

    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Goes on with the run in progress, for `fuel` units of it: true at its end.
    pub fn go_on(&mut self, fuel: u64) -> Result<bool, Error> {
        let before = self.vm.fuel_used();
        loop {
            let used = self.vm.fuel_used() - before;
            if used >= fuel {
                return Ok(false);
            }
            match self.vm.step((fuel - used).min(SLICE)).map_err(usage_error)? {
                Step::Finished => return self.output.check().map(|()| true),
                Step::Failed => return Err(self.lua_error()),
                Step::Exited { code, close } => return Err(Error::Exit { code, close }),
                // A host without functions answers at once that it has none.
                Step::OutOfFuel | Step::Waiting => self.output.check()?,
            }
        }
    }

    /// Goes on with the run in progress to its end.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.interrupts.begin();
        let result = self.finish();
        self.interrupts.end();
        result
    }

    /// Starts the script as [`Self::run_script`] does; [`Self::go_on`] runs it.
    pub fn start_script(&mut self, source: &[u8], chunk_name: &str) -> Result<(), Error> {
        let function = self.load(source, chunk_name).map_err(syntax_error)?;
        let started =
            self.vm.start(|context| (context.fetch(&function), script_arguments(context).unwrap_or_default()));
        self.vm.enter(|context| context.release(function));
        started.map_err(usage_error)
    }

    /// Compiles a chunk and runs it.
    pub fn run(&mut self, source: &[u8], chunk_name: &str) -> Result<(), Error> {
        let function = self.load(source, chunk_name).map_err(syntax_error)?;
        self.call_once(function, |_| Vec::new())
    }

    /// Compiles the script and runs it with what the table `arg` has from 1 on.
    pub fn run_script(&mut self, source: &[u8], chunk_name: &str) -> Result<(), Error> {
        let function = self.load(source, chunk_name).map_err(syntax_error)?;
        let has_arguments = self.vm.enter(|context| script_arguments(context).is_some());
        if !has_arguments {
            return Err(Error::Lua(b"'arg' is not a table".to_vec()));
        }
        self.call_once(function, |context| script_arguments(context).unwrap_or_default())
    }

    /// Has `require` load a module and keeps what it gives in a global variable.
    pub fn require(&mut self, global: &[u8], module: &[u8]) -> Result<(), Error> {
        let require = self.global(b"require");
        self.call_once(require, |context| vec![string(context, module)])?;
        self.vm.take_results(|context, values| {
            let value = values.first().copied().unwrap_or(Value::Nil);
            set(context, context.globals(), string(context, global), value);
        });
        Ok(())
    }

    /// Turns warnings on.
    pub fn warnings_on(&mut self) -> Result<(), Error> {
        let warn = self.vm.enter(|context| context.stash(context.fetch(&self.warn)));
        self.call_once(warn, |context| vec![string(context, b"@on")])
    }

    /// Compiles a chunk.
    pub fn load(&self, source: &[u8], chunk_name: &str) -> Result<Handle, RunError> {
        self.vm.load(source, chunk_name)
    }

    /// The value of a global variable.
    pub fn global(&self, name: &[u8]) -> Handle {
        self.vm.enter(|context| context.stash(context.globals().get(string(context, name))))
    }

    /// A value as `tostring` shows it; `None` for nil.
    pub fn text(&mut self, value: Handle) -> Result<Option<Vec<u8>>, Error> {
        if self.vm.enter(|context| context.fetch(&value).is_nil()) {
            return Ok(None);
        }
        let to_string = self.vm.enter(|context| context.stash(context.fetch(&self.to_string)));
        self.call_once(to_string, |context| vec![context.fetch(&value)])?;
        self.vm.enter(|context| context.release(value));
        Ok(self.vm.take_results(|_, values| match values.first() {
            Some(Value::String(text)) => Some(text.as_bytes().to_vec()),
            _ => None,
        }))
    }

    /// Calls a function; its results are [`Self::results`].
    pub fn call(
        &mut self,
        function: &Handle,
        arguments: impl for<'gc> FnOnce(Context<'gc>) -> Vec<Value<'gc>>,
    ) -> Result<(), Error> {
        self.vm.start(|context| (context.fetch(function), arguments(context))).map_err(usage_error)?;
        self.resume()
    }

    fn call_once(
        &mut self,
        function: Handle,
        arguments: impl for<'gc> FnOnce(Context<'gc>) -> Vec<Value<'gc>>,
    ) -> Result<(), Error> {
        let result = self.call(&function, arguments);
        self.vm.enter(|context| context.release(function));
        result
    }

    /// The values that the last call returned.
    pub fn results(&self) -> Vec<Handle> {
        self.vm.take_results(|context, values| values.iter().map(|value| context.stash(*value)).collect())
    }

    /// Access to the heap.
    pub fn enter<T>(&self, work: impl for<'gc> FnOnce(Context<'gc>) -> T) -> T {
        self.vm.enter(work)
    }

    /// Runs the finalizers of everything that has one, after an `os.exit` also `__close` of what is pending; nothing can run
    /// afterwards.
    pub fn close(&mut self) -> Result<(), Error> {
        self.vm.start_close().map_err(usage_error)?;
        self.finish()
    }

    /// Steps what was started to its end.
    fn finish(&mut self) -> Result<(), Error> {
        // More than 0 in a run that came from an image.
        let mut used_before = self.vm.fuel_used();
        let mut was_interrupted = false;
        loop {
            let step = self.vm.step(self.fuel_left.min(SLICE)).map_err(usage_error)?;
            let used = self.vm.fuel_used();
            if self.fuel_limit.is_some() {
                self.fuel_left = self.fuel_left.saturating_sub(used - used_before);
            }
            used_before = used;
            match step {
                Step::Finished => return self.output.check(),
                Step::Failed => return Err(self.lua_error()),
                Step::Exited { code, close } => return Err(Error::Exit { code, close }),
                Step::OutOfFuel | Step::Waiting => {}
            }
            if let Err(error) = self.may_go_on() {
                self.vm.abort();
                return Err(error);
            }
            if self.interrupts.came() && !was_interrupted {
                self.vm.interrupt("interrupted!");
                was_interrupted = true;
            }
        }
    }

    /// Between two steps: why the run must end.
    fn may_go_on(&self) -> Result<(), Error> {
        self.output.check()?;
        match self.fuel_limit {
            Some(limit) if self.fuel_left == 0 => Err(Error::OutOfFuel { limit }),
            _ => Ok(()),
        }
    }

    /// The error of the run that failed, with its traceback where `lua` shows one.
    fn lua_error(&self) -> Error {
        let RunError::Lua { message, traceback, .. } = self.vm.take_error() else {
            return usage_error(self.vm.take_error());
        };
        // The error value has the message's bytes, if it is a string. One from `__tostring` is shown as it is.
        let (message, has_traceback) = self.vm.take_error_value(|_, value| match value {
            Value::String(text) => {
                let is_memory = text.as_bytes() == b"not enough memory";
                (text.as_bytes().to_vec(), !is_memory)
            }
            other => {
                let default = format!("(error object is a {} value)", other.type_name());
                let is_shown = matches!(other, Value::Integer(_) | Value::Float(_)) || message == default;
                (message.into_bytes(), is_shown)
            }
        });
        let mut text = message;
        if has_traceback && !traceback.is_empty() {
            text.push(b'\n');
            text.extend_from_slice(traceback.as_bytes());
        }
        Error::Lua(text)
    }
}

/// The tables of a database, as far as scripts may use them.
pub fn external_tables(database: Rc<Database>, tables: Option<Tables>) -> External {
    let access = tables.map(|tables| -> AccessFilter {
        Box::new(move |name, access| match access {
            Access::Read => tables.may_read(name),
            Access::Write => tables.may_change(name),
        })
    });
    let functions = FunctionPolicy::Allow(Save::default());
    External::new(StoredTables::new(database), ExternalOptions { functions, access })
}

/// A script and the name of its chunk.
pub fn source_of_file(path: &Path) -> Result<(Vec<u8>, String), Error> {
    let failure =
        |action, error: &std::io::Error| Error::File { action, path: path.to_owned(), reason: system_reason(error) };
    let mut file = std::fs::File::open(path).map_err(|error| failure("open", &error))?;
    let mut source = Vec::new();
    file.read_to_end(&mut source).map_err(|error| failure("read", &error))?;
    Ok((chunk_of_file(&source).to_vec(), format!("@{}", path.display())))
}

/// All of the standard input stream.
pub fn source_of_stdin() -> Result<Vec<u8>, Error> {
    let mut source = Vec::new();
    std::io::stdin().read_to_end(&mut source).map_err(|error| Error::File {
        action: "read",
        path: "stdin".into(),
        reason: system_reason(&error),
    })?;
    Ok(chunk_of_file(&source).to_vec())
}

/// Makes `_home` what is stored. What a run has filled the heap with is dropped first where there is no memory for that.
fn roll_back(home: &StoredHome, vm: &mut Vm) -> Result<(), Error> {
    home.roll_back(vm)
        .or_else(|_| {
            vm.collect();
            home.roll_back(vm)
        })
        .map_err(Error::Home)
}

/// `arg`: the script at 0, its arguments from 1 on, what came before it at negative indices.
fn argument_table<'gc>(context: Context<'gc>, arguments: &Arguments) -> Table<'gc> {
    let table = context.table();
    for (index, argument) in arguments.all.iter().enumerate() {
        let index = index as i64 - arguments.script_index as i64;
        set(context, table, Value::Integer(index), string(context, argument));
    }
    table
}

/// What the table `arg` has for the script; `None` if it is no table any more.
fn script_arguments<'gc>(context: Context<'gc>) -> Option<Vec<Value<'gc>>> {
    match context.globals().get(string(context, b"arg")) {
        Value::Table(table) => Some((1..=table.length()).map(|index| table.get_integer(index)).collect()),
        _ => None,
    }
}

fn string<'gc>(context: Context<'gc>, bytes: &[u8]) -> Value<'gc> {
    Value::String(context.string(bytes))
}

/// A field that is left out if the heap limit has no room for it; the run that follows says so.
fn set<'gc>(context: Context<'gc>, table: Table<'gc>, key: Value<'gc>, value: Value<'gc>) {
    let _ = table.set(context, key, value);
}

pub fn syntax_error(error: RunError) -> Error {
    Error::Lua(error.to_string().into_bytes())
}

fn usage_error(error: RunError) -> Error {
    Error::Lua(error.to_string().into_bytes())
}

fn random_seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        time.map_or(0, |since| since.as_nanos() as u64)
    })
}
