//! The dependency arrows between the crates point one way, as the manifests have them.

use std::collections::BTreeSet;

use cu_tests::repository;
use toml::{Table, Value};

/// Each folder with the crates of this repository that it may depend on, for its code and for its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("sort", &[]),
    ("vm", &["cu-compiler", "cu-sort", "cu-translator"]),
    ("vm/allocator", &[]),
    ("vm/compiler", &[]),
    ("vm/translator", &["cu-compiler"]),
    ("storage", &["cu-sort"]),
    ("persist", &["cu-vm", "cu-storage"]),
    ("web", &["cu-allocator", "cu-vm", "cu-storage", "cu-persist"]),
    ("cli", &["cu-allocator", "cu-vm", "cu-storage", "cu-persist"]),
    ("xtask", &[]),
    ("tests", &["cu-allocator", "cu-vm", "cu-storage", "cu-persist"]),
];

#[test]
fn crates_depend_only_on_what_they_may() {
    for (folder, allowed) in ARROWS {
        let manifest = manifest(folder);
        for dependency in dependencies(&manifest).iter().filter(|name| name.starts_with("cu-") || *name == "xtask") {
            assert!(allowed.contains(&dependency.as_str()), "{folder} must not depend on {dependency}");
        }
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_arrows_here() {
    let manifest = manifest(".");
    let members = manifest["workspace"]["members"].as_array().expect("members are a list");
    let members: BTreeSet<&str> = members.iter().filter_map(Value::as_str).collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(folder, _)| *folder).collect();
    assert_eq!(members, listed);
}

fn manifest(folder: &str) -> Table {
    let path = repository().join(folder).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in every table of dependencies, those for one target, for tests and for build scripts included.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (key, value) in manifest {
        let Value::Table(table) = value else { continue };
        match key.as_str() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                names.extend(table.iter().map(|(name, value)| package(name, value)));
            }
            "target" => {
                for target in table.values().filter_map(Value::as_table) {
                    names.extend(dependencies(target));
                }
            }
            _ => {}
        }
    }
    names
}

/// A dependency's own name, which `package = …` can differ from the name it is used under.
fn package(name: &str, value: &Value) -> String {
    value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
}
