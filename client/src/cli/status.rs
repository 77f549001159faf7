//! The health and the state of a cluster. `health` and the first line of `status` are a linearizable
//! read, so the result covers the whole path: to the proxy, to a leader, to a majority.
//!
//! Leader, term, members and lag come from the HTTP port of a proxy: `--http`, or port 8080 of the
//! proxy if it listens on its default port.

use super::{Exit, Global, Output, input, output::print_line, text::printable};
use clap::Args;
use client::{Error, KeyValue as _};
use comfy_table::{Table, presets};
use model::client::NotDone;
use serde::Deserialize as _;
use serde_json::{Value, json};
use status::{Flow, Progress, Status};
use std::{path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};

/// The key of the probe. It need not exist.
const PROBED: &[u8] = b"health";
/// The maximum size of a status in bytes, larger than any real status.
const LARGEST: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// Query the HTTP port of a proxy instead, at HOST:PORT
    #[arg(long, env = "RAFT_HTTP", value_name = "ADDR")]
    http: Option<String>,
    /// The file with the token for the HTTP port of the proxy
    #[arg(long, env = "RAFT_HTTP_TOKEN_FILE", value_name = "FILE")]
    http_token_file: Option<PathBuf>,
}

/// The default ports of a proxy: for UDP clients, and for HTTP.
const DEFAULT_PORTS: (u16, u16) = (7000, 8080);

/// The cluster is not healthy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unhealthy(String);

impl Probe {
    pub(crate) async fn status(&self, global: &Global) -> anyhow::Result<Exit> {
        if let Some(http) = &self.http {
            let state = self.state(http, global.timeout).await?;
            show(&state, global.output)?;
            return Ok(Exit::Done);
        }
        let guessed = self.guess(global).await;
        let probed = probe(global).await;
        if let Some(state) = &guessed {
            show(state, global.output)?;
        }
        let took = probed?;
        let endpoints = global.endpoints.join(",");
        let micros = took.as_micros();
        match global.output {
            // Print one object only: the state from the proxy, if available.
            Output::Json if guessed.is_some() => {}
            Output::Json => print_line(&json!({
                "cluster": global.cluster,
                "direct": global.direct,
                "endpoints": global.endpoints,
                "healthy": true,
                "read_us": micros,
            }))?,
            Output::Plain if guessed.is_some() => print_line(&format_args!("read_us {micros}"))?,
            Output::Plain => print_line(&"healthy")?,
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
                print_line(&table)?;
                if guessed.is_none() {
                    print_line(
                        &"For leader, term, members and lag, give the HTTP address of a proxy: --http HOST:PORT",
                    )?;
                }
            }
        }
        Ok(Exit::Done)
    }

    /// Fetches the state from a proxy over HTTP.
    async fn state(&self, http: &str, timeout: Duration) -> anyhow::Result<Value> {
        let body = self.fetch(http, "/v1/status", timeout).await?;
        let state = serde_json::from_str(&body).map_err(|error| {
            Unhealthy(format!(
                "{http} answers something else ({error}): is it a proxy?"
            ))
        });
        Ok(state?)
    }

    /// Fetches the state from the proxy's default HTTP port. Returns `None` if there is no proxy, or
    /// it serves another cluster.
    async fn guess(&self, global: &Global) -> Option<Value> {
        let (host, port) = global.endpoints.first()?.rsplit_once(':')?;
        let (clients, http) = DEFAULT_PORTS;
        if global.direct || port.parse() != Ok(clients) {
            return None;
        }
        let patience = global.timeout.min(Duration::from_secs(1));
        let state = self.state(&format!("{host}:{http}"), patience).await.ok()?;
        (state["cluster"] == global.cluster.as_str() && state["nodes"].is_array()).then_some(state)
    }

    async fn fetch(&self, at: &str, path: &str, timeout: Duration) -> anyhow::Result<String> {
        let file = self.http_token_file.clone();
        let read = move || file.as_deref().map(transport::read_secret).transpose();
        let token = input::read(read).await??;
        Ok(fetch(at, path, token.as_deref(), timeout).await?)
    }

    pub(crate) async fn health(&self, global: &Global) -> anyhow::Result<Exit> {
        match &self.http {
            Some(http) => {
                self.fetch(http, "/readyz", global.timeout).await?;
            }
            None => {
                probe(global).await?;
            }
        }
        match global.output {
            Output::Json => print_line(&json!({"healthy": true}))?,
            Output::Table | Output::Plain => print_line(&"healthy")?,
        }
        Ok(Exit::Done)
    }
}

/// Prints the state that a proxy reports.
fn show(state: &Value, output: Output) -> std::io::Result<()> {
    match output {
        Output::Json => print_line(state),
        Output::Table => print_line(&format_args!("{}\n{}", summary(state), members(state))),
        Output::Plain => print_line(&plain(state)),
    }
}

/// Formats a number or a word of the state; `-` if absent.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// Leader, term, commit index, and whether writes are available, as one row.
fn summary(state: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "cluster",
        "leader",
        "term",
        "committed",
        "servers up",
        "state",
    ]);
    let health = &state["health"];
    let age = health["commit_age_ms"].as_u64().unwrap_or(0);
    let committed = match age {
        0..1000 => text_of(&health["commit_index"]),
        _ => format!(
            "{} ({} s ago)",
            text_of(&health["commit_index"]),
            age / 1000
        ),
    };
    table.add_row([
        text_of(&state["cluster"]),
        text_of(&health["leader"]),
        text_of(&health["term"]),
        committed,
        format!(
            "{} of {}",
            text_of(&health["up"]),
            text_of(&health["servers"])
        ),
        condition(health),
    ]);
    table
}

