//! Documents and keys: what is written is read back, damaged bytes are errors, and the byte order of keys is the stated
//! order.

mod support;

use cu_storage::{DEPTH_MAX, Document, DocumentRef, Encoded, Error, compare, decode_key, encode_key};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use support::documents::{document, number, scalar};

fn key() -> impl Strategy<Value = Document> {
    scalar().prop_recursive(3, 12, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Document::Array))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        cases: 512,
        ..ProptestConfig::default()
    })]

    #[test]
    fn documents_come_back(document in document()) {
        let bytes = document.encode().unwrap();
        let back = Document::decode(&bytes).unwrap();
        prop_assert_eq!(back.encode().unwrap(), bytes.clone());
        prop_assert!(Encoded::from_bytes(bytes).is_ok());
    }

    #[test]
    fn damaged_documents_are_errors_or_other_documents(
        document in document(),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = document.encode().unwrap();
        prop_assert!(Document::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let decoded = Document::decode(&bytes);
        prop_assert_eq!(decoded.is_ok(), Encoded::from_bytes(bytes.clone()).is_ok());
        if let Ok(other) = decoded {
            prop_assert_eq!(other.encode().unwrap(), bytes.clone());
        }
        let _ = DocumentRef::new(&bytes).field("a.b");
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Document::decode(&bytes);
        let _ = decode_key(&bytes);
        let _ = DocumentRef::new(&bytes).field("a.b");
    }

    #[test]
    fn byte_order_of_keys_is_the_order(left in key(), right in key()) {
        let (a, b) = (encode_key(&left).unwrap(), encode_key(&right).unwrap());
        prop_assert_eq!(a.cmp(&b), compare(&left, &right), "{:?} {:?}", left, right);
    }

    #[test]
    fn numbers_are_ordered_exactly(left in number(), right in number()) {
        let (a, b) = (encode_key(&left).unwrap(), encode_key(&right).unwrap());
        prop_assert_eq!(a.cmp(&b), compare(&left, &right), "{:?} {:?}", left, right);
        let back = decode_key(&a).unwrap();
        prop_assert!(compare(&back, &left).is_eq());
    }

    #[test]
    fn keys_come_back(key in key()) {
        let bytes = encode_key(&key).unwrap();
        let back = decode_key(&bytes).unwrap();
        prop_assert!(compare(&back, &key).is_eq());
        prop_assert_eq!(encode_key(&back).unwrap(), bytes);
    }
}

#[test]
fn kinds_are_ordered_as_stated() {
    let ordered = [
        Document::Nil,
        false.into(),
        true.into(),
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        i64::MIN.into(),
        (-0.5).into(),
        0.into(),
        ((1i64 << 53) as f64).into(),
        ((1i64 << 53) + 1).into(),
        i64::MAX.into(),
        9_223_372_036_854_775_808.0.into(),
        f64::INFINITY.into(),
        "".into(),
        "\0".into(),
        "a".into(),
        "a\0".into(),
        "b".into(),
        Document::Array(vec![]),
        Document::Array(vec![Document::Nil]),
        Document::Array(vec!["a".into()]),
        Document::Array(vec!["a".into(), 1.into()]),
        Document::Array(vec!["b".into()]),
    ];
    for (i, left) in ordered.iter().enumerate() {
        for (j, right) in ordered.iter().enumerate() {
            assert_eq!(compare(left, right), i.cmp(&j), "{left:?} {right:?}");
            let bytes = (encode_key(left).unwrap(), encode_key(right).unwrap());
            assert_eq!(bytes.0.cmp(&bytes.1), i.cmp(&j), "{left:?} {right:?}");
        }
    }
}

#[test]
fn encoding_is_as_specified() {
    let cases: [(Document, &[u8]); 11] = [
        (Document::Nil, &[0]),
        (false.into(), &[1]),
        (true.into(), &[2]),
        ((-1).into(), &[3, 1]),
        (64.into(), &[3, 0x80, 1]),
        (1.5.into(), &[4, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]),
        ((-f64::NAN).into(), &[4, 0, 0, 0, 0, 0, 0, 0xF8, 0x7F]),
        ("hi".into(), &[5, 2, b'h', b'i']),
        (vec![1.into(), Document::Nil].into(), &[6, 4, 2, 3, 2, 0]),
        (Document::map([("a", 1.into())]), &[7, 6, 1, 5, 1, b'a', 3, 2]),
        (Document::Blob { kind: 1, bytes: vec![9] }, &[8, 1, 1, 9]),
    ];
    for (document, bytes) in cases {
        assert_eq!(document.encode().unwrap(), bytes, "{document:?}");
    }
}

#[test]
fn malformed_encodings_are_errors() {
    let cases: [&[u8]; 12] = [
        &[],
        &[9],
        &[0, 0],
        &[3, 0x80, 0x00],
        &[3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
        &[4, 1, 0, 0, 0, 0, 0, 0xF8, 0x7F],
        &[5, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        &[6, 2, 0xFF, 0x7F],
        &[6, 3, 1, 0, 0],
        &[7, 5, 2, 1, 0, 1, 0],
        &[7, 3, 1, 0, 0],
        &[7, 11, 1, 4, 0, 0, 0, 0, 0, 0, 0xF8, 0x7F, 0],
    ];
    for bytes in cases {
        assert!(Document::decode(bytes).is_err(), "{bytes:?}");
        assert!(Encoded::from_bytes(bytes.to_vec()).is_err(), "{bytes:?}");
    }
}

#[test]
fn nesting_is_limited() {
    let nest = |levels: usize| (0..levels).fold(Document::Nil, |inner, _| Document::Array(vec![inner]));
    let bytes = nest(DEPTH_MAX).encode().unwrap();
    assert!(Document::decode(&bytes).is_ok());
    assert!(nest(DEPTH_MAX + 1).encode().is_err());
    assert!(matches!(encode_key(&nest(DEPTH_MAX + 1)), Err(Error::InvalidInput { .. })));
    let mut deep = vec![0u8];
    for _ in 0..DEPTH_MAX + 1 {
        let mut outer = vec![6];
        let mut length = deep.len() + 1;
        while length >= 0x80 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.push(1);
        outer.extend_from_slice(&deep);
        deep = outer;
    }
    assert!(Document::decode(&deep).is_err());
    assert!(Encoded::from_bytes(deep).is_err());
}

#[test]
fn fields_are_read_by_path() {
    let document = Document::map([
        ("name", "Alice".into()),
        ("address", Document::map([("city", "Bern".into()), ("zip.code", 3000.into())])),
        ("address.city", "exact".into()),
        ("tags", vec!["a".into()].into()),
    ]);
    let bytes = document.encode().unwrap();
    let reader = DocumentRef::new(&bytes);
    let field = |path| reader.field(path).unwrap().map(|found| found.decode().unwrap());
    assert_eq!(field("name"), Some("Alice".into()));
    assert_eq!(field("address.city"), Some("exact".into()));
    assert_eq!(field("address.zip.code"), Some(3000.into()));
    assert_eq!(field("address.street"), None);
    assert_eq!(field("tags.a"), None);
    assert_eq!(field("name.first"), None);
}
