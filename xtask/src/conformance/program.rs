//! One run of a program: its output, how it ended, and what it cost. It gets no input, and ends at a limit of time.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How often the process is looked at.
const POLL: Duration = Duration::from_millis(2);

/// How often it must have been looked at for the peak to mean something.
const LOOKS_MIN: usize = 10;

pub struct Outcome {
    pub end: End,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub cost: Cost,
}

#[derive(Clone, Copy)]
pub enum End {
    Exit(ExitStatus),
    /// It was ended at its limit of time.
    TimeLimit(Duration),
}

#[derive(Clone, Copy)]
pub struct Cost {
    /// Of the processor where the system tells it (Linux), otherwise on the clock.
    pub seconds: f64,
    /// The most that lay in memory, where the system tells it and the run was long enough to see it.
    pub peak_bytes: Option<u64>,
}

/// Runs a command.
pub fn run(command: &mut Command, limit: Duration) -> Result<Outcome> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let failure = |source| Error::Start { command: name.clone(), source };
    let started = Instant::now();
    let mut child = command.spawn().map_err(failure)?;
    let (stdout, stderr) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
    let mut usage = Usage::default();
    let end = loop {
        usage.look_at(child.id());
        // Until its end is taken note of, the system still tells what it has used.
        if (usage.has_ended || !usage.is_told)
            && let Some(status) = child.try_wait().map_err(failure)?
        {
            break End::Exit(status);
        }
        if started.elapsed() > limit {
            break End::TimeLimit(limit);
        }
        thread::sleep(POLL);
    };
    let elapsed = started.elapsed();
    end_group(&mut child);
    let text = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    let seconds = usage.processor.unwrap_or(elapsed).as_secs_f64();
    let peak_bytes = usage.peak_bytes.filter(|_| usage.looks >= LOOKS_MIN);
    let cost = Cost { seconds, peak_bytes };
    Ok(Outcome { end, stdout: text(stdout), stderr: text(stderr), cost })
}

fn read_all(source: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            // What was read before a failure is still worth showing.
            let _ = source.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Ends the process and what it has left running, which would hold its output open.
fn end_group(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // Usually nobody is left.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// What Linux tells in `/proc`.
#[derive(Default)]
struct Usage {
    looks: usize,
    is_told: bool,
    has_ended: bool,
    processor: Option<Duration>,
    peak_bytes: Option<u64>,
}

impl Usage {
    fn look_at(&mut self, process: u32) {
        self.looks += 1;
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).ok();
        let status = read("status");
        self.is_told = status.is_some();
        let status = status.unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        self.has_ended = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
        let peak = field("VmHWM:")
            .and_then(|value| value.strip_suffix(" kB"))
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok());
        self.peak_bytes = peak.map(|kilobytes| kilobytes << 10).or(self.peak_bytes);
        let nanoseconds = read("schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
        self.processor = nanoseconds.map(Duration::from_nanos).or(self.processor);
    }
}
