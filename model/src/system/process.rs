//! The processes of a system, and the events of a single process.
//!
//! A step of the whole system is a step of one process plus the messages that it sends. So all protocol
//! code runs here, as a function of one process and one [`Local`] event. Both engines use this function:
//! the readable model on whole states, the fast search through tables.

use super::{
    history::Observation,
    laws::{self, Broken, Law},
    linearizability::{self, Call, OperationId},
    obligation::flawed,
    scope::{Budget, Scope},
    witness::{Witness, Witnesses},
};
use crate::{
    Address, AppendOutcome, ClientId, ClientRequest, ClientResponse, Durable, Effects, Entry,
    EntryId, Envelope, Event, Flow, Log, LogIndex, Message, NodeId, Payload, Raft, RequestId, Role,
    Timer, Write,
    client::{self, Client},
    invariants::{self, Watermarks},
    message::{RequestBody, ResponseBody},
    proxy::{self, Proxy},
    store::{self, Answer, Command, Condition, Found, Operation, Query},
};
use alloc::{format, vec, vec::Vec};
use serde::{Deserialize, Serialize};

/// One process of a system.
#[allow(clippy::large_enum_variant, reason = "most processes are servers")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Process {
    /// A Raft server with its disk.
    Server(Server),
    /// A proxy.
    Proxy(Proxy),
    /// A client with its remaining operations.
    Client(ClientProcess),
}

/// A server, its disk, and the writes between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Server {
    /// The server id.
    pub id: NodeId,
    /// The durable state, which survives a crash.
    pub disk: Durable,
    /// The volatile state, which a crash loses; `None` while the server is down.
    pub running: Option<Running>,
}

/// The volatile state of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Running {
    /// The Raft server.
    pub raft: Raft,
    /// Pending writes that are not yet durable, in order.
    pub unsynced: Vec<Write>,
}

/// A client and its plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientProcess {
    /// The client.
    pub client: Client,
    /// The number of operations of its plan that it has invoked.
    pub invoked: u64,
}

/// An event at one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Local {
    /// A message is delivered.
    Deliver {
        /// The message. It stays in the network and can be delivered again.
        envelope: Envelope,
        /// For a proxy: the server drawn by the driver, which the proxy uses if it knows no better one.
        ask: Option<NodeId>,
    },
    /// The election timer fires.
    ElectionTimeout,
    /// The heartbeat timer fires.
    HeartbeatTimeout,
    /// The quorum timer fires.
    QuorumTimeout,
    /// A direct client sends a write to this server.
    Propose,
    /// Two direct clients each send a write to this server at the same time.
    ProposeTogether,
    /// A direct client sends a read to this server.
    Read,
    /// The oldest pending write becomes durable.
    Sync,
    /// The server loses all state that is not on its disk. If restarts are merged, the server also
    /// restarts immediately: until it acts, no other process can observe the difference.
    Crash,
    /// The server restarts from its disk.
    Restart,
    /// A client invokes the next operation of its plan.
    Invoke,
    /// A client's request timer fires.
    ClientTimeout,
    /// A proxy's timer for one request fires.
    ProxyTimeout {
        /// The client.
        client: ClientId,
        /// The request of the client.
        id: RequestId,
        /// The server that the driver drew.
        ask: NodeId,
    },
    /// The driver decides that the log is long enough for a snapshot.
    Compact,
}

/// The result of an event at one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStep {
    /// The process after the step.
    pub next: Process,
    /// The messages sent to other processes of the system.
    pub sent: Vec<Envelope>,
    /// The timers that a server armed. In the models, an armed timer can fire at any time.
    pub timers: Vec<Timer>,
    /// The observations for the properties.
    pub observed: Vec<Observation>,
    /// The cost of the step in the scope's budget.
    pub cost: Budget,
    /// The witnesses reached.
    pub witnesses: Witnesses,
    /// The property that the step violates.
    pub broken: Option<Broken>,
}

impl LocalStep {
    fn new(next: Process) -> Self {
        Self {
            next,
            sent: Vec::new(),
            timers: Vec::new(),
            observed: Vec::new(),
            cost: Budget::default(),
            witnesses: Witnesses::default(),
            broken: None,
        }
    }

    fn judge(&mut self, verdict: Result<(), Broken>) {
        if let Err(broken) = verdict {
            self.broken.get_or_insert(broken);
        }
    }

