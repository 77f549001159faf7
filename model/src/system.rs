//! Whole systems: servers, proxies, clients, a network and a history, and the steps that they take.
//!
//! This is the readable model. A [`System`] is a plain value. [`TransitionSystem::actions`] lists the actions that
//! are enabled in it, and [`TransitionSystem::next`] returns the successor for an action. [`RaftModel`] exposes
//! both to stateright. The built-in engine of the checker composes the same functions
//! ([`TransitionSystem::local_events`], [`TransitionSystem::local_step`], [`History::observe`], [`properties::pair::check_pair`],
//! [`TransitionSystem::relevance`]) over small ids instead.
//!
//! The network is the set of all messages ever sent, and delivery does not remove a message. So a
//! message that is never delivered is lost, and a message that is delivered twice is duplicated. Every
//! order and every delay is possible, without bound.

mod client_run;
mod diagnostic;
pub mod flaw;
mod initial;
pub mod obligation;
pub mod process;
pub mod properties;
pub mod reduction;
pub mod refinement;
pub mod relabel;
mod relevance;
pub mod scope;
pub mod spec;
mod stateright_model;
mod step;
pub mod transition_system;
pub mod witness;

pub use client_run::{message_address, process_address};
pub use diagnostic::Diagnostic;
#[cfg(feature = "mutants")]
pub use flaw::Flaw;
pub use obligation::{Obligation, Obligations, Unmet};
pub use process::{Local, LocalStep, Process, Server};
pub use properties::{
    Cause, Properties, Property, Violation,
    history::{History, Observation},
    pair::Facet,
};
pub use reduction::{Reduction, Relevance};
pub use refinement::{AbstractAction, ActionCounts, ActionKind};
pub use relabel::{Permutation, Relabel};
pub use scope::{Budget, Limit, Scope, Usage};
pub use stateright_model::RaftModel;
pub use step::caught;
pub use transition_system::{StepHooks, TransitionSystem};
pub use witness::{Witness, Witnesses};

use crate::Envelope;
use alloc::{collections::BTreeSet, vec::Vec};
use core::hash::{Hash, Hasher};
use serde::{Deserialize, Serialize};

/// The global state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct System {
    /// The servers 1..=n, then the proxy, then the clients.
    pub processes: Vec<Process>,
    /// All messages ever sent, without those that can no longer have an effect.
    pub network: BTreeSet<Envelope>,
    /// The part of the budget that is used.
    pub spent: Usage,
    /// The history variables.
    pub history: History,
    /// The property that was violated on the way to this state, if any. Such a state has no successors.
    pub violation: Option<Violation>,
}

impl Hash for System {
    /// Hashes the canonical encoding. So a collision between two different systems cannot come from the
    /// way in which their parts reach the hasher.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.encode());
    }
}

/// An action: an event at one process of a system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Action {
    /// The index of the process.
    pub process: usize,
    /// The event.
    pub local: Local,
}

impl System {
    /// The canonical encoding: two systems have equal bytes if and only if they are equal.
    ///
    /// # Panics
    /// Never: encoding into memory cannot fail.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("encoding into memory cannot fail")
    }

    /// Decodes the canonical encoding.
    ///
    /// # Errors
    /// If the bytes are not exactly one system.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let (system, rest) = postcard::take_from_bytes(bytes)?;
        if rest.is_empty() {
            Ok(system)
        } else {
            Err(postcard::Error::DeserializeBadEncoding)
        }
    }

    /// The canonical form under permutations of the servers: the least of all permuted systems, by brute
    /// force. Systems that differ only by a permutation have the same canonical form.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let servers = self
            .processes
            .iter()
            .filter(|process| process.server().is_some());
        Permutation::all(servers.count())
            .iter()
            .map(|names| self.relabel(names))
            .min()
            .unwrap_or_else(|| self.clone())
    }
}
