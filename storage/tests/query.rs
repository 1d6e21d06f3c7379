//! Operations and queries: from Rust types and through the document requests.

use cu_storage::{
    Aggregate, BatchOptions, Database, Direction, Document, Encoded, Error, Filter, Function, IndexDefinition,
    IndexKind, MemoryBackend, Operation, Operator, Options, Outcome, Plan, Query, QueryResult, Row, Sort, Using,
    block_on, encode_answer, encode_outcomes, encode_query, encode_query_result, parse_batch, parse_query,
};

fn people() -> Database {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let rows = [
        (
            "alice",
            Document::map([
                ("name", "Alice".into()),
                ("age", 30.into()),
                ("address", Document::map([("city", "Bern".into())])),
                ("tags", vec!["admin".into(), 7.into()].into()),
            ]),
        ),
        (
            "bob",
            Document::map([
                ("name", "Bob".into()),
                ("age", 25.into()),
                ("address", Document::map([("city", "Basel".into())])),
            ]),
        ),
        ("carol", Document::map([("name", "Carol".into()), ("age", 30.5.into())])),
        ("dave", Document::map([("name", "Dave".into()), ("age", "old".into())])),
        ("erin", Document::map([("name", "Erin".into()), ("age", Document::Nil)])),
    ];
    let batch: Vec<Operation> = rows.iter().map(|(key, row)| Operation::set("people", *key, row).unwrap()).collect();
    block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
    database
}

fn keys(database: &Database, query: &Query) -> String {
    let rows = block_on(database.query(query)).unwrap().rows;
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_text().unwrap()).collect();
    keys.join(" ")
}

#[test]
fn operators() {
    let database = people();
    let list = |items: &[Document]| Document::Array(items.to_vec());
    let cases: [(&str, &str, Document, &str); 29] = [
        ("age", "=", 30.into(), "alice"),
        ("age", "=", 30.0.into(), "alice"),
        ("age", "=", Document::Nil, "erin"),
        ("age", "!=", 30.into(), "bob carol dave erin"),
        ("age", ">", 25.into(), "alice carol"),
        ("age", ">=", 25.into(), "alice bob carol"),
        ("age", "<", 30.5.into(), "alice bob"),
        ("age", "<=", 30.5.into(), "alice bob carol"),
        ("age", "<", "z".into(), "dave"),
        ("age", "between", list(&[25.into(), 30.into()]), "alice bob"),
        ("age", "in", list(&[25.into(), "old".into(), 1.into()]), "bob dave"),
        ("age", "in", list(&[]), ""),
        ("age", "not in", list(&[25.into(), "old".into()]), "alice carol erin"),
        ("name", "contains", "ro".into(), "carol"),
        ("name", "contains", "".into(), "alice bob carol dave erin"),
        ("tags", "contains", "admin".into(), "alice"),
        ("tags", "contains", 7.0.into(), "alice"),
        ("tags", "contains", "adm".into(), ""),
        ("tags", "=", list(&["admin".into(), 7.into()]), "alice"),
        ("name", "startsWith", "A".into(), "alice"),
        ("name", "endsWith", "e".into(), "alice dave"),
        ("age", "exists", true.into(), "alice bob carol dave erin"),
        ("address", "exists", Document::Nil, "alice bob"),
        ("address", "exists", false.into(), "carol dave erin"),
        ("address.city", "=", "Bern".into(), "alice"),
        ("address.city", "!=", "Bern".into(), "bob carol dave erin"),
        ("age", "<", f64::NAN.into(), ""),
        ("$key", ">", "carol".into(), "dave erin"),
        ("$key", "startsWith", "b".into(), "bob"),
    ];
    for (field, operator, value, expected) in cases {
        let filter = Filter::field(field, Operator::from_name(operator).unwrap(), value.clone());
        let query = Query { collection: "people".to_owned(), filter, ..Query::default() };
        assert_eq!(keys(&database, &query), expected, "{field} {operator} {value:?}");
    }
}

