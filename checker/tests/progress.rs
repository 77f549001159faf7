//! Progress stays possible in Raft, and the check finds each bug that ends it.

use checker::{
    engine::{Explored, Limits, SearchOutcome, SearchProgress, check},
    progress::{
        NoProgressClaim, ProgressReport, ProgressVerdict, check_progress, has_at_most_combinations,
    },
    step_guard,
};
use model::{
    Role,
    client::Invocation,
    mutant::Mutant,
    store::Operation,
    system::{Budget, Limit, Scope},
};
use std::sync::atomic::AtomicBool;

fn explore(scope: &Scope) -> Explored {
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry: true,
    };
    check(scope, &limits, &SearchProgress::default())
}

fn report_on(scope: &Scope) -> ProgressReport {
    check_progress(scope, &explore(scope), 1, &AtomicBool::new(false))
}

fn scope(servers: u64, terms: u64, budget: Budget) -> Scope {
    let mut scope = Scope::new("progress", "");
    (scope.servers, scope.terms, scope.budget) = (servers, terms, budget);
    scope
}

fn crashes(crashes: u8) -> Budget {
    Budget {
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    }
}

fn elections(servers: u64, terms: u64, budget: Budget) -> Scope {
    let mut scope = scope(servers, terms, budget);
    scope.append_entries = false;
    scope
}

#[track_caller]
fn assert_holds(scope: &Scope) {
    let explored = explore(scope);
    let report = check_progress(scope, &explored, 1, &AtomicBool::new(false));
    assert!(
        matches!(report.verdict, ProgressVerdict::Holds),
        "{:?}",
        report.verdict
    );
    assert_eq!(report.states_checked, explored.report.states);
}

/// Requires that the mutant is stuck in a scope in which correct Raft is not stuck.
#[track_caller]
fn assert_stuck_by(mutant: Mutant, scope: &Scope, steps: usize) {
    assert_holds(scope);
    let mut scope = scope.clone();
    scope.mutant = Some(mutant);
    match report_on(&scope).verdict {
        ProgressVerdict::Stuck(stuck) => {
            assert_eq!(stuck.path.len(), steps + 1);
            assert_eq!(
                stuck.path[0],
                step_guard::transitions(scope).start().canonical()
            );
            assert_eq!(stuck.path.last(), Some(&stuck.system.canonical()));
        }
        other => panic!("not stuck: {other:?}"),
    }
}

#[test]
fn combinations_are_counted_without_messages() {
    let entries = Budget {
        entries: 1,
        ..Budget::default()
    };
    let explored = explore(&named("split-entries", 3, 1, entries));
    let states = explored.states.len();
    let limits: Vec<usize> = (0..states).collect();
    let count = limits.partition_point(|limit| !has_at_most_combinations(&explored, *limit));
    // Some states differ only in their messages.
    assert!(0 < count && count < states, "{count} of {states}");
}

#[test]
fn raft_elections_hold() {
    assert_holds(&elections(3, 2, crashes(1)));
}

#[test]
fn raft_replication_holds() {
    let entries = Budget {
        entries: 1,
        ..Budget::default()
    };
    let mut scope = scope(3, 1, entries);
    scope.with_session = true;
    assert_holds(&scope);
}

#[test]
fn raft_split_restarts_hold() {
    let mut scope = elections(2, 1, crashes(1));
    scope.reduction.merge_restarts = false;
    assert_holds(&scope);
    scope.reduction.merge_syncs = false;
    assert_holds(&scope);
}

#[test]
fn one_server_alone_gets_no_verdict() {
    let report = report_on(&scope(1, 1, crashes(1)));
    assert!(matches!(
        report.verdict,
        ProgressVerdict::Truncated(NoProgressClaim::OneServer)
    ));
}

#[test]
fn raft_with_clients_and_a_proxy_holds() {
    let entries = Budget {
        entries: 1,
        ..Budget::default()
    };
    let mut scope = scope(2, 1, entries);
    scope.with_session = true;
    scope.direct_clients = false;
    scope.plans = vec![vec![Invocation::Write(Operation::Increment {
        key: b"x".to_vec(),
        by: 1,
    })]];
    assert_holds(&scope);
}

