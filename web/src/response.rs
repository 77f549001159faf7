//! Headers that responses of every program have.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};

/// Marks a response as the last of its connection.
pub fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Forbids caching of a response without a `Cache-Control` header. Each response of these programs,
/// errors included, is valid at one moment only.
pub(crate) fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let forbid = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(forbid);
    response
}
