//! Reductions: ways to visit fewer states without visiting fewer behaviours.
//!
//! Each can be switched off, each is justified in `docs/reductions.md`, and each is tested by
//! comparing the reachable server states with and without it.

use super::{
    obligation::flawed,
    process::{LocalStep, Process, Running, Server},
    scope::{Budget, Scope},
};
use crate::{
    Address, AppendEntriesRequest, AppendOutcome, EntryId, Envelope, HardState,
    InstallSnapshotResponse, Log, LogIndex, Message, NodeId, Role, Term,
};
use alloc::vec::Vec;

/// Which reductions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduction {
    /// A write nobody could see before it is durable is durable at once.
    pub merge_syncs: bool,
    /// A crashed server is up again at once.
    pub merge_restarts: bool,
    /// Messages whose receiver will ignore them for ever are forgotten.
    pub drop_dead: bool,
    /// Whatever can be sent without any other change is sent at once.
    pub send_early: bool,
    /// A follower's idea of who leads is forgotten where nobody asks for it.
    pub forget_hints: bool,
    /// What a follower holds for good is taken out of the requests on their way to it.
    pub trim_appends: bool,
}

impl Reduction {
    /// All of them.
    pub const ALL: Self = Self {
        merge_syncs: true,
        merge_restarts: true,
        drop_dead: true,
        send_early: true,
        forget_hints: true,
        trim_appends: true,
    };

    /// None of them: every event is a step of its own.
    pub const NONE: Self = Self {
        merge_syncs: false,
        merge_restarts: false,
        drop_dead: false,
        send_early: false,
        forget_hints: false,
        trim_appends: false,
    };
}

impl Reduction {
    /// Whether a message that was forgotten as one that only tells ([`Relevance::TermOnly`]) may matter
    /// again: to a server that is down, or whose term is not durable yet. What others send at any
    /// time then comes to it again.
    pub fn remembers_again(&self) -> bool {
        self.send_early && self.drop_dead && !self.is_term_final_at_once()
    }

    /// Whether a server is always up, and what a follower holds always durable.
    fn is_term_final_at_once(&self) -> bool {
        self.merge_syncs && self.merge_restarts
    }
}

impl Scope {
    /// Whether a server can meet no newer term in this scope, now or later: it is in the last one,
    /// durably.
    pub fn is_term_final(&self, process: &Process) -> bool {
        process
            .server()
            .is_some_and(|server| server.disk.hard_state.current_term >= self.last_term())
    }

    /// Whether anything depends on whom a follower takes for its leader: hints to clients that are
    /// processes, and stickiness, which does not hold against that leader.
    pub(super) fn tells_hints(&self) -> bool {
        let is_unused = (self.direct_clients && !self.pre_vote && !self.check_quorum)
            || flawed!(self, ForgetsUsedHints);
        !(self.reduction.forget_hints && is_unused)
    }

    /// Whether a step only sends, so that it is taken at once where messages are sent early.
    pub fn is_eager(&self, step: &LocalStep, process: &Process) -> bool {
        if flawed!(self, CommitsEagerly)
            && let (Some(before), Some(after)) = (running(process), running(&step.next))
        {
            let mut committed = before.clone();
            committed.raft.commit_index = after.raft.commit_index;
            committed.raft.store.clone_from(&after.raft.store);
            return step.broken.is_none() && committed == *after;
        }
        step.only_sends(process)
    }

    /// Whether no server can crash any more.
    pub fn are_crashes_over(&self, spent: &Budget) -> bool {
        spent.crashes >= self.budget.crashes
    }

    /// How a message matters to its receiver.
    pub fn relevance(&self, receiver: &Process, envelope: &Envelope) -> Relevance {
        if !self.reduction.drop_dead {
            return Relevance::Live;
        }
        if is_dead(receiver, envelope) || self.is_dead_by_flaw(receiver, envelope) {
            return Relevance::Dead;
        }
        let Process::Server(server) = receiver else {
            return Relevance::Live;
        };
        let message = &envelope.message;
        let hints = self.tells_hints();
        if flawed!(self, ConflictsAreRefusals)
            && let Message::AppendEntriesResponse(response) = message
            && matches!(response.outcome, AppendOutcome::Conflict { .. })
        {
            return Relevance::Refusal(response.term);
        }
        match refusal_term(message) {
            Some(term) => Relevance::Refusal(term),
            None if !self.reduction.send_early => Relevance::Live,
            None if only_tells(server, message) => Relevance::TermOnly,
            None if flawed!(self, DropsVoteRequests)
                && matches!(message, Message::RequestVoteRequest(request)
                    if request.term == server.disk.hard_state.current_term) =>
            {
                Relevance::TermOnly
            }
            None => match absorbed_commit(server, hints, message) {
                // Not even a crash makes news of it. Of snapshots this was not shown.
                Some(LogIndex::ZERO)
                    if !hints
                        && self.reduction.is_term_final_at_once()
                        && self.budget.snapshots == 0 =>
                {
                    Relevance::TermOnly
                }
                Some(_) if flawed!(self, ForgetsCommitOfCrashed) => Relevance::TermOnly,
                Some(_) => Relevance::TermOnlyAfterCrashes,
                None => Relevance::Live,
            },
        }
    }

