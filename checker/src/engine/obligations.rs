//! Checks what the reductions assume (`model::system::Obligation`) of every process and message that
//! the search meets.
//!
//! The search remembers what each process does by itself and with each message. After each level
//! the *ledger* goes through what is new there, and checks it without reductions. So an obligation
//! costs time for each distinct pair of a process and a message, not for each state.
//!
//! What must also hold *later* is followed from process to process. The steps remembered make up a
//! graph of processes. If a message has no effect on a process, it must have none on each process
//! that a step leads to, and so on to all that can be reached. Steps beyond the total budget are
//! left out. Which budget is spent already is not known for a process, so more is checked than can
//! happen.
//!
//! As everywhere in the engine, of all renamings of a process only the first is looked at.

use super::{
    renaming::Renaming,
    tables::{Meeting, OWN, Tables},
};
use crate::story::words;
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

/// How often each obligation was checked, and where one failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    counts: [u64; Obligation::ALL.len()],
    /// The first failure of each obligation that failed.
    pub unmet: Vec<Unmet>,
    /// How long the checks took. Meanwhile the search waits.
    pub elapsed: Duration,
}

impl Checked {
    /// How often an obligation was checked.
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

    /// Notes only a failure. The obligation also needs this condition, but no reduction removed
    /// anything here, and a count says how often a reduction had something to do.
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

    /// Adds what another thread checked.
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

/// One step in so many is also taken under another name.
const RENAMED_STEPS: u32 = 16;

/// What was checked so far.
pub(crate) struct Ledger<'a> {
    tables: &'a Tables,
    /// Set when the search is to end: what is left is then not checked.
    interrupt: &'a AtomicBool,
    obligations: Obligations,
    renaming: Renaming,
    pub(crate) checked: Checked,
    /// How many remembered steps were looked at.
    seen: usize,
    nodes: Vec<Node>,
    /// By the first process of an orbit.
    numbers: FxHashMap<u32, u32>,
    /// Responses to requests that change nothing.
    responses: Vec<Message>,
    logs: Vec<LeaderLog>,
    /// What is to be checked still.
    open: Vec<(u32, Claim)>,
}

/// A process, the first of its orbit.
struct Node {
    first: u32,
    process: Arc<Process>,
    /// The names under which it stays the same process.
    names: Vec<usize>,
    edges: Vec<Edge>,
    claims: FxHashSet<Claim>,
    /// Senders' places and messages.
    met: Vec<(u8, u32)>,
    /// The events whose writes were merged.
    merged: Vec<(u8, u32)>,
}

/// A step to another process.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edge {
    to: u32,
    /// The name under which the process there is the one that the step leads to.
    name: u32,
    /// The sender's place and the leader's request that causes the step; [`OWN`] for any other event.
    request: (u8, u32),
    is_crash: bool,
}

/// What must hold at a process, and at all that follow it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Claim {
    /// A message has no effect.
    Dead { from: u8, message: u32 },
    /// A request changes nothing. Its response is a refusal, or what it was at first.
    Inert {
        from: u8,
        message: u32,
        response: u32,
        /// What it shows of its leader's log.
        log: u32,
        /// Only while no server can crash any more.
        calm: bool,
    },
    /// Two messages have equal effects.
    Equal {
        of: Obligation,
        from: u8,
        one: u32,
        other: u32,
        /// What they show of their leader's log.
        log: u32,
    },
}

impl Claim {
    /// The sender's place and the message.
    fn message(self) -> (u8, u32) {
        match self {
            Self::Dead { from, message } | Self::Inert { from, message, .. } => (from, message),
            Self::Equal { from, one, .. } => (from, one),
        }
    }
}

/// What caused a pending write.
struct Cause {
    from: u8,
    message: u32,
    /// What it shows of its leader's log.
    log: Option<LeaderLog>,
    local: Local,
}

/// A message that a process sends while a merged write is pending, and the one that it sends without
/// the write. They must be equal to the sender of the request that caused the write, from then on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Revealed {
    node: u32,
    from: u8,
    request: u32,
    one: Message,
    other: Message,
}

/// In place of a leader's log, where none plays a part.
const NO_LOG: u32 = u32::MAX;

/// In place of the response, where it is a refusal.
const REFUSAL: u32 = u32::MAX;

