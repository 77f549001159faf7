//! The status of a server as JSON (`docs/http.md`). `raft-node` serves it; `raft-proxy` and `raft-client`
//! read it.
//!
//! The reader may be older or newer than the server: it ignores unknown fields, takes the default for
//! missing ones, and has a value for unknown kinds.

use model::{Payload, Term};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The status of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Its id.
    pub id: u64,
    /// Its role.
    pub role: Role,
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
    #[serde(deserialize_with = "known_entries")]
    pub log: Vec<LogExcerptEntry>,
    /// Its recent events, as many as requested.
    pub events: Vec<ServerEvent>,
}

/// The role of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It requests pre-votes, to learn whether it could win an election.
    PreCandidate,
    /// It requests votes.
    Candidate,
    /// It leads.
    Leader,
    /// A role that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Role {
    /// The name of the role in JSON, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Unknown => "unknown",
        }
    }
}

impl From<&model::Role> for Role {
    fn from(role: &model::Role) -> Self {
        match role {
            model::Role::Follower { .. } => Self::Follower,
            model::Role::PreCandidate { .. } => Self::PreCandidate,
            model::Role::Candidate(_) => Self::Candidate,
            model::Role::Leader(_) => Self::Leader,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The replication progress of a follower, as its leader knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The last entry known to be durable on the follower.
    pub match_index: u64,
    /// The next entry to send.
    pub next_index: u64,
    /// The number of entries that the follower did not acknowledge yet.
    pub lag: u64,
    /// How entries are sent to it.
    pub flow: Flow,
    /// The maximum number of entries in transit to it.
    pub window: usize,
    /// The time since its last message, in milliseconds.
    pub silent_ms: u64,
    /// Whether it counts toward a quorum: its current run was admitted by its disk identity.
    #[serde(default = "always")]
    pub counts: bool,
}

/// Every follower counts at a leader that does not report `counts`.
const fn always() -> bool {
    true
}

/// How a leader sends entries to a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// One message at a time, until the follower's log matches.
    Probe,
    /// Several messages in transit.
    Pipeline,
    /// A kind that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Counters of a server since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Datagrams and messages that the transport dropped, for any reason.
    pub dropped: u64,
    /// Messages dropped by injected faults.
    pub dropped_by_faults: u64,
    /// Heartbeats received.
    pub heartbeats_in: u64,
    /// Heartbeats sent.
    pub heartbeats_out: u64,
    /// Entries appended to the log.
    pub entries_appended: u64,
    /// Elections in which the server was a candidate.
    pub elections: u64,
    /// Elections that the server won.
    pub leaderships: u64,
    /// Steps of the core.
    pub steps: u64,
    /// Syncs of the disk.
    pub fsyncs: u64,
}

/// A condition that needs an operator's attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The kind of condition.
    pub kind: AlertKind,
    /// The server involved.
    pub node: u64,
    /// A description for operators.
    pub text: String,
}

/// The kinds of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A server returned without its disk, or with an old copy of it, and does not count.
    LostDisk,
    /// Two servers run under the same id.
    DuplicateId,
    /// Datagrams arrive from processes that were configured with other voters.
    OtherVoters,
    /// A name in the `--peer` list resolves to the address of another server, or to one at which
    /// this server does not listen; or a server sends from the address of another one.
    PeerAddresses,
    /// A disk operation has been in progress for too long.
    SlowDisk,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// An event in the history of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEvent {
    /// The number of the event in this run of the server, from 1.
    pub id: u64,
    /// The time of the event, in milliseconds since 1970, by the server's clock.
    pub at: u64,
    /// The server's term afterwards.
    pub term: u64,
    /// The kind of event.
    pub what: EventKind,
    /// The other server involved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// The log entry involved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The server started, with a log that ends at `index`.
    Started,
    /// The election timeout expired, and the server started a pre-vote.
    StartedPreVote,
    /// The server became a candidate.
    BecameCandidate,
    /// The server granted its vote to `node`.
    Voted,
    /// The server became leader.
    BecameLeader,
    /// The server stepped down as leader.
    SteppedDown,
    /// The server recognized `node` as its leader.
    BecameFollower,
    /// The server truncated uncommitted entries from `index` on, which conflict with the leader's.
    TruncatedLog,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// An entry at the end of the log, for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogExcerptEntry {
    /// The term of the leader that created it.
    pub term: Term,
    /// The command of the entry; its key and its value may be truncated.
    pub payload: Payload,
    /// The original length of key and value in bytes, if either was truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<usize>,
}

