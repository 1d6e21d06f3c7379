//! The counters of a heap by themselves.

use super::*;

const KIB: usize = 1024;

/// The counters of a heap of a mebibyte in which so much is used.
fn counters(used: usize) -> Accounting {
    let counters = Accounting::new(KIB * KIB);
    counters.charge(used);
    counters
}

#[test]
fn a_percentage_is_a_quarter_of_it_in_a_byte() {
    let kept =
        [0, 3, 4, 7, 200, 1000, 1023, 1024, -4, 1 << 32].map(|percent| Parameter::from_percent(percent).percent());
    assert_eq!(kept, [0, 0, 4, 4, 200, 1000, 1020, 0, 1020, 0]);
}

#[test]
fn what_fits_is_what_is_left() {
    let counters = counters(1000 * KIB);
    assert_eq!((counters.room(), counters.limit()), (24 * KIB, KIB * KIB));
    assert_eq!(counters.check(24 * KIB), Ok(()));
    assert_eq!(counters.check(24 * KIB + 1), Err(OutOfMemory));
    assert!(!counters.over_limit());
    counters.charge(24 * KIB);
    assert!(!counters.over_limit());
    counters.charge(1);
    assert!(counters.over_limit());
    assert_eq!((counters.room(), counters.used()), (0, KIB * KIB + 1));
    counters.release(2);
    assert_eq!((counters.room(), counters.used(), counters.peak()), (1, KIB * KIB - 1, KIB * KIB - 1));
    counters.release(usize::MAX);
    assert_eq!(counters.used(), 0);
}

#[test]
fn a_cycle_comes_when_the_heap_has_grown() {
    let counters = counters(64 * KIB - 1);
    assert!(!counters.wants_cycle());
    counters.charge(1);
    assert!(counters.wants_cycle());
    // A small heap grows by 64 KiB, a larger one to twice its size, none beyond the limit.
    for (used, next) in [(10, 74), (64, 128), (200, 400), (600, 1024), (1024, 1024)] {
        counters.release(usize::MAX);
        counters.charge(used * KIB + 5);
        counters.finish_cycle(5);
        let trigger = counters.image().trigger as usize;
        assert_eq!((counters.used(), trigger), (used * KIB, (next * KIB).max(used * KIB + 1)), "{used}");
    }
    assert_eq!(counters.peak(), 1024 * KIB + 5);
    counters.release(824 * KIB);
    // The pause, but never less than a tenth of growth.
    for (pause, next) in [(400, 800 * KIB), (100, 264 * KIB), (0, 264 * KIB)] {
        counters.set_pause(Parameter::from_percent(pause));
        counters.reset_trigger();
        assert_eq!(counters.image().trigger as usize, next, "{pause}");
    }
    counters.charge(600 * KIB);
    counters.reset_trigger();
    assert_eq!(counters.image().trigger as usize, 880 * KIB);
    assert!(counters.running());
    counters.set_running(false);
    assert!(!counters.running());
    assert_eq!(counters.image().trigger as usize, 1024 * KIB);
    counters.set_limit(900 * KIB);
    assert_eq!((counters.limit(), counters.image().trigger as usize), (900 * KIB, 900 * KIB));
    counters.ask_for_cycle();
    assert!(counters.wants_cycle());
}

#[test]
fn steps_amount_to_a_cycle() {
    let counters = counters(20 * KIB);
    assert_eq!([0, 0, 0, 0].map(|size| counters.step(size)), [false, false, true, false]);
    assert_eq!([12, 20].map(|size| counters.step(size)), [true, true]);
    assert_eq!([11, 11, 1].map(|size| counters.step(size)), [false, true, false]);
    assert!(counters.step(u64::MAX));
    counters.set_step_multiplier(Parameter::from_percent(0));
    assert_eq!([499, 2].map(|size| counters.step(size)), [false, true]);
    assert!(!counters.is_generational());
    assert!(!counters.set_generational(true));
    assert!(counters.is_generational());
    assert!(counters.step(1));
    assert_eq!(counters.image().stepped, 0);
}

#[test]
fn what_is_freed_is_taken_once() {
    note_freed(3);
    note_freed(4);
    assert_eq!([take_freed(), take_freed()], [7, 0]);
}

#[test]
fn an_image_has_the_counters_of_its_heap() {
    let before = counters(300 * KIB);
    before.finish_cycle(0);
    before.set_pause(Parameter::from_percent(120));
    before.set_step_multiplier(Parameter::from_percent(400));
    before.step(1);
    before.set_generational(true);
    before.set_running(false);
    let after = counters(290 * KIB);
    assert!(after.restore(&before.image()));
    assert_eq!(after.image(), before.image());
    // The garbage that was left out goes with the next cycle.
    after.finish_cycle(0);
    assert_eq!(after.used(), 290 * KIB);
}

#[test]
fn counters_of_no_heap_are_refused() {
    let image = |used: usize, trigger: u64| HeapImage { used: used as u64, trigger, ..counters(0).image() };
    let restored = |image: HeapImage| {
        let counters = counters(100 * KIB);
        counters.restore(&image).then(|| (counters.used(), counters.image().trigger as usize))
    };
    assert_eq!(restored(image(2048 * KIB, 0)), Some((2048 * KIB, 1)));
    assert_eq!(restored(image(2048 * KIB + 1, 0)), None);
    // No less than what is there, and no trigger beyond what the heap may reach.
    assert_eq!(restored(image(50 * KIB, 7)), Some((100 * KIB, 7)));
    assert_eq!(restored(image(0, u64::MAX)), Some((100 * KIB, 1024 * KIB)));
    assert_eq!(restored(image(1500 * KIB, u64::MAX)), Some((1500 * KIB, 1500 * KIB + 1)));
    let long = HeapImage { stepped: u64::MAX, peak: 5, ..image(0, 1) };
    let counters = counters(100 * KIB);
    assert!(counters.restore(&long));
    assert_eq!((counters.image().stepped as usize, counters.peak()), (2048 * KIB, 100 * KIB));
}
