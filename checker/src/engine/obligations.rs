//! Checks the assumptions of the reductions (`model::system::Obligation`) for every process and message
//! of the search.
//!
//! The tables hold the results of each process's own events and of each delivery. After each level the
//! *ledger* checks the new results without reductions. So an obligation costs time for each distinct
//! pair of a process and a message, not for each state.
//!
//! Some obligations must also hold *later*. The cached steps form a graph of processes. If a message has
//! no effect on a process, it must have none on every process that is reachable from it. Steps beyond
//! the total budget are excluded. The graph does not record how much of the budget is used, so the
//! ledger checks more than can happen.
//!
//! As everywhere in the engine, only the first process of each orbit is checked.

mod checked;
mod claims;
mod merged_writes;
mod pending;
mod revealed;

use super::{
    permutations::SlotPermutations,
    tables::{Delivery, OWN, Tables},
};
use crate::explain::words;
pub use checked::Checked;
use claims::Claim;
use model::{
    Envelope, Message,
    system::{
        Local, Obligation, Obligations, Permutation, Process, Relevance, System, Unmet,
        obligation::LeaderLog,
    },
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// One of this many steps is also taken under a permutation.
const PERMUTED_STEPS: u32 = 16;

/// The checks so far, and the graph of processes.
pub(crate) struct ObligationChecks<'a> {
    tables: &'a Tables,
    /// Set when the search must end; the remaining checks are then skipped.
    interrupt: &'a AtomicBool,
    obligations: Obligations,
    permutations: SlotPermutations,
    pub(crate) checked: Checked,
    /// The number of table entries processed so far.
    seen: usize,
    nodes: Vec<ProcessNode>,
    /// By the first process of an orbit.
    numbers: FxHashMap<u32, u32>,
    /// Responses to requests that change nothing.
    responses: Vec<Message>,
    logs: Vec<LeaderLog>,
    /// The claims that are not checked yet.
    open: Vec<(u32, Claim)>,
}

/// A process: the first of its orbit.
struct ProcessNode {
    first: u32,
    process: Arc<Process>,
    /// Its stabilizer: the permutations that map it to itself.
    permutations: Vec<usize>,
    edges: Vec<Edge>,
    claims: FxHashSet<Claim>,
    /// The messages delivered to it: the sender's process index and the message.
    delivered: Vec<(u8, u32)>,
    /// The events with merged writes.
    merged: Vec<(u8, u32)>,
}

/// A step to another process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edge {
    to: u32,
    /// The permutation that maps the target node's process to the process after the step.
    permutation: u32,
    /// The leader's process index and request, if it causes the step; [`OWN`] for any other event.
    request: (u8, u32),
    is_crash: bool,
}

