//! The terminal as a VM's host: buffered output, warnings on stderr, clock, environment and files unless the run is to be
//! deterministic.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use cu_vm::{Buffering, Files, Host, TimeZone};
use jiff::Timestamp;

use crate::error::Error;
use crate::files::SystemFiles;

/// The standard output stream. Clones share one buffer, which reaches the system when it is full, at [`Self::flush`]
/// and, on a terminal, at each line end.
#[derive(Clone)]
pub struct Output(Rc<RefCell<Buffer>>);

struct Buffer {
    writer: BufWriter<Stdout>,
    is_terminal: bool,
    buffering: Buffering,
    failure: Option<io::Error>,
}

impl Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        let is_due = match self.buffering {
            Buffering::No => true,
            Buffering::Line => bytes.contains(&b'\n'),
            Buffering::Full => false,
        };
        if is_due { self.writer.flush() } else { Ok(()) }
    }
}

impl Output {
    pub fn new() -> Output {
        let is_terminal = io::stdout().is_terminal();
        Output(Rc::new(RefCell::new(Buffer {
            writer: BufWriter::new(io::stdout()),
            is_terminal,
            buffering: if is_terminal { Buffering::Line } else { Buffering::Full },
            failure: None,
        })))
    }

    /// Writes; a failure is kept for [`Self::check`].
    pub fn write(&self, bytes: &[u8]) {
        let buffer = &mut *self.0.borrow_mut();
        if buffer.failure.is_some() {
            return;
        }
        buffer.failure = buffer.write(bytes).err();
    }

    /// Writes what `print` does: as from `lua`, a reader has each line at once.
    pub fn print(&self, bytes: &[u8]) {
        self.write(bytes);
        if bytes.last() == Some(&b'\n') {
            let buffer = &mut *self.0.borrow_mut();
            if buffer.failure.is_none() {
                buffer.failure = buffer.writer.flush().err();
            }
        }
    }

    /// Writes for somebody who deals with a failure.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().write(bytes)
    }

    /// Gives all to the system for somebody who deals with a failure.
    pub fn try_flush(&self) -> io::Result<()> {
        self.0.borrow_mut().writer.flush()
    }

    /// Shows what was written before input is awaited, if there is somebody to see it.
    pub fn flush_for_input(&self) {
        let buffer = &mut *self.0.borrow_mut();
        if buffer.is_terminal && buffer.failure.is_none() {
            buffer.failure = buffer.writer.flush().err();
        }
    }

    pub fn set_buffering(&self, buffering: Buffering) {
        self.0.borrow_mut().buffering = buffering;
    }

    pub fn write_line(&self, line: &[u8]) {
        self.write(line);
        self.write(b"\n");
    }

    /// Gives all that was written to the system.
    pub fn flush(&self) -> Result<(), Error> {
        self.check()?;
        let flushed = self.0.borrow_mut().writer.flush();
        flushed.map_err(Error::Output)
    }

    /// The first failure of a write; reported once.
    pub fn check(&self) -> Result<(), Error> {
        let failure = self.0.borrow_mut().failure.take();
        failure.map_or(Ok(()), |failure| Err(Error::Output(failure)))
    }
}

/// A host that lets Lua code know the time and the environment, and use files and processes.
pub struct Terminal {
    output: Output,
    files: SystemFiles,
    /// `-E`: the environment says nothing about where modules are. `os.getenv` still sees it.
    ignores_paths: bool,
    time_zone: jiff::tz::TimeZone,
    #[cfg(not(unix))]
    start: std::time::Instant,
}

impl Terminal {
    pub fn new(output: Output, ignores_paths: bool) -> Terminal {
        Terminal {
            files: SystemFiles::new(output.clone()),
            output,
            ignores_paths,
            time_zone: jiff::tz::TimeZone::system(),
            #[cfg(not(unix))]
            start: std::time::Instant::now(),
        }
    }
}

impl Terminal {
    #[cfg(unix)]
    fn processor_seconds(&self) -> f64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        // In whole microseconds, as C's `clock` counts.
        time.tv_sec as f64 + (time.tv_nsec / 1000) as f64 / 1e6
    }

    #[cfg(not(unix))]
    fn processor_seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

impl Host for Terminal {
    fn write(&mut self, bytes: &[u8]) {
        self.output.print(bytes);
    }

    fn warn(&mut self, message: &[u8]) {
        show_warning(&self.output, message);
    }

    fn files(&mut self) -> Option<&mut dyn Files> {
        Some(&mut self.files)
    }

    fn time(&mut self) -> Option<i64> {
        let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).ok()?,
            Err(before) => -i64::try_from(before.duration().as_secs()).ok()?,
        };
        Some(seconds)
    }

    fn time_zone(&mut self, seconds: i64) -> TimeZone {
        // Beyond the years that are known, it stays as it is at their ends.
        let moment = Timestamp::from_second(seconds).unwrap_or(match seconds {
            ..0 => Timestamp::MIN,
            _ => Timestamp::MAX,
        });
        let zone = self.time_zone.to_offset_info(moment);
        TimeZone {
            seconds_east: zone.offset().seconds(),
            is_daylight_saving: zone.dst().is_dst(),
            name: zone.abbreviation().to_owned(),
        }
    }

    fn clock(&mut self) -> Option<f64> {
        Some(self.processor_seconds())
    }

    fn environment(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let name = std::str::from_utf8(name).ok()?;
        // `var_os` has no answer for a name that no variable can have.
        if name.is_empty() || name.contains(['=', '\0']) {
            return None;
        }
        std::env::var_os(OsStr::new(name)).map(|value| value.as_encoded_bytes().to_vec())
    }

    fn path_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        if self.ignores_paths { None } else { self.environment(name) }
    }
}

/// A host that tells nothing: every run of a program is the same.
pub struct Deterministic {
    output: Output,
}

impl Deterministic {
    pub fn new(output: Output) -> Deterministic {
        Deterministic { output }
    }
}

impl Host for Deterministic {
    fn write(&mut self, bytes: &[u8]) {
        self.output.print(bytes);
    }

    fn warn(&mut self, message: &[u8]) {
        show_warning(&self.output, message);
    }

    fn can_exit(&mut self) -> bool {
        true
    }
}

fn show_warning(output: &Output, message: &[u8]) {
    // After the output so far; a failure of it shows at its next write.
    let _ = output.0.borrow_mut().writer.flush();
    let text = [b"Lua warning: ", message, b"\n"].concat();
    let _ = io::stderr().write_all(&text);
}
