//! Schemas against the crate `jsonschema`: random schemas of the subset and random documents get the same verdict. What the
//! database does with the verdict is tried on a few.

mod support;

use cu_storage::{
    BatchOptions, Database, Document, Error, MemoryBackend, Operation, Options, Outcome, ScanOptions, block_on,
};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};
use support::assert_sound;

fn document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Nil,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(value) => value.into(),
            None => number.as_f64().unwrap().into(),
        },
        Value::String(text) => Document::text(text),
        Value::Array(items) => Document::Array(items.iter().map(document).collect()),
        Value::Object(entries) => {
            Document::Map(entries.iter().map(|(name, value)| (Document::text(name), document(value))).collect())
        }
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|value| json!(value)),
        (-4i64..5).prop_map(|value| json!(value)),
        (-4i64..5).prop_map(|value| json!(value as f64 / 2.0)),
        prop_oneof![Just(""), Just("a"), Just("ab"), Just("abc"), Just("äöü"), Just("😀")].prop_map(|text| json!(text)),
    ]
}

fn instance() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::vec((name(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(str::to_owned)
}

fn keyword(schema: impl Strategy<Value = Value> + Clone + 'static) -> impl Strategy<Value = (String, Value)> {
    let named = |name: &'static str, value: BoxedStrategy<Value>| value.prop_map(move |value| (name.to_owned(), value));
    let number =
        || prop_oneof![(-3i64..4).prop_map(|n| json!(n)), (-3i64..4).prop_map(|n| json!(n as f64 / 2.0))].boxed();
    let count = || (0u64..4).prop_map(|count| json!(count)).boxed();
    let kind = prop_oneof![
        Just("null"),
        Just("boolean"),
        Just("integer"),
        Just("number"),
        Just("string"),
        Just("array"),
        Just("object")
    ];
    let kinds = proptest::collection::btree_set(kind.clone(), 1..4).prop_map(|kinds| json!(kinds));
    let schemas = proptest::collection::vec(schema.clone(), 1..4).prop_map(Value::Array).boxed();
    let known = proptest::collection::btree_map(name(), schema.clone(), 0..3).prop_map(|known| json!(known)).boxed();
    let pattern = prop_oneof![Just("^a"), Just("b$"), Just("^[a-b]+$"), Just("c|ä"), Just("^.{2}$")];
    let numbers = prop_oneof![
        named("minimum", number()),
        named("maximum", number()),
        named("exclusiveMinimum", number()),
        named("exclusiveMaximum", number()),
        // Whole steps only: of negative halves the other validator says that they are no multiples of 0.5.
        named("multipleOf", prop_oneof![Just(json!(1)), Just(json!(2)), Just(json!(3))].boxed()),
    ];
    let counts = prop_oneof![
        named("minLength", count()),
        named("maxLength", count()),
        named("minItems", count()),
        named("maxItems", count()),
        named("minProperties", count()),
        named("maxProperties", count()),
        named("uniqueItems", any::<bool>().prop_map(|is| json!(is)).boxed()),
        named("pattern", pattern.prop_map(|pattern| json!(pattern)).boxed()),
    ];
    let values = prop_oneof![
        3 => named("type", prop_oneof![kind.prop_map(|kind| json!(kind)), kinds].boxed()),
        1 => named("enum", proptest::collection::vec(instance(), 1..4).prop_map(Value::Array).boxed()),
        1 => named("const", instance().boxed()),
        1 => named("title", Just(json!("a title")).boxed()),
    ];
    let inner = prop_oneof![
        named("items", schema.clone().boxed()),
        named("prefixItems", schemas.clone()),
        named("properties", known),
        named("additionalProperties", schema.clone().boxed()),
        named("required", proptest::collection::btree_set(name(), 0..3).prop_map(|names| json!(names)).boxed()),
        named("allOf", schemas.clone()),
        named("anyOf", schemas.clone()),
        named("oneOf", schemas),
        named("not", schema.clone().boxed()),
        named("if", schema.clone().boxed()),
        named("then", schema.clone().boxed()),
        named("else", schema.boxed()),
    ];
    prop_oneof![2 => values, 2 => numbers, 2 => counts, 3 => inner]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(|always| json!(always)),
        4 => proptest::sample::select(vec!["string", "number", "array", "object", "integer"])
            .prop_map(|kind| json!({ "type": kind })),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        proptest::collection::vec(keyword(inner), 0..4)
            .prop_map(|keywords| Value::Object(keywords.into_iter().collect()))
    })
}

