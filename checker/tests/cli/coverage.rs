//! `coverage`. `.ci/run` runs it over the repository; these tests check its other ends.

use crate::{assert_usage_error, code, directory, run, run_in, stderr, stdout};
use std::fs;

#[test]
fn coverage_needs_the_repository() {
    let directory = directory();
    let elsewhere = run_in(directory.path(), &["coverage"]);
    assert_eq!(code(&elsewhere), 2, "{}", stderr(&elsewhere));
    assert_eq!(stdout(&elsewhere), "");
    assert!(stderr(&elsewhere).contains("change to the directory of its repository"));
    // Another package is not the repository either.
    let manifest = "[package]\nname = \"other\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n";
    fs::write(directory.path().join("Cargo.toml"), manifest).expect("written");
    fs::write(
        directory.path().join("Cargo.lock"),
        "version = 4\n[[package]]\nname = \"other\"\nversion = \"0.0.0\"\n",
    )
    .expect("written");
    let other = run_in(directory.path(), &["coverage"]);
    assert_eq!(code(&other), 2, "{}", stderr(&other));
    assert!(stderr(&other).contains("change to the directory of its repository"));
}

#[test]
fn coverage_rejects_contradicting_options() {
    assert_usage_error(&["coverage", "--build", "--json"], &["--build", "--json"]);
    assert_usage_error(&["coverage", "--threads", "0"], &["--threads"]);
}

#[test]
fn help_states_the_exit_codes() {
    let text = stdout(&run(&["coverage", "--help"]));
    for words in ["1 a line is not", "3 no claim", "llvm-tools"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
