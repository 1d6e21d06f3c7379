//! Who takes part, and where it runs.

use crate::error::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A page in headless Chromium.
    Page,
    /// A Node process.
    Node,
    /// A process of its own for each run, compiled for this machine.
    Native,
}

#[derive(Debug)]
pub struct Peer {
    /// What the command line and the record call it.
    pub name: &'static str,
    pub title: &'static str,
    pub place: Place,
    /// In a page and in Node, the side in `web/bench/sides`.
    pub side: &'static str,
    /// Whether it takes part when nobody is named.
    pub usual: bool,
}

pub const CU: &str = "cu";
pub const CU_NODE: &str = "cu-node";
pub const CU_NATIVE: &str = "cu-native";
pub const WASMOON: &str = "wasmoon";
pub const LUAU: &str = "luau-web";
pub const FENGARI: &str = "fengari";
pub const LUA: &str = "lua5.4";
pub const LUAJIT: &str = "luajit";
pub const PICCOLO: &str = "piccolo";
pub const OMNILUA: &str = "omnilua";

pub const ALL: [Peer; 11] = [
    wasm(CU, "Cu, Chromium", Place::Page, "cu"),
    wasm(WASMOON, "wasmoon", Place::Page, "wasmoon"),
    wasm(LUAU, "luau-web", Place::Page, "luau-web"),
    wasm(FENGARI, "fengari", Place::Page, "fengari"),
    wasm(CU_NODE, "Cu, Node", Place::Node, "cu"),
    Peer { usual: false, ..wasm("wasmoon-node", "wasmoon, Node", Place::Node, "wasmoon") },
    native(CU_NATIVE, "Cu, native"),
    native(LUA, "lua5.4"),
    native(LUAJIT, "luajit -joff"),
    native(PICCOLO, "piccolo"),
    native(OMNILUA, "omnilua"),
];

const fn wasm(name: &'static str, title: &'static str, place: Place, side: &'static str) -> Peer {
    Peer { name, title, place, side, usual: true }
}

const fn native(name: &'static str, title: &'static str) -> Peer {
    Peer { name, title, place: Place::Native, side: "", usual: true }
}

/// Those that are named, in the order of the list; the usual ones if nobody is.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Peer>> {
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|peer| peer.name != **name)) {
        let known: Vec<&str> = ALL.iter().map(|peer| peer.name).collect();
        return Err(Error::Usage(format!("no peer '{unknown}'; there are {}", known.join(", "))));
    }
    let takes_part = |peer: &&Peer| if names.is_empty() { peer.usual } else { names.iter().any(|n| n == peer.name) };
    Ok(ALL.iter().filter(takes_part).collect())
}

/// The title of a peer of a record.
pub fn title(name: &str) -> &str {
    ALL.iter().find(|peer| peer.name == name).map_or(name, |peer| peer.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_chosen_by_name() {
        assert!(chosen(&[]).unwrap().iter().all(|peer| peer.usual));
        let two = chosen(&["lua5.4".into(), "cu".into()]).unwrap();
        assert_eq!(two.iter().map(|peer| peer.name).collect::<Vec<_>>(), ["cu", "lua5.4"]);
        let error = chosen(&["lua".into()]).unwrap_err().to_string();
        assert!(error.contains("no peer 'lua'") && error.contains("wasmoon"), "{error}");
    }
}
