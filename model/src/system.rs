//! Whole systems: servers, proxies, clients, a network and a history, and the steps that they take.
//!
//! This is the readable model. A [`System`] is a plain value. [`Scope::actions`] lists the actions that
//! are enabled in it, and [`Scope::next`] returns the successor for an action. [`RaftModel`] exposes
//! both to stateright. The fast search of the checker composes the same functions
//! ([`Scope::local_events`], [`Scope::local_step`], [`History::observe`], [`properties::pair::judge_pair`],
//! [`Scope::relevance`]) over small ids instead.
//!
//! The network is the set of all messages ever sent, and delivery does not remove a message. So a
//! message that is never delivered is lost, and a message that is delivered twice is duplicated. Every
//! order and every delay is possible, without bound.

pub mod flaw;
mod initial;
pub mod obligation;
pub mod process;
pub mod properties;
pub mod reduction;
pub mod relabel;
mod relevance;
pub mod scope;
mod stateright_model;
mod step;
pub mod witness;

#[cfg(feature = "mutants")]
pub use flaw::Flaw;
pub use obligation::{Obligation, Obligations, Unmet};
pub use process::{Local, LocalStep, Process, Server};
pub use properties::{
    Properties, Property, Violation,
    history::{History, Observation},
    pair::Facet,
};
pub use reduction::{Reduction, Relevance};
pub use relabel::{Relabel, Relabelling};
pub use scope::{Budget, Scope};
pub use stateright_model::RaftModel;
pub use witness::{Witness, Witnesses};

use crate::{Address, Envelope};
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
    pub spent: Budget,
    /// The history variables.
    pub history: History,
    /// The property that was violated on the way to this state, if any. Such a state has no successors.
    pub broken: Option<Violation>,
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
        Relabelling::all(servers.count())
            .iter()
            .map(|names| self.relabel(names))
            .min()
            .unwrap_or_else(|| self.clone())
    }
}

impl Scope {
    /// The initial system in normal form.
    pub fn start(&self) -> System {
        let mut system = self.initial();
        self.adopt(&mut system);
        system
    }

    /// Brings a system that is not the result of a step of this scope into normal form.
    pub fn adopt(&self, system: &mut System) {
        let all = self.actions(system);
        self.normalize(system, all);
    }

    /// All enabled actions of a system, in a fixed order.
    pub fn actions(&self, system: &System) -> Vec<Action> {
        if system.broken.is_some() {
            return Vec::new();
        }
        (0..system.processes.len())
            .flat_map(|process| self.actions_of(system, process))
            .collect()
    }

    /// All enabled actions of one process.
    fn actions_of(&self, system: &System, process: usize) -> Vec<Action> {
        let state = &system.processes[process];
        let deliveries = system
            .network
            .iter()
            .filter(|envelope| envelope.to == state.address())
            .flat_map(|envelope| self.deliveries(envelope));
        self.local_events(state)
            .into_iter()
            .chain(deliveries)
            .map(|local| Action { process, local })
            .collect()
    }

    /// The actions that deliver one message.
    fn actions_with(&self, system: &System, envelope: &Envelope) -> Vec<Action> {
        let receiver = |process: &Process| process.address() == envelope.to;
        let Some(process) = system.processes.iter().position(receiver) else {
            return Vec::new();
        };
        self.deliveries(envelope)
            .into_iter()
            .map(|local| Action { process, local })
            .collect()
    }

    /// Returns the successor for an action, in normal form. Returns `None` if the action is not enabled
    /// or exceeds the budget.
    pub fn next(&self, system: &System, action: &Action) -> Option<(System, Witnesses)> {
        let mut next = system.clone();
        let mut witnesses = self.advance(&mut next, action)?;
        let fresh = if self.reduction.remembers_again() {
            self.actions(&next)
        } else {
            let mut fresh = self.actions_of(&next, action.process);
            for envelope in next.network.difference(&system.network) {
                fresh.extend(self.actions_with(&next, envelope));
            }
            fresh
        };
        witnesses.add_all(self.normalize(&mut next, fresh));
        Some((next, witnesses))
    }