    /// Whether the step only sends. Such a step can be taken at any time, and repeatedly.
    pub fn only_sends(&self, process: &Process) -> bool {
        self.observed.is_empty()
            && self.broken.is_none()
            && self.cost == Budget::default()
            && self.next == *process
    }
}

impl Process {
    /// The address of the process.
    pub fn address(&self) -> Address {
        match self {
            Self::Server(server) => Address::Node(server.id),
            Self::Proxy(proxy) => Address::Proxy(proxy.id()),
            Self::Client(process) => Address::Client(process.client.id()),
        }
    }

    /// The server; `None` if the process is not a server.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::Proxy(_) | Self::Client(_) => None,
        }
    }

    /// Whether the process is a server and the leader.
    pub(super) fn leads(&self) -> bool {
        let running = self.server().and_then(|server| server.running.as_ref());
        running.is_some_and(|running| matches!(running.raft.role, Role::Leader(_)))
    }
}

impl Server {
    /// The retained log: the log in memory if the server is up, the log on disk if it is down.
    pub fn log(&self) -> &[Entry] {
        match &self.running {
            Some(running) => running.raft.log.entries(),
            None => &self.disk.log,
        }
    }

    /// The entry before the first retained entry.
    pub fn base(&self) -> EntryId {
        match &self.running {
            Some(running) => running.raft.log.base(),
            None => self.disk.base(),
        }
    }
}

impl Scope {
    /// The events that a process can have without a message.
    pub fn local_events(&self, process: &Process) -> Vec<Local> {
        match process {
            Process::Server(server) => self.server_events(server),
            Process::Proxy(proxy) => proxy
                .in_flight
                .keys()
                .flat_map(|&(client, id)| {
                    self.nodes()
                        .map(move |ask| Local::ProxyTimeout { client, id, ask })
                })
                .collect(),
            Process::Client(process) if !process.client.is_idle() => vec![Local::ClientTimeout],
            Process::Client(process) => {
                let plan = self.plan(process.client.id());
                let more = (process.invoked as usize) < plan.len();
                if more {
                    vec![Local::Invoke]
                } else {
                    Vec::new()
                }
            }
        }
    }

    /// The events that deliver a message.
    pub fn deliveries(&self, envelope: &Envelope) -> Vec<Local> {
        let deliver = |ask| Local::Deliver {
            envelope: envelope.clone(),
            ask,
        };
        match (&envelope.to, &envelope.message) {
            (Address::Proxy(_), Message::ClientRequest(_)) => {
                self.nodes().map(|ask| deliver(Some(ask))).collect()
            }
            _ => vec![deliver(None)],
        }
    }

    fn server_events(&self, server: &Server) -> Vec<Local> {
        let Some(running) = &server.running else {
            return vec![Local::Restart];
        };
        let mut events = Vec::new();
        match &running.raft.role {
            Role::Leader(_) => {
                events.push(Local::HeartbeatTimeout);
                if self.check_quorum {
                    events.push(Local::QuorumTimeout);
                }
                if self.direct_clients {
                    events.extend([Local::Propose, Local::Read]);
                    if self.together {
                        events.push(Local::ProposeTogether);
                    }
                }
            }
            Role::Follower { heard, .. } => {
                if *heard {
                    events.push(Local::QuorumTimeout);
                }
                if running.raft.current_term < self.last_term() {
                    events.push(Local::ElectionTimeout);
                }
            }
            Role::PreCandidate { .. } | Role::Candidate(_) => {
                events.push(Local::HeartbeatTimeout);
                if running.raft.current_term < self.last_term() {
                    events.push(Local::ElectionTimeout);
                }
            }
        }
        if !running.unsynced.is_empty() {
            events.push(Local::Sync);
        }
        if self.budget.snapshots > 0 && running.raft.may_compact() {
            events.push(Local::Compact);
        }
        events.push(Local::Crash);
        events
    }

    /// Executes an event at a process. Returns `None` if the event is not enabled.
    pub fn local_step(&self, process: &Process, local: &Local) -> Option<LocalStep> {
        match process {
            Process::Server(server) => self.server_step(server, local),
            Process::Proxy(proxy) => self.proxy_step(proxy, local),
            Process::Client(process) => self.client_step(process, local),
        }
    }

