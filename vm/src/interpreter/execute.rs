//! The dispatch loop.
//!
//! The hot state is in local variables: `pc`, `base` (register 0), `constants`, `closure`. Arms are short; whatever is not the
//! usual case is a call of a named, out-of-line function after saving `pc`, and ends in a [`Flow`]: go on here,
//! load the top frame, or stop. After such a call the stack may have moved, so `base` and `frame` are loaded again.
//!
//! # Safety of the unchecked accesses
//!
//! The code comes from a verified function (`crate::bytecode::verify`): registers are below `register_count`, and a frame is
//! only entered with the stack grown to `base + register_count` and some; constants, upvalues and child functions are in range;
//! jumps land on instructions and control never runs off the end. The stack and the code are not freed while a frame
//! runs: the frame's closure is on the coroutine's frame stack, the coroutine is reachable, and no collection
//! happens inside `run`.

use std::cell::Cell;

use super::instruction::library_step;
use super::nested::{Floor, Outcome};
use super::{Flow, Machine, Stop};
use crate::arithmetic::{
    float_floor_divide, float_modulo, integer_floor_divide, integer_modulo, power, shift_left, shift_right,
};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::fuel;
use crate::heap::coroutine::{Callee, Frame, WANT_ALL, WANT_FINISH};
use crate::heap::native::Role;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::metamethod::Metamethod;

/// Runs the top frame of the current coroutine and all that it leads to, until [`Machine::stop`] is set.
pub(super) fn run(machine: &mut Machine<'_>) {
    // Code that no hook watches does not pay for them.
    while !if machine.state().is_traced {
        run_traced(machine)
    } else {
        run_frames(machine, Floor::NONE) == Outcome::Stopped
    } {}
}

/// As [`run`], while the current coroutine is traced; false when that has changed. Not the place for speed.
fn run_traced(machine: &mut Machine<'_>) -> bool {
    while machine.state().is_traced {
        machine.fuel -= fuel::take_owed();
        let flow = match machine.top_frame().callee {
            Callee::Lua(_) => {
                let frame = machine.top_frame_mut();
                // SAFETY: verified code does not run off its end.
                let (instruction, next) = unsafe { (Instruction((*frame.pc).get()), frame.pc.add(1)) };
                frame.pc = next;
                let flow = match machine.trace() {
                    Some(flow) => flow,
                    None => {
                        let result = machine.run_instruction(instruction);
                        machine.settle(result)
                    }
                };
                if flow == Flow::Continue { machine.safe_point(instruction) } else { flow }
            }
            Callee::Native(native) => machine.run_native_frame(native),
        };
        if flow == Flow::Stop {
            return true;
        }
    }
    false
}

