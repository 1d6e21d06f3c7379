//! A connection to an IndexedDB database: opening it without ever hanging, and giving it up when another tab asks.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, IdbDatabase, IdbFactory, IdbOpenDbRequest};

use super::transaction::{backend_error, describe};
use super::{LOG, META, PAGES};
use crate::error::{Error, Result};

/// The version of the object stores' layout.
const VERSION: u32 = 1;

/// An opening that has not been answered in this time counts as blocked. IndexedDB tells nothing while an earlier request for
/// the same database (its deletion, say) waits for a tab that does not close.
const PATIENCE_MS: i32 = 10_000;

#[wasm_bindgen]
extern "C" {
    /// The timer of the global scope, window or worker.
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(handler: &Function, milliseconds: i32) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
}

/// An open connection. Dropping it closes it when its transactions are over.
pub struct Connection {
    database: IdbDatabase,
    lost: Rc<Cell<bool>>,
    _on_end: Closure<dyn FnMut(Event)>,
}

impl Connection {
    /// Opens the database, making its stores if it is new.
    pub async fn open(name: &str) -> Result<Connection> {
        let request = factory()?.open_with_u32(name, VERSION).map_err(|thrown| open_error(&thrown))?;
        let upgrade = on_upgrade(&request);
        match answer(&request).await {
            Answer::Success => {
                let database = request.result().map_err(|thrown| open_error(&thrown))?;
                Ok(Connection::new(database.unchecked_into()))
            }
            Answer::Failure => {
                let error = request.error().ok().flatten().map_or(JsValue::UNDEFINED, JsValue::from);
                if describe(&error).0 == "VersionError" {
                    return Err(newer_version(name).await);
                }
                Err(open_error(&error))
            }
            Answer::Blocked => {
                // The request lives on. When it succeeds later, its connection must not stand in anybody's way.
                upgrade.forget();
                let close = move |event: Event| {
                    if let Some(database) = database_of(&event) {
                        database.close();
                    }
                };
                let close = Closure::once_into_js(close);
                request.set_onsuccess(Some(close.unchecked_ref()));
                Err(Error::Blocked)
            }
        }
    }

    fn new(database: IdbDatabase) -> Connection {
        let lost = Rc::new(Cell::new(false));
        let on_end = Closure::new({
            let (database, lost) = (database.clone(), lost.clone());
            move |_: Event| {
                lost.set(true);
                database.close();
            }
        });
        // `versionchange`: another tab wants a newer version or to delete the database, and waits for this connection.
        // `close`: the browser has closed it.
        let handler: &Function = on_end.as_ref().unchecked_ref();
        database.set_onversionchange(Some(handler));
        database.set_onclose(Some(handler));
        Connection { database, lost, _on_end: on_end }
    }

    pub fn database(&self) -> &IdbDatabase {
        &self.database
    }

    /// Whether it is closed or of no more use.
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    pub fn give_up(&self) {
        self.lost.set(true);
        self.database.close();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The handler's closure goes with this value.
        self.database.set_onversionchange(None);
        self.database.set_onclose(None);
        self.database.close();
    }
}

/// The error that says which version the stores have.
async fn newer_version(name: &str) -> Error {
    // Opening without a version opens what is there.
    let found = async {
        let request = factory().ok()?.open(name).ok()?;
        let Answer::Success = answer(&request).await else {
            return None;
        };
        let database: IdbDatabase = request.result().ok()?.unchecked_into();
        database.close();
        Some(database.version() as u32)
    };
    let found = found.await.unwrap_or(VERSION + 1);
    cu_storage::Error::NewerVersion { found, supported: VERSION }.into()
}

enum Answer {
    Success,
    Failure,
    Blocked,
}

/// Waits for the first answer to a request to open.
async fn answer(request: &IdbOpenDbRequest) -> Answer {
    let mut timer = JsValue::UNDEFINED;
    let promise = Promise::new(&mut |resolve, reject| {
        request.set_onsuccess(Some(&resolve));
        request.set_onblocked(Some(&resolve));
        request.set_onerror(Some(&reject));
        timer = set_timeout(&resolve, PATIENCE_MS);
    });
    let answer = match JsFuture::from(promise).await {
        Ok(event) => match event.dyn_ref::<Event>() {
            Some(event) if event.type_() == "success" => Answer::Success,
            // `blocked`, or no event because time is up.
            _ => Answer::Blocked,
        },
        Err(_) => Answer::Failure,
    };
    clear_timeout(&timer);
    answer
}

/// Has the stores made when the database is new.
fn on_upgrade(request: &IdbOpenDbRequest) -> Closure<dyn FnMut(Event)> {
    let upgrade = Closure::new(|event: Event| {
        if let Some(database) = database_of(&event) {
            for store in [META, LOG, PAGES] {
                // A store that cannot be made fails the upgrade, and the request with it.
                let _ = database.create_object_store(store);
            }
        }
    });
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    upgrade
}

/// The database that an event of an opening request is about.
fn database_of(event: &Event) -> Option<IdbDatabase> {
    let request: IdbOpenDbRequest = event.target()?.unchecked_into();
    Some(request.result().ok()?.unchecked_into())
}

/// The global `indexedDB`. Some browsers refuse it with an exception, some hide it.
fn factory() -> Result<IdbFactory> {
    let factory = Reflect::get(&js_sys::global(), &JsValue::from_str("indexedDB"))
        .map_err(|thrown| Error::Unavailable(describe(&thrown).1))?;
    if factory.is_undefined() || factory.is_null() {
        return Err(Error::Unavailable("it is missing here".to_owned()));
    }
    Ok(factory.unchecked_into())
}

/// Why opening failed.
fn open_error(thrown: &JsValue) -> Error {
    let (name, message) = describe(thrown);
    match name.as_str() {
        // Refused by settings, in a sandboxed frame, or in a private window.
        "SecurityError" | "NotAllowedError" | "InvalidStateError" | "NotSupportedError" => Error::Unavailable(message),
        _ => backend_error(thrown.clone()).into(),
    }
}
