//! Arguments, environment and files with secrets.

use crate::{
    expect, pipe, run, run_with,
    support::{Manner, start},
    web,
};
use std::process::{Command, Stdio};

#[test]
fn command_line_that_is_not_right_exits_2_and_says_what_to_do() {
    let at = start(Manner::Whole);
    for (arguments, says) in [
        ("gett k", "'get'"),
        ("put", "<KEY>"),
        ("cas k v", "--absent"),
        ("cas k v --absent --present", "cannot be used with"),
        ("get k --timeout 3", "such as 100ms or 2s"),
        ("get k --direct", "ID=HOST:PORT"),
        ("get k --endpoints nowhere", "HOST:PORT"),
        ("put k", ""),
        (
            "bench --history h --clients 1,2",
            "one value each of --clients",
        ),
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
            let complaint =
                format!("error: the cluster name has {length} bytes: it must have 1 to 255\n");
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
fn servers_that_share_a_number_or_an_address_are_refused() {
    for (endpoints, says) in [
        ("1=a.invalid:1,1=b.invalid:1", "server 1 has two endpoints"),
        (
            "1=a.invalid:1,2=A.invalid:1",
            "servers 1 and 2 have the same endpoint",
        ),
        (
            "1=127.0.0.1:1,2=localhost:1",
            "servers 1 and 2 have the same endpoint",
        ),
    ] {
        let arguments = ["--direct", "--endpoints", endpoints, "get", "k"];
        let run = run_with(&arguments, "");
        assert_eq!(run.code, Some(2), "{endpoints}: {run:?}");
        assert!(run.err.contains(says), "{endpoints}: {run:?}");
    }
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
            // Under `nohup`, the program would inherit that SIGHUP is ignored.
            let mut child = Command::new("env")
                .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_raft-client")])
                .args(arguments)
                .args((arguments[0] == "get").then_some(pipe.as_str()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let id = child.id().to_string();
            program::testing::wait_for_handler(child.id(), number);
            let killed = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(killed.unwrap().success());
            let ended = child.wait().unwrap();
            // Without the signal the program ends with 2 after 10 s.
            assert_eq!(ended.code(), Some(code), "{signal}: {ended}");
        }
    }
}
