//! The messages between servers, proxies and clients.
//!
//! Four server messages come from Raft Figure 2, two from PreVote (thesis §9.6), two from snapshots
//! (Raft §7, Figure 13) and one from leadership transfer (thesis §3.10). One more admits servers
//! ([`crate::admission`]). `Deviation:`
//! marks each departure from the source: the envelope carries the sender; `leader_commit` is
//! clipped; the response to AppendEntries carries an outcome in place of a boolean, with the
//! conflict hint of §5.3; and AppendEntries and its response carry the number of a read round
//! (thesis §6.4).

use crate::{
    Address, ClientId, Entry, LogIndex, NodeId, RequestId, SessionId, Snapshot, Term,
    identity::IdentityMessage,
    store::{Answer, Found, LimitError, Operation, Query},
};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A message with its sender and receiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender.
    pub from: Address,
    /// The receiver.
    pub to: Address,
    /// The message.
    pub message: Message,
}

/// A message from one process to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Message {
    /// A server requests a pre-vote.
    PreVoteRequest(PreVoteRequest),
    /// The response to `PreVoteRequest`.
    PreVoteResponse(PreVoteResponse),
    /// A candidate requests a vote.
    RequestVoteRequest(RequestVoteRequest),
    /// The response to `RequestVoteRequest`.
    RequestVoteResponse(RequestVoteResponse),
    /// A leader replicates entries or sends a heartbeat.
    AppendEntriesRequest(AppendEntriesRequest),
    /// The response to `AppendEntriesRequest`.
    AppendEntriesResponse(AppendEntriesResponse),
    /// A request from a client, or from a proxy on its behalf.
    ClientRequest(ClientRequest),
    /// The response to `ClientRequest`.
    ClientResponse(ClientResponse),
    /// A leader sends its state to a follower that lacks entries which log compaction removed.
    InstallSnapshotRequest(InstallSnapshotRequest),
    /// The response to `InstallSnapshotRequest`.
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// Servers exchange the identities of their disks ([`crate::admission`]). The core ignores it.
    Identity(IdentityMessage),
    /// A leader asks a server to start an election at once.
    TimeoutNowRequest(TimeoutNowRequest),
}

impl Message {
    /// Whether a later message to the same receiver, held for the same write, makes this one
    /// redundant.
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

    /// Replaces this message by a later one. Of the acknowledged indexes and the read rounds, the
    /// higher ones remain.
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

    /// The term of the sending server, as far as the message shows it; term 0 for messages of
    /// clients and proxies and for disk identities.
    pub fn sender_term(&self) -> Term {
        match self {
            // The sender is still in the term before this one.
            Self::PreVoteRequest(request) => request.next_term,
            Self::PreVoteResponse(response) => response.term,
            Self::RequestVoteRequest(request) => request.term,
            Self::RequestVoteResponse(response) => response.term,
            Self::AppendEntriesRequest(request) => request.term,
            Self::AppendEntriesResponse(response) => response.term,
            Self::InstallSnapshotRequest(request) => request.term,
            Self::InstallSnapshotResponse(response) => response.term,
            Self::TimeoutNowRequest(request) => request.term,
            Self::ClientRequest(_) | Self::ClientResponse(_) | Self::Identity(_) => Term::ZERO,
        }
    }

    /// Whether a server with this term on its disk may send the message: no message reveals a term
    /// that a crash could undo.
    pub fn is_term_durable(&self, durable_term: Term) -> bool {
        match self {
            // The sender is still in the term before.
            Self::PreVoteRequest(request) => durable_term.next() >= request.next_term,
            _ => durable_term >= self.sender_term(),
        }
    }
}

/// PreVote arguments (thesis §9.6): requests a pre-vote, a non-binding vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreVoteRequest {
    /// The term of the prospective candidacy: the sender's term + 1.
    pub next_term: Term,
    /// Index of the sender's last log entry.
    pub last_log_index: LogIndex,
    /// Term of the sender's last log entry.
    pub last_log_term: Term,
}

