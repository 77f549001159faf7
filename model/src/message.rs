//! What travels between servers, proxies and clients.
//!
//! Four server messages are those of Raft Figure 2, two those of PreVote (thesis §9.6), two those of
//! snapshots (Raft §7, Figure 13); one more admits servers ([`crate::admission`]). Where they depart from it, `Deviation:` says so at the place: the sender is in the envelope, `leader_commit`
//! is clipped, the answer to an append says what became of it in place of yes or no, with the hint of
//! §5.3, and an append and its answer carry the number of a read round (thesis §6.4).

use crate::{
    Address, ClientId, Entry, LogIndex, NodeId, RequestId, SessionId, Snapshot, Term,
    admission::IdentityMessage,
    store::{Answer, Found, LimitError, Operation, Query},
};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Envelope {
    /// Who sent it.
    pub from: Address,
    /// Who shall get it.
    pub to: Address,
    /// What it says.
    pub message: Message,
}

/// What one process says to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Message {
    /// A server asks whether it would get a vote.
    PreVoteRequest(PreVoteRequest),
    /// The answer to it.
    PreVoteResponse(PreVoteResponse),
    /// A candidate asks for a vote.
    RequestVoteRequest(RequestVoteRequest),
    /// The answer to it.
    RequestVoteResponse(RequestVoteResponse),
    /// A leader replicates entries, or just shows that it lives.
    AppendEntriesRequest(AppendEntriesRequest),
    /// The answer to it.
    AppendEntriesResponse(AppendEntriesResponse),
    /// A client, or a proxy for it, asks for something.
    ClientRequest(ClientRequest),
    /// The answer to it.
    ClientResponse(ClientResponse),
    /// A leader brings what a follower lacks and its log does not hold any more.
    InstallSnapshotRequest(InstallSnapshotRequest),
    /// The answer to it.
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// Servers tell each other which disks they run on ([`crate::admission`]). The core ignores it.
    Identity(IdentityMessage),
}

impl Message {
    /// Whether a later message to the same receiver, held for the same write, makes this one
    /// superfluous.
    pub(crate) fn is_replaced_by(&self, later: &Self) -> bool {
        let kind = core::mem::discriminant::<Self>;
        let outcome = core::mem::discriminant::<AppendOutcome>;
        match (self, later) {
            (Self::AppendEntriesResponse(one), Self::AppendEntriesResponse(other)) => {
                one.term == other.term && outcome(&one.outcome) == outcome(&other.outcome)
            }
            _ => kind(self) == kind(later),
        }
    }

    /// Takes over a later message that replaces this one. Of acknowledgements and read rounds the
    /// highest count.
    pub(crate) fn replace_by(&mut self, mut later: Self) {
        match (&*self, &mut later) {
            (Self::AppendEntriesResponse(earlier), Self::AppendEntriesResponse(later)) => {
                later.read_round = later.read_round.max(earlier.read_round);
                if let (
                    AppendOutcome::Matched {
                        match_index: earlier,
                    },
                    AppendOutcome::Matched { match_index },
                ) = (&earlier.outcome, &mut later.outcome)
                {
                    *match_index = (*match_index).max(*earlier);
                }
            }
            (Self::InstallSnapshotResponse(earlier), Self::InstallSnapshotResponse(later)) => {
                later.match_index = later.match_index.max(earlier.match_index);
            }
            _ => {}
        }
        *self = later;
    }

    /// The term of the server that sent it, as far as the message tells; term 0 for messages of
    /// clients and proxies, and about disk identities.
    pub(crate) fn sender_term(&self) -> Term {
        match self {
            // The sender has not entered that term, but the one before it.
            Self::PreVoteRequest(request) => request.next_term,
            Self::PreVoteResponse(response) => response.term,
            Self::RequestVoteRequest(request) => request.term,
            Self::RequestVoteResponse(response) => response.term,
            Self::AppendEntriesRequest(request) => request.term,
            Self::AppendEntriesResponse(response) => response.term,
            Self::InstallSnapshotRequest(request) => request.term,
            Self::InstallSnapshotResponse(response) => response.term,
            Self::ClientRequest(_) | Self::ClientResponse(_) | Self::Identity(_) => Term::ZERO,
        }
    }
}

