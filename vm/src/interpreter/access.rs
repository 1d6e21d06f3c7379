//! Indexing with metamethods, and the slow halves of the field instructions.

use super::{Flow, Machine};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Opcode;
use crate::error::Error;
use crate::fuel;
use crate::heap::closure::Closure;
use crate::heap::coroutine::WANT_FINISH;
use crate::heap::string::LuaString;
use crate::heap::table::{Table, TableError};
use crate::heap::value::Value;
use crate::home::FillError;
use crate::metamethod::Metamethod;

/// How long a chain of `__index` or `__newindex` tables may be (PUC's MAXTAGLOOP).
const CHAIN_MAX: usize = 2000;
/// How many classes of such a chain a field instruction looks at in place.
const INHERITED_MAX: i64 = 16;

/// What indexing came to.
pub(crate) enum Indexed<'gc> {
    Value(Value<'gc>),
    /// Call this handler with the object and the key.
    Call(Value<'gc>, Value<'gc>),
}

/// What an assignment came to.
pub(crate) enum Assigned<'gc> {
    Done,
    /// Call this handler with the object, the key and the value.
    Call(Value<'gc>, Value<'gc>),
}

impl<'gc> Machine<'gc> {
    /// `object[key]` (manual §2.4, `__index`).
    pub(crate) fn index(&mut self, object: Value<'gc>, key: Value<'gc>) -> Result<Indexed<'gc>, Error<'gc>> {
        let mut object = object;
        for _ in 0..CHAIN_MAX {
            let handler = match object {
                Value::Table(table) => {
                    let value = table.get(key);
                    if !value.is_nil() {
                        return Ok(Indexed::Value(value));
                    }
                    match table.metatable() {
                        None => return Ok(Indexed::Value(Value::Nil)),
                        Some(metatable) => match metatable.metamethod(self.context, Metamethod::Index) {
                            Value::Nil => return Ok(Indexed::Value(Value::Nil)),
                            handler => handler,
                        },
                    }
                }
                _ => match self.context.metamethod(object, Metamethod::Index) {
                    Value::Nil => return Err(self.index_error(object, key)),
                    handler => handler,
                },
            };
            if let Value::Closure(_) | Value::Native(_) = handler {
                if self.fill_ghost(object)? {
                    continue;
                }
                return Ok(Indexed::Call(handler, object));
            }
            object = handler;
            self.fuel -= fuel::CHAIN_STEP;
        }
        Err(self.runtime_error(b"'__index' chain too long; possible loop"))
    }

    /// `object[key] = value` (manual §2.4, `__newindex`).
    pub(crate) fn assign(
        &mut self,
        object: Value<'gc>,
        key: Value<'gc>,
        value: Value<'gc>,
    ) -> Result<Assigned<'gc>, Error<'gc>> {
        let mut object = object;
        for _ in 0..CHAIN_MAX {
            let handler = match object {
                Value::Table(table) => {
                    let handler = match table.metatable() {
                        None => Value::Nil,
                        Some(metatable) => metatable.metamethod(self.context, Metamethod::NewIndex),
                    };
                    if handler.is_nil() || !table.get(key).is_nil() {
                        return self.assign_raw(table, key, value);
                    }
                    handler
                }
                _ => match self.context.metamethod(object, Metamethod::NewIndex) {
                    Value::Nil => return Err(self.index_error(object, key)),
                    handler => handler,
                },
            };
            if let Value::Closure(_) | Value::Native(_) = handler {
                if self.fill_ghost(object)? {
                    continue;
                }
                return Ok(Assigned::Call(handler, object));
            }
            object = handler;
            self.fuel -= fuel::CHAIN_STEP;
        }
        Err(self.runtime_error(b"'__newindex' chain too long; possible loop"))
    }

