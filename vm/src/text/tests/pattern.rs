//! Cases whose expected values were read off PUC Lua 5.4.

use super::*;

const PLENTY: u64 = 1 << 40;

fn text(source: &str, found: Result<Option<Match>, PatternError>, captures: &Captures) -> String {
    let whole = match found {
        Err(error) => return format!("error: {}", String::from_utf8_lossy(&error.message())),
        Ok(None) => return "nil".into(),
        Ok(Some(whole)) => whole,
    };
    let mut shown = vec![format!("{} {}", whole.start + 1, whole.end)];
    for index in 0..captures.len() {
        shown.push(match captures.get(index, whole) {
            Ok(Capture::Range { start, end }) => source[start..end].to_string(),
            Ok(Capture::Position(position)) => (position + 1).to_string(),
            Err(error) => return format!("error: {}", String::from_utf8_lossy(&error.message())),
        });
    }
    shown.join(" ")
}

/// `string.find(source, pattern)`, its results separated by spaces.
fn find(source: &str, pattern: &str) -> String {
    let mut captures = Captures::new();
    let found = Matcher::new(source.as_bytes(), pattern.as_bytes()).find_at(0, &mut captures, &mut { PLENTY });
    text(source, found, &captures)
}

/// `string.gsub(source, pattern, replacement)`, its results separated by a space.
fn gsub(source: &str, pattern: &str, replacement: &str) -> Result<String, PatternError> {
    let (bytes, mut captures, mut cursor) = (source.as_bytes(), Captures::new(), Cursor::new(0));
    let mut matcher = Matcher::new(bytes, pattern.as_bytes());
    let (mut out, mut copied, mut count) = (Vec::new(), 0, 0);
    while let Some(found) = matcher.next_match(&mut cursor, &mut captures, &mut { PLENTY })? {
        out.extend_from_slice(&bytes[copied..found.start]);
        expand_replacement(replacement.as_bytes(), bytes, found, &captures, 1 << 20, &mut out)?;
        copied = found.end;
        count += 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    Ok(format!("{} {count}", String::from_utf8_lossy(&out)))
}

#[test]
fn finds() {
    for (source, pattern, expected) in [
        ("aaa]a", "[]]", "4 4"),
        ("aaa]a", "[^]]", "1 1"),
        ("aaa]a", "()", "1 0 1"),
        ("aaa]a", "$", "6 5"),
        ("aaa]a", "^$", "nil"),
        ("aaa]a", "a$b", "nil"),
        ("aaa]a", "(a)%1", "1 2 a"),
        ("aaa]a", "(a*(.)%w(%s*))", "1 5 aaa]a ] "),
        ("aaa]a", "[[:alpha:]]", "3 4"),
        ("xa)", "x%a%)", "1 3"),
        ("a\0b", "%z", "2 2"),
        ("a\0b", "[\0]", "2 2"),
        ("  x = (a(b)c) ", "%b()", "7 13"),
        ("THE (quick) fox", "%f[%a]%a+%f[%A]", "1 3"),
        ("key = value", "^(%w+)%s*=%s*(%w+)$", "1 11 key value"),
        ("[[x]]", "%[(%[).-%]%]", "1 5 ["),
        ("abc", ".-b", "1 2"),
        ("aXb", "%u", "2 2"),
        ("a-%]", "[a-%]]", "4 4"),
        ("]%", "[a-%]]", "1 1"),
        ("()()", "()%1", "nil"),
        ("", "a*", "1 0"),
        ("x", "(()x)", "1 1 x 1"),
    ] {
        assert_eq!(find(source, pattern), expected, "{source:?} {pattern:?}");
    }
}

#[test]
fn errors() {
    for (pattern, expected) in [
        ("%", "malformed pattern (ends with '%')"),
        ("a%", "malformed pattern (ends with '%')"),
        ("[a", "malformed pattern (missing ']')"),
        ("[]", "malformed pattern (missing ']')"),
        ("[^]", "malformed pattern (missing ']')"),
        ("[a%]", "malformed pattern (missing ']')"),
        ("[a%", "malformed pattern (missing ']')"),
        ("%f", "missing '[' after '%f' in pattern"),
        ("%f[", "malformed pattern (missing ']')"),
        ("%b", "malformed pattern (missing arguments to '%b')"),
        ("%bx", "malformed pattern (missing arguments to '%b')"),
        ("%1", "invalid capture index %1"),
        ("(%1)", "invalid capture index %1"),
        ("(a)%2", "invalid capture index %2"),
        ("%0", "invalid capture index %0"),
        ("(a", "unfinished capture"),
        ("(()", "unfinished capture"),
        ("a)", "invalid pattern capture"),
    ] {
        assert_eq!(find("aaaa", pattern), format!("error: {expected}"), "{pattern:?}");
    }
    assert_eq!(find("b", &"()".repeat(33)), "error: too many captures");
    assert_eq!(find("b", &format!("{}x", "(".repeat(33))), "error: too many captures");
    assert_eq!(find("b", "a%"), "nil");
    let long = "a".repeat(300);
    assert_eq!(find(&long, &"a?".repeat(199)), "1 199");
    assert_eq!(find(&long, &"a?".repeat(200)), "error: pattern too complex");
    assert_eq!(find(&long, &"a*".repeat(300)), "1 300");
}

#[test]
fn substitutions() {
    for (source, pattern, replacement, expected) in [
        ("abc", "w*", "-", "-a-b-c- 4"),
        ("hello world", "o*", "x", "xhxexlxlx xwxrxlxdx 10"),
        ("abc", "^a", "x", "xbc 1"),
        ("aaa", "^a", "x", "xaa 1"),
        ("abc", "b", "%0%0%%", "abb%c 1"),
        ("abc", "b", "%1", "abc 1"),
        ("abc", "()b", "%1", "a2c 1"),
        ("abc", "(b", "x", "axc 1"),
        ("abc", "()", "%1", "1a2b3c4 4"),
        ("abc def", "%f[%A]", "|", "abc| def| 2"),
        ("a-b]c^+,d", "[a-c-e]", "*", "***]*^+,d 4"),
        ("a-b]c^+,d", "[a-]", "*", "**b]c^+,d 2"),
        ("a-b]c^+,d", "[]-a]", "*", "*-b*c*+,d 3"),
        ("a-b]c^+,d", "[+--]", "*", "a*b]c^**d 3"),
        ("a-b]c^+,d", "[^-a]", "*", "a-******* 7"),
    ] {
        assert_eq!(gsub(source, pattern, replacement).as_deref(), Ok(expected), "{source:?} {pattern:?}");
    }
    assert_eq!(gsub("abc", "b", "%2"), Err(PatternError::InvalidCaptureIndex(2)));
    assert_eq!(gsub("abc", "b", "%"), Err(PatternError::InvalidReplacement));
    assert_eq!(gsub("abc", "b", "%x"), Err(PatternError::InvalidReplacement));
    assert_eq!(gsub("abc", "(b", "%1"), Err(PatternError::UnfinishedCapture));
    assert_eq!(gsub(&"a".repeat(2000), ".*", &"%0".repeat(1000)), Err(PatternError::ResultTooLarge));
}

#[test]
fn gmatch_does_not_anchor_and_does_not_repeat_an_empty_match() {
    let mut found = Vec::new();
    let (mut captures, mut cursor) = (Captures::new(), Cursor::new(1));
    let mut matcher = Matcher::unanchored(b"abc", b"b*");
    while let Ok(Some(next)) = matcher.next_match(&mut cursor, &mut captures, &mut { PLENTY }) {
        found.push((next.start, next.end));
    }
    assert_eq!(found, [(1, 2), (3, 3)]);
    let anchored = Matcher::unanchored(b"abc", b"^a").find_at(0, &mut captures, &mut { PLENTY });
    assert_eq!(anchored, Ok(None));
}

#[test]
fn budget_bounds_the_work() {
    let source = "a".repeat(200);
    let pattern = format!("{}b", "a*".repeat(20));
    let mut budget = if cfg!(miri) { 2_000 } else { 100_000 };
    let found = Matcher::new(source.as_bytes(), pattern.as_bytes()).find_at(0, &mut Captures::new(), &mut budget);
    assert_eq!(found, Err(PatternError::Budget));
    assert_eq!(budget, 0);
}

#[test]
fn more_sets_than_are_cached() {
    assert_eq!(find("abcdefabcdef", "([a])([b])([c])([d])([e])([f])[a]+[b]+[c]+[d]-[e]?[f]$"), "1 12 a b c d e f");
    assert_eq!(find("ababab!", "[a][b][^c][^d][a]-[b]-[!]"), "1 7");
    assert_eq!(find("aab1!", "[a]-[b][0-9][^x][^y]?"), "1 5");
}

/// A byte that is wanted next is looked for in place; in brackets it is tried everywhere. Both find the same, in the same steps and with the same
/// errors; the brackets are read once.
#[test]
#[cfg_attr(miri, ignore = "tens of thousands of matches, in code without unsafe blocks")]
fn skipped_tries_are_paid_for() {
    const ENOUGH: u64 = 100_000;
    let run = |source: &str, pattern: &str| {
        let (mut captures, mut budget) = (Captures::new(), ENOUGH);
        let found = Matcher::unanchored(source.as_bytes(), pattern.as_bytes()).find_at(0, &mut captures, &mut budget);
        (text(source, found, &captures), ENOUGH - budget)
    };
    let sources = ["", "b", "aab", "aaaaab b", "aa.b-ab", "aaaaaaaaaaaaaaaa", "abababababaxbb", "a b.b", "((a)b)bb"];
    let nested = |depth: usize| format!("{}a*){{}}", "(".repeat(depth));
    let mut templates: Vec<String> = [
        "a*{}",
        "a+{}",
        "a-{}",
        ".*{}",
        ".-{}",
        "%a*{}a",
        "[ab]*{}",
        "[ab]-{}.",
        "(a*){}",
        "(a-){}b",
        "((.*){})",
        "(a*)({}*)",
    ]
    .map(str::to_owned)
    .into();
    templates.extend((1..=31).map(nested));
    // To the depth at which patterns are too complex, from both sides.
    templates.extend((190..=200).map(|depth| format!("{}a*{{}}", "a?".repeat(depth))));
    templates.extend((190..=200).map(|depth| format!("{}(a*){{}}", "a?".repeat(depth))));
    let (mut matched, mut failed) = (0, 0);
    for template in &templates {
        for byte in ["b", "x", "a", "%.", "-"] {
            let long = "a".repeat(230) + "b";
            for source in sources.iter().copied().chain([long.as_str()]) {
                let (literal, literal_steps) = run(source, &template.replace("{}", byte));
                let (bracketed, bracketed_steps) = run(source, &template.replace("{}", &format!("[{byte}]")));
                // Some backtrack without an end.
                if [literal_steps, bracketed_steps].contains(&ENOUGH) {
                    continue;
                }
                let case = format!("{source:?} {template:?} {byte:?}");
                assert_eq!(literal, bracketed, "{case}");
                let reading = bracketed_steps - literal_steps;
                assert!(reading == 0 || reading == byte.len() as u64 + 2, "{case}: {reading} steps more in brackets");
                (matched, failed) =
                    (matched + u32::from(literal != "nil"), failed + u32::from(literal.starts_with("error")));
            }
        }
    }
    assert!(matched > 500 && failed > 20, "{matched} {failed}");
}
