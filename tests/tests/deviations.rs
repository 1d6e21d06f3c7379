//! What differs from PUC Lua on purpose: each program in `fixtures/deviations` prints here what its `.cu` says, the reference
//! interpreter printed something else, and docs/COMPATIBILITY.md tells of it.

use std::collections::BTreeSet;

use cu_tests::{Conditions, HEAP_LIMIT, repository, run};

/// The names of the programs.
fn names() -> BTreeSet<String> {
    let folder = repository().join("fixtures/deviations");
    let entries = folder.read_dir().expect("the folder is there").map(|entry| entry.expect("a readable folder").path());
    let programs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "lua"));
    programs.map(|path| path.file_stem().expect("a file has a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn programs_differ_as_they_are_said_to() {
    let folder = repository().join("fixtures/deviations");
    for name in names() {
        let read = |extension: &str| {
            let path = folder.join(&name).with_extension(extension);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (here, reference) = (read("cu"), read("puc"));
        assert_ne!(here, reference, "{name} does not differ any more");
        let conditions = Conditions { heap_limit: HEAP_LIMIT, ..Conditions::default() };
        let outcome = run(&read("lua"), &format!("@{name}.lua"), conditions);
        let result = outcome.and_then(|outcome| outcome.expect(&here, None));
        assert_eq!(result, Ok(()), "{name}");
    }
}

/// Names in the document stand as `deviations/name`, those of other fixtures as `area/name`.
#[test]
fn the_document_names_the_programs() {
    let path = repository().join("docs/COMPATIBILITY.md");
    let document = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let named: BTreeSet<String> =
        document.split('`').filter_map(|word| word.strip_prefix("deviations/")).map(str::to_owned).collect();
    assert_eq!(named, names());
}
