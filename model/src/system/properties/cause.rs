//! The causes of violations as data: a code, parameters, and an English sentence.

use super::linearizability::{Operation, describe};
use crate::{HardState, LogIndex, NodeId, SessionId, Term, invariants::Invariant};
use alloc::{format, string::String, vec::Vec};

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $name:ident { $($field:ident: $type:ty),+ } = $text:literal $(, $argument:expr)*;)+) => {
        crate::diagnostics! {
            /// The cause of a violation.
            ///
            /// The sentence of a cause names the servers `server` and `other`, the entry `index`, and the
            /// term `term` of the event. Other parameters have their role in their name.
            #[derive(PartialOrd, Ord, Hash, serde::Deserialize)]
            pub enum Cause {
                $($(#[doc = $doc])+ $name { $($field: $type),+ } = $text $(, $argument)*;)+
            }
        }

        impl Cause {
            /// The servers that the sentence names, in its order.
            pub fn servers(&self) -> Vec<NodeId> {
                match self {
                    $(Self::$name { $($field),+ } => {
                        [$(Parameter::server($field)),+].into_iter().flatten().collect()
                    })+
                }
            }

            /// The index of the entry that the sentence names.
            pub fn index(&self) -> Option<LogIndex> {
                match self {
                    $(Self::$name { $($field),+ } => {
                        [$(Parameter::index($field)),+].into_iter().flatten().next()
                    })+
                }
            }
        }
    };
}

causes! {
    /// The term or the commit index of a running server decreased.
    TermOrCommitFell { server: NodeId, term: Term, commit_index: LogIndex, new_term: Term, new_commit_index: LogIndex }
        = "server {server} went from term {term} and commit index {commit_index} back to {new_term} and {new_commit_index}";
    /// A server restarted in a term below its durable term.
    RestartedBehindDisk { server: NodeId, term: Term, durable_term: Term }
        = "server {server} restarted in term {term}, but its disk has term {durable_term}";
    /// A leader changed its log.
    LeaderChangedLog { server: NodeId, term: Term }
        = "server {server} changed its log while it led term {term}";
    /// The terms of a log are not in order.
    TermsOutOfOrder { server: NodeId }
        = "the log of server {server} has an entry of an older term after one of a newer term";
    /// The store of a server is not the result of its committed entries.
    StoreDiffers { server: NodeId, index: LogIndex }
        = "the store of server {server} is not the result of applying each committed command up to entry {index} once";
    /// A disk write changed a vote or lowered the term.
    DurableVoteChanged { server: NodeId, before: HardState, after: HardState }
        = "the disk of server {server} held {} and now holds {}", promise(*before), promise(*after);
    /// A vote was sent before it was durable.
    VoteNotDurable { server: NodeId, term: Term }
        = "server {server} sent a vote in term {term} that its disk does not hold";
    /// A candidate requested votes before its own vote was durable.
    CandidacyNotDurable { server: NodeId, term: Term }
        = "server {server} requested votes in term {term} before its own vote was durable";
    /// Two votes in a term.
    VotedTwice { server: NodeId, term: Term, candidate: NodeId, other_candidate: NodeId }
        = "server {server} voted for server {candidate} and for server {other_candidate} in term {term}";
    /// Entries were acknowledged in a term that is not durable.
    AcknowledgedTermNotDurable { server: NodeId, term: Term, durable_term: Term }
        = "server {server} acknowledged entries in term {term}, but its disk holds term {durable_term}";
    /// An entry was acknowledged before it was durable.
    AcknowledgedEntryNotDurable { server: NodeId, index: LogIndex, last_index: LogIndex }
        = "server {server} acknowledged entry {index}, but its disk ends with entry {last_index}";
    /// A leader's `match_index` exceeds the durable log of a follower.
    MatchIndexNotDurable { server: NodeId, other: NodeId, index: LogIndex }
        = "server {server} has match_index {index} for server {other}, whose disk does not have all entries up to {index}";
    /// A leader asked a server to start an election that lacks entries of the leader's log.
    TransferTargetIncomplete { server: NodeId, other: NodeId, index: LogIndex }
        = "server {server} asked server {other} to start an election, but the disk of server {other} does not have all entries up to {index}";
    /// A message of a term left before the term was durable.
    SentTermNotDurable { server: NodeId, term: Term, durable_term: Term }
        = "server {server} sent a message of term {term}, but its disk holds term {durable_term}";
    /// A leader committed an entry without a majority of durable copies.
    CommittedWithoutMajority { server: NodeId, index: LogIndex, copies: u64, voters: u64 }
        = "server {server} committed entry {index}, but the durable copies that it knew of were {copies} of {voters}";
    /// A leader moved its commit index to an entry of another term.
    CommittedOtherTerm { server: NodeId, term: Term, index: LogIndex, entry_term: Term }
        = "server {server} led term {term} and moved its commit index to entry {index} of term {entry_term}";
    /// Two logs have an entry of the same index and term, and differ.
    LogsDiffer { server: NodeId, other: NodeId, index: LogIndex }
        = "servers {server} and {other} have the same term at index {index} and differ at or before it";
    /// Two servers were elected in one term.
    TwoLeaders { server: NodeId, other: NodeId, term: Term }
        = "servers {server} and {other} were both elected in term {term}";
    /// The log of a new leader lacks a committed entry.
    LeaderLacksEntry { server: NodeId, term: Term, index: LogIndex, committed_in: Term }
        = "server {server} was elected in term {term} without entry {index}, committed in term {committed_in}";
    /// The log of a new leader lacks a committed entry, at this index or before it.
    LeaderLacksEntries { server: NodeId, term: Term, index: LogIndex, committed_in: Term }
        = "server {server} was elected in term {term} and lacks at least one of the entries up to {index}, committed by term {committed_in}";
    /// The log of a later leader, elected before the commit, lacks the entry.
    LaterLeaderLacksEntry { index: LogIndex, term: Term, server: NodeId, elected_in: Term }
        = "entry {index} was committed in term {term}, but server {server} was elected in term {elected_in} without it";
    /// The log of a later leader, elected before the commit, lacks an entry at this index or before it.
    LaterLeaderLacksEntries { server: NodeId, index: LogIndex, term: Term, other: NodeId, elected_in: Term }
        = "server {server} committed the entries up to {index} in term {term}, but server {other} was elected in term {elected_in} without at least one of them";
    /// Two servers applied different entries at one index.
    AppliedEntriesDiffer { index: LogIndex, term: Term, other_term: Term }
        = "two servers applied different entries at index {index}: of term {term} and of term {other_term}";
    /// A server applied an entry other than the committed one.
    AppliedEntryDiffers { server: NodeId, index: LogIndex }
        = "server {server} applied an entry at index {index} that differs from the entry committed there";
    /// A snapshot ends with an entry that is not committed.
    SnapshotNotCommitted { index: LogIndex, term: Term }
        = "a snapshot ends with entry {index} of term {term}, which was never committed";
    /// The snapshot of a server ends with an entry that is not committed.
    ServerSnapshotNotCommitted { server: NodeId, index: LogIndex, term: Term }
        = "server {server} has a snapshot that ends with entry {index} of term {term}, which was not committed";
    /// A state is not the result of the committed entries.
    AppliedStateDiffers { index: LogIndex }
        = "a state after entry {index} is not the result of applying each committed command once";
    /// A state is not the result of the committed entries: its sessions differ.
    SessionsDiffer { index: LogIndex }
        = "a state after entry {index} has lost or changed session data that it must keep";
    /// The snapshot of a server is not the result of the committed entries.
    SnapshotDiffers { server: NodeId, index: LogIndex }
        = "the snapshot of server {server} up to entry {index} is not the result of the committed entries";
    /// A write was acknowledged, but not committed.
    AcknowledgedNotCommitted { session: SessionId, sequence: u64 }
        = "write {sequence} of session {session} was acknowledged, but no server had committed it";
    /// The client of an entry received an answer, but the entry was not committed.
    AnsweredNotCommitted { index: LogIndex }
        = "the client of entry {index} received an answer, but no server had committed the entry";
    /// A server answered a request for which no client waited.
    AnsweredWithoutRequest { server: NodeId }
        = "server {server} answered a client that waited for no entry with that request";
    /// A leader answered the client of an entry without a majority of durable copies.
    AcknowledgedWithoutMajority { server: NodeId, index: LogIndex, copies: u64, voters: u64 }
        = "server {server} answered the client of entry {index}, but the durable copies that it knew of were {copies} of {voters}";
    /// The answer to the client of an entry is not the result of the committed entries.
    AnswerDiffers { index: LogIndex }
        = "the answer to the client of entry {index} is not the answer that applying each committed command once gives";
    /// A write was refused as acknowledged while its client waited for the answer.
    AnswerForgotten { session: SessionId, sequence: u64 }
        = "write {sequence} of session {session} was refused as acknowledged while its client still waited for the answer";
    /// No order of the operations explains their results.
    NotLinearizable { operations: Vec<Operation> }
        = "no order of the operations explains their results: {}", describe(operations).join("; ");
    /// An operation that was reported as without effect took effect.
    RefusedTookEffect { operations: Vec<Operation> }
        = "an operation reported as not done took effect: {}", describe(operations).join("; ");
    /// Two logs of a recorded run have an entry of the same index and term, and differ.
    RecordedLogsDiffer { index: LogIndex, term: Term }
        = "two logs have an entry of term {term} at index {index} and differ at or before it";
    /// The terms of a recorded log are not in order.
    RecordedTermsOutOfOrder { index: LogIndex, term: Term, earlier_term: Term }
        = "entry {index} is of term {term}, after one of term {earlier_term}";
    /// The log of a server is not the result of its writes.
    LogDiffersFromWrites { server: NodeId }
        = "the log of server {server} is not the result of its writes";
    /// A step panicked.
    StepPanicked { process: String, message: String }
        = "the step of {process} panicked: {message}";
    /// A server voted without a request for that vote.
    VotedWithoutRequest { server: NodeId, term: Term, candidate: NodeId }
        = "server {server} voted in term {term} for server {candidate}, which did not request that vote";
    /// A server voted for a candidate whose log is outdated.
    VotedForOutdatedLog { server: NodeId, term: Term, candidate: NodeId, index: LogIndex, entry_term: Term }
        = "server {server} voted in term {term} for server {candidate}, but the candidate's log is less up-to-date than the log of the voter, which ends with entry {index} of term {entry_term}";
    /// A server became a candidate again in one term, or with another log.
    BecameCandidateTwice { server: NodeId, term: Term }
        = "server {server} became a candidate of term {term} again, or changed its log as a candidate";
    /// A candidate counted a vote that it did not receive.
    CountedMissingVote { server: NodeId, other: NodeId, term: Term }
        = "server {server} counted a vote of server {other} in term {term} that it did not receive";
    /// A server became leader without a candidacy that is on its disk.
    LedWithoutCandidacy { server: NodeId, term: Term }
        = "server {server} became leader of term {term}, but it was not a candidate of that term with its own vote on its disk";
    /// A server became leader without the votes of a majority.
    ElectedWithoutMajority { server: NodeId, term: Term, votes: u64, voters: u64 }
        = "server {server} became leader of term {term} with {votes} of {voters} votes";
    /// A leader appended an entry of another term.
    AppendedOtherTerm { server: NodeId, term: Term, index: LogIndex, entry_term: Term }
        = "server {server} led term {term} and appended entry {index} of term {entry_term}";
    /// A leader's `match_index` has no acknowledgement.
    MatchedWithoutAcknowledgement { server: NodeId, other: NodeId, term: Term, index: LogIndex }
        = "server {server} has match_index {index} for server {other}, which did not acknowledge that entry in term {term}";
    /// A server changed its log, but not to that of the leader.
    LogNotFromLeader { server: NodeId, term: Term, index: LogIndex }
        = "server {server} changed its log, and no message shows that the leader of term {term} has this log up to entry {index}";
    /// The pending writes do not produce the log in memory.
    DiskDiffersFromMemory { server: NodeId, index: LogIndex }
        = "the pending writes of server {server} do not produce its log in memory, which ends with entry {index}";
    /// A server takes entries for durable that are not on its disk.
    DurableIndexAhead { server: NodeId, index: LogIndex }
        = "server {server} counts its log up to entry {index} as durable, but its disk and its pending writes do not have it";
    /// A disk lost entries without a conflict with the leader's log.
    DurableEntriesLost { server: NodeId, index: LogIndex }
        = "the disk of server {server} lost entry {index} without a conflict with the log of a leader";
    /// An acknowledgement is not covered by the disk and the leader's log.
    AcknowledgedOtherLog { server: NodeId, term: Term, index: LogIndex }
        = "server {server} acknowledged entry {index} in term {term}, but its disk, in this term, is not known to have the log of the leader up to it";
    /// A server moved its commit index without the leader's message.
    LearnedNotCommitted { server: NodeId, index: LogIndex }
        = "server {server} moved its commit index to entry {index}, and no message shows that its log is committed up to there";
    /// A server sent entries that are not the log of a leader.
    SentOtherLog { server: NodeId, term: Term, index: LogIndex }
        = "server {server} sent a log up to entry {index} that is not its log as the leader of term {term}";
    /// A leader sent a commit index beyond its own.
    SentCommitIndexAhead { server: NodeId, index: LogIndex, commit_index: LogIndex }
        = "server {server} sent the commit index {index}, but its own is {commit_index}";
    /// A server is in a term, or has a vote, that it does not write.
    TermNotWritten { server: NodeId, term: Term }
        = "server {server} is in term {term}, but its disk and its pending writes do not have this term and its vote";
    /// A server sent a message in the name of another process.
    SentForAnother { server: NodeId }
        = "server {server} sent a message with the address of another process as its sender";
    /// A server restarted with another state than that of its disk.
    RestartDiffersFromDisk { server: NodeId }
        = "server {server} restarted with a state that differs from its disk";
    /// An invariant of one server does not hold after a step.
    InvariantViolated { server: NodeId, invariant: Invariant }
        = "after this step of server {server}: {invariant}";
}

/// The promise that a disk holds.
fn promise(held: HardState) -> String {
    match held.voted_for {
        Some(id) => format!("term {} and a vote for candidate {id}", held.current_term),
        None => format!("term {} and no vote", held.current_term),
    }
}

/// A parameter of a cause.
trait Parameter {
    /// The parameter, if it is a server.
    fn server(&self) -> Option<NodeId> {
        None
    }

    /// The parameter, if it is the index of an entry.
    fn index(&self) -> Option<LogIndex> {
        None
    }
}

impl Parameter for NodeId {
    fn server(&self) -> Option<NodeId> {
        Some(*self)
    }
}

impl Parameter for LogIndex {
    fn index(&self) -> Option<LogIndex> {
        Some(*self)
    }
}

impl Parameter for Term {}
impl Parameter for SessionId {}
impl Parameter for u64 {}
impl Parameter for String {}
impl Parameter for HardState {}
impl Parameter for Invariant {}
impl Parameter for Vec<Operation> {}
