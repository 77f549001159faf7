use super::{
    connection_slots::{Activity, BUSY_IN_RESERVE, Slot, YOUNG},
    *,
};
use crate::body::{self, Bounds};
use axum::{
    middleware,
    response::{IntoResponse, Response},
    routing::{get, put},
};
use std::{net::SocketAddr, time::Instant};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::{Notify, Semaphore},
};

/// Larger than the buffers of two sockets.
const LARGE: usize = 64 << 20;

/// A server with three regular slots and one slot in the reserve.
struct Server {
    at: SocketAddr,
    /// Lets one request to the slow route finish.
    go: Arc<Notify>,
    /// The number of requests that have reached that route.
    reached: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Server {
    async fn reached(&self, count: u32) {
        let reached = within(self.reached.acquire_many(count)).await;
        reached.unwrap().forget();
    }
}

async fn start(timeout: Duration) -> Server {
    start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), timeout)
}

fn start_on(listener: TcpListener, timeout: Duration) -> Server {
    let at = listener.local_addr().unwrap();
    let (go, closing) = (Arc::new(Notify::new()), CancellationToken::new());
    let reached = Arc::new(Semaphore::new(0));
    let (waits, reaches) = (Arc::clone(&go), Arc::clone(&reached));
    let counts = Arc::clone(&reached);
    let count = move || async move {
        counts.add_permits(1);
        tokio::task::yield_now().await;
        "counted\n"
    };
    let slow = move || async move {
        reaches.add_permits(1);
        waits.notified().await;
        "slow\n"
    };
    let bounds = Bounds {
        bytes: 1024,
        timeout,
    };
    let bounded = move |request, next| async move {
        let buffered = body::buffer(bounds, request, next).await;
        buffered.unwrap_or_else(|error| crate::closing(reject(Rejection::Body(error))))
    };
    let router = Router::new()
        .route("/small", put(|| async { "small\n" }))
        .layer(middleware::from_fn(bounded))
        .route("/unread", put(|| async { "unread\n" }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/count", get(count))
        .route("/slow", get(slow));
    let limits = Limits {
        connections: 3,
        reserve: 1,
        timeout,
        max_body: bounds.bytes,
    };
    let serving = serve(listener, router, limits, reject, |_| {}, closing.clone());
    tokio::spawn(serving);
    Server {
        at,
        go,
        reached,
        closing,
    }
}

fn reject(rejection: Rejection) -> Response {
    match rejection {
        Rejection::Body(error) => error.status().into_response(),
        _ => "overloaded\n".into_response(),
    }
}

async fn begin(at: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A connection reset ends it as well.
    let _ = within(stream.read_to_end(&mut text)).await;
    String::from_utf8(text).unwrap()
}

async fn ask(at: SocketAddr, path: &str) -> String {
    let mut stream = begin(at, path).await;
    rest(&mut stream).await
}

#[tokio::test]
async fn health_is_answered_while_all_connections_are_busy() {
    let server = start(Duration::from_secs(60)).await;
    let at = server.at;
    let mut busy = Vec::new();
    while busy.len() < 3 {
        busy.push(begin(at, "/slow").await);
        server.reached(1).await;
    }
    let refused = ask(at, "/slow").await;
    assert!(refused.ends_with("overloaded\n"), "{refused}");
    assert!(refused.contains("cache-control: no-store"), "{refused}");
    // Silent connections occupy the reserve, and are evicted again.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(at).await.unwrap());
        assert!(ask(at, "/livez").await.ends_with("ok\n"));
    }
    for mut stream in silent {
        assert_eq!(rest(&mut stream).await, "");
    }
    for mut stream in busy {
        server.go.notify_one();
        assert!(rest(&mut stream).await.ends_with("slow\n"));
    }
}

#[tokio::test]
async fn idle_connections_make_room_the_oldest_first() {
    let server = start(Duration::from_secs(60)).await;
    let at = server.at;
    let mut silent = Vec::new();
    while silent.len() < 3 {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    tokio::time::sleep(2 * YOUNG).await;
    for oldest in 0..3 {
        silent.push(TcpStream::connect(at).await.unwrap());
        assert_eq!(rest(&mut silent[oldest]).await, "");
    }
    // The three remaining connections are young, so a request waits until the first is old enough.
    let mut busy = begin(at, "/slow").await;
    server.reached(1).await;
    assert_eq!(rest(&mut silent[3]).await, "");
    assert!(ask(at, "/livez").await.ends_with("ok\n"));
    server.go.notify_one();
    assert!(rest(&mut busy).await.ends_with("slow\n"));
}

/// The number of clients is below the backlog of a new listener. All have sent their requests
/// before the first accept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_come_at_once_are_all_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for path in ["/livez", "/count", "/unread"].iter().cycle().take(100) {
        clients.push((path, begin(at, path).await));
    }
    let _server = start_on(listener, Duration::from_secs(60));
    for (path, mut client) in clients {
        let mut answer = String::new();
        let read = within(client.read_to_string(&mut answer)).await;
        let is_answered = match *path {
            "/livez" => answer.ends_with("ok\n"),
            _ => answer.starts_with("HTTP/1.1 "),
        };
        assert!(is_answered, "{path}: {read:?} {answer}");
    }
}

