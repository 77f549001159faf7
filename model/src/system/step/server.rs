//! The events and steps of a server.

use super::{answers::Waiting, call_of};
use crate::system::{
    flaw::flawed,
    process::{DIRECT_READER, DIRECT_WRITER, Local, LocalStep, Process, Running, Server},
    properties::{
        Cause, Property, Violation, history::Observation, linearizability::OperationId,
        step as properties,
    },
    refinement::{self, AbstractAction, Incoming, RaftStep},
    scope::Usage,
    transition_system::TransitionSystem,
    witness::{Witness, Witnesses},
};
use crate::{
    Address, AppendOutcome, ClientRequest, Durable, Effects, Entry, EntryId, Envelope, Event, Flow,
    LogIndex, Message, Payload, Raft, RequestId, Role,
    invariants::{self, Watermarks},
    message::RequestBody,
    store::{Answer, Command, Condition, Operation, Query},
};
use alloc::{format, vec, vec::Vec};

impl TransitionSystem {
    pub(in crate::system) fn server_events(&self, server: &Server) -> Vec<Local> {
        let Some(running) = &server.running else {
            return vec![Local::Restart];
        };
        let mut events = Vec::new();
        match &running.raft.role {
            Role::Leader(leader) => {
                events.push(Local::HeartbeatTimeout);
                if leader.transfer.is_some() {
                    events.push(Local::ElectionTimeout);
                }
                if !self.scope.budget.transfers.is_never() {
                    let targets = self.scope.nodes();
                    let targets = targets.filter(|target| running.raft.may_transfer_to(*target));
                    events.extend(targets.map(Local::TransferLeadership));
                }
                if self.scope.check_quorum {
                    events.push(Local::QuorumTimeout);
                }
                if self.scope.direct_clients {
                    events.extend([Local::Propose, Local::Read]);
                    if self.scope.together {
                        events.push(Local::ProposeTogether);
                    }
                }
            }
            Role::Follower {
                recently_active, ..
            } => {
                if *recently_active {
                    events.push(Local::QuorumTimeout);
                }
                if running.raft.current_term < self.scope.last_term() {
                    events.push(Local::ElectionTimeout);
                }
            }
            Role::PreCandidate { .. } | Role::Candidate(_) => {
                events.push(Local::HeartbeatTimeout);
                if running.raft.current_term < self.scope.last_term() {
                    events.push(Local::ElectionTimeout);
                }
            }
        }
        if !running.unsynced.is_empty() {
            events.push(Local::Sync);
        }
        if !self.scope.budget.snapshots.is_never() && running.raft.may_compact() {
            events.push(Local::Compact);
        }
        if !self.scope.budget.crashes.is_never() {
            events.push(Local::Crash);
        }
        events
    }

