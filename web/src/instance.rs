//! One Lua state for TypeScript.
use wasm_bindgen::prelude::wasm_bindgen;
/// One Lua state.
#[wasm_bindgen]
pub struct Instance {}
