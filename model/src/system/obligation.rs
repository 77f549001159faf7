//! Obligations: the assumptions of each reduction about the protocol, as code.
//!
//! A reduction leaves out behavior because a rule of the protocol implies that no violation is lost.
//! This module checks the rule: on the real code, for every process and message that a search reaches.
//! The search decides *where* to check (`checker/src/engine/obligations.rs`). This module defines the
//! *condition* that must hold there. `docs/reductions.md` explains the arguments.

use super::{
    process::{Local, LocalStep, Process, Server},
    properties::{history::Observation, pair::Facet},
    reduction::Reduction,
    relabel::{Relabel, Relabelling},
    relevance::refusal_term,
    scope::{Budget, Scope},
    transition_system::TransitionSystem,
};
use crate::{
    Address, AppendEntriesRequest, AppendOutcome, Durable, Effects, Envelope, Event, Flow,
    LogIndex, Message, Raft, RequestVoteResponse, Role, Term, raft::Progress,
};
use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
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
        "steps commute with renaming servers, and renamed states have one canonical form";
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

/// A step whose write was merged.
#[derive(Clone, Debug)]
pub struct MergedStep {
    /// The event.
    pub cause: Local,
    /// The process before the step.
    pub before: Process,
    /// The process with its write pending.
    pub pending: Process,
    /// The process with its write durable.
    pub merged: Process,
    /// The observations of the step and of the merged syncs.
    observed: Observed,
}

/// The observations of steps, in two orders of the same events.
#[derive(Clone, Debug, Default)]
struct Observed {
    /// With a late sync.
    late: Vec<Observation>,
    /// With an immediate sync.
    early: Vec<Observation>,
}

type Checked<T = ()> = Result<T, String>;

