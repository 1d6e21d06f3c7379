//! Stack tracebacks in PUC Lua's form.

use super::Machine;
use crate::heap::coroutine::{Callee, Coroutine, FLAG_TAIL_CALL, Frame};
use crate::heap::value::Value;
use cu_compiler::display_chunk_name;

/// Levels shown at the start and at the end of a long traceback.
const FIRST_LEVELS: usize = 10;
const LAST_LEVELS: usize = 11;

impl<'gc> Machine<'gc> {
    /// The traceback of `coroutine` from `level` on (0 is its innermost function), after `message` and a line end.
    pub(crate) fn traceback(&self, coroutine: Coroutine<'gc>, message: Option<&[u8]>, level: usize) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(message) = message {
            text.extend_from_slice(message);
            text.push(b'\n');
        }
        text.extend_from_slice(b"stack traceback:");
        // SAFETY: read only, and nothing below changes a frame stack.
        let frames = unsafe { &(*coroutine.state_ptr()).frames };
        let count = frames.len().saturating_sub(level);
        for shown in 0..count {
            if count > FIRST_LEVELS + LAST_LEVELS && shown >= FIRST_LEVELS && shown < count - LAST_LEVELS {
                if shown == FIRST_LEVELS {
                    let skipped = count - FIRST_LEVELS - LAST_LEVELS;
                    text.extend_from_slice(format!("\n\t...\t(skipping {skipped} levels)").as_bytes());
                }
                continue;
            }
            let index = frames.len() - 1 - level - shown;
            self.append_level(&mut text, &frames[..index], &frames[index]);
        }
        text
    }

    fn append_level(&self, text: &mut Vec<u8>, below: &[Frame<'gc>], frame: &Frame<'gc>) {
        text.extend_from_slice(b"\n\t");
        match frame.callee {
            Callee::Native(_) => text.extend_from_slice(b"[C]: in "),
            Callee::Lua(closure) => {
                text.extend(display_chunk_name(closure.proto().chunk_name()));
                if let Some(line) = frame.current_line() {
                    text.extend_from_slice(format!(":{line}: in ").as_bytes());
                } else {
                    text.extend_from_slice(b": in ");
                }
            }
        }
        let is_tail_call = frame.flags & FLAG_TAIL_CALL != 0;
        let called = if is_tail_call { None } else { below.last().and_then(|caller| self.call_name(caller)) };
        match (self.global_name(frame.callee), called, frame.callee) {
            (Some(name), ..) => {
                text.extend_from_slice(b"function '");
                text.extend(name);
                text.push(b'\'');
            }
            (None, Some((kind, name)), _) => {
                text.extend_from_slice(kind.as_bytes());
                text.extend_from_slice(b" '");
                text.extend_from_slice(name);
                text.push(b'\'');
            }
            (None, None, Callee::Native(_)) => text.push(b'?'),
            (None, None, Callee::Lua(closure)) => {
                let proto = closure.proto();
                match proto.line_range() {
                    (0, _) => text.extend_from_slice(b"main chunk"),
                    (line, _) => {
                        text.extend_from_slice(b"function <");
                        text.extend(display_chunk_name(proto.chunk_name()));
                        text.extend_from_slice(format!(":{line}>").as_bytes());
                    }
                }
            }
        }
        if is_tail_call {
            text.extend_from_slice(b"\n\t(...tail calls...)");
        }
    }

    /// The name under which a function is found in a loaded library, `_G` first.
    fn global_name(&self, callee: Callee<'gc>) -> Option<Vec<u8>> {
        let function = match callee {
            Callee::Lua(closure) => Value::Closure(closure),
            Callee::Native(native) => Value::Native(native),
        };
        for (library, contents) in self.context.registered().loaded.pairs() {
            let (Value::String(library), Value::Table(contents)) = (library, contents) else {
                continue;
            };
            for (key, value) in contents.pairs() {
                if let (Value::String(key), true) = (key, value.raw_equals(function)) {
                    let mut name = Vec::new();
                    if library.as_bytes() != b"_G" {
                        name.extend_from_slice(library.as_bytes());
                        name.push(b'.');
                    }
                    name.extend_from_slice(key.as_bytes());
                    return Some(name);
                }
            }
        }
        None
    }
}