    fn server_step(&self, server: &Server, local: &Local) -> Option<LocalStep> {
        match local {
            Local::Restart => {
                if server.running.is_some() {
                    return None;
                }
                Some(self.restart(server))
            }
            Local::Crash => {
                let running = server.running.as_ref()?;
                let mut down = server.clone();
                if self.reduction.merge_restarts && flawed!(self, RestartKeepsUnsynced) {
                    for write in &running.unsynced {
                        down.disk.apply(write);
                    }
                }
                down.running = None;
                let mut step = if self.reduction.merge_restarts {
                    self.restart(&down)
                } else {
                    LocalStep::new(Process::Server(down))
                };
                step.cost.crashes = 1;
                step.witnesses.add(Witness::Crashed);
                if !running.unsynced.is_empty() {
                    step.witnesses.add(Witness::UnsyncedWriteLost);
                }
                if matches!(running.raft.role, Role::Leader(_)) {
                    step.witnesses.add(Witness::LeaderCrashed);
                }
                Some(step)
            }
            Local::Sync => {
                let running = server.running.as_ref()?;
                running.unsynced.first()?;
                let mut step = LocalStep::new(Process::Server(server.clone()));
                self.sync(&mut step);
                self.conclude(&mut step);
                Some(step)
            }
            Local::ElectionTimeout => self.raft_step(server, Event::ElectionTimeout, Vec::new()),
            Local::HeartbeatTimeout => self.raft_step(server, Event::HeartbeatTimeout, Vec::new()),
            Local::QuorumTimeout => self.raft_step(server, Event::QuorumTimeout, Vec::new()),
            Local::Deliver { envelope, .. } => {
                let (from, message) = (envelope.from, envelope.message.clone());
                self.raft_step(server, Event::Receive { from, message }, Vec::new())
            }
            Local::Propose | Local::Read => {
                let raft = &server.running.as_ref()?.raft;
                let Role::Leader(leader) = &raft.role else {
                    return None;
                };
                let request = if *local == Local::Propose {
                    self.direct_write(raft, raft.log.last_index().next())
                } else {
                    direct_read(raft, leader.read_round + 1)
                };
                self.direct_requests(server, vec![request])
            }
            Local::ProposeTogether => {
                let raft = &server.running.as_ref()?.raft;
                let next = raft.log.last_index().next();
                let writes = [next, next.next()].map(|index| self.direct_write(raft, index));
                self.direct_requests(server, writes.into())
            }
            Local::Compact => {
                let raft = &server.running.as_ref()?.raft;
                if !raft.may_compact() {
                    return None;
                }
                let mut step = self.raft_step(server, Event::Compact, Vec::new())?;
                step.cost.snapshots = 1;
                step.witnesses.add(Witness::SnapshotTaken);
                Some(step)
            }
            Local::Invoke | Local::ClientTimeout | Local::ProxyTimeout { .. } => None,
        }
    }

    /// A write whose value and sequence derive from its term and its future index. A leader never
    /// creates two entries at one index, and the protocol does not depend on values.
    fn direct_write(&self, raft: &Raft, index: LogIndex) -> ClientRequest {
        let (term, index) = (raft.current_term.get(), index.get());
        let sequence = term * 100 + index;
        ClientRequest {
            client: DIRECT_WRITER,
            id: RequestId::new(sequence),
            body: RequestBody::Write {
                session: self.session(),
                sequence,
                acknowledged: 0,
                operation: Operation::Put {
                    key: KEY.to_vec(),
                    value: format!("t{term}i{index}").into(),
                    condition: Condition::Always,
                },
            },
        }
    }

    /// Delivers requests of direct clients. The calls are observed when the requests arrive, and the
    /// returns when the responses are sent: this is the strictest interpretation of linearizability.
    fn direct_requests(&self, server: &Server, requests: Vec<ClientRequest>) -> Option<LocalStep> {
        let called = requests.iter().filter(|_| self.tracks_operations);
        let called = called.map(|request| Observation::Invoked {
            id: OperationId(request.client.get(), request.id.get()),
            call: call_of(&request.body),
        });
        let called = called.collect();
        let requests = requests
            .into_iter()
            .map(|request| (Address::Client(request.client), request))
            .collect();
        self.raft_step(server, Event::Requests(requests), called)
    }

