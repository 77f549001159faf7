//! The operators' view of a server: HTTP, traces, and its end after a failure.

use client::{Error, KeyValue};
use model::{
    Address, AppendEntriesRequest, Config as ModelConfig, Durable, Entry, Envelope, Event,
    LogIndex, Message, NodeId, Payload, Raft, Term,
    admission::{DiskId, IdentityMessage, Response},
    wire::VotersDigest,
};
use node::{Config, Node, StartError};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};
use transport::{Endpoint, Faults, Plan, Rule};

const DEADLINE: Duration = Duration::from_secs(60);

fn config(dir: &Path) -> Config {
    let mut config = Config::new(NodeId::new(1), "test", dir);
    config.heartbeat = Duration::from_millis(30);
    config.election_min = Duration::from_millis(300);
    config.election_max = Duration::from_millis(600);
    config.segment_bytes = 1 << 20;
    config.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config
}

/// A server without peers that could elect it.
fn lonely(dir: &Path) -> Config {
    let mut config = config(dir);
    config.voters = (1..=3).map(NodeId::new).collect();
    config
}

/// The key-value operations at this server.
fn store(node: &Node) -> impl KeyValue {
    move |invocation| node.execute(invocation)
}

async fn poll<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // A pause between two polls.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn put_until_done(node: &Node, key: &str) {
    poll("a put", async || store(node).put(key, "value").await.ok()).await;
}

async fn get(node: &Node, path: &str, header: &str) -> (u16, String) {
    ask(node, "GET", path, header, "").await
}

