//! The state of a process in a trace: the fields that a reader or a diagram needs. Their names do not
//! change when the internals of the model do. `docs/trace.md` lists the fields.

use model::{
    ClientId, Durable, Entry, EntryId, LogIndex, NodeId, ProxyId, Role, SessionId, Term, Write,
    raft::{PendingRead, Transfer, Waiter},
    store::{Key, Value},
    system::{Process, System, process::Running},
};
use serde::Serialize;

/// The state of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProcessSnapshot {
    /// A server and its disk.
    Server {
        /// The server id.
        id: NodeId,
        /// The durable state, which survives a crash.
        disk: Durable,
        /// The volatile state, which a crash loses; `None` while the server is down.
        running: Option<Box<RunningSnapshot>>,
    },
    /// A proxy.
    Proxy {
        /// The proxy id.
        id: ProxyId,
        /// The server that the proxy believes to be the leader.
        leader: Option<NodeId>,
        /// The number of requests in flight.
        in_flight: usize,
    },
    /// A client.
    Client {
        /// The number of the process: the client id in its first run.
        id: ClientId,
        /// The client id in a later run, after a restart.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<ClientId>,
        /// Whether the client waits for no response.
        idle: bool,
        /// The session.
        session: Option<SessionId>,
        /// The number of operations of its plan that it has invoked.
        invoked: u64,
    },
}

/// The volatile state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningSnapshot {
    /// `follower`, `pre-candidate`, `candidate` or `leader`.
    pub role: &'static str,
    /// The current term.
    pub term: Term,
    /// The candidate that received the server's vote in this term.
    pub voted_for: Option<NodeId>,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// For a candidate: the servers that voted for it.
    pub votes: Vec<NodeId>,
    /// The entry before the first entry of the log: the last one that only a snapshot covers.
    pub log_base: EntryId,
    /// The log from the next entry on.
    pub log: Vec<Entry>,
    /// The highest entry known to be committed.
    pub commit_index: LogIndex,
    /// The last entry of the log's durable prefix.
    pub durable_index: LogIndex,
    /// Pending writes that are not yet durable.
    pub unsynced: Vec<Write>,
    /// For a leader: the replication progress of the followers.
    pub followers: Vec<FollowerSnapshot>,
    /// For a leader: the leadership transfer in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    /// For a leader: the clients that wait for each entry.
    pub writes: Vec<(LogIndex, Waiter)>,
    /// For a leader: pending reads.
    pub reads: Vec<PendingRead>,
    /// For a leader: the last read round started.
    pub read_round: u64,
    /// The replicated store.
    pub store: Vec<PairSnapshot>,
}

/// The replication progress of a follower, as known to its leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FollowerSnapshot {
    /// The follower.
    pub id: NodeId,
    /// The next entry to send.
    pub next_index: LogIndex,
    /// The last entry known to be durable at the follower.
    pub match_index: LogIndex,
    /// The last read round that the follower acknowledged.
    pub read_round: u64,
}

/// A key of the store, its value, and the entry that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairSnapshot {
    /// The bytes of the key.
    pub key: Key,
    /// The bytes of the value.
    pub value: Value,
    /// The index of the entry.
    pub version: LogIndex,
}

impl ProcessSnapshot {
    /// The snapshot of one process.
    pub fn from_process(process: &Process) -> Self {
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
                id: process.number,
                run: Some(process.client.id()).filter(|run| *run != process.number),
                idle: process.client.is_idle(),
                session: process.client.session(),
                invoked: process.invoked,
            },
        }
    }

    /// The snapshots of all processes, in order.
    pub fn all(system: &System) -> Vec<Self> {
        system.processes.iter().map(Self::from_process).collect()
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
        transfer: None,
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
            snapshot.transfer = leader.transfer;
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
