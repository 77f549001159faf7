//! Servers on disks that lose unsynced data: killed within a sync, stopped by an I/O error of a sync,
//! and without power after a restart. Every state that a server has revealed still exists afterwards.
//!
//! Every disk rejects `O_DIRECT`. Its cache outlives a process, so the next process reads data that
//! the previous process had not made durable.

use client::{Client, KeyValue as _, Options};
use harness::{Cluster, Load, LossyDisk, NODES, Place, Shape, judge, wait::until};
use std::{collections::BTreeMap, fs, time::Duration};
use tokio::{runtime::Runtime, task::JoinHandle};

/// The exit code of a server after a disk failure.
const DISK_FAILED: Option<i32> = Some(74);

/// Three servers, each on a separate disk.
struct Servers {
    /// Dropped first: a disk can be unmounted only after its processes have ended.
    cluster: Cluster,
    disks: BTreeMap<u64, LossyDisk>,
}

impl Servers {
    fn start(settings: &[&str], patient: bool) -> Self {
        let disks = BTreeMap::from(NODES.map(|id| (id, LossyDisk::mount())));
        let places = disks.iter().map(|(id, disk)| {
            let data_dir = disk.path().join(format!("stateraft/node-{id}"));
            // The state after a process was killed before it synced a directory that it had created.
            fs::create_dir_all(&data_dir).expect("a directory can be made");
            let place = Place {
                data_dir: Some(data_dir),
                ..Place::default()
            };
            (*id, place)
        });
        let cluster = Cluster::start_as(Shape {
            places: places.collect(),
            without_traces: true,
            settings: settings.iter().map(|&setting| setting.into()).collect(),
            patient,
            ..Shape::default()
        });
        Self { cluster, disks }
    }

    /// Starts servers with such long election timeouts that no election follows the restart of a
    /// server.
    fn start_calm() -> Self {
        Self::start(&["--election=3s..5s"], true)
    }

    fn disk(&self, id: u64) -> &LossyDisk {
        &self.disks[&id]
    }

    /// The leader and its followers.
    fn roles(&self) -> (u64, u64, u64) {
        let leader = self.cluster.leader();
        let others = Vec::from_iter(NODES.into_iter().filter(|id| *id != leader));
        (leader, others[0], others[1])
    }

    /// Cuts the power of a running server.
    fn lose_power(&mut self, id: u64) {
        self.cluster.kill(id);
        self.disk(id).lose_power();
    }

    /// The follower acknowledged an entry and loses power, the leader disappears, and the server
    /// returns that was absent all the time: only the follower can have the entry.
    fn expect_of_the_follower_alone(mut self, leader: u64, follower: u64, absent: u64) {
        self.lose_power(follower);
        self.cluster.kill(leader);
        self.cluster.restart(absent);
        self.cluster.restart(follower);
        self.cluster.leader_among(&[follower, absent]);
        let found = self.cluster.client(&words("-o plain get x"));
        assert!(found.trim_end() == value(), "an acknowledged write is lost");
    }
}

