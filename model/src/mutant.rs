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
        TruncatesWithoutConflict = "truncates-without-conflict", seen in "willemt/raft#37";
        /// A truncation is not persisted.
        TruncationNotPersisted = "truncation-not-persisted", seen in "";
        /// A follower that rejects entries adopts the leader's commit index anyway.
        FollowerCommitsDespiteConflict = "follower-commits-despite-conflict", seen in "";
        /// A leader counts itself before its own disk has the entry.
        LeaderCountsItselfBeforeDurable = "leader-counts-itself-before-durable", seen in "";
        /// A read is answered without confirmation by a majority.
        ReadWithoutConfirmation = "read-without-confirmation", seen in "d-engine#381";
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
        LeaderSkipsNoop = "leader-skips-noop", seen in "d-engine#43";
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
        ConflictingSuffixKeptBehindSnapshot = "conflicting-suffix-kept-behind-snapshot",
            seen in "etcd#10358";
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
        RepeatedVoteRefused = "repeated-vote-refused", seen in "akka-raft#29";
        /// A client that waits for an entry receives the answer to another leader's entry at that
        /// index.
        WaitersOutliveTheLead = "waiters-outlive-the-lead", seen in "";
        /// Waiting clients receive no response when their leader loses its leadership.
        LostLeadershipNotReported = "lost-leadership-not-reported", seen in "old-raft-rs#115";
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
        /// A server forgets its vote when it follows a leader of the same term.
        VoteForgottenInSameTerm = "vote-forgotten-in-same-term", seen in "xraft#29";
        /// Logs are compared by the term of the last entry alone.
        ComparesLogsByTerm = "compares-logs-by-term", seen in "";
        /// A voter compares the candidate's log with its own committed entries, not with its whole
        /// log.
        ComparesWithCommittedLog = "compares-with-committed-log", seen in "";
        /// A candidate persists neither its new term nor its vote for itself.
        CandidacyNotPersisted = "candidacy-not-persisted", seen in "";
        /// A server does not persist a newer term that it receives.
        NewerTermNotPersisted = "newer-term-not-persisted", seen in "";
        /// A candidate counts every response as a vote, refusals included.
        CountsRefusalsAsVotes = "counts-refusals-as-votes", seen in "";
        /// A candidate keeps the votes of its previous election.
        VotesSurviveNextElection = "votes-survive-next-election", seen in "";
        /// A pre-vote replaces the vote of the voter's term.
        PreVoteRecordedAsVote = "pre-vote-recorded-as-vote", seen in "";
        /// A candidate starts its next election in the same term.
        RetryKeepsTerm = "retry-keeps-term", seen in "";
        /// A candidate reports its last committed entry as its last entry.
        CandidateReportsCommittedLog = "candidate-reports-committed-log", seen in "";
        /// A pre-candidate ignores the newer term in a refusal.
        RefusedPreCandidateKeepsTerm = "refused-pre-candidate-keeps-term", seen in "";
        /// A leader does not note which followers responded.
        QuorumContactNotNoted = "quorum-contact-not-noted", seen in "";
        /// A leader with a pending read remains leader without a majority.
        PendingReadKeepsLeader = "pending-read-keeps-leader", seen in "";
        /// A new leader removes the entries beyond its commit index.
        LeaderDropsUncommitted = "leader-drops-uncommitted", seen in "";
        /// next_index survives into the next leadership of a server.
        NextIndexSurvivesReElection = "next-index-survives-re-election", seen in "";
        /// A new leader fills the pipeline before any follower has responded.
        NewLeaderPipelines = "new-leader-pipelines", seen in "";
        /// The hint of a late conflict moves next_index to entries that the follower has
        /// acknowledged.
        ConflictMovesBelowMatch = "conflict-moves-below-match", seen in "etcd#1207";
        /// AppendEntries with an older term is accepted if the preceding entry matches.
        AcceptsStaleAppendsThatMatch = "accepts-stale-appends-that-match", seen in "";
        /// A leader merges the entries of an older leader into its log.
        LeaderMergesStaleEntries = "leader-merges-stale-entries", seen in "";
        /// Entries are accepted although the preceding entry is missing.
        GapAccepted = "gap-accepted", seen in "";
        /// Entries that are in the log already are appended again.
        RedeliveredEntriesAppendedAgain = "redelivered-entries-appended-again", seen in "";
        /// A leader sends entries of older terms with its own term.
        OldEntriesSentInNewTerm = "old-entries-sent-in-new-term", seen in "";
        /// Neither the leader nor the follower limits the commit index to the last entry of the
        /// request.
        CommitIndexNotBounded = "commit-index-not-bounded", seen in "copycat#265, NuRaft#57";
        /// A follower commits entries when it appends them.
        FollowerCommitsOnAppend = "follower-commits-on-append", seen in "";
        /// An acknowledgement covers the whole log of the follower, not the request.
        AcknowledgesWholeLog = "acknowledges-whole-log", seen in "ravendb#9330";
        /// A follower whose log conflicts with a request acknowledges it.
        ConflictAcknowledged = "conflict-acknowledged", seen in "";
        /// The acknowledgement of one follower counts for every follower.
        AckCreditedToEveryFollower = "ack-credited-to-every-follower", seen in "";
        /// The commit rule counts the leader's own log twice.
        LeaderCountsItselfTwice = "leader-counts-itself-twice", seen in "";
        /// An entry is committed as soon as one server has it.
        HighestMatchCommits = "highest-match-commits", seen in "";
        /// The entry after the last one that a majority has is committed too.
        CommitsOneEntryMore = "commits-one-entry-more", seen in "";
        /// A write is answered when the leader's disk has it.
        AnsweredWhenDurableOnLeader = "answered-when-durable-on-leader", seen in "";
        /// A leader that steps down answers its pending writes as if they were committed.
        DeposedLeaderAnswersWrites = "deposed-leader-answers-writes", seen in "";
        /// A leader that steps down answers its pending reads.
        DeposedLeaderAnswersReads = "deposed-leader-answers-reads", seen in "";
        /// A follower answers a linearizable read.
        FollowerAnswersReads = "follower-answers-reads", seen in "";
        /// An acknowledgement of an older term confirms a read of the current term.
        StaleAcknowledgementConfirmsReads = "stale-acknowledgement-confirms-reads", seen in "";
        /// Entries at truncated positions still count as durable.
        DurableIndexSurvivesTruncation = "durable-index-survives-truncation", seen in "";
        /// A write that truncates the log does not append the new entries.
        AppendLostWithTruncation = "append-lost-with-truncation", seen in "";
        /// The completion of any write marks the whole log as durable.
        SyncCreditsWholeLog = "sync-credits-whole-log", seen in "";
        /// The completion of any write releases the messages that wait for later writes.
        AnySyncReleasesAll = "any-sync-releases-all", seen in "";
        /// A snapshot records the server's current term, not the term of its last entry.
        SnapshotTermIsCurrentTerm = "snapshot-term-is-current-term", seen in "CCF#2648";
        /// An installed snapshot replaces the log but not the store.
        SnapshotKeepsOldStore = "snapshot-keeps-old-store", seen in "";
        /// A snapshot replaces the whole log although the log contains its last entry.
        MatchingSuffixDiscarded = "matching-suffix-discarded", seen in "camunda#6092";
        /// An installed snapshot is not persisted.
        InstalledSnapshotNotPersisted = "installed-snapshot-not-persisted", seen in "";
        /// The write of a snapshot omits the entries after it.
        SnapshotWriteLosesSuffix = "snapshot-write-loses-suffix", seen in "";
        /// A restarted server does not load its snapshot.
        RestartForgetsSnapshot = "restart-forgets-snapshot", seen in "";
        /// Log compaction removes the first entry after the snapshot.
        CompactsBeyondSnapshot = "compacts-beyond-snapshot", seen in "";
        /// A late write with a lower sequence number receives the latest answer of its session.
        LowerSequenceGetsLatestAnswer = "lower-sequence-gets-latest-answer", seen in "";
        /// The answer to a write whose condition failed is not retained.
        FailedConditionNotRemembered = "failed-condition-not-remembered", seen in "";
        /// The answer to the first sequence number that is not acknowledged is discarded too.
        AnswerDiscardedTooEarly = "answer-discarded-too-early", seen in "";
        /// The most recently used session is evicted.
        MostRecentSessionEvicted = "most-recent-session-evicted", seen in "";
        /// A write does not mark its session as used.
        SessionUseNotNoted = "session-use-not-noted", seen in "";
        /// The renewal of a session does not mark it as used.
        RenewalNotNoted = "renewal-not-noted", seen in "";
        /// The record of an evicted session marks its last applied write as never applied.
        EvictedSequenceOffByOne = "evicted-sequence-off-by-one", seen in "";
        /// Compare-and-set accepts any later version of the key.
        LaterVersionAccepted = "later-version-accepted", seen in "";
        /// A server applies a write with its own quota instead of the leader's.
        QuotaOfOwnServer = "quota-of-own-server", seen in "";
        /// An increment beyond 64 bits wraps around.
        IncrementWraps = "increment-wraps", seen in "";
        /// An increment treats a value that is not a number as 0.
        TextCountsAsZero = "text-counts-as-zero", seen in "";
        /// A delete is answered but keeps the key.
        DeleteKeepsKey = "delete-keeps-key", seen in "";
        /// A delete ignores its condition.
        DeleteIgnoresCondition = "delete-ignores-condition", seen in "";
        /// The version of a key counts the writes to it, so a deleted key begins again.
        VersionsCountPerKey = "versions-count-per-key", seen in "";
        /// A write that exceeds the quota of the state is applied.
        QuotaNotEnforced = "quota-not-enforced", seen in "";
        /// A scan omits the last key with its prefix.
        ScanOmitsLastKey = "scan-omits-last-key", seen in "";
        /// A scan returns one pair more than its limit.
        ScanExceedsLimit = "scan-exceeds-limit", seen in "";
        /// A scan that ends at its limit does not report that further keys follow.
        ScanHidesRest = "scan-hides-rest", seen in "";
        /// A retry also acknowledges its own sequence number, so its client never receives the answer.
        RetryAcknowledgesItself = "retry-acknowledges-itself", seen in "";
        /// A client takes an expired session for "not done".
        ExpiredTakenForNotDone = "expired-taken-for-not-done", seen in "";
        /// A client uses the sequence number of its previous write again.
        SequenceReused = "sequence-reused", seen in "";
        /// A client uses the id of its previous request again.
        RequestIdReused = "request-id-reused", seen in "";
        /// A client leaves its session after a write with an unknown outcome, so nothing settles that
        /// write.
        SessionLeftAfterUnknown = "session-left-after-unknown", seen in "";
        /// A write that a change of the leader interrupts is retried with a new sequence number.
        InterruptedWriteRenumbered = "interrupted-write-renumbered", seen in "openraft#2095";
        /// A proxy without a known leader sends a linearizable read as a stale one.
        ProxyDowngradesReads = "proxy-downgrades-reads", seen in "";
        /// A client that restarts uses the id of its previous run, and counts its requests from 1 again.
        ClientIdReused = "client-id-reused", seen in "";
        /// A client that restarts continues in the session of its previous run, and counts its writes
        /// from 1 again.
        SessionResumed = "session-resumed", seen in "";
        /// A proxy takes a late response, to a request that is no longer in flight, for the response to
        /// the request in flight.
        LateResponseForwarded = "late-response-forwarded", seen in "";
        /// A follower does not respond to a heartbeat.
        HeartbeatsNotAnswered = "heartbeats-not-answered", seen in "";
        /// A heartbeat to a follower that has not responded starts at its match_index, not at
        /// next_index.
        HeartbeatsRepeatNoProbe = "heartbeats-repeat-no-probe", seen in "";
        /// After a response to a probe, the leader sends no entries.
        EntriesNotSentAfterProbe = "entries-not-sent-after-probe", seen in "";
        /// A new leader sends its no-op only with the next heartbeat.
        NoopWaitsForHeartbeat = "noop-waits-for-heartbeat", seen in "";
        /// A follower whose log conflicts with a request does not respond.
        ConflictNotAnswered = "conflict-not-answered", seen in "";
        /// AppendEntries with an older term is dropped, so its sender never learns the newer term.
        StaleLeaderNotAnswered = "stale-leader-not-answered", seen in "";
        /// A leader ignores the newer term in a response to AppendEntries.
        NewerTermInAckIgnored = "newer-term-in-ack-ignored", seen in "";
        /// A leader sends TimeoutNow before the target has the whole log.
        TransfersToLaggingServer = "transfers-to-lagging-server", seen in "";
        /// A leader accepts writes while it transfers its leadership.
        WritesAcceptedDuringTransfer = "writes-accepted-during-transfer", seen in "";
        /// The target of a transfer leads at once, without an election.
        TransferTargetLeadsAtOnce = "transfer-target-leads-at-once", seen in "";
        /// The target of a transfer starts an election in the term of its leader.
        TransferKeepsTerm = "transfer-keeps-term", seen in "";
        /// The target of a transfer counts the vote of its leader without asking for it.
        TransferCountsLeadersVote = "transfer-counts-leaders-vote", seen in "";
        /// A voter does not compare its log with the log of a transfer's target.
        TransferVoteSkipsLog = "transfer-vote-skips-log", seen in "";
        /// A voter that has voted votes for the target of a transfer, too.
        TransferVoteGivenTwice = "transfer-vote-given-twice", seen in "";
    }
}
