//! Live functions: those that are saved by name. TypeScript keeps their blobs in the database; here they are closures.

use cu_persist::{Limits, Save, compile_function};
use cu_storage::Document;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Result;
use crate::instance::{Instance, engine_error};

#[wasm_bindgen]
impl Instance {
    /// Whether the definition of a function compiles: nil, or the error as a map.
    #[wasm_bindgen(js_name = checkFunction)]
    pub fn check_function(&self, source: &[u8]) -> Result<Vec<u8>> {
        let error = match compile_function(&self.vm, source, "=function") {
            Ok(definition) => {
                self.vm.enter(|context| context.release(definition));
                Document::Nil
            }
            Err(error) => engine_error(&error, Document::text(&error.to_string())),
        };
        Ok(error.encode()?)
    }

    /// Whether a function of this name is live.
    #[wasm_bindgen(js_name = hasFunction)]
    pub fn has_function(&self, table: &str, name: &str) -> bool {
        self.functions.get(table, name).is_some()
    }

    /// Makes a saved function live. After an error all is as it was.
    #[wasm_bindgen(js_name = loadFunction)]
    pub fn load_function(&mut self, table: &str, name: &str, blob: &[u8]) -> Result<()> {
        Ok(self.functions.load(&mut self.vm, table, name, blob, &Limits::default())?)
    }

    /// A live function with its upvalues as a blob, which is compressed over so many bytes.
    #[wasm_bindgen(js_name = saveFunction)]
    pub fn save_function(&self, table: &str, name: &str, uncompressed_max: u32) -> Result<Vec<u8>> {
        let save = Save { uncompressed_max: uncompressed_max as usize, ..Save::default() };
        Ok(self.functions.save(&self.vm, table, name, &save)?)
    }

    /// Drops a live function, if there is one.
    #[wasm_bindgen(js_name = forgetFunction)]
    pub fn forget_function(&mut self, table: &str, name: &str) {
        self.functions.forget(&self.vm, table, name);
    }
}
