//! One Lua state for TypeScript: a VM, its live functions, and the one run that may be under way.
//!
//! A run is started, stepped until it finishes or fails, and its values or its error are taken, once. Nothing here loops
//! or waits: how long to go on, and when to give the page its turn, is decided by whoever steps.
//!
//! # What values a run gives
//!
//! Values become documents as `cu_persist` makes them: tables without their metatables, functions as blobs. A value inside
//! a table that is no document (a coroutine, a table that contains itself) fails the call with the path to it. But a chunk
//! that *returns* such a value has run well, so among the results themselves a function that cannot be saved and a coroutine
//! come as nil.

use cu_persist::{
    FunctionPolicy, Functions, Limits, Save, compile_function, from_document, load_image, save_image, to_document,
};
use cu_storage::Document;
use cu_vm::image::HostParts;
use cu_vm::{Context, Handle, MemoryFiles, RunError, Step, Table, Value, Vm};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Error, Result};
use crate::exchange::Exchange;
use crate::files::files;
use crate::functions::PageFunctions;
use crate::host::{Output, PageHost, show_errors};
use crate::memory::wasm_bytes;
use crate::options::Options;
use crate::tables::Tables;

/// What [`Instance::step`] returns.
pub(crate) mod status {
    pub const FINISHED: u32 = 0;
    pub const RUNNING: u32 = 1;
    pub const WAITING: u32 = 2;
    pub const FAILED: u32 = 3;
}

/// One Lua state.
#[wasm_bindgen]
pub struct Instance {
    pub(crate) vm: Vm,
    pub(crate) functions: Functions,
    output: Output,
    pub(crate) files: Option<MemoryFiles>,
    pub(crate) run: Run,
    pub(crate) exchange: Exchange,
    pub(crate) page: PageFunctions,
    pub(crate) tables: Tables,
    /// What [`Self::use_sandbox`] has named.
    pub(crate) sandbox: Option<String>,
    #[cfg(feature = "home")]
    pub(crate) home: Option<crate::home::PageHome>,
}

/// The current or last run.
pub(crate) enum Run {
    /// There is none, or everything was taken from it.
    None,
    /// The VM runs; the result becomes this function, if it is to define one.
    Running(Option<FunctionName>),
    /// Values can be taken.
    Finished,
    /// The error that can be taken.
    Failed(Document),
}

pub(crate) struct FunctionName {
    table: String,
    name: String,
}

#[wasm_bindgen]
impl Instance {
    /// Makes a state with the standard library. `options` is a map: `heapLimit` (bytes), `seed`, `now` (milliseconds since
    /// 1970 at which the clock stands), `files` (paths with contents) `filesLimit` (bytes that they may take),
    /// `environment` (variables with values), `profile` (`whole` or `sandbox`: what there is of the library), `tables` (`none` or `ext`:
    /// whether there is the global variable `ext`).
    #[wasm_bindgen(constructor)]
    pub fn new(options: &[u8]) -> Result<Instance> {
        Self::open(options, |vm_options, heap_limit, tables| {
            let vm = Vm::new(vm_options);
            tables.open(&vm, options)?;
            // Set afterwards, so that a limit below what the library takes gives runs that fail instead of no state.
            vm.set_heap_limit(heap_limit);
            Ok((vm, Run::None))
        })
    }

    /// Makes a state that goes on where another one stood when it was saved; options as for a new one, but the heap limit is
    /// the saved one where that is lower.
    pub fn restore(options: &[u8], image: &[u8]) -> Result<Instance> {
        Self::open(options, |options, heap_limit, tables| {
            let options = cu_vm::Options { heap_limit, ..options };
            let parts = HostParts { natives: &Tables::natives(), userdata: &*tables.codec() };
            let loaded = load_image(image, options, &parts, &Limits::default()).map_err(Error::Image)?;
            // Live functions: they are loaded again from where they are stored.
            loaded.vm.enter(|context| loaded.handles.into_iter().for_each(|handle| context.release(handle)));
            let run = if loaded.vm.is_running() { Run::Running(None) } else { Run::None };
            Ok((loaded.vm, run))
        })
    }

