//! Queries from Lua: each step of `users:where(…):sort(…):limit(…)` is a userdata that refers to the one before.
//!
//! What a step says lies in its user values, so the heap counts it and saved state holds it. A query is put together when it is run.
//! User values can be anything (`debug.setuservalue`), the table at the beginning only what scripts may use.

use cu_storage::{Aggregate, Direction, Document, Filter, Operator, Query};
use cu_vm::{Action, Call, Context, Error as LuaError, NativeDefinition, TableError, Userdata, Value};

use super::table::receiver;
use super::{Access, Answer, External, ExternalTable, Request, add, entry_name, waiting, weight};

type Result<'gc, T = Action> = std::result::Result<T, LuaError<'gc>>;

/// What the userdata of a step holds.
pub(super) struct Step;

/// The user values of a step: the step or table before, the method's name, its arguments.
const BEFORE: usize = 0;
const METHOD: usize = 1;
const ARGUMENTS: usize = 2;
const USER_VALUES: usize = 5;

/// Steps that a query may have.
const STEPS_MAX: usize = 100;

/// Rows that `each` and `all` read at a time.
const ROWS_PER_READ: u64 = 64;

const METATABLE: &str = "ext.query metatable";

pub(super) const METHODS: &[NativeDefinition] = &[
    waiting!("ext.query.where", narrow),
    waiting!("ext.query.sort", sort),
    waiting!("ext.query.limit", limit),
    waiting!("ext.query.offset", offset),
    waiting!("ext.query.each", each),
    waiting!("ext.query.all", all),
    waiting!("ext.query.first", first),
    waiting!("ext.query.count", count),
];

pub(super) fn install(context: Context<'_>) -> std::result::Result<(), TableError> {
    let metatable = context.table();
    context.add_permanent(METATABLE, Value::Table(metatable))?;
    for &definition in METHODS {
        add(context, metatable, definition, &[])?;
    }
    let string = |text: &str| Value::String(context.string(text.as_bytes()));
    metatable.set(context, string("__index"), Value::Table(metatable))?;
    metatable.set(context, string("__name"), string("query"))?;
    metatable.set(context, string("__metatable"), string("query"))
}

/// A field's name or path.
pub(super) fn field<'gc>(call: &Call<'_, 'gc>, index: usize) -> Result<'gc, String> {
    let field = call.check_string(index)?;
    std::str::from_utf8(field.as_bytes()).map(str::to_owned).map_err(|_| call.arg_error(index, "a field is UTF-8"))
}

/// `users:where(…)`: the first step.
pub(super) fn of_table<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    receiver(call, Access::Read)?;
    narrow_checked(call)
}

fn narrow<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    assemble(call)?;
    narrow_checked(call)
}

fn narrow_checked<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    if call.arg_count() > 1 {
        field(call, 2)?;
        if call.arg_count() > 3 {
            let name = call.check_string(3)?.to_string_lossy();
            Operator::from_name(&name).map_err(|error| call.arg_error(3, &error.to_string()))?;
        } else {
            call.check_any(3)?;
        }
    }
    step(call, "where")
}

fn sort<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    field(call, 2)?;
    call.check_option(3, Some("asc"), &["asc", "desc"])?;
    assemble(call)?;
    step(call, "sort")
}

fn limit<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    counted(call, "limit")
}

fn offset<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    counted(call, "offset")
}

fn counted<'gc>(call: &mut Call<'_, 'gc>, method: &'static str) -> Result<'gc> {
    if call.check_integer(2)? < 0 {
        return Err(call.arg_error(2, "must not be negative"));
    }
    assemble(call)?;
    step(call, method)
}

/// A new step behind argument 1.
fn step<'gc>(call: &mut Call<'_, 'gc>, method: &str) -> Result<'gc> {
    let context = call.context();
    let userdata = Userdata::with_user_values(context, Box::new(Step), USER_VALUES);
    let given = call.arg_count().saturating_sub(1).min(USER_VALUES - ARGUMENTS);
    let values = userdata.user_values();
    values[BEFORE].set(call.arg(1));
    values[METHOD].set(Value::String(context.string(method.as_bytes())));
    for index in 0..given {
        values[ARGUMENTS + index].set(call.arg(2 + index));
    }
    if let Value::Table(metatable) = context.permanent(METATABLE.as_bytes()) {
        context.set_userdata_metatable(userdata, Some(metatable));
    }
    call.return_value(Value::Userdata(userdata))
}

/// Whose table a table is, or a query begins with.
pub(super) fn source(value: Value<'_>) -> Option<External> {
    let mut at = value;
    for _ in 0..=STEPS_MAX {
        let Value::Userdata(userdata) = at else { return None };
        if let Some(table) = userdata.downcast::<ExternalTable>() {
            return Some(table.external.clone());
        }
        userdata.downcast::<Step>()?;
        at = userdata.user_values().get(BEFORE)?.get();
    }
    None
}

/// A query put together.
struct Assembled {
    external: External,
    table: String,
    query: Query,
}

