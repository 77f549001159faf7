//! The HTTP frontend over real sockets, with real servers behind it. The tests pin the JSON, because
//! external programs parse it.

mod common;
#[path = "common/silent.rs"]
mod silent;

use common::{Answer, ask, get, ready, settings, within};
use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::TokioIo;
use model::{
    NodeId,
    message::{RequestBody, ResponseBody},
    store::{Answer as Applied, Found},
};
use proxy::server::Server;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn put(at: SocketAddr, path: &str, headers: &[(&str, &str)], value: &[u8]) -> Answer {
    ask(at, "PUT", path, headers, value).await
}

/// The version that a write returned: a log index after that of the previous write. The exact index is
/// not guaranteed: a retransmitted request, for example due to a slow disk, adds an entry.
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

    // The raw value, or no body if the client has the current version.
    let raw = [("accept", "application/octet-stream")];
    let answer = ask(at, "GET", "/v1/kv/greeting", &raw, b"").await;
    assert_eq!(answer.shown(), (200, "hello"));
    let known = [("if-none-match", &tag[..])];
    let answer = ask(at, "GET", "/v1/kv/greeting", &known, b"").await;
    assert_eq!(answer.shown(), (304, ""));

    // Conditional requests.
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

    // Increments.
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

    // Deletions.
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
    // The only server has applied every write that it acknowledged, and the index never decreases.
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
    // Other responses lack this header.
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
    // Follows the links from page to page.
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
async fn pages_are_bounded_as_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    // In JSON, each byte of the values takes six bytes. One of the items alone exceeds a page.
    let sizes = [80_000, 80_000, 80_000, 250_000, 1, 80_000];
    for (key, size) in sizes.iter().enumerate() {
        let answer = put(at, &format!("/v1/kv/{key}"), &[], &vec![1; *size]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for stale in ["", "&consistency=stale"] {
        let mut next = format!("/v1/kv?limit=1000{stale}");
        let mut pages = Vec::new();
        loop {
            let answer = get(at, &next).await;
            let page = answer.json();
            let items = page["items"].as_array().unwrap();
            let keys: Vec<_> = items
                .iter()
                .map(|item| item["key"].as_str().unwrap())
                .collect();
            assert!(answer.body.len() < 1_100_000 || keys.len() == 1, "{keys:?}");
            pages.push(keys.concat());
            match page["next"].as_str() {
                Some(link) => next = link.to_owned(),
                None => break,
            }
        }
        assert_eq!(pages, ["01", "2", "3", "45"], "{stale}");
    }
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
    let date = "Sat, 29 Oct 1994 19:43:31 GMT";
    for header in ["if-unmodified-since", "if-modified-since"] {
        for (method, path) in [
            ("PUT", "/v1/kv/k"),
            ("DELETE", "/v1/kv/k"),
            ("POST", "/v1/kv/k/increment"),
        ] {
            let found = status(method, path, &[(header, date)], b"").await;
            assert_eq!(found, is(400, "bad_request"), "{method} {header}");
        }
        let found = status("GET", "/v1/kv/k", &[(header, date)], b"").await;
        assert_ne!(found, is(400, "bad_request"), "{header}");
    }
    assert_eq!(
        status("GET", "/v1/status?verbos", &[], b"").await,
        is(400, "bad_request")
    );
    // Both must hold, which is impossible.
    let both = [("if-match", "\"1\""), ("if-none-match", "*")];
    assert_eq!(
        status("PUT", "/v1/kv/k", &both, b"").await,
        is(412, "condition_failed")
    );
    for (header, value) in [
        ("if-match", "12"),
        ("if-match", ""),
        ("if-match", "\"1\" \"2\""),
        ("if-none-match", "W/1"),
        ("if-none-match", "*, \"1\""),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let found = status(method, "/v1/kv/k", &[(header, value)], b"").await;
            assert_eq!(found, is(400, "bad_request"), "{method} {header}: {value}");
        }
    }
    for (header, value, found) in [
        ("content-range", "bytes 0-1/3", is(400, "bad_request")),
        ("content-encoding", "gzip", is(415, "unsupported_encoding")),
    ] {
        assert_eq!(
            status("PUT", "/v1/kv/k", &[(header, value)], b"").await,
            found
        );
    }
    for path in [
        "/v1/kv/%",
        "/v1/kv/%f",
        "/v1/kv/%zz",
        "/v1/key/%zz",
        "/v1/key/*",
        "/v1/key/A",
    ] {
        assert_eq!(
            status("PUT", path, &[], b"").await,
            is(400, "bad_request"),
            "{path}"
        );
    }
    assert_eq!(
        status("POST", "/v1/kv/k/increment", &[("if-match", "*")], b"").await,
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

    // The same on an address that other machines can reach, where names can be allowed.
    let line = "--peer 1=127.0.0.1:9 --insecure --http 0.0.0.0:0 --http-allow-host raft.example";
    let server = Server::start(settings(line)).await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], server.http.unwrap().port()));
    let status = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = ask(at, method, path, headers, b"").await;
        answer.status.as_u16()
    };
    let rebound = [("host", "evil.example"), ("sec-fetch-site", "same-origin")];
    for (method, path) in [
        ("GET", "/v1/kv"),
        ("PUT", "/v1/kv/k"),
        ("GET", "/"),
        ("GET", "/livez"),
    ] {
        assert_eq!(status(method, path, &rebound).await, 403, "{path}");
    }
    assert_eq!(
        status("GET", "/version", &[("host", "raft.example:80")]).await,
        200
    );
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(status("POST", "/v1/kv/n/increment", &foreign).await, 403);
    let own = format!("http://{at}");
    assert_eq!(
        status("OPTIONS", "/v1/kv/n", &[("origin", &own)]).await,
        204
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cached() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    for (method, path, headers, status) in [
        ("PUT", "/v1/kv/k", &[][..], 200),
        ("GET", "/v1/kv/k", &[], 200),
        ("HEAD", "/v1/kv/k", &[], 200),
        ("GET", "/v1/kv/k", &[("if-none-match", "*")], 304),
        ("GET", "/v1/kv", &[], 200),
        ("GET", "/v1/kv/none", &[], 404),
        ("GET", "/v1/kv?limit=0", &[], 400),
        ("PUT", "/v1/kv/k", &[("if-match", "\"1\"")], 412),
        ("PATCH", "/v1/kv/k", &[], 405),
        ("GET", "/v1/nothing", &[], 404),
        ("GET", "/v1/kv/k", &[("origin", "null")], 403),
        ("GET", "/livez", &[], 200),
        ("GET", "/readyz", &[], 200),
        ("GET", "/version", &[], 200),
        ("GET", "/metrics", &[], 200),
    ] {
        let answer = ask(at, method, path, headers, b"").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(
            answer.header("cache-control"),
            Some("no-store"),
            "{method} {path}"
        );
    }
    let answer = ask(at, "PATCH", "/v1/kv/k", &[], b"").await;
    let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "POST", "PUT"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_has_a_name_that_is_never_normalized() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let keys = [
        &b"."[..],
        b"..",
        b"a/../b",
        b"//",
        b"\xff",
        b"a/increment",
        b" ",
        b"%2e",
        &all,
    ];
    for key in keys {
        let path = format!("/v1/key/{}", URL_SAFE_NO_PAD.encode(key));
        assert!(
            path.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/-_".contains(&byte))
        );
        assert_eq!(put(at, &path, &[], key).await.status, 200, "{path}");
        let raw = [("accept", "application/octet-stream")];
        let answer = ask(at, "GET", &path, &raw, b"").await;
        assert_eq!(answer.body, key, "{path}");
        // The same key in percent-encoding, as far as a client leaves the path unchanged.
        let escaped: String = key.iter().map(|byte| format!("%{byte:02x}")).collect();
        let other = ask(at, "GET", &format!("/v1/kv/{escaped}"), &raw, b"").await;
        assert_eq!(other.body, key, "{path}");
    }
    let number = format!("/v1/key/{}/increment", URL_SAFE_NO_PAD.encode("n"));
    assert_eq!(ask(at, "POST", &number, &[], b"").await.json()["value"], 1);
    for padded in ["/v1/key/Lg==", "/v1/key/Lg%3D%3D", "/v1/key/Lg"] {
        assert_eq!(get(at, padded).await.json()["value"], ".", "{padded}");
    }
    let answer = ask(at, "DELETE", "/v1/key/Li4", &[], b"").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["key"]),
        (200, &"..".into())
    );
    assert_eq!(put(at, "/v1/key/", &[], b"").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_follow_rfc_9110() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    let version = version_after(2, &put(at, "/v1/kv/k", &[], b"v").await);
    let status = async |method: &str, key: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/kv/{key}");
        ask(at, method, &path, headers, b"w").await.status.as_u16()
    };
    let (weak, list) = (
        format!("W/\"{version}\""),
        format!("\"999\", W/\"{version}\""),
    );
    for tag in [&weak, &list, &format!(",\"{version}\",")] {
        let answer = ask(at, "GET", "/v1/kv/k", &[("if-none-match", tag)], b"").await;
        assert_eq!(answer.shown(), (304, ""), "{tag}");
        assert_eq!(answer.header("etag"), Some(&format!("\"{version}\"")[..]));
        assert!(answer.header("vary").is_some());
        assert_eq!(status("GET", "none", &[("if-none-match", tag)]).await, 404);
        // The value still has that version, so the write was not executed.
        assert_eq!(
            status("PUT", "k", &[("if-none-match", tag)]).await,
            412,
            "{tag}"
        );
        assert_eq!(status("DELETE", "k", &[("if-none-match", tag)]).await, 412);
    }
    // If-Match compares strongly, so a weak tag never matches.
    assert_eq!(status("GET", "k", &[("if-match", &weak)]).await, 412);
    assert_eq!(status("PUT", "k", &[("if-match", &weak)]).await, 412);
    assert_eq!(status("PUT", "k", &[("if-match", "\"abc\"")]).await, 412);
    let leading = format!("\"0{version}\"");
    assert_eq!(status("PUT", "k", &[("if-match", &leading)]).await, 412);
    assert_eq!(
        status("GET", "k", &[("if-none-match", &leading)]).await,
        200
    );
    let strong = format!("\"999\", \"{version}\"");
    assert_eq!(status("GET", "k", &[("if-match", &strong)]).await, 200);
    assert_eq!(status("PUT", "none", &[("if-match", &strong)]).await, 412);
    assert_eq!(status("PUT", "k", &[("if-match", &strong)]).await, 200);
    // The version has changed, so the same list does not match, and the negated condition holds.
    assert_eq!(status("PUT", "k", &[("if-match", &strong)]).await, 412);
    assert_eq!(status("PUT", "k", &[("if-none-match", &list)]).await, 200);
    assert_eq!(status("PUT", "new", &[("if-none-match", &list)]).await, 200);
    assert_eq!(
        status("DELETE", "new", &[("if-none-match", "*")]).await,
        412
    );
    assert_eq!(
        status("DELETE", "none", &[("if-none-match", "*")]).await,
        404
    );
    assert_eq!(
        status("DELETE", "new", &[("if-none-match", "\"1\"")]).await,
        200
    );
    assert_eq!(status("GET", "new", &[]).await, 404);

    // The server does not send types that a client excludes.
    let kind = async |accept: &str| {
        let answer = ask(at, "GET", "/v1/kv/k", &[("accept", accept)], b"").await;
        let kind = answer.header("content-type").unwrap().to_owned();
        (answer.status.as_u16(), kind)
    };
    let is = |status: u16, kind: &str| (status, kind.to_owned());
    let (raw, json) = ("application/octet-stream", "application/json");
    assert_eq!(kind("*/*").await, is(200, json));
    assert_eq!(
        kind("application/octet-stream;q=0, */*").await,
        is(200, json)
    );
    assert_eq!(
        kind("application/json;q=0.1, application/octet-stream").await,
        is(200, raw)
    );
    assert_eq!(kind("application/json;q=0, */*").await, is(200, raw));
    assert_eq!(
        kind("application/json, application/octet-stream;q=0.9").await,
        is(200, json)
    );
    assert_eq!(kind("*/*;q=0").await, is(406, json));
    assert_eq!(
        status("GET", "k", &[("accept-encoding", "identity;q=0")]).await,
        406
    );
    assert_eq!(
        status("GET", "k", &[("accept-encoding", "gzip;q=0")]).await,
        200
    );
    // A listing has one representation.
    for (accept, expected) in [
        ("application/json;q=0", 406),
        ("application/json", 200),
        ("*/*", 200),
    ] {
        let listing = ask(at, "GET", "/v1/kv", &[("accept", accept)], b"").await;
        assert_eq!(listing.status, expected, "{accept}");
    }
    server.stop().await;
}

