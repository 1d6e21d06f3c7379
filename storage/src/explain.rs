//! What a query's plan says of the way that was chosen.

use crate::catalog::CollectionState;
use crate::entries::StemRange;
use crate::plan::{Access, Choice, Order};
use crate::query::{Plan, Query};

/// The plan in words.
pub(crate) fn describe(state: &CollectionState, choice: &Choice, query: &Query) -> Plan {
    let mut used = Vec::new();
    note_indexes(&choice.access, &mut used);
    let names = |position: &usize| state.indexes[*position].definition.name.clone();
    let mut fields = query.filter.fields();
    fields.extend(query.sort.iter().map(|sort| sort.field.as_str()));
    let unused = (0..state.indexes.len()).filter(|position| {
        let index = &state.indexes[*position].definition;
        !used.contains(position) && index.fields.iter().any(|field| fields.contains(&field.as_str()))
    });
    Plan {
        access: match &choice.access {
            Access::Primary(ranges) if ranges.as_slice() == [StemRange::ALL] => "scan",
            Access::Primary(_) => "range",
            Access::Index(_) => "index",
            Access::Union(_) => "union",
            Access::Intersection(_) => "intersection",
        },
        index: used.first().map(names),
        indexes: used.iter().map(names).collect(),
        unused_indexes: unused.map(|position| names(&position)).collect(),
        sorted: match choice.order {
            Order::Sort => !query.sort.is_empty(),
            _ => query.is_aggregate() && !query.sort.is_empty(),
        },
        rows_estimated: choice.rows.round() as u64,
        ..Plan::default()
    }
}

fn note_indexes(access: &Access, used: &mut Vec<usize>) {
    match access {
        Access::Primary(_) => {}
        Access::Index(access) => {
            if !used.contains(&access.position) {
                used.push(access.position);
            }
        }
        Access::Union(parts) | Access::Intersection(parts) => {
            parts.iter().for_each(|part| note_indexes(part, used));
        }
    }
}
