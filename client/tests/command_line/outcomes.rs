//! Endpoints that fail, and the outcomes that follow.

use crate::{
    Run, expect, pipe, run, run_with, support,
    support::{Manner, start, start_sealed},
};
use model::NodeId;
use std::{thread, time::Duration};
use transport::{Key, Keys};

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
        ("127.0.0.1:0", 2, "port 0 cannot be reached"),
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
    let complaint = "the cluster no longer has the session of the write";
    assert!(run.err.contains(complaint), "{run:?}");
}

#[test]
fn read_whose_answer_does_not_fit_exits_3() {
    let run = run(start(Manner::Confused), "get k");
    expect(&run, 3, "");
    let complaint = "the response does not match the request";
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
fn transfer_needs_the_cluster_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| {
        let key = Key::generate().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, key.to_text()).unwrap();
        (key, file.display().to_string())
    };
    let ((cluster, key_file), (client, client_key_file)) = (key("cluster"), key("client"));
    let keys = Keys {
        cluster: Some(cluster),
        client: Some(client),
    };
    let at = start_sealed(Manner::Whole, keys);
    let transfer = format!("--client-key-file {client_key_file} -o plain transfer 1");
    let refused = run(at, &transfer);
    expect(&refused, 2, "");
    assert!(refused.err.contains("--key-file"), "{refused:?}");
    let permitted = run(at, &format!("--key-file {key_file} {transfer}"));
    expect(&permitted, 0, "1\n");
}

/// Runs an operation that begins late, so that the timeout of the whole run expires before its own.
fn run_late(operation: &str) -> Run {
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
    let line = format!("--timeout 1s --key-file {pipe} {operation}");
    let run = run(at, &line);
    key.join().unwrap();
    run
}

#[test]
fn write_that_was_not_sent_in_time_exits_3() {
    let run = run_late("put k v");
    expect(&run, 3, "");
    assert!(run.err.contains("nothing was done"), "{run:?}");
}

#[test]
fn transfer_that_began_late_may_still_succeed() {
    let run = run_late("transfer 1");
    expect(&run, 3, "");
    assert!(run.err.contains("may still succeed"), "{run:?}");
    assert!(!run.err.contains("nothing was done"), "{run:?}");
}
