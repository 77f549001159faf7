//! Interrupted commands.

use crate::{
    LARGE, PATIENCE, Spawned, code, directory, json_lines, program, run_in, stderr, stdout,
};
use model::mutant::Mutant;
use program::testing::wait_for_handler;
use std::{
    fs,
    io::{BufRead, Read},
    os::unix::process::CommandExt as _,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Waits until the program searches: a thread that shows the progress runs beside the search.
#[cfg(target_os = "linux")]
fn wait_for_search(child: &Spawned) {
    let deadline = Instant::now() + PATIENCE;
    let threads = || std::fs::read_dir(format!("/proc/{}/task", child.id()));
    while threads().expect("the program runs").count() < 2 {
        assert!(Instant::now() < deadline, "the search does not start");
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn check_interrupted_says_what_was_covered_and_exits_as_truncated() {
    for engine in ["built-in", "stateright"] {
        let child = Spawned::start(
            program()
                .args(LARGE)
                .args(["--scope", "fail-over", "--json", "--engine", engine])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        wait_for_search(&child);
        child.signal(libc::SIGINT);
        let output = child.output();
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        let lines = json_lines(&output);
        assert_eq!(lines[0]["verdict"], "truncated");
        assert_eq!(lines[0]["stopped_by"], "interrupted");
        assert!(lines[0]["states"].as_u64().expect("a count") > 0);
        assert_eq!(lines[1]["not_run"][0], "fail-over");
        assert_eq!(lines[1]["exit_code"], 3);
    }
}

/// Sends Ctrl-C once the program waits for signals, which it does on a thread of its own.
#[cfg(target_os = "linux")]
fn interrupt(child: &Spawned) {
    let deadline = Instant::now() + PATIENCE;
    let threads = || fs::read_dir(format!("/proc/{}/task", child.id()));
    while threads().expect("the program runs").count() < 2 {
        assert!(Instant::now() < deadline, "nobody listens for Ctrl-C");
        thread::yield_now();
    }
    child.signal(libc::SIGINT);
}

/// The output of a program that is interrupted as soon as possible. It ends as truncated.
#[cfg(target_os = "linux")]
fn interrupted(program: &mut Command) -> Output {
    let child = Spawned::start(program.stdout(Stdio::piped()).stderr(Stdio::piped()));
    interrupt(&child);
    let output = child.output();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    output
}

#[cfg(target_os = "linux")]
#[test]
fn verify_interrupted_concludes_nothing() {
    let directory = directory();
    // Ten thousand states: seconds to verify.
    let scope = ["check", "--scope", "elections", "--no-progress"];
    let certificate = ["--certificate", "elections"];
    let output = run_in(directory.path(), &[&scope[..], &certificate].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = interrupted(
        program()
            .current_dir(directory.path())
            .args(["verify", "elections"]),
    );
    let text = stdout(&output);
    assert!(text.contains("no claim"), "{text}");
    assert!(!text.contains("accepted"), "{text}");
    assert!(!text.contains("rejected"), "{text}");
}

/// The report does not claim a result for the bugs that were not tried.
#[cfg(target_os = "linux")]
#[test]
fn mutants_interrupted_says_what_was_not_hunted_and_exits_as_truncated() {
    let output = interrupted(program().arg("mutants"));
    let text = stdout(&output);
    let end: Vec<&str> = text.lines().rev().take(2).collect();
    let [left, found] = end[..] else {
        panic!("{text}");
    };
    let count = |line: &str| line.split(' ').find_map(|word| word.parse::<usize>().ok());
    let all = Mutant::ALL.len();
    assert!(
        found.ends_with(&format!(" of {all} planted bugs found.")),
        "{text}"
    );
    assert!(left.starts_with("Interrupted: "), "{text}");
    let (found, left) = (
        count(found).expect("a count"),
        count(left).expect("a count"),
    );
    assert!(found + left <= all && left > 0, "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn simulate_interrupted_says_what_was_covered_and_exits_as_truncated() {
    let mut child = Spawned::start(
        program()
            .args(["simulate", "--walks", "1000000000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut out = child.stdout();
    let mut line = String::new();
    // The program prints the seed after it installed the signal handlers.
    out.read_line(&mut line).expect("a line");
    assert!(line.contains("seed "), "{line}");
    child.signal(libc::SIGINT);
    let mut text = String::new();
    out.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().code(), Some(3), "{text}");
    for word in ["Interrupted.", "prove nothing"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// After Ctrl-C while the certificate is written, there is no file that `verify` could accept.
#[cfg(target_os = "linux")]
#[test]
fn certificate_interrupted_in_the_writing_leaves_no_file() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < deadline,
            "the writing was never interrupted"
        );
        let directory = directory();
        let files = || {
            fs::read_dir(directory.path())
                .expect("the directory")
                .count()
        };
        let child = Spawned::start(
            program()
                .current_dir(directory.path())
                .args(["check", "--scope", "elections", "--no-progress"])
                .args(["--certificate", "elections"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        // The file grows under another name. (For a moment, this name is also used by the check before
        // the search.)
        while files() == 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        interrupt(&child);
        let output = child.output();
        if code(&output) == 0 {
            continue;
        }
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        assert_eq!(files(), 0, "{}", stdout(&output));
        let verified = run_in(directory.path(), &["verify", "elections"]);
        assert_eq!(code(&verified), 2, "{}", stdout(&verified));
        if stdout(&output).contains("interrupted while writing") {
            return;
        }
    }
}

/// `timeout` of coreutils signals its child, and then the process group of the child.
#[cfg(target_os = "linux")]
#[test]
fn two_signals_close_together_are_one_request() {
    let mut command = program();
    command
        .args(LARGE)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child = Spawned::start(&mut command);
    wait_for_search(&child);
    // Two pending signals of one kind would be one.
    child.signal(libc::SIGTERM);
    child.signal(libc::SIGINT);
    let output = child.output();
    assert_eq!(code(&output), 3);
    assert!(stdout(&output).contains("interrupted"), "no verdict");
}

#[test]
fn second_request_ends_at_once_with_one_line() {
    let mut command = program();
    // Standard input that never ends delays the orderly end.
    command
        .args(["linearize", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Spawned::start(&mut command);
    let input = child.child().stdin.take();
    wait_for_handler(child.id(), libc::SIGTERM);
    child.signal(libc::SIGINT);
    thread::sleep(Duration::from_millis(1100));
    assert!(child.child().try_wait().expect("a child").is_none());
    child.signal(libc::SIGINT);
    let output = child.output();
    drop(input);
    assert_eq!(code(&output), 3);
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("second signal"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn sigterm_and_sighup_end_a_search_as_truncated() {
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let mut command = program();
        command
            .args(LARGE)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Under `nohup`, the program would inherit that SIGHUP is ignored.
        // SAFETY: signal(2) is async-signal-safe, and the child has only this thread.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = Spawned::start(&mut command);
        wait_for_search(&child);
        child.signal(signal);
        let mut told = String::new();
        let mut out = child.stdout();
        out.read_to_string(&mut told).expect("it is text");
        assert_eq!(child.wait().code(), Some(3), "{told}");
        assert!(told.contains("interrupted"), "{told}");
    }
}
