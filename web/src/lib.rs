//! The common layer of all HTTP listeners of Stateraft: node, proxy and checker.
//!
//! [`server`] accepts connections and bounds their number and their time. [`site`] rejects requests
//! that a browser sends on behalf of a foreign page, by the headers `Host`, `Origin` and
//! `Sec-Fetch-Site`. [`body`] reads request bodies with a bound on size and time. [`preconditions`]
//! and [`negotiate`] parse the headers of RFC 9110 that the routes need; [`Secret`] is a token.
//!
//! Errors are enums here; each program renders them in the format of its own API.
//!
//! Deliberate omissions: routes, sessions, cookies, TLS, CORS. Pages of other origins never get
//! access.

pub mod body;
pub mod negotiate;
pub mod preconditions;
mod secret;
pub mod server;
pub mod site;
mod stalls;

pub use secret::Secret;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};

/// The token of `Authorization: Bearer TOKEN`. `None` also if the header occurs twice.
pub fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// Middleware: forbids caching of every response without a `Cache-Control` header. Each response of
/// these programs, errors included, is valid at one moment only.
pub async fn no_store(request: Request, next: Next) -> Response {
    uncached(next.run(request).await)
}

/// Forbids caching of one response.
pub(crate) fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let forbid = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(forbid);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_token_is_found_once() {
        let token = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer_token(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(token(&["bearer  abc "]), Some(b"abc".to_vec()));
        assert_eq!(token(&["Bearer a", "Bearer b"]), None);
        assert_eq!(token(&["Basic abc"]), None);
        assert_eq!(token(&["Bearer"]), None);
        assert_eq!(token(&[]), None);
    }
}
