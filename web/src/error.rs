//! The crate's one error type, and how it looks in JavaScript: an `Error` object with the properties `code` and, where
//! an operation of a batch is to blame, `position`, and where a document is, `path`. Codes are those that `web/ts/errors.ts` lists.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// What the crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that a call can throw.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database could not do it, or was asked something wrong.
    #[error(transparent)]
    Storage(#[from] cu_storage::Error),
    /// A function could not be saved or loaded.
    #[cfg(feature = "vm")]
    #[error(transparent)]
    Persist(#[from] cu_persist::Error),
    /// The state could not be saved, or a saved one not restored.
    #[cfg(feature = "vm")]
    #[error("{0}")]
    Image(cu_persist::Error),
    /// A value is no document, or a document makes no value.
    #[cfg(feature = "vm")]
    #[error("{0}")]
    Value(cu_persist::Error),
    /// The VM refused to start.
    #[cfg(feature = "vm")]
    #[error(transparent)]
    Run(#[from] cu_vm::RunError),
    /// There is no IndexedDB, or it is refused. Use `memory`.
    #[cfg(feature = "storage")]
    #[error("IndexedDB is unavailable: {0}")]
    Unavailable(String),
    /// Another tab keeps the database in an older or newer shape, or does not let go of it. Close it.
    #[cfg(feature = "storage")]
    #[error("opening the database is blocked by another tab")]
    Blocked,
    /// An argument is not acceptable.
    #[error("invalid {argument}: {reason}")]
    InvalidInput { argument: String, reason: String },
    /// No memory for it below the heap limit.
    #[cfg(feature = "vm")]
    #[error("not enough memory")]
    OutOfMemory,
}

impl Error {
    pub(crate) fn invalid(argument: &str, reason: &str) -> Error {
        Error::InvalidInput { argument: argument.to_owned(), reason: reason.to_owned() }
    }

    /// The code that JavaScript sees.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Error::Storage(error) => storage_code(error),
            Error::InvalidInput { .. } => "INVALID_INPUT",
            #[cfg(feature = "vm")]
            Error::Persist(error) => persist_code(error),
            #[cfg(feature = "vm")]
            Error::Image(cu_persist::Error::NotPersistable { .. }) => "SAVE_STATE_FAILED",
            #[cfg(feature = "vm")]
            Error::Image(error) => persist_code(error),
            #[cfg(feature = "vm")]
            Error::Run(_) | Error::Value(_) => "INVALID_INPUT",
            #[cfg(feature = "vm")]
            Error::OutOfMemory => "heap",
            #[cfg(feature = "storage")]
            Error::Unavailable(_) => "unavailable",
            #[cfg(feature = "storage")]
            Error::Blocked => "blocked",
        }
    }

    fn position(&self) -> Option<usize> {
        match self {
            Error::Storage(cu_storage::Error::Batch { position, .. }) => Some(*position),
            _ => None,
        }
    }

    /// Where a document is not what its schema says.
    fn path(&self) -> Option<&str> {
        let Error::Storage(error) = self else { return None };
        let mut error = error;
        while let cu_storage::Error::Batch { source, .. } = error {
            error = source;
        }
        match error {
            cu_storage::Error::Schema { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// The code that JavaScript sees of an error of the database.
pub(crate) fn storage_code(error: &cu_storage::Error) -> &'static str {
    use cu_storage::Error::{Backend, Batch, InvalidInput, UnknownOperation, UnknownOperator};
    match error {
        Batch { source, .. } => storage_code(source),
        InvalidInput { argument, .. } => match argument.as_str() {
            "table" => "INVALID_TABLE_NAME",
            "key" => "INVALID_KEY",
            "type" => "INVALID_OPERATION_TYPE",
            "limit" | "offset" => "INVALID_QUERY_LIMIT",
            "kind" => "CREATE_INDEX_FAILED",
            _ => "INVALID_INPUT",
        },
        UnknownOperator(_) => "UNSUPPORTED_OPERATOR",
        UnknownOperation(_) => "UNKNOWN_OPERATION",
        Backend(_) => "storage",
        // The rest have the same names on both sides.
        other => other.code(),
    }
}

#[cfg(feature = "vm")]
fn persist_code(error: &cu_persist::Error) -> &'static str {
    use cu_persist::Error::{
        Corrupt, Limit, NotAFunction, NotPersistable, UnknownFunction, UnknownPermanent, Verify, Version,
    };
    match error {
        Corrupt { .. } | Verify { .. } => "corrupt",
        Version { .. } => "newerVersion",
        UnknownPermanent { .. } => "notFound",
        NotPersistable { .. } => "PERSIST_FUNCTION_FAILED",
        Limit { what: "heap" } => "heap",
        Limit { .. } => "FUNCTION_TOO_LARGE",
        NotAFunction { .. } => "INVALID_FUNCTION_CODE",
        UnknownFunction { .. } => "UNKNOWN_FUNCTION",
        _ => "INVALID_INPUT",
    }
}

impl From<Error> for JsValue {
    fn from(error: Error) -> JsValue {
        let object = js_sys::Error::new(&error.to_string());
        let set = |name: &str, value: JsValue| {
            // Setting a property of a new, ordinary object does not fail.
            let _ = Reflect::set(&object, &JsValue::from_str(name), &value);
        };
        set("code", JsValue::from_str(error.code()));
        if let Some(position) = error.position() {
            set("position", JsValue::from_f64(position as f64));
        }
        if let Some(path) = error.path() {
            set("path", JsValue::from_str(path));
        }
        object.into()
    }
}
