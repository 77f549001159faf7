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
//! additional slots. Health checks are served there. If all regular connections are busy, the server
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

mod connection_slots;
#[cfg(test)]
mod tests;

use crate::{
    rejection::{Reject, Rejection},
    response::{closing, uncached},
    stalls::Stalls,
};
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, Version, header},
    response::IntoResponse as _,
};
use connection_slots::{Busy, Connections, Permit};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
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
/// After the server begins to stop, the time for connections without a request to send a request that
/// is in flight.
const GRACE: Duration = Duration::from_millis(200);

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of regular connections.
    pub connections: usize,
    /// The number of additional connections for health checks.
    pub reserve: usize,
    /// The timeout for a client; see the module documentation.
    pub timeout: Duration,
    /// The maximum length of a request body in bytes.
    pub max_body: usize,
}

/// Serves until `closing` is cancelled, and then until the pending requests are answered. Dropping the
/// future drops all connections. `count` receives each change of the number of connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    reject: Reject,
    count: impl Fn(i64) + Clone + Send + 'static,
    closing: CancellationToken,
) {
    // The standard library requests 128. The system may grant less.
    let _ = SockRef::from(&listener).listen(BACKLOG);
    let connections = Arc::new(Connections::default());
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // Meanwhile the backlog keeps further connections.
                let permit = tokio::select! {
                    permit = connections.enter(&limits) => permit,
                    () = closing.cancelled() => break,
                };
                let counted = Counted::new(count.clone());
                let (router, closing) = (router.clone(), closing.clone());
                tasks.spawn(async move {
                    serve_connection(stream, router, limits, reject, permit, closing).await;
                    drop(counted);
                });
            }
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                // Most often no file descriptor is left. An immediate retry would only burn CPU time.
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Whether the client caused the failure of an accept, so that the next accept can succeed.
pub fn is_client_error(error: &io::Error) -> bool {
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

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    reject: Reject,
    permit: Permit,
    stopping: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let (permit, slot) = (&permit, &permit.slot);
    let overloaded = move || closing(uncached(reject(Rejection::Overloaded)));
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
                overloaded()
            } else if is_encoded {
                // RFC 9112 section 6.1. The store would keep the body in its encoded form.
                let text = "the only transfer coding that is served is chunked\n";
                let refusal = (StatusCode::NOT_IMPLEMENTED, text).into_response();
                closing(uncached(refusal))
            } else if lacks_length(&request) {
                // The store would replace the client's value by an empty one.
                let text = "the request needs a Content-Length\n";
                let refusal = (StatusCode::LENGTH_REQUIRED, text).into_response();
                closing(uncached(refusal))
            } else if !is_health && !permit.is_admitted(&limits).await {
                overloaded()
            } else {
                router.oneshot(request.map(Body::new)).await?
            };
            let response = if is_last { closing(response) } else { response };
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
