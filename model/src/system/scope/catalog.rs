//! The catalog: the named scopes.

mod store;

use super::{Budget, Limit, Scope};
use crate::{
    client::Invocation,
    store::{Condition, Operation, Query},
    system::{reduction::Reduction, witness::Witness},
};
use alloc::{vec, vec::Vec};

impl Scope {
    /// The named scopes.
    pub fn catalog() -> Vec<Self> {
        use Witness::*;
        let replication = vec![
            LeaderElected,
            ReElection,
            EntryCommitted,
            FollowerCommitted,
            ConflictRemoved,
            NextIndexMovedBack,
            LeaderDeposed,
            WriteAcknowledged,
        ];
        let crashes = vec![
            LeaderCrashed,
            VoteSurvivedCrash,
            UnsyncedWriteLost,
            CommittedWithoutOwnDisk,
        ];
        let apart = Reduction {
            merge_syncs: false,
            merge_restarts: false,
            ..Reduction::ALL
        };
        let unmerged = Reduction {
            merge_syncs: false,
            ..Reduction::ALL
        };
        let get = || Invocation::Read(Query::Get { key: b"x".to_vec() });
        let add = |by| {
            Invocation::Write(Operation::Increment {
                key: b"x".to_vec(),
                by,
            })
        };
        let increment = || add(1);
        let clients = |name: &str, summary| Self {
            with_session: true,
            starts_with_leader: true,
            direct_clients: false,
            tracks_operations: true,
            ..Self::new(name, summary)
        };
        let put = |text: &str| {
            Invocation::Write(Operation::Put {
                key: b"x".to_vec(),
                value: text.into(),
                condition: Condition::Always,
            })
        };
        let mut scopes = vec![
            Self {
                terms: 3,
                budget: Budget {
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                append_entries: false,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    VoteRefusedForLog,
                    VoteRefusedAsGiven,
                    LeaderDeposed,
                    VoteSurvivedCrash,
                    LeaderCrashed,
                ],
                ..Self::new(
                    "elections",
                    "votes and terms alone: leaders are elected and stay silent",
                )
            },
            Self {
                servers: 4,
                terms: 2,
                budget: Budget {
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                append_entries: false,
                expected: vec![LeaderElected, ReElection, VoteRefusedAsGiven, LeaderCrashed],
                ..Self::new(
                    "elections-4",
                    "an even number of servers: majorities of three",
                )
            },
            Self {
                servers: 5,
                terms: 2,
                budget: Budget {
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                append_entries: false,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    VoteRefusedForLog,
                    VoteRefusedAsGiven,
                    LeaderDeposed,
                    VoteSurvivedCrash,
                    LeaderCrashed,
                ],
                ..Self::new(
                    "elections-5",
                    "five servers: two majorities may share a single server",
                )
            },
            Self {
                servers: 5,
                terms: 3,
                budget: Budget {
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                append_entries: false,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    VoteRefusedForLog,
                    VoteRefusedAsGiven,
                    LeaderDeposed,
                    VoteSurvivedCrash,
                    LeaderCrashed,
                ],
                ..Self::new("elections-5-terms", "five servers, and one more term")
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 2,
                    ..Budget::default()
                },
                with_session: true,
                expected: replication.clone(),
                ..Self::new(
                    "replication",
                    "logs diverge and converge; no server crashes",
                )
            },
            Self {
                servers: 4,
                budget: Budget {
                    entries: 1,
                    ..Budget::default()
                },
                with_session: true,
                expected: vec![
                    LeaderElected,
                    EntryCommitted,
                    FollowerCommitted,
                    CommittedWithoutOwnDisk,
                    WriteAcknowledged,
                ],
                ..Self::new(
                    "replication-4",
                    "an even number of servers commits: half of them is no majority",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 2,
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                with_session: true,
                expected: [replication.clone(), crashes.clone()].concat(),
                ..Self::new(
                    "crashes",
                    "replication with any number of crashes that lose unsynced writes",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                reduction: apart,
                with_session: true,
                starts_with_leader: true,
                expected: [
                    ReElection,
                    EntryCommitted,
                    FollowerCommitted,
                    ConflictRemoved,
                    NextIndexMovedBack,
                    LeaderDeposed,
                ]
                .into_iter()
                .chain(crashes.clone())
                .collect(),
                ..Self::new(
                    "split-writes",
                    "every sync and every restart is a separate step, across terms",
                )
            },
            Self {
                budget: Budget {
                    entries: 1,
                    crashes: Limit::Any,
                    ..Budget::default()
                },
                reduction: apart,
                with_session: true,
                expected: vec![
                    LeaderElected,
                    EntryCommitted,
                    FollowerCommitted,
                    WriteAcknowledged,
                    VoteSurvivedCrash,
                    UnsyncedWriteLost,
                    CommittedWithoutOwnDisk,
                    LeaderCrashed,
                ],
                ..Self::new(
                    "split-entries",
                    "every sync and every restart is a separate step, with a client entry",
                )
            },
            Self {
                terms: 2,
                pre_vote: true,
                check_quorum: true,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    EntryCommitted,
                    PreVoteWon,
                    PreVoteBehind,
                    VoteRefusedForLeader,
                    QuorumLost,
                    LeaderDeposed,
                ],
                ..Self::new(
                    "quorum",
                    "PreVote, CheckQuorum, and followers that refuse votes while their leader is live",
                )
            },
            Self {
                budget: Budget {
                    entries: 2,
                    ..Budget::default()
                },
                batch: 1,
                window: 2,
                together: true,
                with_session: true,
                expected: vec![
                    LeaderElected,
                    EntryCommitted,
                    NextIndexMovedBack,
                    Pipelined,
                    WritesTogether,
                    WriteAcknowledged,
                ],
                ..Self::new("pipelining", "pipelined entries, which arrive in any order")
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 1,
                    ..Budget::default()
                },
                batch: 1,
                window: 2,
                with_session: true,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    EntryCommitted,
                    OlderTermEntryCommitted,
                    ConflictRemoved,
                    NextIndexMovedBack,
                    Pipelined,
                    LeaderDeposed,
                    WriteAcknowledged,
                ],
                ..Self::new(
                    "pipelining-terms",
                    "pipelined entries across a change of leaders",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    crashes: Limit::Any,
                    snapshots: Limit::AtMost(1),
                    ..Budget::default()
                },
                with_session: true,
                starts_with_leader: true,
                reduction: unmerged,
                expected: vec![
                    ReElection,
                    EntryCommitted,
                    FollowerCommitted,
                    LeaderDeposed,
                    SnapshotTaken,
                    SnapshotInstalled,
                    SuffixKept,
                    SuffixDiscarded,
                    RecoveredFromSnapshot,
                ],
                ..Self::new(
                    "snapshots",
                    "log compaction: a snapshot replaces the beginning of a log and is sent to followers",
                )
            },
            Self {
                terms: 1,
                budget: Budget {
                    entries: 1,
                    crashes: Limit::Any,
                    snapshots: Limit::Any,
                    ..Budget::default()
                },
                with_session: true,
                starts_with_leader: true,
                reduction: unmerged,
                expected: vec![
                    EntryCommitted,
                    FollowerCommitted,
                    SnapshotTaken,
                    SnapshotInstalled,
                    SuffixKept,
                    RecoveredFromSnapshot,
                ],
                ..Self::new(
                    "snapshots-entries",
                    "any number of snapshots and crashes, with a client entry",
                )
            },
            Self {
                servers: 2,
                budget: Budget {
                    entries: 1,
                    reads: 1,
                    crashes: Limit::Any,
                    snapshots: Limit::Any,
                    ..Budget::default()
                },
                window: 2,
                pre_vote: true,
                check_quorum: true,
                // One no-op stays in memory, a client's entry does not.
                trailing_bytes: 8,
                with_session: true,
                tracks_operations: true,
                reduction: unmerged,
                expected: vec![
                    LeaderElected,
                    EntryCommitted,
                    FollowerCommitted,
                    NextIndexMovedBack,
                    WriteAcknowledged,
                    ReadServed,
                    ReadSawWrite,
                    PreVoteWon,
                    QuorumLost,
                    Pipelined,
                    LeaderCrashed,
                    VoteSurvivedCrash,
                    UnsyncedWriteLost,
                    SnapshotTaken,
                    RecoveredFromSnapshot,
                ],
                ..Self::new(
                    "everything",
                    "PreVote, CheckQuorum, pipelining, snapshots and reads together",
                )
            },
            Self {
                budget: Budget {
                    crashes: Limit::Any,
                    snapshots: Limit::AtMost(1),
                    ..Budget::default()
                },
                window: 2,
                pre_vote: true,
                check_quorum: true,
                with_session: true,
                reduction: unmerged,
                expected: vec![
                    LeaderElected,
                    EntryCommitted,
                    FollowerCommitted,
                    NextIndexMovedBack,
                    PreVoteWon,
                    QuorumLost,
                    LeaderCrashed,
                    VoteSurvivedCrash,
                    UnsyncedWriteLost,
                    CommittedWithoutOwnDisk,
                    SnapshotTaken,
                    SnapshotInstalled,
                    RecoveredFromSnapshot,
                ],
                ..Self::new(
                    "everything-3",
                    "the features of everything with three servers, without clients",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 1,
                    crashes: Limit::Any,
                    transfers: Limit::Any,
                    ..Budget::default()
                },
                with_session: true,
                starts_with_leader: true,
                expected: vec![
                    ReElection,
                    EntryCommitted,
                    WriteAcknowledged,
                    LeadershipTransferred,
                    TransferAborted,
                    LeaderDeposed,
                    LeaderCrashed,
                    VoteSurvivedCrash,
                    UnsyncedWriteLost,
                ],
                ..Self::new(
                    "transfers",
                    "a leader hands its leadership over to another server",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    transfers: Limit::Any,
                    ..Budget::default()
                },
                pre_vote: true,
                check_quorum: true,
                starts_with_leader: true,
                with_session: true,
                expected: vec![
                    ReElection,
                    EntryCommitted,
                    LeaderDeposed,
                    LeadershipTransferred,
                    TransferAborted,
                    VotedDespiteLeader,
                    VoteRefusedForLeader,
                ],
                ..Self::new(
                    "transfers-quorum",
                    "leadership transfers past PreVote and past followers of a live leader",
                )
            },
            Self {
                terms: 4,
                batch: 1,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    EntryCommitted,
                    OlderTermEntryCommitted,
                    ConflictRemoved,
                ],
                ..Self::new(
                    "older-term",
                    "commitment of entries of earlier terms (Figure 8), one entry per message",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 1,
                    ..Budget::default()
                },
                with_session: true,
                mixed_settings: true,
                expected: vec![
                    LeaderElected,
                    ReElection,
                    EntryCommitted,
                    FollowerCommitted,
                    ConflictRemoved,
                    WriteAcknowledged,
                    QuotaExceeded,
                ],
                ..Self::new(
                    "mixed-settings",
                    "one server has another quota: the entry decides, not the server that applies it",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 1,
                    reads: 2,
                    ..Budget::default()
                },
                with_session: true,
                tracks_operations: true,
                expected: vec![ReadServed, ReadSawWrite, LeaderDeposed, ReElection],
                ..Self::new(
                    "reads",
                    "linearizable reads without log entries (ReadIndex)",
                )
            },
            Self {
                terms: 1,
                budget: Budget {
                    entries: 2,
                    ..Budget::default()
                },
                plans: vec![vec![increment()]],
                attempts: 2,
                expected: vec![
                    WriteAcknowledged,
                    DuplicateAnswered,
                    ClientRetried,
                    OutcomeUnknown,
                    ProxyRedirected,
                ],
                ..clients(
                    "end-to-end",
                    "a client that retries, a proxy and three servers: exactly-once",
                )
            },
            Self {
                terms: 1,
                budget: Budget {
                    entries: 1,
                    reads: 1,
                    ..Budget::default()
                },
                plans: vec![vec![increment()], vec![get()]],
                expected: vec![WriteAcknowledged, ReadServed, ReadSawWrite, OutcomeUnknown],
                ..clients(
                    "end-to-end-reads",
                    "one client writes and another reads, through a proxy: linearizable",
                )
            },
            Self {
                terms: 2,
                budget: Budget {
                    entries: 1,
                    ..Budget::default()
                },
                plans: vec![vec![increment()]],
                expected: vec![
                    WriteAcknowledged,
                    ReElection,
                    LeaderDeposed,
                    OutcomeUnknown,
                    ClientInterrupted,
                ],
                ..clients("fail-over", "the leader changes during a client's write")
            },
            Self {
                servers: 1,
                terms: 1,
                budget: Budget {
                    entries: 4,
                    ..Budget::default()
                },
                plans: vec![
                    vec![increment(), increment()],
                    vec![put("b"), Invocation::CloseSession],
                ],
                expected: vec![
                    WriteAcknowledged,
                    DuplicateAnswered,
                    OutcomeUnknown,
                    SessionEvicted,
                    SessionGone,
                    SessionRefused,
                    SessionClosed,
                    WriteMoved,
                ],
                ..clients(
                    "sessions",
                    "clients open and close sessions; a new session evicts one that is not in use",
                )
            },
            Self {
                servers: 1,
                terms: 1,
                budget: Budget {
                    entries: 4,
                    client_crashes: Limit::Any,
                    proxy_crashes: Limit::Any,
                    ..Budget::default()
                },
                max_sessions: Some(1),
                // The value shows which of the two was applied, and how often.
                plans: vec![vec![add(1), add(10)]],
                attempts: 2,
                expected: vec![
                    WriteAcknowledged,
                    DuplicateAnswered,
                    ClientRetried,
                    OutcomeUnknown,
                    ClientCrashed,
                    ProxyCrashed,
                    AbandonedTookEffect,
                    SessionEvicted,
                    SessionGone,
                    SessionRefused,
                    WriteMoved,
                ],
                ..clients(
                    "restarts",
                    "a client and a proxy restart any number of times, and retry: exactly-once",
                )
            },
            Self {
                servers: 1,
                terms: 1,
                budget: Budget {
                    entries: 5,
                    reads: 1,
                    client_crashes: Limit::Any,
                    proxy_crashes: Limit::Any,
                    ..Budget::default()
                },
                max_sessions: Some(1),
                plans: vec![vec![increment(), get()]],
                attempts: 2,
                expected: vec![
                    WriteAcknowledged,
                    DuplicateAnswered,
                    ReadServed,
                    ReadSawWrite,
                    ClientRetried,
                    OutcomeUnknown,
                    ClientCrashed,
                    ProxyCrashed,
                    AbandonedTookEffect,
                    SessionEvicted,
                    SessionGone,
                    SessionRefused,
                    WriteMoved,
                ],
                ..clients(
                    "restarts-reads",
                    "a client and a proxy restart any number of times; a read shows each write that took effect",
                )
            },
            Self {
                servers: 2,
                terms: 3,
                budget: Budget {
                    entries: 2,
                    proxy_crashes: Limit::Any,
                    ..Budget::default()
                },
                plans: vec![vec![increment()]],
                attempts: 2,
                expected: vec![
                    WriteAcknowledged,
                    ReElection,
                    LeaderDeposed,
                    ClientRetried,
                    ClientInterrupted,
                    OutcomeUnknown,
                    ProxyRedirected,
                    ProxyCrashed,
                    DuplicateAnswered,
                    DuplicateAnsweredLater,
                ],
                ..clients(
                    "fail-over-retries",
                    "the leader changes, the proxy restarts, and a retry becomes a second entry: exactly-once",
                )
            },
            Self {
                servers: 2,
                terms: 2,
                budget: Budget {
                    entries: 2,
                    crashes: Limit::Any,
                    proxy_crashes: Limit::Any,
                    ..Budget::default()
                },
                plans: vec![vec![increment()]],
                reduction: unmerged,
                expected: vec![
                    WriteAcknowledged,
                    ReElection,
                    LeaderDeposed,
                    ClientInterrupted,
                    OutcomeUnknown,
                    DuplicateAnswered,
                    DuplicateAnsweredLater,
                    LeaderCrashed,
                    VoteSurvivedCrash,
                    UnsyncedWriteLost,
                    ProxyCrashed,
                ],
                ..clients(
                    "fail-over-crashes",
                    "servers and the proxy crash any number of times during a client's write: exactly-once",
                )
            },
            Self {
                servers: 2,
                terms: 2,
                budget: Budget {
                    entries: 1,
                    reads: 1,
                    proxy_crashes: Limit::Any,
                    ..Budget::default()
                },
                plans: vec![vec![increment(), get()]],
                expected: vec![
                    WriteAcknowledged,
                    ReElection,
                    LeaderDeposed,
                    ReadServed,
                    ReadSawWrite,
                    ClientInterrupted,
                    OutcomeUnknown,
                    ProxyCrashed,
                ],
                ..clients(
                    "client-reads",
                    "a client reads through a proxy after its write, and the leader changes: linearizable",
                )
            },
            Self {
                servers: 2,
                terms: 2,
                budget: Budget {
                    entries: 1,
                    reads: 1,
                    client_crashes: Limit::Any,
                    proxy_crashes: Limit::Any,
                    ..Budget::default()
                },
                plans: vec![vec![increment(), get()]],
                expected: vec![
                    WriteAcknowledged,
                    ReElection,
                    LeaderDeposed,
                    ReadServed,
                    ReadSawWrite,
                    ClientInterrupted,
                    OutcomeUnknown,
                    ClientCrashed,
                    ProxyCrashed,
                    AbandonedTookEffect,
                ],
                ..clients(
                    "restarts-fail-over",
                    "a client and a proxy restart any number of times while the leader changes",
                )
            },
        ];
        scopes.extend(store::scopes());
        scopes
    }
}
