//! `cu db FILE …`: looks into a database file, changes it, checks it, takes it out and brings it in.
//!
//! Keys and documents are JSON on the command line and in the output; a key that is no JSON is a text. A script that is called
//! `db` is run as `cu ./db`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use cu_storage::{
    BatchOptions, ChangePolicy, CheckReport, Control, Database, Document, ExportFormat, FileBackend, Filter,
    IndexDefinition, IndexKind, Operation, Operator, Options, Query, Row, block_on, encode_query_result, from_json,
    parse_query, to_json,
};

use crate::error::Error;
use crate::host::Output;
use crate::{audit, database};

/// What `cu db` shows when it is called wrongly.
pub const USAGE: &str = "\
usage: cu db FILE command
  info                                     collections, indexes, sizes
  check [--repair]                         read everything; keep what can be read
  get COLLECTION [KEY]                     one document, or all with their keys
  set COLLECTION KEY DOCUMENT              store a document
  delete COLLECTION KEY                    remove a document
  query COLLECTION [QUERY] [--explain]     rows; QUERY such as {\"field\":\"age\",\"operator\":\">\",\"value\":30}
  index COLLECTION                         list indexes
  index COLLECTION FIELDS [--hash] [--unique] [--multi] [--sparse]
                                           build an index over FIELDS (a,b for several)
  index COLLECTION --drop NAME             remove an index
  changes [NUMBER]                         what transactions after NUMBER have changed
  changes --on [--values] | --off          keep that from now on, or no longer
  audit list                               the audit log: who has done what, when, and how it ended
  audit verify [NUMBER:HASH]               whether it holds, and has a head that was noted earlier
  export [--binary] [TO]                   write everything as JSON Lines or as frames
  import [FROM]                            take an export in
  bench [RECORDS]                          time loads and queries on a new collection
";

/// Runs what follows `cu db`.
pub fn run(arguments: &[OsString], output: &Output) -> Result<(), Error> {
    let texts = arguments.iter().map(|argument| argument.to_str()).collect::<Option<Vec<&str>>>();
    let texts = texts.ok_or_else(|| usage("arguments must be UTF-8"))?;
    let (flags, words): (Vec<&str>, Vec<&str>) = texts.into_iter().partition(|text| text.starts_with("--"));
    let (file, command, rest) = match words.as_slice() {
        [file, command, rest @ ..] => (Path::new(file), *command, rest),
        _ => return Err(usage("a file and a command are needed")),
    };
    let call = Call { file, flags: &flags, output };
    call.check_flags(command)?;
    if command == "check" && call.has("--repair") {
        return call.repair();
    }
    if !file.exists() && !matches!(command, "set" | "import" | "index" | "bench") {
        return Err(Error::Command(format!("there is no database '{}'", file.display())));
    }
    let database = database::open(file)?;
    let result = call.run(&database, command, rest);
    let closed = call.storage(block_on(database.close()));
    result.and(closed)
}

fn usage(problem: &str) -> Error {
    Error::Command(format!("{problem}\n{}", USAGE.trim_end()))
}

struct Call<'a> {
    file: &'a Path,
    flags: &'a [&'a str],
    output: &'a Output,
}