/// Likewise while it is not traced and, in a nested run, above its floor.
pub(super) fn run_frames<'gc>(machine: &mut Machine<'gc>, floor: Floor<'gc>) -> Outcome {
    let context = machine.context;
    let accounting = context.accounting();
    // SAFETY: see the module.
    unsafe {
        'frame: loop {
            // It changes only where the top frame is loaded anew.
            if machine.state().is_traced {
                return Outcome::Left;
            }
            machine.fuel -= fuel::take_owed();
            if !floor.state.is_null() {
                if !std::ptr::eq(machine.current_state(), floor.state) || machine.state().frames.len() < floor.frames {
                    return Outcome::Left;
                }
                if machine.state().frames.len() == floor.frames {
                    return if machine.is_at(floor) { Outcome::Returned } else { Outcome::Left };
                }
            }
            let mut frame: *mut Frame<'gc> = machine.top_frame_mut();
            let mut closure = match (*frame).callee {
                Callee::Lua(closure) => closure,
                Callee::Native(native) => {
                    if machine.run_native_frame(native) == Flow::Stop {
                        return Outcome::Stopped;
                    }
                    continue 'frame;
                }
            };
            // A stack may have grown on the way here. No collection is left for later: instructions that are done in place in one
            // way of running and by a function in another would differ in when it comes.
            if accounting.wants_cycle() {
                machine.stop = Stop::Collect;
                return Outcome::Stopped;
            }
            #[cfg(all(target_arch = "wasm32", feature = "compile"))]
            if let Some(flow) = machine.run_compiled(closure) {
                if flow == Flow::Stop {
                    return Outcome::Stopped;
                }
                continue 'frame;
            }
            let mut constants: *const Value<'gc> = closure.proto().0.constants.as_ptr();
            let mut pc: *const Cell<u32> = (*frame).pc;
            let mut base: *mut Value<'gc> = machine.state_mut().stack.as_mut_ptr().add((*frame).base as usize);

            macro_rules! stop {
                ($reason:expr) => {{
                    (*frame).pc = pc;
                    machine.stop = $reason;
                    return Outcome::Stopped;
                }};
            }
            macro_rules! jump {
                ($offset:expr) => {{
                    let offset = $offset as i32;
                    pc = pc.offset(offset as isize + 1);
                    if offset < 0 {
                        machine.fuel += i64::from(offset);
                        if machine.fuel < 0 {
                            stop!(Stop::OutOfFuel);
                        }
                    }
                }};
            }
            // Ends an instruction with a trailing jump offset.
            macro_rules! branch {
                ($condition:expr) => {{
                    if $condition {
                        jump!((*pc).get());
                    } else {
                        pc = pc.add(1);
                    }
                }};
            }
            macro_rules! safe_point {
                ($instruction:expr) => {
                    if accounting.wants_cycle() {
                        machine.clear_dead_registers($instruction);
                        stop!(Stop::Collect);
                    }
                };
            }
            macro_rules! position {
                ($register:expr) => {
                    (*frame).base as usize + $register
                };
            }

            macro_rules! register {
                ($register:expr) => {
                    *{
                        let register = $register;
                        debug_assert!(machine.is_register(closure, base, register), "a register is in its frame");
                        base.add(register)
                    }
                };
            }
            macro_rules! constant {
                ($number:expr) => {
                    *{
                        let number = $number;
                        debug_assert!(number < closure.proto().0.constants.len(), "a constant is in range");
                        constants.add(number)
                    }
                };
            }

            // Goes on in the Lua function of the top frame.
            macro_rules! go_on_in {
                ($closure:expr) => {{
                    closure = $closure;
                    if closure.is_compiled() {
                        continue 'frame;
                    }
                    frame = machine.top_frame_mut();
                    constants = closure.proto().0.constants.as_ptr();
                    pc = (*frame).pc;
                    base = machine.state_mut().stack.as_mut_ptr().add((*frame).base as usize);
                }};
            }

            'dispatch: loop {
                debug_assert!(
                    closure.proto().holds_instruction(pc),
                    "control is at an instruction, with its trailing word"
                );
                let i = Instruction((*pc).get());
                pc = pc.add(1);
                let flow = 'op: {
                    // Ends the instruction by an operation out of line.
                    macro_rules! slow {
                        ($result:expr) => {{
                            (*frame).pc = pc;
                            let result = $result;
                            break 'op machine.settle(result);
                        }};
                    }
                    // Likewise for an instruction with a trailing word that is not a jump.
                    macro_rules! slow_skip {
                        ($result:expr) => {{
                            (*frame).pc = pc;
                            let result = $result;
                            break 'op machine.settle_and_skip(result);
                        }};
                    }
                    macro_rules! a {
                        () => {
                            register!(i.a())
                        };
                    }
                    macro_rules! b {
                        () => {
                            register!(i.b())
                        };
                    }
                    macro_rules! c {
                        () => {
                            register!(i.c())
                        };
                    }
                    // Operands are looked at in place: a value that is copied to a local variable and passed on in the slow case
                    // would be stored to the Rust stack in the fast one too.
                    macro_rules! numbers {
                        ($event:ident, $left:expr, $right:expr, $integer:expr, $float:expr) => {{
                            let (left, right): (*const Value<'gc>, *const Value<'gc>) =
                                (&raw const $left, &raw const $right);
                            match (&*left, &*right) {
                                (Value::Integer(x), Value::Integer(y)) => a!() = $integer(*x, *y),
                                (Value::Float(x), Value::Float(y)) => a!() = Value::Float($float(*x, *y)),
                                (Value::Integer(x), Value::Float(y)) => a!() = Value::Float($float(*x as f64, *y)),
                                (Value::Float(x), Value::Integer(y)) => a!() = Value::Float($float(*x, *y as f64)),
                                _ => slow!(machine.arithmetic(Metamethod::$event, position!(i.a()), *left, *right)),
                            }
                        }};
                    }
                    macro_rules! arithmetic {
                        ($event:ident, $left:expr, $right:expr, $integer:expr, $float:expr) => {
                            numbers!($event, $left, $right, |x, y| Value::Integer($integer(x, y)), $float)
                        };
                    }
                    macro_rules! immediate {
                        ($event:ident, $integer:expr, $float:expr) => {{
                            let left: *const Value<'gc> = &raw const b!();
                            match &*left {
                                Value::Integer(x) => a!() = Value::Integer($integer(*x, i.c() as i64)),
                                Value::Float(x) => a!() = Value::Float($float(*x, i.c() as f64)),
                                _ => {
                                    let right = Value::Integer(i.c() as i64);
                                    slow!(machine.arithmetic(Metamethod::$event, position!(i.a()), *left, right))
                                }
                            }
                        }};
                    }
                    // Division and modulo on integers can fail; the slow function says how.
                    macro_rules! division {
                        ($event:ident, $right:expr, $integer:expr, $float:expr) => {{
                            let (left, right): (*const Value<'gc>, *const Value<'gc>) =
                                (&raw const b!(), &raw const $right);
                            match (&*left, &*right) {
                                (Value::Integer(x), Value::Integer(y)) if *y != 0 => {
                                    a!() = Value::Integer($integer(*x, *y).unwrap_unchecked());
                                }
                                (Value::Float(x), Value::Float(y)) => a!() = Value::Float($float(*x, *y)),
                                (Value::Integer(x), Value::Float(y)) => a!() = Value::Float($float(*x as f64, *y)),
                                (Value::Float(x), Value::Integer(y)) => a!() = Value::Float($float(*x, *y as f64)),
                                _ => slow!(machine.arithmetic(Metamethod::$event, position!(i.a()), *left, *right)),
                            }
                        }};
                    }
                    macro_rules! in_floats {
                        ($event:ident, $right:expr, $float:expr) => {
                            numbers!(
                                $event,
                                b!(),
                                $right,
                                |x: i64, y: i64| Value::Float($float(x as f64, y as f64)),
                                $float
                            )
                        };
                    }
                    macro_rules! bitwise {
                        ($event:ident, $right:expr, $integer:expr) => {{
                            let (left, right): (*const Value<'gc>, *const Value<'gc>) =
                                (&raw const b!(), &raw const $right);
                            if let (Value::Integer(x), Value::Integer(y)) = (&*left, &*right) {
                                a!() = Value::Integer($integer(*x, *y));
                            } else {
                                slow!(machine.arithmetic(Metamethod::$event, position!(i.a()), *left, *right))
                            }
                        }};
                    }
                    macro_rules! shift_immediate {
                        ($event:ident, $integer:expr) => {{
                            let left: *const Value<'gc> = &raw const b!();
                            if let Value::Integer(x) = &*left {
                                a!() = Value::Integer($integer(*x, i.c() as i64));
                            } else {
                                let right = Value::Integer(i.c() as i64);
                                slow!(machine.arithmetic(Metamethod::$event, position!(i.a()), *left, right))
                            }
                        }};
                    }
                    macro_rules! compare {
                        ($event:ident, $left:expr, $right:expr) => {
                            slow!(machine.compare_and_branch(Metamethod::$event, $left, $right, i.flag()))
                        };
                    }
                    macro_rules! order {
                    ($event:ident, $operator:tt) => {{
                        let (left, right): (*const Value<'gc>, *const Value<'gc>) = (&raw const a!(), &raw const b!());
                        match (&*left, &*right) {
                            (Value::Integer(x), Value::Integer(y)) => branch!((x $operator y) == i.flag()),
                            (Value::Float(x), Value::Float(y)) => branch!((x $operator y) == i.flag()),
                            _ => compare!($event, *left, *right),
                        }
                    }};
                }
                    macro_rules! order_immediate {
                    ($event:ident, $operator:tt, $swapped:expr) => {{
                        let left: *const Value<'gc> = &raw const a!();
                        match &*left {
                            Value::Integer(x) => branch!((*x $operator i.sb()) == i.flag()),
                            Value::Float(x) => branch!((*x $operator i.sb() as f64) == i.flag()),
                            _ if $swapped => compare!($event, Value::Integer(i.sb()), *left),
                            _ => compare!($event, *left, Value::Integer(i.sb())),
                        }
                    }};
                }
                    macro_rules! get_field {
                        ($object:expr) => {{
                            let Value::String(key) = constant!(i.c()) else { std::hint::unreachable_unchecked() };
                            let object: *const Value<'gc> = $object;
                            if let Value::Table(table) = &*object
                                && let Some(value) = table.get_cached(key, (*pc).get())
                            {
                                a!() = *value;
                                pc = pc.add(1);
                            } else {
                                slow_skip!(machine.index_field(position!(i.a()), *object, key));
                            }
                        }};
                    }
                    macro_rules! set_field {
                        ($object:expr, $value:expr) => {{
                            let Value::String(key) = constant!(i.b()) else { std::hint::unreachable_unchecked() };
                            let (object, value): (*const Value<'gc>, *const Value<'gc>) = ($object, &raw const $value);
                            if let Value::Table(table) = &*object
                                && table.replace_cached(key, (*pc).get(), &*value)
                            {
                                pc = pc.add(1);
                            } else {
                                slow_skip!(machine.assign_field(*object, key, *value));
                            }
                        }};
                    }
                    macro_rules! set_table {
                        ($value:expr) => {{
                            let value: *const Value<'gc> = &raw const $value;
                            match (&a!(), &b!()) {
                                (Value::Table(table), Value::Integer(index))
                                    if table.metatable().is_none()
                                        && (table.replace_integer(*index, *value)
                                            || table.push_within(*index, *value)) => {}
                                _ => {
                                    slow!(machine.assign_from(a!(), b!(), *value));
                                }
                            }
                        }};
                    }
                    macro_rules! set_integer {
                        ($value:expr) => {{
                            let value: *const Value<'gc> = &raw const $value;
                            match &a!() {
                                Value::Table(table)
                                    if table.metatable().is_none() && table.replace_integer(i.b() as i64, *value) => {}
                                _ => {
                                    slow!(machine.assign_from(a!(), Value::Integer(i.b() as i64), *value));
                                }
                            }
                        }};
                    }

                    // SAFETY: a verified instruction's first byte is an opcode.
                    match std::mem::transmute::<u8, Opcode>(i.opcode_byte()) {
                        Opcode::Move => a!() = b!(),
                        Opcode::LoadInteger => a!() = Value::Integer(i.sbx()),
                        Opcode::LoadFloat => a!() = Value::Float(i.sbx() as f64),
                        Opcode::LoadConstant => a!() = constant!(i.bx()),
                        Opcode::LoadConstantWide => {
                            a!() = constant!((*pc).get() as usize);
                            pc = pc.add(1);
                        }
                        Opcode::LoadNil => {
                            machine.fuel -= fuel::values(i.b()) as i64;
                            for register in i.a()..=i.a() + i.b() {
                                register!(register) = Value::Nil;
                            }
                        }
                        Opcode::LoadFalse => a!() = Value::Boolean(false),
                        Opcode::LoadFalseSkip => {
                            a!() = Value::Boolean(false);
                            pc = pc.add(1);
                        }
                        Opcode::LoadTrue => a!() = Value::Boolean(true),
                        Opcode::GetUpvalue => a!() = closure.upvalue_unchecked(i.b()).get(),
                        Opcode::SetUpvalue => closure.upvalue_unchecked(i.b()).set(a!()),

                        Opcode::GetTabUp => get_field!(closure.upvalue_unchecked(i.b()).location()),
                        Opcode::GetField => get_field!(&raw const b!()),
                        Opcode::GetTable => {
                            let found = match (&b!(), &c!()) {
                                (Value::Table(table), Value::Integer(index)) => table.item(*index),
                                (Value::Table(table), Value::String(key)) => table.field(*key),
                                _ => None,
                            };
                            match found {
                                Some(value) if !value.is_nil() => a!() = *value,
                                _ => slow!(machine.index_into(position!(i.a()), b!(), c!())),
                            }
                        }
                        Opcode::GetInteger => {
                            let found = match &b!() {
                                Value::Table(table) => table.item(i.c() as i64),
                                _ => None,
                            };
                            match found {
                                Some(value) if !value.is_nil() => a!() = *value,
                                _ => slow!(machine.index_into(position!(i.a()), b!(), Value::Integer(i.c() as i64))),
                            }
                        }
                        Opcode::SetTabUp => {
                            set_field!(closure.upvalue_unchecked(i.a()).location(), c!())
                        }
                        Opcode::SetTabUpK => {
                            set_field!(closure.upvalue_unchecked(i.a()).location(), constant!(i.c()))
                        }
                        Opcode::SetField => set_field!(&raw const a!(), c!()),
                        Opcode::SetFieldK => set_field!(&raw const a!(), constant!(i.c())),
                        Opcode::SetTable => set_table!(c!()),
                        Opcode::SetTableK => set_table!(constant!(i.c())),
                        Opcode::SetInteger => set_integer!(c!()),
                        Opcode::SetIntegerK => set_integer!(constant!(i.c())),
                        Opcode::NewTable => {
                            let (fields, items) = (i.bx(), (*pc).get() as usize);
                            machine.fuel -= fuel::ALLOCATION;
                            if (fields | items) == 0 {
                                a!() = Value::Table(Table::new(context, 0, 0));
                            } else {
                                slow_skip!(machine.new_table(position!(i.a()), items, fields));
                            }
                            pc = pc.add(1);
                            safe_point!(i);
                        }
                        Opcode::SelfField => {
                            register!(i.a() + 1) = b!();
                            get_field!(&raw const register!(i.a() + 1));
                        }

                        Opcode::Add => {
                            arithmetic!(Add, b!(), c!(), i64::wrapping_add, |x: f64, y: f64| x + y)
                        }
                        Opcode::Sub => {
                            arithmetic!(Sub, b!(), c!(), i64::wrapping_sub, |x: f64, y: f64| x - y)
                        }
                        Opcode::Mul => {
                            arithmetic!(Mul, b!(), c!(), i64::wrapping_mul, |x: f64, y: f64| x * y)
                        }
                        Opcode::AddI => immediate!(Add, i64::wrapping_add, |x: f64, y: f64| x + y),
                        // As an addition, which gives `-0.0 - 0` the sign that it has in PUC Lua.
                        Opcode::SubI => immediate!(Sub, i64::wrapping_sub, |x: f64, y: f64| x + (0.0 - y)),
                        Opcode::AddK => {
                            arithmetic!(Add, b!(), constant!(i.c()), i64::wrapping_add, |x: f64, y: f64| x + y)
                        }
                        Opcode::SubK => {
                            arithmetic!(Sub, b!(), constant!(i.c()), i64::wrapping_sub, |x: f64, y: f64| x - y)
                        }
                        Opcode::MulK => {
                            arithmetic!(Mul, b!(), constant!(i.c()), i64::wrapping_mul, |x: f64, y: f64| x * y)
                        }
                        Opcode::Div => in_floats!(Div, c!(), |x: f64, y: f64| x / y),
                        Opcode::DivK => in_floats!(Div, constant!(i.c()), |x: f64, y: f64| x / y),
                        Opcode::Pow => {
                            machine.fuel -= fuel::POWER;
                            in_floats!(Pow, c!(), power)
                        }
                        Opcode::PowK => {
                            machine.fuel -= fuel::POWER;
                            in_floats!(Pow, constant!(i.c()), power)
                        }
                        Opcode::Mod => division!(Mod, c!(), integer_modulo, |x: f64, y: f64| {
                            machine.fuel -= fuel::FLOAT_MODULO;
                            float_modulo(x, y)
                        }),
                        Opcode::ModK => {
                            division!(Mod, constant!(i.c()), integer_modulo, |x: f64, y: f64| {
                                machine.fuel -= fuel::FLOAT_MODULO;
                                float_modulo(x, y)
                            })
                        }
                        Opcode::IDiv => division!(IDiv, c!(), integer_floor_divide, float_floor_divide),
                        Opcode::IDivK => {
                            division!(IDiv, constant!(i.c()), integer_floor_divide, float_floor_divide)
                        }
                        Opcode::BAnd => bitwise!(BAnd, c!(), |x: i64, y: i64| x & y),
                        Opcode::BOr => bitwise!(BOr, c!(), |x: i64, y: i64| x | y),
                        Opcode::BXor => bitwise!(BXor, c!(), |x: i64, y: i64| x ^ y),
                        Opcode::BAndK => bitwise!(BAnd, constant!(i.c()), |x: i64, y: i64| x & y),
                        Opcode::BOrK => bitwise!(BOr, constant!(i.c()), |x: i64, y: i64| x | y),
                        Opcode::BXorK => bitwise!(BXor, constant!(i.c()), |x: i64, y: i64| x ^ y),
                        Opcode::Shl => bitwise!(Shl, c!(), shift_left),
                        Opcode::Shr => bitwise!(Shr, c!(), shift_right),
                        Opcode::ShlI => shift_immediate!(Shl, shift_left),
                        Opcode::ShrI => shift_immediate!(Shr, shift_right),
                        Opcode::Neg => match &b!() {
                            Value::Integer(x) => a!() = Value::Integer(x.wrapping_neg()),
                            Value::Float(x) => a!() = Value::Float(-*x),
                            &value => slow!(machine.arithmetic(Metamethod::Unm, position!(i.a()), value, value)),
                        },
                        Opcode::BNot => match b!() {
                            Value::Integer(x) => a!() = Value::Integer(!x),
                            value => slow!(machine.arithmetic(Metamethod::BNot, position!(i.a()), value, value)),
                        },
                        Opcode::Not => a!() = Value::Boolean(!b!().is_truthy()),
                        Opcode::Len => match b!() {
                            Value::Table(table) if table.metatable().is_none() && table.is_sequence() => {
                                a!() = Value::Integer(table.shape().0 as i64);
                            }
                            value => slow!(machine.length(position!(i.a()), value)),
                        },
                        Opcode::Concat => {
                            machine.fuel -= fuel::ALLOCATION;
                            slow!(machine.concatenate(position!(i.a()), i.b()));
                        }

                        Opcode::Close => slow!(machine.close_block(position!(i.a()))),
                        Opcode::ToBeClosed => {
                            slow!(machine.mark_to_be_closed(position!(i.a())).map(|()| Flow::Continue));
                        }
                        Opcode::Jump => jump!((*pc).get()),
                        Opcode::Test => branch!(a!().is_truthy() == i.flag()),
                        Opcode::TestSet => {
                            let value = b!();
                            if value.is_truthy() == i.flag() {
                                a!() = value;
                                jump!((*pc).get());
                            } else {
                                pc = pc.add(1);
                            }
                        }
                        Opcode::Eq => {
                            let (left, right) = (a!(), b!());
                            let equal = machine.raw_equals(left, right);
                            if !equal
                                && let (Value::Table(_) | Value::Userdata(_), Value::Table(_) | Value::Userdata(_)) =
                                    (left, right)
                                && let Some(handler) = machine.equality_handler(left, right)
                            {
                                slow!(machine.call_metamethod(handler, &[left, right], WANT_FINISH));
                            }
                            branch!(equal == i.flag());
                        }
                        Opcode::EqK => branch!(machine.raw_equals(a!(), constant!(i.b())) == i.flag()),
                        Opcode::EqI => {
                            let equal = match a!() {
                                Value::Integer(x) => x == i.sb(),
                                Value::Float(x) => x == i.sb() as f64,
                                _ => false,
                            };
                            branch!(equal == i.flag());
                        }
                        Opcode::Lt => order!(Lt, <),
                        Opcode::Le => order!(Le, <=),
                        Opcode::LtI => order_immediate!(Lt, <, false),
                        Opcode::LeI => order_immediate!(Le, <=, false),
                        Opcode::GtI => order_immediate!(Lt, >, true),
                        Opcode::GeI => order_immediate!(Le, >=, true),

                        Opcode::Call => {
                            let function = position!(i.a());
                            let args = if i.b() == 0 { (*frame).top as usize - function - 1 } else { i.b() - 1 };
                            let want = i.c() as i32 - 1;
                            (*frame).pc = pc;
                            match a!() {
                                Value::Closure(called) => {
                                    let Some(entered) = machine.try_enter_lua(called, function, args, want) else {
                                        slow!(machine.enter_lua(called, function, args, want).map(|()| Flow::Enter));
                                    };
                                    if machine.fuel < 0 {
                                        machine.stop = Stop::OutOfFuel;
                                        return Outcome::Stopped;
                                    }
                                    if called.is_compiled() {
                                        continue 'frame;
                                    }
                                    frame = entered;
                                    closure = called;
                                    let proto = called.proto().0;
                                    constants = proto.constants.as_ptr();
                                    pc = proto.code.as_ptr();
                                    base = base.add(i.a() + 1);
                                    continue 'dispatch;
                                }
                                Value::Native(called) => {
                                    if called.role() == Role::ProtectedCall
                                        && let Some((entered, inner)) =
                                            machine.try_enter_protected(called, function, args, want)
                                    {
                                        if machine.fuel < 0 {
                                            machine.stop = Stop::OutOfFuel;
                                            return Outcome::Stopped;
                                        }
                                        if inner.is_compiled() {
                                            continue 'frame;
                                        }
                                        frame = entered;
                                        closure = inner;
                                        let proto = inner.proto().0;
                                        constants = proto.constants.as_ptr();
                                        pc = proto.code.as_ptr();
                                        base = base.add(i.a() + 2);
                                        continue 'dispatch;
                                    }
                                    slow!(machine.call_native(called, function, args, want));
                                }
                                _ => slow!(machine.call(function, args, want)),
                            }
                        }
                        Opcode::TailCall => {
                            let function = position!(i.a());
                            let args = if i.b() == 0 { (*frame).top as usize - function - 1 } else { i.b() - 1 };
                            if i.flag() {
                                machine.coroutine.close_upvalues((*frame).base);
                            }
                            slow!(machine.tail_call(function, args));
                        }
                        Opcode::Return => {
                            let first = position!(i.a());
                            let count = if i.b() == 0 { (*frame).top as usize - first } else { i.b() - 1 };
                            if i.flag() {
                                slow!(machine.close_and_leave(first, count));
                            }
                            slow!(machine.leave((*frame).function as usize, first, count, (*frame).want));
                        }
                        Opcode::Return0 => {
                            if (*frame).want == 0
                                && let Some(caller) = machine.lua_caller()
                            {
                                machine.state_mut().frames.pop();
                                go_on_in!(caller);
                            } else if let Some(caller) = machine.leave_protected(None) {
                                go_on_in!(caller);
                            } else {
                                slow!(machine.leave((*frame).function as usize, 0, 0, (*frame).want));
                            }
                        }
                        Opcode::Return1 => {
                            if (*frame).want == 1
                                && let Some(caller) = machine.lua_caller()
                            {
                                // A vararg function's registers are not right above its slot.
                                let slot = machine.state_mut().stack.as_mut_ptr().add((*frame).function as usize);
                                *slot = a!();
                                machine.state_mut().frames.pop();
                                go_on_in!(caller);
                            } else if let Some(caller) = machine.leave_protected(Some(a!())) {
                                go_on_in!(caller);
                            } else {
                                let first = position!(i.a());
                                slow!(machine.leave((*frame).function as usize, first, 1, (*frame).want));
                            }
                        }
                        Opcode::ForPrep => {
                            if let (Value::Integer(start), Value::Integer(limit), Value::Integer(step)) =
                                (a!(), register!(i.a() + 1), register!(i.a() + 2))
                                && step > 0
                            {
                                if start > limit {
                                    jump!((*pc).get());
                                } else {
                                    let span = (limit as u64).wrapping_sub(start as u64);
                                    let rounds = if step == 1 { span } else { span / step as u64 };
                                    register!(i.a() + 1) = Value::Integer(rounds as i64);
                                    register!(i.a() + 3) = Value::Integer(start);
                                    pc = pc.add(1);
                                }
                            } else {
                                slow!(machine.enter_loop(position!(i.a())));
                            }
                        }
                        Opcode::ForLoop => {
                            // R[A] index, R[A+1] rounds left (integers) or limit (floats), R[A+2] step.
                            match (&a!(), &register!(i.a() + 1), &register!(i.a() + 2)) {
                                (&Value::Integer(index), &Value::Integer(rounds), &Value::Integer(step)) => {
                                    if rounds as u64 > 0 {
                                        let index = index.wrapping_add(step);
                                        register!(i.a() + 1) = Value::Integer(rounds.wrapping_sub(1));
                                        a!() = Value::Integer(index);
                                        register!(i.a() + 3) = Value::Integer(index);
                                        jump!((*pc).get());
                                    } else {
                                        pc = pc.add(1);
                                    }
                                }
                                (&Value::Float(index), &Value::Float(limit), &Value::Float(step)) => {
                                    let index = index + step;
                                    if if step > 0.0 { index <= limit } else { limit <= index } {
                                        a!() = Value::Float(index);
                                        register!(i.a() + 3) = Value::Float(index);
                                        jump!((*pc).get());
                                    } else {
                                        pc = pc.add(1);
                                    }
                                }
                                // Only in code that was made by hand: the loop ends.
                                _ => pc = pc.add(1),
                            }
                        }
                        Opcode::TForPrep => {
                            slow!(machine.enter_generic_loop(position!(i.a() + 3)));
                        }
                        Opcode::TForCall => {
                            let first: *mut Value<'gc> = &raw mut register!(i.a());
                            debug_assert!(machine.is_register(closure, base, i.a() + (3 + i.c()).max(6)));
                            if let Some(pair) = library_step(*first, *first.add(1), *first.add(2)) {
                                machine.fuel -= 1 + fuel::take_owed();
                                let (key, value) = pair.unwrap_or((Value::Nil, Value::Nil));
                                *first.add(4) = key;
                                if i.c() >= 2 {
                                    *first.add(5) = value;
                                    for extra in 2..i.c() {
                                        *first.add(4 + extra) = Value::Nil;
                                    }
                                }
                                continue 'dispatch;
                            }
                            *first.add(4) = *first;
                            *first.add(5) = *first.add(1);
                            *first.add(6) = *first.add(2);
                            slow!(machine.call_iterator(position!(i.a() + 4), i.c() as i32));
                        }
                        Opcode::TForLoop => {
                            let control = register!(i.a() + 4);
                            if control.is_nil() {
                                pc = pc.add(1);
                            } else {
                                register!(i.a() + 2) = control;
                                jump!((*pc).get());
                            }
                        }
                        Opcode::SetList => {
                            let first = position!(i.a() + 1);
                            let count = if i.b() == 0 { (*frame).top as usize - first } else { i.b() };
                            let start = (*pc).get() as usize;
                            slow_skip!(machine.set_list(a!(), first, count, start).map(|()| Flow::Continue));
                        }
                        Opcode::Closure => {
                            (*frame).pc = pc;
                            machine.fuel -= fuel::ALLOCATION;
                            machine.make_closure(closure, (*pc).get() as usize, position!(i.a()));
                            pc = pc.add(1);
                            safe_point!(i);
                        }
                        Opcode::VarArg => {
                            let want = i.c() as i32 - 1;
                            debug_assert!(want >= WANT_ALL);
                            slow!(machine.copy_varargs(position!(i.a()), want).map(|()| Flow::Continue));
                        }
                        Opcode::VarArgPrep => {
                            slow!(machine.prepare_varargs(i.a()).map(|()| Flow::Continue));
                        }
                    }
                    continue 'dispatch;
                };
                match flow {
                    Flow::Continue => {
                        if machine.safe_point(i) == Flow::Stop {
                            return Outcome::Stopped;
                        }
                        frame = machine.top_frame_mut();
                        base = machine.state_mut().stack.as_mut_ptr().add((*frame).base as usize);
                        pc = (*frame).pc;
                    }
                    Flow::Enter => continue 'frame,
                    Flow::Stop => return Outcome::Stopped,
                }
            }
        }
    }
}