    /// A vote that is not counted yet is none that a candidate ignores.
    fn is_dead_by_flaw(&self, receiver: &Process, envelope: &Envelope) -> bool {
        flawed!(self, DropsFreshVotes)
            && matches!(&envelope.message, Message::RequestVoteResponse(response)
            if response.vote_granted
                && running(receiver).is_some_and(|running| {
                    running.raft.current_term == response.term
                }))
    }

    /// A request without the entries that its receiver holds for good, and one of a term that its
    /// receiver has left without anything but the term; `None` if it stays as it is. In this and in
    /// every later state both do the same.
    pub fn trimmed(&self, receiver: &Process, message: &Message) -> Option<Message> {
        let (Process::Server(server), Message::AppendEntriesRequest(request)) = (receiver, message)
        else {
            return None;
        };
        if !self.reduction.trim_appends || !self.reduction.is_term_final_at_once() {
            return None;
        }
        if request.term < server.disk.hard_state.current_term {
            // It will be refused for its term, whatever else it says.
            let refused = AppendEntriesRequest {
                term: request.term,
                prev_log_index: LogIndex::ZERO,
                prev_log_term: Term::ZERO,
                entries: Vec::new(),
                leader_commit: LogIndex::ZERO,
                read_round: 0,
            };
            return (refused != *request).then_some(Message::AppendEntriesRequest(refused));
        }
        if self.budget.snapshots > 0 {
            // Nothing was shown of entries that a snapshot may come to cover.
            return None;
        }
        let mut held = held_for_good(server, request)?;
        if flawed!(self, TrimsOneTooMany) {
            held = (held + 1).min(request.entries.len());
        }
        let last_held = request.entries.get(held.checked_sub(1)?)?;
        Some(Message::AppendEntriesRequest(AppendEntriesRequest {
            prev_log_index: request.prev_log_index.plus(held as u64),
            prev_log_term: last_held.term,
            entries: request.entries[held..].to_vec(),
            ..request.clone()
        }))
    }

    /// Removes from a receiver's inbox what can no longer matter, given that whatever the receiver
    /// answers without changing has been sent. `inbox` is in the order of its envelopes.
    pub(super) fn normalize_inbox(
        &self,
        receiver: &Process,
        calm: bool,
        is_term_final: impl Fn(Address) -> bool,
        inbox: &mut Vec<Envelope>,
    ) {
        let last = self.is_term_final(receiver);
        for envelope in inbox.iter_mut() {
            if let Some(message) = self.trimmed(receiver, &envelope.message) {
                envelope.message = message;
            }
        }
        inbox.sort_unstable();
        inbox.dedup();
        let (mut tells, mut refusals) = (Vec::new(), Vec::new());
        inbox.retain(|envelope| {
            let from = envelope.from;
            match self.relevance(receiver, envelope).now(calm) {
                Relevance::Live | Relevance::TermOnlyAfterCrashes => true,
                Relevance::Dead => false,
                Relevance::TermOnly => !last && !is_term_final(from) && insert(&mut tells, from),
                Relevance::Refusal(term) => insert(&mut refusals, (from, term)),
            }
        });
    }
}

/// How a message matters to its receiver, in this and in every later state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relevance {
    /// It may change the receiver.
    Live,
    /// The receiver ignores it for ever.
    Dead,
    /// All that it can still do is make the receiver tell a newer term to the sender, once it is in
    /// one. One such request of a sender does it as well as several (the first in order is kept);
    /// a sender that no newer term can reach needs none, and neither does a receiver that will
    /// enter none, for the term it is in has been told.
    TermOnly,
    /// The same, once no server can crash any more. Before, a crash makes news of its commit index.
    TermOnlyAfterCrashes,
    /// All that it can do is tell this term. One of each sender and term is enough.
    Refusal(Term),
}

