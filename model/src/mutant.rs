//! Planted bugs: classic mistakes in Raft, each a switch at the very rule it breaks.
//!
//! They exist in builds with the feature `mutants` only (the checker's). Without it `planted!` is
//! the constant `false` and the compiler removes the branch.

/// Whether a bug is planted in this configuration: `planted!(config, Name)`.
macro_rules! planted {
    ($config:expr, $mutant:ident) => {{
        #[cfg(feature = "mutants")]
        let planted = $config.mutant == Some(crate::mutant::Mutant::$mutant);
        #[cfg(not(feature = "mutants"))]
        let planted = {
            let _ = &$config;
            false
        };
        planted
    }};
}
pub(crate) use planted;

/// Whether this build can plant bugs at all. A node refuses to be built where it can.
pub const COMPILED_IN: bool = cfg!(feature = "mutants");

#[cfg(feature = "mutants")]
pub use catalogue::Mutant;

#[cfg(feature = "mutants")]
mod catalogue {
    use serde::{Deserialize, Serialize};

    macro_rules! mutants {
        ($($(#[doc = $doc:literal])+ $name:ident = $slug:literal, seen in $seen:literal;)+) => {
            /// A bug that can be planted in the core.
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            )]
            pub enum Mutant {
                $($(#[doc = $doc])+ $name,)+
            }

            impl Mutant {
                /// All of them.
                pub const ALL: &'static [Self] = &[$(Self::$name,)+];

                /// The name on the command line.
                pub fn name(self) -> &'static str {
                    match self { $(Self::$name => $slug,)+ }
                }

                /// What is wrong, in a sentence.
                pub fn summary(self) -> &'static str {
                    match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
                }

                /// Where it was seen in a real system; empty if nowhere known.
                pub fn seen_in(self) -> &'static str {
                    match self { $(Self::$name => $seen,)+ }
                }
            }
        };
    }

    mutants! {
        /// A vote is not persisted.
        VoteNotPersisted = "vote-not-persisted", seen in "nodedb#161";
        /// A vote is sent before it is durable.
        VoteSentBeforeDurable = "vote-sent-before-durable", seen in "nodedb#161";
        /// A server with a wiped disk rejoins under its old name and votes.
        RejoinsWithWipedDisk = "rejoins-with-wiped-disk", seen in "";
        /// A candidate does not record its vote for itself.
        CandidateForgetsOwnVote = "candidate-forgets-own-vote", seen in "nebula#3415";
        /// A vote from an older term is counted.
        CountsStaleVotes = "counts-stale-votes", seen in "";
        /// Votes are counted, not collected in a set, so a repeated reply counts twice.
        CountsRepeatedVotes = "counts-repeated-votes", seen in "";
        /// A vote is granted without comparing logs.
        VotesWithoutComparingLogs = "votes-without-comparing-logs", seen in "";
        /// Logs are compared by length alone.
        ComparesLogsByLength = "compares-logs-by-length", seen in "";
        /// An entry of an older term is committed by counting replicas (Figure 8).
        CommitsOlderTermByCounting = "commits-older-term-by-counting", seen in "logcabin#44";
        /// A conflicting suffix is not removed.
        ConflictingSuffixKept = "conflicting-suffix-kept", seen in "";
        /// The term at prevLogIndex is not compared.
        PrevTermNotCompared = "prev-term-not-compared", seen in "";
        /// An acknowledgement from an older term is counted.
        CountsStaleAcknowledgements = "counts-stale-acknowledgements", seen in "";
        /// match_index survives into the next leadership.
        MatchIndexSurvivesReElection = "match-index-survives-re-election", seen in "";
        /// An append is acknowledged before it is durable.
        AppendAcknowledgedBeforeDurable = "append-acknowledged-before-durable",
            seen in "yugabyte#32875, d-engine#446";
        /// A heartbeat is answered with entries that are not durable.
        HeartbeatAcknowledgesUndurable = "heartbeat-acknowledges-undurable", seen in "";
        /// A leader's request is answered before the follower's term is durable.
        AnsweredBeforeTermIsDurable = "answered-before-term-is-durable", seen in "";
        /// The answer to a heartbeat or a read round waits until all entries are durable.
        HeartbeatAnswerWaitsForDisk = "heartbeat-answer-waits-for-disk", seen in "";
        /// A late durability notice is credited to entries written over in the meantime.
        LateNoticeCreditsOverwrittenEntries = "late-notice-credits-overwritten-entries",
            seen in "etcd/raft async_storage_writes_append_aba_race";
        /// A ReadIndex is served before the leader has committed in its term.
        ReadBeforeCommitInTerm = "read-before-commit-in-term", seen in "etcd#7331, tikv#6340";
        /// A server votes for two candidates in one term.
        VotesTwiceInATerm = "votes-twice-in-a-term", seen in "";
        /// A server votes in a term older than its own.
        VotesInAnOlderTerm = "votes-in-an-older-term", seen in "";
        /// Votes are requested before the candidate's own vote is durable.
        VotesRequestedBeforeDurable = "votes-requested-before-durable", seen in "";
        /// A majority is half of the servers, rounded down.
        QuorumOffByOne = "quorum-off-by-one", seen in "";
        /// A leader that sees a newer term adopts it and goes on leading.
        StaysLeaderInNewTerm = "stays-leader-in-new-term", seen in "";
        /// AppendEntries of an older term is accepted.
        AcceptsStaleAppends = "accepts-stale-appends", seen in "";
        /// A follower truncates its log to match a delayed request that conflicts with nothing.
        TruncatesWithoutConflict = "truncates-without-conflict", seen in "";
        /// A truncation is not persisted.
        TruncationNotPersisted = "truncation-not-persisted", seen in "";
        /// A follower that refuses entries takes over the leader's commit index all the same.
        FollowerCommitsDespiteConflict = "follower-commits-despite-conflict", seen in "";
        /// A leader counts itself before its own disk has the entry.
        LeaderCountsItselfBeforeDurable = "leader-counts-itself-before-durable", seen in "";
        /// A read is answered without asking a majority.
        ReadWithoutConfirmation = "read-without-confirmation", seen in "";
        /// Any acknowledgement of the term confirms a read, a late one too.
        ReadRoundNotCompared = "read-round-not-compared", seen in "";
        /// A read joins the round before its own, which may be answered already.
        ReadJoinsEarlierRound = "read-joins-earlier-round", seen in "";
        /// A read is answered before everything committed is applied.
        ReadBeforeApplied = "read-before-applied", seen in "";
        /// The session's memory of answers is not consulted.
        CommandAppliedTwice = "command-applied-twice", seen in "";
        /// A sequence whose answer was acknowledged and forgotten is applied again.
        AcknowledgedSequenceAppliedAgain = "acknowledged-sequence-applied-again", seen in "";
        /// A client retries a write under a new sequence.
        RetriesUnderNewSequence = "retries-under-new-sequence", seen in "";
        /// A client takes "unavailable" for "not done".
        UnavailableTakenForNotDone = "unavailable-taken-for-not-done", seen in "";
        /// A client takes any response for the answer to its present request.
        ResponseIdNotCompared = "response-id-not-compared", seen in "";
        /// next_index is not moved back when a follower reports a conflict.
        NextIndexNotMovedBack = "next-index-not-moved-back", seen in "";
        /// A new leader appends no no-op.
        LeaderSkipsNoop = "leader-skips-noop", seen in "";
        /// A vote is kept when the term changes.
        VoteKeptAcrossTerms = "vote-kept-across-terms", seen in "";
        /// A pre-vote is counted as a vote.
        PreVoteCountedAsVote = "pre-vote-counted-as-vote", seen in "canonical/raft#196";
        /// A pre-vote request of an old term is dropped, so that its sender never learns of the new one.
        StalePreVoteDropped = "stale-pre-vote-dropped", seen in "etcd#8243";
        /// A leader that no majority answers goes on leading.
        LeaderNeverChecksQuorum = "leader-never-checks-quorum", seen in "openraft#2080";
        /// A leader that a majority answered once goes on leading for ever.
        QuorumHeardForEver = "quorum-heard-for-ever", seen in "";
        /// A server votes against a leader it hears.
        VotesAgainstLeaderItHears = "votes-against-leader-it-hears", seen in "";
        /// A server sticks to a leader even though that leader asks for its pre-vote.
        StepDownNotBelieved = "step-down-not-believed", seen in "";
        /// A pre-vote request brings its term with it.
        PreVoteRaisesTerm = "pre-vote-raises-term", seen in "";
        /// A pre-candidate refuses its pre-vote to every other server.
        PreCandidateRefusesOthers = "pre-candidate-refuses-others", seen in "";
        /// An acknowledgement is taken to speak of everything sent so far.
        AckCountsEverythingSent = "ack-counts-everything-sent", seen in "";
        /// The sessions are left out of a snapshot.
        SessionsLeftOutOfSnapshot = "sessions-left-out-of-snapshot", seen in "iggy#3753";
        /// The log's prefix leaves the disk before the snapshot in its place is durable.
        PrefixRemovedBeforeSnapshotIsDurable = "prefix-removed-before-snapshot-is-durable", seen in "";
        /// A snapshot covers entries that are not committed.
        SnapshotBeyondCommitted = "snapshot-beyond-committed", seen in "";
        /// A snapshot older than what is applied is installed.
        StaleSnapshotInstalled = "stale-snapshot-installed", seen in "";
        /// A conflicting suffix is kept behind an installed snapshot.
        ConflictingSuffixKeptBehindSnapshot = "conflicting-suffix-kept-behind-snapshot", seen in "";
        /// A snapshot is acknowledged before it is durable.
        SnapshotAcknowledgedBeforeDurable = "snapshot-acknowledged-before-durable", seen in "";
        /// A leader sends no heartbeats.
        HeartbeatsNotSent = "heartbeats-not-sent", seen in "";
        /// A message of the leader does not put off the election timer.
        LeaderNotWaitedFor = "leader-not-waited-for", seen in "";
        /// A candidate whose vote was split waits for ever.
        SplitVoteNeverRetried = "split-vote-never-retried", seen in "";
        /// A candidate asks each server for its vote once.
        VoteRequestsNotRepeated = "vote-requests-not-repeated", seen in "";
        /// A candidate that asks again for a vote it was given is refused.
        RepeatedVoteRefused = "repeated-vote-refused", seen in "";
        /// Whoever waits for an entry is answered when there is one at its place, though it is another leader's.
        WaitersOutliveTheLead = "waiters-outlive-the-lead", seen in "";
        /// Clients that wait for a leader are not told that it lost the lead.
        LostLeadNotTold = "lost-lead-not-told", seen in "";
        /// A follower that reports a conflict is asked about the entry before, one at a time.
        ConflictHintIgnored = "conflict-hint-ignored", seen in "";
        /// A late acknowledgement takes match_index back.
        MatchIndexFalls = "match-index-falls", seen in "";
        /// A leader sends entries to a follower however many are on their way.
        WindowNotKept = "window-not-kept", seen in "";
        /// The refusal of an older term's request confirms a read of the present term.
        StaleRefusalConfirmsReads = "stale-refusal-confirms-reads", seen in "";
        /// A write is applied though its session is not known.
        UnknownSessionApplied = "unknown-session-applied", seen in "";
        /// No session makes room for another.
        SessionsNeverEvicted = "sessions-never-evicted", seen in "";
        /// A client's write does not settle the writes before it.
        EarlierWritesNotSettled = "earlier-writes-not-settled", seen in "";
        /// A session makes room for another though it is in use.
        SessionInUseEvicted = "session-in-use-evicted", seen in "";
        /// A client that is opened no session is given one that is in use by another.
        SessionInUseGivenToAnother = "session-in-use-given-to-another", seen in "";
        /// A session that its client closed stays open.
        ClosedSessionKept = "closed-session-kept", seen in "";
        /// Of an evicted session it is not remembered which writes were applied.
        AppliedSequencesForgotten = "applied-sequences-forgotten", seen in "";
        /// A client whose session has gone writes again in a new one.
        ExpiredSessionWriteRepeated = "expired-session-write-repeated", seen in "";
        /// A client sends a request once.
        ClientNeverRetries = "client-never-retries", seen in "";
        /// A client waits for an answer for ever.
        ClientNeverGivesUp = "client-never-gives-up", seen in "";
        /// A proxy takes any response to a client for the answer to its present request.
        ProxyMixesRequestsUp = "proxy-mixes-requests-up", seen in "";
        /// A proxy goes on asking a server that stays silent.
        ProxyStaysWithSilentServer = "proxy-stays-with-silent-server", seen in "";
        /// A proxy does not follow the hint of a server that refuses.
        ProxyIgnoresHints = "proxy-ignores-hints", seen in "";
        /// A proxy forgets whom it was answered by, and asks anyone.
        ProxyForgetsLeader = "proxy-forgets-leader", seen in "";
        /// A proxy keeps a request for which it has no attempt left.
        ProxyNeverGivesUp = "proxy-never-gives-up", seen in "";
    }
}
