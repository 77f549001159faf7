//! The page and its server.

use crate::{PATIENCE, Spawned, assert_usage_error, code, directory, program, run_in, stderr};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

#[test]
fn explore_address_in_use_is_a_usage_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_usage_error(
        &["explore", "--address", &address],
        &["in use", "--address"],
    );
}

#[test]
fn explore_bad_address_is_a_usage_error() {
    assert_usage_error(&["explore", "--address", "here"], &["HOST:PORT"]);
    assert_usage_error(&["explore", "--address", "192.0.2.1:80"], &["192.0.2.1:80"]);
    assert_usage_error(&["explore", "--scope", "nowhere"], &["elections"]);
    for limit in ["--threads=2", "--max-memory=1G"] {
        assert_usage_error(
            &[
                "explore",
                "--engine=stateright",
                "--address=127.0.0.1:0",
                limit,
            ],
            &["omit --threads and --max-memory"],
        );
    }
    // stateright's server does not check the origin of requests.
    assert_usage_error(
        &["explore", "--engine=stateright", "--address=0.0.0.0:0"],
        &["loopback"],
    );
}

#[test]
fn explore_serves_status_at_the_address_it_prints() {
    let mut server = Spawned::start(
        program()
            .args([
                "explore",
                "--engine",
                "stateright",
                "--scope",
                "elections",
                "--address",
                "127.0.0.1:0",
            ])
            .stdout(Stdio::piped()),
    );
    let mut line = String::new();
    server.stdout().read_line(&mut line).expect("a line");
    let (_, rest) = line.split_once("http://").expect("an address");
    let (address, _) = rest.split_once('/').expect("an address");
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    write!(stream, "GET /.status HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let status: Value = serde_json::from_str(body).expect("a body of JSON");
    assert_eq!(status["unique_state_count"], 1);
}

/// Starts a server that prints its address. Returns the address, and the text after it up to a space.
fn serving(arguments: &[&str]) -> (Spawned, String, String) {
    let mut server = Spawned::start(program().args(arguments).stdout(Stdio::piped()));
    let mut line = String::new();
    server.stdout().read_line(&mut line).expect("a line");
    let (_, rest) = line.split_once("http://").expect("an address");
    let (address, rest) = rest.split_once('/').expect("an address");
    let place = rest.split(' ').next().unwrap_or_default();
    (server, address.to_owned(), place.to_owned())
}

fn http(address: &str, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens before it says so");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time to wait");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("a request");
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn explore_ends_at_ctrl_c_with_its_streams() {
    let (mut server, address, place) = serving(&[
        "explore",
        "--scope",
        "crashes",
        "--terms",
        "3",
        "--mutant",
        "vote-not-persisted",
        "--address",
        "127.0.0.1:0",
    ]);
    assert_eq!(
        place,
        "#/explore?scope=crashes&terms=3&mutant=vote-not-persisted"
    );
    let body = r#"{"kind":"check","scope":{"name":"crashes","bounds":{"terms":3}}}"#;
    let started = answer(http(&address, "POST", "/api/jobs", body));
    assert!(started.starts_with("HTTP/1.1 202"), "{started}");
    let mut events = BufReader::new(http(&address, "GET", "/api/jobs/1/events", ""));
    let mut line = String::new();
    while !line.starts_with("event: progress") {
        line.clear();
        assert_ne!(events.read_line(&mut line).expect("a line"), 0);
    }
    server.signal(libc::SIGINT);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the stream ends");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = server.child().try_wait().expect("a status") {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on");
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn replay_serves_traces() {
    let directory = directory();
    let output = run_in(
        directory.path(),
        &[
            "check",
            "--scope",
            "elections",
            "--terms",
            "2",
            "--crashes",
            "1",
            "--mutant",
            "votes-twice-in-a-term",
        ],
    );
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let file = directory
        .path()
        .join("raft-checker-elections-violation.jsonl");
    let file = file.to_str().expect("a path of text");
    let (_server, address, place) =
        serving(&["replay", "--serve", file, "--address", "127.0.0.1:0"]);
    assert_eq!(place, "#/replay");
    let served = answer(http(&address, "GET", "/api/traces/served", ""));
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    assert!(served.contains("\"kind\":\"scope\""), "{served}");
    assert!(
        served.contains("\"property\":\"One vote per term\""),
        "{served}"
    );
    assert_usage_error(
        &["replay", "--serve", "/nowhere.jsonl"],
        &["/nowhere.jsonl"],
    );
    let text = directory.path().join("text");
    std::fs::write(&text, "hello").expect("a file");
    let text = text.to_str().expect("a path of text");
    assert_usage_error(
        &["replay", "--serve", text, "--address", "127.0.0.1:0"],
        &["is not a trace"],
    );
}
