//! Whether the cluster answers. The question is a linearizable read, so the answer speaks for the
//! whole way: to the proxy, to a leader, to a majority.

use super::{Exit, Global, Output, output::say};
use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// The key that the probe reads. It need not exist.
const PROBED: &[u8] = b"health";
/// More than any status takes.
const LARGEST: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// Ask a proxy over HTTP instead, at HOST:PORT
    #[arg(long, env = "RAFT_HTTP", value_name = "ADDR")]
    http: Option<String>,
}

/// The cluster does not answer as it should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unhealthy(String);

impl Probe {
    pub(crate) async fn status(&self, global: &Global) -> anyhow::Result<Exit> {
        if let Some(http) = &self.http {
            let body = fetch(http, "/v1/status", global.timeout).await?;
            let state: Value = serde_json::from_str(&body).map_err(|error| {
                Unhealthy(format!(
                    "{http} answers something else ({error}): is it a proxy?"
                ))
            })?;
            match global.output {
                Output::Json => say(&state)?,
                Output::Table | Output::Plain => say(&format_args!("{state:#}"))?,
            }
            return Ok(Exit::Done);
        }
        let took = probe(global).await?;
        let endpoints = global.endpoints.join(",");
        let micros = took.as_micros();
        match global.output {
            Output::Json => say(&json!({
                "cluster": global.cluster,
                "direct": global.direct,
                "endpoints": global.endpoints,
                "healthy": true,
                "read_us": micros,
            }))?,
            Output::Plain => say(&"healthy")?,
            Output::Table => {
                let mut table = Table::new();
                table.load_style(presets::UTF8_FULL_CONDENSED);
                table.set_header(["cluster", "endpoints", "state", "linearizable read"]);
                table.add_row([
                    global.cluster.clone(),
                    endpoints,
                    "healthy".to_owned(),
                    format!("{micros} µs"),
                ]);
                say(&table)?;
            }
        }
        Ok(Exit::Done)
    }

    pub(crate) async fn health(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.http {
            Some(http) => {
                fetch(http, "/readyz", global.timeout).await?;
            }
            None => {
                probe(global).await?;
            }
        }
        match global.output {
            Output::Json => say(&json!({"healthy": true}))?,
            Output::Table | Output::Plain => say(&"healthy")?,
        }
        Ok(Exit::Done)
    }
}

/// How long a linearizable read takes.
async fn probe(global: &Global) -> anyhow::Result<Duration> {
    let probe = async {
        let client = global.connect().await?;
        let started = Instant::now();
        client.get(PROBED).await?;
        Ok(started.elapsed())
    };
    // Looking up names counts, too.
    let late = || Err(client::Error::Unavailable(global.timeout).into());
    time::timeout(global.timeout + global.timeout / 10, probe)
        .await
        .unwrap_or_else(|_| late())
}

/// The body of a page, over HTTP/1.0: one question, one answer, and the connection closes.
async fn fetch(at: &str, path: &str, timeout: Duration) -> Result<String, Unhealthy> {
    let answer = time::timeout(timeout, async {
        let mut stream = TcpStream::connect(at).await?;
        let question = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LARGEST).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let why = format!("cannot ask http://{at}{path}: {error}. Is a proxy running there?");
            return Err(Unhealthy(why));
        }
        Err(_) => {
            let why = format!("http://{at}{path} does not answer within {timeout:?}");
            return Err(Unhealthy(why));
        }
    };
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let first = head.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        let body = body.trim();
        Err(Unhealthy(format!(
            "http://{at}{path} says {first:?} {body}"
        )))
    }
}
