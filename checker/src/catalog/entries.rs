//! For each mutant, the property that must detect it, and the smallest scope known to show it.

use super::{
    CatalogEntry, Violates,
    script::{OUTLIVED, REFUSED},
};
use crate::timed::{self, TimedScenario};
use model::{
    mutant::Mutant,
    system::{Budget, Limit, Properties, Property, Reduction, Scope},
};

/// All mutants, in the order of [`Mutant::ALL`].
pub fn entries() -> Vec<CatalogEntry> {
    Mutant::ALL.iter().map(|mutant| entry(*mutant)).collect()
}

fn entry(mutant: Mutant) -> CatalogEntry {
    use Mutant::*;
    use Property::{
        AcknowledgedWritesKept, CommitIsDurable, CommitsOwnTerm, ElectionSafety, ExactlyOnce,
        Invariants, LeaderCompleteness, Linearizability, MatchIsDurable, Monotone, OneVotePerTerm,
        StateMachineSafety, TermIsDurable, TermsOrderedInLog,
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
        VoteKeptAcrossTerms | SplitVoteNeverRetried => (Violates::Progress, elections(2, 1, 0)),
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
        StalePreVoteDropped | LeaderNeverChecksQuorum | QuorumContactNeverExpires => {
            (Violates::Progress, timed::scope())
        }
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
        VotesDespiteLiveLeader | PreVoteRaisesTerm | HeartbeatsNotSent | LeaderNotWaitedFor => {
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
        ExpiredSessionWriteRepeated | AppliedSequencesForgotten => (
            Violates::Property(Linearizability),
            alone(1, sessions(6, 1)),
        ),
        EarlierWritesNotSettled => (
            Violates::Property(Linearizability),
            alone(1, end_to_end(3, 3, 1)),
        ),
        ProxyMixesRequestsUp => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        VoteRequestsNotRepeated
        | RepeatedVoteRefused
        | ClientNeverRetries
        | ClientNeverGivesUp
        | ProxyStaysWithSilentServer
        | ProxyNeverGivesUp => (Violates::Progress, timed::scope()),
        ConflictHintIgnored
        | StepDownNotBelieved
        | LostLeadershipNotReported
        | ProxyIgnoresHints
        | ProxyForgetsLeader => (Violates::Latency, timed::scope()),
    };
    let scenario = match mutant {
        StalePreVoteDropped => Some(TimedScenario::Outdated),
        LeaderNeverChecksQuorum | QuorumContactNeverExpires => Some(TimedScenario::Unheard),
        VotesDespiteLiveLeader => Some(TimedScenario::Deaf),
        StepDownNotBelieved => Some(TimedScenario::StepsDown),
        HeartbeatAnswerWaitsForDisk => Some(TimedScenario::SlowDisks),
        PreVoteRaisesTerm | HeartbeatsNotSent | LeaderNotWaitedFor => Some(TimedScenario::Returns),
        ConflictHintIgnored => Some(TimedScenario::Behind),
        VoteRequestsNotRepeated | RepeatedVoteRefused | ClientNeverRetries => {
            Some(TimedScenario::Lossy)
        }
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
        | StaleSnapshotInstalled => kept(scope),
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

/// A scope of the catalog with other bounds.
fn bounded(name: &str, terms: u64, budget: Budget) -> Scope {
    let found = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name);
    let base = found.expect("the scopes that mutants use are in the catalog");
    Scope {
        terms,
        budget,
        ..base
    }
}

fn elections(servers: u64, terms: u64, crashes: u8) -> Scope {
    let budget = Budget {
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    alone(servers, bounded("elections", terms, budget))
}

fn logs(terms: u64, entries: u8, crashes: u8) -> Scope {
    let budget = Budget {
        entries,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    bounded("crashes", terms, budget)
}

/// With one snapshot.
fn snapshots(terms: u64, entries: u8, crashes: u8) -> Scope {
    let budget = Budget {
        entries,
        crashes: Limit::at_most(crashes),
        snapshots: Limit::at_most(1),
        ..Budget::default()
    };
    bounded("snapshots", terms, budget)
}

fn reads(terms: u64, entries: u8, reads: u8) -> Scope {
    let budget = Budget {
        entries,
        reads,
        ..Budget::default()
    };
    bounded("reads", terms, budget)
}

/// One client with `operations` increments, and the faults that make it retry.
fn end_to_end(entries: u8, operations: usize, attempts: u32) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    let base = bounded("end-to-end", 1, budget);
    let plans = base
        .plans
        .iter()
        .take(1)
        .map(|plan| plan.iter().cycle().take(operations).cloned().collect())
        .collect();
    Scope {
        plans,
        attempts,
        ..base
    }
}

/// The scope `sessions`, with a first client that increments a counter this many times.
fn sessions(entries: u8, operations: usize) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    let mut scope = bounded("sessions", 1, budget);
    scope.plans[0].truncate(operations);
    scope
}

fn alone(servers: u64, scope: Scope) -> Scope {
    Scope { servers, ..scope }
}

/// With servers that run a pre-vote before an election.
fn quiet(scope: Scope) -> Scope {
    Scope {
        pre_vote: true,
        ..scope
    }
}

fn pipelined(scope: Scope) -> Scope {
    Scope {
        window: 2,
        ..one_by_one(scope)
    }
}

fn one_by_one(scope: Scope) -> Scope {
    Scope { batch: 1, ..scope }
}

fn without_session(scope: Scope) -> Scope {
    Scope {
        with_session: false,
        ..scope
    }
}

/// For mutants that break an assumption of `drop_dead` or `trim_appends`. With these reductions an
/// obligation fails, and the violation may be hidden.
fn kept(scope: Scope) -> Scope {
    Scope {
        reduction: Reduction {
            drop_dead: false,
            trim_appends: false,
            ..scope.reduction
        },
        ..scope
    }
}

fn split(scope: Scope) -> Scope {
    Scope {
        reduction: Reduction {
            merge_syncs: false,
            ..scope.reduction
        },
        ..scope
    }
}
