//! Obligations of the reductions that drop, trim or unite messages.

use super::{Checked, Obligations, delivery, difference};
use crate::{
    Address, AppendEntriesResponse, AppendOutcome, Envelope, LogIndex, Message, Raft,
    RequestVoteResponse, Role, Term,
    system::{
        process::{Process, Server},
        relevance::refusal_term,
    },
};
use alloc::{collections::BTreeMap, format, vec, vec::Vec};

impl Obligations {
    /// Requires that a message does not change its receiver, and returns the responses. Each carries the
    /// receiver's term.
    ///
    /// # Errors
    /// The change that the message causes.
    pub fn has_no_effect(
        &self,
        receiver: &Process,
        envelope: &Envelope,
    ) -> Checked<Vec<ObservedResponse>> {
        match receiver {
            Process::Server(server) => self.server_ignores(receiver, server, envelope),
            Process::Proxy(_) | Process::Client(_) => {
                for local in self.plain.deliveries(envelope) {
                    if let Some(step) = self.plain.local_step(receiver, &local)
                        && (!step.only_sends(receiver) || !step.sent.is_empty())
                    {
                        return Err("it has an effect".into());
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    fn server_ignores(
        &self,
        receiver: &Process,
        server: &Server,
        envelope: &Envelope,
    ) -> Checked<Vec<ObservedResponse>> {
        let Some(running) = &server.running else {
            return Ok(Vec::new());
        };
        let before = &running.raft;
        let Some((mut after, effects)) = self.received(receiver, &delivery(envelope))? else {
            return Ok(Vec::new());
        };
        if effects.write.is_some() {
            return Err("it causes a write".into());
        }
        // A response may wait for a write that is pending already.
        let (held, known) = (&after.held, &before.held);
        let new = held.iter().filter(|held| !known.contains(held));
        let responses: Vec<Envelope> = new
            .map(|held| held.envelope.clone())
            .chain(effects.sends)
            .filter(|sent| self.reaches_network(sent))
            .collect();
        let waits = |raft: &Raft| {
            let mut held = raft.held.iter();
            held.any(|held| held.envelope.to == envelope.from)
        };
        // The response may replace an earlier held message to the same receiver: that message is lost,
        // which can happen to any message.
        let others = |raft: &Raft| {
            let held = raft.held.iter();
            let held = held.filter(|held| held.envelope.to != envelope.from);
            held.cloned().collect::<Vec<_>>()
        };
        if others(&after) != others(before) {
            return Err("it changes what waits for the disk".into());
        }
        after.held.clone_from(&before.held);
        self.forget_unused_hint(&mut after);
        if after != *before {
            return Err(format!(
                "it changes the server: {}",
                difference(before, &after)
            ));
        }
        let mut found = Vec::new();
        if responses.is_empty() && waits(&after) {
            // A response that waits already covers the new one.
            return Ok(vec![ObservedResponse::Waits]);
        }
        for sent in responses {
            let message = &sent.message;
            if sent.to != envelope.from {
                return Err(format!("it causes a message to {}", sent.to));
            }
            let response = if refusal_term(message) == Some(before.current_term) {
                ObservedResponse::Refusal
            } else if is_repeated_vote(server, envelope.from, message) {
                ObservedResponse::Repeated
            } else if message.sender_term() == before.current_term {
                ObservedResponse::Other(message.clone())
            } else {
                return Err(format!("the response {message:?} carries another term"));
            };
            found.push(response);
        }
        Ok(found)
    }

    /// Whether a message enters the network. The responses to direct clients are observed, not sent, and
    /// some scopes exclude AppendEntries.
    fn reaches_network(&self, sent: &Envelope) -> bool {
        let is_append = matches!(sent.message, Message::AppendEntriesRequest(_));
        self.scope().append_entries || !is_append
    }

    pub(super) fn forget_unused_hint(&self, raft: &mut Raft) {
        if !self.plain.uses_hints()
            && let Role::Follower { leader, .. } = &mut raft.role
        {
            *leader = None;
        }
    }

    /// Requires that two messages have equal effects on a process.
    ///
    /// # Errors
    /// The difference between the effects.
    pub fn have_equal_effects(
        &self,
        receiver: &Process,
        one: &Envelope,
        other: &Envelope,
    ) -> Checked {
        let received = |envelope| self.received(receiver, &delivery(envelope));
        let (Some((one_after, mut one_effects)), Some((other_after, mut other_effects))) =
            (received(one)?, received(other)?)
        else {
            return Ok(());
        };
        if one_after != other_after {
            let differs = difference(&one_after, &other_after);
            return Err(format!("the server differs afterwards: {differs}"));
        }
        if one_effects.write != other_effects.write {
            return Err("the writes differ".into());
        }
        one_effects.sends.sort_unstable();
        other_effects.sends.sort_unstable();
        if one_effects.sends != other_effects.sends {
            return Err("the messages sent differ".into());
        }
        Ok(())
    }

    /// The refusal that represents all refusals with this term.
    pub fn plain_refusal(term: Term) -> Message {
        Message::RequestVoteResponse(RequestVoteResponse {
            term,
            vote_granted: false,
        })
    }

    /// The response that represents all responses of this term that only show contact.
    pub fn plain_contact(term: Term) -> Message {
        Message::AppendEntriesResponse(AppendEntriesResponse {
            term,
            // A conflict before the first entry moves no `next_index`.
            outcome: AppendOutcome::Conflict {
                prev_log_index: LogIndex::ZERO,
                conflict_term: Term::ZERO,
                conflict_index: LogIndex::ZERO,
            },
            read_round: 0,
        })
    }

    /// Requires that the process is not beyond the last term of the scope.
    ///
    /// # Errors
    /// The term.
    pub fn is_in_terms(&self, process: &Process) -> Checked {
        let term = process.server().map(|server| match &server.running {
            Some(running) => running.raft.current_term,
            None => server.disk.hard_state.current_term,
        });
        match term {
            Some(term) if term > self.scope().last_term() => {
                Err(format!("term {term} is beyond the last term of the scope"))
            }
            _ => Ok(()),
        }
    }
}

/// A response to a message that does not change its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedResponse {
    /// It carries only the term of the receiver.
    Refusal,
    /// It carries more than the term.
    Other(Message),
    /// It repeats a vote that was sent when it became durable.
    Repeated,
    /// It is covered by a response that waits for the disk.
    Waits,
}

/// The part of a leader's log that a request reveals, where the receiver agrees with it.
///
/// The same process occurs in different runs, with different leaders. Two requests of one term that
/// contradict each other do not occur in the same run: a term has one leader (Election Safety), and a
/// leader only appends (Leader Append-Only). The search checks both properties in every state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaderLog {
    term: Term,
    /// The terms of the entries, by index.
    terms: BTreeMap<LogIndex, Term>,
}

impl LeaderLog {
    /// The part that a request reveals to this receiver. Returns `None` for other messages, and for
    /// requests of terms that the receiver has durably left.
    pub fn shown_to(receiver: &Process, message: &Message) -> Option<Self> {
        let server = receiver.server()?;
        let (term, mut terms) = positions(message)?;
        if term < server.disk.hard_state.current_term {
            return None;
        }
        let log = &server.running.as_ref()?.raft.log;
        let agrees = |(index, term): (&LogIndex, &Term)| log.term_at(*index) == Some(*term);
        let agreed = terms.iter().filter(|position| agrees(*position));
        let last = agreed.map(|(index, _)| *index).max().unwrap_or_default();
        let mut index = log.base().index.max(LogIndex::new(1));
        while index <= last {
            if let Some(term) = log.term_at(index) {
                terms.insert(index, term);
            }
            index = index.next();
        }
        Some(Self { term, terms })
    }

    /// The term of the leader.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether a message cannot occur in a run with this leader. `is_from_leader` states whether the
    /// leader sent it.
    pub fn is_contradicted_by(&self, message: &Message, is_from_leader: bool) -> bool {
        let Some((term, positions)) = positions(message) else {
            return false;
        };
        // Terms never decrease within a log.
        let contradicts = |(index, term): (&LogIndex, &Term)| {
            let before = self.terms.range(..=*index).next_back();
            let after = self.terms.range(*index..).next();
            self.terms.get(index).is_some_and(|known| known != term)
                || before.is_some_and(|(_, known)| known > term)
                || after.is_some_and(|(_, known)| known < term)
        };
        term == self.term && (!is_from_leader || positions.iter().any(contradicts))
    }
}

/// The term of a leader's request, and the positions that it contains.
fn positions(message: &Message) -> Option<(Term, BTreeMap<LogIndex, Term>)> {
    match message {
        Message::AppendEntriesRequest(request) => {
            let mut terms = BTreeMap::new();
            if request.prev_log_index > LogIndex::ZERO {
                terms.insert(request.prev_log_index, request.prev_log_term);
            }
            let mut index = request.prev_log_index;
            for entry in &request.entries {
                index = index.next();
                terms.insert(index, entry.term);
            }
            Some((request.term, terms))
        }
        Message::InstallSnapshotRequest(request) => {
            let last = request.snapshot.last_included();
            Some((request.term, BTreeMap::from([(last.index, last.term)])))
        }
        _ => None,
    }
}

/// Whether a response equals an earlier one, or acknowledges no further entries. Until a pending write
/// is durable, a server may acknowledge less than before.
pub fn says_no_more(response: &Message, earlier: &Message) -> bool {
    let (Message::AppendEntriesResponse(one), Message::AppendEntriesResponse(other)) =
        (response, earlier)
    else {
        return response == earlier;
    };
    match (&one.outcome, &other.outcome) {
        (
            AppendOutcome::Matched {
                match_index: one_index,
            },
            AppendOutcome::Matched {
                match_index: other_index,
            },
        ) => {
            one.term == other.term && one.read_round <= other.read_round && one_index <= other_index
        }
        _ => one == other,
    }
}

/// Whether a response is the vote that this server's disk holds. The server sent it when the vote became
/// durable.
fn is_repeated_vote(server: &Server, candidate: Address, response: &Message) -> bool {
    let held = server.disk.hard_state;
    matches!(response, Message::RequestVoteResponse(response)
        if response.vote_granted
            && response.term == held.current_term
            && held.voted_for.map(Address::Node) == Some(candidate))
}
