//! Certificates and their verification.

use crate::{
    LARGE, SMALL, assert_usage_error, code, directory, json_lines, run_in, stderr, stdout,
};
use std::fs;

#[test]
fn certificate_of_an_exhausted_scope_is_verified_and_an_altered_one_rejected() {
    let directory = directory();
    let output = run_in(
        directory.path(),
        &[SMALL, &["--certificate", "small"]].concat(),
    );
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let (_, root) = text.split_once("root hash ").expect("a root hash");
    let output = run_in(directory.path(), &["verify", "small"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let verified = stdout(&output);
    for word in [
        "accepted for altered bounds: small",
        "altered elections (terms 1, in the catalog 3; crashes 0, in the catalog any): servers 3,",
        "reductions: merged syncs, ",
        "transitions",
        &root[..64],
    ] {
        assert!(verified.contains(word), "{word}: {verified}");
    }
    let file = directory.path().join("small");
    let mut bytes = fs::read(&file).expect("a certificate");
    *bytes.last_mut().expect("a last byte") ^= 1;
    fs::write(&file, bytes).expect("an altered certificate");
    let output = run_in(directory.path(), &["verify", "small"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stdout(&output).contains("rejected, no claim: "));
    fs::write(&file, "something else").expect("a foreign file");
    let output = run_in(directory.path(), &["verify", "small"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stdout(&output).contains("magic: not a certificate"));
}

#[test]
fn certificate_is_withheld_from_a_truncated_scope() {
    let directory = directory();
    let more = ["--certificate", "small", "--max-states", "5", "--json"];
    let output = run_in(directory.path(), &[SMALL, &more].concat());
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let lines = json_lines(&output);
    assert_eq!(lines[1]["type"], "certificate");
    assert_eq!(lines[1]["written"], false);
    assert!(lines[1]["why"].as_str().expect("why").contains("truncated"));
    assert!(!directory.path().join("small").exists());
}

#[test]
fn certificate_bad_arguments_are_usage_errors() {
    // A search that takes hours: the file is checked before the search.
    let with = |more: &[&'static str]| [LARGE, more].concat();
    assert_usage_error(
        &with(&["--certificate", "/nowhere/at/all"]),
        &["/nowhere/at/all", "give the path"],
    );
    assert_usage_error(&with(&["--certificate", "/"]), &["does not name a file"]);
    assert_usage_error(
        &with(&["--certificate", "/dev/null"]),
        &["/dev/null", "not a regular file"],
    );
    assert_usage_error(&["check", "--certificate", "all"], &["exactly one --scope"]);
    assert_usage_error(
        &with(&["--certificate", "one", "--engine", "stateright"]),
        &["--engine stateright"],
    );
    assert_usage_error(&["verify", "/nowhere"], &["/nowhere"]);
    assert_usage_error(&["verify", "/"], &["/"]);
}
