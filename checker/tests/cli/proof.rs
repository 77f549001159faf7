//! `proof`, with programs in place of the solvers. `.ci/run` runs the solvers.

use crate::{
    Spawned, assert_usage_error, code, directory, json_lines, program, run, stderr, stdout,
};
use model::system::spec::{Mutation, Protocol};
use program::testing::wait_for_handler;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
};

/// Prints the label of each query and the expected answer, which is a comment of the text.
const CORRECT: &str = r#"sed -n 's/^(echo "\(.*\)") (check-sat) (pop 1) ; \(.*\)$/"\1"\n\2/p'"#;

/// A program that takes part as cvc5.
fn solver(directory: &Path, answer: &str) -> String {
    let file = directory.join("cvc5");
    let version = "[ \"$1\" = --version ] && { echo 'This is cvc5 version 7'; exit; }";
    fs::write(&file, format!("#!/bin/sh\n{version}\n{answer}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
    file.to_str().expect("text").to_owned()
}

fn prove(answer: &str, more: &[&str]) -> Output {
    let directory = directory();
    let solver = solver(directory.path(), answer);
    run(&[&["proof", "--solver", &solver], more].concat())
}

#[test]
fn proof_is_printed() {
    let printed = run(&["proof"]);
    assert_eq!(code(&printed), 0, "{}", stderr(&printed));
    assert_eq!(stdout(&printed), Protocol::raft().proof());
}

#[test]
fn help_states_the_limits_and_the_exit_codes() {
    let text = stdout(&run(&["proof", "--help"]));
    for words in ["not about the code", "3 no claim", "--samples <N>"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn proof_needs_a_solver_that_it_can_run() {
    assert_usage_error(&["proof", "--solver", "yices"], &["cvc5", "z3"]);
    assert_usage_error(&["proof", "--mutations"], &["--solver"]);
    assert_usage_error(&["proof", "--samples", "9"], &["--solver"]);
    assert_usage_error(&["proof", "--json"], &["--solver"]);
    let missing = run(&["proof", "--solver", "/missing/cvc5"]);
    assert_eq!(code(&missing), 3, "{}", stdout(&missing));
    assert_eq!(stdout(&missing), "");
    for word in ["/missing/cvc5", "apt-get install cvc5"] {
        assert!(stderr(&missing).contains(word), "{}", stderr(&missing));
    }
}

#[test]
fn expected_answers_prove() {
    let output = prove(CORRECT, &["--mutations", "--samples", "2"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output);
    let count = format!("{0} of {0} variants as expected", Mutation::all().len());
    for word in [
        "cvc5 7: ",
        "leader-lacks",
        "client-request",
        "harmless",
        // Two random steps of this action, and two real ones; two altered ones, and one for each guard.
        "│ commit         ┆ 4   ┆ 5     ┆ 0 ",
        "│ states         ┆ 2   ┆ 2     ┆ 0 ",
        &count,
        "proved: ",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let output = prove(CORRECT, &["--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let lines = json_lines(&output);
    let (summary, queries) = lines.split_last().expect("a summary");
    let groups = Protocol::raft().queries();
    assert_eq!(
        queries.len(),
        groups
            .iter()
            .map(|group| group.queries.len())
            .sum::<usize>()
    );
    assert_eq!(queries[0]["group"], "initial");
    assert_eq!(queries[0]["query"], "server-prefixes");
    assert_eq!(queries[0]["expected"], "unsat");
    assert_eq!(queries[0]["answer"], "unsat");
    assert_eq!(summary["exit_code"], 0);
    assert_eq!(summary["agreeing"], queries.len());
}

/// One answer is enough, in the proof, in the search for states, among the samples and the variants.
#[test]
fn another_answer_is_no_proof() {
    for label in [
        "accept server-loses",
        "safety election-safety",
        "vacuity conflict",
        "steps commit-1",
        "steps commit-2",
        "states 1-differing",
    ] {
        let other = r#"-e "/^\"LABEL\"$/{n;s/^unsat$/other/;s/^sat$/unsat/;s/^other$/sat/}""#;
        let answer = format!("{CORRECT} | sed {}", other.replace("LABEL", label));
        let output = prove(&answer, &["--samples", "1"]);
        assert_eq!(code(&output), 1, "{label}: {}", stdout(&output));
        assert!(
            stdout(&output).contains("not proved: "),
            "{}",
            stdout(&output)
        );
        let output = prove(&answer, &["--json", "--samples", "1"]);
        let lines = json_lines(&output);
        let summary = lines.last().expect("a summary");
        assert_eq!(
            (&summary["contradicting"], &summary["exit_code"]),
            (&1.into(), &1.into())
        );
    }
    // Every variant is accepted.
    let output = prove(
        &format!("{CORRECT} | sed 's/^sat$/unsat/'"),
        &["--mutations"],
    );
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    assert!(stdout(&output).contains("SURVIVED"), "{}", stdout(&output));
}

#[test]
fn missing_answers_are_no_claim() {
    let unknown = format!("{CORRECT} | sed '2s/.*/unknown/'");
    let output = prove(&unknown, &[]);
    assert_eq!(code(&output), 3, "{}", stdout(&output));
    for word in ["unknown", "no claim: ", "--timeout"] {
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
    // The solver stops answering, and is killed.
    let output = prove("exec sleep 600", &["--timeout", "1", "--threads", "64"]);
    assert_eq!(code(&output), 3, "{}", stdout(&output));
    assert!(
        stdout(&output).contains("no claim: "),
        "{}",
        stdout(&output)
    );
}

#[test]
fn output_that_is_no_answer_is_named() {
    for (answer, word) in [
        ("echo '(error \"line 1\")'", "(error \"line 1\")"),
        (&format!("{CORRECT} | sed '2s/.*/(error 2)/'"), "(error 2)"),
        (
            &format!("{CORRECT} | head -n 3"),
            "exited without an answer",
        ),
        ("kill -SEGV $$", "exited without an answer (signal: 11"),
        // Its answers are complete, but the solver is not trusted.
        (&format!("{CORRECT}; echo '(error 3)'"), "(error 3)"),
        (&format!("{CORRECT}; exit 1"), "exit status: 1"),
    ] {
        let output = prove(answer, &[]);
        assert_eq!(code(&output), 3, "{answer}: {}", stdout(&output));
        assert_eq!(stdout(&output), "", "{answer}");
        assert!(
            stderr(&output).contains(word),
            "{answer}: {}",
            stderr(&output)
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn interrupted_proof_is_no_claim() {
    let directory = directory();
    let solver = solver(directory.path(), "exec sleep 600");
    let child = Spawned::start(
        program()
            .args(["proof", "--solver", &solver])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    wait_for_handler(child.id(), libc::SIGINT);
    child.signal(libc::SIGINT);
    let output = child.output();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).contains("interrupted"),
        "{}",
        stderr(&output)
    );
}
