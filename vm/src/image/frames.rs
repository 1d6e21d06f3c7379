//! Whether the frames of a rebuilt coroutine can be run: what the interpreter's unchecked accesses and its native functions rely on.
//!
//! The interpreter leaves a frame in few ways, and each fixes where the frame stands and what is above it:
//!
//! | above the Lua frame | `pc` | result goes to |
//! |--|--|--|
//! | nothing | at an instruction | |
//! | callee of `Call`, `TForCall` | after it | its registers, as many as it says (`want` ≥ -1) |
//! | callee of `TailCall`, a native function | after it | the frame's caller (`WANT_RETURN`) |
//! | metamethod | after the instruction's first word | that instruction (`WANT_FINISH`) |
//! | `__close` of `Close`, `Return` | after it | nowhere; it is run again (`WANT_REPEAT`) |
//! | finalizers | at an instruction | nowhere |
//! | message handler | anywhere; the frame is dropped | |
//! | debug hook | after an instruction's first word | nowhere; the instruction is run again (`WANT_HOOK`) |
//!
//! Above a native function's frame is what it called, whose results go to its slots.

use std::rc::Rc;

use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::heap::closure::Closure;
use crate::heap::coroutine::{
    Callee, FLAG_COUNT_DONE, FLAG_HANDLER, FLAG_IN_CALL_HOOK, FLAG_IN_HOOK, FLAG_IN_RETURN_HOOK, FLAG_LINE_DONE,
    FLAG_NATIVE_CALL, FLAG_STARTED, FLAG_TAIL_CALL, FLAG_UNYIELDABLE, Frame, State, Status, WANT_ALL, WANT_FINISH,
    WANT_HOOK, WANT_REPEAT, WANT_RETURN,
};
use crate::heap::hook::{HOOK_CALL, HOOK_COUNT, HOOK_LINE, HOOK_RETURN};
use crate::heap::native::Role;
use crate::heap::proto::Proto;
use crate::interpreter::{FAILED_CLOSER, NATIVE_SLOTS};

const FLAGS_KNOWN: u32 = FLAG_TAIL_CALL
    | FLAG_UNYIELDABLE
    | FLAG_HANDLER
    | FLAG_NATIVE_CALL
    | FLAG_STARTED
    | FLAG_COUNT_DONE
    | FLAG_LINE_DONE
    | FLAG_IN_HOOK
    | FLAG_IN_CALL_HOOK
    | FLAG_IN_RETURN_HOOK
    | FAILED_CLOSER;

const HOOKS_ALL: u8 = HOOK_CALL | HOOK_RETURN | HOOK_LINE | HOOK_COUNT;

/// The place of each instruction's first word.
pub(super) type Starts = Rc<[bool]>;

/// Finds where instructions begin.
pub(super) fn instruction_starts(proto: Proto<'_>) -> Starts {
    let code = &proto.0.as_ref().code;
    let mut starts = vec![false; code.len()];
    let mut pc = 0;
    while pc < code.len() {
        starts[pc] = true;
        pc += Instruction(code[pc].get()).opcode().map_or(1, Opcode::words);
    }
    starts.into()
}

/// A frame together with where its code's instructions begin, if it is a Lua function's, and its place in the code.
#[derive(Clone)]
pub(super) struct Placed<'gc> {
    pub frame: Frame<'gc>,
    pub pc: usize,
    pub starts: Option<Starts>,
}

