//! `bench hostile`: whether each case of the hostile corpus ends as stated, natively and in Node, and how long the slowest takes. The tests
//! check the former; they print the latter, which never decides one.

use std::path::Path;

use super::report::table;
use crate::error::{Error, Result};
use crate::{package, process};

/// Milliseconds that a case may take.
const GOAL: u32 = 1000;

pub fn run(root: &Path) -> Result<()> {
    package::build(root)?;
    let mut native = process::cargo(root);
    native.args(["test", "--release", "--quiet", "-p", "cu-tests", "--test", "hostile", "--"]);
    native.args(["--nocapture", "every_case_ends_as_stated_within_its_limits"]);
    let mut node = process::node(&root.join("web"));
    node.args(["--test", "--test-reporter=tap", "test/hostile.test.mjs"]);
    let mut rows = Vec::new();
    for (place, mut command) in [("native", native), ("Node", node)] {
        let output = process::captured(&mut command)?;
        let parts = output.lines().find_map(parts);
        let (cases, time, name) = parts.ok_or_else(|| Error::Bench(format!("{place}: no case has told its time")))?;
        let met = if time <= GOAL { "yes" } else { "no" };
        rows.push([place, cases, &time.to_string(), name, met].map(str::to_owned).to_vec());
    }
    print!("{}", table(&["where", "cases, all as stated", "slowest, ms", "which", "within a second"], rows));
    Ok(())
}

/// Cases, milliseconds and name from the line in which a test tells of its slowest case.
fn parts(line: &str) -> Option<(&str, u32, &str)> {
    let (cases, rest) = line.split_once("hostile: ")?.1.split_once(" cases, the slowest ")?;
    let (time, name) = rest.split_once(" ms: ")?;
    Some((cases, time.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_three_parts() {
        assert_eq!(parts("# hostile: 1002 cases, the slowest 31 ms: time/a: b"), Some(("1002", 31, "time/a: b")));
        assert_eq!(parts("hostile: 1002 cases"), None);
    }
}
