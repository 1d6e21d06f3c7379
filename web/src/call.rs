//! Calls of global functions, which cross once when they are short.

use cu_persist::from_document;
use cu_storage::Document;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Error, Result};
use crate::instance::{Instance, Run, START_BYTES, decode_args, functions, status, value_error};
use crate::plain::{self, Elements};

#[wasm_bindgen]
impl Instance {
    /// Calls a global function and runs it for about this much fuel; `request` is an array, its name and the arguments. Gives the
    /// values, an array, when it has finished by then: short calls cross once. Otherwise [`Self::step`] goes on, or tells that it
    /// has failed. What a call that finishes here prints is dropped.
    pub fn call(&mut self, request: &[u8], fuel: u32) -> Result<Option<Vec<u8>>> {
        let request = decode_args(request)?;
        let Some((Document::String(name), args)) = request.split_first() else {
            return Err(Error::invalid("request", "must begin with a name"));
        };
        if !self.start_at_once(name, args)? {
            let function = self.vm.enter(|context| context.stash(context.globals().get_string(context.string(name))));
            let started = self.start_run(&function, args, None);
            self.vm.enter(|context| context.release(function));
            started?;
        }
        if self.step(fuel)? != status::FINISHED {
            return Ok(None);
        }
        self.take_output();
        self.take_values().map(Some)
    }

    /// The module's memory, in which the exchange buffer lies.
    pub fn memory(&self) -> wasm_bindgen::JsValue {
        wasm_bindgen::memory()
    }

    /// Where the exchange buffer begins, and how long it is, as one array.
    #[wasm_bindgen(js_name = exchangePlace)]
    pub fn exchange_place(&mut self) -> Vec<u32> {
        self.exchange.place()
    }

    /// [`Self::call`] with the request in the exchange buffer. Gives the length of the values, which then lie there; -1 where a
    /// call would give nothing, and -2 when [`Self::take_exchanged`] has the values or the error.
    #[wasm_bindgen(js_name = callExchanged)]
    pub fn call_exchanged(&mut self, length: u32, fuel: u32) -> i32 {
        let mut exchange = std::mem::take(&mut self.exchange);
        let answer = match self.start_plain(exchange.request(length)) {
            true => self.run_plain(exchange.room(), fuel),
            false => self.call(exchange.request(length), fuel).map(|values| values.map(Answer::Bytes)),
        };
        self.exchange = exchange;
        match answer {
            Ok(Some(Answer::Written(length))) => length,
            Ok(Some(Answer::Bytes(bytes))) => self.exchange.answer(Ok(Some(bytes))),
            Ok(None) => self.exchange.answer(Ok(None)),
            Err(error) => self.exchange.answer(Err(error)),
        }
    }

    /// What the last call through the exchange buffer could not leave there.
    #[wasm_bindgen(js_name = takeExchanged)]
    pub fn take_exchanged(&mut self) -> Result<Vec<u8>> {
        self.exchange.take()
    }
}

/// So many plain arguments are passed on directly: room to start a run ([`START_BYTES`]) is room for their strings, too.
const PLAIN_MAX: usize = 16;

/// The values of a call.
enum Answer {
    Bytes(Vec<u8>),
    /// They are in the buffer, so many bytes.
    Written(i32),
}

impl Instance {
    /// Starts a call with plain arguments, if there is room for it without a collection; whether it did.
    fn start_plain(&mut self, request: &[u8]) -> bool {
        let heap = self.vm.heap_bytes();
        if heap.used.saturating_add(START_BYTES) > heap.limit {
            return false;
        }
        let Some(mut arguments) = Elements::new(request) else { return false };
        let Some(name) = arguments.string() else { return false };
        if name.len() > plain::STRING_MAX || arguments.len() > PLAIN_MAX || !arguments.are_plain() {
            return false;
        }
        let started = self.vm.start(|context| {
            let function = context.globals().get_string(context.string(name));
            (function, arguments.values(context).unwrap_or_default())
        });
        if started.is_ok() {
            self.run = Run::Running(None);
        }
        started.is_ok()
    }

    /// Runs what [`Self::start_plain`] has started, as [`Self::call`] does.
    fn run_plain(&mut self, room: &mut [u8], fuel: u32) -> Result<Option<Answer>> {
        if self.step(fuel)? != status::FINISHED {
            return Ok(None);
        }
        self.take_output();
        match self.vm.take_results(|_, values| plain::write(room, values.iter().copied())) {
            Some(length) => {
                self.run = Run::None;
                self.vm.abort();
                Ok(Some(Answer::Written(length as i32)))
            }
            None => self.take_values().map(|values| Some(Answer::Bytes(values))),
        }
    }

    /// Starts a call of a global function, if there is room for it without a collection; whether there was.
    fn start_at_once(&mut self, name: &[u8], args: &[Document]) -> Result<bool> {
        let heap = self.vm.heap_bytes();
        if heap.used.saturating_add(START_BYTES) > heap.limit {
            return Ok(false);
        }
        let mut failure = None;
        self.vm.start(|context| {
            let function = context.globals().get_string(context.string(name));
            let values = args.iter().map(|arg| from_document(context, arg, &functions()));
            let values = values.collect::<cu_persist::Result<Vec<_>>>();
            (function, values.map_err(|error| failure = Some(value_error(error))).unwrap_or_default())
        })?;
        match failure {
            None => {
                self.run = Run::Running(None);
                return Ok(true);
            }
            Some(Error::OutOfMemory) => self.vm.abort(),
            Some(error) => {
                self.vm.abort();
                return Err(error);
            }
        }
        Ok(false)
    }
}
