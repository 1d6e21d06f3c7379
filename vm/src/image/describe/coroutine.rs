//! The description of a coroutine: its stack and its frames.

use super::steps::{Part, Step};
use super::{Walk, saved_data};
use crate::heap::coroutine::{Callee, Coroutine, Frame};
use crate::heap::value::Value;
use crate::image::{CoroutineImage, Datum, FrameImage, HookImage, ImageError, Tables};

impl<'gc, S: Tables> Walk<'gc, '_, S> {
    pub(super) fn describe_coroutine(&mut self, coroutine: Coroutine<'gc>, from: u32) -> Result<(), ImageError> {
        // SAFETY: the state is only read, and nothing below changes it.
        let state = unsafe { &*coroutine.state_ptr() };
        let values = self.image.values.len() as u32;
        let live = state.live_top();
        let slots = state.stack.iter().rposition(|slot| !slot.is_nil()).map_or(0, |last| last + 1);
        for (position, slot) in state.stack[..slots].iter().enumerate() {
            // No code can come by a value in a free slot; only collections see it. So what cannot be saved is let go.
            let value = match *slot {
                Value::Userdata(userdata) if position >= live && saved_data(self.codec, userdata).is_none() => {
                    Value::Nil
                }
                value => value,
            };
            self.push(value, from, Part::Slot(position as u32))?;
        }
        self.push(state.failure, from, Part::Other(".error"))?;
        let hook = state.hook;
        self.push(hook.function, from, Part::Other(".hook"))?;
        let mut frames = Vec::with_capacity(state.frames.len());
        for frame in &state.frames {
            frames.push(self.frame(frame, state.stack.len(), from)?);
        }
        let other = |name| Step { from, part: Part::Other(name) };
        let open = state.open.iter().map(|upvalue| (self.upvalue_number(*upvalue, other("")), upvalue.position()));
        let open = open.collect();
        let resumer = state.resumer.map(|resumer| self.coroutine_number(resumer, other(".resumer")));
        self.image.coroutines.push(CoroutineImage {
            serial: coroutine.serial().get(),
            status: state.status,
            resumer,
            stack_length: state.stack.len() as u32,
            slots: slots as u32,
            values,
            transfer: state.transfer,
            native_calls_below: state.native_calls_below,
            hook: HookImage {
                mask: hook.mask,
                count: hook.count,
                count_left: hook.count_left,
                traced_pc: hook.traced_pc,
                suspensions: hook.suspensions,
            },
            frames,
            frames_capacity: state.frames.capacity() as u32,
            open,
            to_close: state.to_close.clone(),
        });
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'gc>, stack_length: usize, from: u32) -> Result<FrameImage, ImageError> {
        let step = Step { from, part: Part::Other(".call") };
        let (callee, parts) = frame_parts(frame, stack_length);
        let callee = match callee {
            Value::Native(native) => self.native_number(native, step)?,
            callee => match self.value(callee, step)? {
                Datum::Closure(number) => number,
                _ => unreachable!("a closure is described as one"),
            },
        };
        Ok(FrameImage { callee, ..parts })
    }
}

/// A frame's function, and the frame without the function's number.
pub(in crate::image) fn frame_parts<'gc>(frame: &Frame<'gc>, stack_length: usize) -> (Value<'gc>, FrameImage) {
    let (callee, is_native, pc) = match frame.callee {
        Callee::Lua(closure) => {
            let start = closure.proto().0.as_ref().code.as_ptr();
            (Value::Closure(closure), false, (frame.pc as usize - start as usize) / size_of::<u32>())
        }
        Callee::Native(native) => (Value::Native(native), true, 0),
    };
    let image = FrameImage {
        is_native,
        callee: 0,
        pc: pc as u32,
        function: frame.function,
        base: frame.base,
        // After an overflow the stack was cut; the end of a list that lay there is not looked at again.
        top: frame.top.min(stack_length as u32),
        want: frame.want,
        state: frame.state,
        extra: frame.extra,
        results: frame.results,
        flags: frame.flags,
    };
    (callee, image)
}
