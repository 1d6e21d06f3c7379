//! The system's files and processes, for `io` and `os`: plain blocks, with C's modes, messages and codes.
//!
//! Standard output is the [`Output`] that `print` writes to as well, and standard input the process's buffered one.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use cu_vm::{Buffering, File, FileError, Files, OpenMode, ProcessEnd, StandardStream, Whence};

use crate::error::system_reason;
use crate::host::Output;

/// What names of temporary files start with, as in `lua`.
const TEMPORARY_PREFIX: &str = "lua_";

/// The system.
pub struct SystemFiles {
    output: Output,
}

impl SystemFiles {
    pub fn new(output: Output) -> SystemFiles {
        SystemFiles { output }
    }
}

/// The system's reason and number; those that Rust makes up itself are an invalid argument.
fn file_error(error: io::Error) -> FileError {
    match error.raw_os_error() {
        Some(code) => FileError::new(code, system_reason(&error)),
        None if error.kind() == io::ErrorKind::InvalidInput => FileError::invalid_argument(),
        // EIO.
        None => FileError::new(5, error.to_string()),
    }
}

#[cfg(unix)]
fn os_str(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

#[cfg(not(unix))]
fn os_str(bytes: &[u8]) -> &OsStr {
    // A name that is no text is nobody's name.
    OsStr::new(std::str::from_utf8(bytes).unwrap_or("\u{fffd}"))
}

/// The path that these bytes are.
pub fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(os_str(bytes))
}

impl Files for SystemFiles {
    fn open(&mut self, name: &[u8], mode: OpenMode) -> Result<Box<dyn File>, FileError> {
        let mut file = fs::OpenOptions::new()
            .read(mode.reads())
            .write(mode.writes() && !mode.appends())
            .append(mode.appends())
            .create(mode.creates())
            .truncate(mode.truncates())
            .open(path(name))
            .map_err(file_error)?;
        if mode == OpenMode::Append {
            // As in C: where writing goes on. What has no positions has no end either.
            let _ = file.seek(SeekFrom::End(0));
        }
        Ok(Box::new(SystemFile(file)))
    }

    fn standard(&mut self, stream: StandardStream) -> Box<dyn File> {
        match stream {
            StandardStream::Input => Box::new(Input { output: self.output.clone() }),
            StandardStream::Output => Box::new(OutputStream(self.output.clone())),
            StandardStream::Error => Box::new(ErrorStream),
        }
    }

    fn open_temporary(&mut self) -> Result<Box<dyn File>, FileError> {
        Ok(Box::new(SystemFile(tempfile::tempfile().map_err(file_error)?)))
    }

    fn temporary_name(&mut self) -> Result<Vec<u8>, FileError> {
        let file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile().map_err(file_error)?;
        let path = file.into_temp_path().keep().map_err(|error| file_error(error.error))?;
        Ok(path.into_os_string().into_encoded_bytes())
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), FileError> {
        let name = path(name);
        let is_directory = fs::symlink_metadata(&name).is_ok_and(|metadata| metadata.is_dir());
        if is_directory { fs::remove_dir(&name) } else { fs::remove_file(&name) }.map_err(file_error)
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), FileError> {
        fs::rename(path(from), path(to)).map_err(file_error)
    }

    fn start_process(&mut self, command: &[u8], mode: OpenMode) -> Option<Result<Box<dyn File>, FileError>> {
        let mut shell = shell(command);
        if mode == OpenMode::Read {
            shell.stdout(Stdio::piped());
        } else {
            shell.stdin(Stdio::piped());
        }
        let process = shell.spawn().map_err(file_error).map(|mut child| {
            let (output, input) = (child.stdout.take(), child.stdin.take());
            Box::new(Process { child, output, input }) as Box<dyn File>
        });
        Some(process)
    }

    fn run_command(&mut self, command: &[u8]) -> Option<Result<ProcessEnd, FileError>> {
        Some(shell(command).status().map(process_end).map_err(file_error))
    }

    fn has_shell(&mut self) -> bool {
        true
    }
}

fn shell(command: &[u8]) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(os_str(command));
    shell
}

fn process_end(status: ExitStatus) -> ProcessEnd {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ProcessEnd::Signal(signal);
    }
    ProcessEnd::Exit(status.code().unwrap_or(-1))
}