    /// Fills a table that is a ghost; false for any other value.
    #[inline]
    fn fill_ghost(&mut self, object: Value<'gc>) -> Result<bool, Error<'gc>> {
        match object {
            Value::Table(table) if table.is_ghost() => self.fill(table).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Fills a table if it is a ghost.
    pub(crate) fn fill(&mut self, table: Table<'gc>) -> Result<(), Error<'gc>> {
        match self.context.fill(table) {
            Ok(()) => Ok(()),
            Err(FillError::OutOfMemory) => Err(Error::OutOfMemory),
            Err(FillError::Other(message)) => Err(self.runtime_error(message.as_bytes())),
        }
    }

    fn assign_raw(
        &mut self,
        table: Table<'gc>,
        key: Value<'gc>,
        value: Value<'gc>,
    ) -> Result<Assigned<'gc>, Error<'gc>> {
        match table.set(self.context, key, value) {
            Ok(()) => Ok(Assigned::Done),
            Err(TableError::OutOfMemory) => Err(Error::OutOfMemory),
            Err(error) => Err(self.runtime_error(<&'static str>::from(error).as_bytes())),
        }
    }

    /// Finishes a reading instruction: the value goes to register `target`, or a handler is called.
    #[inline(never)]
    pub(crate) fn index_into(
        &mut self,
        target: usize,
        object: Value<'gc>,
        key: Value<'gc>,
    ) -> Result<Flow, Error<'gc>> {
        self.fuel -= fuel::SLOW_PATH;
        match self.index(object, key)? {
            Indexed::Value(value) => {
                self.set_slot(target, value);
                Ok(Flow::Continue)
            }
            Indexed::Call(handler, object) => self.call_metamethod(handler, &[object, key], WANT_FINISH),
        }
    }

    /// Finishes a writing instruction.
    #[inline(never)]
    pub(crate) fn assign_from(
        &mut self,
        object: Value<'gc>,
        key: Value<'gc>,
        value: Value<'gc>,
    ) -> Result<Flow, Error<'gc>> {
        self.fuel -= fuel::SLOW_PATH;
        match self.assign(object, key, value)? {
            Assigned::Done => Ok(Flow::Continue),
            Assigned::Call(handler, object) => self.call_metamethod(handler, &[object, key, value], WANT_FINISH),
        }
    }

    /// A field read whose inline cache missed: looks the key up and updates the cache.
    #[inline(never)]
    pub(crate) fn index_field(
        &mut self,
        target: usize,
        object: Value<'gc>,
        key: LuaString<'gc>,
    ) -> Result<Flow, Error<'gc>> {
        match self.find_field(object, key) {
            Some(value) => {
                // SAFETY: it was just found, and nothing has changed since.
                self.set_slot(target, unsafe { *value });
                Ok(Flow::Continue)
            }
            None => self.index_into(target, object, Value::String(key)),
        }
    }

    /// Where the field is, if the object or one of its classes has it; updates the inline cache.
    #[inline]
    pub(super) fn find_field(&mut self, object: Value<'gc>, key: LuaString<'gc>) -> Option<*const Value<'gc>> {
        if let Value::Table(table) = object
            && let Some(value) = self.find_and_cache(table, key)
        {
            return Some(value);
        }
        self.inherited(object, key)
    }

    /// A method: the field that `object` does not have itself, found where `__index` of its metatable leads to, as long as that are
    /// tables. Otherwise nothing, and nothing is paid.
    #[inline]
    fn inherited(&mut self, object: Value<'gc>, key: LuaString<'gc>) -> Option<*const Value<'gc>> {
        let mut metatable = self.context.current_metatable(object)?;
        // SAFETY: a saved `pc` points at the cache word of the current instruction.
        let hint = unsafe { (*self.top_frame().pc).get() };
        for steps in 1..=INHERITED_MAX {
            let Value::Table(class) = metatable.index_handler(self.context) else { return None };
            let value = match class.get_cached(key, hint) {
                Some(value) => Some(&raw const *value),
                None => self.find_and_cache(class, key),
            };
            if value.is_some() {
                // The first class is looked at as fast as the object itself.
                if steps > 1 || !matches!(object, Value::Table(_)) {
                    self.fuel -= fuel::SLOW_PATH + fuel::CHAIN_STEP * steps;
                }
                return value;
            }
            metatable = class.metatable()?;
        }
        None
    }

    fn find_and_cache(&mut self, table: Table<'gc>, key: LuaString<'gc>) -> Option<*const Value<'gc>> {
        let position = table.position(key)?;
        let value: *const Value<'gc> = table.get_cached(key, position)?;
        self.update_cache(position);
        Some(value)
    }

