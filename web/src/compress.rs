//! Compression for the page: the VM has it for saved functions anyway, and old browsers have none.

use cu_persist::{compress_bytes, decompress_bytes};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::instance::Instance;

#[wasm_bindgen]
impl Instance {
    /// Bytes in the format of deflate.
    pub fn compress(&self, bytes: &[u8]) -> Vec<u8> {
        compress_bytes(bytes)
    }

    /// What was compressed; undefined when the bytes are damaged or there is more than `length_max`.
    pub fn decompress(&self, bytes: &[u8], length_max: u32) -> Option<Vec<u8>> {
        decompress_bytes(bytes, length_max as usize)
    }
}
