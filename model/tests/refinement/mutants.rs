//! Planted bugs that the comparison with the abstract protocol finds alone, without the other properties.

use model::{
    mutant::Mutant::{self, *},
    system::{Budget, Limit, Properties, Property, Scope, TransitionSystem},
};
use std::collections::HashSet;

/// The cause of a first failure. The search is breadth-first.
fn search(scope: Scope) -> String {
    let transitions = TransitionSystem::new(scope);
    let start = transitions.start();
    let mut visited = HashSet::from([start.clone()]);
    let mut level = vec![start];
    loop {
        let mut next = Vec::new();
        for system in &level {
            for action in transitions.actions(system) {
                let Some((after, _)) = transitions.next(system, &action) else {
                    continue;
                };
                if let Some(violation) = &after.violation {
                    return format!("{:?}", violation.cause);
                }
                if visited.insert(after.clone()) {
                    next.push(after);
                }
            }
        }
        assert!(
            !next.is_empty(),
            "the bug survived {} states",
            visited.len()
        );
        assert!(visited.len() < 400_000, "no failure in many states");
        level = next;
    }
}

/// A scope with a planted bug and the property alone. Messages are kept: the reductions may drop those that
/// only a bug takes.
fn planted(mutant: Mutant, servers: u64, terms: u64, entries: u8) -> Scope {
    let mut scope = Scope::new("planted", "a planted bug");
    scope.mutant = Some(mutant);
    scope.properties = Properties::only(Property::Refinement);
    (scope.servers, scope.terms) = (servers, terms);
    scope.budget = Budget {
        entries,
        ..Budget::default()
    };
    (scope.reduction.drop_dead, scope.reduction.trim_appends) = (false, false);
    scope
}

#[test]
fn bugs_of_elections_are_found() {
    for (mutant, servers, terms, cause) in [
        (VotesRequestedBeforeDurable, 2, 1, "CandidacyNotDurable"),
        (CandidateForgetsOwnVote, 2, 1, "CountedMissingVote"),
        (VoteSentBeforeDurable, 2, 1, "VoteNotDurable"),
        (VoteNotPersisted, 2, 1, "TermNotWritten"),
        (VotesTwiceInATerm, 3, 1, "DurableVoteChanged"),
        (VoteKeptAcrossTerms, 3, 2, "VotedWithoutRequest"),
        (QuorumOffByOne, 3, 1, "ElectedWithoutMajority"),
        (CountsRepeatedVotes, 4, 1, "ElectedWithoutMajority"),
        (CountsStaleVotes, 3, 2, "ElectedWithoutMajority"),
        (StaysLeaderInNewTerm, 2, 2, "LedWithoutCandidacy"),
    ] {
        let mut scope = planted(mutant, servers, terms, 0);
        scope.append_entries = false;
        let found = search(scope);
        assert!(found.starts_with(cause), "{}: {found}", mutant.name());
    }
}

#[test]
fn bugs_of_replication_are_found() {
    for (mutant, terms, entries, cause) in [
        (VotesWithoutComparingLogs, 2, 0, "VotedForOutdatedLog"),
        (
            AppendAcknowledgedBeforeDurable,
            1,
            0,
            "AcknowledgedOtherLog",
        ),
        (AcceptsStaleAppends, 2, 0, "LogNotFromLeader"),
        (ConflictingSuffixKept, 2, 0, "AcknowledgedOtherLog"),
        (TruncationNotPersisted, 2, 0, "DiskDiffersFromMemory"),
        (CommitsSentEntries, 1, 1, "CommittedWithoutMajority"),
        (
            LeaderCountsItselfBeforeDurable,
            1,
            0,
            "CommittedWithoutMajority",
        ),
    ] {
        let mut scope = planted(mutant, 3, terms, entries);
        // Entries leave before the earlier ones are acknowledged.
        scope.window = if mutant == CommitsSentEntries { 2 } else { 0 };
        let found = search(scope);
        assert!(found.starts_with(cause), "{}: {found}", mutant.name());
    }
}

#[test]
fn bugs_of_restarts_are_found() {
    let mut scope = planted(RejoinsWithWipedDisk, 2, 1, 0);
    scope.budget.crashes = Limit::AtMost(1);
    let found = search(scope);
    assert!(found.starts_with("RestartDiffersFromDisk"), "{found}");
}