/// Would the sender get a vote, if it ran (thesis §9.6)?
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreVoteRequest {
    /// The term it would run in: the one after its own.
    pub next_term: Term,
    /// Index of its last log entry.
    pub last_log_index: LogIndex,
    /// Term of that entry.
    pub last_log_term: Term,
}

/// The answer to it. It binds nobody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreVoteResponse {
    /// The term of the server that answers, for one that is behind.
    pub term: Term,
    /// Of the request: a late answer speaks of an earlier attempt.
    pub next_term: Term,
    /// Whether the vote would be granted.
    pub vote_granted: bool,
}

/// Raft Figure 2, RequestVote arguments.
///
/// Deviation: no `candidateId`; the candidate is the envelope's sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestVoteRequest {
    /// The candidate's term.
    pub term: Term,
    /// Index of the candidate's last log entry.
    pub last_log_index: LogIndex,
    /// Term of the candidate's last log entry.
    pub last_log_term: Term,
}

/// Raft Figure 2, RequestVote results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestVoteResponse {
    /// The voter's term, for a candidate that is behind.
    pub term: Term,
    /// Whether the candidate has the vote.
    pub vote_granted: bool,
}

/// Raft Figure 2, AppendEntries arguments.
///
/// Deviation: no `leaderId`; the leader is the envelope's sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppendEntriesRequest {
    /// The leader's term.
    pub term: Term,
    /// Index of the entry just before the new ones.
    pub prev_log_index: LogIndex,
    /// Term of that entry.
    pub prev_log_term: Term,
    /// The new entries; none for a heartbeat.
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    ///
    /// Deviation: clipped to the last entry this message speaks of. The receiver could use no more
    /// of it (Figure 2: min(leaderCommit, index of last new entry)), and so two messages that mean
    /// the same are the same.
    pub leader_commit: LogIndex,
    /// The read round that the response confirms; 0 if it is to confirm none. Heartbeats and the
    /// messages that begin a round carry it. The response to such a message leaves at once, without
    /// waiting for the entries in it to be durable.
    ///
    /// Deviation: Figure 2 has no reads beside the log; thesis §6.4 has a leader confirm them by a
    /// round of heartbeats, and the number tells which round.
    pub read_round: u64,
}

/// Raft Figure 2, AppendEntries results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppendEntriesResponse {
    /// The follower's term, for a leader that is behind.
    pub term: Term,
    /// The read round of the request.
    ///
    /// Deviation: as in the request. A late duplicate of an earlier round's answer says nothing
    /// about a later round.
    pub read_round: u64,
    /// What became of it.
    ///
    /// Deviation: in place of Figure 2's `success`. Answers may be late, repeated and out of order,
    /// so each says which entries it speaks of.
    pub outcome: AppendOutcome,
}

/// What became of an AppendEntries request.
///
/// Deviation: Figure 2's `success` is [`Self::Matched`], with how far; its failure is two, as only
/// [`Self::Conflict`] says anything about the log, with the hint of §5.3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The follower's log agrees with the leader's up to and including `match_index`, durably.
    Matched {
        /// Index of the last entry of the request, or of the last durable entry before it.
        match_index: LogIndex,
    },
    /// The follower has no entry at `prev_log_index`, or one of another term (Raft §5.3).
    Conflict {
        /// Of the request, so that a stale refusal can be told from a fresh one.
        prev_log_index: LogIndex,
        /// The term of the entry at `conflict_index`, 0 if there is none.
        conflict_term: Term,
        /// The last entry that may agree with the leader's log: up to `prev_log_index`, entries after
        /// it are missing or of a later term than the request's `prev_log_term`.
        conflict_index: LogIndex,
    },
    /// The request is of an older term.
    StaleTerm,
}

