//! Connections that stall, and the limits on their number.

use crate::world;
use checker::{
    engine::Limits,
    explore::{Explore, Home},
};
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The timeout of any operation.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a socket.
struct Served {
    address: SocketAddr,
    closing: CancellationToken,
    runtime: Runtime,
    serving: Option<JoinHandle<()>>,
}

impl Served {
    fn start(connections: usize, client_timeout: Duration) -> Self {
        let limits = Limits {
            threads: 1,
            max_states: None,
            max_memory: None,
            symmetry: true,
        };
        let explore =
            Explore::new(Home::Explore, [], limits).with_connections(connections, client_timeout);
        let runtime = Runtime::new().expect("threads");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener");
        let closing = CancellationToken::new();
        let until = closing.clone();
        let serving = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            explore.serve(listener, until).await;
        });
        Self {
            address,
            closing,
            runtime,
            serving: Some(serving),
        }
    }

    /// Sends the beginning of a request, with fewer bytes of the body than announced.
    fn begin(&self, method: &str, path: &str, length: usize, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time to wait");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("a request");
        stream
    }

    /// The status of the response to a complete request.
    fn status(&self, method: &str, path: &str, body: &str) -> u16 {
        status_of(self.begin(method, path, body.len(), body)).0
    }

    /// Waits until the response to a request has this status.
    fn await_status(&self, path: &str, status: u16) {
        until(path, || {
            (self.status("GET", path, "") == status).then_some(())
        });
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // The polling interval.
        thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ends running searches.
        self.closing.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = self.runtime.block_on(serving);
        }
    }
}

/// The status of a response, and the stream after its first line.
fn status_of(stream: TcpStream) -> (u16, BufReader<TcpStream>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).expect("a response");
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no status: {line:?}")),
        stream,
    )
}

#[test]
fn clients_that_stall_are_given_up() {
    let server = Served::start(8, Duration::from_millis(500));
    let posts = ["/api/walk", "/api/jobs", "/api/export", "/api/traces"];
    let mut slow: Vec<_> = posts.map(|path| ("POST", path)).to_vec();
    slow.push(("DELETE", "/api/jobs/1"));
    for (method, path) in slow {
        let (status, mut rest) = status_of(server.begin(method, path, 9, "x"));
        assert_eq!(status, 408, "{path}");
        // The rest of the connection is not parsed as another request.
        let mut text = String::new();
        rest.read_to_string(&mut text).expect("the end");
        assert!(text.contains("\"error\""), "{text}");
        let (status, _) = status_of(server.begin(method, path, 999_999_999, ""));
        assert_eq!(status, 413, "{path}");
    }
    // Neither silent connections nor incomplete requests block other clients.
    let silent = [(); 20].map(|()| TcpStream::connect(server.address).expect("it listens"));
    assert_eq!(server.status("GET", "/api/app", ""), 200);
    let stalled = [(); 20].map(|()| server.begin("POST", "/api/walk", 9, "x"));
    server.await_status("/api/app", 200);
    drop((silent, stalled));
}

#[test]
fn uploads_of_traces_are_bounded_in_number() {
    let server = Served::start(8, PATIENCE);
    let mut begun: Vec<_> = (0..5)
        .map(|_| server.begin("POST", "/api/traces", 9, "x"))
        .collect();
    let has_response = |stream: &TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        let has_response = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).expect("a socket");
        has_response
    };
    let refused = until("a response", || begun.iter().position(has_response));
    assert_eq!(status_of(begun.swap_remove(refused)).0, 503);
    assert_eq!(server.status("GET", "/api/app", ""), 200);
    for mut stream in begun {
        assert!(!has_response(&stream));
        stream.write_all(b"12345678").expect("the rest");
        // The body is not JSON.
        assert_eq!(status_of(stream).0, 400);
    }
}

#[test]
fn event_streams_leave_connections_to_others() {
    let server = Served::start(8, PATIENCE);
    let large = world("crashes", json!({"terms": 4, "entries": 4}));
    let mut job = large.clone();
    job["kind"] = json!("check");
    assert_eq!(server.status("POST", "/api/jobs", &job.to_string()), 202);
    let open: Vec<_> = (0..4)
        .map(|_| {
            let stream = server.begin("GET", "/api/jobs/1/events", 0, "");
            let (status, stream) = status_of(stream);
            assert_eq!(status, 200);
            stream
        })
        .collect();
    assert_eq!(server.status("GET", "/api/jobs/1/events", ""), 503);
    assert_eq!(server.status("GET", "/api/app", ""), 200);
    drop(open);
    // Their permits are available again.
    server.await_status("/api/jobs/1/events", 200);
}
