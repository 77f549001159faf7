//! Merged writes: while one is pending, the process must behave as if the write were lost or durable.
//!
//! These checks need the complete tables, so they run at the end of the search.

use super::{
    ObligationChecks, ProcessNode,
    checked::Checked,
    claims::{Claim, NO_LOG},
};
use crate::engine::tables::OWN;
use crate::explain::words;
use model::{
    Envelope, Message,
    system::{
        Local, Obligation, Process,
        obligation::{LeaderLog, MergedStep},
    },
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The cause of a pending write.
struct WriteCause {
    from: u8,
    message: u32,
    /// The part of the leader's log that the message reveals.
    log: Option<LeaderLog>,
    local: Local,
}

/// A message that a process sends while a merged write is pending, and the message that it sends without
/// the write. They must have equal effects on the sender of the request that caused the write, from then
/// on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Revealed {
    node: u32,
    from: u8,
    request: u32,
    one: Message,
    other: Message,
}

impl ObligationChecks<'_> {
    /// Checks the obligations that need the complete tables.
    pub(crate) fn finish(&mut self, threads: usize) {
        self.advance();
        let nodes = 0..self.nodes.len();
        let merged: Vec<usize> = nodes
            .filter(|node| !self.nodes[*node].merged.is_empty())
            .collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut checked = Checked::default();
            let mut revealed = FxHashSet::default();
            while let Some(node) = merged.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.is_interrupted() {
                    break;
                }
                self.check_merged(*node, &mut checked, &mut revealed);
            }
            (checked, revealed)
        };
        let found: Vec<(Checked, FxHashSet<Revealed>)> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut found = vec![work()];
            for other in others {
                // A panic is a fault of the checker, so there must be no verdict.
                found.push(other.join().unwrap_or_else(|_| std::process::abort()));
            }
            found
        });
        let mut revealed = FxHashSet::default();
        for (checked, more) in found {
            self.checked.add(checked);
            revealed.extend(more);
        }
        if !revealed.is_empty() {
            self.claim_revealed(&revealed);
        }
        self.examine_open();
    }

    /// Claims that pairs of messages have equal effects on the sender of a request, once it is sent.
    fn claim_revealed(&mut self, revealed: &FxHashSet<Revealed>) {
        let tables = self.tables;
        let delivered = tables.delivered_since(0);
        // The original request of each trimmed request.
        let mut complete: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        // By the request, the process after sending it, the receiver's process index, and the sender's.
        let mut senders: FxHashMap<u32, FxHashSet<(u32, u8, u8)>> = FxHashMap::default();
        for (process, sender, message) in delivered {
            let delivery = tables.delivery(process, sender, message);
            if delivery.trimmed != message {
                complete.entry(delivery.trimmed).or_default().push(message);
            }
            let steps = delivery.steps.iter().map(|step| (step.next, &step.sends));
            for (next, sends) in steps.chain([(process, &delivery.eager)]) {
                let own = tables.index_of(&tables.process(next)) as u8;
                for (to, channel) in sends {
                    for sent in tables.messages(*channel).iter() {
                        if tables.is_leaders_request(*sent) {
                            let known = senders.entry(*sent).or_default();
                            known.insert((next, *to as u8, own));
                        }
                    }
                }
            }
        }
        for one in revealed {
            let receiver = tables.index_of(&self.nodes[one.node as usize].process);
            let pair = [&one.one, &one.other].map(|message| tables.message_id(message.clone()));
            let mut sources = BTreeSet::new();
            let mut open = vec![one.request];
            while let Some(request) = open.pop() {
                if sources.insert(request) {
                    open.extend(complete.get(&request).into_iter().flatten());
                }
            }
            let before = self.open.len();
            for permutation in 0..self.permutations.count() {
                let back = self.permutations.inverse(permutation);
                let at = |index: usize| self.permutations.image(back, index) as u8;
                let ends = (at(receiver), at(one.from.into()));
                for source in &sources {
                    let source = tables.permuted_message(*source, back);
                    let known = senders.get(&source).into_iter().flatten();
                    for (next, to, _) in known.filter(|(_, to, own)| (*to, *own) == ends) {
                        let (first, named) = tables.first_of(*next);
                        let Some(node) = self.numbers.get(&first) else {
                            continue;
                        };
                        let inverse = self.permutations.inverse(named as usize);
                        let [one, other] = pair.map(|message| {
                            let message = tables.permuted_message(message, back);
                            tables.permuted_message(message, inverse)
                        });
                        let claim = Claim::Equal {
                            of: Obligation::MergedSyncs,
                            from: self.permutations.image(inverse, (*to).into()) as u8,
                            one,
                            other,
                            log: NO_LOG,
                        };
                        self.open.push((*node, claim));
                    }
                }
            }
            let is_sent = self.open.len() > before;
            let sent = is_sent.then_some(());
            let sent = sent.ok_or_else(|| "the search knows no sender of the request".into());
            let state = Arc::clone(&self.nodes[one.node as usize].process);
            let event = || words::message(&tables.message(one.request));
            self.note(Obligation::MergedSyncs, &state, event, sent);
        }
    }

    /// Checks all merged steps of a process, with each event that may occur before the sync.
    fn check_merged(&self, node: usize, checked: &mut Checked, revealed: &mut FxHashSet<Revealed>) {
        let ProcessNode {
            process: state,
            merged,
            ..
        } = &self.nodes[node];
        let mut sendable = None;
        for &(from, message) in merged {
            for local in self.tables.locals(state, from.into(), message) {
                let Some(step) = self.obligations.merged_step(state, &local) else {
                    continue;
                };
                let cause = self.cause(state, from, message, &local);
                let lost = self.obligations.is_lost_without_trace(&step);
                let event = || words::event(&local);
                checked.record(Obligation::MergedSyncs, state, event, lost);
                self.examine_pending(node, &cause, &step.pending, checked);
                self.check_pending(node, &step, &cause, &mut sendable, checked, revealed);
            }
        }
    }

    /// Checks each event that may occur while a merged write is pending.
    fn check_pending(
        &self,
        node: usize,
        step: &MergedStep,
        cause: &WriteCause,
        sendable: &mut Option<FxHashSet<(usize, u32)>>,
        checked: &mut Checked,
        revealed: &mut FxHashSet<Revealed>,
    ) {
        for (from, message, local) in self.events_at(node, step) {
            if self.excludes(cause, from, message) {
                continue;
            }
            let without = |sent: &Envelope| {
                let known = sendable.get_or_insert_with(|| self.sendable(node));
                let message = self.tables.find_message(&sent.message);
                let index = self.tables.layout().index_of(sent.to);
                matches!((index, message), (Some(index), Some(message))
                    if known.contains(&(index, message)))
            };
            let is_equal = |sent: &Envelope, other: &Envelope| {
                revealed.insert(Revealed {
                    node: node as u32,
                    from: cause.from,
                    request: cause.message,
                    one: sent.message.clone(),
                    other: other.message.clone(),
                });
            };
            let verdict = self
                .obligations
                .reveals_nothing(step, &local, without, is_equal);
            let event = || {
                let (event, cause) = (words::event(&local), words::event(&cause.local));
                format!("{event} after {cause}")
            };
            checked.record(Obligation::MergedSyncs, &step.pending, event, verdict);
        }
    }

    /// Checks the claims of a process while a merged write is pending.
    fn examine_pending(
        &self,
        node: usize,
        cause: &WriteCause,
        pending: &Process,
        checked: &mut Checked,
    ) {
        for &claim in &self.nodes[node].claims {
            let (from, message) = claim.message();
            // The claim knows the leader's log where the process agreed with it. The message alone shows
            // less, and the process does not agree with it any more once the write replaced these entries.
            let is_excluded = self.excludes(cause, from, message)
                || self.is_contradicted(claim, (cause.from, cause.message));
            if is_excluded {
                continue;
            }
            let (obligation, envelope, verdict) = self.check_claim(pending, claim);
            let event = || words::received(&envelope);
            checked.record(obligation, pending, event, verdict);
        }
    }

    fn cause(&self, receiver: &Process, from: u8, message: u32, local: &Local) -> WriteCause {
        let log = match message {
            OWN => None,
            _ => LeaderLog::shown_to(receiver, &self.tables.message(message)),
        };
        WriteCause {
            from,
            message,
            log,
            local: local.clone(),
        }
    }

    /// Whether no run has both this cause and this message.
    fn excludes(&self, cause: &WriteCause, from: u8, message: u32) -> bool {
        message != OWN
            && cause.log.as_ref().is_some_and(|log| {
                log.is_contradicted_by(&self.tables.message(message), from == cause.from)
            })
    }

    /// The events of a process with a pending write: those of the process without the step, and those with
    /// the write durable. With the sender's process index and the message, or [`OWN`].
    fn events_at(&self, node: usize, step: &MergedStep) -> Vec<(u8, u32, Local)> {
        let tables = self.tables;
        let node = &self.nodes[node];
        let mut events = self.delivered_under(node, &node.permutations);
        if let Some(merged) = tables.find_process(&step.merged) {
            let (first, _) = tables.first_of(merged);
            if let Some(number) = self.numbers.get(&first) {
                let permutations = tables.permutations_to(first, merged);
                events.extend(self.delivered_under(&self.nodes[*number as usize], &permutations));
            }
        }
        let own = tables.transitions().local_events(&step.pending).into_iter();
        let own = own.map(|local| (0, OWN, local));
        let delivered = events.into_iter().flat_map(|(from, message)| {
            let locals = tables.locals(&step.pending, from.into(), message);
            locals.into_iter().map(move |local| (from, message, local))
        });
        own.chain(delivered).collect()
    }

    /// The senders and messages of all deliveries to a process, under each of the permutations.
    fn delivered_under(&self, node: &ProcessNode, permutations: &[usize]) -> BTreeSet<(u8, u32)> {
        let under = |permutation: usize| {
            node.delivered.iter().map(move |(from, message)| {
                let from = self.permutations.image(permutation, (*from).into()) as u8;
                (from, self.tables.permuted_message(*message, permutation))
            })
        };
        permutations
            .iter()
            .flat_map(|permutation| under(*permutation))
            .collect()
    }

    /// The messages that a process can send without a write: the receiver's process index and the message.
    fn sendable(&self, node: usize) -> FxHashSet<(usize, u32)> {
        let (node, tables) = (&self.nodes[node], self.tables);
        let disk = |process: &Process| process.server().map(|server| server.disk.clone());
        let before = disk(&node.process);
        let own = tables.index_of(&node.process);
        let delivered = node
            .delivered
            .iter()
            .map(|(from, message)| ((*from).into(), *message));
        let mut sendable = FxHashSet::default();
        for (sender, message) in delivered.chain([(own, OWN)]) {
            let delivery = tables.delivery(node.first, sender, message);
            let steps = delivery.steps.iter();
            let steps = steps.filter(|step| disk(&tables.process(step.next)) == before);
            let sends = steps
                .flat_map(|step| step.sends.iter())
                .chain(&delivery.eager);
            for (index, channel) in sends {
                let sent = tables.messages(*channel);
                for permutation in &node.permutations {
                    let index = self.permutations.image(*permutation, *index);
                    let permuted = sent
                        .iter()
                        .map(|message| (index, tables.permuted_message(*message, *permutation)));
                    sendable.extend(permuted);
                }
            }
        }
        sendable
    }
}
