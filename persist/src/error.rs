//! The crate's one error type. Every kind has a stable `code`, which is what the JavaScript side and the command line show; messages are
//! for people and may change.

use cu_vm::bytecode::verify::VerifyError;
use cu_vm::bytecode::wire::{Fault, WireError};

/// What the crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. After an error of saving nothing is written; after an error of loading the VM is as it
/// was, apart from garbage that the next collection takes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something reachable cannot be saved. Remove it at the path, or register it as a permanent.
    #[error("{path}: cannot save {what}")]
    NotPersistable {
        /// Where it is, from the saved value on: `function 'counter'.upvalue 'co'`.
        path: String,
        /// What it is: `a coroutine`, `a host function 'fetch'`.
        what: String,
    },
    /// The bytes are damaged or no blob at all. Nothing can be done with them.
    #[error("corrupt data at byte {offset}{}{path}: {kind}", if .path.is_empty() { "" } else { " in " })]
    Corrupt {
        /// What is wrong.
        kind: CorruptKind,
        /// Where, in the file as long as the envelope is read, in the decompressed payload after that.
        offset: usize,
        /// Which part: `table 3`; empty for the envelope.
        path: String,
    },
    /// The blob refers to a permanent that this VM does not have. Register it before loading.
    #[error("unknown permanent '{name}'{}{path}", if .path.is_empty() { "" } else { " in " })]
    UnknownPermanent {
        /// The permanent's name.
        name: String,
        /// Which part refers to it; empty when only the name is known.
        path: String,
    },
    /// A userdata of a kind that no codec of this host knows. Register the codec before loading.
    #[error("unknown userdata '{kind}'")]
    UnknownUserdata {
        /// The kind.
        kind: String,
    },
    /// The format version is not one this code reads. Use a newer version of the program.
    #[error("format version {found} is not supported")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A limit does not allow it. Raise the limit, or save less.
    #[error("over the limit: {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
    },
    /// Code that the verifier rejects.
    #[error("function {function}: {source}")]
    Verify {
        /// The function's number in the blob.
        function: usize,
        /// What the verifier says.
        source: VerifyError,
    },
    /// A function was wanted and something else is there.
    #[error("a function is expected, not {found}")]
    NotAFunction {
        /// What is there: `a table`.
        found: String,
    },
    /// A function, or a function blob, where the host allows data only.
    #[error("{path}: functions are not allowed here")]
    FunctionRefused {
        /// Where it is.
        path: String,
    },
    /// A table of `_home` could not be read when it was needed. What the run did with it cannot be trusted; roll back.
    #[error("_home cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// The store of `_home` failed.
    #[error("{reason}")]
    Storage {
        /// What the store says.
        reason: String,
    },
    /// Somebody else has committed changes of the same `_home` since it was read here. Nothing was stored; start again.
    #[error("_home was changed by another connection")]
    HomeConflict,
    /// There is no function of this name in this collection.
    #[error("no function '{name}' in '{collection}'")]
    UnknownFunction {
        /// The collection asked for.
        collection: String,
        /// The name asked for.
        name: String,
    },
    /// Code has changed what it was only allowed to read; that is undone.
    #[error("permission denied: table '{table}' may not be changed")]
    Denied {
        /// Which table.
        table: String,
    },
}

/// In what way bytes are corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptKind {
    /// The data does not start as it must.
    #[error("not a blob")]
    Magic,
    /// A flag that this version does not define is set.
    #[error("unknown flags")]
    Flags,
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The data ends too early.
    #[error("truncated")]
    Truncated,
    /// The data goes on after its end.
    #[error("bytes after the end")]
    TrailingBytes,
    /// The compressed payload does not inflate to the declared size.
    #[error("damaged compression")]
    Compression,
    /// A value is not encoded as it must be.
    #[error("malformed value")]
    Malformed,
    /// A count says more than the bytes that are left can hold.
    #[error("count out of range")]
    Count,
    /// A reference to something that is not there.
    #[error("reference out of range")]
    Reference,
    /// A value where it may not be: a nil key, a metatable that is no table.
    #[error("value of the wrong kind")]
    Kind,
    /// Parts that do not belong together: an image of a VM that cannot have been.
    #[error("inconsistent")]
    Inconsistent,
    /// A document that holds a blob of a kind other than a function.
    #[error("unknown blob kind")]
    BlobKind,
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let kind = match error.fault {
            Fault::Truncated => CorruptKind::Truncated,
            Fault::TrailingBytes => CorruptKind::TrailingBytes,
            Fault::Malformed => CorruptKind::Malformed,
            Fault::Count => CorruptKind::Count,
            Fault::Reference => CorruptKind::Reference,
        };
        Error::corrupt(kind, error.offset)
    }
}

impl Error {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotPersistable { .. } => "notPersistable",
            Error::Corrupt { .. } => "corrupt",
            Error::UnknownPermanent { .. } => "unknownPermanent",
            Error::UnknownUserdata { .. } => "unknownUserdata",
            Error::Version { .. } => "newerVersion",
            Error::Limit { .. } => "limit",
            Error::Verify { .. } => "verify",
            Error::NotAFunction { .. } => "notAFunction",
            Error::FunctionRefused { .. } => "functionRefused",
            Error::Unreadable { .. } => "unreadable",
            Error::Storage { .. } => "storage",
            Error::HomeConflict => "conflict",
            Error::UnknownFunction { .. } => "unknownFunction",
            Error::Denied { .. } => "denied",
        }
    }

    pub(crate) fn corrupt(kind: CorruptKind, offset: usize) -> Error {
        Error::Corrupt { kind, offset, path: String::new() }
    }

    /// The same error, told where it is if it does not know yet.
    pub(crate) fn within(mut self, place: impl FnOnce() -> String) -> Error {
        if let Error::Corrupt { path, .. } | Error::UnknownPermanent { path, .. } = &mut self
            && path.is_empty()
        {
            *path = place();
        }
        self
    }
}
