//! Lua closures: a prototype and its upvalues in one allocation, up to eight upvalues; beyond that they have a buffer.

use std::cell::Cell;
use std::fmt;
use std::slice;

use gc_arena::collect::Trace;
use gc_arena::{Collect, Gc};

use super::accounting::{HEADER_BYTES, covers, note_freed};
use super::proto::Proto;
use super::upvalue::Upvalue;
use super::value::Value;
use crate::context::Context;

/// A Lua function.
#[derive(Clone, Copy, Collect)]
#[collect(no_drop)]
pub struct Closure<'gc>(Gc<'gc, Header<'gc>>);

#[repr(C)]
pub(crate) struct Header<'gc> {
    pub proto: Proto<'gc>,
    /// Points to the upvalues that follow, or into a buffer.
    upvalues: Cell<*const Cell<Upvalue<'gc>>>,
    count: u32,
    serial: Cell<u32>,
}

#[repr(C)]
struct Inline<'gc, const N: usize> {
    header: Header<'gc>,
    upvalues: [Cell<Upvalue<'gc>>; N],
}

#[repr(C)]
struct Buffered<'gc> {
    header: Header<'gc>,
    upvalues: Box<[Cell<Upvalue<'gc>>]>,
}

const fn nominal_bytes(count: usize) -> usize {
    HEADER_BYTES + 24 + count * 8
}

const _: () = assert!(covers::<Inline<'static, 8>>(nominal_bytes(8)));

impl<'gc> Header<'gc> {
    #[inline(always)]
    fn upvalues(&self) -> &[Cell<Upvalue<'gc>>] {
        // SAFETY: `upvalues` points to `count` cells that live as long as the closure.
        unsafe { slice::from_raw_parts(self.upvalues.get(), self.count as usize) }
    }

    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        cc.trace(&self.proto);
        for upvalue in self.upvalues() {
            cc.trace(&upvalue.get());
        }
    }
}

// SAFETY: prototype and upvalues are all that a closure holds.
unsafe impl<'gc> Collect<'gc> for Header<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        Header::trace(self, cc);
    }
}
// SAFETY: as above.
unsafe impl<'gc, const N: usize> Collect<'gc> for Inline<'gc, N> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        self.header.trace(cc);
    }
}
// SAFETY: as above.
unsafe impl<'gc> Collect<'gc> for Buffered<'gc> {
    fn trace<C: Trace<'gc>>(&self, cc: &mut C) {
        self.header.trace(cc);
    }
}

impl Drop for Header<'_> {
    fn drop(&mut self) {
        note_freed(nominal_bytes(self.count as usize));
    }
}

impl<'gc> Closure<'gc> {
    pub(crate) fn nominal_bytes_for(upvalues: usize) -> usize {
        nominal_bytes(upvalues)
    }

