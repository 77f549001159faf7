//! Servers that return without their disk, with an old one, with other voters, or twice: real
//! servers, datagrams and disks in one process.

mod disks;
mod forgery;

use client::KeyValue;
use model::{
    NodeId,
    wire::{BootId, Header},
};
use node::{AlertKind, Config, Node, Role, Status};
use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};
use transport::Keys;

/// The timeout of every wait: long enough for a loaded machine, and never reached in normal
/// operation.
const DEADLINE: Duration = Duration::from_secs(60);

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

/// The key-value operations at this server.
fn store(node: &Node) -> impl KeyValue {
    move |invocation| node.execute(invocation)
}

struct Cluster {
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Node>>,
    keys: Keys,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(Keys::INSECURE).await
    }

    async fn start_with(keys: Keys) -> Self {
        let mut cluster = Self {
            dirs: (0..3).map(|_| TempDir::new().unwrap()).collect(),
            nodes: vec![None, None, None],
            keys,
        };
        for place in 0..3 {
            cluster.start_node(place).await;
        }
        cluster
    }

    fn config(&self, place: usize) -> Config {
        let mut config = Config::new(
            NodeId::new(place as u64 + 1),
            "test",
            self.dirs[place].path(),
        );
        config.voters = (1..=3).map(NodeId::new).collect();
        config.heartbeat = Duration::from_millis(30);
        config.election_min = Duration::from_millis(300);
        config.election_max = Duration::from_millis(600);
        config.segment_bytes = 1 << 20;
        config.http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.keys = self.keys.clone();
        config
    }

    async fn start_node(&mut self, place: usize) {
        let node = Node::start(self.config(place)).await.unwrap();
        self.nodes[place] = Some(node);
        self.introduce().await;
    }

    /// Configures the addresses of the other servers on every server.
    async fn introduce(&self) {
        for node in self.running() {
            for other in self.running().filter(|other| other.id() != node.id()) {
                node.set_peer(other.id(), other.local_addr()).await;
            }
        }
    }

    async fn stop(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        node.stop().await.unwrap();
    }

    async fn kill(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        node.kill().await.unwrap();
    }

    fn node(&self, place: usize) -> &Node {
        self.nodes[place].as_ref().unwrap()
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    async fn status(&self, place: usize) -> Status {
        self.node(place).status().await.unwrap()
    }

    /// Waits until one of these servers is leader, and returns its index.
    async fn leader_among(&self, places: &[usize]) -> usize {
        poll("a leader", async || {
            for place in places {
                if self.status(*place).await.role == Role::Leader {
                    return Some(*place);
                }
            }
            None
        })
        .await
    }

    /// Waits until all running servers count each other, as far as a leader can determine.
    async fn settle(&self) -> usize {
        poll("a leader that counts all", async || {
            for place in 0..3 {
                let Some(node) = &self.nodes[place] else {
                    continue;
                };
                let status = node.status().await.unwrap();
                let is_in_step = |progress: &node::Progress| progress.counts && progress.lag == 0;
                if status.role == Role::Leader && status.followers.values().all(is_in_step) {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    async fn put(&self, key: &str) {
        poll("a put to be done", async || {
            for node in self.running() {
                if store(node).put(key, "value").await.is_ok() {
                    return Some(());
                }
            }
            None
        })
        .await;
    }

    async fn has(&self, key: &str) -> bool {
        poll("a read to be answered", async || {
            for node in self.running() {
                if let Ok(found) = store(node).get(key).await {
                    return Some(found.is_some());
                }
            }
            None
        })
        .await
    }

    /// Removes all files in the directory of a stopped server.
    fn wipe(&self, place: usize) {
        for entry in fs::read_dir(self.dirs[place].path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// Waits until a server and another one know that it does not count.
    async fn is_refused(&self, place: usize, by: usize) {
        poll("the server to be suspended", async || {
            self.status(place).await.suspended
        })
        .await;
        poll("an alert", async || {
            let alerts = self.status(by).await.alerts;
            let of = place as u64 + 1;
            let mut alerts = alerts.into_iter();
            alerts.find(|alert| alert.kind == AlertKind::LostDisk && alert.node == of)
        })
        .await;
    }
}

async fn get(node: &Node, path: &str) -> (u16, String) {
    let at = node.http_addr().unwrap();
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

impl Cluster {
    /// Starts a server on this directory at another address, beside the original one.
    async fn start_second(&self, place: usize, dir: &TempDir) -> Node {
        let mut config = self.config(place);
        config.data_dir = dir.path().to_owned();
        let second = Node::start(config).await.unwrap();
        self.tell_second(&second).await;
        second
    }

    async fn tell_second(&self, second: &Node) {
        for node in self.running().filter(|node| node.id() != second.id()) {
            second.set_peer(node.id(), node.local_addr()).await;
        }
    }

    /// Asserts that this server counts: it has all committed entries, is ready, and is not
    /// suspended.
    async fn expect_counted(&self, place: usize, leader: usize) {
        let committed = self.status(leader).await.commit_index;
        poll("the commit index of the original", async || {
            let status = self.status(place).await;
            assert_eq!(status.suspended, None);
            (status.commit_index >= committed).then_some(())
        })
        .await;
        poll("the original to be ready", async || {
            (get(self.node(place), "/readyz").await.0 == 200).then_some(())
        })
        .await;
    }
}

impl Cluster {
    /// The boot id of a server, which every datagram to another server contains in the clear.
    async fn boot_of(&self, place: usize, to: usize) -> BootId {
        let (node, to) = (self.node(place), self.node(to));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        node.set_peer(to.id(), socket.local_addr().unwrap()).await;
        let mut datagram = [0; 1500];
        let length = socket.recv(&mut datagram).await.unwrap();
        node.set_peer(to.id(), to.local_addr()).await;
        Header::decode(&datagram[..length]).unwrap().boot
    }

    /// Asserts that two servers count each other, and that none is reported to have lost its disk.
    async fn expect_all_counted(&self, places: [usize; 2]) {
        // Neither is a majority without the other.
        for number in 0..20 {
            self.put(&format!("more {number}")).await;
        }
        for place in places {
            let status = self.status(place).await;
            assert_eq!(status.suspended, None);
            let lost = status
                .alerts
                .iter()
                .find(|alert| alert.kind == AlertKind::LostDisk);
            assert_eq!(lost, None);
            let metrics = self.node(place).metrics().await;
            assert!(metrics.contains("raft_refused_peers 0"), "{metrics}");
        }
    }
}

fn dropped(metrics: &str, cause: &str) -> u64 {
    let name = format!("raft_dropped_total{{cause=\"{cause}\"}} ");
    let mut counts = metrics.lines().filter_map(|line| line.strip_prefix(&name));
    counts.next().map_or(0, |count| count.parse().unwrap())
}
