//! The recheck: it agrees with a correct search, and finds the states and events that a wrong one loses.

use checker::{
    engine::{
        Explored, Limits, Recheck, Sample, SearchOutcome, SearchProgress, StopCause, check, recheck,
    },
    step_guard,
};
use model::system::{Budget, Flaw, Limit, Reduction, Scope};
use std::sync::atomic::AtomicBool;

/// All states of the small scopes.
const ALL: u64 = u64::MAX;

fn scope(name: &str, change: impl FnOnce(&mut Scope)) -> Scope {
    let mut scopes = Scope::catalog().into_iter();
    let scope = scopes.find(|scope| scope.name == name);
    let mut scope = scope.expect("a scope of the catalog");
    change(&mut scope);
    scope
}

fn searched(scope: &Scope, symmetry: bool) -> Explored {
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry,
    };
    check(scope, &limits, &SearchProgress::default())
}

fn rechecked(explored: &mut Explored, states: u64, seed: u64) -> Recheck {
    recheck(
        explored,
        Sample { states, seed },
        2,
        &AtomicBool::new(false),
    )
}

/// A small scope for each kind of process, history and reduction.
fn small() -> Vec<Scope> {
    let budget = |entries, reads, crashes, snapshots| Budget {
        entries,
        reads,
        crashes: Limit::at_most(crashes),
        snapshots: Limit::at_most(snapshots),
        ..Budget::default()
    };
    let two = |name: &str, terms, budget| {
        scope(name, |scope| {
            scope.servers = 2;
            scope.terms = terms;
            scope.budget = budget;
        })
    };
    vec![
        scope("elections", |scope| scope.terms = 2),
        scope("elections-4", |scope| scope.terms = 1),
        two("crashes", 2, budget(1, 0, 1, 0)),
        two("split-writes", 1, budget(0, 0, 1, 0)),
        two("quorum", 2, budget(0, 0, 0, 0)),
        two("snapshots", 1, budget(1, 0, 0, 1)),
        two("reads", 2, budget(1, 1, 0, 0)),
        two("fail-over", 1, budget(1, 0, 0, 0)),
        scope("pipelining", |scope| scope.budget.entries = 1),
        scope("sessions", |scope| scope.budget.entries = 2),
        scope("restarts", |scope| scope.budget.entries = 2),
        scope("elections", |scope| {
            scope.terms = 1;
            scope.budget.crashes = Limit::Never;
            scope.reduction = Reduction::NONE;
        }),
    ]
}

#[test]
fn correct_search_has_every_successor() {
    for scope in small() {
        for symmetry in [true, false] {
            let mut explored = searched(&scope, symmetry);
            let result = rechecked(&mut explored, 300, 1);
            let name = &scope.name;
            assert!(result.disagreement.is_none(), "{name}: {result:?}");
            let states = explored.report.states;
            assert_eq!(result.rechecked, states.min(300), "{name}");
            assert!(!result.is_interrupted);
            assert!(matches!(explored.report.outcome, SearchOutcome::Exhausted));
        }
    }
}

fn flawed(flaw: Flaw) -> Explored {
    let explored = searched(
        &scope("elections", |scope| {
            scope.terms = 2;
            // With a count, a state has fewer predecessors, so a dropped successor is lost more often.
            scope.budget.crashes = Limit::AtMost(2);
            scope.flaw = Some(flaw);
        }),
        true,
    );
    // With these bounds nothing else shows the loss.
    assert!(matches!(explored.report.outcome, SearchOutcome::Exhausted));
    explored
}

/// The recheck finds a step of the model, and its result is not in the visited set.
#[track_caller]
fn assert_found(explored: &mut Explored, sample: u64) {
    let result = rechecked(explored, sample, 3);
    assert!(matches!(
        explored.report.outcome,
        SearchOutcome::Truncated(StopCause::Recheck)
    ));
    let found = result.disagreement.expect("a lost successor");
    assert!(found.violation().is_none());
    let plain = Scope {
        flaw: None,
        ..explored.tables.scope().clone()
    };
    let last = found.path.last().expect("a stored state");
    let next = step_guard::transitions(plain).next(last, &found.action);
    assert_eq!(next.map(|(next, _)| next).as_ref(), Some(&found.next));
    let missing = found.next.canonical();
    for position in 0..explored.states.len() {
        let stored = explored.tables.system(&explored.states.key(position));
        assert_ne!(stored.canonical(), missing);
    }
}

#[test]
fn dropped_successors_are_found_by_a_sample() {
    let mut explored = flawed(Flaw::DropsSuccessors(20));
    assert!(explored.states.len() > 400, "{}", explored.states.len());
    assert_found(&mut explored, 200);
}

#[test]
fn lost_event_is_found_by_a_sample() {
    assert_found(&mut flawed(Flaw::OnlyLeadersCrash), 200);
}

#[test]
fn seed_determines_the_sample() {
    let found = |seed| {
        let mut explored = flawed(Flaw::DropsSuccessors(20));
        let sample = Sample { states: ALL, seed };
        let result = recheck(&mut explored, sample, 1, &AtomicBool::new(false));
        let found = result.disagreement.expect("a lost successor");
        (result.rechecked, found.action, found.next)
    };
    assert_eq!(found(1), found(1));
    let others: Vec<_> = (2..6).map(found).collect();
    assert!(others.iter().any(|other| *other != found(1)));
}

#[test]
fn interrupted_recheck_claims_nothing_about_states_it_did_not_expand() {
    let mut explored = searched(&scope("elections", |scope| scope.terms = 2), true);
    let sample = Sample {
        states: 100,
        seed: 1,
    };
    let result = recheck(&mut explored, sample, 2, &AtomicBool::new(true));
    assert!(result.is_interrupted);
    assert_eq!(result.rechecked, 0);
    assert!(result.upper_bound() >= 1.0);
    assert!(result.disagreement.is_none());
}

#[test]
fn sample_has_the_requested_size() {
    let mut explored = searched(&scope("elections", |scope| scope.terms = 2), true);
    let result = rechecked(&mut explored, 100, 1);
    assert_eq!((result.rechecked, result.is_interrupted), (100, false));
    assert!((0.029..0.030).contains(&result.upper_bound()));
}
