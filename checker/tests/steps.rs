//! A step without a result is a violation: it panics, or it does not end.

use checker::{
    engine::{Limits, SearchOutcome, SearchProgress, check},
    step_guard::{self, Settings},
};
use model::system::{Cause, Flaw, Property, Scope};
use std::{
    env,
    process::{Command, Output},
};

/// Set in the child process of a test: whether the report is JSON.
const CHILD: &str = "STATERAFT_ENDLESS_STEP_AS_JSON";

fn searched(flaw: Flaw) -> SearchOutcome {
    let scope = Scope::catalog().remove(0);
    let scope = Scope {
        flaw: Some(flaw),
        ..scope
    };
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry: true,
    };
    check(&scope, &limits, &SearchProgress::default())
        .report
        .outcome
}

#[test]
fn panic_in_a_step_is_a_violation() {
    let SearchOutcome::Violated { violation, .. } = searched(Flaw::StepPanics) else {
        panic!("it is violated");
    };
    assert_eq!(violation.property, Property::Invariants);
    let Cause::StepPanicked { process, message } = *violation.cause else {
        panic!("{}", violation.cause);
    };
    assert!(process.starts_with("server "), "{process}");
    assert_eq!(message, "the flaw is planted");
}

/// Runs this test in a process of its own, which the endless step ends.
fn ended(test: &str, json: bool) -> Output {
    let program = env::current_exe().expect("a test has a program");
    let mut child = Command::new(program);
    child.args(["--exact", test, "--nocapture"]);
    child.env(CHILD, json.to_string());
    child.output().expect("it runs")
}

#[test]
fn endless_step_is_a_violation_with_its_process_and_event() {
    if let Ok(json) = env::var(CHILD) {
        step_guard::configure(Settings {
            json: json == "true",
            // Any program holds more.
            max_memory: Some(1),
        });
        searched(Flaw::StepNeverEnds);
        unreachable!("the step never ends");
    }
    let name = "endless_step_is_a_violation_with_its_process_and_event";
    let text = ended(name, false);
    assert_eq!(text.status.code(), Some(1), "{text:?}");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in [
        "violated: a step does not end.",
        "process: server ",
        "event: its heartbeat timeout",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let json = ended(name, true);
    assert_eq!(json.status.code(), Some(1), "{json:?}");
    let json = String::from_utf8_lossy(&json.stdout).into_owned();
    let line = json.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("no JSON: {json}"));
    let report: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    assert_eq!(report["type"], "endless_step");
    assert_eq!(report["event"], "its heartbeat timeout");
    assert_eq!(report["exit_code"], 1);
}
