//! A process that ends with its owner.

use crate::{binaries, wait};
use std::{
    env,
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

/// A running or finished process.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program, with the command prefix `entry` if it is not empty. The program's output is
    /// appended to the file.
    pub(crate) fn start(
        entry: &[String],
        program: &str,
        name: &str,
        arguments: &[String],
        log: &Path,
    ) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.expect("the log of a process cannot be opened");
        let child = command(entry, program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file has a second handle"))
            .stderr(file)
            .spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("{program} does not start: {error}")),
            name: name.to_owned(),
            log: log.to_owned(),
        }
    }

    /// The peak memory in bytes, as Linux reports it; 0 if unavailable.
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process number is small");
        // SAFETY: kill(2) does not access our memory. The child was not waited for, so its process id
        // is still valid.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "{}: {}", self.name, io::Error::last_os_error());
    }

    /// Ends it like a power loss, except that data in the operating system's cache survives.
    pub(crate) fn kill(mut self) {
        self.assert_runs();
        self.signal(libc::SIGKILL);
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends a stop signal, and waits for the exit.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.assert_runs();
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Sends it two stop signals before it can handle the first one.
    pub(crate) fn stop_with_two_signals(mut self) -> ExitStatus {
        self.assert_runs();
        self.signal(libc::SIGSTOP);
        // Two pending signals of one kind would merge into one.
        self.signal(libc::SIGTERM);
        self.signal(libc::SIGINT);
        self.signal(libc::SIGCONT);
        self.wait()
    }

    /// Waits for the exit.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = format!("{} to end", self.name);
        wait::until(&name, || {
            self.child.try_wait().expect("a child can be asked for")
        })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("a child can be asked for").is_some()
    }

    /// Asserts that it has not ended by itself.
    pub(crate) fn assert_runs(&mut self) {
        if let Some(ended) = self.ended() {
            panic!("{ended}");
        }
    }

    /// If it has ended by itself, describes its exit and its last output.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().expect("a child can be asked for")?;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = tail(&log);
        Some(format!("{} ended by itself, {status}:\n{last}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
///
/// # Panics
/// If it does not start.
pub fn run(program: &str, arguments: &[String]) -> Output {
    let output = command(&[], program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.unwrap_or_else(|error| panic!("{program} does not start: {error}"))
}

/// A command without the `RAFT_*` environment of the tests.
fn command(entry: &[String], program: &str) -> Command {
    let program = binaries::path(program);
    let mut command = match entry {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RAFT_")) {
            command.env_remove(name);
        }
    }
    command
}

fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
    &text[start..]
}
