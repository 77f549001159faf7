//! The properties: conditions on every reachable state and every step.
//!
//! They are grouped by the values that they compare: [`step`] has the properties of one step, [`pair`]
//! those of two servers, [`history`] those of all events of a run, and [`linearizability`] the order of
//! client operations. None depends on whether a server is up: a crash is a step like any other, and it
//! does not cancel the server's earlier promises.

use super::System;
use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};

mod cause;
pub mod history;
pub mod linearizability;
pub mod pair;
pub mod reference;
pub mod step;

pub use cause::Cause;

macro_rules! properties {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// A property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Property {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Property {
            /// All properties.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The established name of the property.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The property in a sentence.
            pub fn summary(self) -> &'static str {
                let text = match self { $(Self::$name => concat!($($doc),+),)+ };
                text.trim_start()
            }

            /// All properties, as stateright checks them.
            pub(super) fn expectations<M: stateright::Model<State = System>>()
            -> Vec<stateright::Property<M>> {
                // `fn` pointers cannot capture, so each closure names its own property.
                vec![$(stateright::Property::always(Self::$name.name(), |_, state: &System| {
                    state.violation.as_ref().is_none_or(|violation| violation.property != Self::$name)
                })),+]
            }
        }
    };
}

properties! {
    /// At most one leader is ever elected in a term (Figure 3).
    ElectionSafety = "Election Safety";
    /// A leader never overwrites or removes entries of its log (Figure 3).
    LeaderAppendOnly = "Leader Append-Only";
    /// Two logs with an entry of the same index and term agree up to it (Figure 3).
    LogMatching = "Log Matching";
    /// A committed entry is in the log of every leader of a later term (Figure 3).
    LeaderCompleteness = "Leader Completeness";
    /// No two servers ever apply different entries at one index (Figure 3).
    StateMachineSafety = "State Machine Safety";
    /// The term and the commit index of a server never decrease while it runs, and its term never falls
    /// below its durable term.
    Monotone = "Terms and commit indexes never fall";
    /// A server votes for at most one candidate in a term, across restarts, and sends no vote that is
    /// not on its disk.
    OneVotePerTerm = "One vote per term";
    /// An acknowledged write is committed, durable on a majority, and stays committed.
    AcknowledgedWritesKept = "Acknowledged writes are kept";
    /// The store and the answers are the result of the committed commands, each applied once.
    ExactlyOnce = "Exactly-once application";
    /// Client operations appear to take effect one at a time, between call and return.
    Linearizability = "Linearizability";
    /// Terms never decrease within a log.
    TermsOrderedInLog = "Terms never fall within a log";
    /// A leader's match_index for a server never exceeds the durable log of that server, and a server
    /// acknowledges only entries on its disk.
    MatchIsDurable = "match_index is durable";
    /// A server sends other servers only messages of a term that its disk has reached.
    TermIsDurable = "Sent terms are durable";
    /// A leader commits an entry only if its disk and the followers that acknowledged the entry are a
    /// majority.
    CommitIsDurable = "Commits are durable on a majority";
    /// A leader moves its commit index only to an entry of its own term (Figure 8).
    CommitsOwnTerm = "Leaders commit in their own term";
    /// A server that a leader asks to start an election has the leader's whole log on its disk.
    TransferTargetIsComplete = "Transfer targets have the whole log";
    /// The invariants that every server checks after every step, in deployment too.
    Invariants = "Always-on invariants";
    /// Each step of a server is a sequence of actions of the proved abstract Raft, or changes none of its
    /// facts.
    Refinement = "Steps refine the abstract Raft";
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A violation: the property and the cause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Violation {
    /// The property.
    pub property: Property,
    /// The cause, in a box: results without a violation stay small.
    pub cause: Box<Cause>,
}

impl Violation {
    /// A violation of a property.
    pub fn new(property: Property, cause: Cause) -> Self {
        Self {
            property,
            cause: Box::new(cause),
        }
    }
}

/// A set of properties to check. Its serialized form is the only property of the set, or none: traces
/// have no other sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Option<Property>", into = "Option<Property>")]
pub struct Properties(u32);

impl From<Option<Property>> for Properties {
    fn from(only: Option<Property>) -> Self {
        only.map_or(Self::ALL, Self::only)
    }
}

impl From<Properties> for Option<Property> {
    fn from(properties: Properties) -> Self {
        let mut all = Property::ALL.iter().copied();
        all.find(|property| properties == Properties::only(*property))
    }
}

impl Properties {
    /// All properties.
    pub const ALL: Self = Self(u32::MAX);

    /// No property, for a run that continues after a violation.
    pub const NONE: Self = Self(0);

    /// A single property.
    pub const fn only(property: Property) -> Self {
        Self(1 << property as u32)
    }

    /// Whether the property is checked.
    pub const fn contains(self, property: Property) -> bool {
        self.0 & (1 << property as u32) != 0
    }

    /// Requires a property. Returns a violation if the property is checked and does not hold.
    pub(super) fn require(
        self,
        property: Property,
        holds: bool,
        cause: impl FnOnce() -> Cause,
    ) -> Result<(), Violation> {
        if holds || !self.contains(property) {
            return Ok(());
        }
        Err(Violation::new(property, cause()))
    }
}