    pub(in crate::system) fn server_step(
        &self,
        server: &Server,
        local: &Local,
    ) -> Option<LocalStep> {
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
                if self.scope.reduction.merge_restarts && flawed!(self.scope, RestartKeepsUnsynced)
                {
                    for write in &running.unsynced {
                        down.disk.apply(write);
                    }
                }
                down.running = None;
                let mut step = if self.scope.reduction.merge_restarts {
                    self.restart(&down)
                } else {
                    LocalStep::new(Process::Server(down))
                };
                step.cost.crashes = self.scope.budget.crashes.cost();
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
                self.normalize_server(&mut step);
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
                let Role::Leader(leader) = &raft.role else {
                    return None;
                };
                let next = raft.log.last_index().next();
                let mut requests: Vec<_> = [next, next.next()]
                    .map(|index| self.direct_write(raft, index))
                    .into();
                // The event must not depend on the budget, which is replaced for walks beyond it.
                if self.scope.tracks_operations {
                    requests.insert(1, direct_read(raft, leader.read_round + 1));
                }
                self.direct_requests(server, requests)
            }
            Local::Compact => {
                let raft = &server.running.as_ref()?.raft;
                if !raft.may_compact() {
                    return None;
                }
                let mut step = self.raft_step(server, Event::Compact, Vec::new())?;
                step.cost.snapshots = self.scope.budget.snapshots.cost();
                step.witnesses.add(Witness::SnapshotTaken);
                Some(step)
            }
            Local::TransferLeadership(target) => {
                if !server.running.as_ref()?.raft.may_transfer_to(*target) {
                    return None;
                }
                let event = Event::TransferLeadership(*target);
                let mut step = self.raft_step(server, event, Vec::new())?;
                step.cost.transfers = self.scope.budget.transfers.cost();
                Some(step)
            }
            Local::Invoke | Local::ClientTimeout | Local::ProxyTimeout { .. } => None,
        }
    }

    /// A write whose operation and sequence derive from its term and its future index. A leader never
    /// creates two entries at one index, and the protocol does not depend on values. Where writes arrive
    /// together, two consecutive ones differ: the answer to each shows whether the other came first.
    pub(in crate::system) fn direct_write(&self, raft: &Raft, index: LogIndex) -> ClientRequest {
        let (term, index) = (raft.current_term.get(), index.get());
        let sequence = term * 100 + index;
        let key = KEY.to_vec();
        let operation = if !self.scope.together {
            Operation::Put {
                key,
                value: format!("t{term}i{index}").into(),
                condition: Condition::Always,
            }
        } else if index.is_multiple_of(2) {
            Operation::Increment { key, by: 1 }
        } else {
            Operation::Put {
                key,
                value: format!("{sequence}").into(),
                condition: Condition::Absent,
            }
        };
        ClientRequest {
            client: DIRECT_WRITER,
            id: RequestId::new(sequence),
            body: RequestBody::Write {
                session: self.scope.session(),
                sequence,
                acknowledged: 0,
                operation,
            },
        }
    }

    /// Delivers requests of direct clients. The calls are observed when the requests arrive, and the
    /// returns when the responses are sent: this is the strictest interpretation of linearizability.
    pub(in crate::system) fn direct_requests(
        &self,
        server: &Server,
        requests: Vec<ClientRequest>,
    ) -> Option<LocalStep> {
        let called = requests.iter().filter(|_| self.scope.tracks_operations);
        let called = called.filter_map(|request| {
            let id = OperationId(request.client.get(), request.id.get());
            call_of(&request.body).map(|call| Observation::Invoked { id, call })
        });
        let called = called.collect();
        let requests = requests
            .into_iter()
            .map(|request| (Address::Client(request.client), request))
            .collect();
        self.raft_step(server, Event::Requests(requests), called)
    }

    pub(in crate::system) fn restart(&self, server: &Server) -> LocalStep {
        let raft = Raft::recover(
            server.id,
            self.scope.config_of(server.id),
            server.disk.clone(),
        );
        let mut step = LocalStep::new(Process::Server(server.clone()));
        let kept = raft.current_term >= server.disk.hard_state.current_term;
        step.record_verdict(self.scope.properties.require(Property::Monotone, kept, || {
            Cause::RestartedBehindDisk {
                server: server.id,
                term: raft.current_term,
                durable_term: server.disk.hard_state.current_term,
            }
        }));
        self.record_refinement(&mut step, |actions| {
            refinement::check_restart(&raft, &server.disk, actions)
        });
        if raft.voted_for.is_some() {
            step.witnesses.add(Witness::VoteSurvivedCrash);
        }
        if raft.log.base().index > LogIndex::ZERO {
            step.witnesses.add(Witness::RecoveredFromSnapshot);
            step.observed.push(applied_state(&raft));
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
    pub(in crate::system) fn raft_step(
        &self,
        server: &Server,
        event: Event,
        called: Vec<Observation>,
    ) -> Option<LocalStep> {
        let before = &server.running.as_ref()?.raft;
        let mut step = LocalStep::new(Process::Server(server.clone()));
        step.observed = called;
        observe_incoming(before, &event, &mut step.witnesses);
        let left_freely = self.run(&mut step, event);
        // If no other process can observe a write, a late sync is equivalent to an early sync with
        // delayed messages, and a write lost in a crash is equivalent to a step that was not taken. This
        // requires that this step sent no message and that the server cannot send one before the sync:
        // either no earlier write was pending, or a term is pending, and every response waits for it. A
        // leader's next heartbeat reveals its entries to other servers, so a leader's write stays
        // pending, and a crash can lose it (docs/reductions.md).
        let is_silent = !left_freely
            && (server.running.as_ref()?.unsynced.is_empty() || writes_term(&step.next));
        let merges_leaders = flawed!(self.scope, MergesWritesOfLeaders);
        if self.scope.reduction.merge_syncs && is_silent {
            while (merges_leaders || !step.next.leads()) && self.sync(&mut step) {}
        }
        self.normalize_server(&mut step);
        step.cost = cost_of(before, &step.next);
        // A step that costs more than the whole budget is never possible.
        self.scope.budget.covers(&step.cost).then_some(step)
    }

    /// Calls the real `step` once and checks the properties of the step. Returns whether a message was
    /// sent while a write was pending.
    pub(in crate::system) fn run(&self, step: &mut LocalStep, event: Event) -> bool {
        let Process::Server(server) = &mut step.next else {
            return false;
        };
        let Some(running) = &mut server.running else {
            return false;
        };
        let before = running.clone();
        let marks = Watermarks::new(&running.raft);
        let incoming = Incoming::new(&event);
        let persisted = match event {
            Event::Persisted(write) => Some(write),
            _ => None,
        };
        let effects: Effects = running.raft.step(event);
        running.unsynced.extend(effects.write.clone());
        let after = running.clone();
        let disk = server.disk.clone();
        step.record_verdict(properties::check_step(
            &before,
            &after,
            self.scope.properties,
        ));
        step.record_verdict(properties::check_commit(
            &before.raft,
            &after.raft,
            &disk,
            self.scope.properties,
        ));
        let always = invariants::check(marks, &after.raft, &effects);
        step.record_verdict(always.or_else(|invariant| {
            let server = after.raft.id;
            self.scope
                .properties
                .require(Property::Invariants, false, || Cause::InvariantViolated {
                    server,
                    invariant,
                })
        }));
        self.observe_roles(&before.raft, &after.raft, step);
        observe_snapshot(&before.raft, &after.raft, &effects, step);
        step.timers.extend(&effects.timers);
        let mut waiting = Waiting::new(&before.raft);
        for envelope in effects.sends.iter().cloned() {
            if is_pipelined(&after.raft, &envelope) {
                step.witnesses.add(Witness::Pipelined);
            }
            step.record_verdict(properties::check_send(
                after.raft.id,
                &envelope,
                &disk,
                self.scope.properties,
            ));
            match &envelope.message {
                Message::ClientResponse(response) => {
                    let server = (&after.raft, &disk);
                    self.observe_response(server, &mut waiting, (envelope.to, response), step);
                    // Direct clients are not processes: their responses are observed, not sent.
                    if !self.scope.direct_clients {
                        step.sent.push(envelope);
                    }
                }
                Message::AppendEntriesRequest(_) if !self.scope.append_entries => {}
                // Its receiver would enter a term beyond the bounds.
                Message::TimeoutNowRequest(request) if request.term >= self.scope.last_term() => {}
                _ => step.sent.push(envelope),
            }
        }
        let persisted = persisted.map(|write| (write, &disk));
        let raft_step = RaftStep {
            before: &before,
            after: &after,
            disk: &disk,
            incoming: &incoming,
            persisted: persisted.as_slice(),
            effects: &effects,
        };
        self.record_refinement(step, |actions| raft_step.check(actions));
        !effects.sends.is_empty() && !after.unsynced.is_empty()
    }

    /// Maps a part of a step to actions of the abstract Raft, if that is checked.
    fn record_refinement(
        &self,
        step: &mut LocalStep,
        check: impl FnOnce(&mut Vec<AbstractAction>) -> Result<(), Cause>,
    ) {
        if self.scope.properties.contains(Property::Refinement)
            && let Err(cause) = check(&mut step.actions)
        {
            step.record_verdict(Err(Violation::new(Property::Refinement, cause)));
        }
    }

    /// Makes the oldest pending write durable. Returns false if there is none.
    pub(in crate::system) fn sync(&self, step: &mut LocalStep) -> bool {
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
        let verdict =
            properties::check_disk(server.id, &before, &server.disk, self.scope.properties);
        let (raft, disk) = (running.raft.clone(), server.disk.clone());
        step.record_verdict(verdict);
        self.record_refinement(step, |actions| {
            refinement::check_sync(&raft, &before, &disk, actions)
        });
        self.run(step, Event::Persisted(write.id));
        true
    }

    /// Brings the server into its normal form: the ids of writes and the order of held messages do not
    /// depend on the history, and an unused leader hint is forgotten.
    pub(in crate::system) fn normalize_server(&self, step: &mut LocalStep) {
        if let Process::Server(server) = &mut step.next
            && let Some(running) = &mut server.running
        {
            running.raft.renumber_writes(&mut running.unsynced);
            running.raft.sort_held();
            if !self.uses_hints()
                && let Role::Follower { leader, .. } = &mut running.raft.role
            {
                *leader = None;
            }
        }
    }

    pub(in crate::system) fn observe_roles(
        &self,
        before: &Raft,
        after: &Raft,
        step: &mut LocalStep,
    ) {
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
        if let (Role::Leader(before), Role::Leader(after)) = (&before.role, &after.role)
            && before.transfer.is_some()
            && after.transfer.is_none()
        {
            step.witnesses.add(Witness::TransferAborted);
        }
        if let Role::Candidate(candidate) = &before.role
            && candidate.leadership_transfer
            && leads
        {
            step.witnesses.add(Witness::LeadershipTransferred);
        }
        if matches!(before.role, Role::PreCandidate { .. })
            && matches!(&after.role, Role::Candidate(candidate) if !candidate.leadership_transfer)
        {
            step.witnesses.add(Witness::PreVoteWon);
        }
        if !after.log.continues(&before.log) {
            step.witnesses.add(Witness::ConflictRemoved);
        }
        // A snapshot moves the base of the log; it adds no entries in memory.
        let appended = after
            .log
            .last_index()
            .get()
            .saturating_sub(before.log.last_index().get());
        if appended > 1 && after.log.base() == before.log.base() {
            step.witnesses.add(if leads {
                Witness::WritesTogether
            } else {
                Witness::EntriesTogether
            });
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
            step.observed.push(Observation::Committed {
                by_leader: leads.then_some(after.current_term),
                first,
                entries: after.log.slice(first, count as usize).to_vec(),
            });
            if after.log.base().index > LogIndex::ZERO {
                step.observed.push(applied_state(after));
            }
        }
    }
}

/// Records the witnesses that depend on the message and on the server before the step.
fn observe_incoming(raft: &Raft, event: &Event, witnesses: &mut Witnesses) {
    let Event::Receive { from, message } = event else {
        return;
    };
    let sticks = matches!(from, Address::Node(from) if raft.sticks_against(*from));
    match message {
        Message::PreVoteRequest(request) if request.next_term <= raft.current_term => {
            witnesses.add(Witness::PreVoteBehind);
        }
        Message::PreVoteRequest(_) if sticks => {
            witnesses.add(Witness::VoteRefusedForLeader);
        }
        Message::RequestVoteRequest(request) if request.term > raft.current_term && sticks => {
            witnesses.add(if request.leadership_transfer {
                Witness::VotedDespiteLeader
            } else {
                Witness::VoteRefusedForLeader
            });
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
fn applied_state(raft: &Raft) -> Observation {
    let index = raft.commit_index;
    Observation::AppliedState {
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
    step.observed.push(Observation::AppliedState {
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
fn cost_of(before: &Raft, next: &Process) -> Usage {
    let mut cost = Usage::default();
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
                if open > 1 {
                    witnesses.add(Witness::OneOfSeveralEvicted);
                }
            }
            (_, Answer::SessionsInUse) => witnesses.add(Witness::SessionRefused),
            (Payload::Command(Command::CloseSession { .. }), _) if store.session_count() < open => {
                witnesses.add(Witness::SessionClosed);
            }
            _ => {}
        }
    }
}

/// The key of direct clients.
const KEY: &[u8] = b"x";

#[cfg(test)]
mod tests;
