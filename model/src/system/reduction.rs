//! Reductions: the search visits fewer states, but covers the same behaviors.
//!
//! Each reduction can be switched off. `docs/reductions.md` justifies each. Tests compare the reachable
//! server states with and without it.

use crate::Term;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The reductions that are enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reduction {
    /// A write that no other process can observe before it is durable becomes durable immediately.
    pub merge_syncs: bool,
    /// A crashed server restarts immediately.
    pub merge_restarts: bool,
    /// A message that its receiver will always ignore is dropped.
    pub drop_dead: bool,
    /// A message that can be sent without any other change is sent immediately.
    pub send_early: bool,
    /// A follower's leader hint is forgotten if no step depends on it.
    pub forget_hints: bool,
    /// The entries that a follower has permanently are removed from the requests in transit to it. Traces
    /// of earlier versions do not have it.
    #[serde(default)]
    pub trim_appends: bool,
}

impl Reduction {
    /// All reductions.
    pub const ALL: Self = Self {
        merge_syncs: true,
        merge_restarts: true,
        drop_dead: true,
        send_early: true,
        forget_hints: true,
        trim_appends: true,
    };

    /// No reduction: every event is a step of its own.
    pub const NONE: Self = Self {
        merge_syncs: false,
        merge_restarts: false,
        drop_dead: false,
        send_early: false,
        forget_hints: false,
        trim_appends: false,
    };
}

impl Reduction {
    /// The names of the reductions, in the order of the fields.
    pub const NAMES: [&'static str; 6] = [
        "merge_syncs",
        "merge_restarts",
        "drop_dead",
        "send_early",
        "forget_hints",
        "trim_appends",
    ];

    /// The switches, in the order of [`NAMES`](Self::NAMES).
    fn switches(&mut self) -> [&mut bool; 6] {
        // The pattern has no `..`, so that a new reduction must get a name.
        let Self {
            merge_syncs,
            merge_restarts,
            drop_dead,
            send_early,
            forget_hints,
            trim_appends,
        } = self;
        [
            merge_syncs,
            merge_restarts,
            drop_dead,
            send_early,
            forget_hints,
            trim_appends,
        ]
    }

    /// Disables the reduction with this name. Returns false if there is none.
    pub fn disable(&mut self, name: &str) -> bool {
        let mut named = Self::NAMES.into_iter().zip(self.switches());
        let Some((_, switch)) = named.find(|(known, _)| *known == name) else {
            return false;
        };
        *switch = false;
        true
    }

    /// The names of the disabled reductions.
    pub fn disabled(mut self) -> Vec<&'static str> {
        let named = Self::NAMES.into_iter().zip(self.switches());
        let disabled = named.filter(|(_, is_on)| !**is_on);
        disabled.map(|(name, _)| name).collect()
    }

    /// Whether a server is always up, and a follower's entries are always durable, unless a message left
    /// in the step that wrote them.
    pub(super) fn is_term_final_at_once(&self) -> bool {
        self.merge_syncs && self.merge_restarts
    }
}

/// The relevance of a message for its receiver, in this and in every later state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relevance {
    /// It may change the receiver.
    Live,
    /// The receiver will always ignore it.
    Dead,
    /// Its only possible effect is that the receiver, once in a newer term, sends this term to the
    /// sender. One such request per sender is enough (the first in order is kept). It is not needed if
    /// the sender cannot receive a newer term. It is not needed either if the receiver enters no newer
    /// term, because the receiver has already sent its current term.
    TermOnly,
    /// [`Self::TermOnly`] once no further crash is possible. Until then, a crash can take back the
    /// receiver's commit index, and the message can advance it again.
    TermOnlyAfterCrashes,
    /// Its only possible effect is to carry this term. One per sender and term is enough.
    Refusal(Term),
    /// Its only possible effect is that the leader of this term counts the sender as active. One per
    /// sender and term is enough.
    Contact(Term),
}

impl Relevance {
    /// The relevance in a state. `crashes_over` means that no further crash is possible.
    #[must_use]
    pub fn now(self, crashes_over: bool) -> Self {
        match self {
            Self::TermOnlyAfterCrashes if crashes_over => Self::TermOnly,
            Self::TermOnlyAfterCrashes => Self::Live,
            other => other,
        }
    }
}
