//! What Lua code gets from the page: a buffer for its output, the console for its warnings and standard errors, the time, and,
//! if the page gives them, variables of an environment and files in memory. Without files there are no `io` and no functions that need it.

use std::cell::RefCell;
use std::rc::Rc;

use cu_vm::{Answer, Context, Files, MemoryFiles, Value};
use js_sys::{Date, Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::functions::PageFunctions;

/// What was printed and not yet taken. Shared between the VM, which owns the host, and the instance.
pub type Output = Rc<RefCell<Vec<u8>>>;

/// The host of one instance.
pub struct PageHost {
    output: Output,
    /// Milliseconds since 1970 at which the clock stands still.
    now: Option<f64>,
    stopwatch: Stopwatch,
    environment: Environment,
    files: Option<MemoryFiles>,
    functions: PageFunctions,
}

/// Variables with their values.
pub type Environment = Vec<(Vec<u8>, Vec<u8>)>;

/// Counts milliseconds from its start: `performance.now` where there is one, otherwise the wall clock.
struct Stopwatch {
    performance: Option<(JsValue, Function)>,
    started: f64,
}

impl PageHost {
    /// `files` write to the same output.
    pub fn new(
        output: Output,
        now: Option<f64>,
        environment: Environment,
        files: Option<MemoryFiles>,
        functions: PageFunctions,
    ) -> PageHost {
        PageHost { output, now, stopwatch: Stopwatch::start(), environment, files, functions }
    }
}

/// Shows what was written to the standard error stream in the console.
pub fn show_errors(files: &MemoryFiles) {
    let text = files.errors().take();
    if !text.is_empty() {
        web_sys::console::error_1(&JsValue::from_str(String::from_utf8_lossy(&text).trim_end_matches('\n')));
    }
}

impl cu_vm::Host for PageHost {
    fn write(&mut self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    fn warn(&mut self, message: &[u8]) {
        let text = format!("Lua warning: {}", String::from_utf8_lossy(message));
        web_sys::console::warn_1(&JsValue::from_str(&text));
    }

    fn time(&mut self) -> Option<i64> {
        Some((self.now.unwrap_or_else(Date::now) / 1000.0).floor() as i64)
    }

    fn clock(&mut self) -> Option<f64> {
        Some(match self.now {
            Some(_) => 0.0,
            None => self.stopwatch.elapsed() / 1000.0,
        })
    }

    fn call<'gc>(&mut self, context: Context<'gc>, name: &[u8], args: &[Value<'gc>]) -> Answer<'gc> {
        self.functions.call(context, name, args)
    }

    fn environment(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.environment.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        self.files.as_mut().map(|files| files as &mut dyn Files)
    }
}

impl Stopwatch {
    fn start() -> Stopwatch {
        let mut stopwatch = Stopwatch { performance: performance(), started: 0.0 };
        stopwatch.started = stopwatch.milliseconds();
        stopwatch
    }

    fn elapsed(&self) -> f64 {
        self.milliseconds() - self.started
    }

    fn milliseconds(&self) -> f64 {
        self.performance
            .as_ref()
            .and_then(|(performance, now)| now.call0(performance).ok()?.as_f64())
            .unwrap_or_else(Date::now)
    }
}

fn performance() -> Option<(JsValue, Function)> {
    let performance = Reflect::get(&js_sys::global(), &JsValue::from_str("performance")).ok()?;
    let now = Reflect::get(&performance, &JsValue::from_str("now")).ok()?.dyn_into().ok()?;
    Some((performance, now))
}
