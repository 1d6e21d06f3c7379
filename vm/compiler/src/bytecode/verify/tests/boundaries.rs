//! The last value that is accepted and the first that is not, of every operand, count and position.

use super::{abc, check, function};
use crate::bytecode::function::{FunctionParts, LineEntry, LocalVariable, UpvalueDescription};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::{Opcode, Opcode as O, Operand, Trailing};
use crate::bytecode::verify::{Violation as V, verify};

const END: u32 = O::Return0 as u32;

/// Checks code with the functions and the flag that `change` gives it.
#[track_caller]
fn check_parts(code: Vec<u32>, change: impl FnOnce(&mut FunctionParts), expected: Result<(), V>) {
    let mut parts = function(code);
    change(&mut parts);
    assert_eq!(verify(parts).map(drop).map_err(|error| error.violation), expected);
}

/// As `check`, for a violation at an instruction.
#[track_caller]
fn check_at(code: Vec<u32>, pc: usize, violation: V) {
    let error = verify(function(code)).expect_err("a violation");
    assert_eq!((error.pc, error.violation), (pc, violation));
}

#[test]
fn groups_end_at_the_last_register() {
    let one = |instruction, expected| check(vec![instruction, END], expected);
    for (opcode, a, b, c) in [
        (O::LoadNil, 1, 6, 0),
        (O::Concat, 6, 2, 0),
        (O::Concat, 0, 8, 0),
        (O::Call, 7, 1, 1),
        (O::Call, 1, 7, 1),
        (O::Call, 1, 1, 8),
        (O::Call, 7, 1, 2),
    ] {
        one(abc(opcode, a, b, c), Ok(()));
        one(abc(opcode, a + 1, b, c), Err(V::Register));
    }
    one(abc(O::LoadNil, 7, 1, 0), Err(V::Register));
    let tail = |a, b| check(vec![abc(O::TailCall, a, b, 1), END], if a + b <= 8 { Ok(()) } else { Err(V::Register) });
    let last = |a, b| check(vec![abc(O::Return, a, b, 1)], if a + b <= 9 { Ok(()) } else { Err(V::Register) });
    let list = |a, b| {
        check(vec![abc(O::SetList, a, b, 0), 0, END], if a + b < 8 { Ok(()) } else { Err(V::Register) });
    };
    for (a, b) in [(0, 8), (1, 8), (1, 7), (2, 7), (3, 5), (7, 1), (0, 9), (4, 4)] {
        tail(a, b);
        last(a, b + 1);
        if b > 1 {
            list(a, b - 1);
        }
    }
    let field = |a, expected| check(vec![abc(O::SelfField, a, 0, 0), 0, END], expected);
    field(6, Ok(()));
    field(7, Err(V::Register));
    for (a, c, expected) in
        [(0, 9, Ok(())), (0, 10, Err(V::Register)), (7, 1, Ok(())), (6, 4, Err(V::Register)), (6, 3, Ok(()))]
    {
        let code = vec![abc(O::VarArgPrep, 0, 0, 0), abc(O::VarArg, a, 0, c), END];
        check_parts(code, |parts| parts.is_vararg = true, expected);
    }
}

#[test]
fn loops_have_their_registers() {
    let numeric = |a| vec![abc(O::ForPrep, a, 0, 0), 2, abc(O::ForLoop, a, 0, 0), -2i32 as u32, END];
    check(numeric(4), Ok(()));
    check_at(numeric(5), 0, V::Register);
    let generic = |a, c| {
        let call = abc(O::TForCall, a, 0, c);
        vec![abc(O::TForPrep, a, 0, 0), 0, call, abc(O::TForLoop, a, 0, 0), -3i32 as u32, END]
    };
    check(generic(1, 1), Ok(()));
    check(generic(1, 3), Ok(()));
    check_at(generic(1, 4), 2, V::Register);
    check_at(generic(2, 1), 2, V::Register);
    check(generic(0, 4), Ok(()));
    check_at(generic(0, 5), 2, V::Register);
    check_at(generic(0, 0), 2, V::Count);
    check_at(generic(5, 1), 0, V::Register);
    // Before it is asked what stands before it, its registers are looked at.
    let alone = |a| vec![abc(O::TForLoop, a, 0, 0), 0, END];
    check_at(alone(2), 0, V::Loop);
    check_at(alone(3), 0, V::Loop);
    check_at(alone(4), 0, V::Register);
}