    /// A field write whose inline cache missed.
    #[inline(never)]
    pub(crate) fn assign_field(
        &mut self,
        object: Value<'gc>,
        key: LuaString<'gc>,
        value: Value<'gc>,
    ) -> Result<Flow, Error<'gc>> {
        if let Value::Table(table) = object {
            if self.assign_in_place(table, key, &value) {
                return Ok(Flow::Continue);
            }
            if table.metatable().is_none() {
                self.assign_raw(table, Value::String(key), value)?;
                if let Some(position) = table.position(key) {
                    self.update_cache(position);
                }
                return Ok(Flow::Continue);
            }
        }
        self.assign_from(object, Value::String(key), value)
    }

    /// Replaces a field that has a value, or adds one to a table that has the room, as constructors make it.
    #[inline]
    pub(super) fn assign_in_place(&mut self, table: Table<'gc>, key: LuaString<'gc>, value: &Value<'gc>) -> bool {
        // SAFETY: a saved `pc` points at the cache word of the current instruction.
        let hint = unsafe { (*self.top_frame().pc).get() };
        if table.append_cached(key, hint, value) {
            return true;
        }
        let Some(position) = table.position(key) else { return false };
        let is_done = table.replace_cached(key, position, value);
        if is_done {
            self.update_cache(position);
        }
        is_done
    }

    /// Writes the cache word of the current instruction.
    fn update_cache(&mut self, position: u32) {
        let pc = self.top_frame().pc;
        // SAFETY: a saved `pc` points after the first word of the current instruction, one with a cache word.
        unsafe {
            debug_assert!(matches!(
                Instruction((*pc.sub(1)).get()).opcode(),
                Some(
                    Opcode::GetField
                        | Opcode::GetTabUp
                        | Opcode::SelfField
                        | Opcode::SetField
                        | Opcode::SetFieldK
                        | Opcode::SetTabUp
                        | Opcode::SetTabUpK
                )
            ));
            (*pc).set(position);
        }
    }

    /// Creates the closure of child function `child` of `closure`, capturing variables of the top frame.
    #[inline(never)]
    pub(crate) fn make_closure(&mut self, closure: Closure<'gc>, child: usize, target: usize) {
        let base = self.top_frame().base;
        let proto = closure.proto().0.children[child];
        self.fuel -= fuel::UPVALUE * proto.0.upvalues.len() as i64;
        let capture = |description: &crate::bytecode::function::UpvalueDescription| {
            if description.in_stack {
                self.coroutine.find_upvalue(self.context, base + u32::from(description.index))
            } else {
                closure.upvalue(description.index as usize)
            }
        };
        let descriptions = &proto.0.upvalues;
        let made = match descriptions.len() {
            0 => Closure::new(self.context, proto, &[]),
            1 => Closure::new(self.context, proto, &[capture(&descriptions[0])]),
            2 => Closure::new(self.context, proto, &[capture(&descriptions[0]), capture(&descriptions[1])]),
            _ => {
                let upvalues: Vec<_> = descriptions.iter().map(capture).collect();
                Closure::new(self.context, proto, &upvalues)
            }
        };
        self.set_slot(target, Value::Closure(made));
    }

    /// Stores an open or fixed list of `count` values, from slot `first` on, at index `start + 1` of the table.
    #[inline(never)]
    pub(crate) fn set_list(
        &mut self,
        table: Value<'gc>,
        first: usize,
        count: usize,
        start: usize,
    ) -> Result<(), Error<'gc>> {
        let Value::Table(table) = table else {
            return Err(self.index_error(table, Value::Nil));
        };
        self.fuel -= fuel::items(count) as i64;
        // Only a binary chunk has others than new tables here.
        if self.context.is_read_only(table) {
            return Err(self.runtime_error(b"attempt to change a read-only table"));
        }
        table.reserve_array(self.context, (start + count).saturating_sub(table.shape().0).min(count))?;
        if table.append_items(start, &self.state().stack[first..first + count]) {
            return Ok(());
        }
        for index in 0..count {
            let value = self.slot(first + index);
            table.append_or_set(self.context, (start + index + 1) as i64, value)?;
        }
        Ok(())
    }
}
