//! Obligations: the assumptions of each reduction about the protocol, as code.
//!
//! A reduction leaves out behavior because a rule of the protocol implies that no violation is lost.
//! This module checks the rule: on the real code, for every process and message that a search reaches.
//! The search decides *where* to check (`checker/src/engine/obligations.rs`). This module defines the
//! *condition* that must hold there. `docs/reductions.md` explains the arguments.

mod merged_writes;
mod messages;

pub use merged_writes::{MergedStep, PendingEvent};
pub use messages::{LeaderLog, ObservedResponse, says_no_more};

use super::{
    process::{Local, LocalStep, Process},
    properties::{history::Observation, pair::Facet},
    reduction::Reduction,
    relabel::{Permutation, Relabel},
    scope::{Scope, Usage},
    transition_system::TransitionSystem,
};
use crate::{Durable, Effects, Envelope, Event, Raft, Role};
use alloc::{format, string::String, vec::Vec};
use core::fmt;
use serde::Serialize;

macro_rules! obligations {
    ($($(#[doc = $doc:literal])+ $name:ident = $slug:literal of $reduction:literal: $text:literal;)+) => {
        /// An assumption of a reduction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Obligation {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Obligation {
            /// All obligations.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The short name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// The reduction that depends on it.
            pub const fn reduction(self) -> &'static str {
                match self { $(Self::$name => $reduction,)+ }
            }

            /// The condition that must hold, in a sentence.
            pub const fn statement(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

obligations! {
    /// [`Relevance::Dead`](super::Relevance::Dead).
    DeadMessages = "dead-messages" of "drop_dead":
        "a dropped message has no effect on its receiver, now or later";
    /// [`Relevance::TermOnly`](super::Relevance::TermOnly).
    InertRequests = "inert-requests" of "drop_dead":
        "an inert request changes nothing and is answered alike, now and later";
    /// [`Relevance::Refusal`](super::Relevance::Refusal).
    Refusals = "refusals" of "drop_dead":
        "refusals with the same term have equal effects, now and later";
    /// [`Relevance::Contact`](super::Relevance::Contact).
    Contacts = "contacts" of "drop_dead":
        "responses that only show contact have equal effects, now and later";
    /// `TransitionSystem::trimmed`.
    TrimmedAppends = "trimmed-appends" of "trim_appends":
        "a trimmed request and the complete one have equal effects, now and later";
    /// `Reduction::merge_syncs`.
    MergedSyncs = "merged-syncs" of "merge_syncs":
        "before a merged write is durable, its server reveals nothing that depends on it";
    /// `Reduction::merge_restarts`.
    MergedRestarts = "merged-restarts" of "merge_restarts":
        "a restart changes nothing that another process or a property can observe";
    /// `Reduction::forget_hints`.
    ForgottenHints = "forgotten-hints" of "forget_hints":
        "no step depends on a forgotten leader hint";
    /// `Reduction::send_early`.
    EagerSends = "eager-sends" of "send_early":
        "an eager step changes no process and no property";
    /// The canonical form of the search.
    Symmetry = "symmetry" of "symmetry":
        "steps commute with permutations of servers, and permuted states have one canonical form";
}

impl fmt::Display for Obligation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, reduction) = (self.name(), self.reduction());
        write!(f, "{name} (of {reduction}): {}", self.statement())
    }
}

/// A failed obligation, with the process and the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmet {
    /// The obligation.
    pub obligation: Obligation,
    /// A short description of the process.
    pub process: String,
    /// The message or the event.
    pub event: String,
    /// The reason.
    pub why: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}. Failed at {} on {}: {}",
            self.obligation, self.process, self.event, self.why
        )
    }
}

/// Checks the obligations of one scope.
#[derive(Clone, Debug)]
pub struct Obligations {
    /// The system of the scope, with its reductions.
    reduced: TransitionSystem,
    /// The system without the reductions of processes, except forgotten hints.
    plain: TransitionSystem,
    /// The system without any reduction.
    hinted: TransitionSystem,
}

type Checked<T = ()> = Result<T, String>;

