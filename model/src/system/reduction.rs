//! Reductions: ways to visit fewer states without visiting fewer behaviours.
//!
//! Each can be switched off, each is justified in `docs/reductions.md`, and each is tested by
//! comparing the reachable server states with and without it.

use super::{process::Process, scope::Scope};
use crate::{Address, AppendOutcome, Envelope, Message, Role, Term};
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

impl Scope {
    /// Whether a server can meet no newer term in this scope, now or later: it is in the last one,
    /// durably.
    pub fn is_settled(&self, process: &Process) -> bool {
        process
            .server()
            .is_some_and(|server| server.disk.hard_state.current_term >= self.last_term())
    }

    /// Removes from a receiver's inbox what can no longer matter. `inbox` is in the order of its
    /// envelopes, which `envelope` finds.
    pub fn tidy_inbox<T>(
        &self,
        receiver: &Process,
        is_settled: impl Fn(Address) -> bool,
        inbox: &mut Vec<T>,
        envelope: impl Fn(&T) -> &Envelope,
    ) {
        if !self.reduction.drop_dead {
            return;
        }
        inbox.retain(|item| !is_dead(receiver, envelope(item)));
        let Process::Server(server) = receiver else {
            return;
        };
        // All that a request of an older term can still do is make its receiver tell its own,
        // newer term to the sender: one such request does it as well as several, and a sender
        // that no newer term can reach needs none. Likewise all that a refusal can do is tell its
        // term.
        let durable_term = server.disk.hard_state.current_term;
        let (mut stale, mut refusals) = (Vec::new(), Vec::new());
        inbox.retain(|item| {
            let Envelope { from, message, .. } = envelope(item);
            if request_term(message).is_some_and(|term| term < durable_term) {
                return !is_settled(*from) && insert(&mut stale, *from);
            }
            match refusal_term(message) {
                Some(term) => insert(&mut refusals, (*from, term)),
                None => true,
            }
        });
    }
}

/// Adds to a small set; says whether the item is new.
fn insert<T: PartialEq>(set: &mut Vec<T>, item: T) -> bool {
    let new = !set.contains(&item);
    if new {
        set.push(item);
    }
    new
}

fn request_term(message: &Message) -> Option<Term> {
    match message {
        Message::RequestVoteRequest(request) => Some(request.term),
        Message::AppendEntriesRequest(request) => Some(request.term),
        _ => None,
    }
}

fn refusal_term(message: &Message) -> Option<Term> {
    match message {
        Message::RequestVoteResponse(response) if !response.vote_granted => Some(response.term),
        Message::AppendEntriesResponse(response)
            if response.outcome == AppendOutcome::StaleTerm =>
        {
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
            // A server that is down, or whose term is not durable yet, may still look like
            // anything in the term of its disk.
            let role = server
                .running
                .as_ref()
                .filter(|running| running.raft.current_term == term)
                .map(|running| &running.raft.role);
            match message {
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
                                        // next_index returns to a position it has left only by a
                                        // match at or past it.
                                        AppendOutcome::Conflict { prev_log_index, .. } => {
                                            *prev_log_index <= progress.match_index
                                                || prev_log_index.next() != progress.next_index
                                        }
                                        AppendOutcome::StaleTerm => true,
                                    };
                                    nothing_new && response.read_round <= progress.read_round
                                }
                                _ => true,
                            })
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
