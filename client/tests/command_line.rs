//! Tests of the real binary over real sockets: its output and its exit codes.

mod support;

use model::NodeId;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use support::{Manner, start, start_sealed};
use transport::{Key, Keys};

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

#[test]
fn operations_answer_and_exit_as_promised() {
    let at = start(Manner::Whole);
    expect(&run(at, "get k -o plain"), 1, "");
    expect(&run(at, "put k v -o plain"), 0, "2\n");
    expect(&run(at, "get k -o plain"), 0, "v\n");
    let json = "{\"key\":\"k\",\"value\":\"v\",\"version\":2}\n";
    expect(&run(at, "-o json get k"), 0, json);
    let table = "\
┌─────┬───────┬─────────┐
│ key ┆ value ┆ version │
╞═════╪═══════╪═════════╡
│ k   ┆ v     ┆ 2       │
└─────┴───────┴─────────┘
";
    expect(&run(at, "get k"), 0, table);

    let failed = run(at, "cas k w --version 9");
    expect(&failed, 1, "");
    let complaint = "the key \"k\" has version 2; nothing was written\n";
    assert_eq!(failed.err, complaint);
    expect(&run(at, "cas k w --absent -o plain"), 1, "");
    // Each run opens a session first and closes it at its end. These are entries too: 4 to 6, 7 to 9,
    // 10 to 12.
    expect(&run(at, "cas k w --version 2 -o plain"), 0, "11\n");
    expect(&run(at, "cas k x --present -o plain"), 0, "14\n");

    expect(&run(at, "incr n -o plain"), 0, "1\n");
    expect(&run(at, "incr n -3 -o plain"), 0, "-2\n");
    let not_a_number = run(at, "incr k");
    expect(&not_a_number, 1, "");
    assert!(not_a_number.err.contains("no whole number"));

    expect(&run(at, "scan -o plain"), 0, "k\tx\nn\t-2\n");
    expect(&run(at, "scan --after k --limit 5 -o plain"), 0, "n\t-2\n");
    expect(&run(at, "scan z -o plain"), 0, "");
    expect(&run(at, "delete k --version 1"), 1, "");
    expect(&run(at, "delete k -o plain"), 0, "29\n");
    let absent = run(at, "delete k");
    expect(&absent, 1, "");
    assert_eq!(absent.err, "the key \"k\" was not found\n");
}

/// The client rejects them before it sends anything: no server listens here.
#[test]
fn keys_and_values_outside_of_the_limits_are_refused_at_once() {
    let nowhere = ["--endpoints", "127.0.0.1:9"];
    let long = "k".repeat(1025);
    let empty_key = "error: nothing was done: the key is empty: give at least one byte\n";
    let long_key =
        "error: nothing was done: the key is too large: it has 1025 bytes, the limit is 1024\n";
    for (arguments, input, complaint) in [
        (&["put", "", "x"][..], "", empty_key),
        (&["get", ""], "", empty_key),
        (&["incr", ""], "", empty_key),
        (&["--consistency", "stale", "get", ""], "", empty_key),
        (&["put", &long, "x"], "", long_key),
        (&["delete", &long], "", long_key),
        (&["scan", &long], "", long_key),
    ] {
        let refused = run_with(&[&nowhere, arguments].concat(), input);
        expect(&refused, 2, "");
        assert_eq!(refused.err, complaint, "{arguments:?}");
    }
    for length in [262_145, 3_900_000, 5_000_000] {
        let refused = run_with(&[&nowhere[..], &["put", "k"]].concat(), &"v".repeat(length));
        expect(&refused, 2, "");
        assert_eq!(refused.err, TOO_LARGE);
    }
}

const TOO_LARGE: &str = "error: nothing was done: the value on standard input is too large: the limit is 262144 bytes\n";

#[cfg(target_os = "linux")]
#[test]
fn endless_standard_input_is_refused() {
    let endless = std::fs::File::open("/dev/zero").expect("a device without an end");
    let output = Command::new(env!("CARGO_BIN_EXE_raft-client"))
        .args(["--endpoints", "127.0.0.1:9", "put", "k"])
        .stdin(endless)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &said[..]), (Some(2), TOO_LARGE));
}