/// The status code and the whole response.
async fn ask(node: &Node, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
    let at = node.http_addr().unwrap();
    let mut stream = TcpStream::connect(at).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\n{header}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

#[tokio::test]
async fn http_tells_status_metrics_and_readiness() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.http_token = Some("secret".into());
    let node = Node::start(config).await.unwrap();
    let token = "Authorization: Bearer secret\r\n";
    put_until_done(&node, "a").await;
    let (code, status) = get(&node, "/status", token).await;
    assert_eq!(code, 200);
    assert!(status.contains("\"role\":\"leader\""), "{status}");
    // The data that the browser displays: the end of the log, and the events.
    for part in [
        r#""voted_for":1"#,
        r#""log_start":1,"log":[{"term":1,"payload":"Noop"},"#,
        r#""operation":{"Put":{"key":[97],"value":[118,97,108,117,101],"condition":"Always"}}"#,
        r#""what":"started","index":0}"#,
        r#""term":1,"what":"became_leader"}"#,
    ] {
        assert!(status.contains(part), "{part} is missing in {status}");
    }
    let (_, brief) = get(&node, "/status?entries=0&since=1000", token).await;
    assert!(brief.contains(r#""log":[],"events":[]"#), "{brief}");
    let (code, _) = get(&node, "/status?entires=0", token).await;
    assert_eq!(code, 400);
    let (code, metrics) = get(&node, "/metrics", token).await;
    assert_eq!(code, 200);
    for line in [
        "raft_role{role=\"leader\"} 1",
        "raft_role{role=\"follower\"} 0",
        "raft_term 1",
        "raft_leaderships_total 1",
        "raft_sync_seconds_count",
        "raft_commit_seconds_count",
        "raft_transport_total{count=",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    let (code, ready) = get(&node, "/readyz?verbose", "").await;
    assert!(code == 200 && ready.contains("[+] leader"), "{ready}");
    let (code, version) = get(&node, "/version", token).await;
    assert!(
        code == 200 && version.contains(env!("CARGO_PKG_VERSION")),
        "{version}"
    );
}

#[tokio::test]
async fn status_without_a_token_shows_no_keys_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    put_until_done(&node, "hush").await;
    poll("an increment", async || {
        let result = store(&node).increment("hush", 77).await;
        (result == Err(Error::NotANumber)).then_some(())
    })
    .await;
    let (code, status) = get(&node, "/status", "").await;
    assert_eq!(code, 200);
    assert!(
        status.contains(r#""operation":{"Put":{"key":[],"value":[],"#),
        "{status}"
    );
    // "hush" and "value" have nine bytes.
    assert!(status.contains(r#""cut":9"#), "{status}");
    assert!(
        status.contains(r#""Increment":{"key":[],"by":0}"#),
        "{status}"
    );
    for secret in ["104,117,115,104", "118,97,108", "77"] {
        assert!(
            !status.contains(&format!("[{secret}")),
            "{secret} in {status}"
        );
    }
    // The program that embeds the server sees them.
    let all = node::StatusQuery {
        entries: 24,
        since: 0,
    };
    let shown = serde_json::to_string(&node.query_status(all).await.unwrap()).unwrap();
    assert!(shown.contains("[104,117,115,104]"), "{shown}");
}

#[tokio::test]
async fn pages_of_other_sites_are_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = lonely(dir.path());
    config.faults = Some(Faults::default());
    config.http_allow_host = vec!["node1".to_owned()];
    let node = Node::start(config).await.unwrap();
    let at = node.http_addr().unwrap();
    let code = async |method: &str, path: &str, lines: &str| {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{lines}Content-Type: application/json\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("cache-control: no-store"), "{answer}");
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for host in ["localhost:8101", "127.0.0.1", "[::1]:1", "node1:8101"] {
        let lines = format!("Host: {host}\r\n");
        assert_eq!(code("GET", "/status", &lines).await, "200", "{host}");
        assert_eq!(code("PUT", "/chaos", &lines).await, "204", "{host}");
    }
    for (lines, refused) in [
        ("Host: evil.example\r\n", "403"),
        (
            "Host: evil.example\r\nSec-Fetch-Site: same-origin\r\n",
            "403",
        ),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", "403"),
        ("Host: localhost\r\nOrigin: null\r\n", "403"),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", "403"),
        ("Host: localhost\r\nHost: localhost\r\n", "400"),
        ("", "400"),
    ] {
        for (method, path) in [("GET", "/status"), ("PUT", "/chaos"), ("GET", "/livez")] {
            assert_eq!(code(method, path, lines).await, refused, "{path} {lines}");
        }
    }
}

#[tokio::test]
async fn data_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("above").join("data");
    let node = Node::start(config(&data)).await.unwrap();
    put_until_done(&node, "a").await;
    node.stop().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(data.parent().unwrap()), 0o700);
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn http_beyond_loopback_needs_a_token_or_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.display();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_raft-node"))
        .args([
            "--id=1",
            "--peer=1=127.0.0.1:9",
            "--listen=127.0.0.1:0",
            "--http=0.0.0.0:0",
        ])
        .arg(format!("--data-dir={data}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--http-token-file") && said.contains("--insecure"),
        "{said}"
    );
    assert!(!dir.path().join("data").exists());
}

#[tokio::test]
async fn server_without_quorum_is_alive_but_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(lonely(dir.path())).await.unwrap();
    assert_eq!(get(&node, "/livez", "").await.0, 200);
    let (code, text) = get(&node, "/readyz", "").await;
    assert!(code == 503 && text.contains("[-] leader"), "{text}");
    assert!(text.contains("[+] disk"), "{text}");
}

#[tokio::test]
async fn token_is_asked_for_where_it_matters() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = lonely(dir.path());
    config.http_token = Some("secret".into());
    let node = Node::start(config).await.unwrap();
    for path in ["/status", "/metrics", "/version"] {
        assert_eq!(get(&node, path, "").await.0, 401, "{path}");
        for wrong in ["secre", "secret1", "Secret", ""] {
            let header = format!("Authorization: Bearer {wrong}\r\n");
            assert_eq!(
                get(&node, path, &header).await.0,
                401,
                "{path} with {wrong:?}"
            );
        }
        let header = "Authorization: Bearer secret\r\n";
        assert_eq!(get(&node, path, header).await.0, 200, "{path}");
    }
    assert_eq!(get(&node, "/livez", "").await.0, 200);
    assert_eq!(get(&node, "/readyz", "").await.0, 503);
}

#[tokio::test]
async fn chaos_is_served_only_where_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(lonely(dir.path())).await.unwrap();
    assert_eq!(get(&node, "/chaos", "").await.0, 404);
    node.stop().await.unwrap();

    let mut config = lonely(dir.path());
    config.faults = Some(Faults::default());
    let node = Node::start(config.clone()).await.unwrap();
    let json = "Content-Type: application/json\r\n";
    let (_, plan) = get(&node, "/chaos", "").await;
    let (_, plan) = plan.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Plan>(plan).unwrap(), Plan::default());
    let cut = Plan {
        seed: 7,
        rules: Rule::isolate(Address::Node(NodeId::new(1))).into(),
    };
    let body = serde_json::to_string(&cut).unwrap();
    assert_eq!(ask(&node, "PUT", "/chaos", json, &body).await.0, 204);
    assert_eq!(config.faults.unwrap().plan(), cut);
    let bad = body.replace("\"drop\":0.0", "\"drop\":7.0");
    assert_eq!(ask(&node, "PUT", "/chaos", json, &bad).await.0, 422);
}

#[tokio::test]
async fn stopped_server_frees_its_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    node.stop().await.unwrap();
    let mut again = config(dir.path());
    again.listen = node.local_addr();
    again.http = node.http_addr();
    let second = Node::start(again).await.unwrap();
    assert_eq!(second.local_addr(), node.local_addr());
}

#[tokio::test]
async fn server_nobody_holds_any_more_ends() {
    let dir = tempfile::tempdir().unwrap();
    drop(Node::start(config(dir.path())).await.unwrap());
    poll("the directory to be free", async || {
        Node::start(config(dir.path())).await.ok()
    })
    .await;
}

