//! Differences that are known and accepted, each with its reason. The reference that tests use, Debian's 5.4.4, is older than
//! 5.4.8, which Cu follows.
//!
//! Most are told by the first line of output that differs, or the error at the end: what comes after it may follow from it. The others
//! show in a second run by the reference interpreter.

use crate::reference::{Behaviour, Mode};

/// A program that differs, and where.
struct Case<'a> {
    source: &'a [u8],
    /// All that the reference interpreter printed.
    reference: &'a [u8],
    /// The first line that differs.
    expected: String,
    actual: String,
}

/// A reason and whether it is why a program differs.
type Rule = (&'static str, fn(&Case) -> bool);

const RULES: [Rule; 8] = [
    ("5.4.4 names the wrong argument of table.remove", |case| {
        case.expected.contains("(position out of bounds)")
            && case.expected.replace("bad argument #1 to", "bad argument #2 to") == case.actual
    }),
    ("5.4.4 lets utf8.codes pass over continuation bytes", |case| {
        // From 5.4.5 on the first character is looked at before the loop begins.
        let is_first = case.actual.contains("bad argument #1 to 'codes' (invalid UTF-8 code)");
        case.has("utf8.codes")
            && case.actual.contains("invalid UTF-8 code")
            && (is_first || !case.expected.contains("invalid UTF-8 code"))
    }),
    ("5.4.4 places a call on the line where the called expression begins, not its arguments", |case| {
        let [expected, actual] = [&case.expected, &case.actual].map(|text| position(text));
        let (Some((line, rest)), Some((actual_line, actual_rest))) = (expected, actual) else {
            return false;
        };
        line < actual_line && rest == actual_rest && case.has_arguments_on(actual_line)
    }),
    ("5.4.4 says of arguments without end that they begin where the called expression does", |case| {
        let [expected, actual] = [&case.expected, &case.actual].map(|text| opening(text));
        let (Some(line), rest) = expected else {
            return false;
        };
        actual.1 == rest && actual.0.is_none_or(|actual_line| line < actual_line && case.has_arguments_on(actual_line))
    }),
    ("5.4.4 closes the value of a generic loop that break leaves too late or not at all", |case| {
        let is_about_closing = has(case.reference, "attempt to call a nil value (metamethod 'close')")
            || [&case.expected, &case.actual].iter().any(|text| text.contains("(metamethod 'close')"));
        let loses_its_place = case.expected.ends_with("\"attempt to call a nil value\"");
        case.has(", 0, setmetatable({}, {__close") && case.has("break") && (is_about_closing || loses_its_place)
    }),
    ("registers are counted after the whole chunk has been parsed", |case| {
        case.expected.contains("function or expression needs too many registers near ")
            && case.actual.contains(" near ")
    }),
    ("5.4.4 calls nil when __concat gives nil to a longer concatenation", |case| {
        case.expected.contains("\"attempt to call a nil value\"")
            && case.actual.contains("attempt to concatenate a ")
            && case.has("__concat")
    }),
    ("powers and the like differ in the last digit", |case| {
        ["^", "math.exp", "math.log", "math.sin", "math.cos", "math.tan"].iter().any(|operation| case.has(operation))
            && equal_but_for_last_digits(&case.expected, &case.actual)
    }),
];

/// Why a program with this source may behave so differently, if it may. `again` runs it once more by the reference interpreter.
pub fn known_difference(
    source: &[u8],
    expected: &Behaviour,
    actual: &Behaviour,
    again: impl Fn(Mode) -> Option<Behaviour>,
) -> Option<&'static str> {
    let (expected_line, actual_line) = first_difference(expected, actual);
    let case = Case { source, reference: &expected.output, expected: expected_line, actual: actual_line };
    if let Some(reason) = rule(&case) {
        return Some(reason);
    }
    if case.has("pairs(") && has_same_lines(expected, actual) {
        return Some("pairs goes through a table in another order");
    }
    if case.has("__lt")
        && let Some(without) = again(Mode::WithoutLtForLe)
        && without != *expected
    {
        let (expected, actual_line) = first_difference(&without, actual);
        let case = Case { source, reference: &without.output, expected, actual: actual_line };
        if without == *actual || rule(&case).is_some() {
            return Some("Debian's build of 5.4.4 lets __lt stand in for __le");
        }
    }
    let seen = again(Mode::Probe)?;
    let seen = seen.output.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if has(seen, "holes") && equal_but_for_integers(&case.expected, &case.actual) {
        return Some("a table with nils between its values may have another border");
    }
    has(seen, "nan").then_some("PUC Lua on Linux shows the sign of a NaN")
}