/// The number of HTTP connections, including that of this request.
async fn connections(at: SocketAddr) -> Option<usize> {
    let metrics = get(at, "/metrics").await;
    let name = r#"stateraft_proxy_connections{frontend="http"} "#;
    let mut lines = metrics.shown().1.lines();
    let count = lines.find_map(|line| line.strip_prefix(name))?;
    count.parse().ok()
}

/// Sends these bytes and returns all output until the proxy closes the connection.
async fn raw(at: SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_are_given_up_and_health_is_always_answered() {
    let dir = tempfile::tempdir().unwrap();
    let line = "--embedded 1 --chaos --max-connections 8 --client-timeout 500ms";
    let server = ready(dir.path(), line).await;
    let at = server.http.unwrap();
    // Bodies that never arrive, on every route with a body, and on routes without one.
    for (method, path, status) in [
        ("PUT", "/v1/kv/k", "408"),
        ("POST", "/v1/chaos", "408"),
        ("DELETE", "/v1/kv/k", "408"),
        ("POST", "/v1/kv/k/increment", "408"),
        ("GET", "/v1/kv", "200"),
        ("GET", "/livez", "200"),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx");
        let answer = raw(at, &head).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
        // The following bytes on the connection are not another request.
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let long = "PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n";
    assert!(raw(at, long).await.starts_with("HTTP/1.1 413 "));

    // Two lengths, as in request smuggling, or two hosts: the server ignores everything after such a
    // request.
    for (lines, status) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 200),
        ("Transfer-Encoding: chunked\r\n", 200),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", 400),
        ("Host: localhost\r\nContent-Length: 5\r\n", 400),
    ] {
        let smuggled = format!(
            "PUT /v1/kv/first HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n0\r\n\r\n\
             PUT /v1/kv/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = raw(at, &smuggled).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{lines}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    assert_eq!(get(at, "/v1/kv/smuggled").await.status, 404);
    // An HTTP/1.0 client needs no Host header.
    assert!(
        raw(at, "GET /livez HTTP/1.0\r\n\r\n")
            .await
            .contains(" 200 ")
    );

    // Readers that never read, twice as many as there are connections. The responses exceed the socket
    // buffers: in JSON, each byte takes six.
    for key in 0..8 {
        let path = format!("/v1/kv/large{key}");
        assert_eq!(put(at, &path, &[], &[1; 250_000]).await.status, 200);
    }
    let mut stalled = Vec::new();
    for path in ["/v1/kv", "/v1/events"].repeat(8) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(16);
        stream.write_all(request.as_bytes()).await.unwrap();
        stalled.push(stream);
        assert_eq!(get(at, "/livez").await.shown(), (200, "ok\n"));
    }
    // The readers lose their connections, except for event streams, and other clients are served
    // again. What remains is four event streams and the connection of this request.
    within(async { while connections(at).await.is_none_or(|open| open > 5) {} }).await;
    assert_eq!(put(at, "/v1/kv/after", &[], b"").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closed_clients_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    for request in [
        "PUT /v1/kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
        "GET /v1/kv/k HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{request}: {answer}");
    }
    // An event stream continues, and ends after the client has disconnected.
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut read = 0;
    let begun = std::time::Instant::now();
    while read < 1000 || begun.elapsed() < std::time::Duration::from_secs(3) {
        let count = within(stream.read(&mut [0; 1 << 16])).await.unwrap();
        assert!(count > 0);
        read += count;
    }
    assert_eq!(connections(at).await, Some(2));
    drop(stream);
    within(async { while connections(at).await != Some(1) {} }).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_keep_nobody_out() {
    let server = Server::start(settings("--peer 1=127.0.0.1:9 --max-connections 4"))
        .await
        .unwrap();
    let at = server.http.unwrap();
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(tokio::net::TcpStream::connect(at).await.unwrap());
        assert_eq!(get(at, "/version").await.status, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_leave_connections_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1 --max-connections 4").await;
    let at = server.http.unwrap();
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut first = [0; 15];
        within(stream.read_exact(&mut first)).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        open.push(stream);
    }
    let answer = get(at, "/v1/events").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["error"]["code"], "too_many_watchers");
    assert_eq!(get(at, "/v1/status").await.status, 200);
    drop(open);
    within(async {
        loop {
            let answer = raw(at, "GET /v1/events HTTP/1.0\r\n\r\n");
            let answer = tokio::time::timeout(std::time::Duration::from_millis(200), answer).await;
            // An open stream does not end.
            if answer.is_err() {
                break;
            }
        }
    })
    .await;
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
    // The page, which requests the token; it reveals nothing about the cluster.
    for path in ["/", "/ui/js/main.js", "/api/app", "/livez", "/version"] {
        assert_eq!(get(at, path).await.status, 200, "{path}");
    }
    let wrong = [("authorization", "Bearer sesamE")];
    assert_eq!(ask(at, "GET", "/metrics", &wrong, b"").await.status, 401);
    let right = [("authorization", "bearer sesame")];
    assert_eq!(ask(at, "GET", "/metrics", &right, b"").await.status, 200);
    server.stop().await;
}

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
            r#"{"error":{"code":"outcome_unknown","message":"the outcome is unknown: no leader confirmed the write in time, and it may have been carried out, or may yet be, at most once; read the key to find out","outcome":"unknown"}}"#
        )
    );
    let answer = get(at, "/v1/kv/k").await;
    assert_eq!(
        answer.shown(),
        (
            503,
            r#"{"error":{"code":"unavailable","message":"no leader answered in time: is a majority of the servers up?; nothing was done","outcome":"not_done"}}"#
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
