//! Random allocations against what an allocator promises: blocks are aligned, do not overlap, keep their contents, and are used again.

use std::alloc::{GlobalAlloc, Layout};

use cu_allocator::SizeClassAllocator;

const ALLOCATOR: SizeClassAllocator = SizeClassAllocator;

struct Block {
    start: *mut u8,
    layout: Layout,
    fill: u8,
}

impl Block {
    fn check(&self) {
        assert_eq!(self.start as usize % self.layout.align(), 0, "aligned");
        // SAFETY: the block is allocated and was filled.
        let contents = unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) };
        assert!(contents.iter().all(|byte| *byte == self.fill), "a block of {:?} keeps its contents", self.layout);
    }

    fn fill(&mut self, fill: u8) {
        self.fill = fill;
        // SAFETY: the block is allocated.
        unsafe { self.start.write_bytes(fill, self.layout.size()) };
    }
}

/// Numbers that look random and are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn layout(&mut self) -> Layout {
        let size = match self.below(8) {
            0 => 1 + self.below(2000),
            1 => 500 + self.below(30),
            _ => 1 + self.below(300),
        };
        let largest = if self.below(10) == 0 { 8 } else { 4 };
        let align = 1 << self.below(largest);
        Layout::from_size_align(size, align).expect("a power of two and a small size")
    }
}

#[test]
fn random_operations() {
    let rounds = if cfg!(miri) { 2_000 } else { 200_000 };
    let mut random = Random(0x5eed);
    let mut blocks: Vec<Block> = Vec::new();
    for round in 0..rounds {
        let fill = round as u8;
        match random.below(5) {
            0 | 1 if blocks.len() < 1000 => {
                let layout = random.layout();
                let zeroed = random.below(4) == 0;
                // SAFETY: the layout has a size.
                let start = unsafe { if zeroed { ALLOCATOR.alloc_zeroed(layout) } else { ALLOCATOR.alloc(layout) } };
                assert!(!start.is_null());
                let mut block = Block { start, layout, fill: 0 };
                if zeroed {
                    block.check();
                }
                block.fill(fill);
                blocks.push(block);
            }
            2 if !blocks.is_empty() => {
                let position = random.below(blocks.len());
                let block = &mut blocks[position];
                block.check();
                let size = 1 + random.below(900);
                // SAFETY: allocated with this layout; the new size is small and not 0.
                block.start = unsafe { ALLOCATOR.realloc(block.start, block.layout, size) };
                let kept = block.layout.size().min(size);
                block.layout = Layout::from_size_align(size, block.layout.align()).expect("as before");
                // SAFETY: the part that both sizes share was initialized.
                let contents = unsafe { std::slice::from_raw_parts(block.start, kept) };
                assert!(contents.iter().all(|byte| *byte == block.fill), "moved with its contents");
                block.fill(fill);
            }
            _ if !blocks.is_empty() => {
                let position = random.below(blocks.len());
                let block = blocks.swap_remove(position);
                block.check();
                // SAFETY: allocated with this layout.
                unsafe { ALLOCATOR.dealloc(block.start, block.layout) };
            }
            _ => {}
        }
    }
    for block in blocks {
        block.check();
        // SAFETY: allocated with this layout.
        unsafe { ALLOCATOR.dealloc(block.start, block.layout) };
    }
}

#[test]
fn freed_blocks_are_used_again() {
    let layout = Layout::from_size_align(40, 8).expect("a layout");
    // SAFETY: the layout has a size; each block is freed once.
    unsafe {
        let first = ALLOCATOR.alloc(layout);
        ALLOCATOR.dealloc(first, layout);
        let again = ALLOCATOR.alloc(Layout::from_size_align(33, 1).expect("a layout of the same class"));
        assert_eq!(first, again);
        ALLOCATOR.dealloc(again, layout);
    }
}

#[test]
fn blocks_change_threads() {
    let layout = Layout::from_size_align(64, 8).expect("a layout");
    // SAFETY: the layout has a size.
    let address = std::thread::spawn(move || unsafe { ALLOCATOR.alloc(layout) } as usize).join().expect("no panic");
    // SAFETY: allocated with this layout, by a thread that is over.
    unsafe { ALLOCATOR.dealloc(address as *mut u8, layout) };
}