#[test]
fn filter_sort_offset_limit_in_this_order() {
    let database = people();
    let sort = |field: &str, direction| Sort { field: field.to_owned(), direction };
    let query = |sorts: Vec<Sort>, offset, limit| Query {
        collection: "people".to_owned(),
        sort: sorts,
        offset,
        limit,
        ..Query::default()
    };
    use Direction::{Backward, Forward};
    let cases = [
        (query(vec![], 0, None), "alice bob carol dave erin"),
        (query(vec![], 1, Some(2)), "bob carol"),
        (query(vec![], 0, Some(0)), ""),
        (query(vec![], 9, None), ""),
        (query(vec![sort("age", Forward)], 0, None), "erin bob alice carol dave"),
        (query(vec![sort("age", Backward)], 0, None), "dave carol alice bob erin"),
        (query(vec![sort("age", Forward)], 1, Some(2)), "bob alice"),
        (query(vec![sort("tags", Forward), sort("name", Backward)], 0, Some(3)), "erin dave carol"),
        (query(vec![sort("$key", Backward)], 0, Some(1)), "erin"),
        (Query { collection: "nobody".to_owned(), ..Query::default() }, ""),
    ];
    for (query, expected) in cases {
        assert_eq!(keys(&database, &query), expected, "{query:?}");
    }
}

#[test]
fn top_rows_of_a_large_collection() {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
    let batch: Vec<Operation> =
        (0..3000i64).map(|n| Operation::set("n", n, &Document::Integer(n * 7919 % 3000)).unwrap()).collect();
    block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
    let query = Query {
        collection: "n".to_owned(),
        sort: vec![Sort { field: "$value".to_owned(), direction: Direction::Backward }],
        offset: 5,
        limit: Some(10),
        ..Query::default()
    };
    let result = block_on(database.query(&query)).unwrap();
    let values: Vec<Document> = result.rows.iter().map(|row| row.value.decode().unwrap()).collect();
    let expected: Vec<Document> = (2985..2995).rev().map(Document::Integer).collect();
    assert_eq!(values, expected);
    assert_eq!(result.plan.rows_examined, 3000);
}

#[test]
fn operations_give_their_results() {
    let database = people();
    let batch = [
        Operation::get("people", "bob"),
        Operation::increment("people", "bob", Some("age"), 5),
        Operation::increment("people", "bob", Some("stats.visits"), 1.5),
        Operation::increment("hits", "page", None, 2),
        Operation::update("people", "bob", Document::map([("name", "Robert".into()), ("x", 1.into())])),
        Operation::delete("people", "dave"),
        Operation::delete("people", "dave"),
        Operation::get("people", "dave"),
        Operation::Query(Query {
            collection: "people".to_owned(),
            filter: Filter::field("age", Operator::Equal, 30),
            ..Query::default()
        }),
    ];
    let outcomes = block_on(database.batch(&batch, &BatchOptions::default())).unwrap();
    assert!(matches!(&outcomes[0], Outcome::Value(Some(_))));
    assert!(matches!(&outcomes[1], Outcome::Number(Document::Integer(30))));
    assert!(matches!(&outcomes[2], Outcome::Number(Document::Float(1.5))));
    assert!(matches!(&outcomes[3], Outcome::Number(Document::Integer(2))));
    let Outcome::Value(Some(bob)) = &outcomes[4] else { panic!() };
    let bob = bob.decode().unwrap();
    assert_eq!(bob.get("name"), Some(&"Robert".into()));
    assert_eq!(bob.get("age"), Some(&30.into()));
    assert_eq!(bob.get("address"), Some(&Document::map([("city", "Basel".into())])));
    assert!(matches!(&outcomes[5], Outcome::Deleted(true)));
    assert!(matches!(&outcomes[6], Outcome::Deleted(false)));
    assert!(matches!(&outcomes[7], Outcome::Value(None)));
    let Outcome::Rows(rows) = &outcomes[8] else { panic!() };
    assert_eq!(rows.rows.len(), 2);
}

