//! Whatever the compiler makes of the fixtures is translated to a valid module.

use std::fs;
use std::path::Path;

use cu_compiler::bytecode::function::{Constant as CodeConstant, FunctionParts};
use cu_compiler::compile;
use cu_translator::{Constant, Layout, Source, Tags, translate};

fn layout() -> Layout {
    let tags = Tags { nil: 0, boolean: 1, integer: 2, float: 3, string: 4, table: 5, closure: 6, native: 7 };
    Layout { tags, object: 8, entry_bytes: 32, entry_value: 16, ..Layout::default() }
}

/// Translates a function and those inside it; how many there were.
fn check(function: &FunctionParts, name: &str) -> usize {
    let constants: Vec<Constant> = function
        .constants
        .iter()
        .map(|constant| match constant {
            CodeConstant::Nil => Constant::Nil,
            CodeConstant::Boolean(boolean) => Constant::Boolean(*boolean),
            CodeConstant::Integer(integer) => Constant::Integer(*integer),
            CodeConstant::Float(float) => Constant::Float(*float),
            CodeConstant::String(bytes) if bytes.len() <= 40 => Constant::ShortString(4096),
            CodeConstant::String(_) => Constant::LongString,
        })
        .collect();
    let captured: Vec<u8> = function
        .functions
        .iter()
        .flat_map(|child| child.upvalues.iter().filter(|upvalue| upvalue.in_stack).map(|upvalue| upvalue.index))
        .collect();
    let source = Source {
        code: &function.code,
        code_address: 1 << 20,
        constants: &constants,
        constants_address: 1 << 21,
        is_vararg: function.is_vararg,
        register_count: function.register_count,
        captured: &captured,
    };
    if let Some(translation) = translate(&source, &layout()) {
        if let Err(error) = wasmparser::validate(&translation.module) {
            panic!("{name}, function at line {}: {error}", function.line_defined);
        }
        for entry in &translation.entries {
            assert!((entry.pc as usize) < function.code.len());
            assert_eq!(entry.number == 0, entry.pc == 0, "{name}: entry at {}", entry.pc);
        }
    }
    1 + function.functions.iter().map(|child| check(child, name)).sum::<usize>()
}

fn check_folder(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("fixtures are there") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            count += check_folder(&path);
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            let source = fs::read(&path).expect("a readable file");
            if let Ok(function) = compile(&source, b"@fixture") {
                count += check(&function, &path.display().to_string());
            }
        }
    }
    count
}

#[test]
fn fixtures_become_valid_modules() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    assert!(check_folder(&fixtures) > 500);
}
