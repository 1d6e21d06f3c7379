//! External tables: fixtures with their output, a model, saved state that refers to them, limits.

mod harness;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use cu_persist::{
    Access, Answer, External, ExternalOptions, FunctionPolicy, HomeOptions, Limits, RemoteHost, RemoteRequest,
    RemoteTables, Request, Save, StoredHome, StoredTables, Tables, load_image, save_image,
};
use cu_storage::{Database, MemoryBackend, Options as StorageOptions, ScanOptions, block_on};
use cu_vm::image::HostParts;
use cu_vm::{Host, Options, RunError, Step, Vm};
use harness::FUEL;

/// Collects what is printed.
struct Printer(Rc<RefCell<Vec<u8>>>);

impl Host for Printer {
    fn write(&mut self, bytes: &[u8]) {
        self.0.borrow_mut().extend_from_slice(bytes);
    }
}

struct Session {
    vm: Vm,
    external: External,
    database: Rc<Database>,
    printed: Rc<RefCell<Vec<u8>>>,
}

fn storage_options() -> StorageOptions {
    StorageOptions { page_size: 512, checkpoint_log_bytes: 20_000, ..StorageOptions::default() }
}

fn open(store: &MemoryBackend) -> Rc<Database> {
    let options = StorageOptions { page_size: 8192, ..storage_options() };
    Rc::new(block_on(Database::open(store.clone(), options)).expect("it opens"))
}

impl Session {
    fn new(store: &MemoryBackend) -> Session {
        Session::with(store, 16 << 20, options())
    }

    fn with(store: &MemoryBackend, heap_limit: usize, options: ExternalOptions) -> Session {
        let printed = Rc::<RefCell<Vec<u8>>>::default();
        let host = Box::new(Printer(printed.clone()));
        let vm = Vm::new(Options { heap_limit, host, ..Options::default() });
        let database = open(store);
        let external = External::new(StoredTables::new(database.clone()), options);
        external.open(&vm).expect("it fits");
        Session { vm, external, database, printed }
    }

    fn try_run(&mut self, source: &str) -> Result<(), RunError> {
        let chunk = self.vm.load(source.as_bytes(), "=test").unwrap_or_else(|error| panic!("{error} in {source}"));
        let result = self.vm.run(&chunk, FUEL, |_, _| ());
        self.vm.enter(|context| context.release(chunk));
        self.external.end_run();
        result
    }

    /// Runs code and gives what it printed.
    #[track_caller]
    fn run(&mut self, source: &str) -> String {
        self.try_run(source).unwrap_or_else(|error| panic!("{error} in {source}"));
        String::from_utf8_lossy(&std::mem::take(&mut *self.printed.borrow_mut())).into_owned()
    }
}

/// Functions are allowed; one table may not be used, another only read.
fn options() -> ExternalOptions {
    let access = |name: &str, access| match name {
        "forbidden" => false,
        "readonly" => access == Access::Read,
        _ => true,
    };
    ExternalOptions { functions: FunctionPolicy::Allow(Save::default()), access: Some(Box::new(access)) }
}

#[test]
fn fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/external");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_none_or(|extension| extension != "lua") {
            continue;
        }
        count += 1;
        let source = std::fs::read(&path).expect("it can be read");
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        let mut session = Session::new(&MemoryBackend::new());
        let chunk = session.vm.load(&source, &format!("@{name}")).unwrap_or_else(|error| panic!("{error}"));
        session.vm.run(&chunk, FUEL, |_, _| ()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let printed = session.printed.take();
        let expected = std::fs::read(path.with_extension("out")).expect("there is an expected output");
        assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&expected), "{name}");
        let report = block_on(session.database.check()).expect("it can be read");
        assert!(report.problems.is_empty(), "{name}: {report:?}");
    }
    assert!(count >= 6, "only {count} fixtures");
}

