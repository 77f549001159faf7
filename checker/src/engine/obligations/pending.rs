//! The checks of the steps that lead to one process with a pending write.

use super::{ObligationChecks, checked::Checked, claims::Claim, revealed::Revealed};
use crate::{engine::tables::OWN, explain::words};
use model::{
    Envelope, Message,
    system::{
        Local, LocalStep, Obligation, Process,
        obligation::{LeaderLog, MergedStep, PendingEvent},
    },
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{collections::BTreeSet, sync::OnceLock};

/// The merged steps of a process.
pub(super) struct MergedNode {
    pub(super) node: usize,
    /// The senders and messages of the deliveries to the process.
    pub(super) delivered: BTreeSet<(u8, u32)>,
    /// The messages that the process can send without a write.
    pub(super) sendable: OnceLock<FxHashSet<(usize, u32)>>,
    pub(super) steps: Vec<(WriteCause, MergedStep)>,
}

/// The cause of a pending write.
pub(super) struct WriteCause {
    pub(super) from: u8,
    pub(super) message: u32,
    /// The part of the leader's log that the message reveals.
    pub(super) log: Option<LeaderLog>,
}

/// The steps of a process with its write durable, by the event.
pub(super) type DurableSteps = FxHashMap<Local, Option<LocalStep>>;

/// A process with a pending write, and the results that do not depend on the step that made the write.
pub(super) struct PendingChecks<'a> {
    checks: &'a ObligationChecks<'a>,
    pending: &'a Process,
    /// The process with the write durable.
    merged: &'a Process,
    /// The senders and messages of the deliveries to the process with the write durable.
    delivered: &'a BTreeSet<(u8, u32)>,
    durable_steps: &'a mut DurableSteps,
    /// By the sender's process index and the message; [`OWN`] for the other events.
    events: FxHashMap<(u8, u32), Vec<KnownEvent>>,
    claims: FxHashMap<Claim, (Obligation, Envelope, Result<(), String>)>,
}

struct KnownEvent {
    local: Local,
    /// The comparison, once a step needs it.
    compared: Option<Option<PendingEvent>>,
}

impl<'a> PendingChecks<'a> {
    /// The checks of the steps that lead to the same pending process, and durable process, as this one.
    pub(super) fn new(
        checks: &'a ObligationChecks<'a>,
        step: &'a MergedStep,
        delivered: &'a BTreeSet<(u8, u32)>,
        durable_steps: &'a mut DurableSteps,
    ) -> Self {
        Self {
            checks,
            pending: &step.pending,
            merged: &step.merged,
            delivered,
            durable_steps,
            events: FxHashMap::default(),
            claims: FxHashMap::default(),
        }
    }

    /// Checks the claims of the process before a step while its write is pending.
    pub(super) fn examine_claims(
        &mut self,
        node: &MergedNode,
        cause: &WriteCause,
        checked: &mut Checked,
    ) {
        let (checks, pending) = (self.checks, self.pending);
        for &claim in &checks.nodes[node.node].claims {
            let (from, message) = claim.message();
            // The claim knows the leader's log where the process agreed with it. The message alone shows
            // less, and the process does not agree with it any more once the write replaced these entries.
            let is_excluded = excludes(cause, from, &checks.tables.message(message))
                || checks.is_contradicted(claim, (cause.from, cause.message));
            if is_excluded {
                continue;
            }
            let verdict = self.claims.entry(claim);
            let verdict = verdict.or_insert_with(|| checks.check_claim(pending, claim));
            let (obligation, envelope, verdict) = &*verdict;
            let event = || words::received(envelope);
            checked.record(*obligation, pending, event, verdict.clone());
        }
    }

    /// Checks each event that may occur before the sync of a step: the events of the process without the
    /// step, and those with the write durable.
    pub(super) fn check_events(
        &mut self,
        node: &MergedNode,
        cause: &WriteCause,
        step: &MergedStep,
        checked: &mut Checked,
        revealed: &mut BTreeSet<Revealed>,
    ) {
        let checks = self.checks;
        let is_sendable = |sent: &Envelope| {
            let known = node.sendable.get_or_init(|| checks.sendable(node.node));
            let message = checks.tables.find_message(&sent.message);
            let index = checks.tables.layout().index_of(sent.to);
            matches!((index, message), (Some(index), Some(message))
                if known.contains(&(index, message)))
        };
        let mut is_equal = |sent: &Envelope, other: &Envelope| {
            revealed.insert(Revealed {
                node: node.node as u32,
                from: cause.from,
                request: cause.message,
                one: sent.message.clone(),
                other: other.message.clone(),
            });
        };
        let delivered = node.delivered.union(self.delivered);
        for &(from, message) in [(0, OWN)].iter().chain(delivered) {
            let events = self.events.entry((from, message));
            let events =
                events.or_insert_with(|| known_events(checks, self.pending, from, message));
            for KnownEvent { local, compared } in events {
                if matches!(local, Local::Deliver { envelope, .. }
                    if excludes(cause, from, &envelope.message))
                {
                    continue;
                }
                let compared = compared.get_or_insert_with(|| {
                    let (merged, known) = (self.merged, &mut *self.durable_steps);
                    checks.obligations.pending_event(self.pending, local, || {
                        durable_step(checks, merged, local, known)
                    })
                });
                let verdict = compared.as_ref().map_or(Ok(()), |event| {
                    let obligations = &checks.obligations;
                    obligations.reveals_nothing(step, event, is_sendable, &mut is_equal)
                });
                let event = || {
                    let (event, cause) = (words::event(local), words::event(&step.cause));
                    format!("{event} after {cause}")
                };
                checked.record(Obligation::MergedSyncs, self.pending, event, verdict);
            }
        }
    }
}

/// The step of a process with its write durable, which several pending processes lead to.
fn durable_step<'s>(
    checks: &ObligationChecks<'_>,
    merged: &Process,
    local: &Local,
    known: &'s mut DurableSteps,
) -> Option<&'s LocalStep> {
    let step = known.entry(local.clone());
    let step = step.or_insert_with(|| checks.obligations.durable_step(merged, local));
    step.as_ref()
}

/// The events of a pending process that deliver a message, or its own events.
fn known_events(
    checks: &ObligationChecks<'_>,
    pending: &Process,
    from: u8,
    message: u32,
) -> Vec<KnownEvent> {
    let locals = if message == OWN {
        checks.tables.transitions().local_events(pending)
    } else {
        checks.tables.locals(pending, from.into(), message)
    };
    let events = locals.into_iter().map(|local| KnownEvent {
        local,
        compared: None,
    });
    events.collect()
}

/// Whether no run has both this cause and this message.
fn excludes(cause: &WriteCause, from: u8, message: &Message) -> bool {
    let log = cause.log.as_ref();
    log.is_some_and(|log| log.is_contradicted_by(message, from == cause.from))
}
