//! Real servers on the loopback interface, with real disks, in one process.

use client::{Error, KeyValue};
use model::{NodeId, client::NotDone};
use node::{Config, EventKind, Node, Role, Status, StatusQuery, TransferError};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The timeout of every wait: long enough for a loaded machine, and never reached in normal
/// operation.
const DEADLINE: Duration = Duration::from_secs(60);

struct Cluster {
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    async fn start(size: u64) -> Self {
        let mut cluster = Self {
            dirs: (0..size).map(|_| TempDir::new().unwrap()).collect(),
            nodes: (0..size).map(|_| None).collect(),
        };
        for place in 0..size as usize {
            cluster.start_node(place).await;
        }
        cluster
    }

    /// Three servers. Server 1 leads, and no other server would time out within an hour.
    async fn led_by_the_first() -> Self {
        let mut cluster = Self {
            dirs: (0..3).map(|_| TempDir::new().unwrap()).collect(),
            nodes: vec![None, None, None],
        };
        for place in 0..3 {
            let mut config = cluster.config(place);
            let least = if place == 0 { 2 } else { 3600 };
            config.election_min = Duration::from_secs(least);
            config.election_max = Duration::from_secs(2 * least);
            cluster.nodes[place] = Some(Node::start(config).await.unwrap());
            cluster.introduce().await;
        }
        cluster.put("a", "1").await;
        assert_eq!(cluster.leader().await.id(), NodeId::new(1));
        cluster
    }

    fn config(&self, place: usize) -> Config {
        let ids = 1..=self.nodes.len() as u64;
        let mut config = quick(place as u64 + 1, self.dirs[place].path());
        config.voters = ids.map(NodeId::new).collect();
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
            for other in self.running() {
                node.set_peer(other.id(), other.local_addr()).await;
            }
        }
    }

    async fn stop_node(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        node.stop().await.unwrap();
    }

    async fn kill_node(&mut self, place: usize) {
        let node = self.nodes[place].take().unwrap();
        node.kill().await.unwrap();
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Waits for a leader that all servers know.
    async fn leader(&self) -> Node {
        poll("a leader that is known to all", async || {
            let mut leaders = BTreeSet::new();
            let mut terms = BTreeSet::new();
            for node in self.running() {
                let status = node.status().await.unwrap();
                leaders.insert(status.leader);
                terms.insert(status.term);
            }
            match (terms.len(), Vec::from_iter(leaders).as_slice()) {
                (1, [Some(leader)]) => self.running().find(|n| n.id().get() == *leader).cloned(),
                _ => None,
            }
        })
        .await
    }

    /// Sends a put to the leader, and retries until its outcome is certain.
    async fn put(&self, key: &str, value: &str) {
        poll("a put to be done", async || {
            for node in self.running() {
                // Executing a put of the same value twice is harmless.
                if store(node).put(key, value).await.is_ok() {
                    return Some(());
                }
            }
            None
        })
        .await;
    }

    async fn get(&self, key: &str) -> Option<String> {
        poll("a read to be answered", async || {
            for node in self.running() {
                if let Ok(found) = store(node).get(key).await {
                    return Some(
                        found.map(|found| String::from_utf8(found.value.to_vec()).unwrap()),
                    );
                }
            }
            None
        })
        .await
    }

    /// Waits until every running server has applied all entries.
    async fn settle(&self) -> Vec<Status> {
        poll("all servers to have applied everything", async || {
            let mut all = Vec::new();
            for node in self.running() {
                all.push(node.status().await.unwrap());
            }
            let last = all.iter().map(|status| status.last_index).max();
            let settled = all.iter().all(|status| {
                Some(status.applied_index) == last && Some(status.durable_index) == last
            });
            settled.then_some(all)
        })
        .await
    }
}

fn quick(id: u64, dir: &Path) -> Config {
    let mut config = Config::new(NodeId::new(id), "test", dir);
    config.heartbeat = Duration::from_millis(30);
    config.election_min = Duration::from_millis(300);
    config.election_max = Duration::from_millis(600);
    config.segment_bytes = 1 << 20;
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

#[tokio::test]
async fn three_servers_elect_a_leader_and_commit() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    store(&leader).put("a", "1").await.unwrap();
    assert_eq!(cluster.get("a").await.as_deref(), Some("1"));
    let statuses = cluster.settle().await;
    assert!(statuses.iter().all(|status| status.syncs > 0));
}

