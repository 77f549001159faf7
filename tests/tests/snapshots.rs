//! Log compaction while clients write: a snapshot brings a server up to date that has fallen behind,
//! and a restarted server begins with its own snapshot.

use client::{Client, KeyValue as _};
use harness::{Cluster, Load, NODES, Shape, judge, wait::until};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Such low thresholds that a few seconds of load cause many snapshots.
const SOON: [&str; 2] = ["--snapshot-entries=100", "--snapshot-bytes=4000"];

const TAKEN: &str = "raft_snapshots_total{event=\"taken\"}";
const INSTALLED: &str = "raft_snapshots_total{event=\"installed\"}";

#[test]
fn follower_behind_the_log_is_brought_up_by_a_snapshot_and_all_restart_from_theirs() {
    let mut cluster = Cluster::start_with(&SOON);
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    load.expect_writes(300);
    for id in NODES {
        until("a few snapshots", || {
            (cluster.metric(id, TAKEN) >= 3).then_some(())
        });
    }

    let late = NODES.into_iter().find(|id| *id != leader);
    let late = late.expect("a follower");
    let had = cluster.wait_for_status(late).last_index;
    cluster.kill(late);
    until("the others to have no log that goes back so far", || {
        let mut others = NODES.into_iter().filter(|id| *id != late);
        let is_past = |id| {
            let kept = cluster.metric(id, "raft_log_entries");
            cluster.wait_for_status(id).last_index.saturating_sub(kept) > had + 50
        };
        others.all(is_past).then_some(())
    });
    cluster.restart(late);
    let others: Vec<u64> = NODES.into_iter().filter(|id| *id != late).collect();
    let leader = cluster.leader_among(&others);
    cluster.catches_up(late, leader);
    assert!(cluster.metric(late, INSTALLED) >= 1, "it was sent entries");
    load.expect_writes(100);

    cluster.kill_all();
    for id in NODES {
        cluster.restart(id);
        assert!(
            cluster.wait_for_status(id).snapshot_index > had,
            "server {id} started from its whole log"
        );
    }
    cluster.leader();
    load.expect_writes(100);

    let history = load.finish();
    let leader = cluster.leader();
    for id in NODES.into_iter().filter(|id| *id != leader) {
        cluster.catches_up(id, leader);
    }
    // The logs stay small, regardless of the number of writes.
    for id in NODES {
        until("a short log", || {
            (cluster.metric(id, "raft_log_entries") < 400).then_some(())
        });
    }
    cluster.assert_all_run();
    cluster.kill_all();
    let path = history.write(cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, 500);
    judge::assert_replays(&cluster.traces());
}

/// The value size in the next test, in bytes. It determines the size of the state.
const VALUE: usize = 30_000;
const VALUES: usize = (64 << 20) / VALUE + 1;

/// A state that exceeds any message, and a follower without it. The follower catches up while clients
/// write and the leader's heartbeats prevent elections; all servers restart from such states.
#[test]
fn follower_behind_a_state_of_64_mib_is_brought_up_while_clients_write() {
    let mut cluster = Cluster::start_as(Shape {
        without_traces: true,
        patient: true,
        ..Shape::default()
    });
    let leader = cluster.leader();
    let late = NODES.into_iter().find(|id| *id != leader);
    let late = late.expect("a follower");
    cluster.kill(late);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("no runtime for a client");
    let mut options = cluster.options();
    options.timeout = Duration::from_secs(60);
    let client = runtime
        .block_on(Client::connect(options))
        .expect("no socket for a client");
    runtime.block_on(fill(&client));
    for id in NODES.into_iter().filter(|id| *id != late) {
        until("a snapshot in the place of the log", || {
            (cluster.metric(id, "raft_snapshot_bytes") >= 16 << 20).then_some(())
        });
    }

    let load = Load::start(&cluster);
    load.expect_writes(50);
    let before = cluster.wait_for_status(leader).term;
    cluster.restart(late);
    let mut served = 0;
    while cluster.metric(late, INSTALLED) == 0 {
        load.expect_writes(10);
        served += 10;
    }
    let leader = cluster.leader();
    cluster.catches_up(late, leader);
    let elections = cluster.wait_for_status(leader).term - before;
    eprintln!("  {served} writes while it was sent, {elections} elections");
    assert!(cluster.metric(late, "raft_snapshot_bytes") > 64 << 20);
    for id in NODES {
        eprintln!(
            "  server {id} took {} MiB at the most",
            cluster.peak_memory(id) >> 20
        );
    }

    // The server that caught up counts: without the other follower, it is half of a majority.
    let other = NODES.into_iter().find(|id| ![leader, late].contains(id));
    let other = other.expect("three servers");
    cluster.kill(other);
    load.expect_writes(50);
    cluster.kill_all();
    for id in NODES {
        cluster.restart(id);
    }
    cluster.leader();
    load.expect_writes(50);
    for nth in [0, VALUES / 2, VALUES - 1] {
        let found = runtime.block_on(client.get(format!("large {nth}")));
        let found = found.expect("no answer").expect("the key is gone");
        assert!(*found.value == vec![nth as u8; VALUE], "key {nth}");
    }
    let history = load.finish();
    cluster.assert_all_run();
    let path = history.write(cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, 100);
}

async fn fill(client: &Client) {
    let client = Arc::new(client.clone());
    let mut tasks = JoinSet::new();
    for first in 0..8 {
        let client = Arc::clone(&client);
        tasks.spawn(async move {
            for nth in (first..VALUES).step_by(8) {
                let value = vec![nth as u8; VALUE];
                let put = client.put(format!("large {nth}"), value);
                put.await.expect("a value is not written");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a task ends");
    }
}
