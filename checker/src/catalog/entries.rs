//! For each mutant, the property that must detect it, and the smallest scope known to show it.

use super::{
    CatalogEntry, Violates,
    scopes::{
        add, alone, clients, delete, elections, end_to_end, fail_over, get, increment, kept, logs,
        mixed_settings, one_by_one, pipelined, put, put_other, quiet, quorum_elections, reads,
        restarts, scan, sessions, snapshots, split, store, transfers, window, without_session,
    },
    script::{CONFIRMED_BEFORE, OUTLIVED, REFUSED, REPLACED},
};
use crate::timed::{self, TimedScenario};
use model::{
    LogIndex,
    client::Invocation,
    mutant::Mutant,
    store::Condition,
    system::{Properties, Property, Scope},
};

/// All mutants, in the order of [`Mutant::ALL`].
pub fn entries() -> Vec<CatalogEntry> {
    Mutant::ALL.iter().map(|mutant| entry(*mutant)).collect()
}

fn entry(mutant: Mutant) -> CatalogEntry {
    use Mutant::*;
    use Property::{
        AcknowledgedWritesKept, CommitIsDurable, CommitsOwnTerm, ElectionSafety, ExactlyOnce,
        Invariants, LeaderAppendOnly, LeaderCompleteness, Linearizability, LogMatching,
        MatchIsDurable, Monotone, OneVotePerTerm, Refinement, StateMachineSafety, TermIsDurable,
        TermsOrderedInLog, TransferTargetIsComplete,
    };
    let (violates, scope) = match mutant {
        VoteNotPersisted | VoteSentBeforeDurable | RejoinsWithWipedDisk => {
            (Violates::Property(ElectionSafety), elections(3, 1, 1))
        }
        CandidateForgetsOwnVote | VotesTwiceInATerm | QuorumOffByOne => {
            (Violates::Property(ElectionSafety), elections(3, 1, 0))
        }
        CountsStaleVotes | VotesInAnOlderTerm | StaysLeaderInNewTerm => {
            (Violates::Property(ElectionSafety), elections(3, 2, 0))
        }
        CountsRepeatedVotes => (Violates::Property(ElectionSafety), elections(4, 1, 0)),
        VotesRequestedBeforeDurable => (Violates::Property(OneVotePerTerm), elections(3, 1, 0)),
        RefusedBeforeTermIsDurable => (Violates::Property(TermIsDurable), elections(3, 2, 0)),
        CommitsSentEntries => (
            Violates::Property(CommitIsDurable),
            pipelined(logs(1, 1, 0)),
        ),
        HalfOfEvenCommits => (Violates::Property(CommitIsDurable), alone(4, logs(1, 0, 0))),
        ComparesTermOfLastEntry => (Violates::Property(CommitsOwnTerm), logs(2, 0, 0)),
        VotesWithoutComparingLogs => (Violates::Property(LeaderCompleteness), logs(2, 0, 0)),
        ComparesLogsByLength => (Violates::Property(LeaderCompleteness), logs(3, 1, 0)),
        CommitsOlderTermByCounting => (
            Violates::Property(LeaderCompleteness),
            one_by_one(logs(4, 0, 0)),
        ),
        ConflictingSuffixKept => (Violates::Property(StateMachineSafety), logs(2, 0, 0)),
        PrevTermNotCompared => (Violates::Property(StateMachineSafety), logs(3, 0, 0)),
        CountsStaleAcknowledgements | MatchIndexSurvivesReElection => (
            Violates::Property(LeaderCompleteness),
            without_session(alone(5, logs(4, 1, 0))),
        ),
        AppendAcknowledgedBeforeDurable => (Violates::Property(LeaderCompleteness), logs(2, 0, 1)),
        AnsweredBeforeTermIsDurable => (Violates::Property(MatchIsDurable), split(logs(1, 0, 0))),
        HeartbeatAcknowledgesUndurable => {
            (Violates::Property(MatchIsDurable), split(logs(2, 1, 0)))
        }
        HeartbeatAnswerWaitsForDisk => (Violates::Stability, timed::scope()),
        LateNoticeCreditsOverwrittenEntries => {
            (Violates::Property(MatchIsDurable), split(logs(2, 0, 0)))
        }
        AcceptsStaleAppends => (Violates::Property(MatchIsDurable), logs(2, 0, 0)),
        TruncatesWithoutConflict => (Violates::Property(LeaderCompleteness), logs(2, 1, 0)),
        TruncationNotPersisted => (Violates::Property(MatchIsDurable), logs(2, 0, 0)),
        FollowerCommitsDespiteConflict => (Violates::Property(StateMachineSafety), logs(3, 0, 0)),
        LeaderCountsItselfBeforeDurable => (Violates::Property(LeaderCompleteness), logs(2, 0, 1)),
        ReadBeforeCommitInTerm | ReadWithoutConfirmation | ReadRoundNotCompared => {
            (Violates::Property(Linearizability), reads(2, 1, 1))
        }
        ReadJoinsEarlierRound => (Violates::Property(Linearizability), reads(2, 1, 2)),
        ReadBeforeApplied => (Violates::Property(Linearizability), reads(2, 1, 1)),
        CommandAppliedTwice | RepeatAnsweredWithOwnVersion | AnswerNotRetained => {
            (Violates::Property(ExactlyOnce), end_to_end(2, 1, 1))
        }
        AcknowledgedSequenceAppliedAgain => (Violates::Property(ExactlyOnce), end_to_end(3, 2, 1)),
        RetriesUnderNewSequence => (Violates::Property(Linearizability), end_to_end(2, 1, 2)),
        UnavailableTakenForNotDone => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        ResponseIdNotCompared => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        LeaderSkipsNoop => (Violates::Progress, alone(2, logs(1, 0, 0))),
        VoteKeptAcrossTerms
        | SplitVoteNeverRetried
        | VoteRequestsNotRepeated
        | RepeatedVoteRefused => (Violates::Progress, elections(2, 1, 0)),
        NextIndexNotMovedBack => (Violates::Progress, elections(2, 1, 1)),
        PreCandidateRefusesOthers => (Violates::Progress, quiet(elections(2, 1, 0))),
        PreVoteCountedAsVote => (
            Violates::Property(ElectionSafety),
            quiet(elections(3, 1, 0)),
        ),
        AckCountsEverythingSent => (
            Violates::Property(LeaderCompleteness),
            pipelined(logs(2, 1, 0)),
        ),
        LeaderNeverChecksQuorum | QuorumContactNeverExpires => (Violates::Progress, timed::scope()),
        SessionsLeftOutOfSnapshot => (Violates::Property(ExactlyOnce), snapshots(1, 0, 0)),
        PrefixRemovedBeforeSnapshotIsDurable => {
            (Violates::Property(ExactlyOnce), split(snapshots(1, 0, 1)))
        }
        SnapshotBeyondCommitted => (Violates::Property(StateMachineSafety), snapshots(1, 1, 0)),
        StaleSnapshotInstalled => (Violates::Property(Monotone), snapshots(1, 1, 0)),
        ConflictingSuffixKeptBehindSnapshot => {
            (Violates::Property(TermsOrderedInLog), snapshots(2, 1, 0))
        }
        SnapshotAcknowledgedBeforeDurable => {
            (Violates::Property(MatchIsDurable), snapshots(1, 0, 0))
        }
        VotesDespiteLiveLeader | PreVoteRaisesTerm | LeaderNotWaitedFor => {
            (Violates::Stability, timed::scope())
        }
        WaitersOutliveTheLead => (Violates::Property(AcknowledgedWritesKept), logs(2, 2, 0)),
        MatchIndexFalls => (Violates::Property(Invariants), logs(1, 1, 0)),
        WindowNotKept => (Violates::Property(Invariants), pipelined(logs(1, 3, 0))),
        StaleRefusalConfirmsReads => (Violates::Property(Linearizability), reads(4, 1, 2)),
        UnknownSessionApplied | SessionsNeverEvicted => {
            (Violates::Property(ExactlyOnce), alone(1, sessions(4, 2)))
        }
        SessionInUseEvicted | ClosedSessionKept => {
            (Violates::Property(ExactlyOnce), alone(1, sessions(4, 2)))
        }
        SessionInUseGivenToAnother => (
            Violates::Property(Linearizability),
            alone(1, sessions(4, 1)),
        ),
        ExpiredSessionWriteRepeated => (
            Violates::Property(Linearizability),
            alone(1, sessions(6, 1)),
        ),
        EarlierWritesNotSettled => (
            Violates::Property(Linearizability),
            alone(1, end_to_end(3, 3, 1)),
        ),
        ProxyMixesRequestsUp => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        ClientNeverRetries
        | ClientNeverGivesUp
        | ProxyStaysWithSilentServer
        | ProxyNeverGivesUp => (Violates::Progress, timed::scope()),
        ConflictHintIgnored
        | StepDownNotBelieved
        | LostLeadershipNotReported
        | ProxyIgnoresHints
        | ProxyForgetsLeader => (Violates::Latency, timed::scope()),
        VoteForgottenInSameTerm => (Violates::Property(ElectionSafety), logs(1, 0, 0)),
        CountsRefusalsAsVotes => (Violates::Property(ElectionSafety), elections(3, 1, 0)),
        VotesSurviveNextElection => (Violates::Property(ElectionSafety), elections(5, 2, 0)),
        CandidacyNotPersisted => (Violates::Property(TermIsDurable), elections(3, 1, 0)),
        NewerTermNotPersisted => (Violates::Property(MatchIsDurable), logs(1, 0, 0)),
        PreVoteRecordedAsVote => (
            Violates::Property(OneVotePerTerm),
            quiet(elections(3, 2, 0)),
        ),
        ComparesLogsByTerm => (Violates::Property(LeaderCompleteness), logs(2, 1, 0)),
        ComparesWithCommittedLog | LeaderDropsUncommitted => {
            (Violates::Property(LeaderCompleteness), logs(2, 0, 0))
        }
        RetryKeepsTerm => (Violates::Progress, elections(2, 1, 0)),
        CandidateReportsCommittedLog => (Violates::Property(Refinement), alone(2, logs(2, 0, 0))),
        StalePreVoteDropped | RefusedPreCandidateKeepsTerm => {
            (Violates::Progress, quorum_elections(2, 3))
        }
        QuorumContactNotNoted => (Violates::Stability, timed::scope()),
        PendingReadKeepsLeader => (Violates::Progress, timed::scope()),
        NextIndexSurvivesReElection => (Violates::Property(Invariants), window(3, logs(3, 2, 0))),
        NewLeaderPipelines => (Violates::Property(Invariants), pipelined(logs(2, 1, 0))),
        ConflictMovesBelowMatch => (
            Violates::Property(Invariants),
            window(3, pipelined(logs(1, 2, 0))),
        ),
        AcceptsStaleAppendsThatMatch
        | AcknowledgesWholeLog
        | ConflictAcknowledged
        | AppendLostWithTruncation => (Violates::Property(MatchIsDurable), logs(2, 0, 0)),
        AckCreditedToEveryFollower => (Violates::Property(MatchIsDurable), logs(1, 0, 0)),
        LeaderMergesStaleEntries => (Violates::Property(LeaderAppendOnly), logs(2, 0, 0)),
        OldEntriesSentInNewTerm => (Violates::Property(LogMatching), logs(2, 0, 0)),
        RedeliveredEntriesAppendedAgain => (Violates::Property(LogMatching), logs(1, 1, 0)),
        GapAccepted | CommitIndexNotBounded => {
            (Violates::Property(StateMachineSafety), logs(2, 0, 0))
        }
        FollowerCommitsOnAppend => (Violates::Property(LeaderCompleteness), logs(2, 0, 1)),
        LeaderCountsItselfTwice | HighestMatchCommits => {
            (Violates::Property(CommitIsDurable), logs(1, 0, 0))
        }
        CommitsOneEntryMore => (Violates::Property(CommitIsDurable), logs(1, 1, 0)),
        AnsweredWhenDurableOnLeader => (Violates::Property(AcknowledgedWritesKept), logs(1, 1, 0)),
        DeposedLeaderAnswersWrites => (Violates::Property(AcknowledgedWritesKept), logs(2, 1, 0)),
        DeposedLeaderAnswersReads => (Violates::Property(Linearizability), reads(2, 1, 1)),
        StaleAcknowledgementConfirmsReads => (Violates::Property(Linearizability), reads(4, 1, 2)),
        FollowerAnswersReads | ProxyDowngradesReads => (
            Violates::Property(Linearizability),
            clients(1, 1, vec![vec![increment(), get()]]),
        ),
        DurableIndexSurvivesTruncation => {
            (Violates::Property(MatchIsDurable), split(logs(2, 0, 0)))
        }
        SyncCreditsWholeLog | AnySyncReleasesAll => {
            (Violates::Property(MatchIsDurable), split(logs(1, 1, 0)))
        }
        SnapshotTermIsCurrentTerm => (Violates::Property(Invariants), snapshots(2, 0, 0)),
        CompactsBeyondSnapshot => (Violates::Property(Invariants), snapshots(1, 1, 0)),
        SnapshotKeepsOldStore => (Violates::Property(ExactlyOnce), snapshots(1, 0, 0)),
        RestartForgetsSnapshot => (Violates::Property(ExactlyOnce), snapshots(1, 0, 1)),
        MatchingSuffixDiscarded | SnapshotWriteLosesSuffix => {
            (Violates::Property(MatchIsDurable), snapshots(1, 1, 0))
        }
        InstalledSnapshotNotPersisted => (Violates::Property(MatchIsDurable), snapshots(1, 0, 0)),
        LowerSequenceGetsLatestAnswer => (Violates::Property(ExactlyOnce), end_to_end(3, 2, 1)),
        AnswerDiscardedTooEarly => (Violates::Property(ExactlyOnce), end_to_end(2, 1, 1)),
        // Three clients: the store has room for two sessions.
        FailedConditionNotRemembered => (
            Violates::Property(ExactlyOnce),
            store(
                4,
                vec![
                    vec![put("a", Condition::Present)],
                    vec![increment()],
                    Vec::new(),
                ],
            ),
        ),
        MostRecentSessionEvicted => (
            Violates::Property(ExactlyOnce),
            store(2, vec![Vec::new(), vec![increment()], vec![increment()]]),
        ),
        SessionUseNotNoted => (
            Violates::Property(ExactlyOnce),
            store(2, vec![vec![increment()], vec![increment()]]),
        ),
        RenewalNotNoted => (
            Violates::Property(ExactlyOnce),
            store(
                2,
                vec![vec![Invocation::WriteAfterIdle(add(1))], vec![increment()]],
            ),
        ),
        QuotaOfOwnServer => (Violates::Property(ExactlyOnce), mixed_settings(1, 1)),
        LaterVersionAccepted => (
            Violates::Property(ExactlyOnce),
            store(
                2,
                vec![vec![
                    increment(),
                    put("a", Condition::Version(LogIndex::new(1))),
                ]],
            ),
        ),
        IncrementWraps => (
            Violates::Property(ExactlyOnce),
            store(2, vec![vec![increment(), Invocation::Write(add(i64::MAX))]]),
        ),
        TextCountsAsZero => (
            Violates::Property(ExactlyOnce),
            store(2, vec![vec![put("a", Condition::Always), increment()]]),
        ),
        DeleteKeepsKey => (
            Violates::Property(ExactlyOnce),
            store(2, vec![vec![increment(), delete(Condition::Always)]]),
        ),
        DeleteIgnoresCondition => (
            Violates::Property(ExactlyOnce),
            store(1, vec![vec![delete(Condition::Present)]]),
        ),
        VersionsCountPerKey => (
            Violates::Property(ExactlyOnce),
            store(1, vec![vec![increment()]]),
        ),
        QuotaNotEnforced => (
            Violates::Property(ExactlyOnce),
            Scope {
                state_quota: Some(1),
                ..store(1, vec![vec![increment()]])
            },
        ),
        ScanOmitsLastKey => (
            Violates::Property(Linearizability),
            alone(1, clients(1, 1, vec![vec![increment(), scan(2)]])),
        ),
        ScanExceedsLimit | ScanHidesRest => (
            Violates::Property(Linearizability),
            alone(
                1,
                clients(2, 1, vec![vec![increment(), put_other("a"), scan(1)]]),
            ),
        ),
        RetryAcknowledgesItself => (
            Violates::Property(ExactlyOnce),
            alone(1, end_to_end(2, 1, 2)),
        ),
        AppliedSequencesForgotten | EvictedSequenceOffByOne => (
            Violates::Property(ExactlyOnce),
            store(4, vec![vec![increment()], vec![increment()]]),
        ),
        ExpiredTakenForNotDone => (
            Violates::Property(Linearizability),
            store(5, vec![vec![increment()], vec![increment()]]),
        ),
        SequenceReused => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        RequestIdReused => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        SessionLeftAfterUnknown => (
            Violates::Property(Linearizability),
            alone(1, end_to_end(4, 3, 1)),
        ),
        InterruptedWriteRenumbered => (
            Violates::Property(Linearizability),
            alone(2, fail_over(2, 2)),
        ),
        HeartbeatsNotSent
        | HeartbeatsNotAnswered
        | HeartbeatsRepeatNoProbe
        | EntriesNotSentAfterProbe => (Violates::Progress, alone(2, logs(1, 0, 0))),
        ConflictNotAnswered => (Violates::Progress, elections(2, 1, 1)),
        StaleLeaderNotAnswered | NewerTermInAckIgnored => {
            (Violates::Progress, alone(2, quiet(logs(3, 0, 0))))
        }
        TransfersToLaggingServer => (
            Violates::Property(TransferTargetIsComplete),
            transfers(1, 0),
        ),
        WritesAcceptedDuringTransfer => (
            Violates::Property(TransferTargetIsComplete),
            transfers(1, 1),
        ),
        TransferTargetLeadsAtOnce | TransferCountsLeadersVote => {
            (Violates::Property(ElectionSafety), transfers(2, 0))
        }
        TransferKeepsTerm | TransferVoteGivenTwice => {
            (Violates::Property(OneVotePerTerm), transfers(2, 0))
        }
        TransferVoteSkipsLog => (Violates::Property(LeaderCompleteness), transfers(2, 1)),
        NoopWaitsForHeartbeat => (Violates::Latency, timed::scope()),
        ClientIdReused => (Violates::Property(Linearizability), restarts(3)),
        SessionResumed | LateResponseForwarded => {
            (Violates::Property(Linearizability), restarts(2))
        }
    };
    let scenario = match mutant {
        NoopWaitsForHeartbeat => Some(TimedScenario::Behind),
        QuorumContactNotNoted => Some(TimedScenario::Returns),
        PendingReadKeepsLeader => Some(TimedScenario::UnreachableLeaderWithRead),
        LeaderNeverChecksQuorum | QuorumContactNeverExpires => {
            Some(TimedScenario::UnreachableLeader)
        }
        VotesDespiteLiveLeader => Some(TimedScenario::Deaf),
        StepDownNotBelieved => Some(TimedScenario::StepsDown),
        HeartbeatAnswerWaitsForDisk => Some(TimedScenario::SlowDisks),
        PreVoteRaisesTerm | LeaderNotWaitedFor => Some(TimedScenario::Returns),
        ConflictHintIgnored => Some(TimedScenario::Behind),
        ClientNeverRetries => Some(TimedScenario::Lossy),
        ProxyStaysWithSilentServer => Some(TimedScenario::Silent),
        ProxyIgnoresHints | ProxyForgetsLeader => Some(TimedScenario::Redirected),
        LostLeadershipNotReported => Some(TimedScenario::Deposed),
        ClientNeverGivesUp | ProxyNeverGivesUp => Some(TimedScenario::Abandoned),
        _ => None,
    };
    let scope = match mutant {
        CountsStaleVotes
        | CountsRepeatedVotes
        | VotesTwiceInATerm
        | VotesInAnOlderTerm
        | RejoinsWithWipedDisk
        | AcceptsStaleAppends
        | TruncatesWithoutConflict
        | AckCountsEverythingSent
        | MatchIndexFalls
        | PreVoteCountedAsVote
        | ResponseIdNotCompared
        | StaleSnapshotInstalled
        | AcceptsStaleAppendsThatMatch
        | AckCreditedToEveryFollower
        | AcknowledgesWholeLog
        | AnswerDiscardedTooEarly
        | AnsweredWhenDurableOnLeader
        | AnySyncReleasesAll
        | AppendLostWithTruncation
        | CandidacyNotPersisted
        | CandidateReportsCommittedLog
        | ClientIdReused
        | CommitIndexNotBounded
        | CommitsOneEntryMore
        | CompactsBeyondSnapshot
        | ComparesLogsByTerm
        | ComparesWithCommittedLog
        | ConflictAcknowledged
        | ConflictMovesBelowMatch
        | ConflictNotAnswered
        | CountsRefusalsAsVotes
        | DeposedLeaderAnswersWrites
        | DurableIndexSurvivesTruncation
        | EntriesNotSentAfterProbe
        | FollowerAnswersReads
        | FollowerCommitsOnAppend
        | GapAccepted
        | HeartbeatsNotAnswered
        | HeartbeatsRepeatNoProbe
        | HighestMatchCommits
        | InstalledSnapshotNotPersisted
        | LeaderCountsItselfTwice
        | LeaderDropsUncommitted
        | LeaderMergesStaleEntries
        | MatchingSuffixDiscarded
        | NewLeaderPipelines
        | NewerTermInAckIgnored
        | NewerTermNotPersisted
        | NextIndexSurvivesReElection
        | OldEntriesSentInNewTerm
        | PreVoteRecordedAsVote
        | ProxyDowngradesReads
        | RedeliveredEntriesAppendedAgain
        | RefusedPreCandidateKeepsTerm
        | RequestIdReused
        | RestartForgetsSnapshot
        | RetryKeepsTerm
        | SnapshotKeepsOldStore
        | SnapshotTermIsCurrentTerm
        | SnapshotWriteLosesSuffix
        | StaleLeaderNotAnswered
        | SyncCreditsWholeLog
        | TransferKeepsTerm
        | TransferVoteGivenTwice
        | VoteForgottenInSameTerm
        | VotesSurviveNextElection => kept(scope),
        _ => scope,
    };
    let scope = scenario.map_or(scope, TimedScenario::scope);
    let properties = match violates {
        Violates::Property(property) => Properties::only(property),
        Violates::Progress | Violates::Stability | Violates::Latency => Properties::ALL,
    };
    let scope = Scope {
        mutant: Some(mutant),
        properties,
        expected: Vec::new(),
        ..scope
    };
    let script = match mutant {
        CountsStaleAcknowledgements | MatchIndexSurvivesReElection => Some(OUTLIVED),
        StaleRefusalConfirmsReads => Some(REFUSED),
        NextIndexSurvivesReElection => Some(REPLACED),
        StaleAcknowledgementConfirmsReads => Some(CONFIRMED_BEFORE),
        _ => None,
    };
    CatalogEntry {
        mutant,
        violates,
        scope,
        script,
        scenario,
    }
}
