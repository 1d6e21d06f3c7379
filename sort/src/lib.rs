//! Stable sorting where it takes little of the time: one function for all types, by their places. The standard library's sorting is compiled
//! anew for each type, to about 6 KB of WebAssembly.
//!
//! ```
//! let mut pairs = [(2, 'b'), (1, 'c'), (2, 'a')];
//! cu_sort::sort_by(&mut pairs, |left, right| left.0.cmp(&right.0));
//! assert_eq!(pairs, [(1, 'c'), (2, 'b'), (2, 'a')]);
//! ```

use std::cmp::Ordering;

/// Sorts by merging: O(n log n) comparisons, 2 n places besides the items. Those that are equal keep their order; with an order that is none
/// they end up in any.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut order = sorted_places(items.len(), &|left, right| match (items.get(left), items.get(right)) {
        (Some(left), Some(right)) => compare(left, right),
        _ => Ordering::Equal,
    });
    // Each circle of places is gone around once; `order` notes what is done.
    for start in 0..order.len() {
        let mut place = start;
        loop {
            let from = std::mem::replace(&mut order[place], place);
            if from == start {
                break;
            }
            items.swap(place, from);
            place = from;
        }
    }
}

/// [`sort_by`] in the order of the items.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// The places in order: merges runs of one, two, four and so on.
#[inline(never)]
fn sorted_places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    let mut merged = Vec::with_capacity(count);
    let mut length = 1;
    while length < count {
        merged.clear();
        for pair in places.chunks(2 * length) {
            let (mut left, mut right) = pair.split_at(length.min(pair.len()));
            while let ([first_left, rest_left @ ..], [first_right, rest_right @ ..]) = (left, right) {
                if compare(*first_left, *first_right).is_le() {
                    merged.push(*first_left);
                    left = rest_left;
                } else {
                    merged.push(*first_right);
                    right = rest_right;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut places, &mut merged);
        length *= 2;
    }
    places
}

#[cfg(test)]
mod tests {
    #[test]
    fn sorts_as_the_standard_library_does() {
        let mut state = 1u64;
        for length in (0..40).chain([1000]) {
            let mut items: Vec<(u64, usize)> = Vec::new();
            for place in 0..length {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                items.push((state >> 60, place));
            }
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            super::sort_by(&mut items, |left, right| left.0.cmp(&right.0));
            assert_eq!(items, expected);
        }
    }
}
