//! Request bodies, bounded in size and in time.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::time::Duration;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is longer than this number of bytes.
    #[error("the request body has more than {0} bytes, which is the limit")]
    TooLarge(usize),
    /// The body did not arrive in time.
    #[error("the request body did not arrive in time")]
    Slow,
    /// The connection broke, or the length of the body differs from `Content-Length`.
    #[error("the request body is incomplete")]
    Broken,
}

impl BodyError {
    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// The bounds of a request body.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The maximum length of a body in bytes.
    pub bytes: usize,
    /// The timeout for the whole body.
    pub timeout: Duration,
}

/// Reads the whole body, and then runs the route, so that no route waits for a body that never
/// arrives. The response to a rejected body must end the connection: the rest of the body is not the
/// next request.
pub(crate) async fn buffer(
    bounds: Bounds,
    request: Request,
    next: Next,
) -> Result<Response, BodyError> {
    // The body of these methods has no meaning; the server discards it.
    if matches!(*request.method(), Method::GET | Method::HEAD) || request.body().is_end_stream() {
        return Ok(next.run(request).await);
    }
    let (head, body) = request.into_parts();
    let bytes = read(body, bounds.bytes, bounds.timeout).await?;
    Ok(next.run(Request::from_parts(head, Body::from(bytes))).await)
}

async fn read(body: Body, limit: usize, timeout: Duration) -> Result<Bytes, BodyError> {
    // Content-Length gives the length before the first byte of the body arrives.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    tokio::time::timeout(timeout, collect(body, limit))
        .await
        .map_err(|_| BodyError::Slow)?
}

/// Copies a body into one buffer. A frame is a slice of hyper's read buffer and keeps all of it in
/// memory, even if the frame has only one byte. The capacity follows the number of received bytes, not
/// the announced length.
async fn collect(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = bytes.len().saturating_add(data.len());
        if length > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if length > bytes.capacity() {
            let capacity = bytes.capacity().saturating_mul(2).clamp(length, limit);
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Error;
    use http_body::Frame;
    use std::{
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Poll},
    };

    /// A read buffer of the server. Counts itself while a frame keeps it in memory.
    struct ReadBuffer(Arc<AtomicUsize>);

    impl AsRef<[u8]> for ReadBuffer {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    impl Drop for ReadBuffer {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    /// A body of this many frames with one byte each.
    struct Trickle {
        left: usize,
        kept: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    }

    impl http_body::Body for Trickle {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            let kept = self.kept.fetch_add(1, Relaxed) + 1;
            self.most.fetch_max(kept, Relaxed);
            let buffer = ReadBuffer(Arc::clone(&self.kept));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(buffer)))))
        }
    }

    #[tokio::test]
    async fn body_in_small_pieces_keeps_no_read_buffer() {
        let most = Arc::new(AtomicUsize::new(0));
        let trickle = |left| {
            let (kept, most) = (Arc::default(), Arc::clone(&most));
            Body::new(Trickle { left, kept, most })
        };
        let timeout = Duration::from_secs(60);
        let bytes = read(trickle(1000), 1000, timeout).await.unwrap();
        assert_eq!(bytes, vec![b'x'; 1000]);
        let error = read(trickle(1001), 1000, timeout).await.unwrap_err();
        assert_eq!(error, BodyError::TooLarge(1000));
        assert_eq!(most.load(Relaxed), 1);
    }
}