/// A store that answers later: the request waits until it is carried out between two steps.
#[derive(Clone)]
struct Late {
    tables: Rc<StoredTables>,
    asked: Rc<RefCell<Option<Request>>>,
    answer: Rc<RefCell<Option<cu_persist::Result<Answer>>>>,
}

impl Tables for Late {
    fn answer(&self, request: &Request) -> cu_persist::Result<Option<Answer>> {
        match self.answer.take() {
            Some(answer) => {
                assert_eq!(self.asked.take().as_ref(), Some(request), "the same request comes again");
                answer.map(Some)
            }
            None => {
                *self.asked.borrow_mut() = Some(request.clone());
                Ok(None)
            }
        }
    }

    fn in_transaction(&self) -> bool {
        self.tables.in_transaction()
    }

    fn roll_back_all(&self) {
        self.tables.roll_back_all();
    }
}

/// Programs of `fixtures/external`.
const PROGRAMS: [&str; 6] = ["access", "traversal", "queries", "transactions", "errors", "functions"];

fn fixture(name: &str, extension: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/external");
    std::fs::read(folder.join(name).with_extension(extension)).expect("it can be read")
}

/// A VM with such a program started, and what it prints.
fn started(name: &str, external: &External) -> (Vm, Rc<RefCell<Vec<u8>>>) {
    let printed = Rc::<RefCell<Vec<u8>>>::default();
    let host = Box::new(Printer(printed.clone()));
    let mut vm = Vm::new(Options { heap_limit: 16 << 20, host, ..Options::default() });
    external.open(&vm).expect("it fits");
    let chunk = vm.load(&fixture(name, "lua"), &format!("@{name}.lua")).expect("it compiles");
    vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("it starts");
    (vm, printed)
}

/// Programs print the same and use the same fuel, whether the store answers at once or later.
#[test]
fn runs_wait_for_answers() {
    for name in PROGRAMS {
        let run = |is_late: bool| {
            let tables = StoredTables::new(open(&MemoryBackend::new()));
            let late = Late { tables: Rc::new(tables), asked: Rc::default(), answer: Rc::default() };
            let external = if is_late {
                External::new(late.clone(), options())
            } else {
                External::new(StoredTables::new(open(&MemoryBackend::new())), options())
            };
            let (mut vm, printed) = started(name, &external);
            let mut waits = 0;
            loop {
                match vm.step(FUEL).expect("it runs") {
                    Step::Waiting => {
                        waits += 1;
                        let request = late.asked.borrow().clone().expect("something was asked");
                        *late.answer.borrow_mut() = Some(late.tables.answer_now(&request));
                    }
                    step => break assert_eq!(step, Step::Finished, "{name}"),
                }
            }
            assert_eq!(is_late, waits > 0);
            (String::from_utf8_lossy(&printed.take()).into_owned(), vm.fuel_used())
        };
        assert_eq!(run(true), run(false), "{name}");
    }
}

/// A request with the name of its table and its bytes.
type Asked = (RemoteRequest, String, Vec<u8>);

/// A host that is handed bytes, and answers them by what a page has of the engine: batches, queries, definitions as bytes. Half of its answers come later.
#[derive(Clone)]
struct Bytes {
    tables: Rc<StoredTables>,
    asked: Rc<RefCell<Vec<Asked>>>,
    is_late: bool,
}