/// PreVote results. The response binds neither server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreVoteResponse {
    /// The responder's term, for a sender with an older term.
    pub term: Term,
    /// The `next_term` of the request: a late response belongs to an earlier attempt.
    pub next_term: Term,
    /// Whether the responder would grant the vote.
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
    /// Whether the leader told the candidate to start this election. A voter then does not stick to
    /// that leader (thesis §4.2.3: "I have permission to disrupt the leader").
    #[serde(default)]
    pub leadership_transfer: bool,
}

/// Raft Figure 2, RequestVote results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestVoteResponse {
    /// The voter's term, for a candidate with an older term.
    pub term: Term,
    /// Whether the candidate received the vote.
    pub vote_granted: bool,
}

/// Raft Figure 2, AppendEntries arguments.
///
/// Deviation: no `leaderId`; the leader is the envelope's sender.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppendEntriesRequest {
    /// The leader's term.
    pub term: Term,
    /// Index of the entry immediately before the new ones.
    pub prev_log_index: LogIndex,
    /// Term of that entry.
    pub prev_log_term: Term,
    /// The new entries; empty for a heartbeat.
    pub entries: Vec<Entry>,
    /// The leader's commit index.
    ///
    /// Deviation: clipped to the last entry that this message covers. The receiver could not use a
    /// higher index (Figure 2: min(leaderCommit, index of last new entry)), and with the clipped
    /// index, messages with equal meaning are equal.
    pub leader_commit: LogIndex,
    /// The read round that the response confirms; 0 for none. Heartbeats and the messages that
    /// begin a round carry it. The response to such a message leaves at once, without waiting until
    /// its entries are durable.
    ///
    /// Deviation: Figure 2 has no reads beside the log. In thesis §6.4 a leader confirms reads by a
    /// round of heartbeats, and this number identifies the round.
    pub read_round: u64,
}

/// Raft Figure 2, AppendEntries results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppendEntriesResponse {
    /// The follower's term, for a leader with an older term.
    pub term: Term,
    /// The read round of the request.
    ///
    /// Deviation: as in the request. A late duplicate of a response to an earlier round does not
    /// confirm a later round.
    pub read_round: u64,
    /// The outcome of the request.
    ///
    /// Deviation: replaces Figure 2's `success`. Responses may be delayed, duplicated and
    /// reordered, so each one names the entries that it covers.
    pub outcome: AppendOutcome,
}

/// The outcome of an AppendEntries request.
///
/// Deviation: Figure 2's `success` is [`Self::Matched`] with an index. Its failure is split in two,
/// because only [`Self::Conflict`] concerns the log; it carries the hint of §5.3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The follower's log matches the leader's up to and including `match_index`, durably.
    Matched {
        /// Index of the last entry of the request, or of the last durable entry before it.
        match_index: LogIndex,
    },
    /// The follower has no entry at `prev_log_index`, or an entry of another term (Raft §5.3).
    Conflict {
        /// The `prev_log_index` of the request, which distinguishes a stale refusal from a current
        /// one.
        prev_log_index: LogIndex,
        /// The term of the entry at `conflict_index`; 0 if there is none.
        conflict_term: Term,
        /// The last entry that may match the leader's log: between it and `prev_log_index`, entries
        /// are missing or of a later term than the request's `prev_log_term`.
        conflict_index: LogIndex,
    },
    /// The request has an older term.
    StaleTerm,
}

/// Raft Figure 13, InstallSnapshot arguments.
///
/// Deviation: no `leaderId`, as above. No `offset` and `done`, because a snapshot is one message,
/// which the transport fragments. The leader builds it from its applied state when it sends it, not
/// from its disk: committed entries do not depend on the leader's own disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstallSnapshotRequest {
    /// The leader's term.
    pub term: Term,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// Raft Figure 13, InstallSnapshot results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstallSnapshotResponse {
    /// The follower's term, for a leader with an older term.
    pub term: Term,
    /// The follower's log, or the snapshot in its place, matches the leader's up to and including
    /// this index, durably; 0 if the request had an older term.
    ///
    /// Deviation: Figure 13 has the term alone. Responses may be delayed and duplicated, so each
    /// one names the entries that it covers.
    pub match_index: LogIndex,
}

/// TimeoutNow arguments (thesis §3.10): the receiver starts an election at once, as if its election
/// timeout had elapsed. It has no response: the new leader's requests show the success.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeoutNowRequest {
    /// The leader's term.
    pub term: Term,
}