impl Call<'_> {
    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    fn check_flags(&self, command: &str) -> Result<(), Error> {
        let known: &[&str] = match command {
            "check" => &["--repair"],
            "query" => &["--explain"],
            "index" => &["--hash", "--unique", "--multi", "--sparse", "--drop"],
            "changes" => &["--on", "--values", "--off"],
            "export" => &["--binary"],
            _ => &[],
        };
        match self.flags.iter().find(|flag| !known.contains(flag)) {
            Some(unknown) => Err(usage(&format!("'{command}' has no option '{unknown}'"))),
            None => Ok(()),
        }
    }

    fn storage<T>(&self, result: cu_storage::Result<T>) -> Result<T, Error> {
        result.map_err(|error| Error::Command(format!("{}: {error}", self.file.display())))
    }

    fn line(&self, text: &str) {
        self.output.write_line(text.as_bytes());
    }

    fn run(&self, database: &Database, command: &str, rest: &[&str]) -> Result<(), Error> {
        match (command, rest) {
            ("info", []) => self.info(database),
            ("check", []) => self.check(database),
            ("get", [collection]) => {
                for row in self.storage(block_on(database.scan(collection, &Default::default())))? {
                    self.row(&row)?;
                }
                Ok(())
            }
            ("get", [collection, key]) => {
                match self.storage(block_on(database.get(collection, &key_of(key))))? {
                    Some(document) => self.line(&to_json(&document)),
                    None => return Err(Error::Command(format!("there is no {key} in '{collection}'"))),
                }
                Ok(())
            }
            ("set", [collection, key, document]) => {
                let document = self.storage(from_json(document))?;
                self.storage(block_on(database.set(collection, &key_of(key), &document)))
            }
            ("delete", [collection, key]) => match self.storage(block_on(database.delete(collection, &key_of(key))))? {
                true => Ok(()),
                false => Err(Error::Command(format!("there is no {key} in '{collection}'"))),
            },
            ("query", [collection]) => self.query(database, collection, "{}"),
            ("query", [collection, query]) => self.query(database, collection, query),
            ("index", [collection, name]) if self.has("--drop") => {
                match self.storage(block_on(database.drop_index(collection, name)))? {
                    true => Ok(()),
                    false => Err(Error::Command(format!("'{collection}' has no index '{name}'"))),
                }
            }
            ("index", [collection]) if self.flags.is_empty() => self.indexes(database, collection),
            ("index", [collection, fields]) => self.create_index(database, collection, fields),
            ("changes", []) if self.has("--on") || self.has("--off") => {
                let policy = ChangePolicy { values: self.has("--values"), ..ChangePolicy::default() };
                self.storage(block_on(database.set_change_log(self.has("--on").then_some(policy))))
            }
            ("changes", []) => self.changes(database, 0),
            ("changes", [number]) => match number.parse() {
                Ok(number) => self.changes(database, number),
                Err(_) => Err(usage("NUMBER is a number")),
            },
            ("audit", ["list"]) => audit::list(database, self.output),
            ("audit", ["verify"]) => audit::verify(database, None, self.output),
            ("audit", ["verify", noted]) => audit::verify(database, Some(noted), self.output),
            ("export", [] | [_]) => self.export(database, rest.first().copied()),
            ("import", [] | [_]) => self.import(database, rest.first().copied()),
            ("bench", []) => self.bench(database, 10_000),
            ("bench", [records]) => match records.parse() {
                Ok(records) => self.bench(database, records),
                Err(_) => Err(usage("RECORDS is a number")),
            },
            _ => Err(usage(&format!("'{command}' is no command, or has other arguments"))),
        }
    }

    fn row(&self, row: &Row) -> Result<(), Error> {
        let value = self.storage(row.value.decode())?;
        self.line(&to_json(&Document::map([("key", row.key.clone()), ("value", value)])));
        Ok(())
    }

    fn info(&self, database: &Database) -> Result<(), Error> {
        let statistics = database.statistics();
        self.line(&format!(
            "format {}, {} pages of {} bytes, {} free, commit {}, checkpoint {}, {} bytes of log",
            cu_storage::FORMAT_VERSION,
            statistics.page_count,
            statistics.page_size,
            statistics.free_page_count,
            statistics.sequence,
            statistics.checkpoint,
            statistics.log_bytes
        ));
        for collection in self.storage(block_on(database.collections()))? {
            let schema = if collection.schema.is_some() { ", with a schema" } else { "" };
            self.line(&format!("{}: {} documents{schema}", collection.name, collection.count));
            self.indexes(database, &collection.name)?;
        }
        Ok(())
    }

    fn changes(&self, database: &Database, mut number: u64) -> Result<(), Error> {
        loop {
            let changes = self.storage(block_on(database.changes_since(number, 1000)))?;
            let Some(last) = changes.last() else { return Ok(()) };
            number = last.number;
            for change in &changes {
                let mut fields = vec![
                    ("number", Document::Integer(i64::try_from(change.number).unwrap_or(i64::MAX))),
                    ("collection", Document::text(&change.collection)),
                    ("kind", Document::text(change.kind.name())),
                    ("key", change.key.clone()),
                ];
                if let Some(value) = &change.value {
                    fields.push(("value", self.storage(value.decode())?));
                }
                self.line(&to_json(&Document::map(fields)));
            }
        }
    }

    fn indexes(&self, database: &Database, collection: &str) -> Result<(), Error> {
        let collections = self.storage(block_on(database.collections()))?;
        let found = collections.iter().find(|one| one.name == collection);
        for index in found.map(|one| one.indexes.as_slice()).unwrap_or_default() {
            let definition = &index.definition;
            let mut words = format!("{} ({})", definition.kind.name(), definition.fields.join(", "));
            for (set, word) in
                [(definition.unique, "unique"), (definition.multi, "multi"), (definition.sparse, "sparse")]
            {
                if set {
                    words.push(' ');
                    words.push_str(word);
                }
            }
            self.line(&format!(
                "  {}: {words}, {} entries, {} different",
                definition.name, index.entries, index.distinct
            ));
        }
        Ok(())
    }

    fn create_index(&self, database: &Database, collection: &str, fields: &str) -> Result<(), Error> {
        let fields: Vec<&str> = fields.split(',').collect();
        let kind = if self.has("--hash") { IndexKind::Hash } else { IndexKind::Btree };
        let definition = IndexDefinition {
            unique: self.has("--unique"),
            multi: self.has("--multi"),
            sparse: self.has("--sparse"),
            ..IndexDefinition::new(&fields, kind)
        };
        self.storage(block_on(database.create_index(collection, &definition))).map(drop)
    }

    fn query(&self, database: &Database, collection: &str, query: &str) -> Result<(), Error> {
        let mut request = self.storage(from_json(query))?;
        if let Document::Map(entries) = &mut request {
            entries.push((Document::text("table"), Document::text(collection)));
        }
        let query = self.storage(request.encode().and_then(|bytes| parse_query(&bytes)))?;
        let result = self.storage(block_on(database.query(&query)))?;
        for row in &result.rows {
            self.row(row)?;
        }
        if let Some(cursor) = &result.cursor {
            self.line(&to_json(&Document::map([("cursor", cursor.clone())])));
        }
        if self.has("--explain") {
            let encoded = self.storage(encode_query_result(&result, true))?;
            let answer = self.storage(Document::decode(&encoded))?;
            let plan = answer.get("plan").cloned().unwrap_or_default();
            self.line(&to_json(&Document::map([("plan", plan)])));
        }
        Ok(())
    }

    fn check(&self, database: &Database) -> Result<(), Error> {
        let CheckReport { documents, pages_used, pages_free, problems } = self.storage(block_on(database.check()))?;
        self.line(&format!("{documents} documents, {pages_used} pages used, {pages_free} free"));
        for problem in &problems {
            self.line(&problem.to_string());
        }
        match problems.len() {
            0 => Ok(()),
            count => Err(Error::Command(format!("{}: {count} problems", self.file.display()))),
        }
    }

    fn repair(&self) -> Result<(), Error> {
        let backend = self.storage(FileBackend::open(self.file))?;
        let report = self.storage(block_on(Database::repair(backend, Options::default())))?;
        for problem in &report.problems {
            self.line(&problem.to_string());
        }
        self.line(&format!("{} documents kept, {} lost", report.documents, report.documents_lost));
        Ok(())
    }

    fn export(&self, database: &Database, to: Option<&str>) -> Result<(), Error> {
        let format = if self.has("--binary") { ExportFormat::Binary } else { ExportFormat::JsonLines };
        let mut file = match to {
            Some(path) => Some(File::create(path).map_err(|error| file_error("create", path, &error))?),
            None => None,
        };
        let write = |bytes: &[u8]| match &mut file {
            Some(file) => file.write_all(bytes).map_err(|error| cu_storage::Error::Backend(error.to_string())),
            None => {
                self.output.write(bytes);
                Ok(())
            }
        };
        self.storage(block_on(database.export(format, &Control::default(), write))).map(drop)
    }

    fn import(&self, database: &Database, from: Option<&str>) -> Result<(), Error> {
        let mut reader: Box<dyn Read> = match from {
            Some(path) => Box::new(File::open(path).map_err(|error| file_error("open", path, &error))?),
            None => Box::new(std::io::stdin().lock()),
        };
        let mut import = database.import();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count =
                reader.read(&mut buffer).map_err(|error| file_error("read", from.unwrap_or("stdin"), &error))?;
            if count == 0 {
                break;
            }
            self.storage(block_on(import.feed(&buffer[..count])))?;
        }
        let count = self.storage(block_on(import.finish()))?;
        self.line(&format!("{count} documents"));
        Ok(())
    }

    /// Loads records of about 270 bytes in batches of 1,000, and asks for some.
    fn bench(&self, database: &Database, records: u64) -> Result<(), Error> {
        const NAME: &str = "$bench";
        let records = i64::try_from(records.clamp(1000, 100_000_000)).unwrap_or(i64::MAX);
        self.storage(block_on(database.drop_collection(NAME)))?;
        let timed = |what: &str, count: u64, work: &mut dyn FnMut() -> cu_storage::Result<()>| {
            let start = Instant::now();
            self.storage(work())?;
            let micros = start.elapsed().as_secs_f64() * 1e6;
            self.line(&format!("{what}: {:.1} ms, {:.2} µs each", micros / 1e3, micros / count as f64));
            Ok::<(), Error>(())
        };
        timed("load in batches of 1000", records as u64, &mut || {
            for start in (0..records).step_by(1000) {
                let rows = (start..records.min(start + 1000)).map(|n| Operation::set(NAME, n, &record(n, records)));
                let batch = rows.collect::<cu_storage::Result<Vec<Operation>>>()?;
                block_on(database.batch(&batch, &BatchOptions::default()))?;
            }
            Ok(())
        })?;
        for fields in [&["city"][..], &["age"]] {
            timed(&format!("index {}", fields[0]), records as u64, &mut || {
                block_on(database.create_index(NAME, &IndexDefinition::new(fields, IndexKind::Btree))).map(drop)
            })?;
        }
        let picks: Vec<i64> = (0..1000).map(|n| n * 7919 % records).collect();
        timed("get", 1000, &mut || {
            picks.iter().try_for_each(|n| block_on(database.get_encoded(NAME, &(*n).into())).map(drop))
        })?;
        let ask = |filter: Filter, limit| {
            let query = Query { limit, ..Query::new(NAME, filter) };
            block_on(database.query(&query)).map(drop)
        };
        timed("equality", 1000, &mut || {
            picks.iter().try_for_each(|n| ask(Filter::field("age", Operator::Equal, *n), None))
        })?;
        timed("range, limit 10", 1000, &mut || {
            picks.iter().try_for_each(|n| ask(Filter::field("age", Operator::GreaterOrEqual, *n), Some(10)))
        })?;
        timed("range of a tenth", records as u64 / 10, &mut || {
            ask(Filter::field("age", Operator::Less, records / 10), None)
        })?;
        timed("scan for a part of a text", records as u64, &mut || {
            ask(Filter::field("text", Operator::Contains, "no such text"), None)
        })?;
        self.storage(block_on(database.drop_collection(NAME))).map(drop)
    }
}

fn record(n: i64, records: i64) -> Document {
    Document::map([
        ("name", Document::text(&format!("Person number {n}"))),
        ("mail", Document::text(&format!("person{n}@example.org"))),
        ("city", Document::text(&format!("City {}", n % 97))),
        ("age", Document::Integer(n * 7919 % records)),
        ("active", Document::Boolean(n % 2 == 0)),
        ("text", Document::text(&format!("{n} lorem ipsum dolor sit amet ").repeat(5))),
    ])
}

/// JSON, or else a text.
fn key_of(text: &str) -> Document {
    from_json(text).unwrap_or_else(|_| Document::text(text))
}

fn file_error(action: &'static str, path: &str, error: &std::io::Error) -> Error {
    Error::File { action, path: path.into(), reason: crate::error::system_reason(error) }
}
