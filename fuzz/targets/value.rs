//! What JavaScript hands to the VM: documents, decoded and made into Lua values and back.
#![no_main]

use cu_fuzz::{limits, vm};
use cu_persist::{FunctionPolicy, Save, from_document, to_document};
use cu_storage::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Document::decode(bytes) else { return };
    let encoded = document.encode().expect("what was decoded can be encoded");
    assert_eq!(encoded, bytes, "one document has one encoding");
    let policy = FunctionPolicy::Allow(Save { limits: limits(), ..Save::default() });
    vm().enter(|context| {
        let Ok(value) = from_document(context, &document, &policy) else { return };
        let Ok(again) = to_document(context, "value", value, &policy) else { return };
        let bytes = again.encode().expect("a value's document can be encoded");
        let value = from_document(context, &again, &policy).expect("a value's document is a value");
        let third = to_document(context, "value", value, &policy).and_then(|third| Ok(third.encode()));
        assert_eq!(third, Ok(Ok(bytes)), "a value's document stays what it is");
    });
});