/// Reads once, however often a signal comes between.
fn read_from(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, FileError> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(file_error),
        }
    }
}

/// ESPIPE: there are no positions in a stream.
fn illegal_seek() -> FileError {
    FileError::new(29, "Illegal seek")
}

fn seek_target(whence: Whence, offset: i64) -> Result<SeekFrom, FileError> {
    Ok(match whence {
        Whence::Start => SeekFrom::Start(u64::try_from(offset).map_err(|_| FileError::invalid_argument())?),
        Whence::Current => SeekFrom::Current(offset),
        Whence::End => SeekFrom::End(offset),
    })
}

/// Moves in the regular file that a standard stream has been redirected to.
#[cfg(unix)]
fn seek_stream(stream: &impl std::os::fd::AsFd, whence: Whence, offset: i64) -> Result<u64, FileError> {
    let mut file = fs::File::from(stream.as_fd().try_clone_to_owned().map_err(file_error)?);
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(illegal_seek());
    }
    file.seek(seek_target(whence, offset)?).map_err(file_error)
}

#[cfg(not(unix))]
fn seek_stream<T>(_stream: &T, _whence: Whence, _offset: i64) -> Result<u64, FileError> {
    Err(illegal_seek())
}

/// A regular file, or whatever else has a name.
struct SystemFile(fs::File);

impl File for SystemFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        read_from(&mut self.0, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.0.write_all(bytes).map_err(file_error)
    }

    fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError> {
        self.0.seek(seek_target(whence, offset)?).map_err(file_error)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.0.flush().map_err(file_error)
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

/// Standard input. Its buffer is the process's, so that whoever else reads it goes on where this stopped.
struct Input {
    output: Output,
}

impl File for Input {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        // A prompt is seen before its answer is awaited.
        self.output.flush_for_input();
        read_from(&mut io::stdin(), buffer)
    }

    fn write(&mut self, _bytes: &[u8]) -> Result<(), FileError> {
        Err(FileError::bad_descriptor())
    }

    fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError> {
        // Only what has positions is asked how much of it is buffered, as that may wait for more.
        seek_stream(&io::stdin(), Whence::Current, 0)?;
        let mut stdin = io::stdin().lock();
        let ahead = stdin.fill_buf().map_err(file_error)?.len();
        let offset = if whence == Whence::Current { offset.saturating_sub(ahead as i64) } else { offset };
        let position = seek_stream(&stdin, whence, offset)?;
        stdin.consume(ahead);
        Ok(position)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

/// Standard output.
struct OutputStream(Output);

impl File for OutputStream {
    fn read(&mut self, _buffer: &mut [u8]) -> Result<usize, FileError> {
        Err(FileError::bad_descriptor())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.0.try_write(bytes).map_err(file_error)
    }

    fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError> {
        self.0.try_flush().map_err(file_error)?;
        seek_stream(&io::stdout(), whence, offset)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.0.try_flush().map_err(file_error)
    }

    fn set_buffering(&mut self, buffering: Buffering) {
        self.0.set_buffering(buffering);
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

/// Standard error.
struct ErrorStream;

impl File for ErrorStream {
    fn read(&mut self, _buffer: &mut [u8]) -> Result<usize, FileError> {
        Err(FileError::bad_descriptor())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        io::stderr().write_all(bytes).map_err(file_error)
    }

    fn seek(&mut self, whence: Whence, offset: i64) -> Result<u64, FileError> {
        seek_stream(&io::stderr(), whence, offset)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        Ok(None)
    }
}

/// One end of a process.
struct Process {
    child: Child,
    output: Option<ChildStdout>,
    input: Option<ChildStdin>,
}

impl File for Process {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        let output = self.output.as_mut().ok_or_else(FileError::bad_descriptor)?;
        read_from(output, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let input = self.input.as_mut().ok_or_else(FileError::bad_descriptor)?;
        input.write_all(bytes).map_err(file_error)
    }

    fn seek(&mut self, _whence: Whence, _offset: i64) -> Result<u64, FileError> {
        Err(illegal_seek())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<Option<ProcessEnd>, FileError> {
        drop((self.output.take(), self.input.take()));
        self.child.wait().map(|status| Some(process_end(status))).map_err(file_error)
    }
}
