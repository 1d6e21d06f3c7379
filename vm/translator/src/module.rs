//! A module around one function: its imports are the memory and the functions of the VM, its export is the function.

use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, MemoryType, Module,
    RefType, TableType, TypeSection, ValType,
};

use crate::{EXPORT, IMPORTS, MEMORY, TABLE};

/// The index of the translated function: after the imported ones.
const RUN: u32 = IMPORTS.len() as u32;

/// The type of a translated function.
pub(crate) const RUN_TYPE: u32 = 2;
/// How many parameters the imported functions have.
const IMPORT_PARAMETERS: [u32; IMPORTS.len()] = [2, 2, 2, 2, 2, 3, 2, 4, 3];

pub(crate) fn around(function: &Function) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 2], [ValType::I32]);
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    debug_assert_eq!(types.len(), RUN_TYPE + 1);
    let mut imports = ImportSection::new();
    for (name, parameters) in IMPORTS.iter().zip(IMPORT_PARAMETERS) {
        imports.import("vm", name, EntityType::Function(parameters - 2));
    }
    let memory = MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("vm", MEMORY, memory);
    let table = TableType { element_type: RefType::FUNCREF, minimum: 0, maximum: None, table64: false, shared: false };
    imports.import("vm", TABLE, table);
    let mut functions = FunctionSection::new();
    functions.function(RUN_TYPE);
    let mut exports = ExportSection::new();
    exports.export(EXPORT, ExportKind::Func, RUN);
    let mut code = CodeSection::new();
    code.function(function);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    module.finish()
}