impl Obligations {
    /// The obligations of the scope of a transition system.
    pub fn new(transitions: &TransitionSystem) -> Self {
        let scope = transitions.scope();
        let without = |reduction| Scope {
            reduction,
            ..scope.clone()
        };
        #[cfg_attr(not(feature = "mutants"), expect(unused_mut))]
        let mut hinted = without(Reduction::NONE);
        #[cfg(feature = "mutants")]
        {
            hinted.flaw = None;
        }
        Self {
            plain: transitions.with_scope(without(Reduction {
                forget_hints: scope.reduction.forget_hints,
                ..Reduction::NONE
            })),
            hinted: transitions.with_scope(hinted),
            reduced: transitions.clone(),
        }
    }

    fn scope(&self) -> &Scope {
        self.reduced.scope()
    }

    /// The server after it receives the message that an event delivers, and the effects. Returns `None` if
    /// the event delivers no message to a running server.
    ///
    /// # Errors
    /// If the step panics.
    fn received(&self, process: &Process, local: &Local) -> Checked<Option<(Raft, Effects)>> {
        let (Some(before), Local::Deliver { envelope, .. }) = (raft_of(process), local) else {
            return Ok(None);
        };
        let (from, message) = (envelope.from, envelope.message.clone());
        let step = || {
            let mut after = before.clone();
            let effects = after.step(Event::Receive { from, message });
            Some((after, effects))
        };
        self.plain
            .watched(process, local, step)
            .map_err(|panic| format!("the step panics: {panic}"))
    }

    /// Requires of a merged restart that it equals a crash followed by a restart, and that a server
    /// which is down is equivalent to a server that has just restarted and is idle.
    ///
    /// # Errors
    /// The difference.
    pub fn is_idle_restart(&self, process: &Process) -> Checked {
        let Some(merged) = self.reduced.local_step(process, &Local::Crash) else {
            return Ok(());
        };
        let crash = self.plain.local_step(process, &Local::Crash);
        let crash = crash.ok_or("the server cannot crash")?;
        let Process::Server(down) = &crash.next else {
            return Err("no server crashed".into());
        };
        if self.plain.local_events(&crash.next) != [Local::Restart] {
            return Err("a server that is down can do more than restart".into());
        }
        let up = self.plain.local_step(&crash.next, &Local::Restart);
        let up = up.ok_or("the server cannot restart")?;
        if merged.next != up.next {
            return Err("the merged restart leads to another process".into());
        }
        if up.cost != Usage::default() || !up.sent.is_empty() || !crash.sent.is_empty() {
            return Err("the restart sends or costs something".into());
        }
        let Process::Server(server) = &up.next else {
            return Err("no server restarted".into());
        };
        if server.disk != down.disk || unsynced(&up.next) > 0 {
            return Err("the restart changes the disk".into());
        }
        if Facet::new(server) != Facet::new(down) {
            return Err("properties see another server after the restart".into());
        }
        let again = self.plain.local_step(&up.next, &Local::Crash);
        if again.is_none_or(|again| again.next != crash.next) {
            return Err("a crash after the restart leaves another disk".into());
        }
        Ok(())
    }

    /// Whether the process lost a hint by `forget_hints`, or may have lost one.
    pub fn forgets_hint(&self, process: &Process) -> bool {
        let is_follower = raft_of(process)
            .is_some_and(|raft| matches!(raft.role, Role::Follower { leader: None, .. }));
        is_follower && !self.reduced.uses_hints()
    }

    /// Requires that an event has the same effects with any hint as without a hint.
    ///
    /// # Errors
    /// The difference.
    pub fn needs_no_hint(&self, process: &Process, local: &Local) -> Checked {
        let without = self.hinted.local_step(process, local).map(self.hintless());
        for hint in self.scope().nodes() {
            let mut hinted = process.clone();
            let Process::Server(server) = &mut hinted else {
                return Ok(());
            };
            if server.id == hint {
                continue;
            }
            if let Some(running) = &mut server.running
                && let Role::Follower { leader, .. } = &mut running.raft.role
            {
                *leader = Some(hint);
            }
            let with = self.hinted.local_step(&hinted, local).map(self.hintless());
            if with != without {
                return Err(format!("with the hint {hint} it has another effect"));
            }
        }
        Ok(())
    }