impl<'a> ObligationChecks<'a> {
    pub(crate) fn new(tables: &'a Tables, interrupt: &'a AtomicBool) -> Self {
        Self {
            tables,
            interrupt,
            obligations: Obligations::new(tables.transitions()),
            permutations: SlotPermutations::new(tables),
            checked: Checked::default(),
            seen: 0,
            nodes: Vec::new(),
            numbers: FxHashMap::default(),
            responses: Vec::new(),
            logs: Vec::new(),
            open: Vec::new(),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.checked.unmet.is_empty()
    }

    /// Records whether a canonical form is invariant under a permutation.
    pub(crate) fn note_canonical(&mut self, is_same: bool) {
        let verdict = is_same.then_some(()).ok_or_else(|| Unmet {
            obligation: Obligation::Symmetry,
            process: "a state".into(),
            event: "a permutation of its servers".into(),
            why: "the permuted state has another canonical form".into(),
        });
        self.checked.note(Obligation::Symmetry, verdict);
    }

    /// Delivers every message of a system to its receiver.
    pub(crate) fn deliver_all(&self, system: &System) {
        let tables = self.tables;
        for process in &system.processes {
            let (first, permutation) = tables.first_of(tables.process_id(process.clone()));
            let inverse = self.permutations.inverse(permutation as usize);
            let mine = system.network.iter();
            for envelope in mine.filter(|envelope| process.receives_at(envelope.to)) {
                if let Some(from) = tables.layout().index_of(envelope.from) {
                    let message = tables.message_id(envelope.message.clone());
                    let message = tables.permuted_message(message, inverse);
                    tables.delivery(first, self.permutations.image(inverse, from), message);
                }
            }
        }
    }

    /// Checks the table entries that were added since the last call.
    pub(crate) fn advance(&mut self) {
        let fresh = self.tables.delivered_since(self.seen);
        self.seen += fresh.len();
        for (process, sender, message) in fresh {
            if self.is_interrupted() {
                return;
            }
            self.look_at(process, sender, message);
        }
        self.examine_open();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    fn look_at(&mut self, process: u32, sender: usize, message: u32) {
        let tables = self.tables;
        let delivery = tables.delivery(process, sender, message);
        let node = self.node(process);
        let from = sender as u8;
        self.follow(node, from, message, &delivery);
        if message != OWN {
            self.nodes[node as usize].delivered.push((from, message));
            self.claim(node, from, message, &delivery);
        }
        let state = Arc::clone(&self.nodes[node as usize].process);
        let is_dropped = delivery.relevance == Relevance::Dead;
        let locals = tables.locals(&state, sender, message);
        let reduction = tables.scope().reduction;
        if message == OWN && state.server().is_some() {
            if reduction.merge_restarts && !tables.scope().budget.crashes.is_never() {
                let restarts = self.obligations.is_idle_restart(&state);
                self.note(
                    Obligation::MergedRestarts,
                    &state,
                    || "Crash".into(),
                    restarts,
                );
            }
            if reduction.drop_dead {
                let terms = self.obligations.is_in_terms(&state);
                self.checked.require(
                    Obligation::InertRequests,
                    &state,
                    || "any event".into(),
                    terms,
                );
            }
        }
        if reduction.merge_syncs {
            self.check_probes(&state, &delivery);
        }
        let forgets = self.obligations.forgets_hint(&state);
        let permutes =
            self.permutations.count() > 1 && message % PERMUTED_STEPS == process % PERMUTED_STEPS;
        let mut merges = false;
        for local in &locals {
            let event = || words::event(local);
            if forgets {
                let unneeded = self.obligations.needs_no_hint(&state, local);
                self.note(Obligation::ForgottenHints, &state, event, unneeded);
            }
            if is_dropped {
                continue;
            }
            if delivery.eager_count > 0 {
                self.check_eager(&state, local);
            }
            if permutes {
                let permutations = &tables.permutations().all;
                let permutations: &Permutation =
                    &permutations[1 + process as usize % (permutations.len() - 1)];
                let commutes = self.obligations.commutes(&state, local, permutations);
                self.note(Obligation::Symmetry, &state, event, commutes);
            }
            // The search delivers the trimmed request in place of this one.
            merges |= delivery.trimmed == message
                && !delivery.steps.is_empty()
                && self.obligations.merged_step(&state, local).is_some();
        }
        if merges {
            self.nodes[node as usize].merged.push((from, message));
        }
    }

    /// Checks that a process that sends entries could also send a heartbeat before them.
    fn check_probes(&mut self, state: &Arc<Process>, delivery: &Delivery) {
        let tables = self.tables;
        let from = tables.index_of(state);
        let steps = delivery.steps.iter();
        let steps = steps.filter(|step| tables.scope().budget.covers(&tables.cost_of(step.effect)));
        let sends = steps.map(|step| (Some(step.next), &step.sends));
        for (next, sends) in sends.chain([(None, &delivery.eager)]) {
            if !sends
                .iter()
                .any(|(_, channel)| tables.has_leaders_request(*channel))
            {
                continue;
            }
            let after = next.map_or_else(|| Arc::clone(state), |next| tables.process(next));
            for (index, channel) in sends {
                let messages = tables.messages(*channel);
                let sent = messages.iter();
                let sent: Vec<Envelope> = sent
                    .map(|message| tables.envelope(from, *index, *message))
                    .collect();
                let with_entries = |sent: &&Envelope| {
                    matches!(&sent.message, Message::AppendEntriesRequest(request)
                        if !request.entries.is_empty())
                };
                for request in sent.iter().filter(with_entries) {
                    let probed = self
                        .obligations
                        .can_be_probed(state, &after, request, &sent);
                    let event =
                        || format!("{} to {}", words::message(&request.message), request.to);
                    self.checked
                        .require(Obligation::MergedSyncs, state, event, probed);
                }
            }
        }
    }

    fn check_eager(&mut self, state: &Process, local: &Local) {
        let transitions = self.tables.transitions();
        if let Some(step) = transitions.local_step(state, local)
            && transitions.is_eager(&step, state)
        {
            let only_sends = self.obligations.only_sends(state, local, &step.sent);
            let event = || words::event(local);
            self.note(Obligation::EagerSends, state, event, only_sends);
        }
    }

    fn note(
        &mut self,
        obligation: Obligation,
        process: &Process,
        event: impl FnOnce() -> String,
        verdict: Result<(), String>,
    ) {
        self.checked.record(obligation, process, event, verdict);
    }

    fn node(&mut self, first: u32) -> u32 {
        let new = self.nodes.len() as u32;
        let number = *self.numbers.entry(first).or_insert(new);
        if number == new {
            self.nodes.push(ProcessNode {
                first,
                process: self.tables.process(first),
                permutations: self.tables.permutations_to(first, first),
                edges: Vec::new(),
                claims: FxHashSet::default(),
                delivered: Vec::new(),
                merged: Vec::new(),
            });
        }
        number
    }

    /// Adds the steps to other processes, and carries the claims over to them.
    fn follow(&mut self, node: u32, from: u8, message: u32, delivery: &Delivery) {
        let is_request = message != OWN && self.tables.is_leaders_request(message);
        let request = if is_request {
            (from, message)
        } else {
            (0, OWN)
        };
        for step in &delivery.steps {
            let cost = self.tables.cost_of(step.effect);
            if !self.tables.scope().budget.covers(&cost) {
                continue;
            }
            let (first, permutation) = self.tables.first_of(step.next);
            let edge = Edge {
                to: self.node(first),
                permutation,
                request,
                is_crash: self.tables.is_crash(step.effect),
            };
            let from = &mut self.nodes[node as usize];
            if (edge.to == node && permutation == 0) || from.edges.contains(&edge) {
                continue;
            }
            from.edges.push(edge);
            let claims: Vec<Claim> = from.claims.iter().copied().collect();
            for claim in claims {
                self.pass_on(edge, claim);
            }
        }
    }
}
