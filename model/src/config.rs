//! What a server is told once, when it starts.

use crate::NodeId;
use alloc::collections::BTreeSet;
use serde::{Deserialize, Serialize};

/// The settings of one server. The same on all servers of a cluster but for planted bugs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Config {
    /// The servers of the cluster, this one included.
    pub voters: BTreeSet<NodeId>,
    /// The most entries one AppendEntries carries.
    pub max_entries_per_append: usize,
    /// How large the entries of one AppendEntries may grow, in bytes; one entry may always go.
    pub max_bytes_per_append: usize,
    /// The most entries on their way to a follower that were not acknowledged yet; with 0 no
    /// message leaves before the last one was answered.
    pub max_entries_in_flight: usize,
    /// The most bytes of entries on their way to a follower that were not acknowledged yet, beside one
    /// message (etcd: `MaxInflightBytes`).
    pub max_bytes_in_flight: usize,
    /// The most entries that wait to be committed; a leader refuses further writes
    /// ([`crate::message::ResponseBody::Overloaded`]).
    pub max_uncommitted_entries: usize,
    /// The most bytes that these entries take, beside one entry (etcd:
    /// `MaxUncommittedEntriesSize`).
    pub max_uncommitted_bytes: usize,
    /// The most reads that wait for their round; a leader refuses further reads.
    pub max_pending_reads: usize,
    /// Whether a server asks if it could win before it enters a new term (thesis §9.6).
    pub pre_vote: bool,
    /// Whether a leader that hears from no majority steps down, and a server that hears from its
    /// leader sticks to it (thesis §6.2, §4.2.3).
    pub check_quorum: bool,
    /// The most sessions the store keeps.
    pub max_sessions: u32,
    /// For how many applied entries after its last use a session is in use, and is not evicted.
    pub session_window: u64,
    /// How many bytes of keys and values the state may have. A write that would make it larger is
    /// refused. Far below the 1 GiB that a snapshot can carry.
    pub state_quota: u64,
    /// How many bytes of entries stay in memory behind a snapshot, for followers a little behind
    /// ([`crate::Payload::size`]).
    pub trailing_bytes: usize,
    /// How many heartbeats pass before a snapshot that was not answered is sent again.
    pub snapshot_patience: u32,
    /// The bug planted in this server, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Config {
    /// The settings of a cluster of these servers.
    pub fn new(voters: BTreeSet<NodeId>) -> Self {
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
            max_sessions: 1024,
            session_window: 16 * 1024,
            state_quota: 512 << 20,
            trailing_bytes: 1 << 20,
            snapshot_patience: 50,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// How many servers make a majority.
    pub fn majority(&self) -> usize {
        let majority = self.voters.len() / 2 + 1;
        if crate::mutant::planted!(self, QuorumOffByOne) {
            return (majority - 1).max(1);
        }
        majority
    }
}