#[tokio::test]
async fn newcomers_leave_connections_time_for_a_request() {
    let at = start(Duration::from_secs(60)).await.at;
    loop {
        let begun = Instant::now();
        let mut clients = Vec::new();
        while clients.len() < 3 {
            clients.push(TcpStream::connect(at).await.unwrap());
        }
        assert!(ask(at, "/livez").await.ends_with("ok\n"));
        for client in &mut clients {
            let request = b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let _ = client.write_all(request).await;
        }
        // Otherwise the machine was too slow for this attempt.
        if begun.elapsed() < YOUNG {
            for client in &mut clients {
                assert!(rest(client).await.ends_with("counted\n"));
            }
            break;
        }
    }
}

#[tokio::test]
async fn silent_connections_only_delay_a_health_check() {
    let server = start(Duration::from_secs(60)).await;
    let at = server.at;
    let mut busy = Vec::new();
    while busy.len() < 3 {
        busy.push(begin(at, "/slow").await);
        server.reached(1).await;
    }
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    assert!(ask(at, "/livez").await.ends_with("ok\n"));
}

#[test]
fn connection_is_evictable_after_its_time_for_a_request() {
    let long = Duration::from_secs(60);
    for (is_reserved, silent, busy, idle) in [
        (false, Some(YOUNG), None, Some(Duration::ZERO)),
        (true, Some(YOUNG), Some(BUSY_IN_RESERVE), Some(YOUNG)),
    ] {
        let slot = Arc::new(Slot::new(is_reserved, Arc::default()));
        let now = slot.accepted;
        let evictable = |state| slot.evictable_at(state, YOUNG).map(|at| at - now);
        assert_eq!(evictable(Activity::IdleSince(now)), silent);
        assert!(!slot.evict(now, YOUNG));
        drop(Busy::begin(&slot));
        assert_eq!(evictable(Activity::Busy(0)), busy);
        assert_eq!(evictable(Activity::Sending), busy);
        assert_eq!(evictable(Activity::IdleSince(now)), idle);
        slot.flushed();
        assert!(slot.evict(now + long, YOUNG) && !slot.evict(now + long, YOUNG));
    }
}

/// Requests the large response and reads none of it. When this returns, the whole response is in
/// the server's memory, and the server has begun to send it.
async fn begin_large(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(within(stream.peek(&mut [0])).await.unwrap(), 1);
    stream
}

/// Reads the large response.
async fn read_large(stream: &mut TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let read = async {
        while stream.read_line(&mut String::new()).await? > "\r\n".len() {}
        stream.read_exact(&mut vec![0; LARGE]).await
    };
    within(read).await.map(|_| ())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(60), future).await;
    result.expect("not within a minute")
}

/// Whether all connections are busy for a new client.
async fn is_refused(at: SocketAddr) -> bool {
    ask(at, "/").await.ends_with("overloaded\n")
}

/// Waits until a new client gets a slot. A client that is rejected, or whose connection is closed
/// without a response, has no slot.
async fn served(at: SocketAddr) {
    within(async { while !ask(at, "/").await.starts_with("HTTP/1.1 404 ") {} }).await;
}

#[test]
fn slot_is_busy_until_its_last_response_was_flushed() {
    let slot = Arc::new(Slot::new(false, Arc::default()));
    let first = Busy::begin(&slot);
    let second = Busy::begin(&slot);
    drop(first);
    slot.flushed();
    assert!(slot.is_busy());
    drop(second);
    assert!(slot.is_busy());
    slot.flushed();
    assert!(!slot.is_busy());
}