impl Relevance {
    /// In a state in which no server can crash any more, or some can.
    #[must_use]
    pub fn now(self, calm: bool) -> Self {
        match self {
            Self::TermOnlyAfterCrashes if calm => Self::TermOnly,
            Self::TermOnlyAfterCrashes => Self::Live,
            other => other,
        }
    }
}

fn running(process: &Process) -> Option<&Running> {
    process.server()?.running.as_ref()
}

/// Whether the term and the vote that a server goes by are those of its disk: only then is a refusal
/// sent at once, and no crash takes back what it leans on.
fn is_told(server: &Server) -> bool {
    let held = server.disk.hard_state;
    server.running.as_ref().is_some_and(|running| {
        running.raft.current_term == held.current_term && running.raft.voted_for == held.voted_for
    })
}

/// Whether all that a request can still do, in this and in every later state, is to be refused
/// for its old term.
fn only_tells(server: &Server, message: &Message) -> bool {
    let HardState {
        current_term,
        voted_for,
    } = server.disk.hard_state;
    if !is_told(server) {
        return false;
    }
    match message {
        Message::RequestVoteRequest(request) => {
            // A vote once given in a term is not given again, except to the same candidate.
            request.term < current_term || (request.term == current_term && voted_for.is_some())
        }
        Message::PreVoteRequest(request) => request.next_term <= current_term,
        Message::AppendEntriesRequest(request) => request.term < current_term,
        Message::InstallSnapshotRequest(request) => request.term < current_term,
        _ => false,
    }
}

/// The commit index of what a follower holds durably and knows to be committed: of a request all of
/// whose entries it has, of a snapshot whose entries it has applied. In the same term it stays so:
/// only a crash takes the commit index back.
fn absorbed_commit(server: &Server, hints: bool, message: &Message) -> Option<LogIndex> {
    if !is_told(server) || !follows_quietly(server, hints) {
        return None;
    }
    let raft = &server.running.as_ref()?.raft;
    let (term, commit, is_held) = match message {
        Message::AppendEntriesRequest(request) => {
            let before = EntryId {
                term: request.prev_log_term,
                index: request.prev_log_index,
            };
            let brought = Log::after(before, request.entries.clone());
            // What a snapshot covers here is committed, and so the leader's too.
            let is_held = raft.log.agrees(&brought, brought.last_index());
            (request.term, request.leader_commit, is_held)
        }
        Message::InstallSnapshotRequest(request) => {
            (request.term, request.snapshot.last_included_index, true)
        }
        _ => return None,
    };
    (term == raft.current_term && is_held && commit <= raft.commit_index).then_some(commit)
}

/// Whether the server follows with nothing on its way to the disk, so that a request of its term can
/// only bring entries and a commit index.
fn follows_quietly(server: &Server, hints: bool) -> bool {
    let Some(running) = &server.running else {
        return false;
    };
    let raft = &running.raft;
    // Where hints are told, the request must also have told who leads.
    matches!(raft.role, Role::Follower { leader, .. } if leader.is_some() || !hints)
        // That the leader was heard from is news again after each quorum timeout.
        && !raft.config.check_quorum
        // A pre-candidate of the same term follows again when a request of the leader arrives.
        && !raft.config.pre_vote
        && running.unsynced.is_empty()
}

/// How many of the first entries of a request its receiver holds for good; `None` if it does not
/// hold the entry before them. It is in the request's term and does not lead, and all its log is
/// durable. The leader of a term only appends, so while the receiver is in this term no request
/// removes what agrees with this one, and no crash does.
fn held_for_good(server: &Server, request: &AppendEntriesRequest) -> Option<usize> {
    let running = server.running.as_ref()?;
    let raft = &running.raft;
    let is_in_term = server.disk.hard_state.current_term == request.term
        && raft.current_term == request.term
        && !matches!(raft.role, Role::Leader(_));
    if !is_in_term
        || !running.unsynced.is_empty()
        || raft.log.term_at(request.prev_log_index) != Some(request.prev_log_term)
    {
        return None;
    }
    let own = raft
        .log
        .slice(request.prev_log_index.next(), request.entries.len());
    let held = own.iter().zip(&request.entries);
    Some(held.take_while(|(own, sent)| own == sent).count())
}

/// Adds to a small set; says whether the item is new.
fn insert<T: PartialEq>(set: &mut Vec<T>, item: T) -> bool {
    let new = !set.contains(&item);
    if new {
        set.push(item);
    }
    new
}