impl Bytes {
    fn carry_out(&self, request: RemoteRequest, table: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let answer = |request: Request| self.tables.answer_now(&request).map_err(|error| error.to_string());
        // Errors begin with the table's name there.
        let bare = |error: String| error.strip_prefix(&format!("{table}: ")).unwrap_or(&error).to_owned();
        let document = |bytes| cu_storage::Document::decode(bytes).expect("it is a document");
        let answered = match request {
            RemoteRequest::Get => answer(Request::Get(table.into(), document(bytes))),
            RemoteRequest::Batch => match cu_storage::parse_batch(bytes).expect("it is a batch").as_slice() {
                [cu_storage::Operation::Set { collection, key, value }] => {
                    answer(Request::Set(collection.clone(), key.clone(), value.decode().expect("it is one")))
                }
                [cu_storage::Operation::Delete { collection, key }] => {
                    answer(Request::Set(collection.clone(), key.clone(), cu_storage::Document::Nil))
                }
                other => panic!("{other:?}"),
            },
            RemoteRequest::Query => answer(Request::Query(cu_storage::parse_query(bytes).map_err(|e| e.to_string())?)),
            RemoteRequest::Index => {
                let definition = cu_storage::IndexDefinition::from_document(&document(bytes)).expect("it is one");
                answer(Request::Index(table.into(), definition))
            }
            RemoteRequest::Begin => answer(Request::Begin),
            RemoteRequest::Commit => answer(Request::Commit),
            RemoteRequest::RollBack => answer(Request::RollBack),
            RemoteRequest::RollBackAll => {
                self.tables.roll_back_all();
                Ok(Answer::Done)
            }
        };
        match answered.map_err(bare)? {
            Answer::Done => Ok(Vec::new()),
            Answer::Value(value) => Ok(value.unwrap_or_default().encode().expect("it is one")),
            Answer::Rows { rows, examined, cursor, matched } => {
                let row = |(key, value)| cu_storage::Document::map([("key", key), ("value", value)]);
                let count = |count: u64| cu_storage::Document::Integer(count.cast_signed());
                let answer = cu_storage::Document::map([
                    ("rows", cu_storage::Document::Array(rows.into_iter().map(row).collect())),
                    ("cursor", cursor.unwrap_or_default()),
                    ("examined", count(examined)),
                    ("matched", count(matched)),
                ]);
                Ok(answer.encode().expect("it is one"))
            }
        }
    }
}

impl RemoteHost for Bytes {
    fn ask(&self, request: RemoteRequest, table: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut asked = self.asked.borrow_mut();
        asked.push((request, table.to_owned(), bytes.to_vec()));
        if self.is_late && asked.len().is_multiple_of(2) && request != RemoteRequest::RollBackAll {
            return Ok(None);
        }
        drop(asked);
        self.carry_out(request, table, bytes).map(Some)
    }
}

/// Programs print the same over bytes, and use the same fuel whether answers come at once or later.
#[test]
fn requests_cross_as_bytes() {
    for name in PROGRAMS {
        let run = |is_late: bool| {
            let stored = Rc::new(StoredTables::new(open(&MemoryBackend::new())));
            let tables = RemoteTables::new(Bytes { tables: stored, asked: Rc::default(), is_late });
            let external = External::new(tables.clone(), options());
            let (mut vm, printed) = started(name, &external);
            while vm.step(FUEL).expect("it runs") == Step::Waiting {
                assert!(tables.waits());
                let (request, table, bytes) = tables.host().asked.borrow().last().cloned().expect("it has asked");
                tables.answer_with(tables.host().carry_out(request, &table, &bytes));
            }
            assert!(!vm.is_running());
            external.end_run();
            assert!(!tables.in_transaction());
            (String::from_utf8_lossy(&printed.take()).into_owned(), vm.fuel_used())
        };
        let at_once = run(false);
        assert_eq!(run(true), at_once, "{name}");
        assert_eq!(at_once.0, String::from_utf8_lossy(&fixture(name, "out")), "{name}");
    }
}