/// The reason that the first line to differ tells.
fn rule(case: &Case) -> Option<&'static str> {
    RULES.iter().find(|(_, applies)| applies(case)).map(|(reason, _)| *reason)
}

/// Whether the outputs differ in the order of their lines only.
fn has_same_lines(expected: &Behaviour, actual: &Behaviour) -> bool {
    let lines = |behaviour: &Behaviour| {
        let mut lines: Vec<Vec<u8>> = behaviour.output.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    expected.error == actual.error && lines(expected) == lines(actual)
}

impl Case<'_> {
    fn has(&self, part: &str) -> bool {
        has(self.source, part)
    }

    /// Whether the arguments of a call may begin on this line.
    fn has_arguments_on(&self, line: usize) -> bool {
        let line = self.source.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
        line.iter().any(|byte| b"({'\"[".contains(byte))
    }
}

/// The first line of output that differs, or the errors at the end.
fn first_difference(expected: &Behaviour, actual: &Behaviour) -> (String, String) {
    let lines = |text: &[u8]| -> Vec<String> {
        text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    let (expected_lines, actual_lines) = (lines(&expected.output), lines(&actual.output));
    let shared = expected_lines.iter().zip(&actual_lines).take_while(|(expected, actual)| expected == actual).count();
    if expected_lines.len() == shared && actual_lines.len() == shared {
        let error = |behaviour: &Behaviour| {
            behaviour.error.as_ref().map_or(String::new(), |error| String::from_utf8_lossy(error).into_owned())
        };
        return (error(expected), error(actual));
    }
    let line = |lines: &[String]| lines.get(shared).cloned().unwrap_or_default();
    (line(&expected_lines), line(&actual_lines))
}

fn has(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

/// The line number of the first position in a text, and the text without the number.
fn position(text: &str) -> Option<(usize, String)> {
    let start = text.find("p:")? + 2;
    let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    let line = text[start..start + digits].parse().ok()?;
    Some((line, format!("{}{}", &text[..start], &text[start + digits..])))
}

/// The line at which, as the message of a syntax error says, something begins that is not closed, and the message without that.
fn opening(text: &str) -> (Option<usize>, String) {
    const BEFORE: &str = " (to close '(' at line ";
    let parts = text.split_once(BEFORE).and_then(|(before, after)| Some((before, after.split_once(')')?)));
    match parts {
        Some((before, (line, after))) => (line.parse().ok(), format!("{before}{after}")),
        None => (None, text.to_owned()),
    }
}

/// The numbers in a text, and what is between them.
fn numbers(text: &str) -> (Vec<&str>, Vec<&str>) {
    let is_number = |character: char| character.is_ascii_digit();
    let ends_number = |character: char| !character.is_ascii_digit() && !"+-.e".contains(character);
    let (mut numbers, mut between, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some(start) = rest.find(is_number) {
        let end = rest[start..].find(ends_number).map_or(rest.len(), |length| start + length);
        between.push(&rest[..start]);
        numbers.push(&rest[start..end]);
        rest = &rest[end..];
    }
    between.push(rest);
    (numbers, between)
}

fn equal_but_for_integers(expected: &str, actual: &str) -> bool {
    let ((expected, before), (actual, after)) = (numbers(expected), numbers(actual));
    let are_integers =
        |pair: (&&str, &&str)| pair.0 == pair.1 || [pair.0, pair.1].iter().all(|n| n.parse::<i64>().is_ok());
    before == after && expected.iter().zip(&actual).all(are_integers)
}

fn equal_but_for_last_digits(expected: &str, actual: &str) -> bool {
    let ((expected, before), (actual, after)) = (numbers(expected), numbers(actual));
    let are_close = |(expected, actual): (&&str, &&str)| {
        expected == actual
            || match (expected.parse::<f64>(), actual.parse::<f64>()) {
                (Ok(expected), Ok(actual)) => (expected - actual).abs() <= 2.0 * f64::EPSILON * expected.abs(),
                _ => false,
            }
    };
    before == after && expected.iter().zip(&actual).all(are_close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_apart_from_the_text_between() {
        assert!(equal_but_for_integers("true\t7\tx", "true\t3\tx"));
        assert!(!equal_but_for_integers("true\t7\tx", "true\t3\ty"));
        assert!(!equal_but_for_integers("7.5", "3"));
        assert!(equal_but_for_last_digits("a\t7.1938071599192647e-123", "a\t7.1938071599192661e-123"));
        assert!(!equal_but_for_last_digits("7.19e-123", "7.18e-123"));
        assert!(!equal_but_for_last_digits("1", "2"));
    }
}
