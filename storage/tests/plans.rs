//! Every query gives the same rows in the same order by every way: a scan, each usable index, unions, intersections, and
//! whatever the planner prefers. The oracle is an evaluation over all documents in this file, without pages, keys or plans.

mod support;

use std::cmp::Ordering;

use cu_storage::{
    Aggregate, BatchOptions, Database, Direction, Document, DocumentRef, Filter, Function, IndexDefinition, IndexKind,
    MemoryBackend, Operation, Operator, Options, Query, QueryResult, Sort, Using, block_on, compare, decode_key,
    parameter,
};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use support::people::{Change, change, field_value, indexes, scalar};
use support::{assert_sound, key, tiny};

const FIELDS: [&str; 7] = ["a", "b", "address.city", "tags", "$key", "$value", "address"];

fn field() -> impl Strategy<Value = String> {
    prop_oneof![6 => 0usize..4, 1 => 4usize..7].prop_map(|at| FIELDS[at].to_owned())
}

fn value() -> impl Strategy<Value = Document> {
    prop_oneof![
        4 => field_value().prop_map(Option::unwrap_or_default),
        1 => (0u16..60).prop_map(key),
    ]
}

fn condition() -> impl Strategy<Value = Filter> {
    use Operator::*;
    let field_is = |operator: Operator| {
        (field(), value()).prop_map(move |(field, value)| Filter::Field { field, operator, value })
    };
    let list = || proptest::collection::vec(value(), 0..4);
    let text = || prop_oneof![Just(""), Just("a"), Just("ab"), Just("a\0"), Just("a long string that"), Just("b")];
    let range = prop_oneof![Just(Less), Just(LessOrEqual), Just(Greater), Just(GreaterOrEqual)];
    prop_oneof![
        4 => field_is(Equal),
        1 => field_is(NotEqual),
        4 => (range, field(), value()).prop_map(|(operator, field, value)| Filter::Field { field, operator, value }),
        1 => (field(), value(), value())
            .prop_map(|(field, low, high)| Filter::field(&field, Between, Document::Array(vec![low, high]))),
        2 => (field(), list()).prop_map(|(field, list)| Filter::field(&field, In, Document::Array(list))),
        1 => (field(), list()).prop_map(|(field, list)| Filter::field(&field, NotIn, Document::Array(list))),
        3 => (field(), scalar()).prop_map(|(field, value)| Filter::field(&field, Contains, value)),
        1 => (field(), text()).prop_map(|(field, text)| Filter::field(&field, StartsWith, text)),
        1 => (field(), text()).prop_map(|(field, text)| Filter::field(&field, EndsWith, text)),
        1 => (field(), any::<bool>()).prop_map(|(field, is)| Filter::field(&field, Exists, is)),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    condition().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            3 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            2 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
            1 => inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

fn query() -> impl Strategy<Value = Query> {
    let direction = || prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    let sort = (field(), direction()).prop_map(|(field, direction)| Sort { field, direction });
    let sorts = prop_oneof![
        2 => Just(Vec::new()),
        4 => proptest::collection::vec(sort, 1..3),
        2 => (direction(), any::<bool>()).prop_map(|(direction, second)| {
            let sort = |field: &str| Sort { field: field.to_owned(), direction };
            if second { vec![sort("a"), sort("b")] } else { vec![sort("b"), sort("address.city")] }
        }),
    ];
    let limit = prop_oneof![1 => Just(None), 2 => (0u64..12).prop_map(Some)];
    (filter(), sorts, prop_oneof![2 => Just(0), 1 => 0u64..8], limit).prop_map(|(filter, sort, offset, limit)| Query {
        collection: "people".to_owned(),
        filter,
        sort,
        offset,
        limit,
        ..Query::default()
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(12),
        cases,
        max_shrink_iters: 3000,
        ..ProptestConfig::default()
    }
}

/// All rows as the model has them, with their keys.
type Rows = Vec<(Document, Document)>;

fn is_nan(value: &Document) -> bool {
    matches!(value, Document::Float(value) if value.is_nan())
}

fn field_of((key, document): &(Document, Document), field: &str) -> Option<Document> {
    match field {
        "$key" => Some(key.clone()),
        "$value" => Some(document.clone()),
        _ => {
            let encoded = document.encode().unwrap();
            DocumentRef::new(&encoded).field(field).unwrap().map(|found| found.decode().unwrap())
        }
    }
}

fn kind(value: &Document) -> u8 {
    match value {
        Document::Nil => 0,
        Document::Boolean(_) => 1,
        Document::Integer(_) | Document::Float(_) => 2,
        Document::String(_) => 3,
        Document::Array(_) => 4,
        Document::Map(_) => 5,
        Document::Blob { .. } => 6,
    }
}

fn order(left: &Document, right: &Document) -> Option<Ordering> {
    (kind(left) == kind(right) && !is_nan(left) && !is_nan(right)).then(|| compare(left, right))
}

fn passes(row: &(Document, Document), filter: &Filter) -> bool {
    let (field, operator, value) = match filter {
        Filter::And(filters) => return filters.iter().all(|filter| passes(row, filter)),
        Filter::Or(filters) => return filters.iter().any(|filter| passes(row, filter)),
        Filter::Not(filter) => return !passes(row, filter),
        Filter::Field { field, operator, value } => (field, operator, value),
    };
    let found = field_of(row, field);
    let is_there = found.is_some();
    let found = found.unwrap_or_default();
    let equal = |value: &Document| order(&found, value).is_some_and(Ordering::is_eq);
    let list = || if let Document::Array(list) = value { list.clone() } else { Vec::new() };
    let texts = || match (&found, value) {
        (Document::String(text), Document::String(part)) => Some((text.clone(), part.clone())),
        _ => None,
    };
    match operator {
        Operator::Equal => equal(value),
        Operator::NotEqual => !equal(value),
        Operator::Less => order(&found, value).is_some_and(Ordering::is_lt),
        Operator::LessOrEqual => order(&found, value).is_some_and(Ordering::is_le),
        Operator::Greater => order(&found, value).is_some_and(Ordering::is_gt),
        Operator::GreaterOrEqual => order(&found, value).is_some_and(Ordering::is_ge),
        Operator::Between => {
            let list = list();
            order(&found, &list[0]).is_some_and(Ordering::is_ge) && order(&found, &list[1]).is_some_and(Ordering::is_le)
        }
        Operator::In => list().iter().any(equal),
        Operator::NotIn => !list().iter().any(equal),
        Operator::Contains => match &found {
            Document::Array(elements) => {
                elements.iter().any(|element| order(element, value).is_some_and(Ordering::is_eq))
            }
            _ => texts().is_some_and(|(text, part)| {
                part.is_empty() || text.windows(part.len()).any(|window| window == part.as_slice())
            }),
        },
        Operator::StartsWith => texts().is_some_and(|(text, part)| text.starts_with(&part)),
        Operator::EndsWith => texts().is_some_and(|(text, part)| text.ends_with(&part)),
        Operator::Exists => is_there != (*value == Document::Boolean(false)),
    }
}

/// The rows of a query without offset and limit.
fn sorted(rows: &Rows, query: &Query) -> Rows {
    let mut rows: Rows = rows.iter().filter(|row| passes(row, &query.filter)).cloned().collect();
    rows.sort_by(|left, right| {
        for sort in &query.sort {
            let (a, b) = (field_of(left, &sort.field), field_of(right, &sort.field));
            let order = compare(&a.unwrap_or_default(), &b.unwrap_or_default());
            let order = if sort.direction == Direction::Backward { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        compare(&left.0, &right.0)
    });
    rows
}

fn rows_of(result: &QueryResult) -> Rows {
    result.rows.iter().map(|row| (row.key.clone(), row.value.decode().unwrap())).collect()
}

fn assert_rows(found: &Rows, wanted: &Rows, what: &str) {
    // Text, because NaN is not equal to itself.
    assert_eq!(format!("{found:?}"), format!("{wanted:?}"), "{what}");
}

fn all_rows(database: &Database) -> Rows {
    let documents = support::contents(database).unwrap().remove("people").unwrap_or_default();
    documents.into_iter().map(|(key, document)| (decode_key(&key).unwrap(), document)).collect()
}

/// Every way that can answer the query, and the ways taken.
fn ways(database: &Database, definitions: &[IndexDefinition]) -> Vec<Using> {
    assert_sound(database);
    let mut ways = vec![Using::Cheapest, Using::Scan, Using::AnyIndex, Using::Intersection];
    ways.extend(definitions.iter().map(|definition| Using::Index(definition.name.clone())));
    ways
}

fn filled(changes: &[Change], page_size: usize, definitions: &[IndexDefinition]) -> Database {
    let database = block_on(Database::open(MemoryBackend::new(), tiny(page_size))).unwrap();
    let (before, after) = changes.split_at(changes.len() / 2);
    for (position, changes) in [before, after].iter().enumerate() {
        let batch: Vec<Operation> = changes.iter().map(|change| change.operation("people")).collect();
        block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
        if position == 0 {
            for definition in definitions {
                block_on(database.create_index("people", definition)).unwrap();
            }
        }
    }
    database
}

thread_local! {
    static SEEN: std::cell::RefCell<std::collections::BTreeMap<String, u64>> = Default::default();
}

#[test]
fn every_way_gives_the_same_rows() {
    let strategy = (
        proptest::collection::vec(change(), 1..120),
        proptest::collection::vec(query(), 1..12),
        prop_oneof![Just(128), Just(256), Just(512)],
    );
    let result = TestRunner::new(config(100)).run(&strategy, |(changes, queries, page_size)| {
        let definitions = indexes();
        let database = filled(&changes, page_size, &definitions);
        let rows = all_rows(&database);
        for using in ways(&database, &definitions) {
            for query in &queries {
                let query = Query { using: using.clone(), ..query.clone() };
                let Some(result) = answer(&database, &query) else { continue };
                let wanted = sorted(&rows, &query);
                let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
                let wanted: Rows = wanted.into_iter().skip(query.offset as usize).take(limit).collect();
                assert_rows(&rows_of(&result), &wanted, &format!("{query:?} {:?}", result.plan));
            }
        }
        Ok(())
    });
    result.unwrap();
    // Each kind of way was taken, with rows in its own order and with sorted ones.
    let seen = SEEN.take();
    for way in ["scan", "range", "index", "union", "intersection"] {
        for order in ["", "sorted"] {
            let count = seen.get(&format!("{way} {order} ")).copied().unwrap_or(0);
            assert!(count >= 5, "{way} {order}: {seen:?}");
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn pages_after_positions_make_the_whole(
        changes in proptest::collection::vec(change(), 1..80),
        query in query(),
        step in 1u64..7,
    ) {
        let definitions = indexes();
        let database = filled(&changes, 128, &definitions);
        let wanted = sorted(&all_rows(&database), &query);
        for using in ways(&database, &definitions) {
            let mut after = None;
            let mut found = Rows::new();
            let mut answered = true;
            for _ in 0..200 {
                let page = Query {
                    using: using.clone(), after, limit: Some(step), offset: 0, ..query.clone()
                };
                let Some(result) = answer(&database, &page) else {
                    answered = false;
                    break;
                };
                found.extend(rows_of(&result));
                after = result.cursor;
                if after.is_none() {
                    break;
                }
            }
            if answered {
                assert_rows(&found, &wanted, &format!("{using:?} {query:?}"));
            }
        }
    }

    #[test]
    fn every_way_counts_the_same(
        changes in proptest::collection::vec(change(), 1..120),
        filters in proptest::collection::vec(filter(), 1..8),
        page_size in prop_oneof![Just(128), Just(512)],
    ) {
        let definitions = indexes();
        let database = filled(&changes, page_size, &definitions);
        let rows = all_rows(&database);
        for using in ways(&database, &definitions) {
            for filter in &filters {
                let count = vec![Aggregate::count("n")];
                let query = Query {
                    aggregates: count, using: using.clone(), ..Query::new("people", filter.clone())
                };
                let Some(result) = answer(&database, &query) else { continue };
                let wanted = rows.iter().filter(|row| passes(row, filter)).count() as i64;
                let found = rows_of(&result);
                assert_rows(
                    &found,
                    &vec![(Document::Nil, Document::map([("n", wanted.into())]))],
                    &format!("{query:?} {:?}", result.plan),
                );
            }
        }
    }
}

/// The answer, or `None` when this way cannot give one.
fn answer(database: &Database, query: &Query) -> Option<QueryResult> {
    match block_on(database.query(query)) {
        Ok(result) => {
            let plan = &result.plan;
            SEEN.with_borrow_mut(|seen| {
                let order = if plan.sorted { "sorted" } else { "" };
                let only = if plan.index_only { "index only" } else { "" };
                *seen.entry(format!("{} {order} {only}", plan.access)).or_default() += 1;
            });
            Some(result)
        }
        Err(error) => {
            assert_eq!(error.to_string(), "invalid using: the query cannot be answered this way", "{query:?}");
            assert!(!matches!(query.using, Using::Cheapest | Using::Scan));
            None
        }
    }
}

/// Groups and figures, computed in a few lines.
#[test]
fn groups_and_aggregates() {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let people: Vec<Operation> = (0..200i64)
        .map(|n| {
            let age: Document = if n % 10 == 0 { Document::Nil } else { (n * 7 % 50).into() };
            let height: Document = if n % 3 == 0 { (n as f64 / 7.0).into() } else { "tall".into() };
            let document = Document::map([("team", (n % 4).into()), ("age", age), ("height", height)]);
            Operation::set("people", n, &document).unwrap()
        })
        .collect();
    block_on(database.batch(&people, &BatchOptions::default())).unwrap();
    let query = Query {
        group_by: vec!["team".to_owned()],
        aggregates: vec![
            Aggregate::count("n"),
            Aggregate::of("ages", Function::Count, "age"),
            Aggregate::of("youngest", Function::Min, "age"),
            Aggregate::of("oldest", Function::Max, "age"),
            Aggregate::of("years", Function::Sum, "age"),
            Aggregate::of("average", Function::Average, "age"),
            Aggregate::of("height", Function::Sum, "height"),
        ],
        ..Query::new("people", Filter::field("$key", Operator::Less, 180))
    };
    let mut wanted = Rows::new();
    for team in 0..4i64 {
        let members: Vec<i64> = (0..180).filter(|n| n % 4 == team).collect();
        let ages: Vec<i64> = members.iter().filter(|n| **n % 10 != 0).map(|n| n * 7 % 50).collect();
        let height: f64 = members.iter().filter(|n| **n % 3 == 0).map(|n| *n as f64 / 7.0).sum();
        let figures = Document::map([
            ("team", team.into()),
            ("n", (members.len() as i64).into()),
            ("ages", (ages.len() as i64).into()),
            ("youngest", (*ages.iter().min().unwrap()).into()),
            ("oldest", (*ages.iter().max().unwrap()).into()),
            ("years", ages.iter().sum::<i64>().into()),
            ("average", (ages.iter().sum::<i64>() as f64 / ages.len() as f64).into()),
            ("height", height.into()),
        ]);
        wanted.push((team.into(), figures));
    }
    let close = |found: &Rows| {
        let mut found = found.clone();
        for ((_, found), (_, wanted)) in found.iter_mut().zip(&wanted) {
            let (Some(Document::Float(a)), Some(Document::Float(b))) = (found.get("height"), wanted.get("height"))
            else {
                panic!("a height is a float");
            };
            assert!((a - b).abs() < 1e-9);
            let Document::Map(entries) = found else { panic!("a group is a map") };
            entries.last_mut().unwrap().1 = Document::Float(*b);
        }
        found
    };
    let found = rows_of(&block_on(database.query(&query)).unwrap());
    assert_rows(&close(&found), &wanted, "by key");
    block_on(database.create_index("people", &IndexDefinition::new(&["age", "team"], IndexKind::Btree))).unwrap();
    let by_index = Query { using: Using::AnyIndex, ..query.clone() };
    let same = rows_of(&block_on(database.query(&by_index)).unwrap());
    assert_rows(&same, &found, "the same bits by every way");
    let top = query.order_by("years", Direction::Backward);
    let top = Query { limit: Some(2), offset: 1, fields: Some(vec!["years".to_owned()]), ..top };
    wanted.sort_by(|(_, a), (_, b)| compare(b.get("years").unwrap(), a.get("years").unwrap()));
    let wanted: Rows = wanted[1..3]
        .iter()
        .map(|(team, figures)| (team.clone(), Document::map([("years", figures.get("years").unwrap().clone())])))
        .collect();
    assert_rows(&rows_of(&block_on(database.query(&top)).unwrap()), &wanted, "sorted groups");
    let empty =
        Query { aggregates: vec![Aggregate::of("s", Function::Sum, "x")], ..Query::new("none", Filter::default()) };
    let empty = rows_of(&block_on(database.query(&empty)).unwrap());
    assert_rows(&empty, &vec![(Document::Nil, Document::map([("s", 0.into())]))], "no rows");
}

/// What the planner takes where the best way is plain, and how little that touches.
#[test]
fn the_cheapest_way_is_taken() {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let people: Vec<Operation> = (0..5000i64)
        .map(|n| {
            let document = Document::map([
                ("age", (n * 7919 % 5000).into()),
                ("city", Document::text(["Bern", "Basel", "Genf", "Chur"][(n % 4) as usize])),
                ("mail", Document::text(&format!("{n}@example.org"))),
                ("tags", Document::Array(vec![(n % 100).into(), (n % 3).into()])),
            ]);
            Operation::set("people", n, &document).unwrap()
        })
        .collect();
    block_on(database.batch(&people, &BatchOptions::default())).unwrap();
    let definitions = [
        IndexDefinition::new(&["age"], IndexKind::Btree),
        IndexDefinition::new(&["city", "age"], IndexKind::Btree),
        IndexDefinition::new(&["mail"], IndexKind::Hash).unique(),
        IndexDefinition::new(&["tags"], IndexKind::Btree).multi(),
    ];
    for definition in &definitions {
        block_on(database.create_index("people", definition)).unwrap();
    }
    use Operator::*;
    let is = |field: &str, operator, value: Document| Filter::Field { field: field.to_owned(), operator, value };
    let count = |query: Query| Query { aggregates: vec![Aggregate::count("n")], ..query };
    let limited = |query: Query| Query { limit: Some(10), ..query };
    let people = |filter| Query::new("people", filter);
    let all = Filter::default();
    let low = is("age", Less, 25.into());
    let bern = is("city", Equal, "Bern".into());
    let mail = is("mail", Equal, "77@example.org".into());
    // Query, access, index, whether it is sorted, most entries and documents touched.
    let cases: [(Query, &str, &str, bool, u64, u64); 16] = [
        (people(mail.clone()), "index", "mail", false, 1, 1),
        (people(low.clone()), "index", "age", false, 25, 25),
        (limited(people(all.clone())), "scan", "", false, 0, 10),
        (limited(people(is("city", NotEqual, "x".into()))), "scan", "", false, 0, 10),
        (people(is("city", NotEqual, "x".into())), "scan", "", false, 0, 5000),
        (limited(people(all.clone()).order_by("age", Direction::Forward)), "index", "age", false, 16, 10),
        (limited(people(all.clone()).order_by("age", Direction::Backward)), "index", "age", false, 48, 11),
        (limited(people(bern.clone()).order_by("age", Direction::Backward)), "index", "city,age", false, 48, 11),
        (people(Filter::And(vec![bern.clone(), low.clone()])), "index", "city,age", false, 10, 10),
        (people(Filter::Or(vec![mail, low.clone()])), "union", "mail", false, 26, 26),
        (people(is("tags", Contains, 77.into())), "index", "tags", false, 50, 50),
        (count(people(low.clone())), "index", "age", false, 25, 0),
        (count(people(all.clone())), "scan", "", false, 0, 0),
        (people(is("$key", Between, Document::Array(vec![10.into(), 19.into()]))), "range", "", false, 0, 10),
        (limited(people(all).order_by("$key", Direction::Backward)), "scan", "", false, 0, 10),
        (people(low.clone()).order_by("mail", Direction::Forward), "index", "age", true, 25, 25),
    ];
    for (query, access, index, sorted, entries, documents) in cases {
        let result = block_on(database.query(&query)).unwrap();
        let plan = &result.plan;
        let context = format!("{query:?}: {plan:?}");
        assert_eq!((plan.access, plan.index.as_deref().unwrap_or("")), (access, index), "{context}");
        assert_eq!(plan.sorted, sorted, "{context}");
        assert!(plan.entries_examined <= entries && plan.rows_examined <= documents, "{context}");
        let explained = block_on(database.explain(&query)).unwrap();
        assert_eq!((explained.access, &explained.index, explained.rows_examined), (plan.access, &plan.index, 0));
        let scanned = Query { using: Using::Scan, ..query };
        let scanned = block_on(database.query(&scanned)).unwrap();
        assert_rows(&rows_of(&result), &rows_of(&scanned), "the same rows");
    }
}

#[test]
fn a_result_is_kept_until_its_collection_changes() {
    let store = MemoryBackend::new();
    let open = || block_on(Database::open(store.clone(), tiny(256))).unwrap();
    let database = open();
    let set = |database: &Database, collection: &str, n: i64| {
        block_on(database.set(collection, &n.into(), &Document::map([("a", n.into())]))).unwrap();
    };
    let query = Query::new("people", Filter::field("a", Operator::Less, 10));
    let run = |database: &Database| {
        let result = block_on(database.query(&query)).unwrap();
        (result.rows.len(), result.plan.cached)
    };
    // What is found by looking at few documents is not kept.
    set(&database, "people", 1);
    assert_eq!(run(&database), (1, false));
    assert_eq!(run(&database), (1, false));
    let others: Vec<_> =
        (100..200i64).map(|n| Operation::set("people", n, &Document::map([("a", n.into())])).unwrap()).collect();
    block_on(database.batch(&others, &BatchOptions::default())).unwrap();
    set(&database, "people", 1);
    assert_eq!(run(&database), (1, false));
    assert_eq!(run(&database), (1, true));
    set(&database, "others", 1);
    assert_eq!(run(&database), (1, true));
    set(&database, "people", 2);
    assert_eq!(run(&database), (2, false));
    // A transaction that is rolled back, and another one that changes as much.
    let mut transaction = block_on(database.begin()).unwrap();
    block_on(transaction.set("people", &3.into(), &Document::map([("a", 3.into())]))).unwrap();
    assert_eq!(block_on(transaction.query(&query)).unwrap().rows.len(), 3);
    transaction.rollback();
    assert_eq!(run(&database), (2, true));
    set(&database, "people", 30);
    assert_eq!(run(&database), (2, false));
    // Another connection.
    let other = open();
    set(&other, "people", 4);
    assert_eq!(run(&other), (3, false));
    block_on(other.checkpoint()).unwrap();
    block_on(database.refresh()).unwrap();
    assert_eq!(run(&database), (3, false));
    assert_eq!(run(&database), (3, true));
    let explained = Query { explain: true, ..query.clone() };
    assert!(!block_on(database.query(&explained)).unwrap().plan.cached);
}

#[test]
fn a_prepared_query_follows_its_values_and_the_indexes() {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let filter = Filter::And(vec![
        Filter::field("a", Operator::Between, Document::Array(vec![parameter(0), parameter(1)])),
        Filter::field("b", Operator::Equal, parameter(2)),
    ]);
    let prepared = database.prepare(Query::new("people", filter)).unwrap();
    let run = |low: i64, high: i64, b: i64| {
        let result = block_on(prepared.run(&[low.into(), high.into(), b.into()])).unwrap();
        let keys: Vec<i64> = result
            .rows
            .iter()
            .map(|row| if let Document::Integer(key) = row.key { key } else { panic!("a number") })
            .collect();
        (keys, result.plan.access)
    };
    assert_eq!(run(0, 9, 1), (vec![], "none"));
    let rows: Vec<Operation> = (0..100i64)
        .map(|n| Operation::set("people", n, &Document::map([("a", n.into()), ("b", (n % 2).into())])).unwrap())
        .collect();
    block_on(database.batch(&rows, &BatchOptions::default())).unwrap();
    assert_eq!(run(0, 5, 1), (vec![1, 3, 5], "scan"));
    block_on(database.create_index("people", &IndexDefinition::new(&["a"], IndexKind::Btree))).unwrap();
    for _ in 0..2 {
        assert_eq!(run(0, 5, 1), (vec![1, 3, 5], "index"));
        assert_eq!(run(4, 6, 0), (vec![4, 6], "index"));
    }
    block_on(database.drop_index("people", "a")).unwrap();
    assert_eq!(run(4, 6, 0), (vec![4, 6], "scan"));
    assert!(block_on(prepared.run(&[])).is_err());
    let bad = Query::new("people", Filter::field("a", Operator::Between, 1));
    assert!(database.prepare(bad).is_err());
}