    /// Executes an action without the reductions of the network (normal form).
    pub fn advance(&self, system: &mut System, action: &Action) -> Option<Witnesses> {
        let process = system.processes.get(action.process)?;
        let step = self.local_step(process, &action.local)?;
        let (spent, history, witnesses, broken) =
            self.record(&system.spent, &system.history, &step)?;
        system.processes[action.process] = step.next;
        system.network.extend(step.sent);
        system.spent = spent;
        system.history = history;
        let pairs = || self.judge_pairs(&system.processes, action.process);
        system.broken = broken.or_else(pairs);
        Some(witnesses)
    }

    /// Applies a step to the budget and the history. Returns `None` if the budget does not allow the
    /// step.
    pub fn record(
        &self,
        spent: &Budget,
        history: &History,
        step: &LocalStep,
    ) -> Option<(Budget, History, Witnesses, Option<Violation>)> {
        let spent = spent.plus(&step.cost);
        if !self.budget.covers(&spent) {
            return None;
        }
        let mut witnesses = step.witnesses;
        let mut history = history.clone();
        let mut broken = step.broken.clone();
        for observation in &step.observed {
            let observed = history.observe(observation, self.properties, &mut witnesses);
            if let Observation::Elected { .. } = observation
                && spent.crashes > 0
                && witnesses.contains(Witness::ReElection)
            {
                witnesses.add(Witness::ReElectionAfterCrash);
            }
            broken = broken.or(observed.err());
        }
        if !self.tracks_operations {
            history.operations.clear();
        }
        Some((spent, history, witnesses, broken))
    }

    fn judge_pairs(&self, processes: &[Process], changed: usize) -> Option<Violation> {
        let one = processes[changed].server()?;
        let facet = Facet::of(one);
        processes
            .iter()
            .filter_map(Process::server)
            .filter(|other| other.id != one.id)
            .find_map(|other| {
                properties::pair::judge_pair(&facet, &Facet::of(other), self.properties).err()
            })
    }

    /// Applies the reductions of the network: sends early each message that can be sent at any time, and
    /// drops the messages that can no longer have an effect. `fresh` are the actions that were not
    /// possible before: those of the process that changed, and the deliveries of new messages.
    fn normalize(&self, system: &mut System, fresh: Vec<Action>) -> Witnesses {
        let mut witnesses = Witnesses::default();
        if system.broken.is_some() {
            return witnesses;
        }
        if self.reduction.send_early {
            witnesses = self.send_early(system, fresh);
        }
        self.normalize_network(system);
        witnesses
    }

    /// Takes every step that only sends, and then the send-only steps that its messages enable.
    fn send_early(&self, system: &mut System, mut fresh: Vec<Action>) -> Witnesses {
        let mut witnesses = Witnesses::default();
        while let Some(action) = fresh.pop() {
            let process = &system.processes[action.process];
            let ignored = matches!(&action.local, Local::Deliver { envelope, .. }
                if self.relevance(process, envelope) == Relevance::Dead);
            if ignored {
                continue;
            }
            let Some(step) = self.local_step(process, &action.local) else {
                continue;
            };
            if self.is_eager(&step, process) {
                witnesses.add_all(step.witnesses);
                for envelope in step.sent {
                    if system.network.insert(envelope.clone()) {
                        fresh.extend(self.actions_with(system, &envelope));
                    }
                }
            }
        }
        witnesses
    }

    fn normalize_network(&self, system: &mut System) {
        let calm = self.are_crashes_over(&system.spent);
        let settled: BTreeSet<Address> = system
            .processes
            .iter()
            .filter(|process| self.is_term_final(process))
            .map(Process::address)
            .collect();
        for process in &system.processes {
            let address = process.address();
            let mut inbox: Vec<Envelope> = Vec::new();
            system.network.retain(|envelope| {
                let mine = envelope.to == address;
                if mine {
                    inbox.push(envelope.clone());
                }
                !mine
            });
            let is_term_final = |sender| settled.contains(&sender);
            self.normalize_inbox(process, calm, is_term_final, &mut inbox);
            system.network.extend(inbox);
        }
    }
}
