//! External tables in a page: the storage engine is another module, so requests go to TypeScript as bytes, and what takes a while is
//! answered later by [`Instance::answer_tables`].

use std::cell::RefCell;
use std::rc::Rc;

use cu_persist::{Access, External, ExternalOptions, RemoteHost, RemoteRequest, RemoteTables};
use cu_vm::image::UserdataCodec;
use cu_vm::{NativeDefinition, Vm};
use js_sys::{Error as JsError, Function, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Error, Result};
use crate::instance::{Instance, functions};
use crate::options::Options;

/// Questions beside the [`RemoteRequest`]s: whether the run may look at a table, and whether it may change it.
const MAY_READ: u32 = 8;
const MAY_WRITE: u32 = 9;

/// The function that TypeScript answers with, once there is one.
#[derive(Default)]
pub struct Page(RefCell<Option<Function>>);

/// The external tables of a state.
pub struct Tables {
    remote: Rc<RemoteTables<Page>>,
    external: External,
}

impl Tables {
    /// Tables of a page that has not said yet where they are.
    pub fn new() -> Tables {
        let remote = RemoteTables::new(Page::default());
        let page = remote.clone();
        let access = move |name: &str, access| {
            let question = if access == Access::Write { MAY_WRITE } else { MAY_READ };
            page.host().ask(question, name, &[]).is_ok_and(|answer| answer.is_truthy())
        };
        let options = ExternalOptions { functions: functions(), access: Some(Box::new(access)) };
        Tables { external: External::new(remote.clone(), options), remote }
    }

    /// Gives a new state the global variable `ext`, if the options say so.
    pub fn open(&self, vm: &Vm, options: &[u8]) -> Result<()> {
        match Options::decode(options)?.choice("tables", &["none", "ext"])? {
            "ext" => Ok(self.external.open(vm)?),
            _ => Ok(()),
        }
    }

    pub fn codec(&self) -> Rc<dyn UserdataCodec> {
        self.external.codec()
    }

    pub fn natives() -> Vec<NativeDefinition> {
        External::natives()
    }

    /// Whether the run waits for an answer.
    pub fn waits(&self) -> bool {
        self.remote.waits()
    }

    /// To be called when a run has ended.
    pub fn end_run(&self) {
        self.external.end_run();
    }
}

impl Page {
    fn ask(&self, question: u32, table: &str, bytes: &[u8]) -> std::result::Result<JsValue, String> {
        let function = self.0.borrow().clone().ok_or("there is no database here")?;
        let bytes = Uint8Array::from(bytes);
        function.call3(&JsValue::UNDEFINED, &question.into(), &table.into(), &bytes).map_err(|thrown| {
            thrown.dyn_ref::<JsError>().map_or_else(String::new, |error| String::from(error.message()))
        })
    }
}

impl RemoteHost for Page {
    fn ask(&self, request: RemoteRequest, table: &str, bytes: &[u8]) -> std::result::Result<Option<Vec<u8>>, String> {
        let answer = self.ask(request as u32, table, bytes)?;
        Ok(answer.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec))
    }
}

#[wasm_bindgen]
impl Instance {
    /// Has `ask` answer what Lua code wants of tables: with a number of [`RemoteRequest`], the table's name and bytes, it gives bytes, or nothing if
    /// [`Self::answer_tables`] follows; with 8 and 9, whether the table may be looked at, and changed.
    #[wasm_bindgen(js_name = connectTables)]
    pub fn connect_tables(&mut self, ask: Function) {
        *self.tables.remote.host().0.borrow_mut() = Some(ask);
    }

    /// Gives a sandbox the global variable `ext`.
    #[wasm_bindgen(js_name = shareTables)]
    pub fn share_tables(&mut self, sandbox: &str) -> Result<()> {
        self.with_memory(|context| {
            let globals = context.sandbox(sandbox).map_err(|_| Error::OutOfMemory)?;
            External::share(context, globals).map_err(|_| Error::OutOfMemory)
        })
    }

    /// Answers the request that the run waits for; of an error the bytes are its text.
    #[wasm_bindgen(js_name = answerTables)]
    pub fn answer_tables(&self, answer: Vec<u8>, is_error: bool) {
        self.tables.remote.answer_with(match is_error {
            true => Err(String::from_utf8_lossy(&answer).into_owned()),
            false => Ok(answer),
        });
    }
}
