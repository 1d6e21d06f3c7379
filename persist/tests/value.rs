//! Lua values as documents and back.

mod harness;

use cu_persist::{Error, FunctionPolicy, Save, from_document, to_document};
use cu_storage::Document;
use cu_vm::{Value, Vm};
use harness::*;
use proptest::prelude::*;

fn document_of(vm: &mut Vm, source: &str, functions: &FunctionPolicy) -> cu_persist::Result<Document> {
    let values = run(vm, &format!("return {source}"));
    vm.enter(|context| to_document(context, "value", context.fetch(&values[0]), functions))
}

fn text(text: &str) -> Document {
    Document::text(text)
}

#[test]
fn tables_become_arrays_and_maps() {
    let cases = [
        ("{ 1, 2.0, 'x' }", Document::Array(vec![Document::Integer(1), Document::Float(2.0), text("x")])),
        ("{}", Document::Map(vec![])),
        (
            "{ b = 1, a = { true } }",
            Document::Map(vec![
                (text("b"), Document::Integer(1)),
                (text("a"), Document::Array(vec![Document::Boolean(true)])),
            ]),
        ),
        (
            "{ 1, nil, 3 }",
            Document::Map(vec![
                (Document::Integer(1), Document::Integer(1)),
                (Document::Integer(3), Document::Integer(3)),
            ]),
        ),
        // Three keys, and #t may be 3.
        (
            "{ 1, nil, 3, [10] = 4 }",
            Document::Map(
                [1, 3, 10]
                    .into_iter()
                    .zip([1, 3, 4])
                    .map(|(key, value)| (Document::Integer(key), Document::Integer(value)))
                    .collect(),
            ),
        ),
        (
            "{ 0, nil, 2, [0] = 3 }",
            Document::Map(
                [1, 3, 0]
                    .into_iter()
                    .zip([0, 2, 3])
                    .map(|(key, value)| (Document::Integer(key), Document::Integer(value)))
                    .collect(),
            ),
        ),
        (
            "{ 1, x = 2 }",
            Document::Map(vec![(Document::Integer(1), Document::Integer(1)), (text("x"), Document::Integer(2))]),
        ),
        (
            "{ [1.5] = 1, [false] = 2 }",
            Document::Map(vec![
                (Document::Float(1.5), Document::Integer(1)),
                (Document::Boolean(false), Document::Integer(2)),
            ]),
        ),
        (
            "(function() local t = {}; t[3] = 3; t[2] = 2; t[1] = 1; return t end)()",
            Document::Array((1..=3).map(Document::Integer).collect()),
        ),
        ("nil", Document::Nil),
        ("-0.0", Document::Float(-0.0)),
    ];
    for (source, document) in cases {
        assert_eq!(document_of(&mut vm(), source, &FunctionPolicy::Refuse).unwrap(), document, "{source}");
    }
}

#[test]
fn documents_nest_200_levels_both_ways() {
    let mut vm = vm();
    for (around, is_map) in [("{ t }", false), ("{ x = t }", true)] {
        let nested =
            |levels| format!("(function() local t = 1; for i = 1, {levels} do t = {around} end return t end)()");
        let document = document_of(&mut vm, &nested(200), &FunctionPolicy::Refuse).unwrap();
        let read = |document: &Document| {
            vm.enter(|context| from_document(context, document, &FunctionPolicy::Refuse).map(|value| !value.is_nil()))
        };
        assert_eq!(read(&document), Ok(true));
        let deeper = match is_map {
            true => Document::Map(vec![(text("x"), document)]),
            false => Document::Array(vec![document]),
        };
        assert_eq!(read(&deeper), Err(Error::Limit { what: "document depth" }));
        let error = document_of(&mut vm, &nested(201), &FunctionPolicy::Refuse);
        assert_eq!(error, Err(Error::Limit { what: "document depth" }));
    }
}

