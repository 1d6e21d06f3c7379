//! A live query for TypeScript.

use std::cell::RefCell;

use cu_storage::{Live, LiveEnd, encode_live_change};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Result;

/// A query whose changes are reported.
#[wasm_bindgen]
pub struct LiveQuery {
    /// Away while somebody waits for it.
    live: RefCell<Option<Live>>,
    end: LiveEnd,
}

impl LiveQuery {
    pub(crate) fn new(live: Live) -> LiveQuery {
        LiveQuery { end: live.end(), live: RefCell::new(Some(live)) }
    }
}

#[wasm_bindgen]
impl LiveQuery {
    /// The next change, a map `{added, changed, removed, order}`; nil when the query was ended. One call at a time.
    pub async fn next(&self) -> Result<Vec<u8>> {
        let Some(mut live) = self.live.take() else {
            return Ok(encode_live_change(None)?);
        };
        let change = live.next().await;
        *self.live.borrow_mut() = Some(live);
        Ok(encode_live_change(change?.as_ref())?)
    }

    /// Ends it; who waits gets nil.
    pub fn end(&self) {
        self.end.end();
    }
}
