//! As much HTTP as the servers' answers need.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A process that was stopped does not answer, and is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks, and returns the code and the body.
///
/// # Errors
/// If there is no response, or it is not HTTP.
pub fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
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
