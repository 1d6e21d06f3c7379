//! The way to a page or a Node process: it asks for commands, and posts a result for each.
//!
//! ```text
//! GET  /channel/7/command   waits for the next command
//! POST /channel/7/result    brings what came out of it
//! ```
//!
//! Each page and each process has a channel of its own, so that one that was given up cannot take another's commands.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Result;
use crate::server::{self, Request, Response};

/// After this long without a command, whoever waits is told to ask again.
const WAIT: Duration = Duration::from_secs(20);

/// All channels behind one server.
#[derive(Default)]
pub struct Channels {
    open: Mutex<HashMap<u64, Arc<Channel>>>,
    last: AtomicU64,
}

#[derive(Default)]
pub struct Channel {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    command: Option<Value>,
    result: Option<Value>,
    closed: bool,
}

impl Channels {
    /// Serves a folder and the channels, until this process ends.
    pub fn serve(self: &Arc<Self>, listener: TcpListener, folder: &Path) {
        let (channels, folder) = (self.clone(), folder.to_owned());
        std::thread::spawn(move || {
            server::serve_with(&listener, &folder, Arc::new(move |request| channels.answer(request)));
        });
    }

    pub fn open(&self) -> (u64, Arc<Channel>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let channel = Arc::new(Channel::default());
        lock(&self.open).insert(number, channel.clone());
        (number, channel)
    }

    /// Tells whoever asks for commands to end.
    pub fn close(&self, number: u64) {
        if let Some(channel) = lock(&self.open).remove(&number) {
            lock(&channel.state).closed = true;
            channel.changed.notify_all();
        }
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        let (number, what) = request.target.strip_prefix("/channel/")?.split_once('/')?;
        let channel = number.parse().ok().and_then(|number| lock(&self.open).get(&number).cloned());
        Some(match (channel, what) {
            (None, _) => Response::json(json!({ "do": "end" }).to_string()),
            (Some(channel), "command") => Response::json(channel.next_command().to_string()),
            (Some(channel), "result") => match serde_json::from_slice(&request.body) {
                Ok(result) => {
                    lock(&channel.state).result = Some(result);
                    channel.changed.notify_all();
                    Response::text("200 OK")
                }
                Err(_) => Response::text("400 Bad Request"),
            },
            _ => Response::text("404 Not Found"),
        })
    }
}

impl Channel {
    /// Gives a command that nobody answers.
    pub fn tell(&self, command: Value) {
        lock(&self.state).command = Some(command);
        self.changed.notify_all();
    }

    /// Gives a command and waits for its result. None when there is none within the limit.
    pub fn ask(&self, command: Value, limit: Duration) -> Option<Value> {
        self.tell(command);
        let until = Instant::now() + limit;
        let mut state = lock(&self.state);
        loop {
            if let Some(result) = state.result.take() {
                return Some(result);
            }
            let left = until.checked_duration_since(Instant::now())?;
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_command(&self) -> Value {
        let until = Instant::now() + WAIT;
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return json!({ "do": "end" });
            }
            if let Some(command) = state.command.take() {
                return command;
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return json!({ "do": "wait" }) };
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A thread that panicked has left nothing half done in here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server for tests and the bench: its address, without a slash at its end.
pub fn start(channels: &Arc<Channels>, folder: &Path) -> Result<String> {
    let listener = server::bind(0)?;
    let address = server::address(&listener)?;
    channels.serve(listener, folder);
    Ok(address.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// What a worker does: gets a command, posts a result.
    fn request(address: &str, method: &str, target: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address.trim_start_matches("http://")).expect("the server listens");
        let length = body.len();
        write!(stream, "{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("it takes the request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("there is a body")
    }

    #[test]
    fn commands_and_results_go_through_a_channel() {
        let channels = Arc::new(Channels::default());
        let address = start(&channels, Path::new("/nowhere")).expect("a port is free");
        let (number, channel) = channels.open();
        let worker_address = address.clone();
        let worker = std::thread::spawn(move || {
            let command = request(&worker_address, "GET", &format!("/channel/{number}/command"), "");
            request(&worker_address, "POST", &format!("/channel/{number}/result"), &format!(r#"{{"got": {command}}}"#));
        });
        let result = channel.ask(json!({ "do": "add" }), Duration::from_secs(60));
        assert_eq!(result, Some(json!({ "got": { "do": "add" } })));
        worker.join().expect("the worker has done its part");

        assert_eq!(channel.ask(json!({ "do": "nothing" }), Duration::ZERO), None);
        channels.close(number);
        assert_eq!(request(&address, "GET", &format!("/channel/{number}/command"), ""), r#"{"do":"end"}"#);
    }
}
