//! Accepts connections and serves HTTP/1.1 on them, with bounds on their number and their time.
//!
//! # Number
//! The server keeps up to [`Limits::connections`] connections. A further connection evicts the
//! connection with the longest idle time, so idle and silent clients cannot lock out other clients,
//! regardless of their number. An evicted connection executes no further request. A connection is busy
//! from the head of a request until the last byte of the response was written to the socket.
//!
//! A connection without a request is not evicted in its first 250 ms, because the request may be in
//! flight. If no connection can be evicted, the new connection gets one of [`Limits::reserve`]
//! additional places. Health checks are served there. If all regular connections are busy, the server
//! rejects any other request with 503. Otherwise the request waits up to 250 ms for a regular
//! connection to end or to become idle.
//!
//! If the reserve is full too, new connections wait in the backlog of the listener. After 250 ms of
//! this state, their requests had time to arrive during the wait, so a connection is evicted after
//! 25 ms without a request. A busy connection in the reserve is evicted after 500 ms. So a health check
//! always gets a response, and silent connections only delay it: at least `reserve` of them pass every
//! 25 ms.
//!
//! # Time
//! A client has [`Limits::timeout`] to send the head of a request, beginning with the accept or the
//! last response, and to receive each 32 KiB of a response. [`crate::body`] bounds the time for a
//! body.
//!
//! # Closing
//! The server may reject a request before it has read the body. After the response it closes its
//! sending side, and discards further input for at most [`Limits::timeout`] and 8 MiB. Such a
//! connection is idle.
//!
//! # Framing
//! A request with `Transfer-Encoding` is the last request of its connection. It may have had a
//! `Content-Length` too, which hyper removes and an upstream proxy may have used (request smuggling,
//! RFC 9112 §6.3).
//!
//! For the client, the body of an HTTP/1.0 request without `Content-Length` ends with the connection,
//! but hyper treats it as empty. The server rejects such a PUT or POST with 411.
//!
//! # Half-closed connections
//! A client may close its sending side after a request and still gets the response. If no byte of the
//! response is ready for two seconds, the server assumes that the client is gone: TCP cannot
//! distinguish the two cases.

use crate::{body::closing, stalls::Stalls};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The maximum size of a request head in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// The paths that are served in the reserve.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];
/// The length of the listen backlog.
pub const BACKLOG: i32 = 1024;
/// The minimum time before a connection without a request is evicted.
const YOUNG: Duration = Duration::from_millis(250);
/// The same minimum after a shortage of places for [`YOUNG`].
const YOUNG_IF_CROWDED: Duration = Duration::from_millis(25);
/// The time after which a busy connection in the reserve is evicted. A request that waits for a
/// regular place is rejected earlier.
const BUSY_IN_RESERVE: Duration = Duration::from_millis(500);
/// After the server begins to stop, the time for connections without a request to send a request that
/// is in flight.
const GRACE: Duration = Duration::from_millis(200);

/// The limits of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The maximum number of regular connections.
    pub connections: usize,
    /// The number of additional connections for health checks.
    pub reserve: usize,
    /// The timeout for a client; see the module documentation.
    pub timeout: Duration,
    /// The response if all connections are busy.
    pub overloaded: fn() -> Response,
}

