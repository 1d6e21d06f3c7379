//! A coroutine's debug hook (manual §6.10, `debug.sethook`), as data.

use super::value::Value;

/// The hook is called when a function is called.
pub(crate) const HOOK_CALL: u8 = 1;
/// … when a function returns.
pub(crate) const HOOK_RETURN: u8 = 2;
/// … before the first instruction of a line.
pub(crate) const HOOK_LINE: u8 = 4;
/// … after every so many instructions.
pub(crate) const HOOK_COUNT: u8 = 8;

/// What is called when, and what it takes to find out.
#[derive(Clone, Copy)]
pub(crate) struct Hook<'gc> {
    /// Nil in a coroutine that only inherited the rest, as PUC Lua has it.
    pub function: Value<'gc>,
    /// Bits of `HOOK_`; 0 when there is no hook.
    pub mask: u8,
    /// How many instructions lie between two count events, as it was asked for.
    pub count: i32,
    /// Instructions until the next count event.
    pub count_left: i32,
    /// The instruction that was looked at last for a new line.
    pub traced_pc: u32,
    /// Calls that no hook may see: of the hook itself, of finalizers.
    pub suspensions: u32,
}

impl Hook<'_> {
    pub(crate) const NONE: Self =
        Hook { function: Value::Nil, mask: 0, count: 0, count_left: 0, traced_pc: 0, suspensions: 0 };

    /// Whether events are looked for.
    pub(crate) fn is_active(&self) -> bool {
        self.mask != 0 && self.suspensions == 0 && !self.function.is_nil()
    }
}