    /// The whole state as an image, between two steps of a run too.
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        save_image(&self.vm, &*self.tables.codec(), b"", &Limits::default()).map_err(Error::Image)
    }

    /// Whether a run is under way that [`Self::step`] goes on with.
    #[wasm_bindgen(js_name = isRunning)]
    pub fn is_running(&self) -> bool {
        self.vm.is_running()
    }

    /// Compiles a chunk and prepares to run it; `args` is an array. A syntax error shows at the first step.
    pub fn start(&mut self, source: &[u8], chunk_name: &str, args: &[u8]) -> Result<()> {
        let args = decode_args(args)?;
        let source = without_first_comment(source);
        let loaded = match self.sandbox.take() {
            Some(sandbox) => self.vm.load_in(&sandbox, source, chunk_name),
            None => self.vm.load(source, chunk_name),
        };
        match loaded {
            Ok(chunk) => {
                let started = self.start_run(&chunk, &args, None);
                self.vm.enter(|context| context.release(chunk));
                started
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Prepares to call a live function; `args` is an array.
    #[wasm_bindgen(js_name = startCall)]
    pub fn start_call(&mut self, table: &str, name: &str, args: &[u8]) -> Result<()> {
        let args = decode_args(args)?;
        let Some(function) = self.functions.get(table, name) else {
            let (collection, name) = (table.to_owned(), name.to_owned());
            return Err(cu_persist::Error::UnknownFunction { collection, name }.into());
        };
        let function = self.vm.enter(|context| context.stash(context.fetch(function)));
        let started = self.start_run(&function, &args, None);
        self.vm.enter(|context| context.release(function));
        started
    }

    /// Prepares to run the definition of a function, an expression or a chunk that gives one. When the run finishes, its
    /// result is the live function of this name.
    #[wasm_bindgen(js_name = startDefine)]
    pub fn start_define(&mut self, table: &str, name: &str, source: &[u8]) -> Result<()> {
        match compile_function(&self.vm, source, &format!("={table}.{name}")) {
            Ok(definition) => {
                let defines = FunctionName { table: table.to_owned(), name: name.to_owned() };
                let started = self.start_run(&definition, &[], Some(defines));
                self.vm.enter(|context| context.release(definition));
                started
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Runs for about this much fuel. Gives 0 when the run has finished, 1 when fuel is used up, 2 when it waits for
    /// [`Self::answer`], 3 when it has failed.
    pub fn step(&mut self, fuel: u32) -> Result<u32> {
        if let Run::Failed(_) = self.run {
            return Ok(status::FAILED);
        }
        if self.waits() || self.tables.waits() {
            return Ok(status::WAITING);
        }
        let status = self.go_on(fuel)?;
        if status == status::FINISHED || status == status::FAILED {
            self.tables.end_run();
        }
        Ok(status)
    }

    /// The finished run's values, an array.
    #[wasm_bindgen(js_name = takeValues)]
    pub fn take_values(&mut self) -> Result<Vec<u8>> {
        let values = match std::mem::replace(&mut self.run, Run::None) {
            Run::Finished => {
                let values = self.vm.take_results(documents_of);
                // Lets go of the results.
                self.vm.abort();
                values?
            }
            other => {
                self.run = other;
                Vec::new()
            }
        };
        Ok(Document::Array(values).encode()?)
    }

    /// What was printed since the last call.
    #[wasm_bindgen(js_name = takeOutput)]
    pub fn take_output(&mut self) -> Vec<u8> {
        self.files.iter().for_each(show_errors);
        self.output.take()
    }

    /// The failed run's error, a map; nil when there is none.
    #[wasm_bindgen(js_name = takeError)]
    pub fn take_error(&mut self) -> Result<Vec<u8>> {
        match std::mem::replace(&mut self.run, Run::None) {
            Run::Failed(error) => Ok(error.encode()?),
            other => {
                self.run = other;
                Ok(Document::Nil.encode()?)
            }
        }
    }

    /// Drops the run. To-be-closed variables are not closed.
    pub fn abort(&mut self) {
        self.vm.abort();
        self.tables.end_run();
        self.stop_waiting();
        self.run = Run::None;
    }

    /// Fuel that the current or last run has used.
    #[wasm_bindgen(js_name = fuelUsed)]
    pub fn fuel_used(&self) -> f64 {
        self.vm.fuel_used() as f64
    }

    /// The next `start`, `setGlobal`, `getGlobal` or `setFunction` is about the global variables of the sandbox with this name.
    #[wasm_bindgen(js_name = useSandbox)]
    pub fn use_sandbox(&mut self, name: &str) -> Result<()> {
        self.sandbox = Some(name.to_owned());
        self.with_memory(|context| context.sandbox(name).map(|_| ()).map_err(|_| Error::OutOfMemory))
    }

    /// Sets a global variable to a document.
    #[wasm_bindgen(js_name = setGlobal)]
    pub fn set_global(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let value = Document::decode(value)?;
        let sandbox = self.sandbox.take();
        self.with_memory(|context| {
            let value = from_document(context, &value, &functions()).map_err(value_error)?;
            let name = Value::String(context.string(name.as_bytes()));
            globals(context, &sandbox)?.set(context, name, value).map_err(|_| Error::OutOfMemory)
        })
    }

    /// A global variable as a document.
    #[wasm_bindgen(js_name = getGlobal)]
    pub fn get_global(&mut self, name: &str) -> Result<Vec<u8>> {
        let sandbox = self.sandbox.take();
        let document = self.vm.enter(|context| {
            let value = globals(context, &sandbox)?.get_string(context.string(name.as_bytes()));
            to_document(context, name, value, &functions()).map_err(value_error)
        })?;
        Ok(document.encode()?)
    }

    /// A map: `used` and `limit`, bytes of Lua values; `wasm`, bytes of this module's memory.
    #[wasm_bindgen(js_name = memoryStats)]
    pub fn memory_stats(&self) -> Result<Vec<u8>> {
        let heap = self.vm.heap_bytes();
        let bytes = |count: usize| Document::Integer(i64::try_from(count).unwrap_or(i64::MAX));
        let stats = Document::map([
            ("used", bytes(heap.used)),
            ("limit", bytes(heap.limit)),
            ("wasm", Document::Integer(i64::from(wasm_bytes()))),
        ]);
        Ok(stats.encode()?)
    }

    /// Runs a full collection.
    pub fn collect(&mut self) {
        self.vm.collect();
    }
}

impl Instance {
    /// An instance around the VM that `make` gives for options and a heap limit.
    fn open(
        options: &[u8],
        make: impl FnOnce(cu_vm::Options, usize, &Tables) -> Result<(Vm, Run)>,
    ) -> Result<Instance> {
        let options = Options::decode(options)?;
        let heap_limit = options.size("heapLimit")?.unwrap_or(cu_vm::DEFAULT_HEAP_LIMIT);
        let output = Output::default();
        let files = files(&options)?.map(|files| files.with_output(output.clone()));
        let environment = options.strings("environment")?.unwrap_or_default();
        let environment = environment.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let page = PageFunctions::default();
        let now = options.number("now")?;
        let host = Box::new(PageHost::new(output.clone(), now, environment, files.clone(), page.clone()));
        let seed = options.integer("seed")?.unwrap_or(0) as u64;
        let compile = options.choice("compile", &["hot", "never", "eager"])?;
        let sandboxed = options.choice("profile", &["whole", "sandbox"])? == "sandbox";
        let tables = Tables::new();
        #[allow(unused_mut, reason = "code is made at run time only in WebAssembly")]
        let (mut vm, run) =
            make(cu_vm::Options { seed, host, sandboxed, ..cu_vm::Options::default() }, heap_limit, &tables)?;
        #[cfg(all(target_arch = "wasm32", feature = "compile"))]
        if compile != "never" {
            let eagerness = match compile {
                "eager" => cu_vm::Eagerness { fuel_between_samples: 10, samples: 1 },
                _ => cu_vm::Eagerness::default(),
            };
            vm.compile_with(Box::new(crate::code::PageCode::default()), eagerness);
        }
        #[cfg(not(all(target_arch = "wasm32", feature = "compile")))]
        let _ = compile;
        Ok(Instance {
            vm,
            functions: Functions::new(),
            output,
            files,
            run,
            exchange: Exchange::default(),
            page,
            tables,
            sandbox: None,
            #[cfg(feature = "home")]
            home: None,
        })
    }

    pub(crate) fn start_run(
        &mut self,
        function: &Handle,
        args: &[Document],
        defines: Option<FunctionName>,
    ) -> Result<()> {
        let values = self.with_memory(|context| {
            let values = args.iter().map(|arg| from_document(context, arg, &functions()));
            let values = values.collect::<cu_persist::Result<Vec<_>>>().map_err(value_error)?;
            Ok(values.into_iter().map(|value| context.stash(value)).collect::<Vec<Handle>>())
        })?;
        if self.is_full() {
            self.vm.enter(|context| values.into_iter().for_each(|value| context.release(value)));
            let message = Document::text(OUT_OF_MEMORY);
            self.run = Run::Failed(error_map("heap", OUT_OF_MEMORY, message, "", None));
            return Ok(());
        }
        let started = self.vm.start(|context| {
            let args = values.iter().map(|value| context.fetch(value)).collect();
            (context.fetch(function), args)
        });
        self.vm.enter(|context| values.into_iter().for_each(|value| context.release(value)));
        started?;
        self.run = Run::Running(defines);
        Ok(())
    }

    /// Has the first step report an error of compiling.
    fn fail(&mut self, error: &RunError) -> Result<()> {
        if self.vm.is_running() {
            return Err(RunError::Usage("a run is in progress already").into());
        }
        self.run = Run::Failed(engine_error(error, Document::text(&error.to_string())));
        Ok(())
    }

    fn go_on(&mut self, fuel: u32) -> Result<u32> {
        match self.vm.step(u64::from(fuel))? {
            Step::OutOfFuel => Ok(status::RUNNING),
            Step::Waiting if self.answer_left()? => Ok(status::RUNNING),
            Step::Waiting => Ok(status::WAITING),
            Step::Finished => self.finish(),
            Step::Exited { code, .. } => {
                self.vm.abort();
                self.run = Run::Failed(engine_error(&RunError::Exited { code }, Document::Nil));
                Ok(status::FAILED)
            }
            Step::Failed => {
                let error = self.vm.take_error();
                let value = self.vm.take_error_value(|context, value| {
                    to_document(context, "error", value, &functions()).unwrap_or_default()
                });
                self.vm.abort();
                self.run = Run::Failed(engine_error(&error, value));
                Ok(status::FAILED)
            }
        }
    }

    fn finish(&mut self) -> Result<u32> {
        let Run::Running(Some(defines)) = std::mem::replace(&mut self.run, Run::Finished) else {
            return Ok(status::FINISHED);
        };
        let adopted = self.functions.adopt_result(&self.vm, &defines.table, &defines.name);
        self.vm.abort();
        self.run = Run::None;
        if let Err(error) = adopted {
            let error = Error::from(error);
            self.run = Run::Failed(error_map(error.code(), &error.to_string(), Document::Nil, "", None));
            return Ok(status::FAILED);
        }
        Ok(status::FINISHED)
    }

    /// Whether the heap has no room to start a run, even after a collection.
    fn is_full(&mut self) -> bool {
        let full = |vm: &Vm| {
            let heap = vm.heap_bytes();
            heap.used.saturating_add(START_BYTES) > heap.limit
        };
        if full(&self.vm) {
            self.vm.collect();
        }
        full(&self.vm)
    }

    /// Makes values in the heap, and tries again after a collection when there was no room.
    pub(crate) fn with_memory<T>(&mut self, work: impl for<'gc> Fn(Context<'gc>) -> Result<T>) -> Result<T> {
        match self.vm.enter(&work) {
            Err(Error::OutOfMemory) => {
                self.vm.collect();
                self.vm.enter(&work)
            }
            result => result,
        }
    }
}

/// A program without its first line if that begins with `#`, as the `lua` program reads files. The line end stays, so that
/// lines keep their numbers.
fn without_first_comment(source: &[u8]) -> &[u8] {
    if !source.starts_with(b"#") {
        return source;
    }
    let end = source.iter().position(|byte| *byte == b'\n');
    source.get(end.unwrap_or(source.len())..).unwrap_or_default()
}

/// What starting a run takes in the heap, at most.
pub(crate) const START_BYTES: usize = 4096;

/// Documents that cross may hold functions.
pub(crate) fn functions() -> FunctionPolicy {
    FunctionPolicy::Allow(Save::default())
}

pub(crate) fn decode_args(bytes: &[u8]) -> Result<Vec<Document>> {
    match Document::decode(bytes)? {
        Document::Array(args) => Ok(args),
        _ => Err(Error::invalid("args", "must be an array")),
    }
}

/// An error of turning a value into a document or back.
pub(crate) fn value_error(error: cu_persist::Error) -> Error {
    match error {
        cu_persist::Error::Limit { what: "heap" } => Error::OutOfMemory,
        error => Error::Value(error),
    }
}

/// The results of a run; see the head of this file for those that are no documents.
fn documents_of<'gc>(context: Context<'gc>, results: &[Value<'gc>]) -> Result<Vec<Document>> {
    let document = |(position, value): (usize, &Value<'gc>)| {
        match value {
            Value::Nil => return Ok(Document::Nil),
            Value::Boolean(value) => return Ok(Document::Boolean(*value)),
            Value::Integer(value) => return Ok(Document::Integer(*value)),
            // The path is for what can fail.
            _ => {}
        }
        let name = format!("value {}", position + 1);
        match (to_document(context, &name, *value, &functions()), value) {
            (Ok(document), _) => Ok(document),
            (Err(error), Value::Table(_)) => Err(value_error(error)),
            (Err(_), _) => Ok(Document::Nil),
        }
    };
    results.iter().enumerate().map(document).collect()
}

/// The global variables of a sandbox, or the VM's.
pub(crate) fn globals<'gc>(context: Context<'gc>, sandbox: &Option<String>) -> Result<Table<'gc>> {
    match sandbox {
        Some(name) => context.sandbox(name).map_err(|_| Error::OutOfMemory),
        None => Ok(context.globals()),
    }
}

/// What Lua code sees when an allocation goes over the heap limit (`luaD_throw` with `LUA_ERRMEM` in PUC Lua).
const OUT_OF_MEMORY: &str = "not enough memory";

/// A run's error as the map that `EngineError` describes.
pub(crate) fn engine_error(error: &RunError, value: Document) -> Document {
    match error {
        RunError::Syntax { message, line, .. } => {
            // The message begins with the chunk's name as Lua shows it.
            let chunk = message.find(&format!(":{line}: ")).and_then(|end| message.get(..end));
            error_map("syntax", message, value, "", chunk.map(|chunk| (chunk, *line)))
        }
        RunError::Lua { message, traceback, position } => {
            let code = if value.as_text() == Some(OUT_OF_MEMORY) { "heap" } else { "runtime" };
            let position = position.as_ref().map(|(chunk, line)| (chunk.as_str(), *line));
            error_map(code, message, value, traceback, position)
        }
        other => error_map("runtime", &other.to_string(), value, "", None),
    }
}

fn error_map(code: &str, message: &str, value: Document, traceback: &str, position: Option<(&str, u32)>) -> Document {
    let (chunk, line) = match position {
        Some((chunk, line)) => (Document::text(chunk), Document::Integer(i64::from(line))),
        None => (Document::Nil, Document::Nil),
    };
    Document::map([
        ("code", Document::text(code)),
        ("message", Document::text(message)),
        ("value", value),
        ("traceback", Document::text(traceback)),
        ("chunk", chunk),
        ("line", line),
    ])
}