/// Serves until `closing` is cancelled, and then until the pending requests are answered. Dropping the
/// future drops all connections. `count` receives each change of the number of connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    count: impl Fn(i64) + Clone + Send + 'static,
    closing: CancellationToken,
) {
    // The standard library requests 128. The system may grant less.
    let _ = SockRef::from(&listener).listen(BACKLOG);
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // Meanwhile the backlog keeps further connections.
                let place = tokio::select! {
                    place = places.enter(&limits) => place,
                    () = closing.cancelled() => break,
                };
                let counted = Counted::new(count.clone());
                let (router, limits, closing) = (router.clone(), limits.clone(), closing.clone());
                connections.spawn(async move {
                    connection(stream, router, &limits, place, closing).await;
                    drop(counted);
                });
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Most often no file descriptor is left. An immediate retry would only burn CPU time.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Whether the client caused the failure of an accept.
pub fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Counts a connection during its lifetime.
struct Counted<F: Fn(i64)>(F);

impl<F: Fn(i64)> Counted<F> {
    fn new(count: F) -> Self {
        count(1);
        Self(count)
    }
}

impl<F: Fn(i64)> Drop for Counted<F> {
    fn drop(&mut self) {
        (self.0)(-1);
    }
}

/// Whether `chunked` is the only transfer coding.
fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let first = codings.next().map(|coding| coding.as_bytes().trim_ascii());
    first.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Whether this request may have a body whose length the server cannot know.
fn lacks_length<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_10
        && matches!(*request.method(), Method::PUT | Method::POST)
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: &Limits,
    place: Place,
    stopping: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let (place, slot, overloaded) = (&place, &place.slot, limits.overloaded);
    let service = service_fn(|request: Request<Incoming>| {
        let busy = Busy::begin(slot);
        let is_evicted = busy.is_none();
        let is_health = HEALTH.contains(&request.uri().path());
        let router = router.clone();
        let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
        let is_encoded = is_last && !is_only_chunked(request.headers());
        async move {
            let response = if is_evicted && !is_health {
                // The connection was evicted at this moment. A request without a response must not be
                // executed.
                closing(crate::uncached(overloaded()))
            } else if is_encoded {
                // RFC 9112 section 6.1. The store would keep the body in its encoded form.
                let text = "the only transfer coding that is served is chunked\n";
                let refusal = (StatusCode::NOT_IMPLEMENTED, text).into_response();
                closing(crate::uncached(refusal))
            } else if lacks_length(&request) {
                // The store would replace the client's value by an empty one.
                let text = "the request needs a Content-Length\n";
                let refusal = (StatusCode::LENGTH_REQUIRED, text).into_response();
                closing(crate::uncached(refusal))
            } else if !is_health && !place.is_admitted(limits).await {
                closing(crate::uncached(overloaded()))
            } else {
                router.oneshot(request.map(Body::new)).await?
            };
            let response = match is_last {
                true => closing(response),
                false => response,
            };
            let body = |body| Body::new(Tracked { body, _busy: busy });
            Ok::<_, Infallible>(response.map(body))
        }
    });
    let stream = Stalls::new(stream, limits.timeout, || slot.flushed());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.timeout)
        .max_buf_size(MAX_HEAD)
        .half_close(true)
        .keep_alive(!slot.is_reserved())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A received request gets a response even if the connection is evicted.
        biased;
        // A client that disconnects is not an error.
        _ = connection.as_mut() => return,
        () = slot.evicted.cancelled() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let idle = async {
        tokio::time::sleep(GRACE).await;
        while slot.is_busy() {
            tokio::time::sleep(GRACE).await;
        }
    };
    tokio::select! {
        biased;
        _ = connection => {}
        () = slot.evicted.cancelled() => {}
        () = idle => {}
    }
}

/// The open connections.
#[derive(Debug, Default)]
struct Places {
    taken: Mutex<Taken>,
    /// Notified when a connection ends or becomes idle.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    lack: Option<Lack>,
    regular: BTreeMap<u64, Arc<Slot>>,
    reserved: BTreeMap<u64, Arc<Slot>>,
}

/// A shortage: new connections had to wait for a place.
#[derive(Clone, Copy, Debug)]
struct Lack {
    since: Instant,
    last: Instant,
}

/// The state of a connection.
#[derive(Debug)]
struct Slot {
    accepted: Instant,
    /// Changes under the lock of [`Places`] only.
    is_reserved: AtomicBool,
    state: Mutex<State>,
    /// The number of requests.
    requests: AtomicU64,
    /// Cancelled when the connection is evicted.
    evicted: CancellationToken,
    /// A clone of [`Places::changed`].
    changed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    IdleSince(Instant),
    /// The request with this number is in progress: its response is incomplete.
    Busy(u64),
    /// Hyper has the whole response in its buffers and has not flushed them yet.
    Sending,
    /// The connection is evicted: it begins no further request.
    Evicted,
}

/// The place of a connection. Dropping it frees the place.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    id: u64,
    slot: Arc<Slot>,
}

impl Places {
    /// Waits for a place for a connection. May evict another connection.
    async fn enter(self: &Arc<Self>, limits: &Limits) -> Place {
        loop {
            let changed = self.changed.notified();
            match self.take(limits) {
                Ok(place) => return place,
                Err(Some(at)) => at_latest(at, changed).await,
                Err(None) => changed.await,
            }
        }
    }

