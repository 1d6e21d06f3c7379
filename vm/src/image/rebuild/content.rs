//! What is in the objects, which are there already.

use std::cell::Cell;

use super::super::bounds::{classes, steps_max};
use super::super::frames::{self, Placed, instruction_starts};
use super::super::{CoroutineImage, Datum, HookImage, ImageError};
use super::{Builder, check_state, damaged, or_damaged, placed_frame};
use crate::heap::coroutine::{Callee, Coroutine};
use crate::heap::hook::Hook;
use crate::heap::table::{Table, Weakness};
use crate::heap::value::Value;

impl<'gc, 'a> Builder<'gc, 'a> {
    pub(super) fn value(&self, datum: Datum) -> Option<Value<'gc>> {
        fn pick<T: Copy>(objects: &[T], number: u32) -> Option<T> {
            objects.get(number as usize).copied()
        }
        Some(match datum {
            Datum::Nil => Value::Nil,
            Datum::Boolean(boolean) => Value::Boolean(boolean),
            Datum::Integer(integer) => Value::Integer(integer),
            Datum::Float(float) => Value::Float(float),
            Datum::LightUserdata(number) => Value::LightUserdata(number),
            Datum::String(number) => Value::String(pick(&self.strings, number)?),
            Datum::Table(number) => Value::Table(pick(&self.tables, number)?),
            Datum::Closure(number) => Value::Closure(pick(&self.closures, number)?),
            Datum::Native(number) => Value::Native(pick(&self.natives, number)?),
            Datum::Userdata(number) => Value::Userdata(pick(&self.userdata, number)?),
            Datum::Coroutine(number) => Value::Coroutine(pick(&self.coroutines, number)?),
        })
    }

    /// The values of an object, which start at `first`.
    fn values(&self, first: u32, count: usize) -> Option<impl Iterator<Item = Option<Value<'gc>>> + use<'gc, '_, 'a>> {
        let data = self.image.values.get(first as usize..)?.get(..count)?;
        Some(data.iter().map(|datum| self.value(*datum)))
    }

    fn fill_cells(&self, first: u32, cells: &[Cell<Value<'gc>>]) -> Option<()> {
        for (cell, value) in cells.iter().zip(self.values(first, cells.len())?) {
            cell.set(value?);
        }
        Some(())
    }

    pub(super) fn metatable(&self, number: Option<u32>) -> Option<Option<Table<'gc>>> {
        match number {
            None => Some(None),
            Some(number) => self.tables.get(number as usize).copied().map(Some),
        }
    }

    pub(super) fn fill_table(&self, number: usize) -> Result<(), ImageError> {
        let image = &self.image.tables[number];
        let table = self.tables[number];
        let filled = || {
            let count = image.array_length as usize + image.entries as usize * 2;
            let mut values = self.values(image.values, count)?;
            let mut complete = true;
            let items = values.by_ref().take(image.array_length as usize);
            table.restore_array(
                items.map(|item| {
                    item.unwrap_or_else(|| {
                        complete = false;
                        Value::Nil
                    })
                }),
                image.border,
            );
            if !complete {
                return None;
            }
            let mut steps = steps_max(image.entries as usize);
            let first = image.values as usize + image.array_length as usize;
            let data = &self.image.values[first..];
            for entry in 0..image.entries as usize {
                let (key, value) = (values.next()??, values.next()??);
                let has_key = |other: usize| self.is_same_key(data[2 * other], data[2 * entry]);
                table.restore_entry(key, value, has_key, &mut steps).then_some(())?;
            }
            table.set_metatable_raw(self.metatable(image.metatable)?);
            Some(())
        };
        or_damaged(filled(), "table", number, "content")?;
        table.restore_weakness(self.context, Weakness { keys: image.weak_keys, values: image.weak_values });
        Ok(())
    }

    /// Whether two keys of entries are equal. Comparing long strings byte by byte at each step would take an attacker's time.
    fn is_same_key(&self, one: Datum, other: Datum) -> bool {
        match (one, other) {
            (Datum::String(one), Datum::String(other)) => {
                let (one, other) = (one as usize, other as usize);
                let (a, b) = (self.strings[one], self.strings[other]);
                a.ptr_eq(b)
                    || (!a.is_short() && a.len() == b.len() && {
                        let classes = self.classes.get_or_init(|| classes(&self.image.strings));
                        classes[one] == classes[other]
                    })
            }
            _ => one == other,
        }
    }

    pub(super) fn fill_others(&self) -> Result<(), ImageError> {
        for (number, upvalue) in self.image.upvalues.iter().enumerate() {
            if let Some(datum) = upvalue.value {
                self.upvalues[number].set(or_damaged(self.value(datum), "upvalue", number, "value")?);
            }
        }
        for (number, native) in self.image.natives.iter().enumerate() {
            let filled = self.fill_cells(native.values, self.natives[number].values());
            or_damaged(filled, "native function", number, "values")?;
        }
        for (number, image) in self.image.userdata.iter().enumerate() {
            let userdata = self.userdata[number];
            let filled = self.fill_cells(image.values, userdata.user_values());
            or_damaged(filled, "userdata", number, "user values")?;
            let metatable = self.metatable(image.metatable);
            userdata.set_metatable_raw(or_damaged(metatable, "userdata", number, "metatable")?);
        }
        Ok(())
    }

    pub(super) fn fill_coroutine(&mut self, number: usize) -> Result<(), ImageError> {
        let image = &self.image.coroutines[number];
        let frames = or_damaged(self.frames(image), "coroutine", number, "frame")?;
        let coroutine = self.coroutines[number];
        let filled = self.fill_state(image, coroutine, &frames);
        or_damaged(filled, "coroutine", number, "content")?;
        // SAFETY: nothing else refers to the state here.
        let state = unsafe { &mut *coroutine.state_ptr() };
        let is_main = number == self.image.roots.main as usize;
        if let Err(problem) = check_state(state, is_main).and_then(|()| frames::check(state, &frames)) {
            return damaged("coroutine", number, problem);
        }
        Ok(())
    }

    fn fill_state(&mut self, image: &CoroutineImage, coroutine: Coroutine<'gc>, frames: &[Placed<'gc>]) -> Option<()> {
        // SAFETY: nothing else refers to the state here.
        let state = unsafe { &mut *coroutine.state_ptr() };
        let slots = image.slots as usize;
        let mut values = self.values(image.values, slots + 2)?;
        for slot in &mut state.stack[..slots] {
            *slot = values.next()??;
        }
        state.failure = values.next()??;
        let HookImage { mask, count, count_left, traced_pc, suspensions } = image.hook;
        state.hook = Hook { function: values.next()??, mask, count, count_left, traced_pc, suspensions };
        state.is_traced = state.hook.is_active();
        state.status = image.status;
        state.transfer = image.transfer;
        state.native_calls_below = image.native_calls_below;
        state.resumer = match image.resumer {
            None => None,
            Some(resumer) => Some(*self.coroutines.get(resumer as usize)?),
        };
        state.to_close.clone_from(&image.to_close);
        for placed in frames {
            state.push_counted(placed.frame);
        }
        let mut next = 0;
        for (number, position) in &image.open {
            let is_open = self.image.upvalues.get(*number as usize)?.value.is_none();
            let upvalue = self.upvalues[*number as usize];
            if !is_open || upvalue.open_at().is_some() || *position < next || *position >= image.stack_length {
                return None;
            }
            next = *position + 1;
            upvalue.reopen(coroutine, *position, &raw mut state.stack[*position as usize]);
            state.open.push(upvalue);
        }
        Some(())
    }

    /// The frames with their callees; what else is in them is not looked at yet.
    fn frames(&mut self, image: &CoroutineImage) -> Option<Vec<Placed<'gc>>> {
        let mut frames = Vec::with_capacity(image.frames.len());
        for frame in &image.frames {
            let (callee, starts) = if frame.is_native {
                (Callee::Native(*self.natives.get(frame.callee as usize)?), None)
            } else {
                let closure = *self.closures.get(frame.callee as usize)?;
                let function = self.image.closures[frame.callee as usize].function as usize;
                let starts = self.starts[function].get_or_insert_with(|| instruction_starts(closure.proto()));
                (Callee::Lua(closure), Some(starts.clone()))
            };
            frames.push(placed_frame(callee, starts, frame)?);
        }
        Some(frames)
    }
}
