//! `schemas FOLDER`: runs the official JSON Schema test suite, as the folder of one draft has it, against the schemas of Collections.
//!
//! A schema with a keyword that is no part of the subset must be refused with that keyword's name; all others must give the verdicts that the
//! suite names. A keyword of the subset whose file has no schema left to try fails, too.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cu_storage::{Database, Document, MemoryBackend, Options, block_on};
use serde_json::Value;

/// Files about keywords that the engine knows: every one has schemas that it takes.
const KNOWN: [&str; 28] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "boolean_schema",
    "const",
    "default",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if-then-else",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "required",
    "type",
    "uniqueItems",
];

const REFUSED: &str = "is no keyword of the subset that is checked";

#[derive(Default)]
struct Counts {
    schemas: usize,
    verdicts: usize,
    refused: BTreeMap<String, usize>,
    problems: Vec<String>,
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: schemas FOLDER");
        return ExitCode::FAILURE;
    };
    match run(Path::new(&folder)) {
        Ok(counts) => {
            counts.problems.iter().for_each(|problem| println!("{problem}"));
            let refused: usize = counts.refused.values().sum();
            let keywords: Vec<String> = counts.refused.iter().map(|(name, count)| format!("{name} {count}")).collect();
            println!("{refused} schemas refused for a keyword that is not checked: {}", keywords.join(", "));
            let Counts { schemas, verdicts, problems, .. } = counts;
            println!("{schemas} schemas taken, {verdicts} verdicts as the suite has them, {} problems", problems.len());
            if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path) -> Result<Counts, Box<dyn Error>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut counts = Counts::default();
    let mut tried: BTreeMap<String, usize> = KNOWN.iter().map(|name| ((*name).to_owned(), 0)).collect();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let groups: Vec<Value> = serde_json::from_slice(&std::fs::read(&file)?)?;
        let before = counts.schemas;
        for group in groups {
            try_group(&name, &group, &mut counts)?;
        }
        if let Some(count) = tried.get_mut(&name) {
            *count = counts.schemas - before;
        }
    }
    for (name, _) in tried.into_iter().filter(|(_, count)| *count == 0) {
        counts.problems.push(format!("{name}: no schema was tried"));
    }
    Ok(counts)
}

/// One schema and the documents that the suite has for it.
fn try_group(file: &str, group: &Value, counts: &mut Counts) -> Result<(), Box<dyn Error>> {
    let database = block_on(Database::open(MemoryBackend::new(), Options::default()))?;
    let title = format!("{file}: {}", group["description"].as_str().unwrap_or_default());
    if let Err(error) = block_on(database.set_schema("t", &document(&group["schema"]))) {
        let message = error.to_string();
        match message.strip_prefix("invalid schema").and_then(|rest| rest.strip_suffix(REFUSED)) {
            // The path ends with the keyword.
            Some(path) => {
                let keyword = path.trim_end_matches([':', ' ']).rsplit('.').next().unwrap_or_default();
                *counts.refused.entry(keyword.to_owned()).or_default() += 1;
            }
            None => counts.problems.push(format!("{title}: {message}")),
        }
        return Ok(());
    }
    counts.schemas += 1;
    for test in group["tests"].as_array().into_iter().flatten() {
        let stored = block_on(database.set("t", &1.into(), &document(&test["data"])));
        let verdict = match &stored {
            Ok(()) => Some(true),
            Err(error) if error.code() == "schema" => Some(false),
            Err(_) => None,
        };
        if verdict == test["valid"].as_bool() && verdict.is_some() {
            counts.verdicts += 1;
        } else {
            counts.problems.push(format!("{title}: {}: {stored:?}", test["description"].as_str().unwrap_or_default()));
        }
    }
    Ok(())
}

fn document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Nil,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(value) => value.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => Document::text(text),
        Value::Array(items) => Document::Array(items.iter().map(document).collect()),
        Value::Object(entries) => {
            Document::Map(entries.iter().map(|(name, value)| (Document::text(name), document(value))).collect())
        }
    }
}
