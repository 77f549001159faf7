//! The HTTP door, over real sockets, in front of real servers. The JSON is pinned: programs of
//! others read it.

mod common;
#[path = "common/silent.rs"]
mod silent;

use common::{Answer, ask, get, ready, settings, within};
use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::TokioIo;
use model::NodeId;
use proxy::server::Server;
use std::net::SocketAddr;

async fn put(at: SocketAddr, path: &str, headers: &[(&str, &str)], value: &[u8]) -> Answer {
    ask(at, "PUT", path, headers, value).await
}

/// The version that a write was given: some log index after that of the last write. Which one it is
/// nobody promises: a request that is sent again, because the disk was slow, is an entry more.
#[track_caller]
fn version_after(last: u64, answer: &Answer) -> u64 {
    let version = answer.json()["version"].as_u64().expect("a version");
    assert!(version > last, "{answer:?} after version {last}");
    version
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_resources() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();

    // Entry 1 is the leader's no-op, entry 2 opened the session.
    let answer = put(at, "/v1/kv/greeting", &[], b"hello").await;
    let first = version_after(2, &answer);
    let written = format!(r#"{{"key":"greeting","version":{first}}}"#);
    assert_eq!(answer.shown(), (200, &written[..]));
    let tag = format!("\"{first}\"");
    assert_eq!(answer.header("etag"), Some(&tag[..]));
    let answer = get(at, "/v1/kv/greeting").await;
    let json = format!(r#"{{"key":"greeting","value":"hello","version":{first}}}"#);
    assert_eq!(answer.shown(), (200, &json[..]));
    assert_eq!(answer.header("etag"), Some(&tag[..]));
    let answer = get(at, "/v1/kv/greeting?consistency=linearizable").await;
    assert_eq!(answer.shown(), (200, &json[..]));

    // Raw, and not at all if it is known.
    let raw = [("accept", "application/octet-stream")];
    let answer = ask(at, "GET", "/v1/kv/greeting", &raw, b"").await;
    assert_eq!(answer.shown(), (200, "hello"));
    let known = [("if-none-match", &tag[..])];
    let answer = ask(at, "GET", "/v1/kv/greeting", &known, b"").await;
    assert_eq!(answer.shown(), (304, ""));

    // Conditions.
    let failed = format!(
        r#"{{"error":{{"code":"condition_failed","message":"the condition does not hold: the key has version {first}; nothing was changed","outcome":"not_done","version":{first}}}}}"#
    );
    let earlier = format!("\"{}\"", first - 1);
    let answer = put(at, "/v1/kv/greeting", &[("if-match", &earlier)], b"x").await;
    assert_eq!(answer.shown(), (412, &failed[..]));
    let path = format!("/v1/kv/greeting?version={}", first - 1);
    let answer = put(at, &path, &[], b"x").await;
    assert_eq!(answer.shown(), (412, &failed[..]));
    let answer = put(at, "/v1/kv/greeting", &[("if-none-match", "*")], b"x").await;
    assert_eq!(answer.shown(), (412, &failed[..]));
    let answer = put(at, "/v1/kv/none", &[("if-match", "*")], b"x").await;
    assert_eq!(
        answer.shown(),
        (
            412,
            r#"{"error":{"code":"condition_failed","message":"the condition does not hold: the key is absent; nothing was changed","outcome":"not_done","version":null}}"#
        )
    );
    let answer = put(at, "/v1/kv/greeting", &[("if-match", &tag)], b"bye").await;
    let second = version_after(first, &answer);
    let written = format!(r#"{{"key":"greeting","version":{second}}}"#);
    assert_eq!(answer.shown(), (200, &written[..]));
    let answer = put(at, "/v1/kv/new", &[("if-none-match", "*")], b"").await;
    let third = version_after(second, &answer);
    let written = format!(r#"{{"key":"new","version":{third}}}"#);
    assert_eq!(answer.shown(), (200, &written[..]));

    // Numbers.
    let answer = ask(at, "POST", "/v1/kv/n/increment?by=-5", &[], b"").await;
    let version = version_after(third, &answer);
    let number = format!(r#"{{"key":"n","value":-5,"version":{version}}}"#);
    assert_eq!(answer.shown(), (200, &number[..]));
    let answer = ask(at, "POST", "/v1/kv/n/increment", &[], b"").await;
    let version = version_after(version, &answer);
    let number = format!(r#"{{"key":"n","value":-4,"version":{version}}}"#);
    assert_eq!(answer.shown(), (200, &number[..]));
    assert_eq!(answer.header("etag"), Some(&format!("\"{version}\"")[..]));
    let answer = ask(at, "POST", "/v1/kv/greeting/increment", &[], b"").await;
    assert_eq!(
        answer.shown(),
        (
            400,
            r#"{"error":{"code":"not_a_number","message":"the key holds no decimal number, or the sum would overflow 64 bits; nothing was changed","outcome":"not_done"}}"#
        )
    );

    // Removing.
    let other = format!("\"{second}\"");
    let answer = ask(at, "DELETE", "/v1/kv/new", &[("if-match", &other)], b"").await;
    assert_eq!(answer.status, 412);
    let answer = ask(at, "DELETE", "/v1/kv/new", &[], b"").await;
    let version = version_after(version, &answer);
    let removed = format!(r#"{{"key":"new","version":{version}}}"#);
    assert_eq!(answer.shown(), (200, &removed[..]));
    let absent = r#"{"error":{"code":"not_found","message":"there is no such key"}}"#;
    let answer = ask(at, "DELETE", "/v1/kv/new", &[], b"").await;
    assert_eq!(answer.shown(), (404, absent));
    assert_eq!(get(at, "/v1/kv/new").await.shown(), (404, absent));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_reads_say_that_they_are_and_as_of_when() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    let first = version_after(2, &put(at, "/v1/kv/a", &[], b"one").await);
    let second = version_after(first, &put(at, "/v1/kv/b", &[], b"two").await);
    // The only server there is has applied all that it answered, and never less than before.
    let mut last = second;
    let mut applied = |answer: &Answer| {
        let applied = answer.header("stateraft-applied-index").expect("a header");
        let applied = applied.parse().expect("an index");
        assert!(applied >= last, "{applied} after {last}");
        last = applied;
        applied
    };
    let answer = get(at, "/v1/kv/a?consistency=stale").await;
    let index = applied(&answer);
    let item = format!(r#""key":"a","value":"one","version":{first}"#);
    let body = format!(r#"{{"applied_index":{index},{item}}}"#);
    assert_eq!(answer.shown(), (200, &body[..]));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let raw = [("accept", "application/octet-stream")];
    let answer = ask(at, "GET", "/v1/kv/a?consistency=stale", &raw, b"").await;
    assert_eq!(answer.shown(), (200, "one"));
    applied(&answer);
    let tag = format!("\"{first}\"");
    let held = [("if-none-match", &tag[..])];
    let answer = ask(at, "GET", "/v1/kv/a?consistency=stale", &held, b"").await;
    assert_eq!(answer.status, 304);
    applied(&answer);
    let answer = get(at, "/v1/kv/none?consistency=stale").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["error"]["applied_index"], applied(&answer));
    let answer = get(at, "/v1/kv?limit=1&consistency=stale").await;
    let index = applied(&answer);
    let body = format!(
        r#"{{"applied_index":{index},"items":[{{{item}}}],"next":"/v1/kv?prefix=&after=a&limit=1&consistency=stale"}}"#
    );
    assert_eq!(answer.shown(), (200, &body[..]));
    // Others say nothing of the kind.
    for path in ["/v1/kv/a", "/v1/kv/a?consistency=linearizable", "/v1/kv"] {
        let answer = get(at, path).await;
        assert_eq!(answer.header("stateraft-applied-index"), None, "{path}");
        assert!(answer.json().get("applied_index").is_none(), "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_are_bytes_and_are_listed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    let mut last = 2;
    let mut versions = Vec::new();
    for (key, value) in [
        ("a/1", &b"one"[..]),
        ("a/%ff", b"\x00\xff"),
        ("b", b"\xc3\xa4"),
    ] {
        let answer = put(at, &format!("/v1/kv/{key}"), &[], value).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        last = version_after(last, &answer);
        versions.push(last);
    }
    let [one, two, three] = versions[..] else {
        unreachable!("three keys");
    };
    let answer = get(at, "/v1/kv/a%2F%FF").await;
    let bytes = format!(
        r#"{{"key":"YS//","key_encoding":"base64","value":"AP8=","value_encoding":"base64","version":{two}}}"#
    );
    assert_eq!(answer.shown(), (200, &bytes[..]));
    let answer = get(at, "/v1/kv").await;
    let text = format!(r#"{{"key":"a/1","value":"one","version":{one}}}"#);
    let all = format!(
        r#"{{"items":[{text},{bytes},{{"key":"b","value":"ä","version":{three}}}],"next":null}}"#
    );
    assert_eq!(answer.shown(), (200, &all[..]));
    // Page by page, by the links.
    let answer = get(at, "/v1/kv?prefix=a/&limit=1").await;
    let page = format!(r#"{{"items":[{text}],"next":"/v1/kv?prefix=a%2F&after=a%2F1&limit=1"}}"#);
    assert_eq!(answer.shown(), (200, &page[..]));
    let next = answer.json()["next"].as_str().unwrap().to_owned();
    let answer = get(at, &next).await;
    let page = format!(r#"{{"items":[{bytes}],"next":null}}"#);
    assert_eq!(answer.shown(), (200, &page[..]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    let status = async |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = ask(at, method, path, headers, body).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let code = answer.json()["error"]["code"].as_str().unwrap().to_owned();
        (answer.status.as_u16(), code)
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        status("PUT", "/v1/kv/k", &[], &[b'v'; 262_145]).await,
        is(413, "value_too_large")
    );
    assert_eq!(
        status("PUT", &format!("/v1/kv/{}", "k".repeat(1025)), &[], b"").await,
        is(413, "key_too_large")
    );
    assert_eq!(
        status("PUT", "/v1/kv/", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("PUT", "/v1/kv/k?ver=1", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("PUT", "/v1/kv/k", &[("if-match", "x")], b"").await,
        is(400, "bad_request")
    );
    let both = [("if-match", "\"1\""), ("if-none-match", "*")];
    assert_eq!(
        status("PUT", "/v1/kv/k", &both, b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("POST", "/v1/kv/k", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("POST", "/v1/kv/k/increment?by=x", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("GET", "/v1/kv?limit=0", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("GET", "/v1/kv?limit=1001", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("GET", "/v1/kv/k?consistency=weak", &[], b"").await,
        is(400, "bad_request")
    );
    assert_eq!(
        status("PATCH", "/v1/kv/k", &[], b"").await,
        is(405, "wrong_method")
    );
    assert_eq!(
        status("GET", "/v2", &[], b"").await,
        is(404, "no_such_route")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_are_kept_out() {
    let server = Server::start(settings("--peer 1=127.0.0.1:9"))
        .await
        .unwrap();
    let at = server.http.unwrap();
    let status = async |headers: &[(&str, &str)]| {
        let answer = ask(at, "GET", "/version", headers, b"").await;
        answer.status.as_u16()
    };
    assert_eq!(status(&[]).await, 200);
    assert_eq!(status(&[("sec-fetch-site", "same-origin")]).await, 200);
    assert_eq!(status(&[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(status(&[("sec-fetch-site", "same-site")]).await, 403);
    assert_eq!(status(&[("host", "localhost:80")]).await, 200);
    assert_eq!(status(&[("host", "[::1]:80")]).await, 200);
    assert_eq!(status(&[("host", "rebound.example:80")]).await, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_needed_where_it_matters() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "sesame\n").unwrap();
    let line = format!("--peer 1=127.0.0.1:9 --http-token-file {}", file.display());
    let server = Server::start(settings(&line)).await.unwrap();
    let at = server.http.unwrap();
    let guarded = [
        "/v1/kv",
        "/v1/kv/k",
        "/v1/status",
        "/v1/events",
        "/v1/chaos",
        "/metrics",
    ];
    for path in guarded {
        let answer = get(at, path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    // The page, which asks for the token; nothing of the cluster.
    for path in ["/", "/ui/js/main.js", "/api/app", "/livez", "/version"] {
        assert_eq!(get(at, path).await.status, 200, "{path}");
    }
    let wrong = [("authorization", "Bearer sesamE")];
    assert_eq!(ask(at, "GET", "/metrics", &wrong, b"").await.status, 401);
    let right = [("authorization", "bearer sesame")];
    assert_eq!(ask(at, "GET", "/metrics", &right, b"").await.status, 200);
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
            r#"{"error":{"code":"outcome_unknown","message":"the outcome is unknown: no server answered in time, and the write may have been carried out, or may yet be, at most once; read the key to find out","outcome":"unknown"}}"#
        )
    );
    let answer = get(at, "/v1/kv/k").await;
    assert_eq!(
        answer.shown(),
        (
            503,
            r#"{"error":{"code":"unavailable","message":"no server answered in time: is a majority of the servers up?; nothing was done","outcome":"not_done"}}"#
        )
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // The session that was opened was a sign of life, for a while.
    within(async { while get(at, "/readyz").await.shown() != (503, "not ready\n") {} }).await;
    server.stop().await;

    // Nobody there at all: the write never left, and that is known.
    let line = "--peer 1=127.0.0.1:9 --attempt-timeout 20ms --attempts 2";
    let server = Server::start(settings(line)).await.unwrap();
    let answer = put(server.http.unwrap(), "/v1/kv/k", &[], b"v").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["outcome"]),
        (503, &"not_done".into())
    );
    server.stop().await;
}

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
    // Waits for the election, and is then done: once.
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
    // An open stream does not keep the proxy from stopping in order.
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
