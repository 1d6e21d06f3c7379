//! The module's memory: how much it is.

use js_sys::{ArrayBuffer, WebAssembly};
use wasm_bindgen::JsCast;

/// The size of this module's linear memory. It only grows.
pub fn wasm_bytes() -> u32 {
    let memory: WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: ArrayBuffer = memory.buffer().unchecked_into();
    buffer.byte_length()
}
