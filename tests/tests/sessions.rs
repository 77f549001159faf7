//! Client sessions and the state quota, over every client protocol of real processes.

use client::{Client, KeyValue as _};
use harness::{Cluster, NODES, Shape, judge, wait::until};
use serde_json::Value;
use std::thread;
use tokio::task::JoinSet;

/// Sends this number of concurrent PUT requests over HTTP, each to a different key; returns their
/// status codes and bodies.
fn put_together(cluster: &Cluster, count: usize) -> Vec<(u16, String)> {
    thread::scope(|scope| {
        let put = |nth| {
            let path = format!("/v1/kv/key{nth}");
            scope.spawn(move || cluster.ask_proxy("PUT", &path, "value"))
        };
        let puts: Vec<_> = (0..count).map(put).collect();
        puts.into_iter()
            .map(|put| put.join().expect("a request ends"))
            .collect()
    })
}

#[track_caller]
fn assert_all_put(answers: &[(u16, String)]) {
    let failed: Vec<_> = answers.iter().filter(|(code, _)| *code != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The idle sessions of a proxy survive any number of clients that write once and exit.
#[test]
fn clients_that_write_once_leave_no_session_behind() {
    let mut cluster = Cluster::start_with(&["--max-sessions=16"]);
    assert_all_put(&put_together(&cluster, 12));
    let held = cluster.wait_for_status(cluster.leader()).sessions;
    for nth in 0..60 {
        cluster.client(&words(&["put", "s", &nth.to_string()]));
    }
    let leader = cluster.leader();
    until("the sessions of the clients to be closed", || {
        (cluster.wait_for_status(leader).sessions <= held).then_some(())
    });
    assert_all_put(&put_together(&cluster, 12));
    // A proxy that stops closes its sessions too.
    assert_eq!(cluster.stop_proxy(), Some(0));
    until("the sessions of the proxy to be closed", || {
        (cluster.wait_for_status(leader).sessions == 0).then_some(())
    });
    cluster.assert_all_run();
    cluster.kill_all();
    judge::assert_replays(&cluster.traces());
}

/// A load generator closes its sessions after an interrupt.
#[test]
fn interrupted_bench_leaves_no_session_behind() {
    let cluster = Cluster::start();
    let arguments = words(&["bench", "--ops=put", "--clients=200", "--seconds=3600"]);
    let bench = cluster.start_client(&arguments);
    let leader = cluster.leader();
    until("the sessions to be open", || {
        (cluster.wait_for_status(leader).sessions >= 200).then_some(())
    });
    let (code, said) = bench.interrupt();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("stopped by SIGINT"), "{said}");
    until("the sessions to be closed", || {
        (cluster.wait_for_status(cluster.leader()).sessions == 0).then_some(())
    });
}

/// While all sessions are in use, other clients get an error with the reason, and the sessions in use
/// continue.
#[test]
fn sessions_in_use_are_kept_and_others_are_told() {
    let cluster = Cluster::start_with(&["--max-sessions=3"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("no runtime for a client");
    let options = client::Options {
        max_sessions: 3,
        ..cluster.options()
    };
    let user = runtime
        .block_on(Client::connect(options))
        .expect("no socket for a client");
    let write_together = || {
        runtime.block_on(async {
            let mut writes = JoinSet::new();
            for nth in 0..12 {
                let user = user.clone();
                writes.spawn(async move { user.put(format!("used{nth}"), "value").await });
            }
            for written in writes.join_all().await {
                written.expect("a session that is in use stays");
            }
        });
    };
    write_together();
    until("all sessions to be open", || {
        (cluster.wait_for_status(cluster.leader()).sessions == 3).then_some(())
    });

    let (code, text) = cluster.ask_proxy("PUT", "/v1/kv/k", "value");
    let answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
    assert_eq!(
        (code, &answer["error"]["outcome"]),
        (503, &"not_done".into())
    );
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("sessions of the cluster are in use"),
        "{message}"
    );
    let refused = cluster.try_client(&words(&["put", "k", "v"]));
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{complaint}");
    assert!(
        complaint.contains("sessions of the cluster are in use"),
        "{complaint}"
    );
    // Reads need no session.
    assert_eq!(cluster.ask_proxy("GET", "/v1/kv/used0", "").0, 200);

    write_together();
    runtime.block_on(user.close());
    until("the sessions to be closed", || {
        (cluster.wait_for_status(cluster.leader()).sessions == 0).then_some(())
    });
    assert_eq!(cluster.ask_proxy("PUT", "/v1/kv/k", "value").0, 200);
    cluster.client(&words(&["put", "k", "v"]));
}

/// At its quota the state does not grow, all clients get an error with the reason, and deletions free
/// space.
#[test]
fn state_at_its_quota_takes_no_more_until_something_is_deleted() {
    let mut cluster = Cluster::start_as(Shape {
        settings: words(&["--state-quota=100000"]),
        ..Shape::default()
    });
    let value = "v".repeat(30_000);
    for key in ["a", "b", "c"] {
        assert_eq!(
            cluster.ask_proxy("PUT", &format!("/v1/kv/{key}"), &value).0,
            200
        );
    }
    let (code, text) = cluster.ask_proxy("PUT", "/v1/kv/d", &value);
    let answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
    assert_eq!(
        (code, &answer["error"]["code"], &answer["error"]["outcome"]),
        (507, &"quota_exceeded".into(), &"not_done".into())
    );
    let refused = cluster.try_client(&words(&["put", "d", &value]));
    let complaint = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("quota"), "{complaint}");
    for id in NODES {
        assert!(cluster.metric(id, "raft_state_bytes") <= 100_000);
        assert_eq!(cluster.metric(id, "raft_state_quota_bytes"), 100_000);
    }
    assert_eq!(cluster.ask_proxy("DELETE", "/v1/kv/a", "").0, 200);
    cluster.client(&words(&["put", "d", &value]));
    // The quota also applies after a restart.
    cluster.kill_all();
    for id in NODES {
        cluster.restart(id);
    }
    cluster.leader();
    let code = until("an answer", || {
        let (code, _) = cluster.ask_proxy("PUT", "/v1/kv/e", &value);
        (code != 503).then_some(code)
    });
    assert_eq!(code, 507);
    cluster.assert_all_run();
}
