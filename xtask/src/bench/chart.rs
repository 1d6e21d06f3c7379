//! A record as a picture: how long each peer takes for wasmoon's second, and how Cu stands on each program.
//!
//! The SVG stands alone and has its colours for light and for dark surroundings. Bars begin at zero; those that would leave the
//! picture end in a gap with their figure beside it.

use std::fmt::Write;

use super::peer::{self, Place};
use super::record::{Record, State};

const WIDTH: f64 = 760.0;
const LABEL: f64 = 150.0;
const VALUE: f64 = 70.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
const TITLE: f64 = 58.0;

const STYLE: &str = "\
svg{--surface:#ffffff;--text:#1f2328;--quiet:#59636e;--line:#d1d9e0;--ours:#0969da;--other:#afb8c1}\
@media(prefers-color-scheme:dark){svg{--surface:#0d1117;--text:#f0f6fc;--quiet:#9198a1;--line:#3d444d;--ours:#4493f8;--other:#656c76}}\
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:var(--text)}\
.head{font-size:15px;font-weight:600}.quiet{fill:var(--quiet);font-size:12px}\
.value{paint-order:stroke;stroke:var(--surface);stroke-width:4px}.surface{fill:var(--surface)}.ours{fill:var(--ours)}.other{fill:var(--other)}\
.line{stroke:var(--line)}.base{stroke:var(--text);stroke-dasharray:3 3}";

struct Bar {
    label: String,
    value: f64,
    ours: bool,
    note: String,
}

struct Panel {
    title: &'static str,
    subtitle: String,
    /// What the longest bar stands for.
    most: f64,
    step: f64,
    bars: Vec<Bar>,
}

/// The picture, or none when there is nothing to show: Cu or wasmoon did not take part.
pub fn svg(record: &Record) -> Option<String> {
    let panels = [means(record)?, programs(record)?];
    let height: f64 = panels.iter().map(Panel::height).sum();
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Times of Lua programs relative to wasmoon\">\n<style>{STYLE}</style>\n\
         <rect class=\"surface\" width=\"{WIDTH}\" height=\"{height}\"/>"
    );
    let mut top = 0.0;
    for panel in &panels {
        panel.draw(&mut out, top);
        top += panel.height();
    }
    out.push_str("</svg>\n");
    Some(out)
}

fn means(record: &Record) -> Option<Panel> {
    let mut bars: Vec<Bar> = record
        .present()
        .filter_map(|state| {
            let comparison = record.compare(&state.name, peer::WASMOON, State::Warm)?;
            let all = comparison.programs == record.programs.len();
            let note = if all { String::new() } else { format!(" ({} programs)", comparison.programs) };
            let ours = state.name.starts_with("cu");
            let place = peer::ALL.iter().find(|peer| peer.name == state.name).map(|peer| peer.place);
            let native = place == Some(Place::Native) && !ours;
            let title = peer::title(&state.name);
            let label = if native { format!("{title}, native") } else { title.to_owned() };
            Some(Bar { label, value: comparison.mean, ours, note })
        })
        .collect();
    bars.sort_by(|left, right| left.value.total_cmp(&right.value));
    let subtitle = "time relative to wasmoon in Chromium, warm, geometric mean; shorter is faster".into();
    (!bars.is_empty()).then_some(Panel { title: "Lua programs", subtitle, most: 2.5, step: 0.5, bars })
}

fn programs(record: &Record) -> Option<Panel> {
    let mut bars: Vec<Bar> = record
        .programs
        .iter()
        .filter_map(|program| {
            let value = program.ratio(peer::CU, peer::WASMOON, State::Warm)?;
            Some(Bar { label: program.name.clone(), value, ours: true, note: String::new() })
        })
        .collect();
    bars.sort_by(|left, right| left.value.total_cmp(&right.value));
    let subtitle = format!("Cu in Chromium relative to wasmoon, warm, {} programs", bars.len());
    (!bars.is_empty()).then_some(Panel { title: "Each program", subtitle, most: 1.5, step: 0.25, bars })
}

impl Panel {
    fn height(&self) -> f64 {
        TITLE + ROW * self.bars.len() as f64 + 36.0
    }

    fn draw(&self, out: &mut String, top: f64) {
        let scale = (WIDTH - LABEL - VALUE - 20.0) / self.most;
        let left = LABEL + 10.0;
        let bottom = top + TITLE + ROW * self.bars.len() as f64;
        let _ = writeln!(out, "<text class=\"head\" x=\"16\" y=\"{:.1}\">{}</text>", top + 26.0, escape(self.title));
        let _ =
            writeln!(out, "<text class=\"quiet\" x=\"16\" y=\"{:.1}\">{}</text>", top + 45.0, escape(&self.subtitle));
        let mut tick = 0.0;
        while tick <= self.most + 1e-9 {
            let x = left + tick * scale;
            let class = if (tick - 1.0_f64).abs() < 1e-9 { "base" } else { "line" };
            let (from, to) = (top + TITLE - 4.0, bottom + 2.0);
            let _ = writeln!(out, "<path class=\"{class}\" d=\"M{x:.1} {from:.1}V{to:.1}\"/>");
            let y = bottom + 17.0;
            let _ =
                writeln!(out, "<text class=\"quiet\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{tick}</text>");
            tick += self.step;
        }
        for (number, bar) in self.bars.iter().enumerate() {
            bar.draw(out, left, top + TITLE + ROW * number as f64, self.most, scale);
        }
    }
}

impl Bar {
    fn draw(&self, out: &mut String, left: f64, top: f64, most: f64, scale: f64) {
        let class = if self.ours { "ours" } else { "other" };
        let length = self.value.min(most) * scale;
        let (y, middle) = (top + (ROW - BAR) / 2.0, top + ROW / 2.0 + 4.5);
        let label = escape(&self.label);
        let _ = writeln!(out, "<text x=\"{LABEL}\" y=\"{middle:.1}\" text-anchor=\"end\">{label}</text>");
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>"
        );
        if self.value > most {
            let x = left + length - 18.0;
            let _ = writeln!(out, "<path class=\"surface\" d=\"M{x:.1} {:.1}l5 -18h5l-5 18z\"/>", y + BAR + 2.0);
        }
        let value = if self.value < 10.0 { format!("{:.2}", self.value) } else { format!("{:.1}", self.value) };
        let (x, note) = (left + length + 6.0, escape(&self.note));
        let _ = writeln!(
            out,
            "<text class=\"value\" x=\"{x:.1}\" y=\"{middle:.1}\">{value}<tspan class=\"quiet\">{note}</tspan></text>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    #[test]
    fn bars_stand_for_ratios() {
        let svg = svg(&example()).expect("there is something to show");
        let width = |label: &str| -> f64 {
            let (_, rest) = svg.split_once(&format!(">{label}</text>")).unwrap_or_else(|| panic!("no {label}: {svg}"));
            let (_, rest) = rest.split_once("width=\"").expect("a bar follows its label");
            rest.split('"').next().and_then(|text| text.parse().ok()).expect("a width is a number")
        };
        assert!((width("slow") / width("fast") - 3.0).abs() < 0.01, "{svg}");
        assert!(!svg.contains(">odd</text>"), "a program that wasmoon does not run has no ratio");
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn nothing_to_compare_gives_no_picture() {
        let mut record = example();
        record.peers.retain(|peer| peer.name != "cu");
        record.programs.iter_mut().for_each(|program| drop(program.warm.remove("cu")));
        assert!(svg(&record).is_none());
    }
}
