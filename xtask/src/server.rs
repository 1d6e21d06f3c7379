//! A static file server for the playground: HTTP/1.1 over the standard library, one thread per connection.
//!
//! It listens on 127.0.0.1 only and gives nothing outside its folder: a request's path is decoded once and
//! every segment must be a plain file name. It understands `GET` and `HEAD` and keeps connections open;
//! ranges, caching and compression are deliberately absent. A request head is limited to 16 KiB, a body to 1 MiB.
//!
//! A command may answer some requests itself ([`serve_with`]), those with a body among them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

const HEAD_BYTES_MAX: u64 = 16 * 1024;
const BODY_BYTES_MAX: usize = 1024 * 1024;
const IDLE: Duration = Duration::from_secs(30);

/// Takes the port, or any free one for 0.
pub fn bind(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|source| Error::Port { port, source })
}

/// Where browsers find what is served.
pub fn address(listener: &TcpListener) -> Result<String> {
    let address = listener.local_addr().map_err(|source| Error::Port { port: 0, source })?;
    Ok(format!("http://{address}/"))
}

/// Serves the folder until the process ends.
pub fn serve(listener: &TcpListener, folder: &Path) {
    serve_with(listener, folder, Arc::new(|_| None));
}

/// Serves the folder until the process ends, and what `answer` answers. It may take its time.
pub fn serve_with(listener: &TcpListener, folder: &Path, answer: Arc<Answer>) {
    // A connection that breaks concerns its browser only.
    for stream in listener.incoming().flatten() {
        let (folder, answer) = (folder.to_owned(), answer.clone());
        std::thread::spawn(move || answer_all(&stream, &folder, &*answer).ok());
    }
}

/// Answers a request, or leaves it to the folder.
pub type Answer = dyn Fn(&Request) -> Option<Response> + Send + Sync;

pub struct Request {
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
    keep_alive: bool,
}

pub struct Response {
    status: &'static str,
    mime: &'static str,
    body: Vec<u8>,
}

impl Response {
    pub fn json(text: String) -> Response {
        Response { status: "200 OK", mime: "application/json", body: text.into_bytes() }
    }

    pub fn text(status: &'static str) -> Response {
        Response { status, mime: "text/plain; charset=utf-8", body: format!("{status}\n").into_bytes() }
    }
}

fn answer_all(stream: &TcpStream, folder: &Path, answer: &Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let response = answer(&request).unwrap_or_else(|| respond(&request, folder));
        write_response(stream, &request, &response)?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}

/// Reads one request, or gives `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut request = Request { method, target, body: Vec::new(), keep_alive: version == "HTTP/1.1" };
    let mut body_bytes = 0;
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim_end().to_ascii_lowercase();
        match header.split_once(':') {
            None if header.is_empty() => break,
            None => return Err(io::ErrorKind::InvalidData.into()),
            Some(("connection", value)) if value.trim() == "close" => request.keep_alive = false,
            Some(("content-length", value)) => {
                body_bytes = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            // Its body would be read as the next request.
            Some(("transfer-encoding", _)) => request.keep_alive = false,
            Some(_) => {}
        }
    }
    if body_bytes > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    request.body.resize(body_bytes, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn respond(request: &Request, folder: &Path) -> Response {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Response::text("405 Method Not Allowed");
    }
    let Some(path) = resolve(&request.target) else {
        return Response::text("400 Bad Request");
    };
    let mut path = folder.join(path);
    if path.is_dir() {
        path.push("index.html");
    }
    match fs::read(&path) {
        Ok(body) => Response { status: "200 OK", mime: mime(&path), body },
        Err(_) => Response::text("404 Not Found"),
    }
}

fn write_response(mut stream: &TcpStream, request: &Request, response: &Response) -> io::Result<()> {
    let connection = if request.keep_alive { "keep-alive" } else { "close" };
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: {connection}\r\n\r\n",
        response.status,
        response.mime,
        response.body.len(),
    )
    .into_bytes();
    if request.method != "HEAD" {
        bytes.extend_from_slice(&response.body);
    }
    stream.write_all(&bytes)
}

/// The relative path that a request's target names, or `None` when a segment is not a plain file name.
fn resolve(target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = percent_decode(path)?;
    let mut resolved = PathBuf::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if segment.starts_with('.') || segment.contains(['\\', ':', '\0']) {
            return None;
        }
        resolved.push(segment);
    }
    Some(resolved)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ts" | "lua" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_inside_the_folder() {
        let check = |target: &str, expected: Option<&str>| {
            assert_eq!(resolve(target), expected.map(PathBuf::from), "{target}");
        };
        check("/", Some(""));
        check("/a/b.js?x=1", Some("a/b.js"));
        check("//a", Some("a"));
        check("/a%20b", Some("a b"));
        for hostile in [
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "/..%2fa",
            "/a%5c..%5cb",
            "/C:/a",
            "/.git/config",
            "/a%00",
            "/%",
            "/%f",
            "/%zz",
            "/%ff",
            "a",
            "",
            "http://host/a",
        ] {
            check(hostile, None);
        }
    }

    #[test]
    fn requests() {
        let read = |text: &str| read_request(&mut text.as_bytes());
        let request = read("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().unwrap();
        assert_eq!((request.target.as_str(), request.keep_alive), ("/a", true));
        let request = read("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").unwrap().unwrap();
        assert!(!request.keep_alive);
        let request = read("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi and more").unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", &b"hi"[..]));
        assert!(read("").unwrap().is_none());
        assert!(read("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nhi").is_err());
        assert!(read("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nhi").is_err());
        for broken in ["GET\r\n\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nnonsense\r\n\r\n"] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
        let endless = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(10_000));
        assert!(read(&endless).is_err());
    }

    #[test]
    fn a_folder_is_served_on_loopback() {
        let folder = std::env::temp_dir().join(format!("xtask-server-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), "<p>hello").unwrap();
        let listener = bind(0).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        let served = folder.clone();
        std::thread::spawn(move || serve(&listener, &served));

        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html"), "{answer}");
        assert!(answer.contains("<p>hello") && answer.contains("404 Not Found"), "{answer}");
    }

    #[test]
    fn requests_can_be_answered_otherwise() {
        let listener = bind(0).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: &Request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            (request.target == "/echo").then(|| Response::json(format!("{} {body}", request.method)))
        };
        std::thread::spawn(move || serve_with(&listener, Path::new("/nowhere"), Arc::new(answer)));

        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        stream.write_all(b"POST /else HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\r\n\r\nPOST hi") && answer.contains("405 Method Not Allowed"), "{answer}");
    }
}
