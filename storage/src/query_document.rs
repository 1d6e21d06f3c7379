//! A query as a document: reading it, and writing it for a host that hands it on.
//!
//! It is a map `{table, where, sort, limit, offset, fields, explain}`; `where` is a condition `{field, operator, value}`, an array of
//! conditions that must all hold, or `{and: […]}`, `{or: […]}`, `{not: …}`, and one condition can also stand directly in the
//! query. `sort` is `{field, order}`, a field name, or an array of these; `order` is `asc` or `desc`. `after` is the `cursor` of
//! an earlier result. `groupBy` is a field or an array of fields; `aggregates` a map from names to `{function, field}` or to the
//! name of a function; `using` is `scan`, `index` or `{index: name}`.

use crate::aggregate::{Aggregate, Function};
use crate::cursor::Direction;
use crate::document::{Document, DocumentRef, Elements, Shallow};
use crate::error::{Error, Result};
use crate::filter::{Filter, Operator};
use crate::query::{Query, Sort, Using};
use crate::request::{text, text_of};

/// Levels of conditions inside each other.
const DEPTH_MAX: usize = 100;

/// Reads a query from its encoding.
pub fn parse_query(bytes: &[u8]) -> Result<Query> {
    query_of(DocumentRef::checked(bytes)?)
}

/// Reads a query that was checked completely.
pub(crate) fn query_of(request: DocumentRef<'_>) -> Result<Query> {
    let Some(request) = Entries::of(request)? else {
        return Err(Error::invalid("query", "must be a map"));
    };
    let mut conditions = Vec::with_capacity(1);
    if request.given("field").is_some() || request.given("operator").is_some() {
        conditions.push(condition_of(&request)?);
    }
    for name in COMBINATIONS {
        if let Some(inner) = request.given(name) {
            conditions.push(combination_of(name, inner, 0)?);
        }
    }
    if let Some(filter) = request.given("where") {
        conditions.push(filter_of(filter, 0)?);
    }
    let filter = match conditions.len() {
        1 => conditions.remove(0),
        _ => Filter::And(conditions),
    };
    let query = Query {
        collection: request.text("table")?,
        filter,
        sort: request.list("sort")?.into_iter().map(sort_of).collect::<Result<_>>()?,
        offset: request.count("offset")?.unwrap_or(0),
        limit: request.count("limit")?,
        fields: match request.shallow("fields")? {
            Some(Shallow::Array(_)) => Some(request.texts("fields")?),
            None => None,
            Some(_) => return Err(Error::invalid("fields", "must be an array of strings")),
        },
        explain: match request.shallow("explain")? {
            None => false,
            Some(Shallow::Boolean(explain)) => explain,
            Some(_) => return Err(Error::invalid("explain", "must be true or false")),
        },
        after: request.given("after").map(DocumentRef::decode).transpose()?,
        group_by: request.texts("groupBy")?,
        aggregates: match request.shallow("aggregates")? {
            None => Vec::new(),
            Some(Shallow::Map(entries)) => aggregates_of(entries)?,
            Some(_) => return Err(Error::invalid("aggregates", "must be a map")),
        },
        using: request.given("using").map_or(Ok(Using::Cheapest), using_of)?,
    };
    query.check()?;
    Ok(query)
}

/// The entries of a map that have strings as keys and are not nil.
struct Entries<'a>(Vec<(&'a [u8], DocumentRef<'a>)>);

impl<'a> Entries<'a> {
    /// Those of a map; `None` for anything else.
    fn of(document: DocumentRef<'a>) -> Result<Option<Entries<'a>>> {
        let Shallow::Map(mut entries) = document.shallow()? else { return Ok(None) };
        let mut fields = Vec::with_capacity(entries.count);
        while let Some((name, value)) = entries.entry()? {
            if let (Shallow::String(name), false) = (name.shallow()?, value.is_nil()) {
                fields.push((name, value));
            }
        }
        Ok(Some(Entries(fields)))
    }

    // These are called from many places, where time does not count.
    #[inline(never)]
    fn given(&self, name: &str) -> Option<DocumentRef<'a>> {
        self.0.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    }

