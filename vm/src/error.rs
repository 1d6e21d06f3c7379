//! Errors: what Lua code throws and catches, and what the embedding API reports.

use crate::heap::accounting::OutOfMemory;
use crate::heap::table::TableError;
use crate::heap::value::Value;

/// An error on its way to the nearest protected call.
#[derive(Debug, Clone, Copy)]
pub enum Error<'gc> {
    /// Any value, thrown by `error` or by a failed operation.
    Thrown(Value<'gc>),
    /// An allocation over the heap limit. The operation is tried again after a full collection; if that does not help, Lua code sees
    /// "not enough memory".
    OutOfMemory,
}

impl From<OutOfMemory> for Error<'_> {
    fn from(_: OutOfMemory) -> Self {
        Error::OutOfMemory
    }
}

/// An error that left Lua code, in a form that outlives the heap.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The source text does not compile. The message has PUC Lua's text, position included.
    #[error("{message}")]
    Syntax { message: String, chunk: String, line: u32 },
    /// Uncaught error in Lua code.
    #[error("{message}")]
    Lua {
        /// What `tostring` makes of the error value.
        message: String,
        traceback: String,
        /// Where the message says the error happened.
        position: Option<(String, u32)>,
    },
    /// The run ended itself by `os.exit`.
    #[error("exit with code {code}")]
    Exited { code: i32 },
    /// The run used all its fuel and was ended by the host.
    #[error("out of fuel")]
    OutOfFuel,
    /// Nothing is running, or something is running already.
    #[error("{0}")]
    Usage(&'static str),
}

/// What a table refuses, as an error without position.
impl From<TableError> for &'static str {
    fn from(error: TableError) -> Self {
        match error {
            TableError::NilIndex => "table index is nil",
            TableError::NanIndex => "table index is NaN",
            TableError::OutOfMemory => "not enough memory",
        }
    }
}
