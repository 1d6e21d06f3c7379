//! The interpreter survives all that the verifier accepts: compiled functions are changed at random, and those that are accepted run.
//!
//! In a checking build, as tests are, every access that the interpreter does not check is asserted (`vm/src/interpreter/checks.rs`), so that one
//! outside its bounds ends the test instead of going unseen.

use cu_tests::fixtures;
use cu_tests::random::Random;
use cu_vm::bytecode::chunk::dump;
use cu_vm::bytecode::function::{Constant, FunctionParts};
use cu_vm::bytecode::verify::verify;
use cu_vm::{Options, Vm, compile};

const SEED: u64 = 11;
/// Changes of each program.
const CHANGES: usize = 400;
const FUEL: u64 = 3_000;
const HEAP_LIMIT: usize = 2 << 20;

/// Which of the functions inside, the outermost included, in order.
fn choose<'p>(parts: &'p mut FunctionParts, random: &mut Random) -> &'p mut FunctionParts {
    let mut chosen = parts;
    while !chosen.functions.is_empty() && random.below(3) > 0 {
        let index = random.below(chosen.functions.len());
        chosen = &mut chosen.functions[index];
    }
    chosen
}

/// One change of a kind that damaged or forged bytecode may have.
fn change(parts: &mut FunctionParts, random: &mut Random) {
    let pick = |random: &mut Random, length: usize| random.below(length.max(1));
    match random.below(16) {
        // An operand or an opcode becomes another one, mostly one that exists.
        0..=5 => {
            let (at, byte) = (pick(random, parts.code.len()), 8 * random.below(4));
            let small = random.below(usize::from(parts.register_count) + 3) as u32;
            if let Some(word) = parts.code.get_mut(at) {
                *word = *word & !(0xff << byte) | small << byte;
            }
        }
        6 | 7 => {
            let at = pick(random, parts.code.len());
            if let Some(word) = parts.code.get_mut(at) {
                *word ^= 1 << random.below(32);
            }
        }
        // A jump goes elsewhere, an instruction stands elsewhere.
        8 | 9 => {
            let at = pick(random, parts.code.len());
            if let Some(word) = parts.code.get_mut(at) {
                *word = word.wrapping_add(random.below(9) as u32).wrapping_sub(4);
            }
        }
        10 => {
            let (from, to) = (pick(random, parts.code.len()), pick(random, parts.code.len()));
            if let Some(word) = parts.code.get(from).copied() {
                parts.code[to] = word;
            }
        }
        11 => {
            let (first, second) = (pick(random, parts.code.len()), pick(random, parts.code.len()));
            if !parts.code.is_empty() {
                parts.code.swap(first, second);
            }
        }
        12 => {
            let count = i64::from(parts.register_count) + random.below(7) as i64 - 3;
            parts.register_count = count.clamp(0, 255) as u8;
        }
        13 => parts.parameter_count = random.below(6) as u8,
        14 => {
            let at = pick(random, parts.constants.len());
            if let Some(constant) = parts.constants.get_mut(at) {
                *constant = match random.below(4) {
                    0 => Constant::Integer(random.below(9) as i64),
                    1 => Constant::Float(0.5),
                    2 => Constant::Nil,
                    _ => Constant::String(vec![b'x'; 38 + random.below(5)][..].into()),
                };
            }
        }
        _ => {
            let at = pick(random, parts.upvalues.len());
            if let Some(upvalue) = parts.upvalues.get_mut(at) {
                upvalue.index = random.below(8) as u8;
                upvalue.in_stack = random.below(2) == 0;
            }
        }
    }
}

#[test]
fn all_that_is_accepted_runs_within_bounds() {
    let mut random = Random::new(SEED);
    let (mut accepted, mut rejected) = (0, 0);
    for fixture in fixtures() {
        let Ok(parts) = compile(&fixture.source, fixture.chunk_name().as_bytes()) else { continue };
        // Long ones take long to write and read again for each change.
        if parts.code.len() > 3_000 {
            continue;
        }
        for _ in 0..CHANGES {
            let mut changed = parts.clone();
            for _ in 0..=random.below(3) {
                change(choose(&mut changed, &mut random), &mut random);
            }
            let Ok(verified) = verify(changed) else {
                rejected += 1;
                continue;
            };
            accepted += 1;
            run(&dump(verified.parts()));
        }
    }
    assert!(accepted > 10_000 && rejected > 10_000, "{accepted} accepted, {rejected} rejected");
}

/// Runs a binary chunk for a while, with collections in between.
fn run(chunk: &[u8]) {
    let mut vm = Vm::new(Options { heap_limit: HEAP_LIMIT, ..Options::default() });
    let function = vm.load(chunk, "=changed").expect("what is verified can be loaded");
    vm.start(|context| (context.fetch(&function), Vec::new())).expect("it fits");
    for _ in 0..3 {
        if !vm.is_running() || vm.step(FUEL / 3).is_err() {
            break;
        }
        vm.collect();
    }
    vm.abort();
    vm.collect();
}
