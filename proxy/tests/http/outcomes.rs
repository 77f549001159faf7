//! Done, not done and unknown.

use crate::{
    common::{Answer, get, settings, within},
    put, silent,
};
use model::{
    NodeId,
    message::{RequestBody, ResponseBody},
    store::{Answer as Applied, Found},
};
use proxy::server::Server;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Checks an error response: the status, the code, the outcome, and a part of the message.
fn assert_error(answer: &Answer, status: u16, code: &str, outcome: &str, words: &str) {
    let (found, text) = answer.shown();
    let body: serde_json::Value = serde_json::from_str(text).expect("an error is JSON");
    let error = &body["error"];
    assert_eq!(
        (found, &error["code"], &error["outcome"]),
        (status, &code.into(), &outcome.into()),
        "{text}"
    );
    assert!(text.contains(words), "{text}");
}

/// Waits until a count is reached.
async fn reaches(count: &AtomicUsize, least: usize) {
    let reached = async {
        while count.load(SeqCst) < least {
            tokio::task::yield_now().await;
        }
    };
    within(reached).await;
}

/// While the leader rejects a write that was sent, further writes are not sent and not executed. Reads
/// are served.
#[tokio::test(flavor = "multi_thread")]
async fn overloaded_leader_holds_up_one_write_and_the_others_are_not_done() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refusals);
    let at = silent::responding(NodeId::new(1), move |body| {
        Some(match body {
            RequestBody::Write { .. } => {
                counted.fetch_add(1, SeqCst);
                ResponseBody::Overloaded
            }
            _ => ResponseBody::Found(Found::Value(None)),
        })
    })
    .await;
    // The write that was sent stays in flight.
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 100000 --drain 1ms");
    let server = Server::start(settings(&line)).await.unwrap();
    let at = server.http.unwrap();
    let held_up = tokio::spawn(async move { put(at, "/v1/kv/k", &[], b"v").await });
    // The proxy has received the first rejections by then.
    reaches(&refusals, 4).await;
    let refused = within(put(at, "/v1/kv/k", &[], b"v")).await;
    assert_error(
        &refused,
        503,
        "overloaded",
        "not_done",
        "cluster is overloaded",
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(get(at, "/v1/kv/k").await.status, 404);
    assert!(!held_up.is_finished());
    held_up.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_beyond_the_bound_of_the_proxy_is_not_done() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let at = silent::responding(NodeId::new(1), move |_| {
        counted.fetch_add(1, SeqCst);
        None
    })
    .await;
    let line = format!(
        "--peer 1={at} --attempt-timeout 50ms --attempts 100000 --max-in-flight 1 --drain 1ms"
    );
    let server = Server::start(settings(&line)).await.unwrap();
    let at = server.http.unwrap();
    // This read, or a read of the page, stays in flight.
    let held_up = tokio::spawn(async move { get(at, "/v1/kv/k").await });
    reaches(&requests, 1).await;
    for answer in [
        within(put(at, "/v1/kv/k", &[], b"v")).await,
        within(get(at, "/v1/kv/k")).await,
    ] {
        assert_error(&answer, 503, "overloaded", "not_done", "in flight");
    }
    held_up.abort();
    server.stop().await;
}

/// A server did respond, so the message must not claim a missing response.
#[tokio::test(flavor = "multi_thread")]
async fn write_whose_session_is_gone_is_unknown_for_that_reason() {
    let at = silent::responding(NodeId::new(1), |_| {
        Some(ResponseBody::Applied(Applied::SessionExpired))
    })
    .await;
    let server = Server::start(settings(&format!("--peer 1={at}")))
        .await
        .unwrap();
    let answer = put(server.http.unwrap(), "/v1/kv/k", &[], b"v").await;
    let words = "no longer has the session of the write";
    assert_error(&answer, 504, "outcome_unknown", "unknown", words);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_done_or_unknown_but_never_failed() {
    let at = silent::server(NodeId::new(1)).await;
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 4");
    let server = Server::start(settings(&line)).await.unwrap();
    let at = server.http.unwrap();
    let answer = put(at, "/v1/kv/k", &[], b"v").await;
    assert_eq!(
        answer.shown(),
        (
            504,
            r#"{"error":{"code":"outcome_unknown","message":"the outcome is unknown: no leader confirmed the write in time; it may have taken effect, or may yet, at most once. Read the key to find out","outcome":"unknown"}}"#
        )
    );
    let answer = get(at, "/v1/kv/k").await;
    assert_eq!(
        answer.shown(),
        (
            503,
            r#"{"error":{"code":"unavailable","message":"nothing was done: no leader answered in time: check that a majority of the servers is up, and that addresses, cluster name and key are correct","outcome":"not_done"}}"#
        )
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // The new session was a sign of life, for a while.
    within(async { while get(at, "/readyz").await.shown() != (503, "not ready\n") {} }).await;
    server.stop().await;

    // No server exists: the proxy knows that the write was never sent.
    let line = "--peer 1=127.0.0.1:9 --attempt-timeout 20ms --attempts 2";
    let server = Server::start(settings(line)).await.unwrap();
    let answer = put(server.http.unwrap(), "/v1/kv/k", &[], b"v").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["outcome"]),
        (503, &"not_done".into())
    );
    server.stop().await;
}
