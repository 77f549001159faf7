//! The claims of a received message.

use crate::{
    Address, AppendEntriesRequest, AppendOutcome, EntryId, Event, Log, LogIndex, Message, NodeId,
    Term,
};

/// The claims of the message that a step receives.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// No claim: no message, or one about nothing in the abstract protocol.
    Nothing,
    /// `candidate(from, term, last)`.
    Candidacy {
        /// The candidate.
        from: NodeId,
        /// Its term.
        term: Term,
        /// The last entry of its log.
        last: EntryId,
    },
    /// `voted(from, term, receiver)`.
    Vote {
        /// The voter.
        from: NodeId,
        /// The term.
        term: Term,
    },
    /// `leader-log(term, previous entry and entries)`, and the prefix up to `leader_commit` is committed.
    Entries(AppendEntriesRequest),
    /// `leader-log(term, last)`, and the log is committed.
    Snapshot {
        /// The term of the leader.
        term: Term,
        /// The last entry that the snapshot covers.
        last: EntryId,
    },
    /// `acked(from, term, the prefix of the leader's log up to the index)`.
    Acknowledgement {
        /// The server that acknowledges.
        from: NodeId,
        /// The term.
        term: Term,
        /// The index.
        index: LogIndex,
    },
}

impl Incoming {
    /// The claims of the message of an event.
    pub fn new(event: &Event) -> Self {
        let Event::Receive {
            from: Address::Node(from),
            message,
        } = event
        else {
            return Self::Nothing;
        };
        let from = *from;
        match message {
            Message::RequestVoteRequest(request) => Self::Candidacy {
                from,
                term: request.term,
                last: EntryId {
                    term: request.last_log_term,
                    index: request.last_log_index,
                },
            },
            Message::RequestVoteResponse(response) if response.vote_granted => Self::Vote {
                from,
                term: response.term,
            },
            Message::AppendEntriesRequest(request) => Self::Entries(request.clone()),
            Message::InstallSnapshotRequest(request) => Self::Snapshot {
                term: request.term,
                last: request.snapshot.last_included(),
            },
            _ => acknowledged(message).map_or(Self::Nothing, |(term, index)| {
                Self::Acknowledgement { from, term, index }
            }),
        }
    }

    /// The last index up to which a log is a prefix of the leader's log of a term, according to this message;
    /// 0 if it says nothing about that.
    ///
    /// The base of the log is committed in this or an earlier term, so the leader's log has it (Leader
    /// Completeness).
    pub(super) fn vouches(&self, term: Term, log: &Log) -> LogIndex {
        let base = log.base();
        match self {
            Self::Snapshot {
                term: leader_term,
                last,
            } if *leader_term == term => {
                let is_prefix =
                    last.index < base.index || log.term_at(last.index) == Some(last.term);
                if is_prefix {
                    last.index
                } else {
                    LogIndex::ZERO
                }
            }
            Self::Entries(request) if request.term == term => {
                let prev = request.prev_log_index;
                if prev >= base.index && log.term_at(prev) != Some(request.prev_log_term) {
                    return LogIndex::ZERO;
                }
                let last = prev.plus(request.entries.len() as u64);
                let mut index = prev.max(base.index.min(last));
                let covered = usize::try_from(index.get() - prev.get()).unwrap_or(usize::MAX);
                for entry in request.entries.iter().skip(covered) {
                    if log.get(index.next()) != Some(entry) {
                        break;
                    }
                    index = index.next();
                }
                index
            }
            _ => LogIndex::ZERO,
        }
    }

    /// Whether a server that follows this message keeps the entries of its log that the message does not
    /// contain. A name, an index and a term, identifies a log only if nothing before it changes.
    pub(super) fn keeps(&self, before: &Log, after: &Log) -> bool {
        match self {
            Self::Entries(request) => after.agrees(before, request.prev_log_index),
            Self::Snapshot { last, .. } => {
                let end = after.last_index();
                let covers = after.base() == *last;
                (covers && end == last.index)
                    || ((covers || after.agrees(before, last.index)) && after.agrees(before, end))
            }
            _ => false,
        }
    }

    /// The last index up to which a log is committed, according to the leader of a term.
    pub(super) fn commits(&self, term: Term, log: &Log) -> LogIndex {
        let vouched = self.vouches(term, log);
        match self {
            Self::Entries(request) => vouched.min(request.leader_commit),
            _ => vouched,
        }
    }
}

/// The term and the index of an acknowledgement.
pub(super) fn acknowledged(message: &Message) -> Option<(Term, LogIndex)> {
    match message {
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => Some((response.term, match_index)),
            _ => None,
        },
        Message::InstallSnapshotResponse(response) => Some((response.term, response.match_index)),
        _ => None,
    }
}
