//! Calls of global functions, which cross once when they are short.

use cu_persist::from_document;
use cu_storage::Document;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Error, Result};
use crate::instance::{Instance, Run, START_BYTES, decode_args, functions, status, value_error};

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
        let exchange = std::mem::take(&mut self.exchange);
        let values = self.call(exchange.request(length), fuel);
        self.exchange = exchange;
        self.exchange.answer(values)
    }

    /// What the last call through the exchange buffer could not leave there.
    #[wasm_bindgen(js_name = takeExchanged)]
    pub fn take_exchanged(&mut self) -> Result<Vec<u8>> {
        self.exchange.take()
    }
}

impl Instance {
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
