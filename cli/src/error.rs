//! What can end a run of `cu`, with the text shown for it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why `cu` fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line is wrong; the usage is shown too.
    #[error("{0}")]
    Usage(String),
    /// A value of an option is wrong.
    #[error("{option}: {problem}")]
    OptionValue { option: &'static str, problem: String },
    #[error("cannot {action} {}: {reason}", path.display())]
    File { action: &'static str, path: PathBuf, reason: String },
    /// `cu db` could not do it, or was called wrongly.
    #[error("{0}")]
    Command(String),
    #[error("cannot open database '{}': {source}", path.display())]
    Database { path: PathBuf, source: cu_storage::Error },
    /// The run cannot be saved; the message has the path to what cannot be.
    #[error("image: {0}")]
    Image(#[from] cu_persist::Error),
    /// The file is no image, but perhaps something else.
    #[error("{} is not an image{what}", path.display())]
    NotAnImage { path: PathBuf, what: &'static str },
    /// An image that does not become a VM here.
    #[error("cannot load {}: {reason}", path.display())]
    Load { path: PathBuf, reason: String },
    /// `_home` could not be read or stored.
    #[error("{0}")]
    Home(cu_persist::Error),
    /// The run that was to be saved had ended before.
    #[error("the script ended before the stop: {} was not written", path.display())]
    NoImage { path: PathBuf },
    /// A syntax error, or an error that Lua code did not catch: message and traceback as bytes, since a message may be
    /// any string.
    #[error("{}", String::from_utf8_lossy(.0))]
    Lua(Vec<u8>),
    /// `--fuel` is used up.
    #[error("out of fuel (limit {limit})")]
    OutOfFuel { limit: u64 },
    /// The user pressed Ctrl-C.
    #[error("interrupted!")]
    Interrupted,
    #[error("cannot write output: {}", system_reason(.0))]
    Output(std::io::Error),
    #[error("{0}")]
    Terminal(#[from] rustyline::error::ReadlineError),
    /// The error was shown already.
    #[error("failed")]
    Reported,
    /// `os.exit` was called; not an error, but an end of everything. `close` asks for the finalizers first.
    #[error("exit with code {code}")]
    Exit { code: i32, close: bool },
}

impl Error {
    /// The bytes to show.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Error::Lua(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string().into_bytes()),
        }
    }

    /// What the process ends with: of an `os.exit` code the lowest eight bits, as the system does it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Exit { code, .. } => ExitCode::from(*code as u8),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether nobody is to be told: it was shown already, or the reader of the output has gone.
    pub fn is_silent(&self) -> bool {
        match self {
            Error::Reported | Error::Exit { .. } => true,
            Error::Output(error) => error.kind() == std::io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// Whether no more Lua code may run, finalizers included.
    pub fn ends_the_run(&self) -> bool {
        matches!(self, Error::OutOfFuel { .. } | Error::Output(_) | Error::Exit { .. })
    }
}

/// The reason of an I/O error as the system words it, without Rust's `(os error 2)`.
pub fn system_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