/// What argument 1 and the steps before it say.
fn assemble<'gc>(call: &Call<'_, 'gc>) -> Result<'gc, Assembled> {
    let mut steps = Vec::new();
    let mut at = call.arg(1);
    let (external, table) = loop {
        let Value::Userdata(userdata) = at else { return Err(not_a_query(call, &steps)) };
        if let Some(table) = userdata.downcast::<ExternalTable>() {
            if steps.is_empty() {
                return Err(not_a_query(call, &steps));
            }
            table.external.check(&table.name, Access::Read).map_err(|refusal| call.error(refusal))?;
            break (table.external.clone(), table.name.clone());
        }
        if userdata.downcast::<Step>().is_none() {
            return Err(not_a_query(call, &steps));
        }
        if steps.len() == STEPS_MAX {
            return Err(call.error(format!("a query has at most {STEPS_MAX} steps")));
        }
        steps.push(userdata);
        at = userdata.user_values().get(BEFORE).map_or(Value::Nil, std::cell::Cell::get);
    };
    let mut filters = Vec::new();
    let mut query = Query { collection: table.clone(), ..Query::default() };
    for userdata in steps.into_iter().rev() {
        let value = |index: usize| userdata.user_values().get(index).map_or(Value::Nil, std::cell::Cell::get);
        let text = |index: usize| match value(index) {
            Value::String(text) => text.to_string_lossy().into_owned(),
            _ => String::new(),
        };
        let number = || value(ARGUMENTS).to_integer().unwrap_or(0).max(0) as u64;
        match text(METHOD).as_str() {
            "where" => filters.extend(condition(call, &external, value(ARGUMENTS), value(3), value(4))?),
            "sort" => {
                let direction = if text(3) == "desc" { Direction::Backward } else { Direction::Forward };
                query = query.order_by(&text(ARGUMENTS), direction);
            }
            "limit" => query.limit = Some(number()),
            "offset" => query.offset = number(),
            _ => return Err(call.error("damaged query")),
        }
    }
    query.filter = match filters.len() {
        1 => filters.remove(0),
        _ => Filter::And(filters),
    };
    Ok(Assembled { external, table, query })
}

fn not_a_query<'gc>(call: &Call<'_, 'gc>, steps: &[Userdata<'gc>]) -> LuaError<'gc> {
    if steps.is_empty() { call.type_error(1, "query") } else { call.error("damaged query") }
}

/// The condition of a step; none if it has no arguments.
fn condition<'gc>(
    call: &Call<'_, 'gc>,
    external: &External,
    field: Value<'gc>,
    operator: Value<'gc>,
    value: Value<'gc>,
) -> Result<'gc, Option<Filter>> {
    let Value::String(field) = field else { return Ok(None) };
    let field = field.to_string_lossy();
    let known = match operator {
        Value::String(name) => Operator::from_name(&name.to_string_lossy()).ok(),
        _ => None,
    };
    let (operator, value) = match known {
        Some(operator) if !value.is_nil() => (operator, value),
        _ => (Operator::Equal, operator),
    };
    let value = external.document(call, "value", value)?;
    Ok(Some(Filter::field(&field, operator, value)))
}

/// Rows and how they go on.
struct Rows {
    rows: Vec<(Document, Document)>,
    cursor: Option<Document>,
    matched: u64,
}

impl Assembled {
    fn run<'gc>(&self, call: &mut Call<'_, 'gc>, query: Query) -> Result<'gc, Rows> {
        match self.external.ask(call, &Request::Query(query))? {
            Answer::Rows { rows, cursor, matched, .. } => Ok(Rows { rows, cursor, matched }),
            _ => Ok(Rows { rows: Vec::new(), cursor: None, matched: 0 }),
        }
    }

    /// A row's value and key.
    fn values<'gc>(&self, call: &Call<'_, 'gc>, row: &(Document, Document)) -> Result<'gc, [Value<'gc>; 2]> {
        let key = self.external.value(call, &self.table, &row.0)?;
        Ok([self.external.value(call, &entry_name(&self.table, key), &row.1)?, key])
    }
}

/// `query:first()`.
fn first<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let assembled = assemble(call)?;
    let limit = Some(assembled.query.limit.unwrap_or(1).min(1));
    let found = assembled.run(call, Query { limit, ..assembled.query.clone() })?;
    match found.rows.first() {
        Some(row) => {
            let values = assembled.values(call, row)?;
            call.return_values(&values)
        }
        None => call.return_value(Value::Nil),
    }
}

/// `query:count()`.
fn count<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let assembled = assemble(call)?;
    let Query { limit, offset, .. } = assembled.query;
    let filter = assembled.query.filter.clone();
    let query = Query { aggregates: vec![Aggregate::count("count")], ..Query::new(&assembled.table, filter) };
    let matched = assembled.run(call, query)?.matched.saturating_sub(offset).min(limit.unwrap_or(u64::MAX));
    call.return_value(Value::Integer(i64::try_from(matched).unwrap_or(i64::MAX)))
}

