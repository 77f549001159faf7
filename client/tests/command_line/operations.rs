//! Operations, their output and their exit codes.

use crate::{
    expect, run, run_with,
    support::{Manner, start},
};
use std::process::Command;

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
    assert!(not_a_number.err.contains("not a 64-bit integer"));

    expect(&run(at, "scan -o plain"), 0, "k\tx\nn\t-2\n");
    expect(&run(at, "scan --after k --limit 5 -o plain"), 0, "n\t-2\n");
    expect(&run(at, "scan z -o plain"), 0, "");
    expect(&run(at, "delete k --version 1"), 1, "");
    expect(&run(at, "delete k -o plain"), 0, "29\n");
    let absent = run(at, "delete k");
    expect(&absent, 1, "");
    assert_eq!(absent.err, "the key \"k\" was not found\n");
}

#[test]
fn transfer_exits_0_only_if_the_server_leads() {
    let at = start(Manner::Whole);
    let table = "\
┌────────┐
│ leader │
╞════════╡
│ 1      │
└────────┘
";
    expect(&run(at, "transfer 1"), 0, table);
    expect(&run(at, "transfer 1 -o plain"), 0, "1\n");
    expect(&run(at, "transfer 1 -o json"), 0, "{\"leader\":1}\n");
    let direct = format!("--direct --endpoints 1={at} transfer 1 -o plain");
    expect(
        &run_with(&direct.split(' ').collect::<Vec<_>>(), ""),
        0,
        "1\n",
    );

    let down = run(at, "transfer 2");
    expect(&down, 3, "");
    let complaint = "error: server 2 is not confirmed as the leader: the leader did not hand over in time, or another transfer was in progress: check that the server runs and is reachable, and try again\n";
    assert_eq!(down.err, complaint);
    let absent = run(at, "transfer 9");
    expect(&absent, 2, "");
    let complaint = "error: server 9 is not confirmed as the leader: the cluster has no such server: give the id of another of its servers\n";
    assert_eq!(absent.err, complaint);
    let absent = run(at, "transfer 9 -o json");
    assert!(absent.err.starts_with("{\"error\":\"usage\""), "{absent:?}");
    expect(&run(at, "transfer two"), 2, "");
}

/// The request may have arrived, so it is wrong to report that nothing was done.
#[test]
fn transfer_without_a_response_may_still_succeed() {
    for manner in [Manner::Silent, Manner::Unavailable] {
        let unanswered = run(start(manner), "--timeout 200ms transfer 1");
        expect(&unanswered, 3, "");
        let err = &unanswered.err;
        assert!(err.contains("server 1 is not confirmed"), "{err}");
        assert!(err.contains("may still succeed"), "{err}");
        assert!(!err.contains("nothing was done"), "{err}");
    }
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
    assert!(
        stale.err.contains("applied the log up to entry 3"),
        "{stale:?}"
    );
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
fn repl_takes_lines_and_goes_on_after_mistakes() {
    let at = start(Manner::Whole).to_string();
    let history = std::env::temp_dir().join(format!("raft-client-test-{}", std::process::id()));
    let arguments = ["--endpoints", &at, "-o", "plain", "repl", "--history-file"];
    let arguments = [&arguments[..], &[history.to_str().unwrap()]].concat();
    let run = run_with(
        &arguments,
        "put k 'two words'\nget k\ngett\nput k\nget 'k\n\nget absent\nincr n 5\ntransfer 1\ntransfer 2\nhelp\nexit\nget k\n",
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    let (answers, help) = run.out.split_once("get KEY").unwrap();
    assert_eq!(answers, "2\ntwo words\n5\n1\n", "{run:?}");
    assert!(
        help.contains("transfer SERVER") && help.contains("exit"),
        "{run:?}"
    );
    for says in [
        "'get'",
        "put k VALUE",
        "close it",
        "\"absent\" was not found",
        "server 2 is not confirmed as the leader",
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
            ["raft-client", "repl", "transfer"]
                .iter()
                .all(|word| run.out.contains(word)),
            "{shell}"
        );
    }
}