#[test]
fn a_failing_operation_undoes_the_batch_and_is_named() {
    let nested_key = Document::Map(vec![]);
    let failing = [
        (Operation::increment("people", "alice", Some("name"), 1), "invalidInput"),
        (Operation::increment("people", "alice", Some("name.x"), 1), "invalidInput"),
        (Operation::increment("people", "alice", Some("age"), i64::MAX), "invalidInput"),
        (Operation::increment("people", "alice", Some("age"), "x"), "invalidInput"),
        (Operation::update("people", "alice", 1.into()), "invalidInput"),
        (Operation::get("people", nested_key.clone()), "invalidInput"),
        (Operation::set("people", nested_key, &Document::Nil).unwrap(), "invalidInput"),
        (Operation::set("", 1, &Document::Nil).unwrap(), "invalidInput"),
        (Operation::set("p", "k".repeat(5000).as_str(), &Document::Nil).unwrap(), "invalidInput"),
    ];
    for (operation, code) in failing {
        let database = people();
        let batch =
            [Operation::set("new", 1, &1.into()).unwrap(), operation, Operation::set("new", 2, &2.into()).unwrap()];
        let error = block_on(database.batch(&batch, &BatchOptions::default())).unwrap_err();
        assert!(matches!(error, Error::Batch { position: 1, .. }), "{error:?}");
        assert_eq!(error.code(), code);
        assert_eq!(block_on(database.collections()).unwrap().len(), 1);

        let each = BatchOptions { atomic: false, ..BatchOptions::default() };
        let outcomes = block_on(database.batch(&batch, &each)).unwrap();
        assert!(matches!(&outcomes[1], Outcome::Failed(error) if error.code() == code));
        assert!(matches!(&outcomes[2], Outcome::Done));
        assert_eq!(block_on(database.collections()).unwrap()[0].count, 2);
        assert_eq!(block_on(database.check()).unwrap().problems, []);
    }
}

#[test]
fn indexes_are_remembered_and_the_plan_names_them() {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), Options::default())).unwrap();
    for n in 0..20 {
        block_on(database.set("users", &n.into(), &Document::map([("age", n.into())]))).unwrap();
    }
    let age = IndexDefinition::new(&["age"], IndexKind::Btree);
    assert!(block_on(database.create_index("users", &age)).unwrap());
    assert!(!block_on(database.create_index("users", &age)).unwrap());
    assert!(block_on(database.create_index("users", &IndexDefinition::new(&["name"], IndexKind::Hash))).unwrap());
    for close in [false, true] {
        if close {
            block_on(database.checkpoint()).unwrap();
        }
        let reopened = block_on(Database::open(store.copy(), Options::default())).unwrap();
        let users = &block_on(reopened.collections()).unwrap()[0];
        assert_eq!(users.indexes.len(), 2);
        let query = Query {
            collection: "users".to_owned(),
            filter: Filter::field("age", Operator::Equal, 1),
            ..Query::default()
        };
        let plan = block_on(reopened.query(&query)).unwrap().plan;
        assert_eq!((plan.access, plan.index.as_deref()), ("index", Some("age")));
        let scan = block_on(reopened.query(&Query { using: Using::Scan, ..query })).unwrap().plan;
        assert_eq!((scan.access, scan.index), ("scan", None));
        assert_eq!(scan.unused_indexes, ["age"]);
        assert!(block_on(reopened.drop_index("users", "age")).unwrap());
        assert!(!block_on(reopened.drop_index("users", "age")).unwrap());
    }
}

fn map(entries: &[(&str, Document)]) -> Document {
    Document::map(entries.iter().map(|(name, value)| (*name, value.clone())))
}

#[test]
fn a_batch_request_goes_in_and_comes_out_as_bytes() {
    let database = people();
    let operation = |kind: &str, rest: &[(&str, Document)]| {
        let mut entries = vec![("type", kind.into()), ("table", "people".into())];
        entries.extend_from_slice(rest);
        map(&entries)
    };
    let request = Document::Array(vec![
        operation("set", &[("key", 1.into()), ("value", map(&[("age", 1.into())]))]),
        operation("get", &[("key", 1.into())]),
        operation("increment", &[("key", 1.into()), ("field", "age".into()), ("amount", 4.into())]),
        operation("increment", &[("key", 1.into()), ("field", "age".into())]),
        operation("update", &[("key", 1.into()), ("value", map(&[("b", true.into())]))]),
        operation("query", &[("field", "age".into()), ("operator", "<".into()), ("value", 10.into())]),
        operation("delete", &[("key", 1.into())]),
        operation("get", &[("key", 1.into())]),
        operation("delete", &[("key", map(&[]))]),
    ]);
    let operations = parse_batch(&request.encode().unwrap()).unwrap();
    let options = BatchOptions { atomic: false, ..BatchOptions::default() };
    let outcomes = block_on(database.batch(&operations, &options)).unwrap();
    let results = Document::decode(&encode_outcomes(&outcomes, &operations, Error::code).unwrap()).unwrap();
    let Document::Array(results) = results else { panic!() };
    let updated = map(&[("age", 6.into()), ("b", true.into())]);
    let row = map(&[("key", 1.into()), ("value", updated.clone())]);
    let expected = [
        true.into(),
        map(&[("age", 1.into())]),
        5.into(),
        6.into(),
        updated,
        vec![row].into(),
        true.into(),
        Document::Nil,
    ];
    assert_eq!(results[..8], expected);
    let code = results[8].get("error").and_then(|error| error.get("code"));
    assert_eq!(code, Some(&"invalidInput".into()));
}

