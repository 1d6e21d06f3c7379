//! The goals of the project, and what a record says to them.

use super::peer;
use super::record::{Record, State};

pub struct Goal {
    pub what: String,
    pub goal: String,
    /// `None` where it was not measured.
    pub measured: Option<Measured>,
}

pub struct Measured {
    pub text: String,
    pub met: bool,
}

const MEMORY_BYTES_MAX: u64 = 1_500_000;
const GZIP_BYTES_MAX: u64 = 300_000;

/// Every goal, in the order of the documentation.
pub fn all(record: &Record) -> Vec<Goal> {
    let time = |peer, base, state, most| time_goal(record, peer, base, state, most);
    vec![
        time(peer::CU, peer::WASMOON, State::Warm, 0.55),
        slower_goal(record),
        time(peer::CU, peer::LUAU, State::Warm, 1.0),
        time(peer::CU, peer::WASMOON, State::Cold, 0.45),
        time(peer::CU, peer::FENGARI, State::Warm, 0.08),
        time(peer::CU, peer::LUA, State::Warm, 0.85),
        time(peer::CU_NATIVE, peer::LUA, State::Warm, 0.9),
        ratio_goal(
            "start to first result, against wasmoon".into(),
            0.5,
            ratio(record.start("cu"), record.start("wasmoon")),
        ),
        bytes_goal(
            "wasm memory after start, without storage",
            MEMORY_BYTES_MAX,
            record.page.start_bytes.get("cu").copied(),
        ),
        bytes_goal("everything, gzipped", GZIP_BYTES_MAX, record.page.sizes.get("cu").map(|size| size.gzip)),
        rate_goal(record, "JS → Lua calls", "callLua", 5.0),
        rate_goal(record, "Lua → JS calls", "callHost", 3.0),
        rate_goal(record, "1,000-element table JS → Lua", "tableIn", 10.0),
        rate_goal(record, "1,000-element table Lua → JS", "tableOut", 10.0),
    ]
}

fn ratio(value: Option<f64>, base: Option<f64>) -> Option<f64> {
    Some(value? / base?)
}

fn time_goal(record: &Record, name: &str, base: &str, state: State, most: f64) -> Goal {
    let state_name = match state {
        State::Warm => "",
        State::Cold => ", cold",
    };
    let measured = record.compare(name, base, state).map(|comparison| Measured {
        text: format!("{:.2} × ({} programs)", comparison.mean, comparison.programs),
        met: comparison.mean <= most,
    });
    let what = format!("time of {} against {}{state_name}", peer::title(name), peer::title(base));
    Goal { what, goal: format!("≤ {most:.2} ×"), measured }
}

fn slower_goal(record: &Record) -> Goal {
    let measured = record.compare(peer::CU, peer::WASMOON, State::Warm).map(|comparison| {
        let slower = comparison.slower.len();
        Measured { text: if slower == 0 { "none".into() } else { slower.to_string() }, met: slower == 0 }
    });
    Goal { what: "programs slower than wasmoon, warm".into(), goal: "none".into(), measured }
}

fn ratio_goal(what: String, most: f64, measured: Option<f64>) -> Goal {
    let measured = measured.map(|ratio| Measured { text: format!("{ratio:.2} ×"), met: ratio <= most });
    Goal { what, goal: format!("≤ {most:.2} ×"), measured }
}

/// A rate against wasmoon's: at least this many times as high.
fn rate_goal(record: &Record, what: &str, crossing: &str, least: f64) -> Goal {
    let ratio = ratio(record.crossing(crossing, "wasmoon"), record.crossing(crossing, "cu"));
    let measured = ratio.map(|ratio| Measured { text: format!("{ratio:.2} ×"), met: ratio >= least });
    Goal { what: format!("{what}, rate against wasmoon's"), goal: format!("≥ {least:.0} ×"), measured }
}

fn bytes_goal(what: &str, most: u64, measured: Option<u64>) -> Goal {
    let kilobytes = |bytes: u64| format!("{} KB", bytes.div_ceil(1000));
    let measured = measured.map(|bytes| Measured { text: kilobytes(bytes), met: bytes <= most });
    Goal { what: what.into(), goal: format!("≤ {}", kilobytes(most)), measured }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    #[test]
    fn goals_are_held_against_what_was_measured() {
        let goals = all(&example());
        let find = |what: &str| goals.iter().find(|goal| goal.what == what).unwrap_or_else(|| panic!("{what}"));
        let check = |what: &str, expected: Option<(&str, bool)>| {
            let measured = find(what).measured.as_ref().map(|measured| (measured.text.as_str(), measured.met));
            assert_eq!(measured, expected, "{what}");
        };
        check("time of Cu, Chromium against wasmoon", Some(("1.00 × (2 programs)", false)));
        check("programs slower than wasmoon, warm", Some(("1", false)));
        check("time of Cu, Chromium against luau-web", None);
        check("start to first result, against wasmoon", Some(("0.50 ×", true)));
        check("wasm memory after start, without storage", Some(("1049 KB", true)));
        check("everything, gzipped", Some(("400 KB", false)));
        check("JS → Lua calls, rate against wasmoon's", Some(("2.00 ×", false)));
        check("Lua → JS calls, rate against wasmoon's", None);
    }
}
