//! The obligations of the reductions: they hold for the correct protocol, each is checked, and each
//! detects a wrong reduction and a protocol that does not permit the reduction.

use checker::{
    catalog,
    engine::{Limits, SearchOutcome, SearchProgress, SearchReport, StopCause, check},
};
use model::{
    mutant::Mutant,
    system::{Budget, Flaw, Limit, Obligation, Reduction, Scope},
};
use std::collections::BTreeSet;

fn scope(name: &str, terms: u64, budget: Budget) -> Scope {
    let mut scopes = Scope::catalog().into_iter();
    let base = scopes.find(|scope| scope.name == name);
    Scope {
        terms,
        budget,
        ..base.expect("the scope is in the catalog")
    }
}

fn budget(entries: u8, crashes: u8) -> Budget {
    Budget {
        entries,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    }
}

fn limits(threads: usize) -> Limits {
    Limits {
        threads,
        max_states: Some(400_000),
        max_memory: None,
        symmetry: true,
    }
}

fn searched(scope: &Scope, threads: usize) -> SearchReport {
    check(scope, &limits(threads), &SearchProgress::default()).report
}

fn unmet(report: &SearchReport) -> BTreeSet<Obligation> {
    let unmet = report.checked.unmet.iter();
    unmet.map(|unmet| unmet.obligation).collect()
}

/// Small scopes in which every reduction has an effect.
fn small() -> Vec<Scope> {
    let two = |scope: Scope| Scope {
        servers: 2,
        ..scope
    };
    let snapshots = Budget {
        snapshots: Limit::at_most(1),
        ..budget(0, 1)
    };
    let reads = Budget {
        reads: 1,
        ..budget(1, 1)
    };
    let restarting = |entries, reads| Budget {
        reads,
        client_crashes: Limit::Any,
        proxy_crashes: Limit::Any,
        ..budget(entries, 0)
    };
    vec![
        scope("elections", 2, budget(0, 1)),
        scope("older-term", 2, budget(0, 0)),
        scope("crashes", 1, budget(1, 1)),
        scope("replication", 1, budget(1, 0)),
        scope("snapshots", 1, snapshots),
        scope("pipelining", 1, budget(1, 0)),
        scope("split-entries", 1, budget(0, 1)),
        two(scope("quorum", 2, budget(0, 0))),
        two(scope("reads", 2, reads)),
        two(Scope {
            reduction: UNMERGED,
            ..scope("quorum", 2, budget(0, 1))
        }),
        two(scope("fail-over", 2, budget(1, 0))),
        scope("restarts", 1, restarting(2, 0)),
        scope("client-reads", 1, restarting(0, 1)),
    ]
}

#[test]
fn obligations_hold_and_each_is_checked() {
    let mut totals = [0; Obligation::ALL.len()];
    for scope in small() {
        let report = searched(&scope, 1);
        let name = &scope.name;
        assert_eq!(report.checked.unmet, Vec::new(), "{name}");
        assert!(matches!(report.outcome, SearchOutcome::Exhausted), "{name}");
        for (total, (_, count)) in totals.iter_mut().zip(report.checked.counts()) {
            *total += count;
        }
    }
    for (obligation, total) in Obligation::ALL.iter().zip(totals) {
        assert!(total > 0, "never checked: {obligation}");
    }
}

/// A count is the number of removals: it is zero for a reduction without effect.
#[test]
fn what_is_not_removed_is_not_counted() {
    let alone = Scope {
        servers: 1,
        ..scope("elections", 2, budget(0, 0))
    };
    let report = searched(&alone, 1);
    assert!(matches!(report.outcome, SearchOutcome::Exhausted));
    for (obligation, count) in report.checked.counts() {
        let is_needed = matches!(
            obligation,
            Obligation::ForgottenHints | Obligation::MergedSyncs | Obligation::EagerSends
        );
        assert_eq!(count > 0, is_needed, "{obligation}: {count}");
    }
    let calm = searched(&scope("older-term", 2, budget(0, 0)), 1);
    assert_eq!(calm.checked.count(Obligation::MergedRestarts), 0);
}