#[tokio::test]
async fn address_in_use_is_said() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start(config(one.path())).await.unwrap();
    let mut second = config(two.path());
    second.listen = node.local_addr();
    let error = Node::start(second.clone()).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Listen {
                purpose: "datagrams",
                ..
            }
        ),
        "{error}"
    );
    second.listen = config(two.path()).listen;
    second.http = node.http_addr();
    let error = Node::start(second).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Listen {
                purpose: "HTTP",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn directory_in_use_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Node::start(config(dir.path())).await.unwrap();
    let error = Node::start(config(dir.path()))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
}

/// Replaying the recorded events on the core produces the same effects.
#[tokio::test]
async fn trace_replays_step_for_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    for run in 0..2 {
        let mut config = config(&dir.path().join("data"));
        config.trace = Some(path.clone());
        let node = Node::start(config).await.unwrap();
        for key in 0..20 {
            put_until_done(&node, &format!("key {run} {key}")).await;
        }
        node.stop().await.unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut raft, mut steps, mut runs) = (None, 0, 0);
    for line in text.lines() {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["trace"] == "stateraft-node" {
            assert_eq!((&line["version"], &line["node"]), (&4.into(), &1.into()));
            assert_eq!(line["boot"].as_str().unwrap().len(), 16);
            let config: ModelConfig = serde_json::from_value(line["config"].take()).unwrap();
            let durable: Durable = serde_json::from_value(line["durable"].take()).unwrap();
            assert_eq!(durable.log.is_empty(), runs == 0);
            raft = Some(Raft::recover(NodeId::new(1), config, durable));
            (steps, runs) = (0, runs + 1);
            continue;
        }
        steps += 1;
        assert_eq!(line["step"], steps);
        let event: Event = serde_json::from_value(line["event"].take()).unwrap();
        let effects = raft.as_mut().unwrap().step(event);
        assert_eq!(
            serde_json::to_value(&effects).unwrap(),
            line["effects"],
            "step {steps}"
        );
    }
    assert_eq!(runs, 2);
    assert!(steps > 40, "{steps} steps");
}

/// A malicious process that has the keys of the cluster.
struct Liar {
    endpoint: Endpoint,
    answering: JoinHandle<()>,
}

impl Liar {
    async fn new(node: &Node) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = transport::Config::new(listen, "test");
        config.voters = VotersDigest::new(&(1..=3).map(NodeId::new).collect());
        config.peers = [(Address::Node(node.id()), node.local_addr())].into();
        let (endpoint, mut inbox) = Endpoint::bind(config).await.unwrap();
        node.set_peer(NodeId::new(2), endpoint.local_addr().unwrap())
            .await;
        let answers = endpoint.clone();
        let answering = tokio::spawn(async move {
            while let Some(messages) = inbox.receive().await {
                answers.send(messages.into_iter().filter_map(identify).collect());
            }
        });
        Self {
            endpoint,
            answering,
        }
    }

    /// Claims to be leader in this term, with a log of one empty entry of that term.
    fn lead(&self, term: u64, leader_commit: u64) {
        let term = Term::new(term);
        self.endpoint.send(vec![Envelope {
            from: Address::Node(NodeId::new(2)),
            to: Address::Node(NodeId::new(1)),
            message: Message::AppendEntriesRequest(AppendEntriesRequest {
                term,
                prev_log_index: LogIndex::ZERO,
                prev_log_term: Term::ZERO,
                entries: vec![Entry {
                    term,
                    payload: Payload::Noop,
                }],
                leader_commit: LogIndex::new(leader_commit),
                read_round: 0,
            }),
        }]);
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// The response of a server at its first start to a request for its identity.
fn identify(envelope: Envelope) -> Option<Envelope> {
    let Message::Identity(IdentityMessage::Request(request)) = envelope.message else {
        return None;
    };
    let response = Response {
        nonce: request.nonce,
        disk: DiskId::new(1),
        counter: 1,
        boots: BTreeMap::new(),
        version: 1,
        table: BTreeMap::new(),
        merged: request.version,
        log: None,
    };
    Some(Envelope {
        from: envelope.to,
        to: envelope.from,
        message: Message::Identity(IdentityMessage::Response(response)),
    })
}

#[tokio::test]
async fn append_that_contradicts_a_committed_entry_is_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = lonely(dir.path());
    // The server must follow, and not start an election.
    config.election_min = DEADLINE;
    config.election_max = DEADLINE * 2;
    let node = Node::start(config).await.unwrap();
    let liar = Liar::new(&node).await;
    poll("the entry to be committed", async || {
        liar.lead(1, 1);
        let status = node.status().await?;
        (status.commit_index == 1).then_some(())
    })
    .await;
    // Another leader sends a conflicting entry in place of the committed one.
    poll("the request to be counted", async || {
        liar.lead(2, 0);
        let metrics = node.metrics().await;
        let line = metrics
            .lines()
            .find(|line| line.contains("\"impossible\""))?;
        (!line.ends_with(" 0")).then_some(())
    })
    .await;
    let status = node.status().await.unwrap();
    assert_eq!((status.commit_index, status.term), (1, 1));
    node.stop().await.unwrap();
}
