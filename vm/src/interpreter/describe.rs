//! Error messages: positions, and the names of the values that caused them, as PUC Lua words them.
//!
//! A value has no name; the instruction that used it has operands, and the code before it tells where an operand came from: a
//! local variable, a field, a constant. This follows the code of the current function symbolically.

use super::Machine;
use super::activation::Activation;
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::{Opcode, Operand, Trailing};
use crate::call::c_string;
use crate::error::Error;
use crate::fuel;
use crate::heap::coroutine::{Callee, Frame};
use crate::heap::proto::Proto;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;
use cu_compiler::display_chunk_name;

/// Longer messages ask the heap limit.
const LONG_MESSAGE: usize = 1024;

/// A kind (`global`, `local`, `field` …) and a name.
pub(crate) type Name<'gc> = (&'static str, &'gc [u8]);

impl<'gc> Frame<'gc> {
    /// The index of the instruction that a Lua frame is executing.
    pub(crate) fn current_pc(&self) -> Option<usize> {
        let Callee::Lua(closure) = self.callee else {
            return None;
        };
        let code = &closure.proto().0.as_ref().code;
        let offset = (self.pc as usize).wrapping_sub(code.as_ptr() as usize) / 4;
        // `pc` is past the instruction's first word, perhaps past its second.
        let mut pc = offset.checked_sub(1)?;
        if pc > 0 && is_trailing_word(code, pc) {
            pc -= 1;
        }
        Some(pc)
    }

    /// The line that a Lua frame is executing; `None` without line information.
    pub(crate) fn current_line(&self) -> Option<u32> {
        let Callee::Lua(closure) = self.callee else {
            return None;
        };
        let line = closure.proto().line_at(self.current_pc()?);
        (line != 0).then_some(line)
    }
}

/// Whether the word at `pc` follows another instruction's first word. Scans from the start: only for messages.
fn is_trailing_word(code: &[std::cell::Cell<u32>], pc: usize) -> bool {
    let mut at = 0;
    fuel::owe(fuel::searched(pc));
    while at < pc {
        at += Instruction(code[at].get()).opcode().map_or(1, Opcode::words);
    }
    at > pc
}

/// `chunk:line: ` for a Lua function; nothing for a native one.
fn position(frame: &Frame<'_>, line: i64) -> Vec<u8> {
    let Some(proto) = frame.callee.proto() else {
        return Vec::new();
    };
    let mut text = display_chunk_name(proto.chunk_name());
    text.extend_from_slice(format!(":{line}: ").as_bytes());
    text
}

