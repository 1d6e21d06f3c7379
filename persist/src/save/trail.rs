//! How the walk of saving came to an object: a step from another one, up to a value that was asked for. It is told as text when something
//! cannot be saved.

use cu_vm::{Closure, Context, Coroutine, Native, Table, Upvalue, Userdata, Value};

use crate::envelope::HAS_COROUTINES;
use crate::path::{push_key, push_pair, push_slot, push_upvalue};

/// An object that has a number.
#[derive(Clone, Copy)]
pub(super) enum Object<'gc> {
    Table(Table<'gc>),
    Closure(Closure<'gc>),
    Upvalue(Upvalue<'gc>),
    Native(Native<'gc>),
    Coroutine(Coroutine<'gc>),
    Userdata(Userdata<'gc>),
}

/// An object and how the walk came to it.
pub(super) struct Found<'gc> {
    pub object: Object<'gc>,
    pub step: Step,
}

/// The last step on the way to a value; the number first is that of the object it starts from.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Root(u32),
    Metatable(u32),
    /// The item with this index.
    Item(u32, u32),
    /// A key of the pair at this position in the traversal.
    Key(u32, u32),
    /// The value of the pair at this position in the traversal.
    Pair(u32, u32),
    Upvalue(u32, u8),
    UpvalueContent(u32),
    NativeValue(u32, u32),
    UserValue(u32, u32),
    /// A slot of a coroutine's stack; the error and the hook's function follow the last one.
    Slot(u32, u32),
    /// The function of a frame.
    Callee(u32),
    /// An open upvalue of a coroutine.
    Open(u32),
}

impl Step {
    /// The place in the walk of the object that the step starts from.
    fn start(self) -> Option<u32> {
        match self {
            Step::Root(_) => None,
            Step::Metatable(place)
            | Step::Item(place, _)
            | Step::Key(place, _)
            | Step::Pair(place, _)
            | Step::Upvalue(place, _)
            | Step::UpvalueContent(place)
            | Step::NativeValue(place, _)
            | Step::UserValue(place, _)
            | Step::Slot(place, _)
            | Step::Callee(place)
            | Step::Open(place) => Some(place),
        }
    }
}

/// The way from a root to the end of `last`.
pub(super) fn path<'gc>(context: Context<'gc>, names: &[&str], found: &[Found<'gc>], last: Step) -> String {
    let mut steps = vec![last];
    let mut step = last;
    while let Some(place) = step.start() {
        step = found[place as usize].step;
        steps.push(step);
    }
    let mut path = String::new();
    for step in steps.iter().rev() {
        let start = step.start().map(|place| found[place as usize].object);
        match (*step, start) {
            (Step::Root(index), _) => path.push_str(names.get(index as usize).copied().unwrap_or_default()),
            (Step::Metatable(_), _) => path.push_str(".metatable"),
            (Step::Item(_, index), _) => push_key(&mut path, Value::Integer(i64::from(index))),
            (Step::Key(_, position), Some(Object::Table(table))) => {
                push_pair(&mut path, table, position as usize, true)
            }
            (Step::Pair(_, position), Some(Object::Table(table))) => {
                push_pair(&mut path, table, position as usize, false);
            }
            (Step::Upvalue(_, index), Some(Object::Closure(closure))) => {
                push_upvalue(&mut path, closure.proto(), usize::from(index));
            }
            (Step::Slot(_, position), Some(Object::Coroutine(coroutine))) if HAS_COROUTINES => {
                push_slot(&mut path, context, coroutine, position);
            }
            (Step::NativeValue(_, index) | Step::UserValue(_, index), _) => {
                push_key(&mut path, Value::Integer(i64::from(index) + 1));
            }
            _ => {}
        }
    }
    path
}