/// However a run ends that waits or has a transaction open, the host is told to undo it, and the next run is not given an old answer.
#[test]
fn a_run_that_is_given_up_undoes_its_transaction() {
    let stored = Rc::new(StoredTables::new(open(&MemoryBackend::new())));
    // Half of them end when an answer has come that the run has not looked at.
    for (stop, is_answered) in (0..).flat_map(|stop| [(stop, false), (stop, true)]) {
        let mut vm = Vm::new(Options::default());
        let tables = RemoteTables::new(Bytes { tables: stored.clone(), asked: Rc::default(), is_late: true });
        let external = External::new(tables.clone(), options());
        external.open(&vm).expect("it fits");
        let program = b"local t = ext.table('t') t.kept = 1
            ext.transaction(function() t.x = 1 ext.transaction(function() t.y = t.x end) t.z = 2 while true do end end)";
        let chunk = vm.load(program, "=open").expect("it compiles");
        vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("it starts");
        let mut waits = 0;
        let step = loop {
            match vm.step(100_000).expect("it runs") {
                Step::Waiting if waits < stop => {
                    waits += 1;
                    let (request, table, bytes) = tables.host().asked.borrow().last().cloned().expect("it has asked");
                    tables.answer_with(tables.host().carry_out(request, &table, &bytes));
                }
                step => break step,
            }
        };
        if step == Step::Waiting && is_answered {
            let (request, table, bytes) = tables.host().asked.borrow().last().cloned().expect("it has asked");
            tables.answer_with(tables.host().carry_out(request, &table, &bytes));
        }
        vm.abort();
        external.end_run();
        assert!(!tables.in_transaction() && !tables.waits() && !stored.in_transaction());
        let found = |key: &str| stored.answer_now(&Request::Get("t".into(), cu_storage::Document::text(key)));
        for key in ["x", "y", "z"] {
            assert_eq!(found(key), Ok(Answer::Value(None)), "{key} after {stop}");
        }
        if step == Step::OutOfFuel {
            assert!(stop >= 3, "{stop}");
            break;
        }
    }
}

