//! Keys as resources.

use crate::{
    common::{Answer, ask, get, ready},
    put,
};

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
            r#"{"error":{"code":"not_a_number","message":"nothing was done: the value is not a 64-bit integer","outcome":"not_done"}}"#
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