impl<'a> Ledger<'a> {
    pub(crate) fn new(tables: &'a Tables, interrupt: &'a AtomicBool) -> Self {
        Self {
            tables,
            interrupt,
            obligations: Obligations::new(tables.scope()),
            renaming: Renaming::new(tables),
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

    /// Notes whether a canonical form is the same under another name.
    pub(crate) fn note_canonical(&mut self, is_same: bool) {
        let verdict = is_same.then_some(()).ok_or_else(|| Unmet {
            obligation: Obligation::Symmetry,
            process: "a state".into(),
            event: "renaming its servers".into(),
            why: "the renamed state has another canonical form".into(),
        });
        self.checked.note(Obligation::Symmetry, verdict);
    }

    /// Lets each process meet each message that was sent to it.
    pub(crate) fn meet_all(&self, system: &System) {
        let tables = self.tables;
        for process in &system.processes {
            let (first, name) = tables.first_of(tables.process_id(process.clone()));
            let unnamed = self.renaming.inverse(name as usize);
            let mine = system.network.iter();
            for envelope in mine.filter(|envelope| envelope.to == process.address()) {
                if let Some(from) = tables.shape().place_of(envelope.from) {
                    let message = tables.message_id(envelope.message.clone());
                    let message = tables.message_under(message, unnamed);
                    tables.meet(first, self.renaming.place(unnamed, from), message);
                }
            }
        }
    }

    /// Checks what was met since the last call.
    pub(crate) fn advance(&mut self) {
        let fresh = self.tables.met_since(self.seen);
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
        let meeting = tables.meet(process, sender, message);
        let node = self.node(process);
        let from = sender as u8;
        self.follow(node, from, message, &meeting);
        if message != OWN {
            self.nodes[node as usize].met.push((from, message));
            self.claim(node, from, message, &meeting);
        }
        let state = Arc::clone(&self.nodes[node as usize].process);
        let is_dropped = meeting.relevance == Relevance::Dead;
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
            self.check_probes(&state, &meeting);
        }
        let forgets = self.obligations.forgets_hint(&state);
        let renames =
            self.renaming.count() > 1 && message % RENAMED_STEPS == process % RENAMED_STEPS;
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
            if meeting.early_count > 0 {
                self.check_eager(&state, local);
            }
            if renames {
                let names = &tables.names().all;
                let names: &Relabelling = &names[1 + process as usize % (names.len() - 1)];
                let commutes = self.obligations.commutes(&state, local, names);
                self.note(Obligation::Symmetry, &state, event, commutes);
            }
            // A request that is trimmed is not delivered: the trimmed one is.
            merges |= meeting.trimmed == message
                && !meeting.steps.is_empty()
                && self.obligations.merged_step(&state, local).is_some();
        }
        if merges {
            self.nodes[node as usize].merged.push((from, message));
        }
    }

