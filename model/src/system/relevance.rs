//! The effect of messages on their receivers, and normalization: the messages that the reductions remove.

use super::{
    flaw::flawed,
    process::{LocalStep, Process, Running, Server},
    reduction::Relevance,
    scope::Usage,
    transition_system::TransitionSystem,
};
use crate::{
    Address, AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, EntryId, Envelope,
    HardState, InstallSnapshotResponse, Log, LogIndex, Message, NodeId, Role, Term, raft::Progress,
};
use alloc::vec::Vec;

impl TransitionSystem {
    /// Whether a server cannot receive a newer term in this scope, now or later, because it is durably in
    /// the last term.
    pub fn is_term_final(&self, process: &Process) -> bool {
        process
            .server()
            .is_some_and(|server| server.disk.hard_state.current_term >= self.scope.last_term())
    }

    /// Whether any step depends on a follower's leader hint: redirects to clients that are processes,
    /// and leader stickiness, which does not apply to the hinted leader.
    pub(super) fn uses_hints(&self) -> bool {
        let is_unused =
            (self.scope.direct_clients && !self.scope.pre_vote && !self.scope.check_quorum)
                || flawed!(self.scope, ForgetsUsedHints);
        !(self.scope.reduction.forget_hints && is_unused)
    }

    /// Whether a step only sends, so that it is taken immediately if messages are sent early.
    pub fn is_eager(&self, step: &LocalStep, process: &Process) -> bool {
        if flawed!(self.scope, CommitsEagerly)
            && let (Some(before), Some(after)) = (running(process), running(&step.next))
        {
            let mut committed = before.clone();
            committed.raft.commit_index = after.raft.commit_index;
            committed.raft.store.clone_from(&after.raft.store);
            return step.violation.is_none() && committed == *after;
        }
        step.only_sends(process)
    }

    /// Whether the budget permits no further crash.
    pub fn are_crashes_over(&self, spent: &Usage) -> bool {
        !self.scope.budget.crashes.permits_another(spent.crashes)
    }

    /// The relevance of a message for its receiver.
    pub fn relevance(&self, receiver: &Process, envelope: &Envelope) -> Relevance {
        if !self.scope.reduction.drop_dead {
            return Relevance::Live;
        }
        if is_dead(receiver, envelope) || self.is_dead_by_flaw(receiver, envelope) {
            return Relevance::Dead;
        }
        let Process::Server(server) = receiver else {
            return Relevance::Live;
        };
        let message = &envelope.message;
        if let Some(term) = self.contact_term(server, envelope) {
            return Relevance::Contact(term);
        }
        let hints = self.uses_hints();
        if flawed!(self.scope, ConflictsAreRefusals)
            && let Message::AppendEntriesResponse(response) = message
            && matches!(response.outcome, AppendOutcome::Conflict { .. })
        {
            return Relevance::Refusal(response.term);
        }
        match refusal_term(message) {
            Some(term) => Relevance::Refusal(term),
            None if !self.scope.reduction.send_early => Relevance::Live,
            None if carries_only_term(server, message) => Relevance::TermOnly,
            None if flawed!(self.scope, DropsVoteRequests)
                && matches!(message, Message::RequestVoteRequest(request)
                    if request.term == server.disk.hard_state.current_term) =>
            {
                Relevance::TermOnly
            }
            None => match absorbed_commit(server, hints, message) {
                // A commit index of zero has no effect, even after a crash. This is not shown for
                // snapshots.
                Some(LogIndex::ZERO)
                    if !hints
                        && self.scope.reduction.is_term_final_at_once()
                        && self.scope.budget.snapshots.is_never() =>
                {
                    Relevance::TermOnly
                }
                Some(_) if flawed!(self.scope, ForgetsCommitOfCrashed) => Relevance::TermOnly,
                Some(_) => Relevance::TermOnlyAfterCrashes,
                None => Relevance::Live,
            },
        }
    }