/// Longer than a page: no later write makes all of its pages dirty again.
fn value() -> String {
    "v".repeat(10_000)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// A client with an open session: a put is one entry, and the only write of the log.
struct Writer {
    runtime: Runtime,
    client: Client,
}

impl Writer {
    fn connect(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the client");
        let options = Options {
            timeout: Duration::from_secs(50),
            ..cluster.options()
        };
        let client = runtime.block_on(Client::connect(options));
        let client = client.expect("the client has a socket");
        let writer = Self { runtime, client };
        let first = writer.begin_put("w", "1".into());
        writer.expect_acknowledged(first);
        writer
    }

    fn begin_put(&self, key: &'static str, value: String) -> Put {
        let client = self.client.clone();
        let put = async move { client.put(key, value).await.map(drop) };
        self.runtime.spawn(put)
    }

    fn expect_acknowledged(&self, put: Put) {
        let done = self.runtime.block_on(put).expect("no panic");
        done.expect("the put is acknowledged");
    }
}

type Put = JoinHandle<Result<(), client::Error>>;

#[test]
fn entry_of_a_follower_killed_within_its_sync_outlives_a_power_loss() {
    let mut servers = Servers::start_calm();
    let (leader, follower, absent) = servers.roles();
    let writer = Writer::connect(&servers.cluster);
    servers.cluster.catches_up(follower, leader);
    servers.cluster.kill(absent);
    let hanging = servers.disk(follower).hang_syncs();
    let put = writer.begin_put("x", value());
    servers.disk(follower).wait_for_a_hanging_sync();
    servers.cluster.kill_at_its_disk(follower, || drop(hanging));
    servers.cluster.restart(follower);
    writer.expect_acknowledged(put);
    servers.expect_of_the_follower_alone(leader, follower, absent);
}

#[test]
fn entry_of_a_follower_whose_sync_failed_outlives_a_power_loss() {
    let mut servers = Servers::start_calm();
    let (leader, follower, absent) = servers.roles();
    let writer = Writer::connect(&servers.cluster);
    servers.cluster.catches_up(follower, leader);
    servers.cluster.kill(absent);
    servers.disk(follower).fail_the_next_sync();
    let put = writer.begin_put("x", value());
    let (code, said) = servers.cluster.wait_for_end(follower);
    assert_eq!(code, DISK_FAILED, "{said}");
    assert!(said.contains("rewrites the end of its log"), "{said}");
    servers.cluster.restart(follower);
    writer.expect_acknowledged(put);
    servers.expect_of_the_follower_alone(leader, follower, absent);
}

#[test]
fn vote_of_a_server_killed_within_its_sync_outlives_a_power_loss() {
    let mut servers = Servers::start_calm();
    let (leader, voter, other) = servers.roles();
    servers.cluster.catches_up(voter, leader);
    let before = servers.cluster.wait_for_status(leader).term;
    let hanging = servers.disk(voter).hang_syncs();
    servers.cluster.kill(leader);
    servers.disk(voter).wait_for_a_hanging_sync();
    servers.cluster.kill_at_its_disk(voter, || drop(hanging));
    // Alone, the server begins no term.
    servers.cluster.kill(other);
    servers.cluster.restart(voter);
    let vote = |cluster: &Cluster| {
        let status = cluster.wait_for_status(voter);
        (status.term, status.voted_for)
    };
    let seen = vote(&servers.cluster);
    assert!(seen.0 > before, "its cache has the vote: {seen:?}");
    servers.lose_power(voter);
    servers.cluster.restart(voter);
    assert_eq!(
        vote(&servers.cluster),
        seen,
        "it could vote twice in a term"
    );
}

/// The disk may hang forever: a supervisor must not have to wait for it.
#[test]
fn server_whose_disk_hangs_at_the_start_stops_when_told() {
    let mut servers = Servers::start_calm();
    let (leader, follower, _) = servers.roles();
    servers.cluster.kill(follower);
    let hanging = servers.disk(follower).hang_syncs();
    servers.cluster.restart(follower);
    servers.disk(follower).wait_for_a_hanging_sync();
    let line = "stopped before it was ready";
    let release = || drop(hanging);
    let code = servers.cluster.stop_at_its_disk(follower, line, release);
    assert_eq!(code, Some(143));
    servers.cluster.restart(follower);
    servers.cluster.catches_up(follower, leader);
}

/// Followers whose syncs take very long still respond to the leader, which stays, and reads wait for
/// no disk. The write completes when the disks do.
#[test]
fn followers_whose_syncs_hang_keep_their_leader_and_reads_are_answered() {
    let timers = ["--heartbeat=50ms", "--election=500ms..1s"];
    let servers = Servers::start(&timers, true);
    let (leader, one, other) = servers.roles();
    let writer = Writer::connect(&servers.cluster);
    servers.cluster.catches_up(one, leader);
    servers.cluster.catches_up(other, leader);
    let cluster = &servers.cluster;
    let term = cluster.wait_for_status(leader).term;
    let [first, second] = [one, other].map(|id| servers.disk(id).hang_syncs());
    let put = writer.begin_put("x", value());
    for id in [one, other] {
        servers.disk(id).wait_for_a_hanging_sync();
    }
    // A multiple of the time that a leader leads without a quorum.
    let heartbeats = |id| cluster.metric(id, "raft_heartbeats_total{direction=\"in\"}");
    for id in [one, other] {
        let before = heartbeats(id);
        until("heartbeats while syncs hang", || {
            (heartbeats(id) >= before + 50).then_some(())
        });
    }
    let client = writer.client.clone();
    let read = writer.runtime.block_on(async { client.get("w").await });
    let read = read.expect("a read waits for no disk").expect("w is there");
    assert_eq!(read.value.as_ref(), b"1");
    assert!(!put.is_finished(), "no follower has it on its disk");
    for id in NODES {
        assert_eq!(cluster.wait_for_status(id).term, term, "server {id}");
    }
    assert_eq!(cluster.leader(), leader);
    first.succeed();
    second.succeed();
    writer.expect_acknowledged(put);
    assert_eq!(cluster.wait_for_status(leader).term, term);
}

/// Under load, one server after the other is killed within a sync, or one of its syncs fails, and then
/// it loses power; at the end all servers lose power at once.
#[test]
fn power_losses_under_load_lose_nothing_acknowledged() {
    let snapshots = ["--snapshot-entries=300", "--snapshot-bytes=30000"];
    let mut servers = Servers::start(&snapshots, false);
    let load = Load::start(&servers.cluster);
    for (round, id) in (0..2).flat_map(|round| NODES.map(|id| (round, id))) {
        load.expect_writes(40);
        if round == 0 {
            let hanging = servers.disk(id).hang_syncs();
            servers.disk(id).wait_for_a_hanging_sync();
            servers.cluster.kill_at_its_disk(id, || drop(hanging));
        } else {
            servers.disk(id).fail_the_next_sync();
            let (code, said) = servers.cluster.wait_for_end(id);
            assert_eq!(code, DISK_FAILED, "{said}");
        }
        servers.cluster.restart(id);
        let leader = servers.cluster.leader();
        servers.cluster.catches_up(id, leader);
        load.expect_writes(40);
        servers.lose_power(id);
        servers.cluster.restart(id);
        servers.cluster.leader();
    }
    load.expect_writes(40);
    servers.cluster.kill_all();
    for id in NODES {
        servers.disk(id).lose_power();
        servers.cluster.restart(id);
    }
    servers.cluster.leader();
    load.expect_writes(40);
    let history = load.finish();
    servers.cluster.assert_all_run();
    servers.cluster.kill_all();
    let path = history.write(servers.cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, 300);
}
