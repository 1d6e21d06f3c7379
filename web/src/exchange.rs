//! A buffer in wasm memory that small requests and answers go through, so that neither side allocates for them.
//!
//! JavaScript writes a request into it, calls, and reads the answer from the same place. What is larger goes the usual way.

use crate::error::{Error, Result};

const BYTES: usize = 2048;

/// What [`Exchange::answer`] gives instead of a length; see `Instance::call_exchanged`.
const NOTHING: i32 = -1;
const TAKE: i32 = -2;

#[derive(Default)]
pub struct Exchange {
    /// Empty until its place is asked for; then it keeps its length and its place.
    buffer: Vec<u8>,
    /// An answer that did not fit, or an error.
    left: Option<Result<Vec<u8>>>,
}

impl Exchange {
    /// The address of the buffer and its length.
    pub fn place(&mut self) -> Vec<u32> {
        self.buffer.resize(BYTES, 0);
        vec![self.buffer.as_ptr().addr() as u32, BYTES as u32]
    }

    /// The request that JavaScript wrote.
    pub fn request(&self, length: u32) -> &[u8] {
        self.buffer.get(..length as usize).unwrap_or_default()
    }

    /// Where an answer of plain values can be written.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Leaves an answer in the buffer, and tells how long it is or where else to look.
    pub fn answer(&mut self, answer: Result<Option<Vec<u8>>>) -> i32 {
        let left = match answer {
            Ok(None) => return NOTHING,
            Ok(Some(bytes)) => match (self.buffer.get_mut(..bytes.len()), i32::try_from(bytes.len())) {
                (Some(place), Ok(length)) => {
                    place.copy_from_slice(&bytes);
                    return length;
                }
                _ => Ok(bytes),
            },
            Err(error) => Err(error),
        };
        self.left = Some(left);
        TAKE
    }

    pub fn take(&mut self) -> Result<Vec<u8>> {
        self.left.take().unwrap_or_else(|| Err(Error::invalid("exchange", "has nothing to take")))
    }
}
