//! The configuration of a server, fixed at start.

use crate::NodeId;
use alloc::collections::BTreeSet;
use serde::{Deserialize, Serialize};

/// The configuration of one server. All servers of a cluster have the same one, except for planted
/// bugs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Config {
    /// The servers of the cluster, including this one.
    pub voters: BTreeSet<NodeId>,
    /// The maximum number of entries per AppendEntries.
    pub max_entries_per_append: usize,
    /// The maximum size of the entries per AppendEntries, in bytes; a single entry may exceed it.
    pub max_bytes_per_append: usize,
    /// The maximum number of unacknowledged entries in flight to a follower; with 0, each message
    /// waits for the response to the previous one.
    pub max_entries_in_flight: usize,
    /// The maximum size of the unacknowledged entries in flight to a follower, in bytes. One
    /// message may exceed it (etcd: `MaxInflightBytes`).
    pub max_bytes_in_flight: usize,
    /// The maximum number of uncommitted entries; beyond it, a leader refuses writes
    /// ([`crate::message::ResponseBody::Overloaded`]).
    pub max_uncommitted_entries: usize,
    /// The maximum size of the uncommitted entries, in bytes. One entry may exceed it (etcd:
    /// `MaxUncommittedEntriesSize`).
    pub max_uncommitted_bytes: usize,
    /// The maximum number of reads that wait for their round; beyond it, a leader refuses reads.
    pub max_pending_reads: usize,
    /// Whether a server runs PreVote before it enters a new term (thesis §9.6).
    pub pre_vote: bool,
    /// Whether a leader without responses from a majority steps down (CheckQuorum, thesis §6.2),
    /// and whether a server with a live leader refuses its vote (stickiness, thesis §4.2.3).
    pub check_quorum: bool,
    /// The maximum number of sessions in the store.
    pub max_sessions: u32,
    /// The number of applied entries after its last use during which a session is in use and is not
    /// evicted.
    pub session_window: u64,
    /// The maximum size of all keys and values of the state, in bytes. A write that would exceed it
    /// is refused. Far below the 1 GiB that a snapshot message can carry.
    pub state_quota: u64,
    /// The size of the entries that stay in memory behind a snapshot, in bytes
    /// ([`crate::Payload::size`]). They serve followers that are slightly behind.
    pub trailing_bytes: usize,
    /// The number of heartbeats before an unacknowledged snapshot is retransmitted.
    pub snapshot_patience: u32,
    /// The bug planted in this server, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Config {
    /// The default of [`max_sessions`](Self::max_sessions).
    pub const DEFAULT_MAX_SESSIONS: u32 = 1024;
    /// The default of [`session_window`](Self::session_window).
    pub const DEFAULT_SESSION_WINDOW: u64 = 16 * 1024;
    /// The default of [`state_quota`](Self::state_quota).
    pub const DEFAULT_STATE_QUOTA: u64 = 512 << 20;
    /// The default of [`trailing_bytes`](Self::trailing_bytes).
    pub const DEFAULT_TRAILING_BYTES: usize = 1 << 20;

    /// The settings of `raft-node` with its default options, for a cluster of these servers. The node
    /// replaces numbers that have an option. The scopes of the checker start from the same settings, and
    /// only reduce numbers or disable named features.
    pub fn production(voters: BTreeSet<NodeId>) -> Self {
        Self {
            voters,
            max_entries_per_append: 512,
            max_bytes_per_append: 64 * 1024,
            max_entries_in_flight: 8192,
            max_bytes_in_flight: 8 << 20,
            max_uncommitted_entries: 16_384,
            max_uncommitted_bytes: 64 << 20,
            max_pending_reads: 16_384,
            pre_vote: true,
            check_quorum: true,
            max_sessions: Self::DEFAULT_MAX_SESSIONS,
            session_window: Self::DEFAULT_SESSION_WINDOW,
            state_quota: Self::DEFAULT_STATE_QUOTA,
            trailing_bytes: Self::DEFAULT_TRAILING_BYTES,
            snapshot_patience: 50,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// The number of servers in a majority.
    pub fn majority(&self) -> usize {
        let majority = self.voters.len() / 2 + 1;
        if crate::mutant::planted!(self, QuorumOffByOne) {
            return (majority - 1).max(1);
        }
        majority
    }
}
