//! The readable model as a `stateright::Model`, for stateright's own checkers and Explorer.

use super::{Action, Property, System, TransitionSystem, Witnesses};
use alloc::{format, string::String, vec, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};
use stateright::{Model, Property as Expectation};

/// The transition system of a scope as a stateright model.
#[derive(Debug)]
pub struct RaftModel {
    transitions: TransitionSystem,
    canonical: bool,
    witnesses: AtomicU64,
}

impl RaftModel {
    /// The model of a transition system. `canonical` enables symmetry reduction. Each step computes the
    /// canonical form itself, because stateright's BFS ignores its `symmetry` option.
    pub fn new(transitions: TransitionSystem, canonical: bool) -> Self {
        Self {
            transitions,
            canonical,
            witnesses: AtomicU64::new(0),
        }
    }

    /// The witnesses of the steps taken so far.
    pub fn witnesses(&self) -> Witnesses {
        Witnesses::from_bits(self.witnesses.load(Ordering::Relaxed))
    }

    fn finish(&self, system: System) -> System {
        if self.canonical {
            system.canonical()
        } else {
            system
        }
    }
}

impl Model for RaftModel {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        vec![self.finish(self.transitions.start())]
    }

    fn actions(&self, state: &System, actions: &mut Vec<Action>) {
        actions.extend(self.transitions.actions(state));
    }

    fn next_state(&self, state: &System, action: Action) -> Option<System> {
        let (next, witnesses) = self.transitions.next(state, &action)?;
        self.witnesses.fetch_or(witnesses.bits(), Ordering::Relaxed);
        Some(self.finish(next))
    }

    fn format_action(&self, action: &Action) -> String {
        format!("{}: {:?}", action.process + 1, action.local)
    }

    fn properties(&self) -> Vec<Expectation<Self>> {
        Property::expectations()
    }
}
