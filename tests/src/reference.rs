//! The reference interpreter, which runs many programs in one process.
//!
//! `reference.lua` is the script that it runs; the programs come to it by standard input. A process that dies or hangs costs only the
//! program it was at: the rest goes to a new one.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What ends a program's output. Long enough that no program prints it.
const MARK: &str = "=-=-= end of program 7f6d3c91 =-=-=";

const SCRIPT: &str = include_str!("reference.lua");

/// What is done with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Run,
    /// It is only compiled.
    Load,
    /// Run as by a Lua that was built without the compatibility with 5.3 in which `__lt` stands in for `__le`.
    WithoutLtForLe,
    /// Run with a look at every value; the last line of the output tells of NaN and of tables with nils between their values.
    Probe,
}

impl Mode {
    /// As `reference.lua` knows it.
    fn name(self) -> &'static str {
        match self {
            Mode::Run => "run",
            Mode::Load => "load",
            Mode::WithoutLtForLe => "without_lt_for_le",
            Mode::Probe => "probe",
        }
    }
}

/// What a program printed, and the error that ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    pub output: Vec<u8>,
    pub error: Option<Vec<u8>>,
}

/// The reference interpreter of this machine.
#[derive(Clone)]
pub struct Reference {
    program: PathBuf,
    time_max: Duration,
}

impl Reference {
    /// The interpreter that the environment names in `LUA`, or else `lua5.4`.
    pub fn of_environment() -> Reference {
        let program = std::env::var_os("LUA").map_or_else(|| "lua5.4".into(), PathBuf::from);
        Reference { program, time_max: Duration::from_secs(20) }
    }

    /// The same, with `time_max` for what one process does.
    pub fn with_time_max(&self, time_max: Duration) -> Reference {
        Reference { time_max, ..self.clone() }
    }

    /// Runs programs in the given order. `None` stands for one at which the interpreter died or did not come to an end.
    ///
    /// # Panics
    ///
    /// The interpreter cannot be started.
    pub fn run(&self, programs: &[(Mode, &[u8])]) -> Vec<Option<Behaviour>> {
        let mut behaviours = Vec::new();
        while behaviours.len() < programs.len() {
            let rest = &programs[behaviours.len()..];
            let answer = self.process(rest);
            behaviours.extend(parse(&answer).into_iter().take(rest.len()).map(Some));
            if behaviours.len() < programs.len() {
                behaviours.push(None);
            }
        }
        behaviours
    }

    /// The output of one process that is given these programs.
    fn process(&self, programs: &[(Mode, &[u8])]) -> Vec<u8> {
        let mut input = Vec::new();
        for (mode, source) in programs {
            input.extend_from_slice(format!("{} {}\n", mode.name(), source.len()).as_bytes());
            input.extend_from_slice(source);
        }
        let mut command = Command::new(&self.program);
        // `-` would read the script from standard input; as an argument to `-e` it leaves that to the programs.
        command.arg("-e").arg(format!("load({}, '=reference')('{MARK}')", long_string(SCRIPT)));
        command.env_remove("LUA_INIT").env_remove("LUA_INIT_5_4").env("LC_ALL", "C").env("TZ", "UTC");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; install lua5.4, or name another interpreter in LUA", self.program.display())
        });
        let mut stdin = child.stdin.take().expect("it is piped");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            // Neither end may wait for the other: both pipes are full at times. A process that has died takes no more input.
            scope.spawn(move || drop(stdin.write_all(&input)));
            scope.spawn(move || {
                let mut output = Vec::new();
                let _ = stdout.read_to_end(&mut output);
                let _ = sender.send(output);
            });
            let output = receiver.recv_timeout(self.time_max).or_else(|_| {
                let _ = child.kill();
                receiver.recv()
            });
            let _ = child.wait();
            output.unwrap_or_default()
        })
    }
}

/// A text as a Lua string literal.
fn long_string(text: &str) -> String {
    format!("[==[\n{text}]==]")
}

/// Takes a process's output apart. What follows the last mark belongs to a program that did not end, and is left out.
fn parse(mut output: &[u8]) -> Vec<Behaviour> {
    let mark = format!("\n{MARK} ");
    let mut behaviours = Vec::new();
    while let Some(end) = find(output, mark.as_bytes()) {
        let printed = output[..end].to_vec();
        let rest = &output[end + mark.len()..];
        let Some(line_end) = rest.iter().position(|&byte| byte == b'\n') else { break };
        let status = String::from_utf8_lossy(&rest[..line_end]).into_owned();
        let rest = &rest[line_end + 1..];
        let length = status.strip_prefix("error ").and_then(|length| length.parse::<usize>().ok());
        match length {
            Some(length) if length < rest.len() => {
                behaviours.push(Behaviour { output: printed, error: Some(rest[..length].to_vec()) });
                output = &rest[length + 1..];
            }
            Some(_) => break,
            None => {
                behaviours.push(Behaviour { output: printed, error: None });
                output = rest;
            }
        }
    }
    behaviours
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