    /// The term of a response whose only effect is that a leader with CheckQuorum counts the sender as
    /// active.
    fn contact_term(&self, server: &Server, envelope: &Envelope) -> Option<Term> {
        let (Address::Node(from), Message::AppendEntriesResponse(response)) =
            (envelope.from, &envelope.message)
        else {
            return None;
        };
        let raft = &server.running.as_ref()?.raft;
        let Role::Leader(leader) = &raft.role else {
            return None;
        };
        let progress = leader.followers.get(&from)?;
        let is_own = response.term == raft.current_term
            && raft.current_term == server.disk.hard_state.current_term;
        // A stale-term refusal is not a response to this leader.
        let shows_contact = response.outcome != AppendOutcome::StaleTerm;
        let is_contact = is_own
            && shows_contact
            && (adds_nothing(server, progress, response)
                || flawed!(self.scope, MatchesAreContacts));
        is_contact.then_some(response.term)
    }

    /// The planted flaw: whether a message is a vote that the candidate has not counted yet.
    fn is_dead_by_flaw(&self, receiver: &Process, envelope: &Envelope) -> bool {
        flawed!(self.scope, DropsFreshVotes)
            && matches!(&envelope.message, Message::RequestVoteResponse(response)
            if response.vote_granted
                && running(receiver).is_some_and(|running| {
                    running.raft.current_term == response.term
                }))
    }