#[test]
fn query_requests() {
    let database = people();
    let condition = |field: &str, operator: &str, value: Document| {
        map(&[("field", field.into()), ("operator", operator.into()), ("value", value)])
    };
    let young = condition("age", "<", 30.into());
    let carol = condition("name", "=", "Carol".into());
    let cases: [(&[(&str, Document)], &str); 9] = [
        (&[], "alice bob carol dave erin"),
        (&[("field", "name".into()), ("value", "Bob".into())], "bob"),
        (&[("where", young.clone())], "bob"),
        (&[("where", vec![young.clone(), carol.clone()].into())], ""),
        (&[("where", map(&[("or", vec![young.clone(), carol.clone()].into())]))], "bob carol"),
        (&[("where", map(&[("not", young.clone())]))], "alice carol dave erin"),
        (&[("and", vec![map(&[("not", young)]), map(&[("not", carol)])].into())], "alice dave erin"),
        (&[("sort", map(&[("field", "age".into()), ("order", "desc".into())])), ("limit", 2.into())], "dave carol"),
        (&[("sort", vec!["age".into()].into()), ("offset", 3.into())], "carol dave"),
    ];
    for (request, expected) in cases {
        let mut entries = vec![("table", Document::text("people"))];
        entries.extend_from_slice(request);
        let query = parse_query(&map(&entries).encode().unwrap()).unwrap();
        assert_eq!(keys(&database, &query), expected, "{request:?}");
    }
}

#[test]
fn projection_and_plan() {
    let database = people();
    let request = map(&[
        ("table", "people".into()),
        ("field", "$key".into()),
        ("value", "alice".into()),
        ("fields", vec!["age".into(), "address.city".into(), "none".into(), "age".into()].into()),
        ("explain", true.into()),
    ]);
    let query = parse_query(&request.encode().unwrap()).unwrap();
    let result = block_on(database.query(&query)).unwrap();
    let encoded = encode_query_result(&result, query.explain).unwrap();
    let answer = Document::decode(&encoded).unwrap();
    let Some(Document::Array(rows)) = answer.get("rows") else { panic!() };
    let value = map(&[("age", 30.into()), ("address.city", "Bern".into())]);
    assert_eq!(rows[0].get("value"), Some(&value));
    let plan = answer.get("plan").unwrap();
    assert_eq!(plan.get("access"), Some(&"range".into()));
    assert_eq!(plan.get("fullScan"), Some(&false.into()));
    assert_eq!(plan.get("rowsExamined"), Some(&1.into()));
    assert_eq!(plan.get("rowsReturned"), Some(&1.into()));
}

