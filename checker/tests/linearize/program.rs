//! The command, its exit codes and its errors.

use crate::{ABSENT, GET, PUT_A, hard, history, value, written};
use checker::linearize::{ClientHistory, ReadLimits};
use std::{
    fs,
    process::{Command as Process, Output},
};

fn program(arguments: &[&str]) -> Output {
    Process::new(env!("CARGO_BIN_EXE_raft-checker"))
        .arg("linearize")
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn program_ends_with_the_code_of_its_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let one = file("one", &history(&[(PUT_A, 0, Some(5), &written(3))]));
    let fresh = file("fresh", &history(&[(GET, 6, Some(9), &value("a", 3))]));
    let stale = file("stale", &history(&[(GET, 6, Some(9), ABSENT)]));
    let torn = file(
        "torn",
        &format!("{}{{\"proc", history(&[(PUT_A, 0, Some(5), &written(3))])),
    );
    let hard = file("hard", &hard());
    let few: &[&str] = &["--max-configurations", "2"];
    for (arguments, code, words) in [
        (&[one.as_str(), &fresh][..], 0, "linearizable\n"),
        (&[&one, &stale], 1, "not linearizable\n"),
        (&[&fresh], 1, "not linearizable\n"),
        (
            &[few[0], few[1], &hard],
            3,
            "the limit was reached; raise --max-configurations\n",
        ),
        (
            &["--max-memory", "4K", &hard],
            3,
            "the memory limit was reached; raise --max-memory\n",
        ),
        (
            &["--max-time", "0", &hard],
            3,
            "the time limit was reached; raise --max-time\n",
        ),
        (&[&torn], 2, ""),
        (&["/nowhere"], 2, ""),
        (&[], 2, ""),
    ] {
        let output = program(arguments);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {out}{err}"
        );
        assert!(out.contains(words), "{arguments:?}: {out}");
        if arguments == [torn.as_str()] {
            assert!(err.contains("torn:2"), "{err}");
        }
    }
    let output = program(&["--json", few[0], few[1], &hard]);
    let key: serde_json::Value = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .next()
        .expect("a line")
        .expect("JSON");
    assert_eq!(key["stopped_by"], "max-configurations");
    let output = program(&["--json", &one, &stale]);
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["key"], "k");
    assert_eq!(lines[1]["verdict"], "violated");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn lines_that_are_no_operations_are_refused_by_number() {
    let good = history(&[(PUT_A, 0, Some(5), &written(3))]);
    for (bad, words) in [
        ("", "not a JSON object"),
        ("{}", "missing field"),
        (
            &good.replace("\"return\":5", "\"return\":null"),
            "did not return",
        ),
        (
            &good.replace("\"invoke\":0", "\"invoke\":9"),
            "returns before",
        ),
        (
            &good.replace(&written(3), ABSENT),
            "cannot have this result",
        ),
        (
            &good.replace(&written(3), r#"{"absent":false}"#),
            "only true",
        ),
        (&good.replace("\"process\"", "\"proces\""), "unknown field"),
        (
            &good.replace(",\"result\":{\"written\":{\"version\":3}}", ""),
            "missing field",
        ),
    ] {
        let text = format!("{good}{bad}\n");
        let mut history = ClientHistory::default();
        let error = history
            .read("file", text.as_bytes(), ReadLimits::NONE)
            .expect_err(bad);
        let told = error.to_string();
        assert!(
            told.starts_with("file:2: ") && told.contains(words),
            "{bad}: {told}"
        );
    }
}
