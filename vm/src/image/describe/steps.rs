//! How the walk came to an object, and the way there as text, for errors.

use super::{Object, Walk};
use crate::heap::coroutine::Callee;
use crate::heap::value::Value;
use crate::image::path::{described, push_key, push_upvalue};
use crate::image::{ImageError, Tables};
use crate::library::FileHandle;

/// The step to a value: the place in the walk of the object it starts from, and which of its values it is.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub from: u32,
    pub part: Part,
}

#[derive(Clone, Copy)]
pub(super) enum Part {
    Root(&'static str),
    /// A number for a root of which there are several.
    Numbered(&'static str, u32),
    Metatable,
    Item(u32),
    Key(u32),
    Entry(u32),
    Upvalue(u32),
    Value(u32),
    Slot(u32),
    Other(&'static str),
}

impl<'gc, S: Tables> Walk<'gc, '_, S> {
    pub(super) fn unsaveable(&self, value: Value<'gc>, step: Step) -> ImageError {
        let what = match value {
            Value::Userdata(userdata) if userdata.downcast::<FileHandle>().is_some() => "an open file".to_owned(),
            _ => described(value),
        };
        ImageError::Unsaveable { path: self.path(step), what }
    }

    /// The way from a root to the end of `last`.
    pub(super) fn path(&self, last: Step) -> String {
        let mut steps = vec![last];
        let mut step = last;
        while !matches!(step.part, Part::Root(_) | Part::Numbered(..)) {
            step = self.found[step.from as usize].step;
            steps.push(step);
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            let entry = |number: u32| match self.found[step.from as usize].object {
                Object::Table(table) => table.entries().nth(number as usize).map_or(Value::Nil, |entry| entry.0),
                _ => Value::Nil,
            };
            match step.part {
                Part::Root(name) | Part::Other(name) => path.push_str(name),
                Part::Numbered(name, number) => path.push_str(&format!("{name} {number}")),
                Part::Metatable => path.push_str(".metatable"),
                Part::Item(index) | Part::Value(index) => push_key(&mut path, Value::Integer(i64::from(index))),
                Part::Key(number) => {
                    push_key(&mut path, entry(number));
                    path.push_str(".key");
                }
                Part::Entry(number) => push_key(&mut path, entry(number)),
                Part::Upvalue(index) => {
                    if let Object::Closure(closure) = self.found[step.from as usize].object {
                        push_upvalue(&mut path, closure.proto(), index as usize);
                    }
                }
                Part::Slot(position) => self.push_slot(&mut path, step.from, position),
            }
        }
        path
    }

    /// Appends the step to a stack slot: by the local variable's name, if there is one.
    fn push_slot(&self, path: &mut String, from: u32, position: u32) {
        let Object::Coroutine(coroutine) = self.found[from as usize].object else { return };
        // SAFETY: the state is only read.
        let frames = unsafe { &(*coroutine.state_ptr()).frames };
        let frame = frames.iter().rev().find(|frame| frame.base <= position);
        let name = frame.and_then(|frame| match frame.callee {
            Callee::Lua(closure) => {
                let pc = frame.current_pc().map_or(0, |pc| pc + 1);
                closure.proto().local_name((position - frame.base) as usize, pc)
            }
            Callee::Native(_) => None,
        });
        match name {
            Some(name) => path.push_str(&format!(".local '{}'", String::from_utf8_lossy(name))),
            None => path.push_str(&format!(".slot {position}")),
        }
    }
}
