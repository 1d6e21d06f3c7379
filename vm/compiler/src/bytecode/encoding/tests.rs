//! What a list of functions takes is known before it is built; what is written once has one number.

use super::{FunctionReader, FunctionTable, StringTable, write_function};
use crate::bytecode::function::{Constant, FunctionParts, LineEntry, LocalVariable, UpvalueDescription};
use crate::bytecode::wire::{Fault, WireError, Writer};

/// Writes a list of functions with these chunk names and children, and reads it. The bytes that each tree takes.
fn read(list: &[(u32, &[u32])]) -> Result<Vec<u64>, WireError> {
    let parts = FunctionParts {
        lines: vec![LineEntry { pc: 0, line: 1 }],
        locals: vec![LocalVariable { name: Default::default(), register: 0, start_pc: 0, end_pc: 0 }],
        ..FunctionParts::default()
    };
    let mut out = Writer::default();
    for (chunk_name, children) in list {
        write_function(&parts, *chunk_name, children, &mut |_| 0, &mut out);
    }
    let mut functions = FunctionReader::new(out.as_bytes(), &[b"name", b"other"], u64::MAX);
    let mut offset = 0;
    for _ in list {
        offset = functions.read(offset)?.expect("there is room");
    }
    Ok(functions.entries().iter().map(|function| function.expanded_bytes).collect())
}

#[test]
fn the_size_of_a_huge_tree_is_never_taken_for_a_small_one() {
    let children: Vec<Vec<u32>> = (0..100u32).map(|number| vec![number.saturating_sub(1); 3]).collect();
    let list: Vec<(u32, &[u32])> = children
        .iter()
        .enumerate()
        .map(|(number, children)| (0, if number == 0 { &[][..] } else { children }))
        .collect();
    let sizes = read(&list).expect("a correct list");
    assert!(sizes.is_sorted());
    assert_eq!(sizes[99], u64::MAX);
}

#[test]
fn a_tree_has_one_chunk_name() {
    assert!(read(&[(1, &[]), (1, &[]), (1, &[0, 1])]).is_ok());
    let (one, other) = ((1, &[][..]), (0, &[][..]));
    for list in [[one, other, (0, &[0, 1])], [one, one, (0, &[0, 1])], [other, one, (0, &[0, 1])]] {
        assert_eq!(read(&list).map(drop).map_err(|error| error.fault), Err(Fault::Reference));
    }
}

#[test]
fn a_chain_of_functions_has_200_levels_at_most() {
    let children: Vec<[u32; 1]> = (0..200).map(|number| [number]).collect();
    let chain = |levels: usize| {
        let inner = children[..levels - 1].iter().map(|child| (0, &child[..]));
        let list: Vec<(u32, &[u32])> = std::iter::once((0, &[][..])).chain(inner).collect();
        read(&list).map(|functions| functions.len()).map_err(|error| error.fault)
    };
    assert_eq!(chain(200), Ok(200));
    assert_eq!(chain(201), Err(Fault::Count));
}

/// What a function alone takes, by itself and in all, and the function as it is read; `text` is what all its strings are.
fn alone(parts: &FunctionParts, text: &[u8]) -> Result<([u64; 2], FunctionParts), Fault> {
    let mut out = Writer::default();
    write_function(parts, 0, &[], &mut |_| 0, &mut out);
    let strings = [text];
    let mut functions = FunctionReader::new(out.as_bytes(), &strings, u64::MAX);
    let end = functions.read(0).map_err(|error| error.fault)?;
    assert_eq!(end, Some(out.as_bytes().len()));
    let sizes = functions.entries().iter().map(|function| [function.own_bytes, function.expanded_bytes]).next();
    Ok((sizes.expect("one function"), functions.trees(&[0]).remove(0)))
}

#[test]
fn the_size_of_a_function_is_that_of_its_parts() {
    let upvalue = UpvalueDescription { in_stack: true, index: 7, name: b"text"[..].into() };
    let local = LocalVariable { name: b"text"[..].into(), register: 3, start_pc: 5, end_pc: 9 };
    let parts = FunctionParts {
        chunk_name: b"text"[..].into(),
        code: vec![1, 2, 3],
        constants: vec![Constant::Integer(-4), Constant::String(b"text"[..].into()), Constant::Nil],
        upvalues: vec![upvalue; 2],
        lines: vec![LineEntry { pc: 1, line: 8 }, LineEntry { pc: 2, line: 6 }],
        locals: vec![local; 4],
        ..FunctionParts::default()
    };
    let (sizes, read) = alone(&parts, b"text").expect("it was written");
    assert_eq!(read, parts);
    let size = 192 + 3 * 4 + 2 * 24 + (72 + 4) + 2 * (24 + 4) + 2 * 8 + 4 * (32 + 4);
    assert_eq!(sizes, [size, size]);

    // One byte less, and it is not read.
    let mut out = Writer::default();
    write_function(&parts, 0, &[], &mut |_| 0, &mut out);
    for (room, is_read) in [(size, true), (size - 1, false), (0, false)] {
        let mut functions = FunctionReader::new(out.as_bytes(), &[b"text"], room);
        assert_eq!(functions.read(0), Ok(is_read.then_some(out.as_bytes().len())));
        let whole = if is_read { functions.trees(&[0]) } else { vec![parts.clone()] };
        assert_eq!(whole, std::slice::from_ref(&parts));
    }

    // Without its chunk's name and the functions inside it, whose numbers come along.
    let mut functions = FunctionReader::new(out.as_bytes(), &[b"text"], size);
    assert_eq!(functions.take_last(), None);
    functions.read(0).expect("it was written");
    let own = FunctionParts { chunk_name: Default::default(), ..parts };
    assert_eq!(functions.take_last(), Some((own, Vec::new(), 0)));
}

