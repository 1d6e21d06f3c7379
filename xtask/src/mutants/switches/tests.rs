//! What the switches make of a small file.

use super::*;

const SOURCE: &str = "//! A file.

/// Whether.
const fn fits(room: usize, wanted: usize) -> bool {
    if let Some(left) = room.checked_sub(1) && left > 2 {
        return !odd(left) || wanted + 1 < room;
    }
    match wanted {
        0 => true,
        1 if room == 5 => false,
        _ => false,
    }
}
";

fn whats(switched: &Switched) -> Vec<&str> {
    switched.changes.iter().map(|change| change.what.as_str()).collect()
}

#[test]
fn changes_are_found_in_order_and_the_text_is_code() {
    let switched = switch(SOURCE, 10, &[], &|_| false).expect("it is code");
    assert_eq!(
        whats(&switched),
        [
            "gives true",
            "gives false",
            "== replaces > in left > 2",
            "< replaces > in left > 2",
            ">= replaces > in left > 2",
            "&& replaces ¦¦ in !odd(left) ¦¦ wanted + 1 < room",
            "no sign in !odd(left)",
            "== replaces < in wanted + 1 < room",
            "> replaces < in wanted + 1 < room",
            "<= replaces < in wanted + 1 < room",
            "- replaces + in wanted + 1",
            "* replaces + in wanted + 1",
            "no arm 0",
            "guard room == 5 is true",
            "guard room == 5 is false",
            "!= replaces == in room == 5",
        ]
    );
    assert!(switched.changes.iter().all(|change| change.function == "fits"));
    assert_eq!(switched.changes[2].line, 5);
    syn::parse_file(&switched.text).expect("what comes out is code");
    assert!(!switched.text.contains("const fn"));
    for number in 10..26 {
        let is_there = switched.text.contains(&format!("/*M{number}*/"));
        assert_eq!(is_there, number != 22, "an arm that is left out has a guard instead: {number}");
    }
}

#[test]
fn a_place_in_the_text_belongs_to_one_change_or_none() {
    let switched = switch(SOURCE, 0, &[], &|_| false).expect("it is code");
    let place = |code: &str| switched.text.find(code).unwrap_or_else(|| panic!("no '{code}' in {}", switched.text));
    assert_eq!(change_at(&switched.text, place("return false")), Some(1));
    assert_eq!(change_at(&switched.text, place("(wanted) * (1)")), Some(11));
    assert_eq!(change_at(&switched.text, place("match wanted")), None);
    assert_eq!(change_at(&switched.text, 3), None);
}

#[test]
fn what_does_not_compile_or_is_needed_while_compiling_is_left_out() {
    let without = switch(SOURCE, 0, &[], &|number| number == 11).expect("it is code");
    assert_eq!(without.changes.len(), 16);
    assert!(!without.text.contains("(wanted) * (1)") && without.text.contains("(wanted) - (1)"));
    let constant = switch(SOURCE, 0, &["fits"], &|_| false).expect("it is code");
    assert!(constant.changes.is_empty() && constant.text.contains("const fn fits"));
}