pub(super) fn refusal_term(message: &Message) -> Option<Term> {
    match message {
        Message::PreVoteResponse(response) if !response.vote_granted => Some(response.term),
        Message::RequestVoteResponse(response) if !response.vote_granted => Some(response.term),
        Message::AppendEntriesResponse(response)
            if response.outcome == AppendOutcome::StaleTerm =>
        {
            Some(response.term)
        }
        Message::InstallSnapshotResponse(response) if response.match_index == LogIndex::ZERO => {
            Some(response.term)
        }
        _ => None,
    }
}

/// Whether the receiver, in this and in every later state, ignores the message. A server's term
/// never falls below its disk's, and it runs in a term at most once.
fn is_dead(receiver: &Process, envelope: &Envelope) -> bool {
    match (receiver, &envelope.message) {
        (Process::Server(server), message) => {
            let Address::Node(from) = envelope.from else {
                return false;
            };
            let term = server.disk.hard_state.current_term;
            // A server that is down, or whose term is not durable yet, can be in the term of its
            // disk again, but only as a follower.
            let role = server
                .running
                .as_ref()
                .filter(|running| running.raft.current_term == term)
                .map(|running| &running.raft.role);
            match message {
                // A grant counts in the term before the one it speaks of; there it may count again,
                // for a server can be pre-candidate several times in a term.
                Message::PreVoteResponse(response) if response.vote_granted => {
                    response.next_term <= term
                }
                Message::PreVoteResponse(response) => response.term <= term,
                Message::RequestVoteResponse(response) => {
                    response.term < term
                        || (response.term == term
                            && match role {
                                Some(Role::Candidate(candidate)) => {
                                    !response.vote_granted || candidate.votes.contains(&from)
                                }
                                _ => true,
                            })
                }
                Message::AppendEntriesResponse(response) => {
                    response.term < term
                        || (response.term == term
                            && match (&response.outcome, role) {
                                (AppendOutcome::StaleTerm, _) => true,
                                (_, Some(Role::Candidate(_))) => false,
                                (outcome, Some(Role::Leader(leader))) => {
                                    let Some(progress) = leader.followers.get(&from) else {
                                        return true;
                                    };
                                    let nothing_new = match outcome {
                                        // The answer to a probe at `match_index` fetches entries.
                                        AppendOutcome::Matched { match_index } => {
                                            *match_index < progress.match_index
                                        }
                                        // Where nothing is pipelined, next_index returns to a
                                        // position it has left only by a match at or past it.
                                        AppendOutcome::Conflict { prev_log_index, .. } => {
                                            *prev_log_index <= progress.match_index
                                                || (prev_log_index.next() != progress.next_index
                                                    && !pipelines(server))
                                        }
                                        AppendOutcome::StaleTerm => true,
                                    };
                                    // That the follower was heard from is news again after
                                    // each quorum timeout.
                                    nothing_new
                                        && response.read_round <= progress.read_round
                                        && !leader_checks_quorum(server)
                                }
                                _ => true,
                            })
                }
                Message::InstallSnapshotResponse(response) => {
                    let LogIndex::ZERO = response.match_index else {
                        return is_dead_match(server, role, from, response, term);
                    };
                    response.term <= term
                }
                _ => false,
            }
        }
        (Process::Client(process), Message::ClientResponse(response)) => {
            // A client waits for each of its requests once, and never again for an earlier one.
            process
                .client
                .in_flight
                .as_ref()
                .is_none_or(|flight| flight.id != response.id)
        }
        _ => false,
    }
}

/// As an append reply that acknowledges as much, in no read round.
fn is_dead_match(
    server: &Server,
    role: Option<&Role>,
    from: NodeId,
    response: &InstallSnapshotResponse,
    term: Term,
) -> bool {
    response.term < term
        || (response.term == term
            && match role {
                Some(Role::Candidate(_)) => false,
                Some(Role::Leader(leader)) => leader.followers.get(&from).is_none_or(|progress| {
                    response.match_index < progress.match_index && !leader_checks_quorum(server)
                }),
                _ => true,
            })
}

fn pipelines(server: &Server) -> bool {
    let running = server.running.as_ref();
    running.is_some_and(|running| running.raft.config.max_entries_in_flight > 0)
}

fn leader_checks_quorum(server: &Server) -> bool {
    let running = server.running.as_ref();
    running.is_some_and(|running| running.raft.config.check_quorum)
}