/// A request of a client, possibly forwarded by a proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientRequest {
    /// The client that issued the request, also if a proxy forwards it.
    pub client: ClientId,
    /// The number of the request; the response carries the same number.
    pub id: RequestId,
    /// The body of the request.
    pub body: RequestBody,
}

/// The body of a client request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestBody {
    /// Opens a session. A retry may open a second session, which is harmless.
    OpenSession,
    /// Writes, exactly once.
    Write {
        /// The session.
        session: SessionId,
        /// The sequence number within the session, from 1.
        sequence: u64,
        /// The client needs no answer to any sequence number below this one.
        acknowledged: u64,
        /// The operation.
        operation: Operation,
    },
    /// A linearizable read.
    Read {
        /// The query.
        query: Query,
    },
    /// A read of the receiving server's applied state: possibly outdated, but always a committed
    /// state. Any server answers it, alone and at once.
    StaleRead {
        /// The query.
        query: Query,
    },
    /// Closes a session that its client no longer needs.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Checks that a session is still open, and keeps it open for a while.
    RenewSession {
        /// The session.
        session: SessionId,
    },
    /// Asks that this server lead. The driver of the leader transfers the leadership
    /// ([`crate::Event::TransferLeadership`]) and then has the core answer. A copy that arrives late
    /// may start another transfer.
    TransferLeadership {
        /// The server that should lead.
        target: NodeId,
    },
}

impl RequestBody {
    /// Whether a leader serves this request by a log entry.
    pub fn is_command(&self) -> bool {
        match self {
            Self::OpenSession
            | Self::Write { .. }
            | Self::CloseSession { .. }
            | Self::RenewSession { .. } => true,
            Self::Read { .. } | Self::StaleRead { .. } | Self::TransferLeadership { .. } => false,
        }
    }

    /// The kind of this request.
    // For the statistics of drivers; executed by the test `lib::message::tests::request_has_one_kind`.
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::OpenSession => RequestKind::OpenSession,
            Self::CloseSession { .. } => RequestKind::CloseSession,
            Self::RenewSession { .. } => RequestKind::RenewSession,
            Self::TransferLeadership { .. } => RequestKind::TransferLeadership,
            Self::Read { query } | Self::StaleRead { query } => match query {
                Query::Get { .. } => RequestKind::Get,
                Query::Scan { .. } => RequestKind::Scan,
            },
            Self::Write { operation, .. } => match operation {
                Operation::Put { .. } => RequestKind::Put,
                Operation::Delete { .. } => RequestKind::Delete,
                Operation::Increment { .. } => RequestKind::Increment,
            },
        }
    }

    /// Checks the sizes of the keys and values.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn check_limits(&self) -> Result<(), LimitError> {
        match self {
            Self::OpenSession
            | Self::CloseSession { .. }
            | Self::RenewSession { .. }
            | Self::TransferLeadership { .. } => Ok(()),
            Self::Write { operation, .. } => operation.check_limits(),
            // Executed by the test
            // `clients::reads::request_outside_of_the_limits_is_refused_by_every_server`.
            Self::Read { query } | Self::StaleRead { query } => query.check_limits(),
        }
    }
}

/// The kind of a request, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RequestKind {
    Get,
    Scan,
    Put,
    Delete,
    Increment,
    OpenSession,
    CloseSession,
    RenewSession,
    TransferLeadership,
}

impl RequestKind {
    /// Whether requests of this kind change nothing.
    // Executed by the test `lib::message::tests::request_has_one_kind`.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Scan)
    }
}

/// The response to a client's request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientResponse {
    /// The client that issued the request.
    pub client: ClientId,
    /// The number of the request that this response answers.
    pub id: RequestId,
    /// The body of the response.
    pub body: ResponseBody,
}

