//! Panics without messages. A panic in a page is a trap, and nothing shows what was to be said, but the code that says it is there: what
//! formats, and at each place that may panic the arguments.
//!
//! A function that can do nothing but end in the panic handler becomes a trap itself, and so does each call of one, with what only
//! prepares it. wasm-opt then removes what nothing calls any more.

use std::collections::HashSet;

use walrus::ir::{Instr, InstrSeqId, Unreachable};
use walrus::{FunctionId, FunctionKind, LocalFunction, Module};

/// Where all panics end, those for lack of memory too.
const HANDLERS: [&str; 2] = ["::rust_begin_unwind", "::rust_oom"];

/// Makes traps of panics, and tells how many functions were nothing else; 0 if no handler was found by its name.
pub fn silence(module: &mut Module) -> usize {
    let panicking = panicking(module);
    for (id, function) in module.funcs.iter_local_mut() {
        if panicking.contains(&id) {
            let entry = function.entry_block();
            replace(function, entry, 0);
        }
        for sequence in sequences(function) {
            let instructions = &function.block(sequence).instrs;
            let end = instructions.iter().position(|(instruction, _)| is_end(instruction, &panicking));
            if let Some(end) = end {
                let before = instructions.iter().take(end).rposition(|(instruction, _)| !only_prepares(instruction));
                replace(function, sequence, before.map_or(0, |last| last + 1));
            }
        }
    }
    panicking.len()
}

/// The functions that can only end in a handler: they call nothing else and do not return. None if there is no handler.
fn panicking(module: &Module) -> HashSet<FunctionId> {
    let is_handler = |name: &str| HANDLERS.iter().any(|handler| name.ends_with(handler));
    let handlers = module.funcs.iter().filter(|function| function.name.as_deref().is_some_and(is_handler));
    let mut panicking: HashSet<FunctionId> = handlers.map(walrus::Function::id).collect();
    if panicking.is_empty() {
        return panicking;
    }
    loop {
        let found: Vec<FunctionId> = module
            .funcs
            .iter()
            .filter(|function| !panicking.contains(&function.id()))
            .filter(|function| matches!(&function.kind, FunctionKind::Local(local) if only_panics(local, &panicking)))
            .map(walrus::Function::id)
            .collect();
        if found.is_empty() {
            return panicking;
        }
        panicking.extend(found);
    }
}

fn only_panics(function: &LocalFunction, panicking: &HashSet<FunctionId>) -> bool {
    let entry = function.entry_block();
    let ends = |(instruction, _): &(Instr, _)| is_end(instruction, panicking);
    function.block(entry).instrs.iter().any(ends)
        && sequences(function).iter().all(|sequence| {
            function.block(*sequence).instrs.iter().all(|(instruction, _)| match instruction {
                Instr::Call(call) => panicking.contains(&call.func),
                Instr::Block(_) | Instr::Loop(_) | Instr::IfElse(_) | Instr::Unreachable(_) => true,
                Instr::Br(branch) => branch.block != entry,
                Instr::BrIf(branch) => branch.block != entry,
                Instr::BrTable(table) => table.default != entry && !table.blocks.contains(&entry),
                instruction => only_prepares(instruction),
            })
        })
}

/// All sequences of instructions that the function has.
fn sequences(function: &LocalFunction) -> Vec<InstrSeqId> {
    let mut found = vec![function.entry_block()];
    let mut next = 0;
    while let Some(sequence) = found.get(next).copied() {
        next += 1;
        for (instruction, _) in &function.block(sequence).instrs {
            match instruction {
                Instr::Block(block) => found.push(block.seq),
                Instr::Loop(block) => found.push(block.seq),
                Instr::IfElse(block) => found.extend([block.consequent, block.alternative]),
                _ => {}
            }
        }
    }
    found
}

/// Whether nothing after it is reached.
fn is_end(instruction: &Instr, panicking: &HashSet<FunctionId>) -> bool {
    match instruction {
        Instr::Call(call) => panicking.contains(&call.func),
        instruction => matches!(instruction, Instr::Unreachable(_)),
    }
}

/// Whether what it does is of no use when a trap follows, with which the instance is given up.
fn only_prepares(instruction: &Instr) -> bool {
    matches!(
        instruction,
        Instr::Const(_)
            | Instr::LocalGet(_)
            | Instr::LocalSet(_)
            | Instr::LocalTee(_)
            | Instr::GlobalGet(_)
            | Instr::GlobalSet(_)
            | Instr::Unop(_)
            | Instr::Binop(_)
            | Instr::Select(_)
            | Instr::Drop(_)
            | Instr::Load(_)
            | Instr::Store(_)
    )
}

/// Puts a trap in place of a sequence's instructions from there on.
fn replace(function: &mut LocalFunction, sequence: InstrSeqId, from: usize) {
    let instructions = &mut function.block_mut(sequence).instrs;
    instructions.truncate(from);
    instructions.push((Instr::Unreachable(Unreachable {}), Default::default()));
}

#[cfg(test)]
mod tests {
    use walrus::{FunctionBuilder, ModuleConfig, ValType};

    use super::*;

    /// How many instructions each sequence of a function has, and whether the last of them is a trap.
    fn shape(module: &Module, id: FunctionId) -> Vec<(usize, bool)> {
        let FunctionKind::Local(function) = &module.funcs.get(id).kind else { panic!("it is no import") };
        let shape = |sequence: &InstrSeqId| {
            let instructions = &function.block(*sequence).instrs;
            (instructions.len(), matches!(instructions.last(), Some((Instr::Unreachable(_), _))))
        };
        sequences(function).iter().map(shape).collect()
    }

    #[test]
    fn only_what_ends_in_a_panic_becomes_a_trap() {
        let mut module = Module::with_config(ModuleConfig::new());
        let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
        builder.name("__rustc::rust_begin_unwind".to_owned()).func_body().unreachable();
        let handler = builder.finish(vec![], &mut module.funcs);

        let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
        builder.func_body().i32_const(1).drop().call(handler);
        let fails = builder.finish(vec![], &mut module.funcs);

        let number = module.locals.add(ValType::I32);
        let mut builder = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
        builder.func_body().local_get(number).if_else(
            None,
            |then| {
                then.i32_const(2).drop().call(fails).unreachable();
            },
            |_| {},
        );
        builder.func_body().local_get(number);
        let may_fail = builder.finish(vec![number], &mut module.funcs);

        // What it calls first may not come back, or not fail.
        let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
        builder.func_body().i32_const(0).call(may_fail).drop().i32_const(3).drop().call(fails);
        let works_before = builder.finish(vec![], &mut module.funcs);

        // It can be left before the panic.
        let mut builder = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[]);
        let entry = builder.func_body_id();
        builder.func_body().local_get(number).br_if(entry).call(fails);
        let may_leave = builder.finish(vec![number], &mut module.funcs);

        assert_eq!(silence(&mut module), 2, "the handler, and what does nothing but call it");
        assert_eq!(shape(&module, fails), [(1, true)]);
        assert_eq!(shape(&module, may_fail), [(3, false), (1, true), (0, false)]);
        assert_eq!(shape(&module, works_before), [(3, true)]);
        assert_eq!(shape(&module, may_leave), [(3, true)]);
    }

    #[test]
    fn without_a_handler_nothing_is_found() {
        let mut module = Module::with_config(ModuleConfig::new());
        let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
        builder.name("ends".to_owned()).func_body().unreachable();
        let ends = builder.finish(vec![], &mut module.funcs);
        assert_eq!(silence(&mut module), 0);
        assert_eq!(shape(&module, ends), [(1, true)]);
    }
}
