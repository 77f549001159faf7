//! The actions of the abstract Raft that a step is mapped to.

use crate::{EntryId, NodeId, Term};
use alloc::collections::BTreeSet;
use core::ops::AddAssign;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// An instance of an action of the abstract Raft. Logs are named by their last entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AbstractAction {
    /// A server enters a new term, votes for itself and becomes a candidate with its log.
    Stand {
        /// The candidate.
        server: NodeId,
        /// The new term.
        term: Term,
        /// Its log.
        log: EntryId,
    },
    /// A server votes for a candidate.
    Vote {
        /// The voter.
        server: NodeId,
        /// The candidate.
        candidate: NodeId,
        /// The term.
        term: Term,
        /// The log of the voter. That of the candidate is at least as up-to-date.
        own_log: EntryId,
    },
    /// A server enters a later term.
    UpdateTerm {
        /// The server.
        server: NodeId,
        /// The later term.
        term: Term,
    },
    /// A candidate with the votes of a quorum becomes the leader.
    Elect {
        /// The candidate.
        leader: NodeId,
        /// The term.
        term: Term,
        /// The log of the candidate.
        log: EntryId,
        /// Its voters.
        quorum: BTreeSet<NodeId>,
    },
    /// A leader appends one entry of its term.
    ClientRequest {
        /// The leader.
        leader: NodeId,
        /// The term.
        term: Term,
        /// The log before.
        log: EntryId,
        /// The log with the entry.
        longer: EntryId,
    },
    /// A server acknowledges a prefix of the leader's log.
    Accept {
        /// The server.
        server: NodeId,
        /// The term of the leader.
        term: Term,
        /// The prefix.
        log: EntryId,
    },
    /// A leader commits an entry of its term that a quorum acknowledged.
    Commit {
        /// The term.
        term: Term,
        /// The log that ends with the entry.
        log: EntryId,
        /// The servers that acknowledged it.
        quorum: BTreeSet<NodeId>,
    },
    /// A server receives that a log is committed.
    Learn {
        /// The server.
        server: NodeId,
        /// A prefix of the committed log.
        log: EntryId,
    },
}

macro_rules! kinds {
    ($($kind:ident = $name:literal,)+) => {
        /// The kind of an action.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "`AbstractAction` has the meanings")]
        pub enum ActionKind {
            $($kind,)+
        }

        impl ActionKind {
            /// All kinds, in the order of the abstract protocol.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The name of the action in the abstract protocol.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }
        }

        impl AbstractAction {
            /// The kind of the action.
            pub const fn kind(&self) -> ActionKind {
                match self { $(Self::$kind { .. } => ActionKind::$kind,)+ }
            }
        }
    };
}

kinds! {
    Stand = "stand",
    Vote = "vote",
    UpdateTerm = "update-term",
    Elect = "elect",
    ClientRequest = "client-request",
    Accept = "accept",
    Commit = "commit",
    Learn = "learn",
}

/// The number of actions of each kind. Its serialized form is a map by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionCounts([u64; ActionKind::ALL.len()]);

impl ActionCounts {
    /// Counts the actions of one step.
    pub fn add_all<'a>(&mut self, actions: impl IntoIterator<Item = &'a AbstractAction>) {
        for action in actions {
            self.0[action.kind() as usize] += 1;
        }
    }

    /// The number of actions of a kind.
    pub fn of(&self, kind: ActionKind) -> u64 {
        self.0[kind as usize]
    }
}

impl AddAssign for ActionCounts {
    fn add_assign(&mut self, other: Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own += more;
        }
    }
}

impl Serialize for ActionCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(ActionKind::ALL.len()))?;
        for kind in ActionKind::ALL {
            map.serialize_entry(kind.name(), &self.of(*kind))?;
        }
        map.end()
    }
}
