//! The Raft paper as tests: §5.1 to §5.4 sentence by sentence, and Figures 7 and 8.
//!
//! Server 1 is the server under test unless a test says otherwise. Logs are written as in the paper:
//! as the terms of their entries.

#[path = "../cluster/mod.rs"]
mod cluster;
mod commitment;
mod elections;
mod replication;
mod transfer;

use cluster::{Cluster, disk, entries};
use model::{AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, LogIndex, Message, Term};

// Initial states.

/// n1 follows no leader in term 2, with an empty log.
fn follower() -> Cluster {
    Cluster::recover(vec![disk(2, &[]); 3], |_| {})
}

/// n1 leads in term 2, its no-op is committed, and all servers know that.
fn leader() -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |_| {});
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

fn append(term: u64, (index, prev_term): (u64, u64), new: &[u64], commit: u64) -> Message {
    Message::AppendEntriesRequest(AppendEntriesRequest {
        term: Term::new(term),
        prev_log_index: LogIndex::new(index),
        prev_log_term: Term::new(prev_term),
        entries: entries(new),
        leader_commit: LogIndex::new(commit),
        read_round: 0,
    })
}

fn appended(term: u64, outcome: AppendOutcome) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        term: Term::new(term),
        read_round: 0,
        outcome,
    })
}
