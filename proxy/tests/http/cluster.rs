//! The cluster behind the proxy.

use crate::{
    common::{ask, get, ready, settings, within},
    put,
};
use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::TokioIo;
use model::NodeId;
use proxy::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn election_is_survived_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 3").await;
    let at = server.http.unwrap();
    assert_eq!(put(at, "/v1/kv/k", &[], b"before").await.status, 200);

    let status = get(at, "/v1/status").await.json();
    assert_eq!(status["cluster"], "stateraft");
    assert_eq!(status["keys"]["items"][0]["value"], "before");
    assert_eq!(status["keys"]["fresh"], true);
    let leader = status["proxy"]["leader"].as_u64().unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let role = |id: u64| nodes[id as usize - 1]["status"]["role"].clone();
    assert_eq!(role(leader), "leader");

    let embedded = server.embedded.as_ref().unwrap();
    embedded.stop_one(NodeId::new(leader)).await;
    // The increment waits for the election and is then executed exactly once.
    let answer = ask(at, "POST", "/v1/kv/n/increment", &[], b"").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["value"]),
        (200, &1.into())
    );
    assert_eq!(get(at, "/v1/kv/k").await.json()["value"], "before");

    let status = get(at, "/v1/status").await.json();
    let stopped = &status["nodes"][leader as usize - 1];
    assert_eq!(stopped["status"], serde_json::Value::Null);
    assert_eq!(stopped["problem"], "the server has stopped");
    assert_eq!(stopped["cause"], serde_json::json!({"code": "stopped"}));
    assert_ne!(status["proxy"]["leader"], leader);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_what_changes_and_end_when_the_proxy_stops() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("/v1/events")
        .header("host", at.to_string())
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let mut response = within(sender.send_request(request)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut put_done = false;
    loop {
        let frame = within(response.frame()).await.unwrap().unwrap();
        text.push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap());
        if text.contains("\n\n") && !put_done {
            assert_eq!(put(at, "/v1/kv/news", &[], b"today").await.status, 200);
            put_done = true;
        }
        if text.contains(r#""key":"news","value":"today""#) {
            break;
        }
    }
    // An open stream does not prevent an orderly stop of the proxy.
    let stopped = tokio::spawn(server.stop());
    while let Some(frame) = within(response.frame()).await {
        frame.unwrap();
    }
    within(stopped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    assert_eq!(get(at, "/livez").await.shown(), (200, "ok\n"));
    let answer = get(at, "/readyz?verbose").await;
    let text = "[+] open: not shutting down\n[+] cluster: a server answers; leader: server 1\nok\n";
    assert_eq!(answer.shown(), (200, text));
    let (ready, told) = proxy::health::ask(at).await.unwrap();
    assert_eq!((ready, &told[..]), (true, text));
    assert_eq!(get(at, "/version").await.json()["name"], "raft-proxy");
    put(at, "/v1/kv/k", &[], b"v").await;
    let metrics = get(at, "/metrics").await;
    let text = metrics.shown().1;
    let line = r#"stateraft_proxy_operations_total{operation="put",outcome="answered"} 1"#;
    assert!(text.lines().any(|other| other == line), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let page = get(at, "/").await;
    assert!(page.shown().1.starts_with("<!doctype html>"));
    assert!(page.header("content-security-policy").is_some());
    server.stop().await;
}

/// Servers with other voters would count other majorities over the same data.
#[tokio::test]
async fn embedded_servers_of_another_number_are_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    assert_eq!(ask(at, "PUT", "/v1/kv/x", &[], b"10").await.status, 200);
    server.stop().await;
    let data = dir.path().display();
    let line = format!("--embedded 3 --data-dir {data}");
    let error = Server::start(settings(&line))
        .await
        .map(|_| ())
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("a cluster with voter 1, but this start names voters 1, 2, 3"),
        "{text}"
    );
    let server = ready(dir.path(), "--embedded 1").await;
    let got = get(server.http.unwrap(), "/v1/kv/x").await;
    assert!(got.shown().1.contains("10"), "{got:?}");
}