    #[inline(never)]
    fn shallow(&self, name: &str) -> Result<Option<Shallow<'a>>> {
        self.given(name).map(DocumentRef::shallow).transpose()
    }

    #[inline(never)]
    fn text(&self, name: &str) -> Result<String> {
        text_of(name, self.shallow(name)?.unwrap_or(Shallow::Nil))
    }

    #[inline(never)]
    fn count(&self, name: &str) -> Result<Option<u64>> {
        let count = match self.shallow(name)? {
            None => return Ok(None),
            Some(Shallow::Integer(count)) => u64::try_from(count).ok(),
            Some(_) => None,
        };
        count.map(Some).ok_or_else(|| Error::invalid(name, "must be a whole number from 0"))
    }

    /// The elements of an array, or one that stands for itself.
    #[inline(never)]
    fn list(&self, name: &str) -> Result<Vec<DocumentRef<'a>>> {
        let Some(value) = self.given(name) else { return Ok(Vec::new()) };
        let Shallow::Array(mut elements) = value.shallow()? else { return Ok(vec![value]) };
        let mut list = Vec::with_capacity(elements.count);
        while let Some(element) = elements.element()? {
            list.push(element);
        }
        Ok(list)
    }

    /// Likewise of texts.
    #[inline(never)]
    fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.list(name)?.into_iter().map(|element| text_of(name, element.shallow()?)).collect()
    }
}

const COMBINATIONS: [&str; 3] = ["and", "or", "not"];

fn filter_of(filter: DocumentRef<'_>, depth: usize) -> Result<Filter> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid("where", "nested too deep"));
    }
    if let Shallow::Array(filters) = filter.shallow()? {
        return Ok(Filter::And(filters_of(filters, depth)?));
    }
    let Some(fields) = Entries::of(filter)? else {
        return Err(Error::invalid("where", "must be a map or an array"));
    };
    match COMBINATIONS.iter().find_map(|name| Some((*name, fields.given(name)?))) {
        Some((name, inner)) => combination_of(name, inner, depth),
        None => condition_of(&fields),
    }
}

fn filters_of(mut filters: Elements<'_>, depth: usize) -> Result<Vec<Filter>> {
    let mut list = Vec::with_capacity(filters.count);
    while let Some(filter) = filters.element()? {
        list.push(filter_of(filter, depth + 1)?);
    }
    Ok(list)
}

fn combination_of(name: &str, inner: DocumentRef<'_>, depth: usize) -> Result<Filter> {
    match (name, inner.shallow()?) {
        ("not", _) => Ok(Filter::Not(Box::new(filter_of(inner, depth + 1)?))),
        ("and", Shallow::Array(filters)) => Ok(Filter::And(filters_of(filters, depth)?)),
        (_, Shallow::Array(filters)) => Ok(Filter::Or(filters_of(filters, depth)?)),
        _ => Err(Error::invalid(name, "must be an array of conditions")),
    }
}

fn condition_of(condition: &Entries<'_>) -> Result<Filter> {
    let field = condition.text("field")?;
    let operator = match condition.shallow("operator")? {
        None => Operator::Equal,
        Some(operator) => {
            Operator::from_name(text(operator).ok_or_else(|| Error::invalid("operator", "must be a string"))?)?
        }
    };
    let value = condition.given("value").map_or(Ok(Document::Nil), DocumentRef::decode)?;
    Ok(Filter::Field { field, operator, value })
}

fn sort_of(sort: DocumentRef<'_>) -> Result<Sort> {
    if let value @ Shallow::String(_) = sort.shallow()? {
        return Ok(Sort { field: text_of("sort", value)?, direction: Direction::Forward });
    }
    let fields = Entries::of(sort)?.unwrap_or(Entries(Vec::new()));
    let field = text_of("sort.field", fields.shallow("field")?.unwrap_or(Shallow::Nil))?;
    let direction = match fields.shallow("order")?.map(text) {
        None | Some(Some("asc")) => Direction::Forward,
        Some(Some("desc")) => Direction::Backward,
        _ => return Err(Error::invalid("sort.order", "must be 'asc' or 'desc'")),
    };
    Ok(Sort { field, direction })
}

fn aggregates_of(mut entries: Elements<'_>) -> Result<Vec<Aggregate>> {
    let mut aggregates = Vec::with_capacity(entries.count);
    while let Some((name, aggregate)) = entries.entry()? {
        let fields = Entries::of(aggregate)?.unwrap_or(Entries(Vec::new()));
        let function = text(aggregate.shallow()?).or(fields.shallow("function")?.and_then(text));
        let function = function.ok_or_else(|| Error::invalid("aggregates", "must name functions"))?;
        aggregates.push(Aggregate {
            name: text_of("aggregates", name.shallow()?)?,
            function: Function::from_name(function)?,
            field: fields.shallow("field")?.map(|field| text_of("aggregates", field)).transpose()?,
        });
    }
    Ok(aggregates)
}

fn using_of(using: DocumentRef<'_>) -> Result<Using> {
    let index = Entries::of(using)?.map_or(Ok(None), |fields| fields.shallow("index"))?;
    match (text(using.shallow()?), index.and_then(text)) {
        (Some("scan"), _) => Ok(Using::Scan),
        (Some("index"), _) => Ok(Using::AnyIndex),
        (_, Some(name)) => Ok(Using::Index(name.to_owned())),
        _ => Err(Error::invalid("using", "must be 'scan', 'index' or {index: name}")),
    }
}

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