/// Does the same at random to an external table and to a plain one, and compares all that can be seen of them.
const MODEL: &str = r#"
math.randomseed(seed)
local random = math.random
local external, model = ext.table("model"), {}
local strings = {"", "a", "aa", "b", "k\0", "\xff", "zz"}
local function a_key()
  local kind = random(10)
  if kind <= 5 then return random(-3, 12) end
  if kind <= 7 then return random(-6, 20) / 2 end
  if kind == 8 then return random(2) == 1 end
  return strings[random(#strings)]
end
local function a_value(depth)
  local kind = random(7)
  if kind == 1 and depth < 3 then
    local list = {}
    for i = 1, random(0, 4) do list[i] = a_value(depth + 1) end
    return list
  elseif kind == 2 and depth < 3 then
    return {n = random(100), s = strings[random(#strings)], deep = a_value(depth + 1)}
  end
  return ({random(1000), random() * 8, strings[random(#strings)], random(2) == 1, random(1000), {n = random(9)}, "x"})[kind]
end
local function same(a, b)
  local kind_a, shown_a = show(a)
  local kind_b, shown_b = show(b)
  return kind_a == kind_b and shown_a == shown_b
end
local ranks = {boolean = 1, number = 2, string = 3}
local function before(a, b)
  local rank_a, rank_b = ranks[type(a)], ranks[type(b)]
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a == 1 then return not a and b end
  return a < b
end
local function sorted()
  local keys = {}
  for key in pairs(model) do keys[#keys + 1] = key end
  table.sort(keys, before)
  return keys
end
local function compare()
  local keys, at = sorted(), 0
  for key, value in pairs(external) do
    at = at + 1
    assert(key == keys[at] and math.type(key) == math.type(keys[at]), "order of keys")
    assert(same(value, model[key]), "value")
  end
  assert(at == #keys, "number of entries")
  local border = #external
  assert((border == 0 or model[border] ~= nil) and model[border + 1] == nil, "border")
  assert(external:where():count() == #keys, "count")
end
local function change()
  local key = a_key()
  local value = random(3) > 1 and a_value(0) or nil
  external[key], model[key] = value, value
end
local steps = {
  change, change, change,
  function() local key = a_key() assert(same(external[key], model[key]), "read") end,
  function()
    local value = random(50)
    external[#external + 1] = value
    local place
    for _, key in ipairs(sorted()) do if math.type(key) == "integer" and key >= 1 then place = key end end
    model[(place or 0) + 1] = value
  end,
  function()
    local key, found = a_key(), nil
    for _, other in ipairs(sorted()) do if before(key, other) then found = other break end end
    local next_key, value = next(external, key)
    assert(next_key == found and (found == nil or same(value, model[found])), "next")
  end,
  function()
    local limit, expected = random(60), {}
    for _, key in ipairs(sorted()) do
      local value = model[key]
      if type(value) == "table" and type(value.n) == "number" and value.n >= limit then expected[#expected + 1] = key end
    end
    local _, keys = external:where("n", ">=", limit):all()
    assert(same(keys, expected), "query")
  end,
  function() if random(4) == 1 then external:index("n") end end,
  function()
    local copy, fails = {}, random(2) == 1
    for key, value in pairs(model) do copy[key] = value end
    local function body()
      for _ = 1, random(6) do change() end
      compare()
      if random(3) == 1 then
        local inner = {}
        for key, value in pairs(model) do inner[key] = value end
        if not pcall(ext.transaction, function() change() change() if random(2) == 1 then error("inner") end end) then
          model = inner
        end
      end
      if fails then error("outer") end
    end
    if not pcall(ext.transaction, body) then
      assert(fails, "only what was meant to fails")
      model = copy
    end
  end,
}
for _ = 1, 80 do
  steps[random(#steps)]()
  if random(5) == 1 then compare() end
end
compare()
"#;

/// What both programs print values with, and all that is in the table.
const SHOW: &str = r#"local function show(value)
  if type(value) ~= "table" then return math.type(value) or type(value), value end
  local parts = {}
  for key, content in pairs(value) do
    local kind, text = show(content)
    parts[#parts + 1] = string.format("%s:%s=%s:%s", math.type(key) or type(key), key, kind, text)
  end
  table.sort(parts)
  return "table", "{" .. table.concat(parts, ",") .. "}"
end
local function show_all()
  for key, value in pairs(ext.table("model")) do
    local kind, shown = show(value)
    print(math.type(key) or type(key), key, kind, shown)
  end
end
"#;

#[test]
fn random_programs_agree_with_a_plain_table() {
    for seed in 0..60 {
        let store = MemoryBackend::new();
        let mut session = Session::new(&store);
        let source = format!("{SHOW} local seed = {seed} {MODEL} show_all()");
        session.try_run(&source).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let shown = session.printed.take();
        let report = block_on(session.database.check()).expect("it can be read");
        assert!(report.problems.is_empty(), "seed {seed}: {report:?}");
        // What a crash now would leave is the same.
        let again = Session::new(&store.copy()).run(&format!("{SHOW} show_all()"));
        assert_eq!(again, String::from_utf8_lossy(&shown), "seed {seed}");
    }
}

#[test]
fn what_a_run_leaves_open_is_undone() {
    let store = MemoryBackend::new();
    let mut session = Session::new(&store);
    let chunk = session
        .vm
        .load(b"ext.table('t').a = 1 ext.transaction(function() ext.table('t').a = 2 while true do end end)", "=open")
        .expect("it compiles");
    session.vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("it starts");
    assert_eq!(session.vm.step(100_000), Ok(Step::OutOfFuel));
    session.vm.abort();
    session.external.end_run();
    assert_eq!(session.run("print(ext.table('t').a)"), "1\n");
    assert_eq!(session.run("ext.transaction(function() ext.table('t').b = 3 end) print(ext.table('t').b)"), "3\n");
}

#[test]
fn work_is_paid_for() {
    let mut session = Session::new(&MemoryBackend::new());
    session.run("local t = ext.table('t') for i = 1, 1000 do t[i] = {n = i, text = ('x'):rep(100)} end");
    let mut fuel = |source: &str| {
        session.run(source);
        session.vm.fuel_used()
    };
    let get = fuel("local x = ext.table('t')[5]");
    assert!(get > 200, "{get}");
    let scan = fuel("ext.table('t'):where('n', '=', 5):count()");
    assert!(scan > 1000 * 100, "each document looked at is paid for: {scan}");
    let large = fuel("ext.table('t').large = ('x'):rep(100000)");
    assert!(large > 25_000, "each byte is paid for: {large}");
}

#[test]
fn values_have_to_fit_into_the_heap() {
    let store = MemoryBackend::new();
    Session::new(&store).run(
        "local t, list = ext.table('t'), {} for i = 1, 30000 do list[i] = i * 1.5 end t.large = list t.small = {1} t.text = ('x'):rep(2000000)",
    );
    let mut session = Session::with(&store, 256 << 10, options());
    let printed = session.run(
        "local t = ext.table('t')
        print(pcall(function() return t.large end))
        print(pcall(function() return t.text end))
        print(pcall(function() return t:where():all() end))
        print(t.small[1])",
    );
    let refusal = "false\tnot enough memory\n";
    assert_eq!(printed, format!("{refusal}{refusal}{refusal}1\n"));
}

/// `_home` refers to external tables by name, and the filter of the host that reads it decides.
#[test]
fn saved_state_refers_to_tables_by_name() {
    let store = MemoryBackend::new();
    let mut session = Session::new(&store);
    session.run("users = ext.table('users') users.a = {n = 1}");
    let home = |vm: &Vm, external: &External, database: Rc<Database>| {
        let options = HomeOptions { userdata: external.codec(), ..HomeOptions::default() };
        StoredHome::attach(vm, database, options).expect("it can be read")
    };
    let kept = home(&session.vm, &session.external, session.database.clone());
    session.run("local users = users _home.users = users _home.ones = users:where('n', 1) function _home.add(key) users[key] = {n = 2} return users[key].n end");
    kept.commit(&session.vm).expect("it can be saved");
    drop((kept, session));

    let mut session = Session::new(&store);
    let _kept = home(&session.vm, &session.external, session.database.clone());
    assert_eq!(
        session.run("print(_home.ones:count(), _home.users.a.n, _home.add('b'), _home.users == ext.table('users'))"),
        "1\t1\t2\ttrue\n"
    );
    drop((_kept, session));

    let denied = ExternalOptions { access: Some(Box::new(|_, _| false)), ..ExternalOptions::default() };
    let mut session = Session::with(&store, 16 << 20, denied);
    let _kept = home(&session.vm, &session.external, session.database.clone());
    let printed = session.run("print(pcall(function() return _home.users.a end))");
    assert_eq!(printed, "false\ttest:1: external table 'users' may not be used here\n");
}

#[test]
fn functions_are_refused_unless_allowed() {
    let options = ExternalOptions::default();
    let mut session = Session::with(&MemoryBackend::new(), 16 << 20, options);
    let printed =
        session.run("print(pcall(function() ext.table('t').x = {f = print} end)) print(next(ext.table('t')))");
    assert_eq!(printed, "false\ttest:1: t.x.f: functions are not allowed here\nnil\n");
}

/// A run that stops in the middle of `each` goes on in another VM over the same database.
#[test]
fn images_go_on_in_a_query() {
    let store = MemoryBackend::new();
    let mut session = Session::new(&store);
    session.run("local t = ext.table('t') for i = 1, 150 do t[i] = {n = i} end");
    let program = "local t = ext.table('t')
        print(select(2, t:where('n', '>', 10):sort('n', 'desc'):limit(130):first()), #t)
        t:where('n', '>', 10):sort('n', 'desc'):limit(130):each(function(row, key) print(row.n, key, t[key].n) end)
        for key, value in pairs(t) do io = key end print(io)";
    let whole = session.run(program);
    for fuel in [5_000, 20_000, 60_001, 90_001] {
        let mut session = Session::new(&store);
        let chunk = session.vm.load(program.as_bytes(), "=test").expect("it compiles");
        session.vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("it starts");
        assert_eq!(session.vm.step(fuel), Ok(Step::OutOfFuel), "{fuel}");
        let image = save_image(&session.vm, &*session.external.codec(), b"", &Limits::default()).expect("it is saved");
        assert!(load_image(&image, Options::default(), &HostParts::NONE, &Limits::default()).is_err());

        let external = External::new(StoredTables::new(open(&store)), options());
        let (natives, codec) = (External::natives(), external.codec());
        let parts = HostParts { natives: &natives, userdata: &*codec };
        let host = Box::new(Printer(session.printed.clone()));
        let options = Options { heap_limit: 16 << 20, host, ..Options::default() };
        let mut vm = load_image(&image, options, &parts, &Limits::default()).expect("it loads").vm;
        assert_eq!(vm.step(FUEL), Ok(Step::Finished), "{fuel}");
        assert_eq!(String::from_utf8_lossy(&session.printed.take()), whole, "{fuel}");
    }
}

/// Half a transaction is not saved: elsewhere it could be neither kept nor undone.
#[test]
fn an_open_transaction_is_in_no_image() {
    let mut session = Session::new(&MemoryBackend::new());
    let program = b"ext.transaction(function() ext.table('t').x = 1 ext = nil while true do end end)";
    let chunk = session.vm.load(program, "=test").expect("it compiles");
    session.vm.start(|context| (context.fetch(&chunk), Vec::new())).expect("it starts");
    assert_eq!(session.vm.step(50_000), Ok(Step::OutOfFuel));
    let error = save_image(&session.vm, &*session.external.codec(), b"", &Limits::default()).expect_err("it is open");
    assert_eq!(error.code(), "notPersistable");
}

/// Every write of a workload of transactions fails once: what a crash would leave is a state between two transactions.
#[test]
fn transactions_survive_crashes_as_a_whole() {
    use cu_storage::{Error, WriteFault};
    const TRANSFER: &str = "local t = ext.table('accounts')
        ext.transaction(function()
          t.round = (t.round or 0) + 1
          for i = 1, 5 do t[i] = (t[i] or 0) + (i == t.round % 5 + 1 and 4 or -1) t['x' .. i] = ('x'):rep(t.round * 20) end
        end)
        t:index('$value')";
    let sums = |store: &MemoryBackend| -> (i64, i64) {
        let database = open(&store.copy());
        let rows = block_on(database.scan("accounts", &ScanOptions::default())).expect("it can be read");
        let integer = |row: &cu_storage::Row| match row.value.decode() {
            Ok(cu_storage::Document::Integer(number)) => number,
            _ => 0,
        };
        let round = rows.iter().find(|row| row.key == cu_storage::Document::text("round")).map_or(0, integer);
        let total: i64 =
            rows.iter().filter(|row| matches!(row.key, cu_storage::Document::Integer(_))).map(integer).sum();
        (round, total)
    };
    let counted = MemoryBackend::new();
    let mut session = Session::new(&counted);
    for _ in 0..8 {
        session.run(TRANSFER);
    }
    assert_eq!(sums(&counted), (8, 0));
    for number in 0..counted.writes() {
        for fault in [WriteFault::Fail(Error::Quota), WriteFault::LoseAnswer] {
            let store = MemoryBackend::new();
            store.fail_write(number, fault);
            let mut session = Session::new(&store);
            for done in 0..8 {
                if session.try_run(TRANSFER).is_err() {
                    let (round, total) = sums(&store);
                    assert!(total == 0 && (done..=done + 1).contains(&round), "write {number}: {round} {total}");
                    session = Session::new(&store.copy());
                    break;
                }
            }
            let printed =
                session.run("print(ext.transaction(function() ext.table('accounts').after = 1 return 'goes on' end))");
            assert_eq!(printed, "goes on\n");
        }
    }
}
