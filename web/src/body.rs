//! Request bodies, bounded in size and in time.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use http_body::Body as _;
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
    #[error("the request body did not arrive whole")]
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

/// The parameters of [`buffer`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The maximum length of a body in bytes.
    pub bytes: usize,
    /// The timeout for the whole body.
    pub timeout: Duration,
    /// Renders an error.
    pub render: fn(BodyError) -> Response,
}

/// Middleware: reads the whole body before the route runs, so that no route waits for a body that
/// never arrives. A rejected body ends the connection: the rest of the body is not the next request.
pub async fn buffer(bounds: Bounds, request: Request, next: Next) -> Response {
    // The body of these methods has no meaning; the server discards it.
    if matches!(*request.method(), Method::GET | Method::HEAD) || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    match read(body, bounds.bytes, bounds.timeout).await {
        Ok(bytes) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Err(error) => closing((bounds.render)(error)),
    }
}

/// Marks a response as the last of its connection.
pub fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

async fn read(body: Body, limit: usize, timeout: Duration) -> Result<bytes::Bytes, BodyError> {
    // Content-Length gives the length before the first byte of the body arrives.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    match tokio::time::timeout(timeout, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length(&error) => Err(BodyError::TooLarge(limit)),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::Slow),
    }
}

fn is_length(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(this) = error {
        if this.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        error = this.source();
    }
    false
}
