//! Planted bugs (mutants): classic mistakes in Raft, each a switch at the rule that it breaks.
//!
//! CONTRIBUTING.md has the recipe "Adding a mutant".
//!
//! They exist only in builds with the feature `mutants` (the checker's). Without it `planted!` is
//! the constant `false`, and the compiler removes the branch.

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

/// Whether this build can plant bugs. Builds of node and proxy fail if it can.
pub const COMPILED_IN: bool = cfg!(feature = "mutants");

#[cfg(feature = "mutants")]
pub use catalog::Mutant;

#[cfg(feature = "mutants")]
mod catalog {
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
                /// All mutants.
                pub const ALL: &'static [Self] = &[$(Self::$name,)+];

                /// The name on the command line.
                pub fn name(self) -> &'static str {
                    match self { $(Self::$name => $slug,)+ }
                }

                /// The mistake, in a sentence.
                pub fn summary(self) -> &'static str {
                    match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
                }

                /// Real systems that had this bug; empty if none is known.
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
        /// A server with a wiped disk rejoins under its old id and votes.
        RejoinsWithWipedDisk = "rejoins-with-wiped-disk", seen in "";
        /// A candidate does not record its vote for itself.
        CandidateForgetsOwnVote = "candidate-forgets-own-vote", seen in "nebula#3415";
        /// A vote from an older term is counted.
        CountsStaleVotes = "counts-stale-votes", seen in "";
        /// Votes are counted without a set, so a duplicate response counts twice.
        CountsRepeatedVotes = "counts-repeated-votes", seen in "";
        /// A vote is granted without comparing logs.
        VotesWithoutComparingLogs = "votes-without-comparing-logs", seen in "";
        /// Logs are compared by length alone.
        ComparesLogsByLength = "compares-logs-by-length", seen in "";
        /// An entry of an older term is committed by counting replicas (Figure 8).
        CommitsOlderTermByCounting = "commits-older-term-by-counting", seen in "logcabin#44";
        /// The commit rule compares the term of the leader's last entry, not of the entry to commit.
        ComparesTermOfLastEntry = "compares-term-of-last-entry", seen in "";
        /// The commit rule counts the entries sent to a follower, not those that it acknowledged.
        CommitsSentEntries = "commits-sent-entries", seen in "";
        /// Half of an even number of servers commit an entry.
        HalfOfEvenCommits = "half-of-even-commits", seen in "";
        /// A conflicting suffix is not removed.
        ConflictingSuffixKept = "conflicting-suffix-kept", seen in "";
        /// The term at prevLogIndex is not compared.
        PrevTermNotCompared = "prev-term-not-compared", seen in "";
        /// An acknowledgement from an older term is counted.
        CountsStaleAcknowledgements = "counts-stale-acknowledgements", seen in "";
        /// match_index survives into the next leadership of a server.
        MatchIndexSurvivesReElection = "match-index-survives-re-election", seen in "";
        /// An append is acknowledged before it is durable.
        AppendAcknowledgedBeforeDurable = "append-acknowledged-before-durable",
            seen in "yugabyte#32875, d-engine#446";
        /// A response to a heartbeat acknowledges entries that are not durable.
        HeartbeatAcknowledgesUndurable = "heartbeat-acknowledges-undurable", seen in "";
        /// A leader's request is answered before the follower's term is durable.
        AnsweredBeforeTermIsDurable = "answered-before-term-is-durable", seen in "";
        /// The response to a heartbeat or a read round waits until all entries are durable.
        HeartbeatAnswerWaitsForDisk = "heartbeat-answer-waits-for-disk", seen in "";
        /// A late durability notification credits entries that were overwritten in the meantime.
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
        /// A vote is refused before the term of the refusal is durable.
        RefusedBeforeTermIsDurable = "refused-before-term-is-durable", seen in "";
        /// A majority is half of the servers, rounded down.
        QuorumOffByOne = "quorum-off-by-one", seen in "";
        /// A leader that sees a newer term adopts it and remains leader.
        StaysLeaderInNewTerm = "stays-leader-in-new-term", seen in "";
        /// AppendEntries with an older term is accepted.
        AcceptsStaleAppends = "accepts-stale-appends", seen in "";
        /// A follower truncates its log to match a delayed request without a conflict.
        TruncatesWithoutConflict = "truncates-without-conflict", seen in "";
        /// A truncation is not persisted.
        TruncationNotPersisted = "truncation-not-persisted", seen in "";
        /// A follower that rejects entries adopts the leader's commit index anyway.
        FollowerCommitsDespiteConflict = "follower-commits-despite-conflict", seen in "";
        /// A leader counts itself before its own disk has the entry.
        LeaderCountsItselfBeforeDurable = "leader-counts-itself-before-durable", seen in "";
        /// A read is answered without confirmation by a majority.
        ReadWithoutConfirmation = "read-without-confirmation", seen in "";
        /// Any acknowledgement of the term confirms a read, even a late one.
        ReadRoundNotCompared = "read-round-not-compared", seen in "";
        /// A read joins the round before its own, which may be answered already.
        ReadJoinsEarlierRound = "read-joins-earlier-round", seen in "";
        /// A read is answered before all committed entries are applied.
        ReadBeforeApplied = "read-before-applied", seen in "";
        /// The retained answers of a session are not consulted.
        CommandAppliedTwice = "command-applied-twice", seen in "";
        /// A repeated write is answered with the version of its own entry, as if it took effect again.
        RepeatAnsweredWithOwnVersion = "repeat-answered-with-own-version", seen in "";
        /// The answer to a write is not retained, so a repeated write is refused as acknowledged.
        AnswerNotRetained = "answer-not-retained", seen in "";
        /// A sequence number whose answer was acknowledged and discarded is applied again.
        AcknowledgedSequenceAppliedAgain = "acknowledged-sequence-applied-again", seen in "";
        /// A client retries a write with a new sequence number.
        RetriesUnderNewSequence = "retries-under-new-sequence", seen in "";
        /// A client takes "unavailable" for "not done".
        UnavailableTakenForNotDone = "unavailable-taken-for-not-done", seen in "";
        /// A client accepts any response as the answer to its current request.
        ResponseIdNotCompared = "response-id-not-compared", seen in "";
        /// next_index is not decremented when a follower reports a conflict.
        NextIndexNotMovedBack = "next-index-not-moved-back", seen in "";
        /// A new leader appends no no-op.
        LeaderSkipsNoop = "leader-skips-noop", seen in "";
        /// A vote is kept when the term changes.
        VoteKeptAcrossTerms = "vote-kept-across-terms", seen in "";
        /// A pre-vote is counted as a vote.
        PreVoteCountedAsVote = "pre-vote-counted-as-vote", seen in "canonical/raft#196";
        /// A PreVote request with an old term is dropped, so its sender never learns the newer
        /// term.
        StalePreVoteDropped = "stale-pre-vote-dropped", seen in "etcd#8243";
        /// A leader without responses from a majority remains leader.
        LeaderNeverChecksQuorum = "leader-never-checks-quorum", seen in "openraft#2080";
        /// A leader that once received responses from a majority remains leader forever.
        QuorumContactNeverExpires = "quorum-contact-never-expires", seen in "";
        /// A server grants its vote although it has a live leader.
        VotesDespiteLiveLeader = "votes-despite-live-leader", seen in "";
        /// A server refuses its pre-vote to its own leader, although that leader has stepped down.
        StepDownNotBelieved = "step-down-not-believed", seen in "";
        /// A PreVote request raises the receiver's term.
        PreVoteRaisesTerm = "pre-vote-raises-term", seen in "";
        /// A pre-candidate refuses its pre-vote to every other server.
        PreCandidateRefusesOthers = "pre-candidate-refuses-others", seen in "";
        /// An acknowledgement is counted for all entries sent so far.
        AckCountsEverythingSent = "ack-counts-everything-sent", seen in "";
        /// The sessions are left out of a snapshot.
        SessionsLeftOutOfSnapshot = "sessions-left-out-of-snapshot", seen in "iggy#3753";
        /// The log prefix is removed from disk before the snapshot that replaces it is durable.
        PrefixRemovedBeforeSnapshotIsDurable = "prefix-removed-before-snapshot-is-durable", seen in "";
        /// A snapshot covers uncommitted entries.
        SnapshotBeyondCommitted = "snapshot-beyond-committed", seen in "";
        /// A snapshot older than the applied state is installed.
        StaleSnapshotInstalled = "stale-snapshot-installed", seen in "";
        /// A conflicting suffix is kept behind an installed snapshot.
        ConflictingSuffixKeptBehindSnapshot = "conflicting-suffix-kept-behind-snapshot", seen in "";
        /// A snapshot is acknowledged before it is durable.
        SnapshotAcknowledgedBeforeDurable = "snapshot-acknowledged-before-durable", seen in "";
        /// A leader sends no heartbeats.
        HeartbeatsNotSent = "heartbeats-not-sent", seen in "";
        /// A message from the leader does not reset the election timer.
        LeaderNotWaitedFor = "leader-not-waited-for", seen in "";
        /// A candidate waits forever after a split vote.
        SplitVoteNeverRetried = "split-vote-never-retried", seen in "";
        /// A candidate sends each vote request once, without retries.
        VoteRequestsNotRepeated = "vote-requests-not-repeated", seen in "";
        /// A retransmitted vote request from the candidate that received the vote is refused.
        RepeatedVoteRefused = "repeated-vote-refused", seen in "";
        /// A client that waits for an entry receives the answer to another leader's entry at that
        /// index.
        WaitersOutliveTheLead = "waiters-outlive-the-lead", seen in "";
        /// Waiting clients receive no response when their leader loses its leadership.
        LostLeadershipNotReported = "lost-leadership-not-reported", seen in "";
        /// The conflict hint is ignored: next_index moves back one entry at a time.
        ConflictHintIgnored = "conflict-hint-ignored", seen in "";
        /// A late acknowledgement decreases match_index.
        MatchIndexFalls = "match-index-falls", seen in "";
        /// A leader sends entries to a follower beyond its window.
        WindowNotKept = "window-not-kept", seen in "";
        /// A refusal of a request from an older term confirms a read of the current term.
        StaleRefusalConfirmsReads = "stale-refusal-confirms-reads", seen in "";
        /// A write is applied although its session is unknown.
        UnknownSessionApplied = "unknown-session-applied", seen in "";
        /// Sessions are never evicted.
        SessionsNeverEvicted = "sessions-never-evicted", seen in "";
        /// A client's write does not settle its earlier writes.
        EarlierWritesNotSettled = "earlier-writes-not-settled", seen in "";
        /// A session is evicted although it is in use.
        SessionInUseEvicted = "session-in-use-evicted", seen in "";
        /// A client whose session is refused receives a session that another client uses.
        SessionInUseGivenToAnother = "session-in-use-given-to-another", seen in "";
        /// A session that its client closed stays open.
        ClosedSessionKept = "closed-session-kept", seen in "";
        /// The store does not record which writes of an evicted session were applied.
        AppliedSequencesForgotten = "applied-sequences-forgotten", seen in "";
        /// A client repeats the write of an expired session in a new session.
        ExpiredSessionWriteRepeated = "expired-session-write-repeated", seen in "";
        /// A client never retries a request.
        ClientNeverRetries = "client-never-retries", seen in "";
        /// A client waits for an answer forever.
        ClientNeverGivesUp = "client-never-gives-up", seen in "";
        /// A proxy accepts any response to a client as the answer to its current request.
        ProxyMixesRequestsUp = "proxy-mixes-requests-up", seen in "";
        /// A proxy keeps retrying a silent server.
        ProxyStaysWithSilentServer = "proxy-stays-with-silent-server", seen in "";
        /// A proxy does not follow the hint of a server that refuses.
        ProxyIgnoresHints = "proxy-ignores-hints", seen in "";
        /// A proxy forgets the leader that answered and tries any server.
        ProxyForgetsLeader = "proxy-forgets-leader", seen in "";
        /// A proxy keeps a request without remaining attempts.
        ProxyNeverGivesUp = "proxy-never-gives-up", seen in "";
    }
}
