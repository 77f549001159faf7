//! Traces: from a search to a real run, to a file and back, to a story; and from random walks.

use checker::{
    engine::{self, Limits, Outcome, Progress},
    simulate::{self, Simulation, SimulationProgress, SimulationReport, Violation},
    story,
    trace::{ScopeBounds, Trace, concrete, read_jsonl},
};
use model::{
    mutant::Mutant,
    system::{Budget, Law, Local, Scope},
};

fn scope(name: &str, mutant: Mutant) -> Scope {
    let found = Scope::catalogue()
        .into_iter()
        .find(|scope| scope.name == name);
    let mut scope = found.unwrap_or_else(|| panic!("there is no scope {name}"));
    scope.mutant = Some(mutant);
    scope
}

fn small_elections(mutant: Mutant) -> Scope {
    let mut scope = scope("elections", mutant);
    scope.terms = 2;
    scope.budget.crashes = 1;
    scope
}

fn small_replication(mutant: Mutant) -> Scope {
    let mut scope = scope("replication", mutant);
    scope.budget.entries = 1;
    scope
}

/// Searches a scope with a bug in it and makes a real run of the violation.
fn found_by_search(scope: &Scope, symmetry: bool) -> Trace {
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry,
    };
    let explored = engine::check(scope, &limits, &Progress::default());
    let Outcome::Violated { broken, path } = explored.report.outcome else {
        panic!("{}: {:?} was not found", scope.name, scope.mutant);
    };
    let trace = concrete(scope, &path, &broken).expect("the path has a real run");
    assert_eq!(law(&trace), Some(broken.law));
    trace
}

fn law(trace: &Trace) -> Option<Law> {
    trace.broken.as_ref().map(|broken| broken.law)
}

fn written(trace: &Trace) -> String {
    let mut out = Vec::new();
    trace
        .write_jsonl(&mut out)
        .expect("memory takes everything");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Every delivered message was sent by an earlier step.
fn assert_honest(trace: &Trace) {
    let mut sent = Vec::new();
    for step in &trace.steps {
        if let Local::Deliver { envelope, .. } = &step.action.local {
            assert!(sent.contains(envelope), "{envelope:?} was never sent");
        }
        sent.extend(step.sent.iter().cloned());
    }
}

fn assert_same(one: &Trace, other: &Trace) {
    assert_eq!(one.steps, other.steps);
    assert_eq!(one.broken, other.broken);
    assert_eq!(ScopeBounds::of(&one.scope), ScopeBounds::of(&other.scope));
    assert_eq!(one.scope.mutant, other.scope.mutant);
}

/// From search to file and back.
fn assert_travels(scope: &Scope, symmetry: bool) -> Trace {
    let trace = found_by_search(scope, symmetry);
    assert_honest(&trace);
    let again = Trace::run(scope, &trace.actions()).expect("a trace can be executed again");
    assert_same(&trace, &again);
    assert_eq!(
        trace.shrink().steps,
        trace.steps,
        "a step could be left out"
    );
    let text = written(&trace);
    let read = read_jsonl(text.as_bytes()).expect("what was written can be read");
    assert_same(&trace, &read);
    assert_eq!(written(&read), text);
    let story = story::tell(&trace);
    if std::env::var("SHOW").is_ok() {
        println!("{story}");
    }
    assert!(story.contains(&trace.broken.as_ref().expect("a law is broken").why[..20]));
    for line in story.lines() {
        assert!(line.chars().count() <= 110, "too wide: {line}");
    }
    trace
}

#[test]
fn election_mutants_found_traces_travel() {
    for mutant in [
        Mutant::VotesTwiceInATerm,
        Mutant::VoteNotPersisted,
        Mutant::CountsRepeatedVotes,
        Mutant::QuorumOffByOne,
    ] {
        assert_travels(&small_elections(mutant), true);
    }
}

#[test]
fn without_symmetry_names_are_kept_too() {
    assert_travels(&small_elections(Mutant::VotesTwiceInATerm), false);
}

#[test]
fn replication_mutants_found_traces_travel() {
    for mutant in [
        Mutant::PrevTermNotCompared,
        Mutant::ConflictingSuffixKept,
        Mutant::VotesWithoutComparingLogs,
    ] {
        assert_travels(&small_replication(mutant), true);
    }
}

#[test]
fn split_writes_with_syncs_of_their_own_travel() {
    let mut scope = scope("split-writes", Mutant::AppendAcknowledgedBeforeDurable);
    scope.terms = 1;
    assert_travels(&scope, true);
}

#[test]
fn reads_of_a_deposed_leader_travel() {
    let mut scope = scope("reads", Mutant::ReadWithoutConfirmation);
    scope.budget.reads = 1;
    assert_travels(&scope, true);
}

#[test]
fn clients_and_proxies_travel() {
    let mut scope = scope("end-to-end", Mutant::CommandAppliedTwice);
    scope.plans.truncate(1);
    scope.budget = Budget {
        entries: 2,
        ..Budget::default()
    };
    assert_travels(&scope, true);
}