/// Deserializes the entries of a log; none if one of them is of a kind that this version does not know.
fn known_entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<LogExcerptEntry>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Known(LogExcerptEntry),
        Unknown(IgnoredAny),
    }
    let entries = Vec::<Entry>::deserialize(from)?;
    let known = entries.into_iter().map(|entry| match entry {
        Entry::Known(entry) => Some(entry),
        Entry::Unknown(_) => None,
    });
    Ok(known.collect::<Option<_>>().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators and scripts read these names (`docs/http.md`). Readers take defaults for missing
    /// fields, so no other test notices a renamed one.
    #[test]
    fn fields_have_their_public_names() {
        let json = serde_json::to_value(Status::default()).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().collect();
        let public = [
            "alerts",
            "applied_index",
            "boot",
            "commit_index",
            "counts",
            "disk",
            "durable_index",
            "events",
            "first_index",
            "followers",
            "heartbeat_ms",
            "id",
            "is_known",
            "last_index",
            "leader",
            "log",
            "log_start",
            "peer_silence_ms",
            "role",
            "sessions",
            "snapshot_index",
            "state_bytes",
            "suspended",
            "syncs",
            "term",
            "uptime_seconds",
            "voted_for",
            "voters",
            "votes",
            "waiting",
        ];
        assert_eq!(names, public);
    }

    #[test]
    fn status_is_read_as_it_was_written() {
        let entry = |payload| LogExcerptEntry {
            term: Term::new(3),
            payload,
            cut: None,
        };
        let status = Status {
            id: 1,
            role: Role::PreCandidate,
            followers: [(2, Progress::default())].into(),
            peer_silence_ms: [(2, None), (3, Some(7))].into(),
            alerts: vec![Alert {
                kind: AlertKind::SlowDisk,
                node: 1,
                text: "slow".to_owned(),
            }],
            log: vec![entry(Payload::Noop)],
            events: vec![ServerEvent {
                id: 1,
                at: 2,
                term: 3,
                what: EventKind::Voted,
                node: Some(2),
                index: None,
            }],
            ..Status::default()
        };
        let json = serde_json::to_string(&status).expect("JSON");
        let read: Status = serde_json::from_str(&json).expect("a status");
        assert_eq!(read, status);
        assert!(json.contains(r#""role":"pre-candidate""#), "{json}");
    }

    #[test]
    fn names_of_roles_are_those_of_the_json() {
        for role in [
            Role::Follower,
            Role::PreCandidate,
            Role::Candidate,
            Role::Leader,
        ] {
            let json = serde_json::to_value(role).expect("JSON");
            assert_eq!(json, role.name());
        }
    }

    #[test]
    fn status_of_another_version_is_read() {
        let json = r#"{
            "id": 2, "role": "observer", "term": 4, "learners": [9],
            "followers": {"3": {"match_index": 5, "flow": "burst"}},
            "alerts": [{"kind": "hot", "node": 2, "text": "hot", "since": 1}],
            "events": [{"id": 1, "at": 2, "term": 3, "what": "moved"}],
            "log": [{"term": 1, "payload": {"poem": 3}}]
        }"#;
        let status: Status = serde_json::from_str(json).expect("a status");
        assert_eq!((status.id, status.role, status.term), (2, Role::Unknown, 4));
        let progress = status.followers[&3];
        assert_eq!((progress.match_index, progress.flow), (5, Flow::Unknown));
        assert_eq!(status.alerts[0].kind, AlertKind::Unknown);
        assert_eq!(status.events[0].what, EventKind::Unknown);
        assert_eq!(status.log, []);
    }
}
