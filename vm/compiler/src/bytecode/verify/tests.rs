//! The verifier rejects each kind of damage and survives all of it.

use super::{Violation, verify};
use crate::bytecode::function::{Constant, FunctionParts, LineEntry, UpvalueDescription};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::compiler::compile;

mod boundaries;

/// A function with two registers, an upvalue and a few constants around `code`.
fn function(code: Vec<u32>) -> FunctionParts {
    FunctionParts {
        register_count: 8,
        code,
        constants: vec![
            Constant::String(b"short"[..].into()),
            Constant::String(vec![b'x'; 41][..].into()),
            Constant::Integer(1),
            Constant::Float(0.5),
        ],
        upvalues: vec![UpvalueDescription { in_stack: true, index: 0, name: Default::default() }],
        ..FunctionParts::default()
    }
}

fn abc(opcode: Opcode, a: u8, b: u8, c: u8) -> u32 {
    Instruction::abc(opcode, a, b, c).0
}

#[track_caller]
fn check(code: Vec<u32>, expected: Result<(), Violation>) {
    let found = verify(function(code)).map(drop).map_err(|error| error.violation);
    assert_eq!(found, expected);
}

#[test]
fn operands() {
    let end = abc(Opcode::Return0, 0, 0, 0);
    let one = |instruction, expected| check(vec![instruction, end], expected);
    one(abc(Opcode::Move, 7, 0, 0), Ok(()));
    one(abc(Opcode::Move, 8, 0, 0), Err(Violation::Register));
    one(abc(Opcode::Move, 0, 8, 0), Err(Violation::Register));
    one(abc(Opcode::Move, 0, 0, 1), Err(Violation::UnusedOperand));
    one(0xff, Err(Violation::UnknownOpcode));
    one(Instruction::abx(Opcode::LoadConstant, 0, 4).0, Err(Violation::Constant));
    one(abc(Opcode::GetUpvalue, 0, 1, 0), Err(Violation::Upvalue));
    one(abc(Opcode::LoadNil, 6, 1, 0), Ok(()));
    one(abc(Opcode::LoadNil, 6, 2, 0), Err(Violation::Register));
    one(abc(Opcode::Concat, 0, 1, 0), Err(Violation::Count));
    one(abc(Opcode::Concat, 7, 2, 0), Err(Violation::Register));
    one(abc(Opcode::Call, 0, 9, 1), Err(Violation::Register));
    one(abc(Opcode::Call, 0, 8, 9), Ok(()));
    one(abc(Opcode::Call, 0, 8, 10), Err(Violation::Register));
    one(abc(Opcode::AddK, 0, 0, 3), Ok(()));
    one(abc(Opcode::AddK, 0, 0, 0), Err(Violation::ConstantKind));
    one(abc(Opcode::BAndK, 0, 0, 3), Err(Violation::ConstantKind));
    one(abc(Opcode::VarArg, 0, 0, 1), Err(Violation::VarArg));
    one(abc(Opcode::VarArgPrep, 0, 0, 0), Err(Violation::VarArg));
    check(vec![abc(Opcode::Return, 0, 1, 2)], Err(Violation::Flag));
    check(vec![abc(Opcode::Return, 7, 3, 0)], Err(Violation::Register));
}

#[test]
fn trailing_words() {
    let end = abc(Opcode::Return0, 0, 0, 0);
    check(vec![abc(Opcode::GetField, 0, 0, 0), 0, end], Ok(()));
    check(vec![abc(Opcode::GetField, 0, 0, 0), 1, end], Err(Violation::CacheNotEmpty));
    check(vec![abc(Opcode::GetField, 0, 0, 1), 0, end], Err(Violation::ConstantKind));
    check(vec![abc(Opcode::SelfField, 7, 0, 0), 0, end], Err(Violation::Register));
    check(vec![end, abc(Opcode::Closure, 0, 0, 0)], Err(Violation::TrailingWordMissing));
    check(vec![abc(Opcode::Closure, 0, 0, 0), 0, end], Err(Violation::Function));
    check(vec![abc(Opcode::NewTable, 0, 0, 0), 1 << 20, end], Err(Violation::Count));
}

#[test]
fn control() {
    let end = abc(Opcode::Return0, 0, 0, 0);
    let jump = abc(Opcode::Jump, 0, 0, 0);
    check(vec![], Err(Violation::End));
    check(vec![abc(Opcode::Move, 0, 0, 0)], Err(Violation::End));
    check(vec![jump, -2i32 as u32], Ok(()));
    check(vec![jump, -1i32 as u32], Err(Violation::JumpTarget));
    check(vec![jump, 0], Err(Violation::JumpTarget));
    check(vec![jump, i32::MIN as u32], Err(Violation::JumpTarget));
    let skip = abc(Opcode::LoadFalseSkip, 0, 0, 0);
    check(vec![skip, abc(Opcode::LoadTrue, 0, 0, 0), end], Ok(()));
    check(vec![skip, end], Err(Violation::Skip));
    check(vec![skip, jump, 0, end], Err(Violation::Skip));
}

