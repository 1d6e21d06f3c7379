//! Random programs from a grammar: `fixtures/grammar/*.txt`.
//!
//! A file is a list of rules. A rule is its name with a colon, then its alternatives, one per line after `- `; `-3 ` gives an
//! alternative the weight 3, and lines that are indented by two spaces continue it. In an alternative `$name` or `$(name)` stands for
//! what a rule makes, `$#` for a number that is the same within this use of the alternative and different in every other, `$$` for a
//! dollar sign. A rule may go on in another file. Lines that start with `# ` are comments.
//!
//! Deep down, and when a program has become long, only a rule's first alternative is taken, so following first alternatives has to
//! come to an end; reading a grammar checks that.

use std::collections::HashMap;
use std::path::Path;

use crate::random::Random;

/// How deep rules may use each other before only first alternatives are taken.
const DEPTH_MAX: usize = 16;

/// Bytes of a program after which only first alternatives are taken.
const LENGTH_MAX: usize = 9_000;

pub struct Grammar {
    rules: Vec<Rule>,
    names: HashMap<String, usize>,
}

#[derive(Default)]
struct Rule {
    alternatives: Vec<Alternative>,
    weight: usize,
}

struct Alternative {
    weight: usize,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Rule(usize),
    Number,
}

impl Grammar {
    /// Reads all files of a folder.
    ///
    /// # Panics
    ///
    /// A file cannot be read or is not a grammar.
    pub fn read(folder: &Path) -> Grammar {
        let mut grammar = Grammar { rules: Vec::new(), names: HashMap::new() };
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
        paths.sort();
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            grammar.add(&text);
        }
        grammar.check();
        grammar
    }

    /// What the rule makes of these random numbers.
    pub fn expand(&self, rule: &str, random: &mut Random) -> String {
        let rule = *self.names.get(rule).unwrap_or_else(|| panic!("no rule '{rule}'"));
        let mut expansion = Expansion { grammar: self, random, text: String::new(), number: 0 };
        expansion.rule(rule, 0);
        expansion.text
    }

    fn add(&mut self, text: &str) {
        let mut rule = None;
        let mut alternative: Option<(usize, String)> = None;
        for line in text.lines() {
            if let Some(more) = line.strip_prefix("  ") {
                let (_, text) = alternative.as_mut().unwrap_or_else(|| panic!("'{line}' continues nothing"));
                text.push('\n');
                text.push_str(more);
                continue;
            }
            if let Some(alternative) = alternative.take() {
                self.add_alternative(rule, alternative);
            }
            if let Some(rest) = line.strip_prefix('-') {
                let (weight, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let weight = if weight.is_empty() { Ok(1) } else { weight.parse() };
                let weight = weight.unwrap_or_else(|_| panic!("'{line}' has no weight"));
                alternative = Some((weight, text.to_owned()));
            } else if let Some(name) = line.strip_suffix(':') {
                rule = Some(self.index(name));
            } else {
                assert!(line.is_empty() || line.starts_with("# "), "'{line}' is not part of a grammar");
            }
        }
        if let Some(alternative) = alternative {
            self.add_alternative(rule, alternative);
        }
    }

    fn add_alternative(&mut self, rule: Option<usize>, (weight, text): (usize, String)) {
        let pieces = self.pieces(&text);
        let rule = rule.unwrap_or_else(|| panic!("'{text}' belongs to no rule"));
        self.rules[rule].weight += weight;
        self.rules[rule].alternatives.push(Alternative { weight, pieces });
    }

    fn pieces(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            pieces.push(Piece::Text(before.to_owned()));
            rest = match after.as_bytes().first() {
                Some(b'$') => {
                    pieces.push(Piece::Text("$".to_owned()));
                    &after[1..]
                }
                Some(b'#') => {
                    pieces.push(Piece::Number);
                    &after[1..]
                }
                Some(b'(') => {
                    let (name, after) = after[1..].split_once(')').unwrap_or_else(|| panic!("'{text}': no ')'"));
                    pieces.push(Piece::Rule(self.index(name)));
                    after
                }
                _ => {
                    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let length = after.find(|c| !is_part(c)).unwrap_or(after.len());
                    assert!(length > 0, "'{text}': a name must follow '$'");
                    pieces.push(Piece::Rule(self.index(&after[..length])));
                    &after[length..]
                }
            };
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces
    }

    fn index(&mut self, name: &str) -> usize {
        if let Some(&index) = self.names.get(name) {
            return index;
        }
        self.rules.push(Rule::default());
        self.names.insert(name.to_owned(), self.rules.len() - 1);
        self.rules.len() - 1
    }

    /// Every rule that is used has alternatives, and following first alternatives ends.
    fn check(&self) {
        let mut ends = vec![false; self.rules.len()];
        loop {
            let mut changed = false;
            for (index, rule) in self.rules.iter().enumerate() {
                let first = rule.alternatives.first();
                let all_end =
                    |pieces: &[Piece]| pieces.iter().all(|piece| !matches!(piece, Piece::Rule(rule) if !ends[*rule]));
                if !ends[index] && first.is_some_and(|first| all_end(&first.pieces)) {
                    ends[index] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let mut bad: Vec<&str> =
            self.names.iter().filter(|(_, index)| !ends[**index]).map(|(name, _)| name.as_str()).collect();
        bad.sort_unstable();
        assert!(bad.is_empty(), "rules without alternatives or end: {}", bad.join(" "));
    }
}

struct Expansion<'a> {
    grammar: &'a Grammar,
    random: &'a mut Random,
    text: String,
    /// The last number given out for `$#`.
    number: usize,
}

impl Expansion<'_> {
    fn rule(&mut self, rule: usize, depth: usize) {
        let rule = &self.grammar.rules[rule];
        let alternative = if depth > DEPTH_MAX || self.text.len() > LENGTH_MAX {
            &rule.alternatives[0]
        } else {
            let mut left = self.random.below(rule.weight);
            let chosen = rule.alternatives.iter().find(|alternative| {
                let is_chosen = left < alternative.weight;
                left = left.wrapping_sub(alternative.weight);
                is_chosen
            });
            chosen.expect("the weights add up")
        };
        let mut number = None;
        for piece in &alternative.pieces {
            match piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Rule(rule) => self.rule(*rule, depth + 1),
                Piece::Number => {
                    let number = *number.get_or_insert_with(|| {
                        self.number += 1;
                        self.number
                    });
                    self.text.push_str(&number.to_string());
                }
            }
        }
    }
}