/// The write was executed then, so the exit code must not indicate a rejection. A read has no outcome
/// except its output.
#[cfg(target_os = "linux")]
#[test]
fn answer_that_cannot_be_printed_exits_4_after_a_write_and_2_otherwise() {
    let at = start(Manner::Whole).to_string();
    for (arguments, code) in [
        ("put k v", 4),
        ("-o json incr n", 4),
        ("cas k v --present", 4),
        ("get k", 2),
        ("-o json get k", 2),
        ("-o plain scan", 2),
        ("--consistency stale get k", 2),
        ("status", 2),
        ("health", 2),
        ("completions bash", 2),
        ("help", 2),
        ("--version", 2),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = Command::new(env!("CARGO_BIN_EXE_raft-client"))
            .args(["--endpoints", &at])
            .args(arguments.split(' '))
            .stdout(full.expect("a device that is always full"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        let cause = "standard output cannot be written: No space left on device";
        assert!(said.contains(cause), "{arguments}: {said}");
    }
    expect(&run(at.parse().unwrap(), "get k -o plain"), 0, "v\n");
}

#[test]
fn stale_answers_say_that_they_are() {
    let at = start(Manner::Whole);
    expect(&run(at, "put k v -o plain"), 0, "2\n");
    let stale = run(at, "get k --consistency stale -o plain");
    expect(&stale, 0, "v\n");
    assert!(stale.err.contains("applied the log up to 3"), "{stale:?}");
    let stale = run(at, "get k --consistency stale -o json");
    let line = "{\"applied_index\":3,\"key\":\"k\",\"value\":\"v\",\"version\":2}\n";
    expect(&stale, 0, line);
    expect(&run(at, "scan --consistency stale -o json"), 0, line);
    let absent = run(at, "get other --consistency stale -o json");
    let line = "{\"applied_index\":3,\"found\":false,\"key\":\"other\"}\n";
    expect(&absent, 1, line);
    let fresh = run(at, "get k -o plain");
    assert!(fresh.err.is_empty(), "{fresh:?}");
}

#[test]
fn value_is_read_from_standard_input_when_left_out() {
    let at = start(Manner::Whole).to_string();
    let put = run_with(
        &["--endpoints", &at, "put", "k", "-o", "plain"],
        "two\nlines",
    );
    expect(&put, 0, "2\n");
    let get = run_with(&["--endpoints", &at, "get", "k", "-o", "plain"], "");
    expect(&get, 0, "two\nlines\n");
}

#[test]
fn command_line_that_is_not_right_exits_2_and_says_what_to_do() {
    let at = start(Manner::Whole);
    for (arguments, says) in [
        ("gett k", "'get'"),
        ("put", "<KEY>"),
        ("cas k v", "--absent"),
        ("cas k v --absent --present", "cannot be used with"),
        ("get k --timeout 3", "as in 100ms or 2s"),
        ("get k --direct", "ID=HOST:PORT"),
        ("get k --endpoints nowhere", "HOST:PORT"),
        ("put k", ""),
        ("bench --history h --clients 1,2", "one number of --clients"),
    ] {
        // An empty standard input is an empty value: the only valid command here.
        let code = if arguments == "put k" { 0 } else { 2 };
        let run = run(at, arguments);
        assert_eq!(run.code, Some(code), "{arguments}: {run:?}");
        assert!(run.err.contains(says), "{arguments}: {run:?}");
    }
    assert_eq!(run_with(&[], "").code, Some(2));
}

/// The client rejects the name as every server does.
#[test]
fn name_of_a_cluster_that_none_can_have_is_refused() {
    let long = "n".repeat(256);
    for (name, length) in [("", 0), (&long, 256)] {
        for command in [&["get", "k"][..], &["status"], &["--direct", "get", "k"]] {
            let endpoints = match command {
                ["--direct", ..] => "1=127.0.0.1:9",
                _ => "127.0.0.1:9",
            };
            let options = ["--endpoints", endpoints, "--timeout", "1ms"];
            let named = ["--cluster", name];
            let run = run_with(&[&options[..], &named, command].concat(), "");
            expect(&run, 2, "");
            let complaint = format!(
                "error: the cluster's name has {length} bytes: at most 255 are allowed, and at least 1\n"
            );
            assert_eq!(run.err, complaint, "{command:?}");
        }
    }
}

#[test]
fn endpoints_that_are_not_written_as_they_should_be_are_refused() {
    for endpoint in [
        "127.0.0.1:99999",
        "127.0.0.1:",
        "127.0.0.1:-1",
        ":17000",
        "udp://127.0.0.1:17000",
        "127.0.0.1:17000 ",
        " 127.0.0.1:17000",
        "two words:17000",
    ] {
        for (endpoints, direct) in [
            (endpoint.to_owned(), false),
            (format!("127.0.0.1:9,{endpoint}"), false),
            (format!("1=127.0.0.1:9,2={endpoint}"), true),
        ] {
            let mut arguments = vec!["--endpoints", &endpoints, "--timeout", "1ms", "get", "k"];
            arguments.extend(direct.then_some("--direct"));
            let run = run_with(&arguments, "");
            expect(&run, 2, "");
            let complaint = format!("error: the endpoint {endpoint:?} is not HOST:PORT\n");
            assert_eq!(run.err, complaint, "{endpoints}");
        }
    }
}

#[test]
fn tables_escape_what_controls_a_terminal() {
    let at = start(Manner::Whole);
    let at = at.to_string();
    let (key, value) = ("a\u{1b}]0;x\u{7}", "\u{9b}31m\r\n\tz\u{7f}\u{202e}\\");
    let run = |arguments: &[&str]| {
        let run = run_with(&[&["--endpoints", &at], arguments].concat(), "");
        assert_eq!(run.code, Some(0), "{run:?}");
        run.out
    };
    let shown_key = r"a\u{1b}]0;x\u{7}";
    let shown = format!(r"{shown_key} ┆ \u{{9b}}31m\r\n\tz\u{{7f}}\u{{202e}}\ ┆ 2");
    for (arguments, shown) in [
        (&["put", key, value][..], shown_key),
        (&["get", key], &shown),
        (&["scan"], &shown),
        (&["put", "n\u{1b}", "1"], r"n\u{1b}"),
        (&["incr", "n\u{1b}"], r"n\u{1b}"),
    ] {
        let table = run(arguments);
        assert!(table.contains(shown), "{arguments:?}: {table}");
        let controls = |c: char| c != '\n' && c.is_control();
        assert!(!table.contains(controls), "{arguments:?}: {table:?}");
    }
    // The output for programs is unchanged.
    assert_eq!(run(&["get", key, "-o", "plain"]), format!("{value}\n"));
    let line = run(&["get", key, "-o", "json"]);
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&read["key"], &read["value"]), (&key.into(), &value.into()));
    assert_eq!(
        run(&["scan", "a", "-o", "plain"]),
        format!("{key}\t{value}\n")
    );
}

