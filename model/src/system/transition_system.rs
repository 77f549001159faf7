//! The transition system of a scope: its initial state, its actions and its next-state relation.
//!
//! The methods on a single process are in `step`, the initial state in `initial`, and the effect of a
//! message on its receiver in `relevance`.

use super::{
    Action, System,
    process::{Local, LocalStep, Process},
    properties::{
        Violation,
        history::History,
        pair::{Facet, check_pair},
    },
    reduction::Relevance,
    scope::{Scope, Usage},
    witness::Witnesses,
};
use crate::{Address, Envelope};
use alloc::{collections::BTreeSet, vec::Vec};

/// The transition system of a scope.
#[derive(Clone, Debug)]
pub struct TransitionSystem {
    pub(super) scope: Scope,
    pub(super) hooks: Option<StepHooks>,
}

/// Functions that every step calls. A caller can so detect a step that does not end: it cannot be stopped
/// from within.
#[derive(Clone, Copy, Debug)]
pub struct StepHooks {
    /// Called before a step, with the process and the event.
    pub enter: fn(&Process, &Local),
    /// Called after the step, even if it panics.
    pub leave: fn(),
}

impl TransitionSystem {
    /// The transition system of a scope.
    pub fn new(scope: Scope) -> Self {
        Self { scope, hooks: None }
    }

    /// The transition system of a scope. Every step calls the hooks.
    pub fn with_hooks(scope: Scope, hooks: StepHooks) -> Self {
        Self {
            scope,
            hooks: Some(hooks),
        }
    }

    /// The transition system of another scope, with the same hooks.
    #[must_use]
    pub fn with_scope(&self, scope: Scope) -> Self {
        Self {
            scope,
            hooks: self.hooks,
        }
    }

    /// The bounds of the system.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

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
        if system.violation.is_some() {
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
            .filter(|envelope| state.receives_at(envelope.to))
            .flat_map(|envelope| self.deliveries(envelope));
        self.local_events(state)
            .into_iter()
            .chain(deliveries)
            .map(|local| Action { process, local })
            .collect()
    }

    /// The actions that deliver one message.
    fn actions_with(&self, system: &System, envelope: &Envelope) -> Vec<Action> {
        let receiver = |process: &Process| process.receives_at(envelope.to);
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
        let fresh = if self.scope.remembers_again() {
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
        let (spent, history, witnesses, violation) =
            self.record(&system.spent, &system.history, &step)?;
        system.processes[action.process] = step.next;
        system.network.extend(step.sent);
        system.spent = spent;
        system.history = history;
        let pairs = || self.check_pairs(&system.processes, action.process);
        system.violation = violation.or_else(pairs);
        Some(witnesses)
    }

    /// Applies a step to the budget and the history. Returns `None` if the budget does not allow the
    /// step.
    pub fn record(
        &self,
        spent: &Usage,
        history: &History,
        step: &LocalStep,
    ) -> Option<(Usage, History, Witnesses, Option<Violation>)> {
        let spent = spent.plus(&step.cost);
        if !self.scope.budget.covers(&spent) {
            return None;
        }
        let mut witnesses = step.witnesses;
        let mut history = history.clone();
        let mut violation = step.violation.clone();
        let (properties, quota) = (self.scope.properties, self.scope.quota());
        for observation in &step.observed {
            let observed = history.observe(observation, properties, quota, &mut witnesses);
            violation = violation.or(observed.err());
        }
        if !self.scope.tracks_operations {
            history.operations.clear();
        }
        Some((spent, history, witnesses, violation))
    }

    fn check_pairs(&self, processes: &[Process], changed: usize) -> Option<Violation> {
        let one = processes[changed].server()?;
        let facet = Facet::new(one);
        processes
            .iter()
            .filter_map(Process::server)
            .filter(|other| other.id != one.id)
            .find_map(|other| check_pair(&facet, &Facet::new(other), self.scope.properties).err())
    }

    /// Applies the reductions of the network: sends early each message that can be sent at any time, and
    /// drops the messages that can no longer have an effect. `fresh` are the actions that were not
    /// possible before: those of the process that changed, and the deliveries of new messages.
    fn normalize(&self, system: &mut System, fresh: Vec<Action>) -> Witnesses {
        let mut witnesses = Witnesses::default();
        if system.violation.is_some() {
            return witnesses;
        }
        if self.scope.reduction.send_early {
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
        let crashes_over = self.are_crashes_over(&system.spent);
        let term_final: BTreeSet<Address> = system
            .processes
            .iter()
            .filter(|process| self.is_term_final(process))
            .map(Process::address)
            .collect();
        for process in &system.processes {
            let mut inbox: Vec<Envelope> = Vec::new();
            system.network.retain(|envelope| {
                let mine = process.receives_at(envelope.to);
                if mine {
                    inbox.push(envelope.clone());
                }
                !mine
            });
            let is_term_final = |sender| term_final.contains(&sender);
            self.normalize_inbox(process, crashes_over, is_term_final, &mut inbox);
            system.network.extend(inbox);
        }
    }
}
