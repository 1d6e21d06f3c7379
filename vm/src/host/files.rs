//! The file system and the processes that a host gives to scripts: what `io` and `os` act on.
//!
//! Paths and contents are bytes. A file moves plain blocks; the buffering that `setvbuf` speaks of is the library's own.

/// Why an operation on a file failed: the system's reason ("No such file or directory") and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    pub reason: String,
    pub code: i32,
}

impl FileError {
    pub fn new(code: i32, reason: impl Into<String>) -> FileError {
        FileError { reason: reason.into(), code }
    }

    /// EBADF: the file was not opened for this.
    pub fn bad_descriptor() -> FileError {
        FileError::new(9, "Bad file descriptor")
    }

    /// ENOSYS: the host cannot do this.
    pub fn not_supported() -> FileError {
        FileError::new(38, "Function not implemented")
    }

    /// EINVAL: a position before the start of the file.
    pub fn invalid_argument() -> FileError {
        FileError::new(22, "Invalid argument")
    }
}

/// How a file is opened: `r`, `w` and `a` with and without `+`. There is no difference between text and binary files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    Read,
    Write,
    Append,
    ReadUpdate,
    WriteUpdate,
    AppendUpdate,
}

impl OpenMode {
    pub fn reads(self) -> bool {
        !matches!(self, OpenMode::Write | OpenMode::Append)
    }

    pub fn writes(self) -> bool {
        self != OpenMode::Read
    }

    /// Whether everything is written at the end of the file.
    pub fn appends(self) -> bool {
        matches!(self, OpenMode::Append | OpenMode::AppendUpdate)
    }

    /// Whether a file that is not there is made.
    pub fn creates(self) -> bool {
        !matches!(self, OpenMode::Read | OpenMode::ReadUpdate)
    }

    /// Whether a file that is there is emptied.
    pub fn truncates(self) -> bool {
        matches!(self, OpenMode::Write | OpenMode::WriteUpdate)
    }
}

/// How long written bytes wait before the system gets them (`setvbuf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffering {
    /// Not at all.
    No,
    /// Until a line is complete.
    Line,
    /// Until there are enough.
    Full,
}

/// The streams every process starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandardStream {
    Input,
    Output,
    Error,
}

/// Where [`File::seek`] counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    Start,
    Current,
    End,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    Exit(i32),
    Signal(i32),
}

/// What can be read or written.
pub trait File {
    /// Reads at most `buffer.len()` bytes; 0 at the end of the file.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError>;

    /// Writes all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Moves to a byte position and answers it, counted from the start.
    fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError>;

    /// Gives what was written to the system.
    fn flush(&mut self) -> Result<(), FileError>;

    /// Says how standard output is buffered, which is the host's work because `print` writes there too. No other file is told.
    fn set_buffering(&mut self, _buffering: Buffering) {}

    /// Ends the use of the file; for a process's stream, waits for its end and answers it.
    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError>;
}

/// A file system. What a host does not have (processes, in a browser) answers `None`, and the library says so to the script.
pub trait Files {
    fn open(&mut self, path: &[u8], mode: OpenMode) -> Result<Box<dyn File>, FileError>;

    /// Standard output goes where [`crate::Host::write`] goes.
    fn standard(&mut self, stream: StandardStream) -> Box<dyn File>;

    /// A new file open for update, gone once it is closed.
    fn open_temporary(&mut self) -> Result<Box<dyn File>, FileError>;

    /// A name that no file has, for a file that is to be made.
    fn temporary_name(&mut self) -> Result<Vec<u8>, FileError>;

    /// Removes a file or an empty directory.
    fn remove(&mut self, path: &[u8]) -> Result<(), FileError>;

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), FileError>;

    /// Starts a shell command and gives its output to read (`Read`) or its input to write (`Write`); `None` without processes.
    fn start_process(&mut self, _command: &[u8], _mode: OpenMode) -> Option<Result<Box<dyn File>, FileError>> {
        None
    }

    /// Runs a shell command to its end; `None` without a shell.
    fn run_command(&mut self, _command: &[u8]) -> Option<Result<ProcessEnd, FileError>> {
        None
    }

    /// Whether [`Self::run_command`] has a shell.
    fn has_shell(&mut self) -> bool {
        false
    }
}