fn named(name: &str, servers: u64, terms: u64, budget: Budget) -> Scope {
    let mut scopes = Scope::catalog().into_iter();
    let found = scopes.find(|scope| scope.name == name);
    Scope {
        servers,
        terms,
        budget,
        ..found.expect("the scope is in the catalog")
    }
}

/// An eager send would grant each pre-vote before the voter becomes a pre-candidate itself.
#[test]
fn pre_candidates_that_refuse_each_other_are_stuck() {
    let scope = named("quorum", 2, 1, Budget::default());
    assert_stuck_by(Mutant::PreCandidateRefusesOthers, &scope, 2);
}

#[test]
fn candidate_that_asks_once_is_stuck() {
    let scope = elections(2, 1, Budget::default());
    assert_stuck_by(Mutant::VoteRequestsNotRepeated, &scope, 1);
}

#[test]
fn candidate_whose_vote_was_lost_and_is_refused_is_stuck() {
    let scope = elections(2, 1, Budget::default());
    assert_stuck_by(Mutant::RepeatedVoteRefused, &scope, 2);
}

#[test]
fn leader_without_heartbeats_is_stuck() {
    let scope = elections(2, 1, Budget::default());
    assert_stuck_by(Mutant::HeartbeatsNotSent, &scope, 3);
}

#[test]
fn leader_that_skips_its_noop_is_stuck() {
    // Stuck from the start: a leader never receives a client request.
    let scope = scope(2, 1, Budget::default());
    assert_stuck_by(Mutant::LeaderSkipsNoop, &scope, 0);
}

#[test]
fn vote_kept_across_terms_is_stuck() {
    // Both servers voted for themselves.
    let scope = elections(2, 1, Budget::default());
    assert_stuck_by(Mutant::VoteKeptAcrossTerms, &scope, 2);
}

#[test]
fn split_vote_never_retried_is_stuck() {
    let scope = elections(2, 1, Budget::default());
    assert_stuck_by(Mutant::SplitVoteNeverRetried, &scope, 2);
}

#[test]
fn next_index_not_moved_back_is_stuck() {
    // A leader whose no-op reached no other server is elected again, and probes one entry too far.
    assert_stuck_by(
        Mutant::NextIndexNotMovedBack,
        &elections(2, 1, crashes(1)),
        5,
    );
    assert_stuck_by(
        Mutant::NextIndexNotMovedBack,
        &scope(2, 2, Budget::default()),
        4,
    );
}

#[test]
fn split_vote_is_seen_in_the_stuck_state() {
    let mut scope = elections(2, 1, Budget::default());
    scope.mutant = Some(Mutant::SplitVoteNeverRetried);
    let ProgressVerdict::Stuck(stuck) = report_on(&scope).verdict else {
        panic!("not stuck");
    };
    for process in &stuck.system.processes {
        let running = process.server().and_then(|server| server.running.as_ref());
        let role = running.map(|running| running.raft.role());
        assert!(matches!(role, Some(Role::Candidate(_))), "{role:?}");
    }
}

#[test]
fn without_granted_terms_the_last_term_is_stuck() {
    // The check is not vacuous: without granted terms there is a dead end, a split vote.
    let scope = elections(2, 1, Budget::default());
    let report = check_progress(&scope, &explore(&scope), 0, &AtomicBool::new(false));
    assert!(matches!(report.verdict, ProgressVerdict::Stuck(_)));
}

#[test]
fn interrupted_check_claims_nothing() {
    let scope = elections(2, 1, Budget::default());
    let report = check_progress(&scope, &explore(&scope), 1, &AtomicBool::new(true));
    assert!(matches!(
        report.verdict,
        ProgressVerdict::Truncated(NoProgressClaim::Interrupted)
    ));
}

#[test]
fn truncated_search_claims_nothing() {
    let scope = elections(2, 1, Budget::default());
    let mut explored = explore(&scope);
    explored.report.outcome = SearchOutcome::Truncated(checker::engine::StopCause::Interrupted);
    let report = check_progress(&scope, &explored, 1, &AtomicBool::new(false));
    assert!(matches!(
        report.verdict,
        ProgressVerdict::Truncated(NoProgressClaim::NotExhausted)
    ));
}