#[test]
fn evicted_connection_begins_no_request() {
    let slot = Arc::new(Slot::new(false, Arc::default()));
    let later = slot.accepted + Duration::from_secs(60);
    let busy = Busy::begin(&slot).unwrap();
    assert!(!slot.evict(later, YOUNG));
    drop(busy);
    assert!(!slot.evict(later, YOUNG));
    slot.flushed();
    assert!(slot.evict(later, YOUNG));
    assert!(Busy::begin(&slot).is_none());
    slot.flushed();
    assert!(!slot.evict(later, YOUNG) && slot.evicted.is_cancelled());
}

/// Many clients connect concurrently. Some are rejected or closed, and their requests are not
/// executed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn executed_request_is_answered() {
    let server = start(Duration::from_secs(60)).await;
    let at = server.at;
    let mut answered = 0;
    for _ in 0..20 {
        let clients = (0..40).map(|_| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(at).await?;
                let request = b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                stream.write_all(request).await?;
                let mut text = Vec::new();
                stream.read_to_end(&mut text).await?;
                io::Result::Ok(text.ends_with(b"counted\n"))
            })
        });
        for client in clients.collect::<Vec<_>>() {
            answered += usize::from(client.await.unwrap().unwrap_or(false));
        }
    }
    assert!(answered > 0);
    assert_eq!(server.reached.available_permits(), answered);
}

#[tokio::test]
async fn readers_that_never_read_lose_their_slots() {
    let at = start(Duration::from_millis(100)).await.at;
    let mut readers = Vec::new();
    while readers.len() < 3 {
        readers.push(begin_large(at).await);
    }
    served(at).await;
}

#[tokio::test]
async fn connection_is_busy_until_its_response_was_written() {
    let at = start(Duration::from_secs(60)).await.at;
    let mut readers = Vec::new();
    while readers.len() < 3 {
        readers.push(begin_large(at).await);
    }
    assert!(is_refused(at).await);
    for stream in &mut readers {
        read_large(stream).await.unwrap();
    }
    // The connections are idle now and can be evicted. The first has the longest idle time.
    served(at).await;
    assert_eq!(rest(&mut readers[0]).await, "");
}

#[tokio::test]
async fn silent_and_half_sent_requests_end() {
    let at = start(Duration::from_millis(100)).await.at;
    let mut silent = TcpStream::connect(at).await.unwrap();
    let mut half = TcpStream::connect(at).await.unwrap();
    half.write_all(b"GET /livez HT").await.unwrap();
    assert!(rest(&mut silent).await.is_empty());
    let _ = rest(&mut half).await;
    // The timeout also applies between two requests.
    let mut idle = TcpStream::connect(at).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    idle.write_all(request).await.unwrap();
    assert!(rest(&mut idle).await.ends_with("ok\n"));
}

