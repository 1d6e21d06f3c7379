//! The VM: a heap, what runs on it, and the driver that alternates slices of Lua code with collections.

use gc_arena::Arena;

use crate::chunk::{is_binary, read_chunk};
use crate::collect::{Heap, collect};
#[cfg(all(target_arch = "wasm32", feature = "compile"))]
use crate::compiled::{CodeHost, Compiler, Eagerness};
use crate::context::{Context, Handle, Registered, Root};
use crate::error::{Error, RunError};
use crate::fuel::{self, Fuel};
use crate::heap::closure::Closure;
use crate::heap::coroutine::{Callee, Coroutine, Status};
use crate::heap::proto::Proto;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::host::{Host, SilentHost};
use crate::image::RunImage;
use crate::interpreter::{Flow, Machine, NATIVE_SLOTS, Stop};
use crate::library;
use crate::library::host_function::{ANSWERED, FAILED, WAITING, is_host_function};
use crate::metamethod::Metamethod;

/// The heap limit of a VM that asks for nothing else: 512 KiB.
pub const DEFAULT_HEAP_LIMIT: usize = 512 * 1024;

/// How deep a run starts: with the host's protected call, a script is as deep as `lua` runs it.
const NATIVE_CALLS_BELOW_RUN: u32 = 1;

/// How a VM is made.
pub struct Options {
    /// The most the heap may hold, in nominal bytes (what objects take on a 64-bit machine).
    pub heap_limit: usize,
    /// Seeds `math.random` and the hashing of strings; the same seed gives the same run.
    pub seed: u64,
    pub host: Box<dyn Host>,
    /// Whether scripts have the `debug` library, with which code sees and changes other functions' variables.
    pub has_debug: bool,
    /// Whether the global variables are those of the sandbox profile ([`Context::sandbox`]) instead of the whole library.
    pub sandboxed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            heap_limit: DEFAULT_HEAP_LIMIT,
            seed: 0,
            host: Box::new(SilentHost),
            has_debug: true,
            sandboxed: false,
        }
    }
}

/// What a slice of running came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The function returned; [`Vm::take_results`] has its values.
    Finished,
    /// An error was not caught; [`Vm::take_error`] has it.
    Failed,
    /// The slice's fuel is used; [`Vm::step`] goes on.
    OutOfFuel,
    /// A function of the host was called and has no answer yet: [`Vm::answer`] gives it, then [`Vm::step`] goes on. Without one, the next step
    /// asks the host again.
    Waiting,
    /// The code called `os.exit`: the run is over, and the program is to end with `code`. If `close` is set, after
    /// [`Vm::start_close`], which also closes the main coroutine's pending variables.
    Exited { code: i32, close: bool },
}

/// A Lua virtual machine.
pub struct Vm {
    arena: Heap,
    running: bool,
    memory_retry: bool,
    /// What [`Self::interrupt`] said and no Lua code has met yet.
    interruption: Option<String>,
    fuel_used: u64,
    /// How many values the finished run left at the bottom of the main stack.
    results: usize,
    cycles: u64,
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    compiler: Option<Compiler>,
}

impl Vm {
    /// A VM with the standard library.
    pub fn new(options: Options) -> Vm {
        let Options { heap_limit, seed, host, has_debug, sandboxed } = options;
        let arena = Arena::new(|_| Root::new(heap_limit, seed, host));
        arena.mutate(|mutation, root| {
            let context = Context::new(mutation, root);
            let names = std::array::from_fn(|index| context.string(Metamethod::ALL[index].name().as_bytes()));
            assert!(root.names.set(names).is_ok(), "the names are set once");
            let main = Coroutine::new(context);
            root.registered.set(Some(Registered {
                globals: Table::new(context, 0, 48),
                loaded: Table::new(context, 0, 0),
                permanents: Table::new(context, 0, 0),
                permanent_names: Table::new(context, 0, 0),
                registry: None,
                files: None,
                report: None,
                main,
                current: main,
            }));
            // The library comes first, whatever the limit is; too low a one is told to the first run.
            context.accounting().set_limit(usize::MAX);
            library::open(context, seed, has_debug, sandboxed);
            context.accounting().set_limit(heap_limit);
            // The library does not count as growth.
            context.accounting().finish_cycle(0);
        });
        Self::of_image(arena, RunImage::default())
    }

    /// A VM around a heap that an image was made into.
    pub(crate) fn of_image(arena: Heap, run: RunImage) -> Vm {
        let RunImage { running, memory_retry, interruption, fuel_used, results, cycles } = run;
        Vm {
            arena,
            running,
            memory_retry,
            interruption,
            fuel_used,
            results: results as usize,
            cycles,
            #[cfg(all(target_arch = "wasm32", feature = "compile"))]
            compiler: None,
        }
    }