#[test]
fn verdicts_are_those_of_another_validator() {
    let config = ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(31),
        cases: 1500,
        ..ProptestConfig::default()
    };
    let verdicts = std::cell::Cell::new((0, 0));
    let strategy = (schema(), proptest::collection::vec(instance(), 1..8));
    let result = TestRunner::new(config).run(&strategy, |(schema, instances)| {
        let oracle = jsonschema::draft202012::new(&schema).unwrap();
        let database = block_on(Database::open(MemoryBackend::new(), Options::default())).unwrap();
        block_on(database.set_schema("a", &document(&schema))).unwrap();
        for instance in instances {
            let found = block_on(database.set("a", &1.into(), &document(&instance)));
            let is_valid = oracle.is_valid(&instance);
            prop_assert_eq!(found.is_ok(), is_valid, "{} {} {:?}", schema, instance, found);
            let (valid, invalid) = verdicts.get();
            verdicts.set((valid + i32::from(is_valid), invalid + i32::from(!is_valid)));
        }
        Ok(())
    });
    result.unwrap();
    let (valid, invalid) = verdicts.get();
    assert!(valid > 500 && invalid > 500, "{valid} {invalid}");
}

#[test]
fn a_schema_guards_its_collection() {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), Options::default())).unwrap();
    let schema = document(&json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": { "type": "string", "minLength": 1 },
            "age": { "type": "integer", "minimum": 0 },
            "address": { "properties": { "zip": { "pattern": "^[0-9]{4}$" } } },
            "tags": { "items": { "type": "string" } },
        },
    }));
    block_on(database.set_schema("users", &schema)).unwrap();
    let alice = document(&json!({ "name": "Alice", "age": 30, "address": { "zip": "3000" }, "tags": ["a"] }));
    block_on(database.set("users", &"alice".into(), &alice)).unwrap();
    let cases = [
        (json!({ "age": 1 }), "name", "name is missing"),
        (json!({ "name": "" }), "name", "name has the wrong length"),
        (json!({ "name": "x", "age": -1 }), "age", "age must be at least 0"),
        (json!({ "name": "x", "age": 1.5 }), "age", "age must be of type integer"),
        (json!({ "name": "x", "address": { "zip": "30" } }), "address.zip", "address.zip does not match ^[0-9]{4}$"),
        (json!({ "name": "x", "tags": ["a", 1] }), "tags[1]", "tags[1] must be of type string"),
        (json!(7), "$value", "$value must be of type object"),
    ];
    for (bad, path, message) in cases {
        let error = block_on(database.set("users", &"bob".into(), &document(&bad))).unwrap_err();
        assert!(matches!(&error, Error::Schema { path: found, .. } if found == path), "{error:?}");
        assert_eq!((error.code(), error.to_string().as_str()), ("schema", message));
        let batch = [
            Operation::set("users", "carol", &document(&json!({ "name": "Carol" }))).unwrap(),
            Operation::set("users", "bob", &document(&bad)).unwrap(),
        ];
        let each = BatchOptions { atomic: false, ..BatchOptions::default() };
        assert!(matches!(
            block_on(database.batch(&batch, &BatchOptions::default())),
            Err(Error::Batch { position: 1, .. })
        ));
        let outcomes = block_on(database.batch(&batch, &each)).unwrap();
        assert!(matches!(&outcomes[1], Outcome::Failed(error) if error.code() == "schema"));
    }
    let spoil = [
        Operation::increment("users", "alice", Some("age"), -31),
        Operation::update("users", "alice", Document::map([("name", "".into())])),
    ];
    for operation in spoil {
        assert!(block_on(database.batch(&[operation], &BatchOptions::default())).is_err());
    }
    // It survives, with or without a checkpoint; one that stored documents break is refused.
    for checkpoint in [false, true] {
        if checkpoint {
            block_on(database.checkpoint()).unwrap();
        }
        let reopened = block_on(Database::open(store.copy(), Options::default())).unwrap();
        assert_eq!(block_on(reopened.collections()).unwrap()[0].schema.as_ref(), Some(&schema));
        assert!(block_on(reopened.set("users", &1.into(), &1.into())).is_err());
    }
    let strict = document(&json!({ "required": ["age"] }));
    let error = block_on(database.set_schema("users", &strict)).unwrap_err();
    assert_eq!(error.code(), "schema");
    // A count may be written as a float; the official test suite has such schemas.
    block_on(database.set_schema("counted", &document(&json!({ "maxLength": 2.0 })))).unwrap();
    assert!(block_on(database.set("counted", &1.into(), &"ab".into())).is_ok());
    assert_eq!(block_on(database.set("counted", &1.into(), &"abc".into())).unwrap_err().code(), "schema");
    assert!(block_on(database.set_schema("counted", &document(&json!({ "maxLength": 2.5 })))).is_err());
    let unknown = document(&json!({ "properties": { "a": { "$ref": "#/x" } } }));
    let error = block_on(database.set_schema("users", &unknown)).unwrap_err();
    assert_eq!(error.to_string(), "invalid schema.properties.a.$ref: is no keyword of the subset that is checked");
    block_on(database.set_schema("users", &Document::Nil)).unwrap();
    block_on(database.set("users", &1.into(), &1.into())).unwrap();
    assert_sound(&database);
}

