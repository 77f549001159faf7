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

use super::{
    permutations::SlotPermutations,
    tables::{Delivery, OWN, Tables},
};
use crate::explain::words;
use model::{
    Envelope, Message,
    system::{
        Local, Obligation, Obligations, Process, Relabelling, Relevance, System, Unmet,
        obligation::{LeaderLog, MergedStep, Response, described, says_no_more},
    },
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The number of checks of each obligation, and the failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    counts: [u64; Obligation::ALL.len()],
    /// The first failure of each obligation that failed.
    pub unmet: Vec<Unmet>,
    /// The time that the checks took. The search waits meanwhile.
    pub elapsed: Duration,
}

impl Checked {
    /// The number of checks of an obligation.
    pub fn count(&self, obligation: Obligation) -> u64 {
        self.counts[obligation as usize]
    }

    /// The obligations with the number of checks, in the order of [`Obligation::ALL`].
    pub fn counts(&self) -> impl Iterator<Item = (Obligation, u64)> {
        let all = Obligation::ALL.iter();
        all.map(|obligation| (*obligation, self.count(*obligation)))
    }

    fn note(&mut self, obligation: Obligation, verdict: Result<(), Unmet>) {
        self.counts[obligation as usize] += 1;
        if let Err(unmet) = verdict
            && self
                .unmet
                .iter()
                .all(|known| known.obligation != obligation)
        {
            self.unmet.push(unmet);
        }
    }

    fn judge(
        &mut self,
        obligation: Obligation,
        process: &Process,
        event: impl FnOnce() -> String,
        verdict: Result<(), String>,
    ) {
        let verdict = verdict.map_err(|why| Unmet {
            obligation,
            process: described(process),
            event: event(),
            why,
        });
        self.note(obligation, verdict);
    }

    /// Records only a failure. The obligation needs this condition too, but no reduction removed anything
    /// here, and the count is the number of removals.
    fn require(
        &mut self,
        obligation: Obligation,
        process: &Process,
        event: impl FnOnce() -> String,
        verdict: Result<(), String>,
    ) {
        if verdict.is_err() {
            self.judge(obligation, process, event, verdict);
        }
    }

    /// Adds the checks of another thread.
    fn add(&mut self, other: Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for unmet in other.unmet {
            self.counts[unmet.obligation as usize] -= 1;
            self.note(unmet.obligation, Err(unmet));
        }
    }
}

/// One of this many steps is also taken under a permutation.
const RENAMED_STEPS: u32 = 16;

/// The checks so far, and the graph of processes.
pub(crate) struct Ledger<'a> {
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

/// A condition that must hold at a process and at all its successors.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Claim {
    /// A message has no effect.
    Dead { from: u8, message: u32 },
    /// A request changes nothing. Its response is a refusal, or equal to the first response.
    Inert {
        from: u8,
        message: u32,
        response: u32,
        /// The part of the leader's log that the request reveals.
        log: u32,
        /// Only while no server can crash later.
        no_more_crashes: bool,
    },
    /// Two messages have equal effects.
    Equal {
        of: Obligation,
        from: u8,
        one: u32,
        other: u32,
        /// The part of the leader's log that the requests reveal.
        log: u32,
    },
}

impl Claim {
    /// The sender's process index and the message.
    fn message(self) -> (u8, u32) {
        match self {
            Self::Dead { from, message } | Self::Inert { from, message, .. } => (from, message),
            Self::Equal { from, one, .. } => (from, one),
        }
    }
}

