//! Obligations of `merge_syncs`: while a write is pending, its server reveals nothing that depends on
//! it.

use super::{Checked, Obligations, delivery, difference, disk_of, raft_of, unsynced};
use crate::{
    Address, AppendEntriesRequest, AppendOutcome, Envelope, Flow, LogIndex, Message, Role,
    raft::Progress,
    system::{
        process::{Local, LocalStep, Process},
        properties::history::Observation,
        relevance::refusal_term,
    },
};
use alloc::{format, sync::Arc, vec::Vec};

/// A step whose write was merged.
#[derive(Clone, Debug)]
pub struct MergedStep {
    /// The event.
    pub cause: Local,
    /// The process before the step.
    pub before: Arc<Process>,
    /// The process with its write pending.
    pub pending: Arc<Process>,
    /// The process with its write durable.
    pub merged: Arc<Process>,
    /// The observations of the step and of the merged syncs.
    observed: Observed,
}

/// The observations of steps, in two orders of the same events.
#[derive(Clone, Debug)]
struct Observed {
    /// With a late sync.
    late: Vec<Observation>,
    /// With an immediate sync.
    early: Vec<Observation>,
}

/// An event while a write is pending, compared with the same event once the write is durable. It does not
/// depend on the step that made the write.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    local: Local,
    /// The messages that the event sends while the write is pending.
    sent: Vec<Envelope>,
    /// The messages that explain these in scopes without crashes: those of the event once the write is
    /// durable.
    sent_early: Vec<Envelope>,
    /// The comparison of the two orders of the event and the sync; `None` if the event only sends.
    orders: Option<Checked<Orders>>,
}

/// The two orders of an event and a sync, which lead to the same process.
#[derive(Clone, Debug)]
struct Orders {
    observed: Observed,
    /// Whether only the order with a late sync violates a property.
    violates: bool,
}

impl Obligations {
    /// The step with its write pending and with its write merged. Returns `None` if no write was merged.
    pub fn merged_step(&self, before: &Arc<Process>, local: &Local) -> Option<MergedStep> {
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
            before: Arc::clone(before),
            pending: Arc::new(pending.next),
            merged: Arc::new(merged.next),
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
        let mut synced = Process::clone(&step.pending);
        while synced != *step.merged {
            let sync = self.plain.local_step(&synced, &Local::Sync);
            let sync = sync.ok_or("the late sync leads to another process")?;
            synced = sync.next;
        }
        Ok(())
    }

    /// The step of an event once the write is durable.
    pub fn durable_step(&self, merged: &Process, local: &Local) -> Option<LocalStep> {
        self.plain.local_step(merged, local)
    }

    /// An event while a write is pending. `early` returns the step of the same event once the write is
    /// durable ([`Self::durable_step`]). Returns `None` if the event has no effect, or is the sync itself
    /// or a crash: then it reveals nothing.
    pub fn pending_event<'s>(
        &self,
        pending: &Process,
        local: &Local,
        early: impl FnOnce() -> Option<&'s LocalStep>,
    ) -> Option<PendingEvent> {
        if matches!(local, Local::Sync | Local::Crash) || self.is_ignored(pending, local) {
            return None;
        }
        let late = self.plain.local_step(pending, local)?;
        let only_sends =
            late.next == *pending && late.observed.is_empty() && late.violation.is_none();
        if only_sends && late.sent.is_empty() {
            return None;
        }
        let never_crashes = self.scope().budget.crashes.is_never();
        let early = (!only_sends || never_crashes).then(early).flatten();
        let explains = early.filter(|_| never_crashes);
        Some(PendingEvent {
            local: local.clone(),
            sent_early: explains.map_or_else(Vec::new, |early| early.sent.clone()),
            sent: late.sent.clone(),
            orders: (!only_sends).then(|| self.compare_orders(pending, late, early)),
        })
    }

    /// Compares an event followed by the sync with the sync followed by the event.
    ///
    /// # Errors
    /// The difference, if the two lead to different processes.
    fn compare_orders(
        &self,
        pending: &Process,
        late: LocalStep,
        early: Option<&LocalStep>,
    ) -> Checked<Orders> {
        let early = early.ok_or("the event cannot happen once the write is durable")?;
        let synced = self.synced(late.next, unsynced(pending));
        if synced.process != early.next {
            let differs = match (raft_of(&synced.process), raft_of(&early.next)) {
                (Some(late), Some(early)) => difference(late, early),
                _ => "the server",
            };
            return Err(format!(
                "the order of the event and the sync matters: {differs} differs"
            ));
        }
        let is_violated_late = synced.violates || late.violation.is_some();
        Ok(Orders {
            observed: Observed {
                late: late.observed.into_iter().chain(synced.observed).collect(),
                early: early.observed.clone(),
            },
            violates: is_violated_late && early.violation.is_none(),
        })
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
        event: &PendingEvent,
        mut without: impl FnMut(&Envelope) -> bool,
        mut is_equal: impl FnMut(&Envelope, &Envelope),
    ) -> Checked {
        if !event.sent.is_empty() {
            self.is_explained(step, event, &mut without, &mut is_equal)?;
        }
        let Some(orders) = &event.orders else {
            return Ok(());
        };
        let Orders { observed, violates } = orders.as_ref().map_err(Clone::clone)?;
        let sorted = |first: &[Observation], then: &[Observation]| {
            let mut all = [first, then].concat();
            all.sort_unstable();
            all
        };
        let late = sorted(&step.observed.late, &observed.late);
        if late != sorted(&step.observed.early, &observed.early) {
            return Err(
                "the recorded observations depend on the order of the event and the sync".into(),
            );
        }
        if *violates {
            return Err("the event violates a property only while the write is pending".into());
        }
        Ok(())
    }

    /// Requires that each message sent while the write is pending could be sent without the step, or has
    /// no effect.
    fn is_explained(
        &self,
        step: &MergedStep,
        event: &PendingEvent,
        without: &mut impl FnMut(&Envelope) -> bool,
        is_equal: &mut impl FnMut(&Envelope, &Envelope),
    ) -> Checked {
        let never = self.plain.local_step(&step.before, &event.local);
        let never = never.filter(|never| disk_of(&never.next) == disk_of(&step.before));
        let never = never.map_or_else(Vec::new, |never| never.sent);
        for sent in &event.sent {
            // Any message with the same term has the effect of the refusal.
            let is_refusal_with_its_term = |other: &Envelope| {
                other.to == sent.to
                    && !matches!(other.message, Message::PreVoteRequest(_))
                    && refusal_term(&sent.message) == Some(other.message.sender_term())
            };
            let is_explained = never.contains(sent)
                || event.sent_early.contains(sent)
                || never.iter().any(is_refusal_with_its_term)
                || is_old_refusal(&event.local, sent)
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
        let (Some(before), Ok(Some((mut after, effects)))) =
            (raft_of(process), self.received(process, local))
        else {
            return false;
        };
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
        let Ok(Some((_, effects))) = self.received(&step.before, &delivery(&heartbeat)) else {
            return false;
        };
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
    fn synced(&self, process: Process, writes: usize) -> Synced {
        let mut synced = Synced {
            process,
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
}

/// A process after some syncs.
struct Synced {
    process: Process,
    observed: Vec<Observation>,
    /// Whether a property was violated on the way.
    violates: bool,
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

/// The leader's replication progress for a server.
fn progress_of(process: &Process, server: Address) -> Option<&Progress> {
    match (&raft_of(process)?.role, server) {
        (Role::Leader(leader), Address::Node(id)) => leader.followers.get(&id),
        _ => None,
    }
}
