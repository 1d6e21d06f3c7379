//! Putting a table's content back in an order that traverses as it did.

use cu_vm::{Context, Table, TableError, Value};

/// Puts items 1, 2, … into an empty table; nil is a hole.
pub(crate) fn put_items<'gc>(context: Context<'gc>, table: Table<'gc>, items: &[Value<'gc>]) -> Result<(), TableError> {
    for (key, value) in (1..).zip(items) {
        // A hole takes a place that is emptied when the array part is complete.
        let value = if value.is_nil() { Value::Boolean(false) } else { *value };
        table.set_integer(context, key, value)?;
    }
    for (key, value) in (1..).zip(items) {
        if value.is_nil() {
            table.set_integer(context, key, Value::Nil)?;
        }
    }
    Ok(())
}

/// Puts pairs, key and value in turn, into a table that has its items.
pub(crate) fn put_pairs<'gc>(context: Context<'gc>, table: Table<'gc>, pairs: &[Value<'gc>]) -> Result<(), TableError> {
    let (pairs, _) = pairs.as_chunks::<2>();
    if pairs.iter().any(|[key, _]| matches!(key, Value::Integer(_))) {
        reserve_pairs(context, table, pairs.len())?;
    }
    pairs.iter().try_for_each(|[key, value]| table.set(context, *key, *value))
}

/// Makes room for `pairs` keys before the first one comes. A table that grows may move integer keys from the hash part to the array
/// part, which would change the order of traversal.
fn reserve_pairs<'gc>(context: Context<'gc>, table: Table<'gc>, pairs: usize) -> Result<(), TableError> {
    let capacity = (pairs + 1).next_power_of_two().max(4);
    // A key that is never saved.
    let place = |number: usize| Value::LightUserdata(number as u64);
    for number in 0..capacity {
        table.set(context, place(number), Value::Boolean(true))?;
    }
    for number in 0..capacity {
        table.set(context, place(number), Value::Nil)?;
    }
    // The table is full of removed keys: one more makes it drop them and keep its size.
    table.set(context, place(capacity), Value::Boolean(true))?;
    table.set(context, place(capacity), Value::Nil)
}
