//! Output that cannot be written.

use crate::{BUGGY, SMALL, code, directory, program, stderr, stdout};
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_named_and_nothing_is_claimed() {
    for arguments in [
        SMALL,
        &[SMALL, &["--json"]].concat(),
        &["scopes"],
        &["scopes", "--json"],
        &["proof"],
        &["mutants", "votes-twice-in-a-term"],
        &["--version"],
        &["help"],
        &["check", "--help"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full");
        let output = program()
            .args(arguments)
            .current_dir(directory().path())
            .stdout(full.expect("a device that is always full"))
            .output()
            .expect("the program starts");
        assert_eq!(code(&output), 3, "{arguments:?}: {}", stderr(&output));
        let said = "error: standard output cannot be written: No space left on device";
        assert!(
            stderr(&output).contains(said),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn check_closed_output_does_not_panic() {
    for arguments in [SMALL, &["scopes"], &["scopes", "--json"], &["proof"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = program()
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(code(&output), 3, "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

/// Runs the program with a maximum file size of about half a kilobyte, which simulates a full disk.
#[cfg(target_os = "linux")]
fn run_on_a_full_disk(directory: &Path, arguments: &[&str]) -> Output {
    Command::new("sh")
        .current_dir(directory)
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_raft-checker"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("a shell")
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_leaves_neither_half_a_certificate_nor_half_a_run() {
    let directory = directory();
    let files = || {
        fs::read_dir(directory.path())
            .expect("the directory")
            .count()
    };
    let output = run_on_a_full_disk(
        directory.path(),
        &[SMALL, &["--certificate", "small"]].concat(),
    );
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    for word in ["cannot write the certificate", "free disk space"] {
        assert!(
            stderr(&output).contains(word),
            "{word}: {}",
            stderr(&output)
        );
    }
    for word in ["No certificate was written", "no claim", "Free disk space"] {
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
    assert_eq!(files(), 0);

    let trace = ["--trace", "run.jsonl"];
    let output = run_on_a_full_disk(directory.path(), &[&["check"], BUGGY, &trace].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    for word in ["cannot write the run to run.jsonl", "free disk space"] {
        assert!(
            stderr(&output).contains(word),
            "{word}: {}",
            stderr(&output)
        );
    }
    for word in ["violated", "This run was not written to run.jsonl"] {
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
    assert_eq!(files(), 0);
}