    /// A closure of `proto` with these upvalues, in the order of the prototype's descriptions.
    ///
    /// # Panics
    ///
    /// If the number of upvalues is not the prototype's: the interpreter relies on it.
    #[inline]
    pub fn new(context: Context<'gc>, proto: Proto<'gc>, upvalues: &[Upvalue<'gc>]) -> Self {
        assert_eq!(upvalues.len(), proto.0.upvalues.len(), "a closure has the upvalues its prototype describes");
        context.accounting().charge(nominal_bytes(upvalues.len()));
        match upvalues.len() {
            0 => Self::inline::<0>(context, proto, upvalues),
            1 => Self::inline::<1>(context, proto, upvalues),
            2 => Self::inline::<2>(context, proto, upvalues),
            3 => Self::inline::<3>(context, proto, upvalues),
            4 => Self::inline::<4>(context, proto, upvalues),
            5 => Self::inline::<5>(context, proto, upvalues),
            6 => Self::inline::<6>(context, proto, upvalues),
            7 => Self::inline::<7>(context, proto, upvalues),
            8 => Self::inline::<8>(context, proto, upvalues),
            _ => Self::buffered(context, proto, upvalues),
        }
    }

    /// The function of a chunk: new upvalues, the first of which holds `environment`.
    pub(crate) fn of_chunk(context: Context<'gc>, proto: Proto<'gc>, environment: Value<'gc>) -> Self {
        let mut value = environment;
        let mut upvalue = || Upvalue::new(context, std::mem::replace(&mut value, Value::Nil));
        let upvalues: Vec<Upvalue<'gc>> = proto.upvalue_descriptions().iter().map(|_| upvalue()).collect();
        Self::new(context, proto, &upvalues)
    }

    fn header(proto: Proto<'gc>, count: usize) -> Header<'gc> {
        Header { proto, upvalues: Cell::new(std::ptr::dangling()), count: count as u32, serial: Cell::new(0) }
    }

    #[inline]
    fn inline<const N: usize>(context: Context<'gc>, proto: Proto<'gc>, upvalues: &[Upvalue<'gc>]) -> Self {
        let gc = Gc::new(
            context.mutation(),
            Inline::<'gc, N> {
                header: Self::header(proto, N),
                upvalues: std::array::from_fn(|index| Cell::new(upvalues[index])),
            },
        );
        gc.header.upvalues.set(gc.as_ref().upvalues.as_ptr());
        // SAFETY: `Inline` starts with a `Header` (repr(C)).
        Closure(unsafe { Gc::cast(gc) })
    }

    fn buffered(context: Context<'gc>, proto: Proto<'gc>, upvalues: &[Upvalue<'gc>]) -> Self {
        let gc = Gc::new(
            context.mutation(),
            Buffered {
                header: Self::header(proto, upvalues.len()),
                upvalues: upvalues.iter().map(|upvalue| Cell::new(*upvalue)).collect(),
            },
        );
        gc.header.upvalues.set(gc.upvalues.as_ptr());
        // SAFETY: `Buffered` starts with a `Header` (repr(C)).
        Closure(unsafe { Gc::cast(gc) })
    }

    #[inline(always)]
    pub fn proto(self) -> Proto<'gc> {
        self.0.proto
    }

    /// Whether there is compiled code for the function: never but in WebAssembly.
    #[inline(always)]
    pub(crate) fn is_compiled(self) -> bool {
        #[cfg(all(target_arch = "wasm32", feature = "compile"))]
        return self.0.proto.0.compiled.is_ready();
        #[cfg(not(all(target_arch = "wasm32", feature = "compile")))]
        false
    }

    pub fn upvalue_count(self) -> usize {
        self.0.count as usize
    }

    /// Upvalue `index`.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn upvalue(self, index: usize) -> Upvalue<'gc> {
        self.0.upvalues()[index].get()
    }

    /// Upvalue `index` of verified code.
    ///
    /// # Safety
    ///
    /// `index` is less than the prototype's number of upvalues.
    #[inline(always)]
    pub(crate) unsafe fn upvalue_unchecked(self, index: usize) -> Upvalue<'gc> {
        debug_assert!(index < self.0.count as usize);
        // SAFETY: the caller's promise; `new` holds the counts equal.
        unsafe { (*self.0.upvalues.get().add(index)).get() }
    }

    /// Makes the closure share another upvalue.
    ///
    /// # Panics
    ///
    /// If there are not that many upvalues.
    pub fn set_upvalue(self, index: usize, upvalue: Upvalue<'gc>) {
        self.0.upvalues()[index].set(upvalue);
    }

    /// Where the closure is, for compiled code.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub(crate) fn address(self) -> u32 {
        Gc::as_ptr(self.0) as u32
    }

    /// The offset of the prototype from there, in bytes.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub(crate) fn proto_offset() -> u32 {
        std::mem::offset_of!(Header<'gc>, proto) as u32
    }

    /// The offset of the list of upvalues from there, in bytes.
    #[cfg(all(target_arch = "wasm32", feature = "compile"))]
    pub(crate) fn upvalues_offset() -> u32 {
        std::mem::offset_of!(Header<'gc>, upvalues) as u32
    }

    pub(crate) fn serial(self) -> &'gc Cell<u32> {
        &self.0.as_ref().serial
    }

    pub(crate) fn gc(self) -> Gc<'gc, ()> {
        Gc::erase(self.0)
    }

    pub fn ptr_eq(self, other: Closure<'gc>) -> bool {
        Gc::ptr_eq(self.0, other.0)
    }
}

impl fmt::Debug for Closure<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Closure(line {})", self.proto().line_range().0)
    }
}
