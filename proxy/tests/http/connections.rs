//! Access, caching, and connections that stall.

use crate::{
    common::{ask, get, ready, settings, within},
    put, raw,
};
use proxy::server::Server;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// The number of HTTP connections, including that of this request.
async fn connections(at: SocketAddr) -> Option<usize> {
    let metrics = get(at, "/metrics").await;
    let name = r#"stateraft_proxy_connections{frontend="http"} "#;
    let mut lines = metrics.shown().1.lines();
    let count = lines.find_map(|line| line.strip_prefix(name))?;
    count.parse().ok()
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
