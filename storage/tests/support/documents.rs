//! Random documents.

use cu_storage::Document;
use proptest::prelude::*;

pub fn scalar() -> impl Strategy<Value = Document> {
    prop_oneof![
        Just(Document::Nil),
        any::<bool>().prop_map(Document::Boolean),
        number(),
        proptest::collection::vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 0..6).prop_map(Document::String),
    ]
}

/// Numbers around the places where integers and doubles part.
pub fn number() -> impl Strategy<Value = Document> {
    let edges = prop_oneof![
        Just(0i64),
        Just(1 << 53),
        Just(-(1 << 53)),
        Just(1 << 62),
        Just(i64::MAX),
        Just(i64::MIN),
        any::<i64>(),
    ];
    let near = (edges, -3000i64..3000).prop_map(|(edge, step)| edge.saturating_add(step));
    prop_oneof![
        near.clone().prop_map(Document::Integer),
        near.prop_map(|integer| Document::Float(integer as f64)),
        (-4i64..4, prop_oneof![Just(0.0), Just(0.5), Just(0.25)])
            .prop_map(|(whole, part)| Document::Float(whole as f64 + part)),
        any::<f64>().prop_map(Document::Float),
        prop_oneof![
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::NAN),
            Just(-0.0),
            Just(9_223_372_036_854_775_808.0),
        ]
        .prop_map(Document::Float),
    ]
}

pub fn document() -> impl Strategy<Value = Document> {
    let leaf = prop_oneof![
        scalar(),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..5))
            .prop_map(|(kind, bytes)| Document::Blob { kind, bytes }),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Document::Array),
            proptest::collection::vec((scalar(), inner), 0..5).prop_map(|entries| {
                let mut seen = Vec::new();
                let unique = entries.into_iter().filter(|(key, _)| {
                    let nan = matches!(key, Document::Float(value) if value.is_nan());
                    let bytes = key.encode().unwrap();
                    let new = !nan && *key != Document::Nil && !seen.contains(&bytes);
                    seen.push(bytes);
                    new
                });
                Document::Map(unique.collect())
            }),
        ]
    })
}
