use super::*;
use crate::engine::{Checked, Disagreement, Recheck};
use crate::expected_counts::Counts;
use crate::progress::NoProgressClaim;
use crate::step_guard;
use model::{
    NodeId, Term,
    system::{
        Action, ActionCounts, ActionKind, Cause, Local, Obligation, Property, Unmet, Violation,
        Witnesses,
    },
};
use std::time::Duration;

fn verdict(outcome: SearchOutcome, witnesses: Witnesses) -> Verdict {
    Verdict {
        scope: Scope::catalog().remove(0),
        witnesses_required: true,
        symmetry: true,
        engine: "built-in",
        outcome,
        states: 1,
        transitions: 0,
        depth: 0,
        expected: None,
        elapsed: Duration::ZERO,
        bytes: None,
        witnesses,
        checked: None,
        actions: None,
        recheck: None,
        progress: None,
        trace: None,
    }
}

fn parsed(line: &[&str]) -> Args {
    use clap::Parser;
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    Line::parse_from([&["check"], line].concat()).args
}

fn violated() -> SearchOutcome {
    SearchOutcome::Violated {
        violation: Violation::new(
            Property::ElectionSafety,
            Cause::TwoLeaders {
                server: NodeId::new(1),
                other: NodeId::new(2),
                term: Term::new(1),
            },
        ),
        path: Vec::new(),
    }
}

#[test]
fn exit_is_truncated_whatever_else() {
    let all = Witnesses::from_bits(u64::MAX);
    let truncated = || verdict(SearchOutcome::Truncated(engine::StopCause::MaxStates), all);
    let passed = || verdict(SearchOutcome::Exhausted, all);
    assert_eq!(exit(&[passed()], &[]), Exit::Passed);
    assert_eq!(
        exit(&[passed(), verdict(violated(), all)], &[]),
        Exit::Failed
    );
    let both = [verdict(violated(), all), truncated()];
    assert_eq!(exit(&both, &[]), Exit::Truncated);
    assert_eq!(exit(&[passed()], &["reads".into()]), Exit::Truncated);
}

#[test]
fn witness_missing_from_an_exhausted_scope_fails_unless_its_bounds_were_altered() {
    let mut vacuous = verdict(SearchOutcome::Exhausted, Witnesses::default());
    assert_eq!(exit(std::slice::from_ref(&vacuous), &[]), Exit::Failed);
    assert!(vacuous.notes()[0].contains("leader elected"));
    vacuous.witnesses_required = false;
    assert_eq!(exit(std::slice::from_ref(&vacuous), &[]), Exit::Passed);
    assert!(vacuous.notes()[0].contains("vacuous"));
}

#[test]
fn table_never_says_that_properties_of_a_truncated_scope_hold() {
    let all = Witnesses::from_bits(u64::MAX);
    let truncated = verdict(SearchOutcome::Truncated(engine::StopCause::MaxMemory), all);
    let table = verdict::table(&[truncated], &[]).to_string();
    assert!(table.contains("no claim"), "{table}");
    assert!(!table.contains("12/12"), "{table}");
}