#[test]
fn errors_name_the_path() {
    let cases = [
        (
            "(function() local t = {}; t.a = { t }; return t end)()",
            "value.a[1]: cannot save a table that contains itself",
        ),
        (
            "(function() local t = {}; return { x = t, y = { z = t } } end)()",
            "value.y.z: cannot save a table that is reached twice",
        ),
        ("{ a = { b = { 1, print } } }", "value.a.b[2]: functions are not allowed here"),
        ("{ [{}] = 1 }", "value: cannot save a table as a key"),
        ("{ co = coroutine.create(print) }", "value.co: cannot save a coroutine"),
        ("(function() local t = {}; for i = 1, 300 do t = { t } end return t end)()", "over the limit: document depth"),
    ];
    for (source, message) in cases {
        let error = document_of(&mut vm(), source, &FunctionPolicy::Refuse).unwrap_err();
        assert_eq!(error.to_string(), message, "{source}");
    }
    let allow = FunctionPolicy::Allow(Save::default());
    let error = document_of(
        &mut vm(),
        "(function() local co = coroutine.running(); return { f = function() return co end } end)()",
        &allow,
    );
    assert_eq!(error.unwrap_err().to_string(), "value.f.upvalue 'co': cannot save a coroutine");
}

#[test]
fn functions_travel_in_documents() {
    let allow = FunctionPolicy::Allow(Save::default());
    let source =
        "{ name = 'counter', call = (function() local n = 5; return function() n = n + 1; return n end end)() }";
    let document = document_of(&mut vm(), source, &allow).unwrap();
    let bytes = document.encode().unwrap();
    let document = Document::decode(&bytes).unwrap();
    let mut second = vm();
    let function = second.enter(|context| {
        let Value::Table(table) = from_document(context, &document, &allow).unwrap() else {
            panic!("a table was saved")
        };
        context.stash(table.get_string(context.string(b"call")))
    });
    assert_eq!(call(&mut second, &function), "6");
    let refused = second.enter(|context| from_document(context, &document, &FunctionPolicy::Refuse).map(|_| ()));
    assert_eq!(refused.unwrap_err().code(), "functionRefused");
}

#[test]
fn odd_documents_are_refused() {
    let vm = vm();
    let mut deep = Document::Nil;
    for _ in 0..1000 {
        deep = Document::Array(vec![deep]);
    }
    let cases = [
        (Document::Map(vec![(Document::Nil, Document::Nil)]), "corrupt"),
        (Document::Map(vec![(Document::Float(f64::NAN), Document::Integer(1))]), "corrupt"),
        (Document::Map(vec![(Document::Array(vec![]), Document::Integer(1))]), "corrupt"),
        (Document::Blob { kind: 9, bytes: vec![] }, "corrupt"),
        (Document::Blob { kind: 1, bytes: vec![1, 2, 3] }, "corrupt"),
        (deep, "limit"),
    ];
    let allow = FunctionPolicy::Allow(Save::default());
    for (document, code) in cases {
        let error = vm.enter(|context| from_document(context, &document, &allow).map(|_| ())).unwrap_err();
        assert_eq!(error.code(), code, "{document:?}");
    }
}

fn scalar() -> impl Strategy<Value = Document> {
    prop_oneof![
        any::<bool>().prop_map(Document::Boolean),
        any::<i64>().prop_map(Document::Integer),
        // An integral float as a key is the integer in Lua.
        any::<f64>()
            .prop_filter("fraction", |float| float.is_finite() && float.fract() != 0.0)
            .prop_map(Document::Float),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Document::String),
    ]
}

/// Documents that a Lua table can hold exactly: no nil inside, no empty array, keys that do not make a sequence.
fn document() -> impl Strategy<Value = Document> {
    scalar().prop_recursive(6, 100, 10, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..10).prop_map(Document::Array),
            prop::collection::vec((scalar(), inner), 0..10).prop_map(|entries| {
                let mut unique: Vec<(Document, Document)> = vec![(Document::text(""), Document::Boolean(true))];
                for (key, value) in entries {
                    let is_item = matches!(key, Document::Integer(1..1000));
                    if !is_item && unique.iter().all(|(other, _)| *other != key) {
                        unique.push((key, value));
                    }
                }
                Document::Map(unique)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn documents_come_back_as_they_were(document in document()) {
        let vm = vm();
        let back = vm.enter(|context| {
            let value = from_document(context, &document, &FunctionPolicy::Refuse).unwrap();
            to_document(context, "value", value, &FunctionPolicy::Refuse).unwrap()
        });
        prop_assert_eq!(back, document);
    }
}