/// The body of a response to a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResponseBody {
    /// Committed and applied, with the store's answer.
    Applied(Answer),
    /// The result of a read.
    Found(Found),
    /// This server is not the leader and did nothing with this copy of the request. Another copy
    /// may still arrive at this or another server and take effect.
    NotLeader {
        /// The leader, as far as this server knows.
        hint: Option<NodeId>,
    },
    /// This server lost its leadership before the outcome was known. The write may still take
    /// effect.
    Interrupted {
        /// The leader, as far as this server knows.
        hint: Option<NodeId>,
    },
    /// A proxy gave up. A write that it forwarded may still take effect.
    Unavailable,
    /// The result of a stale read. It answers no other request: a client never accepts it for a
    /// linearizable read.
    FoundStale(FoundStale),
    /// A key or a value exceeds a limit. Every server refuses every copy of the request, so it
    /// never takes effect.
    OutsideLimits(LimitError),
    /// Too many requests are pending. From a server: the leader did not accept this copy of the
    /// request, and another copy may still take effect. From a proxy, about a write: it forwarded
    /// no copy.
    Overloaded,
    /// The target of the requested leadership transfer leads: it is the sender. A leader that is cut
    /// off, and has not noticed its successor, answers so too.
    Leads,
    /// The target of the requested leadership transfer does not lead. The leader answers.
    NotTransferred(NotTransferred),
}

/// The reason why a leadership transfer did not take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NotTransferred {
    /// The target is not a voter.
    NoVoter,
    /// The target did not take over in time, or the leader cannot transfer its leadership now, for
    /// example because a transfer to another server was in progress. A delayed TimeoutNow may still
    /// let the target take over.
    Aborted,
}

impl ResponseBody {
    /// Whether a proxy that sends this response gave up the request.
    // For the statistics of drivers; executed by the test
    // `lib::message::tests::refusal_of_a_server_is_not_given_up`.
    pub const fn is_given_up(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Overloaded)
    }
}

/// The result of a query on one server's applied state, with the index of that state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FoundStale {
    /// The result in the state after exactly the entries up to `applied_index`.
    pub found: Found,
    /// The last entry that this server had applied; 0 if none, as immediately after a start.
    pub applied_index: LogIndex,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Condition;
    use alloc::vec::Vec;

    #[test]
    fn request_has_one_kind() {
        let key = Vec::new;
        let session = SessionId::new(1);
        let write = |operation| RequestBody::Write {
            session,
            sequence: 1,
            acknowledged: 1,
            operation,
        };
        let scan = Query::Scan {
            prefix: key(),
            after: None,
            limit: 1,
            bytes: 1,
        };
        let get = Query::Get { key: key() };
        let put = Operation::Put {
            key: key(),
            value: "".into(),
            condition: Condition::Always,
        };
        let delete = Operation::Delete {
            key: key(),
            condition: Condition::Always,
        };
        let increment = Operation::Increment { key: key(), by: 1 };
        for (body, kind, is_read) in [
            (RequestBody::OpenSession, RequestKind::OpenSession, false),
            (
                RequestBody::CloseSession { session },
                RequestKind::CloseSession,
                false,
            ),
            (
                RequestBody::RenewSession { session },
                RequestKind::RenewSession,
                false,
            ),
            (
                RequestBody::Read { query: get.clone() },
                RequestKind::Get,
                true,
            ),
            (
                RequestBody::StaleRead { query: get },
                RequestKind::Get,
                true,
            ),
            (RequestBody::Read { query: scan }, RequestKind::Scan, true),
            (write(put), RequestKind::Put, false),
            (write(delete), RequestKind::Delete, false),
            (write(increment), RequestKind::Increment, false),
        ] {
            assert_eq!(
                (body.kind(), body.kind().is_read()),
                (kind, is_read),
                "{body:?}"
            );
            assert_eq!(body.is_command(), !is_read, "{body:?}");
        }
        // Neither an entry of the log nor a query.
        let target = NodeId::new(1);
        let transfer = RequestBody::TransferLeadership { target };
        assert_eq!(transfer.kind(), RequestKind::TransferLeadership);
        assert!(!transfer.is_command() && !transfer.kind().is_read());
    }

    #[test]
    fn refusal_of_a_server_is_not_given_up() {
        for (body, is_given_up) in [
            (ResponseBody::Unavailable, true),
            (ResponseBody::Overloaded, true),
            (ResponseBody::NotLeader { hint: None }, false),
            (ResponseBody::Interrupted { hint: None }, false),
        ] {
            assert_eq!(body.is_given_up(), is_given_up, "{body:?}");
        }
    }
}