    /// Checks that whoever sends entries could also send a heartbeat before them.
    fn check_probes(&mut self, state: &Arc<Process>, meeting: &Meeting) {
        let tables = self.tables;
        let from = tables.place_of(state);
        let steps = meeting.steps.iter();
        let steps = steps.filter(|step| tables.scope().budget.covers(&tables.cost_of(step.effect)));
        let sends = steps.map(|step| (Some(step.next), &step.posts));
        for (next, posts) in sends.chain([(None, &meeting.early)]) {
            if !posts
                .iter()
                .any(|(_, lane)| tables.has_leaders_request(*lane))
            {
                continue;
            }
            let after = next.map_or_else(|| Arc::clone(state), |next| tables.process(next));
            for (place, lane) in posts {
                let messages = tables.messages(*lane);
                let sent = messages.iter();
                let sent: Vec<Envelope> = sent
                    .map(|message| tables.envelope(from, *place, *message))
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
        let scope = self.tables.scope();
        if let Some(step) = scope.local_step(state, local)
            && scope.is_eager(&step, state)
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
            self.nodes.push(Node {
                first,
                process: self.tables.process(first),
                names: self.tables.names_of(first, first),
                edges: Vec::new(),
                claims: FxHashSet::default(),
                met: Vec::new(),
                merged: Vec::new(),
            });
        }
        number
    }

    /// Adds the steps to other processes. What must hold here must hold there.
    fn follow(&mut self, node: u32, from: u8, message: u32, meeting: &Meeting) {
        let request = match message != OWN && self.tables.is_leaders_request(message) {
            true => (from, message),
            false => (0, OWN),
        };
        for step in &meeting.steps {
            let cost = self.tables.cost_of(step.effect);
            if !self.tables.scope().budget.covers(&cost) {
                continue;
            }
            let (first, name) = self.tables.first_of(step.next);
            let edge = Edge {
                to: self.node(first),
                name,
                request,
                is_crash: cost.crashes > 0,
            };
            let from = &mut self.nodes[node as usize];
            if (edge.to == node && name == 0) || from.edges.contains(&edge) {
                continue;
            }
            from.edges.push(edge);
            let claims: Vec<Claim> = from.claims.iter().copied().collect();
            for claim in claims {
                self.pass_on(edge, claim);
            }
        }
    }

    /// What a message that is removed or changed must be.
    fn claim(&mut self, node: u32, from: u8, message: u32, meeting: &Meeting) {
        let relevance = meeting.relevance;
        match relevance {
            Relevance::Dead => self.open.push((node, Claim::Dead { from, message })),
            Relevance::Tells | Relevance::TellsWhenCalm => {
                let state = Arc::clone(&self.nodes[node as usize].process);
                let envelope = self.envelope(node, from, message);
                let response = match self.obligations.has_no_effect(&state, &envelope) {
                    Ok(responses) => <[Response; 1]>::try_from(responses)
                        .map(|[response]| response)
                        .map_err(|_| "it does not have one response".into()),
                    Err(why) => Err(why),
                };
                // Its response left when the message was met, and nothing was recorded.
                let response = match meeting.steps.is_empty() {
                    true => response,
                    false => Err("it causes a step that is not eager".into()),
                };
                match response {
                    Ok(response) => {
                        let response = self.number_of(response);
                        let calm = relevance == Relevance::TellsWhenCalm;
                        let claim = Claim::Inert {
                            from,
                            message,
                            response,
                            log: self.log_of(&state, message),
                            calm,
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
        if meeting.trimmed != message {
            let state = Arc::clone(&self.nodes[node as usize].process);
            let claim = Claim::Equal {
                of: Obligation::TrimmedAppends,
                from,
                one: message,
                other: meeting.trimmed,
                log: self.log_of(&state, message),
            };
            self.open.push((node, claim));
        }
    }

    /// What a message to this process shows of its leader's log.
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

    /// Without the leader's log once its term is over for a process.
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

    /// Checks a claim at a process, and passes it on to those that follow.
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
        // The search follows one of several events that differ in the names of servers which this
        // process does not tell apart. The claim is about each of these servers.
        for name in 0..self.nodes[node as usize].names.len() {
            let name = self.nodes[node as usize].names[name];
            self.open.push((node, self.renamed(claim, name)));
        }
    }

    /// A claim under another name.
    fn renamed(&self, claim: Claim, name: usize) -> Claim {
        let sender = |from: u8| self.renaming.place(name, from.into()) as u8;
        let renamed = |message: u32| self.tables.message_under(message, name);
        match claim {
            Claim::Dead { from, message } => Claim::Dead {
                from: sender(from),
                message: renamed(message),
            },
            Claim::Inert {
                from,
                message,
                response,
                log,
                calm,
            } => Claim::Inert {
                from: sender(from),
                message: renamed(message),
                response,
                log,
                calm,
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
                one: renamed(one),
                other: renamed(other),
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

    /// A claim about a process as a claim about one that a step leads to.
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
        let mut claim = self.renamed(claim, self.renaming.inverse(edge.name as usize));
        match &mut claim {
            Claim::Dead { .. } => {}
            Claim::Inert { calm: true, .. } if edge.is_crash => return,
            Claim::Inert {
                response,
                log: known,
                ..
            } => {
                *known = log;
                if is_over {
                    // In a later term only a refusal is left.
                    *response = REFUSAL;
                }
            }
            Claim::Equal { log: known, .. } => *known = log,
        }
        if !self.nodes[edge.to as usize].claims.contains(&claim) {
            self.open.push((edge.to, claim));
        }
    }

    /// Checks what can be judged only when all processes and messages are known.
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
                // A panic is a fault of the checker: no verdict may come of it.
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

    /// Claims that pairs of messages are equal to whoever sent a request, once it is sent.
    fn claim_revealed(&mut self, revealed: &FxHashSet<Revealed>) {
        let tables = self.tables;
        let met = tables.met_since(0);
        // By the trimmed request, what it was before.
        let mut complete: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        // By the request, the process that it leads to, its receiver's place, and the sender's.
        let mut senders: FxHashMap<u32, FxHashSet<(u32, u8, u8)>> = FxHashMap::default();
        for (process, sender, message) in met {
            let meeting = tables.meet(process, sender, message);
            if meeting.trimmed != message {
                complete.entry(meeting.trimmed).or_default().push(message);
            }
            let steps = meeting.steps.iter().map(|step| (step.next, &step.posts));
            for (next, posts) in steps.chain([(process, &meeting.early)]) {
                let own = tables.place_of(&tables.process(next)) as u8;
                for (to, lane) in posts {
                    for sent in tables.messages(*lane).iter() {
                        if tables.is_leaders_request(*sent) {
                            let known = senders.entry(*sent).or_default();
                            known.insert((next, *to as u8, own));
                        }
                    }
                }
            }
        }
        for one in revealed {
            let receiver = tables.place_of(&self.nodes[one.node as usize].process);
            let pair = [&one.one, &one.other].map(|message| tables.message_id(message.clone()));
            let mut sources = BTreeSet::new();
            let mut open = vec![one.request];
            while let Some(request) = open.pop() {
                if sources.insert(request) {
                    open.extend(complete.get(&request).into_iter().flatten());
                }
            }
            let before = self.open.len();
            for name in 0..self.renaming.count() {
                let back = self.renaming.inverse(name);
                let at = |place: usize| self.renaming.place(back, place) as u8;
                let ends = (at(receiver), at(one.from.into()));
                for source in &sources {
                    let source = tables.message_under(*source, back);
                    let known = senders.get(&source).into_iter().flatten();
                    for (next, to, _) in known.filter(|(_, to, own)| (*to, *own) == ends) {
                        let (first, named) = tables.first_of(*next);
                        let Some(node) = self.numbers.get(&first) else {
                            continue;
                        };
                        let unnamed = self.renaming.inverse(named as usize);
                        let [one, other] = pair.map(|message| {
                            let message = tables.message_under(message, back);
                            tables.message_under(message, unnamed)
                        });
                        let claim = Claim::Equal {
                            of: Obligation::MergedSyncs,
                            from: self.renaming.place(unnamed, (*to).into()) as u8,
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

    /// All merged steps of a process, and each event that may come before the sync.
    fn check_merged(&self, node: usize, checked: &mut Checked, revealed: &mut FxHashSet<Revealed>) {
        let Node {
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

    /// Each event that may come while a merged write is pending.
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
                let place = self.tables.shape().place_of(sent.to);
                matches!((place, message), (Some(place), Some(message))
                    if known.contains(&(place, message)))
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

    /// Whether a message occurs in no run with this cause.
    fn excludes(&self, cause: &Cause, from: u8, message: u32) -> bool {
        message != OWN
            && cause.log.as_ref().is_some_and(|log| {
                log.is_contradicted_by(&self.tables.message(message), from == cause.from)
            })
    }

    /// What can happen to a process whose write is pending: what can happen to it without the step,
    /// and with the write durable. With the sender's place and the message, or [`OWN`].
    fn events_at(&self, node: usize, step: &MergedStep) -> Vec<(u8, u32, Local)> {
        let tables = self.tables;
        let node = &self.nodes[node];
        let mut events = self.met_under(node, &node.names);
        if let Some(merged) = tables.find_process(&step.merged) {
            let (first, _) = tables.first_of(merged);
            if let Some(number) = self.numbers.get(&first) {
                let names = tables.names_of(first, merged);
                events.extend(self.met_under(&self.nodes[*number as usize], &names));
            }
        }
        let own = tables.scope().local_events(&step.pending).into_iter();
        let own = own.map(|local| (0, OWN, local));
        let met = events.into_iter().flat_map(|(from, message)| {
            let locals = tables.locals(&step.pending, from.into(), message);
            locals.into_iter().map(move |local| (from, message, local))
        });
        own.chain(met).collect()
    }

    /// The senders' places and messages that a process met, under each of some names.
    fn met_under(&self, node: &Node, names: &[usize]) -> BTreeSet<(u8, u32)> {
        let under = |name: usize| {
            node.met.iter().map(move |(from, message)| {
                let from = self.renaming.place(name, (*from).into()) as u8;
                (from, self.tables.message_under(*message, name))
            })
        };
        names.iter().flat_map(|name| under(*name)).collect()
    }

    /// What must hold at a process must hold while a merged write is pending.
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

    /// Whether what a claim knows of a leader excludes that a request causes a step.
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

    /// What a process can send without changing its disk: receivers' places and messages.
    fn sendable(&self, node: usize) -> FxHashSet<(usize, u32)> {
        let (node, tables) = (&self.nodes[node], self.tables);
        let disk = |process: &Process| process.server().map(|server| server.disk.clone());
        let before = disk(&node.process);
        let own = tables.place_of(&node.process);
        let met = node
            .met
            .iter()
            .map(|(from, message)| ((*from).into(), *message));
        let mut sendable = FxHashSet::default();
        for (sender, message) in met.chain([(own, OWN)]) {
            let meeting = tables.meet(node.first, sender, message);
            let steps = meeting.steps.iter();
            let steps = steps.filter(|step| disk(&tables.process(step.next)) == before);
            let posts = steps
                .flat_map(|step| step.posts.iter())
                .chain(&meeting.early);
            for (place, lane) in posts {
                let sent = tables.messages(*lane);
                for name in &node.names {
                    let place = self.renaming.place(*name, *place);
                    let sent = sent.iter();
                    sendable.extend(sent.map(|sent| (place, tables.message_under(*sent, *name))));
                }
            }
        }
        sendable
    }
}