    fn restart(&self, server: &Server) -> LocalStep {
        let raft = Raft::recover(server.id, self.config(), server.disk.clone());
        let mut step = LocalStep::new(Process::Server(server.clone()));
        let kept = raft.current_term >= server.disk.hard_state.current_term;
        step.judge(self.laws.require(Law::Monotone, kept, || {
            format!(
                "server {} came back in term {} with term {} on its disk",
                server.id, raft.current_term, server.disk.hard_state.current_term
            )
        }));
        if raft.voted_for.is_some() {
            step.witnesses.add(Witness::VoteSurvivedCrash);
        }
        if raft.log.base().index > LogIndex::ZERO {
            step.witnesses.add(Witness::RecoveredFromSnapshot);
            step.observed.push(stands(&raft));
        }
        if let Process::Server(next) = &mut step.next {
            // If the server recovered nothing, its disk is empty, regardless of the reason.
            next.disk = Durable {
                hard_state: crate::HardState {
                    current_term: raft.current_term,
                    voted_for: raft.voted_for,
                },
                snapshot: next
                    .disk
                    .snapshot
                    .take()
                    .filter(|snapshot| snapshot.last_included() == raft.log.base()),
                log: raft.log.entries().to_vec(),
            };
            next.running = Some(Running {
                raft,
                unsynced: Vec::new(),
            });
        }
        step
    }

    /// Executes an event at the real server.
    fn raft_step(
        &self,
        server: &Server,
        event: Event,
        called: Vec<Observation>,
    ) -> Option<LocalStep> {
        let before = &server.running.as_ref()?.raft;
        let mut step = LocalStep::new(Process::Server(server.clone()));
        step.observed = called;
        foresee(before, &event, &mut step.witnesses);
        let left_freely = self.run(&mut step, event);
        // If no other process can observe a write, a late sync is equivalent to an early sync with
        // delayed messages, and a write lost in a crash is equivalent to a step that was not taken. This
        // requires that this step sent no message and that the server cannot send one before the sync:
        // either no earlier write was pending, or a term is pending, and every response waits for it. A
        // leader's next heartbeat reveals its entries to other servers, so a leader's write stays
        // pending, and a crash can lose it (docs/reductions.md).
        let is_silent = !left_freely
            && (server.running.as_ref()?.unsynced.is_empty() || writes_term(&step.next));
        let merges_leaders = flawed!(self, MergesWritesOfLeaders);
        if self.reduction.merge_syncs && is_silent {
            while (merges_leaders || !step.next.leads()) && self.sync(&mut step) {}
        }
        self.conclude(&mut step);
        step.cost = cost_of(before, &step.next);
        // A step that costs more than the whole budget is never possible.
        self.budget.covers(&step.cost).then_some(step)
    }

    /// Calls the real `step` once and checks the properties of the step. Returns whether a message was
    /// sent while a write was pending.
    fn run(&self, step: &mut LocalStep, event: Event) -> bool {
        let Process::Server(server) = &mut step.next else {
            return false;
        };
        let Some(running) = &mut server.running else {
            return false;
        };
        let before = running.clone();
        let marks = Watermarks::of(&running.raft);
        let effects: Effects = running.raft.step(event);
        running.unsynced.extend(effects.write.clone());
        let after = running.clone();
        let disk = server.disk.clone();
        step.judge(laws::judge_step(&before, &after, self.laws));
        let always = invariants::check(marks, &after.raft, &effects);
        step.judge(always.or_else(|law| {
            let why = || format!("server {}: {law}", after.raft.id);
            self.laws.require(Law::Invariants, false, why)
        }));
        self.observe_roles(&before.raft, &after.raft, step);
        observe_snapshot(&before.raft, &after.raft, &effects, step);
        step.timers.extend(&effects.timers);
        for envelope in effects.sends.iter().cloned() {
            if is_pipelined(&after.raft, &envelope) {
                step.witnesses.add(Witness::Pipelined);
            }
            step.judge(laws::judge_send(&envelope, &disk, self.laws));
            match (&envelope.message, envelope.to) {
                (Message::ClientResponse(response), _) => {
                    self.observe_response(&after.raft, response, step);
                    // Direct clients are not processes: their responses are observed, not sent.
                    if !self.direct_clients {
                        step.sent.push(envelope);
                    }
                }
                (Message::AppendEntriesRequest(_), _) if !self.append_entries => {}
                _ => step.sent.push(envelope),
            }
        }
        !effects.sends.is_empty() && !after.unsynced.is_empty()
    }