impl Obligations {
    /// The obligations of a scope.
    pub fn new(scope: &Scope) -> Self {
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
            plain: TransitionSystem::new(without(Reduction {
                forget_hints: scope.reduction.forget_hints,
                ..Reduction::NONE
            })),
            hinted: TransitionSystem::new(hinted),
            reduced: TransitionSystem::new(scope.clone()),
        }
    }

    fn scope(&self) -> &Scope {
        self.reduced.scope()
    }

    /// Requires that a message does not change its receiver, and returns the responses. Each carries the
    /// receiver's term.
    ///
    /// # Errors
    /// The change that the message causes.
    pub fn has_no_effect(
        &self,
        receiver: &Process,
        envelope: &Envelope,
    ) -> Checked<Vec<ObservedResponse>> {
        match receiver {
            Process::Server(server) => self.server_ignores(server, envelope),
            Process::Proxy(_) | Process::Client(_) => {
                for local in self.plain.deliveries(envelope) {
                    if let Some(step) = self.plain.local_step(receiver, &local)
                        && (!step.only_sends(receiver) || !step.sent.is_empty())
                    {
                        return Err("it has an effect".into());
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    fn server_ignores(
        &self,
        server: &Server,
        envelope: &Envelope,
    ) -> Checked<Vec<ObservedResponse>> {
        let Some(running) = &server.running else {
            return Ok(Vec::new());
        };
        let before = &running.raft;
        let (mut after, effects) = received(before, envelope);
        if effects.write.is_some() {
            return Err("it causes a write".into());
        }
        // A response may wait for a write that is pending already.
        let (held, known) = (&after.held, &before.held);
        let new = held.iter().filter(|held| !known.contains(held));
        let responses: Vec<Envelope> = new
            .map(|held| held.envelope.clone())
            .chain(effects.sends)
            .filter(|sent| self.reaches_network(sent))
            .collect();
        let waits = |raft: &Raft| {
            let mut held = raft.held.iter();
            held.any(|held| held.envelope.to == envelope.from)
        };
        // The response may replace an earlier held message to the same receiver: that message is lost,
        // which can happen to any message.
        let others = |raft: &Raft| {
            let held = raft.held.iter();
            let held = held.filter(|held| held.envelope.to != envelope.from);
            held.cloned().collect::<Vec<_>>()
        };
        if others(&after) != others(before) {
            return Err("it changes what waits for the disk".into());
        }
        after.held.clone_from(&before.held);
        self.forget_unused_hint(&mut after);
        if after != *before {
            return Err(format!(
                "it changes the server: {}",
                difference(before, &after)
            ));
        }
        let mut found = Vec::new();
        if responses.is_empty() && waits(&after) {
            // A response that waits already covers the new one.
            return Ok(vec![ObservedResponse::Waits]);
        }
        for sent in responses {
            let message = &sent.message;
            if sent.to != envelope.from {
                return Err(format!("it causes a message to {}", sent.to));
            }
            let response = if refusal_term(message) == Some(before.current_term) {
                ObservedResponse::Refusal
            } else if is_repeated_vote(server, envelope.from, message) {
                ObservedResponse::Repeated
            } else if message.sender_term() == before.current_term {
                ObservedResponse::Other(message.clone())
            } else {
                return Err(format!("the response {message:?} carries another term"));
            };
            found.push(response);
        }
        Ok(found)
    }

    /// Whether a message enters the network. The responses to direct clients are observed, not sent, and
    /// some scopes exclude AppendEntries.
    fn reaches_network(&self, sent: &Envelope) -> bool {
        let is_append = matches!(sent.message, Message::AppendEntriesRequest(_));
        self.scope().append_entries || !is_append
    }

    fn forget_unused_hint(&self, raft: &mut Raft) {
        if !self.plain.uses_hints()
            && let Role::Follower { leader, .. } = &mut raft.role
        {
            *leader = None;
        }
    }

    /// Requires that two messages have equal effects on a process.
    ///
    /// # Errors
    /// The difference between the effects.
    pub fn have_equal_effects(
        &self,
        receiver: &Process,
        one: &Envelope,
        other: &Envelope,
    ) -> Checked {
        let Some(running) = receiver.server().and_then(|server| server.running.as_ref()) else {
            return Ok(());
        };
        let (one_after, mut one_effects) = received(&running.raft, one);
        let (other_after, mut other_effects) = received(&running.raft, other);
        if one_after != other_after {
            let differs = difference(&one_after, &other_after);
            return Err(format!("the server differs afterwards: {differs}"));
        }
        if one_effects.write != other_effects.write {
            return Err("the writes differ".into());
        }
        one_effects.sends.sort_unstable();
        other_effects.sends.sort_unstable();
        if one_effects.sends != other_effects.sends {
            return Err("the messages sent differ".into());
        }
        Ok(())
    }

    /// The refusal that represents all refusals with this term.
    pub fn plain_refusal(term: Term) -> Message {
        Message::RequestVoteResponse(RequestVoteResponse {
            term,
            vote_granted: false,
        })
    }

    /// Requires that the process is not beyond the last term of the scope.
    ///
    /// # Errors
    /// The term.
    pub fn is_in_terms(&self, process: &Process) -> Checked {
        let term = process.server().map(|server| match &server.running {
            Some(running) => running.raft.current_term,
            None => server.disk.hard_state.current_term,
        });
        match term {
            Some(term) if term > self.scope().last_term() => {
                Err(format!("term {term} is beyond the last term of the scope"))
            }
            _ => Ok(()),
        }
    }

    /// The step with its write pending and with its write merged. Returns `None` if no write was merged.
    pub fn merged_step(&self, before: &Process, local: &Local) -> Option<MergedStep> {
        if !self.scope().reduction.merge_syncs || *local == Local::Crash {
            return None;
        }
        let pending = self.plain.local_step(before, local)?;
        if unsynced(&pending.next) == 0 {
            return None;
        }
        let merged = self.reduced.local_step(before, local)?;
        (merged.next != pending.next).then(|| MergedStep {
            cause: local.clone(),
            before: before.clone(),
            pending: pending.next,
            merged: merged.next,
            observed: Observed {
                late: pending.observed,
                early: merged.observed,
            },
        })
    }

    /// Requires of a merged step that a crash before the sync leaves the same disk as a crash before the
    /// step, and that the sync leads to the merged process.
    ///
    /// # Errors
    /// The remaining difference.
    pub fn is_lost_without_trace(&self, step: &MergedStep) -> Checked {
        if disk_of(&step.pending) != disk_of(&step.before) {
            return Err("the step is on the disk before its sync".into());
        }
        // The sync may cause another write: a candidate without peers becomes leader when its vote is
        // durable.
        let mut synced = step.pending.clone();
        while synced != step.merged {
            let sync = self.plain.local_step(&synced, &Local::Sync);
            let sync = sync.ok_or("the late sync leads to another process")?;
            synced = sync.next;
        }
        Ok(())
    }

    /// Requires that an event while the merged write is pending reveals no information about the write.
    /// `without` returns whether the process could send a message without the step. `is_equal` records a
    /// message that its receiver, which caused the step, must not be able to distinguish from a conflict
    /// that the process sends without the step.
    ///
    /// # Errors
    /// The information that is revealed.
    pub fn reveals_nothing(
        &self,
        step: &MergedStep,
        local: &Local,
        mut without: impl FnMut(&Envelope) -> bool,
        mut is_equal: impl FnMut(&Envelope, &Envelope),
    ) -> Checked {
        if matches!(local, Local::Sync | Local::Crash) || self.is_ignored(&step.pending, local) {
            return Ok(());
        }
        let Some(late) = self.plain.local_step(&step.pending, local) else {
            return Ok(());
        };
        if !late.sent.is_empty() {
            self.is_explained(step, local, &late.sent, &mut without, &mut is_equal)?;
        }
        if late.next == step.pending && late.observed.is_empty() && late.violation.is_none() {
            return Ok(());
        }
        let Some(early) = self.plain.local_step(&step.merged, local) else {
            return Err("the event cannot happen once the write is durable".into());
        };
        let synced = self.synced(&late.next, unsynced(&step.pending));
        if synced.process != early.next {
            let differs = match (raft_of(&synced.process), raft_of(&early.next)) {
                (Some(late), Some(early)) => difference(late, early),
                _ => "the server",
            };
            return Err(format!(
                "the order of the event and the sync matters: {differs} differs"
            ));
        }
        let Observed {
            late: mut seen_late,
            early: mut seen_early,
        } = step.observed.clone();
        seen_late.extend(late.observed.into_iter().chain(synced.observed));
        seen_early.extend(early.observed);
        seen_late.sort_unstable();
        seen_early.sort_unstable();
        if seen_late != seen_early {
            return Err(
                "the recorded observations depend on the order of the event and the sync".into(),
            );
        }
        if (synced.violates || late.violation.is_some()) && early.violation.is_none() {
            return Err("the event violates a property only while the write is pending".into());
        }
        Ok(())
    }

    /// Requires that each message sent while the write is pending could be sent without the step, or has
    /// no effect.
    fn is_explained(
        &self,
        step: &MergedStep,
        local: &Local,
        sent: &[Envelope],
        without: &mut impl FnMut(&Envelope) -> bool,
        is_equal: &mut impl FnMut(&Envelope, &Envelope),
    ) -> Checked {
        let never = self.plain.local_step(&step.before, local);
        let never = never.filter(|never| disk_of(&never.next) == disk_of(&step.before));
        let never = never.map_or_else(Vec::new, |never| never.sent);
        let early = match self.scope().budget.crashes {
            0 => self.plain.local_step(&step.merged, local),
            _ => None,
        };
        let early = early.map_or_else(Vec::new, |early| early.sent);
        for sent in sent {
            // Any message with the same term has the effect of the refusal.
            let is_refusal_with_its_term = |other: &Envelope| {
                other.to == sent.to
                    && !matches!(other.message, Message::PreVoteRequest(_))
                    && refusal_term(&sent.message) == Some(other.message.sender_term())
            };
            let is_explained = never.contains(sent)
                || early.contains(sent)
                || never.iter().any(is_refusal_with_its_term)
                || is_old_refusal(local, sent)
                || self.answers_heartbeat(step, sent)
                || (!is_acknowledgement(&sent.message) && without(sent));
            if is_explained {
                continue;
            }
            let conflict = never.iter().find(|other| {
                other.to == sent.to && is_conflict(&other.message) && is_conflict(&sent.message)
            });
            match conflict {
                Some(conflict) if is_caused_by(step, sent.to) => is_equal(sent, conflict),
                _ => {
                    let (to, message) = (sent.to, &sent.message);
                    return Err(format!(
                        "while the write is pending it sends {message:?} to {to}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether a server neither changes nor sends anything. Cheaper than a whole step.
    fn is_ignored(&self, process: &Process, local: &Local) -> bool {
        let (Some(before), Local::Deliver { envelope, .. }) = (raft_of(process), local) else {
            return false;
        };
        let (mut after, effects) = received(before, envelope);
        self.forget_unused_hint(&mut after);
        effects.write.is_none() && effects.sends.is_empty() && after == *before
    }

    /// Whether a message is the acknowledgment of a heartbeat that the process could give before the
    /// merged step, without any change. The heartbeat is the request that caused the step, without the
    /// entries that are new to the process. If the process has none of the request's entries, the leader
    /// could send that heartbeat beside the request ([`Self::can_be_probed`]).
    fn answers_heartbeat(&self, step: &MergedStep, sent: &Envelope) -> bool {
        let (Some(before), Message::AppendEntriesResponse(response)) =
            (raft_of(&step.before), &sent.message)
        else {
            return false;
        };
        let AppendOutcome::Matched { match_index } = response.outcome else {
            return false;
        };
        let Local::Deliver { envelope, .. } = &step.cause else {
            return false;
        };
        let Message::AppendEntriesRequest(request) = &envelope.message else {
            return false;
        };
        if (envelope.from, request.term) != (sent.to, response.term) {
            return false;
        }
        let mut at = request.prev_log_index;
        for entry in &request.entries {
            if at >= match_index || before.log.term_at(at.next()) != Some(entry.term) {
                break;
            }
            at = at.next();
        }
        let prev_log_term = before.log.term_at(at).unwrap_or(request.prev_log_term);
        let heartbeat = Envelope {
            message: Message::AppendEntriesRequest(AppendEntriesRequest {
                prev_log_index: at,
                prev_log_term,
                entries: Vec::new(),
                leader_commit: LogIndex::ZERO,
                read_round: response.read_round,
                ..request.clone()
            }),
            ..envelope.clone()
        };
        let (_, effects) = received(before, &heartbeat);
        effects.write.is_none()
            && effects.sends.iter().any(|answer| match &answer.message {
                Message::AppendEntriesResponse(answer) => {
                    let is_as_high = matches!(answer.outcome,
                        AppendOutcome::Matched { match_index: at } if at >= match_index);
                    is_as_high
                        && (answer.term, answer.read_round) == (response.term, response.read_round)
                }
                _ => false,
            })
    }

    /// Requires of a leader that sends entries to a server that it could also send a heartbeat at the
    /// entry before them, before or after the step. It is also sufficient that another request of the
    /// same step ends at that entry, that the last request in the pipeline ends there, or that the
    /// server has acknowledged that entry.
    ///
    /// # Errors
    /// If none of these holds.
    pub fn can_be_probed(
        &self,
        before: &Process,
        after: &Process,
        sent: &Envelope,
        others: &[Envelope],
    ) -> Checked {
        let Message::AppendEntriesRequest(request) = &sent.message else {
            return Ok(());
        };
        let is_probe = |other: &Envelope| match &other.message {
            Message::AppendEntriesRequest(other_request) => {
                let last = other_request.entries.len() as u64;
                other.to == sent.to
                    && other_request.term == request.term
                    && other_request.prev_log_index.plus(last) == request.prev_log_index
            }
            _ => false,
        };
        let probes = |process: &Process| {
            let step = self.plain.local_step(process, &Local::HeartbeatTimeout);
            step.is_some_and(|step| step.next == *process && step.sent.iter().any(is_probe))
        };
        let prev = request.prev_log_index;
        let is_acknowledged = progress_of(after, sent.to).is_some_and(|it| it.match_index >= prev);
        let is_in_flight = progress_of(before, sent.to).is_some_and(|it| {
            it.flow == Flow::Pipeline && it.in_flight() > 0 && it.next_index.prev() == prev
        });
        if is_acknowledged
            || is_in_flight
            || others.iter().any(is_probe)
            || probes(after)
            || probes(before)
        {
            return Ok(());
        }
        Err("it sends entries, but no heartbeat at the entry before them".into())
    }

    /// The process after its first `writes` are durable.
    fn synced(&self, process: &Process, writes: usize) -> Synced {
        let mut synced = Synced {
            process: process.clone(),
            observed: Vec::new(),
            violates: false,
        };
        for _ in 0..writes {
            let Some(step) = self.plain.local_step(&synced.process, &Local::Sync) else {
                break;
            };
            synced.violates |= step.violation.is_some();
            synced.observed.extend(step.observed);
            synced.process = step.next;
        }
        synced
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
        if up.cost != Budget::default() || !up.sent.is_empty() || !crash.sent.is_empty() {
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
        if !step.observed.is_empty() || step.cost != Budget::default() || step.violation.is_some() {
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
    pub fn commutes(&self, process: &Process, local: &Local, names: &Relabelling) -> Checked {
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

/// A process after some syncs.
struct Synced {
    process: Process,
    observed: Vec<Observation>,
    /// Whether a property was violated on the way.
    violates: bool,
}

/// A response to a message that does not change its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedResponse {
    /// It carries only the term of the receiver.
    Refusal,
    /// It carries more than the term.
    Other(Message),
    /// It repeats a vote that was sent when it became durable.
    Repeated,
    /// It is covered by a response that waits for the disk.
    Waits,
}

/// The part of a leader's log that a request reveals, where the receiver agrees with it.
///
/// The same process occurs in different runs, with different leaders. Two requests of one term that
/// contradict each other do not occur in the same run: a term has one leader (Election Safety), and a
/// leader only appends (Leader Append-Only). The search checks both properties in every state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaderLog {
    term: Term,
    /// The terms of the entries, by index.
    terms: BTreeMap<LogIndex, Term>,
}

impl LeaderLog {
    /// The part that a request reveals to this receiver. Returns `None` for other messages, and for
    /// requests of terms that the receiver has durably left.
    pub fn shown_to(receiver: &Process, message: &Message) -> Option<Self> {
        let server = receiver.server()?;
        let (term, mut terms) = positions(message)?;
        if term < server.disk.hard_state.current_term {
            return None;
        }
        let log = &server.running.as_ref()?.raft.log;
        let agrees = |(index, term): (&LogIndex, &Term)| log.term_at(*index) == Some(*term);
        let agreed = terms.iter().filter(|position| agrees(*position));
        let last = agreed.map(|(index, _)| *index).max().unwrap_or_default();
        let mut index = log.base().index.max(LogIndex::new(1));
        while index <= last {
            if let Some(term) = log.term_at(index) {
                terms.insert(index, term);
            }
            index = index.next();
        }
        Some(Self { term, terms })
    }

    /// The term of the leader.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether a message cannot occur in a run with this leader. `is_from_leader` states whether the
    /// leader sent it.
    pub fn is_contradicted_by(&self, message: &Message, is_from_leader: bool) -> bool {
        let Some((term, positions)) = positions(message) else {
            return false;
        };
        // Terms never decrease within a log.
        let contradicts = |(index, term): (&LogIndex, &Term)| {
            let before = self.terms.range(..=*index).next_back();
            let after = self.terms.range(*index..).next();
            self.terms.get(index).is_some_and(|known| known != term)
                || before.is_some_and(|(_, known)| known > term)
                || after.is_some_and(|(_, known)| known < term)
        };
        term == self.term && (!is_from_leader || positions.iter().any(contradicts))
    }
}

/// The term of a leader's request, and the positions that it contains.
fn positions(message: &Message) -> Option<(Term, BTreeMap<LogIndex, Term>)> {
    match message {
        Message::AppendEntriesRequest(request) => {
            let mut terms = BTreeMap::new();
            if request.prev_log_index > LogIndex::ZERO {
                terms.insert(request.prev_log_index, request.prev_log_term);
            }
            let mut index = request.prev_log_index;
            for entry in &request.entries {
                index = index.next();
                terms.insert(index, entry.term);
            }
            Some((request.term, terms))
        }
        Message::InstallSnapshotRequest(request) => {
            let last = request.snapshot.last_included();
            Some((request.term, BTreeMap::from([(last.index, last.term)])))
        }
        _ => None,
    }
}

/// Whether a response equals an earlier one, or acknowledges no further entries. Until a pending write
/// is durable, a server may acknowledge less than before.
pub fn says_no_more(response: &Message, earlier: &Message) -> bool {
    let (Message::AppendEntriesResponse(one), Message::AppendEntriesResponse(other)) =
        (response, earlier)
    else {
        return response == earlier;
    };
    match (&one.outcome, &other.outcome) {
        (
            AppendOutcome::Matched {
                match_index: one_index,
            },
            AppendOutcome::Matched {
                match_index: other_index,
            },
        ) => {
            one.term == other.term && one.read_round <= other.read_round && one_index <= other_index
        }
        _ => one == other,
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

fn received(before: &Raft, envelope: &Envelope) -> (Raft, Effects) {
    let mut after = before.clone();
    let (from, message) = (envelope.from, envelope.message.clone());
    let effects = after.step(Event::Receive { from, message });
    (after, effects)
}

fn is_acknowledgement(message: &Message) -> bool {
    matches!(message, Message::AppendEntriesResponse(response)
        if matches!(response.outcome, AppendOutcome::Matched { .. }))
}

fn is_conflict(message: &Message) -> bool {
    matches!(message, Message::AppendEntriesResponse(response)
        if matches!(response.outcome, AppendOutcome::Conflict { .. }))
}

fn is_caused_by(step: &MergedStep, sender: Address) -> bool {
    matches!(&step.cause, Local::Deliver { envelope, .. } if envelope.from == sender)
}

/// Whether a message refuses a request and carries no newer term than the request. The sender of such a
/// request is durably in its term, so the refusal has no effect.
fn is_old_refusal(cause: &Local, sent: &Envelope) -> bool {
    let (Local::Deliver { envelope, .. }, Some(term)) = (cause, refusal_term(&sent.message)) else {
        return false;
    };
    let is_request = matches!(
        envelope.message,
        Message::RequestVoteRequest(_)
            | Message::AppendEntriesRequest(_)
            | Message::InstallSnapshotRequest(_)
    );
    is_request && envelope.from == sent.to && term <= envelope.message.sender_term()
}

/// Whether a response is the vote that this server's disk holds. The server sent it when the vote became
/// durable.
fn is_repeated_vote(server: &Server, candidate: Address, response: &Message) -> bool {
    let held = server.disk.hard_state;
    matches!(response, Message::RequestVoteResponse(response)
        if response.vote_granted
            && response.term == held.current_term
            && held.voted_for.map(Address::Node) == Some(candidate))
}

/// The leader's replication progress for a server.
fn progress_of(process: &Process, server: Address) -> Option<&Progress> {
    match (&raft_of(process)?.role, server) {
        (Role::Leader(leader), Address::Node(id)) => leader.followers.get(&id),
        _ => None,
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
