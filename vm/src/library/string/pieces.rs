//! Text under construction that outlives a suspension: a Lua table of strings that are joined at the end.
//!
//! Pieces are joined a hundred at a time, and joined pieces with their equals, so that the table stays small and each byte is
//! copied a logarithmic number of times.

use crate::call::Call;
use crate::error::Error;
use crate::fuel;
use crate::heap::table::Table;
use crate::heap::value::Value;

/// How many pieces there may be at most.
const PIECES_MAX: usize = 128;
/// How many pieces at the end are joined at least.
const JOINED_MIN: usize = 96;

/// A list of pieces.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'gc>(Table<'gc>);

impl<'gc> Pieces<'gc> {
    pub(super) fn new(call: &Call<'_, 'gc>) -> Result<Self, Error<'gc>> {
        call.context().accounting().check(PIECES_MAX * 16)?;
        Ok(Pieces(Table::new(call.context(), PIECES_MAX, 0)))
    }

    /// The list behind a value that [`Self::value`] gave, if it is one.
    pub(super) fn from_value(value: Value<'gc>) -> Option<Self> {
        match value {
            Value::Table(table) => Some(Pieces(table)),
            _ => None,
        }
    }

    /// The list as a value to keep in a slot.
    pub(super) fn value(self) -> Value<'gc> {
        Value::Table(self.0)
    }

    /// Adds text at the end; fails, without any change to the text, when the heap limit does not allow it.
    pub(super) fn push(self, call: &mut Call<'_, 'gc>, text: &[u8]) -> Result<(), Error<'gc>> {
        let piece = call.string(text)?;
        let mut count = self.0.length() as usize;
        if count >= PIECES_MAX {
            self.join_end(call, count)?;
            count = self.0.length() as usize;
        }
        call.set_raw(self.0, Value::Integer(count as i64 + 1), piece)
    }

    /// Appends all text to `out`.
    pub(super) fn append_to(self, call: &mut Call<'_, 'gc>, out: &mut Vec<u8>) -> Result<(), Error<'gc>> {
        self.append_from(call, 1, self.0.length() as usize, out)
    }

    /// Replaces pieces at the end by one: at least [`JOINED_MIN`] of them, and those before that are no longer than what follows.
    fn join_end(self, call: &mut Call<'_, 'gc>, count: usize) -> Result<(), Error<'gc>> {
        let mut first = count + 1;
        let mut total = 0;
        while first > 1 {
            let length = self.piece(first - 1).len();
            if count + 1 - first >= JOINED_MIN && length > total {
                break;
            }
            total += length;
            first -= 1;
        }
        let mut joined = Vec::new();
        self.append_from(call, first, count, &mut joined)?;
        let joined = call.new_string(joined)?;
        call.set_raw(self.0, Value::Integer(first as i64), joined)?;
        for index in (first + 1..=count).rev() {
            call.set_raw(self.0, Value::Integer(index as i64), Value::Nil)?;
        }
        Ok(())
    }

    fn append_from(
        self,
        call: &mut Call<'_, 'gc>,
        first: usize,
        last: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error<'gc>> {
        let total: usize = (first..=last).map(|index| self.piece(index).len()).sum();
        call.charge(fuel::copied(total));
        call.context().accounting().check(total + out.len())?;
        out.reserve(total);
        for index in first..=last {
            out.extend_from_slice(self.piece(index));
        }
        Ok(())
    }

    fn piece(self, index: usize) -> &'gc [u8] {
        match self.0.get_integer(index as i64) {
            Value::String(piece) => piece.as_bytes(),
            _ => &[],
        }
    }
}