    /// Takes a place for a connection.
    ///
    /// # Errors
    /// If no place is available: the time at which a connection can be evicted, if known.
    fn take(self: &Arc<Self>, limits: &Limits) -> Result<Place, Option<Instant>> {
        let mut taken = self.lock();
        let young = taken.young();
        let is_reserved = match make_room(&mut taken.regular, limits.connections, young) {
            Ok(()) => false,
            Err(at) => match make_room(&mut taken.reserved, limits.reserve, young) {
                Ok(()) => true,
                Err(reserve_at) => {
                    taken.note_lack();
                    return Err([at, reserve_at].into_iter().flatten().min());
                }
            },
        };
        let slot = Arc::new(Slot::new(is_reserved, Arc::clone(&self.changed)));
        let id = taken.next;
        taken.next += 1;
        let Taken {
            regular, reserved, ..
        } = &mut *taken;
        let slots = if is_reserved { reserved } else { regular };
        slots.insert(id, Arc::clone(&slot));
        drop(taken);
        Ok(Place {
            places: Arc::clone(self),
            id,
            slot,
        })
    }

    /// Moves a connection from the reserve to a regular place.
    ///
    /// # Errors
    /// See [`Places::take`].
    fn promote(&self, id: u64, limits: &Limits) -> Result<(), Option<Instant>> {
        let mut taken = self.lock();
        if !taken.reserved.contains_key(&id) {
            return Err(None);
        }
        let young = taken.young();
        make_room(&mut taken.regular, limits.connections, young)?;
        if let Some(slot) = taken.reserved.remove(&id) {
            slot.is_reserved.store(false, Relaxed);
            taken.regular.insert(id, slot);
        }
        drop(taken);
        self.changed.notify_waiters();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The time that a connection has for its first request.
    fn young(&self) -> Duration {
        match self.lack {
            Some(lack) if lack.is_recent() && lack.last - lack.since >= YOUNG => YOUNG_IF_CROWDED,
            _ => YOUNG,
        }
    }

    fn note_lack(&mut self) {
        let now = Instant::now();
        let since = match self.lack {
            Some(lack) if lack.is_recent() => lack.since,
            _ => now,
        };
        self.lack = Some(Lack { since, last: now });
    }
}

impl Lack {
    /// Whether the shortage continues. Places become free in batches, so some new connections do not
    /// wait during a shortage.
    fn is_recent(self) -> bool {
        self.last.elapsed() <= 2 * YOUNG
    }
}

async fn at_latest(at: Instant, changed: impl Future<Output = ()>) {
    let _ = tokio::time::timeout_at(at.into(), changed).await;
}

/// If all places are taken, evicts the connection that has been evictable for the longest time.
/// `young` is the time that a connection has for its first request.
///
/// # Errors
/// If no connection is evictable: the time at which the first one becomes evictable, or `None` if all
/// are busy.
fn make_room(
    slots: &mut BTreeMap<u64, Arc<Slot>>,
    most: usize,
    young: Duration,
) -> Result<(), Option<Instant>> {
    if slots.len() < most {
        return Ok(());
    }
    let now = Instant::now();
    let mut leaving: Vec<(Instant, u64)> = slots
        .iter()
        .filter_map(|(id, slot)| Some((slot.leaves_at(*slot.lock(), young)?, *id)))
        .collect();
    leaving.sort_unstable();
    for (at, id) in leaving {
        if at > now {
            return Err(Some(at));
        }
        // A request may have begun in the meantime.
        if slots[&id].evict(now, young) {
            slots.remove(&id);
            return Ok(());
        }
    }
    Err(None)
}

impl Place {
    /// Whether a request other than a health check may be executed. In the reserve, it needs the place
    /// of a regular connection.
    async fn is_admitted(&self, limits: &Limits) -> bool {
        let deadline = Instant::now() + YOUNG;
        while self.slot.is_reserved() {
            let changed = self.places.changed.notified();
            match self.places.promote(self.id, limits) {
                Ok(()) => break,
                Err(Some(at)) if at <= deadline => at_latest(at, changed).await,
                Err(_) => return false,
            }
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.regular.remove(&self.id);
        taken.reserved.remove(&self.id);
        drop(taken);
        self.places.changed.notify_waiters();
    }
}

impl Slot {
    fn new(is_reserved: bool, changed: Arc<Notify>) -> Self {
        let now = Instant::now();
        Self {
            accepted: now,
            is_reserved: AtomicBool::new(is_reserved),
            state: Mutex::new(State::IdleSince(now)),
            requests: AtomicU64::new(0),
            evicted: CancellationToken::new(),
            changed,
        }
    }

