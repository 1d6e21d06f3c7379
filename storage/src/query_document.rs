//! A query as the document that [`parse_query`](crate::parse_query) reads, for a host that hands it on.

use crate::aggregate::Aggregate;
use crate::cursor::Direction;
use crate::document::Document;
use crate::error::Result;
use crate::filter::Filter;
use crate::query::{Query, Using};

/// The encoding of a query.
pub fn encode_query(query: &Query) -> Result<Vec<u8>> {
    document(query).encode()
}

fn document(query: &Query) -> Document {
    let mut entries = vec![("table", Document::text(&query.collection)), ("where", condition(&query.filter))];
    if !query.sort.is_empty() {
        let sorts = query.sort.iter().map(|sort| {
            let order = if sort.direction == Direction::Backward { "desc" } else { "asc" };
            Document::map([("field", Document::text(&sort.field)), ("order", Document::text(order))])
        });
        entries.push(("sort", Document::Array(sorts.collect())));
    }
    entries.push(("offset", count(query.offset)));
    entries.extend(query.limit.map(|limit| ("limit", count(limit))));
    entries.extend(query.after.clone().map(|after| ("after", after)));
    entries.extend(query.fields.as_ref().map(|fields| ("fields", names(fields))));
    entries.push(("groupBy", names(&query.group_by)));
    entries.push(("aggregates", Document::Map(query.aggregates.iter().map(aggregate).collect())));
    entries.push(("explain", Document::Boolean(query.explain)));
    match &query.using {
        Using::Index(name) => entries.push(("using", Document::map([("index", Document::text(name))]))),
        Using::Scan => entries.push(("using", Document::text("scan"))),
        Using::AnyIndex => entries.push(("using", Document::text("index"))),
        // Several indexes together are for tests; a request cannot ask for them.
        Using::Cheapest | Using::Intersection => {}
    }
    Document::map(entries)
}

fn condition(filter: &Filter) -> Document {
    let all = |filters: &[Filter]| Document::Array(filters.iter().map(condition).collect());
    match filter {
        Filter::And(filters) => Document::map([("and", all(filters))]),
        Filter::Or(filters) => Document::map([("or", all(filters))]),
        Filter::Not(filter) => Document::map([("not", condition(filter))]),
        Filter::Field { field, operator, value } => Document::map([
            ("field", Document::text(field)),
            ("operator", Document::text(operator.name())),
            ("value", value.clone()),
        ]),
    }
}

fn aggregate(aggregate: &Aggregate) -> (Document, Document) {
    let mut entries = vec![("function", Document::text(aggregate.function.name()))];
    entries.extend(aggregate.field.as_deref().map(|field| ("field", Document::text(field))));
    (Document::text(&aggregate.name), Document::map(entries))
}

fn names(names: &[String]) -> Document {
    Document::Array(names.iter().map(|name| Document::text(name)).collect())
}

fn count(count: u64) -> Document {
    Document::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