    pub(crate) fn run_image(&self) -> RunImage {
        let Vm { running, memory_retry, fuel_used, results, cycles, .. } = *self;
        let interruption = self.interruption.clone();
        RunImage { running, memory_retry, interruption, fuel_used, results: results as u32, cycles }
    }

    /// Has functions that run often be compiled: to modules that `host` makes functions of.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub fn compile_with(&mut self, host: Box<dyn CodeHost>, eagerness: Eagerness) {
        self.compiler = Some(Compiler::new(host, eagerness));
    }

    /// Runs `work` with access to the heap. No Lua code runs and nothing is collected meanwhile.
    pub fn enter<T>(&self, work: impl for<'gc> FnOnce(Context<'gc>) -> T) -> T {
        self.arena.mutate(|mutation, root| work(Context::new(mutation, root)))
    }

    /// Makes a function of a chunk, source text or a binary chunk (`string.dump`); its `_ENV` is the global table.
    ///
    /// # Errors
    ///
    /// [`RunError::Syntax`] with PUC Lua's message.
    pub fn load(&self, chunk: &[u8], chunk_name: &str) -> Result<Handle, RunError> {
        let function = read_chunk(chunk, chunk_name.as_bytes()).map_err(|error| RunError::Syntax {
            message: String::from_utf8_lossy(&error.message).into_owned(),
            chunk: chunk_name.to_owned(),
            line: error.line,
        })?;
        Ok(self.enter(|context| {
            let proto = Proto::new(context, function);
            let environment = Value::Table(context.globals());
            context.stash(Value::Closure(Closure::of_chunk(context, proto, environment)))
        }))
    }

    /// As [`Self::load`] for source text, with the sandbox of this name as its `_ENV`.
    ///
    /// # Errors
    ///
    /// [`RunError::Syntax`], also for a binary chunk; [`RunError::Usage`] if there is no room for a new sandbox.
    pub fn load_in(&self, sandbox: &str, chunk: &[u8], chunk_name: &str) -> Result<Handle, RunError> {
        if is_binary(chunk) {
            let message = "attempt to load a binary chunk in a sandbox".to_owned();
            return Err(RunError::Syntax { message, chunk: chunk_name.to_owned(), line: 0 });
        }
        let handle = self.load(chunk, chunk_name)?;
        self.enter(|context| {
            let globals =
                context.sandbox(sandbox).map_err(|_| RunError::Usage("the sandbox does not fit into the heap"))?;
            if let Value::Closure(closure) = context.fetch(&handle) {
                closure.upvalue(0).set(Value::Table(globals));
            }
            Ok(handle)
        })
    }

    /// Prepares a call; [`Self::step`] runs it. `values` gives the function and its arguments.
    ///
    /// # Errors
    ///
    /// [`RunError::Usage`] if something is running already.
    pub fn start(
        &mut self,
        values: impl for<'gc> FnOnce(Context<'gc>) -> (Value<'gc>, Vec<Value<'gc>>),
    ) -> Result<(), RunError> {
        if self.running {
            return Err(RunError::Usage("a run is in progress already"));
        }
        self.running = true;
        self.fuel_used = 0;
        let entered = self.enter(|context| {
            let (function, args) = values(context);
            let main = context.registered().main;
            context.update_registered(|registered| {
                registered.current = main;
                registered.report = None;
            });
            context.root().finalizing.set(false);
            reset(main);
            let mut machine = Machine::new(context, main, 0);
            machine.state_mut().status = Status::Running;
            let bottom = library::host_call(context);
            let call = [bottom, function, library::error_report(context)];
            let count = call.len() + args.len();
            let entered = machine.ensure_stack(count + 32).and_then(|()| {
                for (slot, value) in call.into_iter().chain(args).enumerate() {
                    machine.set_slot(slot, value);
                }
                machine.call(0, count - 1, -1)
            });
            entered.map(|_| ()).map_err(|_| RunError::Usage("the arguments do not fit into the heap"))
        });
        if entered.is_err() {
            self.abort();
        }
        entered
    }

    /// Prepares the end of the VM's life: a run that finalizes every object that has a `__gc` metamethod. [`Self::step`] runs it.
    /// Directly after [`Step::Exited`], the to-be-closed variables of the main coroutine are closed first. A finalizer may give
    /// [`Step::Exited`] again; another end then runs the finalizers that are left.
    ///
    /// # Errors
    ///
    /// [`RunError::Usage`] if something is running.
    pub fn start_close(&mut self) -> Result<(), RunError> {
        if self.running {
            return Err(RunError::Usage("a run is in progress already"));
        }
        self.running = true;
        self.fuel_used = 0;
        let entered = self.enter(|context| {
            let main = context.registered().main;
            context.update_registered(|registered| {
                registered.current = main;
                registered.report = None;
            });
            context.root().finalizing.set(false);
            Machine::new(context, main, 0).enter_close().map_err(|_| RunError::Usage("the heap is full"))
        });
        if entered.is_err() {
            self.abort();
        }
        entered
    }

    /// Runs for at most about `fuel` units: one per instruction that can repeat (a jump back costs its distance) and per piece of
    /// work in library functions.
    ///
    /// # Errors
    ///
    /// [`RunError::Usage`] if nothing was started.
    pub fn step(&mut self, fuel: u64) -> Result<Step, RunError> {
        if !self.running {
            return Err(RunError::Usage("nothing is running"));
        }
        let mut left = i64::try_from(fuel).unwrap_or(i64::MAX);
        let mut collected = false;
        // Work that the host has caused is not the run's.
        fuel::take_owed();
        loop {
            #[cfg(all(target_arch = "wasm32", feature = "compile"))]
            let (slice, after) = match &self.compiler {
                Some(compiler) => {
                    let slice = left.min(compiler.fuel_to_sample());
                    (slice, left - slice)
                }
                None => (left, 0),
            };
            #[cfg(not(all(target_arch = "wasm32", feature = "compile")))]
            let (slice, after) = (left, 0);
            let retry = self.memory_retry;
            let interruption = &mut self.interruption;
            let (stop, used, retry) = self.arena.mutate(|mutation, root| {
                let context = Context::new(mutation, root);
                let mut machine = Machine::new(context, context.registered().current, slice);
                machine.memory_retry = retry;
                let stop = match machine.begin_slice(collected, interruption) {
                    Flow::Stop => machine.stop,
                    // Code that allocates without a jump or call would not see that collections have used up the fuel.
                    _ if collected && left < 0 => Stop::OutOfFuel,
                    _ => machine.run(),
                };
                machine.fuel = machine.fuel.saturating_sub_unsigned(fuel::take_owed() as u64);
                (stop, fuel::used(Fuel::from(slice), machine.fuel), machine.memory_retry)
            });
            self.memory_retry = retry;
            left = slice.saturating_sub(used).saturating_add(after);
            let used = used.max(0);
            self.fuel_used = self.fuel_used.saturating_add(used as u64);
            #[cfg(all(target_arch = "wasm32", feature = "compile"))]
            if let Some(compiler) = &mut self.compiler
                && (compiler.has_used(used) | (stop == Stop::Look))
            {
                self.sample();
            }
            match stop {
                Stop::Collect => {
                    collected = true;
                    // Marking and sweeping take time in proportion to the heap, what is freed included.
                    let bytes = self.heap_bytes().used;
                    let visits = self.cycle();
                    let price = fuel::collection(bytes, visits) as u64;
                    self.fuel_used = self.fuel_used.saturating_add(price);
                    left = left.saturating_sub_unsigned(price);
                }
                #[cfg(all(target_arch = "wasm32", feature = "compile"))]
                Stop::OutOfFuel if left >= 0 => collected = false,
                #[cfg(all(target_arch = "wasm32", feature = "compile"))]
                Stop::Look => collected = false,
                Stop::OutOfFuel => return Ok(Step::OutOfFuel),
                // The bottom frame of a run catches every error, unless it comes from a damaged image.
                Stop::Failed => {
                    self.running = false;
                    self.results = 0;
                    return Ok(Step::Failed);
                }
                Stop::Finished(count) => {
                    self.running = false;
                    self.interruption = None;
                    self.results = count;
                    return Ok(if self.succeeded() { Step::Finished } else { Step::Failed });
                }
                Stop::Waiting => {
                    self.memory_retry = false;
                    return Ok(Step::Waiting);
                }
                Stop::Exit { code, close } => {
                    self.running = false;
                    self.memory_retry = false;
                    self.interruption = None;
                    return Ok(Step::Exited { code, close });
                }
            }
        }
    }

    /// Looks at what is running, for what is worth compiling.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    #[cold]
    #[inline(never)]
    fn sample(&mut self) {
        if let Some(mut compiler) = self.compiler.take() {
            self.enter(|context| compiler.sample(context));
            self.compiler = Some(compiler);
        }
    }

    fn succeeded(&self) -> bool {
        self.enter(|context| matches!(bottom_value(context, 0), Value::Boolean(true)))
    }

    /// The values of the run that finished, for `take` to look at.
    pub fn take_results<T>(&self, take: impl for<'gc> FnOnce(Context<'gc>, &[Value<'gc>]) -> T) -> T {
        let count = self.results;
        self.enter(|context| take(context, bottom_values(context, count).get(1..).unwrap_or_default()))
    }

    /// The error of the run that failed.
    pub fn take_error(&self) -> RunError {
        self.enter(|context| match context.registered().report {
            Some(report) => library::read_report(report),
            // The handler that makes reports ran out of memory itself.
            None => RunError::Lua {
                message: match bottom_values(context, 2)[..] {
                    [_, Value::String(message)] => message.to_string_lossy().into_owned(),
                    _ => "not enough memory".into(),
                },
                traceback: String::new(),
                position: None,
            },
        })
    }

    /// The error value of the run that failed, for `take` to look at.
    pub fn take_error_value<T>(&self, take: impl for<'gc> FnOnce(Context<'gc>, Value<'gc>) -> T) -> T {
        self.enter(|context| {
            let value = match context.registered().report {
                Some(report) => report.get_integer(1),
                None => bottom_value(context, 1),
            };
            take(context, value)
        })
    }

    /// Drops the run in progress. To-be-closed variables are not closed.
    pub fn abort(&mut self) {
        self.running = false;
        self.memory_retry = false;
        self.interruption = None;
        self.enter(|context| {
            let main = context.registered().main;
            context.update_registered(|registered| registered.current = main);
            reset(main);
            // SAFETY: a look at the length.
            if unsafe { !(*context.root().doomed.get()).is_empty() } {
                // What it has left to finalize is not the first thing that the next run does.
                context.accounting().reset_trigger();
            }
        });
    }

    /// Calls a function and runs it to its end, or for `fuel` units.
    ///
    /// # Errors
    ///
    /// What the code throws; [`RunError::OutOfFuel`] and [`RunError::Exited`], after which the run is dropped.
    pub fn run<T>(
        &mut self,
        function: &Handle,
        fuel: u64,
        take: impl for<'gc> FnOnce(Context<'gc>, &[Value<'gc>]) -> T,
    ) -> Result<T, RunError> {
        self.start(|context| (context.fetch(function), Vec::new()))?;
        match self.step(fuel)? {
            Step::Finished => Ok(self.take_results(take)),
            Step::Failed => Err(self.take_error()),
            Step::OutOfFuel => {
                self.abort();
                Err(RunError::OutOfFuel)
            }
            Step::Waiting => {
                self.abort();
                Err(RunError::Usage("a function of the host has no answer yet"))
            }
            Step::Exited { code, .. } => {
                self.abort();
                Err(RunError::Exited { code })
            }
        }
    }

    /// Fuel used by the current or last run.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Whether a run was started and has not ended.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Answers the call of a host function that the run waits for ([`Step::Waiting`]): with values, or with an error that Lua code can
    /// catch. `make` may fail; then the call goes on waiting.
    ///
    /// # Errors
    ///
    /// What `make` gives; [`RunError::Usage`] if nothing waits, or the values do not fit on the stack.
    pub fn answer<E: From<RunError>>(
        &mut self,
        make: impl for<'gc> FnOnce(Context<'gc>) -> Result<Result<Vec<Value<'gc>>, Value<'gc>>, E>,
    ) -> Result<(), E> {
        if !self.running {
            return Err(RunError::Usage("nothing is running").into());
        }
        self.enter(|context| {
            let mut machine = Machine::new(context, context.registered().current, 0);
            let frame = *machine.top_frame();
            match frame.callee {
                Callee::Native(native) if is_host_function(native) && frame.state == WAITING => {}
                _ => return Err(RunError::Usage("no function of the host waits").into()),
            }
            let (state, values) = match make(context)? {
                Ok(values) => (ANSWERED, values),
                Err(error) => (FAILED, vec![error]),
            };
            let place = frame.function as usize + 1 + frame.extra as usize;
            let end = place + values.len();
            machine
                .ensure_stack(end + NATIVE_SLOTS)
                .map_err(|_| RunError::Usage("the answer does not fit on the stack"))?;
            for (index, value) in values.iter().enumerate() {
                machine.set_slot(place + index, *value);
            }
            let frame = machine.top_frame_mut();
            (frame.state, frame.results) = (state, values.len() as u32);
            frame.top = frame.top.max(end as u32);
            Ok(())
        })
    }

    /// Has the run fail with `message` at the next step, where it is in Lua code; what a native function is doing is finished
    /// first. The code can catch that error as any other.
    pub fn interrupt(&mut self, message: &str) {
        self.interruption = Some(message.to_owned());
    }

    /// Runs a full collection. Finalizers of what died run with the next Lua code.
    pub fn collect(&mut self) {
        self.cycle();
        self.enter(|context| {
            // SAFETY: a look at the length.
            let waiting = unsafe { !(*context.root().doomed.get()).is_empty() };
            if waiting && !context.root().finalizing.get() {
                context.accounting().ask_for_cycle();
            }
        });
    }

    /// A cycle; how often it visited entries of weak tables beyond the first time.
    fn cycle(&mut self) -> usize {
        self.cycles += 1;
        let visits = collect(&mut self.arena);
        self.enter(|context| {
            let mut next = Some(context.registered().current);
            while let Some(coroutine) = next {
                next = coroutine.shrink(context);
            }
        });
        visits
    }

    /// Nominal bytes in use, at the peak, and the limit.
    pub fn heap_bytes(&self) -> HeapBytes {
        self.enter(|context| {
            let accounting = context.accounting();
            HeapBytes {
                used: accounting.used(),
                peak: accounting.peak(),
                limit: accounting.limit(),
                cycles: self.cycles,
            }
        })
    }

    /// Chooses between the collector's two modes (manual §2.5), as `collectgarbage` does. A new VM is in the incremental one.
    pub fn set_generational(&self, is_generational: bool) {
        self.enter(|context| {
            context.accounting().set_generational(is_generational);
        });
    }

    /// Changes the heap limit, in nominal bytes.
    pub fn set_heap_limit(&self, limit: usize) {
        self.enter(|context| context.accounting().set_limit(limit));
    }
}