/// Checks the frames of a coroutine, whose other fields are complete. Says what is wrong.
pub(super) fn check<'gc>(state: &State<'gc>, frames: &[Placed<'gc>]) -> Result<(), &'static str> {
    for (index, placed) in frames.iter().enumerate() {
        check_frame(placed, state.stack.len())?;
        let above = frames.get(index + 1).map(|above| &above.frame);
        match placed.frame.callee {
            Callee::Lua(closure) => check_lua(placed, closure, above, state)?,
            Callee::Native(_) => check_native(placed, above, state)?,
        }
    }
    // What is counted down when it is over.
    let suspending = |placed: &&Placed<'_>| match placed.frame.callee {
        Callee::Native(native) if native.name() == "(finalizers)" => placed.frame.state != 0,
        _ => placed.frame.want == WANT_HOOK,
    };
    if (state.hook.suspensions as usize) < frames.iter().filter(suspending).count() || state.hook.mask > HOOKS_ALL {
        return Err("debug hook");
    }
    match frames.first() {
        Some(bottom) if bottom.frame.function != 0 || bottom.frame.want != WANT_ALL => Err("bottom frame"),
        _ => Ok(()),
    }
}

/// Positions in order and within the stack.
fn check_frame(placed: &Placed<'_>, stack: usize) -> Result<(), &'static str> {
    let Frame { callee, function, base, top, want, extra, results, flags, .. } = placed.frame;
    let (function, base, top) = (function as usize, base as usize, top as usize);
    let extra = extra as usize;
    if flags & !FLAGS_KNOWN != 0 || base <= function || top > stack || want < WANT_HOOK {
        return Err("frame");
    }
    // Results that are wanted have slots.
    if function.saturating_add(want.max(0) as usize) > stack {
        return Err("frame's results");
    }
    match callee {
        Callee::Native(native) => {
            let state_max = if native.role().is_plain() { i32::MAX as u32 } else { u32::MAX };
            // The dispatch loop enters `pcall` without them; it needs none.
            let slots = if native.role() == Role::ProtectedCall { 0 } else { NATIVE_SLOTS };
            // During a return hook the fields tell where the function's own results are; they are checked when it is over.
            let has_results = flags & FLAG_IN_RETURN_HOOK != 0 || base.saturating_add(results as usize) <= top;
            let is_in_order = base == function + 1
                && base.saturating_add(extra).saturating_add(slots) <= stack
                && base <= top
                && has_results
                && placed.frame.state <= state_max;
            if is_in_order { Ok(()) } else { Err("native frame") }
        }
        Callee::Lua(closure) => {
            let proto = closure.proto().0;
            // Before its first instruction, a frame's arguments are above its base, afterwards the variable ones are below.
            let arguments_fit = if placed.pc == 0 || !proto.is_vararg {
                base == function + 1 && base.saturating_add(extra) <= stack
            } else {
                extra < base - function
            };
            let fits = arguments_fit && base + usize::from(proto.register_count) <= stack;
            if fits && placed.pc <= proto.code.len() { Ok(()) } else { Err("registers") }
        }
    }
}

fn check_native(placed: &Placed<'_>, above: Option<&Frame<'_>>, state: &State<'_>) -> Result<(), &'static str> {
    let is_protected_call = match placed.frame.callee {
        Callee::Native(native) => native.role() == Role::ProtectedCall && placed.frame.state == 1,
        Callee::Lua(_) => false,
    };
    match above {
        Some(above) if above.function < placed.frame.base => Err("call of a native function"),
        Some(above) if above.want == WANT_HOOK => Ok(()),
        Some(above) if above.want < WANT_ALL => Err("call of a native function"),
        // Left in one step, with what it called counted as a call of native code.
        Some(above) if is_protected_call && above.flags & FLAG_NATIVE_CALL == 0 => Err("protected call"),
        // It waits for another coroutine, and goes on in the next state or the one after.
        None if state.status == Status::Normal && placed.frame.state >= u32::MAX - 1 => Err("waiting function"),
        _ => Ok(()),
    }
}

fn check_lua<'gc>(
    placed: &Placed<'gc>,
    closure: Closure<'gc>,
    above: Option<&Frame<'gc>>,
    state: &State<'gc>,
) -> Result<(), &'static str> {
    let code = &closure.proto().0.as_ref().code;
    let begins = |pc: usize| placed.starts.as_ref().is_some_and(|starts| starts.get(pc).copied().unwrap_or(false));
    let instruction = |pc: usize| Instruction(code[pc].get());
    let at_boundary = || {
        let next = begins(placed.pc);
        if next { check_open_list(&placed.frame, instruction(placed.pc)) } else { Err("place in the code") }
    };
    let current = placed.pc.checked_sub(1).filter(|current| begins(*current));
    let Some(above) = above else {
        return match (state.status, current) {
            (Status::Running, _) => at_boundary(),
            // The instruction that failed; it is only looked at.
            (Status::Failed, Some(_)) => Ok(()),
            _ => Err("waiting frame"),
        };
    };
    let base = placed.frame.base;
    if let Callee::Native(native) = above.callee {
        let free = base + u32::from(closure.proto().0.register_count);
        match native.name() {
            "(message handler)" if above.flags & FLAG_HANDLER != 0 && above.function >= free => return Ok(()),
            "(finalizers)" if above.want == 0 && above.function >= free => return at_boundary(),
            _ => {}
        }
    }
    let Some(current) = current else { return Err("place in the code") };
    let current = instruction(current);
    if above.want == WANT_HOOK {
        return check_open_list(&placed.frame, current);
    }
    let (a, c) = (current.a() as u32, current.c() as i32);
    let is_right = match (current.opcode(), above.want) {
        (Some(Opcode::Call), want) => want == c - 1 && above.function == base + a,
        (Some(Opcode::TForCall), want) => want == c && above.function == base + a + 4,
        (Some(Opcode::TailCall), WANT_RETURN) => {
            matches!(above.callee, Callee::Native(_)) && above.function == base + a
        }
        (Some(Opcode::Close), WANT_REPEAT) => above.function >= base,
        (Some(Opcode::Return), WANT_REPEAT) => {
            check_open_list(&placed.frame, current)?;
            current.flag() && above.function >= base
        }
        (Some(Opcode::Concat), WANT_FINISH) => {
            above.function >= base && (1..current.b()).contains(&(placed.frame.state as usize))
        }
        (Some(opcode), WANT_FINISH) => above.function >= base && may_call_metamethod(opcode),
        _ => false,
    };
    if is_right { Ok(()) } else { Err("call of a Lua function") }
}