/// The cause of a pending write.
struct Cause {
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

/// Stands for the log of a leader where no log is relevant.
const NO_LOG: u32 = u32::MAX;

/// Stands for a response that is a refusal.
const REFUSAL: u32 = u32::MAX;

impl<'a> Ledger<'a> {
    pub(crate) fn new(tables: &'a Tables, interrupt: &'a AtomicBool) -> Self {
        Self {
            tables,
            interrupt,
            obligations: Obligations::new(tables.scope()),
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
            for envelope in mine.filter(|envelope| envelope.to == process.address()) {
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

    fn examine_open(&mut self) {
        while let Some((node, claim)) = self.open.pop() {
            if self.is_interrupted() {
                return;
            }
            self.examine(node, claim);
        }
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
            if reduction.merge_restarts && tables.scope().budget.crashes > 0 {
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
        let renames =
            self.permutations.count() > 1 && message % RENAMED_STEPS == process % RENAMED_STEPS;
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
            if renames {
                let permutations = &tables.permutations().all;
                let permutations: &Relabelling =
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
        self.checked.judge(obligation, process, event, verdict);
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
        let request = match message != OWN && self.tables.is_leaders_request(message) {
            true => (from, message),
            false => (0, OWN),
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
                is_crash: cost.crashes > 0,
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

    /// Adds the claims about a message that a reduction removes or changes.
    fn claim(&mut self, node: u32, from: u8, message: u32, delivery: &Delivery) {
        let relevance = delivery.relevance;
        match relevance {
            Relevance::Dead => self.open.push((node, Claim::Dead { from, message })),
            Relevance::TermOnly | Relevance::TermOnlyAfterCrashes => {
                let state = Arc::clone(&self.nodes[node as usize].process);
                let envelope = self.envelope(node, from, message);
                let response = match self.obligations.has_no_effect(&state, &envelope) {
                    Ok(responses) => <[Response; 1]>::try_from(responses)
                        .map(|[response]| response)
                        .map_err(|_| "it does not have one response".into()),
                    Err(why) => Err(why),
                };
                // The response was sent when the message was delivered, and nothing was recorded.
                let response = match delivery.steps.is_empty() {
                    true => response,
                    false => Err("it causes a step that is not eager".into()),
                };
                match response {
                    Ok(response) => {
                        let response = self.number_of(response);
                        let no_more_crashes = relevance == Relevance::TermOnlyAfterCrashes;
                        let claim = Claim::Inert {
                            from,
                            message,
                            response,
                            log: self.log_of(&state, message),
                            no_more_crashes,
                        };
                        self.open.push((node, claim));
                    }
                    Err(why) => self.refute(Obligation::InertRequests, node, &envelope, Err(why)),
                }
            }
            Relevance::Refusal(term) => {
                let plain = self.tables.message_id(Obligations::plain_refusal(term));
                self.open.push((
                    node,
                    Claim::Equal {
                        of: Obligation::Refusals,
                        from,
                        one: message,
                        other: plain,
                        log: NO_LOG,
                    },
                ));
            }
            Relevance::Live => {}
        }
        if delivery.trimmed != message {
            let state = Arc::clone(&self.nodes[node as usize].process);
            let claim = Claim::Equal {
                of: Obligation::TrimmedAppends,
                from,
                one: message,
                other: delivery.trimmed,
                log: self.log_of(&state, message),
            };
            self.open.push((node, claim));
        }
    }

    /// The part of the leader's log that a message to this process reveals.
    fn log_of(&mut self, receiver: &Process, message: u32) -> u32 {
        let message = self.tables.message(message);
        let Some(log) = LeaderLog::shown_to(receiver, &message) else {
            return NO_LOG;
        };
        let known = self.logs.iter().position(|known| *known == log);
        known.unwrap_or_else(|| {
            self.logs.push(log);
            self.logs.len() - 1
        }) as u32
    }

    /// Removes the leader's log from a claim once its term is over for a process.
    fn outlived(&self, receiver: &Process, log: u32) -> u32 {
        let Some(known) = self.logs.get(log as usize) else {
            return NO_LOG;
        };
        let server = receiver.server();
        let is_over =
            server.is_some_and(|server| known.term() < server.disk.hard_state.current_term);
        if is_over { NO_LOG } else { log }
    }

    fn number_of(&mut self, response: Response) -> u32 {
        let Response::Other(message) = response else {
            return REFUSAL;
        };
        let known = self.responses.iter().position(|known| *known == message);
        known.unwrap_or_else(|| {
            self.responses.push(message);
            self.responses.len() - 1
        }) as u32
    }

    fn envelope(&self, node: u32, from: u8, message: u32) -> Envelope {
        let receiver = &self.nodes[node as usize].process;
        self.tables.envelope_to(receiver, from.into(), message)
    }

    fn refute(
        &mut self,
        obligation: Obligation,
        node: u32,
        envelope: &Envelope,
        verdict: Result<(), String>,
    ) {
        let state = Arc::clone(&self.nodes[node as usize].process);
        let event = || words::received(envelope);
        self.note(obligation, &state, event, verdict);
    }

    /// Checks a claim at a process, and adds it to the successors.
    fn examine(&mut self, node: u32, claim: Claim) {
        if !self.nodes[node as usize].claims.insert(claim) {
            return;
        }
        let state = Arc::clone(&self.nodes[node as usize].process);
        let (obligation, envelope, verdict) = self.judge(&state, claim);
        let holds = verdict.is_ok();
        self.refute(obligation, node, &envelope, verdict);
        if !holds {
            return;
        }
        for edge in 0..self.nodes[node as usize].edges.len() {
            let edge = self.nodes[node as usize].edges[edge];
            self.pass_on(edge, claim);
        }
        // The search takes one of several events that differ only by a permutation that fixes this process.
        // The claim must hold for each of them.
        for permutation in 0..self.nodes[node as usize].permutations.len() {
            let permutation = self.nodes[node as usize].permutations[permutation];
            self.open.push((node, self.permuted(claim, permutation)));
        }
    }

    /// A claim under a permutation.
    fn permuted(&self, claim: Claim, permutation: usize) -> Claim {
        let sender = |from: u8| self.permutations.image(permutation, from.into()) as u8;
        let permuted = |message: u32| self.tables.permuted_message(message, permutation);
        match claim {
            Claim::Dead { from, message } => Claim::Dead {
                from: sender(from),
                message: permuted(message),
            },
            Claim::Inert {
                from,
                message,
                response,
                log,
                no_more_crashes,
            } => Claim::Inert {
                from: sender(from),
                message: permuted(message),
                response,
                log,
                no_more_crashes,
            },
            Claim::Equal {
                of,
                from,
                one,
                other,
                log,
            } => Claim::Equal {
                of,
                from: sender(from),
                one: permuted(one),
                other: permuted(other),
                log,
            },
        }
    }

    /// Whether a claim holds at a process.
    fn judge(&self, state: &Process, claim: Claim) -> (Obligation, Envelope, Result<(), String>) {
        let to_it = |from: u8, message| self.tables.envelope_to(state, from.into(), message);
        match claim {
            Claim::Dead { from, message } => {
                let envelope = to_it(from, message);
                let effect = self.obligations.has_no_effect(state, &envelope);
                let verdict = effect.and_then(|responses| match responses.as_slice() {
                    [] | [Response::Waits] => Ok(()),
                    _ => Err("it has a response".into()),
                });
                (Obligation::DeadMessages, envelope, verdict)
            }
            Claim::Inert {
                from,
                message,
                response: first,
                ..
            } => {
                let envelope = to_it(from, message);
                let effect = self.obligations.has_no_effect(state, &envelope);
                let is_up = state
                    .server()
                    .is_some_and(|server| server.running.is_some());
                let first = self.responses.get(first as usize);
                let is_new = |response: &&Response| match response {
                    Response::Other(message) => {
                        !first.is_some_and(|first| says_no_more(message, first))
                    }
                    Response::Refusal | Response::Repeated | Response::Waits => false,
                };
                let verdict = effect.and_then(|responses| {
                    if responses.is_empty() && is_up {
                        return Err("it has no response".into());
                    }
                    match responses.iter().find(is_new) {
                        None => Ok(()),
                        Some(other) => Err(format!("its response is now {other:?}")),
                    }
                });
                (Obligation::InertRequests, envelope, verdict)
            }
            Claim::Equal {
                of,
                from,
                one,
                other,
                ..
            } => {
                let envelope = to_it(from, one);
                let other = to_it(from, other);
                let verdict = self
                    .obligations
                    .have_equal_effects(state, &envelope, &other);
                (of, envelope, verdict)
            }
        }
    }

    /// A claim about a process, as a claim about a successor.
    fn pass_on(&mut self, edge: Edge, claim: Claim) {
        let log = match claim {
            Claim::Dead { .. } => NO_LOG,
            Claim::Inert { log, .. } | Claim::Equal { log, .. } => log,
        };
        if self.is_contradicted(claim, edge.request) {
            return;
        }
        let next = Arc::clone(&self.nodes[edge.to as usize].process);
        let is_over = log != NO_LOG && self.outlived(&next, log) == NO_LOG;
        let log = if is_over { NO_LOG } else { log };
        let mut claim = self.permuted(claim, self.permutations.inverse(edge.permutation as usize));
        match &mut claim {
            Claim::Dead { .. } => {}
            Claim::Inert {
                no_more_crashes: true,
                ..
            } if edge.is_crash => return,
            Claim::Inert {
                response,
                log: known,
                ..
            } => {
                *known = log;
                if is_over {
                    // In a later term the only response is a refusal.
                    *response = REFUSAL;
                }
            }
            Claim::Equal { log: known, .. } => *known = log,
        }
        if !self.nodes[edge.to as usize].claims.contains(&claim) {
            self.open.push((edge.to, claim));
        }
    }

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
                checked.judge(Obligation::MergedSyncs, state, event, lost);
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
        cause: &Cause,
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
            checked.judge(Obligation::MergedSyncs, &step.pending, event, verdict);
        }
    }

    fn cause(&self, receiver: &Process, from: u8, message: u32, local: &Local) -> Cause {
        let log = match message {
            OWN => None,
            _ => LeaderLog::shown_to(receiver, &self.tables.message(message)),
        };
        Cause {
            from,
            message,
            log,
            local: local.clone(),
        }
    }

    /// Whether no run has both this cause and this message.
    fn excludes(&self, cause: &Cause, from: u8, message: u32) -> bool {
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

    /// Checks the claims of a process while a merged write is pending.
    fn examine_pending(
        &self,
        node: usize,
        cause: &Cause,
        pending: &Process,
        checked: &mut Checked,
    ) {
        for &claim in &self.nodes[node].claims {
            let (from, message) = claim.message();
            if self.excludes(cause, from, message) {
                continue;
            }
            let (obligation, envelope, verdict) = self.judge(pending, claim);
            let event = || words::received(&envelope);
            checked.judge(obligation, pending, event, verdict);
        }
    }

    /// Whether the leader's log of a claim contradicts the request that causes a step.
    fn is_contradicted(&self, claim: Claim, (from, request): (u8, u32)) -> bool {
        let (Claim::Inert { log, .. } | Claim::Equal { log, .. }) = claim else {
            return false;
        };
        let log = self.logs.get(log as usize);
        request != OWN
            && log.is_some_and(|log| {
                let is_from_leader = from == claim.message().0;
                log.is_contradicted_by(&self.tables.message(request), is_from_leader)
            })
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
                    let sent = sent.iter();
                    sendable.extend(
                        sent.map(|sent| (index, tables.permuted_message(*sent, *permutation))),
                    );
                }
            }
        }
        sendable
    }
}
