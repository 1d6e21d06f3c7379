//! Writes the seeds of the targets that read what the storage engine writes. Those of the others are payloads of fixtures.

use std::path::Path;

use cu_fuzz::{database, input_of};
use cu_storage::{Document, block_on};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder.join(target))?;
        std::fs::write(folder.join(target).join(name), bytes)
    };
    let (store, database) = database();
    write("page", "log", &input_of(&store))?;
    block_on(database.checkpoint()).expect("there is room");
    write("page", "pages", &input_of(&store))?;

    let number = Document::Integer;
    let text = Document::text;
    let array = |elements: &[Document]| Document::Array(elements.to_vec());
    let condition = |field: &str, operator: &str, value: Document| {
        Document::map([("field", text(field)), ("operator", text(operator)), ("value", value)])
    };
    let queries = [
        ("range", condition("age", ">=", number(25))),
        ("between", condition("age", "between", array(&[number(21), Document::Float(30.5)]))),
        ("in", condition("$key", "in", array(&[number(3), text("x")]))),
        ("text", condition("name", "startsWith", text("n1"))),
        (
            "or",
            Document::map([("or", array(&[condition("age", "<", number(22)), condition("name", "=", text("n3"))]))]),
        ),
        ("not", Document::map([("not", condition("tags", "contains", text("b")))])),
    ];
    for (name, filter) in queries {
        let query = Document::map([
            ("table", text("users")),
            ("where", filter),
            ("sort", array(&[Document::map([("field", text("age")), ("order", text("desc"))])])),
            ("limit", number(5)),
            ("offset", number(1)),
            ("fields", array(&[text("name")])),
        ]);
        write("query", name, &[&[0], query.encode().expect("encodes").as_slice()].concat())?;
    }
    let groups = Document::map([
        ("table", text("users")),
        ("groupBy", text("age")),
        (
            "aggregates",
            Document::map([
                ("n", text("count")),
                ("top", Document::map([("function", text("max")), ("field", text("name"))])),
            ]),
        ),
        ("using", text("scan")),
    ]);
    write("query", "groups", &[&[0], groups.encode().expect("encodes").as_slice()].concat())?;
    let operation = |kind: &str, key: i64, more: &[(&'static str, Document)]| {
        let fixed = [("type", text(kind)), ("table", text("users")), ("key", number(key))];
        Document::map(fixed.into_iter().chain(more.iter().cloned()))
    };
    let batch = array(&[
        operation("set", 3, &[("value", Document::map([("age", number(4))]))]),
        operation("update", 4, &[("value", Document::map([("name", text("new"))]))]),
        operation("increment", 5, &[("field", text("age")), ("amount", number(2))]),
        operation("get", 6, &[]),
        operation("delete", 7, &[]),
    ]);
    write("query", "batch", &[&[1], batch.encode().expect("encodes").as_slice()].concat())?;
    write("query", "pieces", &[&[3], batch.encode().expect("encodes").as_slice()].concat())?;

    let value = Document::map([
        ("list", array(&[number(-1), Document::Float(0.5), Document::Boolean(true), Document::Nil])),
        ("map", Document::Map(vec![(number(1), text("one")), (Document::Boolean(false), array(&[]))])),
    ]);
    write("value", "tree", &value.encode().expect("encodes"))?;
    let function = std::fs::read(folder.join("blob/counter"))?;
    let blob = Document::Blob { kind: 1, bytes: cu_fuzz::sealed(*b"\x1bCuF", &function) };
    write("value", "function", &array(&[blob]).encode().expect("encodes"))
}