#[tokio::test]
async fn reader_that_never_reads_is_given_up() {
    let at = start(Duration::from_millis(100)).await.at;
    let mut stream = begin(at, "/large").await;
    // Reads only after the server has given up: only the data in the socket buffers is left.
    let given_up = async {
        let mut last = 0;
        loop {
            let unread = unread(&stream).await;
            if unread > 0 && unread == last && is_closed(&stream).await {
                break;
            }
            last = unread;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(given_up).await;
    let got = rest(&mut stream).await.len();
    assert!(got < LARGE, "{got}");
}

async fn unread(stream: &TcpStream) -> usize {
    let mut buffer = vec![0; 1 << 20];
    stream.peek(&mut buffer).await.unwrap_or(1)
}

/// Whether the peer has closed the connection: a write fails then.
async fn is_closed(stream: &TcpStream) -> bool {
    stream.try_write(b"x").is_err()
}

#[tokio::test]
async fn half_closed_client_gets_its_response() {
    let server = start(Duration::from_secs(60)).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    server.reached(1).await;
    let end_received = async {
        while !has_peer_received_end(&stream) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(end_received).await;
    // The response to a later client proves that the server has handled the end of the stream.
    served(server.at).await;
    server.go.notify_one();
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("slow\n"), "{answer}");
}

/// Whether the peer's kernel has acknowledged the FIN of this stream (state FIN-WAIT-2), so that a
/// read of the peer returns the end of the stream.
fn has_peer_received_end(stream: &TcpStream) -> bool {
    const FIN_WAIT_2: &str = "05";
    let port = |at: io::Result<SocketAddr>| format!(":{:04X}", at.unwrap().port());
    let (local, peer) = (port(stream.local_addr()), port(stream.peer_addr()));
    let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    sockets.lines().any(|line| {
        // The columns are: number, local address, remote address, state.
        let columns: Vec<_> = line.split_whitespace().take(4).collect();
        let [_, from, to, state] = columns[..] else {
            return false;
        };
        from.ends_with(&local) && to.ends_with(&peer) && state == FIN_WAIT_2
    })
}

#[tokio::test]
async fn client_that_is_gone_loses_its_slot() {
    let server = start(Duration::from_secs(60)).await;
    let mut gone = Vec::new();
    while gone.len() < 3 {
        gone.push(begin(server.at, "/slow").await);
        server.reached(1).await;
    }
    assert!(is_refused(server.at).await);
    drop(gone);
    served(server.at).await;
}

/// Sends a request with its whole body before it reads the response.
async fn upload(at: SocketAddr, head: &str, body: usize) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // In parts: a server that closes early does not wait for the rest.
    for _ in 0..body / 1024 {
        within(stream.write_all(&[b'x'; 1024])).await.unwrap();
    }
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_reaches_a_client_that_sends_the_whole_body() {
    let server = start(Duration::from_secs(10)).await;
    let at = server.at;
    let size = 4 << 20;
    let head = |path: &str, lines: &str| format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let length = format!("Content-Length: {size}\r\n");
    for (path, lines, status) in [
        ("/small", &length[..], 413),
        ("/unread", &length, 200),
        ("/small", "Transfer-Encoding: gzip, chunked\r\n", 501),
        // Hyper rejects this request itself.
        ("/small", "Content-Length: x\r\n", 400),
    ] {
        let answer = upload(at, &head(path, lines), size).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{path} {lines}: {answer}");
    }
    let mut busy = Vec::new();
    while busy.len() < 3 {
        busy.push(begin(at, "/slow").await);
        server.reached(1).await;
    }
    let answer = upload(at, &head("/unread", &length), size).await;
    assert!(answer.ends_with("overloaded\n"), "{answer}");
}

#[tokio::test]
async fn client_that_expects_100_is_refused_at_once() {
    let at = start(Duration::from_secs(60)).await.at;
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = b"PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 4096\r\n\
        Expect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn body_that_never_ends_is_cut_off() {
    let at = start(Duration::from_secs(60)).await.at;
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = "PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    within(async { while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {} }).await;
}

#[tokio::test]
async fn body_of_unknown_length_is_refused() {
    let at = start(Duration::from_secs(60)).await.at;
    for (request, status) in [
        ("PUT /count HTTP/1.0\r\n\r\nvalue", 411),
        ("POST /count HTTP/1.0\r\n\r\n", 411),
        ("PUT /count HTTP/1.0\r\nContent-Length: 0\r\n\r\n", 405),
        ("GET /count HTTP/1.0\r\n\r\n", 200),
        (
            "PUT /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            405,
        ),
    ] {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        let expected = format!(" {status} ");
        assert_eq!(
            answer.get(8..13),
            Some(&expected[..]),
            "{request}: {answer}"
        );
    }
}

#[tokio::test]
async fn stopping_answers_requests_and_closes_the_rest() {
    let server = start(Duration::from_secs(60)).await;
    let mut silent = TcpStream::connect(server.at).await.unwrap();
    let mut busy = begin(server.at, "/slow").await;
    server.reached(1).await;
    server.closing.cancel();
    assert_eq!(rest(&mut silent).await, "");
    server.go.notify_one();
    assert!(rest(&mut busy).await.ends_with("slow\n"));
}

#[tokio::test]
async fn stopping_sends_the_rest_of_a_response() {
    let server = start(Duration::from_secs(60)).await;
    let mut half = TcpStream::connect(server.at).await.unwrap();
    half.write_all(b"GET /livez HT").await.unwrap();
    let mut reader = begin_large(server.at).await;
    server.closing.cancel();
    assert_eq!(rest(&mut half).await, "");
    read_large(&mut reader).await.unwrap();
}