impl<'gc> Machine<'gc> {
    /// An error with the position of the running Lua function.
    #[cold]
    #[inline(never)]
    pub(crate) fn runtime_error(&self, message: &[u8]) -> Error<'gc> {
        let frame = self.top_frame();
        self.error_at(position(frame, frame.current_line().map_or(-1, i64::from)), message)
    }

    /// An error with the position of the function at `level`, if that is known.
    #[cold]
    #[inline(never)]
    pub(crate) fn error_at_level(&self, level: usize, message: &[u8]) -> Error<'gc> {
        let frame = self.activation(level).map(Activation::frame);
        let position = frame.and_then(|frame| Some(position(&frame, frame.current_line()?.into())));
        self.error_at(position.unwrap_or_default(), message)
    }

    fn error_at(&self, position: Vec<u8>, message: &[u8]) -> Error<'gc> {
        fuel::owe(fuel::ERROR_TEXT + fuel::copied(message.len()));
        // A message that is nearly as long as the heap is not made twice.
        if message.len() > LONG_MESSAGE && self.context.accounting().check(2 * message.len()).is_err() {
            return Error::OutOfMemory;
        }
        let mut text = position;
        text.extend_from_slice(message);
        Error::Thrown(Value::String(self.context.string_from(text)))
    }

    /// The name of a value's type, a `__name` in its metatable included.
    pub(crate) fn type_name_of(&self, value: Value<'gc>) -> Vec<u8> {
        match (value, self.context.metamethod(value, Metamethod::Name)) {
            (Value::Table(_) | Value::Userdata(_), Value::String(name)) => c_string(name.as_bytes()).to_vec(),
            _ => value.type_name().into(),
        }
    }

    /// "attempt to index a T value (name)".
    #[cold]
    #[inline(never)]
    pub(crate) fn index_error(&self, object: Value<'gc>, _key: Value<'gc>) -> Error<'gc> {
        self.operation_error("index", object)
    }

    /// "attempt to OPERATION a T value (name)".
    #[cold]
    #[inline(never)]
    pub(crate) fn operation_error(&self, operation: &str, culprit: Value<'gc>) -> Error<'gc> {
        self.type_error(operation, culprit, self.name_of_operand(culprit))
    }

    /// As [`Self::operation_error`] for the value in a stack slot.
    #[cold]
    #[inline(never)]
    pub(crate) fn slot_error(&self, operation: &str, position: usize) -> Error<'gc> {
        let name = self.name_of_register(self.top_frame(), position);
        self.type_error(operation, self.slot(position), name)
    }

    /// "attempt to call a T value (name)".
    #[cold]
    #[inline(never)]
    pub(crate) fn call_error(&self, function: usize, value: Value<'gc>) -> Error<'gc> {
        let frame = self.top_frame();
        let name = call_name(frame).or_else(|| self.name_of_register(frame, function));
        self.type_error("call", value, name)
    }

    fn type_error(&self, operation: &str, culprit: Value<'gc>, name: Option<Name<'gc>>) -> Error<'gc> {
        let mut message = format!("attempt to {operation} a ").into_bytes();
        message.extend(self.type_name_of(culprit));
        message.extend_from_slice(b" value");
        message.extend(describe_name(name));
        self.runtime_error(&message)
    }

    /// "number(name) has no integer representation".
    #[cold]
    #[inline(never)]
    pub(crate) fn no_integer_error(&self, left: Value<'gc>, right: Value<'gc>) -> Error<'gc> {
        let culprit = if left.to_integer().is_none() { left } else { right };
        let mut message = b"number".to_vec();
        message.extend(describe_name(self.name_of_operand(culprit)));
        message.extend_from_slice(b" has no integer representation");
        self.runtime_error(&message)
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn comparison_error(&self, left: Value<'gc>, right: Value<'gc>) -> Error<'gc> {
        let (left, right) = (self.type_name_of(left), self.type_name_of(right));
        let mut message = b"attempt to compare ".to_vec();
        if left == right {
            message.extend_from_slice(b"two ");
            message.extend_from_slice(&left);
            message.extend_from_slice(b" values");
        } else {
            message.extend_from_slice(&left);
            message.extend_from_slice(b" with ");
            message.extend_from_slice(&right);
        }
        self.runtime_error(&message)
    }

    /// "bad argument #n to 'f' (message)" for the native function of the top frame.
    #[cold]
    #[inline(never)]
    pub(crate) fn arg_error(&self, index: usize, message: &[u8]) -> Error<'gc> {
        let called = self.activation(0).and_then(Activation::name);
        let global = if called.is_none() { self.global_name(self.top_frame().callee) } else { None };
        let (kind, name) = called.unwrap_or(("", global.as_deref().unwrap_or(b"?")));
        let mut text = Vec::new();
        let index = if kind == "method" { index - 1 } else { index };
        if index == 0 {
            text.extend_from_slice(b"calling '");
            text.extend_from_slice(name);
            text.extend_from_slice(b"' on bad self");
        } else {
            text.extend_from_slice(format!("bad argument #{index} to '").as_bytes());
            text.extend_from_slice(name);
            text.push(b'\'');
        }
        text.extend_from_slice(b" (");
        text.extend_from_slice(message);
        text.push(b')');
        self.error_at_level(1, &text)
    }

    /// The name of the register at stack position `position` of a Lua frame.
    fn name_of_register(&self, frame: &Frame<'gc>, position: usize) -> Option<Name<'gc>> {
        let Callee::Lua(closure) = frame.callee else {
            return None;
        };
        register_name(closure.proto(), frame.current_pc()?, position.checked_sub(frame.base as usize)?)
    }

    /// The name of the operand of the current instruction that holds `culprit`.
    fn name_of_operand(&self, culprit: Value<'gc>) -> Option<Name<'gc>> {
        let frame = self.top_frame();
        let Callee::Lua(closure) = frame.callee else {
            return None;
        };
        let proto = closure.proto();
        let pc = frame.current_pc()?;
        let instruction = Instruction(proto.0.code[pc].get());
        let layout = instruction.opcode()?.layout();
        let operands = [
            (layout.a, instruction.a()),
            (layout.b, if layout.wide { instruction.bx() } else { instruction.b() }),
            (layout.c, instruction.c()),
        ];
        for (operand, index) in operands {
            match operand {
                Operand::Read if same(self.slot(frame.base as usize + index), culprit) => {
                    return register_name(proto, pc, index);
                }
                Operand::Upvalue if same(closure.upvalue(index).get(), culprit) => {
                    return Some(("upvalue", upvalue_name(proto, index)));
                }
                _ => {}
            }
        }
        None
    }
}

/// How the function that `caller` is calling was named there.
pub(crate) fn call_name<'gc>(caller: &Frame<'gc>) -> Option<Name<'gc>> {
    if caller.is_hooked() {
        return Some(("hook", b"?"));
    }
    let proto = caller.callee.proto()?;
    let pc = caller.current_pc()?;
    let instruction = Instruction(proto.0.code[pc].get());
    let event = match instruction.opcode()? {
        Opcode::Call | Opcode::TailCall => return register_name(proto, pc, instruction.a()),
        Opcode::TForCall => return Some(("for iterator", b"for iterator")),
        Opcode::GetTabUp | Opcode::GetTable | Opcode::GetInteger | Opcode::GetField | Opcode::SelfField => {
            Metamethod::Index
        }
        Opcode::SetTabUp
        | Opcode::SetTabUpK
        | Opcode::SetTable
        | Opcode::SetTableK
        | Opcode::SetInteger
        | Opcode::SetIntegerK
        | Opcode::SetField
        | Opcode::SetFieldK => Metamethod::NewIndex,
        Opcode::Add | Opcode::AddI | Opcode::AddK => Metamethod::Add,
        Opcode::Sub | Opcode::SubI | Opcode::SubK => Metamethod::Sub,
        Opcode::Mul | Opcode::MulK => Metamethod::Mul,
        Opcode::Div | Opcode::DivK => Metamethod::Div,
        Opcode::Mod | Opcode::ModK => Metamethod::Mod,
        Opcode::Pow | Opcode::PowK => Metamethod::Pow,
        Opcode::IDiv | Opcode::IDivK => Metamethod::IDiv,
        Opcode::BAnd | Opcode::BAndK => Metamethod::BAnd,
        Opcode::BOr | Opcode::BOrK => Metamethod::BOr,
        Opcode::BXor | Opcode::BXorK => Metamethod::BXor,
        Opcode::Shl | Opcode::ShlI => Metamethod::Shl,
        Opcode::Shr | Opcode::ShrI => Metamethod::Shr,
        Opcode::Neg => Metamethod::Unm,
        Opcode::BNot => Metamethod::BNot,
        Opcode::Len => Metamethod::Len,
        Opcode::Concat => Metamethod::Concat,
        Opcode::Eq | Opcode::EqI => Metamethod::Eq,
        Opcode::Lt | Opcode::LtI | Opcode::GtI => Metamethod::Lt,
        Opcode::Le | Opcode::LeI | Opcode::GeI => Metamethod::Le,
        Opcode::Close | Opcode::Return => Metamethod::Close,
        _ => return None,
    };
    Some(("metamethod", &event.name().as_bytes()[2..]))
}

