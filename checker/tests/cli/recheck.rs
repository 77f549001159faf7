//! The expected counts and the recheck, in the output of `check`.

use crate::{SMALL, assert_usage_error, code, json_lines, run, run_with, stderr, stdout};
use serde_json::Value;

#[test]
fn check_compares_the_counts_of_unaltered_scopes() {
    let output = run(&["check", "--scope", "elections", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let scope = &json_lines(&output)[0];
    for count in ["states", "transitions", "depth"] {
        assert!(scope[count].is_u64(), "{scope}");
        assert_eq!(scope["expected_counts"][count], scope[count], "{count}");
    }
    for altered in [&["--terms", "1"][..], &["--no-symmetry"]] {
        let output = run(&[&["check", "--scope", "elections-4", "--json"], altered].concat());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(json_lines(&output)[0]["expected_counts"], Value::Null);
    }
}

#[test]
fn check_states_the_size_and_the_bound_of_the_recheck() {
    let output = run(SMALL);
    let text = stdout(&output);
    assert!(
        text.contains("Recheck: the readable model expanded all "),
        "{text}"
    );
    let sampled = ["--recheck", "10", "--recheck-seed", "3"];
    let output = run_with(SMALL, &sampled);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for words in [
        "expanded 10 of the ",
        "seed 3",
        "at most 25.89 % of the states",
        "does not bound",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let output = run_with(SMALL, &[&sampled[..], &["--json"]].concat());
    let recheck = &json_lines(&output)[0]["recheck"];
    assert_eq!(recheck["seed"], 3);
    assert_eq!(recheck["rechecked"], 10);
    assert_eq!(recheck["interrupted"], false);
    let bound = recheck["upper_bound"].as_f64().expect("a share");
    assert!((0.258..0.259).contains(&bound), "{bound}");
}

#[test]
fn check_says_that_the_recheck_is_disabled() {
    let output = run_with(SMALL, &["--recheck", "0"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("Recheck: disabled"), "{text}");
    let output = run_with(SMALL, &["--recheck", "0", "--json"]);
    assert_eq!(json_lines(&output)[0]["recheck"], Value::Null);
    let stateright = ["--engine", "stateright"];
    let output = run_with(SMALL, &stateright);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(!stdout(&output).contains("the readable model expanded"));
    assert_usage_error(
        &[SMALL, &stateright, &["--recheck", "5"]].concat(),
        &["--recheck", "--engine stateright"],
    );
}
