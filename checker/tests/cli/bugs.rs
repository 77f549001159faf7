//! Planted bugs: searches and random walks that find them, and the traces they write.

use crate::{
    BUGGY, SMALL, assert_usage_error, code, directory, json_lines, program, run, run_in, run_with,
    stderr, stdout, trace_in,
};
use checker::trace::Trace;
use model::mutant::Mutant;
use std::fs;

#[test]
fn check_violation_is_told_and_written() {
    for engine in ["built-in", "stateright"] {
        let directory = directory();
        let arguments = [&["check", "--engine", engine], BUGGY].concat();
        let output = run_in(directory.path(), &arguments);
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        let (text, name) = (stdout(&output), "raft-checker-elections-violation.jsonl");
        for word in [
            " is violated in ",
            "votes-twice-in-a-term",
            "  1. ",
            " is violated: ",
            "violated",
            "no verdict on Raft",
            name,
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let trace = trace_in(&directory.path().join(name));
        let violation = trace.violation.expect("the run violates a property");
        assert!(
            text.contains(&format!("violated: {}", violation.property)),
            "{text}"
        );
        assert_eq!(trace.scope.mutant, Some(Mutant::VotesTwiceInATerm));
    }
}

#[test]
fn check_violation_with_json_names_the_file_asked_for() {
    let directory = directory();
    let more = ["check", "--json", "--trace", "run.jsonl"];
    let output = run_in(directory.path(), &[&more, BUGGY].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains(" is violated in "));
    let lines = json_lines(&output);
    assert_eq!(lines[0]["verdict"], "violated");
    assert_eq!(lines[0]["mutant"], "votes-twice-in-a-term");
    assert_eq!(lines[0]["violation"]["trace"], "run.jsonl");
    assert_eq!(lines[1]["exit_code"], 1);
    trace_in(&directory.path().join("run.jsonl"));
}

#[test]
fn check_violation_keeps_its_verdict_if_the_run_cannot_be_written() {
    let directory = directory();
    let more = ["check", "--trace", "/dev/full"];
    let output = run_in(directory.path(), &[&more, BUGGY].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let message = stderr(&output);
    for word in ["/dev/full", "--trace"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    let text = stdout(&output);
    for word in [" is violated in ", "violated"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn trace_that_cannot_be_written_is_refused_before_the_search() {
    let directory = directory();
    let simulate = ["simulate", "--scope", "elections", "--walks", "1"];
    let mutants = ["mutants", "votes-twice-in-a-term"];
    for arguments in [SMALL, &simulate, &mutants] {
        for file in ["missing/run.jsonl", "."] {
            let output = run_in(directory.path(), &[arguments, &["--trace", file]].concat());
            assert_eq!(code(&output), 2, "{arguments:?} {file}");
            assert_eq!(stdout(&output), "", "{arguments:?} {file}");
            let message = stderr(&output);
            assert!(message.contains("--trace"), "{message}");
        }
    }
    let output = run_in(directory.path(), &[SMALL, &["--trace", "new"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!directory.path().join("new").exists());
    let kept = directory.path().join("kept");
    fs::write(&kept, "kept").expect("written");
    let output = run_in(directory.path(), &[SMALL, &["--trace", "kept"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(fs::read(&kept).expect("it is there"), b"kept");
}

#[test]
fn trace_that_is_lost_is_no_success() {
    let output = run(&["mutants", "votes-twice-in-a-term", "--trace", "/dev/full"]);
    assert_eq!(code(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("/dev/full"), "{}", stderr(&output));
}

#[test]
fn check_bounds_of_clients_need_clients() {
    for bound in ["--client-crashes", "--proxy-crashes", "--attempts"] {
        assert_usage_error(
            &["check", "--scope", "elections", bound, "2"],
            &[
                &bound[2..],
                "no effect without client processes",
                "restarts",
            ],
        );
    }
}

#[test]
fn check_bad_trace_and_mutant_are_usage_errors() {
    assert_usage_error(&["check", "--trace", "run.jsonl"], &["exactly one --scope"]);
    assert_usage_error(
        &["check", "--mutant", "votes-twice-in-term"],
        &["'votes-twice-in-a-term'"],
    );
}

#[test]
fn check_planted_bug_that_a_reduction_hides_fails_its_obligation() {
    let directory = directory();
    assert!(!stdout(&run(SMALL)).contains("Reductions disabled"));
    // A stale vote shows the bug, and drop_dead drops that vote.
    let stale = [
        "check",
        "--scope",
        "elections",
        "--terms",
        "2",
        "--crashes",
        "0",
        "--mutant",
        "counts-stale-votes",
    ];
    let output = run_in(directory.path(), &stale);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("obligation dead-messages (of drop_dead)"),
        "{text}"
    );
    let kept = [&stale[..], &["--without-reduction", "drop_dead"]].concat();
    let output = run_in(directory.path(), &kept);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("violated: Steps refine the abstract Raft"),
        "{text}"
    );
    assert!(
        text.contains("Reductions disabled by options: drop_dead."),
        "{text}"
    );
}

#[test]
fn check_planted_bug_that_is_not_found_fails_and_says_where_it_is() {
    let bug = ["--mutant", "read-before-applied"];
    let output = run_with(SMALL, &bug);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "the planted bug read-before-applied was not found in this scope",
        "mutants read-before-applied",
        "Linearizability in reads",
        "1 read,",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let output = run_with(SMALL, &[&bug[..], &["--json"]].concat());
    let lines = json_lines(&output);
    assert_eq!(lines[0]["verdict"], "exhausted");
    assert_eq!(lines[1]["undetected"], 1);
    assert_eq!(lines[1]["exit_code"], 1);
}

#[test]
fn simulate_finds_a_bug_again_by_its_seed() {
    let directory = directory();
    let arguments = [&["simulate", "--seed", "7"], BUGGY].concat();
    let output = run_in(directory.path(), &arguments);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let text = stdout(&output);
    for word in ["seed 7", " is violated in ", " is violated: "] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let file = directory
        .path()
        .join("raft-checker-elections-violation.jsonl");
    let first = fs::read(&file).expect("the run");
    trace_in(&file);
    let output = run_in(directory.path(), &[&arguments[..], &["--json"]].concat());
    let found = &json_lines(&output)[0];
    assert_eq!(found["seed"], 7);
    assert_eq!(found["exit_code"], 1);
    assert_eq!(fs::read(&file).expect("the run"), first);
}

#[test]
fn simulate_without_violation_proves_nothing_and_says_so() {
    let output = run(&["simulate", "--walks", "20", "--steps", "50"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for word in ["seed ", "20 of 20 walks", "prove nothing"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_usage_error(&["simulate", "--walks", "0"], &["--walks"]);
    assert_usage_error(&["simulate", "--seed", "x"], &["--seed"]);
    assert_usage_error(&["simulate", "--scope", "nowhere"], &["elections"]);
}

/// A violation found by a walk is shrunk, described, and can be executed again, from its file and from
/// its seed.
#[test]
fn simulate_shrinks_what_it_finds() {
    let directory = directory();
    let scope = [
        "--scope",
        "replication",
        "--mutant",
        "conflicting-suffix-kept",
    ];
    let how = ["simulate", "--seed", "11", "--trace", "run.jsonl"];
    let output = run_in(directory.path(), &[&how[..], &scope, &["--json"]].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let found = &json_lines(&output)[0]["violation"];
    assert_eq!(found["shortest"], true);
    let steps = found["steps"].as_u64().expect("steps");
    assert!(
        steps < found["walk_steps"].as_u64().expect("steps"),
        "{found}"
    );

    let trace = trace_in(&directory.path().join("run.jsonl"));
    assert_eq!(trace.steps.len() as u64, steps);
    let violation = trace
        .violation
        .as_ref()
        .expect("the run violates a property");
    assert_eq!(found["property"], violation.property.name());
    let actions = trace.actions();
    for place in 0..actions.len() {
        let mut rest = actions.clone();
        rest.remove(place);
        let without = Trace::run(&trace.scope, &rest).ok();
        let still = without.and_then(|without| without.violation);
        assert_ne!(
            still.map(|still| still.property),
            Some(violation.property),
            "step {} can be left out",
            place + 1
        );
    }

    let output = run_in(directory.path(), &[&how[..], &scope].concat());
    let text = stdout(&output);
    for word in ["seed 11", &format!("shown above: the {steps} steps needed")] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.contains(&format!("  {steps}. ")), "{text}");
    assert!(!text.contains(&format!("  {}. ", steps + 1)), "{text}");
}

#[test]
fn mutants_writes_no_file_unless_asked() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let output = program()
        .args(["mutants", "votes-without-comparing-logs"])
        .current_dir(dir.path())
        .output()
        .expect("the program starts");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let files = fs::read_dir(dir.path()).expect("it can be listed").count();
    assert_eq!(files, 0);
    let several = run(&["mutants", "--trace", "x.jsonl"]);
    assert_eq!(code(&several), 2, "{}", stderr(&several));
}
