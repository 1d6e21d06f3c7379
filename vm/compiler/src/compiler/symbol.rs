//! Names and strings of one chunk, each stored once and compared by number.

use std::collections::HashMap;
use std::rc::Rc;

/// A name or string of the chunk being compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Symbol(u32);

/// All symbols of a chunk.
#[derive(Default)]
pub(super) struct Symbols {
    texts: Vec<Rc<[u8]>>,
    numbers: HashMap<Rc<[u8]>, Symbol>,
}

impl Symbols {
    /// The symbol with this text.
    pub(super) fn intern(&mut self, text: &[u8]) -> Symbol {
        if let Some(&symbol) = self.numbers.get(text) {
            return symbol;
        }
        let symbol = Symbol(self.texts.len() as u32);
        let text: Rc<[u8]> = text.into();
        self.texts.push(Rc::clone(&text));
        self.numbers.insert(text, symbol);
        symbol
    }

    pub(super) fn text(&self, symbol: Symbol) -> &[u8] {
        &self.texts[symbol.0 as usize]
    }
}
