//! Servers whose disk fails, hangs or falls behind.

mod invariant;
mod simulated;
mod simulated_stack;

use super::*;
use crate::{
    runtime::driver::{Driver, DriverCommand},
    storage::{
        disk::{Disk, DiskError},
        metadata::Metadata,
        wal::{Identity, Wal},
    },
};
use client::{Error, KeyValue};
use model::{Durable, NodeId, Write, client::NotDone};
use rand::{SeedableRng as _, rngs::StdRng};
use std::{net::SocketAddr, task::Waker, time::Duration};
use tokio::sync::mpsc;
use transport::Endpoint;

const PATIENCE: Duration = Duration::from_secs(30);

/// A disk that fails at its nth write.
struct Breaking(usize);

impl Disk for Breaking {
    fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
        self.0 -= 1;
        if self.0 == 0 {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(DiskError::from_io("write", "log", source));
        }
        Ok(())
    }
}

#[tokio::test]
async fn failing_disk_stops_the_server_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(NodeId::new(1), "test", dir.path());
    config.heartbeat = Duration::from_millis(10);
    config.election_min = Duration::from_millis(20);
    config.election_max = Duration::from_millis(40);
    let open = |_: &Config,
                _: Arc<Directory>,
                _: &mut StdRng|
     -> Result<(Box<dyn Disk>, Durable), DiskError> {
        Ok((Box::new(Breaking(3)), Durable::default()))
    };
    let node = Node::start_with(config, open).await.unwrap();
    // The writes: its vote, its no-op entry, and then the client session for this operation.
    let kv = store(&node);
    let failure = loop {
        tokio::select! {
            ended = node.ended() => break ended.unwrap_err(),
            _ = kv.increment("n", 1) => tokio::task::yield_now().await,
        }
    };
    let Failure::Disk(DiskError::Full { .. }) = &*failure else {
        panic!("{failure}");
    };
    let stopped = Err(Error::NotDone(NotDone::ShuttingDown));
    assert_eq!(kv.increment("n", 1).await, stopped);
    assert!(node.stop().await.is_err());
}

/// A disk whose writes block, from the third on, until the other end is dropped.
struct Stuck {
    writes: usize,
    reached: std::sync::mpsc::Sender<()>,
    released: std::sync::mpsc::Receiver<()>,
}

impl Disk for Stuck {
    fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
        self.writes += 1;
        if self.writes >= 3 {
            let _ = self.reached.send(());
            let _ = self.released.recv();
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_and_questions_are_served_while_the_disk_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(NodeId::new(1), "test", dir.path());
    config.heartbeat = Duration::from_millis(10);
    config.election_min = Duration::from_millis(20);
    config.election_max = Duration::from_millis(40);
    let (reached, reach) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let disk = Stuck {
        writes: 0,
        reached,
        released,
    };
    let open = |_: &Config,
                _: Arc<Directory>,
                _: &mut StdRng|
     -> Result<(Box<dyn Disk>, Durable), DiskError> {
        Ok((Box::new(disk), Durable::default()))
    };
    let node = Node::start_with(config, open).await.unwrap();
    let asking = tokio::spawn({
        let node = node.clone();
        async move {
            loop {
                match store(&node).increment("n", 1).await {
                    Err(Error::NotDone(NotDone::NotLeader { .. })) => {
                        tokio::task::yield_now().await;
                    }
                    done => return done,
                }
            }
        }
    });
    tokio::task::spawn_blocking(move || reach.recv_timeout(PATIENCE).unwrap())
        .await
        .unwrap();
    let served = async {
        let before = node.status().await.unwrap();
        // No client sends a request: the heartbeat timer causes the turns.
        let turns = || node.inner.metrics.turns.get();
        let from = turns();
        while turns() < from + 3 {
            tokio::task::yield_now().await;
        }
        (before, node.status().await.unwrap())
    };
    let served = tokio::time::timeout(PATIENCE, served).await;
    let (before, after) = served.expect("the driver waits for the disk");
    assert_eq!(before.syncs, after.syncs, "the disk hangs");
    assert!(!asking.is_finished());
    drop(release);
    asking.await.unwrap().unwrap();
    node.stop().await.unwrap();
}

/// A disk whose writes block while its gate is closed.
struct Gated(Arc<Gate>);

#[derive(Default)]
struct Gate {
    is_blocked: std::sync::Mutex<bool>,
    opened: std::sync::Condvar,
    poller: std::sync::atomic::AtomicUsize,
}

impl Gate {
    fn set(&self, is_blocked: bool) {
        *self.is_blocked.lock().unwrap() = is_blocked;
        self.opened.notify_all();
    }

