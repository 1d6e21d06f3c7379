//! Stack tracebacks in PUC Lua's form.

use super::Machine;
use super::activation::{Activation, levels};
use crate::fuel;
use crate::heap::coroutine::{Callee, Coroutine};
use crate::heap::value::Value;
use cu_compiler::display_chunk_name;

/// Levels shown at the start and at the end of a long traceback.
const FIRST_LEVELS: usize = 10;
const LAST_LEVELS: usize = 11;
/// Functions are not looked up under longer names, of which a message would be full.
const NAME_MAX: usize = 1000;

impl<'gc> Machine<'gc> {
    /// The traceback of `coroutine` from `level` on, after `message` and a line end.
    pub(crate) fn traceback(&self, coroutine: Coroutine<'gc>, message: Option<&[u8]>, level: usize) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(message) = message {
            text.extend_from_slice(message);
            text.push(b'\n');
        }
        text.extend_from_slice(b"stack traceback:");
        let count = levels(coroutine).skip(level).count();
        fuel::owe(fuel::searched(2 * count) + fuel::ERROR_TEXT);
        // One level more is shown than there is room for, rather than a line that stands for it.
        let skipped = if count > FIRST_LEVELS + LAST_LEVELS + 1 { count - FIRST_LEVELS - LAST_LEVELS } else { 0 };
        for (shown, activation) in levels(coroutine).skip(level).enumerate() {
            if skipped > 0 && shown == FIRST_LEVELS {
                // The level in place of which this line stands does not count.
                text.extend_from_slice(format!("\n\t...\t(skipping {} levels)", skipped - 1).as_bytes());
            }
            if !(FIRST_LEVELS..FIRST_LEVELS + skipped).contains(&shown) {
                self.append_level(&mut text, activation);
            }
        }
        text
    }

    fn append_level(&self, text: &mut Vec<u8>, activation: Activation<'gc>) {
        text.extend_from_slice(b"\n\t");
        let frame = activation.frame();
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
        match (self.global_name(frame.callee), activation.name(), frame.callee) {
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
        if activation.is_tail_call() {
            text.extend_from_slice(b"\n\t(...tail calls...)");
        }
    }

    /// The name under which a function is found among the loaded libraries or in one of them; in `_G` without a prefix.
    pub(crate) fn global_name(&self, callee: Callee<'gc>) -> Option<Vec<u8>> {
        let function = callee.value();
        for (library, contents) in self.context.registered().loaded.each() {
            fuel::owe(1);
            let Value::String(library) = library else { continue };
            if contents.raw_equals(function) && library.len() <= NAME_MAX {
                return Some(library.as_bytes().to_vec());
            }
            let Value::Table(contents) = contents else { continue };
            for (key, value) in contents.each() {
                fuel::owe(1);
                if let (Value::String(key), true) = (key, value.raw_equals(function))
                    && key.len() <= NAME_MAX
                {
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