#[test]
fn failed_obligation_makes_no_claim_and_is_named() {
    let all = Witnesses::from_bits(u64::MAX);
    let mut failed = verdict(SearchOutcome::Truncated(engine::StopCause::Obligation), all);
    let mut checked = Checked::default();
    checked.unmet.push(Unmet {
        obligation: Obligation::DeadMessages,
        process: "server 1".into(),
        event: "a vote".into(),
        why: "it is counted".into(),
    });
    failed.checked = Some(checked);
    assert_eq!(exit(std::slice::from_ref(&failed), &[]), Exit::Truncated);
    let notes = failed.notes().join("\n");
    let reported = [
        "states: no claim.",
        "dead-messages (of drop_dead): a dropped message has no effect",
        "server 1 on a vote: it is counted",
    ];
    for words in reported {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    let table = verdict::table(std::slice::from_ref(&failed), &[]).to_string();
    assert!(!table.contains("13/13"), "{table}");
}

/// Neither the table nor the notes of a verdict may claim that the scope is exhausted.
#[track_caller]
fn assert_no_claim(verdict: &Verdict, words: &[&str]) {
    assert_eq!(exit(std::slice::from_ref(verdict), &[]), Exit::Truncated);
    let notes = verdict.notes().join("\n");
    let table = verdict::table(std::slice::from_ref(verdict), &[]).to_string();
    let json = serde_json::to_value(verdict.as_json()).expect("JSON");
    for word in words {
        assert!(notes.contains(word), "{word}: {notes}");
    }
    assert!(table.contains("no claim"), "{table}");
    for claim in ["exhausted", "12/12"] {
        assert!(!table.contains(claim), "{table}");
        assert!(!notes.contains(claim), "{notes}");
    }
    assert_eq!(json["verdict"], "truncated");
    assert_eq!(json["properties"]["hold"], serde_json::Value::Null);
    assert!(verdict.fault().is_some());
}

#[test]
fn unexpected_counts_make_no_claim_and_are_named() {
    let all = Witnesses::from_bits(u64::MAX);
    let cause = engine::StopCause::UnexpectedCounts;
    let mut fewer = verdict(SearchOutcome::Truncated(cause), all);
    (fewer.states, fewer.transitions, fewer.depth) = (11_277, 103_892, 16);
    fewer.expected = Counts::of_catalog("elections");
    let words = [
        "expected 9,376 states, 96,831 transitions and depth 17",
        "found 11,277 states",
        "(\"elections\", 11_277, 103_892, 16);",
        "CONTRIBUTING.md",
    ];
    assert_no_claim(&fewer, &words);
    let json = serde_json::to_value(fewer.as_json()).expect("JSON");
    assert_eq!(json["stopped_by"], "unexpected-counts");
    assert_eq!(json["expected_counts"]["states"], 9_376);
}

fn rechecked(verdict: &Verdict) -> Recheck {
    let system = step_guard::transitions(verdict.scope.clone()).start();
    let disagreement = Disagreement {
        path: vec![system.clone()],
        action: Action {
            process: 0,
            local: Local::ElectionTimeout,
        },
        next: system,
    };
    Recheck {
        seed: 5,
        rechecked: 3,
        stored: 100,
        is_interrupted: false,
        disagreement: Some(disagreement),
        elapsed: Duration::ZERO,
    }
}

#[test]
fn lost_successor_makes_no_claim_and_is_named() {
    let all = Witnesses::from_bits(u64::MAX);
    let cause = engine::StopCause::Recheck;
    let mut lossy = verdict(SearchOutcome::Truncated(cause), all);
    lossy.recheck = Some(rechecked(&lossy));
    let words = ["seed 5", "server 1", "not in the visited set"];
    assert_no_claim(&lossy, &words);
    let json = serde_json::to_value(lossy.as_json()).expect("JSON");
    assert_eq!(json["stopped_by"], "recheck");
    assert_eq!(json["recheck"]["upper_bound"], serde_json::Value::Null);
    assert_eq!(json["recheck"]["disagreement"]["steps"], 0);
}

#[test]
fn interrupted_recheck_makes_no_claim() {
    let mut cut = verdict(SearchOutcome::Exhausted, Witnesses::from_bits(u64::MAX));
    assert_eq!(exit(std::slice::from_ref(&cut), &[]), Exit::Passed);
    cut.recheck = Some(Recheck {
        is_interrupted: true,
        disagreement: None,
        ..rechecked(&cut)
    });
    assert_eq!(exit(std::slice::from_ref(&cut), &[]), Exit::Truncated);
    assert!(cut.notes()[0].contains("after 3 of 100 states"));
    let fault = cut.fault().expect("no certificate");
    assert!(fault.contains("recheck"), "{fault}");
}

#[test]
fn default_scopes_must_check_every_obligation_and_take_every_action() {
    let missing = |line: &[&str]| {
        let mut vacuous = verdict(SearchOutcome::Exhausted, Witnesses::default());
        vacuous.checked = Some(Checked::default());
        vacuous.actions = Some(ActionCounts::default());
        parsed(line).missing(&[vacuous])
    };
    let (unchecked, untaken) = missing(&[]);
    assert_eq!(unchecked, Obligation::ALL);
    assert_eq!(untaken, ActionKind::ALL);
    for fewer in [
        &["--scope", "elections"][..],
        &["--no-reduction"],
        &["--no-symmetry"],
        &["--crashes", "1"],
    ] {
        assert_eq!(missing(fewer), (vec![], vec![]), "{fewer:?}");
    }
}

#[test]
fn planted_bug_that_nothing_catches_fails() {
    let all = Witnesses::from_bits(u64::MAX);
    let mut missed = verdict(SearchOutcome::Exhausted, all);
    missed.scope.mutant = Some(Mutant::QuorumOffByOne);
    assert_eq!(exit(std::slice::from_ref(&missed), &[]), Exit::Failed);
    let notes = missed.notes().join("\n");
    for word in [
        "was not found",
        "mutants quorum-off-by-one",
        "Election Safety",
    ] {
        assert!(notes.contains(word), "{word}: {notes}");
    }
}

#[test]
fn progress_without_a_claim_names_its_cause() {
    let note = |cause| {
        let mut one = verdict(SearchOutcome::Exhausted, Witnesses::from_bits(u64::MAX));
        one.progress = Some(ProgressReport {
            states_checked: 1,
            extension_states: 0,
            verdict: ProgressVerdict::Truncated(cause),
        });
        one.notes().join("\n")
    };
    let (stopped, large) = ("was interrupted", "smaller bounds");
    let text = note(NoProgressClaim::Interrupted);
    assert!(text.contains(stopped) && !text.contains(large), "{text}");
    assert!(text.contains("after 1 state:"), "{text}");
    let text = note(NoProgressClaim::LargeExtension);
    assert!(text.contains(large) && !text.contains(stopped), "{text}");
}

#[test]
fn progress_is_checked_in_small_exhausted_scopes_and_where_asked() {
    let args = parsed;
    let exhausted = |states: u64| Verdict {
        states,
        ..verdict(SearchOutcome::Exhausted, Witnesses::default())
    };
    let (small, large) = (
        exhausted(MAX_PROGRESS_STATES),
        exhausted(MAX_PROGRESS_STATES + 1),
    );
    let (few, many) = (
        |limit| limit >= MAX_PROGRESS_COMBINATIONS,
        |limit| limit > MAX_PROGRESS_COMBINATIONS,
    );
    assert!(args(&[]).checks_progress(&small, few));
    assert!(!args(&[]).checks_progress(&small, many));
    assert!(!args(&[]).checks_progress(&large, few));
    assert!(args(&["--progress"]).checks_progress(&large, many));
    assert!(!args(&["--no-progress"]).checks_progress(&small, few));
    let mut alone = exhausted(1);
    alone.scope.servers = 1;
    assert!(!args(&[]).checks_progress(&alone, few));
    let truncated = SearchOutcome::Truncated(engine::StopCause::MaxStates);
    for outcome in [truncated, violated()] {
        let ended = verdict(outcome, Witnesses::default());
        assert!(!args(&["--progress"]).checks_progress(&ended, few));
        let table = verdict::table(&[ended], &["reads".into()]).to_string();
        assert_eq!(table.matches("not checked").count(), 2, "{table}");
    }
}