/// An instruction that takes a list up to `top` finds its end at or above its start.
fn check_open_list(frame: &Frame<'_>, instruction: Instruction) -> Result<(), &'static str> {
    let above = match instruction.opcode() {
        Some(Opcode::Call | Opcode::TailCall | Opcode::SetList) => 1,
        Some(Opcode::Return) => 0,
        _ => return Ok(()),
    };
    let start = frame.base as usize + instruction.a() + above;
    if instruction.b() == 0 && (frame.top as usize) < start { Err("open list") } else { Ok(()) }
}

/// Whether an instruction may wait for the result of a metamethod, besides concatenation.
fn may_call_metamethod(opcode: Opcode) -> bool {
    use Opcode as O;
    matches!(
        opcode,
        O::GetTabUp
            | O::GetTable
            | O::GetInteger
            | O::GetField
            | O::SelfField
            | O::SetTabUp
            | O::SetTabUpK
            | O::SetTable
            | O::SetTableK
            | O::SetInteger
            | O::SetIntegerK
            | O::SetField
            | O::SetFieldK
            | O::Add
            | O::Sub
            | O::Mul
            | O::Div
            | O::Mod
            | O::Pow
            | O::IDiv
            | O::BAnd
            | O::BOr
            | O::BXor
            | O::Shl
            | O::Shr
            | O::AddI
            | O::SubI
            | O::ShlI
            | O::ShrI
            | O::AddK
            | O::SubK
            | O::MulK
            | O::DivK
            | O::ModK
            | O::PowK
            | O::IDivK
            | O::BAndK
            | O::BOrK
            | O::BXorK
            | O::Neg
            | O::BNot
            | O::Len
            | O::Eq
            | O::Lt
            | O::Le
            | O::LtI
            | O::LeI
            | O::GtI
            | O::GeI
    )
}
