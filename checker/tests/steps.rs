//! A step without a result is a violation: it panics, or it does not end.

use checker::{
    engine::{Limits, SearchOutcome, SearchProgress, check},
    stateright_engine::{self, Order},
    step_guard::{self, Settings},
    trace::Trace,
};
use model::system::{Action, Cause, Flaw, Local, Property, Scope};
use std::{
    env, io,
    process::{self, Command, Output},
    thread,
    time::Duration,
};

/// Set in the child process of a test: the reader of the model that takes the endless step.
const CHILD: &str = "STATERAFT_ENDLESS_STEP_IN";

const LIMITS: Limits = Limits {
    threads: 1,
    max_states: None,
    max_memory: None,
    symmetry: true,
};

fn scope(flaw: Flaw) -> Scope {
    let scope = Scope::catalog().remove(0);
    Scope {
        flaw: Some(flaw),
        ..scope
    }
}

fn searched(flaw: Flaw) -> SearchOutcome {
    check(&scope(flaw), &LIMITS, &SearchProgress::default())
        .report
        .outcome
}

/// Takes the endless step by one of the readers of the model.
fn take_endless_step(reader: &str) {
    let scope = scope(Flaw::StepNeverEnds);
    match reader {
        "search" | "search as JSON" => {
            check(&scope, &LIMITS, &SearchProgress::default());
        }
        "stateright" => {
            stateright_engine::check(&scope, Order::Depth, &LIMITS, &SearchProgress::default());
        }
        // Replays, counterexamples and the page execute traces in this way.
        "trace" => {
            let action = |local| Action { process: 0, local };
            let actions = [Local::ElectionTimeout, Local::HeartbeatTimeout].map(action);
            Trace::run(&scope, &actions).expect("the actions are enabled");
        }
        "transitions" => {
            let transitions = step_guard::transitions(scope);
            let mut system = transitions.start();
            for local in [Local::ElectionTimeout, Local::HeartbeatTimeout] {
                let action = Action { process: 0, local };
                let next = transitions.next(&system, &action);
                (system, _) = next.expect("the action is enabled");
            }
        }
        // A command that prints a counterexample takes its steps with the output locked.
        "transitions with locked output" => {
            let _out = io::stdout().lock();
            take_endless_step("transitions");
        }
        _ => unreachable!("no reader {reader}"),
    }
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
fn ended(test: &str, reader: &str) -> Output {
    let program = env::current_exe().expect("a test has a program");
    let mut child = Command::new(program);
    child.args(["--exact", test, "--nocapture"]);
    child.env(CHILD, reader);
    child.output().expect("it runs")
}

#[test]
fn endless_step_is_a_violation_with_its_process_and_event() {
    if let Ok(reader) = env::var(CHILD) {
        step_guard::configure(Settings {
            json: reader == "search as JSON",
            // Any program holds more.
            max_memory: Some(1),
        });
        // Only a guard that waits for something lets this time pass: the test then fails, instead of running
        // until the memory is full. A guard that works ends the process long before.
        thread::spawn(|| {
            thread::sleep(Duration::from_secs(120));
            process::exit(99);
        });
        take_endless_step(&reader);
        unreachable!("the step never ends");
    }
    let name = "endless_step_is_a_violation_with_its_process_and_event";
    for reader in [
        "search",
        "stateright",
        "trace",
        "transitions",
        "transitions with locked output",
    ] {
        let text = ended(name, reader);
        assert_eq!(text.status.code(), Some(1), "{reader}: {text:?}");
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        for part in [
            "violated: a step does not end.",
            "process: server ",
            "event: its heartbeat timeout",
        ] {
            assert!(text.contains(part), "{reader}: {text}");
        }
    }
    let json = ended(name, "search as JSON");
    assert_eq!(json.status.code(), Some(1), "{json:?}");
    let json = String::from_utf8_lossy(&json.stdout).into_owned();
    let line = json.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("no JSON: {json}"));
    let report: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    assert_eq!(report["type"], "endless_step");
    assert_eq!(report["event"], "its heartbeat timeout");
    assert_eq!(report["exit_code"], 1);
}
