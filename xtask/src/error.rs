//! What can go wrong in a command. Every message says what to do about it, since a person reads it.

use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    /// Something the machine lacks and that could not be installed; the text says what to install.
    #[error("{0}")]
    Missing(String),
    #[error("cannot start `{command}`: {source}")]
    Start { command: String, source: std::io::Error },
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: std::process::ExitStatus },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0} programs behave differently")]
    Programs(usize),
    #[error("{0}")]
    Bench(String),
    #[error("wasm-bindgen: {0}")]
    Bindgen(String),
    #[error("port {port} cannot be used: {source}; choose another with --port N, or --port 0 for any free one")]
    Port { port: u16, source: std::io::Error },
    #[error("{failed} files of the official test suite fail; what they wrote is in {}", output.display())]
    Conformance { failed: usize, output: PathBuf },
    #[error("{}", failed_suites(.0))]
    Suites(Vec<(&'static str, Error)>),
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Error {
        Error::Usage(error.to_string())
    }
}

/// For `map_err` on file operations: keeps the path that the message needs.
pub fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}

fn failed_suites(failures: &[(&'static str, Error)]) -> String {
    let lines: Vec<String> = failures.iter().map(|(suite, error)| format!("suite {suite}: {error}")).collect();
    lines.join("\nerror: ")
}