/// Whether both are the same value, NaN included: it was copied, not computed.
fn same<'gc>(left: Value<'gc>, right: Value<'gc>) -> bool {
    match (left, right) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        _ => left.raw_equals(right) && left.type_name() == right.type_name(),
    }
}

fn describe_name(name: Option<Name<'_>>) -> Vec<u8> {
    let Some((kind, name)) = name else {
        return Vec::new();
    };
    let mut text = format!(" ({kind} '").into_bytes();
    text.extend_from_slice(c_string(name));
    text.extend_from_slice(b"')");
    text
}

fn upvalue_name<'gc>(proto: Proto<'gc>, index: usize) -> &'gc [u8] {
    match proto.upvalue_descriptions().get(index) {
        Some(description) if !description.name.is_empty() => &description.name,
        _ => b"?",
    }
}

/// What the value in `register` is called at `pc`.
pub(crate) fn register_name<'gc>(proto: Proto<'gc>, pc: usize, register: usize) -> Option<Name<'gc>> {
    let (setter, instruction) = match plain_name(proto, pc, register) {
        Ok(name) => return Some(name),
        Err(setter) => setter?,
    };
    // The kind of a field: those of a variable `_ENV` are global variables.
    let kind = |environment: Option<Name<'gc>>| {
        if matches!(environment, Some(("local" | "upvalue", b"_ENV"))) { "global" } else { "field" }
    };
    let table_name = || plain_name(proto, setter, instruction.b()).ok();
    let constant = |index: usize| proto.constant_string(index).map_or(&b"?"[..], |string| string.as_bytes());
    match instruction.opcode()? {
        Opcode::GetTabUp => {
            let environment = ("upvalue", upvalue_name(proto, instruction.b()));
            Some((kind(Some(environment)), constant(instruction.c())))
        }
        Opcode::GetField => Some((kind(table_name()), constant(instruction.c()))),
        Opcode::GetTable => {
            let Ok(("constant", name)) = plain_name(proto, setter, instruction.c()) else {
                return Some((kind(table_name()), b"?"));
            };
            // A method whose name does not fit into `SelfField`: only there the object is above a constant key.
            let is_method = instruction.b() == instruction.a() + 1 && instruction.c() == instruction.a();
            Some((if is_method { "method" } else { kind(table_name()) }, name))
        }
        Opcode::GetInteger => Some(("field", b"integer index")),
        Opcode::SelfField => Some(("method", constant(instruction.c()))),
        _ => None,
    }
}

