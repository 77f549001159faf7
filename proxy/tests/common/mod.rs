//! Helpers of the tests: a proxy, and clients for it.

#![allow(dead_code, reason = "not every test needs everything")]

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use proxy::{server::Server, settings::Settings};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// The settings of a command line, with free ports.
pub(crate) fn settings(line: &str) -> Settings {
    let free = "raft-proxy --listen 127.0.0.1:0 --http 127.0.0.1:0 --redis 127.0.0.1:0";
    let words = free.split(' ').chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap().settings
}

/// A proxy that is ready, with servers in this process.
pub(crate) async fn ready(dir: &Path, line: &str) -> Server {
    let line = format!("--data-dir {} {line}", dir.display());
    let server = Server::start(settings(&line)).await.unwrap();
    let http = server.http.unwrap();
    within(async {
        while get(http, "/readyz").await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The status and the body, for comparison.
    pub(crate) fn shown(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            str::from_utf8(&self.body).unwrap_or("not text"),
        )
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(crate) async fn get(at: SocketAddr, path: &str) -> Answer {
    ask(at, "GET", path, &[], b"").await
}

pub(crate) async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    within(async {
        let stream = TcpStream::connect(at).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request = request.header("host", at.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    })
    .await
}

/// A connection to the Redis frontend.
pub(crate) struct Redis(pub(crate) TcpStream);

impl Redis {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self(TcpStream::connect(server.redis.unwrap()).await.unwrap())
    }

    /// Sends a command; each word is an argument.
    pub(crate) async fn send(&mut self, line: &str) {
        let mut bytes = Vec::new();
        let words: Vec<_> = line.split(' ').collect();
        bytes.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
        }
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Expects exactly these bytes next.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let mut got = vec![0; expected.len()];
            let read = self.0.read_exact(&mut got);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await;
            let shown = || String::from_utf8_lossy(&got).into_owned();
            assert!(
                matches!(read, Ok(Ok(_))),
                "{caller}: {read:?} after {:?}",
                shown()
            );
            assert_eq!(shown(), expected, "{caller}");
        }
    }

    /// Sends a command and expects its reply.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.send(line).await;
            let mut got = vec![0; expected.len()];
            within(self.0.read_exact(&mut got)).await.unwrap();
            let got = String::from_utf8_lossy(&got);
            assert_eq!(got, expected, "{line:?} at {caller}");
        }
    }

    /// All output until the proxy closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        within(self.0.read_to_end(&mut rest)).await.unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("nothing came within a minute")
}