    /// Makes the oldest pending write durable. Returns false if there is none.
    fn sync(&self, step: &mut LocalStep) -> bool {
        let Process::Server(server) = &mut step.next else {
            return false;
        };
        let Some(running) = &mut server.running else {
            return false;
        };
        if running.unsynced.is_empty() {
            return false;
        }
        let write = running.unsynced.remove(0);
        let before = server.disk.clone();
        server.disk.apply(&write);
        let verdict = laws::judge_disk(&before, &server.disk, self.laws);
        step.judge(verdict);
        self.run(step, Event::Persisted(write.id));
        true
    }

    /// Brings the server into its normal form: the ids of writes and the order of held messages do not
    /// depend on the history, and an unused leader hint is forgotten.
    fn conclude(&self, step: &mut LocalStep) {
        if let Process::Server(server) = &mut step.next
            && let Some(running) = &mut server.running
        {
            running.raft.renumber_writes(&mut running.unsynced);
            running.raft.sort_held();
            if !self.tells_hints()
                && let Role::Follower { leader, .. } = &mut running.raft.role
            {
                *leader = None;
            }
        }
    }

    fn observe_roles(&self, before: &Raft, after: &Raft, step: &mut LocalStep) {
        let led = matches!(before.role, Role::Leader(_));
        let leads = matches!(after.role, Role::Leader(_));
        if leads && (!led || before.current_term != after.current_term) {
            let mut log = after.log.clone();
            log.truncate_from(before.log.last_index().next());
            step.observed.push(Observation::Elected {
                term: after.current_term,
                leader: after.id,
                log,
            });
        }
        if led && !leads {
            step.witnesses
                .add(if before.current_term == after.current_term {
                    Witness::QuorumLost
                } else {
                    Witness::LeaderDeposed
                });
        }
        if matches!(before.role, Role::PreCandidate { .. })
            && matches!(after.role, Role::Candidate(_))
        {
            step.witnesses.add(Witness::PreVoteWon);
        }
        if !after.log.continues(&before.log) {
            step.witnesses.add(Witness::ConflictRemoved);
        }
        if after.commit_index > before.commit_index {
            // This server does not have the single entries that a snapshot covers.
            let first = before.commit_index.max(after.log.base().index).next();
            let count = (after.commit_index.get() + 1).saturating_sub(first.get());
            if leads && after.commit_index > after.durable_index {
                step.witnesses.add(Witness::CommittedWithoutOwnDisk);
            }
            if !leads {
                step.witnesses.add(Witness::FollowerCommitted);
            }
            if first == before.commit_index.next() {
                let newly = after.log.slice(first, count as usize);
                observe_sessions(before, newly, &mut step.witnesses);
            }
            if repeats_a_command(&after.log, first) {
                step.witnesses.add(Witness::DuplicateAnswered);
            }
            step.observed.push(Observation::Committed {
                by_leader: leads.then_some(after.current_term),
                first,
                entries: after.log.slice(first, count as usize).to_vec(),
            });
            if after.log.base().index > LogIndex::ZERO {
                step.observed.push(stands(after));
            }
        }
    }

    /// Records a response to a client at the moment it is sent.
    fn observe_response(&self, raft: &Raft, response: &ClientResponse, step: &mut LocalStep) {
        match &response.body {
            ResponseBody::Applied(answer) => {
                if let Some(write) = answered_write(raft, answer) {
                    step.witnesses.add(Witness::WriteAcknowledged);
                    // The request id of a direct client is the sequence of its write. The response
                    // refers to that write, even if the entry is another one.
                    let sequence = match self.direct_clients {
                        true => response.id.get(),
                        false => write.sequence,
                    };
                    step.observed.push(Observation::Acknowledged {
                        session: write.session,
                        sequence,
                    });
                }
                if matches!(answer, Answer::SessionExpired | Answer::NotApplied) {
                    step.witnesses.add(Witness::SessionGone);
                }
                if *answer == Answer::NotApplied {
                    step.witnesses.add(Witness::WriteMoved);
                }
            }
            ResponseBody::Found(found) => {
                step.witnesses.add(Witness::ReadServed);
                if matches!(found, Found::Value(Some(_))) {
                    step.witnesses.add(Witness::ReadSawWrite);
                }
            }
            ResponseBody::Interrupted { .. } => step.witnesses.add(Witness::ClientInterrupted),
            // No property covers a stale read, and no scope requests one.
            ResponseBody::FoundStale(_) => {}
            ResponseBody::NotLeader { .. }
            | ResponseBody::Unavailable
            | ResponseBody::Overloaded
            | ResponseBody::OutsideLimits(_) => {}
        }
        if self.direct_clients
            && self.tracks_operations
            && let Some(result) = result_of(&response.body)
        {
            let id = OperationId(response.client.get(), response.id.get());
            step.observed.push(Observation::Returned { id, result });
        }
    }

