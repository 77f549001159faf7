//! The features of the deployed programs that a scope may disable.
//!
//! The servers of every scope start from the settings of `raft-node` ([`Config::production`]). A scope
//! may only reduce their numbers or disable features of this list, so its documentation can name every
//! difference. A test in this module enforces this rule.

use super::Scope;
use crate::{Config, NodeId};
use alloc::vec::Vec;
use core::fmt;

macro_rules! features {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// A feature of the deployed programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Feature {
            /// All features.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// A short name for tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// A description, in a sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

features! {
    /// A server runs a pre-vote before it enters a new term.
    PreVote = "pre-vote";
    /// A leader that receives no responses from a majority steps down, and servers with a live leader
    /// refuse votes.
    CheckQuorum = "check-quorum";
    /// Leaders send entries to followers.
    Replication = "replication";
    /// A message may carry several entries.
    EntryBatching = "entry-batching";
    /// A leader sends further entries before the earlier ones are acknowledged.
    Pipelining = "pipelining";
    /// Writes of several clients may share one write to the disk.
    RequestBatching = "request-batching";
    /// Clients write.
    Writes = "writes";
    /// Clients read without a log entry.
    Reads = "reads";
    /// Servers take snapshots, and leaders send them.
    Snapshots = "snapshots";
    /// Some entries that a snapshot covers stay in memory for followers that are slightly behind.
    TrailingEntries = "trailing-entries";
    /// A leader hands its leadership over to another server.
    LeadershipTransfer = "leadership-transfer";
    /// Clients and a proxy are processes: they retry, redirect and give up.
    Proxy = "proxy";
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Feature {
    /// Whether a scope has this feature enabled.
    pub fn is_enabled(self, scope: &Scope) -> bool {
        match self {
            Self::PreVote => scope.pre_vote,
            Self::CheckQuorum => scope.check_quorum,
            Self::Replication => scope.append_entries,
            Self::EntryBatching => scope.append_entries && scope.batch > 1,
            Self::Pipelining => scope.append_entries && scope.window > 0,
            // Only direct clients send several requests in one event: two writes, and a read if operations
            // are recorded.
            Self::RequestBatching => {
                let is_affordable = scope.budget.entries >= 2
                    && (scope.budget.reads >= 1 || !scope.tracks_operations);
                scope.together && scope.direct_clients && is_affordable
            }
            Self::Writes => scope.budget.entries > 0,
            Self::Reads => scope.budget.reads > 0,
            Self::Snapshots => !scope.budget.snapshots.is_never(),
            Self::TrailingEntries => Self::Snapshots.is_enabled(scope) && scope.trailing_bytes > 0,
            Self::LeadershipTransfer => !scope.budget.transfers.is_never(),
            Self::Proxy => !scope.plans.is_empty(),
        }
    }

    /// Disables the feature in the settings of a server. A feature without a setting of its own is
    /// disabled by the events that the scope lacks.
    fn disable(self, config: &mut Config) {
        match self {
            Self::PreVote => config.pre_vote = false,
            Self::CheckQuorum => config.check_quorum = false,
            Self::EntryBatching => config.max_entries_per_append = 1,
            Self::Pipelining => config.max_entries_in_flight = 0,
            Self::TrailingEntries => config.trailing_bytes = 0,
            Self::Replication
            | Self::RequestBatching
            | Self::Writes
            | Self::Reads
            | Self::Snapshots
            | Self::LeadershipTransfer
            | Self::Proxy => {}
        }
    }
}

/// The number of applied entries after its last use for which a session counts as in use. It is small,
/// so that the scope contains both used and unused sessions.
const SESSION_WINDOW: u64 = 1;

impl Scope {
    /// The features that are disabled in this scope.
    pub fn disabled_features(&self) -> Vec<Feature> {
        let all = Feature::ALL.iter().copied();
        all.filter(|feature| !feature.is_enabled(self)).collect()
    }

    /// The settings of a server.
    pub fn config_of(&self, id: NodeId) -> Config {
        let mut config = self.config();
        if self.mixed_settings && id.get() == 1 {
            config.state_quota = 0;
        }
        config
    }

    /// The settings of the servers: those of production, with the disabled features and reduced numbers.
    pub fn config(&self) -> Config {
        let mut config = Config::production(self.nodes().collect());
        for feature in self.disabled_features() {
            feature.disable(&mut config);
        }
        self.reduce_numbers(&mut config);
        #[cfg(feature = "mutants")]
        {
            config.mutant = self.mutant;
        }
        config
    }

    /// Reduces the numbers of the settings. No number grows.
    fn reduce_numbers(&self, config: &mut Config) {
        let entries = &mut config.max_entries_per_append;
        *entries = (*entries).min(self.batch);
        let in_flight = &mut config.max_entries_in_flight;
        *in_flight = (*in_flight).min(self.window);
        let trailing = &mut config.trailing_bytes;
        *trailing = (*trailing).min(self.trailing_bytes);
        // A snapshot may be sent with any heartbeat. A larger number only delays it, and a lost message
        // is a delayed message.
        config.snapshot_patience = 0;
        // One client must wait for the eviction of another client's session. With two clients, each newly
        // opened session evicts the previous one.
        let room = u32::try_from(self.plans.len()).unwrap_or(u32::MAX);
        let opened = self.opens_sessions().then(|| room.saturating_sub(1).max(1));
        if let Some(sessions) = self.max_sessions.or(opened) {
            config.max_sessions = config.max_sessions.min(sessions);
        }
        config.session_window = SESSION_WINDOW;
        if let Some(quota) = self.state_quota {
            config.state_quota = config.state_quota.min(quota);
        }
    }
}

#[cfg(test)]
mod tests;