/// The next rows of a query of which `passed` have been read; and whether there may be more.
fn read_on<'gc>(
    call: &mut Call<'_, 'gc>,
    assembled: &Assembled,
    passed: u64,
    cursor: Option<Document>,
) -> Result<'gc, (Rows, bool)> {
    let left = assembled.query.limit.map_or(ROWS_PER_READ, |limit| limit.saturating_sub(passed).min(ROWS_PER_READ));
    let offset = if cursor.is_some() { 0 } else { assembled.query.offset };
    let query = Query { limit: Some(left), offset, after: cursor, ..assembled.query.clone() };
    let rows = assembled.run(call, query)?;
    let has_more = rows.cursor.is_some() && left == ROWS_PER_READ;
    Ok((rows, has_more))
}

/// `query:all()`. Nothing is made before everything is there: a call that waits would make it again.
fn all<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    let assembled = assemble(call)?;
    let mut all = Vec::new();
    let mut bytes = 0;
    let mut cursor = None;
    loop {
        let (rows, has_more) = read_on(call, &assembled, all.len() as u64, cursor)?;
        bytes += rows.rows.iter().map(|(_, value)| weight(value)).sum::<usize>();
        call.context().check_heap(bytes)?;
        all.extend(rows.rows);
        cursor = rows.cursor;
        if !has_more {
            break;
        }
    }
    let (values, keys) = (call.context().table(), call.context().table());
    for (index, row) in (1..).zip(&all) {
        let [value, key] = assembled.values(call, row)?;
        call.set_raw(values, Value::Integer(index), value)?;
        call.set_raw(keys, Value::Integer(index), key)?;
    }
    call.return_values(&[Value::Table(values), Value::Table(keys)])
}

/// Slots of `each` behind its arguments: the rows read, the number of the one that was last, whether more may follow, the position in
/// its encoding, rows read before, and the call.
const VALUES: usize = 0;
const KEYS: usize = 1;
const CURRENT: usize = 2;
const MORE: usize = 3;
const CURSOR: usize = 4;
const PASSED: usize = 5;
const CALL: usize = 6;

const CALLED: u32 = 1;

/// `query:each(f)`.
fn each<'gc>(call: &mut Call<'_, 'gc>) -> Result<'gc> {
    call.check_function(2)?;
    // Slots may be anything in a call that comes from an image.
    let base = 3.max(call.scratch());
    call.reserve(base + CALL + 4)?;
    if call.state() != CALLED {
        read_rows(call, base, None, 0)?;
    }
    loop {
        let integer = |call: &Call<'_, 'gc>, slot: usize| call.slot(base + slot).to_integer().unwrap_or(0).max(0);
        let Value::Table(values) = call.slot(base + VALUES) else { return Err(call.error("saved call is damaged")) };
        let Value::Table(keys) = call.slot(base + KEYS) else { return Err(call.error("saved call is damaged")) };
        let current = integer(call, CURRENT).saturating_add(1);
        let key = keys.get_integer(current);
        if !key.is_nil() {
            call.set_slot(base + CURRENT, Value::Integer(current));
            let (function, value) = (call.arg(2), values.get_integer(current));
            return call.call(base + CALL, function, &[value, key], 0, CALLED);
        }
        if !call.slot(base + MORE).is_truthy() {
            return call.return_none();
        }
        let cursor = match call.slot(base + CURSOR) {
            Value::String(bytes) => Document::decode(bytes.as_bytes()).ok(),
            _ => None,
        };
        let Some(cursor) = cursor else { return Err(call.error("saved call is damaged")) };
        let passed = integer(call, PASSED).saturating_add(current - 1);
        read_rows(call, base, Some(cursor), passed)?;
    }
}

fn read_rows<'gc>(call: &mut Call<'_, 'gc>, base: usize, cursor: Option<Document>, passed: i64) -> Result<'gc, ()> {
    let assembled = assemble(call)?;
    let (rows, has_more) = read_on(call, &assembled, passed as u64, cursor)?;
    let (values, keys) = (call.context().table(), call.context().table());
    for (index, row) in (1..).zip(&rows.rows) {
        let [value, key] = assembled.values(call, row)?;
        call.set_raw(values, Value::Integer(index), value)?;
        call.set_raw(keys, Value::Integer(index), key)?;
    }
    let cursor = match rows.cursor.filter(|_| has_more).and_then(|cursor| cursor.encode().ok()) {
        Some(bytes) => call.new_string(bytes)?,
        None => Value::Nil,
    };
    for (slot, value) in [
        (VALUES, Value::Table(values)),
        (KEYS, Value::Table(keys)),
        (CURRENT, Value::Integer(0)),
        (MORE, Value::Boolean(!cursor.is_nil())),
        (CURSOR, cursor),
        (PASSED, Value::Integer(passed)),
    ] {
        call.set_slot(base + slot, value);
    }
    Ok(())
}
