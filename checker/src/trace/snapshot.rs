//! The state of a process as a trace records it: what a reader or a picture needs, under names
//! that do not change when the model's insides do. `docs/trace.md` lists the fields.

use model::{
    ClientId, Durable, Entry, EntryId, LogIndex, NodeId, ProxyId, Role, SessionId, Term, Write,
    raft::{PendingRead, Waiter},
    store::{Key, Value},
    system::{Process, System, process::Running},
};
use serde::Serialize;

/// The state of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Snapshot {
    /// A server and its disk.
    Server {
        /// Its name.
        id: NodeId,
        /// What a crash leaves.
        disk: Durable,
        /// What a crash takes; `None` while it is down.
        running: Option<Box<RunningSnapshot>>,
    },
    /// A proxy.
    Proxy {
        /// Its name.
        id: ProxyId,
        /// Who it believes leads.
        leader: Option<NodeId>,
        /// How many requests are in flight.
        in_flight: usize,
    },
    /// A client.
    Client {
        /// Its name.
        id: ClientId,
        /// Whether it waits for nothing.
        idle: bool,
        /// Its session.
        session: Option<SessionId>,
        /// How many operations of its plan it has invoked.
        invoked: u64,
    },
}

/// What a crash of a server takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningSnapshot {
    /// `follower`, `candidate` or `leader`.
    pub role: &'static str,
    /// The current term.
    pub term: Term,
    /// Who got the vote in it.
    pub voted_for: Option<NodeId>,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Of a candidate: who voted for it.
    pub votes: Vec<NodeId>,
    /// The entry before the first of the log: the last that only a snapshot covers.
    pub log_base: EntryId,
    /// The log, from the entry after that.
    pub log: Vec<Entry>,
    /// The highest entry known to be committed.
    pub commit_index: LogIndex,
    /// The last entry of the log's durable prefix.
    pub durable_index: LogIndex,
    /// Writes on their way to the disk.
    pub unsynced: Vec<Write>,
    /// Of a leader: how far the others are.
    pub followers: Vec<FollowerSnapshot>,
    /// Of a leader: who waits for which entry.
    pub writes: Vec<(LogIndex, Waiter)>,
    /// Of a leader: reads under way.
    pub reads: Vec<PendingRead>,
    /// Of a leader: the last read round begun.
    pub read_round: u64,
    /// The replicated store.
    pub store: Vec<PairSnapshot>,
}

/// How far a follower is, as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FollowerSnapshot {
    /// The follower.
    pub id: NodeId,
    /// The next entry to send.
    pub next_index: LogIndex,
    /// The last entry known to be durable there.
    pub match_index: LogIndex,
    /// The last read round it answered.
    pub read_round: u64,
}

/// A key of the store, its value, and the entry that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairSnapshot {
    /// The key's bytes.
    pub key: Key,
    /// The value's bytes.
    pub value: Value,
    /// The index of the entry.
    pub version: LogIndex,
}

impl Snapshot {
    /// Of one process.
    pub fn of(process: &Process) -> Self {
        match process {
            Process::Server(server) => Self::Server {
                id: server.id,
                disk: server.disk.clone(),
                running: server.running.as_ref().map(|held| Box::new(running(held))),
            },
            Process::Proxy(proxy) => Self::Proxy {
                id: proxy.id(),
                leader: proxy.leader(),
                in_flight: proxy.in_flight(),
            },
            Process::Client(process) => Self::Client {
                id: process.client.id(),
                idle: process.client.is_idle(),
                session: process.client.session(),
                invoked: process.invoked,
            },
        }
    }

    /// Of every process, in order.
    pub fn all(system: &System) -> Vec<Self> {
        system.processes.iter().map(Self::of).collect()
    }
}

fn running(running: &Running) -> RunningSnapshot {
    let raft = &running.raft;
    let mut snapshot = RunningSnapshot {
        role: "follower",
        term: raft.current_term(),
        voted_for: raft.voted_for(),
        leader: None,
        votes: Vec::new(),
        log_base: raft.log().base(),
        log: raft.log().entries().to_vec(),
        commit_index: raft.commit_index(),
        durable_index: raft.durable_index(),
        unsynced: running.unsynced.clone(),
        followers: Vec::new(),
        writes: Vec::new(),
        reads: Vec::new(),
        read_round: 0,
        store: raft
            .store()
            .pairs()
            .map(|(key, held)| PairSnapshot {
                key: key.to_vec(),
                value: held.value.clone(),
                version: held.version,
            })
            .collect(),
    };
    match raft.role() {
        Role::Follower { leader, .. } => snapshot.leader = *leader,
        Role::PreCandidate { votes } => {
            snapshot.role = "pre-candidate";
            snapshot.votes = votes.iter().copied().collect();
        }
        Role::Candidate(candidate) => {
            snapshot.role = "candidate";
            snapshot.votes = candidate.votes.iter().copied().collect();
        }
        Role::Leader(leader) => {
            snapshot.role = "leader";
            snapshot.leader = Some(raft.id());
            snapshot.followers = leader
                .followers
                .iter()
                .map(|(id, progress)| FollowerSnapshot {
                    id: *id,
                    next_index: progress.next_index,
                    match_index: progress.match_index,
                    read_round: progress.read_round,
                })
                .collect();
            snapshot.writes = leader
                .writes
                .iter()
                .map(|(index, waiter)| (*index, *waiter))
                .collect();
            snapshot.reads.clone_from(&leader.reads);
            snapshot.read_round = leader.read_round;
        }
    }
    snapshot
}