    fn proxy_step(&self, proxy: &Proxy, local: &Local) -> Option<LocalStep> {
        let event = match local {
            Local::Deliver { envelope, ask } => proxy::Event::Receive {
                from: envelope.from,
                message: envelope.message.clone(),
                // The proxy uses the drawn server only for a new request of a client.
                ask: ask.unwrap_or(NodeId::new(1)),
            },
            Local::ProxyTimeout { client, id, ask } => proxy::Event::Timeout {
                client: *client,
                id: *id,
                ask: *ask,
            },
            _ => return None,
        };
        let mut next = proxy.clone();
        let refused = matches!(&event, proxy::Event::Receive { message: Message::ClientResponse(response), .. }
            if matches!(response.body, ResponseBody::NotLeader { .. }));
        let effects = next.step(event);
        let mut step = LocalStep::new(Process::Proxy(next));
        step.sent = effects.sends;
        if refused && !step.sent.is_empty() {
            step.witnesses.add(Witness::ProxyRedirected);
        }
        Some(step)
    }

    fn client_step(&self, process: &ClientProcess, local: &Local) -> Option<LocalStep> {
        let id = process.client.id();
        let plan = self.plan(id);
        let mut next = process.clone();
        let mut observed = Vec::new();
        let event = match local {
            Local::Deliver { envelope, .. } => client::Event::Receive {
                from: envelope.from,
                message: envelope.message.clone(),
            },
            Local::ClientTimeout if !process.client.is_idle() => client::Event::Timeout,
            Local::Invoke if process.client.is_idle() => {
                let ask = plan.get(process.invoked as usize)?;
                next.invoked += 1;
                if let Some(call) = call_of_ask(ask) {
                    let id = OperationId(id.get(), next.invoked);
                    observed.push(Observation::Invoked { id, call });
                }
                client::Event::Invoke(ask.clone())
            }
            _ => return None,
        };
        let effects = next.client.step(event);
        let operation = OperationId(id.get(), next.invoked);
        let mut step = LocalStep::new(Process::Client(next));
        step.observed = observed;
        step.sent = effects.sends;
        if *local == Local::ClientTimeout && !step.sent.is_empty() {
            step.witnesses.add(Witness::ClientRetried);
        }
        match effects.outcome {
            None => {}
            Some(client::Outcome::Unknown(_)) => step.witnesses.add(Witness::OutcomeUnknown),
            // A read without a result does not constrain the order.
            Some(client::Outcome::Unavailable | client::Outcome::FoundStale(_)) => {}
            // The client's earlier writes took effect before, or never will.
            Some(client::Outcome::Closed) => {
                step.observed.push(Observation::Settles { id: operation });
            }
            Some(
                client::Outcome::NotDone
                | client::Outcome::OutsideLimits(_)
                | client::Outcome::SessionsInUse(_)
                | client::Outcome::Overloaded,
            ) => {
                step.observed.push(Observation::Refused { id: operation });
            }
            Some(client::Outcome::Answered(answer)) => {
                let id = operation;
                step.observed.push(Observation::Settles { id });
                if let Some(result) = result_of_answer(&answer) {
                    step.observed.push(Observation::Returned { id, result });
                }
            }
            Some(client::Outcome::Found(found)) => {
                let (id, result) = (operation, result_of_found(&found));
                step.observed.push(Observation::Returned { id, result });
            }
        }
        Some(step)
    }
}

