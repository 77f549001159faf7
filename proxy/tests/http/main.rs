//! The HTTP frontend over real sockets, with real servers behind it. The tests pin the JSON, because
//! external programs parse it.

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod connections;
mod keys;
mod outcomes;
#[path = "../common/silent.rs"]
mod silent;

use common::{Answer, ask, within};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn put(at: SocketAddr, path: &str, headers: &[(&str, &str)], value: &[u8]) -> Answer {
    ask(at, "PUT", path, headers, value).await
}

/// Sends these bytes and returns all output until the proxy closes the connection.
async fn raw(at: SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}
