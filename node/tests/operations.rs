//! What operators see of a server: HTTP, traces, and how it ends when something breaks.

use model::{
    Address, AppendEntriesRequest, Config as ModelConfig, Durable, Entry, Envelope, Event,
    LogIndex, Message, NodeId, Payload, Raft, Term,
    store::{Condition, Operation},
};
use node::{Config, Failure, Node, StartError};
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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

/// A server that has nobody to win an election with.
fn lonely(dir: &Path) -> Config {
    let mut config = config(dir);
    config.voters = (1..=3).map(NodeId::new).collect();
    config
}

fn put(key: &str) -> Operation {
    Operation::Put {
        key: key.into(),
        value: "value".into(),
        condition: Condition::Always,
    }
}

async fn poll<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // Between two looks, not in place of one.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn put_until_done(node: &Node, key: &str) {
    poll("a put", async || node.propose(put(key)).await.ok()).await;
}

async fn get(node: &Node, path: &str, header: &str) -> (u16, String) {
    ask(node, "GET", path, header, "").await
}

/// The status code and the whole answer.
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
    let node = Node::start(config(dir.path())).await.unwrap();
    put_until_done(&node, "a").await;
    let (code, status) = get(&node, "/status", "").await;
    assert_eq!(code, 200);
    assert!(status.contains("\"role\":\"leader\""), "{status}");
    // What the browser draws: the end of the log, and what happened.
    for part in [
        r#""voted_for":1"#,
        r#""log_start":1,"log":[{"term":1,"payload":"Noop"},"#,
        r#""operation":{"Put":{"key":[97],"value":[118,97,108,117,101],"condition":"Always"}}}}}}]"#,
        r#""what":"started","index":0}"#,
        r#""term":1,"what":"leads"}"#,
    ] {
        assert!(status.contains(part), "{part} is missing in {status}");
    }
    let (_, brief) = get(&node, "/status?entries=0&since=1000", "").await;
    assert!(brief.contains(r#""log":[],"events":[]"#), "{brief}");
    let (code, _) = get(&node, "/status?entires=0", "").await;
    assert_eq!(code, 400);
    let (code, metrics) = get(&node, "/metrics", "").await;
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
    let (code, version) = get(&node, "/version", "").await;
    assert!(
        code == 200 && version.contains(env!("CARGO_PKG_VERSION")),
        "{version}"
    );
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

/// The core, stepped again through all that happened, does the same.
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
            assert_eq!((&line["version"], &line["node"]), (&2.into(), &1.into()));
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

/// Someone who holds the keys of the cluster, and lies.
struct Liar {
    endpoint: Endpoint,
}

impl Liar {
    async fn new(node: &Node) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = transport::Config::new(listen, "test");
        config.peers = [(Address::Node(node.id()), node.local_addr())].into();
        let (endpoint, _) = Endpoint::bind(config).await.unwrap();
        Self { endpoint }
    }

    /// Claims to lead in this term, with an empty entry of it as the whole log.
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

#[tokio::test]
async fn broken_law_stops_the_server_and_leaves_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = lonely(dir.path());
    // It shall follow, not run for office.
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
    // Another leader, another entry in the place of a committed one.
    poll("the server to end", async || {
        liar.lead(2, 0);
        node.has_ended().then_some(())
    })
    .await;
    let failure = node.ended().await.unwrap_err();
    assert!(matches!(*failure, Failure::LawBroken { .. }), "{failure}");
    assert!(failure.to_string().contains("never removed"), "{failure}");
    let reports = std::fs::read_dir(dir.path()).unwrap();
    let names = reports.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let report = names
        .into_iter()
        .find(|name| name.starts_with("broken-law-"));
    let report = std::fs::read_to_string(dir.path().join(report.unwrap())).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["server"]["current_term"], 2);
    assert_eq!(get(&node, "/livez", "").await.0, 503);
}
