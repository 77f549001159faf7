//! What people already have works: curl, redis-cli, redis-benchmark; and the program itself, from
//! its start to its end. A tool that is not installed is passed over with a word, except in CI.

#![allow(clippy::print_stdout, reason = "a test that tells what it did")]

mod common;

use common::{ready, within};
use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
};

/// Runs a tool, or `None` if it is not installed.
async fn run(tool: &str, arguments: &str) -> Option<Output> {
    let mut command = tokio::process::Command::new(tool);
    command
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match within(command.output()).await {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var_os("CI").is_none(),
                "{tool} must be installed in CI"
            );
            println!("{tool} is not installed: skipped");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_work() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 3").await;
    let (http, redis) = (server.http.unwrap(), server.redis.unwrap());
    let url = format!("http://{http}/v1/kv/tool");
    if let Some(output) = run("curl", &format!("-sS -X PUT {url} -d curl")).await {
        assert!(
            out(&output).starts_with(r#"{"key":"tool","version":"#),
            "{output:?}"
        );
        let output = run(
            "curl",
            &format!("-sS -H Accept:application/octet-stream {url}"),
        )
        .await;
        assert_eq!(out(&output.unwrap()), "curl");
    }
    let cli = |line: &str| format!("-h 127.0.0.1 -p {} {line}", redis.port());
    if let Some(output) = run("redis-cli", &cli("SET tool cli")).await {
        assert_eq!(out(&output), "OK\n");
        assert_eq!(
            out(&run("redis-cli", &cli("GET tool")).await.unwrap()),
            "cli\n"
        );
        assert_eq!(
            out(&run("redis-cli", &cli("--scan")).await.unwrap()),
            "tool\n"
        );
    }
    let line = cli("-t set,get,incr -c 8 -n 400 -P 4 -r 50 --csv");
    if let Some(output) = run("redis-benchmark", &line).await {
        assert!(output.status.success(), "{output:?}");
        let csv = out(&output);
        for test in ["\"SET\"", "\"GET\"", "\"INCR\""] {
            assert!(csv.contains(test), "{csv}");
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &csv;
        assert!(!said.contains("WARNING"), "{said}");
    }
    server.stop().await;
}

fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-proxy"));
    command.args(line.split(' ')).stdin(Stdio::null());
    command
}

#[tokio::test]
async fn address_in_use_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let line = format!("--peer 1=127.0.0.1:9 --listen 127.0.0.1:0 --http 127.0.0.1:0 --redis {at}");
    let output = program(&line).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains(&at.to_string()) && text.contains("--redis"),
        "{text}"
    );
}

#[tokio::test]
async fn signal_stops_the_program_in_order() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "--embedded 1 --listen 127.0.0.1:0 --http 127.0.0.1:0 --redis 127.0.0.1:0 --data-dir {}",
        dir.path().display()
    );
    let mut child = program(&line).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let greeting = lines.by_ref().map(Result::unwrap);
    let greeting: Vec<_> = greeting
        .take_while(|line| !line.contains("incr visitors"))
        .collect();
    assert!(
        greeting.iter().any(|line| line.starts_with("HTTP:")),
        "{greeting:?}"
    );
    let killed = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    let ended = tokio::task::spawn_blocking(move || child.wait());
    assert!(within(ended).await.unwrap().unwrap().success());
}