/// What the heap holds; sizes in nominal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapBytes {
    pub used: usize,
    pub peak: usize,
    pub limit: usize,
    /// Collections so far.
    pub cycles: u64,
}

fn bottom_values<'gc>(context: Context<'gc>, count: usize) -> Vec<Value<'gc>> {
    let main = context.registered().main;
    // SAFETY: a copy of values; nothing runs meanwhile.
    let stack = unsafe { &(*main.state_ptr()).stack };
    stack.iter().take(count).copied().collect()
}

fn bottom_value<'gc>(context: Context<'gc>, slot: usize) -> Value<'gc> {
    let main = context.registered().main;
    // SAFETY: as above.
    let stack = unsafe { &(*main.state_ptr()).stack };
    stack.get(slot).copied().unwrap_or(Value::Nil)
}

/// Empties a coroutine.
fn reset(coroutine: Coroutine<'_>) {
    coroutine.close_upvalues(0);
    // SAFETY: nothing else refers to the state here.
    let state = unsafe { &mut *coroutine.state_ptr() };
    state.frames.clear();
    state.to_close.clear();
    state.stack.fill(Value::Nil);
    state.status = Status::Suspended;
    state.transfer = 0;
    state.unyieldable = 0;
    state.handlers = 0;
    state.native_calls = 0;
    state.native_calls_below = NATIVE_CALLS_BELOW_RUN;
    state.hook.suspensions = 0;
    state.is_traced = state.hook.is_active();
    state.resumer = None;
    state.failure = Value::Nil;
}

impl<'gc> Machine<'gc> {
    /// What has to happen before Lua code goes on after a collection: the limit is enforced, finalizers run.
    fn begin_slice(&mut self, collected: bool, interruption: &mut Option<String>) -> Flow {
        // Lua code takes the error. A native function that calls others may be what deals with one already, and allocations that matter
        // ask for themselves; after it, the error comes at the next safe point.
        let in_lua = matches!(self.state().frames.last(), Some(frame) if matches!(frame.callee, Callee::Lua(_)));
        let is_full = collected && in_lua && self.context.accounting().over_limit() && !self.memory_retry;
        // Dead objects take memory until their finalizers have run. So those come first; then code that allocates comes here again.
        if is_full && !self.start_finalizers(false) {
            self.memory_retry = true;
            return self.throw(Error::OutOfMemory);
        }
        if let Callee::Lua(_) = self.top_frame().callee
            && let Some(message) = interruption.take()
        {
            return self.throw_interruption(&message);
        }
        // A native function that is tried again with more memory has not begun. After finalizers, another collection may give it more.
        if collected && self.start_finalizers(true) {
            self.memory_retry = false;
        }
        Flow::Enter
    }
}
