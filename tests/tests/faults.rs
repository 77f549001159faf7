//! Common real-world faults, applied to real processes under load. Afterwards the checker verifies the
//! history of the clients and the traces of the servers.

use harness::{Cluster, History, Load, NODES, judge, wait::until};
use serde_json::{Value, json};
use status::Role;
use std::{fs, path::PathBuf};

/// Ends a scenario: checks that the cluster works, no acknowledged write is lost, nothing was executed
/// twice, the history is linearizable, and the servers behaved like the checked core.
fn judge_all(mut cluster: Cluster, load: Load, at_least: u64) -> (Cluster, History, PathBuf) {
    load.expect_writes(50);
    let history = load.finish();
    let leader = cluster.leader();
    for id in NODES.into_iter().filter(|id| *id != leader) {
        cluster.catches_up(id, leader);
    }
    cluster.assert_all_run();
    // One server is killed between its heartbeats, one stops in an orderly way; both leave a trace.
    cluster.stop(leader);
    cluster.kill_all();
    let path = history.write(cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, at_least);
    judge::assert_replays(&cluster.traces());
    (cluster, history, path)
}

fn others(id: u64) -> Vec<u64> {
    NODES.into_iter().filter(|other| *other != id).collect()
}

#[test]
fn servers_killed_in_turn_cluster_goes_on() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    for victim in [vec![leader], others(leader)].concat() {
        cluster.kill(victim);
        load.expect_writes(100);
        cluster.restart(victim);
        let leader = cluster.leader_among(&others(victim));
        cluster.catches_up(victim, leader);
    }
    judge_all(cluster, load, 400);
}

#[test]
fn leader_stopped_for_seconds_follows_when_it_goes_on() {
    let cluster = Cluster::start();
    let load = Load::start(&cluster);
    let old = cluster.leader();
    let term = cluster.wait_for_status(old).term;
    cluster.pause(old);
    let new = cluster.leader_among(&others(old));
    load.expect_writes(100);
    // The pause exceeds every timer, and the server still considers itself leader when it resumes.
    let age = cluster.wait_for_status(new).uptime_seconds;
    until("the others to be three seconds older", || {
        (cluster.wait_for_status(new).uptime_seconds >= age + 3).then_some(())
    });
    cluster.resume(old);
    let later = cluster.wait_for_status(new).term;
    assert!(later > term, "the others had an election");
    until("the old leader to know of a later one", || {
        let status = cluster.status(old)?;
        (status.term >= later && status.leader.is_some()).then_some(())
    });
    judge_all(cluster, load, 200);
}

/// Rules that drop every message from these servers to those servers.
fn cut(from: &[u64], to: &[u64]) -> Vec<Value> {
    let links = from
        .iter()
        .flat_map(|from| to.iter().map(move |to| (from, to)));
    let cut = |(from, to)| json!({"from": {"Node": from}, "to": {"Node": to}, "cut": true});
    links.map(cut).collect()
}

#[test]
fn leader_cut_off_steps_back_and_rejoins() {
    let cluster = Cluster::start();
    let load = Load::start(&cluster);
    for (name, hears, is_heard) in [
        ("neither hears nor is heard", false, false),
        ("hears and is not heard", true, false),
        ("is heard and hears nothing", false, true),
    ] {
        let old = cluster.leader();
        let mut rules = Vec::new();
        if !is_heard {
            rules.extend(cut(&[old], &others(old)));
        }
        if !hears {
            rules.extend(cut(&others(old), &[old]));
        }
        for id in NODES {
            cluster.chaos(id, &json!(rules));
        }
        let term = cluster.wait_for_status(old).term;
        eprintln!("  server {old} of term {term} {name}");
        // The leader detects the loss of its majority, and steps down.
        until("the leader cut off to step back", || {
            (cluster.status(old)?.role != Role::Leader).then_some(())
        });
        let new = cluster.leader_among(&others(old));
        load.expect_writes(100);
        if !hears {
            // It sends a pre-vote request before it begins a term, so it begins none.
            assert_eq!(
                cluster.wait_for_status(old).term,
                term,
                "it began terms that nobody needs"
            );
        }
        for id in NODES {
            cluster.chaos(id, &json!([]));
        }
        cluster.catches_up(old, new);
        load.expect_writes(50);
    }
    judge_all(cluster, load, 500);
}

#[test]
fn messages_lost_doubled_and_overtaken_clients_see_no_difference() {
    let cluster = Cluster::start();
    let load = Load::start(&cluster);
    for id in NODES {
        // Between servers, faults apply at the sender. The proxy injects no faults, so faults between
        // it and a server apply at the server, in both directions.
        let bad = |side| json!({"side": side, "drop": 0.2, "duplicate": 0.2, "reorder": 0.3});
        let between = NODES.map(|from| json!({"side": "receive", "from": {"Node": from}}));
        let mut rules = Vec::from(between);
        rules.extend([bad("send"), bad("receive")]);
        cluster.chaos(id, &json!(rules));
    }
    let path = cluster.dir().join("bench.jsonl");
    let arguments = [
        "bench",
        "--seconds=4",
        "--warm-up=500ms",
        "--clients=8",
        "--timeout=8s",
    ];
    let mut arguments = Vec::from(arguments.map(String::from));
    arguments.push(format!("--history={}", path.display()));
    // The clients of the benchmark use different keys.
    cluster.client(&arguments);
    judge::assert_linearizable(&path, 20);
    load.expect_writes(200);
    for name in ["duplicated_by_faults", "delayed_by_faults"] {
        let name = format!("raft_transport_total{{count=\"{name}\"}}");
        for id in NODES {
            assert!(cluster.metric(id, &name) > 100, "server {id}: {name}");
        }
    }
    judge_all(cluster, load, 300);
}