#[test]
fn servers_that_share_a_number_or_an_address_are_refused() {
    for (endpoints, says) in [
        ("1=a.invalid:1,1=b.invalid:1", "server 1 has two endpoints"),
        (
            "1=a.invalid:1,2=A.invalid:1",
            "servers 1 and 2 are one address",
        ),
        (
            "1=127.0.0.1:1,2=localhost:1",
            "servers 1 and 2 are one address",
        ),
    ] {
        let arguments = ["--direct", "--endpoints", endpoints, "get", "k"];
        let run = run_with(&arguments, "");
        assert_eq!(run.code, Some(2), "{endpoints}: {run:?}");
        assert!(run.err.contains(says), "{endpoints}: {run:?}");
    }
}

#[test]
fn name_without_address_leaves_the_other_endpoints() {
    let at = start(Manner::Whole);
    for endpoints in [
        format!("a.invalid:1,{at}"),
        format!("a.invalid:1,b.invalid:1,{at}"),
        format!("{at},a.invalid:1"),
    ] {
        let run = run_with(&["--endpoints", &endpoints, "get", "missing"], "");
        assert_eq!(run.code, Some(1), "{endpoints}: {run:?}");
    }
    for (endpoints, code, says) in [
        (
            "a.invalid:1,b.invalid:1",
            3,
            "\"a.invalid:1\" cannot be found",
        ),
        ("127.0.0.1:1,here", 2, "\"here\" is not HOST:PORT"),
        ("127.0.0.1:0", 2, "nobody can be reached at port 0"),
        ("::1:7000", 2, "put brackets around an IPv6 address"),
    ] {
        let run = run_with(&["--endpoints", endpoints, "get", "k"], "");
        assert_eq!(run.code, Some(code), "{endpoints}: {run:?}");
        assert!(run.err.contains(says), "{endpoints}: {run:?}");
    }
    let endpoints = "1=a.invalid:1,2=b.invalid:1";
    let run = run_with(&["--direct", "--endpoints", endpoints, "get", "k"], "");
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.err.contains("cannot be found"), "{run:?}");
    // The client tries an existing server: its empty response is another error.
    let endpoints = format!("1=a.invalid:1,2={}", start(Manner::Silent));
    let arguments = ["--direct", "--timeout", "300ms", "--endpoints", &endpoints];
    let run = run_with(&[&arguments[..], &["get", "k"]].concat(), "");
    expect(&run, 3, "");
    assert!(run.err.contains("nothing was done"), "{run:?}");
}

