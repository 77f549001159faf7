//! A minimal HTTP client for the servers under test.

use status::Status;
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The timeout of a poll. A paused process does not respond to a poll, so the timeout is short.
const POLL: Duration = Duration::from_secs(2);
/// The timeout of a request. A request may wait for an election on a busy machine.
const REQUEST: Duration = Duration::from_secs(60);

/// Sends a GET request to a process that may be paused, and returns the status and the body.
///
/// # Errors
/// If there is no response in time, or it is not HTTP.
pub fn poll(at: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    ask_within(POLL, at, "GET", path, "")
}

/// The status of a server, if it responds.
///
/// # Panics
/// If the response is not a status.
pub(crate) fn status(at: SocketAddr) -> Option<Status> {
    let (code, text) = poll(at, "/status").ok()?;
    (code == 200).then(|| serde_json::from_str(&text).expect("the response is not a status"))
}

/// Sends a request to a running process, and returns the status and the body.
///
/// # Errors
/// If there is no response, or it is not HTTP.
pub fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    ask_within(REQUEST, at, method, path, body)
}

fn ask_within(
    patience: Duration,
    at: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&at, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let parts = code.zip(answer.split_once("\r\n\r\n"));
    let (code, (_, body)) = parts.ok_or_else(|| io::Error::other("this is no answer of HTTP"))?;
    Ok((code, body.to_owned()))
}
