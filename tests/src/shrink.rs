//! Makes a program that shows a difference smaller, as long as it still shows one.
//!
//! First whole statements are left out, by lines: a line by itself, a block from its first line to its last, or only the two lines
//! around a block. Then runs of tokens. What bounds a program's steps stays, so that candidates come to an end.

use crate::token::tokens;

/// Candidates that are judged at once.
const ROUND: usize = 40;

/// Rounds after which the result is small enough.
const ROUNDS_MAX: usize = 250;

/// What counts a program's steps, by its name in the grammar.
const STEP: &[u8] = b"tick";

/// Calls `judge` with candidates; it says which one to go on with.
pub fn shrink(source: &[u8], mut judge: impl FnMut(&[Vec<u8>]) -> Option<usize>) {
    let mut text = source.to_vec();
    let mut rounds = 0;
    for candidates_of in [without_lines as fn(&[u8]) -> Vec<Vec<u8>>, without_tokens, without_steps] {
        // After a success the search goes on where it was, and starts again only when it has come to the end.
        let mut progress = true;
        while progress {
            progress = false;
            let mut candidates = candidates_of(&text);
            let mut at = 0;
            while at < candidates.len() && rounds < ROUNDS_MAX {
                rounds += 1;
                let end = candidates.len().min(at + ROUND);
                match judge(&candidates[at..end]) {
                    Some(index) => {
                        text = candidates[at + index].clone();
                        let before = candidates.len();
                        candidates = candidates_of(&text);
                        at = (at + index) * candidates.len() / before;
                        progress = true;
                    }
                    None => at = end,
                }
            }
        }
    }
}

/// The text without each statement that spans whole lines, longest first.
fn without_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let depths: Vec<isize> = lines.iter().map(|line| depth_change(line)).collect();
    let mut removals: Vec<Vec<usize>> = Vec::new();
    for start in 0..lines.len() {
        if depths[start] == 0 {
            removals.push(vec![start]);
        }
        let mut depth = 0;
        for (end, change) in depths.iter().enumerate().skip(start) {
            depth += change;
            if depth < 0 {
                break;
            }
            if depth == 0 {
                if end > start {
                    removals.push((start..=end).collect());
                    removals.push(vec![start, end]);
                }
                if end - start > 40 {
                    break;
                }
            }
        }
    }
    // A step is left out together with the loop or function that it bounds.
    let is_kept = |removal: &Vec<usize>| {
        let head = lines[removal[0]];
        let bounds = has(head, b"for") || has(head, b"while") || has(head, b"repeat") || has(head, b"function");
        bounds && removal.len() > 2 || !removal.iter().any(|line| has(lines[*line], STEP))
    };
    removals.retain(is_kept);
    removals.sort_by_key(|removal| std::cmp::Reverse(removal.len()));
    let without = |removal: Vec<usize>| {
        let left = lines.iter().enumerate().filter(|(index, _)| !removal.contains(index));
        left.flat_map(|(_, line)| line.iter().copied()).collect()
    };
    removals.into_iter().map(without).collect()
}

/// How many blocks and brackets a line opens, less those it closes.
fn depth_change(line: &[u8]) -> isize {
    let change = |token: &[u8]| match token {
        b"function" | b"then" | b"do" | b"repeat" | b"(" | b"{" | b"[" => 1,
        // `elseif … then` closes one block and opens another.
        b"end" | b"until" | b"elseif" | b")" | b"}" | b"]" => -1,
        _ => 0,
    };
    tokens(line).into_iter().map(|token| change(&line[token])).sum()
}

/// The text without each run of tokens, longest first.
fn without_tokens(text: &[u8]) -> Vec<Vec<u8>> {
    let kept = |run: &[u8]| !has(run, STEP);
    without_runs(text, &[40, 20, 12, 8, 6, 5, 4, 3, 2, 1], kept)
}

/// The text without each run of tokens in which steps are counted. Last, when few loops are left that would run for ever.
fn without_steps(text: &[u8]) -> Vec<Vec<u8>> {
    without_runs(text, &[60, 40, 30, 25, 20, 16, 12, 10, 8, 7, 6, 5, 4, 3], |run| has(run, STEP))
}

fn without_runs(text: &[u8], lengths: &[usize], may_go: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let tokens = tokens(text);
    let mut candidates = Vec::new();
    for &length in lengths {
        for run in tokens.windows(length) {
            let (start, end) = (run[0].start, run[length - 1].end);
            if may_go(&text[start..end]) {
                candidates.push([&text[..start], b" ", &text[end..]].concat());
            }
        }
    }
    candidates
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
