//! Scripts: schedules that show a mutant where the scope is too large to search.

use anyhow::{Context, Result};
use model::{
    Address, AppendOutcome, Message, NodeId,
    system::{Action, Local, Reduction, Scope, System},
};

use crate::{step_guard, trace::Trace};

/// A step of a script.
#[derive(Clone, Copy, Debug)]
pub(super) enum Directive {
    /// The election timer of a server fires.
    Timeout(u64),
    /// A client sends a write to a server.
    Propose(u64),
    /// A client sends a read to a server.
    Read(u64),
    /// The heartbeat timer of a leader fires.
    Heartbeat(u64),
    /// A server's oldest write becomes durable.
    Sync(u64),
    /// Delivers a message of this kind and term from one server to another. If there are several, the
    /// one with the most entries is delivered.
    Deliver(MessageKind, u64, u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    VoteRequest,
    Vote,
    Append,
    /// An AppendEntries request without entries.
    EmptyAppend,
    /// An AppendEntries request with a read round.
    ReadRound,
    Acknowledgement,
}
/// Follows a script with real messages, and stops at the first violation.
pub(super) fn perform(scope: &Scope, script: &[Directive]) -> Result<Trace> {
    let scope = Scope {
        reduction: Reduction {
            drop_dead: false,
            send_early: false,
            trim_appends: false,
            ..scope.reduction
        },
        ..scope.clone()
    };
    let transitions = step_guard::transitions(scope.clone());
    let mut system = transitions.start();
    let mut actions = Vec::new();
    for directive in script {
        let action = directive
            .action(&system)
            .with_context(|| format!("no message for {directive:?}"))?;
        transitions
            .advance(&mut system, &action)
            .with_context(|| format!("{directive:?} cannot happen"))?;
        actions.push(action);
        if system.violation.is_some() {
            break;
        }
    }
    Trace::run(&scope, &actions)
}

impl Directive {
    fn action(self, system: &System) -> Option<Action> {
        let (server, local) = match self {
            Self::Timeout(server) => (server, Local::ElectionTimeout),
            Self::Propose(server) => (server, Local::Propose),
            Self::Read(server) => (server, Local::Read),
            Self::Heartbeat(server) => (server, Local::HeartbeatTimeout),
            Self::Sync(server) => (server, Local::Sync),
            Self::Deliver(kind, term, from, to) => {
                let node = |server| Address::Node(NodeId::new(server));
                let envelope = system
                    .network
                    .iter()
                    .filter(|envelope| envelope.from == node(from) && envelope.to == node(to))
                    .filter(|envelope| {
                        let found = described(&envelope.message);
                        match kind {
                            MessageKind::Append => {
                                found == Some((MessageKind::Append, term))
                                    || found == Some((MessageKind::ReadRound, term))
                            }
                            MessageKind::EmptyAppend => {
                                found == Some((MessageKind::Append, term))
                                    && says(&envelope.message) == 0
                            }
                            kind => found == Some((kind, term)),
                        }
                    })
                    .max_by_key(|envelope| says(&envelope.message))?
                    .clone();
                (
                    to,
                    Local::Deliver {
                        envelope,
                        ask: None,
                    },
                )
            }
        };
        let process = server as usize - 1;
        Some(Action { process, local })
    }
}

fn described(message: &Message) -> Option<(MessageKind, u64)> {
    let (kind, term) = match message {
        Message::RequestVoteRequest(request) => (MessageKind::VoteRequest, request.term),
        Message::RequestVoteResponse(response) => (MessageKind::Vote, response.term),
        Message::AppendEntriesRequest(request) if request.read_round > 0 => {
            (MessageKind::ReadRound, request.term)
        }
        Message::AppendEntriesRequest(request) => (MessageKind::Append, request.term),
        Message::AppendEntriesResponse(response) => (MessageKind::Acknowledgement, response.term),
        Message::PreVoteRequest(_)
        | Message::PreVoteResponse(_)
        | Message::InstallSnapshotRequest(_)
        | Message::InstallSnapshotResponse(_)
        | Message::ClientRequest(_)
        | Message::ClientResponse(_)
        | Message::TimeoutNowRequest(_)
        | Message::Identity(_) => return None,
    };
    Some((kind, term.get()))
}

/// The number of entries that a message contains or acknowledges.
fn says(message: &Message) -> u64 {
    match message {
        Message::AppendEntriesRequest(request) => request.entries.len() as u64,
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => match_index.get(),
            AppendOutcome::Conflict { .. } | AppendOutcome::StaleTerm => 0,
        },
        _ => 0,
    }
}

