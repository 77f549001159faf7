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
    /// The most sessions the store keeps.
    pub max_sessions: u32,
    /// The bug planted in this server, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Config {
    /// The settings of a cluster of these servers.
    pub fn new(voters: BTreeSet<NodeId>) -> Self {
        Self {
            voters,
            max_entries_per_append: 64,
            max_sessions: 1024,
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
