//! How much the heap holds, in nominal bytes, and when to collect.
//!
//! Allocation adds to `used` at once. Freed objects report their size in their `Drop`, which runs inside a collection cycle;
//! the driver subtracts the sum after the cycle. Buffers that grow or shrink while Lua runs are charged directly.

use std::cell::Cell;

/// The nominal size of an object's header: two words on wasm32.
pub(crate) const HEADER_BYTES: usize = 8;

thread_local! {
    static FREED_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Reports the nominal size of an object that is being dropped.
#[inline]
pub(crate) fn note_freed(bytes: usize) {
    FREED_BYTES.with(|freed| freed.set(freed.get() + bytes));
}

/// What was freed since the last call.
pub(crate) fn take_freed() -> usize {
    FREED_BYTES.with(|freed| freed.replace(0))
}

/// An allocation that the heap limit does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

/// The counters of one heap. All sizes are nominal bytes.
#[derive(Debug)]
pub struct Accounting {
    used: Cell<usize>,
    limit: Cell<usize>,
    /// Collect when `used` reaches this.
    trigger: Cell<usize>,
    peak: Cell<usize>,
    /// How far the heap may grow over what survived a cycle before the next one, in percent.
    pause: Cell<usize>,
    running: Cell<bool>,
}

/// Below this, a growing heap is not worth a cycle.
const MIN_TRIGGER_BYTES: usize = 64 * 1024;

impl Accounting {
    pub(crate) fn new(limit: usize) -> Self {
        Accounting {
            used: Cell::new(0),
            limit: Cell::new(limit),
            trigger: Cell::new(MIN_TRIGGER_BYTES.min(limit)),
            peak: Cell::new(0),
            pause: Cell::new(200),
            running: Cell::new(true),
        }
    }

    /// What is in use.
    #[inline]
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// The most that was ever in use.
    pub fn peak(&self) -> usize {
        self.peak.get().max(self.used.get())
    }

    pub fn limit(&self) -> usize {
        self.limit.get()
    }

    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
        self.trigger.set(self.trigger.get().min(limit));
    }

    /// Charges an allocation that has happened; it may take the heap over its limit until the next safe point.
    #[inline]
    pub(crate) fn charge(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
    }

    /// Gives back what a buffer no longer takes.
    #[inline]
    pub(crate) fn release(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }

    /// Asks whether `bytes` more fit under the limit.
    #[inline]
    pub(crate) fn check(&self, bytes: usize) -> Result<(), OutOfMemory> {
        if bytes <= self.limit.get().saturating_sub(self.used.get()) { Ok(()) } else { Err(OutOfMemory) }
    }

    /// Whether a safe point should run a cycle.
    #[inline(always)]
    pub(crate) fn wants_cycle(&self) -> bool {
        self.used.get() >= self.trigger.get()
    }

    pub(crate) fn over_limit(&self) -> bool {
        self.used.get() > self.limit.get()
    }

    /// Ends a cycle that freed `freed` bytes and sets when the next one starts.
    pub(crate) fn finish_cycle(&self, freed: usize) {
        self.peak.set(self.peak());
        self.release(freed);
        self.reset_trigger();
    }

    fn reset_trigger(&self) {
        let used = self.used.get();
        let goal = used.saturating_mul(self.pause.get()) / 100;
        let trigger = if self.running.get() { goal.max(used + MIN_TRIGGER_BYTES) } else { usize::MAX };
        self.trigger.set(trigger.min(self.limit.get()).max(used + 1));
    }

    /// `collectgarbage "stop"` and `"restart"`; the limit still forces cycles.
    pub(crate) fn set_running(&self, running: bool) {
        self.running.set(running);
        self.reset_trigger();
    }

    pub(crate) fn running(&self) -> bool {
        self.running.get()
    }

    /// Sets the pause in percent and returns the previous one.
    pub(crate) fn set_pause(&self, percent: usize) -> usize {
        self.pause.replace(percent.clamp(110, 1000))
    }
}
