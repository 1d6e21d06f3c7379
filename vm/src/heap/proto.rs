//! A function prototype: verified code with its constants on the Lua heap.
//!
//! The only way to make one is from a [`Verified`] function, so whatever a `Proto` holds satisfies the verifier's rules; the
//! interpreter's unchecked accesses rest on that. Code words are cells because inline caches live among them.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, covers, note_freed};
use super::chunk_name::ChunkName;
use super::string::LuaString;
use super::value::Value;
use crate::bytecode::function::{Constant, FunctionParts, LineEntry, LocalVariable, UpvalueDescription, line_at};
use crate::bytecode::instruction::Instruction;
use crate::bytecode::opcode::Trailing;
use crate::bytecode::small_bytes::SmallBytes;
use crate::bytecode::verify::Verified;
use crate::context::Context;
use crate::fuel;

/// A prototype; closures share it.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Proto<'gc>(pub(crate) Gc<'gc, ProtoObject<'gc>>);

pub(crate) struct ProtoObject<'gc> {
    pub code: Box<[Cell<u32>]>,
    pub constants: Box<[Value<'gc>]>,
    pub children: Box<[Proto<'gc>]>,
    pub upvalues: Box<[UpvalueDescription]>,
    pub register_count: u8,
    pub parameter_count: u8,
    pub is_vararg: bool,
    /// What a call costs.
    pub entry_fuel: u32,
    pub chunk_name: Rc<ChunkName>,
    pub line_defined: u32,
    pub last_line_defined: u32,
    pub lines: Box<[LineEntry]>,
    pub locals: Box<[LocalVariable]>,
    bytes: usize,
    /// The function as the machine runs it, once it has run often.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub compiled: crate::compiled::Compilation,
}

// SAFETY: constants and children are the only `Gc` pointers.
unsafe impl<'gc> Collect<'gc> for ProtoObject<'gc> {
    fn trace<C: gc_arena::collect::Trace<'gc>>(&self, cc: &mut C) {
        for constant in &self.constants {
            cc.trace(constant);
        }
        for child in &self.children {
            cc.trace(child);
        }
    }
}

impl Drop for ProtoObject<'_> {
    fn drop(&mut self) {
        note_freed(self.bytes);
    }
}

/// The string among `strings` that is equal to this one, which is added if there is none. Many may have one hash of the heap's.
fn shared<'gc>(string: LuaString<'gc>, strings: &mut HashMap<&'gc [u8], LuaString<'gc>>) -> LuaString<'gc> {
    string.hash();
    *strings.entry(string.as_bytes()).or_insert(string)
}

/// Empties the inline caches in code, and gives the words that were in those that were not empty. Stops at a word that is no
/// instruction, which the verifier will find.
pub(crate) fn take_caches(code: &mut [u32]) -> Vec<(u32, u32)> {
    let mut caches = Vec::new();
    let mut pc = 0;
    while let Some(opcode) = code.get(pc).and_then(|word| Instruction(*word).opcode()) {
        if opcode.layout().trailing == Trailing::Cache
            && let Some(cache) = code.get_mut(pc + 1)
            && *cache != 0
        {
            caches.push((pc as u32 + 1, std::mem::take(cache)));
        }
        pc += opcode.words();
    }
    caches
}

pub(crate) fn nominal_bytes(parts: &FunctionParts) -> usize {
    HEADER_BYTES
        + 160
        + parts.code.len() * 4
        + parts.constants.len() * 16
        + parts.functions.len() * 8
        + parts.upvalues.iter().map(|upvalue| 24 + upvalue.name.len()).sum::<usize>()
        + parts.lines.len() * 8
        + parts.locals.iter().map(|local| 32 + local.name.len()).sum::<usize>()
}