#[test]
fn nobody_answers_exits_3_as_nothing_was_done() {
    for manner in [Manner::Silent, Manner::Unavailable] {
        let at = start(manner);
        for operation in ["get k", "put k v", "incr k", "status", "health"] {
            let run = run(at, &format!("--timeout 200ms {operation}"));
            expect(&run, 3, "");
            assert!(run.err.contains("nothing was done"), "{run:?}");
        }
    }
    let run = run(start(Manner::Silent), "--timeout 200ms -o json get k");
    expect(&run, 3, "");
    assert!(run.err.starts_with("{\"error\":\"unavailable\""), "{run:?}");
}

#[test]
fn overload_exits_3_and_is_named() {
    let at = start(Manner::Overloaded);
    for operation in ["get k", "get k --consistency stale", "put k v", "health"] {
        let run = run(at, &format!("--timeout 2s {operation}"));
        expect(&run, 3, "");
        let complaint = "nothing was done: the cluster is overloaded";
        assert!(run.err.contains(complaint), "{operation}: {run:?}");
    }
}

#[test]
fn write_whose_session_is_gone_exits_4_for_that_reason() {
    let run = run(start(Manner::Forgetful), "put k v");
    expect(&run, 4, "");
    let complaint = "it no longer has the session of the write";
    assert!(run.err.contains(complaint), "{run:?}");
}

#[test]
fn read_whose_answer_does_not_fit_exits_3() {
    let run = run(start(Manner::Confused), "get k");
    expect(&run, 3, "");
    let complaint = "the answer does not fit the question";
    assert!(run.err.contains(complaint), "{run:?}");
}

#[test]
fn write_that_was_sent_and_not_answered_exits_4() {
    let at = start(Manner::NoWrites);
    for operation in ["put k v", "delete k", "cas k v --absent", "incr k"] {
        let run = run(
            at,
            &format!("--timeout 1s --attempt-timeout 100ms {operation}"),
        );
        expect(&run, 4, "");
        assert!(run.err.contains("the outcome is unknown"), "{run:?}");
    }
    expect(
        &run(at, "--timeout 1s --attempt-timeout 100ms get k"),
        1,
        "",
    );
}

#[test]
fn silent_endpoint_is_left_for_the_next() {
    for first in [Manner::Silent, Manner::Unavailable] {
        let endpoints = format!("{},{}", start(first), start(Manner::Whole));
        let arguments = ["--endpoints", &endpoints, "--attempt-timeout", "50ms"];
        let put = run_with(
            &[&arguments[..], &["put", "k", "v", "-o", "plain"]].concat(),
            "",
        );
        expect(&put, 0, "2\n");
    }
}

/// With the default timeout of an attempt. The second attempt is the last one within the timeout.
#[test]
fn second_attempt_goes_to_the_second_endpoint() {
    let whole = start(Manner::Whole);
    for first in [Manner::Silent, Manner::Unavailable] {
        for second in [whole.to_string(), format!("localhost:{}", whole.port())] {
            let endpoints = format!("{},{second}", start(first));
            let arguments = ["--endpoints", &endpoints, "--timeout", "1s"];
            let attempts = ["--attempt-timeout", "500ms", "-o", "plain"];
            let run = |operation: &[&str]| {
                let run = run_with(&[&arguments[..], &attempts, operation].concat(), "");
                assert_eq!(
                    run.code,
                    Some(0),
                    "{first:?} {second} {operation:?}: {run:?}"
                );
            };
            run(&["put", "k", "v"]);
            run(&["get", "k"]);
        }
    }
}