/// Three and four servers cannot show that an acknowledgment outlived its leadership: an entry that two
/// of three servers acknowledge is committed. With five servers: server 1 leads and server 2
/// acknowledges two entries; server 5 leads and replaces them by one; server 1 leads again, counts on
/// server 2 for its second entry, and commits it with server 3 alone; server 2 is elected without it.
#[rustfmt::skip]
pub(super) const OUTLIVED: &[Directive] = {
    use Directive::*;
    use MessageKind::*;
    &[
        Timeout(1), Deliver(VoteRequest, 1, 1, 2), Deliver(VoteRequest, 1, 1, 3),
        Deliver(Vote, 1, 2, 1), Deliver(Vote, 1, 3, 1), Propose(1),
        Deliver(Append, 1, 1, 2), Deliver(Acknowledgement, 1, 2, 1),
        Deliver(Append, 1, 1, 2), Deliver(Acknowledgement, 1, 2, 1),
        Timeout(5), Timeout(5), Deliver(VoteRequest, 2, 5, 3), Deliver(VoteRequest, 2, 5, 4),
        Deliver(Vote, 2, 3, 5), Deliver(Vote, 2, 4, 5),
        Deliver(Append, 2, 5, 2), Deliver(Append, 2, 5, 1),
        Timeout(1), Deliver(VoteRequest, 3, 1, 3), Deliver(VoteRequest, 3, 1, 4),
        Deliver(Vote, 3, 3, 1), Deliver(Vote, 3, 4, 1), Sync(1),
        Deliver(Append, 3, 1, 3), Deliver(Acknowledgement, 3, 3, 1),
        Deliver(Append, 3, 1, 3), Deliver(Acknowledgement, 1, 2, 1),
        Deliver(Acknowledgement, 3, 3, 1),
        Timeout(2), Timeout(2), Deliver(VoteRequest, 4, 2, 5), Deliver(VoteRequest, 4, 2, 4),
        Deliver(Vote, 4, 5, 2), Deliver(Vote, 4, 4, 2),
    ]
};

/// Server 1 leads in term 2 and requests server 3 to confirm a read. It leads again in term 4, with
/// server 3's vote. Then the old request arrives and is refused, in term 4. Server 2 is elected in term
/// 5 and commits a write with server 3. Server 1 does not know this write, and must not mistake the
/// refusal for a confirmation of its next read.
#[rustfmt::skip]
pub(super) const REFUSED: &[Directive] = {
    use Directive::*;
    use MessageKind::*;
    &[
        Timeout(1), Deliver(VoteRequest, 2, 1, 2), Deliver(Vote, 2, 2, 1),
        Deliver(Append, 2, 1, 2), Read(1),
        Timeout(2), Deliver(VoteRequest, 3, 2, 1),
        Timeout(1), Deliver(VoteRequest, 4, 1, 3), Deliver(Vote, 4, 3, 1),
        Deliver(ReadRound, 2, 1, 3),
        Sync(1), Deliver(Append, 4, 1, 2), Deliver(Acknowledgement, 4, 2, 1),
        Timeout(2), Deliver(VoteRequest, 5, 2, 3), Deliver(Vote, 5, 3, 2), Propose(2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Sync(2), Sync(2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Read(1), Deliver(Acknowledgement, 4, 3, 1),
    ]
};

/// As [`REFUSED`], but server 3 answers the read round while it is still in term 2. Its acknowledgement
/// arrives when server 1 leads in term 4, and must not confirm a read of that term.
#[rustfmt::skip]
pub(super) const CONFIRMED_BEFORE: &[Directive] = {
    use Directive::*;
    use MessageKind::*;
    &[
        Timeout(1), Deliver(VoteRequest, 2, 1, 2), Deliver(Vote, 2, 2, 1),
        Deliver(Append, 2, 1, 2), Read(1), Deliver(ReadRound, 2, 1, 3),
        Timeout(2), Deliver(VoteRequest, 3, 2, 1),
        Timeout(1), Deliver(VoteRequest, 4, 1, 3), Deliver(Vote, 4, 3, 1),
        Sync(1), Deliver(Append, 4, 1, 2), Deliver(Acknowledgement, 4, 2, 1),
        Timeout(2), Deliver(VoteRequest, 5, 2, 3), Deliver(Vote, 5, 3, 2), Propose(2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Sync(2), Sync(2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Read(1), Deliver(Acknowledgement, 2, 3, 1),
    ]
};

/// Server 1 leads in term 2, and a response to a heartbeat opens the pipeline to server 2: three entries
/// are on the way, and next_index is 5. Server 3 leads in term 3 and replaces the entries of server 1 by
/// one. Server 1 leads again: its log ends with entry 3.
#[rustfmt::skip]
pub(super) const REPLACED: &[Directive] = {
    use Directive::*;
    use MessageKind::*;
    &[
        Timeout(1), Deliver(VoteRequest, 2, 1, 2), Deliver(Vote, 2, 2, 1),
        Heartbeat(1), Deliver(EmptyAppend, 2, 1, 2), Deliver(Acknowledgement, 2, 2, 1),
        Propose(1), Propose(1),
        Timeout(3), Timeout(3), Deliver(VoteRequest, 3, 3, 2), Deliver(Vote, 3, 2, 3),
        Deliver(Append, 3, 3, 1),
        Timeout(1), Deliver(VoteRequest, 4, 1, 2), Deliver(Vote, 4, 2, 1),
    ]
};
