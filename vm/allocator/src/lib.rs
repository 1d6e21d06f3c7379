//! A global allocator for Lua heaps: many small blocks of few sizes, allocated and freed all the time.
//!
//! Small sizes are rounded up to a class. Each class has a list of free blocks, linked through the blocks themselves; an empty list is
//! served from a region that all classes share, cut from its start. A freed block goes to its class's list and never back, so a
//! program keeps the memory of the most blocks it ever had in each class. Everything larger is the system's. WebAssembly's memory grows by
//! an eighth at a time once it has 2 MiB.
//!
//! ```text
//!   free[1]  → [ next | … ] → [ next | … ]        blocks of 1 grain
//!   free[2]  → [ next | …  … ]                    blocks of 2 grains
//!   region     [ ████ | █████████ | ██ |       ]  cut ↑          ↑ end
//! ```
//!
//! The state belongs to a thread (in a page there is one). A block may be freed by another thread than the one that allocated it: it
//! just changes lists, as regions are never given back.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: cu_allocator::SizeClassAllocator = cu_allocator::SizeClassAllocator;
//!
//! let text = String::from("in a block of its class");
//! assert_eq!(text.len(), 23);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// Sizes of classes are multiples of this, and blocks are aligned to it: 16 bytes natively, 8 on wasm32.
const GRAIN: usize = 2 * size_of::<usize>();
const CLASSES: usize = 32;
const SMALL_BYTES_MAX: usize = CLASSES * GRAIN;
/// What is asked of the system at once.
const REGION_BYTES: usize = 16 * 1024;

/// The allocator; see the crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct SizeClassAllocator;

thread_local! {
    static LISTS: Lists = const { Lists::new() };
}

/// The class of a layout, if it is a small one.
#[inline(always)]
fn class_of(layout: Layout) -> Option<usize> {
    let is_small = layout.size() <= SMALL_BYTES_MAX && layout.align() <= GRAIN;
    // A layout without size is the caller's mistake; it is treated as one of the largest.
    is_small.then(|| layout.size().wrapping_sub(1).min(SMALL_BYTES_MAX - 1) / GRAIN)
}

// SAFETY: a block of a class is at least as large and as aligned as every layout of the class (`class_of`), belongs to nobody else
// while it is not on a list (`Lists`), and its class follows from its layout alone, so it is freed to the list it came
// from. Other layouts are the system allocator's in all functions.
unsafe impl GlobalAlloc for SizeClassAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            Some(class) => LISTS.with(|lists| lists.take(class)),
            // SAFETY: the caller's promise.
            None => growing_ahead(|| unsafe { System.alloc(layout) }),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            // SAFETY: the block was allocated with this layout, so it is one of the class, and it is not used any more.
            Some(class) => LISTS.with(|lists| unsafe { lists.give(class, block) }),
            // SAFETY: the caller's promise.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if class_of(layout).is_none() {
            // SAFETY: the caller's promise.
            return growing_ahead(|| unsafe { System.alloc_zeroed(layout) });
        }
        // SAFETY: the caller's promise; a block that is not null has the layout's size.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` with this alignment makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class_of(layout), class_of(wanted)) {
            (Some(before), Some(after)) if before == after => block,
            // SAFETY: the caller's promise.
            (None, None) => growing_ahead(|| unsafe { System.realloc(block, layout, size) }),
            // SAFETY: both blocks hold what is copied, and they are different ones.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

/// Asks the system for memory. Where WebAssembly's memory had to grow for it and is large already, it grows by an eighth, so that it seldom
/// has to: an engine may collect its garbage each time.
#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn growing_ahead(allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    let before = core::arch::wasm32::memory_size(0);
    let block = allocate();
    if core::arch::wasm32::memory_size(0) != before {
        grow_ahead();
    }
    block
}

#[cfg(target_arch = "wasm32")]
#[inline(never)]
fn grow_ahead() {
    const PAGE_BYTES: usize = 64 * 1024;
    const SMALL_PAGES: usize = 32;
    let pages = core::arch::wasm32::memory_size(0);
    if pages < SMALL_PAGES {
        return;
    }
    let Ok(layout) = Layout::from_size_align(pages / 8 * PAGE_BYTES, GRAIN) else { return };
    // SAFETY: the layout has a size, and the block is given back as it was. The system keeps it.
    unsafe {
        let block = System.alloc(layout);
        if !block.is_null() {
            System.dealloc(block, layout);
        }
    }
}

/// Asks the system for memory.
#[cfg(not(target_arch = "wasm32"))]
#[inline(always)]
fn growing_ahead(allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    allocate()
}

/// A free block: the next one of its class.
struct Free {
    next: *mut Free,
}

/// The free blocks of a thread. Invariant: every block on the list of a class, and the rest of the region, is memory of the class's
/// size that nobody else refers to.
struct Lists {
    free: [Cell<*mut Free>; CLASSES],
    /// The part of the region that is not cut yet.
    cut: Cell<*mut u8>,
    left: Cell<usize>,
}

impl Lists {
    const fn new() -> Self {
        Lists {
            free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            cut: Cell::new(ptr::null_mut()),
            left: Cell::new(0),
        }
    }

    /// A block of the class; null when the system has no more memory.
    #[inline(always)]
    fn take(&self, class: usize) -> *mut u8 {
        let list = &self.free[class];
        let block = list.get();
        if block.is_null() {
            return self.cut(class);
        }
        // SAFETY: a block on a list begins with its link.
        list.set(unsafe { (*block).next });
        block.cast()
    }

    /// Puts a block on the list of its class.
    ///
    /// # Safety
    ///
    /// The block has the size of the class, and nobody uses it any more.
    #[inline(always)]
    unsafe fn give(&self, class: usize, block: *mut u8) {
        let list = &self.free[class];
        let block: *mut Free = block.cast();
        // SAFETY: the smallest block is a grain, which holds a link and is aligned for it.
        unsafe { block.write(Free { next: list.get() }) };
        list.set(block);
    }

    #[inline(never)]
    fn cut(&self, class: usize) -> *mut u8 {
        let size = (class + 1) * GRAIN;
        if size > self.left.get() && !self.begin_region() {
            return ptr::null_mut();
        }
        let block = self.cut.get();
        // SAFETY: the region has `size` bytes left from here.
        self.cut.set(unsafe { block.add(size) });
        self.left.set(self.left.get() - size);
        block
    }

    /// Begins another region; what is left of the old one becomes a free block.
    fn begin_region(&self) -> bool {
        let layout = const {
            match Layout::from_size_align(REGION_BYTES, GRAIN) {
                Ok(layout) => layout,
                Err(_) => panic!("a region has a size and an alignment"),
            }
        };
        // SAFETY: the layout has a size.
        let region = growing_ahead(|| unsafe { System.alloc(layout) });
        if region.is_null() {
            return false;
        }
        if self.left.get() > 0 {
            // SAFETY: the rest is a multiple of the grain, smaller than the largest class, and nobody's.
            unsafe { self.give(self.left.get() / GRAIN - 1, self.cut.get()) };
        }
        self.cut.set(region);
        self.left.set(REGION_BYTES);
        true
    }
}
