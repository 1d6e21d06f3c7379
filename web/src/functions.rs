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
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Error, Result};
use crate::instance::{Instance, decode_args, functions, globals, value_error};
use crate::plain::{self, Elements};

const BUFFER_BYTES: usize = 2048;

/// What the page answers instead of a length; see `Host` in `web/ts/host.ts`.
const WAIT: i32 = -1;
/// The answer is too long for the buffer: [`Dispatcher::take`] gives it.
const LONG: i32 = -2;
/// Lengths of errors are counted down from here.
const ERROR: i32 = -3;

#[wasm_bindgen]
extern "C" {
    /// The page's side of calls: `Host` in `web/ts/host.ts`.
    pub type Dispatcher;

    /// Calls a function of the page; never throws.
    #[wasm_bindgen(method)]
    fn dispatch(this: &Dispatcher, address: u32, length: u32) -> i32;

    /// The answer that did not fit into the buffer.
    #[wasm_bindgen(method)]
    fn take(this: &Dispatcher) -> Vec<u8>;
}

/// The functions of one instance's page.
#[derive(Clone, Default)]
pub struct PageFunctions(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// Names with their numbers, ordered.
    names: RefCell<Vec<(Vec<u8>, u32)>>,
    dispatcher: RefCell<Option<Dispatcher>>,
    buffer: RefCell<Vec<u8>>,
    /// An answer for which the heap had no room.
    left: RefCell<Option<Vec<Document>>>,
    /// The run waits for the page.
    waits: Cell<bool>,
}

impl PageFunctions {
    pub fn call<'gc>(&self, context: Context<'gc>, name: &[u8], args: &[Value<'gc>]) -> Answer<'gc> {
        let number = self.number(name);
        let (Some(number), Some(dispatcher)) = (number, &*self.0.dispatcher.borrow()) else { return Answer::Unknown };
        let answer = match self.ask_plainly(dispatcher, number, args) {
            Some(answer) => Ok(answer),
            None => request(context, number, args).map(|request| self.ask(dispatcher, &request)),
        };
        let answer = match answer {
            Ok(WAIT) => {
                self.0.waits.set(true);
                return Answer::Wait;
            }
            Ok(answer) => answer,
            Err(error) => return thrown(context, &error),
        };
        if let Some(values) = self.plain_answer(context, answer) {
            return Answer::Return(values);
        }
        let (documents, is_error) = match self.answer(dispatcher, answer) {
            Ok(documents) => (documents, answer <= ERROR),
            Err(error) => return thrown(context, &error),
        };
        match values(context, &documents) {
            Ok(values) if is_error => Answer::Throw(values.first().copied().unwrap_or(Value::Nil)),
            Ok(values) => Answer::Return(values),
            Err(Error::OutOfMemory) if !is_error => {
                *self.0.left.borrow_mut() = Some(documents);
                Answer::Wait
            }
            Err(error) => thrown(context, &error),
        }
    }

    fn number(&self, name: &[u8]) -> Option<u32> {
        let names = self.0.names.borrow();
        let place = names.binary_search_by(|(known, _)| known.as_slice().cmp(name)).ok()?;
        names.get(place).map(|(_, number)| *number)
    }

    /// What the page answers to a call with plain arguments; `None` if there are others.
    fn ask_plainly(&self, dispatcher: &Dispatcher, number: u32, args: &[Value<'_>]) -> Option<i32> {
        let number = Value::Integer(number.into());
        let request = (0..args.len() + 1).map(|index| if index == 0 { number } else { args[index - 1] });
        let length = plain::write(&mut self.0.buffer.borrow_mut(), request)?;
        pay_for_bytes(length);
        Some(dispatcher.dispatch(0, length as u32))
    }

    /// What the page answers to a call.
    fn ask(&self, dispatcher: &Dispatcher, request: &[u8]) -> i32 {
        // A short call lies where the page looks anyway.
        let address = match self.0.buffer.borrow_mut().get_mut(..request.len()) {
            Some(place) => {
                place.copy_from_slice(request);
                0
            }
            None => request.as_ptr().addr(),
        };
        dispatcher.dispatch(address as u32, request.len() as u32)
    }

    /// The values in the buffer, if the answer says that there are some, and they are plain.
    fn plain_answer<'gc>(&self, context: Context<'gc>, answer: i32) -> Option<Vec<Value<'gc>>> {
        let length = usize::try_from(answer).ok()?;
        let buffer = self.0.buffer.borrow();
        let values = Elements::new(buffer.get(..length)?)?.values(context)?;
        pay_for_bytes(length);
        Some(values)
    }

    /// The page's answer, or its error.
    fn answer(&self, dispatcher: &Dispatcher, answer: i32) -> Result<Vec<Document>> {
        let decode = |bytes: &[u8]| {
            pay_for_bytes(bytes.len());
            decode_args(bytes)
        };
        if answer == LONG {
            return decode(&dispatcher.take());
        }
        let length = if answer < 0 { ERROR - answer } else { answer };
        decode(self.0.buffer.borrow().get(..length as usize).unwrap_or_default())
    }
}

fn thrown<'gc>(context: Context<'gc>, error: &Error) -> Answer<'gc> {
    Answer::Throw(Value::String(context.string(error.to_string().as_bytes())))
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
    /// Has the page's functions called by `dispatcher`, with the address (0 for the buffer) and length of a call. Gives address and length of the
    /// buffer.
    #[wasm_bindgen(js_name = connectFunctions)]
    pub fn connect_functions(&mut self, dispatcher: Dispatcher) -> Vec<u32> {
        let shared = &self.page.0;
        *shared.dispatcher.borrow_mut() = Some(dispatcher);
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