/// With symmetry, the counts differ slightly. If a process does not distinguish some servers, several
/// events are equivalent up to a permutation. The search takes one or more of them.
#[test]
fn threads_check_the_same() {
    let scope = scope("crashes", 1, budget(1, 1));
    let counts = |threads| {
        let limits = Limits {
            symmetry: false,
            ..limits(threads)
        };
        let report = check(&scope, &limits, &SearchProgress::default()).report;
        assert!(matches!(report.outcome, SearchOutcome::Exhausted));
        report.checked.counts().collect::<Vec<_>>()
    };
    assert_eq!(counts(1), counts(2));
}

#[test]
fn without_reductions_nothing_is_assumed() {
    let plain = Scope {
        reduction: Reduction::NONE,
        ..scope("elections", 1, budget(0, 1))
    };
    let report = searched(&plain, 1);
    assert!(matches!(report.outcome, SearchOutcome::Exhausted));
    for (obligation, count) in report.checked.counts() {
        let is_assumed = obligation == Obligation::Symmetry;
        assert_eq!(count > 0, is_assumed, "{obligation}");
    }
}

/// Each wrong reduction fails its own obligation, and no other.
#[track_caller]
fn assert_caught(flaw: Flaw, scope: Scope, obligation: Obligation) {
    assert_eq!(
        unmet(&searched(&scope, 1)),
        BTreeSet::new(),
        "without {flaw:?}"
    );
    let flawed = Scope {
        flaw: Some(flaw),
        ..scope
    };
    for threads in [1, 2] {
        let report = searched(&flawed, threads);
        assert_eq!(unmet(&report), BTreeSet::from([obligation]), "{flaw:?}");
        assert!(
            matches!(
                report.outcome,
                SearchOutcome::Truncated(StopCause::Obligation)
            ),
            "{flaw:?}: {:?}",
            report.outcome
        );
    }
}

#[test]
fn dropping_fresh_votes_is_caught() {
    let scope = scope("elections", 1, budget(0, 0));
    assert_caught(Flaw::DropsFreshVotes, scope, Obligation::DeadMessages);
}

#[test]
fn dropping_requests_that_change_the_receiver_is_caught() {
    let scope = scope("older-term", 2, budget(0, 0));
    assert_caught(Flaw::DropsVoteRequests, scope, Obligation::InertRequests);
}

/// The dropped request has no effect when it is dropped, but it has one after a crash.
#[test]
fn dropping_requests_that_matter_after_a_crash_is_caught() {
    let scope = scope("crashes", 1, budget(1, 1));
    assert_caught(
        Flaw::ForgetsCommitOfCrashed,
        scope,
        Obligation::InertRequests,
    );
}

#[test]
fn taking_conflicts_for_refusals_is_caught() {
    let scope = scope("older-term", 2, budget(0, 0));
    assert_caught(Flaw::ConflictsAreRefusals, scope, Obligation::Refusals);
}

#[test]
fn taking_acknowledgments_for_mere_contact_is_caught() {
    let scope = Scope {
        servers: 2,
        ..scope("quorum", 1, budget(0, 0))
    };
    assert_caught(Flaw::MatchesAreContacts, scope, Obligation::Contacts);
}

#[test]
fn trimming_entries_that_the_receiver_lacks_is_caught() {
    let scope = scope("replication", 1, budget(1, 0));
    assert_caught(Flaw::TrimsOneTooMany, scope, Obligation::TrimmedAppends);
}

#[test]
fn merging_the_writes_of_leaders_is_caught() {
    let scope = scope("crashes", 1, budget(1, 1));
    assert_caught(Flaw::MergesWritesOfLeaders, scope, Obligation::MergedSyncs);
}

const UNMERGED: Reduction = Reduction {
    merge_syncs: false,
    ..Reduction::ALL
};

/// A pre-vote request contains the last entry before it is durable.
#[test]
fn merging_beside_pre_votes_and_crashes_is_caught() {
    let merged = Scope {
        servers: 2,
        ..scope("quorum", 2, budget(0, 1))
    };
    assert!(!merged.may_merge_syncs() && merged.validate().is_err());
    let report = searched(&merged, 1);
    assert_eq!(unmet(&report), BTreeSet::from([Obligation::MergedSyncs]));
}

