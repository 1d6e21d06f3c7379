//! Functions out of modules that the VM makes at run time.

use cu_vm::CodeHost;
use js_sys::{Function, Object, Reflect, Uint8Array, WebAssembly};
use wasm_bindgen::{JsCast, JsValue};

/// The names of what a module imports and exports.
const IMPORTS: [&str; IMPORT_COUNT] = cu_vm::CODE_IMPORTS;
const IMPORT_COUNT: usize = cu_vm::CODE_IMPORTS.len();

/// Instantiates modules in this page, at once.
#[derive(Default)]
pub struct PageCode {
    imports: Option<Object>,
    /// Places in the table of functions that nothing calls any more.
    free: Vec<u32>,
}

impl PageCode {
    fn instantiate(&mut self, module: &[u8], imports: [usize; IMPORT_COUNT]) -> Result<usize, JsValue> {
        let table: WebAssembly::Table = wasm_bindgen::function_table().dyn_into()?;
        let imports = match &self.imports {
            Some(imports) => imports.clone(),
            None => {
                let vm = Object::new();
                for (name, function) in IMPORTS.iter().zip(imports) {
                    Reflect::set(&vm, &JsValue::from_str(name), &table.get_raw(function as u32)?)?;
                }
                Reflect::set(&vm, &JsValue::from_str(cu_vm::CODE_MEMORY), &wasm_bindgen::memory())?;
                Reflect::set(&vm, &JsValue::from_str(cu_vm::CODE_TABLE), &table)?;
                let imports = Object::new();
                Reflect::set(&imports, &JsValue::from_str("vm"), &vm)?;
                self.imports.insert(imports).clone()
            }
        };
        let module = WebAssembly::Module::new(&Uint8Array::from(module))?;
        let instance = WebAssembly::Instance::new(&module, &imports)?;
        let run: Function = Reflect::get(&instance.exports(), &JsValue::from_str(cu_vm::CODE_EXPORT))?.dyn_into()?;
        let place = match self.free.pop() {
            Some(place) => place,
            None => table.grow(1)?,
        };
        table.set(place, &run)?;
        Ok(place as usize)
    }
}

impl CodeHost for PageCode {
    /// Fails where a page may not compile code at once, and in engines that cannot.
    fn install(&mut self, module: &[u8], imports: [usize; IMPORT_COUNT]) -> Option<usize> {
        self.instantiate(module, imports).ok()
    }

    fn release(&mut self, function: usize) {
        // The table would keep its module alive.
        if let Ok(table) = wasm_bindgen::function_table().dyn_into::<WebAssembly::Table>() {
            let _ = table.set_raw(function as u32, &JsValue::NULL);
        }
        self.free.push(function as u32);
    }
}
