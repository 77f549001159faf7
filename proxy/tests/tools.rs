//! Compatibility with standard tools: curl, redis-cli, redis-benchmark; and the program itself, from
//! start to exit. A missing tool skips its test with a message, except in CI.

#![allow(clippy::print_stdout, reason = "a test that tells what it did")]

mod common;

use common::{ready, within};
use std::{
    net::TcpListener,
    process::{Command, Output, Stdio},
};

/// Runs a tool. Returns `None` if it is not installed.
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

/// Runs a script for a Redis client library. `.ci/run` installs the library in the directory in the
/// environment variable.
async fn run_library(interpreter: &str, variable: &str, script: &str, port: u16) {
    let Some(folder) = std::env::var_os(variable) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{variable} must name the folder of the client library in CI"
        );
        println!("{variable} is not set: skipped");
        return;
    };
    let script = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    let folder = std::path::PathBuf::from(folder);
    // Node.js searches for modules only beside the script.
    let mut command = tokio::process::Command::new(interpreter);
    command
        .args([&script, &port.to_string()])
        .env("PYTHONPATH", &folder)
        .env("CLIENT_LIBRARY", &folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within(command.output()).await;
    let output = output.unwrap_or_else(|error| panic!("{interpreter}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &out(&output);
    assert!(output.status.success(), "{script}: {said}");
    assert!(said.ends_with("ok\n"), "{script}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_libraries_work_with_their_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let port = server.redis.unwrap().port();
    run_library("python3", "STATERAFT_REDIS_PY", "redis_py.py", port).await;
    run_library("node", "STATERAFT_NODE_REDIS", "node_redis.mjs", port).await;
    server.stop().await;
}

/// Sends the same commands to Redis and to the proxy, in both protocols: the replies are identical,
/// byte by byte.
#[tokio::test(flavor = "multi_thread")]
async fn replies_are_those_of_redis() {
    let version = run("redis-server", "--version").await;
    if version.is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut redis = tokio::process::Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let ours = server.redis.unwrap().port();
    for protocol in ["2", "3"] {
        let mut replies = Vec::new();
        for port in [port, ours] {
            replies.push(within(conversation(port, protocol)).await);
        }
        let [theirs, ours] = &replies[..] else {
            unreachable!("two conversations")
        };
        for (line, (theirs, ours)) in LINES.iter().zip(theirs.iter().zip(ours)) {
            assert_eq!(ours, theirs, "{line} with RESP{protocol}");
        }
    }
    server.stop().await;
    redis.kill().await.unwrap();
}

/// Commands whose replies are independent of the server.
const LINES: &[&str] = &[
    "DEL k n m t big",
    "PING",
    "PING hi",
    "PING a b",
    "ECHO hi",
    "GET k",
    "GET",
    "GET a b",
    "SET k v XX",
    "SET k v NX",
    "SET k w NX",
    "SET k w XX",
    "GET k",
    "MGET k none k",
    "MGET",
    "EXISTS k k none",
    "DEL none",
    "INCR n",
    "INCRBY n 41",
    "DECRBY n 2",
    "DECR n",
    "GET n",
    "INCRBY n 007",
    "INCRBY n +5",
    "INCRBY n -0",
    "INCRBY n 9223372036854775808",
    "INCRBY n 9223372036854775807",
    "DECRBY n -9223372036854775808",
    "INCR k",
    "SET n 007",
    "INCR n",
    "SET n +5",
    "INCR n",
    "SET n -0",
    "INCR n",
    "SET n -9223372036854775808",
    "DECR n",
    "INCR n",
    "SELECT 0",
    "CONFIG GET save",
    "CONFIG GET nonsense",
    "CLIENT SETNAME me",
    "CLIENT GETNAME",
    "CLIENT SETNAME",
    "CLIENT NO-EVICT off",
    "EXEC",
    "DISCARD",
    "UNWATCH",
    "COMMAND INFO nonsense",
    "SCAN 0 MATCH k COUNT 1000",
    "SCAN x",
    "AUTH default any",
    "AUTH nobody any",
    "AUTH any",
    "AUTH a b c",
    "HELLO 1",
    "HELLO x",
    "HELLO 3 NONSENSE",
    "CLIENT GETNAME",
    "RESET",
    "CLIENT GETNAME",
    "GET none",
];

async fn conversation(port: u16, protocol: &str) -> Vec<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = loop {
        // Redis may need a moment until it listens.
        if let Ok(stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            break stream;
        }
        tokio::task::yield_now().await;
    };
    let mut replies = Vec::new();
    let hello = format!("HELLO {protocol}");
    for line in [&hello[..]].iter().chain(LINES) {
        let words: Vec<_> = line.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        // Marks the end of the replies.
        bytes += "*2\r\n$4\r\nECHO\r\n$9\r\n--end--\r\n\r\n";
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"$9\r\n--end--\r\n\r\n") {
            reply.push(stream.read_u8().await.unwrap());
        }
        replies.push(String::from_utf8_lossy(&reply).into_owned());
    }
    // The reply to HELLO contains the version of the server.
    replies.remove(0);
    replies
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

#[test]
fn settings_out_of_range_are_refused() {
    let long = "n".repeat(256);
    let name = "it must have 1 to 255";
    for (option, value, says) in [
        ("--attempt-timeout", "500000000000y", "at most 1day"),
        ("--client-timeout", "500000000000y", "at most 1day"),
        ("--idle-timeout", "500000000000y", "at most 1day"),
        ("--evict-idle", "500000000000y", "at most 1day"),
        ("--drain", "500000000000y", "at most 1day"),
        ("--drain", "86401s", "at most 1day"),
        ("--client-timeout", "0s", "more than 0s"),
        ("--cluster", "", name),
        ("--cluster", &long, name),
    ] {
        for servers in ["--peer=1=127.0.0.1:9", "--embedded=1"] {
            // The address is in use, so that a program that accepts the option ends as well.
            let taken = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = taken.local_addr().unwrap().to_string();
            let listen = ["--listen=127.0.0.1:0", "--redis=off", "--http", &at];
            let output = Command::new(env!("CARGO_BIN_EXE_raft-proxy"))
                .arg(servers)
                .args(listen)
                .args([option, value])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{option} {value}: {text}");
            assert!(text.contains(says), "{option} {value}: {text}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn version_that_cannot_be_printed_exits_2() {
    for line in ["--version", "--help", "help health"] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = program(line).stdout(full.unwrap()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        let cause = "standard output cannot be written: No space left on device";
        assert!(text.contains(cause), "{line}: {text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn signal_ends_the_wait_for_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for option in ["--redis-password-file", "--key-file"] {
        let line = format!(
            "--peer 1=127.0.0.1:9 --listen 127.0.0.1:0 --http off --redis 127.0.0.1:0 {option} {}",
            pipe.display()
        );
        let mut child = program(&line).spawn().unwrap();
        let id = child.id().to_string();
        program::testing::wait_for_handler(child.id(), 15);
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        let ended = child.wait().unwrap();
        // Without the signal the program ends with 2 after 10 s.
        assert_eq!(ended.code(), Some(143), "{option}: {ended}");
    }
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

/// The disk fails during a pending write, for which the stop waits.
#[tokio::test]
async fn first_signal_after_a_failure_forces_nothing() {
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let line = format!(
        "--embedded 1 --listen 127.0.0.1:0 --http 127.0.0.1:0 --redis off --attempts 100 \
         --drain 2s --data-dir {}",
        data.display()
    );
    let mut child = program(&line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = |output: Box<dyn std::io::Read + Send>| {
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        receive
    };
    let greeting = lines(Box::new(child.stdout.take().unwrap()));
    let log = lines(Box::new(child.stderr.take().unwrap()));
    let find = |lines: &mpsc::Receiver<String>, text: &str| {
        let limit = std::time::Duration::from_secs(20);
        std::iter::from_fn(|| lines.recv_timeout(limit).ok()).find(|line| line.contains(text))
    };
    let http = find(&greeting, "HTTP:").unwrap();
    let at = http.split('/').nth(2).unwrap().parse().unwrap();
    find(&log, "found the leader").unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    // The directory of the log is gone, and a snapshot begins a new segment.
    let value = vec![b'v'; 250_000];
    let writes = tokio::spawn(async move {
        for number in 0..40 {
            let path = format!("/v1/kv/k{number}");
            common::ask(at, "PUT", &path, &[], &value).await;
        }
    });
    let failed = tokio::task::spawn_blocking(move || (find(&log, "the disk failed"), log));
    let (failed, log) = failed.await.unwrap();
    assert!(failed.is_some());
    let kill = || {
        let id = child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
    };
    kill();
    assert!(find(&log, "already stopping").is_some());
    let ended = tokio::task::spawn_blocking(move || child.wait());
    assert_eq!(within(ended).await.unwrap().unwrap().code(), Some(1));
    writes.abort();
}
