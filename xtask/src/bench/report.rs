//! A record as tables in Markdown, which read well in a terminal too.

use super::goals;
use super::peer;
use super::record::{PeerState, Record, State, Timing};
use super::statistics::geometric_mean;

/// Titles of the crossings between JavaScript and Lua.
const CROSSINGS: [(&str, &str); 7] = [
    ("callLua", "JS → Lua call"),
    ("callLuaAwaited", "… that gives a promise, awaited"),
    ("callHost", "Lua → JS call"),
    ("tableIn", "1,000 numbers JS → Lua, as the API has it, and summed there"),
    ("tableInCopied", "… copied"),
    ("tableOut", "1,000 numbers Lua → JS, as the API has it, and summed there"),
    ("tableOutCopied", "… copied"),
];

const STARTS: [(&str, &str); 6] = [
    ("cu", "Cu"),
    ("cu-database", "Cu with its database"),
    ("wasmoon", "wasmoon"),
    ("luau-web", "luau-web"),
    ("fengari", "fengari"),
    ("empty", "an empty module"),
];

/// Everything, in sections.
pub fn sections(record: &Record) -> String {
    let parts = [
        surroundings(record),
        section("Goals", goals_table(record)),
        section("Means", means_table(record)),
        section("Programs, warm (milliseconds)", programs_table(record, State::Warm)),
        section("Programs, first run in a fresh page (milliseconds)", programs_table(record, State::Cold)),
        section("What fails", failures(record)),
        section("Start", start_table(record)),
        section("Wasm memory after a program, in a fresh page (KiB)", memory_table(record)),
        section("Size (bytes)", sizes_table(record)),
        section("Crossings between JavaScript and Lua (microseconds)", crossings_table(record)),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn section(title: &str, content: String) -> String {
    if content.is_empty() { content } else { format!("### {title}\n\n{content}") }
}

fn surroundings(record: &Record) -> String {
    let machine = &record.machine;
    let mut lines = vec![format!(
        "Measured {} on {} with {} cores, {}; mean load {}.",
        record.date.split('T').next().unwrap_or_default(),
        machine.processor,
        machine.cores,
        machine.system,
        machine.load.join(" at the beginning, ") + " at the end",
    )];
    let (warm, cold) = (record.rounds_warm, record.rounds_cold);
    lines.push(format!("{warm} warm and {cold} cold runs of each, medians; fuel is counted in all runs of Cu."));
    let version = |peer: &PeerState| match (&peer.version, &peer.missing) {
        (_, Some(missing)) => format!("{} missing ({missing})", peer::title(&peer.name)),
        (Some(version), None) => format!("{} ({version})", peer::title(&peer.name)),
        (None, None) => peer::title(&peer.name).to_owned(),
    };
    let peers = record.peers.iter().map(version);
    let around = [("Chromium", &machine.chromium), ("Node", &machine.node)];
    let around = around.iter().filter_map(|(name, version)| Some(format!("{name} ({})", version.as_ref()?)));
    lines.push(format!("{}.", peers.chain(around).collect::<Vec<_>>().join(", ")));
    lines.join("\n") + "\n"
}

fn goals_table(record: &Record) -> String {
    let rows = goals::all(record).into_iter().map(|goal| {
        let (measured, met) = match goal.measured {
            Some(measured) => (measured.text, if measured.met { "yes" } else { "no" }),
            None => ("not measured".into(), "–"),
        };
        vec![goal.what, goal.goal, measured, met.into()]
    });
    let table = table(&["", "goal", "measured", "met"], rows.collect());
    let slower =
        record.compare(peer::CU, peer::WASMOON, State::Warm).map_or(Vec::new(), |comparison| comparison.slower);
    let slower: Vec<String> = slower.iter().map(|(name, ratio)| format!("{name} ({ratio:.2} ×)")).collect();
    if slower.is_empty() { table } else { format!("{table}\nSlower than wasmoon, warm: {}.\n", slower.join(", ")) }
}

/// Every peer against wasmoon and against `lua5.4`.
fn means_table(record: &Record) -> String {
    let bases = [(peer::WASMOON, State::Warm), (peer::WASMOON, State::Cold), (peer::LUA, State::Warm)];
    let cell = |name: &str, (base, state): (&str, State)| match record.compare(name, base, state) {
        Some(comparison) => format!("{:.2} ({})", comparison.mean, comparison.programs),
        None => "–".into(),
    };
    let row = |peer: &PeerState| {
        let figures = bases.iter().map(|base| cell(&peer.name, *base));
        [peer::title(&peer.name).to_owned()].into_iter().chain(figures).collect()
    };
    let head = ["time, geometric mean (programs)", "/ wasmoon, warm", "/ wasmoon, cold", "/ lua5.4"];
    table(&head, record.present().map(row).collect())
}

fn programs_table(record: &Record, state: State) -> String {
    let timings = |program: usize| match state {
        State::Warm => &record.programs[program].warm,
        State::Cold => &record.programs[program].cold,
    };
    let peers: Vec<&str> = record.present().map(|peer| peer.name.as_str()).collect();
    let peers: Vec<&str> =
        peers.into_iter().filter(|peer| (0..record.programs.len()).any(|n| timings(n).contains_key(*peer))).collect();
    if peers.is_empty() {
        return String::new();
    }
    let has_wasmoon = peers.contains(&peer::CU) && peers.contains(&peer::WASMOON);
    let mut head = vec!["program"];
    head.extend(peers.iter().map(|peer| peer::title(peer)));
    if has_wasmoon {
        head.push("Cu / wasmoon");
    }
    let rows = record.programs.iter().enumerate().map(|(number, program)| {
        let mut row = vec![program.name.clone()];
        row.extend(peers.iter().map(|peer| {
            match timings(number).get(*peer).or(program.warm.get(*peer).filter(|timing| timing.median().is_none())) {
                Some(timing @ Timing::Runs(_)) => timing.median().map_or("–".into(), |ms| format!("{ms:.1}")),
                Some(Timing::Fails { .. }) => "fails".into(),
                None => "–".into(),
            }
        }));
        if has_wasmoon {
            let ratio = program.ratio(peer::CU, peer::WASMOON, state);
            row.push(ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")));
        }
        row
    });
    table(&head, rows.collect())
}

fn failures(record: &Record) -> String {
    let mut lines = Vec::new();
    for peer in record.present() {
        let mut reasons: Vec<String> = Vec::new();
        for program in &record.programs {
            let timings = [program.warm.get(&peer.name), program.cold.get(&peer.name)];
            let reason = timings.into_iter().flatten().find_map(|timing| match timing {
                Timing::Fails { fails } => Some(fails),
                Timing::Runs(_) => None,
            });
            reasons.extend(reason.map(|reason| format!("{} (`{}`)", program.name, reason.replace('`', "'"))));
        }
        if !reasons.is_empty() {
            lines.push(format!("- {}: {}\n", peer::title(&peer.name), reasons.join(", ")));
        }
    }
    lines.concat()
}

fn start_table(record: &Record) -> String {
    let rows = STARTS.iter().filter_map(|(side, title)| {
        let ms = record.start(side)?;
        let bytes = record.page.start_bytes.get(*side).filter(|bytes| **bytes > 0);
        let memory = bytes.map_or("–".into(), |bytes| (bytes >> 10).to_string());
        Some(vec![(*title).into(), format!("{ms:.1}"), memory])
    });
    table(&["", "to the first result, ms", "wasm memory then, KiB"], rows.collect())
}

fn memory_table(record: &Record) -> String {
    let sides: Vec<&str> =
        [peer::CU, peer::WASMOON, peer::LUAU].into_iter().filter(|side| has_memory(record, side)).collect();
    if sides.is_empty() {
        return String::new();
    }
    let mut head = vec!["program"];
    head.extend(sides.iter().map(|side| peer::title(side)));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for program in &record.programs {
        let cell = |side: &&str| program.wasm_bytes.get(*side).map_or("–".into(), |bytes| (bytes >> 10).to_string());
        rows.push([program.name.clone()].into_iter().chain(sides.iter().map(cell)).collect());
    }
    let ratios: Vec<f64> = record
        .programs
        .iter()
        .filter_map(|program| {
            Some(*program.wasm_bytes.get(peer::CU)? as f64 / *program.wasm_bytes.get(peer::WASMOON)? as f64)
        })
        .collect();
    let mean = geometric_mean(&ratios);
    let note = mean.map_or(String::new(), |mean| format!("\nCu against wasmoon, geometric mean: {mean:.2} ×.\n"));
    table(&head, rows) + &note
}

fn has_memory(record: &Record, side: &str) -> bool {
    record.programs.iter().any(|program| program.wasm_bytes.contains_key(side))
}

fn sizes_table(record: &Record) -> String {
    let row = |(name, size): (&String, &super::record::Size)| {
        vec![name.clone(), size.raw.to_string(), size.gzip.to_string(), size.brotli.to_string()]
    };
    table(&["", "raw", "gzip", "brotli"], record.page.sizes.iter().map(row).collect())
}

fn crossings_table(record: &Record) -> String {
    let sides = [peer::CU, peer::WASMOON, peer::LUAU, peer::FENGARI];
    let rows = CROSSINGS.iter().filter_map(|(name, title)| {
        let figures = record.page.crossings.get(*name)?;
        let cells = sides.iter().map(|side| match figures.get(*side) {
            Some(Timing::Fails { .. }) => "fails".into(),
            Some(timing) => timing.median().map_or("–".into(), |us| format!("{us:.2}")),
            None => "–".into(),
        });
        Some([(*title).to_owned()].into_iter().chain(cells).collect())
    });
    table(&["", "Cu", "wasmoon", "luau-web", "fengari"], rows.collect())
}

/// A Markdown table whose columns are as wide as their widest cell; the first one is text, the others are figures.
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
        });
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.iter().enumerate().map(|(column, width)| {
        if column == 0 { format!(" {} ", "-".repeat(*width)) } else { format!(" {}: ", "-".repeat(width - 1)) }
    });
    let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    line(&head) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = vec![vec!["fib ×".into(), "1.25".into()], vec!["a".into(), "fails".into()]];
        let expected = "| name  |    ms |\n| ----- | ----: |\n| fib × |  1.25 |\n| a     | fails |\n";
        assert_eq!(table(&["name", "ms"], rows), expected);
        assert_eq!(table(&["name"], Vec::new()), "");
    }

    #[test]
    fn what_fails_or_is_missing_is_shown() {
        let text = sections(&example());
        assert!(text.contains("- wasmoon: odd (`prints x | y`)"), "{text}");
        assert!(text.contains("\nSlower than wasmoon, warm: slow (2.00 ×).\n"), "{text}");
        assert!(text.contains("luajit -joff missing (not to be had)"), "{text}");
        let row = text.lines().find(|line| line.starts_with("| odd ")).expect("a row for the program");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells, ["", "odd", "7.0", "fails", "10.0", "–", ""]);
    }

    #[test]
    fn medians_and_ratios_stand_in_the_tables() {
        let text = sections(&example());
        let row = text.lines().find(|line| line.starts_with("| fast ")).expect("a row for the program");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells, ["", "fast", "5.0", "10.0", "10.0", "0.50", ""]);
        let means = text.lines().find(|line| line.starts_with("| Cu, Chromium ")).expect("a row of means");
        assert!(means.contains("1.00 (2)"), "{means}");
    }
}