/// A write moves to the next endpoint with its session and its sequence number: it is applied exactly
/// once.
#[test]
fn write_that_was_sent_is_repeated_in_its_session_at_the_next_endpoint() {
    let (deaf, whole) = support::start_pair();
    let endpoints = format!("{deaf},{whole}");
    let arguments = ["--endpoints", &endpoints, "--attempt-timeout", "100ms"];
    let incr = ["incr", "n", "-o", "plain"];
    for count in ["1\n", "2\n"] {
        expect(&run_with(&[&arguments[..], &incr].concat(), ""), 0, count);
    }
}

#[test]
fn servers_are_asked_directly_and_the_leader_is_found() {
    let leader = start(Manner::Whole);
    let follower = start(Manner::Follower(NodeId::new(3)));
    let silent = start(Manner::Silent);
    let endpoints = format!("1={silent},2={follower},3={leader}");
    let arguments = [
        "--direct",
        "--endpoints",
        &endpoints,
        "--attempt-timeout",
        "50ms",
    ];
    for (operation, out) in [
        (&["put", "k", "v", "-o", "plain"][..], "2\n"),
        (&["get", "k", "-o", "plain"], "v\n"),
    ] {
        let run = run_with(&[&arguments[..], operation].concat(), "");
        expect(&run, 0, out);
    }
}

#[test]
fn key_opens_a_sealed_cluster_and_nothing_else_does() {
    let key = Key::generate().unwrap();
    let file = std::env::temp_dir().join(format!("raft-client-key-{}", std::process::id()));
    let path = file.to_str().unwrap();
    std::fs::write(&file, key.to_text()).unwrap();
    let keys = Keys {
        cluster: Some(Key::generate().unwrap()),
        client: Some(key),
    };
    let at = start_sealed(Manner::Whole, keys);
    let sealed = run(at, &format!("--client-key-file {path} health"));
    let open = run(at, "--timeout 200ms health");
    std::fs::write(&file, "no key").unwrap();
    let spoilt = run(at, &format!("--client-key-file {path} health"));
    std::fs::remove_file(&file).unwrap();
    let missing = run(at, &format!("--client-key-file {path} health"));
    expect(&sealed, 0, "healthy\n");
    expect(&open, 3, "");
    expect(&spoilt, 2, "");
    expect(&missing, 2, "");
    assert!(missing.err.contains(path), "{missing:?}");
}

