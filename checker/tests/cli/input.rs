//! Files that are replayed or checked.

use crate::{assert_usage_error, code, json_lines, run, stderr, stdout, trace_in};
use std::{
    fs::{self, File},
    process::Output,
};

/// A file in its own directory.
fn file_with(text: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("input.jsonl");
    fs::write(&path, text).expect("it can be written");
    let name = path.to_str().expect("the path is text").to_owned();
    (dir, name)
}

#[test]
fn linearize_of_nothing_is_an_error_and_no_verdict() {
    let no_effect =
        br#"{"process":1,"op":{"get":{"key":"k"}},"invoke":1,"return":2,"result":{"unavailable":true}}
"#;
    let (_dir, without_effect) = file_with(no_effect);
    let (_other, empty) = file_with(b"");
    for name in [empty.as_str(), "/dev/null", &without_effect] {
        let output = run(&["linearize", name]);
        assert_eq!(code(&output), 2, "{name}: {}", stderr(&output));
        assert!(!stdout(&output).contains("linearizable"), "{name}");
    }
}

#[test]
fn endless_input_is_refused_at_once() {
    for command in ["linearize", "replay"] {
        let output = run(&[command, "/dev/zero"]);
        assert_eq!(code(&output), 2, "{command}: {}", stderr(&output));
        assert!(stderr(&output).contains("/dev/zero"), "{}", stderr(&output));
    }
    let mut lines = String::new();
    for time in 0..1000 {
        lines += &format!(
            "{{\"process\":1,\"op\":{{\"get\":{{\"key\":\"k\"}}}},\"invoke\":{},\"return\":{},\"result\":{{\"absent\":true}}}}\n",
            2 * time,
            2 * time + 1,
        );
    }
    let (_dir, name) = file_with(lines.as_bytes());
    let output = run(&["linearize", &name, "--max-memory", "1K"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--max-memory"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn replay_executes_the_trace_of_a_scope() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let trace = dir.path().join("bug.jsonl");
    let name = trace.to_str().expect("the path is text");
    let found = run(&["mutants", "votes-without-comparing-logs", "--trace", name]);
    assert_eq!(code(&found), 0, "{}", stderr(&found));
    let output = run(&["replay", name]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.starts_with("violated"), "{told}");
    assert!(told.contains("Leader Completeness"), "{told}");
    let json = run(&["replay", "--json", name]);
    assert_eq!(json_lines(&json)[0]["verdict"], "violated");
    // The headline and the table count the same steps.
    let steps = json_lines(&json)[0]["steps"].to_string();
    let found = stdout(&found);
    assert!(
        found.contains(&format!("is violated in {steps} steps")),
        "{found}"
    );
    let row = found.lines().find(|line| line.contains("┆ found"));
    assert!(
        row.is_some_and(|row| row.contains(&format!(" {steps} "))),
        "{found}"
    );

    let text = fs::read_to_string(&trace).expect("it is text");
    let changed = text.replacen("ElectionTimeout", "HeartbeatTimeout", 1);
    let (_dir, changed) = file_with(changed.as_bytes());
    let output = run(&["replay", &changed]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(
        stdout(&output).starts_with("rejected"),
        "{}",
        stdout(&output)
    );
    let two = run(&["replay", name, name]);
    assert_eq!(code(&two), 2, "{}", stdout(&two));
}

/// Asserts that the output contains no control character but the ends of lines.
fn assert_printable(output: &Output) {
    for text in [stdout(output), stderr(output)] {
        let is_hidden = |symbol: char| symbol.is_control() && symbol != '\n';
        assert!(!text.contains(is_hidden), "{text:?}");
    }
}

#[test]
fn files_cannot_move_the_cursor_of_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let file = dir.path().join("bug.jsonl");
    let name = file.to_str().expect("the path is text");
    let found = run(&["mutants", "votes-twice-in-a-term", "--trace", name]);
    assert_eq!(code(&found), 0, "{}", stderr(&found));
    let mut trace = trace_in(&file);
    trace.scope.name = "\u{1b}[1A\raccepted\u{1b}[8m".into();
    let mut out = File::create(&file).expect("it can be written");
    trace.write_jsonl(&mut out).expect("it can be written");
    let output = run(&["replay", name]);
    assert_eq!(code(&output), 2, "{}", stdout(&output));
    let told = stderr(&output);
    assert!(told.contains("the name of the scope is not"), "{told}");
    assert_printable(&output);

    // The JSON reader decodes the escapes, and its errors contain the names of unknown fields.
    let field = r#"\n\u001b[8m"#;
    for (command, line) in [
        (
            "replay",
            format!(r#"{{"trace":"stateraft-node{field}","version":4}}"#),
        ),
        ("replay", format!(r#"{{"schema":"{field}"}}"#)),
        ("linearize", format!(r#"{{"process":1,"{field}":2}}"#)),
    ] {
        let (_dir, name) = file_with(line.as_bytes());
        let output = run(&[command, &name]);
        assert_eq!(code(&output), 2, "{line}: {}", stdout(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert_printable(&output);
    }

    let file = dir.path().join("a\nb\u{1b}[8m.jsonl");
    fs::write(&file, "{}").expect("it can be written");
    let name = file.to_str().expect("the path is text");
    for command in ["replay", "linearize", "verify"] {
        let output = run(&[command, name]);
        assert_ne!(code(&output), 0, "{command}");
        assert_printable(&output);
    }
}

#[test]
fn replay_of_what_is_no_trace_is_a_usage_error() {
    let history = r#"{"process":1,"op":{"get":{"key":"trace"}},"invoke":1,"return":2,"result":{"absent":true}}"#;
    for (text, words) in [
        (history, "is not a trace: it does not end with a digest"),
        (
            r#"{"trace":"foo"}"#,
            "is not a trace: it does not end with a digest",
        ),
        ("{}\n{}\n", "is not a trace: it does not end with a digest"),
        (
            r#"{"schema":"stateraft-trace/9"}"#,
            "is not a trace: the schema is stateraft-trace/9",
        ),
        (
            r#"{"trace":""#,
            ":1: the only line of this file is truncated",
        ),
        ("", ":1: there is no trace in this file"),
    ] {
        let (_dir, name) = file_with(text.as_bytes());
        let output = run(&["replay", &name]);
        let message = stderr(&output);
        assert_eq!(code(&output), 2, "{text}: {}", stdout(&output));
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn directories_are_refused_with_advice() {
    assert_usage_error(&["replay", "."], &[". is a directory: give a trace"]);
    assert_usage_error(&["linearize", "."], &[". is a directory: give a history"]);
}

#[test]
fn linearize_refuses_one_file_given_twice() {
    let line =
        r#"{"process":1,"op":{"get":{"key":"k"}},"invoke":1,"return":2,"result":{"absent":true}}"#;
    let (dir, name) = file_with(line.as_bytes());
    let other = dir.path().join("other").display().to_string();
    let dotted = dir.path().join("./input.jsonl").display().to_string();
    fs::hard_link(&name, &other).expect("a hard link");
    for twice in [&name, &other, &dotted] {
        assert_usage_error(&["linearize", &name, twice], &["the same file"]);
    }
    let copy = dir.path().join("copy");
    fs::copy(&name, &copy).expect("a copy");
    let copy = copy.display().to_string();
    assert_eq!(code(&run(&["linearize", &name, &copy])), 0);
}
