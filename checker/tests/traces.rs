//! Traces: from a search to a real run, to a file and back, to an explanation; and from random walks.

#![allow(clippy::print_stdout, reason = "a test that tells what it did")]

use checker::{
    engine::{self, Limits, SearchOutcome, SearchProgress},
    explain,
    simulate::{self, RandomWalks, RandomWalksProgress, RandomWalksReport, ViolatingWalk},
    trace::{Trace, concrete, read_jsonl},
};
use model::{
    mutant::Mutant,
    system::{Budget, Limit, Local, Properties, Property, Scope},
};
use std::sync::atomic::AtomicBool;

fn scope(name: &str, mutant: Mutant) -> Scope {
    let found = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name);
    let mut scope = found.unwrap_or_else(|| panic!("there is no scope {name}"));
    scope.mutant = Some(mutant);
    scope
}

fn small_elections(mutant: Mutant) -> Scope {
    let mut scope = scope("elections", mutant);
    scope.terms = 2;
    scope.budget.crashes = Limit::at_most(1);
    scope
}

fn small_replication(mutant: Mutant) -> Scope {
    let mut scope = scope("replication", mutant);
    scope.budget.entries = 1;
    scope
}

/// Searches a scope with a planted bug and makes a real run of the violation.
fn found_by_search(scope: &Scope, symmetry: bool) -> Trace {
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry,
    };
    let explored = engine::check(scope, &limits, &SearchProgress::default());
    let SearchOutcome::Violated { violation, path } = explored.report.outcome else {
        panic!("{}: {:?} was not found", scope.name, scope.mutant);
    };
    let trace = concrete(scope, &path, &violation).expect("the path has a real run");
    assert_eq!(property(&trace), Some(violation.property));
    trace
}

fn property(trace: &Trace) -> Option<Property> {
    trace.violation.as_ref().map(|violation| violation.property)
}

fn written(trace: &Trace) -> String {
    let mut out = Vec::new();
    trace
        .write_jsonl(&mut out)
        .expect("memory takes everything");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Requires that every delivered message was sent by an earlier step.
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
    assert_eq!(one.violation, other.violation);
    assert_eq!(one.scope, other.scope);
}

#[test]
fn shrinking_that_is_interrupted_still_violates_the_property() {
    let mut scope = scope("elections", Mutant::VotesTwiceInATerm);
    scope.terms = 2;
    let simulation = RandomWalks {
        seed: 7,
        walks: 10_000,
        max_steps: 200,
    };
    let report = simulate::simulate(&scope, &simulation, &RandomWalksProgress::default());
    let found = report.violation.expect("a walk that votes twice");
    assert!(found.is_shortest);
    let whole = simulate::walk(&scope, found.seed, simulation.max_steps);
    let left = whole.shrink_until(&AtomicBool::new(true));
    assert_eq!(property(&left), property(&whole));
    assert!(left.steps.len() > found.trace.steps.len());
}

/// Checks the way from a search to a file and back.
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
    let explanation = explain::explain(&trace);
    if std::env::var("SHOW").is_ok() {
        println!("{explanation}");
    }
    let violation = trace.violation.as_ref().expect("a property is violated");
    assert!(explanation.contains(&violation.cause.to_string()[..20]));
    for line in explanation.lines() {
        assert!(line.chars().count() <= 110, "too wide: {line}");
    }
    trace
}

#[test]
fn election_mutants_found_traces_travel() {
    for mutant in [
        Mutant::VotesTwiceInATerm,
        Mutant::VoteNotPersisted,
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
        Mutant::QuorumOffByOne,
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

#[test]
fn any_number_changed_in_any_line_is_refused() {
    let trace = found_by_search(&small_elections(Mutant::VotesTwiceInATerm), true);
    let text = written(&trace);
    let lines: Vec<&str> = text.lines().collect();
    for (place, line) in lines.iter().enumerate() {
        for (at, digit) in line.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
            let flipped = if digit == '9' {
                '8'
            } else {
                (digit as u8 + 1) as char
            };
            let mut changed: Vec<String> = lines.iter().map(ToString::to_string).collect();
            changed[place].replace_range(at..=at, &flipped.to_string());
            let error = read_jsonl(changed.join("\n").as_bytes()).expect_err("it was changed");
            assert_eq!(error.line, place + 1, "{error}");
        }
    }
}

#[test]
fn a_trace_with_a_line_missing_or_repeated_is_refused() {
    let trace = found_by_search(&small_elections(Mutant::VotesTwiceInATerm), true);
    let text = written(&trace);
    let lines: Vec<&str> = text.lines().collect();
    for place in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(place);
        read_jsonl(without.join("\n").as_bytes()).expect_err("a line is missing");
        let mut twice = lines.clone();
        twice.insert(place, lines[place]);
        read_jsonl(twice.join("\n").as_bytes()).expect_err("a line is there twice");
    }
}

fn simulated(scope: &Scope, seed: u64) -> RandomWalksReport {
    let simulation = RandomWalks {
        seed,
        walks: 20_000,
        max_steps: 150,
    };
    simulate::simulate(scope, &simulation, &RandomWalksProgress::default())
}

fn violation(report: RandomWalksReport) -> ViolatingWalk {
    report.violation.expect("the walks find the bug")
}

#[test]
fn simulation_finds_and_shrinks_the_same_every_time() {
    let mut only_safety = small_elections(Mutant::VotesTwiceInATerm);
    only_safety.properties = Properties::only(Property::ElectionSafety);
    for scope in [
        only_safety,
        small_elections(Mutant::QuorumOffByOne),
        small_replication(Mutant::VotesWithoutComparingLogs),
    ] {
        let one = simulated(&scope, 7);
        let other = simulated(&scope, 7);
        assert_eq!((one.walks, one.steps), (other.walks, other.steps));
        assert_eq!(one.witnesses, other.witnesses);
        let (one, other) = (violation(one), violation(other));
        assert_eq!((one.walk, one.seed), (other.walk, other.seed));
        assert_same(&one.trace, &other.trace);
        assert!(one.trace.steps.len() <= one.steps);
        assert_honest(&one.trace);
        let whole = simulate::walk(&scope, one.seed, 150);
        assert_eq!(whole.steps.len(), one.steps);
        assert_eq!(property(&whole), property(&one.trace));
        let read = read_jsonl(written(&one.trace).as_bytes()).expect("it can be read");
        assert_same(&one.trace, &read);
        if std::env::var("SHOW").is_ok() {
            println!(
                "walk {} of {} steps\n{}",
                one.walk,
                one.steps,
                explain::explain(&one.trace)
            );
        }
    }
}

#[test]
fn without_a_bug_no_walk_violates_a_property() {
    for name in [
        "crashes",
        "split-writes",
        "fail-over",
        "reads",
        "end-to-end",
        "restarts",
        "client-reads",
    ] {
        let mut scope = scope(name, Mutant::VotesTwiceInATerm);
        scope.mutant = None;
        let simulation = RandomWalks {
            seed: 1,
            walks: 300,
            max_steps: 150,
        };
        let report = simulate::simulate(&scope, &simulation, &RandomWalksProgress::default());
        if std::env::var("SHOW").is_ok() {
            println!(
                "{name}: {} steps, {:?}",
                report.steps,
                report.witnesses.list()
            );
        }
        assert!(
            report.violation.is_none(),
            "{:?}",
            report.violation.map(|found| explain::explain(&found.trace))
        );
        assert_eq!(report.walks, 300);
    }
}
