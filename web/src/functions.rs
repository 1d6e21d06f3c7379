//! Functions of the page that Lua code calls.
//!
//! A call crosses once each way: an array of the function's number and its arguments lies in a buffer in wasm memory, or elsewhere there if
//! it is long, and the page leaves its answer, an array of values, in the same buffer. What a promise gives comes later, by
//! [`Instance::answer`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use cu_persist::{from_document, to_document};
use cu_storage::Document;
use cu_vm::{Answer, Context, Value, pay_for_bytes};
use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Error, Result};
use crate::instance::{Instance, decode_args, functions, globals, value_error};

const BUFFER_BYTES: usize = 2048;

/// What the page answers instead of a length; see `HostFunctions` in `web/ts/host.ts`.
const WAIT: f64 = -1.0;
/// Lengths of errors are counted down from here.
const ERROR: f64 = -2.0;

/// The functions of one instance's page.
#[derive(Clone, Default)]
pub struct PageFunctions(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// Names with their numbers, ordered.
    names: RefCell<Vec<(Vec<u8>, u32)>>,
    dispatch: RefCell<Option<Function>>,
    buffer: RefCell<Vec<u8>>,
    /// An answer for which the heap had no room.
    left: RefCell<Option<Vec<Document>>>,
    /// The run waits for the page.
    waits: Cell<bool>,
}

impl PageFunctions {
    pub fn call<'gc>(&self, context: Context<'gc>, name: &[u8], args: &[Value<'gc>]) -> Answer<'gc> {
        let number = self.number(name);
        let (Some(number), Some(dispatch)) = (number, &*self.0.dispatch.borrow()) else { return Answer::Unknown };
        let answer = request(context, number, args).and_then(|request| self.ask(dispatch, &request));
        let (documents, is_error) = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                self.0.waits.set(true);
                return Answer::Wait;
            }
            Err(error) => return Answer::Throw(Value::String(context.string(error.to_string().as_bytes()))),
        };
        match values(context, &documents) {
            Ok(values) if is_error => Answer::Throw(values.first().copied().unwrap_or(Value::Nil)),
            Ok(values) => Answer::Return(values),
            Err(Error::OutOfMemory) if !is_error => {
                *self.0.left.borrow_mut() = Some(documents);
                Answer::Wait
            }
            Err(error) => Answer::Throw(Value::String(context.string(error.to_string().as_bytes()))),
        }
    }

    fn number(&self, name: &[u8]) -> Option<u32> {
        let names = self.0.names.borrow();
        let place = names.binary_search_by(|(known, _)| known.as_slice().cmp(name)).ok()?;
        names.get(place).map(|(_, number)| *number)
    }

    /// The page's answer, and whether it is an error; nothing if it comes later.
    fn ask(&self, dispatch: &Function, request: &[u8]) -> Result<Option<(Vec<Document>, bool)>> {
        // A short call lies where the page looks anyway.
        let address = match self.0.buffer.borrow_mut().get_mut(..request.len()) {
            Some(place) => {
                place.copy_from_slice(request);
                0
            }
            None => request.as_ptr().addr(),
        };
        let place = JsValue::from_f64(address as f64);
        let answer = dispatch.call2(&JsValue::UNDEFINED, &place, &JsValue::from_f64(request.len() as f64));
        let answer = answer.map_err(|_| Error::invalid("host function", "could not be called"))?;
        let decode = |bytes: &[u8]| {
            pay_for_bytes(bytes.len());
            decode_args(bytes)
        };
        let Some(length) = answer.as_f64() else {
            let bytes: Uint8Array = answer.dyn_into().map_err(|_| Error::invalid("answer", "is no bytes"))?;
            return Ok(Some((decode(&bytes.to_vec())?, false)));
        };
        if length == WAIT {
            return Ok(None);
        }
        let is_error = length < 0.0;
        let length = if is_error { ERROR - length } else { length } as usize;
        let buffer = self.0.buffer.borrow();
        Ok(Some((decode(buffer.get(..length).unwrap_or_default())?, is_error)))
    }
}