/// Records the witnesses that depend on the message and on the server before the step.
fn foresee(raft: &Raft, event: &Event, witnesses: &mut Witnesses) {
    let Event::Receive { from, message } = event else {
        return;
    };
    let sticks = matches!(from, Address::Node(from) if raft.sticks_against(*from));
    match message {
        Message::PreVoteRequest(request) if request.next_term <= raft.current_term => {
            witnesses.add(Witness::PreVoteBehind);
        }
        Message::PreVoteRequest(_) if sticks => {
            witnesses.add(Witness::StuckToLeader);
        }
        Message::RequestVoteRequest(request) if request.term > raft.current_term && sticks => {
            witnesses.add(Witness::StuckToLeader);
        }
        Message::RequestVoteRequest(request) => {
            let behind = (request.last_log_term, request.last_log_index)
                < (raft.log.last_id().term, raft.log.last_index());
            if request.term >= raft.current_term && behind {
                witnesses.add(Witness::VoteRefusedForLog);
            }
            let taken = raft
                .voted_for
                .is_some_and(|candidate| Address::Node(candidate) != *from);
            if request.term == raft.current_term && taken {
                witnesses.add(Witness::VoteRefusedAsGiven);
            }
        }
        Message::InstallSnapshotRequest(request) => {
            let last = request.snapshot.last_included();
            if request.term >= raft.current_term
                && last.index > raft.commit_index
                && last.index < raft.log.last_index()
                && raft.log.term_at(last.index) == Some(last.term)
            {
                witnesses.add(Witness::SuffixKept);
            }
        }
        Message::AppendEntriesResponse(response) => {
            if let (Role::Leader(_), AppendOutcome::Conflict { .. }) =
                (&raft.role, &response.outcome)
                && response.term == raft.current_term
            {
                witnesses.add(Witness::NextIndexMovedBack);
            }
        }
        _ => {}
    }
}

/// The applied state of a server, for comparison with the committed entries.
fn stands(raft: &Raft) -> Observation {
    let index = raft.commit_index;
    Observation::Stands {
        at: EntryId {
            term: raft.log.term_at(index).unwrap_or_default(),
            index,
        },
        store: raft.store.clone(),
    }
}

/// Records a snapshot that the step writes to disk, taken or installed.
fn observe_snapshot(before: &Raft, after: &Raft, effects: &Effects, step: &mut LocalStep) {
    let snapshot = effects
        .write
        .as_ref()
        .and_then(|write| write.snapshot.as_ref());
    let Some(snapshot) = snapshot else {
        return;
    };
    let at = snapshot.last_included();
    step.observed.push(Observation::Stands {
        at,
        store: snapshot.store.clone(),
    });
    if after.commit_index > before.commit_index {
        step.witnesses.add(Witness::SnapshotInstalled);
        if before.log.last_index() >= at.index {
            step.witnesses.add(Witness::SuffixDiscarded);
        }
    }
}

/// Whether the leader sends entries to a follower that has not acknowledged the entries before them.
fn is_pipelined(raft: &Raft, envelope: &Envelope) -> bool {
    let (Message::AppendEntriesRequest(request), Role::Leader(leader), Address::Node(to)) =
        (&envelope.message, &raft.role, envelope.to)
    else {
        return false;
    };
    let progress = leader.followers.get(&to);
    progress.is_some_and(|progress| {
        progress.flow == Flow::Pipeline
            && !request.entries.is_empty()
            && request.prev_log_index > progress.match_index
    })
}

/// Whether a term or a vote is pending (not yet durable).
fn writes_term(process: &Process) -> bool {
    let running = process.server().and_then(|server| server.running.as_ref());
    running.is_some_and(|running| {
        let mut writes = running.unsynced.iter();
        writes.any(|write| write.hard_state.is_some())
    })
}

/// The cost of the step in the budget: entries and reads that clients requested.
fn cost_of(before: &Raft, next: &Process) -> Budget {
    let mut cost = Budget::default();
    if let (Role::Leader(was), Some(running)) = (
        &before.role,
        next.server().and_then(|server| server.running.as_ref()),
    ) && let Role::Leader(is) = &running.raft.role
        && before.current_term == running.raft.current_term
    {
        let added = running
            .raft
            .log
            .last_index()
            .get()
            .saturating_sub(before.log.last_index().get());
        cost.entries = u8::try_from(added).unwrap_or(u8::MAX);
        cost.reads = u8::try_from(is.read_round - was.read_round).unwrap_or(u8::MAX);
    }
    cost
}

