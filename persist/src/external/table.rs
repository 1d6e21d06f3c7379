//! What an external table answers to: access by key, length, traversal, its methods.

use cu_storage::{Document, Filter, IndexDefinition, IndexKind, Operator, Query};
use cu_vm::{Action, Call, Error as LuaError, NativeDefinition, Value};

use super::{Access, Answer, External, ExternalTable, NAME_BYTES_MAX, Request, entry_name, query, source, waiting};

type Result<'gc, T = Action> = std::result::Result<T, LuaError<'gc>>;

/// The fields of the metatable. `__next` is what `next` calls for a userdata.
pub(super) const METHODS: &[NativeDefinition] = &[
    waiting!("ext.table.__index", index),
    waiting!("ext.table.__newindex", new_index),
    waiting!("ext.table.__len", length),
    waiting!("ext.table.__eq", equals),
    waiting!("ext.table.__pairs", pairs),
    waiting!("ext.table.__next", next),
    waiting!("ext.table.get", get),
    waiting!("ext.table.set", set),
    waiting!("ext.table.index", create_index),
    waiting!("ext.table.where", query::of_table),
];

/// Keys that read as methods.
const RESERVED: [&[u8]; 4] = [b"get", b"set", b"index", b"where"];

/// `ext.table(name)`.
pub(super) fn table<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let name = call.check_string(1)?.as_bytes();
    let name = match std::str::from_utf8(name) {
        Ok(name) if (1..=NAME_BYTES_MAX).contains(&name.len()) => name,
        Ok(_) => return Err(call.arg_error(1, &format!("a name has 1 to {NAME_BYTES_MAX} bytes"))),
        Err(_) => return Err(call.arg_error(1, "a name is UTF-8")),
    };
    let Some(external) = source(call) else { return Err(call.error("saved call is damaged")) };
    external.check(name, Access::Read).map_err(|refusal| call.error(refusal))?;
    let table = external.table(call.context(), name.to_owned());
    call.return_value(table)
}

/// Argument 1, if scripts may do that with it.
pub(super) fn receiver<'gc>(call: &Call<'_, 'gc>, access: Access) -> Result<'gc, (External, String)> {
    let Value::Userdata(userdata) = call.arg(1) else { return Err(call.type_error(1, "external table")) };
    let Some(table) = userdata.downcast::<ExternalTable>() else { return Err(call.type_error(1, "external table")) };
    table.external.check(&table.name, access).map_err(|refusal| call.error(refusal))?;
    Ok((table.external.clone(), table.name.clone()))
}

/// A key as documents have it; `None` for what is no key of any entry.
fn key_document(key: Value<'_>) -> Option<Document> {
    Some(match key {
        Value::Boolean(boolean) => Document::Boolean(boolean),
        Value::Integer(integer) => Document::Integer(integer),
        Value::Float(float) if float.is_nan() => return None,
        Value::Float(float) => key.to_integer().map_or(Document::Float(float), Document::Integer),
        Value::String(string) => Document::String(string.as_bytes().to_vec()),
        _ => return None,
    })
}

fn index<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    if let Value::String(name) = call.arg(2)
        && RESERVED.contains(&name.as_bytes())
    {
        let method = call.context().permanent(&[b"ext.table.", name.as_bytes()].concat());
        return call.return_value(method);
    }
    get(call)
}

/// `users:get(key)`.
fn get<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let (external, name) = receiver(call, Access::Read)?;
    let key = call.arg(2);
    let Some(document) = key_document(key) else { return call.return_value(Value::Nil) };
    let value = match external.ask(call, &Request::Get(name.clone(), document))? {
        Answer::Value(Some(document)) => external.value(call, &entry_name(&name, key), &document)?,
        _ => Value::Nil,
    };
    call.return_value(value)
}

fn new_index<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    if let Value::String(name) = call.arg(2)
        && RESERVED.contains(&name.as_bytes())
    {
        let name = name.to_string_lossy();
        return Err(call.error(format!("'{name}' is a method; use :set('{name}', value)")));
    }
    set(call)
}

/// `users:set(key, value)`.
fn set<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let (external, name) = receiver(call, Access::Write)?;
    let (key, value) = (call.arg(2), call.arg(3));
    let Some(document) = key_document(key) else {
        let what = match key {
            Value::Nil => "nil".to_owned(),
            Value::Float(_) => "NaN".to_owned(),
            _ => format!("a {}", key.type_name()),
        };
        return Err(call.error(format!("{name}: key is {what}")));
    };
    let value = external.document(call, &entry_name(&name, key), value)?;
    external.ask(call, &Request::Set(name, document, value))?;
    call.return_none()
}

/// The largest integer key from 1 on. Floats may lie between, so a few keys are looked at at a time.
fn length<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let (external, name) = receiver(call, Access::Read)?;
    let range = Document::Array(vec![Document::Integer(1), Document::Integer(i64::MAX)]);
    let filter = Filter::field("$key", Operator::Between, range);
    let fields = Some(Vec::new());
    let mut query = Query { limit: Some(1), fields, ..Query::new(&name, filter) };
    query = query.order_by("$key", cu_storage::Direction::Backward);
    while let Answer::Rows { rows, cursor, .. } = external.ask(call, &Request::Query(query.clone()))? {
        let found = rows.iter().find_map(|(key, _)| match key {
            Document::Integer(integer) => Some(*integer),
            _ => None,
        });
        if let Some(length) = found {
            return call.return_value(Value::Integer(length));
        }
        if cursor.is_none() {
            break;
        }
        query.after = cursor;
        query.limit = Some(64);
    }
    call.return_value(Value::Integer(0))
}

/// Two userdata of one table are equal.
fn equals<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let name = |value| match value {
        Value::Userdata(userdata) => userdata.downcast::<ExternalTable>().map(|table| &table.name),
        _ => None,
    };
    let (left, right) = (name(call.arg(1)), name(call.arg(2)));
    call.return_value(Value::Boolean(left.is_some() && left == right))
}

fn pairs<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    receiver(call, Access::Read)?;
    let (next, table) = (call.context().permanent(b"ext.table.__next"), call.arg(1));
    call.return_values(&[next, table, Value::Nil])
}

/// The entry behind a key, in the order of keys. The key itself may be gone.
fn next<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let (external, name) = receiver(call, Access::Read)?;
    let mut key = match (call.arg(2), key_document(call.arg(2))) {
        (Value::Nil, _) => None,
        (_, None) => return Err(call.error("invalid key to 'next'")),
        (_, key) => key,
    };
    loop {
        let Answer::Rows { rows, .. } = external.ask(call, &Request::Next(name.clone(), key))? else {
            return call.return_value(Value::Nil);
        };
        let Some((found, document)) = rows.into_iter().next() else { return call.return_value(Value::Nil) };
        // Lua code has no nil and no arrays as keys; others may have stored such.
        if document == Document::Nil || matches!(found, Document::Nil | Document::Array(_)) {
            key = Some(found);
            continue;
        }
        let found = external.value(call, &name, &found)?;
        let value = external.value(call, &entry_name(&name, found), &document)?;
        return call.return_values(&[found, value]);
    }
}

/// `users:index(field, ...)`.
fn create_index<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let (external, name) = receiver(call, Access::Write)?;
    let mut fields = vec![query::field(call, 2)?];
    for index in 3..=call.arg_count() {
        fields.push(query::field(call, index)?);
    }
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let definition = IndexDefinition::new(&fields, IndexKind::Btree);
    external.ask(call, &Request::Index(name, definition))?;
    call.return_none()
}
