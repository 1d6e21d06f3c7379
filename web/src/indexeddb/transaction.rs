//! One IndexedDB transaction: making it, waiting for its end, and why it failed.
//!
//! `complete` and `abort` are the only ends, and one of them comes for certain; what a writing request says before that is
//! not final. JavaScript's resolve and reject functions are the event handlers, so that no Rust closure can outlive its
//! caller or be lost with it.

use cu_storage::Error;
use js_sys::{Array, Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DomException, IdbDatabase, IdbObjectStore, IdbRequest, IdbTransaction};

use super::Durability;
use super::connection::Connection;

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase`, for its method with options, which web-sys counts as unstable.
    #[wasm_bindgen(extends = IdbDatabase)]
    type Durable;

    /// `IDBTransaction`, for its method that web-sys lists as deprecated.
    #[wasm_bindgen(extends = IdbTransaction)]
    type Committing;

    #[wasm_bindgen(method, catch)]
    fn commit(this: &Committing) -> Result<(), JsValue>;

    /// Browsers that do not know the options ignore them.
    #[wasm_bindgen(method, catch)]
    fn transaction(this: &Durable, stores: &Array, mode: &str, options: &JsValue) -> Result<IdbTransaction, JsValue>;
}

#[derive(Clone, Copy)]
pub enum Mode {
    Read,
    Write(Durability),
}

/// Requests that were made, or the exception that making one threw.
pub type Requested<T> = Result<T, JsValue>;

pub struct Transaction {
    transaction: IdbTransaction,
    /// Ready at `complete` or `abort`.
    end: JsFuture,
}

impl Transaction {
    /// Begins a transaction. `ConnectionLost` means that nothing was begun.
    pub fn begin(connection: &Connection, stores: &[&str], mode: Mode) -> Result<Transaction, Error> {
        let names: Array = stores.iter().map(|store| JsValue::from_str(store)).collect();
        let database: &Durable = connection.database().unchecked_ref();
        let (mode, durability) = match mode {
            Mode::Read => ("readonly", "default"),
            Mode::Write(Durability::Strict) => ("readwrite", "strict"),
            Mode::Write(Durability::Relaxed) => ("readwrite", "relaxed"),
        };
        let transaction = database.transaction(&names, mode, &options(durability)).map_err(backend_error)?;
        let promise = Promise::new(&mut |resolve, reject| {
            transaction.set_oncomplete(Some(&resolve));
            transaction.set_onabort(Some(&reject));
        });
        Ok(Transaction { transaction, end: JsFuture::from(promise) })
    }

    pub fn store(&self, name: &str) -> Result<IdbObjectStore, JsValue> {
        self.transaction.object_store(name)
    }

    /// Makes the transaction's requests. If one throws, the transaction is aborted.
    pub fn request<T>(&self, make: impl FnOnce(&Transaction) -> Requested<T>) -> Requested<T> {
        let requests = make(self);
        if requests.is_err() {
            // Fails only on a transaction that has ended already.
            let _ = self.transaction.abort();
        }
        requests
    }

    /// Waits for the end and gives the requests, all of which are answered then.
    pub async fn complete<T>(self, requests: Requested<T>) -> Result<T, Error> {
        if requests.is_ok() {
            // No more requests will come. Browsers that do not know the method find out by themselves.
            let _ = self.transaction.unchecked_ref::<Committing>().commit();
        }
        self.ended(requests).await
    }

    /// Waits for the answer to `last`, with which all requests before it are answered too. Enough for a transaction that
    /// only reads.
    pub async fn answered<T>(self, requests: Requested<T>, last: impl FnOnce(&T) -> &IdbRequest) -> Result<T, Error> {
        match requests {
            Ok(requests) if answered(last(&requests)).await => Ok(requests),
            requests => self.ended(requests).await,
        }
    }

    async fn ended<T>(self, requests: Requested<T>) -> Result<T, Error> {
        let end = self.end.await;
        match (end, requests) {
            (Ok(_), Ok(requests)) => Ok(requests),
            // The transaction's own reason comes first: what a request throws after an abort is only its consequence.
            (_, requests) => Err(match (self.transaction.error(), requests) {
                (Some(error), _) => backend_error(error.into()),
                (None, Err(thrown)) => backend_error(thrown),
                // Nobody here aborted it and nothing failed in it, so the browser ended it with its connection.
                (None, Ok(_)) => Error::ConnectionLost,
            }),
        }
    }

    /// Undoes all and waits until that is done.
    pub async fn abort<T>(self, reason: Error) -> Result<T, Error> {
        let _ = self.transaction.abort();
        let _ = self.end.await;
        Err(reason)
    }
}

/// Waits for a request's answer; whether it succeeded.
pub async fn answered(request: &IdbRequest) -> bool {
    let promise = Promise::new(&mut |resolve: Function, reject: Function| {
        request.set_onsuccess(Some(&resolve));
        request.set_onerror(Some(&reject));
    });
    JsFuture::from(promise).await.is_ok()
}

fn options(durability: &str) -> JsValue {
    let options = js_sys::Object::new();
    // Setting a property of a new, ordinary object does not fail.
    let _ = js_sys::Reflect::set(&options, &JsValue::from_str("durability"), &JsValue::from_str(durability));
    options.into()
}

/// What IndexedDB throws or reports, in the engine's terms.
pub fn backend_error(thrown: JsValue) -> Error {
    let (name, message) = describe(&thrown);
    match name.as_str() {
        "QuotaExceededError" => Error::Quota,
        // The connection is closed or closing; Safari tells of its lost storage process in the message alone.
        "InvalidStateError" => Error::ConnectionLost,
        _ if message.contains("Connection to Indexed Database server lost") => Error::ConnectionLost,
        "AbortError" => Error::ConnectionLost,
        _ => Error::Backend(format!("{name}: {message}")),
    }
}

/// Name and message of an exception.
pub fn describe(thrown: &JsValue) -> (String, String) {
    if let Some(exception) = thrown.dyn_ref::<DomException>() {
        return (exception.name(), exception.message());
    }
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => (error.name().into(), error.message().into()),
        None => ("Error".to_owned(), thrown.as_string().unwrap_or_default()),
    }
}
