//! A page in Chromium, or a Node process, that does what it is told; and a fresh one for each cold run.
//!
//! Chromium runs as people run it, without a debugger's connection: with one, programs that raise errors or switch coroutines
//! ran up to ten times slower. Pages find their commands through a [`Channel`].
//!
//! Each fresh page has a host name of its own below `localhost`, which Chromium resolves to this machine and takes as a site of its
//! own: it gets a new process, in which no compiled code is left from the pages before.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::channel::{Channel, Channels};
use crate::error::{Error, Result};
use crate::process;

/// How long one command may take.
pub const LIMIT: Duration = Duration::from_secs(60);

const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A page that is gone must not keep its process.
    "--disable-features=BackForwardCache",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    // So that one peer's garbage is not collected in another's time.
    "--js-flags=--expose-gc",
];

pub struct Session {
    program: Program,
    /// Where the server is, without a slash at its end.
    address: String,
    channels: Arc<Channels>,
    open: Option<Open>,
    /// What a page loads, and how long a command may take.
    document: &'static str,
    limit: Duration,
}

pub enum Program {
    Chromium(PathBuf),
    /// Node and the folder with the worker's script.
    Node(PathBuf),
}

struct Open {
    number: u64,
    channel: Arc<Channel>,
    child: Child,
    /// Deleted with it.
    _profile: Option<TempDir>,
}

impl Session {
    pub fn new(program: Program, address: String, channels: Arc<Channels>) -> Session {
        Session::showing("worker.html", LIMIT, program, address, channels)
    }

    /// A session with another page, and another time that a command may take.
    pub fn showing(
        document: &'static str,
        limit: Duration,
        program: Program,
        address: String,
        channels: Arc<Channels>,
    ) -> Session {
        Session { program, address, channels, open: None, document, limit }
    }

    /// Leaves the page or the process behind and starts a new one.
    pub fn fresh(&mut self) -> Result<()> {
        match (self.open.take(), &self.program) {
            (Some(mut open), Program::Chromium(_)) => {
                let (number, channel) = self.channels.open();
                open.channel.tell(json!({ "do": "go", "address": self.page(number) }));
                open.number = number;
                open.channel = channel;
                self.open = Some(open);
            }
            (Some(open), Program::Node(_)) => {
                self.end(open);
                self.open = Some(self.start()?);
            }
            (None, _) => self.open = Some(self.start()?),
        }
        Ok(())
    }

    /// What a command gives, or why it fails. After one that has not answered, the next starts afresh.
    pub fn ask(&mut self, command: Value) -> std::result::Result<Value, String> {
        if self.open.is_none() {
            self.fresh().map_err(|error| error.to_string())?;
        }
        let Some(open) = &self.open else { return Err("it is not open".into()) };
        match open.channel.ask(command, self.limit) {
            Some(result) => match result.get("error").and_then(Value::as_str) {
                Some(error) => Err(first_line(error)),
                None => Ok(result),
            },
            None => {
                if let Some(open) = self.open.take() {
                    self.end(open);
                }
                Err(format!("no result within {} s", self.limit.as_secs()))
            }
        }
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn page(&self, number: u64) -> String {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        format!("http://page{number}.localhost:{port}/{}?channel={number}", self.document)
    }

    fn start(&self) -> Result<Open> {
        let (number, channel) = self.channels.open();
        let (mut command, profile) = match &self.program {
            Program::Chromium(path) => {
                let profile =
                    tempfile::tempdir().map_err(|source| Error::File { path: std::env::temp_dir(), source })?;
                let mut command = Command::new(path);
                command.args(ARGUMENTS).arg(format!("--user-data-dir={}", profile.path().display()));
                // Its sandbox refuses to work for root.
                if process::output("id", &["-u"]).is_some_and(|user| user == "0") {
                    command.arg("--no-sandbox");
                }
                command.arg(self.page(number));
                (command, Some(profile))
            }
            Program::Node(folder) => {
                let mut command = process::node(folder);
                command.args(["--expose-gc", "worker.js"]);
                command.env("CU_BENCH", format!("{}/channel/{number}", self.address));
                (command, None)
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|source| Error::Start { command: name, source })?;
        Ok(Open { number, channel, child, _profile: profile })
    }

    fn end(&self, mut open: Open) {
        self.channels.close(open.number);
        // Chromium's other processes end with the first. One that has ended already is no error.
        let _ = open.child.kill();
        let _ = open.child.wait();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            self.end(open);
        }
    }
}

/// Of a message that goes into a table.
pub fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("an error without a message").trim();
    line.chars().take(100).collect()
}