const _: () = assert!(covers::<ProtoObject<'static>>(HEADER_BYTES + 160));

impl<'gc> Proto<'gc> {
    /// Puts a verified function and everything inside it on the heap.
    pub fn new(context: Context<'gc>, function: Verified) -> Self {
        // Equal long strings of a chunk are one object.
        let long_strings = &mut HashMap::new();
        let constant = &mut |constant: Constant| match constant {
            Constant::Nil => Value::Nil,
            Constant::Boolean(boolean) => Value::Boolean(boolean),
            Constant::Integer(integer) => Value::Integer(integer),
            Constant::Float(float) => Value::Float(float),
            Constant::String(bytes) => {
                let string = context.string(&bytes);
                Value::String(if string.is_short() { string } else { shared(string, long_strings) })
            }
        };
        Self::with_constants(context, function, constant)
    }

    /// As [`Self::new`], with values made of the constants by `constant`, which must keep their types: a function's constants
    /// in order, then those of the functions inside it.
    pub(crate) fn with_constants(
        context: Context<'gc>,
        function: Verified,
        constant: &mut dyn FnMut(Constant) -> Value<'gc>,
    ) -> Self {
        Self::from_parts(context, function.into_parts(), constant)
    }

    /// `parts` come from a `Verified`. Recursion is bounded by the verifier's nesting limit.
    fn from_parts(
        context: Context<'gc>,
        parts: FunctionParts,
        constant: &mut dyn FnMut(Constant) -> Value<'gc>,
    ) -> Self {
        let bytes = nominal_bytes(&parts);
        context.accounting().charge(bytes);
        let constants = parts.constants.into_iter().map(&mut *constant).collect();
        let object = ProtoObject {
            entry_fuel: fuel::entry(parts.code.len(), parts.parameter_count),
            code: parts.code.into_iter().map(Cell::new).collect(),
            constants,
            children: parts.functions.into_iter().map(|child| Self::from_parts(context, child, constant)).collect(),
            upvalues: parts.upvalues.into(),
            register_count: parts.register_count,
            parameter_count: parts.parameter_count,
            is_vararg: parts.is_vararg,
            chunk_name: context.root().chunk_names.name(context.accounting(), &parts.chunk_name),
            line_defined: parts.line_defined,
            last_line_defined: parts.last_line_defined,
            lines: parts.lines.into(),
            locals: parts.locals.into(),
            bytes,
            #[cfg(all(target_arch = "wasm32", feature = "compile"))]
            compiled: crate::compiled::Compilation::default(),
        };
        Proto(Gc::new(context.mutation(), object))
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }

    /// What the function takes, with the functions inside it and without its strings.
    pub(crate) fn nominal_bytes(self) -> usize {
        self.0.bytes + self.0.children.iter().map(|child| child.nominal_bytes()).sum::<usize>()
    }

    /// The function as plain data, with empty caches; `strip` leaves out debug information.
    pub fn to_parts(self, strip: bool) -> FunctionParts {
        let object = self.0.as_ref();
        let constant = |value: &Value<'gc>| match *value {
            Value::Boolean(boolean) => Constant::Boolean(boolean),
            Value::Integer(integer) => Constant::Integer(integer),
            Value::Float(float) => Constant::Float(float),
            Value::String(string) => Constant::String(string.as_bytes().into()),
            _ => Constant::Nil,
        };
        let mut upvalues = object.upvalues.to_vec();
        if strip {
            upvalues.iter_mut().for_each(|upvalue| upvalue.name = SmallBytes::default());
        }
        FunctionParts {
            chunk_name: if strip { Rc::from(&b"=?"[..]) } else { object.chunk_name.text().clone() },
            line_defined: object.line_defined,
            last_line_defined: object.last_line_defined,
            parameter_count: object.parameter_count,
            is_vararg: object.is_vararg,
            register_count: object.register_count,
            code: self.code_without_caches(),
            constants: object.constants.iter().map(constant).collect(),
            upvalues,
            functions: object.children.iter().map(|child| child.to_parts(strip)).collect(),
            lines: if strip { Vec::new() } else { object.lines.to_vec() },
            locals: if strip { Vec::new() } else { object.locals.to_vec() },
        }
    }

    fn code_without_caches(self) -> Vec<u32> {
        let mut code: Vec<u32> = self.0.code.iter().map(Cell::get).collect();
        take_caches(&mut code);
        code
    }

    /// The function without constants and inner functions, and with its caches.
    pub(crate) fn own_parts(self) -> FunctionParts {
        let object = self.0.as_ref();
        FunctionParts {
            chunk_name: object.chunk_name.text().clone(),
            line_defined: object.line_defined,
            last_line_defined: object.last_line_defined,
            parameter_count: object.parameter_count,
            is_vararg: object.is_vararg,
            register_count: object.register_count,
            code: object.code.iter().map(Cell::get).collect(),
            constants: Vec::new(),
            upvalues: object.upvalues.to_vec(),
            functions: Vec::new(),
            lines: object.lines.to_vec(),
            locals: object.locals.to_vec(),
        }
    }

    /// Sets inline caches: positions in the code and what stands there. Any content will do for a cache.
    pub(crate) fn restore_caches(self, caches: &[(u32, u32)]) {
        for (position, word) in caches {
            self.0.code[*position as usize].set(*word);
        }
    }

    /// The line of the instruction at `pc`; 0 if unknown.
    pub fn line_at(self, pc: usize) -> u32 {
        line_at(&self.0.lines, pc)
    }

    /// The name of the local variable in `register` at `pc`.
    pub fn local_name(self, register: usize, pc: usize) -> Option<&'gc [u8]> {
        let locals = &self.0.as_ref().locals;
        let visible = |local: &&LocalVariable| {
            local.register as usize == register && (local.start_pc as usize) <= pc && pc < local.end_pc as usize
        };
        fuel::owe(fuel::searched(locals.len()));
        locals.iter().rev().find(visible).map(|local| &*local.name)
    }

    /// The name of the local variable that is number `index` of those visible at `pc`. Its register has the same number.
    pub(crate) fn numbered_local(self, index: usize, pc: usize) -> Option<&'gc [u8]> {
        fuel::owe(fuel::searched(self.0.locals.len()));
        let locals = self.0.as_ref().locals.iter();
        let mut visible = locals.filter(|local| (local.start_pc as usize) <= pc && pc < local.end_pc as usize);
        visible.nth(index).map(|local| &*local.name)
    }

    /// The lines that have instructions, some more than once. The first instruction of a vararg function is no part of its text.
    pub(crate) fn active_lines(self) -> impl Iterator<Item = u32> {
        let object = self.0.as_ref();
        let first = usize::from(object.is_vararg);
        let ends = object.lines.iter().skip(1).map(|entry| entry.pc as usize).chain([object.code.len()]);
        object.lines.iter().zip(ends).filter(move |(_, end)| *end > first).map(|(entry, _)| entry.line)
    }

    /// Whether it takes variable arguments, and the number of its parameters.
    pub fn parameters(self) -> (bool, u8) {
        (self.0.is_vararg, self.0.parameter_count)
    }

    pub fn chunk_name(self) -> &'gc Rc<[u8]> {
        self.0.as_ref().chunk_name.text()
    }

    /// The first and the last line of the definition; 0 for a main function.
    pub fn line_range(self) -> (u32, u32) {
        (self.0.line_defined, self.0.last_line_defined)
    }

    pub fn upvalue_descriptions(self) -> &'gc [UpvalueDescription] {
        &self.0.as_ref().upvalues
    }

    pub(crate) fn constant_string(self, index: usize) -> Option<LuaString<'gc>> {
        match self.0.constants.get(index) {
            Some(Value::String(string)) => Some(*string),
            _ => None,
        }
    }

    /// Where compiled code finds what of a prototype.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub(crate) fn describe_layout(self, layout: &mut cu_translator::Layout) {
        use std::mem::offset_of;

        // SAFETY: a `Gc` is an address.
        let address = unsafe { std::mem::transmute_copy::<Self, u32>(&self) };
        layout.proto = (Gc::as_ptr(self.0) as u32).wrapping_sub(address);
        layout.proto_run = (offset_of!(ProtoObject<'gc>, compiled) + crate::compiled::Compilation::RUN_OFFSET) as u32;
        layout.proto_parameter_count = offset_of!(ProtoObject<'gc>, parameter_count) as u32;
        layout.proto_register_count = offset_of!(ProtoObject<'gc>, register_count) as u32;
        layout.proto_entry_fuel = offset_of!(ProtoObject<'gc>, entry_fuel) as u32;
        layout.proto_code = offset_of!(ProtoObject<'gc>, code) as u32;
        // SAFETY: the first word of a slice's box is taken to be its address, and checked to be.
        let code = unsafe { (&raw const self.0.as_ref().code).cast::<u32>().read() };
        assert_eq!(code, self.0.code.as_ptr() as u32, "a boxed slice begins with its address");
    }

    /// The object's address, to tell prototypes apart while none can be freed.
    pub fn address(self) -> usize {
        Gc::as_ptr(self.0) as usize
    }
}
