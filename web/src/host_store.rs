//! A store that the host brings along: a JavaScript object with one method for each call of [`Backend`], as `Store` in
//! `web/ts/store.ts` describes it. Node's files are one.

use cu_storage::{Backend, BackendFuture, Checkpoint, Error, PageId, Result, Stored};
use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::indexeddb::{backend_error, bytes_of};

#[wasm_bindgen]
extern "C" {
    /// The object. Its methods give promises.
    pub type Store;

    /// An array: root record or undefined, the two counters, and the log records behind.
    #[wasm_bindgen(method, catch)]
    fn load(this: &Store, after: f64) -> std::result::Result<Promise, JsValue>;
    /// An array of pages, undefined for one that is not there; null when the counter is another one.
    #[wasm_bindgen(method, catch, js_name = readPages)]
    fn read_pages(this: &Store, checkpoint: f64, pages: Vec<u32>) -> std::result::Result<Promise, JsValue>;
    /// False, and nothing is stored, when the counter is another one.
    #[wasm_bindgen(method, catch)]
    fn append(this: &Store, expected_sequence: f64, record: Vec<u8>) -> std::result::Result<Promise, JsValue>;
    /// Likewise.
    #[wasm_bindgen(method, catch)]
    fn checkpoint(
        this: &Store,
        expected_checkpoint: f64,
        expected_sequence: f64,
        root: Vec<u8>,
        numbers: Vec<u32>,
        pages: Array,
    ) -> std::result::Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &Store) -> std::result::Result<Promise, JsValue>;
}

/// The object as a backend.
pub struct HostStore(pub Store);

impl Backend for HostStore {
    fn load(&self, after: u64) -> BackendFuture<'_, Stored> {
        Box::pin(async move {
            let parts = Array::from(&answer(self.0.load(after as f64)).await?);
            let root = parts.shift();
            let counters = [parts.shift(), parts.shift()].map(|counter| counter.as_f64().unwrap_or(0.0) as u64);
            Ok(Stored {
                root: if root.is_undefined() { None } else { Some(bytes_of(&root, "root record")?) },
                checkpoint: counters[0],
                sequence: counters[1],
                log: parts.iter().map(|record| bytes_of(&record, "log record")).collect::<Result<_>>()?,
            })
        })
    }

    fn read_pages(&self, checkpoint: u64, pages: Vec<PageId>) -> BackendFuture<'_, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            let numbers = pages.iter().map(|page| page.0).collect();
            let pages = answer(self.0.read_pages(checkpoint as f64, numbers)).await?;
            let pages: &Array = pages.dyn_ref().ok_or(Error::Conflict)?;
            // Anything but bytes fails the page's checksum, as damaged bytes would.
            let bytes = |page: JsValue| bytes_of(&page, "page").unwrap_or_default();
            Ok(pages.iter().map(|page| (!page.is_undefined()).then(|| bytes(page))).collect())
        })
    }

    fn append(&self, expected_sequence: u64, record: Vec<u8>) -> BackendFuture<'_, ()> {
        Box::pin(async move { stored(answer(self.0.append(expected_sequence as f64, record)).await?) })
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            let Checkpoint { expected_checkpoint, expected_sequence, root, pages } = checkpoint;
            let numbers = pages.iter().map(|(page, _)| page.0).collect();
            let pages: Array = pages.iter().map(|(_, bytes)| Uint8Array::from(&bytes[..])).collect();
            let (checkpoint, sequence) = (expected_checkpoint as f64, expected_sequence as f64);
            stored(answer(self.0.checkpoint(checkpoint, sequence, root, numbers, pages)).await?)
        })
    }

    fn close(&self) -> BackendFuture<'_, ()> {
        Box::pin(async move { answer(self.0.close()).await.map(drop) })
    }
}

async fn answer(promise: std::result::Result<Promise, JsValue>) -> Result<JsValue> {
    JsFuture::from(promise.map_err(backend_error)?).await.map_err(backend_error)
}

fn stored(is_stored: JsValue) -> Result<()> {
    if is_stored.is_truthy() { Ok(()) } else { Err(Error::Conflict) }
}