/// A number takes a byte in a payload and more in memory, so there are no more of them than there can be functions.
#[test]
fn numbers_of_functions_inside_are_bounded() {
    let mut out = Writer::default();
    for children in [&[][..], &[0; 7], &[0; 3], &[0]] {
        write_function(&FunctionParts::default(), 0, children, &mut |_| 0, &mut out);
    }
    for (room, expected) in [(192 * 11, 4), (192 * 11 - 1, 3), (192 * 9, 2), (192 * 7, 2), (192 * 7 - 1, 1)] {
        let mut functions = FunctionReader::new(out.as_bytes(), &[b"name"], room);
        let mut offset = 0;
        while offset < out.as_bytes().len()
            && let Some(end) = functions.read(offset).expect("it was written")
        {
            offset = end;
        }
        assert_eq!(functions.entries().len(), expected, "{room}");
    }
}

#[test]
fn a_function_has_255_upvalues_at_most() {
    let upvalue = UpvalueDescription { in_stack: true, index: 0, name: Default::default() };
    let with =
        |count| alone(&FunctionParts { upvalues: vec![upvalue.clone(); count], ..FunctionParts::default() }, b"");
    assert_eq!(with(255).map(|(_, read)| read.upvalues.len()), Ok(255));
    assert_eq!(with(256).map(drop), Err(Fault::Count));
}

#[test]
fn there_is_one_nan() {
    let constants = [0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001].map(f64::from_bits);
    let parts = FunctionParts { constants: constants.map(Constant::Float).to_vec(), ..FunctionParts::default() };
    let (_, read) = alone(&parts, b"").expect("it was written");
    assert_eq!(read.constants, vec![Constant::Float(f64::NAN); 3]);
}

#[test]
fn equal_strings_have_one_number() {
    let mut strings = StringTable::default();
    assert!(strings.is_empty());
    let short = "s".repeat(40);
    let long = "l".repeat(41);
    assert_eq!(["b", "a", "b", "", "", "a"].map(|text| strings.number(text.as_bytes())), [0, 1, 0, 2, 2, 1]);
    assert_eq!([&short, &short].map(|text| strings.number_sharing_short(text.as_bytes())), [3, 3]);
    assert_eq!([&long, &long].map(|text| strings.number_sharing_short(text.as_bytes())), [4, 5]);
    assert_eq!([&long, &long].map(|text| strings.number(text.as_bytes())), [6, 6]);
    assert_eq!(strings.number(short.as_bytes()), 3);
    assert!(!strings.is_empty());
    assert_eq!(strings.len(), 7);
    let mut expected = Writer::default();
    ["b", "a", "", &short, &long, &long, &long].iter().for_each(|text| expected.string(text.as_bytes()));
    assert_eq!(strings.out.as_bytes(), expected.as_bytes());
}

#[test]
fn equal_functions_have_one_number() {
    let leaf = |word| FunctionParts { code: vec![word], chunk_name: (*b"name").into(), ..FunctionParts::default() };
    let around = |functions| FunctionParts { functions, ..leaf(0) };
    let (mut functions, mut strings) = (FunctionTable::default(), StringTable::default());
    assert!(functions.is_empty());
    let mut number = |parts: &FunctionParts| {
        let number = functions.number(parts, &mut strings);
        (number, functions.len(), functions.out.as_bytes().len())
    };
    let (first, count, length) = number(&leaf(1));
    assert_eq!((first, count), (0, 1));
    assert_eq!(number(&leaf(1)), (0, 1, length));
    // The leaf inside is known already, the other one is not.
    assert_eq!(number(&around(vec![leaf(1), leaf(2)])).0, 2);
    let (_, _, length) = number(&leaf(2));
    assert_eq!(number(&around(vec![leaf(1), leaf(2)])), (2, 3, length));
    assert_eq!(number(&around(vec![leaf(2), leaf(1)])).0, 3);
    assert!(!functions.is_empty());
    assert_eq!(strings.len(), 1);
}

/// What is in several trees, or twice in one, is in each of them whole, whether it is copied there or moved.
#[test]
fn trees_that_share_functions_are_whole() {
    let leaf = |word| FunctionParts { code: vec![word], chunk_name: (*b"name").into(), ..FunctionParts::default() };
    let around = |word, functions| FunctionParts { functions, ..leaf(word) };
    let pair = around(3, vec![leaf(1), leaf(2)]);
    let trees = [
        around(4, vec![pair.clone(), pair.clone(), leaf(1)]),
        pair.clone(),
        around(5, vec![around(6, vec![pair.clone()])]),
        leaf(2),
        pair,
    ];
    let (mut table, mut strings) = (FunctionTable::default(), StringTable::default());
    let numbers: Vec<u32> = trees.iter().map(|tree| table.number(tree, &mut strings)).collect();
    for some in [0..5, 2..5, 0..1, 1..1] {
        let mut functions = FunctionReader::new(table.out.as_bytes(), &[b"name"], u64::MAX);
        let mut offset = 0;
        for _ in 0..table.len() {
            offset = functions.read(offset).expect("it was written").expect("there is room");
        }
        assert_eq!(functions.trees(&numbers[some.clone()]), trees[some]);
    }
}