#[test]
fn collections_and_ranges_are_removed() {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), support::tiny(128))).unwrap();
    let fill = |name: &str| {
        let rows: Vec<Operation> =
            (0..3000i64).map(|n| Operation::set(name, n, &Document::map([("a", (n % 9).into())])).unwrap()).collect();
        block_on(database.batch(&rows, &BatchOptions::default())).unwrap();
        let definition = cu_storage::IndexDefinition::new(&["a"], cu_storage::IndexKind::Btree);
        block_on(database.create_index(name, &definition)).unwrap();
    };
    fill("a");
    fill("b");
    let removed = block_on(database.transaction(async |transaction| {
        let middle = transaction.delete_range("a", Included(100.into()), Excluded(2900.into())).await?;
        let none = transaction.delete_range("a", Included(100.into()), Excluded(2900.into())).await?;
        let end = transaction.delete_range("a", Excluded(2998.into()), Unbounded).await?;
        Ok((middle, none, end))
    }));
    assert_eq!(removed, Ok((2800, 0, 1)));
    assert_sound(&database);
    assert_eq!(block_on(database.scan("a", &ScanOptions::default())).unwrap().len(), 199);
    for round in 0..3 {
        assert!(block_on(database.drop_collection("b")).unwrap());
        assert!(!block_on(database.drop_collection("b")).unwrap());
        assert_sound(&database);
        if round == 1 {
            block_on(database.checkpoint()).unwrap();
        }
        assert_eq!(block_on(database.get("b", &1.into())), Ok(None));
        let reopened = block_on(Database::open(store.copy(), support::tiny(128))).unwrap();
        assert_eq!(block_on(reopened.collections()).unwrap().len(), 1);
        fill("b");
        let query = cu_storage::Query::new("b", cu_storage::Filter::field("a", cu_storage::Operator::Equal, 3));
        assert_eq!(block_on(database.query(&query)).unwrap().rows.len(), 333);
        assert_sound(&database);
    }
    block_on(database.drop_collection("a")).unwrap();
    block_on(database.drop_collection("b")).unwrap();
    block_on(database.checkpoint()).unwrap();
    assert_sound(&database);
    let statistics = database.statistics();
    // What is not free holds the list of what is.
    assert!(statistics.free_page_count > statistics.page_count as usize / 100 * 95, "{statistics:?}");
}
