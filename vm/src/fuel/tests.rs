//! Prices at their boundaries, and what is owed.

use super::*;

#[test]
fn prices_grow_by_whole_units() {
    let prices = |price: fn(usize) -> usize| [0, 15, 16, 63, 64, 128].map(price);
    assert_eq!(prices(copied), [0, 0, 1, 3, 4, 8]);
    assert_eq!(prices(scanned), [0, 3, 4, 15, 16, 32]);
    assert_eq!(prices(compared), [0, 0, 0, 0, 1, 2]);
    assert_eq!(prices(digits), [2, 2, 8, 31, 32, 64]);
    assert_eq!(prices(values), [0, 3, 4, 15, 16, 32]);
    assert_eq!(prices(items), [0, 22, 24, 94, 96, 192]);
    assert_eq!(prices(sought), [0, 7, 8, 31, 32, 64]);
    assert_eq!(prices(searched), [0, 7, 8, 31, 32, 64]);
    assert_eq!(prices(compiled), [100, 160, 164, 352, 356, 612]);
    assert_eq!([0, 3, 4, 9].map(pattern_steps), [0, 0, 1, 2]);
    assert_eq!([(31, 0), (32, 0), (64, 5)].map(|(bytes, visits)| collection(bytes, visits)), [0, 1, 7]);
    assert_eq!([(0, 0), (3, 1), (9, 3)].map(|(words, parameters)| entry(words, parameters)), [2, 3, 5]);
    assert_eq!([(0, 0), (1, 8), (3, 400)].map(|(entries, bytes)| external_price(entries, bytes)), [0, 202, 700]);
    assert_eq!(external_price(u64::MAX, usize::MAX), usize::MAX);
    assert_eq!(used(10, -5), 15);
    assert_eq!(used(i64::MIN, 1), i64::MIN);
}

#[test]
fn what_is_owed_is_taken_once() {
    assert_eq!(take_owed(), 0);
    owe(3);
    pay_for_bytes(160);
    owe_probes(16);
    assert_eq!([take_owed(), take_owed()], [13, 0]);
    owe_probes(17);
    assert_eq!(take_owed(), 17);
    owe(usize::MAX);
    owe(usize::MAX);
    assert_eq!(take_owed(), i64::MAX / 4);
}