#[tokio::test]
async fn follower_asked_names_the_leader_and_does_nothing() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.running().find(|n| n.id() != leader.id()).unwrap();
    let hint = Some(leader.id());
    let refusal = Error::NotDone(NotDone::NotLeader { hint });
    // Neither a write nor a linearizable read has another copy that another server could execute.
    assert_eq!(store(follower).put("a", "1").await, Err(refusal));
    assert_eq!(store(follower).get("a").await, Err(refusal));
    assert_eq!(cluster.get("a").await, None);
}

#[tokio::test]
async fn single_server_leads_itself_and_remembers() {
    let mut cluster = Cluster::start(1).await;
    cluster.put("a", "1").await;
    cluster.stop_node(0).await;
    cluster.start_node(0).await;
    assert_eq!(cluster.get("a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn all_servers_restarted_remember_everything() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..50 {
        cluster.put(&format!("key {number}"), "value").await;
    }
    let term = cluster.settle().await[0].term;
    for place in 0..3 {
        cluster.stop_node(place).await;
    }
    for place in 0..3 {
        cluster.start_node(place).await;
    }
    let leader = cluster.leader().await;
    assert!(leader.status().await.unwrap().term > term, "votes survive");
    for number in 0..50 {
        let value = cluster.get(&format!("key {number}")).await;
        assert_eq!(value.as_deref(), Some("value"), "key {number}");
    }
}

#[tokio::test]
async fn leader_lost_is_replaced() {
    let mut cluster = Cluster::start(3).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    cluster.kill_node(leader.id().get() as usize - 1).await;
    cluster.put("a", "2").await;
    let next = cluster.leader().await;
    assert_ne!(next.id(), leader.id());
    assert_eq!(cluster.get("a").await.as_deref(), Some("2"));
}

/// The other servers would not time out within an hour.
#[tokio::test]
async fn leader_whose_process_is_gone_is_not_waited_for() {
    let mut cluster = Cluster::led_by_the_first().await;
    cluster.kill_node(0).await;
    cluster.put("a", "2").await;
    assert_eq!(cluster.get("a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn leadership_moves_to_each_server_that_is_asked_for() {
    let cluster = Cluster::led_by_the_first().await;
    let first = cluster.leader().await;
    let term = first.status().await.unwrap().term;
    let mut leader = first.clone();
    for round in 1..=6 {
        let target = NodeId::new(leader.id().get() % 3 + 1);
        leader.transfer_leadership(target).await.unwrap();
        let next = cluster.running().find(|node| node.id() == target);
        let next = next.unwrap().clone();
        let status = next.status().await.unwrap();
        assert_eq!((status.role, status.term), (Role::Leader, term + round));
        // The former leader names the new one.
        let refusal = store(&leader).put("a", "2").await;
        let hint = Some(target);
        let not_leader = Err(Error::NotDone(NotDone::NotLeader { hint }));
        assert_eq!(refusal, not_leader);
        assert_eq!(
            leader.transfer_leadership(target).await,
            Err(TransferError::NotLeader { leader: hint })
        );
        leader = next;
    }
    assert_eq!(leader.transfer_leadership(leader.id()).await, Ok(()));
    let nobody = NodeId::new(9);
    let refused = Err(TransferError::NotVoter(nobody));
    assert_eq!(leader.transfer_leadership(nobody).await, refused);
    let metrics = first.metrics().await;
    let done = "raft_leadership_transfers_total{result=\"done\"} 2";
    assert!(metrics.contains(done), "{metrics}");
}

/// A transfer to a server whose process is gone fails, and the leader goes on.
#[tokio::test]
async fn transfer_to_a_server_that_is_gone_is_aborted() {
    let mut cluster = Cluster::led_by_the_first().await;
    let leader = cluster.leader().await;
    let target = NodeId::new(leader.id().get() % 3 + 1);
    cluster.kill_node(target.get() as usize - 1).await;
    let (outcome, written) = tokio::join!(leader.transfer_leadership(target), async {
        // Held during the transfer, and then executed.
        store(&leader).put("a", "2").await
    });
    assert_eq!(outcome, Err(TransferError::Aborted { target }));
    written.unwrap();
    assert_eq!(leader.status().await.unwrap().role, Role::Leader);
    let metrics = leader.metrics().await;
    let failed = "raft_leadership_transfers_total{result=\"failed\"} 1";
    assert!(metrics.contains(failed), "{metrics}");
}

/// A stopping leader hands over, and its successor leads without an election timeout. Then the two other
/// servers stop at the same time, and the leader finds no successor.
#[tokio::test]
async fn stopping_leader_hands_over() {
    let mut cluster = Cluster::led_by_the_first().await;
    let leader = cluster.leader().await;
    let term = leader.status().await.unwrap().term;
    cluster.stop_node(leader.id().get() as usize - 1).await;
    let next = cluster.leader().await;
    assert_eq!(next.status().await.unwrap().term, term + 1);
    assert_eq!(
        leader.transfer_leadership(next.id()).await,
        Err(TransferError::Stopped)
    );
    let rest: Vec<_> = cluster.running().cloned().collect();
    let (one, other) = tokio::join!(rest[0].stop(), rest[1].stop());
    one.unwrap();
    other.unwrap();
}

#[tokio::test]
async fn follower_away_for_a_thousand_entries_catches_up() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let away = cluster
        .running()
        .position(|node| node.id() != leader.id())
        .unwrap();
    cluster.stop_node(away).await;
    let mut puts = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let leader = leader.clone();
        puts.spawn(async move { store(&leader).put(format!("key {number}"), "value").await });
    }
    while let Some(done) = puts.join_next().await {
        done.unwrap().unwrap();
    }
    cluster.start_node(away).await;
    let statuses = cluster.settle().await;
    assert!(statuses[away].applied_index >= 1000);
}

#[tokio::test]
async fn stopped_server_refuses_and_frees_its_directory() {
    let mut cluster = Cluster::start(1).await;
    cluster.put("a", "1").await;
    let node = cluster.nodes[0].take().unwrap();
    node.stop().await.unwrap();
    let refused = store(&node).put("a", "2").await;
    assert_eq!(refused, Err(Error::NotDone(NotDone::ShuttingDown)));
    assert!(node.has_ended());
    // The old handle still exists, but does not hold the directory.
    cluster.start_node(0).await;
    assert_eq!(cluster.get("a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn paused_leader_is_replaced_and_follows_when_it_goes_on() {
    let cluster = Cluster::start(3).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    let pause = leader.pause().await.unwrap();
    let others = || cluster.running().filter(|node| node.id() != leader.id());
    poll("another leader", async || {
        for node in others() {
            let status = node.status().await.unwrap();
            if status.role == Role::Leader {
                return Some(());
            }
        }
        None
    })
    .await;
    assert!(!leader.has_ended());
    drop(pause);
    assert_ne!(cluster.leader().await.id(), leader.id());
    assert_eq!(cluster.get("a").await.as_deref(), Some("1"));
    let events = leader
        .query_status(StatusQuery::default())
        .await
        .unwrap()
        .events;
    let steps_down = events
        .iter()
        .find(|event| event.what == EventKind::SteppedDown);
    assert!(steps_down.is_some(), "{events:?}");
    let at = steps_down.unwrap().id;
    let since = StatusQuery {
        entries: 0,
        since: at,
    };
    let later = leader.query_status(since).await.unwrap().events;
    assert!(later.iter().all(|event| event.id > at), "{later:?}");
    assert_eq!(later.len() + at as usize, events.len());
}

#[tokio::test]
async fn killed_servers_lose_nothing_they_acknowledged() {
    let mut cluster = Cluster::start(3).await;
    let mut done = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader().await;
        let mut puts = tokio::task::JoinSet::new();
        for number in 0..64 {
            let (leader, key) = (leader.clone(), format!("{round}/{number}"));
            puts.spawn(
                async move { (store(&leader).put(key.clone(), "value").await.is_ok(), key) },
            );
        }
        // The kill interrupts puts in progress; in round 1 it ends a paused leader.
        if let Some(first) = puts.join_next().await {
            done.push(first.unwrap());
        }
        let place = leader.id().get() as usize - 1;
        let pause = match round {
            1 => leader.pause().await,
            _ => None,
        };
        cluster.nodes[place].take().unwrap().kill().await.unwrap();
        drop(pause);
        done.extend(puts.join_all().await);
        cluster.start_node(place).await;
    }
    let boots: BTreeSet<_> = cluster.settle().await.into_iter().map(|s| s.boot).collect();
    assert_eq!(boots.len(), 3);
    let kept: Vec<_> = done.iter().filter(|(kept, _)| *kept).collect();
    assert!(!kept.is_empty());
    for (_, key) in kept {
        assert_eq!(cluster.get(key).await.as_deref(), Some("value"), "{key}");
    }
}