#[test]
fn loops_are_pairs() {
    let call = abc(O::TForCall, 0, 0, 1);
    let (start, again) = (abc(O::TForPrep, 0, 0, 0), abc(O::TForLoop, 0, 0, 0));
    check_at(vec![start, 0, call, abc(O::TForLoop, 1, 0, 0), -3i32 as u32, END], 3, V::Loop);
    check_at(vec![start, 0, call, END], 3, V::Loop);
    // A loop may be entered at its call alone, which has the same registers.
    check_at(vec![start, 3, call, again, -3i32 as u32, END], 0, V::Loop);
    check_at(vec![abc(O::TForPrep, 1, 0, 0), 0, call, again, -3i32 as u32, END], 0, V::Loop);
    check_at(vec![start, 0, call, again, 0, END], 3, V::Loop);
    // The call before has other registers, though both calls and both steps are of loops that are pairs otherwise.
    let (call_1, again_1) = (abc(O::TForCall, 1, 0, 1), abc(O::TForLoop, 1, 0, 0));
    let start_1 = abc(O::TForPrep, 1, 0, 0);
    check(vec![start_1, 0, call_1, again_1, -3i32 as u32, END], Ok(()));
    check_at(vec![start_1, 3, call, again_1, -3i32 as u32, call_1, again_1, -6i32 as u32, END], 3, V::Loop);
    // Numeric loops jump to behind each other.
    let (prepare, step) = (abc(O::ForPrep, 0, 0, 0), abc(O::ForLoop, 0, 0, 0));
    check_at(vec![prepare, 2, step, 0, END], 0, V::Loop);
    check_at(vec![prepare, 3, step, -2i32 as u32, END, END], 0, V::Loop);
    let twice = vec![prepare, 2, step, -2i32 as u32, prepare, 2, step, -6i32 as u32, END];
    check_at(twice, 4, V::Loop);
    check_at(vec![step, 0, END], 0, V::Loop);
    // The word two before the target is a trailing one that looks like the partner.
    check_at(vec![abc(O::NewTable, 0, 0, 0), step, abc(O::Move, 0, 0, 0), prepare, -2i32 as u32, END], 3, V::Loop);
}

#[test]
fn references_end_at_the_last_one() {
    check(vec![Instruction::abx(O::LoadConstant, 0, 3).0, END], Ok(()));
    check(vec![abc(O::LoadConstantWide, 0, 0, 0), 3, END], Ok(()));
    check(vec![abc(O::LoadConstantWide, 0, 0, 0), 4, END], Err(V::Constant));
    check(vec![abc(O::LoadConstantWide, 0, 0, 0), 5, END], Err(V::Constant));
    check(vec![abc(O::GetUpvalue, 0, 0, 0), END], Ok(()));
    check(vec![abc(O::GetUpvalue, 0, 2, 0), END], Err(V::Upvalue));
    for (word, expected) in [(0, Ok(())), (1, Err(V::Function)), (2, Err(V::Function))] {
        let inner = FunctionParts { upvalues: Vec::new(), ..function(vec![END]) };
        check_parts(vec![abc(O::Closure, 0, 1, 0), word, END], |parts| parts.functions.push(inner), expected);
    }
    check(vec![abc(O::NewTable, 0, 0, 0), 3 * 255, END], Ok(()));
    check(vec![abc(O::NewTable, 0, 0, 0), 3 * 255 + 1, END], Err(V::Count));
    check(vec![abc(O::NewTable, 0, 0, 0), 0, END], Ok(()));
}

#[test]
fn constants_are_of_the_kind_that_is_wanted() {
    // Number 0 is a short string, 1 a long one, 2 an integer, 3 a float.
    let check_kinds = |make: &dyn Fn(u8) -> Vec<u32>, fitting: &[u8]| {
        for number in 0..4 {
            let expected = if fitting.contains(&number) { Ok(()) } else { Err(V::ConstantKind) };
            check(make(number), expected);
        }
    };
    for opcode in [O::GetTabUp, O::GetField, O::SelfField] {
        check_kinds(&|number| vec![abc(opcode, 0, 0, number), 0, END], &[0]);
    }
    for opcode in [O::SetTabUp, O::SetTabUpK, O::SetField, O::SetFieldK] {
        check_kinds(&|number| vec![abc(opcode, 0, number, 0), 0, END], &[0]);
    }
    for opcode in [O::AddK, O::SubK, O::MulK, O::DivK, O::ModK, O::PowK, O::IDivK] {
        check_kinds(&|number| vec![abc(opcode, 0, 0, number), END], &[2, 3]);
    }
    for opcode in [O::BAndK, O::BOrK, O::BXorK] {
        check_kinds(&|number| vec![abc(opcode, 0, 0, number), END], &[2]);
    }
    let with = |length| {
        move |parts: &mut FunctionParts| {
            parts.constants[0] = crate::bytecode::function::Constant::String(vec![b'x'; length][..].into());
        }
    };
    check_parts(vec![abc(O::GetField, 0, 0, 0), 0, END], with(40), Ok(()));
    check_parts(vec![abc(O::GetField, 0, 0, 0), 0, END], with(41), Err(V::ConstantKind));
}

