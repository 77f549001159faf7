//! The program from the user's point of view: its output and its exit codes.

mod bugs;
mod certificate;
mod check;
mod coverage;
mod explore;
mod input;
mod output;
mod proof;
mod recheck;
mod signals;

use checker::trace::{Trace, read_jsonl};
use serde_json::Value;
use std::{
    fs::File,
    io::BufReader,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

/// A scope that is searched in a moment.
const SMALL: &[&str] = &[
    "check",
    "--scope",
    "elections",
    "--terms",
    "1",
    "--crashes",
    "0",
];

/// A scope whose search takes more than an hour.
const LARGE: &[&str] = &[
    "check",
    "--scope",
    "crashes",
    "--terms",
    "4",
    "--entries",
    "4",
    "--threads",
    "1",
];

const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-checker"));
    command.stdin(Stdio::null());
    command
}

/// A child process that is killed when its test ends, even if the test fails.
struct Spawned(Option<Child>);

impl Spawned {
    fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("the program starts")))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("its output was not awaited")
    }

    fn id(&self) -> u32 {
        self.0.as_ref().expect("its output was not awaited").id()
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child().stdout.take().expect("a pipe"))
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.id()).expect("a process id");
        // SAFETY: sends a signal to a child that was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    fn wait(&mut self) -> ExitStatus {
        self.child().wait().expect("the program ends")
    }

    fn output(mut self) -> Output {
        let child = self.0.take().expect("a child");
        child.wait_with_output().expect("the program ends")
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    program()
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn run_with(arguments: &[&str], more: &[&str]) -> Output {
    run(&[arguments, more].concat())
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Requires a usage error: exit code 2, a message that contains `words`, no standard output, no panic.
fn assert_usage_error(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let message = stderr(&output);
    assert_eq!(code(&output), 2, "{arguments:?}: {message}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: {message}");
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A bug in a small scope.
const BUGGY: &[&str] = &[
    "--scope",
    "elections",
    "--terms",
    "2",
    "--crashes",
    "1",
    "--mutant",
    "votes-twice-in-a-term",
];

/// A directory for the files of the program.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for a test")
}

fn run_in(directory: &Path, arguments: &[&str]) -> Output {
    program()
        .current_dir(directory)
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn trace_in(file: &Path) -> Trace {
    let file = File::open(file).expect("the run is in the file");
    read_jsonl(BufReader::new(file)).expect("the run can be executed again")
}