#[test]
fn open_lists() {
    let end = abc(Opcode::Return0, 0, 0, 0);
    let open = |register| abc(Opcode::Call, register, 1, 0);
    let consume = abc(Opcode::Call, 0, 0, 1);
    check(vec![open(1), consume, end], Ok(()));
    check(vec![open(0), consume, end], Err(Violation::OpenList));
    check(vec![open(1), end], Err(Violation::OpenList));
    check(vec![consume, end], Err(Violation::OpenList));
    check(vec![open(1), abc(Opcode::Move, 0, 0, 0), consume, end], Err(Violation::OpenList));
    check(vec![open(3), abc(Opcode::Return, 3, 0, 0)], Ok(()));
    check(vec![open(1), open(1), consume, end], Err(Violation::OpenList));
    let jump = abc(Opcode::Jump, 0, 0, 0);
    check(vec![jump, 1, open(1), consume, end], Err(Violation::JumpToConsumer));
    let skip = abc(Opcode::LoadFalseSkip, 0, 0, 0);
    check(vec![skip, open(1), consume, end], Err(Violation::JumpToConsumer));
}

#[test]
fn loops() {
    let end = abc(Opcode::Return0, 0, 0, 0);
    let (prepare, step) = (abc(Opcode::ForPrep, 0, 0, 0), abc(Opcode::ForLoop, 0, 0, 0));
    check(vec![prepare, 2, step, -2i32 as u32, end], Ok(()));
    check(vec![prepare, 0, step, -2i32 as u32, end], Err(Violation::Loop));
    check(vec![prepare, 2, abc(Opcode::ForLoop, 1, 0, 0), -2i32 as u32, end], Err(Violation::Loop));
    check(vec![end, step, -3i32 as u32, end], Err(Violation::Loop));
    // A word that looks like the partner and is none.
    let other = abc(Opcode::Move, 0, 0, 0);
    check(vec![abc(Opcode::NewTable, 0, 0, 0), prepare, other, other, step, -3i32 as u32, end], Err(Violation::Loop));
    let (call, again) = (abc(Opcode::TForCall, 0, 0, 2), abc(Opcode::TForLoop, 0, 0, 0));
    let generic = abc(Opcode::TForPrep, 0, 0, 0);
    check(vec![generic, 0, call, again, -3i32 as u32, end], Ok(()));
    check(vec![generic, 0, call, end], Err(Violation::Loop));
    check(vec![generic, 0, call, call, again, -4i32 as u32, end], Err(Violation::Loop));
    check(vec![generic, 1, call, again, -3i32 as u32, end], Err(Violation::Loop));
    check(vec![generic, 0, abc(Opcode::TForCall, 2, 0, 1), again, -3i32 as u32, end], Err(Violation::Register));
}

#[test]
fn tables_and_nesting() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut FunctionParts), expected: Result<(), Violation>) {
        let mut parts = compile(b"local a; return function() return a end", b"=x").expect("the source is well formed");
        change(&mut parts);
        assert_eq!(verify(parts).map(drop).map_err(|error| error.violation), expected);
    }
    check(|_| {}, Ok(()));
    check(|parts| parts.register_count = 1, Err(Violation::RegisterCount));
    check(|parts| parts.lines.push(LineEntry { pc: 1000, line: 1 }), Err(Violation::Lines));
    check(|parts| parts.lines.insert(0, LineEntry { pc: 1, line: 1 }), Err(Violation::Lines));
    check(|parts| parts.locals[0].register = 100, Err(Violation::Locals));
    check(|parts| parts.locals[0].end_pc = 1000, Err(Violation::Locals));
    check(|parts| parts.functions[0].upvalues[0].index = 100, Err(Violation::UpvalueDescription));
    check(|parts| parts.is_vararg = false, Err(Violation::VarArg));
    check(
        |parts| {
            for _ in 0..100_000 {
                let inner = std::mem::take(parts);
                *parts = function(vec![abc(Opcode::Return0, 0, 0, 0)]);
                parts.functions.push(inner);
            }
        },
        Err(Violation::NestingTooDeep),
    );
}

/// Every single-bit change of real code is either accepted or rejected, never a panic.
#[test]
fn damaged_code_does_not_panic() {
    let source = b"local t, f = {1, x = 2, ...}, 5
        for i = 1, #t do t[i] = i * 2 .. 'a' end
        for k, v in pairs(t) do if k == 1 or v then goto out end end
        ::out::
        local function g(...) return t:m(...), select('#', ...) end
        while f > 3 and not t.y do f = f - 1 end
        return g(f, (g()))";
    let parts = compile(source, b"=x").expect("the source is well formed");
    let mut rejected = 0;
    for position in 0..parts.code.len() {
        for bit in 0..32 {
            let mut damaged = parts.clone();
            damaged.code[position] ^= 1 << bit;
            rejected += usize::from(verify(damaged).is_err());
        }
    }
    assert!(rejected > parts.code.len() * 10, "only {rejected} changes were noticed");
}