/// Each operand of each opcode by itself: 8 registers, 4 constants, 1 upvalue.
#[test]
fn operands_end_at_the_last_value() {
    for &opcode in Opcode::ALL {
        let layout = opcode.layout();
        let limit = |operand| match operand {
            Operand::None => Some((0, V::UnusedOperand)),
            Operand::Read | Operand::Write => Some((7, V::Register)),
            Operand::Constant => Some((3, V::Constant)),
            Operand::Upvalue => Some((0, V::Upvalue)),
            Operand::Flag => Some((1, V::Flag)),
            _ => None,
        };
        let operands = if layout.wide { vec![layout.a] } else { vec![layout.a, layout.b, layout.c] };
        for (place, operand) in operands.into_iter().enumerate() {
            let Some((last, violation)) = limit(operand) else { continue };
            for (value, is_valid) in [(last, true), (last + 1, false), (last + 2, false)] {
                let mut values = [0u8; 3];
                values[place] = value;
                let mut code = vec![abc(opcode, values[0], values[1], values[2])];
                if layout.trailing != Trailing::None {
                    code.push(0);
                }
                code.push(END);
                // Other rules about the instruction come later and say something else.
                let found = verify(function(code)).map(drop).map_err(|error| error.violation);
                assert_eq!(found == Err(violation), !is_valid, "{opcode:?} with {values:?}: {found:?}");
            }
        }
    }
}

#[test]
fn variable_arguments_are_prepared_once_and_first() {
    let (prepare, use_all) = (abc(O::VarArgPrep, 0, 0, 0), abc(O::VarArg, 0, 0, 2));
    let vararg = |parts: &mut FunctionParts| parts.is_vararg = true;
    check_parts(vec![prepare, use_all, END], vararg, Ok(()));
    check_parts(vec![abc(O::VarArgPrep, 1, 0, 0), END], vararg, Err(V::VarArg));
    let with_one = |parts: &mut FunctionParts| (parts.is_vararg, parts.parameter_count) = (true, 1);
    check_parts(vec![abc(O::VarArgPrep, 1, 0, 0), END], with_one, Ok(()));
    check_parts(vec![prepare, prepare, END], vararg, Err(V::VarArg));
    check_parts(vec![use_all, END], vararg, Err(V::VarArg));
    check_parts(vec![END], vararg, Err(V::VarArg));
    check(vec![use_all, END], Err(V::VarArg));
    let jump = abc(O::Jump, 0, 0, 0);
    check_parts(vec![prepare, jump, -3i32 as u32], vararg, Err(V::VarArg));
    check_parts(vec![prepare, jump, -2i32 as u32], vararg, Ok(()));
    check(vec![jump, -2i32 as u32], Ok(()));
}

#[test]
fn open_lists_begin_where_their_consumers_read() {
    let vararg = |parts: &mut FunctionParts| parts.is_vararg = true;
    let prepare = abc(O::VarArgPrep, 0, 0, 0);
    for opener in [O::Call, O::VarArg] {
        let open = |a| abc(opener, a, u8::from(opener == O::Call), 0);
        for a in 0..4 {
            let (at_first, behind_first) = if a >= 2 { (Ok(()), a >= 3) } else { (Err(V::OpenList), false) };
            let behind = if behind_first { Ok(()) } else { Err(V::OpenList) };
            check_parts(vec![prepare, open(a), abc(O::Return, 2, 0, 0)], vararg, at_first);
            check_parts(vec![prepare, open(a), abc(O::TailCall, 2, 0, 0), END], vararg, behind);
            check_parts(vec![prepare, open(a), abc(O::Call, 2, 0, 1), END], vararg, behind);
            check_parts(vec![prepare, open(a), abc(O::SetList, 2, 0, 0), 0, END], vararg, behind);
        }
        // With a count, neither opens a list.
        check_parts(
            vec![prepare, abc(opener, 3, u8::from(opener == O::Call), 1), abc(O::Return, 2, 0, 0)],
            vararg,
            Err(V::OpenList),
        );
    }
}

