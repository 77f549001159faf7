//! Logs that lose their beginning while clients write: a server that fell behind is brought up by a
//! snapshot, and one that comes back starts from its own.

use harness::{Cluster, Load, NODES, judge, wait::until};

/// So little that a few seconds of load make many snapshots.
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
    let had = cluster.number(late, "last_index");
    cluster.kill(late);
    until("the others to have no log that goes back so far", || {
        let mut others = NODES.into_iter().filter(|id| *id != late);
        let is_past = |id| {
            let kept = cluster.metric(id, "raft_log_entries");
            cluster.number(id, "last_index").saturating_sub(kept) > had + 50
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
            cluster.number(id, "snapshot_index") > had,
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
    // Whatever was written, what is kept of it is little.
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