#[test]
fn all_killed_at_once_no_acknowledged_write_is_lost() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    for _ in 0..3 {
        load.expect_writes(200);
        cluster.kill_all();
        for id in NODES {
            cluster.restart(id);
        }
        cluster.leader();
    }
    judge_all(cluster, load, 700);
}

#[test]
fn follower_that_missed_a_thousand_entries_catches_up() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let late = others(leader)[0];
    let had = cluster.wait_for_status(late).last_index;
    cluster.kill(late);
    until("a thousand entries", || {
        (cluster.wait_for_status(leader).commit_index > had + 1000).then_some(())
    });
    cluster.restart(late);
    cluster.catches_up(late, leader);
    assert!(cluster.wait_for_status(late).durable_index > had + 1000);
    judge_all(cluster, load, 900);
}

/// If two of three servers are gone, no server knows the current state. One server still knows an
/// earlier state.
#[test]
fn without_a_majority_stale_reads_are_answered_and_others_are_not() {
    let mut cluster = Cluster::start();
    let words = |line: &str| Vec::from_iter(line.split(' ').map(str::to_owned));
    let written = cluster.client(&words("put k v -o plain"));
    let version: u64 = written.trim().parse().expect("a version");
    let leader = cluster.leader();
    let left = others(leader)[0];
    until("the follower to apply the write", || {
        (cluster.status(left)?.applied_index >= version).then_some(())
    });
    for id in others(left) {
        cluster.kill(id);
    }
    let stale = cluster.client(&words("get k --consistency stale -o json"));
    let stale: Value = serde_json::from_str(&stale).expect("an answer in JSON");
    assert_eq!(
        (&stale["value"], &stale["version"]),
        (&json!("v"), &json!(version))
    );
    assert!(stale["applied_index"].as_u64() >= Some(version), "{stale}");
    let fresh = cluster.try_client(&words("get k --timeout 2s -o json"));
    assert_eq!(fresh.status.code(), Some(3), "{fresh:?}");
    assert!(fresh.stdout.is_empty(), "{fresh:?}");
    // Even a server that has the value, and receives the request directly, responds no differently.
    let direct = |consistency: &str| {
        let at = cluster.node_udp(left);
        let line = format!("get k --direct --endpoints {left}={at} --timeout 2s {consistency}");
        cluster.try_client_at(&words(line.trim())).status.code()
    };
    assert_eq!(direct("--consistency stale"), Some(0));
    assert_eq!(direct(""), Some(3));
    for id in others(left) {
        cluster.restart(id);
    }
    cluster.leader();
    let found = cluster.client(&words("get k -o plain"));
    assert_eq!(found.trim(), "v");
    cluster.assert_all_run();
}

/// The checks are only useful if they detect violations.
#[test]
fn forged_results_and_altered_traces_are_rejected() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let victim = cluster.leader();
    cluster.kill(victim);
    load.expect_writes(50);
    cluster.restart(victim);
    let (cluster, history, _) = judge_all(cluster, load, 150);

    for (name, forged) in [
        ("read.jsonl", history.with_forged_read()),
        ("increment.jsonl", history.with_forged_increment()),
    ] {
        let verdict = judge::linearize(&[forged.write(cluster.dir(), name)]);
        assert_eq!(verdict.code, Some(1), "{verdict:#?}");
        assert_eq!(verdict.last()["verdict"], "violated");
    }

    for place in 0..12 {
        assert_altered_digit_is_found(&cluster, place % 3, place + 1, 13);
    }

    let mut traces = cluster.traces();
    let text = fs::read_to_string(&traces[0]).expect("a trace is text");
    let mut lines = Vec::from_iter(text.lines().map(str::to_owned));
    let middle = lines.len() / 2;
    let (number, altered) = (middle..lines.len())
        .find_map(|at| Some((at, altered(&lines[at])?)))
        .expect("some step sends something");
    lines[number] = altered;
    traces[0] = cluster.dir().join("altered.jsonl");
    fs::write(&traces[0], lines.join("\n")).expect("a trace can be written");
    let verdict = judge::replay(&traces);
    assert_eq!(verdict.code, Some(1), "{verdict:#?}");
    assert_eq!(verdict.last()["verdict"], "rejected");
    let place = format!("altered.jsonl:{}", number + 1);
    let why = verdict.last()["why"].as_str().unwrap_or_default();
    assert!(why.contains(&place), "{place} is not named: {why}");
}

/// A change of one digit anywhere in a real trace: the replay reports the line, because the digests
/// cover everything.
fn assert_altered_digit_is_found(cluster: &Cluster, trace: usize, part: usize, of: usize) {
    let mut traces = cluster.traces();
    let mut text = fs::read(&traces[trace]).expect("a trace can be read");
    let from = text.len() / of * part;
    let found = text[from..].iter().position(u8::is_ascii_digit);
    let at = from + found.expect("there are numbers everywhere");
    let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
    text[at] = if text[at] == b'9' { b'8' } else { text[at] + 1 };
    traces[trace] = cluster.dir().join("digit.jsonl");
    fs::write(&traces[trace], text).expect("a trace can be written");
    let verdict = judge::replay(&traces);
    assert_eq!(verdict.code, Some(1), "{verdict:#?}");
    let why = verdict.last()["why"].as_str().unwrap_or_default();
    let place = format!("digit.jsonl:{line}: its digest is wrong");
    assert!(why.contains(&place), "{place}: {why}");
}

/// A step that sends one message with another term.
fn altered(line: &str) -> Option<String> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let message = line
        .pointer_mut("/effects/sends/0/message")?
        .as_object_mut()?;
    let term = message.values_mut().next()?.get_mut("term")?;
    *term = (term.as_u64()? + 1).into();
    Some(line.to_string())
}