/// A leader that has dropped entries sends heartbeats only at the last entry of its snapshot. The
/// acknowledgments that a follower sends while older writes are pending are then sent at no other time.
#[test]
fn merging_where_servers_take_snapshots_is_caught() {
    let budget = Budget {
        snapshots: Limit::at_most(1),
        ..budget(0, 0)
    };
    let merged = Scope {
        reduction: Reduction::ALL,
        ..scope("snapshots", 1, budget)
    };
    assert!(!merged.may_merge_syncs() && merged.validate().is_err());
    for threads in [1, 2] {
        let report = searched(&merged, threads);
        assert_eq!(unmet(&report), BTreeSet::from([Obligation::MergedSyncs]));
        assert!(!report.passed(&merged));
    }
}

#[test]
fn restarts_that_keep_what_was_not_durable_are_caught() {
    let scope = scope("crashes", 1, budget(1, 1));
    assert_caught(
        Flaw::RestartKeepsUnsynced,
        scope,
        Obligation::MergedRestarts,
    );
}

#[test]
fn forgetting_hints_that_decide_votes_is_caught() {
    let scope = Scope {
        servers: 2,
        ..scope("quorum", 2, budget(0, 0))
    };
    assert_caught(Flaw::ForgetsUsedHints, scope, Obligation::ForgottenHints);
}

#[test]
fn eager_steps_that_commit_are_caught() {
    let scope = scope("replication", 1, budget(1, 0));
    assert_caught(Flaw::CommitsEagerly, scope, Obligation::EagerSends);
}

#[test]
fn canonical_forms_that_depend_on_names_are_caught() {
    let scope = scope("elections-4", 2, budget(0, 1));
    assert_caught(Flaw::FirstOrderIsCanonical, scope, Obligation::Symmetry);
}

/// A bug in the protocol that a reduction would hide fails the obligation of that reduction, even if all
/// reductions are on. So a user does not need to know which reduction must be off.
#[test]
fn bugs_that_reductions_would_hide_are_caught() {
    use Mutant::*;
    use Obligation::{
        DeadMessages, InertRequests, MergedRestarts, MergedSyncs, Refusals, TrimmedAppends,
    };
    let expected = [
        (CountsStaleVotes, DeadMessages),
        (CountsRepeatedVotes, DeadMessages),
        (CountsStaleAcknowledgements, DeadMessages),
        (AckCountsEverythingSent, DeadMessages),
        (MatchIndexFalls, DeadMessages),
        (PreVoteCountedAsVote, DeadMessages),
        (StaleRefusalConfirmsReads, DeadMessages),
        (StaleRefusalConfirmsReads, Refusals),
        (ResponseIdNotCompared, DeadMessages),
        (VotesTwiceInATerm, InertRequests),
        (VotesInAnOlderTerm, InertRequests),
        (AcceptsStaleAppends, InertRequests),
        (AcceptsStaleAppends, TrimmedAppends),
        (StaleSnapshotInstalled, InertRequests),
        (TruncatesWithoutConflict, InertRequests),
        (RejoinsWithWipedDisk, MergedRestarts),
        (LateNoticeCreditsOverwrittenEntries, MergedSyncs),
    ];
    let entries = catalog::entries();
    for (mutant, obligation) in expected {
        let entry = entries.iter().find(|entry| entry.mutant == mutant);
        let mut scope = entry.expect("the catalog names every bug").scope.clone();
        if mutant == CountsStaleAcknowledgements {
            // The scope of the violation is too large to search.
            let mutant = scope.mutant;
            scope = Scope {
                mutant,
                ..self::scope("older-term", 3, budget(0, 0))
            };
        }
        scope.reduction = Reduction {
            merge_syncs: scope.may_merge_syncs(),
            ..Reduction::ALL
        };
        let limits = Limits {
            threads: 1,
            max_states: Some(200_000),
            max_memory: None,
            symmetry: true,
        };
        let report = check(&scope, &limits, &SearchProgress::default()).report;
        let unmet = unmet(&report);
        assert!(unmet.contains(&obligation), "{mutant:?}: {unmet:?}");
        assert!(!report.passed(&scope), "{mutant:?}");
    }
}
