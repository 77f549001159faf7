//! Reductions: ways to visit fewer states without visiting fewer behaviours.
//!
//! Each can be switched off, each is justified in `docs/reductions.md`, and each is tested by
//! comparing the reachable server states with and without it.

use super::{
    process::{Process, Server},
    scope::{Budget, Scope},
};
use crate::{
    Address, AppendEntriesRequest, AppendOutcome, EntryId, Envelope, HardState,
    InstallSnapshotResponse, Log, LogIndex, Message, NodeId, Role, Snapshot, Term,
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
}

impl Reduction {
    /// All of them.
    pub const ALL: Self = Self {
        merge_syncs: true,
        merge_restarts: true,
        drop_dead: true,
        send_early: true,
        forget_hints: true,
    };

    /// None of them: every event is a step of its own.
    pub const NONE: Self = Self {
        merge_syncs: false,
        merge_restarts: false,
        drop_dead: false,
        send_early: false,
        forget_hints: false,
    };
}

impl Reduction {
    /// Whether a message that was forgotten as one that only tells ([`Relevance::Tells`]) may matter
    /// again: to a server that is down, or whose term is not durable yet. What others send at any
    /// time then comes to it again.
    pub fn remembers_again(&self) -> bool {
        self.send_early && self.drop_dead && !(self.merge_syncs && self.merge_restarts)
    }
}

impl Scope {
    /// Whether a server can meet no newer term in this scope, now or later: it is in the last one,
    /// durably.
    pub fn is_settled(&self, process: &Process) -> bool {
        process
            .server()
            .is_some_and(|server| server.disk.hard_state.current_term >= self.last_term())
    }

    /// Whether anybody can learn whom a follower takes for its leader.
    pub(super) fn tells_hints(&self) -> bool {
        !(self.reduction.forget_hints && self.direct_clients)
    }

    /// Whether no server can crash any more.
    pub fn is_calm(&self, spent: &Budget) -> bool {
        spent.crashes >= self.budget.crashes
    }

    /// How a message matters to its receiver.
    pub fn relevance(&self, receiver: &Process, envelope: &Envelope) -> Relevance {
        if !self.reduction.drop_dead {
            return Relevance::Live;
        }
        if is_dead(receiver, envelope) {
            return Relevance::Dead;
        }
        let Process::Server(server) = receiver else {
            return Relevance::Live;
        };
        let message = &envelope.message;
        let hints = self.tells_hints();
        let tells = |calm| self.reduction.send_early && only_tells(server, calm, hints, message);
        match refusal_term(message) {
            Some(term) => Relevance::Refusal(term),
            None if tells(false) => Relevance::Tells { when_calm: false },
            None if tells(true) => Relevance::Tells { when_calm: true },
            None => Relevance::Live,
        }
    }

    /// Removes from a receiver's inbox what can no longer matter, given that whatever the receiver
    /// answers without changing has been sent. `inbox` is in the order of its envelopes.
    pub(super) fn tidy_inbox(
        &self,
        receiver: &Process,
        calm: bool,
        is_settled: impl Fn(Address) -> bool,
        inbox: &mut Vec<Envelope>,
    ) {
        let last = self.is_settled(receiver);
        let (mut tells, mut refusals) = (Vec::new(), Vec::new());
        inbox.retain(|envelope| {
            let from = envelope.from;
            match self.relevance(receiver, envelope) {
                Relevance::Live => true,
                Relevance::Dead => false,
                Relevance::Tells { when_calm } if when_calm && !calm => true,
                Relevance::Tells { .. } => !last && !is_settled(from) && insert(&mut tells, from),
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
    Tells {
        /// Only if no server can crash any more.
        when_calm: bool,
    },
    /// All that it can do is tell this term. One of each sender and term is enough.
    Refusal(Term),
}

/// Whether all that a request can still do, in this and in every later state, is to be refused
/// for its old term.
fn only_tells(server: &Server, calm: bool, hints: bool, message: &Message) -> bool {
    let HardState {
        current_term,
        voted_for,
    } = server.disk.hard_state;
    // A refusal is sent at once only if the term it tells is durable.
    let told = server.running.as_ref().is_some_and(|running| {
        running.raft.current_term == current_term && running.raft.voted_for == voted_for
    });
    if !told {
        return false;
    }
    match message {
        Message::RequestVoteRequest(request) => {
            // A vote once given in a term is not given again, except to the same candidate.
            request.term < current_term || (request.term == current_term && voted_for.is_some())
        }
        Message::PreVoteRequest(request) => request.next_term <= current_term,
        Message::AppendEntriesRequest(request) => {
            request.term < current_term
                || (request.term == current_term
                    && calm
                    && follows_quietly(server, hints)
                    && is_absorbed(server, request))
        }
        Message::InstallSnapshotRequest(request) => {
            request.term < current_term
                || (request.term == current_term
                    && calm
                    && follows_quietly(server, hints)
                    && is_covered(server, &request.snapshot))
        }
        _ => false,
    }
}

/// Whether a follower holds all that the request says, and knows of its commit index. In the same
/// term it stays so: only a crash takes the commit index back.
fn is_absorbed(server: &Server, request: &AppendEntriesRequest) -> bool {
    let Some(running) = &server.running else {
        return false;
    };
    let raft = &running.raft;
    let brought = Log::after(
        EntryId {
            term: request.prev_log_term,
            index: request.prev_log_index,
        },
        request.entries.clone(),
    );
    // What a snapshot covers here is committed, and so the leader's too.
    request.leader_commit <= raft.commit_index && raft.log.agrees(&brought, brought.last_index())
}

/// Whether a follower has applied all that a snapshot covers. Likewise.
fn is_covered(server: &Server, snapshot: &Snapshot) -> bool {
    let running = server.running.as_ref();
    running.is_some_and(|running| snapshot.last_included_index <= running.raft.commit_index)
}

/// Whether the server follows in its durable term with nothing on its way to the disk, so that a
/// request of that term can only bring entries and a commit index.
fn follows_quietly(server: &Server, hints: bool) -> bool {
    let Some(running) = &server.running else {
        return false;
    };
    let raft = &running.raft;
    // Where hints are told, the request must also have told who leads.
    matches!(raft.role, Role::Follower { leader, .. } if leader.is_some() || !hints)
        // That the leader was heard from is news again after each quorum timeout.
        && !raft.config.check_quorum
        && running.unsynced.is_empty()
}

/// Adds to a small set; says whether the item is new.
fn insert<T: PartialEq>(set: &mut Vec<T>, item: T) -> bool {
    let new = !set.contains(&item);
    if new {
        set.push(item);
    }
    new
}

fn refusal_term(message: &Message) -> Option<Term> {
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
                                        AppendOutcome::Matched { match_index } => {
                                            *match_index <= progress.match_index
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
                    response.match_index <= progress.match_index && !leader_checks_quorum(server)
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
