//! Tests of the real binary over real sockets: its output and its exit codes.

mod arguments;
mod bench;
mod operations;
mod outcomes;
mod status;
#[path = "../support/mod.rs"]
mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    thread,
};

/// The results of a run.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run_with(arguments: &[&str], input: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-client"));
    // The environment of the test process must have no effect.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RAFT_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(arguments)
        .env("HOME", std::env::temp_dir())
        // A retransmitted request adds an entry, and these tests count entries.
        .env("RAFT_ATTEMPT_TIMEOUT", "5s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that rejects its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the client with this endpoint; `arguments` are separated by spaces.
fn run(at: SocketAddr, arguments: &str) -> Run {
    let at = at.to_string();
    let mut all = vec!["--endpoints", &at];
    all.extend(arguments.split(' '));
    run_with(&all, "")
}

#[track_caller]
fn expect(run: &Run, code: i32, out: &str) {
    assert_eq!((run.code, run.out.as_str()), (Some(code), out), "{run:?}");
}

/// Sends this response to every HTTP request.
fn web(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                question.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    at
}

/// A pipe without a writer.
fn pipe(dir: &std::path::Path) -> String {
    let path = dir.join("pipe").display().to_string();
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}
