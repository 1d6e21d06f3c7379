//! What a list of functions takes is known before it is built.

use super::{FunctionEntry, FunctionSource, write_function};
use crate::bytecode::function::{FunctionParts, LineEntry, LocalVariable};
use crate::bytecode::wire::{Fault, WireError, Writer};

/// Scans a list of functions that were written with these chunk names and children.
fn scan(list: &[(u32, &[u32])]) -> Result<Vec<FunctionEntry>, WireError> {
    let parts = FunctionParts {
        lines: vec![LineEntry { pc: 0, line: 1 }],
        locals: vec![LocalVariable { name: Box::default(), register: 0, start_pc: 0, end_pc: 0 }],
        ..FunctionParts::default()
    };
    let mut out = Writer::default();
    for (chunk_name, children) in list {
        write_function(&parts, *chunk_name, children, &mut |_| 0, &mut out);
    }
    let mut functions = Vec::new();
    let mut offset = 0;
    for _ in list {
        let source = FunctionSource { payload: out.as_bytes(), strings: &[b"name", b"other"], functions: &functions };
        let (function, end) = source.scan(offset)?;
        functions.push(function);
        offset = end;
    }
    Ok(functions)
}

#[test]
fn the_size_of_a_huge_tree_is_never_taken_for_a_small_one() {
    let children: Vec<Vec<u32>> = (0..100u32).map(|number| vec![number.saturating_sub(1); 3]).collect();
    let list: Vec<(u32, &[u32])> = children
        .iter()
        .enumerate()
        .map(|(number, children)| (0, if number == 0 { &[][..] } else { children }))
        .collect();
    let functions = scan(&list).expect("a correct list");
    assert!(functions.windows(2).all(|pair| pair[0].expanded_bytes <= pair[1].expanded_bytes));
    assert_eq!(functions[99].expanded_bytes, u64::MAX);
}

#[test]
fn a_tree_has_one_chunk_name() {
    assert!(scan(&[(1, &[]), (1, &[]), (1, &[0, 1])]).is_ok());
    for list in [[(1, &[][..]), (0, &[]), (0, &[0, 1])], [(1, &[]), (1, &[]), (0, &[0, 1])]] {
        assert_eq!(scan(&list).map(drop).map_err(|error| error.fault), Err(Fault::Reference));
    }
}