#[test]
fn bad_requests_name_the_argument() {
    let query = |entries: &[(&str, Document)]| {
        let mut all = vec![("table", Document::text("t"))];
        all.extend_from_slice(entries);
        parse_query(&map(&all).encode().unwrap()).unwrap_err().to_string()
    };
    let cases = [
        (query(&[("field", "a".into()), ("operator", "like".into())]), "unknown query operator 'like'"),
        (query(&[("operator", "=".into())]), "invalid field"),
        (query(&[("field", "a".into()), ("operator", "between".into())]), "invalid value"),
        (query(&[("limit", (-1).into())]), "invalid limit"),
        (query(&[("offset", 1.5.into())]), "invalid offset"),
        (query(&[("sort", 1.into())]), "invalid sort.field"),
        (query(&[("where", 1.into())]), "invalid where"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
    let batch = |operation: Document| parse_batch(&Document::Array(vec![operation]).encode().unwrap()).unwrap_err();
    let error = batch(map(&[("type", "explode".into())]));
    assert_eq!(error.code(), "unknownOperation");
    assert!(matches!(error, Error::Batch { position: 0, .. }));
    assert_eq!(batch(map(&[("type", "set".into())])).code(), "invalidInput");
    assert_eq!(batch(1.into()).code(), "invalidInput");
    assert!(parse_batch(&[6, 0xFF]).is_err());
    let deep = (0..150).fold(map(&[("field", "a".into())]), |inner, _| map(&[("not", inner)]));
    assert!(query(&[("where", deep)]).contains("nested too deep"));
}

#[test]
fn a_closed_database_says_so() {
    let database = people();
    let other = database.clone();
    block_on(database.close()).unwrap();
    block_on(database.close()).unwrap();
    assert_eq!(block_on(other.get("people", &1.into())), Err(Error::Closed));
    assert_eq!(block_on(other.set("people", &1.into(), &1.into())), Err(Error::Closed));
}

#[test]
fn a_query_is_read_back_from_its_encoding() {
    let names =
        ["=", "!=", "<", "<=", ">", ">=", "between", "in", "not in", "contains", "startsWith", "endsWith", "exists"];
    let conditions = names.map(|name| {
        let operator = Operator::from_name(name).unwrap();
        assert_eq!(operator.name(), name);
        let value = match operator {
            Operator::Between | Operator::In | Operator::NotIn => vec![1.into(), Document::text("x")].into(),
            Operator::StartsWith | Operator::EndsWith => Document::text("a"),
            Operator::Exists => Document::Boolean(false),
            _ => Document::Float(0.5),
        };
        Filter::field("a.b", operator, value)
    });
    let [first, second, third, ..] = conditions.clone();
    let filters = [
        Filter::default(),
        Filter::And(conditions.to_vec()),
        Filter::Or(vec![Filter::Not(Box::new(first.clone())), Filter::And(vec![second])]),
        Filter::Not(Box::new(Filter::Or(Vec::new()))),
        third,
        Filter::field("$value", Operator::Equal, Document::Nil),
    ];
    for filter in filters {
        let plain = Query::new("people", filter);
        let all = Query {
            after: Some(vec![1.into(), Document::text("k"), 2.into()].into()),
            offset: 3,
            limit: Some(0),
            fields: Some(vec!["a".into(), "b.c".into()]),
            explain: true,
            using: Using::Index("a,b".into()),
            ..plain.clone().order_by("a", Direction::Backward).order_by("$key", Direction::Forward)
        };
        let groups = Query {
            group_by: vec!["a".into(), "b".into()],
            aggregates: vec![Aggregate::count("n"), Aggregate::of("m", Function::Average, "c.d")],
            using: Using::Scan,
            ..plain.clone()
        };
        let indexed = Query { fields: Some(Vec::new()), using: Using::AnyIndex, ..plain.clone() };
        for query in [plain, all, groups, indexed] {
            assert_eq!(parse_query(&encode_query(&query).unwrap()), Ok(query));
        }
    }
}

#[test]
fn an_answer_is_the_encoding_of_its_rows_whatever_their_sizes() {
    let row = |size: usize| Row {
        key: Document::text(&"k".repeat(size % 300)),
        value: Encoded::try_from(&Document::text(&"v".repeat(size))).unwrap(),
    };
    for count in [0, 1, 127, 128, 129] {
        let rows: Vec<Row> =
            (0..count).map(|number| row([0, 1, 100, 117, 118, 119, 120, 16_400][number % 8])).collect();
        let plan = Plan { rows_examined: 3, entries_examined: 4, rows_matched: 1 << 40, ..Plan::default() };
        let result = QueryResult { rows, cursor: Some(Document::Array(vec![7.into()])), plan };
        let entry = |row: &Row| Document::map([("key", row.key.clone()), ("value", row.value.decode().unwrap())]);
        let expected = Document::map([
            ("rows", Document::Array(result.rows.iter().map(entry).collect())),
            ("cursor", Document::Array(vec![7.into()])),
            ("examined", 7.into()),
            ("matched", (1i64 << 40).into()),
        ]);
        assert_eq!(encode_answer(&result).unwrap(), expected.encode().unwrap(), "{count} rows");
    }
}