    /// Returns a request without the entries that its receiver has permanently. A request of a term that
    /// the receiver has left keeps only its term. Returns `None` if the message is unchanged. The
    /// trimmed and the complete request have the same effect, in this and in every later state.
    pub fn trimmed(&self, receiver: &Process, message: &Message) -> Option<Message> {
        let (Process::Server(server), Message::AppendEntriesRequest(request)) = (receiver, message)
        else {
            return None;
        };
        if !self.scope.reduction.trim_appends {
            return None;
        }
        if request.term < server.disk.hard_state.current_term {
            // The receiver refuses it for its term, regardless of the other fields.
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
        if !self.scope.budget.snapshots.is_never() {
            // The argument does not cover entries that a snapshot may include.
            return None;
        }
        let mut held = permanent_prefix(server, request)?;
        if flawed!(self.scope, TrimsOneTooMany) {
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

    /// Removes the messages that can no longer have an effect from a receiver's inbox. All responses
    /// that the receiver can send without a change must have been sent. `inbox` is sorted.
    pub(super) fn normalize_inbox(
        &self,
        receiver: &Process,
        crashes_over: bool,
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
        let (mut term_only, mut refusals, mut contacts) = (Vec::new(), Vec::new(), Vec::new());
        inbox.retain(|envelope| {
            let from = envelope.from;
            match self.relevance(receiver, envelope).now(crashes_over) {
                Relevance::Live | Relevance::TermOnlyAfterCrashes => true,
                Relevance::Dead => false,
                Relevance::TermOnly => {
                    !last && !is_term_final(from) && insert(&mut term_only, from)
                }
                Relevance::Refusal(term) => insert(&mut refusals, (from, term)),
                Relevance::Contact(term) => insert(&mut contacts, (from, term)),
            }
        });
    }
}

fn running(process: &Process) -> Option<&Running> {
    process.server()?.running.as_ref()
}

/// Whether the server's term and vote in memory are durable. Only then is a refusal sent immediately,
/// and no crash takes back the state that it depends on.
fn is_vote_durable(server: &Server) -> bool {
    let held = server.disk.hard_state;
    server.running.as_ref().is_some_and(|running| {
        running.raft.current_term == held.current_term && running.raft.voted_for == held.voted_for
    })
}

/// Whether a request, in this and in every later state, can only be refused for its old term.
fn carries_only_term(server: &Server, message: &Message) -> bool {
    let HardState {
        current_term,
        voted_for,
    } = server.disk.hard_state;
    if !is_vote_durable(server) {
        return false;
    }
    match message {
        Message::RequestVoteRequest(request) => {
            // A server votes at most once in a term, but repeats the vote to the same candidate.
            request.term < current_term || (request.term == current_term && voted_for.is_some())
        }
        Message::PreVoteRequest(request) => request.next_term <= current_term,
        Message::AppendEntriesRequest(request) => request.term < current_term,
        Message::InstallSnapshotRequest(request) => request.term < current_term,
        _ => false,
    }
}

/// The commit index of a message that a follower has absorbed: a request whose entries the follower has
/// durably and knows to be committed, or a snapshot whose entries it has applied. This holds for the
/// rest of the term: only a crash takes the commit index back.
fn absorbed_commit(server: &Server, hints: bool, message: &Message) -> Option<LogIndex> {
    if !is_vote_durable(server) || !follows_quietly(server, hints) {
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
            // The entries that a snapshot covers are committed, so the leader has them too.
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

/// Whether the server is a follower without pending writes, so that a request of its term can only add
/// entries and advance the commit index.
fn follows_quietly(server: &Server, hints: bool) -> bool {
    let Some(running) = &server.running else {
        return false;
    };
    let raft = &running.raft;
    // If hints are in use, the request must also have set the leader hint.
    matches!(raft.role, Role::Follower { leader, .. } if leader.is_some() || !hints)
        // With CheckQuorum, contact with the leader has an effect again after each quorum timeout.
        && !raft.config.check_quorum
        // A pre-candidate becomes a follower of the same term when a request of the leader arrives.
        && !raft.config.pre_vote
        && running.unsynced.is_empty()
}

/// The number of leading entries of a request that its receiver has permanently. Returns `None` if the
/// receiver does not have the entry before them. The receiver must be in the request's term, must not be
/// the leader, and its whole log must be durable. The leader of a term only appends. So while the
/// receiver is in this term, neither a request nor a crash removes entries that agree with this request.
fn permanent_prefix(server: &Server, request: &AppendEntriesRequest) -> Option<usize> {
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

/// Adds an item to a small set. Returns whether the item is new.
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

/// Whether the receiver ignores the message in this and in every later state. A server's term never
/// falls below its durable term, and the server is a candidate at most once in a term.
fn is_dead(receiver: &Process, envelope: &Envelope) -> bool {
    match (receiver, &envelope.message) {
        (Process::Server(server), message) => {
            let Address::Node(from) = envelope.from else {
                return false;
            };
            let term = server.disk.hard_state.current_term;
            // A server that is down, or whose term is not yet durable, can be in the term of its disk
            // again, but only as a follower.
            let role = server
                .running
                .as_ref()
                .filter(|running| running.raft.current_term == term)
                .map(|running| &running.raft.role);
            match message {
                // A granted pre-vote counts in the term before its `next_term`. It can count again
                // there, because a server can be a pre-candidate several times in a term.
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
                                (_, Some(Role::Leader(leader))) => {
                                    let progress = leader.followers.get(&from);
                                    // With CheckQuorum, contact with the follower has an effect again
                                    // after each quorum timeout.
                                    progress.is_none_or(|progress| {
                                        adds_nothing(server, progress, response)
                                            && !leader_checks_quorum(server)
                                    })
                                }
                                _ => true,
                            })
                }
                Message::TimeoutNowRequest(request) => request.term < term,
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
            // A client waits for each of its requests once, and never again for an earlier one. After a
            // restart it has a new id, and ignores the responses to its earlier runs.
            let client = &process.client;
            client.id() != response.client
                || client
                    .in_flight
                    .as_ref()
                    .is_none_or(|flight| flight.id != response.id)
        }
        _ => false,
    }
}

/// Whether a response of a follower adds nothing to the progress that its leader knows, now and later.
fn adds_nothing(server: &Server, progress: &Progress, response: &AppendEntriesResponse) -> bool {
    let nothing_new = match &response.outcome {
        // The response to a probe at `match_index` triggers the sending of entries.
        AppendOutcome::Matched { match_index } => *match_index < progress.match_index,
        // Without pipelining, next_index returns to an earlier position only after a match at or past
        // it.
        AppendOutcome::Conflict { prev_log_index, .. } => {
            *prev_log_index <= progress.match_index
                || (prev_log_index.next() != progress.next_index && !pipelines(server))
        }
        AppendOutcome::StaleTerm => true,
    };
    nothing_new && response.read_round <= progress.read_round
}

/// Whether an InstallSnapshot response is dead. The rule is that of an AppendEntries response that
/// acknowledges the same index, without a read round.
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
