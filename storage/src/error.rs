//! The crate's one error type. Every kind has a stable `code`, which is what the JavaScript side and the command line show;
//! messages are for people and may change.

use crate::page::PageId;

/// Everything that can go wrong, with what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database or the transaction was closed. Open it again.
    #[error("the database is closed")]
    Closed,
    /// The disk or the storage quota is full. Nothing of the commit is stored; free space and run it again.
    #[error("storage quota exceeded")]
    Quota,
    /// Somebody else committed first. Nothing of this commit is stored; run it again.
    #[error("another connection committed first")]
    Conflict,
    /// A page is missing or damaged. The other pages stay readable.
    #[error("page {page} is corrupt")]
    Corrupt {
        /// Number of the damaged page.
        page: u32,
    },
    /// A log record, the root record or a stored document is damaged.
    #[error("stored data is corrupt: {0}")]
    CorruptRecord(&'static str),
    /// The stored format is newer than this code. Use a newer version of the program.
    #[error("the database has format version {found}, newer than the supported version {supported}")]
    NewerVersion {
        /// Version found in the database.
        found: u32,
        /// Newest version this code reads.
        supported: u32,
    },
    /// An argument is not acceptable.
    #[error("invalid {argument}: {reason}")]
    InvalidInput {
        /// Name of the argument, or its path inside a request.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A query names an operator that does not exist.
    #[error("unknown query operator '{0}'")]
    UnknownOperator(String),
    /// A batch names an operation type that does not exist.
    #[error("unknown operation type '{0}'")]
    UnknownOperation(String),
    /// An operation of a batch failed; nothing of the batch is stored.
    #[error("operation {position} of the batch failed: {source}")]
    Batch {
        /// Position in the batch, counted from zero.
        position: usize,
        /// Why it failed.
        source: Box<Error>,
    },
    /// Another document has the same fields under a unique index.
    #[error("index '{index}' allows each value once")]
    Duplicate {
        /// Name of the index.
        index: String,
    },
    /// The document is not what the Collection's schema says.
    #[error("{path} {reason}")]
    Schema {
        /// Path in the document, `$value` for the whole.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// The database's data is newer than the program; it can only be read.
    #[error("the data has version {found}, newer than the program's version {supported}")]
    NewerData {
        /// Version of the data.
        found: u64,
        /// Newest version that the program's migrations make.
        supported: u64,
    },
    /// The change log no longer has all changes that were asked for. Read everything anew, and follow from there.
    #[error("the change log begins with number {first}")]
    Trimmed {
        /// The oldest transaction in the log.
        first: u64,
    },
    /// The caller gave the work up. Nothing of it is stored.
    #[error("cancelled")]
    Cancelled,
    /// The work took longer than the caller allowed. Nothing of it is stored.
    #[error("the time limit is over")]
    TimedOut,
    /// An earlier operation of the transaction ended in its middle. The transaction can only be rolled back.
    #[error("the transaction was interrupted and can only be rolled back")]
    Interrupted,
    /// The connection to the backend broke. Open the database again.
    #[error("the connection to the storage backend was lost")]
    ConnectionLost,
    /// Any other failure of the backend, in its own words.
    #[error("storage backend: {0}")]
    Backend(String),
}

/// What the crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The stable name of this kind of error. For a failed batch it is the code of the operation's own error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Closed => "closed",
            Error::Quota => "quota",
            Error::Conflict => "conflict",
            Error::Corrupt { .. } | Error::CorruptRecord(_) => "corrupt",
            Error::NewerVersion { .. } | Error::NewerData { .. } => "newerVersion",
            Error::InvalidInput { .. } => "invalidInput",
            Error::UnknownOperator(_) => "unsupportedOperator",
            Error::UnknownOperation(_) => "unknownOperation",
            Error::Batch { source, .. } => source.code(),
            Error::Duplicate { .. } => "duplicate",
            Error::Schema { .. } => "schema",
            Error::Trimmed { .. } => "trimmed",
            Error::Cancelled => "cancelled",
            Error::TimedOut => "timedOut",
            Error::Interrupted => "interrupted",
            Error::ConnectionLost => "connectionLost",
            Error::Backend(_) => "backend",
        }
    }

    pub(crate) fn invalid(argument: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::InvalidInput { argument: argument.into(), reason: reason.into() }
    }

    /// Whether one operation is at fault, and not the database as a whole.
    pub(crate) fn is_of_operation(&self) -> bool {
        !matches!(
            self,
            Error::Closed
                | Error::Conflict
                | Error::Cancelled
                | Error::TimedOut
                | Error::Interrupted
                | Error::ConnectionLost
                | Error::Backend(_)
        )
    }

    pub(crate) fn corrupt(page: PageId) -> Error {
        Error::Corrupt { page: page.0 }
    }
}

/// Why a step over pages stopped: the driver loads missing pages and runs the step again.
#[derive(Debug)]
pub(crate) enum Fault {
    Miss(Vec<PageId>),
    Failed(Error),
}

/// The result of a step that may need pages which are not in memory.
pub(crate) type Step<T> = std::result::Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Failed(error)
    }
}
