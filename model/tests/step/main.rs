//! Random runs of the step function.
//!
//! *Honest* runs: the network loses, duplicates and reorders messages, disks sync late, and servers
//! crash. The properties always hold (the cluster checks them after every step, and that the step is
//! deterministic). *Garbage* runs: a peer may send arbitrary messages, so no property can hold; but a
//! server must not panic.
//!
//! A failure prints the smallest failing run; `PROPTEST_RNG_SEED` selects other runs.

#[path = "../cluster/mod.rs"]
mod cluster;
mod garbage;
mod honest;
mod ignored;
#[path = "../victim/mod.rs"]
mod victim;

use cluster::{Cluster, add};
use model::{
    Durable, SessionId,
    message::{RequestBody, ResponseBody},
    store::Answer,
};
use proptest::{prelude::*, sample::Index};

fn random(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

// Honest runs.

/// An event in a cluster. Indexes select among the existing servers and messages.
#[derive(Clone, Debug)]
enum Act {
    Timeout(Index),
    Heartbeat(Index),
    /// The oldest writes become durable.
    Sync(Index, usize),
    /// A crash after some writes became durable.
    Crash(Index, usize),
    Restart(Index),
    Compact(Index),
    Deliver(Index),
    /// Delivers a message and keeps a copy in flight.
    Repeat(Index),
    Lose(Index),
    /// Isolates one server.
    Isolate(Index),
    Heal,
    /// A quiet phase: the oldest messages arrive in order, and every disk keeps up.
    Flow(usize),
    Open(Index),
    Add(Index, u64),
    Read(Index),
    /// At any server, not only at the leader.
    StaleRead(Index),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<Index>;
    prop_oneof![
        3 => any().prop_map(Act::Timeout),
        3 => any().prop_map(Act::Heartbeat),
        16 => (any(), 1..4_usize).prop_map(|(server, count)| Act::Sync(server, count)),
        2 => (any(), 0..3_usize).prop_map(|(server, count)| Act::Crash(server, count)),
        4 => any().prop_map(Act::Restart),
        3 => any().prop_map(Act::Compact),
        20 => any().prop_map(Act::Deliver),
        4 => any().prop_map(Act::Repeat),
        4 => any().prop_map(Act::Lose),
        2 => any().prop_map(Act::Isolate),
        2 => Just(Act::Heal),
        8 => (1..20_usize).prop_map(Act::Flow),
        2 => any().prop_map(Act::Open),
        4 => (any(), 1..5_u64).prop_map(|(server, sequence)| Act::Add(server, sequence)),
        2 => any().prop_map(Act::Read),
        1 => any().prop_map(Act::StaleRead),
    ]
}

fn run((size, batch, acts): (usize, usize, Vec<Act>)) -> Cluster {
    let mut cluster = Cluster::recover(vec![Durable::default(); size], |config| {
        config.max_entries_per_append = batch;
        config.max_sessions = 2;
        // With one size, compaction removes all covered entries, with the other some of them stay; and
        // a lost snapshot is soon sent again.
        config.trailing_bytes = if batch == 2 { 80 } else { 0 };
        config.snapshot_patience = batch as u32 - 1;
    });
    for act in acts {
        perform(&mut cluster, act, size);
    }
    cluster
}

fn perform(cluster: &mut Cluster, act: Act, size: usize) {
    let server = |index: Index| index.index(size) as u64 + 1;
    match act {
        Act::Timeout(id) => cluster.timeout(server(id)),
        Act::Heartbeat(id) => cluster.heartbeat(server(id)),
        Act::Sync(id, count) => cluster.sync_first(server(id), count),
        Act::Crash(id, count) => cluster.crash_after_writing(server(id), count),
        Act::Compact(id) => cluster.compact(server(id)),
        Act::Isolate(id) => cluster.isolate(&[server(id)]),
        Act::Heal => cluster.heal(),
        Act::Restart(id) => cluster.restart(server(id)),
        Act::Open(id) => {
            cluster.request(asked(cluster, id), RequestBody::OpenSession);
        }
        Act::Read(id) => {
            cluster.read(asked(cluster, id), "a");
        }
        Act::StaleRead(id) => {
            let id = server(id);
            let answered = cluster.answers.len();
            cluster.stale_read(id, "a");
            let up = usize::from(cluster.is_up(id));
            assert_eq!(cluster.answers.len(), answered + up, "answered at once");
        }
        Act::Add(id, sequence) => {
            let session = latest_session(cluster);
            let acknowledged = sequence.saturating_sub(1).max(1);
            let write = (session, sequence, acknowledged);
            cluster.write(asked(cluster, id), write, add("a", 1));
        }
        Act::Flow(count) => {
            for _ in 0..count {
                for id in cluster.ids() {
                    cluster.sync(id);
                }
                if !cluster.network.is_empty() {
                    let oldest = cluster.network.remove(0);
                    cluster.arrive(oldest);
                }
            }
        }
        Act::Deliver(_) | Act::Repeat(_) | Act::Lose(_) if cluster.network.is_empty() => {}
        Act::Deliver(place) => {
            let place = place.index(cluster.network.len());
            let envelope = cluster.network.remove(place);
            cluster.arrive(envelope);
        }
        Act::Repeat(place) => {
            let place = place.index(cluster.network.len());
            let envelope = cluster.network[place].clone();
            cluster.arrive(envelope);
        }
        Act::Lose(place) => {
            let place = place.index(cluster.network.len());
            cluster.network.remove(place);
        }
    }
}

/// The server for client requests: one of the servers that consider themselves leader, or any server
/// if there is none.
fn asked(cluster: &Cluster, index: Index) -> u64 {
    let leads = |id: &u64| cluster.is_up(*id) && cluster.leads(*id);
    let leaders: Vec<_> = cluster.ids().into_iter().filter(leads).collect();
    match leaders.as_slice() {
        [] => *index.get(&cluster.ids()),
        leaders => *index.get(leaders),
    }
}

/// The most recent session, if there is one.
fn latest_session(cluster: &Cluster) -> SessionId {
    let mut latest = cluster.answers.iter().rev().map(|answer| &answer.body);
    latest
        .find_map(|body| match body {
            ResponseBody::Applied(Answer::SessionOpened(session)) => Some(*session),
            _ => None,
        })
        .unwrap_or(SessionId::new(1))
}
