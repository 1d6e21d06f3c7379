//! What was measured, as it is stored: `docs/performance/vm.json` holds the last full run. Tables and the chart are made from it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::statistics::{geometric_mean, median};
use crate::error::{Error, Result, at};

#[derive(Serialize, Deserialize, Debug, Default)]
pub struct Record {
    /// When it began, RFC 3339.
    pub date: String,
    pub machine: Machine,
    /// Whether all programs and peers took part, and not just for a quick look.
    pub full: bool,
    /// Counted runs in the warm state and cold ones; slow peers have fewer.
    pub rounds_warm: usize,
    pub rounds_cold: usize,
    pub peers: Vec<PeerState>,
    pub programs: Vec<ProgramFigures>,
    pub page: PageFigures,
}

#[derive(Serialize, Deserialize, Debug, Default)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub system: String,
    /// Processes that wanted to run, means over one minute, at the beginning and at the end.
    pub load: Vec<String>,
    pub chromium: Option<String>,
    pub node: Option<String>,
}

#[derive(Serialize, Deserialize, Debug, Default)]
pub struct PeerState {
    pub name: String,
    pub version: Option<String>,
    /// Why it did not take part.
    pub missing: Option<String>,
}

#[derive(Serialize, Deserialize, Debug, Default)]
pub struct ProgramFigures {
    pub name: String,
    /// By the name of the peer. Native peers have no state to warm up; their figures stand under `warm`.
    pub warm: BTreeMap<String, Timing>,
    pub cold: BTreeMap<String, Timing>,
    /// Bytes of wasm memory after a cold run, which is the peak.
    pub wasm_bytes: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(untagged)]
pub enum Timing {
    /// Milliseconds of each run.
    Runs(Vec<f64>),
    /// Why there are none.
    Fails { fails: String },
}

/// What concerns pages only, by the name of the side.
#[derive(Serialize, Deserialize, Debug, Default)]
pub struct PageFigures {
    /// From nothing to the first result, milliseconds of each start.
    pub start: BTreeMap<String, Vec<f64>>,
    /// Bytes of wasm memory after it.
    pub start_bytes: BTreeMap<String, u64>,
    /// Bytes of what a page loads.
    pub sizes: BTreeMap<String, Size>,
    /// By the crossing's name and the side: microseconds of one, in each round. Missing where a side has no such thing.
    pub crossings: BTreeMap<String, BTreeMap<String, Timing>>,
}

#[derive(Serialize, Deserialize, Debug, Default, Clone, Copy)]
pub struct Size {
    pub raw: u64,
    pub gzip: u64,
    pub brotli: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Warm,
    Cold,
}

/// Two peers over all programs that both ran.
#[derive(Debug, PartialEq)]
pub struct Comparison {
    /// The time of the first divided by that of the second, geometric mean.
    pub mean: f64,
    pub programs: usize,
    /// The programs on which the first is slower, with the ratio.
    pub slower: Vec<(String, f64)>,
}

impl Timing {
    pub fn median(&self) -> Option<f64> {
        match self {
            Timing::Runs(runs) => median(runs),
            Timing::Fails { .. } => None,
        }
    }
}

impl ProgramFigures {
    /// The median of a peer; a native one has the same in both states.
    pub fn time(&self, peer: &str, state: State) -> Option<f64> {
        let cold = self.cold.get(peer).filter(|_| state == State::Cold);
        cold.or(self.warm.get(peer))?.median()
    }

    pub fn ratio(&self, peer: &str, base: &str, state: State) -> Option<f64> {
        Some(self.time(peer, state)? / self.time(base, state)?)
    }
}

impl Record {
    pub fn compare(&self, peer: &str, base: &str, state: State) -> Option<Comparison> {
        let ratios = self.programs.iter().filter_map(|program| Some((program, program.ratio(peer, base, state)?)));
        let ratios: Vec<_> = ratios.map(|(program, ratio)| (program.name.clone(), ratio)).collect();
        let mean = geometric_mean(&ratios.iter().map(|(_, ratio)| *ratio).collect::<Vec<_>>())?;
        let programs = ratios.len();
        Some(Comparison { mean, programs, slower: ratios.into_iter().filter(|(_, ratio)| *ratio > 1.0).collect() })
    }