#[test]
fn status_and_health_say_so() {
    let at = start(Manner::Whole);
    expect(&run(at, "health"), 0, "healthy\n");
    expect(&run(at, "health -o json"), 0, "{\"healthy\":true}\n");
    expect(&run(at, "status -o plain"), 0, "healthy\n");
    let status = run(at, "status");
    assert!(status.out.contains("stateraft"), "{status:?}");
    assert!(status.out.contains(&at.to_string()), "{status:?}");
    let json = run(at, "status -o json");
    let state: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(state["healthy"], true);
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

#[test]
fn status_and_health_over_http_follow_the_answer() {
    let nobody = start(Manner::Silent);
    let good = web("HTTP/1.0 200 OK\r\n\r\n{\"leader\":1}");
    expect(
        &run(nobody, &format!("status -o json --http {good}")),
        0,
        "{\"leader\":1}\n",
    );
    expect(
        &run(nobody, &format!("health --http {good}")),
        0,
        "healthy\n",
    );
    let bad = web("HTTP/1.0 503 Service Unavailable\r\n\r\nno leader");
    let health = run(nobody, &format!("health --http {bad}"));
    expect(&health, 3, "");
    assert!(health.err.contains("no leader"), "{health:?}");
    let other = web("HTTP/1.0 200 OK\r\n\r\n<html>");
    expect(&run(nobody, &format!("status --http {other}")), 3, "");
}

#[test]
fn files_with_secrets_are_bounded_and_may_be_pipes() {
    let good = web("HTTP/1.0 200 OK\r\n\r\n").to_string();
    for (option, file, code, says) in [
        ("--http-token-file", "/dev/stdin", 0, ""),
        (
            "--http-token-file",
            "/dev/zero",
            2,
            "neither a regular file nor a pipe",
        ),
        (
            "--client-key-file",
            "/dev/zero",
            2,
            "neither a regular file nor a pipe",
        ),
        (
            "--key-file",
            "/dev/zero",
            2,
            "neither a regular file nor a pipe",
        ),
    ] {
        let mut arguments = vec!["health", "--endpoints", "127.0.0.1:9", option, file];
        if option == "--http-token-file" {
            arguments.extend(["--http", &good]);
        }
        let run = run_with(&arguments, "token\n");
        assert_eq!(run.code, Some(code), "{option} {file}: {run:?}");
        assert!(run.err.contains(says), "{option} {file}: {run:?}");
    }
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

#[cfg(target_os = "linux")]
#[test]
fn signal_ends_the_wait_for_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = pipe(dir.path());
    let stops = [("TERM", 15, 143), ("INT", 2, 130), ("HUP", 1, 129)];
    for arguments in [
        ["get", "k", "--client-key-file"],
        ["bench", "--key-file", pipe.as_str()],
    ] {
        for (signal, number, code) in stops {
            let mut child = Command::new(env!("CARGO_BIN_EXE_raft-client"))
                .args(arguments)
                .args((arguments[0] == "get").then_some(pipe.as_str()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let id = child.id().to_string();
            // Until the handler is installed, the signal itself would end the program.
            loop {
                let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
                let caught = status
                    .lines()
                    .find_map(|line| line.strip_prefix("SigCgt:\t"));
                let caught = u64::from_str_radix(caught.unwrap(), 16).unwrap();
                if caught & (1 << (number - 1)) != 0 {
                    break;
                }
                thread::yield_now();
            }
            let killed = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(killed.unwrap().success());
            let ended = child.wait().unwrap();
            // Without the signal the program ends with 2 after 10 s.
            assert_eq!(ended.code(), Some(code), "{signal}: {ended}");
        }
    }
}

/// The operation begins late, so the timeout of the whole run expires before its own.
#[test]
fn write_that_was_not_sent_in_time_exits_3() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = pipe(dir.path());
    let key = thread::spawn({
        let pipe = pipe.clone();
        move || {
            thread::sleep(Duration::from_millis(500));
            std::fs::write(pipe, Key::generate().unwrap().to_text()).unwrap();
        }
    });
    let at = start(Manner::Silent);
    let line = format!("--timeout 1s --client-key-file {pipe} put k v");
    let run = run(at, &line);
    key.join().unwrap();
    expect(&run, 3, "");
    assert!(run.err.contains("nothing was done"), "{run:?}");
}

#[test]
fn status_and_errors_escape_what_controls_a_terminal() {
    let nobody = start(Manner::Silent);
    let at = web(concat!(
        "HTTP/1.0 200 OK\r\n\r\n",
        r#"{"cluster":"n\u001b]0;x\u0007","health":{"state":"ok","leader":["\u009b1m"],"term":"\u202e"},"nodes":["#,
        r#"{"id":"\u001b1","status":{"role":"a\u001b[2Jb","suspended":"\u001b[31m"}},"#,
        r#"{"id":2,"status":null,"problem":"c\r\nd\u007f"}]}"#,
    ));
    let bad = web("HTTP/1.0 503 \x1b[2J\r\n\r\nno \x1b[31mleader\u{9b}\u{202e}\n");
    let other = web("HTTP/1.0 200 OK\r\n\r\n\x1b[2J");
    for (at, arguments, code, says) in [
        (
            at,
            "status",
            0,
            &[r"n\u{1b}]0;x\u{7}", r"\u{1b}[31m", r"c\r\nd\u{7f}"][..],
        ),
        (at, "status -o plain", 0, &[r"a\u{1b}[2Jb", r"\u{202e}"]),
        (bad, "status", 3, &[r"no \u{1b}[31mleader\u{9b}\u{202e}"]),
        (bad, "health -o plain", 3, &[r"\u{1b}[2J"]),
        (other, "status", 3, &["is it a proxy?"]),
    ] {
        let run = run(nobody, &format!("{arguments} --http {at}"));
        assert_eq!(run.code, Some(code), "{run:?}");
        let shown = run.out + &run.err;
        for says in says {
            assert!(shown.contains(says), "{arguments}: {says} in {shown}");
        }
        let controls = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(controls), "{arguments}: {shown:?}");
    }
}

#[test]
fn status_shows_leader_term_members_and_lag() {
    let nobody = start(Manner::Silent);
    let at = web(concat!(
        "HTTP/1.0 200 OK\r\n\r\n",
        r#"{"cluster":"north","health":{"state":"ok","servers":3,"up":2,"majority":2,"margin":0,"#,
        r#""leader":2,"term":17,"commit_index":123456,"commit_age_ms":0},"nodes":["#,
        r#"{"id":1,"status":{"role":"follower","term":17,"commit_index":123450,"durable_index":123455,"#,
        r#""last_index":123456},"problem":null,"age_ms":0},"#,
        r#"{"id":2,"status":{"role":"leader","term":17,"commit_index":123456,"durable_index":123456,"#,
        r#""last_index":123456,"followers":{"1":{"lag":7,"counts":true},"3":{"lag":991},"#,
        r#""4":{"lag":99,"match_index":0,"flow":"probe","counts":false},"5":{"lag":0,"counts":false}}},"problem":null,"age_ms":0},"#,
        r#"{"id":4,"status":{"role":"follower","term":17},"problem":null,"age_ms":0},"#,
        r#"{"id":5,"status":{"role":"follower","term":0,"suspended":"this server does not count toward a quorum: another disk"},"problem":null,"age_ms":0},"#,
        r#"{"id":3,"status":null,"problem":"no answer in time","age_ms":12000,"#,
        r#""last":{"role":"follower","term":16,"commit_index":122465,"durable_index":122465,"last_index":122465}}]}"#,
    ));
    let table = run(nobody, &format!("status --http {at}"));
    assert_eq!(table.code, Some(0), "{table:?}");
    let row = |start: &str| {
        let cells = |line: &str| -> Vec<String> {
            line.split(['│', '┆'])
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let mut rows = table.out.lines().map(cells);
        let found = rows.find(|cells| cells.get(1).is_some_and(|first| first == start));
        found.unwrap_or_else(|| panic!("no row {start} in {table:?}"))
    };
    assert_eq!(
        row("north")[1..7],
        [
            "north",
            "2",
            "17",
            "123456",
            "2 of 3",
            "ok, 0 more may fail"
        ]
    );
    assert_eq!(
        row("1")[1..8],
        ["1", "follower", "17", "123450", "123455", "123456", "7"]
    );
    assert_eq!(row("2")[7], "-");
    let silent = row("3");
    assert_eq!(
        silent[2..8],
        ["no answer", "16", "122465", "122465", "122465", "991"]
    );
    assert_eq!(silent[8], "no answer in time; as it was 12 s ago");
    assert_eq!(row("1")[8], "");
    assert_eq!(row("4")[7], "-");
    assert_eq!(row("4")[8], "does not count toward a quorum");
    let suspended = "this server does not count toward a quorum: another disk";
    assert_eq!(row("5")[8], suspended);
    let plain = run(nobody, &format!("status -o plain --http {at}"));
    for line in [
        "leader 2",
        "term 17",
        "margin 0",
        "server 3 role no_answer term 16 committed 122465 durable 122465 last 122465 lag 991",
    ] {
        assert!(
            plain.out.lines().any(|found| found == line),
            "{line}: {plain:?}"
        );
    }
}

#[test]
fn repl_takes_lines_and_goes_on_after_mistakes() {
    let at = start(Manner::Whole).to_string();
    let history = std::env::temp_dir().join(format!("raft-client-test-{}", std::process::id()));
    let arguments = ["--endpoints", &at, "-o", "plain", "repl", "--history-file"];
    let arguments = [&arguments[..], &[history.to_str().unwrap()]].concat();
    let run = run_with(
        &arguments,
        "put k 'two words'\nget k\ngett\nput k\nget 'k\n\nget absent\nincr n 5\nhelp\nexit\nget k\n",
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    let (answers, help) = run.out.split_once("get KEY").unwrap();
    assert_eq!(answers, "2\ntwo words\n5\n", "{run:?}");
    assert!(help.contains("exit"), "{run:?}");
    for says in [
        "'get'",
        "put k VALUE",
        "close it",
        "\"absent\" was not found",
    ] {
        assert!(run.err.contains(says), "{says}: {run:?}");
    }
    let remembered = std::fs::read_to_string(&history).unwrap();
    assert!(remembered.contains("put k 'two words'"), "{remembered}");
    std::fs::remove_file(history).unwrap();
}

#[test]
fn completions_are_printed_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let run = run_with(&["completions", shell], "");
        assert_eq!(run.code, Some(0));
        assert!(
            run.out.contains("raft-client") && run.out.contains("repl"),
            "{shell}"
        );
    }
}

#[test]
fn bench_measures_each_combination_and_counts_only_answers() {
    let at = start(Manner::Whole);
    let run = run(
        at,
        "-o json bench --clients 1,8 --value-size 16 --ops put,get --keys 20 --seconds 1 --warm-up 10ms",
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    let what = lines
        .iter()
        .map(|line| (line["op"].as_str(), line["clients"].as_u64()));
    let (put, get) = (Some("put"), Some("get"));
    let expected = [
        (put, Some(1)),
        (put, Some(8)),
        (get, Some(1)),
        (get, Some(8)),
    ];
    assert_eq!(Vec::from_iter(what), expected);
    for line in &lines {
        assert!(line["operations"].as_u64() > Some(0), "{line}");
        assert!(
            line["p50_us"].as_f64() <= line["p999_us"].as_f64(),
            "{line}"
        );
        assert_eq!(line["unknown"], 0, "{line}");
    }
    let args = "bench --clients 1 --value-size 16 --ops put --seconds 1 --warm-up 10ms";
    let table = run_table(at, args);
    assert!(table.contains("ops/s"), "{table}");
}

fn run_table(at: SocketAddr, arguments: &str) -> String {
    let run = run(at, arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    run.out
}

#[test]
fn bench_at_a_pace_skips_what_no_client_is_free_for() {
    let at = start(Manner::Silent);
    let bench = "bench --every 5ms --clients 1 --value-size 16 --ops put --seconds 1 --warm-up 1ms";
    let run = run(at, &format!("--timeout 300ms -o json {bench}"));
    assert_eq!(run.code, Some(0), "{run:?}");
    let line: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(line["operations"], 0, "{line}");
    assert!(line["skipped"].as_u64() > Some(0), "{line}");
    assert!(line["unavailable"].as_u64() > Some(0), "{line}");
}

#[test]
fn history_holds_operations_of_every_kind_one_at_a_time_for_each_process() {
    let at = start(Manner::Whole);
    let name = format!("raft-client-history-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    let path = file.to_str().unwrap();
    let arguments = format!("bench --history {path} --clients 4 --seconds 1 --warm-up 10ms");
    let first = run(at, &arguments);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    let text = std::fs::read_to_string(&file).unwrap();
    // The checker does not know the keys of the first run.
    let second = run(at, &arguments);
    assert_eq!(second.code, Some(0), "{second:?}");
    assert!(second.err.starts_with("warning: the key \""), "{second:?}");
    std::fs::remove_file(file).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    let mut values = std::collections::BTreeSet::new();
    let mut last = std::collections::BTreeMap::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (kind, op) = line["op"].as_object().unwrap().iter().next().unwrap();
        kinds.insert(kind.clone());
        if let Some(value) = op.get("value") {
            assert!(values.insert(value.to_string()), "a value twice: {line}");
        }
        let (invoke, end) = (line["invoke"].as_u64(), line["return"].as_u64());
        assert!(invoke <= end, "{line}");
        let before = last.insert(line["process"].as_u64(), end);
        assert!(before <= Some(invoke), "{line}");
    }
    let all = ["cas", "delete", "get", "increment", "put"];
    assert_eq!(Vec::from_iter(kinds), all);
    assert_eq!(last.len(), 4);
}