/// A read whose id derives from its term and its future read round.
fn direct_read(raft: &Raft, round: u64) -> ClientRequest {
    ClientRequest {
        client: DIRECT_READER,
        id: RequestId::new(raft.current_term.get() * 100 + round),
        body: RequestBody::Read {
            query: Query::Get { key: KEY.to_vec() },
        },
    }
}

/// Records the witnesses of sessions that the newly committed entries open, refuse, evict or close.
fn observe_sessions(before: &Raft, newly: &[Entry], witnesses: &mut Witnesses) {
    let mut store = before.store.clone();
    for entry in newly {
        let open = store.session_count();
        match (&entry.payload, store.apply(&entry.payload, &before.config)) {
            (_, Answer::SessionOpened(_)) if store.session_count() <= open => {
                witnesses.add(Witness::SessionEvicted);
            }
            (_, Answer::SessionsInUse) => witnesses.add(Witness::SessionRefused),
            (Payload::Command(Command::CloseSession { .. }), _) if store.session_count() < open => {
                witnesses.add(Witness::SessionClosed);
            }
            _ => {}
        }
    }
}

/// Whether an entry from `first` on contains the command of an earlier entry.
fn repeats_a_command(log: &Log, first: LogIndex) -> bool {
    let name = |entry: &Entry| match &entry.payload {
        Payload::Command(Command::Write(write)) => Some((write.session, write.sequence)),
        _ => None,
    };
    let kept_before = (first.get() - log.base().index.get()) as usize - 1;
    let (old, new) = log.entries().split_at(kept_before);
    new.iter().any(|entry| {
        name(entry).is_some_and(|this| old.iter().any(|earlier| name(earlier) == Some(this)))
    })
}

/// The write that a response refers to: the entry whose index is the version.
fn answered_write<'a>(raft: &'a Raft, answer: &Answer) -> Option<&'a store::Write> {
    let (Answer::Written { version } | Answer::Number { version, .. }) = answer else {
        return None;
    };
    match &raft.log.get(*version)?.payload {
        Payload::Command(Command::Write(write)) => Some(write),
        _ => None,
    }
}

fn call_of(body: &RequestBody) -> Call {
    match body {
        RequestBody::Write { operation, .. } => call_of_operation(operation),
        RequestBody::Read { .. }
        | RequestBody::StaleRead { .. }
        | RequestBody::OpenSession
        | RequestBody::CloseSession { .. }
        | RequestBody::RenewSession { .. } => Call::Get,
    }
}

/// The call of an operation; `None` if it concerns only the session.
fn call_of_ask(ask: &client::Ask) -> Option<Call> {
    match ask {
        client::Ask::Write(operation) | client::Ask::WriteAfterIdle(operation) => {
            Some(call_of_operation(operation))
        }
        client::Ask::Read(_) | client::Ask::StaleRead(_) => Some(Call::Get),
        client::Ask::CloseSession => None,
    }
}

fn call_of_operation(operation: &Operation) -> Call {
    match operation {
        Operation::Put { value, .. } => Call::Put(value.to_vec()),
        Operation::Increment { by, .. } => Call::Increment(*by),
        Operation::Delete { .. } => Call::Delete,
    }
}

fn result_of(body: &ResponseBody) -> Option<linearizability::Result> {
    match body {
        ResponseBody::Applied(answer) => result_of_answer(answer),
        ResponseBody::Found(found) => Some(result_of_found(found)),
        _ => None,
    }
}

fn result_of_answer(answer: &Answer) -> Option<linearizability::Result> {
    match answer {
        Answer::Written { .. } => Some(linearizability::Result::Done),
        Answer::Number { value, .. } => Some(linearizability::Result::Number(*value)),
        _ => None,
    }
}

fn result_of_found(found: &Found) -> linearizability::Result {
    let value = match found {
        Found::Value(Some(held)) => Some(held.value.to_vec()),
        Found::Value(None) | Found::Pairs(_) => None,
    };
    linearizability::Result::Found(value)
}

/// The single key of the scopes.
const KEY: &[u8] = b"x";
/// The direct client that writes.
pub(super) const DIRECT_WRITER: ClientId = ClientId::new(8);
/// The direct client that reads.
pub(super) const DIRECT_READER: ClientId = ClientId::new(9);