    /// The parts of a step that remain if hints are unused.
    fn hintless(&self) -> impl Fn(LocalStep) -> (Process, Vec<Envelope>, Vec<Observation>, bool) {
        |mut step| {
            if let Process::Server(server) = &mut step.next
                && let Some(running) = &mut server.running
                && let Role::Follower { leader, .. } = &mut running.raft.role
            {
                *leader = None;
            }
            step.sent.sort_unstable();
            (
                step.next,
                step.sent,
                step.observed,
                step.violation.is_some(),
            )
        }
    }

    /// Requires of an eager step that, without any reduction, it changes neither the process nor the
    /// records of properties and budgets, and that it sends the same messages.
    ///
    /// # Errors
    /// The change that the step causes.
    pub fn only_sends(&self, process: &Process, local: &Local, eager: &[Envelope]) -> Checked {
        let step = self.plain.local_step(process, local);
        let step = step.ok_or("the step is not possible without reductions")?;
        if step.next != *process {
            return Err("the eager step changes the process".into());
        }
        if !step.observed.is_empty() || step.cost != Usage::default() || step.violation.is_some() {
            return Err("the eager step is recorded by budgets or properties".into());
        }
        if step.sent != eager {
            return Err("the eager step sends other messages".into());
        }
        Ok(())
    }

    /// Requires that a step commutes with a permutation: the step of the permuted process is the
    /// permuted step.
    ///
    /// # Errors
    /// The difference.
    pub fn commutes(&self, process: &Process, local: &Local, names: &Permutation) -> Checked {
        let renamed = self
            .reduced
            .local_step(&process.relabel(names), &local.relabel(names));
        match (self.reduced.local_step(process, local), renamed) {
            (None, None) => Ok(()),
            (Some(step), Some(mut renamed)) => {
                let mut sent: Vec<_> = step.sent.iter().map(|sent| sent.relabel(names)).collect();
                sent.sort_unstable();
                renamed.sent.sort_unstable();
                let observed = step.observed.iter();
                let observed: Vec<_> = observed.map(|seen| seen.relabel(names)).collect();
                let is_equal = step.next.relabel(names) == renamed.next
                    && sent == renamed.sent
                    && observed == renamed.observed
                    && step.cost == renamed.cost
                    && step.violation.is_some() == renamed.violation.is_some();
                is_equal
                    .then_some(())
                    .ok_or_else(|| "the renamed process takes another step".into())
            }
            _ => Err("only one of the two steps is possible".into()),
        }
    }
}

/// A short description of a server.
pub fn described(process: &Process) -> String {
    let Some(server) = process.server() else {
        return format!("{}", process.address());
    };
    let id = server.id;
    let Some(running) = &server.running else {
        return format!("server {id} (down)");
    };
    let raft = &running.raft;
    let role = match &raft.role {
        Role::Follower { .. } => "follower",
        Role::PreCandidate { .. } => "pre-candidate",
        Role::Candidate(_) => "candidate",
        Role::Leader(_) => "leader",
    };
    let terms: Vec<u64> = raft
        .log
        .entries()
        .iter()
        .map(|entry| entry.term.get())
        .collect();
    format!(
        "server {id} ({role} in term {}, entries of terms {terms:?}, commit index {}, pending writes {})",
        raft.current_term,
        raft.commit_index,
        running.unsynced.len()
    )
}

/// The event that delivers a message to a server.
fn delivery(envelope: &Envelope) -> Local {
    Local::Deliver {
        envelope: envelope.clone(),
        ask: None,
    }
}

fn raft_of(process: &Process) -> Option<&Raft> {
    Some(&process.server()?.running.as_ref()?.raft)
}

fn disk_of(process: &Process) -> Option<&Durable> {
    process.server().map(|server| &server.disk)
}

fn unsynced(process: &Process) -> usize {
    let running = process.server().and_then(|server| server.running.as_ref());
    running.map_or(0, |running| running.unsynced.len())
}

/// The first part that differs.
fn difference(one: &Raft, other: &Raft) -> &'static str {
    if one.current_term != other.current_term {
        "its term"
    } else if one.voted_for != other.voted_for {
        "its vote"
    } else if one.log != other.log {
        "its log"
    } else if one.commit_index != other.commit_index {
        "its commit index"
    } else if one.role != other.role {
        "its role"
    } else if one.durable_index != other.durable_index {
        "its durable index"
    } else if one.held != other.held {
        "what waits for its disk"
    } else {
        "its store"
    }
}