/// The name of a variable or constant in `register` at `pc`, or else what set the register.
fn plain_name<'gc>(proto: Proto<'gc>, pc: usize, register: usize) -> Result<Name<'gc>, Option<(usize, Instruction)>> {
    if let Some(name) = proto.local_name(register, pc) {
        return Ok(("local", name));
    }
    let (setter, instruction) = find_setter(proto, pc, register).ok_or(None)?;
    let constant = match instruction.opcode() {
        Some(Opcode::Move) if instruction.b() < instruction.a() => {
            return plain_name(proto, setter, instruction.b());
        }
        Some(Opcode::GetUpvalue) => return Ok(("upvalue", upvalue_name(proto, instruction.b()))),
        Some(Opcode::LoadConstant) => instruction.bx(),
        Some(Opcode::LoadConstantWide) => proto.0.code[setter + 1].get() as usize,
        _ => return Err(Some((setter, instruction))),
    };
    match proto.constant_string(constant) {
        Some(string) => Ok(("constant", string.as_bytes())),
        None => Err(Some((setter, instruction))),
    }
}

/// The last instruction before `end` that surely set `register`.
fn find_setter<'gc>(proto: Proto<'gc>, end: usize, register: usize) -> Option<(usize, Instruction)> {
    let code = &proto.0.as_ref().code;
    fuel::owe(fuel::searched(end));
    let mut setter = None;
    // Code before this point may have been jumped over.
    let mut jump_target = 0;
    let mut pc = 0;
    while pc < end {
        let instruction = Instruction(code[pc].get());
        let opcode = instruction.opcode()?;
        let next = pc + opcode.words();
        if opcode.layout().trailing == Trailing::Jump {
            let target = next.wrapping_add_signed(code[pc + 1].get() as i32 as isize);
            if target <= end && target > jump_target {
                jump_target = target;
            }
        }
        if writes(instruction, opcode, register) {
            setter = (pc >= jump_target).then_some((pc, instruction));
        }
        pc = next;
    }
    setter
}

fn writes(instruction: Instruction, opcode: Opcode, register: usize) -> bool {
    let a = instruction.a();
    match opcode {
        Opcode::LoadNil => (a..=a + instruction.b()).contains(&register),
        Opcode::Call | Opcode::TailCall | Opcode::VarArg => register >= a,
        Opcode::TForCall => register >= a + 4,
        Opcode::SelfField => register == a || register == a + 1,
        Opcode::ForPrep | Opcode::ForLoop => (a..=a + 3).contains(&register),
        Opcode::TForLoop => register == a + 2,
        Opcode::Concat => register == a,
        _ => opcode.layout().a == Operand::Write && register == a,
    }
}
