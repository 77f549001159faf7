//! The status of a server, for operators and for the proxy.

use super::{
    alerts::Alert,
    events::ServerEvent,
    log_excerpt::{LogExcerptEntry, TAIL},
    metrics::Counts,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The status of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its id.
    pub id: u64,
    /// `leader`, `candidate`, `pre-candidate` or `follower`.
    pub role: &'static str,
    /// The current term.
    pub term: u64,
    /// The current leader, as far as it knows.
    pub leader: Option<u64>,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry that its last snapshot covers; 0 if there is none.
    pub snapshot_index: u64,
    /// The last entry of its log that is durable on its disk.
    pub durable_index: u64,
    /// The last entry applied to its store.
    pub applied_index: u64,
    /// The size of its state in bytes: keys and values, plus 32 bytes for each pair.
    pub state_bytes: u64,
    /// The number of open client sessions.
    pub sessions: usize,
    /// The servers of the cluster.
    pub voters: BTreeSet<u64>,
    /// The replication progress of each follower, if it is the leader.
    pub followers: BTreeMap<u64, Progress>,
    /// The time since the last message of each other server, in milliseconds; `None` if there was
    /// none. Followers exchange messages with their leader only.
    pub peer_silence_ms: BTreeMap<u64, Option<u64>>,
    /// The interval of heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// The number of disk syncs since it started.
    pub syncs: u64,
    /// The time since it started, in seconds.
    pub uptime_seconds: u64,
    /// The id of this run, drawn at random at the start.
    pub boot: String,
    /// The identity of its disk, drawn at random at the first start.
    pub disk: String,
    /// The reason why it does not count toward a quorum and takes no part, if that is so.
    pub suspended: Option<String>,
    /// Whether another server counts this run of the server, or there is no other server.
    pub is_known: bool,
    /// Conditions that need an operator's attention.
    pub alerts: Vec<Alert>,
    /// The candidate that received its vote in the current term.
    pub voted_for: Option<u64>,
    /// The servers that granted it their votes, if it is a candidate.
    pub votes: Vec<u64>,
    /// The first entry that its log retains; if the log is empty, the index of the next entry.
    pub first_index: u64,
    /// The number of requests that wait for its response, if it is the leader.
    pub waiting: usize,
    /// Its counters since it started.
    pub counts: Counts,
    /// The index of the first entry of `log`.
    pub log_start: u64,
    /// The last entries of its log, as many as requested.
    pub log: Vec<LogExcerptEntry>,
    /// Its recent events, as many as requested.
    pub events: Vec<ServerEvent>,
}

/// The level of detail of a status query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusQuery {
    /// The number of last log entries to show, at most [`TAIL`].
    pub entries: usize,
    /// Only events after the one with this number are shown.
    pub since: u64,
}

impl StatusQuery {
    /// Neither entries nor events.
    pub const BRIEF: Self = Self {
        entries: 0,
        since: u64::MAX,
    };
}

impl Default for StatusQuery {
    fn default() -> Self {
        Self {
            entries: TAIL,
            since: 0,
        }
    }
}

/// The replication progress of a follower, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The last entry known to be durable on the follower.
    pub match_index: u64,
    /// The next entry to send.
    pub next_index: u64,
    /// The number of entries that the follower did not acknowledge yet.
    pub lag: u64,
    /// How entries are sent to it: `probe`, one message at a time, or `pipeline`.
    pub flow: &'static str,
    /// The maximum number of entries in transit to it.
    pub window: usize,
    /// The time since its last message, in milliseconds.
    pub silent_ms: u64,
    /// Whether it counts toward a quorum: its current run was admitted by its disk identity.
    pub counts: bool,
}