/// Raft Figure 13, InstallSnapshot arguments.
///
/// Deviation: no `leaderId`, as above; no `offset` and `done`, for it is one message, cut into
/// datagrams by whoever carries it. It is made of what the leader has applied when it leaves, not
/// read from its disk: what is committed needs no disk of the leader's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstallSnapshotRequest {
    /// The leader's term.
    pub term: Term,
    /// What it brings.
    pub snapshot: Snapshot,
}

/// Raft Figure 13, InstallSnapshot results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstallSnapshotResponse {
    /// The follower's term, for a leader that is behind.
    pub term: Term,
    /// The follower's log, or what it has in its place, agrees with the leader's up to and
    /// including here, durably; 0 if the request was of an older term.
    ///
    /// Deviation: Figure 13 has the term alone. Answers may be late and repeated, so each says
    /// what it speaks of.
    pub match_index: LogIndex,
}

/// A request of a client, or of a proxy for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientRequest {
    /// The client that asks, whoever brings the request.
    pub client: ClientId,
    /// Which request of that client; the response carries the same number.
    pub id: RequestId,
    /// What is asked.
    pub body: RequestBody,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestBody {
    /// Opens a session. Repeating it may open a second one, which does no harm.
    OpenSession,
    /// A write, exactly once.
    Write {
        /// The session.
        session: SessionId,
        /// The sequence within it, from 1.
        sequence: u64,
        /// No answer to a sequence below this one is needed any more.
        acknowledged: u64,
        /// What to do.
        operation: Operation,
    },
    /// A linearizable read.
    Read {
        /// What is asked.
        query: Query,
    },
    /// A read of whatever the server that gets it has applied: perhaps old, never made up. Any
    /// server answers it, alone and at once.
    StaleRead {
        /// What is asked.
        query: Query,
    },
    /// Closes a session, which its client needs no more.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Asks whether a session is still open, and keeps it open for a while.
    RenewSession {
        /// The session.
        session: SessionId,
    },
}

impl RequestBody {
    /// Whether a leader carries it out by an entry of its log.
    pub fn is_command(&self) -> bool {
        match self {
            Self::OpenSession
            | Self::Write { .. }
            | Self::CloseSession { .. }
            | Self::RenewSession { .. } => true,
            Self::Read { .. } | Self::StaleRead { .. } => false,
        }
    }

    /// Checks the sizes of its keys and values.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn check_limits(&self) -> Result<(), LimitError> {
        match self {
            Self::OpenSession | Self::CloseSession { .. } | Self::RenewSession { .. } => Ok(()),
            Self::Write { operation, .. } => operation.check_limits(),
            Self::Read { query } | Self::StaleRead { query } => query.check_limits(),
        }
    }
}

/// The answer to a client's request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientResponse {
    /// The client that asked.
    pub client: ClientId,
    /// Which of its requests this answers.
    pub id: RequestId,
    /// What became of it.
    pub body: ResponseBody,
}

/// What became of a client's request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResponseBody {
    /// Committed and applied; the store's answer.
    Applied(Answer),
    /// The result of a read.
    Found(Found),
    /// This server is not the leader and did nothing with this copy of the request. Another copy
    /// may still arrive here, or elsewhere, and be carried out.
    NotLeader {
        /// Who it believes leads.
        hint: Option<NodeId>,
    },
    /// This server lost the lead before the outcome was known. The write may yet take effect.
    Interrupted {
        /// Who it believes leads.
        hint: Option<NodeId>,
    },
    /// A proxy gave up. A write it had sent on may yet take effect.
    Unavailable,
    /// The result of a stale read. It answers no other: who asked a linearizable read never takes
    /// it.
    FoundStale(FoundStale),
    /// A key or a value is outside of the limits. Every server refuses every copy of the request, so
    /// it never takes effect.
    OutsideLimits(LimitError),
    /// Too much waits already. From a server: the leader did not accept this copy of the request, and
    /// another copy may still be carried out. From a proxy, about a write: it sent no copy on.
    Overloaded,
}

/// What one server had applied when it was asked, and how far that was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FoundStale {
    /// What the store held once exactly the entries up to `applied_index` were applied.
    pub found: Found,
    /// The last entry this server had applied; 0 if none, as right after it started.
    pub applied_index: LogIndex,
}