/// Explains the consequence of the cluster's state for writes.
fn condition(health: &Value) -> String {
    let margin = health["margin"].as_i64().unwrap_or(0);
    match health["state"].as_str() {
        Some("ok") => format!("ok, {margin} more may fail"),
        Some("no_leader") => "no leader: writes wait for an election".to_owned(),
        Some("no_quorum") => format!("no quorum, {} too few: writes wait", -margin),
        _ => "unknown".to_owned(),
    }
}

/// The status of a server, if the proxy has one.
fn read(status: &Value) -> Option<Status> {
    Status::deserialize(status).ok()
}

/// The columns of a member, after its id.
const MEMBER: [&str; 7] = [
    "role",
    "term",
    "committed",
    "durable",
    "last",
    "lag",
    "note",
];

/// The values of a member for these columns.
fn member(state: &Value, node: &Value) -> [String; MEMBER.len()] {
    let node_id = node["id"].as_u64().unwrap_or_default();
    let leader = &state["health"]["leader"];
    let mut nodes = state["nodes"].as_array().into_iter().flatten();
    let leading = nodes.find(|node| !leader.is_null() && node["id"] == *leader);
    let progress = leading.and_then(|node| {
        let leader = read(&node["status"])?;
        leader.followers.get(&node_id).copied()
    });
    let current = read(&node["status"]);
    let answers = current.is_some();
    let reported = current.or_else(|| read(&node["last"]));
    let number = |field: fn(&Status) -> u64| match &reported {
        Some(status) => field(status).to_string(),
        None => "-".to_owned(),
    };
    let role = match &reported {
        Some(status) if answers => status.role.to_string(),
        _ => "no answer".to_owned(),
    };
    // A new leader does not know the progress of a follower that has not responded yet.
    let is_unknown =
        |progress: &Progress| progress.match_index == 0 && progress.flow == Flow::Probe;
    let lag = progress.filter(|progress| !is_unknown(progress));
    let lag = lag.map_or_else(|| "-".to_owned(), |progress| progress.lag.to_string());
    let is_refused = progress.is_some_and(|progress| !progress.counts);
    let suspended = reported
        .as_ref()
        .and_then(|status| status.suspended.as_deref());
    let note = match (answers, node["age_ms"].as_u64()) {
        (true, _) if suspended.is_some() => suspended.map(printable).unwrap_or_default(),
        (true, _) if !node["problem"].is_null() => text_of(&node["problem"]),
        (true, _) if is_refused => "does not count toward a quorum".to_owned(),
        (true, _) => String::new(),
        (false, Some(age)) => format!(
            "{}; as it was {} s ago",
            text_of(&node["problem"]),
            age / 1000
        ),
        (false, None) => text_of(&node["problem"]),
    };
    [
        role,
        number(|status| status.term),
        number(|status| status.commit_index),
        number(|status| status.durable_index),
        number(|status| status.last_index),
        lag,
        note,
    ]
}

/// The table of members, one row each.
fn members(state: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["server"].into_iter().chain(MEMBER));
    for node in state["nodes"].as_array().into_iter().flatten() {
        table.add_row(
            [text_of(&node["id"])]
                .into_iter()
                .chain(member(state, node)),
        );
    }
    table
}

/// The plain format for scripts: one `name value` per line, then one line per member.
fn plain(state: &Value) -> String {
    let health = &state["health"];
    let mut lines: Vec<String> = [
        "state",
        "leader",
        "term",
        "commit_index",
        "up",
        "servers",
        "margin",
    ]
    .iter()
    .map(|name| format!("{name} {}", text_of(&health[name])))
    .collect();
    for node in state["nodes"].as_array().into_iter().flatten() {
        let [role, term, committed, durable, last, lag, _] = member(state, node);
        lines.push(format!(
            "server {} role {} term {term} committed {committed} durable {durable} last {last} lag {lag}",
            text_of(&node["id"]),
            role.replace(' ', "_"),
        ));
    }
    lines.join("\n")
}

/// Measures the latency of a linearizable read.
async fn probe(global: &Global) -> anyhow::Result<Duration> {
    let probe = async {
        let client = global.connect().await?;
        let started = Instant::now();
        client.get(PROBED).await?;
        Ok(started.elapsed())
    };
    // The timeout includes name resolution.
    let late = || Err(Error::NotDone(NotDone::NoLeader).into());
    time::timeout(global.timeout + global.timeout / 10, probe)
        .await
        .unwrap_or_else(|_| late())
}

/// Fetches a page over HTTP/1.0: one request, one response, and the connection closes.
async fn fetch(
    at: &str,
    path: &str,
    token: Option<&str>,
    timeout: Duration,
) -> Result<String, Unhealthy> {
    let answer = time::timeout(timeout, async {
        let mut stream = TcpStream::connect(at).await?;
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        let question = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n{token}\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LARGEST).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = match answer.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let why = format!("cannot reach http://{at}{path}: {error}. Is a proxy running there?");
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
            "http://{at}{path} returned {first:?} {body}"
        )))
    }
}
