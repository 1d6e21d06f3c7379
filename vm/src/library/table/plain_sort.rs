//! The quicksort of `sort` on tables that hold only numbers or only strings, without a comparator: in one go, on a copy.

use std::cell::Cell;
use std::cmp::Ordering;

use super::sort::{choose_pivot, invalid_order, next_random};
use crate::arithmetic::compare_integer_float;
use crate::call::Call;
use crate::error::Error;
use crate::fuel;
use crate::heap::table::Table;
use crate::heap::value::Value;
use crate::text::bytes;

/// Longer strings take too long to compare for so many comparisons in one go.
const LENGTH_MAX: usize = 256;

/// Sorts a table of numbers or of shorter strings in one go; `None` if it holds anything else, or if it takes suspiciously many
/// comparisons, for which the driver should be able to stop.
pub(super) fn sort_plain<'gc>(
    call: &mut Call<'_, 'gc>,
    table: Table<'gc>,
    length: usize,
) -> Option<Result<(), Error<'gc>>> {
    if call.context().accounting().check(length * 16).is_err() {
        return None;
    }
    call.charge(fuel::values(length));
    let mut values = Vec::with_capacity(length);
    let (mut integers, mut numbers, mut strings) = (true, true, true);
    for position in 1..=length {
        let value = table.get_integer(position as i64);
        integers &= matches!(value, Value::Integer(_));
        numbers &= matches!(value, Value::Integer(_) | Value::Float(_));
        strings &= matches!(value, Value::String(string) if string.len() <= LENGTH_MAX);
        if !numbers && !strings {
            return None;
        }
        values.push(value);
    }
    let expected = length * (usize::BITS - length.leading_zeros()) as usize;
    call.charge(expected);
    let limit = expected * 4;
    let outcome = if integers {
        sort_values(&mut values, limit, integer_less)
    } else if numbers {
        sort_values(&mut values, limit, number_less)
    } else {
        let compared = Cell::new(0);
        let outcome = sort_values(&mut values, limit, |a, b| {
            let (a, b) = (string_bytes(a), string_bytes(b));
            compared.set(compared.get() + 4 + fuel::compared(a.len().min(b.len())));
            bytes::compare(a, b) == Ordering::Less
        });
        call.charge(compared.get());
        outcome
    };
    for (index, value) in values.iter().enumerate() {
        table.replace_integer(index as i64 + 1, *value);
    }
    match outcome {
        Outcome::Sorted => Some(Ok(())),
        Outcome::InvalidOrder => Some(Err(invalid_order(call))),
        Outcome::TooSlow => None,
    }
}

fn integer_less(a: &Value<'_>, b: &Value<'_>) -> bool {
    matches!((a, b), (Value::Integer(a), Value::Integer(b)) if a < b)
}

fn number_less(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a < b,
        (Value::Float(a), Value::Float(b)) => a < b,
        (Value::Integer(a), Value::Float(b)) => compare_integer_float(*a, *b) == Some(Ordering::Less),
        (Value::Float(a), Value::Integer(b)) => compare_integer_float(*b, *a) == Some(Ordering::Greater),
        _ => false,
    }
}

fn string_bytes<'gc>(value: &Value<'gc>) -> &'gc [u8] {
    match value {
        Value::String(string) => string.as_bytes(),
        _ => &[],
    }
}

enum Outcome {
    Sorted,
    InvalidOrder,
    /// More comparisons than allowed; the values are permuted somehow.
    TooSlow,
}

/// The algorithm of the state machine, on a slice. `limit` bounds the comparisons, roughly.
fn sort_values<'gc>(
    values: &mut [Value<'gc>],
    limit: usize,
    less: impl Fn(&Value<'gc>, &Value<'gc>) -> bool,
) -> Outcome {
    let mut waiting = Vec::new();
    let mut random = 0;
    let mut spent = 0;
    let (mut low, mut high) = (0, values.len() - 1);
    loop {
        while low >= high {
            match waiting.pop() {
                Some(part) => (low, high) = part,
                None => return Outcome::Sorted,
            }
        }
        spent += high - low;
        if spent > limit {
            return Outcome::TooSlow;
        }
        if less(&values[high], &values[low]) {
            values.swap(low, high);
        }
        if high - low == 1 {
            low = high;
            continue;
        }
        let middle = choose_pivot(low as u32, high as u32, random) as usize;
        if less(&values[middle], &values[low]) {
            values.swap(middle, low);
        } else if less(&values[high], &values[middle]) {
            values.swap(middle, high);
        }
        if high - low == 2 {
            low = high;
            continue;
        }
        let pivot = values[middle];
        values.swap(middle, high - 1);
        let (mut left, mut right) = (low, high - 1);
        loop {
            left += 1;
            while less(&values[left], &pivot) {
                if left == high - 1 {
                    return Outcome::InvalidOrder;
                }
                left += 1;
            }
            right -= 1;
            while less(&pivot, &values[right]) {
                if right < left {
                    return Outcome::InvalidOrder;
                }
                right -= 1;
            }
            if right < left {
                break;
            }
            values.swap(left, right);
        }
        values.swap(high - 1, left);
        let (below, above) = (left - low, high - left);
        let (lower, upper) = ((low, left - 1), (left + 1, high));
        let (smaller, larger) = if below < above { (lower, upper) } else { (upper, lower) };
        if (below.max(above) - 1) / 128 > below.min(above) {
            random = next_random(random);
        }
        if smaller.0 < smaller.1 {
            waiting.push(larger);
            (low, high) = smaller;
        } else {
            (low, high) = larger;
        }
    }
}