    /// The median of a crossing in microseconds.
    pub fn crossing(&self, name: &str, side: &str) -> Option<f64> {
        self.page.crossings.get(name)?.get(side)?.median()
    }

    pub fn start(&self, side: &str) -> Option<f64> {
        median(self.page.start.get(side)?)
    }

    /// The peers that took part.
    pub fn present(&self) -> impl Iterator<Item = &PeerState> {
        self.peers.iter().filter(|peer| peer.missing.is_none())
    }

    pub fn read(path: &Path) -> Result<Record> {
        let text = std::fs::read(path).map_err(at(path))?;
        serde_json::from_slice(&text).map_err(|error| Error::Bench(format!("{}: {error}", path.display())))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Bench(error.to_string()))?;
        std::fs::write(path, compact_arrays(&text) + "\n").map_err(at(path))
    }
}

/// Puts arrays of numbers on one line each.
fn compact_arrays(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut lines = json.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        if line.ends_with('[') && lines.peek().is_some_and(|next| !next.trim().starts_with(['{', '[', '"'])) {
            for item in lines.by_ref() {
                let item = item.trim();
                out.push_str(item);
                if item.starts_with(']') {
                    break;
                }
                if item.ends_with(',') {
                    out.push(' ');
                }
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn runs(times: &[f64]) -> Timing {
        Timing::Runs(times.to_vec())
    }

    /// Three programs: one on which Cu is faster than wasmoon, one on which it is slower, one on which wasmoon fails.
    pub fn example() -> Record {
        let program = |name: &str, cu: &[f64], wasmoon: Timing| ProgramFigures {
            name: name.into(),
            warm: [("cu".into(), runs(cu)), ("wasmoon".into(), wasmoon), ("lua5.4".into(), runs(&[10.0]))].into(),
            cold: [("cu".into(), runs(&[30.0]))].into(),
            wasm_bytes: [("cu".into(), 2 << 20)].into(),
        };
        let fails = Timing::Fails { fails: "prints x | y".into() };
        let state = |name: &str| PeerState { name: name.into(), version: Some("1.0".into()), missing: None };
        let missing = Some("not to be had".into());
        Record {
            date: "2026-01-02T03:04:05Z".into(),
            full: true,
            rounds_warm: 3,
            rounds_cold: 1,
            peers: vec![
                state("cu"),
                state("wasmoon"),
                state("lua5.4"),
                PeerState { name: "luajit".into(), version: None, missing },
            ],
            programs: vec![
                program("fast", &[9.0, 5.0, 4.0], runs(&[10.0, 10.0, 11.0])),
                program("slow", &[20.0], runs(&[10.0])),
                program("odd", &[7.0], fails),
            ],
            page: PageFigures {
                start: [("cu".into(), vec![50.0]), ("wasmoon".into(), vec![100.0])].into(),
                start_bytes: [("cu".into(), 1 << 20)].into(),
                sizes: [("cu".into(), Size { raw: 900_000, gzip: 400_000, brotli: 300_000 })].into(),
                crossings: [("callLua".into(), [("cu".into(), runs(&[2.0])), ("wasmoon".into(), runs(&[4.0]))].into())]
                    .into(),
            },
            ..Record::default()
        }
    }

    #[test]
    fn comparisons_leave_out_what_fails() {
        let record = example();
        let comparison = record.compare("cu", "wasmoon", State::Warm).expect("both ran something");
        assert_eq!(comparison.programs, 2);
        assert!((comparison.mean - 1.0).abs() < 1e-12, "{comparison:?}");
        assert_eq!(comparison.slower, [("slow".into(), 2.0)]);
        assert_eq!(record.compare("cu", "luajit", State::Warm), None);
        // Native peers are measured once for both states.
        let cold = record.compare("cu", "lua5.4", State::Cold).expect("both ran all");
        assert_eq!((cold.programs, cold.slower.len()), (3, 3));
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let record = example();
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("record.json");
        record.write(&path).expect("it can be written");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(text.contains("\"cu\": [9.0, 5.0, 4.0],\n"), "{text}");
        let again = Record::read(&path).expect("it can be read");
        assert_eq!(format!("{again:?}"), format!("{record:?}"));
    }
}