/// A call as the page reads it.
fn request<'gc>(context: Context<'gc>, number: u32, args: &[Value<'gc>]) -> Result<Vec<u8>> {
    let mut request = Vec::with_capacity(args.len() + 1);
    request.push(Document::Integer(i64::from(number)));
    for (index, arg) in args.iter().enumerate() {
        request.push(match arg {
            Value::Nil => Document::Nil,
            Value::Boolean(value) => Document::Boolean(*value),
            Value::Integer(value) => Document::Integer(*value),
            Value::Float(value) => Document::Float(*value),
            // The path is for what can fail.
            _ => to_document(context, &format!("argument {}", index + 1), *arg, &functions()).map_err(value_error)?,
        });
    }
    let bytes = Document::Array(request).encode()?;
    pay_for_bytes(bytes.len());
    Ok(bytes)
}

fn values<'gc>(context: Context<'gc>, documents: &[Document]) -> Result<Vec<Value<'gc>>> {
    documents.iter().map(|document| from_document(context, document, &functions()).map_err(value_error)).collect()
}

#[wasm_bindgen]
impl Instance {
    /// Has `dispatch` called for functions of the page, with the address (0 for the buffer) and length of a call. Gives address and length of the
    /// buffer.
    #[wasm_bindgen(js_name = connectFunctions)]
    pub fn connect_functions(&mut self, dispatch: Function) -> Vec<u32> {
        let shared = &self.page.0;
        *shared.dispatch.borrow_mut() = Some(dispatch);
        let mut buffer = shared.buffer.borrow_mut();
        buffer.resize(BUFFER_BYTES, 0);
        vec![buffer.as_ptr().addr() as u32, BUFFER_BYTES as u32]
    }

    /// Makes known that the page has the function `name`, as number `number`.
    #[wasm_bindgen(js_name = addFunction)]
    pub fn add_function(&mut self, name: &str, number: u32) {
        let mut names = self.page.0.names.borrow_mut();
        match names.binary_search_by(|(known, _)| known.as_slice().cmp(name.as_bytes())) {
            Ok(place) => names[place].1 = number,
            Err(place) => names.insert(place, (name.as_bytes().to_vec(), number)),
        }
    }

    /// Sets a global variable to the function `name` of the page, or, where `path` (an array) has more than one name, a field in tables
    /// from a global one on.
    #[wasm_bindgen(js_name = setFunction)]
    pub fn set_function(&mut self, path: &[u8], name: &str) -> Result<()> {
        let path = decode_args(path)?;
        let sandbox = self.sandbox.take();
        self.with_memory(|context| {
            let path = values(context, &path)?;
            let Some((last, tables)) = path.split_last() else { return Ok(()) };
            let mut table = globals(context, &sandbox)?;
            for key in tables {
                let Value::Table(next) = table.get(*key) else {
                    return Err(Error::invalid("name", "leads through a value that is no table"));
                };
                table = next;
            }
            let function = Value::Native(context.host_function(name.as_bytes()));
            table.set(context, *last, function).map_err(|_| Error::OutOfMemory)
        })
    }

    /// Answers the call that the run waits for: with an array of values, or of one error.
    pub fn answer(&mut self, answer: &[u8], is_error: bool) -> Result<()> {
        let documents = decode_args(answer)?;
        pay_for_bytes(answer.len());
        self.answer_with(&documents, is_error)
    }
}

impl Instance {
    /// Whether the run waits for the page.
    pub(crate) fn waits(&self) -> bool {
        self.page.0.waits.get()
    }

    pub(crate) fn stop_waiting(&self) {
        self.page.0.waits.set(false);
        *self.page.0.left.borrow_mut() = None;
    }

    /// Answers a call with what the page has answered already; whether there was such a call.
    pub(crate) fn answer_left(&mut self) -> Result<bool> {
        let left = self.page.0.left.borrow_mut().take();
        let Some(documents) = left else { return Ok(false) };
        self.answer_with(&documents, false)?;
        Ok(true)
    }

    fn answer_with(&mut self, documents: &[Document], is_error: bool) -> Result<()> {
        for attempt in 0..2 {
            let answered = self.vm.answer(|context| match values(context, documents) {
                Ok(values) if is_error => Ok(Err(values.first().copied().unwrap_or(Value::Nil))),
                Ok(values) => Ok(Ok(values)),
                Err(Error::OutOfMemory) if attempt == 0 => Err(Error::OutOfMemory),
                Err(error) => Ok(Err(Value::String(context.string(error.to_string().as_bytes())))),
            });
            match answered {
                Err(Error::OutOfMemory) => self.vm.collect(),
                other => {
                    self.page.0.waits.set(false);
                    return other;
                }
            }
        }
        Ok(())
    }
}