    fn is_reserved(&self) -> bool {
        self.is_reserved.load(Relaxed)
    }

    /// The time from which a connection in this state may be evicted.
    fn leaves_at(&self, state: State, young: Duration) -> Option<Instant> {
        match (state, self.is_reserved()) {
            (State::IdleSince(since), true) => Some(since + young),
            (State::IdleSince(since), false) => match self.requests.load(Relaxed) {
                0 => Some(since + young),
                _ => Some(since),
            },
            (State::Busy(_) | State::Sending, true) => Some(self.accepted + BUSY_IN_RESERVE),
            (State::Busy(_) | State::Sending, false) | (State::Evicted, _) => None,
        }
    }

    /// Evicts a connection if permitted. Returns whether it did.
    fn evict(&self, now: Instant, young: Duration) -> bool {
        let mut state = self.lock();
        let may_leave = self.leaves_at(*state, young).is_some_and(|at| at <= now);
        if may_leave {
            *state = State::Evicted;
            self.evicted.cancel();
        }
        may_leave
    }

    fn is_busy(&self) -> bool {
        !matches!(*self.lock(), State::IdleSince(_))
    }

    /// Hyper has written all its output to the socket.
    fn flushed(&self) {
        let mut state = self.lock();
        if let State::Sending = *state {
            *state = State::IdleSince(Instant::now());
            drop(state);
            self.changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = &self.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress, until hyper has taken the last frame of its response. A response may be a
/// single frame, so this does not imply that anything was written: see [`Slot::flushed`].
struct Busy {
    slot: Arc<Slot>,
    request: u64,
}

impl Busy {
    /// Returns `None` if the connection was evicted.
    fn begin(slot: &Arc<Slot>) -> Option<Self> {
        let mut state = slot.lock();
        if let State::Evicted = *state {
            return None;
        }
        let request = slot.requests.fetch_add(1, Relaxed);
        *state = State::Busy(request);
        drop(state);
        let slot = Arc::clone(slot);
        Some(Self { slot, request })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        // A later request may have begun.
        if matches!(*state, State::Busy(request) if request == self.request) {
            // Hyper flushes after each frame, the last one included.
            *state = State::Sending;
        }
    }
}

/// A response body that keeps its request busy until it is dropped.
struct Tracked {
    body: Body,
    _busy: Option<Busy>,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{self, Bounds};
    use axum::{
        middleware,
        response::IntoResponse,
        routing::{get, put},
    };
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
        sync::Semaphore,
    };

    /// Larger than the buffers of two sockets.
    const LARGE: usize = 64 << 20;

    /// A server with three regular places and one place in the reserve.
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
            render: |error| error.status().into_response(),
        };
        let bounded = move |request, next| body::buffer(bounds, request, next);
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
            overloaded: || "overloaded\n".into_response(),
        };
        tokio::spawn(serve(listener, router, limits, |_| {}, closing.clone()));
        Server {
            at,
            go,
            reached,
            closing,
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
    fn connection_leaves_once_it_had_time_for_a_request() {
        let long = Duration::from_secs(60);
        for (is_reserved, silent, busy, idle) in [
            (false, Some(YOUNG), None, Some(Duration::ZERO)),
            (true, Some(YOUNG), Some(BUSY_IN_RESERVE), Some(YOUNG)),
        ] {
            let slot = Arc::new(Slot::new(is_reserved, Arc::default()));
            let now = slot.accepted;
            let leaves = |state| slot.leaves_at(state, YOUNG).map(|at| at - now);
            assert_eq!(leaves(State::IdleSince(now)), silent);
            assert!(!slot.evict(now, YOUNG));
            drop(Busy::begin(&slot));
            assert_eq!(leaves(State::Busy(0)), busy);
            assert_eq!(leaves(State::Sending), busy);
            assert_eq!(leaves(State::IdleSince(now)), idle);
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

    /// Waits until a new client gets a place. A client that is rejected, or whose connection is closed
    /// without a response, has no place.
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
    async fn what_is_done_is_answered() {
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
    async fn readers_that_never_read_lose_their_places() {
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
        // Long enough for the server to receive the end of the stream.
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.go.notify_one();
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with("slow\n"), "{answer}");
    }

    #[tokio::test]
    async fn client_that_is_gone_loses_its_place() {
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
        let head =
            |path: &str, lines: &str| format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
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
}