#[test]
fn jumps_land_on_instructions() {
    let jump = abc(O::Jump, 0, 0, 0);
    check_at(vec![jump, 1, END], 0, V::JumpTarget);
    check_at(vec![jump, -3i32 as u32], 0, V::JumpTarget);
    check(vec![jump, 0, END], Ok(()));
    check_at(vec![END, jump, -2i32 as u32, jump, -3i32 as u32, END], 3, V::JumpTarget);
    // A skipped instruction has one word, and one follows it.
    let skip = abc(O::LoadFalseSkip, 0, 0, 0);
    check_at(vec![skip, END], 0, V::Skip);
    check_at(vec![skip, abc(O::GetField, 0, 0, 0), 0, END], 1, V::Skip);
    check_at(vec![abc(O::Move, 0, 0, 0)], 0, V::End);
    check_at(vec![abc(O::GetField, 0, 0, 0), 0], 1, V::End);
    check_at(vec![END, abc(O::Close, 0, 0, 0)], 1, V::End);
    check_at(vec![], 0, V::End);
}

#[test]
fn headers() {
    let code = || vec![END];
    check_parts(code(), |parts| parts.register_count = 2, Ok(()));
    check_parts(code(), |parts| parts.register_count = 1, Err(V::RegisterCount));
    check_parts(code(), |parts| parts.register_count = 0, Err(V::RegisterCount));
    check_parts(code(), |parts| parts.parameter_count = 8, Ok(()));
    check_parts(code(), |parts| parts.parameter_count = 9, Err(V::RegisterCount));
    check_parts(code(), |parts| parts.parameter_count = 10, Err(V::RegisterCount));
    let upvalue = || UpvalueDescription { in_stack: true, index: 0, name: Default::default() };
    for (count, expected) in [(255, Ok(())), (256, Err(V::UpvalueDescription)), (257, Err(V::UpvalueDescription))] {
        check_parts(code(), |parts| parts.upvalues = vec![upvalue(); count], expected);
    }
    // Around it: 8 registers, 1 upvalue.
    for (in_stack, index, is_valid) in
        [(true, 7, true), (true, 8, false), (true, 9, false), (false, 0, true), (false, 1, false), (false, 2, false)]
    {
        let inner = FunctionParts {
            upvalues: vec![UpvalueDescription { in_stack, index, name: Default::default() }],
            ..function(vec![END])
        };
        let expected = if is_valid { Ok(()) } else { Err(V::UpvalueDescription) };
        check_parts(code(), |parts| parts.functions.push(inner), expected);
    }
}

#[test]
fn nesting() {
    let nested = |levels: usize| {
        (1..levels)
            .fold(function(vec![END]), |inner, _| FunctionParts { functions: vec![inner], ..function(vec![END]) })
    };
    assert!(verify(nested(200)).is_ok());
    for levels in [201, 202] {
        assert_eq!(verify(nested(levels)).expect_err("too deep").violation, V::NestingTooDeep);
    }
}

#[test]
fn debug_tables() {
    let lines = |entries: &[u32], expected| {
        let lines = entries.iter().map(|&pc| LineEntry { pc, line: 1 }).collect();
        check_parts(vec![abc(O::Move, 0, 0, 0), END], |parts| parts.lines = lines, expected);
    };
    lines(&[0, 1], Ok(()));
    lines(&[1], Ok(()));
    lines(&[0, 0], Err(V::Lines));
    lines(&[1, 0], Err(V::Lines));
    lines(&[2], Err(V::Lines));
    lines(&[3], Err(V::Lines));
    let locals = |entries: &[(u8, u32, u32)], expected| {
        let local =
            |&(register, start_pc, end_pc)| LocalVariable { name: Default::default(), register, start_pc, end_pc };
        let locals = entries.iter().map(local).collect();
        check_parts(vec![abc(O::Move, 0, 0, 0), END], |parts| parts.locals = locals, expected);
    };
    locals(&[(7, 0, 2), (0, 0, 1)], Ok(()));
    locals(&[(0, 0, 2), (0, 1, 1)], Ok(()));
    locals(&[(0, 1, 2), (0, 0, 1)], Err(V::Locals));
    locals(&[(8, 0, 2)], Err(V::Locals));
    locals(&[(9, 0, 2)], Err(V::Locals));
    locals(&[(0, 2, 1)], Err(V::Locals));
    locals(&[(0, 2, 2)], Ok(()));
    locals(&[(0, 0, 3)], Err(V::Locals));
    locals(&[(0, 0, 4)], Err(V::Locals));
}
