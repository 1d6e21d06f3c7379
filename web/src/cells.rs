//! Where answers lie as cells for TypeScript to read (`web/ts/cells.ts`), and where that is.

use std::cell::{Cell, RefCell};

use cu_storage::{Cells, Document, Encoded, Row};

use crate::error::Result;

/// Addresses and counts, in the order in which TypeScript reads them.
const WORDS: usize = 7;

/// What the last answer was that was given as cells.
#[derive(Default)]
pub struct Answers {
    cells: RefCell<Cells>,
    cursor: RefCell<Document>,
    /// In a place of its own, which stays when this moves.
    place: Box<[Cell<u32>; WORDS]>,
}

impl Answers {
    /// Lays rows out, and gives their count.
    pub fn put_rows(&self, rows: &[Row], with_keys: bool, cursor: Option<&Document>) -> Result<u32> {
        self.cells.borrow_mut().set_rows(rows, with_keys)?;
        self.cursor.replace(cursor.cloned().unwrap_or_default());
        self.tell();
        Ok(rows.len() as u32)
    }

    /// Lays one document out.
    pub fn put(&self, document: &Encoded) -> Result<u32> {
        self.cells.borrow_mut().set_document(document.as_ref())?;
        self.tell();
        Ok(1)
    }

    /// The address of what [`WORDS`] are about; it stays.
    pub fn place(&self) -> u32 {
        self.place.as_ptr().addr() as u32
    }

    pub fn shape(&self, number: usize) -> Vec<u8> {
        self.cells.borrow().shape(number)
    }

    pub fn cursor(&self) -> Result<Vec<u8>> {
        Ok(self.cursor.take().encode()?)
    }

    pub fn release(&self) {
        self.cells.borrow_mut().release();
    }

    fn tell(&self) {
        let cells = self.cells.borrow();
        let parts = cells.parts();
        let words = [
            parts.kinds.as_ptr().addr(),
            parts.numbers.as_ptr().addr(),
            parts.texts.as_ptr().addr(),
            parts.encoded.as_ptr().addr(),
            parts.encoded.len(),
            parts.blocks.as_ptr().addr(),
            parts.epoch as usize,
        ];
        for (place, word) in self.place.iter().zip(words) {
            place.set(word as u32);
        }
    }
}
