//! How much the heap holds, in nominal bytes, and when to collect.
//!
//! Allocation adds to `used` at once. Freed objects report their size in their `Drop`, which runs inside a collection cycle;
//! the driver subtracts the sum after the cycle. Buffers that grow or shrink while Lua runs are charged directly.

use std::cell::Cell;

use crate::fuel::HAS_LIMITS;
use crate::image::HeapImage;

/// The nominal size of an object's header: two words on a 64-bit machine.
pub(crate) const HEADER_BYTES: usize = 16;
/// The share of an object in the list of those with a finalizer.
pub(crate) const FINALIZER_BYTES: usize = 48;

/// Whether an object of this type takes no more than is counted for it, which is what it takes on a 64-bit machine.
pub(crate) const fn covers<T>(counted: usize) -> bool {
    HEADER_BYTES + size_of::<T>() <= counted
}

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
    pause: Cell<Parameter>,
    /// How much work a step does for the memory it stands for, in percent.
    step_multiplier: Cell<Parameter>,
    /// Work that steps have done towards the next cycle.
    stepped: Cell<usize>,
    generational: Cell<bool>,
    running: Cell<bool>,
    /// Part of `used`: garbage that an image left out. The next cycle frees it.
    left_out: Cell<usize>,
}

/// A percentage as PUC Lua keeps it: a quarter of it in a byte, so that what is set and what is answered agree with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter(u8);

impl Parameter {
    pub(crate) fn from_percent(percent: i64) -> Self {
        // C converts the argument to an int first.
        Parameter((percent as i32 / 4) as u8)
    }

    pub(crate) fn percent(self) -> usize {
        usize::from(self.0) * 4
    }
}

/// Below this, a growing heap is not worth a cycle.
const MIN_TRIGGER_BYTES: usize = 64 * 1024;
/// The least a heap grows between two cycles, in percent of what survived, whatever pause is set.
const PAUSE_PERCENT_MIN: usize = 110;
/// What a step of no size stands for.
const BASIC_STEP_BYTES: u64 = 8 * 1024;

impl Accounting {
    pub(crate) fn new(limit: usize) -> Self {
        Accounting {
            used: Cell::new(0),
            limit: Cell::new(limit),
            trigger: Cell::new(MIN_TRIGGER_BYTES.min(limit)),
            peak: Cell::new(0),
            pause: Cell::new(Parameter::from_percent(200)),
            step_multiplier: Cell::new(Parameter::from_percent(100)),
            stepped: Cell::new(0),
            generational: Cell::new(false),
            running: Cell::new(true),
            left_out: Cell::new(0),
        }
    }

    pub(crate) fn image(&self) -> HeapImage {
        HeapImage {
            used: self.used.get() as u64,
            peak: self.peak() as u64,
            limit: self.limit.get() as u64,
            trigger: self.trigger.get() as u64,
            pause: self.pause.get().0,
            step_multiplier: self.step_multiplier.get().0,
            stepped: self.stepped.get() as u64,
            generational: self.generational.get(),
            collecting: self.running.get(),
            ..HeapImage::default()
        }
    }

    /// Takes over the counters of the heap that was just rebuilt. False if they cannot be its counters.
    pub(crate) fn restore(&self, image: &HeapImage) -> bool {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let rebuilt = self.used.get();
        // Objects may have been smaller, by the sizes of the version that made the image.
        let used = size(image.used).max(rebuilt);
        // An attacker's figure would keep a heap from being collected, or from being used.
        let used_max = self.limit.get().saturating_mul(2);
        if used > used_max {
            return false;
        }
        self.left_out.set(used - rebuilt);
        self.used.set(used);
        self.peak.set(size(image.peak).max(used));
        self.pause.set(Parameter(image.pause));
        self.step_multiplier.set(Parameter(image.step_multiplier));
        self.stepped.set(size(image.stepped).min(used_max));
        self.generational.set(image.generational);
        self.running.set(image.collecting);
        self.trigger.set(size(image.trigger).clamp(1, self.limit.get().max(used.saturating_add(1))));
        true
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
        let fits = !HAS_LIMITS || bytes <= self.limit.get().saturating_sub(self.used.get());
        if fits { Ok(()) } else { Err(OutOfMemory) }
    }

    /// What is left under the limit.
    pub(crate) fn room(&self) -> usize {
        self.limit.get().saturating_sub(self.used.get())
    }

    /// Whether a safe point should run a cycle.
    #[inline(always)]
    pub(crate) fn wants_cycle(&self) -> bool {
        self.used.get() >= self.trigger.get()
    }

    pub(crate) fn over_limit(&self) -> bool {
        HAS_LIMITS && self.used.get() > self.limit.get()
    }

    /// Ends a cycle that freed `freed` bytes and sets when the next one starts.
    pub(crate) fn finish_cycle(&self, freed: usize) {
        self.peak.set(self.peak());
        self.release(freed + self.left_out.take());
        self.reset_trigger();
    }

    /// Sets when the next cycle starts, from what is in use.
    pub(crate) fn reset_trigger(&self) {
        let used = self.used.get();
        // In 64 bits everywhere: on wasm32 a product that saturates would collect at other points.
        let goal = used as u64 * self.pause.get().percent().max(PAUSE_PERCENT_MIN) as u64 / 100;
        let goal = usize::try_from(goal).unwrap_or(usize::MAX);
        let trigger = if self.running.get() { goal.max(used + MIN_TRIGGER_BYTES) } else { usize::MAX };
        self.trigger.set(trigger.min(self.limit.get()).max(used + 1));
    }

    /// Has the next safe point run a cycle.
    pub(crate) fn ask_for_cycle(&self) {
        self.trigger.set(self.used.get());
    }

    /// `collectgarbage "stop"` and `"restart"`; the limit still forces cycles.
    pub(crate) fn set_running(&self, running: bool) {
        self.running.set(running);
        self.reset_trigger();
    }

    pub(crate) fn running(&self) -> bool {
        self.running.get()
    }

    pub(crate) fn set_pause(&self, pause: Parameter) -> Parameter {
        self.pause.replace(pause)
    }

    pub(crate) fn set_step_multiplier(&self, multiplier: Parameter) -> Parameter {
        self.step_multiplier.replace(multiplier)
    }

    /// Remembers the mode that Lua code asked for and answers the one before; cycles are the same in both.
    pub(crate) fn is_generational(&self) -> bool {
        self.generational.get()
    }

    pub(crate) fn set_generational(&self, generational: bool) -> bool {
        self.generational.replace(generational)
    }

    /// Counts a step as if `kilobytes` had been allocated; whether the steps since the last cycle amount to one. In generational
    /// mode, every step does.
    pub(crate) fn step(&self, kilobytes: u64) -> bool {
        let bytes = if kilobytes == 0 { BASIC_STEP_BYTES } else { kilobytes.saturating_mul(1024) };
        let work = bytes.saturating_mul(self.step_multiplier.get().percent().max(4) as u64) / 100;
        let stepped = (self.stepped.get() as u64).saturating_add(work);
        let is_cycle = self.generational.get() || stepped >= self.used.get() as u64;
        // What is left is less than what is used.
        self.stepped.set(if is_cycle { 0 } else { stepped as usize });
        is_cycle
    }
}

#[cfg(test)]
mod tests;