    fn poller(&self) -> usize {
        self.poller.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Disk for Gated {
    fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
        use std::sync::atomic::Ordering::SeqCst;
        self.0.poller.fetch_add(1, SeqCst);
        let is_blocked = self.0.is_blocked.lock().unwrap();
        drop(self.0.opened.wait_while(is_blocked, |blocked| *blocked));
        self.0.poller.fetch_sub(1, SeqCst);
        Ok(())
    }
}

/// Three servers with these disks, and the leader, which has committed a write.
async fn three_servers(dir: &std::path::Path, gates: [&Arc<Gate>; 3]) -> (Vec<Node>, Node) {
    let mut nodes = Vec::new();
    for (id, gate) in (1..).zip(gates) {
        let mut config = Config::new(NodeId::new(id), "test", dir.join(id.to_string()));
        config.voters = (1..=3).map(NodeId::new).collect();
        config.heartbeat = Duration::from_millis(20);
        config.election_min = Duration::from_millis(400);
        config.election_max = Duration::from_millis(800);
        let disk = Gated(Arc::clone(gate));
        let open = |_: &Config,
                    _: Arc<Directory>,
                    _: &mut StdRng|
         -> Result<(Box<dyn Disk>, Durable), DiskError> {
            Ok((Box::new(disk), Durable::default()))
        };
        nodes.push(Node::start_with(config, open).await.unwrap());
    }
    for (one, other) in (0..9).map(|pair| (pair / 3, pair % 3)) {
        if one != other {
            let at = nodes[other].local_addr();
            nodes[one].set_peer(nodes[other].id(), at).await;
        }
    }
    let leader = tokio::time::timeout(PATIENCE, async {
        loop {
            for node in &nodes {
                if store(node).increment("n", 1).await.is_ok() {
                    return node.clone();
                }
            }
            tokio::task::yield_now().await;
        }
    });
    let leader = leader.await.expect("a leader commits");
    (nodes, leader)
}

/// The key-value operations at this server.
fn store(node: &Node) -> impl KeyValue {
    move |invocation| node.execute(invocation)
}

/// A leader whose own disk is stuck commits on the disks of its followers, up to a limit of its
/// backlog. Beyond that it refuses writes as overloaded. Reads need no disk.
#[tokio::test(flavor = "multi_thread")]
async fn leader_whose_disk_is_far_behind_refuses_writes_and_answers_reads() {
    let dir = tempfile::tempdir().unwrap();
    let gates = [(); 3].map(|()| Arc::new(Gate::default()));
    let (nodes, leader) = three_servers(dir.path(), gates.each_ref()).await;
    let elected = leader.status().await.unwrap();
    let gate = &gates[usize::try_from(leader.id().get()).unwrap() - 1];
    gate.set(true);
    let filled = tokio::time::timeout(PATIENCE, async {
        loop {
            let value = vec![0; model::store::MAX_VALUE_BYTES];
            if let Err(refused) = store(&leader).put("large", value).await {
                return refused;
            }
        }
    });
    let overloaded = Error::NotDone(NotDone::Overloaded);
    assert_eq!(filled.await, Ok(overloaded));
    let kv = store(&leader);
    assert_eq!(kv.increment("n", 1).await, Err(overloaded));
    kv.get("n").await.expect("a read needs no disk");
    kv.get_stale("n").await.expect("a stale read needs no disk");
    let status = leader.status().await.unwrap();
    assert_eq!((status.role, status.term), (elected.role, elected.term));
    gate.set(false);
    let caught_up = async {
        while let Err(refused) = kv.increment("n", 1).await {
            assert_eq!(refused, overloaded);
            tokio::task::yield_now().await;
        }
    };
    let caught_up = tokio::time::timeout(PATIENCE, caught_up).await;
    caught_up.expect("writes are accepted once the disk has caught up");
    for node in nodes {
        node.stop().await.unwrap();
    }
}

/// The response to a GET request of a server: status line, head and body.
async fn get(node: &Node, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let at = node.http_addr().unwrap();
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// Waits until the response to a GET request contains all of these texts.
async fn expect(node: &Node, path: &str, texts: &[&str]) {
    let expected = async {
        loop {
            let response = get(node, path).await;
            if texts.iter().all(|text| response.contains(text)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let expected = tokio::time::timeout(PATIENCE, expected).await;
    assert!(expected.is_ok(), "{path} never has {texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_disk_is_reported_until_it_responds() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let mut config = lone(dir.path());
    config.http = Some(([127, 0, 0, 1], 0).into());
    config.slow_disk = Duration::from_millis(50);
    let disk = Gated(Arc::clone(&gate));
    let open = |_: &Config,
                _: Arc<Directory>,
                _: &mut StdRng|
     -> Result<(Box<dyn Disk>, Durable), DiskError> {
        Ok((Box::new(disk), Durable::default()))
    };
    let node = Node::start_with(config, open).await.unwrap();
    let works = async |node: &Node| {
        expect(node, "/readyz?verbose", &["200 OK", "[+] disk"]).await;
        expect(node, "/metrics", &["raft_disk_busy_seconds 0\n"]).await;
        expect(node, "/status", &["\"alerts\":[]"]).await;
    };
    works(&node).await;
    gate.set(true);
    let writing = tokio::spawn({
        let node = node.clone();
        async move { store(&node).increment("n", 1).await }
    });
    let hangs = "[-] disk: a write has been in progress for ";
    expect(&node, "/readyz", &["503 Service", hangs]).await;
    expect(&node, "/metrics", &["raft_disk_busy_seconds 1\n"]).await;
    let alert = "\"kind\":\"slow_disk\",\"node\":1,\"text\":\"a write has been in progress for ";
    expect(&node, "/status", &[alert]).await;
    gate.set(false);
    writing.await.unwrap().expect("the write commits");
    works(&node).await;
    node.stop().await.unwrap();
}

/// Collects the messages of WARN lines.
struct Warnings(tokio::sync::mpsc::UnboundedSender<String>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let _ = self.0.send(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn hanging_recovery_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = lone(dir.path());
    config.slow_disk = Duration::from_millis(10);
    let (warn, mut warnings) = mpsc::unbounded_channel();
    let _collecting = tracing::subscriber::set_default(Warnings(warn));
    let (release, released) = std::sync::mpsc::channel::<()>();
    let open = move |_: &Config,
                     _: Arc<Directory>,
                     _: &mut StdRng|
          -> Result<(Box<dyn Disk>, Durable), DiskError> {
        let _ = released.recv();
        Ok((Box::new(Gated(Arc::default())), Durable::default()))
    };
    // On this thread, whose warnings are collected.
    let starting = tokio::spawn(Node::start_with(config, open));
    let warned = async {
        while let Some(text) = warnings.recv().await {
            if text.contains("opening the data directory is slow") {
                return;
            }
        }
    };
    let warned = tokio::time::timeout(PATIENCE, warned).await;
    warned.expect("the hang is reported");
    assert!(!starting.is_finished());
    drop(release);
    let node = starting.await.unwrap().unwrap();
    node.stop().await.unwrap();
}

/// However slow all disks are, an elected leader stays leader, and reads are answered beside a
/// write that waits for a disk.
#[tokio::test(flavor = "multi_thread")]
async fn leader_stays_and_answers_reads_while_every_disk_is_blocked() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let (nodes, leader) = three_servers(dir.path(), [&gate; 3]).await;
    let elected = leader.status().await.unwrap();

    gate.set(true);
    let writing = tokio::spawn({
        let leader = leader.clone();
        async move { store(&leader).increment("n", 1).await }
    });
    let blocked = async {
        while gate.poller() < 3 {
            tokio::task::yield_now().await;
        }
        // Many times longer than a leader leads without a quorum.
        let until = tokio::time::Instant::now() + 10 * Duration::from_millis(400);
        while tokio::time::Instant::now() < until {
            let read = store(&leader).get("n").await;
            read.expect("a read waits for no disk");
        }
        leader.status().await.unwrap()
    };
    let status = tokio::time::timeout(PATIENCE, blocked).await;
    let status = status.expect("reads are answered while every disk is blocked");
    assert_eq!((status.role, status.term), (elected.role, elected.term));
    assert!(!writing.is_finished(), "no disk made it durable");
    gate.set(false);
    writing.await.unwrap().expect("the write commits");
    for node in nodes {
        node.stop().await.unwrap();
    }
}

/// A cluster of one server, with small segments.
fn lone(dir: &std::path::Path) -> Config {
    let mut config = Config::new(NodeId::new(1), "test", dir);
    config.heartbeat = Duration::from_millis(10);
    config.election_min = Duration::from_millis(20);
    config.election_max = Duration::from_millis(40);
    config.segment_bytes = 8192;
    config
}

/// Executes writes until they fill three segments, and stops the server.
async fn fill_three_segments(config: Config) {
    let third = config.data_dir.join("log-0000000003.wal");
    let node = Node::start(config).await.unwrap();
    let filled = tokio::time::timeout(PATIENCE, async {
        while !third.exists() {
            if store(&node).increment("n", 1).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    filled.await.expect("the log grows");
    node.stop().await.unwrap();
}

async fn refusal(config: Config) -> String {
    let started = Node::start(config).await;
    let Err(error) = started else {
        panic!("the start is accepted");
    };
    let text = error.to_string();
    text + &std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"))
}

/// Without `lock`, nothing shows that the last segment is missing.
#[tokio::test(flavor = "multi_thread")]
async fn directory_without_its_record_of_segments_is_refused() {
    for without in [&["lock", "log-0000000003.wal"][..], &["lock"]] {
        let dir = tempfile::tempdir().unwrap();
        let config = || lone(dir.path());
        fill_three_segments(config()).await;
        for name in without {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        // The refused start creates an empty `lock`.
        for _ in 0..2 {
            let text = refusal(config()).await;
            assert!(text.contains("`lock`"), "{text}");
            assert!(text.contains("leave it stopped"), "{text}");
            assert!(text.contains("docs/deploy.md"), "{text}");
        }
    }
    // Also refused if the server has only started, and the log is as at a first start.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log-0000000001.wal");
    let config = || lone(dir.path());
    fill_three_segments(config()).await;
    for name in ["lock", "log-0000000002.wal", "log-0000000003.wal"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], 4096).unwrap();
    let text = refusal(config()).await;
    assert!(text.contains("`lock`"), "{text}");
}

/// A crash during the very first start leaves a directory that the next start accepts: nothing was
/// acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn crash_during_the_first_start_leaves_a_usable_directory() {
    // The files of a directory after its first start, except the record in `lock`, and with the
    // metadata of the moment before the log existed.
    let made = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(made.path()).unwrap());
    let (config, mut random) = (lone(made.path()), StdRng::seed_from_u64(1));
    Metadata::open(&directory, &config, &mut random).unwrap();
    let metadata = std::fs::read(made.path().join("metadata")).unwrap();
    let identity = Identity {
        cluster: "test".into(),
        node: 1,
    };
    let threads = config.environment.threads;
    drop(Wal::open(directory, identity, 8192, 7, threads).unwrap());
    let read = |name: &str| std::fs::read(made.path().join(name)).unwrap();
    let (log, record) = (read("log-0000000001.wal"), read("lock"));
    assert!(!record.is_empty());
    let segment = ("log-0000000001.wal", &log[..]);
    let complete = ("metadata", &metadata[..]);
    let windows: [&[(&str, &[u8])]; 9] = [
        &[],
        &[("lock", b"")],
        &[("lock", b""), ("metadata.new", &metadata[..20])],
        &[complete],
        &[("lock", b""), complete, ("spare.wal", &[0; 100])],
        &[("lock", b""), complete, segment],
        // A torn record.
        &[("lock", &record[..9]), complete, segment],
        &[("lock", &[0; 24]), complete, segment],
        &[("lock", &record), complete, segment],
    ];
    for (number, files) in windows.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in *files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        for _ in 0..2 {
            let started = Node::start(lone(dir.path())).await;
            let node = started.unwrap_or_else(|error| panic!("window {number}: {error}"));
            node.stop().await.unwrap();
        }
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        let text = refusal(lone(dir.path())).await;
        assert!(text.contains("`lock`"), "window {number}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn second_start_is_refused_though_the_lock_file_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(lone(dir.path())).await.unwrap();
    std::fs::remove_file(dir.path().join("lock")).unwrap();
    let text = refusal(lone(dir.path())).await;
    assert!(text.contains("in use by another process"), "{text}");
    assert!(!dir.path().join("lock").exists(), "it changes nothing");
    node.stop().await.unwrap();
}
